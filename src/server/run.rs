//! The life of the process: start, signals, reload, the end.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::load::Loader;
use super::publish::Stage;
use super::sys::share_heaps;
use crate::args::Args;
use crate::chain::build::{Configuration, build};
use crate::chain::setup::Registration;
use crate::corefile::{Corefile, Finding, Severity};
use crate::error::{Error, Result};
use crate::host::files::raise_limit;
use crate::host::metrics::{Family, Gauge};
use crate::host::{COREDNS, Host, log};
use crate::node::{Due, Node};

/// How long what waits may take to be answered when the server stops, as in CoreDNS.
const GRACE: Duration = Duration::from_secs(5);

/// How long to serve on after the lameduck time for clients that are still sent here. A client's path to this pod ends
/// when its endpoint does, which waits for the readiness probe to fail a few times, or even for the pod to be gone:
/// until then what conntrack remembers of a client's port leads here (kubernetes issue 129617).
const LINGER: Duration = Duration::from_secs(4);

static RELOAD_FAILED: Family =
    Family { name: "coredns_reload_failed_total", help: "Reloads that failed and changed nothing.", labels: &[] };
static RELOAD_VERSION: Family = Family {
    name: "coredns_reload_version_info",
    help: "The hash of the configuration that is live.",
    labels: &["hash", "value"],
};

//----------- Entry points ---------------------------------------------------

/// The two lines that tell the version: CoreDNS's, whose behaviour this is, and our own.
#[must_use]
pub fn banner() -> String {
    format!(
        "CoreDNS-{COREDNS}\n{}/{}, signpost-{}, rust",
        std::env::consts::OS,
        match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        },
        env!("CARGO_PKG_VERSION")
    )
}

/// So many workers share one heap. Answers from memory need none; a forwarded query allocates twenty times or so, and most
/// of that comes from what glibc keeps for each thread.
const WORKERS_OF_A_HEAP: usize = 8;

/// Serves until a signal ends it; the result is the exit status.
///
/// # Errors
/// What kept the server from starting.
pub fn serve(args: &Args, plugins: &'static [Registration], elsewhere: &'static [&'static str]) -> Result<ExitCode> {
    let flush = log::Flush;
    share_heaps(1 + workers() / WORKERS_OF_A_HEAP);
    raise_limit();
    let io = |source| Error::Io { what: "start the runtime".into(), source };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("control").enable_all().build();
    let runtime = runtime.map_err(io)?;
    let host = Arc::new(Host::default());
    let mut node = args.node.as_ref().map(|flags| runtime.block_on(Node::start(flags, &args.port, &host)));
    let loader = Loader::new(args, plugins, elsewhere, &host.metrics);
    let code = loader.and_then(|loader| live(args, plugins, loader, host, &runtime, &mut node));
    if let Some(node) = &mut node {
        runtime.block_on(node.leave());
    }
    remove_pidfile(args);
    drop(flush);
    runtime.shutdown_background();
    code
}

/// One for each core that the process may use.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Serves from the first look at the Corefile to the signal to stop.
fn live(
    args: &Args,
    plugins: &'static [Registration],
    loader: Loader,
    host: Arc<Host>,
    runtime: &Runtime,
    node: &mut Option<Node>,
) -> Result<ExitCode> {
    let corefile = loader.load()?;
    let mut configuration = build(&corefile, plugins, &host, &args.port)?;
    let stage = Stage::new(host.clone(), runtime.handle().clone(), workers())?;
    let (hash, told) = (String::new(), BTreeSet::new());
    let mut process = Process { args, plugins, loader, host, stage, node, watch: None, hash, told };
    let code = runtime.block_on(async {
        // Before anything else: until its handler is set, a signal kills.
        let mut signals = Signals::new().map_err(|source| Error::Io { what: "listen for signals".into(), source })?;
        process.start(&mut configuration, runtime).await?;
        let servers = std::mem::take(&mut configuration.servers);
        process.go_live(&corefile, configuration)?;
        process.announce(&servers);
        if let Some(node) = process.node {
            node.serving().await;
        }
        process.obey(&mut signals, runtime).await
    });
    process.stage.clear();
    code
}

fn remove_pidfile(args: &Args) {
    if let Some(path) = &args.pidfile {
        let _ = std::fs::remove_file(path);
    }
}

//----------- Process --------------------------------------------------------

struct Process<'a> {
    args: &'a Args,
    plugins: &'static [Registration],
    loader: Loader,
    host: Arc<Host>,
    stage: Stage,
    node: &'a mut Option<Node>,
    watch: Option<Watch>,
    /// The hash of the Corefile that is live.
    hash: String,
    /// What was said about it.
    told: BTreeSet<String>,
}

