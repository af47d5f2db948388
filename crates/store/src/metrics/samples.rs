//! Parts of float samples.

use std::ops::Range;

use kenning_codec::decimal;
use kenning_model::{LabelSet, Millis, TimeRange};
use parquet::basic::Encoding;

use super::{SeriesList, Span};
use crate::parts::columns::{Column, GroupReader, Layout, TableReader, TableWriter, Values};
use crate::parts::labels::{SeriesRun, map_columns, on_first_rows, read_runs};
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
        ("time", Encoding::DELTA_BINARY_PACKED),
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

/// Writes series in label order.
pub(crate) struct SampleWriter {
    table: TableWriter,
    sets: Vec<LabelSet>,
    series: Vec<i32>,
    times: Vec<i64>,
    values: Vec<(f64, Option<(u8, i64)>)>,
    span: Span,
}

impl SampleWriter {
    pub(crate) fn new() -> Result<Self, PartError> {
        Ok(Self {
            table: TableWriter::new(&LAYOUT)?,
            sets: Vec::new(),
            series: Vec::new(),
            times: Vec::new(),
            values: Vec::new(),
            span: Span::default(),
        })
    }

    /// Adds a series with its samples by time.
    pub(crate) fn push(&mut self, labels: &LabelSet, samples: &[(Millis, f64)]) -> Result<(), PartError> {
        if samples.is_empty() {
            return Ok(());
        }
        let number = i32::try_from(self.sets.len()).map_err(|_| damaged("a part has too many series"))?;
        self.sets.push(labels.clone());
        let values: Vec<f64> = samples.iter().map(|(_, value)| *value).collect();
        let scale = decimal::choose_scale(&values);
        for (time, value) in samples {
            if self.times.len() == GROUP_ROWS {
                self.write_group()?;
            }
            let integer = scale.and_then(|scale| Some((scale, decimal::encode(*value, scale)?)));
            self.series.push(number);
            self.times.push(time.0);
            self.values.push((*value, integer));
            self.span.add(time.to_nanos());
        }
        Ok(())
    }

    fn write_group(&mut self) -> Result<(), PartError> {
        let (series, times) = (std::mem::take(&mut self.series), std::mem::take(&mut self.times));
        let values = std::mem::take(&mut self.values);
        let sets = &self.sets;
        let set_of = |number: i32| sets.get(number as usize);
        let [keys, texts] = map_columns(on_first_rows(&series, &set_of));
        let integers = || values.iter().map(|(_, integer)| *integer);
        let doubles = values.iter().map(|(value, integer)| integer.is_none().then_some(*value));
        self.table.write_group(&[
            Column::required(Values::I32(series.clone())),
            keys,
            texts,
            Column::required(Values::I64(times)),
            Column::optional(integers().map(|integer| Some(i32::from(integer?.0))), Values::I32),
            Column::optional(integers().map(|integer| Some(integer?.1)), Values::I64),
            Column::optional(doubles, Values::F64),
        ])
    }

    /// The finished part; `None` without samples.
    pub(crate) fn finish(mut self) -> Result<Option<Draft>, PartError> {
        if !self.times.is_empty() {
            self.write_group()?;
        }
        let Some((time, rows)) = self.span.range() else { return Ok(None) };
        Ok(Some(Draft { table: PartTable::Samples, written: self.table.finish()?, rows, time }))
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
