//! The Corefile: from text to server blocks, every word with its file and line.
//!
//! ```text
//! text --lex--> words --parse, import, env--> server blocks --address--> keys --overlap--> checked
//!                                                  `--cursor, value--> the options of each plugin
//! ```
//!
//! This room knows no plugin: the names of directives come in as a [`Vocabulary`]. CoreDNS 1.15.0
//! decides what is accepted and which line an error names; the wording of errors and hints is our
//! own. Errors come in CoreDNS's order if the caller asks in this order: [`parse()`],
//! [`address::keys`] of each block, the set-up of plugins, [`overlap::check_ports`],
//! [`overlap::check_overlaps`].
//!
//! Differences: an environment variable that refers to itself is an error (CoreDNS hangs); imports
//! may not repeat more than a million words (CoreDNS fills the memory); a file is read once,
//! however often it is imported; and an end of file after a comma and an empty import is reported
//! at the last word (CoreDNS says line 0). Errors name file and line if one word is to blame;
//! CoreDNS often names neither.

pub mod address;
pub mod cursor;
mod digest;
mod env;
pub mod findings;
mod glob;
mod import;
mod lex;
pub mod overlap;
mod parse;
mod reverse;
mod stream;
mod suggest;
pub mod value;
mod word;

use std::sync::Arc;

pub use cursor::Cursor;
pub use env::Environment;
pub use findings::{Finding, Findings, Severity};
pub use lex::decode;
pub use suggest::nearest;
pub use word::{Source, Word};

use crate::error::{Complaint, Result};

/// A parsed Corefile: what to serve, in the order of the file.
#[derive(Debug, Clone)]
pub struct Corefile {
    /// The server blocks; at least one.
    pub blocks: Vec<ServerBlock>,
    /// Whether the file had no server block, so that the built-in one is served.
    pub built_in: bool,
    /// Messages to the user that are not errors.
    pub warnings: Vec<Complaint>,
}

/// One server block: the zones before its brace, and its directives.
#[derive(Debug, Clone)]
pub struct ServerBlock {
    /// Zones with scheme and port as written; [`address::keys`] reads them.
    pub keys: Vec<Word>,
    /// The directives, in the order of their first occurrence.
    pub directives: Vec<Directive>,
}

/// All that one block says to one plugin.
#[derive(Debug, Clone)]
pub struct Directive {
    /// The plugin's name.
    pub name: String,
    /// The words of all its occurrences in the block, concatenated; each occurrence begins with the
    /// name.
    pub words: Vec<Word>,
}

impl ServerBlock {
    /// Returns the directive of this name.
    pub fn directive(&self, name: &str) -> Option<&Directive> {
        self.directives.iter().find(|directive| directive.name == name)
    }
}

/// The names that may begin a line in a server block.
#[derive(Debug, Clone, Copy)]
pub struct Vocabulary<'a> {
    /// Signpost's plugins.
    pub served: &'a [&'a str],
    /// CoreDNS's plugins: those that are not served are refused, with a message that names them.
    pub elsewhere: &'a [&'a str],
}

/// Reads a Corefile. `file` is its name in complaints and the base of relative imports; imported
/// files are read from disk. A text without server blocks gives the built-in block, `whoami` and
/// `log` for all names on the default port.
///
/// # Errors
/// The first thing that CoreDNS would also refuse, as a [`crate::error::Complaint`].
pub fn parse(text: &str, file: &str, env: &Environment<'_>, vocabulary: &Vocabulary<'_>) -> Result<Corefile> {
    let read = |text: &str| {
        let source = Arc::new(Source { name: file.into(), text: text.to_owned(), imported: false });
        parse::blocks(lex::lex(&source), file, env, vocabulary)
    };
    let (mut blocks, mut warnings) = read(text)?;
    let built_in = blocks.is_empty();
    if built_in {
        (blocks, _) = read(BUILT_IN)?;
        // Without a file this is intended; with one, the file has probably lost its contents.
        if !file.is_empty() {
            let message = format!("{file}: there is no server block in it, so whoami answers every name");
            warnings.push(Complaint::new(message));
        }
    }
    Ok(Corefile { blocks, built_in, warnings })
}

/// The block that is served without a configuration, on the default port.
const BUILT_IN: &str = ". {\nwhoami\nlog\n}\n";
