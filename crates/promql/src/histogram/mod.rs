//! Arithmetic on native histograms.
//!
//! [`Wide`] is the working form: buckets by index with a compensation term each, so that sums of many histograms lose
//! no more than one rounding (Neumaier). Definitions: Prometheus's native histograms specification and its engine.

mod buckets;
mod classic;
mod quantile;
mod reset;
mod trim;

use kenning_model::{BucketSpan, CounterReset, Histogram};

pub use buckets::{Bucket, histogram_buckets};
pub(crate) use buckets::{describe, is_custom};
pub(crate) use classic::{ClassicBucket, classic_fraction, classic_quantile};
pub(crate) use quantile::{Note, fraction, quantile};
pub use reset::annotate_resets;
pub(crate) use reset::{is_reset, mark_resets};
pub(crate) use trim::trim;

use crate::kahan::Sum;
use buckets::{bound, indexed, target_index};

/// Two histograms that cannot be combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WideError {
    /// One has exponential, the other custom buckets.
    MixedSchemas,
}

/// What had to be settled to combine two histograms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// One said that the counter was reset, the other that it was not.
    pub reset_conflict: bool,
    /// Custom bounds differed; only those in both remain.
    pub bounds: bool,
}

#[derive(Clone, Copy, Debug)]
struct WideBucket {
    index: i32,
    count: Sum,
}

/// A histogram in the form that sums are made in.
#[derive(Clone, Debug)]
pub struct Wide {
    reset: CounterReset,
    schema: i32,
    zero_threshold: f64,
    zero_count: Sum,
    count: Sum,
    sum: Sum,
    positive: Vec<WideBucket>,
    negative: Vec<WideBucket>,
    custom_bounds: Vec<f64>,
}

impl Wide {
    /// The working form of a histogram.
    #[must_use]
    pub fn new(histogram: &Histogram) -> Self {
        let widen = |spans: &[BucketSpan], counts: &[f64]| {
            indexed(spans, counts)
                .map(|(index, count)| WideBucket { index, count: Sum::new(count) })
                .collect()
        };
        Self {
            reset: histogram.reset,
            schema: histogram.schema,
            zero_threshold: histogram.zero_threshold,
            zero_count: Sum::new(histogram.zero_count),
            count: Sum::new(histogram.count),
            sum: Sum::new(histogram.sum),
            positive: widen(&histogram.positive_spans, &histogram.positive),
            negative: widen(&histogram.negative_spans, &histogram.negative),
            custom_bounds: histogram.custom_bounds.clone(),
        }
    }

    /// Nothing observed, with the bucket layout of another histogram.
    #[must_use]
    pub fn empty_like(histogram: &Histogram) -> Histogram {
        Histogram {
            schema: histogram.schema,
            custom_bounds: histogram.custom_bounds.clone(),
            ..Histogram::default()
        }
    }

    /// Adds another histogram. Schemas, zero buckets and custom bounds are brought to what both can express.
    pub fn add(&mut self, other: &Histogram) -> Result<Reconciled, WideError> {
        self.add_scaled(other, 1.0)
    }

    /// Subtracts another histogram.
    pub fn sub(&mut self, other: &Histogram) -> Result<Reconciled, WideError> {
        self.add_scaled(other, -1.0)
    }

    /// Adds `sign` (1 or -1) times another histogram.
    pub fn add_scaled(&mut self, other: &Histogram, sign: f64) -> Result<Reconciled, WideError> {
        if is_custom(self.schema) != is_custom(other.schema) {
            return Err(WideError::MixedSchemas);
        }
        let mut reconciled = Reconciled { reset_conflict: self.join_reset(other.reset), bounds: false };
        let mut other = Self::new(other);
        if is_custom(self.schema) {
            reconciled.bounds = self.join_custom_bounds(&mut other);
        } else {
            let schema = self.schema.min(other.schema);
            self.join_zero_buckets(&mut other);
            self.reduce(schema);
            other.reduce(schema);
            // At the coarser schema a bucket can reach from the zero bucket outwards; it is kept whole.
        }
        self.zero_count.add(sign * other.zero_count.value());
        self.count.add(sign * other.count.value());
        self.sum.add(sign * other.sum.value());
        merge(&mut self.positive, &other.positive, sign);
        merge(&mut self.negative, &other.negative, sign);
        Ok(reconciled)
    }

    /// Multiplies everything.
    pub fn scale(&mut self, factor: f64) {
        self.for_each_sum(|sum| sum.scale(factor));
        if factor < 0.0 {
            self.reset = CounterReset::Gauge;
        }
    }

