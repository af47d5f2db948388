//! A queue whose bound is bytes, not items: what stands between two stages of the pipeline.
//!
//! Each item is charged with the bytes its sender declares, and at least [`MIN_CHARGE`], so that a flood of empty items
//! is bounded too. Senders that wait are served in the order they came. When all senders are gone the receiver drains
//! what is left and then sees the end; when the receiver is gone senders get their item back.
//!
//! Absent: priorities and dropping; whoever gets an item back decides, and counts it.

use std::fmt;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Least bytes charged for an item, and the grain of the accounting: charges are rounded up to multiples of it.
pub const MIN_CHARGE: usize = 64;

/// Largest capacity in bytes; more is taken as this.
pub const MAX_CAPACITY: usize = (u32::MAX >> 4) as usize * MIN_CHARGE;

/// Makes a queue that holds at most `capacity` bytes (at least [`MIN_CHARGE`], at most [`MAX_CAPACITY`]).
#[must_use]
pub fn byte_queue<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let units = units_of(capacity.clamp(MIN_CHARGE, MAX_CAPACITY));
    let space = Arc::new(Semaphore::new(units as usize));
    // Unbounded in items, bounded by the permits that travel with them.
    let (items, queue) = mpsc::unbounded_channel();
    let room = Room { space, units };
    (Sender { items, room: room.clone() }, Receiver { queue, room })
}

fn units_of(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(MIN_CHARGE).max(1)).unwrap_or(u32::MAX)
}

#[derive(Clone, Debug)]
struct Room {
    space: Arc<Semaphore>,
    units: u32,
}

impl Room {
    fn used_bytes(&self) -> usize {
        (self.units as usize).saturating_sub(self.space.available_permits()) * MIN_CHARGE
    }

    fn capacity(&self) -> usize {
        self.units as usize * MIN_CHARGE
    }
}

/// Why an item was not taken; it comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SendError<T> {
    /// No room now. Only from [`Sender::try_send`].
    Full(T),
    /// The item alone is larger than the queue.
    TooLarge(T),
    /// The receiver is gone.
    Closed(T),
}

impl<T> SendError<T> {
    /// The item that was not taken.
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(item) | Self::TooLarge(item) | Self::Closed(item) => item,
        }
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full",
            Self::TooLarge(_) => "TooLarge",
            Self::Closed(_) => "Closed",
        })
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "queue is full",
            Self::TooLarge(_) => "item is larger than the queue",
            Self::Closed(_) => "queue is closed",
        })
    }
}

impl<T> std::error::Error for SendError<T> {}

struct Charged<T> {
    item: T,
    _space: OwnedSemaphorePermit,
}

/// The end that puts items in; clone it for more producers.
pub struct Sender<T> {
    items: mpsc::UnboundedSender<Charged<T>>,
    room: Room,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { items: self.items.clone(), room: self.room.clone() }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("used_bytes", &self.used_bytes()).finish_non_exhaustive()
    }
}

impl<T> Sender<T> {
    /// Puts `item` in, charged with `bytes`, if there is room now; gives it back otherwise.
    pub fn try_send(&self, item: T, bytes: usize) -> Result<(), SendError<T>> {
        let units = units_of(bytes);
        if units > self.room.units {
            return Err(SendError::TooLarge(item));
        }
        match Arc::clone(&self.room.space).try_acquire_many_owned(units) {
            Ok(space) => self.put(item, space),
            Err(_) if self.items.is_closed() => Err(SendError::Closed(item)),
            Err(_) => Err(SendError::Full(item)),
        }
    }

    /// Waits for room, then puts `item` in. Dropping the future before it is ready drops the item unsent.
    pub async fn send(&self, item: T, bytes: usize) -> Result<(), SendError<T>> {
        let units = units_of(bytes);
        if units > self.room.units {
            return Err(SendError::TooLarge(item));
        }
        match Arc::clone(&self.room.space).acquire_many_owned(units).await {
            Ok(space) => self.put(item, space),
            Err(_) => Err(SendError::Closed(item)),
        }
    }

    fn put(&self, item: T, space: OwnedSemaphorePermit) -> Result<(), SendError<T>> {
        let sent = self.items.send(Charged { item, _space: space });
        sent.map_err(|mpsc::error::SendError(charged)| SendError::Closed(charged.item))
    }

