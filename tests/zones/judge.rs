//! Decides whether an answer is right: as NSD's or Knot's, or different for a reason with a name.

use crate::ask::Reply;

/// The verdict on an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// NSD and Knot say the same.
    Both,
    /// NSD and Knot differ, and NSD says the same.
    Nsd,
    /// NSD and Knot differ, and Knot says the same.
    Knot,
    /// It has more aliases: Knot follows five, NSD each DNAME once, we follow sixteen, as BIND.
    Longer,
    /// It is different, and no reason is known.
    Unexplained,
}

impl Verdict {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Nsd => "nsd",
            Self::Knot => "knot",
            Self::Longer => "longer",
            Self::Unexplained => "unexplained",
        }
    }
}

/// Whether one answer has all aliases of the other, and more, where the other has nothing but
/// aliases.
fn is_longer(one: &Reply, other: &Reply) -> bool {
    let is_alias = |record: &String| matches!(record.split(' ').nth(2), Some("cname" | "dname"));
    other.sections[0].is_subset(&one.sections[0])
        && one.sections[0].len() > other.sections[0].len()
        && other.sections[0].iter().all(is_alias)
}

/// Judges our answer.
pub(crate) fn judge(ours: &Reply, nsd: &Reply, knot: &Reply) -> Verdict {
    match (is_same(ours, nsd), is_same(ours, knot)) {
        (true, true) => Verdict::Both,
        (true, false) => Verdict::Nsd,
        (false, true) => Verdict::Knot,
        _ if [nsd, knot].iter().any(|other| is_longer(ours, other)) => Verdict::Longer,
        _ => Verdict::Unexplained,
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
