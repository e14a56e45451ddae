//! Reads the rules for EDNS options and aliases, and reports errors in CoreDNS's words.

use regex::Regex;

use super::cname::Cname;
use super::edns::{Edns, Kind, Operation, Variable};
use super::parse::{MATCHES, MAX_REGEX, Reader, reason};
use super::pattern::Pattern;
use crate::corefile::Word;
use crate::corefile::value::quote;
use crate::error::{Error, Result};
use crate::wire::name::Name;

impl<'a> Reader<'_, 'a> {
    pub(super) fn edns(&self, words: &[&'a Word]) -> Result<Edns> {
        let [kind, action, ref rest @ ..] = *words else {
            let complaint = self.wrong(words, "too few arguments for an EDNS0 rule");
            return Err(complaint.hint("rewrite edns0 local set 0xffee {client_ip}").into());
        };
        let lower = action.as_str().to_ascii_lowercase();
        let action = match &*lower {
            "set" => Operation::Set,
            "append" => Operation::Append,
            "replace" => Operation::Replace,
            "unset" => return self.unset(kind, rest),
            _ => {
                let message = format!("invalid action: {}", quote(&lower));
                return Err(self.cursor.unknown(action, message, &["set", "append", "replace", "unset"]));
            }
        };
        let (rest, reverts) = match rest {
            [rest @ .., last] if last.as_str() == "revert" => (rest, true),
            rest => (rest, false),
        };
        let kind = match (&*kind.as_str().to_ascii_lowercase(), rest) {
            ("local", [code, data]) => self.local(code, data)?,
            ("local", _) => return Err(self.wrong(words, "EDNS0 local rules require three or four args").into()),
            ("nsid", []) => Kind::Nsid,
            ("nsid", _) => return Err(self.wrong(words, "EDNS0 NSID rules can accept no more than one arg").into()),
            ("subnet", [four, six]) => Kind::Subnet(self.bits(four, "IPv4", 32)?, self.bits(six, "IPv6", 128)?),
            ("subnet", _) => return Err(self.wrong(words, "EDNS0 subnet rules require three or four args").into()),
            (other, _) => return Err(self.invalid_kind(kind, other)),
        };
        Ok(Edns { action, kind, reverts })
    }

    fn unset(&self, kind: &'a Word, rest: &[&'a Word]) -> Result<Edns> {
        let wrong = |message: &str| Err(self.wrong(&[kind], message).into());
        let kind = match (&*kind.as_str().to_ascii_lowercase(), rest) {
            ("local", [code]) => Kind::Local(self.code(code)?, Vec::new()),
            ("local", _) => return wrong("local unset action requires exactly two arguments"),
            ("nsid", []) => Kind::Nsid,
            ("nsid", _) => return wrong("nsid unset action requires exactly one argument"),
            ("subnet", []) => Kind::Subnet(0, 0),
            ("subnet", _) => return wrong("subnet unset action requires exactly one argument"),
            (other, _) => return Err(self.invalid_kind(kind, other)),
        };
        Ok(Edns { action: Operation::Unset, kind, reverts: false })
    }

    fn invalid_kind(&self, word: &'a Word, lower: &str) -> Error {
        self.cursor.unknown(word, format!("invalid rule type {}", quote(lower)), &["local", "nsid", "subnet"])
    }

    fn local(&self, code: &'a Word, data: &'a Word) -> Result<Kind> {
        let code = self.code(code)?;
        let text = data.as_str();
        if let Some(name) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            let variable = Variable::named(name).ok_or_else(|| -> Error {
                let complaint = self.wrong(&[data], format!("unsupported variable name {}", quote(text)));
                let known = "{qname}, {qtype}, {client_ip}, {client_port}, {protocol}, {server_ip}, {server_port}";
                complaint.hint(format!("{known} or a label: {{view/name}}")).into()
            })?;
            return Ok(Kind::Variable(code, variable));
        }
        let octets = match text.strip_prefix("0x") {
            None => text.as_bytes().to_vec(),
            Some(digits) => octets(digits).ok_or_else(|| -> Error {
                let message = format!("encoding/hex: invalid octets in {}", quote(text));
                self.wrong(&[data], message).hint("two digits for each octet, as in 0x6162").into()
            })?,
        };
        Ok(Kind::Local(code, octets))
    }

    fn code(&self, word: &'a Word) -> Result<u16> {
        number(word.as_str()).ok_or_else(|| {
            let message = format!("strconv.ParseUint: parsing {}: invalid syntax", quote(word.as_str()));
            self.wrong(&[word], message).hint("a number up to 65535, as in 0xffee").into()
        })
    }

    fn bits(&self, word: &'a Word, family: &str, most: u16) -> Result<u8> {
        let bits = self.code(word)?;
        match u8::try_from(bits) {
            Ok(bits) if u16::from(bits) <= most => Ok(bits),
            _ => Err(self.wrong(&[word], format!("invalid {family} bit mask length {bits}")).into()),
        }
    }

    pub(super) fn cname(&self, words: &[&'a Word]) -> Result<Cname> {
        let (how, from, to) = match *words {
            [from, to] => (None, from, to),
            [how, from, to] => (Some(how), from, to),
            _ => {
                let message = format!("too few ({}) arguments for a cname rule", words.len());
                return Err(self.wrong(words, message).hint("rewrite cname exact FROM TO").into());
            }
        };
        let text = from.as_str().to_lowercase();
        let kind = how.map_or_else(|| "exact".to_owned(), |how| how.as_str().to_ascii_lowercase());
        // Only an exact name is made fully qualified, as in CoreDNS.
        let pattern = match &*kind {
            "exact" => self.exact(from),
            "prefix" => Pattern::Prefix(text),
            "suffix" => Pattern::Suffix(text),
            "substring" => Pattern::Substring(text),
            "regex" if text.len() > MAX_REGEX => {
                let message = format!("regex pattern too long in a cname rule: {} > {MAX_REGEX}", text.len());
                return Err(self.wrong(&[from], message).into());
            }
            "regex" => Pattern::Regex(Regex::new(&text).map_err(|why| -> Error {
                let complaint = self.wrong(&[from], format!("invalid cname rewrite regex pattern: {text}"));
                complaint.hint(reason(&why)).into()
            })?),
            other => {
                let message = format!("unknown cname rewrite type: {other}");
                return Err(self.cursor.unknown(how.unwrap_or(from), message, MATCHES));
            }
        };
        let to_text = to.as_str().to_lowercase();
        if kind == "exact" && Name::from_text(&to_text).is_err() {
            self.cursor.warn(to, format!("{to} is not a domain name: this rule never applies"));
        }
        Ok(Cname { pattern, to: to_text })
    }
}

/// Reads a number as Go does without a base: `0x1f`, `0o17`, `017`, `0b1`.
fn number(text: &str) -> Option<u16> {
    let lower = text.to_ascii_lowercase();
    let (digits, base) = match lower.as_bytes() {
        [b'0', b'x', ..] => (&lower[2..], 16),
        [b'0', b'b', ..] => (&lower[2..], 2),
        [b'0', b'o', ..] => (&lower[2..], 8),
        [b'0', _, ..] => (&lower[1..], 8),
        _ => (&*lower, 10),
    };
    // Go takes underscores between digits, and no sign.
    let is_number = digits.bytes().all(|digit| digit.is_ascii_alphanumeric());
    is_number.then(|| u16::from_str_radix(digits, base).ok()).flatten()
}

fn octets(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| {
            u8::from_str_radix(
                std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2 && !pair.starts_with('+'))?,
                16,
            )
            .ok()
        })
        .collect()
}
