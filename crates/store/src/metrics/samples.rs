//! Parts of float samples.

use std::ops::Range;

use kenning_codec::decimal;
use kenning_model::{LabelSet, Millis, TimeRange};
use parquet::basic::Encoding;

use super::{SeriesList, Span};
use crate::parts::columns::{Column, GroupReader, Layout, TableReader, TableWriter, Values};
use crate::parts::labels::{MapBuilder, SeriesRun, read_runs};
use crate::parts::part::Draft;
use crate::parts::{PartError, PartTable, damaged};

/// Rows of a row group: few enough to hold decoded, many enough to pack well.
const GROUP_ROWS: usize = 128 << 10;

/// A value is `value_i / 10^scale` where that gives back its bits, else `value_f`.
pub(crate) const LAYOUT: Layout = Layout {
    schema: "message samples {
        required int32 series;
        required group labels (MAP) { repeated group key_value {
            required binary key (STRING); required binary value (STRING); } }
        required int64 time (TIMESTAMP(MILLIS,true));
        optional int32 scale;
        optional int64 value_i;
        optional double value_f;
    }",
    encodings: &[
        ("series", Encoding::DELTA_BINARY_PACKED),
        ("time", Encoding::DELTA_BINARY_PACKED),
        ("scale", Encoding::DELTA_BINARY_PACKED),
        ("value_i", Encoding::DELTA_BINARY_PACKED),
        ("value_f", Encoding::BYTE_STREAM_SPLIT),
    ],
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
    series: Vec<i32>,
    labels: MapBuilder,
    times: Vec<i64>,
    scales: Vec<i32>,
    integers: Vec<i64>,
    doubles: Vec<f64>,
    is_integer: Vec<i16>,
    is_double: Vec<i16>,
}

impl SampleWriter {
    pub(crate) fn new() -> Result<Self, PartError> {
        let table = TableWriter::new(&LAYOUT)?;
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
            if self.group.times.len() >= GROUP_ROWS {
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
            optional(Values::I64(group.integers), group.is_integer),
            optional(Values::F64(group.doubles), group.is_double),
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
        self.labels.push(labels, samples.len());
        self.series.resize(self.series.len() + samples.len(), number);
        self.times.extend(samples.iter().map(|(time, _)| time.0));
        for (_, value) in samples {
            match scale.and_then(|scale| Some((scale, decimal::encode(*value, scale)?))) {
                Some((scale, integer)) => {
                    self.scales.push(i32::from(scale));
                    self.integers.push(integer);
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

/// Bytes of a decoded row while it is being put together: levels and values of four columns.
pub(crate) const ROW_BYTES: usize = 48;

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
    let times = group.column_rows(TIME, &ranges)?.into_i64()?;
    let mut times = times.into_iter().map(Millis);
    Ok(runs.iter().map(|run| times.by_ref().take(run.rows.len()).collect()).collect())
}

/// The samples of these runs in a range of time, one list per run. Only their rows are decoded.
pub(crate) fn samples_in(
    group: &GroupReader<'_>,
    runs: &[&SeriesRun],
    range: TimeRange,
) -> Result<Vec<Vec<(Millis, f64)>>, PartError> {
    let ranges = joined(runs.iter().map(|run| run.rows.clone()));
    let times = group.column_rows(TIME, &ranges)?.into_i64()?;
    let mut wanted = Vec::with_capacity(runs.len());
    let mut rest = times.as_slice();
    for run in runs {
        let (of_run, after) =
            rest.split_at_checked(run.rows.len()).ok_or_else(|| damaged("the time column is short"))?;
        rest = after;
        // Rows of a series lie in order of time.
        let from = of_run.partition_point(|time| Millis(*time).to_nanos() < range.start);
        let to = of_run.partition_point(|time| Millis(*time).to_nanos() <= range.end).max(from);
        wanted.push((run.rows.start + from..run.rows.start + to, of_run.get(from..to).unwrap_or_default()));
    }
    let ranges = joined(wanted.iter().map(|(rows, _)| rows.clone()));
    let read = |column| group.column_rows(column, &ranges);
    let mut values = ValueColumns::new(read(SCALE)?, read(VALUE_I)?, read(VALUE_F)?)?;
    let mut lists = Vec::with_capacity(runs.len());
    for (run, (_, times)) in runs.iter().zip(&wanted) {
        let mut list = values.join(times)?;
        group.hidden().retain(&run.labels, &mut list);
        lists.push(list);
    }
    Ok(lists)
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

/// The three columns that hold a value, read from the first row on.
struct ValueColumns {
    /// 1 where a row has a scaled integer, else 0.
    is_integer: Vec<i16>,
    row: usize,
    scales: std::vec::IntoIter<i32>,
    integers: std::vec::IntoIter<i64>,
    doubles: std::vec::IntoIter<f64>,
}

impl ValueColumns {
    fn new(scale: Column, integer: Column, double: Column) -> Result<Self, PartError> {
        let apart = |integer: &[i16], double: &[i16]| {
            integer.len() == double.len() && integer.iter().zip(double).all(|(i, d)| i + d == 1)
        };
        if scale.definition != integer.definition || !apart(&integer.definition, &double.definition) {
            return Err(damaged("a sample has no value or two"));
        }
        let is_integer = integer.definition.clone();
        let (scales, integers) = (scale.into_i32()?.into_iter(), integer.into_i64()?.into_iter());
        Ok(Self { is_integer, row: 0, scales, integers, doubles: double.into_f64()?.into_iter() })
    }

    /// The next rows' values with their times.
    fn join(&mut self, times: &[i64]) -> Result<Vec<(Millis, f64)>, PartError> {
        let short = || damaged("a value column is short");
        let rows = self.is_integer.get(self.row..self.row + times.len()).ok_or_else(short)?;
        self.row += times.len();
        let mut list = Vec::with_capacity(times.len());
        for (time, is_integer) in times.iter().zip(rows) {
            let value = if *is_integer > 0 {
                let (scale, integer) = self.scales.next().zip(self.integers.next()).ok_or_else(short)?;
                let scale = u8::try_from(scale).map_err(|_| damaged("a sample has no value or two"))?;
                decimal::decode(integer, scale)
            } else {
                self.doubles.next().ok_or_else(short)?
            };
            list.push((Millis(*time), value));
        }
        Ok(list)
    }
}

/// Every series of a part with its samples, for merging. A series that reaches over row groups comes more than once.
pub(crate) fn read_all(reader: &TableReader) -> Result<SeriesList<f64>, PartError> {
    let mut all = Vec::new();
    for index in 0..reader.groups() {
        let group = reader.group(index)?;
        let runs = all_runs(&group)?;
        let lists = samples_in(&group, &runs.iter().collect::<Vec<_>>(), TimeRange::ALL)?;
        all.extend(runs.into_iter().map(|run| run.labels).zip(lists));
    }
    Ok(all)
}
