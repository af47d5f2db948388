//! Jaeger's query API, as its UI and Grafana call it. Definition: Jaeger `internal HTTP JSON` API.

use std::collections::HashMap;

use axum::response::Response;
use kenning_model::{
    Nanos, Span, SpanBatch, SpanKind, SpanSource, StatusCode, Store, TimeRange, TraceId, ValueRef,
};
use kenning_query::QueryContext;
use kenning_traceql::lookup;

use crate::asked::Asked;
use crate::error::ApiError;
use crate::json::Json;
use crate::params::{Params, duration_ms};
use crate::reply;
use crate::routes::{Call, GET, Permission, Routes};

/// Traces answered when the request does not say how many.
const LIMIT_DEFAULT: usize = 20;
/// Most traces in an answer.
const LIMIT_MAX: usize = 1_500;
/// How far back a search looks that does not say.
const LOOKBACK_DEFAULT_NS: i64 = 3_600 * 1_000_000_000;

pub(crate) fn routes() -> Routes {
    use Permission::Query;
    Routes::new()
        .add(Query, GET, "/api/services", |call| answer_with(call, services))
        .add(Query, GET, "/api/services/{service}/operations", |call| answer_with(call, service_operations))
        .add(Query, GET, "/api/operations", |call| answer_with(call, operations))
        .add(Query, GET, "/api/traces", |call| answer_with(call, search))
        .add(Query, GET, "/api/traces/{id}", |call| answer_with(call, trace))
}

/// The range asked for; the last hour without one.
fn range_of(asked: &Asked) -> Result<TimeRange, ApiError> {
    let end = asked.params.micros("end")?.unwrap_or(Nanos(asked.api.clock.unix_nanos()));
    let start = asked.params.micros("start")?.unwrap_or(Nanos(end.0.saturating_sub(LOOKBACK_DEFAULT_NS)));
    Ok(TimeRange { start, end })
}

async fn answer_with<F, A>(call: Call, handler: F) -> Response
where
    F: FnOnce(Asked) -> A,
    A: Future<Output = Result<Vec<u8>, ApiError>>,
{
    let outcome = async { handler(Asked::of(call).await?).await };
    match outcome.await {
        Ok(body) => reply::json(body),
        Err(error) => error.into_jaeger(),
    }
}

/// Jaeger's envelope around a list.
fn envelope(total: usize, fill: impl FnOnce(&mut Json)) -> Vec<u8> {
    Json::build(|json| {
        json.key("data").array(fill);
        json.key("total").int(total as i64);
        json.key("limit").int(0);
        json.key("offset").int(0);
        json.key("errors").raw("null");
    })
}

async fn services(asked: Asked) -> Result<Vec<u8>, ApiError> {
    // Jaeger's call has no range: a service stays listed as long as its spans are kept.
    let job = |store: &dyn Store, context: &QueryContext| lookup::services(store, context, TimeRange::ALL);
    let services = asked.api.run(asked.tenant, "", job).await?;
    Ok(envelope(services.len(), |json| services.iter().for_each(|name| json.text(name))))
}

async fn names_of(asked: Asked, service: String) -> Result<Vec<(String, SpanKind)>, ApiError> {
    let kind = asked.params.get("spanKind").map(str::to_owned);
    let job = move |store: &dyn Store, context: &QueryContext| {
        lookup::operations(store, context, &service, TimeRange::ALL)
    };
    let mut names = asked.api.run(asked.tenant, "", job).await?;
    names.retain(|(_, one)| kind.as_deref().is_none_or(|wanted| wanted == one.as_str()));
    Ok(names)
}

async fn service_operations(asked: Asked) -> Result<Vec<u8>, ApiError> {
    let service = asked.path.first().cloned().unwrap_or_default();
    let mut names: Vec<_> = names_of(asked, service).await?.into_iter().map(|(name, _)| name).collect();
    names.dedup();
    Ok(envelope(names.len(), |json| names.iter().for_each(|name| json.text(name))))
}

async fn operations(asked: Asked) -> Result<Vec<u8>, ApiError> {
    let service = asked.params.required("service")?.to_owned();
    let names = names_of(asked, service).await?;
    Ok(envelope(names.len(), |json| {
        for (name, kind) in &names {
            json.object(|json| {
                json.key("name").text(name);
                json.key("spanKind").text(kind_tag(*kind));
            });
        }
    }))
}

