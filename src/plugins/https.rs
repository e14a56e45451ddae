//! # https — limits for listeners of DNS over HTTPS
//!
//! A key `https://ZONE` makes a listener for DNS over HTTPS (RFC 8484), on port 443 unless the key
//! names another one. It answers `GET /dns-query?dns=MESSAGE` and `POST /dns-query`, over HTTP/1.1
//! and HTTP/2. Other paths get status 404, invalid queries 400, and a query without a reply 500.
//! `Cache-Control` has the smallest TTL of the reply. Without `tls` the listener speaks HTTP/1.1
//! only, for a proxy in front of it that has the certificate.
//!
//! This directive sets limits for such listeners, and has no effect on others. The limits of
//! connections over TCP hold here too: 3 s for a handshake, for the first request and for each
//! body, 10 s of idleness, 5 s to read replies; 128 queries of a connection may wait for other
//! servers.
//!
//! ## Syntax
//!
//! ```text
//! https {
//! }
//! ```
//!
//! ## Examples
//!
//! ```corefile
//! https://.:443 {
//!     tls /etc/signpost/tls/tls.crt /etc/signpost/tls/tls.key
//!     https {
//!         max_connections 1000
//!         max_streams 100
//!     }
//!     forward . /etc/resolv.conf
//! }
//! ```
//!
//! ## Metrics
//!
//! - `coredns_dns_https_responses_total{server, status}`: responses by HTTP status
//! - `signpost_https_abandoned_requests_total`: requests that ended before their response: reset by
//!   the client, or with their connection
//! - `signpost_evicted_connections_total{reason}`: connections that were closed to make room
//! - `signpost_failed_tls_handshakes_total`: connections that ended before their handshake was
//!   complete

use crate::chain::caps::{Caps, number};
use crate::chain::doc::doc_of;
use crate::chain::options::{OptionOf, OptionsOf, unknown_property};
use crate::chain::setup::{Registration, Setup};
use crate::corefile::address::Transport;
use crate::error::Result;

/// The registration of this plugin.
pub const PLUGIN: Registration = Registration { name: "https", setup, doc: doc_of!("https.rs"), options: &[&OPTIONS] };

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let (mut cursor, mut caps) = (s.cursor(), Caps::default());
    // Only the first occurrence is read, as in CoreDNS.
    cursor.next_occurrence();
    cursor.args_of(..1)?;
    OPTIONS.read(&mut cursor, &mut caps, s)?;
    s.cap(Transport::Https, caps);
    Ok(())
}

static OPTIONS: OptionsOf<Caps> = OptionsOf {
    all: &[
        OptionOf {
            name: "max_connections",
            form: "NUMBER",
            about: "Connections at once (200); 0 means as many as the process takes. Each worker has an equal share. If \
                    there are too many, one of the client with most is closed: the one that is idle for longest.",
            read: |cursor, caps, _| number(cursor, &mut caps.connections, 0),
        },
        OptionOf {
            name: "max_streams",
            form: "NUMBER",
            about: "Requests at once on an HTTP/2 connection (250); 0 means the default. More than 1,000 are 1,000. \
                    Server blocks on one listener must not name different numbers.",
            read: |cursor, caps, _| {
                number(cursor, &mut caps.streams, 0)?;
                let most = u64::from(u32::MAX);
                match caps.streams {
                    Some(streams) if streams as u64 > most => {
                        Err(cursor.error(format!("max_streams must not exceed {most}: {streams}")))
                    }
                    _ => Ok(()),
                }
            },
        },
    ],
    unknown: unknown_property,
};

#[cfg(test)]
mod tests {
    use crate::chain::caps::Caps;
    use crate::testing::Server;

    #[test]
    fn blocks_on_one_listener_agree_on_streams() {
        let caps = |one: &str, two: &str| {
            let block = |zone: &str, options: &str| format!("https://{zone} {{\nhttps {{\n{options}\n}}\nwhoami\n}}\n");
            let server = Server::try_new(&(block("a", one) + &block("b", two)));
            server.map(|server| server.configuration.listeners[0].caps).map_err(|error| error.to_string())
        };
        let both = Caps { connections: Some(5), streams: Some(7) };
        assert_eq!(caps("max_streams 7\nmax_connections 5", ""), Ok(both));
        assert_eq!(caps("max_streams 7\nmax_connections 5", "max_streams 7\nmax_connections 6"), Ok(both));
        let conflict = "Corefile:7 - conflicting max_streams values for shared HTTPS listener https://:443: 1 and 2";
        assert!(caps("max_streams 1", "max_streams 2").expect_err("an error").starts_with(conflict));
    }
}
