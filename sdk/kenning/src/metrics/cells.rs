//! The numbers behind a label set, split over threads so that concurrent updates do not share a cache line.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Instant;

use crate::ids::{SpanId, TraceId};
use crate::sync::thread_number;

use super::registry::count_cardinality_drop;

/// Words in two cache lines: adjacent lines are fetched together on x86.
const LINE_WORDS: usize = 16;
const SHARDS_MAX: usize = 16;

/// A run of words that starts on its own pair of cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Line([AtomicU64; LINE_WORDS]);

/// How many ways an updated value is split: a power of two, not above the machine's threads by much.
fn shards() -> usize {
    static SHARDS: OnceLock<usize> = OnceLock::new();
    *SHARDS.get_or_init(|| {
        let threads = std::thread::available_parallelism().map_or(4, std::num::NonZero::get);
        threads.next_power_of_two().min(SHARDS_MAX)
    })
}

/// `words` numbers per shard.
#[derive(Debug)]
struct Sharded {
    lines: Box<[Line]>,
    lines_per_shard: usize,
    shards: usize,
}

impl Sharded {
    fn new(words: usize) -> Self {
        let (shards, lines_per_shard) = (shards(), words.div_ceil(LINE_WORDS).max(1));
        let lines = (0..shards * lines_per_shard).map(|_| Line::default()).collect();
        Self { lines, lines_per_shard, shards }
    }

    fn word(&self, shard: usize, word: usize) -> Option<&AtomicU64> {
        let line = self.lines.get(shard * self.lines_per_shard + word / LINE_WORDS)?;
        line.0.get(word % LINE_WORDS)
    }

    /// This thread's number at `word`.
    fn mine(&self, word: usize) -> Option<&AtomicU64> {
        self.word(thread_number() & (self.shards - 1), word)
    }

    fn add(&self, word: usize, amount: u64) {
        if let Some(cell) = self.mine(word) {
            cell.fetch_add(amount, Ordering::Relaxed);
        }
    }

    fn add_f64(&self, word: usize, amount: f64) {
        if let Some(cell) = self.mine(word) {
            add_f64(cell, amount);
        }
    }

    fn sum(&self, word: usize) -> u64 {
        let cells = (0..self.shards).filter_map(|shard| self.word(shard, word));
        cells.fold(0, |sum, cell| sum.wrapping_add(cell.load(Ordering::Relaxed)))
    }

    fn sum_f64(&self, word: usize) -> f64 {
        let cells = (0..self.shards).filter_map(|shard| self.word(shard, word));
        cells.map(|cell| f64::from_bits(cell.load(Ordering::Relaxed))).sum()
    }
}

fn add_f64(cell: &AtomicU64, amount: f64) {
    let add = |bits: u64| Some((f64::from_bits(bits) + amount).to_bits());
    // The closure never declines, so this never fails.
    let _ = cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
}

/// The numbers of one label set.
#[derive(Debug)]
pub(crate) enum Cells {
    Counter(CounterCells),
    Gauge(AtomicU64),
    Histogram(HistogramCells),
}

#[derive(Debug)]
pub(crate) struct CounterCells(Sharded);

#[derive(Debug)]
pub(crate) struct HistogramCells {
    bounds: &'static [f64],
    /// One count per bucket, `+Inf` included, then the sum.
    numbers: Sharded,
    /// The last exemplar per bucket.
    exemplars: Box<[Mutex<Option<Exemplar>>]>,
}

/// An observation that can be looked up as a trace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Exemplar {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    pub(crate) value: f64,
    pub(crate) unix_nanos: u64,
}

/// A bucket's exemplar is replaced at most this often, which keeps its lock and the clock off the hot path.
const EXEMPLAR_INTERVAL_NANOS: u64 = 250_000_000;

/// A label set's value at one moment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reading {
    Counter(u64),
    Gauge(f64),
    Histogram { bounds: &'static [f64], counts: Vec<u64>, sum: f64, exemplars: Vec<Option<Exemplar>> },
}

impl Cells {
    pub(crate) fn counter() -> Self {
        Cells::Counter(CounterCells(Sharded::new(1)))
    }

    pub(crate) fn gauge() -> Self {
        Cells::Gauge(AtomicU64::new(0_f64.to_bits()))
    }

    pub(crate) fn histogram(bounds: &'static [f64]) -> Self {
        let buckets = bounds.len() + 1;
        Cells::Histogram(HistogramCells {
            bounds,
            numbers: Sharded::new(buckets + 1),
            exemplars: (0..buckets).map(|_| Mutex::new(None)).collect(),
        })
    }

