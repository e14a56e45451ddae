//! Records of what the cluster exposes outside. Pure.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;

use super::setup::Directive;
use crate::chain::external::{Existence, ExternalEndpoint, ExternalEndpoints, ExternalHost, Externals};
use crate::wire::answer::{Answer, Section, recycle, scratch};
use crate::wire::encode::{Encoder, Owner, Tail};
use crate::wire::name::{MAX_NAME, Name};
use crate::wire::request::flag;
use crate::wire::reverse::Reverse;
use crate::wire::seen::{Seen, with_scratch};
use crate::wire::soa::Soa;
use crate::wire::types::{rcode, rtype};

/// The result for a question.
pub(super) enum Made {
    /// Records.
    Answer(Arc<Answer>),
    /// SRV records, some of whose targets are these outside names.
    Targets(Arc<Answer>, Vec<Name>),
    /// The name is an alias of this one.
    Alias(Box<Name>),
    /// The name exists, the type does not.
    NoData,
    /// The name does not exist, whatever the cluster holds.
    Nothing,
    /// The name does not exist, as far as is known.
    Unknown,
}

/// The data that an answer is made from.
pub(super) struct Making<'a> {
    pub(super) directive: &'a Directive,
    pub(super) externals: &'a dyn Externals,
    /// The name as the client wrote it, in wire form; it ends in the zone.
    pub(super) asked: &'a [u8],
    /// Length of the zone in octets.
    pub(super) zone_len: usize,
}

