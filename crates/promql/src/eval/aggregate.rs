//! Aggregation over series.

use std::collections::HashMap;
use std::sync::Arc;

use kenning_model::{Histogram, LabelSet};

use super::collect::Collector;
use super::fold::{Cells, Fold, GroupIndex};
use super::hash::sampling_offset;
use super::over_time::{HistogramSum, quantile_of};
use super::{Column, Evaluated, Evaluator, Point, Steps, failure, keep, without};
use crate::annotation::{Annotations, Operation};
use crate::histogram::describe;
use crate::kahan::{Mean, Sum};
use crate::plan::{AggregateOp, Aggregation, go_max, go_min};
use crate::syntax::Grouping;
use crate::text::decimal;

/// Which group each column belongs to, and the groups' labels.
struct Groups {
    of: Vec<usize>,
    labels: Vec<LabelSet>,
}

impl Groups {
    fn new(columns: &[Column], grouping: &Grouping) -> Self {
        let mut numbers: HashMap<LabelSet, usize> = HashMap::new();
        let mut labels = Vec::new();
        let mut number = |column: &Column| {
            let group = group_labels(grouping, &column.labels);
            *numbers.entry(group.clone()).or_insert_with(|| {
                labels.push(group);
                labels.len() - 1
            })
        };
        let of = columns.iter().map(&mut number).collect();
        Self { of, labels }
    }
}

fn group_labels(grouping: &Grouping, labels: &LabelSet) -> LabelSet {
    if grouping.without { without(labels, &grouping.labels) } else { keep(labels, &grouping.labels) }
}

