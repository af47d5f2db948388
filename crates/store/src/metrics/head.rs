//! Recent samples in memory, one compact chunk per series.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use kenning_codec::chunk::Chunk;
use kenning_model::keyed::Prehashed;
use kenning_model::{
    Filter, Histogram, HistogramSample, LabelSet, METRIC_NAME, MetricBatch, Millis, Nanos, Sample, TimeRange,
};

use super::recent::{RecentExemplars, RecentMetadata};
use super::samples::millis_in;
use crate::scan::prune::{SeriesFilter, required_metrics};

/// Bytes that a series costs beside its labels and samples: the series itself, its entries in the maps (a hash table is
/// half to seven eighths full), and what the allocator adds to its texts and its chunk. `tests/memory.rs` holds it
/// against resident memory.
const SERIES_BYTES: usize = size_of::<Series>() + 96;

/// The number of no series: rows that bear it are passed over.
pub(crate) const ABSENT: u32 = u32::MAX;

/// The epoch of the log that no series is defined in.
const UNLOGGED: u32 = 0;

/// One series and its samples in the order of arrival.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) labels: LabelSet,
    pub(crate) floats: Chunk,
    /// Few series have any.
    histograms: Option<Box<HistogramList>>,
}

/// Histograms in the order of arrival.
#[derive(Debug, Default)]
struct HistogramList {
    list: Vec<(Millis, Histogram)>,
}

impl Series {
    fn histograms(&self) -> &[(Millis, Histogram)] {
        self.histograms.as_ref().map_or(&[], |histograms| &histograms.list)
    }

    /// False when no sample can lie in the range.
    pub(crate) fn may_overlap(&self, range: TimeRange) -> bool {
        self.floats.may_have_any_in(millis_in(range)) || self.histograms_in(range).next().is_some()
    }

    /// True when a sample lies in the range.
    pub(crate) fn has_rows(&self, range: TimeRange) -> bool {
        self.floats.has_any_in(millis_in(range)) || self.histograms_in(range).next().is_some()
    }

    /// The float samples in a range, in order of arrival.
    pub(crate) fn floats_in(&self, range: TimeRange) -> impl Iterator<Item = (Millis, f64)> {
        self.floats.iter_in(millis_in(range)).map(|(time, value)| (Millis(time), value))
    }

    /// The histograms in a range, in order of arrival.
    pub(crate) fn histograms_in(&self, range: TimeRange) -> impl Iterator<Item = &(Millis, Histogram)> {
        self.histograms().iter().filter(move |(time, _)| range.contains(time.to_nanos()))
    }
}

/// The series of some metrics in label order, as far as scans have asked for them and until others came. Putting two
/// hundred thousand label sets in order takes longer than reading their samples, and most of the time none is new.
#[derive(Debug, Default)]
pub(crate) struct LabelOrder(Mutex<HashMap<Box<str>, Arc<[u32]>>>);

impl LabelOrder {
    /// Numbers of the first series of a metric, in label order.
    fn of(&self, metric: &str) -> Arc<[u32]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(metric).cloned().unwrap_or_default()
    }

    /// Keeps the order of the first series of a metric for later scans.
    pub(crate) fn keep(&self, metric: Box<str>, order: Arc<[u32]>) {
        let mut orders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = orders.entry(metric).or_default();
        if known.len() < order.len() {
            *known = order;
        }
    }
}

/// The series of a metric that a scan looks at.
pub(crate) struct MetricSeries<'a> {
    pub(crate) metric: &'a str,
    /// Those whose order is known, in label order; the oldest ones.
    ordered: Arc<[u32]>,
    /// All of them, in order of arrival.
    all: &'a [u32],
}

impl MetricSeries<'_> {
    /// The numbers of all series, those whose order is known first.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u32> {
        self.ordered.iter().chain(self.all.get(self.ordered.len()..).unwrap_or_default()).copied()
    }

    /// True when [`Self::numbers`] are in label order.
    pub(crate) fn is_ordered(&self) -> bool {
        self.ordered.len() == self.all.len()
    }
}

/// What went for newer items of its kind.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Dropped {
    pub(crate) exemplars: u64,
    pub(crate) metadata: u64,
}

