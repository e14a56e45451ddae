//! Listeners that overlap: each layout can start, and each can be reloaded into each other one
//! without a lost question.
//!
//! `LISTENERS=long` asks 2,000 questions a second over UDP, and stays for a while after each
//! reload.

use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::asker::{Asker, over};
use super::support::{PATIENCE, Server, connect, decode, exchange, free_port, query, receive, run, send, text};

const NAME: &str = "x.a.example.";

fn is_long() -> bool {
    std::env::var_os("LISTENERS").is_some_and(|how| how == "long")
}

//----------- Layouts --------------------------------------------------------

/// A Corefile by its listeners; each serves 127.0.0.1 at `PORT`. `OTHER` is another port, `PAGE`
/// that of a page.
struct Layout {
    name: &'static str,
    corefile: &'static str,
    /// Whether 127.0.0.2 is served over UDP.
    serves_more: bool,
}

const LAYOUTS: &[Layout] = &[
    layout("all addresses", ".:PORT {\n health :PAGE\n whoami\n}\n", true),
    layout("one address", ".:PORT {\n bind 127.0.0.1\n health :PAGE\n whoami\n}\n", false),
    layout("two addresses", ".:PORT {\n bind 127.0.0.1 127.0.0.2\n health 0.0.0.0:PAGE\n whoami\n}\n", true),
    layout("an interface", ".:PORT {\n bind lo\n health localhost:PAGE\n whoami\n}\n", false),
    layout(
        "blocks that overlap",
        ".:PORT {\n health 127.0.0.1:PAGE\n ready :PAGE\n whoami\n}\na.example:PORT {\n bind 127.0.0.1 127.0.0.3\n whoami\n}\n",
        true,
    ),
    layout(
        "both wildcards",
        ".:PORT {\n bind 0.0.0.0 ::\n health localhost:PAGE\n ready 127.0.0.1:PAGE\n whoami\n}\n",
        true,
    ),
    layout("another port", ".:OTHER .:PORT {\n bind 127.0.0.1\n health :PAGE\n whoami\n}\n", false),
    layout(
        "a block without bind",
        "b.example:PORT {\n bind 127.0.0.2\n whoami\n}\n.:PORT {\n health :PAGE\n whoami\n}\n",
        true,
    ),
    layout("a page of one address", ".:PORT {\n health 127.0.0.1:PAGE\n whoami\n}\n", true),
    // Without a certificate it is plain TCP, so one client can ask before and after.
    layout("TLS", "tls://.:PORT {\n health :PAGE\n whoami\n}\n", false),
];

const fn layout(name: &'static str, corefile: &'static str, serves_more: bool) -> Layout {
    Layout { name, corefile, serves_more }
}

/// The ports of a walk through layouts.
struct Ports {
    other: u16,
    page: u16,
}

impl Ports {
    fn new() -> Self {
        Self { other: free_port(), page: free_port() }
    }

    fn corefile(&self, layout: &Layout) -> String {
        layout.corefile.replace("OTHER", &self.other.to_string()).replace("PAGE", &self.page.to_string())
    }
}

/// Returns the pairs of layouts to test, in both directions: all of them, or the most telling ones.
fn pairs() -> Vec<(&'static Layout, &'static Layout)> {
    let all = (0..LAYOUTS.len()).flat_map(|one| (0..one).map(move |other| (one, other)));
    // Each one with "all addresses", and some with their neighbours.
    let kept = all.filter(|(one, other)| is_long() || *other == 0 || one - other == 1 && one % 2 == 1);
    kept.map(|(one, other)| (&LAYOUTS[one], &LAYOUTS[other])).collect()
}

//----------- Reloads --------------------------------------------------------

