//! Remote write 2.0: what is written is read, and bad series do not take good ones with them.

use kenning_model::{
    Exemplar, Histogram, HistogramSample, LabelSet, MetricBatch, MetricKind, MetricMetadata, Millis, Reason,
    Sample,
};
use kenning_wire::prometheus::{
    STALE_NAN, decode_write_request, decode_write_request_v2, encode_write_request, encode_write_request_v2,
};
use kenning_wire::{DecodeError, DecodeLimits, Decoded};
use proptest::prelude::*;

fn decode(body: &[u8]) -> Result<Decoded<MetricBatch>, DecodeError> {
    decode_write_request_v2(body, &DecodeLimits::default())
}

fn message(number: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let len = body.len();
    let len = if len < 128 { vec![len as u8] } else { vec![len as u8 | 0x80, (len >> 7) as u8] };
    [&[number << 3 | 2], len.as_slice(), &body].concat()
}

/// Symbols 1 to 6: `__name__`, `a`, `l`, `v`, a text that is not UTF-8, `help`.
fn symbols() -> Vec<u8> {
    let texts: [&[u8]; 7] = [b"", b"__name__", b"a", b"l", b"v", b"\xff", b"help"];
    texts.iter().flat_map(|text| message(4, &[text])).collect()
}

/// A series with these references and one sample at 5 between two good ones at 1 and 9.
fn among_good(refs: &[u8]) -> Vec<u8> {
    let series = |refs: &[u8], time: u8| message(5, &[&message(1, &[refs]), &message(2, &[&[2 << 3, time]])]);
    [symbols(), series(&[1, 2], 1), series(refs, 5), series(&[1, 2, 3, 4], 9)].concat()
}

#[test]
fn good_series_survive_bad_ones() {
    let check = |refs: &[u8], reason: Reason| {
        let decoded = decode(&among_good(refs)).unwrap();
        let reasons: Vec<_> = decoded.rejected.iter().map(|(reason, count, _)| (reason, count)).collect();
        assert_eq!(reasons, [(reason, 1)], "{refs:?}: {}", decoded.rejected);
        assert_eq!(decoded.batch.samples.iter().map(|s| s.time.0).collect::<Vec<_>>(), [1, 9], "{refs:?}");
    };
    check(&[1], Reason::Malformed);
    check(&[1, 2, 3], Reason::Malformed);
    check(&[1, 7], Reason::Malformed);
    check(&[1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], Reason::Malformed);
    check(&[], Reason::Missing);
    check(&[3, 4], Reason::Missing);
    check(&[1, 0], Reason::Missing);
    check(&[1, 2, 3, 4, 3, 4], Reason::DuplicateLabel);
    check(&[1, 2, 0, 4], Reason::BadLabelName);
    check(&[1, 2, 3, 5], Reason::NotUtf8);
    check(&[1, 2].repeat(65), Reason::TooManyLabels);
    let decoded = decode(&among_good(&[3, 4, 1, 2])).unwrap();
    assert!(decoded.rejected.is_empty(), "labels may come in any order: {}", decoded.rejected);
    assert_eq!(decoded.batch.series.len(), 2);
}

#[test]
fn requests_that_cannot_be_walked_give_nothing() {
    let good = among_good(&[1, 2]);
    for cut in [good.len() - 1, good.len() - 7, 3] {
        assert!(matches!(decode(&good[..cut]), Err(DecodeError::Malformed { .. })), "{cut}");
    }
    assert!(decode(b"").unwrap().batch.is_empty());
    // Symbols may come last.
    let (head, tail) = good.split_at(symbols().len());
    assert_eq!(decode(&[tail, head].concat()).unwrap().batch, decode(&good).unwrap().batch);
}

#[test]
fn the_other_version_is_recognised() {
    let mut batch = MetricBatch::default();
    let series = batch.add_series(LabelSet::from_pairs([("__name__", "a")]));
    batch.push_sample(Sample { series, time: Millis(1), value: 1.0 }, Millis(0));
    let told = |error: Result<Decoded<MetricBatch>, DecodeError>| error.unwrap_err().to_string();
    assert!(told(decode(&encode_write_request(&batch))).contains("Content-Type: application/x-protobuf"));
    let one = decode_write_request(&encode_write_request_v2(&batch), &DecodeLimits::default());
    assert!(told(one).contains("proto=io.prometheus.write.v2.Request"));
}

#[test]
fn limits_hold_for_symbols_and_items() {
    let check = |items: usize, what: &str| {
        let limits = DecodeLimits { items, ..DecodeLimits::default() };
        let error = decode_write_request_v2(&among_good(&[1, 2]), &limits).unwrap_err();
        assert!(matches!(error, DecodeError::TooLarge { limit, .. } if limit == items), "{error}");
        assert!(error.to_string().contains(what), "{error}");
    };
    check(2, "symbols");
    let many = [among_good(&[1, 2]), among_good(&[1, 2])[symbols().len()..].repeat(2)].concat();
    let limits = DecodeLimits { items: 8, ..DecodeLimits::default() };
    let error = decode_write_request_v2(&many, &limits).unwrap_err();
    assert!(error.to_string().contains("samples"), "{error}");
}

