//! Parts of exemplars, sorted by series and time.

use kenning_model::{Exemplar, LabelSet, Millis, TimeRange};
use parquet::basic::Encoding;

use super::Span;
use crate::parts::columns::{Column, GroupReader, Layout, TableWriter, Values};
use crate::parts::labels::{SeriesRun, map_columns, on_first_rows, read_map, read_runs};
use crate::parts::part::Draft;
use crate::parts::{PartError, PartTable, damaged};

/// Rows of a row group.
const GROUP_ROWS: usize = 64 << 10;

pub(crate) const LAYOUT: Layout = Layout {
    schema: "message exemplars {
        required int32 series;
        required group labels (MAP) { repeated group key_value {
            required binary key (STRING); required binary value (STRING); } }
        required int64 time (TIMESTAMP(MILLIS,true));
        required double value;
        required group exemplar (MAP) { repeated group key_value {
            required binary key (STRING); required binary value (STRING); } }
    }",
    encodings: &[("time", Encoding::DELTA_BINARY_PACKED)],
    plain: &[],
    bounded: &["time"],
    blooms: &[],
};

const TIME: usize = 3;

/// Writes exemplars that are sorted by series, then time.
pub(crate) fn write(exemplars: &[(&LabelSet, &Exemplar)]) -> Result<Option<Draft>, PartError> {
    let mut table = TableWriter::new(&LAYOUT)?;
    let mut span = Span::default();
    exemplars.iter().for_each(|(_, exemplar)| span.add(exemplar.time.to_nanos()));
    let (mut sets, mut numbers): (Vec<&LabelSet>, Vec<i32>) = (Vec::new(), Vec::new());
    for (labels, _) in exemplars {
        if sets.last() != Some(labels) {
            sets.push(labels);
        }
        numbers.push(i32::try_from(sets.len() - 1).map_err(|_| damaged("a part has too many series"))?);
    }
    for (rows, numbers) in exemplars.chunks(GROUP_ROWS).zip(numbers.chunks(GROUP_ROWS)) {
        write_group(&mut table, rows, numbers, &sets)?;
    }
    let Some((time, rows)) = span.range() else { return Ok(None) };
    Ok(Some(Draft { table: PartTable::Exemplars, written: table.finish()?, rows, time }))
}

fn write_group(
    table: &mut TableWriter,
    rows: &[(&LabelSet, &Exemplar)],
    numbers: &[i32],
    sets: &[&LabelSet],
) -> Result<(), PartError> {
    let set_of = |number: i32| sets.get(number as usize).copied();
    let [keys, texts] = map_columns(on_first_rows(numbers, &set_of));
    let [own_keys, own_texts] = map_columns(rows.iter().map(|(_, exemplar)| Some(&exemplar.labels)));
    table.write_group(&[
        Column::required(Values::I32(numbers.to_vec())),
        keys,
        texts,
        Column::required(Values::I64(rows.iter().map(|(_, exemplar)| exemplar.time.0).collect())),
        Column::required(Values::F64(rows.iter().map(|(_, exemplar)| exemplar.value).collect())),
        own_keys,
        own_texts,
    ])
}

/// The series of a row group with their exemplars.
pub(crate) fn read(
    group: &GroupReader<'_>,
    range: TimeRange,
) -> Result<Vec<(SeriesRun, Vec<Exemplar>)>, PartError> {
    if let Some((min, max)) = group.bounds(TIME)
        && !TimeRange::from_millis(Millis(min), Millis(max)).overlaps(range)
    {
        return Ok(Vec::new());
    }
    let runs = read_runs(group.column(0)?, group.column(1)?, group.column(2)?)?;
    let times = group.column(TIME)?.into_i64()?;
    let values = group.column(4)?.into_f64()?;
    let labels = read_map(group.column(5)?, group.column(6)?)?;
    if times.len() != values.len() || times.len() != labels.len() {
        return Err(damaged("an exemplar column is short"));
    }
    let rows = times.into_iter().zip(values).zip(labels);
    let mut rows =
        rows.map(|((time, value), labels)| Exemplar { series: 0, time: Millis(time), value, labels });
    Ok(runs
        .into_iter()
        .map(|run| {
            let mut list: Vec<Exemplar> = rows.by_ref().take(run.rows.len()).collect();
            list.retain(|exemplar| !group.hidden().hides(exemplar.time.to_nanos(), &run.labels));
            (run, list)
        })
        .collect())
}
