//! What the cache keeps, and for how long.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use signpost::wire::name::Name;

use crate::ask::{A, AAAA, CNAME, NOERROR, NS, NXDOMAIN, OPT, PATIENCE, Question, Reply, ask_all, question};
use crate::cluster::{ADDRESS, Cluster, SERVICE};
use crate::load::millis;
use crate::message::RawRecord;
use crate::names::{address, answer, fresh, is_right, well};
use crate::row::{Found, Place, Row};
use crate::server::Run;
use crate::upstream::{Act, Answer, Seen, Upstream, wire};

pub(crate) const ROWS: &[Row] = &[
    Row {
        id: "D5",
        injected: "answers carry an address, an NS and a DNAME of names that were not asked for; `cache`",
        wanted: "these records are not served from the cache, and the other name keeps its own answer",
        place: Place::Here,
        run: d5,
    },
    Row {
        id: "D6",
        injected: "the upstream of a stub domain answers for a name of another block; an outer name is a CNAME into the cluster with a false address",
        wanted: "both names keep their own answers",
        place: Place::Here,
        run: d6,
    },
    Row {
        id: "D7",
        injected: "the upstream answers by CD, DO and class; each name is asked in all 16 combinations of CD, DO, AD and class, in random orders",
        wanted: "no answer that belongs to other flags",
        place: Place::Here,
        run: d7,
    },
    Row {
        id: "D9",
        injected: "NXDOMAIN for another type of a cached name, NXDOMAIN for a cached name's parent, and SERVFAIL for an expired name (`serve_stale`)",
        wanted: "the positive answer stays in use",
        place: Place::Here,
        run: d9,
    },
    Row {
        id: "D10",
        injected: "TTLs of 0, 1, a day, 2^31 and 2^32 - 1",
        wanted: "at most an hour; TTLs above 2^31 - 1 count as 0, which CoreDNS's lowest TTL makes 5",
        place: Place::Here,
        run: d10,
    },
    Row {
        id: "D11",
        injected: "a name with a TTL of 3 is withdrawn at its source while it is asked 50 times a second",
        wanted: "gone when its TTL has expired; the TTL never grows",
        place: Place::Here,
        run: d11,
    },
    Row {
        id: "D15",
        injected: "chains of three CNAMEs and three addresses through `loadbalance` and stale refreshes",
        wanted: "the chain in order, before the addresses, in every reply",
        place: Place::Here,
        run: d15,
    },
];

/// A cache that keeps answers with TTLs from 1.
const SHORT: &str = "cache 3600 {\n        success 9984 3600 1\n        denial 9984 3600 1\n    }";
const STALE: &str = "cache 30 {\n        success 9984 30 1\n        denial 9984 30 1\n        serve_stale 1h\n    }";

/// Returns an upstream's answer with another TTL.
fn with_ttl(seen: &Seen, ttl: u32) -> Answer {
    Answer::to(&seen.packet).a(&address(&seen.name()).to_string(), ttl)
}

//----------- Whose records --------------------------------------------------

/// Returns how many records of a reply belong to other names than the question's. The name servers
/// of the parent zone are allowed.
fn extras(reply: &Reply) -> usize {
    let asked = Name::from_message(&reply.octets, 12).map(|(name, _)| name);
    let foreign = |record: &&RawRecord| ![NS, OPT].contains(&record.rtype) && Some(&record.owner) != asked.as_ref();
    reply.records().iter().filter(foreign).count()
}

fn d5(run: &Run) -> Found {
    let upstream = Upstream::start(|seen| {
        let victim = seen.name().replace("d5-", "victim-d5-");
        if seen.name().starts_with("victim") {
            return well(seen);
        }
        let poison = [6, 6, 6, 6];
        let extra = answer(seen).record(0, &wire(&victim), (A, 60), &poison).ns("test", 60);
        let extra = extra.record(1, &wire("test"), (39, 60), &wire("evil.test"));
        vec![Act::send(extra.record(2, &wire(&victim), (A, 60), &poison))]
    });
    let server = run.forward("cache", &[upstream.address], "");
    let names = fresh("d5-", run.pick(20, 200));
    let (mut first, mut later, mut answered, mut poisoned) = (0, 0, 0, 0);
    for name in &names {
        let replies = [0; 2].map(|_| question(name).ask(server.address()));
        let victim = name.replace("d5-", "victim-d5-");
        let own = question(&victim).ask(server.address());
        answered += usize::from(replies.iter().flatten().filter(|reply| is_right(name, reply)).count() == 2);
        poisoned += usize::from(!own.is_some_and(|reply| is_right(&victim, &reply)));
        first += replies[0].as_ref().map_or(0, extras);
        later += replies[1].as_ref().map_or(0, extras);
    }
    Found::new(format!(
        "{answered} of {} answered; {first} foreign records relayed, {later} from the cache; {poisoned} other names poisoned",
        names.len()
    ))
    .must(answered == names.len(), "an answer is missing")
    .must(later == 0, "foreign records come from the cache")
    .must(poisoned == 0, "another name got a false answer")
}

