//! Quantiles and fractions of classic histograms: cumulative counts in series told apart by `le`.

/// Relative differences between neighbouring buckets below this are rounding, not observations.
const SMALL_DIFFERENCE: f64 = 1e-12;

/// A cumulative bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ClassicBucket {
    pub upper: f64,
    pub count: f64,
}

/// Where counts had to be lifted so that they grow with the bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Forced {
    pub first: f64,
    pub last: f64,
    pub difference_max: f64,
}

/// The value below which the share `q` of observations lies, spread evenly within a bucket. Sorts `buckets`.
pub(crate) fn classic_quantile(q: f64, buckets: &mut Vec<ClassicBucket>) -> (f64, Option<Forced>) {
    if q.is_nan() {
        return (f64::NAN, None);
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if !prepare(buckets) {
        return (f64::NAN, None);
    }
    let forced = force_growth(buckets);
    let [first, .., before_last, last] = buckets.as_slice() else {
        return (f64::NAN, forced);
    };
    let (first, before_last, last) = (*first, *before_last, *last);
    if last.count == 0.0 {
        return (f64::NAN, forced);
    }
    let rank = q * last.count;
    let at = buckets.partition_point(|bucket| bucket.count < rank).min(buckets.len() - 1);
    if at == buckets.len() - 1 {
        return (before_last.upper, forced);
    }
    if at == 0 && first.upper <= 0.0 {
        return (first.upper, forced);
    }
    let bucket = buckets.get(at).copied().unwrap_or(last);
    let below = at.checked_sub(1).and_then(|i| buckets.get(i).copied());
    let below = below.unwrap_or(ClassicBucket { upper: 0.0, count: 0.0 });
    let share = (rank - below.count) / (bucket.count - below.count);
    (below.upper + (bucket.upper - below.upper) * share, forced)
}

/// The share of observations between two values. Sorts `buckets`.
pub(crate) fn classic_fraction(lower: f64, upper: f64, buckets: &mut Vec<ClassicBucket>) -> f64 {
    let total = match (prepare(buckets), buckets.last()) {
        (true, Some(last)) => last.count,
        _ => return f64::NAN,
    };
    if total == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let rank = |value| rank_below(value, buckets).unwrap_or(total).min(total);
    (rank(upper) - rank(lower)) / total
}

fn rank_below(value: f64, buckets: &[ClassicBucket]) -> Option<f64> {
    let positive = buckets.first().is_some_and(|bucket| bucket.upper > 0.0);
    let mut below = ClassicBucket { upper: if positive { 0.0 } else { f64::NEG_INFINITY }, count: 0.0 };
    for bucket in buckets {
        if below.upper >= value {
            return Some(below.count);
        }
        if bucket.upper > value {
            return Some(if below.upper == f64::NEG_INFINITY {
                bucket.count
            } else {
                let share = (value - below.upper) / (bucket.upper - below.upper);
                below.count + (bucket.count - below.count) * share
            });
        }
        below = *bucket;
    }
    None
}

/// Sorts, adds up buckets of one bound; false unless the last bound is infinite.
fn prepare(buckets: &mut Vec<ClassicBucket>) -> bool {
    buckets.sort_by(|a, b| a.upper.total_cmp(&b.upper));
    buckets.dedup_by(|next, kept| {
        let same = next.upper == kept.upper;
        if same {
            kept.count += next.count;
        }
        same
    });
    buckets.last().is_some_and(|last| last.upper == f64::INFINITY)
}

/// Removes decreases: silently where they are rounding, otherwise with a report.
fn force_growth(buckets: &mut [ClassicBucket]) -> Option<Forced> {
    let mut previous = buckets.first()?.count;
    let mut forced: Option<Forced> = None;
    for bucket in buckets.iter_mut().skip(1) {
        if bucket.count == previous {
            continue;
        }
        if nearly_equal(previous, bucket.count, SMALL_DIFFERENCE) {
            bucket.count = previous;
        } else if bucket.count < previous {
            let difference = previous - bucket.count;
            let report =
                forced.get_or_insert(Forced { first: bucket.upper, last: bucket.upper, difference_max: 0.0 });
            report.last = bucket.upper;
            report.difference_max = report.difference_max.max(difference);
            bucket.count = previous;
        } else {
            previous = bucket.count;
        }
    }
    forced
}

/// Equal but for rounding: the difference is less than `epsilon` of the sum.
pub(crate) fn nearly_equal(a: f64, b: f64, epsilon: f64) -> bool {
    if a == b || (a.is_nan() && b.is_nan()) {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < epsilon * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < epsilon
}
