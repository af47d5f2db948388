//! Parts of metrics and logs that stay open between scans: their footers, and the label sets of their series or the index
//! of their lines, which cost far more to read than what a query looks at.
//!
//! Bounded in bytes; what was not used for longest goes first. A part that is larger than the bound is opened for each
//! scan anew. Label sets are read when a scan first needs their row group. Nothing of the samples is kept.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use kenning_model::METRIC_NAME;

use super::PartError;
use super::columns::{GroupReader, TableReader};
use super::labels::SeriesRun;
use super::part::Part;
use crate::delete::Hidden;
use crate::logs::index::LogIndex;
use crate::logs::part::index_of;
use crate::logs::streams::StreamFacts;

/// Bytes of a parsed footer against its bytes in the file, roughly.
const FOOTER_FACTOR: usize = 4;

/// The open parts of an engine.
pub(crate) struct PartCache {
    entries: Mutex<Entries>,
    /// Bytes that all open parts may hold.
    bytes_max: usize,
}

#[derive(Default)]
struct Entries {
    /// By the part's id.
    open: HashMap<u64, Entry>,
    /// Counts uses, so that the least recent one is known.
    uses: u64,
}

struct Entry {
    part: Weak<Part>,
    open: Arc<OpenPart>,
    used: u64,
}

impl PartCache {
    /// Nothing is open yet.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { entries: Mutex::default(), bytes_max }
    }

    /// The part, opened. Fails at once when it is known to be damaged.
    pub(crate) fn open(&self, part: &Arc<Part>) -> Result<Opened, PartError> {
        // What is deleted now stays deleted in what is open already.
        Ok(Opened { part: self.open_file(part)?, hidden: part.hidden() })
    }

    fn open_file(&self, part: &Arc<Part>) -> Result<Arc<OpenPart>, PartError> {
        if let Some(reason) = part.damage() {
            return Err(PartError::Damaged(reason));
        }
        let id = part.info.name.id;
        if let Some(open) = self.entries().find(id) {
            return Ok(open);
        }
        let footer_bytes = FOOTER_FACTOR * part.info.name.tail_len as usize;
        let open = Arc::new(OpenPart::new(part.open()?, footer_bytes));
        let mut entries = self.entries();
        entries.uses += 1;
        let used = entries.uses;
        entries.open.insert(id, Entry { part: Arc::downgrade(part), open: Arc::clone(&open), used });
        Ok(open)
    }

    /// Closes what is over the bound, and parts that are no longer in use. Called when a scan is done with a part.
    pub(crate) fn trim(&self) {
        let mut entries = self.entries();
        entries.open.retain(|_, entry| entry.part.upgrade().is_some_and(|part| part.damage().is_none()));
        let mut bytes: usize = entries.open.values().map(|entry| entry.open.bytes()).sum();
        while bytes > self.bytes_max {
            let oldest = entries.open.iter().min_by_key(|(_, entry)| entry.used).map(|(id, _)| *id);
            let Some(entry) = oldest.and_then(|id| entries.open.remove(&id)) else { return };
            bytes = bytes.saturating_sub(entry.open.bytes());
        }
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn find(&mut self, id: u64) -> Option<Arc<OpenPart>> {
        let entry = self.open.get_mut(&id)?;
        self.uses += 1;
        entry.used = self.uses;
        Some(Arc::clone(&entry.open))
    }
}

/// A part as one scan sees it.
pub(crate) struct Opened {
    part: Arc<OpenPart>,
    hidden: Hidden,
}

impl Opened {
    /// Number of row groups.
    pub(crate) fn groups(&self) -> usize {
        self.part.reader.groups()
    }

