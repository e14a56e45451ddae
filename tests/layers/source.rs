//! A Rust file as far as the rules of the house look at it: paths, functions, strings. Not a
//! parser: it knows comments, strings and braces, which is enough for code that rustfmt has laid
//! out.

/// One file under `src`, read for its rules.
pub(crate) struct Source {
    /// Path below the root of the crate, `src/wire/name.rs`.
    pub(crate) path: String,
    /// The text as it is.
    pub(crate) text: String,
    /// The text without comments and strings, and without `#[cfg(test)]` modules; same lines, same
    /// columns.
    pub(crate) code: String,
    /// The module that the file is, from the crate's root: `["wire", "name"]`.
    pub(crate) module: Vec<String>,
    /// The whole file is test code.
    pub(crate) is_test: bool,
}

/// A path in the code, from the root of the crate or of another one: `["wire", "name", "Name"]`.
#[derive(Debug, PartialEq, Eq, Clone)]
pub(crate) struct Use {
    /// The line, from 1.
    pub(crate) line: usize,
    /// Whether the path starts at this crate's root.
    pub(crate) own: bool,
    /// Its segments.
    pub(crate) path: Vec<String>,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let below = path.strip_prefix("src/").unwrap_or(path).trim_end_matches(".rs");
        let module = below.split('/').filter(|part| !matches!(*part, "mod" | "lib" | "main")).map(str::to_owned);
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            code: without_tests(&blanked(text)),
            module: module.collect(),
            is_test: path.ends_with("/tests.rs")
                || path.ends_with("_tests.rs")
                || path.contains("/tests/")
                || path.starts_with("src/testing/"),
        }
    }

    /// The room that the file belongs to: the first part of its module, or the file's own name.
    pub(crate) fn room(&self) -> &str {
        match self.module.first() {
            Some(first) => first,
            None if self.path.ends_with("main.rs") => "main",
            None => "lib",
        }
    }

    /// Every path that starts with `crate`, `super`, `self`, `signpost` or the name of another
    /// crate.
    pub(crate) fn uses(&self) -> Vec<Use> {
        let mut uses = Vec::new();
        let code = self.code.as_bytes();
        for at in starts_of_paths(&self.code) {
            let mut paths = Vec::new();
            read_tree(&self.code[at..], &mut Vec::new(), &mut paths);
            let line = 1 + code[..at].iter().filter(|&&byte| byte == b'\n').count();
            for path in paths {
                uses.extend(self.resolved(at, path).map(|(own, path)| Use { line, own, path }));
            }
        }
        uses
    }

    /// The path from a root. `None` for one that is only local, such as `Self::new`.
    fn resolved(&self, at: usize, path: Vec<String>) -> Option<(bool, Vec<String>)> {
        match path[0].as_str() {
            "crate" => Some((true, path[1..].to_vec())),
            "signpost" if self.room() == "main" => Some((true, path[1..].to_vec())),
            "super" | "self" => {
                let ups = path.iter().take_while(|part| *part == "super").count();
                let skip = ups.max(1);
                let depth = (self.module.len() + inline_modules(&self.code, at)).saturating_sub(ups);
                let base = self.module.iter().take(depth).cloned();
                Some((true, base.chain(path[skip..].iter().cloned()).collect()))
            }
            "Self" => None,
            first if first.starts_with(|c: char| c.is_ascii_lowercase()) => Some((false, path)),
            _ => None,
        }
    }

    /// Functions as (name, first line, lines), from `fn` to the closing brace.
    pub(crate) fn functions(&self) -> Vec<(String, usize, usize)> {
        let mut found = Vec::new();
        for (name, line, rest) in self.signatures() {
            // A declaration without a body ends in a semicolon; one in `[u8; 4]` does not end it.
            let Some(open) = body_of(rest) else { continue };
            let end = open + matching(&rest[open..]);
            found.push((name, line, 1 + rest[..end].matches('\n').count()));
        }
        found
    }

    /// The parameters of functions, as (function, line, text of the parameter).
    pub(crate) fn parameters(&self) -> Vec<(String, usize, String)> {
        let mut found = Vec::new();
        for (name, line, rest) in self.signatures() {
            // Bounds of type parameters may have parentheses too: `<F: Fn(u8)>`.
            let generics = rest.strip_prefix('<').map_or(0, |bounds| parts(bounds, '>').1 + 2);
            if let Some(parameters) = rest.get(generics..).and_then(|rest| rest.strip_prefix('(')) {
                let parameters = parts(parameters, ')').0.into_iter();
                found.extend(parameters.map(|parameter| (name.clone(), line, parameter.trim().to_owned())));
            }
        }
        found
    }

    /// Where functions are declared, as (name, line, code behind the name).
    fn signatures(&self) -> impl Iterator<Item = (String, usize, &str)> {
        self.code.match_indices("fn ").filter_map(|(at, _)| {
            let name: String = self.code[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let is_word = self.code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            let line = 1 + self.code[..at].matches('\n').count();
            (!name.is_empty() && !is_word).then(|| (name.clone(), line, &self.code[at + 3 + name.len()..]))
        })
    }

    /// The contents of plain string literals outside of tests.
    pub(crate) fn strings(&self) -> Vec<(usize, String)> {
        let (mut found, mut last) = (Vec::new(), None);
        for (at, _) in self.code.match_indices('"') {
            match last.take() {
                Some(open) => {
                    let line = 1 + self.text[..at].matches('\n').count();
                    found.push((line, self.text[open + 1..at].to_owned()));
                }
                None => last = Some(at),
            }
        }
        found
    }
}

