//! Reads traces from OTLP JSON, as far as the corpora need it.

use std::sync::Arc;

use kenning_model::{
    Attributes, Batch, BatchId, Nanos, Span, SpanBatch, SpanEvent, SpanId, SpanKind, SpanLink, SpanSource,
    StatusCode, Store, TenantId, TraceId, Value, Write,
};
use kenning_query::MemoryStore;
use serde_json::Value as Json;

fn value(json: &Json) -> Value {
    let (kind, value) = json.as_object().unwrap().iter().next().unwrap();
    match kind.as_str() {
        "stringValue" => Value::Str(value.as_str().unwrap().into()),
        "boolValue" => Value::Bool(value.as_bool().unwrap()),
        "intValue" => Value::Int(value.as_i64().unwrap_or_else(|| value.as_str().unwrap().parse().unwrap())),
        "doubleValue" => Value::Double(value.as_f64().unwrap()),
        "bytesValue" => Value::Bytes(value.as_str().unwrap().as_bytes().to_vec()),
        other => panic!("{other}"),
    }
}

pub fn list<'j>(json: &'j Json, key: &str) -> &'j [Json] {
    json[key].as_array().map_or(&[], Vec::as_slice)
}

fn attributes(json: &Json) -> Attributes {
    list(json, "attributes").iter().map(|a| (a["key"].as_str().unwrap(), value(&a["value"]))).collect()
}

fn nanos(json: &Json) -> Nanos {
    Nanos(json.as_str().unwrap().parse().unwrap())
}

pub fn text(json: &Json) -> &str {
    json.as_str().unwrap_or("")
}

fn span(json: &Json, source: u32) -> Span {
    let event = |event: &Json| SpanEvent {
        time: nanos(&event["timeUnixNano"]),
        name: text(&event["name"]).into(),
        attributes: attributes(event),
    };
    let link = |link: &Json| SpanLink {
        trace_id: TraceId::from_hex(text(&link["traceId"])).unwrap_or_default(),
        span_id: SpanId::from_hex(text(&link["spanId"])).unwrap_or_default(),
        attributes: attributes(link),
        ..SpanLink::default()
    };
    Span {
        trace_id: TraceId::from_hex(text(&json["traceId"])).unwrap(),
        span_id: SpanId::from_hex(text(&json["spanId"])).unwrap(),
        parent_span_id: SpanId::from_hex(text(&json["parentSpanId"])).unwrap_or_default(),
        name: text(&json["name"]).into(),
        kind: SpanKind::from_number(json["kind"].as_u64().unwrap_or(0)),
        start: nanos(&json["startTimeUnixNano"]),
        end: nanos(&json["endTimeUnixNano"]),
        status: StatusCode::from_number(json["status"]["code"].as_u64().unwrap_or(0)),
        status_message: text(&json["status"]["message"]).into(),
        attributes: attributes(json),
        events: list(json, "events").iter().map(event).collect(),
        links: list(json, "links").iter().map(link).collect(),
        source,
        ..Span::default()
    }
}

pub fn store(traces: &[Json]) -> MemoryStore {
    let mut batch = SpanBatch::default();
    for resource in traces.iter().flat_map(|trace| list(trace, "resourceSpans")) {
        for scope in list(resource, "scopeSpans") {
            let source = batch.add_source(Arc::new(SpanSource {
                resource: attributes(&resource["resource"]),
                scope_name: text(&scope["scope"]["name"]).into(),
                scope_version: text(&scope["scope"]["version"]).into(),
                scope: attributes(&scope["scope"]),
            }));
            batch.spans.extend(list(scope, "spans").iter().map(|json| span(json, source)));
        }
    }
    let store = MemoryStore::new();
    let write = Write { id: BatchId(1), tenant: TenantId::default_tenant(), batch: Batch::Spans(batch) };
    store.write(&[write]).unwrap();
    store
}
