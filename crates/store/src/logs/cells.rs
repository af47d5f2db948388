//! The values of one field in one row group, as they are in the file: codes of a dictionary, numbers, or bytes.

use std::ops::Range;

use bytes::Bytes;
use memchr::memmem::Finder;
use parquet::basic::Encoding;
use parquet::column::page::Page;
use parquet::data_type::ByteArray;

use super::index::PAGE_ROWS;
use super::kind::{Kind, push_hex};
use crate::parts::columns::{GroupReader, Values};
use crate::parts::{PartError, damaged};

/// The code of a row without a value.
pub(crate) const ABSENT: u32 = u32::MAX;

/// A column of values. Pages are read when they are asked for; see [`Cells::load`].
pub(crate) enum Cells {
    /// Few different texts, and per row which.
    Dictionary { texts: Vec<Box<str>>, codes: Vec<u32>, loaded: Vec<bool> },
    /// A number per row; what stands in rows without one means nothing.
    Numbers { values: Vec<i64>, present: Vec<bool>, loaded: Vec<bool> },
    /// Texts, or bytes of hex digits, in pages.
    Bytes { pages: Vec<Option<BytesPage>>, rows: usize },
}

/// The values of one page in one buffer.
#[derive(Default)]
pub(crate) struct BytesPage {
    buffer: Bytes,
    /// Per row where its value ends; that of a row without one is empty.
    ends: Vec<u32>,
    present: Vec<bool>,
}

impl BytesPage {
    fn get(&self, row: usize) -> Option<&[u8]> {
        let end = *self.present.get(row).filter(|present| **present).and(self.ends.get(row))?;
        let start = row.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.buffer.get(start as usize..end as usize)
    }

    /// Hands every row to `see` whose value contains what `finder` looks for: one search over all values.
    pub(crate) fn find(&self, finder: &Finder<'_>, mut see: impl FnMut(usize)) {
        let len = finder.needle().len();
        let mut at = 0;
        while let Some(found) = self.buffer.get(at..).and_then(|rest| finder.find(rest)) {
            let start = at + found;
            let row = self.ends.partition_point(|end| *end as usize <= start);
            let end = self.ends.get(row).map_or(self.buffer.len(), |end| *end as usize);
            // Else it reaches over the end of the value, or is empty and belongs to any.
            if start + len <= end {
                see(row);
                at = end;
            } else {
                at = start + 1;
            }
        }
    }

    fn from_values(definition: &[i16], values: impl Iterator<Item = ByteArray>) -> Option<Self> {
        let mut values = values;
        let (mut buffer, mut page) = (Vec::new(), Self::default());
        for level in definition {
            if *level > 0 {
                buffer.extend_from_slice(values.next()?.data());
            }
            page.ends.push(u32::try_from(buffer.len()).ok()?);
            page.present.push(*level > 0);
        }
        page.buffer = buffer.into();
        Some(page)
    }
}

impl Cells {
    /// A column of which nothing is read yet but its dictionary, if it has one.
    pub(crate) fn open(
        group: &GroupReader<'_>,
        leaf: usize,
        kind: &Kind,
        rows: usize,
    ) -> Result<Self, PartError> {
        let loaded = vec![false; rows.div_ceil(PAGE_ROWS)];
        if let Some(texts) = coded(group, leaf, kind)? {
            return Ok(Self::Dictionary { texts, codes: vec![ABSENT; rows], loaded });
        }
        Ok(match kind {
            Kind::Text | Kind::Hex { .. } => Self::lines(rows),
            Kind::Int { .. } | Kind::Decimal { .. } => {
                Self::Numbers { values: vec![0; rows], present: vec![false; rows], loaded }
            }
        })
    }

    /// A column of texts.
    pub(crate) fn lines(rows: usize) -> Self {
        Self::Bytes { pages: std::iter::repeat_with(|| None).take(rows.div_ceil(PAGE_ROWS)).collect(), rows }
    }

