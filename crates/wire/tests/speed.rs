//! Rough cost of the hot decoders. Run with
//! `cargo test --release -p kenning-wire --test speed -- --ignored --nocapture`.
#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use kenning_model::{
    Attributes, LabelSet, LogBatch, LogRow, Millis, Nanos, Severity, Span, SpanBatch, SpanId, SpanSource,
    TraceId, Value,
};
use kenning_wire::otlp::{
    Format, OtlpOptions, decode_logs, decode_metrics, decode_traces, encode_logs, encode_traces,
};
use kenning_wire::prometheus::{Exposition, ScrapeOptions, decode};
use kenning_wire::{DecodeLimits, loki};

const ITEMS: usize = 5000;

/// Prints the best of many runs, since other work shares the machine.
fn measure(name: &str, bytes: usize, mut run: impl FnMut() -> usize) {
    let mut best = Duration::MAX;
    for _ in 0..30 {
        let start = Instant::now();
        let items = black_box(run());
        best = best.min(start.elapsed());
        assert!(items >= ITEMS, "{name}: {items}");
    }
    let nanos = best.as_nanos() as f64;
    println!("{name:24} {:7.0} ns/item {:7.0} MB/s", nanos / ITEMS as f64, bytes as f64 * 1000.0 / nanos);
}

fn exposition() -> String {
    let lines = (0..ITEMS).map(|i| {
        format!(
            "http_requests_total{{method=\"GET\",path=\"/api/v{}/items\",code=\"200\",pod=\"p-{i}\"}} {}\n",
            i % 7,
            i * 31
        )
    });
    lines.collect::<String>() + "# EOF\n"
}

fn spans() -> SpanBatch {
    let pairs = |i: usize| {
        [
            ("http.request.method", Value::Str("GET".into())),
            ("url.path", Value::Str(format!("/items/{i}"))),
            ("http.response.status_code", Value::Int(200)),
            ("retries", Value::Double(0.5)),
        ]
    };
    let resource: Attributes = [("service.name", Value::Str("shop".into()))].into_iter().collect();
    let mut batch = SpanBatch::default();
    batch.add_source(SpanSource { resource, ..SpanSource::default() }.into());
    batch.spans = (0..ITEMS)
        .map(|i| Span {
            trace_id: TraceId((i as u128 + 1).to_be_bytes()),
            span_id: SpanId((i as u64 + 1).to_be_bytes()),
            name: "GET /items".into(),
            start: Nanos(i as i64),
            end: Nanos(i as i64 + 5),
            attributes: pairs(i).into_iter().collect(),
            ..Span::default()
        })
        .collect();
    batch
}

fn logs() -> LogBatch {
    let mut batch = LogBatch::default();
    let stream = LabelSet::from_pairs([("service_name", "shop")]);
    let index = batch.add_stream(stream.clone());
    for i in 0..ITEMS {
        let line = format!(
            "{{\"level\":\"info\",\"msg\":\"handled request\",\"id\":{i},\"path\":\"/items\",\"took_ms\":12}}"
        );
        let metadata = LabelSet::from_pairs([("thread", "worker-1"), ("code.function", "handle")]);
        let (trace_id, span_id) = (TraceId([1; 16]), SpanId([2; 8]));
        let row = LogRow {
            stream: &stream,
            time: Nanos(i as i64),
            severity: Severity::INFO,
            trace_id,
            span_id,
            line: &line,
            metadata: &metadata,
        };
        batch.push(index, row);
    }
    batch
}

fn push(batch: &LogBatch) -> String {
    let values: Vec<_> = batch.rows().map(|row| format!("[\"{}\",{:?}]", row.time, row.line)).collect();
    format!("{{\"streams\":[{{\"stream\":{{\"app\":\"shop\"}},\"values\":[{}]}}]}}", values.join(","))
}

fn metrics() -> String {
    let points: Vec<_> = (0..ITEMS)
        .map(|i| format!(
            "{{\"timeUnixNano\":\"5\",\"asInt\":\"{i}\",\"attributes\":[{{\"key\":\"http.method\",\"value\":{{\"stringValue\":\"GET\"}}}},{{\"key\":\"id\",\"value\":{{\"intValue\":\"{i}\"}}}}]}}"
        ))
        .collect();
    format!(
        "{{\"resourceMetrics\":[{{\"resource\":{{\"attributes\":[{{\"key\":\"service.name\",\"value\":{{\"stringValue\":\"s\"}}}}]}},\"scopeMetrics\":[{{\"metrics\":[{{\"name\":\"requests\",\"sum\":{{\"aggregationTemporality\":2,\"isMonotonic\":true,\"dataPoints\":[{}]}}}}]}}]}}]}}",
        points.join(",")
    )
}

#[test]
#[ignore = "prints timings; asserts nothing about them"]
fn nanoseconds_per_item() {
    let (limits, options) = (DecodeLimits::default(), OtlpOptions::new(Nanos(1)));
    let text = exposition();
    let scrape = ScrapeOptions::new(Millis(1), LabelSet::from_pairs([("job", "j"), ("instance", "i:80")]));
    measure("prometheus text", text.len(), || {
        decode(text.as_bytes(), Exposition::Text, &limits, &scrape).unwrap().batch.len()
    });
    measure("openmetrics", text.len(), || {
        decode(text.as_bytes(), Exposition::OpenMetrics, &limits, &scrape).unwrap().batch.len()
    });
    let traces = encode_traces(&spans());
    measure("otlp traces protobuf", traces.len(), || {
        decode_traces(&traces, Format::Protobuf, &limits, &options).unwrap().batch.len()
    });
    let records = logs();
    let bytes = encode_logs(&records);
    measure("otlp logs protobuf", bytes.len(), || {
        decode_logs(&bytes, Format::Protobuf, &limits, &options).unwrap().batch.len()
    });
    let json = metrics();
    measure("otlp metrics json", json.len(), || {
        decode_metrics(json.as_bytes(), Format::Json, &limits, &options).unwrap().batch.len()
    });
    let json = push(&records);
    measure("loki push json", json.len(), || {
        loki::decode_push_json(json.as_bytes(), &limits).unwrap().batch.len()
    });
}