#[test]
fn start_times_come_from_samples_or_their_series() {
    let sample = |fields: &[u8]| message(2, &[fields]);
    let histogram = |fields: &[u8]| message(3, &[fields]);
    let series = message(
        5,
        &[
            &message(1, &[&[1, 2]]),
            &sample(&[2 << 3, 10, 3 << 3, 7]),
            &sample(&[2 << 3, 11]),
            &histogram(&[15 << 3, 12, 17 << 3 | 0x80, 1, 8]),
            &histogram(&[15 << 3, 13]),
            &[6 << 3, 5],
        ],
    );
    let batch = decode(&[symbols(), series].concat()).unwrap().batch;
    assert_eq!(batch.starts, [7, 5].map(Millis));
    assert_eq!(batch.histogram_starts, [8, 5].map(Millis));
}

#[test]
fn exemplars_without_a_time_take_that_of_the_latest_sample() {
    let exemplar = message(4, &[&message(1, &[&[3, 4]]), &[3 << 3, 0]]);
    let sample = message(2, &[&[2 << 3, 9]]);
    let series = message(5, &[&exemplar, &message(1, &[&[1, 2]]), &sample]);
    let batch = decode(&[symbols(), series].concat()).unwrap().batch;
    assert_eq!((batch.exemplars[0].time, batch.exemplars[0].labels.get("l")), (Millis(9), "v"));
}

#[test]
fn metadata_goes_under_the_family() {
    let check = |series: &str, kind: MetricKind, family: &str| {
        let mut batch = MetricBatch::default();
        batch.add_series(LabelSet::from_pairs([("__name__", series)]));
        let metadata =
            MetricMetadata { metric: family.to_owned(), kind, help: "h".into(), unit: "bytes".into() };
        batch.metadata.push(metadata.clone());
        let read = decode(&encode_write_request_v2(&batch)).unwrap().batch;
        assert_eq!(read.metadata, [metadata], "{series}");
    };
    check("a_bucket", MetricKind::Histogram, "a");
    check("a_count", MetricKind::Summary, "a");
    check("a_bucket", MetricKind::Counter, "a_bucket");
    check("a_total", MetricKind::Counter, "a_total");
    check("_sum", MetricKind::Histogram, "_sum");
    check("h", MetricKind::Histogram, "h");
}

#[test]
fn stale_markers_keep_their_bits() {
    let mut batch = MetricBatch::default();
    let series = batch.add_series(LabelSet::from_pairs([("__name__", "a")]));
    batch.push_sample(Sample { series, time: Millis(1), value: STALE_NAN }, Millis(0));
    let histogram = Histogram { sum: STALE_NAN, ..Histogram::default() };
    batch.push_histogram(HistogramSample { series, time: Millis(1), histogram }, Millis(0));
    let read = decode(&encode_write_request_v2(&batch)).unwrap().batch;
    assert_eq!(read.samples[0].value.to_bits(), STALE_NAN.to_bits());
    assert_eq!(read.histograms[0].histogram.sum.to_bits(), STALE_NAN.to_bits());
}

prop_compose! {
    fn batches()(
        series in prop::collection::btree_map("[a-z]{1,4}", ("[ -~é]{0,6}", prop::collection::vec((any::<i64>(), -1e9..1e9f64, any::<i64>()), 0..4),
            prop::collection::vec((any::<i64>(), 0u32..9), 0..2), prop::collection::vec((1..i64::MAX, "[a-f0-9]{1,9}"), 0..2)), 0..4),
        help in ".{0,9}",
    ) -> MetricBatch {
        let mut batch = MetricBatch::default();
        for (name, (label, samples, histograms, exemplars)) in series {
            let series = batch.add_series(LabelSet::from_pairs([("__name__", name.as_str()), ("l", label.as_str())]));
            for (time, value, start) in samples {
                batch.push_sample(Sample { series, time: Millis(time), value }, Millis(start));
            }
            for (time, count) in histograms {
                let histogram = Histogram { count: f64::from(count), zero_count: f64::from(count), ..Histogram::default() };
                batch.push_histogram(HistogramSample { series, time: Millis(time), histogram }, Millis(time));
            }
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
        let decoded = decode(&encode_write_request_v2(&batch)).unwrap();
        prop_assert!(decoded.rejected.is_empty(), "{}", decoded.rejected);
        prop_assert_eq!(decoded.batch, batch);
    }
}