    /// Has the values of some pages at hand.
    pub(crate) fn load(
        &mut self,
        group: &GroupReader<'_>,
        leaf: usize,
        kind: &Kind,
        wanted: impl Iterator<Item = usize>,
    ) -> Result<(), PartError> {
        for range in self.missing(wanted) {
            let rows = range.start * PAGE_ROWS..(range.end * PAGE_ROWS).min(self.rows());
            match self {
                Self::Dictionary { texts, codes, loaded } => {
                    let slots = codes.get_mut(rows).unwrap_or_default();
                    read_codes(group, leaf, range.clone(), texts.len(), slots)?;
                    loaded.get_mut(range).unwrap_or_default().fill(true);
                }
                Self::Numbers { values, present, loaded } => {
                    let column = group.column_rows(leaf, std::slice::from_ref(&rows))?;
                    let definition = column.definition.clone();
                    let slots = values.get_mut(rows.clone()).unwrap_or_default();
                    let present = present.get_mut(rows).unwrap_or_default();
                    place_numbers(&definition, &column.into_i64()?, slots, present)?;
                    loaded.get_mut(range).unwrap_or_default().fill(true);
                }
                Self::Bytes { pages, rows } => read_bytes(group, leaf, kind, range, *rows, pages)?,
            }
        }
        Ok(())
    }

    fn rows(&self) -> usize {
        match self {
            Self::Dictionary { codes, .. } => codes.len(),
            Self::Numbers { values, .. } => values.len(),
            Self::Bytes { rows, .. } => *rows,
        }
    }

    /// The pages among some that are not at hand, neighbours together.
    fn missing(&self, wanted: impl Iterator<Item = usize>) -> Vec<Range<usize>> {
        let is_missing = move |page: &usize| match self {
            Self::Dictionary { loaded, .. } | Self::Numbers { loaded, .. } => {
                loaded.get(*page) == Some(&false)
            }
            Self::Bytes { pages, .. } => pages.get(*page).is_some_and(Option::is_none),
        };
        neighbours(wanted.filter(is_missing))
    }

    /// The bytes of a row's value; none for other columns than those of bytes.
    pub(crate) fn bytes(&self, row: usize) -> Option<&[u8]> {
        match self {
            Self::Bytes { pages, .. } => pages.get(row / PAGE_ROWS)?.as_ref()?.get(row % PAGE_ROWS),
            _ => None,
        }
    }

    /// The values of a page, of columns of bytes, when they are at hand.
    pub(crate) fn page(&self, page: usize) -> Option<&BytesPage> {
        match self {
            Self::Bytes { pages, .. } => pages.get(page)?.as_ref(),
            _ => None,
        }
    }

    /// Appends the text of a row; false when it has none.
    pub(crate) fn push_text(&self, kind: &Kind, row: usize, out: &mut String) -> Result<bool, PartError> {
        match self {
            Self::Dictionary { texts, codes, .. } => {
                let Some(code) = codes.get(row).filter(|code| **code != ABSENT) else { return Ok(false) };
                let text = texts.get(*code as usize).ok_or_else(|| damaged("a code is in no dictionary"))?;
                out.push_str(text);
            }
            Self::Numbers { values, present, .. } => match (values.get(row), present.get(row)) {
                (Some(value), Some(true)) => kind.format(*value, out),
                _ => return Ok(false),
            },
            Self::Bytes { .. } => match self.bytes(row) {
                Some(bytes) if matches!(kind, Kind::Hex { .. }) => push_hex(bytes, out),
                Some(bytes) => {
                    out.push_str(std::str::from_utf8(bytes).map_err(|_| damaged("a text is not UTF-8"))?);
                }
                _ => return Ok(false),
            },
        }
        Ok(true)
    }

    /// Bytes held, roughly.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::Dictionary { texts, codes, .. } => codes.len() * 4 + texts.len() * 32,
            Self::Numbers { values, .. } => values.len() * 9,
            Self::Bytes { pages, .. } => {
                pages.iter().flatten().map(|page| page.buffer.len() + page.ends.len() * 5).sum()
            }
        }
    }
}

/// A column of which pages are read when they are asked for.
pub(crate) struct Paged<T> {
    values: Vec<T>,
    loaded: Vec<bool>,
}

impl<T: Clone> Paged<T> {
    pub(crate) fn new(rows: usize, none: T) -> Self {
        Self { values: vec![none; rows], loaded: vec![false; rows.div_ceil(PAGE_ROWS)] }
    }

    /// Has some pages at hand; `read` gives the values of a range of rows.
    pub(crate) fn load(
        &mut self,
        pages: impl Iterator<Item = usize>,
        mut read: impl FnMut(Range<usize>) -> Result<Vec<T>, PartError>,
    ) -> Result<(), PartError> {
        for range in neighbours(pages.filter(|page| self.loaded.get(*page) == Some(&false))) {
            let rows = range.start * PAGE_ROWS..(range.end * PAGE_ROWS).min(self.values.len());
            let (found, slots) = (read(rows.clone())?, self.values.get_mut(rows).unwrap_or_default());
            if found.len() != slots.len() {
                return Err(damaged("a log column has another number of rows"));
            }
            slots.clone_from_slice(&found);
            self.loaded.get_mut(range).unwrap_or_default().fill(true);
        }
        Ok(())
    }

