//! Reads the weight file, and draws by weight.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::order::{SECTIONS, Sorted};
use crate::corefile::value::{Span, ip, unsigned};
use crate::error::{is_out_of_files, words};
use crate::host::log;
use crate::wire::answer::{Answer, Section};
use crate::wire::name::Name;

const FROM: &str = "loadbalance";
const NOT_OPENED: &str = "weight file open error";

/// Weights by domain (lower case) and address.
type Domains = HashMap<Name, Vec<(IpAddr, u8)>>;

//----------- Weights --------------------------------------------------------

/// The contents of a weight file.
pub(super) struct Weights {
    path: PathBuf,
    domains: ArcSwap<Domains>,
    /// The text that was read last.
    text: Mutex<Option<Vec<u8>>>,
}

impl Weights {
    /// Reads the file. If it cannot be opened, that is only a warning if it will be read again.
    pub(super) fn open(path: PathBuf, reload: Duration, warn: impl FnOnce(String)) -> Result<Self, String> {
        let weights = Self { path, domains: ArcSwap::default(), text: Mutex::default() };
        match weights.read() {
            Err(why) if why == NOT_OPENED && !reload.is_zero() => {
                let again = Span::from(reload);
                warn(format!("Failed to open weight file:{why}. Will try again in {again}"));
            }
            result => result?,
        }
        Ok(weights)
    }

    /// Uses the contents of the file if they have changed; an invalid file changes nothing.
    fn read(&self) -> Result<(), String> {
        let bytes = std::fs::read(&self.path).map_err(|error| match is_out_of_files(&error) {
            // A reload at that moment would lose the weights.
            true => format!("{NOT_OPENED}: {}", words(&error)),
            false => NOT_OPENED.to_owned(),
        })?;
        let mut last = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref() == Some(&bytes) {
            return Ok(());
        }
        let file = self.path.display().to_string();
        let domains = parse(&String::from_utf8_lossy(&bytes), &file);
        // A mistake is reported once, not at every check.
        *last = Some(bytes);
        self.domains.store(Arc::new(domains?));
        log::info(FROM, format_args!("Successfully reloaded weight file {file}"));
        Ok(())
    }

    /// Returns the order: in Answer and Additional, the drawn address changes places with the
    /// first.
    pub(super) fn order(&self, answer: &Answer, asked: &[u8]) -> Arc<[u16]> {
        let domains = self.domains.load();
        let mut order = Vec::with_capacity(answer.counts.iter().map(|&count| usize::from(count)).sum());
        for section in SECTIONS {
            let first = order.len() as u16;
            let mut sorted = Sorted::new(answer, section);
            if section == Section::Authority || sorted.addresses.is_empty() {
                order.extend(first..first + answer.counts[section as usize]);
                continue;
            }
            let weight = |&(index, address): &(u16, IpAddr)| {
                let owner = answer.owner(usize::from(index), asked).map(Name::lowered);
                owner.and_then(|owner| weight_of(&domains, &owner, address)).unwrap_or(1)
            };
            let weights: Vec<u32> = sorted.addresses.iter().map(|entry| u32::from(weight(entry))).collect();
            let drawn = draw(&weights, fastrand::u32(0..weights.iter().sum::<u32>().max(1)));
            sorted.addresses.swap(0, drawn);
            order.extend(sorted.aliases.iter().chain(&sorted.others));
            order.extend(sorted.addresses.iter().map(|(index, _)| index));
            order.extend(sorted.exchanges);
        }
        order.into()
    }
}

fn weight_of(domains: &Domains, owner: &Name, address: IpAddr) -> Option<u8> {
    let known = domains.get(owner)?;
    known.iter().find(|(listed, _)| *listed == address).map(|&(_, weight)| weight)
}

/// Returns the index whose weight `ticket` falls on; tickets count from 0 to the sum of weights.
fn draw(weights: &[u32], mut ticket: u32) -> usize {
    for (index, &weight) in weights.iter().enumerate() {
        if ticket < weight {
            return index;
        }
        ticket -= weight;
    }
    0
}

/// Checks the file periodically.
pub(super) async fn follow(weights: Arc<Weights>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        if let Err(why) = weights.read() {
            log::error(FROM, format_args!("{why}"));
        }
    }
}

//----------- Parsing --------------------------------------------------------

fn parse(text: &str, file: &str) -> Result<Domains, String> {
    let mut domains = Domains::new();
    let (mut named, mut domain) = (false, None);
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            [name] => {
                if ip(name).is_some() {
                    return Err(format!(
                        "wrong domain name:\"{name}\" in weight file {file}. (Maybe a missing weight value?)"
                    ));
                }
                // An invalid name belongs to no record.
                (named, domain) = (true, Name::from_text(name).ok().map(Name::lowered));
            }
            [address, weight] => {
                let known =
                    ip(address).ok_or_else(|| format!("wrong IP address:\"{address}\" in weight file {file}"))?;
                let weight = unsigned(weight, 8)
                    .ok()
                    .filter(|&weight| weight > 0)
                    .ok_or_else(|| format!("wrong weight value:\"{weight}\" in weight file {file}"))?;
                if !named {
                    return Err(format!("missing domain name in weight file {file}"));
                }
                if let Some(domain) = domain {
                    domains.entry(domain).or_default().push((known.to_canonical(), weight as u8));
                }
            }
            _ => return Err(format!("could not parse weight line:\"{line}\" in weight file {file}")),
        }
    }
    Ok(domains)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        parse(text, "W").map_or_else(|why| why, |domains| format!("{} domains", domains.len()))
    }

    #[test]
    fn a_weight_file_is_read_as_coredns_reads_it() {
        assert_eq!(refused("# c\n\na.test\n 10.0.0.1\t5\nb.test.\n::1 255\n"), "2 domains");
        assert_eq!(refused(""), "0 domains");
        assert_eq!(refused("a..b\n10.0.0.1 2\n"), "0 domains");
        for (text, why) in [
            ("a.test\n10.0.0.1 0\n", "wrong weight value:\"0\" in weight file W"),
            ("a.test\n10.0.0.1 256\n", "wrong weight value:\"256\" in weight file W"),
            ("a.test\n10.0.0.1 +4\n", "wrong weight value:\"+4\" in weight file W"),
            ("10.0.0.1 3\n", "missing domain name in weight file W"),
            ("a b c\n", "could not parse weight line:\"a b c\" in weight file W"),
            ("a.test\n10.0.0.01 4\n", "wrong IP address:\"10.0.0.01\" in weight file W"),
            ("10.0.0.1\n", "wrong domain name:\"10.0.0.1\" in weight file W. (Maybe a missing weight value?)"),
        ] {
            assert_eq!(refused(text), why);
        }
    }

    #[test]
    fn every_ticket_draws_by_weight() {
        let drawn: Vec<usize> = (0..6).map(|ticket| draw(&[1, 3, 2], ticket)).collect();
        assert_eq!(drawn, [0, 1, 1, 1, 2, 2]);
    }
}
