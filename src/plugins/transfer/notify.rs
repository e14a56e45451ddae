//! Notifies secondaries of a changed zone (RFC 1996): one datagram each, repeated until it is
//! answered.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::iter;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::metrics::Metrics;
use super::rules::Rules;
use crate::chain::transfer::Changes;
use crate::host::log;
use crate::wire::name::Name;
use crate::wire::question::Question;
use crate::wire::request::{HEADER, flag};
use crate::wire::types::{opcode, rcode, rcode_name, rtype};

/// The plugin, in log lines.
const NAME: &str = "transfer";

/// How often a message is sent until it is accepted, as in CoreDNS.
const ATTEMPTS: usize = 3;

/// How long to wait for an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Secondaries that are notified at the same time.
const AT_ONCE: usize = 32;

/// Notifies the secondaries of one server block.
pub(super) struct Notifier {
    rules: Arc<Rules>,
    changes: Arc<Changes>,
    metrics: Metrics,
}

impl Notifier {
    pub(super) fn new(rules: Arc<Rules>, changes: Arc<Changes>, metrics: Metrics) -> Self {
        Self { rules, changes, metrics }
    }

    /// Runs until the configuration ends.
    pub(super) async fn run(self) {
        loop {
            let zones = self.changes.take().await;
            let rules = zones.iter().filter_map(|zone| Some((zone, self.rules.of(zone)?)));
            let all = rules.flat_map(|(zone, rule)| rule.told().map(|to| (*zone, to, rule.source)));
            let tell = iter(all.collect::<Vec<_>>()).map(|(zone, to, source)| self.tell(zone, to, source));
            tell.buffer_unordered(AT_ONCE).collect::<()>().await;
        }
    }

    async fn tell(&self, zone: Name, to: SocketAddr, source: Option<IpAddr>) {
        let mut why = String::new();
        for _ in 0..ATTEMPTS {
            match timeout(PATIENCE, notify(&zone, to, source)).await {
                Ok(Ok(rcode::NOERROR)) => {
                    self.metrics.accepted.inc();
                    return log::debug(NAME, format_args!("Sent notifies for zone \"{zone}\" to {to}"));
                }
                Ok(Ok(code)) => {
                    why = format!("rcode was {}", rcode_name(code).map_or_else(|| code.to_string(), str::to_owned));
                }
                Ok(Err(error)) => why = crate::error::words(&error),
                Err(_) => why = "no answer".to_owned(),
            }
        }
        self.metrics.not_accepted.inc();
        log::error(NAME, format_args!("notify for zone \"{zone}\" was not accepted by \"{to}\": {why}"));
    }
}

/// Sends one NOTIFY. Returns the RCODE of its answer.
async fn notify(zone: &Name, to: SocketAddr, source: Option<IpAddr>) -> io::Result<u16> {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((source.unwrap_or(any), 0)).await?;
    socket.connect(to).await?;
    let flags = u16::from(opcode::NOTIFY) << 11 | flag::AA;
    let message = Question::new(*zone, rtype::SOA).query(rand::random(), flags, None);
    socket.send(&message).await?;
    let mut room = [0; 512];
    loop {
        let len = socket.recv(&mut room).await?;
        if let Some(code) = accepted(&message, &room[..len]) {
            return Ok(code);
        }
    }
}

/// Returns the RCODE of the answer to a NOTIFY: the id and the opcode are the same. `None` if it is
/// another message.
fn accepted(sent: &[u8], got: &[u8]) -> Option<u16> {
    let flags = |message: &[u8]| Some(u16::from_be_bytes([*message.get(2)?, *message.get(3)?]));
    let (ours, theirs) = (flags(sent)?, flags(got)?);
    let is_answer = got.len() >= HEADER && got[..2] == sent[..2] && theirs & flag::QR != 0;
    (is_answer && (ours ^ theirs) & 0x7800 == 0).then_some(theirs & 0xF)
}
