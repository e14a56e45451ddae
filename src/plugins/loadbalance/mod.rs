//! # loadbalance — change the order of the records of an answer
//!
//! Clients use the first address, so each reply has another one in front. Replies with NOERROR are
//! put in order in each section: CNAME records first, then what is neither address nor MX, then
//! addresses, then MX records.
//!
//! ## Syntax
//!
//! ```text
//! loadbalance [round_robin] {
//! }
//! loadbalance weighted FILE {
//! }
//! ```
//!
//! - `round_robin` (the default) shuffles addresses and MX records.
//! - `weighted` answers questions for A, AAAA and SRV records: it draws one address by weight and
//!   swaps it with the first one. FILE has the name of a domain on a line, then an address and its
//!   weight (1 to 255) on each of the next ones; `#` begins a comment line. Addresses that are not
//!   listed have a weight of 1.
//!
//! The directive may stand several times: the last one counts.
//!
//! ## Examples
//!
//! ```corefile
//! . {
//!     loadbalance round_robin {
//!         prefer 10.0.0.0/8
//!     }
//!     whoami
//! }
//! ```

mod order;
mod weighted;

use std::sync::Arc;
use std::time::Duration;

use crate::chain::doc::doc_of;
use crate::chain::options::{OptionOf, OptionsOf, unknown_property};
use crate::chain::setup::{Registration, Setup};
use crate::chain::{Here, Plugin, Query, Reply, Turn};
use crate::corefile::value::{self, Network};
use crate::corefile::{Cursor, Word};
use crate::error::Result;
use crate::wire::reply::Order;
use crate::wire::types::{rcode, rtype};
use weighted::Weights;

/// The registration of this plugin.
pub const PLUGIN: Registration =
    Registration { name: "loadbalance", setup, doc: doc_of!("mod.rs"), options: &[&SHUFFLED, &WEIGHTED] };

const RELOAD: Duration = Duration::from_secs(30);

enum LoadBalance {
    RoundRobin,
    /// Networks, the most preferred first.
    Prefer(Vec<Network>),
    Weighted(Arc<Weights>),
}

//----------- Setup ----------------------------------------------------------

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let mut cursor = s.cursor();
    let mut wanted = Wanted::Shuffled(Vec::new());
    while cursor.next_occurrence() {
        wanted = policy(&mut cursor, s)?;
    }
    let plugin = match wanted {
        Wanted::Shuffled(networks) if networks.is_empty() => LoadBalance::RoundRobin,
        Wanted::Shuffled(networks) => LoadBalance::Prefer(networks),
        Wanted::Weighted { file, reload } => {
            let weights = Weights::open(s.path(file.as_str()), reload, |warning| cursor.warn(file, warning));
            let weights = Arc::new(weights.map_err(|why| cursor.error_at(file, why))?);
            if !reload.is_zero() {
                let watched = weights.clone();
                s.task("loadbalance", move || weighted::follow(watched, reload));
            }
            LoadBalance::Weighted(weights)
        }
    };
    s.chain(plugin);
    Ok(())
}

enum Wanted<'a> {
    Shuffled(Vec<Network>),
    Weighted { file: &'a Word, reload: Duration },
}

fn policy<'a>(cursor: &mut Cursor<'a>, s: &Setup<'_>) -> Result<Wanted<'a>> {
    match cursor.args()[..] {
        [] => prefer(cursor, s),
        [word] if word.as_str() == "round_robin" => prefer(cursor, s),
        [word, ..] if word.as_str() == "round_robin" => Err(cursor.error("unknown property for round_robin")),
        [word] if word.as_str() == "weighted" => Err(cursor.error("missing weight file argument")),
        [word, file] if word.as_str() == "weighted" => {
            let mut reload = RELOAD;
            WEIGHTED.read(cursor, &mut reload, s)?;
            Ok(Wanted::Weighted { file, reload })
        }
        [word, ..] if word.as_str() == "weighted" => Err(cursor.error("unexpected argument(s)")),
        [word, ..] => {
            let message = format!("Error during parsing: unknown policy: {word}");
            Err(cursor.unknown(word, message, &["round_robin", "weighted"]))
        }
    }
}

fn prefer<'a>(cursor: &mut Cursor<'a>, s: &Setup<'_>) -> Result<Wanted<'a>> {
    let mut networks = Vec::new();
    SHUFFLED.read(cursor, &mut networks, s)?;
    Ok(Wanted::Shuffled(networks))
}

static SHUFFLED: OptionsOf<Vec<Network>> = OptionsOf {
    all: &[OptionOf {
        name: "prefer",
        form: "CIDR...",
        about: "Addresses in the first of these networks come first, then those in the second, and so on. MX records \
                come before the addresses that are left.",
        read: |cursor, networks, _| {
            for word in cursor.args() {
                let text = word.as_str();
                networks.push(value::cidr(text).ok_or_else(|| {
                    let quoted = value::quote(text);
                    cursor.error_at(word, format!("invalid CIDR {quoted}: invalid CIDR address: {text}"))
                })?);
            }
            Ok(())
        },
    }],
    unknown: unknown_property,
};

static WEIGHTED: OptionsOf<Duration> = OptionsOf {
    all: &[OptionOf {
        name: "reload",
        form: "DURATION",
        about: "How often FILE is read again (30s); with 0s it is read once.",
        read: |cursor, reload, _| {
            *reload = match cursor.args()[..] {
                [] => return Err(cursor.error("reload duration value is missing")),
                [word] => {
                    let span = value::duration(word.as_str());
                    let wrong = || cursor.error_at(word, format!("invalid reload duration '{word}'"));
                    span.map_err(|_| wrong())?.duration().unwrap_or_default()
                }
                _ => return Err(cursor.error("unexpected argument")),
            };
            Ok(())
        },
    }],
    unknown: unknown_property,
};

//----------- Ordering -------------------------------------------------------

impl Plugin for LoadBalance {
    fn reply(&self, query: &mut Query<'_>, reply: &mut Reply, _: &Here<'_>) -> Turn {
        let qtype = query.request.qtype;
        let transfer = matches!(qtype, rtype::AXFR | rtype::IXFR);
        if reply.rcode() != rcode::NOERROR || transfer || !order::has_choice(&reply.answer) {
            return Turn::Up;
        }
        match self {
            Self::RoundRobin => reply.order = Order::Shuffled(fastrand::u32(..)),
            Self::Prefer(networks) => reply.order = Order::Given(order::preferred(&reply.answer, networks)),
            Self::Weighted(weights) => {
                if matches!(qtype, rtype::A | rtype::AAAA | rtype::SRV) {
                    reply.order = Order::Given(weights.order(&reply.answer, query.asked()));
                }
            }
        }
        Turn::Up
    }
}

#[cfg(test)]
mod tests;
