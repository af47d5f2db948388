//! Checksums over a Parquet file in blocks, since the files' own page checksums cover neither headers nor footers.
//!
//! The bytes up to the end of the last row group are cut into blocks of [`BLOCK_LEN`]; the CRC-32C of each stands in the
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

/// Blocks of a file that are kept for the next read: 2 MiB.
const RECENT_MAX: usize = 32;

/// Where the checksums stand in the footer.
pub(crate) const SUMS_KEY: &str = "kenning.crc32c";

/// The checksums of `data` as they stand in the footer.
pub(crate) fn sums_text(data: &[u8]) -> String {
    data.chunks(BLOCK_LEN).map(|block| format!("{:08x}", crc32c::crc32c(block))).collect()
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
    sums: OnceLock<Vec<u32>>,
    /// The blocks used last, latest first: pages are small, and neighbours are read one after another.
    recent: Mutex<VecDeque<(u64, Bytes)>>,
    bytes_read: AtomicU64,
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
        let sums =
            parse_sums(text).filter(|sums| sums.len() as u64 == self.0.data_len.div_ceil(BLOCK_LEN as u64));
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
        recent.truncate(RECENT_MAX - 1);
        recent.push_front((index, bytes.clone()));
        Ok(bytes)
    }

    fn read_block(&self, index: u64) -> io::Result<Bytes> {
        let sum =
            self.0.sums.get().zip(usize::try_from(index).ok()).and_then(|(sums, at)| sums.get(at).copied());
        let sum = sum.ok_or_else(|| invalid(format!("block {index} has no checksum")))?;
        let start = index * BLOCK_LEN as u64;
        let len = self.0.data_len.saturating_sub(start).min(BLOCK_LEN as u64) as usize;
        let mut bytes = BytesMut::zeroed(len);
        self.0.file.read_exact_at(&mut bytes, start)?;
        self.0.bytes_read.fetch_add(len as u64, Ordering::Relaxed);
        if crc32c::crc32c(&bytes) != sum {
            return Err(invalid(format!("block {index} does not match its checksum")));
        }
        Ok(bytes.freeze())
    }

    /// Verified bytes from `start` to the end of their block or of the tail; empty at the end of the file.
    fn piece(&self, start: u64) -> io::Result<Bytes> {
        if start >= self.0.data_len {
            let at = usize::try_from(start - self.0.data_len).unwrap_or(usize::MAX).min(self.0.tail.len());
            return Ok(self.0.tail.slice(at..));
        }
        let block = self.block(start / BLOCK_LEN as u64)?;
        let at = (start % BLOCK_LEN as u64) as usize;
        Ok(block.slice(at.min(block.len())..))
    }

    fn range(&self, start: u64, len: usize) -> io::Result<Bytes> {
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