    /// Per row its value; what stands in pages that were not loaded means nothing.
    pub(crate) fn values(&self) -> &[T] {
        &self.values
    }
}

/// Ascending numbers as ranges of those that follow one another.
pub(crate) fn neighbours(numbers: impl Iterator<Item = usize>) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some(last) if last.end == number => last.end += 1,
            _ => ranges.push(number..number + 1),
        }
    }
    ranges
}

fn place_numbers(
    definition: &[i16],
    found: &[i64],
    values: &mut [i64],
    present: &mut [bool],
) -> Result<(), PartError> {
    let too_few = || damaged("a field has too few rows");
    if found.len() == values.len() {
        values.copy_from_slice(found);
        present.fill(true);
        return Ok(());
    }
    if definition.len() != values.len() {
        return Err(too_few());
    }
    let mut found = found.iter();
    for ((level, value), present) in definition.iter().zip(values).zip(present) {
        if *level > 0 {
            *value = *found.next().ok_or_else(too_few)?;
            *present = true;
        }
    }
    Ok(())
}

/// The texts of a column that is a dictionary all through; none for others.
fn coded(group: &GroupReader<'_>, leaf: usize, kind: &Kind) -> Result<Option<Vec<Box<str>>>, PartError> {
    if !group.is_all_dictionary(leaf) {
        return Ok(None);
    }
    let Some(Page::DictionaryPage { buf, num_values, .. }) = group.pages(leaf)?.get_next_page()? else {
        return Ok(None);
    };
    let texts = dictionary_texts(&buf, num_values as usize, kind);
    texts.map(Some).ok_or_else(|| damaged("a dictionary does not hold the values it claims"))
}

/// Hands the data pages of a range to `see`; the others are passed over without a look.
fn for_pages(
    group: &GroupReader<'_>,
    leaf: usize,
    range: Range<usize>,
    mut see: impl FnMut(usize, &[u8], usize, Encoding) -> Result<(), PartError>,
) -> Result<(), PartError> {
    let mut pages = group.pages(leaf)?;
    let mut at = 0;
    while at < range.end {
        let Some(next) = pages.peek_next_page()? else { return Err(damaged("a column has too few pages")) };
        if next.is_dict {
            pages.skip_next_page()?;
            continue;
        }
        if at < range.start {
            pages.skip_next_page()?;
        } else {
            let Some(Page::DataPage { buf, num_values, encoding, .. }) = pages.get_next_page()? else {
                return Err(damaged("a page of a field is of an unknown form"));
            };
            see(at, &buf, num_values as usize, encoding)?;
        }
        at += 1;
    }
    Ok(())
}

fn read_codes(
    group: &GroupReader<'_>,
    leaf: usize,
    range: Range<usize>,
    texts: usize,
    slots: &mut [u32],
) -> Result<(), PartError> {
    let mut codes = Vec::with_capacity(slots.len());
    for_pages(group, leaf, range, |_, bytes, rows, _| {
        page_codes(bytes, rows, &mut codes).ok_or_else(|| damaged("a page of codes is malformed"))
    })?;
    let in_range = codes.iter().all(|code| *code == ABSENT || (*code as usize) < texts);
    if codes.len() != slots.len() || !in_range {
        return Err(damaged("a column of codes does not fit its rows or its dictionary"));
    }
    slots.copy_from_slice(&codes);
    Ok(())
}

fn read_bytes(
    group: &GroupReader<'_>,
    leaf: usize,
    kind: &Kind,
    range: Range<usize>,
    rows: usize,
    into: &mut [Option<BytesPage>],
) -> Result<(), PartError> {
    let rows_of = |page: usize| page * PAGE_ROWS..((page + 1) * PAGE_ROWS).min(rows);
    // Where a writer gave a dictionary up, pages end at other rows.
    let mut fits = !group.has_dictionary(leaf);
    if fits {
        for_pages(group, leaf, range.clone(), |at, bytes, held, encoding| {
            let page = (held == rows_of(at).len()).then(|| bytes_page(bytes, held, kind, encoding)).flatten();
            fits &= page.is_some();
            if let (Some(slot), true) = (into.get_mut(at), fits) {
                *slot = page;
            }
            Ok(())
        })?;
    }
    if fits {
        return Ok(());
    }
    // Other pages, or damage: the plain reader knows.
    for page in range {
        let column = group.column_rows(leaf, std::slice::from_ref(&rows_of(page)))?;
        let definition = column.definition;
        let read = match column.values {
            Values::Bytes(values) => BytesPage::from_values(&definition, values.into_iter()),
            Values::Fixed(values) => {
                BytesPage::from_values(&definition, values.into_iter().map(|value| (*value).clone()))
            }
            _ => None,
        };
        let read = read.filter(|read| read.ends.len() == rows_of(page).len());
        let read = read.ok_or_else(|| damaged("a field is not of byte strings, or has too few rows"))?;
        if let Some(slot) = into.get_mut(page) {
            *slot = Some(read);
        }
    }
    Ok(())
}

