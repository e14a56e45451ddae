//! # forward: ask upstreams about everything that nobody above answers
//!
//! ## Syntax
//!
//! ```text
//! forward FROM TO... {
//!     except ZONE...
//!     policy random|round_robin|sequential
//!     force_tcp
//!     prefer_udp
//!     read_timeout DURATION
//!     expire DURATION
//!     max_age DURATION
//!     max_idle_conns N
//!     max_fails N
//!     health_check DURATION [no_rec] [domain NAME]
//!     failfast_all_unhealthy_upstreams
//!     max_connect_attempts N
//!     max_concurrent N
//!     failover RCODE...
//!     next RCODE...
//!     next_on_nodata
//!     source_address IP
//!     random_case
//!     tls [CERT KEY] [CA]
//!     tls_servername NAME
//!     doh_method POST|GET
//!     resolver IP[:PORT]...
//! }
//! ```
//!
//! - **FROM** is the zone whose names are forwarded, or a network for its reverse zones. A block may have several
//!   `forward`; the first that matches is asked.
//! - **TO** is `IP`, `IP:PORT`, `[IPV6]:PORT`, a host name (of letters, digits, hyphens and underscores), or a file whose
//!   `nameserver` lines name the upstreams (resolv.conf); in front of it `dns://`, `tls://` (DNS over TLS), `https://` (DNS over HTTPS, at `/dns-query`) or
//!   `quic://` (DNS over QUIC). `tls://IP%NAME` and `quic://IP%NAME` give the name that the upstream's certificate has to
//!   show. At most 15. Files are read again when they change; one that is empty or gone changes nothing. Host names are
//!   absolute; they are looked up when the server starts and again when the TTL of their addresses is over (5 s at
//!   least, an hour at most), and keep their addresses as long as there are no others.
//! - `except`: zones below FROM that are not forwarded.
//! - `policy`: which upstream is asked first (`random`).
//! - `force_tcp`, `prefer_udp`: TCP or UDP, whatever the client uses. A truncated reply is asked for again over TCP.
//! - `read_timeout`: how long one try may take (2s). A look-up takes at most as long as all its tries one after the
//!   other, and 4.5 s.
//! - `expire`, `max_age`, `max_idle_conns`: how long sockets without questions are kept (10s), how long they are used
//!   at all (0, as long as they are of use), and how many idle ones are kept (0, any number). A connection hands over to a
//!   new one in any case after 15 to 30 s, or 1,000 to 2,000 questions (10,000 to 20,000 if it is encrypted), so that the
//!   load of a node does not stay with one pod of an upstream Service. No question waits for that: the old connection is used
//!   until the new one is open, and ends with its last answer.
//! - `max_fails`, `health_check`: after a late answer or a failed try an upstream is probed (`NS` of `.` or `domain`,
//!   every 500ms, with RD unless `no_rec`) until it answers; with more than `max_fails` (2) failed probes it is down and
//!   not asked. 0 means never, and no probes.
//! - `failfast_all_unhealthy_upstreams`: SERVFAIL at once when all are down, instead of one last try.
//! - `max_connect_attempts`: tries of one query (as many as make sense, in the time of two for each upstream); 0 means
//!   as many as make sense in 4.5 s.
//! - `max_concurrent`: more queries at a time are REFUSED (0, any number).
//! - `failover`: RCODEs with which the other upstreams are asked, each in its turn. If none of them has another answer, the
//!   last one counts. Upstreams that have been silent for a while are neither asked nor waited for.
//! - `next`, `next_on_nodata`: RCODEs, or an empty answer, with which the next matching `forward` of the block is asked.
//! - `source_address`: the address that queries leave from.
//! - `random_case` (not in CoreDNS): the letters of a question are in random case, and a reply counts only if it
//!   repeats that (0x20). After three that do not the upstream is asked over TCP, where nobody can forge: if it does not
//!   repeat the case there either, it is asked as always from then on.
//! - `tls`: PEM files for encrypted upstreams: a certificate of our own and its key, if upstreams ask for one, and the
//!   authorities to trust. Without CA those of the machine are trusted: `SSL_CERT_FILE`, `SSL_CERT_DIR`, or where
//!   distributions keep them. An image without any needs one of these. A certificate in CA is also trusted itself.
//! - `tls_servername`: the name that certificates of encrypted upstreams have to show. Without it, it is the upstream's
//!   host name or address.
//! - `resolver`: who is asked for host names of upstreams, in place of the name servers in `/etc/resolv.conf`.
//! - `doh_method`: how `https://` upstreams are asked (`POST`).
//!
//! An upstream that cannot show the right certificate gets no query: the reply is SERVFAIL, with the reason as an
//! extended error. `force_tcp` and `prefer_udp` make no difference to encrypted upstreams.
//! Zone transfers are not asked for over QUIC: they are NOTIMP.
//!
//! The upstream gets the query as it was received, with another id, an UDP payload size of at most 1232, and without the
//! options that are between the client and us (client subnet, cookie, keepalive, padding); its reply is passed on as it
//! came.
//!
//! ## When upstreams fail
//!
//! The first send goes to the upstream that the policy gives; those that are down or silent come last. An upstream is
//! silent after three late queries in a row with nothing heard since; any answer ends that. An answer is late after
//! the time in which 95 of 100 answers of this upstream come and a quarter more: between 10 and 400 ms if there is
//! another upstream, between 50 ms and 1 s if not. Then the next upstream is asked, or the same over another
//! socket; earlier sends stay open, and the first answer wins. A question is sent three times at most; the third goes
//! over TCP if the upstream is one that was asked before.
//!
//! Some answers are held back for a better one. SERVFAIL, REFUSED, FORMERR and NOTIMP wait 400 ms for upstreams that were
//! asked before they came. An answer that `failover` names waits for each upstream that may have another: for the time in
//! which most of its answers come and a quarter more, at least 400 ms, and 1 s as long as nothing is known of it. A truncated
//! answer to a client of UDP waits as long for the whole one over TCP, twice if its answers are slow. None waits for an
//! upstream that is down, or was silent for 400 ms already.
//!
//! Only upstreams of which nothing is heard get up to three sends for each transport (RFC 9520). Repeats are
//! limited to 10 % of all queries and a burst of 100, unless queries get lost; without budget a question is repeated
//! after a second.
//!
//! What can be forged is a hint and no verdict: a closed port (ICMP) makes the next send happen at once, and the
//! first is still waited for. A reply with another id or question is ignored. After 100 of them on one socket its
//! questions move to TCP.
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
//! - `coredns_proxy_healthcheck_failures_total{proxy_name, to}`
//! - `coredns_proxy_conn_cache_hits_total{proxy_name, to, proto}`, `coredns_proxy_conn_cache_misses_total{..}`:
//!   proto is `udp`, `tcp`, `tcp-tls` or `quic`; misses are the sockets and connections that were opened
//! - `coredns_forward_healthcheck_broken_total`: all upstreams of a query were down
//! - `coredns_forward_max_concurrent_rejects_total`
//! - `coredns_forward_requests_total{to}`, `coredns_forward_responses_total{to, rcode}`,
//!   `coredns_forward_request_duration_seconds{to, rcode}`, `coredns_forward_healthcheck_failures_total{to}`: dropped by
//!   CoreDNS 1.11, asked for by dashboards still
//! - `coredns_forward_file_failures_total{file}`: a file of upstreams was empty or gone, or a host name not found
//!
//! ## Differences from CoreDNS
//!
//! - A reply with another question is ignored, and waiting goes on; CoreDNS answers FORMERR. An error without a
//!   question is passed on.
//! - Equal questions at the same time are one question upstream.
//! - Files of upstreams are read again when they change.
//! - A network as FROM means all its reverse zones, not the first alone.
//! - A link-local upstream (`fe80::1%eth0`) works.
//! - A look-up ends after 4.5 s instead of 5, after 1.9 s if nothing at all was heard of any upstream, and after 1.5 s
//!   with all upstreams down, so that a client that waits 5 s hears SERVFAIL and, as an extended error, why.
//! - The next upstream is asked when an answer is late, not after `read_timeout`; see above. Silent upstreams are not
//!   asked, and probes begin at the first late answer and wait 500 ms.
//! - What no client waits for (the cache's stale and prefetched answers) is not asked while all upstreams are out.
//! - A truncated reply is asked again over TCP for every client; CoreDNS passes it on to a client that came by UDP. If
//!   TCP fails, or the client has no room for the whole answer, so do we.
//! - ICMP errors end no try. Host and net unreachable are not seen at all: they end like silence, soon.
//! - Payload sizes above 1232 and the options of neighbours do not go upstream, nor do the latter come back.
//! - An answer of an upstream ends its being down, not only a probe.
//! - A UDP socket sends 16 queries or for 3 s, and then another port is drawn; CoreDNS keeps ports in use while there are
//!   queries.
//! - Connections over TCP and TLS carry many queries at a time: many queries cost one handshake. They are changed after
//!   30 s or 2,000 queries at most, as above; CoreDNS keeps a connection that is never idle.
//! - A file behind `tls://` names upstreams that are reached over TLS; CoreDNS reaches them without.
//! - At most 16,384 different questions are open at a time; beyond that it is SERVFAIL.
//! - Host names are looked up again. At the first start a name server that does not answer within 2 s keeps only what
//!   is forwarded to that name from being served; CoreDNS ends. A name that has no address is refused by both.
//! - The certificate of an encrypted upstream that is named by its host has to be for that name; in CoreDNS for the
//!   address that was found.
//! - Upstreams over HTTPS must speak HTTP/2; CoreDNS also takes HTTP/1.1.

