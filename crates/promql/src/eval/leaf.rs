//! The leaves of a plan that give rows of floats: selectors and functions of their ranges. What stands above takes the
//! rows one by one, as the store hands the series over.

use kenning_model::{LabelSet, Millis};

use super::over_range::merge_neighbours;
use super::{Column, Evaluated, Evaluator, Point, Steps, is_stale, sliding, without_metadata};
use crate::Series;
use crate::plan::{OverRange, Selector, Vector};

/// A part of a plan whose rows come series by series.
pub(super) enum Leaf<'a> {
    Instant(&'a Selector),
    Range(&'a OverRange),
}

/// A series over the grid, with at least one value.
pub(super) enum Row<'a> {
    /// Floats; [`super::STALE`] where there is no value.
    Floats { labels: &'a LabelSet, drop_name: bool, values: &'a [f64] },
    /// Anything else, charged.
    Column(Column),
}

impl Evaluator<'_> {
    /// The vector as a leaf, if it is one.
    pub(super) fn leaf<'a>(&self, vector: &'a Vector) -> Option<Leaf<'a>> {
        match vector {
            Vector::Selector(selector) if !selector.smoothed => Some(Leaf::Instant(selector)),
            Vector::OverRange(call) => self.range_leaf(call),
            _ => None,
        }
    }

    /// The rows of a leaf in label order.
    pub(super) fn leaf_rows(
        &mut self,
        leaf: &Leaf<'_>,
        steps: Steps,
        each: &mut dyn FnMut(&mut Self, Row<'_>) -> Evaluated<()>,
    ) -> Evaluated<()> {
        match leaf {
            Leaf::Instant(selector) => self.instant_rows(selector, steps, each),
            Leaf::Range(call) => self.range_rows(call, steps, each),
        }
    }

    /// The rows of a leaf as the answer of a query: each value is put down once.
    pub(super) fn series_of(&mut self, leaf: &Leaf<'_>, steps: Steps) -> Evaluated<Vec<Series>> {
        // Room for one column must be there before anything of its length is made.
        self.charge_columns(1, steps)?;
        let times: Vec<_> = steps.iter().map(|(_, time)| Millis(time)).collect();
        let (mut answer, mut drops_names) = (Vec::new(), false);
        self.leaf_rows(leaf, steps, &mut |this, row| {
            let (labels, drop_name, points) = match row {
                Row::Column(column) => {
                    let points = times.iter().copied().zip(column.points);
                    let points = points.filter_map(|(time, point)| Some((time, point?)));
                    (column.labels, column.drop_name, points.collect())
                }
                Row::Floats { labels, drop_name, values } => {
                    let count = values.iter().filter(|value| !is_stale(**value)).count();
                    this.charge(size_of::<Series>() + count * size_of::<(Millis, Point)>())?;
                    let mut points = Vec::with_capacity(count);
                    let there = times.iter().zip(values).filter(|(_, value)| !is_stale(**value));
                    points.extend(there.map(|(time, value)| (*time, Point::Float(*value))));
                    (labels.clone(), drop_name, points)
                }
            };
            drops_names |= drop_name;
            let labels = if drop_name { without_metadata(&labels) } else { labels };
            answer.push(Series { labels, points });
            Ok(())
        })?;
        // Series come in label order.
        if drops_names {
            answer.sort_by(|a, b| a.labels.cmp(&b.labels));
        }
        merge_neighbours(answer)
    }

    /// The rows of a leaf as columns.
    pub(super) fn columns_of(&mut self, leaf: &Leaf<'_>, steps: Steps) -> Evaluated<Vec<Column>> {
        let mut columns = Vec::new();
        self.leaf_rows(leaf, steps, &mut |this, row| {
            columns.push(match row {
                Row::Column(column) => column,
                Row::Floats { labels, drop_name, values } => {
                    this.charge_columns(1, steps)?;
                    Column { labels: labels.clone(), drop_name, points: sliding::points(values) }
                }
            });
            Ok(())
        })?;
        Ok(columns)
    }
}
