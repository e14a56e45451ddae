//! What two workers cost each other: the same questions answered by one thread, by two that share a
//! server, and by two with a server each, each thread on its own core. See benches/README.md.
//!
//! No sockets are involved: on two cores a load generator would take its share. The loss of two
//! servers against one thread is the machine's (caches, clock rate, neighbours); any further loss
//! of a shared server is ours.

#[path = "../tests/kit/mod.rs"]
mod kit;

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use kit::message::query;
use kit::whole::{Asker, Whole};
use kit::{cluster, fetched};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use signpost::host::{log, metrics};
use signpost::wire::types::rtype;

/// Services that each thread asks for in turn.
const SERVICES: usize = 500;

/// Rounds of a row; a figure is the median of them.
const ROUNDS: usize = 15;

/// Length of a phase.
const PHASE: Duration = Duration::from_millis(90);

/// Queries that a worker answers between two reads of the clock, as with a full batch of datagrams.
const BATCH: usize = 32;

/// The threads that work in a phase.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// One of the threads.
    Alone(usize),
    /// Both, sharing a server.
    Shared,
    /// Both, with a server each.
    Apart,
}

const PHASES: [Phase; 4] = [Phase::Alone(0), Phase::Shared, Phase::Apart, Phase::Alone(1)];

/// What each thread asks in turn.
struct Row {
    what: &'static str,
    packets: [Vec<Vec<u8>>; 2],
}

/// Queries a second of the threads in one phase.
type Rates = [f64; 2];

fn main() {
    let Some(cores) = two_cores() else {
        println!("cores: skipped, it takes two of them");
        return;
    };
    log::redirect(Box::new(std::io::sink()));
    println!(
        "{ROUNDS} rounds of {PHASE:?} for each phase, on the cores {cores:?}; medians; ns are those of one core\n"
    );
    println!(
        "| asked by both threads | one thread | two, a server each | two, one server | scaling of these | and of ours |"
    );
    println!("|---|---|---|---|---|---|");
    let kubeadm = || Whole::kubeadm_of("", &manifests());
    measure(cores, [kubeadm(), kubeadm()], &of_the_cluster());
    let cached = || Whole::start_with(fetched::PLUGINS, ". {\ncache\nwhoami\n}\n", "");
    let name = query("www.example.org", rtype::A);
    measure(cores, [cached(), cached()], &[Row::same("a hit in the cache", name)]);
    let dropped = log::dropped();
    let logged = || Whole::kubeadm_with("    log\n");
    let name = query("web.default.svc.cluster.local", rtype::A);
    measure(cores, [logged(), logged()], &[Row::same("A of a Service, with `log`", name)]);
    println!("\n{} lines were dropped, which costs less than a line", log::dropped() - dropped);
}

/// Returns the first two cores that this process may use.
fn two_cores() -> Option<[usize; 2]> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).ok()?;
    let mut cores = (0..CpuSet::count()).filter(|&core| allowed.is_set(core).unwrap_or(false));
    Some([cores.next()?, cores.next()?])
}

/// Returns the small cluster, plus Services of one address each.
fn manifests() -> String {
    let service = |n: usize| {
        format!(
            "---\n{{apiVersion: v1, kind: Service, metadata: {{name: own-{n}, namespace: default}}, spec: {{clusterIP: \
             10.97.{}.{}, ports: [{{name: http, protocol: TCP, port: 80}}]}}}}\n",
            n / 250,
            n % 250 + 1
        )
    };
    (0..SERVICES).map(service).fold(cluster::manifests(), |text, service| text + &service)
}

