//! Integers as Parquet packs them (DELTA_BINARY_PACKED), read from any position on: what is passed over is summed up
//! and not stored, and stretches of one step are told as such and not counted out.
//!
//! The definition is Parquet's `Encodings.md`: a header (values of a block, miniblocks of a block, values in all, the
//! first value), then blocks (least difference, a bit width per miniblock, packed differences above the least).

use std::ops::Range;

use bytes::Bytes;
use kenning_codec::bytes::Decoder;

/// Values that are unpacked at once. Miniblocks hold a multiple of as many.
const CHUNK: usize = 32;
/// Most values of a block; writers use 128 and 256.
const BLOCK_MAX: u64 = 1 << 20;
/// Widest differences of which eight bytes hold one wherever it begins.
const NARROW_MAX: usize = 56;
/// Bytes that unpacking eight narrow numbers may look at.
const WINDOW: usize = 64;

/// Takes what is read.
pub(crate) trait Sink {
    /// `count` values, the first of them `first`, each `step` more than the one before.
    fn line(&mut self, first: i64, step: i64, count: usize);
    /// Values one by one.
    fn list(&mut self, values: &[i64]);
}

impl Sink for Vec<i64> {
    fn line(&mut self, first: i64, step: i64, count: usize) {
        match step {
            0 => self.resize(self.len() + count, first),
            _ => self.extend((0..count).map(|at| first.wrapping_add(step.wrapping_mul(at as i64)))),
        }
    }

    fn list(&mut self, values: &[i64]) {
        self.extend_from_slice(values);
    }
}

/// Equal neighbours, counted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Repeats(pub(crate) Vec<(i64, usize)>);

impl Repeats {
    fn add(&mut self, value: i64, count: usize) {
        match self.0.last_mut().filter(|(last, _)| *last == value) {
            Some((_, repeats)) => *repeats += count,
            None => self.0.push((value, count)),
        }
    }
}

impl Sink for Repeats {
    fn line(&mut self, first: i64, step: i64, count: usize) {
        match step {
            0 => self.add(first, count),
            _ => (0..count).for_each(|at| self.add(first.wrapping_add(step.wrapping_mul(at as i64)), 1)),
        }
    }

    fn list(&mut self, values: &[i64]) {
        values.iter().for_each(|value| self.add(*value, 1));
    }
}

/// Reads packed integers from the front on.
#[derive(Debug)]
pub(crate) struct Deltas {
    bytes: Bytes,
    /// Where what follows the part of the miniblock that was unpacked begins.
    rest: usize,
    /// Where the widths of the miniblocks of this block stand that were not begun.
    widths: Range<usize>,
    miniblocks: usize,
    miniblock_len: usize,
    /// Of the miniblock at work: width and values that were not unpacked.
    width: usize,
    ahead: usize,
    /// The least difference of this block.
    least: i64,
    /// The value unpacked last.
    last: i64,
    /// The header's value was not handed out.
    is_new: bool,
    /// Unpacked values; those before `used` were handed out.
    chunk: [i64; CHUNK],
    used: usize,
    claimed: u64,
}

impl Deltas {
    /// How many values the header says there are.
    pub(crate) fn claimed(&self) -> u64 {
        self.claimed
    }

    /// `None` when the header is none.
    pub(crate) fn new(bytes: Bytes) -> Option<Self> {
        let mut header = Decoder::new(&bytes);
        let block = header.varint().filter(|block| *block <= BLOCK_MAX)?;
        let miniblocks = header.varint().filter(|count| *count > 0 && *count <= block)?;
        let (claimed, first) = (header.varint()?, header.signed()?);
        let miniblock_len = usize::try_from(block / miniblocks).ok()?;
        let is_even = block.is_multiple_of(miniblocks) && miniblock_len.is_multiple_of(CHUNK);
        is_even.then_some(Self {
            rest: bytes.len() - header.remaining(),
            widths: 0..0,
            miniblocks: usize::try_from(miniblocks).ok()?,
            miniblock_len,
            width: 0,
            ahead: 0,
            least: 0,
            last: first,
            is_new: true,
            chunk: [0; CHUNK],
            used: CHUNK,
            claimed,
            bytes,
        })
    }

