//! The life of the process: start, signals, reload, shutdown.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::runtime::{Handle, Runtime};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::publish::Stage;
use super::reload::{Made, Maker, Outcome, Version, Why};
use super::signals::{Demand, Signals};
use super::sys::share_heaps;
use crate::args::Args;
use crate::chain::setup::{Looks, Registration, Wish};
use crate::corefile::{Finding, Severity};
use crate::error::{Error, Result};
use crate::host::files::raise_limit;
use crate::host::metrics::{Family, Gauge};
use crate::host::{COREDNS, Host, log};
use crate::node::{Due, Node};

/// How long waiting queries may take to be answered when the server stops, as in CoreDNS.
const GRACE: Duration = Duration::from_secs(5);

/// How long to serve on after the lameduck time for clients that are still sent here. Their path
/// ends with this pod's endpoint, after several failed readiness probes or with the pod's deletion.
/// Until then, conntrack's entries for a client's port lead here (kubernetes issue 129617).
const LINGER: Duration = Duration::from_secs(4);

static RELOAD_FAILED: Family =
    Family { name: "coredns_reload_failed_total", help: "Reloads that failed and changed nothing.", labels: &[] };
static RELOAD_VERSION: Family = Family {
    name: "coredns_reload_version_info",
    help: "The hash of the configuration that is live.",
    labels: &["hash", "value"],
};

//----------- Entry points ---------------------------------------------------

/// Returns the two lines of the version: of the CoreDNS whose behaviour this is, and of Signpost.
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

/// Workers that share one heap. Answers from memory need none. A forwarded query allocates about
/// twenty times, mostly from glibc's cache of each thread.
const WORKERS_OF_A_HEAP: usize = 8;

