//! Parts of float samples: read in every version, with a row per series ([`super::runs`], all that is written) or a row
//! per sample ([`super::rows`]).

use kenning_codec::run::Scratch;
use kenning_model::{Millis, TimeRange};

use super::SeriesList;
use super::rows::{self, RowColumns};
use super::runs::{self, RunColumns};
use crate::parts::columns::GroupReader;
use crate::parts::labels::SeriesRun;
use crate::parts::{PartError, damaged};

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
    let (min, max) = match runs::is_of_runs(group) {
        true => runs::bounds(group)?,
        false => group.bounds(rows::TIME)?,
    };
    Some(TimeRange::from_millis(Millis(min), Millis(max)))
}

/// The series of a row group of samples or histograms.
pub(crate) fn all_runs(group: &GroupReader<'_>) -> Result<Vec<SeriesRun>, PartError> {
    if runs::is_of_runs(group) { runs::all_runs(group) } else { rows::all_runs(group) }
}

/// The times of these runs, deleted samples too, one list per run.
pub(crate) fn times(group: &GroupReader<'_>, runs: &[&SeriesRun]) -> Result<Vec<Vec<Millis>>, PartError> {
    if runs::is_of_runs(group) { runs::times(group, runs) } else { rows::times(group, runs) }
}

/// Samples in two columns.
#[derive(Debug, Default)]
pub(crate) struct Flat {
    /// Milliseconds.
    pub(crate) times: Vec<i64>,
    pub(crate) values: Vec<f64>,
    /// Room for integers on their way to be values or times.
    pub(super) integers: Vec<i64>,
    /// Room for what packed samples are read through.
    pub(super) scratch: Scratch,
}

impl Flat {
    /// Empties it; the room stays.
    pub(crate) fn clear(&mut self) {
        self.times.clear();
        self.values.clear();
    }
}

/// The columns of a row group that samples are read from, run by run from the first on.
pub(crate) enum SampleColumns {
    Runs(RunColumns),
    Rows(Box<RowColumns>),
}

impl SampleColumns {
    /// Those of a row group.
    pub(crate) fn open(group: &GroupReader<'_>) -> Self {
        match runs::is_of_runs(group) {
            true => Self::Runs(RunColumns::default()),
            false => Self::Rows(Box::new(RowColumns::open(group))),
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
/// run end.
pub(crate) fn samples_in(
    group: &GroupReader<'_>,
    columns: &mut SampleColumns,
    runs: &[&SeriesRun],
    range: TimeRange,
    flat: &mut Flat,
) -> Result<Vec<usize>, PartError> {
    let (begin, range) = (flat.times.len(), millis_in(range));
    let counts = match columns {
        SampleColumns::Runs(columns) => runs::samples_in(group, columns, runs, range, flat)?,
        SampleColumns::Rows(columns) => rows::samples_in(group, columns, runs, range, flat)?,
    };
    if flat.values.len() != flat.times.len() {
        return Err(damaged("a value column is short"));
    }
    let ends = counts.iter().scan(begin, |end, count| {
        *end += count;
        Some(*end)
    });
    let ends: Vec<_> = ends.collect();
    Ok(if group.hidden().is_empty() { ends } else { without_hidden(group, runs, begin, &ends, flat) })
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
