//! Rules that change the EDNS options of a query, and take their change away from the reply.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::chain::Query;
use crate::chain::site::Site;
use crate::wire::option::{EdnsOption, EdnsOptions};
use crate::wire::question::Question;

/// The code of the identifier of a server (RFC 5001).
const NSID: u16 = 3;

/// The code of a client's network (RFC 7871).
const SUBNET: u16 = 8;

/// The options of a query, in their order.
pub(super) type Options = Vec<(u16, Vec<u8>)>;

/// A rule.
#[derive(Debug)]
pub(super) struct Edns {
    pub(super) action: Operation,
    pub(super) kind: Kind,
    /// Whether the change is taken back in the reply.
    pub(super) reverts: bool,
}

/// What a rule does with an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    /// Changes it or adds it.
    Set,
    /// Adds it.
    Append,
    /// Changes it if it is there.
    Replace,
    /// Removes it.
    Unset,
}

/// Which option.
#[derive(Debug)]
pub(super) enum Kind {
    /// Data of the Corefile under a code.
    Local(u16, Vec<u8>),
    /// A fact about the query under a code.
    Variable(u16, Variable),
    Nsid,
    /// The client's network: bits of its address for IPv4 and for IPv6.
    Subnet(u8, u8),
}

/// A fact about the query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Variable {
    Name,
    Type,
    ClientIp,
    ClientPort,
    Protocol,
    ServerIp,
    ServerPort,
    /// What a plugin publishes under a label.
    Metadata(String),
}

/// How a rule's change of an option is taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Revert {
    /// The option was added.
    Remove(u16),
    /// The option had this data.
    Restore(u16, Vec<u8>),
}

/// Reads the options of a query; `None` if it has no OPT.
pub(super) fn options(query: &Query<'_>) -> Option<Options> {
    query.request.edns.as_ref()?;
    Some(query.request.options(query.packet()).map(|option| (option.code, option.data.to_vec())).collect())
}

/// Returns what the plugins below see of options: without those of a client that are not passed on,
/// unless a rule has set them.
pub(super) fn passed_on(options: &[(u16, Vec<u8>)], set: &[u16]) -> Vec<u8> {
    let is_passed =
        |(code, data): &&(u16, Vec<u8>)| set.contains(code) || !EdnsOption { code: *code, data }.is_of_neighbours();
    wire(options.iter().filter(is_passed))
}

/// Returns options in wire form.
pub(super) fn wire<'o>(options: impl IntoIterator<Item = &'o (u16, Vec<u8>)>) -> Vec<u8> {
    let mut out = Vec::new();
    for (code, data) in options {
        EdnsOption { code: *code, data }.put(&mut out);
    }
    out
}

impl Kind {
    pub(super) fn code(&self) -> u16 {
        match self {
            Self::Local(code, _) | Self::Variable(code, _) => *code,
            Self::Nsid => NSID,
            Self::Subnet(..) => SUBNET,
        }
    }
}

impl Edns {
    /// Returns the code of an option that replies repeat to clients, as CoreDNS does for `local`.
    pub(super) fn repeated(&self) -> Option<u16> {
        matches!(self.kind, Kind::Local(..) | Kind::Variable(..)).then(|| self.kind.code())
    }

    /// Returns the code of the option that the rule sets, if it does not remove it.
    pub(super) fn sets(&self) -> Option<u16> {
        (self.action != Operation::Unset).then(|| self.kind.code())
    }

    /// Changes the options. Returns whether the rule applied, and how that is taken back.
    pub(super) fn apply(
        &self,
        options: &mut Option<Options>,
        question: &Question,
        query: &Query<'_>,
        site: &Site,
    ) -> (bool, Option<Revert>) {
        let code = self.kind.code();
        let Some(data) = self.data(question, query, site) else { return (false, None) };
        // Also if nothing is to be changed there is an OPT from here on, as in CoreDNS.
        let options = options.get_or_insert_default();
        if self.action == Operation::Unset {
            options.retain(|(known, _)| *known != code);
            return (true, None);
        }
        let revert = |revert| self.reverts.then_some(revert);
        if let Some((_, old)) = options.iter_mut().find(|(known, _)| *known == code) {
            match self.action {
                Operation::Set | Operation::Replace => {
                    let old = std::mem::replace(old, data.into_owned());
                    return (true, revert(Revert::Restore(code, old)));
                }
                // As in CoreDNS these two add nothing beside what is there.
                _ if matches!(self.kind, Kind::Variable(..) | Kind::Subnet(..)) => return (false, None),
                _ => {}
            }
        }
        if self.action == Operation::Replace {
            return (false, None);
        }
        options.push((code, data.into_owned()));
        (true, revert(Revert::Remove(code)))
    }

