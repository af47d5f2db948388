//! Sums of counts that a store can count itself: `sum by (level) (count_over_time({app="a"} |= "x" [1m]))`.
//!
//! The store answers with groups per time bucket; a window is a run of buckets. A property test holds this to the plain
//! way.

use std::collections::HashMap;

use kenning_model::{
    Agg, Field, Filter, Group, LabelSet, LineSyntax, Nanos, NumberRow, Scan, Severity, Shape, Table,
    TimeRange,
};
use kenning_query::{QueryError, operators};

use super::Evaluator;
use super::grid::{Grid, Matrix, Series};
use super::parsed::{self, Split};
use super::range_aggregation::{Collected, Counts, Samples};
use super::scan::{LEVEL, SPAN_ID, TRACE_ID, push_down};
use super::window::{self, Sample};
use crate::pipeline::{ERROR, ERROR_DETAILS, EXTRACTED};
use crate::syntax::ast::{Conversion, Grouping, LogExpr, NamedMatcher, RangeAggregation, RangeOp, StageKind};

impl Evaluator<'_> {
    /// The sum of a range aggregation by labels, counted by the store; `None` when only the lines themselves can tell.
    /// With `top`, for a single instant, series that are not among so many greatest may be missing.
    pub(super) fn counted_by_store(
        &mut self,
        range: &RangeAggregation,
        grouping: &Grouping,
        top: Option<usize>,
    ) -> Result<Option<Matrix>, QueryError> {
        if self.grid.len == 0 {
            return Ok(None);
        }
        let Some(buckets) = Buckets::new(range, &self.grid) else { return Ok(None) };
        if let Some(plan) = Plan::new(range, grouping) {
            let pushed = push_down(&range.range.log);
            if !pushed.is_exact {
                return Ok(None);
            }
            let counted = self.counts_of_groups(range, &plan, &buckets, pushed.filter, None)?;
            return Ok(Some(matrix_of(range, counted)));
        }
        let Some(split) = Split::new(&range.range.log, None) else { return Ok(None) };
        let Some(plan) = Plan::parsed(range, grouping, split.syntax) else { return Ok(None) };
        let rest = self.collect(range, Some(grouping), split.rest)?;
        // What other lines add could lift a group among the greatest.
        let top = top.filter(|_| rest.is_empty());
        let mut counted = self.counts_of_groups(range, &plan, &buckets, split.plain, top)?;
        for Collected { labels, samples } in rest {
            if let Samples::Counts(counts) = samples {
                match counted.get_mut(&labels) {
                    Some(known) => known.join(&counts),
                    None => drop(counted.insert(labels, counts)),
                }
            }
        }
        Ok(Some(matrix_of(range, counted)))
    }

    /// Lines counted by the store.
    fn counts_of_groups(
        &mut self,
        range: &RangeAggregation,
        plan: &Plan<'_>,
        buckets: &Buckets,
        filter: Filter,
        top: Option<usize>,
    ) -> Result<HashMap<LabelSet, Counts>, QueryError> {
        let mut scan =
            Scan::rows(self.ctx.tenant.clone(), Table::Logs, buckets.time(range, &self.grid), filter);
        scan.bytes_max = self.ctx.limits.memory_bytes_max;
        scan.cancel = self.ctx.cancel.clone();
        scan.shape = Shape::Group(Group {
            step: Some((buckets.origin, buckets.width)),
            by: plan.fields(),
            aggs: plan.aggs(),
            top,
        });
        let (rows, summary) = operators::groups(self.store, &scan)?;
        self.usage.stats.lines += summary.rows;
        self.usage.stats.bytes += summary.bytes;
        self.usage.missing.extend(summary.missing);
        let mut series: HashMap<LabelSet, Counts> = HashMap::new();
        for row in &rows {
            let Some(windows) = buckets.windows(row.time, self.grid.len) else { continue };
            let labels = plan.labels(&row.key);
            if !series.contains_key(&labels) {
                self.usage.charge(labels.heap_bytes() + Counts::heap_bytes(self.grid.len), self.ctx)?;
            }
            let counts = series.entry(labels).or_insert_with(|| Counts::new(self.grid.len));
            let value = |index: usize| row.values.get(index).map(|value| *value as i64);
            let lines = value(0).unwrap_or(0);
            counts.add(windows, lines, value(1).unwrap_or(lines));
        }
        Ok(series)
    }

    /// A function of the numbers in a field, gathered by the store; `None` when only the lines themselves can tell.
    pub(super) fn numbers_from_store(
        &mut self,
        range: &RangeAggregation,
        outer: Option<&Grouping>,
    ) -> Result<Option<Matrix>, QueryError> {
        let (Some(unwrap), Some(grouping)) = (&range.range.unwrap, outer.or(range.grouping.as_ref())) else {
            return Ok(None);
        };
        if unwrap.conversion != Conversion::Float || !is_free_of_order(range.op) {
            return Ok(None);
        }
        let Some(split) = Split::new(&range.range.log, Some(unwrap)) else { return Ok(None) };
        let by = Plan::known_names(grouping).and_then(|names| {
            names.iter().map(|name| parsed::field(split.syntax, name)).collect::<Option<Vec<_>>>()
        });
        let (Some(by), Some(of)) = (by, parsed::field(split.syntax, &unwrap.label)) else { return Ok(None) };
        if self.grid.len == 1 && needs_values_only(range.op) {
            return self.single_window(range, (grouping, outer), (by, of), split).map(Some);
        }
        let mut series = self.samples_of_numbers(range, grouping, (by, of), split.plain)?;
        for Collected { labels, samples } in self.collect(range, outer, split.rest)? {
            if let Samples::Values(samples) = samples {
                series.entry(labels).or_default().extend(samples);
            }
        }
        let collected = series.into_iter().map(|(labels, mut samples)| {
            samples.sort_by_key(|(time, _)| *time);
            Collected { labels, samples: Samples::Values(samples) }
        });
        let collected = collected.collect();
        self.finish(range, collected).map(Some)
    }

    /// A function of the numbers of one window to which their times and their order mean nothing.
    fn single_window(
        &mut self,
        range: &RangeAggregation,
        (grouping, outer): (&Grouping, Option<&Grouping>),
        (by, of): (Vec<Field>, Field),
        split: Split,
    ) -> Result<Matrix, QueryError> {
        let mut series: HashMap<LabelSet, Vec<f64>> = HashMap::new();
        for row in self.rows_of_numbers(range, (by, of), split.plain, false)? {
            let numbers = series.entry(group_labels(grouping, &row)).or_default();
            if numbers.is_empty() { *numbers = row.numbers } else { numbers.extend(row.numbers) }
        }
        for Collected { labels, samples } in self.collect(range, outer, split.rest)? {
            if let Samples::Values(samples) = samples {
                series.entry(labels).or_default().extend(samples.into_iter().map(|(_, value)| value));
            }
        }
        let mut matrix = Matrix::default();
        for (labels, numbers) in series {
            self.check_cancelled()?;
            let value = (!numbers.is_empty()).then(|| window::of_values(range.op, range.param, numbers));
            matrix.series.push(Series { labels, values: vec![value] });
        }
        Ok(matrix.sorted())
    }

    /// The numbers that the store gathers for all windows.
    fn rows_of_numbers(
        &mut self,
        range: &RangeAggregation,
        (by, of): (Vec<Field>, Field),
        filter: Filter,
        is_timed: bool,
    ) -> Result<Vec<NumberRow>, QueryError> {
        let offset = range.range.offset;
        let start = self.grid.start.0.saturating_sub(range.range.interval).saturating_sub(offset);
        let end = self.grid.end().0.saturating_sub(offset);
        let time = TimeRange { start: Nanos(start.saturating_add(1)), end: Nanos(end) };
        let mut scan = Scan::rows(self.ctx.tenant.clone(), Table::Logs, time, filter);
        scan.bytes_max = self.ctx.limits.memory_bytes_max;
        scan.cancel = self.ctx.cancel.clone();
        scan.shape = Shape::Numbers { by, of, is_timed };
        let (rows, summary) = operators::numbers(self.store, &scan)?;
        self.usage.stats.lines += summary.rows;
        self.usage.stats.bytes += summary.bytes;
        self.usage.missing.extend(summary.missing);
        for row in &rows {
            self.usage.charge(row.numbers.len() * size_of::<Sample>(), self.ctx)?;
        }
        Ok(rows)
    }

    fn samples_of_numbers(
        &mut self,
        range: &RangeAggregation,
        grouping: &Grouping,
        fields: (Vec<Field>, Field),
        filter: Filter,
    ) -> Result<HashMap<LabelSet, Vec<Sample>>, QueryError> {
        let offset = range.range.offset;
        let mut series: HashMap<LabelSet, Vec<Sample>> = HashMap::new();
        for row in self.rows_of_numbers(range, fields, filter, true)? {
            let list = series.entry(group_labels(grouping, &row)).or_default();
            let times = row.times.into_iter().map(|time| time.0.saturating_add(offset));
            let moved = times.zip(row.numbers);
            // Windows that touch leave nothing out.
            if self.grid.len == 1 || range.range.interval >= self.grid.step {
                list.extend(moved);
            } else {
                list.extend(
                    moved.filter(|(time, _)| self.grid.windows(*time, range.range.interval).is_some()),
                );
            }
        }
        Ok(series)
    }
}

