//! The embedded engine: commit, head, part, in this order, behind [`Store`].
//!
//! Promises:
//! - [`Store::write`] returns after the group is on disk (one sync) and visible to every later scan.
//! - After any crash, what was acknowledged is there, once; nothing torn, nothing invented.
//! - Memory of heads is bounded: a full head is flushed before more is taken.
//! - A start takes writes before the log of earlier ones is read back; scans and flushes wait for that.
//! - Data never stops a start: damage is set aside, counted, and named in the answers that miss it.
//!
//! Locks, always taken in this order: `backlog` (what a start reads back), `gate` (flush, merge, retention), `writer`
//! (the log), `state` (heads and parts). Scans take `state` alone, to copy what they need. Threads are the caller's: something must call
//! [`Engine::maintain`] every few seconds.

use std::collections::VecDeque;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use kenning_codec::batch::{self, numbered};
use kenning_codec::bytes::{Decoder, Encoder};
use kenning_model::{
    Batch, BatchId, Block, Delete, DeleteError, Expired, Flow, Retention, Scan, ScanError, ScanSummary,
    SnapshotError, Store, TenantId, Write, WriteError,
};
use kenning_stdx::clock::Clock;
use kenning_stdx::random::Random;
use kenning_stdx::vfs::Vfs;

use crate::catalog::Catalog;
use crate::delete;
use crate::dir::{DataDir, OpenDirError, WAL};
use crate::heads::{Heads, Numbers};
use crate::maintain::Gate;
use crate::manifest::{Manifest, OpenManifestError};
use crate::options::Options;
use crate::parts::PartTable;
use crate::parts::cache::PartCache;
use crate::parts::part::Part;
use crate::recover::{self, Backlog};
use crate::stats::{Commits, Counts, EngineStats, PartSummary, ReplayProgress, Startup, TableStats};
use crate::wal::{AppendError, OpenWalError, Record, ReplayError, Wal, WalEnv, WalPosition};

/// The kind of the log's records that hold a tenant and a batch.
pub(crate) const KIND_BATCH: u16 = 1;

/// The kind of the log's records that hold a tenant and metrics whose series are numbers.
pub(crate) const KIND_NUMBERED: u16 = 2;

/// The kind of the log's records that hold several of these, which are there together or not at all.
pub(crate) const KIND_UNIT: u16 = 3;

/// Bytes before each payload of a unit: its kind and its length.
const MEMBER_HEADER_BYTES: usize = 6;

/// Bytes of rows after which series are defined anew: what one damaged definition can cost.
const EPOCH_BYTES_MAX: usize = 64 << 20;

/// Bytes of encoded groups that a write keeps for the next one.
const BUFFER_KEPT: usize = 4 << 20;

/// Why an engine cannot be opened. Damaged data is no such reason.
#[derive(Debug)]
pub enum OpenError {
    /// The directory.
    Dir(OpenDirError),
    /// The manifest.
    Manifest(OpenManifestError),
    /// The write-ahead log.
    Wal(OpenWalError),
    /// Reading the write-ahead log: the disk failed.
    Replay(ReplayError),
    /// Reading the write-ahead log failed before; a new start tries again.
    Unreadable {
        /// How it failed.
        detail: String,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dir(error) => error.fmt(f),
            Self::Manifest(error) => error.fmt(f),
            Self::Wal(error) => error.fmt(f),
            Self::Replay(error) => error.fmt(f),
            Self::Unreadable { detail } => write!(f, "{detail}; start again once the disk is well"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Dir(error) => error.source(),
            Self::Manifest(error) => error.source(),
            Self::Wal(error) => error.source(),
            Self::Replay(error) => error.source(),
            Self::Unreadable { .. } => None,
        }
    }
}

/// Heads that are being written as parts. Scans go on seeing them until the parts take their place.
pub(crate) struct Frozen {
    pub(crate) heads: Heads,
    /// The last batch in them.
    pub(crate) through: u64,
    /// Everything before is in them or in parts.
    pub(crate) position: WalPosition,
    /// Their parts, once all are written.
    pub(crate) written: Mutex<Option<crate::maintain::FlushPlan>>,
}

impl Frozen {
    pub(crate) fn new(heads: Heads, through: u64, position: WalPosition) -> Self {
        Self { heads, through, position, written: Mutex::new(None) }
    }
}

/// What scans see.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) active: Heads,
    /// When the first batch came into the active heads, by the steady clock.
    pub(crate) active_since: Option<Duration>,
    /// Oldest first: one, and a second only where a start read back what could not be flushed at once.
    pub(crate) frozen: VecDeque<Arc<Frozen>>,
    pub(crate) catalog: Arc<Catalog>,
}

