//! Names that were never asked for, each with its own address, so that a wrong answer shows.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::ask::{NOERROR, Question, Reply, question};
use crate::upstream::{Act, Answer, Seen};

/// Returns names that were never asked for: `first7.test`.
pub(crate) fn fresh(first: &str, count: usize) -> Vec<String> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let from = NEXT.fetch_add(count, Ordering::Relaxed);
    (from..from + count).map(|number| format!("{first}{number}.test")).collect()
}

/// Returns questions for the addresses of names.
pub(crate) fn questions(names: &[String]) -> Vec<Question> {
    names.iter().map(|name| question(name)).collect()
}

/// Returns the address of a name, whatever its case.
pub(crate) fn address(name: &str) -> Ipv4Addr {
    let sum =
        name.bytes().fold(17_u32, |sum, octet| sum.wrapping_mul(16_777_619) ^ u32::from(octet.to_ascii_lowercase()));
    let [_, b, c, d] = sum.to_be_bytes();
    Ipv4Addr::new(10, b, c, d)
}

/// Returns the right answer, with a TTL of a minute.
pub(crate) fn answer(seen: &Seen) -> Answer {
    Answer::to(&seen.packet).a(&address(&seen.name()).to_string(), 60)
}

/// Acts as an upstream without fault.
pub(crate) fn well(seen: &Seen) -> Vec<Act> {
    vec![Act::send(answer(seen))]
}

/// Returns whether the reply is the right answer for a name.
pub(crate) fn is_right(name: &str, reply: &Reply) -> bool {
    reply.rcode() == NOERROR && reply.addresses().contains(&address(name))
}

/// Returns how many replies are right, and how many are neither right nor an error.
pub(crate) fn right_and_wrong(names: &[String], replies: &[Option<Reply>]) -> (usize, usize) {
    let both = || names.iter().zip(replies).filter_map(|(name, reply)| Some((name, reply.as_ref()?)));
    let right = both().filter(|(name, reply)| is_right(name, reply)).count();
    let wrong = both().filter(|(name, reply)| reply.rcode() == NOERROR && !is_right(name, reply)).count();
    (right, wrong)
}
