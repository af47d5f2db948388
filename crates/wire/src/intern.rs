//! Label sets of one batch, each kept once. Looking a set up costs one hash of its text and no allocation.

use std::collections::HashMap;

use kenning_model::keyed::Prehashed;
use kenning_model::{LabelSet, Reason};

use crate::error::Fault;
use crate::limits::DecodeLimits;

/// Finds the index of a label set among those seen so far.
#[derive(Debug, Default)]
pub(crate) struct LabelTable {
    sets: Vec<LabelSet>,
    /// The places of the first `indexed` sets by their hash.
    index: HashMap<u64, u32, Prehashed>,
    indexed: usize,
    /// The set being looked up as label sets pack it: hashed in one go.
    text: String,
    ends: Vec<u32>,
}

impl LabelTable {
    /// An empty table with room for some sets.
    pub fn with_capacity(sets: usize) -> Self {
        Self { sets: Vec::with_capacity(sets), ..Self::default() }
    }

    /// The index of a set that the caller knows to differ from all others that come this way. While every set does, none
    /// is hashed.
    pub fn push_distinct(&mut self, set: &LabelSet) -> u32 {
        if self.indexed > 0 {
            return self.intern_set(set);
        }
        self.sets.push(set.clone());
        (self.sets.len() - 1) as u32
    }

    /// Makes sets that were not hashed findable.
    fn index_all(&mut self) {
        if self.indexed == self.sets.len() {
            return;
        }
        self.index.reserve(self.sets.len() - self.indexed);
        for (place, set) in self.sets.iter().enumerate().skip(self.indexed) {
            let mut hash = set.keyed_hash();
            while self.index.contains_key(&hash) {
                hash = hash.wrapping_add(1);
            }
            self.index.insert(hash, place as u32);
        }
        self.indexed = self.sets.len();
    }

    /// The index of the set of these pairs. Of equal names the last wins; `pairs` comes back sorted and unique.
    pub fn intern(&mut self, pairs: &mut Vec<(&str, &str)>) -> u32 {
        normalise(pairs);
        self.index_all();
        let mut hash = self.hash(pairs);
        loop {
            match self.index.get(&hash) {
                Some(found) if self.is(*found, pairs) => return *found,
                // Another set has the same hash: the next number is its place.
                Some(_) => hash = hash.wrapping_add(1),
                None => {
                    let added = self.sets.len() as u32;
                    self.sets.push(LabelSet::from_borrowed(pairs));
                    self.index.insert(hash, added);
                    self.indexed = self.sets.len();
                    return added;
                }
            }
        }
    }

    /// The index of a set that is there already.
    pub fn intern_set(&mut self, set: &LabelSet) -> u32 {
        self.index_all();
        let mut hash = set.keyed_hash();
        loop {
            match self.index.get(&hash) {
                Some(found) if self.sets.get(*found as usize) == Some(set) => return *found,
                Some(_) => hash = hash.wrapping_add(1),
                None => {
                    let added = self.sets.len() as u32;
                    self.sets.push(set.clone());
                    self.index.insert(hash, added);
                    self.indexed = self.sets.len();
                    return added;
                }
            }
        }
    }

    /// What [`LabelSet::keyed_hash`] of the set of these pairs is.
    fn hash(&mut self, pairs: &[(&str, &str)]) -> u64 {
        self.text.clear();
        self.ends.clear();
        for (name, value) in pairs {
            for piece in [name, value] {
                self.text.push_str(piece);
                self.ends.push(self.text.len() as u32);
            }
        }
        LabelSet::hash_of(&self.text, &self.ends)
    }

    fn is(&self, index: u32, pairs: &[(&str, &str)]) -> bool {
        self.sets.get(index as usize).is_some_and(|set| set.iter().eq(pairs.iter().copied()))
    }

    /// The sets in order of their indices.
    pub fn into_sets(self) -> Vec<LabelSet> {
        self.sets
    }

    /// The set with this index.
    pub fn get(&self, index: u32) -> Option<&LabelSet> {
        self.sets.get(index as usize)
    }
}

/// Builds label sets of which many in a request are equal, and then shares them.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    last: LabelSet,
    known: LabelTable,
}

/// Most sets of a request that later ones are compared with, but for the last one: metadata of few values, such as
/// levels, are shared, those with ids cost little more than before.
const SHARED_MAX: usize = 128;

