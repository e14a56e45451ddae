//! Snapshots that are written, read, refused and impossible.

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tokio::runtime::Handle;

use super::*;
use crate::plugins::kubernetes::known::endpoints::{Address, Endpoint};
use crate::plugins::kubernetes::known::index::service_key;
use crate::plugins::kubernetes::known::model::{Object, Pod, Port, Reached, Service, Slice, Target};
use crate::plugins::kubernetes::reading::options::{ApiFrom, Origin};
use crate::plugins::kubernetes::reading::start;

/// An address where no API server is.
const NOBODY: &str = "http://127.0.0.1:1";

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn source(path: &Path, max_age: u64) -> SourceOptions {
    let snapshot = SnapshotOptions { path: path.to_owned(), max_age: Duration::from_secs(max_age) };
    let from = ApiFrom::Endpoint { url: NOBODY.to_owned(), tls: None };
    let (origin, snapshot) = (Origin::Api(from), Some(snapshot));
    SourceOptions { origin, snapshot, multicluster: true, pods_verified: true, ..SourceOptions::default() }
}

fn service(name: &str, target: Target, external: Option<Vec<Reached>>) -> Object {
    let port = Port { name: "http".into(), protocol: "tcp".into(), number: Some(80) };
    let (namespace, name, ports) = ("shop".into(), name.into(), [port].into());
    Object::Service(Service { namespace, name, target, ports, has_selector: true, external: external.map(Box::new) })
}

fn slice(name: &str, endpoints: Vec<Endpoint>, triggered: Option<i64>) -> Object {
    let (namespace, service, cluster) = ("shop".into(), "db".into(), "east".into());
    let (endpoints, ports) = (endpoints.into(), Port::none());
    Object::Slice(Slice { namespace, name: name.into(), service, cluster, endpoints, ports, triggered })
}

fn pod(name: &str, address: &str) -> Object {
    Object::Pod(Pod { namespace: "shop".into(), name: name.into(), addresses: [ip(address)].into() })
}

/// One of everything.
fn objects() -> Vec<(Kind, Object)> {
    let plain = |text: &str| Endpoint { address: Address::Ip(ip(text)), name: None, zone: None };
    let named = Endpoint { name: Some("db-0".into()), zone: Some("eu-1".into()), ..plain("fd00::1") };
    let elsewhere =
        Endpoint { address: Address::Name("db.example".into()), name: Some("db-example".into()), zone: None };
    let reached = vec![Reached::Ip(ip("198.51.100.1")), Reached::Name("lb.example".into())];
    let addresses = Target::Addresses([ip("10.96.0.1"), ip("fd00:96::1")].into());
    vec![
        (Kind::Namespace, Object::Namespace("shop".into())),
        (Kind::Service, service("web", addresses.clone(), Some(reached))),
        (Kind::Service, service("db", Target::Endpoints, None)),
        (Kind::Service, service("docs", Target::Alias("docs.example".into()), None)),
        (Kind::Slice, slice("db-1", vec![plain("10.1.0.1"), plain("10.1.0.2")], Some(-7))),
        (Kind::Slice, slice("db-2", vec![named.clone(), named, elsewhere], None)),
        (Kind::Import, service("db", addresses, None)),
        (Kind::ImportSlice, slice("db-3", vec![plain("10.2.0.1")], None)),
        (Kind::Pod, pod("10.1.0.1", "10.1.0.1")),
        (Kind::Pod, pod("fd00::1", "fd00::1")),
    ]
}

fn index_of(objects: Vec<(Kind, Object)>) -> Arc<Index> {
    let index = Arc::new(Index::default());
    let kinds = source(Path::new("x"), 1).kinds();
    let mut store = Store::new(index.clone(), 5, &kinds, None);
    objects.into_iter().for_each(|(kind, object)| store.apply(kind, object));
    kinds.iter().for_each(|kind| store.end(*kind, true).expect("believed"));
    store.publish();
    index
}

fn records(index: &Index) -> Vec<u8> {
    let mut octets = Vec::new();
    objects::write(index, &mut octets).expect("memory");
    octets
}

fn read(octets: &[u8]) -> Option<Vec<String>> {
    let mut all = Vec::new();
    objects::read(octets, |kind, object| all.push(format!("{kind:?} {object:?}")))?;
    all.sort();
    Some(all)
}

