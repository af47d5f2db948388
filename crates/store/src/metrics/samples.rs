//! Parts of float samples.

use std::ops::Range;

use kenning_codec::decimal;
use kenning_model::{LabelSet, Millis, TimeRange};
use parquet::basic::Encoding;

use super::{SeriesList, Span};
use crate::parts::columns::{Column, GroupReader, Layout, TableWriter, VERSION_SAMPLES, Values};
use crate::parts::deltas::Repeats;
use crate::parts::labels::{MapBuilder, SeriesRun, read_runs};
use crate::parts::numbers::{NumberColumn, Presence};
use crate::parts::part::Draft;
use crate::parts::{PartError, PartTable, damaged};

/// Rows of a row group: few enough to hold decoded, many enough to pack well.
const GROUP_ROWS: usize = 128 << 10;

/// Series of a row group: where they have few samples each, their labels are what takes memory.
const GROUP_SERIES: usize = 16 << 10;

/// A value is `(value_i + offset) / 10^scale` where that gives back its bits, else `value_f`. The offset is the same for
/// all rows of a series in a row group, and chosen so that `value_i` goes on from one series to the next as it does
/// within a series: differences are packed a hundred at a time, and a leap would widen all of them. Files of version 1
/// have no offset.
pub(crate) const LAYOUT: Layout = Layout {
    schema: "message samples {
        required int32 series;
        required group labels (MAP) { repeated group key_value {
            required binary key (STRING); required binary value (STRING); } }
        required int64 time (TIMESTAMP(MILLIS,true));
        optional int32 scale;
        optional int64 value_i;
        optional double value_f;
        optional int64 offset;
    }",
    encodings: &[
        ("series", Encoding::DELTA_BINARY_PACKED),
        ("time", Encoding::DELTA_BINARY_PACKED),
        ("scale", Encoding::DELTA_BINARY_PACKED),
        ("value_i", Encoding::DELTA_BINARY_PACKED),
        ("value_f", Encoding::BYTE_STREAM_SPLIT),
        ("offset", Encoding::DELTA_BINARY_PACKED),
    ],
    plain: &[],
    bounded: &["series", "time"],
    blooms: &[],
};

const SERIES: usize = 0;
const LABEL_NAMES: usize = 1;
const LABEL_VALUES: usize = 2;
const TIME: usize = 3;
const SCALE: usize = 4;
const VALUE_I: usize = 5;
const VALUE_F: usize = 6;
const OFFSET: usize = 7;

/// Writes series in label order, straight into the columns of a row group.
pub(crate) struct SampleWriter {
    table: TableWriter,
    /// Series begun so far.
    begun: i32,
    group: Group,
    span: Span,
}

/// The columns of a row group.
#[derive(Default)]
struct Group {
    /// Series that have rows in it.
    runs: usize,
    series: Vec<i32>,
    labels: MapBuilder,
    times: Vec<i64>,
    scales: Vec<i32>,
    integers: Vec<i64>,
    offsets: Vec<i64>,
    doubles: Vec<f64>,
    is_integer: Vec<i16>,
    is_double: Vec<i16>,
}

impl SampleWriter {
    pub(crate) fn new() -> Result<Self, PartError> {
        let table = TableWriter::of_version(&LAYOUT, VERSION_SAMPLES)?;
        Ok(Self { table, begun: 0, group: Group::default(), span: Span::default() })
    }

    /// Adds a series with its samples by time.
    pub(crate) fn push(&mut self, labels: &LabelSet, samples: &[(Millis, f64)]) -> Result<(), PartError> {
        let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return Ok(()) };
        let number = self.begun;
        self.begun = number.checked_add(1).ok_or_else(|| damaged("a part has too many series"))?;
        let scale = decimal::choose_scale(samples.iter().map(|(_, value)| *value));
        let mut left = samples;
        while !left.is_empty() {
            let room = GROUP_ROWS.saturating_sub(self.group.times.len());
            let (now, later) = left.split_at(room.min(left.len()));
            self.group.push(number, labels, now, scale);
            left = later;
            if self.group.times.len() >= GROUP_ROWS || self.group.runs >= GROUP_SERIES {
                self.write_group()?;
            }
        }
        self.span.add_all(first.0.to_nanos(), last.0.to_nanos(), samples.len() as u64);
        Ok(())
    }

    fn write_group(&mut self) -> Result<(), PartError> {
        let group = std::mem::take(&mut self.group);
        let [keys, texts] = group.labels.finish();
        let optional = |values, definition| Column { values, definition, repetition: Vec::new() };
        self.table.write_group(&[
            Column::required(Values::I32(group.series)),
            keys,
            texts,
            Column::required(Values::I64(group.times)),
            optional(Values::I32(group.scales), group.is_integer.clone()),
            optional(Values::I64(group.integers), group.is_integer.clone()),
            optional(Values::F64(group.doubles), group.is_double),
            optional(Values::I64(group.offsets), group.is_integer),
        ])
    }

    /// The finished part; `None` without samples.
    pub(crate) fn finish(mut self) -> Result<Option<Draft>, PartError> {
        if !self.group.times.is_empty() {
            self.write_group()?;
        }
        let Some((time, rows)) = self.span.range() else { return Ok(None) };
        Ok(Some(Draft { table: PartTable::Samples, written: self.table.finish()?, rows, time }))
    }
}

