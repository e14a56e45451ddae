//! Load of all kinds for a long time, with changes, reloads and faults all the while: memory, files
//! and threads stay as they are, and what was promised is kept.
//!
//! `just soak MINUTES` runs it. The faults come in a cycle of a minute, so that minutes can be
//! compared with each other.
//!
//! - `bed`: the server, its API server and its upstreams
//! - `mischief`: what goes wrong with them, step by step
//! - `clients`: who asks, and what they count
//! - `measure`: what the process takes, and whether it grows

#[path = "../support/api.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared by test programs of which each uses a part")]
mod api;
#[path = "../support/pages.rs"]
mod crowds;
#[path = "../support/tls.rs"]
mod pki;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/upstream.rs"]
mod upstream;

mod bed;
mod clients;
mod measure;
mod mischief;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bed::Bed;
use clients::Counts;
use measure::Measures;

/// The first minutes, in which caches and pools fill.
const WARM: usize = 2;

#[test]
#[ignore = "it takes minutes: just soak MINUTES"]
fn nothing_grows_and_nothing_is_lost() {
    let minutes: usize = std::env::var("SOAK_MINUTES").map_or(5, |text| text.parse().expect("a number of minutes"));
    assert!(minutes >= WARM + 2, "at least {} minutes: the first {WARM} warm it up", WARM + 2);
    let (mut bed, counts, over) = (Bed::start(), Counts::default(), AtomicBool::new(false));
    let measures = std::thread::scope(|scope| {
        clients::start(scope, &bed, &counts, &over);
        scope.spawn(|| mischief::make(&bed, &over));
        let measures = watch(&bed, &counts, minutes);
        over.store(true, Ordering::Relaxed);
        measures
    });
    println!("{counts}");
    bed.server.signal("TERM");
    assert!(bed.server.wait().success(), "it ends well:\n{}", bed.server.output());
    let printed = bed.server.output();
    assert!(!printed.contains("panic"), "{printed}");
    counts.check();
    measures.check(WARM);
}

/// Measures the process once a second, and prints a line each minute.
fn watch(bed: &Bed, counts: &Counts, minutes: usize) -> Measures {
    let (mut measures, start) = (Measures::default(), Instant::now());
    for minute in 1..=minutes {
        while start.elapsed() < Duration::from_secs(60) * minute as u32 {
            std::thread::sleep(Duration::from_secs(1));
            measures.take(bed.server.process());
        }
        println!("{}  {counts}", measures.end_minute());
    }
    measures
}
