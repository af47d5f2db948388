//! Prometheus's HTTP API: every example of its API description has the shape of our answers, its error bodies are ours,
//! the recorded answers of its editor come back, and what changes data does so only when it may.

#![allow(clippy::print_stderr)]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::NOW;
use http_body_util::BodyExt;
use kenning_api::{
    Api, ApiParts, App, BlockSummary, Body, ScrapeTarget, Scraping, TargetMetadata, WebOptions,
};
use kenning_model::{
    Batch, BatchId, Exemplar, Histogram, HistogramSample, LabelSet, MetricBatch, MetricKind, MetricMetadata,
    Millis, Pattern, Sample, Store, TenantId, Write,
};
use kenning_query::MemoryStore;
use serde_json::{Value, json};

const CORPUS: &str = "/work/shared/corpus/promql/http_api";

/// A job of one target, and of one that a rule drops.
struct OneTarget;

impl Scraping for OneTarget {
    fn targets(&self) -> Vec<ScrapeTarget> {
        vec![ScrapeTarget { job: "api".into(), up: Some(true), ..ScrapeTarget::default() }]
    }
    fn dropped(&self) -> Vec<(String, Vec<(String, String)>)> {
        vec![("api".into(), vec![("__address__".into(), "h:1".into())])]
    }
    fn pools(&self) -> Vec<(String, usize)> {
        vec![("api".into(), 1)]
    }
    fn metadata(&self) -> Vec<TargetMetadata> {
        let one = MetricMetadata { metric: "up".into(), ..MetricMetadata::default() };
        vec![(vec![("job".into(), "api".into())], vec![one])]
    }
    fn reload(&self) -> Result<(), String> {
        Ok(())
    }
}

fn store() -> MemoryStore {
    let mut batch = MetricBatch::default();
    let up = batch.add_series(LabelSet::from_pairs([("__name__", "up"), ("job", "api")]));
    batch.samples.push(Sample { series: up, time: Millis((NOW - 1) * 1000), value: 1.0 });
    let down = batch.add_series(LabelSet::from_pairs([("__name__", "up"), ("job", "web")]));
    batch.samples.push(Sample { series: down, time: Millis((NOW - 1) * 1000), value: 0.0 });
    let labels = LabelSet::from_pairs([("trace_id", "abc")]);
    batch.exemplars.push(Exemplar { series: up, time: Millis((NOW - 1) * 1000), value: 0.5, labels });
    let sizes = batch.add_series(LabelSet::from_pairs([("__name__", "sizes"), ("job", "api")]));
    let histogram = Histogram {
        count: 3.0,
        sum: 4.5,
        positive_spans: vec![kenning_model::BucketSpan { offset: 0, length: 2 }],
        positive: vec![1.0, 2.0],
        ..Histogram::default()
    };
    batch.histograms.push(HistogramSample { series: sizes, time: Millis((NOW - 1) * 1000), histogram });
    let utf8 =
        batch.add_series(LabelSet::from_pairs([("__name__", "http.requests"), ("http.status", "200")]));
    batch.samples.push(Sample { series: utf8, time: Millis((NOW - 1) * 1000), value: 7.0 });
    for (metric, help) in [("up", "Is it."), ("up", "It is."), ("sizes", "Bytes.")] {
        let (metric, help) = (metric.to_owned(), help.to_owned());
        batch.metadata.push(MetricMetadata {
            metric,
            help,
            kind: MetricKind::Gauge,
            ..MetricMetadata::default()
        });
    }
    let store = MemoryStore::default();
    let tenant = TenantId::default_tenant();
    store.write(&[Write { id: BatchId(1), tenant, batch: Batch::Metrics(batch) }]).expect("it fits");
    store
}

