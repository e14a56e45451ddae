//! File name patterns of `import`, with the meaning that Go's `filepath.Glob` gives them.

use std::path::{Component, Path, PathBuf};

use crate::error::{is_out_of_files, words};

/// Why a pattern yields no files.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// The pattern is invalid: a `[` that is never closed, or a `\` at the end.
    Pattern,
    /// Too many files are open, so the directory cannot be read; the system's message.
    Files(String),
}

/// Returns the files that match an absolute `pattern`, sorted by name. Directories that cannot be
/// read match nothing. A pattern without wildcards matches an existing file, even a broken link.
///
/// # Errors
/// As [`Wrong`] says. If too many files are open, CoreDNS takes the directory for empty; a reload
/// at that moment would lose the imported files.
///
/// At most one `*` and one `?` are expected, and no brackets: the caller refuses others.
pub(super) fn glob(pattern: &str) -> Result<Vec<PathBuf>, Wrong> {
    if pattern.contains('[') || ends_in_escape(pattern) {
        return Err(Wrong::Pattern);
    }
    if !has_wildcard(pattern) {
        let path = PathBuf::from(pattern);
        let found = path.symlink_metadata().is_ok();
        return Ok(found.then_some(path).into_iter().collect());
    }
    let (parent, file) = pattern.rsplit_once('/').unwrap_or((".", pattern));
    let parents = match parent {
        "" => vec![PathBuf::from("/")],
        parent if has_wildcard(parent) => glob(parent)?,
        parent => vec![PathBuf::from(parent)],
    };
    let mut found = Vec::new();
    for parent in parents {
        let entries = match parent.read_dir() {
            Ok(entries) => entries,
            Err(error) if is_out_of_files(&error) => return Err(Wrong::Files(words(&error))),
            Err(_) => continue,
        };
        let mut names: Vec<String> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.retain(|name| matches(file, name));
        names.sort_unstable();
        found.extend(names.iter().map(|name| parent.join(name)));
    }
    Ok(found)
}

/// Returns whether `name` matches `pattern`: `*` is any text, `?` one character, `\` takes the next
/// one literally.
fn matches(pattern: &str, name: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => name.is_empty(),
        Some('*') => {
            name.char_indices().map(|(at, _)| at).chain([name.len()]).any(|at| matches(rest.as_str(), &name[at..]))
        }
        Some(first) => {
            let mut name = name.chars();
            let wanted = if first == '\\' { rest.next() } else { Some(first) };
            match name.next() {
                Some(c) if first == '?' || wanted == Some(c) => matches(rest.as_str(), name.as_str()),
                _ => false,
            }
        }
    }
}

/// Returns whether the pattern can match more than one file.
fn has_wildcard(pattern: &str) -> bool {
    pattern.contains(['*', '?', '[', '\\'])
}

fn ends_in_escape(pattern: &str) -> bool {
    pattern.bytes().rev().take_while(|&b| b == b'\\').count() % 2 == 1
}

/// Returns a path without `.`, `..` and doubled slashes, by its text alone (links are not
/// followed).
pub(super) fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                cleaned.pop();
            }
            component => cleaned.push(component),
        }
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_names() {
        assert!(matches("*.server", "a.server"));
        assert!(matches("*", "..data"), "a leading dot is nothing special");
        assert!(matches("a?c", "abc") && matches("a?c", "aüc"));
        assert!(matches("a\\*c", "a*c") && !matches("a\\*c", "abc"));
        assert!(!matches("*.server", "a.override"));
        assert!(matches("Corefile*", "Corefile"));
    }

    #[test]
    fn a_glob_is_sorted_and_ignores_what_is_not_there() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        for name in ["b.inc", "a.inc", ".c.inc", "d.txt"] {
            std::fs::write(dir.path().join(name), "").expect("a file for the test");
        }
        let at = |pattern: &str| {
            let found = glob(&format!("{}/{pattern}", dir.path().display()))?;
            Ok(found
                .iter()
                .map(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default())
                .collect::<Vec<_>>())
        };
        assert_eq!(at("*.inc"), Ok(vec![".c.inc".to_owned(), "a.inc".to_owned(), "b.inc".to_owned()]));
        assert_eq!(at("?.inc"), Ok(vec!["a.inc".to_owned(), "b.inc".to_owned()]));
        assert_eq!(at("d.txt"), Ok(vec!["d.txt".to_owned()]));
        assert_eq!(at("none/*.inc"), Ok(vec![]));
        assert_eq!(at("none.inc"), Ok(vec![]));
        assert_eq!(at("[a.inc"), Err(Wrong::Pattern));
        assert_eq!(at("a\\"), Err(Wrong::Pattern));
    }

    #[test]
    fn paths_are_cleaned_by_their_text() {
        assert_eq!(clean(Path::new("/etc/./coredns//../x")), Path::new("/etc/x"));
        assert_eq!(clean(Path::new("/../x")), Path::new("/x"));
    }
}
