//! Counters, histograms and gauges, and how a scrape reads them.
//!
//! Each worker counts queries in its own copy of a [`Block`], without a locked instruction; a
//! scrape adds the copies up. The `prometheus` crate writes the text format and measures the
//! process.

mod block;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use prometheus::core::Collector;
use prometheus::proto;

pub use self::block::{Block, Own, claim_copy};

//----------- Counter, Histogram, Gauge --------------------------------------

/// The name, help text and label names of a metric.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// The full name, `coredns_...`.
    pub name: &'static str,
    /// One line of help.
    pub help: &'static str,
    /// Label names.
    pub labels: &'static [&'static str],
}

/// A number that only grows.
#[derive(Clone)]
pub struct Counter(Arc<Block>);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.0.add(0, 1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.add(0, n);
    }

    /// The count so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.sum(0)
    }
}

/// A distribution over fixed buckets.
#[derive(Clone)]
pub struct Histogram(Arc<Buckets>);

/// The cells of a distribution: the sum, one for each bound, and one for larger values. Most values
/// are small, so the cells that count them are beside the sum.
pub struct Buckets {
    bounds: &'static [f64],
    /// The bounds in units: whole numbers compare faster.
    limits: Box<[u64]>,
    unit: f64,
    block: Arc<Block>,
    first: usize,
}

impl Buckets {
    /// Makes buckets with upper `bounds`. Values are kept as multiples of `unit` (1e-9 for seconds,
    /// 1 for octets).
    #[must_use]
    pub fn new(bounds: &'static [f64], unit: f64) -> Self {
        Self::within(&Arc::new(Block::new(Self::cells(bounds))), 0, bounds, unit)
    }

    /// Returns the number of cells that buckets with these bounds need.
    #[must_use]
    pub const fn cells(bounds: &[f64]) -> usize {
        bounds.len() + 2
    }

    /// Makes buckets in the cells of `block` from `first` on.
    #[must_use]
    pub fn within(block: &Arc<Block>, first: usize, bounds: &'static [f64], unit: f64) -> Self {
        let limits = bounds.iter().map(|bound| (bound / unit).round() as u64).collect();
        Self { bounds, limits, unit, block: block.clone(), first }
    }

    /// Counts a value of `units` units.
    pub fn observe(&self, units: u64) {
        self.observe_in(&self.block.own(), units);
    }

    /// The same in this thread's copy of their block, for callers that count several things.
    pub fn observe_in(&self, own: &Own<'_>, units: u64) {
        let bucket = self.limits.iter().position(|&limit| units <= limit).unwrap_or(self.limits.len());
        own.add(self.first, units);
        own.add(self.first + 1 + bucket, 1);
    }

    fn count(&self, bucket: usize) -> u64 {
        self.block.sum(self.first + 1 + bucket)
    }

    fn proto(&self) -> proto::Histogram {
        let mut histogram = proto::Histogram::default();
        let (mut total, mut buckets) = (0, Vec::with_capacity(self.bounds.len()));
        for (at, bound) in self.bounds.iter().enumerate() {
            total += self.count(at);
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(total);
            buckets.push(bucket);
        }
        total += self.count(self.bounds.len());
        histogram.set_bucket(buckets);
        histogram.set_sample_count(total);
        histogram.set_sample_sum(self.block.sum(self.first) as f64 * self.unit);
        histogram
    }

    fn is_empty(&self) -> bool {
        (0..=self.bounds.len()).all(|at| self.count(at) == 0)
    }
}

impl Histogram {
    /// Counts a duration; the bounds are seconds.
    pub fn observe(&self, value: std::time::Duration) {
        self.0.observe(value.as_nanos() as u64);
    }
}

/// A number that goes up and down. It is shown until its last owner drops it.
#[derive(Clone)]
pub struct Gauge(Arc<AtomicU64>);