impl Evaluator<'_> {
    pub(super) fn aggregate(&mut self, plan: &Aggregation, steps: Steps) -> Evaluated<Vec<Column>> {
        let columns = match &plan.op {
            AggregateOp::CountValues(label) => {
                let columns = self.vector(&plan.operand, steps)?;
                self.count_values(&columns, plan, label, steps)
            }
            AggregateOp::Topk(param)
            | AggregateOp::Bottomk(param)
            | AggregateOp::Limitk(param)
            | AggregateOp::LimitRatio(param) => {
                let params = self.scalar(param, steps)?;
                let columns = self.vector(&plan.operand, steps)?;
                self.selection(columns, plan, params, steps)
            }
            AggregateOp::Quantile(param) => {
                let params = self.scalar(param, steps)?;
                self.check_quantiles(&params, plan);
                let columns = self.vector(&plan.operand, steps)?;
                self.reduction(&columns, plan, &params, steps)
            }
            _ => {
                if let Some(columns) = self.fused(plan, steps)? {
                    return Ok(columns);
                }
                let columns = self.vector(&plan.operand, steps)?;
                self.reduction(&columns, plan, &[], steps)
            }
        }?;
        Ok(columns)
    }

    fn check_quantiles(&mut self, params: &[f64], plan: &Aggregation) {
        if params.iter().any(|q| q.is_nan()) {
            self.notes.invalid_quantile(f64::NAN, plan.param_span);
        }
        let (min, max) = bounds(params);
        if max > 1.0 {
            self.notes.invalid_quantile(max, plan.param_span);
        }
        if min < 0.0 {
            self.notes.invalid_quantile(min, plan.param_span);
        }
    }

    /// Aggregations that make one value of many.
    fn reduction(
        &mut self,
        columns: &[Column],
        plan: &Aggregation,
        params: &[f64],
        steps: Steps,
    ) -> Evaluated<Vec<Column>> {
        let groups = Groups::new(columns, &plan.grouping);
        self.charge_columns(groups.labels.len(), steps)?;
        let is_floats = !self.options.plain && columns.iter().all(Column::has_no_histogram);
        if is_floats && let Some(results) = self.float_reduction(columns, &plan.op, &groups, steps)? {
            self.release_columns(columns, steps);
            return Ok(results);
        }
        let blank = |labels: &LabelSet| Column {
            labels: labels.clone(),
            drop_name: false,
            points: vec![None; steps.len],
        };
        let mut results: Vec<_> = groups.labels.iter().map(blank).collect();
        for i in 0..steps.len {
            let mut reducers: Vec<Option<Reducer>> = groups.labels.iter().map(|_| None).collect();
            for (column, group) in columns.iter().zip(&groups.of) {
                let Some((point, slot)) = column.at(i).zip(reducers.get_mut(*group)) else { continue };
                let dropped = {
                    let reducer = slot.get_or_insert_with(|| Reducer::new(&plan.op));
                    reducer.add(point, column, plan, &mut self.notes)
                };
                if let (true, Some(result)) = (dropped, results.get_mut(*group)) {
                    result.drop_name = true;
                }
            }
            let param = params.get(i).copied().unwrap_or(f64::NAN);
            for (reducer, result) in reducers.into_iter().zip(&mut results) {
                if let Some(point) = reducer.and_then(|r| r.finish(param, plan, &mut self.notes)) {
                    result.set(i, point);
                }
            }
            self.check_cancel()?;
        }
        self.release_columns(columns, steps);
        results.retain(|column| !column.is_blank());
        Ok(results)
    }

    /// As [`Self::reduction`] for floats, series by series instead of instant by instant. Each group still gets its
    /// values in the order of the series, so sums round alike. `None` for operators that need all values at once.
    fn float_reduction(
        &mut self,
        columns: &[Column],
        op: &AggregateOp,
        groups: &Groups,
        steps: Steps,
    ) -> Evaluated<Option<Vec<Column>>> {
        let Some(mut cells) = Cells::new(op, steps.len) else { return Ok(None) };
        let bytes = groups.labels.len().saturating_mul(cells.group_bytes());
        self.charge(bytes)?;
        let mut drops = vec![false; groups.labels.len()];
        groups.labels.iter().for_each(|_| cells.grow());
        for (column, group) in columns.iter().zip(&groups.of) {
            self.check_cancel()?;
            if let Some(drops) = drops.get_mut(*group) {
                *drops |= column.drop_name && !column.is_blank();
            }
            cells.add_points(*group, &column.points);
        }
        let columns = groups.labels.iter().zip(drops).enumerate().map(|(group, (labels, drop_name))| {
            Column { labels: labels.clone(), drop_name, points: cells.points(group) }
        });
        let columns = columns.filter(|column| !column.is_blank()).collect();
        self.release(bytes);
        Ok(Some(columns))
    }

    /// Aggregates the rows of a leaf as they come, so that no column is made of any of them. `None` when there is no
    /// such way: other operators and operands, and groups in which floats and histograms meet.
    fn fused(&mut self, plan: &Aggregation, steps: Steps) -> Evaluated<Option<Vec<Column>>> {
        if self.options.plain {
            return Ok(None);
        }
        let Some(leaf) = self.leaf(&plan.operand) else { return Ok(None) };
        let Some(cells) = Cells::new(&plan.op, steps.len) else { return Ok(None) };
        let before = (self.stats, self.notes.clone(), self.memory, self.missing.len());
        let mut fold =
            Fold { groups: GroupIndex::new(&plan.grouping), cells, kinds: Vec::new(), others: Vec::new() };
        self.leaf_rows(&leaf, steps, &mut |this, row| fold.take(this, row, steps))?;
        if fold.kinds.iter().any(|kind| kind.floats && kind.others) {
            let missing;
            (self.stats, self.notes, self.memory, missing) = before;
            self.missing.truncate(missing);
            return Ok(None);
        }
        let bytes = fold.kinds.len().saturating_mul(fold.cells.group_bytes());
        self.charge_columns(fold.kinds.len(), steps)?;
        let others = self.reduction(&std::mem::take(&mut fold.others), plan, &[], steps)?;
        self.release_columns(&others, steps);
        let columns = fold.finish(others);
        self.release(bytes);
        Ok(Some(columns))
    }

    fn count_values(
        &mut self,
        columns: &[Column],
        plan: &Aggregation,
        label: &str,
        steps: Steps,
    ) -> Evaluated<Vec<Column>> {
        let mut grouping = plan.grouping.clone();
        if !grouping.without {
            grouping.labels.push(label.to_owned());
        }
        let (mut out, mut charged) = (Collector::new(steps), 0);
        for i in 0..steps.len {
            let mut order: Vec<(LabelSet, f64)> = Vec::new();
            let mut numbers: HashMap<LabelSet, usize> = HashMap::new();
            for column in columns {
                let Some(point) = column.at(i) else { continue };
                let value = match point {
                    Point::Float(value) => decimal(*value),
                    Point::Histogram(histogram) => describe(histogram),
                };
                let labelled = column.labels.to_builder().set(label, &value).clone().build();
                let group = group_labels(&grouping, &labelled);
                let at = *numbers.entry(group.clone()).or_insert(order.len());
                match order.get_mut(at) {
                    Some((_, count)) => *count += 1.0,
                    None => order.push((group, 1.0)),
                }
            }
            for (labels, count) in order {
                out.push(&labels, false, i, Point::Float(count))?;
            }
            self.charge_columns(out.len() - charged, steps)?;
            charged = out.len();
        }
        self.release_columns(columns, steps);
        Ok(out.finish())
    }

    /// Aggregations that choose among series.
    fn selection(
        &mut self,
        columns: Vec<Column>,
        plan: &Aggregation,
        params: Vec<f64>,
        steps: Steps,
    ) -> Evaluated<Vec<Column>> {
        if !self.check_selection(&params, plan)? {
            self.release_columns(&columns, steps);
            return Ok(Vec::new());
        }
        let groups = Groups::new(&columns, &plan.grouping);
        let mut chosen: Vec<Vec<bool>> = columns.iter().map(|_| vec![false; steps.len]).collect();
        let mut order = Vec::new();
        for i in 0..steps.len {
            let param = params.get(i).copied().unwrap_or(f64::NAN);
            let mut members: Vec<Vec<usize>> = vec![Vec::new(); groups.labels.len()];
            for (at, (column, group)) in columns.iter().zip(&groups.of).enumerate() {
                if let Some(members) = members.get_mut(*group).filter(|_| column.at(i).is_some()) {
                    members.push(at);
                }
            }
            for members in members {
                let kept = choose(plan, param, &columns, members, i, &mut self.notes);
                for at in &kept {
                    if let Some(flag) = chosen.get_mut(*at).and_then(|flags| flags.get_mut(i)) {
                        *flag = true;
                    }
                }
                if steps.len == 1 {
                    order.extend(kept);
                }
            }
            self.check_cancel()?;
        }
        let mut results: Vec<Option<Column>> = columns.into_iter().map(Some).collect();
        for (column, flags) in results.iter_mut().flatten().zip(&chosen) {
            for (slot, chosen) in column.points.iter_mut().zip(flags) {
                *slot = slot.take().filter(|_| *chosen);
            }
        }
        // A single instant keeps the order of choice: the greatest first for `topk`.
        if steps.len != 1 {
            order = (0..results.len()).collect();
        }
        let ordered = order.into_iter().filter_map(|at| results.get_mut(at).and_then(Option::take));
        Ok(ordered.filter(|column| !column.is_blank()).collect())
    }

    /// True when something can be chosen.
    fn check_selection(&mut self, params: &[f64], plan: &Aggregation) -> Evaluated<bool> {
        let (min, max) = bounds(params);
        let has_nan = params.iter().any(|param| param.is_nan());
        if let AggregateOp::LimitRatio(_) = plan.op {
            if max == 0.0 && min == 0.0 {
                return Ok(false);
            }
            if has_nan {
                return Err(failure(plan.param_span, "Ratio value is NaN"));
            }
            if max > 1.0 {
                self.notes.invalid_ratio(max, 1.0, plan.param_span);
            }
            if min < -1.0 {
                self.notes.invalid_ratio(min, -1.0, plan.param_span);
            }
            return Ok(true);
        }
        if max < 1.0 {
            return Ok(false);
        }
        if has_nan {
            return Err(failure(plan.param_span, "Parameter value is NaN"));
        }
        let shown = crate::text::general;
        if min <= i64::MIN as f64 {
            return Err(failure(plan.param_span, format!("Scalar value {} underflows int64", shown(min))));
        }
        if max >= i64::MAX as f64 {
            return Err(failure(plan.param_span, format!("Scalar value {} overflows int64", shown(max))));
        }
        Ok(true)
    }
}

