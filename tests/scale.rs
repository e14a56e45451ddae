//! Limits at large scale: a repeated list stores nothing twice, a flood of events waits in a
//! bounded queue, and answers stay right meanwhile. Counts of objects and octets; an allocator
//! counts the latter.
//!
//! The cluster is that of benches/scale with 1,000 Services and 3,000 Pods. `just scale` measures
//! 5,000 nodes and the process.

#[path = "support/protobuf.rs"]
mod protobuf;
#[path = "../benches/scale/set.rs"]
#[allow(dead_code, reason = "the bed has more to say")]
mod set;
#[path = "../benches/scale/template.rs"]
#[allow(dead_code, reason = "the bed writes events as well")]
mod template;

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt as _;
use set::{Set, Size};
use signpost::plugins::kubernetes::known::index::{Index, service_key};
use signpost::plugins::kubernetes::known::model::{Kind, News, Object};
use signpost::plugins::kubernetes::known::store::Store;
use signpost::plugins::kubernetes::reading::decode::{Keep, decode};
use signpost::plugins::kubernetes::reading::feed::{Feed, feed};
use signpost::plugins::kubernetes::reading::protobuf::object as protobuf_object;
use signpost::plugins::kubernetes::reading::snapshot::objects;
use template::Form;
use tokio::sync::Mutex;

//----------- The allocator --------------------------------------------------

struct Counting;

/// Octets that are held now, and the maximum since [`reset_peak`].
static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed to the system's allocator unchanged; counting does not touch the
// heap.
#[allow(unsafe_code, reason = "an allocator can only be written so")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(held, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn held() -> usize {
    HELD.load(Ordering::Relaxed)
}

fn reset_peak() {
    PEAK.store(held(), Ordering::Relaxed);
}

/// The allocator counts the whole process, so only one test runs at a time.
static ALONE: Mutex<()> = Mutex::const_new(());

//----------- The cluster ----------------------------------------------------

/// Kinds as the set and the plugin name them.
const KINDS: [(set::Kind, Kind); 4] = [
    (set::Kind::Namespace, Kind::Namespace),
    (set::Kind::Service, Kind::Service),
    (set::Kind::Slice, Kind::Slice),
    (set::Kind::Pod, Kind::Pod),
];

struct Cluster {
    set: Set,
    /// The objects of each kind, read once.
    objects: [Vec<Object>; 4],
    index: Arc<Index>,
    feed: Feed,
}

impl Cluster {
    /// Returns a cluster, and the future that applies its objects.
    fn new() -> (Self, impl Future<Output = ()> + Send + use<>) {
        let index = Arc::new(Index::default());
        let kinds: Vec<Kind> = KINDS.iter().map(|(_, kind)| *kind).collect();
        let (feed, task) = feed(Store::new(index.clone(), 30, &kinds, None));
        let set = Set::new(Size::named("small").expect("a size"));
        let read = |kind: (set::Kind, Kind)| (0..set.count(kind.0)).map(|at| object(&set, kind, at)).collect();
        (Self { objects: KINDS.map(read), set, index, feed }, task)
    }

    /// Begins a list of a kind and sends its first objects.
    async fn list(&self, kind: (set::Kind, Kind), objects: usize) {
        self.feed.begin(kind.1).await.expect("open");
        for object in &self.objects[kind.0 as usize][..objects] {
            self.feed.object(kind.1, News::Is(object.clone())).await.expect("open");
        }
    }

    /// Lists everything; returns how many objects were new or different.
    async fn list_all(&self) -> u64 {
        let mut differing = 0;
        for kind in KINDS {
            self.list(kind, self.set.count(kind.0)).await;
            differing += self.feed.end(kind.1, false).await.expect("open").expect("believed");
        }
        differing
    }

    async fn counts(&self) -> [usize; 4] {
        let mut counts = [0; 4];
        for (count, (_, kind)) in counts.iter_mut().zip(KINDS) {
            *count = self.feed.count(kind).await.expect("open");
        }
        counts
    }

    /// Returns how many Services are not as they should be.
    fn wrong(&self) -> usize {
        let services = 0..self.set.count(set::Kind::Service) as u32;
        let is_right = |service: u32| {
            let name = self.set.name(service);
            let (name, namespace) = name.split_once('.').expect("two labels");
            let key = service_key(namespace, name).expect("labels");
            let address = IpAddr::from(set::cluster_ip(service));
            let found = self.index.services.with(&key, |entry| match self.set.is_headless(service) {
                true => entry.has_endpoints() && entry.a().is_some(),
                false => {
                    entry.has_endpoints()
                        && entry.service().is_some_and(|service| service.cluster_ips().contains(&address))
                        && entry.a().is_some()
                }
            });
            found == Some(true)
        };
        services.filter(|&service| !is_right(service)).count()
    }
}

/// Returns an object as the API server sends it, in both forms.
fn object(set: &Set, (served, kind): (set::Kind, Kind), at: usize) -> Object {
    let (mut json, mut octets) = (Vec::new(), Vec::new());
    set.write(served, at, Form::Json, &mut json);
    set.write(served, at, Form::Protobuf, &mut octets);
    let read = decode(kind, &mut serde_json::Deserializer::from_slice(&json), Keep::default());
    let read = read.expect("a good object");
    assert_eq!(decode(kind, protobuf_object(kind, &octets), Keep::default()).expect("a good object"), read);
    match read.news {
        News::Is(object) => object,
        other => panic!("{other:?}"),
    }
}

