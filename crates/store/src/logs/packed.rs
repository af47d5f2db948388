//! Parquet's encodings of pages, as far as parts of logs have them: codes of dictionaries, packed numbers, byte strings. Nothing here trusts a length that it is told.

use bytes::Bytes;
use kenning_codec::bytes::Decoder;

use super::kind::{Kind, push_hex};
use crate::parts::deltas::Deltas;

/// Values of a page of byte strings one after another, and where each of so many ends, in the encodings that this
/// program writes. They are a part of `page`, whose memory is shared; `bytes` are what of it stands behind the levels.
pub(crate) fn byte_strings(
    page: &Bytes,
    bytes: &[u8],
    count: usize,
    kind: &Kind,
    is_plain: bool,
) -> Option<(Bytes, Vec<u32>)> {
    let mut ends = Vec::with_capacity(count.min(bytes.len()));
    let mut end = 0u32;
    let text = match (is_plain, kind) {
        (true, Kind::Hex { len }) => {
            for _ in 0..count {
                end = end.checked_add(u32::from(*len))?;
                ends.push(end);
            }
            bytes
        }
        (false, _) => {
            let mut lengths = Vec::new();
            let behind = delta_packed(bytes, count, &mut lengths)?;
            for len in lengths {
                end = end.checked_add(u32::try_from(len).ok()?)?;
                ends.push(end);
            }
            behind
        }
        _ => return None,
    };
    Some((page.slice_ref(text.get(..end as usize)?), ends))
}

/// Appends numbers in Parquet's packed deltas; gives what stands behind them.
pub(crate) fn delta_packed<'b>(bytes: &'b [u8], count: usize, out: &mut Vec<i64>) -> Option<&'b [u8]> {
    let mut from = Decoder::new(bytes);
    let block = usize::try_from(from.varint()?).ok().filter(|block| *block > 0 && *block <= 1 << 20)?;
    let miniblocks = usize::try_from(from.varint()?).ok().filter(|count| *count > 0 && *count <= block)?;
    let held = usize::try_from(from.varint()?).ok()?;
    (held == count && block.is_multiple_of(miniblocks)).then_some(())?;
    let mut last = from.signed()?;
    let mut rest = bytes.get(bytes.len() - from.remaining()..)?;
    out.reserve(count.min(bytes.len().saturating_mul(64)));
    if count > 0 {
        out.push(last);
    }
    let each = block / miniblocks;
    let mut left = count.saturating_sub(1);
    while left > 0 {
        let mut from = Decoder::new(rest);
        let least = from.signed()?;
        let behind = rest.get(rest.len() - from.remaining()..)?;
        let (widths, behind) = behind.split_at_checked(miniblocks)?;
        rest = behind;
        for width in widths {
            if left == 0 {
                break;
            }
            let width = u32::from(*width);
            let bytes = (each * width as usize).div_ceil(8);
            let here = each.min(left);
            // What stands behind is there to be read by whole words.
            let packed = rest;
            rest = rest.get(bytes..)?;
            unpack(packed, width, here, |deltas| {
                out.extend(deltas.iter().map(|delta| {
                    last = last.wrapping_add(least).wrapping_add(delta.cast_signed());
                    last
                }));
            })?;
            left -= here;
        }
    }
    Some(rest)
}

/// So many numbers in packed deltas with nothing behind them that matters.
pub(crate) fn deltas(bytes: Bytes, count: usize) -> Option<Vec<i64>> {
    let mut values = Vec::with_capacity(count.min(bytes.len().saturating_mul(64)));
    match Deltas::new(bytes.clone()) {
        Some(mut deltas) => {
            (deltas.claimed() == count as u64).then_some(())?;
            deltas.take(count, &mut values)?;
        }
        // Blocks of a form that nobody writes.
        None => drop(delta_packed(&bytes, count, &mut values)?),
    }
    Some(values)
}

/// One of so many numbers in packed deltas; those before it are summed up.
pub(crate) fn delta_at(bytes: Bytes, count: usize, wanted: usize) -> Option<i64> {
    (wanted < count).then_some(())?;
    match Deltas::new(bytes.clone()) {
        Some(mut deltas) => {
            let mut found = Vec::with_capacity(1);
            (deltas.claimed() == count as u64).then_some(())?;
            deltas.skip(wanted)?;
            deltas.take(1, &mut found)?;
            found.pop()
        }
        // Blocks of a form that nobody writes.
        None => {
            let mut all = Vec::new();
            delta_packed(&bytes, count, &mut all)?;
            all.get(wanted).copied()
        }
    }
}

