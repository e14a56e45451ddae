//! Upstreams inside of TLS: which certificates are accepted, what is sent, how many handshakes it
//! takes.

use std::time::Duration;

use crate::testing::live::Live;
use crate::testing::packet;
use crate::testing::tls::{Front, Pki};
use crate::testing::upstream::{Act, Answer, Upstream};

const NETWORK_ERROR: u16 = 23;

fn live(to: &str, options: &str) -> Live {
    Live::new(&format!(". {{\nforward . {to} {{\n{options}\n}}\n}}"))
}

#[test]
fn many_queries_share_one_handshake() {
    let upstream = Upstream::start(|seen| {
        vec![Act::Wait(Duration::from_millis(20)), Act::send(Answer::to(&seen.packet).a("192.0.2.1", 60))]
    });
    let pki = Pki::new();
    pki.issue("dns", &["127.0.0.1"]);
    let front = Front::start(upstream.address, pki.server("dns"));
    let live = live(&format!("tls://{}", front.address), &format!("tls {}", pki.text("ca.pem")));
    let got = live.ask_all((0..60).map(|n| packet(&format!("n{n}.example.org."), "A")).collect());
    assert!(got.iter().all(|got| got.text() == "NOERROR 192.0.2.1/60"));
    assert_eq!((upstream.count(), front.handshakes(), front.plain()), (60, (1, 0), 0));
    assert!(upstream.seen().iter().all(|seen| seen.tcp));
    let misses = format!(
        "coredns_proxy_conn_cache_misses_total{{proxy_name=\"forward\",to=\"{}\",proto=\"tcp-tls\"}}",
        front.address
    );
    assert_eq!(live.metric(&misses), 1.0);
}

#[test]
fn an_idle_connection_ends_and_its_session_is_taken_up_again() {
    let upstream = Upstream::with_a("192.0.2.1");
    let pki = Pki::new();
    pki.issue("dns", &["127.0.0.1"]);
    let front = Front::start(upstream.address, pki.server("dns"));
    let options = format!("tls {}\nexpire 50ms", pki.text("ca.pem"));
    let live = live(&format!("tls://{}", front.address), &options);
    for n in 0..3 {
        assert_eq!(live.ask(&format!("n{n}.example.org."), "A").text(), "NOERROR 192.0.2.1/60");
        live.wait_until("the connection is over", || {
            live.ask("again.example.org.", "A");
            std::thread::sleep(Duration::from_millis(100));
            front.connections() > n + 1
        });
    }
    assert_eq!(front.handshakes().0, 1, "all others were short");
}

#[test]
fn the_name_may_be_given_for_all_or_with_each() {
    let upstream = Upstream::with_a("192.0.2.1");
    let pki = Pki::new();
    pki.issue("dns", &["dns.example.org"]);
    let front = Front::start(upstream.address, pki.server("dns"));
    let (port, tls) = (front.address.port(), format!("tls {}", pki.text("ca.pem")));
    for (to, options) in [
        (format!("tls://127.0.0.1%dns.example.org:{port}"), tls.clone()),
        (format!("tls://127.0.0.1:{port}%dns.example.org"), tls.clone()),
        (format!("tls://127.0.0.1:{port}"), format!("{tls}\ntls_servername dns.example.org")),
    ] {
        assert_eq!(live(&to, &options).ask("www.example.org.", "A").text(), "NOERROR 192.0.2.1/60", "{to} {options}");
    }
    assert!(front.names().iter().all(|name| name.as_deref() == Some("dns.example.org")));
}

/// Row C16: an upstream without the right certificate gets no query, and the client is told why.
#[test]
fn c16_a_wrong_certificate_gets_no_query() {
    let upstream = Upstream::with_a("192.0.2.1");
    let (pki, other) = (Pki::new(), Pki::new());
    pki.issue("name", &["other.example.org", "192.0.2.9"]);
    pki.issue_expired("expired", &["127.0.0.1"]);
    pki.issue_early("early", &["127.0.0.1"]);
    pki.self_signed("unknown", &["127.0.0.1"], false);
    for (certificate, short, long) in [
        ("name", "is for another name", "certificate is valid for other.example.org, 192.0.2.9, not 127.0.0.1"),
        ("expired", "has expired", "certificate has expired or is not yet valid"),
        ("early", "is not valid yet", "certificate has expired or is not yet valid"),
        ("unknown", "an authority that is not trusted", "certificate signed by unknown authority"),
    ] {
        let front = Front::start(upstream.address, pki.server(certificate));
        let authority = if certificate == "unknown" { other.text("ca.pem") } else { pki.text("ca.pem") };
        let live = live(&format!("tls://{}", front.address), &format!("tls {authority}\nhealth_check 1h"));
        let got = live.ask("www.example.org.", "A");
        assert_eq!((got.text().as_str(), got.extended_error()), ("SERVFAIL", Some(NETWORK_ERROR)), "{certificate}");
        let cause = got.reply.cause().unwrap_or_default();
        assert!(cause.starts_with("tls: failed to verify certificate: x509: ") && cause.contains(long), "{cause}");
        let words = got.reply.note.as_ref().and_then(|note| note.error.clone()).map(|error| error.1);
        assert!(words.as_deref().is_some_and(|words| words.ends_with(short)), "{words:?}");
        assert!(front.connections() > 0);
        assert_eq!((front.handshakes(), front.plain(), upstream.seen().len()), ((0, 0), 0, 0), "{certificate}");
    }
}

