//! Replies, hints and abandoned questions, without sockets.

use super::*;
use crate::wire::name::Name;

fn sent(name: &str) -> Arc<Sent> {
    Arc::new(Sent::probe(&Name::from_text(name).expect("a name"), true))
}

fn reply(sent: &Sent, id: u16) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend_from_slice(sent.behind_id());
    message[2] |= 0x80;
    message
}

fn of_datagrams() -> (Arc<Table>, Arc<Vitals>) {
    let vitals = Arc::<Vitals>::default();
    (Arc::new(Table::of_datagrams(vitals.clone())), vitals)
}

#[test]
fn c13_only_the_reply_to_the_question_counts() {
    let table = Arc::new(Table::default());
    let (a, b) = (sent("a.example."), sent("b.example."));
    let mut ticket = table.enter(&a).expect("a place");
    let id = ticket.id;
    assert!(!table.arrived(&[]) && !table.arrived(&id.to_be_bytes()));
    assert!(!table.arrived(&reply(&a, id ^ 1)), "another id");
    assert!(!table.arrived(&reply(&b, id)), "another question");
    assert!(!table.arrived(&[&id.to_be_bytes(), a.behind_id()].concat()), "no response");
    assert!(table.arrived(&reply(&a, id)));
    assert!(matches!(ticket.reply.try_recv(), Ok(Ok(_))));
    assert!(!table.arrived(&reply(&a, id)), "once");
    assert_eq!(table.len(), 0);
}

#[test]
fn a_place_is_given_back_and_a_closed_table_takes_no_more() {
    let table = Arc::new(Table::default());
    let ticket = table.enter(&sent("a.example.")).expect("a place");
    assert!(!table.close_if_empty());
    drop(ticket);
    assert_eq!(table.len(), 0);
    assert!(table.close_if_empty() && table.enter(&sent("a.example.")).is_none());
}

#[test]
fn an_answer_without_a_waiter_is_a_sign_of_life() {
    let (table, vitals) = of_datagrams();
    let (a, start) = (sent("a.example."), Instant::now());
    let ticket = table.enter(&a).expect("a place");
    let id = ticket.id;
    drop(ticket);
    table.forget(start);
    assert!(table.len() == 1 && !vitals.is_heard_since(start));
    assert!(table.arrived(&reply(&a, id)), "no stranger");
    assert!(table.len() == 0 && vitals.is_heard_since(start));
    drop(table.enter(&a).expect("a place"));
    table.forget(Instant::now() + MEMORY);
    assert_eq!(table.len(), 0, "lost");
}

#[test]
fn d13_after_a_hint_the_answer_still_counts() {
    let (table, _) = of_datagrams();
    let a = sent("a.example.");
    for is_early in [false, true] {
        let mut ticket = table.enter(&a).expect("a place");
        table.hint(&Failure::other("perhaps no process listens"));
        table.hint(&Failure::other("and says again"));
        assert!(matches!(ticket.reply.try_recv(), Ok(Err(_))));
        if is_early {
            assert!(table.arrived(&reply(&a, ticket.id)));
        }
        assert!(ticket.wait_on());
        if !is_early {
            assert!(table.arrived(&reply(&a, ticket.id)));
        }
        assert!(matches!(ticket.reply.try_recv(), Ok(Ok(_))));
        assert_eq!(table.len(), 0);
        assert!(!ticket.wait_on(), "there is nothing to wait for");
    }
    table.fail(&Failure::other("closed"));
}
