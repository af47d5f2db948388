//! Metrics: samples of series, and what is known about metrics by name.

use crate::{Histogram, LabelSet, Millis, TimeRange};

/// One float value of one series of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Index into [`MetricBatch::series`].
    pub series: u32,
    /// When.
    pub time: Millis,
    /// The value; every NaN payload is kept, since Prometheus marks staleness with one.
    pub value: f64,
}

/// One native histogram of one series of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramSample {
    /// Index into [`MetricBatch::series`].
    pub series: u32,
    /// When.
    pub time: Millis,
    /// The value.
    pub histogram: Histogram,
}

/// A measurement that stands for others, with labels (such as `trace_id`) that lead to its origin.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    /// Index into [`MetricBatch::series`].
    pub series: u32,
    /// When.
    pub time: Millis,
    /// The measured value.
    pub value: f64,
    /// Where it came from.
    pub labels: LabelSet,
}

/// A metric's type, as Prometheus names them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum MetricKind {
    /// Not told.
    #[default]
    Unknown = 0,
    /// Only grows, but for resets.
    Counter = 1,
    /// Goes up and down.
    Gauge = 2,
    /// Counts per bucket.
    Histogram = 3,
    /// Counts per bucket that may go down.
    GaugeHistogram = 4,
    /// Quantiles computed by the client.
    Summary = 5,
    /// Labels with the value 1.
    Info = 6,
    /// One of several states.
    StateSet = 7,
}

impl MetricKind {
    /// Every kind, at the index of its number.
    pub const ALL: [Self; 8] = [
        Self::Unknown,
        Self::Counter,
        Self::Gauge,
        Self::Histogram,
        Self::GaugeHistogram,
        Self::Summary,
        Self::Info,
        Self::StateSet,
    ];

    /// The word Prometheus uses in its metadata API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::GaugeHistogram => "gaugehistogram",
            Self::Summary => "summary",
            Self::Info => "info",
            Self::StateSet => "stateset",
        }
    }
}

/// What a source says about a metric.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MetricMetadata {
    /// The metric family's name.
    pub metric: String,
    /// Its type.
    pub kind: MetricKind,
    /// Its help text.
    pub help: String,
    /// Its unit, as OpenMetrics writes it; empty when unknown.
    pub unit: String,
}

/// Label sets of a batch that are asked for their size.
const SETS_ASKED: usize = 64;

/// Metrics of one tenant that are made durable together. Each series stands once; samples point at it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricBatch {
    /// The label sets, metric name included.
    pub series: Vec<LabelSet>,
    /// Float samples.
    pub samples: Vec<Sample>,
    /// Native histograms.
    pub histograms: Vec<HistogramSample>,
    /// Exemplars.
    pub exemplars: Vec<Exemplar>,
    /// Metadata by metric.
    pub metadata: Vec<MetricMetadata>,
    /// When the counter behind each of `samples` began to count, by position ([`Self::push_sample`] keeps it in step).
    /// [`UNKNOWN_START`], and a list that ends early, say that nobody told.
    pub starts: Vec<Millis>,
    /// As `starts`, for `histograms`.
    pub histogram_starts: Vec<Millis>,
    /// Points of delta temporality among the samples and histograms. The pipeline makes totals of them before anything
    /// is stored, so that stores never see one.
    pub deltas: Vec<DeltaPoint>,
}

/// A point that says what was counted since the one before, not since the beginning. Definition: OpenTelemetry metrics
/// data model, "Temporality".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeltaPoint {
    /// Since when its amount was counted; [`UNKNOWN_START`] when not told.
    pub start: Millis,
    /// Where its amounts stand.
    pub data: DeltaData,
}

/// The amounts of a [`DeltaPoint`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeltaData {
    /// `count` samples of the batch from `first` on: one of a number, all of a classic histogram.
    Samples {
        /// Index of the first.
        first: u32,
        /// How many.
        count: u32,
    },
    /// The native histogram of the batch at this index.
    Histogram(u32),
}

/// The start time of a counter that nobody told. Zero is what remote write and OTLP send then, and what Prometheus's
/// `start_timestamp()` shows.
pub const UNKNOWN_START: Millis = Millis(0);

