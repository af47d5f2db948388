//! Tailing: lines that programs write to files become records.
//!
//! Plain files, Docker's `json-file` and CRI, by patterns of paths. Files are followed by their identity through
//! renaming, truncation (`copytruncate` and its copy included) and removal; see [`watch`] for how.
//!
//! Promises: each line that stays in a file that the source's patterns find, or that rotation moved beside it, becomes
//! part of exactly one record, also across `kill -9` and power cuts: how far a file was read is committed as one unit
//! with the records ([`positions`]). One batch of a source is under way at a time, so files are read as fast as the
//! store takes them and no faster. Lines, records, batches, files and open handles are bounded; what is cut, torn or lost
//! is counted ([`stats`]).
//!
//! Absent: what records mean (stamps in lines, labels in lines, redaction): [`source::FileSource::stages`] and the pipeline see
//! to that;
//! compressed files (left out, counted); notification by the kernel (files are looked at a few times a second). Lacking
//! still: a line that ends in no newline waits for it until its file was rotated or removed.

mod describe;
mod facts;
mod gather;
mod join;
mod lines;
mod positions;
pub mod source;
pub mod stats;
mod tracked;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kenning_model::{Batch, LogBatch, Rejected, ScanError, Store, TenantId};
use kenning_pipeline::{Intake, Refusal};
use kenning_stdx::watched::Watched;

use crate::serve::Stop;
use source::FileSource;
use stats::TailStats;
use watch::Watch;

/// Time between looks at files that had nothing new.
const LOOKED_AT_EVERY: Duration = Duration::from_millis(250);
/// Longest pause before a batch is offered again.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What tailing works with.
#[derive(Clone)]
pub struct TailContext {
    /// The files.
    pub files: Arc<dyn Watched>,
    /// Where positions are read back from.
    pub store: Arc<dyn Store>,
    /// Where records go.
    pub intake: Intake,
    /// Whose they are.
    pub tenant: TenantId,
    /// What is counted.
    pub stats: TailStats,
}

/// Why a source cannot be tailed.
#[derive(Debug)]
pub struct OpenTailError {
    source: Box<str>,
    cause: ScanError,
}

impl fmt::Display for OpenTailError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the positions of the files of {:?} cannot be read", self.source)
    }
}

impl std::error::Error for OpenTailError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

/// A source that is tailed.
pub struct Tail {
    watch: Watch,
    context: TailContext,
}

impl Tail {
    /// Reads the positions of a source back. Blocks.
    pub fn open(mut source: FileSource, mut context: TailContext) -> Result<Self, OpenTailError> {
        let loaded = positions::load(&*context.store, &source.name);
        let loaded = loaded.map_err(|cause| OpenTailError { source: source.name.clone(), cause })?;
        if let Some(limit) = context.intake.limits(&context.tenant).line_bytes {
            // Cutting keeps the beginning; the pipeline would refuse the whole record.
            source.line_bytes_max = source.line_bytes_max.min(limit);
        }
        context.intake = context.intake.for_receiver("files");
        if let Some(stages) = &source.stages {
            context.intake = context.intake.with_processor(Arc::clone(stages));
        }
        context.intake = context.intake.with_processor(Arc::new(facts::Facts));
        let watch = Watch::new(source, Arc::clone(&context.files), &context.stats, loaded);
        Ok(Self { watch, context })
    }

    /// Tails until `stop`. What was read and not acknowledged by then is read again after the next start.
    pub async fn run(mut self, mut stop: Stop) {
        loop {
            let work = move || {
                let clock = self.context.intake.clock();
                let offer = self.watch.poll(self.context.intake.now(), clock.steady());
                (self, offer)
            };
            let Ok((this, offer)) = tokio::task::spawn_blocking(work).await else { return };
            self = this;
            match offer {
                Some(offer) => {
                    if !self.deliver(offer, &mut stop).await {
                        return;
                    }
                }
                None => tokio::select! {
                    () = tokio::time::sleep(LOOKED_AT_EVERY) => {}
                    () = stop.wait() => return,
                },
            }
        }
    }

    /// Offers a batch until it is taken; false when `stop` asked before.
    async fn deliver(&self, mut offer: watch::Offer, stop: &mut Stop) -> bool {
        let Some(own) = positions::tenant() else { return false };
        loop {
            let refusal = match self.offer(&own, &offer).await {
                Ok(()) => return true,
                Err(refusal) => refusal,
            };
            let Some(pause) = refusal.retry_after().or(offer.batch.is_empty().then_some(PAUSE_MAX)) else {
                // It will never be taken, so reading goes on behind it.
                self.watch.count_refused(&offer.batch);
                offer.batch = LogBatch::default();
                continue;
            };
            tokio::select! {
                () = tokio::time::sleep(pause.min(PAUSE_MAX)) => {}
                () = stop.wait() => return false,
            }
        }
    }

    /// Offers once. Stages take their time, so that is done on a thread of its own.
    async fn offer(&self, own: &TenantId, offer: &watch::Offer) -> Result<(), Refusal> {
        let (batch, positions) = (Batch::Logs(offer.batch.clone()), Batch::Logs(offer.positions.clone()));
        let (intake, tenant) = (self.context.intake.clone(), self.context.tenant.clone());
        let beside = (own.clone(), positions);
        let work = move || intake.offer_beside(&tenant, batch, Rejected::default(), beside);
        let offered = tokio::task::spawn_blocking(work).await;
        let stopping =
            |_| Refusal::Unavailable { retry_after: PAUSE_MAX, detail: "the node is stopping".to_owned() };
        offered.map_err(stopping)??.wait().await.map(drop)
    }
}
