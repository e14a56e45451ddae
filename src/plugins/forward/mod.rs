//! # forward — ask upstreams what no plugin above answers
//!
//! Sends questions to other DNS servers, over UDP, TCP, TLS, HTTPS or QUIC, and passes their
//! replies on. An upstream that is slow, or does not answer, costs milliseconds where another one
//! answers.
//!
//! ## Syntax
//!
//! ```text
//! forward FROM TO... {
//! }
//! ```
//!
//! - **FROM** is the zone whose names are forwarded, or a network for its reverse zones. A block
//!   may have several `forward`; the first that matches is asked.
//! - **TO** is `IP`, `IP:PORT`, `[IPV6]:PORT`, a host name (of letters, digits, hyphens and
//!   underscores), or a file whose `nameserver` lines name the upstreams (resolv.conf); in front of
//!   it `dns://`, `tls://` (DNS over TLS), `https://` (DNS over HTTPS, at `/dns-query`) or
//!   `quic://` (DNS over QUIC). `tls://IP%NAME` and `quic://IP%NAME` give the name that the
//!   upstream's certificate has to show. There may be 15 of them. Files are read again when they
//!   change; a file that is empty or missing changes nothing. Host names are absolute; they are
//!   looked up when the server starts and again when the TTL of their addresses is over (5 s at
//!   least, an hour at most), and keep their addresses as long as there are no others.
//!
//! An upstream that cannot show the right certificate gets no query: the reply is SERVFAIL, with
//! the reason as an extended error. `force_tcp` and `prefer_udp` make no difference to encrypted
//! upstreams. Zone transfers are not asked for over QUIC: they are NOTIMP.
//!
//! The upstream gets the query as it was received, with another id, a UDP payload size of at most
//! 1232, and without the options that concern the client and this server alone (client subnet,
//! cookie, keepalive, padding); its reply is passed on as it came. Queries that leave at the same
//! time are handed to the kernel together (UDP_SEGMENT): a capture on this machine may show them as
//! one packet, on the network each is one of its own.
//!
//! ## When upstreams fail
//!
//! The first send goes to the upstream that the policy gives; those that are down or silent come
//! last. An upstream is silent after three late queries in a row with nothing heard since; any
//! answer ends that. An answer is late after the time in which 95 of 100 answers of this upstream
//! come and a quarter more: between 10 and 400 ms if there is another upstream, between 50 ms and
//! 1 s if not. Then the next upstream is asked, or the same over another socket; earlier sends stay
//! open, and the first answer wins. A question is sent three times at most; the third goes over TCP
//! if the upstream is one that was asked before.
//!
//! Some answers are held back for a better one. SERVFAIL, REFUSED, FORMERR and NOTIMP wait 400 ms
//! for upstreams that were asked before they came. An answer that `failover` names waits for each
//! upstream that may have another: for the time in which most of its answers come and a quarter
//! more, at least 400 ms, and 1 s as long as nothing is known of it. A truncated answer to a client
//! of UDP waits as long for the whole one over TCP, twice if its answers are slow. None waits for
//! an upstream that is down, or was silent for 400 ms already.
//!
//! Only upstreams of which nothing is heard get up to three sends for each transport (RFC 9520).
//! Repeats are limited to 10 % of all queries and a burst of 100, unless queries get lost; without
//! budget a question is repeated after a second.
//!
//! What can be forged is a hint and no verdict: a closed port (ICMP) makes the next send happen at
//! once, and the first is still waited for. A reply with another id or question is ignored. After
//! 100 of them on one socket its questions move to TCP.
//!
//! ## Examples
//!
//! ```corefile
//! . {
//!     forward . /etc/resolv.conf {
//!         max_concurrent 1000
//!     }
//! }
//! ```
//!
//! ```corefile
//! . {
//!     forward example.org 192.0.2.1 192.0.2.2:5353 {
//!         except lab.example.org
//!         policy sequential
//!         health_check 1s no_rec
//!     }
//!     forward . dns://198.51.100.1 [2001:db8::1]:53
//! }
//! ```
//!
//! ```corefile
//! . {
//!     forward . tls://192.0.2.53 tls://[2001:db8::53] {
//!         tls_servername dns.example.org
//!     }
//! }
//! ```
//!
//! ```corefile
//! . {
//!     forward . quic://192.0.2.53%dns.example.org
//! }
//! ```
//!
//! ## Metrics
//!
//! - `coredns_proxy_request_duration_seconds{proxy_name="forward", to, rcode}`: answered tries
//! - `coredns_proxy_healthcheck_failures_total{proxy_name, to}`: failed probes
//! - `coredns_proxy_conn_cache_hits_total{proxy_name, to, proto}`,
//!   `coredns_proxy_conn_cache_misses_total{..}`: proto is `udp`, `tcp`, `tcp-tls` or `quic`;
//!   misses are the sockets and connections that were opened
//! - `coredns_forward_healthcheck_broken_total`: all upstreams of a query were down
//! - `coredns_forward_max_concurrent_rejects_total`: queries beyond `max_concurrent`
//! - `coredns_forward_requests_total{to}`, `coredns_forward_responses_total{to, rcode}`,
//!   `coredns_forward_request_duration_seconds{to, rcode}`,
//!   `coredns_forward_healthcheck_failures_total{to}`: CoreDNS dropped these names in 1.11, but
//!   dashboards still use them
//! - `coredns_forward_file_failures_total{file}`: a file of upstreams was empty or missing, or a
//!   host name was not found

