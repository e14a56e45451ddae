//! A search list of a file, a cache and a scripted upstream. `tests/scenarios/autopath` has Pods.

use crate::testing::live::Live;
use crate::testing::upstream::{Act, Answer, Seen, Upstream};
use crate::testing::{Server, packet};

/// Builds an upstream that knows `b.example` and `a.far`, and a server with the list above it.
struct Room {
    upstream: Upstream,
    live: Live,
}

/// Writes a file with this search list.
fn resolv_conf(list: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), format!("search {list}\n")).expect("written");
    file
}

impl Room {
    fn new(list: &str, plugins: &str) -> Self {
        let upstream = Upstream::start(|seen| {
            let answer = Answer::to(&seen.packet);
            let name = seen.name();
            let zone = name.rsplit('.').next().unwrap_or_default();
            vec![Act::send(match name.as_str() {
                "b.example" | "a.far" | "b.here" => answer.a("192.0.2.1", 300),
                "odd.far" => answer.cname("b.example", 60).a_of("b.example", "192.0.2.1", 300),
                "broken.far" => answer.rcode(2),
                _ => answer.rcode(3).soa(zone, 60),
            })]
        });
        let file = resolv_conf(list);
        let text = format!(". {{\n{plugins}\nautopath {}\nforward . {}\n}}", file.path().display(), upstream.address);
        Self { live: Live::new(&text), upstream }
    }

    /// Returns the answer, and the names that the upstream was asked for.
    fn ask(&self, name: &str) -> (String, Vec<String>) {
        let before = self.upstream.count();
        let text = self.live.ask(name, "A").text();
        (text, self.upstream.seen()[before..].iter().map(Seen::name).collect())
    }

    fn successes(&self) -> f64 {
        self.live.metric("coredns_autopath_success_total{server=\"dns://:53\"}")
    }
}

#[test]
fn the_list_is_walked_until_a_name_exists() {
    let room = Room::new("here far farther", "");
    assert_eq!(room.ask("b.here."), ("NOERROR 192.0.2.1/300".into(), vec!["b.here".into()]));
    assert_eq!(room.successes(), 1.0, "the first one counts as well");
    let (text, asked) = room.ask("a.here.");
    assert_eq!((text.as_str(), asked.len()), ("NOERROR a.far./300 192.0.2.1/300", 2));
    let (text, asked) = room.ask("b.example.here.");
    assert_eq!(text, "NOERROR b.example./300 192.0.2.1/300");
    assert_eq!(asked, ["b.example.here", "b.example.far", "b.example.farther", "b.example"]);
    assert_eq!(room.ask("odd.here.").0, "NOERROR odd.far./60 b.example./60 192.0.2.1/300");
    assert_eq!(room.successes(), 4.0);
}

#[test]
fn without_any_name_the_first_reply_stands() {
    let room = Room::new("here far", "");
    let (text, asked) = room.ask("none.here.");
    assert_eq!((text.as_str(), asked.len()), ("NXDOMAIN", 3));
    assert_eq!(room.ask("broken.here.").0, "SERVFAIL", "a failure ends the walk");
    assert_eq!(room.ask("none.here.").0, "NXDOMAIN");
}

