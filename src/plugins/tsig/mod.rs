//! # tsig — check and sign messages with shared secrets
//!
//! Checks the signatures of queries and NOTIFY messages (TSIG, RFC 8945), and signs the replies,
//! those of several messages included. It does so on every transport. The algorithms are
//! `hmac-sha1`, `hmac-sha224`, `hmac-sha256`, `hmac-sha384` and `hmac-sha512`; the client chooses
//! one.
//!
//! A message whose signature is wrong, or was made at another time than now (as many seconds as
//! the client allows, usually 300), is answered NOTAUTH, and its TSIG record says why: BADKEY
//! (unknown key or algorithm), BADSIG, BADTIME or BADTRUNC.
//!
//! Signatures end here: *forward* asks upstreams without one, *secondary* copies zones without one,
//! and NOTIFY messages of *transfer* have none.
//!
//! ## Syntax
//!
//! ```text
//! tsig [ZONE...] {
//! }
//! ```
//!
//! - **ZONE** is a zone whose messages are checked; by default those of the server block. Other
//!   messages pass, and their replies are not signed.
//!
//! Secrets belong to the address and port, not to the block: what a client signs with the secret of
//! one block is accepted by all blocks there that have *tsig*.
//!
//! ## Examples
//!
//! Only clients that know the secret may copy the zone:
//!
//! ```corefile
//! example.org {
//!     tsig {
//!         secret transfer.example. X28hl0BOfAL5G0jsmJWSacrwn7YRm2f6U5brnzwWEus=
//!         require AXFR IXFR
//!     }
//!     transfer {
//!         to *
//!     }
//!     file db.example.org
//! }
//! ```
//!
//! `dig @SERVER -y hmac-sha256:transfer.example.:X28hl0BOfAL5G0jsmJWSacrwn7YRm2f6U5brnzwWEus=
//! example.org AXFR` copies it.
//!
//! A file of `secrets` has one item on each line:
//!
//! ```text
//! key "transfer.example." {
//!     algorithm hmac-sha256;
//!     secret "X28hl0BOfAL5G0jsmJWSacrwn7YRm2f6U5brnzwWEus=";
//! };
//! ```
//!
//! A line `algorithm` has no effect.
//!
//! ## Metrics
//!
//! - `signpost_tsig_requests_total{server,result}`: messages of these zones by what was found:
//!   `ok`, `badkey`, `badsig`, `badtime`, `badtrunc`, `formerr` (a malformed TSIG record), or
//!   `refused` (a signature is required, and there is none)

mod secrets;
mod setup;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::setup::{OPTIONS, Options, Required};
use crate::chain::doc::doc_of;
use crate::chain::setup::{Registration, Setup};
use crate::chain::signing::Signing;
use crate::chain::zones::Zones;
use crate::chain::{Here, Plugin, Query, Reply, Step};
use crate::error::Result;
use crate::host::metrics::Family;
use crate::host::{Host, log};
use crate::wire::name::Name;
use crate::wire::tsig::find;
use crate::wire::types::{TypeText, rcode};

/// The registration of this plugin.
pub const PLUGIN: Registration =
    Registration { name: "tsig", setup: set_up, doc: doc_of!("mod.rs"), options: &[&OPTIONS] };

static REQUESTS: Family = Family {
    name: "signpost_tsig_requests_total",
    help: "Messages of zones with TSIG, by what was found: ok, badkey, badsig, badtime, badtrunc, formerr, or refused \
           (a signature is required, and there is none).",
    labels: &["server", "result"],
};

/// The plugin of one server block.
struct Tsig {
    zones: Zones,
    required: Required,
    host: Arc<Host>,
}

fn set_up(s: &mut Setup<'_>) -> Result<()> {
    let Options { zones, required, secrets } = Options::read(s)?;
    s.keep_secrets(secrets);
    s.chain(Tsig { zones, required, host: s.host.clone() });
    Ok(())
}

impl Plugin for Tsig {
    fn ask(&self, query: &mut Query<'_>, here: &Here<'_>) -> Step {
        self.refusal(query, here).map_or(Step::Next, Step::Answer)
    }

    fn notify(&self, query: &mut Query<'_>, here: &Here<'_>) -> Option<Reply> {
        self.refusal(query, here)
    }
}

impl Tsig {
    /// Checks a message. Returns its reply if it is not accepted. If it is signed, its replies will
    /// be too.
    fn refusal(&self, query: &mut Query<'_>, here: &Here<'_>) -> Option<Reply> {
        let is_ours = self.zones.holds(&query.question.name);
        let is_required = is_ours && self.required.holds(query.question.qtype, query.request.opcode());
        if query.depth() > 0 {
            // Asked by a plugin, for the target of an alias for example, on behalf of a client
            // whose signature was checked, or that had none.
            // One above, such as dns64, asks on after a refusal: a wrong signature is as good as
            // none.
            let is_good = query.signing.as_ref().is_some_and(|signing| signing.signer().fault().is_none());
            return (is_required && !is_good).then(|| self.refuse(here, "refused", rcode::REFUSED));
        }
        let tsig = match find(query.packet(), &query.request) {
            Err(_) => return Some(self.refuse(here, "formerr", rcode::FORMERR)),
            Ok(_) if !is_ours => return None,
            Ok(None) if !is_required => return None,
            Ok(None) => {
                let qtype = TypeText(query.question.qtype);
                log::debug(PLUGIN.name, format_args!("rejecting '{qtype}' request without TSIG"));
                return Some(self.refuse(here, "refused", rcode::REFUSED));
            }
            Ok(Some(tsig)) => tsig,
        };
        let Ok(signing) = Signing::check(&tsig, secret(&tsig.key, here), &self.host) else {
            return Some(self.refuse(here, "formerr", rcode::FORMERR));
        };
        let fault = signing.signer().fault();
        query.signing = Some(Arc::new(signing));
        let Some(fault) = fault else {
            self.count(here, "ok");
            return None;
        };
        let (qtype, client) = (TypeText(query.question.qtype), query.client.peer);
        log::debug(PLUGIN.name, format_args!("TSIG validation failed: {qtype} {fault} from {client}"));
        Some(self.refuse(here, &fault.to_string().to_ascii_lowercase(), rcode::NOTAUTH))
    }

    fn refuse(&self, here: &Here<'_>, result: &str, rcode: u16) -> Reply {
        self.count(here, result);
        Reply::server(rcode)
    }

    fn count(&self, here: &Here<'_>, result: &str) {
        self.host.metrics.counter(&REQUESTS, &[&here.listener.server, result]).inc();
    }
}

/// Returns the secret of a key: that of the own block, or of another block of the listener.
fn secret<'a>(key: &Name, here: &Here<'a>) -> Option<&'a Arc<[u8]>> {
    let sites = std::iter::once(here.site).chain(here.listener.sites());
    sites.filter_map(|site| site.secrets.as_ref()).find_map(|secrets| secrets.get(key))
}
