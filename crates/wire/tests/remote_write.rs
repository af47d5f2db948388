//! Remote write 1.0: what is written is read, and bad series do not take good ones with them.

use kenning_model::{
    BucketSpan, CounterReset, Exemplar, Histogram, HistogramSample, LabelSet, MetricBatch, MetricKind,
    MetricMetadata, Millis, Reason, Sample,
};
use kenning_wire::prometheus::{STALE_NAN, decode_write_request, encode_write_request};
use kenning_wire::{DecodeError, DecodeLimits, Decoded};
use proptest::prelude::*;

fn read(batch: &MetricBatch) -> Result<Decoded<MetricBatch>, DecodeError> {
    decode_write_request(&encode_write_request(batch), &DecodeLimits::default())
}

fn of_series(pairs: &[&[(&str, &str)]]) -> MetricBatch {
    let mut batch = MetricBatch::default();
    for (i, pairs) in pairs.iter().enumerate() {
        let series = batch.add_series(LabelSet::from_pairs(pairs.iter().copied()));
        batch.samples.push(Sample { series, time: Millis(i as i64), value: i as f64 });
    }
    batch
}

fn reasons(decoded: &Decoded<MetricBatch>) -> Vec<(Reason, u64)> {
    decoded.rejected.iter().map(|(reason, count, _)| (reason, count)).collect()
}

#[test]
fn good_series_survive_bad_ones() {
    let (long, many) = ("v".repeat(4097), (0..65).map(|i| format!("l{i}")).collect::<Vec<_>>());
    let mut crowd: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "v")).collect();
    crowd.push(("__name__", "c"));
    let check = |bad: &[(&str, &str)], reason: Reason| {
        let decoded = read(&of_series(&[&[("__name__", "a")], bad, &[("__name__", "b")]])).unwrap();
        assert_eq!(reasons(&decoded), [(reason, 1)], "{}", decoded.rejected);
        assert_eq!(decoded.batch.samples.iter().map(|s| s.time.0).collect::<Vec<_>>(), [0, 2]);
    };
    check(&[("job", "x")], Reason::Missing);
    check(&[("__name__", "x"), ("l", &long)], Reason::LabelValueTooLong);
    check(&[("__name__", "x"), (&"n".repeat(257), "v")], Reason::BadLabelName);
    check(&crowd, Reason::TooManyLabels);
}

#[test]
fn labels_that_no_label_set_can_hold_are_refused() {
    let series = |labels: &[u8]| {
        let sample = b"\x12\x02\x10\x05";
        [&[0x0a, (labels.len() + sample.len()) as u8][..], labels, sample].concat()
    };
    let name = b"\x0a\x0d\x0a\x08__name__\x12\x01a";
    let label = b"\x0a\x06\x0a\x01l\x12\x01v";
    for (labels, reason) in [
        ([&name[..], label, label].concat(), Reason::DuplicateLabel),
        ([&name[..], b"\x0a\x03\x12\x01v"].concat(), Reason::BadLabelName),
        ([&name[..], b"\x0a\x06\x0a\x01l\x12\x01\xff"].concat(), Reason::NotUtf8),
        ([&name[..], b"\x0a\x02\x08\x01"].concat(), Reason::WrongType),
    ] {
        let decoded = decode_write_request(&series(&labels), &DecodeLimits::default()).unwrap();
        assert_eq!(reasons(&decoded), [(reason, 1)], "{}", decoded.rejected);
    }
}

#[test]
fn histograms_must_fit_their_spans() {
    let check = |histogram: Histogram, reason: Option<Reason>| {
        let mut batch = MetricBatch::default();
        let series = batch.add_series(LabelSet::from_pairs([("__name__", "h")]));
        batch.histograms.push(HistogramSample { series, time: Millis(1), histogram });
        let decoded = read(&batch).unwrap();
        assert_eq!(reasons(&decoded), reason.map(|reason| (reason, 1)).into_iter().collect::<Vec<_>>());
        if reason.is_none() {
            assert_eq!(decoded.batch, batch);
        }
    };
    let spans = |length| vec![BucketSpan { offset: -2, length }];
    let good =
        Histogram { positive_spans: spans(2), positive: vec![1.0, 2.0], schema: 3, ..Histogram::default() };
    check(good.clone(), None);
    check(Histogram { schema: -53, custom_bounds: vec![0.5, 1.0], ..good.clone() }, None);
    check(Histogram { positive_spans: spans(u32::MAX), ..good.clone() }, Some(Reason::Malformed));
    check(Histogram { negative: vec![1.0], ..good.clone() }, Some(Reason::Malformed));
    check(Histogram { schema: 53, ..good.clone() }, Some(Reason::Unsupported));
    check(Histogram { schema: -5, ..good.clone() }, Some(Reason::Unsupported));
    let two = |first, second| [(first, 1), (second, 1)].map(|(offset, length)| BucketSpan { offset, length });
    check(Histogram { positive_spans: two(-2, 3).into(), ..good.clone() }, None);
    check(Histogram { positive_spans: two(-2, -1).into(), ..good.clone() }, Some(Reason::Malformed));
    check(Histogram { positive: vec![1.0, -2.0], ..good.clone() }, Some(Reason::Malformed));
    check(Histogram { zero_count: -1.0, ..good.clone() }, Some(Reason::Malformed));
    check(Histogram { custom_bounds: vec![1.0], ..good.clone() }, Some(Reason::Malformed));
    let custom = |bounds: &[f64]| Histogram { schema: -53, custom_bounds: bounds.to_vec(), ..good.clone() };
    for bounds in [&[1.0, 1.0][..], &[2.0, 1.0], &[f64::NAN], &[1.0, f64::INFINITY]] {
        check(custom(bounds), Some(Reason::Malformed));
    }
    check(Histogram { positive_spans: two(0, 2).into(), ..custom(&[1.0, 2.0]) }, Some(Reason::Malformed));
    check(Histogram { zero_threshold: 1.0, ..custom(&[1.0]) }, Some(Reason::Malformed));
    check(
        Histogram { negative_spans: spans(1), negative: vec![1.0], ..custom(&[1.0]) },
        Some(Reason::Malformed),
    );
    check(
        Histogram { positive: vec![1.0; 1025], positive_spans: spans(1025), ..good },
        Some(Reason::TooLong),
    );
}

