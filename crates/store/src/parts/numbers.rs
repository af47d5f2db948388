//! Columns of numbers, read at chosen rows: what [`super::columns`] reads through the Parquet crate's general readers,
//! which make a level of every row and hand values through three buffers. Only for the encodings that parts are written
//! in; others are read the general way.

use std::ops::Range;

use bytes::Bytes;
use parquet::basic::Encoding;

use super::columns::{GroupReader, Values};
use super::deltas::{Deltas, Sink};
use super::{PartError, damaged};

/// Stretches of rows with a value and of rows without.
type Levels = Vec<(bool, usize)>;

/// Which of the rows asked for have a value: stretches, neighbours different.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Presence(pub(crate) Levels);

impl Presence {
    fn add(&mut self, is_there: bool, rows: usize) {
        match self.0.last_mut().filter(|(last, _)| *last == is_there) {
            Some((_, count)) => *count += rows,
            None if rows > 0 => self.0.push((is_there, rows)),
            None => {}
        }
    }

    /// True when no row is without a value.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self.0.as_slice(), [] | [(true, _)])
    }
}

/// The stretches of levels, one per row.
fn presence_of(definition: &[i16], rows: usize) -> Presence {
    let mut presence = Presence::default();
    if definition.is_empty() {
        presence.add(true, rows);
    }
    definition.chunk_by(|a, b| a == b).for_each(|equal| presence.add(equal.first() == Some(&1), equal.len()));
    presence
}

/// A column of numbers, read from its first row on: each read begins where the one before ended or later.
pub(crate) struct NumberColumn {
    index: usize,
    is_optional: bool,
    /// False when the column is in other encodings or other pages, which the general readers know.
    is_known: bool,
    open: Option<OpenPage>,
}

impl NumberColumn {
    /// A column of integers.
    pub(crate) fn of_integers(group: &GroupReader<'_>, index: usize) -> Self {
        Self::open(group, index, Encoding::DELTA_BINARY_PACKED)
    }

    /// A column of doubles.
    pub(crate) fn of_doubles(group: &GroupReader<'_>, index: usize) -> Self {
        Self::open(group, index, Encoding::BYTE_STREAM_SPLIT)
    }

    fn open(group: &GroupReader<'_>, index: usize, encoding: Encoding) -> Self {
        let is_known = group.is_all_encoded(index, encoding) && group.has_known_pages(index);
        Self { index, is_optional: group.is_optional(index), is_known, open: None }
    }

    /// Hands the integers at these rows, ascending and apart, to `sink`; says which rows have one. In a column of 32
    /// bits no two neighbours may differ by more than 32 bits hold: what wrapped around is not wrapped back.
    pub(crate) fn integers(
        &mut self,
        group: &GroupReader<'_>,
        ranges: &[Range<usize>],
        sink: &mut impl Sink,
    ) -> Result<Presence, PartError> {
        if self.is_known {
            return self.read(group, ranges, |values, skip, take| values.integers(skip, take, sink));
        }
        let column = group.column_rows(self.index, ranges)?;
        let presence = presence_of(&column.definition, column.values.len());
        match column.values {
            Values::I32(values) => sink.list(&values.into_iter().map(i64::from).collect::<Vec<_>>()),
            Values::I64(values) => sink.list(&values),
            _ => return Err(damaged("a column is not of integers")),
        }
        Ok(presence)
    }

    /// As [`Self::integers`], for doubles.
    pub(crate) fn doubles(
        &mut self,
        group: &GroupReader<'_>,
        ranges: &[Range<usize>],
        out: &mut Vec<f64>,
    ) -> Result<Presence, PartError> {
        if self.is_known {
            return self.read(group, ranges, |values, skip, take| values.doubles(skip, take, out));
        }
        let column = group.column_rows(self.index, ranges)?;
        let presence = presence_of(&column.definition, column.values.len());
        out.extend(column.into_f64()?);
        Ok(presence)
    }

    fn read(
        &mut self,
        group: &GroupReader<'_>,
        ranges: &[Range<usize>],
        mut take: impl FnMut(&mut PageValues, usize, usize) -> Option<()>,
    ) -> Result<Presence, PartError> {
        let mut presence = Presence::default();
        for range in ranges {
            let mut at = range.start;
            while at < range.end {
                let page = self.page_of(group, at)?;
                let end = range.end.min(page.end);
                let done = page.walk(at..end, &mut presence, &mut take);
                done.ok_or_else(|| damaged("a column has fewer values than its rows"))?;
                at = end;
            }
        }
        Ok(presence)
    }

