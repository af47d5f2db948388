//! Sparse buckets of native histograms: walking spans with the counts beside them, building both, and merging buckets
//! down to a coarser resolution.
//!
//! Indices are 64 bits wide here, so that no list of spans, however hostile, can overflow them.

use crate::{BucketSpan, Histogram};

/// Runs of empty buckets up to this long are written out instead of starting a new span, as Prometheus' client library
/// does: a span costs as much as two buckets.
const GAP_FILLED_MAX: i64 = 2;

/// Index and count of each bucket in order; ends at the first bucket without a count.
pub fn buckets<'a>(spans: &'a [BucketSpan], counts: &'a [f64]) -> impl Iterator<Item = (i64, f64)> + 'a {
    let mut next = 0i64;
    let indices = spans.iter().flat_map(move |span| {
        let first = next + i64::from(span.offset);
        next = first + i64::from(span.length);
        first..next
    });
    indices.zip(counts.iter().copied())
}

/// Collects buckets in ascending order of their indices.
#[derive(Clone, Debug, Default)]
pub struct BucketWriter {
    spans: Vec<BucketSpan>,
    counts: Vec<f64>,
    /// The index behind the last bucket.
    next: i64,
}

impl BucketWriter {
    /// Appends a bucket. One that lies at or below the last is added to the last. False, and nothing done, when the
    /// distance to the last does not fit a span.
    #[must_use]
    pub fn push(&mut self, index: i64, count: f64) -> bool {
        let gap = index.saturating_sub(self.next);
        match (self.spans.last_mut(), self.counts.last_mut()) {
            (Some(_), Some(last)) if gap < 0 => {
                *last += count;
                return true;
            }
            (Some(span), _) if gap <= GAP_FILLED_MAX => {
                self.counts.resize(self.counts.len() + gap as usize, 0.0);
                span.length += gap as u32 + 1;
            }
            _ => {
                let Ok(offset) = i32::try_from(gap) else { return false };
                self.spans.push(BucketSpan { offset, length: 1 });
            }
        }
        self.counts.push(count);
        self.next = index.saturating_add(1);
        true
    }

    /// The spans and the counts.
    #[must_use]
    pub fn finish(self) -> (Vec<BucketSpan>, Vec<f64>) {
        (self.spans, self.counts)
    }
}

impl Histogram {
    /// Merges buckets until the resolution is `schema`; does nothing when it is not finer than that, or when the
    /// boundaries are custom ones.
    pub fn reduce_resolution(&mut self, schema: i32) {
        if self.schema <= schema || self.schema == Self::CUSTOM_BUCKETS {
            return;
        }
        let levels = (self.schema - schema).min(63);
        for (spans, counts) in
            [(&mut self.positive_spans, &mut self.positive), (&mut self.negative_spans, &mut self.negative)]
        {
            let mut writer = BucketWriter::default();
            // Indices only come closer to each other, so that every distance still fits.
            let fits =
                buckets(spans, counts).all(|(index, count)| writer.push(merged_index(index, levels), count));
            debug_assert!(fits, "distances shrink when buckets merge");
            (*spans, *counts) = writer.finish();
        }
        self.schema = schema;
    }
}

/// Where a bucket lies after `levels` halvings of the resolution. Bucket `i` ends at `base^i`, hence the ones.
#[must_use]
pub const fn merged_index(index: i64, levels: i32) -> i64 {
    ((index - 1) >> levels) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pushed: &[(i64, f64)], spans: &[(i32, u32)], counts: &[f64]) {
        let mut writer = BucketWriter::default();
        assert!(pushed.iter().all(|(index, count)| writer.push(*index, *count)));
        let (got, got_counts) = writer.finish();
        assert_eq!(got.iter().map(|span| (span.offset, span.length)).collect::<Vec<_>>(), spans);
        assert_eq!(got_counts, counts);
    }

    #[test]
    fn small_gaps_are_filled_and_large_ones_start_a_span() {
        check(&[], &[], &[]);
        check(&[(-3, 1.0), (-2, 2.0)], &[(-3, 2)], &[1.0, 2.0]);
        check(&[(1, 1.0), (4, 2.0)], &[(1, 4)], &[1.0, 0.0, 0.0, 2.0]);
        check(&[(1, 1.0), (5, 2.0)], &[(1, 1), (3, 1)], &[1.0, 2.0]);
        check(&[(1, 1.0), (1, 2.0)], &[(1, 1)], &[3.0]);
        assert!(!BucketWriter::default().push(i64::MAX, 1.0));
    }

    #[test]
    fn what_is_written_is_walked() {
        let mut writer = BucketWriter::default();
        let all = [(-7, 1.0), (-6, 2.0), (3, 3.0)];
        assert!(all.iter().all(|(index, count)| writer.push(*index, *count)));
        let (spans, counts) = writer.finish();
        assert_eq!(buckets(&spans, &counts).collect::<Vec<_>>(), all);
        assert_eq!(buckets(&spans, &counts[..1]).count(), 1);
        let huge = [BucketSpan { offset: i32::MAX, length: u32::MAX }; 3];
        assert_eq!(buckets(&huge, &[1.0]).count(), 1);
    }

    #[test]
    fn halving_the_resolution_merges_pairs() {
        let mut histogram = Histogram {
            schema: 3,
            positive_spans: vec![BucketSpan { offset: -1, length: 4 }],
            positive: vec![1.0, 2.0, 3.0, 4.0],
            negative_spans: vec![BucketSpan { offset: 9, length: 1 }],
            negative: vec![5.0],
            ..Histogram::default()
        };
        histogram.reduce_resolution(4);
        assert_eq!(histogram.schema, 3);
        histogram.reduce_resolution(2);
        // Buckets -1 and 0 end at or below base^0, buckets 1 and 2 at or below base^2.
        assert_eq!(histogram.positive_spans, [BucketSpan { offset: 0, length: 2 }]);
        assert_eq!((histogram.positive, histogram.negative), (vec![3.0, 7.0], vec![5.0]));
        assert_eq!(histogram.negative_spans, [BucketSpan { offset: 5, length: 1 }]);
    }
}
