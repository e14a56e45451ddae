//! # shed — drop queries before an overload harms the server
//!
//! Accepts what CoreDNS accepts, and changes nothing, because Signpost always has such bounds. In
//! CoreDNS every reply over UDP is a goroutine that waits for its socket, and a million of them end
//! the process; this plugin bounds them. Here a worker answers as many datagrams as it has read and
//! sends their replies with one call, so nothing piles up.
//!
//! If more datagrams arrive than a worker can answer, it reads all of them and answers its clients
//! in turns, so that one client that floods does not harm the others. What has no turn within some
//! 4,000 answers (20 ms) is dropped. A client that sends many times its share is limited in the
//! kernel. `signpost_dropped_datagrams_total` counts both, and a line in the log names the client.
//! A client is an address; where *proxyproto* is used, that of the proxy. An address that asked for
//! much before (a node's cache, a node behind SNAT) has a larger share.
//!
//! Queries that wait for an upstream are bounded for each worker, plugin and client (an IPv4
//! address or an IPv6 network of 64 bits). A query above
//! a bound is answered SERVFAIL at once (`signpost_shed_queries_total`).
//!
//! What gives way first: refreshes before answers expire (`prefetch` of *cache*), then queries of
//! the clients that ask for most, with the look-ups upstream that they need, then connections of
//! the address that has most. Names of the cluster take no place that could be used up.
//!
//! ## Syntax
//!
//! ```text
//! shed
//! ```
//!
//! As in CoreDNS, all zones of the server block must be served over UDP and TCP.
//!
//! ## Examples
//!
//! ```corefile
//! . {
//!     shed
//!     whoami
//! }
//! ```
//!
//! ## Metrics
//!
//! - `coredns_shed_dropped_total{server,reason}`: always 0, for dashboards that show it. `reason`
//!   is `query` or `response`.

use crate::chain::doc::doc_of;
use crate::chain::listener::server_label;
use crate::chain::setup::{Registration, Setup};
use crate::corefile::address::Transport;
use crate::corefile::value;
use crate::error::Result;
use crate::host::metrics::Family;

/// The registration of this plugin.
pub const PLUGIN: Registration = Registration { name: "shed", setup, doc: doc_of!("shed.rs"), options: &[] };

static DROPPED: Family = Family {
    name: "coredns_shed_dropped_total",
    help: "Counter of queries and responses dropped, per server, by reason.",
    labels: &["server", "reason"],
};

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let mut cursor = s.cursor();
    while cursor.only_occurrence()? {
        cursor.args_of(..1)?;
        if cursor.next_option() {
            return Err(cursor.error("shed takes no options"));
        }
    }
    if let Some(key) = s.keys.iter().find(|key| key.transport != Transport::Dns) {
        let (key, scheme) = (value::quote(key.word.as_str()), value::quote(key.transport.scheme()));
        let message = format!("only plain DNS server blocks are supported; {key} uses transport {scheme}");
        return Err(cursor.error(message));
    }
    for address in s.addresses()? {
        let server = server_label(address.transport, &address.host, address.port);
        for reason in ["query", "response"] {
            s.host.metrics.counter(&DROPPED, &[&server, reason]);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[test]
    fn other_transports_are_refused() {
        let error = Server::try_new("a.test, tls://b.test {\nshed\n}\n").err().expect("an error").to_string();
        let wanted = "Corefile:2 - Error during parsing: only plain DNS server blocks are supported; \"tls://b.test\" \
                      uses transport \"tls\"";
        assert!(error.lines().next().is_some_and(|line| line.ends_with(wanted)), "{error}");
    }

    #[test]
    fn its_counters_are_there() {
        let server = Server::new(".:1053 {\nbind 127.0.0.1 ::1\nshed\nwhoami\n}\n");
        let page = server.host.metrics.text();
        for server in ["dns://127.0.0.1:1053", "dns://[::1]:1053"] {
            let line = format!("coredns_shed_dropped_total{{reason=\"query\",server=\"{server}\"}} 0");
            assert!(page.contains(&line), "{page}");
        }
    }
}
