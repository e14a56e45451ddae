//! "Did you mean": the nearest of some known words, and the usual causes of an unknown directive.

use super::word::Word;

/// Returns the known word that is nearest to `word`, if it is near enough.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= most_typos(&lower, candidate))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Returns the typos that are tolerated: one in a short word, two in a long one; at most half of
/// the word.
fn most_typos(word: &str, candidate: &str) -> usize {
    match word.chars().count().min(candidate.chars().count()) {
        0 | 1 => 0,
        2..=5 => 1,
        _ => 2,
    }
}

/// Returns the probable mistake if `name` is found in place of a directive.
pub(super) fn unknown_directive<'a>(word: &Word, name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let trimmed = name.trim_matches(['{', '}']);
    let visible: String = trimmed.chars().filter(|c| !is_invisible(*c)).collect();
    let known: Vec<&str> = known.into_iter().collect();
    let is_known = |name: &str| known.contains(&name);
    if let Some(c) = name.chars().find(|c| is_invisible(*c)) {
        return format!("the word holds the invisible character U+{:04X}; write '{visible}'", u32::from(c));
    }
    if name.len() > 1 && trimmed.is_empty() {
        return "a brace is a word of its own, on a line of its own if it closes a block".to_owned();
    }
    if trimmed != name && is_known(trimmed) {
        return format!(
            "a brace is a word of its own: put a blank between '{trimmed}' and '{}'",
            name.replace(trimmed, "")
        );
    }
    if let Some(near) = nearest(name, known.iter().copied()) {
        return format!("did you mean '{near}'?");
    }
    if name == "{" {
        return "a block begins behind a directive, on the same line".to_owned();
    }
    if word.quoted() {
        return "a directive is a plugin's name".to_owned();
    }
    if name.contains(['.', ':', '/']) {
        return "a zone stands in front of a server block: is the block above not closed with '}', or is a ',' missing at the end of the line above?".to_owned();
    }
    "the plugins that may stand here are listed by the flag -plugins".to_owned()
}

/// Returns whether a character is invisible; copied text may contain some.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_known_word_is_found() {
        let known = ["errors", "log", "forward", "kubernetes", "whoami", "any"];
        assert_eq!(nearest("erors", known), Some("errors"));
        assert_eq!(nearest("foward", known), Some("forward"));
        assert_eq!(nearest("WhoAmI", known), Some("whoami"));
        assert_eq!(nearest("kubernets", known), Some("kubernetes"));
        assert_eq!(nearest("lgo", known), Some("log"));
        assert_eq!(nearest("federation", known), None);
        assert_eq!(nearest("a", known), None);
    }
}