impl Gauge {
    /// Sets the value.
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    /// The value.
    #[must_use]
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

static DROPPED_LINES: Family = Family {
    name: "signpost_log_dropped_lines_total",
    help: "Log lines that were dropped because standard output was not read.",
    labels: &[],
};

//----------- Metrics --------------------------------------------------------

/// All metrics of the process.
#[derive(Default)]
pub struct Metrics {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    series: BTreeMap<&'static str, (&'static Family, BTreeMap<Vec<String>, Source>)>,
    collectors: Vec<Weak<dyn Collect>>,
}

enum Source {
    Counter(Counter),
    Histogram(Histogram),
    Gauge(Weak<AtomicU64>),
}

/// A source of many series, such as the counters of one server block.
pub trait Collect: Send + Sync {
    /// Adds every series that has values.
    fn collect(&self, scrape: &mut Scrape);
}

impl Metrics {
    /// Returns the counter with these label values; a new one starts at 0.
    pub fn counter(&self, family: &'static Family, labels: &[&str]) -> Counter {
        let mut state = self.lock();
        match state.source(family, labels, || Source::Counter(Counter(Arc::new(Block::new(1))))) {
            Source::Counter(counter) => counter.clone(),
            _ => Counter(Arc::new(Block::new(1))),
        }
    }

    /// Returns the histogram (of seconds) with these label values and upper `bounds`.
    pub fn histogram(&self, family: &'static Family, bounds: &'static [f64], labels: &[&str]) -> Histogram {
        let fresh = || Histogram(Arc::new(Buckets::new(bounds, 1e-9)));
        match self.lock().source(family, labels, || Source::Histogram(fresh())) {
            Source::Histogram(histogram) => histogram.clone(),
            _ => fresh(),
        }
    }

    /// Makes a gauge with these label values. It is shown as long as the caller keeps it.
    pub fn gauge(&self, family: &'static Family, labels: &[&str]) -> Gauge {
        let mut state = self.lock();
        if let Source::Gauge(known) = state.source(family, labels, || Source::Gauge(Weak::new()))
            && let Some(cell) = known.upgrade()
        {
            return Gauge(cell);
        }
        let gauge = Gauge(Arc::new(AtomicU64::new(0)));
        *state.source(family, labels, || Source::Gauge(Weak::new())) = Source::Gauge(Arc::downgrade(&gauge.0));
        gauge
    }

    /// Shows the series of `collector` as long as it is alive.
    pub fn register<T: Collect + 'static>(&self, collector: &Arc<T>) {
        let weak: Weak<dyn Collect> = Arc::<T>::downgrade(collector);
        self.lock().collectors.push(weak);
    }

    /// Returns the page for a scrape: text exposition format 0.0.4.
    #[must_use]
    pub fn text(&self) -> String {
        self.text_of(|_| true)
    }

    /// Returns the page with only the wanted families.
    #[must_use]
    pub fn text_of(&self, is_wanted: impl Fn(&str) -> bool) -> String {
        let mut scrape = Scrape::default();
        self.lock().collect(&mut scrape);
        scrape.counter(&DROPPED_LINES, &[], super::log::dropped());
        super::http::collect(&mut scrape);
        let mut families: Vec<_> = scrape.families.into_values().filter(|family| is_wanted(family.name())).collect();
        families.extend(prometheus::process_collector::ProcessCollector::for_self().collect());
        families.sort_by(|a, b| a.name().cmp(b.name()));
        prometheus::TextEncoder::new().encode_to_string(&families).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn source(&mut self, family: &'static Family, labels: &[&str], make: impl FnOnce() -> Source) -> &mut Source {
        debug_assert_eq!(family.labels.len(), labels.len(), "{}", family.name);
        let (_, series) = self.series.entry(family.name).or_insert_with(|| (family, BTreeMap::new()));
        series.entry(labels.iter().map(|&label| label.to_owned()).collect()).or_insert_with(make)
    }

    fn collect(&mut self, scrape: &mut Scrape) {
        for (family, series) in self.series.values() {
            for (labels, source) in series {
                let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
                match source {
                    Source::Counter(counter) => scrape.counter(family, &labels, counter.get()),
                    Source::Histogram(histogram) => scrape.histogram(family, &labels, &histogram.0),
                    Source::Gauge(gauge) => {
                        if let Some(value) = gauge.upgrade() {
                            scrape.gauge(family, &labels, f64::from_bits(value.load(Ordering::Relaxed)));
                        }
                    }
                }
            }
        }
        self.collectors.retain(|collector| {
            let alive = collector.upgrade();
            alive.as_ref().inspect(|collector| collector.collect(scrape)).is_some()
        });
    }
}

