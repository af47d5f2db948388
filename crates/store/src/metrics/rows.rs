//! Row groups of samples with a row per sample, as versions 1 to 4 of the table have them; no longer written. The
//! columns of series, labels and times stand alike in the table of histograms.
//!
//! A value is `(value_i + offset) / 10^scale` where that gives back its bits, else `value_f`. The offset is the same for
//! all rows of a series in a row group. Files of version 1 have no offset.

use std::ops::Range;

use kenning_codec::decimal;
use kenning_model::Millis;

use super::samples::Flat;
use crate::parts::columns::GroupReader;
use crate::parts::deltas::Repeats;
use crate::parts::labels::{SeriesRun, read_runs};
use crate::parts::numbers::{NumberColumn, Presence};
use crate::parts::{PartError, damaged};

const SERIES: usize = 0;
const LABEL_NAMES: usize = 1;
const LABEL_VALUES: usize = 2;
/// Where the times stand.
pub(crate) const TIME: usize = 3;
const SCALE: usize = 4;
const VALUE_I: usize = 5;
const VALUE_F: usize = 6;
const OFFSET: usize = 7;

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

/// The columns of a row group that samples are read from, run by run from the first on.
pub(crate) struct RowColumns {
    time: NumberColumn,
    scale: NumberColumn,
    integer: NumberColumn,
    double: NumberColumn,
    /// Not there in version 1.
    offset: Option<NumberColumn>,
}

impl RowColumns {
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

/// Appends the samples of these runs, which lie behind those read before, from one time to another, both included;
/// gives how many are of each run. Only their rows are decoded, and no times of runs that are known to be regular.
pub(crate) fn samples_in(
    group: &GroupReader<'_>,
    columns: &mut RowColumns,
    runs: &[&SeriesRun],
    range: (i64, i64),
    flat: &mut Flat,
) -> Result<Vec<usize>, PartError> {
    let wanted = append_times(group, columns, runs, range, flat)?;
    let ranges = joined(wanted.iter().cloned());
    append_values(group, columns, &ranges, flat)?;
    Ok(wanted.iter().map(Range::len).collect())
}

/// Appends the times in range; gives the rows that they belong to.
fn append_times(
    group: &GroupReader<'_>,
    columns: &mut RowColumns,
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
    columns: &mut RowColumns,
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
