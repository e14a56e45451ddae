//! The longest time of one look-up while the cache stores 50,000 new names a second. See
//! benches/README.md.
//!
//! Each worker asks for a new name, then for hot ones, at a fixed pace, through a chain of `cache`
//! and a plugin that answers at once. The same runs without a cache first: nothing in it waits, so
//! its times are the machine's own.

#[path = "../tests/kit/mod.rs"]
mod kit;

use std::hint::black_box;
use std::time::{Duration, Instant};

use kit::fetched;
use kit::message::query;
use kit::whole::{Asker, Whole};
use signpost::wire::types::rtype;

/// New names a second, of all workers together.
const NEW: u64 = 50_000;

/// Hot names, and how many of them follow each new one.
const HOT: usize = 500;
const HITS: usize = 4;

/// Length of each part, after one second that does not count.
const SECONDS: u64 = 10;

/// As many as this machine of two cores has.
const WORKERS: usize = 2;

fn main() {
    // `cargo test --benches` runs every bench as a trial, and `cargo bench NAME` skips all others.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_left_out = arguments.iter().any(|word| !word.starts_with('-') && !"flood".contains(word.as_str()));
    if !arguments.iter().any(|word| word == "--bench") || arguments.iter().any(|word| word == "--test") || is_left_out {
        return;
    }
    println!("{NEW} new names a second for {SECONDS} s, {WORKERS} workers, {HITS} hits on {HOT} names after each; µs");
    for (what, corefile, qtype) in [
        ("no cache", ". {\nwhoami\n}\n", rtype::A),
        ("answers", ". {\ncache\nwhoami\n}\n", rtype::A),
        ("denials", ". {\ncache\nwhoami\n}\n", rtype::AAAA),
    ] {
        let server = Whole::start_with(fetched::PLUGINS, corefile, "");
        let workers: Vec<_> = (0..WORKERS).map(|worker| run(server.asker(), worker, qtype)).collect();
        let mut times = [Vec::new(), Vec::new()];
        for worker in workers {
            let seen = worker.join().expect("no panic");
            times.iter_mut().zip(seen).for_each(|(all, more)| all.extend(more));
        }
        for (kind, mut times) in ["hot", "new"].into_iter().zip(times) {
            println!("{what:>10} {kind}: {}", summary(&mut times));
        }
    }
}

/// Runs one worker: new names and hot ones at its pace; returns the nanoseconds of each look-up,
/// separately.
fn run(mut asker: Asker, worker: usize, qtype: u16) -> std::thread::JoinHandle<[Vec<u32>; 2]> {
    std::thread::spawn(move || {
        signpost::host::metrics::claim_copy(worker);
        let hot: Vec<_> = (0..HOT).map(|n| query(&format!("hot{n}.example.org"), rtype::A)).collect();
        let mut new = query("n00000000.example.org", qtype);
        let pace = Duration::from_nanos(1_000_000_000 * WORKERS as u64 / NEW);
        let (start, mut turn) = (Instant::now(), 0);
        let mut times = [Vec::new(), Vec::new()];
        let warm = Duration::from_secs(1);
        for number in 0.. {
            let due = pace * number;
            if due > warm + Duration::from_secs(SECONDS) {
                break;
            }
            while start.elapsed() < due {
                std::hint::spin_loop();
            }
            new[14..22].copy_from_slice(format!("{:08}", number * 10 + worker as u32).as_bytes());
            let mut timed = |kind: usize, packet: &[u8]| {
                let before = Instant::now();
                black_box(asker.ask(black_box(packet), before).map(<[u8]>::len));
                if due > warm {
                    times[kind].push(before.elapsed().as_nanos() as u32);
                }
            };
            timed(1, &new);
            for _ in 0..HITS {
                turn = (turn + 1) % HOT;
                timed(0, &hot[turn]);
            }
        }
        times
    })
}

fn summary(times: &mut [u32]) -> String {
    times.sort_unstable();
    let at = |share: f64| f64::from(times[((times.len() - 1) as f64 * share) as usize]) / 1000.0;
    let above = |limit: u32| times.iter().filter(|&&time| time > limit).count();
    format!(
        "half {:.2}, 99 % {:.2}, 99.9 % {:.1}, 99.99 % {:.0}, worst {:.0}; above 1 ms: {} of {}",
        at(0.5),
        at(0.99),
        at(0.999),
        at(0.9999),
        at(1.0),
        above(1_000_000),
        times.len()
    )
}
