//! A whole server without sockets: a Corefile built, its data loaded, and packets answered on this
//! thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use signpost::chain::build::Configuration;
use signpost::chain::listener::Listener;
use signpost::chain::setup::Registration;
use signpost::chain::site::{Chain, Site};
use signpost::chain::{Client, Here, Plugin, Query, Reply, Step, Turn};
use signpost::corefile::address::Transport;
use signpost::host::Host;
use signpost::host::tasks::Tasks;
use signpost::plugins::ALL;
use signpost::wire::answer::Answer;
use signpost::wire::name::Name;
use signpost::wire::types::rtype;

use super::built::built;
use super::desk::Desk;
use super::message::{client, query};
use super::{cluster, kept};

/// The Corefile that kubeadm writes, with the data from manifests.
pub const KUBEADM: &str = ".:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       manifests \"MANIFESTS\"
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
    loop
    reload
    loadbalance
}
";

/// A configuration that runs, and what a worker has.
pub struct Whole {
    asker: Asker,
    host: Arc<Host>,
    _configuration: Configuration,
    _tasks: Tasks,
    runtime: tokio::runtime::Runtime,
    _manifests: tempfile::TempDir,
}

impl Whole {
    /// Builds and starts `corefile`, in which MANIFESTS stands for a folder with `manifests` in it:
    /// YAML, or JSON that begins with a brace.
    pub fn start(corefile: &str, manifests: &str) -> Self {
        Self::start_with(ALL, corefile, manifests)
    }

    /// What kubeadm's Corefile makes for [`cluster::manifests`], ready to answer. There are
    /// no listeners and no upstreams, so plugins that ask by themselves are left out.
    pub fn kubeadm() -> Self {
        Self::kubeadm_with("")
    }

    /// The same with one more directive.
    pub fn kubeadm_with(directive: &str) -> Self {
        Self::kubeadm_of(directive, &cluster::manifests())
    }

    /// The same for other manifests, which hold `default/web` too.
    pub fn kubeadm_of(directive: &str, manifests: &str) -> Self {
        let corefile =
            KUBEADM.replace("    loop\n", "").replace("    health {\n       lameduck 5s\n    }\n", directive);
        let mut server = Self::start(&corefile, manifests);
        // Valgrind needs a minute for a large cluster.
        server.wait_until_answered(&query("web.default.svc.cluster.local", rtype::A), Duration::from_secs(300));
        server
    }

    /// The same with other plugins than those that are shipped.
    pub fn start_with(plugins: &[Registration], corefile: &str, manifests: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let kind = if manifests.starts_with('{') { "json" } else { "yaml" };
        std::fs::write(folder.path().join(format!("cluster.{kind}")), manifests).expect("written");
        let text = corefile.replace("MANIFESTS", &folder.path().to_string_lossy());
        let host = Arc::new(Host::default());
        let mut configuration = built(&text, plugins, &host).unwrap_or_else(|error| panic!("{error}"));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let handle = runtime.handle().clone();
        runtime.block_on(configuration.prepare(&handle, true)).unwrap_or_else(|error| panic!("{error}"));
        let tasks = configuration.start(&handle);
        let asker = Asker::new(configuration.listeners[0].clone());
        Self { asker, host, _configuration: configuration, _tasks: tasks, runtime, _manifests: folder }
    }

    /// What one more worker has.
    pub fn asker(&self) -> Asker {
        Asker::new(self.asker.listener.clone())
    }

    /// The process that it believes to be in.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// See [`Asker::ask`].
    pub fn ask(&mut self, packet: &[u8], now: Instant) -> Option<&[u8]> {
        self.asker.ask(packet, now)
    }

    /// Waits for the reply to a packet. Returns it before it is written.
    pub fn reply(&self, packet: &[u8]) -> Option<Reply> {
        self.runtime.block_on(kept::reply(packet, self.asker.client, &self.asker.listener)).map(|(_, reply)| reply)
    }

    /// Waits until the data is there: the packet is answered with NOERROR.
    pub fn wait_until_answered(&mut self, packet: &[u8], patience: Duration) {
        let end = Instant::now() + patience;
        while self.ask(packet, Instant::now()).is_none_or(|reply| reply[3] & 0xF != 0) {
            assert!(Instant::now() < end, "the data did not come in {patience:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// What a worker has: it answers packets on its own thread.
pub struct Asker {
    listener: Arc<Listener>,
    client: Client,
    desk: Desk,
}

impl Asker {
    fn new(listener: Arc<Listener>) -> Self {
        Self { listener, client: client(), desk: Desk::default() }
    }

    /// What a worker does with one datagram, less the socket. Returns `None` for a query that has
    /// to wait, or is dropped.
    pub fn ask(&mut self, packet: &[u8], now: Instant) -> Option<&[u8]> {
        self.desk.ask(packet, self.client, &self.listener, now)
    }

    /// The same for a query that may have to wait, on the runtime of the caller.
    pub async fn ask_and_wait(&mut self, packet: &[u8]) -> Option<&[u8]> {
        self.desk.ask_and_wait(packet, self.client, &self.listener, Instant::now()).await
    }
}

/// A listener for one zone, with a chain of `count` plugins that let pass and one that answers from
/// memory.
pub fn passing(count: usize, zone: &str) -> Arc<Listener> {
    struct Pass;
    impl Plugin for Pass {
        fn ask(&self, query: &mut Query<'_>, here: &Here<'_>) -> Step {
            query.set_mark(here.seat, 1);
            Step::Next
        }

        fn reply(&self, query: &mut Query<'_>, reply: &mut Reply, here: &Here<'_>) -> Turn {
            reply.clear_flags(query.mark(here.seat) as u16 - 1);
            Turn::Up
        }
    }
    struct Answers(Arc<Answer>);
    impl Plugin for Answers {
        fn ask(&self, _: &mut Query<'_>, _: &Here<'_>) -> Step {
            Step::Answer(Reply::memory(self.0.clone()))
        }
    }
    let mut seats: Vec<(&'static str, Arc<dyn Plugin>)> = Vec::new();
    seats.extend((0..count).map(|_| ("pass", Arc::new(Pass) as Arc<dyn Plugin>)));
    seats.push(("answers", Arc::new(Answers(Arc::new(Answer::empty(0))))));
    let zone = Name::from_text(zone).expect("a name");
    let site = Site::new(vec![zone], Arc::new(Chain::new(seats)), 0);
    Arc::new(Listener::new(Transport::Dns, String::new(), 53, vec![Arc::new(site)]))
}