/// The least and the greatest parameter; NaN if one is NaN.
fn bounds(params: &[f64]) -> (f64, f64) {
    let min = params.iter().copied().fold(f64::MAX, go_min);
    let max = params.iter().copied().fold(-f64::MAX, go_max);
    (min, max)
}

/// The members of a group that stay, best first.
fn choose(
    plan: &Aggregation,
    param: f64,
    columns: &[Column],
    members: Vec<usize>,
    i: usize,
    notes: &mut Annotations,
) -> Vec<usize> {
    let k = if param < 1.0 { 0 } else { param as usize };
    let (op, descending) = match &plan.op {
        AggregateOp::Limitk(_) => return members.into_iter().take(k).collect(),
        AggregateOp::LimitRatio(_) => {
            let ratio = param.clamp(-1.0, 1.0);
            let keeps = |at: &usize| {
                let Some(column) = columns.get(*at) else { return false };
                let offset = sampling_offset(&column.labels);
                if ratio >= 0.0 { offset < ratio } else { offset >= 1.0 + ratio }
            };
            return members.into_iter().filter(keeps).collect();
        }
        AggregateOp::Topk(_) => ("topk", true),
        _ => ("bottomk", false),
    };
    if k == 0 {
        return Vec::new();
    }
    let value = |at: usize| columns.get(at).and_then(|column| column.at(i)).and_then(Point::float);
    let floats: Vec<(usize, f64)> = members.iter().filter_map(|at| Some((*at, value(*at)?))).collect();
    if floats.len() < members.len() {
        notes.histogram_ignored(op, plan.span);
    }
    let mut best = Best { descending, kept: Vec::new() };
    floats.into_iter().for_each(|one| best.offer(one, k));
    best.into_order().into_iter().map(|(at, _)| at).collect()
}

