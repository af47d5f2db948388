//! Finding traces without a language: what Jaeger's API asks for.
//!
//! A search looks for spans in a range and answers with whole traces, also with those of their spans that lie outside
//! the range.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kenning_model::{
    Block, Compare, DistinctOf, Field, Filter, Flow, Literal, Order, Scan, Shape, SpanBatch, SpanKind,
    SpanSource, Store, Table, TimeRange, TraceId,
};
use kenning_query::{LimitKind, QueryContext, QueryError, operators};

/// A search by Jaeger's criteria; one span must meet all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JaegerQuery {
    /// The service of the span.
    pub service: String,
    /// The span's name.
    pub operation: Option<String>,
    /// Names and values, compared as text, in the span's attributes, its resource, its scope, its events or
    /// its links. `error`,
    /// `span.kind`, `otel.status_code` and `otel.scope.name` also read what OpenTelemetry keeps elsewhere.
    pub tags: Vec<(String, String)>,
    /// Shortest duration, in nanoseconds.
    pub min_duration_ns: Option<i64>,
    /// Longest duration, in nanoseconds.
    pub max_duration_ns: Option<i64>,
    /// When the span started.
    pub time: TimeRange,
    /// Most traces.
    pub limit: usize,
}

fn eq(field: Field, text: &str) -> Filter {
    Filter::eq(field, text)
}

fn service_is(service: &str) -> Filter {
    eq(Field::Resource("service.name".into()), service)
}

impl JaegerQuery {
    fn filter(&self) -> Filter {
        let duration = |op, nanos| Filter::Compare(Field::Duration, op, Literal::Int(nanos));
        let mut parts = vec![service_is(&self.service)];
        parts.extend(self.operation.iter().filter(|name| !name.is_empty()).map(|name| eq(Field::Name, name)));
        parts.extend(self.min_duration_ns.map(|nanos| duration(Compare::Ge, nanos)));
        parts.extend(self.max_duration_ns.map(|nanos| duration(Compare::Le, nanos)));
        parts.extend(self.tags.iter().map(|(name, value)| tag_filter(name, value)));
        Filter::And(parts)
    }
}

/// A tag in any of the places where Jaeger's model, which has only tags, may have put it.
fn tag_filter(name: &str, value: &str) -> Filter {
    // `OneOf` compares the text of any kind of value, as Jaeger does.
    let is = |field: Field| Filter::OneOf(field, vec![value.into()]);
    let mut places = vec![
        is(Field::Attribute(name.into())),
        is(Field::Resource(name.into())),
        is(Field::Event(name.into())),
        is(Field::Scope(name.into())),
        is(Field::Link(name.into())),
    ];
    match name {
        "error" if value == "true" => places.push(eq(Field::Status, "error")),
        "error" if value == "false" => places.push(Filter::Not(Box::new(eq(Field::Status, "error")))),
        "span.kind" => places.push(eq(Field::Kind, value)),
        "otel.status_code" => places.push(eq(Field::Status, &value.to_lowercase())),
        "otel.scope.name" | "otel.library.name" => places.push(eq(Field::ScopeName, value)),
        "otel.scope.version" | "otel.library.version" => places.push(eq(Field::ScopeVersion, value)),
        "event" => places.push(eq(Field::EventName, value)),
        _ => {}
    }
    Filter::Or(places)
}

fn scan_of(ctx: &QueryContext, time: TimeRange, filter: Filter) -> Scan {
    let mut scan = Scan::rows(ctx.tenant.clone(), Table::Spans, time, filter);
    scan.bytes_max = ctx.limits.memory_bytes_max;
    scan.cancel = ctx.cancel.clone();
    scan
}

