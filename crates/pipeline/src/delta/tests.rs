use kenning_model::{BucketSpan, HistogramSample, Sample, buckets, start_at};
use proptest::prelude::*;

use super::*;

const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);
const IDLE: Duration = Duration::from_secs(3600);

fn totals() -> Totals {
    Totals::new(Some(10), IDLE, [1, 2], Duration::ZERO)
}

/// A batch with one delta point of the given series; `values` has one sample each.
fn floats(names: &[&str], values: &[f64], start: i64, time: i64) -> MetricBatch {
    let mut batch = MetricBatch::default();
    for (name, value) in names.iter().zip(values) {
        let series = batch.add_series(LabelSet::from_pairs([("__name__", *name)]));
        batch.push_sample(Sample { series, time: Millis(time), value: *value }, Millis(start));
    }
    let data = DeltaData::Samples { first: 0, count: values.len() as u32 };
    batch.deltas.push(DeltaPoint { start: Millis(start), data });
    batch
}

fn native(histogram: Histogram, start: i64, time: i64) -> MetricBatch {
    let mut batch = MetricBatch::default();
    let series = batch.add_series(LabelSet::from_pairs([("__name__", "h")]));
    batch.push_histogram(HistogramSample { series, time: Millis(time), histogram }, Millis(start));
    batch.deltas.push(DeltaPoint { start: Millis(start), data: DeltaData::Histogram(0) });
    batch
}

/// What a batch becomes: value and start of each sample, and the reasons of what was refused.
fn applied(totals: &mut Totals, mut batch: MetricBatch) -> (Vec<(f64, i64)>, Vec<Reason>) {
    let mut rejected = Rejected::default();
    totals.apply(&mut batch, Duration::ZERO, |_| true, &mut rejected);
    assert!(batch.deltas.is_empty());
    let values = batch.samples.iter().enumerate().map(|(at, s)| (s.value, start_at(&batch.starts, at).0));
    (values.collect(), rejected.iter().map(|(reason, ..)| reason).collect())
}

/// Points of one series in turn: start, time, amount; and the total and start expected, or `None` when refused.
#[track_caller]
fn check(points: &[(i64, i64, f64)], expect: &[Option<(f64, i64)>]) {
    let mut totals = totals();
    for ((start, time, amount), expect) in points.iter().zip(expect) {
        let (values, reasons) = applied(&mut totals, floats(&["c"], &[*amount], *start, *time));
        assert_eq!(values.first().copied(), *expect, "{points:?} at {time}: {reasons:?}");
        let refused = if expect.is_none() { vec![Reason::OutOfOrder] } else { Vec::new() };
        assert_eq!(reasons, refused);
    }
}

#[test]
fn amounts_are_added_up() {
    check(
        &[(10, 20, 1.0), (20, 30, 2.0), (30, 40, 3.0)],
        &[Some((1.0, 10)), Some((3.0, 10)), Some((6.0, 10))],
    );
    // Non-monotonic sums go down again.
    check(&[(10, 20, 5.0), (20, 30, -2.0)], &[Some((5.0, 10)), Some((3.0, 10))]);
    // Without start times, and with a gap.
    check(&[(0, 20, 1.0), (0, 90, 2.0)], &[Some((1.0, 0)), Some((3.0, 0))]);
}

#[test]
fn late_and_repeated_points_are_refused() {
    check(&[(10, 20, 1.0), (10, 20, 1.0), (20, 30, 1.0)], &[Some((1.0, 10)), None, Some((2.0, 10))]);
    check(&[(10, 20, 1.0), (15, 19, 1.0)], &[Some((1.0, 10)), None]);
    check(&[(10, 20, 1.0), (9, 30, 1.0)], &[Some((1.0, 10)), None]);
}

#[test]
fn stale_markers_add_nothing() {
    let mut totals = totals();
    assert_eq!(applied(&mut totals, floats(&["c"], &[2.0], 1, 2)).0, [(2.0, 1)]);
    assert_eq!(applied(&mut totals, floats(&["c"], &[STALE], 2, 3)).0[0].0.to_bits(), STALE.to_bits());
    assert_eq!(applied(&mut totals, floats(&["c"], &[2.0], 3, 4)).0, [(4.0, 1)]);
}

