//! TLS to other servers: which certificates to trust, and which one to show.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::complaint::Complaint;
use super::failure::Failure;
use crate::host::tls::{authorities, identity, machine_authorities, provider, roots};

//----------- Options --------------------------------------------------------

/// How encrypted servers are trusted, and what is shown to them.
#[derive(Debug, Clone, Default)]
pub(crate) struct TlsOptions {
    /// Shown to servers that ask for a client certificate.
    identity: Option<Arc<CertifiedKey>>,
    /// Trusted in place of the machine's authorities.
    authorities: Option<Vec<CertificateDer<'static>>>,
    /// The name that certificates have to show.
    pub(crate) server_name: Option<String>,
}

impl TlsOptions {
    /// Reads the files of `tls [CERT KEY] [CA]`.
    ///
    /// # Errors
    /// A sentence that says which file is wrong, and why.
    pub(crate) fn read(&mut self, files: &[PathBuf]) -> Result<(), String> {
        (self.identity, self.authorities) = match files {
            [] => (None, None),
            [ca] => (None, Some(authorities(ca)?)),
            [cert, key] => (Some(Arc::new(identity(cert, key)?)), None),
            [cert, key, ca, ..] => (Some(Arc::new(identity(cert, key)?)), Some(authorities(ca)?)),
        };
        Ok(())
    }

    /// The TLS settings for a protocol inside TLS. They hold the sessions that can be resumed, so
    /// servers share them.
    pub(crate) fn config(&self, protocol: Option<&[u8]>) -> Arc<ClientConfig> {
        self.config_with(self.verifier(), protocol)
    }

    /// The verifier for the certificates of servers.
    pub(super) fn verifier(&self) -> Arc<dyn ServerCertVerifier> {
        Arc::new(Verifier::new(self.authorities.clone().unwrap_or_else(machine_authorities)))
    }

    /// The same as [`TlsOptions::config`] with another verifier.
    pub(super) fn config_with(
        &self,
        verifier: Arc<dyn ServerCertVerifier>,
        protocol: Option<&[u8]>,
    ) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let builder = builder.expect("the provider has both versions of TLS");
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let mut config = match &self.identity {
            Some(identity) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.clone()))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols.extend(protocol.map(<[u8]>::to_vec));
        Arc::new(config)
    }
}

//----------- Trust ----------------------------------------------------------

/// Checks certificates as the usual verifier does. Like Go it also accepts a certificate that is
/// itself in the file of authorities: the server's own self-signed one.
#[derive(Debug)]
struct Verifier {
    trusted: Vec<CertificateDer<'static>>,
    /// `None` if no authority is trusted.
    usual: Option<Arc<WebPkiServerVerifier>>,
}

impl Verifier {
    fn new(trusted: Vec<CertificateDer<'static>>) -> Self {
        let usual = WebPkiServerVerifier::builder_with_provider(Arc::new(roots(&trusted)), provider()).build().ok();
        Self { trusted, usual }
    }

    fn usual(&self) -> Result<&WebPkiServerVerifier, Error> {
        self.usual.as_deref().ok_or_else(|| {
            let why =
                "no root certificates were found on this machine: name a file with `tls CA`, or set SSL_CERT_FILE";
            Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(io::Error::other(why)))))
        })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.usual()?.verify_server_cert(shown, intermediates, name, ocsp, now) {
            // The verifier has checked its dates before this error.
            Err(error) if is_authority(&error) && self.trusted.iter().any(|trusted| trusted == shown) => {
                verify_server_name(&ParsedCertificate::try_from(shown)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            Err(error) if is_authority(&error) => Err(CertificateError::UnknownIssuer.into()),
            usual => usual,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual()?.verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual()?.verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.as_ref().map(|usual| usual.supported_verify_schemes()).unwrap_or_default()
    }
}

/// Whether a certificate was refused because it is that of an authority.
fn is_authority(error: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(OtherError(why))) = error else { return false };
    matches!(why.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

//----------- TlsClient ------------------------------------------------------

/// Our side of TLS to one server.
#[derive(Clone)]
pub(super) struct TlsClient {
    config: Arc<ClientConfig>,
    /// The name as it is written, if it can be one.
    name: Result<ServerName<'static>, String>,
}

impl TlsClient {
    /// `name` is what the certificate has to show: a host name, or an address.
    pub(super) fn new(config: Arc<ClientConfig>, name: &str) -> Self {
        let parsed = ServerName::try_from(name.to_owned());
        Self { config, name: parsed.map_err(|_| name.to_owned()) }
    }

    /// Performs the handshake. Nothing is ever sent in the clear.
    pub(super) async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        peer: SocketAddr,
    ) -> Result<TlsStream<S>, Failure> {
        let name = self.name.clone().map_err(|name| Failure::untrusted(&Complaint::no_name(&name)))?;
        let connector = TlsConnector::from(self.config.clone());
        connector.connect(name, stream).await.map_err(|error| Failure::tls(peer, &error))
    }
}