//----------- What must hold -------------------------------------------------

#[tokio::test]
async fn a_list_that_is_read_again_holds_nothing_twice() {
    let _alone = ALONE.lock().await;
    let (cluster, task) = Cluster::new();
    let before = held();
    let task = tokio::spawn(task);
    let total = KINDS.map(|(served, _)| cluster.set.count(served));
    assert_eq!(cluster.list_all().await, total.iter().sum::<usize>() as u64);
    let (first, counts) = (held() - before, cluster.counts().await);
    assert_eq!((counts, cluster.wrong()), (total, 0));
    let pods = total[3];
    assert_eq!(cluster.index.pods.len(), pods);
    reset_peak();
    for _ in 0..3 {
        assert_eq!(cluster.list_all().await, 0, "nothing is new");
        assert_eq!((cluster.counts().await, cluster.index.pods.len(), cluster.wrong()), (total, pods, 0));
    }
    let (again, peak) = (held() - before, PEAK.load(Ordering::Relaxed) - before);
    println!("{} octets a Pod with its endpoint; again {again} after {first}, at most {peak}", first / pods);
    assert!(again <= first + first / 100, "{again} octets after {first}");
    assert!(peak <= first + first / 7, "{peak} octets at the peak of a list, {first} before");
    assert!(
        first / pods <= OCTETS,
        "{} octets for each Pod with its endpoint, Services and slices included",
        first / pods
    );
    drop(cluster);
    task.await.expect("the task ends with its last feed");
}

/// Octets per Pod, with its endpoint and a third of a Service with its slice; 655 when this was
/// written. A hundred of them are shards with few entries, which larger clusters fill.
const OCTETS: usize = 720;

#[tokio::test]
async fn answers_stay_right_in_the_middle_of_a_list() {
    let _alone = ALONE.lock().await;
    let (cluster, task) = Cluster::new();
    tokio::spawn(task);
    cluster.list_all().await;
    for kind in KINDS {
        for part in [0, 1, cluster.set.count(kind.0) / 2] {
            // The list breaks off there, and begins again.
            cluster.list(kind, part).await;
            cluster.counts().await;
            assert_eq!(cluster.wrong(), 0, "after {part} of {kind:?}");
        }
    }
    assert_eq!(cluster.list_all().await, 0);
}

/// Counts octets, and keeps none.
struct Counted(usize);

impl std::io::Write for Counted {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        self.0 += octets.len();
        Ok(octets.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_snapshot_is_small_and_is_written_record_by_record() {
    let _alone = ALONE.lock().await;
    let (cluster, task) = Cluster::new();
    tokio::spawn(task);
    cluster.list_all().await;
    let (mut out, before) = (Counted(0), held());
    reset_peak();
    objects::write(&cluster.index, &mut out).expect("it takes all");
    let extra = PEAK.load(Ordering::Relaxed) - before;
    let pods = cluster.set.count(set::Kind::Pod);
    println!("a snapshot has {} octets, {} for each Pod; {extra} more were held", out.0, out.0 / pods);
    assert!(extra < 64 << 10 && out.0 / pods < 100);
    let mut whole = Vec::new();
    objects::write(&cluster.index, &mut whole).expect("memory");
    let mut counts = [0; 4];
    let read = objects::read(&whole, |kind, _| {
        let at = KINDS.iter().position(|(_, known)| *known == kind).expect("a kind of the set");
        counts[at] += 1;
    });
    assert_eq!(read, Some(counts.iter().sum::<usize>() as u64));
    assert_eq!(counts[..3], cluster.counts().await[..3]);
    assert_eq!(counts[3], cluster.index.pods.len(), "one for each address");
}

#[tokio::test]
async fn a_flood_of_events_waits_in_a_bounded_queue() {
    let _alone = ALONE.lock().await;
    let (mut cluster, task) = Cluster::new();
    let slices = KINDS[2];
    let mut task = Box::pin(task);
    // No task applies the objects yet.
    let before = held();
    let mut told = 0;
    loop {
        let slice = told % cluster.set.count(slices.0);
        cluster.set.change(slice, told as u64 + 2);
        let news = News::Is(object(&cluster.set, slices, slice));
        // Without tokio's budget, which would stop it earlier.
        match tokio::task::unconstrained(cluster.feed.object(slices.1, news)).now_or_never() {
            Some(sent) => sent.expect("open"),
            None => break,
        }
        told += 1;
        assert!(told <= 1024, "{told} events wait");
    }
    assert_eq!(told, 1024);
    let waiting = held() - before;
    println!("{told} events wait in {waiting} octets");
    assert!(waiting / told <= 1024, "{} octets for each event that waits", waiting / told);
    // Now everything is applied; the changed objects are listed in their first state.
    let all = async {
        cluster.list_all().await;
        cluster.counts().await
    };
    let counts = tokio::select! {
        counts = all => counts,
        () = &mut task => panic!("the task ends with its last feed"),
    };
    assert_eq!((counts[2], cluster.wrong()), (cluster.set.count(slices.0), 0));
}
