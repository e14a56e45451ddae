//! Places for queries that wait, and how they are shared.
//!
//! A waiting query holds memory until another server answers, so a worker has a limited number of
//! places. Neither one client nor one cause may take all of them: an address that asks for names
//! that no server answers, or questions for a cluster whose data have not arrived yet, would block
//! all others. One rule covers both: what a client and the plugin that it waits for hold together
//! is at most [`SHARE`] times as many places as are free. So a client alone may have three fifths
//! of the places, many clients that wait for one plugin three quarters, and the rest is left for
//! the next client and the next plugin. The rule has no effect while few queries wait.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;

use foldhash::fast::RandomState;

use super::clients::client_of;

/// A client and its plugin may hold this many times as many places as are free.
const SHARE: usize = 3;

/// Octets of a message that fit in one place; a longer message takes several.
const OCTETS: usize = 512;

/// The places of one worker.
pub(super) struct Waiting {
    places: usize,
    taken: RefCell<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    /// Places by the plugin that waits. There are few plugins.
    plugins: Vec<(&'static str, usize)>,
    /// Places by client and plugin (its index above): a client that floods one plugin can still ask
    /// another.
    clients: HashMap<(IpAddr, usize), usize, RandomState>,
}

/// The places of one query, freed on drop.
pub(super) struct Place {
    waiting: Rc<Waiting>,
    client: IpAddr,
    plugin: usize,
    size: usize,
}

impl Waiting {
    /// Returns this many places, all free.
    pub(super) fn new(places: usize) -> Self {
        Self { places, taken: RefCell::default() }
    }

    /// Returns how many places are taken.
    pub(super) fn taken(&self) -> usize {
        self.taken.borrow().all
    }

    /// Takes places for a query of `octets` from `client` that waits in `plugin`. Returns `None` if
    /// the client or the plugin has its share, or if too few are free.
    pub(super) fn place(self: &Rc<Self>, client: IpAddr, plugin: &'static str, octets: usize) -> Option<Place> {
        let size = 1 + octets / OCTETS;
        let taken = &mut *self.taken.borrow_mut();
        let free = self.places.checked_sub(taken.all + size)?;
        let client = client_of(client);
        let known = taken.plugins.iter().position(|(name, _)| *name == plugin);
        let plugin = known.unwrap_or_else(|| {
            taken.plugins.push((plugin, 0));
            taken.plugins.len() - 1
        });
        let of_client = taken.clients.entry((client, plugin)).or_default();
        let of_plugin = &mut taken.plugins[plugin].1;
        if size + *of_client + *of_plugin > SHARE * free {
            if *of_client == 0 {
                taken.clients.remove(&(client, plugin));
            }
            return None;
        }
        *of_client += size;
        *of_plugin += size;
        taken.all += size;
        Some(Place { waiting: self.clone(), client, plugin, size })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let taken = &mut *self.waiting.taken.borrow_mut();
        taken.all -= self.size;
        taken.plugins[self.plugin].1 -= self.size;
        if let Some(of_client) = taken.clients.get_mut(&(self.client, self.plugin)) {
            *of_client -= self.size;
            if *of_client == 0 {
                taken.clients.remove(&(self.client, self.plugin));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u32) -> IpAddr {
        std::net::Ipv4Addr::from(0x0A00_0000 + last).into()
    }

    /// Takes all places that a client can have for questions of 40 octets.
    fn all(waiting: &Rc<Waiting>, client: u32, plugin: &'static str) -> Vec<Place> {
        std::iter::from_fn(|| waiting.place(address(client), plugin, 40)).collect()
    }

    #[test]
    fn one_client_has_three_fifths_and_leaves_the_rest_to_others() {
        let waiting = Rc::new(Waiting::new(10_000));
        let first = all(&waiting, 1, "a");
        assert_eq!(first.len(), 6_000);
        // It can still ask other questions, and others can ask the same.
        assert!(waiting.place(address(1), "b", 40).is_some());
        assert!(all(&waiting, 3, "a").len() > 1_000);
        assert!(all(&waiting, 2, "b").len() > 1_000);
        drop(first);
        assert!(waiting.taken() == 0);
        assert_eq!(all(&waiting, 2, "a").len(), 6_000);
    }

    #[test]
    fn a_cause_that_all_clients_have_leaves_places_for_other_causes() {
        let waiting = Rc::new(Waiting::new(10_000));
        let held: Vec<_> = (0..20_000).filter_map(|client| waiting.place(address(client), "a", 40)).collect();
        assert_eq!(held.len(), 7_500);
        assert!(waiting.place(address(1), "a", 40).is_none());
        assert!(all(&waiting, 1, "b").len() > 1_000);
        assert!(waiting.place(address(30_000), "b", 40).is_some());
    }

    #[test]
    fn many_clients_have_equal_shares() {
        let waiting = Rc::new(Waiting::new(1_000));
        let mut held: Vec<Vec<Place>> = (0..10).map(|_| Vec::new()).collect();
        for _ in 0..1_000 {
            for (client, held) in held.iter_mut().enumerate() {
                // Several causes, so that only the clients' shares limit them.
                held.extend(waiting.place(address(client as u32), ["a", "b", "c", "d"][client % 4], 40));
            }
        }
        let (least, most) = (held.iter().map(Vec::len).min(), held.iter().map(Vec::len).max());
        assert!(least >= Some(50) && most <= Some(200), "{least:?} {most:?}");
        assert!(waiting.place(address(99), "e", 40).is_some(), "there is room for one more");
    }

    #[test]
    fn an_ipv6_network_is_one_client() {
        let waiting = Rc::new(Waiting::new(1_000));
        let address = |host: u64| IpAddr::from((0x2001_0DB8_u128 << 96 | u128::from(host)).to_be_bytes());
        let held: Vec<_> = (0..1_000).filter_map(|host| waiting.place(address(host), "a", 40)).collect();
        assert_eq!((held.len(), waiting.taken.borrow().clients.len()), (600, 1));
    }

    #[test]
    fn long_questions_take_more_room() {
        let waiting = Rc::new(Waiting::new(1_000));
        let long: Vec<_> = std::iter::from_fn(|| waiting.place(address(1), "a", 60_000)).collect();
        assert!(long.len() <= 1_000 * OCTETS / 60_000, "{}", long.len());
        assert!(waiting.place(address(2), "b", 40).is_some());
        drop(long);
        assert!(waiting.taken() == 0 && waiting.taken.borrow().clients.is_empty());
    }
}
