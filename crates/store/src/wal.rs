//! The write-ahead log: what was acknowledged survives, whatever happens to the process, the machine or a sector.
//!
//! Records go in by groups ([`Wal::append_group`]): one write, one sync, then the caller acknowledges everyone who
//! waited. They come out by [`Replay`], oldest first, in bounded memory. Files are segments of fixed size, allocated and
//! made durable before they are needed; `docs/formats/wal.md` draws their bytes.
//!
//! Promised:
//! - Acknowledged is a subset of replayed, replayed is a subset of sent; order is kept, nothing comes twice.
//! - A failed append is undone, durably, before the error is returned ([`AppendError::is_undone`] is false in the rare
//!   case that the disk refused even that; such a group may or may not come back after a restart).
//! - After a failed sync nobody believes that file again: it is sealed at the last proven byte by a record in the next
//!   file, and the waiting group is written there. Two such failures in a short time make the log read-only.
//! - A torn tail is cut. Damage in acknowledged bytes costs the records it hits; the bytes go to `quarantine/`, the rest
//!   is read, the start goes on. Bytes left by another file, or by an undone append, are never taken for records.
//! - The log never takes more than its limit on disk.
//!
//! Absent: threads and batching (the caller's commit loop has them), the meaning of kinds and payloads, compression.

mod recovery;
mod replay;
mod segment;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kenning_codec::frame::{self, Header, MAX_PAYLOAD};
use kenning_stdx::clock::Clock;
use kenning_stdx::random::Random;
use kenning_stdx::vfs::{File, Vfs};

pub use replay::{Replay, ReplayError, ReplayReport, ReplayedRecord};
use segment::{Activation, Identity, Seal, SealReason};
pub use segment::{DATA_START, VERSION};

/// Flag of the first record of a group: everything before it was acknowledged.
const GROUP_START: u16 = 1;

/// Group buffers above this are given back after use.
const BUFFER_KEPT: usize = 4 << 20;

/// Smallest useful segment: the header page and as much again.
const SEGMENT_BYTES_MIN: u64 = 2 * DATA_START;

/// Attempts to commit one group: the first, and one in a fresh segment after a failed sync.
const COMMIT_ATTEMPTS: usize = 2;

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// What the log needs from the world.
#[derive(Clone)]
pub struct WalEnv {
    /// The data directory's file system.
    pub vfs: Arc<dyn Vfs>,
    /// Decides how close together two failures are.
    pub clock: Arc<dyn Clock>,
    /// Gives each segment its creation id.
    pub random: Random,
}

impl fmt::Debug for WalEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WalEnv").finish_non_exhaustive()
    }
}

/// Sizes and limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalOptions {
    /// Bytes of a segment; also the bound of a group. At least 8192.
    pub segment_bytes: u64,
    /// Bytes that all segments together may take.
    pub max_bytes: u64,
    /// Two failed syncs within this time (steady) make the log read-only.
    pub failure_window: Duration,
    /// Records up to this sequence are in parts already and are not replayed.
    pub flushed_through: u64,
}

impl Default for WalOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            max_bytes: 4 << 30,
            failure_window: Duration::from_secs(60),
            flushed_through: 0,
        }
    }
}

/// A record to be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its place in the order of all records; rises strictly over the life of the log. The first is at least 1.
    pub sequence: u64,
    /// What it is; the caller gives it meaning.
    pub kind: u16,
    /// Its bytes.
    pub payload: &'a [u8],
}

/// A place in the log; later places are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WalPosition {
    /// Number of the segment.
    pub segment: u64,
    /// Offset in its file.
    pub offset: u64,
}

/// Why the log cannot be opened. Damaged data is no such reason.
#[derive(Debug)]
pub enum OpenWalError {
    /// A segment was written by another version; nothing was changed.
    UnknownVersion {
        /// The file.
        path: PathBuf,
        /// The version it names.
        version: u32,
    },
    /// The file system failed.
    Io {
        /// What was being done.
        doing: &'static str,
        /// How it failed.
        source: io::Error,
    },
}

impl fmt::Display for OpenWalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownVersion { path, version } => write!(
                f,
                "{} has write-ahead log version {version}, this program knows {VERSION}; nothing was changed, use the \
                 program that wrote it",
                path.display()
            ),
            Self::Io { doing, .. } => write!(f, "the write-ahead log cannot be opened: {doing} failed"),
        }
    }
}

