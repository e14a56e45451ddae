//! `signpost -migrate`: the Corefile as it is written today, with remarks.
//!
//! Only the lines that have to change are changed: comments, blank lines, snippets and imports stay
//! as they are.

use std::collections::BTreeMap;
use std::io::Read as _;

use crate::corefile::{self, Cursor, Directive, Vocabulary, Word};
use crate::error::{Error, Result};
use crate::plugins::kubernetes::old;
use crate::plugins::refused::old::{Said, replacement};
use crate::plugins::{COREDNS, KNOWN};

/// A migrated Corefile with remarks.
#[derive(Debug, PartialEq, Eq)]
pub struct Migrated {
    /// The text of the new Corefile.
    pub text: String,
    /// Remarks, each with file and line of the old one.
    pub remarks: Vec<String>,
}

/// Reads the Corefile at `path`, or standard input if that is `stdin`, and returns it as it is
/// written today.
///
/// # Errors
/// The file cannot be read, or CoreDNS of any version could not read it.
pub fn migrate(path: &str) -> Result<Migrated> {
    let read = match path {
        "stdin" => {
            let mut bytes = Vec::new();
            std::io::stdin().read_to_end(&mut bytes).map(|_| bytes)
        }
        path => std::fs::read(path),
    };
    let bytes = read.map_err(|source| Error::Io { what: format!("loading Corefile via flag: open {path}"), source })?;
    migrated(&corefile::decode(&bytes), path)
}

/// The lines of the file that change, by the first one: the last one, and the new lines.
type Edits = BTreeMap<usize, (usize, Vec<String>)>;

fn migrated(text: &str, path: &str) -> Result<Migrated> {
    let served: Vec<&str> = KNOWN.iter().map(|plugin| plugin.name).chain(COREDNS.iter().copied()).collect();
    let vocabulary = Vocabulary { served: &served, elsewhere: &[] };
    let corefile = corefile::parse(text, path, &|name: &str| std::env::var(name).ok(), &vocabulary)?;
    let lines: Vec<&str> = text.lines().collect();
    let mut change = Change { path, lines: &lines, edits: Edits::new(), remarks: Vec::new() };
    for directive in corefile.blocks.iter().flat_map(|block| &block.directives) {
        for words in occurrences(directive) {
            match directive.name.as_str() {
                "kubernetes" => change.options(words),
                name => change.directive(name, words),
            }
        }
    }
    let Change { edits, remarks, .. } = change;
    let mut new = Vec::new();
    let mut at = 0;
    for (first, (last, lines)) in edits {
        new.extend(text.lines().take(first).skip(at).map(str::to_owned));
        new.extend(lines);
        at = last + 1;
    }
    new.extend(text.lines().skip(at).map(str::to_owned));
    Ok(Migrated { text: new.join("\n") + "\n", remarks })
}

/// Returns the words of each occurrence of a directive.
fn occurrences(directive: &Directive) -> Vec<&[Word]> {
    let begins = |at: &usize| {
        let word = &directive.words[*at];
        *word.text == *directive.name && (*at == 0 || directive.words[at - 1].line_breaks_before(word))
    };
    let starts: Vec<usize> = (0..directive.words.len()).filter(begins).collect();
    let ends = starts.iter().skip(1).copied().chain([directive.words.len()]);
    starts.iter().zip(ends).map(|(&start, end)| &directive.words[start..end]).collect()
}

/// What changes in a file.
struct Change<'a> {
    path: &'a str,
    lines: &'a [&'a str],
    edits: Edits,
    remarks: Vec<String>,
}