async fn search(asked: Asked) -> Result<Vec<u8>, ApiError> {
    let wanted: Vec<String> = asked.params.all("traceID").map(str::to_owned).collect();
    if !wanted.is_empty() {
        return by_ids(asked, &wanted).await;
    }
    let query = lookup::JaegerQuery {
        service: asked.params.required("service")?.to_owned(),
        operation: asked.params.get("operation").filter(|name| *name != "all").map(str::to_owned),
        tags: tags_of(&asked.params)?,
        min_duration_ns: duration_ns(&asked.params, "minDuration")?,
        max_duration_ns: duration_ns(&asked.params, "maxDuration")?,
        time: range_of(&asked)?,
        limit: asked.params.count("limit")?.unwrap_or(LIMIT_DEFAULT).min(LIMIT_MAX),
    };
    let job = move |store: &dyn Store, context: &QueryContext| lookup::find_traces(store, context, &query);
    let traces = asked.api.run(asked.tenant, "", job).await?;
    Ok(envelope(traces.len(), |json| traces.iter().for_each(|batch| write_trace(json, batch))))
}

async fn trace(asked: Asked) -> Result<Vec<u8>, ApiError> {
    let ids = asked.path.clone();
    by_ids(asked, &ids).await
}

async fn by_ids(asked: Asked, texts: &[String]) -> Result<Vec<u8>, ApiError> {
    let mut ids = Vec::new();
    for text in texts {
        let bad = || ApiError::bad_request(format!("trace id \"{text}\" is not 1 to 32 hex digits"));
        ids.push(TraceId::from_hex(text).ok_or_else(bad)?);
    }
    let job = move |store: &dyn Store, context: &QueryContext| {
        let found =
            ids.iter().map(|id| lookup::trace_by_id(store, context, *id)).collect::<Result<Vec<_>, _>>()?;
        Ok(found.into_iter().flatten().collect::<Vec<_>>())
    };
    let traces = asked.api.run(asked.tenant, "", job).await?;
    if traces.is_empty() {
        return Err(ApiError::not_found("trace not found"));
    }
    Ok(envelope(traces.len(), |json| traces.iter().for_each(|batch| write_trace(json, batch))))
}

/// Tags come as `tags={"k":"v"}` or as any number of `tag=k:v`.
fn tags_of(params: &Params) -> Result<Vec<(String, String)>, ApiError> {
    let mut tags = Vec::new();
    if let Some(text) = params.get("tags") {
        let parsed: Result<HashMap<String, String>, _> = serde_json::from_str(text);
        let bad = |error| {
            ApiError::bad_request(format!("malformed 'tags' parameter, expecting {{\"k\":\"v\"}}: {error}"))
        };
        tags.extend(parsed.map_err(bad)?);
    }
    for text in params.all("tag") {
        let bad = || {
            ApiError::bad_request(format!("malformed 'tag' parameter, expecting key:value, received: {text}"))
        };
        let (key, value) = text.split_once(':').ok_or_else(bad)?;
        tags.push((key.to_owned(), value.to_owned()));
    }
    tags.sort();
    Ok(tags)
}

/// A Go duration such as `1.2s`, `100ms` or `500us`; in nanoseconds.
fn duration_ns(params: &Params, name: &str) -> Result<Option<i64>, ApiError> {
    let parse = |text: &str| {
        let scaled = |number: &str, unit: f64| number.parse::<f64>().ok().map(|n| (n * unit) as i64);
        let parsed = match text {
            _ if text.ends_with("us") => scaled(text.trim_end_matches("us"), 1e3),
            _ if text.ends_with("µs") => scaled(text.trim_end_matches("µs"), 1e3),
            _ if text.ends_with("ns") => scaled(text.trim_end_matches("ns"), 1.0),
            _ if text.ends_with("ms") => scaled(text.trim_end_matches("ms"), 1e6),
            _ if text.ends_with('s') => scaled(text.trim_end_matches('s'), 1e9),
            _ => duration_ms(text).map(|ms| ms.saturating_mul(1_000_000)),
        };
        parsed.ok_or_else(|| {
            ApiError::bad_request(format!(
                "cannot read \"{name}={text}\" as a duration such as 1.2s or 100ms"
            ))
        })
    };
    params.get(name).map(parse).transpose()
}