    pub(crate) fn read(&self) -> Reading {
        match self {
            Cells::Counter(counter) => Reading::Counter(counter.0.sum(0)),
            Cells::Gauge(value) => Reading::Gauge(f64::from_bits(value.load(Ordering::Relaxed))),
            Cells::Histogram(histogram) => histogram.read(),
        }
    }
}

impl HistogramCells {
    fn observe(&self, value: f64) {
        // NaN belongs to no bucket but +Inf, and makes the sum NaN: visible instead of silently wrong.
        let bucket = self.bounds.iter().position(|bound| value <= *bound).unwrap_or(self.bounds.len());
        self.numbers.add(bucket, 1);
        self.numbers.add_f64(self.bounds.len() + 1, value);
        if let Some((trace_id, span_id, true)) = crate::propagation::current_ids() {
            self.keep_exemplar(bucket, trace_id, span_id, value);
        }
    }

    /// Never waits: when another thread holds the bucket's exemplar, that one is as good.
    fn keep_exemplar(&self, bucket: usize, trace_id: TraceId, span_id: SpanId, value: f64) {
        let Some(slot) = self.exemplars.get(bucket) else { return };
        let Ok(mut slot) = slot.try_lock() else { return };
        let unix_nanos = crate::clock::Clock::system().unix_nanos();
        let recent = |known: &Exemplar| unix_nanos.saturating_sub(known.unix_nanos) < EXEMPLAR_INTERVAL_NANOS;
        if !slot.as_ref().is_some_and(recent) {
            *slot = Some(Exemplar { trace_id, span_id, value, unix_nanos });
        }
    }

    fn read(&self) -> Reading {
        let buckets = self.bounds.len() + 1;
        Reading::Histogram {
            bounds: self.bounds,
            counts: (0..buckets).map(|bucket| self.numbers.sum(bucket)).collect(),
            sum: self.numbers.sum_f64(buckets),
            exemplars: self.exemplars.iter().map(|slot| *crate::sync::lock(slot)).collect(),
        }
    }
}

/// Counter of one label set; cheap to copy and keep.
#[derive(Debug, Clone, Copy)]
pub struct CounterHandle(Option<&'static CounterCells>);

/// Gauge of one label set; cheap to copy and keep.
#[derive(Debug, Clone, Copy)]
pub struct GaugeHandle(Option<&'static AtomicU64>);

/// Histogram of one label set; cheap to copy and keep.
#[derive(Debug, Clone, Copy)]
pub struct HistogramHandle(Option<&'static HistogramCells>);

impl CounterHandle {
    pub(crate) fn new(cells: Option<&'static Cells>) -> Self {
        Self(cells.and_then(|cells| if let Cells::Counter(counter) = cells { Some(counter) } else { None }))
    }

    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `amount`.
    pub fn add(&self, amount: u64) {
        match self.0 {
            Some(cells) => cells.0.add(0, amount),
            None => count_cardinality_drop(),
        }
    }
}

impl GaugeHandle {
    pub(crate) fn new(cells: Option<&'static Cells>) -> Self {
        Self(cells.and_then(|cells| if let Cells::Gauge(gauge) = cells { Some(gauge) } else { None }))
    }

    /// Sets the value.
    pub fn set(&self, value: f64) {
        match self.0 {
            Some(cell) => cell.store(value.to_bits(), Ordering::Relaxed),
            None => count_cardinality_drop(),
        }
    }

    /// Adds `amount`, which may be negative.
    pub fn add(&self, amount: f64) {
        match self.0 {
            Some(cell) => add_f64(cell, amount),
            None => count_cardinality_drop(),
        }
    }

    /// Adds one.
    pub fn inc(&self) {
        self.add(1.0);
    }

    /// Subtracts one.
    pub fn dec(&self) {
        self.add(-1.0);
    }
}

impl HistogramHandle {
    pub(crate) fn new(cells: Option<&'static Cells>) -> Self {
        Self(
            cells.and_then(
                |cells| if let Cells::Histogram(histogram) = cells { Some(histogram) } else { None },
            ),
        )
    }

    /// Counts one observation.
    pub fn observe(&self, value: f64) {
        match self.0 {
            Some(cells) => cells.observe(value),
            None => count_cardinality_drop(),
        }
    }

    /// Observes the seconds until the returned timer is dropped.
    pub fn start_timer(&self) -> HistogramTimer {
        HistogramTimer { handle: *self, start: super::now() }
    }
}

/// Observes the seconds it lived, when dropped.
#[derive(Debug)]
pub struct HistogramTimer {
    handle: HistogramHandle,
    start: Instant,
}

impl Drop for HistogramTimer {
    fn drop(&mut self) {
        self.handle.observe(self.start.elapsed().as_secs_f64());
    }
}
