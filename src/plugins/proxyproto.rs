//! # proxyproto — take the addresses of clients from proxies
//!
//! A load balancer that speaks the PROXY protocol writes a header with its client's address in
//! front of each connection (versions 1 and 2) or datagram (version 2). With this plugin the
//! block's listeners read it, over UDP, TCP, TLS, HTTPS and gRPC. The client of a query is the one
//! that the header names: for *acl*, *view*, *log* and all others. Replies go to the load balancer.
//! When more datagrams arrive than can be answered, all clients behind one load balancer share what
//! it gets (see *shed*).
//!
//! Whoever may send such a header may ask in any client's name. So name the load balancers with
//! `allow`: without it, headers of all senders count.
//!
//! Over TCP the header comes before the TLS handshake, and within 3 s. A header that is malformed
//! or longer than 4,112 octets ends the connection; such a datagram is dropped. If several server
//! blocks share a listener, the last one with this plugin counts.
//!
//! ## Syntax
//!
//! ```text
//! proxyproto {
//! }
//! ```
//!
//! ## Metadata
//!
//! - `proxyproto/tlv`: with `tlv_metadata`, what else the header of version 2 says (its TLV
//!   values), in hexadecimal digits. The values of clients that were not heard of for an hour, and
//!   those beyond 4 MiB, are forgotten.
//!
//! ## Examples
//!
//! ```corefile
//! . {
//!     proxyproto {
//!         allow 192.0.2.0/28 2001:db8::/64
//!     }
//!     forward . /etc/resolv.conf
//! }
//! ```
//!
//! ```corefile
//! . {
//!     metadata
//!     log . "{remote} {/proxyproto/tlv}"
//!     proxyproto {
//!         allow 192.0.2.1/32
//!         default reject
//!         udp_session_tracking 28s 20000
//!         tlv_metadata
//!     }
//!     forward . /etc/resolv.conf
//! }
//! ```
//!
//! ## Metrics
//!
//! - `signpost_proxy_headers_total{result}`: headers that were `used`, `ignored`, `rejected`
//!   because of their sender, or `malformed`

use std::borrow::Cow;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::chain::doc::doc_of;
use crate::chain::metadata::Publisher;
use crate::chain::options::{OptionOf, OptionsOf, set};
use crate::chain::proxies::{Entry, Proxies};
use crate::chain::setup::{Registration, Setup};
use crate::chain::{Client, Proto, Query};
use crate::corefile::value::{self, Network};
use crate::corefile::{Cursor, Word};
use crate::error::Result;
use crate::host::metrics::{Counter, Family};
use crate::wire::proxy::{Header, Start, read};

/// Clients over UDP that are remembered, if the Corefile does not say: as many as in CoreDNS.
const SESSIONS: u64 = 10_240;

/// Octets of the values that are kept for all clients together, and for how long.
const VALUES: u64 = 4 << 20;
const KEPT: Duration = Duration::from_secs(3600);

static HEADERS: Family = Family {
    name: "signpost_proxy_headers_total",
    help: "Headers of the PROXY protocol: used, ignored or rejected because of their sender, or malformed.",
    labels: &["result"],
};

/// The registration of this plugin.
pub const PLUGIN: Registration =
    Registration { name: "proxyproto", setup, doc: doc_of!("proxyproto.rs"), options: &[&OPTIONS] };

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let (mut cursor, mut options, mut first) = (s.cursor(), Options::default(), None);
    while cursor.next_occurrence() {
        first.get_or_insert(cursor.word());
        cursor.args_of(..1)?;
        OPTIONS.read(&mut cursor, &mut options, s)?;
    }
    if options.allow.is_empty() && matches!(options.others, None | Some(Policy::Use)) {
        let word = first.unwrap_or(cursor.word());
        cursor.warn(word, "without `allow` everybody may ask in any client's name: name the load balancers");
    }
    let tells_values = options.tells_values;
    let headers = |result| s.host.metrics.counter(&HEADERS, &[result]);
    let counts = ["used", "ignored", "rejected", "malformed"].map(headers);
    let proxies = Arc::new(Balancers::new(options, counts));
    if tells_values {
        s.publish("proxyproto", proxies.clone());
    }
    s.proxies(proxies);
    Ok(())
}

//----------- Options --------------------------------------------------------

#[derive(Default)]
struct Options {
    /// The senders whose headers count; all of them if it is empty.
    allow: Vec<Network>,
    /// What is done with the headers of others.
    others: Option<Policy>,
    /// For how long the client of a header counts for datagrams without one.
    tracking: Option<Duration>,
    sessions: Option<u64>,
    tells_values: bool,
}

/// What is done with the headers of a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Policy {
    /// They name the client.
    Use,
    /// They are skipped.
    Ignore,
    /// What comes with one is dropped.
    Reject,
    /// They are taken for a part of the message.
    Skip,
}

