//! Aggregation of floats row by row: which group a series belongs to, and the state of each group at each instant.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use kenning_model::{LabelSet, METRIC_NAME};

use super::leaf::Row;
use super::{Column, Evaluated, Evaluator, Point, Steps, is_stale};
use crate::kahan::{Mean, Sum};
use crate::plan::AggregateOp;
use crate::syntax::Grouping;

/// Numbers groups in the order in which they are met. A group's label set is built once.
pub(super) struct GroupIndex<'a> {
    grouping: &'a Grouping,
    labels: Vec<LabelSet>,
    /// Groups by the hash of their labels.
    by_hash: HashMap<u64, Vec<usize>>,
}

impl<'a> GroupIndex<'a> {
    pub(super) fn new(grouping: &'a Grouping) -> Self {
        Self { grouping, labels: Vec::new(), by_hash: HashMap::new() }
    }

    /// The number of the group that a series belongs to.
    pub(super) fn number(&mut self, labels: &LabelSet) -> usize {
        let Grouping { without, labels: names } = self.grouping;
        let is_named = |name: &str| names.iter().any(|n| n == name);
        let counts =
            |name: &str| if *without { name != METRIC_NAME && !is_named(name) } else { is_named(name) };
        let kept = labels.iter().filter(|(name, _)| counts(name));
        let mut hasher = DefaultHasher::new();
        kept.clone().for_each(|pair| pair.hash(&mut hasher));
        let known = self.by_hash.entry(hasher.finish()).or_default();
        let same = |group: &&usize| self.labels.get(**group).is_some_and(|set| set.iter().eq(kept.clone()));
        if let Some(group) = known.iter().find(same) {
            return *group;
        }
        let group = self.labels.len();
        known.push(group);
        self.labels.push(LabelSet::from_borrowed(&mut kept.collect::<Vec<_>>()));
        group
    }
}

/// The states of all groups at all instants, one group after the other.
pub(super) enum Cells {
    Sum(Table<Sum>),
    Avg(Table<Mean>),
    Count(Table<f64>),
    Group(Table<()>),
    Min(Table<f64>),
    Max(Table<f64>),
}

/// One row of states per group, filled from the first value on.
pub(super) struct Table<T> {
    steps: usize,
    cells: Vec<Option<T>>,
}

impl<T: Copy> Table<T> {
    fn row(&self, group: usize) -> std::ops::Range<usize> {
        let start = group.saturating_mul(self.steps);
        start..start.saturating_add(self.steps)
    }

    #[inline]
    fn add(
        &mut self,
        group: usize,
        values: impl Iterator<Item = Option<f64>>,
        start: impl Fn(f64) -> T,
        add: impl Fn(&mut T, f64),
    ) {
        let row = self.row(group);
        let cells = self.cells.get_mut(row).unwrap_or_default();
        for (cell, value) in cells.iter_mut().zip(values) {
            match (cell, value) {
                (_, None) => {}
                (Some(state), Some(value)) => add(state, value),
                (cell, Some(value)) => *cell = Some(start(value)),
            }
        }
    }

    fn points(&self, group: usize, finish: impl Fn(T) -> f64) -> Vec<Option<Point>> {
        let cells = self.cells.get(self.row(group)).unwrap_or_default();
        cells.iter().map(|cell| cell.map(|state| Point::Float(finish(state)))).collect()
    }
}

impl Cells {
    /// `None` for operators that need all values of an instant at once.
    pub(super) fn new(op: &AggregateOp, steps: usize) -> Option<Self> {
        fn table<T>(steps: usize) -> Table<T> {
            Table { steps, cells: Vec::new() }
        }
        Some(match op {
            AggregateOp::Sum => Self::Sum(table(steps)),
            AggregateOp::Avg => Self::Avg(table(steps)),
            AggregateOp::Count => Self::Count(table(steps)),
            AggregateOp::Group => Self::Group(table(steps)),
            AggregateOp::Min => Self::Min(table(steps)),
            AggregateOp::Max => Self::Max(table(steps)),
            _ => return None,
        })
    }

    /// Bytes of one group.
    pub(super) fn group_bytes(&self) -> usize {
        fn bytes<T>(table: &Table<T>) -> usize {
            table.steps.saturating_mul(size_of::<Option<T>>())
        }
        match self {
            Self::Sum(table) => bytes(table),
            Self::Avg(table) => bytes(table),
            Self::Count(table) | Self::Min(table) | Self::Max(table) => bytes(table),
            Self::Group(table) => bytes(table),
        }
    }

