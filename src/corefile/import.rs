//! `import`: snippets, files and patterns of files, and the limits that stop circular imports.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Complaint, Result, words};

use super::glob::{Wrong, clean, glob};
use super::lex::{decode, lex};
use super::suggest;
use super::word::{Source, Word};

/// All that can be imported: the snippets declared and the files read so far.
#[derive(Default)]
pub(super) struct Imports {
    snippets: HashMap<String, Snippet>,
    /// The result of each import of files, by the importing file and the argument.
    files: HashMap<(Arc<str>, Arc<str>), Expansion>,
    /// The words of each file, which is read once.
    sources: HashMap<PathBuf, Arc<[Word]>>,
    snippets_expanded: usize,
    files_expanded: usize,
    words_repeated: usize,
    /// Messages to the user that are not errors.
    pub(super) warnings: Vec<Complaint>,
}

struct Snippet {
    expansion: Expansion,
    declared: Word,
}

#[derive(Clone)]
struct Expansion {
    words: Arc<[Word]>,
    used: bool,
}

impl Imports {
    /// Declares a snippet; `declared` is its name in parentheses.
    pub(super) fn declare(&mut self, name: String, declared: Word, words: Vec<Word>) {
        let words = words.into();
        let expansion = Expansion { words, used: false };
        self.snippets.insert(name, Snippet { expansion, declared });
    }

    /// Returns where a snippet of this name was declared.
    pub(super) fn declared(&self, name: &str) -> Option<&Word> {
        self.snippets.get(name).map(|snippet| &snippet.declared)
    }

