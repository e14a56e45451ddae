//! How many files the process may have open, and a reserve of them that connections of clients leave alone.
//!
//! Each connection is an open file. When the limit is reached nothing else works either: no upstream can be asked over a
//! new socket, no Corefile can be read, no probe is answered. The kernel gives a new file the lowest number that is free,
//! so the number of a connection that was just accepted tells how many files are open: from [`is_scarce`] on, a
//! connection must go for each one that comes.

use std::os::fd::{AsFd, AsRawFd};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that are kept for everything other than clients' connections, as far as a quarter of the limit has room for
/// them: sockets to upstreams and API servers, pages, the Corefile and what it names.
const RESERVE: u64 = 128;

/// Lets the process have as many files open as it may ask for: the limit that counts is often far below the one that an
/// administrator has set, and each connection is a file. Go does the same.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    // If it is refused, the limit stays as it is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// The number of files that the process may have open; `None` without a limit.
#[must_use]
pub fn limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Whether a file that was just opened, such as an accepted connection, is one of the reserve.
#[must_use]
pub fn is_scarce(newest: impl AsFd) -> bool {
    let number = u64::try_from(newest.as_fd().as_raw_fd()).unwrap_or_default();
    limit().is_some_and(|limit| number >= unreserved(limit))
}

/// How many files clients' connections may push the process to, out of `limit`.
fn unreserved(limit: u64) -> u64 {
    limit - RESERVE.min(limit / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_is_kept_and_never_more_than_the_reserve() {
        assert_eq!([0, 64, 512, 1024, 1 << 20].map(unreserved), [0, 48, 384, 896, (1 << 20) - 128]);
    }

    #[test]
    fn the_files_of_a_test_are_not_scarce() {
        let file = std::fs::File::open("/proc/self/status").expect("a file");
        assert!(!is_scarce(&file) && limit().is_none_or(|limit| limit > 0));
    }
}
