//! The plugin in a chain, from the Corefile to the answer.

use std::path::PathBuf;

use hickory_proto::op::{Message, ResponseCode};

use crate::testing::{Server, packet};
use crate::wire::types::rcode;

/// Builds a server with the block `zone`: a hosts file, `directive`, a plugin that answers all.
fn server(zone: &str, text: &str, directive: &str) -> (Server, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hosts");
    std::fs::write(&path, text).expect("written");
    let directive = directive.replace("FILE", &path.display().to_string());
    (Server::new(&format!("{zone} {{\n{directive}\nwhoami\n}}\n")), folder)
}

/// Returns the answer as text: its RCODE and its records, or `next` if the plugin below answered.
fn told(message: &Message) -> Vec<String> {
    if !message.additionals.is_empty() {
        return vec!["next".to_owned()];
    }
    let mut text = vec![message.metadata.response_code.to_str().to_owned()];
    text.extend(message.answers.iter().map(ToString::to_string));
    assert!(message.authorities.is_empty());
    assert_eq!(message.metadata.authoritative, message.metadata.response_code == ResponseCode::NoError);
    text
}

fn ask(server: &Server, name: &str, qtype: &str) -> Vec<String> {
    told(&server.ask(name, qtype).expect("a reply"))
}

const TEXT: &str =
    "10.0.0.1 a.test A2.test # first\n10.0.0.2 a.test\nfe80::1%eth0 a.test six.test\n10.0.0.3 *.w.test\n";

#[test]
fn names_have_addresses_and_addresses_have_names() {
    let (server, _folder) = server(".", TEXT, "hosts FILE {\nttl 60\n10.0.0.9 a.test in.test\n}");
    let a = ["No Error", "a.test. 60 IN A 10.0.0.1", "a.test. 60 IN A 10.0.0.2", "a.test. 60 IN A 10.0.0.9"];
    assert_eq!(ask(&server, "a.test.", "A"), a);
    assert_eq!(ask(&server, "A.Test.", "AAAA"), ["No Error", "A.Test. 60 IN AAAA fe80::1"]);
    assert_eq!(ask(&server, "x.w.test.", "A"), ["No Error", "x.w.test. 60 IN A 10.0.0.3"]);
    let ptr = |name: &str| format!("1.0.0.10.in-addr.arpa. 60 IN PTR {name}");
    assert_eq!(ask(&server, "1.0.0.10.in-addr.arpa.", "PTR"), ["No Error".to_owned(), ptr("a.test."), ptr("a2.test.")]);
    let six = format!("1.{}8.e.f.ip6.arpa.", "0.".repeat(28));
    assert_eq!(ask(&server, &six, "PTR").len(), 3);
    // The file has no name for it: a wildcard does not count.
    assert_eq!(ask(&server, "3.0.0.10.in-addr.arpa.", "PTR"), ["next"]);
    assert_eq!(ask(&server, "0.10.in-addr.arpa.", "PTR"), ["next"]);
    assert_eq!(ask(&server, "a.test.", "PTR"), ["next"]);
}

#[test]
fn what_is_not_there_is_no_data_the_next_plugin_or_a_failure() {
    let (strict, _folder) = server(".", TEXT, "hosts FILE");
    assert_eq!(ask(&strict, "six.test.", "A"), ["No Error"]);
    assert_eq!(ask(&strict, "six.test.", "TXT"), ["No Error"]);
    assert_eq!(ask(&strict, "none.test.", "A"), ["Server Failure"]);
    assert_eq!(ask(&strict, "none.test.", "TXT"), ["Server Failure"]);
    let (falls, _folder) = server(".", TEXT, "hosts FILE {\nfallthrough b.test\n}");
    assert_eq!(ask(&falls, "x.b.test.", "A"), ["next"]);
    assert_eq!(ask(&falls, "none.test.", "A"), ["Server Failure"]);
    let (all, _folder) = server(".", TEXT, "hosts FILE {\nfallthrough\nfallthrough_unsupported\n}");
    assert_eq!(ask(&all, "none.test.", "A"), ["next"]);
    assert_eq!(ask(&all, "six.test.", "TXT"), ["next"]);
    assert_eq!(ask(&all, "six.test.", "A"), ["No Error"]);
}

#[test]
fn names_outside_the_zones_are_not_served_but_their_addresses_are() {
    let text = "10.0.0.1 a.test\n10.0.0.2 b.other\n";
    let (server, _folder) = server(".", text, "hosts FILE test {\n10.0.0.3 c.other\n}");
    assert_eq!(ask(&server, "a.test.", "A").len(), 2);
    assert_eq!(ask(&server, "b.other.", "A"), ["next"]);
    assert_eq!(ask(&server, "none.test.", "A"), ["Server Failure"]);
    assert_eq!(ask(&server, "1.0.0.10.in-addr.arpa.", "PTR").len(), 2);
    assert_eq!(ask(&server, "2.0.0.10.in-addr.arpa.", "PTR"), ["next"]);
}

#[test]
fn without_reverse_and_without_a_file() {
    let (server, folder) = server(".", TEXT, "hosts FILE {\nno_reverse\n}");
    assert_eq!(ask(&server, "1.0.0.10.in-addr.arpa.", "PTR"), ["next"]);
    let missing = folder.path().join("none");
    let text = format!(". {{\nhosts {} {{\n10.0.0.1 a.test\n}}\nwhoami\n}}\n", missing.display());
    assert_eq!(ask(&Server::new(&text), "a.test.", "A").len(), 2);
}

#[test]
fn another_class_has_data_of_its_own() {
    let (server, _folder) = server(".", TEXT, "hosts FILE");
    let class_of = |class: u8| {
        let mut packet = packet("a.test.", "A");
        let at = packet.len() - 12;
        packet[at] = class;
        server.outcome(&packet, "127.0.0.1:53".parse().expect("an address")).expect("a reply").1
    };
    assert_eq!(class_of(1).answer.counts[0], 2);
    assert_ne!((class_of(3).rcode(), class_of(3).answer.counts[0]), (rcode::NOERROR, 2));
}

#[test]
fn a_path_that_cannot_be_looked_at_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path: PathBuf = folder.path().join("file");
    std::fs::write(&path, "").expect("written");
    let text = format!(". {{\nhosts {}/hosts\nwhoami\n}}\n", path.display());
    let error = Server::try_new(&text).err().expect("refused").to_string();
    assert!(error.contains("Corefile:2 - Error during parsing: unable to access hosts file"), "{error}");
}

#[test]
fn entries_below_fallthrough_are_refused_with_what_is_right() {
    for (line, hint) in [("10.0.0.1 a.test", "entries stand above 'fallthrough'"), ("tll 5", "did you mean 'ttl'?")] {
        let text = format!(". {{\nhosts {{\nfallthrough\n{line}\n}}\n}}\n");
        let error = Server::try_new(&text).err().expect("refused").to_string();
        assert!(error.contains("Corefile:4 - Error during parsing: unknown property"), "{error}");
        assert!(error.contains(hint), "{error}");
    }
}
