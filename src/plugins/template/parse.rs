//! Reads the directives of a server block, and reports errors in CoreDNS's words.

use regex::Regex;

use super::text::Text;
use super::{Template, Texts};
use crate::chain::options::{OptionOf, OptionsOf};
use crate::chain::setup::Setup;
use crate::chain::zones::{Fallthrough, Zones};
use crate::corefile::{Cursor, Word};
use crate::error::{Error, Result};
use crate::wire::types::{class_number, rcode_number, type_number};

/// Maximum length of an expression in octets, as in CoreDNS.
const MAX_REGEX: usize = 10_000;

/// Reads all templates of a server block.
pub(super) fn read(s: &Setup<'_>) -> Result<Vec<Template>> {
    let (mut cursor, mut templates) = (s.cursor(), Vec::new());
    let all = Regex::new(".*").ok();
    while cursor.next_occurrence() {
        let qclass = number(&mut cursor, "query class", class_number)?;
        let qtype = number(&mut cursor, "RR class", type_number)?;
        let words = cursor.args();
        let zones = Zones::read(&cursor, &words, s.keys);
        let shown = zones.iter().map(ToString::to_string).collect();
        let mut template = Template {
            qclass,
            qtype,
            zones,
            shown,
            regexes: Vec::new(),
            texts: Texts::default(),
            rcode: 0,
            error: None,
            fallthrough: Fallthrough::default(),
        };
        OPTIONS.read(&mut cursor, &mut template, s)?;
        if template.regexes.is_empty() {
            template.regexes.extend(all.clone());
        }
        templates.push(template);
    }
    Ok(templates)
}

fn number(cursor: &mut Cursor<'_>, what: &str, known: fn(&str) -> Option<u16>) -> Result<u16> {
    let word = cursor.expect_arg()?;
    known(word.as_str()).ok_or_else(|| {
        let complaint = cursor.complain(word, format!("Error during parsing: invalid {what} {word}"));
        let upper = word.as_str().to_ascii_uppercase();
        let hint = match known(&upper) {
            Some(_) => format!("in upper case: {upper}"),
            None => "a template begins with a class and a type: template IN A".to_owned(),
        };
        complaint.hint(hint).into()
    })
}

pub(super) static OPTIONS: OptionsOf<Template> = OptionsOf {
    all: &[
        OptionOf {
            name: "match",
            form: "REGEX...",
            about: "Expressions, one of which has to match the name (`.*`).",
            read: |cursor, template, _| {
                for word in cursor.args_of(1..)? {
                    template.regexes.push(regex(cursor, word)?);
                }
                Ok(())
            },
        },
        OptionOf {
            name: "answer",
            form: "RECORD...",
            about: "Records of the answer section, one text for each.",
            read: |cursor, template, _| texts(cursor, &mut template.texts.answer),
        },
        OptionOf {
            name: "additional",
            form: "RECORD...",
            about: "Records of the additional section.",
            read: |cursor, template, _| texts(cursor, &mut template.texts.additional),
        },
        OptionOf {
            name: "authority",
            form: "RECORD...",
            about: "Records of the authority section.",
            read: |cursor, template, _| texts(cursor, &mut template.texts.authority),
        },
        OptionOf {
            name: "rcode",
            form: "RCODE",
            about: "The RCODE of the reply (NOERROR).",
            // The rest of the line is read as another option, as in CoreDNS.
            read: |cursor, template, _| {
                template.rcode = rcode(cursor)?;
                Ok(())
            },
        },
        OptionOf {
            name: "ederror",
            form: "CODE [TEXT]",
            about: "An extended error (RFC 8914) in replies to clients that use EDNS.",
            read: |cursor, template, _| {
                template.error = Some(extended_error(cursor)?);
                Ok(())
            },
        },
        OptionOf {
            name: "fallthrough",
            form: "[ZONES...]",
            about: "Names in these zones (all) that no expression matches are passed to the next plugin.",
            read: |cursor, template, _| {
                let zones = cursor.args();
                template.fallthrough = Fallthrough::read(cursor, &zones);
                Ok(())
            },
        },
        // Without effect since CoreDNS 1.5, but still in many Corefiles.
        OptionOf { name: "upstream", form: "", about: "", read: |cursor, _, _| cursor.args_of(..).map(drop) },
        OptionOf { name: "var", form: "", about: "", read: |cursor, _, _| Err(not_yet(cursor)) },
        OptionOf { name: "expr", form: "", about: "", read: |cursor, _, _| Err(not_yet(cursor)) },
    ],
    unknown: |word| format!("Error during parsing: Wrong argument count or unexpected line ending after '{word}'"),
};

fn not_yet(cursor: &Cursor<'_>) -> Error {
    let option = cursor.word();
    let complaint = cursor.complain(option, format!("Error during parsing: {option} is not served yet"));
    complaint.hint("CoreDNS has it, Signpost does not have it yet; match and if are there").into()
}

fn regex(cursor: &Cursor<'_>, word: &Word) -> Result<Regex> {
    let text = word.as_str();
    if text.len() > MAX_REGEX {
        return Err(cursor.error_at(word, format!("regex pattern too long: {} > {MAX_REGEX}", text.len())));
    }
    Regex::new(text).map_err(|why| {
        let why = why.to_string().lines().last().unwrap_or_default().to_owned();
        let message = format!("Error during parsing: could not parse regex: {text}");
        cursor.complain(word, message).hint(why).into()
    })
}

fn texts(cursor: &mut Cursor<'_>, texts: &mut Vec<Text>) -> Result<()> {
    for word in cursor.args_of(1..)? {
        texts.push(Text::read(word.as_str()).map_err(|why| -> Error {
            let message = format!("Error during parsing: could not compile template: {word}, {why}");
            cursor.complain(word, message).into()
        })?);
    }
    Ok(())
}

fn rcode(cursor: &mut Cursor<'_>) -> Result<u16> {
    let word = cursor.expect_arg()?;
    let known = |text: &str| match text {
        "NOTIMPL" => rcode_number("NOTIMP"),
        "BADSIG" => Some(16),
        text => rcode_number(text),
    };
    known(word.as_str()).ok_or_else(|| {
        let complaint = cursor.complain(word, format!("Error during parsing: unknown rcode {word}"));
        let upper = word.as_str().to_ascii_uppercase();
        complaint.hint(known(&upper).map(|_| format!("in upper case: {upper}")).unwrap_or_default()).into()
    })
}

fn extended_error(cursor: &mut Cursor<'_>) -> Result<(u16, String)> {
    let words = cursor.args();
    let (code, text) = match words[..] {
        [code] => (code, ""),
        [code, text] => (code, text.as_str()),
        _ => return Err(cursor.arg_err()),
    };
    // Read as in Go, which accepts no sign.
    let number = code.as_str().parse().ok().filter(|_| !code.as_str().starts_with('+'));
    let number = number.ok_or_else(|| -> Error {
        let message = format!("Error during parsing: error parsing extended DNS error code {code}");
        cursor.complain(code, message).hint("a number of RFC 8914 up to 65535, as in 15 for blocked").into()
    })?;
    Ok((number, text.to_owned()))
}
