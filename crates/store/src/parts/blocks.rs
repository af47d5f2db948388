//! Checksums over a Parquet file in blocks, since the files' own page checksums cover neither headers nor footers.
//!
//! The bytes up to the end of the last row group are cut into blocks of [`BLOCK_LEN`] or, in parts of logs, of
//! [`SMALL_BLOCK_LEN`]; how many checksums there are tells which. The CRC-32C of each stands in the
//! footer's key-value metadata under [`SUMS_KEY`], as hex. The rest of the file, the tail, is proven by the file's name.
//! [`CheckedFile`] is the only way bytes of a part are read, and it hands out nothing that was not verified.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::{Bytes, BytesMut};
use kenning_stdx::vfs::File;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

/// Bytes under one checksum.
pub(crate) const BLOCK_LEN: usize = 64 << 10;
/// The same where single rows are looked up, which are in small pages of many columns.
pub(crate) const SMALL_BLOCK_LEN: usize = 16 << 10;

/// Bytes of blocks of a file that are kept for the next read.
const RECENT_BYTES_MAX: usize = 2 << 20;
/// So many neighbouring blocks are read at once, past those that are kept.
const SPAN_MIN: u64 = 3;

/// Where the checksums stand in the footer.
pub(crate) const SUMS_KEY: &str = "kenning.crc32c";

/// The checksums of `data` as they stand in the footer.
pub(crate) fn sums_text(data: &[u8], block_len: usize) -> String {
    data.chunks(block_len).map(|block| format!("{:08x}", crc32c::crc32c(block))).collect()
}

fn parse_sums(text: &str) -> Option<Vec<u32>> {
    let sums = text.as_bytes().chunks(8);
    sums.map(|hex| u32::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()).collect()
}

/// A part's file, verified block by block as it is read.
#[derive(Clone)]
pub(crate) struct CheckedFile(Arc<Inner>);

struct Inner {
    file: Arc<dyn File>,
    data_len: u64,
    tail: Bytes,
    sums: OnceLock<Sums>,
    /// The blocks used last, latest first: pages are small, and neighbours are read one after another.
    recent: Mutex<VecDeque<(u64, Bytes)>>,
    bytes_read: AtomicU64,
}

struct Sums {
    block_len: usize,
    each: Vec<u32>,
}

