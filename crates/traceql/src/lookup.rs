//! Look-ups that need no language: services, operations, one trace, and the search of Jaeger's API.

use std::collections::{BTreeMap, BTreeSet};

use kenning_model::{
    Agg, Block, Compare, DistinctOf, Field, Filter, Flow, Group, Literal, Order, Scan, ScanError, Shape,
    SpanBatch, SpanKind, Store, Table, TimeRange, TraceId,
};
use kenning_query::{QueryContext, QueryError, operators};

/// A search as Jaeger's API and UI ask it. All parts must hold for one span of a trace.
#[derive(Clone, Debug, PartialEq)]
pub struct JaegerQuery {
    /// The service that the span belongs to.
    pub service: String,
    /// The span's name.
    pub operation: Option<String>,
    /// Tags of the span, its events or its resource, as text. `error=true` finds failed spans.
    pub tags: Vec<(String, String)>,
    /// Least duration of the span, in nanoseconds.
    pub min_duration_ns: Option<i64>,
    /// Greatest duration of the span, in nanoseconds.
    pub max_duration_ns: Option<i64>,
    /// When the span started.
    pub time: TimeRange,
    /// Most traces.
    pub limit: usize,
}

/// Spans looked at in one go while traces are gathered, before more are asked for.
const SPANS_PER_TRACE_GUESS: usize = 64;

/// The traces that hold a span as asked for, the ones with the latest such span first, each whole.
///
/// # Errors
/// The store fails, memory runs out, or the query is cancelled.
pub fn find_traces(
    store: &dyn Store,
    context: &QueryContext,
    query: &JaegerQuery,
) -> Result<Vec<SpanBatch>, QueryError> {
    let wanted = matching_traces(store, context, query)?;
    let mut found = traces_by_id(store, context, &wanted)?;
    Ok(wanted.iter().filter_map(|id| found.remove(id)).collect())
}

/// Ids of the traces with the latest matching spans, the latest first.
fn matching_traces(
    store: &dyn Store,
    context: &QueryContext,
    query: &JaegerQuery,
) -> Result<Vec<TraceId>, QueryError> {
    let mut scan = scan_of(context, query.time, filter_of(query), Shape::Rows);
    scan.order = Order::NewestFirst;
    let mut rows_max = query.limit.saturating_mul(SPANS_PER_TRACE_GUESS).max(1);
    loop {
        scan.limit = Some(rows_max);
        let (mut ids, mut seen, mut rows) = (Vec::new(), BTreeSet::new(), 0);
        store.scan(&scan, &mut |block| {
            let Block::Spans(batch) = block else { return Flow::More };
            for span in &batch.spans {
                rows += 1;
                if ids.len() < query.limit && seen.insert(span.trace_id) {
                    ids.push(span.trace_id);
                }
            }
            if ids.len() >= query.limit { Flow::Stop } else { Flow::More }
        })?;
        // One trace may hold more matching spans than were guessed: look at more until there are enough or no more.
        if ids.len() >= query.limit || rows < rows_max {
            return Ok(ids);
        }
        rows_max = rows_max.saturating_mul(4);
    }
}

fn filter_of(query: &JaegerQuery) -> Filter {
    let mut filter = Filter::eq(Field::Resource("service.name".into()), &query.service);
    if let Some(name) = &query.operation {
        filter = filter.and(Filter::eq(Field::Name, name));
    }
    let bounds = [(query.min_duration_ns, Compare::Ge), (query.max_duration_ns, Compare::Le)];
    for (bound, compare) in bounds {
        if let Some(nanos) = bound {
            filter = filter.and(Filter::Compare(Field::Duration, compare, Literal::Int(nanos)));
        }
    }
    query.tags.iter().fold(filter, |filter, (key, value)| filter.and(tag(key, value)))
}