#[test]
fn a_server_without_tls_gets_no_plain_text() {
    let upstream = Upstream::with_a("192.0.2.1");
    let live =
        live(&format!("tls://{}", upstream.address), "max_connect_attempts 1\nhealth_check 1h\nread_timeout 300ms");
    assert_eq!(live.ask("www.example.org.", "A").text(), "SERVFAIL");
    let octets: Vec<u8> = upstream.seen().iter().flat_map(|seen| seen.packet.clone()).collect();
    assert!(!octets.windows(7).any(|octets| octets == b"example"));
}

#[test]
fn a_certificate_of_its_own_is_believed_if_the_corefile_names_it() {
    let upstream = Upstream::with_a("192.0.2.1");
    let pki = Pki::new();
    pki.self_signed("own", &["127.0.0.1"], false);
    pki.self_signed("old", &["127.0.0.1"], true);
    pki.self_signed("other", &["other.example.org"], false);
    for (certificate, expected) in [("own", "NOERROR 192.0.2.1/60"), ("old", "SERVFAIL"), ("other", "SERVFAIL")] {
        let front = Front::start(upstream.address, pki.server(certificate));
        let trusted = pki.text(&format!("{certificate}.pem"));
        let live = live(&format!("tls://{}", front.address), &format!("tls {trusted}\nhealth_check 1h"));
        assert_eq!(live.ask("www.example.org.", "A").text(), expected, "{certificate}");
    }
}

#[test]
fn we_show_a_certificate_where_one_is_asked_for() {
    let upstream = Upstream::with_a("192.0.2.1");
    let pki = Pki::new();
    pki.issue("dns", &["127.0.0.1"]);
    pki.issue("we", &["client.example.org"]);
    let front = Front::start(upstream.address, pki.strict_server("dns"));
    let (to, ca) = (format!("tls://{}", front.address), pki.text("ca.pem"));
    let with = format!("tls {} {} {ca}", pki.text("we.pem"), pki.text("we.key"));
    assert_eq!(live(&to, &with).ask("www.example.org.", "A").text(), "NOERROR 192.0.2.1/60");
    let without = live(&to, &format!("tls {ca}\nhealth_check 1h")).ask("www.example.org.", "A");
    assert_eq!((without.text().as_str(), without.extended_error()), ("SERVFAIL", Some(NETWORK_ERROR)));
    assert!(
        without.reply.cause().is_some_and(|cause| cause.starts_with("remote error: tls: ")),
        "{:?}",
        without.reply.cause()
    );
}

#[test]
fn while_one_handshake_stalls_the_other_upstream_answers() {
    let (good, pki) = (Upstream::with_a("192.0.2.1"), Pki::new());
    pki.issue("dns", &["127.0.0.1"]);
    let front = Front::start(good.address, pki.server("dns"));
    // The system accepts connections; no process ever reads from them.
    let stalled = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let to = format!("tls://{} tls://{}", stalled.local_addr().expect("an address"), front.address);
    let options = format!("tls {}\npolicy sequential\nhealth_check 1h", pki.text("ca.pem"));
    let live = live(&to, &options);
    assert_eq!(live.ask("www.example.org.", "A").text(), "NOERROR 192.0.2.1/60");
    assert_eq!(front.handshakes(), (1, 0));
}

#[test]
fn what_is_wrong_with_options_is_said() {
    let wrong = |to: &str, options: &str| {
        let text = format!(". {{\nforward . {to} {{\n{options}\n}}\n}}");
        crate::testing::Server::try_new(&text).map(|_| ()).unwrap_err().to_string().lines().next().map(str::to_owned)
    };
    let pki = Pki::new();
    pki.issue("a", &["a.example.org"]);
    pki.issue("b", &["b.example.org"]);
    let (cert, key) = (pki.text("a.pem"), pki.text("b.key"));
    for (to, options, expected) in [
        (
            "tls://127.0.0.1%own",
            "tls_servername all",
            "both forward ('all') and proxy level ('own') TLS servernames are set for upstream proxy 'tls://127.0.0.1:853'",
        ),
        (
            "127.0.0.1",
            &format!("tls {cert} {key}"),
            "could not load TLS cert: tls: private key does not match public key",
        ),
        ("127.0.0.1", "tls none.pem", "error reading none.pem: open none.pem: no such file or directory"),
        ("127.0.0.1", "tls a b c d", "Wrong argument count or unexpected line ending after 'd'"),
    ] {
        let said = wrong(to, options).unwrap_or_default();
        assert!(said.ends_with(expected), "{said}");
    }
}

#[test]
fn to_lose_a_race_costs_no_handshake() {
    let pki = Pki::new();
    pki.issue("dns", &["127.0.0.1"]);
    let slow = Upstream::start(|seen| {
        vec![Act::Wait(Duration::from_millis(300)), Act::send(Answer::to(&seen.packet).a("192.0.2.1", 60))]
    });
    let quick = Upstream::with_a("192.0.2.2");
    let (first, second) =
        (Front::start(slow.address, pki.server("dns")), Front::start(quick.address, pki.server("dns")));
    let to = format!("tls://{} tls://{}", first.address, second.address);
    let live = live(&to, &format!("tls {}\npolicy sequential", pki.text("ca.pem")));
    for n in 0..10 {
        assert!(live.ask(&format!("n{n}.example.org."), "A").text().starts_with("NOERROR "));
    }
    assert!(first.connections() <= 1 && second.connections() <= 1, "{} {}", first.connections(), second.connections());
}
