//! From what is on disk to an engine that answers.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use kenning_codec::batch;
use kenning_codec::batch::numbered::{self, Definitions, Numbered};
use kenning_model::{Batch, LabelSet, TenantId, TimeRange};
use kenning_stdx::vfs::Vfs;

use crate::catalog::Catalog;
use crate::dir::PARTS;
use crate::engine::{Engine, KIND_BATCH, KIND_NUMBERED, lock, split_payload};
use crate::manifest::{ManifestReport, ManifestState, PartEntry};
use crate::metrics::head::ABSENT;
use crate::parts::name::PartName;
use crate::parts::part::{Part, PartInfo};
use crate::wal::{Replay, ReplayError, ReplayReport, ReplayedRecord};

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

/// Reads the log into heads, flushing whenever they are full, so that a long log needs no more memory than a short one.
/// When flushing fails (a full disk) the heads grow: the bound of the log is then the bound of memory.
pub(crate) fn replay(engine: &Engine, replay: Replay) -> Result<ReplayReport, ReplayError> {
    let (mut undecodable, mut may_flush) = (0, true);
    let mut dictionaries = Dictionaries::default();
    let mut replay = replay.with_flushed();
    for record in replay.by_ref() {
        let record = record?;
        let understood = match record.kind {
            KIND_NUMBERED => dictionaries.replay(engine, &record),
            _ if record.flushed => true,
            KIND_BATCH => replay_batch(engine, &record.payload).is_some(),
            _ => false,
        };
        undecodable += u64::from(!understood);
        if may_flush && engine.head_bytes() > engine.options.flush_bytes {
            may_flush = engine.flush_replayed(record.sequence).is_ok();
            dictionaries.forget_numbers();
        }
    }
    lock(&engine.observed).counts.undecodable_records = undecodable;
    Ok(replay.report().clone())
}

fn replay_batch(engine: &Engine, payload: &[u8]) -> Option<()> {
    let (tenant, rest) = split_payload(payload)?;
    let batch = batch::decode(rest).ok()?;
    let numbers = match &batch {
        Batch::Metrics(batch) => engine.write_state().active.number(&tenant, &batch.series),
        _ => Vec::new(),
    };
    engine.apply(std::iter::once((&tenant, &batch, numbers.as_slice())));
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
    /// Takes a record; false when it, or a definition that it builds on, cannot be understood. Rows whose series are
    /// known are taken in any case.
    fn replay(&mut self, engine: &Engine, record: &ReplayedRecord) -> bool {
        let Some((tenant, rest)) = split_payload(&record.payload) else { return false };
        let dictionary = self.0.entry(tenant.clone()).or_default();
        if record.flushed {
            return numbered::decode_definitions(rest).map(|read| dictionary.learn(read)).is_ok();
        }
        let Ok(Numbered { definitions, series, rows }) = numbered::decode(rest) else { return false };
        dictionary.learn(definitions);
        let mut state = engine.write_state();
        let numbers: Vec<u32> = series
            .iter()
            .map(|number| dictionary.number(*number, |set| state.active.number(&tenant, set)))
            .collect();
        drop(state);
        engine.apply(std::iter::once((&tenant, &Batch::Metrics(rows), numbers.as_slice())));
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
