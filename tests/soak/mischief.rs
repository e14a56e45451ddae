//! What goes wrong, one step every five seconds, in a cycle of a minute; and objects that come and
//! go all the time.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::api::Fault;
use crate::bed::{Bed, CHANGING, Mood, service};

/// How long a step lasts.
const STEP: Duration = Duration::from_secs(5);

/// Time between two changes of objects.
const CHANGE: Duration = Duration::from_millis(20);

/// The steps of a minute.
const STEPS: [fn(&Bed); 12] = [
    |bed| bed.moods(Mood::Silent, Mood::Well),
    |bed| bed.moods(Mood::Well, Mood::Well),
    |bed| bed.configure("6"),
    |bed| bed.moods(Mood::Fails, Mood::Fails),
    |bed| {
        bed.moods(Mood::Well, Mood::Well);
        bed.configure("much");
    },
    |bed| bed.api.down(),
    |bed| bed.runtime.block_on(bed.api.up()),
    |bed| bed.moods(Mood::Truncates, Mood::Slow),
    |bed| {
        bed.moods(Mood::Well, Mood::Well);
        bed.api.lock().end_watches();
    },
    |bed| bed.moods(Mood::Lossy, Mood::Lossy),
    |bed| bed.configure("5"),
    |bed| {
        bed.moods(Mood::Well, Mood::Well);
        bed.api.fault("watch=", 10, Fault::Status(429, &[("retry-after", "1")]));
        bed.api.lock().end_watches();
    },
];

/// Makes it until the run is over.
pub(crate) fn make(bed: &Bed, over: &AtomicBool) {
    let mut next = Instant::now();
    for step in STEPS.iter().cycle() {
        step(bed);
        next += STEP;
        while Instant::now() < next {
            if over.load(Ordering::Relaxed) {
                return;
            }
            change(bed);
            std::thread::sleep(CHANGE);
        }
    }
}

/// Adds, changes or removes a service.
fn change(bed: &Bed) {
    let n = fastrand::u8(..CHANGING);
    let name = format!("changing-{n}");
    match fastrand::u8(..3) {
        0 => bed.api.lock().take("Service", "default", &name),
        _ => bed.api.lock().put(service(&name, Ipv4Addr::new(10, 96, 2, fastrand::u8(..)))),
    }
}
