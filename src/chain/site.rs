//! A server block's chain on one listener, and how a name finds it.

use std::collections::HashMap;
use std::sync::Arc;

use super::plugin::Plugin;
use super::query::Query;
use super::secure::Secure;
use super::walk::Outcome;
use crate::corefile::address::Transport;
use crate::error::Complaint;
use crate::wire::name::Name;
use crate::wire::reply::{NOBODY, Reply};
use crate::wire::types::{class, rcode, rtype};

//----------- Chain ----------------------------------------------------------

/// The plugins of one server block, in order.
pub struct Chain {
    plugins: Vec<Arc<dyn Plugin>>,
    names: Vec<&'static str>,
}

impl Chain {
    /// A chain of named plugins, from the top.
    #[must_use]
    pub fn new(seats: Vec<(&'static str, Arc<dyn Plugin>)>) -> Self {
        let (names, plugins) = seats.into_iter().unzip();
        Self { plugins, names }
    }

    /// The plugins from the top.
    #[must_use]
    pub fn plugins(&self) -> &[Arc<dyn Plugin>] {
        &self.plugins
    }

    /// The names of the plugins from the top.
    #[must_use]
    pub fn names(&self) -> &[&'static str] {
        &self.names
    }

    /// What a query gets that no plugin answered.
    pub(super) fn end_reply(&self) -> Reply {
        match self.names.last() {
            Some(last) => Reply::failure(rcode::SERVFAIL, format!("plugin/{last}: {NOBODY}")),
            None => Reply::server(rcode::REFUSED),
        }
    }
}

//----------- Site -----------------------------------------------------------

/// One server block on one of its listeners.
pub struct Site {
    /// The zones of the block on this listener, lower case.
    pub zones: Vec<Name>,
    /// The chain, shared with the block's other listeners.
    pub chain: Arc<Chain>,
    /// Which of the block's listeners this is: plugins that keep one thing for each count by it.
    pub ordinal: usize,
}

//----------- Listener -------------------------------------------------------

/// All server blocks that share a transport, an address and a port.
pub struct Listener {
    /// How messages arrive.
    pub transport: Transport,
    /// The address as the metrics name it: `dns://:53`, `dns://127.0.0.1:53`.
    pub server: String,
    /// The address that was asked for with `bind`; empty means all.
    pub host: String,
    /// The port.
    pub port: u16,
    /// How connections are secured, if they are.
    pub secure: Option<Arc<Secure>>,
    /// The word to blame if nothing can listen there: the address, or the first key of the first server block.
    pub written: Option<Complaint>,
    sites: Vec<Arc<Site>>,
    zones: HashMap<Box<[u8]>, (usize, u16), foldhash::fast::FixedState>,
    /// The lengths in octets that zones have, a bit each: other ends of a name need not be looked up.
    lengths: [u64; 4],
    any_class: bool,
}

/// Plugins with which questions of other classes than IN enter the chain, as in CoreDNS.
const ANY_CLASS: &[&str] = &["chaos", "forward"];

impl Listener {
    /// A listener without TLS for `sites`; a zone belongs to the first site that names it.
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
        let any_class = sites.iter().flat_map(|site| site.chain.names()).any(|name| ANY_CLASS.contains(name));
        Self { transport, server, host, port, secure: None, written: None, sites, zones, lengths, any_class }
    }

    /// The same, with the word of the Corefile that asks for it.
    #[must_use]
    pub fn written(self, written: Option<Complaint>) -> Self {
        Self { written, ..self }
    }

    /// The same with TLS, if it is wanted.
    #[must_use]
    pub fn secured(self, secure: Option<Arc<Secure>>) -> Self {
        Self { secure, ..self }
    }

    /// The server blocks, in the order of the Corefile.
    #[must_use]
    pub fn sites(&self) -> &[Arc<Site>] {
        &self.sites
    }

    /// Asks the server: the class, the EDNS version, the server block, its chain.
    pub fn ask(self: &Arc<Self>, query: &mut Query<'_>) -> Outcome {
        if query.qclass != class::IN && !self.any_class {
            return self.by_itself(query, Reply::server(rcode::REFUSED));
        }
        if query.request.edns.as_ref().is_some_and(|edns| edns.version != 0) {
            return Outcome::Reply(Reply::server(rcode::BADVERS));
        }
        let Some((at, zone)) = self.route(query) else {
            return self.by_itself(query, Reply::server(rcode::REFUSED));
        };
        query.zone = zone;
        self.sites[at].ask(self, query)
    }

    /// The site with the longest zone that holds the name. DS belongs to the parent side of a zone cut: it goes
    /// to the shortest zone that is not the root (RFC 4035 section 3.1.4.1).
    fn route(&self, query: &Query<'_>) -> Option<(usize, u16)> {
        let wire = query.name.wire();
        let (mut at, mut found) = (0, None);
        while wire[at] != 0 {
            if let Some(site) = self.zone(&wire[at..]) {
                if query.qtype != rtype::DS {
                    return Some(site);
                }
                found = Some(site);
            }
            at += 1 + usize::from(wire[at]);
        }
        found.or_else(|| self.zone(&wire[at..]))
    }

    fn zone(&self, wire: &[u8]) -> Option<(usize, u16)> {
        let has_length = self.lengths[wire.len() / 64] & 1 << (wire.len() % 64) != 0;
        if has_length { self.zones.get(wire).copied() } else { None }
    }

    /// Gives a reply that no plugin has seen. The first plugin that counts such replies counts it.
    pub(super) fn by_itself(&self, query: &Query<'_>, reply: Reply) -> Outcome {
        let plugins = || self.sites.iter().flat_map(|site| site.chain.plugins());
        let _ = plugins().any(|plugin| plugin.refused(query, &reply, self));
        Outcome::Reply(reply)
    }
}

/// The server as metrics name it: `dns://:53`, `dns://127.0.0.1:53`, `dns://[::1]:53`.
#[must_use]
pub fn server_label(transport: Transport, host: &str, port: u16) -> String {
    let scheme = transport.scheme();
    if host.contains(':') { format!("{scheme}://[{host}]:{port}") } else { format!("{scheme}://{host}:{port}") }
}
