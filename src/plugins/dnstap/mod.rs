//! # dnstap — tell a collector about each query and its response
//!
//! Sends a message of [dnstap](https://dnstap.info) for each query (`CLIENT_QUERY`) and for each
//! response (`CLIENT_RESPONSE`) to a collector, in Frame Streams over a unix socket, TCP or TLS.
//! Queries never wait for it: messages wait in a queue. If the queue is full, a message is dropped
//! and counted. If the collector cannot be reached, *dnstap* tries again after 1 to 10 s.
//!
//! ## Syntax
//!
//! ```text
//! dnstap SOCKET [full] [WRITE_BUFFER] [QUEUE] {
//! }
//! ```
//!
//! - **SOCKET** is the path of a unix socket, `unix:///PATH`, `tcp://HOST:PORT` or
//!   `tls://HOST:PORT`; the certificate of a `tls` collector is verified.
//! - With **full** each message holds the query or the response as well.
//! - **WRITE_BUFFER**, 1 to 1024, is read and has no effect: it is for CoreDNS's socket.
//! - **QUEUE**, 1 to 4096, is how many times 10,000 messages of 512 octets on average may wait (1).
//!
//! A server block may have several `dnstap` directives. Each collector gets every message.
//!
//! ## Examples
//!
//! ```corefile
//! . {
//!     dnstap /run/dnstap.sock full {
//!         identity node-7
//!     }
//!     whoami
//! }
//! ```
//!
//! ## Metrics
//!
//! - `signpost_dnstap_messages_total{result}`: messages that were handed over (`sent`), and those
//!   that were lost (`dropped`).

mod message;
mod sender;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use tokio::sync::mpsc;

use self::message::{Event, Kind, Server};
use self::sender::{Place, Sender};
use crate::chain::doc::doc_of;
use crate::chain::options::{OptionOf, OptionsOf, unknown_property};
use crate::chain::setup::{Registration, Setup};
use crate::chain::{Here, Plugin, Query, Reply, Step, Turn};
use crate::corefile::{Cursor, Word, value};
use crate::error::Result;
use crate::host;
use crate::host::metrics::{Counter, Family};
use crate::wire::write::Writer;

/// The registration of this plugin.
pub const PLUGIN: Registration = Registration { name: "dnstap", setup, doc: doc_of!("mod.rs"), options: &[&OPTIONS] };

static MESSAGES: Family = Family {
    name: "signpost_dnstap_messages_total",
    help: "Messages of dnstap that were handed to the collector (sent), and those that were lost (dropped).",
    labels: &["result"],
};

/// Messages that may wait, for each unit of QUEUE.
const QUEUE: usize = 10_000;

/// Average octets of a message that the queue has room for; with `full` one may have 64 KiB.
const OCTETS: usize = 512;

/// One directive.
struct Tap {
    is_full: bool,
    server: Server,
    queue: mpsc::Sender<Vec<u8>>,
    /// Octets in the queue. The sender subtracts those of each frame that it takes.
    held: Arc<AtomicUsize>,
    /// The maximum of `held`.
    most: usize,
    dropped: Counter,
}

//----------- Setup ----------------------------------------------------------

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let (mut cursor, mut taps) = (s.cursor(), Vec::new());
    while cursor.next_occurrence() {
        let args = cursor.args();
        let [socket, more @ ..] = &args[..] else { return Err(cursor.arg_err()) };
        if socket.as_str() == "listen" {
            let complaint = cursor.complain(socket, "collectors that connect to the server are not served");
            return Err(complaint
                .hint("let the collector listen, and name its socket: `dnstap tcp://HOST:PORT`")
                .into());
        }
        let place = place(&cursor, socket)?;
        let most = |at: usize, name: &str, most: i64, unit: &str| {
            more.get(at).map_or(Ok(1), |word| multiple(&cursor, word, name, most, unit))
        };
        most(1, "MultipleTcpWriteBuf", 1024, "MiB units")?;
        let queue = most(2, "MultipleQueue", 4096, "x10k messages")? as usize * QUEUE;
        let version = format!("CoreDNS-{}", host::COREDNS).into_bytes();
        let mut server = Server { identity: host::name().into_bytes(), version, extra: Vec::new() };
        OPTIONS.read(&mut cursor, &mut server, s)?;
        let (most, held) = (queue * OCTETS, Arc::<AtomicUsize>::default());
        let (queue, frames) = mpsc::channel(queue);
        let count = |result| s.host.metrics.counter(&MESSAGES, &[result]);
        let (sent, dropped) = (count("sent"), count("dropped"));
        let sender = Sender { plugin: PLUGIN.name, place, frames, held: held.clone(), sent, dropped };
        let is_full = more.first().is_some_and(|word| word.as_str() == "full");
        taps.push(Tap { is_full, server, queue, held, most, dropped: count("dropped") });
        s.task("dnstap", move || sender.run());
    }
    s.chain(Dnstap(taps));
    Ok(())
}

