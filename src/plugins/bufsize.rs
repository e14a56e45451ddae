//! # bufsize — limit the size of UDP replies
//!
//! Lowers the payload size that a client advertises in its OPT, for the reply and for upstreams
//! that the query is sent to, so that no reply has to be cut into IP fragments.
//!
//! ## Syntax
//!
//! ```text
//! bufsize [SIZE]
//! ```
//!
//! SIZE is 512 to 4096 octets, and 1232 if it is not given.
//!
//! ## Examples
//!
//! ```corefile
//! . {
//!     bufsize 1232
//!     whoami
//! }
//! ```

use crate::chain::doc::doc_of;
use crate::chain::setup::{Registration, Setup};
use crate::chain::{Here, Plugin, Query, Step};
use crate::corefile::value;
use crate::error::Result;

/// The registration of this plugin.
pub const PLUGIN: Registration = Registration { name: "bufsize", setup, doc: doc_of!("bufsize.rs"), options: &[] };

/// A size that crosses any network without fragmentation (DNS flag day 2020).
const DEFAULT: u16 = 1232;

struct Bufsize(u16);

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let mut cursor = s.cursor();
    // Only the first occurrence is read, as in CoreDNS.
    cursor.next_occurrence();
    let size = match cursor.args()[..] {
        [] => DEFAULT,
        [word] => {
            let size = value::integer(word.as_str()).ok().and_then(|size| u16::try_from(size).ok());
            size.filter(|size| (512..=4096).contains(size)).ok_or_else(|| cursor.arg_err())?
        }
        _ => return Err(cursor.arg_err()),
    };
    s.chain(Bufsize(size));
    Ok(())
}

impl Plugin for Bufsize {
    fn ask(&self, query: &mut Query<'_>, _: &Here<'_>) -> Step {
        if let Some(edns) = &mut query.request.edns {
            edns.size = edns.size.min(self.0);
        }
        Step::Next
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[test]
    fn the_size_is_lowered_and_never_raised() {
        let size = |text: &str| {
            let server = Server::new(&format!(". {{\n{text}\nwhoami\n}}\n"));
            server.ask("a.example.", "A").and_then(|m| m.edns.map(|edns| edns.max_payload()))
        };
        assert_eq!(size("bufsize 600"), Some(600));
        assert_eq!(size("bufsize 4096"), Some(1232), "the test's own size");
    }
}
