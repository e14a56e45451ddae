//! Zones from words, with a warning for each that is skipped.

use super::*;
use crate::chain::setup::Registration;
use crate::corefile::{Corefile, Findings, address};
use crate::testing::kit::built::parsed;

fn corefile(line: &str) -> Corefile {
    let acl = Registration::bare("acl", |_| Ok(()));
    parsed(&format!("b.example a.example:54 {{\nacl {line}\n}}\n"), &[acl]).expect("a Corefile")
}

/// Returns what a line is read as, and the first line of each warning.
fn read(line: &str, with: fn(&Cursor<'_>, &[&Word], &[Key]) -> String) -> (String, Vec<String>) {
    let (corefile, findings) = (corefile(line), Findings::default());
    let block = &corefile.blocks[0];
    let mut cursor = Cursor::new(&block.directives[0]).reporting(&findings);
    assert!(cursor.next_occurrence());
    let words = cursor.args();
    let keys = address::keys(block, "53").expect("keys");
    let read = with(&cursor, &words, &keys);
    let told = findings.take().into_iter().map(|finding| {
        assert_eq!(finding.severity, Severity::Warning);
        finding.what.parts().line()
    });
    (read, told.collect())
}

fn zones(line: &str) -> (String, Vec<String>) {
    read(line, |cursor, words, keys| {
        Zones::read(cursor, words, keys).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    })
}

#[test]
fn zones_are_those_of_the_line_or_of_the_block() {
    assert_eq!(zones(""), ("b.example. a.example.".into(), vec![]));
    assert_eq!(zones("Example.ORG dns://x:53 10.0.0.0/24"), ("example.org. x. 0.0.10.in-addr.arpa.".into(), vec![]));
}

#[test]
fn an_invalid_zone_is_skipped_with_a_warning_that_names_it() {
    let label = "a".repeat(64);
    for (line, left, told) in [
        (
            "bad..zone good",
            "good.",
            "zone is not a valid domain name: bad..zone; it is ignored; a label between two dots is empty",
        ),
        (
            &*label,
            "",
            &*format!(
                "zone is not a valid domain name: {label}; it is ignored; a label has at most 63 bytes; no zone is left on this line: it has no effect"
            ),
        ),
        (
            "x:",
            "",
            "expecting data after last colon: \"x:\"; it is ignored; write a port behind the colon, or leave it out: 'x'; no zone is left on this line: it has no effect",
        ),
        (
            "0::/3",
            "",
            "invalid CIDR 0::/3; it is ignored; write the reverse zone itself ('... .ip6.arpa') instead of 0:; no zone is left on this line: it has no effect",
        ),
    ] {
        let (read, warnings) = zones(line);
        assert_eq!((&*read, warnings), (left, vec![format!("Corefile:2 - {told}")]), "{line}");
    }
    let (_, warnings) = zones("a..b c..d");
    assert_eq!(warnings.len(), 2, "each of them: {warnings:?}");
}

#[test]
fn fallthrough_without_zones_means_all_names_and_with_an_invalid_zone_none() {
    let fallthrough = |line| {
        read(line, |cursor, words, _| {
            let falls = Fallthrough::read(cursor, words);
            let names = ["a.example.", "x.b.example."].map(|name| Name::from_text(name).expect("a name"));
            let never: Vec<_> = falls.never(&names).map(|name| name.to_string()).collect();
            format!("{:?} never {}", names.map(|name| falls.holds(&name)), never.join(" "))
        })
    };
    assert_eq!(fallthrough("").0, "[true, true] never ");
    assert_eq!(fallthrough("b.example").0, "[false, true] never a.example.");
    assert_eq!(fallthrough("y.a.example").0, "[false, false] never x.b.example.");
    let (read, warnings) = fallthrough("a..b");
    assert_eq!((&*read, warnings.len()), ("[false, false] never a.example. x.b.example.", 1));
}

#[test]
fn a_name_is_taken_as_it_is_written() {
    let name =
        |line| read(line, |cursor, words, _| name(cursor, words[0]).map(|name| name.to_string()).unwrap_or_default());
    assert_eq!(name("10.0.0.0/24"), ("10.0.0.0/24.".into(), vec![]));
    assert_eq!(name("a..b").1.len(), 1);
}
