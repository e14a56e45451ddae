//! What each plugin does, as its users see it: Corefile, questions and answers as text.
//!
//! Each `tests/scenarios/PLUGIN/NAME.scn` is a test, `PLUGIN/NAME`, with a server of its own, and
//! `PLUGIN/NAME@coredns` plays it with a real CoreDNS, so that what it says of CoreDNS is true.
//! `cargo test --test scenarios hosts/nodes` plays one, `cargo test --test scenarios hosts/` those
//! of a plugin.
//!
//! - `script`: the format
//! - `play`: what is done for each section
//! - `ask`: a question as its words say, and its reply as text

#[path = "../support/pages.rs"]
mod pages;
#[path = "../support/tls.rs"]
mod pki;
#[path = "../kit/signed.rs"]
mod signed;
#[path = "../support/mod.rs"]
mod support;

mod ask;
mod play;
mod script;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

use support::{SIGNPOST, coredns};

/// Scenarios wait more than they work.
const AT_A_TIME: usize = 8;

fn main() -> ExitCode {
    // The harness tells what a panic says.
    std::panic::set_hook(Box::new(|_| {}));
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_A_TIME);
    let scenarios = scenarios();
    let plugins: Vec<String> = scenarios.iter().map(|(plugin, ..)| plugin.clone()).collect();
    let mut trials = vec![
        Trial::test("each_plugin_has_a_scenario", move || each_plugin(&plugins)),
        Trial::test("a_wrong_line_is_told", wrong_lines_are_told),
    ];
    for (plugin, name, path) in scenarios {
        let name = format!("{plugin}/{name}");
        trials.extend(read(&path).for_coredns().map(|script| beside(&name, script)));
        let script = read(&path).for_signpost();
        trials.push(Trial::test(name, move || Ok(play::play(Path::new(SIGNPOST), &script)?)));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Returns the test that plays a scenario with CoreDNS. It is skipped where CoreDNS is not built,
/// which CI does not allow.
fn beside(name: &str, script: script::Script) -> Trial {
    let program = coredns();
    let is_skipped = !program.exists() && std::env::var_os("CI").is_none();
    let test = move || match program.exists() {
        true => Ok(play::play(&program, &script)?),
        false => Err("there is no CoreDNS: tests/peers/build.sh coredns builds it".into()),
    };
    Trial::test(format!("{name}@coredns"), test).with_ignored_flag(is_skipped)
}

/// Returns all scenarios: the plugin, the name, and the path from the root of the repository.
fn scenarios() -> Vec<(String, String, PathBuf)> {
    let root = Path::new("tests/scenarios");
    let mut all = Vec::new();
    for folder in entries(root).into_iter().filter(|path| path.is_dir()) {
        for path in entries(&folder) {
            let name = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            // What directives take and refuse is played by the test `plugins_grammar`.
            if !path.ends_with("options.grammar") {
                all.push((name(&folder), name(&path), path));
            }
        }
    }
    all
}

/// Cargo runs tests in the folder of the package.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn read(path: &Path) -> script::Script {
    let text = std::fs::read_to_string(path).expect("a scenario is UTF-8");
    script::Script::new(&path.display().to_string(), &text)
}

/// Each plugin has a folder with its name, and no folder has another name.
fn each_plugin(with: &[String]) -> Result<(), Failed> {
    let served: Vec<&str> = signpost::plugins::ALL.iter().map(|plugin| plugin.name).collect();
    let without = served.iter().filter(|name| !with.iter().any(|with| with == *name));
    let mut wrong: Vec<String> =
        without.map(|name| format!("tests/scenarios/{name} is missing: no scenario shows what {name} does")).collect();
    let strangers = with.iter().filter(|name| !served.contains(&name.as_str()));
    wrong.extend(strangers.map(|name| format!("tests/scenarios/{name}: no plugin has this name")));
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

/// Scenarios can fail, and say where.
fn wrong_lines_are_told() -> Result<(), Failed> {
    let corefile = "=== Corefile\n.:PORT {\n    hosts {\n        192.0.2.1 a.test\n    }\n}\n";
    for (section, told) in [
        ("=== ask a.test. A\nNXDOMAIN\n", "wrong.scn:7: ask a.test. A\nwanted:\n    NXDOMAIN\ngot:\n    NOERROR aa\n"),
        ("=== page PORT2 /\n200\n", "wrong.scn:7: page PORT2 /\nwanted:\n    200\ngot:\n    Connection refused"),
        ("=== log\nCoreDNS-\n! .:PORT\n", "wrong.scn:7: log\nwanted:\n    CoreDNS-\n    ! .:"),
        ("=== log\nnever said\n", "wrong.scn:7: log\nwanted:\n    never said\ngot:\n    .:"),
        ("=== answer a.test. A\n", "wrong.scn:7: answer a.test. A\nthere is no section `answer`"),
        ("=== ask a.test. A +dnssec\n", "wrong.scn:7: ask a.test. A +dnssec\nthere is no word `+dnssec`"),
    ] {
        let script = script::Script::new("wrong.scn", &format!("{corefile}{section}"));
        let script = script.patient_for(std::time::Duration::from_millis(300));
        match play::play(Path::new(SIGNPOST), &script) {
            Err(error) if error.starts_with(told) => {}
            other => return Err(format!("{section}: wanted:\n{told}\ngot:\n{other:?}").into()),
        }
    }
    Ok(())
}