/// The best values so far in a heap with the worst on top. Which of several equal ones stay is decided by where they
/// lie in the heap, so this is the heap of Go's library.
struct Best {
    /// Greater is better.
    descending: bool,
    /// Where a value comes from, and the value.
    kept: Vec<(usize, f64)>,
}

impl Best {
    /// NaN is worse than everything.
    fn is_worse(&self, a: f64, b: f64) -> bool {
        a.is_nan() || if self.descending { a < b } else { a > b }
    }

    fn is_worse_at(&self, a: usize, b: usize) -> bool {
        let (a, b) = (self.kept.get(a), self.kept.get(b));
        a.zip(b).is_some_and(|((_, a), (_, b))| self.is_worse(*a, *b))
    }

    /// Takes a value if fewer than `most` are kept or it is better than the worst of them.
    fn offer(&mut self, one: (usize, f64), most: usize) {
        if self.kept.len() < most {
            self.kept.push(one);
            return self.rise();
        }
        let Some(top) = self.kept.first_mut() else { return };
        let is_better = if self.descending { top.1 < one.1 } else { top.1 > one.1 };
        if is_better || (top.1.is_nan() && !one.1.is_nan()) {
            *top = one;
            self.sink();
        }
    }

    /// Moves the last value up to where it belongs.
    fn rise(&mut self) {
        let mut at = self.kept.len().saturating_sub(1);
        while at > 0 && self.is_worse_at(at, (at - 1) / 2) {
            self.kept.swap(at, (at - 1) / 2);
            at = (at - 1) / 2;
        }
    }

    /// Moves the first value down to where it belongs.
    fn sink(&mut self) {
        let mut at = 0;
        loop {
            let (left, right) = (2 * at + 1, 2 * at + 2);
            let below = if self.is_worse_at(right, left) { right } else { left };
            if !self.is_worse_at(below, at) {
                return;
            }
            self.kept.swap(at, below);
            at = below;
        }
    }

    /// The best first.
    fn into_order(self) -> Vec<(usize, f64)> {
        let (mut kept, descending) = (self.kept, self.descending);
        kept.sort_by(|(_, a), (_, b)| {
            let (a, b) = if descending { (b, a) } else { (a, b) };
            // Values that are not equal and not in order have a NaN, which goes last.
            a.partial_cmp(b).unwrap_or_else(|| {
                if descending { b.is_nan().cmp(&a.is_nan()) } else { a.is_nan().cmp(&b.is_nan()) }
            })
        });
        kept
    }
}

/// The state of one group at one instant.
enum Reducer {
    Sum { floats: Option<Sum>, histograms: HistogramSum, failed: bool },
    Avg { floats: Option<Mean>, histograms: HistogramSum, failed: bool },
    Count(f64),
    Group,
    Extreme { max: bool, best: Option<f64> },
    Deviation { count: f64, mean: f64, squares: f64 },
    Quantile(Vec<f64>),
}

impl Reducer {
    fn new(op: &AggregateOp) -> Self {
        match op {
            AggregateOp::Avg => {
                Self::Avg { floats: None, histograms: HistogramSum::default(), failed: false }
            }
            AggregateOp::Count => Self::Count(0.0),
            AggregateOp::Group => Self::Group,
            AggregateOp::Min => Self::Extreme { max: false, best: None },
            AggregateOp::Max => Self::Extreme { max: true, best: None },
            AggregateOp::Stddev | AggregateOp::Stdvar => {
                Self::Deviation { count: 0.0, mean: 0.0, squares: 0.0 }
            }
            AggregateOp::Quantile(_) => Self::Quantile(Vec::new()),
            _ => Self::Sum { floats: None, histograms: HistogramSum::default(), failed: false },
        }
    }

