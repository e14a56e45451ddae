//! Reads the rules of a Corefile, and reports errors in CoreDNS's words.

use regex::Regex;

use super::pattern::{Pattern, groups_in};
use super::rule::{Action, Answers, Part, Rule};
use crate::corefile::value::quote;
use crate::corefile::{Cursor, Word};
use crate::error::{Complaint, Error, Result};
use crate::wire::name::Name;
use crate::wire::types::{class_number, rcode_number, type_number};

/// Maximum length of an expression in octets, as in CoreDNS.
const MAX_REGEX: usize = 10_000;

/// The largest RCODE that may be written as a number.
const MAX_RCODE: u16 = 23;

/// The largest TTL (RFC 2181 section 8) in seconds: the default of an omitted limit.
const MAX_TTL: u32 = 0x7FFF_FFFF;

/// Kinds of rules.
const FIELDS: &[&str] = &["name", "type", "class", "ttl", "rcode"];

/// Ways of comparing names.
const MATCHES: &[&str] = &["exact", "prefix", "suffix", "substring", "regex"];

/// Reads all rules of a server block.
pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Vec<Rule>> {
    let mut rules = Vec::new();
    while cursor.next_occurrence() {
        let directive = cursor.word();
        let mut words = cursor.args();
        if words.len() < 2 {
            // A block is one rule, however its lines are split.
            while cursor.next_option() {
                words.push(cursor.word());
            }
        }
        rules.push(Reader { cursor, directive }.rule(&words)?);
    }
    Ok(rules)
}

/// Reads one rule.
struct Reader<'c, 'a> {
    cursor: &'c Cursor<'a>,
    directive: &'a Word,
}

