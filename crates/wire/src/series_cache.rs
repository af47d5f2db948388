//! Label sets by the bytes that senders write for them, across requests: a sender repeats its series (and its streams)
//! every few seconds, byte for byte, so most series need not be parsed.
//!
//! Promises: a hit gives what parsing would have given, because the bytes are compared, not only their hash: with those
//! that were sent or, where only one form of bytes means the set and there are many, with the set itself, so that its text
//! is not held twice. Memory is bounded; readers of many requests run side by side. Senders also repeat the order of their series, so the entry after
//! the last one found is tried before anything is hashed: such a request reads memory in one direction. Series that are silent for a while are forgotten generation by
//! generation. Absent: series that were refused, which are parsed and refused anew each time.

use std::collections::HashMap;
use std::sync::RwLockReadGuard;

use kenning_model::LabelSet;
use kenning_model::keyed::{Prehashed, keyed_hash};

use crate::generations::{self, Generations, Remembered};
use crate::limits::DecodeLimits;

/// Bytes of an entry beside its text: the entry, its place in the index, and room for growth. The text counts once, as it
/// was sent, be it held as such or as the label set, which is shared with whoever holds the series.
const ENTRY_BYTES: usize = 64;

/// Most bytes that are held as they were sent though the label set tells them too. Comparing them is cheaper than
/// comparing labels one by one, which matters to few thousand series sent often; for many, memory matters more.
const SPARE_BYTES_MAX: usize = 4 << 20;

/// A label as it is sent takes at least this: a field's tag and length, and one of name and value likewise, not empty;
/// as text a name, `=`, two quotation marks and a comma or brace.
const LABEL_BYTES_MIN: usize = 5;

/// Known series. Shared by all requests.
#[derive(Debug)]
pub struct SeriesCache(Remembered<Generation>);

/// Series in the order they came.
#[derive(Debug, Default)]
struct Generation {
    /// What those entries were sent as that need it, and as many others as are cheap, one after the other.
    sent: Vec<u8>,
    entries: Vec<Entry>,
    /// Counted against the cache's bound.
    bytes: usize,
    index: HashMap<u64, u32, Prehashed>,
}

#[derive(Debug)]
struct Entry {
    /// Where its bytes end among those that are held; they begin where those of the entry before end.
    end: u32,
    /// Its bytes are there; if not, it is canonical.
    is_held: bool,
    /// Its bytes are the only ones that its labels are sent as.
    canonical: bool,
    labels: LabelSet,
}

/// A series that a request brought and the cache should know.
#[derive(Debug)]
pub(crate) struct Fresh {
    hash: u64,
    sent: Box<[u8]>,
    labels: LabelSet,
}

impl Fresh {
    pub fn new(hash: u64, sent: &[u8], labels: LabelSet) -> Self {
        Self { hash, sent: sent.into(), labels }
    }
}

/// What the cache holds while one request is read.
pub(crate) struct Known<'a>(RwLockReadGuard<'a, Generations<Generation>>);

/// Where the next series of a request is expected.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Expected {
    next: u32,
    /// No entry from here on was found in this request.
    unseen: u32,
}

impl Expected {
    /// An entry was found; true when it was not found before.
    fn found(&mut self, at: u32) -> bool {
        self.next = at + 1;
        let first = at >= self.unseen;
        self.unseen = self.unseen.max(self.next);
        first
    }
}

/// What was found, with the hash where it will be needed.
pub(crate) enum Found<'a> {
    /// One that no other series of the request has the labels of, as long as all are found so.
    Distinct(&'a LabelSet),
    Current(&'a LabelSet),
    /// About to be forgotten unless it is remembered again.
    Old(u64, &'a LabelSet),
    Nothing(u64),
}

impl SeriesCache {
    /// An empty cache that holds about `bytes_max` bytes beside the label sets; 0 remembers nothing.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self(Remembered::new(bytes_max))
    }

    pub(crate) fn read(&self) -> Known<'_> {
        Known(self.0.read())
    }

    /// Takes in what a request brought.
    pub(crate) fn remember(&self, fresh: Vec<Fresh>) {
        self.0.remember(fresh);
    }
}

