//! The counts: queries, replies, RCODEs and how long replies took.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Number of RCODE counters; the last one is for all other RCODEs.
const RCODES: usize = 24;

/// Wrong replies that the report shows.
const EXAMPLES: usize = 5;

/// The counts of one lane, or of all lanes.
#[derive(Debug)]
pub struct Tally {
    /// Queries that were sent.
    pub sent: u64,
    /// Queries that were due when the time was over, but not sent.
    pub unsent: u64,
    /// Queries that got a reply.
    pub answered: u64,
    /// Queries without a reply in time.
    pub lost: u64,
    /// Replies with another RCODE or number of answers than wanted.
    pub wrong: u64,
    /// Messages that belong to no query in flight: late, doubled, or forged.
    pub stray: u64,
    /// Replies with the TC bit.
    pub truncated: u64,
    /// Connections that the server closed.
    pub closed: u64,
    /// Replies by RCODE.
    pub rcodes: [u64; RCODES],
    /// Nanoseconds from a query's due time to its reply.
    pub latency: Histogram<u64>,
    /// Some wrong replies, in words.
    pub examples: Vec<String>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            sent: 0,
            unsent: 0,
            answered: 0,
            lost: 0,
            wrong: 0,
            stray: 0,
            truncated: 0,
            closed: 0,
            rcodes: [0; RCODES],
            latency: Histogram::new(3).expect("three digits are allowed"),
            examples: Vec::new(),
        }
    }
}

impl Tally {
    /// Counts a reply.
    pub fn reply(&mut self, rcode: u16, is_truncated: bool, took: Duration) {
        self.answered += 1;
        self.truncated += u64::from(is_truncated);
        self.rcodes[usize::from(rcode).min(RCODES - 1)] += 1;
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.latency.record(nanos.max(1)).expect("the histogram grows by itself");
    }

    /// Counts a wrong reply; keeps its description if there are few.
    pub fn wrong(&mut self, words: impl FnOnce() -> String) {
        self.wrong += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(words());
        }
    }

    /// Adds another lane's counts.
    pub fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.unsent += other.unsent;
        self.answered += other.answered;
        self.lost += other.lost;
        self.wrong += other.wrong;
        self.stray += other.stray;
        self.truncated += other.truncated;
        self.closed += other.closed;
        self.rcodes.iter_mut().zip(other.rcodes).for_each(|(sum, count)| *sum += count);
        self.latency.add(other.latency).expect("both have the same digits");
        self.examples.extend(other.examples);
        self.examples.truncate(EXAMPLES);
    }
}
