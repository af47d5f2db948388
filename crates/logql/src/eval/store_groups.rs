//! Sums of counts that a store can count itself: `sum by (level) (count_over_time({app="a"} |= "x" [1m]))`.
//!
//! The store answers with groups per time bucket; a window is a run of buckets. A property test holds this to the plain
//! way.

use std::collections::HashMap;

use kenning_model::{Agg, Field, Group, GroupRow, LabelSet, Nanos, Scan, Severity, Shape, Table, TimeRange};
use kenning_query::{QueryError, operators};

use super::Evaluator;
use super::grid::{Grid, Matrix, Series};
use super::range_aggregation::Counts;
use super::scan::{LEVEL, SPAN_ID, TRACE_ID, push_down};
use crate::pipeline::{ERROR, ERROR_DETAILS, EXTRACTED};
use crate::syntax::ast::{Grouping, LogExpr, NamedMatcher, RangeAggregation, RangeOp, StageKind};

impl Evaluator<'_> {
    /// The sum of a range aggregation by labels, counted by the store; `None` when only the lines themselves can tell.
    pub(super) fn counted_by_store(
        &mut self,
        range: &RangeAggregation,
        grouping: &Grouping,
    ) -> Result<Option<Matrix>, QueryError> {
        let (Some(plan), Some(buckets)) = (Plan::new(range, grouping), Buckets::new(range, &self.grid))
        else {
            return Ok(None);
        };
        let pushed = push_down(&range.range.log);
        if !pushed.is_exact || self.grid.len == 0 {
            return Ok(None);
        }
        let mut scan =
            Scan::rows(self.ctx.tenant.clone(), Table::Logs, buckets.time(range, &self.grid), pushed.filter);
        scan.bytes_max = self.ctx.limits.memory_bytes_max;
        scan.cancel = self.ctx.cancel.clone();
        scan.shape = Shape::Group(Group {
            step: Some((buckets.origin, buckets.width)),
            by: plan.fields(),
            aggs: vec![Agg::Count, plan.weight.clone()],
        });
        let (rows, summary) = operators::groups(self.store, &scan)?;
        self.usage.stats.lines += summary.rows;
        self.usage.stats.bytes += summary.bytes;
        self.usage.missing.extend(summary.missing);
        self.matrix_of_groups(range, &plan, &buckets, &rows).map(Some)
    }

    fn matrix_of_groups(
        &mut self,
        range: &RangeAggregation,
        plan: &Plan<'_>,
        buckets: &Buckets,
        rows: &[GroupRow],
    ) -> Result<Matrix, QueryError> {
        let mut series: HashMap<LabelSet, Counts> = HashMap::new();
        for row in rows {
            let Some(windows) = buckets.windows(row.time, self.grid.len) else { continue };
            let labels = plan.labels(&row.key);
            if !series.contains_key(&labels) {
                self.usage.charge(labels.heap_bytes() + Counts::heap_bytes(self.grid.len), self.ctx)?;
            }
            let counts = series.entry(labels).or_insert_with(|| Counts::new(self.grid.len));
            let value = |index: usize| row.values.get(index).copied().unwrap_or(0.0) as i64;
            counts.add(windows, value(0), value(1));
        }
        let finish = |(labels, counts): (LabelSet, Counts)| Series { labels, values: counts.values(range) };
        Ok(Matrix { series: series.into_iter().map(finish).collect() }.sorted())
    }
}

/// Which labels the store groups by.
struct Plan<'q> {
    names: &'q [String],
    weight: Agg,
}

impl<'q> Plan<'q> {
    fn new(range: &RangeAggregation, grouping: &'q Grouping) -> Option<Self> {
        let weight = match range.op {
            RangeOp::CountOverTime | RangeOp::Rate => Agg::Count,
            RangeOp::BytesOverTime | RangeOp::BytesRate => Agg::LineBytes,
            _ => return None,
        };
        let plain = |name: &String| !name.starts_with("__") && !name.ends_with(EXTRACTED);
        let known = !grouping.without && grouping.labels.iter().all(plain);
        let lines_only = range.range.unwrap.is_none() && leaves_labels(&range.range.log);
        (known && lines_only).then_some(Self { names: &grouping.labels, weight })
    }