    /// Passes over so many values; `None` when there are fewer.
    pub(crate) fn skip(&mut self, mut count: usize) -> Option<()> {
        while count > 0 {
            if self.used < CHUNK || self.is_new {
                count -= self.hand_out(count, &mut Nobody);
                continue;
            }
            self.begin_miniblock()?;
            if self.width == 0 {
                let these = count.min(self.ahead);
                self.last = self.last.wrapping_add(self.least.wrapping_mul(these as i64));
                self.ahead -= these;
                count -= these;
            } else if count >= CHUNK {
                let packed = self.bytes.get(self.rest..)?;
                packed.get(..CHUNK / 8 * self.width)?;
                self.last = sum(self.width, packed, self.least, self.last)?;
                self.pass_chunk();
                count -= CHUNK;
            } else {
                self.unpack()?;
            }
        }
        Some(())
    }

    /// Hands out so many values; `None` when there are fewer.
    pub(crate) fn take(&mut self, mut count: usize, sink: &mut impl Sink) -> Option<()> {
        while count > 0 {
            if self.used < CHUNK || self.is_new {
                count -= self.hand_out(count, sink);
                continue;
            }
            self.begin_miniblock()?;
            if self.width == 0 {
                let these = count.min(self.ahead);
                sink.line(self.last.wrapping_add(self.least), self.least, these);
                self.last = self.last.wrapping_add(self.least.wrapping_mul(these as i64));
                self.ahead -= these;
                count -= these;
            } else {
                self.unpack()?;
            }
        }
        Some(())
    }

    /// Hands out of what is at hand at most `count` values; gives how many.
    fn hand_out(&mut self, count: usize, sink: &mut impl Sink) -> usize {
        if self.is_new {
            self.is_new = false;
            sink.list(&[self.last]);
            return 1;
        }
        let end = self.used.saturating_add(count).min(CHUNK);
        let these = self.chunk.get(self.used..end).unwrap_or_default();
        sink.list(these);
        self.used = end;
        these.len()
    }

    /// Goes on to the next miniblock once all values of the one before are unpacked.
    fn begin_miniblock(&mut self) -> Option<()> {
        if self.ahead > 0 {
            return Some(());
        }
        if self.widths.is_empty() {
            let mut block = Decoder::new(self.bytes.get(self.rest..)?);
            self.least = block.signed()?;
            let widths = block.raw(self.miniblocks)?;
            let is_line = widths.iter().all(|width| *width == 0);
            self.rest = self.bytes.len() - block.remaining();
            self.widths = self.rest - self.miniblocks..self.rest;
            // A block without differences is like one great miniblock.
            if is_line {
                self.widths = 0..0;
                (self.width, self.ahead) = (0, self.miniblocks * self.miniblock_len);
                return Some(());
            }
        }
        let width = self.widths.next()?;
        (self.width, self.ahead) = (usize::from(*self.bytes.get(width)?), self.miniblock_len);
        (self.width <= 64).then_some(())
    }

    /// Goes on behind the chunk that was looked at.
    fn pass_chunk(&mut self) {
        self.rest += CHUNK / 8 * self.width;
        self.ahead -= CHUNK;
    }

    fn unpack(&mut self) -> Option<()> {
        let packed = self.bytes.get(self.rest..)?;
        packed.get(..CHUNK / 8 * self.width)?;
        self.last = expand(self.width, packed, self.least, self.last, &mut self.chunk)?;
        self.pass_chunk();
        self.used = 0;
        Some(())
    }
}

/// Lets go of what it is given.
struct Nobody;

impl Sink for Nobody {
    fn line(&mut self, _: i64, _: i64, _: usize) {}
    fn list(&mut self, _: &[i64]) {}
}

/// Eight numbers of `W` bits.
#[inline(always)]
fn eight<const W: usize>(window: &[u8; WINDOW]) -> [u64; 8] {
    let mask = (1 << W) - 1;
    let mut numbers = [0; 8];
    for (at, number) in numbers.iter_mut().enumerate() {
        if let Some(bytes) = window.get(at * W / 8..).and_then(|bytes| bytes.first_chunk::<8>()) {
            *number = u64::from_le_bytes(*bytes) >> (at * W % 8) & mask;
        }
    }
    numbers
}

/// Hands four times eight numbers of `W` bits to `each`.
#[inline(always)]
fn for_eights<const W: usize>(packed: &[u8], mut each: impl FnMut(usize, [u64; 8])) {
    for at in 0..CHUNK / 8 {
        let bytes = packed.get(at * W..).unwrap_or_default();
        match bytes.first_chunk::<WINDOW>() {
            Some(window) => each(at, eight::<W>(window)),
            // The end of the page is near.
            None => {
                let mut window = [0; WINDOW];
                window.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
                each(at, eight::<W>(&window));
            }
        }
    }
}

