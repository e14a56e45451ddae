//! Forgers: what they can guess, what they can send, and what replies tell them.

use std::collections::{BTreeSet, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::ask::{Question, TXT, ask_all, question};
use crate::load::{Times, load};
use crate::names::{answer, fresh, is_right, questions, right_and_wrong, well};
use crate::row::{Found, Place, Row};
use crate::server::Run;
use crate::upstream::{Act, Answer, Seen, Upstream};

pub(crate) const ROWS: &[Row] = &[
    Row {
        id: "D1",
        injected: "nothing; the upstream records ids and source ports",
        wanted: "ids evenly spread (chi-square over 256 classes of both octets, p > 0.001), changing ports, no id used twice at a time on a port",
        place: Place::Here,
        run: d1,
    },
    Row {
        id: "D2",
        injected: "1,000 forged replies (200 in the short form) with wrong ids to the right port, before each answer; 100,000 a second",
        wanted: "no forged reply accepted, 99.9 % answered",
        place: Place::Here,
        run: d2,
    },
    Row {
        id: "D4",
        injected: "`random_case`: the upstream keeps the case, answers in lower case, or a forger guesses it wrong (CoreDNS has no such option and runs without it)",
        wanted: "all answered; a reply in the wrong case is not accepted while there is another way",
        place: Place::Here,
        run: d4,
    },
    Row {
        id: "D12",
        injected: "clients announce 4,096 octets; the upstream has 2,000",
        wanted: "the server announces 1,232 or less upstream, so that nothing is fragmented; all answers are complete",
        place: Place::Here,
        run: d12,
    },
    Row {
        id: "D13",
        injected: "before each answer, spoofed ICMP about the same query: port, host and net unreachable, fragmentation needed",
        wanted: "no query fails",
        place: Place::Namespace,
        run: d13,
    },
    Row {
        id: "D14",
        injected: "20 clients ask for the same name, each with another client subnet (EDNS option 8); `cache`",
        wanted: "the subnet is not sent upstream, and does not split the cache",
        place: Place::Here,
        run: d14,
    },
];

//----------- D1 -------------------------------------------------------------

/// The value of chi-square with 255 degrees of freedom that is exceeded once in a thousand times.
const CHI_SQUARE: f64 = 330.5;

/// Returns how far octets are from an even distribution.
fn chi_square(octets: impl Iterator<Item = u8>) -> f64 {
    let mut counts = [0.0_f64; 256];
    octets.for_each(|octet| counts[usize::from(octet)] += 1.0);
    let mean = counts.iter().sum::<f64>() / 256.0;
    counts.iter().map(|count| (count - mean).powi(2) / mean).sum()
}

fn d1(run: &Run) -> Found {
    let late = Duration::from_millis(5);
    let upstream = Upstream::start(move |seen| vec![Act::Wait(late), Act::send(answer(seen))]);
    let server = run.forward("", &[upstream.address], "");
    let names = fresh("d1-", run.pick(4_000, 100_000));
    let heard = load(server.address(), run.pick(2_000, 4_000), names.iter().map(|name| question(name).packet()));
    let seen: Vec<Seen> = upstream.seen().into_iter().filter(|seen| !seen.is_probe() && !seen.tcp).collect();
    let [high, low] = [0, 1].map(|at| chi_square(seen.iter().map(|seen| seen.packet[at])));
    let ports: BTreeSet<u16> = seen.iter().map(|seen| seen.from.port()).collect();
    // An answer takes at least 5 ms, so an earlier query with the same id and port comes while the
    // first is open.
    let mut last: HashMap<(u16, [u8; 2]), &Seen> = HashMap::new();
    let mut twice = 0;
    for one in &seen {
        let before = last.insert((one.from.port(), [one.packet[0], one.packet[1]]), one);
        twice += usize::from(before.is_some_and(|before| one.at - before.at < late && one.name() != before.name()));
    }
    Found::new(format!(
        "{} queries upstream: chi-square {high:.0} and {low:.0}, {} ports, an id twice at a time: {twice}; {}",
        seen.len(),
        ports.len(),
        heard.losses()
    ))
    .must(high.max(low) < CHI_SQUARE, "ids are not evenly spread")
    .must(ports.len() * run.pick(20, 10) >= seen.len().min(100_000), "ports are used too long")
    .must(twice == 0, "an id was used twice at a time")
}

//----------- D2 -------------------------------------------------------------

fn d2(run: &Run) -> Found {
    let forgeries = run.pick(200, 1_000);
    let upstream = Upstream::start(move |seen| {
        let good = answer(seen);
        if seen.tcp {
            return vec![Act::send(good)];
        }
        // A forger that found the port has to guess only the id. It never sends the right one, so
        // every accepted forgery is an error.
        let forged = Answer::to(&seen.packet).a("6.6.6.6", 60);
        let id = |_| good.query_id().wrapping_add(fastrand::u16(1..));
        let mut acts: Vec<Act> = (0..forgeries).map(id).map(|id| Act::send(forged.clone().id(id))).collect();
        acts.extend([Act::Wait(Duration::from_millis(10)), Act::send(good)]);
        acts
    });
    let server = run.forward("", &[upstream.address], "");
    let names = fresh("d2-", run.pick(100, 3_000));
    let heard = load(server.address(), run.pick(50, 100), questions(&names).iter().map(Question::packet));
    let replies: Vec<_> = heard.0.iter().map(|one| one.reply.clone()).collect();
    let (right, wrong) = right_and_wrong(&names, &replies);
    let by_tcp = upstream.seen().iter().filter(|seen| seen.tcp).count();
    Found::new(format!(
        "{right} of {} right, {wrong} forged, {by_tcp} asked over TCP; {}",
        names.len(),
        heard.all_times()
    ))
    .must(wrong == 0, "a forged reply was believed")
    .must(right * 1_000 >= names.len() * 999, "too many queries were lost or failed")
}

//----------- D4 -------------------------------------------------------------

/// Changes the case of names as the first letters of the name say.
fn cased(seen: &Seen) -> Vec<Act> {
    let lower = |packet: &[u8]| {
        let mut packet = packet.to_vec();
        packet[12..].make_ascii_lowercase();
        packet
    };
    let first = seen.name().to_ascii_lowercase();
    match first.get(..4) {
        Some("keep") => well(seen),
        Some("lose") => {
            vec![Act::send(Answer::to(&lower(&seen.packet)).a(&crate::names::address(&first).to_string(), 60))]
        }
        _ if seen.tcp => well(seen),
        _ => {
            let forged = Answer::to(&lower(&seen.packet)).a("6.6.6.6", 60);
            vec![
                Act::send(forged.clone()),
                Act::send(forged),
                Act::Wait(Duration::from_millis(20)),
                Act::send(answer(seen)),
            ]
        }
    }
}

fn d4(run: &Run) -> Found {
    let ours = run.kind == crate::server::Kind::Signpost;
    let mut words = Vec::new();
    let mut found = Found::default();
    for kind in ["keep", "forg", "lose"] {
        // Each with its own server, because an upstream that loses the case is remembered.
        let upstream = Upstream::start(cased);
        let server = run.forward("", &[upstream.address], if ours { "random_case" } else { "" });
        let names = fresh(&format!("{kind}-d4-name-of-some-length-"), run.pick(20, 100));
        let replies = ask_all(&questions(&names), 5, |question| question.ask(server.address()));
        let (right, wrong) = right_and_wrong(&names, &replies);
        let mixed = upstream.seen().iter().filter(|seen| seen.name() != seen.name().to_ascii_lowercase()).count();
        words.push(format!("{kind}: {right} of {} right, {wrong} forged, {mixed} in mixed case", names.len()));
        found =
            found.must(right == names.len(), "an answer is missing").must(wrong == 0, "a forged reply was believed");
    }
    found.number = words.join("; ");
    found
}

//----------- D12 ------------------------------------------------------------

fn d12(run: &Run) -> Found {
    let upstream = Upstream::start(|seen| {
        let text = [&[200][..], &[b'x'; 200]].concat();
        let whole = (0..10).fold(Answer::to(&seen.packet), |answer, _| answer.record(0, &[0xC0, 12], (TXT, 60), &text));
        let takes = seen.edns().map_or(512, |(size, ..)| size);
        let fits = seen.tcp || whole.message().len() <= usize::from(takes);
        vec![Act::send(if fits { whole } else { Answer::to(&seen.packet).flags(0x0200) })]
    });
    let server = run.forward("", &[upstream.address], "");
    let names = fresh("d12-", run.pick(50, 500));
    let questions: Vec<_> = questions(&names).into_iter().map(|question| question.of(TXT).size(4_096)).collect();
    let replies = ask_all(&questions, 5, |question| question.resolve(server.address()));
    let whole = replies.iter().flatten().filter(|reply| reply.types() == [TXT; 10]).count();
    let sizes = upstream.seen().into_iter().filter(|seen| !seen.tcp && !seen.is_probe());
    let most = sizes.filter_map(|seen| seen.edns().map(|(size, ..)| size)).max().unwrap_or_default();
    Found::new(format!("the upstream was told {most}; {whole} of {} whole", names.len()))
        .must(most <= 1_232, "the upstream was told more than 1,232")
        .must(whole == names.len(), "an answer did not come whole")
}

//----------- D13 ------------------------------------------------------------

/// Codes of ICMP "destination unreachable": net, host, port, fragmentation needed.
const UNREACHABLE: [u8; 4] = [0, 1, 3, 4];

/// Returns the checksum of IP and ICMP.
fn checksum(octets: &[u8]) -> [u8; 2] {
    let mut sum: u32 =
        octets.chunks(2).map(|two| u32::from(two[0]) << 8 | u32::from(two.get(1).copied().unwrap_or(0))).sum();
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

/// Returns an ICMP message: a datagram from one to the other cannot be delivered.
fn unreachable(code: u8, from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let mut ip = vec![0x45, 0, 0, 60, 0, 0, 0x40, 0, 64, 17, 0, 0];
    for address in [from, to] {
        let SocketAddr::V4(address) = address else { panic!("IPv4 alone") };
        ip.extend_from_slice(&address.ip().octets());
    }
    let sum = checksum(&ip);
    ip[10..12].copy_from_slice(&sum);
    let udp = [from.port().to_be_bytes(), to.port().to_be_bytes(), [0, 40], [0, 0]].concat();
    // The last field is the next hop's MTU.
    let mut icmp = [&[3, code, 0, 0, 0, 0, 2, 0][..], &ip, &udp].concat();
    let sum = checksum(&icmp);
    icmp[2..4].copy_from_slice(&sum);
    icmp
}

fn d13(run: &Run) -> Found {
    let raw = match Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)) {
        Ok(raw) => raw,
        Err(error) => return Found::skipped(format!("a raw socket: {error}")),
    };
    let upstream = Upstream::start(well);
    let address = upstream.address;
    upstream.script(move |seen| {
        for code in UNREACHABLE {
            let target = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let _ = raw.send_to(&unreachable(code, seen.from, address), &target.into());
        }
        vec![Act::Wait(Duration::from_millis(20)), Act::send(answer(seen))]
    });
    let server = run.forward("", &[upstream.address], "");
    let names = fresh("d13-", run.pick(100, 500));
    let replies = ask_all(&questions(&names), 5, |question| question.ask(server.address()));
    let right = names.iter().zip(&replies);
    let right = right.filter(|(name, reply)| reply.as_ref().is_some_and(|reply| is_right(name, reply))).count();
    let times = Times::of(replies.iter().flatten().map(|reply| reply.after));
    Found::new(format!("{right} of {} answered; {times}", names.len()))
        .must(right == names.len(), "a spoofed message cost a query")
}

//----------- D14 ------------------------------------------------------------

fn d14(run: &Run) -> Found {
    let upstream = Upstream::start(well);
    let server = run.forward("cache", &[upstream.address], "");
    let name = fresh("d14-", 1).remove(0);
    let subnet = |last: u8| question(&name).option(8, &[0, 1, 32, 0, 10, 0, 0, last]);
    let replies = ask_all(&(0..20).map(subnet).collect::<Vec<_>>(), 1, |question| question.ask(server.address()));
    let right = replies.iter().flatten().filter(|reply| is_right(&name, reply)).count();
    let seen: Vec<Seen> = upstream.seen().into_iter().filter(|seen| !seen.is_probe()).collect();
    let told = seen.iter().filter(|seen| seen.edns().is_some_and(|(.., options)| options.contains(&8))).count();
    Found::new(format!("asked upstream {} times, {told} with a client subnet; {right} of 20 answered", seen.len()))
        .must(told == 0, "a client's subnet went upstream")
        .must(seen.len() == 1, "the cache was split")
        .must(right == 20, "a query was not answered")
}
