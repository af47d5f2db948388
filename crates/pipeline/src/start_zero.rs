//! Samples of zero where counters began, so that `rate` and `increase` see the first increment. Definition: Prometheus's
//! feature `created-timestamp-zero-ingestion`.
//!
//! A sample or native histogram that says since when it counts gets a zero of its series in front of it, stamped with that
//! time, when that lies before the sample and behind everything that the series has. As in Prometheus, a start more
//! than [`REACH`] before its sample stays without one: it would change data that is settled.
//!
//! Promises: zeros do not count as stored to whoever sent the batch; the same zero offered twice is stored once; a refused batch can be offered again and gets its zeros then. Series are followed in bounded
//! memory, all tenants together ([`SERIES_BYTES`] each); beyond it new ones go without and are counted. Lacking: memory across restarts, so a
//! counter that began within the last hour gets its zero once more, which changes nothing when it is there already.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kenning_model::{
    CounterReset, Histogram, HistogramSample, LabelSet, MetricBatch, Millis, Sample, TenantId, UNKNOWN_START,
    start_at,
};

use crate::stats::Stats;

/// How long before its sample a start may lie. Definition: Prometheus's head takes samples back to half of its
/// block's two hours.
pub const REACH: Duration = Duration::from_secs(3600);
/// What a series that is followed costs: an entry of two hash tables that may just have grown.
pub const SERIES_BYTES: usize = 80;

/// The latest stamp of each series that tells starts.
#[derive(Debug)]
pub(crate) struct StartZeros {
    known: Mutex<Known>,
    /// Series that are followed in each of the last two spans of [`REACH`].
    series_max: usize,
}

/// Two generations: a series that was silent for longer than [`REACH`] has nothing behind a start that still counts.
#[derive(Debug, Default)]
struct Known {
    current: HashMap<u64, Millis>,
    previous: HashMap<u64, Millis>,
    rotate_at: Duration,
}

/// The series whose zeros were put into a batch.
pub(crate) type Put = Vec<u64>;

/// Zeros to be put in front of items, by the items' places.
#[derive(Default)]
struct Wanted {
    samples: Vec<usize>,
    histograms: Vec<usize>,
    put: Put,
    no_room: u64,
}

impl StartZeros {
    /// Follows as many series as fit into `bytes`.
    pub fn new(bytes: usize) -> Self {
        Self { known: Mutex::default(), series_max: bytes / SERIES_BYTES }
    }

    /// Puts the zeros into a batch. `in_window` says whether a stamp may be stored.
    pub fn put(
        &self,
        tenant: &TenantId,
        batch: &mut MetricBatch,
        steady: Duration,
        in_window: impl Fn(Millis) -> bool,
        stats: &Stats,
    ) -> Put {
        if batch.starts.is_empty() && batch.histogram_starts.is_empty() {
            return Put::new();
        }
        let wanted = self.wanted(tenant, batch, steady, in_window);
        stats.start_zeros.add(wanted.put.len() as u64);
        stats.start_zeros_without_room.add(wanted.no_room);
        if !wanted.samples.is_empty() {
            put_samples(batch, &wanted.samples);
        }
        if !wanted.histograms.is_empty() {
            put_histograms(batch, &wanted.histograms);
        }
        wanted.put
    }

    /// The batch was not stored: its series get their zeros another time.
    pub fn take_back(&self, put: &Put) {
        if put.is_empty() {
            return;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for key in put {
            known.current.remove(key);
            known.previous.remove(key);
        }
    }

    fn wanted(
        &self,
        tenant: &TenantId,
        batch: &MetricBatch,
        steady: Duration,
        in_window: impl Fn(Millis) -> bool,
    ) -> Wanted {
        let tenant = hash_of(tenant);
        let key_of = |series: u32| {
            let labels: Option<&LabelSet> = batch.series.get(series as usize);
            labels.map(|labels| labels.keyed_hash() ^ tenant)
        };
        let mut wanted = Wanted::default();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.rotate(steady);
        let mut judge = |series: u32, time: Millis, start: Millis, is_stale: bool| {
            if start == UNKNOWN_START || is_stale {
                return false;
            }
            let Some(key) = key_of(series) else { return false };
            let last = known.last(key);
            let followed = known.note(key, last.map_or(time, |last| last.max(time)), self.series_max);
            let near = start < time && time.0.saturating_sub(start.0) <= REACH.as_millis() as i64;
            if !near || last.is_some_and(|last| start <= last) || !in_window(start) {
                return false;
            }
            if !followed {
                wanted.no_room += 1;
                return false;
            }
            wanted.put.push(key);
            true
        };
        for (at, sample) in batch.samples.iter().enumerate().take(batch.starts.len()) {
            let is_stale = sample.value.to_bits() == STALE_BITS;
            if judge(sample.series, sample.time, start_at(&batch.starts, at), is_stale) {
                wanted.samples.push(at);
            }
        }
        for (at, sample) in batch.histograms.iter().enumerate().take(batch.histogram_starts.len()) {
            let is_stale = sample.histogram.sum.to_bits() == STALE_BITS;
            if judge(sample.series, sample.time, start_at(&batch.histogram_starts, at), is_stale) {
                wanted.histograms.push(at);
            }
        }
        wanted
    }
}

/// Prometheus's mark of a series that ended.
const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;

fn hash_of(tenant: &TenantId) -> u64 {
    let mut hasher = DefaultHasher::new();
    tenant.as_str().hash(&mut hasher);
    hasher.finish()
}

impl Known {
    fn last(&mut self, key: u64) -> Option<Millis> {
        self.current.get(&key).or_else(|| self.previous.get(&key)).copied()
    }

