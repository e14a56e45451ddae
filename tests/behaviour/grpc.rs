//! gRPC between a real CoreDNS and Signpost, in both directions: a question has the answer that the
//! server gives to it in a datagram.

use std::path::Path;

use super::support::{SIGNPOST, Server, coredns, free_port, text};
use super::support_tls::Pki;

const SERVER: &str = "dns://.:PORT grpc://.:<PLAIN> {
    bind 127.0.0.1
    import zones
}
grpc://.:<SECURE> {
    bind 127.0.0.1
    tls <CERT> <KEY>
    import zones
}
";

const ZONES: &str = "hosts {
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
";

const CLIENT: &str = ".:PORT {
    bind 127.0.0.1
    grpc . 127.0.0.1:<UPSTREAM> {
        <TLS>
    }
}
";

#[test]
fn coredns_and_signpost_understand_each_other() {
    let pki = Pki::new();
    pki.issue("dns", &["dns.example.org"]);
    let ours = Path::new(SIGNPOST).to_owned();
    if !coredns().exists() && std::env::var_os("CI").is_none() {
        return println!("skipped: there is no CoreDNS; tests/peers/build.sh coredns builds it");
    }
    for (asked, asking) in [(coredns(), ours.clone()), (ours, coredns())] {
        let [plain, secure] = [free_port(), free_port()].map(|port| port.to_string());
        let words = [("<PLAIN>", &plain), ("<SECURE>", &secure), ("<CERT>", &pki.text("dns.pem"))];
        let corefile = words.iter().fold(SERVER.to_owned(), |text, (word, with)| text.replace(word, with));
        let corefile = corefile.replace("<KEY>", &pki.text("dns.key"));
        let server = Server::start_program(&asked, &corefile, &[("zones", ZONES)]);
        for port in [&plain, &secure] {
            let tls = format!("tls {}\n        tls_servername dns.example.org", pki.text("ca.pem"));
            let tls = if port == &plain { "" } else { &tls };
            let corefile = CLIENT.replace("<UPSTREAM>", port).replace("<TLS>", tls);
            let client = Server::start_program(&asking, &corefile, &[]);
            for name in ["a.example.", "A.eXample.", "t.example.", "x.nx.example.", "other.example.", "."] {
                for kind in ["A", "AAAA", "TXT", "MX", "SOA", "PTR", "HTTPS"] {
                    let (got, expected) = (client.ask(name, kind), server.ask(name, kind));
                    assert_eq!(text(&got), text(&expected), "{} asks {name} {kind}", asking.display());
                    assert_eq!(got.edns.is_some(), expected.edns.is_some(), "{name} {kind}");
                }
            }
        }
    }
}
