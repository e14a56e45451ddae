//! A cluster of manifests whose zones are transferred.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use hickory_proto::op::Message;

use crate::chain::Proto;
use crate::testing::Server;
use crate::testing::live::Live;
use crate::wire::name::Name;
use crate::wire::question::Question;
use crate::wire::types::{opcode, rtype};

const CLUSTER: &str = "
{apiVersion: v1, kind: Service, metadata: {name: b, namespace: two}, spec: {clusterIPs: [10.96.0.1, 'fd00::1'],
  clusterIP: 10.96.0.1, ports: [{name: http, port: 80}, {port: 81}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: b, namespace: one}, spec: {clusterIP: None, ports: [{name: p, port: 7}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: a, namespace: two}, spec: {type: ExternalName, externalName: a.partner.example}}
---
{apiVersion: v1, kind: Service, metadata: {name: c, namespace: two}, spec: {type: ExternalName, externalName: 192.0.2.7}}
---
{apiVersion: v1, kind: Service, metadata: {name: lb, namespace: two}, spec: {clusterIP: 10.96.0.2, ports: [{name: http, port: 80}],
  externalIPs: [203.0.113.1]}, status: {loadBalancer: {ingress: [{ip: '2001:db8::1'}]}}}
---
{apiVersion: v1, kind: Service, metadata: {name: host, namespace: two}, spec: {clusterIP: 10.96.0.3, ports: [{port: 80}]},
  status: {loadBalancer: {ingress: [{hostname: lb.partner.example}]}}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4,
  metadata: {name: b-x, namespace: one, labels: {kubernetes.io/service-name: b}},
  ports: [{name: p, port: 7}], endpoints: [{addresses: [10.244.0.1], hostname: e-0}, {addresses: [10.244.0.2]}]}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4,
  metadata: {name: b-y, namespace: one, labels: {kubernetes.io/service-name: b}},
  ports: [{name: q, port: 8}], endpoints: [{addresses: [10.244.0.2]}]}
";

struct Room {
    live: Live,
    _file: tempfile::NamedTempFile,
}

impl Room {
    fn new(lines: &str) -> Self {
        Self::with(CLUSTER, lines)
    }

    fn with(cluster: &str, lines: &str) -> Self {
        let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().expect("a file");
        file.write_all(cluster.as_bytes()).expect("written");
        let path = file.path().display();
        // With `bind` the answers do not depend on the addresses of this machine.
        let text = format!(
            ". {{\nbind 127.0.0.1\nkubernetes cluster.local in-addr.arpa {{\nmanifests {path}\n}}\n{lines}\n}}\n"
        );
        Self { live: Live::prepared(&text, false).expect("a good Corefile"), _file: file }
    }

    /// Asks over a stream. Returns the RCODE, and the records of all messages.
    fn transfer(&self, packet: Vec<u8>) -> (String, Vec<String>, usize) {
        let asked = Message::from_vec(&packet).expect("a query").queries[0].name().to_string();
        let question = Question::new(Name::from_text(&asked).expect("a name"), rtype::AXFR);
        let mut got = self.live.ask_packet(packet, Proto::Tcp);
        let code = got.text().split(' ').next().unwrap_or_default().to_owned();
        let (more, mut answers) = (got.reply.take_more(), vec![got.reply.answer]);
        answers.extend(more.iter().flat_map(|more| std::iter::from_fn(|| more.next())));
        let messages = answers.iter().map(|answer| Message::from_vec(&answer.message(&question)).expect("a message"));
        let records = messages.flat_map(|message| message.answers.clone()).map(|record| record.to_string());
        (code, records.collect(), answers.len())
    }

    fn axfr(&self, zone: &str) -> (String, Vec<String>) {
        let (code, records, _) = self.transfer(crate::testing::packet(zone, "AXFR"));
        (code, records)
    }

    fn requests(&self, result: &str) -> f64 {
        self.live.metric(&format!("signpost_transfer_requests_total{{result=\"{result}\"}}"))
    }
}

/// An IXFR query of a client that has a version.
fn ixfr(zone: &str, serial: u32) -> Vec<u8> {
    let mut packet = Question::new(Name::from_text(zone).expect("a name"), rtype::IXFR).query(7, 0, None);
    packet[9] = 1;
    packet.extend_from_slice(b"\xC0\x0C\0\x06\0\x01\0\0\0\0\0\x16\0\0");
    packet.extend_from_slice(&serial.to_be_bytes());
    packet.extend_from_slice(&[0; 16]);
    packet
}

/// Records without the SOA's serial, which is a time.
fn shown(records: &[String]) -> Vec<String> {
    let words = |record: &String| {
        let mut words: Vec<&str> = record.split_whitespace().collect();
        if words.get(3) == Some(&"SOA") {
            words[6] = "SERIAL";
        }
        words.join(" ")
    };
    records.iter().map(words).collect()
}

const SOA: &str = "cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. SERIAL 7200 1800 86400 5";

#[test]
fn the_zone_of_a_cluster_is_coredns_own_in_its_order() {
    let room = Room::new("transfer {\nto *\n}");
    let (code, records) = room.axfr("Cluster.local.");
    let wanted = [
        SOA,
        "a.two.svc.cluster.local. 5 IN CNAME a.partner.example.",
        "b.one.svc.cluster.local. 5 IN A 10.244.0.1",
        "e-0.b.one.svc.cluster.local. 5 IN A 10.244.0.1",
        "_p._tcp.b.one.svc.cluster.local. 5 IN SRV 0 50 7 e-0.b.one.svc.cluster.local.",
        "b.one.svc.cluster.local. 5 IN A 10.244.0.2",
        "10-244-0-2.b.one.svc.cluster.local. 5 IN A 10.244.0.2",
        "_p._tcp.b.one.svc.cluster.local. 5 IN SRV 0 50 7 10-244-0-2.b.one.svc.cluster.local.",
        "_q._tcp.b.one.svc.cluster.local. 5 IN SRV 0 100 8 10-244-0-2.b.one.svc.cluster.local.",
        "b.two.svc.cluster.local. 5 IN A 10.96.0.1",
        "b.two.svc.cluster.local. 5 IN AAAA fd00::1",
        "b.two.svc.cluster.local. 5 IN SRV 0 100 80 b.two.svc.cluster.local.",
        "_http._tcp.b.two.svc.cluster.local. 5 IN SRV 0 100 80 b.two.svc.cluster.local.",
        "b.two.svc.cluster.local. 5 IN SRV 0 100 81 b.two.svc.cluster.local.",
        "host.two.svc.cluster.local. 5 IN A 10.96.0.3",
        "host.two.svc.cluster.local. 5 IN SRV 0 100 80 host.two.svc.cluster.local.",
        "lb.two.svc.cluster.local. 5 IN A 10.96.0.2",
        "lb.two.svc.cluster.local. 5 IN SRV 0 100 80 lb.two.svc.cluster.local.",
        "_http._tcp.lb.two.svc.cluster.local. 5 IN SRV 0 100 80 lb.two.svc.cluster.local.",
        SOA,
    ];
    let lower: Vec<String> = shown(&records).iter().map(|record| record.replace("Cluster", "cluster")).collect();
    assert_eq!((code.as_str(), lower), ("NOERROR", wanted.map(str::to_owned).to_vec()));
    assert_eq!(room.requests("full"), 1.0);
    // Names inside of a zone, and zones of addresses, are no zones to copy.
    assert_eq!((room.axfr("svc.cluster.local.").0, room.axfr("in-addr.arpa.").0), ("REFUSED".into(), "REFUSED".into()));
}

#[test]
fn the_zone_of_what_is_reached_from_outside_shows_what_its_answers_show() {
    let room = Room::new("k8s_external ext.test {\nheadless\n}\ntransfer {\nto *\n}");
    let (code, records) = room.axfr("ext.test.");
    let soa = "ext.test. 5 IN SOA ns1.dns.ext.test. hostmaster.dns.ext.test. SERIAL 7200 1800 86400 5";
    let wanted = [
        soa,
        "ext.test. 5 IN NS ns1.dns.ext.test.",
        "b.one.ext.test. 5 IN A 10.244.0.1",
        "b.one.ext.test. 5 IN A 10.244.0.2",
        "b.one.ext.test. 5 IN SRV 0 33 7 10-244-0-2.b.one.ext.test.",
        "b.one.ext.test. 5 IN SRV 0 33 7 e-0.b.one.ext.test.",
        "b.one.ext.test. 5 IN SRV 0 33 8 10-244-0-2.b.one.ext.test.",
        "e-0.b.one.ext.test. 5 IN A 10.244.0.1",
        "e-0.b.one.ext.test. 5 IN SRV 0 100 7 e-0.b.one.ext.test.",
        "_p._tcp.b.one.ext.test. 5 IN A 10.244.0.1",
        "_p._tcp.b.one.ext.test. 5 IN A 10.244.0.2",
        "_p._tcp.b.one.ext.test. 5 IN SRV 0 50 7 e-0.b.one.ext.test.",
        "_p._tcp.b.one.ext.test. 5 IN SRV 0 50 7 10-244-0-2.b.one.ext.test.",
    ];
    let mut got = shown(&records);
    // The order of a service's slices is that in which they came.
    got[2..7].sort_unstable();
    assert_eq!(
        (code.as_str(), &got[..7], got.last().map(String::as_str)),
        ("NOERROR", &wanted.map(str::to_owned)[..7], Some(soa))
    );
    assert!(wanted.iter().all(|wanted| got.iter().any(|got| got == wanted)), "{got:#?}");
    let alias: Vec<_> = got.iter().filter(|record| record.starts_with("host.two.ext.test.")).collect();
    assert_eq!(alias, ["host.two.ext.test. 5 IN CNAME lb.partner.example."], "nothing stands beside an alias");
    let has = |record: &str| got.iter().any(|got| got == record);
    assert!(has("lb.two.ext.test. 5 IN A 203.0.113.1") && has("lb.two.ext.test. 5 IN AAAA 2001:db8::1"));
    // What a transfer shows is what questions get.
    for record in got.iter().filter(|record| !record.contains("SOA") && !record.contains("CNAME")) {
        let words: Vec<&str> = record.split(' ').collect();
        let answer = room.live.ask(words[0], words[3]).message;
        let mut records = answer.answers.iter().map(ToString::to_string);
        assert!(records.any(|answer| answer.split_whitespace().eq(words.iter().copied())), "{record}");
    }
}

#[test]
fn a_client_with_a_current_version_gets_the_soa_alone() {
    let room = Room::new("transfer {\nto *\n}");
    let serial = room.axfr("cluster.local.").1[0].split_whitespace().nth(6).and_then(|serial| serial.parse().ok());
    let serial: u32 = serial.expect("a serial");
    for known in [serial, serial.wrapping_add(1)] {
        let (code, records, _) = room.transfer(ixfr("cluster.local.", known));
        assert_eq!((code.as_str(), shown(&records)), ("NOERROR", vec![SOA.to_owned()]));
    }
    assert_eq!(room.transfer(ixfr("cluster.local.", serial - 1)).1.len(), 20);
    let without = room.transfer(crate::testing::packet("cluster.local.", "IXFR"));
    assert_eq!(without.0, "SERVFAIL");
    assert_eq!((room.requests("current"), room.requests("full"), room.requests("failed")), (2.0, 2.0, 1.0));
}

#[test]
fn who_is_not_allowed_is_refused_and_nobody_over_udp() {
    // The client asks from 127.0.0.1. The longest zone decides, wherever it stands.
    let room = Room::new("transfer cluster.local {\nto 192.0.2.1\n}\ntransfer . {\nto *\n}");
    assert_eq!(room.axfr("cluster.local.").0, "REFUSED");
    let room =
        Room::new("transfer . {\nto 192.0.2.1 [2001:db8::1]:5300\n}\ntransfer cluster.local {\nto 127.0.0.1:5300\n}");
    assert_eq!(room.axfr("cluster.local.").0, "NOERROR");
    for (qtype, packet) in [("AXFR", None), ("IXFR", None), ("IXFR", Some(ixfr("cluster.local.", 1)))] {
        let packet = packet.unwrap_or_else(|| crate::testing::packet("cluster.local.", qtype));
        assert_eq!(room.live.ask_packet(packet, Proto::Udp).text(), "REFUSED");
    }
    assert_eq!(room.requests("refused"), 3.0);
    // Without the plugin, and for zones that no directive holds, as before.
    assert_eq!(Room::new("transfer elsewhere.test {\nto *\n}").axfr("cluster.local.").0, "REFUSED");
    assert_eq!(Room::new("").axfr("cluster.local.").0, "REFUSED");
}

#[test]
fn a_large_zone_is_many_messages_and_an_unfinished_one_holds_its_place() {
    let service = |n: u32| {
        format!(
            "---\n{{apiVersion: v1, kind: Service, metadata: {{name: s{n:04}, namespace: one}}, \
             spec: {{clusterIP: 10.97.{}.{}, ports: [{{name: http, port: 80}}]}}}}\n",
            n >> 8,
            n & 255
        )
    };
    let room = Room::with(&(0..400).map(service).collect::<String>(), "transfer {\nto *\n}");
    let (code, records, messages) = room.transfer(crate::testing::packet("cluster.local.", "AXFR"));
    assert_eq!((code.as_str(), records.len()), ("NOERROR", 2 + 3 * 400));
    assert!((4..12).contains(&messages), "{messages}");
    assert_eq!((shown(&records)[0].as_str(), shown(&records)[1201].as_str()), (SOA, SOA));
    // The replies are kept, and their messages are never taken.
    let kept: Vec<_> =
        (0..40).map(|_| room.live.ask_packet(crate::testing::packet("cluster.local.", "AXFR"), Proto::Tcp)).collect();
    let begun = kept.iter().filter(|got| got.reply.has_more()).count();
    assert_eq!((begun, kept[39].text().as_str(), room.requests("busy")), (32, "SERVFAIL", 8.0));
    drop(kept);
    assert_eq!(room.axfr("cluster.local.").0, "NOERROR");
}

//----------- NOTIFY ---------------------------------------------------------

/// Plays a secondary: answers the messages that come with these RCODEs, in turn; `None` is silence.
fn secondary(codes: &'static [Option<u8>]) -> (SocketAddr, std::thread::JoinHandle<Vec<Vec<u8>>>) {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("bound");
    let address = socket.local_addr().expect("bound");
    let play = move || {
        let (mut room, mut seen) = ([0; 512], Vec::new());
        for code in codes {
            let (len, from) = socket.recv_from(&mut room).expect("received");
            seen.push(room[..len].to_vec());
            if let Some(code) = code {
                room[2] |= 0x80;
                room[3] |= code;
                socket.send_to(&room[..len], from).expect("sent");
            }
        }
        seen
    };
    (address, std::thread::spawn(play))
}

#[test]
fn secondaries_are_told_of_a_change_until_they_accept_it() {
    let (first, seen_by_first) = secondary(&[Some(2), Some(0)]);
    let (second, seen_by_second) = secondary(&[Some(5), Some(5), Some(5)]);
    let text = format!(". {{\ntransfer a.test {{\nto {first} * {second}\nsource 127.0.0.1\n}}\nchanged\n}}\n");
    let plugins = &[super::PLUGIN, crate::chain::setup::Registration::bare("whoami", changed)];
    let live = Live::with(Server::with_plugins(plugins, &text.replace("changed", "whoami")).expect("a good Corefile"));
    let seen = seen_by_first.join().expect("no panic");
    let question = Question::new(Name::from_text("a.test").expect("a name"), rtype::SOA);
    for message in &seen {
        let flags = u16::from_be_bytes([message[2], message[3]]);
        assert_eq!(flags, u16::from(opcode::NOTIFY) << 11 | crate::wire::request::flag::AA);
        assert_eq!(message[2..], question.query(0, flags, None)[2..]);
    }
    assert_eq!((seen.len(), seen_by_second.join().expect("no panic").len()), (2, 3));
    let notifies = |result: &str| live.metric(&format!("signpost_transfer_notifies_total{{result=\"{result}\"}}"));
    live.wait_until("both are counted", || notifies("accepted") == 1.0 && notifies("failed") == 1.0);
}

/// A plugin whose zones have changed when it is set up: one that is transferred, twice, and one
/// that is not.
fn changed(s: &mut crate::chain::setup::Setup<'_>) -> crate::error::Result<()> {
    let changes: Arc<_> = s.zone_changes();
    for zone in ["a.test", "b.test", "a.test"] {
        changes.add(&Name::from_text(zone).expect("a name"));
    }
    Ok(())
}

#[test]
fn what_the_directive_refuses() {
    let wrong = |lines: &str| Server::refusal(&format!("transfer {lines}\nwhoami"));
    let near = "plugin/transfer: Corefile:";
    assert_eq!(wrong("{\n}"), format!("{near}3 - Error during parsing: 'to' is required"));
    assert_eq!(wrong("a.test {\nto ns.a.test\n}"), format!("{near}3 - must specify an IP address: `ns.a.test'"));
    assert_eq!(wrong("{\nto localhost:53\n}"), format!("{near}3 - must specify an IP address: `localhost'"));
    assert_eq!(
        wrong("{\nto\n}"),
        format!("{near}3 - Error during parsing: Wrong argument count or unexpected line ending after 'to'")
    );
    assert_eq!(wrong("{\nfrom 192.0.2.1\n}"), format!("{near}3 - Error during parsing: unknown property \"from\""));
    assert_eq!(wrong("{\nto *\nsource a\n}"), format!("{near}4 - Error during parsing: invalid source address \"a\""));
    assert_eq!(
        wrong("{\nto *\nsource ::1\nsource ::1\n}"),
        format!("{near}5 - Error during parsing: source already specified")
    );
    assert_eq!(wrong("{\nto * 192.0.2.1 2001:db8::1 [2001:db8::1]:53 192.0.2.1:\n}"), "");
}
