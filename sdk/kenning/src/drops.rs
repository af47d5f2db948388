//! The ledger of what the SDK could not keep: every loss has a signal, a reason and an exact count.

use std::sync::atomic::{AtomicU64, Ordering};

/// What was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    Spans,
    Logs,
    Metrics,
}

impl Signal {
    pub(crate) const ALL: [Signal; 3] = [Signal::Spans, Signal::Logs, Signal::Metrics];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Signal::Spans => "spans",
            Signal::Logs => "logs",
            Signal::Metrics => "metrics",
        }
    }
}

/// Why it was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The hand-over to the exporter was full.
    QueueFull,
    /// Retries took longer than allowed.
    RetryExhausted,
    /// The collector refused the request for good (status 4xx, malformed reply).
    Refused,
    /// The collector took the request and rejected some items of it.
    Rejected,
    /// The process ended before the collector took it.
    Shutdown,
    /// More spans open at once than are tracked.
    OpenSpans,
    /// More label sets than the metric allows; counted per observation.
    Cardinality,
    /// Standard output did not take the line.
    Write,
}

impl Reason {
    pub(crate) const ALL: [Reason; 8] = [
        Reason::QueueFull,
        Reason::RetryExhausted,
        Reason::Refused,
        Reason::Rejected,
        Reason::Shutdown,
        Reason::OpenSpans,
        Reason::Cardinality,
        Reason::Write,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Reason::QueueFull => "queue_full",
            Reason::RetryExhausted => "retry_exhausted",
            Reason::Refused => "refused",
            Reason::Rejected => "rejected",
            Reason::Shutdown => "shutdown",
            Reason::OpenSpans => "open_spans",
            Reason::Cardinality => "cardinality",
            Reason::Write => "write",
        }
    }
}

/// Counts per signal and reason, and what arrived.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    dropped: [[AtomicU64; Reason::ALL.len()]; Signal::ALL.len()],
    exported: [AtomicU64; Signal::ALL.len()],
}

impl Ledger {
    pub(crate) fn drop_items(&self, signal: Signal, reason: Reason, items: u64) {
        if let Some(cell) = self.dropped.get(signal as usize).and_then(|row| row.get(reason as usize)) {
            cell.fetch_add(items, Ordering::Relaxed);
        }
    }

    pub(crate) fn exported(&self, signal: Signal, items: u64) {
        if let Some(cell) = self.exported.get(signal as usize) {
            cell.fetch_add(items, Ordering::Relaxed);
        }
    }

    pub(crate) fn dropped_count(&self, signal: Signal, reason: Reason) -> u64 {
        let cell = self.dropped.get(signal as usize).and_then(|row| row.get(reason as usize));
        cell.map_or(0, |cell| cell.load(Ordering::Relaxed))
    }

    pub(crate) fn exported_count(&self, signal: Signal) -> u64 {
        self.exported.get(signal as usize).map_or(0, |cell| cell.load(Ordering::Relaxed))
    }

    /// Everything lost of one signal, whatever the reason.
    pub(crate) fn dropped_total(&self, signal: Signal) -> u64 {
        Reason::ALL.iter().map(|reason| self.dropped_count(signal, *reason)).sum()
    }
}