/// The levels of an optional column's page, and what stands behind them.
fn levels(bytes: &[u8], rows: usize) -> Option<(Vec<u32>, &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    let (levels, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    Some((hybrid(levels, 1, rows)?, rest))
}

/// A page of byte strings in the encodings that this program writes.
fn bytes_page(bytes: &[u8], rows: usize, kind: &Kind, encoding: Encoding) -> Option<BytesPage> {
    let (defined, rest) = levels(bytes, rows)?;
    let present: Vec<bool> = defined.iter().map(|level| *level == 1).collect();
    let there = present.iter().filter(|present| **present).count();
    let (lengths, text) = match (encoding, kind) {
        (Encoding::DELTA_LENGTH_BYTE_ARRAY, _) => delta_packed(rest, there)?,
        (Encoding::PLAIN, Kind::Hex { len }) => (vec![i64::from(*len); there], rest),
        _ => return None,
    };
    let (mut end, mut lengths) = (0u32, lengths.into_iter());
    let mut ends = Vec::with_capacity(rows);
    for present in &present {
        if *present {
            end = end.checked_add(u32::try_from(lengths.next()?).ok()?)?;
        }
        ends.push(end);
    }
    Some(BytesPage { buffer: Bytes::copy_from_slice(text.get(..end as usize)?), ends, present })
}

/// Numbers in Parquet's packed deltas, and what stands behind them.
fn delta_packed(bytes: &[u8], count: usize) -> Option<(Vec<i64>, &[u8])> {
    let mut from = kenning_codec::bytes::Decoder::new(bytes);
    let block = usize::try_from(from.varint()?).ok().filter(|block| *block > 0 && *block <= 1 << 20)?;
    let miniblocks = usize::try_from(from.varint()?).ok().filter(|count| *count > 0 && *count <= block)?;
    let held = usize::try_from(from.varint()?).ok()?;
    (held == count && block.is_multiple_of(miniblocks)).then_some(())?;
    let mut last = from.signed()?;
    let mut out = Vec::with_capacity(count.min(bytes.len().saturating_mul(64)));
    let mut rest = bytes.get(bytes.len() - from.remaining()..)?;
    if count > 0 {
        out.push(last);
    }
    let each = block / miniblocks;
    let mut deltas = Vec::new();
    while out.len() < count {
        let mut from = kenning_codec::bytes::Decoder::new(rest);
        let least = from.signed()?;
        let behind = rest.get(rest.len() - from.remaining()..)?;
        let (widths, behind) = behind.split_at_checked(miniblocks)?;
        rest = behind;
        for width in widths {
            if out.len() >= count {
                break;
            }
            let (packed, behind) = rest.split_at_checked((each * usize::from(*width)).div_ceil(8))?;
            rest = behind;
            deltas.clear();
            // Lengths fit 32 bits, and so do their deltas above the least.
            (*width <= 32).then_some(())?;
            unpack(packed, u32::from(*width), each.min(count - out.len()), &mut deltas)?;
            for delta in &deltas {
                last = last.wrapping_add(least).wrapping_add(i64::from(*delta));
                out.push(last);
            }
        }
    }
    Some((out, rest))
}

fn dictionary_texts(bytes: &[u8], count: usize, kind: &Kind) -> Option<Vec<Box<str>>> {
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
        }
        texts.push(text.into_boxed_str());
    }
    Some(texts)
}

/// The codes of one data page of an optional column: levels, the width of codes, codes.
fn page_codes(bytes: &[u8], rows: usize, out: &mut Vec<u32>) -> Option<()> {
    let (defined, rest) = levels(bytes, rows)?;
    let there = defined.iter().filter(|level| **level == 1).count();
    if there == 0 {
        out.extend(std::iter::repeat_n(ABSENT, rows));
        return Some(());
    }
    let (width, rest) = rest.split_first()?;
    let codes = hybrid(rest, u32::from(*width), there)?;
    if there == rows {
        out.extend(codes);
        return Some(());
    }
    let mut codes = codes.into_iter();
    out.extend(defined.iter().map(|level| if *level == 1 { codes.next().unwrap_or(ABSENT) } else { ABSENT }));
    Some(())
}

