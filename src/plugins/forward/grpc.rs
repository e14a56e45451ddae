//! # grpc — ask upstreams over gRPC
//!
//! Sends questions to DNS servers that speak CoreDNS's gRPC service (`coredns.dns.DnsService`, call
//! `Query`), such as a CoreDNS or Signpost with a `grpc://` listener, and passes their replies on.
//! It is *forward* with another transport and fewer options: the order of upstreams, when another
//! one is asked, and the bounds are those of *forward*. Upstreams are not probed.
//!
//! ## Syntax
//!
//! ```text
//! grpc FROM TO... {
//! }
//! ```
//!
//! - **FROM** is the zone whose names are asked for, or a network for its reverse zones. The plugin
//!   may be used once in a server block.
//! - **TO** is `IP`, `IP:PORT`, `[IPV6]:PORT`, a host name, `unix:///PATH` (a socket on this
//!   machine), or a file whose `nameserver` lines name the upstreams (resolv.conf). There may be 15
//!   of them. The port is 53 unless it is given, and 443 behind `grpc://`. Files and host names are
//!   followed as in *forward*.
//!
//! Without `tls` and `tls_servername` the connections are plain HTTP/2. All questions to an
//! upstream share a connection, which hands over to a new one after 15 to 30 s, or 10,000 to 20,000
//! questions.
//!
//! An upstream may answer with the gRPC status NOT_FOUND in place of a message: that is NXDOMAIN.
//! With any other status, or without an answer in 2 s, the next upstream is asked. If none answers,
//! the reply is SERVFAIL.
//!
//! ## Examples
//!
//! ```corefile
//! example.org {
//!     grpc . 127.0.0.1:9005
//! }
//! ```
//!
//! Upstreams inside TLS, with a cache in front of them:
//!
//! ```corefile
//! . {
//!     cache 30
//!     grpc . 192.0.2.1:443 [2001:db8::1]:443 {
//!         tls
//!         tls_servername dns.example.org
//!         policy sequential
//!     }
//! }
//! ```
//!
//! Names that do not exist there are left to *forward*:
//!
//! ```corefile
//! . {
//!     grpc corp.example.org unix:///run/dns.sock {
//!         except lab.corp.example.org
//!         fallthrough
//!     }
//!     forward . /etc/resolv.conf
//! }
//! ```
//!
//! ## Metrics
//!
//! - `coredns_grpc_requests_total{to}`: tries
//! - `coredns_grpc_responses_total{rcode, to}`: answered tries
//! - `coredns_grpc_request_duration_seconds{to}`: how long they took
//! - `coredns_forward_file_failures_total{file}`: a file of upstreams was empty or missing, or a
//!   host name was not found

use std::sync::Arc;

use super::directive::Directive;
use super::forward::Forward;
use super::forwarded::Forwarded;
use super::options::{EXCEPT, Options, POLICY, files};
use super::{metrics, setup};
use crate::chain::control::Control;
use crate::chain::doc::doc_of;
use crate::chain::options::{OptionOf, OptionsOf, unknown_property};
use crate::chain::setup::{Registration, Setup};
use crate::chain::zones::Fallthrough;
use crate::chain::{Here, Plugin, Query, Step};
use crate::corefile::address::Transport;
use crate::error::Result;
use crate::remote::{Scheme, Way};
use crate::wire::types::rcode;

/// The plugin.
pub const PLUGIN: Registration =
    Registration { name: "grpc", setup: set_up, doc: doc_of!("grpc.rs"), options: &[&OPTIONS] };

static GRPC: Directive =
    Directive { name: "grpc", options: &OPTIONS, scheme, schemes: "grpc:// and unix://", families: &metrics::GRPC };

fn scheme(written: Transport) -> Option<Scheme> {
    matches!(written, Transport::Dns | Transport::Grpc | Transport::Unix).then_some(Scheme::Grpc)
}

fn set_up(s: &mut Setup<'_>) -> Result<()> {
    let (mut cursor, mut read) = (s.cursor(), None);
    while cursor.only_occurrence()? {
        let mut options = Options::default();
        // No probes: an upstream that does not answer is asked later than the others.
        Arc::make_mut(&mut options.health).max_fails = 0;
        read = Some(setup::directive(&GRPC, options, &mut cursor, s)?);
    }
    if let Some(forward) = read.map(Arc::new) {
        setup::follow(&forward, s);
        s.chain(Grpc(Arc::new(Block { forward, runtime: s.control() })));
    }
    Ok(())
}

static OPTIONS: OptionsOf<Options> = OptionsOf {
    all: &[
        EXCEPT,
        OptionOf {
            name: "tls",
            form: "[CERT KEY] [CA]",
            about: "Upstreams are asked inside TLS. The files are those of *forward*: a certificate of our own and its \
                    key, and the authorities to trust in place of those of the machine.",
            read: |cursor, options, s| {
                options.remote.grpc_tls = true;
                files(cursor, &mut options.remote.tls, s)
            },
        },
        OptionOf {
            name: "tls_servername",
            form: "NAME",
            about: "The name that the certificates of upstreams have to show (the upstream's host name or address). \
                    Upstreams are asked inside TLS.",
            read: |cursor, options, _| {
                options.remote.grpc_tls = true;
                options.remote.tls.server_name = Some(cursor.expect_arg()?.as_str().to_owned());
                Ok(())
            },
        },
        POLICY,
        OptionOf {
            name: "fallthrough",
            form: "[ZONE...]",
            about: "Names of these zones (all) are left to the next plugin if the upstream says NXDOMAIN, or if none \
                    answers.",
            read: |cursor, options, _| {
                let zones = cursor.args();
                options.fallthrough = Fallthrough::read(cursor, &zones);
                Ok(())
            },
        },
    ],
    unknown: unknown_property,
};

//----------- Grpc -----------------------------------------------------------

struct Grpc(Arc<Block>);

struct Block {
    forward: Arc<Forward>,
    runtime: Control,
}

impl Plugin for Grpc {
    fn ask(&self, query: &mut Query<'_>, here: &Here<'_>) -> Step {
        let forward = &self.0.forward;
        if !forward.matches(query) {
            return Step::Next;
        }
        let is_last = here.seat + 1 == here.site.chain.plugins().len();
        let falls_through = !is_last && forward.options.fallthrough.holds(&query.question.name);
        let below = falls_through.then(|| here.below(query.clone().into_owned()));
        let (block, forwarded) = (self.0.clone(), Forwarded::new(query));
        Step::Wait(Box::pin(async move {
            let runtime = block.runtime.wait().await;
            let resolved = block.forward.resolve(&forwarded, Way::Tcp, runtime).await;
            match below {
                Some(below) if resolved.is_failure() || resolved.reply.rcode() == rcode::NXDOMAIN => below.await,
                _ => resolved.reply,
            }
        }))
    }
}
