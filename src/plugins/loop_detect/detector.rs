//! Decides whether there is a loop: a state machine without clock or sockets.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::wire::name::Name;

/// More sightings of a probe than this are a loop, as in CoreDNS: clients may send a query twice.
const HARMLESS: u32 = 2;

/// Counts sightings of the current probe, and interprets them.
#[derive(Default)]
pub(super) struct Detector {
    broken: AtomicBool,
    /// The previous probe came back, but too few times to prove a loop.
    doubtful: AtomicBool,
    probe: Mutex<Option<Probe>>,
}

struct Probe {
    name: Name,
    /// The address that the probe was sent from.
    sender: Option<SocketAddr>,
    seen: u32,
    /// Sightings from any other address.
    returned: u32,
    /// Set if this probe detected the loop: the address that sent it last.
    caught: Option<SocketAddr>,
}

/// How to handle a probe that reached the plugin.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The probe continues to the next plugin.
    Pass,
    /// The probe came back and is refused.
    Refuse,
}

/// The result of a probe.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing new.
    None,
    /// The probe came back, but too few times: another one is needed.
    Doubt,
    /// There is a loop; this client brought the probe back.
    Broken(SocketAddr),
    /// The loop has been resolved.
    Opened,
}

impl Detector {
    /// Whether queries must be refused.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// Starts a new probe; earlier ones are forgotten.
    pub(super) fn begin(&self, name: Name) {
        *self.lock() = Some(Probe { name, sender: None, seen: 0, returned: 0, caught: None });
    }

    /// Sets the probe's source address: a sighting from any other address counts as a return.
    pub(super) fn sent_from(&self, sender: SocketAddr) {
        if let Some(probe) = self.lock().as_mut() {
            probe.sender = Some(sender);
        }
    }

    /// Whether this is the name of the current probe. Names of old probes are ordinary names: an
    /// upstream that has seen one cannot use it to stop the server.
    pub(super) fn is_probe(&self, name: &Name) -> bool {
        self.lock().as_ref().is_some_and(|probe| probe.name == *name)
    }

    /// Records that the probe reached the plugin.
    pub(super) fn sighted(&self, client: SocketAddr) -> Verdict {
        let mut guard = self.lock();
        let Some(probe) = guard.as_mut() else { return Verdict::Pass };
        probe.seen = probe.seen.saturating_add(1);
        let other = |sender: SocketAddr| (sender.ip(), sender.port()) != (client.ip().to_canonical(), client.port());
        probe.returned += u32::from(probe.sender.is_some_and(other));
        let came_back = probe.returned > 0 && probe.seen > 1;
        let proof = probe.seen > HARMLESS || came_back && self.doubtful.load(Ordering::Relaxed);
        if self.is_broken() {
            // The first sighting is our own query; the second proves the loop.
            return if probe.seen > 1 { Verdict::Refuse } else { Verdict::Pass };
        }
        if !proof {
            return Verdict::Pass;
        }
        probe.caught = Some(client);
        self.broken.store(true, Ordering::Relaxed);
        Verdict::Refuse
    }

    /// Whether the current probe has already found a loop.
    pub(super) fn is_caught(&self) -> bool {
        self.lock().as_ref().is_some_and(|probe| probe.caught.is_some())
    }

    /// Ends the probe.
    pub(super) fn end(&self) -> Change {
        let probe = self.lock().take();
        let doubtful = probe.as_ref().is_some_and(|p| p.caught.is_none() && p.returned > 0 && p.seen > 1);
        self.doubtful.store(doubtful && !self.is_broken(), Ordering::Relaxed);
        match probe {
            Some(Probe { caught: Some(client), .. }) => Change::Broken(client),
            Some(_) if doubtful && !self.is_broken() => Change::Doubt,
            // It passed once and did not come back. A probe that did not even arrive shows nothing.
            Some(Probe { seen: 1, .. }) if self.broken.swap(false, Ordering::Relaxed) => Change::Opened,
            _ => Change::None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Probe>> {
        self.probe.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> SocketAddr {
        "127.0.0.1:7".parse().expect("an address")
    }

    /// Lets a probe reach the plugin this many times; returns each verdict and the result.
    fn probe(detector: &Detector, times: usize) -> (Vec<Verdict>, Change) {
        let name = Name::from_text("1.2.").expect("a name");
        detector.begin(name);
        assert!(detector.is_probe(&name) && !detector.is_probe(&Name::ROOT));
        let verdicts = (0..times).map(|_| detector.sighted(client())).collect();
        let change = detector.end();
        assert!(!detector.is_probe(&name), "an old probe is an ordinary name");
        (verdicts, change)
    }

    #[test]
    fn a_probe_that_came_back_once_is_proof_the_second_time() {
        let detector = Detector::default();
        let other = "[::ffff:10.0.0.1]:53".parse().expect("an address");
        let probe = |clients: &[SocketAddr]| {
            detector.begin(Name::ROOT);
            detector.sent_from(client());
            let last = clients.iter().map(|&client| detector.sighted(client)).last();
            (last, detector.end())
        };
        let same = "[::ffff:127.0.0.1]:7".parse().expect("an address");
        assert_eq!(probe(&[same, same]), (Some(Verdict::Pass), Change::None), "sent twice, by ourselves");
        assert_eq!(probe(&[other]), (Some(Verdict::Pass), Change::None), "our own one, its address translated");
        assert_eq!(probe(&[same, other]), (Some(Verdict::Pass), Change::Doubt));
        assert_eq!(probe(&[same]), (Some(Verdict::Pass), Change::None), "it was somebody's one mistake");
        assert_eq!(probe(&[same, other]), (Some(Verdict::Pass), Change::Doubt));
        assert_eq!(probe(&[same, other]), (Some(Verdict::Refuse), Change::Broken(other)));
        assert_eq!(probe(&[same, other]), (Some(Verdict::Refuse), Change::None));
        assert_eq!(probe(&[same]), (Some(Verdict::Pass), Change::Opened));
    }

    #[test]
    fn a_loop_is_broken_and_opened_again() {
        use Verdict::{Pass, Refuse};
        let detector = Detector::default();
        assert_eq!(probe(&detector, 1), (vec![Pass], Change::None));
        assert_eq!(probe(&detector, 2), (vec![Pass, Pass], Change::None));
        assert!(!detector.is_broken());
        assert_eq!(probe(&detector, 4), (vec![Pass, Pass, Refuse, Refuse], Change::Broken(client())));
        assert!(detector.is_broken());
        assert_eq!(probe(&detector, 2), (vec![Pass, Refuse], Change::None), "still there, and told only once");
        assert_eq!(probe(&detector, 0), (vec![], Change::None), "a probe that was lost shows nothing");
        assert!(detector.is_broken());
        assert_eq!(probe(&detector, 1), (vec![Pass], Change::Opened));
        assert!(!detector.is_broken());
        assert!(matches!(probe(&detector, 3), (_, Change::Broken(_))), "and it may come again");
    }
}
