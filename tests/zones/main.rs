//! Zone files against NSD and Knot: small zones with chains of CNAME, DNAME, wildcard, delegation
//! and glue, served by all three, and asked the same questions.
//!
//! NSD and Knot differ among themselves: either is right. If both differ from Signpost, a reason in
//! `judge` must explain it, or the test fails. `just zones` asks 100,000 questions, `just test`
//! some thousand. Needs `nsd` and `knotd`; without them the test is skipped, and fails with CI=1.

#[path = "../kit/mod.rs"]
mod kit;
#[path = "../support/mod.rs"]
mod support;

mod ask;
mod judge;
mod make;
mod peers;

use std::collections::BTreeMap;

use judge::{Verdict, judge};
use make::Case;
use peers::Peer;

/// Questions of the short form.
const FEW: usize = 6_000;

#[test]
fn zones_answer_as_nsd_or_knot_does() {
    let missing: Vec<&str> = ["nsd", "knotd"].into_iter().filter(|program| peers::find(program).is_none()).collect();
    if !missing.is_empty() {
        let why = format!("{} is not installed", missing.join(", "));
        assert!(std::env::var_os("CI").is_none(), "{why}");
        println!("skipped: {why}");
        return;
    }
    let wanted = std::env::var("ZONES").ok().and_then(|text| text.parse().ok()).unwrap_or(FEW);
    let cases = make::cases(wanted);
    let folder = tempfile::tempdir().expect("a folder");
    for case in &cases {
        std::fs::write(folder.path().join(format!("db.{}", case.zone)), &case.text).expect("written");
    }
    let servers = [Peer::signpost(folder.path()), Peer::nsd(folder.path(), &cases), Peer::knot(folder.path(), &cases)];
    let (mut counts, mut unexplained) = (BTreeMap::<&str, usize>::new(), Vec::new());
    for case in &cases {
        let [ours, nsd, knot] = servers.each_ref().map(|server| server.ask(&case.questions));
        for (at, question) in case.questions.iter().enumerate() {
            let verdict = judge(&ours[at], &nsd[at], &knot[at]);
            *counts.entry(verdict.name()).or_default() += 1;
            if verdict == Verdict::Unexplained && unexplained.last().is_none_or(|(zone, _)| *zone != case.zone) {
                unexplained.push((case.zone.clone(), shown(case, question, &[&ours[at], &nsd[at], &knot[at]])));
            }
        }
    }
    println!("{} questions in {} zones: {counts:?}", counts.values().sum::<usize>(), cases.len());
    let first = unexplained.iter().take(8).map(|(_, shown)| shown.as_str()).collect::<Vec<_>>().join("\n");
    assert!(unexplained.is_empty(), "answers of {} zones are unexplained:\n{first}", unexplained.len());
    assert!(counts.get("both").copied().unwrap_or_default() > wanted / 2, "too few questions count: {counts:?}");
}

fn shown(case: &Case, question: &make::Question, answers: &[&ask::Reply; 3]) -> String {
    let answers = ["ours", "nsd ", "knot"].iter().zip(answers).map(|(name, reply)| format!("{name}: {reply}\n"));
    format!("---- {} {}\n{}\n{}", question.name, question.qtype, case.text, answers.collect::<String>())
}
