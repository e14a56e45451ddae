//! A plugin in the place of an upstream: it answers every question at once, as if the answer had
//! been fetched.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use signpost::chain::setup::{Registration, Setup};
use signpost::chain::{Here, Plugin, Query, Reply, Step};
use signpost::error::Result;
use signpost::plugins::cache;
use signpost::wire::answer::{Answer, Section};
use signpost::wire::encode::{Encoder, Owner};
use signpost::wire::types::{rcode, rtype};

/// `cache` above a plugin that answers; it takes the seat and the name of `whoami`.
pub const PLUGINS: &[Registration] = &[cache::PLUGIN, Registration::bare("whoami", setup)];

fn setup(s: &mut Setup<'_>) -> Result<()> {
    s.chain(Fetched { address: Arc::new(address()), denial: Arc::new(denial()) });
    Ok(())
}

/// A of anything is one address, all else does not exist.
struct Fetched {
    address: Arc<Answer>,
    denial: Arc<Answer>,
}

impl Plugin for Fetched {
    fn ask(&self, query: &mut Query<'_>, _: &Here<'_>) -> Step {
        let answer = if query.question.qtype == rtype::A { &self.address } else { &self.denial };
        Step::Answer(Reply::fetched(Arc::new(Answer::clone(answer))))
    }
}

fn address() -> Answer {
    Encoder::build(31, |e| {
        e.address(Section::Answer, Owner::ASKED, 3600, IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
    })
}

fn denial() -> Answer {
    Encoder::build(31, |e| {
        e.rcode(rcode::NXDOMAIN);
        e.record(Section::Authority, Owner::zone(1), rtype::SOA, 3600, |e| e.put(&[0; 22]));
    })
}
