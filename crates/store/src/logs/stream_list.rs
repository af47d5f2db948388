//! The streams of a part as its index holds them: each is told by what differs from the one before. Label sets are made only
//! of those that rows are answered from; what labels say is asked of the packed form, for a part has thousands of streams and
//! a query mostly wants few of them.

use std::ops::Range;
use std::sync::OnceLock;

use bytes::Bytes;
use kenning_codec::bytes::{Decoder, Encoder};
use kenning_model::{Field, LabelSet, LabelSetBuilder, Record, ValueRef};

/// Bytes that the streams of a part may take in memory.
const BYTES_MAX: usize = 1 << 30;
/// One stream in so many can be read without those before it.
const MARKED: usize = 16;

const SAME_PAIR: u8 = 0;
const SAME_NAME: u8 = 1;
const NEW_PAIR: u8 = 2;

/// Label sets in their order.
#[derive(Debug, Default)]
pub(crate) struct StreamList {
    packed: Bytes,
    marks: Vec<Mark>,
    /// Those that were asked for.
    sets: Box<[OnceLock<LabelSet>]>,
    /// Bytes that all sets would take.
    bytes: usize,
}

impl PartialEq for StreamList {
    fn eq(&self, other: &Self) -> bool {
        (self.len(), &self.packed) == (other.len(), &other.packed)
    }
}

/// Where a stream begins in the packed form.
#[derive(Debug)]
struct Mark {
    at: usize,
    /// The pairs of the stream before, as places of names and values.
    before: Vec<[Range<usize>; 2]>,
}

/// The pairs of a stream, by name.
pub(crate) struct Pairs<'p>(&'p [(&'p str, &'p str)]);

impl<'p> Pairs<'p> {
    /// The value of a label; empty without one.
    pub(crate) fn get(&self, name: &str) -> &'p str {
        self.0.iter().find(|(of, _)| *of == name).map_or("", |(_, value)| value)
    }
}

/// What filters of labels ask, as of a [`LabelSet`].
impl Record for Pairs<'_> {
    fn any(&self, field: &Field, test: &mut dyn FnMut(ValueRef<'_>) -> bool) -> bool {
        matches!(field, Field::Label(name) if test(ValueRef::Str(self.get(name))))
    }
}

