//! Evaluation: scans, the pipeline over their rows, and arithmetic on a grid of instants.

mod binary;
mod grid;
mod label_replace;
mod live;
mod parsed;
mod range_aggregation;
mod scan;
mod store_groups;
mod streams;
mod vector_aggregation;
mod window;

use kenning_model::{Filter, Millis, Nanos, Store};
use kenning_query::{Diagnostic, LimitKind, QueryContext, QueryError, SourceSpan};

use crate::answer::{Answer, Stats, Value};
use crate::pipeline::Pipeline;
use crate::syntax::ast::{Expr, MetricExpr};
use crate::syntax::{parse, parse_broad};

pub(crate) use binary::fold;
use grid::{Grid, Matrix};
pub use live::{LineMatcher, LineSelector, Live, line_selector};

/// The range of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeParams {
    /// First instant.
    pub start: Nanos,
    /// Log lines: the instant behind the last one. Metrics: the last instant that the grid may hold, as in Loki.
    pub end: Nanos,
    /// Distance between the instants of a metric query, in nanoseconds, above zero.
    pub step_ns: i64,
    /// Most lines of a log query.
    pub limit: usize,
    /// True for the oldest lines first.
    pub forward: bool,
    /// Log lines: only those at least so many nanoseconds from the line before them in the answer; zero: all.
    pub interval_ns: i64,
}

/// Answers a query over a range.
pub fn range(
    store: &dyn Store,
    ctx: &QueryContext,
    query: &str,
    params: &RangeParams,
) -> Result<Answer, QueryError> {
    match checked(ctx, query)? {
        Expr::Log(log) => streams::evaluate(store, ctx, &log, params),
        Expr::Metric(metric) => {
            let grid = Grid::new(params.start, params.end, params.step_ns, &ctx.limits)?;
            let mut evaluator = Evaluator::new(store, ctx, grid);
            if let MetricExpr::Vector(vector) = &metric
                && vector.op == crate::syntax::ast::VectorOp::ApproxTopk
            {
                return Err(execution(vector.span, "approx_topk is supported for instant queries only"));
            }
            let matrix = evaluator.evaluate(&metric)?;
            let value = Value::Matrix(matrix.into_points(&evaluator.grid, ctx.limits.series_max)?);
            Ok(evaluator.answer(value))
        }
    }
}

/// Answers a query at one instant. Log queries are refused, as Loki does; `limit` and `forward` are there for the day
/// it does not.
pub fn instant(
    store: &dyn Store,
    ctx: &QueryContext,
    query: &str,
    at: Nanos,
    _limit: usize,
    _forward: bool,
) -> Result<Answer, QueryError> {
    let metric = match checked(ctx, query)? {
        Expr::Metric(metric) => metric,
        Expr::Log(log) => {
            return Err(QueryError::Invalid(vec![Diagnostic::error(
                log.span,
                "log queries are not supported as an instant query type, please change your query to a range query type",
            )]));
        }
    };
    let mut evaluator = Evaluator::new(store, ctx, Grid::instant(at));
    if let MetricExpr::Literal(value) = metric {
        return Ok(evaluator.answer(Value::Scalar(at.to_millis(), value)));
    }
    let matrix = evaluator.evaluate(&metric)?;
    let vector = matrix.into_vector(at.to_millis(), metric.is_sorted(), ctx.limits.series_max)?;
    Ok(evaluator.answer(Value::Vector(vector)))
}

/// The store filter of a stream selector such as `{app="a"}`; anything more is an error.
pub fn selector(text: &str) -> Result<Filter, Vec<Diagnostic>> {
    match parse_broad(text)? {
        Expr::Log(log) if log.stages.is_empty() => Ok(scan::matcher_filter(&log.matchers)),
        _ => {
            let span = SourceSpan::new(0, text.len());
            Err(vec![Diagnostic::error(span, "only label matchers are supported")])
        }
    }
}

/// Reads a query and compiles its stages: everything that is wrong with it, as far as its text tells.
///
/// # Errors
///
/// Each mistake with its place; mistakes of grammar hide those of meaning.
pub fn check(query: &str) -> Result<Expr, Vec<Diagnostic>> {
    let expr = parse(query)?;
    let wrong: Vec<_> = expr.logs().iter().filter_map(|log| Pipeline::new(&log.stages).err()).collect();
    if wrong.is_empty() { Ok(expr) } else { Err(wrong) }
}