    /// The page that holds a row at or after the last one read.
    fn page_of(&mut self, group: &GroupReader<'_>, row: usize) -> Result<&mut OpenPage, PartError> {
        if self.open.as_ref().is_none_or(|page| page.end <= row) {
            let (rows, page) = group.page_of_row(self.index, row)?;
            let page = OpenPage::new(&page.bytes, rows, self.is_optional);
            self.open = Some(page.ok_or_else(|| damaged("a page of numbers has malformed levels"))?);
        }
        self.open.as_mut().ok_or_else(|| damaged("a column has fewer rows than its row group"))
    }
}

/// A data page at some row.
struct OpenPage {
    /// The next row, and the one behind the last.
    at: usize,
    end: usize,
    levels: std::vec::IntoIter<(bool, usize)>,
    /// What is left of the stretch of levels at work.
    stretch: (bool, usize),
    values: PageValues,
}

impl OpenPage {
    fn new(bytes: &Bytes, rows: Range<usize>, is_optional: bool) -> Option<Self> {
        let (levels, values) = take_apart(bytes, rows.len(), is_optional)?;
        let (levels, values) = (levels.into_iter(), PageValues { bytes: values, deltas: None, at: 0 });
        Some(Self { at: rows.start, end: rows.end, levels, stretch: (false, 0), values })
    }

    /// For every stretch of these rows with values: how many values to pass over and how many to take. `None` when the
    /// rows lie before the next one or there is less than there should be.
    fn walk(
        &mut self,
        rows: Range<usize>,
        presence: &mut Presence,
        take: &mut impl FnMut(&mut PageValues, usize, usize) -> Option<()>,
    ) -> Option<()> {
        let mut skip = 0;
        (self.at <= rows.start).then_some(())?;
        while self.at < rows.end {
            if self.stretch.1 == 0 {
                self.stretch = self.levels.next()?;
            }
            let is_wanted = self.at >= rows.start;
            let border = if is_wanted { rows.end } else { rows.start };
            let these = self.stretch.1.min(border - self.at);
            match (is_wanted, self.stretch.0) {
                (true, true) => take(&mut self.values, std::mem::take(&mut skip), these)?,
                (false, true) => skip += these,
                (_, false) => {}
            }
            if is_wanted {
                presence.add(self.stretch.0, these);
            }
            self.stretch.1 -= these;
            self.at += these;
        }
        // Values passed over before rows that turned out to have none.
        if skip > 0 { take(&mut self.values, skip, 0) } else { Some(()) }
    }
}

/// The values of a page.
struct PageValues {
    bytes: Bytes,
    /// Where integers are read, once one was asked for.
    deltas: Option<Deltas>,
    /// Doubles read or passed over.
    at: usize,
}

impl PageValues {
    fn integers(&mut self, skip: usize, take: usize, sink: &mut impl Sink) -> Option<()> {
        let deltas = match &mut self.deltas {
            Some(deltas) => deltas,
            none => none.insert(Deltas::new(self.bytes.clone())?),
        };
        deltas.skip(skip)?;
        deltas.take(take, sink)
    }

    fn doubles(&mut self, skip: usize, take: usize, out: &mut Vec<f64>) -> Option<()> {
        let from = self.at.checked_add(skip)?;
        self.at = from.checked_add(take)?;
        join(&self.bytes, self.bytes.len() / 8, from..self.at, out)
    }
}

/// Appends doubles whose first bytes stand together, then all second bytes, and so on.
fn join(bytes: &[u8], count: usize, rows: Range<usize>, out: &mut Vec<f64>) -> Option<()> {
    let streams: [&[u8]; 8] = std::array::from_fn(|place| {
        let start = place * count;
        bytes.get(start + rows.start..start + rows.end).unwrap_or_default()
    });
    if rows.end > count || streams.iter().any(|stream| stream.len() != rows.len()) {
        return None;
    }
    let [a, b, c, d, e, f, g, h] = streams;
    let low = a.iter().zip(b).zip(c.iter().zip(d));
    let high = e.iter().zip(f).zip(g.iter().zip(h));
    out.extend(
        low.zip(high)
            .map(|(((a, b), (c, d)), ((e, f), (g, h)))| f64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h])),
    );
    Some(())
}

/// The levels of a page and the values behind them.
fn take_apart(bytes: &Bytes, rows: usize, is_optional: bool) -> Option<(Levels, Bytes)> {
    if !is_optional {
        return Some((vec![(true, rows)], bytes.clone()));
    }
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    let levels = rest.get(..u32::from_le_bytes(*len) as usize)?;
    Some((read_levels(levels, rows)?, bytes.slice(len.len() + levels.len()..)))
}

