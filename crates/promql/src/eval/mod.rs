//! Evaluation of a plan, node by node over the whole grid.
//!
//! A vector is a list of columns: a label set with an optional value per instant. Names are dropped late: columns carry
//! a flag, and the name goes when the query is done or when an operator builds new labels.

mod aggregate;
mod binary;
mod collect;
mod fold;
mod hash;
mod histograms;
mod info;
mod instant;
mod labels;
mod leaf;
mod over_range;
mod over_time;
mod rate;
mod select;
mod sliding;
mod time;

use std::sync::Arc;

use kenning_model::{Histogram, LabelSet, METRIC_NAME, Millis, Store};
use kenning_query::{Diagnostic, LimitKind, QueryContext, QueryError, SourceSpan};

use crate::annotation::Annotations;
use crate::plan::{Resolver, Root, Scalar, Vector, go_max, go_min};
use crate::syntax::{BinaryOp, Expr};
use crate::{Answer, Grid, Options, Point, Series, Stats, Value, VectorSample};

pub(crate) use histograms::HistogramStatistic;
pub(crate) use instant::FloatFunction;
pub(crate) use over_range::RangeFunction;
pub(crate) use time::{DatePart, rfc3339};

/// The value that marks the end of a series.
pub const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// True for [`STALE`] only, no other NaN.
#[must_use]
#[inline]
pub const fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE.to_bits()
}

/// The instants of an evaluation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steps {
    pub start: i64,
    pub step: i64,
    pub len: usize,
}

impl Steps {
    const fn one(at: i64) -> Self {
        Self { start: at, step: 1, len: 1 }
    }

    /// From `start` to `end`; empty when the end lies before.
    fn between(start: i64, end: i64, step: i64) -> Self {
        let step = step.max(1);
        let len = if end < start { 0 } else { (end.saturating_sub(start) / step).saturating_add(1) };
        Self { start, step, len: usize::try_from(len).unwrap_or(usize::MAX) }
    }

    fn iter(self) -> impl Iterator<Item = (usize, i64)> {
        (0..self.len).map(move |i| (i, self.at(i)))
    }

    #[inline]
    fn at(self, i: usize) -> i64 {
        self.start.saturating_add(self.step.saturating_mul(i64::try_from(i).unwrap_or(i64::MAX)))
    }

    fn last(self) -> i64 {
        self.at(self.len.saturating_sub(1))
    }
}

/// A series over the grid.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub labels: LabelSet,
    /// The name goes when the query is done.
    pub drop_name: bool,
    pub points: Vec<Option<Point>>,
}

impl Column {
    fn at(&self, i: usize) -> Option<&Point> {
        self.points.get(i).and_then(Option::as_ref)
    }

    fn set(&mut self, i: usize, point: Point) {
        if let Some(slot) = self.points.get_mut(i) {
            *slot = Some(point);
        }
    }

    fn has_no_histogram(&self) -> bool {
        !self.points.iter().any(|point| matches!(point, Some(Point::Histogram(_))))
    }

    fn is_blank(&self) -> bool {
        self.points.iter().all(Option::is_none)
    }
}

impl Point {
    fn float(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(*value),
            Self::Histogram(_) => None,
        }
    }

    fn histogram(&self) -> Option<&Arc<Histogram>> {
        match self {
            Self::Float(_) => None,
            Self::Histogram(histogram) => Some(histogram),
        }
    }
}

type Evaluated<T> = Result<T, QueryError>;

pub(crate) struct Evaluator<'a> {
    store: &'a dyn Store,
    context: &'a QueryContext,
    options: &'a Options,
    notes: Annotations,
    stats: Stats,
    missing: Vec<String>,
    memory: usize,
}

pub(crate) fn instant(
    store: &dyn Store,
    context: &QueryContext,
    query: &str,
    expr: &Expr,
    at: Millis,
    options: &Options,
) -> Evaluated<Answer> {
    let plan = Resolver::new(at.0, at.0, 0).root(expr)?;
    let mut evaluator = Evaluator::new(store, context, options);
    let steps = Steps::one(at.0);
    let value = match &plan {
        Root::Text(text) => Value::String(at, text.clone()),
        Root::Scalar(scalar) => {
            let values = evaluator.scalar(scalar, steps)?;
            Value::Scalar(at, values.first().copied().unwrap_or(f64::NAN))
        }
        Root::Vector(vector) => {
            let columns = evaluator.vector(vector, steps)?;
            let columns = collect::without_names(columns)?;
            let sample = |mut column: Column| {
                let value = column.points.first_mut()?.take()?;
                Some(VectorSample { labels: column.labels, time: at, value })
            };
            Value::Vector(columns.into_iter().filter_map(sample).collect())
        }
        Root::Matrix(range) => Value::Matrix(evaluator.raw_range(range, steps)?),
    };
    evaluator.answer(value, query)
}

