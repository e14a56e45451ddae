//! # tls — give encrypted listeners their certificate
//!
//! Gives the `tls://`, `https://` and `quic://` listeners of the server block their certificate.
//! `tls://` and `quic://` are on port 853 unless a port is given. Without a certificate `tls://`
//! and `https://` listeners are not encrypted, and there are no `quic://` listeners.
//!
//! ## Syntax
//!
//! ```text
//! tls CERT KEY [CA] {
//! }
//! ```
//!
//! - **CERT** and **KEY** are PEM files: the certificate, with those that lead to its authority
//!   behind it, and its key. Both are read again when they change, without a reload; a key that
//!   does not fit its certificate changes nothing.
//! - **CA** is a file with the authorities that sign the certificates of clients; by default they
//!   are those of the machine.
//!
//! TLS is 1.2 or 1.3, over QUIC 1.3. All server blocks that share a listener must have the same
//! certificate and ask the same of clients. The limits of connections over TCP hold here too; a
//! handshake may take 3 s.
//!
//! ## Examples
//!
//! ```corefile
//! tls://.:853 {
//!     tls /etc/signpost/tls/tls.crt /etc/signpost/tls/tls.key
//!     forward . /etc/resolv.conf
//! }
//! ```
//!
//! ## Metrics
//!
//! - `signpost_failed_tls_handshakes_total`: connections that ended before their handshake was
//!   complete

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::{ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{DigitallySignedStruct, DistinguishedName, Error as TlsError, ServerConfig, SignatureScheme};

use crate::chain::doc::doc_of;
use crate::chain::options::{OptionOf, OptionsOf};
use crate::chain::secure::{Secure, Terms};
use crate::chain::setup::{Registration, Setup};
use crate::corefile::{Cursor, Severity, Word};
use crate::error::{Complaint, Error, Result};
use crate::host::log;
use crate::host::tls::{SecretsFile, authorities, identity, machine_authorities, provider, roots};

/// The registration of this plugin.
pub const PLUGIN: Registration = Registration { name: "tls", setup, doc: doc_of!("tls.rs"), options: &[&OPTIONS] };

/// Interval between checks of the files.
const POLL: Duration = Duration::from_secs(if cfg!(test) { 0 } else { 10 });

const CLIENT_AUTH: &[&str] = &["nocert", "request", "require", "verify_if_given", "require_and_verify"];
const ACME: &[&str] = &["acme", "email", "ca", "storage", "ca_root", "resolver"];

/// The contents of one directive.
struct Directive {
    /// Certificate, key and, if given, authorities.
    files: Vec<PathBuf>,
    client_auth: &'static str,
    secrets: Option<Arc<SecretsFile>>,
    /// The word that names the file of secrets, for complaints.
    written: Option<Complaint>,
}

//----------- Setup ----------------------------------------------------------

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let mut cursor = s.cursor();
    while cursor.next_occurrence() {
        let words = cursor.args();
        match words.len() {
            0 => return Err(by_acme(&mut cursor)),
            2 | 3 => {}
            _ => return Err(cursor.arg_err()),
        }
        let mut directive = Directive { files: Vec::new(), client_auth: CLIENT_AUTH[0], secrets: None, written: None };
        OPTIONS.read(&mut cursor, &mut directive, s)?;
        let is_whole = directive.find(s, &cursor, &words);
        if !is_whole {
            continue;
        }
        let (config, terms) = directive.load().map_err(|wrong| cursor.error(wrong))?;
        let secure = Arc::new(Secure::new(&config, terms));
        s.secure(secure.clone());
        if let (Some(secrets), Some(written)) = (directive.secrets.clone(), directive.written.clone()) {
            let no_secrets = move |why| written.about(format!("unable to write TLS Key Log: {why}")).into();
            s.prepare(move |_| async move { secrets.open().map_err(no_secrets) });
        }
        s.task("tls: certificate", move || follow(directive, secure));
    }
    Ok(())
}

/// Explains what is wrong with a directive that names no files.
fn by_acme(cursor: &mut Cursor<'_>) -> Error {
    let mut has_domain = false;
    while cursor.next_option() {
        let word = cursor.word();
        if !ACME.contains(&word.as_str()) {
            return cursor.unknown(word, format!("unknown ACME option \"{word}\""), ACME);
        }
        let is_domain = word.as_str() == "acme";
        if cursor.args().is_empty() {
            return cursor.arg_err();
        }
        has_domain |= is_domain;
    }
    cursor.error(if has_domain {
        "certificates by ACME are not served yet: name the files of a certificate, `tls CERT KEY`"
    } else {
        "ACME requires at least one domain"
    })
}

