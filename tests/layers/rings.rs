//! Modules of one room, or of one plugin, that use each other in a ring: none but those that are
//! named here.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Source, Use};

/// Rings that may stand, each with its reason: (modules, why). An entry that is not a ring any more
/// fails the test.
const NAMED: &[(&[&str], &str)] = &[
    (&["args", "args::node"], "the flags of a node cache are a part of all flags, and are read with their helpers"),
    (&["bench::args", "bench::ndots"], "the model of ndots is one of the things that the flags choose"),
    (&["bench::lane", "bench::report", "bench::stream", "bench::udp"], "lanes run transports, which count for them"),
    (
        &["chain::listener", "chain::plugin", "chain::site", "chain::walk"],
        "a plugin asks the chain below it, which is made of plugins",
    ),
    (&["corefile", "corefile::cursor", "corefile::parse"], "the folder's own types are read by both"),
    (
        &["host::http", "host::http::places", "host::http::press", "host::http::serve", "host::metrics"],
        "pages show metrics, and their server is measured",
    ),
    (&["host::log", "host::log::record", "host::log::told", "host::log::writer"], "a folder and its parts"),
    (&["plugins::errors", "plugins::errors::consolidate"], "a folder and its part"),
    (&["plugins::prometheus", "plugins::prometheus::grid"], "a folder and its part"),
    (&["plugins::template", "plugins::template::parse"], "a folder and its part"),
    (
        &["plugins::template::expression", "plugins::template::format"],
        "a format has expressions, which call it by name",
    ),
    (
        &[
            "server::stream",
            "server::stream::connections",
            "server::stream::flight",
            "server::stream::http",
            "server::stream::http::conversation",
            "server::stream::http::line",
            "server::stream::quic",
            "server::stream::quic::endpoint",
            "server::stream::quic::streams",
            "server::stream::session",
            "server::udp",
            "server::worker",
        ],
        "a worker owns sockets and sessions, which answer through it",
    ),
    (&["wire::name", "wire::text"], "a name is read from its text, and written as one"),
];

/// A module as it is written in a path, `wire::name`.
type Module = Vec<String>;

/// From each module to others.
type Arrows<'a> = BTreeMap<&'a Module, BTreeSet<&'a Module>>;

/// The rings that are not named, and the names that are not rings any more.
pub(crate) fn wrong(sources: &[Source]) -> Vec<String> {
    let found = all(sources);
    let is_named = |ring: &&Vec<String>| NAMED.iter().any(|(modules, _)| modules == &ring.as_slice());
    let unnamed = found.iter().filter(|ring| !is_named(ring));
    let unnamed = unnamed.map(|ring| format!("these use each other in a ring: {}", ring.join(", ")));
    let is_needless = |modules: &&[&str]| !found.iter().any(|ring| modules == &ring.as_slice());
    let needless = NAMED.iter().map(|(modules, _)| *modules).filter(is_needless);
    unnamed.chain(needless.map(|modules| format!("not a ring any more: {}", modules.join(", ")))).collect()
}

/// The modules that reach themselves through others of their folder, as sorted rings.
pub(crate) fn all(sources: &[Source]) -> Vec<Vec<String>> {
    let sources: Vec<&Source> = sources.iter().filter(|one| !one.is_test && !one.module.is_empty()).collect();
    let modules: BTreeSet<&Module> = sources.iter().map(|source| &source.module).collect();
    let arrows: Arrows<'_> = sources.iter().map(|source| (&source.module, used(source, &modules))).collect();
    let reached: Arrows<'_> = modules.iter().map(|&from| (from, reach(from, &arrows))).collect();
    // Two modules are in the same ring if each reaches the other.
    let ring = |from: &Module| -> Vec<String> {
        let others = reached[&from].iter().filter(|to| reached[*to].contains(&from));
        others.map(|module| module.join("::")).collect()
    };
    let reaches_itself = |module: &&Module| reached[module].contains(module);
    let rings: BTreeSet<Vec<String>> = modules.iter().copied().filter(reaches_itself).map(ring).collect();
    rings.into_iter().collect()
}

/// The modules of the same folder that a file names.
fn used<'a>(source: &Source, modules: &BTreeSet<&'a Module>) -> BTreeSet<&'a Module> {
    let folder = |module: &[String]| module[..module.len().min(if module[0] == "plugins" { 2 } else { 1 })].to_vec();
    let module_of = |Use { own, path, .. }: Use| {
        // A path without `self::` may begin with a module that this file declares.
        let whole = if own { path } else { [source.module.clone(), vec![path[0].clone()]].concat() };
        (1..=whole.len()).rev().find_map(|len| modules.get(&whole[..len].to_vec()).copied())
    };
    let used = source.uses().into_iter().filter_map(module_of);
    used.filter(|other| **other != source.module && folder(other) == folder(&source.module)).collect()
}

/// The modules that one reaches, over any number of arrows.
fn reach<'a>(from: &'a Module, arrows: &Arrows<'a>) -> BTreeSet<&'a Module> {
    let (mut reached, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(module) = next.pop() {
        next.extend(arrows[&module].iter().filter(|to| reached.insert(**to)));
    }
    reached
}
