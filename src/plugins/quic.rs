//! # quic — limits for listeners of DNS over QUIC
//!
//! A key `quic://ZONE` makes a listener for DNS over QUIC (RFC 9250), on UDP port 853 unless the
//! key names another one. It needs the certificate of `tls`. Each query has a stream of its own,
//! and its id is 0. Zones can be transferred.
//!
//! This directive sets limits for such listeners, and has no effect on others. The limits of
//! connections over TCP hold here too: 3 s for a handshake, for the first query and for each
//! query, 10 s of idleness, 5 s to read a reply; 128 queries of a connection may wait for other
//! servers. A connection that does not keep to RFC 9250 is closed with the error
//! DOQ_PROTOCOL_ERROR, and a query that is dropped or too slow gets DOQ_INTERNAL_ERROR. A client
//! that makes the server hold too much loses its connection with DOQ_EXCESSIVE_LOAD.
//!
//! If there are many handshakes or no connection is free, clients have to prove their address
//! first (a Retry of RFC 9000), so that forged addresses take no places. Queries in 0-RTT data are
//! not answered: they could be replayed. A connection cannot move to another address of its
//! client.
//!
//! ## Syntax
//!
//! ```text
//! quic {
//! }
//! ```
//!
//! ## Examples
//!
//! ```corefile
//! quic://.:853 {
//!     tls /etc/signpost/tls/tls.crt /etc/signpost/tls/tls.key
//!     quic {
//!         max_connections 1000
//!         max_streams 100
//!     }
//!     forward . /etc/resolv.conf
//! }
//! ```
//!
//! ## Metrics
//!
//! Metrics and the log show `udp` as the protocol of such queries, as CoreDNS does.
//!
//! - `coredns_dns_quic_responses_total{server, status}`: ends of streams by DoQ error code: `0x0`
//!   for a reply, `0x1` without one, `0x2` where the connection was closed because its client does
//!   not keep to the protocol
//! - `signpost_quic_abandoned_streams_total`: streams that ended before their reply: given up by
//!   the client, or with their connection
//! - `signpost_quic_retries_total`: clients that had to prove their address
//! - `signpost_evicted_connections_total{reason}`: connections that were closed to make room, or
//!   because replies were not read
//! - `signpost_failed_tls_handshakes_total`: connections that ended before their handshake was
//!   complete

use crate::chain::caps::{Caps, number};
use crate::chain::doc::doc_of;
use crate::chain::options::{OptionOf, OptionsOf, unknown_property};
use crate::chain::setup::{Registration, Setup};
use crate::corefile::address::Transport;
use crate::error::Result;

/// The registration of this plugin.
pub const PLUGIN: Registration = Registration { name: "quic", setup, doc: doc_of!("quic.rs"), options: &[&OPTIONS] };

/// What the directive says.
#[derive(Default)]
struct Block {
    caps: Caps,
    pool: Option<usize>,
}

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let (mut cursor, mut block) = (s.cursor(), Block::default());
    // Only the first occurrence is read, as in CoreDNS.
    cursor.next_occurrence();
    cursor.args_of(..1)?;
    OPTIONS.read(&mut cursor, &mut block, s)?;
    s.cap(Transport::Quic, block.caps);
    Ok(())
}

static OPTIONS: OptionsOf<Block> = OptionsOf {
    all: &[
        OptionOf {
            name: "max_streams",
            form: "NUMBER",
            about: "Streams at once on a connection (256). More than 1,000 are 1,000. If server blocks on one listener \
                    name different numbers, the first one counts.",
            read: |cursor, block, _| number(cursor, &mut block.caps.streams, 1),
        },
        OptionOf {
            name: "max_connections",
            form: "NUMBER",
            about: "Connections at once (200), of about 50 KB each; 0 means as many as the process takes. Each worker \
                    has an equal share. If there are too many, one of the client with most is closed: the one that is \
                    idle for longest.",
            read: |cursor, block, _| number(cursor, &mut block.caps.connections, 0),
        },
        OptionOf {
            name: "worker_pool_size",
            form: "NUMBER",
            about: "Accepted, and has no effect: Signpost has no such pool. Queries that wait are bounded for each \
                    connection, for each client and for all together.",
            read: |cursor, block, _| number(cursor, &mut block.pool, 1),
        },
    ],
    unknown: unknown_property,
};

#[cfg(test)]
mod tests {
    use crate::chain::caps::Caps;
    use crate::testing::Server;
    use crate::testing::tls::Pki;

    #[test]
    fn the_first_block_of_a_listener_that_has_a_limit_sets_it() {
        let pki = Pki::new();
        pki.issue("dns", &["dns.example.org"]);
        let block = |zone: &str, options: &str| {
            let tls = format!("tls {} {}", pki.text("dns.pem"), pki.text("dns.key"));
            format!("quic://{zone} {{\n{tls}\nquic {{\n{options}\n}}\nwhoami\n}}\n")
        };
        let server = Server::new(&(block("a", "max_streams 7") + &block("b", "max_streams 8\nmax_connections 5")));
        let caps = server.configuration.listeners[0].caps;
        assert_eq!(caps, Caps { connections: Some(5), streams: Some(7) });
    }

    /// One has the TCP port, the other one the UDP port.
    #[test]
    fn tls_and_quic_share_a_port_number() {
        let pki = Pki::new();
        pki.issue("dns", &["dns.example.org"]);
        let tls = format!("tls {} {}", pki.text("dns.pem"), pki.text("dns.key"));
        let server = Server::new(&format!("quic://. tls://. {{\n{tls}\nwhoami\n}}\n"));
        let listeners = &server.configuration.listeners;
        assert!(listeners.len() == 2 && listeners.iter().all(|listener| listener.port == 853));
    }

    #[test]
    fn proxies_cannot_stand_in_front_of_it() {
        let pki = Pki::new();
        pki.issue("dns", &["dns.example.org"]);
        let tls = format!("tls {} {}", pki.text("dns.pem"), pki.text("dns.key"));
        let proxied = format!("quic://. {{\n{tls}\nproxyproto {{\nallow 10.0.0.0/8\n}}\nwhoami\n}}\n");
        let error = Server::try_new(&proxied).map(|_| ()).expect_err("an error").to_string();
        assert!(error.starts_with("Corefile:1 - proxyproto is not served for quic:// yet"), "{error}");
    }

    #[test]
    fn there_is_no_listener_without_a_certificate() {
        let error = Server::try_new("quic://. {\nwhoami\n}\n").map(|_| ()).expect_err("an error").to_string();
        assert!(error.starts_with("Corefile:1 - ListenPacket: quic: tls.Config not set"), "{error}");
    }
}
