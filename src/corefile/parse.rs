//! Parses words into server blocks: the grammar of the Corefile, as CoreDNS's parser reads it.
//!
//! ```text
//! corefile  := { block | snippet | "import" NAME }
//! block     := keys "{" directives "}" | keys NEWLINE directives (to the end of the file)
//! snippet   := "(" NAME ")" "{" ... "}"
//! keys      := KEY { [","] KEY }         on one line, or on the next after a comma
//! directive := NAME arguments... [ "{" ... "}" ]
//! ```

use crate::error::{Complaint, Error, Result};

use super::env::{self, Environment};
use super::import::{Imports, circle};
use super::stream::Stream;
use super::suggest;
use super::word::Word;
use super::{Directive, ServerBlock, Vocabulary};

/// Returns the server blocks in the order of the file, and warnings.
pub(super) fn blocks(
    words: Vec<Word>,
    file: &str,
    env: &Environment<'_>,
    vocabulary: &Vocabulary<'_>,
) -> Result<(Vec<ServerBlock>, Vec<Complaint>)> {
    let mut parser = Parser { stream: Stream::new(words), imports: Imports::default(), file, env, vocabulary };
    let mut blocks = Vec::new();
    while parser.stream.next() {
        if let Some(block) = parser.block()? {
            blocks.push(block);
        }
    }
    Ok((blocks, parser.imports.warnings))
}

struct Parser<'a> {
    stream: Stream,
    imports: Imports,
    file: &'a str,
    env: &'a Environment<'a>,
    vocabulary: &'a Vocabulary<'a>,
}

