//! What an engine can be told.

use std::time::Duration;

use crate::wal::WalOptions;

/// Sizes and limits of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The write-ahead log's; `flushed_through` is set by the engine.
    pub wal: WalOptions,
    /// Heads with this many bytes of rows are due to be flushed, series themselves not counted, which come again; those
    /// of logs at three eighths of it, and logs never hold more than half as much again: they come faster than they are
    /// flushed, so what they may hold is what they hold.
    pub flush_bytes: usize,
    /// Heads of this age (by the steady clock) are due to be flushed.
    pub flush_age: Duration,
    /// Heads never hold more: a write that finds them so full flushes first, and fails if that fails.
    ///
    /// Three fifths of it make the active heads due as well, so that there is room for what is written during a flush.
    pub head_bytes_max: usize,
    /// Bytes that parts may hold that stay open between scans.
    pub open_parts_bytes_max: usize,
    /// Most that one pass of retention removes, in percent of all bytes in parts; one part always may go.
    pub retention_percent_max: u64,
    /// Parts of one partition that are merged at once, at least, as long as more may come.
    pub merge_parts_min: usize,
    /// Bytes of parts that are merged at once, at most: those of spans and exemplars are decoded in memory, and so are
    /// those of logs, a sixth as many.
    pub merge_bytes_max: u64,
    /// The same for samples and histograms, which are merged row group by row group.
    pub merge_sample_bytes_max: u64,
    /// The longest time that one merged part may span. Retention drops whole parts, so it should be a fraction of that.
    pub merge_span_max: Duration,
}

impl Options {
    /// Active heads of this many bytes, series included, are due to be flushed.
    pub(crate) fn pressure_bytes(&self) -> usize {
        self.head_bytes_max / 5 * 3
    }

    /// Bytes of log records in heads at which they are due to be flushed: they are large, and a part of theirs is small.
    pub(crate) fn log_flush_bytes(&self) -> usize {
        self.flush_bytes / 8 * 3
    }

    /// Log records never hold more in heads.
    pub(crate) fn log_head_bytes_max(&self) -> usize {
        (self.log_flush_bytes() / 2 * 3).min(self.head_bytes_max)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            wal: WalOptions::default(),
            flush_bytes: 128 << 20,
            flush_age: Duration::from_secs(600),
            head_bytes_max: 384 << 20,
            open_parts_bytes_max: 96 << 20,
            retention_percent_max: 10,
            merge_parts_min: 6,
            merge_bytes_max: 32 << 20,
            merge_sample_bytes_max: 128 << 20,
            merge_span_max: Duration::from_secs(24 * 3600),
        }
    }
}
