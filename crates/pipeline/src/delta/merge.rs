//! Adding one native histogram to another: common resolution, common zero bucket, bucket by bucket.
//! Definition: the native histograms specification of Prometheus, "Merging".

use std::collections::BTreeMap;

use kenning_model::{BucketSpan, BucketWriter, Histogram, buckets};

/// Buckets of one side that a total may have; beyond it its resolution is halved, as OpenTelemetry's SDKs do.
const BUCKETS_MAX: usize = 160;
/// The coarsest resolution there is.
const SCHEMA_MIN: i32 = -4;

/// Adds `more` to `total`. False, with nothing done, when their boundaries cannot be brought together.
pub(super) fn add(total: &mut Histogram, more: &Histogram) -> bool {
    if total.zero_threshold.is_nan() || more.zero_threshold.is_nan() {
        return false;
    }
    let custom = Histogram::CUSTOM_BUCKETS;
    match (total.schema == custom, more.schema == custom) {
        (true, true) if total.custom_bounds == more.custom_bounds => add_sides(total, more),
        (false, false) => add_exponential(total, more.clone()),
        _ => return false,
    }
    total.count += more.count;
    total.sum += more.sum;
    true
}

fn add_exponential(total: &mut Histogram, mut more: Histogram) {
    let schema = total.schema.min(more.schema);
    total.reduce_resolution(schema);
    more.reduce_resolution(schema);
    // Widening one to swallow a bucket in part may make it the wider one.
    while total.zero_threshold != more.zero_threshold {
        if total.zero_threshold < more.zero_threshold {
            widen_zero(total, more.zero_threshold);
        } else {
            widen_zero(&mut more, total.zero_threshold);
        }
    }
    total.zero_count += more.zero_count;
    add_sides(total, &more);
    while total.positive.len().max(total.negative.len()) > BUCKETS_MAX && total.schema > SCHEMA_MIN {
        total.reduce_resolution(total.schema - 1);
    }
}

fn add_sides(total: &mut Histogram, more: &Histogram) {
    (total.positive_spans, total.positive) =
        sum(&total.positive_spans, &total.positive, &more.positive_spans, &more.positive);
    (total.negative_spans, total.negative) =
        sum(&total.negative_spans, &total.negative, &more.negative_spans, &more.negative);
}

fn sum(
    spans: &[BucketSpan],
    counts: &[f64],
    more_spans: &[BucketSpan],
    more_counts: &[f64],
) -> (Vec<BucketSpan>, Vec<f64>) {
    let mut by_index: BTreeMap<i64, f64> = BTreeMap::new();
    for (index, count) in buckets(spans, counts).chain(buckets(more_spans, more_counts)) {
        *by_index.entry(index).or_default() += count;
    }
    written(by_index.into_iter())
}

fn written(all: impl Iterator<Item = (i64, f64)>) -> (Vec<BucketSpan>, Vec<f64>) {
    let mut writer = BucketWriter::default();
    for (index, count) in all.filter(|(_, count)| *count != 0.0) {
        // Indices come from spans of 32 bits; what lies farther apart than one span reaches has no place.
        let _ = writer.push(index, count);
    }
    writer.finish()
}

/// Moves the buckets that begin below `threshold` into the zero bucket, whose width then reaches to the end of the last
/// populated one of them.
fn widen_zero(histogram: &mut Histogram, threshold: f64) {
    let (mut reach, mut moved) = (threshold, 0.0);
    let schema = histogram.schema;
    for (spans, counts) in
        [(&histogram.positive_spans, &histogram.positive), (&histogram.negative_spans, &histogram.negative)]
    {
        for (index, count) in buckets(spans, counts).filter(|(_, count)| *count != 0.0) {
            if lower_bound(index, schema) < threshold {
                moved += count;
                reach = reach.max(lower_bound(index + 1, schema));
            }
        }
    }
    for (spans, counts) in [
        (&mut histogram.positive_spans, &mut histogram.positive),
        (&mut histogram.negative_spans, &mut histogram.negative),
    ] {
        let kept: Vec<_> =
            buckets(spans, counts).filter(|(index, _)| lower_bound(*index, schema) >= threshold).collect();
        (*spans, *counts) = written(kept.into_iter());
    }
    histogram.zero_count += moved;
    histogram.zero_threshold = reach;
}

/// Where a bucket begins: bucket `i` is `(base^(i-1), base^i]` with a base of `2^(2^-schema)`.
fn lower_bound(index: i64, schema: i32) -> f64 {
    let below = (index - 1) as f64;
    // Whole powers are exact; the rest is as exact as the formula that defines it.
    (below * f64::from(-schema).exp2()).exp2()
}