fn d6(run: &Run) -> Found {
    let cluster = Cluster::start();
    let (stub, outer) = (
        Upstream::start(|seen| {
            let other = wire("www.other.test");
            vec![Act::send(Answer::to(&seen.packet).cname("www.other.test", 60).record(
                0,
                &other,
                (A, 60),
                &[6, 6, 6, 6],
            ))]
        }),
        Upstream::start(|seen| {
            let false_one =
                Answer::to(&seen.packet).cname(SERVICE, 60).record(0, &wire(SERVICE), (A, 60), &[6, 6, 6, 6]);
            vec![Act::send(if seen.name().starts_with("into") { false_one } else { answer(seen) })]
        }),
    );
    let server = run.serve(&format!(
        "stub.test:PORT {{\n    bind 127.0.0.1\n    cache\n    forward . {}\n}}\n.:PORT {{\n    bind 127.0.0.1\n    cache\n    {}\n    \
         forward . {}\n}}\n",
        stub.address,
        cluster.directive(),
        outer.address
    ));
    let ask = |name: &str| question(name).ask(server.address());
    let (first, second) = (ask("www.stub.test"), ask("into.test"));
    let outside = ask("www.other.test").is_some_and(|reply| is_right("www.other.test", &reply));
    let service: Ipv4Addr = ADDRESS.parse().expect("an address");
    let inside = ask(SERVICE).is_some_and(|reply| reply.addresses() == [service]);
    let word = |is: bool| if is { "its own" } else { "another" };
    Found::new(format!("the name outside has {} answer, the cluster's name {} answer", word(outside), word(inside)))
        .must(first.is_some() && second.is_some(), "a query was not answered")
        .must(outside, "what a stub domain's upstream said answers for another block")
        .must(inside, "an outer answer changed a name of the cluster")
}

fn d7(run: &Run) -> Found {
    let upstream = Upstream::start(|seen| {
        let dnssec = seen.edns().is_some_and(|(_, flags, _)| flags & 0x8000 != 0);
        let cd = u8::from(seen.flags() & 0x10 != 0);
        let text = Ipv4Addr::new(10, cd, u8::from(dnssec), seen.qclass() as u8).to_string();
        vec![Act::send(Answer::to(&seen.packet).a(&text, 60))]
    });
    let server = run.forward("cache", &[upstream.address], "");
    let names = fresh("d7-", run.pick(32, 256));
    let mut asked = Vec::new();
    for name in &names {
        let mut order: Vec<u16> = (0..16).collect();
        fastrand::shuffle(&mut order);
        asked.push(order.into_iter().map(|bits| (name.clone(), bits)).collect::<Vec<_>>());
    }
    let (mut answered, mut leaks) = (0, 0);
    for (name, bits) in asked.concat() {
        let (cd, dnssec, ad, chaos) = (bits & 1, bits >> 1 & 1, bits >> 2 & 1, bits >> 3 & 1);
        let mut one = question(&name).flags(cd << 4 | ad << 5).class(1 + 2 * chaos);
        if dnssec == 1 {
            one = one.dnssec();
        }
        let wanted = Ipv4Addr::new(10, cd as u8, dnssec as u8, 1 + 2 * chaos as u8);
        let addresses = one.ask(server.address()).map(|reply| reply.addresses()).unwrap_or_default();
        answered += usize::from(!addresses.is_empty());
        leaks += usize::from(!addresses.is_empty() && addresses != [wanted]);
    }
    let all = names.len() * 16;
    Found::new(format!("{leaks} leaks in {} orders; {answered} of {all} answered", names.len()))
        .must(leaks == 0, "an answer leaked to other flags")
        .must(answered == all, "a query was not answered")
}

//----------- Which answer ---------------------------------------------------

