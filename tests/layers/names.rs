//! Names: a public type has its own in its room, and functions take their arguments by name.

use std::collections::BTreeMap;

use super::source::{self, Source};
use super::{hold, house};

/// The words that make a type.
const KINDS: &[&str] = &["struct", "enum", "trait", "type", "union"];

/// Types that are visible outside of their file and share their name with another one in the same
/// room or plugin.
fn shared_names(sources: &[Source]) -> Vec<String> {
    let mut found = BTreeMap::<(String, String), Vec<String>>::new();
    for source in sources.iter().filter(|source| !source.is_test) {
        let depth = if source.room() == "plugins" { 2 } else { 1 };
        let room = source.module.iter().take(depth).cloned().collect::<Vec<_>>().join("::");
        for (line, name) in public_types(&source.code) {
            found.entry((room.clone(), name)).or_default().push(format!("{}:{line}", source.path));
        }
    }
    let shared = found.into_iter().filter(|(_, places)| places.len() > 1);
    shared.map(|((room, name), places)| format!("{room} has two types {name}: {}", places.join(", "))).collect()
}

/// Types that others may name, as (line, name).
fn public_types(code: &str) -> impl Iterator<Item = (usize, String)> {
    code.lines().enumerate().filter_map(|(at, line)| {
        let rest = line.trim_start().strip_prefix("pub")?;
        let rest = if rest.starts_with('(') { &rest[rest.find(')')? + 1..] } else { rest };
        let (kind, name) = rest.trim_start().split_once(' ')?;
        let name: String = name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        KINDS.contains(&kind).then_some((at + 1, name))
    })
}

/// Arguments that are packed in a tuple: neither the call nor the type says what they are. Lists of
/// pairs are data, and are allowed.
fn packed_arguments(source: &Source) -> Vec<String> {
    let packed = source.parameters().into_iter().filter(|(.., parameter)| is_packed(parameter));
    packed
        .map(|(name, line, parameter)| format!("{}:{line}: fn {name} takes a tuple: {parameter}", source.path))
        .collect()
}

fn is_packed(parameter: &str) -> bool {
    // The colon in front of the type; a pattern may have others.
    let Some((_, of_type)) = parameter.split_once(": ") else { return false };
    let of_type = of_type.strip_prefix("Option<").unwrap_or(of_type);
    let of_type = of_type.trim_start_matches('&').trim_start_matches("mut ");
    parameter.starts_with('(') || of_type.strip_prefix('(').is_some_and(|inner| source::parts(inner, ')').0.len() > 1)
}

#[test]
fn a_room_has_one_public_type_of_a_name() {
    hold("types of one name", shared_names(&house(&["src"])));
}

#[test]
fn functions_take_arguments_by_name() {
    hold("arguments in tuples", house(&["src"]).iter().flat_map(packed_arguments).collect());
}

#[test]
fn types_of_one_name_are_found() {
    let shared = |files: &[(&str, &str)]| {
        shared_names(&files.iter().map(|(path, text)| Source::new(path, text)).collect::<Vec<_>>()).len()
    };
    let first = ("src/wire/a.rs", "pub(super) struct Key<'a>(&'a str);");
    for (path, text, wrong) in [
        ("src/wire/b/c.rs", "    pub enum Key {}", 1),
        ("src/wire/b.rs", "pub(in crate::wire) type Key = u8;", 1),
        ("src/wire/b.rs", "struct Key;", 0),
        ("src/wire/b.rs", "pub struct Keys; // pub struct Key;", 0),
        ("src/wire/b.rs", "#[cfg(test)]\nmod tests { pub struct Key; }", 0),
        ("src/host/b.rs", "pub struct Key;", 0),
    ] {
        assert_eq!(shared(&[first, (path, text)]), wrong, "{path}: {text}");
    }
    let (a, b) = (("src/plugins/a/key.rs", "pub struct Key;"), "pub struct Key;");
    assert_eq!(shared(&[a, ("src/plugins/a/b/c.rs", b)]), 1, "in one plugin");
    assert_eq!(shared(&[a, ("src/plugins/b.rs", b)]), 0, "in two plugins");
}

#[test]
fn arguments_in_tuples_are_found() {
    for (text, wrong) in [
        ("fn f(a: u8, (b, c): (u8, u8)) {}", 1),
        ("fn f((b, c): Pair) {}", 1),
        ("fn f<F: Fn(u8, u8) -> (u8, u8)>(a: F, b: &mut (u8, u8)) {}", 1),
        ("fn f(a: Option<(u8, &[u8])>) -> (u8, u8) {}", 1),
        ("fn f(a: &[(u8, u8)], b: impl Fn((u8, u8)) -> u8) {}", 0),
        ("fn f(a: &(dyn Any + Send), b: Vec<(u8, u8)>, c: fn(u8, u8)) {}", 0),
    ] {
        assert_eq!(packed_arguments(&Source::new("src/wire/name.rs", text)).len(), wrong, "{text}");
    }
}
