//! Builds a configuration from a Corefile. A failed build changes nothing outside of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::address::{SiteAddress, addresses, hosts, protocols, socket_host, zone_name};
use super::caps::Caps;
use super::control::Control;
use super::draft::{BlockDraft, Common, Fact, Looks, Preparation, Start, Wish};
use super::listener::{Listener, server_label};
use super::proxies::Proxies;
use super::query::SEATS;
use super::secure::Secure;
use super::setup::{Registration, Setup};
use super::site::{Chain, Site};
use super::timeouts::Timeouts;
use crate::corefile::address::{self, Key, Transport};
use crate::corefile::overlap::{self, Wanted};
use crate::corefile::{Corefile, Finding, Findings, ServerBlock, Severity};
use crate::error::{Complaint, Result};
use crate::host::Host;
use crate::host::http::Endpoints;
use crate::host::tasks::Tasks;
use crate::wire::name::Name;

//----------- Configuration --------------------------------------------------

/// A whole configuration, built and not yet in use.
pub struct Configuration {
    /// The addresses to listen on.
    pub listeners: Vec<Arc<Listener>>,
    /// The HTTP pages for people and probes.
    pub endpoints: Endpoints,
    /// The word of the Corefile that names each page address, for complaints.
    pub pages: BTreeMap<String, Complaint>,
    /// How long to go on after the signal to stop.
    pub lameduck: Option<Wish<Duration>>,
    /// How often to look for a changed Corefile, and the jitter; `None` means never.
    pub reload: Option<Wish<Looks>>,
    /// Whether debug lines are printed.
    pub debug: bool,
    /// One line for each server, sorted, to be printed at start.
    pub servers: Vec<String>,
    /// Warnings and notes about the Corefile.
    pub findings: Vec<Finding>,
    /// What it was made from besides the Corefile.
    pub facts: Vec<Fact>,
    control: Control,
    starts: Vec<Start>,
    preparations: Vec<Preparation>,
}

/// Builds the configuration of a Corefile. `plugins` are in the order of the chain.
///
/// # Errors
/// The first error that [`examine`] finds.
pub fn build(
    corefile: &Corefile,
    plugins: &[Registration],
    host: &Arc<Host>,
    default_port: &str,
) -> Result<Configuration> {
    let (configuration, findings) = examine(corefile, plugins, host, default_port);
    let (mut errors, others): (Vec<_>, _) =
        findings.into_iter().partition(|finding: &Finding| finding.severity == Severity::Error);
    match configuration {
        Some(configuration) => Ok(Configuration { findings: others, ..configuration }),
        None => Err(errors.swap_remove(0).what),
    }
}

/// Builds the configuration of a Corefile and returns all findings in it. There is a configuration
/// if none of them is an error.
///
/// Errors come in CoreDNS's order: keys first, then plugin by plugin over all blocks, then
/// collisions. If a plugin fails in one block, the others are set up all the same, so that one run
/// finds as many mistakes as possible.
pub fn examine(
    corefile: &Corefile,
    plugins: &[Registration],
    host: &Arc<Host>,
    default_port: &str,
) -> (Option<Configuration>, Vec<Finding>) {
    let findings = Findings::default();
    for warning in &corefile.warnings {
        findings.add(Severity::Warning, warning.clone());
    }
    let fail = |error| findings.add(Severity::Error, error);
    let blocks = corefile.blocks.iter().filter_map(|block| Block::new(block, default_port).map_err(fail).ok());
    let mut blocks: Vec<Block<'_>> = blocks.collect();
    let mut common = Common::default();
    // Errors that follow from a plugin that is not set up are not reported.
    let mut is_complete = !findings.has_error();
    for plugin in plugins {
        for block in blocks.iter_mut().filter(|block| block.source.directive(plugin.name).is_some()) {
            let set_up = (plugin.setup)(&mut Setup {
                host,
                block: block.source,
                keys: &block.keys,
                zones: &block.zones,
                plugin: plugin.name,
                draft: &mut block.draft,
                common: &mut common,
                findings: &findings,
            });
            is_complete &= set_up.map_err(fail).is_ok();
        }
    }
    if is_complete && let Err(error) = settle(&mut blocks) {
        fail(error);
    }
    let configuration = if findings.has_error() { None } else { assemble(blocks, common).map_err(fail).ok() };
    (configuration, findings.take())
}

