//! Finding out, at start, what the log's files are: which hold records, where each ends, which is ready for use.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use kenning_stdx::vfs::{File, Vfs};

use super::replay::{ReplayReport, SegmentToRead};
use super::segment::{self, Activation, DATA_START, HeaderPage, Identity, Seal, SealReason};
use super::{OpenWalError, Standby};
use crate::frame_reader::{FrameReader, Piece, is_blank};
use crate::quarantine;

/// Bytes looked at when deciding whether a file without a header ever held anything.
const BLANK_CHECK_LEN: usize = 64 << 10;

/// What the files of the log turned out to be.
pub(super) struct Inventory {
    /// Segments with records, oldest first.
    pub segments: Vec<SegmentToRead>,
    /// Bytes that each of them takes on disk.
    pub sizes: BTreeMap<u64, u64>,
    /// What the next activation has to say: where the newest segment with records ends, and whatever is said only by
    /// files that go, or by an activation that may never have reached the disk.
    pub seals: Vec<Seal>,
    /// A file made ready and never used.
    pub standby: Option<Standby>,
    /// Files that hold nothing, to be removed once `seals` are durable in a new segment.
    pub empty: Vec<u64>,
    /// The highest sequence that may have been used.
    pub last_sequence: u64,
    /// The highest number among the files.
    pub last_number: u64,
    pub report: ReplayReport,
}

struct Found {
    identity: Identity,
    activation: Option<Activation>,
    file: Arc<dyn File>,
    len: u64,
}

/// What a walk over a segment without a seal found.
struct Walk {
    last_sequence: Option<u64>,
    /// End of the last intact record.
    end: u64,
    torn: bool,
}

pub(super) fn take_inventory(
    vfs: &dyn Vfs,
    dir: &Path,
    flushed_through: u64,
    capacity: u64,
) -> Result<Inventory, OpenWalError> {
    let doing = |doing| move |source| OpenWalError::Io { doing, source };
    let names = vfs.list(dir).map_err(doing("listing segments"))?;
    let numbers: Vec<u64> = names.iter().filter_map(|name| segment::number_of(name)).collect();
    let (found, unreadable) = read_headers(vfs, dir, &numbers)?;
    let mut inventory = Inventory {
        segments: Vec::new(),
        sizes: BTreeMap::new(),
        seals: Vec::new(),
        standby: None,
        empty: Vec::new(),
        last_sequence: flushed_through,
        last_number: numbers.last().copied().unwrap_or(0),
        report: ReplayReport::default(),
    };
    for number in unreadable {
        inventory.set_aside(vfs, dir, number).map_err(doing("reading an unreadable segment"))?;
    }
    inventory.sort_out(dir, found, capacity).map_err(doing("reading a segment"))?;
    Ok(inventory)
}

/// Reads all headers before anything is changed, so that an unknown version leaves the data untouched.
fn read_headers(vfs: &dyn Vfs, dir: &Path, numbers: &[u64]) -> Result<(Vec<Found>, Vec<u64>), OpenWalError> {
    let mut found = Vec::new();
    let mut unreadable = Vec::new();
    for number in numbers {
        let path = segment::path(dir, *number);
        let read = || {
            let file = vfs.open(&path)?;
            Ok((segment::read_header(&file, *number)?, file.len()?, file))
        };
        let (header, len, file) =
            read().map_err(|source| OpenWalError::Io { doing: "reading a segment's header", source })?;
        match header {
            HeaderPage::Known(identity, activation) => found.push(Found { identity, activation, file, len }),
            HeaderPage::Unreadable => unreadable.push(*number),
            HeaderPage::UnknownVersion(version) => {
                return Err(OpenWalError::UnknownVersion { path, version });
            }
        }
    }
    Ok((found, unreadable))
}

impl Inventory {
    /// Removes a file that never came to life; moves one that holds something unreadable to quarantine.
    fn set_aside(&mut self, vfs: &dyn Vfs, dir: &Path, number: u64) -> io::Result<()> {
        let path = segment::path(dir, number);
        if holds_nothing(&vfs.open(&path)?)? {
            // Where it cannot be removed it does no harm, and the next start tries again.
            let _ = vfs.remove(&path);
            return Ok(());
        }
        let name = format!("wal-{}", segment::file_name(number));
        let reason = "neither copy of the segment's identity can be read";
        match quarantine::move_aside(vfs, &path, &name, reason) {
            Ok(()) => self.report.quarantined_segments += 1,
            // A start must not fail because the quarantine is full; the file also stays where it is.
            Err(_) => self.report.not_kept += 1,
        }
        Ok(())
    }

