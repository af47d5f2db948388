//! The `*_over_time` family, `changes`, `resets` and the functions that fit curves.

use std::sync::Arc;

use kenning_model::{CounterReset, Histogram};
use kenning_query::QueryError;

use super::over_range::Window;
use super::rate::began_anew;
use super::{Point, failure};
use crate::annotation::{Annotations, Operation};
use crate::histogram::{Wide, WideError, is_reset, same_data};
use crate::kahan::{Mean, Sum};
use crate::syntax::Extension;

/// Sums histograms and tracks what to remark about it.
#[derive(Default)]
pub(super) struct HistogramSum {
    total: Option<Wide>,
    count: f64,
    incremental: bool,
    reset_seen: bool,
    no_reset_seen: bool,
    pub bounds_reconciled: bool,
}

impl HistogramSum {
    fn track(&mut self, histogram: &Histogram) {
        self.reset_seen |= histogram.reset == CounterReset::Yes;
        self.no_reset_seen |= histogram.reset == CounterReset::No;
    }

    /// True when some histogram said that its counter was reset and another that it was not.
    pub(super) fn has_reset_conflict(&self) -> bool {
        self.reset_seen && self.no_reset_seen
    }

    pub(super) fn add(&mut self, histogram: &Histogram) -> Result<(), WideError> {
        self.track(histogram);
        self.count += 1.0;
        match &mut self.total {
            None => self.total = Some(Wide::new(histogram)),
            Some(total) => self.bounds_reconciled |= total.add(histogram)?.bounds,
        }
        Ok(())
    }

    /// As [`Self::add`] for means: before a sum overflows it turns into a running mean.
    pub(super) fn add_to_mean(&mut self, histogram: &Histogram) -> Result<(), WideError> {
        self.track(histogram);
        self.count += 1.0;
        let Some(total) = &mut self.total else {
            self.total = Some(Wide::new(histogram));
            return Ok(());
        };
        if !self.incremental {
            let mut sum = total.clone();
            self.bounds_reconciled |= sum.add(histogram)?.bounds;
            if !sum.has_overflow() {
                *total = sum;
                return Ok(());
            }
            self.incremental = true;
            total.divide(self.count - 1.0);
        }
        total.scale((self.count - 1.0) / self.count);
        let mut part = Wide::new(histogram);
        part.divide(self.count);
        self.bounds_reconciled |= total.add(&part.finish())?.bounds;
        Ok(())
    }

    pub(super) fn sum(self) -> Option<Histogram> {
        self.total.map(Wide::finish)
    }

    pub(super) fn mean(self) -> Option<Histogram> {
        let mut mean = self.total?;
        if !self.incremental {
            mean.divide(self.count);
        }
        Some(mean.finish())
    }
}

/// True when only floats or only histograms are there; otherwise it is remarked.
fn is_pure(window: &Window<'_>, notes: &mut Annotations) -> bool {
    let pure = window.floats.is_empty() || window.histograms.is_empty();
    if !pure {
        notes.mixed_floats_histograms(window.metric, window.span);
    }
    pure
}

/// The floats, with a remark when histograms are left out.
fn floats<'a>(window: &Window<'a>, notes: &mut Annotations) -> Option<&'a [(i64, f64)]> {
    if window.floats.is_empty() {
        return None;
    }
    if !window.histograms.is_empty() {
        notes.histograms_ignored_in_range(window.metric, window.span);
    }
    Some(window.floats)
}

fn histograms(
    window: &Window<'_>,
    notes: &mut Annotations,
    add: impl Fn(&mut HistogramSum, &Histogram) -> Result<(), WideError>,
    finish: impl Fn(HistogramSum) -> Option<Histogram>,
) -> Option<Point> {
    let mut sum = HistogramSum::default();
    for (_, histogram) in window.histograms {
        if add(&mut sum, histogram).is_err() {
            notes.mixed_schemas(window.metric, window.span);
            return None;
        }
    }
    if sum.has_reset_conflict() {
        notes.reset_conflict(Operation::Aggregation, window.span);
    }
    if sum.bounds_reconciled {
        notes.bounds_reconciled(Operation::Aggregation, window.span);
    }
    finish(sum).map(|histogram| Point::Histogram(Arc::new(histogram)))
}

pub(super) fn sum(window: &Window<'_>, notes: &mut Annotations) -> Option<Point> {
    if !is_pure(window, notes) {
        return None;
    }
    if window.floats.is_empty() {
        return histograms(window, notes, HistogramSum::add, HistogramSum::sum);
    }
    let mut sum = Sum::default();
    window.floats.iter().for_each(|(_, value)| sum.add(*value));
    Some(Point::Float(sum.value()))
}