mod budget;
mod directive;
mod flight;
#[expect(clippy::module_inception, reason = "named after its type")]
mod forward;
mod forwarded;
pub mod grpc;
mod health;
mod host_name;
mod lateness;
mod metrics;
mod options;
mod policy;
mod race;
mod resolved;
mod setup;
#[cfg(test)]
mod tests;
mod to;
mod upstream;
mod upstreams;

use std::collections::VecDeque;
use std::sync::Arc;

use self::directive::Directive;
use self::forward::Forward;
use self::forwarded::Forwarded;
use self::options::Options;
use crate::chain::control::Control;
use crate::chain::doc::doc_of;
use crate::chain::setup::{Registration, Setup};
use crate::chain::{Here, Later, Plugin, Proto, Query, Reply, Step};
use crate::corefile::address::Transport;
use crate::error::Result;
use crate::host::permit::Permit;
use crate::remote::Scheme;

/// The plugin.
pub const PLUGIN: Registration =
    Registration { name: "forward", setup, doc: doc_of!("mod.rs"), options: &[&options::OPTIONS] };

static FORWARD: Directive = Directive {
    name: "forward",
    options: &options::OPTIONS,
    scheme,
    schemes: "dns:// (UDP and TCP), tls://, https:// and quic://",
    families: &metrics::FORWARD,
};

fn scheme(written: Transport) -> Option<Scheme> {
    Some(match written {
        Transport::Dns => Scheme::Dns,
        Transport::Tls => Scheme::Tls,
        Transport::Https => Scheme::Https,
        Transport::Quic => Scheme::Quic,
        Transport::Grpc | Transport::Https3 | Transport::Unix => return None,
    })
}

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let mut cursor = s.cursor();
    let mut all = Vec::new();
    while cursor.next_occurrence() {
        all.push(Arc::new(setup::directive(&FORWARD, Options::default(), &mut cursor, s)?));
    }
    all.iter().for_each(|forward| setup::follow(forward, s));
    s.chain(Forwards(Arc::new(Block { all, runtime: s.control() })));
    Ok(())
}

/// All `forward` directives of a server block, in the order of the file. They share a seat: a query
/// belongs to the first that matches, and `next` goes from one to the other.
struct Forwards(Arc<Block>);

struct Block {
    all: Vec<Arc<Forward>>,
    /// Where sockets and probes live: the control runtime of the process.
    runtime: Control,
}

impl Plugin for Forwards {
    fn ask(&self, query: &mut Query<'_>, here: &Here<'_>) -> Step {
        let Some(at) = self.0.all.iter().position(|forward| forward.matches(query)) else { return Step::Next };
        let permit = match self.0.all[at].permit() {
            Ok(permit) => permit,
            Err(reply) => return Step::Answer(reply),
        };
        let detour = self.0.all[at..].split_last().is_some_and(|(_, rest)| rest.iter().any(|one| one.may_pass_on()));
        let detour = detour.then(|| {
            let query = query.clone().into_owned();
            let then = (at + 1..self.0.all.len()).filter(|&next| self.0.all[next].matches(&query)).collect();
            Detour { then, below: here.below(query) }
        });
        let forwarded = Forwarded::new(query);
        Step::Wait(Box::pin(self.0.clone().resolve(at, permit, forwarded, query.client.proto, detour)))
    }

    fn takes_any_class(&self) -> bool {
        true
    }
}

/// Where a query goes if its `forward` passes it on.
struct Detour {
    /// The others that match, in order.
    then: VecDeque<usize>,
    /// The plugins below, if none of them takes it.
    below: Later,
}

impl Block {
    async fn resolve(
        self: Arc<Self>,
        mut at: usize,
        mut permit: Option<Permit>,
        query: Forwarded,
        proto: Proto,
        mut detour: Option<Detour>,
    ) -> Reply {
        let runtime = self.runtime.wait().await;
        loop {
            let forward = &self.all[at];
            let resolved = forward.resolve(&query, forward.way(proto), runtime).await;
            let is_last = at + 1 == self.all.len();
            let (true, false, Some(ways)) = (resolved.passes_on, is_last, &mut detour) else { return resolved.reply };
            let Some(next) = ways.then.pop_front() else { return (&mut ways.below).await };
            at = next;
            match self.all[at].permit() {
                Ok(next) => drop(std::mem::replace(&mut permit, next)),
                Err(reply) => return reply,
            }
        }
    }
}
