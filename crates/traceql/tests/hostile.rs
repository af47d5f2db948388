//! Hostile queries, odd traces, and the search against every trace evaluated in full.

use std::sync::Arc;

use kenning_model::{
    Attributes, Batch, BatchId, Nanos, Span, SpanBatch, SpanId, SpanKind, SpanSource, StatusCode, Store,
    TenantId, TimeRange, TraceId, Value, Write,
};
use kenning_query::{LimitKind, MemoryStore, QueryContext, QueryError};
use kenning_traceql::{parse, search};
use proptest::prelude::*;

/// Trace, span, parent, name, attribute `a`, start.
type Row = (u8, u8, u8, u8, u8, i64);

fn store(rows: &[Row]) -> MemoryStore {
    let mut batch = SpanBatch::default();
    let resource: Attributes = [("service.name", Value::Str("s".into()))].into_iter().collect();
    let source = batch.add_source(Arc::new(SpanSource { resource, ..SpanSource::default() }));
    for (trace, span, parent, name, a, start) in rows {
        let value = match a {
            0 => None,
            1 => Some(Value::Int(1)),
            2 => Some(Value::Str("x".into())),
            3 => Some(Value::Array(vec![Value::Str("x".into()), Value::Str("y".into())])),
            _ => Some(Value::Double(1.0)),
        };
        batch.spans.push(Span {
            trace_id: TraceId([trace + 1; 16]),
            span_id: SpanId([*span; 8]),
            parent_span_id: SpanId([*parent; 8]),
            name: ["get", "put", ""][usize::from(*name) % 3].into(),
            kind: SpanKind::from_number(u64::from(*name)),
            status: StatusCode::from_number(u64::from(*a)),
            start: Nanos(*start),
            end: Nanos(*start + 5),
            attributes: value.into_iter().map(|value| ("a", value)).collect(),
            source,
            ..Span::default()
        });
    }
    let store = MemoryStore::new();
    let write = Write { id: BatchId(1), tenant: TenantId::default_tenant(), batch: Batch::Spans(batch) };
    store.write(&[write]).unwrap();
    store
}

fn ctx() -> QueryContext {
    QueryContext::new(TenantId::default_tenant())
}

fn ids(rows: &[Row], query: &str) -> Vec<TraceId> {
    let found = search(&store(rows), &ctx(), query, TimeRange::ALL, 100, 3).unwrap();
    let mut ids: Vec<TraceId> = found.iter().map(|one| one.trace_id).collect();
    ids.sort();
    ids
}

#[test]
fn structure_survives_rings_and_orphans() {
    let rows = [(0, 1, 2, 0, 1, 0), (0, 2, 1, 1, 1, 1), (0, 3, 3, 0, 2, 2), (0, 4, 9, 1, 3, 3)];
    for op in [">", "<", ">>", "<<", "~", "!>", "!<", "!>>", "!<<", "!~", "&>", "&<", "&>>", "&<<", "&~"] {
        ids(&rows, &format!("{{ name = `get` }} {op} {{ }}"));
    }
    assert_eq!(ids(&rows, "{ name = `get` } >> { name = `put` }").len(), 1);
    assert_eq!(ids(&rows, "{ nestedSetLeft > 0 }").len(), 0);
}

#[test]
fn searches_go_on_until_they_have_enough() {
    // More traces than a first portion, several of them starting at the same instant.
    let rows: Vec<Row> = (0..200u8).map(|n| (n, 1, 0, u8::from(n < 3), 1, i64::from(n / 20))).collect();
    assert_eq!(ids(&rows, "{ name = `get` } | count() = 1").len(), 100);
    let rare = search(&store(&rows), &ctx(), "{} | { name = `put` }", TimeRange::ALL, 2, 0).unwrap();
    assert_eq!(rare.len(), 2);
    let all = search(&store(&rows), &ctx(), "{} | { name = `put` }", TimeRange::ALL, 10, 0).unwrap();
    assert_eq!(all.len(), 3);
    let newest = search(&store(&rows), &ctx(), "{}", TimeRange::ALL, 5, 0).unwrap();
    assert!(newest.iter().all(|one| one.start == Nanos(9)), "{newest:?}");
    assert!(search(&store(&rows), &ctx(), "{}", TimeRange::ALL, 0, 0).unwrap().is_empty());
}

