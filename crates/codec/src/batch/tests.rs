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
            Batch::Metrics(MetricBatch { series, samples, histograms, exemplars, metadata })
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