impl<'a> Reader<'_, 'a> {
    fn rule(&self, words: &[&'a Word]) -> Result<Rule> {
        let Some(first) = words.first() else {
            return Err(self
                .wrong(&[], "no rule type specified for rewrite")
                .hint("a rule begins with name, type, class, ttl or rcode")
                .into());
        };
        let mode = first.as_str().to_ascii_lowercase();
        let (goes_on, rest) = match &*mode {
            "continue" => (true, &words[1..]),
            "stop" => (false, &words[1..]),
            _ => (false, words),
        };
        let Some((field, rest)) = rest.split_first() else {
            return Err(self.wrong(words, format!("{mode} rule must begin with a rule type")).into());
        };
        let action = match &*field.as_str().to_ascii_lowercase() {
            "answer" => {
                let complaint = self.wrong(&[field], "response rewrites must begin with a name rule");
                return Err(complaint.hint("rewrite name FROM TO answer auto").into());
            }
            "name" => self.name(rest)?,
            kind @ ("type" | "class") => self.number(kind, rest)?,
            "ttl" => self.ttl(rest)?,
            "rcode" => self.rcode(rest)?,
            kind @ ("edns0" | "cname") => return Err(self.not_yet(field, kind)),
            _ => {
                return Err(self.cursor.unknown(field, format!("invalid rule type {}", quote(first.as_str())), FIELDS));
            }
        };
        Ok(Rule { goes_on, action })
    }

    /// Builds a complaint about the last of some words, or about the directive if there are none.
    fn wrong(&self, words: &[&'a Word], message: impl Into<String>) -> Complaint {
        self.cursor.complain(words.last().copied().unwrap_or(self.directive), message)
    }

    fn not_yet(&self, word: &'a Word, what: &str) -> Error {
        let hint = "CoreDNS has it, Signpost does not have it yet; name, type, class, ttl and rcode are there";
        self.wrong(&[word], format!("{what} rules are not served yet")).hint(hint).into()
    }

    fn number(&self, kind: &str, words: &[&'a Word]) -> Result<Action> {
        let [from, to] = *words else {
            return Err(self.wrong(words, format!("{kind} rules must have exactly two arguments")).into());
        };
        let read = |word: &'a Word| {
            let text = word.as_str().to_ascii_uppercase();
            let number = if kind == "type" { type_number(&text) } else { class_number(&text) };
            number.ok_or_else(|| Error::from(self.wrong(&[word], format!("invalid {kind} {}", quote(&text)))))
        };
        let (from, to) = (read(from)?, read(to)?);
        Ok(if kind == "type" { Action::Type(from, to) } else { Action::Class(from, to) })
    }

    fn ttl(&self, words: &[&'a Word]) -> Result<Action> {
        let (how, name, ttl) = match *words {
            [name, ttl] => (None, name, ttl),
            [how, name, ttl] => (Some(how), name, ttl),
            [] | [_] => {
                return Err(self.wrong(words, format!("too few ({}) arguments for a ttl rule", words.len())).into());
            }
            // CoreDNS checks the TTL first, and there is none.
            _ => {
                return Err(self
                    .wrong(words, "invalid TTL '' for a ttl rule")
                    .hint("a ttl rule has two or three words")
                    .into());
            }
        };
        let Some((least, most)) = limits(ttl.as_str()) else {
            let complaint = self.wrong(&[ttl], format!("invalid TTL '{ttl}' for a ttl rule"));
            return Err(complaint.hint("seconds, as in 300, 60-300, 60- or -300").into());
        };
        Ok(Action::Ttl(self.pattern("ttl", how, name)?, least, most))
    }

    fn rcode(&self, words: &[&'a Word]) -> Result<Action> {
        let (how, name, old, new) = match *words {
            [name, old, new] => (None, name, old, new),
            [how, name, old, new] => (Some(how), name, old, new),
            _ if words.len() < 3 => {
                return Err(self.wrong(words, format!("too few ({}) arguments for a rcode rule", words.len())).into());
            }
            _ => {
                let complaint = self.wrong(words, "invalid matching RCODE '' for a rcode rule");
                return Err(complaint.hint("a rcode rule has three or four words").into());
            }
        };
        let read = |word: &'a Word, which: &str| {
            let text = word.as_str().to_ascii_uppercase();
            let number = text.parse().ok().filter(|&number: &u16| number <= MAX_RCODE);
            let known = if text == "NOTIMPL" { "NOTIMP" } else { &text };
            number.or_else(|| rcode_number(known)).ok_or_else(|| {
                let complaint = self.wrong(&[word], format!("invalid {which} RCODE '{word}' for a rcode rule"));
                Error::from(complaint.hint("a name as in NXDOMAIN, or a number up to 23"))
            })
        };
        let (old, new) = (read(old, "matching")?, read(new, "replacement")?);
        Ok(Action::Rcode(self.pattern("rcode", how, name)?, old, new))
    }

    /// Reads the names that a ttl or rcode rule applies to.
    fn pattern(&self, kind: &str, how: Option<&'a Word>, name: &'a Word) -> Result<Pattern> {
        let Some(how) = how else { return Ok(self.exact(name)) };
        match &*how.as_str().to_ascii_lowercase() {
            "regex" if name.as_str().len() > MAX_REGEX => {
                let len = name.as_str().len();
                let message = format!("regex pattern too long in a {kind} rule: {len} > {MAX_REGEX}");
                Err(self.wrong(&[name], message).into())
            }
            "regex" => match Regex::new(name.as_str()) {
                Ok(regex) => Ok(Pattern::Regex(regex)),
                Err(why) => {
                    let message = format!("invalid regex pattern in a {kind} rule: {name}");
                    Err(self.wrong(&[name], message).hint(reason(&why)).into())
                }
            },
            text => self.plain(text, name).ok_or_else(|| {
                let message =
                    format!("{kind} rule supports only exact, prefix, suffix, substring, and regex name matching");
                self.cursor.unknown(how, message, MATCHES)
            }),
        }
    }

    fn name(&self, words: &[&'a Word]) -> Result<Action> {
        let (how, from, to, rest) = match *words {
            [] | [_] => {
                return Err(self.wrong(words, "too few arguments for a name rule").hint("rewrite name FROM TO").into());
            }
            [from, to] => (None, from, to, &[][..]),
            [how, from, to, ref rest @ ..] => (Some(how), from, to, rest),
        };
        let kind = how.map_or_else(|| "exact".to_owned(), |how| how.as_str().to_ascii_lowercase());
        if let Some(word) = rest.first().filter(|word| word.as_str() == "metadata") {
            return Err(match &*kind {
                "regex" => self.not_yet(word, "metadata"),
                _ => self.wrong(&[word], "metadata is only supported for regex name rules").into(),
            });
        }
        let mut answers = if rest.is_empty() { Answers::default() } else { self.answers(&kind, rest)? };
        let pattern = match &*kind {
            "exact" => {
                // CoreDNS's check swaps the arguments: the new name is tried as an expression.
                self.regex(to, &full(to), &full(from))?;
                answers.auto = true;
                if Name::from_text(&full(to)).is_err() {
                    let message = format!("{to} is not a domain name: questions for {from} are answered SERVFAIL");
                    self.cursor.warn(to, message);
                }
                self.exact(from)
            }
            "regex" => Pattern::Regex(self.regex(from, from.as_str(), to.as_str())?),
            text => self.plain(text, from).ok_or_else(|| {
                let known = "exact, prefix, suffix, substring, and regex";
                let message = format!("name rule supports only {known} name matching, received: {text}");
                self.cursor.unknown(how.unwrap_or(from), message, MATCHES)
            })?,
        };
        Ok(Action::Name { pattern, to: full(to), answers })
    }

    fn answers(&self, kind: &str, words: &[&'a Word]) -> Result<Answers> {
        let wrong = |message: String| Err(self.wrong(words, message).into());
        if words.len() < 2 {
            return wrong(format!("invalid arguments for {kind} rule"));
        }
        if words[0].as_str() != "answer" {
            return wrong(format!("exceeded the number of arguments for a non-answer rule argument for {kind} rule"));
        }
        let (mut answers, mut rest) = (Answers::default(), words);
        while let Some((mut what, mut behind)) = rest.split_first() {
            if what.as_str() == "answer" {
                let Some(next) = behind.split_first() else {
                    return wrong(format!("type missing for answer rule for {kind} rule"));
                };
                (what, behind) = next;
            }
            let part = match what.as_str() {
                "auto" => {
                    answers.auto = true;
                    rest = behind;
                    continue;
                }
                "name" => Part::Owner,
                "value" => Part::Target,
                other => {
                    let message = format!("invalid type {} for answer rule for {kind} rule", quote(other));
                    return Err(self.cursor.unknown(what, message, &["auto", "name", "value"]));
                }
            };
            let [from, to, ref behind @ ..] = *behind else {
                return wrong(format!("{what} answer rule for {kind} rule: 2 arguments required"));
            };
            answers.explicit.push((part, self.regex(from, from.as_str(), to.as_str())?, full(to)));
            rest = behind;
        }
        if answers.auto && answers.explicit.iter().any(|(part, ..)| *part == Part::Owner) {
            // CoreDNS misspells the word.
            return wrong("auto name answer rule cannot be combined with explicit name anwer rules".to_owned());
        }
        Ok(answers)
    }

    /// Reads the expression `from`, and checks that `to` does not use more groups than it has. An
    /// error marks `word`.
    fn regex(&self, word: &'a Word, from: &str, to: &str) -> Result<Regex> {
        if from.len() > MAX_REGEX {
            let message = format!("regex pattern too long: {} > {MAX_REGEX}", from.len());
            return Err(self.wrong(&[word], message).into());
        }
        let regex = Regex::new(from)
            .map_err(|why| self.wrong(&[word], format!("invalid regex matching pattern: {from}")).hint(reason(&why)))?;
        // `captures_len` counts the whole match as the first group.
        if groups_in(to) > regex.captures_len() - 1 {
            let message = format!(
                "the rewrite regex pattern ({to}) uses more subexpressions than its corresponding matching regex \
                 pattern ({from})"
            );
            return Err(self.wrong(&[word], message).hint("{1} is what the first ( ) matched").into());
        }
        Ok(regex)
    }
}

impl Reader<'_, '_> {
    /// Returns the pattern of a kind other than an expression, or `None` if it is one.
    fn plain(&self, kind: &str, name: &Word) -> Option<Pattern> {
        match kind {
            "exact" => Some(self.exact(name)),
            "prefix" => Some(Pattern::Prefix(full(name))),
            "suffix" => Some(Pattern::Suffix(full(name))),
            "substring" => Some(Pattern::Substring(full(name))),
            _ => None,
        }
    }

    /// Returns the pattern of one name. Invalid names never match; they are accepted, as in
    /// CoreDNS.
    fn exact(&self, word: &Word) -> Pattern {
        let name = Name::from_text(&full(word)).ok();
        if name.is_none() {
            self.cursor.warn(word, format!("{word} is not a domain name: this rule never applies"));
        }
        Pattern::Exact(name.map(Box::new))
    }
}

/// Returns a name in lower case with a dot at its end.
fn full(word: &Word) -> String {
    let text = word.as_str().to_lowercase();
    if text.ends_with('.') { text } else { format!("{text}.") }
}

/// Explains an invalid expression in one line.
fn reason(error: &regex::Error) -> String {
    error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// Returns the limits that a TTL word sets, in seconds.
fn limits(text: &str) -> Option<(u32, u32)> {
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    let Some((least, most)) = text.split_once('-') else { return number(text).map(|ttl| (ttl, ttl)) };
    let limits = match (least, most) {
        ("", "") => return None,
        ("", most) => (0, number(most)?),
        (least, "") => (number(least)?, MAX_TTL),
        (least, most) => (number(least)?, number(most)?),
    };
    (limits.0 <= limits.1).then_some(limits)
}
