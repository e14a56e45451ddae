//! Tests of the grammar: snippets, imports and the environment, and properties that hold for any
//! text.

use proptest::prelude::*;

use crate::corefile::{Corefile, Cursor, Vocabulary, address, parse};

const VOCABULARY: Vocabulary<'static> =
    Vocabulary { served: &["whoami", "log", "errors", "cache"], elsewhere: &["etcd"] };

fn read(text: &str) -> Result<Corefile, String> {
    read_file(text, "Corefile")
}

fn read_file(text: &str, file: &str) -> Result<Corefile, String> {
    let env = |name: &str| match name {
        "BLANK" => Some("a b".to_owned()),
        "CACHE" => Some("cache".to_owned()),
        "SELF" => Some("x{$SELF}".to_owned()),
        _ => None,
    };
    parse(text, file, &env, &VOCABULARY).map_err(|error| error.to_string())
}

/// Shows blocks as `keys: words, words`.
fn shown(text: &str) -> Vec<String> {
    let corefile = read(text).expect("a good Corefile");
    let join = |words: &[crate::corefile::Word]| words.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let block = |block: &crate::corefile::ServerBlock| {
        let directives: Vec<String> = block.directives.iter().map(|directive| join(&directive.words)).collect();
        format!("{}: {}", join(&block.keys), directives.join(", "))
    };
    corefile.blocks.iter().map(block).collect()
}

fn refused(text: &str) -> String {
    let error = read(text).expect_err("a wrong Corefile");
    error.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn directives_of_one_name_are_put_together() {
    let text = "a, b\n c {\n cache 1\n log\n cache {\n  x\n }\n}\nd\nwhoami\nlog";
    assert_eq!(shown("a {\n cache 1\n log\n cache {\n  x\n }\n}"), ["a: cache 1 cache { x }, log"]);
    assert_eq!(shown("a, b,\nc {\n}\nd\nwhoami\nlog"), ["a b c: ", "d: whoami, log"]);
    assert_eq!(refused(text), "Corefile:2 - Error during parsing: Unknown directive 'c'");
}

#[test]
fn without_server_blocks_the_built_in_one_is_served() {
    for text in ["", "# nothing\n", "(a) {\n cache\n}\n", "{\n whoami\n}\n"] {
        let corefile = read(text).expect("a good Corefile");
        assert!(corefile.built_in, "{text:?}");
        assert_eq!(shown(text), [".: whoami, log"]);
        assert_eq!(corefile.digest_input(), "null");
    }
}

#[test]
fn snippets_are_put_in_where_they_are_imported() {
    assert_eq!(shown("(s) {\n cache 1\n}\na {\n import s\n log\n}\n"), ["a: cache 1, log"]);
    assert_eq!(shown("(s) {\n x\n}\na {\n cache {\n  import s\n }\n}\n"), ["a: cache { x }"]);
    assert_eq!(shown("(s) {\n a {\n  log\n }\n}\nimport s\n"), ["a: log"]);
    assert_eq!(shown("(s) {\n}\na {\n import s\n log\n}\n"), ["a: log"]);
}

#[test]
fn a_snippet_that_is_used_twice_in_a_row_ends_no_line() {
    // The line number does not grow between the two, so CoreDNS reads on: one `cache` with three
    // arguments.
    assert_eq!(shown("(s) {\n cache 1\n}\na {\n import s\n import s\n}\n"), ["a: cache 1 cache 1"]);
    let corefile = read("(s) {\n cache 1\n}\na {\n import s\n import s\n}\n").expect("a good Corefile");
    let mut cursor = Cursor::new(&corefile.blocks[0].directives[0]);
    assert!(cursor.next_occurrence());
    assert_eq!(cursor.args().len(), 3);
}

#[test]
fn the_environment_is_filled_in_after_the_words_were_cut() {
    assert_eq!(shown("{$BLANK}x {\n {$CACHE} {$BLANK} {$UNSET}\n}\n"), ["a bx: {$CACHE} a b "]);
    assert_eq!(read("a {\n {$CACHE}\n}").expect("a good Corefile").blocks[0].directives[0].name, "cache");
    assert_eq!(
        refused("a {\n log {$SELF}\n}"),
        "Corefile:2 - Error during parsing: the value of {$SELF} refers to itself"
    );
}

#[test]
fn a_plugin_that_only_coredns_has_is_named() {
    assert_eq!(
        refused("a {\n etcd\n}"),
        "Corefile:2 - Error during parsing: CoreDNS has the plugin 'etcd', Signpost does not have it yet"
    );
}

#[test]
fn files_are_imported_relative_to_the_file_that_names_them() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir(at("conf.d")).expect("a directory for the test");
    std::fs::write(at("conf.d/b.inc"), "log\n").expect("a file");
    std::fs::write(at("conf.d/a.inc"), "import b.inc\nerrors\n").expect("a file");
    let file = at("Corefile").display().to_string();
    let corefile = read_file("a {\n import conf.d/a.inc\n import none/*.inc\n}\n", &file).expect("a good Corefile");
    let names: Vec<&str> = corefile.blocks[0].directives.iter().map(|directive| directive.name.as_str()).collect();
    assert_eq!(names, ["log", "errors"]);
    assert_eq!(**corefile.blocks[0].directives[0].words[0].file(), *at("conf.d/b.inc").display().to_string());
    let warnings: Vec<_> = corefile.warnings.iter().map(|warning| &*warning.message).collect();
    assert_eq!(warnings, ["No files matching import glob pattern: none/*.inc"]);

    std::fs::write(at("conf.d/b.inc"), "\nlgo\n").expect("a file");
    let error = read_file("a {\n import conf.d/a.inc\n}\n", &file).expect_err("an unknown directive");
    let place = format!(
        "{}:2 - Error during parsing: Unknown directive 'lgo'\n  2 | lgo\n    | ^^^\n",
        at("conf.d/b.inc").display()
    );
    assert!(error.starts_with(&place), "{error}");
}

