//! What clients get from templates.

use hickory_proto::op::{Message, ResponseCode};

use super::PLUGIN;
use crate::testing::Server;

fn server(options: &str) -> Server {
    Server::new(&format!(". {{\ntemplate IN A example {{\n{options}\n}}\nwhoami\n}}\n"))
}

fn answers(message: &Message) -> Vec<String> {
    message.answers.iter().map(ToString::to_string).collect()
}

/// Returns the text that an expression produces, as a TXT record.
fn said(expression: &str) -> String {
    let options = format!(
        "match ^(?P<a>[a-z]+)(?P<opt>x)?-(?P<b>[0-9a-f]+)[.]\nanswer \"{{{{ .Name }}}} TXT \\\"{expression}\\\"\""
    );
    let message = server(&options).ask("Web-0a.Example.", "A").expect("a reply");
    match &message.answers[..] {
        [record] => record.data.to_string(),
        _ => message.metadata.response_code.to_string(),
    }
}

#[test]
fn groups_of_the_expression_become_an_address() {
    assert_eq!(PLUGIN.name, "template");
    let server = server(
        "match ^ip-(?P<a>[0-9]*)-(?P<b>[0-9]*)[.]example[.]$\n\
         answer \"{{ .Name }} 60 IN {{ .Type }} 10.0.{{ .Group.a }}.{{ index .Match 2 }}\"\nfallthrough",
    );
    let message = server.ask("ip-3-4.Example.", "A").expect("a reply");
    assert_eq!(answers(&message), ["ip-3-4.example. 60 IN A 10.0.3.4"]);
    assert!(message.metadata.authoritative);
    // whoami answers what falls through: other types and other zones.
    for (name, qtype) in [("ip-3.example.", "A"), ("ip-3-4.example.", "TXT"), ("ip-3-4.test.", "A")] {
        let message = server.ask(name, qtype).expect("a reply");
        assert_eq!((message.answers.len(), message.additionals.len()), (0, 2), "{name} {qtype}");
    }
}

#[test]
fn expressions() {
    for (expression, wanted) in [
        ("{{.Name}} {{ .Zone }} {{ .Class }} {{ .Type }}", "web-0a.example. example. IN A"),
        ("{{ .Question.Name }} {{ .Question.Qtype }} {{ .Question.Qclass }}", "Web-0a.Example. 1 1"),
        ("{{ .Remote }}", "127.0.0.1"),
        ("{{ .Group.a }}/{{ index .Group `1` }}/{{ .Group.opt }}/{{ .Group.none }}", "web/web//<no value>"),
        ("{{ index .Group `b` }}{{ index .Group `none` }}", "0a"),
        ("{{ parseInt .Group.b 16 8 }}", "10"),
        ("{{ parseInt .Group.b 16 8 | printf `%03d` }}", "010"),
        ("{{ printf `%s=%x,%5s|%-3s|` .Group.a 255 .Group.b (index .Match 3) }}", "web=ff,   0a|0a |"),
        ("{{ if eq .Group.a `web` `x` }}yes{{ else }}no{{ end }}", "yes"),
        ("{{ if .Group.opt }}a{{ else if ne .Group.b `1` }}b{{ else }}c{{ end }}", "b"),
        ("{{ if and (not .Group.opt) (or false .Group.a) }}t{{ end }}{{/* } }} */}}", "t"),
        ("a {{- /* x */ -}} b {{- .Type -}} c", "abAc"),
        ("{{ len .Match }}{{ len .Group.a }}", "43"),
        ("{{ .Meta `a/b` }}.", "."),
        // Errors that depend on the question.
        ("{{ index .Match 4 }}", "Server Failure"),
        ("{{ parseInt .Group.a 10 8 }}", "Server Failure"),
        ("{{ if eq .Group.a 1 }}{{ end }}", "Server Failure"),
    ] {
        assert_eq!(said(expression), wanted, "{expression}");
    }
}

#[test]
fn no_match_is_a_failure_and_rcodes_have_records() {
    let unmatched = server("match nothing").ask("a.example.", "A").expect("a reply");
    assert_eq!((unmatched.metadata.response_code, unmatched.metadata.authoritative), (ResponseCode::ServFail, false));
    let options = "rcode NXDOMAIN\nederror 15 \"no such thing\"\n\
                   authority \"example. 60 IN SOA ns.example. h.example. 1 60 60 60 60\"";
    let denied = server(options).ask("a.example.", "A").expect("a reply");
    assert_eq!((denied.metadata.response_code, denied.authorities.len()), (ResponseCode::NXDomain, 1));
    let packet = crate::testing::packet("a.example.", "A");
    let peer = "127.0.0.1:5353".parse().expect("an address");
    let (_, reply) = server(options).outcome(&packet, peer).expect("a reply");
    let error = reply.note.and_then(|note| note.error).expect("an extended error");
    assert_eq!(error, (15, "no such thing".into()));
}

#[test]
fn an_alias_is_followed_by_what_its_target_has() {
    let server = Server::new(
        ". {\ntemplate IN ANY example {\nanswer \"{{ .Name }} 60 IN CNAME web.test.\"\n}\n\
         hosts {\n192.0.2.1 web.test\nttl 5\n}\n}\n",
    );
    let message = server.ask("a.example.", "A").expect("a reply");
    assert_eq!(answers(&message), ["a.example. 60 IN CNAME web.test.", "web.test. 5 IN A 192.0.2.1"]);
    let alone = server.ask("a.example.", "TXT").expect("a reply");
    assert_eq!(answers(&alone), ["a.example. 60 IN CNAME web.test."]);
}

