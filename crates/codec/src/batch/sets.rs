//! Label sets one after another, each against the one before.
//!
//! A set is its number of pairs, then per pair a tag: 0 for the pair that the set before has at this place, 1 for its
//! name with a new value (text), 2 for a new name and value (two texts).

use kenning_model::LabelSet;

use super::EXPANDED_BYTES_MAX;
use crate::bytes::{Decoder, Encoder};

const SAME_PAIR: u8 = 0;
const SAME_NAME: u8 = 1;
const NEW_PAIR: u8 = 2;

/// Writes sets.
#[derive(Default)]
pub(super) struct SetEncoder {
    before: LabelSet,
}

impl SetEncoder {
    pub(super) fn put(&mut self, set: &LabelSet, encoder: &mut Encoder) {
        encoder.size(set.len());
        let mut before = self.before.iter();
        for (name, value) in set.iter() {
            match before.next() {
                Some(pair) if pair == (name, value) => encoder.byte(SAME_PAIR),
                Some((same, _)) if same == name => {
                    encoder.byte(SAME_NAME);
                    encoder.text(value);
                }
                _ => {
                    encoder.byte(NEW_PAIR);
                    encoder.text(name);
                    encoder.text(value);
                }
            }
        }
        drop(before);
        self.before = set.clone();
    }
}

/// Reads sets.
#[derive(Default)]
pub(super) struct SetDecoder {
    before: LabelSet,
    expanded_bytes: usize,
}

impl SetDecoder {
    pub(super) fn take(&mut self, decoder: &mut Decoder<'_>) -> Option<LabelSet> {
        let pairs = decoder.size()?;
        let mut read = Vec::with_capacity(decoder.capacity(pairs));
        let mut before = self.before.iter();
        for _ in 0..pairs {
            let same = before.next();
            let (name, value) = match decoder.byte()? {
                SAME_PAIR => same?,
                SAME_NAME => (same?.0, decoder.text()?),
                NEW_PAIR => (decoder.text()?, decoder.text()?),
                _ => return None,
            };
            self.expanded_bytes += name.len() + value.len();
            if self.expanded_bytes > EXPANDED_BYTES_MAX {
                return None;
            }
            read.push((name, value));
        }
        let set = LabelSet::from_borrowed(&mut read);
        drop(before);
        // What was written is a valid set: a repeated or empty label would come back as fewer pairs.
        (set.len() == pairs).then(|| self.before = set.clone())?;
        Some(set)
    }
}

/// Writes a list of sets.
pub(super) fn put_sets(sets: &[LabelSet], encoder: &mut Encoder) {
    encoder.size(sets.len());
    let mut sets_encoder = SetEncoder::default();
    sets.iter().for_each(|set| sets_encoder.put(set, encoder));
}

/// Reads a list of sets.
pub(super) fn take_sets(decoder: &mut Decoder<'_>) -> Option<Vec<LabelSet>> {
    let count = decoder.size()?;
    let mut sets = Vec::with_capacity(decoder.capacity(count));
    let mut set_decoder = SetDecoder::default();
    for _ in 0..count {
        sets.push(set_decoder.take(decoder)?);
    }
    Some(sets)
}

/// Writes numbers as runs of equal differences: difference and length of each. What counts up, and what stays, costs a
/// few bytes however long it is.
pub(super) fn put_runs(numbers: impl Iterator<Item = i64>, encoder: &mut Encoder) {
    let (mut before, mut step, mut len) = (0i64, 0i64, 0u64);
    for number in numbers {
        let difference = number.wrapping_sub(before);
        before = number;
        if difference != step && len > 0 {
            encoder.signed(step);
            encoder.varint(len);
            len = 0;
        }
        step = difference;
        len += 1;
    }
    if len > 0 {
        encoder.signed(step);
        encoder.varint(len);
    }
}

/// Reads `count` numbers written as runs. A few bytes can stand for many numbers: the caller bounds `count`.
pub(super) fn take_runs(count: usize, decoder: &mut Decoder<'_>) -> Option<Vec<i64>> {
    let mut numbers = Vec::with_capacity(count);
    let mut before = 0i64;
    while numbers.len() < count {
        let (step, len) = (decoder.signed()?, decoder.size()?);
        if len == 0 || len > count - numbers.len() {
            return None;
        }
        numbers.extend((0..len).map(|_| {
            before = before.wrapping_add(step);
            before
        }));
    }
    Some(numbers)
}

/// Writes numbers as differences.
pub(super) fn put_deltas(numbers: impl ExactSizeIterator<Item = i64>, encoder: &mut Encoder) {
    let mut before = 0i64;
    for number in numbers {
        encoder.signed(number.wrapping_sub(before));
        before = number;
    }
}

/// Reads `count` numbers written as differences.
pub(super) fn take_deltas(count: usize, decoder: &mut Decoder<'_>) -> Option<Vec<i64>> {
    let mut numbers = Vec::with_capacity(decoder.capacity(count));
    let mut before = 0i64;
    for _ in 0..count {
        before = before.wrapping_add(decoder.signed()?);
        numbers.push(before);
    }
    Some(numbers)
}

/// Reads `count` indices written as differences.
pub(super) fn take_indices(count: usize, decoder: &mut Decoder<'_>) -> Option<Vec<u32>> {
    take_deltas(count, decoder)?.into_iter().map(|n| u32::try_from(n).ok()).collect()
}
