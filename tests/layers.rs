//! The rooms of the house and the arrows between them, held as a test; and what lints cannot say:
//! how long a file and a function may be, where `unsafe` and `kube` may stand. More of it stands in
//! the folder: arrows inside of a room, rings, names, prose.
//!
//! ```text
//! main            -> server, plugins, chain, corefile, args, error, host, compare, ask, manual
//! migrate         -> plugins, corefile, error
//! manual          -> plugins, chain, error, and of corefile only "did you mean"
//! server          -> chain, wire, host, corefile, node, args, error
//! node            -> host, args, error
//! plugins         -> chain, remote, zone, dnssec, expr, wire, host, error, and of corefile only what
//!                    reads options
//! chain           -> corefile, zone, expr, wire, host, error
//! zone            -> wire, host, error
//! dnssec          -> wire, error
//! remote          -> wire, host
//! corefile, host  -> error
//! bin -> bench -> wire, ask; compare -> wire, ask; ask -> wire, and host for resolv.conf
//! wire, expr      -> nothing: no room, no clock, no socket
//! ```

#[path = "layers/folders.rs"]
mod folders;
#[path = "layers/names.rs"]
mod names;
#[path = "layers/prose.rs"]
mod prose;
#[path = "layers/rings.rs"]
mod rings;
#[path = "layers/source.rs"]
mod source;

use std::path::Path;

use source::{Source, Use};

/// Who may use whom: (name, the names that it may use).
type Arrows = &'static [(&'static str, &'static [&'static str])];

/// Who may use whom.
const ARROWS: Arrows = &[
    (
        "main",
        &["server", "plugins", "chain", "corefile", "args", "error", "host", "compare", "ask", "manual", "migrate"],
    ),
    ("migrate", &["plugins", "corefile", "error"]),
    ("manual", &["plugins", "chain", "corefile", "error"]),
    ("server", &["chain", "wire", "host", "corefile", "node", "args", "error"]),
    ("node", &["host", "args", "error"]),
    ("plugins", &["chain", "remote", "zone", "dnssec", "corefile", "expr", "wire", "host", "error"]),
    ("chain", &["corefile", "zone", "expr", "wire", "host", "error"]),
    // Several plugins serve zones: the room knows none of them, nor the Corefile.
    ("zone", &["wire", "host", "error"]),
    // Signatures are made by several plugins: the room knows none of them, nor the time.
    ("dnssec", &["wire", "error"]),
    ("bench", &["wire", "ask"]),
    ("compare", &["wire", "ask"]),
    // One reader of resolv.conf for the whole house stands in `host`.
    ("ask", &["wire", "host"]),
    // Other DNS servers are asked by several plugins: the room knows none of them, nor the
    // Corefile.
    ("remote", &["wire", "host"]),
    ("bin", &["bench"]),
    ("corefile", &["error"]),
    ("host", &["error"]),
    ("wire", &[]),
    // A language: its environment knows what a query is.
    ("expr", &[]),
    ("args", &[]),
    ("error", &[]),
    // The map of the house names its rooms alone.
    ("lib", &[]),
];

/// What plugins may use of `corefile`: the cursor, words, values and addresses. Not blocks, not the
/// parser.
const OPTIONS: &[&str] = &["Cursor", "Severity", "Word", "Source", "cursor", "word", "value", "address", "nearest"];

/// Uses that break a rule, each with its reason: (file, path, why).
const EXCEPTIONS: &[(&str, &str, &str)] = &[(
    "src/plugins/loop_detect/mod.rs",
    "corefile::ServerBlock",
    "names the file that `forward` took its upstreams from, which is what closes most loops",
)];

