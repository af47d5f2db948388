//! Bucket boundaries and the buckets of a histogram in order.

use std::fmt;
use std::sync::LazyLock;

use kenning_model::{BucketSpan, Histogram};

use crate::text::general;

/// Finest exponential schema: 2^8 buckets per power of two.
const SCHEMA_MAX: i32 = 8;
/// Coarsest exponential schema.
const SCHEMA_MIN: i32 = -4;

pub(crate) const fn is_custom(schema: i32) -> bool {
    schema == Histogram::CUSTOM_BUCKETS
}

/// A bucket with its boundaries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Lower boundary.
    pub lower: f64,
    /// Upper boundary.
    pub upper: f64,
    /// True when the lower boundary belongs to the bucket.
    pub lower_inclusive: bool,
    /// True when the upper boundary belongs to the bucket.
    pub upper_inclusive: bool,
    /// Observations.
    pub count: f64,
}

impl Bucket {
    /// Prometheus's number for which boundaries belong to the bucket: 0 upper, 1 lower, 2 none, 3 both.
    #[must_use]
    pub const fn boundaries(&self) -> i64 {
        match (self.lower_inclusive, self.upper_inclusive) {
            (false, true) => 0,
            (true, false) => 1,
            (false, false) => 2,
            (true, true) => 3,
        }
    }

    /// How much of the bucket lies below a value inside of it.
    pub(crate) fn fraction_below(&self, value: f64, linear: bool) -> f64 {
        if linear {
            return (value - self.lower) / (self.upper - self.lower);
        }
        let (lower, upper, value_log) =
            (self.lower.abs().log2(), self.upper.abs().log2(), value.abs().log2());
        if value > 0.0 {
            (value_log - lower) / (upper - lower)
        } else {
            1.0 - (value_log - upper) / (lower - upper)
        }
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) =
            (if self.lower_inclusive { '[' } else { '(' }, if self.upper_inclusive { ']' } else { ')' });
        let (lower, upper) = (general(self.lower), general(self.upper));
        write!(f, "{open}{lower},{upper}{close}:{}", general(self.count))
    }
}

/// Every bucket of a histogram from the lowest to the highest, the zero bucket included if it has observations.
/// Boundaries within the zero bucket are moved to its edge.
#[must_use]
pub fn histogram_buckets(histogram: &Histogram) -> Vec<Bucket> {
    let threshold = histogram.zero_threshold;
    let mut buckets: Vec<_> = negative(histogram).map(|(_, bucket)| clipped(bucket, threshold)).collect();
    buckets.reverse();
    if histogram.zero_count > 0.0 && !is_custom(histogram.schema) {
        buckets.push(zero(histogram));
    }
    buckets.extend(positive(histogram).map(|(_, bucket)| clipped(bucket, threshold)));
    buckets
}

fn clipped(mut bucket: Bucket, threshold: f64) -> Bucket {
    if bucket.upper < 0.0 && bucket.upper > -threshold {
        bucket.upper = -threshold;
    } else if bucket.lower > 0.0 && bucket.lower < threshold {
        bucket.lower = threshold;
    }
    bucket
}

/// The zero bucket.
pub(super) fn zero(histogram: &Histogram) -> Bucket {
    Bucket {
        lower: -histogram.zero_threshold,
        upper: histogram.zero_threshold,
        lower_inclusive: true,
        upper_inclusive: true,
        count: histogram.zero_count,
    }
}

/// Positive buckets from zero outwards, with their index.
pub(super) fn positive(histogram: &Histogram) -> impl Iterator<Item = (i32, Bucket)> {
    indexed(&histogram.positive_spans, &histogram.positive).map(|(index, count)| {
        let (schema, bounds) = (histogram.schema, histogram.custom_bounds.as_slice());
        let (lower, upper) = (bound(index.wrapping_sub(1), schema, bounds), bound(index, schema, bounds));
        let (lower_inclusive, upper_inclusive) =
            if is_custom(schema) { (index == 0, true) } else { (lower < 0.0, upper > 0.0) };
        (index, Bucket { lower, upper, lower_inclusive, upper_inclusive, count })
    })
}

/// Negative buckets from zero outwards, with their index.
pub(super) fn negative(histogram: &Histogram) -> impl Iterator<Item = (i32, Bucket)> {
    indexed(&histogram.negative_spans, &histogram.negative).map(|(index, count)| {
        let schema = histogram.schema;
        let (lower, upper) = (-bound(index, schema, &[]), -bound(index.wrapping_sub(1), schema, &[]));
        (index, Bucket { lower, upper, lower_inclusive: lower < 0.0, upper_inclusive: upper > 0.0, count })
    })
}

/// Counts with the index of their bucket. Spans and counts that do not fit together end at the shorter one.
pub(super) fn indexed<'a>(
    spans: &'a [BucketSpan],
    counts: &'a [f64],
) -> impl Iterator<Item = (i32, f64)> + 'a {
    let mut next = 0i32;
    let indexes = spans.iter().flat_map(move |span| {
        let first = next.wrapping_add(span.offset);
        next = first.wrapping_add_unsigned(span.length);
        (0..span.length).map(move |i| first.wrapping_add_unsigned(i))
    });
    indexes.zip(counts.iter().copied())
}

