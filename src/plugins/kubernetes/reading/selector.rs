//! Label selectors: `a=b,c!=d,e in (f,g),h notin (i),j,!k`, with the grammar and the errors of
//! Kubernetes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Pods that have ended have no addresses any more; this asks the API server not to send them.
pub const RUNNING_PODS: &str = "status.phase!=Succeeded,status.phase!=Failed,status.phase!=Unknown";

/// The label that tells imported slices from those of this cluster.
pub const IMPORTED: &str = "multicluster.kubernetes.io/service-name";

/// Requirements, all of which must hold; none matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    /// Sorted, so that equal selectors have equal texts.
    requirements: Vec<Requirement>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Test {
    Is(String),
    IsNot(String),
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
    Exists,
    Missing,
}

impl Selector {
    /// Reads a selector.
    ///
    /// # Errors
    /// In the words of Kubernetes: what was found and what was expected there, or what is wrong
    /// with a key or value.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut requirements = Parser { tokens: tokens(text), at: 0 }
            .selector()
            .map_err(|error| format!("couldn't parse the selector string \"{text}\": {error}"))?;
        requirements.sort();
        Ok(Self { requirements })
    }

    /// This selector, and a label that must be there.
    #[must_use]
    pub fn with_label(&self, key: &str) -> Self {
        let mut requirements = self.requirements.clone();
        requirements.push(Requirement { key: key.to_owned(), test: Test::Exists });
        requirements.sort();
        requirements.dedup();
        Self { requirements }
    }

    /// Whether an object with these labels is selected.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.requirements.iter().all(|requirement| {
            let value = labels.get(&requirement.key);
            match &requirement.test {
                Test::Is(wanted) => value == Some(wanted),
                Test::IsNot(unwanted) => value != Some(unwanted),
                Test::In(set) => value.is_some_and(|value| set.contains(value)),
                Test::NotIn(set) => value.is_none_or(|value| !set.contains(value)),
                Test::Exists => value.is_some(),
                Test::Missing => value.is_none(),
            }
        })
    }

    /// Whether it selects everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }
}

/// As the API server takes it.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Requirement { key, test }) in self.requirements.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let list = |set: &BTreeSet<String>| set.iter().map(String::as_str).collect::<Vec<_>>().join(",");
            match test {
                Test::Is(value) => write!(f, "{comma}{key}={value}")?,
                Test::IsNot(value) => write!(f, "{comma}{key}!={value}")?,
                Test::In(set) => write!(f, "{comma}{key} in ({})", list(set))?,
                Test::NotIn(set) => write!(f, "{comma}{key} notin ({})", list(set))?,
                Test::Exists => write!(f, "{comma}{key}")?,
                Test::Missing => write!(f, "{comma}!{key}")?,
            }
        }
        Ok(())
    }
}

//----------- Reading --------------------------------------------------------

const SPECIAL: &str = "=!(),<>";

/// Words and operators; the end is an empty token.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let len = if SPECIAL.contains(first) {
            let two = rest.get(..2).filter(|two| matches!(*two, "==" | "!="));
            two.map_or(1, str::len)
        } else {
            rest.find(|c: char| SPECIAL.contains(c) || c.is_ascii_whitespace()).unwrap_or(rest.len())
        };
        tokens.push(rest[..len].to_owned());
        rest = rest[len..].trim_start();
    }
    tokens.push(String::new());
    tokens
}

struct Parser {
    tokens: Vec<String>,
    at: usize,
}

