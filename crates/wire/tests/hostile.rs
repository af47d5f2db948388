//! Hostile input for every decoder: cut at every byte, one byte changed, random bytes. Nothing may panic, and what
//! comes out must be whole.

use std::io::Write;

use kenning_model::{
    Attributes, LabelSet, LogBatch, LogRow, MetricBatch, Millis, Nanos, Severity, Span, SpanBatch, SpanEvent,
    SpanId, SpanKind, SpanLink, SpanSource, StatusCode, TraceId, Value,
};
use kenning_wire::compression::{Encoding, decompress};
use kenning_wire::otlp::{
    Format, OtlpOptions, decode_logs, decode_metrics, decode_traces, encode_logs, encode_traces,
};
use kenning_wire::prometheus::{
    Exposition, OnBadLine, ScrapeOptions, decode, decode_write_request, decode_write_request_v2,
    encode_write_request_v2,
};
use kenning_wire::{DecodeLimits, elastic, fluent, loki, syslog};
use proptest::prelude::*;

/// Runs every decoder on the bytes and returns the number of items that came out.
fn all(bytes: &[u8]) -> usize {
    let (limits, options) = (DecodeLimits::default(), OtlpOptions::new(Nanos(1)));
    let mut items = 0;
    for format in [Format::Protobuf, Format::Json] {
        items += decode_traces(bytes, format, &limits, &options).map_or(0, |d| checked_spans(&d.batch));
        items += decode_logs(bytes, format, &limits, &options).map_or(0, |d| checked_logs(&d.batch));
        items += decode_metrics(bytes, format, &limits, &options).map_or(0, |d| checked_metrics(&d.batch));
    }
    for format in [Exposition::Text, Exposition::OpenMetrics, Exposition::Protobuf] {
        for on_bad_line in [OnBadLine::FailDocument, OnBadLine::SkipLine] {
            let target = LabelSet::from_pairs([("job", "j")]);
            let options = ScrapeOptions { on_bad_line, ..ScrapeOptions::new(Millis(1), target) };
            items += decode(bytes, format, &limits, &options).map_or(0, |d| checked_metrics(&d.batch));
        }
    }
    items += decode_write_request(bytes, &limits).map_or(0, |d| checked_metrics(&d.batch));
    items += decode_write_request_v2(bytes, &limits).map_or(0, |d| checked_metrics(&d.batch));
    items += loki::decode_push_json(bytes, &limits).map_or(0, |d| checked_logs(&d.batch));
    items += loki::decode_push_legacy_json(bytes, &limits).map_or(0, |d| checked_logs(&d.batch));
    let bulk = elastic::BulkOptions { index: Some("i".to_owned()), ..Default::default() };
    items += elastic::decode_bulk(bytes, &bulk, &limits, |_| Ok(())).map_or(0, |d| checked_logs(&d.batch));
    let mut fluent = fluent::FluentDecoder::new(&limits, Nanos(1), 1 << 16);
    if fluent.message(bytes).is_ok() {
        items += checked_logs(&fluent.finish().batch);
    }
    let mut syslog = syslog::SyslogDecoder::new(&limits, syslog::SyslogOptions::default());
    if syslog.message(bytes, syslog::Origin::default()).is_ok() {
        // Anything is a line of syslog, so it does not count as an item that came out.
        checked_logs(&syslog.finish().0.batch);
    }
    items += loki::decode_push_protobuf(bytes, &limits).map_or(0, |d| checked_logs(&d.batch));
    for encoding in
        [Encoding::Gzip, Encoding::Deflate, Encoding::Zstd, Encoding::Snappy, Encoding::SnappyFramed]
    {
        if let Ok(out) = decompress(encoding, bytes, 1 << 16) {
            assert!(out.len() <= 1 << 16);
        }
    }
    items
}

fn checked_spans(batch: &SpanBatch) -> usize {
    for span in &batch.spans {
        assert!(!span.trace_id.is_none() && !span.span_id.is_none() && span.end >= span.start);
        assert!(batch.source_of(span).is_some());
        assert!(Attributes::from_bytes(span.attributes.as_bytes()).is_some());
    }
    batch.len()
}

fn checked_logs(batch: &LogBatch) -> usize {
    assert_eq!(batch.rows().count(), batch.len());
    assert!(batch.rows().all(|row| !row.stream.is_empty() && !row.metadata.get("detected_level").is_empty()));
    batch.len()
}

