//! Row groups of samples with a row per series, as version 6 of the table has them: how many samples, the times of the
//! first and the last, the distance between them where it is always the same, and the samples themselves, packed
//! ([`kenning_codec::run`]). A row per sample in Parquet's own encodings, as versions 1 to 4 had it, took a tenth more:
//! Parquet packs at whole bits, 128 numbers at a time whatever series they are of.

use std::ops::Range;

use bytes::Bytes;
use kenning_codec::bytes::Encoder;
use kenning_codec::run;
use kenning_model::{LabelSet, Millis};
use parquet::basic::Encoding;
use parquet::data_type::ByteArray;

use super::Span;
use super::samples::Flat;
use crate::logs::packed::delta_packed;
use crate::parts::columns::{Column, GroupReader, Layout, TableWriter, VERSION_SAMPLES, Values};
use crate::parts::labels::{MapBuilder, Regular, SeriesRun, read_sets};
use crate::parts::part::Draft;
use crate::parts::{PartError, PartTable, damaged};

/// Samples of a row group: few enough to hold decoded, many enough to pay for its place in the footer.
const GROUP_ROWS: usize = 128 << 10;

/// Series of a row group: where they have few samples each, their labels are what takes memory.
const GROUP_SERIES: usize = 16 << 10;

/// Bytes of a page: what is read for the samples of one series.
const PAGE_BYTES: usize = 32 << 10;

const LAYOUT: Layout = Layout {
    schema: "message samples {
        required group labels (MAP) { repeated group key_value {
            required binary key (STRING); required binary value (STRING); } }
        required int32 count;
        required int64 start (TIMESTAMP(MILLIS,true));
        required int64 end (TIMESTAMP(MILLIS,true));
        required int64 step;
        required binary times;
        required binary values;
    }",
    encodings: &[
        ("count", Encoding::DELTA_BINARY_PACKED),
        ("start", Encoding::DELTA_BINARY_PACKED),
        ("end", Encoding::DELTA_BINARY_PACKED),
        ("step", Encoding::DELTA_BINARY_PACKED),
        ("times", Encoding::DELTA_LENGTH_BYTE_ARRAY),
        ("values", Encoding::DELTA_LENGTH_BYTE_ARRAY),
    ],
    plain: &[],
    bounded: &["start", "end"],
    blooms: &[],
};

const LABEL_NAMES: usize = 0;
const LABEL_VALUES: usize = 1;
const COUNT: usize = 2;
const START: usize = 3;
const END: usize = 4;
const STEP: usize = 5;
const TIMES: usize = 6;
const VALUES: usize = 7;

/// Writes series in label order.
pub(crate) struct SampleWriter {
    table: TableWriter,
    group: Group,
    span: Span,
}

/// The columns of a row group.
#[derive(Default)]
struct Group {
    /// Samples of all series.
    rows: usize,
    labels: MapBuilder,
    counts: Vec<i32>,
    starts: Vec<i64>,
    ends: Vec<i64>,
    steps: Vec<i64>,
    times: Vec<ByteArray>,
    values: Vec<ByteArray>,
}

impl SampleWriter {
    pub(crate) fn new() -> Result<Self, PartError> {
        let table = TableWriter::with_page_bytes(&LAYOUT, PAGE_BYTES, VERSION_SAMPLES)?;
        Ok(Self { table, group: Group::default(), span: Span::default() })
    }

    /// Adds a series with its samples by time.
    pub(crate) fn push(&mut self, labels: &LabelSet, samples: &[(Millis, f64)]) -> Result<(), PartError> {
        let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return Ok(()) };
        let mut left = samples;
        while !left.is_empty() {
            let room = GROUP_ROWS.saturating_sub(self.group.rows);
            let (now, later) = left.split_at(room.min(left.len()));
            self.group.push(labels, now);
            left = later;
            if self.group.rows >= GROUP_ROWS || self.group.counts.len() >= GROUP_SERIES {
                self.write_group()?;
            }
        }
        self.span.add_all(first.0.to_nanos(), last.0.to_nanos(), samples.len() as u64);
        Ok(())
    }

    fn write_group(&mut self) -> Result<(), PartError> {
        let group = std::mem::take(&mut self.group);
        let [keys, texts] = group.labels.finish();
        self.table.write_group(&[
            keys,
            texts,
            Column::required(Values::I32(group.counts)),
            Column::required(Values::I64(group.starts)),
            Column::required(Values::I64(group.ends)),
            Column::required(Values::I64(group.steps)),
            Column::required(Values::Bytes(group.times)),
            Column::required(Values::Bytes(group.values)),
        ])
    }

    /// The finished part; `None` without samples.
    pub(crate) fn finish(mut self) -> Result<Option<Draft>, PartError> {
        if self.group.rows > 0 {
            self.write_group()?;
        }
        let Some((time, rows)) = self.span.range() else { return Ok(None) };
        Ok(Some(Draft { table: PartTable::Samples, written: self.table.finish()?, rows, time }))
    }
}