fn of_the_cluster() -> Vec<Row> {
    let service = |n: usize| query(&format!("own-{n}.default.svc.cluster.local"), rtype::A);
    let half = SERVICES / 2;
    let from = |first: usize| (0..SERVICES).map(|n| service((first + n) % SERVICES)).collect();
    vec![
        Row::same("A of a Service", query("web.default.svc.cluster.local", rtype::A)),
        Row { what: "A of a Service each of its own", packets: [vec![service(0)], vec![service(half)]] },
        Row { what: "A of 500 Services in turn", packets: [from(0), from(half)] },
        Row::same("NXDOMAIN of the zone", query("example.com.default.svc.cluster.local", rtype::A)),
        Row::same("A of 20 endpoints", query("db.default.svc.cluster.local", rtype::A)),
    ]
}

impl Row {
    /// Both threads ask the same question.
    fn same(what: &'static str, packet: Vec<u8>) -> Self {
        Self { what, packets: [vec![packet.clone()], vec![packet]] }
    }
}

/// Measures the rows with the first server; the second one serves the phases without sharing.
fn measure(cores: [usize; 2], servers: [Whole; 2], rows: &[Row]) {
    for row in rows {
        let barrier = Barrier::new(2);
        let rounds: [Vec<[f64; 4]>; 2] = std::thread::scope(|scope| {
            let threads = [0, 1].map(|thread| {
                let (packets, barrier) = (&row.packets[thread], &barrier);
                let askers = [servers[0].asker(), servers[thread].asker()];
                scope.spawn(move || work((thread, cores[thread]), askers, packets, barrier))
            });
            threads.map(|thread| thread.join().expect("no panic"))
        });
        let rounds =
            rounds[0].iter().zip(&rounds[1]).map(|(first, second)| [0, 1, 2, 3].map(|at| [first[at], second[at]]));
        println!("{}", line(row.what, &rounds.collect::<Vec<_>>()));
    }
}

/// Runs one thread; returns its queries a second in each phase of each round, 0 where it rests.
fn work((thread, core): (usize, usize), askers: [Asker; 2], packets: &[Vec<u8>], barrier: &Barrier) -> Vec<[f64; 4]> {
    let mut set = CpuSet::new();
    set.set(core).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set)).expect("the core is allowed");
    metrics::claim_copy(thread);
    log::claim_lane(thread);
    let [mut shared, mut own] = askers;
    let mut turn = packets.iter().cycle();
    // The first round warms up.
    let rounds = (0..=ROUNDS).map(|_| {
        PHASES.map(|phase| {
            barrier.wait();
            match phase {
                Phase::Alone(other) if other != thread => 0.0,
                Phase::Apart => rate(&mut own, &mut turn),
                Phase::Alone(_) | Phase::Shared => rate(&mut shared, &mut turn),
            }
        })
    });
    rounds.skip(1).collect()
}

/// Returns the queries a second of one phase.
fn rate<'a>(asker: &mut Asker, packets: &mut impl Iterator<Item = &'a Vec<u8>>) -> f64 {
    let (start, mut count) = (Instant::now(), 0);
    loop {
        let now = Instant::now();
        if now - start >= PHASE {
            return f64::from(count) / (now - start).as_secs_f64();
        }
        for packet in packets.take(BATCH) {
            let reply = asker.ask(black_box(packet), now).expect("answered from memory");
            black_box(reply.len());
        }
        count += BATCH as i32;
    }
}

/// Returns the line of a row's rounds.
fn line(what: &str, rounds: &[[Rates; 4]]) -> String {
    let [first, shared, apart, second] = [0, 1, 2, 3].map(|at| move |round: &[Rates; 4]| round[at][0] + round[at][1]);
    let alone = |round: &[Rates; 4]| first(round) + second(round);
    let both = |rate: f64| 2e9 / rate;
    let of = |figure: &dyn Fn(&[Rates; 4]) -> f64| median(rounds.iter().map(figure).collect());
    format!(
        "| {what} | {:.0} ns | {:.0} ns | {:.0} ns | {:.2} | {:.2} |",
        of(&|round| both(alone(round))),
        of(&|round| both(apart(round))),
        of(&|round| both(shared(round))),
        of(&|round| apart(round) / alone(round)),
        of(&|round| shared(round) / alone(round)),
    )
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
