//! `signpost ask` with running servers and without one.

use std::process::{Command, Output};

use crate::support::{Server, free_port};
use crate::support_tls::Pki;

const OBJECTS: &str = "apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.7, clusterIPs: [10.96.0.7], ports: [{name: http, port: 80, protocol: TCP}]}
";

const COREFILE: &str = ".:PORT {
  chaos signpost
  kubernetes cluster.local 10.in-addr.arpa {
    manifests objects.yaml
  }
  template IN TXT long.test {
    answer \"{{ .Name }} 60 IN TXT LONG LONG LONG LONG LONG LONG LONG LONG\"
  }
}
";

fn ask(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_signpost")).arg("ask").args(arguments).output().expect("runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

fn server() -> (Server, String) {
    let corefile = COREFILE.replace("LONG", &"x".repeat(250));
    let server = Server::start(&corefile, &[("objects.yaml", OBJECTS)]);
    let at = format!("@{}", server.address());
    (server, at)
}

/// Returns the lines of a reply that are the same each time.
fn steady(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.starts_with(";; time: ") && !line.starts_with(";; EDNS: ")).collect()
}

#[test]
fn a_reply_is_printed_whole() {
    let (server, at) = server();
    let (status, text, _) = ask(&[&at, "web.shop.svc.cluster.local"]);
    let (id, rest) = text.split_once(", flags").expect("a header");
    assert!(id.starts_with(";; status: NOERROR, id: "), "{text}");
    assert_eq!(
        steady(rest),
        [
            ": qr aa rd",
            ";; question: web.shop.svc.cluster.local. IN A",
            ";; answer: 1",
            "web.shop.svc.cluster.local. 5 IN A 10.96.0.7",
        ]
    );
    let end = text.lines().next_back().expect("a last line");
    assert!(end.contains(&format!("server: {} over UDP, size: ", server.address())), "{end}");
    assert_eq!(status, Some(0));
    let (status, text, _) = ask(&[&at, "none.shop.svc.cluster.local", "aaaa", "+tcp"]);
    assert!(text.starts_with(";; status: NXDOMAIN") && text.contains("\n;; authority: 1\n"), "{text}");
    assert!(text.contains(" over TCP, size: "), "{text}");
    assert_eq!(status, Some(0), "a reply is a reply");
}

#[test]
fn the_data_alone_a_reverse_name_and_another_class() {
    let (_server, at) = server();
    assert_eq!(ask(&[&at, "-x", "10.96.0.7", "+short"]).1, "web.shop.svc.cluster.local.\n");
    assert_eq!(ask(&[&at, "version.bind", "CH", "TXT", "+short"]).1, "\"signpost\"\n");
}

#[test]
fn what_is_truncated_is_asked_for_over_tcp() {
    let (_server, at) = server();
    let (status, text, _) = ask(&[&at, "long.test", "TXT"]);
    assert!(text.starts_with(";; truncated over UDP, asked again over TCP\n;; status: NOERROR"), "{text}");
    assert!(text.contains(" over TCP, size: ") && text.matches("\"xxx").count() == 8, "{text}");
    assert_eq!(status, Some(0));
}

#[test]
fn tls_is_spoken_and_its_certificate_is_not_checked() {
    let pki = Pki::new();
    pki.self_signed("dns", &["dns.test"], true);
    let port = free_port();
    let corefile = format!(
        ".:PORT {{\n  whoami\n}}\ntls://.:{port} {{\n  tls {} {}\n  hosts {{\n    192.0.2.1 a.test\n  }}\n}}\n",
        pki.text("dns.pem"),
        pki.text("dns.key")
    );
    let _server = Server::start(&corefile, &[]);
    let (status, text, err) = ask(&["@127.0.0.1", "-p", &port.to_string(), "a.test", "+tls"]);
    assert!(text.contains("a.test. 3600 IN A 192.0.2.1\n"), "{text}{err}");
    assert!(text.contains(" over TLS, certificate not checked, size: "), "{text}");
    assert_eq!(status, Some(0));
}

#[test]
fn silence_and_wrong_words_have_exit_statuses_of_their_own() {
    let at = format!("@127.0.0.1:{}", free_port());
    let (status, text, err) = ask(&[&at, "a.test", "+time=1", "+tries=1"]);
    assert_eq!((status, text.as_str()), (Some(9), ""));
    assert_eq!(err, format!(";; {} over UDP: Connection refused (os error 111)\n", &at[1..]));
    let (status, text, err) = ask(&[&at, "a.test", "+trace"]);
    assert_eq!((status, text.as_str()), (Some(2), ""));
    assert!(err.starts_with("+trace is not an option\nUsage of signpost ask"), "{err}");
    let (status, text, err) = ask(&["-h"]);
    assert!(status == Some(0) && text.starts_with("Usage of signpost ask") && err.is_empty(), "{text}{err}");
}
