//! Which cluster an API server belongs to, as far as that is known without asking it.
//!
//! A cluster has a CA of its own, while its address is often that of others too: `10.96.0.1` with
//! kubeadm. When a CA is rotated, the old and the new certificate are trusted for a while.

use std::fmt::Write as _;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use crate::host::tls::authorities;

/// A cluster.
#[derive(Debug, Clone)]
pub(in super::super) struct Cluster {
    url: String,
    /// The file with its CA, which may change.
    ca: Option<PathBuf>,
    /// Certificates of its CA that do not come from that file.
    certificates: Vec<Vec<u8>>,
}

impl Cluster {
    pub(in super::super) fn new(url: &str, ca: Option<PathBuf>, certificates: Vec<Vec<u8>>) -> Self {
        Self { url: url.to_owned(), ca, certificates }
    }

    /// Marks of the cluster, with spaces between: one for each certificate of its CA, or its URL.
    pub(in super::super) fn marks(&self) -> String {
        let file = self.ca.as_ref().and_then(|file| authorities(file).ok()).unwrap_or_default();
        let all = file.iter().map(AsRef::as_ref).chain(self.certificates.iter().map(Vec::as_slice));
        let marks: Vec<String> = all.map(mark).collect();
        if marks.is_empty() { self.url.clone() } else { marks.join(" ") }
    }

    /// Whether marks are those of this cluster: one of them is the same.
    pub(in super::super) fn is(&self, marks: &str) -> bool {
        let own = self.marks();
        own.split(' ').any(|own| marks.split(' ').any(|mark| mark == own))
    }
}

/// The first octets of a certificate's SHA-256.
fn mark(certificate: &[u8]) -> String {
    Sha256::digest(certificate)[..16].iter().fold(String::new(), |mut text, octet| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{octet:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_known_by_a_certificate_or_by_its_address() {
        let cluster = |url: &str, certificates: &[&[u8]]| {
            Cluster::new(url, None, certificates.iter().map(|one| one.to_vec()).collect())
        };
        let old = cluster("https://10.96.0.1", &[b"a", b"b"]);
        assert!(old.is(&cluster("https://10.96.0.2", &[b"b", b"c"]).marks()), "rotated");
        assert!(!old.is(&cluster("https://10.96.0.1", &[b"c"]).marks()), "another one at the same address");
        assert!(!old.is("") && !old.is(&cluster("https://10.96.0.1", &[]).marks()));
        let plain = cluster("http://127.0.0.1:8080", &[]);
        assert!(plain.is("http://127.0.0.1:8080") && !plain.is("http://127.0.0.1:8081") && !plain.is(&old.marks()));
    }
}
