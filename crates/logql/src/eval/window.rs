//! Functions over the samples of one window.

use crate::syntax::ast::RangeOp;

/// A sample: when, in nanoseconds, and its value.
pub(super) type Sample = (i64, f64);

/// The value of a window that holds at least one sample. `end` is the window's end and `width` its width, in
/// nanoseconds.
pub(super) fn apply(op: RangeOp, param: Option<f64>, samples: &[Sample], end: i64, width: i64) -> f64 {
    let seconds = width as f64 / 1e9;
    let values = || samples.iter().map(|(_, value)| *value);
    match op {
        RangeOp::Rate | RangeOp::BytesRate => values().sum::<f64>() / seconds,
        RangeOp::RateCounter => extrapolated_rate(samples, end, width),
        RangeOp::CountOverTime => samples.len() as f64,
        RangeOp::BytesOverTime | RangeOp::SumOverTime => values().fold(0.0, |sum, value| sum + value),
        RangeOp::AvgOverTime => mean(values()),
        RangeOp::StdvarOverTime => variance(values()),
        RangeOp::StddevOverTime => variance(values()).sqrt(),
        RangeOp::MinOverTime | RangeOp::MaxOverTime | RangeOp::QuantileOverTime => {
            of_values(op, param, values().collect())
        }
        RangeOp::FirstOverTime => values().next().unwrap_or(f64::NAN),
        RangeOp::LastOverTime => values().next_back().unwrap_or(f64::NAN),
        RangeOp::AbsentOverTime => 1.0,
    }
}

/// The same for functions to which times mean nothing; NaN for others.
pub(super) fn of_values(op: RangeOp, param: Option<f64>, values: Vec<f64>) -> f64 {
    match op {
        RangeOp::MinOverTime => extreme(values.into_iter(), |value, least| value < least),
        RangeOp::MaxOverTime => extreme(values.into_iter(), |value, greatest| value > greatest),
        RangeOp::QuantileOverTime => quantile(param.unwrap_or(f64::NAN), values),
        _ => f64::NAN,
    }
}

/// Running mean; an infinite one is not moved by finite values.
pub(super) fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (mut mean, mut count) = (0.0f64, 0.0f64);
    for value in values {
        count += 1.0;
        let same_infinity = value.is_infinite() && (mean > 0.0) == (value > 0.0);
        if mean.is_infinite() && (same_infinity || value.is_finite()) {
            continue;
        }
        mean += value / count - mean / count;
    }
    mean
}

/// The extreme value; NaN gives way to any number.
pub(super) fn extreme(values: impl Iterator<Item = f64>, beats: impl Fn(f64, f64) -> bool) -> f64 {
    values
        .reduce(|best, value| if beats(value, best) || best.is_nan() { value } else { best })
        .unwrap_or(f64::NAN)
}

/// Population variance by Welford's method.
pub(super) fn variance(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut count, mut mean) = (0.0, 0.0, 0.0);
    for value in values {
        count += 1.0;
        let delta = value - mean;
        mean += delta / count;
        sum += delta * (value - mean);
    }
    sum / count
}

/// The quantile with linear interpolation; NaN sorts lowest.
fn quantile(q: f64, values: Vec<f64>) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    if values.iter().any(|value| value.is_nan()) {
        let order = |a: &f64, b: &f64| a.partial_cmp(b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()));
        return quantile_by(q, values, order);
    }
    // The same order where there is no NaN, at half the cost.
    quantile_by(q, values, |a, b| (a > b).cmp(&(a < b)))
}

/// The quantile of numbers, of which there is one at least, in an order.
fn quantile_by(q: f64, mut values: Vec<f64>, order: impl Fn(&f64, &f64) -> std::cmp::Ordering + Copy) -> f64 {
    let rank = q * (values.len() as f64 - 1.0);
    let lower = (rank.floor().max(0.0) as usize).min(values.len() - 1);
    let weight = rank - rank.floor();
    // Only the two values around the rank need their places.
    let (_, value, above) = values.select_nth_unstable_by(lower, order);
    let value = *value;
    let next = above.iter().copied().min_by(order).unwrap_or(value);
    value * (1.0 - weight) + next * weight
}

/// Per-second increase of a counter, extrapolated to the window's edges as Prometheus does, but never below the
/// counter's zero.
fn extrapolated_rate(samples: &[Sample], end: i64, width: i64) -> f64 {
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return 0.0 };
    if samples.len() < 2 {
        return 0.0;
    }
    let mut increase = last.1 - first.1;
    let mut before = 0.0;
    for (_, value) in samples {
        if *value < before {
            increase += before;
        }
        before = *value;
    }
    let seconds = |nanos: i64| nanos as f64 / 1e9;
    let sampled = seconds(last.0 - first.0);
    let between = sampled / (samples.len() - 1) as f64;
    let near = between * 1.1;
    let close = |gap: f64| if gap >= near { between / 2.0 } else { gap };
    let mut to_start = close(seconds(first.0 - (end - width)));
    if increase > 0.0 && first.1 >= 0.0 {
        to_start = to_start.min(sampled * (first.1 / increase));
    }
    let to_end = close(seconds(end - last.0));
    increase * ((sampled + to_start + to_end) / sampled) / seconds(width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_of_a_window() {
        let samples: Vec<Sample> =
            [2.0, 4.0, 10.0, 20.0].iter().enumerate().map(|(i, v)| (i as i64, *v)).collect();
        let check =
            |op, param, expect| assert_eq!(apply(op, param, &samples, 4_000_000_000, 4_000_000_000), expect);
        check(RangeOp::SumOverTime, None, 36.0);
        check(RangeOp::Rate, None, 9.0);
        check(RangeOp::AvgOverTime, None, 9.0);
        check(RangeOp::MinOverTime, None, 2.0);
        check(RangeOp::MaxOverTime, None, 20.0);
        check(RangeOp::FirstOverTime, None, 2.0);
        check(RangeOp::LastOverTime, None, 20.0);
        check(RangeOp::QuantileOverTime, Some(0.5), 7.0);
        check(RangeOp::QuantileOverTime, Some(2.0), f64::INFINITY);
        check(RangeOp::AbsentOverTime, None, 1.0);
    }
}
