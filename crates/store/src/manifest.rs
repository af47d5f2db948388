//! The manifest: which parts there are, and up to which record of the write-ahead log they hold everything.
//!
//! A file of transactions, each a list of [`Edit`]s in one checksummed frame: it counts whole or not at all, and only
//! after its sync. A flush is one transaction (its parts and the log's sequence), a merge is one (the new part and the
//! old ones), so a crash shows nothing twice and nothing half. `docs/formats/manifest.md` draws the bytes.
//!
//! The file is written anew, aside and renamed, at every start (what the cache shows may not be on the disk), when it
//! has grown to a multiple of what it has to say, and after a failed sync, since nobody believes that file again.
//!
//! Promised: what [`Manifest::commit`] said it did is there after any crash. A transaction whose commit failed is not
//! applied here and disappears at the next success; if the process ends before that, it may turn up
//! ([`CommitError::Failed`]), so keep its files and the log's segments until it was tried again.
//! Damage costs the transactions it hits; it is counted, kept in `quarantine/`, and never stops a start. After damage
//! ([`ManifestReport::is_complete`] is false) files that the manifest does not name must not be deleted.
//!
//! Absent: the parts themselves, and everything else that must outlive a restart.

mod edit;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kenning_codec::frame::{self, Header};
use kenning_stdx::random::Random;
use kenning_stdx::vfs::{File, Vfs};

use crate::dir::replace_file;
use crate::frame_reader::{Damage, FrameReader, Piece};
use crate::quarantine;
pub use edit::{Edit, PartEntry, PartId, TombstoneEntry};

/// Version of the manifest's format.
pub const VERSION: u32 = 1;
/// Its name in the data directory.
pub const FILE_NAME: &str = "manifest";

/// Where transactions start: after two copies of the header, each in a sector of its own.
const DATA_START: u64 = 2 * SECTOR as u64;
const SECTOR: usize = 512;
const KIND_HEADER: u16 = 1;
const KIND_TRANSACTION: u16 = 2;

/// Edits per frame when the file is written anew.
const EDITS_PER_FRAME: usize = 512;
/// The file is not written anew for its size before it has this many bytes.
const REWRITE_BYTES_MIN: u64 = 1 << 20;
/// The file is written anew when it is this many times as long as after the last time.
const REWRITE_GROWTH: u64 = 4;
/// Longest manifest that is read: some millions of parts.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// What the manifest says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManifestState {
    /// The parts there are.
    pub parts: BTreeMap<PartId, PartEntry>,
    /// Parts hold all records of the write-ahead log up to this sequence.
    pub flushed_through: u64,
    /// The highest part id ever used; new ones are above.
    pub last_part_id: u64,
    /// Deleted rows that are still in parts, by id.
    pub tombstones: BTreeMap<u64, TombstoneEntry>,
}

/// What was met while reading the manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManifestReport {
    /// Transactions read.
    pub transactions: u64,
    /// A transaction at the end was being written when the process ended; it never counted.
    pub torn_tail: bool,
    /// Transactions that counted and cannot be read, at least.
    pub damaged_transactions: u64,
    /// The whole file could not be read and was moved to quarantine.
    pub unreadable: bool,
    /// Damaged bytes that could not be brought to `quarantine/`.
    pub not_kept: u64,
    /// The state could not be written anew; the first commit tries again.
    pub not_rewritten: bool,
}

impl ManifestReport {
    /// True when nothing that ever counted is missing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.damaged_transactions == 0 && !self.unreadable
    }
}

/// Why the manifest cannot be opened. Damage is no such reason.
#[derive(Debug)]
pub enum OpenManifestError {
    /// It was written by another version; nothing was changed.
    UnknownVersion {
        /// The version it names.
        version: u32,
    },
    /// It is longer than any manifest of ours.
    TooLong {
        /// Its length.
        len: u64,
    },
    /// The file system failed.
    Io {
        /// What was being done.
        doing: &'static str,
        /// How it failed.
        source: io::Error,
    },
}

impl fmt::Display for OpenManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownVersion { version } => write!(
                f,
                "the manifest has version {version}, this program knows {VERSION}; nothing was changed, use the program \
                 that wrote it"
            ),
            Self::TooLong { len } => {
                write!(f, "the manifest has {len} bytes, over the limit of {FILE_BYTES_MAX}")
            }
            Self::Io { doing, .. } => write!(f, "the manifest cannot be opened: {doing} failed"),
        }
    }
}

impl std::error::Error for OpenManifestError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::UnknownVersion { .. } | Self::TooLong { .. } => None,
            Self::Io { source, .. } => Some(source),
        }
    }
}

