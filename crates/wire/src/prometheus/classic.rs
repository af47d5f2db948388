//! Classic histograms put together from their series, as native histograms with custom buckets. Definition: Prometheus
//! `convert_classic_histograms_to_nhcb`, the native histograms specification.

use kenning_model::{BucketWriter, Histogram};

/// A series of a classic histogram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Part {
    /// `_bucket`, with its upper bound.
    Bucket(f64),
    /// `_count`
    Count,
    /// `_sum`
    Sum,
}

/// Splits the name of a classic histogram's series into the family's name and the suffix.
pub(super) fn split_name(name: &str) -> Option<(&str, &'static str)> {
    ["_bucket", "_count", "_sum"]
        .into_iter()
        .find_map(|suffix| name.strip_suffix(suffix).map(|base| (base, suffix)))
}

/// What was read of one classic histogram. Bounded by the lines of its document.
#[derive(Debug, Default)]
pub(super) struct Classic {
    /// Upper bound and cumulative count, ascending.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
    /// Something was read that no histogram can have.
    broken: bool,
}

impl Classic {
    /// Takes the value of one series.
    pub fn take(&mut self, part: Part, value: f64) {
        match part {
            Part::Sum => self.sum = value,
            Part::Count => {
                self.broken |= value < 0.0;
                self.count = Some(value);
            }
            Part::Bucket(bound) => self.take_bucket(bound, value),
        }
    }

    fn take_bucket(&mut self, bound: f64, count: f64) {
        let place = self.buckets.partition_point(|(known, _)| *known < bound);
        if self.buckets.get(place).is_some_and(|(known, _)| *known == bound) {
            return;
        }
        let before = place.checked_sub(1).and_then(|at| self.buckets.get(at));
        let falls = before.is_some_and(|(_, known)| count < *known)
            || self.buckets.get(place).is_some_and(|(_, known)| count > *known);
        self.broken |= count < 0.0 || bound.is_nan() || falls;
        self.buckets.insert(place, (bound, count));
    }

    /// The histogram, and whether all its counts are whole; `None` when the series do not make one.
    pub fn finish(mut self) -> Option<(Histogram, bool)> {
        let count = self.count.or_else(|| self.buckets.last().map(|(_, count)| *count))?;
        if self.buckets.last().is_none_or(|(bound, _)| *bound != f64::INFINITY) {
            let falls = self.buckets.last().is_some_and(|(_, known)| count < *known);
            self.broken |= falls;
            self.buckets.push((f64::INFINITY, count));
        }
        let ends = self.buckets.last().is_some_and(|(_, last)| *last == count);
        if self.broken || !ends {
            return None;
        }
        let whole = self.buckets.iter().all(|(_, count)| count.fract() == 0.0);
        let (mut writer, mut before) = (BucketWriter::default(), 0.0);
        for (index, (_, cumulative)) in self.buckets.iter().enumerate() {
            let own = cumulative - before;
            before = *cumulative;
            if own != 0.0 && !writer.push(index as i64, own) {
                return None;
            }
        }
        let (positive_spans, positive) = writer.finish();
        self.buckets.pop();
        let histogram = Histogram {
            schema: Histogram::CUSTOM_BUCKETS,
            count,
            sum: self.sum,
            positive_spans,
            positive,
            custom_bounds: self.buckets.into_iter().map(|(bound, _)| bound).collect(),
            ..Histogram::default()
        };
        Some((histogram, whole))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(buckets: &[(f64, f64)], count: Option<f64>, expect: Option<(&[f64], &[f64])>) {
        let mut classic = Classic::default();
        buckets.iter().for_each(|(bound, value)| classic.take(Part::Bucket(*bound), *value));
        count.into_iter().for_each(|count| classic.take(Part::Count, count));
        let histogram = classic.finish().map(|(histogram, _)| histogram);
        let got = histogram.as_ref().map(|h| (h.custom_bounds.as_slice(), h.positive.as_slice()));
        assert_eq!(got, expect);
    }

    #[test]
    fn buckets_become_counts_of_their_own() {
        let inf = f64::INFINITY;
        check(&[(1.0, 2.0), (2.0, 5.0), (inf, 6.0)], Some(6.0), Some((&[1.0, 2.0], &[2.0, 3.0, 1.0])));
        check(&[(1.0, 2.0), (2.0, 5.0)], Some(6.0), Some((&[1.0, 2.0], &[2.0, 3.0, 1.0])));
        check(&[(2.0, 5.0), (1.0, 2.0), (1.0, 9.0)], None, Some((&[1.0, 2.0], &[2.0, 3.0])));
        check(&[(1.0, 0.0), (2.0, 0.0), (3.0, 0.0), (4.0, 1.0)], None, Some((&[1.0, 2.0, 3.0, 4.0], &[1.0])));
        check(&[], Some(0.0), Some((&[], &[])));
    }

    #[test]
    fn what_is_no_histogram_is_none() {
        check(&[], None, None);
        check(&[(1.0, 3.0), (2.0, 2.0)], None, None);
        check(&[(2.0, 2.0), (1.0, 3.0)], None, None);
        check(&[(1.0, -1.0)], None, None);
        check(&[(1.0, 3.0), (f64::INFINITY, 4.0)], Some(5.0), None);
        check(&[(1.0, 3.0)], Some(2.0), None);
    }

    #[test]
    fn names() {
        assert_eq!(split_name("a_bucket"), Some(("a", "_bucket")));
        assert_eq!(split_name("a_count_sum"), Some(("a_count", "_sum")));
        assert_eq!(split_name("a_created"), None);
    }
}
