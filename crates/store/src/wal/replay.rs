//! Reading the log back: record by record, in order, in bounded memory, past damage.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use kenning_stdx::vfs::{File, Vfs};

use super::GROUP_START;
use super::segment::{DATA_START, SealReason, file_name};
use crate::frame_reader::{Damage, FrameReader, Piece};
use crate::quarantine;

/// Damaged ranges of one group that wait for the verdict; more are taken for rot at once.
const UNDECIDED_MAX: usize = 1024;

/// A record read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayedRecord {
    /// Its place in the order of all records.
    pub sequence: u64,
    /// What it is, as the writer said.
    pub kind: u16,
    /// Its bytes.
    pub payload: Vec<u8>,
    /// Parts hold its rows already. Only given out by a replay that was told to ([`Replay::with_flushed`]).
    pub flushed: bool,
}

/// What replay met so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayReport {
    /// Records given out.
    pub records: u64,
    /// Records passed over because parts hold them already.
    pub flushed: u64,
    /// Records passed over because one of the same or a later sequence was given out before.
    pub repeated: u64,
    /// Tails cut off: a group that was being written when the process ended, never acknowledged.
    pub torn_tails: u64,
    /// Ranges of acknowledged bytes that were damaged.
    pub damaged_ranges: u64,
    /// Bytes in those ranges.
    pub damaged_bytes: u64,
    /// Damaged ranges or files that could not be brought to `quarantine/`.
    pub not_kept: u64,
    /// Whole files moved to `quarantine/`.
    pub quarantined_segments: u64,
    /// Files that later ones speak of and that are not there.
    pub missing_segments: u64,
}

/// Why replay had to stop: the disk failed, not the data.
#[derive(Debug)]
pub struct ReplayError {
    pub(super) segment: PathBuf,
    pub(super) source: io::Error,
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reading {} of the write-ahead log failed", self.segment.display())
    }
}

impl std::error::Error for ReplayError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// A segment to be read.
#[derive(Clone, Debug)]
pub(super) struct SegmentToRead {
    pub number: u64,
    pub path: PathBuf,
    pub creation_id: u64,
    pub end: u64,
    /// Why it ended.
    pub sealed: SealReason,
}

impl SegmentToRead {
    /// True when the last group before the end may have been cut by the end of the process.
    fn tail_is_unproven(&self) -> bool {
        self.sealed == SealReason::Recovered
    }
}

/// The records of the log, oldest first. Holds one record (and a window of the file) in memory at a time.
///
/// Sequences rise strictly. Must be read to its end, or dropped, before segments are deleted.
pub struct Replay {
    vfs: Arc<dyn Vfs>,
    waiting: VecDeque<SegmentToRead>,
    current: Option<Current>,
    last_sequence: u64,
    flushed_through: u64,
    gives_flushed: bool,
    report: ReplayReport,
}

struct Current {
    segment: SegmentToRead,
    file: Arc<dyn File>,
    reader: FrameReader,
    /// Damage since the last start of a group: a later group proves that it was acknowledged before.
    undecided: Vec<Damage>,
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay").field("report", &self.report).finish_non_exhaustive()
    }
}

impl Replay {
    pub(super) fn new(
        vfs: Arc<dyn Vfs>,
        segments: Vec<SegmentToRead>,
        flushed_through: u64,
        report: ReplayReport,
    ) -> Self {
        let waiting = segments.into();
        let last_sequence = flushed_through;
        Self { vfs, waiting, current: None, last_sequence, flushed_through, gives_flushed: false, report }
    }

    /// Gives out records that parts hold already, too, marked as such: later records may build on what they say.
    #[must_use]
    pub fn with_flushed(self) -> Self {
        Self { gives_flushed: true, ..self }
    }

    /// The numbers of the first and the last segment that are still to be read; `None` when there is nothing to read.
    #[must_use]
    pub fn segments(&self) -> Option<(u64, u64)> {
        let current = self.current.as_ref().map(|current| current.segment.number);
        let waiting = |segment: Option<&SegmentToRead>| segment.map(|segment| segment.number);
        let first = current.or(waiting(self.waiting.front()))?;
        Some((first, waiting(self.waiting.back()).unwrap_or(first)))
    }