/// Why a transaction was not committed. None of it was applied.
#[derive(Debug)]
pub enum CommitError {
    /// A part of this id is there, or was.
    PartIdUsed {
        /// The id.
        id: PartId,
    },
    /// No part of this id is there.
    NoSuchPart {
        /// The id.
        id: PartId,
    },
    /// The log's sequence would go back.
    FlushedBackwards {
        /// The sequence offered.
        through: u64,
        /// The sequence recorded.
        recorded: u64,
    },
    /// The transaction is longer than a frame may be.
    TooLong,
    /// The file system failed. It is uncertain whether the transaction is there after a crash before the next success.
    Failed {
        /// How it failed.
        source: io::Error,
    },
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PartIdUsed { id } => write!(f, "part id {id} was used before"),
            Self::NoSuchPart { id } => write!(f, "there is no part {id}"),
            Self::FlushedBackwards { through, recorded } => {
                write!(f, "flushed through {through} comes after {recorded}")
            }
            Self::TooLong => f.write_str("the transaction is too long"),
            Self::Failed { .. } => f.write_str("writing the manifest failed"),
        }
    }
}

impl std::error::Error for CommitError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Failed { source } => Some(source),
            _ => None,
        }
    }
}

impl ManifestState {
    /// Applies a transaction, all or nothing.
    fn apply(&mut self, edits: &[Edit]) -> Result<(), CommitError> {
        self.check(edits)?;
        for edit in edits {
            match edit {
                Edit::AddPart(part) => {
                    self.last_part_id = self.last_part_id.max(part.id.0);
                    self.parts.insert(part.id, part.clone());
                }
                Edit::RemovePart { id } => {
                    self.parts.remove(id);
                }
                Edit::Flushed { through } => self.flushed_through = *through,
                Edit::PartIdsUsed { through } => self.last_part_id = self.last_part_id.max(*through),
                Edit::AddTombstone(entry) => {
                    self.tombstones.insert(entry.id, entry.clone());
                }
                Edit::RemoveTombstone { id } => {
                    self.tombstones.remove(id);
                }
            }
        }
        Ok(())
    }

    fn check(&self, edits: &[Edit]) -> Result<(), CommitError> {
        let (mut added, mut removed) = (BTreeSet::new(), BTreeSet::new());
        let mut recorded = self.flushed_through;
        for edit in edits {
            match edit {
                Edit::AddPart(part) if part.id.0 <= self.last_part_id || !added.insert(part.id) => {
                    return Err(CommitError::PartIdUsed { id: part.id });
                }
                Edit::RemovePart { id } if !self.parts.contains_key(id) || !removed.insert(*id) => {
                    return Err(CommitError::NoSuchPart { id: *id });
                }
                Edit::Flushed { through } if *through < recorded => {
                    return Err(CommitError::FlushedBackwards { through: *through, recorded });
                }
                Edit::Flushed { through } => recorded = *through,
                Edit::AddPart(_)
                | Edit::RemovePart { .. }
                | Edit::PartIdsUsed { .. }
                | Edit::AddTombstone(_)
                | Edit::RemoveTombstone { .. } => {}
            }
        }
        Ok(())
    }

    /// Applies what a file says. After damage it may name parts that are not there: those edits say nothing then.
    fn replay(&mut self, edits: Vec<Edit>) {
        for edit in edits {
            match edit {
                Edit::AddPart(part) => {
                    self.last_part_id = self.last_part_id.max(part.id.0);
                    self.parts.insert(part.id, part);
                }
                Edit::RemovePart { id } => {
                    self.parts.remove(&id);
                }
                Edit::Flushed { through } => self.flushed_through = self.flushed_through.max(through),
                Edit::PartIdsUsed { through } => self.last_part_id = self.last_part_id.max(through),
                Edit::AddTombstone(entry) => {
                    self.tombstones.insert(entry.id, entry);
                }
                Edit::RemoveTombstone { id } => {
                    self.tombstones.remove(&id);
                }
            }
        }
    }

    /// The tombstones of which every part is gone.
    pub(crate) fn spent_tombstones(&self) -> Vec<u64> {
        let is_spent = |entry: &&TombstoneEntry| !entry.parts.iter().any(|id| self.parts.contains_key(id));
        self.tombstones.values().filter(is_spent).map(|entry| entry.id).collect()
    }

