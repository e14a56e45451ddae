//! One message has one answer, whatever brings it: UDP, TCP, TLS, QUIC, HTTPS by POST and by GET,
//! and gRPC.

use std::io::{Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use tokio_rustls::TlsConnector;

use super::quic::{connect_quic, reply_over_quic};
use super::support::{PATIENCE, Server, connect, free_port, query, receive, send};
use super::support_tls::Pki;

const COREFILE: &str = "dns://.:PORT tls://.:<TLS> https://.:<HTTPS> grpc://.:<GRPC> quic://.:<QUIC> {
    bind 127.0.0.1
    tls <CERT> <KEY>
    chaos signpost
    hosts {
        192.0.2.1 a.example
        2001:db8::1 a.example
        fallthrough
    }
    template IN TXT t.example {
        answer \"{{ .Name }} 60 IN TXT text\"
    }
    template IN ANY nx.example {
        rcode NXDOMAIN
        authority \"nx.example. 60 IN SOA ns.nx.example. a.nx.example. 1 60 60 60 60\"
    }
}
";

/// FORMERR and NOTIMP: what is refused before any plugin sees it.
const REFUSED: [u8; 2] = [1, 4];

/// The gRPC status of what is not a query.
const INVALID_ARGUMENT: u16 = 3;

//----------- Messages -------------------------------------------------------

fn messages() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for name in ["a.example.", "A.eXample.", "t.example.", "x.nx.example.", "other.example.", "."] {
        for kind in ["A", "AAAA", "TXT", "MX", "SOA", "PTR", "ANY", "HTTPS"] {
            all.push(query(name, kind));
        }
    }
    let plain = query("a.example.", "A");
    // Every octet of the header changed, the message cut everywhere, and more behind it.
    for at in 2..12 {
        for value in [0, 1, 2, 0x28, 0x80, 0xFF] {
            let mut changed = plain.clone();
            changed[at] = value;
            all.push(changed);
        }
    }
    all.extend((0..plain.len()).map(|end| plain[..end].to_vec()));
    all.push([&plain[..], &[0; 300]].concat());
    // Without OPT, with EDNS 1, with two OPT records, with a pointer as its name.
    let end = plain.len() - 11;
    let without: Vec<u8> = plain[..10].iter().copied().chain([0, 0]).chain(plain[12..end].iter().copied()).collect();
    all.push(without.clone());
    let mut later = plain.clone();
    later[end + 6] = 1;
    all.push(later);
    let mut two = [&plain[..], &plain[end..]].concat();
    two[11] = 2;
    all.push(two);
    all.push([&without[..12], &[0xC0, 12, 0, 1, 0, 1]].concat());
    let mut random = fastrand::Rng::with_seed(853);
    for _ in 0..250 {
        let mut changed = all[random.usize(..48)].clone();
        for _ in 0..random.usize(1..6) {
            let at = random.usize(2..changed.len());
            changed[at] = random.u8(..);
        }
        all.push(changed);
    }
    all
}

/// Returns a query whose answer shows that the server is done with `message`.
fn probe(message: &[u8]) -> Vec<u8> {
    let mut probe = query("a.example.", "AAAA");
    let id = message.get(..2).unwrap_or(&[0, 0]);
    probe[..2].copy_from_slice(&[!id[0], !id[1]]);
    probe
}

//----------- Clients --------------------------------------------------------

/// Returns the reply to a message, or `None` if the reply to its probe comes first.
fn reply(message: &[u8], mut next: impl FnMut() -> Vec<u8>) -> Option<Vec<u8>> {
    let probe = probe(message);
    let first = next();
    if first[..2] == probe[..2] {
        return None;
    }
    assert_eq!(next()[..2], probe[..2], "one reply at most: {message:02x?}");
    Some(first)
}

fn over_udp(socket: &UdpSocket, message: &[u8]) -> Option<Vec<u8>> {
    socket.send(message).expect("sends");
    socket.send(&probe(message)).expect("sends");
    reply(message, || {
        let mut buffer = vec![0; 65_535];
        let len = socket.recv(&mut buffer).expect("a reply");
        buffer.truncate(len);
        buffer
    })
}

fn over_stream(stream: &mut (impl Read + Write), message: &[u8]) -> Option<Vec<u8>> {
    // In one write: a second one would wait until the first is acknowledged.
    let mut both = Vec::new();
    send(&mut both, message);
    send(&mut both, &probe(message));
    stream.write_all(&both).expect("sends");
    reply(message, || receive(stream).expect("a reply"))
}

