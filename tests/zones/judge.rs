//! Decides whether an answer is right: as NSD's or Knot's, or different for a reason with a name.

use crate::ask::Reply;
use crate::make::{Case, Question};

/// The verdict on an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// NSD and Knot say the same.
    Both,
    /// NSD and Knot differ, and NSD says the same.
    Nsd,
    /// NSD and Knot differ, and Knot says the same.
    Knot,
    /// It is different for this reason.
    Explained(&'static str),
    /// It is different, and no reason is known.
    Unexplained,
}

impl Verdict {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Nsd => "nsd",
            Self::Knot => "knot",
            Self::Explained(why) => why,
            Self::Unexplained => "unexplained",
        }
    }
}

/// A reason and whether it applies: (name, test of ours, NSD's and Knot's reply).
type Reason = (&'static str, fn(&Case, &Question, &Reply, &Reply, &Reply) -> bool);

/// The reasons for which an answer may differ from NSD's and Knot's.
const REASONS: &[Reason] = &[
    // Knot follows five aliases, NSD each DNAME once; ours are sixteen aliases, as BIND's.
    ("longer", |_, _, ours, nsd, knot| [nsd, knot].iter().any(|other| is_longer(ours, other))),
];

/// Whether one answer has all aliases of the other, and more, where the other has nothing but
/// aliases.
fn is_longer(one: &Reply, other: &Reply) -> bool {
    let is_alias = |record: &String| matches!(record.split(' ').nth(2), Some("cname" | "dname"));
    other.sections[0].is_subset(&one.sections[0])
        && one.sections[0].len() > other.sections[0].len()
        && other.sections[0].iter().all(is_alias)
}

/// Judges our answer.
pub(crate) fn judge(case: &Case, question: &Question, ours: &Reply, nsd: &Reply, knot: &Reply) -> Verdict {
    match (is_same(ours, nsd), is_same(ours, knot)) {
        (true, true) => Verdict::Both,
        (true, false) => Verdict::Nsd,
        (false, true) => Verdict::Knot,
        _ => {
            let reason = REASONS.iter().find(|(_, applies)| applies(case, question, ours, nsd, knot));
            reason.map_or(Verdict::Unexplained, |(name, _)| Verdict::Explained(name))
        }
    }
}

/// Whether two replies say the same. The name servers of the zone behind records, and addresses
/// in the additional section of other answers than referrals, may be left out.
fn is_same(one: &Reply, other: &Reply) -> bool {
    let is_referral = |reply: &Reply| reply.rcode == 0 && has(reply, 1, "ns") && !reply.authoritative;
    one.rcode == other.rcode
        && one.authoritative == other.authoritative
        && one.sections[0] == other.sections[0]
        && (is_plain(one) && is_plain(other) || one.sections[1] == other.sections[1])
        && (!is_referral(one) || one.sections[2] == other.sections[2])
}

/// Whether a reply has records, and its authority section says no more than who serves the zone.
fn is_plain(reply: &Reply) -> bool {
    let apex = |record: &String| record.split(' ').next().is_some_and(|owner| owner.split('.').count() == 3);
    reply.rcode == 0 && !reply.sections[0].is_empty() && !has(reply, 1, "soa") && reply.sections[1].iter().all(apex)
}

fn has(reply: &Reply, section: usize, rtype: &str) -> bool {
    reply.sections[section].iter().any(|record| record.split(' ').nth(2) == Some(rtype))
}