/// What a room may not use of other crates, and why.
const FOREIGN: &[(&str, &str, &str)] = &[
    ("wire", "tokio", "the wire waits for nothing"),
    ("wire", "std::time::Instant", "the wire has no clock: time is an argument"),
    ("wire", "std::time::SystemTime", "the wire has no clock: time is an argument"),
    ("wire", "std::net::Udp", "the wire has no sockets"),
    ("wire", "std::net::Tcp", "the wire has no sockets"),
    ("wire", "std::fs", "the wire reads no files"),
    ("wire", "std::env", "the wire knows no environment"),
    ("wire", "hickory_proto", "hickory-proto is the oracle that the wire is tested against"),
    ("wire", "libc", "the wire is pure"),
    ("corefile", "tokio", "reading text waits for nothing"),
    ("corefile", "std::time::Instant", "reading text has no clock"),
    ("corefile", "std::net::Udp", "reading text opens no socket"),
    ("corefile", "std::net::Tcp", "reading text opens no socket"),
    ("chain", "std::net::Udp", "the chain is asked by sockets, it has none"),
    ("chain", "std::net::Tcp", "the chain is asked by sockets, it has none"),
    ("chain", "tokio::net", "the chain is asked by sockets, it has none"),
];

/// Crates that only the watch knows.
const KUBE: &[&str] = &["kube", "kube_client", "kube_core", "k8s_openapi"];

/// Lines of a file and of a function.
const MAX_FILE: usize = 400;
const MAX_FUNCTION: usize = 60;

/// What may be longer, each with its reason. An entry that is not needed any more fails the test.
const LONGER: &[(&str, &str)] = &[("tests/watch.rs", "one scripted API server and its stories")];

//----------- The rules ------------------------------------------------------

/// Arrows between rooms, and what plugins may use of each other and of the Corefile.
fn arrows(source: &Source) -> Vec<String> {
    let room = source.room();
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == room) else {
        return vec![format!("{}: the room `{room}` is not on the map in tests/layers.rs", source.path)];
    };
    let mut wrong = Vec::new();
    let excused =
        |path: &[String]| EXCEPTIONS.iter().any(|(file, used, _)| *file == source.path && *used == path.join("::"));
    for Use { line, path, .. } in source.uses().into_iter().filter(|used| used.own && !excused(&used.path)) {
        let place = format!("{}:{line}", source.path);
        let Some(other) = path.first().filter(|first| *first != room && !first.starts_with(char::is_uppercase)) else {
            wrong.extend(between_plugins(source, &path).map(|why| format!("{place}: {why}")));
            continue;
        };
        if room == "lib" || !allowed.contains(&other.as_str()) {
            wrong.push(format!("{place}: {room} may not use {}", path.join("::")));
        } else if room == "plugins"
            && other == "corefile"
            && !path.get(1).is_some_and(|part| OPTIONS.contains(&part.as_str()))
        {
            wrong.push(format!("{place}: plugins read the Corefile through the cursor, not {}", path.join("::")));
        }
    }
    wrong
}

/// No plugin knows another; only the list of all plugins knows each of them.
fn between_plugins(source: &Source, path: &[String]) -> Option<String> {
    let own = (source.room() == "plugins").then(|| source.module.get(1)).flatten()?;
    let other = path.get(1).filter(|_| path[0] == "plugins")?;
    (own != other).then(|| format!("the plugin {own} may not use {}", path.join("::")))
}

/// Clocks, sockets and packages where they do not belong.
fn foreign(source: &Source) -> Vec<String> {
    let mut wrong = Vec::new();
    let is_watch = source.path.starts_with("src/plugins/kubernetes/reading/watch");
    for Use { line, path, .. } in source.uses().into_iter().filter(|used| !used.own) {
        let (place, whole) = (format!("{}:{line}", source.path), path.join("::"));
        if KUBE.contains(&path[0].as_str()) && !is_watch {
            wrong.push(format!("{place}: only plugins/kubernetes/reading/watch knows {whole}"));
        }
        for (_, _, why) in FOREIGN.iter().filter(|(room, what, _)| *room == source.room() && begins(&whole, what)) {
            wrong.push(format!("{place}: {whole}: {why}"));
        }
    }
    wrong
}

/// Whether a path begins with another one. `std::net::Udp` stands for all names that begin so.
fn begins(path: &str, prefix: &str) -> bool {
    let is_stem = prefix.ends_with("Udp") || prefix.ends_with("Tcp");
    path.strip_prefix(prefix).is_some_and(|rest| is_stem || rest.is_empty() || rest.starts_with("::"))
}

