//! The hand-over between the threads that work and the one that exports.
//!
//! Items arrive as finished protobuf fields and are only ever copied. Threads append to one of a few shards; a shard
//! seals a chunk when it reaches the size of a request. Full means drop and count, never wait.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::drops::{Ledger, Reason, Signal};
use crate::sync::{lock, thread_number};

/// Request body aimed at; a chunk is sealed before it grows beyond.
pub(crate) const BATCH_BYTES: usize = 512 * 1024;
/// Bytes that may wait per signal.
pub(crate) const OUTBOX_BYTES_MAX: usize = 8 * 1024 * 1024;
const SHARDS: usize = 4;

/// Encoded items of one signal.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    pub(crate) bytes: Vec<u8>,
    pub(crate) items: u64,
}

#[derive(Debug, Default)]
struct Shard {
    open: Chunk,
    sealed: VecDeque<Chunk>,
}

/// Bounded queue of encoded items of one signal.
#[derive(Debug)]
pub(crate) struct Outbox {
    signal: Signal,
    shards: [Mutex<Shard>; SHARDS],
    waiting: AtomicUsize,
    bytes_max: usize,
    closed: AtomicBool,
    bell: Arc<Bell>,
    ledger: Arc<Ledger>,
}

impl Outbox {
    pub(crate) fn new(signal: Signal, bytes_max: usize, bell: Arc<Bell>, ledger: Arc<Ledger>) -> Self {
        Self {
            signal,
            shards: Default::default(),
            waiting: AtomicUsize::new(0),
            bytes_max,
            closed: AtomicBool::new(false),
            bell,
            ledger,
        }
    }

    /// Queues one item or counts it as lost.
    pub(crate) fn push(&self, item: &[u8]) {
        if let Err(reason) = self.try_push(item) {
            self.ledger.drop_items(self.signal, reason, 1);
        }
    }

    fn try_push(&self, item: &[u8]) -> Result<(), Reason> {
        let before = self.waiting.fetch_add(item.len(), Ordering::Relaxed);
        if before + item.len() > self.bytes_max {
            self.waiting.fetch_sub(item.len(), Ordering::Relaxed);
            return Err(Reason::QueueFull);
        }
        let sealed = {
            let Some(shard) = self.shards.get(thread_number() % SHARDS) else { return Ok(()) };
            let mut shard = lock(shard);
            // Asked under the lock, so that the final drain, which takes every lock, sees everything accepted.
            if self.closed.load(Ordering::Relaxed) {
                self.waiting.fetch_sub(item.len(), Ordering::Relaxed);
                return Err(Reason::Shutdown);
            }
            shard.append(item)
        };
        if sealed {
            self.bell.ring();
        }
        Ok(())
    }

    /// Takes up to one request's worth; `None` when nothing waits.
    pub(crate) fn take(&self) -> Option<Chunk> {
        let mut batch = Chunk::default();
        for shard in &self.shards {
            let mut shard = lock(shard);
            while let Some(chunk) = shard.next_fitting(BATCH_BYTES.saturating_sub(batch.bytes.len())) {
                batch.absorb(chunk);
            }
        }
        self.waiting.fetch_sub(batch.bytes.len(), Ordering::Relaxed);
        (batch.items > 0).then_some(batch)
    }

    /// Refuses further items and counts those still waiting as lost at shutdown.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        for shard in &self.shards {
            let shard = std::mem::take(&mut *lock(shard));
            let items = shard.open.items + shard.sealed.iter().map(|chunk| chunk.items).sum::<u64>();
            self.ledger.drop_items(self.signal, Reason::Shutdown, items);
        }
    }
}

impl Shard {
    /// Whether a chunk was sealed by this item.
    fn append(&mut self, item: &[u8]) -> bool {
        let seal = !self.open.bytes.is_empty() && self.open.bytes.len() + item.len() > BATCH_BYTES;
        if seal {
            self.sealed.push_back(std::mem::take(&mut self.open));
        }
        self.open.bytes.extend_from_slice(item);
        self.open.items += 1;
        seal
    }

    /// The oldest chunk if it fits into `room`; a chunk larger than a whole batch fits only an empty one.
    fn next_fitting(&mut self, room: usize) -> Option<Chunk> {
        let fits = |chunk: &Chunk| chunk.items > 0 && (chunk.bytes.len() <= room || room == BATCH_BYTES);
        match self.sealed.front() {
            Some(chunk) if fits(chunk) => self.sealed.pop_front(),
            Some(_) => None,
            None if fits(&self.open) => Some(std::mem::take(&mut self.open)),
            None => None,
        }
    }
}

impl Chunk {
    fn absorb(&mut self, other: Chunk) {
        if self.items == 0 {
            *self = other;
            return;
        }
        self.bytes.extend_from_slice(&other.bytes);
        self.items += other.items;
    }
}

/// Wakes the exporter: a flag and a condition variable, so that a ring between two waits is not lost.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    pub(crate) fn ring(&self) {
        *lock(&self.rung) = true;
        self.changed.notify_one();
    }

    /// Waits until rung or until `timeout`; forgets the ring.
    pub(crate) fn wait(&self, timeout: Duration) {
        let guard = lock(&self.rung);
        let waited = self.changed.wait_timeout_while(guard, timeout, |rung| !*rung);
        let (mut rung, _) = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
        *rung = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox(bytes_max: usize) -> (Outbox, Arc<Ledger>) {
        let ledger = Arc::new(Ledger::default());
        (Outbox::new(Signal::Spans, bytes_max, Arc::default(), ledger.clone()), ledger)
    }

    #[test]
    fn full_drops_and_counts() {
        let (outbox, ledger) = outbox(100);
        for _ in 0..15 {
            outbox.push(&[7; 10]);
        }
        assert_eq!(ledger.dropped_count(Signal::Spans, Reason::QueueFull), 5);
        assert_eq!(outbox.take().unwrap().items, 10);
        assert!(outbox.take().is_none());
        outbox.push(&[7; 100]);
        assert_eq!(outbox.take().unwrap().items, 1);
    }

    #[test]
    fn batches_are_bounded_and_nothing_is_lost_between_threads() {
        let (outbox, ledger) = outbox(64 << 20);
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| (0..4000).for_each(|_| outbox.push(&[1; 300])));
            }
        });
        let mut items = 0;
        while let Some(chunk) = outbox.take() {
            assert!(chunk.bytes.len() <= BATCH_BYTES);
            assert_eq!(chunk.bytes.len() as u64, chunk.items * 300);
            items += chunk.items;
        }
        assert_eq!((items, ledger.dropped_total(Signal::Spans)), (24_000, 0));
    }

    #[test]
    fn close_counts_what_waits_and_what_comes_late() {
        let (outbox, ledger) = outbox(1000);
        outbox.push(&[1; 10]);
        outbox.close();
        outbox.push(&[1; 10]);
        assert_eq!(ledger.dropped_count(Signal::Spans, Reason::Shutdown), 2);
        assert!(outbox.take().is_none());
    }
}
