//! IPv6 addresses that contain an IPv4 address (RFC 6052), and answers in which they replace the
//! IPv4 addresses.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::adopt::Records;
use super::answer::Answer;
use super::encode::{Encoder, Names};
use super::name::Name;
use super::question::Question;
use super::request::flag;
use super::types::rtype;

/// The network for translated IPv4 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// The network; bits beyond its length are ignored.
    pub address: Ipv6Addr,
    /// Its length in bits: 32, 40, 48, 56, 64 or 96.
    pub length: u8,
}

impl Prefix {
    /// Returns the address for `address`: it follows the prefix, and octet 8 stays 0 (RFC 6052
    /// section 2.2).
    #[must_use]
    pub fn with(&self, address: Ipv4Addr) -> Ipv6Addr {
        let (mut octets, mut at) = ([0; 16], usize::from(self.length / 8).min(12));
        octets[..at].copy_from_slice(&self.address.octets()[..at]);
        for octet in address.octets() {
            if at == 8 {
                at += 1;
            }
            octets[at] = octet;
            at += 1;
        }
        octets.into()
    }
}

/// Returns the answer to `question`, which asks for A records, as the answer to a question for AAAA
/// records. `asked` is its name in the client's case.
///
/// Each address is put behind the prefix and lives for at most `limit` seconds; other records stay.
/// `ttl` (seconds) replaces the records' own TTLs.
#[must_use]
pub fn translated(
    answer: &Answer,
    question: &Question,
    asked: &Name,
    ttl: Option<u32>,
    limit: u32,
    prefix: Prefix,
) -> Arc<Answer> {
    let records = Records::new(answer, question, ttl);
    let mut names = Names::new(*asked);
    let mut translated = Encoder::build(asked.len(), |e| {
        e.rcode(answer.rcode);
        // No zone contains these records.
        e.flags(answer.flags & !flag::AA);
        // Leading aliases keep their place in every order, so later names may point to them.
        let mut aliases = true;
        for index in 0..answer.records.len() {
            let Some((owner, fixed)) = records.owner(index) else { continue };
            let owner = if owner.wire().eq_ignore_ascii_case(asked.wire()) { *asked } else { owner };
            let record = answer.record(index);
            let ttl = records.ttl.unwrap_or(record.ttl);
            aliases &= record.rtype == rtype::CNAME;
            let v4 = <[u8; 4]>::try_from(record.rdata)
                .ok()
                .filter(|_| record.rtype == rtype::A && index < usize::from(answer.counts[0]));
            if let Some(v4) = v4 {
                let v6 = prefix.with(v4.into()).octets();
                names.record_in(record.section, e, &owner, rtype::AAAA, ttl.min(limit), |e, _| e.put(&v6));
                continue;
            }
            let data = records.data(index, fixed);
            names.record_in(record.section, e, &owner, record.rtype, ttl, |e, names| {
                data.rewrite(e, |e, name| {
                    let _ = if aliases { names.put(e, name) } else { names.put_unnoted(e, name) };
                });
            });
        }
    });
    translated.options.clone_from(&answer.options);
    Arc::new(translated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_the_rfc() {
        // RFC 6052 section 2.4, all for 192.0.2.33.
        for (prefix, length, wanted) in [
            ("2001:db8::", 32, "2001:db8:c000:221::"),
            ("2001:db8:100::", 40, "2001:db8:1c0:2:21::"),
            ("2001:db8:122::", 48, "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::", 56, "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::", 64, "2001:db8:122:344:c0:2:2100::"),
            ("2001:db8:122:344::", 96, "2001:db8:122:344::192.0.2.33"),
        ] {
            let prefix = Prefix { address: prefix.parse().expect("an address"), length };
            assert_eq!(prefix.with([192, 0, 2, 33].into()), wanted.parse::<Ipv6Addr>().expect("an address"));
        }
    }
}