impl Group {
    fn push(&mut self, number: i32, labels: &LabelSet, samples: &[(Millis, f64)], scale: Option<u8>) {
        if samples.is_empty() {
            return;
        }
        self.runs += 1;
        self.labels.push(labels, samples.len());
        self.series.resize(self.series.len() + samples.len(), number);
        self.times.extend(samples.iter().map(|(time, _)| time.0));
        let before = self.integers.last().copied().unwrap_or(0);
        let mut offset = None;
        for (_, value) in samples {
            match scale.and_then(|scale| Some((scale, decimal::encode(*value, scale)?))) {
                Some((scale, integer)) => {
                    let offset = *offset.get_or_insert_with(|| offset_of(samples, scale, integer, before));
                    self.scales.push(i32::from(scale));
                    self.integers.push(integer.wrapping_sub(offset));
                    self.offsets.push(offset);
                    self.is_integer.push(1);
                    self.is_double.push(0);
                }
                None => {
                    self.doubles.push(*value);
                    self.is_integer.push(0);
                    self.is_double.push(1);
                }
            }
        }
    }
}

/// The offset of a series whose first integer is given: with it the step from the series before is as large as that to
/// the second sample.
fn offset_of(samples: &[(Millis, f64)], scale: u8, first: i64, before: i64) -> i64 {
    /// Series after series it adds up: beyond this it begins anew, so that no engine that adds meets an overflow.
    const BEFORE_MAX: u64 = 1 << 61;
    if before.unsigned_abs() > BEFORE_MAX {
        return 0;
    }
    let second = samples.get(1).and_then(|(_, value)| decimal::encode(*value, scale));
    let step = second.map_or(0, |second| second.wrapping_sub(first));
    first.wrapping_sub(before.wrapping_add(step))
}

/// Bytes of a decoded row while it is being put together: levels and values of five columns.
pub(crate) const ROW_BYTES: usize = 60;

/// Bytes of a sample in [`Flat`].
pub(crate) const FLAT_BYTES: usize = 16;

/// False when the footer says that no row lies in the range.
pub(crate) fn may_overlap(group: &GroupReader<'_>, range: TimeRange) -> bool {
    bounds(group).is_none_or(|bounds| bounds.overlaps(range))
}

/// True when the footer says that every row lies in the range.
pub(crate) fn is_inside(group: &GroupReader<'_>, range: TimeRange) -> bool {
    bounds(group).is_some_and(|bounds| range.contains(bounds.start) && range.contains(bounds.end))
}

fn bounds(group: &GroupReader<'_>) -> Option<TimeRange> {
    group.bounds(TIME).map(|(min, max)| TimeRange::from_millis(Millis(min), Millis(max)))
}

/// The series of a row group.
pub(crate) fn all_runs(group: &GroupReader<'_>) -> Result<Vec<SeriesRun>, PartError> {
    read_runs(group.column(SERIES)?, group.column(LABEL_NAMES)?, group.column(LABEL_VALUES)?)
}

/// The times of these runs' rows, deleted ones too, one list per run.
pub(crate) fn times(group: &GroupReader<'_>, runs: &[&SeriesRun]) -> Result<Vec<Vec<Millis>>, PartError> {
    let ranges = joined(runs.iter().map(|run| run.rows.clone()));
    let mut times = Vec::new();
    NumberColumn::of_integers(group, TIME).integers(group, &ranges, &mut times)?;
    let mut times = times.into_iter().map(Millis);
    Ok(runs.iter().map(|run| times.by_ref().take(run.rows.len()).collect()).collect())
}

/// Samples in two columns.
#[derive(Debug, Default)]
pub(crate) struct Flat {
    /// Milliseconds.
    pub(crate) times: Vec<i64>,
    pub(crate) values: Vec<f64>,
    /// Room for integers on their way to be values.
    integers: Vec<i64>,
}

impl Flat {
    /// Empties it; the room stays.
    pub(crate) fn clear(&mut self) {
        self.times.clear();
        self.values.clear();
    }
}

/// The columns of a row group that samples are read from, run by run from the first on.
pub(crate) struct SampleColumns {
    time: NumberColumn,
    scale: NumberColumn,
    integer: NumberColumn,
    double: NumberColumn,
    /// Not there in version 1.
    offset: Option<NumberColumn>,
}