/// Jaeger's name of a span kind; OpenTelemetry's default is `internal`.
fn kind_tag(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Unspecified => "",
        other => other.as_str(),
    }
}

fn write_trace(json: &mut Json, batch: &SpanBatch) {
    let Some(first) = batch.spans.first() else { return };
    json.object(|json| {
        json.key("traceID").text(&first.trace_id.to_string());
        json.key("spans").array(|json| batch.spans.iter().for_each(|span| write_span(json, batch, span)));
        json.key("processes").object(|json| {
            for (place, source) in batch.sources.iter().enumerate() {
                json.key(&process_id(place as u32)).object(|json| {
                    json.key("serviceName").text(source.service_name());
                    let tags = source.resource.iter().filter(|(key, _)| *key != "service.name");
                    json.key("tags").array(|json| tags.for_each(|(key, value)| write_tag(json, key, &value)));
                });
            }
        });
        json.key("warnings").raw("null");
    });
}

fn process_id(source: u32) -> String {
    format!("p{}", source.saturating_add(1))
}

fn write_span(json: &mut Json, batch: &SpanBatch, span: &Span) {
    json.object(|json| {
        json.key("traceID").text(&span.trace_id.to_string());
        json.key("spanID").text(&span.span_id.to_string());
        json.key("operationName").text(&span.name);
        json.key("references").array(|json| write_references(json, span));
        json.key("flags").int(1);
        json.key("startTime").int(span.start.0.div_euclid(1_000));
        json.key("duration").int(span.duration_nanos() / 1_000);
        let source = batch.source_of(span).map(|source| &**source);
        json.key("tags").array(|json| write_span_tags(json, span, source));
        json.key("logs").array(|json| {
            for event in &span.events {
                json.object(|json| {
                    json.key("timestamp").int(event.time.0.div_euclid(1_000));
                    json.key("fields").array(|json| {
                        write_tag(json, "event", &ValueRef::Str(&event.name));
                        event.attributes.iter().for_each(|(key, value)| write_tag(json, key, &value));
                    });
                });
            }
        });
        json.key("processID").text(&process_id(span.source));
        json.key("warnings").raw("null");
    });
}

fn write_references(json: &mut Json, span: &Span) {
    let mut write = |kind: &str, trace: TraceId, id: kenning_model::SpanId| {
        json.object(|json| {
            json.key("refType").text(kind);
            json.key("traceID").text(&trace.to_string());
            json.key("spanID").text(&id.to_string());
        });
    };
    if !span.parent_span_id.is_none() {
        write("CHILD_OF", span.trace_id, span.parent_span_id);
    }
    for link in &span.links {
        write("FOLLOWS_FROM", link.trace_id, link.span_id);
    }
}

/// The span's attributes and what Jaeger keeps as tags: kind, status, scope, trace state.
fn write_span_tags(json: &mut Json, span: &Span, source: Option<&SpanSource>) {
    span.attributes.iter().for_each(|(key, value)| write_tag(json, key, &value));
    let mut text = |key: &str, value: &str| {
        if !value.is_empty() {
            write_tag(json, key, &ValueRef::Str(value));
        }
    };
    text("span.kind", kind_tag(span.kind));
    if let Some(source) = source {
        text("otel.scope.name", &source.scope_name);
        text("otel.scope.version", &source.scope_version);
    }
    text("w3c.tracestate", &span.trace_state);
    match span.status {
        StatusCode::Unset => {}
        StatusCode::Ok => text("otel.status_code", "OK"),
        StatusCode::Error => {
            text("otel.status_code", "ERROR");
            text("otel.status_description", &span.status_message);
            write_tag(json, "error", &ValueRef::Bool(true));
        }
    }
}

fn write_tag(json: &mut Json, key: &str, value: &ValueRef<'_>) {
    json.object(|json| {
        json.key("key").text(key);
        match value {
            ValueRef::Bool(flag) => {
                json.key("type").text("bool");
                json.key("value").bool(*flag);
            }
            ValueRef::Int(number) => {
                json.key("type").text("int64");
                json.key("value").int(*number);
            }
            ValueRef::Double(number) if number.is_finite() => {
                json.key("type").text("float64");
                json.key("value").number(*number);
            }
            other => {
                json.key("type").text("string");
                json.key("value").text(&other.to_string());
            }
        }
    });
}