    /// Adds a group.
    pub(super) fn grow(&mut self) {
        fn grow<T: Copy>(table: &mut Table<T>) {
            table.cells.resize(table.cells.len().saturating_add(table.steps), None);
        }
        match self {
            Self::Sum(table) => grow(table),
            Self::Avg(table) => grow(table),
            Self::Count(table) | Self::Min(table) | Self::Max(table) => grow(table),
            Self::Group(table) => grow(table),
        }
    }

    /// Adds a value or none per instant to a group.
    pub(super) fn add(&mut self, group: usize, values: impl Iterator<Item = Option<f64>>) {
        match self {
            Self::Sum(table) => {
                let first = |value| {
                    let mut sum = Sum::default();
                    sum.add(value);
                    sum
                };
                table.add(group, values, first, Sum::add);
            }
            Self::Avg(table) => table.add(group, values, Mean::new, Mean::add),
            Self::Count(table) => table.add(group, values, |_| 1.0, |count, _| *count += 1.0),
            Self::Group(table) => table.add(group, values, |_| (), |(), _| ()),
            Self::Min(table) => table.add(
                group,
                values,
                |value| value,
                |best, value| {
                    if best.is_nan() || value < *best {
                        *best = value;
                    }
                },
            ),
            Self::Max(table) => table.add(
                group,
                values,
                |value| value,
                |best, value| {
                    if best.is_nan() || value > *best {
                        *best = value;
                    }
                },
            ),
        }
    }

    /// The results of a group.
    pub(super) fn points(&self, group: usize) -> Vec<Option<Point>> {
        match self {
            Self::Sum(table) => table.points(group, Sum::value),
            Self::Avg(table) => table.points(group, Mean::value),
            Self::Count(table) | Self::Min(table) | Self::Max(table) => table.points(group, |value| value),
            Self::Group(table) => table.points(group, |()| 1.0),
        }
    }
}

/// What a group was made of.
#[derive(Clone, Copy, Default)]
pub(super) struct Kinds {
    pub floats: bool,
    pub others: bool,
    drop_name: bool,
}

/// An aggregation at work on the rows of a leaf.
pub(super) struct Fold<'a> {
    pub groups: GroupIndex<'a>,
    pub cells: Cells,
    /// By group.
    pub kinds: Vec<Kinds>,
    /// Series with histograms, which are aggregated instant by instant.
    pub others: Vec<Column>,
}

impl Fold<'_> {
    pub(super) fn take(
        &mut self,
        evaluator: &mut Evaluator<'_>,
        row: Row<'_>,
        steps: Steps,
    ) -> Evaluated<()> {
        let labels = match &row {
            Row::Floats { labels, .. } => labels,
            Row::Column(column) => &column.labels,
        };
        let group = self.groups.number(labels);
        if group == self.kinds.len() {
            evaluator.charge(self.cells.group_bytes())?;
            self.cells.grow();
            self.kinds.push(Kinds::default());
        }
        let Some(kinds) = self.kinds.get_mut(group) else { return Ok(()) };
        match row {
            Row::Floats { drop_name, values, .. } => {
                kinds.floats = true;
                kinds.drop_name |= drop_name;
                self.cells.add(group, values.iter().map(|value| (!is_stale(*value)).then_some(*value)));
            }
            Row::Column(column) if column.has_no_histogram() => {
                kinds.floats = true;
                kinds.drop_name |= column.drop_name;
                self.cells
                    .add(group, column.points.iter().map(|point| point.as_ref().and_then(Point::float)));
                evaluator.release_columns(&[column], steps);
            }
            Row::Column(column) => {
                kinds.others = true;
                self.others.push(column);
            }
        }
        Ok(())
    }

    /// The results in the order of the groups; `others` are those of groups with histograms.
    pub(super) fn finish(mut self, others: Vec<Column>) -> Vec<Column> {
        let mut others: HashMap<usize, Column> =
            others.into_iter().map(|column| (self.groups.number(&column.labels), column)).collect();
        let groups = self.groups.labels.into_iter().zip(self.kinds).enumerate();
        let results = groups.filter_map(|(group, (labels, kinds))| {
            if !kinds.floats {
                return others.remove(&group);
            }
            Some(Column { labels, drop_name: kinds.drop_name, points: self.cells.points(group) })
        });
        results.collect()
    }
}