    /// Divides everything. Division by zero removes the buckets.
    pub fn divide(&mut self, divisor: f64) {
        if divisor == 0.0 {
            self.positive.clear();
            self.negative.clear();
        }
        self.for_each_sum(|sum| sum.divide(divisor));
        if divisor < 0.0 {
            self.reset = CounterReset::Gauge;
        }
    }

    fn for_each_sum(&mut self, mut change: impl FnMut(&mut Sum)) {
        change(&mut self.zero_count);
        change(&mut self.count);
        change(&mut self.sum);
        self.positive.iter_mut().chain(&mut self.negative).for_each(|bucket| change(&mut bucket.count));
    }

    /// True when some number became infinite.
    #[must_use]
    pub fn has_overflow(&self) -> bool {
        let buckets = self.positive.iter().chain(&self.negative).map(|bucket| bucket.count);
        let mut all = buckets.chain([self.zero_count, self.count, self.sum]);
        all.any(|sum| sum.value().is_infinite()) || self.custom_bounds.iter().any(|bound| bound.is_infinite())
    }

    /// Reduces the resolution to `schema`, if that is lower.
    pub fn reduce(&mut self, schema: i32) {
        if is_custom(self.schema) || is_custom(schema) || schema >= self.schema {
            return;
        }
        for buckets in [&mut self.positive, &mut self.negative] {
            for bucket in buckets.iter_mut() {
                bucket.index = target_index(bucket.index, self.schema, schema);
            }
            buckets.dedup_by(|next, kept| {
                let same = next.index == kept.index;
                if same {
                    kept.count.absorb(next.count);
                }
                same
            });
        }
        self.schema = schema;
    }

    /// The histogram, without empty buckets.
    #[must_use]
    pub fn finish(self) -> Histogram {
        let (positive_spans, positive) = narrow(&self.positive);
        let (negative_spans, negative) = narrow(&self.negative);
        Histogram {
            reset: self.reset,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero_count.value(),
            count: self.count.value(),
            sum: self.sum.value(),
            positive_spans,
            positive,
            negative_spans,
            negative,
            custom_bounds: self.custom_bounds,
        }
    }

    /// The same, marked as a gauge: differences and rates can go down.
    #[must_use]
    pub fn finish_gauge(mut self) -> Histogram {
        self.reset = CounterReset::Gauge;
        self.finish()
    }

    /// True when the two hints contradict each other.
    fn join_reset(&mut self, other: CounterReset) -> bool {
        use CounterReset::{Gauge, No, Unknown, Yes};
        let (joined, conflict) = match (self.reset, other) {
            (mine, theirs) if mine == theirs => (mine, false),
            (Gauge, _) | (_, Gauge) => (Gauge, false),
            (Yes, No) | (No, Yes) => (Unknown, true),
            _ => (Unknown, false),
        };
        self.reset = joined;
        conflict
    }

    /// Widens the zero buckets until both have the same threshold and neither cuts through a populated bucket.
    fn join_zero_buckets(&mut self, other: &mut Self) {
        // Each round moves one threshold outwards to a bucket boundary, of which there are finitely many.
        for _ in
            0..=self.positive.len() + self.negative.len() + other.positive.len() + other.negative.len() + 1
        {
            if self.zero_threshold == other.zero_threshold {
                return;
            }
            if self.zero_threshold > other.zero_threshold {
                other.widen_zero_bucket(self.zero_threshold);
            } else {
                self.widen_zero_bucket(other.zero_threshold);
            }
        }
    }

    /// Moves all buckets that begin below `threshold` into the zero bucket; the threshold moves out further when it
    /// lies within a populated bucket.
    fn widen_zero_bucket(&mut self, threshold: f64) {
        let mut threshold = threshold;
        let schema = self.schema;
        let inside = |bucket: &WideBucket, threshold: f64| bound(bucket.index - 1, schema, &[]) < threshold;
        loop {
            let overlapping = self.positive.iter().chain(&self.negative);
            let overlapping = overlapping.filter(|b| inside(b, threshold) && b.count.value() != 0.0);
            let upper = overlapping.map(|b| bound(b.index, schema, &[])).fold(threshold, f64::max);
            if upper == threshold {
                break;
            }
            threshold = upper;
        }
        let mut moved = self.zero_count;
        for buckets in [&mut self.positive, &mut self.negative] {
            buckets.retain(|bucket| {
                let goes = inside(bucket, threshold);
                if goes {
                    moved.absorb(bucket.count);
                }
                !goes
            });
        }
        self.zero_count = moved;
        self.zero_threshold = threshold;
    }

