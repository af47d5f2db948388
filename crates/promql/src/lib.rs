//! PromQL: syntax, analysis and evaluation over the store trait. Semantics: Prometheus 3.14 with every experimental
//! feature on (extended range selectors, duration expressions, fill modifiers, delayed name removal).
//!
//! The phases are types: text -> [`Expr`] (what was written, checked, with places) -> a plan (durations and `@`
//! resolved for one grid, scalars and vectors apart) -> [`Answer`]. Evaluation goes node by node over the whole grid:
//! one scan of the store per selector, then plain loops over series and instants.
//!
//! Promises: no panic on any text or data; memory and samples are charged against the context's limits while they are
//! taken; cancellation is looked at for every series.
//!
//! To add a function: its signature in `syntax/signature.rs`, its variant in the enum of its family (`FloatFunction`,
//! `RangeFunction` ...) or in `plan::Vector`, its computation in the family's file under `eval/`.
//!
//! Absent on purpose: files, HTTP and JSON, time of day, caching. Not there yet: push-down of range functions into the
//! store, parallel evaluation. What differs from Prometheus is listed in `docs/promql.md`.

mod annotation;
mod complete;
mod eval;
mod histogram;
mod kahan;
mod plan;
mod syntax;
mod text;

use std::sync::Arc;

use kenning_model::{Filter, Histogram, LabelSet, Millis, Store};
use kenning_query::{Diagnostic, LimitKind, QueryContext, QueryError};

pub use complete::{Completion, Expect, Hover, complete, help, hover};
pub use eval::{STALE, is_stale};
pub use histogram::{Bucket, annotate_resets, compact, histogram_buckets};
pub use syntax::{
    Aggregate, Aggregator, At, Binary, BinaryOp, Call, Cardinality, DurationExpr, DurationOp, DurationSpec,
    Expr, Extension, Grouping, MatchOp, Matcher, Matching, MatrixSelector, NumberLiteral, Paren, SIGNATURES,
    SequenceValue, SeriesDescription, Signature, StringLiteral, Subquery, Unary, ValueType, VectorSelector,
    format, format_within, parse, parse_selector, parse_series_description,
};
pub use text::{format_duration, format_float, parse_duration, write_float, write_integer};

/// Settings of the language that rarely change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How old a sample may be and still be a series' value, in milliseconds. Prometheus's `--query.lookback-delta`.
    pub lookback_ms: i64,
    /// Resolution of subqueries without one, in milliseconds. Prometheus: the global evaluation interval.
    pub subquery_step_ms: i64,
    /// True when metrics carry their type in a label, so that it tells counters.
    pub type_and_unit_labels: bool,
    /// True when the start times that samples carry tell resets to `rate`, `irate`, `increase` and `resets`, and fill
    /// `start_timestamp`. Prometheus: the feature flag `use-start-timestamps`.
    pub start_timestamps: bool,
    /// Evaluates by the plain definitions, without shortcuts: slower, with the same answers. What tests compare with.
    pub plain: bool,
    /// Most warnings, and most infos, of an answer; one more line says how many there were beyond. Prometheus: 10.
    pub annotations_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lookback_ms: 300_000,
            subquery_step_ms: 60_000,
            type_and_unit_labels: false,
            start_timestamps: true,
            plain: false,
            annotations_max: 10,
        }
    }
}

/// The instants of a range query: `start`, `start + step` and so on up to `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// First instant.
    pub start: Millis,
    /// No instant lies after this.
    pub end: Millis,
    /// Distance between instants, in milliseconds, above zero.
    pub step_ms: i64,
}

/// What a query gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The value.
    pub value: Value,
    /// Remarks that the value may not be what was meant, each with its place in the query.
    pub warnings: Vec<String>,
    /// Remarks that the value is right but worth knowing something about.
    pub infos: Vec<String>,
    /// What it cost.
    pub stats: Stats,
    /// Sentences about data that should be in the answer and is not.
    pub missing: Vec<String>,
}

/// What a query cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Samples that went into selectors, counted at each instant (Prometheus's `totalQueryableSamples`).
    pub samples: u64,
    /// Samples that the store handed over.
    pub samples_loaded: u64,
}

