//! One scan at work: what it holds, what it has looked at, what it misses, and whether it should go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kenning_model::{Block, Flow, Scan, ScanError, ScanSummary};

use super::BLOCK_LEN_MAX;
use crate::parts::PartError;
use crate::parts::cache::{Opened, PartCache};
use crate::parts::columns::TableReader;
use crate::parts::part::Part;

/// Charges are checked against the scan's limit before the memory is used.
pub(crate) struct Work<'a> {
    pub(crate) scan: &'a Scan,
    pub(crate) summary: ScanSummary,
    /// Shared by the workers of one scan.
    held: Arc<AtomicUsize>,
}

impl<'a> Work<'a> {
    pub(crate) fn new(scan: &'a Scan) -> Self {
        Self { scan, summary: ScanSummary::default(), held: Arc::default() }
    }

    /// Takes `bytes` from the scan's purse.
    pub(crate) fn charge(&mut self, bytes: usize) -> Result<(), ScanError> {
        let held = self.held.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if held > self.scan.bytes_max {
            return Err(ScanError::TooMuchMemory { limit: self.scan.bytes_max });
        }
        Ok(())
    }

    /// Gives back what was charged and is not held any more.
    pub(crate) fn refund(&mut self, bytes: usize) {
        // Never more than was charged, so it does not wrap.
        self.held.fetch_sub(bytes.min(self.held.load(Ordering::Relaxed)), Ordering::Relaxed);
    }

    /// A worker of the same scan with a summary of its own, paid from the same purse.
    pub(crate) fn worker(&self) -> Self {
        Self { scan: self.scan, summary: ScanSummary::default(), held: Arc::clone(&self.held) }
    }

    /// Takes over what a worker saw.
    pub(crate) fn join(&mut self, other: ScanSummary) {
        self.summary.rows += other.rows;
        self.summary.bytes += other.bytes;
        self.summary.missing.extend(other.missing);
    }

    /// Fails once whoever asked has given up.
    pub(crate) fn check(&self) -> Result<(), ScanError> {
        if self.scan.cancel.is_raised() { Err(ScanError::Cancelled) } else { Ok(()) }
    }

    /// Opens a part and lets `read` take its rows. A part that cannot be read is set aside and named in the summary;
    /// the scan goes on without it.
    ///
    /// What `read` collected before damage was met stays: every row of it was verified.
    pub(crate) fn read_part(
        &mut self,
        part: &Arc<Part>,
        read: impl FnOnce(&mut Self, &TableReader) -> Result<(), PartError>,
    ) -> Result<(), ScanError> {
        self.check()?;
        let done = part.open().and_then(|reader| {
            let done = read(self, &reader);
            self.summary.bytes += reader.bytes_read();
            done
        });
        self.finish_part(part, done)
    }

    /// As [`Self::read_part`], with a part that stays open for later scans.
    pub(crate) fn read_open(
        &mut self,
        part: &Arc<Part>,
        cache: &PartCache,
        read: impl FnOnce(&mut Self, &Opened) -> Result<(), PartError>,
    ) -> Result<(), ScanError> {
        if let Some(open) = self.open(part, cache)? {
            self.read_opened(part, &open, read)?;
        }
        cache.trim();
        Ok(())
    }

    /// Opens a part that stays open for later scans; `None` when it cannot be read, which the summary then says.
    pub(crate) fn open(&mut self, part: &Arc<Part>, cache: &PartCache) -> Result<Option<Opened>, ScanError> {
        self.check()?;
        match cache.open(part) {
            Ok(open) => Ok(Some(open)),
            Err(error) => self.finish_part(part, Err(error)).map(|()| None),
        }
    }

    /// As [`Self::read_open`], with a part that this scan has opened before. False when damage was met.
    pub(crate) fn read_opened(
        &mut self,
        part: &Arc<Part>,
        open: &Opened,
        read: impl FnOnce(&mut Self, &Opened) -> Result<(), PartError>,
    ) -> Result<bool, ScanError> {
        let before = open.bytes_read();
        let done = read(self, open);
        self.summary.bytes += open.bytes_read() - before;
        let is_whole = done.is_ok();
        self.finish_part(part, done)?;
        Ok(is_whole)
    }

    fn finish_part(&mut self, part: &Arc<Part>, done: Result<(), PartError>) -> Result<(), ScanError> {
        match done {
            Ok(()) => Ok(()),
            Err(PartError::Scan(error)) => Err(error),
            Err(PartError::Damaged(reason)) => {
                part.quarantine(&reason);
                self.summary.missing.push(part.missing(&reason));
                Ok(())
            }
            Err(PartError::Io(error)) => {
                self.summary.missing.push(part.missing(&error.to_string()));
                Ok(())
            }
        }
    }

    /// Hands a list to the sink in blocks of bounded length.
    pub(crate) fn emit<T>(
        &self,
        rows: Vec<T>,
        limit: Option<usize>,
        block: impl Fn(Vec<T>) -> Block,
        sink: &mut dyn FnMut(Block) -> Flow,
    ) -> Result<(), ScanError> {
        let mut rows = rows.into_iter().take(limit.unwrap_or(usize::MAX)).peekable();
        while rows.peek().is_some() {
            self.check()?;
            if sink(block(rows.by_ref().take(BLOCK_LEN_MAX).collect())) == Flow::Stop {
                break;
            }
        }
        Ok(())
    }
}
