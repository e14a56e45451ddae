//! Real servers as upstreams, to check the scripted one; and hours without an upstream.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_proto::rr::{Name, RData, Record, rdata};
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneType};

use crate::ask::{A, AAAA, CNAME, NOERROR, PATIENCE, Question, Reply, SERVFAIL, TXT, ask_all, question};
use crate::names::{address, fresh, is_right, questions};
use crate::row::{Found, Place, Row};
use crate::server::Run;
use crate::support::{decode, free_port, text};
use crate::upstream::{Act, Answer, Seen, Upstream};

pub(crate) const ROWS: &[Row] = &[
    Row {
        id: "M3",
        injected: "names with a TTL of 1 s, and an upstream that is down for a minute (3 s in the short form) and recovers (`serve_stale`)",
        wanted: "every name always answered with TTL 30 or less and EDE 3; fresh again soon after the recovery",
        place: Place::Here,
        run: m3,
    },
    Row {
        id: "R1",
        injected: "nothing: Unbound as the upstream; addresses, long TXT, CNAME, other types, denials",
        wanted: "exactly Unbound's answers",
        place: Place::Here,
        run: unbound,
    },
    Row {
        id: "R2",
        injected: "nothing: NSD as the upstream; the same",
        wanted: "exactly NSD's answers",
        place: Place::Here,
        run: nsd,
    },
    Row {
        id: "R3",
        injected: "nothing: hickory-server as the upstream; the same",
        wanted: "exactly its answers",
        place: Place::Here,
        run: |run| forwarded(run, Hickory::start().address),
    },
];

//----------- Stale ----------------------------------------------------------

/// The address of all names when their upstream is back.
const RETURNED: Ipv4Addr = Ipv4Addr::new(10, 9, 9, 9);

fn brief(seen: &Seen) -> Vec<Act> {
    vec![Act::send(Answer::to(&seen.packet).a(&address(&seen.name()).to_string(), 1))]
}

