//! Places for queries that wait, and who may have how many of them.
//!
//! A query that waits holds memory for as long as another server takes to answer, so a worker has a number of places.
//! Neither one client nor one cause may take them all: an address that asks for names that nobody answers, or questions
//! for a cluster whose data have not come yet, would keep all others out. The rule for both: nobody holds more than
//! [`SHARE`] times as many places as are free. So one client alone may have three quarters of them, two at the same
//! time may have three sevenths each, and what is over is there for the next one. It says nothing as long as few wait.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;

use foldhash::fast::RandomState;

/// A client or a plugin may hold so many times as many places as are free.
const SHARE: usize = 3;

/// Octets of a message that one place has room for; a longer one takes several.
const OCTETS: usize = 512;

/// The places of one worker.
pub(super) struct Waiting {
    places: usize,
    taken: RefCell<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    /// By the plugin that waits. There are few.
    plugins: Vec<(&'static str, usize)>,
    /// By client and plugin (its index above): a client that floods the one can still ask the other.
    clients: HashMap<(IpAddr, usize), usize, RandomState>,
}

/// Places of one query; given back when it is dropped.
pub(super) struct Place {
    waiting: Rc<Waiting>,
    client: IpAddr,
    plugin: usize,
    size: usize,
}

impl Waiting {
    /// So many places.
    pub(super) fn new(places: usize) -> Self {
        Self { places, taken: RefCell::default() }
    }

    /// How many places are taken.
    pub(super) fn taken(&self) -> usize {
        self.taken.borrow().all
    }

    /// Places for a query of `octets` from `client` that `plugin` makes wait; `None` if its client or its plugin has
    /// its share, or if there are not enough.
    pub(super) fn place(self: &Rc<Self>, client: IpAddr, plugin: &'static str, octets: usize) -> Option<Place> {
        let size = 1 + octets / OCTETS;
        let taken = &mut *self.taken.borrow_mut();
        let free = self.places.checked_sub(taken.all + size)?;
        let known = taken.plugins.iter().position(|(name, _)| *name == plugin);
        let plugin = known.unwrap_or_else(|| {
            taken.plugins.push((plugin, 0));
            taken.plugins.len() - 1
        });
        let of_client = taken.clients.entry((client, plugin)).or_default();
        let of_plugin = &mut taken.plugins[plugin].1;
        if size + (*of_client).max(*of_plugin) > SHARE * free {
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

    /// As many places as a client can have for questions of 40 octets.
    fn all(waiting: &Rc<Waiting>, client: u32, plugin: &'static str) -> Vec<Place> {
        std::iter::from_fn(|| waiting.place(address(client), plugin, 40)).collect()
    }

    #[test]
    fn one_client_has_three_quarters_and_leaves_the_rest_to_others() {
        let waiting = Rc::new(Waiting::new(10_000));
        let first = all(&waiting, 1, "a");
        assert_eq!(first.len(), 7_500);
        // Its own questions for something else, and those of others.
        assert!(waiting.place(address(1), "b", 40).is_some());
        assert!(all(&waiting, 2, "b").len() > 1_000);
        drop(first);
        assert!(waiting.taken() == 0);
        assert_eq!(all(&waiting, 2, "a").len(), 7_500);
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
                // Of three causes, so that the clients' shares are what is seen.
                held.extend(waiting.place(address(client as u32), ["a", "b", "c", "d"][client % 4], 40));
            }
        }
        let (least, most) = (held.iter().map(Vec::len).min(), held.iter().map(Vec::len).max());
        assert!(least >= Some(50) && most <= Some(200), "{least:?} {most:?}");
        assert!(waiting.place(address(99), "e", 40).is_some(), "there is room for one more");
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
