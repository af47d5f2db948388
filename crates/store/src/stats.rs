//! What an engine says about itself.

use std::time::Duration;

use crate::manifest::ManifestReport;
use crate::parts::PartTable;
use crate::wal::ReplayReport;

/// Upper bounds of the buckets of [`Commits`], in microseconds; one more bucket holds the rest.
pub const COMMIT_BUCKETS_MICROS: [u64; 12] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 2_000_000];

/// How long commits to the write-ahead log took (encoding and waiting excluded, the sync included).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Commits {
    /// Commits per bucket of [`COMMIT_BUCKETS_MICROS`], and the rest.
    pub buckets: [u64; COMMIT_BUCKETS_MICROS.len() + 1],
    /// Number of commits.
    pub count: u64,
    /// Time of all of them.
    pub total: Duration,
    /// Commits that failed.
    pub failed: u64,
}

impl Commits {
    pub(crate) fn add(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = COMMIT_BUCKETS_MICROS.iter().position(|bound| micros <= *bound);
        if let Some(count) = self.buckets.get_mut(bucket.unwrap_or(COMMIT_BUCKETS_MICROS.len())) {
            *count += 1;
        }
        self.count += 1;
        self.total += took;
    }
}

/// The parts of one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableStats {
    /// Which table.
    pub table: PartTable,
    /// Number of parts.
    pub parts: u64,
    /// Rows in them.
    pub rows: u64,
    /// Their bytes on disk.
    pub bytes: u64,
}

/// Events since the engine was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Heads flushed into parts.
    pub flushes: u64,
    /// Flushes that failed; their heads stay in memory and are tried again.
    pub flushes_failed: u64,
    /// Merges done.
    pub merges: u64,
    /// Merges that failed.
    pub merges_failed: u64,
    /// Parts removed by retention.
    pub expired_parts: u64,
    /// Those of them that were not too old, but over a limit of bytes.
    pub expired_parts_for_size: u64,
    /// Samples dropped because their time was taken by another value, as far as found when they came or were flushed.
    pub conflicting_samples: u64,
    /// Exemplars that went for newer ones, as a tenant had too many.
    pub dropped_exemplars: u64,
    /// Metadata that went for newer ones, as a tenant had too many.
    pub dropped_metadata: u64,
    /// Records of the log whose checksum held and whose payload could not be understood.
    pub undecodable_records: u64,
}

/// How the last start went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Startup {
    /// Time from opening the directory to taking writes.
    pub took: Duration,
    /// Time from opening the directory to having read the write-ahead log back; `None` before.
    pub replayed_after: Option<Duration>,
    /// What reading the write-ahead log met.
    pub replay: ReplayReport,
    /// What reading the manifest met.
    pub manifest: ManifestReport,
    /// Parts in the manifest that this version cannot make sense of; their files are left alone.
    pub unknown_parts: u64,
    /// Deletes in the manifest that this version cannot read; their rows are visible again.
    pub unknown_tombstones: u64,
    /// Files of interrupted work that were removed.
    pub orphans_removed: u64,
}

/// How far the write-ahead log is read back, by the numbers of its segments. All zero when there was nothing to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayProgress {
    /// The first segment to be read.
    pub min: u64,
    /// The last one.
    pub max: u64,
    /// The one being read; the last one once all are.
    pub current: u64,
}

/// A part on disk, as status pages show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartSummary {
    /// Its id.
    pub id: u64,
    /// From its earliest to its latest row.
    pub time: kenning_model::TimeRange,
    /// Rows, deleted ones that are still in it included.
    pub rows: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// How often its rows were merged.
    pub level: u8,
}

/// An engine's state at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineStats {
    /// Series with samples in heads.
    pub active_series: u64,
    /// Bytes held by heads, those being flushed included.
    pub head_bytes: u64,
    /// Bytes the write-ahead log takes on disk.
    pub wal_bytes: u64,
    /// Why the write-ahead log takes no writes, if so.
    pub read_only: Option<String>,
    /// Parts per table, every table once.
    pub tables: Vec<TableStats>,
    /// Parts found damaged since the start, with reasons.
    pub quarantined: Vec<String>,
    /// Commits.
    pub commits: Commits,
    /// Events.
    pub counts: Counts,
    /// The last start.
    pub startup: Startup,
    /// How far it is.
    pub replay: ReplayProgress,
}
