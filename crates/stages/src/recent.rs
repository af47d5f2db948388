//! A bounded memory of what was used lately.

use std::collections::HashMap;
use std::hash::Hash;

/// Keeps at least the last `max` keys used and at most twice as many: two generations, the older of which is forgotten
/// when the younger is full.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    max: usize,
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Eq + Hash + Clone, V> Recent<K, V> {
    pub fn new(max: usize) -> Self {
        Self { max: max.max(1), young: HashMap::new(), old: HashMap::new() }
    }

    /// The value of a key, made when it is not remembered.
    pub fn get_or(&mut self, key: &K, make: impl FnOnce() -> V) -> &mut V {
        if self.young.len() >= self.max && !self.young.contains_key(key) {
            self.old = std::mem::take(&mut self.young);
        }
        let old = &mut self.old;
        self.young.entry(key.clone()).or_insert_with(|| old.remove(key).unwrap_or_else(make))
    }

    pub fn get(&self, key: &K) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    pub fn insert(&mut self, key: &K, value: V) {
        if self.young.len() >= self.max && !self.young.contains_key(key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key.clone(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_lately_is_forgotten() {
        let mut recent = Recent::new(2);
        for key in [1, 2, 3, 1, 4, 5] {
            *recent.get_or(&key, || 0) += 1;
        }
        assert_eq!((recent.get(&1), recent.get(&2), recent.get(&5)), (Some(&2), None, Some(&1)));
        assert!(recent.young.len() + recent.old.len() <= 4);
    }
}