#[test]
fn circles_end() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let file = dir.path().join("Corefile").display().to_string();
    let many = "log ".repeat(5_000);
    std::fs::write(dir.path().join("self.inc"), "whoami\nimport self.inc\nlog x\n").expect("a file");
    std::fs::write(dir.path().join("wide.inc"), format!("{many}\nimport w*.inc\n")).expect("a file");
    std::fs::write(dir.path().join("keys.inc"), "import keys.inc\nimport keys.inc\n").expect("a file");
    for (text, error) in [
        (". {\n import self.inc\n}\n".to_owned(), "maximum file import depth (10000) exceeded"),
        (". {\n import wide.inc\n}\n".to_owned(), "imports repeat more than 1000000 words"),
        ("import keys.inc\n".to_owned(), "maximum file import depth (10000) exceeded"),
        (
            "(a) {\n log\n import b\n log\n}\n(b) {\n import a\n}\n. {\n import a\n}\n".to_owned(),
            "maximum snippet import depth (10000) exceeded",
        ),
        (
            format!(
                "(a) {{\n {many}\n import b\n}}\n(b) {{\n import a\n import a\n}}\nimport a\n. {{\n import a\n}}\n"
            ),
            "imports repeat more than 1000000 words",
        ),
    ] {
        let refused = read_file(&text, &file).expect_err("a circle");
        assert!(refused.contains(error), "{refused}");
    }
}

#[test]
fn the_hash_covers_words_files_and_lines() {
    let hash = |text: &str| read(text).expect("a good Corefile").sha512_hex();
    let corefile = read("a b {\n log \"<x>\"\n cache\n}\n").expect("a good Corefile");
    assert_eq!(
        corefile.digest_input(),
        r#"[{"Keys":["a","b"],"Tokens":{"cache":[{"File":"","Line":3,"Text":"cache"}],"log":[{"File":"","Line":2,"Text":"log"},{"File":"","Line":2,"Text":"\u003cx\u003e"}]}}]"#
    );
    assert_eq!(corefile.sha512_hex().len(), 128);
    assert_ne!(hash("a {\n log\n}\n"), hash("a {\n\n log\n}\n"));
    assert_eq!(hash("a {\n log\n}\n"), hash("a  {\n  log # x\n}\n"));
}

/// Generates random Corefiles from the pieces that matter to the grammar.
fn corefiles() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "\n",
        "\n",
        " ",
        " ",
        "(s)",
        "(s) {\n",
        "import s\n",
        "import",
        ".",
        "a.org",
        ",",
        "cache",
        "log",
        "\"",
        "\\",
        "#",
        "{$BLANK}",
        "{$CACHE}",
        "{$SELF}",
        "{%",
        "%}",
        "{$",
        "\r",
        "\u{feff}",
        "\u{200b}",
        "é",
        "10.0.0.0/9",
        "2001:db8::/33",
        ":53",
        "tls://",
        "..",
    ]);
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic_or_run_on(text in prop_oneof![corefiles(), any::<String>()]) {
        match read(&text) {
            Err(error) => prop_assert!(!error.is_empty()),
            Ok(corefile) => {
                prop_assert!(!corefile.blocks.is_empty());
                for block in &corefile.blocks {
                    let _ = address::keys(block, "53").map_err(|error| error.to_string());
                    block.directives.iter().for_each(drain);
                }
            }
        }
    }
}

/// Reads a directive to its end with every method of a cursor.
fn drain(directive: &crate::corefile::Directive) {
    let mut cursor = Cursor::new(directive);
    while cursor.next_occurrence() {
        cursor.args();
        while cursor.next_option() {
            cursor.next_arg();
            let errors = [
                cursor.arg_err(),
                cursor.once_error(),
                cursor.unknown(cursor.word(), "unknown", &["success"]),
                cursor.syntax_err("x"),
            ];
            assert!(errors.iter().all(|error| !error.to_string().is_empty()));
        }
    }
}
