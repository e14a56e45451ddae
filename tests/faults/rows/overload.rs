//! More questions than the server can answer, of all clients or of one.

use std::net::Ipv4Addr;
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::ask::{PATIENCE, question};
use crate::load::{Flood, load_from, millis};
use crate::row::{Found, Place, Row, joined};
use crate::server::{Run, Server};

pub(crate) const ROWS: &[Row] = &[
    Row {
        id: "E3",
        injected: "8 clients ask for twice as many answers from memory as the server, which has one core, can give (the same rate in the short form, on shared cores)",
        wanted: "at least 80 % of its peak answered; p99 of the answers below 20 ms",
        place: Place::Here,
        run: e3,
    },
    Row {
        id: "E4",
        injected: "one client asks for twice as many answers from memory as the server, which has one core, can give; beside it 100 clients with 100 questions a second each (20 with 20 in the short form, on shared cores)",
        wanted: "99.9 % of the others' questions answered, p99 below 20 ms; in the short form, they lose no larger a part than the one",
        place: Place::Here,
        run: e4,
    },
];

const NAME: &str = "flood.test";

/// The client that asks for too much.
const GREEDY: [Ipv4Addr; 1] = [Ipv4Addr::new(127, 0, 9, 1)];

/// Questions that the closed loop has in flight.
const IN_FLIGHT: u64 = 192;

/// Returns these addresses of this host.
fn clients(count: u8) -> Vec<Ipv4Addr> {
    (1..=count).map(|last| Ipv4Addr::new(127, 0, 8, last)).collect()
}

/// A server, and how many answers a second it can give at most.
struct Bed {
    server: Server,
    peak: u64,
    /// The cores of this thread; the server has the first one, if there are more.
    cores: CpuSet,
}

impl Bed {
    fn new(run: &Run) -> Self {
        let cores = sched_getaffinity(Pid::from_raw(0)).expect("the cores");
        let all: Vec<usize> = (0..CpuSet::count()).filter(|&core| cores.is_set(core).unwrap_or_default()).collect();
        let only = |some: &[usize]| {
            let mut set = CpuSet::new();
            some.iter().for_each(|&core| set.set(core).expect("a core"));
            // Servers and threads that are started from now on have the cores of this thread.
            sched_setaffinity(Pid::from_raw(0), &set).expect("our cores");
        };
        let split = if run.long && all.len() > 1 { 1 } else { 0 };
        only(if split > 0 { &all[..1] } else { &all });
        let corefile = format!(".:PORT {{\n    bind 127.0.0.1\n    hosts {{\n        10.0.0.1 {NAME}\n    }}\n}}\n");
        let server = run.serve(&corefile);
        only(&all[split..]);
        let flood =
            |time| Flood { server: server.address(), clients: clients(8), packet: question(NAME).packet(), time };
        flood(Duration::from_millis(200)).in_flight(IN_FLIGHT);
        let time = run.pick(Duration::from_millis(300), Duration::from_secs(2));
        let peak = flood(time).in_flight(IN_FLIGHT).answered_in(time);
        Self { server, peak, cores }
    }

    fn flood(&self, clients: &[Ipv4Addr], time: Duration) -> Flood {
        Flood { server: self.server.address(), clients: clients.to_vec(), packet: question(NAME).packet(), time }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = sched_setaffinity(Pid::from_raw(0), &self.cores);
    }
}

fn e3(run: &Run) -> Found {
    let bed = Bed::new(run);
    let time = run.pick(Duration::from_secs(1), Duration::from_secs(10));
    let flooded = bed.flood(&clients(8), time).at_rate(run.pick(1, 2) * bed.peak);
    let (goodput, p99) = (flooded.answered_in(time), flooded.times.within(0.99));
    let mut found = Found::new(format!(
        "{goodput} of {} a second answered, peak {}; p99 {}",
        flooded.sent_in(time),
        bed.peak,
        millis(p99)
    ))
    .must(flooded.answered > 0, "nothing was answered");
    if run.long {
        found = found.must(goodput * 10 >= bed.peak * 8, "fewer than 80 % of the peak were answered");
        found = found.must(p99 < Duration::from_millis(20), "p99 of the answers above 20 ms");
    }
    found
}

fn e4(run: &Run) -> Found {
    let bed = Bed::new(run);
    let (others, each, seconds) = run.pick((20, 20, 2), (100, 100, 10));
    let (rate, time) = (u32::from(others) * each, Duration::from_secs(seconds));
    let (flooded, heard) = std::thread::scope(|scope| {
        let flooded = scope.spawn(|| bed.flood(&GREEDY, time + Duration::from_millis(100)).at_rate(2 * bed.peak));
        let packet = question(NAME).packet();
        let questions = (0..u64::from(rate) * seconds).map(|_| packet.clone());
        let heard = load_from(&clients(others), bed.server.address(), rate, questions);
        (joined(flooded), heard)
    });
    let p99 = heard.all_times().within(0.99);
    let found = Found::new(format!(
        "{} of {} answered, p99 {}; of the one {} of {} a second, peak {}",
        heard.good(),
        heard.asked(),
        if p99 < PATIENCE { millis(p99) } else { "none".to_owned() },
        flooded.answered_in(time),
        flooded.sent_in(time),
        bed.peak,
    ));
    if run.long {
        return found
            .must(heard.good() as u64 * 1000 >= heard.asked() as u64 * 999, "fewer than 99.9 % were answered")
            .must(p99 < Duration::from_millis(20), "p99 above 20 ms");
    }
    let (lost, sent) = (heard.lost() as u64, heard.asked() as u64);
    let lost_of_one = flooded.sent.saturating_sub(flooded.answered);
    found.must(lost * flooded.sent <= lost_of_one.max(1) * sent, "they lost a larger part than the one")
}
