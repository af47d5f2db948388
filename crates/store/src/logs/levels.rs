//! Levels of one bit, in Parquet's hybrid of runs and packed bits: which rows of a page have a value, and which values a
//! row has. They are counted by whole words, so that a single row costs next to nothing to find.
//!
//! Nothing here trusts a length that it is told.

use std::ops::Range;

use kenning_codec::bytes::Decoder;

/// Which rows of an optional column's page have a value.
#[derive(Debug, PartialEq)]
pub(crate) enum Defined {
    All,
    /// Per row whether it has one, and how many have.
    Each(Vec<bool>, usize),
}

impl Defined {
    /// What a list says.
    pub(crate) fn each(rows: Vec<bool>) -> Self {
        let count = rows.iter().map(|defined| usize::from(*defined)).sum();
        Self::Each(rows, count)
    }

    /// Whether a row has a value.
    pub(crate) fn has(&self, row: usize) -> bool {
        match self {
            Self::All => true,
            Self::Each(each, _) => each.get(row) == Some(&true),
        }
    }

    /// How many of `rows` have a value.
    pub(crate) fn count(&self, rows: usize) -> usize {
        match self {
            Self::All => rows,
            Self::Each(_, count) => *count,
        }
    }
}

/// The levels of an optional column's page, and what stands behind them.
pub(crate) fn defined(bytes: &[u8], rows: usize) -> Option<(Defined, &[u8])> {
    let (levels, rest) = split(bytes)?;
    if is_all_ones(levels, rows) {
        return Some((Defined::All, rest));
    }
    let mut each = vec![false; rows];
    let mut count = 0;
    for_each_stretch(levels, rows, |start, stretch| match stretch {
        Stretch::Run { is_one, len } => {
            each.get_mut(start..start + len).unwrap_or_default().fill(is_one);
            count += if is_one { len } else { 0 };
        }
        Stretch::Bits { bytes, len } => {
            let slots = each.get_mut(start..start + len).unwrap_or_default();
            for (eight, byte) in slots.chunks_mut(8).zip(bytes) {
                eight.iter_mut().enumerate().for_each(|(bit, slot)| *slot = byte >> bit & 1 == 1);
            }
            count += ones(bytes, len);
        }
    })?;
    Some((Defined::Each(each, count), rest))
}

/// The rows that have a value, when they are at most `most`; `None` else, and when there are fewer levels.
pub(crate) fn few(levels: &[u8], rows: usize, most: usize) -> Option<Vec<u32>> {
    let total = rank(levels, rows, 0)?.total;
    let mut found = Vec::with_capacity((total <= most).then_some(total)?);
    for_each_stretch(levels, rows, |start, stretch| match stretch {
        Stretch::Run { is_one: false, .. } => {}
        Stretch::Run { is_one: true, len } => found.extend((start..start + len).map(|row| row as u32)),
        Stretch::Bits { bytes, len } => {
            for (byte, at) in bytes.iter().zip((0..len).step_by(8)).filter(|(byte, _)| **byte != 0) {
                let there = (at..len.min(at + 8)).filter(|bit| byte >> (bit - at) & 1 == 1);
                found.extend(there.map(|bit| (start + bit) as u32));
            }
        }
    })?;
    Some(found)
}

/// The bytes of levels, and what stands behind them.
pub(crate) fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*len) as usize)
}

/// True for one run of ones over all rows.
fn is_all_ones(levels: &[u8], rows: usize) -> bool {
    let mut first = Decoder::new(levels);
    let header = first.varint().filter(|header| header & 1 == 0 && header >> 1 >= rows as u64);
    header.and_then(|_| first.byte()) == Some(1)
}

/// Where a level stands among the ones.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Rank {
    /// Ones before it.
    pub(crate) before: usize,
    /// Ones in all.
    pub(crate) total: usize,
    /// Whether it is one itself.
    pub(crate) is_one: bool,
}

/// Where a level stands among the ones of so many levels; one behind the last has all before it.
pub(crate) fn rank(levels: &[u8], count: usize, at: usize) -> Option<Rank> {
    let mut rank = Rank::default();
    for_each_stretch(levels, count, |start, stretch| {
        let before = at.saturating_sub(start);
        match stretch {
            Stretch::Run { is_one: false, .. } => {}
            Stretch::Run { is_one: true, len } => {
                rank.total += len;
                rank.before += before.min(len);
                rank.is_one |= (start..start + len).contains(&at);
            }
            Stretch::Bits { bytes, len } => {
                rank.total += ones(bytes, len);
                rank.before += ones(bytes, before.min(len));
                rank.is_one |= (start..start + len).contains(&at) && is_one(bytes, before);
            }
        }
    })?;
    Some(rank)
}

/// Which of so many levels belong to a row, where each row begins with a level that is not one. `None` when they do not
/// make so many rows.
pub(crate) fn levels_of_row(repeated: &[u8], count: usize, rows: usize, row: usize) -> Option<Range<usize>> {
    let (mut begun, mut start, mut end) = (0, None, count);
    for_each_stretch(repeated, count, |first, stretch| match stretch {
        Stretch::Run { is_one: true, .. } => {}
        Stretch::Run { is_one: false, len } => {
            let place = |row: usize| (begun..begun + len).contains(&row).then(|| first + row - begun);
            start = start.or(place(row));
            end = place(row + 1).unwrap_or(end);
            begun += len;
        }
        Stretch::Bits { bytes, len } => {
            for (eight, byte) in bytes.chunks(1).zip((0..len).step_by(8)) {
                let here = len.min(byte + 8) - byte;
                let zeros = here - ones(eight, here);
                // The row begins here or ends here.
                if begun + zeros > row && begun <= row + 1 {
                    let starts = (0..here).filter(|at| !is_one(eight, *at));
                    for (begins, at) in (begun..).zip(starts) {
                        if begins == row {
                            start = Some(first + byte + at);
                        } else if begins == row + 1 {
                            end = first + byte + at;
                        }
                    }
                }
                begun += zeros;
            }
        }
    })?;
    Some(start?..end).filter(|_| begun == rows)
}