/// The labels of a group of numbers.
fn group_labels(grouping: &Grouping, row: &NumberRow) -> LabelSet {
    let mut builder = LabelSet::empty().to_builder();
    grouping.labels.iter().zip(&row.key).for_each(|(name, value)| {
        builder.set(name, value);
    });
    builder.build()
}

/// Functions to which neither times nor the order of samples mean anything.
fn needs_values_only(op: RangeOp) -> bool {
    matches!(op, RangeOp::QuantileOverTime | RangeOp::MinOverTime | RangeOp::MaxOverTime)
}

/// Functions whose value does not depend on which of two samples of one time comes first, but for the last digit of
/// sums.
fn is_free_of_order(op: RangeOp) -> bool {
    matches!(
        op,
        RangeOp::QuantileOverTime
            | RangeOp::MinOverTime
            | RangeOp::MaxOverTime
            | RangeOp::SumOverTime
            | RangeOp::AvgOverTime
            | RangeOp::StddevOverTime
            | RangeOp::StdvarOverTime
            | RangeOp::Rate
    )
}

fn matrix_of(range: &RangeAggregation, series: HashMap<LabelSet, Counts>) -> Matrix {
    let finish = |(labels, counts): (LabelSet, Counts)| Series { labels, values: counts.values(range) };
    Matrix { series: series.into_iter().map(finish).collect() }.sorted()
}

