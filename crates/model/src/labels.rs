//! Label sets: the identity of a metric series or a log stream.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::keyed::{keyed_hash, keyed_pair};

/// The label that carries a metric's name.
pub const METRIC_NAME: &str = "__name__";

/// An immutable set of `name = value` pairs, sorted by name in byte order, each name once, no empty value.
///
/// An absent label and an empty value mean the same, as in Prometheus. Cloning is a reference count. All text lies in
/// one allocation with the ends of names and values beside it, so a series costs its text and eight bytes a label. The
/// hash is made with the set: tables with the hasher [`crate::keyed::Prehashed`] never look at the text for it.
#[derive(Clone)]
pub struct LabelSet(Arc<Packed>);

struct Packed {
    /// [`LabelSet::hash_of`] what follows.
    hash: u64,
    /// See [`LabelSet::mark`].
    mark: AtomicU64,
    text: Box<str>,
    /// End offsets in `text`: name 0, value 0, name 1, value 1, and so on.
    ends: Box<[u32]>,
}

/// A number for [`LabelSet::set_mark`] that was not given out before.
#[must_use]
pub fn fresh_mark() -> u64 {
    static GIVEN: AtomicU64 = AtomicU64::new(0);
    GIVEN.fetch_add(2, Relaxed) + 2
}

impl LabelSet {
    /// The set without labels.
    #[must_use]
    pub fn empty() -> Self {
        LabelSetBuilder::new().build()
    }

    /// The set of the given pairs; of pairs with equal names the last wins.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut builder = LabelSetBuilder::new();
        for (name, value) in pairs {
            builder.set(name.as_ref(), value.as_ref());
        }
        builder.build()
    }

    /// The set of borrowed pairs without the copies a builder makes, for decoders; comes back sorted. Of pairs with
    /// equal names the last wins.
    #[must_use]
    pub fn from_borrowed(pairs: &mut [(&str, &str)]) -> Self {
        pairs.sort_by(|a, b| a.0.cmp(b.0));
        Self::pack(pairs.iter().copied(), pairs.len(), false)
    }

    /// Packs pairs that are sorted by name. Text beyond 4 GiB cannot be addressed and is left out label by label;
    /// limits on label sizes stop such input far earlier.
    fn pack<'a>(
        pairs: impl Iterator<Item = (&'a str, &'a str)> + Clone,
        count: usize,
        keep_empty: bool,
    ) -> Self {
        let mut text = String::with_capacity(pairs.clone().map(|(n, v)| n.len() + v.len()).sum());
        let mut ends = Vec::with_capacity(2 * count);
        let mut pairs = pairs.peekable();
        while let Some((name, value)) = pairs.next() {
            let overridden = pairs.peek().is_some_and(|(next, _)| *next == name);
            let total = u32::try_from(text.len() + name.len() + value.len());
            let left_out = value.is_empty() && !keep_empty;
            let (false, false, Ok(value_end)) = (overridden, left_out, total) else { continue };
            text.push_str(name);
            text.push_str(value);
            ends.push(value_end - value.len() as u32);
            ends.push(value_end);
        }
        let hash = Self::hash_of(&text, &ends);
        Self(Arc::new(Packed { hash, mark: AtomicU64::new(0), text: text.into(), ends: ends.into() }))
    }

    /// The hash of a set whose names and values follow each other in `text` and end at `ends`, by name, each name once.
    #[must_use]
    pub fn hash_of(text: &str, ends: &[u32]) -> u64 {
        // Where the pieces end tells apart what the text alone does not; folding them in order is enough.
        let ends = ends.iter().fold(0u64, |sum, end| sum.rotate_left(9) ^ u64::from(*end));
        keyed_pair(keyed_hash(text.as_bytes()), ends)
    }

    /// The hash of the set under this process's key ([`crate::keyed`]).
    #[must_use]
    pub fn keyed_hash(&self) -> u64 {
        self.0.hash
    }

    /// True when both are clones of one set; equal sets need not be.
    #[inline]
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// What somebody noted on the set last; 0 at first. Whoever uses it must draw numbers that nobody else draws (those of
    /// [`fresh_mark`] are even, hashes that serve as marks must be odd), and must do without: copies made of the text have
    /// none, and another may overwrite it at any time.
    #[must_use]
    pub fn mark(&self) -> u64 {
        self.0.mark.load(Relaxed)
    }

    /// Notes a number on the set and on all that share it.
    pub fn set_mark(&self, mark: u64) {
        self.0.mark.store(mark, Relaxed);
    }

    /// Number of labels.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.ends.len() / 2
    }

    /// True without labels.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.ends.is_empty()
    }

    /// The value of `name`; empty text when absent.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        // Sets hold a dozen labels: a scan that stops early beats a binary search over two arrays.
        self.iter().take_while(|(n, _)| *n <= name).find(|(n, _)| *n == name).map_or("", |(_, value)| value)
    }

    /// The metric's name; empty when there is none.
    #[must_use]
    pub fn metric_name(&self) -> &str {
        self.get(METRIC_NAME)
    }

    /// The pairs in order of names.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        let text: &str = &self.0.text;
        let mut start = 0;
        self.0.ends.chunks_exact(2).filter_map(move |ends| {
            let (name_end, value_end) = (*ends.first()? as usize, *ends.get(1)? as usize);
            let pair = (text.get(start..name_end)?, text.get(name_end..value_end)?);
            start = value_end;
            Some(pair)
        })
    }

    /// A builder that starts from this set.
    #[must_use]
    pub fn to_builder(&self) -> LabelSetBuilder {
        LabelSetBuilder { pairs: self.iter().map(|(n, v)| (n.into(), v.into())).collect() }
    }

    /// Bytes of all names and values.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        self.0.text.len()
    }

    /// Bytes held by the shared allocation.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.0.text.len() + 4 * self.0.ends.len() + size_of::<Packed>() + 2 * size_of::<usize>()
    }
}