pub(super) fn avg(window: &Window<'_>, notes: &mut Annotations) -> Option<Point> {
    if !is_pure(window, notes) {
        return None;
    }
    let Some(((_, first), rest)) = window.floats.split_first() else {
        return histograms(window, notes, HistogramSum::add_to_mean, HistogramSum::mean);
    };
    let mut mean = Mean::new(*first);
    rest.iter().for_each(|(_, value)| mean.add(*value));
    Some(Point::Float(mean.value()))
}

/// The value that is better than all others, and its time. NaN is worse than everything.
pub(super) fn extreme(
    window: &Window<'_>,
    notes: &mut Annotations,
    better: impl Fn(f64, f64) -> bool,
) -> Option<(i64, f64)> {
    let floats = floats(window, notes)?;
    let mut best = *floats.first()?;
    for (time, value) in floats {
        if better(*value, best.1) || best.1.is_nan() {
            best = (*time, *value);
        }
    }
    Some(best)
}

pub(super) fn first(window: &Window<'_>) -> Option<(i64, Point)> {
    match (window.floats.first(), window.histograms.first()) {
        (Some((t, value)), other) if other.is_none_or(|(h, _)| t < h) => Some((*t, Point::Float(*value))),
        (_, Some((t, histogram))) => Some((*t, Point::Histogram(histogram.clone()))),
        _ => None,
    }
}

pub(super) fn last(window: &Window<'_>) -> Option<(i64, Point)> {
    match (window.floats.last(), window.histograms.last()) {
        (Some((t, value)), other) if other.is_none_or(|(h, _)| h < t) => Some((*t, Point::Float(*value))),
        (_, Some((t, histogram))) => Some((*t, Point::Histogram(histogram.clone()))),
        _ => None,
    }
}

/// Population variance, with compensated running means.
pub(super) fn variance(window: &Window<'_>, notes: &mut Annotations) -> Option<f64> {
    let floats = floats(window, notes)?;
    let (mut count, mut mean, mut squares) = (0.0, Sum::default(), Sum::default());
    for (_, value) in floats {
        count += 1.0;
        let delta = value - mean.value();
        mean.add(delta / count);
        squares.add(delta * (value - mean.value()));
    }
    Some(squares.value() / count)
}

/// The value below which the share `q` of values lies, on the line between neighbours. Sorts `values`.
pub(super) fn quantile_of(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_by(|a, b| a.partial_cmp(b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan())));
    let rank = q * (values.len() - 1) as f64;
    let lower = rank.floor().max(0.0) as usize;
    let upper = (lower + 1).min(values.len() - 1);
    let weight = rank - rank.floor();
    let at = |i: usize| values.get(i).copied().unwrap_or(f64::NAN);
    at(lower) * (1.0 - weight) + at(upper) * weight
}

pub(super) fn quantile(window: &Window<'_>, notes: &mut Annotations) -> Option<f64> {
    let q = window.param(0);
    let floats = floats(window, notes)?;
    if !(0.0..=1.0).contains(&q) {
        notes.invalid_quantile(q, window.span);
    }
    let mut values: Vec<_> = floats.iter().map(|(_, value)| *value).collect();
    Some(quantile_of(q, &mut values))
}

/// Median of the distances from the median.
pub(super) fn mad(window: &Window<'_>, notes: &mut Annotations) -> Option<f64> {
    let mut values: Vec<_> = floats(window, notes)?.iter().map(|(_, value)| *value).collect();
    if values.iter().any(|value| value.is_nan()) {
        return Some(f64::NAN);
    }
    let median = quantile_of(0.5, &mut values);
    values.iter_mut().for_each(|value| *value = (*value - median).abs());
    Some(quantile_of(0.5, &mut values))
}

/// A sample with what tells counters that began anew.
struct Item {
    time: i64,
    start: i64,
    point: Point,
}

