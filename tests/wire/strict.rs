//! A parser of messages that tolerates no violation.

use std::collections::HashSet;

use signpost::wire::types::rtype;

/// The contents of a valid message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) truncated: bool,
    pub(crate) rcode: u16,
    /// Records in Answer, Authority and Additional, OPT not counted.
    pub(crate) counts: [usize; 3],
    /// Types and names in the data of the records in Answer, in wire form.
    pub(crate) targets: Vec<(u16, Vec<u8>)>,
    /// Classes of all records but OPT.
    pub(crate) classes: HashSet<u16>,
}

/// Reads a reply to `query`, or returns which rule it breaks.
pub(crate) fn read(message: &[u8], query: &[u8]) -> Result<Read, String> {
    let mut walk = Walk { message, at: 12, labels: HashSet::new() };
    if message.len() < 12 || message[..2] != query[..2] || message[2] & 0x80 == 0 {
        return Err("no reply to this query".into());
    }
    let word = |at: usize| usize::from(u16::from_be_bytes([message[at], message[at + 1]]));
    if word(4) != 1 {
        return Err(format!("{} questions", word(4)));
    }
    let (asked, _) = walk.name()?;
    walk.take(4)?;
    if message[12..walk.at] != query[12..12 + asked.len() + 4] {
        return Err("another question".into());
    }
    let mut read = Read {
        truncated: message[2] & 2 != 0,
        rcode: u16::from(message[3] & 0xF),
        counts: [0; 3],
        targets: Vec::new(),
        classes: HashSet::new(),
    };
    let mut has_opt = false;
    for section in 0..3 {
        for _ in 0..word(6 + 2 * section) {
            let (owner, _) = walk.name()?;
            let fixed = walk.take(10)?;
            let (kind, class) = (u16::from_be_bytes([fixed[0], fixed[1]]), u16::from_be_bytes([fixed[2], fixed[3]]));
            let end = walk.at + usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
            let names = walk.data(kind, end)?;
            if kind == rtype::OPT {
                if section != 2 || has_opt || owner != [0] {
                    return Err("an OPT that may not be".into());
                }
                has_opt = true;
                continue;
            }
            if fixed[4] & 0x80 != 0 {
                return Err("a negative TTL".into());
            }
            read.counts[section] += 1;
            read.classes.insert(class);
            if section == 0 {
                read.targets.extend(names.into_iter().map(|name| (kind, name)));
            }
        }
    }
    match walk.at == message.len() {
        true => Ok(read),
        false => Err(format!("{} octets are left over", message.len() - walk.at)),
    }
}

struct Walk<'a> {
    message: &'a [u8],
    at: usize,
    /// Where names and their labels begin: pointers may point only there.
    labels: HashSet<usize>,
}

impl<'a> Walk<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let part = self.message.get(self.at..self.at + count).ok_or("cut off")?;
        self.at += count;
        Ok(part)
    }

    /// Reads the name here; returns it without compression, and whether it was compressed.
    fn name(&mut self) -> Result<(Vec<u8>, bool), String> {
        let (mut name, mut at, mut end) = (Vec::new(), self.at, None);
        // A later name may point here, even if this one is a pointer itself.
        self.labels.insert(at);
        loop {
            let len = usize::from(*self.message.get(at).ok_or("a name that is cut off")?);
            if len & 0xC0 == 0xC0 {
                let low = *self.message.get(at + 1).ok_or("a pointer that is cut off")?;
                let target = (len & 0x3F) << 8 | usize::from(low);
                if target >= at || !self.labels.contains(&target) {
                    return Err(format!("a pointer at {at} to {target}, where no label stands"));
                }
                end.get_or_insert(at + 2);
                at = target;
                continue;
            }
            if len > 63 {
                return Err(format!("a label of {len} octets"));
            }
            self.labels.insert(at);
            name.extend_from_slice(self.message.get(at..=at + len).ok_or("a label that is cut off")?);
            if name.len() > 255 {
                return Err("a name of more than 255 octets".into());
            }
            if len == 0 {
                self.at = end.unwrap_or(at + 1);
                return Ok((name, end.is_some()));
            }
            at += 1 + len;
        }
    }

    /// Returns the names in a record's data, which has to fill its length.
    fn data(&mut self, kind: u16, end: usize) -> Result<Vec<Vec<u8>>, String> {
        let (before, names, after, pointers) = match kind {
            rtype::A => (4, 0, 0, false),
            rtype::AAAA => (16, 0, 0, false),
            rtype::CNAME | rtype::NS | rtype::PTR => (0, 1, 0, true),
            rtype::MX => (2, 1, 0, true),
            rtype::SOA => (0, 2, 20, true),
            rtype::SRV => (6, 1, 0, false),
            rtype::DNAME => (0, 1, 0, false),
            rtype::TXT => {
                while self.at < end {
                    let len = self.take(1)?[0];
                    self.take(usize::from(len))?;
                }
                (0, 0, 0, false)
            }
            _ => (end.saturating_sub(self.at), 0, 0, false),
        };
        self.take(before)?;
        let mut found = Vec::new();
        for _ in 0..names {
            let (name, is_compressed) = self.name()?;
            if is_compressed && !pointers {
                return Err(format!("a compressed name in a record of type {kind}"));
            }
            found.push(name);
        }
        self.take(after)?;
        if self.at == end { Ok(found) } else { Err(format!("RDLENGTH of a record of type {kind}")) }
    }
}