fn app_with(web: WebOptions) -> App {
    let block = BlockSummary { id: 7, min_ms: 1, max_ms: 2, samples: 3, bytes: 4, level: 0 };
    App::new(Api::new(ApiParts {
        scraping: Arc::new(OneTarget),
        config: "a: b\n".to_owned(),
        blocks: Arc::new(move || vec![block]),
        web,
        ..common::parts(Arc::new(store()))
    }))
}

fn app() -> App {
    app_with(WebOptions { admin_api: true, cors_origin: Pattern::whole(".*").ok(), ..WebOptions::default() })
}

struct Answer {
    status: u16,
    headers: http::HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }
}

async fn send(app: &App, request: http::request::Builder, body: Vec<u8>) -> Answer {
    let response = app.call(request.body(Body::from(body)).expect("a request")).await;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = response.into_body().collect().await.expect("a body").to_bytes().to_vec();
    Answer { status, headers, body }
}

async fn get(path: &str) -> Answer {
    send(&app(), http::Request::get(path), Vec::new()).await
}

/// The request of an operation of the API description, filled so that our store has an answer.
fn request_for(path: &str) -> Option<String> {
    Some(match path {
        "/query" => "/query?query=up".to_owned(),
        "/query_range" => format!("/query_range?query=up&start={}&end={NOW}&step=1", NOW - 5),
        "/query_exemplars" => "/query_exemplars?query=up".to_owned(),
        "/format_query" => "/format_query?query=sum(up)%20by(job)".to_owned(),
        "/label/{name}/values" => "/label/job/values".to_owned(),
        "/series" => "/series?match[]=up".to_owned(),
        // Written as a line of text, not as an answer, or not here (see docs/protocols.md).
        "/targets"
        | "/parse_query"
        | "/features"
        | "/status/flags"
        | "/status/self_metrics"
        | "/targets/relabel_steps"
        | "/targets/metadata"
        | "/scrape_pools"
        | "/scrape_pools/config" => return None,
        path if path.starts_with("/search/") || path.starts_with("/admin/") => return None,
        "/read" | "/write" | "/otlp/v1/metrics" | "/notifications/live" => return None,
        path => path.to_owned(),
    })
}

/// What an answer lacks of an example: keys, elements' shapes, types. Objects under `metric`, `labels` and the like hold
/// what data has, and so are not compared by key.
fn lacks(example: &Value, ours: &Value, at: &str, found: &mut Vec<String>) {
    const FREE: &[&str] = &["metric", "labels", "seriesLabels", "discoveredLabels", "droppedTargetCounts"];
    match (example, ours) {
        (Value::Object(example), Value::Object(ours)) => {
            let is_free = at.ends_with("series/data[]")
                || FREE.iter().any(|key| at.ends_with(&format!("/{key}")))
                || at.ends_with("metadata/data");
            for (key, value) in example.iter().filter(|_| !is_free) {
                match ours.get(key) {
                    Some(own) => lacks(value, own, &format!("{at}/{key}"), found),
                    None => found.push(format!("{at}/{key} is missing")),
                }
            }
        }
        (Value::Array(example), Value::Array(ours)) => {
            if let (Some(example), Some(ours)) = (example.first(), ours.first()) {
                lacks(example, ours, &format!("{at}[]"), found);
            }
        }
        (Value::Null, _) | (_, Value::Null) => {}
        (one, other) if std::mem::discriminant(one) == std::mem::discriminant(other) => {}
        (one, other) => found.push(format!("{at}: {other} where the example has {one}")),
    }
}

