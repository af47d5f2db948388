//! Vector aggregations: `sum by (app) (...)`, `topk(5, ...)`, `sort(...)`.

use std::cmp::Ordering;
use std::collections::HashMap;

use kenning_model::{LabelSet, METRIC_NAME};
use kenning_query::QueryError;

use super::Evaluator;
use super::grid::{Matrix, Series};
use super::window::{extreme, variance};
use crate::syntax::ast::{Grouping, MetricExpr, RangeOp, VectorAggregation, VectorOp};

impl Evaluator<'_> {
    pub(super) fn vector_aggregation(&mut self, vector: &VectorAggregation) -> Result<Matrix, QueryError> {
        let input = match &vector.expr {
            MetricExpr::Range(range)
                if vector.op == VectorOp::Sum && range.grouping.is_none() && is_additive(range.op) =>
            {
                match self.counted_by_store(range, &vector.grouping, None)? {
                    // Counted per group already.
                    Some(matrix) => return Ok(matrix),
                    None => self.range_aggregation(range, Some(&vector.grouping))?,
                }
            }
            other => match self.greatest_by_store(vector)? {
                Some(matrix) => matrix,
                None => self.evaluate_series(other, vector.span)?,
            },
        };
        self.usage.charge(input.heap_bytes(), self.ctx)?;
        let groups = grouped(&input, &vector.grouping);
        let k = vector.k.unwrap_or(0);
        match vector.op {
            VectorOp::Topk | VectorOp::ApproxTopk => self.select(input, &groups, k, Order::Descending),
            VectorOp::Bottomk => self.select(input, &groups, k, Order::Ascending),
            VectorOp::Sort => Ok(self.sort(input, Order::Ascending)),
            VectorOp::SortDesc => Ok(self.sort(input, Order::Descending)),
            _ => self.aggregate(vector.op, &input, groups),
        }
    }

    /// What `topk(k, sum by (x) (count_over_time(...)))` selects from at one instant, without the series that it cannot
    /// select; `None` for other expressions.
    fn greatest_by_store(&mut self, vector: &VectorAggregation) -> Result<Option<Matrix>, QueryError> {
        let is_top = matches!(vector.op, VectorOp::Topk | VectorOp::ApproxTopk);
        let is_one_group = vector.grouping.labels.is_empty() && !vector.grouping.without;
        let (MetricExpr::Vector(inner), true) = (&vector.expr, is_top && is_one_group && self.grid.len == 1)
        else {
            return Ok(None);
        };
        match &inner.expr {
            MetricExpr::Range(range)
                if inner.op == VectorOp::Sum && range.grouping.is_none() && is_additive(range.op) =>
            {
                self.counted_by_store(range, &inner.grouping, vector.k)
            }
            _ => Ok(None),
        }
    }

    fn aggregate(
        &self,
        op: VectorOp,
        input: &Matrix,
        groups: Vec<(LabelSet, Vec<usize>)>,
    ) -> Result<Matrix, QueryError> {
        let mut out = Matrix::default();
        for (labels, members) in groups {
            self.check_cancelled()?;
            let at = |step: usize| {
                members.iter().filter_map(move |member| *input.series.get(*member)?.values.get(step)?)
            };
            let value = |step: usize| at(step).next().is_some().then(|| reduce(op, at(step)));
            out.series.push(Series { labels, values: (0..self.grid.len).map(value).collect() });
        }
        Ok(out.sorted())
    }

    /// Keeps the `k` first values by `order` of every group, instant by instant.
    fn select(
        &self,
        input: Matrix,
        groups: &[(LabelSet, Vec<usize>)],
        k: usize,
        order: Order,
    ) -> Result<Matrix, QueryError> {
        let mut out = input.clone();
        out.series.iter_mut().for_each(|series| series.values.fill(None));
        for step in 0..self.grid.len {
            self.check_cancelled()?;
            for (_, members) in groups {
                let value =
                    |member: &usize| Some((*input.series.get(*member)?.values.get(step)?.as_ref()?, *member));
                let mut present: Vec<(f64, usize)> = members.iter().filter_map(value).collect();
                present.sort_by(|a, b| order.compare(a.0, b.0));
                for (value, member) in present.into_iter().take(k) {
                    if let Some(slot) = out.series.get_mut(member).and_then(|s| s.values.get_mut(step)) {
                        *slot = Some(value);
                    }
                }
            }
        }
        out.series.retain(|series| series.values.iter().any(Option::is_some));
        Ok(out)
    }

    /// Orders the series of an instant by value. Over a range there is no such order.
    fn sort(&self, mut input: Matrix, order: Order) -> Matrix {
        if self.grid.len == 1 {
            let value = |series: &Series| series.values.first().copied().flatten().unwrap_or(f64::NAN);
            input.series.sort_by(|a, b| order.compare(value(a), value(b)));
        }
        input
    }
}

