//! Round trips of random batches, and bytes from anywhere.

use std::sync::Arc;

use kenning_model::{
    Attributes, BucketSpan, CounterReset, Exemplar, Histogram, HistogramSample, LabelSet, LogBatch, LogRow,
    MetricBatch, MetricKind, MetricMetadata, Millis, Nanos, Sample, Severity, Span, SpanBatch, SpanEvent,
    SpanId, SpanKind, SpanLink, SpanSource, StatusCode, TraceId, Value,
};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn labels() -> impl Strategy<Value = LabelSet> {
    vec(("[a-c_]{1,3}", "[a-zé]{0,4}"), 0..5).prop_map(LabelSet::from_pairs)
}

fn attributes() -> impl Strategy<Value = Attributes> {
    let value = prop_oneof![
        any::<i64>().prop_map(Value::Int),
        any::<f64>().prop_map(Value::Double),
        any::<bool>().prop_map(Value::Bool),
        ".{0,5}".prop_map(Value::Str),
        vec(any::<u8>(), 0..4).prop_map(Value::Bytes),
    ];
    vec(("[a-z.]{0,6}", value), 0..4).prop_map(|pairs| pairs.into_iter().collect())
}

/// Doubles that equal themselves, so that batches can be compared; NaN has a test of its own.
fn double() -> impl Strategy<Value = f64> {
    any::<f64>().prop_map(|value| if value.is_nan() { -0.0 } else { value })
}

fn histogram() -> impl Strategy<Value = Histogram> {
    let spans =
        || vec((any::<i32>(), any::<u32>()).prop_map(|(offset, length)| BucketSpan { offset, length }), 0..3);
    let reset = prop_oneof![
        Just(CounterReset::Unknown),
        Just(CounterReset::Yes),
        Just(CounterReset::No),
        Just(CounterReset::Gauge)
    ];
    let numbers = (reset, any::<i32>(), double(), double(), double(), double());
    let lists = (spans(), vec(double(), 0..4), spans(), vec(double(), 0..4), vec(double(), 0..4));
    (numbers, lists).prop_map(|((reset, schema, zero_threshold, zero_count, count, sum), lists)| {
        let (positive_spans, positive, negative_spans, negative, custom_bounds) = lists;
        Histogram {
            reset,
            schema,
            zero_threshold,
            zero_count,
            count,
            sum,
            positive_spans,
            positive,
            negative_spans,
            negative,
            custom_bounds,
        }
    })
}

fn metrics() -> impl Strategy<Value = Batch> {
    let stamp = || (any::<u32>(), any::<i64>().prop_map(Millis));
    let sample = (stamp(), double()).prop_map(|((series, time), value)| Sample { series, time, value });
    let histogram = (stamp(), histogram()).prop_map(|((series, time), histogram)| HistogramSample {
        series,
        time,
        histogram,
    });
    let exemplar = (stamp(), double(), labels()).prop_map(|((series, time), value, labels)| Exemplar {
        series,
        time,
        value,
        labels,
    });
    let metadata = (".{0,4}", 0..8usize, ".{0,4}", ".{0,4}").prop_map(|(metric, kind, help, unit)| {
        MetricMetadata { metric, kind: MetricKind::ALL[kind], help, unit }
    });
    (vec(labels(), 0..6), vec(sample, 0..9), vec(histogram, 0..3), vec(exemplar, 0..3), vec(metadata, 0..3))
        .prop_map(|(series, samples, histograms, exemplars, metadata)| {
            Batch::Metrics(MetricBatch {
                series,
                samples,
                histograms,
                exemplars,
                metadata,
                ..MetricBatch::default()
            })
        })
}

fn logs() -> impl Strategy<Value = Batch> {
    let row = (any::<u32>(), any::<i64>(), any::<u8>(), 0..3u8, ".{0,20}", labels());
    (vec(labels(), 0..4), vec(row, 0..12)).prop_map(|(streams, rows)| {
        let mut batch = LogBatch { streams, ..LogBatch::default() };
        for (stream, time, severity, id, line, metadata) in &rows {
            let row = LogRow {
                stream: metadata,
                time: Nanos(*time),
                severity: Severity(*severity),
                trace_id: TraceId([*id; 16]),
                span_id: SpanId([*id / 2; 8]),
                line,
                metadata,
            };
            batch.push(*stream, row);
        }
        Batch::Logs(batch)
    })
}