    /// What was met so far; complete once the iterator has ended.
    #[must_use]
    pub fn report(&self) -> &ReplayReport {
        &self.report
    }

    fn open_next(&mut self) -> Option<Result<(), ReplayError>> {
        let segment = self.waiting.pop_front()?;
        Some(match self.vfs.open(&segment.path) {
            Ok(file) => {
                let range = DATA_START..segment.end;
                let reader = FrameReader::new(Arc::clone(&file), segment.creation_id, range);
                self.current = Some(Current { segment, file, reader, undecided: Vec::new() });
                Ok(())
            }
            Err(source) => Err(ReplayError { segment: segment.path, source }),
        })
    }

    /// Stops for good and says why.
    fn stop(&mut self, error: ReplayError) -> ReplayError {
        self.waiting.clear();
        self.current = None;
        error
    }

    /// Reads on until there is a record to give out, or the current segment ends.
    fn next_in_segment(&mut self) -> Result<Option<ReplayedRecord>, ReplayError> {
        while let Some(current) = &mut self.current {
            let segment_path = || current.segment.path.clone();
            let piece = current.reader.next_piece();
            match piece.map_err(|source| ReplayError { segment: segment_path(), source })? {
                Some(Piece::Frame { header, payload, .. }) => {
                    if header.flags & GROUP_START != 0 {
                        self.decide(true);
                    }
                    let (sequence, kind) = (header.sequence, header.kind);
                    let flushed = sequence <= self.flushed_through;
                    let taken = self.takes(sequence);
                    self.report.records += u64::from(taken);
                    if taken || flushed && self.gives_flushed {
                        return Ok(Some(ReplayedRecord { sequence, kind, payload, flushed }));
                    }
                }
                Some(Piece::Damage(damage)) => self.meet(damage),
                None => {
                    let was_acknowledged = !current.segment.tail_is_unproven();
                    self.decide(was_acknowledged);
                    self.current = None;
                }
            }
        }
        Ok(None)
    }

    fn takes(&mut self, sequence: u64) -> bool {
        if sequence > self.last_sequence {
            self.last_sequence = sequence;
            return true;
        }
        let passed_over = if sequence <= self.flushed_through {
            &mut self.report.flushed
        } else {
            &mut self.report.repeated
        };
        *passed_over += 1;
        false
    }

    fn meet(&mut self, damage: Damage) {
        let Some(current) = &mut self.current else { return };
        current.undecided.push(damage);
        if current.undecided.len() > UNDECIDED_MAX {
            self.decide(true);
        }
    }

    /// Ends the wait of the damage met since the last start of a group.
    fn decide(&mut self, was_acknowledged: bool) {
        let Some(current) = &mut self.current else { return };
        let undecided = std::mem::take(&mut current.undecided);
        if !was_acknowledged {
            self.report.torn_tails += u64::from(!undecided.is_empty());
            return;
        }
        let name = format!("wal-{}", file_name(current.segment.number));
        for damage in undecided {
            self.report.damaged_ranges += 1;
            self.report.damaged_bytes += damage.range.end - damage.range.start;
            let kept = quarantine::keep_range(&*self.vfs, &current.file, &name, &damage);
            // A start must not fail because the quarantine is full; the bytes also stay in the segment for now.
            self.report.not_kept += u64::from(kept.is_err());
        }
    }
}

impl Iterator for Replay {
    type Item = Result<ReplayedRecord, ReplayError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.current.is_none() {
                match self.open_next()? {
                    Ok(()) => {}
                    Err(error) => return Some(Err(self.stop(error))),
                }
            }
            match self.next_in_segment() {
                Ok(Some(record)) => return Some(Ok(record)),
                Ok(None) => {}
                Err(error) => return Some(Err(self.stop(error))),
            }
        }
    }
}
