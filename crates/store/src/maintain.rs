//! What happens to data after it was acknowledged: flush, merge, retention. One of them at a time.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use kenning_model::{Expired, Nanos, Retention, TenantId, WriteError};

use crate::engine::{Engine, Frozen, OpenError, lock};
use crate::flush::{Output, write_heads, write_metadata};
use crate::heads::Heads;
use crate::manifest::{CommitError, Edit, Manifest, PartEntry, PartId};
use crate::merge;
use crate::metrics::metadata;
use crate::metrics::recent::METADATA_MAX;
use crate::parts::part::Part;
use crate::parts::{PartError, PartTable};
use crate::retention::{Beside, Chosen, ClockWatch, choose};
use crate::stream_retention::Settled;
use crate::wal::WalPosition;

/// What flush, merge and retention share, and the lock that keeps them apart.
pub(crate) struct Gate {
    pub(crate) manifest: Manifest,
    /// Above every id that a part of this process ever had, also of failed attempts.
    pub(crate) next_id: u64,
    pub(crate) clock_watch: ClockWatch,
    pub(crate) settled: Settled,
}

impl Gate {
    pub(crate) fn new(manifest: Manifest) -> Self {
        let next_id = manifest.next_part_id().0;
        Self { manifest, next_id, clock_watch: ClockWatch::default(), settled: Settled::new() }
    }
}

/// Parts that are written and wait to be committed. Kept when the commit fails: the manifest may have it all the same.
pub(crate) struct FlushPlan {
    added: Vec<Arc<Part>>,
    removed: Vec<Arc<Part>>,
}

/// Why heads were not flushed. They stay in memory and in the log.
#[derive(Debug)]
pub enum FlushError {
    /// Writing a part.
    Part {
        /// What came back.
        reason: String,
    },
    /// Committing the parts to the manifest.
    Commit(CommitError),
    /// What the log held before this start comes first, and could not be read back.
    Backlog(OpenError),
}

impl fmt::Display for FlushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Part { reason } => write!(f, "a part could not be written: {reason}"),
            Self::Commit(_) => f.write_str("the parts could not be committed"),
            Self::Backlog(_) => f.write_str("older records could not be read back"),
        }
    }
}

impl std::error::Error for FlushError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Part { .. } => None,
            Self::Commit(error) => Some(error),
            Self::Backlog(error) => Some(error),
        }
    }
}

impl From<OpenError> for FlushError {
    fn from(error: OpenError) -> Self {
        Self::Backlog(error)
    }
}

impl From<PartError> for FlushError {
    fn from(error: PartError) -> Self {
        Self::Part { reason: error.to_string() }
    }
}

/// What a round of maintenance did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Maintained {
    /// Heads were flushed.
    pub flushed: bool,
    /// Parts that were merged into fewer.
    pub merged: usize,
}

impl Engine {
    /// Does what is due: flushes heads that are full or old, merges small parts. Call it every few seconds, from one
    /// thread; writers and scans go on meanwhile.
    pub fn maintain(&self) -> Result<Maintained, FlushError> {
        let flushed = if self.is_flush_due() { self.flush()? } else { false };
        let merged = self.merge_once()?;
        if merged == 0 {
            self.clean_one(&mut lock(&self.gate))?;
        }
        Ok(Maintained { flushed, merged })
    }

    /// True when heads are full or old, so that [`Self::maintain`] should not wait. Cheap.
    #[must_use]
    pub fn is_flush_due(&self) -> bool {
        let now = self.clock.steady();
        let state = self.read_state();
        let is_old =
            state.active_since.is_some_and(|since| now.saturating_sub(since) >= self.options.flush_age);
        let is_full = state.active.row_bytes() >= self.options.flush_bytes
            || state.active.log_bytes() >= self.options.log_flush_bytes()
            || state.active.bytes() >= self.options.pressure_bytes();
        !state.frozen.is_empty() || is_old || is_full
    }

