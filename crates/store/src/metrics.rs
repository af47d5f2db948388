//! Metrics: recent series in memory, parts of samples, histograms, exemplars and metadata, and the scans over both.

pub(crate) mod exemplars;
pub(crate) mod head;
pub(crate) mod histograms;
pub(crate) mod metadata;
pub(crate) mod samples;
pub(crate) mod scan;

use kenning_model::{LabelSet, Millis, Nanos, TimeRange};

/// Series with values by time, as parts hold them.
pub(crate) type SeriesList<T> = Vec<(LabelSet, Vec<(Millis, T)>)>;

/// Counts rows and their extent while a part is written.
#[derive(Debug, Default)]
pub(crate) struct Span {
    range: Option<TimeRange>,
    rows: u64,
}

impl Span {
    pub(crate) fn add(&mut self, time: Nanos) {
        let range = self.range.get_or_insert(TimeRange { start: time, end: time });
        *range = TimeRange { start: range.start.min(time), end: range.end.max(time) };
        self.rows += 1;
    }

    /// The extent and the number of rows; `None` without rows.
    pub(crate) fn range(&self) -> Option<(TimeRange, u64)> {
        Some((self.range?, self.rows))
    }
}