static OPTIONS: OptionsOf<Options> = OptionsOf {
    all: &[
        OptionOf {
            name: "allow",
            form: "NETWORK...",
            about: "The networks of the load balancers (all).",
            read: |cursor, options, _| {
                for word in cursor.args() {
                    let wrong = || cursor.error_at(word, format!("{word}: invalid CIDR address: {word}"));
                    options.allow.push(value::cidr(word.as_str()).ok_or_else(wrong)?);
                }
                Ok(())
            },
        },
        OptionOf {
            name: "default",
            form: "use|ignore|reject|skip",
            about: "What is done with headers of other senders (ignore): `use` and `ignore` read them, `reject` drops \
                    the datagram or the connection, and `skip` takes them for a part of the message.",
            read: |cursor, options, _| {
                let word = cursor.one_arg()?;
                options.others = Some(match word.as_str().to_lowercase().as_str() {
                    "use" => Policy::Use,
                    "ignore" => Policy::Ignore,
                    "reject" => Policy::Reject,
                    "skip" => Policy::Skip,
                    _ => return Err(cursor.arg_err()),
                });
                Ok(())
            },
        },
        OptionOf {
            name: "udp_session_tracking",
            form: "DURATION [SESSIONS]",
            about: "For Cloudflare Spectrum, which sends the header only once: the client that it names counts for \
                    later datagrams from the same address and port, until there was none for DURATION. At most SESSIONS \
                    (10240) are remembered.",
            read: |cursor, options, _| tracking(cursor, options),
        },
        OptionOf {
            name: "tlv_metadata",
            form: "",
            about: "Publishes the label `proxyproto/tlv`.",
            read: |cursor, options, _| set(cursor, &mut options.tells_values),
        },
    ],
    unknown: |word: &Word| format!("Error during parsing: unknown option '{word}'"),
};

fn tracking(cursor: &mut Cursor<'_>, options: &mut Options) -> Result<()> {
    let (words, option) = (cursor.args_of(1..=2)?, "udp_session_tracking");
    let span = value::duration(words[0].as_str()).map_err(|wrong| {
        let duration = value::quote(words[0].as_str());
        cursor.error_at(words[0], format!("{option}: invalid duration {duration}: {wrong}"))
    })?;
    options.tracking = span.duration().filter(|duration| !duration.is_zero());
    if let Some(word) = words.get(1) {
        let wrong = || {
            let number = value::quote(word.as_str());
            cursor.error_at(word, format!("{option}: invalid max sessions {number}: must be a positive integer"))
        };
        let number = value::integer(word.as_str()).ok().and_then(|number| u64::try_from(number).ok());
        options.sessions = Some(number.filter(|&number| number > 0).ok_or_else(wrong)?);
    }
    Ok(())
}

//----------- Balancers ------------------------------------------------------

/// What else the headers of clients say.
type Values = Cache<(SocketAddr, Proto), Arc<[u8]>>;

/// The load balancers in front of the block's listeners.
struct Balancers {
    options: Options,
    used: Counter,
    ignored: Counter,
    rejected: Counter,
    malformed: Counter,
    /// The clients of senders of datagrams.
    sessions: Option<Cache<SocketAddr, SocketAddr>>,
    values: Option<Values>,
}

impl Balancers {
    fn new(options: Options, [used, ignored, rejected, malformed]: [Counter; 4]) -> Self {
        let sessions = options.tracking.map(|duration| {
            let most = options.sessions.unwrap_or(SESSIONS);
            let builder = Cache::builder().max_capacity(most).eviction_policy(EvictionPolicy::lru());
            builder.time_to_idle(duration).build()
        });
        let values = options.tells_values.then(|| {
            let octets = |_: &_, values: &Arc<[u8]>| 128 + values.len() as u32;
            let builder = Cache::builder().max_capacity(VALUES).eviction_policy(EvictionPolicy::lru());
            builder.weigher(octets).time_to_idle(KEPT).build()
        });
        Self { options, used, ignored, rejected, malformed, sessions, values }
    }

    fn policy(&self, sender: IpAddr) -> Policy {
        let Options { allow, others, .. } = &self.options;
        match () {
            () if allow.is_empty() => others.unwrap_or(Policy::Use),
            () if allow.iter().any(|network| network.contains(sender)) => Policy::Use,
            () => others.unwrap_or(Policy::Ignore),
        }
    }

    /// Returns the client of a header from `peer`, or `None` if it is rejected.
    fn client(&self, header: &Header<'_>, policy: Policy, peer: SocketAddr, proto: Proto) -> Option<SocketAddr> {
        match policy {
            Policy::Use => self.used.inc(),
            Policy::Ignore | Policy::Skip => {
                self.ignored.inc();
                return Some(peer);
            }
            Policy::Reject => {
                self.rejected.inc();
                return None;
            }
        }
        let client = header.client.map(|client| SocketAddr::new(client.ip().to_canonical(), client.port()));
        // Queries of the server itself come from nobody; plugins such as `acl` let them pass.
        let Some(client) = client.filter(|client| *client != Client::NOBODY) else { return Some(peer) };
        match &self.values {
            Some(values) if header.values.is_empty() => values.invalidate(&(client, proto)),
            Some(values) => values.insert((client, proto), header.values.into()),
            None => {}
        }
        Some(client)
    }
}

