//! Columns of numbers, read at chosen rows: what [`super::columns`] reads through the Parquet crate's general readers,
//! which make a level of every row and hand values through three buffers. Only for the encodings that parts are written
//! in; others are read the general way.

use std::ops::Range;

use parquet::basic::Encoding;
use parquet::column::page::Page;

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

/// Hands the integers of a column at these rows, ascending and apart, to `sink`; says which rows have one. In a column
/// of 32 bits no two neighbours may differ by more than 32 bits hold: what wrapped around is not wrapped back.
pub(crate) fn integers(
    group: &GroupReader<'_>,
    column: usize,
    ranges: &[Range<usize>],
    sink: &mut impl Sink,
) -> Result<Presence, PartError> {
    if !group.is_all_encoded(column, Encoding::DELTA_BINARY_PACKED) {
        let column = group.column_rows(column, ranges)?;
        let presence = presence_of(&column.definition, column.values.len());
        match column.values {
            Values::I32(values) => sink.list(&values.into_iter().map(i64::from).collect::<Vec<_>>()),
            Values::I64(values) => sink.list(&values),
            _ => return Err(damaged("a column is not of integers")),
        }
        return Ok(presence);
    }
    let mut presence = Presence::default();
    for_pages(group, column, ranges, |page, ranges| {
        let short = || damaged("a column has fewer values than its rows");
        let mut deltas = None;
        walk(&page.levels, ranges, &mut presence, |skip, take| {
            let deltas = match &mut deltas {
                Some(deltas) => deltas,
                none => none.insert(Deltas::new(page.values).ok_or_else(short)?),
            };
            deltas.skip(skip).and_then(|()| deltas.take(take, sink)).ok_or_else(short)
        })
    })?;
    Ok(presence)
}

/// As [`integers`], for doubles.
pub(crate) fn doubles(
    group: &GroupReader<'_>,
    column: usize,
    ranges: &[Range<usize>],
    out: &mut Vec<f64>,
) -> Result<Presence, PartError> {
    if !group.is_all_encoded(column, Encoding::BYTE_STREAM_SPLIT) {
        let column = group.column_rows(column, ranges)?;
        let presence = presence_of(&column.definition, column.values.len());
        out.extend(column.into_f64()?);
        return Ok(presence);
    }
    let mut presence = Presence::default();
    for_pages(group, column, ranges, |page, ranges| {
        let count = page.values.len() / 8;
        let mut at = 0;
        walk(&page.levels, ranges, &mut presence, |skip, take| {
            let from = at + skip;
            at = from + take;
            join(page.values, count, from..at, out)
                .ok_or_else(|| damaged("a column has fewer values than its rows"))
        })
    })?;
    Ok(presence)
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

/// A data page, taken apart.
struct NumberPage<'a> {
    levels: Levels,
    values: &'a [u8],
}

/// Hands every page that holds wanted rows to `see`, with these rows as positions in the page.
fn for_pages(
    group: &GroupReader<'_>,
    column: usize,
    ranges: &[Range<usize>],
    mut see: impl FnMut(&NumberPage<'_>, &[Range<usize>]) -> Result<(), PartError>,
) -> Result<(), PartError> {
    let Some(end) = ranges.last().map(|last| last.end) else { return Ok(()) };
    let (mut pages, mut start, mut left, mut inside) = (group.pages(column)?, 0, ranges, Vec::new());
    while start < end {
        let next = pages.peek_next_page()?.filter(|next| !next.is_dict);
        let rows = next.and_then(|next| next.num_rows.or(next.num_levels));
        let rows = rows.ok_or_else(|| damaged("a column has fewer rows than its row group"))?;
        let stop = start + rows;
        let passed = left.iter().take_while(|range| range.end <= start).count();
        left = left.get(passed..).unwrap_or_default();
        let here = left.iter().take_while(|range| range.start < stop);
        inside.clear();
        inside.extend(here.map(|range| range.start.max(start) - start..range.end.min(stop) - start));
        if inside.is_empty() {
            pages.skip_next_page()?;
        } else {
            let Some(Page::DataPage { buf, num_values, .. }) = pages.get_next_page()? else {
                return Err(damaged("a page of numbers is of an unexpected form"));
            };
            if num_values as usize != rows {
                return Err(damaged("a page of numbers has more values than rows"));
            }
            let taken = take_apart(&buf, rows, group.is_optional(column));
            let (levels, values) = taken.ok_or_else(|| damaged("a page of numbers has malformed levels"))?;
            see(&NumberPage { levels, values }, &inside)?;
        }
        start = stop;
    }
    Ok(())
}

/// The levels of a page and the values behind them.
fn take_apart(bytes: &[u8], rows: usize, is_optional: bool) -> Option<(Levels, &[u8])> {
    if !is_optional {
        return Some((vec![(true, rows)], bytes));
    }
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    let (levels, values) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    Some((read_levels(levels, rows)?, values))
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

/// For every stretch of wanted rows with values: how many values to pass over and how many to take.
fn walk(
    levels: &[(bool, usize)],
    ranges: &[Range<usize>],
    presence: &mut Presence,
    mut take: impl FnMut(usize, usize) -> Result<(), PartError>,
) -> Result<(), PartError> {
    let (mut stretches, mut at, mut skip) = (levels.iter(), 0, 0);
    let mut stretch = (false, 0);
    for range in ranges {
        while at < range.end {
            if stretch.1 == 0 {
                let next = stretches.next();
                stretch = *next.ok_or_else(|| damaged("a page has fewer levels than rows"))?;
            }
            let is_wanted = at >= range.start;
            let border = if is_wanted { range.end } else { range.start };
            let rows = stretch.1.min(border - at);
            match (is_wanted, stretch.0) {
                (true, true) => take(std::mem::take(&mut skip), rows)?,
                (false, true) => skip += rows,
                (_, false) => {}
            }
            if is_wanted {
                presence.add(stretch.0, rows);
            }
            stretch.1 -= rows;
            at += rows;
        }
    }
    Ok(())
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
        vfs.install(&name.path(), &bytes);
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
                let presence = integers(&group, column, &ranges, &mut list).unwrap();
                prop_assert_eq!(&integers(&group, column, &ranges, &mut repeats).unwrap(), &presence);
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
            let presence = doubles(&group, 3, &ranges, &mut list).unwrap();
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
            let (mut presence, mut taken) = (Presence::default(), Vec::new());
            let done = walk(levels, ranges, &mut presence, |skip, take| {
                taken.push((skip, take));
                Ok(())
            });
            assert!(done.is_ok());
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
