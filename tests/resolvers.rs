//! The walk along a search list (`bench::ndots`) against glibc, musl and Go: each looks names up in
//! a namespace with its own resolv.conf, and its queries are recorded.
//!
//! Needs `unshare` with the right to use it, and a compiler for each resolver. If one is missing
//! the test is skipped with the reason; with CI=1 it fails.

#[path = "resolvers/alias.rs"]
mod alias;
#[path = "resolvers/clients.rs"]
mod clients;
#[path = "resolvers/recorder.rs"]
mod recorder;
#[path = "support/upstream.rs"]
mod upstream;

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use signpost::bench::ndots::{Family, Known, Lookup, Resolver, amplification};

use clients::Client;
use recorder::Recorder;

// Without a search list resolvers use the domain of the host's name, so the host gets a name
// without a dot.

/// The folder with the namespace's resolv.conf and the programs; set only inside the namespace.
const FOLDER: &str = "RESOLVERS_FOLDER";

/// Search lists: none, one domain, a Pod's three, and a Pod's with one of the node's.
const SEARCHES: &[&[&str]] = &[
    &[],
    &["cluster.local"],
    &["ns.svc.cluster.local", "svc.cluster.local", "cluster.local"],
    &["ns.svc.cluster.local", "svc.cluster.local", "cluster.local", "node.example"],
];

/// No dots to six, one that ends in the search list, and dots at the end.
const NAMES: &[&str] = &[
    "web",
    "web.",
    "web.other",
    "www.example.com",
    "web.other.svc",
    "web.ns.svc.cluster.local",
    "web.ns.svc.cluster.local.",
    "a.b.c.d.example.com",
    "a.b.c.d.e.example.com",
    "none.example.com",
    "v4.example.com",
    "empty",
    "half",
    "far.example.com",
];

/// The names that exist, for A and AAAA; all others do not.
const ZONE: &[(&str, Known, Known)] = &[
    ("web.ns.svc.cluster.local.", Known::Address, Known::Address),
    ("web.other.svc.cluster.local.", Known::Address, Known::NoData),
    ("www.example.com.", Known::Address, Known::Address),
    ("v4.example.com.", Known::Address, Known::NoData),
    ("a.b.c.d.example.com.", Known::Address, Known::Address),
    ("a.b.c.d.e.example.com.", Known::NoData, Known::Address),
    ("far.example.com.node.example.", Known::Address, Known::Address),
    // Without addresses, before a name that has some.
    ("empty.ns.svc.cluster.local.", Known::NoData, Known::NoData),
    ("empty.cluster.local.", Known::Address, Known::Address),
    // Servers that say NXDOMAIN to AAAA only are wrong (RFC 8020), but they exist.
    ("half.ns.svc.cluster.local.", Known::Address, Known::NoName),
    ("half.cluster.local.", Known::Address, Known::Address),
];

const BOTH: &[Family] = &[Family::V4, Family::V6];

fn known(name: &str, family: Family) -> Known {
    ZONE.iter().find(|(known, ..)| *known == name).map_or(Known::NoName, |(_, v4, v6)| match family {
        Family::V4 => *v4,
        Family::V6 => *v6,
    })
}

#[test]
fn the_walk_is_that_of_the_real_resolvers() {
    run_in_namespace("inside");
}

#[test]
fn an_alias_whose_target_fails_breaks_no_resolver() {
    run_in_namespace("aliases");
}