/// Reads `count` numbers of `width` bits in Parquet's hybrid of runs and packed bits.
pub(crate) fn hybrid(bytes: &[u8], width: u32, count: usize) -> Option<Vec<u32>> {
    (width <= 32).then_some(())?;
    let mut out: Vec<u32> = Vec::with_capacity(count.min(1 << 20));
    let mut rest = bytes;
    let value_bytes = width.div_ceil(8) as usize;
    while out.len() < count {
        let mut decoder = kenning_codec::bytes::Decoder::new(rest);
        let header = decoder.varint()?;
        rest = rest.get(rest.len() - decoder.remaining()..)?;
        let left = count - out.len();
        let run = usize::try_from(header >> 1).ok()?;
        if header & 1 == 0 {
            let (value, after) = rest.split_at_checked(value_bytes)?;
            rest = after;
            let value = value.iter().rev().fold(0u32, |n, byte| n << 8 | u32::from(*byte));
            (run > 0).then_some(())?;
            out.extend(std::iter::repeat_n(value, run.min(left)));
        } else {
            let (packed, after) = rest.split_at_checked(run.checked_mul(width as usize)?.min(rest.len()))?;
            rest = after;
            unpack(packed, width, run.checked_mul(8)?.min(left), &mut out)?;
            (run > 0).then_some(())?;
        }
    }
    Some(out)
}

fn unpack(bytes: &[u8], width: u32, count: usize, out: &mut Vec<u32>) -> Option<()> {
    if width == 0 {
        out.extend(std::iter::repeat_n(0, count));
        return Some(());
    }
    let needed = (count as u64 * u64::from(width)).div_ceil(8);
    (bytes.len() as u64 >= needed).then_some(())?;
    let mask = if width == 32 { u32::MAX } else { (1 << width) - 1 };
    let (mut buffer, mut held) = (0u64, 0u32);
    let mut bytes = bytes.iter();
    for _ in 0..count {
        while held < width {
            buffer |= u64::from(*bytes.next()?) << held;
            held += 8;
        }
        out.push(buffer as u32 & mask);
        buffer >>= width;
        held -= width;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(values: &[Option<&str>]) -> BytesPage {
        let definition: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
        let there = values.iter().flatten().map(|value| ByteArray::from(*value));
        BytesPage::from_values(&definition, there).unwrap()
    }

    #[test]
    fn a_search_over_a_page_finds_values_and_nothing_across_them() {
        let check = |values: &[Option<&str>], needle: &str, expect: &[usize]| {
            let mut found = Vec::new();
            page(values).find(&Finder::new(needle), |row| found.push(row));
            assert_eq!(found, expect, "{values:?} {needle}");
        };
        check(&[Some("abc"), None, Some(""), Some("cab"), Some("xab")], "ab", &[0, 3, 4]);
        check(&[Some("a"), Some("b")], "ab", &[]);
        check(&[Some("a"), Some(""), None, Some("bab")], "ab", &[3]);
        check(&[Some("aaa"), Some("aa")], "aa", &[0, 1]);
        check(&[Some("xa"), Some("aa")], "aa", &[1]);
        check(&[], "a", &[]);
    }

    #[test]
    fn packed_deltas_are_read() {
        let check = |bytes: &[u8], count, expect: Option<(&[i64], &[u8])>| {
            let read = delta_packed(bytes, count);
            assert_eq!(read.as_ref().map(|(read, rest)| (read.as_slice(), *rest)), expect, "{bytes:?}");
        };
        // The two examples of the format's definition, with something behind.
        let even = [0x80, 1, 4, 5, 2, 2, 0, 0, 0, 0, b'x'];
        check(&even, 5, Some((&[1, 2, 3, 4, 5], b"x")));
        let uneven = [0x80, 1, 4, 8, 14, 3, 2, 0, 0, 0, 0xc0, 0x3f, 0, 0, 0, 0, 0, 0, b'x'];
        check(&uneven, 8, Some((&[7, 5, 3, 1, 2, 3, 4, 5], b"x")));
        check(&[0x80, 1, 4, 0, 0], 0, Some((&[], &[])));
        check(&even, 4, None);
        check(&[0x80, 1, 3, 5, 2, 2, 0, 0, 0, 0], 5, None);
        check(&[0, 0, 5, 2], 5, None);
        (0..uneven.len() - 1).for_each(|len| check(&uneven[..len], 8, None));
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
