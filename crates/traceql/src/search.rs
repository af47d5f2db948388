//! Searching traces: a scan for candidates, whole traces of them, the pipeline over each.

use std::collections::HashSet;

use kenning_model::{
    Block, Compare, Field, Filter, Flow, Literal, Nanos, Order, Pattern, Scan, SpanId, Store, Table,
    TimeRange, TraceId, Value,
};
use kenning_query::{Diagnostic, LimitKind, QueryContext, QueryError, SourceSpan};

use crate::ast::{
    Attribute, BinaryExpr, FieldExpr, Intrinsic, Op, Pipeline, Scope, SpansetExpr, SpansetOp, Step,
};
use crate::eval::{self, Spanset};
use crate::lookup::whole_traces;
use crate::trace::Trace;
use crate::value::{Static, Unsupported};

/// Spans that started before the range may still be running in it; those that started earlier than so many nanoseconds
/// before it are not found.
const LOOKBACK_NANOS: i64 = 3_600 * 1_000_000_000;
/// Traces loaded together.
const BATCH_LEN: usize = 16;
/// Bytes charged for remembering a trace id.
const ID_BYTES: usize = 48;

/// A trace that the query found.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceMatch {
    /// Its id.
    pub trace_id: TraceId,
    /// The service of its root span.
    pub root_service: String,
    /// The name of its root span.
    pub root_name: String,
    /// When its first span started.
    pub start: Nanos,
    /// From there to the end of its last span, in nanoseconds.
    pub duration: i64,
    /// What matched.
    pub span_sets: Vec<SpanSet>,
}

/// Spans of a trace that matched together.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanSet {
    /// How many; `spans` may hold fewer.
    pub matched: usize,
    /// What groups and aggregates say about them, by their canonical text.
    pub attributes: Vec<(String, Value)>,
    /// The first ones by start.
    pub spans: Vec<MatchedSpan>,
}

/// A span that matched.
#[derive(Clone, Debug, PartialEq)]
pub struct MatchedSpan {
    /// Its id.
    pub span_id: SpanId,
    /// Its name.
    pub name: String,
    /// When it started.
    pub start: Nanos,
    /// Its length, in nanoseconds.
    pub duration: i64,
    /// Those of the query's attributes that it has, by their name without a scope; intrinsics by their text.
    pub attributes: Vec<(String, Value)>,
}

/// Finds traces that lie (partly) in the range, the latest candidates first: at most `limit` of them, with at most
/// `spans_per_set` spans shown of each spanset (zero: all).
pub fn search(
    store: &dyn Store,
    ctx: &QueryContext,
    query: &str,
    range: TimeRange,
    limit: usize,
    spans_per_set: usize,
) -> Result<Vec<TraceMatch>, QueryError> {
    if query.len() > ctx.limits.text_bytes_max {
        return Err(QueryError::Limit {
            kind: LimitKind::TextBytes,
            limit: ctx.limits.text_bytes_max as u64,
        });
    }
    let pipeline = crate::parse(query).map_err(QueryError::Invalid)?;
    let mut matches = Vec::new();
    if limit == 0 {
        return Ok(matches);
    }
    for ids in candidates(store, ctx, &pipeline, range)?.chunks(BATCH_LEN) {
        let mut traces = whole_traces(store, ctx, ids)?;
        for id in ids {
            if ctx.cancel.is_raised() {
                return Err(QueryError::Cancelled);
            }
            let Some(trace) = traces.remove(id).map(Trace::new) else { continue };
            if trace.start() > range.end || trace.end() < range.start {
                continue;
            }
            let sets = eval::run(&pipeline, &trace).map_err(unsupported)?;
            if !sets.is_empty() {
                matches.push(found(*id, &trace, &sets, &eval::mentioned(&pipeline), spans_per_set));
            }
            if matches.len() == limit {
                return Ok(matches);
            }
        }
    }
    Ok(matches)
}

fn unsupported(error: Unsupported) -> QueryError {
    QueryError::Execution(Diagnostic::error(SourceSpan::default(), format!("{} is not supported", error.0)))
}

