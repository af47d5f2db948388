//! The queue before the committer: many offer without waiting, one thread takes everything that waits.
//!
//! Bounded in bytes. An item is charged until its group is done, so the bound covers what is being written too.
//!
//! An item whose sender nobody waits behind may be *patient*: a group of patient items alone is held back for [`LINGER`],
//! so that many of them share one sync. Any other item, half a full queue or the end takes them along at once.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long patient items wait for company. A fifth of this would still group most of what a thousand targets send, and
/// twice as much is still out of sight of people.
pub const LINGER: Duration = Duration::from_millis(50);

/// How much of the queue one group may take.
#[derive(Clone, Copy, Debug)]
pub struct GroupMax {
    /// Items.
    pub items: usize,
    /// Bytes; the first item is always taken.
    pub bytes: usize,
}

/// Why an item was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushError {
    /// It would exceed the capacity now.
    Full,
    /// It exceeds the whole capacity.
    TooLarge,
    /// No more items are taken.
    Closed,
}

/// Items with their sizes.
#[derive(Debug)]
pub struct Queue<T> {
    state: Mutex<State<T>>,
    arrived: Condvar,
    capacity: usize,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<(usize, T)>,
    bytes: usize,
    /// Somebody waits for one of the items.
    urgent: bool,
    closed: bool,
}

impl<T> Queue<T> {
    /// An empty queue that holds up to `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        let state = State { items: VecDeque::new(), bytes: 0, urgent: false, closed: false };
        Self { state: Mutex::new(state), arrived: Condvar::new(), capacity }
    }

    /// Adds an item unless there is no room; never waits for room.
    pub fn push(&self, bytes: usize, item: T, patient: bool) -> Result<(), PushError> {
        let mut state = self.lock();
        if state.closed {
            return Err(PushError::Closed);
        }
        if bytes > self.capacity {
            return Err(PushError::TooLarge);
        }
        if bytes > self.capacity - state.bytes {
            return Err(PushError::Full);
        }
        state.bytes += bytes;
        state.items.push_back((bytes, item));
        state.urgent |= !patient || state.bytes > self.capacity / 2;
        // Whoever lingers need not hear of more that is patient.
        let wake = state.urgent || state.items.len() == 1;
        drop(state);
        if wake {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Waits for items and takes as many as a group may have, with their bytes; `None` once closed and empty.
    /// The bytes stay charged until [`Self::release`].
    pub fn take_group(&self, max: GroupMax) -> Option<(Vec<T>, usize)> {
        let mut state = self.lock();
        while state.items.is_empty() {
            if state.closed {
                return None;
            }
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let alone = |state: &mut State<T>| !state.urgent && !state.closed;
        let lingered = self.arrived.wait_timeout_while(state, LINGER, alone);
        let (mut state, _) = lingered.unwrap_or_else(PoisonError::into_inner);
        let (mut group, mut taken) = (Vec::new(), 0);
        while let Some((bytes, _)) = state.items.front() {
            if group.len() >= max.items || (!group.is_empty() && taken + bytes > max.bytes) {
                break;
            }
            taken += bytes;
            group.extend(state.items.pop_front().map(|(_, item)| item));
        }
        // What the bounds of the group leave has waited long enough.
        state.urgent = !state.items.is_empty();
        Some((group, taken))
    }

    /// Ends the charge of a finished group.
    pub fn release(&self, bytes: usize) {
        let mut state = self.lock();
        state.bytes = state.bytes.saturating_sub(bytes);
    }

    /// Takes no more items; what waits is still handed out.
    pub fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    /// Drops what waits and takes no more items.
    pub fn abandon(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.bytes = 0;
        let dropped = std::mem::take(&mut state.items);
        drop(state);
        drop(dropped);
        self.arrived.notify_all();
    }

    /// Bytes charged now.
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Most bytes held at once.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    // Every critical section leaves the state whole, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: GroupMax = GroupMax { items: 100, bytes: 100 };

    #[test]
    fn bytes_stay_charged_until_released() {
        let queue = Queue::new(10);
        assert_eq!(queue.push(6, 'a', false), Ok(()));
        assert_eq!(queue.push(5, 'b', false), Err(PushError::Full));
        assert_eq!(queue.push(11, 'c', false), Err(PushError::TooLarge));
        assert_eq!(queue.take_group(ALL), Some((vec!['a'], 6)));
        assert_eq!(queue.push(5, 'b', false), Err(PushError::Full));
        queue.release(6);
        assert_eq!(queue.push(5, 'b', false), Ok(()));
    }

    #[test]
    fn groups_are_bounded_but_never_empty() {
        let queue = Queue::new(1000);
        for (bytes, item) in [(500, 'a'), (60, 'b'), (30, 'c'), (20, 'd')] {
            assert_eq!(queue.push(bytes, item, false), Ok(()));
        }
        assert_eq!(queue.take_group(ALL), Some((vec!['a'], 500)));
        assert_eq!(queue.take_group(ALL), Some((vec!['b', 'c'], 90)));
        queue.close();
        assert_eq!(queue.push(1, 'e', false), Err(PushError::Closed));
        assert_eq!(queue.take_group(ALL), Some((vec!['d'], 20)));
        assert_eq!(queue.take_group(ALL), None);
    }

    #[test]
    fn patient_items_wait_for_company_and_go_along_with_others() {
        let queue = Queue::new(1000);
        for item in ['a', 'b', 'c'] {
            assert_eq!(queue.push(10, item, true), Ok(()));
        }
        assert_eq!(queue.take_group(ALL), Some((vec!['a', 'b', 'c'], 30)));
        for (item, patient) in [('d', true), ('e', false), ('f', true)] {
            assert_eq!(queue.push(10, item, patient), Ok(()));
        }
        assert_eq!(queue.take_group(ALL), Some((vec!['d', 'e', 'f'], 30)));
        assert_eq!(queue.push(10, 'g', true), Ok(()));
        queue.close();
        assert_eq!(queue.take_group(ALL), Some((vec!['g'], 10)));
        assert_eq!(queue.take_group(ALL), None);
    }
}
