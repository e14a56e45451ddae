//! # debug — let debug lines through
//!
//! Prints `[DEBUG]` lines, for the whole process as soon as one server block says so.
//!
//! ## Syntax
//! ```text
//! debug
//! ```
//!
//! ## Examples
//! ```corefile
//! . {
//!     debug
//!     whoami
//! }
//! ```

use crate::chain::doc::doc_of;
use crate::chain::setup::{Registration, Setup};
use crate::error::Result;

/// How the house knows this plugin.
pub const PLUGIN: Registration = Registration { name: "debug", setup, doc: doc_of!("debug.rs"), options: &[] };

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let mut cursor = s.cursor();
    while cursor.next_occurrence() {
        cursor.expect_no_arg()?;
        s.debug();
    }
    Ok(())
}
