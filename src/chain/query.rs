//! A query on its way down the chain.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::signing::Signing;
use crate::wire::name::Name;
use crate::wire::option::EdnsOptions;
use crate::wire::question::{Opt, Question};
use crate::wire::reply::Reply;
use crate::wire::request::{Edns, Gate, HEADER, Request, flag, gate};

/// Maximum number of plugins in one chain.
pub const SEATS: usize = 32;

/// Octets of the largest reply over UDP, whatever size the client offers. A forged question of 60
/// octets must not send 64 KiB to the address it names, and TCP carries large replies without
/// fragments. BIND and Unbound allow as much at most.
pub const MAX_DATAGRAM: usize = 4096;

/// How often plugins may ask for another walk down: as many as the domains of a search list (three
/// of the cluster, and the 32 that Kubernetes allows a Pod), and a few more.
const AGAIN: u8 = 40;

//----------- Query ----------------------------------------------------------

/// One question with everything that belongs to it.
///
/// The client's question stays unchanged in the packet, and every reply repeats it. The question
/// that the chain works on starts as the same. A plugin that changes it on the way down also
/// repairs the reply on the way up.
#[derive(Clone)]
pub struct Query<'p> {
    packet: Cow<'p, [u8]>,
    /// The header and EDNS data of the packet. A plugin may change flags and payload size for those
    /// below, as it may change the question; the packet keeps the client's own.
    pub request: Request,
    /// The current question, with its name in lower case.
    pub question: Question,
    /// The client's addresses and protocol.
    pub client: Client,
    /// When the packet was received.
    pub received: Instant,
    /// The zone of the site that the name was routed by: an index into its zones.
    pub zone: u16,
    /// The seat that answered; meaningful on the way up.
    pub answered_by: u8,
    /// How long after `received` plugins may still be waited for; `None` means without limit.
    pub patience: Option<Duration>,
    /// Whether an older answer is available as a fallback: known dead upstreams are not waited for.
    pub has_spare: bool,
    /// State of the plugin that asks for more walks down, needed when their replies come up.
    pub aside: Option<Box<Aside>>,
    /// How replies are signed, if the query had a signature that a plugin has checked.
    pub signing: Option<Arc<Signing>>,
    /// What the client asks of its connection.
    pub(super) wishes: Wishes,
    /// Whether this query asks for the target of an alias: see [`target`](super::target).
    pub(super) for_alias: bool,
    /// Whether plugins below see other EDNS options than those of the client: see
    /// [`Query::amend_options`].
    is_amended: bool,
    marks: [u32; SEATS],
    pub(super) again_left: u8,
    pub(super) depth: u8,
}

/// A question and its reply, kept while the plugins below are asked another question.
#[derive(Clone)]
pub struct Aside {
    /// The name that was asked.
    pub name: Name,
    /// The reply; `None` if the question was dropped.
    pub reply: Option<Reply>,
}

/// What a client asks of its connection by EDNS options, as far as the connection can give it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    /// The length of the reply is to say little (RFC 7830). Only encrypted connections do this.
    pub(super) padding: bool,
    /// How long the connection may be idle, in units of 100 ms, for a client that wants to know
    /// (RFC 7828). Only TCP and TLS say it.
    pub(super) idle: Option<u16>,
}

/// The client of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// The address that the query came from.
    pub peer: SocketAddr,
    /// The address that the query was sent to.
    pub local: SocketAddr,
    /// How the query came.
    pub proto: Proto,
}

impl Client {
    /// The peer of a question without a waiting client, such as the early refresh of a cached
    /// answer.
    pub const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

    /// Returns whether no client waits for the answer.
    #[must_use]
    pub fn is_nobody(&self) -> bool {
        self.peer == Self::NOBODY
    }
}

/// The kinds of transport that make a difference to an answer, or to what is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Proto {
    /// Datagrams, with a limit on their size.
    Udp,
    /// Streams over TCP, encrypted or not.
    Tcp,
    /// Streams over QUIC.
    Quic,
}