impl std::error::Error for OpenWalError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::UnknownVersion { .. } => None,
            Self::Io { source, .. } => Some(source),
        }
    }
}

/// Why a group was not appended. None of it may be acknowledged.
#[derive(Debug)]
pub enum AppendError {
    /// Sequences must rise strictly: a mistake of the caller.
    OutOfOrder {
        /// The sequence that does not.
        sequence: u64,
        /// The one before it.
        last: u64,
    },
    /// The group (or a record in it) can never fit.
    TooLarge {
        /// Bytes that the group would take.
        len: u64,
        /// Most that a group can take.
        max: u64,
    },
    /// The log is at its limit until something is flushed and [`Wal::truncate_before`] makes room.
    Full {
        /// Bytes that the log would take.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The log takes no more records until it is opened again.
    ReadOnly {
        /// Why.
        reason: String,
        /// False for the group at which it happened.
        undone: bool,
    },
    /// The file system failed; a later append may succeed.
    Failed {
        /// What was being done.
        doing: &'static str,
        /// How it failed.
        source: io::Error,
        /// True when it is certain that nothing of the group comes back after a restart.
        undone: bool,
    },
}

impl AppendError {
    /// True when it is certain that nothing of the group will ever be replayed; when false it may be.
    #[must_use]
    pub fn is_undone(&self) -> bool {
        match self {
            Self::OutOfOrder { .. } | Self::TooLarge { .. } | Self::Full { .. } => true,
            Self::ReadOnly { undone, .. } | Self::Failed { undone, .. } => *undone,
        }
    }
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfOrder { sequence, last } => write!(f, "record {sequence} comes after record {last}"),
            Self::TooLarge { len, max } => write!(f, "group of {len} bytes is over the limit of {max}"),
            Self::Full { bytes, limit } => {
                write!(f, "the write-ahead log would take {bytes} bytes, its limit is {limit}")
            }
            Self::ReadOnly { reason, .. } => write!(f, "the write-ahead log is read-only: {reason}"),
            Self::Failed { doing, undone, .. } => {
                let fate = if *undone { "undone" } else { "not certain to be undone" };
                write!(f, "{doing} failed; the group is {fate}")
            }
        }
    }
}

impl std::error::Error for AppendError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Failed { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// A segment that is made ready and not in use.
#[derive(Clone)]
struct Standby {
    identity: Identity,
    file: Arc<dyn File>,
}

/// The segment that records go into.
struct Active {
    identity: Identity,
    file: Arc<dyn File>,
    /// End of what was acknowledged.
    tail: u64,
    /// A sync succeeded since it was activated, so its activation (with the seal of the one before) is durable.
    proven: bool,
}

enum CommitError {
    Write(io::Error),
    Sync(io::Error),
}

/// The log. One value owns it; appending needs `&mut`.
pub struct Wal {
    env: WalEnv,
    dir: PathBuf,
    options: WalOptions,
    active: Option<Active>,
    standby: Option<Standby>,
    /// Where segments end, for the next activation to say; not durable yet. Newest segment first.
    pending_seals: Vec<Seal>,
    /// Sizes of the segments that are done.
    sealed: BTreeMap<u64, u64>,
    /// Files without records, to be removed once `pending_seals` are durable.
    empty: Vec<u64>,
    next_number: u64,
    last_sequence: u64,
    last_failure: Option<Duration>,
    read_only: Option<String>,
    /// Preparing ahead was tried for the active segment.
    tried_ahead: bool,
    buffer: Vec<u8>,
}

impl fmt::Debug for Wal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wal")
            .field("position", &self.position())
            .field("last_sequence", &self.last_sequence)
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}

