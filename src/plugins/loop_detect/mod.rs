//! # loop — find and break forwarding loops
//!
//! After the start the server asks itself a question with a random name, `HINFO
//! RANDOM.RANDOM.ZONE`. The question goes where unknown names go. If it comes back, an upstream
//! leads back here, and every query would go round and round. A question that is seen more than
//! twice is proof. One that came back once is asked again under another name, because a server that
//! joins equal questions (`cache`, `forward`, a resolver in between) never lets it come a third
//! time.
//!
//! The plugin then logs the loop, and answers every query that reaches it with SERVFAIL and the
//! extended error 23, `forwarding loop`. Names that plugins above it answer, such as those of the
//! cluster, are served as usual. It asks again every 30 seconds, and lets queries pass once its
//! question no longer comes back.
//!
//! It also asks, at most every 30 seconds, when more than 200 queries a second pass on their way to
//! an upstream: a loop that forms later makes many queries of one.
//!
//! ## Syntax
//!
//! ```text
//! loop
//! ```
//!
//! ## Examples
//!
//! ```corefile
//! . {
//!     loop
//!     whoami
//! }
//! ```
//!
//! ## Metrics
//!
//! - `signpost_loop_detected{zone}`: 1 while queries are answered with SERVFAIL because of a loop,
//!   0 otherwise.

mod detector;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep, timeout};

use crate::chain::address::SiteAddress;
use crate::chain::doc::doc_of;
use crate::chain::setup::{Registration, Setup};
use crate::chain::{Here, Plugin, Query, Reply, Step};
use crate::corefile::address::Transport;
use crate::corefile::value::quote;
use crate::corefile::{ServerBlock, Word};
use crate::error::{Result, of_plugin};
use crate::host::log;
use crate::host::metrics::{Block, Family, Gauge};
use crate::host::resolv::ResolvConf;
use crate::wire::name::Name;
use crate::wire::question::Question;
use crate::wire::reply::ede;
use crate::wire::request::flag;
use crate::wire::types::{rcode, rtype};
use detector::{Change, Detector, Verdict};

/// The registration of this plugin.
pub const PLUGIN: Registration = Registration { name: "loop", setup, doc: doc_of!("mod.rs"), options: &[] };

static DETECTED: Family = Family {
    name: "signpost_loop_detected",
    help: "1 while forwarded queries are refused because they come back to this server.",
    labels: &["zone"],
};

/// Timeout of the probe's exchange, as in CoreDNS.
const EXCHANGE: Duration = Duration::from_secs(2);

/// How long after its reply the probe may still come back.
const GRACE: Duration = Duration::from_secs(2);

/// How long to try at the start, and the delay between attempts.
const START: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_secs(1);

/// Interval between probes while running.
const AGAIN: Duration = Duration::from_secs(30);

/// Queries per second that trigger a probe.
const SUSPICIOUS: u64 = 200;

//----------- Setup ----------------------------------------------------------

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let mut cursor = s.cursor();
    while cursor.only_occurrence()? {
        cursor.expect_no_arg()?;
    }
    let zone = s.zones.first().copied().unwrap_or(Name::ROOT);
    let state = Arc::new(State {
        detector: Detector::default(),
        passed: Block::new(1),
        gauge: s.host.metrics.gauge(&DETECTED, &[&zone.to_string()]),
        zone,
    });
    // Only plain DNS can be probed; other listeners are not probed.
    if let Some(address) = s.addresses()?.into_iter().find(|address| address.transport == Transport::Dns) {
        let prober = Prober { state: state.clone(), address, files: forwarded_files(s.block) };
        s.task("loop", || prober.run());
    }
    s.chain(Loop(state));
    Ok(())
}

/// Returns the files that `forward` reads its upstreams from, usually `/etc/resolv.conf`.
fn forwarded_files(block: &ServerBlock) -> Vec<String> {
    let words = block.directive("forward").into_iter().flat_map(|forward| &forward.words);
    words.map(Word::as_str).filter(|word| word.starts_with('/')).map(str::to_owned).collect()
}

//----------- Loop -----------------------------------------------------------

struct Loop(Arc<State>);

/// State shared by the plugin and its prober.
struct State {
    detector: Detector,
    /// Queries that have passed, without probes.
    passed: Block,
    gauge: Gauge,
    zone: Name,
}

impl Plugin for Loop {
    fn ask(&self, query: &mut Query<'_>, _: &Here<'_>) -> Step {
        let state = &self.0;
        if query.question.qtype == rtype::HINFO && state.detector.is_probe(&query.question.name) {
            // The probe must pass even while all else is refused: only it shows the end of a loop.
            return match state.detector.sighted(query.client.peer) {
                Verdict::Pass => Step::Next,
                Verdict::Refuse => Step::Answer(refusal()),
            };
        }
        if state.detector.is_broken() {
            return Step::Answer(refusal());
        }
        state.passed.add(0, 1);
        Step::Next
    }
}

fn refusal() -> Reply {
    let cause = format!("{}: an upstream leads back to this server", of_plugin(PLUGIN.name));
    Reply::failure(rcode::SERVFAIL, cause).with_error(ede::NETWORK_ERROR, "forwarding loop")
}

//----------- Prober ---------------------------------------------------------

struct Prober {
    state: Arc<State>,
    address: SiteAddress,
    files: Vec<String>,
}

