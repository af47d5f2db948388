//! Recent spans in memory, in batches in the order of arrival.

use std::collections::HashMap;
use std::sync::Arc;

use kenning_model::{Nanos, Span, SpanBatch, SpanRow, SpanSource, TimeRange};

/// Small batches are joined until they have so many spans.
const JOINED_ROWS_MAX: usize = 512;

/// Consecutive spans.
#[derive(Clone, Debug)]
pub(crate) struct SpanRun {
    pub(crate) batch: Arc<SpanBatch>,
    /// Place of the first span in the head's order of arrival.
    pub(crate) first: u64,
    pub(crate) range: TimeRange,
}

impl SpanRun {
    /// The spans and their places in the order of arrival.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (SpanRow<'_>, u64)> {
        let spans = self.batch.spans.iter().zip(self.first..);
        spans.filter_map(|(span, place)| Some((SpanRow { span, source: self.batch.source_of(span)? }, place)))
    }
}

/// The recent spans of one tenant. Cloning runs out of it is cheap, so scans hold no lock.
#[derive(Debug, Default)]
pub(crate) struct SpanHead {
    runs: Vec<SpanRun>,
    /// Sources of the last run, which small batches join.
    joined: HashMap<Arc<SpanSource>, u32>,
    rows: u64,
    bytes: usize,
}

impl SpanHead {
    /// Takes a batch.
    pub(crate) fn add(&mut self, batch: &SpanBatch) {
        let Some(range) = batch.time_range() else { return };
        let before = self.rows;
        self.rows += batch.len() as u64;
        let fits = |run: &SpanRun| run.batch.len() + batch.len() <= JOINED_ROWS_MAX;
        match self.runs.last_mut() {
            Some(run) if fits(run) && !self.joined.is_empty() => {
                // A scan that still reads the run keeps its own copy.
                join(Arc::make_mut(&mut run.batch), &mut self.joined, batch);
                run.range =
                    TimeRange { start: run.range.start.min(range.start), end: run.range.end.max(range.end) };
                self.bytes += batch.spans.iter().map(Span::heap_bytes).sum::<usize>();
            }
            _ => {
                self.joined.clear();
                let mut own = SpanBatch::default();
                join(&mut own, &mut self.joined, batch);
                self.bytes += own.heap_bytes() + size_of::<SpanRun>();
                self.runs.push(SpanRun { batch: Arc::new(own), first: before, range });
            }
        }
    }

    /// The runs that may hold spans that start in a range.
    pub(crate) fn select(&self, range: TimeRange) -> Vec<SpanRun> {
        self.runs.iter().filter(|run| run.range.overlaps(range)).cloned().collect()
    }

    pub(crate) fn runs(&self) -> &[SpanRun] {
        &self.runs
    }

    /// The starts of all spans.
    pub(crate) fn times(&self) -> impl Iterator<Item = Nanos> + Clone {
        self.runs.iter().flat_map(|run| run.batch.spans.iter().map(|span| span.start))
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }
}

/// Appends spans one by one; a span whose source the batch does not hold is left out.
fn join(to: &mut SpanBatch, sources: &mut HashMap<Arc<SpanSource>, u32>, from: &SpanBatch) {
    for span in &from.spans {
        let Some(source) = from.source_of(span) else { continue };
        let number = match sources.get(source) {
            Some(number) => *number,
            None => {
                let number = to.add_source(Arc::clone(source));
                sources.insert(Arc::clone(source), number);
                number
            }
        };
        to.spans.push(Span { source: number, ..span.clone() });
    }
}