impl Proxies for Balancers {
    fn datagram<'d>(&self, datagram: &'d [u8], peer: SocketAddr) -> Option<(&'d [u8], SocketAddr)> {
        let policy = self.policy(peer.ip());
        let sessions = self.sessions.as_ref().filter(|_| policy == Policy::Use);
        let header = match read(datagram) {
            _ if policy == Policy::Skip => return Some((datagram, peer)),
            Start::Header(header) if header.is_for_datagrams => header,
            Start::Other => return Some((datagram, sessions.and_then(|known| known.get(&peer)).unwrap_or(peer))),
            Start::Header(_) | Start::Part | Start::Malformed => {
                self.malformed.inc();
                return None;
            }
        };
        let client = self.client(&header, policy, peer, Proto::Udp)?;
        if let Some(sessions) = sessions
            && client != peer
        {
            sessions.insert(peer, client);
        }
        Some((&datagram[header.len..], client))
    }

    fn connection(&self, octets: &[u8], peer: SocketAddr) -> Entry {
        let policy = self.policy(peer.ip());
        match read(octets) {
            _ if policy == Policy::Skip => Entry::Client(peer, 0),
            Start::Other => Entry::Client(peer, 0),
            Start::Part => Entry::Part,
            Start::Malformed => {
                self.malformed.inc();
                Entry::Refused
            }
            Start::Header(header) => match self.client(&header, policy, peer, Proto::Tcp) {
                Some(client) => Entry::Client(client, header.len),
                None => Entry::Refused,
            },
        }
    }
}

impl Publisher for Balancers {
    fn value<'a>(&'a self, label: &str, query: &'a Query<'_>) -> Option<Cow<'a, str>> {
        let values = self.values.as_ref().filter(|_| label == "proxyproto/tlv")?;
        let values = values.get(&(query.client.peer, query.client.proto))?;
        let mut digits = String::with_capacity(2 * values.len());
        values.iter().for_each(|octet| _ = write!(digits, "{octet:02x}"));
        Some(digits.into())
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use crate::testing::{Server, packet};

    fn asked(options: &str, datagrams: &[(&str, &[u8])]) -> Vec<Option<String>> {
        let server = Server::new(&format!(". {{\nproxyproto {{\nallow 10.0.0.0/8\n{options}\n}}\nwhoami\n}}"));
        let proxies = server.configuration.listeners[0].proxies.clone().expect("set");
        let ask = |(from, datagram): &(&str, &[u8])| {
            let from: SocketAddr = from.parse().expect("an address");
            let (message, client) = proxies.datagram(datagram, from)?;
            Some(format!("{client} {}", message.len()))
        };
        datagrams.iter().map(ask).collect()
    }

    fn header(addresses: &[u8]) -> Vec<u8> {
        let family = if addresses.len() == 12 { 0x12 } else { 0x22 };
        [b"\r\n\r\n\0\r\nQUIT\n\x21", &[family, 0, addresses.len() as u8][..], addresses].concat()
    }

    #[test]
    fn a_session_belongs_to_one_sender() {
        let query = packet("a.test.", "A");
        let len = query.len();
        let named = header(&[192, 0, 2, 7, 0, 0, 0, 0, 0x0F, 0xA0, 0, 53]);
        let (one, other, far) = ("10.0.0.1:1000", "10.0.0.1:1001", "198.51.100.1:1000");
        let all: [(&str, &[u8]); 5] = [(far, &named), (one, &named), (one, &query), (other, &query), (far, &query)];
        let answers = asked("udp_session_tracking 1h 100", &all);
        let expected = [
            format!("{far} 0"),
            "192.0.2.7:4000 0".to_owned(),
            format!("192.0.2.7:4000 {len}"),
            format!("{other} {len}"),
            format!("{far} {len}"),
        ];
        assert_eq!(answers, expected.map(Some));
        assert_eq!(asked("", &all)[2], Some(format!("{one} {len}")));
    }

    #[test]
    fn no_client_is_nobody_and_ipv4_is_ipv4() {
        let mapped =
            |ip: [u8; 4], port: u8| header(&[&[0; 10][..], &[0xFF, 0xFF], &ip, &[0; 16], &[0, port, 0, 53]].concat());
        let one = "10.0.0.1:1000";
        let nobody = header(&[0; 12]);
        let all: [(&str, &[u8]); 3] = [(one, &nobody), (one, &mapped([0; 4], 0)), (one, &mapped([192, 0, 2, 7], 9))];
        let expected = ["10.0.0.1:1000 0", "10.0.0.1:1000 0", "192.0.2.7:9 0"];
        assert_eq!(asked("", &all), expected.map(|text| Some(text.to_owned())));
    }
}
