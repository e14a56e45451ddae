//! # k8s_external — names for what Services have outside of the cluster
//!
//! `SERVICE.NAMESPACE.ZONE` has the addresses in the `externalIPs` of a Service and those that its
//! load balancer reports: A, AAAA, SRV (and `_PORT._PROTOCOL` in front), PTR, and an alias where
//! the load balancer has a host name. It needs `kubernetes` in the same server block, and serves
//! the Services that `kubernetes` serves.
//!
//! ## Syntax
//!
//! ```text
//! k8s_external [ZONE...] {
//! }
//! ```
//!
//! - **ZONE** is a zone that the plugin answers for; by default the zones of the server block. PTR
//!   records end in the first one.
//!
//! ## Examples
//!
//! ```corefile
//! .:53 {
//!     kubernetes cluster.local {
//!         manifests ./demo
//!     }
//!     k8s_external example.org {
//!         headless
//!     }
//! }
//! ```
//!
//! ## Metrics
//!
//! None of its own: `prometheus` counts its replies.

mod alias;
mod answer;
mod setup;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::answer::{Made, Making};
use self::setup::Directive;
use crate::chain::doc::doc_of;
use crate::chain::external::{Externals, OfferedExternals};
use crate::chain::setup::{Registration, Setup};
use crate::chain::{Here, Plugin, Query, Reply, Step};
use crate::error::Result;
use crate::wire::name::Name;
use crate::wire::reverse::{self, Reverse};
use crate::wire::types::{class, rcode, rtype};

/// The registration of this plugin.
pub const PLUGIN: Registration =
    Registration { name: "k8s_external", setup, doc: doc_of!("mod.rs"), options: &[&setup::OPTIONS] };

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let (directive, externals) = setup::read(s)?;
    s.answers_from_memory(directive.own_zones());
    s.chain(External { directive, externals });
    Ok(())
}

/// The plugin of one server block.
struct External {
    directive: Directive,
    externals: OfferedExternals,
}

impl Plugin for External {
    fn ask(&self, query: &mut Query<'_>, here: &Here<'_>) -> Step {
        let Some(zone) = self.directive.zones.longest(&query.question.name) else {
            return Step::Next;
        };
        // A Corefile without a plugin that knows the services is refused.
        let Some(externals) = self.externals.get() else { return Step::Next };
        match (query.question.qclass, query.question.qtype) {
            (class::IN, rtype::AXFR | rtype::IXFR) => Step::Answer(Reply::server(rcode::REFUSED)),
            (class::IN, _) => self.answer(externals, zone, query, here),
            // Each class has its own data; this plugin serves class IN.
            _ => Step::Answer(Reply::server(rcode::REFUSED)),
        }
    }
}

impl External {
    fn answer(&self, externals: &Arc<dyn Externals>, zone: &Name, query: &Query<'_>, here: &Here<'_>) -> Step {
        let asked = query.asked_now();
        let making = Making { directive: &self.directive, externals: &**externals, asked, zone_len: zone.len() };
        let base = &query.question.name.wire()[..query.question.name.len() - zone.len()];
        let made = if base.is_empty() {
            making.apex(query.question.qtype)
        } else if let Some(front) = self.directive.below_apex(base) {
            making.below_apex(front, query.question.qtype)
        } else {
            let reverse = reverse_of(query).and_then(|name| making.reverse(name, query.question.qtype));
            reverse.unwrap_or_else(|| making.find(base, query.question.qtype))
        };
        match made {
            Made::Answer(answer) => Step::Answer(Reply::memory(answer)),
            Made::NoData => Step::Answer(Reply::memory(making.denial(rcode::NOERROR))),
            Made::Nothing => Step::Answer(Reply::memory(making.denial(rcode::NXDOMAIN))),
            Made::Unknown => self.unknown(&making, query, here),
            Made::Alias(target) => alias::follow(&making, query, here, &target),
            Made::Targets(answer, names) => alias::complete(&making, query, here, answer, &names),
        }
    }

    /// Replies for an unknown name: the next plugin may know it, or it may become known.
    fn unknown(&self, making: &Making<'_>, query: &Query<'_>, here: &Here<'_>) -> Step {
        if let Some(known) = making.externals.wait() {
            let again = here.again(query.clone().into_owned());
            return Step::Wait(Box::pin(async move {
                known.await;
                again.await
            }));
        }
        let synced = making.externals.is_synced();
        match () {
            () if self.directive.falls_through(&query.question.name) => Step::Next,
            () => {
                let code = if synced { rcode::NXDOMAIN } else { rcode::SERVFAIL };
                Step::Answer(Reply::memory(making.denial(code)))
            }
        }
    }
}

/// Returns the meaning of a reverse name; `None` for any other name.
fn reverse_of(query: &Query<'_>) -> Option<Reverse> {
    if query.question.name.wire().ends_with(b"\x04arpa\0") { reverse::parse(&query.question.name) } else { None }
}
