//! What plugins take and refuse against CoreDNS 1.15.0: here verdict and line of the cases in
//! `corefiles/grammar.jsonl` that are about a plugin we have; our words may be better than
//! CoreDNS's. `options` has the cases beside each plugin, where the words count too.

mod kit;
#[path = "plugins_grammar/options.rs"]
mod options;

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
    /// Files beside the Corefile. A missing one has no text. Absolute paths are files of the
    /// machine.
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
const NOT_JUDGED: &[(&str, &str)] =
    &[("forward-host-name", "refused when the name is looked up at the start, which building a Corefile never does")];

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
