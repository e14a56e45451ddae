//! All server blocks of one address and port, and the choice of the block for a question.

use std::collections::HashMap;
use std::sync::Arc;

use super::caps::Caps;
use super::proxies::Proxies;
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

/// The index of a zone whose site is chosen by filters: beyond all sites.
const FILTERED: usize = usize::MAX;

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
    /// How many connections and requests it takes.
    pub caps: Caps,
    /// The limits of its connections.
    pub timeouts: Timeouts,
    /// The proxies in front of it, if there are any.
    pub proxies: Option<Arc<dyn Proxies>>,
    /// The word to name if nothing can listen there: the address, or the first server block's first
    /// key.
    pub written: Option<Complaint>,
    sites: Vec<Arc<Site>>,
    /// The site of each zone, and the zone's index in it. Beyond the last site: a zone of which
    /// filters choose the site.
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
    /// Returns a listener without TLS for `sites`. A zone belongs to the first site that names it,
    /// unless that one has a filter.
    #[must_use]
    pub fn new(transport: Transport, host: String, port: u16, sites: Vec<Arc<Site>>) -> Self {
        let server = server_label(transport, &host, port);
        let mut zones = HashMap::with_hasher(foldhash::fast::FixedState::default());
        let mut lengths = [0; 4];
        for (at, site) in sites.iter().enumerate() {
            let place = if site.filter.is_some() { FILTERED } else { at };
            for (index, zone) in site.zones.iter().enumerate() {
                zones.entry(zone.wire().into()).or_insert((place, index as u16));
                lengths[zone.len() / 64] |= 1 << (zone.len() % 64);
            }
        }
        let root = zones.get(Name::ROOT.wire()).copied();
        let any_class = sites.iter().flat_map(|site| site.chain.plugins()).any(|plugin| plugin.takes_any_class());
        let (caps, timeouts) = Default::default();
        Self {
            transport,
            server,
            host,
            port,
            secure: None,
            caps,
            timeouts,
            proxies: None,
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

    /// Returns the listener with these numbers of connections and requests.
    #[must_use]
    pub fn capped(self, caps: Caps) -> Self {
        Self { caps, ..self }
    }

    /// Returns the listener with these limits of its connections.
    #[must_use]
    pub fn limited(self, timeouts: Timeouts) -> Self {
        Self { timeouts, ..self }
    }

    /// Returns the listener with proxies in front of it, if `proxies` is set.
    #[must_use]
    pub fn behind(self, proxies: Option<Arc<dyn Proxies>>) -> Self {
        Self { proxies, ..self }
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
        let Some((site, zone)) = self.site(query) else {
            return self.by_itself(query, Reply::server(rcode::REFUSED));
        };
        query.zone = zone;
        walk::begin(self, site, query)
    }

    /// Returns the site that serves a query, and the index of its zone that holds the name.
    #[inline]
    fn site(&self, query: &Query<'_>) -> Option<(&Arc<Site>, u16)> {
        let (at, zone) = self.route(query)?;
        match self.sites.get(at) {
            Some(site) => Some((site, zone)),
            None => self.route_filtered(query),
        }
    }

    /// As [`Listener::route`], with filters: of the sites that have a zone the first one that takes
    /// the query. If none does, the next shorter zone is looked at, as in CoreDNS.
    #[cold]
    fn route_filtered(&self, query: &Query<'_>) -> Option<(&Arc<Site>, u16)> {
        let wire = query.question.name.wire();
        let (mut at, mut found) = (0, None);
        loop {
            let is_root = wire[at] == 0;
            if self.zone(&wire[at..]).is_some()
                && let Some(taken) = self.taker(&wire[at..], query)
            {
                match query.question.qtype {
                    rtype::DS if is_root => return found.or(Some(taken)),
                    rtype::DS => found = Some(taken),
                    _ => return Some(taken),
                }
            }
            if is_root {
                return found;
            }
            at += 1 + usize::from(wire[at]);
        }
    }

    /// Returns the first site that has a zone and takes the query.
    fn taker(&self, zone: &[u8], query: &Query<'_>) -> Option<(&Arc<Site>, u16)> {
        self.sites.iter().find_map(|site| {
            let index = site.zones.iter().position(|known| known.wire() == zone)?;
            site.takes(query).then_some((site, index as u16))
        })
    }

    /// Tells the plugins of the zone's server block that its primary has changed it (RFC 1996).
    /// Returns the reply of the first that copies this zone, or `None` if none does.
    pub fn notify(self: &Arc<Self>, query: &mut Query<'_>) -> Option<Reply> {
        let (site, _) = self.site(query)?;
        walk::notify(self, site, query)
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
