//! The instants of a query and the series computed on them.

use std::collections::HashMap;

use kenning_model::{LabelSet, Millis, Nanos};
use kenning_query::{LimitKind, Limits, QueryError};

/// Evenly spaced instants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    pub(super) start: Nanos,
    /// Nanoseconds, above zero.
    pub(super) step: i64,
    /// How many, at least one.
    pub(super) len: usize,
}

impl Grid {
    /// From `start` to at most `end`.
    pub(super) fn new(start: Nanos, end: Nanos, step: i64, limits: &Limits) -> Result<Self, QueryError> {
        let step = step.max(1);
        let steps = i128::from(end.0) - i128::from(start.0);
        let len = if steps < 0 { 0 } else { steps / i128::from(step) + 1 };
        if len > i128::from(limits.points_max) {
            return Err(QueryError::Limit { kind: LimitKind::Points, limit: limits.points_max });
        }
        Ok(Self { start, step, len: len as usize })
    }

    /// One instant.
    pub(super) fn instant(at: Nanos) -> Self {
        Self { start: at, step: 1, len: 1 }
    }

    /// An instant by number.
    pub(super) fn time(&self, step: usize) -> Nanos {
        Nanos(self.start.0.saturating_add(self.step.saturating_mul(step as i64)))
    }

    /// The last instant.
    pub(super) fn end(&self) -> Nanos {
        self.time(self.len.saturating_sub(1))
    }

    /// The instants `t` whose window `(t - width, t]` holds `at`: first and last number, none when there is no such
    /// instant.
    pub(super) fn windows(&self, at: i64, width: i64) -> Option<(usize, usize)> {
        let (at, start, step) = (i128::from(at), i128::from(self.start.0), i128::from(self.step));
        let last_in_grid = self.len as i128 - 1;
        let first = (at - start + step - 1).div_euclid(step).max(0);
        let last = (at + i128::from(width) - 1 - start).div_euclid(step).min(last_in_grid);
        (first <= last).then_some((first as usize, last as usize))
    }
}

/// A series on the grid.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) labels: LabelSet,
    /// One per instant.
    pub(super) values: Vec<Option<f64>>,
}

/// A series of an answer: its labels and its points.
type SeriesPoints = (LabelSet, Vec<(Millis, f64)>);

/// Series on the grid.
#[derive(Clone, Debug, Default)]
pub(super) struct Matrix {
    pub(super) series: Vec<Series>,
}

impl Matrix {
    /// One series without labels.
    pub(super) fn constant(value: f64, grid: &Grid) -> Self {
        Self { series: vec![Series { labels: LabelSet::empty(), values: vec![Some(value); grid.len] }] }
    }

    /// Orders series by labels, so that answers do not depend on the order of rows.
    pub(super) fn sorted(mut self) -> Self {
        self.series.sort_by(|a, b| a.labels.cmp(&b.labels));
        self
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.series.iter().map(|s| s.labels.heap_bytes() + s.values.len() * size_of::<Option<f64>>()).sum()
    }

    /// Joins series that came to have the same labels; of two values at one instant the first stays.
    pub(super) fn joined(self) -> Self {
        let mut places: HashMap<LabelSet, usize> = HashMap::with_capacity(self.series.len());
        let mut joined: Vec<Series> = Vec::with_capacity(self.series.len());
        for series in self.series {
            match places.get(&series.labels).and_then(|place| joined.get_mut(*place)) {
                Some(known) => {
                    for (slot, value) in known.values.iter_mut().zip(series.values) {
                        *slot = slot.or(value);
                    }
                }
                None => {
                    places.insert(series.labels.clone(), joined.len());
                    joined.push(series);
                }
            }
        }
        Self { series: joined }
    }

    fn bounded(self, series_max: usize) -> Result<Self, QueryError> {
        let mut present = self.joined();
        present.series.retain(|series| series.values.iter().any(Option::is_some));
        if present.series.len() > series_max {
            return Err(QueryError::Limit { kind: LimitKind::Series, limit: series_max as u64 });
        }
        Ok(present)
    }

    /// The points of an answer over a range.
    pub(super) fn into_points(self, grid: &Grid, series_max: usize) -> Result<Vec<SeriesPoints>, QueryError> {
        let points = |values: Vec<Option<f64>>| {
            values.into_iter().enumerate().filter_map(|(k, value)| Some((grid.millis(k), value?))).collect()
        };
        let matrix = self.bounded(series_max)?.sorted();
        Ok(matrix.series.into_iter().map(|series| (series.labels, points(series.values))).collect())
    }

    /// The values of an answer at one instant.
    pub(super) fn into_vector(
        self,
        at: Millis,
        keep_order: bool,
        series_max: usize,
    ) -> Result<Vec<(LabelSet, Millis, f64)>, QueryError> {
        let mut matrix = self.bounded(series_max)?;
        if !keep_order {
            matrix = matrix.sorted();
        }
        let value = |series: Series| Some((series.labels, at, series.values.first().copied().flatten()?));
        Ok(matrix.series.into_iter().filter_map(value).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_open_on_the_left() {
        let grid = Grid { start: Nanos(100), step: 10, len: 5 };
        let check = |at, width, expect| assert_eq!(grid.windows(at, width), expect, "{at} {width}");
        check(100, 10, Some((0, 0)));
        check(91, 10, Some((0, 0)));
        check(90, 10, None);
        check(101, 10, Some((1, 1)));
        check(101, 30, Some((1, 3)));
        check(140, 1000, Some((4, 4)));
        check(141, 1000, None);
        check(105, 4, None);
    }
}