/// The server serves whatever chain it is given: it names no plugin, not even in a string.
fn server_names_no_plugin(source: &Source) -> Vec<String> {
    let always = ["kubernetes", "forward", "cache"];
    let names = signpost::plugins::ALL
        .iter()
        .map(|plugin| plugin.name)
        .chain(signpost::plugins::COREDNS.iter().copied())
        .chain(always);
    // Names that are words of the wire or of the system as well.
    let names: Vec<&str> =
        names.filter(|name| !matches!(*name, "tls" | "quic" | "https" | "grpc" | "log" | "errors")).collect();
    let strings =
        source.strings().into_iter().filter(|(_, text)| source.room() == "server" && names.contains(&text.as_str()));
    strings.map(|(line, text)| format!("{}:{line}: the server names the plugin `{text}`", source.path)).collect()
}

/// The log and complaints know a plugin by its name, and one place writes `plugin/` in front.
fn plugin_prefix(source: &Source) -> Vec<String> {
    let strings = source.strings().into_iter();
    let strings = strings.filter(|(_, text)| text.starts_with("plugin/") && source.path != "src/error.rs");
    strings.map(|(line, text)| format!("{}:{line}: `{text}`: src/error.rs has the prefix", source.path)).collect()
}

fn unsafe_code(source: &Source) -> Vec<String> {
    if source.path == "src/server/sys.rs" {
        return Vec::new();
    }
    let words = |line: &str| line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe");
    let lines = source.code.lines().enumerate().filter(|(_, line)| words(line));
    lines.map(|(at, _)| format!("{}:{}: `unsafe` stands in server/sys.rs alone", source.path, at + 1)).collect()
}

/// Files and functions that are too long, as (what, how it is said).
fn lengths(source: &Source) -> Vec<(String, String)> {
    let mut long = Vec::new();
    let lines = source.text.lines().count();
    if lines > MAX_FILE {
        long.push((source.path.clone(), format!("{}: {lines} lines, not {MAX_FILE}", source.path)));
    }
    for (name, line, lines) in
        source.functions().into_iter().filter(|(.., lines)| *lines > MAX_FUNCTION && !source.is_test)
    {
        let what = format!("{}::{name}", source.path);
        long.push((what, format!("{}:{line}: fn {name} has {lines} lines, not {MAX_FUNCTION}", source.path)));
    }
    long
}

//----------- The house ------------------------------------------------------

fn files(root: &str, into: &mut Vec<Source>) {
    let base = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Ok(entries) = std::fs::read_dir(base.join(root)) else { return };
    for entry in entries.map(|entry| entry.expect("an entry")) {
        let path = format!("{root}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() && !path.ends_with("/target") {
            files(&path, into);
        } else if path.ends_with(".rs") {
            into.push(Source::new(&path, &std::fs::read_to_string(entry.path()).expect("a file of ours")));
        }
    }
}

fn house(roots: &[&str]) -> Vec<Source> {
    let mut all = Vec::new();
    roots.iter().for_each(|root| files(root, &mut all));
    all.sort_by(|a, b| a.path.cmp(&b.path));
    all
}