/// One of so many byte strings behind their packed lengths.
pub(crate) fn byte_string_at(bytes: &[u8], count: usize, wanted: usize) -> Option<&[u8]> {
    let mut lengths = Vec::new();
    let behind = delta_packed(bytes, count, &mut lengths)?;
    let len = usize::try_from(*lengths.get(wanted)?).ok()?;
    let before = lengths
        .iter()
        .take(wanted)
        .try_fold(0usize, |sum, len| sum.checked_add(usize::try_from(*len).ok()?))?;
    behind.get(before..)?.get(..len)
}

/// The texts of a dictionary's page.
pub(crate) fn dictionary_texts(bytes: &[u8], count: usize, kind: &Kind) -> Option<Vec<Box<str>>> {
    let mut rest = bytes;
    let mut texts = Vec::with_capacity(count.min(bytes.len()));
    for _ in 0..count {
        let mut text = String::new();
        match kind {
            Kind::Text => {
                let (len, after) = rest.split_first_chunk::<4>()?;
                let (value, after) = after.split_at_checked(u32::from_le_bytes(*len) as usize)?;
                text.push_str(std::str::from_utf8(value).ok()?);
                rest = after;
            }
            Kind::Hex { len } => {
                let (value, after) = rest.split_at_checked(usize::from(*len))?;
                push_hex(value, &mut text);
                rest = after;
            }
            Kind::Int { .. } | Kind::Decimal { .. } => {
                let (value, after) = rest.split_first_chunk::<8>()?;
                kind.format(i64::from_le_bytes(*value), &mut text);
                rest = after;
            }
            Kind::Phrases(_) => return None,
        }
        texts.push(text.into_boxed_str());
    }
    Some(texts)
}

/// The codes of so many values: their width, then Parquet's hybrid.
pub(crate) fn codes(bytes: &[u8], count: usize) -> Option<Vec<u32>> {
    if count == 0 {
        return Some(Vec::new());
    }
    let (width, rest) = bytes.split_first()?;
    hybrid(rest, u32::from(*width), count)
}

/// One of the codes of so many values.
pub(crate) fn code_at(bytes: &[u8], count: usize, wanted: usize) -> Option<u32> {
    (wanted < count).then_some(())?;
    let (width, mut rest) = bytes.split_first()?;
    let width = u32::from(*width);
    (width <= 32).then_some(())?;
    let mut left = wanted;
    loop {
        let mut decoder = Decoder::new(rest);
        let header = decoder.varint()?;
        rest = rest.get(rest.len() - decoder.remaining()..)?;
        let run = usize::try_from(header >> 1).ok().filter(|run| *run > 0)?;
        if header & 1 == 0 {
            let (value, behind) = rest.split_at_checked(width.div_ceil(8) as usize)?;
            if left < run {
                return Some(value.iter().rev().fold(0u32, |n, byte| n << 8 | u32::from(*byte)));
            }
            (left, rest) = (left - run, behind);
        } else {
            let held = run.checked_mul(8)?;
            if left < held {
                // From the start of its eight, where a byte begins.
                let eight = rest.get((left / 8).checked_mul(width as usize)?..)?;
                let mut out = [0u64; 8];
                let out = out.get_mut(..=left % 8)?;
                let needed = (out.len() * width as usize).div_ceil(8);
                unpack_each(eight.get(..needed)?, width, 0, out)?;
                return out.last().map(|code| *code as u32);
            }
            (left, rest) = (left - held, rest.get(run.checked_mul(width as usize)?..)?);
        }
    }
}

/// One text of a dictionary's page.
pub(crate) fn push_dictionary_text(bytes: &[u8], wanted: u32, kind: &Kind, out: &mut String) -> Option<()> {
    let fixed = |len: usize| {
        let start = (wanted as usize).checked_mul(len)?;
        bytes.get(start..)?.get(..len)
    };
    match kind {
        Kind::Text => {
            let mut rest = bytes;
            for _ in 0..wanted {
                let (len, behind) = rest.split_first_chunk::<4>()?;
                rest = behind.get(u32::from_le_bytes(*len) as usize..)?;
            }
            let (len, behind) = rest.split_first_chunk::<4>()?;
            let text = behind.get(..u32::from_le_bytes(*len) as usize)?;
            out.push_str(std::str::from_utf8(text).ok()?);
        }
        Kind::Hex { len } => push_hex(fixed(usize::from(*len))?, out),
        Kind::Int { .. } | Kind::Decimal { .. } => {
            kind.format(i64::from_le_bytes(*fixed(8)?.first_chunk::<8>()?), out);
        }
        Kind::Phrases(_) => return None,
    }
    Some(())
}

