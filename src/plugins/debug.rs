//! # debug — print debug lines
//!
//! Prints `[DEBUG]` lines. One server block with this directive turns them on for the whole
//! process.
//!
//! ## Syntax
//!
//! ```text
//! debug
//! ```
//!
//! ## Examples
//!
//! ```corefile
//! . {
//!     debug
//!     whoami
//! }
//! ```

use crate::chain::doc::doc_of;
use crate::chain::setup::{Registration, Setup};
use crate::error::Result;

/// The registration of this plugin.
pub const PLUGIN: Registration = Registration { name: "debug", setup, doc: doc_of!("debug.rs"), options: &[] };

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let mut cursor = s.cursor();
    while cursor.next_occurrence() {
        cursor.expect_no_arg()?;
        s.debug();
    }
    Ok(())
}
