//! Lists and changes, and what the index shows of them.

use super::super::endpoints::{Address, Endpoint};
use super::super::index::{Entry, service_key};
use super::super::model::{Port, Slice, Target};
use super::*;
use crate::wire::name::Name;
use crate::wire::reverse::{self, Reverse};

fn service(name: &str) -> Object {
    let target = Target::Endpoints;
    Object::Service(Service {
        namespace: "n".into(),
        name: name.into(),
        target,
        ports: Port::none(),
        has_selector: true,
        external: None,
    })
}

fn slice(service: &str, address: &str) -> Object {
    let address = Address::Ip(address.parse().expect("an address"));
    Object::Slice(Slice {
        namespace: "n".into(),
        name: "slice".into(),
        service: service.into(),
        cluster: Box::default(),
        endpoints: vec![Endpoint { address, name: None, zone: None }].into(),
        ports: Port::none(),
        triggered: None,
    })
}

fn store() -> (Arc<Index>, Store) {
    let index = Arc::new(Index::default());
    (index.clone(), Store::new(index, 5, &[Kind::Service, Kind::Slice], None))
}

fn list(store: &mut Store, kind: Kind, objects: Vec<Object>, believe: bool) -> Result<(), Implausible> {
    store.begin(kind);
    objects.into_iter().for_each(|object| store.apply(kind, object));
    let verdict = store.end(kind, believe);
    store.publish();
    verdict
}

#[test]
fn a_list_that_repeats_what_is_known_changes_nothing() {
    let (index, mut store) = store();
    let unlabelled = slice("", "10.0.0.2");
    let slices = || vec![slice("a", "10.0.0.1")];
    list(&mut store, Kind::Service, vec![service("a"), service("b")], false).expect("believed");
    assert!(!index.is_synced());
    list(&mut store, Kind::Slice, slices(), false).expect("believed");
    assert!(index.is_synced());
    assert_eq!(store.changes(), 3);
    index.set_serial(7);
    let key = service_key("n", "a").expect("a key");
    let before = index.services.with(&key, Entry::clone).expect("known");
    list(&mut store, Kind::Service, vec![service("b"), service("a")], false).expect("believed");
    list(&mut store, Kind::Slice, slices(), false).expect("believed");
    let after = index.services.with(&key, Entry::clone).expect("known");
    assert!(before.is(&after));
    assert_eq!((store.changes(), index.serial()), (3, 7));
    list(&mut store, Kind::Slice, vec![unlabelled.clone()], false).expect("believed");
    let changes = store.changes();
    list(&mut store, Kind::Slice, vec![unlabelled], false).expect("believed");
    assert_eq!(store.changes(), changes);
    assert!(index.owners.holders.is_empty());
}

#[test]
fn lists_take_the_place_of_a_snapshot_kind_by_kind() {
    let (index, mut store) = store();
    let many = |from: usize, to: usize| (from..to).map(|n| service(&format!("s{n}"))).collect::<Vec<_>>();
    many(0, 60).into_iter().for_each(|object| store.apply(Kind::Service, object));
    store.apply(Kind::Slice, slice("s0", "10.0.0.1"));
    store.restored(1);
    let key = |name: &str| service_key("n", name).expect("a key");
    let has = |name: &str| index.services.with(&key(name), |entry| entry.service().is_some()).unwrap_or(false);
    assert!(has("s0") && has("s59") && !index.is_synced() && index.snapshot_age().is_some());
    let before = store.changes();
    let verdict = list(&mut store, Kind::Service, many(0, 10), false);
    assert_eq!(verdict, Err(Implausible { known: 60, missing: 50 }), "it is read again first");
    assert!(has("s59"));
    list(&mut store, Kind::Service, many(20, 70), false).expect("believed");
    assert!(has("s69") && !has("s0") && index.snapshot_age().is_some(), "slices are still missing");
    assert_eq!(store.changes() - before, 10 + 20, "what was right is not built anew");
    list(&mut store, Kind::Slice, vec![slice("s20", "10.0.0.1")], false).expect("believed");
    assert!(index.is_synced() && index.snapshot_age().is_none());
    assert_eq!(index.readiness(), Ok(Vec::new()));
}

#[test]
fn a_slice_may_move_to_another_service() {
    let (index, mut store) = store();
    list(&mut store, Kind::Service, vec![service("a"), service("b")], false).expect("believed");
    store.apply(Kind::Slice, slice("a", "10.0.0.1"));
    store.apply(Kind::Slice, slice("b", "10.0.0.1"));
    store.publish();
    let endpoints = |name| {
        let key = service_key("n", name).expect("a key");
        index.services.with(&key, |entry| entry.endpoints().count())
    };
    assert_eq!((endpoints("a"), endpoints("b")), (Some(0), Some(1)));
    let address = "10.0.0.1".parse().expect("an address");
    assert_eq!(index.owners.holders.with(&address, |owned| owned.names().count()), Some(1));
}

#[test]
fn prefixes_come_and_go_with_their_last_address() {
    let (index, mut store) = store();
    list(&mut store, Kind::Service, vec![service("a")], false).expect("believed");
    let known = || {
        let texts = ["10.in-addr.arpa.", "1.10.in-addr.arpa.", "1.1.10.in-addr.arpa.", "2.1.10.in-addr.arpa."];
        texts.map(|text| match reverse::parse(&Name::from_text(text).expect("a name")) {
            Some(Reverse::Prefix(octets)) => index.owners.prefixes.with(&octets, |_| ()).is_some(),
            other => panic!("{text}: {other:?}"),
        })
    };
    for (address, wanted) in [("10.1.1.1", [true, true, true, false]), ("10.1.2.1", [true, true, false, true])] {
        store.apply(Kind::Slice, slice("a", address));
        store.publish();
        assert_eq!(known(), wanted, "{address}");
    }
    list(&mut store, Kind::Slice, Vec::new(), true).expect("believed");
    assert_eq!(known(), [false; 4]);
    assert!(index.owners.prefixes.is_empty());
}

#[test]
fn a_list_that_lacks_most_is_not_believed_at_once() {
    let (index, mut store) = store();
    let all = |count: usize| (0..count).map(|n| service(&format!("s{n}"))).collect();
    list(&mut store, Kind::Service, all(60), false).expect("believed");
    assert_eq!(list(&mut store, Kind::Service, all(20), false), Err(Implausible { known: 60, missing: 40 }));
    assert_eq!(index.services.len(), 60);
    list(&mut store, Kind::Service, all(35), false).expect("less than half");
    assert_eq!(index.services.len(), 35);
    list(&mut store, Kind::Service, all(0), true).expect("believed");
    assert!(index.services.is_empty());
}
