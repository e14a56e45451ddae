//! What EDNS and header bits get, with cluster names and with names that are forwarded: the table
//! of what RFC 6891 and its options want, and of what is as CoreDNS has it all the same.

use std::net::{TcpStream, UdpSocket};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use rustls::{ClientConnection, StreamOwned};

use super::support::{PATIENCE, Server, connect, free_port, receive, send};
use super::support_tls::Pki;
use super::support_upstream::{Act, Answer, Upstream, wire};

const COREFILE: &str = "dns://.:PORT tls://.:<TLS> {
    bind 127.0.0.1
    tls <CERT> <KEY>
    kubernetes cluster.local {
        manifests service.json
    }
    forward . <UPSTREAM>
}
";

const SERVICE: &str = r#"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
    "spec": {"clusterIP": "10.0.0.5", "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}}"#;

/// One of the cluster, and one that is forwarded.
const NAMES: [&str; 2] = ["web.default.svc.cluster.local.", "www.example.org."];

//----------- Messages -------------------------------------------------------

/// A query for an address, before its parts are put together.
#[derive(Clone)]
struct Ask {
    flags: u16,
    /// Records in the question, answer, authority and additional section.
    counts: [u16; 4],
    qtype: u16,
    class: u16,
    /// What stands behind the question.
    rest: Vec<u8>,
}

/// Without RD, and without an OPT.
const PLAIN: Ask = Ask { flags: 0, counts: [1, 0, 0, 0], qtype: 1, class: 1, rest: Vec::new() };

impl Ask {
    fn packet(&self, name: &str) -> Vec<u8> {
        let words = [0x1234, self.flags].into_iter().chain(self.counts);
        let end = [self.qtype, self.class];
        let question = [&wire(name)[..], &end.map(u16::to_be_bytes).concat()].concat();
        [&words.flat_map(u16::to_be_bytes).collect::<Vec<_>>()[..], &question, &self.rest].concat()
    }

    fn flags(flags: u16) -> Self {
        Self { flags, ..PLAIN }
    }

    /// With an OPT of this version, flags and options.
    fn opt(version: u8, flags: u16, options: &[u8]) -> Self {
        Self { counts: [1, 0, 0, 1], rest: opt(&[0], 1232, version, flags, options), ..PLAIN }
    }
}

fn opt(owner: &[u8], size: u16, version: u8, flags: u16, options: &[u8]) -> Vec<u8> {
    let words = [41, size, u16::from(version), flags, options.len() as u16];
    [owner, &words.map(u16::to_be_bytes).concat(), options].concat()
}

fn option(code: u8, data: &[u8]) -> Vec<u8> {
    [&[0, code, 0, data.len() as u8], data].concat()
}

/// Returns what matters of a reply: RCODE with its extended bits, header bits, counts, and the OPT.
fn told(reply: &[u8]) -> String {
    let word = |at: usize| u16::from_be_bytes([reply[at], reply[at + 1]]);
    let bits = [(0x400, "aa"), (0x200, "tc"), (0x80, "ra"), (0x100, "rd"), (0x40, "z"), (0x20, "ad"), (0x10, "cd")];
    let set = bits.iter().filter(|(bit, _)| word(2) & bit != 0).map(|(_, name)| format!(" {name}"));
    let set: String = set.collect();
    // The OPT is the last record, and an OPT without options ends with its length, zero.
    let root_at = |at: &usize| reply[*at..].starts_with(&[0, 0, 41]);
    let found = (word(10) > 0).then(|| (12..reply.len() - 2).rev().find(root_at)).flatten();
    let (mut rcode, mut edns) = (word(2) & 0xF, String::new());
    if let Some(at) = found {
        rcode |= u16::from(reply[at + 5]) << 4;
        edns = format!(" opt{} {} {:x} {}", reply[at + 6], word(at + 3), word(at + 7), hex(&reply[at + 11..]));
    }
    format!("{rcode}{set} {}/{}/{}{}", word(6), word(8), word(10), edns.trim_end())
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

//----------- The server -----------------------------------------------------

struct Bed {
    server: Server,
    _upstream: Upstream,
    pki: Pki,
    secure: u16,
}

impl Bed {
    fn start() -> Self {
        let upstream = Upstream::start(|seen| {
            let answer = Answer::to(&seen.packet);
            let is_address = seen.packet.windows(4).any(|octets| octets == [0, 1, 0, 1]);
            vec![Act::send(if is_address { answer.a("192.0.2.1", 60) } else { answer })]
        });
        let (pki, secure) = (Pki::new(), free_port());
        pki.issue("dns", &["dns.example.org"]);
        let words = [
            ("<TLS>", secure.to_string()),
            ("<CERT>", pki.text("dns.pem")),
            ("<KEY>", pki.text("dns.key")),
            ("<UPSTREAM>", upstream.address.to_string()),
        ];
        let corefile = words.iter().fold(COREFILE.to_owned(), |text, (word, with)| text.replace(word, with));
        Self { server: Server::start(&corefile, &[("service.json", SERVICE)]), _upstream: upstream, pki, secure }
    }

    fn over_udp(&self, packet: &[u8]) -> Vec<u8> {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.connect(self.server.address()).expect("connects");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket.send(packet).expect("sends");
        let mut buffer = vec![0; 4096];
        let len = socket.recv(&mut buffer).expect("a reply");
        buffer.truncate(len);
        buffer
    }

    fn over_tcp(&self, packet: &[u8]) -> Vec<u8> {
        let mut stream = connect(self.server.address());
        send(&mut stream, packet);
        receive(&mut stream).expect("a reply")
    }

    fn over_tls(&self, packet: &[u8]) -> Vec<u8> {
        let name = ServerName::try_from("dns.example.org").expect("a name");
        let config = Arc::new(self.pki.client(None, &[&TLS13]));
        let client = ClientConnection::new(config, name).expect("a client");
        let mut stream: StreamOwned<_, TcpStream> =
            StreamOwned::new(client, connect(([127, 0, 0, 1], self.secure).into()));
        send(&mut stream, packet);
        receive(&mut stream).expect("a reply")
    }
}

//----------- The table ------------------------------------------------------

/// Header bits are echoed if they are the client's to set; the answer decides about the others.
#[test]
fn header_bits() {
    let bed = Bed::start();
    let rows = [
        ("nothing", Ask::flags(0), "0 aa 1/0/0"),
        ("AA", Ask::flags(0x400), "0 aa 1/0/0"),
        ("TC", Ask::flags(0x200), "0 aa 1/0/0"),
        ("RD", Ask::flags(0x100), "0 aa rd 1/0/0"),
        ("RA", Ask::flags(0x80), "0 aa 1/0/0"),
        ("Z", Ask::flags(0x40), "0 aa 1/0/0"),
        ("AD", Ask::flags(0x20), "0 aa 1/0/0"),
        ("CD", Ask::flags(0x10), "0 aa cd 1/0/0"),
        // As CoreDNS: the opcode and the client's own bits.
        ("another opcode", Ask::flags(0x7FF0), "4 tc ra rd ad cd 0/0/0"),
        ("two questions", Ask { counts: [2, 0, 0, 0], ..PLAIN }, "1 0/0/0"),
        ("no question", Ask { counts: [0; 4], ..PLAIN }, "1 0/0/0"),
        ("octets behind", Ask { rest: b"garbage".to_vec(), ..PLAIN }, "0 aa 1/0/0"),
    ];
    check(&bed, &rows);
}

#[test]
fn opt_and_its_options() {
    let bed = Bed::start();
    let (nsid, subnet) = (option(3, b""), option(8, b"\0\x01\x18\0\x0A\0\0"));
    let (expire, unknown) = (option(9, b""), option(100, b"xyz"));
    let cookie = |len: usize| option(10, &vec![7; len]);
    let answered = "0 aa 1/0/1 opt0 1232 0";
    let refused = "16 0/0/1 opt0 1232 0";
    let second = opt(&[0], 1232, 0, 0, b"");
    let one = |owner: &[u8], counts| Ask { counts, rest: opt(owner, 1232, 0, 0, b""), ..PLAIN };
    let mut rows = vec![
        ("EDNS", Ask::opt(0, 0, b""), answered),
        // The client's size and not our own, as CoreDNS: no client could tell.
        ("4096 octets", Ask { rest: opt(&[0], 4096, 0, 0, b""), ..Ask::opt(0, 0, b"") }, "0 aa 1/0/1 opt0 4096 0"),
        ("17 octets", Ask { rest: opt(&[0], 17, 0, 0, b""), ..Ask::opt(0, 0, b"") }, "0 aa 1/0/1 opt0 512 0"),
        ("DO", Ask::opt(0, 0x8000, b""), "0 aa 1/0/1 opt0 1232 8000"),
        ("DO and CD", Ask { flags: 0x10, ..Ask::opt(0, 0x8000, b"") }, "0 aa cd 1/0/1 opt0 1232 8000"),
        ("another flag", Ask::opt(0, 0x80, b""), answered),
        ("all options", Ask::opt(0, 0, &[&nsid[..], &subnet, &expire, &cookie(8), &unknown].concat()), answered),
        ("a cookie with the server's part", Ask::opt(0, 0, &cookie(24)), answered),
        ("version 1", Ask::opt(1, 0, b""), refused),
        ("version 100", Ask::opt(100, 0, b""), refused),
        ("version 1 and flags", Ask::opt(1, 0x80, b""), refused),
        ("32 options", Ask::opt(0, 0, &option(100, b"").repeat(32)), answered),
        ("33 options", Ask::opt(0, 0, &option(100, b"").repeat(33)), "1 0/0/0"),
        ("500 options", Ask::opt(0, 0, &option(100, b"").repeat(500)), "1 0/0/0"),
        ("an option twice", Ask::opt(0, 0, &option(3, b"").repeat(2)), answered),
        ("three OPT", Ask { counts: [1, 0, 0, 3], rest: second.repeat(3), ..PLAIN }, "1 0/0/0"),
        ("two OPT", Ask { counts: [1, 0, 0, 2], rest: second.repeat(2), ..PLAIN }, "1 0/0/0"),
        ("an OPT among the answers", one(&[0], [1, 1, 0, 0]), "1 0/0/0"),
        ("an OPT with a name", one(b"\x01a\0", [1, 0, 0, 1]), "1 0/0/0"),
        ("an option beyond the OPT", Ask::opt(0, 0, &[0, 3, 0, 9]), "1 0/0/0"),
    ];
    let with = |option: &[u8]| Ask::opt(1, 0, option);
    rows.extend([nsid, subnet, expire, cookie(8), unknown].map(|option| ("version 1", with(&option), refused)));
    let bad = [0, 7, 9, 15, 41].map(|len| ("a cookie of no such length", Ask::opt(0, 0, &cookie(len)), "1 0/0/0"));
    rows.extend(bad);
    check(&bed, &rows);
}

/// Returns what a reply of the cluster becomes if it is forwarded: the upstream sets RA, not AA.
fn of(name: &str, wanted: &str) -> String {
    if name == NAMES[0] { wanted.to_owned() } else { wanted.replace(" aa", " ra") }
}

/// Asks the questions of a table over UDP and TCP.
fn check(bed: &Bed, rows: &[(&str, Ask, &str)]) {
    for (what, ask, wanted) in rows {
        for name in NAMES {
            let packet = ask.packet(name);
            assert_eq!(told(&bed.over_udp(&packet)), of(name, wanted), "{what}, {name}, UDP");
            assert_eq!(told(&bed.over_tcp(&packet)), of(name, wanted), "{what}, {name}, TCP");
        }
    }
}

/// Other classes have nothing here, and go upstream as with CoreDNS.
#[test]
fn other_classes() {
    let bed = Bed::start();
    for class in [3, 4, 254, 255] {
        let ask = Ask { class, ..PLAIN };
        assert_eq!(told(&bed.over_udp(&ask.packet(NAMES[0]))), "5 0/0/0", "{class}");
        assert_eq!(told(&bed.over_udp(&ask.packet(NAMES[1]))), "0 ra 0/0/0", "{class}");
    }
}

/// Types without a meaning here: no data, and what is upstream says what it wants.
#[test]
fn unknown_types() {
    let bed = Bed::start();
    for qtype in [666, 1000, 65_280, 65_534] {
        let ask = Ask { qtype, ..PLAIN };
        assert_eq!(told(&bed.over_udp(&ask.packet(NAMES[0]))), "0 aa 0/1/0", "{qtype}");
        assert_eq!(told(&bed.over_udp(&ask.packet(NAMES[1]))), "0 ra 0/0/0", "{qtype}");
    }
}

/// RFC 7828: told to who asks over TCP and TLS, in units of 100 ms.
#[test]
fn how_long_a_connection_may_be_idle_is_told() {
    let bed = Bed::start();
    let packet = Ask::opt(0, 0, &option(11, b"")).packet(NAMES[0]);
    let wanted = "0 aa 1/0/1 opt0 1232 0 000b00020064";
    assert_eq!(told(&bed.over_tcp(&packet)), wanted);
    assert_eq!(told(&bed.over_tls(&packet)), wanted);
    assert_eq!(told(&bed.over_udp(&packet)), "0 aa 1/0/1 opt0 1232 0");
}

/// RFC 7830 and 8467: replies to padded queries are padded where nobody can read them.
#[test]
fn replies_are_padded_where_they_are_encrypted() {
    let bed = Bed::start();
    for name in NAMES {
        let packet = Ask::opt(0, 0, &option(12, &[0; 20])).packet(name);
        let padded = bed.over_tls(&packet);
        assert_eq!(padded.len(), 468, "{name}");
        let (text, plain) = (told(&padded), of(name, "0 aa 1/0/1 opt0 1232 0"));
        assert!(text.starts_with(&format!("{plain} 000c01")), "{name}: {text}");
        assert_eq!(told(&bed.over_tls(&Ask::opt(0, 0, b"").packet(name))), plain);
        assert_eq!(told(&bed.over_tcp(&packet)), plain);
        assert_eq!(told(&bed.over_udp(&packet)), plain);
    }
}
