//! Why the other side of a TLS handshake is not trusted, in words.

use std::io;

use rustls::{AlertDescription, CertificateError, Error, OtherError};

/// Why the other side is not trusted: for the log in the words of Go, and for the client in short.
pub(super) struct Complaint {
    /// `tls: failed to verify certificate: x509: certificate has expired or is not yet valid`
    pub(super) long: String,
    /// `the upstream's certificate has expired`
    pub(super) short: &'static str,
}

impl Complaint {
    /// No server can have this name.
    pub(super) fn no_name(name: &str) -> Self {
        let long = format!("tls: failed to verify certificate: x509: \"{name}\" can be no server's name");
        Self { long, short: "the upstream's certificate cannot be for the name that is asked for" }
    }

    /// What an error of rustls means, however it is wrapped.
    pub(super) fn of(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(error) = error.downcast_ref::<Error>() {
                return Some(Self::of_tls(error));
            }
            // An I/O error hides what it was made of from `source`.
            let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            next = inner.map(|inner| inner as &(dyn std::error::Error + 'static)).or_else(|| error.source());
        }
        None
    }

    /// What an error of rustls means.
    pub(super) fn of_tls(error: &Error) -> Self {
        match error {
            Error::NoApplicationProtocol | Error::AlertReceived(AlertDescription::NoApplicationProtocol) => Self {
                long: "tls: no application protocol in common".into(),
                short: "the upstream does not speak this kind of encrypted DNS",
            },
            Error::InvalidCertificate(why) => {
                let (long, short) = certificate(why);
                Self { long: format!("tls: failed to verify certificate: x509: {long}"), short }
            }
            Error::AlertReceived(alert) => {
                Self { long: format!("remote error: tls: {alert:?}"), short: "the upstream ended the TLS handshake" }
            }
            Error::InvalidMessage(_) => Self {
                long: "tls: first record does not look like a TLS handshake".into(),
                short: "the upstream does not speak TLS",
            },
            other => Self { long: format!("tls: {other}"), short: "no TLS with the upstream" },
        }
    }
}

fn certificate(why: &CertificateError) -> (String, &'static str) {
    use CertificateError as E;
    match why {
        E::Expired | E::ExpiredContext { .. } => {
            ("certificate has expired or is not yet valid".into(), "the upstream's certificate has expired")
        }
        E::NotValidYet | E::NotValidYetContext { .. } => {
            ("certificate has expired or is not yet valid".into(), "the upstream's certificate is not valid yet")
        }
        E::NotValidForName => ("certificate is valid for another name".into(), OTHER_NAME),
        E::NotValidForNameContext { expected, presented } => {
            // `DnsName("dns.example.org")`, `IpAddress(192.0.2.1)`: what is inside counts.
            let bare = |name: &String| name.split(['(', ')']).nth(1).unwrap_or(name).trim_matches('"').to_owned();
            let presented: Vec<String> = presented.iter().map(bare).collect();
            let presented = if presented.is_empty() { "no name".into() } else { presented.join(", ") };
            (format!("certificate is valid for {presented}, not {}", expected.to_str()), OTHER_NAME)
        }
        E::UnknownIssuer => (
            "certificate signed by unknown authority".into(),
            "the upstream's certificate is signed by an authority that is not trusted",
        ),
        E::Other(OtherError(why)) => (why.to_string(), "the upstream's certificate cannot be trusted"),
        other => (other.to_string(), "the upstream's certificate cannot be trusted"),
    }
}

const OTHER_NAME: &str = "the upstream's certificate is for another name";
