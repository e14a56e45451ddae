//! Replies, hints and abandoned questions, without sockets.

use super::*;
use crate::remote::failure::Kind;
use crate::wire::name::Name;

const MS: Duration = Duration::from_millis(1);

fn sent(name: &str) -> Arc<Sent> {
    Arc::new(Sent::probe(&Name::from_text(name).expect("a name"), true))
}

fn reply(sent: &Sent, id: u16) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend_from_slice(sent.behind_id());
    message[2] |= 0x80;
    message
}

fn enter(table: &Arc<Table>, sent: &Arc<Sent>) -> Option<Ticket> {
    table.enter(sent, Instant::now(), None)
}

fn of_datagrams() -> (Arc<Table>, Arc<Vitals>) {
    let vitals = Arc::<Vitals>::default();
    (Arc::new(Table::of_datagrams(vitals.clone())), vitals)
}

#[test]
fn c13_only_the_reply_to_the_question_counts() {
    let table = Arc::new(Table::default());
    let (a, b) = (sent("a.example."), sent("b.example."));
    let mut ticket = enter(&table, &a).expect("a place");
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
    let ticket = enter(&table, &sent("a.example.")).expect("a place");
    assert!(!table.close_if_empty());
    drop(ticket);
    assert_eq!(table.len(), 0);
    assert!(table.close_if_empty() && enter(&table, &sent("a.example.")).is_none());
}

#[test]
fn an_answer_without_a_waiter_is_a_sign_of_life() {
    let (table, vitals) = of_datagrams();
    let (a, start) = (sent("a.example."), Instant::now());
    let ticket = enter(&table, &a).expect("a place");
    let id = ticket.id;
    drop(ticket);
    table.forget(start);
    assert!(table.len() == 1 && !vitals.is_heard_since(start));
    assert!(table.arrived(&reply(&a, id)), "no stranger");
    assert!(table.len() == 0 && vitals.is_heard_since(start));
    drop(enter(&table, &a).expect("a place"));
    table.forget(Instant::now() + MEMORY);
    assert_eq!(table.len(), 0, "lost");
}

#[test]
fn d13_after_a_hint_the_answer_still_counts() {
    let (table, _) = of_datagrams();
    let a = sent("a.example.");
    for is_early in [false, true] {
        let mut ticket = enter(&table, &a).expect("a place");
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

/// One timer for a socket: it rings when the first answer is late, and not again without reason.
#[test]
fn c4_queries_are_told_that_their_answers_are_late() {
    let (table, _) = of_datagrams();
    let (a, start) = (sent("a.example."), Instant::now());
    let late = || Failure::other("late");
    let after = |ms: u32| table.enter(&a, start, Some(ms * MS)).expect("a place");
    let (mut first, mut second, quick, mut third) = (after(20), after(10), after(5), after(10));
    let patient = enter(&table, &a).expect("a place");
    let is_told = |ticket: &mut Ticket| matches!(ticket.reply.try_recv(), Ok(Err(_)));
    assert_eq!(table.alarm(), Some(start + 5 * MS));
    assert!(table.arrived(&reply(&a, quick.id)));
    table.ring(start + 5 * MS, || panic!("nothing is late"));
    assert_eq!(table.alarm(), Some(start + 10 * MS));
    table.ring(start + 12 * MS, late);
    assert_eq!([&mut first, &mut second, &mut third].map(is_told), [false, true, true]);
    assert_eq!(table.alarm(), Some(start + 20 * MS));
    assert!(second.wait_on());
    table.ring(start + 25 * MS, late);
    assert_eq!([&mut first, &mut second].map(is_told), [true, false], "told once");
    assert_eq!(table.alarm(), None, "of the patient one nothing is told");
    // The answer counts, before and after its query goes on waiting.
    for ticket in [&mut second, &mut third] {
        assert!(table.arrived(&reply(&a, ticket.id)));
    }
    assert!(third.wait_on());
    assert_eq!([second, third].map(|mut ticket| matches!(ticket.reply.try_recv(), Ok(Ok(_)))), [true; 2]);
    drop((first, quick, patient));
}

#[test]
fn after_bad_news_nothing_is_late() {
    let (table, _) = of_datagrams();
    let start = Instant::now();
    let mut ticket = table.enter(&sent("a.example."), start, Some(10 * MS)).expect("a place");
    table.hint(&Failure::case());
    assert!(matches!(ticket.reply.try_recv(), Ok(Err(failure)) if failure.kind == Kind::Forged));
    assert!(ticket.wait_on());
    table.ring(start + 20 * MS, || panic!("its query knows of it"));
}
