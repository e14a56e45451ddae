//! Selects some records of an answer, in any order.

use super::answer::Answer;
use super::encode::Encoder;
use super::name::Name;
use super::question::Question;
use super::relay::{Data, shortened};
use super::request::HEADER;
use super::types::class;

/// Returns the records of `answer` with these indexes (in message order, section by section),
/// written anew.
///
/// `question` is the one that the answer was made for. Returns `None` if it is another one, if a
/// record has another class than IN, or if the records do not fit without their pointers.
#[must_use]
pub fn select(answer: &Answer, question: &Question, indexes: &[u16]) -> Option<Answer> {
    let name = &question.name;
    if usize::from(answer.asked) != name.len() {
        return None;
    }
    let message = answer.message(question);
    let mut selected = Answer::default();
    selected.clear(name.len());
    (selected.rcode, selected.flags) = (answer.rcode, answer.flags);
    let mut encoder = Encoder::new(&mut selected);
    for &index in indexes {
        let record = answer.records.get(usize::from(index)).map(|_| answer.record(usize::from(index)))?;
        let at = HEADER + question.wire_len() + usize::from(answer.records[usize::from(index)].at);
        let (owner, fixed) = Name::from_message(&message, at)?;
        if record.class != class::IN {
            return None;
        }
        let data = Data { message: &message, rtype: record.rtype, at: fixed + 10, len: record.rdata.len() };
        encoder.record(record.section, shortened(&owner, name), record.rtype, record.ttl, |e| {
            data.rewrite(e, |e, target| {
                e.put_name(shortened(target, name));
            });
        })?;
    }
    selected.shrink();
    Some(selected)
}

#[cfg(test)]
mod tests {
    use super::super::answer::Section;
    use super::super::encode::Owner;
    use super::super::types::rtype;
    use super::*;

    #[test]
    fn records_are_left_out_and_moved() {
        let name = Name::from_text("a.example.").expect("a name");
        let other = Name::from_text("b.example.").expect("a name");
        let answer = Encoder::build(name.len(), |e| {
            let target = e.pointer(Section::Answer, Owner::ASKED, rtype::CNAME, 60, Owner::name(&other));
            let owner = Owner::written(target.expect("it fits"));
            e.address(Section::Answer, owner, 50, [192, 0, 2, 1].into());
            e.address(Section::Additional, Owner::ASKED, 40, [192, 0, 2, 9].into());
        });
        let question = |name| Question::new(name, rtype::A);
        let turned = select(&answer, &question(name), &[1, 0]).expect("it can be done");
        assert_eq!(turned.counts, [2, 0, 0]);
        assert_eq!(turned.records().map(|record| record.ttl).collect::<Vec<_>>(), [50, 60]);
        assert_eq!(turned.owner(0, name.wire()), Some(other));
        assert_eq!(turned.plain_len(name.len()), answer.plain_len(name.len()) - name.len() - 14);
        assert!(select(&answer, &question(other), &[7]).is_none(), "there is no such record");
        assert!(select(&answer, &question(Name::ROOT), &[0]).is_none(), "made for another name");
    }
}