impl Prober {
    async fn run(self) {
        let end = Instant::now() + START;
        while !self.probe().await && Instant::now() < end {
            sleep(RETRY).await;
        }
        let (mut last, mut passed) = (Instant::now(), self.state.passed.sum(0));
        loop {
            sleep(Duration::from_secs(1)).await;
            let now = self.state.passed.sum(0);
            let wanted = self.state.detector.is_broken() || now - passed > SUSPICIOUS;
            if wanted && last.elapsed() >= AGAIN {
                self.probe().await;
                last = Instant::now();
            }
            passed = self.state.passed.sum(0);
        }
    }

    /// Probes, and again while in doubt; returns false if there was neither a reply nor a loop.
    async fn probe(&self) -> bool {
        loop {
            let (replied, change) = self.send().await;
            if change != Change::Doubt {
                return replied || self.state.detector.is_broken();
            }
        }
    }

    /// Sends one probe and evaluates it. Returns whether there was a reply, and what has changed.
    async fn send(&self) -> (bool, Change) {
        let name = token(&self.state.zone);
        self.state.detector.begin(name);
        let replied = timeout(EXCHANGE, self.exchange(&name)).await.is_ok_and(|result| result.is_ok());
        if !self.state.detector.is_caught() && replied {
            sleep(GRACE).await;
        }
        let change = self.state.detector.end();
        match change {
            Change::None | Change::Doubt => {}
            Change::Broken(client) => {
                self.state.gauge.set(1.0);
                self.report(&name, client);
            }
            Change::Opened => {
                self.state.gauge.set(0.0);
                let zone = quote(&self.state.zone.to_string());
                log::info(PLUGIN.name, format_args!("Loop for zone {zone} is gone, queries are forwarded again"));
            }
        }
        (replied, change)
    }

    /// Queries the server's own first address.
    #[allow(clippy::disallowed_methods, reason = "the host is an address of our own, read and not asked for")]
    async fn exchange(&self, name: &Name) -> io::Result<()> {
        let host = match self.address.host.as_str() {
            "" | "0.0.0.0" => "127.0.0.1",
            "::" => "::1",
            host => host,
        };
        let address = tokio::net::lookup_host((host, self.address.port)).await?.next();
        let address = address.ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
        let socket = UdpSocket::bind(if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).await?;
        socket.connect(address).await?;
        self.state.detector.sent_from(socket.local_addr()?);
        let query = Question::new(*name, rtype::HINFO).query(rand::random(), flag::RD, None);
        socket.send(&query).await?;
        let mut reply = [0; 2048];
        loop {
            let len = socket.recv(&mut reply).await?;
            if len >= 12 && reply[..2] == query[..2] {
                return Ok(());
            }
        }
    }

    /// Logs one line with what was found, and one with what to do.
    fn report(&self, name: &Name, client: std::net::SocketAddr) {
        let SiteAddress { host, port, .. } = &self.address;
        let server = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let zone = quote(&self.state.zone.to_string());
        log::error(
            PLUGIN.name,
            format_args!(
                "Loop ({client} -> {server}) detected for zone {zone}, see \
                 https://coredns.io/plugins/loop#troubleshooting. Query: \"HINFO {name}\""
            ),
        );
        let suspects = suspects(&self.files, &local_addresses());
        let culprit = if suspects.is_empty() {
            "an upstream of forward is this server, or sends queries on to it".to_owned()
        } else {
            format!(
                "{} leads back here; name other upstreams in forward{}",
                suspects.join(" and "),
                stub_hint(&suspects)
            )
        };
        log::error(
            PLUGIN.name,
            format_args!("{culprit}. Forwarded queries get SERVFAIL until the loop is gone; next look in 30s"),
        );
    }
}

/// Returns a name that cannot be guessed, in CoreDNS's form.
fn token(zone: &Name) -> Name {
    let label = || (rand::random::<u64>() >> 2).to_string();
    zone.below([label().as_bytes(), label().as_bytes()]).unwrap_or(*zone)
}

/// Returns lines that probably lead back here: loopback addresses and this host's own addresses.
fn suspects(files: &[String], own: &[std::net::IpAddr]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        let text = std::fs::read(file).unwrap_or_default();
        for (number, line) in (1..).zip(String::from_utf8_lossy(&text).lines()) {
            if nameserver(line).is_some_and(|address| address.is_loopback() || own.contains(&address)) {
                found.push(format!("'{}' in {file}:{number}", line.trim()));
            }
        }
    }
    found
}

/// Returns the address on a `nameserver` line of resolv.conf, read as `forward` reads it, without
/// an interface (`fe80::1%eth0`).
fn nameserver(line: &str) -> Option<std::net::IpAddr> {
    ResolvConf::parse(line).name_servers.pop()?.split('%').next()?.parse().ok()
}

/// Names the file with systemd-resolved's upstreams if its stub leads back.
fn stub_hint(suspects: &[String]) -> &'static str {
    if !suspects.iter().any(|line| line.split([' ', '\t', '\'']).any(|word| word == "127.0.0.53")) {
        return "";
    }
    ", or for the stub of systemd-resolved the file that has its upstreams: kubelet's resolvConf \
     /run/systemd/resolve/resolv.conf, or `forward . /run/systemd/resolve/resolv.conf` where that is mounted"
}

fn local_addresses() -> Vec<std::net::IpAddr> {
    if_addrs::get_if_addrs().unwrap_or_default().iter().map(if_addrs::Interface::ip).collect()
}

#[cfg(test)]
mod tests;
