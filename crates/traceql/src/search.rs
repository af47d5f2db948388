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
/// Fewest and most candidates of the first portion.
const PORTION_MIN: usize = 64;
const PORTION_MAX: usize = 4_096;
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
    let mut candidates = Candidates::new(ctx, &pipeline, range, limit);
    while matches.len() < limit {
        let Some(ids) = candidates.next(store)? else { break };
        for ids in ids.chunks(BATCH_LEN) {
            evaluate(store, ctx, &pipeline, range, (ids, spans_per_set), &mut matches)?;
            if matches.len() >= limit {
                break;
            }
        }
    }
    matches.truncate(limit);
    Ok(matches)
}

/// Runs the pipeline over whole traces and keeps those that match.
fn evaluate(
    store: &dyn Store,
    ctx: &QueryContext,
    pipeline: &Pipeline,
    range: TimeRange,
    (ids, spans_per_set): (&[TraceId], usize),
    matches: &mut Vec<TraceMatch>,
) -> Result<(), QueryError> {
    let shown = eval::mentioned(pipeline);
    let mut traces = whole_traces(store, ctx, ids)?;
    for id in ids {
        if ctx.cancel.is_raised() {
            return Err(QueryError::Cancelled);
        }
        let Some(trace) = traces.remove(id).map(Trace::new) else { continue };
        if trace.start() > range.end || trace.end() < range.start {
            continue;
        }
        let sets = eval::run(pipeline, &trace).map_err(unsupported)?;
        if !sets.is_empty() {
            matches.push(found(*id, &trace, &sets, &shown, spans_per_set));
        }
    }
    Ok(())
}

fn unsupported(error: Unsupported) -> QueryError {
    QueryError::Execution(Diagnostic::error(SourceSpan::default(), format!("{} is not supported", error.0)))
}

/// Ids of traces with a span that may match, the latest first, found a portion at a time: a search that finds its
/// traces early need not read the whole range.
struct Candidates<'q> {
    ctx: &'q QueryContext,
    scan: Scan,
    known: HashSet<TraceId>,
    /// Ids of the next portion; grows with every one.
    portion: usize,
    /// Spans looked at.
    seen: u64,
    is_done: bool,
}

impl<'q> Candidates<'q> {
    fn new(ctx: &'q QueryContext, pipeline: &Pipeline, range: TimeRange, limit: usize) -> Self {
        let time = TimeRange { start: Nanos(range.start.0.saturating_sub(LOOKBACK_NANOS)), end: range.end };
        let mut scan = Scan::rows(ctx.tenant.clone(), Table::Spans, time, first_filter(pipeline));
        scan.order = Order::NewestFirst;
        scan.bytes_max = ctx.limits.memory_bytes_max;
        scan.cancel = ctx.cancel.clone();
        let portion = limit.saturating_mul(2).clamp(PORTION_MIN, PORTION_MAX);
        Self { ctx, scan, known: HashSet::new(), portion, seen: 0, is_done: false }
    }

    /// The next ids; `None` when there are no more.
    fn next(&mut self, store: &dyn Store) -> Result<Option<Vec<TraceId>>, QueryError> {
        if self.is_done {
            return Ok(None);
        }
        let (mut ids, mut last) = (Vec::new(), None);
        let Self { scan, known, portion, seen, .. } = self;
        let (memory_max, samples_max) = (self.ctx.limits.memory_bytes_max, self.ctx.limits.samples_max);
        store.scan(scan, &mut |block| {
            let Block::Spans(batch) = block else { return Flow::More };
            *seen += batch.len() as u64;
            ids.extend(batch.spans.iter().map(|span| span.trace_id).filter(|id| known.insert(*id)));
            let is_enough =
                ids.len() >= *portion || known.len() * ID_BYTES > memory_max || *seen > samples_max;
            last = batch.spans.last().map(|span| span.start).filter(|_| is_enough);
            if is_enough { Flow::Stop } else { Flow::More }
        })?;
        if self.seen > samples_max {
            return Err(QueryError::Limit { kind: LimitKind::Samples, limit: samples_max });
        }
        if self.known.len() * ID_BYTES > memory_max {
            return Err(QueryError::Limit { kind: LimitKind::MemoryBytes, limit: memory_max as u64 });
        }
        // The next portion begins with the instant this one ended in; what is known of it is left out.
        match last {
            Some(start) => self.scan.time.end = start,
            None => self.is_done = true,
        }
        self.portion = self.portion.saturating_mul(2);
        Ok(Some(ids))
    }
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
