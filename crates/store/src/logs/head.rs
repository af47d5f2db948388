//! Recent log records in memory, in batches in the order of arrival.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::cut::{CutBudget, Cuts};

use kenning_model::keyed::Prehashed;
use kenning_model::{LabelSet, LogBatch, Nanos, TimeRange};

/// Small batches are joined until they have so many records: a batch of one record costs ten times the record.
const JOINED_ROWS_MAX: usize = 1024;

/// Consecutive records.
#[derive(Clone, Debug)]
pub(crate) struct LogRun {
    pub(crate) batch: Arc<LogBatch>,
    /// Place of the first record in the head's order of arrival.
    pub(crate) first: u64,
    pub(crate) range: TimeRange,
    /// Fields of the lines that queries have asked for.
    pub(crate) cuts: Arc<Cuts>,
}

/// Label sets that records share, however many batches they came in: the sets of a batch are copies of its own.
#[derive(Debug, Default)]
struct Known(HashSet<LabelSet, Prehashed>);

/// Most sets that [`Known`] holds; further ones are not shared.
const KNOWN_MAX: usize = 64 << 10;

impl Known {
    /// Replaces a set by the one that is known; gives the bytes that are held for it from now on.
    fn share(&mut self, set: &mut LabelSet) -> usize {
        if let Some(known) = self.0.get(set) {
            set.clone_from(known);
            return 0;
        }
        if self.0.len() < KNOWN_MAX {
            self.0.insert(set.clone());
        }
        set.heap_bytes()
    }
}

/// The recent records of one tenant. Cloning runs out of it is cheap, so scans hold no lock.
#[derive(Debug, Default)]
pub(crate) struct LogHead {
    runs: Vec<LogRun>,
    /// Streams of the last run, which small batches join.
    joined: HashMap<LabelSet, u32, Prehashed>,
    streams: Known,
    metadata: Known,
    rows: u64,
    bytes: usize,
    cuts: CutBudget,
}

impl LogHead {
    /// An empty head; what queries keep of its lines counts against the budget.
    pub(crate) fn new(cuts: &CutBudget) -> Self {
        Self { cuts: cuts.clone(), ..Self::default() }
    }

    /// Takes a batch.
    pub(crate) fn add(&mut self, batch: &LogBatch) {
        let Some(range) = batch.time_range() else { return };
        let before = self.rows;
        self.rows += batch.len() as u64;
        let fits = |run: &LogRun| run.batch.len() + batch.len() <= JOINED_ROWS_MAX;
        match self.runs.last_mut() {
            Some(run) if fits(run) && !self.joined.is_empty() => {
                // A scan that still reads the run keeps its own copy.
                let own = Arc::make_mut(&mut run.batch);
                let (held, streams, rows) = (column_bytes(own), own.streams.len(), own.len());
                join(own, &mut self.joined, batch);
                // What is known of fewer records is of no use any more.
                run.cuts = Arc::new(Cuts::new(&self.cuts));
                run.range =
                    TimeRange { start: run.range.start.min(range.start), end: run.range.end.max(range.end) };
                self.bytes += column_bytes(own).saturating_sub(held);
                self.bytes += share(&mut self.streams, own.streams.iter_mut().skip(streams));
                self.bytes += share(&mut self.metadata, own.metadata.iter_mut().skip(rows));
            }
            _ => {
                self.joined.clear();
                let mut own = if batch.len() < JOINED_ROWS_MAX {
                    let mut own = LogBatch::default();
                    join(&mut own, &mut self.joined, batch);
                    own
                } else {
                    batch.clone()
                };
                self.bytes += column_bytes(&own) + size_of::<LogRun>();
                self.bytes += share(&mut self.streams, own.streams.iter_mut());
                self.bytes += share(&mut self.metadata, own.metadata.iter_mut());
                let cuts = Arc::new(Cuts::new(&self.cuts));
                self.runs.push(LogRun { batch: Arc::new(own), first: before, range, cuts });
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

/// Bytes of a batch but for what its label sets hold.
fn column_bytes(batch: &LogBatch) -> usize {
    batch.line.text_bytes()
        + batch.streams.len() * size_of::<LabelSet>()
        + batch.len() * (LogBatch::ROW_BYTES + size_of::<LabelSet>())
}

/// Has sets share memory with those that are known; gives the bytes that are held for them from now on.
fn share<'a>(known: &mut Known, sets: impl Iterator<Item = &'a mut LabelSet>) -> usize {
    let (mut bytes, mut before): (usize, Option<(LabelSet, LabelSet)>) = (0, None);
    for set in sets {
        match &before {
            // Neighbours are mostly one set already.
            Some((from, to)) if from.is_same(set) => set.clone_from(to),
            _ => {
                let from = set.clone();
                bytes += known.share(set);
                before = Some((from, set.clone()));
            }
        }
    }
    bytes
}

/// Appends records one by one. A record of a stream that the batch does not hold is kept out here as everywhere, but
/// takes its place in the order of arrival.
fn join(to: &mut LogBatch, streams: &mut HashMap<LabelSet, u32, Prehashed>, from: &LogBatch) {
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
