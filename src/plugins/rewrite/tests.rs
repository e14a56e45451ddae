//! What clients get after rules have changed their question.

use hickory_proto::op::{Message, ResponseCode};

use super::PLUGIN;
use crate::testing::{Server, packet};
use crate::wire::write::Writer;

/// Builds a server that answers `web.new.example.` and a few others from memory.
fn server(rules: &str) -> Server {
    let hosts = "hosts {\n192.0.2.1 web.new.example\n192.0.2.2 new.example\n192.0.2.3 web-a.b.new.example\nttl 60\n}\n";
    Server::new(&format!(". {{\n{rules}\n{hosts}}}\n"))
}

fn answers(message: &Message) -> Vec<String> {
    message.answers.iter().map(ToString::to_string).collect()
}

#[test]
fn an_exact_name_is_mapped_and_mapped_back_in_the_clients_case() {
    assert_eq!(PLUGIN.name, "rewrite");
    let server = server("rewrite name Old.Example web.new.example");
    let message = server.ask("oLd.example.", "A").expect("a reply");
    assert_eq!(answers(&message), ["oLd.example. 60 IN A 192.0.2.1"]);
    assert_eq!(message.queries[0].name().to_string(), "oLd.example.");
    let other = server.ask("web.new.example.", "A").expect("a reply");
    assert_eq!(answers(&other), ["web.new.example. 60 IN A 192.0.2.1"]);
}

#[test]
fn each_way_of_comparing_names() {
    for (rule, asked, owner) in [
        (r"regex (.*)\.old\.example {1}.new.example", "web.old.example.", "web.new.example."),
        (r"regex (.*)\.old\.example {1}.new.example answer auto", "web.old.example.", "web.old.example."),
        (r"regex ^(.*)-(.*)\.old$ web-{2}.{1}.new.example", "b-a.old.example.", ""),
        (r"regex (.*)-(.*)\.old web-{2}.{1}.new.example", "b-a.old.example.", "web-a.b.new.example."),
        (r"regex (.*)-(.*)\.old\.example\.$ web-{2}.{1}.new.example", "b-a.old.example.", "web-a.b.new.example."),
        ("suffix old.example new.example answer auto", "web.old.example.", "web.old.example."),
        ("suffix .old.example .new.example", "web.old.example.", "web.new.example."),
        ("prefix www web", "www.new.example.", "web.new.example."),
        ("prefix www web answer auto", "www.new.example.", "www.new.example."),
        ("substring old new", "web.old.example.", "web.new.example."),
        ("substring old new", "web.older.example.", ""),
    ] {
        let message = server(&format!("rewrite name {rule}")).ask(asked, "A").expect("a reply");
        let owners: Vec<_> = message.answers.iter().map(|record| record.name.to_string()).collect();
        let wanted: Vec<_> = Some(owner.to_owned()).filter(|owner| !owner.is_empty()).into_iter().collect();
        assert_eq!(owners, wanted, "{rule}");
        assert_eq!(message.queries[0].name().to_string(), asked, "{rule}");
    }
}

#[test]
fn explicit_answers_and_what_names_lead_to() {
    let rule =
        r"rewrite name regex (.*)\.old\.example {1}.new.example answer name (.*)\.new\.example {1}.shown.example";
    let message = server(rule).ask("web.old.example.", "A").expect("a reply");
    assert_eq!(answers(&message), ["web.shown.example. 60 IN A 192.0.2.1"]);
    let rule = r"rewrite name exact old.arpa 2.2.0.192.in-addr.arpa answer value ^new\.(example)\.$ shown.{1}";
    let message = server(rule).ask("old.arpa.", "PTR").expect("a reply");
    assert_eq!(answers(&message), ["old.arpa. 60 IN PTR shown.example."]);
}

#[test]
fn rules_stop_or_go_on_and_are_undone_from_the_last() {
    let two = "rewrite MODE name a.example b.example\nrewrite name b.example web.new.example";
    let stopped = server(&two.replace("MODE", "stop")).ask("a.example.", "A").expect("a reply");
    assert!(stopped.answers.is_empty());
    let message = server(&two.replace("MODE", "continue")).ask("a.example.", "A").expect("a reply");
    assert_eq!(answers(&message), ["a.example. 60 IN A 192.0.2.1"]);
}

#[test]
fn types_ttls_and_rcodes() {
    let message = server("rewrite type TXT A").ask("web.new.example.", "TXT").expect("a reply");
    assert_eq!(message.queries[0].query_type().to_string(), "TXT");
    assert_eq!(answers(&message), ["web.new.example. 60 IN A 192.0.2.1"]);
    for (ttl, wanted) in [("5", 5), ("90-", 90), ("-30", 30), ("10-100", 60)] {
        let rules = format!("rewrite ttl suffix new.example {ttl}");
        let message = server(&rules).ask("web.new.example.", "A").expect("a reply");
        assert_eq!(message.answers[0].ttl, wanted, "{ttl}");
    }
    let refused = server("rewrite rcode regex .* SERVFAIL REFUSED").ask("nothing.example.", "A").expect("a reply");
    assert_eq!(refused.metadata.response_code, ResponseCode::Refused);
}

#[test]
fn an_invalid_name_fails_and_says_why() {
    let server = server("rewrite name regex (.*) {1}");
    let peer = "127.0.0.1:5353".parse().expect("an address");
    let packet = packet("web.example.", "A");
    let (query, reply) = server.outcome(&packet, peer).expect("a reply");
    assert_eq!(reply.cause(), Some("invalid name after rewrite: web.example.."));
    let mut out = Vec::new();
    Writer::default().reply(&packet, &query.request, &reply, query.limit(), &mut out);
    assert_eq!(Message::from_vec(&out).expect("a message").metadata.response_code, ResponseCode::ServFail);
}

#[test]
fn what_is_wrong_is_told() {
    for (rule, wanted) in [
        ("answer name a b", "response rewrites must begin with a name rule"),
        ("name stop a b", "received: stop"),
        ("type A", "type rules must have exactly two arguments"),
        ("type A NOPE", "invalid type \"NOPE\""),
        ("class IN NOPE", "invalid class \"NOPE\""),
        ("name regex (a) {1}{2}", "uses more subexpressions"),
        ("name regex ( b", "invalid regex matching pattern: ("),
        ("name regex a b answer auto answer name a b", "auto name answer rule cannot be combined"),
        ("name regex a b nope auto", "exceeded the number of arguments"),
        ("ttl a.example 5-3", "invalid TTL '5-3' for a ttl rule"),
        ("rcode a.example NOPE 3", "invalid matching RCODE 'NOPE'"),
        ("edns0 nsid set", "edns0 rules are not served yet"),
        ("nope a b", "invalid rule type \"nope\""),
    ] {
        let error = Server::try_new(&format!(". {{\nrewrite {rule}\n}}\n")).err().expect(rule).to_string();
        assert!(error.contains(wanted), "{rule}: {error}");
        assert!(error.contains("plugin/rewrite"), "{rule}: {error}");
    }
}