impl Group {
    fn push(&mut self, labels: &LabelSet, samples: &[(Millis, f64)]) {
        let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return };
        let times: Vec<i64> = samples.iter().map(|(time, _)| time.0).collect();
        let values: Vec<f64> = samples.iter().map(|(_, value)| *value).collect();
        let regular = Regular::of(&times);
        self.rows += samples.len();
        self.labels.push(labels, 1);
        self.counts.push(samples.len() as i32);
        self.starts.push(first.0.0);
        self.ends.push(last.0.0);
        self.steps.push(regular.map_or(0, Regular::step));
        self.times.push(match regular {
            Some(_) => ByteArray::from(Vec::new()),
            None => packed(|out| run::put_numbers(&times, out)),
        });
        self.values.push(packed(|out| run::put_values(&values, out)));
    }
}

fn packed(put: impl FnOnce(&mut Encoder)) -> ByteArray {
    let mut out = Encoder::default();
    put(&mut out);
    ByteArray::from(out.into_bytes())
}

/// True for row groups of this form.
pub(crate) fn is_of_runs(group: &GroupReader<'_>) -> bool {
    group.is_named(VALUES, "values")
}

/// The times of the first and the last sample of a row group, when the footer holds them.
pub(crate) fn bounds(group: &GroupReader<'_>) -> Option<(i64, i64)> {
    Some((group.bounds(START)?.0, group.bounds(END)?.1))
}

/// The series of a row group; their rows are counted as if each sample had one.
pub(crate) fn all_runs(group: &GroupReader<'_>) -> Result<Vec<SeriesRun>, PartError> {
    let sets = read_sets(group.column(LABEL_NAMES)?, group.column(LABEL_VALUES)?)?;
    let counts = group.column(COUNT)?.into_i32()?;
    let integers = |column| group.column(column)?.into_i64();
    let (starts, ends, steps) = (integers(START)?, integers(END)?, integers(STEP)?);
    if [sets.len(), starts.len(), ends.len(), steps.len()] != [counts.len(); 4] {
        return Err(damaged("a column has fewer rows than its row group"));
    }
    let mut row = 0;
    let each = sets.into_iter().zip(counts).zip(starts.into_iter().zip(ends).zip(steps)).enumerate();
    let runs = each.map(|(place, ((labels, count), ((start, end), step)))| {
        let count = usize::try_from(count).ok().filter(|count| (1..=GROUP_ROWS).contains(count));
        let rows = row..row + count.ok_or_else(|| damaged("a series has no number of samples"))?;
        row = rows.end;
        let run = SeriesRun::new(labels, rows, place);
        if step != 0 {
            let regular = Regular::between(start, end, step, run.rows.len());
            run.learn(Some(regular.ok_or_else(|| damaged("a series ends where its step does not lead"))?));
        }
        Ok(run)
    });
    runs.collect()
}

/// The times of these runs, one list per run.
pub(crate) fn times(group: &GroupReader<'_>, runs: &[&SeriesRun]) -> Result<Vec<Vec<Millis>>, PartError> {
    let (mut columns, mut flat) = (RunColumns::default(), Flat::default());
    let each = runs.iter().map(|run| {
        flat.clear();
        let rows = columns.append_times(group, run, (i64::MIN, i64::MAX), &mut flat)?;
        debug_assert_eq!(rows.len(), flat.times.len());
        Ok(flat.times.iter().map(|time| Millis(*time)).collect())
    });
    each.collect()
}