impl Change<'_> {
    /// Replaces an old directive.
    fn directive(&mut self, name: &str, words: &[Word]) {
        let directive = Directive { name: name.to_owned(), words: words.to_vec() };
        let mut cursor = Cursor::new(&directive);
        cursor.next_occurrence();
        let Some(new) = replacement(name, &Said::read(&mut cursor)) else { return };
        let instead = if new.lines.is_empty() { "it is taken out".to_owned() } else { new.lines.join("\n    ") };
        if self.replace(words, new.lines) {
            self.remark(&words[0], &format!("{name} is gone"));
        } else {
            self.remark(&words[0], &format!("{name} is gone, and its lines could not be changed; write {instead}"));
        }
        for lost in new.lost {
            self.remark(&words[0], &lost);
        }
    }

    /// Takes old options out of the block of `kubernetes`.
    fn options(&mut self, words: &[Word]) {
        for at in 1..words.len() {
            let Some(why) = old::option(words[at].as_str()).filter(|_| words[at - 1].line_breaks_before(&words[at]))
            else {
                continue;
            };
            let end = (at + 1..words.len()).find(|&next| words[next - 1].line_breaks_before(&words[next]));
            let line = &words[at..end.unwrap_or(words.len())];
            let verb = if self.replace(line, Vec::new()) { "is taken out" } else { "has to be taken out" };
            self.remark(&words[at], &format!("{} {verb}: {why}", words[at]));
        }
    }

    /// Replaces the lines of `words` by others. Returns false if other words stand on them, or if
    /// they are in another file.
    fn replace(&mut self, words: &[Word], new: Vec<String>) -> bool {
        let (Some(first), Some(last)) = (words.first(), words.last()) else { return false };
        let (from, to) = (first.line as usize - 1, last.line as usize - 1);
        let is_here = **first.file() == *self.path && **last.file() == *self.path;
        let begins = self.lines.get(from).is_some_and(|line| line.trim_start().starts_with(first.written()));
        let ends = self.lines.get(to).is_some_and(|line| {
            let code = line.split('#').next().unwrap_or_default().trim_end();
            code.ends_with(last.written())
        });
        if !(is_here && begins && ends) {
            return false;
        }
        let indent: String = self.lines[from].chars().take_while(|letter| letter.is_whitespace()).collect();
        self.edits.insert(from, (to, new.iter().map(|line| format!("{indent}{line}")).collect()));
        true
    }

    fn remark(&mut self, word: &Word, what: &str) {
        let remark = format!("{}:{}: {what}", word.file(), word.line);
        if !self.remarks.contains(&remark) {
            self.remarks.push(remark);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_corefile_of_kubeadm_1_9_is_of_today() {
        let old = "# DNS of the cluster\n.:53 {\n    errors\n    kubernetes cluster.local 10.0.0.0/24 {\n        pods insecure\n        \
                   upstream 8.8.8.8 # no use\n    }\n\n    proxy . /etc/resolv.conf {\n        fail_timeout 2s\n        \
                   max_fails 3\n    } # done\n    startup \"/bin/my echo\" a\n}\n";
        let new = "# DNS of the cluster\n.:53 {\n    errors\n    kubernetes cluster.local 10.0.0.0/24 {\n        pods insecure\n    \
                   }\n\n    forward . /etc/resolv.conf {\n        max_fails 3\n    }\n    on startup \"/bin/my echo\" a\n}\n";
        let Migrated { text, remarks } = migrated(old, "Corefile").expect("it can be read");
        assert_eq!(text, new);
        let wanted =
            ["Corefile:9: proxy is gone", "Corefile:6: upstream is taken out", "`fail_timeout 2s` has no successor"];
        for part in wanted {
            assert!(remarks.iter().any(|remark| remark.contains(part)), "{part}: {remarks:?}");
        }
        assert_eq!(
            migrated(new, "Corefile").expect("it can be read"),
            Migrated { text: new.to_owned(), remarks: vec![] }
        );
    }

    #[test]
    fn what_stands_in_a_snippet_changes_once() {
        let old = "(all) {\n  proxy . 8.8.8.8\n}\na.test {\n  import all\n}\nb.test {\n  import all\n}\n";
        let Migrated { text, remarks } = migrated(old, "Corefile").expect("it can be read");
        assert_eq!(text, old.replace("proxy", "forward"));
        assert_eq!(remarks, ["Corefile:2: proxy is gone"]);
    }
}