fn hold(rule: &str, wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{rule}: {} places\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn arrows_point_one_way() {
    let all = house(&["src"]);
    assert!(all.len() > 50, "the sources were not found");
    hold("arrows", all.iter().filter(|source| !source.is_test).flat_map(arrows).collect());
}

#[test]
fn arrows_inside_a_folder_point_one_way() {
    let all = house(&["src"]);
    hold("parts of a folder", folders::missing(&all));
    hold("inner arrows", all.iter().filter(|source| !source.is_test).flat_map(folders::arrows).collect());
}

#[test]
fn clocks_sockets_and_kube_stay_where_they_belong() {
    hold("foreign", house(&["src"]).iter().filter(|source| !source.is_test).flat_map(foreign).collect());
}

#[test]
fn modules_do_not_use_each_other_in_a_ring() {
    hold("rings", rings::wrong(&house(&["src"])));
}

#[test]
fn the_server_serves_any_chain() {
    hold("plugins named by the server", house(&["src"]).iter().flat_map(server_names_no_plugin).collect());
}

#[test]
fn the_prefix_of_plugins_stands_in_one_file() {
    hold("prefix", house(&["src"]).iter().filter(|source| !source.is_test).flat_map(plugin_prefix).collect());
}

#[test]
fn unsafe_stands_in_one_file() {
    hold("unsafe", house(&["src"]).iter().flat_map(unsafe_code).collect());
}

#[test]
fn files_and_functions_are_short() {
    let long: Vec<_> = house(&["src", "tests", "benches"]).iter().flat_map(lengths).collect();
    let excused = |what: &String| LONGER.iter().any(|(name, _)| name == what);
    let needless = LONGER.iter().filter(|(name, _)| !long.iter().any(|(what, _)| what == name));
    let needless: Vec<_> = needless.map(|(name, _)| format!("{name} is not too long any more")).collect();
    hold(
        "length",
        long.iter().filter(|(what, _)| !excused(what)).map(|(_, said)| said.clone()).chain(needless).collect(),
    );
}

//----------- The rules can fail ---------------------------------------------

fn broken(rule: fn(&Source) -> Vec<String>, path: &str, text: &str) -> usize {
    rule(&Source::new(path, text)).len()
}

#[test]
fn a_wrong_arrow_is_found() {
    for (path, text, wrong) in [
        ("src/wire/name.rs", "use crate::host::Host;", 1),
        ("src/wire/name.rs", "use super::answer::Answer; // crate::host", 0),
        ("src/wire/name.rs", "use super::super::host::clock;", 1),
        ("src/wire/name.rs", "mod text { use super::super::answer::Answer; }", 0),
        ("src/wire/name.rs", "fn f() -> &'static str { \"crate::host\" }", 0),
        ("src/wire/name.rs", "#[cfg(test)]\nmod tests { use crate::testing::ask; }", 0),
        ("src/chain/walk.rs", "use crate::{host::log, server::{run, udp}};", 2),
        ("src/chain/walk.rs", "use crate::{\n    host::log,\n    wire::{self, name::Name},\n};", 0),
        ("src/server/run.rs", "fn f() { crate::plugins::ALL.len(); }", 1),
        ("src/plugins/cache.rs", "use crate::plugins::kubernetes::Kubernetes;", 1),
        ("src/plugins/cache.rs", "use super::forward::Pool;", 1),
        ("src/plugins/cache/key.rs", "use super::Cache; use super::super::forward::Pool;", 1),
        ("src/plugins/cache.rs", "use crate::corefile::{Cursor, value};", 0),
        ("src/plugins/cache.rs", "use crate::corefile::ServerBlock;", 1),
        ("src/plugins/mod.rs", "use self::cache::PLUGIN; use crate::plugins::forward;", 0),
        ("src/kitchen/mod.rs", "", 1),
    ] {
        assert_eq!(broken(arrows, path, text), wrong, "{path}: {text}");
    }
}

#[test]
fn a_wrong_arrow_inside_a_folder_is_found() {
    let folder = "src/plugins/kubernetes";
    for (path, text, wrong) in [
        ("known/index.rs", "use super::model::Service;", 0),
        ("known/index.rs", "use super::super::reading::feed::Feed;", 1),
        ("known/store/mod.rs", "use crate::plugins::kubernetes::answers::zone::Zone;", 1),
        ("reading/feed.rs", "use crate::plugins::kubernetes::known::store::Store;", 0),
        ("reading/feed.rs", "use crate::plugins::kubernetes::{answers::name, known::index};", 1),
        ("answers/zone.rs", "use super::super::reading::options::SourceOptions;", 1),
        ("answers/zone.rs", "fn f() { crate::plugins::kubernetes::setup::read(); }", 1),
        ("answers/zone.rs", "use super::super::Kubernetes;", 1),
        ("setup.rs", "use super::reading::watch; use super::answers::zone::Zone;", 0),
        ("mod.rs", "use self::reading::start; use crate::plugins::kubernetes::known::index::Index;", 0),
    ] {
        assert_eq!(broken(folders::arrows, &format!("{folder}/{path}"), text), wrong, "{path}: {text}");
    }
}

#[test]
fn a_clock_or_a_socket_in_the_wrong_room_is_found() {
    for (path, text, wrong) in [
        ("src/wire/name.rs", "use std::time::Instant;", 1),
        ("src/wire/name.rs", "use std::net::{IpAddr, UdpSocket};", 1),
        ("src/wire/name.rs", "use std::net::IpAddr;", 0),
        ("src/wire/name.rs", "#[cfg(test)]\nmod tests { use hickory_proto::op::Message; }", 0),
        ("src/plugins/kubernetes/reading/watch/api.rs", "use kube::Client;", 0),
        ("src/plugins/kubernetes/reading/feed.rs", "use kube::Client;", 1),
    ] {
        assert_eq!(broken(foreign, path, text), wrong, "{path}: {text}");
    }
    assert_eq!(broken(server_names_no_plugin, "src/server/run.rs", "const A: &str = \"kubernetes\";"), 1);
    assert_eq!(broken(plugin_prefix, "src/plugins/any.rs", "fn f() { log::info(\"plugin/any\", \"\"); }"), 1);
    assert_eq!(broken(server_names_no_plugin, "src/server/run.rs", "//! the \"kubernetes\" plugin"), 0);
}

#[test]
fn a_ring_is_found() {
    let rings = |files: &[(&str, &str)]| {
        let sources: Vec<Source> = files.iter().map(|(path, text)| Source::new(path, text)).collect();
        rings::all(&sources).iter().map(|ring| ring.join(" ")).collect::<Vec<_>>().join("; ")
    };
    let (a, c) = (("src/wire/a.rs", "use super::b::B;"), ("src/wire/c.rs", "fn f() { crate::wire::a::g() }"));
    assert_eq!(rings(&[a, ("src/wire/b.rs", "use super::c::{C, D};"), c]), "wire::a wire::b wire::c");
    assert_eq!(rings(&[a, ("src/wire/b.rs", "#[cfg(test)]\nmod tests { use super::super::c::C; }"), c]), "");
    let child = ("src/wire/x/y.rs", "use super::X;");
    assert_eq!(rings(&[("src/wire/x/mod.rs", "mod y;\nuse self::y::Y;"), child]), "wire::x wire::x::y");
    assert_eq!(rings(&[("src/wire/x/mod.rs", "mod y;\nfn f() { y::g() }"), child]), "wire::x wire::x::y");
    assert_eq!(rings(&[("src/wire/x/mod.rs", "mod y;\nfn f(_: other::Y) {}"), child]), "", "only declared");
    let elsewhere = ("src/plugins/b/mod.rs", "use crate::plugins::a::A;");
    assert_eq!(rings(&[("src/plugins/a/mod.rs", "use crate::plugins::b::B;"), elsewhere]), "", "arrows find that");
}

#[test]
fn unsafe_code_is_found() {
    assert_eq!(broken(unsafe_code, "src/wire/name.rs", "fn f() { unsafe { g() } }"), 1);
    assert_eq!(broken(unsafe_code, "src/wire/name.rs", "fn unsafe_pointers() {} // unsafe"), 0);
}

#[test]
fn long_files_and_functions_are_found() {
    let body = "    g();\n".repeat(60);
    let long = |text: &str| lengths(&Source::new("src/wire/name.rs", text)).len();
    assert_eq!(long(&format!("fn f(a: [u8; 4]) {{\n{body}}}\n")), 1);
    assert_eq!(long(&format!("#[cfg(test)]\nmod tests {{\n    fn f() {{\n{body}    }}\n}}\n")), 0);
    assert_eq!(long(&format!("trait T {{\n    fn f();\n}}\nmod m {{\n{body}}}\n")), 0);
    assert_eq!(long(&format!("fn f() {{ let a = '{{'; let b = \"}}\"; }}\n{}", "//\n".repeat(60))), 0);
    assert_eq!(long(&"\n".repeat(401)), 1);
}