/// The start time at a position; unknown beyond the end of the list.
#[must_use]
pub fn start_at(starts: &[Millis], i: usize) -> Millis {
    starts.get(i).copied().unwrap_or(UNKNOWN_START)
}

/// Notes the start time of the item at `position`, the last one. Lists without a known start stay empty.
pub fn push_start(starts: &mut Vec<Millis>, position: usize, start: Millis) {
    if start != UNKNOWN_START {
        starts.resize(position, UNKNOWN_START);
        starts.push(start);
    }
}

/// Keeps the items that pass, and their start times with them.
pub fn retain_with_starts<T>(items: &mut Vec<T>, starts: &mut Vec<Millis>, mut keep: impl FnMut(&T) -> bool) {
    if starts.is_empty() {
        return items.retain(keep);
    }
    let old = std::mem::take(starts);
    let (mut at, mut kept) = (0, 0);
    items.retain(|item| {
        let keeps = keep(item);
        if keeps {
            push_start(starts, kept, start_at(&old, at));
            kept += 1;
        }
        at += 1;
        keeps
    });
}

impl MetricBatch {
    /// Adds a series and gives its index. The caller adds each label set once.
    pub fn add_series(&mut self, labels: LabelSet) -> u32 {
        let index = self.series.len() as u32;
        self.series.push(labels);
        index
    }

    /// Adds a sample with its counter's start time.
    pub fn push_sample(&mut self, sample: Sample, start: Millis) {
        push_start(&mut self.starts, self.samples.len(), start);
        self.samples.push(sample);
    }

    /// Adds a histogram with its counter's start time.
    pub fn push_histogram(&mut self, sample: HistogramSample, start: Millis) {
        push_start(&mut self.histogram_starts, self.histograms.len(), start);
        self.histograms.push(sample);
    }

    /// Bytes of the label sets. Of many, some are asked and stand for the others: each asked is a miss of the cache.
    fn series_bytes(&self) -> usize {
        let step = (self.series.len() / SETS_ASKED).max(1);
        let asked = self.series.iter().step_by(step);
        let (count, bytes) = asked.fold((0, 0), |(count, sum), set| (count + 1, sum + set.heap_bytes()));
        self.series.len() * size_of::<LabelSet>() + (bytes * self.series.len()).div_ceil(count.max(1))
    }

    /// Samples, histograms and exemplars.
    #[must_use]
    pub fn len(&self) -> usize {
        self.samples.len() + self.histograms.len() + self.exemplars.len()
    }

    /// True when nothing at all is inside.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.metadata.is_empty()
    }

    /// From the earliest to the latest stamp of samples and histograms.
    #[must_use]
    pub fn time_range(&self) -> Option<TimeRange> {
        let stamps = || self.samples.iter().map(|s| s.time).chain(self.histograms.iter().map(|h| h.time));
        Some(TimeRange::from_millis(stamps().min()?, stamps().max()?))
    }

    /// Bytes held, for memory accounting.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.series_bytes()
            + self.samples.len() * size_of::<Sample>()
            + (self.starts.len() + self.histogram_starts.len()) * size_of::<Millis>()
            + self.deltas.len() * size_of::<DeltaPoint>()
            + self.histograms.iter().map(|h| h.histogram.heap_bytes() + 16).sum::<usize>()
            + self.exemplars.iter().map(|e| e.labels.heap_bytes() + 32).sum::<usize>()
            + self.metadata.iter().map(|m| m.metric.len() + m.help.len() + m.unit.len() + 80).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_stay_beside_their_samples() {
        let mut batch = MetricBatch::default();
        for (n, start) in [0, 5, 0, 7, 0].into_iter().enumerate() {
            batch.push_sample(Sample { series: 0, time: Millis(n as i64), value: 0.0 }, Millis(start));
        }
        assert_eq!(batch.starts, [0, 5, 0, 7].map(Millis));
        retain_with_starts(&mut batch.samples, &mut batch.starts, |sample| sample.time != Millis(1));
        assert_eq!(batch.starts, [0, 0, 7].map(Millis));
        assert_eq!((batch.samples.len(), start_at(&batch.starts, 3)), (4, UNKNOWN_START));
        retain_with_starts(&mut batch.samples, &mut batch.starts, |sample| sample.time == Millis(0));
        assert_eq!((batch.samples.len(), batch.starts.len()), (1, 0));
    }
}