/// Ids of traces with a span that may match, the latest first.
fn candidates(
    store: &dyn Store,
    ctx: &QueryContext,
    pipeline: &Pipeline,
    range: TimeRange,
) -> Result<Vec<TraceId>, QueryError> {
    let time = TimeRange { start: Nanos(range.start.0.saturating_sub(LOOKBACK_NANOS)), end: range.end };
    let mut scan = Scan::rows(ctx.tenant.clone(), Table::Spans, time, first_filter(pipeline));
    scan.order = Order::NewestFirst;
    scan.bytes_max = ctx.limits.memory_bytes_max;
    scan.cancel = ctx.cancel.clone();
    let (mut ids, mut known, mut seen) = (Vec::new(), HashSet::new(), 0u64);
    let (memory_max, samples_max) = (ctx.limits.memory_bytes_max, ctx.limits.samples_max);
    store.scan(&scan, &mut |block| {
        let Block::Spans(batch) = block else { return Flow::More };
        seen += batch.len() as u64;
        ids.extend(batch.spans.iter().map(|span| span.trace_id).filter(|id| known.insert(*id)));
        if ids.len() * ID_BYTES > memory_max || seen > samples_max { Flow::Stop } else { Flow::More }
    })?;
    if seen > samples_max {
        return Err(QueryError::Limit { kind: LimitKind::Samples, limit: samples_max });
    }
    if ids.len() * ID_BYTES > memory_max {
        return Err(QueryError::Limit { kind: LimitKind::MemoryBytes, limit: memory_max as u64 });
    }
    Ok(ids)
}

/// What some span of every matching trace passes. Only the first step sees all spans of a trace, so only it says
/// something about them.
fn first_filter(pipeline: &Pipeline) -> Filter {
    match pipeline.steps.first() {
        Some(Step::Spansets(expr)) => spanset_filter(expr).unwrap_or(Filter::All),
        _ => Filter::All,
    }
}

fn spanset_filter(expr: &SpansetExpr) -> Option<Filter> {
    match expr {
        SpansetExpr::Filter(field) => field_filter(field),
        SpansetExpr::Pipeline(pipeline) => Some(first_filter(pipeline)),
        // Either side will do, since a match has spans of both; negative relations need the right one only.
        SpansetExpr::Operation(left, SpansetOp::And, right) => {
            spanset_filter(left).or_else(|| spanset_filter(right))
        }
        SpansetExpr::Operation(left, SpansetOp::Or, right) => {
            Some(Filter::Or(vec![spanset_filter(left)?, spanset_filter(right)?]))
        }
        SpansetExpr::Operation(_, SpansetOp::Related(..), right) => spanset_filter(right),
    }
}

/// A filter that passes at least the spans for which the expression is true; `None` when there is no such filter worth
/// having.
fn field_filter(expr: &FieldExpr) -> Option<Filter> {
    match expr {
        FieldExpr::Binary(binary) => match binary.op {
            Op::And => match (field_filter(&binary.left), field_filter(&binary.right)) {
                (Some(left), Some(right)) => Some(left.and(right)),
                (one, other) => one.or(other),
            },
            Op::Or => Some(Filter::Or(vec![field_filter(&binary.left)?, field_filter(&binary.right)?])),
            _ => comparison(binary),
        },
        _ => None,
    }
}

fn comparison(binary: &BinaryExpr) -> Option<Filter> {
    let (FieldExpr::Attribute(attribute), FieldExpr::Static(value)) = (&binary.left, &binary.right) else {
        return None;
    };
    let tests = fields(attribute)?.into_iter().map(|field| test(field, binary, value));
    tests.collect::<Option<Vec<_>>>().map(Filter::Or)
}

/// The fields that an attribute may be read from.
fn fields(attribute: &Attribute) -> Option<Vec<Field>> {
    Some(match attribute {
        Attribute::Named { parent: true, .. } => return None,
        Attribute::Named { scope, name, .. } => {
            let name = || name.as_str().into();
            match scope {
                Scope::Span => vec![Field::Attribute(name())],
                Scope::Resource => vec![Field::Resource(name())],
                Scope::Event => vec![Field::Event(name())],
                Scope::Link => vec![Field::Link(name())],
                Scope::Instrumentation => vec![Field::Scope(name())],
                Scope::Any => vec![
                    Field::Attribute(name()),
                    Field::Resource(name()),
                    Field::Scope(name()),
                    Field::Event(name()),
                    Field::Link(name()),
                ],
            }
        }
        Attribute::Intrinsic(intrinsic) => vec![match intrinsic {
            Intrinsic::Name => Field::Name,
            Intrinsic::Kind => Field::Kind,
            Intrinsic::Status => Field::Status,
            Intrinsic::StatusMessage => Field::StatusMessage,
            Intrinsic::Duration => Field::Duration,
            Intrinsic::TraceId => Field::TraceId,
            Intrinsic::SpanId => Field::SpanId,
            Intrinsic::InstrumentationName => Field::ScopeName,
            Intrinsic::InstrumentationVersion => Field::ScopeVersion,
            Intrinsic::EventName => Field::EventName,
            _ => return None,
        }],
    })
}