/// Returns whether a condition holds within the time of a test.
fn is_soon(is: impl Fn() -> bool) -> bool {
    let end = Instant::now() + 6 * PATIENCE;
    loop {
        if is() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn d9(run: &Run) -> Found {
    let nothing = |seen: &Seen| vec![Act::send(Answer::to(&seen.packet).rcode(NXDOMAIN).soa("test", 60))];
    let upstream = Upstream::start(move |seen| match &seen.name()[..] {
        "above.test" => nothing(seen),
        _ if seen.qtype() == AAAA => nothing(seen),
        "brief.test" => vec![Act::send(with_ttl(seen, 1))],
        _ => well(seen),
    });
    let server = run.forward(STALE, &[upstream.address], "");
    let is_well = |name: &str| question(name).ask(server.address()).is_some_and(|reply| is_right(name, &reply));
    let is_denied = |name: &str, of: u16| {
        question(name).of(of).ask(server.address()).is_some_and(|reply| [NOERROR, NXDOMAIN].contains(&reply.rcode()))
    };
    // The row is about what is kept; a busy machine may take its time to store it.
    let mut kept = vec![is_soon(|| is_well("both.test")), is_soon(|| is_well("brief.test"))];
    let denied = is_soon(|| is_denied("both.test", AAAA)) && is_soon(|| is_denied("above.test", A));
    kept.push(is_well("both.test"));
    kept.push(is_soon(|| is_well("below.above.test")));
    std::thread::sleep(Duration::from_millis(1_500));
    upstream.script(|seen| vec![Act::send(Answer::to(&seen.packet).rcode(2))]);
    for _ in 0..5 {
        kept.push(is_well("brief.test"));
        std::thread::sleep(Duration::from_millis(100));
    }
    let well = kept.iter().filter(|is| **is).count();
    let shadowed = if well == kept.len() { String::new() } else { format!(": {kept:?}") };
    Found::new(format!("{well} of {} positive{shadowed}", kept.len()))
        .must(denied, "a denial never came")
        .must(well == kept.len(), "a positive answer was shadowed by a failure or a denial")
}

//----------- How long -------------------------------------------------------

fn d10(run: &Run) -> Found {
    const TTLS: [u32; 5] = [0, 1, 86_400, 1 << 31, u32::MAX];
    let upstream = Upstream::start(|seen| {
        let at: usize = seen.name().get(1..2).unwrap_or_default().parse().unwrap_or_default();
        vec![Act::send(with_ttl(seen, TTLS[at]))]
    });
    let server = run.forward("cache", &[upstream.address], "");
    let asked: Vec<Question> = (0..TTLS.len()).map(|at| question(&format!("t{at}.d10.test"))).collect();
    let ttls = |replies: Vec<Option<Reply>>| -> Vec<u32> {
        replies.iter().map(|reply| reply.as_ref().and_then(Reply::ttl).unwrap_or(u32::MAX)).collect()
    };
    let first = ttls(ask_all(&asked, 1, |question| question.ask(server.address())));
    let later = ttls(ask_all(&asked, 1, |question| question.ask(server.address())));
    let fits = |got: &[u32]| got.iter().zip([5, 5, 3_600, 5, 5]).all(|(got, most)| *got <= most);
    Found::new(format!("{TTLS:?} became {first:?}, from the cache {later:?}"))
        .must(fits(&first) && fits(&later), "a TTL is too high")
}

fn d11(run: &Run) -> Found {
    let upstream = Upstream::start(|seen| {
        let gone = Answer::to(&seen.packet).rcode(NXDOMAIN).soa("test", 5);
        vec![Act::send(if seen.before == 0 { with_ttl(seen, 3) } else { gone })]
    });
    let server = run.forward(SHORT, &[upstream.address], "");
    let (start, mut ttls, mut gone) = (Instant::now(), Vec::new(), None);
    while start.elapsed() < 2 * PATIENCE {
        let Some(reply) = question("ghost.test").ask(server.address()) else { break };
        if reply.rcode() == NXDOMAIN {
            gone = Some(start.elapsed());
            break;
        }
        ttls.extend(reply.ttl());
        std::thread::sleep(Duration::from_millis(20));
    }
    let grew = ttls.windows(2).filter(|two| two[1] > two[0]).count();
    let when = gone.map_or("never".to_owned(), |after| format!("after {}", millis(after)));
    Found::new(format!("gone {when}; its TTL grew {grew} times in {} answers", ttls.len()))
        .must(gone.is_some(), "it outlived its TTL")
        .must(grew == 0, "its TTL grew")
}

/// `NAME -> one -> two -> three`, and three addresses in any order.
fn chain(seen: &Seen) -> Vec<Act> {
    let [one, two, three] = ["one.chain.test", "two.chain.test", "three.chain.test"].map(wire);
    let mut reply = Answer::to(&seen.packet).cname("one.chain.test", 1);
    reply = reply.record(0, &one, (CNAME, 1), &two).record(0, &two, (CNAME, 1), &three);
    let mut last = [1, 2, 3];
    fastrand::shuffle(&mut last);
    vec![Act::send(last.iter().fold(reply, |reply, last| reply.record(0, &three, (A, 1), &[10, 0, 0, *last])))]
}

fn d15(run: &Run) -> Found {
    let upstream = Upstream::start(chain);
    let server = run.forward(&format!("loadbalance\n    {STALE}"), &[upstream.address], "");
    let names = fresh("d15-", 10);
    let (end, mut good, mut all) = (Instant::now() + Duration::from_secs(run.pick(3, 15)), 0, 0);
    while Instant::now() < end {
        for name in &names {
            let reply = question(name).ask(server.address());
            all += 1;
            good += usize::from(reply.is_some_and(|reply| {
                let owners: Vec<String> = reply.records().iter().map(|record| record.owner.to_string()).collect();
                let ordered = owners.get(1).is_some_and(|owner| owner.starts_with("one."))
                    && owners.get(2).is_some_and(|owner| owner.starts_with("two."));
                reply.rcode() == NOERROR && reply.types() == [CNAME, CNAME, CNAME, A, A, A] && ordered
            }));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Found::new(format!("{good} of {all} replies with the chain first and in order; asked {} times", upstream.count()))
        .must(good == all, "a chain was not in order")
}