pub(crate) fn range(
    store: &dyn Store,
    context: &QueryContext,
    query: &str,
    expr: &Expr,
    grid: Grid,
    options: &Options,
) -> Evaluated<Answer> {
    let (start, end) = (grid.start.0, grid.end.0);
    if grid.step_ms <= 0 {
        let message =
            "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(QueryError::Invalid(vec![Diagnostic::error(expr.span(), message)]));
    }
    let steps = Steps::between(start, end, grid.step_ms);
    if steps.len as u64 > context.limits.points_max {
        return Err(QueryError::Limit { kind: LimitKind::Points, limit: context.limits.points_max });
    }
    let plan = Resolver::new(start, end, grid.step_ms).root(expr)?;
    let mut evaluator = Evaluator::new(store, context, options);
    let columns = match &plan {
        Root::Scalar(scalar) => {
            let points = evaluator.scalar(scalar, steps)?;
            let points = points.into_iter().map(|value| Some(Point::Float(value))).collect();
            vec![Column { labels: LabelSet::empty(), drop_name: false, points }]
        }
        Root::Vector(vector) => match evaluator.leaf(vector).filter(|_| !options.plain) {
            Some(leaf) => {
                let series = evaluator.series_of(&leaf, steps)?;
                return evaluator.answer(Value::Matrix(series), query);
            }
            None => evaluator.vector(vector, steps)?,
        },
        Root::Matrix(_) | Root::Text(_) => Vec::new(),
    };
    let mut columns = collect::without_names(columns)?;
    columns.sort_by(|a, b| a.labels.cmp(&b.labels));
    let series = |column: Column| {
        let points = column.points.into_iter().enumerate();
        let points: Vec<_> = points.filter_map(|(i, point)| Some((Millis(steps.at(i)), point?))).collect();
        Some(Series { labels: column.labels, points }).filter(|series| !series.points.is_empty())
    };
    let value = Value::Matrix(columns.into_iter().filter_map(series).collect());
    evaluator.answer(value, query)
}

impl<'a> Evaluator<'a> {
    fn new(store: &'a dyn Store, context: &'a QueryContext, options: &'a Options) -> Self {
        Self {
            store,
            context,
            options,
            notes: Annotations::default(),
            stats: Stats::default(),
            missing: Vec::new(),
            memory: 0,
        }
    }

    fn answer(self, value: Value, query: &str) -> Evaluated<Answer> {
        let series = match &value {
            Value::Vector(samples) => samples.len(),
            Value::Matrix(series) => series.len(),
            _ => 1,
        };
        let limit = self.context.limits.series_max;
        if series > limit {
            return Err(QueryError::Limit { kind: LimitKind::Series, limit: limit as u64 });
        }
        let (warnings, infos) = self.notes.render(query, self.options.annotations_max);
        Ok(Answer { value, warnings, infos, stats: self.stats, missing: self.missing })
    }

    /// Takes memory before it is used.
    fn charge(&mut self, bytes: usize) -> Evaluated<()> {
        self.memory = self.memory.saturating_add(bytes);
        let limit = self.context.limits.memory_bytes_max;
        if self.memory > limit {
            return Err(QueryError::Limit { kind: LimitKind::MemoryBytes, limit: limit as u64 });
        }
        self.check_cancel()
    }

    fn release(&mut self, bytes: usize) {
        self.memory = self.memory.saturating_sub(bytes);
    }

    fn check_cancel(&self) -> Evaluated<()> {
        if self.context.cancel.is_raised() { Err(QueryError::Cancelled) } else { Ok(()) }
    }

    /// Takes memory for so many columns.
    fn charge_columns(&mut self, columns: usize, steps: Steps) -> Evaluated<()> {
        self.charge(columns.saturating_mul(column_bytes(steps)))
    }

    fn release_columns(&mut self, columns: &[Column], steps: Steps) {
        self.release(columns.len().saturating_mul(column_bytes(steps)));
    }

