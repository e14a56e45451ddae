//! The role of a NodeLocal DNSCache: what node-cache does besides serving a Corefile.
//!
//! One process on each node answers from its cache on a link-local address and on the ClusterIP of
//! kube-dns. For that
//!
//! - it makes the Corefile from a template ([`source`], `template`, `kube_dns`),
//! - gives the addresses to an interface (`link`),
//! - keeps connection tracking away from them (`rules`, `nft`; `rules` says why nf_tables),
//! - and counts in `/metrics` what could not be set up.
//!
//! ```text
//! start: interface -> Corefile -> sockets -> rules; then interface and rules are checked
//! end:   lameduck -> rules removed: kube-proxy directs new queries elsewhere
//!        -> waiting queries are answered -> interface removed
//! crash: the kernel removes the rules; the interface stays for the next start
//! ```
//!
//! Rules come last and go first, because while they are in force no other pod can answer. So a
//! query to the ClusterIP is answered by the pods of kube-dns whenever this process cannot. A query
//! to the link-local address has no such fallback.

mod kube_dns;
mod link;
mod nft;
mod rules;
pub mod source;
mod template;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, Interval, interval_at};

use crate::args::NodeFlags;
use crate::host::http::{self, Endpoints, Http};
use crate::host::metrics::{Counter, Family, Metrics};
use crate::host::{Host, log};
use link::{Failure, Link};
use rules::Rules;

/// With `-reloadwithsignal`, the time between two looks at the files, as in node-cache.
const LOOK: Duration = Duration::from_secs(10);

static SETUP_ERRORS: Family = Family {
    name: "coredns_nodecache_setup_errors_total",
    help: "What a node cache could not set up: interface, rules, Corefile.",
    labels: &["errortype"],
};

/// What could not be set up: the label `errortype`.
#[derive(Debug, Clone, Copy)]
enum SetupError {
    /// The rules; node-cache counts them under the name of its program, iptables.
    Rules,
    /// Making the interface.
    InterfaceAdd,
    /// Checking it.
    InterfaceCheck,
    /// Template or ConfigMap.
    ConfigMap,
}

fn errors(metrics: &Metrics, error: SetupError) -> Counter {
    let label = match error {
        SetupError::Rules => "iptables",
        SetupError::InterfaceAdd => "interface_add",
        SetupError::InterfaceCheck => "interface_check",
        SetupError::ConfigMap => "configmap",
    };
    metrics.counter(&SETUP_ERRORS, &[label])
}

//----------- Node -----------------------------------------------------------

/// The parts of a node cache besides the server.
pub struct Node {
    host: Arc<Host>,
    interface: String,
    link: Option<Link>,
    rules: Option<Rules>,
    /// Whether interface and rules stay at the end.
    stay: bool,
    /// Whether the server listens, so that rules may be in force.
    serves: bool,
    /// Whether this process may remove the interface: it made it, or it serves and no other node
    /// cache has the rules. Otherwise a start that fails would take the interface from the running
    /// process.
    owns_link: bool,
    sync: Interval,
    look: Option<Interval>,
    _http: Http,
}

/// The work that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Check interface and rules.
    Sync,
    /// Check the files of the Corefile.
    Look,
}

impl Node {
    /// Makes the interface, so that its addresses can be bound. Failures are logged, counted and
    /// tried again later.
    pub async fn start(flags: &NodeFlags, port: &str, host: &Arc<Host>) -> Self {
        let every = |period| interval_at(Instant::now() + period, period);
        // Shown from the start, at 0: there is no lock here, but dashboards expect the label.
        let _ = host.metrics.counter(&SETUP_ERRORS, &["iptables_lock"]);
        for error in [SetupError::Rules, SetupError::InterfaceAdd, SetupError::InterfaceCheck, SetupError::ConfigMap] {
            let _ = errors(&host.metrics, error);
        }
        if flags.setup_ebtables {
            log::warning("", format_args!("-setupebtables has no effect: rules for bridges are not made here"));
        }
        let mut node = Self {
            host: host.clone(),
            interface: flags.interface.clone(),
            link: None,
            rules: flags.setup_rules.then(|| {
                let port = port.parse().unwrap_or(53);
                Rules::new(&flags.interface, &flags.addresses, port, flags.health_port, flags.skip_teardown)
            }),
            stay: flags.skip_teardown,
            serves: false,
            owns_link: false,
            sync: every(flags.sync_interval),
            look: flags.reload_unasked.then(|| every(LOOK)),
            _http: metrics_page(&flags.metrics, host),
        };
        if flags.setup_interface {
            match Link::new(&flags.interface, &flags.addresses) {
                Ok(link) => node.link = Some(link),
                Err(error) => node.complain(SetupError::InterfaceAdd, "netlink", &error),
            }
        }
        node.sync_link().await;
        node
    }