    /// Writes everything in heads as parts and cuts the write-ahead log. True when there was something. Call it before
    /// a clean exit: the next start then has nothing to replay.
    pub fn flush(&self) -> Result<bool, FlushError> {
        self.catch_up()?;
        self.flush_gated(&mut lock(&self.gate))
    }

    /// Flushes unless the flush that runs at the moment makes enough room: what came since it began would become small
    /// parts.
    pub(crate) fn flush_until(&self, has_room: impl Fn() -> bool) -> Result<(), FlushError> {
        self.catch_up()?;
        let mut gate = lock(&self.gate);
        if has_room() {
            return Ok(());
        }
        self.flush_gated(&mut gate).map(drop)
    }

    pub(crate) fn flush_gated(&self, gate: &mut Gate) -> Result<bool, FlushError> {
        // Heads of earlier attempts that failed come first; what has arrived since would be left behind.
        let waiting = self.read_state().frozen.len();
        let mut flushed = false;
        for _ in 0..=waiting {
            flushed |= self.flush_once(gate)?;
        }
        Ok(flushed)
    }

    fn flush_once(&self, gate: &mut Gate) -> Result<bool, FlushError> {
        let Some(frozen) = self.freeze() else { return Ok(false) };
        self.observe_flush(self.flush_frozen(gate, &frozen))?;
        self.cut_log(frozen.position);
        Ok(true)
    }

    /// Writes heads as parts while the log is still being read: nothing of it is deleted. Nothing else was frozen then,
    /// for flushes wait; what fails here is done by the first of them.
    pub(crate) fn flush_replayed(&self, heads: Heads, through: u64) -> Result<(), FlushError> {
        let mut gate = lock(&self.gate);
        let position = WalPosition { segment: 0, offset: 0 };
        let frozen = Arc::new(Frozen::new(heads, through, position));
        self.write_state().frozen.push_back(Arc::clone(&frozen));
        self.observe_flush(self.flush_frozen(&mut gate, &frozen))
    }

    /// Takes over what was read back from the log of before this start, up to `through`; everything behind `position`
    /// is newer.
    pub(crate) fn adopt(&self, heads: Heads, through: u64, position: WalPosition) {
        if heads.is_empty() {
            return;
        }
        let now = self.clock.steady();
        // With the writer's lock no group is between its numbers and its rows.
        let mut writer = lock(&self.writer);
        let mut state = self.write_state();
        if state.active.is_empty() {
            state.active = heads;
            state.active_since = Some(now);
            writer.epoch.end();
        } else {
            state.frozen.push_back(Arc::new(Frozen::new(heads, through, position)));
        }
    }

    fn observe_flush(&self, done: Result<(), FlushError>) -> Result<(), FlushError> {
        let mut observed = lock(&self.observed);
        match &done {
            Ok(()) => observed.counts.flushes += 1,
            Err(_) => observed.counts.flushes_failed += 1,
        }
        done
    }

    /// The heads to be flushed: those of a failed attempt, else the active ones, which are replaced by empty ones.
    fn freeze(&self) -> Option<Arc<Frozen>> {
        // With the writer's lock every record of the log is either in the heads or not appended yet.
        let mut writer = lock(&self.writer);
        let (through, position) = (writer.last, writer.wal.position());
        // The new head gives its numbers anew, and segments with older definitions may go.
        writer.epoch.end();
        let mut state = self.write_state();
        if state.frozen.is_empty() && !state.active.is_empty() {
            let heads = std::mem::take(&mut state.active);
            state.active_since = None;
            state.frozen.push_back(Arc::new(Frozen::new(heads, through, position)));
        }
        state.frozen.front().cloned()
    }

