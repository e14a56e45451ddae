//! Why a QUIC connection ended, in words: the library passes on only the number of an alert.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use quinn::{ConnectionError, TransportErrorCode};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{AlertDescription, DigitallySignedStruct, Error, SignatureScheme};

use super::super::complaint::Complaint;
use super::super::failure::Failure;

/// Codes of QUIC that stand for an alert of TLS: its number is the last octet (RFC 9001, 4.8).
const ALERTS: std::ops::Range<u64> = 0x100..0x200;

/// Checks the certificates of one server, and remembers why it refused one.
#[derive(Debug)]
pub(super) struct Witness {
    usual: Arc<dyn ServerCertVerifier>,
    refused: Mutex<Option<Error>>,
}

impl Witness {
    pub(super) fn new(usual: Arc<dyn ServerCertVerifier>) -> Self {
        Self { usual, refused: Mutex::default() }
    }

    /// What the end of a connection means for the queries that wait.
    pub(super) fn failure(&self, peer: SocketAddr, error: &ConnectionError) -> Failure {
        let tls = match error {
            ConnectionError::TransportError(ours) => alert(ours.code).map(|alert| match (self.refused(), alert) {
                (Some(why), _) => why,
                (None, AlertDescription::NoApplicationProtocol) => Error::NoApplicationProtocol,
                (None, _) => Error::General(ours.reason.clone()),
            }),
            ConnectionError::ConnectionClosed(theirs) => alert(theirs.error_code).map(Error::AlertReceived),
            _ => None,
        };
        match tls {
            Some(error) => Failure::untrusted(&Complaint::of_tls(&error)),
            None => Failure::ended("quic", peer, &error.to_string()),
        }
    }

    /// Why the last certificate was refused. It is kept, because all queries that wait for the
    /// connection report it.
    fn refused(&self) -> Option<Error> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn alert(code: TransportErrorCode) -> Option<AlertDescription> {
    let code = u64::from(code);
    ALERTS.contains(&code).then(|| AlertDescription::from(code as u8))
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict = self.usual.verify_server_cert(shown, intermediates, name, ocsp, now);
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = verdict.as_ref().err().cloned();
        verdict
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}