static OPTIONS: OptionsOf<Directive> = OptionsOf {
    all: &[
        OptionOf {
            name: "client_auth",
            form: "nocert|request|require|verify_if_given|require_and_verify",
            about: "Whether clients are asked for a certificate (`nocert`, the default: they are not), whether they \
                    must have one (`require`, `require_and_verify`), and whether an authority must vouch for it \
                    (`verify_if_given`, `require_and_verify`).",
            read: |cursor, directive, _| {
                let word = cursor.expect_arg()?;
                let known = CLIENT_AUTH.iter().find(|known| **known == word.as_str());
                let message = || format!("Error during parsing: unknown authentication type '{word}'");
                directive.client_auth = known.ok_or_else(|| cursor.unknown(word, message(), CLIENT_AUTH))?;
                cursor.expect_no_arg()
            },
        },
        OptionOf {
            name: "keylog",
            form: "FILE",
            about: "Where the secrets of connections are written, for packet analysers. With this file all \
                    connections can be decrypted.",
            read: |cursor, directive, s| {
                let word = cursor.expect_arg()?;
                let (path, written) = (s.path(&word.text), cursor.complain(word, ""));
                if path.parent().is_some_and(|folder| !folder.as_os_str().is_empty() && !folder.exists()) {
                    let message = format!("unable to write TLS Key Log: there is no folder for {}", path.display());
                    cursor.report(Severity::Error, written.about(message));
                }
                directive.written = Some(written);
                directive.secrets = Some(Arc::new(SecretsFile::new(path)));
                cursor.expect_no_arg()
            },
        },
    ],
    unknown: |word| format!("Error during parsing: unknown option '{word}'"),
};

impl Directive {
    /// Looks for the files; returns whether all of them exist.
    fn find(&mut self, s: &Setup<'_>, cursor: &Cursor<'_>, words: &[&Word]) -> bool {
        for (place, word) in words.iter().enumerate() {
            let authorities = format!("error reading {word}");
            let what = if place < 2 { "could not load TLS cert" } else { &authorities };
            self.files.extend(s.file(cursor, word, what));
        }
        self.files.len() == words.len()
    }

    /// Reads the files.
    fn load(&self) -> std::result::Result<(ServerConfig, Terms), String> {
        let identity = Arc::new(identity(&self.files[0], &self.files[1])?);
        let authorities = self.files.get(2).map(|path| authorities(path)).transpose()?;
        let terms = Terms { chain: identity.cert.clone(), client_auth: self.client_auth, authorities };
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| error.to_string())?;
        let builder = builder.with_client_cert_verifier(self.clients(terms.authorities.as_deref())?);
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
        // Sessions are stored by the clients, not here.
        config.ticketer = ring::Ticketer::new().map_err(|error| error.to_string())?;
        if let Some(secrets) = &self.secrets {
            config.key_log = secrets.clone();
        }
        Ok((config, terms))
    }

    /// Returns the verifier of client certificates.
    fn clients(
        &self,
        trusted: Option<&[CertificateDer<'static>]>,
    ) -> std::result::Result<Arc<dyn ClientCertVerifier>, String> {
        let mandatory = self.client_auth.starts_with("require");
        match self.client_auth {
            "nocert" => return Ok(WebPkiClientVerifier::no_client_auth()),
            "request" | "require" => return Ok(Arc::new(AnyCertificate { mandatory })),
            _ => {}
        }
        let trusted = trusted.map_or_else(machine_authorities, <[_]>::to_vec);
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(&trusted)), provider());
        let builder = if mandatory { builder } else { builder.allow_unauthenticated() };
        let none = |_| "certificates of clients cannot be checked: this machine has no root certificates; name a file of your own as CA";
        Ok(builder.build().map_err(none)?)
    }
}

//----------- Files that change ----------------------------------------------

/// Reads the files again when they have changed.
async fn follow(directive: Directive, secure: Arc<Secure>) {
    let read = || directive.files.iter().map(|path| std::fs::read(path).unwrap_or_default()).collect::<Vec<_>>();
    let mut known = read();
    loop {
        tokio::time::sleep(POLL.max(Duration::from_millis(20))).await;
        let now = read();
        if now == known {
            continue;
        }
        match directive.load() {
            Ok((config, _)) => {
                secure.replace(&config);
                log::info(PLUGIN.name, format_args!("{} has been read again", directive.files[0].display()));
            }
            // The certificate may arrive before its key: warn once, and retry at the next change.
            Err(why) => log::warning(PLUGIN.name, format_args!("{why}; the certificate before it stays in use")),
        }
        known = now;
    }
}

