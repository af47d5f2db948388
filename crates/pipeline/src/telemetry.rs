//! Kenning's own metrics: declared once with name, help, unit and typed labels; counted without locks; read as a whole.
//!
//! A component declares its metrics as fields of one struct built from a [`Registry`]. [`Registry::snapshot`] gives the
//! families from which both `/metrics` ([`text`]) and the samples of tenant `self` ([`metric_batch`]) are made.
//! Promises: counting is one atomic operation after the first use of a label combination is kept by the caller; a
//! family holds at most [`POINTS_MAX`] combinations, and later ones are added up under labels that all say `other`.
//! Absent on purpose: exemplars, push, process-wide state.

mod expose;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kenning_model::MetricKind;

pub use expose::{metric_batch, text};

/// Most label combinations of one family.
pub const POINTS_MAX: usize = 4096;

/// The value that stands for all label combinations beyond [`POINTS_MAX`].
pub const OTHER: &str = "other";

/// Upper bounds in seconds for durations from a fifth of a millisecond to ten seconds.
pub const SECONDS: &[f64] =
    &[0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Upper bounds for sizes in bytes from 1 KiB to 64 MiB.
pub const BYTES: &[f64] =
    &[1024.0, 4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0, 67_108_864.0];

/// Upper bounds for counts of things handled together.
pub const COUNTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// What is said about a metric where it is declared.
#[derive(Clone, Copy, Debug)]
pub struct Declaration {
    /// Full name, unit and `_total` included: `kenning_<area>_<noun>_<unit>[_total]`.
    pub name: &'static str,
    /// One sentence without trailing stop.
    pub help: &'static str,
    /// OpenMetrics unit; empty when it counts things.
    pub unit: &'static str,
}

/// The labels of a family, typed. `()` has none.
pub trait Labels: Clone + Eq + Hash + Send + Sync + 'static {
    /// Names in order.
    const NAMES: &'static [&'static str];
    /// Values in the order of the names.
    fn values(&self) -> Vec<String>;
}

impl Labels for () {
    const NAMES: &'static [&'static str] = &[];
    fn values(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// What was added so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Goes up and down, at or above zero.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Sets the value.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Takes `n` away; stops at zero.
    pub fn sub(&self, n: u64) {
        let lowered = |value: u64| Some(value.saturating_sub(n));
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, lowered);
    }

    /// The value now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts observations per bucket.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One per bound and one beyond the last; not cumulative.
    counts: Box<[AtomicU64]>,
    /// Bits of the sum as a double.
    sum: AtomicU64,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum: AtomicU64::new(0f64.to_bits()) }
    }

    /// Counts one observation.
    pub fn observe(&self, value: f64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let added = |bits: u64| Some((f64::from_bits(bits) + value).to_bits());
        let _ = self.sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, added);
    }

    /// Counts a duration in seconds.
    pub fn observe_duration(&self, duration: Duration) {
        self.observe(duration.as_secs_f64());
    }

    fn read(&self) -> PointValue {
        let mut counts: Vec<u64> = self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let mut total = 0;
        for count in &mut counts {
            total += *count;
            *count = total;
        }
        PointValue::Histogram {
            bounds: Cow::Borrowed(self.bounds),
            cumulative: counts,
            sum: f64::from_bits(self.sum.load(Ordering::Relaxed)),
        }
    }
}

/// One metric under all combinations of its labels.
pub struct Metric<L, M> {
    declaration: Declaration,
    make: Box<dyn Fn() -> M + Send + Sync>,
    points: Mutex<HashMap<L, Arc<M>>>,
    other: Arc<M>,
}

impl<L: Labels, M> Metric<L, M> {
    fn new(declaration: Declaration, make: impl Fn() -> M + Send + Sync + 'static) -> Self {
        let other = Arc::new(make());
        Self { declaration, make: Box::new(make), points: Mutex::default(), other }
    }

    /// The instrument of these labels. Keep it where the labels are used often: this looks it up under a lock.
    pub fn with(&self, labels: &L) -> Arc<M> {
        let mut points = lock(&self.points);
        if let Some(found) = points.get(labels) {
            return found.clone();
        }
        if points.len() >= POINTS_MAX {
            return self.other.clone();
        }
        let made = Arc::new((self.make)());
        points.insert(labels.clone(), made.clone());
        made
    }
}

impl<L, M> fmt::Debug for Metric<L, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metric").field("name", &self.declaration.name).finish_non_exhaustive()
    }
}

