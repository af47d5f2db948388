//! Counts of one template over time, in buckets.

use std::collections::VecDeque;

use kenning_model::Nanos;

/// Width of a bucket.
pub(crate) const BUCKET_NANOS: i64 = 10_000_000_000;

/// Non-empty buckets in order of time.
#[derive(Debug, Default)]
pub(crate) struct Counts(VecDeque<(i32, u32)>);

/// The bucket a stamp belongs to; stamps beyond the years 1 to 8800 share the outermost ones.
pub(crate) fn bucket_of(time: Nanos) -> i32 {
    let bucket = time.0.div_euclid(BUCKET_NANOS);
    i32::try_from(bucket).unwrap_or(if bucket < 0 { i32::MIN } else { i32::MAX })
}

/// Start of a bucket.
pub(crate) fn start_of(bucket: i32) -> Nanos {
    Nanos(i64::from(bucket).saturating_mul(BUCKET_NANOS))
}

impl Counts {
    /// Adds to a bucket, wherever in time it lies.
    pub(crate) fn add(&mut self, bucket: i32, count: u32) {
        match self.0.back_mut() {
            Some((last, total)) if *last == bucket => *total = total.saturating_add(count),
            Some((last, _)) if *last > bucket => self.add_late(bucket, count),
            _ => self.0.push_back((bucket, count)),
        }
    }

    fn add_late(&mut self, bucket: i32, count: u32) {
        match self.0.binary_search_by_key(&bucket, |(at, _)| *at) {
            Ok(index) => {
                if let Some((_, total)) = self.0.get_mut(index) {
                    *total = total.saturating_add(count);
                }
            }
            Err(index) => self.0.insert(index, (bucket, count)),
        }
    }

    /// Forgets what lies before a bucket; gives how many buckets went.
    pub(crate) fn forget_before(&mut self, bucket: i32) -> usize {
        let before = self.0.len();
        while self.0.front().is_some_and(|(at, _)| *at < bucket) {
            self.0.pop_front();
        }
        before - self.0.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (i32, u32)> {
        self.0.iter().copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_counts_find_their_place() {
        let mut counts = Counts::default();
        for bucket in [5, 7, 5, 6, 7, 1] {
            counts.add(bucket, 1);
        }
        assert_eq!(counts.iter().collect::<Vec<_>>(), [(1, 1), (5, 2), (6, 1), (7, 2)]);
        assert_eq!(counts.forget_before(6), 2);
        assert_eq!(counts.len(), 2);
    }

    #[test]
    fn stamps_before_1970_round_down() {
        assert_eq!(bucket_of(Nanos(-1)), -1);
        assert_eq!(start_of(bucket_of(Nanos(12_345_678_901))), Nanos(BUCKET_NANOS));
        assert_eq!(bucket_of(Nanos(i64::MAX)), 922_337_203);
    }
}