    /// Keeps the bounds that both have; true when they differed.
    fn join_custom_bounds(&mut self, other: &mut Self) -> bool {
        if self.custom_bounds == other.custom_bounds {
            return false;
        }
        let common: Vec<f64> =
            self.custom_bounds.iter().copied().filter(|bound| other.custom_bounds.contains(bound)).collect();
        self.map_custom_bounds(&common);
        other.map_custom_bounds(&common);
        true
    }

    fn map_custom_bounds(&mut self, common: &[f64]) {
        for bucket in &mut self.positive {
            let upper = usize::try_from(bucket.index).ok().and_then(|i| self.custom_bounds.get(i));
            let target = upper.map_or(common.len(), |upper| common.partition_point(|bound| bound < upper));
            bucket.index = i32::try_from(target).unwrap_or(i32::MAX);
        }
        self.positive.dedup_by(|next, kept| {
            let same = next.index == kept.index;
            if same {
                kept.count.absorb(next.count);
            }
            same
        });
        self.custom_bounds = common.to_vec();
    }
}

/// Adds sorted buckets to sorted buckets.
fn merge(into: &mut Vec<WideBucket>, from: &[WideBucket], sign: f64) {
    for bucket in from {
        let count = sign * bucket.count.value();
        match into.binary_search_by_key(&bucket.index, |b| b.index) {
            Ok(at) => {
                if let Some(existing) = into.get_mut(at) {
                    existing.count.add(count);
                }
            }
            Err(at) => into.insert(at, WideBucket { index: bucket.index, count: Sum::new(count) }),
        }
    }
}

/// Spans and counts of sorted buckets; empty ones are left out.
fn narrow(buckets: &[WideBucket]) -> (Vec<BucketSpan>, Vec<f64>) {
    spans_of(buckets.iter().map(|bucket| (bucket.index, bucket.count.value())))
}

/// Spans and counts of buckets in order of their index; empty ones are left out.
pub(crate) fn spans_of(buckets: impl Iterator<Item = (i32, f64)>) -> (Vec<BucketSpan>, Vec<f64>) {
    let (mut spans, mut counts): (Vec<BucketSpan>, Vec<f64>) = (Vec::new(), Vec::new());
    let mut next = 0i32;
    for (index, count) in buckets.filter(|(_, count)| *count != 0.0) {
        let gap = index.wrapping_sub(next);
        match spans.last_mut() {
            Some(span) if gap == 0 => span.length += 1,
            _ => spans.push(BucketSpan { offset: gap, length: 1 }),
        }
        counts.push(count);
        next = index.wrapping_add(1);
    }
    (spans, counts)
}

/// The same histogram without empty buckets.
#[must_use]
pub fn compact(histogram: &Histogram) -> Histogram {
    Wide::new(histogram).finish()
}

/// A histogram times a number.
pub(crate) fn scaled(histogram: &Histogram, factor: f64) -> Histogram {
    let mut wide = Wide::new(histogram);
    wide.scale(factor);
    wide.finish()
}

/// A histogram divided by a number.
pub(crate) fn divided(histogram: &Histogram, divisor: f64) -> Histogram {
    let mut wide = Wide::new(histogram);
    wide.divide(divisor);
    wide.finish()
}