impl Wal {
    /// Opens the log in `dir` (created if missing). Appending may start at once; what was there before comes out of the
    /// [`Replay`]. Existing records are never appended to: new ones start a new segment.
    pub fn open(env: WalEnv, dir: &Path, options: WalOptions) -> Result<(Self, Replay), OpenWalError> {
        let io_error = |doing| move |source| OpenWalError::Io { doing, source };
        let options = WalOptions { segment_bytes: options.segment_bytes.max(SEGMENT_BYTES_MIN), ..options };
        env.vfs.create_dir_all(dir).map_err(io_error("creating the folder"))?;
        env.vfs
            .sync_dir(dir.parent().unwrap_or(Path::new("")))
            .map_err(io_error("syncing the data directory"))?;
        let found = recovery::take_inventory(&*env.vfs, dir, options.flushed_through, options.segment_bytes)?;
        // The names found may be known to this machine's cache alone.
        env.vfs.sync_dir(dir).map_err(io_error("syncing the folder"))?;
        let replay = Replay::new(Arc::clone(&env.vfs), found.segments, options.flushed_through, found.report);
        let mut wal = Self {
            env,
            dir: dir.to_owned(),
            options,
            active: None,
            standby: found.standby,
            pending_seals: found.seals,
            sealed: found.sizes,
            empty: found.empty,
            next_number: found.last_number + 1,
            last_sequence: found.last_sequence,
            last_failure: None,
            read_only: None,
            tried_ahead: false,
            buffer: Vec::new(),
        };
        // A full disk must not keep a node from starting and answering queries; the first append tries again.
        let _ = wal.prepare_next();
        Ok((wal, replay))
    }

    /// Appends all records, syncs once, and returns the place after them: from then on they are durable and may be
    /// acknowledged. On an error none of them may be.
    pub fn append_group(&mut self, records: &[Record<'_>]) -> Result<WalPosition, AppendError> {
        if let Some(reason) = &self.read_only {
            return Err(AppendError::ReadOnly { reason: reason.clone(), undone: true });
        }
        let len = self.check(records)?;
        let Some(last) = records.last() else { return Ok(self.position()) };
        if self.active.as_ref().is_none_or(|active| active.tail + len > active.identity.capacity) {
            self.switch_segment(SealReason::Full, true)?;
        }
        self.commit_or_move(records, len)?;
        self.last_sequence = last.sequence;
        self.prepare_ahead();
        Ok(self.position())
    }

    /// Deletes the segments that end before `position`. Call it after the manifest has recorded, durably, that
    /// everything before is in parts, and after the replay of those segments has ended.
    pub fn truncate_before(&mut self, position: WalPosition) -> io::Result<()> {
        while let Some((&number, _)) =
            self.sealed.first_key_value().filter(|(number, _)| **number < position.segment)
        {
            let path = segment::path(&self.dir, number);
            if self.env.vfs.exists(&path)? {
                self.env.vfs.remove(&path)?;
            }
            // One by one and oldest first, so that no crash leaves an older segment without its successor.
            self.env.vfs.sync_dir(&self.dir)?;
            self.sealed.remove(&number);
        }
        Ok(())
    }

    /// Makes the next segment ready if none is. Called by the log itself when half of a segment is used; a commit loop
    /// that has idle time may call it earlier.
    pub fn prepare_next(&mut self) -> Result<(), AppendError> {
        if self.standby.is_none() {
            self.standby = Some(self.make_segment()?);
        }
        Ok(())
    }

    /// The place where the next record goes: everything before it is acknowledged.
    #[must_use]
    pub fn position(&self) -> WalPosition {
        if let Some(active) = &self.active {
            return WalPosition { segment: active.identity.number, offset: active.tail };
        }
        let segment = self.standby.as_ref().map_or(self.next_number, |standby| standby.identity.number);
        WalPosition { segment, offset: DATA_START }
    }

    /// The highest sequence that was used (also by records that were flushed, or lost to damage); new ones are above.
    #[must_use]
    pub fn last_sequence(&self) -> u64 {
        self.last_sequence
    }

    /// Bytes that the log's files take on disk.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        let active = self.active.as_ref().map_or(0, |active| active.identity.capacity);
        let standby = self.standby.as_ref().map_or(0, |standby| standby.identity.capacity);
        self.sealed.values().sum::<u64>() + active + standby
    }

    /// Why the log takes no records any more, if so.
    #[must_use]
    pub fn read_only_reason(&self) -> Option<&str> {
        self.read_only.as_deref()
    }

