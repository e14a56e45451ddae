//! One rule for aliases whose target fails, whichever plugin makes them, over a scripted upstream.

use crate::testing::live::Live;
use crate::testing::upstream::{Act, Answer, Upstream, wire};

/// What an alias leads to, and how the upstream answers for A and AAAA.
const TARGETS: &[(&str, Said, Said)] = &[
    ("both.example", Said::Address, Said::Address),
    ("v4.example", Said::Address, Said::Rcode(2)),
    ("v6.example", Said::Rcode(2), Said::Address),
    ("refused4.example", Said::Address, Said::Rcode(5)),
    ("refused6.example", Said::Rcode(5), Said::Address),
    ("broken.example", Said::Rcode(2), Said::Rcode(2)),
    ("refused.example", Said::Rcode(5), Said::Rcode(5)),
    // Half of the truth: that there is no AAAA does not say that there is no A.
    ("half.example", Said::Rcode(2), Said::NoData),
    ("gone.example", Said::Rcode(3), Said::Rcode(3)),
    // An alias of its own whose target is broken for one family.
    ("chained.example", Said::Alias, Said::Alias),
];

#[derive(Clone, Copy)]
enum Said {
    Address,
    NoData,
    Alias,
    Rcode(u8),
}

fn upstream() -> Upstream {
    Upstream::start(|seen| {
        let (name, answer) = (seen.name(), Answer::to(&seen.packet));
        let said = TARGETS.iter().find(|(target, ..)| *target == name).map(|(_, a, aaaa)| match seen.qtype() {
            1 => *a,
            28 => *aaaa,
            _ => Said::Rcode(2),
        });
        vec![Act::send(match said {
            Some(Said::Address) if seen.qtype() == 28 => answer.record(0, &wire(&name), (28, 60), &[0x20; 16]),
            Some(Said::Address) => answer.a("192.0.2.1", 60),
            Some(Said::Alias) if seen.qtype() == 28 => answer.rcode(2).cname("v4.example", 60),
            Some(Said::Alias) => answer.cname("v4.example", 60).a_of("v4.example", "192.0.2.1", 60),
            Some(Said::NoData) | None => answer.soa("example", 60),
            Some(Said::Rcode(code)) => answer.rcode(code),
        })]
    })
}

/// A server in which each target has three aliases: of an ExternalName, of a load balancer, and of
/// a template.
struct Room {
    live: Live,
    upstream: Upstream,
    _file: tempfile::TempDir,
}

impl Room {
    fn new() -> Self {
        let (upstream, folder) = (upstream(), tempfile::tempdir().expect("a folder"));
        let file = folder.path().join("cluster.yaml");
        let service = |(target, ..): &(&str, Said, Said)| {
            let label = target.split('.').next().unwrap_or_default();
            let spec = |name: &str, rest: &str| {
                format!("---\n{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: ns}}, {rest}}}\n")
            };
            let balanced = format!(
                "spec: {{clusterIP: 10.0.0.1, ports: [{{port: 80}}]}}, status: {{loadBalancer: {{ingress: [{{hostname: {target}}}]}}}}"
            );
            spec(label, &format!("spec: {{type: ExternalName, externalName: {target}}}"))
                + &spec(&format!("lb-{label}"), &balanced)
        };
        let objects: String = TARGETS.iter().map(service).collect();
        std::fs::write(&file, objects).expect("written");
        let text = format!(
            ". {{\nkubernetes cluster.local {{\nmanifests {}\nttl 30\n}}\nk8s_external ext.test\n\
             template IN ANY tpl.test {{\nmatch ^([a-z0-9]+)[.]tpl[.]test[.]$\n\
             answer \"{{{{ .Name }}}} 30 IN CNAME {{{{ index .Match 1 }}}}.example.\"\n}}\nforward . {}\n}}",
            file.display(),
            upstream.address
        );
        Self { live: Live::prepared(&text, false).expect("a good Corefile"), upstream, _file: folder }
    }

    /// What all three aliases of a target say, which is the same, without the alias itself.
    fn ask(&self, label: &str, qtype: &str) -> String {
        let names = [
            format!("{label}.ns.svc.cluster.local."),
            format!("lb-{label}.ns.ext.test."),
            format!("{label}.tpl.test."),
        ];
        let said = names.map(|name| self.live.ask(&name, qtype).text());
        assert!(said.iter().all(|text| *text == said[0]), "{label} {qtype}: {said:?}");
        let alias = format!(" {label}.example./30");
        assert!(said[0].contains(&alias), "{label} {qtype}: {said:?}");
        said[0].replace(&alias, "")
    }
}