impl Generation {
    /// The entry at a place if it was sent as these bytes.
    fn entry(&self, at: u32, sent: &[u8]) -> Option<&Entry> {
        let entry = self.entries.get(at as usize)?;
        if !entry.is_held {
            return Some(entry).filter(|entry| is_sent_as(&entry.labels, sent));
        }
        let before = at.checked_sub(1).and_then(|before| self.entries.get(before as usize));
        let start = before.map_or(0, |before| before.end as usize);
        (self.sent.get(start..entry.end as usize)? == sent).then_some(entry)
    }

    fn find(&self, hash: u64, sent: &[u8]) -> Option<(u32, &Entry)> {
        let at = *self.index.get(&hash)?;
        self.entry(at, sent).map(|entry| (at, entry))
    }
}

impl generations::Generation for Generation {
    type Fresh = Fresh;

    fn bytes_of(fresh: &Fresh) -> usize {
        ENTRY_BYTES + fresh.sent.len()
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    /// Of two series with one hash the later is found; two requests may bring one series at once.
    fn add(&mut self, fresh: Fresh) {
        if self.find(fresh.hash, &fresh.sent).is_some() {
            return;
        }
        let canonical = is_canonical(&fresh.sent) && is_sent_as(&fresh.labels, &fresh.sent);
        let is_held = !canonical || self.sent.len() < SPARE_BYTES_MAX;
        let held: &[u8] = if is_held { &fresh.sent } else { &[] };
        let (Ok(at), Ok(end)) =
            (u32::try_from(self.entries.len()), u32::try_from(self.sent.len() + held.len()))
        else {
            return;
        };
        self.sent.extend_from_slice(held);
        self.bytes += Self::bytes_of(&fresh);
        self.entries.push(Entry { end, is_held, canonical, labels: fresh.labels });
        self.index.insert(fresh.hash, at);
    }
}

impl Known<'_> {
    /// The label set that was sent as these bytes and keeps the limits.
    pub fn find(&self, sent: &[u8], expected: &mut Expected, limits: &DecodeLimits) -> Found<'_> {
        let Generations { current, previous } = &*self.0;
        let at = expected.next;
        if let Some(entry) = current.entry(at, sent)
            && keeps(sent, &entry.labels, limits)
        {
            return entry.found(expected.found(at));
        }
        let hash = keyed_hash(sent);
        if let Some((at, entry)) = current.find(hash, sent)
            && keeps(sent, &entry.labels, limits)
        {
            return entry.found(expected.found(at));
        }
        match previous.find(hash, sent) {
            Some((_, entry)) if keeps(sent, &entry.labels, limits) => Found::Old(hash, &entry.labels),
            _ => Found::Nothing(hash),
        }
    }
}

impl Entry {
    fn found(&self, first: bool) -> Found<'_> {
        if first && self.canonical { Found::Distinct(&self.labels) } else { Found::Current(&self.labels) }
    }
}

/// True when the bytes are fields of labels that rise strictly by name, none of them empty, and in the shortest form: other
/// bytes like that mean another set.
fn is_canonical(mut sent: &[u8]) -> bool {
    let mut last: &[u8] = b"";
    while let [0x0a, rest @ ..] = sent {
        let Some((label, after)) = block(rest) else { return false };
        let [0x0a, inside @ ..] = label else { return false };
        let Some((name, inside)) = block(inside) else { return false };
        let [0x12, inside @ ..] = inside else { return false };
        let Some((value, [])) = block(inside) else { return false };
        if name <= last || value.is_empty() {
            return false;
        }
        last = name;
        sent = after;
    }
    sent.is_empty()
}

/// True when the bytes are the canonical ones of these labels.
fn is_sent_as(labels: &LabelSet, mut sent: &[u8]) -> bool {
    for (name, value) in labels.iter() {
        let [0x0a, rest @ ..] = sent else { return false };
        let Some((label, after)) = block(rest) else { return false };
        let inside = after_text(label, 0x0a, name).and_then(|inside| after_text(inside, 0x12, value));
        if inside.is_none_or(|rest| !rest.is_empty()) {
            return false;
        }
        sent = after;
    }
    sent.is_empty()
}

