//! A batch: what one request brings of one signal, made durable and visible as a whole.

use std::fmt;

use crate::{LogBatch, MetricBatch, SpanBatch, TimeRange};

/// The kinds of telemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    /// Samples of series.
    Metrics,
    /// Log records.
    Logs,
    /// Spans.
    Traces,
}

impl Signal {
    /// Every signal.
    pub const ALL: [Self; 3] = [Self::Metrics, Self::Logs, Self::Traces];

    /// The lower-case word used in paths and labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Logs => "logs",
            Self::Traces => "traces",
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Data of one signal.
#[derive(Clone, Debug, PartialEq)]
pub enum Batch {
    /// Samples of series.
    Metrics(MetricBatch),
    /// Log records.
    Logs(LogBatch),
    /// Spans.
    Spans(SpanBatch),
}

impl Batch {
    /// Which signal.
    #[must_use]
    pub const fn signal(&self) -> Signal {
        match self {
            Self::Metrics(_) => Signal::Metrics,
            Self::Logs(_) => Signal::Logs,
            Self::Spans(_) => Signal::Traces,
        }
    }

    /// Number of items (samples, records, spans).
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Metrics(batch) => batch.len(),
            Self::Logs(batch) => batch.len(),
            Self::Spans(batch) => batch.len(),
        }
    }

    /// True when nothing needs to be stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Metrics(batch) => batch.is_empty(),
            Self::Logs(batch) => batch.is_empty(),
            Self::Spans(batch) => batch.is_empty(),
        }
    }

    /// From the earliest to the latest stamp.
    #[must_use]
    pub fn time_range(&self) -> Option<TimeRange> {
        match self {
            Self::Metrics(batch) => batch.time_range(),
            Self::Logs(batch) => batch.time_range(),
            Self::Spans(batch) => batch.time_range(),
        }
    }

    /// Bytes held, for memory accounting.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::Metrics(batch) => batch.heap_bytes(),
            Self::Logs(batch) => batch.heap_bytes(),
            Self::Spans(batch) => batch.heap_bytes(),
        }
    }
}