impl Parser<'_> {
    /// Parses one server block from its first key. Returns `None` for a snippet and for a block
    /// without keys.
    fn block(&mut self) -> Result<Option<ServerBlock>> {
        let mut block = ServerBlock { keys: Vec::new(), directives: Vec::new() };
        let more = self.keys(&mut block.keys)?;
        if more {
            if let Some(name) = snippet_name(&block.keys) {
                let declared = block.keys.remove(0);
                self.snippet(name, declared)?;
                return Ok(None);
            }
            self.contents(&mut block)?;
        }
        Ok((!block.keys.is_empty()).then_some(block))
    }

    /// Reads keys up to `{` or a new line, and stops there. Returns false if the file ends first.
    fn keys(&mut self, keys: &mut Vec<Word>) -> Result<bool> {
        let mut comma = false;
        loop {
            let Some(mut key) = self.stream.current().cloned() else {
                return Ok(false);
            };
            env::fill(&mut key, self.env)?;
            if *key.text == *"import" && self.stream.at_line_start() {
                self.import()?;
                if self.stream.next() {
                    continue;
                }
                return self.end_of_keys(comma);
            }
            if *key.text == *"{" {
                if comma {
                    let message = "Error during parsing: Expected another address but had '{' - check for extra comma";
                    return Err(key.complain(message).hint("no ',' stands behind the last zone").into());
                }
                return Ok(true);
            }
            if !key.text.is_empty() {
                comma = key.text.ends_with(',');
                if comma {
                    key.text = key.text[..key.text.len() - 1].into();
                }
                keys.push(key);
            }
            if !self.stream.next() {
                return self.end_of_keys(comma);
            }
            if !comma && self.stream.at_line_start() {
                return Ok(true);
            }
        }
    }

    fn end_of_keys(&self, comma: bool) -> Result<bool> {
        if comma {
            let hint = "another zone is expected behind ','";
            return Err(self.complain("Error during parsing: Unexpected EOF").hint(hint).into());
        }
        Ok(false)
    }

    /// Reads the directives between braces, or without braces up to the end of the file.
    fn contents(&mut self, block: &mut ServerBlock) -> Result<()> {
        let braces = self.stream.text() == "{";
        let open = self.stream.current().cloned();
        if !braces {
            self.stream.step_back();
        }
        self.directives(block)?;
        if braces && self.stream.text() != "}" {
            let complaint = self.expected("}");
            return Err(match open {
                Some(open) => complaint.hint(format!(
                    "the server block that begins at {}:{} is not closed with '}}'",
                    open.file(),
                    open.line
                )),
                None => complaint,
            }
            .into());
        }
        Ok(())
    }

    fn directives(&mut self, block: &mut ServerBlock) -> Result<()> {
        while self.stream.next() {
            match self.stream.text() {
                "}" => return Ok(()),
                "import" => self.import()?,
                _ => self.directive(block)?,
            }
        }
        Ok(())
    }

    /// Collects one directive up to the end of its line or of the block that opens there.
    fn directive(&mut self, block: &mut ServerBlock) -> Result<()> {
        let Some(first) = self.stream.current().cloned() else {
            return Ok(());
        };
        let words = &mut self.named(first, block)?.words;
        let mut open: Vec<Word> = Vec::new();
        while self.stream.next() {
            match self.stream.text() {
                "{" => open.extend(self.stream.current().cloned()),
                _ if open.is_empty() && self.stream.at_line_start() => {
                    self.stream.step_back();
                    break;
                }
                "}" if open.pop().is_none() => return Err(self.stray_brace().into()),
                "import" if self.stream.at_line_start() => {
                    self.import()?;
                    continue;
                }
                _ => {}
            }
            if let Some(word) = self.stream.current_mut() {
                env::fill(word, self.env)?;
                words.push(word.clone());
            }
        }
        match open.last() {
            Some(brace) => {
                let hint = format!("the block that begins at {}:{} is not closed with '}}'", brace.file(), brace.line);
                Err(self.complain("Error during parsing: Unexpected EOF").hint(hint).into())
            }
            None => Ok(()),
        }
    }

    /// Checks a directive's name, and returns its word list in the block, with `first` added.
    fn named<'b>(&self, first: Word, block: &'b mut ServerBlock) -> Result<&'b mut Directive> {
        let mut filled = first.clone();
        env::fill(&mut filled, self.env)?;
        let name = filled.as_str();
        if !self.vocabulary.served.contains(&name) {
            return Err(self.not_served(&filled));
        }
        let at = block.directives.iter().position(|directive| directive.name == name).unwrap_or_else(|| {
            let name = name.to_owned();
            block.directives.push(Directive { name, words: Vec::new() });
            block.directives.len() - 1
        });
        let directive = &mut block.directives[at];
        directive.words.push(first);
        Ok(directive)
    }

    fn not_served(&self, word: &Word) -> Error {
        let name = word.as_str();
        if self.vocabulary.elsewhere.contains(&name) {
            let message =
                format!("Error during parsing: CoreDNS has the plugin '{name}', Signpost does not have it yet");
            return word.complain(message).hint("take the directive out, or serve these zones with CoreDNS").into();
        }
        let known = self.vocabulary.served.iter().chain(self.vocabulary.elsewhere).copied();
        let hint = suggest::unknown_directive(word, name, known);
        word.complain(format!("Error during parsing: Unknown directive '{name}'")).hint(hint).into()
    }

    /// Declares a snippet; its words are parsed where it is imported.
    fn snippet(&mut self, name: String, declared: Word) -> Result<()> {
        if let Some(first) = self.imports.declared(&name) {
            let hint = format!("({name}) was declared at {}:{}", first.file(), first.line);
            return Err(self
                .complain(format!("Error during parsing: redeclaration of previously declared snippet {name}"))
                .hint(hint)
                .into());
        }
        if self.stream.text() != "{" {
            return Err(self.expected("{").hint(format!("the snippet ({name}) needs braces")).into());
        }
        let mut words = Vec::new();
        let mut open = 1_usize;
        while self.stream.next() {
            match self.stream.text() {
                "{" => open += 1,
                "}" => open -= 1,
                _ => {}
            }
            let Some(word) = self.stream.current().cloned() else {
                break;
            };
            if open == 0 {
                if imports_itself(&name, &words, self.env)? {
                    return Err(circle("snippet", &word).hint(format!("the snippet ({name}) imports itself")).into());
                }
                self.imports.declare(name, declared, words);
                return Ok(());
            }
            words.push(word);
        }
        let hint = format!(
            "the snippet ({name}) that begins at {}:{} is not closed with '}}'",
            declared.file(),
            declared.line
        );
        Err(self.expected("}").hint(hint).into())
    }

    /// Replaces an import statement by the imported words. The stream then stands at the word
    /// before it.
    fn import(&mut self) -> Result<()> {
        let before = self.stream.previous().cloned();
        if !self.stream.next_on_line() {
            let hint = "import takes the name of a snippet, or a file";
            let message = format!(
                "Error during parsing: Wrong argument count or unexpected line ending after '{}'",
                self.stream.text()
            );
            return Err(self.complain(message).hint(hint).into());
        }
        let Some(mut argument) = self.stream.current().cloned() else {
            return Ok(());
        };
        env::fill(&mut argument, self.env)?;
        if argument.text.is_empty() {
            return Err(argument.complain("Error during parsing: Import requires a non-empty filepath").into());
        }
        if self.stream.next_on_line() {
            let hint = "a snippet has no parameters and an import no block: write one import line for each";
            return Err(self
                .complain("Error during parsing: Import takes only one argument (glob pattern or file)")
                .hint(hint)
                .into());
        }
        let words = self.imports.expand(&argument, self.stream.rest())?;
        self.stream.push(words);
        self.stream.rewind_to(before);
        Ok(())
    }

    fn stray_brace(&self) -> Complaint {
        self.complain("Error during parsing: Unexpected '}' because no matching opening brace")
            .hint("a '}' that closes a server block stands on a line of its own")
    }

    fn expected(&self, expected: &str) -> Complaint {
        let found = self.stream.text();
        self.complain(format!("Syntax error: Unexpected token '{found}', expecting '{expected}'"))
    }

    /// Returns a complaint about the current word.
    fn complain(&self, message: impl Into<String>) -> Complaint {
        match self.stream.current() {
            Some(word) => word.complain(message),
            None => Complaint::new(format!("{}: {}", self.file, message.into())),
        }
    }
}

/// Returns the name of a snippet: a single key in parentheses.
fn snippet_name(keys: &[Word]) -> Option<String> {
    let [key] = keys else { return None };
    key.text.strip_prefix('(')?.strip_suffix(')').map(str::to_owned)
}

/// Returns whether a line of a snippet imports the same snippet. Longer circles are found when they
/// are followed.
fn imports_itself(name: &str, words: &[Word], env: &Environment<'_>) -> Result<bool> {
    for (at, pair) in words.windows(2).enumerate() {
        let line_start = at == 0 || words[at - 1].line != pair[0].line;
        if *pair[0].text == *"import" && line_start {
            let mut argument = pair[1].clone();
            env::fill(&mut argument, env)?;
            if *argument.text == *name {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
