//! TLS of a listener, as the server blocks on it want it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;

/// What one server block says about TLS.
#[derive(Debug)]
pub struct Secure {
    config: ArcSwap<ServerConfig>,
    terms: Terms,
}

/// What blocks on one listener have to agree on.
#[derive(Debug, PartialEq, Eq)]
pub struct Terms {
    /// The certificate that clients are shown, with those that lead to its authority.
    pub chain: Vec<CertificateDer<'static>>,
    /// What is asked of clients, in the Corefile's word.
    pub client_auth: &'static str,
    /// Who vouches for clients; nothing means the machine's authorities.
    pub authorities: Option<Vec<CertificateDer<'static>>>,
}

impl Secure {
    /// Settings that are in use from now on.
    #[must_use]
    pub fn new(config: Arc<ServerConfig>, terms: Terms) -> Self {
        Self { config: ArcSwap::new(config), terms }
    }

    /// The settings for the next connection.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }

    /// Uses other settings for connections to come: the files have changed.
    pub fn replace(&self, config: Arc<ServerConfig>) {
        self.config.store(config);
    }

    /// Why two blocks cannot share a listener, in CoreDNS's words, if they cannot.
    #[must_use]
    pub fn difference(one: Option<&Self>, other: Option<&Self>) -> Option<&'static str> {
        let (one, other) = match (one, other) {
            (None, None) => return None,
            (Some(one), Some(other)) => (&one.terms, &other.terms),
            _ => return Some("TLS is configured for only one server block"),
        };
        match () {
            () if one.chain != other.chain => Some("server certificates differ"),
            () if one.client_auth != other.client_auth => Some("client authentication policies differ"),
            () if one.authorities != other.authorities => Some("client CA pools differ"),
            () => None,
        }
    }
}
