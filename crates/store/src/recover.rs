//! From what is on disk to an engine that answers.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kenning_codec::batch;
use kenning_codec::batch::numbered::{self, Definitions, Numbered};
use kenning_model::{Batch, LabelSet, TenantId, TimeRange};
use kenning_stdx::vfs::Vfs;

use crate::catalog::Catalog;
use crate::dir::PARTS;
use crate::engine::{
    Engine, KIND_BATCH, KIND_NUMBERED, KIND_UNIT, OpenError, lock, split_payload, split_unit,
};
use crate::heads::Heads;
use crate::manifest::{ManifestReport, ManifestState, PartEntry};
use crate::metrics::head::ABSENT;
use crate::options::Options;
use crate::parts::name::PartName;
use crate::parts::part::{Part, PartInfo};
use crate::wal::{Replay, ReplayError, ReplayReport, ReplayedRecord, WalPosition};

/// The catalogue that the manifest describes, and the number of entries that this version cannot read.
pub(crate) fn catalog_of(vfs: &Arc<dyn Vfs>, manifest: &ManifestState) -> (Catalog, u64) {
    let parts: Vec<_> = manifest.parts.values().filter_map(|entry| part_of(vfs, entry)).collect();
    let unknown = (manifest.parts.len() - parts.len()) as u64;
    (Catalog::default().changed(&[], &parts), unknown)
}

fn part_of(vfs: &Arc<dyn Vfs>, entry: &PartEntry) -> Option<Arc<Part>> {
    let name =
        PartName::parse(&entry.file).filter(|name| name.id == entry.id.0 && name.tenant == entry.tenant)?;
    let time = TimeRange { start: entry.min_time, end: entry.max_time };
    let info = PartInfo { name, rows: entry.rows, bytes: entry.bytes, time, level: entry.level };
    Some(Arc::new(Part::new(Arc::clone(vfs), info)))
}

/// Removes files that no transaction names: work that a crash interrupted, and parts whose removal it did. Where the
/// manifest lost something, such a file may be the only copy and stays. Gives the number of files removed.
pub(crate) fn clean_up(vfs: &dyn Vfs, manifest: &ManifestState, report: &ManifestReport) -> u64 {
    if !report.is_complete() {
        return 0;
    }
    let named: HashSet<&str> = manifest.parts.values().map(|entry| entry.file.as_str()).collect();
    let mut removed = 0;
    // A folder or file that cannot be listed or removed now is tried again at the next start.
    for tenant in vfs.list(Path::new(PARTS)).unwrap_or_default() {
        let folder = Path::new(PARTS).join(&tenant);
        for file in vfs.list(&folder).unwrap_or_default() {
            if !named.contains(format!("{tenant}/{file}").as_str()) && vfs.remove(&folder.join(&file)).is_ok()
            {
                removed += 1;
            }
        }
    }
    removed
}

/// Records that are read back before the lock is given to others.
const STEP_RECORDS: usize = 16;

/// What the log held before this start and is not in parts, while it is read back. Writers do not wait for it: their
/// records go into new segments, and into heads of their own.
///
/// Rows are kept in heads that nobody else sees until all are there. These are flushed whenever they are full, so that
/// a long log needs no more memory than a short one. When flushing fails (a full disk) they grow: the bound of the log
/// is then the bound of memory.
pub(crate) struct Backlog {
    stage: Stage,
    heads: Heads,
    dictionaries: Dictionaries,
    may_flush: bool,
    undecodable: u64,
    /// The last sequence of before this start.
    through: u64,
    /// Where the log of this process begins.
    position: WalPosition,
    opened: Duration,
}

enum Stage {
    Reading(Box<Replay>),
    Done,
    /// The disk failed; a new start tries again.
    Failed(String),
}

impl Backlog {
    pub(crate) fn new(replay: Replay, through: u64, position: WalPosition, opened: Duration) -> Self {
        Self {
            stage: Stage::Reading(Box::new(replay.with_flushed())),
            heads: Heads::default(),
            dictionaries: Dictionaries::default(),
            may_flush: true,
            undecodable: 0,
            through,
            position,
            opened,
        }
    }

