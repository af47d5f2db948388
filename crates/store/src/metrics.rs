//! Metrics: recent series in memory, parts of samples, histograms, exemplars and metadata, and the scans over both.

pub(crate) mod exemplars;
pub(crate) mod head;
pub(crate) mod histograms;
pub(crate) mod metadata;
pub(crate) mod recent;
pub(crate) mod rows;
pub(crate) mod runs;
pub(crate) mod samples;
pub(crate) mod scan;
pub(crate) mod view;

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
        self.add_all(time, time, 1);
    }

    /// Adds rows by time, of which these are the first and the last.
    pub(crate) fn add_all(&mut self, first: Nanos, last: Nanos, rows: u64) {
        let range = self.range.get_or_insert(TimeRange { start: first, end: last });
        *range = TimeRange { start: range.start.min(first), end: range.end.max(last) };
        self.rows += rows;
    }

    /// The extent and the number of rows; `None` without rows.
    pub(crate) fn range(&self) -> Option<(TimeRange, u64)> {
        Some((self.range?, self.rows))
    }
}