    fn scalar(&mut self, plan: &Scalar, steps: Steps) -> Evaluated<Vec<f64>> {
        let bytes = steps.len.saturating_mul(size_of::<f64>());
        Ok(match plan {
            Scalar::Constant(value) => {
                self.charge(bytes)?;
                vec![*value; steps.len]
            }
            Scalar::Time => {
                self.charge(bytes)?;
                steps.iter().map(|(_, time)| time as f64 / 1000.0).collect()
            }
            Scalar::Negate(inner) => self.scalar(inner, steps)?.into_iter().map(|value| -value).collect(),
            Scalar::Only(inner) => self.only(inner, steps)?,
            Scalar::AtFirst(inner) => {
                self.charge(bytes)?;
                let first = self.scalar(inner, Steps::one(steps.start))?;
                vec![first.first().copied().unwrap_or(f64::NAN); steps.len]
            }
            Scalar::Binary(op, left, right) => {
                let (left, right) = (self.scalar(left, steps)?, self.scalar(right, steps)?);
                left.into_iter().zip(right).map(|(left, right)| scalar_binary(*op, left, right)).collect()
            }
            Scalar::Extreme { max, left, right } => {
                let (left, right) = (self.scalar(left, steps)?, self.scalar(right, steps)?);
                let pick = if *max { go_max } else { go_min };
                left.into_iter().zip(right).map(|(left, right)| pick(left, right)).collect()
            }
        })
    }

    /// `scalar()`: the value where there is exactly one, NaN elsewhere.
    fn only(&mut self, inner: &Vector, steps: Steps) -> Evaluated<Vec<f64>> {
        let columns = self.vector(inner, steps)?;
        let only = |i| {
            let mut floats = columns.iter().filter_map(|column| column.at(i).and_then(Point::float));
            match (floats.next(), floats.next()) {
                (Some(value), None) => value,
                _ => f64::NAN,
            }
        };
        let values = (0..steps.len).map(only).collect();
        self.release_columns(&columns, steps);
        Ok(values)
    }

    fn vector(&mut self, plan: &Vector, steps: Steps) -> Evaluated<Vec<Column>> {
        if steps.len == 0 {
            return Ok(Vec::new());
        }
        // Room for one column must be there before anything of its length is made.
        self.charge(column_bytes(steps))?;
        self.release(column_bytes(steps));
        match plan {
            Vector::Selector(selector) => self.selector(selector, steps),
            Vector::OfScalar(scalar) => {
                let points = self.scalar(scalar, steps)?.into_iter().map(|v| Some(Point::Float(v))).collect();
                self.charge_columns(1, steps)?;
                Ok(vec![Column { labels: LabelSet::empty(), drop_name: false, points }])
            }
            Vector::Negate(operand) => self.negate(operand, steps),
            Vector::Aggregate(aggregation) => self.aggregate(aggregation, steps),
            Vector::Binary(binary) => self.vector_binary(binary, steps),
            Vector::ScalarBinary(binary) => self.scalar_vector(binary, steps),
            Vector::OverRange(call) => self.over_range(call, steps),
            Vector::AbsentOverRange { range, labels } => self.absent_over_range(range, labels, steps),
            Vector::Absent { operand, labels } => self.absent(operand, labels, steps),
            Vector::Float { function, operand } => {
                let operand = self.vector(operand, steps)?;
                Ok(map_floats(operand, |_, value| Some(function.apply(value))))
            }
            Vector::Clamp { operand, min, max } => self.clamp(operand, [min.as_ref(), max.as_ref()], steps),
            Vector::Round { operand, nearest } => self.round(operand, nearest.as_ref(), steps),
            Vector::Date { part, operand } => self.date(*part, operand.as_deref(), steps),
            Vector::TimestampOfSelector(selector) => self.sample_times(selector, steps),
            Vector::TimestampOf(operand) => {
                let operand = self.vector(operand, steps)?;
                Ok(map_points(operand, |i, _| Some(Point::Float(steps.at(i) as f64 / 1000.0))))
            }
            Vector::StartTimestampOfSelector(selector) => self.start_times(selector, steps),
            Vector::Nothing(operand) => {
                let columns = self.vector(operand, steps)?;
                self.release_columns(&columns, steps);
                Ok(Vec::new())
            }
            Vector::Statistic { statistic, operand } => {
                let operand = self.vector(operand, steps)?;
                Ok(map_points(operand, |_, point| Some(Point::Float(statistic.of(point.histogram()?)))))
            }
            Vector::Quantiles(call) => self.quantiles(call, steps),
            Vector::Fraction { lower, upper, operand, span } => {
                self.fraction([lower, upper], operand, *span, steps)
            }
            Vector::LabelReplace(call) => self.label_replace(call, steps),
            Vector::LabelJoin { operand, target, separator, sources } => {
                let operand = self.vector(operand, steps)?;
                labels::join(operand, target, separator, sources)
            }
            Vector::Sort { operand, descending, span } => self.sort(operand, *descending, *span, steps),
            Vector::SortByLabel { operand, labels, descending, span } => {
                self.sort_by_label(operand, labels, *descending, *span, steps)
            }
            Vector::Info { operand, matchers, when } => self.info(operand, matchers.as_deref(), *when, steps),
        }
    }
}