fn m3(run: &Run) -> Found {
    let upstream = Upstream::start(brief);
    let above = "cache 30 {\n        success 9984 30 1\n        serve_stale 1h\n    }";
    let server = run.forward(above, &[upstream.address], "");
    let names = fresh("m3-", run.pick(20, 100));
    let ask = || ask_all(&questions(&names), 10, |question| question.ask(server.address()));
    ask();
    std::thread::sleep(Duration::from_millis(1_500));
    upstream.script(|_| Vec::new());
    let (end, mut all, mut right, mut marked) = (Instant::now() + Duration::from_secs(run.pick(3, 60)), 0, 0, 0);
    let is_marked = |reply: &Reply| reply.errors().contains(&3) && reply.ttl().is_some_and(|ttl| ttl <= 30);
    while Instant::now() < end {
        for (name, reply) in names.iter().zip(ask()) {
            all += 1;
            right += usize::from(reply.as_ref().is_some_and(|reply| is_right(name, reply)));
            marked += usize::from(reply.as_ref().is_some_and(is_marked));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    upstream.script(|seen| vec![Act::send(Answer::to(&seen.packet).a(&RETURNED.to_string(), 60))]);
    let (start, mut looks, mut fresh_after) = (Instant::now(), 0, None);
    while fresh_after.is_none() && start.elapsed() < 4 * PATIENCE {
        looks += 1;
        let reply = question(&names[0]).ask(server.address());
        fresh_after = reply.filter(|reply| reply.addresses() == [RETURNED]).map(|_| start.elapsed());
        std::thread::sleep(Duration::from_millis(100));
    }
    let back = fresh_after.map_or("never fresh again".to_owned(), |after| {
        format!("fresh again {} after the return, look-up {looks}", crate::load::millis(after))
    });
    Found::new(format!("{right} of {all} answered, {marked} marked stale; {back}"))
        .must(right == all, "a name was not answered")
        .must(marked == right, "a stale answer is not marked")
        .must(fresh_after.is_some(), "not fresh again")
}

//----------- Unbound, NSD ---------------------------------------------------

/// The zone that both serve.
const ZONE: &str = "real.test. 60 IN SOA ns.real.test. mail.real.test. 1 2 3 4 5
real.test. 60 IN NS ns.real.test.
www.real.test. 60 IN A 192.0.2.1
www.real.test. 60 IN A 192.0.2.2
www.real.test. 60 IN AAAA 2001:db8::1
alias.real.test. 60 IN CNAME www.real.test.
odd.real.test. 60 IN TYPE65280 \\# 4 01020304
";

/// Returns the zone, with a text that does not fit into a datagram.
fn zone() -> String {
    let text = (0..12).map(|at| format!("text.real.test. 60 IN TXT \"{at} {}\"\n", "x".repeat(180)));
    ZONE.to_owned() + &text.collect::<String>()
}

/// Returns questions about that zone.
fn asked() -> Vec<Question> {
    let names = ["www", "alias", "text", "odd", "none", "WwW", "alias"];
    let types = [A, AAAA, CNAME, TXT, 65_280, 6, 2, 255];
    let all =
        names.iter().flat_map(|name| types.iter().map(move |qtype| question(&format!("{name}.real.test")).of(*qtype)));
    all.collect()
}

/// Returns a reply as text: RCODE, flags and records.
fn words(reply: &Option<Reply>) -> Option<String> {
    reply.as_ref().map(|reply| text(&decode(&reply.octets)))
}

/// A server that ends with its row.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Compares a real server's own answers with those that the server under test forwards.
fn compare(run: &Run, program: &str, arguments: &[&str], port: u16, folder: &tempfile::TempDir) -> Found {
    let log = || std::fs::File::create(folder.path().join("log")).expect("a log");
    let mut command = Command::new(program);
    let command = command.args(arguments).current_dir(folder.path());
    let child = match command.stdin(Stdio::null()).stdout(log()).stderr(log()).spawn() {
        Ok(child) => Peer(child),
        Err(error) => return Found::skipped(format!("{program}: {error}")),
    };
    let peer = SocketAddr::from(([127, 0, 0, 1], port));
    let end = Instant::now() + 2 * PATIENCE;
    while std::net::TcpStream::connect(peer).is_err() {
        if Instant::now() > end {
            let said = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
            return Found::skipped(format!("{program} does not listen: {said}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let found = forwarded(run, peer);
    drop(child);
    found
}

/// Asks a server directly, and through the server under test.
fn forwarded(run: &Run, peer: SocketAddr) -> Found {
    let server = run.forward("", &[peer], "");
    let questions = asked();
    let (direct, through) =
        [peer, server.address()].map(|server| ask_all(&questions, 4, |question| question.resolve(server))).into();
    let different = direct.iter().zip(&through).map(|(direct, through)| (words(direct), words(through)));
    let different: Vec<_> = different.filter(|(direct, through)| direct.is_none() || direct != through).collect();
    let equal = questions.len() - different.len();
    Found::new(format!("{equal} of {} answers equal", questions.len()))
        .must(different.is_empty(), &format!("an answer is not what the upstream said: {:?}", different.first()))
        .must(
            direct.iter().flatten().any(|reply| reply.rcode() == NOERROR && !reply.types().is_empty()),
            "it serves nothing",
        )
        .must(!direct.iter().flatten().any(|reply| reply.rcode() == SERVFAIL), "it fails")
}

/// hickory-server with the zone in memory; it stops when this is dropped.
struct Hickory {
    address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

impl Hickory {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let origin = name("real.test.");
        let mut zone: InMemoryZoneHandler =
            InMemoryZoneHandler::empty(origin.clone(), ZoneType::Primary, AxfrPolicy::Deny);
        for record in records() {
            assert!(zone.upsert_mut(record, 1), "it takes the record");
        }
        let mut catalog = Catalog::new();
        catalog.upsert(origin.into(), vec![Arc::new(zone)]);
        runtime.spawn(async move {
            let mut server = hickory_server::Server::new(catalog);
            server.register_socket(tokio::net::UdpSocket::bind(address).await.expect("a port"));
            let listener = tokio::net::TcpListener::bind(address).await.expect("a port");
            server.register_listener(listener, PATIENCE, 16);
            server.block_until_done().await
        });
        let end = Instant::now() + 2 * PATIENCE;
        while std::net::TcpStream::connect(address).is_err() {
            assert!(Instant::now() < end, "hickory-server does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        Self { address, _runtime: runtime }
    }
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

/// The records of [`zone`].
fn records() -> Vec<Record> {
    let soa = rdata::SOA::new(name("ns.real.test."), name("mail.real.test."), 1, 2, 3, 4, 5);
    let mut all = vec![
        ("real.test.", RData::SOA(soa)),
        ("real.test.", RData::NS(rdata::NS(name("ns.real.test.")))),
        ("www.real.test.", RData::A(Ipv4Addr::new(192, 0, 2, 1).into())),
        ("www.real.test.", RData::A(Ipv4Addr::new(192, 0, 2, 2).into())),
        ("www.real.test.", RData::AAAA("2001:db8::1".parse::<Ipv6Addr>().expect("an address").into())),
        ("alias.real.test.", RData::CNAME(rdata::CNAME(name("www.real.test.")))),
        ("odd.real.test.", RData::Unknown { code: 65_280.into(), rdata: rdata::NULL::with(vec![1, 2, 3, 4]) }),
    ];
    all.extend(
        (0..12).map(|at| ("text.real.test.", RData::TXT(rdata::TXT::new(vec![format!("{at} {}", "x".repeat(180))])))),
    );
    all.into_iter().map(|(owner, data)| Record::from_rdata(name(owner), 60, data)).collect()
}

fn unbound(run: &Run) -> Found {
    let (folder, port) = (tempfile::tempdir().expect("a folder"), free_port());
    let data: String = zone().lines().map(|line| format!("    local-data: '{line}'\n")).collect();
    let config = format!(
        "server:\n    interface: 127.0.0.1@{port}\n    username: \"\"\n    chroot: \"\"\n    directory: \"{0}\"\n    pidfile: \"\"\n    \
         use-syslog: no\n    do-daemonize: no\n    access-control: 127.0.0.0/8 allow\n    local-zone: \"real.test.\" static\n{data}\
         remote-control:\n    control-enable: no\n",
        folder.path().display()
    );
    std::fs::write(folder.path().join("unbound.conf"), config).expect("writes");
    compare(run, "unbound", &["-d", "-c", "unbound.conf"], port, &folder)
}

fn nsd(run: &Run) -> Found {
    let (folder, port) = (tempfile::tempdir().expect("a folder"), free_port());
    let config = format!(
        "server:\n    ip-address: 127.0.0.1@{port}\n    username: \"\"\n    zonesdir: \"{0}\"\n    pidfile: \"\"\n    database: \"\"\n    \
         zonelistfile: \"{0}/zone.list\"\n    xfrdfile: \"{0}/xfrd.state\"\n    xfrdir: \"{0}\"\nremote-control:\n    \
         control-enable: no\nzone:\n    name: real.test\n    zonefile: real.zone\n",
        folder.path().display()
    );
    std::fs::write(folder.path().join("nsd.conf"), config).expect("writes");
    std::fs::write(folder.path().join("real.zone"), zone()).expect("writes");
    compare(run, "nsd", &["-d", "-c", "nsd.conf"], port, &folder)
}
