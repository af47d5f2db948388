//! Tempo's table of evaluations over mock spans.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a missing corpus and the counts must be seen")]

use std::path::{Path, PathBuf};

use kenning_model::{
    Attributes, Nanos, Span, SpanBatch, SpanId, SpanKind, SpanSource, StatusCode, TraceId, Value,
};
use serde_json::Value as Json;

use crate::eval;
use crate::trace::Trace;

/// Cases that differ. May only shrink. Tempo's validation refuses this one too; its test goes around it.
const KNOWN: &[&str] = &["{ .foo =~ .bar }"];

fn tables() -> Option<Json> {
    let root = std::env::var("KENNING_CORPUS")
        .map_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus"), PathBuf::from);
    let path = root.join("traces/traceql/execute.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("SKIPPED: {} is missing", path.display());
        return None;
    };
    Some(serde_json::from_str(&text).unwrap())
}

fn items(json: &Json) -> &[Json] {
    json.as_array().map_or(&[], Vec::as_slice)
}

fn value(json: &Json) -> Option<Value> {
    let arg = &json["args"][0];
    let list = |f: fn(&Json) -> Value| Value::Array(items(arg).iter().map(f).collect());
    let text = |v: &Json| Value::Str(v.as_str().unwrap().into());
    Some(match json["_call"].as_str()? {
        "NewStaticString" => text(arg),
        "NewStaticInt" | "NewStaticDuration" => Value::Int(arg.as_i64()?),
        "NewStaticFloat" => Value::Double(arg.as_f64()?),
        "NewStaticBool" => Value::Bool(arg.as_bool()?),
        "NewStaticStringArray" => list(text),
        "NewStaticIntArray" => list(|v| Value::Int(v.as_i64().unwrap())),
        "NewStaticFloatArray" => list(|v| Value::Double(v.as_f64().unwrap())),
        "NewStaticBooleanArray" => list(|v| Value::Bool(v.as_bool().unwrap())),
        _ => return None,
    })
}

/// A mock span as a real one; `None` when it has what real spans cannot have.
fn span(json: &Json, place: usize) -> Option<Span> {
    // Mocks with nested-set numbers of their own; the search suite has the structural operators.
    if !json["_call"].is_null() {
        return None;
    }
    let id = items(&json["id"]).first().and_then(Json::as_u64).unwrap_or(place as u64 + 100);
    let mut span = Span { trace_id: TraceId([1; 16]), span_id: SpanId(id.to_be_bytes()), ..Span::default() };
    let mut attributes = Attributes::builder();
    for (key, json) in json["attributes"].as_object().into_iter().flatten() {
        let key: Json = serde_json::from_str(key).ok()?;
        match (key["_call"].as_str()?, key["args"][0]["_id"].as_str()) {
            ("NewAttribute", _) => {
                attributes.push(key["args"][0].as_str()?, &value(json)?);
            }
            ("NewIntrinsic", Some("IntrinsicDuration")) => span.end = Nanos(json["args"][0].as_i64()?),
            ("NewIntrinsic", Some("IntrinsicName")) => span.name = json["args"][0].as_str()?.into(),
            ("NewIntrinsic", Some("IntrinsicStatus")) => {
                span.status = match json["args"][0]["_id"].as_str()? {
                    "StatusError" => StatusCode::Error,
                    "StatusOk" => StatusCode::Ok,
                    _ => StatusCode::Unset,
                }
            }
            ("NewIntrinsic", Some("IntrinsicKind")) => {
                span.kind = match json["args"][0]["_id"].as_str()? {
                    "KindClient" => SpanKind::Client,
                    "KindServer" => SpanKind::Server,
                    _ => return None,
                }
            }
            _ => return None,
        }
    }
    span.attributes = attributes.build();
    Some(span)
}

fn trace(spans: &[Json]) -> Option<SpanBatch> {
    let mut batch = SpanBatch::default();
    batch.add_source(SpanSource::default().into());
    batch.spans = spans.iter().enumerate().map(|(place, json)| span(json, place)).collect::<Option<_>>()?;
    Some(batch)
}

/// Ids of the spans of every spanset, sorted.
type Sets = Vec<Vec<SpanId>>;

fn sorted(mut sets: Sets) -> Sets {
    sets.iter_mut().for_each(|set| set.sort());
    sets.sort();
    sets
}

fn evaluated(query: &str, inputs: &[SpanBatch]) -> Result<Sets, String> {
    let pipeline = crate::parse(query).map_err(|errors| format!("{errors:?}"))?;
    let mut sets = Vec::new();
    for input in inputs {
        let trace = Trace::new(input.clone());
        for set in eval::run(&pipeline, &trace).map_err(|error| error.0.to_owned())? {
            sets.push(
                set.spans.iter().filter_map(|place| trace.span(*place)).map(|span| span.span_id).collect(),
            );
        }
    }
    Ok(sorted(sets))
}

#[test]
fn evaluations_are_tempos() {
    let Some(tables) = tables() else { return };
    let (mut passed, mut left_out, mut failed) = (0, 0, Vec::new());
    for (table, cases) in tables.as_object().unwrap() {
        for case in items(cases) {
            let Some(query) = case["query"].as_str() else { continue };
            let single = !case["span"].is_null();
            let inputs: Option<Vec<SpanBatch>> = match single {
                true => trace(std::slice::from_ref(&case["span"])).map(|batch| vec![batch]),
                false => items(&case["input"]).iter().map(|set| trace(items(&set["Spans"]))).collect(),
            };
            let Some(inputs) = inputs else {
                left_out += 1;
                continue;
            };
            let got = evaluated(query, &inputs);
            let right = if single {
                got.as_ref().is_ok_and(|sets| sets.is_empty() != case["matches"].as_bool().unwrap_or(false))
            } else if case["output"].is_null() {
                // An operation without a meaning is an error or finds nothing.
                got.as_ref().map_or(true, Vec::is_empty)
            } else {
                let wanted = items(&case["output"]).iter().map(|set| trace(items(&set["Spans"])));
                let wanted: Option<Sets> = wanted
                    .map(|batch| Some(batch?.spans.iter().map(|span| span.span_id).collect()))
                    .collect();
                let found = got.clone().unwrap_or_default();
                wanted.is_some_and(|wanted| sorted(wanted) == found)
            };
            match right {
                true => passed += 1,
                false => {
                    failed.push((query.to_owned(), format!("{table}: {got:?}, want {}", case["output"])))
                }
            }
        }
    }
    println!(
        "evaluations: {passed} passed, {} failed, {left_out} left out for want of real spans",
        failed.len()
    );
    let news: Vec<_> = failed.iter().filter(|(query, _)| !KNOWN.contains(&query.as_str())).collect();
    assert!(news.is_empty(), "{} new failures: {news:#?}", news.len());
}