/// Which labels the store groups by.
struct Plan<'q> {
    names: &'q [String],
    weight: Agg,
    /// The parser whose fields count too.
    syntax: Option<LineSyntax>,
}

impl<'q> Plan<'q> {
    fn new(range: &RangeAggregation, grouping: &'q Grouping) -> Option<Self> {
        let names = Self::known_names(grouping)?;
        let lines_only = range.range.unwrap.is_none() && leaves_labels(&range.range.log);
        lines_only.then_some(Self { names, weight: weight_of(range.op)?, syntax: None })
    }

    /// The same where labels come out of lines too.
    fn parsed(range: &RangeAggregation, grouping: &'q Grouping, syntax: LineSyntax) -> Option<Self> {
        let names = Self::known_names(grouping)?;
        let all_known = names.iter().all(|name| parsed::field(syntax, name).is_some());
        let fits = range.range.unwrap.is_none() && all_known;
        fits.then_some(Self { names, weight: weight_of(range.op)?, syntax: Some(syntax) })
    }

    /// The labels grouped by when they say all: `by` labels whose names have no meaning of their own, or none at all.
    fn known_names(grouping: &'q Grouping) -> Option<&'q [String]> {
        let plain = |name: &String| !name.starts_with("__") && !name.ends_with(EXTRACTED);
        let is_closed = !grouping.without;
        (is_closed && grouping.labels.iter().all(plain)).then_some(&grouping.labels)
    }

    fn aggs(&self) -> Vec<Agg> {
        match self.weight {
            Agg::Count => vec![Agg::Count],
            _ => vec![Agg::Count, self.weight.clone()],
        }
    }

    /// Per label the places where it may be: stream labels, structured metadata, a column.
    fn fields(&self) -> Vec<Field> {
        if let Some(syntax) = self.syntax {
            return self.names.iter().map(|name| Field::Parsed(syntax, name.as_str().into())).collect();
        }
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
            let places = match name.as_str() {
                _ if self.syntax.is_some() => 1,
                LEVEL | TRACE_ID | SPAN_ID => 3,
                _ => 2,
            };
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

fn weight_of(op: RangeOp) -> Option<Agg> {
    match op {
        RangeOp::CountOverTime | RangeOp::Rate => Some(Agg::Count),
        RangeOp::BytesOverTime | RangeOp::BytesRate => Some(Agg::LineBytes),
        _ => None,
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