/// The columns that samples are read from, run by run from the first on.
#[derive(Default)]
pub(crate) struct RunColumns {
    times: Strings<TIMES>,
    values: Strings<VALUES>,
}

impl RunColumns {
    /// Appends the times of a run from one to another, both included; gives their places in the run.
    fn append_times(
        &mut self,
        group: &GroupReader<'_>,
        run: &SeriesRun,
        (start, end): (i64, i64),
        flat: &mut Flat,
    ) -> Result<Range<usize>, PartError> {
        let count = run.rows.len();
        if let Some(regular) = run.regular() {
            let inside = regular.inside(count, start, end);
            flat.times.extend(inside.clone().map(|row| regular.at(row)));
            return Ok(inside);
        }
        let Flat { times, integers, scratch, .. } = flat;
        let packed = self.times.at(group, run.place)?;
        integers.clear();
        let read = run::take_numbers(&packed, count, 0..count, scratch, integers);
        read.filter(|()| integers.is_sorted())
            .ok_or_else(|| damaged("the times of a series are malformed"))?;
        let from = integers.partition_point(|time| *time < start);
        let to = integers.partition_point(|time| *time <= end).max(from);
        times.extend_from_slice(integers.get(from..to).unwrap_or_default());
        Ok(from..to)
    }
}

/// Appends the samples of these runs, which lie behind those read before, from one time to another, both included;
/// gives how many are of each run.
pub(crate) fn samples_in(
    group: &GroupReader<'_>,
    columns: &mut RunColumns,
    runs: &[&SeriesRun],
    range: (i64, i64),
    flat: &mut Flat,
) -> Result<Vec<usize>, PartError> {
    let mut counts = Vec::with_capacity(runs.len());
    for run in runs {
        let inside = columns.append_times(group, run, range, flat)?;
        counts.push(inside.len());
        if inside.is_empty() {
            continue;
        }
        let packed = columns.values.at(group, run.place)?;
        let Flat { values, scratch, .. } = &mut *flat;
        let read = run::take_values(&packed, run.rows.len(), inside, scratch, values);
        read.ok_or_else(|| damaged("the values of a series are malformed"))?;
    }
    Ok(counts)
}

/// A column of byte strings, of which a page is held.
#[derive(Default)]
struct Strings<const LEAF: usize> {
    rows: Range<usize>,
    bytes: Bytes,
    /// Where each begins, and the end of the last.
    places: Vec<usize>,
}

impl<const LEAF: usize> Strings<LEAF> {
    fn at(&mut self, group: &GroupReader<'_>, row: usize) -> Result<Bytes, PartError> {
        if !self.rows.contains(&row) {
            let (rows, page) = group.page_of_row(LEAF, row)?;
            let is_known = page.encoding == Encoding::DELTA_LENGTH_BYTE_ARRAY;
            let places = is_known.then(|| places(&page.bytes, rows.len())).flatten();
            self.places = places.ok_or_else(|| damaged("a page of packed samples is malformed"))?;
            (self.rows, self.bytes) = (rows, page.bytes);
        }
        match self.places.get(row - self.rows.start..) {
            Some([start, end, ..]) => Ok(self.bytes.slice(*start..*end)),
            _ => Err(damaged("a page of packed samples has too few rows")),
        }
    }
}

/// Where the byte strings of a page begin, and the end of the last: their lengths, packed, stand before all of them.
fn places(bytes: &[u8], count: usize) -> Option<Vec<usize>> {
    let mut lengths = Vec::new();
    let rest = delta_packed(bytes, count, &mut lengths)?;
    let mut end = bytes.len() - rest.len();
    let mut places = vec![end];
    for len in lengths {
        end = end.checked_add(usize::try_from(len).ok()?)?;
        places.push(end);
    }
    (end <= bytes.len()).then_some(places)
}

#[cfg(test)]
mod tests {
    use kenning_model::{TenantId, TimeRange};
    use kenning_stdx::vfs::sim::SimVfs;
    use proptest::prelude::*;

    use super::*;
    use crate::metrics::samples::{self, SampleColumns};
    use crate::parts::columns::TableReader;
    use crate::parts::name::PartName;

    type Series = (LabelSet, Vec<(Millis, f64)>);