#[test]
fn a_classic_histogram_with_other_boundaries_starts_anew() {
    let mut totals = totals();
    let one = ["h_count", "h_bucket1", "h_inf"];
    assert_eq!(applied(&mut totals, floats(&one, &[3.0, 1.0, 3.0], 1, 2)).0, [(3.0, 1), (1.0, 1), (3.0, 1)]);
    assert_eq!(applied(&mut totals, floats(&one, &[1.0, 0.0, 1.0], 2, 3)).0, [(4.0, 1), (1.0, 1), (4.0, 1)]);
    let other = ["h_count", "h_bucket2", "h_inf"];
    assert_eq!(
        applied(&mut totals, floats(&other, &[5.0, 2.0, 5.0], 3, 4)).0,
        [(5.0, 3), (2.0, 3), (5.0, 3)]
    );
    assert_eq!(totals.len(), 1);
}

#[test]
fn streams_beyond_the_bound_are_refused_until_others_fall_silent() {
    let mut totals = Totals::new(Some(1), IDLE, [1, 2], Duration::ZERO);
    assert_eq!(applied(&mut totals, floats(&["a"], &[1.0], 1, 2)).1, []);
    assert_eq!(applied(&mut totals, floats(&["b"], &[1.0], 1, 2)), (vec![], vec![Reason::TooManySeries]));
    assert_eq!(applied(&mut totals, floats(&["a"], &[1.0], 2, 3)).0, [(2.0, 1)]);
    let mut rejected = Rejected::default();
    let mut batch = floats(&["b"], &[7.0], 5, 6);
    totals.apply(&mut batch, IDLE, |_| true, &mut rejected);
    assert_eq!((rejected.total(), batch.samples[0].value, totals.len()), (0, 7.0, 1));
}

#[test]
fn stamps_outside_the_window_do_not_touch_the_total() {
    let mut totals = totals();
    let mut batch = floats(&["a"], &[1.0], 1, 999_999);
    totals.apply(&mut batch, Duration::ZERO, |time| time.0 < 1000, &mut Rejected::default());
    assert_eq!((totals.len(), batch.samples.len()), (0, 1));
}

#[test]
fn what_was_not_stored_is_taken_back() {
    let mut totals = totals();
    let apply = |totals: &mut Totals, start, time| {
        let mut batch = floats(&["a"], &[1.0], start, time);
        let undo = totals.apply(&mut batch, Duration::ZERO, |_| true, &mut Rejected::default());
        (batch.samples.first().map(|sample| sample.value), undo)
    };
    let (value, undo) = apply(&mut totals, 1, 2);
    assert_eq!(value, Some(1.0));
    totals.undo(undo);
    assert_eq!(totals.len(), 0);
    assert_eq!(apply(&mut totals, 1, 2).0, Some(1.0));
    let (_, failed) = apply(&mut totals, 2, 3);
    assert_eq!(apply(&mut totals, 3, 4).0, Some(3.0));
    // The later point carries the amount already, so the retry of the failed one must not add it again.
    totals.undo(failed);
    assert_eq!(apply(&mut totals, 2, 3).0, None);
    assert_eq!(apply(&mut totals, 4, 5).0, Some(4.0));
}

#[test]
fn points_are_dropped_from_between_others() {
    let mut totals = totals();
    applied(&mut totals, floats(&["b"], &[1.0], 1, 5));
    let mut batch = floats(&["a", "b", "c"], &[1.0, 2.0, 3.0], 2, 4);
    batch.deltas = (0..3)
        .map(|first| DeltaPoint { start: Millis(2), data: DeltaData::Samples { first, count: 1 } })
        .collect();
    assert_eq!(applied(&mut totals, batch), (vec![(1.0, 2), (3.0, 2)], vec![Reason::OutOfOrder]));
}

#[test]
fn points_that_point_nowhere_do_nothing() {
    let mut batch = MetricBatch::default();
    for data in [DeltaData::Histogram(7), DeltaData::Samples { first: 1, count: u32::MAX }] {
        batch.deltas.push(DeltaPoint { start: Millis(0), data });
    }
    assert_eq!(applied(&mut totals(), batch), (vec![], vec![]));
}