fn place(cursor: &Cursor<'_>, socket: &Word) -> Result<Place> {
    let text = socket.as_str();
    let make: fn(String) -> Place = match text.split_once("://") {
        Some(("tcp", _)) => Place::Tcp,
        Some(("tls", _)) => Place::Tls,
        _ => return Ok(Place::Unix(text.strip_prefix("unix://").unwrap_or(text).into())),
    };
    let address = text[6..].split('/').next().unwrap_or_default();
    value::host_port(address)
        .map_err(|wrong| cursor.complain(socket, wrong).hint(format!("write {}HOST:6000", &text[..6])))?;
    Ok(make(address.to_owned()))
}

fn multiple(cursor: &Cursor<'_>, word: &Word, name: &str, most: i64, unit: &str) -> Result<i64> {
    let quoted = value::quote(word.as_str());
    let number = value::integer(word.as_str())
        .map_err(|wrong| cursor.error_at(word, format!("dnstap: invalid {name} {quoted}: {wrong}")))?;
    if (1..=most).contains(&number) {
        return Ok(number);
    }
    Err(cursor.error_at(word, format!("dnstap: {name} must be between 1 and {most} ({unit}): {number}")))
}

static OPTIONS: OptionsOf<Server> = OptionsOf {
    all: &[
        OptionOf {
            name: "identity",
            form: "TEXT",
            about: "The name of this server in messages (the name of the host).",
            read: |cursor, server, _| {
                server.identity = cursor.expect_arg()?.as_str().into();
                Ok(())
            },
        },
        OptionOf {
            name: "version",
            form: "TEXT",
            about: "The version in messages (`CoreDNS-1.15.0`).",
            read: |cursor, server, _| {
                server.version = cursor.expect_arg()?.as_str().into();
                Ok(())
            },
        },
        OptionOf {
            name: "extra",
            form: "TEXT",
            about: "A text for each message. Variables, which CoreDNS fills in, are refused.",
            read: |cursor, server, _| {
                let word = cursor.expect_arg()?;
                if word.as_str().contains('{') {
                    let complaint = cursor.complain(word, "variables of `extra` are not served");
                    return Err(complaint.hint("write a text without braces").into());
                }
                server.extra = word.as_str().into();
                Ok(())
            },
        },
        OptionOf {
            name: "skipverify",
            form: "",
            about: "Accepted, and has no effect: the certificate of a `tls` collector is always verified.",
            read: |cursor, _, _| {
                cursor.warn(cursor.word(), "the certificate of a collector is verified all the same");
                Ok(())
            },
        },
    ],
    unknown: unknown_property,
};

//----------- Dnstap ---------------------------------------------------------

struct Dnstap(Vec<Tap>);

impl Plugin for Dnstap {
    fn ask(&self, query: &mut Query<'_>, _: &Here<'_>) -> Step {
        let event = Event {
            kind: Kind::ClientQuery,
            client: query.client,
            asked: SystemTime::now() - query.elapsed(),
            answered: None,
            message: None,
        };
        self.tell(&event, || query.packet().to_vec());
        Step::Next
    }

    fn reply(&self, query: &mut Query<'_>, reply: &mut Reply, _: &Here<'_>) -> Turn {
        let now = SystemTime::now();
        let event = Event {
            kind: Kind::ClientResponse,
            client: query.client,
            asked: now - query.elapsed(),
            answered: Some(now),
            message: None,
        };
        self.tell(&event, || {
            let mut out = Vec::new();
            Writer::default().reply(query.packet(), &query.request, reply, query.limit(), &mut out);
            out
        });
        Turn::Up
    }
}

impl Dnstap {
    /// Puts an event into the queue of each directive. `message` makes its DNS message, which is
    /// needed only for `full`.
    fn tell(&self, event: &Event<'_>, message: impl Fn() -> Vec<u8>) {
        if event.client.is_nobody() {
            return;
        }
        for tap in &self.0 {
            let message = tap.is_full.then(&message);
            let event = Event { message: message.as_deref(), ..*event };
            let frame = event.frame(&tap.server);
            let octets = frame.len();
            let is_full = tap.held.fetch_add(octets, Ordering::Relaxed) + octets > tap.most;
            if is_full || tap.queue.try_send(frame).is_err() {
                tap.held.fetch_sub(octets, Ordering::Relaxed);
                tap.dropped.inc();
            }
        }
    }
}
