//! Whether server blocks can be served together: valid ports, and no zone twice.

use std::collections::HashMap;

use crate::error::{Complaint, Result};

use super::address::{Key, Transport};

/// What one server block serves, once its plugins are set up.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The block's keys.
    pub keys: &'a [Key],
    /// Addresses from `bind`; empty means all addresses.
    pub addresses: &'a [String],
    /// Whether a `view` decides which queries the block answers; such blocks may repeat a zone.
    pub filtered: bool,
}

impl<'a> Wanted<'a> {
    /// Returns each key on each address, in CoreDNS's order.
    fn seats(&self) -> impl Iterator<Item = (&'a Key, &'a str)> + use<'a> {
        let addresses = self.addresses;
        let all = addresses.is_empty().then_some("");
        self.keys.iter().flat_map(move |key| {
            all.into_iter().chain(addresses.iter().map(String::as_str)).map(move |address| (key, address))
        })
    }
}

/// Refuses invalid ports. CoreDNS does so after the set-up of all plugins.
///
/// # Errors
/// `address 65536: invalid port`.
pub fn check_ports(blocks: &[Wanted<'_>]) -> Result<()> {
    for key in blocks.iter().flat_map(|block| block.keys) {
        let fits = key.port.is_empty() || key.port.parse::<u16>().is_ok();
        if !fits {
            let complaint = key.word.complain(format!("address {}: invalid port", key.port));
            return Err(complaint.hint("a port is a number from 0 to 65535").into());
        }
    }
    Ok(())
}

/// Refuses a zone that is served twice on the same transport and port: twice at the same address,
/// or at one address and at all of them. Call it when the addresses and views of all blocks are
/// known.
///
/// # Errors
/// `cannot serve dns://x.:53 - it is already defined`, or
/// `... - zone overlap listener capacity with ...`.
pub fn check_overlaps(blocks: &[Wanted<'_>]) -> Result<()> {
    let mut taken = Taken::default();
    for block in blocks {
        for (key, address) in block.seats() {
            taken.check(key, address, block.filtered)?;
            if !block.filtered {
                taken.take(key, address);
            }
        }
    }
    Ok(())
}

/// Transport, zone and port: two blocks must not share these.
type Site<'a> = (Transport, &'a str, &'a str);

#[derive(Default)]
struct Taken<'a> {
    seats: HashMap<(Site<'a>, &'a str), &'a Key>,
    /// The address of the latest block that took a site.
    latest: HashMap<Site<'a>, (&'a Key, &'a str)>,
}

impl<'a> Taken<'a> {
    fn check(&self, key: &'a Key, address: &'a str, filtered: bool) -> Result<()> {
        let site = site(key);
        if let Some(first) = self.seats.get(&(site, address)) {
            if filtered {
                return Ok(());
            }
            let seat = shown(key, address);
            let complaint = key.word.complain(format!("cannot serve {seat} - it is already defined"));
            return Err(first_seen(complaint, first).into());
        }
        let other = match self.latest.get(&site) {
            Some(&other) if address.is_empty() => Some(other),
            _ => self.seats.get(&(site, "")).map(|&key| (key, "")),
        };
        let Some((other, at)) = other else {
            return Ok(());
        };
        let message =
            format!("cannot serve {} - zone overlap listener capacity with {}", shown(key, address), shown(other, at));
        let complaint = key.word.complain(message).hint("bind both blocks to different addresses, or neither");
        Err(first_seen(complaint, other).into())
    }

    fn take(&mut self, key: &'a Key, address: &'a str) {
        self.seats.insert((site(key), address), key);
        self.latest.insert(site(key), (key, address));
    }
}

fn site(key: &Key) -> Site<'_> {
    (key.transport, &key.zone, &key.port)
}

fn shown(key: &Key, address: &str) -> String {
    if address.is_empty() { key.to_string() } else { format!("{key} on {address}") }
}

fn first_seen(complaint: Complaint, key: &Key) -> Complaint {
    complaint.hint(format!("the first of both stands at {}:{}", key.word.file(), key.word.line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corefile::{Vocabulary, address, parse};

    /// Checks blocks given as `keys
    /// addresses
    /// view`, one a line.
    fn check(blocks: &[(&str, &[&str], bool)]) -> std::result::Result<(), String> {
        let text: String = blocks.iter().map(|(keys, ..)| format!("{keys} {{\n}}\n")).collect();
        let vocabulary = Vocabulary { served: &[], elsewhere: &[] };
        let corefile = parse(&text, "Corefile", &|_| None, &vocabulary).expect("a good Corefile");
        let keys: Vec<Vec<Key>> =
            corefile.blocks.iter().map(|block| address::keys(block, "53").expect("good keys")).collect();
        let addresses: Vec<Vec<String>> =
            blocks.iter().map(|(_, addresses, _)| addresses.iter().map(ToString::to_string).collect()).collect();
        let wanted: Vec<Wanted<'_>> = (0..blocks.len())
            .map(|at| Wanted { keys: &keys[at], addresses: &addresses[at], filtered: blocks[at].2 })
            .collect();
        check_ports(&wanted)
            .and_then(|()| check_overlaps(&wanted))
            .map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned())
    }

    #[test]
    fn a_zone_is_served_once() {
        assert_eq!(
            check(&[("example.org", &[], false), ("dns://Example.org:53", &[], false)]),
            Err("Corefile:3 - cannot serve dns://example.org.:53 - it is already defined".to_owned())
        );
        assert_eq!(check(&[(".:53 tls://.:53 .:54", &[], false), ("a:53", &["::1"], false)]), Ok(()));
        assert!(check(&[(".", &["::1", "::1"], false)]).is_err());
    }

    #[test]
    fn one_address_and_all_addresses_overlap() {
        assert_eq!(
            check(&[(".:53", &[], false), (".:53", &["127.0.0.1"], false)]),
            Err("Corefile:3 - cannot serve dns://.:53 on 127.0.0.1 - zone overlap listener capacity with dns://.:53"
                .to_owned())
        );
        assert_eq!(
            check(&[(".:53", &["127.0.0.1"], false), (".:53", &[], false)]),
            Err("Corefile:3 - cannot serve dns://.:53 - zone overlap listener capacity with dns://.:53 on 127.0.0.1"
                .to_owned())
        );
        assert_eq!(check(&[(".:53", &["127.0.0.1"], false), (".:53", &["127.0.0.2"], false)]), Ok(()));
    }

    #[test]
    fn a_view_may_repeat_a_zone_but_not_overlap() {
        assert_eq!(check(&[(".:53", &[], true), (".:53", &[], false), (".:53", &[], true)]), Ok(()));
        assert!(check(&[(".:53", &[], false), (".:53", &["127.0.0.1"], true)]).is_err());
    }

    #[test]
    fn a_port_has_sixteen_bits() {
        assert_eq!(check(&[(".:0 .:65535", &[], false)]), Ok(()));
        assert_eq!(check(&[(".:65536", &[], false)]), Err("Corefile:1 - address 65536: invalid port".to_owned()));
        assert!(check(&[(".:-5", &[], false)]).is_err());
    }
}