    /// Checks order and size; returns the bytes that the group takes.
    fn check(&self, records: &[Record<'_>]) -> Result<u64, AppendError> {
        let max = self.options.segment_bytes - DATA_START;
        let mut last = self.last_sequence;
        let mut len = 0;
        for record in records {
            if record.sequence <= last {
                return Err(AppendError::OutOfOrder { sequence: record.sequence, last });
            }
            last = record.sequence;
            len += segment::record_len(record.payload.len());
            if len > max || record.payload.len() > MAX_PAYLOAD {
                return Err(AppendError::TooLarge { len, max });
            }
        }
        Ok(len)
    }

    fn commit_or_move(&mut self, records: &[Record<'_>], len: u64) -> Result<(), AppendError> {
        for attempt in 1..=COMMIT_ATTEMPTS {
            match self.commit(records) {
                Ok(()) => return Ok(()),
                Err(CommitError::Write(source)) => return Err(self.undo(len, source)),
                Err(CommitError::Sync(source)) => {
                    self.note_failed_sync(&source)?;
                    self.switch_segment(SealReason::Failed, false)?;
                    if attempt == COMMIT_ATTEMPTS {
                        return Err(AppendError::Failed { doing: "syncing a group", source, undone: false });
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes the group behind the tail of the active segment, syncs, and moves the tail.
    fn commit(&mut self, records: &[Record<'_>]) -> Result<(), CommitError> {
        let Some(active) = &mut self.active else {
            return Err(CommitError::Write(io::Error::other("no segment is active")));
        };
        self.buffer.clear();
        let mut flags = GROUP_START;
        for record in records {
            let owner = active.identity.creation_id;
            let header = Header { sequence: record.sequence, owner, kind: record.kind, flags };
            frame::encode(header, record.payload, &mut self.buffer)
                .map_err(|error| CommitError::Write(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
            flags = 0;
        }
        active.file.write_all_at(&self.buffer, active.tail).map_err(CommitError::Write)?;
        let len = self.buffer.len() as u64;
        if self.buffer.capacity() > BUFFER_KEPT {
            self.buffer = Vec::new();
        }
        self.sync_active().map_err(CommitError::Sync)?;
        if let Some(active) = &mut self.active {
            active.tail += len;
        }
        Ok(())
    }

    fn sync_active(&mut self) -> io::Result<()> {
        let Some(active) = &mut self.active else { return Ok(()) };
        active.file.sync_data()?;
        if !active.proven {
            active.proven = true;
            self.settle_seal();
        }
        Ok(())
    }

    /// The seal of the segment before is durable: what it made superfluous may go. Failures cost only space.
    fn settle_seal(&mut self) {
        for seal in std::mem::take(&mut self.pending_seals) {
            if seal.reason != SealReason::Full
                && let Some(size) = self.sealed.get_mut(&seal.segment)
                && *size > seal.at
                && let Ok(file) = self.env.vfs.open(&segment::path(&self.dir, seal.segment))
                && file.set_len(seal.at).is_ok()
            {
                *size = seal.at;
            }
        }
        for number in std::mem::take(&mut self.empty) {
            let _ = self.env.vfs.remove(&segment::path(&self.dir, number));
        }
    }

    /// After a failed write: wipes what may have been written, durably; if that fails too, gives the segment up.
    fn undo(&mut self, len: u64, source: io::Error) -> AppendError {
        let wiped = self.wipe_behind_tail(len);
        let undone = match wiped {
            Ok(()) => true,
            Err(_) => self.switch_segment(SealReason::Failed, false).is_ok() && self.sync_or_note().is_ok(),
        };
        AppendError::Failed { doing: "writing a group", source, undone }
    }

    fn wipe_behind_tail(&mut self, len: u64) -> io::Result<()> {
        let Some(active) = &self.active else { return Ok(()) };
        let (mut from, end) = (active.tail, active.tail + len);
        while from < end {
            let step = usize::try_from(end - from).unwrap_or(ZEROS.len()).min(ZEROS.len());
            active.file.write_all_at(ZEROS.get(..step).unwrap_or(&ZEROS), from)?;
            from += step as u64;
        }
        self.sync_or_note()
    }

    fn sync_or_note(&mut self) -> io::Result<()> {
        self.sync_active().inspect_err(|error| {
            // Two failures close together end in read-only mode, which the next append reports.
            let _ = self.note_failed_sync(error);
            self.retire_active(SealReason::Failed);
        })
    }

    /// Counts a failed sync; the second within the window makes the log read-only.
    fn note_failed_sync(&mut self, error: &io::Error) -> Result<(), AppendError> {
        let now = self.env.clock.steady();
        let window = self.options.failure_window;
        let again = self.last_failure.is_some_and(|last| now.saturating_sub(last) < window);
        self.last_failure = Some(now);
        if !again {
            return Ok(());
        }
        let reason = format!("two syncs failed within {} s, the last with: {error}", window.as_secs());
        self.read_only = Some(reason.clone());
        Err(AppendError::ReadOnly { reason, undone: false })
    }

    /// Gives the active segment up and goes on in the next one. Its activation is written here and becomes durable with
    /// the next sync. `undone` is what an error says about the group at hand.
    fn switch_segment(&mut self, reason: SealReason, undone: bool) -> Result<(), AppendError> {
        self.retire_active(reason);
        if let Some(reason) = &self.read_only {
            return Err(AppendError::ReadOnly { reason: reason.clone(), undone });
        }
        let next = match self.standby.take() {
            Some(standby) => standby,
            None => self.make_segment().map_err(|error| with_fate(error, undone))?,
        };
        let Standby { identity, file } = next;
        let activation =
            Activation { next_sequence: self.last_sequence + 1, seals: self.pending_seals.clone() };
        let page = segment::encode_header(identity, Some(&activation));
        if let Err(source) = file.write_all_at(&page, 0) {
            // It holds no record, so it does no harm where it cannot be removed.
            let _ = self.env.vfs.remove(&segment::path(&self.dir, identity.number));
            return Err(AppendError::Failed { doing: "activating a segment", source, undone });
        }
        self.active = Some(Active { identity, file, tail: DATA_START, proven: false });
        self.tried_ahead = false;
        Ok(())
    }

    fn retire_active(&mut self, reason: SealReason) {
        let Some(active) = self.active.take() else { return };
        let number = active.identity.number;
        if active.proven {
            self.pending_seals.insert(0, Seal { segment: number, at: active.tail, reason });
            self.pending_seals.truncate(segment::SEALS_MAX);
            self.sealed.insert(number, active.identity.capacity);
            return;
        }
        // Nothing in it was acknowledged, and nothing of it may come back: its sequences will be used again.
        let vfs = &self.env.vfs;
        let removed = vfs.remove(&segment::path(&self.dir, number)).and_then(|()| vfs.sync_dir(&self.dir));
        if let Err(error) = removed {
            self.sealed.insert(number, active.identity.capacity);
            self.read_only =
                Some(format!("a segment with unacknowledged records cannot be removed: {error}"));
        }
    }

    fn prepare_ahead(&mut self) {
        let half_used = self.active.as_ref().is_some_and(|active| active.tail > active.identity.capacity / 2);
        if half_used && !self.tried_ahead {
            self.tried_ahead = true;
            // The append that needs the segment tries again and reports.
            let _ = self.prepare_next();
        }
    }

    /// Creates a segment and makes it durable: blocks, identity, name.
    fn make_segment(&mut self) -> Result<Standby, AppendError> {
        let capacity = self.options.segment_bytes;
        let bytes = self.disk_bytes() + capacity;
        if bytes > self.options.max_bytes {
            return Err(AppendError::Full { bytes, limit: self.options.max_bytes });
        }
        // A number is used once, also when this attempt fails.
        let number = self.next_number;
        self.next_number += 1;
        let identity = Identity { number, creation_id: self.env.random.next_u64(), capacity };
        let path = segment::path(&self.dir, number);
        let made = self.env.vfs.create(&path).and_then(|file| {
            file.allocate(capacity)?;
            file.write_all_at(&segment::encode_header(identity, None), 0)?;
            file.sync_data()?;
            self.env.vfs.sync_dir(&self.dir)?;
            Ok(Standby { identity, file })
        });
        made.map_err(|source| {
            let _ = self.env.vfs.remove(&path);
            AppendError::Failed { doing: "making a segment ready", source, undone: true }
        })
    }
}

/// The error of a step, saying what became of the group that needed the step.
fn with_fate(error: AppendError, undone: bool) -> AppendError {
    match error {
        AppendError::Failed { doing, source, .. } => AppendError::Failed { doing, source, undone },
        AppendError::Full { bytes, limit } if !undone => AppendError::Failed {
            doing: "making room for a segment",
            source: io::Error::new(io::ErrorKind::QuotaExceeded, format!("{bytes} bytes, limit {limit}")),
            undone,
        },
        other => other,
    }
}
