//! The samples of one series in few bytes, written once and read at chosen rows: the form of samples in parts.
//!
//! Values that are short decimals become integers ([`crate::decimal`]), others the integers that their bits are; then
//! both go the same way. Numbers are in units: what all of them differ from the first by a multiple of. Units stand in
//! blocks of [`BLOCK`], each of which can be read without those before it, and a block in segments: the differences
//! between neighbours, or from the block's first number, are digits above the least of them ([`crate::radix`]).
//! Segments have 32 to 1024 numbers and join as long as that makes them smaller, so that a leap widens few numbers and
//! a series that goes on as it did pays for one segment.
//!
//! ```text
//! values:   form        0 to 6: decimals of so many places; 7: bits; 8 added: there are exceptions
//!           exceptions  number; of each: rows since the one before, the value's 8 bytes
//!           numbers
//! numbers:  base (signed), unit, blocks: length of the rest of the block, first number (signed), segments
//! segment:  byte: log2(numbers / 32) | 8 where digits count from the block's first number | (digits of a group - 1) << 4
//!           least (signed), bits of a digit (single digits) or base of the digits (groups), the digits
//! ```
//!
//! All arithmetic wraps around, so that any numbers and any bytes are something. How many values there are is told
//! from outside. What cannot be an answer is `None`; memory is bounded by the number of rows asked for and a block.

use std::ops::Range;

use crate::bytes::{Decoder, Encoder};
use crate::decimal;
use crate::radix::Packing;

/// Numbers of a block: what is read for a single row.
pub const BLOCK: usize = 1024;
/// Numbers of the smallest segment.
const SEGMENT_MIN: usize = 32;

/// Segments join when that costs at most one byte in so many.
const JOIN_SLACK: usize = 64;

/// The form of values that are the bits of doubles.
const FORM_BITS: u8 = decimal::SCALE_MAX + 1;
/// Added to the form where there are exceptions.
const HAS_EXCEPTIONS: u8 = 8;
/// In a segment's byte: the logarithm of its length, whether digits count from the block's first number, and where
/// the digits of a group stand.
const LENGTH_MASK: u8 = 7;
const FROM_FIRST: u8 = 8;
const DIGITS_SHIFT: u32 = 4;

/// Appends values.
pub fn put_values(values: &[f64], out: &mut Encoder) {
    let scale = decimal::choose_scale(values.iter().copied());
    let mut exceptions = Vec::new();
    let numbers = match scale {
        Some(scale) => decimals(values, scale, &mut exceptions),
        None => values.iter().map(|value| ordered(value.to_bits())).collect(),
    };
    let flag = if exceptions.is_empty() { 0 } else { HAS_EXCEPTIONS };
    out.byte(scale.unwrap_or(FORM_BITS) | flag);
    if !exceptions.is_empty() {
        out.size(exceptions.len());
    }
    let mut before = 0;
    for (row, value) in exceptions {
        out.size(row - before);
        out.double(value);
        before = row;
    }
    put_numbers(&numbers, out);
}

/// Values as scaled integers; those that are none go to `exceptions`, with what goes on as before in their place.
fn decimals(values: &[f64], scale: u8, exceptions: &mut Vec<(usize, f64)>) -> Vec<i64> {
    let first = values.iter().find_map(|value| decimal::encode(*value, scale)).unwrap_or(0);
    let mut numbers = Vec::with_capacity(values.len());
    let (mut last, mut step) = (first, 0i64);
    for (row, value) in values.iter().enumerate() {
        let number = decimal::encode(*value, scale).unwrap_or_else(|| {
            exceptions.push((row, *value));
            last.wrapping_add(step)
        });
        step = number.wrapping_sub(last);
        last = number;
        numbers.push(number);
    }
    numbers
}

/// The bits of a double as an integer that grows with it; its own inverse but for the type.
fn ordered(bits: u64) -> i64 {
    let bits = bits as i64;
    bits ^ ((bits >> 63) as u64 >> 1) as i64
}

/// Room that reading takes, kept from run to run.
#[derive(Debug, Default)]
pub struct Scratch {
    units: Vec<i64>,
    digits: Vec<u64>,
}