/// Runs an ignored test of this program in a namespace with its own port 53 and resolv.conf.
fn run_in_namespace(test: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut missing: Vec<String> = Client::ALL.iter().filter_map(|client| client.build(folder.path()).err()).collect();
    let script = "ip link set lo up && hostname box && mount --bind \"$1/resolv.conf\" /etc/resolv.conf && exec \"$0\" --exact \"$2\" --ignored --nocapture";
    std::fs::write(folder.path().join("resolv.conf"), "").expect("written");
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let output = Command::new("unshare")
        .args((!is_root).then_some("--map-root-user"))
        .args(["--net", "--mount", "--uts", "sh", "-c", script])
        .arg(std::env::current_exe().expect("this program"))
        .arg(folder.path())
        .arg(test)
        .env(FOLDER, folder.path())
        .output();
    match output {
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&text);
            match text.contains(&format!("{test} ...")) {
                true => assert!(output.status.success(), "{text}"),
                false => missing.push(format!("no namespace: {text}")),
            }
        }
        Err(error) => missing.push(format!("unshare: {error}")),
    }
    if !missing.is_empty() {
        println!("skipped: {}", missing.join("; "));
        assert!(std::env::var_os("CI").is_none(), "skipped, which CI does not allow: {}", missing.join("; "));
    }
}

/// Every case, in the namespace. Outside it does nothing.
#[test]
#[ignore = "runs in a namespace that the other test makes"]
fn inside() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let (folder, recorder) = (Path::new(&folder), Recorder::start(known));
    let (mut wrong, mut cases) = (Vec::new(), 0);
    for client in Client::ALL.iter().filter(|client| client.is_built(folder)) {
        for search in SEARCHES {
            for ndots in [0, 1, 2, 5] {
                for options in ["", " single-request"] {
                    std::fs::write(folder.join("resolv.conf"), resolv_conf(search, ndots, options)).expect("written");
                    let families: &[&[Family]] = if ndots == 5 { &[BOTH, &BOTH[..1], &BOTH[1..]] } else { &[BOTH] };
                    for (name, families) in NAMES.iter().flat_map(|name| families.iter().map(move |some| (name, some)))
                    {
                        cases += 1;
                        let case = (*client, *name, (*search, ndots), *families);
                        wrong.extend(compare(folder, &recorder, case).map(|why| format!("{options} {why}")));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {cases} differ:\n{}", wrong.len(), wrong.join("\n"));
    println!("{cases} look-ups are as the function says");
}

/// Aliases that lead outside, for each client. Outside the namespace it does nothing.
#[test]
#[ignore = "runs in a namespace that the other test makes"]
fn aliases() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let wrong = alias::compare(Path::new(&folder));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn resolv_conf(search: &[&str], ndots: usize, options: &str) -> String {
    let search = if search.is_empty() { String::new() } else { format!("search {}", search.join(" ")) };
    format!("nameserver 127.0.0.1\n{search}\noptions ndots:{ndots}{options}\n")
}

type Case<'a> = (Client, &'a str, (&'a [&'a str], usize), &'a [Family]);

/// Runs one look-up, and returns how it differs from the function.
fn compare(folder: &Path, recorder: &Recorder, (client, name, list, families): Case<'_>) -> Option<String> {
    let (search, ndots) = (list.0.iter().map(ToString::to_string).collect::<Vec<_>>(), list.1);
    let resolver = client.resolver();
    let walk = amplification(&Lookup { resolver, name, ndots, search: &search, families }, known);
    let found = client.look_up(folder, name, families);
    let mut sent = recorder.take();
    let mut wanted: Vec<(String, Family)> = Vec::new();
    for step in &walk.steps {
        // Two queries that are sent together may arrive in any order.
        let (from, to) = (wanted.len(), (wanted.len() + step.said.len()).min(sent.len()));
        sent.get_mut(from..to).unwrap_or_default().sort();
        wanted.extend(step.said.iter().map(|(family, _)| (step.name.clone(), *family)));
    }
    let is_as_said = sent == wanted && found == walk.found;
    (!is_as_said).then(|| {
        format!("{resolver:?} {name} ndots:{ndots} {search:?} {families:?}:\n  sent {sent:?}\n  not  {wanted:?}\n  found {found:?}, not {:?}", walk.found)
    })
}

#[test]
fn every_resolver_has_a_client() {
    for resolver in [Resolver::Glibc, Resolver::Musl, Resolver::Go] {
        assert!(Client::ALL.iter().any(|client| client.resolver() == resolver));
    }
}