    /// Returns the data of the option; `None` if the query has no such fact.
    fn data(&self, question: &Question, query: &Query<'_>, site: &Site) -> Option<Cow<'_, [u8]>> {
        let client = query.client.peer.ip().to_canonical();
        Some(match &self.kind {
            Kind::Local(_, data) => Cow::Borrowed(data),
            Kind::Nsid => Cow::Borrowed(&[]),
            Kind::Variable(_, variable) => Cow::Owned(variable.data(question, query, site)?),
            Kind::Subnet(..) if self.action == Operation::Unset => Cow::Borrowed(&[]),
            Kind::Subnet(four, six) => Cow::Owned(subnet(client, if client.is_ipv4() { *four } else { *six })),
        })
    }
}

/// Returns the option for the network of an address (RFC 7871 section 6): only the octets that the
/// prefix touches, with no bits behind it.
fn subnet(client: IpAddr, bits: u8) -> Vec<u8> {
    let (family, mut octets) = match client {
        IpAddr::V4(address) => (1, address.octets().to_vec()),
        IpAddr::V6(address) => (2, address.octets().to_vec()),
    };
    octets.truncate(usize::from(bits).div_ceil(8));
    if let Some(last) = octets.last_mut().filter(|_| !bits.is_multiple_of(8)) {
        *last &= 0xFF << (8 - bits % 8);
    }
    [&[0, family, bits, 0], &octets[..]].concat()
}

impl Variable {
    fn data(&self, question: &Question, query: &Query<'_>, site: &Site) -> Option<Vec<u8>> {
        let client = &query.client;
        Some(match self {
            Self::Name => {
                let asked = query.asked();
                let is_asked = asked.eq_ignore_ascii_case(question.name.wire());
                let name = if is_asked { crate::wire::name::Name::from_wire(asked)? } else { question.name };
                name.to_string().into_bytes()
            }
            Self::Type => question.qtype.to_be_bytes().to_vec(),
            Self::ClientIp => octets(client.peer.ip()),
            Self::ServerIp => octets(client.local.ip()),
            Self::ClientPort => client.peer.port().to_be_bytes().to_vec(),
            Self::ServerPort => client.local.port().to_be_bytes().to_vec(),
            Self::Protocol => client.proto.name().into(),
            Self::Metadata(label) => {
                let value = site.metadata(label, query).filter(|value| !value.is_empty())?;
                value.into_owned().into_bytes()
            }
        })
    }

    /// Returns the variable that is written so between braces.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "qname" => Self::Name,
            "qtype" => Self::Type,
            "client_ip" => Self::ClientIp,
            "client_port" => Self::ClientPort,
            "protocol" => Self::Protocol,
            "server_ip" => Self::ServerIp,
            "server_port" => Self::ServerPort,
            label if crate::chain::metadata::is_label(label) => Self::Metadata(label.to_owned()),
            _ => return None,
        })
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address.to_canonical() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

impl Revert {
    /// Takes a change back: of the options of one query or reply.
    pub(super) fn apply(&self, options: &mut Options) {
        match self {
            Self::Remove(code) => {
                if let Some(at) = options.iter().position(|(known, _)| known == code) {
                    options.remove(at);
                }
            }
            Self::Restore(code, data) => {
                if let Some((_, now)) = options.iter_mut().find(|(known, _)| known == code) {
                    now.clone_from(data);
                }
            }
        }
    }
}

/// Takes changes back in options in wire form, the last one first.
pub(super) fn reverted(options: &[u8], reverts: &[&Revert]) -> Vec<u8> {
    let mut all: Options = EdnsOptions::new(options).map(|option| (option.code, option.data.to_vec())).collect();
    reverts.iter().rev().for_each(|revert| revert.apply(&mut all));
    wire(&all)
}
