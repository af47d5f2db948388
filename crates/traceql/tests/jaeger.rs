//! Jaeger's conformance queries for storages, over all of its fixture traces at once.

#![allow(clippy::print_stderr, reason = "a missing corpus must be seen")]

mod otlp;

use std::path::{Path, PathBuf};

use kenning_model::{TenantId, TimeRange, TraceId};
use kenning_query::QueryContext;
use kenning_traceql::lookup::{JaegerQuery, find_traces};
use otlp::{list, text};
use serde_json::Value as Json;

fn folder() -> Option<PathBuf> {
    let root = std::env::var("KENNING_CORPUS")
        .map_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus"), PathBuf::from);
    let folder = root.join("traces/jaeger/integration");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("SKIPPED: {} is missing", folder.display());
    None
}

fn json(path: &Path) -> Json {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn trace_id(trace: &Json) -> TraceId {
    let span = &trace["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    TraceId::from_hex(text(&span["traceId"])).unwrap()
}

#[test]
fn queries_find_the_traces_jaeger_expects() {
    let Some(folder) = folder() else { return };
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder.join("traces")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let traces: Vec<Json> = files.iter().map(|file| json(file)).collect();
    let store = otlp::store(&traces);
    let ctx = QueryContext::new(TenantId::default_tenant());
    let queries = json(&folder.join("queries.json"));
    for case in queries.as_array().unwrap() {
        let query = &case["Query"];
        let nanos = |key: &str| query[key].as_i64().filter(|n| *n > 0);
        let tag = |(name, value): (&String, &Json)| {
            (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        };
        let asked = JaegerQuery {
            service: text(&query["ServiceName"]).into(),
            operation: Some(text(&query["OperationName"]).into()),
            tags: query["Tags"].as_object().into_iter().flatten().map(tag).collect(),
            min_duration_ns: nanos("DurationMin"),
            max_duration_ns: nanos("DurationMax"),
            time: TimeRange::ALL,
            limit: 1000,
        };
        let found = find_traces(&store, &ctx, &asked).unwrap();
        let mut found: Vec<TraceId> = found.iter().map(|trace| trace.spans[0].trace_id).collect();
        let fixture =
            |name: &Json| trace_id(&json(&folder.join("traces").join(format!("{}.json", text(name)))));
        let mut wanted: Vec<TraceId> = list(case, "ExpectedFixtures").iter().map(fixture).collect();
        found.sort();
        wanted.sort();
        assert_eq!(found, wanted, "{}", case["Caption"]);
    }
}
