//! Files in the form of resolv.conf (resolv.conf(5)), as words: the one reader of them.

use std::io;
use std::path::Path;

/// Where the machine has its own.
pub const RESOLV_CONF: &str = "/etc/resolv.conf";

/// What such a file says. Words are kept as they are written: each reader decides which of them it
/// understands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// The word of each `nameserver` line, in order.
    pub name_servers: Vec<String>,
    /// The domains of the last `search` or `domain` line; `domain` has one.
    pub search: Vec<String>,
    /// The last `ndots` of the `options` lines.
    pub ndots: Option<usize>,
}

impl ResolvConf {
    /// Reads a file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(path: impl AsRef<Path>) -> io::Result<Self> {
        std::fs::read_to_string(path).map(|text| Self::parse(&text))
    }

    /// Reads a text. Lines that are not understood are skipped, as in glibc; comments are such
    /// lines.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => found.name_servers.extend(words.next().map(str::to_owned)),
                Some("search") => found.search = words.map(str::to_owned).collect(),
                Some("domain") => found.search = words.take(1).map(str::to_owned).collect(),
                Some("options") => {
                    let ndots = words.filter_map(|word| word.strip_prefix("ndots:")?.parse().ok()).next_back();
                    found.ndots = ndots.or(found.ndots);
                }
                _ => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_file() {
        let conf = ResolvConf::parse(
            "# nameserver 192.0.2.9\n; search x\n  nameserver 192.0.2.1 # first\nnameserver\nnameserver fe80::1%eth0\n\
             options single-request ndots:5 ndots:x\noptions rotate\nnameservers 192.0.2.8\n",
        );
        assert_eq!(conf.name_servers, ["192.0.2.1", "fe80::1%eth0"]);
        assert_eq!((conf.search.len(), conf.ndots), (0, Some(5)));
        assert_eq!(ResolvConf::parse("# nothing"), ResolvConf::default());
        assert!(ResolvConf::read("/none").is_err());
    }

    #[test]
    fn the_last_search_list_counts() {
        let list = |text: &str| ResolvConf::parse(text).search.join(" ");
        assert_eq!(list("# search x\n search A.example b..c d.example.\n"), "A.example b..c d.example.");
        assert_eq!(list("search a b\ndomain c d\n"), "c");
        assert_eq!(list("domain c\nsearch a b\nsearching z\n"), "a b");
    }
}
