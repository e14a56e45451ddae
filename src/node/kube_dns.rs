//! The mounted ConfigMap kube-dns: stub domains and upstreams for the template of the Corefile.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::de::DeserializeOwned;

/// The settings of the ConfigMap. Its key `federations` is obsolete and ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct KubeDns {
    /// Domains, each with its servers.
    pub(super) stub_domains: BTreeMap<String, Vec<String>>,
    /// Servers for everything else.
    pub(super) upstreams: Vec<String>,
}

impl KubeDns {
    /// Reads the folder; missing files are skipped.
    ///
    /// # Errors
    /// The file that is invalid, and what would be right.
    pub(super) fn read(folder: &Path) -> Result<Self, String> {
        let stub_domains: BTreeMap<String, Vec<String>> = key(folder, "stubDomains", r#"{"acme.local": ["1.2.3.4"]}"#)?;
        let upstreams: Vec<String> = key(folder, "upstreamNameservers", r#"["8.8.8.8", "8.8.4.4"]"#)?;
        let places = stub_domains.iter().map(|(domain, servers)| (domain.as_str(), servers));
        for (domain, servers) in places {
            check(folder, "stubDomains", domain, is_domain(domain))?;
            check(folder, "stubDomains", "a domain without servers", !servers.is_empty())?;
            servers.iter().try_for_each(|server| check(folder, "stubDomains", server, is_server(server)))?;
        }
        upstreams.iter().try_for_each(|server| check(folder, "upstreamNameservers", server, is_server(server)))?;
        Ok(Self { stub_domains, upstreams })
    }
}

fn key<T: DeserializeOwned + Default>(folder: &Path, name: &str, example: &str) -> Result<T, String> {
    let path = folder.join(name);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(T::default()),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    if text.trim().is_empty() {
        return Ok(T::default());
    }
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}\nhelp: {example} would be right", path.display()))
}

fn check(folder: &Path, name: &str, word: &str, is_right: bool) -> Result<(), String> {
    if is_right {
        return Ok(());
    }
    let path = folder.join(name);
    Err(format!(
        "{}: \"{word}\" is neither a domain nor a server\nhelp: acme.local, 1.2.3.4, 1.2.3.4:5353, [fd00::1]:53 and tls://1.1.1.1 would be right",
        path.display()
    ))
}

/// Returns whether a word is valid as a zone in a Corefile, and cannot mean more than that there.
fn is_domain(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|octet| octet.is_ascii_alphanumeric() || b".-_".contains(&octet))
}

/// Returns whether a word may be an upstream in a Corefile; *forward* decides whether it is valid.
fn is_server(word: &str) -> bool {
    let bare = word.strip_prefix("tls://").or_else(|| word.strip_prefix("dns://")).unwrap_or(word);
    !bare.is_empty() && bare.bytes().all(|octet| octet.is_ascii_alphanumeric() || b".-_:[]%/".contains(&octet))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[(&str, &str)]) -> Result<KubeDns, String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        KubeDns::read(folder.path())
    }

    #[test]
    fn the_keys_of_the_config_map_are_read() {
        let known = read(&[
            ("stubDomains", r#"{"b.test": ["10.0.0.2:54", "10.0.0.3"], "a.test": ["10.0.0.1"]}"#),
            ("upstreamNameservers", r#"["8.8.8.8", "tls://1.1.1.1"]"#),
            ("federations", "whatever"),
        ])
        .unwrap();
        assert_eq!(known.upstreams, ["8.8.8.8", "tls://1.1.1.1"]);
        assert_eq!(known.stub_domains.keys().collect::<Vec<_>>(), ["a.test", "b.test"]);
        assert_eq!(read(&[]), Ok(KubeDns::default()));
        assert_eq!(read(&[("stubDomains", "\n")]), Ok(KubeDns::default()));
    }

    #[test]
    fn what_is_wrong_is_named_and_nothing_gets_into_the_corefile() {
        for (file, text, wanted) in [
            ("stubDomains", "{", "EOF"),
            ("stubDomains", "[]", "acme.local"),
            ("stubDomains", r#"{"a.test": []}"#, "without servers"),
            ("stubDomains", r#"{"a.test {\n whoami\n}\nb": ["10.0.0.1"]}"#, "is neither"),
            ("upstreamNameservers", r#"["8.8.8.8 {\n}"]"#, "is neither"),
            ("upstreamNameservers", r#""8.8.8.8""#, r#"["8.8.8.8", "8.8.4.4"]"#),
        ] {
            let said = read(&[(file, text)]).unwrap_err();
            assert!(said.contains(file) && said.contains(wanted), "{text}: {said}");
        }
    }
}