/// Serves until a signal ends it, and returns the exit status.
///
/// # Errors
/// Why the server could not start.
pub fn serve(args: &Args, plugins: &'static [Registration], elsewhere: &'static [&'static str]) -> Result<ExitCode> {
    let flush = log::Flush;
    share_heaps(1 + workers() / WORKERS_OF_A_HEAP);
    raise_limit();
    let io = |source| Error::Io { what: "start the runtime".into(), source };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("control").enable_all().build();
    let runtime = runtime.map_err(io)?;
    // Signals are caught before anything that may block.
    let signals = runtime.block_on(async { Signals::new() })?;
    let host = Arc::new(Host::default());
    let mut node = args.node.as_ref().map(|flags| runtime.block_on(Node::start(flags, &args.port, &host)));
    let maker = Maker::new(args, plugins, elsewhere, &host);
    let code = live(args, maker, signals, host, &runtime, &mut node);
    if let Some(node) = &mut node {
        runtime.block_on(node.leave());
    }
    remove_pidfile(args);
    drop(flush);
    runtime.shutdown_background();
    code
}

/// Returns one worker for each core that the process may use.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Serves from the first look at the Corefile to the signal to stop.
fn live(
    args: &Args,
    maker: Maker,
    signals: Signals,
    host: Arc<Host>,
    runtime: &Runtime,
    node: &mut Option<Node>,
) -> Result<ExitCode> {
    let stage = Stage::new(host.clone(), runtime.handle().clone(), workers())?;
    let (version, told) = (None, BTreeSet::new());
    let mut process = Process { args, maker, signals, host, stage, node, watch: None, version, told };
    let code = runtime.block_on(process.obey(runtime.handle()));
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
    maker: Maker,
    signals: Signals,
    host: Arc<Host>,
    stage: Stage,
    node: &'a mut Option<Node>,
    watch: Option<Watch>,
    /// The version that is live.
    version: Option<Version>,
    /// Findings that were logged for its Corefile.
    told: BTreeSet<String>,
}

/// The timer that looks for a changed Corefile.
struct Watch {
    timer: Interval,
    /// Shows the hash while this configuration is live.
    _version: Gauge,
    /// The last reason why a reload failed, so that it is logged once.
    complaint: String,
}

/// An event that wakes the process.
enum Event {
    Demand(Demand),
    Look,
    Node(Due),
    Attempt(Outcome),
}

/// A configuration that is being made.
type Attempt = Pin<Box<dyn Future<Output = Outcome>>>;

impl Process<'_> {
    /// Handles signals, timers and changes of the Corefile, from start to exit.
    ///
    /// Nothing here waits for an attempt: to drop an attempt is to cancel it.
    async fn obey(&mut self, runtime: &Handle) -> Result<ExitCode> {
        let mut attempt = Some(self.attempt(Why::Start, runtime));
        // A reload was requested during an attempt. Several requests are one: it reads the latest.
        let mut again = false;
        loop {
            match self.next(attempt.as_mut()).await {
                Event::Demand(Demand::Reload) => {
                    log::info("", format_args!("SIGUSR1: Reloading"));
                    again = true;
                }
                Event::Demand(demand) => {
                    drop(attempt);
                    return Ok(self.end(demand).await);
                }
                Event::Look | Event::Node(Due::Look) => {
                    attempt = attempt.or_else(|| Some(self.attempt(Why::Look, runtime)));
                }
                Event::Node(Due::Sync) => {
                    if let Some(node) = self.node {
                        node.sync().await;
                    }
                }
                Event::Attempt(outcome) => {
                    attempt = None;
                    self.take(outcome).await?;
                }
            }
            if again && attempt.is_none() {
                again = false;
                attempt = Some(self.attempt(Why::Wish, runtime));
            }
        }
    }

    fn attempt(&self, why: Why, runtime: &Handle) -> Attempt {
        Box::pin(self.maker.clone().attempt(why, self.version.clone(), runtime.clone()))
    }

    async fn next(&mut self, attempt: Option<&mut Attempt>) -> Event {
        let is_busy = attempt.is_some();
        let made = async {
            match attempt {
                Some(attempt) => attempt.await,
                None => std::future::pending().await,
            }
        };
        let look = async {
            match self.watch.as_mut().filter(|_| !is_busy) {
                Some(watch) => watch.timer.tick().await,
                None => std::future::pending().await,
            }
        };
        let due = async {
            match &mut self.node {
                Some(node) => node.due().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            demand = self.signals.next() => Event::Demand(demand),
            outcome = made => Event::Attempt(outcome),
            _ = look => Event::Look,
            due = due => Event::Node(due),
        }
    }

    /// Makes the outcome of an attempt live. A failed attempt changes nothing, but ends the start.
    async fn take(&mut self, outcome: Outcome) -> Result<()> {
        let is_start = self.version.is_none();
        let (what, error) = match outcome {
            Outcome::Same => {
                if let Some(watch) = &mut self.watch {
                    watch.complaint.clear();
                }
                return Ok(());
            }
            Outcome::Made(made) => match self.go_live(*made) {
                Ok(()) if is_start => {
                    if let Some(node) = self.node {
                        node.serving().await;
                    }
                    return Ok(());
                }
                Ok(()) => {
                    log::info("", format_args!("Reloading complete"));
                    return Ok(());
                }
                Err(error) => ("Restart failed", error),
            },
            Outcome::Failed(what, error) => (what, error),
        };
        if is_start {
            return Err(error);
        }
        self.complain(&error, what);
        Ok(())
    }

    fn go_live(&mut self, mut made: Made) -> Result<()> {
        let is_start = self.version.is_none();
        if is_start {
            self.write_pidfile();
        }
        let findings = std::mem::take(&mut made.configuration.findings);
        let servers = std::mem::take(&mut made.configuration.servers);
        let reload = made.configuration.reload;
        self.stage.publish(made.configuration, &made.pages)?;
        self.tell(&findings);
        self.watch = reload.map(|reload| self.watch(&made.version.hash, reload));
        self.version = Some(made.version);
        if is_start && !self.args.quiet {
            log::plain(&servers.join("\n"));
            log::plain(&banner());
        }
        Ok(())
    }

    /// Logs the findings in the served Corefile, except those logged for the one before it.
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

    fn watch(&self, hash: &str, reload: Wish<Looks>) -> Watch {
        let Wish { plugin, what: Looks { interval, jitter } } = reload;
        // Exists from the start, at 0.
        let _ = self.host.metrics.counter(&RELOAD_FAILED, &[]);
        let version = self.host.metrics.gauge(&RELOAD_VERSION, &["sha512", hash]);
        version.set(1.0);
        log::info(plugin, format_args!("Running configuration SHA512 = {hash}"));
        let period = jittered(interval, jitter);
        let mut timer = interval_at(Instant::now() + period, period);
        // An attempt may take longer than the interval.
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Watch { timer, _version: version, complaint: String::new() }
    }

    fn write_pidfile(&self) {
        if let Some(path) = &self.args.pidfile
            && let Err(error) = std::fs::write(path, format!("{}\n", std::process::id()))
        {
            log::error("", format_args!("cannot write the pidfile {}: {error}", path.display()));
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

    //------- The end --------------------------------------------------------

    /// Reports unready at once and serves on for the lameduck time. After SIGTERM, it serves longer
    /// if clients still ask, and answers what has arrived; after SIGINT, it ends. SIGQUIT ends it
    /// at once, a second SIGINT with status 2.
    async fn end(&mut self, demand: Demand) -> ExitCode {
        if demand == Demand::Quit {
            return ExitCode::SUCCESS;
        }
        self.host.shutting_down.store(true, Ordering::Relaxed);
        let mut is_interrupted = demand == Demand::Interrupt;
        tell_end(demand);
        let lameduck = self.stage.lameduck().filter(|wish| !wish.what.is_zero());
        let lameduck = lameduck.map_or(Duration::ZERO, |Wish { plugin, what }| {
            log::info(plugin, format_args!("Going into lameduck mode for {what:?}"));
            what
        });
        let over = tokio::time::sleep(lameduck);
        tokio::pin!(over);
        loop {
            let demand = tokio::select! {
                () = &mut over => break,
                demand = self.signals.next() => demand,
            };
            match demand {
                Demand::Quit => return ExitCode::SUCCESS,
                Demand::Interrupt if is_interrupted => {
                    log::info("", format_args!("SIGINT: Force quit"));
                    return ExitCode::from(2);
                }
                Demand::Interrupt => {
                    is_interrupted = true;
                    tell_end(demand);
                }
                // The process is already stopping.
                Demand::Stop | Demand::Reload => {}
            }
        }
        if !is_interrupted {
            let Self { stage, node, signals, .. } = self;
            tokio::select! {
                () = wind_down(stage, node, lameduck) => {}
                () = final_word(signals) => {}
            }
        }
        ExitCode::SUCCESS
    }
}

fn tell_end(demand: Demand) {
    match demand {
        Demand::Interrupt => log::info("", format_args!("SIGINT: Shutting down")),
        _ => log::info("", format_args!("SIGTERM: Shutting down servers then terminating")),
    }
}

/// Ends the lameduck time: serves clients still sent here, then answers what has arrived.
async fn wind_down(stage: &Stage, node: &mut Option<Node>, lameduck: Duration) {
    if let Some(node) = node {
        node.hand_over();
    }
    if !lameduck.is_zero() {
        stage.linger(LINGER).await;
    }
    stage.drain(GRACE).await;
}

/// Waits for a signal that cuts short the rest of the shutdown too.
async fn final_word(signals: &mut Signals) {
    while !matches!(signals.next().await, Demand::Quit | Demand::Interrupt) {}
}

/// Returns the interval, changed at random by up to half the jitter either way.
fn jittered(interval: Duration, jitter: Duration) -> Duration {
    let shift = jitter.mul_f64(fastrand::f64());
    (interval + shift).saturating_sub(jitter / 2).max(Duration::from_secs(1))
}