#[test]
fn values_are_computed_and_conditions_have_to_be_true() {
    let computed = "match ^(?P<n>[0-9]+)[.]example[.]$\nvar num int(group('n'))\nvar double num * 2\n\
                    expr num > 1\nexpr group(0) == name()\nanswer \"{{ .Name }} 60 IN A 10.0.0.{{ .Var.double }}\"";
    let falls = server(&format!("{computed}\nfallthrough"));
    let message = falls.ask("7.example.", "A").expect("a reply");
    assert_eq!(answers(&message), ["7.example. 60 IN A 10.0.0.14"]);
    // whoami answers what falls through.
    assert_eq!(falls.ask("1.example.", "A").expect("a reply").additionals.len(), 2);
    let ends = server(computed).ask("1.example.", "A").expect("a reply");
    assert_eq!(ends.metadata.response_code, ResponseCode::ServFail);
    for failing in ["var bad incidr('x', '10.0.0.0/8')", "expr incidr('x', '10.0.0.0/8')"] {
        let message = server(&format!("{failing}\nfallthrough")).ask("a.example.", "A").expect("a reply");
        assert_eq!(message.metadata.response_code, ResponseCode::ServFail, "{failing}");
    }
    // A value that is no truth is not true.
    assert_eq!(server("expr 1\nfallthrough").ask("a.example.", "A").expect("a reply").additionals.len(), 2);
}

#[test]
fn variables_are_shown_as_in_go() {
    let text = "{{ .Var.b }} {{ .Var.i }} {{ .Var.f }} {{ .Var.t }} {{ .Var.l }} {{ .Var.n }} {{ .Var.none }} \
                {{ len .Var }} {{ if .Var.b }}yes{{ end }} {{ index .Var \\\"i\\\" }} {{ eq .Var.i 3 }}";
    let vars = "var b do()\nvar i 1 + 2\nvar f 3 / 2\nvar t proto()\nvar l [1, 'a']\nvar n nil";
    let message = server(&format!("{vars}\nanswer \"{{{{ .Name }}}} TXT \\\"{}\\\"\"", text.replace("\\\"", "`")));
    let message = message.ask("a.example.", "A").expect("a reply");
    assert_eq!(message.answers[0].data.to_string(), "false 3 1.5 udp [1 a] <no value> <no value> 6  3 true");
}

#[test]
fn failures_are_counted_and_say_why() {
    let server = server("answer \"{{ .Name }} 60 IN A {{ .Zone }}\"");
    let message = server.ask("a.example.", "A").expect("a reply");
    assert_eq!(message.metadata.response_code, ResponseCode::ServFail);
    let text = server.host.metrics.text();
    let labels = r#"{class="IN",section="answer",server="dns://:53",template="{{ .Name }} 60 IN A {{ .Zone }}",type="A",view="",zone="example."}"#;
    assert!(text.contains(&format!("coredns_template_rr_failures_total{labels} 1")), "{text}");
    let matches = r#"coredns_template_matches_total{class="IN",server="dns://:53",type="A",view="",zone="example."} 1"#;
    assert!(text.contains(matches), "{text}");
}

#[test]
fn what_is_wrong_is_told() {
    for (options, wanted) in [
        ("answer \"{{ .Nam }}\"", "<.Nam> is not served"),
        ("answer \"{{ .Message.Id }}\"", "<.Message.Id> is not served"),
        ("answer \"{{ range .Match }}{{ end }}\"", "{{range}} is not served yet"),
        ("answer \"{{ .Group.1 }}\"", "<.Group.1> is not served"),
        ("answer \"{{ foo }}\"", "function \"foo\" not defined"),
        ("answer \"{{ .Name\"", "unclosed action"),
        ("answer \"{{ if .Name }}\"", "{{if}} without {{end}}"),
        ("answer \"{{ end }}\"", "unexpected {{end}}"),
        ("answer \"{{ index .Match }}\"", "wrong number of args for index"),
        ("answer \"{{ .Name .Zone }}\"", "takes no arguments"),
        ("var a", "Wrong argument count"),
        ("var 1a 1", "invalid variable name \"1a\""),
        ("var len 1", "variable name \"len\" is reserved"),
        ("var name 1", "variable name \"name\" is reserved"),
        ("var a 1\nvar a 2", "variable name \"a\" is reserved"),
        ("var nil 1", "variable name \"nil\" is reserved"),
        ("var a b", "could not compile expression: a, unknown name b (1:1)"),
        ("var a 'x'\nexpr a > 1", "invalid operation: > (mismatched types string and int) (1:3)"),
        ("expr name() ==", "could not compile expression: unexpected token EOF"),
        ("macth x", "did you mean 'match'?"),
        ("rcode nxdomain", "in upper case: NXDOMAIN"),
    ] {
        let text = format!(". {{\ntemplate IN A {{\n{options}\n}}\n}}\n");
        let error = Server::try_new(&text).err().expect(options).to_string();
        assert!(error.contains(wanted), "{options}: {error}");
    }
}
