//! Upstreams that are named by their host, and who knows where they are.

use crate::testing::live::Live;
use crate::testing::tls::{Front, Pki};
use crate::testing::upstream::{Act, Answer, Seen, Upstream};

const AAAA: u8 = 28;

/// A resolver that knows one address for every name.
fn resolver(address: &'static str) -> Upstream {
    Upstream::start(move |seen| knows(seen, address))
}

fn knows(seen: &Seen, address: &str) -> Vec<Act> {
    let answer = Answer::to(&seen.packet);
    vec![Act::send(if asks_for(seen, AAAA) { answer } else { answer.a(address, 0) })]
}

fn asks_for(seen: &Seen, qtype: u8) -> bool {
    let at = seen.packet.iter().skip(12).position(|octet| *octet == 0).expect("a name's end") + 12;
    seen.packet[at + 2] == qtype
}

fn corefile(to: &str, resolver: &Upstream, options: &str) -> String {
    format!(". {{\nforward . {to} {{\nresolver {}\n{options}\n}}\n}}", resolver.address)
}

#[test]
fn a_name_is_asked_for_when_the_server_starts_and_not_before() {
    let (upstream, resolver) = (Upstream::with_a("192.0.2.1"), resolver("127.0.0.1"));
    let text = corefile(&format!("DNS.example.org:{}", upstream.address.port()), &resolver, "");
    drop(crate::testing::Server::new(&text));
    assert_eq!(resolver.seen().len(), 0, "a Corefile is checked without asking anybody");
    let live = Live::prepared(&text, true).expect("it has addresses");
    assert_eq!(live.ask("www.example.com.", "A").text(), "NOERROR 192.0.2.1/60");
    assert!(resolver.seen().iter().all(|seen| seen.packet[12..].starts_with(b"\x03dns\x07example\x03org\0")));
}

#[test]
fn a_truncated_answer_is_asked_for_again_over_tcp() {
    let upstream = Upstream::with_a("192.0.2.1");
    let resolver = Upstream::start(|seen| {
        if seen.tcp { knows(seen, "127.0.0.1") } else { vec![Act::send(Answer::to(&seen.packet).flags(0x0200))] }
    });
    let text = corefile(&format!("dns.example.org:{}", upstream.address.port()), &resolver, "");
    let live = Live::prepared(&text, true).expect("it has addresses");
    assert_eq!(live.ask("www.example.com.", "A").text(), "NOERROR 192.0.2.1/60");
}

#[test]
fn a_name_that_has_no_address_is_refused() {
    for rcode in [0, 3] {
        let resolver = Upstream::start(move |seen| vec![Act::send(Answer::to(&seen.packet).rcode(rcode))]);
        let error = Live::prepared(&corefile("dns.example.org", &resolver, ""), true).err().expect("an error");
        let at = resolver.address;
        assert_eq!(
            error.to_string(),
            format!(
                "plugin/forward: failed to resolve \"dns.example.org\": lookup dns.example.org. on {at}: no such host"
            )
        );
    }
}

#[test]
fn a_resolver_that_is_down_keeps_a_reload_back_and_no_start() {
    let (upstream, resolver) =
        (Upstream::with_a("192.0.2.1"), Upstream::start(|seen| vec![Act::send(Answer::to(&seen.packet).rcode(2))]));
    let text = corefile(&format!("dns.example.org:{}", upstream.address.port()), &resolver, "");
    let error = Live::prepared(&text, false).err().expect("an error").to_string();
    assert!(error.ends_with("server misbehaving"), "{error}");
    let live = Live::prepared(&text, true).expect("everything else is served");
    assert_eq!(live.ask("www.example.com.", "A").text(), "SERVFAIL");
    resolver.script(|seen| knows(seen, "127.0.0.1"));
    live.wait_until("it is asked for again", || live.ask("www.example.com.", "A").text() == "NOERROR 192.0.2.1/60");
}

#[test]
fn an_upstream_that_moves_is_followed() {
    let (upstream, resolver) = (Upstream::with_a("192.0.2.1"), resolver("127.0.0.9"));
    let to = format!("dns.example.org:{}", upstream.address.port());
    let live = Live::prepared(&corefile(&to, &resolver, "read_timeout 100ms"), true).expect("it has addresses");
    assert_eq!(live.ask("www.example.com.", "A").text(), "SERVFAIL");
    resolver.script(|seen| knows(seen, "127.0.0.1"));
    live.wait_until("it is found", || live.ask("www.example.com.", "A").text() == "NOERROR 192.0.2.1/60");
    resolver.script(|seen| vec![Act::send(Answer::to(&seen.packet).rcode(3))]);
    let before = resolver.count();
    live.wait_until("it was looked for in vain", || resolver.count() > before + 2);
    assert_eq!(live.ask("kept.example.com.", "A").text(), "NOERROR 192.0.2.1/60");
}

/// A forger of the name's addresses cannot show a certificate for it.
#[test]
fn the_certificate_has_to_be_for_the_host() {
    let (upstream, resolver, pki) = (Upstream::with_a("192.0.2.1"), resolver("127.0.0.1"), Pki::new());
    pki.issue("host", &["dns.example.org"]);
    pki.issue("address", &["127.0.0.1"]);
    for (certificate, expected) in [("host", "NOERROR 192.0.2.1/60"), ("address", "SERVFAIL")] {
        let front = Front::start(upstream.address, pki.server(certificate));
        let to = format!("tls://dns.example.org:{}", front.address.port());
        let text = corefile(&to, &resolver, &format!("tls {}", pki.text("ca.pem")));
        let live = Live::prepared(&text, true).expect("it has addresses");
        assert_eq!(live.ask("www.example.com.", "A").text(), expected, "{certificate}");
    }
}