/// Appends the values at these rows of `count`.
#[must_use]
pub fn take_values(
    bytes: &[u8],
    count: usize,
    rows: Range<usize>,
    scratch: &mut Scratch,
    out: &mut Vec<f64>,
) -> Option<()> {
    let mut from = Decoder::new(bytes);
    let form = from.byte()?;
    let exceptions = match form & HAS_EXCEPTIONS {
        0 => Vec::new(),
        _ => take_exceptions(&mut from, count)?,
    };
    let begin = out.len();
    let mut numbers = Numbers::new(from, count, scratch)?;
    match form & !HAS_EXCEPTIONS {
        FORM_BITS => {
            numbers.take(rows.clone(), |number| f64::from_bits(ordered(number as u64) as u64), out)?
        }
        0 => numbers.take(rows.clone(), |number| number as f64, out)?,
        scale => {
            let power = decimal::power(scale)?;
            numbers.take(rows.clone(), |number| number as f64 / power, out)?;
        }
    }
    for (row, value) in exceptions {
        if let Some(at) = row.checked_sub(rows.start)
            && let Some(slot) = out.get_mut(begin..).and_then(|added| added.get_mut(at))
        {
            *slot = value;
        }
    }
    Some(())
}

fn take_exceptions(from: &mut Decoder<'_>, count: usize) -> Option<Vec<(usize, f64)>> {
    let number = from.size().filter(|number| *number <= count)?;
    let mut exceptions = Vec::with_capacity(from.capacity(number));
    let mut row = 0usize;
    for _ in 0..number {
        row = row.checked_add(from.size()?)?;
        exceptions.push((row, from.double()?));
    }
    Some(exceptions)
}

/// Appends integers.
pub fn put_numbers(numbers: &[i64], out: &mut Encoder) {
    let base = numbers.first().copied().unwrap_or(0);
    let unit = unit_of(numbers, base);
    out.signed(base);
    out.varint(unit);
    let divisor = unit as i64;
    let mut units = Vec::with_capacity(BLOCK);
    for block in numbers.chunks(BLOCK) {
        units.clear();
        units.extend(block.iter().map(|number| number.wrapping_sub(base)));
        if unit > 1 {
            units.iter_mut().for_each(|number| *number = number.wrapping_div(divisor));
        }
        let mut body = Encoder::default();
        put_block(&units, &mut body);
        out.chunk(&body.into_bytes());
    }
}

/// The greatest number that all differences from `base` are multiples of; one where that is too much to count with.
fn unit_of(numbers: &[i64], base: i64) -> u64 {
    let mut unit = 0;
    for number in numbers {
        let mut rest = number.wrapping_sub(base).unsigned_abs();
        while rest > 0 {
            (unit, rest) = (rest, if unit == 0 { 0 } else { unit % rest });
        }
        if unit == 1 {
            break;
        }
    }
    if i64::try_from(unit).is_ok() { unit.max(1) } else { 1 }
}

/// Appends the integers at these rows of `count`.
#[must_use]
pub fn take_numbers(
    bytes: &[u8],
    count: usize,
    rows: Range<usize>,
    scratch: &mut Scratch,
    out: &mut Vec<i64>,
) -> Option<()> {
    Numbers::new(Decoder::new(bytes), count, scratch)?.take(rows, |number| number, out)
}

/// Reads numbers block by block.
struct Numbers<'a> {
    from: Decoder<'a>,
    count: usize,
    base: i64,
    unit: i64,
    scratch: &'a mut Scratch,
}

impl<'a> Numbers<'a> {
    fn new(mut from: Decoder<'a>, count: usize, scratch: &'a mut Scratch) -> Option<Self> {
        let (base, unit) = (from.signed()?, from.varint()? as i64);
        Some(Self { from, count, base, unit, scratch })
    }

    fn take<T>(&mut self, rows: Range<usize>, each: impl Fn(i64) -> T, out: &mut Vec<T>) -> Option<()> {
        (rows.start <= rows.end && rows.end <= self.count).then_some(())?;
        let (base, unit) = (self.base, self.unit);
        let Scratch { units, digits } = &mut *self.scratch;
        let mut start = 0;
        while start < rows.end {
            let block = self.from.chunk()?;
            let len = BLOCK.min(self.count - start);
            let wanted = rows.start.saturating_sub(start)..(rows.end - start).min(len);
            start += len;
            if wanted.start >= len {
                continue;
            }
            units.clear();
            take_block(block, len, wanted.end, units, digits)?;
            let wanted = units.get(wanted)?.iter();
            match unit {
                1 => out.extend(wanted.map(|number| each(base.wrapping_add(*number)))),
                _ => out.extend(wanted.map(|number| each(base.wrapping_add(number.wrapping_mul(unit))))),
            }
        }
        Some(())
    }
}