impl Proto {
    /// Returns the name in metrics, in the log and for expressions: that of the sockets, as in
    /// CoreDNS.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Udp | Self::Quic => "udp",
            Self::Tcp => "tcp",
        }
    }
}

impl<'p> Query<'p> {
    /// Returns a query as it was received; `request` was read from `packet`.
    #[must_use]
    pub fn new(packet: &'p [u8], request: Request, client: Client, received: Instant) -> Self {
        Self {
            packet: Cow::Borrowed(packet),
            question: Question::received(packet, &request),
            request,
            client,
            received,
            zone: 0,
            answered_by: 0,
            patience: None,
            has_spare: false,
            aside: None,
            signing: None,
            wishes: Wishes::default(),
            for_alias: false,
            is_amended: false,
            marks: [0; SEATS],
            again_left: AGAIN,
            depth: 0,
        }
    }

    /// Returns the same query with a packet of its own, for a task that has to wait.
    #[must_use]
    pub fn into_owned(self) -> Query<'static> {
        Query { packet: Cow::Owned(self.packet.into_owned()), ..self }
    }

    /// Returns the query for a question of our own, on behalf of the same client: its flags, DO bit
    /// and payload size are kept, its options are not.
    #[must_use]
    pub fn inner(&self, question: &Question) -> Query<'static> {
        let (id, flags) = (self.request.id, self.request.flags & (flag::RD | flag::CD | flag::AD));
        let edns = self.request.edns.as_ref();
        let opt = edns.map(|edns| Opt { dnssec_ok: edns.dnssec_ok, ..Opt::of_size(edns.size) });
        let packet = question.query(id, flags, opt);
        let end = packet.len() as u16;
        let edns = edns.map(|edns| Edns { version: 0, options: end..end, ..*edns });
        let Question { name, qtype, qclass } = question;
        Query {
            packet: Cow::Owned(packet),
            question: Question { name: name.lowered(), ..*question },
            request: Request { id, flags, name_len: name.len() as u8, qtype: *qtype, qclass: *qclass, edns },
            client: self.client,
            received: self.received,
            zone: 0,
            answered_by: 0,
            patience: self.patience,
            has_spare: self.has_spare,
            aside: None,
            // Not to be written: it says on whose behalf is asked.
            signing: self.signing.clone(),
            wishes: Wishes::default(),
            for_alias: self.for_alias,
            is_amended: false,
            marks: [0; SEATS],
            again_left: AGAIN,
            depth: self.depth,
        }
    }

    /// Returns the message as it was received.
    #[must_use]
    pub fn packet(&self) -> &[u8] {
        &self.packet
    }

    /// Returns the name as the client wrote it, in wire form.
    #[must_use]
    pub fn asked(&self) -> &[u8] {
        &self.packet[HEADER..HEADER + usize::from(self.request.name_len)]
    }

    /// Returns the current name in wire form: as the client wrote it, unless a plugin changed it.
    #[must_use]
    pub fn asked_now(&self) -> &[u8] {
        let (asked, now) = (self.asked(), self.question.name.wire());
        if asked.eq_ignore_ascii_case(now) { asked } else { now }
    }

    /// Returns whether the current question is the one that the client asked.
    #[must_use]
    pub fn is_as_asked(&self) -> bool {
        let Question { name, qtype, qclass } = &self.question;
        (*qtype, *qclass) == (self.request.qtype, self.request.qclass) && self.asked().eq_ignore_ascii_case(name.wire())
    }

    /// Returns the largest reply that the client accepts, in octets.
    #[must_use]
    pub fn room(&self) -> usize {
        match self.client.proto {
            Proto::Udp => self.request.udp_limit(),
            Proto::Tcp | Proto::Quic => usize::from(u16::MAX),
        }
    }

    /// Returns the largest reply that is sent, in octets, without its signature: what the client
    /// accepts, and over UDP at most [`MAX_DATAGRAM`].
    #[must_use]
    pub fn limit(&self) -> usize {
        let limit = match self.client.proto {
            Proto::Udp => self.room().min(MAX_DATAGRAM),
            Proto::Tcp | Proto::Quic => self.room(),
        };
        match &self.signing {
            None => limit,
            Some(signing) => limit.saturating_sub(signing.signer().added()),
        }
    }

    /// Returns whether the query is still being served by the call that received its packet: it has
    /// not had to wait, and `received` is as good as now.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        matches!(self.packet, Cow::Borrowed(_))
    }

    /// Returns how many questions led to this one: 0 for a client's own.
    #[must_use]
    pub fn depth(&self) -> u8 {
        self.depth
    }

    /// Gives the plugins below these EDNS options, in wire form, in place of the client's; a query
    /// without an OPT gets one of this payload size. On the way up
    /// [`restore_options`](Self::restore_options) takes them away. If there is no room for them,
    /// nothing changes.
    pub fn amend_options(&mut self, options: &[u8], size: u16) {
        self.restore_options();
        let (from, to) = (self.packet.len(), self.packet.len() + options.len());
        // Their length stands behind them, so that they can be taken away again.
        let (Ok(from), Ok(end), Ok(len)) = (u16::try_from(from), u16::try_from(to + 2), u16::try_from(options.len()))
        else {
            return;
        };
        let packet = self.packet.to_mut();
        packet.extend_from_slice(options);
        packet.extend_from_slice(&len.to_be_bytes());
        let edns = self.request.edns.get_or_insert(Edns { size, version: 0, dnssec_ok: false, options: 0..0 });
        edns.options = from..end - 2;
        self.is_amended = true;
    }

    /// Takes away what [`amend_options`](Self::amend_options) has added.
    pub fn restore_options(&mut self) {
        if !std::mem::take(&mut self.is_amended) {
            return;
        }
        let packet = self.packet.to_mut();
        let Some(&len) = packet.last_chunk::<2>() else { return };
        packet.truncate(packet.len() - 2 - usize::from(u16::from_be_bytes(len)));
        // The packet as it was received has passed the gate before.
        let received = match gate(packet) {
            Gate::Pass(request) => request.edns,
            Gate::Notify(_) | Gate::Refuse(_) | Gate::Silence => None,
        };
        match (&mut self.request.edns, received) {
            (Some(edns), Some(received)) => edns.options = received.options,
            (edns, _) => *edns = None,
        }
    }

    /// Returns the EDNS options that the client sent, also while others stand in their place.
    #[must_use]
    pub fn own_options(&self) -> EdnsOptions<'_> {
        if !self.is_amended {
            return self.request.options(&self.packet);
        }
        let added = self.packet.last_chunk::<2>().map_or(0, |len| 2 + usize::from(u16::from_be_bytes(*len)));
        let packet = &self.packet[..self.packet.len().saturating_sub(added)];
        match gate(packet) {
            Gate::Pass(request) => request.options(packet),
            Gate::Notify(_) | Gate::Refuse(_) | Gate::Silence => EdnsOptions::new(&[]),
        }
    }

    /// Returns whether the EDNS options are not those of the packet as it was received.
    #[must_use]
    pub fn is_amended(&self) -> bool {
        self.is_amended
    }

    /// Returns the time since the packet was received.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.received.elapsed()
    }

    /// Returns whether the client sent the DO bit (RFC 3225).
    #[must_use]
    pub fn dnssec_ok(&self) -> bool {
        self.request.edns.as_ref().is_some_and(|edns| edns.dnssec_ok)
    }

    /// Returns what the plugin at a seat noted on the way down; 0 at first.
    #[must_use]
    pub fn mark(&self, seat: usize) -> u32 {
        self.marks[seat]
    }

    /// Stores a note of the plugin at a seat for the way up.
    pub fn set_mark(&mut self, seat: usize, mark: u32) {
        self.marks[seat] = mark;
    }
}