/// A query's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number.
    Scalar(Millis, f64),
    /// A text.
    String(Millis, String),
    /// Series with one value each.
    Vector(Vec<VectorSample>),
    /// Series with many values each, in label order.
    Matrix(Vec<Series>),
}

/// A series and its value at an instant.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSample {
    /// The series.
    pub labels: LabelSet,
    /// The instant.
    pub time: Millis,
    /// The value.
    pub value: Point,
}

/// A series and its values in order of time.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The series.
    pub labels: LabelSet,
    /// The values.
    pub points: Vec<(Millis, Point)>,
}

/// A float or a native histogram.
#[derive(Clone, Debug, PartialEq)]
pub enum Point {
    /// A float.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<Histogram>),
}

/// Evaluates a query at an instant.
///
/// # Errors
/// The query is wrong, costs too much, meets data it cannot combine, or the store fails.
pub fn instant(
    store: &dyn Store,
    context: &QueryContext,
    query: &str,
    at: Millis,
) -> Result<Answer, QueryError> {
    instant_with(store, context, query, at, &Options::default())
}

/// [`instant`] with options.
///
/// # Errors
/// As [`instant`].
pub fn instant_with(
    store: &dyn Store,
    context: &QueryContext,
    query: &str,
    at: Millis,
    options: &Options,
) -> Result<Answer, QueryError> {
    let expr = checked(query, context)?;
    eval::instant(store, context, query, &expr, at, options)
}

/// Evaluates a query over a grid.
///
/// # Errors
/// As [`instant`]; also for queries that are neither scalars nor instant vectors.
pub fn range(
    store: &dyn Store,
    context: &QueryContext,
    query: &str,
    grid: Grid,
) -> Result<Answer, QueryError> {
    range_with(store, context, query, grid, &Options::default())
}

/// [`range`] with options.
///
/// # Errors
/// As [`range`].
pub fn range_with(
    store: &dyn Store,
    context: &QueryContext,
    query: &str,
    grid: Grid,
    options: &Options,
) -> Result<Answer, QueryError> {
    let expr = checked(query, context)?;
    let found = expr.value_type();
    if !matches!(found, ValueType::Scalar | ValueType::Vector) {
        let found = found.documented();
        let message =
            format!("invalid expression type \"{found}\" for range query, must be Scalar or instant Vector");
        return Err(QueryError::Invalid(vec![Diagnostic::error(expr.span(), message)]));
    }
    eval::range(store, context, query, &expr, grid, options)
}

/// The filter of a series selector, for `match[]` parameters. Several are joined with [`Filter::Or`].
///
/// # Errors
/// Everything found wrong with the selector.
pub fn matchers(selector: &str) -> Result<Filter, Vec<Diagnostic>> {
    parse_selector(selector).map(|selector| selector.filter())
}

/// The filters of all selectors of an expression.
#[must_use]
pub fn selectors(expr: &Expr) -> Vec<Filter> {
    let (mut found, mut open) = (Vec::new(), vec![expr]);
    while let Some(expr) = open.pop() {
        match expr {
            Expr::Selector(selector) => found.push(selector.filter()),
            Expr::Matrix(matrix) => found.push(matrix.selector.filter()),
            other => open.extend(other.children()),
        }
    }
    found
}

fn checked(query: &str, context: &QueryContext) -> Result<Expr, QueryError> {
    let limits = &context.limits;
    let limit = |kind, limit| QueryError::Limit { kind, limit: limit as u64 };
    if query.len() > limits.text_bytes_max {
        return Err(limit(LimitKind::TextBytes, limits.text_bytes_max));
    }
    let expr = parse(query).map_err(QueryError::Invalid)?;
    if nesting(&expr) > limits.depth_max {
        return Err(limit(LimitKind::Depth, limits.depth_max));
    }
    Ok(expr)
}

/// How deep expressions stand inside of each other. A chain of operators counts once, however long.
fn nesting(expr: &Expr) -> usize {
    let mut deepest = 0;
    let mut expr = expr;
    while let Expr::Binary(binary) = expr {
        deepest = deepest.max(nesting(&binary.right));
        expr = &binary.left;
    }
    let children = expr.children();
    1 + deepest.max(children.into_iter().map(nesting).max().unwrap_or(0))
}
