//! How many files the process may have open, and a reserve of them that client connections must
//! leave free.
//!
//! Each connection is an open file. At the limit nothing else works: no upstream can be asked over
//! a new socket, no Corefile can be read, no probe is answered. So client connections get the files
//! that nothing else uses now, less a reserve for what will be needed later.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::error::set_file_limit;

/// Files that client connections must leave free, at most a quarter of the limit: for sockets to
/// upstreams and API servers, for pages, the Corefile and the files that it names.
const RESERVE: usize = 128;

/// Raises the soft limit of open files to the hard limit, as Go does. Each connection is a file,
/// and the soft limit is often far below what an administrator has set.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    // If this is refused, the limit stays as it is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    set_file_limit(self::limit() as u64);
}

/// Returns how many files the process may have open.
#[must_use]
pub fn limit() -> usize {
    getrlimit(Resource::Nofile).current.and_then(|limit| limit.try_into().ok()).unwrap_or(usize::MAX)
}

/// Returns how many connections clients may have, if `connections` of the open files are client
/// connections now.
#[must_use]
pub fn for_connections(connections: usize) -> usize {
    // Without /proc, assume that the reserve is in use.
    let open = std::fs::read_dir("/proc/self/fd").map_or(RESERVE, Iterator::count);
    left(limit(), open.saturating_sub(connections))
}

/// Returns how many of `limit` files are left for connections while `open` files serve other
/// purposes.
fn left(limit: usize, open: usize) -> usize {
    limit.saturating_sub(open).saturating_sub(RESERVE.min(limit / 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_is_kept_and_never_more_than_the_reserve() {
        let left = [(0, 9), (64, 24), (64, 60), (1024, 24), (1 << 20, 24)].map(|(limit, open)| left(limit, open));
        assert_eq!(left, [0, 24, 0, 872, (1 << 20) - 152]);
    }

    #[test]
    fn files_that_are_open_count() {
        let before = for_connections(0);
        let held: Vec<_> = (0..200).filter_map(|_| std::fs::File::open("/proc/self/status").ok()).collect();
        assert!(for_connections(0) <= before - held.len() / 2);
        assert!(for_connections(held.len()) >= for_connections(0) && limit() > before);
    }
}