#[test]
fn hostile_nesting_is_refused() {
    let deep = [
        "(".repeat(50_000),
        "{".to_owned() + &"(".repeat(50_000),
        "{".to_owned() + &"!".repeat(50_000) + ".a}",
        "{".to_owned() + &"-".repeat(50_000) + ".a}",
        "{ .a".to_owned() + &" && .a".repeat(20_000) + "}",
        "{} ".to_owned() + &"&& {} ".repeat(20_000),
        "{ 1".to_owned() + &"^1".repeat(50_000) + " = 1 }",
    ];
    for query in deep {
        assert!(parse(&query).is_err(), "{:.40}", query);
    }
}

#[test]
fn bounds_and_faults_are_named() {
    let rows = [(0, 1, 0, 0, 1, 0), (1, 1, 0, 0, 2, 5)];
    let run = |ctx: &QueryContext, query: &str| search(&store(&rows), ctx, query, TimeRange::ALL, 10, 0);
    let mut small = ctx();
    small.limits.samples_max = 1;
    assert!(matches!(run(&small, "{}"), Err(QueryError::Limit { kind: LimitKind::Samples, .. })));
    let cancelled = ctx();
    cancelled.cancel.raise();
    assert!(matches!(run(&cancelled, "{}"), Err(QueryError::Cancelled)));
    assert!(matches!(run(&ctx(), "{} | rate()"), Err(QueryError::Invalid(_))));
    assert!(matches!(run(&ctx(), "{} | by(.a) > {}"), Err(QueryError::Invalid(_))));
    let fault = run(&ctx(), "({} | by(.a)) > {}").map(|found| found.len());
    assert!(fault.is_ok(), "one spanset per trace is fine: {fault:?}");
    assert!(matches!(run(&ctx(), "{ 5 / (.a - .a) = 1 }"), Err(QueryError::Execution(_))));
}

const FILTERS: &[&str] = &[
    "{ .a = 1 }",
    "{ .a = `x` }",
    "{ span.a != `x` }",
    "{ .a =~ `x|y` }",
    "{ .a !~ `x` }",
    "{ name = `get` }",
    "{ name != `get` && .a > 0 }",
    "{ kind = server || status = error }",
    "{ .a = nil }",
    "{ .a != nil && duration > 1ns }",
    "{ !(.a = 1) }",
    "{ resource.service.name = `s` && duration = 5 }",
    "{ childCount > 0 }",
    "{ span:childCount > 0 }",
];

/// The same filter written so that no store can be asked it first.
fn hidden(filter: &str) -> String {
    format!("{} | {filter}", "{ true || false }")
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,60}|[{}()&|<>~!=.a-d`\"0-9 :+*^-]{0,60}") {
        if let Ok(pipeline) = parse(&text) {
            let printed = pipeline.to_string();
            let again = parse(&printed).map(|pipeline| pipeline.to_string());
            prop_assert_eq!(again, Ok(printed));
        }
    }

    #[test]
    fn candidates_hide_no_match(
        rows in proptest::collection::vec((0u8..4, 1u8..6, 0u8..6, 0u8..4, 0u8..5, 0i64..50), 0..20),
        (left, right) in (0..FILTERS.len(), 0..FILTERS.len()),
        op in 0usize..6,
    ) {
        let both = |l: &str, r: &str| match op {
            0 => l.to_owned(),
            n => format!("{l} {} {r}", ["", "&&", "||", ">", "!<<", "&~"][n]),
        };
        let plain = both(FILTERS[left], FILTERS[right]);
        if parse(&plain).is_ok() {
            let slow = both(&format!("({})", hidden(FILTERS[left])), &format!("({})", hidden(FILTERS[right])));
            prop_assert_eq!(ids(&rows, &plain), ids(&rows, &slow), "{} and {}", plain, slow);
        }
    }
}
