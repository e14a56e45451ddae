//! No API server at the start: with a snapshot of the process before, without one, and with one
//! that is of no use. CoreDNS has no such option and runs without it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::ask::{NOERROR, NXDOMAIN, PATIENCE, Question, Reply, SERVFAIL, ask_all, question};
use crate::cluster::{Cluster, SERVICE};
use crate::crowds::get;
use crate::load::millis;
use crate::names::{fresh, is_right, questions, well};
use crate::row::{Found, Place, Row};
use crate::server::{Kind, Run, Server};
use crate::support::{self, free_port};
use crate::upstream::Upstream;

pub(crate) const ROWS: &[Row] = &[
    Row {
        id: "A2",
        injected: "a start without an API server and without a snapshot; the reverse zone falls through to an upstream",
        wanted: "names outside are answered; names of the cluster SERVFAIL with EDE 14, those that no object can have \
                 NXDOMAIN; PTR of private addresses do not leave; `/ready` is 503",
        place: Place::Here,
        run: a2,
    },
    Row {
        id: "A3",
        injected: "a start without an API server, with a `snapshot` of 10,000 Services (300 in the short form)",
        wanted: "all of them answered with EDE 3 and a TTL of 5 or less, the first within a second of exec; `/ready` \
                 is 200 and says how old they are, as a metric does",
        place: Place::Here,
        run: a3,
    },
    Row {
        id: "A4",
        injected: "the same with a snapshot that has a wrong octet, is cut short, empty, or of a newer version",
        wanted: "as in A2: no answer from it, one line in the log, and a count",
        place: Place::Here,
        run: a4,
    },
    Row {
        id: "A21",
        injected: "the same with a snapshot that is older than its MAX_AGE, and with one of another cluster",
        wanted: "as in A4",
        place: Place::Here,
        run: a21,
    },
    Row {
        id: "A22",
        injected: "the disk of the snapshot is full",
        wanted: "told once, counted, nothing else: the names are answered",
        place: Place::Here,
        run: a22,
    },
];

//----------- The bed --------------------------------------------------------

/// PTR.
const PTR: u16 = 12;
/// Extended errors.
const STALE: u16 = 3;
const NOT_READY: u16 = 14;

struct Bed {
    cluster: Cluster,
    upstream: Upstream,
    folder: tempfile::TempDir,
}

/// A server, its pages, and when it was started.
struct Started {
    server: Server,
    ready: SocketAddr,
    metrics: SocketAddr,
    at: Instant,
}

