//! # timeouts — how long clients of connections may take
//!
//! Sets the limits of time for the connections of the server block's listeners, over TCP, TLS,
//! HTTPS, gRPC and QUIC. `maxtcpqueries` does not count queries over HTTPS, gRPC and QUIC.
//!
//! ## Syntax
//!
//! ```text
//! timeouts {
//! }
//! ```
//!
//! A duration is 1s to 24h; a number alone is seconds. At least one option must be given. If
//! several server blocks share a listener, the last one that sets an option counts.
//!
//! Longer times than the defaults do not let clients hold more: when there are too many
//! connections, the one that has been idle for longest is closed, and the memory of all unread
//! replies together is bounded.
//!
//! ## Examples
//!
//! ```corefile
//! . {
//!     timeouts {
//!         read 5s
//!         idle 30s
//!         maxtcpqueries 1000
//!     }
//!     whoami
//! }
//! ```

use std::time::Duration;

use crate::chain::doc::doc_of;
use crate::chain::options::{OptionOf, OptionsOf};
use crate::chain::setup::{Registration, Setup};
use crate::chain::timeouts::Timeouts;
use crate::corefile::{Cursor, value};
use crate::error::Result;

/// The registration of this plugin.
pub const PLUGIN: Registration =
    Registration { name: "timeouts", setup, doc: doc_of!("timeouts.rs"), options: &[&OPTIONS] };

/// The least and the most that a timeout may be.
const BOUNDS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(24 * 3600));

/// What a block sets, and how many options it has.
#[derive(Default)]
struct Block {
    timeouts: Timeouts,
    options: usize,
}

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let (mut cursor, mut block) = (s.cursor(), Block::default());
    while cursor.next_occurrence() {
        cursor.args_of(..1)?;
        block.options = 0;
        OPTIONS.read(&mut cursor, &mut block, s)?;
        if block.options == 0 {
            return Err(cursor.error("timeouts block with no timeouts specified"));
        }
    }
    s.timeouts(block.timeouts);
    Ok(())
}

static OPTIONS: OptionsOf<Block> = OptionsOf {
    all: &[
        OptionOf {
            name: "read",
            form: "DURATION",
            about: "How long a client may take for its TLS handshake, for its first message, and from the first \
                    octet of a message to its last (3s).",
            read: |cursor, block, _| set(cursor, block, |timeouts| &mut timeouts.message),
        },
        OptionOf {
            name: "write",
            form: "DURATION",
            about: "How long a client may take to read the replies that are ready, or 64 KiB of them (5s).",
            read: |cursor, block, _| set(cursor, block, |timeouts| &mut timeouts.reading),
        },
        OptionOf {
            name: "idle",
            form: "DURATION",
            about: "How long a connection may be idle between two messages (10s).",
            read: |cursor, block, _| set(cursor, block, |timeouts| &mut timeouts.idle),
        },
        OptionOf {
            name: "maxtcpqueries",
            form: "NUMBER",
            about: "How many messages a connection may send before it is closed (-1, any number).",
            read: |cursor, block, _| {
                let word = cursor.one_arg()?;
                let number = value::integer(word.as_str())
                    .map_err(|wrong| cursor.error(format!("invalid value for maxtcpqueries '{word}': {wrong}")))?;
                if number == 0 || number < -1 {
                    let message = "needs to be -1 (unlimited) or a positive integer";
                    return Err(cursor.error(format!("maxtcpqueries provided '{number}' {message}")));
                }
                block.options += 1;
                block.timeouts.queries = Some(u64::try_from(number).unwrap_or(u64::MAX));
                Ok(())
            },
        },
    ],
    unknown: |word| format!("Error during parsing: unknown option: '{word}'"),
};

/// Reads a timeout; a number alone is seconds.
fn set(
    cursor: &mut Cursor<'_>,
    block: &mut Block,
    which: impl FnOnce(&mut Timeouts) -> &mut Option<Duration>,
) -> Result<()> {
    let word = cursor.one_arg()?;
    let is_number = value::integer(word.as_str()).is_ok();
    let text = if is_number { format!("{word}s") } else { word.to_string() };
    let span = value::duration(&text).map_err(|_| cursor.error(format!("failed to parse duration '{word}'")))?;
    let timeout = span
        .duration()
        .filter(|timeout| (BOUNDS.0..=BOUNDS.1).contains(timeout))
        .ok_or_else(|| cursor.error(format!("timeout provided '{span}' needs to be between 1 second and 24 hours")))?;
    block.options += 1;
    *which(&mut block.timeouts) = Some(timeout);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[test]
    fn the_last_block_of_a_listener_counts_option_by_option() {
        let text = "a.test {\ntimeouts {\nread 1s\nidle 2s\n}\n}\nb.test {\ntimeouts {\nread 4s\nmaxtcpqueries 9\n}\n}\n\
                    c.test:54 {\n}\n";
        let server = Server::new(text);
        let timeouts = |at: usize| {
            let timeouts = server.configuration.listeners[at].timeouts;
            (timeouts.message.map(|time| time.as_secs()), timeouts.idle.map(|time| time.as_secs()), timeouts.queries)
        };
        assert_eq!(timeouts(0), (Some(4), Some(2), Some(9)));
        assert_eq!(timeouts(1), (None, None, None));
    }
}