#[tokio::test]
async fn examples_of_the_api_description_have_our_shapes() {
    let file = Path::new(CORPUS).join("openapi_3.1_golden.yaml");
    let Ok(text) = std::fs::read_to_string(&file) else {
        eprintln!("SKIPPED: no corpus at {}", file.display());
        return;
    };
    let document: Value = serde_saphyr::from_str(&text).expect("the description is YAML");
    let (mut compared, mut problems) = (0, Vec::new());
    for (path, operations) in document["paths"].as_object().expect("paths") {
        let Some(request) = request_for(path) else { continue };
        let content = &operations["get"]["responses"]["200"]["content"]["application/json"]["examples"];
        let Some(examples) = content.as_object() else { continue };
        let answer = get(&format!("/api/v1{request}")).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let ours = answer.json();
        for (name, example) in examples {
            let kind = "/data/resultType";
            if example["value"].pointer(kind) != ours.pointer(kind) || name.starts_with("histogram") {
                continue;
            }
            compared += 1;
            lacks(&example["value"], &ours, path, &mut problems);
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
    assert!(compared >= 18, "only {compared} examples were compared");
}

#[tokio::test]
async fn recorded_answers_of_the_editor_come_back() {
    let file = Path::new(CORPUS).join("codemirror-fixtures/alertmanager_alerts_series.json");
    let Ok(text) = std::fs::read_to_string(&file) else {
        eprintln!("SKIPPED: no corpus at {}", file.display());
        return;
    };
    let series: Value = serde_json::from_str(&text).expect("JSON");
    let mut batch = MetricBatch::default();
    for labels in series["data"].as_array().expect("a list") {
        let pairs = labels.as_object().expect("labels").iter();
        let pairs = pairs.map(|(name, value)| (name.as_str(), value.as_str().expect("text")));
        let series = batch.add_series(LabelSet::from_pairs(pairs));
        batch.samples.push(Sample { series, time: Millis((NOW - 1) * 1000), value: 1.0 });
    }
    let values = std::fs::read_to_string(Path::new(CORPUS).join("codemirror-fixtures/label_env_values.json"));
    let values: Value = serde_json::from_str(&values.expect("values")).expect("JSON");
    for value in values["data"].as_array().expect("a list") {
        let pairs = [("__name__", "other"), ("env", value.as_str().expect("text"))];
        let series = batch.add_series(LabelSet::from_pairs(pairs));
        batch.samples.push(Sample { series, time: Millis((NOW - 1) * 1000), value: 1.0 });
    }
    let store = MemoryStore::default();
    let tenant = TenantId::default_tenant();
    store.write(&[Write { id: BatchId(1), tenant, batch: Batch::Metrics(batch) }]).expect("it fits");
    let app = App::new(Api::new(ApiParts { started_at: NOW, ..common::parts(Arc::new(store)) }));
    for (path, fixture) in [
        ("/api/v1/series?match[]=alertmanager_alerts", "alertmanager_alerts_series.json"),
        ("/api/v1/labels?match[]=alertmanager_alerts", "labels.json"),
        ("/api/v1/label/env/values", "label_env_values.json"),
    ] {
        let expect = std::fs::read_to_string(Path::new(CORPUS).join("codemirror-fixtures").join(fixture));
        let expect: Value = serde_json::from_str(&expect.expect(fixture)).expect("JSON");
        let answer = send(&app, http::Request::get(path), Vec::new()).await;
        // Sorted here; theirs was recorded by another server.
        let sorted = |answer: Value| {
            let mut texts: Vec<_> =
                answer["data"].as_array().into_iter().flatten().map(Value::to_string).collect();
            texts.sort_unstable();
            (answer["status"].clone(), texts)
        };
        assert_eq!(sorted(answer.json()), sorted(expect), "{path}");
    }
}

async fn check_error(path: &str, status: u16, kind: &str, message: &str) {
    let answer = get(path).await;
    let expect = json!({"status": "error", "errorType": kind, "error": message});
    assert_eq!((answer.status, answer.json()), (status, expect), "{path}");
}

#[tokio::test]
async fn errors_are_those_of_prometheus() {
    let bad = async |path: &str, message: &str| check_error(path, 400, "bad_data", message).await;
    bad(
        "/api/v1/query",
        "invalid parameter \"query\": unknown position: parse error: no expression found in input",
    )
    .await;
    bad(
        "/api/v1/query?query=up&time=x",
        "invalid parameter \"time\": invalid time value for 'time': cannot parse \"x\" to a valid timestamp",
    )
    .await;
    bad(
        "/api/v1/query?query=up&timeout=x",
        "invalid parameter \"timeout\": cannot parse \"x\" to a valid duration",
    )
    .await;
    bad(
        "/api/v1/query?query=up&limit=x",
        "invalid parameter \"limit\": strconv.Atoi: parsing \"x\": invalid syntax",
    )
    .await;
    bad("/api/v1/query?query=up&limit=-1", "invalid parameter \"limit\": limit must be non-negative").await;
    bad(
        "/api/v1/query?query=up&lookback_delta=x",
        "error parsing lookback delta duration: cannot parse \"x\" to a valid duration",
    )
    .await;
    bad(
        "/api/v1/query_range?query=up&start=x&end=2&step=1",
        "invalid parameter \"start\": cannot parse \"x\" to a valid timestamp",
    )
    .await;
    bad(
        "/api/v1/query_range?query=up&start=2&end=1&step=1",
        "invalid parameter \"end\": end timestamp must not be before start time",
    )
    .await;
    bad("/api/v1/query_range?query=up&start=1&end=2&step=0", "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer").await;
    bad("/api/v1/query_range?query=up&start=0&end=148966367200&step=1", "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)").await;
    bad("/api/v1/query_range?query=up[1m]&start=1&end=2&step=1", "invalid parameter \"query\": invalid expression type \"range vector\" for range query, must be Scalar or instant Vector").await;
    bad("/api/v1/query_exemplars?query=up&start=2&end=1", "end timestamp must not be before start timestamp")
        .await;
    bad("/api/v1/series", "no match[] parameter provided").await;
    bad(
        "/api/v1/series?match[]=%7Ba%3D~%22.*%22%7D",
        "invalid parameter \"match[]\": match[] must contain at least one non-empty matcher",
    )
    .await;
    bad("/api/v1/labels?match[]=%7Ba%3D~%22.*%22%7D", "match[] must contain at least one non-empty matcher")
        .await;
    bad("/api/v1/metadata?limit=x", "limit must be a number").await;
    bad("/api/v1/metadata?limit_per_metric=x", "limit_per_metric must be a number").await;
    bad("/api/v1/status/tsdb?limit=0", "limit must be a positive number").await;
    bad("/api/v1/status/tsdb?limit=10001", "limit must not exceed 10000").await;
    bad("/api/v1/rules?type=x", "invalid parameter \"type\": not supported value \"x\"").await;
    bad("/api/v1/rules?group_next_token=x", "invalid parameter \"group_next_token\": group_limit needs to be present in order to paginate over the groups").await;
    check_error(
        "/api/v1/query?query=up%20%2B%20on()%20up",
        422,
        "execution",
        get("/api/v1/query?query=up%20%2B%20on()%20up").await.json()["error"].as_str().unwrap_or(""),
    )
    .await;
    check_error("/api/v1/query?query=up&timeout=0", 503, "timeout", "query timed out in query execution")
        .await;
}

#[tokio::test]
async fn limits_stats_and_names_are_honoured() {
    let limited = get("/api/v1/query?query=up&limit=1").await.json();
    assert_eq!(limited["data"]["result"].as_array().map(Vec::len), Some(1));
    assert_eq!(limited["warnings"], json!(["results truncated due to limit"]));
    let odd = get("/api/v1/query?query=up&stats=yes").await.json();
    assert!(odd["warnings"][0].as_str().is_some_and(|text| text.contains("is deprecated")), "{odd}");
    assert!(odd["data"]["stats"]["samples"]["totalQueryableSamples"].is_number());
    assert_eq!(get("/api/v1/query?query=up").await.json()["data"].get("stats"), None);
    let narrow = get(&format!("/api/v1/query?query=up&lookback_delta=500ms&time={NOW}")).await.json();
    assert_eq!(narrow["data"]["result"], json!([]));
    assert_eq!(get("/api/v1/label/U__http_2e_status/values").await.json()["data"], json!(["200"]));
    assert_eq!(get("/api/v1/label/http.status/values").await.json()["data"], json!(["200"]));
    let metadata = get("/api/v1/metadata?limit_per_metric=1&metric=up").await.json();
    assert_eq!(metadata["data"]["up"].as_array().map(Vec::len), Some(1));
    assert_eq!(get("/api/v1/metadata?limit=0").await.json()["data"], json!({}));
    assert_eq!(get("/api/v1/query_exemplars?query=1").await.status, 204);
    let probe = format!("/api/v1/query_exemplars?query=test&start={NOW}000&end={NOW}999");
    assert_eq!((get(&probe).await.status, get(&probe).await.json()["data"].clone()), (200, json!([])));
    let counts = get("/api/v1/status/tsdb?limit=1").await.json();
    assert_eq!(counts["data"]["seriesCountByMetricName"], json!([{"name": "up", "value": 2}]));
    assert_eq!(counts["data"]["headStats"]["numSeries"], json!(4));
    let tree = get("/api/v1/parse_query?query=up").await.json();
    assert_eq!(tree["data"]["type"], json!("vectorSelector"));
    assert_eq!(get("/api/v1/status/flags").await.status, 404);
    assert_eq!(get("/api/v1/features").await.json()["data"]["promql_functions"]["rate"], json!(true));
}

#[tokio::test]
async fn features_are_named_as_prometheus_names_them() {
    let Ok(text) = std::fs::read_to_string(Path::new(CORPUS).join("features.json")) else {
        eprintln!("SKIPPED: no corpus at {CORPUS}");
        return;
    };
    let theirs: Value = serde_json::from_str(&text).expect("JSON");
    let ours = get("/api/v1/features").await.json();
    for area in ["promql", "promql_functions", "promql_operators"] {
        for name in theirs[area].as_object().expect(area).keys() {
            assert!(ours["data"][area].get(name).is_some(), "{area}.{name}");
        }
    }
}

#[tokio::test]
async fn changes_are_made_only_where_they_are_allowed() {
    let post = |path: &str| http::Request::post(path);
    let closed = app_with(WebOptions::default());
    for path in ["delete_series?match[]=up", "clean_tombstones", "snapshot"] {
        let answer = send(&closed, post(&format!("/api/v1/admin/tsdb/{path}")), Vec::new()).await;
        let expect = json!({"status": "error", "errorType": "unavailable", "error": "admin APIs disabled"});
        assert_eq!((answer.status, answer.json()), (500, expect));
    }
    let open = app();
    let none = send(&open, post("/api/v1/admin/tsdb/delete_series"), Vec::new()).await;
    assert_eq!((none.status, none.json()["error"].clone()), (400, json!("no match[] parameter provided")));
    let path = "/api/v1/admin/tsdb/delete_series?match[]=up%7Bjob%3D%22web%22%7D";
    assert_eq!(send(&open, http::Request::put(path), Vec::new()).await.status, 204);
    let left = send(&open, http::Request::get("/api/v1/series?match[]=up"), Vec::new()).await.json();
    assert_eq!(left["data"], json!([{"__name__": "up", "job": "api"}]));
    assert_eq!(send(&open, post("/api/v1/admin/tsdb/clean_tombstones"), Vec::new()).await.status, 204);
    assert_eq!(send(&open, http::Request::get("/api/v1/admin/tsdb/snapshot"), Vec::new()).await.status, 405);
    let odd = send(&open, post("/api/v1/admin/tsdb/snapshot?skip_head=maybe"), Vec::new()).await;
    assert_eq!(odd.status, 400);
    // The store in memory makes none, and says so.
    assert_eq!(send(&open, post("/api/v1/admin/tsdb/snapshot"), Vec::new()).await.status, 400);
}

#[tokio::test]
async fn federation_speaks_both_texts() {
    let text = get("/federate?match[]=up&match[]=sizes&match[]=http.requests").await;
    assert_eq!(text.status, 400, "a dotted name needs quotes: {}", text.text());
    let text = get("/federate?match[]=up&match[]=%7B%22http.requests%22%7D").await;
    let time = (NOW - 1) * 1000;
    let expect = format!(
        "# TYPE \"http.requests\" untyped\n{{\"http.requests\",\"http.status\"=\"200\",instance=\"\"}} 7 {time}\n\
         # TYPE up untyped\nup{{job=\"api\",instance=\"\"}} 1 {time}\nup{{job=\"web\",instance=\"\"}} 0 {time}\n"
    );
    assert_eq!(text.text(), expect);
    assert!(text.header("content-type").starts_with("text/plain; version=0.0.4"));
    let request = http::Request::get("/federate?match[]=up").header("accept", "application/openmetrics-text");
    let open = send(&app(), request, Vec::new()).await;
    assert!(open.text().ends_with("# EOF\n"));
    assert_eq!(get("/federate").await.text(), "");
}

#[tokio::test]
async fn scripts_of_other_origins_and_zipped_answers() {
    let request = || http::Request::get("/api/v1/features").header("origin", "https://a.example");
    let answer = send(&app(), request(), Vec::new()).await;
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    let closed = send(&app_with(WebOptions::default()), request(), Vec::new()).await;
    assert_eq!(closed.header("access-control-allow-origin"), "");
    let zipped = send(&app(), request().header("accept-encoding", "gzip"), Vec::new()).await;
    assert_eq!(zipped.header("content-encoding"), "gzip");
    assert_eq!(zipped.body[..2], [0x1f, 0x8b]);
    assert!(zipped.body.len() < answer.body.len());
    let small = http::Request::get("/api/v1/alerts").header("accept-encoding", "gzip");
    assert_eq!(send(&app(), small, Vec::new()).await.header("content-encoding"), "");
    let options = http::Request::options("/api/v1/query").header("origin", "https://a.example");
    let options = send(&app(), options, Vec::new()).await;
    assert_eq!((options.status, options.header("access-control-allow-methods")), (204, "GET, POST, OPTIONS"));
    let head = send(&app(), http::Request::head("/-/healthy"), Vec::new()).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[tokio::test]
async fn remote_read_answers_in_both_forms() {
    // One query for {__name__="up"} over all of our time, as prompb writes it.
    let mut query = vec![0x10];
    let mut end = ((NOW * 1000) as u64, Vec::new());
    while end.0 >= 0x80 {
        end.1.push(end.0 as u8 | 0x80);
        end.0 >>= 7;
    }
    end.1.push(end.0 as u8);
    query.extend(&end.1);
    let matcher = [&[0x12, 8][..], b"__name__", &[0x1a, 2], b"up"].concat();
    query.extend([0x1a, matcher.len() as u8]);
    query.extend(&matcher);
    let mut plain = vec![0x0a, query.len() as u8];
    plain.extend(&query);
    let zip = |plain: &[u8]| snap::raw::Encoder::new().compress_vec(plain).expect("it fits");
    let answer = send(&app(), http::Request::post("/api/v1/read"), zip(&plain)).await;
    assert_eq!((answer.status, answer.header("content-encoding")), (200, "snappy"), "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/x-protobuf");
    let body = snap::raw::Decoder::new().decompress_vec(&answer.body).expect("snappy");
    assert_eq!(body.windows(3).filter(|bytes| bytes == b"job").count(), 2);
    plain.extend([0x10, 1]);
    let streamed = send(&app(), http::Request::post("/api/v1/read"), zip(&plain)).await;
    let kind = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";
    assert_eq!((streamed.status, streamed.header("content-type")), (200, kind));
    let garbage = send(&app(), http::Request::post("/api/v1/read"), b"not snappy".to_vec()).await;
    assert_eq!(garbage.status, 400);
}