/// Reads `count` numbers of `width` bits in Parquet's hybrid of runs and packed bits.
pub(crate) fn hybrid(bytes: &[u8], width: u32, count: usize) -> Option<Vec<u32>> {
    (width <= 32).then_some(())?;
    let mut out: Vec<u32> = Vec::with_capacity(count.min(1 << 20));
    let mut rest = bytes;
    let value_bytes = width.div_ceil(8) as usize;
    while out.len() < count {
        let mut decoder = Decoder::new(rest);
        let header = decoder.varint()?;
        rest = rest.get(rest.len() - decoder.remaining()..)?;
        let left = count - out.len();
        let run = usize::try_from(header >> 1).ok()?;
        (run > 0).then_some(())?;
        if header & 1 == 0 {
            let (value, after) = rest.split_at_checked(value_bytes)?;
            rest = after;
            let value = value.iter().rev().fold(0u32, |n, byte| n << 8 | u32::from(*byte));
            out.extend(std::iter::repeat_n(value, run.min(left)));
        } else {
            let (packed, after) = rest.split_at_checked(run.checked_mul(width as usize)?.min(rest.len()))?;
            rest = after;
            let here = run.checked_mul(8)?.min(left);
            unpack(packed, width, here, |codes| out.extend(codes.iter().map(|code| *code as u32)))?;
        }
    }
    Some(out)
}

/// Numbers that [`unpack`] hands over at once, at most; a multiple of eight.
const UNPACKED_MAX: usize = 64;

/// Hands `count` numbers of `width` bits, low bits first, to `see`, some at a time.
fn unpack(bytes: &[u8], width: u32, count: usize, mut see: impl FnMut(&[u64])) -> Option<()> {
    (width <= 64).then_some(())?;
    let needed = (count as u64 * u64::from(width)).div_ceil(8);
    (bytes.len() as u64 >= needed).then_some(())?;
    let mut buffer = [0u64; UNPACKED_MAX];
    let (mut rest, mut left) = (bytes, count);
    while left > 0 {
        let here = left.min(UNPACKED_MAX);
        let out = buffer.get_mut(..here)?;
        // All but the last are whole bytes, for eight numbers are.
        let (packed, behind) = rest.split_at_checked((here * width as usize).div_ceil(8))?;
        let done = unpack_eights(rest, width, out);
        unpack_each(packed, width, done, out)?;
        see(out);
        (rest, left) = (behind, left - here);
    }
    Some(())
}

/// Reads numbers one by one from number `first` on.
fn unpack_each(bytes: &[u8], width: u32, first: usize, out: &mut [u64]) -> Option<()> {
    if width == 0 {
        out.fill(0);
        return Some(());
    }
    let mask = u64::MAX >> (64 - width);
    for (at, slot) in out.iter_mut().enumerate().skip(first) {
        let bit = at * width as usize;
        let rest = bytes.get(bit >> 3..)?;
        let mut word = [0u8; 16];
        word.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        *slot = (u128::from_le_bytes(word) >> (bit & 7)) as u64 & mask;
    }
    Some(())
}

/// Reads numbers by eights as long as eight bytes stand behind them; gives how many were read. The width is a constant
/// for the compiler: all places are then known, and a number costs a load, a shift and a mask.
fn unpack_eights(bytes: &[u8], width: u32, out: &mut [u64]) -> usize {
    macro_rules! by_width {
        ($($width:literal)*) => {
            match width {
                $($width => unpack_eights_of::<$width>(bytes, out),)*
                _ => 0,
            }
        };
    }
    by_width!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37
        38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56)
}

