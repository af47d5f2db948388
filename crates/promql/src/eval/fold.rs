//! Aggregation of floats row by row: which group a series belongs to, and the state of each group at each instant.

use std::collections::HashMap;

use kenning_model::keyed::Prehashed;
use kenning_model::{LabelSet, METRIC_NAME};

use super::leaf::Row;
use super::{Column, Evaluated, Evaluator, Point, STALE, Steps, is_stale};
use crate::kahan::{Mean, Sum};
use crate::plan::AggregateOp;
use crate::syntax::Grouping;

/// Numbers groups in the order in which they are met. A group's label set is built once.
pub(super) struct GroupIndex<'a> {
    grouping: &'a Grouping,
    labels: Vec<LabelSet>,
    /// Groups by their labels as [`Self::write_key`] writes them.
    by_key: HashMap<Box<[u8]>, usize, Prehashed>,
    /// The group asked for last.
    key: Vec<u8>,
    last: usize,
    scratch: Vec<u8>,
}

/// The bit that tells a NaN of arithmetic from others.
const NAN_QUIET: u64 = 1 << 51;

/// Ends each name and value in a key; no text holds this byte.
const KEY_END: u8 = 0xff;

impl<'a> GroupIndex<'a> {
    pub(super) fn new(grouping: &'a Grouping) -> Self {
        Self {
            grouping,
            labels: Vec::new(),
            by_key: HashMap::default(),
            key: Vec::new(),
            last: 0,
            scratch: Vec::new(),
        }
    }

    /// The number of the group that a series belongs to.
    pub(super) fn number(&mut self, labels: &LabelSet) -> usize {
        let mut key = std::mem::take(&mut self.scratch);
        self.write_key(labels, &mut key);
        // Neighbours are often of one group.
        if self.labels.is_empty() || key != self.key {
            self.last = match self.by_key.get(key.as_slice()) {
                Some(group) => *group,
                None => self.add(&key, labels),
            };
            std::mem::swap(&mut self.key, &mut key);
        }
        self.scratch = key;
        self.last
    }

    fn add(&mut self, key: &[u8], labels: &LabelSet) -> usize {
        let group = self.labels.len();
        let mut kept: Vec<_> = labels.iter().filter(|(name, _)| self.counts(name)).collect();
        self.labels.push(LabelSet::from_borrowed(&mut kept));
        self.by_key.insert(key.into(), group);
        group
    }

    fn counts(&self, name: &str) -> bool {
        let Grouping { without, labels } = self.grouping;
        let is_named = labels.iter().any(|named| named == name);
        if *without { name != METRIC_NAME && !is_named } else { is_named }
    }

    fn write_key(&self, labels: &LabelSet, key: &mut Vec<u8>) {
        key.clear();
        for (name, value) in labels.iter().filter(|(name, _)| self.counts(name)) {
            for text in [name, value] {
                key.extend_from_slice(text.as_bytes());
                key.push(KEY_END);
            }
        }
    }
}

/// The sums of all groups at all instants, what they are made of in lists of their own so that a row is added without
/// branches.
pub(super) struct Sums {
    steps: usize,
    /// [`STALE`] where there is no value yet, which no sum comes out as: arithmetic makes no signalling NaN.
    sums: Vec<f64>,
    lost: Vec<f64>,
}

impl Sums {
    /// Adds a row in which [`STALE`] stands for no value.
    #[inline]
    fn add(&mut self, group: usize, row: &[f64]) {
        let cells = row_of(group, self.steps);
        let sums = self.sums.get_mut(cells.clone()).unwrap_or_default();
        let lost = self.lost.get_mut(cells).unwrap_or_default();
        for ((sum, lost), value) in sums.iter_mut().zip(lost).zip(row) {
            let mut state = Sum::from_parts(if is_stale(*sum) { 0.0 } else { *sum }, *lost);
            state.add(*value);
            let (added, lost_now) = state.parts();
            let is_there = !is_stale(*value);
            *sum = if is_there { added } else { *sum };
            *lost = if is_there { lost_now } else { *lost };
        }
    }

    fn points(&self, group: usize) -> Vec<Option<Point>> {
        let cells = row_of(group, self.steps);
        let sums = self.sums.get(cells.clone()).unwrap_or_default();
        let lost = self.lost.get(cells).unwrap_or_default();
        let point = |(sum, lost): (&f64, &f64)| {
            (!is_stale(*sum)).then(|| Point::Float(Sum::from_parts(*sum, *lost).value()))
        };
        sums.iter().zip(lost).map(point).collect()
    }
}

fn row_of(group: usize, steps: usize) -> std::ops::Range<usize> {
    let start = group.saturating_mul(steps);
    start..start.saturating_add(steps)
}

/// The states of all groups at all instants, one group after the other.
pub(super) enum Cells {
    Sum(Sums),
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
    #[inline]
    fn add(
        &mut self,
        group: usize,
        values: impl Iterator<Item = Option<f64>>,
        start: impl Fn(f64) -> T,
        add: impl Fn(&mut T, f64),
    ) {
        let cells = self.cells.get_mut(row_of(group, self.steps)).unwrap_or_default();
        for (cell, value) in cells.iter_mut().zip(values) {
            match (cell, value) {
                (_, None) => {}
                (Some(state), Some(value)) => add(state, value),
                (cell, Some(value)) => *cell = Some(start(value)),
            }
        }
    }

    fn points(&self, group: usize, finish: impl Fn(T) -> f64) -> Vec<Option<Point>> {
        let cells = self.cells.get(row_of(group, self.steps)).unwrap_or_default();
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
            AggregateOp::Sum => Self::Sum(Sums { steps, sums: Vec::new(), lost: Vec::new() }),
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
            Self::Sum(sums) => sums.steps.saturating_mul(2 * size_of::<f64>()),
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
            Self::Sum(table) => {
                table.sums.resize(table.sums.len().saturating_add(table.steps), STALE);
                table.lost.resize(table.sums.len(), 0.0);
            }
            Self::Avg(table) => grow(table),
            Self::Count(table) | Self::Min(table) | Self::Max(table) => grow(table),
            Self::Group(table) => grow(table),
        }
    }

    /// Adds the points of a column without histograms to a group.
    pub(super) fn add_points(&mut self, group: usize, points: &[Option<Point>]) {
        let value = |point: &Option<Point>| match point.as_ref().and_then(Point::float) {
            // A value that only looks like a marker counts as the NaN that arithmetic makes of it.
            Some(value) if is_stale(value) => f64::from_bits(value.to_bits() | NAN_QUIET),
            Some(value) => value,
            None => STALE,
        };
        self.add(group, &points.iter().map(value).collect::<Vec<_>>());
    }

    /// Adds a row of values, [`STALE`] where there is none, to a group.
    pub(super) fn add(&mut self, group: usize, row: &[f64]) {
        let values = row.iter().map(|value| (!is_stale(*value)).then_some(*value));
        match self {
            Self::Sum(sums) => sums.add(group, row),
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
            Self::Sum(sums) => sums.points(group),
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
                self.cells.add(group, values);
            }
            Row::Column(column) if column.has_no_histogram() => {
                kinds.floats = true;
                kinds.drop_name |= column.drop_name;
                self.cells.add_points(group, &column.points);
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
