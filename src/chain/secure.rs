//! The TLS settings of a listener, as its server blocks configure them.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;

/// The TLS settings of one server block.
#[derive(Debug)]
pub struct Secure {
    config: ArcSwap<ServerConfig>,
    terms: Terms,
}

/// The settings that all blocks on one listener must share.
#[derive(Debug, PartialEq, Eq)]
pub struct Terms {
    /// The certificate that clients are shown, with its chain to the authority.
    pub chain: Vec<CertificateDer<'static>>,
    /// How clients are authenticated, in the Corefile's word.
    pub client_auth: &'static str,
    /// The authorities for client certificates; `None` means those of the machine.
    pub authorities: Option<Vec<CertificateDer<'static>>>,
}

impl Secure {
    /// Returns settings that start with `config`.
    #[must_use]
    pub fn new(config: Arc<ServerConfig>, terms: Terms) -> Self {
        Self { config: ArcSwap::new(config), terms }
    }

    /// Returns the settings for the next connection.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }

    /// Sets new settings for later connections, after the files have changed.
    pub fn replace(&self, config: Arc<ServerConfig>) {
        self.config.store(config);
    }

    /// Returns why two blocks cannot share a listener, in CoreDNS's words, or `None` if they can.
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
