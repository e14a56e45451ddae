//! # root — the folder that relative paths start from
//!
//! Plugins that read files (`file`, `hosts`, `loadbalance weighted`, ...) look for relative paths
//! below this folder. A missing folder is only warned about: it may be created later.
//!
//! ## Syntax
//!
//! ```text
//! root DIR
//! ```
//!
//! ## Examples
//!
//! ```corefile
//! example.org {
//!     root /etc/coredns/zones
//!     loadbalance weighted weights
//!     whoami
//! }
//! ```

use std::io::ErrorKind;
use std::path::PathBuf;

use crate::chain::doc::doc_of;
use crate::chain::setup::{Registration, Setup};
use crate::error::{Result, words};

/// The registration of this plugin.
pub const PLUGIN: Registration = Registration { name: "root", setup, doc: doc_of!("root.rs"), options: &[] };

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let mut cursor = s.cursor();
    while cursor.next_occurrence() {
        let word = cursor.expect_arg()?;
        cursor.expect_no_arg()?;
        let path = PathBuf::from(word.as_str());
        match path.metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                cursor.warn(word, format!("Root path does not exist: {word}"));
            }
            Err(error) => {
                let why = words(&error);
                return Err(cursor.error_at(word, format!("unable to access root path '{word}': {why}")));
            }
            Ok(_) => {}
        }
        s.set_root(path);
    }
    Ok(())
}