    /// Reads some records back.
    fn step(&mut self, engine: &Engine) -> Result<(), ReplayError> {
        for _ in 0..STEP_RECORDS {
            let Stage::Reading(replay) = &mut self.stage else { return Ok(()) };
            match replay.next() {
                Some(Ok(record)) => self.take(engine, &record),
                Some(Err(error)) => {
                    self.stage = Stage::Failed(error.to_string());
                    return Err(error);
                }
                None => {
                    self.finish(engine);
                    return Ok(());
                }
            }
        }
        engine.backlog_bytes.store(self.heads.bytes(), Ordering::Relaxed);
        if let Stage::Reading(replay) = &self.stage
            && let Some((current, _)) = replay.segments()
        {
            engine.replay_at.store(current, Ordering::Relaxed);
        }
        Ok(())
    }

    fn take(&mut self, engine: &Engine, record: &ReplayedRecord) {
        let (dictionaries, heads) = (&mut self.dictionaries, &mut self.heads);
        let mut replay = |kind, payload| dictionaries.replay(heads, kind, payload, record.flushed);
        let understood = match record.kind {
            KIND_UNIT => split_unit(&record.payload).is_some_and(|members| {
                // Each is to be looked at.
                members.into_iter().fold(true, |all, (kind, payload)| replay(kind, payload) && all)
            }),
            kind => replay(kind, &record.payload),
        };
        self.undecodable += u64::from(!understood);
        if self.may_flush && self.heads.bytes() > heads_max(&engine.options) {
            let heads = std::mem::take(&mut self.heads);
            self.may_flush = engine.flush_replayed(heads, record.sequence).is_ok();
            self.dictionaries.forget_numbers();
        }
    }

    /// Puts the rows before the eyes of scans.
    fn finish(&mut self, engine: &Engine) {
        let heads = std::mem::take(&mut self.heads);
        self.dictionaries = Dictionaries::default();
        let report = match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Reading(replay) => replay.report().clone(),
            Stage::Done | Stage::Failed(_) => ReplayReport::default(),
        };
        engine.adopt(heads, self.through, self.position);
        let took = engine.clock.steady().saturating_sub(self.opened);
        {
            let mut observed = lock(&engine.observed);
            observed.counts.undecodable_records = self.undecodable;
            observed.startup.replay = report;
            observed.startup.replayed_after = Some(took);
        }
        engine.backlog_bytes.store(0, Ordering::Relaxed);
        engine.replay_at.store(engine.replay_segments.1, Ordering::Relaxed);
        engine.caught_up.store(true, Ordering::Release);
    }
}

/// Bytes of heads that are read back at once: above what is due to be flushed, so that what one life held goes into the
/// heads of the next without a flush on the way, and with room left for what is written meanwhile.
fn heads_max(options: &Options) -> usize {
    options.flush_bytes.max(options.flush_bytes.midpoint(options.head_bytes_max))
}

impl Engine {
    /// Reads back what the log held before this start; returns at once when that was done. Several threads take turns.
    ///
    /// Fails when the disk does. Then the log keeps what it has: scans and flushes fail until a new start.
    pub fn catch_up(&self) -> Result<(), OpenError> {
        self.catch_up_while(|| Ok(()))
    }

    /// As [`Self::catch_up`], until `go_on` fails.
    pub(crate) fn catch_up_while<E: From<OpenError>>(
        &self,
        go_on: impl Fn() -> Result<(), E>,
    ) -> Result<(), E> {
        while !self.is_caught_up() {
            go_on()?;
            let mut backlog = lock(&self.backlog);
            if let Stage::Failed(detail) = &backlog.stage {
                return Err(OpenError::Unreadable { detail: detail.clone() }.into());
            }
            backlog.step(self).map_err(OpenError::Replay)?;
            drop(backlog);
            // Others that wait may look whether they still should.
            std::thread::yield_now();
        }
        Ok(())
    }

    /// True once everything that the log held before this start is before the eyes of scans.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        self.caught_up.load(Ordering::Acquire)
    }
}

fn replay_batch(heads: &mut Heads, payload: &[u8]) -> Option<()> {
    let (tenant, rest) = split_payload(payload)?;
    let batch = batch::decode(rest).ok()?;
    let numbers = match &batch {
        Batch::Metrics(batch) => heads.number(&tenant, &batch.series),
        _ => Vec::new(),
    };
    heads.add(&tenant, &batch, &numbers);
    Some(())
}

/// What the log has said of series so far.
#[derive(Default)]
struct Dictionaries(HashMap<TenantId, Dictionary>);

/// The series of one tenant in the epoch that is being read, by the number that the log gives them.
#[derive(Default)]
struct Dictionary {
    epoch: u64,
    sets: Vec<Option<LabelSet>>,
    /// Their numbers in the head, [`ABSENT`] where that was not asked yet.
    numbers: Vec<u32>,
}