/// The traces that have a matching span, the one with the latest such span first. Each comes whole, its spans in order
/// of their start.
pub fn find_traces(
    store: &dyn Store,
    ctx: &QueryContext,
    query: &JaegerQuery,
) -> Result<Vec<SpanBatch>, QueryError> {
    let mut scan = scan_of(ctx, query.time, query.filter());
    scan.order = Order::NewestFirst;
    let (mut ids, mut known) = (Vec::new(), HashSet::new());
    if query.limit > 0 {
        store.scan(&scan, &mut |block| {
            let Block::Spans(batch) = block else { return Flow::More };
            for span in &batch.spans {
                if ids.len() < query.limit && known.insert(span.trace_id) {
                    ids.push(span.trace_id);
                }
            }
            if ids.len() < query.limit { Flow::More } else { Flow::Stop }
        })?;
    }
    let mut traces = whole_traces(store, ctx, &ids)?;
    Ok(ids.iter().filter_map(|id| traces.remove(id)).collect())
}

/// All spans of a trace in order of their start; `None` when there are none.
pub fn trace_by_id(
    store: &dyn Store,
    ctx: &QueryContext,
    id: TraceId,
) -> Result<Option<SpanBatch>, QueryError> {
    Ok(whole_traces(store, ctx, &[id])?.remove(&id))
}

/// All spans of the traces named, whenever they started.
pub(crate) fn whole_traces(
    store: &dyn Store,
    ctx: &QueryContext,
    ids: &[TraceId],
) -> Result<HashMap<TraceId, SpanBatch>, QueryError> {
    let mut traces: HashMap<TraceId, Gathered> = HashMap::new();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let texts = ids.iter().map(|id| id.to_string().into()).collect();
    let scan = scan_of(ctx, TimeRange::ALL, Filter::OneOf(Field::TraceId, texts));
    let (mut held, limit) = (0, ctx.limits.memory_bytes_max);
    store.scan(&scan, &mut |block| {
        let Block::Spans(batch) = block else { return Flow::More };
        held += batch.heap_bytes();
        if held > limit {
            return Flow::Stop;
        }
        gather(batch, &mut traces);
        Flow::More
    })?;
    if held > limit {
        return Err(QueryError::Limit { kind: LimitKind::MemoryBytes, limit: limit as u64 });
    }
    Ok(traces.into_iter().map(|(id, gathered)| (id, gathered.batch)).collect())
}

/// A trace as it comes together.
#[derive(Default)]
struct Gathered {
    batch: SpanBatch,
    sources: HashMap<Arc<SpanSource>, u32>,
}

fn gather(batch: SpanBatch, traces: &mut HashMap<TraceId, Gathered>) {
    let SpanBatch { sources, spans } = batch;
    for mut span in spans {
        let Some(source) = sources.get(span.source as usize) else { continue };
        let trace = traces.entry(span.trace_id).or_default();
        let known = trace.sources.get(source).copied();
        span.source = known.unwrap_or_else(|| {
            let place = trace.batch.add_source(Arc::clone(source));
            trace.sources.insert(Arc::clone(source), place);
            place
        });
        trace.batch.spans.push(span);
    }
}

/// Names of the services that started spans in the range, sorted.
pub fn services(store: &dyn Store, ctx: &QueryContext, range: TimeRange) -> Result<Vec<String>, QueryError> {
    let mut scan = scan_of(ctx, range, Filter::All);
    scan.shape = Shape::Distinct(DistinctOf::Values(Field::Resource("service.name".into())));
    let (names, _) = operators::distinct_texts(store, &scan)?;
    Ok(names.into_iter().map(String::from).collect())
}