    fn written(series: &[Series]) -> TableReader {
        let mut writer = SampleWriter::new().unwrap();
        series.iter().for_each(|(labels, samples)| writer.push(labels, samples).unwrap());
        let written = writer.finish().unwrap().unwrap().written;
        let (tenant, table) = (TenantId::default_tenant(), PartTable::Samples);
        let (tail_len, tail_crc) = (written.tail_len, written.tail_crc);
        let name = PartName { tenant, table, order: 1, id: 1, tail_len, tail_crc };
        let vfs = SimVfs::new(1);
        vfs.install(&name.path(), &written.bytes.iter().collect::<Vec<_>>().concat());
        TableReader::open(&vfs, &name).unwrap()
    }

    /// Series of so many samples; irregular ones have the times of others but for the first distance.
    fn series(lens: &[(usize, bool)]) -> Vec<Series> {
        let each = lens.iter().enumerate().map(|(number, (len, is_regular))| {
            let labels = LabelSet::from_pairs([("__name__", "up"), ("number", &format!("{number:05}"))]);
            let time = |row: usize| Millis(row as i64 * 15_000 - i64::from(row == 0 && !is_regular));
            (labels, (0..*len).map(|row| (time(row), (row * number) as f64 / 4.0)).collect())
        });
        each.collect()
    }

    #[test]
    fn a_series_that_does_not_fit_a_row_group_goes_on_in_the_next() {
        let series = series(&[(GROUP_ROWS - 1, true), (3, true), (GROUP_ROWS * 2, false)]);
        let reader = written(&series);
        let lens: Vec<Vec<usize>> = (0..reader.groups())
            .map(|at| {
                all_runs(&reader.group(at).unwrap()).unwrap().iter().map(|run| run.rows.len()).collect()
            })
            .collect();
        assert_eq!(lens, [vec![GROUP_ROWS - 1, 1], vec![2, GROUP_ROWS - 2], vec![GROUP_ROWS], vec![2]]);
        let mut read: Vec<Series> = Vec::new();
        for at in 0..reader.groups() {
            for (labels, mut samples) in samples::read_group(&reader.group(at).unwrap()).unwrap() {
                match read.last_mut().filter(|last| last.0 == labels) {
                    Some(last) => last.1.append(&mut samples),
                    None => read.push((labels, samples)),
                }
            }
        }
        assert!(read == series);
    }

    #[test]
    fn lengths_beyond_the_page_are_refused() {
        let check = |bytes: &[u8], count, expect: Option<&[usize]>| {
            assert_eq!(places(bytes, count).as_deref(), expect, "{bytes:?}");
        };
        let page = [0x80, 1, 4, 2, 2, 0, 0, 0, 0, 0, b'a', b'b'];
        check(&page, 2, Some(&[10, 11, 12]));
        check(&page[..11], 2, None);
        check(&page[..4], 2, None);
        check(&[0x80, 1, 4, 1, 1], 1, None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn chosen_series_and_times_are_those_of_all(
            lens in proptest::collection::vec((1usize..1500, any::<bool>()), 1..60),
            chosen in proptest::collection::vec(any::<bool>(), 60),
            (start, end) in (-10i64..25_000_000, -10i64..25_000_000),
        ) {
            let series = series(&lens);
            let reader = written(&series);
            let group = reader.group(0).unwrap();
            let runs = all_runs(&group).unwrap();
            let wanted: Vec<_> = runs.iter().zip(&chosen).filter(|(_, is)| **is).map(|(run, _)| run).collect();
            let range = TimeRange::from_millis(Millis(start), Millis(end));
            let mut flat = Flat::default();
            let mut columns = SampleColumns::open(&group);
            let ends = samples::samples_in(&group, &mut columns, &wanted, range, &mut flat).unwrap();
            let mut read = flat.times.iter().zip(&flat.values).map(|(time, value)| (Millis(*time), *value));
            let mut before = 0;
            for (run, end) in wanted.iter().zip(ends) {
                let of_run: Vec<_> = read.by_ref().take(end - before).collect();
                before = end;
                let all = series.iter().find(|(labels, _)| *labels == run.labels).unwrap();
                let inside = all.1.iter().filter(|(time, _)| range.contains(time.to_nanos())).copied();
                prop_assert_eq!(of_run, inside.collect::<Vec<_>>());
            }
        }
    }
}
