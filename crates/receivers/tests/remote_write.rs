//! Prometheus remote write 1.0 and 2.0 on a real socket.

mod common;

use common::*;
use kenning_model::{Exemplar, Histogram, HistogramSample, LabelSet, MetricBatch, Millis, Sample};
use kenning_pipeline::Limits;
use kenning_wire::prometheus::encode_write_request_v2;

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const WRITE: &str = "/api/v1/write";

fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    out.extend(varint(bytes.len() as u64));
    out.extend_from_slice(bytes);
    out
}

fn varint(mut n: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while n >= 0x80 {
        out.push((n as u8) | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    out
}

/// prometheus.WriteRequest with one sample per series of the given name, at the given milliseconds.
fn request(series: &[(&str, i64)]) -> Vec<u8> {
    let one = |(name, time): &(&str, i64)| {
        let label = field(1, &[field(1, b"__name__"), field(2, name.as_bytes())].concat());
        let value = [vec![1 << 3 | 1], 1.5f64.to_le_bytes().to_vec()].concat();
        let sample = field(2, &[value, vec![2 << 3], varint(*time as u64)].concat());
        field(1, &[label, sample].concat())
    };
    series.iter().flat_map(one).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_are_stored_with_204() {
    let node = Node::start_default().await;
    let now = node.now() / 1_000_000;
    for (path, headers) in [
        (WRITE, vec![PROTOBUF, ("content-encoding", "snappy")]),
        ("/api/v1/push", vec![PROTOBUF]),
        (
            "/ds/prometheus/api/v1/write",
            vec![("content-type", "application/x-protobuf;proto=prometheus.WriteRequest")],
        ),
    ] {
        let answer = node.post(path, &headers, snappy(&request(&[("up", now)]))).await;
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{path}: {}", answer.text());
    }
    let body = snappy(&request(&[("up", now)]));
    assert_eq!(node.post(WRITE, &[], body).await.status, 204, "the oldest clients send no headers");
    for encoding in ["zstd", "gzip", "identity", "snappy, snappy"] {
        let body = zstd(&request(&[("up", now)]));
        let answer = node.post(WRITE, &[PROTOBUF, ("content-encoding", encoding)], body).await;
        assert_eq!(answer.status, 415, "{encoding}: {}", answer.text());
        assert!(answer.text().contains("snappy"), "{}", answer.text());
    }
    assert_eq!(node.store.series().len(), 1);
}

/// Name, content type, body, status, and a part of the reply.
type Case<'a> = (&'a str, (&'a str, &'a str), Vec<u8>, u16, &'a str);

#[tokio::test(flavor = "multi_thread")]
async fn the_contract() {
    let node = Node::start(Limits { series: Some(2), ..Limits::default() }.into()).await;
    let now = node.now() / 1_000_000;
    let good = snappy(&request(&[("a", now)]));
    let version_3 = ("content-type", "application/x-protobuf;proto=io.prometheus.write.v3.Request");
    let cases: Vec<Case<'_>> = vec![
        (
            "partly ancient",
            PROTOBUF,
            snappy(&request(&[("a", now), ("b", 1)])),
            400,
            "1 stored; 1 rejected (too_old)",
        ),
        ("all ancient", PROTOBUF, snappy(&request(&[("a", 1)])), 400, "limits.ingest.past"),
        (
            "new series over the limit",
            PROTOBUF,
            snappy(&request(&[("a", now), ("b", now), ("c", now)])),
            400,
            "limits.ingest.series",
        ),
        ("version 3", version_3, good.clone(), 415, "io.prometheus.write.v2.Request"),
        ("not a parameter", ("content-type", "application/x-protobuf; v2"), good.clone(), 415, ""),
        ("2.0 sent as 1.0", PROTOBUF, snappy(&request_2(&[("a", now)])), 400, "Content-Type"),
        ("json", ("content-type", "application/json"), good.clone(), 415, "snappy"),
        ("cut", PROTOBUF, good[..good.len() - 3].to_vec(), 400, ""),
        ("not snappy", PROTOBUF, b"hello".to_vec(), 400, ""),
        ("bomb", PROTOBUF, snappy(&vec![0u8; 64 << 20]), 413, "too large"),
        ("declared 4 GiB", PROTOBUF, vec![255, 255, 255, 255, 15, 0], 413, ""),
        ("too big", PROTOBUF, vec![0; (16 << 20) + 1], 413, "16777216"),
    ];
    for (name, content_type, body, status, part) in cases {
        let answer = node.post(WRITE, &[content_type], body).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
        assert!(answer.text().contains(part), "{name}: {}", answer.text());
    }
    assert_eq!(node.store.series().len(), 2);
}

const VERSION_2: (&str, &str) =
    ("content-type", "application/x-protobuf;proto=io.prometheus.write.v2.Request");

/// io.prometheus.write.v2.Request with a sample, a histogram and an exemplar per series.
fn request_2(series: &[(&str, i64)]) -> Vec<u8> {
    let mut batch = MetricBatch::default();
    for (name, time) in series {
        let series = batch.add_series(LabelSet::from_pairs([("__name__", *name)]));
        let time = Millis(*time);
        batch.push_sample(Sample { series, time, value: 1.5 }, Millis(time.0 - 1000));
        batch.push_histogram(HistogramSample { series, time, histogram: Histogram::default() }, Millis(0));
        let labels = LabelSet::from_pairs([("trace_id", "abc")]);
        batch.exemplars.push(Exemplar { series, time, value: 1.0, labels });
    }
    encode_write_request_v2(&batch)
}

#[tokio::test(flavor = "multi_thread")]
async fn version_2_tells_what_was_written() {
    let node = Node::start(Limits { series: Some(2), ..Limits::default() }.into()).await;
    let now = node.now() / 1_000_000;
    let check = async |name: &str, body: Vec<u8>, status: u16, written: [&str; 3]| {
        let answer = node.post(WRITE, &[VERSION_2, ("content-encoding", "snappy")], body).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
        let header =
            |kind: &str| answer.header(&format!("x-prometheus-remote-write-{kind}-written")).to_owned();
        assert_eq!(["samples", "histograms", "exemplars"].map(header), written, "{name}");
    };
    check("good", snappy(&request_2(&[("a", now), ("b", now)])), 204, ["2", "2", "2"]).await;
    check("nothing", snappy(&request_2(&[])), 204, ["0", "0", "0"]).await;
    check("partly ancient", snappy(&request_2(&[("a", now), ("b", 1)])), 400, ["1", "1", "1"]).await;
    check("all ancient", snappy(&request_2(&[("a", 1)])), 400, ["0", "0", "0"]).await;
    check("over the limit", snappy(&request_2(&[("c", now), ("b", now)])), 400, ["1", "1", "1"]).await;
    check("not snappy", b"hello".to_vec(), 400, ["0", "0", "0"]).await;
    check("1.0 sent as 2.0", snappy(&request(&[("a", now)])), 400, ["0", "0", "0"]).await;
    let stored = node.store.series();
    assert_eq!(stored.iter().map(|rows| rows.labels.metric_name()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(stored[0].starts, [Millis(now - 1000)]);
    node.store.fail(true);
    check("the store is gone", snappy(&request_2(&[("a", now + 1)])), 503, ["0", "0", "0"]).await;
}