/// All samples in order of time. With `anchored`: from the last one at or before the range's start on; none when no
/// sample lies inside the range.
fn in_order(window: &Window<'_>) -> Option<Vec<Item>> {
    let start = |starts: &[i64], i: usize| starts.get(i).copied().unwrap_or(0);
    let float = |(i, (time, value)): (usize, &(i64, f64))| Item {
        time: *time,
        start: start(window.starts, i),
        point: Point::Float(*value),
    };
    let histogram = |(i, (time, histogram)): (usize, &(i64, Arc<Histogram>))| Item {
        time: *time,
        start: start(window.histogram_starts, i),
        point: Point::Histogram(histogram.clone()),
    };
    let floats = window.floats.iter().enumerate().map(float);
    let mut all: Vec<_> = floats.chain(window.histograms.iter().enumerate().map(histogram)).collect();
    all.sort_by_key(|item| item.time);
    if window.extension == Some(Extension::Anchored) {
        let inside = all.partition_point(|item| item.time <= window.start);
        if inside == all.len() {
            return None;
        }
        all.drain(..inside.saturating_sub(1));
    }
    Some(all)
}

fn count_pairs(window: &Window<'_>, differ: impl Fn(&Item, &Item) -> bool) -> Option<f64> {
    let items = in_order(window)?;
    let pairs = items.windows(2);
    Some(pairs.filter(|pair| matches!(pair, [before, after] if differ(before, after))).count() as f64)
}

pub(super) fn changes(window: &Window<'_>) -> Option<f64> {
    count_pairs(window, |before, after| match (&before.point, &after.point) {
        (Point::Float(before), Point::Float(after)) => {
            before != after && !(before.is_nan() && after.is_nan())
        }
        (Point::Histogram(before), Point::Histogram(after)) => !same_data(before, after),
        _ => true,
    })
}

pub(super) fn resets(window: &Window<'_>) -> Option<f64> {
    count_pairs(window, |before, after| {
        let anew = began_anew((before.time, before.start), (after.time, after.start));
        match (&before.point, &after.point) {
            (Point::Float(before), Point::Float(after)) => anew || after < before,
            (Point::Histogram(before), Point::Histogram(after)) => anew || is_reset(after, before),
            _ => true,
        }
    })
}

/// Floats for a function that needs two of them.
fn two_floats<'a>(window: &Window<'a>, notes: &mut Annotations) -> Option<&'a [(i64, f64)]> {
    floats(window, notes).filter(|floats| floats.len() > 1)
}

/// Slope per second and value at `origin` of the line with the least squares.
fn regression(floats: &[(i64, f64)], origin: i64) -> (f64, f64) {
    let first = floats.first().map_or(f64::NAN, |(_, value)| *value);
    if floats.iter().all(|(_, value)| *value == first) {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let (mut xs, mut ys, mut xys, mut squares) =
        (Sum::default(), Sum::default(), Sum::default(), Sum::default());
    for (time, y) in floats {
        let x = time.saturating_sub(origin) as f64 / 1000.0;
        xs.add(x);
        ys.add(*y);
        xys.add(x * y);
        squares.add(x * x);
    }
    let n = floats.len() as f64;
    let covariance = xys.value() - xs.value() * ys.value() / n;
    let variance = squares.value() - xs.value() * xs.value() / n;
    let slope = covariance / variance;
    (slope, ys.value() / n - slope * xs.value() / n)
}

pub(super) fn deriv(window: &Window<'_>, notes: &mut Annotations) -> Option<f64> {
    let floats = two_floats(window, notes)?;
    let (origin, _) = floats.first()?;
    Some(regression(floats, *origin).0)
}

pub(super) fn predict_linear(window: &Window<'_>, notes: &mut Annotations) -> Option<f64> {
    let floats = two_floats(window, notes)?;
    let (slope, intercept) = regression(floats, window.time);
    Some(slope * window.param(0) + intercept)
}

/// Double exponential smoothing (Holt's linear trend).
pub(super) fn smoothing(window: &Window<'_>, notes: &mut Annotations) -> Result<Option<f64>, QueryError> {
    let (level, trend) = (window.param(0), window.param(1));
    for (what, factor) in [("smoothing", level), ("trend", trend)] {
        if factor <= 0.0 || factor >= 1.0 {
            let short = if what == "smoothing" { "sf" } else { "tf" };
            let message = format!("invalid {what} factor. Expected: 0 < {short} < 1, got: {factor:.6}");
            return Err(failure(window.span, message));
        }
    }
    let Some([(_, first), (_, second), ..]) = two_floats(window, notes) else { return Ok(None) };
    let (mut before, mut smoothed, mut slope) = (0.0, *first, second - first);
    for (i, (_, value)) in window.floats.iter().enumerate().skip(1) {
        if i > 1 {
            slope = trend * (smoothed - before) + (1.0 - trend) * slope;
        }
        let next = level * value + (1.0 - level) * (smoothed + slope);
        (before, smoothed) = (smoothed, next);
    }
    Ok(Some(smoothed))
}
