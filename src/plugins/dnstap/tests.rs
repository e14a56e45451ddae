//! A collector that reads what the plugin sends.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use prost::Message as _;

use super::message::Control;
use crate::chain::Proto;
use crate::testing::live::Live;
use crate::testing::{Server, packet};

/// Octets of the frames that begin a stream.
const CONTROL: usize = 8 + 12 + 22;

#[derive(Clone, PartialEq, prost::Message)]
struct Tapped {
    #[prost(bytes, optional, tag = "1")]
    identity: Option<Vec<u8>>,
    #[prost(bytes, optional, tag = "2")]
    version: Option<Vec<u8>>,
    #[prost(bytes, optional, tag = "3")]
    extra: Option<Vec<u8>>,
    #[prost(message, optional, tag = "14")]
    message: Option<Inner>,
    #[prost(int32, tag = "15")]
    kind: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Inner {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(int32, tag = "2")]
    family: i32,
    #[prost(int32, tag = "3")]
    protocol: i32,
    #[prost(bytes, tag = "4")]
    query_address: Vec<u8>,
    #[prost(uint32, tag = "6")]
    query_port: u32,
    #[prost(uint64, tag = "8")]
    query_time_sec: u64,
    #[prost(fixed32, tag = "9")]
    query_time_nsec: u32,
    #[prost(bytes, optional, tag = "10")]
    query_message: Option<Vec<u8>>,
    #[prost(uint64, optional, tag = "12")]
    response_time_sec: Option<u64>,
    #[prost(fixed32, optional, tag = "13")]
    response_time_nsec: Option<u32>,
    #[prost(bytes, optional, tag = "14")]
    response_message: Option<Vec<u8>>,
}

/// Reads a stream of frames to its end.
fn collect(mut stream: TcpStream, tell: &std::sync::mpsc::Sender<Tapped>) -> Option<()> {
    let mut ready = [0; CONTROL];
    stream.read_exact(&mut ready).ok()?;
    assert_eq!(ready[..], Control::Ready.frame());
    stream.write_all(&Control::Accept.frame()).ok()?;
    stream.read_exact(&mut ready).ok()?;
    assert_eq!(ready[..], Control::Start.frame());
    loop {
        let mut len = [0; 4];
        stream.read_exact(&mut len).ok()?;
        let mut frame = vec![0; u32::from_be_bytes(len) as usize];
        stream.read_exact(&mut frame).ok()?;
        tell.send(Tapped::decode(&*frame).expect("protobuf")).ok()?;
    }
}

/// Starts a collector; its address, and what it gets.
fn collector() -> (std::net::SocketAddr, Receiver<Tapped>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let (tell, told) = channel();
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || listener.incoming().flatten().for_each(|stream| _ = collect(stream, &tell)));
    (address, told)
}

#[test]
fn what_coredns_takes_and_we_refuse() {
    for (lines, error) in [
        ("dnstap listen tcp://:6000", "collectors that connect to the server are not served"),
        ("dnstap /a {\nextra \"{type}\"\n}", "variables of `extra` are not served"),
    ] {
        let refusal = Server::refusal(lines);
        assert!(refusal.ends_with(error) && refusal.is_empty() == error.is_empty(), "{lines}: {refusal}");
    }
}

#[test]
fn a_collector_gets_each_query_and_its_response() {
    let (address, told) = collector();
    let text = format!(". {{\ndnstap tcp://{address} full {{\nidentity me\nextra more\n}}\nwhoami\n}}\n");
    let live = Live::new(&text);
    let reply = live.ask("a.test.", "A").message;
    let next = || told.recv_timeout(Duration::from_secs(10)).expect("a message");
    let (query, response) = (next(), next());
    for tapped in [&query, &response] {
        assert_eq!((tapped.identity.as_deref(), tapped.kind), (Some(&b"me"[..]), 1));
        assert_eq!(
            (tapped.version.as_deref(), tapped.extra.as_deref()),
            (Some(&b"CoreDNS-1.15.0"[..]), Some(&b"more"[..]))
        );
        let inner = tapped.message.as_ref().expect("a message");
        assert_eq!((inner.family, inner.protocol, &inner.query_address[..]), (1, 1, &[127, 0, 0, 1][..]));
        assert!(inner.query_time_sec > 1_700_000_000 && inner.query_port > 0);
    }
    let (query, response) = (query.message.expect("one"), response.message.expect("one"));
    assert_eq!((query.kind, query.response_message), (5, None));
    assert_eq!((response.kind, response.query_message), (6, None));
    assert!(query.query_message.is_some_and(|message| message.windows(6).any(|part| part == b"\x01a\x04tes")));
    let tapped = hickory_proto::op::Message::from_vec(&response.response_message.expect("full")).expect("a reply");
    assert_eq!(tapped.additionals, reply.additionals);
    assert!(response.response_time_sec >= Some(response.query_time_sec));
}

#[test]
fn queries_do_not_wait_for_a_collector_and_what_is_too_much_is_dropped() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = silent.local_addr().expect("an address");
    let server = Server::new(&format!(". {{\ndnstap tcp://{address}\nwhoami\n}}\n"));
    for _ in 0..6000 {
        assert!(server.ask("a.test.", "A").is_some());
    }
    let page = server.host.metrics.text();
    assert!(page.contains("signpost_dnstap_messages_total{result=\"dropped\"} 2000"), "{page}");
}

/// The queue has a bound in octets too: with `full` a message has all of a response.
#[test]
fn large_messages_fill_the_queue_sooner() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = silent.local_addr().expect("an address");
    let text = "x".repeat(250);
    let answer = format!("answer \"{{{{ .Name }}}} 60 IN TXT{}\"", format!(" \\\"{text}\\\"").repeat(200));
    let live = Live::new(&format!(". {{\ndnstap tcp://{address} full\ntemplate IN TXT {{\n{answer}\n}}\n}}\n"));
    let dropped_of = |count: usize| {
        for _ in 0..count {
            let got = live.ask_packet(packet("a.test.", "TXT"), Proto::Tcp);
            assert!(got.reply.answer.wire_len() > 50_000);
        }
        live.metric("signpost_dnstap_messages_total{result=\"dropped\"}")
    };
    assert_eq!(dropped_of(90), 0.0);
    assert!(dropped_of(30) > 0.0, "120 responses have more than {} octets", super::OCTETS * super::QUEUE);
}