    /// The edits that lead from nothing to this state.
    fn to_edits(&self) -> Vec<Edit> {
        let facts = [
            Edit::Flushed { through: self.flushed_through },
            Edit::PartIdsUsed { through: self.last_part_id },
        ];
        let parts = self.parts.values().cloned().map(Edit::AddPart);
        let tombstones = self.tombstones.values().cloned().map(Edit::AddTombstone);
        facts.into_iter().chain(parts).chain(tombstones).collect()
    }
}

/// The open file, while it can be believed.
struct Log {
    file: Arc<dyn File>,
    owner: u64,
    len: u64,
    next_sequence: u64,
    len_when_rewritten: u64,
}

/// The manifest of one data directory. One value owns it.
pub struct Manifest {
    vfs: Arc<dyn Vfs>,
    path: PathBuf,
    random: Random,
    state: ManifestState,
    log: Option<Log>,
}

impl fmt::Debug for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manifest").field("parts", &self.state.parts.len()).finish_non_exhaustive()
    }
}

impl Manifest {
    /// Reads the manifest in the root of `vfs`, or starts an empty one.
    pub fn open(vfs: Arc<dyn Vfs>, random: Random) -> Result<(Self, ManifestReport), OpenManifestError> {
        let path = PathBuf::from(FILE_NAME);
        let mut report = ManifestReport::default();
        let state = read(&*vfs, &path, &mut report)?;
        let mut manifest = Self { vfs, path, random, state, log: None };
        // A full disk must not keep a node from starting and answering queries.
        report.not_rewritten = manifest.rewrite(&manifest.state.clone()).is_err();
        Ok((manifest, report))
    }

    /// What the manifest says now.
    #[must_use]
    pub fn state(&self) -> &ManifestState {
        &self.state
    }

    /// An id that no part ever had. Not reserved: the next call gives the same until a part of that id is added.
    #[must_use]
    pub fn next_part_id(&self) -> PartId {
        PartId(self.state.last_part_id + 1)
    }

    /// Writes a manifest that says the same to another place, for a copy of the data directory.
    pub(crate) fn write_copy(&mut self, path: &Path) -> io::Result<()> {
        let owner = self.random.next_u64();
        let (bytes, _) = file_bytes(&self.state, owner)?;
        replace_file(&*self.vfs, path, |file| file.write_all_at(&bytes, 0)).map(drop)
    }

    /// Makes all edits durable, as one, and applies them.
    pub fn commit(&mut self, edits: &[Edit]) -> Result<(), CommitError> {
        self.state.check(edits)?;
        let payload = edit::encode(edits);
        if payload.len() > frame::MAX_PAYLOAD {
            return Err(CommitError::TooLong);
        }
        if self.append(&payload).is_ok() {
            return self.state.apply(edits);
        }
        let mut state = self.state.clone();
        state.apply(edits)?;
        self.rewrite(&state).map_err(|source| CommitError::Failed { source })?;
        self.state = state;
        Ok(())
    }

