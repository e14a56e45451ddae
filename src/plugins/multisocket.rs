//! # multisocket — several sockets for each address
//!
//! Accepts what CoreDNS accepts, and changes nothing. CoreDNS reads each address with one socket,
//! and this plugin gives it more. Signpost always has one socket for each worker, and one worker
//! for each core that the process may use (the CPU limit of its container).
//!
//! ## Syntax
//!
//! ```text
//! multisocket [SOCKETS]
//! ```
//!
//! SOCKETS is 1 to 1024.
//!
//! ## Examples
//!
//! ```corefile
//! . {
//!     multisocket
//!     whoami
//! }
//! ```

use crate::chain::doc::doc_of;
use crate::chain::setup::{Registration, Setup};
use crate::corefile::value;
use crate::error::Result;

/// The registration of this plugin.
pub const PLUGIN: Registration =
    Registration { name: "multisocket", setup, doc: doc_of!("multisocket.rs"), options: &[] };

/// The most sockets that CoreDNS opens for one address.
const MOST: i64 = 1024;

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let mut cursor = s.cursor();
    cursor.next_occurrence();
    let args = cursor.args_of(..2)?;
    if cursor.next_occurrence() {
        return Err(cursor.arg_err());
    }
    let Some(word) = args.first() else { return Ok(()) };
    let sockets = value::integer(word.as_str());
    let sockets = sockets.map_err(|wrong| cursor.complain(word, format!("invalid num sockets: {wrong}")))?;
    let wrong = match sockets {
        ..1 => format!("num sockets can not be zero or negative: {sockets}"),
        1..=MOST => return Ok(()),
        _ => format!("num sockets exceeds maximum ({MOST}): {sockets}"),
    };
    Err(cursor.complain(word, wrong).hint("any number from 1 to 1024 has the same effect: none").into())
}
