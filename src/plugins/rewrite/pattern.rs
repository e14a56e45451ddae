//! Which names a rule applies to, and the name that it makes of them.

use regex::Regex;

use crate::wire::name::Name;
use crate::wire::text::NameText;

//----------- Pattern --------------------------------------------------------

/// What a name is compared with; texts are in lower case and end in a dot.
#[derive(Debug)]
pub(super) enum Pattern {
    /// This name; `None` if the text is not a valid name.
    Exact(Option<Box<Name>>),
    /// Names whose text begins with this.
    Prefix(String),
    /// Names whose text ends with this, even in the middle of a label.
    Suffix(String),
    /// Names whose text contains this.
    Substring(String),
    /// Names whose text matches anywhere.
    Regex(Regex),
}

impl Pattern {
    /// Whether a lower-case name matches.
    pub(super) fn matches(&self, name: &Name) -> bool {
        match self {
            Self::Exact(wanted) => wanted.as_deref() == Some(name),
            Self::Prefix(text) => NameText::of(name).as_str().starts_with(text),
            Self::Suffix(text) => NameText::of(name).as_str().ends_with(text),
            Self::Substring(text) => NameText::of(name).as_str().contains(text),
            Self::Regex(regex) => regex.is_match(NameText::of(name).as_str()),
        }
    }

    /// Returns what a rule makes of a name with its last word; `None` if the name does not match.
    pub(super) fn replace(&self, name: &Name, to: &str) -> Option<String> {
        if let Self::Exact(wanted) = self {
            return (wanted.as_deref() == Some(name)).then(|| to.to_owned());
        }
        let text = NameText::of(name);
        let text = text.as_str();
        match self {
            Self::Exact(_) => None,
            Self::Prefix(prefix) => text.strip_prefix(&**prefix).map(|rest| format!("{to}{rest}")),
            Self::Suffix(suffix) => text.strip_suffix(&**suffix).map(|rest| format!("{rest}{to}")),
            Self::Substring(part) => text.contains(&**part).then(|| text.replace(&**part, to)),
            Self::Regex(regex) => expand(regex, text, to),
        }
    }
}

/// Replaces `{0}`, `{1}`, ... in `to` with the groups of `regex`; `None` if `text` does not match.
pub(super) fn expand(regex: &Regex, text: &str, to: &str) -> Option<String> {
    // Checked first because it allocates nothing, and most names do not match.
    if !regex.is_match(text) {
        return None;
    }
    let groups = regex.captures(text)?;
    let (mut expanded, mut rest) = (String::with_capacity(to.len() + text.len()), to);
    while let Some((before, behind)) = rest.split_once('{') {
        expanded.push_str(before);
        match behind.split_once('}').and_then(|(number, behind)| Some((group(number)?, behind))) {
            Some((number, behind)) if number < groups.len() => {
                expanded.push_str(groups.get(number).map_or("", |found| found.as_str()));
                rest = behind;
            }
            _ => {
                expanded.push('{');
                rest = behind;
            }
        }
    }
    expanded.push_str(rest);
    Some(expanded)
}

/// Returns the number of a group as written between braces: digits without a leading zero.
fn group(text: &str) -> Option<usize> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    is_plain.then(|| text.parse().ok()).flatten()
}

/// Counts the different groups that a text refers to, up to `{100}`.
pub(super) fn groups_in(text: &str) -> usize {
    (0..=100).filter(|number| text.contains(&format!("{{{number}}}"))).count()
}
