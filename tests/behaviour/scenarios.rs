//! Scenarios as text: `tests/scenarios/PLUGIN/*.scn`.
//!
//! A scenario is a file of sections. `=== Corefile` and `=== file PATH` give the server its files;
//! `PORT` in the Corefile is its port. `=== ask NAME TYPE` is a question, and the lines below it
//! are the answer in the form of `support::text`. `=== change PATH` writes a file while the server
//! runs, and `=== remove PATH` removes one; the next question is then asked until its answer is the
//! expected one.

use std::path::Path;

use super::support::Server;

/// One section: its words, and the lines below them.
type Section = (Vec<String>, String);

fn sections(text: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("=== ") {
            sections.push((head.split_whitespace().map(str::to_owned).collect(), String::new()));
        } else if let Some((_, body)) = sections.last_mut()
            && !line.starts_with("# ")
        {
            body.push_str(line);
            body.push('\n');
        }
    }
    sections
}

fn play(path: &Path) {
    let script = std::fs::read_to_string(path).expect("a scenario");
    let sections = sections(&script);
    let find = |kind: &str| sections.iter().filter(|(words, _)| words[0] == kind).collect::<Vec<_>>();
    let corefile = &find("Corefile").first().expect("a Corefile").1;
    let files: Vec<(&str, &str)> =
        find("file").iter().map(|(words, text)| (words[1].as_str(), text.as_str())).collect();
    let server = Server::start(corefile, &files);
    for (words, body) in &sections {
        match words[0].as_str() {
            "ask" => server.ask_until(&words[1], &words[2], body.trim_end()),
            "change" => std::fs::write(server.folder.path().join(&words[1]), body).expect("writes"),
            "remove" => std::fs::remove_file(server.folder.path().join(&words[1])).expect("removes"),
            "Corefile" | "file" => {}
            other => panic!("{}: no such section: {other}", path.display()),
        }
    }
}

#[test]
fn every_scenario_plays() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut played = 0;
    for plugin in std::fs::read_dir(folder).expect("scenarios").flatten() {
        for file in std::fs::read_dir(plugin.path()).expect("a folder").flatten() {
            println!("{}", file.path().display());
            play(&file.path());
            played += 1;
        }
    }
    assert!(played > 0, "no scenario was found");
}