    /// Puts the rules in force, now that the server listens.
    pub async fn serving(&mut self) {
        self.serves = true;
        self.sync().await;
        let chains = self.rules.as_ref().and_then(|rules| rules.dropping_chains().ok()).unwrap_or_default();
        if !chains.is_empty() {
            log::warning(
                "",
                format_args!(
                    "the firewall of this node drops what it does not let in by name ({}): it has to let UDP and TCP port 53 of the addresses of {} in and out, or pods get no answer",
                    chains.join(", "),
                    self.interface
                ),
            );
        }
    }

    /// Waits until work is due.
    pub async fn due(&mut self) -> Due {
        let look = async {
            match &mut self.look {
                Some(look) => look.tick().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.sync.tick() => Due::Sync,
            _ = look => Due::Look,
        }
    }

    /// Restores missing rules and a missing interface.
    pub async fn sync(&mut self) {
        if self.serves {
            let is_refused = self.sync_rules();
            self.owns_link = self.owns_link || !is_refused;
        }
        self.sync_link().await;
    }

    /// Removes the rules, so that new queries to the ClusterIP go to the pods of kube-dns.
    pub fn hand_over(&mut self) {
        self.serves = false;
        if self.stay {
            return;
        }
        if let Some(rules) = &mut self.rules
            && let Err(error) = rules.remove()
        {
            self.complain(SetupError::Rules, "remove the rules", &error);
        }
    }

    /// Removes rules and interface, unless they are to stay.
    pub async fn leave(&mut self) {
        self.hand_over();
        if self.stay {
            return;
        }
        if let Some(link) = self.link.as_ref().filter(|_| self.owns_link)
            && let Err(error) = link.remove().await
        {
            self.complain(SetupError::InterfaceCheck, "remove the interface", &error);
        }
    }

    async fn sync_link(&mut self) {
        let Some(link) = &self.link else { return };
        match link.ensure(self.owns_link).await {
            Ok(true) => {
                self.owns_link = true;
                log::info("", format_args!("Added interface - {}", self.interface));
            }
            Ok(false) => {}
            Err(Failure::Add(error)) => self.complain(SetupError::InterfaceAdd, "add the interface", &error),
            Err(Failure::Check(error)) => self.complain(SetupError::InterfaceCheck, "look after the interface", &error),
        }
    }

    /// Returns whether the rules were refused: another process has them, or the right to change
    /// them is missing.
    fn sync_rules(&mut self) -> bool {
        let Some(rules) = &mut self.rules else { return false };
        match rules.ensure() {
            Ok(true) => log::info("", format_args!("Added nodelocaldns rules - table inet {}", self.interface)),
            Ok(false) => {}
            Err(error) => {
                self.complain(SetupError::Rules, "add the rules that skip connection tracking for", &error);
                return error.kind() == std::io::ErrorKind::PermissionDenied;
            }
        }
        false
    }

    fn complain(&self, kind: SetupError, what: &str, error: &dyn std::fmt::Display) {
        errors(&self.host.metrics, kind).inc();
        let text = error.to_string();
        let hint = if text.contains("not permitted") {
            "\nhelp: it needs the capability NET_ADMIN, and user 0 to have it from a pod's securityContext (runAsUser: 0, capabilities add NET_ADMIN); what another running node cache has is refused as well: a second one on a node needs an -interfacename of its own"
        } else if matches!(kind, SetupError::Rules) {
            "\nhelp: it needs nf_tables in the kernel of the node; with -setupiptables=false nothing is set up, and connection tracking stays"
        } else {
            ""
        };
        log::error("", format_args!("cannot {what} {}: {text}{hint}", self.interface));
    }
}

/// Serves the metrics of the node cache beside those of the Corefile. A port in use is only logged:
/// two node caches may share a node.
fn metrics_page(address: &str, host: &Arc<Host>) -> Http {
    let listener = Http::default();
    let metrics = host.clone();
    let page = move || -> http::Page {
        let text = metrics.metrics.text_of(|name| name.starts_with("coredns_nodecache_"));
        (200, "text/plain; version=0.0.4; charset=utf-8", text)
    };
    let endpoints = Endpoints::from([((address.to_owned(), "/metrics".to_owned()), http::Handler::heavy(page))]);
    match http::resolve(&endpoints).and_then(|resolved| listener.bind(&resolved)) {
        Ok(bound) => listener.publish(bound, endpoints, &Handle::current()),
        Err((address, error)) => {
            log::error("", format_args!("Failed to start metrics handler: listen tcp {address}: {error}"));
        }
    }
    listener
}
