//! Which connection is closed if there are too many, and how long one may take. The tests choose
//! the times.

use super::*;

/// Returns a client address.
fn client(number: u8) -> IpAddr {
    [10, 0, 0, number].into()
}

fn places() -> (Arc<Places>, Door, Instant) {
    let places = Arc::new(Places::default());
    let door = places.door();
    (places, door, Instant::now())
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Returns whether the connection of this place may stay.
fn stays(places: &Places, place: &Place) -> bool {
    places.visits().iter().any(|visit| Arc::ptr_eq(visit, &place.visit))
}

/// Answers a request and lets the client read the reply.
fn serve(place: &Place, at: Instant) {
    place.visit.asked(at);
    place.reply(2, at);
    place.visit.flushed(at, &LIMITS);
}

#[test]
fn a_new_connection_always_gets_a_place() {
    let (places, door, now) = places();
    let held: Vec<Place> = (0..3 * PLACES).map(|at| door.take(client(1), now + seconds(at as u64))).collect();
    assert_eq!(places.visits().len(), PLACES);
    assert!(stays(&places, &held[3 * PLACES - 1]) && !stays(&places, &held[0]));
    drop(held);
    assert_eq!(places.visits().len(), 0, "each place is given back once");
}

#[test]
fn connections_that_keep_the_server_waiting_are_closed_first_the_oldest_before_others() {
    let (places, door, now) = places();
    let page = door.take(client(1), now);
    page.visit.asked(now);
    let idle: Vec<Place> = (0..2).map(|at| door.take(client(1), now + seconds(at))).collect();
    idle.iter().zip(1..).for_each(|(place, at)| serve(place, now + seconds(at)));
    let mut unread = door.take(client(1), now);
    unread.visit.asked(now);
    unread.reply(2, now + seconds(20));
    let mut silent: Vec<Place> = (4..PLACES as u64).map(|at| door.take(client(1), now + seconds(at))).collect();
    // Silent ones and the one that does not read are closed in the order in which they began.
    let mut order = Vec::new();
    let mut waiting: Vec<u64> = (4..PLACES as u64).chain([20]).collect();
    waiting.sort_unstable();
    let mut fresh = Vec::new();
    for _ in 0..18 {
        fresh.push(door.take(client(1), now + seconds(1_000)));
        order.push(silent.iter().filter(|place| !stays(&places, place)).count());
    }
    assert_eq!(order[..16], (1..=16).collect::<Vec<_>>());
    assert_eq!(order[16..], [17, 17], "one of these was the one that does not read");
    assert!(!stays(&places, &unread));
    assert!(stays(&places, &page) && idle.iter().all(|place| stays(&places, place)));
    // With all others served, the longest idle one is closed; the one whose page is being made
    // stays.
    silent.retain(|place| stays(&places, place));
    silent.iter().chain(&fresh).zip(2_000..).for_each(|(place, at)| serve(place, now + seconds(at)));
    unread = door.take(client(1), now + seconds(9_000));
    assert_eq!(idle.iter().map(|place| stays(&places, place)).collect::<Vec<_>>(), [false, true]);
    assert!(stays(&places, &page) && stays(&places, &unread));
}

/// A probe is the only one that has not had a reply, and its request is not read yet.
#[test]
fn a_new_connection_stays_beside_those_that_ask_again_and_again() {
    let (places, door, now) = places();
    let pipelines: Vec<Place> = (0..PLACES).map(|_| door.take(client(1), now)).collect();
    for place in &pipelines {
        serve(place, now);
        place.visit.asked(now);
    }
    let probe = door.take(client(1), now + seconds(1));
    let next = door.take(client(1), now + seconds(1));
    assert!(stays(&places, &probe) && stays(&places, &next));
    probe.visit.asked(now + seconds(1));
    probe.reply(2, now + seconds(1));
    let last = door.take(client(1), now + seconds(1));
    assert!(stays(&places, &probe) && stays(&places, &last), "its reply is on its way");
    // A client that has sent nothing for so long is not new.
    drop(door.take(client(1), now + seconds(4)));
    drop(door.take(client(1), now + seconds(4)));
    let _another = door.take(client(1), now + seconds(4));
    let _one_more = door.take(client(1), now + seconds(4));
    assert!(!stays(&places, &next));
}

/// The page of a scraper takes longer to make than others take to come back.
#[test]
fn a_connection_without_a_reply_yet_stays_beside_clients_that_return_again_and_again() {
    let (places, door, now) = places();
    let scraper = door.take(client(1), now);
    scraper.visit.asked(now);
    let milliseconds = Duration::from_millis;
    let come = |from: u64| -> Vec<Place> {
        (from..from + 2 * PLACES as u64).map(|at| door.take(client(1), now + milliseconds(at))).collect()
    };
    let _first = come(0);
    assert!(stays(&places, &scraper), "its page is made");
    scraper.reply(2, now + milliseconds(600));
    let _second = come(600);
    assert!(stays(&places, &scraper), "its reply is on its way");
}

/// The crowd asks, and waits for the page or does not read it.
#[test]
fn a_probe_stays_beside_those_that_come_and_ask_once() {
    for is_read in [true, false] {
        let (places, door, now) = places();
        let ask = || {
            let place = door.take(client(1), now);
            place.visit.asked(now);
            if !is_read {
                place.reply(1, now);
            }
            place
        };
        let _first: Vec<Place> = (0..PLACES).map(|_| ask()).collect();
        let probe = door.take(client(1), now);
        let _second: Vec<Place> = (0..PLACES / 4).map(|_| ask()).collect();
        assert!(stays(&places, &probe), "its request is not read yet: {is_read}");
    }
}

#[test]
fn the_client_that_holds_most_at_one_door_gives_first() {
    let (places, door, now) = places();
    let other = places.door();
    let scraper = other.take(client(1), now);
    let neighbour = door.take(client(2), now);
    let held: Vec<Place> = (0..2 * PLACES).map(|at| door.take(client(3), now + seconds(at as u64))).collect();
    assert!(stays(&places, &scraper) && stays(&places, &neighbour), "they are older, and hold one place each");
    assert_eq!(held.iter().filter(|place| stays(&places, place)).count(), PLACES - 2);
}

#[test]
fn what_is_not_read_is_bounded() {
    let (places, door, now) = places();
    let size = UNSENT / 4;
    let reader = door.take(client(1), now);
    reader.visit.asked(now);
    reader.reply(1_000, now);
    let held: Vec<Place> = (0..20).map(|_| door.take(client(2), now)).collect();
    for (place, at) in held.iter().zip(1..) {
        place.visit.asked(now);
        place.reply(size, now + seconds(at));
        let unsent: usize = places.visits().iter().map(|visit| visit.progress().unsent).sum();
        assert!(unsent <= UNSENT, "{unsent}");
    }
    let kept: Vec<bool> = held.iter().map(|place| stays(&places, place)).collect();
    assert_eq!(kept.iter().filter(|kept| **kept).count(), 3);
    assert!(
        kept[17..].iter().all(|kept| *kept) && stays(&places, &reader),
        "the oldest of the one that holds most goes"
    );
    // A page larger than the whole limit still goes out, alone.
    reader.reply(2 * UNSENT, now);
    assert_eq!(places.visits().iter().filter(|visit| visit.progress().unsent > 0).count(), 1);
}

#[test]
fn each_step_has_its_time_and_octets_do_not_lengthen_it() {
    let (_places, door, now) = places();
    let place = door.take(client(1), now);
    let deadline = || place.visit.deadline(&LIMITS).map(|(at, why)| ((at - now).as_secs(), why));
    place.visit.heard(now + seconds(4));
    assert_eq!(deadline(), Some((5, Ending::Request)), "a client that sends an octet at a time gains nothing");
    assert_eq!(place.visit.asked(now + seconds(4)), (now, 1));
    assert_eq!(deadline(), None, "the server's own time");
    place.visit.flushed(now + seconds(5), &LIMITS);
    assert_eq!(deadline(), None, "nothing was written yet");
    place.reply(1_000, now + seconds(6));
    assert_eq!(deadline(), Some((36, Ending::Reply)));
    place.visit.flushed(now + seconds(7), &LIMITS);
    assert_eq!(deadline(), Some((187, Ending::Idle)));
    place.visit.heard(now + seconds(60));
    place.visit.heard(now + seconds(64));
    assert_eq!(deadline(), Some((65, Ending::Request)), "the first octet of a request begins its time");
    assert_eq!(place.visit.asked(now + seconds(64)), (now + seconds(7) + LIMITS.pace, 2));
}

#[test]
fn connections_end_with_their_listener() {
    let (places, door, now) = places();
    let (other, place) = (places.door(), door.take(client(1), now));
    let stayer = other.take(client(1), now);
    drop(door);
    assert!(!stays(&places, &place) && stays(&places, &stayer));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(place.visit.leave());
}

#[test]
fn a_file_is_freed_when_its_connection_has_ended() {
    let (_places, door, now) = places();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        assert!(!door.free_a_file().await, "there is no connection");
        let place = door.take(client(1), now);
        let connection = tokio::spawn(async move { place.visit.leave().await });
        // The call itself says when the file is free.
        while !door.free_a_file().await && !connection.is_finished() {}
        connection.await.expect("no panic");
    });
}