/// A snapshot for the source, and what keeps it.
fn snapshot(path: &Path, max_age: u64) -> Snapshot {
    let cluster = Cluster::new(NOBODY, None, Vec::new());
    let options = source(path, max_age);
    let wanted = options.snapshot.clone().expect("an option");
    Snapshot::new(&wanted, &options, cluster, &Arc::default())
}

fn failed(host: &Host, action: &str) -> u64 {
    host.metrics.counter(&FAILED, &[action]).get()
}

#[test]
fn what_is_written_is_read_again() {
    let index = index_of(objects());
    let octets = records(&index);
    let mut wanted: Vec<String> = objects().iter().map(|(kind, object)| format!("{kind:?} {object:?}")).collect();
    wanted.sort();
    assert_eq!(read(&octets), Some(wanted));
    for cut in 0..octets.len() {
        // What is left ends with a record, or is refused.
        let _ = read(&octets[..cut]);
    }
    assert_eq!(read(b"\x07"), None, "an unknown kind");
    assert_eq!(read(b"\x01\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), None, "a text that is longer than the file");
    assert_eq!(read(b"\x03\x00\x00\x00\x00\xff\xff\xff\xff\x7f"), None, "more endpoints than octets");
}

#[test]
fn pods_of_one_address_and_namespace_are_one() {
    let twice = vec![(Kind::Pod, pod("a", "10.1.0.1")), (Kind::Pod, pod("b", "10.1.0.1"))];
    assert_eq!(read(&records(&index_of(twice))).map(|all| all.len()), Some(1));
}

#[test]
fn a_file_with_one_false_octet_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("snapshot");
    snapshot(&path, 60).write(&index_of(objects()), 1).expect("written");
    let octets = std::fs::read(&path).expect("a file");
    assert_eq!(std::fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
    assert!(file::whole(octets.clone()).is_ok());
    for at in 0..octets.len() {
        let mut damaged = octets.clone();
        damaged[at] ^= 0x10;
        assert!(file::whole(damaged).is_err(), "octet {at}");
        assert!(file::whole(octets[..at].to_vec()).is_err(), "{at} octets");
    }
    assert!(file::whole([&octets[..], b"x"].concat()).is_err());
}

#[tokio::test]
async fn what_is_of_no_use_is_told_and_not_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("snapshot");
    let write = |as_of: u64, cluster: &str, content: &str| {
        let about = About { as_of, cluster: cluster.to_owned(), content: content.to_owned() };
        file::write(&path, &about, |out| objects::write(&index_of(objects()), out)).expect("written");
    };
    let (now, content) = (Host::default().clock.seconds_since_1970(), source(&path, 60).content());
    let why = || snapshot(&path, 60).usable().map(|found| found.is_some());
    let refused = |part: &str| {
        let said = why().expect_err(part);
        assert!(said.contains(part), "{said}");
    };
    assert_eq!(why(), Ok(false), "no file");
    write(now - 5, NOBODY, &content);
    assert_eq!(why(), Ok(true));
    write(now + 3600, NOBODY, &content);
    assert_eq!(why(), Ok(true), "the clock has gone back");
    write(now - 120, NOBODY, &content);
    refused("s old, and may be 60s old");
    write(now - 5, "http://127.0.0.1:2", &content);
    refused("another cluster");
    write(now - 5, NOBODY, "other");
    refused("other options");
    let mut newer = std::fs::read(&path).expect("a file");
    newer[11] = 2;
    std::fs::write(&path, &newer).expect("written");
    refused("version 2");
    std::fs::write(&path, "").expect("written");
    refused("does not begin like a snapshot");
    std::fs::remove_file(&path).expect("gone");
    std::fs::create_dir(&path).expect("a folder");
    refused("not a file");

    std::fs::remove_dir(&path).expect("gone");
    let about = About { as_of: now, cluster: NOBODY.to_owned(), content };
    let records = [&records(&index_of(objects()))[..], b"\x07"].concat();
    file::write(&path, &about, |out| std::io::Write::write_all(out, &records)).expect("written");
    assert_eq!(why(), Ok(true), "a whole file with a record that is none");
    let (host, index) = (Arc::new(Host::default()), Arc::new(Index::default()));
    let _tasks = start(&source(&path, 60), index.clone(), &host, &Handle::current()).expect("started");
    assert!(failed(&host, "read") == 1 && !index.is_from_snapshot() && index.readiness().is_err());
    assert!(index.services.is_empty());
}

#[tokio::test]
async fn a_start_without_an_api_server_has_the_names_of_the_snapshot() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("snapshot");
    let host = Arc::new(Host::default());
    let as_of = host.clock.seconds_since_1970() - 40;
    snapshot(&path, 60).write(&index_of(objects()), as_of).expect("written");
    let index = Arc::new(Index::default());
    let _tasks = start(&source(&path, 60), index.clone(), &host, &Handle::current()).expect("started");
    // There is nothing to wait for: it was read before the first request.
    assert!(!index.is_synced() && index.snapshot_age() >= Some(Duration::from_secs(40)));
    let has = |name: &str| index.services.with(&service_key("shop", name).expect("a key"), |_| ()).is_some();
    assert!(has("web") && has("db") && has("docs") && index.has_namespace(b"shop"));
    assert!(index.pods.with(&ip("10.1.0.1"), |_| ()).is_some());
    let said = index.readiness().expect("ready");
    assert!(said[0].starts_with("answers come from a snapshot that is 4"), "{said:?}");
    assert_eq!(failed(&host, "read"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_file_is_written_after_the_lists_and_at_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("snapshot");
    let (keeper, index) = (snapshot(&path, 60), index_of(objects()));
    let (host, written) = (keeper.host.clone(), keeper.written.clone());
    let task = tokio::spawn(keeper.keep(index, Arc::default()));
    while written.get() == 0 {
        tokio::time::sleep(LOOK).await;
    }
    assert_eq!(snapshot(&path, 60).usable().map(|found| found.is_some()), Ok(true));
    host.clock.advance(Duration::from_secs(CONFIRM));
    while written.get() == 1 {
        tokio::time::sleep(LOOK).await;
    }
    host.shutting_down.store(true, Ordering::Relaxed);
    task.await.expect("it ends");
    assert_eq!(written.get(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_written_is_told_once_and_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("missing");
    let (keeper, index) = (snapshot(&missing.join("snapshot"), 60), index_of(objects()));
    let (host, written) = (keeper.host.clone(), keeper.written.clone());
    let task = tokio::spawn(keeper.keep(index, Arc::default()));
    while failed(&host, "write") < 3 {
        tokio::time::sleep(LOOK).await;
    }
    std::fs::create_dir(&missing).expect("a folder");
    while written.get() == 0 {
        tokio::time::sleep(LOOK).await;
    }
    task.abort();
    assert_eq!(std::fs::read_dir(&missing).expect("a folder").count(), 1, "nothing is left beside it");
}

#[test]
fn files_take_their_turns() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("snapshot");
    let beside = std::fs::File::create(folder.path().join("snapshot.new")).expect("a file");
    beside.lock().expect("a lock");
    let keeper = snapshot(&path, 60);
    assert!(keeper.write(&index_of(Vec::new()), 1).is_err(), "another process writes it");
    drop(beside);
    std::fs::remove_file(folder.path().join("snapshot.new")).expect("gone");
    let other = folder.path().join("other");
    std::fs::write(&other, "x").expect("written");
    std::os::unix::fs::symlink(&other, folder.path().join("snapshot.new")).expect("a link");
    assert!(keeper.write(&index_of(Vec::new()), 1).is_err(), "a link leads elsewhere");
    assert_eq!(std::fs::read(&other).expect("as it was"), b"x");
    std::fs::remove_file(folder.path().join("snapshot.new")).expect("gone");
    keeper.write(&index_of(Vec::new()), 1).expect("written");
    let told = keeper.tell("", Err(std::io::ErrorKind::StorageFull.into()));
    assert_eq!((told.as_str(), keeper.tell(&told, Ok(())).as_str()), ("no storage space", ""));
}

#[test]
fn a_file_is_outdated_by_changes_and_by_time() {
    let second = Duration::from_secs(1);
    let last = State::new(1000, 990, second);
    for (now, serial, silence, is_outdated) in [
        (1060, 990, second, false),
        (1060, 1010, second, true),
        (1599, 990, second, false),
        (1600, 990, second, true),
        (9000, 990, Duration::from_secs(8000), false),
    ] {
        assert_eq!(last.is_outdated_by(State::new(now, serial, silence)), is_outdated, "{now} {serial}");
    }
    let same_second = State::new(1000, 1000, second);
    assert!(same_second.is_outdated_by(State::new(1060, 1000, second)), "more may have come in that second");
}
