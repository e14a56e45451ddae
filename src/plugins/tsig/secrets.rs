//! Reads a file of secrets, in the lines of `named.conf` that CoreDNS knows.

use std::fs;
use std::path::Path;

use crate::error::words;
use crate::wire::name::Name;

/// Maximum octets of a file, so that one that never ends cannot fill the memory.
const MOST_OCTETS: u64 = 1 << 20;

/// A key as it is written.
pub(super) struct Written {
    /// Its name, in lower case.
    pub(super) name: Name,
    /// Its secret in Base64.
    pub(super) secret: String,
}

/// Reads the keys of a file.
///
/// # Errors
/// What is wrong, with the file and the line.
pub(super) fn read(file: &Path) -> Result<Vec<Written>, String> {
    let open = |error| format!("open {}: {}", file.display(), words(&error));
    let metadata = fs::metadata(file).map_err(open)?;
    if !metadata.is_file() || metadata.len() > MOST_OCTETS {
        return Err(format!("{}: it is not a file of at most 1 MiB", file.display()));
    }
    let text = fs::read_to_string(file).map_err(open)?;
    keys(&text).map_err(|(line, what)| format!("{}:{line}: {what}", file.display()))
}

/// Reads the keys of a text. An error comes with its line.
fn keys(text: &str) -> Result<Vec<Written>, (usize, String)> {
    let mut lines = text.lines().zip(1..).map(|(line, number)| (number, line.split_whitespace().collect::<Vec<_>>()));
    let mut keys: Vec<Written> = Vec::new();
    while let Some((number, words)) = lines.next() {
        let name = match words[..] {
            [] => continue,
            ["key", name, ..] => name.trim_matches(['"', '{']),
            ["key"] => "",
            [other, ..] => return Err((number, format!("unexpected token '{other}', 'key' is expected"))),
        };
        let name = Name::from_text(name).map_err(|_| (number, "a name of a key is expected".to_owned()))?.lowered();
        if keys.iter().any(|known| known.name == name) {
            return Err((number, format!("key \"{name}\" redefined")));
        }
        let mut secret = None;
        for (number, words) in lines.by_ref() {
            match words[..] {
                [] | ["algorithm", ..] => {}
                ["secret", word, ..] => secret = Some(word.trim_matches(['"', ';'])).filter(|word| !word.is_empty()),
                ["}" | "};", ..] => break,
                [other, ..] => return Err((number, format!("unexpected token '{other}' in the key \"{name}\""))),
            }
        }
        let secret = secret.ok_or_else(|| (number, format!("expected secret for key \"{name}\"")))?.to_owned();
        keys.push(Written { name, secret });
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, (usize, String)> {
        let written = |key: Written| format!("{} {}", key.name, key.secret);
        keys(text).map(|keys| keys.into_iter().map(written).collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn keys_are_read_line_by_line() {
        let two = "\nkey \"A.test\" {\n\talgorithm hmac-sha256;\n\tsecret \"YQ==\";\n};\n\nkey b. {\nsecret Yg==;\n}\n";
        assert_eq!(read(two), Ok("a.test. YQ==, b. Yg==".to_owned()));
        assert_eq!(read(""), Ok(String::new()));
        assert_eq!(
            read("key a {\nsecret YQ=="),
            Ok("a. YQ==".to_owned()),
            "the end of the file ends the key, as in CoreDNS"
        );
    }

    #[test]
    fn what_is_wrong_has_its_line() {
        for (text, line, what) in [
            ("\nkeys {", 2, "unexpected token 'keys', 'key' is expected"),
            ("key", 1, "a name of a key is expected"),
            ("key {\n}", 1, "a name of a key is expected"),
            ("key a {\n\n// b\n}", 3, "unexpected token '//' in the key \"a.\""),
            ("key a {\nsecret \"\";\n}", 1, "expected secret for key \"a.\""),
            ("key a {\nsecret\n}", 2, "unexpected token 'secret' in the key \"a.\""),
            ("key a {\nsecret YQ==\n}\nkey A. {", 4, "key \"a.\" redefined"),
        ] {
            assert_eq!(read(text), Err((line, what.to_owned())), "{text}");
        }
    }
}
