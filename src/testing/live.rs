//! For unit tests: a server whose tasks run, asked by many clients at a time, without listeners.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use tokio::runtime::Runtime;

use super::kit::kept;
use super::kit::message::client;
use super::{Server, packet};
use crate::chain::listener::Listener;
use crate::chain::serve::write_reply;
use crate::chain::{Client, Proto, Reply};
use crate::error::Result;
use crate::host::tasks::Tasks;
use crate::wire::write::Writer;

/// The server and its control runtime.
pub(crate) struct Live {
    pub(crate) server: Server,
    runtime: Runtime,
    _tasks: Tasks,
}

/// A reply: as it comes from the chain, and as it is written.
pub(crate) struct Got {
    pub(crate) reply: Reply,
    pub(crate) message: Message,
}

impl Live {
    /// Builds the Corefile `text` and starts its tasks.
    pub(crate) fn new(text: &str) -> Self {
        Self::with(Server::new(text))
    }

    /// Builds the Corefile `text`, prepares it as for the first start or for a reload, and starts
    /// its tasks.
    pub(crate) fn prepared(text: &str, first: bool) -> Result<Self> {
        let (mut server, runtime) = (Server::try_new(text)?, runtime());
        runtime.block_on(server.configuration.prepare(runtime.handle(), first))?;
        Ok(Self::on(server, runtime))
    }

    /// Starts the tasks of a server.
    pub(crate) fn with(server: Server) -> Self {
        Self::on(server, runtime())
    }

    fn on(mut server: Server, runtime: Runtime) -> Self {
        let tasks = server.configuration.start(runtime.handle());
        Self { server, runtime, _tasks: tasks }
    }

    /// Asks over UDP, with EDNS and RD.
    pub(crate) fn ask(&self, name: &str, qtype: &str) -> Got {
        self.ask_packet(packet(name, qtype), Proto::Udp)
    }

    /// Sends the given packet.
    pub(crate) fn ask_packet(&self, packet: Vec<u8>, proto: Proto) -> Got {
        self.runtime.block_on(resolve(self.listener(), packet, proto))
    }

    /// Sends the given packet. Returns all messages of the reply as they are written.
    pub(crate) fn messages(&self, packet: &[u8], proto: Proto) -> Vec<Vec<u8>> {
        let listener = self.listener();
        let replied = kept::reply(packet, Client { proto, ..client() }, &listener);
        let Some((query, mut reply)) = self.runtime.block_on(replied) else { return Vec::new() };
        let more = reply.take_more();
        let others = Reply { answer: Arc::default(), ..reply.clone() };
        let others = std::iter::from_fn(|| Some(Reply { answer: more.as_ref()?.next()?, ..others.clone() }));
        let written = |reply| {
            let mut out = Vec::new();
            write_reply(&query, reply, &mut Writer::default(), &mut out);
            out
        };
        std::iter::once(reply).chain(others).map(written).collect()
    }

    /// Asks, and does not wait for the reply.
    pub(crate) fn begin(&self, name: &str, qtype: &str) {
        self.runtime.spawn(resolve(self.listener(), packet(name, qtype), Proto::Udp));
    }

    /// Sends all packets at the same time; replies come in the order of the packets.
    pub(crate) fn ask_all(&self, packets: Vec<Vec<u8>>) -> Vec<Got> {
        let tasks: Vec<_> = packets
            .into_iter()
            .map(|packet| self.runtime.spawn(resolve(self.listener(), packet, Proto::Udp)))
            .collect();
        tasks.into_iter().map(|task| self.runtime.block_on(task).expect("no panic")).collect()
    }

    /// Lets background work go on until `done`. The limit is for conditions that are never met; a
    /// busy machine only takes longer.
    pub(crate) fn wait_until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let start = Instant::now();
        while !done() {
            assert!(start.elapsed() < Duration::from_secs(120), "waited too long: {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Lets time pass for TTLs and windows.
    pub(crate) fn advance(&self, seconds: u64) {
        self.server.host.clock.advance(Duration::from_secs(seconds));
    }

    /// Returns the value of a metric as the page shows it, `name{labels}`; 0 if it is missing.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        let page = self.server.host.metrics.text();
        let wanted = sorted(series);
        let value = page.lines().find_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            (sorted(name) == wanted).then_some(value)
        });
        value.map_or(0.0, |value| value.parse().expect("a number"))
    }

    fn listener(&self) -> Arc<Listener> {
        self.server.configuration.listeners[0].clone()
    }
}

fn runtime() -> Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime")
}

/// Sorts the labels of a series, so that a test does not depend on the page's order.
fn sorted(series: &str) -> (&str, Vec<&str>) {
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let mut labels: Vec<&str> = labels.trim_end_matches('}').split(',').collect();
    labels.sort_unstable();
    (name, labels)
}

/// Sends a packet to a listener.
pub(crate) async fn resolve(listener: Arc<Listener>, packet: Vec<u8>, proto: Proto) -> Got {
    let client = Client { proto, ..client() };
    let (query, reply) = kept::reply(&packet, client, &listener).await.expect("a reply");
    let message = kept::read(&packet, &query, &reply);
    Got { reply, message }
}

impl Got {
    /// Returns `NOERROR 192.0.2.1/60`: the RCODE, then data and TTL of each answer record.
    pub(crate) fn text(&self) -> String {
        let records = self.message.answers.iter().map(|record| format!(" {}/{}", record.data, record.ttl));
        format!("{}{}", rcode_text(self.message.metadata.response_code), records.collect::<String>())
    }

    /// Returns the TTLs of all records of a type, in any section.
    pub(crate) fn ttls(&self, rtype: RecordType) -> Vec<u32> {
        let m = &self.message;
        let all = m.answers.iter().chain(&m.authorities).chain(&m.additionals);
        all.filter(|record| record.record_type() == rtype).map(|record| record.ttl).collect()
    }

    /// Returns the code of the extended error.
    pub(crate) fn extended_error(&self) -> Option<u16> {
        Some(self.reply.note.as_ref()?.error.as_ref()?.0)
    }
}

fn rcode_text(code: ResponseCode) -> &'static str {
    crate::wire::types::rcode_name(code.into()).unwrap_or("?")
}