impl Dropped {
    pub(crate) fn add(&mut self, other: Self) {
        self.exemplars += other.exemplars;
        self.metadata += other.metadata;
    }
}

/// The recent metrics of one tenant.
#[derive(Debug, Default)]
pub(crate) struct MetricHead {
    series: Vec<Series>,
    /// The epoch of the log that each series was defined in last.
    logged: Vec<u32>,
    ids: HashMap<LabelSet, u32, Prehashed>,
    /// Series by metric, so that a selector with a name looks at few.
    by_metric: HashMap<Box<str>, Vec<u32>>,
    order: Arc<LabelOrder>,
    /// Some label set does not begin with the metric's name: the order of metrics is not that of their series.
    is_odd: bool,
    exemplars: RecentExemplars,
    metadata: RecentMetadata,
    samples: u64,
    conflicts: u64,
    bytes: usize,
    /// Of these, what series cost that have no samples yet.
    series_bytes: usize,
}

impl MetricHead {
    /// The numbers of these series, new ones included; they hold as long as the head. A series without rows is in no
    /// answer.
    pub(crate) fn resolve(&mut self, sets: &[LabelSet]) -> Vec<u32> {
        // Senders repeat the order of their series: the one after the last is tried before anything is looked up.
        let mut expected = 0;
        let number = |set: &LabelSet| {
            let known = self.series.get(expected as usize).is_some_and(|series| series.labels == *set);
            let number = if known { expected } else { self.series_id(set) };
            expected = number + 1;
            number
        };
        sets.iter().map(number).collect()
    }

    /// Marks series as defined in an epoch of the log; gives the positions of those that were not.
    pub(crate) fn define(&mut self, numbers: &[u32], epoch: u32) -> Vec<u32> {
        let mut fresh = Vec::new();
        for (at, number) in (0..).zip(numbers) {
            if let Some(logged) = self.logged.get_mut(*number as usize).filter(|logged| **logged != epoch) {
                *logged = epoch;
                fresh.push(at);
            }
        }
        fresh
    }

    /// Takes the rows of a batch whose series have these numbers.
    pub(crate) fn add(&mut self, batch: &MetricBatch, numbers: &[u32]) {
        let number_of = |index: u32| numbers.get(index as usize).copied().unwrap_or(ABSENT);
        for sample in &batch.samples {
            self.add_float(number_of(sample.series), sample);
        }
        for sample in &batch.histograms {
            self.add_histogram(number_of(sample.series), sample);
        }
        for exemplar in &batch.exemplars {
            if let Some(series) = self.series.get(number_of(exemplar.series) as usize) {
                self.exemplars.push(&series.labels, exemplar);
            }
        }
        batch.metadata.iter().for_each(|metadata| self.metadata.add(metadata));
    }

    fn series_id(&mut self, labels: &LabelSet) -> u32 {
        if let Some(id) = self.ids.get(labels) {
            return *id;
        }
        let id = self.series.len() as u32;
        self.series.push(Series { labels: labels.clone(), floats: Chunk::default(), histograms: None });
        self.logged.push(UNLOGGED);
        self.ids.insert(labels.clone(), id);
        self.is_odd |= labels.iter().next().is_none_or(|(name, _)| name != METRIC_NAME);
        let metric = labels.metric_name();
        match self.by_metric.get_mut(metric) {
            Some(ids) => ids.push(id),
            None => {
                self.by_metric.insert(metric.into(), vec![id]);
            }
        }
        let bytes = SERIES_BYTES + labels.heap_bytes();
        self.bytes += bytes;
        self.series_bytes += bytes;
        id
    }

    /// A repeat of the series' last sample is dropped here; other repeats are found when samples are sorted.
    fn add_float(&mut self, id: u32, sample: &Sample) {
        let Some(series) = self.series.get_mut(id as usize) else { return };
        match series.floats.last() {
            Some((time, value)) if time == sample.time.0 => {
                self.conflicts += u64::from(value.to_bits() != sample.value.to_bits());
            }
            _ => {
                let before = series.floats.heap_bytes();
                series.floats.push(sample.time.0, sample.value);
                // Less than before where a run was finished, which is stored at its length.
                self.bytes = (self.bytes + series.floats.heap_bytes()).saturating_sub(before);
                self.samples += 1;
            }
        }
    }