//----------- Scrape ---------------------------------------------------------

/// What one scrape collects.
#[derive(Default)]
pub struct Scrape {
    families: BTreeMap<&'static str, proto::MetricFamily>,
}

impl Scrape {
    /// Adds a counter.
    pub fn counter(&mut self, family: &Family, labels: &[&str], value: u64) {
        let mut counter = proto::Counter::default();
        counter.set_value(value as f64);
        self.add(family, labels, proto::MetricType::COUNTER, |metric| metric.set_counter(counter));
    }

    /// Adds a gauge.
    pub fn gauge(&mut self, family: &Family, labels: &[&str], value: f64) {
        let mut gauge = proto::Gauge::default();
        gauge.set_value(value);
        self.add(family, labels, proto::MetricType::GAUGE, |metric| metric.set_gauge(gauge));
    }

    /// Adds a histogram. One with labels and without values is left out: its labels were never
    /// used.
    pub fn histogram(&mut self, family: &Family, labels: &[&str], buckets: &Buckets) {
        if labels.is_empty() || !buckets.is_empty() {
            self.add(family, labels, proto::MetricType::HISTOGRAM, |metric| metric.set_histogram(buckets.proto()));
        }
    }

    fn add(&mut self, family: &Family, values: &[&str], kind: proto::MetricType, set: impl FnOnce(&mut proto::Metric)) {
        let entry = self.families.entry(family.name).or_insert_with(|| {
            let mut fresh = proto::MetricFamily::default();
            fresh.set_name(family.name.to_owned());
            fresh.set_help(family.help.to_owned());
            fresh.set_field_type(kind);
            fresh
        });
        let mut metric = proto::Metric::default();
        let mut pairs: Vec<_> = family.labels.iter().zip(values).collect();
        // In CoreDNS's order, for scripts that use grep.
        pairs.sort();
        let pairs = pairs.into_iter().map(|(name, value)| {
            let mut pair = proto::LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        });
        metric.set_label(pairs.collect());
        set(&mut metric);
        entry.mut_metric().push(metric);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    static ASKED: Family = Family { name: "coredns_test_asked_total", help: "Asked.", labels: &["type"] };
    static TOOK: Family = Family { name: "coredns_test_took_seconds", help: "Took.", labels: &[] };
    static HELD: Family = Family { name: "coredns_test_held", help: "Held.", labels: &[] };

    #[test]
    fn copies_add_up_and_the_page_has_the_text_format() {
        let metrics = Metrics::default();
        let asked = metrics.counter(&ASKED, &["A\"\n"]);
        let took = metrics.histogram(&TOOK, &[0.001, 0.01], &[]);
        let threads: Vec<_> = (0..3)
            .map(|worker| {
                let (asked, took) = (asked.clone(), took.clone());
                std::thread::spawn(move || {
                    claim_copy(worker);
                    for _ in 0..100 {
                        asked.inc();
                        took.observe(Duration::from_millis(5));
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        asked.inc();
        let gauge = metrics.gauge(&HELD, &[]);
        gauge.set(7.0);
        let page = metrics.text();
        assert!(page.contains("coredns_test_asked_total{type=\"A\\\"\\n\"} 301\n"), "{page}");
        assert!(page.contains("coredns_test_took_seconds_bucket{le=\"0.001\"} 0\n"), "{page}");
        assert!(page.contains("coredns_test_took_seconds_bucket{le=\"0.01\"} 300\n"), "{page}");
        assert!(page.contains("coredns_test_took_seconds_count 300\n"), "{page}");
        assert!(page.contains("coredns_test_held 7\n") && page.contains("process_resident_memory_bytes "), "{page}");
        drop(gauge);
        assert!(!metrics.text().contains("coredns_test_held"));
    }
}