mod budget;
mod flight;
#[expect(clippy::module_inception, reason = "named after its type")]
mod forward;
mod forwarded;
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

use self::forward::Forward;
use self::forwarded::Forwarded;
use crate::chain::control::Control;
use crate::chain::setup::{Registration, Setup};
use crate::chain::{Here, Later, Plugin, Proto, Query, Reply, Step};
use crate::error::Result;
use crate::host::permit::Permit;

/// The plugin.
pub const PLUGIN: Registration = Registration { name: "forward", setup };

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let mut cursor = s.cursor();
    let mut all = Vec::new();
    while cursor.next_occurrence() {
        all.push(Arc::new(setup::directive(&mut cursor, s)?));
    }
    for forward in &all {
        for at in forward.upstreams.changeable() {
            let forward = forward.clone();
            let follow = move || async move { forward.upstreams.follow(at).await };
            s.task("forward: files and names of upstreams", follow);
        }
        let forward = forward.clone();
        s.prepare(move |_, first| async move { forward.upstreams.find_hosts(first).await });
    }
    s.chain(Forwards(Arc::new(Block { all, runtime: s.control() })));
    Ok(())
}

/// All `forward` directives of a server block, in the order of the file. They share a seat: a query belongs to the first
/// that matches, and `next` goes from one to the other.
struct Forwards(Arc<Block>);

struct Block {
    all: Vec<Arc<Forward>>,
    /// Where sockets and probes live: the control runtime of the process, known once the configuration is live.
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
