//! What is remembered from request to request, in two generations: what comes goes into the current one until that is
//! full, then it becomes the previous one, and what was that is forgotten. Who finds something in the previous one says
//! it again, so only what is silent for a while goes. Readers of many requests run side by side.

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

/// One generation.
pub(crate) trait Generation: Default {
    /// What a request brings.
    type Fresh;

    /// Bytes that one of these takes, as they count against the bound.
    fn bytes_of(fresh: &Self::Fresh) -> usize;

    /// Bytes held.
    fn bytes(&self) -> usize;

    fn add(&mut self, fresh: Self::Fresh);
}

/// Both generations, and their bound.
#[derive(Debug, Default)]
pub(crate) struct Remembered<G> {
    generations: RwLock<Generations<G>>,
    /// Bytes of one generation.
    bytes_max: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Generations<G> {
    pub current: G,
    pub previous: G,
}

impl<G: Generation> Remembered<G> {
    /// Nothing, and never more than about so many bytes; 0 remembers nothing.
    pub fn new(bytes_max: usize) -> Self {
        Self { generations: RwLock::default(), bytes_max: bytes_max / 2 }
    }

    /// What is remembered while one request is read.
    pub fn read(&self) -> RwLockReadGuard<'_, Generations<G>> {
        self.generations.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what a request brought. No guard of [`Self::read`] may be held.
    pub fn remember(&self, fresh: Vec<G::Fresh>) {
        if fresh.is_empty() || self.bytes_max == 0 {
            return;
        }
        let mut forgotten = G::default();
        let mut generations = self.generations.write().unwrap_or_else(PoisonError::into_inner);
        for fresh in fresh {
            let bytes = G::bytes_of(&fresh);
            if generations.current.bytes() + bytes > self.bytes_max {
                let current = std::mem::take(&mut generations.current);
                forgotten = std::mem::replace(&mut generations.previous, current);
            }
            if bytes <= self.bytes_max {
                generations.current.add(fresh);
            }
        }
        drop(generations);
        // Freed outside the lock: a generation is large.
        drop(forgotten);
    }
}