#[derive(Clone, Copy)]
enum Order {
    Ascending,
    Descending,
}

impl Order {
    /// NaN comes last either way.
    fn compare(self, a: f64, b: f64) -> Ordering {
        let ordering = match self {
            Self::Ascending => a.partial_cmp(&b),
            Self::Descending => b.partial_cmp(&a),
        };
        ordering.unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
    }
}

/// Functions whose sum over groups is the same whether lines or series are grouped.
fn is_additive(op: RangeOp) -> bool {
    matches!(
        op,
        RangeOp::BytesOverTime
            | RangeOp::BytesRate
            | RangeOp::SumOverTime
            | RangeOp::Rate
            | RangeOp::CountOverTime
    )
}

/// Series by the labels that stay, in order of first appearance.
fn grouped(input: &Matrix, grouping: &Grouping) -> Vec<(LabelSet, Vec<usize>)> {
    let mut places: HashMap<LabelSet, usize> = HashMap::new();
    let mut groups: Vec<(LabelSet, Vec<usize>)> = Vec::new();
    for (index, series) in input.series.iter().enumerate() {
        let key = group_labels(&series.labels, grouping);
        let place = *places.entry(key.clone()).or_insert_with(|| {
            groups.push((key, Vec::new()));
            groups.len() - 1
        });
        if let Some((_, members)) = groups.get_mut(place) {
            members.push(index);
        }
    }
    groups
}

fn group_labels(labels: &LabelSet, grouping: &Grouping) -> LabelSet {
    let mut builder = LabelSet::empty().to_builder();
    for (name, value) in labels.iter() {
        let listed = grouping.labels.iter().any(|label| label == name);
        if listed != grouping.without && !(grouping.without && name == METRIC_NAME) {
            builder.set(name, value);
        }
    }
    builder.build_with_empty()
}

fn reduce(op: VectorOp, values: impl Iterator<Item = f64>) -> f64 {
    match op {
        VectorOp::Sum => values.fold(0.0, |sum, value| sum + value),
        VectorOp::Avg => average(values),
        VectorOp::Max => extreme(values, |value, best| best < value),
        VectorOp::Min => extreme(values, |value, best| best > value),
        VectorOp::Count => values.count() as f64,
        VectorOp::Stdvar => variance(values),
        VectorOp::Stddev => variance(values).sqrt(),
        _ => f64::NAN,
    }
}

/// Running mean that starts at the first value.
fn average(values: impl Iterator<Item = f64>) -> f64 {
    let (mut mean, mut count) = (0.0f64, 0.0f64);
    for value in values {
        count += 1.0;
        if count == 1.0 {
            mean = value;
            continue;
        }
        let same_infinity = value.is_infinite() && (mean > 0.0) == (value > 0.0);
        if mean.is_infinite() && (same_infinity || value.is_finite()) {
            continue;
        }
        mean += (value - mean) / count;
    }
    mean
}