/// Names and kinds of a service's spans in the range, sorted.
pub fn operations(
    store: &dyn Store,
    ctx: &QueryContext,
    service: &str,
    range: TimeRange,
) -> Result<Vec<(String, SpanKind)>, QueryError> {
    const KINDS: [SpanKind; 6] = [
        SpanKind::Unspecified,
        SpanKind::Internal,
        SpanKind::Server,
        SpanKind::Client,
        SpanKind::Producer,
        SpanKind::Consumer,
    ];
    let mut found = Vec::new();
    for kind in KINDS {
        let filter = service_is(service).and(eq(Field::Kind, kind.as_str()));
        let mut scan = scan_of(ctx, range, filter);
        scan.shape = Shape::Distinct(DistinctOf::Values(Field::Name));
        let (names, _) = operators::distinct_texts(store, &scan)?;
        found.extend(names.into_iter().map(|name| (String::from(name), kind)));
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kenning_model::{
        Attributes, Batch, BatchId, Nanos, Span, SpanId, StatusCode, TenantId, Value, Write,
    };
    use kenning_query::MemoryStore;

    fn store() -> MemoryStore {
        let store = MemoryStore::new();
        let mut batch = SpanBatch::default();
        let resource =
            |name: &str| -> Attributes { [("service.name", Value::Str(name.into()))].into_iter().collect() };
        let source = |name: &str| Arc::new(SpanSource { resource: resource(name), ..SpanSource::default() });
        let (front, back) = (batch.add_source(source("front")), batch.add_source(source("back")));
        for (trace, id, source, name, start, status) in [
            (1, 1, front, "GET /", 10, StatusCode::Ok),
            (1, 2, back, "query", 12, StatusCode::Error),
            (2, 3, front, "GET /", 20, StatusCode::Ok),
            (3, 4, back, "sweep", 30, StatusCode::Unset),
        ] {
            batch.spans.push(Span {
                trace_id: TraceId([trace; 16]),
                span_id: SpanId([id; 8]),
                name: name.into(),
                kind: SpanKind::Server,
                start: Nanos(start),
                end: Nanos(start + i64::from(id) * 100),
                status,
                attributes: [("n", Value::Int(i64::from(id)))].into_iter().collect(),
                source,
                ..Span::default()
            });
        }
        let write = Write { id: BatchId(1), tenant: TenantId::default_tenant(), batch: Batch::Spans(batch) };
        store.write(&[write]).unwrap();
        store
    }

    fn query(service: &str) -> JaegerQuery {
        JaegerQuery {
            service: service.into(),
            operation: None,
            tags: Vec::new(),
            min_duration_ns: None,
            max_duration_ns: None,
            time: TimeRange::ALL,
            limit: 10,
        }
    }

    fn check(query: &JaegerQuery, expect: &[(u8, usize)]) {
        let ctx = QueryContext::new(TenantId::default_tenant());
        let traces = find_traces(&store(), &ctx, query).unwrap();
        let found: Vec<_> = traces.iter().map(|t| (t.spans[0].trace_id.0[0], t.len())).collect();
        assert_eq!(found, expect, "{query:?}");
    }

    #[test]
    fn searches_answer_whole_traces_newest_first() {
        check(&query("front"), &[(2, 1), (1, 2)]);
        check(&JaegerQuery { limit: 1, ..query("front") }, &[(2, 1)]);
        check(&JaegerQuery { limit: 0, ..query("front") }, &[]);
        check(&JaegerQuery { operation: Some("sweep".into()), ..query("back") }, &[(3, 1)]);
        check(&JaegerQuery { tags: vec![("error".into(), "true".into())], ..query("back") }, &[(1, 2)]);
        check(&JaegerQuery { tags: vec![("n".into(), "4".into())], ..query("back") }, &[(3, 1)]);
        check(&JaegerQuery { min_duration_ns: Some(300), ..query("front") }, &[(2, 1)]);
        check(
            &JaegerQuery { time: TimeRange { start: Nanos(0), end: Nanos(11) }, ..query("front") },
            &[(1, 2)],
        );
        check(&query("nobody"), &[]);
    }

    #[test]
    fn names_are_listed() {
        let ctx = QueryContext::new(TenantId::default_tenant());
        assert_eq!(services(&store(), &ctx, TimeRange::ALL).unwrap(), ["back", "front"]);
        let names = operations(&store(), &ctx, "back", TimeRange::ALL).unwrap();
        assert_eq!(names, [("query".to_owned(), SpanKind::Server), ("sweep".to_owned(), SpanKind::Server)]);
        let trace = trace_by_id(&store(), &ctx, TraceId([1; 16])).unwrap();
        assert_eq!(trace.map(|t| (t.len(), t.sources.len())), Some((2, 2)));
        assert_eq!(trace_by_id(&store(), &ctx, TraceId([9; 16])).unwrap(), None);
    }
}
