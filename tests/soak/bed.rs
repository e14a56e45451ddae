//! The server with a cluster, two upstreams and listeners of three kinds.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::api::Api;
use crate::pki::Pki;
use crate::support::{Server, free_port};
use crate::upstream::{Act, Answer, Seen, Upstream};

const COREFILE: &str = "dns://.:PORT tls://.:<TLS> {
    bind 127.0.0.1
    tls <CERT> <KEY>
    errors
    health 127.0.0.1:<HEALTH>
    ready 127.0.0.1:<READY>
    prometheus 127.0.0.1:<METRICS>
    kubernetes cluster.local in-addr.arpa {
        endpoint http://<API>
        pods insecure
        ttl <TTL>
    }
    cache 5 {
        serve_stale 1h
    }
    forward . <FIRST> <SECOND>
    loop
    loadbalance
    reload 2s 1s
}
";

/// Services that are never changed: their names are promised.
pub(crate) const PROMISED: u8 = 200;

/// Services that come and go.
pub(crate) const CHANGING: u8 = 50;

/// What the upstreams do with a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Mood {
    Well,
    Silent,
    Fails,
    Lossy,
    Truncates,
    Slow,
}

const MOODS: [Mood; 6] = [Mood::Well, Mood::Silent, Mood::Fails, Mood::Lossy, Mood::Truncates, Mood::Slow];

pub(crate) struct Bed {
    pub(crate) server: Server,
    pub(crate) api: Api,
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) pki: Pki,
    pub(crate) secure: SocketAddr,
    /// `/health`, `/ready`, `/metrics`.
    pub(crate) pages: [(SocketAddr, &'static str); 3],
    moods: [Arc<AtomicU8>; 2],
    _upstreams: [Upstream; 2],
    corefile: String,
}

impl Bed {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let api = runtime.block_on(Api::start());
        fill(&api);
        let moods: [Arc<AtomicU8>; 2] = Default::default();
        let upstreams = moods.clone().map(|mood| Upstream::start(move |seen| act(&mood, seen)));
        let pki = Pki::new();
        pki.issue("dns", &["dns.example.org"]);
        let [tls, health, ready, metrics] = std::array::from_fn(|_| free_port());
        let words = [
            ("<TLS>", tls.to_string()),
            ("<CERT>", pki.text("dns.pem")),
            ("<KEY>", pki.text("dns.key")),
            ("<HEALTH>", health.to_string()),
            ("<READY>", ready.to_string()),
            ("<METRICS>", metrics.to_string()),
            ("<API>", api.address.to_string()),
            ("<FIRST>", upstreams[0].address.to_string()),
            ("<SECOND>", upstreams[1].address.to_string()),
        ];
        let corefile = words.iter().fold(COREFILE.to_owned(), |text, (word, with)| text.replace(word, with));
        let server = Server::start(&corefile.replace("<TTL>", "5"), &[]);
        let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let pages = [(at(health), "/health"), (at(ready), "/ready"), (at(metrics), "/metrics")];
        Self { server, api, runtime, pki, secure: at(tls), pages, moods, _upstreams: upstreams, corefile }
    }

    /// Sets what the upstreams do from now on.
    pub(crate) fn moods(&self, first: Mood, second: Mood) {
        self.moods.iter().zip([first, second]).for_each(|(known, mood)| known.store(mood as u8, Ordering::Relaxed));
    }

    /// Writes a Corefile with this TTL; a text that is not a number makes it wrong.
    pub(crate) fn configure(&self, ttl: &str) {
        self.server.rewrite(&self.corefile.replace("<TTL>", ttl));
    }
}

/// Fills the API server with what is there at the start.
fn fill(api: &Api) {
    let mut state = api.lock();
    state.put(json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "default", "uid": "default"}}));
    for n in 0..PROMISED {
        state.put(service(&format!("promised-{n}"), promised(n)));
    }
}

/// The address of a promised name.
pub(crate) fn promised(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 96, 1, n)
}

pub(crate) fn service(name: &str, address: Ipv4Addr) -> Value {
    json!({
        "kind": "Service", "apiVersion": "v1", "metadata": {"name": name, "namespace": "default", "uid": name},
        "spec": {"type": "ClusterIP", "clusterIP": address, "clusterIPs": [address],
                 "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]},
    })
}

/// What an upstream does with a query in its mood.
fn act(mood: &AtomicU8, seen: &Seen) -> Vec<Act> {
    let answer = Answer::to(&seen.packet);
    let right = || Act::send(answer.clone().a("192.0.2.1", 5));
    match MOODS[usize::from(mood.load(Ordering::Relaxed))] {
        Mood::Silent => vec![],
        Mood::Lossy if !seen.tcp && fastrand::u8(..10) < 3 => vec![],
        Mood::Fails => vec![Act::send(answer.rcode(2))],
        Mood::Truncates if !seen.tcp => vec![Act::send(answer.flags(0x0200))],
        Mood::Slow => vec![Act::Wait(Duration::from_millis(300)), right()],
        Mood::Well | Mood::Lossy | Mood::Truncates => vec![right()],
    }
}