/// Parses a query and refuses what could only fail later.
fn checked(ctx: &QueryContext, query: &str) -> Result<Expr, QueryError> {
    let limits = &ctx.limits;
    if query.len() > limits.text_bytes_max {
        return Err(QueryError::Limit { kind: LimitKind::TextBytes, limit: limits.text_bytes_max as u64 });
    }
    let expr = parse(query).map_err(QueryError::Invalid)?;
    if let Expr::Metric(metric) = &expr
        && depth(metric) > limits.depth_max
    {
        return Err(QueryError::Limit { kind: LimitKind::Depth, limit: limits.depth_max as u64 });
    }
    for log in expr.logs() {
        Pipeline::new(&log.stages).map_err(|diagnostic| QueryError::Invalid(vec![diagnostic]))?;
    }
    Ok(expr)
}

/// How deep expressions lie in each other. A chain of operators counts once.
fn depth(expr: &MetricExpr) -> usize {
    match expr {
        MetricExpr::Vector(vector) => 1 + depth(&vector.expr),
        MetricExpr::Binary(binary) => depth(&binary.left).max(1 + depth(&binary.right)),
        MetricExpr::LabelReplace(replace) => 1 + depth(&replace.expr),
        MetricExpr::Range(_) | MetricExpr::Literal(_) | MetricExpr::VectorLiteral(_) => 1,
    }
}

fn execution(span: SourceSpan, message: impl Into<String>) -> QueryError {
    QueryError::Execution(Diagnostic::error(span, message))
}

/// Evaluates the parts of one metric query.
struct Evaluator<'q> {
    store: &'q dyn Store,
    ctx: &'q QueryContext,
    grid: Grid,
    usage: Usage,
}

/// What a query has used so far.
#[derive(Debug, Default)]
struct Usage {
    stats: Stats,
    missing: Vec<String>,
    /// Bytes held for results and work space. Only ever grows: what is let go is not given back, so the bound holds.
    memory: usize,
    samples: u64,
}

impl Usage {
    /// Takes memory for results or work space.
    fn charge(&mut self, bytes: usize, ctx: &QueryContext) -> Result<(), QueryError> {
        self.memory = self.memory.saturating_add(bytes);
        let limit = ctx.limits.memory_bytes_max;
        if self.memory > limit {
            return Err(QueryError::Limit { kind: LimitKind::MemoryBytes, limit: limit as u64 });
        }
        Ok(())
    }

    /// Counts a line looked at.
    fn see(&mut self, line_bytes: usize, ctx: &QueryContext) -> Result<(), QueryError> {
        self.stats.bytes += line_bytes as u64;
        self.samples += 1;
        if self.samples > ctx.limits.samples_max {
            return Err(QueryError::Limit { kind: LimitKind::Samples, limit: ctx.limits.samples_max });
        }
        Ok(())
    }
}

impl<'q> Evaluator<'q> {
    fn new(store: &'q dyn Store, ctx: &'q QueryContext, grid: Grid) -> Self {
        Self { store, ctx, grid, usage: Usage::default() }
    }

    fn answer(self, value: Value) -> Answer {
        Answer { value, warnings: Vec::new(), stats: self.usage.stats, missing: self.usage.missing }
    }

    fn check_cancelled(&self) -> Result<(), QueryError> {
        if self.ctx.cancel.is_raised() { Err(QueryError::Cancelled) } else { Ok(()) }
    }

    /// Evaluates what another expression works on, which cannot be a number by itself.
    fn evaluate_series(&mut self, expr: &MetricExpr, span: SourceSpan) -> Result<Matrix, QueryError> {
        if matches!(expr, MetricExpr::Literal(_)) {
            return Err(QueryError::Execution(
                Diagnostic::error(
                    span,
                    "unexpected expr type (*syntax.LiteralExpr) for Evaluator type (*logql.DefaultEvaluator)",
                )
                .with_hint("write vector(1) for a number that is to be a series"),
            ));
        }
        self.evaluate(expr)
    }

    fn evaluate(&mut self, expr: &MetricExpr) -> Result<Matrix, QueryError> {
        self.check_cancelled()?;
        let matrix = match expr {
            MetricExpr::Literal(value) | MetricExpr::VectorLiteral(value) => {
                Matrix::constant(*value, &self.grid)
            }
            MetricExpr::Range(range) => self.range_aggregation(range, None)?,
            MetricExpr::Vector(vector) => self.vector_aggregation(vector)?,
            MetricExpr::Binary(binary) => self.binary(binary)?,
            MetricExpr::LabelReplace(replace) => self.label_replace(replace)?,
        };
        self.usage.charge(matrix.heap_bytes(), self.ctx)?;
        Ok(matrix)
    }
}

impl Grid {
    fn millis(&self, step: usize) -> Millis {
        self.time(step).to_millis()
    }
}