impl Parser {
    fn selector(&mut self) -> Result<Vec<Requirement>, String> {
        let mut requirements = Vec::new();
        if self.peek().is_empty() {
            return Ok(requirements);
        }
        if !is_word(self.peek()) && self.peek() != "!" {
            return Err(self.expected("!, identifier, or 'end of string'"));
        }
        loop {
            requirements.push(self.requirement()?);
            match self.next().as_str() {
                "" => return Ok(requirements),
                "," if is_word(self.peek()) || self.peek() == "!" => {}
                "," => return Err(self.expected("identifier after ','")),
                found => return Err(format!("found '{found}', expected: ',' or 'end of string'")),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let missing = self.peek() == "!";
        if missing {
            self.next();
        }
        if !is_word(self.peek()) || matches!(self.peek(), "in" | "notin") {
            return Err(self.expected("identifier"));
        }
        let key = self.next();
        check_key(&key)?;
        if matches!(self.peek(), "" | ",") {
            let test = if missing { Test::Missing } else { Test::Exists };
            return Ok(Requirement { key, test });
        }
        if missing {
            return Err(self.expected("',' or 'end of string'"));
        }
        let test = match self.next().as_str() {
            "=" | "==" => Test::Is(self.value()?),
            "!=" => Test::IsNot(self.value()?),
            "in" => Test::In(self.values()?),
            "notin" => Test::NotIn(self.values()?),
            operator @ ("<" | ">") => return Err(format!("\"{operator}\" is not a valid label selector operator")),
            found => return Err(format!("found '{found}', expected: in, notin, =, ==, !=")),
        };
        Ok(Requirement { key, test })
    }

    /// The one value behind `=`, which may be empty.
    fn value(&mut self) -> Result<String, String> {
        if matches!(self.peek(), "" | ",") {
            return Ok(String::new());
        }
        if !is_word(self.peek()) {
            return Err(self.expected("identifier"));
        }
        let value = self.next();
        check_value(&value)?;
        Ok(value)
    }

    /// The values in parentheses.
    fn values(&mut self) -> Result<BTreeSet<String>, String> {
        if self.next() != "(" {
            self.at -= 1;
            return Err(self.expected("'('"));
        }
        let mut values = BTreeSet::new();
        if self.peek() == ")" {
            return Err("for 'in', 'notin' operators, values set can't be empty".to_owned());
        }
        loop {
            // Nothing between two commas is the empty value.
            let value = if is_word(self.peek()) { self.next() } else { String::new() };
            check_value(&value)?;
            values.insert(value);
            match self.next().as_str() {
                "," => {}
                ")" => return Ok(values),
                found => return Err(format!("found '{found}', expected: ',' or ')'")),
            }
        }
    }

    fn peek(&self) -> &str {
        self.tokens.get(self.at).map_or("", String::as_str)
    }

    fn next(&mut self) -> String {
        let token = self.peek().to_owned();
        self.at += 1;
        token
    }

    fn expected(&self, what: &str) -> String {
        format!("found '{}', expected: {what}", self.peek())
    }
}

fn is_word(token: &str) -> bool {
    token.chars().next().is_some_and(|first| !SPECIAL.contains(first))
}

/// Alphanumeric at both ends, `-_.` in between.
fn is_name(text: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && ends(text.chars().next())
        && ends(text.chars().last())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

fn check_key(key: &str) -> Result<(), String> {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let label =
        |label: &str| !label.is_empty() && label.chars().all(lower) && !label.starts_with('-') && !label.ends_with('-');
    let prefix_fits = prefix.is_none_or(|prefix| prefix.len() <= 253 && prefix.split('.').all(label));
    if prefix_fits && is_name(name) { Ok(()) } else { Err(format!("key: Invalid value: \"{key}\"")) }
}

fn check_value(value: &str) -> Result<(), String> {
    if value.is_empty() || is_name(value) { Ok(()) } else { Err(format!("values: Invalid value: \"{value}\"")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Selector::parse(selector).expect("a selector").matches(&labels)
    }

    #[test]
    fn each_form_matches_what_kubernetes_says() {
        let labels = [("env", "prod"), ("app.kubernetes.io/name", "web"), ("empty", "")];
        for selector in [
            "",
            " ",
            "env",
            "env=prod",
            "env == prod",
            "env!=dev",
            "other!=dev",
            "env in (dev, prod)",
            "env notin (dev)",
            "other notin (dev)",
            "!other",
            "app.kubernetes.io/name = web",
            "env=prod,!other , empty=",
            "empty in (,x)",
        ] {
            assert!(matches(selector, &labels), "{selector}");
        }
        for selector in [
            "other",
            "env=dev",
            "env!=prod",
            "env in (dev)",
            "env notin (dev,prod)",
            "!env",
            "env=prod,other",
            "other=",
            "other in (,x)",
        ] {
            assert!(!matches(selector, &labels), "{selector}");
        }
    }

    #[test]
    fn the_text_is_canonical() {
        let text = |selector: &str| Selector::parse(selector).expect("a selector").to_string();
        assert_eq!(text("h notin (i),  e in (g,f,g), a==b,j ,!k,c != d"), "a=b,c!=d,e in (f,g),h notin (i),j,!k");
    }

    #[test]
    fn errors_say_what_was_expected() {
        for (selector, error) in [
            ("a in (", "found '', expected: ',' or ')'"),
            ("a in b", "found 'b', expected: '('"),
            ("a in ()", "for 'in', 'notin' operators, values set can't be empty"),
            ("a=b,", "found '', expected: identifier after ','"),
            ("a=b c", "found 'c', expected: ',' or 'end of string'"),
            ("=b", "found '=', expected: !, identifier, or 'end of string'"),
            ("!", "found '', expected: identifier"),
            ("a > 5", "\">\" is not a valid label selector operator"),
            ("a b", "found 'b', expected: in, notin, =, ==, !="),
            ("a=(", "found '(', expected: identifier"),
            ("-a", "key: Invalid value: \"-a\""),
            ("a=b/c", "values: Invalid value: \"b/c\""),
            ("!a=b", "found '=', expected: ',' or 'end of string'"),
        ] {
            let expected = format!("couldn't parse the selector string \"{selector}\": {error}");
            assert_eq!(Selector::parse(selector), Err(expected));
        }
    }

    #[test]
    fn a_label_can_be_demanded() {
        assert_eq!(Selector::default().with_label(IMPORTED).to_string(), IMPORTED);
        let both = Selector::parse("z=1").expect("a selector").with_label("a");
        assert_eq!(both.to_string(), "a,z=1");
    }
}