/// The log and what only its writer needs.
pub(crate) struct Writer {
    pub(crate) wal: Wal,
    pub(crate) last: u64,
    pub(crate) epoch: Epoch,
    payloads: Vec<u8>,
}

/// How long series keep the numbers that the log knows them by: as long as one head, and less where something of them
/// may be missing in the log.
#[derive(Debug)]
pub(crate) struct Epoch {
    /// The sequence of its first record; `None` until there is one.
    first: Option<u64>,
    /// Tells it from others in the memory of the heads.
    mark: u32,
    bytes: usize,
}

impl Epoch {
    fn new() -> Self {
        Self { first: None, mark: 1, bytes: 0 }
    }

    /// The next record begins a new one.
    pub(crate) fn end(&mut self) {
        *self = Self { first: None, mark: self.mark.wrapping_add(1).max(1), bytes: 0 };
    }

    fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.bytes > EPOCH_BYTES_MAX {
            self.end();
        }
    }
}

/// Numbers that nothing depends on.
#[derive(Default)]
pub(crate) struct Observed {
    pub(crate) commits: Commits,
    pub(crate) counts: Counts,
    pub(crate) startup: Startup,
}

/// The embedded store.
pub struct Engine {
    pub(crate) dir: DataDir,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: Options,
    pub(crate) gate: Mutex<Gate>,
    pub(crate) writer: Mutex<Writer>,
    pub(crate) state: RwLock<State>,
    pub(crate) open_parts: PartCache,
    pub(crate) observed: Mutex<Observed>,
    last: AtomicU64,
    pub(crate) backlog: Mutex<Backlog>,
    /// Nothing is left of `backlog`.
    pub(crate) caught_up: AtomicBool,
    /// Bytes of heads that are being read back.
    pub(crate) backlog_bytes: AtomicUsize,
    /// The first and the last segment of the log that the start reads back.
    pub(crate) replay_segments: (u64, u64),
    /// The one being read.
    pub(crate) replay_at: AtomicU64,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("last", &self.last).finish_non_exhaustive()
    }
}