/// A failure that a plugin only returns is skipped like NXDOMAIN, even the first one; a failure
/// that it wrote ends the walk.
#[test]
fn a_failure_that_is_only_returned_does_not_end_the_walk() {
    let template = |zone: &str, code: &str| format!("template IN A {zone} {{\nrcode {code}\n}}");
    for (plugins, name, wanted) in [
        ("hosts {\n192.0.2.7 q.example\n}".to_owned(), "q.example.here.", "NOERROR q.example./3600 192.0.2.7/3600"),
        ("hosts {\n192.0.2.7 q.example\n}".to_owned(), "a.here.", "SERVFAIL"),
        (template("here", "SERVFAIL"), "a.here.", "NOERROR a.far./300 192.0.2.1/300"),
        (template("mid", "SERVFAIL"), "a.here.", "NOERROR a.far./300 192.0.2.1/300"),
        (template("mid", "SERVFAIL"), "none.here.", "NXDOMAIN"),
        (template("here", "SERVFAIL"), "none.here.", "SERVFAIL"),
        ("acl mid {\nblock\n}".to_owned(), "a.here.", "REFUSED"),
        ("acl mid {\nfilter\n}".to_owned(), "a.here.", "NOERROR"),
        ("acl mid {\ndrop\n}".to_owned(), "a.here.", "NOERROR a.far./300 192.0.2.1/300"),
        ("acl mid {\ndrop\n}".to_owned(), "none.here.", "NXDOMAIN"),
        ("acl here {\ndrop\n}".to_owned(), "a.here.", "NOERROR a.far./300 192.0.2.1/300"),
        ("acl far {\ndrop\n}".to_owned(), "none.here.", "NXDOMAIN"),
    ] {
        assert_eq!(Room::new("here mid far", &plugins).ask(name).0, wanted, "{plugins} {name}");
    }
    let room = Room::new("here mid far", &template("here", "SERVFAIL"));
    room.ask("none.here.");
    assert_eq!(room.successes(), 0.0, "no name was found");
    let file = resolv_conf("here mid");
    let text = format!(
        ". {{\nprometheus\nautopath {}\nacl here {{\ndrop\n}}\n{}\nforward . 127.0.0.1:9\n}}",
        file.path().display(),
        "template ANY ANY {\nrcode NXDOMAIN\n}"
    );
    let server = Server::new(&text);
    assert!(server.ask("none.here.", "A").is_none(), "what was dropped first and found nowhere stays dropped");
    let page = server.host.metrics.text();
    let counted =
        r#"coredns_dns_requests_total{family="1",proto="udp",server="dns://:53",type="A",view="",zone="."} 1"#;
    assert!(page.contains(counted), "after a walk as well: {page}");
}

#[test]
fn names_that_the_list_did_not_make() {
    let room = Room::new("here far", "");
    for name in ["a.far", "here", "ahere", "b.example"] {
        assert_eq!(room.ask(name).1, [name], "asked as it is");
    }
    assert_eq!(room.successes(), 0.0);
}

#[test]
fn each_name_is_found_in_the_cache() {
    let room = Room::new("here far", "cache 30");
    assert_eq!(room.ask("a.here.").1.len(), 2);
    let (text, asked) = room.ask("A.Here.");
    assert_eq!((text.as_str(), asked.len()), ("NOERROR A.far./30 192.0.2.1/30", 0));
}

#[test]
fn a_name_too_long_is_passed_over() {
    let long = vec!["x".repeat(60); 4].join(".");
    let room = Room::new(&format!("here {long} far"), "");
    let name = format!("{}.here.", "y".repeat(30));
    assert_eq!(room.ask(&name).1.len(), 3, "as it is, with far, and alone");
}

#[test]
fn many_domains_are_walked() {
    let list: Vec<String> = (0..35).map(|n| format!("d{n}")).collect();
    let room = Room::new(&list.join(" "), "");
    assert_eq!(room.ask("none.d0.").1.len(), 36);
}

#[test]
fn zones_limit_where_names_are_looked_at() {
    let file = resolv_conf("here far");
    let text = |zones: &str| format!(". {{\nautopath {zones} {}\nwhoami\n}}", file.path().display());
    assert!(Server::try_new(&text("")).is_ok() && Server::try_new(&text("a b")).is_ok());
    let upstream = Upstream::start(|seen| vec![Act::send(Answer::to(&seen.packet).rcode(3))]);
    let path = file.path().display();
    let live = Live::new(&format!(". {{\nautopath elsewhere {path}\nforward . {}\n}}", upstream.address));
    live.ask_packet(packet("a.here.", "A"), crate::chain::Proto::Udp);
    assert_eq!(upstream.count(), 1);
}

#[test]
fn what_is_refused() {
    let refused = |text: &str| match Server::try_new(&format!(". {{\n{text}\nwhoami\n}}")) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    };
    let empty = refused("autopath");
    assert!(empty.contains("no resolv-conf specified"), "{empty}");
    let missing = refused("autopath none.conf");
    assert!(missing.contains("failed to parse \"none.conf\": open none.conf: no such file or directory"), "{missing}");
    assert!(refused("autopath @whoami").contains("whoami does not implement the AutoPather interface"));
    assert_eq!(refused("autopath @elsewhere"), "", "as in CoreDNS; a warning is logged");
}