    /// Appends a transaction and syncs. On an error (also: no file to append to, or time to write it anew) the file is
    /// not used any more.
    fn append(&mut self, payload: &[u8]) -> io::Result<()> {
        let mut log = self.log.take().ok_or(io::ErrorKind::NotFound)?;
        if log.len > REWRITE_BYTES_MIN.max(log.len_when_rewritten * REWRITE_GROWTH) {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut bytes = Vec::new();
        append_frame(log.owner, log.next_sequence, payload, &mut bytes)?;
        log.file.write_all_at(&bytes, log.len)?;
        log.file.sync_data()?;
        log.len += bytes.len() as u64;
        log.next_sequence += 1;
        self.log = Some(log);
        Ok(())
    }

    /// Writes a new file that says `state`, in place of the old one.
    fn rewrite(&mut self, state: &ManifestState) -> io::Result<()> {
        self.log = None;
        let owner = self.random.next_u64();
        let (bytes, next_sequence) = file_bytes(state, owner)?;
        let file = replace_file(&*self.vfs, &self.path, |file| file.write_all_at(&bytes, 0))?;
        let len = bytes.len() as u64;
        self.log = Some(Log { file, owner, len, next_sequence, len_when_rewritten: len });
        Ok(())
    }
}

/// A whole file that says `state`, and the sequence of its next transaction.
fn file_bytes(state: &ManifestState, owner: u64) -> io::Result<(Vec<u8>, u64)> {
    let mut bytes = header_bytes(owner)?;
    let edits = state.to_edits();
    let mut next_sequence = 1;
    for chunk in edits.chunks(EDITS_PER_FRAME) {
        append_frame(owner, next_sequence, &edit::encode(chunk), &mut bytes)?;
        next_sequence += 1;
    }
    Ok((bytes, next_sequence))
}

fn append_frame(owner: u64, sequence: u64, payload: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let header = Header { sequence, owner, kind: KIND_TRANSACTION, flags: 0 };
    frame::encode(header, payload, out).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

fn header_bytes(owner: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for copy in 1..=2 {
        let header = Header { sequence: 0, owner, kind: KIND_HEADER, flags: 0 };
        frame::encode(header, &VERSION.to_le_bytes(), &mut bytes)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        bytes.resize(copy * SECTOR, 0);
    }
    Ok(bytes)
}

fn read(vfs: &dyn Vfs, path: &Path, report: &mut ManifestReport) -> Result<ManifestState, OpenManifestError> {
    let doing = |doing| move |source| OpenManifestError::Io { doing, source };
    if !vfs.exists(path).map_err(doing("looking for it"))? {
        return Ok(ManifestState::default());
    }
    let file = vfs.open(path).map_err(doing("opening the file"))?;
    let len = file.len().map_err(doing("reading its length"))?;
    if len > FILE_BYTES_MAX {
        return Err(OpenManifestError::TooLong { len });
    }
    let Some((version, owner)) = read_header(&*file, len).map_err(doing("reading its header"))? else {
        report.unreadable = true;
        let reason = "neither copy of the header can be read";
        quarantine::move_aside(vfs, path, FILE_NAME, reason).map_err(doing("moving it to quarantine"))?;
        return Ok(ManifestState::default());
    };
    if version != VERSION {
        return Err(OpenManifestError::UnknownVersion { version });
    }
    read_transactions(vfs, &file, owner, len, report).map_err(doing("reading transactions"))
}

/// The version and the owner, from either copy.
fn read_header(file: &dyn File, len: u64) -> io::Result<Option<(u32, u64)>> {
    let mut page = vec![0; usize::try_from(len.min(DATA_START)).unwrap_or(0)];
    file.read_exact_at(&mut page, 0)?;
    let header = |sector: &[u8]| {
        let frame = frame::decode(sector).ok().filter(|frame| frame.header.kind == KIND_HEADER)?;
        Some((u32::from_le_bytes(*frame.payload.first_chunk()?), frame.header.owner))
    };
    if let Some(found) = page.chunks(SECTOR).find_map(header) {
        return Ok(Some(found));
    }
    // Both copies agree on another layout of frames: another version, not damage.
    let layout = |sector: &[u8]| {
        let known = frame::MAGIC.first_chunk::<3>()?;
        sector.strip_prefix(known)?.first().copied().filter(|version| !frame::MAGIC.ends_with(&[*version]))
    };
    let mut layouts = page.chunks(SECTOR).map(layout);
    let (first, second) = (layouts.next().flatten(), layouts.next().flatten());
    Ok(first.filter(|_| first == second).map(|version| (u32::from(version), 0)))
}

fn read_transactions(
    vfs: &dyn Vfs,
    file: &Arc<dyn File>,
    owner: u64,
    len: u64,
    report: &mut ManifestReport,
) -> io::Result<ManifestState> {
    let mut state = ManifestState::default();
    let mut reader = FrameReader::new(Arc::clone(file), owner, DATA_START..len);
    let mut last_sequence = 0;
    // Damage at the end is a torn tail; damage before another transaction was part of what counted.
    let mut undecided: Option<Damage> = None;
    while let Some(piece) = reader.next_piece()? {
        match piece {
            Piece::Damage(damage) => undecided = Some(damage),
            Piece::Frame { header, payload, offset } => {
                if let Some(damage) = undecided.take() {
                    keep(vfs, file, &damage, report);
                }
                report.damaged_transactions += header.sequence.saturating_sub(last_sequence + 1);
                last_sequence = header.sequence;
                match edit::decode(&payload).filter(|_| header.kind == KIND_TRANSACTION) {
                    Some(edits) => {
                        report.transactions += 1;
                        state.replay(edits);
                    }
                    None => {
                        let end = offset + (frame::HEADER_LEN + payload.len()) as u64;
                        let reason = "a checked frame does not hold edits".to_owned();
                        report.damaged_transactions += 1;
                        keep(vfs, file, &Damage { range: offset..end, reason, blank: false }, report);
                    }
                }
            }
        }
    }
    report.torn_tail = undecided.is_some();
    Ok(state)
}

fn keep(vfs: &dyn Vfs, file: &Arc<dyn File>, damage: &Damage, report: &mut ManifestReport) {
    report.not_kept += u64::from(quarantine::keep_range(vfs, file, FILE_NAME, damage).is_err());
}
