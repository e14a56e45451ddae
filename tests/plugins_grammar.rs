//! What plugins take and refuse against CoreDNS 1.15.0: verdict and line of the cases in `corefiles/grammar.jsonl`
//! that are about a plugin we have, whose words may be better than CoreDNS's, and the words as well of a list of our
//! own.

#[path = "plugins_grammar/warned.rs"]
mod warned;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use signpost::chain::build::build;
use signpost::corefile::{Vocabulary, parse};
use signpost::error::{Error, Result};
use signpost::host::Host;
use signpost::plugins::{ALL, COREDNS};

#[derive(Deserialize)]
struct Case {
    id: String,
    corefile: String,
    verdict: String,
    error: String,
    line: Option<u32>,
    #[serde(default)]
    servers: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// Files beside the Corefile, nothing for one that is missing; those with an absolute path are the machine's own.
    #[serde(default)]
    files: BTreeMap<String, Option<String>>,
}

impl Case {
    /// The Corefile, with its files written to `folder`.
    fn text(&self, folder: &std::path::Path) -> String {
        let beside = self
            .files
            .iter()
            .filter_map(|(name, text)| Some((name, text.as_ref()?)).filter(|(name, _)| !name.starts_with('/')));
        beside.fold(self.corefile.clone(), |text, (name, content)| {
            let path = folder.join(name);
            std::fs::write(&path, content).expect("written");
            text.replace(name, &path.display().to_string())
        })
    }
}

/// Cases that are not judged here, each with its reason.
const NOT_JUDGED: &[(&str, &str)] = &[
    ("forward-host-name", "refused when the name is looked up at the start, which building a Corefile never does"),
    ("rewrite-cname-two-arguments", "refused as not yet served"),
];

/// The lines that a Corefile prints at start, or what is wrong with it.
fn servers(text: &str, env: &BTreeMap<String, String>) -> Result<Vec<String>> {
    let served: Vec<&str> = ALL.iter().map(|plugin| plugin.name).chain(COREDNS.iter().copied()).collect();
    let vocabulary = Vocabulary { served: &served, elsewhere: &[] };
    let corefile = parse(text, "Corefile", &|name: &str| env.get(name).cloned(), &vocabulary)?;
    let configuration = build(&corefile, ALL, &Arc::new(Host::default()), "53")?;
    let mut servers = configuration.servers;
    servers.retain(|line| !line.starts_with("Warning"));
    servers.sort();
    Ok(servers)
}

/// The line and the first line of the text of an error.
fn told(error: &Error) -> (Option<u32>, String) {
    let text = error.to_string().lines().next().unwrap_or_default().to_owned();
    let Error::Corefile(complaint) = error else { return (None, text) };
    (complaint.position.as_ref().map(|position| position.line), text)
}