#[test]
fn stale_markers_keep_their_bits() {
    let mut batch = of_series(&[&[("__name__", "a")]]);
    batch.samples[0].value = STALE_NAN;
    assert_eq!(read(&batch).unwrap().batch.samples[0].value.to_bits(), STALE_NAN.to_bits());
}

#[test]
fn too_many_samples_refuse_the_request() {
    let limits = DecodeLimits { items: 1, ..DecodeLimits::default() };
    let body = encode_write_request(&of_series(&[&[("__name__", "a")], &[("__name__", "b")]]));
    assert!(matches!(decode_write_request(&body, &limits), Err(DecodeError::TooLarge { limit: 1, .. })));
}

fn histogram() -> impl Strategy<Value = Histogram> {
    let side = || prop::collection::vec((-9i32..9, prop::collection::vec(0.0..1e9f64, 1..4)), 0..3);
    let reset = prop_oneof![
        Just(CounterReset::Unknown),
        Just(CounterReset::Yes),
        Just(CounterReset::No),
        Just(CounterReset::Gauge)
    ];
    (side(), side(), -4i32..9, reset, 0.0..1e9f64, -1e9..1e9f64).prop_map(
        |(p, n, schema, reset, count, sum)| {
            let spans = |side: &[(i32, Vec<f64>)]| -> Vec<BucketSpan> {
                let span = |(at, (offset, counts)): (usize, &(i32, Vec<f64>))| {
                    let offset = if at == 0 { *offset } else { offset.abs() };
                    BucketSpan { offset, length: counts.len() as u32 }
                };
                side.iter().enumerate().map(span).collect()
            };
            let counts = |side: &[(i32, Vec<f64>)]| {
                side.iter().flat_map(|(_, counts)| counts.clone()).collect::<Vec<_>>()
            };
            Histogram {
                reset,
                schema,
                count,
                sum,
                zero_threshold: 1e-3,
                zero_count: 2.0,
                positive_spans: spans(&p),
                positive: counts(&p),
                negative_spans: spans(&n),
                negative: counts(&n),
                custom_bounds: Vec::new(),
            }
        },
    )
}

prop_compose! {
    fn batches()(
        series in prop::collection::btree_map("[a-z]{1,4}", ("[ -~é]{0,6}", prop::collection::vec((any::<i64>(), -1e9..1e9f64), 0..4),
            prop::collection::vec((any::<i64>(), histogram()), 0..2), prop::collection::vec((any::<i64>(), "[a-f0-9]{1,9}"), 0..2)), 0..4),
        help in ".{0,9}",
    ) -> MetricBatch {
        let mut batch = MetricBatch::default();
        for (name, (label, samples, histograms, exemplars)) in series {
            let series = batch.add_series(LabelSet::from_pairs([("__name__", name.as_str()), ("l", label.as_str())]));
            batch.samples.extend(samples.into_iter().map(|(time, value)| Sample { series, time: Millis(time), value }));
            batch.histograms.extend(histograms.into_iter().map(|(time, histogram)| HistogramSample { series, time: Millis(time), histogram }));
            batch.exemplars.extend(exemplars.into_iter().map(|(time, id)| Exemplar {
                series, time: Millis(time), value: 1.5, labels: LabelSet::from_pairs([("trace_id", id.as_str())]),
            }));
            batch.metadata.push(MetricMetadata { metric: name, kind: MetricKind::Counter, help: help.clone(), unit: String::new() });
        }
        batch
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(batch in batches()) {
        let decoded = read(&batch).unwrap();
        prop_assert!(decoded.rejected.is_empty(), "{}", decoded.rejected);
        prop_assert_eq!(decoded.batch, batch);
    }
}

#[test]
fn a_finer_resolution_is_merged_down() {
    let mut batch = MetricBatch::default();
    let series = batch.add_series(LabelSet::from_pairs([("__name__", "h")]));
    let fine = Histogram {
        schema: 9,
        positive_spans: vec![BucketSpan { offset: 1, length: 2 }],
        positive: vec![1.0, 2.0],
        ..Histogram::default()
    };
    batch.histograms.push(HistogramSample { series, time: Millis(1), histogram: fine });
    let read = read(&batch).unwrap().batch.histograms.remove(0).histogram;
    assert_eq!((read.schema, read.positive), (8, vec![3.0]));
}
