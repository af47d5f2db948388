//! Hashing of text that outsiders choose: fast, and keyed once per process so that nobody can make up texts that
//! collide. A hash means nothing outside its process and is never stored.
//!
//! Two folded multiplications take 32 bytes a step. This is a hash for tables that compare what they find, not a
//! fingerprint that stands for the text.

use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::sync::OnceLock;

/// The hash of some bytes under this process's key.
#[must_use]
pub fn keyed_hash(bytes: &[u8]) -> u64 {
    let [k0, k1, k2] = keys();
    let (mut a, mut b) = (fold(k0 ^ bytes.len() as u64, k2), k1);
    let (steps, rest) = bytes.as_chunks::<32>();
    for step in steps {
        let [w0, w1, w2, w3] = words(step);
        a = fold(w0 ^ k1, w1 ^ a);
        b = fold(w2 ^ k2, w3 ^ b);
    }
    if !rest.is_empty() {
        // The length went into the key, so that padding cannot be mistaken for text.
        let mut last = [0; 32];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        let [w0, w1, w2, w3] = words(&last);
        a = fold(w0 ^ k1, w1 ^ a);
        b = fold(w2 ^ k2, w3 ^ b);
    }
    fold(a ^ k2, b ^ k0)
}

/// Two hashes as one.
#[must_use]
pub fn keyed_pair(first: u64, second: u64) -> u64 {
    let [k0, k1, _] = keys();
    fold(first ^ k0, second ^ k1)
}

fn words(bytes: &[u8; 32]) -> [u64; 4] {
    let mut words = [0; 4];
    let (eights, _) = bytes.as_chunks::<8>();
    words.iter_mut().zip(eights).for_each(|(word, eight)| *word = u64::from_le_bytes(*eight));
    words
}

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

fn keys() -> [u64; 3] {
    static KEYS: OnceLock<[u64; 3]> = OnceLock::new();
    *KEYS.get_or_init(|| {
        // The standard library's tables are keyed the same way; nothing that a test can see depends on the key.
        let state = RandomState::default();
        [0u8, 1, 2].map(|n| state.hash_one(n) | 1)
    })
}

/// Builds [`KeyedHasher`]s: `HashMap<LabelSet, T, Prehashed>`.
pub type Prehashed = BuildHasherDefault<KeyedHasher>;

/// A hasher for keys that are or carry a [`keyed_hash`]: it takes the number as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyedHasher(u64);

impl Hasher for KeyedHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = keyed_pair(self.0, keyed_hash(bytes));
    }

    #[inline]
    fn write_u64(&mut self, n: u64) {
        self.0 = n;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_change_of_a_byte_or_of_the_length_changes_the_hash() {
        let mut seen = HashSet::new();
        for len in 0..100 {
            let zeros = vec![0u8; len];
            assert!(seen.insert(keyed_hash(&zeros)), "length {len}");
            for at in 0..len {
                let mut changed = zeros.clone();
                changed[at] = 1;
                assert!(seen.insert(keyed_hash(&changed)), "length {len}, byte {at}");
            }
        }
        assert_eq!(keyed_hash(b"some text"), keyed_hash(b"some text"));
    }
}
