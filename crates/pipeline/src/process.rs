//! Processors: what is done to batches between their receipt and the limits, such as pipeline stages, throttling and
//! redaction.
//!
//! A [`Chain`] of them runs inside every offer of an [`crate::Intake`], after the tenant's rate was charged, in this order: those
//! of the receiver (a tailed source's stages), then those of [`crate::PipelineOptions::processors`] as they stand there.
//!
//! Promises: what a processor wants done besides (counting, above all) is done once, when the batch is durable, though
//! the batch may be offered many times before; what it drops counts as taken, is told to nobody as an error, and is
//! counted under its reason in `kenning_ingest_dropped_items_total`. Absent: state across batches that holds data back:
//! what is held back could be lost after it was acknowledged.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kenning_model::{Batch, Nanos, TenantId};

use crate::intake::Refusal;

/// Where a batch comes from, and when it came.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// Whose it is.
    pub tenant: &'a TenantId,
    /// The receiver's word, empty when nobody said: `otlp_http`, `otlp_grpc`, `loki`, `remote_write`, `elasticsearch`, `fluent`,
    /// `syslog`, `files`.
    pub receiver: &'static str,
    /// Wall clock.
    pub now: Nanos,
    /// Steady clock.
    pub steady: Duration,
}

/// One processor. Called from many threads; must be quick, since receivers wait for it.
pub trait Processor: Send + Sync + 'static {
    /// What becomes of a batch. An error refuses the whole batch, to be offered again later.
    fn process(&self, origin: &Origin<'_>, batch: Processed) -> Result<Processed, Refusal>;
}

impl fmt::Debug for dyn Processor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Processor")
    }
}

/// Done once what it came with is durable.
type Effect = Box<dyn FnOnce() + Send>;

/// A batch on its way through processors.
pub struct Processed {
    /// What is left, rewritten.
    pub batch: Batch,
    /// Per row of the batch (logs only): its row in the batch that was offered. `None`: all are where they were.
    rows: Option<Vec<u32>>,
    dropped: Vec<(Cow<'static, str>, u64)>,
    effects: Vec<Effect>,
}

impl Processed {
    /// A batch as it was offered.
    #[must_use]
    pub fn untouched(batch: Batch) -> Self {
        Self { batch, rows: None, dropped: Vec::new(), effects: Vec::new() }
    }

    /// Says that only some rows are left: for each row of the batch as it is now, its row in the batch as this
    /// processor got it.
    pub fn set_rows(&mut self, rows: Vec<u32>) {
        let earlier = self.rows.take();
        let origin = |row: u32| match &earlier {
            Some(earlier) => earlier.get(row as usize).copied().unwrap_or(row),
            None => row,
        };
        self.rows = Some(rows.into_iter().map(origin).collect());
    }

    /// Counts items that were left out. Reasons label a metric, so there must be few.
    pub fn drop_items(&mut self, reason: impl Into<Cow<'static, str>>, count: u64) {
        if count == 0 {
            return;
        }
        let reason = reason.into();
        match self.dropped.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, sum)) => *sum += count,
            None => self.dropped.push((reason, count)),
        }
    }

    /// Has something done once the batch is durable, and not at all when it is refused.
    pub fn when_durable(&mut self, effect: impl FnOnce() + Send + 'static) {
        self.effects.push(Box::new(effect));
    }

    /// The row in the offered batch of a row of the batch as it is now.
    #[must_use]
    pub fn offered_row(&self, row: usize) -> usize {
        let found = self.rows.as_ref().and_then(|rows| rows.get(row));
        found.map_or(row, |found| *found as usize)
    }

    /// How many items were left out, by reason.
    pub fn dropped(&self) -> impl Iterator<Item = (&str, u64)> {
        self.dropped.iter().map(|(reason, count)| (&**reason, *count))
    }

    /// Has done what is to be done when the batch is durable; for tests of processors, and for whoever commits.
    pub fn settle(self) {
        self.into_parts().2.run();
    }

    pub(crate) fn into_parts(self) -> (Batch, Option<Vec<u32>>, Aftermath) {
        (self.batch, self.rows, Aftermath { dropped: self.dropped, effects: self.effects })
    }
}

/// What is to be done once a batch is durable.
#[derive(Default)]
pub(crate) struct Aftermath {
    pub dropped: Vec<(Cow<'static, str>, u64)>,
    effects: Vec<Effect>,
}

impl Aftermath {
    pub fn run(self) {
        self.effects.into_iter().for_each(|effect| effect());
    }
}

/// Processors in order. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Chain(Vec<Arc<dyn Processor>>);

impl Chain {
    /// Adds one at the end.
    pub fn push(&mut self, processor: Arc<dyn Processor>) {
        self.0.push(processor);
    }

    /// Runs all of them.
    pub fn process(&self, origin: &Origin<'_>, batch: Processed) -> Result<Processed, Refusal> {
        self.0.iter().try_fold(batch, |batch, processor| processor.process(origin, batch))
    }
}