/// A panic elsewhere leaves these values whole: they are changed by single assignments or by appending.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    /// Opens the data directory that `vfs` is rooted at, laying it out when it is empty, and reads back what is not in
    /// parts yet. `random` names new files of the log.
    pub fn open(
        vfs: Arc<dyn Vfs>,
        clock: Arc<dyn Clock>,
        random: Random,
        options: Options,
    ) -> Result<Self, OpenError> {
        let engine = Self::open_ahead(vfs, clock, random, options)?;
        engine.catch_up()?;
        Ok(engine)
    }

    /// As [`Self::open`], ahead of what the log holds: writes are taken at once, scans read it back first. Something
    /// should call [`Self::catch_up`] so that they need not.
    pub fn open_ahead(
        vfs: Arc<dyn Vfs>,
        clock: Arc<dyn Clock>,
        random: Random,
        options: Options,
    ) -> Result<Self, OpenError> {
        let started = clock.steady();
        let mut random = random;
        let dir = DataDir::open(Arc::clone(&vfs)).map_err(OpenError::Dir)?;
        let manifest_random = Random::seeded(random.next_u64());
        let (manifest, report) =
            Manifest::open(Arc::clone(&vfs), manifest_random).map_err(OpenError::Manifest)?;
        let flushed_through = manifest.state().flushed_through;
        let mut wal_options = options.wal;
        wal_options.flushed_through = flushed_through;
        let env = WalEnv { vfs: Arc::clone(&vfs), clock: Arc::clone(&clock), random };
        let (wal, replay) = Wal::open(env, Path::new(WAL), wal_options).map_err(OpenError::Wal)?;
        let (catalog, unknown_parts) = recover::catalog_of(&vfs, manifest.state());
        let unknown_tombstones = delete::apply_tombstones(manifest.state(), catalog.all());
        let orphans_removed = recover::clean_up(&*vfs, manifest.state(), &report);
        let last = wal.last_sequence().max(flushed_through);
        let took = clock.steady().saturating_sub(started);
        let startup = Startup {
            took,
            manifest: report,
            unknown_parts,
            unknown_tombstones,
            orphans_removed,
            ..Startup::default()
        };
        let replay_segments = replay.segments().unwrap_or_default();
        let backlog = Backlog::new(replay, last, wal.position(), started);
        Ok(Self {
            dir,
            clock,
            options,
            gate: Mutex::new(Gate::new(manifest)),
            writer: Mutex::new(Writer { wal, last, epoch: Epoch::new(), payloads: Vec::new() }),
            state: RwLock::new(State { catalog: Arc::new(catalog), ..State::default() }),
            open_parts: PartCache::new(options.open_parts_bytes_max),
            observed: Mutex::new(Observed { startup, ..Observed::default() }),
            last: AtomicU64::new(last),
            backlog: Mutex::new(backlog),
            caught_up: AtomicBool::new(false),
            backlog_bytes: AtomicUsize::new(0),
            replay_segments,
            replay_at: AtomicU64::new(replay_segments.0),
        })
    }

    pub(crate) fn vfs(&self) -> &Arc<dyn Vfs> {
        self.dir.vfs()
    }

    pub(crate) fn read_state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write_state(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes batches visible; gives for each the number of samples whose time was taken by another value.
    pub(crate) fn apply<'a>(
        &self,
        batches: impl Iterator<Item = (&'a TenantId, &'a Batch, &'a [u32])>,
    ) -> Vec<u64> {
        let now = self.clock.steady();
        let mut state = self.write_state();
        let conflicts =
            batches.map(|(tenant, batch, numbers)| state.active.add(tenant, batch, numbers)).collect();
        state.active_since.get_or_insert(now);
        conflicts
    }

    /// Bytes of the active heads and of those being flushed.
    pub(crate) fn head_bytes(&self) -> usize {
        let state = self.read_state();
        let frozen: usize = state.frozen.iter().map(|frozen| frozen.heads.bytes()).sum();
        state.active.bytes() + frozen + self.backlog_bytes.load(Ordering::Relaxed)
    }

    /// Of these the bytes of log records.
    pub(crate) fn log_bytes(&self) -> usize {
        let state = self.read_state();
        state.active.log_bytes() + state.frozen.iter().map(|frozen| frozen.heads.log_bytes()).sum::<usize>()
    }

    /// Makes room in full heads, in the writer's own time: the bound holds before anything else.
    fn make_room(&self, group: &[Write]) -> Result<(), WriteError> {
        let bytes = |of: &dyn Fn(&Batch) -> bool| -> usize {
            group.iter().filter(|write| of(&write.batch)).map(|write| write.batch.heap_bytes()).sum()
        };
        let (all, logs) = (bytes(&|_| true), bytes(&|batch| matches!(batch, Batch::Logs(_))));
        let (limit, log_limit) = (self.options.head_bytes_max, self.options.log_head_bytes_max());
        let fits = |held: usize, more: usize, limit: usize| held == 0 || held.saturating_add(more) <= limit;
        let has_room =
            || fits(self.head_bytes(), all, limit) && (logs == 0 || fits(self.log_bytes(), logs, log_limit));
        if has_room() {
            return Ok(());
        }
        self.flush_until(has_room).map_err(|error| WriteError::Unavailable {
            detail: format!("recent data fill their memory and cannot be flushed: {error}"),
        })
    }

    /// Appends to the log and applies, under the writer's lock. Gives conflicts by position in the group.
    fn commit(&self, group: &[Write]) -> Result<Vec<u64>, AppendError> {
        let mut writer = lock(&self.writer);
        let (mut last, mut unit) = (writer.last, None);
        let fresh: Vec<&Write> = group
            .iter()
            .filter(|write| {
                let is_new = write.id.0 > last || unit == Some(write.id);
                last = last.max(write.id.0);
                unit = is_new.then_some(write.id);
                is_new
            })
            .collect();
        let Some(first) = fresh.first() else { return Ok(Vec::new()) };
        // Ids rise, so what was written before stands in front.
        let repeated = group.len() - fresh.len();
        let epoch = *writer.epoch.first.get_or_insert(first.id.0);
        let mark = writer.epoch.mark;
        let numbers: Vec<Numbers> = {
            let mut state = self.write_state();
            fresh.iter().map(|write| state.active.resolve(&write.tenant, &write.batch, mark)).collect()
        };
        let mut payloads = std::mem::take(&mut writer.payloads);
        payloads.clear();
        let members: Vec<_> = fresh.iter().copied().zip(&numbers).collect();
        let units = members.chunk_by(|(a, _), (b, _)| a.id == b.id);
        let pieces: Vec<Piece> = units.map(|unit| encode_unit(unit, epoch, &mut payloads)).collect();
        let rows = pieces.iter().map(|piece| piece.rows).sum();
        let starts = std::iter::once(0).chain(pieces.iter().map(|piece| piece.end));
        let records: Vec<_> = pieces
            .iter()
            .zip(starts)
            .filter_map(|(Piece { sequence, kind, end, .. }, start)| {
                Some(Record { sequence: *sequence, kind: *kind, payload: payloads.get(start..*end)? })
            })
            .collect();
        let started = self.clock.steady();
        let appended = writer.wal.append_group(&records);
        self.observe_commit(started, appended.is_ok());
        if payloads.capacity() <= BUFFER_KEPT {
            writer.payloads = payloads;
        }
        match &appended {
            Ok(_) => writer.epoch.add(rows),
            // Definitions that were not acknowledged may not be there.
            Err(_) => writer.epoch.end(),
        }
        appended?;
        let applied = fresh.iter().zip(&numbers);
        let applied =
            applied.map(|(write, numbers)| (&write.tenant, &write.batch, numbers.series.as_slice()));
        let mut conflicts = vec![0; repeated];
        conflicts.extend(self.apply(applied));
        writer.last = last;
        self.last.store(last, Ordering::Release);
        Ok(conflicts)
    }

    fn observe_commit(&self, started: Duration, done: bool) {
        let took = self.clock.steady().saturating_sub(started);
        let mut observed = lock(&self.observed);
        if done { observed.commits.add(took) } else { observed.commits.failed += 1 }
    }

    /// The parts of a table, of all tenants, by time.
    #[must_use]
    pub fn parts_of(&self, table: PartTable) -> Vec<PartSummary> {
        let catalog = Arc::clone(&self.read_state().catalog);
        let parts = catalog.all().filter(|part| part.info.name.table == table).map(|part| PartSummary {
            id: part.info.name.id,
            time: part.info.time,
            rows: part.info.rows,
            bytes: part.info.bytes,
            level: part.info.level,
        });
        let mut parts: Vec<_> = parts.collect();
        parts.sort_by_key(|part| (part.time.start, part.id));
        parts
    }

    /// The engine's state in numbers. Takes the locks for a short time each, so the numbers are not of one instant.
    #[must_use]
    pub fn stats(&self) -> EngineStats {
        let (wal_bytes, read_only) = {
            let writer = lock(&self.writer);
            (writer.wal.disk_bytes(), writer.wal.read_only_reason().map(str::to_owned))
        };
        let state = self.read_state();
        let frozen = state.frozen.clone();
        let (active_series, active_bytes) = (state.active.series(), state.active.bytes());
        let mut conflicts = state.active.conflicts();
        let mut dropped = state.active.dropped();
        let catalog = Arc::clone(&state.catalog);
        drop(state);
        conflicts += frozen.iter().map(|frozen| frozen.heads.conflicts()).sum::<u64>();
        frozen.iter().for_each(|frozen| dropped.add(frozen.heads.dropped()));
        let head_bytes = active_bytes + frozen.iter().map(|frozen| frozen.heads.bytes()).sum::<usize>();
        let head_bytes = head_bytes + self.backlog_bytes.load(Ordering::Relaxed);
        let observed = lock(&self.observed);
        let mut counts = observed.counts;
        counts.conflicting_samples += conflicts;
        counts.dropped_exemplars += dropped.exemplars;
        counts.dropped_metadata += dropped.metadata;
        EngineStats {
            active_series: active_series as u64,
            head_bytes: head_bytes as u64,
            wal_bytes,
            read_only,
            tables: PartTable::ALL.into_iter().map(|table| table_stats(&catalog, table)).collect(),
            quarantined: catalog.all().filter_map(|part| Some(part.missing(&part.damage()?))).collect(),
            commits: observed.commits,
            counts,
            startup: observed.startup.clone(),
            replay: ReplayProgress {
                min: self.replay_segments.0,
                max: self.replay_segments.1,
                current: self.replay_at.load(Ordering::Relaxed),
            },
        }
    }
}