    /// Returns the words that replace `import ARGUMENT`. A snippet takes precedence over a file of
    /// the same name. `rest` are the words after the import, for the hint that a snippet is
    /// declared too late.
    pub(super) fn expand<'a>(&mut self, argument: &Word, rest: impl Iterator<Item = &'a Word>) -> Result<Arc<[Word]>> {
        let name = argument.as_str();
        if let Some(snippet) = self.snippets.get_mut(name) {
            if self.snippets_expanded >= MOST_SNIPPETS {
                return Err(circle("snippet", argument).hint("snippets that import each other never end").into());
            }
            self.snippets_expanded += 1;
            let expansion = &mut snippet.expansion;
            self.words_repeated += repeated(expansion);
            let words = expansion.words.clone();
            return self.within_limit(argument, words);
        }
        if self.files_expanded >= MOST_FILES {
            return Err(circle("file", argument).hint("files that import each other never end").into());
        }
        self.files_expanded += 1;
        let key = (argument.file().clone(), argument.text.clone());
        if !self.files.contains_key(&key) {
            let words = self.read(argument, &pattern(argument)?, rest)?;
            self.files.insert(key.clone(), Expansion { words, used: false });
        }
        let expansion = self.files.get_mut(&key).expect("it was put there if it was missing");
        self.words_repeated += repeated(expansion);
        let words = expansion.words.clone();
        self.within_limit(argument, words)
    }

    /// Refuses imports that would fill the memory. CoreDNS has no such limit and uses gigabytes.
    fn within_limit(&self, argument: &Word, words: Arc<[Word]>) -> Result<Arc<[Word]>> {
        if self.words_repeated <= MOST_REPEATED_WORDS {
            return Ok(words);
        }
        let message = format!("Error during parsing: imports repeat more than {MOST_REPEATED_WORDS} words");
        Err(argument.complain(message).hint("is there a circle of imports?").into())
    }

    /// Reads all files that match a pattern.
    fn read<'a>(
        &mut self,
        argument: &Word,
        pattern: &str,
        rest: impl Iterator<Item = &'a Word>,
    ) -> Result<Arc<[Word]>> {
        let count = |c: char| pattern.matches(c).count();
        if count('*') > 1 || count('?') > 1 || (count('[') > 0 && count(']') > 0) {
            let message = format!(
                "Error during parsing: Glob pattern may only contain one wildcard (*), but has others: {pattern}"
            );
            return Err(argument.complain(message).hint("use one '*', or one import line for each directory").into());
        }
        let paths = glob(pattern).map_err(|wrong| {
            let (why, hint) = match &wrong {
                Wrong::Pattern => {
                    ("syntax error in pattern", "a '[' needs its ']', a '\\' the character that it stands before")
                }
                Wrong::Files(why) => (&**why, ""),
            };
            let message = format!("Error during parsing: Failed to use import pattern {argument}: {why}");
            argument.complain(message).hint(hint)
        })?;
        if paths.is_empty() {
            if !pattern.contains(['*', '?', '[', ']']) {
                return Err(self.not_found(argument, pattern, rest));
            }
            let message = format!("No files matching import glob pattern: {argument}");
            self.warnings.push(argument.complain(message));
        }
        let mut words = Vec::new();
        for path in paths {
            words.extend_from_slice(&self.source(argument, &path)?);
        }
        Ok(words.into())
    }

    /// Returns the words of one file.
    fn source(&mut self, argument: &Word, path: &Path) -> Result<Arc<[Word]>> {
        let path = clean(path);
        if let Some(words) = self.sources.get(&path) {
            return Ok(words.clone());
        }
        let shown = path.display();
        let refuse = |why: String| argument.complain(format!("Error during parsing: Could not import {shown}: {why}"));
        if path.is_dir() {
            return Err(refuse("is a directory".to_owned())
                .hint(format!("to import all files in it, write {argument}/*"))
                .into());
        }
        let bytes = std::fs::read(&path).map_err(|error| refuse(words(&error)))?;
        let source = Arc::new(Source { name: path.to_string_lossy().into(), text: decode(&bytes), imported: true });
        let words: Arc<[Word]> = lex(&source).into();
        self.sources.insert(path, words.clone());
        Ok(words)
    }

    /// Reports that there is neither such a snippet nor such a file, and which of both was probably
    /// meant.
    fn not_found<'a>(
        &self,
        argument: &Word,
        path: &str,
        mut rest: impl Iterator<Item = &'a Word>,
    ) -> crate::error::Error {
        let complaint = argument.complain(format!("Error during parsing: File to import not found: {argument}"));
        let in_parentheses = format!("({argument})");
        let later = rest.find(|word| *word.text == in_parentheses);
        let near = suggest::nearest(argument.as_str(), self.snippets.keys().map(String::as_str));
        let hint = match (later, near) {
            (Some(word), _) => format!(
                "the snippet {word} is declared at {}:{}: it must stand above its first use",
                word.file(),
                word.line
            ),
            (None, Some(near)) => format!("did you mean the snippet '{near}'?"),
            (None, None) => {
                format!("no snippet ({argument}) is declared above, and there is no file {path}")
            }
        };
        complaint.hint(hint).into()
    }
}

/// Returns how many words this expansion repeats: none the first time.
fn repeated(expansion: &mut Expansion) -> usize {
    if std::mem::replace(&mut expansion.used, true) { expansion.words.len() } else { 0 }
}

/// Returns the path or pattern of an argument, relative to the directory of the argument's own
/// file.
fn pattern(argument: &Word) -> Result<String> {
    if argument.text.starts_with('/') {
        return Ok(argument.text.to_string());
    }
    let file = argument.file();
    let mut path = std::path::absolute(&**file).map_err(|error| {
        let message = format!("Error during parsing: Failed to get absolute path of file: {file}: {error}");
        argument.complain(message)
    })?;
    path.set_file_name(argument.as_str());
    Ok(clean(&path).to_string_lossy().into_owned())
}

/// There are so many imports that they must be circular. CoreDNS names the limit of snippets for
/// files too.
pub(super) fn circle(what: &str, word: &Word) -> Complaint {
    word.complain(format!("Error during parsing: maximum {what} import depth ({MOST_SNIPPETS}) exceeded"))
}

/// Snippets that are expanded in one Corefile, as in CoreDNS.
const MOST_SNIPPETS: usize = 10_000;
/// Imports of files in one Corefile, as in CoreDNS.
const MOST_FILES: usize = 100_000;
/// Words that come from importing the same thing again.
const MOST_REPEATED_WORDS: usize = 1_000_000;