/// A tag as Jaeger knows it: its own names for OpenTelemetry's span fields, else an attribute anywhere near the span.
fn tag(key: &str, value: &str) -> Filter {
    match (key, value) {
        ("error", "true") => Filter::eq(Field::Status, "error"),
        ("error", "false") => Filter::Not(Box::new(Filter::eq(Field::Status, "error"))),
        ("span.kind", kind) => Filter::eq(Field::Kind, kind),
        ("otel.status_code", code) => Filter::eq(Field::Status, &code.to_ascii_lowercase()),
        ("otel.status_description", text) => Filter::eq(Field::StatusMessage, text),
        ("otel.scope.name", text) => Filter::eq(Field::ScopeName, text),
        ("otel.scope.version", text) => Filter::eq(Field::ScopeVersion, text),
        _ => {
            let as_text = |field| Filter::OneOf(field, vec![value.into()]);
            let fields =
                [Field::Attribute(key.into()), Field::Resource(key.into()), Field::Event(key.into())];
            Filter::Or(fields.into_iter().map(as_text).collect())
        }
    }
}

/// A whole trace: every span that is stored of it, in order of start; `None` when there is none.
///
/// # Errors
/// As [`find_traces`].
pub fn trace_by_id(
    store: &dyn Store,
    context: &QueryContext,
    id: TraceId,
) -> Result<Option<SpanBatch>, QueryError> {
    Ok(traces_by_id(store, context, &[id])?.remove(&id))
}

fn traces_by_id(
    store: &dyn Store,
    context: &QueryContext,
    ids: &[TraceId],
) -> Result<BTreeMap<TraceId, SpanBatch>, QueryError> {
    let mut traces: BTreeMap<TraceId, SpanBatch> = BTreeMap::new();
    if ids.is_empty() {
        return Ok(traces);
    }
    let texts = ids.iter().map(|id| id.to_string().into()).collect();
    let scan = scan_of(context, TimeRange::ALL, Filter::OneOf(Field::TraceId, texts), Shape::Rows);
    let mut held = 0;
    store.scan(&scan, &mut |block| {
        if let Block::Spans(batch) = block {
            held += batch.heap_bytes();
            for span in &batch.spans {
                let Some(source) = batch.source_of(span) else { continue };
                let trace = traces.entry(span.trace_id).or_default();
                let known = trace.sources.iter().position(|one| one == source);
                let source = known.map_or_else(|| trace.add_source(source.clone()), |place| place as u32);
                trace.spans.push(kenning_model::Span { source, ..span.clone() });
            }
        }
        if held > scan.bytes_max { Flow::Stop } else { Flow::More }
    })?;
    if held > scan.bytes_max {
        return Err(ScanError::TooMuchMemory { limit: scan.bytes_max }.into());
    }
    Ok(traces)
}

/// Names of all services with spans in the range, sorted.
///
/// # Errors
/// As [`find_traces`].
pub fn services(
    store: &dyn Store,
    context: &QueryContext,
    time: TimeRange,
) -> Result<Vec<String>, QueryError> {
    let names = Shape::Distinct(DistinctOf::Values(Field::Resource("service.name".into())));
    let (names, _) = operators::distinct_texts(store, &scan_of(context, time, Filter::All, names))?;
    Ok(names.into_iter().map(Into::into).collect())
}

/// Names and kinds of a service's spans in the range, sorted.
///
/// # Errors
/// As [`find_traces`].
pub fn operations(
    store: &dyn Store,
    context: &QueryContext,
    service: &str,
    time: TimeRange,
) -> Result<Vec<(String, SpanKind)>, QueryError> {
    let by_name = Group { step: None, by: vec![Field::Name, Field::Kind], aggs: vec![Agg::Count] };
    let filter = Filter::eq(Field::Resource("service.name".into()), service);
    let (rows, _) = operators::groups(store, &scan_of(context, time, filter, Shape::Group(by_name)))?;
    let kind_of =
        |word: &str| (0..6).map(SpanKind::from_number).find(|kind| kind.as_str() == word).unwrap_or_default();
    let pairs = rows.iter().filter_map(|row| Some((row.key.first()?.to_string(), kind_of(row.key.get(1)?))));
    Ok(pairs.collect::<BTreeSet<_>>().into_iter().collect())
}

