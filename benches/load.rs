//! Throughput of the whole server on loopback, beside a bare UDP loop: queries a second with 1, 32
//! and 192 in flight, over UDP, TCP and DoT, for each kind of answer that a cluster's pods ask for.
//!
//!     cargo bench --bench load                          # two minutes
//!     cargo bench --bench load -- udp/192               # one group
//!     cargo bench --bench load -- --measurement-time 5  # longer, and less noise
//!
//! The program is the real one, with the Corefile that kubeadm writes (Corefile.examples/kubeadm);
//! the load is that of `signpost-bench`, on one thread of this process. The bench fails if a reply
//! is lost or wrong.

#[path = "bed/mod.rs"]
mod bed;
#[path = "echo.rs"]
#[allow(dead_code, reason = "part of a program as well")]
mod echo;

use std::cell::OnceCell;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use bed::{Bed, ENDPOINTS, KUBEADM, SEARCH};
use clap::Parser;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use signpost::bench::args::{Args, Command, Load, Transport};
use signpost::bench::lane::Standing;
use signpost::bench::ndots::{Family, Known, Lookup, Resolver, amplification};
use signpost::bench::questions::{Edns, Question};
use signpost::wire::name::Name;

/// Sockets or connections, unless fewer queries are in flight.
const CLIENTS: usize = 20;

/// When a query counts as lost; far above what is measured.
const PATIENCE: Duration = Duration::from_secs(30);

const SERVICE: &str = "web.bench.svc.cluster.local";
const OUTSIDE: &str = "www.example.com";

//----------- What is asked --------------------------------------------------

/// A kind of answer: its name and its questions.
type Kind = (&'static str, Vec<Question>);

fn questions(lines: &[String]) -> Vec<Question> {
    let edns = Edns { size: 1232, dnssec_ok: false };
    lines.iter().map(|line| Question::read(line, edns).expect("a question")).collect()
}

fn kinds() -> Vec<Kind> {
    let headless = format!("db.bench.svc.cluster.local A NOERROR {ENDPOINTS}");
    let one = |line: &str| questions(&[line.to_owned()]);
    vec![
        ("service", one(&format!("{SERVICE} A NOERROR 1"))),
        ("headless", one(&headless)),
        ("srv", one("_sql._tcp.db.bench.svc.cluster.local SRV NOERROR")),
        ("ptr", one("20.77.96.10.in-addr.arpa PTR NOERROR 1")),
        ("nxdomain", one("none.bench.svc.cluster.local A NXDOMAIN 0")),
        ("cached", one(&format!("{OUTSIDE} A NOERROR 1"))),
        ("forwarded", one("n{n}.example.org A NOERROR 1")),
        ("ndots", questions(&walk())),
    ]
}

/// Returns the queries of a Pod for a name outside the cluster with `ndots:5`, by the model of
/// resolvers.
fn walk() -> Vec<String> {
    let search = SEARCH.map(String::from);
    let families = &[Family::V4, Family::V6];
    let lookup = Lookup { resolver: Resolver::Glibc, name: OUTSIDE, ndots: 5, search: &search, families };
    let outside = format!("{OUTSIDE}.");
    let walk = amplification(&lookup, |name, _| if name == outside { Known::Address } else { Known::NoName });
    let lines = walk.steps.iter().flat_map(|step| {
        step.said.iter().map(|(family, known)| {
            let right = if *known == Known::Address { "NOERROR 1" } else { "NXDOMAIN 0" };
            format!("{} {family} {right}", step.name)
        })
    });
    lines.collect()
}

//----------- Measuring ------------------------------------------------------

/// Starts the bare loop, which answers the question for a Service with `records` records.
fn floor(records: u8) -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let address = socket.local_addr().expect("an address");
    let name = Name::from_text(SERVICE).expect("a name").lowered();
    thread::spawn(move || echo::serve(&socket, &name, Ipv4Addr::new(10, 96, 77, 20), records));
    address
}

