//! Arrows inside of a room: which part of a folder may use which.

use super::Arrows;
use super::source::{Source, Use};

/// Who may use whom inside of a folder: (folder, its parts and what each may use of it). What is
/// not among the parts, such as `mod.rs`, stands above them and may use all; no part may use it.
const FOLDERS: &[(&str, Arrows)] = &[
    // Reading writes what is known, answers are read from it.
    ("plugins::kubernetes", &[("known", &[]), ("reading", &["known"]), ("answers", &["known"])]),
];

/// Parts that are on the map and are not in the house.
pub(crate) fn missing(all: &[Source]) -> Vec<String> {
    let parts =
        FOLDERS.iter().flat_map(|(folder, parts)| parts.iter().map(move |(part, _)| format!("{folder}::{part}")));
    parts.filter(|part| !all.iter().any(|source| source.module.join("::") == *part)).collect()
}

/// Arrows between the parts of one folder.
pub(crate) fn arrows(source: &Source) -> Vec<String> {
    let mut wrong = Vec::new();
    for (folder, parts) in FOLDERS {
        let folder: Vec<&str> = folder.split("::").collect();
        let below = |path: &[String]| {
            (path.len() > folder.len() && path.iter().zip(&folder).all(|(a, b)| a == b))
                .then(|| path[folder.len()].clone())
        };
        let Some(own) = below(&source.module) else { continue };
        let Some((_, allowed)) = parts.iter().find(|(part, _)| *part == own) else { continue };
        for Use { line, path, .. } in source.uses().into_iter().filter(|used| used.own) {
            let other = below(&path);
            let is_above = path == folder;
            if is_above || other.is_some_and(|other| other != own && !allowed.contains(&other.as_str())) {
                wrong.push(format!("{}:{line}: {own} may not use {}", source.path, path.join("::")));
            }
        }
    }
    wrong
}