fn checked_metrics(batch: &MetricBatch) -> usize {
    let indices = batch.samples.iter().map(|s| s.series);
    let indices = indices
        .chain(batch.histograms.iter().map(|h| h.series))
        .chain(batch.exemplars.iter().map(|e| e.series));
    for index in indices {
        assert!(!batch.series[index as usize].metric_name().is_empty());
    }
    for histogram in batch.histograms.iter().map(|h| &h.histogram) {
        let told =
            |spans: &[kenning_model::BucketSpan]| spans.iter().map(|s| s.length as usize).sum::<usize>();
        assert_eq!(told(&histogram.positive_spans), histogram.positive.len());
        assert_eq!(told(&histogram.negative_spans), histogram.negative.len());
    }
    batch.len()
}

const METRICS_JSON: &str = r#"{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"x"}},
    {"key":"host","value":{"stringValue":"h"}}]},"scopeMetrics":[{"scope":{"name":"s"},"metrics":[
    {"name":"g","gauge":{"dataPoints":[{"asDouble":1.5,"timeUnixNano":"5","attributes":[{"key":"a","value":{"intValue":"1"}}]}]}},
    {"name":"h","histogram":{"aggregationTemporality":2,"dataPoints":[{"count":"3","sum":1,"bucketCounts":["1","2"],
     "explicitBounds":[1],"exemplars":[{"asInt":"1","traceId":"0102030405060708090a0b0c0d0e0f10"}]}]}},
    {"name":"e","exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[{"count":"3","scale":3,
     "positive":{"offset":-2,"bucketCounts":["1","0","2"]}}]}},
    {"name":"q","summary":{"dataPoints":[{"count":"1","quantileValues":[{"quantile":0.9,"value":2}]}]}}]}]}]}"#;

const PUSH_JSON: &str = r#"{"streams":[{"stream":{"app":"a"},"values":[["1","level=info \"x\" \u00e9",{"k":"v"}],["2","{\"lvl\":\"warn\"}"]]}]}"#;

const OPENMETRICS: &str = "# TYPE h histogram\n# HELP h a \\n b\n# UNIT t_seconds seconds\nh_bucket{le=\"1\",a=\"\\\"é\"} 1 1.5 # {trace_id=\"x\"} 0.5 1\n{\"u.v\",\"l.m\"=\"n\"} NaN\n# EOF\n";

const TEXT: &str = "# TYPE q summary\n# HELP q help \\\\\nq{quantile=\"0.5\",} 1 123\n  a {b=\"c\" d = \"e\"}+Inf\n{\"u.v\",job=\"x\"} 1e3 -5";

fn samples() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> =
        [METRICS_JSON, PUSH_JSON, OPENMETRICS, TEXT].iter().map(|t| t.as_bytes().to_vec()).collect();
    all.push(encode_traces(&spans()));
    all.push(encode_logs(&logs()));
    all.push(write_request());
    let limits = DecodeLimits::default();
    all.push(encode_write_request_v2(&decode_write_request(&write_request(), &limits).unwrap().batch));
    all.push(
        b"\x0a\x20\x0a\x09{app=\"a\"}\x12\x13\x0a\x02\x08\x01\x12\x05hello\x1a\x06\x0a\x01k\x12\x01v"
            .to_vec(),
    );
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    gzip.write_all(METRICS_JSON.as_bytes()).unwrap();
    all.push(gzip.finish().unwrap());
    all.push(zstd::bulk::compress(METRICS_JSON.as_bytes(), 3).unwrap());
    all.push(snap::raw::Encoder::new().compress_vec(METRICS_JSON.as_bytes()).unwrap());
    all
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag, u8::try_from(body.len()).unwrap()], body].concat()
}

/// A series with a float and a native histogram, and one with an exemplar that ends early.
fn write_request() -> Vec<u8> {
    let label = message(0x0a, &[message(0x0a, b"__name__"), message(0x12, b"a")].concat());
    let sample = message(0x12, b"\x09\x00\x00\x00\x00\x00\x00\x00\x40\x10\x05");
    let sum = b"\x19\x00\x00\x00\x00\x00\x00\xf0\x3f";
    let spans = message(0x5a, b"\x08\x02\x10\x02");
    let histogram = [b"\x08\x03", sum.as_slice(), &spans, b"\x62\x02\x02\x02\x78\x05"].concat();
    let exemplar = message(0x1a, b"\x11\x00\x00\x00\x00");
    let first = message(0x0a, &[label.clone(), sample, message(0x22, &histogram)].concat());
    [first, message(0x0a, &[label, exemplar].concat())].concat()
}

