//! Loki push on a real socket: JSON and snappy protobuf, and the reply-code contract.

mod common;

use common::*;
use kenning_pipeline::Limits;

const JSON: (&str, &str) = ("content-type", "application/json");
const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const PUSH: &str = "/loki/api/v1/push";

fn json(lines: &[(i64, &str)]) -> String {
    let values: Vec<_> = lines.iter().map(|(time, line)| format!(r#"["{time}","{line}"]"#)).collect();
    format!(r#"{{"streams":[{{"stream":{{"app":"a"}},"values":[{}]}}]}}"#, values.join(","))
}

fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
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

/// logproto.PushRequest with one stream and one entry.
fn protobuf(time: i64, line: &str) -> Vec<u8> {
    let seconds = [vec![0x08], varint((time / 1_000_000_000) as u64)].concat();
    let stamp = [seconds, vec![0x10], varint((time % 1_000_000_000) as u64)].concat();
    let entry = [field(1, &stamp), field(2, line.as_bytes())].concat();
    field(1, &[field(1, br#"{app="a"}"#), field(2, &entry)].concat())
}

/// The request with other labels of the same length.
fn good_with_labels(good: &[u8], labels: &[u8; 9]) -> Vec<u8> {
    let mut bad = good.to_vec();
    bad[4..13].copy_from_slice(labels);
    bad
}

#[tokio::test(flavor = "multi_thread")]
async fn both_forms_are_stored_with_204() {
    let node = Node::start_default().await;
    let now = node.now();
    let pushes = [
        (PUSH, vec![JSON], json(&[(now, "json")]).into_bytes()),
        (
            PUSH,
            vec![("content-type", "application/json; charset=utf-8")],
            json(&[(now, "charset")]).into_bytes(),
        ),
        (PUSH, vec![JSON, ("content-encoding", "gzip")], gzip(json(&[(now, "gzip")]).as_bytes())),
        (PUSH, vec![PROTOBUF], snappy(&protobuf(now, "snappy"))),
        (PUSH, vec![PROTOBUF, ("content-encoding", "snappy")], snappy(&protobuf(now, "said"))),
        ("/api/prom/push", vec![PROTOBUF], snappy(&protobuf(now, "old path"))),
        ("/ds/loki/loki/api/v1/push", vec![PROTOBUF], snappy(&protobuf(now, "grouped"))),
    ];
    for (path, headers, body) in pushes {
        let answer = node.post(path, &headers, body).await;
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{}", answer.text());
    }
    let mut lines = node.store.lines();
    lines.sort();
    assert_eq!(lines, ["charset", "grouped", "gzip", "json", "old path", "said", "snappy"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn good_lines_are_stored_and_bad_ones_told_with_400() {
    let node = Node::start_default().await;
    let answer = node.post(PUSH, &[JSON], json(&[(node.now(), "good"), (1, "ancient")])).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().starts_with("1 stored; 1 rejected (too_old)"), "{}", answer.text());
    assert_eq!(node.store.lines(), ["good"]);
}

/// Name, headers, body and status.
type Case<'a> = (&'a str, Vec<(&'a str, &'a str)>, Vec<u8>, u16);

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_gets_the_contracts_code() {
    let node = Node::start_default().await;
    let zeros = vec![0u8; 64 << 20];
    let good = protobuf(node.now(), "x");
    let deep = format!(r#"{{"streams":{}1{}}}"#, "[".repeat(200_000), "]".repeat(200_000));
    let cases: Vec<Case<'_>> = vec![
        ("all ancient", vec![JSON], json(&[(1, "x")]).into(), 400),
        ("all in the future", vec![JSON], json(&[(i64::MAX, "x")]).into(), 400),
        (
            "label of 5000 bytes",
            vec![JSON],
            json(&[])
                .replace("\"a\"}", &format!("\"{}\"}}", "x".repeat(5000)))
                .replace("[]", &format!("[[\"{}\",\"x\"]]", node.now()))
                .into(),
            400,
        ),
        ("line too long", vec![JSON], json(&[(node.now(), &"x".repeat(256 * 1024 + 1))]).into(), 400),
        ("not json", vec![JSON], b"{".to_vec(), 400),
        ("not UTF-8", vec![JSON], b"{\"streams\":[\xff]}".to_vec(), 400),
        ("wrong types", vec![JSON], br#"{"streams":7}"#.to_vec(), 400),
        ("nested", vec![JSON], deep.into(), 400),
        ("not snappy", vec![PROTOBUF], good.clone(), 400),
        ("cut", vec![PROTOBUF], snappy(&good[..good.len() - 2]), 400),
        ("bad labels", vec![PROTOBUF], snappy(&good_with_labels(&good, b"{app=\"a\"(")), 400),
        ("content type", vec![("content-type", "text/plain")], b"x".to_vec(), 415),
        ("encoding", vec![JSON, ("content-encoding", "br")], b"x".to_vec(), 415),
        ("gzip bomb", vec![JSON, ("content-encoding", "gzip")], gzip(&zeros), 413),
        ("snappy bomb", vec![PROTOBUF], snappy(&zeros), 413),
        ("declared 4 GiB", vec![PROTOBUF], vec![255, 255, 255, 255, 15, 0], 413),
        ("too big", vec![JSON], vec![b' '; 8 * 1024 * 1024 + 1], 413),
    ];
    for (name, headers, body, status) in cases {
        let answer = node.post(PUSH, &headers, body).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
        assert!(
            answer.header("content-type").starts_with("text/plain") && answer.text().ends_with('\n'),
            "{name}"
        );
    }
    assert!(node.store.lines().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn rate_and_failing_store() {
    let node = Node::start(Limits { log_bytes_per_second: Some(4), ..Limits::default() }.into()).await;
    assert_eq!(node.post(PUSH, &[JSON], json(&[(node.now(), "12345678")])).await.status, 204);
    let answer = node.post(PUSH, &[JSON], json(&[(node.now(), "1234")])).await;
    assert_eq!((answer.status, answer.header("retry-after").is_empty()), (429, false), "{}", answer.text());
    let node = Node::start_default().await;
    node.store.fail(true);
    assert_eq!(node.post(PUSH, &[JSON], json(&[(node.now(), "x")])).await.status, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_over_their_limit_are_400_after_storing_the_others() {
    let node = Node::start(Limits { streams: Some(1), ..Limits::default() }.into()).await;
    assert_eq!(node.post(PUSH, &[JSON], json(&[(node.now(), "first")])).await.status, 204);
    let other = json(&[(node.now(), "other")]).replace(r#""a"}"#, r#""b"}"#);
    let answer = node.post(PUSH, &[JSON], other).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("limits.ingest.streams"), "{}", answer.text());
    assert_eq!(node.store.lines(), ["first"]);
}