/// Where paths start: at a word in front of `::` that has no `::` or word before it.
fn starts_of_paths(code: &str) -> Vec<usize> {
    let bytes = code.as_bytes();
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let mut starts = Vec::new();
    for (at, _) in code.match_indices("::") {
        let start = bytes[..at].iter().rposition(|&byte| !is_word(byte)).map_or(0, |before| before + 1);
        let before = code[..start].trim_end();
        // Inside the braces of a `use`, paths belong to the tree that is read from its start.
        let is_visibility = before.ends_with("pub(in");
        if start < at && !before.ends_with("::") && !is_visibility && !in_use_braces(&code[..start]) {
            starts.push(start);
        }
    }
    starts
}

fn in_use_braces(before: &str) -> bool {
    let statement = before.rfind(';').map_or(before, |end| &before[end..]);
    let Some(open) = statement.find("::{") else { return false };
    statement[open..].matches('{').count() > statement[open..].matches('}').count()
        && statement[..open].split_whitespace().any(|word| word == "use")
}

/// Reads `a::b::{c, d::e}` into whole paths; returns how much was read.
fn read_tree(text: &str, prefix: &mut Vec<String>, paths: &mut Vec<Vec<String>>) -> usize {
    let kept = prefix.len();
    let mut at = 0;
    loop {
        at += text[at..].len() - text[at..].trim_start().len();
        if text[at..].starts_with('{') {
            at += 1;
            while !text[at..].trim_start().starts_with('}') && at < text.len() {
                at += read_tree(&text[at..], prefix, paths);
                let skip = text[at..].find([',', '}']).unwrap_or(text.len() - at);
                at += skip + usize::from(text[at + skip..].starts_with(','));
            }
            at += text[at..].find('}').map_or(0, |end| end + 1);
            prefix.truncate(kept);
            return at;
        }
        let word: String = text[at..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        at += word.len();
        if !word.is_empty() && word != "self" || prefix.is_empty() {
            prefix.push(word);
        }
        if !text[at..].starts_with("::") {
            break;
        }
        at += 2;
    }
    paths.push(prefix.clone());
    prefix.truncate(kept);
    at
}

/// How many inline modules stand around an offset.
fn inline_modules(code: &str, at: usize) -> usize {
    let mut stack = Vec::new();
    for (here, brace) in code[..at].match_indices(['{', '}']) {
        match brace {
            "{" => {
                let line = code[..here].rsplit('\n').next().unwrap_or_default().trim();
                stack.push(line.starts_with("mod ") || line.contains(" mod ") && line.starts_with("pub"));
            }
            _ => drop(stack.pop()),
        }
    }
    stack.into_iter().filter(|is_module| *is_module).count()
}

/// Splits a list at its commas up to the bracket that closes it; returns the parts and where it is.
pub(crate) fn parts(list: &str, close: char) -> (Vec<&str>, usize) {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0_usize, 0);
    for (at, c) in list.char_indices() {
        match c {
            // The `>` of `->` closes no bracket.
            '>' if list[..at].ends_with('-') => {}
            _ if depth == 0 && c == close => {
                parts.push(&list[from..at]);
                return (parts, at);
            }
            ',' if depth == 0 => {
                parts.push(&list[from..at]);
                from = at + 1;
            }
            '(' | '[' | '{' | '<' => depth += 1,
            ')' | ']' | '}' | '>' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    (parts, list.len())
}

/// Where the body of a function opens.
fn body_of(rest: &str) -> Option<usize> {
    let mut depth = 0_i32;
    for (at, c) in rest.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            ';' if depth == 0 => return None,
            '{' if depth == 0 => return Some(at),
            _ => {}
        }
    }
    None
}

