//! The TLS settings of a listener, as its server blocks configure them.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;

use crate::corefile::address::Transport;

/// The TLS settings of one server block.
#[derive(Debug)]
pub struct Secure {
    configs: ArcSwap<Configs>,
    terms: Terms,
}

/// The settings for each protocol that is spoken inside of TLS.
#[derive(Debug)]
struct Configs {
    dns: Arc<ServerConfig>,
    http: Arc<ServerConfig>,
    quic: Arc<ServerConfig>,
    grpc: Arc<ServerConfig>,
}

impl Configs {
    /// Returns `config` with the names of each protocol (RFC 7301), in order of preference.
    fn new(config: &ServerConfig) -> Self {
        let speaking = |names: &[&[u8]]| {
            let mut config = config.clone();
            config.alpn_protocols = names.iter().map(|name| name.to_vec()).collect();
            Arc::new(config)
        };
        Self {
            dns: speaking(&[b"dot"]),
            http: speaking(&[b"h2", b"http/1.1"]),
            quic: speaking(&[b"doq"]),
            grpc: speaking(&[b"h2"]),
        }
    }
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
    pub fn new(config: &ServerConfig, terms: Terms) -> Self {
        Self { configs: ArcSwap::from_pointee(Configs::new(config)), terms }
    }

    /// Returns the settings for the next connection of a transport.
    #[must_use]
    pub fn config(&self, transport: Transport) -> Arc<ServerConfig> {
        let configs = self.configs.load();
        match transport {
            Transport::Https => configs.http.clone(),
            Transport::Quic => configs.quic.clone(),
            Transport::Grpc => configs.grpc.clone(),
            _ => configs.dns.clone(),
        }
    }

    /// Sets new settings for later connections, after the files have changed.
    pub fn replace(&self, config: &ServerConfig) {
        self.configs.store(Arc::new(Configs::new(config)));
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
