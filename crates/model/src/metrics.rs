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
}

impl MetricBatch {
    /// Adds a series and gives its index. The caller adds each label set once.
    pub fn add_series(&mut self, labels: LabelSet) -> u32 {
        let index = self.series.len() as u32;
        self.series.push(labels);
        index
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
        self.series.iter().map(|s| s.heap_bytes() + 8).sum::<usize>()
            + self.samples.len() * size_of::<Sample>()
            + self.histograms.iter().map(|h| h.histogram.heap_bytes() + 16).sum::<usize>()
            + self.exemplars.iter().map(|e| e.labels.heap_bytes() + 32).sum::<usize>()
            + self.metadata.iter().map(|m| m.metric.len() + m.help.len() + m.unit.len() + 80).sum::<usize>()
    }
}