//----------- Clients --------------------------------------------------------

/// Accepts any certificate that the client has the key of.
#[derive(Debug)]
struct AnyCertificate {
    mandatory: bool,
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _shown: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> std::result::Result<ClientCertVerified, TlsError> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<rustls::client::danger::HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, certificate, signature, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<rustls::client::danger::HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, certificate, signature, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Server;
    use crate::testing::live::Live;
    use crate::testing::tls::Pki;

    fn corefile(options: &str) -> String {
        format!("tls://. {{\n{options}\nwhoami\n}}")
    }

    #[test]
    fn a_new_certificate_is_used_without_a_reload() {
        let pki = Pki::new();
        pki.issue("dns", &["dns.example.org"]);
        let live = Live::new(&corefile(&format!("tls {} {}", pki.text("dns.pem"), pki.text("dns.key"))));
        let secure = live.server.configuration.listeners[0].secure.clone().expect("TLS");
        let config = || secure.config(crate::corefile::address::Transport::Tls);
        let first = config();
        std::fs::write(pki.path("dns.pem"), "broken").expect("written");
        std::thread::sleep(Duration::from_millis(200));
        assert!(Arc::ptr_eq(&first, &config()), "what is broken changes nothing");
        pki.issue("dns", &["dns.example.org"]);
        live.wait_until("it is read again", || !Arc::ptr_eq(&first, &config()));
    }

    #[test]
    fn checking_a_corefile_makes_no_file() {
        let pki = Pki::new();
        pki.issue("dns", &["dns.example.org"]);
        let files = format!("{} {}", pki.text("dns.pem"), pki.text("dns.key"));
        let with = |path: &str| corefile(&format!("tls {files} {{\nkeylog {path}\n}}"));
        drop(Server::new(&with(&pki.text("secrets"))));
        assert!(!pki.path("secrets").exists());
        drop(Live::prepared(&with(&pki.text("secrets")), true).expect("it starts"));
        assert!(pki.path("secrets").exists());
        let error = Live::prepared(&with("/none/such"), true).err().expect("an error").to_string();
        assert!(
            error
                .starts_with("plugin/tls: Corefile:3 - unable to write TLS Key Log: there is no folder for /none/such"),
            "{error}"
        );
    }

    #[test]
    fn blocks_on_one_listener_must_agree() {
        let pki = Pki::new();
        for name in ["one", "two"] {
            pki.issue(name, &["dns.example.org"]);
        }
        let tls = |name: &str, rest: &str| {
            format!("tls {} {} {rest}", pki.text(&format!("{name}.pem")), pki.text(&format!("{name}.key")))
        };
        let both = |one: &str, two: &str, port: u16| {
            let text = format!("tls://a {{\n{one}\nwhoami\n}}\ntls://b:{port} {{\n{two}\nwhoami\n}}");
            Server::try_new(&text).map(|_| ()).map_err(|error| error.to_string())
        };
        let (one, ca) = (tls("one", ""), pki.text("ca.pem"));
        assert_eq!(both(&one, &one, 853), Ok(()));
        assert_eq!(both(&one, "", 8853), Ok(()));
        for (other, why) in [
            (String::new(), "TLS is configured for only one server block"),
            (tls("two", ""), "server certificates differ"),
            (tls("one", &ca), "client CA pools differ"),
            (tls("one", "{\nclient_auth require\n}"), "client authentication policies differ"),
        ] {
            let error = both(&one, &other, 853).expect_err(why);
            let listener =
                "conflicting TLS configuration for shared listener tls://:853 between zones \"a.\" and \"b.\"";
            assert!(error.starts_with(&format!("Corefile:5 - {listener}: {why}\n")), "{error}");
        }
    }

    #[test]
    fn without_a_certificate_it_is_plain_tcp_and_elsewhere_the_certificate_does_not_count() {
        assert!(Server::new(&corefile("")).configuration.listeners[0].secure.is_none());
        let pki = Pki::new();
        pki.issue("dns", &["dns.example.org"]);
        let text = format!(". {{\ntls {} {}\nwhoami\n}}", pki.text("dns.pem"), pki.text("dns.key"));
        assert!(Server::new(&text).configuration.listeners[0].secure.is_none());
    }
}