    fn add_histogram(&mut self, id: u32, sample: &HistogramSample) {
        let Some(series) = self.series.get_mut(id as usize) else { return };
        self.bytes += sample.histogram.heap_bytes() + size_of::<Millis>();
        self.samples += 1;
        series.histograms.get_or_insert_default().list.push((sample.time, sample.histogram.clone()));
    }

    /// The series of every metric that can have some that pass the filter, by name.
    pub(crate) fn metrics(&self, filter: &Filter, split: &SeriesFilter<'_>) -> Vec<MetricSeries<'_>> {
        let passes = |all: &&Vec<u32>| {
            all.first()
                .and_then(|number| self.get(*number))
                .is_some_and(|series| split.passes_name(&series.labels))
        };
        let mut found: Vec<(&str, &Vec<u32>)> = match required_metrics(filter) {
            Some(metrics) => {
                let found = metrics.into_iter().filter_map(|metric| self.by_metric.get_key_value(metric));
                found.map(|(metric, all)| (&**metric, all)).filter(|(_, all)| passes(all)).collect()
            }
            None => {
                let all = self.by_metric.iter().map(|(metric, all)| (&**metric, all));
                all.filter(|(_, all)| passes(all)).collect()
            }
        };
        found.sort_unstable_by_key(|(metric, _)| *metric);
        found.dedup_by_key(|(metric, _)| *metric);
        let series = found.into_iter();
        series.map(|(metric, all)| MetricSeries { metric, ordered: self.order.of(metric), all }).collect()
    }

    /// The series of a number.
    pub(crate) fn get(&self, number: u32) -> Option<&Series> {
        self.series.get(number as usize)
    }

    /// Where the orders of series are kept.
    pub(crate) fn order(&self) -> &Arc<LabelOrder> {
        &self.order
    }

    /// True when the series of metrics by name are in label order if those of each metric are.
    pub(crate) fn orders_by_metric(&self) -> bool {
        !self.is_odd
    }

    /// Every series, in label order.
    pub(crate) fn sorted(&self) -> Vec<&Series> {
        let mut series: Vec<_> = self.series.iter().collect();
        series.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
        series
    }

    pub(crate) fn exemplars(&self) -> &RecentExemplars {
        &self.exemplars
    }

    pub(crate) fn metadata(&self) -> &RecentMetadata {
        &self.metadata
    }

    /// What was dropped because there was too much of it.
    pub(crate) fn dropped(&self) -> Dropped {
        Dropped { exemplars: self.exemplars.dropped(), metadata: self.metadata.dropped() }
    }

    /// From the earliest to the latest time of samples and histograms.
    pub(crate) fn extent(&self) -> Option<TimeRange> {
        let ranges = self.series.iter().flat_map(|series| {
            let floats = series.floats.time_range().map(|(min, max)| (Millis(min), Millis(max)));
            floats.into_iter().chain(series.histograms().iter().map(|(time, _)| (*time, *time)))
        });
        let extent = ranges.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        extent.map(|(min, max)| TimeRange::from_millis(min, max))
    }

    /// The times of all samples and histograms.
    pub(crate) fn times(&self) -> impl Iterator<Item = Nanos> + Clone {
        self.series.iter().flat_map(|series| {
            let floats = series.floats.iter().map(|(time, _)| Millis(time));
            let histograms = series.histograms().iter().map(|(time, _)| *time);
            floats.chain(histograms).map(Millis::to_nanos)
        })
    }

    /// Number of series.
    pub(crate) fn series(&self) -> usize {
        self.series.len()
    }

    /// Samples whose time was taken by another value, as far as known.
    pub(crate) fn conflicts(&self) -> u64 {
        self.conflicts
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.exemplars.bytes() + self.metadata.bytes()
    }

    /// What the series cost without their samples.
    pub(crate) fn series_bytes(&self) -> usize {
        self.series_bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.series.is_empty() && self.exemplars.is_empty() && self.metadata.is_empty()
    }
}
