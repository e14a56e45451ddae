//! Places for transfers. A transfer holds memory for as long as its client takes to read it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::RandomState;

/// Transfers of the process at a time.
const ALL: usize = 64;

/// The places of the process.
#[derive(Default)]
pub(super) struct Places(Mutex<Taken>);

#[derive(Default)]
struct Taken {
    all: usize,
    clients: HashMap<IpAddr, usize, RandomState>,
}

/// The place of one transfer, freed on drop.
pub(super) struct Place {
    places: Arc<Places>,
    client: IpAddr,
}

impl Places {
    /// Takes a place. Returns `None` if the client already has as many as are free. So one client
    /// alone gets half of them, two get a third each, and there is always one left for another.
    pub(super) fn take(self: &Arc<Self>, client: IpAddr) -> Option<Place> {
        let taken = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_client = taken.clients.get(&client).copied().unwrap_or_default();
        if of_client >= ALL - taken.all {
            return None;
        }
        taken.clients.insert(client, of_client + 1);
        taken.all += 1;
        Some(Place { places: self.clone(), client })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let taken = &mut *self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
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
        let places = Arc::<Places>::default();
        let address = |last: u8| IpAddr::from([10, 0, 0, last]);
        let all = |client| std::iter::from_fn(|| places.take(client)).collect::<Vec<_>>();
        let first = all(address(1));
        assert_eq!(first.len(), ALL / 2);
        let second = all(address(2));
        assert_eq!(second.len(), ALL / 4);
        assert!((3..7).all(|last| all(address(last)).pop().is_some()), "others still find one");
        drop((first, second));
        assert_eq!(places.0.lock().expect("no panic").all, 0);
        assert!(places.0.lock().expect("no panic").clients.is_empty());
    }
}
