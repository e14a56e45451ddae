//! Rules that keep connection tracking away from queries to the local addresses.
//!
//! A packet that is not tracked is not translated either. So a packet to the ClusterIP of kube-dns
//! ends at the local interface with this address, although kube-proxy would redirect it, and
//! queries do not fill the connection tracking table.
//!
//! # Why nf_tables, and a table of its own
//!
//! node-cache runs the program iptables and puts its rules before the host's. Signpost talks to the
//! kernel through netlink, because an image then needs no program, and because nf_tables can do
//! what iptables cannot:
//!
//! - **All or nothing**: the table is replaced in one step. No rule is duplicated or half made, and
//!   there is no lock to wait for.
//! - **It ends with the process**: the table belongs to the socket that made it (kernel 5.12 and
//!   newer). However the process ends, the kernel removes the table, and kube-proxy directs queries
//!   to the ClusterIP to other pods again.
//! - **Other rules are not touched**: kube-proxy and firewalls have tables of their own, in all
//!   their modes; at the raw priority this one comes before connection tracking and all of theirs.
//!   `nft flush ruleset` does not remove it.
//!
//! The price: a separate table cannot accept what another one drops. iptables rules of node-cache
//! also accept port 53 of the local addresses before a host firewall's rules; a host that drops
//! unknown traffic has to accept it itself, and a warning says so.

use std::io;
use std::net::IpAddr;

use super::nft::{
    Attributes, Batch, Connection, DELETE_TABLE, GET_CHAIN, GET_RULE, INET, NEW_CHAIN, NEW_RULE, NEW_TABLE,
};

/// What `nft list ruleset` shows after each rule.
const COMMENT: &str = "NodeLocal DNS Cache: skip conntrack";

/// The table is removed with the socket that made it.
const OWNER: u32 = 2;

/// Hooks, and the name of the chain at each of them.
const PREROUTING: (&str, u32) = ("prerouting", 0);
const OUTPUT: (&str, u32) = ("output", 3);

/// The hook of packets to this host.
const INPUT: u32 = 1;

/// Before connection tracking (-200), at the priority of the iptables table raw.
const RAW: i32 = -300;

const TCP: u8 = 6;
const UDP: u8 = 17;

/// From or to the address, and the port there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Source,
    Destination,
}

/// One rule: packets of this protocol with this address and port on this side are not tracked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule {
    chain: (&'static str, u32),
    protocol: u8,
    side: Side,
    address: IpAddr,
    port: u16,
}

//----------- Rules ----------------------------------------------------------

/// The rules of a node cache and the socket that keeps them.
pub(super) struct Rules {
    /// The name of their table, which is the interface's, so that two node caches may share a node.
    name: String,
    rules: Vec<Rule>,
    /// Whether they stay when the process ends.
    stay: bool,
    /// Whether this process has put them in force: a table found before that is a predecessor's.
    in_force: bool,
    connection: Option<Connection>,
}

impl Rules {
    /// Returns the rules of these addresses for port 53 (or `port`) and the port of the *health*
    /// plugin, not yet in force.
    pub(super) fn new(name: &str, addresses: &[IpAddr], port: u16, health: u16, stay: bool) -> Self {
        let rules = addresses.iter().flat_map(|&address| of(address, port, health)).collect();
        Self { name: name.to_owned(), rules, stay, in_force: false, connection: None }
    }

    /// Puts the rules in force, in place of a predecessor's. Returns whether anything had to be
    /// done.
    ///
    /// # Errors
    /// The kernel's error; nothing has changed then.
    pub(super) fn ensure(&mut self) -> io::Result<bool> {
        if self.connection.is_none() {
            self.connection = Some(Connection::open()?);
        }
        let Some(connection) = &self.connection else { return Ok(false) };
        if self.in_force && self.count(connection)? == self.rules.len() {
            return Ok(false);
        }
        let owned = if self.stay { 0 } else { OWNER };
        match connection.run(self.batch(owned)) {
            // Kernels before 5.12 know no owner: the table stays if the process is killed, and the
            // next start replaces it.
            Err(error) if owned != 0 && is_unknown(&error) => connection.run(self.batch(0))?,
            done => done?,
        }
        self.in_force = true;
        Ok(true)
    }