/// What the digits of a segment count from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Above {
    /// The number before.
    Before,
    /// The block's first number.
    First,
}

/// A segment while it is being chosen.
#[derive(Clone, Copy)]
struct Segment {
    /// Log2 of its length against [`SEGMENT_MIN`]; the last segment of a block may have fewer numbers.
    level: u8,
    least: i64,
    /// The distance from the least difference to the greatest.
    range: u64,
    count: usize,
    bytes: usize,
}

impl Segment {
    fn new(level: u8, least: i64, greatest: i64, count: usize) -> Self {
        let range = greatest.wrapping_sub(least) as u64;
        let packing = Packing::choose(range);
        let base = if packing.digits() == 1 { 1 } else { varint_bytes(packing.base()) };
        let bytes = 1 + varint_bytes(zigzag(least)) + base + packing.bytes_of(count);
        Self { level, least, range, count, bytes }
    }

    fn of(differences: &[i64]) -> Self {
        let ends =
            differences.iter().fold((i64::MAX, i64::MIN), |(min, max), one| (min.min(*one), max.max(*one)));
        Self::new(0, ends.0, ends.1, differences.len())
    }

    fn is_full(&self) -> bool {
        self.count == SEGMENT_MIN << self.level
    }

    fn greatest(&self) -> i64 {
        self.least.wrapping_add(self.range as i64)
    }

    /// Both as one.
    fn with(&self, next: &Self) -> Self {
        let count = self.count + next.count;
        let level = count.div_ceil(SEGMENT_MIN).next_power_of_two().ilog2() as u8;
        Self::new(level, self.least.min(next.least), self.greatest().max(next.greatest()), count)
    }

    /// Both as one, if that is not larger, or by so little that joining with more will make up for it.
    fn joined(&self, next: &Self) -> Option<Self> {
        let (joined, apart) = (self.with(next), self.bytes + next.bytes);
        (joined.bytes <= apart + apart / JOIN_SLACK).then_some(joined)
    }
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn varint_bytes(number: u64) -> usize {
    (64 - (number | 1).leading_zeros() as usize).div_ceil(7)
}

/// The segments that differences are best cut into, near enough: neighbours of one length join, from the smallest on,
/// and then what is left at the end.
fn cut(differences: &[i64]) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::new();
    for leaf in differences.chunks(SEGMENT_MIN) {
        segments.push(Segment::of(leaf));
        // All but the last have as many numbers as their level says.
        join_last(&mut segments, |one, next| one.level == next.level && next.is_full());
    }
    join_last(&mut segments, |_, _| true);
    // What gains little at each step may gain at the last.
    match segments.iter().copied().reduce(|one, next| one.with(&next)) {
        Some(whole) if whole.bytes <= bytes_of(&segments) => vec![whole],
        _ => segments,
    }
}

fn bytes_of(segments: &[Segment]) -> usize {
    segments.iter().map(|segment| segment.bytes).sum()
}

/// Joins the last two as long as they may and get smaller.
fn join_last(segments: &mut Vec<Segment>, may: impl Fn(&Segment, &Segment) -> bool) {
    while let [.., one, next] = segments.as_slice()
        && may(one, next)
        && let Some(joined) = one.joined(next)
    {
        segments.truncate(segments.len() - 2);
        segments.push(joined);
    }
}

fn put_block(units: &[i64], out: &mut Encoder) {
    let Some((first, rest)) = units.split_first() else { return };
    out.signed(*first);
    let mut before = *first;
    let steps = rest.iter().map(|unit| unit.wrapping_sub(std::mem::replace(&mut before, *unit)));
    let mut differences: Vec<i64> = steps.collect();
    let mut above = Above::Before;
    let mut segments = cut(&differences);
    // Numbers that keep to their place are nearer to the first than to each other.
    let whole = |differences: &[i64]| Segment::of(differences).range;
    let from_first: Vec<i64> = rest.iter().map(|unit| unit.wrapping_sub(*first)).collect();
    if whole(&from_first) < whole(&differences) {
        let other = cut(&from_first);
        if bytes_of(&other) < bytes_of(&segments) {
            (above, segments, differences) = (Above::First, other, from_first);
        }
    }
    let (mut left, mut digits) = (differences.as_slice(), Vec::new());
    for segment in segments {
        let (these, after) = left.split_at(segment.count.min(left.len()));
        left = after;
        digits.clear();
        digits.extend(these.iter().map(|one| one.wrapping_sub(segment.least) as u64));
        put_segment(&segment, above, &digits, out);
    }
}