fn table_stats(catalog: &Catalog, table: PartTable) -> TableStats {
    let parts = catalog.all().filter(|part| part.info.name.table == table);
    parts.fold(TableStats { table, parts: 0, rows: 0, bytes: 0 }, |sum, part: &Arc<Part>| TableStats {
        table,
        parts: sum.parts + 1,
        rows: sum.rows + part.info.rows,
        bytes: sum.bytes + part.info.bytes,
    })
}

/// A record to be written, by the end of its payload.
struct Piece {
    sequence: u64,
    kind: u16,
    end: usize,
    /// Bytes that do not define series.
    rows: usize,
}

/// Appends the payload of a unit's record: that of its only write, or of each its kind (`u16`), its length (`u32`), both
/// little-endian, and the payload.
fn encode_unit(unit: &[(&Write, &Numbers)], epoch: u64, out: &mut Vec<u8>) -> Piece {
    let sequence = unit.first().map_or(0, |(write, _)| write.id.0);
    let start = out.len();
    if let [(write, numbers)] = unit {
        let (kind, definitions) = encode_payload(write, epoch, numbers, out);
        return Piece { sequence, kind, end: out.len(), rows: out.len() - start - definitions };
    }
    let mut defining = 0;
    for (write, numbers) in unit {
        let header = out.len();
        out.extend([0; MEMBER_HEADER_BYTES]);
        let (kind, definitions) = encode_payload(write, epoch, numbers, out);
        defining += definitions;
        // The log bounds records far below 4 GiB.
        let len = (out.len() - header - MEMBER_HEADER_BYTES) as u32;
        let bytes = kind.to_le_bytes().into_iter().chain(len.to_le_bytes());
        out.iter_mut().skip(header).zip(bytes).for_each(|(place, byte)| *place = byte);
    }
    Piece { sequence, kind: KIND_UNIT, end: out.len(), rows: out.len() - start - defining }
}

