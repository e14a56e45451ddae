//! The hash of a configuration. CoreDNS hashes the same bytes, so the same Corefile has the same
//! hash in the log line of `reload`.

use std::fmt::Write;

use sha2::{Digest, Sha512};

use super::{Corefile, ServerBlock};

impl Corefile {
    /// Returns what [`Corefile::sha512_hex`] hashes: the blocks as Go's `encoding/json` writes
    /// them, each word with file and line. The Corefile's own name is left out and directives are
    /// sorted by name. A file without server blocks is `null`, although the built-in default is
    /// served in its place.
    pub fn digest_input(&self) -> String {
        if self.built_in {
            return "null".to_owned();
        }
        let blocks: Vec<String> = self.blocks.iter().map(block_json).collect();
        format!("[{}]", blocks.join(","))
    }

    /// Returns the SHA-512 of the configuration in lower-case hexadecimal, as in `Running
    /// configuration SHA512 = ...`.
    pub fn sha512_hex(&self) -> String {
        let hash = Sha512::digest(self.digest_input().as_bytes());
        hash.iter().fold(String::with_capacity(128), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

fn block_json(block: &ServerBlock) -> String {
    let keys: Vec<String> = block.keys.iter().map(|key| quote(&key.text)).collect();
    let mut directives: Vec<_> = block.directives.iter().collect();
    directives.sort_by(|a, b| a.name.cmp(&b.name));
    let tokens: Vec<String> = directives
        .iter()
        .map(|directive| {
            let words: Vec<String> = directive
                .words
                .iter()
                .map(|word| {
                    let file = if word.source.imported { quote(word.file()) } else { "\"\"".to_owned() };
                    format!(r#"{{"File":{file},"Line":{},"Text":{}}}"#, word.line, quote(&word.text))
                })
                .collect();
            format!("{}:[{}]", quote(&directive.name), words.join(","))
        })
        .collect();
    format!(r#"{{"Keys":[{}],"Tokens":{{{}}}}}"#, keys.join(","), tokens.join(","))
}

/// Writes a string as Go's `encoding/json` does, which also escapes what could end a script in
/// HTML.
fn quote(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\u{8}' => json.push_str("\\b"),
            '\u{c}' => json.push_str("\\f"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(json, "\\u{:04x}", u32::from(c));
            }
            c => json.push(c),
        }
    }
    json.push('"');
    json
}