fn column_bytes(steps: Steps) -> usize {
    size_of::<Column>().saturating_add(steps.len.saturating_mul(size_of::<Option<Point>>()))
}

fn failure(span: SourceSpan, message: impl Into<String>) -> QueryError {
    QueryError::Execution(Diagnostic::error(span, message))
}

/// Replaces every value or removes it; the result is no longer the metric it was.
fn map_points(mut columns: Vec<Column>, map: impl Fn(usize, &Point) -> Option<Point>) -> Vec<Column> {
    for column in &mut columns {
        column.drop_name = true;
        for (i, slot) in column.points.iter_mut().enumerate() {
            *slot = slot.as_ref().and_then(|point| map(i, point));
        }
    }
    columns.retain(|column| !column.is_blank());
    columns
}

/// As [`map_points`], for floats; histograms go.
fn map_floats(columns: Vec<Column>, map: impl Fn(usize, f64) -> Option<f64>) -> Vec<Column> {
    map_points(columns, |i, point| map(i, point.float()?).map(Point::Float))
}

fn scalar_binary(op: BinaryOp, left: f64, right: f64) -> f64 {
    let truth = |holds: bool| if holds { 1.0 } else { 0.0 };
    match op {
        BinaryOp::Eq => truth(left == right),
        BinaryOp::Ne => truth(left != right),
        BinaryOp::Gt => truth(left > right),
        BinaryOp::Lt => truth(left < right),
        BinaryOp::Ge => truth(left >= right),
        BinaryOp::Le => truth(left <= right),
        op => arithmetic(op, left, right).unwrap_or(f64::NAN),
    }
}

/// The arithmetic operators; `None` for the others.
fn arithmetic(op: BinaryOp, left: f64, right: f64) -> Option<f64> {
    Some(match op {
        BinaryOp::Add => left + right,
        BinaryOp::Sub => left - right,
        BinaryOp::Mul => left * right,
        BinaryOp::Div => left / right,
        BinaryOp::Mod => left % right,
        BinaryOp::Pow => left.powf(right),
        BinaryOp::Atan2 => left.atan2(right),
        _ => return None,
    })
}

/// Labels that say what a metric is, and go when a value is no longer that metric.
fn is_metadata(label: &str) -> bool {
    matches!(label, METRIC_NAME | "__type__" | "__unit__")
}

/// The labels without those that say what a metric is.
fn without_metadata(labels: &LabelSet) -> LabelSet {
    if !labels.iter().any(|(name, _)| is_metadata(name)) {
        return labels.clone();
    }
    let mut kept: Vec<_> = labels.iter().filter(|(name, _)| !is_metadata(name)).collect();
    LabelSet::from_borrowed(&mut kept)
}

/// Only these labels.
fn keep(labels: &LabelSet, names: &[String]) -> LabelSet {
    let mut kept: Vec<_> = labels.iter().filter(|(name, _)| names.iter().any(|n| n == name)).collect();
    LabelSet::from_borrowed(&mut kept)
}

/// All labels but these and the name.
fn without(labels: &LabelSet, names: &[String]) -> LabelSet {
    let goes = |name: &str| name == METRIC_NAME || names.iter().any(|n| n == name);
    let mut kept: Vec<_> = labels.iter().filter(|(name, _)| !goes(name)).collect();
    LabelSet::from_borrowed(&mut kept)
}

/// As Prometheus writes a series in a message.
fn display_labels(labels: &LabelSet) -> String {
    let pairs: Vec<_> = labels
        .iter()
        .map(|(name, value)| {
            let name = if crate::text::is_plain_label(name) { name.into() } else { crate::text::quote(name) };
            format!("{name}={}", crate::text::quote(value))
        })
        .collect();
    format!("{{{}}}", pairs.join(", "))
}