    /// Removes them.
    ///
    /// # Errors
    /// The kernel's error.
    pub(super) fn remove(&mut self) -> io::Result<()> {
        let Some(connection) = self.connection.take() else { return Ok(()) };
        self.in_force = false;
        let mut batch = Batch::new();
        batch.add(DELETE_TABLE, &self.table());
        match connection.run(batch) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    /// Returns the chains of the host that drop packets by default, as `nft` names them: `ip filter
    /// INPUT`.
    ///
    /// # Errors
    /// The kernel's error.
    pub(super) fn dropping_chains(&self) -> io::Result<Vec<String>> {
        let Some(connection) = &self.connection else { return Ok(Vec::new()) };
        let chains = connection.list(GET_CHAIN, 0, &Attributes::default())?;
        Ok(chains.into_iter().filter_map(|(family, chain)| name_if_dropping(family, &chain)).collect())
    }

    fn count(&self, connection: &Connection) -> io::Result<usize> {
        let rules = connection.list(GET_RULE, INET, &self.table())?;
        Ok(rules.iter().filter(|(family, rule)| *family == INET && rule.get_text(1) == Some(&self.name)).count())
    }

    /// Returns the table's name, with which every message about the table and its contents begins.
    fn table(&self) -> Attributes {
        Attributes::default().text(1, &self.name)
    }

    /// Builds the whole table. The batch makes it so that it exists, deletes it and makes it again,
    /// so nothing of its former contents is left.
    fn batch(&self, flags: u32) -> Batch {
        let mut batch = Batch::new();
        batch.add(NEW_TABLE, &self.table());
        batch.add(DELETE_TABLE, &self.table());
        batch.add(NEW_TABLE, &self.table().number(2, flags));
        for (name, hook) in [PREROUTING, OUTPUT] {
            let place = Attributes::default().number(1, hook).number(2, RAW.cast_unsigned());
            batch.add(NEW_CHAIN, &self.table().text(3, name).nested(4, &place).text(7, "filter"));
        }
        for rule in &self.rules {
            // The comment in nft's format: a type, a length, a text.
            let comment = [&[0, COMMENT.len() as u8 + 1], COMMENT.as_bytes(), b"\0"].concat();
            let attributes = self.table().text(2, rule.chain.0).nested(4, &rule.expressions()).bytes(7, &comment);
            batch.add(NEW_RULE, &attributes);
        }
        batch
    }
}

/// Returns the name of a chain that packets to or from this host pass and that drops them by
/// default.
fn name_if_dropping(family: u8, chain: &Attributes) -> Option<String> {
    let family = match family {
        INET => "inet",
        2 => "ip",
        10 => "ip6",
        _ => return None,
    };
    let hook = chain.get_nested(4)?.get_number(1)?;
    let drops = chain.get_number(5)? == 0 && (hook == INPUT || hook == OUTPUT.1);
    drops.then(|| {
        format!("{family} {} {}", chain.get_text(1).unwrap_or_default(), chain.get_text(3).unwrap_or_default())
    })
}

fn is_unknown(error: &io::Error) -> bool {
    // EOPNOTSUPP and EINVAL.
    matches!(error.raw_os_error(), Some(95 | 22))
}

/// Returns the rules of one address: queries from pods and the replies, queries of the host itself
/// and of pods in its network, and the kubelet's probes of *health*, both ways.
fn of(address: IpAddr, port: u16, health: u16) -> Vec<Rule> {
    let mut rules = Vec::new();
    for protocol in [TCP, UDP] {
        rules.push(Rule { chain: PREROUTING, protocol, side: Side::Destination, address, port });
        rules.push(Rule { chain: OUTPUT, protocol, side: Side::Source, address, port });
        rules.push(Rule { chain: OUTPUT, protocol, side: Side::Destination, address, port });
    }
    for side in [Side::Destination, Side::Source] {
        rules.push(Rule { chain: OUTPUT, protocol: TCP, side, address, port: health });
    }
    rules
}

//----------- Expressions ----------------------------------------------------

impl Rule {
    fn expressions(&self) -> Attributes {
        let (family, address, at): (u8, Vec<u8>, _) = match self.address {
            IpAddr::V4(address) => (2, address.octets().into(), [12, 16]),
            IpAddr::V6(address) => (10, address.octets().into(), [8, 24]),
        };
        let side = usize::from(self.side == Side::Destination);
        let parts = [
            meta(15),
            equals(&[family]),
            meta(16),
            equals(&[self.protocol]),
            payload(1, at[side], address.len() as u32),
            equals(&address),
            payload(2, [0, 2][side], 2),
            equals(&self.port.to_be_bytes()),
            expression("notrack", &Attributes::default()),
        ];
        parts.iter().fold(Attributes::default(), |list, part| list.nested(1, part))
    }
}

/// Loads a property of the packet: 15 is its family, 16 its transport protocol.
fn meta(key: u32) -> Attributes {
    expression("meta", &Attributes::default().number(1, 1).number(2, key))
}

/// Loads octets of the network header (1) or of the transport header (2).
fn payload(header: u32, offset: u32, len: u32) -> Attributes {
    expression("payload", &Attributes::default().number(1, 1).number(2, header).number(3, offset).number(4, len))
}

/// Continues only if the loaded octets are these.
fn equals(octets: &[u8]) -> Attributes {
    let value = Attributes::default().bytes(1, octets);
    expression("cmp", &Attributes::default().number(1, 1).number(2, 0).nested(3, &value))
}

fn expression(name: &str, data: &Attributes) -> Attributes {
    Attributes::default().text(1, name).nested(2, data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_direction_of_an_address_has_one_rule() {
        let address: IpAddr = "169.254.20.10".parse().unwrap();
        let rules = of(address, 53, 8080);
        assert_eq!(rules.len(), 8);
        for (at, rule) in rules.iter().enumerate() {
            assert!(!rules[..at].contains(rule), "twice: {rule:?}");
        }
        assert_eq!(rules.iter().filter(|rule| rule.chain == PREROUTING).count(), 2);
        assert_eq!(rules.iter().filter(|rule| rule.port == 8080).count(), 2);
        assert_eq!(
            Rules::new("nodelocaldns", &[address, "fd00::10".parse().unwrap()], 53, 8080, false).rules.len(),
            16
        );
    }
}