    fn flush_frozen(&self, gate: &mut Gate, frozen: &Frozen) -> Result<(), FlushError> {
        let mut written = lock(&frozen.written);
        let plan = match written.take() {
            Some(plan) => plan,
            None => self.write_plan(gate, frozen)?,
        };
        let added = plan.added.iter().map(|part| Edit::AddPart(entry_of(part)));
        let removed = plan.removed.iter().map(|part| Edit::RemovePart { id: PartId(part.info.name.id) });
        let edits: Vec<_> = added.chain(removed).chain([Edit::Flushed { through: frozen.through }]).collect();
        if let Err(error) = gate.manifest.commit(&edits) {
            *written = Some(plan);
            return Err(FlushError::Commit(error));
        }
        self.publish(&plan.removed, &plan.added, true);
        let mut observed = lock(&self.observed);
        observed.counts.conflicting_samples += frozen.heads.conflicts();
        let dropped = frozen.heads.dropped();
        observed.counts.dropped_exemplars += dropped.exemplars;
        observed.counts.dropped_metadata += dropped.metadata;
        Ok(())
    }

    fn write_plan(&self, gate: &mut Gate, frozen: &Frozen) -> Result<FlushPlan, FlushError> {
        let mut output = Output {
            vfs: self.vfs(),
            next_id: &mut gate.next_id,
            written: Vec::new(),
            conflicts: 0,
            dropped_metadata: 0,
        };
        let mut removed = Vec::new();
        let done = write_heads(&frozen.heads, &mut output)
            .and_then(|()| self.write_new_metadata(frozen, &mut output, &mut removed));
        if let Err(error) = done {
            // No transaction names these files, nor was one tried: they can go.
            output.written.iter().for_each(|part| part.retire());
            return Err(error.into());
        }
        let mut observed = lock(&self.observed);
        observed.counts.conflicting_samples += output.conflicts;
        observed.counts.dropped_metadata += output.dropped_metadata;
        drop(observed);
        Ok(FlushPlan { added: output.written, removed })
    }

    /// Rewrites the metadata of the tenants that learned something.
    fn write_new_metadata(
        &self,
        frozen: &Frozen,
        output: &mut Output<'_>,
        removed: &mut Vec<Arc<Part>>,
    ) -> Result<(), PartError> {
        for (tenant, head) in frozen.heads.sorted() {
            let new = head.metrics.metadata();
            if new.is_empty() {
                continue;
            }
            let (known, parts) = self.known_metadata(tenant)?;
            if new.keys().any(|key| !known.contains(key)) {
                let mut all: BTreeSet<_> = new.keys().cloned().collect();
                // What was told lately stays; when the rest was told is not known.
                let left = METADATA_MAX.saturating_sub(all.len());
                let older: Vec<_> = known.into_iter().filter(|key| !all.contains(key)).collect();
                output.dropped_metadata += older.len().saturating_sub(left) as u64;
                all.extend(older.into_iter().take(left));
                write_metadata(tenant, &all, output)?;
                removed.extend(parts);
            }
        }
        Ok(())
    }

    /// The metadata in a tenant's parts, and the parts that they were read from. Damaged parts are passed over; they
    /// stay in the manifest.
    fn known_metadata(
        &self,
        tenant: &TenantId,
    ) -> Result<(BTreeSet<metadata::MetadataKey>, Vec<Arc<Part>>), PartError> {
        let catalog = Arc::clone(&self.read_state().catalog);
        let (mut known, mut parts) = (BTreeSet::new(), Vec::new());
        for part in catalog.parts(tenant, PartTable::Metadata) {
            match part.open().and_then(|reader| metadata::read(&reader)) {
                Ok(read) => {
                    known.extend(read);
                    parts.push(Arc::clone(part));
                }
                Err(PartError::Damaged(reason)) => part.quarantine(&reason),
                Err(error) => return Err(error),
            }
        }
        Ok((known, parts))
    }

    /// Puts a durable change of parts before the eyes of scans, and has the files of removed parts go with their last
    /// reader.
    pub(crate) fn publish(&self, removed: &[Arc<Part>], added: &[Arc<Part>], ends_flush: bool) {
        let ids: Vec<u64> = removed.iter().map(|part| part.info.name.id).collect();
        let mut state = self.write_state();
        // One assignment: whatever happens while the new one is made, scans see the one or the other.
        let new = Arc::new(state.catalog.changed(&ids, added));
        let old = std::mem::replace(&mut state.catalog, new);
        let frozen = if ends_flush { state.frozen.pop_front() } else { None };
        drop(state);
        removed.iter().for_each(|part| part.retire());
        // Freed outside the lock: heads are large.
        drop((old, frozen));
    }