fn scan_of(context: &QueryContext, time: TimeRange, filter: Filter, shape: Shape) -> Scan {
    Scan {
        shape,
        bytes_max: context.limits.memory_bytes_max,
        cancel: context.cancel.clone(),
        ..Scan::rows(context.tenant.clone(), Table::Spans, time, filter)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kenning_model::{
        Attributes, Batch, BatchId, Nanos, Span, SpanId, SpanSource, StatusCode, TenantId, Value, Write,
    };
    use kenning_query::MemoryStore;

    use super::*;

    /// Trace 1 has two spans of `api` and one of `worker`; trace 2 one failed span of `api`, later.
    fn store() -> MemoryStore {
        let mut batch = SpanBatch::default();
        let source = |name: &str| {
            let resource = [("service.name", Value::Str(name.into()))].into_iter().collect();
            Arc::new(SpanSource { resource, ..SpanSource::default() })
        };
        let (api, worker) = (batch.add_source(source("api")), batch.add_source(source("worker")));
        let mut add = |trace: u8, span: u8, name: &str, start: i64, source, status| {
            batch.spans.push(Span {
                trace_id: TraceId([trace; 16]),
                span_id: SpanId([span; 8]),
                name: name.into(),
                kind: SpanKind::Server,
                start: Nanos(start),
                end: Nanos(start + 10 * i64::from(span)),
                status,
                attributes: Attributes::from_iter([("http.status_code", Value::Int(200 + i64::from(span)))]),
                source,
                ..Span::default()
            });
        };
        add(1, 1, "get", 100, api, StatusCode::Unset);
        add(1, 2, "query", 110, api, StatusCode::Ok);
        add(1, 3, "work", 120, worker, StatusCode::Unset);
        add(2, 4, "get", 200, api, StatusCode::Error);
        let store = MemoryStore::default();
        let write = Write { id: BatchId(1), tenant: TenantId::default_tenant(), batch: Batch::Spans(batch) };
        assert!(store.write(&[write]).is_ok());
        store
    }

    fn check(query: JaegerQuery, expect: &[(u8, usize)]) {
        let context = QueryContext::new(TenantId::default_tenant());
        let found = find_traces(&store(), &context, &query).unwrap_or_default();
        let shape: Vec<_> =
            found.iter().map(|trace| (trace.spans[0].trace_id.0[0], trace.spans.len())).collect();
        assert_eq!(shape, expect, "{query:?}");
    }

    fn query(service: &str) -> JaegerQuery {
        JaegerQuery {
            service: service.into(),
            operation: None,
            tags: Vec::new(),
            min_duration_ns: None,
            max_duration_ns: None,
            time: TimeRange::ALL,
            limit: 20,
        }
    }

    #[test]
    fn traces_come_whole_and_the_latest_first() {
        check(query("api"), &[(2, 1), (1, 3)]);
        check(query("worker"), &[(1, 3)]);
        check(query("nobody"), &[]);
        check(JaegerQuery { limit: 1, ..query("api") }, &[(2, 1)]);
    }

    #[test]
    fn every_part_narrows_the_search() {
        let tag = |key: &str, value: &str| vec![(key.to_owned(), value.to_owned())];
        check(JaegerQuery { operation: Some("query".into()), ..query("api") }, &[(1, 3)]);
        check(JaegerQuery { tags: tag("error", "true"), ..query("api") }, &[(2, 1)]);
        check(JaegerQuery { tags: tag("error", "false"), ..query("api") }, &[(1, 3)]);
        check(JaegerQuery { tags: tag("http.status_code", "202"), ..query("api") }, &[(1, 3)]);
        check(JaegerQuery { tags: tag("service.name", "api"), ..query("api") }, &[(2, 1), (1, 3)]);
        check(JaegerQuery { min_duration_ns: Some(40), ..query("api") }, &[(2, 1)]);
        check(JaegerQuery { max_duration_ns: Some(10), ..query("api") }, &[(1, 3)]);
        check(
            JaegerQuery { time: TimeRange { start: Nanos(0), end: Nanos(150) }, ..query("api") },
            &[(1, 3)],
        );
    }

    #[test]
    fn services_and_operations_are_listed_once() {
        let context = QueryContext::new(TenantId::default_tenant());
        assert_eq!(services(&store(), &context, TimeRange::ALL).unwrap_or_default(), ["api", "worker"]);
        let names = operations(&store(), &context, "api", TimeRange::ALL).unwrap_or_default();
        assert_eq!(names, [("get".to_owned(), SpanKind::Server), ("query".to_owned(), SpanKind::Server)]);
    }
}