/// Looking for a changed Corefile.
struct Watch {
    timer: tokio::time::Interval,
    /// Shows the hash as long as this configuration is live.
    _version: Gauge,
    /// The last reason for which a reload failed: said once.
    complaint: String,
}

/// What wakes the process.
enum Event {
    Stop,
    Interrupt,
    Quit,
    Reload,
    Look,
    Node(Due),
}

impl Process<'_> {
    /// Starts what has to be prepared. At the first start the server answers meanwhile.
    async fn start(&mut self, configuration: &mut Configuration, runtime: &Runtime) -> Result<()> {
        if let Some(path) = &self.args.pidfile
            && let Err(error) = std::fs::write(path, format!("{}\n", std::process::id()))
        {
            log::error("", format_args!("cannot write the pidfile {}: {error}", path.display()));
        }
        self.tell(&configuration.findings);
        configuration.prepare(runtime.handle(), true).await
    }

    /// Logs what was found in a Corefile that is served, unless the one before it said the same.
    fn tell(&mut self, findings: &[Finding]) {
        let mut told = BTreeSet::new();
        for Finding { severity, what } in findings {
            let text = what.to_string();
            if !self.told.contains(&text) {
                let level = if *severity == Severity::Note { log::Level::Info } else { log::Level::Warning };
                log::told(level, what);
            }
            told.insert(text);
        }
        self.told = told;
    }

    fn go_live(&mut self, corefile: &Corefile, mut configuration: Configuration) -> Result<()> {
        let interval = configuration.reload;
        let findings = std::mem::take(&mut configuration.findings);
        self.stage.publish(configuration)?;
        self.tell(&findings);
        self.hash = corefile.sha512_hex();
        self.watch = interval.map(|(interval, jitter)| {
            // Shown from the start, at 0.
            let _ = self.host.metrics.counter(&RELOAD_FAILED, &[]);
            let version = self.host.metrics.gauge(&RELOAD_VERSION, &["sha512", &self.hash]);
            version.set(1.0);
            log::info("plugin/reload", format_args!("Running configuration SHA512 = {}", self.hash));
            let period = jittered(interval, jitter);
            let start = tokio::time::Instant::now() + period;
            Watch { timer: tokio::time::interval_at(start, period), _version: version, complaint: String::new() }
        });
        Ok(())
    }

    fn announce(&self, servers: &[String]) {
        if !self.args.quiet {
            log::plain(&servers.join("\n"));
            log::plain(&banner());
        }
    }

    /// Does what signals and the clock say, until the end.
    async fn obey(&mut self, signals: &mut Signals, runtime: &Runtime) -> Result<ExitCode> {
        loop {
            match signals.next(self.watch.as_mut(), self.node.as_mut()).await {
                Event::Stop => {
                    log::info("", format_args!("SIGTERM: Shutting down servers then terminating"));
                    self.stop(signals).await;
                    return Ok(ExitCode::SUCCESS);
                }
                Event::Interrupt => {
                    log::info("", format_args!("SIGINT: Shutting down"));
                    self.host.shutting_down.store(true, Ordering::Relaxed);
                    tokio::select! {
                        () = tokio::time::sleep(self.stage.lameduck()) => return Ok(ExitCode::SUCCESS),
                        _ = signals.interrupt.recv() => return Ok(ExitCode::from(2)),
                    }
                }
                Event::Quit => return Ok(ExitCode::SUCCESS),
                Event::Reload => {
                    log::info("", format_args!("SIGUSR1: Reloading"));
                    self.reload(runtime, true).await;
                }
                Event::Look | Event::Node(Due::Look) => self.reload(runtime, false).await,
                Event::Node(Due::Sync) => {
                    if let Some(node) = self.node {
                        node.sync().await;
                    }
                }
            }
        }
    }

    /// Unready at once; serving goes on for the lameduck time, and for a little longer if clients still ask; then what
    /// has arrived is answered.
    async fn stop(&mut self, signals: &mut Signals) {
        self.host.shutting_down.store(true, Ordering::Relaxed);
        let lameduck = self.stage.lameduck();
        if !lameduck.is_zero() {
            log::info("plugin/health", format_args!("Going into lameduck mode for {lameduck:?}"));
            let serve_on = async {
                tokio::time::sleep(lameduck).await;
                if let Some(node) = &mut *self.node {
                    node.hand_over();
                }
                self.stage.linger(LINGER).await;
            };
            tokio::select! {
                () = serve_on => {}
                _ = signals.quit.recv() => return,
            }
        }
        if let Some(node) = self.node {
            node.hand_over();
        }
        self.stage.drain(GRACE).await;
    }

    /// Reads the Corefile again. `forced`: even if it is the same. A failure changes nothing.
    async fn reload(&mut self, runtime: &Runtime, forced: bool) {
        let corefile = match self.loader.load() {
            Ok(corefile) => corefile,
            Err(error) => return self.complain(&error, "Corefile parse failed"),
        };
        if !forced && corefile.sha512_hex() == self.hash {
            if let Some(watch) = &mut self.watch {
                watch.complaint.clear();
            }
            return;
        }
        let built = async {
            let mut configuration = build(&corefile, self.plugins, &self.host, &self.args.port)?;
            configuration.prepare(runtime.handle(), false).await?;
            Ok(configuration)
        };
        match built.await.and_then(|configuration| self.go_live(&corefile, configuration)) {
            Ok(()) => log::info("", format_args!("Reloading complete")),
            Err(error) => self.complain(&error, "Restart failed"),
        }
    }

    fn complain(&mut self, error: &Error, what: &str) {
        let text = format!("{what}: {error}");
        self.host.metrics.counter(&RELOAD_FAILED, &[]).inc();
        if let Some(watch) = &mut self.watch {
            if watch.complaint == text {
                return;
            }
            watch.complaint.clone_from(&text);
        }
        log::failed(what, error, "the configuration before it stays in use");
    }
}

/// The interval, somewhere within half the jitter to either side.
fn jittered(interval: Duration, jitter: Duration) -> Duration {
    let shift = jitter.mul_f64(fastrand::f64());
    (interval + shift).saturating_sub(jitter / 2).max(Duration::from_secs(1))
}

struct Signals {
    stop: Signal,
    interrupt: Signal,
    quit: Signal,
    reload: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            stop: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            reload: signal(SignalKind::user_defined1())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self, watch: Option<&mut Watch>, node: Option<&mut Node>) -> Event {
        let look = async {
            match watch {
                Some(watch) => watch.timer.tick().await,
                None => std::future::pending().await,
            }
        };
        let due = async {
            match node {
                Some(node) => node.due().await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(look, due);
        loop {
            tokio::select! {
                _ = self.stop.recv() => return Event::Stop,
                _ = self.interrupt.recv() => return Event::Interrupt,
                _ = self.quit.recv() => return Event::Quit,
                _ = self.reload.recv() => return Event::Reload,
                // SIGHUP is ignored, as in CoreDNS.
                _ = self.hangup.recv() => {}
                _ = &mut look => return Event::Look,
                due = &mut due => return Event::Node(due),
            }
        }
    }
}