    /// Per label the places where it may be: stream labels, structured metadata, a column.
    fn fields(&self) -> Vec<Field> {
        let places = |name: &String| {
            let column = match name.as_str() {
                LEVEL => Some(Field::Severity),
                TRACE_ID => Some(Field::TraceId),
                SPAN_ID => Some(Field::SpanId),
                _ => None,
            };
            let name = || name.as_str().into();
            [Field::Label(name()), Field::Metadata(name())].into_iter().chain(column)
        };
        self.names.iter().flat_map(places).collect()
    }

    /// The labels of a group: of each the first place that has it.
    fn labels(&self, key: &[Box<str>]) -> LabelSet {
        let mut values = key.iter();
        let mut builder = LabelSet::empty().to_builder();
        for name in self.names {
            let mut value = "";
            let places = if matches!(name.as_str(), LEVEL | TRACE_ID | SPAN_ID) { 3 } else { 2 };
            for place in 0..places {
                let found = values.next().map_or("", |text| &**text);
                let found = if place == 2 && name == LEVEL { level_word(found) } else { found };
                value = if value.is_empty() { found } else { value };
            }
            builder.set(name, value);
        }
        builder.build()
    }
}

/// The word of a severity number; empty where none was told.
fn level_word(number: &str) -> &'static str {
    match number.parse().map(Severity) {
        Ok(Severity::UNKNOWN) | Err(_) => "",
        Ok(severity) => severity.as_str(),
    }
}

/// True when no stage touches labels or lines. Dropping errors counts as that: without other stages there are none.
fn leaves_labels(log: &LogExpr) -> bool {
    let is_error =
        |named: &NamedMatcher| matches!(named, NamedMatcher::Name(n) if n == ERROR || n == ERROR_DETAILS);
    log.stages.iter().all(|stage| match &stage.kind {
        StageKind::LineFilters(_) => true,
        StageKind::Drop(list) => list.iter().all(is_error),
        _ => false,
    })
}

/// Time buckets that windows are made of.
struct Buckets {
    /// The end of the bucket that ends with the first window.
    origin: Nanos,
    width: i64,
    /// How many make a window.
    per_window: usize,
}

impl Buckets {
    /// `None` when windows do not begin and end where buckets do.
    fn new(range: &RangeAggregation, grid: &Grid) -> Option<Self> {
        let interval = range.range.interval;
        let origin = Nanos(grid.start.0.saturating_sub(range.range.offset));
        if interval <= 0 {
            return None;
        }
        if grid.len == 1 {
            return Some(Self { origin, width: interval, per_window: 1 });
        }
        let per_window = usize::try_from(interval / grid.step).ok()?;
        (interval % grid.step == 0).then_some(Self { origin, width: grid.step, per_window })
    }

    fn time(&self, range: &RangeAggregation, grid: &Grid) -> TimeRange {
        let end = grid.end().0.saturating_sub(range.range.offset);
        TimeRange {
            start: Nanos(self.origin.0.saturating_sub(range.range.interval).saturating_add(1)),
            end: Nanos(end),
        }
    }

    /// The windows that hold a bucket: first and last number.
    fn windows(&self, end: Nanos, grid_len: usize) -> Option<(usize, usize)> {
        let bucket = (i128::from(end.0) - i128::from(self.origin.0)).div_euclid(i128::from(self.width));
        let first = bucket.max(0);
        let last = (bucket + self.per_window as i128 - 1).min(grid_len as i128 - 1);
        (first <= last).then_some((first as usize, last as usize))
    }
}
