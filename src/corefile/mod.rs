//! The Corefile: from text to server blocks, every word with its file and line.
//!
//! ```text
//! text --lex--> words --parse, import, env--> server blocks --address--> keys --overlap--> checked
//!                                                  `--cursor, value--> the options of each plugin
//! ```
//!
//! This room knows no plugin: which names are directives comes in as a [`Vocabulary`]. What is accepted,
//! and the line that an error names, are CoreDNS 1.15.0's; the words of an error and its hints are ours.
//! Errors come in CoreDNS's order if the caller asks in this order: [`parse()`], [`address::keys`] of each
//! block, the set-up of plugins, [`overlap::check_ports`], [`overlap::check_overlaps`].
//!
//! Differences: an environment variable that refers to itself is an error (CoreDNS hangs); imports may not
//! repeat more than a million words (CoreDNS fills the memory); an imported file is read once, however often
//! it is imported; and an end of file behind a comma and an empty import is reported at the last word
//! (CoreDNS says line 0). Errors name file and line wherever there is a word to blame, where CoreDNS often
//! names none.

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

/// A Corefile that was read: what to serve, in the order of the file.
#[derive(Debug, Clone)]
pub struct Corefile {
    /// The server blocks; at least one.
    pub blocks: Vec<ServerBlock>,
    /// Whether the file held no server block, so that the built-in one is served.
    pub built_in: bool,
    /// What to tell the user although it is no error.
    pub warnings: Vec<Complaint>,
}

/// One server block: the zones in front of its brace, and what stands in it.
#[derive(Debug, Clone)]
pub struct ServerBlock {
    /// Zones with scheme and port as they are written; [`address::keys`] reads them.
    pub keys: Vec<Word>,
    /// The directives, in the order in which their names appear first.
    pub directives: Vec<Directive>,
}

/// All that one block says to one plugin.
#[derive(Debug, Clone)]
pub struct Directive {
    /// The plugin's name.
    pub name: String,
    /// The words of all its occurrences in the block, one behind the other, each beginning with the name.
    pub words: Vec<Word>,
}

impl ServerBlock {
    /// What the block says to a plugin.
    pub fn directive(&self, name: &str) -> Option<&Directive> {
        self.directives.iter().find(|directive| directive.name == name)
    }
}

/// The names that may begin a line in a server block.
#[derive(Debug, Clone, Copy)]
pub struct Vocabulary<'a> {
    /// Plugins that Signpost has.
    pub served: &'a [&'a str],
    /// Plugins that CoreDNS has: those that are not served are refused by name.
    pub elsewhere: &'a [&'a str],
}

/// Reads a Corefile. `file` is the name that complaints show and that relative imports start from; imported
/// files are read from disk. A text without server blocks gives the built-in block, `whoami` and `log` for
/// all names on the default port.
///
/// # Errors
/// The first thing that CoreDNS would refuse too, as a [`crate::error::Complaint`].
pub fn parse(text: &str, file: &str, env: &Environment<'_>, vocabulary: &Vocabulary<'_>) -> Result<Corefile> {
    let read = |text: &str| {
        let source = Arc::new(Source { name: file.into(), text: text.to_owned(), imported: false });
        parse::blocks(lex::lex(&source), file, env, vocabulary)
    };
    let (mut blocks, mut warnings) = read(text)?;
    let built_in = blocks.is_empty();
    if built_in {
        (blocks, _) = read(BUILT_IN)?;
        // Meant where no file is named; where one is, somebody lost its contents.
        if !file.is_empty() {
            let message = format!("{file}: there is no server block in it, so whoami answers every name");
            warnings.push(Complaint::new(message));
        }
    }
    Ok(Corefile { blocks, built_in, warnings })
}

/// What is served if nothing is configured. Without a port, the default one counts.
const BUILT_IN: &str = ". {\nwhoami\nlog\n}\n";
