//! Quantiles and fractions of native histograms.

use kenning_model::Histogram;

use super::buckets::{Bucket, histogram_buckets, is_custom};

/// What a reader of the result should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// NaN was observed, and the quantile lies there.
    QuantileIsNan,
    /// NaN was observed, which counts as greater than everything.
    QuantileIsSkewed,
    /// NaN was observed and lies in no fraction.
    FractionLeavesOutNan,
}

/// The value below which the share `q` of observations lies. Within a bucket, observations are taken to be spread
/// evenly: on a logarithmic scale in exponential buckets, on a linear one in custom buckets and the zero bucket.
pub(crate) fn quantile(q: f64, histogram: &Histogram) -> (f64, Option<Note>) {
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if histogram.count == 0.0 || q.is_nan() {
        return (f64::NAN, None);
    }
    let buckets = histogram_buckets(histogram);
    // NaN observations are in the count but in no bucket, so then only counting from below is right.
    let forward = histogram.sum.is_nan() || q < 0.5;
    let share = if forward { q } else { 1.0 - q };
    let rank = share * histogram.count;
    let ordered: Box<dyn Iterator<Item = &Bucket>> =
        if forward { Box::new(buckets.iter()) } else { Box::new(buckets.iter().rev()) };
    let mut rest = ordered.filter(|bucket| bucket.count != 0.0);
    let (mut count, mut found) = (0.0, None);
    for bucket in rest.by_ref() {
        count += bucket.count;
        found = Some(*bucket);
        if count >= rank {
            break;
        }
    }
    let Some(mut bucket) = found else { return (f64::NAN, None) };
    if let Some(edge) = settle_bounds(&mut bucket, histogram) {
        return (edge, None);
    }
    let count = count.min(histogram.count);
    if count < rank {
        return if histogram.sum.is_nan() {
            (f64::NAN, Some(Note::QuantileIsNan))
        } else {
            (bucket.upper, None)
        };
    }
    let rank = if forward { rank - (count - bucket.count) } else { count - rank };
    let in_buckets = count + rest.map(|bucket| bucket.count).sum::<f64>();
    let skewed = histogram.sum.is_nan() && in_buckets < histogram.count;
    (interpolate(&bucket, rank / bucket.count, histogram), skewed.then_some(Note::QuantileIsSkewed))
}

/// Moves boundaries to zero where observations cannot lie beyond it. Some value: the answer, since the bucket has no
/// other finite boundary.
fn settle_bounds(bucket: &mut Bucket, histogram: &Histogram) -> Option<f64> {
    if is_custom(histogram.schema) {
        if bucket.lower == f64::NEG_INFINITY {
            if bucket.upper <= 0.0 {
                return Some(bucket.upper);
            }
            bucket.lower = 0.0;
        } else if bucket.upper == f64::INFINITY {
            return Some(bucket.lower);
        }
    } else if bucket.lower < 0.0 && bucket.upper > 0.0 {
        narrow_zero_bucket(bucket, histogram);
    }
    None
}

/// With only positive (negative) buckets beside it, the zero bucket is taken to hold nothing below (above) zero.
fn narrow_zero_bucket(bucket: &mut Bucket, histogram: &Histogram) {
    if histogram.negative.is_empty() && !histogram.positive.is_empty() {
        bucket.lower = 0.0;
    } else if histogram.positive.is_empty() && !histogram.negative.is_empty() {
        bucket.upper = 0.0;
    }
}

fn interpolate(bucket: &Bucket, fraction: f64, histogram: &Histogram) -> f64 {
    if is_custom(histogram.schema) || (bucket.lower <= 0.0 && bucket.upper >= 0.0) {
        return bucket.lower + (bucket.upper - bucket.lower) * fraction;
    }
    let (lower, upper) = (bucket.lower.abs().log2(), bucket.upper.abs().log2());
    if bucket.lower > 0.0 {
        (lower + (upper - lower) * fraction).exp2()
    } else {
        -(upper + (lower - upper) * (1.0 - fraction)).exp2()
    }
}

/// The share of observations between two values.
pub(crate) fn fraction(lower: f64, upper: f64, histogram: &Histogram) -> (f64, Option<Note>) {
    if histogram.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return (f64::NAN, None);
    }
    if lower >= upper {
        return (0.0, None);
    }
    let buckets = histogram_buckets(histogram);
    let in_buckets: f64 = buckets.iter().map(|bucket| bucket.count).sum();
    let has_nan = histogram.sum.is_nan();
    let total = if has_nan { in_buckets } else { histogram.count };
    let rank = |value| rank_below(value, &buckets, histogram).unwrap_or(total).min(total);
    let note = (has_nan && in_buckets < histogram.count).then_some(Note::FractionLeavesOutNan);
    ((rank(upper) - rank(lower)) / histogram.count, note)
}

/// How many observations lie below a value; `None` when that is all of them.
fn rank_below(value: f64, buckets: &[Bucket], histogram: &Histogram) -> Option<f64> {
    let custom = is_custom(histogram.schema);
    let mut rank = 0.0;
    for bucket in buckets {
        let mut bucket = *bucket;
        let holds_zero = bucket.lower <= 0.0 && bucket.upper >= 0.0;
        if holds_zero {
            narrow_zero_bucket(&mut bucket, histogram);
        }
        if bucket.lower >= value {
            return Some(rank);
        }
        if bucket.upper > value {
            // Nothing is known about where observations lie within an infinite bucket.
            let linear = custom || holds_zero;
            return Some(if linear && bucket.lower == f64::NEG_INFINITY {
                bucket.count
            } else {
                rank + bucket.count * bucket.fraction_below(value, linear)
            });
        }
        rank += bucket.count;
    }
    None
}