fn spans() -> SpanBatch {
    let mut batch = SpanBatch::default();
    let nested = Value::Map(vec![("m".into(), Value::Array(vec![Value::Int(-1), Value::Bytes(vec![1])]))]);
    let attributes: Attributes = [("a", Value::Str("é".into())), ("n", nested)].into_iter().collect();
    let source = SpanSource { resource: attributes.clone(), scope_name: "s".into(), ..SpanSource::default() };
    let source = batch.add_source(source.into());
    let span = Span {
        trace_id: TraceId([7; 16]),
        span_id: SpanId([8; 8]),
        name: "op".into(),
        kind: SpanKind::Client,
        start: Nanos(1),
        end: Nanos(2),
        status: StatusCode::Error,
        status_message: "m".into(),
        events: vec![SpanEvent { time: Nanos(1), name: "e".into(), attributes: attributes.clone() }],
        links: vec![SpanLink { trace_id: TraceId([1; 16]), ..SpanLink::default() }],
        attributes,
        source,
        ..Span::default()
    };
    batch.spans = vec![span.clone(), span];
    batch
}

fn logs() -> LogBatch {
    let mut batch = LogBatch::default();
    let stream = LabelSet::from_pairs([("service_name", "s")]);
    let index = batch.add_stream(stream.clone());
    let metadata = LabelSet::from_pairs([("k", "v")]);
    for line in ["level=error", "{\"level\":\"info\"}", ""] {
        let row = LogRow {
            stream: &stream,
            time: Nanos(5),
            severity: Severity::INFO,
            trace_id: TraceId([3; 16]),
            span_id: SpanId::NONE,
            line,
            metadata: &metadata,
        };
        batch.push(index, row);
    }
    batch
}

#[test]
fn the_samples_themselves_decode() {
    for (i, sample) in samples().iter().enumerate().take(8) {
        assert!(all(sample) > 0, "sample {i}");
    }
    let decoded = decode_write_request(&write_request(), &DecodeLimits::default()).unwrap();
    assert_eq!((decoded.batch.samples.len(), decoded.batch.histograms.len()), (1, 1));
    assert_eq!(decoded.batch.histograms[0].histogram.positive, [1.0, 2.0]);
    assert_eq!(decoded.rejected.total(), 1);
}

#[test]
fn cut_at_every_byte() {
    for sample in samples() {
        for cut in 0..sample.len() {
            all(&sample[..cut]);
        }
    }
}

#[test]
fn every_byte_replaced() {
    for sample in samples() {
        let mut bytes = sample.clone();
        for at in 0..bytes.len() {
            for other in [0, 0x7f, 0x80, 0xff, b'"', b'{', bytes[at] ^ 1] {
                let kept = std::mem::replace(&mut bytes[at], other);
                all(&bytes);
                bytes[at] = kept;
            }
        }
    }
}

#[test]
fn nested_documents_of_any_depth() {
    for depth in [33, 1000, 200_000] {
        for (open, close) in
            [("[", "]"), ("{\"a\":", "}"), ("{\"streams\":[", "]}"), ("{\"resourceSpans\":[", "]}")]
        {
            all(open.repeat(depth).as_bytes());
            all(format!("{}1{}", open.repeat(depth), close.repeat(depth)).as_bytes());
        }
        all("{".repeat(depth).as_bytes());
        all(&[0x0a, 0x0b].repeat(depth));
        all(&vec![0x0b; depth]);
    }
}

#[test]
fn declared_lengths_are_claims() {
    // Length-delimited fields of 2^31, 2^63 and 2^64-1 bytes, alone and inside a group that is there.
    for length in [
        &[0xff, 0xff, 0xff, 0xff, 0x07][..],
        &[255, 255, 255, 255, 255, 255, 255, 255, 127],
        &[255, 255, 255, 255, 255, 255, 255, 255, 255, 1],
    ] {
        for tag in [0x0a, 0x12, 0x1a] {
            let field = [&[tag][..], length].concat();
            let inner = [&[0x0a, field.len() as u8][..], &field].concat();
            assert_eq!(all(&field) + all(&inner), 0);
        }
    }
}