fn exponential(schema: i32, from: i32, counts: &[f64]) -> Histogram {
    let count = counts.iter().sum();
    Histogram {
        schema,
        zero_threshold: 1e-128,
        count,
        sum: count,
        positive_spans: vec![BucketSpan { offset: from, length: counts.len() as u32 }],
        positive: counts.to_vec(),
        ..Histogram::default()
    }
}

/// The total of two histograms.
fn sum(one: Histogram, two: Histogram) -> Histogram {
    let mut totals = totals();
    let mut first = native(one, 1, 2);
    totals.apply(&mut first, Duration::ZERO, |_| true, &mut Rejected::default());
    let mut second = native(two, 2, 3);
    totals.apply(&mut second, Duration::ZERO, |_| true, &mut Rejected::default());
    second.histograms.remove(0).histogram
}

fn positive(histogram: &Histogram) -> Vec<(i64, f64)> {
    buckets(&histogram.positive_spans, &histogram.positive).filter(|(_, count)| *count != 0.0).collect()
}

#[test]
fn native_histograms_meet_at_the_coarser_resolution() {
    let total = sum(exponential(1, 1, &[1.0, 2.0]), exponential(0, 1, &[4.0, 8.0]));
    assert_eq!((total.schema, total.count, positive(&total)), (0, 15.0, vec![(1, 7.0), (2, 8.0)]));
}

#[test]
fn the_wider_zero_bucket_swallows_what_it_covers() {
    // Buckets (1, 2], (2, 4] and a zero bucket that ends inside the second.
    let wide = Histogram { zero_threshold: 3.0, zero_count: 5.0, count: 5.0, ..exponential(0, 9, &[]) };
    let total = sum(exponential(0, 1, &[1.0, 2.0, 4.0]), Histogram { positive_spans: vec![], ..wide });
    assert_eq!((total.zero_threshold, total.zero_count, total.count), (4.0, 8.0, 12.0));
    assert_eq!(positive(&total), [(3, 4.0)]);
}

#[test]
fn a_total_with_too_many_buckets_loses_resolution() {
    let total = sum(exponential(8, 0, &[1.0; 150]), exponential(8, 150, &[1.0; 150]));
    assert!(total.positive.len() <= 160 && total.schema == 7, "{}", total.schema);
    assert_eq!(positive(&total).iter().map(|(_, count)| count).sum::<f64>(), 300.0);
}

#[test]
fn custom_boundaries_add_up_or_start_anew() {
    let custom = |bounds: &[f64]| Histogram {
        schema: Histogram::CUSTOM_BUCKETS,
        custom_bounds: bounds.to_vec(),
        zero_threshold: 0.0,
        ..exponential(0, 0, &[1.0, 2.0])
    };
    assert_eq!(sum(custom(&[1.0]), custom(&[1.0])).positive, [2.0, 4.0]);
    assert_eq!(sum(custom(&[1.0]), custom(&[2.0])).positive, [1.0, 2.0]);
    assert_eq!(sum(custom(&[1.0]), exponential(0, 0, &[1.0, 2.0])).positive, [1.0, 2.0]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the resolutions, nothing that was counted is lost.
    #[test]
    fn counts_are_kept(points in prop::collection::vec(
        (-4i32..9, -500i32..500, prop::collection::vec(0u8..9, 1..50), 0..3usize), 1..8,
    )) {
        let (mut totals, mut counted) = (totals(), 0.0);
        for (at, (schema, from, counts, zero)) in points.iter().enumerate() {
            let counts: Vec<f64> = counts.iter().map(|n| f64::from(*n)).collect();
            let zero_threshold = [1e-128, 0.5, 3.0][*zero];
            let point = Histogram { zero_threshold, ..exponential(*schema, *from, &counts) };
            counted += point.count;
            let time = at as i64;
            let mut batch = native(point, time + 1, time + 2);
            totals.apply(&mut batch, Duration::ZERO, |_| true, &mut Rejected::default());
            let total = &batch.histograms[0].histogram;
            let held = total.zero_count + total.positive.iter().sum::<f64>();
            prop_assert_eq!((total.count, held), (counted, counted));
            prop_assert!(total.positive.len() <= 160 || total.schema == -4);
            let told: u32 = total.positive_spans.iter().map(|span| span.length).sum();
            prop_assert_eq!(told as usize, total.positive.len());
        }
    }
}