fn put_segment(segment: &Segment, above: Above, digits: &[u64], out: &mut Encoder) {
    let packing = Packing::choose(segment.range);
    let from = if above == Above::First { FROM_FIRST } else { 0 };
    out.byte(segment.level | from | (packing.digits() as u8 - 1) << DIGITS_SHIFT);
    out.signed(segment.least);
    match packing.digits() {
        1 => out.byte(packing.bits() as u8),
        _ => out.varint(packing.base()),
    }
    let mut packed = Vec::with_capacity(packing.bytes_of(digits.len()));
    packing.pack(digits, &mut packed);
    out.raw(&packed);
}

/// Appends at least the first `wanted` units of a block of `len`.
fn take_block(
    bytes: &[u8],
    len: usize,
    wanted: usize,
    units: &mut Vec<i64>,
    digits: &mut Vec<u64>,
) -> Option<()> {
    let mut from = Decoder::new(bytes);
    let first = from.signed()?;
    let mut last = first;
    units.push(first);
    while units.len() < wanted {
        let head = from.byte()?;
        let least = from.signed()?;
        let packing = match usize::from(head >> DIGITS_SHIFT) + 1 {
            1 => Packing::single(u32::from(from.byte()?))?,
            group => Packing::grouped(group, from.varint()?)?,
        };
        let count = (SEGMENT_MIN << (head & LENGTH_MASK)).min(len - units.len());
        let packed = from.raw(packing.bytes_of(count))?;
        // Of the last segment only as much as is asked for.
        let count = count.min(wanted - units.len());
        digits.clear();
        packing.unpack(packed, count, digits)?;
        let digits = digits.get(..count)?.iter();
        if head & FROM_FIRST != 0 {
            units.extend(digits.map(|digit| first.wrapping_add(least).wrapping_add(*digit as i64)));
            last = *units.last()?;
            continue;
        }
        units.extend(digits.map(|digit| {
            last = last.wrapping_add(least).wrapping_add(*digit as i64);
            last
        }));
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(values: &[f64]) -> Vec<u8> {
        let mut out = Encoder::default();
        put_values(values, &mut out);
        out.into_bytes()
    }

    /// Bytes that values take, once they came back bit for bit.
    fn size_of_values(values: &[f64]) -> usize {
        let bytes = written(values);
        let mut read = Vec::new();
        take_values(&bytes, values.len(), 0..values.len(), &mut Scratch::default(), &mut read).unwrap();
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&read), bits(values));
        bytes.len()
    }

    /// Numbers without a pattern, below `most`.
    fn noise(count: usize, most: u64) -> impl Iterator<Item = u64> {
        let mut state = 11u64;
        (0..count).map(move |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((u128::from(state) * u128::from(most)) >> 64) as u64
        })
    }

    fn counter(count: usize, least: u64, most: u64) -> Vec<f64> {
        let mut sum = 1_000_000;
        noise(count, most)
            .map(|step| {
                sum += least + step;
                sum as f64
            })
            .collect()
    }

    /// Sizes against what the numbers' noise needs at least.
    #[test]
    fn sizes_are_near_the_entropy() {
        let check = |values: &[f64], bits: f64| {
            let least = (bits * values.len() as f64 / 8.0) as usize;
            let bytes = size_of_values(values);
            let heads = 12 + 8 * (values.len() / BLOCK);
            assert!(bytes <= least + least / 25 + heads, "{bytes} bytes, at least {least}");
        };
        check(&vec![7e9; 400], 0.0);
        check(&(0..5000).map(|at| f64::from(at) * 15.5).collect::<Vec<_>>(), 0.0);
        check(&counter(1440, 300, 50), 50f64.log2());
        check(&counter(400, 900, 90), 90f64.log2());
        // Multiples of 4096 that wander; percents that do not.
        check(&counter(1440, 0, 65).iter().map(|value| value * 4096.0).collect::<Vec<_>>(), 65f64.log2());
        check(&noise(1440, 10_000).map(|cents| cents as f64 / 100.0).collect::<Vec<_>>(), 10_000f64.log2());
    }

    #[test]
    fn a_leap_widens_few_numbers() {
        let mut values = counter(1000, 300, 50);
        values.iter_mut().skip(700).for_each(|value| *value -= 1_150_000.0);
        assert!(size_of_values(&values) < size_of_values(&counter(1000, 300, 50)) + 120);
    }

    #[test]
    fn values_that_are_no_decimals_come_back() {
        let stale = f64::from_bits(0x7ff0_0000_0000_0002);
        let check = |values: &[f64]| {
            size_of_values(values);
        };
        check(&[]);
        check(&[stale]);
        check(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, stale]);
        check(&[
            stale,
            0.25,
            0.5,
            -0.0,
            0.75,
            1.0,
            1.25,
            1.5,
            1.75,
            2.0,
            2.25,
            2.5,
            2.75,
            3.0,
            3.25,
            3.5,
            f64::INFINITY,
        ]);
        check(&[0.1 + 0.2, 1.0 / 3.0, f64::MIN_POSITIVE, f64::MAX, -f64::MAX, f64::NAN, f64::NEG_INFINITY]);
        check(&[i64::MAX as f64, i64::MIN as f64, 9_007_199_254_740_992.0]);
    }

    #[test]
    fn numbers_that_wrap_around_come_back() {
        let check = |numbers: &[i64]| {
            let (mut out, mut read) = (Encoder::default(), Vec::new());
            put_numbers(numbers, &mut out);
            take_numbers(
                &out.into_bytes(),
                numbers.len(),
                0..numbers.len(),
                &mut Scratch::default(),
                &mut read,
            )
            .unwrap();
            assert_eq!(read, numbers);
        };
        check(&[i64::MIN, i64::MAX]);
        check(&[0, i64::MIN]);
        check(&[i64::MAX, i64::MIN, 0, -1, 1]);
        check(&[i64::MIN, 0, i64::MIN, 0]);
        check(&[3, 3 + (1 << 62), 3 - (1 << 62)]);
    }

    /// Stretches of numbers: how many, the width of their noise, what they are multiples of.
    fn numbers() -> impl Strategy<Value = Vec<i64>> {
        let stretch = (1usize..900, 0u32..64, 1i64..5000, any::<bool>());
        proptest::collection::vec(stretch, 1..5).prop_map(|stretches| {
            let mut last = 5i64;
            let mut numbers = Vec::new();
            for (count, bits, unit, wanders) in stretches {
                for step in noise(count, 1 << bits) {
                    let step = (step as i64).wrapping_mul(unit);
                    numbers.push(last.wrapping_add(step));
                    last = if wanders { last.wrapping_add(step) } else { last };
                }
            }
            numbers
        })
    }

    proptest! {
        #[test]
        fn chosen_rows_are_those_of_all(numbers in numbers(), cuts: (prop::sample::Index, prop::sample::Index)) {
            let mut out = Encoder::default();
            put_numbers(&numbers, &mut out);
            let (from, to) = (cuts.0.index(numbers.len()), cuts.1.index(numbers.len()));
            let rows = from.min(to)..from.max(to);
            let mut read = Vec::new();
            take_numbers(&out.into_bytes(), numbers.len(), rows.clone(), &mut Scratch::default(), &mut read).unwrap();
            prop_assert_eq!(&read, &numbers[rows]);
        }

        #[test]
        fn values_come_back(bits: Vec<u64>, integers in numbers(), scale in 0u8..=6) {
            size_of_values(&bits.into_iter().map(f64::from_bits).collect::<Vec<_>>());
            size_of_values(&integers.into_iter().map(|integer| decimal::decode(integer, scale)).collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_are_an_answer(bytes: Vec<u8>, count in 0usize..5000, start in 0usize..5000) {
            let _ = take_values(&bytes, count, start.min(count)..count, &mut Scratch::default(), &mut Vec::new());
            let _ = take_numbers(&bytes, count, 0..count, &mut Scratch::default(), &mut Vec::new());
        }

        #[test]
        fn changed_bytes_are_an_answer(numbers in numbers(), at: prop::sample::Index, to: u8) {
            let mut out = Encoder::default();
            put_numbers(&numbers, &mut out);
            let mut bytes = out.into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = to;
            let mut read = Vec::new();
            let _ = take_numbers(&bytes, numbers.len(), 0..numbers.len(), &mut Scratch::default(), &mut read);
            prop_assert!(read.len() <= numbers.len());
        }
    }
}
