//! One simulated file: the page cache and the disk under it.

use std::collections::BTreeSet;
use std::io;

use super::SECTOR_LEN;
use super::names::Writeback;
use crate::random::Random;

#[derive(Debug, Default)]
pub(super) struct Inode {
    /// What programs read.
    cached: Vec<u8>,
    /// What a power cut leaves.
    durable: Vec<u8>,
    /// Sectors whose cached bytes may differ from the durable ones and are still going to be written back.
    dirty: BTreeSet<usize>,
    /// The cached length is still going to be written back.
    len_dirty: bool,
    /// Sectors that take space.
    blocks: BTreeSet<usize>,
}

fn sectors(from: usize, to: usize) -> std::ops::Range<usize> {
    from / SECTOR_LEN..to.div_ceil(SECTOR_LEN)
}

impl Inode {
    /// A file that is on the disk already.
    pub(super) fn durable(bytes: &[u8]) -> Self {
        Self {
            cached: bytes.to_vec(),
            durable: bytes.to_vec(),
            blocks: sectors(0, bytes.len()).collect(),
            ..Self::default()
        }
    }

    pub(super) fn cached(&self) -> &[u8] {
        &self.cached
    }

    pub(super) fn used_bytes(&self) -> u64 {
        (self.blocks.len() * SECTOR_LEN) as u64
    }

    pub(super) fn read(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = self.cached.get(start..).and_then(|rest| rest.get(..buf.len()));
        buf.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    /// Writes as much of `bytes` as `free` new bytes of disk allow; returns how much that was.
    pub(super) fn write(&mut self, bytes: &[u8], offset: u64, mut free: u64) -> usize {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let mut end = start;
        for sector in sectors(start, start + bytes.len()) {
            if !self.blocks.contains(&sector) {
                if free < SECTOR_LEN as u64 {
                    break;
                }
                free -= SECTOR_LEN as u64;
                self.blocks.insert(sector);
            }
            end = ((sector + 1) * SECTOR_LEN).min(start + bytes.len());
        }
        let written = end - start;
        if written == 0 {
            return 0;
        }
        self.grow(end);
        if let (Some(target), Some(source)) = (self.cached.get_mut(start..end), bytes.get(..written)) {
            target.copy_from_slice(source);
        }
        self.dirty.extend(sectors(start, end));
        written
    }

    fn grow(&mut self, len: usize) {
        if self.cached.len() < len {
            self.cached.resize(len, 0);
            self.len_dirty = true;
        }
    }

    pub(super) fn set_len(&mut self, len: u64) {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if len < self.cached.len() {
            // The zeros that a later extension shows inside the last sector are a change of that sector.
            self.dirty.extend(sectors(len, self.cached.len()));
            self.blocks.retain(|sector| sector * SECTOR_LEN < len);
        }
        self.len_dirty |= len != self.cached.len();
        self.cached.resize(len, 0);
    }

    /// Reserves all sectors below `len`; false, changing nothing, when the disk has not that much room.
    pub(super) fn allocate(&mut self, len: u64, free: u64) -> bool {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let wanted: Vec<_> = sectors(0, len).filter(|sector| !self.blocks.contains(sector)).collect();
        if (wanted.len() * SECTOR_LEN) as u64 > free {
            return false;
        }
        self.blocks.extend(wanted);
        self.grow(len);
        true
    }

    /// Writes dirty sectors (and the length) to the disk: all, some drawn at random, or none.
    pub(super) fn write_back(&mut self, style: Writeback, random: &mut Random) {
        if self.len_dirty && style.takes(random) {
            self.durable.resize(self.cached.len(), 0);
            self.len_dirty = false;
        }
        let mut left = BTreeSet::new();
        for sector in std::mem::take(&mut self.dirty) {
            // A sector beyond the durable length cannot be there before the length is.
            if style.takes(random) && self.copy_sector(sector) {
                continue;
            }
            left.insert(sector);
        }
        if !self.len_dirty {
            left.retain(|sector| sector * SECTOR_LEN < self.cached.len());
        }
        self.dirty = left;
    }

    fn copy_sector(&mut self, sector: usize) -> bool {
        let start = sector * SECTOR_LEN;
        let end = (start + SECTOR_LEN).min(self.cached.len()).min(self.durable.len());
        match (self.cached.get(start..end), self.durable.get_mut(start..end)) {
            (Some(source), Some(target)) if start < end => {
                target.copy_from_slice(source);
                !self.len_dirty
            }
            _ => false,
        }
    }

    /// A sync that fails: some sectors made it, the others are lost but count as clean.
    pub(super) fn fail_sync(&mut self, random: &mut Random) {
        self.write_back(Writeback::Some, random);
        self.dirty.clear();
    }

    /// A power cut: what was dirty reaches the disk as `style` says, and the disk is all that remains.
    pub(super) fn crash(&mut self, style: Writeback, random: &mut Random) {
        self.write_back(style, random);
        self.cached = self.durable.clone();
        self.dirty.clear();
        self.len_dirty = false;
        self.blocks.retain(|sector| sector * SECTOR_LEN < self.cached.len());
    }

    pub(super) fn flip_bit(&mut self, bit: u64) -> io::Result<()> {
        let place = usize::try_from(bit / 8).unwrap_or(usize::MAX);
        let mask = 1u8 << (bit % 8);
        *self.cached.get_mut(place).ok_or(io::ErrorKind::UnexpectedEof)? ^= mask;
        if let Some(byte) = self.durable.get_mut(place) {
            *byte ^= mask;
        }
        Ok(())
    }
}