/// Inputs on which a careless decoder takes quadratic time or multiplies memory; here they are merely long.
#[test]
fn many_small_things() {
    let (limits, options) = (DecodeLimits::default(), OtlpOptions::new(Nanos(1)));
    let group = |i: u32| {
        let span = message(0x12, &[message(0x0a, &[7; 16]), message(0x12, &[8; 8])].concat());
        let value = message(0x12, &message(0x0a, i.to_string().as_bytes()));
        let resource = message(0x0a, &message(0x0a, &[message(0x0a, b"id"), value].concat()));
        message(0x0a, &[resource, message(0x12, &span)].concat())
    };
    let body: Vec<u8> = (0..100_000).flat_map(group).collect();
    let decoded = decode_traces(&body, Format::Protobuf, &limits, &options).unwrap();
    assert_eq!((decoded.batch.len(), decoded.batch.sources.len()), (100_000, 100_000));

    let labels: String = (0..400_000).map(|i| format!("l{i}=\"v\",")).collect();
    let text = format!("{{{labels}}}");
    assert!(loki::parse_labels(&text).is_err());
    let exposition = format!("a{text} 1\n");
    assert_eq!(
        decode(
            exposition.as_bytes(),
            Exposition::Text,
            &limits,
            &ScrapeOptions::new(Millis(1), LabelSet::empty())
        )
        .unwrap()
        .rejected
        .total(),
        1
    );

    // A map whose leaves would each repeat a name of 30 KB.
    let leaf = r#"{"key":"k","value":{"intValue":"1"}}"#;
    let map = |entries: &str| format!(r#"{{"kvlistValue":{{"values":[{entries}]}}}}"#);
    let inner = map(&vec![leaf; 1500].join(","));
    let outer = map(&format!(r#"{{"key":"{}","value":{inner}}}"#, "n".repeat(30_000)));
    let record = |value: &str| {
        format!(
            r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"attributes":[{{"key":"m","value":{value}}}]}}]}}]}}]}}"#
        )
    };
    for (value, reason) in [(outer, "bad_label_name"), (inner, "too_many_labels")] {
        let decoded = decode_logs(record(&value).as_bytes(), Format::Json, &limits, &options).unwrap();
        assert!(decoded.rejected.to_string().contains(reason), "{}", decoded.rejected);
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        all(&bytes);
    }

    #[test]
    fn random_lines_never_panic(text in "[a-z_:{}=\", \\\\#\n0-9.eE+\\-éTYPEHELPUNIT]{0,120}") {
        all(text.as_bytes());
        all(format!("{text}\n# EOF\n").as_bytes());
    }

    #[test]
    fn edited_samples_never_panic(
        which in 0usize..11,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = samples().swap_remove(which);
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        all(&bytes);
    }

    #[test]
    fn spans_come_back_as_they_were(batch in span_batches()) {
        let decoded = decode_traces(&encode_traces(&batch), Format::Protobuf, &DecodeLimits::default(), &OtlpOptions::new(Nanos(0))).unwrap();
        prop_assert!(decoded.rejected.is_empty());
        prop_assert_eq!(decoded.batch, batch);
    }

    #[test]
    fn gzip_and_friends_come_back(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        let packed = snap::raw::Encoder::new().compress_vec(&bytes).unwrap();
        prop_assert_eq!(decompress(Encoding::Snappy, &packed, 3000).unwrap().into_owned(), bytes.clone());
        let packed = zstd::bulk::compress(&bytes, 1).unwrap();
        prop_assert_eq!(decompress(Encoding::Zstd, &packed, 3000).unwrap().into_owned(), bytes);
    }
}

/// At least two thousand cases; `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig { cases: config.cases.max(2000), failure_persistence: None, ..config }
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Empty),
        ".{0,8}".prop_map(Value::Str),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        (-1e9..1e9f64).prop_map(Value::Double),
        prop::collection::vec(any::<u8>(), 0..5).prop_map(Value::Bytes),
    ];
    leaf.prop_recursive(4, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            prop::collection::vec((".{0,4}", inner), 0..3).prop_map(Value::Map),
        ]
    })
}

fn attributes() -> impl Strategy<Value = Attributes> {
    prop::collection::vec((".{0,6}", values()), 0..4).prop_map(|pairs| pairs.into_iter().collect())
}

prop_compose! {
    fn span()(
        ids in (1u8.., 1u8.., any::<u8>()), name in ".{0,9}", state in "[a-z=,]{0,6}", message in ".{0,5}",
        kind in 0u64..6, status in 0u64..3, start in 0i64.., long in 0i64..1000, attributes in attributes(),
        events in prop::collection::vec((0i64.., ".{0,4}", attributes()), 0..3),
        links in prop::collection::vec((any::<u8>(), attributes()), 0..2),
    ) -> Span {
        Span {
            trace_id: TraceId([ids.0; 16]), span_id: SpanId([ids.1; 8]), parent_span_id: SpanId([ids.2; 8]),
            trace_state: state, name, kind: SpanKind::from_number(kind), status: StatusCode::from_number(status),
            status_message: message, start: Nanos(start), end: Nanos(start.saturating_add(long)), attributes, source: 0,
            events: events.into_iter().map(|(time, name, attributes)| SpanEvent { time: Nanos(time), name, attributes }).collect(),
            links: links.into_iter().map(|(id, attributes)| SpanLink {
                trace_id: TraceId([id; 16]), span_id: SpanId([id; 8]), trace_state: String::new(), attributes,
            }).collect(),
        }
    }
}

prop_compose! {
    fn span_batches()(resource in attributes(), scope in ".{0,5}", spans in prop::collection::vec(span(), 1..4)) -> SpanBatch {
        let source = SpanSource { resource, scope_name: scope, ..SpanSource::default() };
        SpanBatch { sources: vec![source.into()], spans }
    }
}