fn test(field: Field, binary: &BinaryExpr, value: &Static) -> Option<Filter> {
    let literal = match value {
        Static::Str(text) => Literal::Str(text.as_str().into()),
        Static::Int(n) | Static::Duration(n) => Literal::Int(*n),
        Static::Float(n) => Literal::Double(*n),
        Static::Bool(flag) => Literal::Bool(*flag),
        Static::Status(status) => Literal::Str(status.as_str().into()),
        Static::Kind(kind) => Literal::Str(kind.as_str().into()),
        Static::Nil | Static::Array(_) => return None,
    };
    let op = match (binary.op, &binary.pattern) {
        (Op::Re, Some(pattern)) => {
            return Some(or_list(&field, Filter::Matches(field.clone(), pattern.clone())));
        }
        (Op::Eq, _) => Compare::Eq,
        (Op::Lt, _) => Compare::Lt,
        (Op::Le, _) => Compare::Le,
        (Op::Gt, _) => Compare::Gt,
        (Op::Ge, _) => Compare::Ge,
        // Negative tests pass nearly every span, so they are only required to find the field.
        (Op::Ne | Op::Nre, _) => return Some(Filter::Exists(field)),
        _ => return None,
    };
    Some(or_list(&field, Filter::Compare(field.clone(), op, literal)))
}

/// Attributes may hold lists, which a store compares as a whole; every list passes to be looked at here.
fn or_list(field: &Field, filter: Filter) -> Filter {
    let may_be_list = matches!(
        field,
        Field::Attribute(_) | Field::Resource(_) | Field::Event(_) | Field::Link(_) | Field::Scope(_)
    );
    match Pattern::whole(r"\[.*") {
        Ok(list) if may_be_list => Filter::Or(vec![filter, Filter::Matches(field.clone(), list)]),
        _ => filter,
    }
}

fn found(
    id: TraceId,
    trace: &Trace,
    sets: &[Spanset],
    shown: &[Attribute],
    spans_per_set: usize,
) -> TraceMatch {
    let set = |set: &Spanset| {
        let mut places = set.spans.clone();
        places.sort_by_key(|place| trace.span(*place).map(|span| (span.start, *place)));
        let most = if spans_per_set == 0 { usize::MAX } else { spans_per_set };
        SpanSet {
            matched: set.spans.len(),
            attributes: set.attributes.iter().map(|(name, value)| (name.clone(), value.to_value())).collect(),
            spans: places.iter().take(most).filter_map(|place| matched_span(trace, *place, shown)).collect(),
        }
    };
    TraceMatch {
        trace_id: id,
        root_service: trace.root_service(),
        root_name: trace.root_name(),
        start: trace.start(),
        duration: trace.end().0.saturating_sub(trace.start().0),
        span_sets: sets.iter().map(set).collect(),
    }
}

fn matched_span(trace: &Trace, place: usize, shown: &[Attribute]) -> Option<MatchedSpan> {
    let span = trace.span(place)?;
    let mut attributes = Vec::new();
    for attribute in shown {
        let name = match attribute {
            // The span says these itself.
            Attribute::Intrinsic(Intrinsic::Name | Intrinsic::Duration) => continue,
            Attribute::Intrinsic(intrinsic) => intrinsic.text().to_owned(),
            Attribute::Named { name, .. } => name.clone(),
        };
        let value = trace.value(place, attribute);
        if value != Static::Nil && !attributes.iter().any(|(known, _)| *known == name) {
            attributes.push((name, value.to_value()));
        }
    }
    Some(MatchedSpan {
        span_id: span.span_id,
        name: span.name.clone(),
        start: span.start,
        duration: span.duration_nanos(),
        attributes,
    })
}