impl Sums {
    fn new(text: &str, data_len: u64) -> Option<Self> {
        let each = parse_sums(text)?;
        let fits = |block_len: &usize| each.len() as u64 == data_len.div_ceil(*block_len as u64);
        let block_len = [BLOCK_LEN, SMALL_BLOCK_LEN].into_iter().find(fits)?;
        Some(Self { block_len, each })
    }
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

fn external(error: io::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

impl CheckedFile {
    /// Opens a file whose tail has this length and checksum. The data blocks can be read after [`Self::set_sums`].
    pub(crate) fn open(file: Arc<dyn File>, tail_len: u32, tail_crc: u32) -> io::Result<Self> {
        let len = file.len()?;
        let data_len = len.checked_sub(u64::from(tail_len));
        let data_len =
            data_len.ok_or_else(|| invalid(format!("the file has {len} bytes, its tail {tail_len}")))?;
        let mut tail = BytesMut::zeroed(tail_len as usize);
        file.read_exact_at(&mut tail, data_len)?;
        if crc32c::crc32c(&tail) != tail_crc {
            return Err(invalid("the footer does not match its checksum".to_owned()));
        }
        Ok(Self(Arc::new(Inner {
            file,
            data_len,
            tail: tail.freeze(),
            sums: OnceLock::new(),
            recent: Mutex::default(),
            bytes_read: AtomicU64::new(u64::from(tail_len)),
        })))
    }

    /// Takes the checksums that the footer holds.
    pub(crate) fn set_sums(&self, text: &str) -> io::Result<()> {
        let sums = Sums::new(text, self.0.data_len);
        let sums = sums.ok_or_else(|| invalid("the footer's checksums do not fit the file".to_owned()))?;
        self.0.sums.get_or_init(|| sums);
        Ok(())
    }

    /// Bytes of the blocks that are kept.
    pub(crate) fn recent_bytes(&self) -> usize {
        let recent = self.0.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.iter().map(|(_, block)| block.len()).sum()
    }

    /// Bytes that came from disk so far.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.0.bytes_read.load(Ordering::Relaxed)
    }

    fn block(&self, index: u64) -> io::Result<Bytes> {
        let mut recent = self.0.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = recent.iter().position(|(at, _)| *at == index)
            && let Some(found) = recent.remove(place)
        {
            let bytes = found.1.clone();
            recent.push_front(found);
            return Ok(bytes);
        }
        let bytes = self.read_block(index)?;
        recent.truncate((RECENT_BYTES_MAX / self.block_len()).max(1) - 1);
        recent.push_front((index, bytes.clone()));
        Ok(bytes)
    }

    fn block_len(&self) -> usize {
        self.0.sums.get().map_or(BLOCK_LEN, |sums| sums.block_len)
    }

    fn read_block(&self, index: u64) -> io::Result<Bytes> {
        self.read_blocks(index, 1)
    }

    /// Reads neighbouring blocks at once.
    fn read_blocks(&self, first: u64, count: u64) -> io::Result<Bytes> {
        let block_len = self.block_len();
        let start = first.saturating_mul(block_len as u64);
        let wanted = count.saturating_mul(block_len as u64);
        let len = self.0.data_len.saturating_sub(start).min(wanted) as usize;
        let mut bytes = BytesMut::zeroed(len);
        self.0.file.read_exact_at(&mut bytes, start)?;
        self.0.bytes_read.fetch_add(len as u64, Ordering::Relaxed);
        for (block, index) in bytes.chunks(block_len).zip(first..) {
            let at = usize::try_from(index).ok();
            let sum = self.0.sums.get().zip(at).and_then(|(sums, at)| sums.each.get(at).copied());
            let sum = sum.ok_or_else(|| invalid(format!("block {index} has no checksum")))?;
            if crc32c::crc32c(block) != sum {
                return Err(invalid(format!("block {index} does not match its checksum")));
            }
        }
        Ok(bytes.freeze())
    }

    /// Verified bytes from `start` to the end of their block or of the tail; empty at the end of the file.
    fn piece(&self, start: u64) -> io::Result<Bytes> {
        if start >= self.0.data_len {
            let at = usize::try_from(start - self.0.data_len).unwrap_or(usize::MAX).min(self.0.tail.len());
            return Ok(self.0.tail.slice(at..));
        }
        let block_len = self.block_len() as u64;
        let block = self.block(start / block_len)?;
        let at = (start % block_len) as usize;
        Ok(block.slice(at.min(block.len())..))
    }

    fn range(&self, start: u64, len: usize) -> io::Result<Bytes> {
        let block_len = self.block_len() as u64;
        let end = start.saturating_add(len as u64);
        let blocks = end.div_ceil(block_len).saturating_sub(start / block_len);
        if end <= self.0.data_len && blocks >= SPAN_MIN {
            let at = (start % block_len) as usize;
            let bytes = self.read_blocks(start / block_len, blocks)?;
            let found = bytes.get(at..at + len).map(|found| bytes.slice_ref(found));
            return found.ok_or_else(|| invalid(format!("{len} bytes at {start} reach past the end")));
        }
        let first = self.piece(start)?;
        if first.len() >= len {
            return Ok(first.slice(..len));
        }
        let known = (self.0.data_len + self.0.tail.len() as u64).saturating_sub(start);
        if len as u64 > known {
            return Err(invalid(format!("{len} bytes at {start} reach past the end")));
        }
        let mut bytes = BytesMut::with_capacity(len);
        bytes.extend_from_slice(&first);
        while bytes.len() < len {
            let piece = self.piece(start + bytes.len() as u64)?;
            let wanted = piece.len().min(len - bytes.len());
            bytes.extend_from_slice(&piece.slice(..wanted));
        }
        Ok(bytes.freeze())
    }
}

impl Length for CheckedFile {
    fn len(&self) -> u64 {
        self.0.data_len + self.0.tail.len() as u64
    }
}

impl ChunkReader for CheckedFile {
    type T = CheckedRead;

    fn get_read(&self, start: u64) -> Result<CheckedRead> {
        Ok(CheckedRead { file: self.clone(), at: start })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        self.range(start, length).map_err(external)
    }
}

/// Reads verified bytes from some offset on.
pub(crate) struct CheckedRead {
    file: CheckedFile,
    at: u64,
}

impl Read for CheckedRead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let piece = self.file.piece(self.at)?;
        let len = piece.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..len), piece.get(..len)) {
            to.copy_from_slice(from);
        }
        self.at += len as u64;
        Ok(len)
    }
}