    /// Bytes charged now, items being received excluded.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.room.used_bytes()
    }

    /// Bytes that the queue can hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.room.capacity()
    }
}

/// The end that takes items out, in the order they were put in.
pub struct Receiver<T> {
    queue: mpsc::UnboundedReceiver<Charged<T>>,
    room: Room,
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("used_bytes", &self.used_bytes()).finish_non_exhaustive()
    }
}

impl<T> Receiver<T> {
    /// The next item; `None` when all senders are gone and the queue is empty. Its room is free from then on.
    pub async fn recv(&mut self) -> Option<T> {
        self.queue.recv().await.map(|charged| charged.item)
    }

    /// Like [`Self::recv`], for a thread outside the runtime; panics inside one.
    pub fn recv_blocking(&mut self) -> Option<T> {
        self.queue.blocking_recv().map(|charged| charged.item)
    }

    /// The next item if one is there.
    pub fn try_recv(&mut self) -> Option<T> {
        self.queue.try_recv().ok().map(|charged| charged.item)
    }

    /// Refuses new items; those inside can still be taken.
    pub fn close(&mut self) {
        self.queue.close();
        self.room.space.close();
    }

    /// Bytes charged now.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.room.used_bytes()
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        // Wakes the senders that wait for room.
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    #[test]
    fn bytes_bound_the_queue_and_full_gives_the_item_back() {
        let (sender, mut receiver) = byte_queue(256);
        assert_eq!(sender.try_send("a", 100), Ok(()));
        assert_eq!(sender.used_bytes(), 128);
        assert_eq!(sender.try_send("b", 200), Err(SendError::Full("b")));
        assert_eq!(sender.try_send("c", 257), Err(SendError::TooLarge("c")));
        assert_eq!(receiver.try_recv(), Some("a"));
        assert_eq!(sender.try_send("b", 200), Ok(()));
        drop(sender);
        assert_eq!((receiver.recv_blocking(), receiver.recv_blocking()), (Some("b"), None));
    }

    #[test]
    fn empty_items_are_charged_too() {
        let (sender, receiver) = byte_queue(10 * MIN_CHARGE);
        let taken = (0..100).filter(|_| sender.try_send((), 0).is_ok()).count();
        assert_eq!((taken, receiver.used_bytes()), (10, sender.capacity()));
    }

    #[tokio::test]
    async fn a_waiting_sender_is_served_or_told_of_the_end() {
        let (sender, mut receiver) = byte_queue(64);
        sender.send(1, 64).await.unwrap();
        let waiting = tokio::spawn({
            let sender = sender.clone();
            async move { (sender.send(2, 64).await, sender.send(3, 64).await) }
        });
        assert_eq!(receiver.recv().await, Some(1));
        assert_eq!(receiver.recv().await, Some(2));
        while sender.used_bytes() == 0 {
            tokio::task::yield_now().await;
        }
        let last = tokio::spawn(async move { sender.send(4, 64).await });
        tokio::task::yield_now().await;
        drop(receiver);
        assert_eq!(waiting.await.unwrap(), (Ok(()), Ok(())));
        assert_eq!(last.await.unwrap(), Err(SendError::Closed(4)));
    }

    proptest! {
        #[test]
        fn it_behaves_as_a_list_with_a_sum(ops in prop::collection::vec(prop::option::of(0usize..600), 0..60)) {
            let (sender, mut receiver) = byte_queue(1024);
            let mut model = VecDeque::new();
            for (number, op) in ops.into_iter().enumerate() {
                let used: usize = model.iter().map(|(_, charge)| charge).sum();
                match op {
                    Some(bytes) => {
                        let charge = units_of(bytes) as usize * MIN_CHARGE;
                        let fits = used + charge <= 1024;
                        prop_assert_eq!(sender.try_send(number, bytes).is_ok(), fits);
                        if fits {
                            model.push_back((number, charge));
                        }
                    }
                    None => prop_assert_eq!(receiver.try_recv(), model.pop_front().map(|(number, _)| number)),
                }
                prop_assert_eq!(receiver.used_bytes(), model.iter().map(|(_, charge)| charge).sum::<usize>());
            }
        }
    }
}
