//! Prose: each file opens with what it is for, and lines of comments are short.

use super::source::Source;
use super::{hold, house};

/// Where the rules hold.
const ROOTS: &[&str] = &["src", "tests", "benches", "fuzz"];

/// Columns of a line of comment. Lines of code are up to rustfmt.
const MAX_COMMENT: usize = 100;

fn opening(source: &Source) -> Vec<String> {
    let opens = source.text.lines().next().is_some_and(|line| line.len() > 5 && line.starts_with("//! "));
    (!opens)
        .then(|| format!("{}: does not open with a `//!` line that says what it is for", source.path))
        .into_iter()
        .collect()
}

/// Lines of comment that are too long. Rows of a table, what stands in a fence, and a long word
/// such as an address cannot be wrapped.
fn long_comments(source: &Source) -> Vec<String> {
    let (mut wrong, mut is_fenced) = (Vec::new(), false);
    for (at, line) in source.text.lines().enumerate() {
        let text = line.trim_start().trim_start_matches(['/', '!']).trim_start();
        let is_comment = line.trim_start().starts_with("//");
        is_fenced = is_comment && (is_fenced != text.starts_with("```"));
        let columns = line.chars().count();
        let can_be_wrapped = !is_fenced && !text.starts_with('|') && text.contains(' ');
        if is_comment && can_be_wrapped && columns > MAX_COMMENT {
            wrong.push(format!("{}:{}: {columns} columns", source.path, at + 1));
        }
    }
    wrong
}

#[test]
fn every_file_says_what_it_is_for() {
    hold("opening", house(ROOTS).iter().flat_map(opening).collect());
}

#[test]
fn lines_of_comment_are_short() {
    hold("comments", house(ROOTS).iter().flat_map(long_comments).collect());
}

#[test]
fn bare_openings_and_long_comments_are_found() {
    let opening = |text: &str| opening(&Source::new("src/wire/name.rs", text)).len();
    assert_eq!((opening("//! A name.\n"), opening("use std::fmt;\n")), (0, 1));
    let comments = |text: &str| long_comments(&Source::new("src/wire/name.rs", text)).len();
    let (short, long) = ("word ".repeat(18), "word ".repeat(20));
    assert_eq!((comments(&format!("//! {short}")), comments(&format!("    /// {long}"))), (0, 1));
    assert_eq!((comments(&format!("//! | {long}")), comments(&format!("/// ```\n/// {long}\n/// ```"))), (0, 0));
    assert_eq!(comments(&format!("/// ```\n/// {short}\n/// ```\n/// {long}")), 1, "behind a fence");
    assert_eq!((comments(&format!("fn f() {{}} // {long}")), comments(&format!("// {}", "x".repeat(120)))), (0, 0));
}
