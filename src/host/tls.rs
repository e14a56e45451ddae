//! Certificates and keys from PEM files, and the authorities that this machine trusts.
//!
//! Errors about files use CoreDNS's words where it has any, because people search for them.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, KeyLog, RootCertStore};

use crate::error::words;

/// Returns the provider of cryptography, the same everywhere.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

//----------- Files ----------------------------------------------------------

/// Reads a certificate, followed by its intermediates, and the key that belongs to it.
///
/// # Errors
/// A sentence: which file cannot be read or has other contents, or that the two do not match.
pub fn identity(certificate: &Path, key: &Path) -> Result<CertifiedKey, String> {
    let wrong = |why: String| format!("could not load TLS cert: {why}");
    let (certificate, key) = (read(certificate).map_err(wrong)?, read(key).map_err(wrong)?);
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&certificate).filter_map(Result::ok).collect();
    if chain.is_empty() {
        return Err(wrong("tls: failed to find any PEM data in certificate input".into()));
    }
    let key = PrivateKeyDer::from_pem_slice(&key);
    let key = key.map_err(|_| wrong("tls: failed to find any PEM data in key input".into()))?;
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| {
        wrong(match error {
            Error::InconsistentKeys(_) => "tls: private key does not match public key".into(),
            other => format!("tls: {other}"),
        })
    })
}

/// Reads the certificates of authorities.
///
/// # Errors
/// A sentence: the file cannot be read, or has no certificate.
pub fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read(path).map_err(|why| format!("error reading {}: {why}", path.display()))?;
    let all: Vec<_> = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok).collect();
    if roots(&all).is_empty() {
        return Err(format!("could not read root certs: no certificate in {}", path.display()));
    }
    Ok(all)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("open {}: {}", path.display(), words(&error)))
}

//----------- Trust ----------------------------------------------------------

/// Makes a root store of these certificates; entries that are not certificates are skipped.
#[must_use]
pub fn roots(certificates: &[CertificateDer<'static>]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates.iter().cloned());
    roots
}

/// Returns the authorities that this machine trusts: those in `SSL_CERT_FILE` and `SSL_CERT_DIR`,
/// or in the usual places of distributions. None are built in: a list of our own would become
/// outdated, and would trust authorities that the machine's owner does not.
#[must_use]
pub fn machine_authorities() -> Vec<CertificateDer<'static>> {
    rustls_native_certs::load_native_certs().certs
}

//----------- Secrets --------------------------------------------------------

/// Writes the secrets of connections to a file in the format that packet analysers read
/// (`SSLKEYLOGFILE`).
#[derive(Debug)]
pub struct SecretsFile {
    path: PathBuf,
    file: OnceLock<Mutex<File>>,
}

impl SecretsFile {
    /// A file that is not open yet: until then nothing is written.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, file: OnceLock::new() }
    }

    /// Opens the file for appending; creates it, readable by its owner only, if it does not exist.
    ///
    /// # Errors
    /// What the system says, in words.
    pub fn open(&self) -> Result<(), String> {
        use std::os::unix::fs::OpenOptionsExt;
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path);
        let file = file.map_err(|error| format!("open {}: {}", self.path.display(), words(&error)))?;
        let _ = self.file.set(Mutex::new(file));
        Ok(())
    }
}

impl KeyLog for SecretsFile {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let line = format!("{label} {} {}\n", hex(client_random), hex(secret));
        if let Some(file) = self.file.get() {
            // For debugging only: a connection does not fail because this cannot be written.
            let _ = file.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes());
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let made = || rcgen::generate_simple_self_signed(["dns.example.org".to_owned()]).expect("a certificate");
        let (one, two) = (made(), made());
        std::fs::write(path("cert"), one.cert.pem()).expect("written");
        std::fs::write(path("key"), one.signing_key.serialize_pem()).expect("written");
        std::fs::write(path("other"), two.signing_key.serialize_pem()).expect("written");
        std::fs::write(path("text"), "no certificate").expect("written");
        let of = |cert: &str, key: &str| identity(&path(cert), &path(key)).map(|_| ()).unwrap_err();

        assert!(identity(&path("cert"), &path("key")).is_ok());
        assert!(of("none", "key").ends_with("/none: no such file or directory"), "{}", of("none", "key"));
        assert!(of("text", "key").ends_with("failed to find any PEM data in certificate input"));
        assert!(of("cert", "text").ends_with("failed to find any PEM data in key input"));
        assert!(of("cert", "other").ends_with("tls: private key does not match public key"));
        assert_eq!(authorities(&path("cert")).map(|all| all.len()), Ok(1));
        assert!(authorities(&path("text")).unwrap_err().starts_with("could not read root certs"));
        assert!(authorities(&path("none")).unwrap_err().starts_with("error reading "));
    }

    #[test]
    fn secrets_are_written_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secrets");
        let secrets = SecretsFile::new(path.clone());
        secrets.log("CLIENT_RANDOM", &[0], &[0]);
        assert!(!path.exists());
        secrets.open().expect("a file");
        secrets.log("CLIENT_RANDOM", &[1, 0xAB], &[2]);
        assert_eq!(std::fs::read_to_string(&path).expect("the file"), "CLIENT_RANDOM 01ab 02\n");
        assert_eq!(std::fs::metadata(&path).expect("the file").permissions().mode() & 0o777, 0o600);
        assert!(
            SecretsFile::new(folder.path().join("none/such"))
                .open()
                .unwrap_err()
                .ends_with("no such file or directory")
        );
    }
}
