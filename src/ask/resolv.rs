//! The servers to ask and the names to ask for, as the resolver of this machine would.

use std::net::{IpAddr, Ipv4Addr};

use hickory_proto::rr::Name;

use super::options::WrittenName;
use crate::host::resolv::{RESOLV_CONF, ResolvConf};

/// The contents of `/etc/resolv.conf` that `ask` needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolver {
    /// The servers in order; this machine if the file has none.
    pub servers: Vec<IpAddr>,
    /// The search list.
    pub search: Vec<Name>,
    /// Names with at least so many dots are first asked for as they are.
    pub ndots: usize,
}

impl Default for Resolver {
    fn default() -> Self {
        Self { servers: vec![Ipv4Addr::LOCALHOST.into()], search: Vec::new(), ndots: 1 }
    }
}

impl Resolver {
    /// Reads the resolv.conf of this machine.
    ///
    /// # Errors
    /// What the system says about the file.
    pub fn read() -> Result<Self, String> {
        let help = |error| format!("{RESOLV_CONF}: {error}\nhelp: name the server: @ADDRESS");
        ResolvConf::read(RESOLV_CONF).map(|conf| Self::of(&conf)).map_err(help)
    }

    /// Takes the words of a file. Invalid addresses and names are skipped.
    fn of(conf: &ResolvConf) -> Self {
        let default = Self::default();
        let servers: Vec<IpAddr> = conf.name_servers.iter().filter_map(|word| word.parse().ok()).collect();
        Self {
            servers: if servers.is_empty() { default.servers } else { servers },
            search: conf.search.iter().filter_map(|word| Name::from_ascii(word).ok()).collect(),
            ndots: conf.ndots.unwrap_or(default.ndots),
        }
    }

    /// Returns the names to ask for, in the order in which glibc uses the search list.
    #[must_use]
    pub fn names(&self, asked: &WrittenName) -> Vec<Name> {
        let as_it_is = asked.absolute();
        if asked.is_absolute {
            return vec![as_it_is];
        }
        // Names that would be too long with the domain are skipped.
        let searched = self.search.iter().filter_map(|domain| asked.relative().append_domain(domain).ok());
        match asked.dots() >= self.ndots {
            true => std::iter::once(as_it_is).chain(searched).collect(),
            false => searched.chain(std::iter::once(as_it_is)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = "search a.svc.cluster.local svc.cluster.local. cluster.local\n# a comment\n\
        nameserver 10.96.0.10\nnameserver fe80::1%eth0\nnameserver fd00::10\noptions single-request ndots:5\n";

    fn names(name: &str) -> Vec<String> {
        Resolver::of(&ResolvConf::parse(POD))
            .names(&WrittenName::read(name).expect("a name"))
            .iter()
            .map(Name::to_string)
            .collect()
    }

    #[test]
    fn a_pods_file_is_read() {
        let conf = Resolver::of(&ResolvConf::parse(POD));
        assert_eq!(conf.servers, ["10.96.0.10".parse::<IpAddr>().unwrap(), "fd00::10".parse().unwrap()]);
        assert_eq!((conf.ndots, conf.search.len()), (5, 3));
        assert_eq!(Resolver::of(&ResolvConf::default()), Resolver::default());
    }

    #[test]
    fn the_search_list_is_walked_as_glibc_walks() {
        let wanted = ["web.a.svc.cluster.local.", "web.svc.cluster.local.", "web.cluster.local.", "web."];
        assert_eq!(names("web"), wanted);
        assert_eq!(names("web."), ["web."]);
        assert_eq!(names("a.b.c.d.e.f")[0], "a.b.c.d.e.f.");
        assert_eq!(names("a.b.c.d.e.f").len(), 4);
        assert_eq!(names(&["x".repeat(60).as_str(); 4].join(".")).len(), 1, "too long with any domain");
    }
}