    /// Adds a value; true when the value's name is due to be dropped, and with it the group's.
    fn add(&mut self, point: &Point, column: &Column, plan: &Aggregation, notes: &mut Annotations) -> bool {
        let span = plan.operand_span;
        match (self, point) {
            (Self::Sum { floats, .. }, Point::Float(value)) => {
                floats.get_or_insert_default().add(*value);
            }
            (Self::Avg { floats, .. }, Point::Float(value)) => match floats {
                Some(mean) => mean.add(*value),
                None => *floats = Some(Mean::new(*value)),
            },
            (Self::Sum { histograms, failed, .. }, Point::Histogram(histogram)) => {
                add_histogram(histograms.add(histogram).is_ok(), failed, column, plan, notes);
            }
            (Self::Avg { histograms, failed, .. }, Point::Histogram(histogram)) => {
                add_histogram(histograms.add_to_mean(histogram).is_ok(), failed, column, plan, notes);
            }
            (Self::Count(count), _) => *count += 1.0,
            (Self::Group, _) => {}
            (Self::Extreme { max, best }, Point::Float(value)) => {
                let better = |best: f64| best.is_nan() || if *max { *value > best } else { *value < best };
                if best.is_none_or(better) {
                    *best = Some(*value);
                }
            }
            (Self::Deviation { count, mean, squares }, Point::Float(value)) => {
                *count += 1.0;
                let delta = value - *mean;
                *mean += delta / *count;
                *squares += delta * (value - *mean);
            }
            (Self::Quantile(values), Point::Float(value)) => values.push(*value),
            (_, Point::Histogram(_)) => {
                notes.histogram_ignored(plan.op.name(), span);
                return false;
            }
        }
        column.drop_name
    }

    fn finish(self, param: f64, plan: &Aggregation, notes: &mut Annotations) -> Option<Point> {
        let value = match self {
            Self::Sum { floats, histograms, failed } => {
                return finish_mixed(
                    floats.map(Sum::value),
                    histograms,
                    failed,
                    HistogramSum::sum,
                    plan,
                    notes,
                );
            }
            Self::Avg { floats, histograms, failed } => {
                return finish_mixed(
                    floats.map(Mean::value),
                    histograms,
                    failed,
                    HistogramSum::mean,
                    plan,
                    notes,
                );
            }
            Self::Count(count) => count,
            Self::Group => 1.0,
            Self::Extreme { best, .. } => best?,
            Self::Deviation { count: 0.0, .. } => return None,
            Self::Deviation { count, squares, .. } => {
                let variance = squares / count;
                if matches!(plan.op, AggregateOp::Stddev) { variance.sqrt() } else { variance }
            }
            Self::Quantile(values) if values.is_empty() => return None,
            Self::Quantile(mut values) => quantile_of(param, &mut values),
        };
        Some(Point::Float(value))
    }
}

fn add_histogram(
    added: bool,
    failed: &mut bool,
    column: &Column,
    plan: &Aggregation,
    notes: &mut Annotations,
) {
    if !added {
        notes.mixed_schemas(column.labels.metric_name(), plan.operand_span);
        *failed = true;
    }
}

fn finish_mixed(
    floats: Option<f64>,
    histograms: HistogramSum,
    failed: bool,
    finish: impl Fn(HistogramSum) -> Option<Histogram>,
    plan: &Aggregation,
    notes: &mut Annotations,
) -> Option<Point> {
    let span = plan.operand_span;
    let (conflict, reconciled) = (histograms.has_reset_conflict(), histograms.bounds_reconciled);
    let histogram = finish(histograms);
    match (floats, histogram) {
        (Some(_), Some(_)) => {
            notes.mixed_in_aggregation(span);
            None
        }
        (Some(value), None) => Some(Point::Float(value)),
        (None, _) if failed => None,
        (None, histogram) => {
            if reconciled {
                notes.bounds_reconciled(Operation::Aggregation, span);
            }
            if conflict {
                notes.reset_conflict(Operation::Aggregation, span);
            }
            histogram.map(|histogram| Point::Histogram(Arc::new(histogram)))
        }
    }
}

impl AggregateOp {
    const fn name(&self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Count => "count",
            Self::Min => "min",
            Self::Max => "max",
            Self::Group => "group",
            Self::Stddev => "stddev",
            Self::Stdvar => "stdvar",
            Self::Quantile(_) => "quantile",
            Self::Topk(_) => "topk",
            Self::Bottomk(_) => "bottomk",
            Self::Limitk(_) => "limitk",
            Self::LimitRatio(_) => "limit_ratio",
            Self::CountValues(_) => "count_values",
        }
    }
}