impl Shared {
    /// The set of these pairs; `pairs` comes back sorted and unique.
    pub fn build(&mut self, pairs: &mut Vec<(&str, &str)>) -> LabelSet {
        normalise(pairs);
        if !self.last.iter().eq(pairs.iter().copied()) {
            let known = (self.known.sets.len() < SHARED_MAX).then(|| self.known.intern(pairs));
            let known = known.and_then(|at| self.known.get(at)).cloned();
            self.last = known.unwrap_or_else(|| LabelSet::from_borrowed(pairs));
        }
        self.last.clone()
    }
}

/// Sorts by name, keeps the last of equal names, drops empty values.
fn normalise(pairs: &mut Vec<(&str, &str)>) {
    if !pairs.windows(2).all(|w| matches!(w, [a, b] if a.0 < b.0)) {
        pairs.sort_by(|a, b| a.0.cmp(b.0));
        pairs.reverse();
        pairs.dedup_by(|a, b| a.0 == b.0);
        pairs.reverse();
    }
    pairs.retain(|(_, value)| !value.is_empty());
}

/// Holds labels against the limits; `at` is the offset to blame.
pub(crate) fn check_labels(pairs: &[(&str, &str)], limits: &DecodeLimits, at: usize) -> Result<(), Fault> {
    if pairs.len() > limits.labels {
        return Err(Fault::over(Reason::TooManyLabels, at, "number of labels", limits.labels, "labels"));
    }
    for (name, value) in pairs {
        if name.is_empty() {
            return Err(Fault::new(Reason::BadLabelName, at, "label name", "is empty"));
        }
        if name.len() > limits.label_name_bytes {
            return Err(Fault::over(
                Reason::BadLabelName,
                at,
                "label name",
                limits.label_name_bytes,
                "bytes",
            ));
        }
        if value.len() > limits.label_value_bytes {
            let limit = limits.label_value_bytes;
            return Err(Fault::over(Reason::LabelValueTooLong, at, "label value", limit, "bytes"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_and_pairs_share_indices() {
        let mut table = LabelTable::with_capacity(1);
        let mut pairs = vec![("b", "2"), ("a", "1")];
        assert_eq!(table.intern(&mut pairs), 0);
        assert_eq!(table.intern_set(&LabelSet::from_pairs([("a", "1"), ("b", "2")])), 0);
        assert_eq!(table.intern_set(&LabelSet::from_pairs([("a", "1")])), 1);
        assert_eq!(table.intern(&mut vec![("a", "1")]), 1);
    }

    #[test]
    fn sets_that_were_not_hashed_are_found() {
        let set = |name: &str| LabelSet::from_pairs([(name, "1")]);
        let mut table = LabelTable::default();
        assert_eq!((table.push_distinct(&set("a")), table.push_distinct(&set("b"))), (0, 1));
        assert_eq!((table.intern_set(&set("b")), table.intern(&mut vec![("a", "1")])), (1, 0));
        assert_eq!((table.intern_set(&set("c")), table.push_distinct(&set("c"))), (2, 2));
    }

    #[test]
    fn sets_of_few_values_are_shared() {
        let mut shared = Shared::default();
        let mut set = |value: &str| shared.build(&mut vec![("b", "1"), ("a", value)]);
        let (info, warn) = (set("info"), set("warn"));
        assert!(set("info").is_same(&info) && set("warn").is_same(&warn));
        for n in 0..1000 {
            let value = n.to_string();
            assert_eq!(set(&value), LabelSet::from_pairs([("a", value.as_str()), ("b", "1")]));
        }
        assert_eq!(set("info"), info);
    }

    #[test]
    fn equal_sets_share_an_index() {
        let mut table = LabelTable::default();
        let mut index = |pairs: &[(&str, &str)]| table.intern(&mut pairs.to_vec());
        assert_eq!(index(&[("a", "1"), ("b", "2")]), 0);
        assert_eq!(index(&[("b", "2"), ("a", "1")]), 0);
        assert_eq!(index(&[("b", "9"), ("c", ""), ("a", "1"), ("b", "2")]), 0);
        assert_eq!(index(&[("a", "12"), ("b", "")]), 1);
        assert_eq!(index(&[]), 2);
        assert_eq!(table.into_sets().len(), 3);
    }
}
