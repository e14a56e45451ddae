//! Each thread's own copies of the stored answers that it sends most.
//!
//! A stored answer is shared, and each reply holds a reference to it. So every worker writes its
//! reference count twice a query. When all clients ask for one answer, the cache line with its
//! count moves from core to core. No other core uses the count of a copy.

use std::cell::RefCell;
use std::sync::Arc;

use super::answer::Answer;

/// Number of copies that a thread keeps; each answer has one slot, chosen by its address.
const SLOTS: usize = 256;

/// Maximum octets of a copied answer. Writing a larger one costs more than sharing its count.
const MOST: usize = 4096;

/// An answer is copied once it leads the others of its slot by this much. Answers that are asked
/// for in turn never get there: their counts are not contended, and their copies would evict each
/// other.
const ENOUGH: u8 = 8;

/// The greatest lead: after this many queries for other answers, an unused copy is dropped.
const LEAD: u8 = 64;

thread_local! {
    static COPIES: RefCell<Copies> = const { RefCell::new(Copies { slots: Vec::new() }) };
}

/// Returns the answer or this thread's copy of it: replies with a stored answer should hold this.
#[must_use]
pub fn own(answer: &Arc<Answer>) -> Arc<Answer> {
    COPIES.with_borrow_mut(|copies| copies.find(answer))
}

struct Copies {
    /// Empty until first used.
    slots: Vec<Slot>,
}

/// The leader of a slot: an answer that is asked for more often than all others of the slot
/// together stays.
#[derive(Default)]
struct Slot {
    /// The address of the leading answer; it identifies the answer only while `kept` holds it.
    address: usize,
    lead: u8,
    kept: Option<Kept>,
}

struct Kept {
    /// Held so that no other answer can get its address.
    _answer: Arc<Answer>,
    copy: Arc<Answer>,
}

impl Copies {
    fn find(&mut self, answer: &Arc<Answer>) -> Arc<Answer> {
        let address = Arc::as_ptr(answer).addr();
        let Some(slot) = self.slots.get_mut(slot_of(address)) else {
            self.slots.resize_with(SLOTS, Slot::default);
            return answer.clone();
        };
        if slot.address != address {
            slot.lead = slot.lead.saturating_sub(1);
            if slot.lead == 0 {
                *slot = Slot { address, lead: 1, kept: None };
            }
            return answer.clone();
        }
        slot.lead = (slot.lead + 1).min(LEAD);
        if let Some(kept) = &slot.kept {
            return kept.copy.clone();
        }
        if slot.lead < ENOUGH || answer.memory_len() > MOST {
            return answer.clone();
        }
        let copy = Arc::new(Answer::clone(answer));
        slot.kept = Some(Kept { _answer: answer.clone(), copy: copy.clone() });
        copy
    }
}

/// Allocations are aligned to 16 octets, so the lowest bits carry no information.
fn slot_of(address: usize) -> usize {
    const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
    ((address as u64).wrapping_mul(SPREAD) >> 32) as usize % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::types::rcode;

    fn answer(rcode: u16) -> Arc<Answer> {
        Arc::new(Answer::empty(rcode))
    }

    /// Asks `times` times; returns whether the last reply holds a copy.
    fn is_copied(answer: &Arc<Answer>, times: u8) -> bool {
        let mut last = own(answer);
        (1..times).for_each(|_| last = own(answer));
        assert_eq!(last, *answer, "a copy says the same");
        !Arc::ptr_eq(&last, answer)
    }

    #[test]
    fn what_is_asked_for_again_and_again_is_copied_once() {
        let hot = answer(rcode::NXDOMAIN);
        assert!(!is_copied(&hot, ENOUGH), "the table is made with the first one");
        assert!(is_copied(&hot, 1));
        let (held, first) = (Arc::strong_count(&hot), own(&hot));
        for _ in 0..100 {
            assert!(Arc::ptr_eq(&own(&hot), &first));
        }
        assert_eq!((held, Arc::strong_count(&hot)), (2, 2), "nobody counts on the stored one any more");
    }

    #[test]
    fn each_thread_has_its_own() {
        let hot = answer(rcode::NOERROR);
        assert!(is_copied(&hot, 20));
        let (here, theirs) = (own(&hot), hot.clone());
        let there = std::thread::spawn(move || {
            assert!(is_copied(&theirs, 20));
            own(&theirs)
        });
        assert!(!Arc::ptr_eq(&here, &there.join().expect("no panic")));
    }

    #[test]
    fn what_is_asked_for_in_turn_is_not_copied() {
        let answers: Vec<_> = (0..20 * SLOTS).map(|_| answer(rcode::NOERROR)).collect();
        for _ in 0..20 {
            assert!(answers.iter().all(|answer| Arc::ptr_eq(&own(answer), answer)));
        }
    }

    #[test]
    fn a_copy_goes_when_others_are_asked_for() {
        let hot = answer(rcode::NOERROR);
        assert!(is_copied(&hot, 100));
        for _ in 0..=usize::from(LEAD) {
            let others: Vec<_> = (0..20 * SLOTS).map(|_| answer(rcode::NOERROR)).collect();
            others.iter().for_each(|other| drop(own(other)));
        }
        assert_eq!(Arc::strong_count(&hot), 1);
    }

    /// A changed answer is a new answer, wherever it lies in memory.
    #[test]
    fn a_new_answer_is_never_taken_for_the_old_one() {
        for turn in 0..1000 {
            let fresh = answer(turn % 16);
            assert!((0..20).all(|_| own(&fresh).rcode == turn % 16));
        }
    }

    #[test]
    fn big_ones_are_shared() {
        let big = Arc::new(Answer { options: vec![0; MOST], ..Answer::default() });
        assert!(!is_copied(&big, 100));
    }
}