    /// Failing to delete segments costs space, not data; the next flush tries again.
    fn cut_log(&self, position: WalPosition) {
        let _ = lock(&self.writer).wal.truncate_before(position);
    }

    /// Merges one group of small parts, if there is one. Gives the number of parts merged.
    fn merge_once(&self) -> Result<usize, FlushError> {
        let mut gate = lock(&self.gate);
        // Part ids of a flush that failed are spoken for.
        if !self.read_state().frozen.is_empty() {
            return Ok(0);
        }
        let catalog = Arc::clone(&self.read_state().catalog);
        // Logs that are merged take as much memory as a head of theirs, so they wait until less comes in. Where heads
        // are filled faster than they are written for good, their parts are large anyway.
        let is_busy = self.log_bytes() > self.options.log_flush_bytes() / 4;
        let waits = |table| is_busy && table == PartTable::Logs;
        let Some(parts) = merge::choose(&catalog, &self.options, waits) else { return Ok(0) };
        let level = parts.iter().map(|part| part.info.level).max().unwrap_or(0).saturating_add(1);
        let merged = self.replace_parts(&mut gate, &parts, level);
        let mut observed = lock(&self.observed);
        match &merged {
            Ok(()) => observed.counts.merges += 1,
            Err(_) => observed.counts.merges_failed += 1,
        }
        merged.map(|()| parts.len())
    }

    pub(crate) fn expire_parts(&self, policy: &Retention) -> Result<Expired, WriteError> {
        let mut gate = lock(&self.gate);
        let is_calm = gate.clock_watch.is_calm(policy.now, self.clock.steady());
        let catalog = Arc::clone(&self.read_state().catalog);
        let Chosen { parts: old, for_size } =
            choose(catalog.all(), policy, self.beside(is_calm), self.options.retention_percent_max);
        if old.is_empty() {
            return Ok(Expired::default());
        }
        let edits: Vec<_> =
            old.iter().map(|part| Edit::RemovePart { id: PartId(part.info.name.id) }).collect();
        gate.manifest.commit(&edits).map_err(|error| WriteError::Unavailable {
            detail: format!("the removal of old parts could not be committed: {error}"),
        })?;
        drop(catalog);
        self.publish(&old, &[], false);
        let mut observed = lock(&self.observed);
        observed.counts.expired_parts += old.len() as u64;
        observed.counts.expired_parts_for_size += for_size as u64;
        let none = Expired { for_size: for_size as u64, ..Expired::default() };
        Ok(old.iter().fold(none, |sum, part| Expired {
            parts: sum.parts + 1,
            rows: sum.rows + part.info.rows,
            bytes: sum.bytes + part.info.bytes,
            ..sum
        }))
    }

    /// What retention must know beside parts.
    fn beside(&self, is_calm: bool) -> Beside {
        let wal_bytes = lock(&self.writer).wal.disk_bytes();
        let state = self.read_state();
        let heads = state.frozen.iter().map(|frozen| &frozen.heads).chain([&state.active]);
        let mut head_start = heads.filter_map(Heads::start).min();
        if !self.caught_up.load(Ordering::Acquire) {
            // What is still read back may be of any time.
            head_start = Some(Nanos(i64::MIN));
        }
        Beside { wal_bytes, head_start, is_calm }
    }
}

pub(crate) fn entry_of(part: &Part) -> PartEntry {
    let info = &part.info;
    PartEntry {
        id: PartId(info.name.id),
        table: info.name.table.as_str().to_owned(),
        tenant: info.name.tenant.clone(),
        file: info.name.to_file(),
        rows: info.rows,
        bytes: info.bytes,
        min_time: info.time.start,
        max_time: info.time.end,
        level: info.level,
    }
}