/// Returns options of `signpost-bench load`.
fn options(server: SocketAddr, transport: Transport, outstanding: usize) -> Load {
    // The questions are not read from a file.
    let args = format!("signpost-bench load --server {server} --questions -");
    let Command::Load(mut load) = Args::parse_from(args.split(' ')).command else { panic!("load was asked for") };
    (load.transport, load.outstanding, load.clients) = (transport, outstanding, outstanding.min(CLIENTS));
    load.timeout = PATIENCE;
    load
}

/// Connections of a group, opened for its first bench that runs.
struct Lane<'a, F> {
    connect: F,
    connected: Option<Standing<'a>>,
}

/// Microseconds a query, the median of criterion's samples; `None` in a trial run.
type Middle = Option<f64>;

fn measure<'a>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    Lane { connect, connected }: &mut Lane<'a, impl Fn() -> Standing<'a>>,
    questions: &'a [Question],
) -> Middle {
    let mut samples = Vec::new();
    group.bench_function(name, |bencher| {
        let lane = connected.get_or_insert_with(&*connect);
        bencher.iter_custom(|queries| {
            let (took, tally) = lane.ask(questions, queries).expect("a server that answers");
            let (lost, wrong) = (tally.lost, tally.wrong);
            assert!(lost + wrong == 0, "{name}: {lost} lost, {wrong} wrong: {}", tally.examples.join("; "));
            samples.push((queries, took));
            took
        });
    });
    // The warm-up has other numbers of queries.
    let last = samples.last()?.0;
    let mut times: Vec<f64> = samples
        .iter()
        .filter(|(queries, _)| *queries == last && last > 1)
        .map(|(queries, took)| took.as_secs_f64() * 1e6 / *queries as f64)
        .collect();
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied()
}

fn load(c: &mut Criterion) {
    let (bed, kinds) = (OnceCell::new(), kinds());
    let bed = || bed.get_or_init(|| Bed::start(KUBEADM));
    let floors = [("floor", 1), ("floor of 20 records", ENDPOINTS)].map(|(name, records)| (name, floor(records)));
    let of_floor = questions(&[format!("{SERVICE} A NOERROR")]);
    for (title, transport) in [("udp", Transport::Udp), ("tcp", Transport::Tcp), ("dot", Transport::Tls)] {
        for outstanding in [1, 32, 192] {
            let mut group = c.benchmark_group(format!("load/{title}/{outstanding}"));
            group.throughput(Throughput::Elements(1)).sampling_mode(SamplingMode::Flat);
            let mut rows = Vec::new();
            for (name, address) in floors {
                let load = options(address, Transport::Udp, outstanding);
                let connect = || Standing::connect(&load).expect("a socket");
                let mut lane = Lane { connect, connected: None };
                rows.push((name, measure(&mut group, name, &mut lane, &of_floor)));
            }
            let (load, address) = (OnceCell::new(), |bed: &Bed| match transport {
                Transport::Tls => bed.dot,
                Transport::Udp | Transport::Tcp => bed.address(),
            });
            let load = || load.get_or_init(|| options(address(bed()), transport, outstanding));
            let connect = || Standing::connect(load()).expect("a server that listens");
            let mut lane = Lane { connect, connected: None };
            for (name, questions) in &kinds {
                rows.push((name, measure(&mut group, name, &mut lane, questions)));
            }
            group.finish();
            print_ratios(&format!("{title}, {outstanding} on their way"), &rows);
        }
    }
}

/// Prints what criterion does not: all rows of a group beside its floor.
fn print_ratios(title: &str, rows: &[(&str, Middle)]) {
    let Some(floor) = rows[0].1 else { return };
    println!("{title:<24} {:>12} {:>12} {:>10}", "queries/s", "µs a query", "by floor");
    for (name, middle) in rows {
        if let Some(micros) = middle {
            println!("  {name:<22} {:>12.0} {micros:>12.2} {:>10.2}", 1e6 / micros, micros / floor);
        }
    }
    println!();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800));
    targets = load
}
criterion_main!(benches);