/// What every family can tell.
trait Collect: Send + Sync {
    fn collect(&self) -> Family;
}

/// Reads one kind of instrument.
trait Instrument: Send + Sync {
    const KIND: MetricKind;
    fn value(&self) -> PointValue;
    fn is_untouched(&self) -> bool;
}

impl Instrument for Counter {
    const KIND: MetricKind = MetricKind::Counter;
    fn value(&self) -> PointValue {
        PointValue::Number(self.get() as f64)
    }
    fn is_untouched(&self) -> bool {
        self.get() == 0
    }
}

impl Instrument for Gauge {
    const KIND: MetricKind = MetricKind::Gauge;
    fn value(&self) -> PointValue {
        PointValue::Number(self.get() as f64)
    }
    fn is_untouched(&self) -> bool {
        self.get() == 0
    }
}

impl Instrument for Histogram {
    const KIND: MetricKind = MetricKind::Histogram;
    fn value(&self) -> PointValue {
        self.read()
    }
    fn is_untouched(&self) -> bool {
        self.counts.iter().all(|count| count.load(Ordering::Relaxed) == 0)
    }
}

impl<L: Labels, M: Instrument> Collect for Metric<L, M> {
    fn collect(&self) -> Family {
        let named =
            |values: Vec<String>| L::NAMES.iter().map(|name| Cow::Borrowed(*name)).zip(values).collect();
        let mut points: Vec<Point> = lock(&self.points)
            .iter()
            .map(|(labels, one)| Point { labels: named(labels.values()), value: one.value() })
            .collect();
        if !self.other.is_untouched() {
            let others = vec![OTHER.to_owned(); L::NAMES.len()];
            points.push(Point { labels: named(others), value: self.other.value() });
        }
        points.sort_by(|a, b| a.labels.cmp(&b.labels));
        let Declaration { name, help, unit } = self.declaration;
        Family { name: name.into(), help: help.into(), unit, kind: M::KIND, points }
    }
}

/// One metric as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Full name.
    pub name: Cow<'static, str>,
    /// One sentence.
    pub help: Cow<'static, str>,
    /// Unit, or empty.
    pub unit: &'static str,
    /// Its type.
    pub kind: MetricKind,
    /// Values by label combination, in label order.
    pub points: Vec<Point>,
}

/// One label combination's value.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Names and values.
    pub labels: Vec<(Cow<'static, str>, String)>,
    /// The value.
    pub value: PointValue,
}

/// A value of a counter, gauge or histogram.
#[derive(Clone, Debug, PartialEq)]
pub enum PointValue {
    /// Of a counter or gauge.
    Number(f64),
    /// Of a histogram.
    Histogram {
        /// Upper bounds, included, without the infinite one.
        bounds: Cow<'static, [f64]>,
        /// Observations at or below each bound; the last is the count of all.
        cumulative: Vec<u64>,
        /// Sum of all observations.
        sum: f64,
    },
}

/// Where metrics are declared and read. Cloning shares it.
#[derive(Clone, Default)]
pub struct Registry {
    families: Arc<Mutex<Vec<Arc<dyn Collect>>>>,
}

impl Registry {
    /// A registry without metrics.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares a counter.
    pub fn counter<L: Labels>(&self, declaration: Declaration) -> Arc<Metric<L, Counter>> {
        self.declare(Metric::new(declaration, Counter::default))
    }

    /// Declares a gauge.
    pub fn gauge<L: Labels>(&self, declaration: Declaration) -> Arc<Metric<L, Gauge>> {
        self.declare(Metric::new(declaration, Gauge::default))
    }

    /// Declares a histogram with upper bounds in ascending order.
    pub fn histogram<L: Labels>(
        &self,
        declaration: Declaration,
        bounds: &'static [f64],
    ) -> Arc<Metric<L, Histogram>> {
        self.declare(Metric::new(declaration, move || Histogram::new(bounds)))
    }

    /// Every family in the order of names.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Family> {
        let families = lock(&self.families).clone();
        let mut read: Vec<Family> = families.iter().map(|family| family.collect()).collect();
        read.sort_by(|a, b| a.name.cmp(&b.name));
        read
    }

    fn declare<L: Labels, M: Instrument + 'static>(&self, metric: Metric<L, M>) -> Arc<Metric<L, M>> {
        let metric = Arc::new(metric);
        lock(&self.families).push(metric.clone());
        metric
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("families", &lock(&self.families).len()).finish()
    }
}

// Every critical section leaves the state whole, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
