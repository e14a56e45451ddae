//! Places for work that is not done at once, such as a zone transfer, shared fairly by clients.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::RandomState;

/// The places for one kind of work.
pub struct Places {
    /// How many there are.
    all: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    clients: HashMap<IpAddr, usize, RandomState>,
}

/// One place, freed on drop.
pub struct Place {
    places: Arc<Places>,
    client: IpAddr,
}

/// Bits of an IPv6 address that name its network.
const NETWORK: u128 = !0 << 64;

/// Returns the address that a client is counted as where something is held for it: of an IPv6
/// client, that of its /64. One host may use any address of its network.
#[must_use]
pub fn client_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & NETWORK).into(),
        v4 => v4,
    }
}

impl Places {
    /// Returns this many free places.
    #[must_use]
    pub fn new(all: usize) -> Self {
        Self { all, taken: Mutex::default() }
    }

    /// Takes a place. Returns `None` if the client already has as many as are free. So one client
    /// alone gets half of them, two get a third each, and there is always one left for another.
    #[must_use]
    pub fn take(self: &Arc<Self>, client: IpAddr) -> Option<Place> {
        let client = client_of(client);
        let taken = &mut *self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let of_client = taken.clients.get(&client).copied().unwrap_or_default();
        if of_client >= self.all - taken.all {
            return None;
        }
        taken.clients.insert(client, of_client + 1);
        taken.all += 1;
        Some(Place { places: self.clone(), client })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let taken = &mut *self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        if let Some(of_client) = taken.clients.get_mut(&self.client) {
            *of_client -= 1;
            if *of_client == 0 {
                taken.clients.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_has_half_and_the_next_finds_a_place() {
        let places = Arc::new(Places::new(64));
        let address = |last: u8| IpAddr::from([10, 0, 0, last]);
        let all = |client| std::iter::from_fn(|| places.take(client)).collect::<Vec<_>>();
        let first = all(address(1));
        assert_eq!(first.len(), 32);
        let second = all(address(2));
        assert_eq!(second.len(), 16);
        assert!((3..7).all(|last| all(address(last)).pop().is_some()), "others still find one");
        drop((first, second));
        assert_eq!(places.taken.lock().expect("no panic").all, 0);
        assert!(places.taken.lock().expect("no panic").clients.is_empty());
    }
}