    /// One row group, without rows that were deleted.
    pub(crate) fn group(&self, index: usize) -> Result<GroupReader<'_>, PartError> {
        self.part.reader.group_hiding(index, &self.hidden)
    }

    /// The series of a row group, as `read` gives them the first time.
    pub(crate) fn series(
        &self,
        group: usize,
        read: impl FnOnce() -> Result<Vec<SeriesRun>, PartError>,
    ) -> Result<Arc<GroupSeries>, PartError> {
        self.part.series(group, read)
    }

    /// The index of a part of logs; none for parts of version 1.
    pub(crate) fn log_index(&self) -> Result<Option<Arc<LogIndex>>, PartError> {
        if let Some(index) = self.part.logs.get() {
            return Ok(index.clone());
        }
        let index = index_of(&self.part.reader)?.map(Arc::new);
        let bytes = index.as_ref().map_or(0, |index| index.heap_bytes());
        self.part.index_bytes.store(bytes, Ordering::Relaxed);
        // Another scan may have been quicker; both read the same.
        let _ = self.part.logs.set(index.clone());
        Ok(index)
    }

    /// What labels say of the streams of a part of logs.
    pub(crate) fn streams(&self) -> &StreamFacts {
        &self.part.streams
    }

    /// Bytes that all scans together have read from the file so far.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.part.reader.bytes_read()
    }
}

/// A part with its footer, and the series of those row groups that were asked for.
struct OpenPart {
    reader: TableReader,
    footer_bytes: usize,
    groups: Vec<OnceLock<Arc<GroupSeries>>>,
    logs: OnceLock<Option<Arc<LogIndex>>>,
    /// What the index holds, once it is read: adding it up takes longer than many a query.
    index_bytes: AtomicUsize,
    streams: StreamFacts,
}

impl OpenPart {
    fn new(reader: TableReader, footer_bytes: usize) -> Self {
        let groups = (0..reader.groups()).map(|_| OnceLock::new()).collect();
        Self {
            reader,
            footer_bytes,
            groups,
            logs: OnceLock::new(),
            index_bytes: AtomicUsize::new(0),
            streams: StreamFacts::default(),
        }
    }

    fn series(
        &self,
        group: usize,
        read: impl FnOnce() -> Result<Vec<SeriesRun>, PartError>,
    ) -> Result<Arc<GroupSeries>, PartError> {
        let known = self.groups.get(group);
        if let Some(series) = known.and_then(OnceLock::get) {
            return Ok(Arc::clone(series));
        }
        let series = Arc::new(GroupSeries::new(read()?));
        if let Some(slot) = known {
            // Another scan may have been quicker; both read the same.
            let _ = slot.set(Arc::clone(&series));
        }
        Ok(series)
    }

    fn bytes(&self) -> usize {
        let series = self.groups.iter().filter_map(OnceLock::get).map(|series| series.bytes);
        let logs = self.index_bytes.load(Ordering::Relaxed);
        self.footer_bytes + series.sum::<usize>() + logs + self.reader.recent_bytes()
    }
}

/// The series of a row group, in the order of its rows.
pub(crate) struct GroupSeries {
    pub(crate) runs: Vec<SeriesRun>,
    /// Neighbours of one metric, so that a filter looks at each name once.
    pub(crate) metrics: Vec<Range<usize>>,
    /// Whether the series are in label order, as writers put them.
    pub(crate) is_sorted: bool,
    bytes: usize,
}

impl GroupSeries {
    fn new(runs: Vec<SeriesRun>) -> Self {
        let mut metrics: Vec<Range<usize>> = Vec::new();
        let name_of = |at: usize| runs.get(at).map(|run| run.labels.get(METRIC_NAME));
        for at in 0..runs.len() {
            match metrics.last_mut().filter(|last| name_of(last.start) == name_of(at)) {
                Some(last) => last.end = at + 1,
                None => metrics.push(at..at + 1),
            }
        }
        let bytes = runs.iter().map(|run| run.labels.heap_bytes() + size_of::<SeriesRun>()).sum();
        let is_sorted = runs.is_sorted_by(|a, b| a.labels <= b.labels);
        Self { runs, metrics, is_sorted, bytes }
    }
}
