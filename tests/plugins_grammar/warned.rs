//! What is taken, since CoreDNS takes it, and has no effect: each such word is warned about.

use std::sync::Arc;

use signpost::chain::build::build;
use signpost::corefile::{Vocabulary, parse};
use signpost::host::Host;
use signpost::plugins::ALL;

/// Lines in a block that CoreDNS takes in silence, and the words of them that are warned about.
const WARNED: &[(&str, &str)] = &[
    ("acl bad..zone good {\nblock\n}", "bad..zone"),
    ("autopath bad..zone /dev/null", "bad..zone"),
    ("auto bad..zone {\ndirectory /none/such\n}", "bad..zone /none/such"),
    ("auto", "auto"),
    ("cache bad..zone", "bad..zone"),
    ("cache {\ndisable success good bad..zone\n}", "bad..zone"),
    ("file /none/such bad..zone", "bad..zone"),
    ("file /none/such {\nfallthrough bad..zone\n}", "bad..zone /none/such"),
    ("forward . 192.0.2.53 {\nexcept a..b good c..d\n}", "a..b c..d"),
    ("hosts /dev/null bad..zone", "bad..zone"),
    ("hosts {\n10.0.0.1 a\nfallthrough bad..zone\n}", "bad..zone"),
    ("hosts /none/such", "/none/such"),
    ("hosts {\n10.0.0.1 bad..name\n}", "10.0.0.1"),
    ("kubernetes cluster.local bad..zone {\nmulticluster a..b\nfallthrough c..d\n}", "bad..zone a..b c..d"),
    ("kubernetes cluster.local {\nmulticluster\n}", "multicluster"),
    ("kubernetes cluster.local\nk8s_external bad..zone {\nfallthrough a..b\n}", "bad..zone a..b"),
    ("loadbalance weighted /none/such", "/none/such"),
    ("log bad..zone good", "bad..zone"),
    ("rewrite name a..b c..d", "c..d a..b"),
    ("rewrite ttl a..b 30", "a..b"),
    ("rewrite rcode exact a..b 2 3", "a..b"),
    ("root /none/such", "/none/such"),
    ("template IN A bad..zone {\nrcode NXDOMAIN\nfallthrough a..b\n}", "bad..zone a..b"),
    ("health dns.example.org:8080", "dns.example.org:8080"),
];

#[test]
fn what_has_no_effect_is_warned_about_with_its_word() {
    let label = "a".repeat(64);
    let mut wrong = Vec::new();
    for (options, words) in WARNED {
        for (bad, words) in [("bad..zone", (*words).to_owned()), (&*label, words.replace("bad..zone", &label))] {
            let text = format!(".:1053 {{\n{}\n}}\n", options.replace("bad..zone", bad));
            let vocabulary =
                Vocabulary { served: &ALL.iter().map(|plugin| plugin.name).collect::<Vec<_>>(), elsewhere: &[] };
            let corefile = parse(&text, "Corefile", &|_: &str| None, &vocabulary).expect("a Corefile");
            let configuration = build(&corefile, ALL, &Arc::new(Host::default()), "53").expect("a configuration");
            let told = configuration.findings.iter().map(|finding| {
                let parts = finding.what.parts();
                let position = parts.position.expect("a position");
                assert!(
                    parts.plugin.is_some() && position.text.contains(&position.word()),
                    "{parts:?}",
                    parts = parts.message
                );
                position.word()
            });
            let told = told.collect::<Vec<_>>().join(" ");
            if told != words {
                wrong.push(format!("{text:?}: {told:?}, not {words:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
