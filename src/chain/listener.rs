//! All server blocks of one address and port, and the choice of the block for a question.

use std::collections::HashMap;
use std::sync::Arc;

use super::query::Query;
use super::secure::Secure;
use super::site::Site;
use super::timeouts::Timeouts;
use super::walk::{self, Outcome};
use crate::corefile::address::Transport;
use crate::error::Complaint;
use crate::wire::name::Name;
use crate::wire::reply::Reply;
use crate::wire::types::{class, rcode, rtype};

/// All server blocks that share a transport, an address and a port.
pub struct Listener {
    /// How messages arrive.
    pub transport: Transport,
    /// The listener's name in metrics: `dns://:53`, `dns://127.0.0.1:53`.
    pub server: String,
    /// The address from `bind`; empty means all addresses.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The TLS settings of its connections, if they use TLS.
    pub secure: Option<Arc<Secure>>,
    /// The limits of its connections.
    pub timeouts: Timeouts,
    /// The word to name if nothing can listen there: the address, or the first server block's first
    /// key.
    pub written: Option<Complaint>,
    sites: Vec<Arc<Site>>,
    zones: HashMap<Box<[u8]>, (usize, u16), foldhash::fast::FixedState>,
    /// The site and zone of names in no other zone: those of the root. It is not looked up.
    root: Option<(usize, u16)>,
    /// The lengths of zones in octets, one bit each: name suffixes of other lengths are not looked
    /// up.
    lengths: [u64; 4],
    /// Whether questions of other classes than IN are passed to the chains.
    any_class: bool,
}

impl Listener {
    /// Returns a listener without TLS for `sites`. A zone belongs to the first site that names it.
    #[must_use]
    pub fn new(transport: Transport, host: String, port: u16, sites: Vec<Arc<Site>>) -> Self {
        let server = server_label(transport, &host, port);
        let mut zones = HashMap::with_hasher(foldhash::fast::FixedState::default());
        let mut lengths = [0; 4];
        for (at, site) in sites.iter().enumerate() {
            for (index, zone) in site.zones.iter().enumerate() {
                zones.entry(zone.wire().into()).or_insert((at, index as u16));
                lengths[zone.len() / 64] |= 1 << (zone.len() % 64);
            }
        }
        let root = zones.get(Name::ROOT.wire()).copied();
        let any_class = sites.iter().flat_map(|site| site.chain.plugins()).any(|plugin| plugin.takes_any_class());
        let timeouts = Timeouts::default();
        Self {
            transport,
            server,
            host,
            port,
            secure: None,
            timeouts,
            written: None,
            sites,
            zones,
            root,
            lengths,
            any_class,
        }
    }

    /// Returns the listener with the Corefile's word that names it.
    #[must_use]
    pub fn written(self, written: Option<Complaint>) -> Self {
        Self { written, ..self }
    }

    /// Returns the listener with TLS, if `secure` is set.
    #[must_use]
    pub fn secured(self, secure: Option<Arc<Secure>>) -> Self {
        Self { secure, ..self }
    }

    /// Returns the listener with these limits of its connections.
    #[must_use]
    pub fn limited(self, timeouts: Timeouts) -> Self {
        Self { timeouts, ..self }
    }

    /// Returns the server blocks, in the order of the Corefile.
    #[must_use]
    pub fn sites(&self) -> &[Arc<Site>] {
        &self.sites
    }

    /// Asks the server: checks class and EDNS version, finds the server block, runs its chain.
    pub fn ask(self: &Arc<Self>, query: &mut Query<'_>) -> Outcome {
        if query.question.qclass != class::IN && !self.any_class {
            return self.by_itself(query, Reply::server(rcode::REFUSED));
        }
        if query.request.edns.as_ref().is_some_and(|edns| edns.version != 0) {
            return Outcome::Reply(Reply::server(rcode::BADVERS));
        }
        let Some((at, zone)) = self.route(query) else {
            return self.by_itself(query, Reply::server(rcode::REFUSED));
        };
        query.zone = zone;
        walk::begin(self, &self.sites[at], query)
    }

    /// Returns the site with the longest zone that holds the name. DS belongs to the parent side of
    /// a zone cut, so it goes to the shortest zone that is not the root (RFC 4035 section 3.1.4.1).
    fn route(&self, query: &Query<'_>) -> Option<(usize, u16)> {
        let wire = query.question.name.wire();
        let (mut at, mut found) = (0, None);
        while wire[at] != 0 {
            if let Some(site) = self.zone(&wire[at..]) {
                if query.question.qtype != rtype::DS {
                    return Some(site);
                }
                found = Some(site);
            }
            at += 1 + usize::from(wire[at]);
        }
        found.or(self.root)
    }

    #[inline]
    fn zone(&self, wire: &[u8]) -> Option<(usize, u16)> {
        let has_length = self.lengths[wire.len() / 64] & 1 << (wire.len() % 64) != 0;
        if has_length { self.zones.get(wire).copied() } else { None }
    }

    /// Returns a reply that no plugin has seen. The first plugin that counts such replies counts
    /// it.
    pub(super) fn by_itself(&self, query: &Query<'_>, reply: Reply) -> Outcome {
        let plugins = || self.sites.iter().flat_map(|site| site.chain.plugins());
        let _ = plugins().any(|plugin| plugin.refused(query, &reply, self));
        Outcome::Reply(reply)
    }
}

/// Returns the server's name in metrics: `dns://:53`, `dns://127.0.0.1:53`, `dns://[::1]:53`.
#[must_use]
pub fn server_label(transport: Transport, host: &str, port: u16) -> String {
    let scheme = transport.scheme();
    if host.contains(':') { format!("{scheme}://[{host}]:{port}") } else { format!("{scheme}://{host}:{port}") }
}
