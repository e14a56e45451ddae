//! Tests of the cursor. The odd ones are cases observed in CoreDNS 1.15.0.

use super::*;
use crate::corefile::{Corefile, Vocabulary, parse};

fn corefile(lines: &str) -> Corefile {
    let vocabulary = Vocabulary { served: &["cache", "whoami", "forward"], elsewhere: &[] };
    parse(&format!(". {{\n{lines}\n}}\n"), "Corefile", &|_| None, &vocabulary).expect("a good Corefile")
}

/// Returns all that a plugin sees if it reads arguments and options to the end of their lines.
fn walk(lines: &str, name: &str) -> String {
    let corefile = corefile(lines);
    let mut cursor = Cursor::new(corefile.blocks[0].directive(name).expect("the directive"));
    let mut seen = String::new();
    while cursor.next_occurrence() {
        seen += &format!("<{}", cursor.word());
        cursor.args().iter().for_each(|word| seen += &format!(" {word}"));
        while cursor.next_option() {
            seen += &format!(" [{}", cursor.word());
            cursor.args().iter().for_each(|word| seen += &format!(" {word}"));
            seen += "]";
        }
        seen += ">";
    }
    seen
}

fn first_line(error: &Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

#[test]
fn occurrences_arguments_and_options() {
    assert_eq!(
        walk("cache 30 a b {\n success 1 2\n denial 3\n}\ncache", "cache"),
        "<cache 30 a b [success 1 2] [denial 3]><cache>"
    );
    assert_eq!(walk("cache {\n}\nwhoami\ncache 5", "cache"), "<cache><cache 5>");
    assert_eq!(walk("forward . 1.1.1.1 { max_fails 2 }", "forward"), "<forward . 1.1.1.1 [max_fails 2 }]>");
}

#[test]
fn the_block_of_an_option_is_read_as_options_of_the_directive() {
    let lines = "cache 30 {\n success 5 {\n  x 1\n }\n denial 3\n}";
    assert_eq!(walk(lines, "cache"), "<cache 30 [success 5] [x 1]><denial 3>");
}

#[test]
fn a_brace_on_a_line_of_its_own_is_an_option() {
    let corefile = corefile("cache {\n success 1\n {\n x\n }\n}");
    let mut cursor = Cursor::new(&corefile.blocks[0].directives[0]);
    assert!(cursor.next_occurrence() && cursor.next_option());
    assert_eq!(cursor.args().len(), 1);
    assert!(!cursor.next_option(), "it does not open on the line of an option");
    assert_eq!(cursor.word().as_str(), "1");
}

#[test]
fn an_argument_may_be_a_brace() {
    let corefile = corefile("whoami {\n speed fast\n}");
    let mut cursor = Cursor::new(&corefile.blocks[0].directives[0]);
    assert!(cursor.next_occurrence());
    let error = cursor.expect_no_arg().expect_err("a brace is too much");
    assert_eq!(
        first_line(&error),
        "plugin/whoami: Corefile:2 - Error during parsing: Unexpected token '{', expecting argument"
    );
    assert_eq!(error.to_string().lines().last(), Some("help: no block is expected here; 'whoami' takes none"));
}

#[test]
fn complaints_mark_the_word_and_help() {
    let corefile = corefile("cache {\n    sucess 5\n}\ncache");
    let mut cursor = Cursor::new(&corefile.blocks[0].directives[0]);
    assert!(cursor.next_occurrence() && cursor.next_option());
    assert_eq!(
        cursor.unknown(cursor.word(), "what is 'sucess'", &["success", "denial"]).to_string(),
        "plugin/cache: Corefile:3 - what is 'sucess'\n  3 |     sucess 5\n    |     ^^^^^^\nhelp: did you mean 'success'?"
    );
    let five = cursor.expect_arg().expect("an argument");
    assert_eq!(
        first_line(&cursor.duration(five).expect_err("no unit")),
        "plugin/cache: Corefile:3 - Error during parsing: time: missing unit in duration \"5\""
    );
    assert_eq!(cursor.integer(five).expect("a number"), 5);
    assert_eq!(
        first_line(&cursor.arg_err()),
        "plugin/cache: Corefile:3 - Error during parsing: Wrong argument count or unexpected line ending after '5'"
    );
    assert!(!cursor.next_option() && cursor.next_occurrence());
    let once = cursor.once_error().to_string();
    assert!(
        once.starts_with("plugin/cache: Corefile:5 - this plugin can only be used once per Server Block\n"),
        "{once}"
    );
    assert!(once.ends_with("help: the first one stands at Corefile:2; one server block takes one"), "{once}");
}