impl Dictionaries {
    /// Takes a record, or a member of a unit; false when it, or a definition that it builds on, cannot be understood.
    fn replay(&mut self, heads: &mut Heads, kind: u16, payload: &[u8], flushed: bool) -> bool {
        match kind {
            KIND_NUMBERED => self.replay_numbered(heads, payload, flushed),
            _ if flushed => true,
            KIND_BATCH => replay_batch(heads, payload).is_some(),
            _ => false,
        }
    }

    /// Rows whose series are known are taken in any case.
    fn replay_numbered(&mut self, heads: &mut Heads, payload: &[u8], flushed: bool) -> bool {
        let Some((tenant, rest)) = split_payload(payload) else { return false };
        let dictionary = self.0.entry(tenant.clone()).or_default();
        if flushed {
            return numbered::decode_definitions(rest).map(|read| dictionary.learn(read)).is_ok();
        }
        let Ok(Numbered { definitions, series, rows }) = numbered::decode(rest) else { return false };
        dictionary.learn(definitions);
        let numbers: Vec<u32> = series
            .iter()
            .map(|number| dictionary.number(*number, |set| heads.number(&tenant, set)))
            .collect();
        heads.add(&tenant, &Batch::Metrics(rows), &numbers);
        !numbers.contains(&ABSENT)
    }

    /// The heads were replaced.
    fn forget_numbers(&mut self) {
        self.0.values_mut().for_each(|dictionary| dictionary.numbers.fill(ABSENT));
    }
}

impl Dictionary {
    fn learn(&mut self, read: Definitions) {
        if self.epoch != read.epoch {
            *self = Self { epoch: read.epoch, ..Self::default() };
        }
        for (number, set) in read.sets {
            // The decoder bounds numbers.
            let at = number as usize;
            if at >= self.sets.len() {
                self.sets.resize(at + 1, None);
                self.numbers.resize(at + 1, ABSENT);
            }
            if let (Some(slot), Some(known)) = (self.sets.get_mut(at), self.numbers.get_mut(at)) {
                (*slot, *known) = (Some(set), ABSENT);
            }
        }
    }

    /// The number in the head of the series with this number in the log.
    fn number(&mut self, number: u32, resolve: impl FnOnce(&[LabelSet]) -> Vec<u32>) -> u32 {
        let at = number as usize;
        let (Some(Some(set)), Some(known)) = (self.sets.get(at), self.numbers.get_mut(at)) else {
            return ABSENT;
        };
        if *known == ABSENT {
            *known = resolve(std::slice::from_ref(set)).first().copied().unwrap_or(ABSENT);
        }
        *known
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kenning_model::{Nanos, TenantId};
    use kenning_stdx::vfs::sim::SimVfs;

    use crate::manifest::PartId;

    fn entry(id: u64, file: &str) -> (PartId, PartEntry) {
        let entry = PartEntry {
            id: PartId(id),
            table: "logs".into(),
            tenant: TenantId::default_tenant(),
            file: file.into(),
            rows: 1,
            bytes: 1,
            min_time: Nanos(0),
            max_time: Nanos(1),
            level: 0,
        };
        (PartId(id), entry)
    }

    fn check(report: &ManifestReport, kept: &[&str]) {
        let vfs = SimVfs::new(1);
        let known = "default/logs-1-1-1-1.parquet";
        let files =
            [known, "default/from-the-future.parquet", "default/orphan.parquet", "default/x.parquet.new"];
        files.iter().for_each(|file| vfs.install(&Path::new(PARTS).join(file), b"x"));
        let parts = [entry(1, known), entry(2, files[1])].into_iter().collect();
        let manifest = ManifestState { parts, ..ManifestState::default() };
        let all: Arc<dyn Vfs> = Arc::new(vfs.clone());
        assert_eq!(catalog_of(&all, &manifest).1, 1);
        let removed = clean_up(&vfs, &manifest, report);
        assert_eq!(vfs.list(&Path::new(PARTS).join("default")).unwrap(), kept);
        assert_eq!(removed as usize, files.len() - kept.len());
    }

    #[test]
    fn only_files_that_a_complete_manifest_does_not_name_are_removed() {
        check(&ManifestReport::default(), &["from-the-future.parquet", "logs-1-1-1-1.parquet"]);
        let damaged = ManifestReport { damaged_transactions: 1, ..ManifestReport::default() };
        let all = ["from-the-future.parquet", "logs-1-1-1-1.parquet", "orphan.parquet", "x.parquet.new"];
        check(&damaged, &all);
    }
}