    /// Notes the latest stamp; false when there is no room for one more series.
    fn note(&mut self, key: u64, last: Millis, series_max: usize) -> bool {
        if self.current.len() >= series_max && !self.current.contains_key(&key) {
            return false;
        }
        self.current.insert(key, last);
        true
    }

    fn rotate(&mut self, now: Duration) {
        if now < self.rotate_at {
            return;
        }
        let silent_for_two = now >= self.rotate_at + REACH;
        self.previous = std::mem::take(&mut self.current);
        if silent_for_two {
            self.previous = HashMap::new();
        }
        self.rotate_at = now + REACH;
    }
}

fn put_samples(batch: &mut MetricBatch, places: &[usize]) {
    let (samples, starts) = (std::mem::take(&mut batch.samples), std::mem::take(&mut batch.starts));
    batch.samples.reserve(samples.len() + places.len());
    let mut places = places.iter().copied().peekable();
    for (at, sample) in samples.into_iter().enumerate() {
        let start = start_at(&starts, at);
        if places.next_if_eq(&at).is_some() {
            batch.push_sample(Sample { time: start, value: 0.0, ..sample }, UNKNOWN_START);
        }
        batch.push_sample(sample, start);
    }
}

fn put_histograms(batch: &mut MetricBatch, places: &[usize]) {
    let histograms = std::mem::take(&mut batch.histograms);
    let starts = std::mem::take(&mut batch.histogram_starts);
    batch.histograms.reserve(histograms.len() + places.len());
    let mut places = places.iter().copied().peekable();
    for (at, sample) in histograms.into_iter().enumerate() {
        let start = start_at(&starts, at);
        if places.next_if_eq(&at).is_some() {
            let histogram = zero_of(&sample.histogram);
            let zero = HistogramSample { series: sample.series, time: start, histogram };
            batch.push_histogram(zero, UNKNOWN_START);
        }
        batch.push_histogram(sample, start);
    }
}

/// An empty histogram of the same layout: where a count begins is a reset by definition.
fn zero_of(histogram: &Histogram) -> Histogram {
    Histogram {
        reset: CounterReset::Yes,
        schema: histogram.schema,
        zero_threshold: histogram.zero_threshold,
        custom_bounds: histogram.custom_bounds.clone(),
        ..Histogram::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Registry;
    use kenning_model::METRIC_NAME;

    const HOUR: i64 = 3_600_000;

    /// A series by its letter, the start in milliseconds, the stamp.
    type Item = (char, i64, i64);

    fn batch_of(items: &[Item]) -> MetricBatch {
        let mut batch = MetricBatch::default();
        for (name, start, time) in items {
            let series = batch.add_series(LabelSet::from_pairs([(METRIC_NAME, name.to_string())]));
            batch.push_sample(Sample { series, time: Millis(*time), value: 5.0 }, Millis(*start));
        }
        batch
    }

    fn shown(batch: &MetricBatch) -> Vec<String> {
        let line = |(at, sample): (usize, &Sample)| {
            let name = batch.series[sample.series as usize].metric_name();
            format!("{name} {}@{} {}", sample.value, sample.time.0, start_at(&batch.starts, at).0)
        };
        batch.samples.iter().enumerate().map(line).collect()
    }

    fn put(zeros: &StartZeros, batch: &mut MetricBatch, seconds: u64) -> Put {
        let stats = Stats::new(&Registry::default());
        let in_window = |time: Millis| time.0 > 1;
        zeros.put(&TenantId::default_tenant(), batch, Duration::from_secs(seconds), in_window, &stats)
    }

    /// Offers batches one after the other, a minute apart, and lists what they hold then.
    #[track_caller]
    fn check(batches: &[&[Item]], expect: &[&[&str]]) {
        let zeros = StartZeros::new(8 * SERIES_BYTES);
        for (n, (items, expect)) in batches.iter().zip(expect).enumerate() {
            let mut batch = batch_of(items);
            put(&zeros, &mut batch, n as u64 * 60);
            assert_eq!(shown(&batch), *expect, "batch {n} of {batches:?}");
        }
    }

    #[test]
    fn a_start_before_its_sample_and_behind_the_last_one_is_a_zero() {
        check(
            &[&[('a', 40, 100)], &[('a', 40, 200)], &[('a', 250, 300)], &[('a', 0, 400)]],
            &[&["a 0@40 0", "a 5@100 40"], &["a 5@200 40"], &["a 0@250 0", "a 5@300 250"], &["a 5@400 0"]],
        );
        check(
            &[&[('a', 100, 100), ('b', 101, 100), ('c', 99, 100)]],
            &[&["a 5@100 100", "b 5@100 101", "c 0@99 0", "c 5@100 99"]],
        );
        // One stamp of the series lies at the start already.
        check(
            &[&[('a', 0, 50), ('a', 0, 40)], &[('a', 45, 60)]],
            &[&["a 5@50 0", "a 5@40 0"], &["a 0@45 0", "a 5@60 45"]],
        );
        check(&[&[('a', 10, 50)], &[('a', 50, 60)]], &[&["a 0@10 0", "a 5@50 10"], &["a 5@60 50"]]);
    }

    #[test]
    fn starts_that_lie_far_back_or_out_of_the_window_stay_without() {
        check(&[&[('a', 9, HOUR + 9)]], &[&["a 0@9 0", "a 5@3600009 9"]]);
        check(&[&[('a', 9, HOUR + 10)]], &[&["a 5@3600010 9"]]);
        check(&[&[('a', 1, 5)]], &[&["a 5@5 1"]]);
    }

    #[test]
    fn several_samples_of_one_batch_share_a_zero() {
        let mut batch = batch_of(&[('a', 10, 20)]);
        for (time, start) in [(30, 10), (50, 40), (45, 10)] {
            batch.push_sample(Sample { series: 0, time: Millis(time), value: 1.0 }, Millis(start));
        }
        put(&StartZeros::new(8 * SERIES_BYTES), &mut batch, 0);
        assert_eq!(
            shown(&batch),
            ["a 0@10 0", "a 5@20 10", "a 1@30 10", "a 0@40 0", "a 1@50 40", "a 1@45 10"]
        );
    }

    #[test]
    fn a_refused_batch_gets_its_zeros_again() {
        let zeros = StartZeros::new(8 * SERIES_BYTES);
        let items: &[Item] = &[('a', 40, 100), ('b', 0, 100)];
        let taken = put(&zeros, &mut batch_of(items), 0);
        zeros.take_back(&taken);
        let mut again = batch_of(items);
        put(&zeros, &mut again, 1);
        assert_eq!(shown(&again), ["a 0@40 0", "a 5@100 40", "b 5@100 0"]);
    }

    #[test]
    fn the_silent_are_forgotten_and_what_has_ended_begins_nothing() {
        let zeros = StartZeros::new(8 * SERIES_BYTES);
        put(&zeros, &mut batch_of(&[('a', 40, 100)]), 0);
        assert_eq!(put(&zeros, &mut batch_of(&[('a', 40, 200)]), 3601).len(), 0, "one generation back");
        assert_eq!(put(&zeros, &mut batch_of(&[('a', 40, 200)]), 4 * 3600).len(), 1);
        let mut stale = batch_of(&[('z', 40, 100)]);
        stale.samples[0].value = f64::from_bits(STALE_BITS);
        assert_eq!(put(&zeros, &mut stale, 0).len(), 0);
    }

    #[test]
    fn series_beyond_the_memory_go_without() {
        let zeros = StartZeros::new(SERIES_BYTES);
        let stats = Stats::new(&Registry::default());
        let mut batch = batch_of(&[('a', 40, 100), ('b', 40, 100)]);
        zeros.put(&TenantId::default_tenant(), &mut batch, Duration::ZERO, |_| true, &stats);
        assert_eq!(shown(&batch), ["a 0@40 0", "a 5@100 40", "b 5@100 40"]);
        assert_eq!((stats.start_zeros.get(), stats.start_zeros_without_room.get()), (1, 1));
    }

    #[test]
    fn histograms_begin_with_an_empty_one_of_their_layout() {
        let mut batch = MetricBatch::default();
        let series = batch.add_series(LabelSet::from_pairs([(METRIC_NAME, "h")]));
        let histogram = Histogram {
            schema: Histogram::CUSTOM_BUCKETS,
            count: 3.0,
            positive: vec![3.0],
            custom_bounds: vec![1.0, 2.0],
            ..Histogram::default()
        };
        batch.push_histogram(HistogramSample { series, time: Millis(100), histogram }, Millis(40));
        put(&StartZeros::new(8 * SERIES_BYTES), &mut batch, 0);
        let zero = &batch.histograms[0];
        assert_eq!(
            (batch.histograms.len(), zero.time, batch.histogram_starts[1]),
            (2, Millis(40), Millis(40))
        );
        assert_eq!((zero.histogram.reset, zero.histogram.count), (CounterReset::Yes, 0.0));
        assert_eq!(zero.histogram.custom_bounds, [1.0, 2.0]);
    }
}
