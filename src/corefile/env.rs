//! Environment variables in words: `{%NAME%}` and `{$NAME}`.

use crate::error::Result;

use super::word::Word;

/// Looks up an environment variable; `None` if it is not set.
pub type Environment<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Fills environment variables into a word: first every `{%NAME%}`, then every `{$NAME}`. An unset
/// variable becomes empty. An empty name or a missing end stops the search, as in CoreDNS.
///
/// # Errors
/// A value refers to itself. CoreDNS hangs there.
pub(super) fn fill(word: &mut Word, env: &Environment<'_>) -> Result<()> {
    if !word.text.contains("{%") && !word.text.contains("{$") {
        return Ok(());
    }
    let filled = fill_form(&word.text, "{%", "%}", env).and_then(|text| fill_form(&text, "{$", "}", env));
    match filled {
        Ok(text) => {
            word.text = text.into();
            Ok(())
        }
        Err(reference) => Err(word
            .complain(format!("Error during parsing: the value of {reference} refers to itself"))
            .hint("CoreDNS would not come back from this; give the variable a value that does not name it")
            .into()),
    }
}

/// Fills in one form of reference. Fails with the reference that never ends.
fn fill_form(text: &str, open: &str, close: &str, env: &Environment<'_>) -> std::result::Result<String, String> {
    let mut text = text.to_owned();
    let most = text.len() + MOST_GROWTH;
    for _ in 0..MOST_ROUNDS {
        let Some(start) = text.find(open) else {
            return Ok(text);
        };
        let Some(length) = text[start..].find(close) else {
            return Ok(text);
        };
        // An end inside the opening, as in `{%}`, is an empty name too.
        if length <= open.len() {
            return Ok(text);
        }
        let reference = text[start..start + length + close.len()].to_owned();
        let name = &reference[open.len()..reference.len() - close.len()];
        text = text.replace(&reference, &env(name).unwrap_or_default());
        if text.len() > most {
            return Err(reference);
        }
    }
    match text.find(open) {
        Some(start) => Err(text[start..].chars().take(40).collect()),
        None => Ok(text),
    }
}

/// References that are filled into one word before it counts as circular.
const MOST_ROUNDS: usize = 1000;
/// Bytes that a word may grow by; Linux allows a variable half of that.
const MOST_GROWTH: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> std::result::Result<String, String> {
        let env = |name: &str| match name {
            "PORT" => Some("1053".to_owned()),
            "NEXT" => Some("{$PORT}".to_owned()),
            "LOOP" => Some("x{$LOOP}{$LOOP}".to_owned()),
            "SELF" => Some("{$SELF}".to_owned()),
            _ => None,
        };
        fill_form(text, "{%", "%}", &env).and_then(|text| fill_form(&text, "{$", "}", &env))
    }

    #[test]
    fn both_forms_are_filled_in_anywhere_in_a_word() {
        assert_eq!(filled(".:{$PORT}").as_deref(), Ok(".:1053"));
        assert_eq!(filled("{%PORT%}-{$PORT}-{$NEXT}").as_deref(), Ok("1053-1053-1053"));
        assert_eq!(filled("a{$UNSET}b").as_deref(), Ok("ab"));
    }

    #[test]
    fn what_is_no_reference_stays() {
        assert_eq!(filled("{$PORT").as_deref(), Ok("{$PORT"));
        assert_eq!(filled("{$}{$PORT}").as_deref(), Ok("{$}{$PORT}"));
        assert_eq!(filled("{%%}{%PORT%}").as_deref(), Ok("{%%}{%PORT%}"));
    }

    #[test]
    fn a_value_that_names_itself_is_an_error() {
        assert_eq!(filled("{$SELF}"), Err("{$SELF}".to_owned()));
        assert_eq!(filled("{$LOOP}"), Err("{$LOOP}".to_owned()));
    }
}