fn unpack_eights_of<const WIDTH: usize>(bytes: &[u8], out: &mut [u64]) -> usize {
    let mask = u64::MAX >> (64 - WIDTH);
    let (eights, _) = out.as_chunks_mut::<8>();
    for (number, eight) in eights.iter_mut().enumerate() {
        let start = number * WIDTH;
        let Some(window) = bytes.get(start..start + WIDTH + 8) else { return number * 8 };
        for (place, slot) in eight.iter_mut().enumerate() {
            let bit = place * WIDTH;
            let word = window.get(bit >> 3..).and_then(|rest| rest.first_chunk::<8>());
            *slot = word.map_or(0, |word| u64::from_le_bytes(*word) >> (bit & 7) & mask);
        }
    }
    eights.len() * 8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn pack(numbers: &[u64], width: u32) -> Vec<u8> {
        let mut bits: Vec<bool> = Vec::new();
        numbers.iter().for_each(|n| bits.extend((0..width).map(|bit| n >> bit & 1 == 1)));
        bits.chunks(8).map(|byte| byte.iter().rev().fold(0, |sum, bit| sum << 1 | u8::from(*bit))).collect()
    }

    proptest! {
        #[test]
        fn packed_numbers_of_every_width_are_read(numbers in vec(any::<u64>(), 0..200), width in 1u32..=64) {
            let numbers: Vec<u64> = numbers.iter().map(|n| n & u64::MAX >> (64 - width)).collect();
            let mut read = Vec::new();
            let bytes = pack(&numbers, width);
            unpack(&bytes, width, numbers.len(), |some| read.extend_from_slice(some)).unwrap();
            prop_assert_eq!(&read, &numbers);
            let is_short = bytes.is_empty() || unpack(&bytes[1..], width, numbers.len(), |_| {}).is_none();
            prop_assert!(is_short);
        }
    }

    proptest! {
        #[test]
        fn one_code_is_that_of_all(
            runs in vec((any::<bool>(), 1usize..20, vec(0u32..8, 8..9)), 1..6),
            width in 3u8..9,
        ) {
            let mut bytes = vec![width];
            for (is_packed, len, codes) in &runs {
                if *is_packed {
                    bytes.push(3);
                    let codes: Vec<u64> = codes.iter().map(|code| u64::from(*code)).collect();
                    bytes.extend(pack(&codes, u32::from(width)));
                } else {
                    bytes.push((*len as u8) << 1);
                    bytes.push(codes[0] as u8);
                }
            }
            let count = runs.iter().map(|(is_packed, len, _)| if *is_packed { 8 } else { *len }).sum();
            let all = codes(&bytes, count).unwrap();
            let each: Vec<u32> = (0..count).map(|at| code_at(&bytes, count, at).unwrap()).collect();
            prop_assert_eq!(each, all);
            prop_assert_eq!(code_at(&bytes, count, count), None);
            for len in 0..bytes.len() {
                (0..count).for_each(|at| assert!(code_at(&bytes[..len], count, at).is_none_or(|code| code < 256)));
            }
        }
    }

    #[test]
    fn packed_deltas_are_read() {
        let check = |bytes: &[u8], count, expect: Option<(&[i64], &[u8])>| {
            let mut read = Vec::new();
            let rest = delta_packed(bytes, count, &mut read);
            assert_eq!(rest.map(|rest| (read.as_slice(), rest)), expect, "{bytes:?}");
        };
        // The two examples of the format's definition, with something behind.
        let even = [0x80, 1, 4, 5, 2, 2, 0, 0, 0, 0, b'x'];
        check(&even, 5, Some((&[1, 2, 3, 4, 5], b"x")));
        let uneven = [0x80, 1, 4, 8, 14, 3, 2, 0, 0, 0, 0xc0, 0x3f, 0, 0, 0, 0, 0, 0, b'x'];
        check(&uneven, 8, Some((&[7, 5, 3, 1, 2, 3, 4, 5], b"x")));
        for (at, number) in [7, 5, 3, 1, 2, 3, 4, 5].into_iter().enumerate() {
            assert_eq!(delta_at(Bytes::copy_from_slice(&uneven), 8, at), Some(number));
        }
        assert_eq!(delta_at(Bytes::copy_from_slice(&uneven), 8, 8), None);
        assert_eq!(delta_at(Bytes::copy_from_slice(&uneven), 9, 1), None);
        check(&[0x80, 1, 4, 0, 0], 0, Some((&[], &[])));
        check(&even, 4, None);
        check(&[0x80, 1, 3, 5, 2, 2, 0, 0, 0, 0], 5, None);
        check(&[0, 0, 5, 2], 5, None);
        (0..uneven.len() - 1).for_each(|len| check(&uneven[..len], 8, None));
        assert_eq!(deltas(Bytes::copy_from_slice(&uneven), 8), Some(vec![7, 5, 3, 1, 2, 3, 4, 5]));
        assert_eq!(deltas(Bytes::copy_from_slice(&uneven[..14]), 8), None);
        assert_eq!(deltas(Bytes::copy_from_slice(&uneven), 7), None);
    }

    #[test]
    fn runs_and_packed_bits_are_read() {
        let check = |bytes: &[u8], width, count, expect: Option<&[u32]>| {
            assert_eq!(hybrid(bytes, width, count).as_deref(), expect, "{bytes:?}");
        };
        check(&[6, 5], 3, 3, Some(&[5, 5, 5]));
        check(&[3, 0b1000_1000, 0b1100_0110, 0b1111_1010], 3, 8, Some(&[0, 1, 2, 3, 4, 5, 6, 7]));
        check(&[3, 0b1000_1000, 0b1100_0110, 0b1111_1010, 2, 7], 3, 9, Some(&[0, 1, 2, 3, 4, 5, 6, 7, 7]));
        check(&[4], 0, 2, Some(&[0, 0]));
        check(&[0, 5], 3, 3, None);
        check(&[1], 3, 3, None);
        check(&[], 3, 1, None);
        check(&[3, 1], 3, 8, None);
        check(&[6, 5], 40, 3, None);
    }
}
