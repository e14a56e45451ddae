//! What happens to an entry when its question was asked again, in one table.
//!
//! | the reply | the entry is still valid | it is stale | the next attempt |
//! |---|---|---|---|
//! | an answer, a denial | taken in its place; a denial waits beside an answer | given, and taken in its place | at any time |
//! | the same, but not to be kept | the entry stays | given, and the entry goes | at any time (a pause where it stays) |
//! | nothing, and no reason (RFC 2308 section 2.2, type 3) | the entry stays | as a denial | as for a denial |
//! | known from memory | given, and the entry goes | the same | at any time |
//! | a failure, a refusal, a truncated reply | the entry stays | the entry stays | after a pause as long as a failure is kept |
//! | no server answered | the entry stays | the entry stays | after a pause; a short one if no client waited |
//! | no server was asked, since all are known to be down | the entry stays | the entry stays | after a short pause |
//!
//! With `prefer_positive` an entry that answers stays, stale or not, until another answer comes; a
//! denial is kept beside it.
//!
//! CoreDNS decides the same way, with three differences. It keeps the old entry beside a reply that
//! may not be kept, and serves it again when the upstream fails. It lets an empty answer replace a
//! valid one. It treats an alias to a name that does not exist as a failure; here it is a denial,
//! as in RFC 8767 section 4.

use super::class::{Class, Kind};
use crate::chain::Reply;
use crate::wire::reply::{Origin, ede};
use crate::wire::types::rcode;

/// The result of asking a question again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// The question is answered from memory from now on.
    Known,
    /// The requested records.
    Answer,
    /// The name or its records do not exist.
    Denial,
    /// NOERROR without records and without a SOA.
    Empty,
    /// A server failed or refused, or the reply is unusable.
    Failure,
    /// No server answered.
    Silence,
    /// No server was asked: all are known to be down.
    Unasked,
}

/// The entry that was asked about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Old {
    /// Its TTL has not expired.
    pub(super) is_true: bool,
    /// It holds what was asked for.
    pub(super) answers: bool,
}

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeps {
    /// The old entry.
    Old,
    /// The reply, in place of the old entry.
    New,
    /// Both; the store decides which is served.
    Both,
    /// Neither.
    Neither,
}

/// How long to wait before the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    /// No pause.
    No,
    /// The minimum after a failure (RFC 9520 section 3.2).
    Short,
    /// `Long` if a client waited for the attempt, `Short` otherwise: timeouts take long.
    Unanswered,
    /// The time for which a failure is kept.
    Long,
}

/// The decision about reply and entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ruling {
    /// Whether a waiting client gets the reply rather than the entry.
    pub(super) gives_news: bool,
    /// What is kept.
    pub(super) keeps: Keeps,
    /// When the next attempt may be made.
    pub(super) pause: Pause,
}

impl News {
    /// Returns what a reply of this class is.
    pub(super) fn of(reply: &Reply, class: &Class) -> Self {
        let is_good = matches!(reply.rcode(), rcode::NOERROR | rcode::NXDOMAIN);
        match reply.origin {
            Origin::Server if was_asked(reply) => Self::Silence,
            Origin::Server => Self::Unasked,
            _ if !is_good || reply.is_truncated() || class.is_expired => Self::Failure,
            Origin::Memory => Self::Known,
            Origin::Fetched if class.answers => Self::Answer,
            Origin::Fetched if reply.rcode() == rcode::NXDOMAIN || class.kind == Kind::NoData => Self::Denial,
            Origin::Fetched => Self::Empty,
        }
    }
}

/// Returns whether a server was asked, for a reply that this server made itself.
fn was_asked(reply: &Reply) -> bool {
    let error = reply.note.as_ref().and_then(|note| note.error.as_ref());
    error.is_none_or(|(code, _)| *code != ede::NO_REACHABLE_AUTHORITY)
}

/// Decides; `may_keep` says whether the reply may be kept at all.
pub(super) fn rule(news: News, may_keep: bool, old: Old, prefer_positive: bool) -> Ruling {
    let old_stays = |pause| Ruling { gives_news: false, keeps: Keeps::Old, pause };
    match news {
        News::Known => return Ruling { gives_news: true, keeps: Keeps::Neither, pause: Pause::No },
        News::Failure => return old_stays(Pause::Long),
        News::Silence => return old_stays(Pause::Unanswered),
        News::Unasked => return old_stays(Pause::Short),
        News::Empty if old.is_true => return old_stays(Pause::Long),
        News::Answer | News::Denial | News::Empty => {}
    }
    let is_preferred = old.answers && news != News::Answer && (old.is_true || prefer_positive);
    match (is_preferred, may_keep) {
        (true, true) => Ruling { gives_news: false, keeps: Keeps::Both, pause: Pause::Long },
        (true, false) => old_stays(Pause::Long),
        (false, true) => Ruling { gives_news: true, keeps: Keeps::New, pause: Pause::No },
        (false, false) if old.is_true => old_stays(Pause::Long),
        (false, false) => Ruling { gives_news: true, keeps: Keeps::Neither, pause: Pause::No },
    }
}