/// Hands over what plugins want of each other, and checks that the blocks fit together.
fn settle(blocks: &mut [Block<'_>]) -> Result<()> {
    blocks.iter_mut().for_each(|block| block.draft.offers.hand_over_zones());
    blocks.iter_mut().try_for_each(|block| block.draft.offers.hand_over_search_lists(block.source))?;
    blocks.iter_mut().try_for_each(|block| block.draft.offers.hand_over_externals())?;
    let wanted: Vec<Wanted<'_>> = blocks.iter().map(Block::wanted).collect();
    overlap::check_ports(&wanted)?;
    check_transports(blocks)?;
    overlap::check_overlaps(&wanted)?;
    check_protocols(blocks)
}

fn assemble(mut blocks: Vec<Block<'_>>, common: Common) -> Result<Configuration> {
    let servers = server_lines(&blocks);
    // As in CoreDNS, only blocks that ask for readiness take part.
    let probed = blocks.iter_mut().filter(|block| block.draft.is_probed);
    common.probes.add(probed.flat_map(|block| std::mem::take(&mut block.draft.probes)));
    Ok(Configuration {
        listeners: listeners(blocks)?,
        endpoints: common.endpoints,
        pages: common.pages,
        lameduck: common.lameduck,
        reload: common.reload,
        debug: common.debug,
        servers,
        findings: Vec::new(),
        facts: common.facts,
        starts: common.starts,
        control: common.control,
        preparations: common.preparations,
    })
}

impl Configuration {
    /// Does what must be done before this configuration takes over. At the first start nothing is
    /// served yet, so nothing is waited for.
    ///
    /// # Errors
    /// The first preparation that failed.
    pub async fn prepare(&mut self, runtime: &Handle, first: bool) -> Result<()> {
        self.control.set(runtime);
        let preparations = std::mem::take(&mut self.preparations);
        let all = preparations.into_iter().map(|preparation| (preparation.make)(first));
        futures_util::future::try_join_all(all).await.map(|_| ())
    }

    /// Starts the tasks of this configuration. They end when the result is dropped.
    #[must_use]
    pub fn start(&mut self, runtime: &Handle) -> Tasks {
        self.control.set(runtime);
        let mut tasks = Tasks::default();
        for start in self.starts.drain(..) {
            tasks.spawn(runtime, start.name, (start.make)());
        }
        tasks
    }
}

//----------- Blocks ---------------------------------------------------------

struct Block<'a> {
    source: &'a ServerBlock,
    keys: Vec<Key>,
    zones: Vec<Name>,
    draft: BlockDraft,
}

impl<'a> Block<'a> {
    fn new(source: &'a ServerBlock, default_port: &str) -> Result<Self> {
        let keys = address::keys(source, default_port)?;
        let mut zones = Vec::new();
        for key in &keys {
            let zone = zone_name(key)?;
            if !zones.contains(&zone) {
                zones.push(zone);
            }
        }
        Ok(Self { source, keys, zones, draft: BlockDraft::default() })
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted { keys: &self.keys, addresses: &self.draft.bind, filtered: self.draft.filter.is_some() }
    }
}