impl Making<'_> {
    /// The zone itself.
    pub(super) fn apex(&self, qtype: u16) -> Made {
        let zone = Tail::AskedEnd(self.zone_len as u8);
        let ttl = self.directive.ttl;
        match qtype {
            rtype::SOA => Made::Answer(self.scratch(|e| self.soa().put(e, Section::Answer))),
            rtype::NS => Made::Answer(self.scratch(|e| {
                let name_server = Owner::new(&self.directive.name_server, zone);
                e.pointer(Section::Answer, Owner::ASKED, rtype::NS, ttl, name_server);
                for address in self.externals.servers(self.directive.headless) {
                    e.address(Section::Additional, name_server, ttl, address);
                }
            })),
            _ => Made::NoData,
        }
    }

    /// Answers a name at or below the parent of the name server's name.
    pub(super) fn below_apex(&self, front: &[u8], qtype: u16) -> Made {
        match front {
            b"" => Made::NoData,
            b"\x03ns1" => {
                let servers = self.externals.servers(self.directive.headless);
                self.if_any(self.addresses(qtype, |add| servers.iter().copied().for_each(add)))
            }
            _ => Made::Nothing,
        }
    }

    /// Returns the names of an address. `None` if the reverse name stands for no known address.
    pub(super) fn reverse(&self, name: Reverse, qtype: u16) -> Option<Made> {
        let address = match name {
            Reverse::Address(address) => address,
            Reverse::Prefix(octets) => {
                return self.externals.has_prefix(&octets).then_some(Made::NoData);
            }
        };
        let first = self.directive.zones.first()?;
        let answer = self.scratch(|e| {
            self.externals.names_of(address, &mut |service| {
                let mut target = Target::default();
                if target.push(service) && target.push(&first.wire()[..first.len() - 1]) {
                    let target = Owner::new(target.wire(), Tail::Root);
                    e.pointer(Section::Answer, Owner::ASKED, rtype::PTR, self.directive.ttl, target);
                }
            });
        });
        match answer.counts[0] {
            0 => {
                recycle(answer);
                None
            }
            _ if qtype == rtype::PTR => Some(Made::Answer(answer)),
            _ => Some(Made::NoData),
        }
    }

    /// Returns the external records of a service or of a part of it.
    pub(super) fn find(&self, base: &[u8], qtype: u16) -> Made {
        let mut made = Made::NoData;
        let existence = self.externals.find(base, self.directive.headless, &mut |endpoints| {
            made = match qtype {
                rtype::A | rtype::AAAA => self.hosts(endpoints, qtype),
                rtype::SRV => self.srv(endpoints),
                _ => Made::NoData,
            };
        });
        if existence == Existence::Exists { made } else { Made::Unknown }
    }

    /// Returns addresses, or an alias if there are no addresses at all.
    fn hosts(&self, endpoints: &dyn ExternalEndpoints, qtype: u16) -> Made {
        let (mut any, mut alias) = (false, None);
        let answer = self.addresses(qtype, |add| {
            endpoints.each(&mut |endpoint| match endpoint.host {
                ExternalHost::Ip(address) => {
                    any = true;
                    add(address);
                }
                ExternalHost::Name(name) => alias = alias.or_else(|| Name::from_text(name).ok()),
            });
        });
        match alias {
            Some(target) if !any => Made::Alias(Box::new(target)),
            _ => self.if_any(answer),
        }
    }

    /// Returns records of the asked name, of one family, without duplicates.
    fn addresses(&self, qtype: u16, each: impl FnOnce(&mut dyn FnMut(IpAddr))) -> Arc<Answer> {
        let family = if qtype == rtype::AAAA { IpAddr::is_ipv6 } else { IpAddr::is_ipv4 };
        let is_wanted = matches!(qtype, rtype::A | rtype::AAAA);
        with_scratch(|seen| {
            self.scratch(|e| {
                each(&mut |address| {
                    if is_wanted && family(&address) && seen.addresses.insert((0, address)) {
                        e.address(Section::Answer, Owner::ASKED, self.directive.ttl, address);
                    }
                });
            })
        })
    }

    fn srv(&self, endpoints: &dyn ExternalEndpoints) -> Made {
        let mut count = 0;
        endpoints.each(&mut |_| count += 1);
        // The endpoints share 100 equally, but each has at least 1.
        let weight = (100 / count.max(1)).max(1) as u16;
        let mut outside = Vec::new();
        let answer = with_scratch(|seen| {
            self.scratch(|e| {
                endpoints.each(&mut |endpoint| self.put_srv(e, endpoint, weight, seen, &mut outside));
                endpoints.each(&mut |endpoint| self.put_glue(e, endpoint, seen));
            })
        });
        match outside.is_empty() {
            true => self.if_any(answer),
            false => Made::Targets(answer, outside),
        }
    }

    fn put_srv(
        &self,
        e: &mut Encoder<'_>,
        endpoint: ExternalEndpoint<'_>,
        weight: u16,
        seen: &mut Seen,
        outside: &mut Vec<Name>,
    ) {
        let (Some(port), Some(target)) = (endpoint.port, self.target(endpoint)) else { return };
        let id = seen.hasher.hash_one(target.wire());
        if !seen.targets.insert((id, port)) {
            return;
        }
        let written = e.record(Section::Answer, Owner::ASKED, rtype::SRV, self.externals.ttl(), |e| {
            for number in [0, weight, port] {
                e.put(&number.to_be_bytes());
            }
            // Targets are not compressed (RFC 2782).
            e.put_name(Owner::new(target.wire(), Tail::Root))
        });
        if let Some(written) = written {
            seen.written.entry(id).or_insert(written);
        }
        if let ExternalHost::Name(name) = endpoint.host
            && let Ok(name) = Name::from_text(name)
            && !outside.contains(&name)
        {
            outside.push(name);
        }
    }

    fn put_glue(&self, e: &mut Encoder<'_>, endpoint: ExternalEndpoint<'_>, seen: &mut Seen) {
        let (Some(_), ExternalHost::Ip(address)) = (endpoint.port, endpoint.host) else { return };
        let Some(target) = self.target(endpoint) else { return };
        let id = seen.hasher.hash_one(target.wire());
        let Some(&written) = seen.written.get(&id) else { return };
        if seen.addresses.insert((id, address)) {
            let owner =
                if e.can_point(written) { Owner::written(written) } else { Owner::new(target.wire(), Tail::Root) };
            e.address(Section::Additional, owner, self.directive.ttl, address);
        }
    }

    /// Returns an endpoint's name, if it has one: cluster data in its own case, the zone in the
    /// client's.
    fn target(&self, endpoint: ExternalEndpoint<'_>) -> Option<Target> {
        let mut target = Target::default();
        let zone = &self.asked[self.asked.len() - self.zone_len..self.asked.len() - 1];
        let is_name = match (endpoint.host, endpoint.label) {
            (ExternalHost::Name(name), _) => {
                let name = Name::from_text(name).ok()?;
                target.push(&name.wire()[..name.len() - 1])
            }
            (ExternalHost::Ip(_), None) => target.push(endpoint.service) && target.push(zone),
            (ExternalHost::Ip(_), Some(label)) => {
                target.push_label(label.as_bytes()) && target.push(endpoint.service) && target.push(zone)
            }
        };
        is_name.then_some(target)
    }

    /// Returns NODATA, NXDOMAIN or SERVFAIL, with the SOA (RFC 2308 section 2).
    pub(super) fn denial(&self, code: u16) -> Arc<Answer> {
        self.scratch(|e| self.soa().deny(e, code))
    }

    /// Returns the SOA of the zone.
    pub(super) fn soa(&self) -> Soa<'_> {
        let (zone, ttl) = (Tail::AskedEnd(self.zone_len as u8), self.directive.ttl);
        Soa {
            zone_len: self.zone_len,
            ttl,
            name_server: Owner::new(&self.directive.name_server, zone),
            hostmaster: Owner::new(&self.directive.hostmaster, zone),
            serial: self.externals.serial(),
            timers: [7200, 1800, 86400],
            minimum: ttl,
        }
    }

    /// Returns the answer if it has a record; an empty one goes back to the pool.
    fn if_any(&self, answer: Arc<Answer>) -> Made {
        if answer.counts[0] > 0 {
            return Made::Answer(answer);
        }
        recycle(answer);
        Made::NoData
    }

    fn scratch(&self, fill: impl FnOnce(&mut Encoder<'_>)) -> Arc<Answer> {
        scratch(self.asked.len(), |answer| {
            let mut e = Encoder::new(answer);
            e.rcode(rcode::NOERROR);
            e.flags(flag::AA);
            fill(&mut e);
        })
    }
}

//----------- Target ---------------------------------------------------------

/// A name under construction, without its root label.
struct Target {
    len: usize,
    octets: [u8; MAX_NAME],
}

impl Default for Target {
    fn default() -> Self {
        Self { len: 0, octets: [0; MAX_NAME] }
    }
}

impl Target {
    /// Adds labels. Returns whether the name stays short enough (RFC 1035 section 2.3.4).
    fn push(&mut self, labels: &[u8]) -> bool {
        let end = self.len + labels.len();
        if end >= MAX_NAME {
            return false;
        }
        self.octets[self.len..end].copy_from_slice(labels);
        self.len = end;
        true
    }

    fn push_label(&mut self, label: &[u8]) -> bool {
        let len = label.len().min(63);
        self.push(&[len as u8]) && self.push(&label[..len])
    }

    fn wire(&self) -> &[u8] {
        &self.octets[..self.len]
    }
}