impl Bed {
    fn new() -> Self {
        Self {
            cluster: Cluster::start(),
            upstream: Upstream::start(well),
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    fn snapshot(&self) -> PathBuf {
        self.folder.path().join("snapshot")
    }

    fn start(&self, run: &Run) -> Started {
        self.start_with(run, &run.kind.program().expect("it is there"), "24h")
    }

    fn start_with(&self, run: &Run, program: &Path, max_age: &str) -> Started {
        let option = match run.kind {
            Kind::Signpost => format!("snapshot {} {max_age}", self.snapshot().display()),
            Kind::CoreDns => String::new(),
        };
        let options = format!("{option}\n        startup_timeout 1s\n        fallthrough in-addr.arpa");
        let directive = self.cluster.directive_with("cluster.local in-addr.arpa", &options);
        let [ready, metrics] = [(); 2].map(|()| SocketAddr::from(([127, 0, 0, 1], free_port())));
        let above = format!("ready {ready}\n    prometheus {metrics}\n    {directive}");
        let (corefile, at) = (crate::server::corefile(&above, &[self.upstream.address], ""), Instant::now());
        Started { server: Server(support::Server::start_program(program, &corefile, &[])), ready, metrics, at }
    }

    /// Lets a process write its snapshot, and kills it; then stops the API server.
    fn kept(&self, run: &Run) {
        let started = self.start(run);
        assert!(
            until(|| started.ask(&question(SERVICE)).is_some_and(|reply| reply.rcode() == NOERROR)),
            "it is synced"
        );
        if run.kind == Kind::Signpost {
            assert!(until(|| self.snapshot().exists()), "a snapshot is written");
        }
        drop(started);
        self.cluster.stop();
    }
}

impl Started {
    fn ask(&self, question: &Question) -> Option<Reply> {
        question.ask(self.server.address())
    }

    fn page(&self, page: SocketAddr, path: &str) -> (u16, String) {
        get(page, path, PATIENCE).unwrap_or_default()
    }

    /// Returns the value of a metric; 0 if it is not there.
    fn metric(&self, name: &str) -> u64 {
        let (_, page) = self.page(self.metrics, "/metrics");
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
        value.unwrap_or_default() as u64
    }

    /// Returns how often the log says something.
    fn said(&self, text: &str) -> usize {
        self.server.0.output().matches(text).count()
    }

    /// Whether the names of the cluster are unknown, as they should be.
    fn knows_nothing(&self) -> bool {
        let reply = self.ask(&question(SERVICE));
        reply.is_some_and(|reply| reply.rcode() == SERVFAIL && reply.errors().contains(&NOT_READY))
    }
}

fn until(mut holds: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + 4 * PATIENCE;
    while !holds() {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

fn is(reply: Option<Reply>, rcode: u8) -> bool {
    reply.is_some_and(|reply| reply.rcode() == rcode)
}

//----------- The rows -------------------------------------------------------

fn a2(run: &Run) -> Found {
    let bed = Bed::new();
    bed.cluster.stop();
    let started = bed.start(run);
    let outside = fresh("a2-", 20);
    let replies = ask_all(&questions(&outside), 10, |question| started.ask(question));
    let right =
        outside.iter().zip(&replies).filter(|(name, reply)| reply.as_ref().is_some_and(|it| is_right(name, it)));
    let right = right.count();
    let unknown = is(started.ask(&question(SERVICE)), SERVFAIL);
    let marked = started.knows_nothing();
    let asked = bed.upstream.count();
    let pointer = started.ask(&question("7.0.96.10.in-addr.arpa").of(PTR));
    let leaked = bed.upstream.count() - asked;
    let impossible = ["www.example.org.cluster.local", "www.example.org.default.svc.cluster.local"];
    let denied = impossible.iter().filter(|name| is(started.ask(&question(name)), NXDOMAIN)).count();
    let (ready, _) = started.page(started.ready, "/ready");
    Found::new(format!(
        "{right} of 20 outside answered; a cluster name {}, {}; {leaked} PTR left; {denied} of 2 impossible names NXDOMAIN; \
         `/ready` {ready}",
        if unknown { "SERVFAIL" } else { "not SERVFAIL" },
        if marked { "with EDE 14" } else { "without EDE" }
    ))
    .must(right == 20, "a name outside was not answered")
    .must(marked, "a name of the cluster is not SERVFAIL with EDE 14")
    .must(leaked == 0 && is(pointer, SERVFAIL), "a PTR of the cluster left")
    .must(denied == 2, "a name that cannot exist is not NXDOMAIN")
    .must(ready == 503, "ready without names")
}

fn a3(run: &Run) -> Found {
    let bed = Bed::new();
    let count = run.pick(300, 10_000);
    bed.cluster.add_services(count);
    bed.kept(run);
    let started = bed.start(run);
    let first = is(started.ask(&question(SERVICE)), NOERROR).then(|| started.at.elapsed());
    let all: Vec<Question> = (0..count).map(|at| question(&format!("s{at}.default.svc.cluster.local"))).collect();
    let replies = ask_all(&all, 10, |question| started.ask(question));
    let right = replies.iter().flatten().filter(|reply| reply.rcode() == NOERROR && reply.ttl() <= Some(5));
    let (right, marked) =
        right.fold((0, 0), |(all, marked), reply| (all + 1, marked + usize::from(reply.errors().contains(&STALE))));
    let (ready, page) = started.page(started.ready, "/ready");
    // The age is shown once a second.
    let shown = run.kind == Kind::CoreDns
        || until(|| {
            started.page(started.metrics, "/metrics").1.contains("\nsignpost_kubernetes_snapshot_age_seconds ")
        });
    let after = first.map_or("no first answer".to_owned(), |after| format!("the first {} after exec", millis(after)));
    let found = Found::new(format!("{right} of {count} answered, {marked} marked stale; {after}; `/ready` {ready}"))
        .must(right == count && marked == count, "a name was not answered, or not as an old one")
        .must(ready == 200 && page.contains("answers come from a snapshot"), "`/ready` does not say how old it is")
        .must(shown, "no metric of the age");
    if run.long {
        found.must(first.is_some_and(|after| after <= Duration::from_secs(1)), "later than a second")
    } else {
        found
    }
}

fn a4(run: &Run) -> Found {
    let bed = Bed::new();
    bed.kept(run);
    let whole = std::fs::read(bed.snapshot()).unwrap_or_default();
    let wrong = |at: usize| {
        let mut octets = whole.clone();
        octets.get_mut(at).into_iter().for_each(|octet| *octet ^= 1);
        octets
    };
    let middle = whole.len() / 2;
    let kinds = [wrong(middle), wrong(11), whole[..middle].to_vec(), Vec::new()];
    let (mut failed, mut marked, mut told) = (0, 0, 0);
    for octets in &kinds {
        std::fs::write(bed.snapshot(), octets).expect("written");
        let started = bed.start(run);
        failed += usize::from(is(started.ask(&question(SERVICE)), SERVFAIL));
        marked += usize::from(started.knows_nothing());
        told += usize::from(
            started.said("is not used: ") == 1
                && started.metric("signpost_kubernetes_snapshots_failed_total{action=\"read\"}") == 1,
        );
    }
    Found::new(format!("{failed} of 4 SERVFAIL, {marked} with EDE 14; {told} told once and counted"))
        .must(failed == 4 && marked == 4, "a damaged snapshot was used")
        .must(told == 4, "not told once and counted")
}

fn a21(run: &Run) -> Found {
    let bed = Bed::new();
    bed.kept(run);
    let program = run.kind.program().expect("it is there");
    // Ages are whole seconds.
    std::thread::sleep(Duration::from_millis(2_100));
    let old = bed.start_with(run, &program, "1s");
    let is_old = old.knows_nothing() && old.said("s old, and may be 1s old") == 1;
    drop(old);
    let other = Bed { cluster: Cluster::start(), ..bed };
    other.cluster.stop();
    let foreign = other.start(run);
    let is_foreign = foreign.knows_nothing() && foreign.said("it is of another cluster") == 1;
    let words = |is: bool| if is { "SERVFAIL with EDE 14, told once" } else { "nothing is told" };
    Found::new(format!("too old: {}; of another cluster: {}", words(is_old), words(is_foreign)))
        .must(is_old, "one that is too old was used")
        .must(is_foreign, "one of another cluster was used")
}

fn a22(run: &Run) -> Found {
    let bed = Bed::new();
    bed.cluster.add_big(2_000);
    let program = run.kind.program().expect("it is there");
    let Some(within) = full_disk(bed.folder.path(), &program) else {
        return Found::skipped("no file system can be mounted: needs root");
    };
    let started = bed.start_with(run, &within, "24h");
    let failed = "signpost_kubernetes_snapshots_failed_total{action=\"write\"}";
    let counted = run.kind == Kind::CoreDns || until(|| started.metric(failed) > 0);
    let answered = is(started.ask(&question(SERVICE)), NOERROR);
    let full = "cannot be written: no space left on device";
    let _ = until(|| run.kind == Kind::CoreDns || started.said(full) > 0);
    let told = started.said(full);
    Found::new(format!(
        "{}; told {told} times",
        if answered { "the names are answered" } else { "the names are not answered" }
    ))
    .must(answered, "a name is not answered")
    .must(counted && told == 1, "not told once and counted")
}

/// Returns a program that starts `program` with a file system of one page at `folder`.
fn full_disk(folder: &Path, program: &Path) -> Option<PathBuf> {
    let mount = format!("mount -t tmpfs -o size=4k tmpfs {}", folder.display());
    let may = Command::new("unshare").args(["--mount", "sh", "-c", &mount]).output().ok()?;
    let path = folder.join("within");
    let text =
        format!("#!/bin/sh\nexec unshare --mount sh -c '{mount} && exec {} \"$@\"' sh \"$@\"\n", program.display());
    // A shell of its own writes it: see `Fence::program`.
    let write = "printf %s \"$1\" >\"$2\" && chmod 755 \"$2\"";
    let written = Command::new("sh").args(["-c", write, "sh", &text]).arg(&path).status().ok()?;
    (may.status.success() && written.success()).then_some(path)
}