impl SampleColumns {
    /// Those of a row group.
    pub(crate) fn open(group: &GroupReader<'_>) -> Self {
        Self {
            time: NumberColumn::of_integers(group, TIME),
            scale: NumberColumn::of_integers(group, SCALE),
            integer: NumberColumn::of_integers(group, VALUE_I),
            double: NumberColumn::of_doubles(group, VALUE_F),
            offset: group.has_column(OFFSET).then(|| NumberColumn::of_integers(group, OFFSET)),
        }
    }
}

/// The milliseconds that lie in a range of nanoseconds, both ends included.
pub(crate) fn millis_in(range: TimeRange) -> (i64, i64) {
    const PER_MILLI: i64 = 1_000_000;
    // Milliseconds beyond the ends of what nanoseconds can say count as these ends ([`Millis::to_nanos`]).
    let start = match range.start.0 {
        i64::MIN => i64::MIN,
        start => start.div_euclid(PER_MILLI) + i64::from(start.rem_euclid(PER_MILLI) > 0),
    };
    let end = if range.end.0 == i64::MAX { i64::MAX } else { range.end.0.div_euclid(PER_MILLI) };
    (start, end)
}

/// Appends the samples of these runs, which lie behind those read before, in a range of time; gives where those of each
/// run end. Only their rows are decoded, and no times of runs that are known to be regular.
pub(crate) fn samples_in(
    group: &GroupReader<'_>,
    columns: &mut SampleColumns,
    runs: &[&SeriesRun],
    range: TimeRange,
    flat: &mut Flat,
) -> Result<Vec<usize>, PartError> {
    let (start, end) = millis_in(range);
    let wanted = append_times(group, columns, runs, (start, end), flat)?;
    let ranges = joined(wanted.iter().cloned());
    append_values(group, columns, &ranges, flat)?;
    if flat.values.len() != flat.times.len() {
        return Err(damaged("a value column is short"));
    }
    let begin = flat.times.len().saturating_sub(wanted.iter().map(Range::len).sum());
    let ends = wanted.iter().scan(begin, |end, rows| {
        *end += rows.len();
        Some(*end)
    });
    let ends: Vec<_> = ends.collect();
    Ok(if group.hidden().is_empty() { ends } else { without_hidden(group, runs, begin, &ends, flat) })
}

/// Appends the times in range; gives the rows that they belong to.
fn append_times(
    group: &GroupReader<'_>,
    columns: &mut SampleColumns,
    runs: &[&SeriesRun],
    (start, end): (i64, i64),
    flat: &mut Flat,
) -> Result<Vec<Range<usize>>, PartError> {
    let irregular: Vec<_> = runs.iter().filter(|run| run.regular().is_none()).collect();
    let decoded = match irregular.is_empty() {
        true => Vec::new(),
        false => {
            let (rows, mut times) = (joined(irregular.iter().map(|run| run.rows.clone())), Vec::new());
            columns.time.integers(group, &rows, &mut times)?;
            times
        }
    };
    let (mut rest, mut wanted) = (decoded.as_slice(), Vec::with_capacity(runs.len()));
    for run in runs {
        let rows = run.rows.len();
        if let Some(regular) = run.regular() {
            let inside = regular.inside(rows, start, end);
            flat.times.extend(inside.clone().map(|row| regular.at(row)));
            wanted.push(run.rows.start + inside.start..run.rows.start + inside.end);
            continue;
        }
        let (times, after) =
            rest.split_at_checked(rows).ok_or_else(|| damaged("the time column is short"))?;
        rest = after;
        run.learn_times(times);
        // Rows of a series lie in order of time.
        let from = times.partition_point(|time| *time < start);
        let to = times.partition_point(|time| *time <= end).max(from);
        flat.times.extend_from_slice(times.get(from..to).unwrap_or_default());
        wanted.push(run.rows.start + from..run.rows.start + to);
    }
    Ok(wanted)
}

/// Makes `value_i` of rows what is divided by the scale. A series has one offset, so that stretches of one are long.
fn add_offsets(
    group: &GroupReader<'_>,
    column: &mut NumberColumn,
    ranges: &[Range<usize>],
    is_integer: &Presence,
    integers: &mut [i64],
) -> Result<(), PartError> {
    let mut offsets = Repeats::default();
    if column.integers(group, ranges, &mut offsets)? != *is_integer {
        return Err(damaged("a sample has an offset without a value or a value without its offset"));
    }
    let mut rest = integers;
    for (offset, rows) in &offsets.0 {
        let (these, after) =
            rest.split_at_mut_checked(*rows).ok_or_else(|| damaged("a value column is short"))?;
        rest = after;
        these.iter_mut().for_each(|integer| *integer = integer.wrapping_add(*offset));
    }
    Ok(())
}

