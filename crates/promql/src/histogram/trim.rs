//! Cutting off the part of a histogram above (`</`) or below (`>/`) a value.

use kenning_model::Histogram;

use super::buckets::{Bucket, is_custom, negative, positive, zero};
use super::spans_of;

/// What the result is made of while buckets are looked at.
struct Trimmer {
    limit: f64,
    /// Keep what lies below the limit; otherwise what lies above.
    upper: bool,
    custom: bool,
    count: f64,
    sum: f64,
    changed: bool,
}

/// The observations below (`upper`) or above a value. A cut bucket is split by interpolation; count and sum are
/// estimated anew when anything was cut.
pub(crate) fn trim(histogram: &Histogram, limit: f64, upper: bool) -> Histogram {
    let custom = is_custom(histogram.schema);
    let mut trimmer = Trimmer { limit, upper, custom, count: 0.0, sum: 0.0, changed: false };
    let populated = |counts: &[f64]| counts.iter().any(|count| *count != 0.0);
    let (has_positive, has_negative) = (populated(&histogram.positive), populated(&histogram.negative));
    let above: Vec<_> = positive(histogram).map(|(i, bucket)| (i, trimmer.bucket(&bucket, true))).collect();
    let below: Vec<_> = negative(histogram).map(|(i, bucket)| (i, trimmer.bucket(&bucket, false))).collect();
    let mut trimmed = histogram.clone();
    if histogram.zero_count > 0.0 && !custom {
        trimmed.zero_count = trimmer.zero_bucket(zero(histogram), has_positive, has_negative);
    }
    if !trimmer.changed {
        return trimmed;
    }
    (trimmed.count, trimmed.sum) = (trimmer.count, trimmer.sum);
    (trimmed.positive_spans, trimmed.positive) = spans_of(above.into_iter());
    (trimmed.negative_spans, trimmed.negative) = spans_of(below.into_iter());
    trimmed
}

impl Trimmer {
    fn keep(&mut self, before: f64, kept: f64, midpoint: f64) -> f64 {
        self.count += kept;
        self.sum += midpoint * kept;
        self.changed |= before != kept;
        kept
    }

    fn bucket(&mut self, bucket: &Bucket, is_positive: bool) -> f64 {
        if bucket.count == 0.0 {
            return 0.0;
        }
        let (whole, split) = if self.upper {
            (bucket.upper <= self.limit, bucket.lower < self.limit)
        } else {
            (bucket.lower >= self.limit, bucket.upper > self.limit)
        };
        if whole {
            let midpoint = self.midpoint(bucket.lower, bucket.upper, is_positive);
            self.keep(bucket.count, bucket.count, midpoint)
        } else if split {
            let (kept, midpoint) = self.split(bucket, is_positive);
            self.keep(bucket.count, kept, midpoint)
        } else {
            self.changed = true;
            0.0
        }
    }

    fn split(&self, bucket: &Bucket, is_positive: bool) -> (f64, f64) {
        if bucket.lower == f64::NEG_INFINITY {
            return self.split_lowest(bucket);
        }
        if bucket.upper == f64::INFINITY {
            return self.split_highest(bucket);
        }
        let under = bucket.count * bucket.fraction_below(self.limit, self.custom);
        if self.upper {
            (under, self.midpoint(bucket.lower, self.limit, is_positive))
        } else {
            (bucket.count - under, self.midpoint(self.limit, bucket.upper, is_positive))
        }
    }

    /// A bucket from minus infinity is taken to begin at zero if it ends above, else nothing is known about it.
    fn split_lowest(&self, bucket: &Bucket) -> (f64, f64) {
        let (limit, upper) = (self.limit, bucket.upper);
        let finite_upper = if upper.is_infinite() { 0.0 } else { upper };
        if self.upper {
            if limit >= upper {
                (bucket.count, 0.0)
            } else if limit > 0.0 && upper > 0.0 && upper.is_finite() {
                (bucket.count * limit / upper, limit / 2.0)
            } else if upper <= 0.0 {
                (bucket.count, limit)
            } else {
                (0.0, finite_upper)
            }
        } else if limit >= 0.0 && upper > limit && upper.is_finite() {
            (bucket.count * (1.0 - limit / upper), f64::midpoint(limit, upper))
        } else {
            (0.0, finite_upper)
        }
    }

    /// Nothing is known about where observations lie in a bucket up to infinity: all stay, or none.
    fn split_highest(&self, bucket: &Bucket) -> (f64, f64) {
        if !self.upper && self.limit >= bucket.lower {
            (bucket.count, self.limit)
        } else {
            (0.0, bucket.lower)
        }
    }

    fn zero_bucket(&mut self, bucket: Bucket, has_positive: bool, has_negative: bool) -> f64 {
        let lower = if has_positive && !has_negative { 0.0 } else { bucket.lower };
        let upper = if has_negative && !has_positive { 0.0 } else { bucket.upper };
        let limit = self.limit;
        let inside = lower < limit && limit < upper;
        let (kept, midpoint) = if inside && self.upper {
            (bucket.count * (limit - lower) / (upper - lower), f64::midpoint(lower, limit))
        } else if inside {
            (bucket.count * (upper - limit) / (upper - lower), f64::midpoint(limit, upper))
        } else if (limit <= lower) == self.upper {
            (0.0, 0.0)
        } else {
            (bucket.count, f64::midpoint(lower, upper))
        };
        self.keep(bucket.count, kept, midpoint)
    }

    /// Where observations between two values lie on average.
    fn midpoint(&self, lower: f64, upper: f64, is_positive: bool) -> f64 {
        match (lower.is_infinite(), upper.is_infinite()) {
            (true, true) => 0.0,
            (true, false) if upper > 0.0 => upper / 2.0,
            (true, false) => upper,
            (false, true) => lower,
            (false, false) if self.custom => f64::midpoint(lower, upper),
            (false, false) => {
                let mean = (lower * upper).abs().sqrt();
                if is_positive { mean } else { -mean }
            }
        }
    }
}
