//! The API over the in-memory store: shapes, error bodies, odd paths, GET and POST alike.

mod common;

use std::sync::Arc;

use common::NOW;
use http_body_util::BodyExt;
use kenning_api::{Api, App, Body, table};
use kenning_model::{
    Attributes, Batch, BatchId, LabelSet, LogBatch, LogRow, MetricBatch, Millis, Nanos, Sample, Severity,
    Span, SpanBatch, SpanId, SpanSource, Store, TenantId, TraceId, Value as Attribute, Write,
};
use kenning_query::MemoryStore;
use serde_json::{Value, json};

fn store() -> MemoryStore {
    let mut metrics = MetricBatch::default();
    let series = metrics.add_series(LabelSet::from_pairs([("__name__", "up"), ("job", "api")]));
    metrics.samples.push(Sample { series, time: Millis((NOW - 1) * 1000), value: 1.0 });

    let mut logs = LogBatch::default();
    let labels = LabelSet::from_pairs([("app", "a")]);
    let metadata = LabelSet::from_pairs([("user", "u1")]);
    let stream = logs.add_stream(labels.clone());
    let row = LogRow {
        stream: &labels,
        time: Nanos((NOW - 1) * 1_000_000_000),
        severity: Severity::ERROR,
        trace_id: TraceId([1; 16]),
        span_id: SpanId::NONE,
        line: "it broke",
        metadata: &metadata,
    };
    logs.push(stream, row);

    let mut spans = SpanBatch::default();
    let resource = Attributes::from_iter([("service.name", Attribute::Str("api".into()))]);
    let source = spans.add_source(Arc::new(SpanSource { resource, ..SpanSource::default() }));
    spans.spans.push(Span {
        trace_id: TraceId([1; 16]),
        span_id: SpanId([2; 8]),
        name: "get".into(),
        start: Nanos((NOW - 1) * 1_000_000_000),
        end: Nanos((NOW - 1) * 1_000_000_000 + 5_000),
        source,
        ..Span::default()
    });

    let store = MemoryStore::default();
    let batches = [Batch::Metrics(metrics), Batch::Logs(logs), Batch::Spans(spans)];
    let tenant = TenantId::default_tenant();
    let group: Vec<_> = batches
        .into_iter()
        .zip(1..)
        .map(|(batch, id)| Write { id: BatchId(id), tenant: tenant.clone(), batch })
        .collect();
    store.write(&group).expect("it fits");
    store
}

fn app() -> App {
    App::new(Api::new(common::parts(Arc::new(store()))))
}

async fn ask(request: http::request::Builder, body: &str) -> (u16, String) {
    let request = request.body(Body::from(body.to_owned())).expect("a request");
    let response = app().call(request).await;
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    (status, String::from_utf8_lossy(&bytes).into_owned())
}

async fn get(path: &str) -> (u16, String) {
    ask(http::Request::get(path), "").await
}

/// The JSON at `path` has this value at `pointer`.
async fn check(path: &str, pointer: &str, expect: Value) {
    let (status, body) = get(path).await;
    let json: Value = serde_json::from_str(&body).unwrap_or_default();
    assert_eq!((status, json.pointer(pointer)), (200, Some(&expect)), "{path}: {body}");
}

#[tokio::test]
async fn each_protocol_answers_in_its_shape() {
    check("/api/v1/query?query=up", "/data/result/0/value", json!([NOW, "1"])).await;
    check("/ds/prometheus/api/v1/query?query=1%2B1&time=4", "/data/result", json!([4, "2"])).await;
    let range = format!("/api/v1/query_range?query=up&start={}&end={NOW}&step=1", NOW - 1);
    check(&range, "/data/result/0/values/1", json!([NOW, "1"])).await;
    check("/api/v1/labels", "/data", json!(["__name__", "job"])).await;
    check("/api/v1/label/job/values", "/data", json!(["api"])).await;
    check("/api/v1/series?match[]=up", "/data/0", json!({"__name__": "up", "job": "api"})).await;
    check("/api/v1/query_exemplars?query=test&start=1&end=2", "/data", json!([])).await;
    check("/api/v1/status/buildinfo", "/data/application", json!("Kenning")).await;
    check("/api/v1/format_query?query=sum(up)%20by(job)", "/data", json!("sum by (job) (up)")).await;

    let values = "/data/result/0/values";
    let stamp = ((NOW - 1) * 1_000_000_000).to_string();
    check("/loki/api/v1/query_range?query=%7Bapp%3D%22a%22%7D", values, json!([[stamp, "it broke"]])).await;
    check(
        "/loki/api/v1/query?query=vector(1)%2Bvector(1)&time=4000000000",
        "/data/result/0/value/1",
        json!("2"),
    )
    .await;
    check("/ds/loki/loki/api/v1/label/app/values", "/data", json!(["a"])).await;
    check("/loki/api/v1/index/stats?query=%7Bapp%3D%22a%22%7D", "/entries", json!(1)).await;

    check("/ds/jaeger/api/services", "/data", json!(["api"])).await;
    check("/ds/jaeger/api/services/api/operations", "/data", json!(["get"])).await;
    check("/ds/jaeger/api/traces?service=api", "/data/0/spans/0/duration", json!(5)).await;
    check(
        &format!("/ds/jaeger/api/traces/{}", "01".repeat(16)),
        "/data/0/processes/p1/serviceName",
        json!("api"),
    )
    .await;
    check("/api/ui/v1/home", "/services/0/name", json!("api")).await;
}