/// Refuses transports that are not served, rather than open a port that speaks another.
fn check_transports(blocks: &[Block<'_>]) -> Result<()> {
    let served = |key: &&Key| !matches!(key.transport, Transport::Https3 | Transport::Unix);
    match blocks.iter().flat_map(|block| &block.keys).find(|key| !served(key)) {
        None => Ok(()),
        Some(key) => {
            let scheme = key.transport.scheme();
            let complaint = key.word.complain(format!("CoreDNS serves {scheme}://, Signpost does not yet"));
            Err(complaint.hint("dns:// (UDP and TCP), tls://, https://, grpc:// and quic:// are served").into())
        }
    }
}

/// Refuses two transports on one TCP or UDP port of one address: what arrives does not say which it
/// is for.
fn check_protocols(blocks: &[Block<'_>]) -> Result<()> {
    let mut taken: BTreeMap<(&str, &str, String), &Key> = BTreeMap::new();
    for block in blocks {
        let keys = block.keys.iter().flat_map(|key| hosts(&block.draft.bind).into_iter().map(move |host| (key, host)));
        for ((key, host), &protocol) in
            keys.flat_map(|served| protocols(served.0.transport).iter().map(move |protocol| (served.clone(), protocol)))
        {
            let name = protocol.name();
            let other = *taken.entry((name, &key.port, socket_host(&host).to_owned())).or_insert(key);
            // Each port 0 becomes a different free port.
            if other.transport != key.transport && key.port != "0" {
                let (file, line) = (other.word.file(), other.word.line);
                let complaint =
                    key.word.complain(format!("{key} and {other} cannot share the {name} port {}", key.port));
                let hint = format!(
                    "{other} stands at {file}:{line}; give one of them another port, or another address with `bind`"
                );
                return Err(complaint.hint(hint).into());
            }
        }
    }
    Ok(())
}

/// Returns the zones as printed at start, with a warning before those that are not host names.
fn server_lines(blocks: &[Block<'_>]) -> Vec<String> {
    let mut places: BTreeMap<(Transport, &str, String), Vec<&Key>> = BTreeMap::new();
    for block in blocks {
        for (key, host) in
            block.keys.iter().flat_map(|key| hosts(&block.draft.bind).into_iter().map(move |host| (key, host)))
        {
            places.entry((key.transport, &key.port, host)).or_default().push(key);
        }
    }
    let mut lines = Vec::new();
    for ((.., host), mut keys) in places {
        keys.sort_by(|a, b| a.zone.cmp(&b.zone));
        for key in keys {
            if !address::is_hostname(&key.zone) {
                lines.push(format!("Warning: Domain \"{}\" does not follow RFC1035 preferred syntax", key.zone));
            }
            lines.push(key.start_line(&host));
        }
    }
    lines
}

fn listeners(blocks: Vec<Block<'_>>) -> Result<Vec<Arc<Listener>>> {
    let mut drafts: BTreeMap<_, Draft> = BTreeMap::new();
    for block in blocks {
        if block.draft.seats.len() > SEATS {
            let complaint = Complaint::new(format!("more than {SEATS} plugins in one server block"));
            return Err(Complaint { position: block.keys.first().map(|key| key.word.position()), ..complaint }.into());
        }
        let served = addresses(&block.keys, &block.draft.bind)?;
        let chain = Arc::new(Chain::new(block.draft.seats));
        let first = block.keys.first().map(|key| key.word.complain(""));
        let (filter, metadata) = (block.draft.filter, block.draft.metadata.map(Arc::new));
        let secrets = block.draft.secrets;
        for (ordinal, SiteAddress { transport, port, host, zones }) in served.into_iter().enumerate() {
            let written = block.draft.bound.get(&host).or(first.as_ref()).cloned();
            let secure = block.draft.secure.as_ref().filter(|_| transport.is_secured());
            let caps = block.draft.caps.get(&transport).copied().unwrap_or_default();
            let (filter, metadata, secrets) = (filter.clone(), metadata.clone(), secrets.clone());
            let site = Arc::new(Site { zones, chain: chain.clone(), ordinal, filter, metadata, secrets });
            let server = server_label(transport, &host, port);
            let draft = drafts.entry((transport, socket_host(&host).to_owned(), port));
            let timeouts = Timeouts::default();
            let secured = secure.cloned();
            let new = || Draft { host, secure: secured, caps, timeouts, proxies: None, written, sites: Vec::new() };
            let draft = draft.or_insert_with(new);
            if let Some(why) = Secure::difference(draft.secure.as_deref(), secure.map(Arc::as_ref)) {
                let why = conflict(&server, &draft.sites[0], &site, why);
                return Err(first.map_or_else(|| Complaint::new(&why), |first| first.about(&why)).into());
            }
            // On gRPC and QUIC listeners other blocks may name other numbers, as in CoreDNS.
            if !matches!(transport, Transport::Grpc | Transport::Quic)
                && let Some((one, other)) = draft.caps.differ(caps)
            {
                let scheme = transport.scheme().to_uppercase();
                let why =
                    format!("conflicting max_streams values for shared {scheme} listener {server}: {one} and {other}");
                return Err(first.map_or_else(|| Complaint::new(&why), |first| first.about(&why)).into());
            }
            draft.caps = draft.caps.and(caps);
            draft.timeouts = draft.timeouts.and(block.draft.timeouts);
            draft.proxies = block.draft.proxies.clone().or(draft.proxies.take());
            draft.sites.push(site);
        }
    }
    let listener = |((transport, _, port), draft): (_, Draft)| {
        if transport == Transport::Quic
            && let Err((why, hint)) = draft.may_speak_quic()
        {
            let complaint = draft.written.map_or_else(|| Complaint::new(why), |written| written.about(why));
            return Err(complaint.hint(hint).into());
        }
        let listener = Listener::new(transport, draft.host, port, draft.sites);
        let listener = listener.secured(draft.secure).capped(draft.caps).limited(draft.timeouts);
        Ok(Arc::new(listener.behind(draft.proxies).written(draft.written)))
    };
    drafts.into_iter().map(listener).collect()
}

/// A listener while its server blocks are collected.
struct Draft {
    /// Its host, as the first block writes it.
    host: String,
    secure: Option<Arc<Secure>>,
    caps: Caps,
    timeouts: Timeouts,
    proxies: Option<Arc<dyn Proxies>>,
    /// The first word that names it.
    written: Option<Complaint>,
    sites: Vec<Arc<Site>>,
}

impl Draft {
    /// Returns what a QUIC listener must not be without, or have, and what to do about it.
    fn may_speak_quic(&self) -> std::result::Result<(), (&'static str, &'static str)> {
        match () {
            () if self.secure.is_none() => Err((
                "ListenPacket: quic: tls.Config not set",
                "QUIC has no plain form: `tls CERT KEY` names the certificate",
            )),
            () if self.proxies.is_some() => {
                Err(("proxyproto is not served for quic:// yet", "give quic:// a server block of its own, without it"))
            }
            () => Ok(()),
        }
    }
}

/// Returns the message for two server blocks that want different things of one listener.
fn conflict(server: &str, one: &Site, other: &Site, why: &str) -> String {
    let (one, other) = (&one.zones[0], &other.zones[0]);
    format!(
        "conflicting TLS configuration for shared listener {server} between zones \"{one}\" and \"{other}\": {why}\n\
         help: a connection is secured before its first question tells which block it is for: give both the same `tls`, or another port"
    )
}