fn span() -> impl Strategy<Value = Span> {
    let event = (any::<i64>(), ".{0,4}", attributes()).prop_map(|(time, name, attributes)| SpanEvent {
        time: Nanos(time),
        name,
        attributes,
    });
    let link = (any::<[u8; 16]>(), any::<[u8; 8]>(), ".{0,4}", attributes()).prop_map(
        |(t, s, state, attributes)| SpanLink {
            trace_id: TraceId(t),
            span_id: SpanId(s),
            trace_state: state,
            attributes,
        },
    );
    let ids = (any::<[u8; 16]>(), any::<[u8; 8]>(), any::<[u8; 8]>(), any::<u32>());
    let words = (".{0,4}", ".{0,8}", ".{0,4}", 0..6u64, 0..3u64, any::<i64>(), any::<i64>());
    (ids, words, attributes(), vec(event, 0..3), vec(link, 0..3)).prop_map(
        |((trace, span, parent, source), words, attributes, events, links)| {
            let (trace_state, name, status_message, kind, status, start, end) = words;
            Span {
                trace_id: TraceId(trace),
                span_id: SpanId(span),
                parent_span_id: SpanId(parent),
                trace_state,
                name,
                kind: SpanKind::from_number(kind),
                start: Nanos(start),
                end: Nanos(end),
                status: StatusCode::from_number(status),
                status_message,
                attributes,
                events,
                links,
                source,
            }
        },
    )
}

fn spans() -> impl Strategy<Value = Batch> {
    let source = (attributes(), ".{0,4}", ".{0,4}", attributes()).prop_map(
        |(resource, scope_name, scope_version, scope)| {
            Arc::new(SpanSource { resource, scope_name, scope_version, scope })
        },
    );
    (vec(source, 0..3), vec(span(), 0..5))
        .prop_map(|(sources, spans)| Batch::Spans(SpanBatch { sources, spans }))
}

fn encoded(batch: &Batch) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(batch, &mut bytes);
    bytes
}

proptest! {
    #[test]
    fn batches_come_back(batch in prop_oneof![metrics(), logs(), spans()]) {
        prop_assert_eq!(decode(&encoded(&batch)), Ok(batch));
    }

    #[test]
    fn every_cut_is_refused(batch in prop_oneof![metrics(), logs(), spans()]) {
        let bytes = encoded(&batch);
        for cut in 0..bytes.len() {
            prop_assert!(decode(&bytes[..cut]).is_err());
        }
    }

    #[test]
    fn random_bytes_never_panic(signal in 1..4u8, bytes in vec(any::<u8>(), 0..200)) {
        let _ = decode(&[&[VERSION, signal], bytes.as_slice()].concat());
    }

    #[test]
    fn damaged_batches_never_panic(
        batch in prop_oneof![metrics(), logs(), spans()], at: prop::sample::Index, byte: u8
    ) {
        let mut bytes = encoded(&batch);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = decode(&bytes);
    }
}