const V4: &str = "192.0.2.1/60";
const V6: &str = "2020:2020:2020:2020:2020:2020:2020:2020/60";

#[test]
fn an_alias_is_a_failure_only_if_no_family_has_an_address() {
    let room = Room::new();
    let noerror = |address: &str| format!("NOERROR {address}");
    for (label, a, aaaa) in [
        ("both", noerror(V4), noerror(V6)),
        ("v4", noerror(V4), "NOERROR".into()),
        ("v6", "NOERROR".into(), noerror(V6)),
        ("refused4", noerror(V4), "NOERROR".into()),
        ("refused6", "NOERROR".into(), noerror(V6)),
        ("broken", "SERVFAIL".into(), "SERVFAIL".into()),
        ("refused", "SERVFAIL".into(), "SERVFAIL".into()),
        ("half", "SERVFAIL".into(), "NOERROR".into()),
        ("gone", "NOERROR".into(), "NOERROR".into()),
        ("chained", format!("NOERROR v4.example./60 {V4}"), "NOERROR v4.example./60".into()),
    ] {
        assert_eq!((room.ask(label, "A"), room.ask(label, "AAAA")), (a, aaaa), "{label}");
    }
}

#[test]
fn a_target_falls_through_as_the_name_itself_would() {
    let upstream = Upstream::start(|seen| {
        let answer = Answer::to(&seen.packet);
        vec![Act::send(if seen.name() == "known.cluster.local" { answer.a("192.0.2.1", 60) } else { answer.rcode(3) })]
    });
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("cluster.yaml");
    let service = |name: &str, target: &str| {
        format!(
            "---\n{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: ns}}, \
             spec: {{type: ExternalName, externalName: {target}}}}}\n"
        )
    };
    let objects = service("to-known", "known.cluster.local")
        + &service("to-to", "to-known.ns.svc.cluster.local")
        + &service("to-lost", "lost.cluster.local");
    std::fs::write(&file, objects).expect("written");
    let ask = |options: &str, name: &str| {
        let text = format!(
            ". {{\nkubernetes cluster.local {{\nmanifests {}\nttl 30\n{options}\n}}\nforward . {}\n}}",
            file.display(),
            upstream.address
        );
        let live = Live::prepared(&text, false).expect("a good Corefile");
        live.ask(&format!("{name}.ns.svc.cluster.local."), "A").text()
    };
    for falls in ["fallthrough", "fallthrough known.cluster.local lost.cluster.local"] {
        assert_eq!(ask(falls, "to-known"), format!("NOERROR known.cluster.local./30 {V4}"));
        let twice = format!("NOERROR to-known.ns.svc.cluster.local./30 known.cluster.local./30 {V4}");
        assert_eq!(ask(falls, "to-to"), twice);
        assert_eq!(ask(falls, "to-lost"), "NOERROR lost.cluster.local./30");
    }
    for stays in ["", "fallthrough other.cluster.local"] {
        assert_eq!(ask(stays, "to-known"), "NXDOMAIN known.cluster.local./30");
    }
}

#[test]
fn other_types_have_no_other_family() {
    let room = Room::new();
    let (before, reply) = (room.upstream.count(), room.live.ask("v4.ns.svc.cluster.local.", "TXT"));
    assert_eq!(reply.text(), "SERVFAIL v4.example./30");
    assert_eq!(room.upstream.count() - before, 1);
}

#[test]
fn a_failure_costs_one_more_question_however_long_the_chain_is() {
    let upstream = upstream();
    let zones: String = (0..9)
        .map(|n| {
            let next = if n == 8 { "v4.example.".to_owned() } else { format!("a.zone{}.test.", n + 1) };
            format!("template IN ANY zone{n}.test {{\nanswer \"{{{{ .Name }}}} 30 IN CNAME {next}\"\n}}\n")
        })
        .collect();
    let live = Live::prepared(&format!(". {{\n{zones}forward . {}\n}}", upstream.address), false).expect("a Corefile");
    let reply = live.ask("a.zone0.test.", "AAAA");
    assert!(reply.text().starts_with("NOERROR a.zone1.test./30"), "{}", reply.text());
    assert_eq!(upstream.count(), 2);
}
