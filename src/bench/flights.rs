//! The queries of one socket that are not answered yet.

use std::time::Duration;

/// A query on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flight {
    /// The index of its question in the list.
    pub question: u32,
    /// The number in place of `{n}`.
    pub number: u32,
    /// When it was due, from the start of the lane.
    pub due: Duration,
}

/// The queries in flight of one socket, by id.
///
/// Ids count up, so the id of a lost query is used again only after 65,535 others.
#[derive(Debug)]
pub struct Flights {
    places: Box<[Option<(u16, Flight)>]>,
    next: u16,
    len: usize,
}

impl Flights {
    /// Returns a table with room for at least `most` queries.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let places = most.saturating_mul(2).next_power_of_two().clamp(64, 1 << 16);
        Self { places: vec![None; places].into(), next: 0, len: 0 }
    }

    /// Returns the number of queries in flight.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether no query is in flight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns whether half of the places are taken: ids become scarce.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len * 2 >= self.places.len()
    }

    /// Takes a place and returns the query's id; `None` if no id is free.
    pub fn start(&mut self, flight: Flight) -> Option<u16> {
        if self.len == self.places.len() {
            return None;
        }
        loop {
            let id = self.next;
            self.next = self.next.wrapping_add(1);
            let place = &mut self.places[usize::from(id) & (self.places.len() - 1)];
            if place.is_none() {
                *place = Some((id, flight));
                self.len += 1;
                return Some(id);
            }
        }
    }

    /// Returns the query with this id.
    #[must_use]
    pub fn get(&self, id: u16) -> Option<Flight> {
        let (taken, flight) = self.places[self.place(id)]?;
        (taken == id).then_some(flight)
    }

    /// Frees the place of a query.
    pub fn end(&mut self, id: u16) {
        let place = self.place(id);
        if self.places[place].take_if(|(taken, _)| *taken == id).is_some() {
            self.len -= 1;
        }
    }

    /// Gives up the queries that were due before `before`, and reports each of them.
    pub fn give_up(&mut self, before: Duration, mut lost: impl FnMut(Flight)) {
        for place in &mut self.places {
            if let Some((_, flight)) = place.take_if(|(_, flight)| flight.due < before) {
                self.len -= 1;
                lost(flight);
            }
        }
    }

    fn place(&self, id: u16) -> usize {
        usize::from(id) & (self.places.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flight(number: u32) -> Flight {
        Flight { question: 0, number, due: Duration::from_millis(number.into()) }
    }

    #[test]
    fn an_id_is_not_used_twice_at_a_time() {
        let mut flights = Flights::new(32);
        let ids: Vec<u16> = (0..64).map(|number| flights.start(flight(number)).expect("a place")).collect();
        assert!(flights.is_full());
        assert_eq!(flights.start(flight(64)), None, "no place is left");
        flights.end(ids[7]);
        let id = flights.start(flight(65)).expect("a place");
        assert_ne!(id, ids[7], "a late reply to the first must not answer the second");
        assert_eq!(flights.get(ids[7]), None);
        assert_eq!(flights.get(id), Some(flight(65)));
    }

    #[test]
    fn the_oldest_are_given_up() {
        let mut flights = Flights::new(32);
        for number in 0..10 {
            flights.start(flight(number)).expect("a place");
        }
        let mut lost = Vec::new();
        flights.give_up(Duration::from_millis(4), |flight| lost.push(flight.number));
        assert_eq!((lost, flights.len()), (vec![0, 1, 2, 3], 6));
    }
}
