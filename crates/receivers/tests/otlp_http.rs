//! OTLP/HTTP on a real socket: the reply-code contract, row by row.

mod common;

use std::time::Duration;

use common::*;
use kenning_pipeline::{Limits, PipelineOptions};
use kenning_receivers::body::{BodyLimits, Budget};
use kenning_receivers::push::PushOptions;

const JSON: (&str, &str) = ("content-type", "application/json");
const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const YEAR_1971: i64 = 31_536_000_000_000_000;

/// Posts to a fresh node and checks status and a part of the body.
#[track_caller]
fn check(
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<bytes::Bytes>,
    status: u16,
    part: &str,
) -> Node {
    let body = body.into();
    // The runtime stays with the node, which outlives this call.
    tokio::task::block_in_place(|| {
        tokio::runtime::Handle::current().block_on(async {
            let node = Node::start_default().await;
            let answer = node.post(path, headers, body).await;
            assert_eq!(answer.status, status, "{}", answer.text());
            assert!(answer.text().contains(part), "{:?} lacks {part:?}", answer.text());
            node
        })
    })
}

fn now() -> i64 {
    use kenning_stdx::clock::Clock;
    kenning_stdx::clock::SystemClock::new().unix_nanos()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_signals_in_both_forms_are_stored_and_answered_in_kind() {
    let node = Node::start_default().await;
    let now = node.now();
    let spans = node.post("/v1/traces", &[JSON], traces_json(&[("GET /", now)])).await;
    assert_eq!((spans.status, spans.header("content-type"), spans.text().as_str()), (200, JSON.1, "{}"));
    let spans = node.post("/v1/traces", &[PROTOBUF], traces_protobuf(&[("GET /2", now)])).await;
    assert_eq!((spans.status, spans.header("content-type"), spans.body.len()), (200, PROTOBUF.1, 0));
    assert_eq!(node.post("/v1/logs", &[JSON], logs_json(&[("hello", now)])).await.text(), "{}");
    assert_eq!(node.post("/v1/metrics", &[JSON], gauge_json(&[("temp", now)])).await.text(), "{}");
    let names: Vec<_> = node.store.spans().iter().map(|span| span.name.clone()).collect();
    assert_eq!((names.len(), node.store.lines()), (2, vec!["hello".to_owned()]));
    assert_eq!(node.store.series().iter().filter(|rows| rows.labels.metric_name() == "temp").count(), 1);
    let scoped = [JSON, ("x-scope-orgid", "another")];
    assert_eq!(node.post("/v1/logs", &scoped, logs_json(&[("scoped", now)])).await.status, 200);
    assert_eq!(node.store.lines().len(), 2, "X-Scope-OrgID is not looked at");
    assert_eq!(node.counted("kenning_receive_requests_total", &["otlp_http", "200"]), 5.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_encoding_is_unpacked() {
    let node = Node::start_default().await;
    let body = traces_json(&[("x", node.now())]);
    let bytes = body.as_bytes();
    for (encoding, packed) in [
        ("gzip", gzip(bytes)),
        ("deflate", deflate(bytes)),
        ("zstd", zstd(bytes)),
        ("snappy", snappy(bytes)),
        ("identity", bytes.to_vec()),
    ] {
        let answer = node.post("/v1/traces", &[JSON, ("content-encoding", encoding)], packed).await;
        assert_eq!(answer.status, 200, "{encoding}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_request_is_a_success() {
    check("/v1/logs", &[PROTOBUF], "", 200, "");
    check("/v1/logs", &[JSON], "{}", 200, "{}");
}

#[tokio::test(flavor = "multi_thread")]
async fn good_items_of_a_batch_with_bad_ones_are_stored() {
    let body = traces_json(&[("good", now()), ("ancient", YEAR_1971), ("future", now() + 7_200_000_000_000)]);
    let node = check("/v1/traces", &[JSON], body, 200, r#""rejectedSpans":"2""#);
    assert_eq!(node.store.spans().len(), 1);
    let body = logs_json(&[("good", now()), (&"x".repeat(256 * 1024 + 1), now())]);
    let node = check("/v1/logs", &[JSON], body, 200, r#""rejectedLogRecords":"1""#);
    assert_eq!(node.store.lines(), ["good"]);
    let body = gauge_json(&[("good", now()), ("ancient", YEAR_1971)]);
    let node = check("/v1/metrics", &[JSON], body, 200, r#""rejectedDataPoints":"1""#);
    assert_eq!(node.counted("kenning_ingest_rejected_items_total", &["too_old", "metrics", "default"]), 1.0);
}

/// Name, headers, body, status, and a part of the reply.
type Case<'a> = (&'a str, Vec<(&'a str, &'a str)>, Vec<u8>, u16, &'a str);

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_gets_the_contracts_code() {
    let deep = format!(
        r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{}1{}}}]}}]}}]}}"#,
        r#"{"arrayValue":{"values":["#.repeat(200_000),
        "]}}".repeat(200_000)
    );
    let zeros = vec![0u8; 64 << 20];
    let protobuf = traces_protobuf(&[("cut", now())]);
    let cut = protobuf[..protobuf.len() - 3].to_vec();
    let encoded = |encoding| [PROTOBUF, ("content-encoding", encoding)];
    let cases: Vec<Case<'_>> = vec![
        ("all ancient", vec![JSON], traces_json(&[("x", YEAR_1971)]).into(), 400, "limits.ingest.past"),
        ("all ancient, protobuf", vec![PROTOBUF], traces_protobuf(&[("x", 1)]), 400, "limits.ingest.past"),
        ("cut", vec![PROTOBUF], cut, 400, ""),
        ("not protobuf", vec![PROTOBUF], b"hello".to_vec(), 400, ""),
        ("not json", vec![JSON], b"{\"resourceSpans\":[".to_vec(), 400, "\"code\":3"),
        ("not UTF-8", vec![JSON], b"{\"resourceSpans\":\"\xff\"}".to_vec(), 400, ""),
        ("no content type", vec![], b"{}".to_vec(), 415, "application/x-protobuf or application/json"),
        ("form", vec![("content-type", "text/html")], b"{}".to_vec(), 415, "application/json"),
        ("unknown encoding", encoded("br").to_vec(), b"x".to_vec(), 415, "gzip"),
        ("two layers", encoded("gzip, gzip").to_vec(), gzip(&gzip(b"")), 415, "gzip"),
        ("not gzip", encoded("gzip").to_vec(), b"hello".to_vec(), 400, "gzip"),
        ("cut gzip", encoded("gzip").to_vec(), gzip(&protobuf)[..20].to_vec(), 400, "gzip"),
        ("gzip bomb", encoded("gzip").to_vec(), gzip(&zeros), 413, "too large"),
        ("deflate bomb", encoded("deflate").to_vec(), deflate(&zeros), 413, "too large"),
        ("zstd bomb", encoded("zstd").to_vec(), zstd(&zeros), 413, "too large"),
        ("snappy bomb", encoded("snappy").to_vec(), snappy(&zeros), 413, "too large"),
        ("snappy of declared 4 GiB", encoded("snappy").to_vec(), vec![255, 255, 255, 255, 15, 0], 413, ""),
        ("too big", vec![PROTOBUF], vec![0; 8 * 1024 * 1024 + 1], 413, "8388608"),
    ];
    for (name, headers, body, status, part) in cases {
        let node = check("/v1/traces", &headers, body, status, part);
        assert!(node.store.spans().is_empty(), "{name}");
    }
    check("/v1/logs", &[JSON], deep, 400, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_methods_and_paths() {
    let node = Node::start_default().await;
    let answer = send(node.http, "GET", "/v1/traces", &[], "".into()).await;
    assert_eq!((answer.status, answer.header("allow")), (405, "POST"));
    assert_eq!(send(node.http, "POST", "/v1/nothing", &[JSON], "{}".into()).await.status, 404);
    for path in ["/otlp/v1/logs", "/ds/loki/otlp/v1/logs", "/ds/prometheus/api/v1/otlp/v1/metrics"] {
        assert_eq!(send(node.http, "POST", path, &[JSON], "{}".into()).await.status, 200, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_the_rate_is_429_with_a_time_to_retry() {
    let node = Node::start(Limits { spans_per_second: Some(1), ..Limits::default() }.into()).await;
    let now = node.now();
    assert_eq!(node.post("/v1/traces", &[JSON], traces_json(&[("a", now), ("b", now)])).await.status, 200);
    let answer = node.post("/v1/traces", &[JSON], traces_json(&[("c", now), ("d", now)])).await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, "2"), "{}", answer.text());
    assert!(answer.text().contains("limits.ingest.spans_per_second"));
    assert_eq!(node.store.spans().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn new_series_over_their_limit_are_a_partial_success_even_alone() {
    let node = Node::start(Limits { series: Some(0), ..Limits::default() }.into()).await;
    let answer = node.post("/v1/metrics", &[JSON], gauge_json(&[("temp", node.now())])).await;
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("limits.ingest.series"), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_store_fills_the_queue_and_then_503_until_it_moves() {
    let pipeline = PipelineOptions { queue_bytes: 64 * 1024, ..PipelineOptions::default() };
    let node = Node::start(Setup { pipeline, ..Setup::default() }).await;
    node.store.close();
    let line = "x".repeat(30 * 1024);
    let body = logs_json(&[(&line, node.now())]);
    let http = node.http;
    let post = |body: String| send(http, "POST", "/v1/logs", &[JSON], body.into());
    let waiting: Vec<_> = (0..2).map(|_| tokio::spawn(post(body.clone()))).collect();
    while node.counted("kenning_ingest_queue_bytes", &[]) < 60.0 * 1024.0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let refused = post(body.clone()).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, "1"), "{}", refused.text());
    node.store.open();
    for answer in waiting {
        assert_eq!(answer.await.unwrap().status, 200);
    }
    assert_eq!(post(body).await.status, 200);
    assert_eq!(node.store.lines().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_store_is_503_and_nothing_is_stored() {
    let node = Node::start_default().await;
    node.store.fail(true);
    let answer = node.post("/v1/logs", &[JSON], logs_json(&[("x", node.now())])).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, "5"));
    assert!(answer.text().contains("no space left"), "{}", answer.text());
    node.store.fail(false);
    assert!(node.store.lines().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_memory_for_bodies_is_taken_the_answer_is_503() {
    let push = PushOptions { budget: Budget::new(0, 1), ..PushOptions::default() };
    let node = Node::start(Setup { push, ..Setup::default() }).await;
    let answer = node.post("/v1/logs", &[JSON], "{}").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, "1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_trickles_is_408() {
    let body = BodyLimits { grace: Duration::from_millis(200), ..BodyLimits::default() };
    let node =
        Node::start(Setup { push: PushOptions { body, ..PushOptions::default() }, ..Setup::default() }).await;
    let head =
        "POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    let answer = raw(node.http, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_length_over_the_limit_is_refused_before_the_body_is_asked_for() {
    let node = Node::start_default().await;
    let head = "POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99999999999\r\n\
                expect: 100-continue\r\n\r\n";
    let answer = raw(node.http, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && !answer.contains("100 Continue"), "{answer}");
}

/// A point of delta temporality of the counter `c`: 1 counted between these nanoseconds.
fn delta_json(start: i64, time: i64) -> String {
    format!(
        r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"c","sum":{{"aggregationTemporality":1,
            "isMonotonic":true,"dataPoints":[{{"startTimeUnixNano":"{start}","timeUnixNano":"{time}","asInt":"1"}}]}}}}]}}]}}]}}"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn deltas_are_added_up_and_a_failed_write_loses_none() {
    let node = Node::start_default().await;
    let second = 1_000_000_000;
    let begin = node.now() - 10 * second;
    let post = async |n: i64| {
        let body = delta_json(begin + n * second, begin + (n + 1) * second);
        let answer = node.post("/v1/metrics", &[("content-type", "application/json")], body).await;
        (answer.status, answer.text())
    };
    assert_eq!(post(0).await.0, 200);
    assert_eq!(post(1).await.0, 200);
    node.store.fail(true);
    assert_eq!(post(2).await.0, 503);
    node.store.fail(false);
    assert_eq!(post(2).await.0, 200, "the retry is taken");
    let (status, told) = post(2).await;
    assert_eq!(status, 400, "what was counted is not counted again: {told}");
    assert!(told.contains("out_of_order"), "{told}");
    let stored = node.store.series();
    assert_eq!(stored[0].samples.iter().map(|sample| sample.value).collect::<Vec<_>>(), [1.0, 2.0, 3.0]);
    assert!(stored[0].starts.iter().all(|start| start.to_nanos().0 / second == begin / second));
    assert_eq!(node.counted("kenning_ingest_delta_streams", &["default"]), 1.0);
}
