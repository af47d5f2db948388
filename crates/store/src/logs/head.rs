//! Recent log records in memory, in batches in the order of arrival.

use std::collections::HashMap;
use std::sync::Arc;

use kenning_model::{LabelSet, LogBatch, LogRow, Nanos, TimeRange};

/// Small batches are joined until they have so many records: a batch of one record costs ten times the record.
const JOINED_ROWS_MAX: usize = 1024;

/// Consecutive records.
#[derive(Clone, Debug)]
pub(crate) struct LogRun {
    pub(crate) batch: Arc<LogBatch>,
    /// Place of the first record in the head's order of arrival.
    pub(crate) first: u64,
    pub(crate) range: TimeRange,
}

impl LogRun {
    /// The records and their places in the order of arrival.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (LogRow<'_>, u64)> {
        (self.first..).zip(0..self.batch.len()).filter_map(|(place, at)| Some((self.batch.row(at)?, place)))
    }
}

/// The recent records of one tenant. Cloning runs out of it is cheap, so scans hold no lock.
#[derive(Debug, Default)]
pub(crate) struct LogHead {
    runs: Vec<LogRun>,
    /// Streams of the last run, which small batches join.
    joined: HashMap<LabelSet, u32>,
    rows: u64,
    bytes: usize,
}

impl LogHead {
    /// Takes a batch.
    pub(crate) fn add(&mut self, batch: &LogBatch) {
        let Some(range) = batch.time_range() else { return };
        let before = self.rows;
        self.rows += batch.len() as u64;
        let fits = |run: &LogRun| run.batch.len() + batch.len() <= JOINED_ROWS_MAX;
        match self.runs.last_mut() {
            Some(run) if fits(run) && !self.joined.is_empty() => {
                let held = run.batch.heap_bytes();
                // A scan that still reads the run keeps its own copy.
                join(Arc::make_mut(&mut run.batch), &mut self.joined, batch);
                run.range =
                    TimeRange { start: run.range.start.min(range.start), end: run.range.end.max(range.end) };
                self.bytes += run.batch.heap_bytes().saturating_sub(held);
            }
            _ => {
                self.joined.clear();
                let own = if batch.len() < JOINED_ROWS_MAX {
                    let mut own = LogBatch::default();
                    join(&mut own, &mut self.joined, batch);
                    own
                } else {
                    batch.clone()
                };
                self.bytes += own.heap_bytes() + size_of::<LogRun>();
                self.runs.push(LogRun { batch: Arc::new(own), first: before, range });
            }
        }
    }

    /// The runs that may hold records in a range.
    pub(crate) fn select(&self, range: TimeRange) -> Vec<LogRun> {
        self.runs.iter().filter(|run| run.range.overlaps(range)).cloned().collect()
    }

    pub(crate) fn runs(&self) -> &[LogRun] {
        &self.runs
    }

    /// The times of all records.
    pub(crate) fn times(&self) -> impl Iterator<Item = Nanos> + Clone {
        self.runs.iter().flat_map(|run| run.batch.time.iter().copied())
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }
}

/// Appends records one by one. A record of a stream that the batch does not hold is kept out here as everywhere, but
/// takes its place in the order of arrival.
fn join(to: &mut LogBatch, streams: &mut HashMap<LabelSet, u32>, from: &LogBatch) {
    for row in from.rows() {
        let stream = match streams.get(row.stream) {
            Some(stream) => *stream,
            None => {
                let stream = to.add_stream(row.stream.clone());
                streams.insert(row.stream.clone(), stream);
                stream
            }
        };
        to.push(stream, row);
    }
}