/// Neighbouring levels.
enum Stretch<'b> {
    Run { is_one: bool, len: usize },
    Bits { bytes: &'b [u8], len: usize },
}

/// Hands the stretches of so many levels to `see`, each with the place of its first; `None` when there are fewer.
fn for_each_stretch(levels: &[u8], count: usize, mut see: impl FnMut(usize, Stretch<'_>)) -> Option<()> {
    let (mut rest, mut at) = (levels, 0);
    while at < count {
        let mut decoder = Decoder::new(rest);
        let header = decoder.varint()?;
        rest = rest.get(rest.len() - decoder.remaining()..)?;
        let run = usize::try_from(header >> 1).ok().filter(|run| *run > 0)?;
        let len;
        if header & 1 == 0 {
            let (value, behind) = rest.split_first()?;
            len = run.min(count - at);
            see(at, Stretch::Run { is_one: *value == 1, len });
            rest = behind;
        } else {
            // The last group may be cut where its levels end.
            let (bytes, behind) = rest.split_at_checked(run.min(rest.len()))?;
            len = run.checked_mul(8)?.min(count - at);
            (bytes.len() >= len.div_ceil(8)).then_some(())?;
            see(at, Stretch::Bits { bytes, len });
            rest = behind;
        }
        at += len;
    }
    Some(())
}

/// Ones among the first so many bits.
fn ones(bytes: &[u8], len: usize) -> usize {
    let (whole, left) = (bytes.get(..len / 8).unwrap_or_default(), len % 8);
    let (words, rest) = whole.as_chunks::<8>();
    let of_words: u32 = words.iter().map(|word| u64::from_le_bytes(*word).count_ones()).sum();
    let of_rest: u32 = rest.iter().map(|byte| byte.count_ones()).sum();
    let last = bytes.get(len / 8).map_or(0, |byte| (byte & ((1 << left) - 1)).count_ones());
    (of_words + of_rest + last) as usize
}

fn is_one(bytes: &[u8], bit: usize) -> bool {
    bytes.get(bit / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// Levels in stretches: as runs or as packed bits.
    fn encode(stretches: &[(bool, Vec<bool>)]) -> (Vec<u8>, Vec<bool>) {
        let (mut bytes, mut each) = (Vec::new(), Vec::new());
        for (is_packed, levels) in stretches {
            if *is_packed {
                let eights = levels.chunks_exact(8);
                bytes.push((eights.len() as u8) << 1 | 1);
                for eight in eights {
                    bytes.push(eight.iter().rev().fold(0, |byte, level| byte << 1 | u8::from(*level)));
                    each.extend_from_slice(eight);
                }
            } else {
                bytes.extend([(levels.len() as u8) << 1, u8::from(levels[0])]);
                each.extend(std::iter::repeat_n(levels[0], levels.len()));
            }
        }
        (bytes, each)
    }

    proptest! {
        #[test]
        fn levels_are_found_as_if_one_by_one(
            stretches in vec((any::<bool>(), vec(any::<bool>(), 8..60)), 1..6),
            cut in 0usize..8,
        ) {
            let (bytes, mut each) = encode(&stretches);
            each.truncate(each.len() - cut);
            let count = each.len();
            let page = [(bytes.len() as u32).to_le_bytes().as_slice(), &bytes, b"x"].concat();
            let (read, rest) = defined(&page, count).unwrap();
            prop_assert_eq!(rest, b"x");
            let total = each.iter().filter(|level| **level).count();
            prop_assert_eq!(read.count(count), total);
            let there: Vec<u32> = (0u32..).zip(&each).filter(|(_, level)| **level).map(|(at, _)| at).collect();
            prop_assert_eq!(few(&bytes, count, total), Some(there));
            prop_assert!(total == 0 || few(&bytes, count, total - 1).is_none());
            for at in 0..=count {
                let before = each[..at].iter().filter(|level| **level).count();
                let is_one = each.get(at) == Some(&true);
                prop_assert_eq!(rank(&bytes, count, at), Some(Rank { before, total, is_one }));
                prop_assert!(at == count || read.has(at) == is_one);
            }
            let starts: Vec<usize> = (0..count).filter(|at| !each[*at]).collect();
            for (row, start) in starts.iter().enumerate() {
                let end = starts.get(row + 1).copied().unwrap_or(count);
                prop_assert_eq!(levels_of_row(&bytes, count, starts.len(), row), Some(*start..end));
            }
            prop_assert_eq!(levels_of_row(&bytes, count, starts.len(), starts.len()), None);
            prop_assert_eq!(levels_of_row(&bytes, count, starts.len() + 1, 0), None);
        }

        #[test]
        fn any_bytes_are_an_answer(bytes: Vec<u8>, count in 0usize..300, at in 0usize..300) {
            let _ = (defined(&bytes, count), rank(&bytes, count, at), levels_of_row(&bytes, count, count, at));
        }
    }

    #[test]
    fn one_run_of_ones_is_all() {
        assert_eq!(defined(&[2, 0, 0, 0, 6, 1, 9], 3), Some((Defined::All, &[9u8][..])));
        assert_eq!(defined(&[2, 0, 0, 0, 6, 0], 3), Some((Defined::Each(vec![false; 3], 0), &[][..])));
        assert_eq!(defined(&[2, 0, 0, 0, 4, 1], 3), None);
        assert_eq!(defined(&[2, 0, 0, 0, 0, 1], 3), None);
    }
}