/// What follows a field that holds this text.
fn after_text<'a>(bytes: &'a [u8], tag: u8, text: &str) -> Option<&'a [u8]> {
    let (first, rest) = bytes.split_first()?;
    let (found, after) = block(rest)?;
    (*first == tag && found == text.as_bytes()).then_some(after)
}

/// A length in the shortest form and as many bytes.
fn block(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (first, rest) = bytes.split_first()?;
    if *first < 0x80 {
        return rest.split_at_checked(usize::from(*first));
    }
    let (second, rest) = rest.split_first()?;
    let len = usize::from(first & 0x7f) | usize::from(*second) << 7;
    // Longer lengths are left to those who look at every label.
    if (1..0x80).contains(second) { rest.split_at_checked(len) } else { None }
}

/// Requests of other tenants may have brought the series under other limits.
fn keeps(sent: &[u8], labels: &LabelSet, limits: &DecodeLimits) -> bool {
    let (name_max, value_max) = (limits.label_name_bytes, limits.label_value_bytes);
    // No text is longer than all of them together.
    let short = sent.len() <= name_max.min(value_max);
    // Known series are met by the million, and the set itself lies elsewhere in memory: it is looked at only if it must.
    (sent.len() / LABEL_BYTES_MIN <= limits.labels || labels.len() <= limits.labels)
        && (short || labels.iter().all(|(name, value)| name.len() <= name_max && value.len() <= value_max))
}

#[cfg(test)]
mod tests {
    use super::generations::Generation as _;
    use super::*;

    fn label(name: &str, value: &str) -> Vec<u8> {
        let text = |tag: u8, text: &str| {
            let mut out = vec![tag, text.len() as u8];
            out.extend(text.bytes());
            out
        };
        let inside = [text(0x0a, name), text(0x12, value)].concat();
        [vec![0x0a, inside.len() as u8], inside].concat()
    }

    #[test]
    fn entries_without_their_bytes_are_found_by_their_labels() {
        let mut cache = Generation { sent: vec![0; SPARE_BYTES_MAX], ..Generation::default() };
        let sets = [("a", "1"), ("a", "2"), ("b", "")];
        for (hash, (name, value)) in (0..).zip(sets) {
            let labels = LabelSet::from_pairs([(name, value)]);
            cache.add(Fresh::new(hash, &label(name, value), labels));
        }
        assert_eq!(cache.entries.iter().map(|entry| entry.is_held).collect::<Vec<_>>(), [false, false, true]);
        assert!(cache.find(0, &label("a", "1")).is_some() && cache.find(1, &label("a", "2")).is_some());
        assert!(cache.find(0, &label("a", "2")).is_none() && cache.find(1, &label("a", "12")).is_none());
    }

    #[test]
    fn sets_are_told_from_each_other_by_their_own_text() {
        let set = LabelSet::from_pairs([("a", "1"), ("bb", "22")]);
        let sent = [label("a", "1"), label("bb", "22")].concat();
        assert!(is_sent_as(&set, &sent) && is_sent_as(&LabelSet::empty(), b""));
        for other in [
            label("a", "1"),
            [label("a", "1"), label("bb", "23")].concat(),
            [label("a", "1"), label("b", "22")].concat(),
            [label("bb", "22"), label("a", "1")].concat(),
            [sent.clone(), label("c", "3")].concat(),
            [sent.clone(), vec![0x0a]].concat(),
            Vec::new(),
        ] {
            assert!(!is_sent_as(&set, &other), "{other:?}");
        }
        for end in 0..sent.len() {
            assert!(!is_sent_as(&set, &sent[..end]));
        }
    }

    #[test]
    fn one_form_of_labels_is_canonical() {
        assert!(is_canonical(b""));
        assert!(is_canonical(&[label("a", "1"), label("b", "2")].concat()));
        for other in [
            [label("b", "2"), label("a", "1")].concat(),
            [label("a", "1"), label("a", "1")].concat(),
            label("a", ""),
            label("", "1"),
            vec![0x0a, 0x86, 0x00, 0x0a, 1, b'a', 0x12, 1, b'1'],
            vec![0x0a, 6, 0x12, 1, b'1', 0x0a, 1, b'a'],
            vec![0x0a, 9],
            vec![0x12, 0],
        ] {
            assert!(!is_canonical(&other), "{other:?}");
        }
    }
}
