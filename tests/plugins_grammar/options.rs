//! Cases beside the scenarios of their plugin, `tests/scenarios/PLUGIN/options.grammar`: what a
//! directive takes and refuses, and what is warned about.
//!
//! ```text
//! # A comment, at the beginning.
//!
//! === taken
//! The lines of a server block that CoreDNS takes, and we too.
//! === refused WORDS
//! Those that CoreDNS refuses: its error ends with these words, and ours.
//! === warned WORDS
//! Those that CoreDNS takes in silence. We warn about each of these words, and take the rest.
//! ```

use std::path::Path;
use std::sync::Arc;

use signpost::host::Host;
use signpost::plugins::ALL;

use super::kit::built::built;
use super::told;

/// One section of a file.
struct Case {
    /// Its file and line.
    place: String,
    /// Its first word: what CoreDNS does.
    verdict: String,
    /// The words behind it.
    words: String,
    /// The lines of the server block.
    lines: String,
}

/// Reads the sections of a file.
fn read(file: &str, text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if let Some(title) = line.strip_prefix("=== ") {
            let (verdict, words) = title.split_once(' ').unwrap_or((title, ""));
            let place = format!("{file}:{}", at + 1);
            cases.push(Case { place, verdict: verdict.into(), words: words.into(), lines: String::new() });
        } else if let Some(case) = cases.last_mut() {
            case.lines += line;
            case.lines.push('\n');
        }
    }
    cases
}

/// Returns what is wrong with a case.
fn judge(case: &Case) -> Option<String> {
    let Case { place, verdict, words, lines } = case;
    let (line, words) = (lines.trim_end(), words.as_str());
    let built = built(&format!(".:1053 {{\n{line}\n}}\n"), ALL, &Arc::new(Host::default()));
    let got = match (verdict.as_str(), built.map_err(|error| told(&error).1)) {
        ("taken", Ok(_)) if words.is_empty() => return None,
        ("refused", Err(text)) if !words.is_empty() && text.ends_with(words) => return None,
        ("warned", Ok(configuration)) if !words.is_empty() => {
            let warned = configuration.findings.iter().map(|finding| {
                let parts = finding.what.parts();
                // An operator needs the plugin and the position to find the word.
                let position = parts.plugin.and(parts.position);
                position.map_or(parts.message, |position| position.word().to_owned())
            });
            let warned = warned.collect::<Vec<_>>().join(" ");
            if warned == words {
                return None;
            }
            format!("warned {warned}")
        }
        (_, Ok(_)) => "taken".to_owned(),
        (_, Err(text)) => format!("refused {text}"),
    };
    Some(format!("{place}: {line}\nwanted: {verdict} {words}\ngot:    {got}"))
}

/// The cases of a plugin.
fn cases(plugin: &str) -> Vec<Case> {
    let file = format!("tests/scenarios/{plugin}/options.grammar");
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(&file));
    text.map_or_else(|_| Vec::new(), |text| read(&file, &text))
}

#[test]
fn options_are_taken_and_refused_as_in_coredns() {
    let mut wrong = Vec::new();
    for plugin in ALL {
        let cases = cases(plugin.name);
        if cases.is_empty() {
            let file = format!("tests/scenarios/{}/options.grammar", plugin.name);
            wrong.push(format!("{file}: there is no case of what the plugin takes and refuses"));
        }
        wrong.extend(cases.iter().filter_map(judge));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// A zone can be invalid for another reason than an empty label.
#[test]
fn long_labels_are_warned_about_as_empty_ones() {
    let label = "a".repeat(64);
    let all = ALL.iter().flat_map(|plugin| cases(plugin.name));
    let with = all.filter(|case| case.verdict == "warned" && case.lines.contains("bad..zone"));
    let with: Vec<Case> = with
        .map(|case| Case {
            words: case.words.replace("bad..zone", &label),
            lines: case.lines.replace("bad..zone", &label),
            ..case
        })
        .collect();
    assert!(with.len() > 8, "only {} cases", with.len());
    let wrong: Vec<String> = with.iter().filter_map(judge).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn cases_can_fail() {
    for (text, got) in [
        ("=== taken\nany\n", None),
        ("=== taken\nany x\n", Some("refused plugin/any")),
        ("=== taken with words\nany\n", Some("taken")),
        ("=== refused unexpected line ending after 'x'\nany x\n", None),
        ("=== refused unexpected line ending after 'y'\nany x\n", Some("refused plugin/any")),
        ("=== refused unexpected line ending after 'x'\nany\n", Some("taken")),
        ("=== refused\nany x\n", Some("refused plugin/any")),
        ("=== warned a..b\nlog a..b c\n", None),
        ("=== warned c\nlog a..b c\n", Some("warned a..b")),
        ("=== warned c\nlog c\n", Some("warned ")),
        ("=== accepted\nany\n", Some("taken")),
    ] {
        let wrong = judge(&read("a.grammar", &format!("# A comment.\n\n{text}"))[0]);
        let wrong = wrong.as_deref().map(|wrong| wrong.split_once("got:    ").expect("what came").1);
        match (wrong, got) {
            (None, None) => {}
            (Some(wrong), Some(got)) if wrong.starts_with(got) => {}
            other => panic!("{text}: {other:?}"),
        }
    }
}
