//! Parts of float samples.

use kenning_codec::decimal;
use kenning_model::{LabelSet, Millis, TimeRange};
use parquet::basic::Encoding;

use super::{SeriesList, Span};
use crate::parts::columns::{Column, GroupReader, Layout, TableReader, TableWriter, Values, spread};
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

/// The series of a row group that may have rows in a range; nothing when its bounds exclude the range.
pub(crate) fn runs(group: &GroupReader<'_>, range: TimeRange) -> Result<Vec<SeriesRun>, PartError> {
    if let Some((min, max)) = group.bounds(TIME)
        && !TimeRange::from_millis(Millis(min), Millis(max)).overlaps(range)
    {
        return Ok(Vec::new());
    }
    read_runs(group.column(SERIES)?, group.column(LABEL_NAMES)?, group.column(LABEL_VALUES)?)
}

/// The times of these runs' rows, deleted ones too, one list per run.
pub(crate) fn times(group: &GroupReader<'_>, runs: &[SeriesRun]) -> Result<Vec<Vec<Millis>>, PartError> {
    let ranges: Vec<_> = runs.iter().map(|run| run.rows.clone()).collect();
    let times = group.column_rows(TIME, &ranges)?.into_i64()?;
    let mut times = times.into_iter().map(Millis);
    Ok(runs.iter().map(|run| times.by_ref().take(run.rows.len()).collect()).collect())
}

/// The samples of these runs, one list per run.
pub(crate) fn samples(
    group: &GroupReader<'_>,
    runs: &[SeriesRun],
) -> Result<Vec<Vec<(Millis, f64)>>, PartError> {
    let ranges: Vec<_> = runs.iter().map(|run| run.rows.clone()).collect();
    let read = |column| group.column_rows(column, &ranges);
    let (scale, integer, double) = (read(SCALE)?, read(VALUE_I)?, read(VALUE_F)?);
    let (at_scale, at_integer, at_double) =
        (scale.definition.clone(), integer.definition.clone(), double.definition.clone());
    let scales = spread(&at_scale, scale.into_i32()?);
    let integers = spread(&at_integer, integer.into_i64()?);
    let doubles = spread(&at_double, double.into_f64()?);
    let mut values = scales.into_iter().zip(integers).zip(doubles);
    let mut lists = Vec::with_capacity(runs.len());
    for (run, times) in runs.iter().zip(times(group, runs)?) {
        let mut list = Vec::with_capacity(times.len());
        for time in times {
            let ((scale, integer), double) =
                values.next().ok_or_else(|| damaged("a value column is short"))?;
            list.push((time, value_of(scale, integer, double)?));
        }
        group.hidden().retain(&run.labels, &mut list);
        lists.push(list);
    }
    Ok(lists)
}

fn value_of(scale: Option<i32>, integer: Option<i64>, double: Option<f64>) -> Result<f64, PartError> {
    match (scale.map(u8::try_from), integer, double) {
        (Some(Ok(scale)), Some(integer), None) => Ok(decimal::decode(integer, scale)),
        (None, None, Some(double)) => Ok(double),
        _ => Err(damaged("a sample has no value or two")),
    }
}

/// Every series of a part with its samples, for merging. A series that reaches over row groups comes more than once.
pub(crate) fn read_all(reader: &TableReader) -> Result<SeriesList<f64>, PartError> {
    let mut all = Vec::new();
    for index in 0..reader.groups() {
        let group = reader.group(index)?;
        let runs = runs(&group, TimeRange::ALL)?;
        let lists = samples(&group, &runs)?;
        all.extend(runs.into_iter().map(|run| run.labels).zip(lists));
    }
    Ok(all)
}