/// Reloads, and waits until the reload is complete or has failed.
pub(super) fn reload(server: &Server, corefile: &str) {
    let count = |text: &str| server.output().matches(text).count();
    let ended = || count("Reloading complete") + count("stays in use");
    let before = ended();
    server.rewrite(corefile);
    server.signal("USR1");
    let end = Instant::now() + PATIENCE;
    while ended() == before {
        assert!(Instant::now() < end, "the reload does not end:\n{}", server.output());
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Returns the status of a page, or what came instead.
fn page(host: &str, port: u16, path: &str) -> String {
    let address = SocketAddr::new(host.parse().expect("an address"), port);
    let Ok(mut stream) = TcpStream::connect(address) else { return "refused".into() };
    use std::io::{Read, Write};
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").expect("sends");
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    text.split(' ').nth(1).unwrap_or("nothing").to_owned()
}

/// Returns whether this address answers over UDP.
fn answers(host: &str, port: u16) -> bool {
    exchange(SocketAddr::new(host.parse().expect("an address"), port), &query(NAME, "A")).is_some()
}

/// Waits until a condition holds.
#[track_caller]
fn until(is_so: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "it never came to pass");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Reloads from one layout to the other and back, on one server, while clients ask.
fn there_and_back(one: &Layout, other: &Layout) {
    let ports = Ports::new();
    let server = Server::start(&ports.corefile(one), &[]);
    let address = server.address();
    let with_datagrams = one.name != "TLS" && other.name != "TLS";
    let mut askers = vec![Asker::connections(address, &query(NAME, "A"))];
    if with_datagrams {
        // TCP opens first.
        until(|| answers("127.0.0.1", server.port));
        let (sockets, rate) = if is_long() { (128, 2000.0) } else { (16, 500.0) };
        askers.extend([
            Asker::datagrams(address, &query(NAME, "A"), sockets, rate),
            Asker::connection(address, &query(NAME, "A")),
        ]);
    }
    let known = format!("{} <-> {}", one.name, other.name);
    for layout in [other, one, other] {
        reload(&server, &ports.corefile(layout));
        let printed = server.output();
        assert!(!printed.contains("stays in use"), "{known}\n{printed}");
        assert_eq!(page("127.0.0.1", ports.page, "/health"), "200", "{known}");
        // The workers close sockets, a moment later.
        until(|| !with_datagrams || answers("127.0.0.2", server.port) == layout.serves_more);
        askers.iter().for_each(|asker| asker.wait_for(if is_long() { 150 } else { 5 }));
    }
    for asker in askers {
        asker.finish(&known);
    }
}

#[test]
fn each_layout_reloads_into_each_other_one_and_nothing_is_lost() {
    let pairs = Mutex::new(pairs().into_iter());
    std::thread::scope(|scope| {
        for _ in 0..if is_long() { 1 } else { 6 } {
            scope.spawn(|| {
                while let Some((one, other)) = { pairs.lock().expect("no panic").next() } {
                    there_and_back(one, other);
                }
            });
        }
    });
}

#[test]
fn each_layout_starts_and_is_valid() {
    let ports = Ports::new();
    for layout in LAYOUTS {
        let corefile = ports.corefile(layout);
        let (status, printed) = run(&corefile.replace("PORT", &free_port().to_string()), &[], &["-validate"]);
        assert_eq!(status, 0, "{}: {printed}", layout.name);
        let server = Server::start(&corefile, &[]);
        over(&mut TcpStream::connect(server.address()), &query(NAME, "A"))
            .unwrap_or_else(|why| panic!("{}: {why}", layout.name));
        assert_eq!(page("127.0.0.1", ports.page, "/health"), "200", "{}", layout.name);
    }
}

//----------- Who answers ----------------------------------------------------

#[test]
fn the_most_specific_block_answers_from_the_address_that_was_asked() {
    let metrics = free_port();
    // As in CoreDNS, one zone cannot be served at an address and at all of them; a zone and its
    // parent can.
    let corefile = format!(
        "example:PORT {{\n bind 127.0.0.2\n prometheus 127.0.0.1:{metrics}\n template ANY ANY {{\n rcode NXDOMAIN\n }}\n}}\n\
         a.example:PORT {{\n whoami\n}}\n"
    );
    let server = Server::start(&corefile, &[]);
    let rcode = |host: &str| {
        // A connected socket only takes replies from the address that it asks.
        let address = SocketAddr::new(host.parse::<IpAddr>().expect("an address"), server.port);
        let bytes = exchange(address, &query(NAME, "A")).expect("an answer");
        let mut stream = connect(address);
        send(&mut stream, &query(NAME, "A"));
        let over_tcp = receive(&mut stream).expect("an answer");
        assert_eq!(bytes[3] & 15, over_tcp[3] & 15, "{host}");
        text(&decode(&bytes)).split(' ').next().unwrap_or_default().to_owned()
    };
    assert_eq!(rcode("127.0.0.1"), "NOERROR");
    assert_eq!(rcode("127.0.0.2"), "NXDOMAIN");
    assert_eq!(rcode("127.0.0.3"), "NOERROR");
    use std::io::{Read, Write};
    let mut stream = connect(([127, 0, 0, 1], metrics).into());
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("sends");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("a page");
    let label = format!("server=\"dns://127.0.0.2:{}\"", server.port);
    let counted: Vec<_> = page.lines().filter(|line| line.starts_with("coredns_dns_requests_total{")).collect();
    assert!(!counted.is_empty() && counted.iter().all(|line| line.contains(&label)), "{counted:?}");
}

#[test]
fn pages_are_found_by_whatever_their_address_is_called() {
    let port = free_port();
    let corefile = |health: &str, ready: &str| {
        format!(".:PORT {{\n bind 127.0.0.1\n health {health}:{port}\n ready {ready}:{port}\n whoami\n}}\n")
    };
    let server = Server::start(&corefile("localhost", "127.0.0.1"), &[]);
    let pages = |host: &str| [page(host, port, "/health"), page(host, port, "/ready")];
    assert_eq!(pages("127.0.0.1"), ["200", "200"]);
    let both = ["", "0.0.0.0", "127.0.0.1", "localhost"];
    for (health, ready) in both.iter().flat_map(|one| both.map(|other| (*one, other))) {
        reload(&server, &corefile(health, ready));
        assert_eq!(pages("127.0.0.1"), ["200", "200"], "health {health}, ready {ready}\n{}", server.output());
    }
    // A page of one address is not served at others.
    reload(&server, &corefile("127.0.0.1", "[::]"));
    assert_eq!(pages("127.0.0.1"), ["200", "200"]);
    assert_eq!(pages("127.0.0.2"), ["404", "200"]);
}

//----------- What cannot be opened ------------------------------------------

#[test]
fn a_port_that_another_process_has_is_an_error_although_we_overlap_with_it() {
    let server = Server::start(".:PORT {\n bind 127.0.0.1\n whoami\n}\n", &[]);
    until(|| answers("127.0.0.1", server.port));
    let asker = Asker::datagrams(server.address(), &query(NAME, "A"), 8, 500.0);
    let everywhere = ".:PORT {\n whoami\n}\n";
    for is_stream in [false, true] {
        let kind = if is_stream { socket2::Type::STREAM } else { socket2::Type::DGRAM };
        let socket = socket2::Socket::new(socket2::Domain::IPV4, kind, None).expect("a socket");
        // Without this option the kernel refuses; with it, the same user would share the port
        // silently.
        socket.set_reuse_port(true).expect("an option");
        socket.bind(&SocketAddr::from(([127, 0, 0, 3], server.port)).into()).expect("binds");
        if is_stream {
            socket.listen(1).expect("listens");
        }
        let said = server.output().len();
        reload(&server, everywhere);
        let said = server.output()[said..].to_owned();
        let protocol = if is_stream { 't' } else { 'u' };
        let advice = format!("`ss -l{protocol}np 'sport = :{}'`", server.port);
        assert!(said.contains("address already in use") && said.contains(&advice), "{said}");
        assert!(!answers("127.0.0.2", server.port), "nothing stays open");
    }
    reload(&server, everywhere);
    assert!(answers("127.0.0.2", server.port), "{}", server.output());
    asker.finish("reloads that fail");
}

#[test]
fn a_reload_that_fails_at_its_last_socket_leaves_nothing_open_and_loses_nothing() {
    let (taken, free) = (free_port(), free_port());
    let _taken = UdpSocket::bind(("127.0.0.1", taken)).expect("binds");
    let server = Server::start(".:PORT {\n whoami\n}\n", &[]);
    until(|| answers("127.0.0.1", server.port));
    let asker = Asker::datagrams(server.address(), &query(NAME, "A"), 16, 1000.0);
    let connections = Asker::connections(server.address(), &query(NAME, "A"));
    // In this order: the more specific socket takes queries as soon as it is bound.
    let broken = format!(
        ".:PORT {{\n bind 127.0.0.1\n whoami\n}}\n.:{free} {{\n bind 127.0.0.1\n whoami\n}}\n.:{taken} {{\n bind 127.0.0.1\n whoami\n}}\n"
    );
    for _ in 0..if is_long() { 100 } else { 10 } {
        reload(&server, &broken);
        asker.wait_for(20);
        assert!(!answers("127.0.0.1", free), "nothing stays open");
    }
    for asker in [asker, connections] {
        asker.finish("reloads that fail");
    }
    assert_eq!(server.output().matches("Restart failed").count(), if is_long() { 100 } else { 10 });
}

#[test]
fn a_page_and_questions_cannot_share_an_address() {
    let port = free_port();
    for (bind, page) in [("127.0.0.1", "localhost"), ("127.0.0.1", "127.0.0.1"), ("0.0.0.0", ""), ("::", "0.0.0.0")] {
        let corefile = format!(".:{port} {{\n bind {bind}\n health {page}:{port}\n whoami\n}}\n");
        let (status, printed) = run(&corefile, &[], &[]);
        assert_eq!(status, 1, "{printed}");
        let wanted = [
            "Corefile:2 - Listen: listen tcp",
            "address already in use",
            "help: Signpost itself has it already, for questions or another page; change",
        ];
        wanted.iter().for_each(|text| assert!(printed.contains(text), "{bind} {page}: {text:?} is not in:\n{printed}"));
    }
}

#[test]
fn two_protocols_cannot_share_a_port() {
    for (one, other) in
        [("", ""), ("bind 0.0.0.0", ""), ("bind ::", "bind 0.0.0.0"), ("bind 127.0.0.1", "bind 127.0.0.1")]
    {
        let corefile = format!(".:1053 {{\n {one}\n whoami\n}}\ntls://.:1053 {{\n {other}\n whoami\n}}\n");
        let (status, printed) = run(&corefile, &[], &["-validate"]);
        assert_eq!(status, 1, "{printed}");
        let wanted = [
            "Corefile:5 - tls://.:1053 and dns://.:1053 cannot share the TCP port 1053",
            "dns://.:1053 stands at Corefile:1",
        ];
        wanted.iter().for_each(|text| assert!(printed.contains(text), "{text:?} is not in:\n{printed}"));
    }
    let (status, printed) = run(".:853 {\n whoami\n}\nquic://. {\n whoami\n}\n", &[], &["-validate"]);
    let wanted = "Corefile:4 - quic://.:853 and dns://.:853 cannot share the UDP port 853";
    assert!(status == 1 && printed.contains(wanted), "{printed}");
    let (status, printed) =
        run(".:1053 {\n whoami\n}\ntls://.:1053 {\n bind 127.0.0.1\n whoami\n}\n", &[], &["-validate"]);
    assert_eq!(status, 0, "{printed}");
}
