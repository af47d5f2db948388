//! The values of one field in one row group, as they are in the file: codes of a dictionary, numbers, or bytes.

use parquet::basic::Encoding;
use parquet::column::page::{Page, PageReader};

use super::index::PAGE_ROWS;
use super::kind::{Kind, push_hex};
use crate::parts::columns::{GroupReader, Values, spread};
use crate::parts::{PartError, damaged};

/// The code of a row without a value.
pub(crate) const ABSENT: u32 = u32::MAX;

/// A column of values.
pub(crate) enum Cells {
    /// Few different texts, and per row which.
    Dictionary { texts: Vec<Box<str>>, codes: Vec<u32> },
    /// A number per row; what stands in rows without one means nothing.
    Numbers { values: Vec<i64>, present: Vec<bool> },
    /// Bytes per row, pages as they are needed.
    Bytes { values: Vec<Option<bytes::Bytes>>, loaded: Vec<bool> },
}

impl Cells {
    /// Reads a column. Of bytes that are no dictionary nothing is read yet; see [`Self::load`].
    pub(crate) fn open(
        group: &GroupReader<'_>,
        leaf: usize,
        kind: &Kind,
        rows: usize,
    ) -> Result<Self, PartError> {
        if let Some((texts, codes)) = dictionary(group.pages(leaf)?, kind, rows)? {
            return Ok(Self::Dictionary { texts, codes });
        }
        match kind {
            Kind::Text | Kind::Hex { .. } => {
                Ok(Self::Bytes { values: vec![None; rows], loaded: vec![false; rows.div_ceil(PAGE_ROWS)] })
            }
            Kind::Int { .. } | Kind::Decimal { .. } => {
                let column = group.column(leaf)?;
                let definition = column.definition.clone();
                let all = column.into_i64()?;
                if all.len() == rows {
                    return Ok(Self::Numbers { values: all, present: vec![true; rows] });
                }
                let cells = spread(&definition, all);
                let present: Vec<bool> = cells.iter().map(Option::is_some).collect();
                let values: Vec<i64> = cells.into_iter().map(Option::unwrap_or_default).collect();
                let complete = values.len() == rows;
                complete
                    .then_some(Self::Numbers { values, present })
                    .ok_or_else(|| damaged("a field has too few rows"))
            }
        }
    }

    /// Has the values of a page at hand.
    pub(crate) fn load(
        &mut self,
        group: &GroupReader<'_>,
        leaf: usize,
        page: usize,
    ) -> Result<(), PartError> {
        let Self::Bytes { values, loaded } = self else { return Ok(()) };
        let Some(is_loaded) = loaded.get_mut(page).filter(|loaded| !**loaded) else { return Ok(()) };
        *is_loaded = true;
        let start = page * PAGE_ROWS;
        let end = (start + PAGE_ROWS).min(values.len());
        let column = group.column_rows(leaf, std::slice::from_ref(&(start..end)))?;
        let definition = column.definition;
        let found: Vec<bytes::Bytes> = match column.values {
            Values::Bytes(values) => values.iter().map(bytes_in).collect(),
            Values::Fixed(values) => values.iter().map(|value| bytes_in(value)).collect(),
            _ => return Err(damaged("a field is not of byte strings")),
        };
        let cells = spread(&definition, found);
        let Some(slots) = values.get_mut(start..end).filter(|slots| slots.len() == cells.len()) else {
            return Err(damaged("a page of a field has too few rows"));
        };
        slots.iter_mut().zip(cells).for_each(|(slot, cell)| *slot = cell);
        Ok(())
    }

    /// Appends the text of a row; false when it has none.
    pub(crate) fn push_text(&self, kind: &Kind, row: usize, out: &mut String) -> Result<bool, PartError> {
        match self {
            Self::Dictionary { texts, codes } => {
                let Some(code) = codes.get(row).filter(|code| **code != ABSENT) else { return Ok(false) };
                let text = texts.get(*code as usize).ok_or_else(|| damaged("a code is in no dictionary"))?;
                out.push_str(text);
            }
            Self::Numbers { values, present } => match (values.get(row), present.get(row)) {
                (Some(value), Some(true)) => kind.format(*value, out),
                _ => return Ok(false),
            },
            Self::Bytes { values, .. } => match values.get(row) {
                Some(Some(bytes)) if matches!(kind, Kind::Hex { .. }) => push_hex(bytes, out),
                Some(Some(bytes)) => {
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
            Self::Dictionary { texts, codes } => codes.len() * 4 + texts.len() * 32,
            Self::Numbers { values, .. } => values.len() * 9,
            Self::Bytes { values, loaded } => {
                let pages = loaded.iter().filter(|loaded| **loaded).count();
                values.len() * size_of::<Option<bytes::Bytes>>() + pages * PAGE_ROWS * 64
            }
        }
    }
}

fn bytes_in(value: &parquet::data_type::ByteArray) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(value.data())
}

/// Codes of a column that is a dictionary all through; none for others.
type DictionaryCells = (Vec<Box<str>>, Vec<u32>);

fn dictionary(
    mut pages: Box<dyn PageReader>,
    kind: &Kind,
    rows: usize,
) -> Result<Option<DictionaryCells>, PartError> {
    let is_dictionary = pages.peek_next_page()?.is_some_and(|page| page.is_dict);
    if !is_dictionary {
        return Ok(None);
    }
    let Some(Page::DictionaryPage { buf, num_values, .. }) = pages.get_next_page()? else { return Ok(None) };
    let texts = dictionary_texts(&buf, num_values as usize, kind)
        .ok_or_else(|| damaged("a dictionary does not hold the values it claims"))?;
    let mut codes = Vec::with_capacity(rows);
    while let Some(page) = pages.get_next_page()? {
        let Page::DataPage { buf, num_values, encoding, .. } = page else { return Ok(None) };
        let is_coded = matches!(encoding, Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY);
        if !is_coded {
            return Ok(None);
        }
        page_codes(&buf, num_values as usize, &mut codes)
            .ok_or_else(|| damaged("a page of codes is malformed"))?;
    }
    let in_range = codes.iter().all(|code| *code == ABSENT || (*code as usize) < texts.len());
    (codes.len() == rows && in_range)
        .then_some(Some((texts, codes)))
        .ok_or_else(|| damaged("a column of codes does not fit its rows or its dictionary"))
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
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    let (levels, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    let defined = hybrid(levels, 1, rows)?;
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