    fn sort_out(&mut self, dir: &Path, found: Vec<Found>, capacity: u64) -> io::Result<()> {
        let seals = seals_of(&found);
        self.report.missing_segments = count_missing(&seals, &found);
        // The newest activation may be known to this machine's cache alone: its sync may have failed, or never run.
        let unproven = found.iter().rev().find_map(|found| found.activation.as_ref());
        let mut said = unproven.map_or(Vec::new(), |activation| activation.seals.clone());
        let there: BTreeSet<u64> = found.iter().map(|found| found.identity.number).collect();
        let mut newest = None;
        let mut empty = Vec::new();
        for Found { identity, activation, file, len } in found {
            let Identity { number, creation_id, .. } = identity;
            if let Some(activation) = &activation {
                self.last_sequence = self.last_sequence.max(activation.next_sequence.saturating_sub(1));
            }
            let mut pristine = len == capacity && activation.is_none();
            let seal = match seals.get(&number) {
                Some(seal) => {
                    pristine = false;
                    self.note_shortened(seal.at, len);
                    Seal { at: seal.at.min(len), ..*seal }
                }
                None => {
                    let walk = walk(&file, creation_id, len)?;
                    self.last_sequence = self.last_sequence.max(walk.last_sequence.unwrap_or(0));
                    self.report.torn_tails += u64::from(walk.torn);
                    pristine &= !walk.torn;
                    Seal { segment: number, at: walk.end, reason: SealReason::Recovered }
                }
            };
            if seal.at > DATA_START {
                let path = segment::path(dir, number);
                let (end, sealed) = (seal.at, seal.reason);
                self.segments.push(SegmentToRead { number, path, creation_id, end, sealed });
                self.sizes.insert(number, len);
                newest = Some(seal);
                continue;
            }
            if let Some(unused) = self.standby.take() {
                empty.push((unused.identity.number, len));
            }
            if pristine && number == self.last_number {
                self.standby = Some(Standby { identity, file });
            } else {
                empty.push((number, len));
                said.extend(activation.into_iter().flat_map(|activation| activation.seals));
            }
        }
        let said = said.into_iter().filter_map(|seal| seals.get(&seal.segment).copied());
        let needed: BTreeMap<u64, Seal> = said
            .chain(newest)
            .filter(|seal| there.contains(&seal.segment))
            .map(|seal| (seal.segment, seal))
            .collect();
        self.seals = needed.into_values().rev().collect();
        self.sort_out_empty(empty);
        Ok(())
    }

    /// Files without records may go once the next activation is durable, since it repeats what they say; unless it has
    /// no room for all of that.
    fn sort_out_empty(&mut self, empty: Vec<(u64, u64)>) {
        if self.seals.len() <= segment::SEALS_MAX {
            self.empty = empty.into_iter().map(|(number, _)| number).collect();
        } else {
            self.seals.truncate(segment::SEALS_MAX);
            self.sizes.extend(empty);
        }
    }

    fn note_shortened(&mut self, expected: u64, len: u64) {
        if len < expected {
            self.report.damaged_ranges += 1;
            self.report.damaged_bytes += expected - len;
        }
    }
}

/// Where segments end by the word of their successors. Two words about one segment agree, or the stricter one holds.
fn seals_of(found: &[Found]) -> BTreeMap<u64, Seal> {
    let mut seals: BTreeMap<u64, Seal> = BTreeMap::new();
    for seal in
        found.iter().filter_map(|found| found.activation.as_ref()).flat_map(|activation| &activation.seals)
    {
        let known = seals.entry(seal.segment).or_insert(*seal);
        if seal.at < known.at {
            *known = *seal;
        }
    }
    seals
}

/// Segments that others speak of and that are not there, though older ones are.
fn count_missing(seals: &BTreeMap<u64, Seal>, found: &[Found]) -> u64 {
    let oldest = found.first().map_or(u64::MAX, |found| found.identity.number);
    let there = |number: u64| found.iter().any(|found| found.identity.number == number);
    let missing =
        seals.values().filter(|seal| seal.segment > oldest && seal.at > DATA_START && !there(seal.segment));
    missing.count() as u64
}

fn walk(file: &Arc<dyn File>, creation_id: u64, len: u64) -> io::Result<Walk> {
    let mut reader = FrameReader::new(Arc::clone(file), creation_id, DATA_START..len);
    let mut walk = Walk { last_sequence: None, end: DATA_START, torn: false };
    while let Some(piece) = reader.next_piece()? {
        match piece {
            Piece::Frame { offset, header, payload } => {
                let highest = walk.last_sequence.unwrap_or(0).max(header.sequence);
                walk = Walk {
                    last_sequence: Some(highest),
                    end: offset + segment::record_len(payload.len()),
                    torn: false,
                };
            }
            Piece::Damage(damage) => walk.torn = !damage.blank,
        }
    }
    Ok(walk)
}

fn holds_nothing(file: &Arc<dyn File>) -> io::Result<bool> {
    let len = file.len()?;
    let mut buffer = Vec::new();
    let mut from = 0;
    while from < len {
        let step = usize::try_from(len - from).unwrap_or(BLANK_CHECK_LEN).min(BLANK_CHECK_LEN);
        buffer.resize(step, 0);
        file.read_exact_at(&mut buffer, from)?;
        if !is_blank(&buffer) {
            return Ok(false);
        }
        from += step as u64;
    }
    Ok(true)
}