/// The kinds and payloads in a unit's record; `None` when they do not fill it.
pub(crate) fn split_unit(mut payload: &[u8]) -> Option<Vec<(u16, &[u8])>> {
    let mut members = Vec::new();
    while !payload.is_empty() {
        let (kind, rest) = payload.split_first_chunk()?;
        let (len, rest) = rest.split_first_chunk()?;
        let (member, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        members.push((u16::from_le_bytes(*kind), member));
        payload = rest;
    }
    Some(members)
}

/// Appends tenant and batch to `out`; gives the record's kind and the bytes that define series.
fn encode_payload(write: &Write, epoch: u64, numbers: &Numbers, out: &mut Vec<u8>) -> (u16, usize) {
    let mut encoder = Encoder::after(std::mem::take(out));
    encoder.text(write.tenant.as_str());
    *out = encoder.into_bytes();
    match &write.batch {
        Batch::Metrics(batch) if batch.series.len() <= numbered::NUMBERS_MAX => {
            (KIND_NUMBERED, numbered::encode(epoch, batch, &numbers.series, &numbers.fresh, out))
        }
        batch => {
            batch::encode(batch, out);
            (KIND_BATCH, 0)
        }
    }
}

/// Takes a payload of [`encode_payload`] apart: whose it is, and the rest.
pub(crate) fn split_payload(payload: &[u8]) -> Option<(TenantId, &[u8])> {
    let mut decoder = Decoder::new(payload);
    let tenant = TenantId::parse(decoder.text()?).ok()?;
    Some((tenant, payload.get(payload.len() - decoder.remaining()..)?))
}

fn write_error(error: AppendError) -> WriteError {
    let detail = match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    match error {
        AppendError::ReadOnly { .. } => WriteError::ReadOnly { detail },
        _ => WriteError::Unavailable { detail },
    }
}

impl Store for Engine {
    fn write(&self, group: &[Write]) -> Result<(), WriteError> {
        self.write_told(group).map(drop)
    }

    fn write_told(&self, group: &[Write]) -> Result<Vec<u64>, WriteError> {
        self.make_room(group)?;
        match self.commit(group) {
            Err(AppendError::Full { .. }) => {
                // Segments go once their records are in parts.
                self.flush().map_err(|error| WriteError::Unavailable {
                    detail: format!("the write-ahead log is full and heads cannot be flushed: {error}"),
                })?;
                self.commit(group).map_err(write_error)
            }
            done => done.map_err(write_error),
        }
    }

    fn last_batch_id(&self) -> BatchId {
        BatchId(self.last.load(Ordering::Acquire))
    }

    fn scan(&self, scan: &Scan, sink: &mut dyn FnMut(Block) -> Flow) -> Result<ScanSummary, ScanError> {
        crate::answer::answer(self, scan, sink)
    }

    fn expire(&self, policy: &Retention) -> Result<Expired, WriteError> {
        self.expire_parts(policy)
    }

    fn delete(&self, delete: &Delete) -> Result<(), DeleteError> {
        self.delete_rows(delete)
    }

    fn clean(&self) -> Result<u64, WriteError> {
        self.clean_deleted()
    }

    fn snapshot(&self, name: &str, recent: bool) -> Result<(), SnapshotError> {
        self.take_snapshot(name, recent)
    }
}