fn expand_narrow<const W: usize>(packed: &[u8], least: i64, last: i64, to: &mut [i64; CHUNK]) -> i64 {
    let mut last = last;
    for_eights::<W>(packed, |at, numbers| {
        let slots = to.get_mut(at * 8..at * 8 + 8).unwrap_or_default();
        for (slot, number) in slots.iter_mut().zip(numbers) {
            last = last.wrapping_add(least.wrapping_add(number as i64));
            *slot = last;
        }
    });
    last
}

fn sum_narrow<const W: usize>(packed: &[u8], least: i64, last: i64) -> i64 {
    let mut sum = last.wrapping_add(least.wrapping_mul(CHUNK as i64));
    for_eights::<W>(packed, |_, numbers| {
        sum = numbers.iter().fold(sum, |sum, number| sum.wrapping_add(*number as i64));
    });
    sum
}

/// A number of any width.
fn wide(packed: &[u8], width: usize, at: usize) -> Option<u64> {
    let bytes = packed.get(at * width / 8..)?;
    let mut window = [0; 16];
    window.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    let shifted = u128::from_le_bytes(window) >> (at * width % 8);
    Some(shifted as u64 & (u64::MAX >> (64 - width)))
}

/// Calls a function for narrow numbers by their width.
macro_rules! by_width {
    ($width:expr, $function:ident, $arguments:tt, $($w:literal)*) => {
        match $width { $($w => Some($function::<$w> $arguments),)* _ => None }
    };
    ($width:expr, $function:ident, $arguments:tt) => {
        by_width!($width, $function, $arguments,
            1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39
            40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56)
    };
}

/// Unpacks a chunk of numbers of one to 64 bits; gives the last one.
fn expand(width: usize, packed: &[u8], least: i64, last: i64, to: &mut [i64; CHUNK]) -> Option<i64> {
    if width <= NARROW_MAX {
        return by_width!(width, expand_narrow, (packed, least, last, to));
    }
    let mut last = last;
    for (at, slot) in to.iter_mut().enumerate() {
        last = last.wrapping_add(least.wrapping_add(wide(packed, width, at)? as i64));
        *slot = last;
    }
    Some(last)
}

/// The last number of a chunk, as [`expand`] gives it.
fn sum(width: usize, packed: &[u8], least: i64, last: i64) -> Option<i64> {
    if width <= NARROW_MAX {
        return by_width!(width, sum_narrow, (packed, least, last));
    }
    expand(width, packed, least, last, &mut [0; CHUNK])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads by turns of passing over and taking.
    fn read(bytes: &[u8], turns: &[(usize, usize)]) -> Option<(Vec<i64>, Repeats)> {
        let (mut list, mut repeats) = (Vec::new(), Repeats::default());
        let bytes = Bytes::copy_from_slice(bytes);
        let (mut one, mut other) = (Deltas::new(bytes.clone())?, Deltas::new(bytes)?);
        for (skip, take) in turns {
            one.skip(*skip)?;
            one.take(*take, &mut list)?;
            other.skip(*skip)?;
            other.take(*take, &mut repeats)?;
        }
        Some((list, repeats))
    }

    #[test]
    fn the_definitions_examples_are_read() {
        let check = |bytes: &[u8], turns: &[(usize, usize)], expect: Option<&[i64]>| {
            assert_eq!(read(bytes, turns).map(|(list, _)| list).as_deref(), expect, "{turns:?}");
        };
        let even = [0x80, 1, 4, 5, 2, 2, 0, 0, 0, 0];
        check(&even, &[(0, 5)], Some(&[1, 2, 3, 4, 5]));
        check(&even, &[(1, 1), (2, 1)], Some(&[2, 5]));
        let uneven = [0x80, 1, 4, 8, 14, 3, 2, 0, 0, 0, 0xc0, 0x3f, 0, 0, 0, 0, 0, 0];
        check(&uneven, &[(0, 8)], Some(&[7, 5, 3, 1, 2, 3, 4, 5]));
        check(&uneven, &[(6, 2)], Some(&[4, 5]));
        check(&even[..3], &[(0, 0)], None);
        check(&even[..5], &[(0, 2)], None);
        check(&uneven[..14], &[(0, 8)], None);
        check(&[0x80, 1, 3, 5, 2, 2, 0, 0, 0, 0], &[(0, 1)], None);
        check(&[0, 0, 5, 2], &[(0, 1)], None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer(bytes: Vec<u8>, turns in proptest::collection::vec((0usize..500, 0usize..500), 1..4)) {
            let _ = read(&bytes, &turns);
        }
    }
}
