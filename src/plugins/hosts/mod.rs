//! # hosts — answer from a hosts file
//!
//! Serves the addresses of names, and the names of addresses, from a file in the format of
//! `/etc/hosts` (hosts(5)) and from lines of the Corefile. Answers are encoded when the file is
//! read; a query only looks them up.
//!
//! ## Syntax
//!
//! ```text
//! hosts [FILE [ZONES...]] {
//!     ADDRESS NAMES...
//! }
//! ```
//!
//! - **FILE** defaults to `/etc/hosts`. If it is missing, there is a warning, and it is read as
//!   soon as it exists. If it is removed, its entries stay.
//! - **ZONES** default to those of the server block. Other names of the file are left out, and
//!   questions about them go to the next plugin. PTR records are served for every address.
//! - `*.example.org` is a wildcard: it stands for every name that is one label longer than
//!   `example.org` and has no addresses of that family itself. It has no PTR record.
//! - **ADDRESS NAMES** is an entry, as in the file; entries of the file come first. Entries have to
//!   stand above `fallthrough`; below it they are refused.
//!
//! A name that has only addresses of the other family gets NODATA, without a SOA. A name without an
//! entry gets SERVFAIL unless `fallthrough` is given: NXDOMAIN would need a SOA. The reverse name
//! of an address without an entry goes to the next plugin.
//!
//! The file may be read while it is being written. So the server waits until the file has not
//! changed for a moment. If it is empty, or its last line has no line end, the server takes it over
//! only if it is still the same at the next look.
//!
//! ## Examples
//!
//! What k3s has, so that pods find nodes by their names:
//!
//! ```corefile
//! .:53 {
//!     hosts /etc/coredns/NodeHosts {
//!         ttl 60
//!         reload 15s
//!         fallthrough
//!     }
//!     forward . 192.0.2.53
//! }
//! ```
//!
//! ```corefile
//! example.org {
//!     hosts /etc/hosts example.org {
//!         10.0.0.1 web.example.org www.example.org
//!         10.0.0.2 *.dev.example.org
//!     }
//! }
//! ```
//!
//! ## Metrics
//!
//! - `coredns_hosts_entries{hostsfile}`: addresses of names and names of addresses, those in the
//!   Corefile included.
//! - `coredns_hosts_reload_timestamp_seconds`: when the file that was read last was written.

mod file;
pub mod parse;
mod setup;
pub mod table;

use std::sync::Arc;

use crate::chain::doc::doc_of;
use crate::chain::setup::{Registration, Setup};
use crate::chain::zones::{Fallthrough, Zones};
use crate::chain::{Here, Plugin, Query, Reply, Step};
use crate::error::Result;
use crate::host::metrics::Family;
use crate::wire::answer::Answer;
use crate::wire::name::Name;
use crate::wire::packed::Packed;
use crate::wire::request::flag;
use crate::wire::reverse::{self, Reverse};
use crate::wire::types::{class, rcode, rtype};
use file::{Gauges, HostsFile};

/// The registration of this plugin.
pub const PLUGIN: Registration =
    Registration { name: "hosts", setup, doc: doc_of!("mod.rs"), options: &[&setup::OPTIONS] };

static ENTRIES: Family = Family {
    name: "coredns_hosts_entries",
    help: "The combined number of entries in hosts and Corefile.",
    labels: &["hostsfile"],
};
static RELOADED: Family = Family {
    name: "coredns_hosts_reload_timestamp_seconds",
    help: "The timestamp of the last reload of hosts file.",
    labels: &[],
};

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let setup::Directive { source, reload, fallthrough, unsupported_falls } = setup::read(s)?;
    let zones = source.zones.clone();
    let path = source.path.display().to_string();
    let metrics = &s.host.metrics;
    let gauges = Gauges { entries: metrics.gauge(&ENTRIES, &[&path]), reloaded: metrics.gauge(&RELOADED, &[]) };
    let file = Arc::new(HostsFile::open(source, gauges));
    let followed = file.clone();
    s.task("hosts", move || file::follow(followed, reload));
    let no_data = Packed::new(&Answer::no_data(flag::AA));
    s.chain(Hosts { zones, file, fallthrough, unsupported_falls, no_data });
    Ok(())
}

/// The plugin of one server block.
struct Hosts {
    zones: Zones,
    file: Arc<HostsFile>,
    fallthrough: Fallthrough,
    unsupported_falls: bool,
    no_data: Packed,
}

impl Plugin for Hosts {
    fn ask(&self, query: &mut Query<'_>, _: &Here<'_>) -> Step {
        // Each class has its own data; this plugin serves class IN.
        if query.question.qclass != class::IN {
            return Step::Next;
        }
        if query.question.qtype == rtype::PTR {
            return self.pointer(&query.question.name);
        }
        if !self.zones.holds(&query.question.name) {
            return Step::Next;
        }
        self.name(&query.question.name, query.question.qtype)
    }
}

impl Hosts {
    /// Returns the names of an address, in whichever zone its reverse name is.
    fn pointer(&self, name: &Name) -> Step {
        let Some(Reverse::Address(address)) = reverse::parse(name) else { return Step::Next };
        match self.file.table().address(address) {
            Some(answer) => Step::Answer(Reply::memory(answer.answer())),
            None => Step::Next,
        }
    }

    fn name(&self, name: &Name, qtype: u16) -> Step {
        let falls = || self.fallthrough.holds(name);
        let is_supported = matches!(qtype, rtype::A | rtype::AAAA);
        if !is_supported && self.unsupported_falls && falls() {
            return Step::Next;
        }
        let table = self.file.table();
        let Some(found) = table.name(name) else {
            return if falls() { Step::Next } else { Step::Answer(Reply::server(rcode::SERVFAIL)) };
        };
        let answer = match qtype {
            rtype::A => found.a.as_ref(),
            rtype::AAAA => found.aaaa.as_ref(),
            _ => None,
        };
        Step::Answer(Reply::memory(answer.unwrap_or(&self.no_data).answer()))
    }
}

#[cfg(test)]
mod tests;