async fn connect_http2(address: SocketAddr, mut config: ClientConfig) -> SendRequest<Full<Bytes>> {
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = tokio::net::TcpStream::connect(address).await.expect("connects");
    stream.set_nodelay(true).expect("an option");
    let name = ServerName::try_from("dns.example.org").expect("a name");
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("TLS");
    let (requests, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    tokio::spawn(connection);
    requests
}

/// Returns the requests with a message: by POST, and by GET.
fn requests(message: &[u8]) -> [Request<Full<Bytes>>; 2] {
    let uri = "https://dns.example.org/dns-query";
    let post = Request::post(uri).body(Full::from(message.to_vec()));
    let get = Request::get(format!("{uri}?dns={}", URL_SAFE_NO_PAD.encode(message))).body(Full::default());
    [post, get].map(|request| request.expect("a request"))
}

/// Returns the message of a response, or its status if that is not 200.
async fn over_https(requests: &mut SendRequest<Full<Bytes>>, request: Request<Full<Bytes>>) -> Result<Vec<u8>, u16> {
    requests.ready().await.expect("open");
    let response = requests.send_request(request).await.expect("a response");
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("a body").to_bytes().to_vec();
    if status == 200 { Ok(body) } else { Err(status) }
}

/// Returns the message in the response to a call, or its gRPC status if that is not 0.
async fn over_grpc(requests: &mut SendRequest<Full<Bytes>>, message: &[u8]) -> Result<Vec<u8>, u16> {
    // A packet: the tag of its field, the length of the message in septets, and the message.
    let mut packet = vec![0x0A];
    let mut rest = message.len();
    while rest > 0x7F {
        packet.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    packet.push(rest as u8);
    packet.extend_from_slice(message);
    let body = [&[0][..], &(packet.len() as u32).to_be_bytes(), &packet].concat();
    let request = Request::post("https://dns.example.org/coredns.dns.DnsService/Query");
    let request = request.header("content-type", "application/grpc").body(Full::from(body)).expect("a request");
    requests.ready().await.expect("open");
    let (head, body) = requests.send_request(request).await.expect("a response").into_parts();
    assert_eq!(head.status.as_u16(), 200);
    assert_eq!(head.headers["content-type"], "application/grpc");
    let body = body.collect().await.expect("a body");
    let trailers = body.trailers().cloned().unwrap_or(head.headers);
    match trailers["grpc-status"].to_str().expect("a number").parse().expect("a number") {
        0 => {}
        status => return Err(status),
    }
    let body = body.to_bytes();
    let start = 6 + body[6..].iter().position(|octet| octet & 0x80 == 0).expect("a length") + 1;
    Ok(body[start..].to_vec())
}

//----------- The promise ----------------------------------------------------

#[test]
fn a_message_has_the_same_answer_on_every_transport() {
    let pki = Pki::new();
    pki.issue("dns", &["dns.example.org"]);
    let [tls, https, grpc, quic] = [(); 4].map(|()| free_port());
    let words = [
        ("<TLS>", tls.to_string()),
        ("<HTTPS>", https.to_string()),
        ("<GRPC>", grpc.to_string()),
        ("<QUIC>", quic.to_string()),
        ("<CERT>", pki.text("dns.pem")),
        ("<KEY>", pki.text("dns.key")),
    ];
    let corefile = words.iter().fold(COREFILE.to_owned(), |text, (word, with)| text.replace(word, with));
    let server = Server::start(&corefile, &[]);
    let at = |port: u16| SocketAddr::new(server.address().ip(), port);
    let config = || pki.client(None, &[&TLS13]);

    let udp = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    udp.connect(server.address()).expect("connects");
    udp.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut tcp = connect(server.address());
    let name = ServerName::try_from("dns.example.org").expect("a name");
    let client = ClientConnection::new(Arc::new(config()), name).expect("a client");
    let mut dot = StreamOwned::new(client, connect(at(tls)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut doh = runtime.block_on(connect_http2(at(https), config()));
    let mut calls = runtime.block_on(connect_http2(at(grpc), config()));
    let mut doq = runtime.block_on(connect_quic(&pki, at(quic))).expect("a connection");

    let (mut answered, mut silent, mut refused) = (0, 0, 0);
    for message in messages() {
        let expected = over_udp(&udp, &message);
        let code = expected.as_ref().map(|reply| reply[3] & 0xF);
        match code {
            None => silent += 1,
            Some(code) if REFUSED.contains(&code) => refused += 1,
            Some(_) => answered += 1,
        }
        assert_eq!(over_stream(&mut tcp, &message), expected, "TCP: {message:02x?}");
        assert_eq!(over_stream(&mut dot, &message), expected, "TLS: {message:02x?}");
        let with_id_0 = expected.clone().map(|reply| [&[0, 0], &reply[2..]].concat());
        let got = runtime.block_on(reply_over_quic(&mut doq, &pki, &message));
        assert_eq!(got, with_id_0, "QUIC: {message:02x?}");
        // A status says what other transports say by an RCODE, or by nothing.
        let expected = expected.filter(|_| code.is_some_and(|code| !REFUSED.contains(&code)));
        let called = runtime.block_on(over_grpc(&mut calls, &message));
        assert_eq!(called, expected.clone().ok_or(INVALID_ARGUMENT), "gRPC: {message:02x?}");
        let expected = expected.ok_or(400);
        for request in requests(&message) {
            let how = request.method().clone();
            let got = runtime.block_on(over_https(&mut doh, request));
            assert_eq!(got, expected, "{how}: {message:02x?}");
        }
    }
    assert!(answered > 100 && silent > 10 && refused > 50, "{answered} answered, {silent} silent, {refused} refused");
}