impl StreamList {
    /// These sets.
    pub(crate) fn of<'l>(sets: impl IntoIterator<Item = &'l LabelSet>) -> Self {
        let (mut out, mut before, mut count) = (Encoder::default(), &LabelSet::empty(), 0);
        for set in sets {
            encode_set(set, before, &mut out);
            (before, count) = (set, count + 1);
        }
        let packed = Bytes::from(out.into_bytes());
        // What was just written can be read.
        Self::take(&packed, &mut Decoder::new(&packed), count).unwrap_or_default()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.sets.len()
    }

    /// Bytes held, for caches: as if all sets had been asked for.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.packed.len() + self.bytes
    }

    /// One of them.
    pub(crate) fn get(&self, number: usize) -> Option<&LabelSet> {
        let slot = self.sets.get(number)?;
        if let Some(set) = slot.get() {
            return Some(set);
        }
        let mark = self.marks.get(number / MARKED)?;
        let text = |place: &Range<usize>| std::str::from_utf8(self.packed.get(place.clone())?).ok();
        let before = mark.before.iter().map(|[name, value]| Some((text(name)?, text(value)?)));
        let mut pairs = before.collect::<Option<Vec<_>>>()?;
        let mut from = Decoder::new(self.packed.get(mark.at..)?);
        for _ in 0..=number % MARKED {
            next_pairs(&mut pairs, &mut from)?;
        }
        Some(slot.get_or_init(|| LabelSet::from_borrowed(&mut pairs)))
    }

    /// Hands each to `see`, in order, without making a set of it.
    pub(crate) fn for_each(&self, mut see: impl FnMut(&Pairs<'_>)) {
        let (mut pairs, mut from) = (Vec::new(), Decoder::new(&self.packed));
        for _ in 0..self.len() {
            if next_pairs(&mut pairs, &mut from).is_none() {
                return;
            }
            see(&Pairs(&pairs));
        }
    }

    pub(super) fn encode(&self, out: &mut Encoder) {
        out.size(self.len());
        out.raw(&self.packed);
    }

    /// Reads what [`Self::encode`] wrote; `from` reads `bytes`.
    pub(super) fn decode(bytes: &Bytes, from: &mut Decoder<'_>) -> Option<Self> {
        let count = from.size()?;
        Self::take(bytes, from, count)
    }

    /// Reads the form of parts of version 2: all pairs of each.
    pub(super) fn decode_whole(from: &mut Decoder<'_>) -> Option<Self> {
        let count = from.size()?;
        let (mut sets, mut held) = (Vec::with_capacity(from.capacity(count).min(1024)), 0);
        for _ in 0..count {
            let mut builder = LabelSetBuilder::new();
            for _ in 0..from.size()? {
                builder.set(from.text()?, from.text()?);
            }
            let set = builder.build();
            held += set.heap_bytes();
            (held <= BYTES_MAX).then_some(())?;
            sets.push(set);
        }
        Some(Self::of(&sets))
    }

    /// Verifies that so many sets stand there, and notes where some of them begin.
    fn take(bytes: &Bytes, from: &mut Decoder<'_>, count: usize) -> Option<Self> {
        let whole = from.rest();
        let (mut pairs, mut marks, mut held): (Vec<(&str, &str)>, Vec<Mark>, usize) = Default::default();
        // Every stream takes a byte at least.
        (count <= whole.len()).then_some(())?;
        let place = |text: &str| {
            let start = (text.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
            start..start.wrapping_add(text.len())
        };
        for number in 0..count {
            if number % MARKED == 0 {
                let before = pairs.iter().map(|(name, value)| [place(name), place(value)]).collect();
                marks.push(Mark { at: whole.len() - from.remaining(), before });
            }
            next_pairs(&mut pairs, from)?;
            let is_set = pairs.is_sorted_by(|a, b| a.0 < b.0);
            (is_set && pairs.iter().all(|(_, value)| !value.is_empty())).then_some(())?;
            // Few bytes can stand for many.
            held += size_of::<LabelSet>() + PACKED_BYTES;
            held += pairs.iter().map(|(name, value)| name.len() + value.len() + PAIR_BYTES).sum::<usize>();
            (held <= BYTES_MAX).then_some(())?;
        }
        let packed = bytes.slice_ref(whole.get(..whole.len() - from.remaining())?);
        Some(Self {
            packed,
            marks,
            sets: std::iter::repeat_with(OnceLock::new).take(count).collect(),
            bytes: held,
        })
    }
}

/// Bytes of a label set, roughly, beside its texts ...
const PACKED_BYTES: usize = 48;
/// ... and for each pair.
const PAIR_BYTES: usize = 8;

/// Replaces the pairs of a stream by those of the next.
fn next_pairs<'b>(pairs: &mut Vec<(&'b str, &'b str)>, from: &mut Decoder<'b>) -> Option<()> {
    let count = from.size()?;
    for at in 0..count {
        let same = pairs.get(at).copied();
        let pair = match from.byte()? {
            SAME_PAIR => same?,
            SAME_NAME => (same?.0, from.text()?),
            NEW_PAIR => (from.text()?, from.text()?),
            _ => return None,
        };
        match pairs.get_mut(at) {
            Some(slot) => *slot = pair,
            None => pairs.push(pair),
        }
    }
    pairs.truncate(count);
    Some(())
}

/// Appends a set as what differs from the one before.
fn encode_set(set: &LabelSet, before: &LabelSet, out: &mut Encoder) {
    out.size(set.len());
    let mut others = before.iter();
    for (name, value) in set.iter() {
        match others.next() {
            Some(pair) if pair == (name, value) => out.byte(SAME_PAIR),
            Some((same, _)) if same == name => {
                out.byte(SAME_NAME);
                out.text(value);
            }
            _ => {
                out.byte(NEW_PAIR);
                out.text(name);
                out.text(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sets_come_back(sets in vec(vec(("[a-c]{1,2}", "[x-z]{1,3}"), 0..4), 0..60), order: u64) {
            let sets: Vec<LabelSet> = sets.into_iter().map(LabelSet::from_pairs).collect();
            let list = StreamList::of(&sets);
            let mut out = Encoder::default();
            list.encode(&mut out);
            out.raw(b"behind");
            let bytes = Bytes::from(out.into_bytes());
            let mut from = Decoder::new(&bytes);
            let read = StreamList::decode(&bytes, &mut from).unwrap();
            prop_assert_eq!(from.rest(), b"behind");
            prop_assert_eq!(&read, &list);
            prop_assert_eq!(read.len(), sets.len());
            let mut number = 0;
            read.for_each(|pairs| {
                ["a", "b", "aa"].iter().for_each(|name| assert_eq!(pairs.get(name), sets[number].get(name)));
                number += 1;
            });
            prop_assert_eq!(number, sets.len());
            for at in 0..sets.len() {
                let at = (at + order as usize % 61) % sets.len();
                prop_assert_eq!(read.get(at), Some(&sets[at]));
            }
            prop_assert_eq!(read.get(sets.len()), None);
        }

        #[test]
        fn any_bytes_are_an_answer(bytes: Vec<u8>) {
            let bytes = Bytes::from(bytes);
            if let Some(list) = StreamList::decode(&bytes, &mut Decoder::new(&bytes)) {
                assert!((0..list.len()).all(|at| list.get(at).is_some()));
            }
            let _ = StreamList::decode_whole(&mut Decoder::new(&bytes));
        }
    }
}
