//! # grpc_server — limits for listeners of DNS over gRPC
//!
//! A key `grpc://ZONE` makes a listener for CoreDNS's gRPC service (`coredns.dns.DnsService`, call
//! `Query`), on port 443 unless the key names another one. The plugin *grpc* of CoreDNS and of
//! Signpost asks such listeners. With `tls` in the block the listener speaks TLS, and without it
//! plain HTTP/2 (h2c). What is not a query is answered with the gRPC status INVALID_ARGUMENT, a
//! query without a reply with UNKNOWN, and another call with UNIMPLEMENTED.
//!
//! This directive sets limits for such listeners, and has no effect on others. The limits of
//! connections over TCP hold here too: 3 s for a handshake, for the first call and for each body,
//! 10 s of idleness, 5 s to read replies; 128 queries of a connection may wait for other servers.
//!
//! ## Syntax
//!
//! ```text
//! grpc_server {
//! }
//! ```
//!
//! ## Examples
//!
//! ```corefile
//! grpc://.:8053 {
//!     tls /etc/signpost/tls/tls.crt /etc/signpost/tls/tls.key
//!     grpc_server {
//!         max_connections 1000
//!         max_streams 100
//!     }
//!     forward . /etc/resolv.conf
//! }
//! ```
//!
//! ## Metrics
//!
//! - `signpost_grpc_responses_total{server, status}`: responses by gRPC status; 415 for what is not
//!   a call of gRPC
//! - `signpost_grpc_abandoned_calls_total`: calls that ended before their response: reset by the
//!   client, or with their connection
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
pub const PLUGIN: Registration =
    Registration { name: "grpc_server", setup, doc: doc_of!("grpc_server.rs"), options: &[&OPTIONS] };

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let (mut cursor, mut caps) = (s.cursor(), Caps::default());
    // Only the first occurrence is read, as in CoreDNS.
    cursor.next_occurrence();
    cursor.args_of(..1)?;
    OPTIONS.read(&mut cursor, &mut caps, s)?;
    s.cap(Transport::Grpc, caps);
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
            about: "Calls at once on a connection (256); 0 means the default. More than 1,000 are 1,000. Of the server \
                    blocks on one listener the first that names a number counts.",
            read: |cursor, caps, _| number(cursor, &mut caps.streams, 0),
        },
    ],
    unknown: unknown_property,
};

#[cfg(test)]
mod tests {
    use crate::chain::caps::Caps;
    use crate::testing::Server;

    #[test]
    fn the_first_block_on_a_listener_counts() {
        let block =
            |zone: &str, options: &str| format!("grpc://{zone} {{\ngrpc_server {{\n{options}\n}}\nwhoami\n}}\n");
        let caps =
            |one: &str, two: &str| Server::new(&(block("a", one) + &block("b", two))).configuration.listeners[0].caps;
        let expected = Caps { connections: Some(5), streams: Some(7) };
        assert_eq!(caps("max_streams 7\nmax_connections 5", "max_streams 8\nmax_connections 6"), expected);
        assert_eq!(caps("max_streams 7", "max_connections 5"), expected);
    }
}