#[test]
fn nan_payloads_survive() {
    let stale = f64::from_bits(0x7ff0_0000_0000_0002);
    let sample = Sample { series: 0, time: Millis(1), value: stale };
    let batch = MetricBatch { samples: vec![sample], ..MetricBatch::default() };
    match decode(&encoded(&Batch::Metrics(batch))) {
        Ok(Batch::Metrics(read)) => assert_eq!(read.samples[0].value.to_bits(), stale.to_bits()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn scrapes_are_compact() {
    let mut batch = MetricBatch::default();
    for i in 0..1000 {
        let path = format!("/path/{i}");
        let pairs = [
            ("__name__", "http_requests_total"),
            ("instance", "10.0.0.1:9090"),
            ("job", "api"),
            ("path", &path),
        ];
        let series = batch.add_series(LabelSet::from_pairs(pairs));
        batch.samples.push(Sample { series, time: Millis(1_700_000_000_000), value: f64::from(i) });
    }
    let bytes = encoded(&Batch::Metrics(batch)).len();
    assert!(bytes < 30_000, "{bytes}");
}

#[test]
fn unknown_versions_and_claims_are_refused() {
    assert_eq!(decode(&[9, 1]), Err(DecodeError::Version(9)));
    assert_eq!(decode(&[]), Err(DecodeError::Malformed { offset: 0 }));
    assert_eq!(decode(&[VERSION, 7]), Err(DecodeError::Malformed { offset: 2 }));
    let huge = [VERSION, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    assert!(matches!(decode(&huge), Err(DecodeError::Malformed { .. })));
}

/// Batches that never change: files of every released layout must decode to them for ever.
fn golden() -> [(&'static str, Batch); 3] {
    let labels = |pairs: &[(&str, &str)]| LabelSet::from_pairs(pairs.iter().copied());
    let up = labels(&[("__name__", "up"), ("job", "api")]);
    let metadata = MetricMetadata {
        metric: "up".into(),
        kind: MetricKind::Gauge,
        help: "Is it?".into(),
        unit: "ratio".into(),
    };
    let histogram = Histogram {
        reset: CounterReset::No,
        schema: 3,
        zero_threshold: 0.001,
        zero_count: 1.0,
        count: 7.0,
        sum: -2.5,
        positive_spans: vec![BucketSpan { offset: -2, length: 2 }],
        positive: vec![1.0, 4.0],
        negative_spans: vec![BucketSpan { offset: 0, length: 1 }],
        negative: vec![1.0],
        custom_bounds: vec![0.5],
    };
    let metrics = MetricBatch {
        series: vec![up.clone(), labels(&[("__name__", "up"), ("job", "db")])],
        samples: vec![
            Sample { series: 0, time: Millis(1_700_000_000_000), value: 1.0 },
            Sample { series: 1, time: Millis(1_700_000_000_001), value: -0.25 },
        ],
        histograms: vec![HistogramSample { series: 1, time: Millis(-5), histogram }],
        exemplars: vec![Exemplar {
            series: 0,
            time: Millis(9),
            value: 3.0,
            labels: labels(&[("trace_id", "ab")]),
        }],
        metadata: vec![metadata],
        ..MetricBatch::default()
    };
    let mut logs = LogBatch { streams: vec![up.clone()], ..LogBatch::default() };
    for (time, line) in [(5, "first"), (4, "zweite Zeile, ü")] {
        let row = LogRow {
            stream: &up,
            time: Nanos(time),
            severity: Severity::WARN,
            trace_id: TraceId([7; 16]),
            span_id: SpanId::NONE,
            line,
            metadata: &labels(&[("k", "v")]),
        };
        logs.push(0, row);
    }
    let attributes: Attributes = [("n", Value::Int(-3)), ("s", Value::Str("x".into()))].into_iter().collect();
    let source = SpanSource {
        resource: attributes.clone(),
        scope_name: "lib".into(),
        scope_version: "1".into(),
        scope: Attributes::default(),
    };
    let span = Span {
        trace_id: TraceId([1; 16]),
        span_id: SpanId([2; 8]),
        parent_span_id: SpanId([3; 8]),
        trace_state: "a=b".into(),
        name: "GET /".into(),
        kind: SpanKind::Server,
        start: Nanos(1_000),
        end: Nanos(3_000),
        status: StatusCode::Error,
        status_message: "boom".into(),
        attributes: attributes.clone(),
        events: vec![SpanEvent {
            time: Nanos(2_000),
            name: "exception".into(),
            attributes: attributes.clone(),
        }],
        links: vec![SpanLink {
            trace_id: TraceId([4; 16]),
            span_id: SpanId([5; 8]),
            trace_state: String::new(),
            attributes,
        }],
        source: 0,
    };
    let spans = SpanBatch { sources: vec![Arc::new(source)], spans: vec![span] };
    [("metrics", Batch::Metrics(metrics)), ("logs", Batch::Logs(logs)), ("spans", Batch::Spans(spans))]
}

/// `KENNING_WRITE_GOLDEN=1` writes the files of a new version; files of a released version are never written again.
#[test]
fn golden_files_decode() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/formats/batch-v1");
    for (name, batch) in golden() {
        let path = folder.join(format!("{name}.bin"));
        if std::env::var_os("KENNING_WRITE_GOLDEN").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, encoded(&batch)).unwrap();
        }
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(decode(&bytes), Ok(batch.clone()), "{name}");
        assert_eq!(encoded(&batch), bytes, "{name}: another layout needs another version");
    }
}
