//! Key pairs in the files that BIND's `dnssec-keygen` makes: `K*.key` has the DNSKEY record,
//! `K*.private` the secret numbers.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::key::{Key, Private};
use crate::error::words;
use crate::wire::name::Name;

/// The TTL of a DNSKEY record that states none, in seconds, as in CoreDNS.
const TTL: u32 = 3600;

/// Maximum octets of a file.
const MOST_OCTETS: u64 = 1 << 16;

/// The numbers of an RSA key, as the file names them.
const RSA: [&str; 7] = ["modulus", "privateexponent", "prime1", "prime2", "exponent1", "exponent2", "coefficient"];

/// Reads a key pair. `path` is that of one of both files, or of both without their endings.
///
/// # Errors
/// A file cannot be read, or the key cannot sign; says why, without anything of the secret.
pub fn read(path: &Path) -> Result<Key, String> {
    let base = match path.extension().and_then(|extension| extension.to_str()) {
        Some("key" | "private") => path.with_extension(""),
        _ => path.to_owned(),
    };
    let file = |ending: &str| PathBuf::from(format!("{}.{ending}", base.display()));
    let (public, private) = (file("key"), file("private"));
    let (name, ttl, data) = record(&text(&public)?).map_err(|why| format!("{}: {why}", public.display()))?;
    let numbers = numbers(&text(&private)?).map_err(|why| format!("{}: {why}", private.display()))?;
    Key::new(name, ttl, data, &numbers).map_err(|why| format!("{}: {why}", base.display()))
}

fn text(path: &Path) -> Result<String, String> {
    let open = |error| format!("open {}: {}", path.display(), words(&error));
    let metadata = fs::metadata(path).map_err(open)?;
    if !metadata.is_file() || metadata.len() > MOST_OCTETS {
        return Err(format!("{}: it is not a file of at most 64 KiB", path.display()));
    }
    fs::read_to_string(path).map_err(open)
}

/// Reads a DNSKEY record: its owner, its TTL and its data.
fn record(text: &str) -> Result<(Name, u32, Vec<u8>), String> {
    let lines = text.lines().map(|line| line.split(';').next().unwrap_or_default());
    let mut words = lines.flat_map(str::split_whitespace).filter(|word| !matches!(*word, "(" | ")"));
    let name = words.next().ok_or("no public key found")?;
    let name = Name::from_text(name).map_err(|_| format!("'{name}' is not a name"))?;
    let mut ttl = TTL;
    loop {
        match words.next() {
            Some("IN") => {}
            Some("DNSKEY") => break,
            Some(word) => ttl = word.parse().map_err(|_| format!("no public key found: '{word}' is not DNSKEY"))?,
            None => return Err("no public key found".to_owned()),
        }
    }
    let mut number = || words.next().ok_or("the record is not complete".to_owned());
    let wrong = |word: &str| format!("not a number: '{word}'");
    let flags = number()?;
    let mut data = flags.parse::<u16>().map_err(|_| wrong(flags))?.to_be_bytes().to_vec();
    for _ in 0..2 {
        let word = number()?;
        data.push(word.parse().map_err(|_| wrong(word))?);
    }
    let key = STANDARD.decode(words.collect::<String>()).map_err(|_| "the key is not Base64")?;
    data.extend(key);
    Ok((name, ttl, data))
}

/// Reads the secret numbers.
fn numbers(text: &str) -> Result<Private, String> {
    let field = |wanted: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim())
    };
    match field("private-key-format") {
        Some("v1.2" | "v1.3") => {}
        _ => return Err("no private key found: its format is not v1.2 or v1.3".to_owned()),
    }
    let number = |name: &str| {
        let value = field(name).ok_or_else(|| format!("there is no {name}"))?;
        STANDARD.decode(value).map_err(|_| format!("{name} is not Base64"))
    };
    if field("modulus").is_none() {
        return Ok(Private::Number(number("privatekey")?));
    }
    let mut all: [Vec<u8>; 7] = Default::default();
    for (into, name) in all.iter_mut().zip(RSA) {
        *into = number(name)?;
    }
    Ok(Private::Rsa(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: &str = "; a comment\nZ.test. 300 IN DNSKEY 257 3 13 ( IVMO2eHcOgImFNrXhYxs4nQGNhYwexOt77kKQi7mj/6tMZLH\n\
                          9DRXra86 65EA76vEF15qCsN9l74RSsGKQ8VY+Q== ) ; end\n";
    const PRIVATE: &str = "Private-key-format: v1.3\nAlgorithm: 13 (ECDSAP256SHA256)\nPrivateKey: \
                           f1F2U/GcZ6T7LHoxbLtDxR3I5vvWAU8YqJh+8h0gBFg=\nCreated: 20261129152027\n";

    /// Reads a key pair from files with these texts.
    fn pair(public: &str, private: &str) -> Result<Key, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let base = folder.path().join("Kz.test.+013+02606");
        fs::write(format!("{}.key", base.display()), public).expect("written");
        fs::write(format!("{}.private", base.display()), private).expect("written");
        read(&base).map_err(|why| why.replace(&folder.path().display().to_string(), ""))
    }

    #[test]
    fn a_key_pair_is_read() {
        let key = pair(PUBLIC, PRIVATE).expect("a key pair");
        assert_eq!((key.name.to_string(), key.ttl, key.tag(), key.algorithm()), ("z.test.".to_owned(), 300, 2606, 13));
        assert!(key.is_ksk() && !key.is_zsk());
        let zone_key = pair(&PUBLIC.replace("257", "256"), PRIVATE).expect("a key pair");
        assert!(zone_key.is_zsk() && !zone_key.is_ksk());
    }

    #[test]
    fn what_is_wrong_is_said_without_the_secret() {
        let secret = "f1F2U/GcZ6T7LHoxbLtDxR3I5vvWAU8YqJh+8h0gBFg=";
        for (public, private, why) in [
            (String::new(), PRIVATE.to_owned(), "no public key found"),
            (PUBLIC.replace("DNSKEY", "A"), PRIVATE.to_owned(), "no public key found: 'A' is not DNSKEY"),
            (PUBLIC.replace(" 13 ", " 5 "), PRIVATE.to_owned(), "RSA with SHA-1 is no longer accepted"),
            (PUBLIC.replace(" 13 ", " 3 "), PRIVATE.to_owned(), "the algorithm 3 is unknown"),
            (PUBLIC.replace(" 13 ", " 8 "), PRIVATE.to_owned(), "the private key has another algorithm"),
            (PUBLIC.replace("257 3", "257 2"), PRIVATE.to_owned(), "the protocol of a DNSKEY record is 3"),
            (PUBLIC.replace("IVMO", "JVMO"), PRIVATE.to_owned(), "the private key does not belong to the public key"),
            (PUBLIC.to_owned(), PRIVATE.replace("f1F2", "g1F2"), "the private key does not belong to the public key"),
            (PUBLIC.to_owned(), PRIVATE.replace("v1.3", "v2.0"), "no private key found"),
            (PUBLIC.to_owned(), PRIVATE.replace("PrivateKey", "Other"), "there is no privatekey"),
            (PUBLIC.to_owned(), PRIVATE.replace(secret, "%"), "privatekey is not Base64"),
        ] {
            let error = pair(&public, &private).err().unwrap_or_default();
            assert!(error.contains(why) && !error.contains("F2U/GcZ6T7"), "{why}: {error}");
        }
    }
}
