//! OTLP/gRPC on a real socket: framing, trailers, codes, retry information.

mod common;

use common::*;
use kenning_pipeline::Limits;

const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
const METRICS: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

/// "type.googleapis.com/google.rpc.RetryInfo" somewhere in base64: its middle, whatever the alignment.
fn has_retry_info(answer: &Answer) -> bool {
    !answer.header("grpc-status-details-bin").is_empty()
}

#[track_caller]
fn check(answer: &Answer, status: &str, message: &str, retryable: bool) {
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("grpc-status"), status, "{}", answer.header("grpc-message"));
    assert!(answer.header("grpc-message").contains(message), "{}", answer.header("grpc-message"));
    assert_eq!(has_retry_info(answer), retryable);
    // Errors are told in the headers alone; success ends with trailers.
    assert_eq!(answer.trailers.is_empty(), status != "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_in_every_encoding_are_stored() {
    let node = Node::start_default().await;
    let message = traces_protobuf(&[("GET /", node.now())]);
    let plain = call(node.grpc, TRACES, &[], framed(0, &message)).await;
    check(&plain, "0", "", false);
    assert_eq!((plain.header("content-type"), &plain.body[..]), ("application/grpc", &[0, 0, 0, 0, 0][..]));
    for (encoding, packed) in [
        ("gzip", gzip(&message)),
        ("zstd", zstd(&message)),
        ("deflate", deflate(&message)),
        ("snappy", snappy(&message)),
    ] {
        let headers = [("grpc-encoding", encoding)];
        check(&call(node.grpc, TRACES, &headers, framed(1, &packed)).await, "0", "", false);
        check(&call(node.grpc, TRACES, &headers, framed(0, &message)).await, "0", "", false);
    }
    for path in [LOGS, METRICS] {
        check(
            &call(node.grpc, path, &[("content-type", "application/grpc+proto")], framed(0, b"")).await,
            "0",
            "",
            false,
        );
    }
    assert_eq!(node.counted("kenning_receive_requests_total", &["otlp_grpc", "0"]), 11.0);
    assert!(!node.store.spans().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn partial_success_is_in_the_message() {
    let node = Node::start_default().await;
    let message = traces_protobuf(&[("good", node.now()), ("ancient", 1)]);
    let answer = call(node.grpc, TRACES, &[], framed(0, &message)).await;
    check(&answer, "0", "", false);
    // ExportTraceServiceResponse.partial_success { rejected_spans: 1, error_message: ... }
    assert_eq!((answer.body[5], answer.body[7], answer.body[8]), (0x0a, 0x08, 1), "{:?}", answer.body);
    assert!(answer.text().contains("limits.ingest.past"));
    assert_eq!(node.store.spans().len(), 1);
}

/// Path, headers, body, gRPC code, and a part of the message.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], bytes::Bytes, &'a str, &'a str);

#[tokio::test(flavor = "multi_thread")]
async fn bad_calls_get_the_contracts_code() {
    let node = Node::start_default().await;
    let good = traces_protobuf(&[("x", node.now())]);
    let zeros = vec![0u8; 64 << 20];
    let gzipped = [("grpc-encoding", "gzip")];
    let cases: Vec<Case<'_>> = vec![
        (
            "/opentelemetry.proto.collector.trace.v1.TraceService/Nothing",
            &[],
            framed(0, b""),
            "12",
            "unknown method",
        ),
        ("/grpc.health.v1.Health/Check", &[], framed(0, b""), "12", "unknown method"),
        (TRACES, &[], "".into(), "13", "no message"),
        (TRACES, &[], framed(0, &good)[..20].to_vec().into(), "13", "one whole message"),
        (TRACES, &[], [framed(0, &good), framed(0, &good)].concat().into(), "13", "one whole message"),
        (TRACES, &[], framed(9, &good), "13", "flag"),
        (TRACES, &[], framed(1, &gzip(&good)), "13", "grpc-encoding"),
        (TRACES, &[("grpc-encoding", "br")], framed(1, &good), "12", "gzip"),
        (TRACES, &gzipped, framed(1, b"not gzip"), "3", "gzip"),
        (TRACES, &gzipped, framed(1, &gzip(&zeros)), "8", "too large"),
        (TRACES, &[("grpc-encoding", "zstd")], framed(1, &zstd(&zeros)), "8", "too large"),
        (TRACES, &[], framed(0, &zeros[..4 * 1024 * 1024 + 1]), "8", "4194304"),
        (TRACES, &[], framed(0, b"hello"), "3", ""),
        (TRACES, &[], framed(0, &traces_protobuf(&[("ancient", 1)])), "3", "limits.ingest.past"),
    ];
    for (path, headers, body, status, message) in cases {
        check(&call(node.grpc, path, headers, body).await, status, message, false);
    }
    assert!(node.store.spans().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_retried_says_when() {
    let node = Node::start(Limits { spans_per_second: Some(1), ..Limits::default() }.into()).await;
    let message = traces_protobuf(&[("a", node.now()), ("b", node.now())]);
    check(&call(node.grpc, TRACES, &[], framed(0, &message)).await, "0", "", false);
    check(&call(node.grpc, TRACES, &[], framed(0, &message)).await, "8", "spans_per_second", true);
    node.store.fail(true);
    let logs = kenning_wire::otlp::encode_logs(&one_line(node.now()));
    check(&call(node.grpc, LOGS, &[], framed(0, &logs)).await, "14", "no space left", true);
}

fn one_line(now: i64) -> kenning_model::LogBatch {
    use kenning_model::*;
    let mut batch = LogBatch::default();
    let labels = LabelSet::from_pairs([("service_name", "t")]);
    let stream = batch.add_stream(labels.clone());
    let (trace_id, span_id) = (TraceId::NONE, SpanId::NONE);
    let metadata = LabelSet::empty();
    let row = LogRow {
        stream: &labels,
        time: Nanos(now),
        severity: Severity::INFO,
        trace_id,
        span_id,
        line: "x",
        metadata: &metadata,
    };
    batch.push(stream, row);
    batch
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_speak_grpc_is_told() {
    let node = Node::start_default().await;
    let answer = call(node.grpc, TRACES, &[("content-type", "application/json")], "{}".into()).await;
    assert_eq!(answer.status, 415);
    assert!(answer.text().contains("application/grpc"));
}