/// Levels of one bit, in Parquet's hybrid of runs and packed bits.
fn read_levels(bytes: &[u8], rows: usize) -> Option<Levels> {
    let (mut levels, mut known) = (Presence::default(), 0);
    let mut rest = kenning_codec::bytes::Decoder::new(bytes);
    while known < rows {
        let header = rest.varint()?;
        let run = usize::try_from(header >> 1).ok().filter(|run| *run > 0)?;
        if header & 1 == 0 {
            let these = run.min(rows - known);
            levels.add(rest.byte()? == 1, these);
            known += these;
            continue;
        }
        // The last group may be cut where its rows end.
        for byte in rest.raw(run.min(rest.remaining()))? {
            for bit in 0..8.min(rows - known) {
                levels.add(byte >> bit & 1 == 1, 1);
                known += 1;
            }
        }
    }
    Some(levels.0)
}

#[cfg(test)]
mod tests {
    use kenning_model::TenantId;
    use kenning_stdx::vfs::sim::SimVfs;
    use proptest::prelude::*;

    use super::*;
    use crate::parts::PartTable;
    use crate::parts::columns::{Column, Layout, TableReader, TableWriter, VERSION, Written};
    use crate::parts::deltas::Repeats;
    use crate::parts::name::PartName;

    const LAYOUT: Layout<'_> = Layout {
        schema: "message numbers { required int64 a; optional int64 b; optional int32 c; optional double d; }",
        encodings: &[
            ("a", Encoding::DELTA_BINARY_PACKED),
            ("b", Encoding::DELTA_BINARY_PACKED),
            ("c", Encoding::DELTA_BINARY_PACKED),
            ("d", Encoding::BYTE_STREAM_SPLIT),
        ],
        plain: &[],
        bounded: &[],
        blooms: &[],
    };

    /// A file with one row group of these columns.
    fn written(rows: &[(i64, bool)], page_rows: usize) -> TableReader {
        let mut writer = TableWriter::with_pages(&LAYOUT, page_rows, VERSION).unwrap();
        let there = || rows.iter().map(|(value, is_there)| is_there.then_some(*value));
        let columns = [
            Column::required(Values::I64(rows.iter().map(|(value, _)| *value).collect())),
            Column::optional(there(), Values::I64),
            Column::optional(there().map(|value| Some(i32::from(value? as i16))), Values::I32),
            Column::optional(there().map(|value| Some(f64::from_bits(value? as u64))), Values::F64),
        ];
        writer.write_group(&columns).unwrap();
        let Written { bytes, tail_len, tail_crc } = writer.finish().unwrap();
        let (tenant, table) = (TenantId::default_tenant(), PartTable::Samples);
        let name = PartName { tenant, table, order: 1, id: 1, tail_len, tail_crc };
        let vfs = SimVfs::new(1);
        vfs.install(&name.path(), &bytes.iter().collect::<Vec<_>>().concat());
        TableReader::open(&vfs, &name).unwrap()
    }

    /// Rows in stretches: how many, the widest difference between neighbours, whether each is that, whether they are
    /// there.
    fn rows() -> impl Strategy<Value = Vec<(i64, bool)>> {
        let stretch = (1usize..300, 0u32..64, any::<bool>(), any::<bool>(), any::<u64>());
        let all = (any::<i64>(), proptest::collection::vec(stretch, 1..6));
        all.prop_map(|(first, stretches)| {
            let mut rows = Vec::new();
            let mut value = first;
            for (count, bits, is_even, is_there, seed) in stretches {
                let (mut random, widest) = (seed, (1i64 << bits).wrapping_sub(1));
                for _ in 0..count {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    value = value.wrapping_add(if is_even { widest } else { (random >> 1) as i64 & widest });
                    rows.push((value, is_there));
                }
            }
            rows
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn chosen_rows_are_what_the_general_reader_gives(
            rows in rows(),
            page_rows in 1usize..2000,
            turns in proptest::collection::vec((0usize..200, 1usize..400), 1..6),
        ) {
            let (mut at, mut ranges) = (0, Vec::new());
            for (skip, take) in turns {
                let range = (at + skip).min(rows.len())..(at + skip + take).min(rows.len());
                at = range.end;
                if !range.is_empty() {
                    ranges.push(range);
                }
            }
            let reader = written(&rows, page_rows);
            let group = reader.group(0).unwrap();
            let wanted: usize = ranges.iter().map(Range::len).sum();
            for column in 0..3 {
                let (mut list, mut repeats) = (Vec::new(), Repeats::default());
                let mut reader = NumberColumn::of_integers(&group, column);
                prop_assert!(reader.is_known);
                let presence = reader.integers(&group, &ranges, &mut repeats).unwrap();
                let mut reader = NumberColumn::of_integers(&group, column);
                for range in &ranges {
                    reader.integers(&group, std::slice::from_ref(range), &mut list).unwrap();
                }
                let spread: Vec<i64> =
                    repeats.0.iter().flat_map(|(value, count)| std::iter::repeat_n(*value, *count)).collect();
                prop_assert_eq!(&spread, &list);
                let plain = group.column_rows(column, &ranges).unwrap();
                prop_assert_eq!(presence, presence_of(&plain.definition, wanted));
                let plain = match plain.values {
                    Values::I32(values) => values.into_iter().map(i64::from).collect(),
                    Values::I64(values) => values,
                    other => panic!("{other:?}"),
                };
                prop_assert_eq!(list, plain);
            }
            let mut list = Vec::new();
            let presence =
                NumberColumn::of_doubles(&group, 3).doubles(&group, &ranges, &mut list).unwrap();
            let plain = group.column_rows(3, &ranges).unwrap();
            prop_assert_eq!(presence, presence_of(&plain.definition, wanted));
            let bits = |values: Vec<f64>| values.into_iter().map(f64::to_bits).collect::<Vec<_>>();
            prop_assert_eq!(bits(list), bits(plain.into_f64().unwrap()));
        }
    }

    #[test]
    fn levels_are_read_as_stretches() {
        let check = |bytes: &[u8], rows, expect: Option<&[(bool, usize)]>| {
            assert_eq!(read_levels(bytes, rows).as_deref(), expect, "{bytes:?}");
        };
        check(&[6, 1], 3, Some(&[(true, 3)]));
        check(&[6, 1, 4, 0], 5, Some(&[(true, 3), (false, 2)]));
        check(&[3, 0b0000_1101], 6, Some(&[(true, 1), (false, 1), (true, 2), (false, 2)]));
        check(&[4, 1, 3, 0b0000_0011], 5, Some(&[(true, 4), (false, 1)]));
        check(&[0xc8, 1, 1], 3, Some(&[(true, 3)]));
        check(&[6], 3, None);
        check(&[0, 1], 3, None);
        check(&[3], 3, None);
        check(&[], 1, None);
    }

    #[test]
    fn wanted_rows_are_found_among_stretches() {
        let check = |levels: &[(bool, usize)],
                     ranges: &[Range<usize>],
                     expect: &[(usize, usize)],
                     there: &[(bool, usize)]| {
            let values = PageValues { bytes: Bytes::new(), deltas: None, at: 0 };
            let mut page = OpenPage {
                at: 0,
                end: 100,
                levels: Vec::from(levels).into_iter(),
                stretch: (false, 0),
                values,
            };
            let (mut presence, mut taken) = (Presence::default(), Vec::new());
            for range in ranges {
                let done = page.walk(range.clone(), &mut presence, &mut |_, skip, take| {
                    taken.push((skip, take));
                    Some(())
                });
                assert_eq!(done, Some(()));
            }
            assert_eq!((taken.as_slice(), presence.0.as_slice()), (expect, there));
        };
        check(&[(true, 10)], &[2..4, 7..10], &[(2, 2), (3, 3)], &[(true, 5)]);
        check(
            &[(true, 3), (false, 4), (true, 3)],
            &[1..4, 4..9],
            &[(1, 2), (0, 2)],
            &[(true, 2), (false, 4), (true, 2)],
        );
        check(&[(false, 4), (true, 4)], &[0..2, 6..8], &[(2, 2)], &[(false, 2), (true, 2)]);
        check(&[(true, 4), (false, 2)], &[4..5, 5..6], &[(4, 0)], &[(false, 2)]);
        check(&[(false, 4)], &[1..2, 3..4], &[], &[(false, 2)]);
    }

    #[test]
    fn split_doubles_are_joined() {
        let values = [1.5, f64::NAN, -0.0, 1e300];
        let bytes: Vec<u8> = (0..8)
            .flat_map(|place| values.iter().map(move |value: &f64| value.to_le_bytes()[place]))
            .collect();
        let mut out = Vec::new();
        assert_eq!(join(&bytes, 4, 1..4, &mut out), Some(()));
        assert!(out.iter().zip(&values[1..]).all(|(a, b)| a.to_bits() == b.to_bits()) && out.len() == 3);
        assert_eq!(join(&bytes, 4, 3..5, &mut out), None);
    }
}
