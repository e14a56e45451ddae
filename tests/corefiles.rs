//! Every Corefile that we show can be served: those of `Corefile.examples`, and each `corefile`
//! fence in a page of `docs`, where the manuals of the plugins are too.

#[path = "support/tls.rs"]
mod tls;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use signpost::chain::build::{Configuration, build};
use signpost::corefile::{self, Vocabulary};
use signpost::host::Host;
use signpost::plugins::{ALL, COREDNS};

/// Where examples have their certificate: `tls.crt` and `tls.key`, as a Secret has them.
const CERTIFICATE: &str = "/etc/signpost/tls";

/// Where examples of manuals have their manifests.
const MANIFESTS: &str = "./demo";

/// Builds what a Corefile says, as `-validate` does: no socket, no network.
fn validate(text: &str, file: &str) -> Result<Configuration, String> {
    let pki = tls::Pki::new();
    pki.issue("tls", &["dns.example.org"]);
    std::fs::rename(pki.path("tls.pem"), pki.path("tls.crt")).expect("renamed");
    let text = text.replace(CERTIFICATE, &pki.folder.path().display().to_string());
    let text = &text.replace(MANIFESTS, &root().join("Corefile.examples/demo/cluster").display().to_string());
    let served: Vec<&str> = ALL.iter().map(|plugin| plugin.name).collect();
    let vocabulary = Vocabulary { served: &served, elsewhere: COREDNS };
    let corefile = corefile::parse(text, file, &|_: &str| None, &vocabulary).map_err(|error| error.to_string())?;
    build(&corefile, ALL, &Arc::new(Host::default()), "53").map_err(|error| error.to_string())
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a folder with this ending, in order.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let below = |path: PathBuf| if path.is_dir() { files(&path, ending) } else { vec![path] };
    paths.into_iter().flat_map(below).filter(|path| path.to_string_lossy().ends_with(ending)).collect()
}

/// The fences of a text that are marked `corefile`, as (first line, text).
fn fences(text: &str) -> Vec<(usize, String)> {
    let (mut found, mut open) = (Vec::new(), None::<(usize, String)>);
    for (at, line) in text.lines().enumerate() {
        match &mut open {
            None if line == "```corefile" => open = Some((at + 2, String::new())),
            None => {}
            Some(_) if line == "```" => found.extend(open.take()),
            Some((_, fence)) => *fence += &format!("{line}\n"),
        }
    }
    assert!(open.is_none(), "a fence that is not closed:\n{text}");
    found
}

#[test]
fn every_example_can_be_served() {
    let examples = files(&root().join("Corefile.examples"), "/Corefile");
    assert!(examples.len() >= 5, "the examples were not found");
    let readme = std::fs::read_to_string(root().join("Corefile.examples/README.md")).expect("a README");
    for path in examples {
        let text = std::fs::read_to_string(&path).expect("a Corefile");
        let name =
            path.strip_prefix(root().join("Corefile.examples")).expect("below it").to_string_lossy().into_owned();
        assert!(readme.contains(&format!("({name})")), "{name} is not in the README");
        if let Err(error) = validate(&text, &path.to_string_lossy()) {
            panic!("{error}");
        }
    }
}

#[test]
fn every_fence_of_a_page_can_be_served() {
    let mut count = 0;
    for path in files(&root().join("docs"), ".md") {
        for (line, fence) in fences(&std::fs::read_to_string(&path).expect("a file of ours")) {
            count += 1;
            if let Err(error) = validate(&fence, "Corefile") {
                panic!("{}:{line}: {error}\n{fence}", path.display());
            }
        }
    }
    assert!(count >= ALL.len() / 2, "only {count} fences were found");
}

#[test]
fn a_fence_that_cannot_be_served_is_found() {
    let text = "Text.\n\n```corefile\n. {\n    kubernetes {\n        pods always\n    }\n}\n```\n";
    let found = fences(text);
    assert_eq!(found.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [4]);
    assert!(validate(&found[0].1, "Corefile").is_err());
}

#[test]
fn the_demo_is_what_its_script_asks_for() {
    let folder = root().join("Corefile.examples/demo");
    let text = std::fs::read_to_string(folder.join("Corefile")).expect("a Corefile");
    for path in text.lines().filter_map(|line| line.trim().strip_prefix("manifests ")) {
        assert!(root().join(path).is_dir(), "{path} is not there");
    }
    let ports: Vec<&str> = text.split(|c: char| !c.is_ascii_digit()).filter(|word| word.len() == 4).collect();
    assert!(ports.iter().all(|port| port.starts_with("10")), "the demo needs no root: {ports:?}");
}
