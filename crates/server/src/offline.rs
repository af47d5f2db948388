//! A data directory without a server: its parts, its series, files brought into it.
//!
//! Promises: a directory that a server uses is refused by its lock; what was imported is on disk when [`Offline::close`]
//! returns; nothing else is changed but that recent data are written as parts. Absent: merging and retention, which the
//! next server does.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use kenning_model::{
    Batch, BatchId, DistinctOf, Filter, LabelSet, MetricBatch, Scan, Shape, Store, Table, TenantId,
    TimeRange, Write,
};
use kenning_query::operators;
use kenning_stdx::clock::SystemClock;
use kenning_stdx::random::Random;
use kenning_stdx::vfs::RealVfs;
use kenning_store::{Engine, Options, PartSummary, PartTable};

/// Bytes that a list of series may take.
const SERIES_BYTES_MAX: usize = 2 << 30;

/// Why work on a data directory failed, with all causes.
#[derive(Debug)]
pub struct OfflineError(String);

impl OfflineError {
    fn of(doing: &str, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut text = format!("{doing}: {error}");
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        Self(text)
    }
}

impl fmt::Display for OfflineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for OfflineError {}

/// An opened data directory.
pub struct Offline {
    engine: Engine,
}

impl fmt::Debug for Offline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offline").finish_non_exhaustive()
    }
}

impl Offline {
    /// Opens a directory, and lays out an empty or missing one.
    pub fn open(dir: &Path) -> Result<Self, OfflineError> {
        let doing = format!("cannot open {}", dir.display());
        let vfs = RealVfs::open(dir).map_err(|error| OfflineError::of(&doing, &error))?;
        let (clock, random) = (Arc::new(SystemClock::new()), Random::from_os());
        let engine = Engine::open(Arc::new(vfs), clock, random, Options::default());
        Ok(Self { engine: engine.map_err(|error| OfflineError::of(&doing, &error))? })
    }

    /// The parts of metrics, of all tenants, by time. Recent samples are in none of them until [`Self::flush`].
    #[must_use]
    pub fn parts(&self) -> Vec<PartSummary> {
        self.engine.parts_of(PartTable::Samples)
    }

    /// Writes recent data as parts.
    pub fn flush(&self) -> Result<(), OfflineError> {
        let flushed = self.engine.flush();
        flushed.map(drop).map_err(|error| OfflineError::of("recent data cannot be written", &error))
    }

    /// The series that pass, with samples in the range, in order; at most `limit`. What damage hides is told beside.
    pub fn series(
        &self,
        tenant: &TenantId,
        filter: Filter,
        time: TimeRange,
        limit: usize,
    ) -> Result<(Vec<LabelSet>, Vec<String>), OfflineError> {
        let mut scan = Scan::rows(tenant.clone(), Table::Samples, time, filter);
        scan.shape = Shape::Distinct(DistinctOf::LabelSets);
        scan.limit = Some(limit);
        scan.bytes_max = SERIES_BYTES_MAX;
        let found = operators::label_sets(&self.engine, &scan);
        let (sets, summary) = found.map_err(|error| OfflineError::of("cannot list series", &error))?;
        Ok((sets, summary.missing))
    }

    /// Stores a batch, whatever its times.
    pub fn import(&self, tenant: &TenantId, batch: MetricBatch) -> Result<(), OfflineError> {
        let id = BatchId(self.engine.last_batch_id().0.saturating_add(1));
        let write = Write { id, tenant: tenant.clone(), batch: Batch::Metrics(batch) };
        self.engine.write(&[write]).map_err(|error| OfflineError::of("cannot store samples", &error))
    }

    /// Leaves nothing to be read back.
    pub fn close(self) -> Result<(), OfflineError> {
        self.flush()
    }
}