#[test]
fn every_case_about_our_plugins_has_coredns_verdict_and_line() {
    let cases = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corefiles/grammar.jsonl"));
    let cases = cases.expect("the cases");
    let folder = tempfile::tempdir().expect("a folder");
    let (mut judged, mut wrong) = (0, Vec::new());
    for case in cases.lines().map(|line| serde_json::from_str::<Case>(line).expect("a case a line")) {
        let ours = |name: &str| ALL.iter().any(|plugin| plugin.name == name);
        let accused = case.error.strip_prefix("plugin/").and_then(|rest| rest.split(':').next());
        let about = case.id.split('-').next().unwrap_or_default();
        if !accused.map_or(case.error.is_empty() && ours(about), ours) {
            continue;
        }
        if NOT_JUDGED.iter().any(|(id, _)| *id == case.id) {
            continue;
        }
        judged += 1;
        match servers(&case.text(folder.path()), &case.env) {
            Ok(servers) if case.verdict == "accepted" && servers == case.servers => {}
            Ok(servers) => wrong.push(format!("{}: {:?} became {servers:?}", case.id, case.servers)),
            Err(error) => {
                let (line, text) = told(&error);
                if case.verdict == "accepted" || case.line.is_some_and(|wanted| Some(wanted) != line) {
                    wrong.push(format!("{}: {:?} at {:?} became {text:?} at {line:?}", case.id, case.error, case.line));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {judged} cases differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(judged > 45, "only {judged} cases");
}

/// Options in a block, and the end of what CoreDNS 1.15.0 says; empty where it accepts them. Seen running.
const MORE: &[(&str, &str)] = &[
    ("prometheus localhost:1 {\nruntime_metrics\n}", ""),
    ("transfer {\nto * 10.0.0.1 ::1 [::1]:5300 10.0.0.1:\n}", ""),
    ("transfer {\nto 10.0.0.1:x fe80::1%lo 10.0.0.1:99999\n}", ""),
    ("transfer a..b {\nto *\n}", ""),
    ("transfer {\nto *\nto 10.0.0.1\n}\ntransfer b.test {\nto *\nsource ::1\n}", ""),
    ("transfer {\n}", "'to' is required"),
    ("transfer", "'to' is required"),
    ("transfer {\nto\n}", "unexpected line ending after 'to'"),
    ("transfer {\nto dns://10.0.0.1\n}", "must specify an IP address: `dns'"),
    ("transfer {\nto [::1]\n}", "must specify an IP address: `[::1]'"),
    ("transfer {\nto *\nsource\n}", "unexpected line ending after 'source'"),
    ("transfer {\nto *\nsource 10.0.0.1 10.0.0.2\n}", "unexpected line ending after '10.0.0.2'"),
    ("transfer {\nto *\nsource x\n}", "invalid source address \"x\""),
    ("transfer {\nto *\nsource ::1\nsource ::1\n}", "source already specified"),
    ("secondary a.test {\ntransfer from 10.0.0.1 [::1]:5300\ntransfer from ::1\nfallthrough a.test\n}", ""),
    ("secondary a.test {\ntransfer from 10.0.0.1:x\n}", ""),
    ("secondary a.test {\ntransfer from ::1\n}\nsecondary b.test a.test {\ntransfer from ::1\n}", ""),
    ("secondary", "secondary zones require a transfer from property"),
    ("secondary {\nfallthrough\n}", "secondary zones require a transfer from property"),
    ("secondary {\ntransfer\n}", "unexpected line ending after 'transfer'"),
    ("secondary {\ntransfer to 10.0.0.1\n}", "unknown property to"),
    ("secondary {\ntransfer from\n}", "unexpected line ending after 'from'"),
    ("secondary {\ntransfer from *\n}", "can't use '*' in transfer from"),
    ("secondary {\ntransfer from ns.test\n}", "must specify an IP address: `ns.test'"),
    ("secondary {\ntransferr from 10.0.0.1\n}", "unknown property 'transferr'"),
    ("transfer {\nfrom *\n}", "unknown property \"from\""),
    ("prometheus localhost:1 {\nruntime_metrics x\n}", "unexpected line ending after 'x'"),
    ("prometheus foo", "address foo: missing port in address"),
    ("prometheus localhost:", ""),
    ("prometheus 127.0.0.1:domain", ""),
    ("ready 127.0.0.1:", ""),
    ("ready [::1]:0", ""),
    ("health [::]:", ""),
    ("health bla", "address bla: missing port in address"),
    ("health bla:a", "address bla:a: invalid port \"a\""),
    ("health :70000", "address :70000: invalid port \"70000\""),
    ("health 127.0.0.1:-1", "address 127.0.0.1:-1: invalid port \"-1\""),
    ("health 1.2.3.4.5:80", "address 1.2.3.4.5:80: \"1.2.3.4.5\" is neither an address nor a host name"),
    ("prometheus\nprometheus", "this plugin can only be used once per Server Block"),
    ("errors stdout", ""),
    ("errors stdout x", "unexpected line ending after 'x'"),
    ("errors {\nstacktrace\n}", ""),
    ("errors {\nstacktrace x\n}", "Unexpected token 'x', expecting 'Unknown field x'"),
    ("errors {\nconsolidate 5m a b c d\n}", "unexpected line ending after 'd'"),
    ("errors {\nconsolidate 5m a warning error\n}", "multiple log levels specified in consolidate"),
    ("errors {\nconsolidate 5m a show_first warning\n}", "log level must come before show_first in consolidate"),
    ("errors {\nconsolidate 5m a show_first show_first\n}", ""),
    ("errors {\nconsolidate -5m a\n}", ""),
    ("errors {\nconsolidate 0 a\n}", ""),
    ("errors {\nconsolidate 5m \"(?P<n>a)\" info {\nx\n}\n}", "Unexpected token 'x', expecting 'Unknown field x'"),
    ("errors stdout {\n}", ""),
    ("log a b", ""),
    ("log a..b", ""),
    ("log 10.0.0.0/24", ""),
    ("log {common}", ""),
    ("log example.org \"{combined} x\" {\nclass all denial\nclass error\n}", ""),
    ("log {\nclass all {\nx\n}\n}", "unknown property 'x'"),
    ("log {\nfoo\n}", "unknown property 'foo'"),
    ("log a {\n}", ""),
    ("health localhost:1 x", "unexpected line ending after 'x'"),
    ("health {\nlameduck 5\n}", "unable to parse lameduck duration value: '5' : time: missing unit in duration \"5\""),
    ("health localhost:1 {\nlameduck -5s\n}", ""),
    ("health localhost:1 {\nlameduck 1s 2s\n}", "unexpected line ending after '2s'"),
    ("ready localhost:1 {\nmonitor continuously\n}", ""),
    ("ready localhost:1 {\nmonitor until-ready\n}", ""),
    ("ready localhost:1 {\nmonitor sometimes\n}", "monitor type 'sometimes' not supported"),
    ("ready localhost:1 {\nmonitor\n}", "unexpected line ending after 'monitor'"),
    ("ready localhost:1 {\nmonitor continuously continuously\n}", "unexpected line ending after 'continuously'"),
    ("ready localhost:1 {\nfoo\n}", "unknown property 'foo'"),
    ("loadbalance weighted", "missing weight file argument"),
    ("loadbalance weighted /nonexistent", ""),
    ("loadbalance weighted W x", "unexpected argument(s)"),
    ("loadbalance weighted W {\nreload\n}", "reload duration value is missing"),
    ("loadbalance weighted W {\nreload 5\n}", "invalid reload duration '5'"),
    ("loadbalance weighted W {\nreload 5s 6s\n}", "unexpected argument"),
    ("loadbalance weighted W {\nprefer 10.0.0.0/8\n}", "unknown property 'prefer'"),
    ("loadbalance {\nreload 5s\n}", "unknown property 'reload'"),
    ("loadbalance round_robin {\nprefer\n}", ""),
    ("loadbalance round_robin {\nprefer 10.0.0.0/8 ::/0\nprefer 11.0.0.0/8\n}", ""),
    ("loadbalance\nloadbalance weighted W", ""),
    ("forward . quic://192.0.2.53 quic://[2001:db8::53]:8853%a.example quic:///etc/resolv.conf", ""),
    ("forward . quic://192.0.2.53%a.example:8853 {\ndoh_method GET\nforce_tcp\n}", ""),
    (
        "forward . quic://192.0.2.53%a.example {\ntls_servername b.example\n}",
        "both forward ('b.example') and proxy level ('a.example') TLS servernames are set for upstream proxy 'quic://192.0.2.53:853'",
    ),
    ("forward . quic://", "invalid address: \"quic://\""),
    (
        "rewrite name regex a b nope auto",
        "exceeded the number of arguments for a non-answer rule argument for regex rule",
    ),
    ("rewrite name regex a b answer", "invalid arguments for regex rule"),
    ("rewrite name regex a b answer auto answer", "type missing for answer rule for regex rule"),
    (
        "rewrite name regex a b answer auto name a b",
        "auto name answer rule cannot be combined with explicit name anwer rules",
    ),
    ("rewrite name regex a b answer value a", "value answer rule for regex rule: 2 arguments required"),
    ("rewrite name regex a b answer auto value a b", ""),
    ("rewrite name a.example *.b.example", "invalid regex matching pattern: *.b.example."),
    ("rewrite name exact a b metadata", "metadata is only supported for regex name rules"),
    ("rewrite {\nname regex a\nb\n}", ""),
    ("rewrite STOP Name Exact a b", ""),
    ("rewrite stop name", "too few arguments for a name rule"),
    ("rewrite type A", "type rules must have exactly two arguments"),
    ("rewrite type a aaaa", ""),
    ("rewrite ttl exact a 1 2", "invalid TTL '' for a ttl rule"),
    ("rewrite ttl glob a 1", "ttl rule supports only exact, prefix, suffix, substring, and regex name matching"),
    ("rewrite rcode a 24 3", "invalid matching RCODE '24' for a rcode rule"),
    ("rewrite rcode a notimpl 3", ""),
    ("rewrite answer name a b", "response rewrites must begin with a name rule"),
    ("rewrite", "no rule type specified for rewrite"),
    ("template", "unexpected line ending after 'template'"),
    ("template IN", "unexpected line ending after 'IN'"),
    ("template IN NOPE", "invalid RR class NOPE"),
    ("template XX A", "invalid query class XX"),
    ("template IN A {\nmatch a b\nmatch c\n}", ""),
    ("template IN A {\nanswer\n}", "unexpected line ending after 'answer'"),
    ("template IN A {\nadditional\n}", "unexpected line ending after 'additional'"),
    ("template IN A {\nauthority\n}", "unexpected line ending after 'authority'"),
    ("template IN A {\nrcode\n}", "unexpected line ending after 'rcode'"),
    ("template IN A {\nrcode NOTIMPL\n}", ""),
    ("template IN A {\nrcode BADSIG\n}", ""),
    ("template IN A {\nrcode NOPE\n}", "unknown rcode NOPE"),
    ("template IN A {\nrcode NXDOMAIN rcode\n}", "unexpected line ending after 'rcode'"),
    ("template IN A {\nederror 15 a b\n}", "unexpected line ending after 'b'"),
    ("template IN A {\nederror 15 \"a b\"\nupstream 1.1.1.1\nfallthrough a..b\n}", ""),
    ("template IN A {\nfoo\n}", "unexpected line ending after 'foo'"),
    ("template IN A a..b 10.0.0.0/9\ntemplate ANY ANY", ""),
    ("template IN A {\nanswer \"{{ if .Name }}a{{ else if .Zone }}b{{ else }}c{{ end }}\"\n}", ""),
    ("template IN A {\nanswer \"{{- /* a */ -}} {{ printf `%x` (parseInt .Group.a 10 8) | len }}\"\n}", ""),
    ("chaos", ""),
    ("chaos a b c", ""),
    ("chaos a {\nb\n}", "unknown property 'b'"),
    ("chaos\nchaos {\nb\n}", ""),
    ("any x", "unexpected line ending after 'x'"),
    ("any\nany", ""),
    ("acl bad..zone good {\nblock\n}", ""),
    ("acl bad..zone", ""),
    ("cache exa..mple", ""),
    ("cache {\ndisable success a..b\n}", ""),
    ("forward . 192.0.2.53 {\nexcept a..b\n}", ""),
    ("forward a..b 192.0.2.53", "unable to normalize 'a..b'"),
    ("forward . tls://192.0.2.53 {\ntls \"\"\n}", ""),
    ("forward . tls://192.0.2.53 {\ntls a\n}", "error reading a: open a: no such file or directory"),
    ("autopath a..b /dev/null", ""),
    ("rewrite name a..b c", ""),
    ("rewrite name a b..c", ""),
    ("kubernetes a..b", "non-reverse zone name must be used"),
    ("kubernetes cluster.local a..b {\nfallthrough a..b\n}", ""),
    ("kubernetes cluster.local {\nmulticluster\n}", ""),
    ("kubernetes cluster.local {\nmulticluster a..b\n}", ""),
    ("kubernetes cluster.local {\nmulticluster other\n}", "is not authoritative for the multicluster zone other."),
    ("kubernetes cluster.local {\nstartup_timeout 1s 2s\n}", ""),
    ("kubernetes cluster.local {\nstartup_timeout\n}", "unexpected line ending after 'startup_timeout'"),
    ("kubernetes cluster.local {\npods insecure x\n}", "unexpected line ending after 'x'"),
    ("kubernetes cluster.local {\napiserver_qps 1 2\n}", "unexpected line ending after '2'"),
    ("kubernetes cluster.local {\nkubeconfig a\n}", "kubeconfig a: open a: no such file or directory"),
    ("kubernetes cluster.local {\nendpoint b\ntls a a a\n}", "open a: no such file or directory"),
    ("acl", ""),
    ("acl {\n}", ""),
    ("acl {\ndeny\n}", "unexpected token \"deny\"; expect 'allow', 'block', 'filter' or 'drop'"),
    ("acl a {\nBlock Type A AAAA NET 10.0.0.1 ::1 2001:db8::/32\nallow\n}", ""),
    ("acl {\nblock type\n}", "no token specified in \"type\" section"),
    ("acl {\nblock net type A\n}", "no token specified in \"net\" section"),
    ("acl {\nblock type NOPE\n}", "unexpected token \"NOPE\"; expect legal QTYPE"),
    ("acl {\nblock type * NOPE net * nope\n}", ""),
    ("acl {\nblock net 10.0.0\n}", "illegal CIDR notation \"10.0.0/32\""),
    ("acl {\nblock net a:b\n}", "illegal CIDR notation \"a:b/128\""),
    ("acl {\nblock A\n}", "unexpected token \"A\"; expect 'type | net'"),
    ("dns64", ""),
    ("dns64 2001:db8::/32\ndns64", ""),
    ("dns64 64:ff9b::/72", "invalid prefix length \"64:ff9b::/72\""),
    ("dns64 10.0.0.0/8", "invalid netmask 32 IPv6 address: \"10.0.0.0/8\""),
    ("dns64 nope", "invalid CIDR address: nope"),
    ("dns64 64:ff9b::/96 x", "unexpected line ending after 'x'"),
    ("dns64 {\nprefix\n}", "unexpected line ending after 'prefix'"),
    ("dns64 {\ntranslate_all allow_ipv4\n}", ""),
    ("dns64 {\nfoo\n}", "unknown property 'foo'"),
    ("loop\nloop", "this plugin can only be used once per Server Block"),
    ("reload 1s", "interval value must be greater or equal to 2s"),
    ("reload -30s", "interval value must be greater or equal to 2s"),
    ("reload 30s 15s 1s", "unexpected line ending after '1s'"),
    ("reload 30s 40s", ""),
    ("reload 30s 0s", ""),
    ("reload 30s -5s", "jitter value must be 0 or greater or equal to 1s"),
    ("reload\nreload x", ""),
    ("bind 127.0.0.1 {\nexcept\n}", "at least one address or interface must be given to except subdirective"),
    ("bind lo {\nexcept ::1\n}", ""),
    ("bind lo {\nexcept nonesuch\n}", "not a valid IP address or interface name: \"nonesuch\""),
    ("bind [::1]", "not a valid IP address or interface name: \"[::1]\""),
    ("bind fe80::1%lo", "not a valid IP address or interface name: \"fe80::1%lo\""),
    ("bind 127.0.0.01", "not a valid IP address or interface name: \"127.0.0.01\""),
    ("bufsize 512 1232", "unexpected line ending after '1232'"),
    ("bufsize +512", ""),
    ("bufsize 511", "unexpected line ending after '511'"),
    ("bufsize\nbufsize 1", ""),
    ("cancel 1s 2s", "unexpected line ending after '2s'"),
    ("cancel -1s", "invalid negative duration: \"-1s\""),
    ("cancel 1s\ncancel x", "invalid duration: \"x\""),
    ("cancel 1s {\nx\n}", ""),
    ("nsid a b c", ""),
    ("nsid {\nx\n}", "this plugin can only be used once per Server Block"),
    ("debug\ndebug", ""),
    ("tls", "ACME requires at least one domain"),
    ("tls {\n}", "ACME requires at least one domain"),
    ("tls {\nemail a\n}", "ACME requires at least one domain"),
    ("tls {\nacme\n}", "unexpected line ending after 'acme'"),
    ("tls {\nacme a.example\nfoo\n}", "unknown ACME option \"foo\""),
    ("tls a b c d", "unexpected line ending after 'd'"),
    ("tls a b {\nclient_auth\n}", "unexpected line ending after 'client_auth'"),
    ("tls a b {\nclient_auth foo\n}", "unknown authentication type 'foo'"),
    ("tls a b {\nclient_auth require x\n}", "unexpected line ending after 'x'"),
    ("tls a b {\nkeylog\n}", "unexpected line ending after 'keylog'"),
    ("tls a b {\nacme x\n}", "unknown option 'acme'"),
    ("tls a b", "could not load TLS cert: open a: no such file or directory"),
    ("hosts /nonexistent a.example 10.0.0.0/9", ""),
    ("hosts \"\" a..b", ""),
    ("hosts {\nttl\n}", "ttl needs a time in second"),
    ("hosts {\nttl x\n}", "ttl needs a number of second"),
    ("hosts {\nttl 65536\n}", "ttl provided is invalid"),
    ("hosts {\nttl 65535 x\n}", ""),
    ("hosts {\nreload\n}", "reload needs a duration (zero seconds to disable)"),
    ("hosts {\nreload 5s 6s\n}", "reload needs a duration (zero seconds to disable)"),
    ("hosts {\nreload 5\n}", "invalid duration for reload '5'"),
    ("hosts {\nreload -5s\n}", "invalid negative duration for reload '-5s'"),
    ("hosts {\nreload 0\n}", ""),
    ("hosts {\nfallthrough_unsupported\n}", "fallthrough_unsupported requires fallthrough"),
    ("hosts {\nfallthrough\nfallthrough_unsupported x\n}", "unexpected line ending after 'x'"),
    ("hosts {\nfallthrough_unsupported\nfallthrough a.example\n}", ""),
    ("hosts {\nno_reverse x\n}", ""),
    ("hosts {\nno_reverse ttl 0\n}", "ttl provided is invalid"),
    ("hosts {\nfallthrough a\nno_reverse x\n}", "unknown property 'x'"),
    ("hosts {\nfallthrough a..b\n10.0.0.1 a\n}", ""),
    ("hosts {\nfallthrough\nttl 5\nfallthrough b\n}", ""),
    ("hosts {\n10.0.0.1 \"a b\n10.0.0.2 c\"\n}", ""),
    ("hosts {\n10.0.0.1 a {\nb\n}\n}", "this plugin can only be used once per Server Block"),
    ("hosts\n{\n}", "this plugin can only be used once per Server Block"),
    ("file", "Wrong argument count or unexpected line ending after 'file'"),
    ("file /none/such a..b", ""),
    ("file /none/such example.org\nfile /none/such example.org", ""),
    ("file /none/such {\nreload 0\n}", "open /none/such: no such file or directory"),
    ("file /none/such {\nreload 0\n}\nfile /none/such", "open /none/such: no such file or directory"),
    ("file /none/such {\nreload\n}", "reload duration value is expected"),
    ("file /none/such {\nreload 5\n}", "missing unit in duration \"5\""),
    ("file /none/such {\nreload 5s 6s\n}", ""),
    ("file /none/such {\nreload_by_mtime\n}", ""),
    ("file /none/such {\nreload_by_mtime x\n}", "unknown property 'x'"),
    ("file /none/such {\nupstream 192.0.2.1 x\n}", ""),
    ("file /none/such {\nfallthrough a..b\nfallthrough\n}", ""),
    ("file /none/such {\nno_reload\n}", "unknown property 'no_reload'"),
    ("file /none/such {\ntransfer to *\n}", "unknown property 'transfer'"),
    ("file \"\"", "is a directory"),
    ("file /", "is a directory"),
    ("auto /none/such", ""),
    ("auto {\ndirectory\n}", "Wrong argument count or unexpected line ending after 'directory'"),
    ("auto {\ndirectory /none/such\n}", ""),
    ("auto {\ndirectory /none/such (.*)\n}", "Wrong argument count or unexpected line ending after '(.*)'"),
    ("auto {\ndirectory /none/such x {1}\n}", "Need at least one sub expression"),
    ("auto {\ndirectory /none/such (.*) {1} x y\n}", "Wrong argument count or unexpected line ending after 'x'"),
    ("auto {\ndirectory /none/such (.*) {1}\nreload 0\n}", ""),
    ("auto {\nreload -1s\n}", "invalid duration"),
    ("auto {\nreload\n}", "reload duration value is expected"),
    ("auto {\nreload 5s x\nupstream x\n}", ""),
    ("auto {\nfallthrough\n}", "unknown property 'fallthrough'"),
    ("auto a..b {\ndirectory /none/such\n}\nauto", ""),
    ("k8s_external a {\nttl\n}", "unexpected line ending after 'ttl'"),
    ("k8s_external a {\nttl x\n}", "strconv.Atoi: parsing \"x\": invalid syntax"),
    ("k8s_external a {\nttl -1\n}", "ttl must be in range [0, 3600]: -1"),
    ("k8s_external a {\napex\n}", "unexpected line ending after 'apex'"),
    ("k8s_external a {\nfoo\n}", "unknown property 'foo'"),
    ("k8s_external a {\nheadless x\n}", "unknown property 'x'"),
    ("k8s_external a {\nheadless ttl 4000\n}", "ttl must be in range [0, 3600]: 4000"),
    ("kubernetes cluster.local\nk8s_external a {\nttl 5 6\n}", ""),
    ("kubernetes cluster.local\nk8s_external a {\napex a b\nfallthrough a..b\n}\nk8s_external", ""),
    ("root /nonexistent", ""),
    ("root /tmp /tmp", "unexpected line ending after '/tmp'"),
    ("root /tmp\nroot", "unexpected line ending after 'root'"),
    ("root \"\"", ""),
    ("whoami x", "unexpected line ending after 'x'"),
    ("whoami\nwhoami x", ""),
];

#[test]
fn options_are_taken_and_refused_as_in_coredns() {
    let mut wrong = Vec::new();
    for (options, expected) in MORE {
        let result = servers(&format!(".:1053 {{\n{options}\n}}\n"), &BTreeMap::new());
        match result.map_err(|error| told(&error).1) {
            Ok(_) if expected.is_empty() => {}
            Err(text) if !expected.is_empty() && text.ends_with(expected) => {}
            other => wrong.push(format!("{options:?}: {expected:?} became {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