/// The offset of the brace that closes the first one.
fn matching(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return at,
            '}' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

/// The same text with `#[cfg(test)]` items blanked out.
fn without_tests(code: &str) -> String {
    let mut kept = code.to_owned();
    while let Some(at) = kept.find("#[cfg(test)]") {
        let rest = &kept[at..];
        let end = match (rest.find('{'), rest.find(';')) {
            (Some(open), semicolon) if semicolon.is_none_or(|semicolon| open < semicolon) => {
                open + matching(&rest[open..]) + 1
            }
            (_, Some(semicolon)) => semicolon + 1,
            _ => rest.len(),
        };
        let end = (at + end).min(kept.len());
        let blank: String = kept[at..end].chars().map(|c| if c == '\n' { c } else { ' ' }).collect();
        kept.replace_range(at..end, &blank);
    }
    kept
}

/// The same text with comments, and what stands in quotes, blanked out octet by octet. The quotes
/// stay.
fn blanked(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let (len, keep) = match rest {
            [b'/', b'/', ..] => (rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len()), 0),
            [b'/', b'*', ..] => (comment(rest), 0),
            [b'"', ..] => (string(rest), 1),
            [b'r', b'"' | b'#', ..] if raw(rest).is_some() && !ends_word(&bytes[..at]) => (raw(rest).unwrap_or(1), 0),
            [b'\'', b'\\', ..] => (3 + rest[3..].iter().position(|&b| b == b'\'').unwrap_or(0) + 1, 0),
            [b'\'', _, b'\'', ..] => (3, 0),
            _ => (1, usize::MAX),
        };
        for (index, &byte) in rest[..len.min(rest.len())].iter().enumerate() {
            let quote = keep == 1 && (index == 0 || index + 1 == len);
            out.push(if keep == usize::MAX || quote || byte == b'\n' { byte } else { b' ' });
        }
        at += len.max(1);
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn ends_word(before: &[u8]) -> bool {
    // `br"..."` is a raw string as well.
    let before = before.strip_suffix(b"b").unwrap_or(before);
    before.last().is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

fn comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    at
}

fn string(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != b'"' {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

fn raw(rest: &[u8]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|&&b| b == b'#').count();
    (rest.get(1 + hashes) == Some(&b'"')).then_some(())?;
    let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
    let body = &rest[2 + hashes..];
    let end = body.windows(close.len()).position(|window| window == close)?;
    Some(2 + hashes + end + close.len())
}