/// The index at a coarser schema.
pub(super) const fn target_index(index: i32, from: i32, to: i32) -> i32 {
    let shift = from - to;
    (index.wrapping_sub(1) >> if shift > 31 { 31 } else { shift }).wrapping_add(1)
}

/// Upper boundary of a bucket in absolute value; for custom buckets the boundary itself.
pub(super) fn bound(index: i32, schema: i32, custom_bounds: &[f64]) -> f64 {
    if is_custom(schema) {
        return match usize::try_from(index) {
            Err(_) => f64::NEG_INFINITY,
            Ok(i) => custom_bounds.get(i).copied().unwrap_or(f64::INFINITY),
        };
    }
    let schema = schema.clamp(SCHEMA_MIN, SCHEMA_MAX);
    if schema < 0 {
        return power_of_two(0.5, (i64::from(index) << -schema) + 1);
    }
    let within = index & ((1 << schema) - 1);
    let position = usize::try_from(within << (SCHEMA_MAX - schema)).unwrap_or(0);
    let fraction = FRACTIONS.get(position).copied().unwrap_or(0.5);
    power_of_two(fraction, i64::from(index >> schema) + 1)
}

/// `fraction * 2^exponent` for a fraction in [0.5, 1). The last regular bucket ends at the greatest number, so that only
/// infinities fall into the one above it.
fn power_of_two(fraction: f64, exponent: i64) -> f64 {
    match exponent {
        1025 if fraction == 0.5 => f64::MAX,
        1025.. => f64::INFINITY,
        1024 => fraction * 2.0 * f64::from_bits(((1023 + 1023) as u64) << 52),
        -1021..=1023 => fraction * f64::from_bits(((exponent + 1023) as u64) << 52),
        // Two steps, so that subnormal results are rounded once.
        -1100..=-1022 => fraction * f64::from_bits(((exponent + 1023 + 200) as u64) << 52) * 2f64.powi(-200),
        _ => 0.0,
    }
}

/// From one boundary to the next at the schemas 1 to 8. The first is one unit in the last place below the root of two:
/// so it was when Prometheus's table of boundaries was made, and that table is what everybody has.
#[expect(clippy::approx_constant, reason = "not the root of two, see above")]
const FACTORS: [f64; SCHEMA_MAX as usize] = [
    1.414_213_562_373_095,
    1.189_207_115_002_721,
    1.090_507_732_665_257_7,
    1.044_273_782_427_413_8,
    1.021_897_148_654_116_6,
    1.010_889_286_051_700_5,
    1.005_429_901_112_802_7,
    1.002_711_275_050_202_5,
];

/// Boundaries in [0.5, 1) at the finest schema: at each schema every second one is that of the schema before, and those
/// in between are the one before times the factor.
static FRACTIONS: LazyLock<Vec<f64>> = LazyLock::new(|| {
    FACTORS.iter().fold(vec![0.5], |coarse, factor| coarse.iter().flat_map(|b| [*b, b * factor]).collect())
});

/// `{count:2, sum:3, (1,2]:2}`, as `count_values` labels a histogram.
pub(crate) fn describe(histogram: &Histogram) -> String {
    let mut text = format!("{{count:{}, sum:{}", general(histogram.count), general(histogram.sum));
    let mut below: Vec<_> = negative(histogram).map(|(_, bucket)| bucket).collect();
    below.reverse();
    let zero = Some(zero(histogram)).filter(|_| !is_custom(histogram.schema));
    for bucket in below.into_iter().chain(zero).chain(positive(histogram).map(|(_, bucket)| bucket)) {
        if bucket.count != 0.0 {
            text += &format!(", {bucket}");
        }
    }
    text + "}"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries() {
        let check = |index, schema, expect| assert_eq!(bound(index, schema, &[]), expect, "{index} {schema}");
        check(0, 0, 1.0);
        check(1, 0, 2.0);
        check(-1, 0, 0.5);
        check(1, 1, FACTORS[0]);
        check(-1, 1, 0.707_106_781_186_547_5);
        check(1, -1, 4.0);
        check(1024, 0, f64::MAX);
        check(1025, 0, f64::INFINITY);
        check(-1074, 0, 5e-324);
        check(1, 2, 1.189_207_115_002_721);
        check(-1, 8, 0.9972960560854698);
        check(-100, 8, 0.762799075372269);
        check(1023, 0, 2f64.powi(1023));

        check(-1022, 0, f64::MIN_POSITIVE);
    }

    #[test]
    fn coarser_indexes() {
        assert_eq!([-2, -1, 0, 1, 2, 3].map(|i| target_index(i, 1, 0)), [-1, 0, 0, 1, 1, 2]);
    }
}
