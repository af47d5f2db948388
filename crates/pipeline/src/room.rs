//! Memory for active series and streams, shared by all tenants: newcomers are let in while there is room.
//!
//! What a member will cost is estimated from its labels when it is first seen, and given back when it has been silent
//! for so long that it is forgotten. Members that are in stay in: a full room refuses nobody who has a place.

use std::sync::atomic::{AtomicUsize, Ordering};

use kenning_model::LabelSet;

/// Bytes of an active series or stream beside its labels: its entry in two heads (the one that grows and the one that
/// is being written out), its first chunk in each, and its place among the active ones. Measured against resident
/// memory by the benchmark `budget`.
const MEMBER_BYTES: usize = 512;

/// What a member takes while it is active.
#[must_use]
pub fn cost_of(labels: &LabelSet) -> usize {
    MEMBER_BYTES + labels.heap_bytes()
}

/// The bytes that are taken, and how many may be.
#[derive(Debug)]
pub struct Room {
    taken: AtomicUsize,
    max: usize,
}

impl Room {
    /// An empty room of so many bytes; `usize::MAX` for one that is never full.
    #[must_use]
    pub const fn new(max: usize) -> Self {
        Self { taken: AtomicUsize::new(0), max }
    }

    /// Takes bytes unless there are not as many left.
    pub fn take(&self, bytes: usize) -> bool {
        let fits = |taken: usize| taken.checked_add(bytes).filter(|taken| *taken <= self.max);
        self.taken.try_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    /// Gives back what was taken.
    pub fn give_back(&self, bytes: usize) {
        let less = |taken: usize| taken.saturating_sub(bytes);
        self.taken.update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Bytes that are taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Bytes that may be taken.
    #[must_use]
    pub const fn max(&self) -> usize {
        self.max
    }
}

impl Default for Room {
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}
