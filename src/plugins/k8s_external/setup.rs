//! Reads the directive from the Corefile.

use crate::chain::external::OfferedExternals;
use crate::chain::options::{OptionOf, OptionsOf, unknown_property};
use crate::chain::setup::Setup;
use crate::chain::zones::{Fallthrough, Zones};
use crate::corefile::{Cursor, Word};
use crate::error::Result;
use crate::wire::name::Name;

/// The contents of a directive.
pub(super) struct Directive {
    /// The zones in lower case. PTR targets end in the first.
    pub(super) zones: Zones,
    /// TTL in seconds.
    pub(super) ttl: u32,
    pub(super) headless: bool,
    /// The labels that the name server's name is below.
    apex: Box<[u8]>,
    /// The name server, relative to the zone.
    pub(super) name_server: Box<[u8]>,
    /// The hostmaster's mailbox, relative to the zone.
    pub(super) hostmaster: Box<[u8]>,
    fallthrough: Fallthrough,
}

impl Directive {
    fn new() -> Self {
        let mut directive = Self {
            zones: Zones::default(),
            ttl: 5,
            headless: false,
            apex: Box::default(),
            name_server: Box::default(),
            hostmaster: Box::default(),
            fallthrough: Fallthrough::default(),
        };
        directive.set_apex(b"\x03dns");
        directive
    }

    fn set_apex(&mut self, apex: &[u8]) {
        self.apex = apex.into();
        self.name_server = [b"\x03ns1", apex].concat().into();
        self.hostmaster = [b"\x0Ahostmaster", apex].concat().into();
    }

    /// Returns the labels before `apex` if `base`, the lower-case part before the zone, ends in it.
    pub(super) fn below_apex<'n>(&self, base: &'n [u8]) -> Option<&'n [u8]> {
        let front = base.len().checked_sub(self.apex.len())?;
        let mut at = 0;
        while at < front {
            at += 1 + usize::from(base[at]);
        }
        (at == front && base[front..] == *self.apex).then(|| &base[..front])
    }

    /// Whether a missing name goes to the next plugin.
    pub(super) fn falls_through(&self, name: &Name) -> bool {
        self.fallthrough.holds(name)
    }

    /// Returns the zones in which no name ever goes to the next plugin.
    pub(super) fn own_zones(&self) -> impl Iterator<Item = Name> + '_ {
        self.fallthrough.never(&self.zones)
    }
}

/// Reads the directives of a server block. The last one decides the zones and each option.
pub(super) fn read(s: &mut Setup<'_>) -> Result<(Directive, OfferedExternals)> {
    let mut cursor = s.cursor();
    let mut directive = Directive::new();
    let mut externals = OfferedExternals::default();
    while cursor.next_occurrence() {
        let complaint = cursor.complain(cursor.word(), "kubernetes plugin not loaded");
        externals = s.externals(complaint.hint("it names what kubernetes knows: both stand in one server block"));
        let args = cursor.args();
        directive.zones = Zones::read(&cursor, &args, s.keys);
        OPTIONS.read(&mut cursor, &mut directive, s)?;
    }
    Ok((directive, externals))
}

pub(super) static OPTIONS: OptionsOf<Directive> = OptionsOf {
    all: &[
        OptionOf {
            name: "apex",
            form: "LABEL",
            about: "The name server is `ns1.LABEL.ZONE` (dns).",
            read: |cursor, directive, _| {
                let label = cursor.args_of(1..)?[0];
                let name = Name::from_text(label.as_str()).ok().filter(|name| !name.is_root()).map(Name::lowered);
                let Some(name) = name else {
                    return Err(cursor.error_at(label, format!("apex must be a label: {label}")));
                };
                directive.set_apex(&name.wire()[..name.len() - 1]);
                Ok(())
            },
        },
        OptionOf {
            name: "fallthrough",
            form: "[ZONES...]",
            about: "Names in these zones (all) that do not exist are passed to the next plugin.",
            read: |cursor, directive, _| {
                let zones = cursor.args();
                directive.fallthrough = Fallthrough::read(cursor, &zones);
                Ok(())
            },
        },
        OptionOf {
            name: "headless",
            form: "",
            about: "Endpoints of headless Services that have no address outside of the cluster have names too.",
            // The rest of the line is read as another option, as in CoreDNS.
            read: |_, directive, _| {
                directive.headless = true;
                Ok(())
            },
        },
        OptionOf {
            name: "ttl",
            form: "SECONDS",
            about: "The TTL of addresses, PTR and SOA, 0 to 3600 (5). SRV and CNAME have that of `kubernetes`.",
            read: |cursor, directive, _| {
                let seconds = cursor.args_of(1..)?[0];
                directive.ttl = ttl(cursor, seconds)?;
                Ok(())
            },
        },
    ],
    unknown: unknown_property,
};

fn ttl(cursor: &Cursor<'_>, word: &Word) -> Result<u32> {
    let seconds = cursor.integer(word)?;
    match u32::try_from(seconds) {
        Ok(seconds) if seconds <= 3600 => Ok(seconds),
        _ => Err(cursor.error_at(word, format!("ttl must be in range [0, 3600]: {seconds}"))),
    }
}