/// Equality of the data, bit for bit; the counter reset hint does not count.
pub(crate) fn same_data(a: &Histogram, b: &Histogram) -> bool {
    let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    let layout =
        |spans: &[BucketSpan], counts: &[f64]| indexed(spans, counts).map(|(i, _)| i).collect::<Vec<_>>();
    a.schema == b.schema
        && a.count.to_bits() == b.count.to_bits()
        && a.sum.to_bits() == b.sum.to_bits()
        && a.zero_threshold == b.zero_threshold
        && a.zero_count.to_bits() == b.zero_count.to_bits()
        && a.custom_bounds == b.custom_bounds
        && bits(&a.positive) == bits(&b.positive)
        && bits(&a.negative) == bits(&b.negative)
        && layout(&a.positive_spans, &a.positive) == layout(&b.positive_spans, &b.positive)
        && layout(&a.negative_spans, &a.negative) == layout(&b.negative_spans, &b.negative)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::syntax::{SequenceValue, parse_series_description};

    pub(super) fn histogram(text: &str) -> Histogram {
        let parsed = parse_series_description(&format!("h {{{{{text}}}}}"));
        match parsed.as_ref().map(|series| series.values.as_slice()) {
            Ok([SequenceValue::Histogram { histogram, .. }]) => (**histogram).clone(),
            _ => panic!("{text}: {parsed:?}"),
        }
    }

    fn check_sum(a: &str, b: &str, expect: &str) {
        let mut sum = Wide::new(&histogram(a));
        assert!(sum.add(&histogram(b)).is_ok());
        assert_eq!(sum.finish(), compact(&histogram(expect)), "{a} + {b}");
    }

    #[test]
    fn sums_meet_at_the_coarser_schema() {
        check_sum("count:2 buckets:[1 1]", "count:1 offset:1 buckets:[1]", "count:3 buckets:[1 2]");
        check_sum("schema:1 count:2 buckets:[0 1 1]", "count:1 buckets:[0 1]", "count:3 buckets:[0 3]");
    }

    #[test]
    fn zero_buckets_grow_over_buckets() {
        check_sum(
            "count:3 z_bucket:1 z_bucket_w:0.5 buckets:[1 1]",
            "count:1 z_bucket:1 z_bucket_w:0.001",
            "count:4 z_bucket:2 z_bucket_w:0.5 buckets:[1 1]",
        );
        check_sum(
            "count:2 z_bucket:0 z_bucket_w:0.001 buckets:[1 1]",
            "count:1 z_bucket:1 z_bucket_w:1",
            "count:3 z_bucket:2 z_bucket_w:1 offset:1 buckets:[1]",
        );
    }

    #[test]
    fn custom_bounds_intersect() {
        check_sum(
            "schema:-53 count:3 custom_values:[1 2 3] buckets:[1 1 1]",
            "schema:-53 count:2 custom_values:[1 3] buckets:[1 1]",
            "schema:-53 count:5 custom_values:[1 3] buckets:[2 3]",
        );
        let mut mixed = Wide::new(&histogram("count:1"));
        assert_eq!(mixed.add(&histogram("schema:-53")), Err(WideError::MixedSchemas));
    }

    /// Exponential histograms whose buckets add up to their count.
    fn any_histogram() -> impl Strategy<Value = Histogram> {
        let side = || proptest::collection::btree_map(-20i32..20, 0u8..9, 0..8);
        let zero = prop_oneof![Just(0.0), Just(0.001), Just(0.25), Just(3.0)];
        (-2i32..4, zero, 0u8..9, side(), side()).prop_map(
            |(schema, zero_threshold, zeros, positive, negative)| {
                let buckets = |side: &std::collections::BTreeMap<i32, u8>| {
                    let outside = |index: i32| bound(index - 1, schema, &[]) >= zero_threshold;
                    let kept = side.iter().filter(|(index, _)| outside(**index));
                    spans_of(kept.map(|(index, count)| (*index, f64::from(*count))))
                };
                let ((positive_spans, positive), (negative_spans, negative)) =
                    (buckets(&positive), buckets(&negative));
                let zero_count = f64::from(zeros);
                let count = zero_count + positive.iter().chain(&negative).sum::<f64>();
                let empty = Histogram::default();
                Histogram {
                    schema,
                    zero_threshold,
                    zero_count,
                    count,
                    positive_spans,
                    positive,
                    negative_spans,
                    negative,
                    ..empty
                }
            },
        )
    }

    fn mass(histogram: &Histogram) -> f64 {
        histogram.zero_count + histogram.positive.iter().chain(&histogram.negative).sum::<f64>()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// No observation is lost or counted twice when layouts are brought together, in either order.
        #[test]
        fn sums_conserve_observations(a in any_histogram(), b in any_histogram()) {
            let sum = |a: &Histogram, b: &Histogram| {
                let mut sum = Wide::new(a);
                sum.add(b).map(|_| sum.finish())
            };
            let (there, back) = (sum(&a, &b), sum(&b, &a));
            prop_assert_eq!(&there, &back);
            let Ok(there) = there else { return Err(TestCaseError::fail("exponential histograms add up")) };
            prop_assert_eq!((there.count, mass(&there)), (a.count + b.count, mass(&a) + mass(&b)));
            prop_assert!(!is_reset(&there, &a), "{:?} continues {:?}", there, a);
            let mut rest = Wide::new(&there);
            prop_assert!(rest.sub(&b).is_ok());
            prop_assert_eq!(mass(&rest.finish()), mass(&a));
        }

        #[test]
        fn quantiles_grow_and_invert_fractions(mut h in any_histogram(), p in 0.0..1.0, q in 0.0..1.0) {
            if h.zero_threshold == 0.0 {
                // What lies in a zero bucket without width is neither below nor above zero.
                h.count -= std::mem::take(&mut h.zero_count);
            }
            if h.count == 0.0 {
                return Ok(());
            }
            let (low, high) = (f64::min(p, q), f64::max(p, q));
            let ((a, _), (b, _)) = (quantile(low, &h), quantile(high, &h));
            prop_assert!(a <= b + b.abs() * 1e-9, "{} {}", a, b);
            let (share, _) = fraction(f64::NEG_INFINITY, b, &h);
            prop_assert!(share >= high - 1e-6, "{} of {} below {}", share, high, b);
        }
    }
}
