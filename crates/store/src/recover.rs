//! From what is on disk to an engine that answers.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use kenning_model::TimeRange;
use kenning_stdx::vfs::Vfs;

use crate::catalog::Catalog;
use crate::dir::PARTS;
use crate::engine::{Engine, KIND_BATCH, decode_payload, lock};
use crate::manifest::{ManifestReport, ManifestState, PartEntry};
use crate::parts::name::PartName;
use crate::parts::part::{Part, PartInfo};
use crate::wal::{Replay, ReplayError, ReplayReport};

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
pub(crate) fn replay(engine: &Engine, mut replay: Replay) -> Result<ReplayReport, ReplayError> {
    let mut undecodable = 0;
    let mut may_flush = true;
    for record in replay.by_ref() {
        let record = record?;
        match decode_payload(&record.payload).filter(|_| record.kind == KIND_BATCH) {
            Some((tenant, batch)) => engine.apply(std::iter::once((&tenant, &batch))),
            None => undecodable += 1,
        }
        if may_flush && engine.head_bytes() > engine.options.flush_bytes {
            may_flush = engine.flush_replayed(record.sequence).is_ok();
        }
    }
    lock(&engine.observed).counts.undecodable_records = undecodable;
    Ok(replay.report().clone())
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