#[tokio::test]
async fn categorised_labels_are_told_apart_when_asked_for() {
    let request = http::Request::get("/loki/api/v1/query_range?query=%7Bapp%3D%22a%22%7D")
        .header("x-loki-response-encoding-flags", "categorize-labels");
    let (_, body) = ask(request, "").await;
    let json: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(json["data"]["encodingFlags"], json!(["categorize-labels"]));
    assert!(body.find("encodingFlags") < body.find("\"result\""), "the flags come first: {body}");
    assert_eq!(json["data"]["result"][0]["stream"], json!({"app": "a"}));
    assert_eq!(json["data"]["result"][0]["values"][0][2]["structuredMetadata"]["user"], json!("u1"));
}

#[tokio::test]
async fn parameters_of_url_and_form_are_merged() {
    let form =
        |path: &str| http::Request::post(path).header("content-type", "application/x-www-form-urlencoded");
    let (status, body) = ask(form("/api/v1/query?time=4"), "query=1%2B1").await;
    assert_eq!((status, body.contains("\"2\"")), (200, true), "{body}");
    let (status, body) = ask(form("/api/v1/label/job/values?match[]=up"), "").await;
    assert_eq!((status, body.contains("api")), (200, true), "{body}");
}

#[tokio::test]
async fn mistakes_are_told_in_the_words_of_the_protocol() {
    let check = async |path: &str, status, part: &str| {
        let (found, body) = get(path).await;
        assert_eq!(found, status, "{path}: {body}");
        assert!(body.contains(part), "{path}: {body}");
    };
    check("/api/v1/query?query=sum(", 400, "\"errorType\":\"bad_data\"").await;
    check("/api/v1/query", 400, "no expression found").await;
    check(
        "/api/v1/query_range?query=up&start=0&end=1e6&step=1",
        400,
        "exceeded maximum resolution of 11,000 points",
    )
    .await;
    check("/api/v1/query_range?query=up&start=2&end=1&step=1", 400, "end timestamp").await;
    check("/api/v1/query?query=up&time=soon", 400, "time").await;
    check("/loki/api/v1/query_range?query=%7B", 400, "parse error at line 1, col 2: syntax error").await;
    check("/loki/api/v1/query_range?query=%7Ba%3D%22b%22%7D&limit=9999", 400, "max entries limit").await;
    check("/ds/jaeger/api/traces/xyz", 400, "hex").await;
    check(&format!("/ds/jaeger/api/traces/{}", "0f".repeat(16)), 404, "trace not found").await;
    check("/-/ready", 503, "starting").await;
}

#[tokio::test]
async fn unknown_and_odd_paths_never_reach_a_page() {
    for path in [
        "/nonsense",
        "/api/v1/nonsense",
        "/ui/nothing.js",
        "/ds/tempo/api/echo",
        "/alertmanager/api/v2/status",
    ] {
        assert_eq!(get(path).await, (404, "404 page not found\n".to_owned()), "{path}");
    }
    for path in [
        "//api/v1/query",
        "/ui/../api/v1/query",
        "/api/v1/./query",
        "/ui/%2e%2e/x",
        "/a%5cb",
        "/a%00b",
        "/a%252fb",
    ] {
        assert_eq!(get(path).await.0, 400, "{path}");
    }
    assert_eq!(ask(http::Request::delete("/api/v1/query"), "").await.0, 405);
}

#[tokio::test]
async fn tenants_see_only_their_own() {
    let of = async |tenant: &str| {
        ask(http::Request::get("/api/v1/labels").header("x-scope-orgid", tenant), "").await
    };
    assert!(of("default").await.1.contains("job"));
    assert!(!of("other").await.1.contains("job"));
    assert_eq!(of("../default").await.0, 400);
}

#[test]
fn no_route_stands_twice() {
    let table = table();
    let mut paths: Vec<_> = table.iter().map(|route| route.path.clone()).collect();
    paths.sort();
    let before = paths.len();
    paths.dedup();
    assert_eq!(before, paths.len());
}