/// Appends the values of rows, which stand as scaled integers or as doubles.
fn append_values(
    group: &GroupReader<'_>,
    columns: &mut SampleColumns,
    ranges: &[Range<usize>],
    flat: &mut Flat,
) -> Result<(), PartError> {
    let Flat { values, integers, .. } = flat;
    let (mut scales, mut doubles) = (Repeats::default(), Vec::new());
    integers.clear();
    let is_scaled = columns.scale.integers(group, ranges, &mut scales)?;
    let is_integer = columns.integer.integers(group, ranges, integers)?;
    if is_scaled != is_integer {
        return Err(damaged("a sample has a scale without a value or a value without its scale"));
    }
    if let Some(offset) = &mut columns.offset {
        add_offsets(group, offset, ranges, &is_integer, integers)?;
    }
    if is_integer.is_full() {
        // No row is left that could have a double.
        return append_scaled(&scales, integers, values);
    }
    let is_double = columns.double.doubles(group, ranges, &mut doubles)?;
    let is_apart = |((i, rows), (d, doubles)): (&(bool, usize), &(bool, usize))| i != d && rows == doubles;
    if is_integer.0.len() != is_double.0.len() || !is_integer.0.iter().zip(&is_double.0).all(is_apart) {
        return Err(damaged("a sample has no value or two"));
    }
    let mut scaled = Vec::with_capacity(integers.len());
    append_scaled(&scales, integers, &mut scaled)?;
    let (mut scaled, mut doubles) = (scaled.as_slice(), doubles.as_slice());
    for (is_integer, rows) in &is_integer.0 {
        let from = if *is_integer { &mut scaled } else { &mut doubles };
        let (these, after) =
            from.split_at_checked(*rows).ok_or_else(|| damaged("a value column is short"))?;
        *from = after;
        values.extend_from_slice(these);
    }
    Ok(())
}

/// Appends scaled integers. A series has one scale, so that stretches of one scale are long.
fn append_scaled(scales: &Repeats, integers: &[i64], values: &mut Vec<f64>) -> Result<(), PartError> {
    let mut rest = integers;
    values.reserve(integers.len());
    for (scale, rows) in &scales.0 {
        let (these, after) =
            rest.split_at_checked(*rows).ok_or_else(|| damaged("a value column is short"))?;
        rest = after;
        let power = u8::try_from(*scale).ok().and_then(decimal::power);
        let power = power.ok_or_else(|| damaged("a sample has an unknown scale"))?;
        if power == 1.0 {
            // Dividing by one changes no bit.
            values.extend(these.iter().map(|integer| *integer as f64));
        } else {
            values.extend(these.iter().map(|integer| *integer as f64 / power));
        }
    }
    Ok(())
}

/// Takes the deleted samples out of what was appended from `begin` on; gives the new ends.
fn without_hidden(
    group: &GroupReader<'_>,
    runs: &[&SeriesRun],
    begin: usize,
    ends: &[usize],
    flat: &mut Flat,
) -> Vec<usize> {
    let (times, values) = (flat.times.split_off(begin), flat.values.split_off(begin));
    let mut samples = times.into_iter().zip(values);
    let mut start = begin;
    let each = runs.iter().zip(ends).map(|(run, end)| {
        let of_run = samples.by_ref().take(end - start);
        start = *end;
        let mut list: Vec<_> = of_run.map(|(time, value)| (Millis(time), value)).collect();
        group.hidden().retain(&run.labels, &mut list);
        flat.times.extend(list.iter().map(|(time, _)| time.0));
        flat.values.extend(list.iter().map(|(_, value)| *value));
        flat.times.len()
    });
    each.collect()
}

/// Ranges without empty ones, neighbours joined, so that readers are not asked for each series alone.
fn joined(ranges: impl Iterator<Item = Range<usize>>) -> Vec<Range<usize>> {
    let mut joined: Vec<Range<usize>> = Vec::new();
    for range in ranges.filter(|range| !range.is_empty()) {
        match joined.last_mut().filter(|last| last.end == range.start) {
            Some(last) => last.end = range.end,
            None => joined.push(range),
        }
    }
    joined
}

/// Every series of a row group with its samples, for merging.
pub(crate) fn read_group(group: &GroupReader<'_>) -> Result<SeriesList<f64>, PartError> {
    let runs = all_runs(group)?;
    let mut flat = Flat::default();
    let ends = samples_in(
        group,
        &mut SampleColumns::open(group),
        &runs.iter().collect::<Vec<_>>(),
        TimeRange::ALL,
        &mut flat,
    )?;
    let times = flat.times.into_iter().map(Millis);
    let (mut samples, mut start) = (times.zip(flat.values), 0);
    let series = runs.into_iter().zip(ends).map(|(run, end)| {
        let list = samples.by_ref().take(end - start).collect();
        start = end;
        (run.labels, list)
    });
    Ok(series.collect())
}
