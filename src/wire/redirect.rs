//! Follows another alias than an answer did.

use std::sync::Arc;

use super::adopt::{Other, Records};
use super::answer::Answer;
use super::encode::{Encoder, Names};
use super::name::Name;
use super::question::Question;
use super::types::rtype;

/// Returns the targets of the aliases in the answer section of the answer to `question`, each with
/// the index of its record.
#[must_use]
pub fn targets(answer: &Answer, question: &Question) -> Vec<(usize, Name)> {
    let records = Records::new(answer, question, None);
    let aliases = (0..usize::from(answer.counts[0])).filter(|index| answer.record(*index).rtype == rtype::CNAME);
    aliases.filter_map(|index| Some((index, records.target(index)?))).collect()
}

/// Returns the answer to `question` with another target in the alias with this index, and what
/// `theirs` has for that target.
///
/// The aliases before it stay; all other records of the answer section go, and the other sections
/// stay. `ttl` (seconds) replaces the TTLs of the records that stay. `rcode` and `flags` are those
/// of the result.
#[must_use]
pub fn redirected(
    answer: &Answer,
    question: &Question,
    ttl: Option<u32>,
    index: usize,
    theirs: &Other<'_>,
    rcode: u16,
    flags: u16,
) -> Arc<Answer> {
    let records = Records::new(answer, question, ttl);
    let mut names = Names::new(question.name);
    let mut redirected = Encoder::build(question.name.len(), |e| {
        e.rcode(rcode);
        e.flags(flags);
        let count = usize::from(answer.counts[0]);
        for before in (0..index).filter(|before| answer.record(*before).rtype == rtype::CNAME) {
            records.put(e, &mut names, answer.record(before).section, before, &mut true);
        }
        if let Some((owner, _)) = records.owner(index) {
            let ttl = ttl.unwrap_or(answer.record(index).ttl);
            names.record(e, &owner, rtype::CNAME, ttl, |e, names| names.put(e, &theirs.question.name));
        }
        super::adopt::append(e, &mut names, theirs.answer, theirs.question, theirs.ttl);
        for other in count..answer.records.len() {
            records.put(e, &mut names, answer.record(other).section, other, &mut false);
        }
    });
    redirected.options.clone_from(&answer.options);
    Arc::new(redirected)
}