impl Default for LabelSet {
    fn default() -> Self {
        Self::empty()
    }
}

impl PartialEq for LabelSet {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.0.hash == other.0.hash && self.0.ends == other.0.ends && self.0.text == other.0.text)
    }
}

impl Eq for LabelSet {}

impl Hash for LabelSet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

impl PartialOrd for LabelSet {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Pair by pair, names before values, as Prometheus orders series.
impl Ord for LabelSet {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) {
            return Ordering::Equal;
        }
        // As long as names and values end at the same places, one comparison of the text stands for all of theirs.
        let (ends, others) = (&self.0.ends, &other.0.ends);
        let same = ends.iter().zip(others).take_while(|(a, b)| a == b).count();
        let start = same.checked_sub(1).and_then(|last| ends.get(last)).map_or(0, |end| *end as usize);
        let (text, other_text) = (self.0.text.as_bytes(), other.0.text.as_bytes());
        let common = text.get(..start).cmp(&other_text.get(..start));
        common.then_with(|| match (ends.get(same), others.get(same)) {
            (Some(a), Some(b)) => text.get(start..*a as usize).cmp(&other_text.get(start..*b as usize)),
            (a, b) => a.is_some().cmp(&b.is_some()),
        })
    }
}

impl fmt::Debug for LabelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Collects labels in any order.
#[derive(Clone, Debug, Default)]
pub struct LabelSetBuilder {
    pairs: Vec<(Box<str>, Box<str>)>,
}

impl LabelSetBuilder {
    /// A builder without labels.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `name`, replacing an earlier value. An empty value removes the label.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        self.pairs.push((name.into(), value.into()));
        self
    }

    /// Removes `name`.
    pub fn remove(&mut self, name: &str) -> &mut Self {
        self.pairs.retain(|(n, _)| **n != *name);
        self
    }

    /// The value set last for `name`; empty text when absent.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.pairs.iter().rev().find(|(n, _)| **n == *name).map_or("", |(_, value)| value)
    }

    /// The finished set.
    #[must_use]
    pub fn build(self) -> LabelSet {
        self.finish(false)
    }

    /// The finished set with its empty values. Only answers of queries have such sets: LogQL tells a label that was
    /// parsed and is empty from one that is absent.
    #[must_use]
    pub fn build_with_empty(self) -> LabelSet {
        self.finish(true)
    }

    fn finish(mut self, keep_empty: bool) -> LabelSet {
        // The sort is stable: among equal names the one set last comes last, and wins.
        self.pairs.sort_by(|a, b| a.0.cmp(&b.0));
        LabelSet::pack(self.pairs.iter().map(|(n, v)| (&**n, &**v)), self.pairs.len(), keep_empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pairs: &[(&str, &str)], expect: &[(&str, &str)]) {
        let set = LabelSet::from_pairs(pairs.iter().copied());
        assert_eq!(set.iter().collect::<Vec<_>>(), expect);
        assert_eq!(set.to_builder().build(), set);
        assert_eq!(LabelSet::from_borrowed(&mut pairs.to_vec()), set);
    }

    #[test]
    fn sets_order_pair_by_pair() {
        let texts = ["a", "ab", "b", "ba"];
        let mut sets = vec![LabelSet::empty()];
        for (a, b) in texts.iter().flat_map(|a| texts.iter().map(move |b| (a, b))) {
            sets.push(LabelSet::from_pairs([(a, b)]));
            sets.extend(texts.iter().map(|c| LabelSet::from_pairs([(a, b), (c, &"x")])));
        }
        for (a, b) in sets.iter().flat_map(|a| sets.iter().map(move |b| (a, b))) {
            assert_eq!(a.cmp(b), a.iter().cmp(b.iter()), "{a:?} {b:?}");
        }
    }

    #[test]
    fn sorted_unique_and_without_empty_values() {
        check(&[], &[]);
        check(&[("b", "2"), ("a", "1")], &[("a", "1"), ("b", "2")]);
        check(&[("a", "1"), ("a", "2")], &[("a", "2")]);
        check(&[("a", "1"), ("a", "")], &[]);
        check(&[("é", "ü"), ("a", "")], &[("é", "ü")]);
    }

    #[test]
    fn lookup_finds_each_and_only_what_is_there() {
        let set = LabelSet::from_pairs([("job", "api"), (METRIC_NAME, "up"), ("zone", "eu")]);
        assert_eq!(
            (set.metric_name(), set.get("job"), set.get("zone"), set.get("k")),
            ("up", "api", "eu", "")
        );
    }

    #[test]
    fn order_is_by_pairs_not_by_packed_text() {
        let (a, b) = (LabelSet::from_pairs([("a", "bc")]), LabelSet::from_pairs([("ab", "c")]));
        assert!(a < b && a != b);
    }
}
