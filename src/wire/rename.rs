//! Rewrites an answer with other names, for a client that asked for another name than the chain
//! did.

use std::sync::Arc;

use super::adopt::Records;
use super::answer::Answer;
use super::encode::{Encoder, Names, Owner};
use super::name::Name;
use super::question::Question;
use super::relay::Data;
use super::types::rtype;

/// How the records of an answer change.
pub trait Renaming {
    /// Returns the new owner of a record.
    fn owner(&self, name: Name) -> Name;
    /// Returns the new target of a record.
    fn target(&self, name: Name) -> Name;
    /// Returns the new TTL of a record, in seconds.
    fn ttl(&self, ttl: u32) -> u32;
}

/// Returns the answer to `question` as the answer to a client's question for `asked`.
///
/// `asked` is in the client's case, which is used wherever the name occurs. `ttl` (seconds)
/// replaces the records' own TTLs before they are changed.
#[must_use]
pub fn renamed(
    answer: &Answer,
    question: &Question,
    asked: &Name,
    ttl: Option<u32>,
    change: &impl Renaming,
) -> Arc<Answer> {
    let records = Records::new(answer, question, ttl);
    let mut names = Names::new(*asked);
    let mut renamed = Encoder::build(asked.len(), |e| {
        e.rcode(answer.rcode);
        e.flags(answer.flags);
        // Leading aliases keep their place in every order, so later names may point to them.
        let mut aliases = true;
        for index in 0..answer.records.len() {
            let Some((owner, fixed)) = records.owner(index) else { continue };
            let record = answer.record(index);
            aliases &= record.rtype == rtype::CNAME;
            let ttl = change.ttl(records.ttl.unwrap_or(record.ttl));
            let data = records.data(index, fixed);
            let owner = in_case_of(asked, change.owner(owner));
            names.record_in(record.section, e, &owner, record.rtype, ttl, |e, names| {
                put(&data, e, names, aliases, |name| in_case_of(asked, change.target(name)));
            });
        }
    });
    renamed.options.clone_from(&answer.options);
    Arc::new(renamed)
}

/// Returns `asked` if it is the same name in any case, else `name`.
fn in_case_of(asked: &Name, name: Name) -> Name {
    if name.wire().eq_ignore_ascii_case(asked.wire()) { *asked } else { name }
}

/// Rewrites the data of a record with another name as its target. `noted` says whether later names
/// may point to it.
fn put(data: &Data<'_>, e: &mut Encoder<'_>, names: &mut Names, noted: bool, change: impl Fn(Name) -> Name) {
    let target = target(data).and_then(|at| Some((at, Name::from_message(data.message, at)?)));
    let Some((at, (name, mut end))) = target else {
        return data.rewrite(e, |e, name| {
            names.put_unnoted(e, name);
        });
    };
    e.put(&data.message[data.at..at]);
    let name = change(name);
    let _ = match data.rtype {
        // Must not be compressed: RFC 2782, RFC 3403 section 4.1, RFC 6672 section 2.5.
        rtype::SRV | rtype::NAPTR | rtype::DNAME => e.put_name(Owner::name(&name)),
        _ if noted => names.put(e, &name),
        _ => names.put_unnoted(e, &name),
    };
    if data.rtype == rtype::SOA
        && let Some((mailbox, behind)) = Name::from_message(data.message, end)
    {
        names.put_unnoted(e, &mailbox);
        end = behind;
    }
    e.put(data.message.get(end..data.at + data.len).unwrap_or_default());
}

/// Returns the target's offset in the message, or `None` if the type has no target.
fn target(data: &Data<'_>) -> Option<usize> {
    match data.rtype {
        rtype::NS | rtype::CNAME | rtype::SOA | rtype::PTR | rtype::DNAME => Some(data.at),
        rtype::MX => Some(data.at + 2),
        rtype::SRV => Some(data.at + 6),
        // The target follows order, preference and three strings (RFC 3403 section 4.1).
        rtype::NAPTR => (0..3).try_fold(data.at + 4, |at, _| Some(at + 1 + usize::from(*data.message.get(at)?))),
        _ => None,
    }
}
