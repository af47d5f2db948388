//! What an engine can be told.

use std::time::Duration;

use crate::wal::WalOptions;

/// Sizes and limits of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The write-ahead log's; `flushed_through` is set by the engine.
    pub wal: WalOptions,
    /// Heads of this many bytes are due to be flushed; those of logs at half of it, and logs never hold more than this.
    pub flush_bytes: usize,
    /// Heads of this age (by the steady clock) are due to be flushed.
    pub flush_age: Duration,
    /// Heads never hold more: a write that finds them so full flushes first, and fails if that fails.
    pub head_bytes_max: usize,
    /// Most that one pass of retention removes, in percent of all bytes in parts; one part always may go.
    pub retention_percent_max: u64,
    /// Parts of one partition that are merged at once, at least.
    pub merge_parts_min: usize,
    /// Bytes of parts that are merged at once, at most.
    pub merge_bytes_max: u64,
}

impl Options {
    /// Bytes of log records in heads at which they are due to be flushed: they are large, and a part of theirs is small.
    pub(crate) fn log_flush_bytes(&self) -> usize {
        self.flush_bytes / 2
    }

    /// Log records never hold more in heads.
    pub(crate) fn log_head_bytes_max(&self) -> usize {
        self.flush_bytes.min(self.head_bytes_max)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            wal: WalOptions::default(),
            flush_bytes: 128 << 20,
            flush_age: Duration::from_secs(600),
            head_bytes_max: 384 << 20,
            retention_percent_max: 10,
            merge_parts_min: 6,
            merge_bytes_max: 32 << 20,
        }
    }
}
