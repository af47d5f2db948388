//! `rate`, `increase`, `delta`, `irate`, `idelta`, and what `anchored` and `smoothed` make of the first three.

use std::sync::Arc;

use kenning_model::{CounterReset, Histogram};
use kenning_query::SourceSpan;

use super::over_range::Window;
use crate::Point;
use crate::annotation::{Annotations, Operation};
use crate::histogram::{Wide, WideError, is_reset, scaled};
use crate::syntax::Extension;

type HistogramSample = (i64, Arc<Histogram>);

/// A series is taken to go on beyond its last sample if the border is no farther than this many sample distances.
pub(super) const EXTRAPOLATION_DISTANCES: f64 = 1.1;

/// Growth over the range, extrapolated to its borders; per second for `rate`, regardless of resets for `delta`.
pub(super) fn rate(
    window: &Window<'_>,
    counter: bool,
    per_second: bool,
    notes: &mut Annotations,
) -> Option<Point> {
    if !window.floats.is_empty() && !window.histograms.is_empty() {
        notes.mixed_floats_histograms(window.metric, window.span);
        return None;
    }
    if let Some(extension) = window.extension {
        let smoothed = extension == Extension::Smoothed;
        return if window.histograms.is_empty() {
            extended(window, smoothed, counter, per_second).map(Point::Float)
        } else {
            extended_histogram(window, smoothed, counter, per_second, notes)
        };
    }
    if window.histograms.is_empty() {
        return float_rate(window, counter, per_second, notes).map(Point::Float);
    }
    histogram_rate(window, counter, per_second, notes)
}

fn float_rate(window: &Window<'_>, counter: bool, per_second: bool, notes: &mut Annotations) -> Option<f64> {
    let floats = window.floats;
    let starts = if counter { window.starts } else { &[] };
    let ((_, first), (_, last)) = (floats.first()?, floats.last()?);
    let origin = start_inside(window, floats, starts);
    if floats.len() < 2 && origin.is_none() {
        return None;
    }
    let mut growth = last - first;
    if counter {
        for (i, pair) in floats.windows(2).enumerate() {
            if let [(_, before), (_, after)] = pair
                && (after < before || starts_anew(floats, starts, i))
            {
                growth += before;
            }
        }
        remark_overlap(window, floats, starts, notes);
    }
    if origin.is_some() {
        growth += first;
    }
    let slope = Some((*first, growth)).filter(|_| counter);
    Some(growth * extrapolation(window, floats, origin, slope, per_second)?)
}

fn histogram_rate(
    window: &Window<'_>,
    counter: bool,
    per_second: bool,
    notes: &mut Annotations,
) -> Option<Point> {
    let samples = window.histograms;
    let starts = if counter { window.histogram_starts } else { &[] };
    let (_, first) = samples.first()?;
    let origin = start_inside(window, samples, starts);
    let growth = match (samples, origin) {
        ([_], None) => return None,
        ([_], Some(_)) => (**first).clone(),
        (_, None) => histogram_growth(window, counter, notes)?,
        (_, Some(_)) => {
            let mut growth = Wide::new(&histogram_growth(window, counter, notes)?);
            match growth.add(first) {
                Ok(reconciled) if reconciled.bounds => {
                    notes.bounds_reconciled(Operation::Addition, window.span);
                }
                Ok(_) => {}
                Err(WideError::MixedSchemas) => {
                    notes.mixed_schemas(window.metric, window.span);
                    return None;
                }
            }
            growth.finish_gauge()
        }
    };
    let slope = Some((first.count, growth.count)).filter(|_| counter);
    let factor = extrapolation(window, samples, origin, slope, per_second)?;
    Some(Point::Histogram(Arc::new(scaled(&growth, factor))))
}

/// When the counter began, if that was inside of the range and before its first sample: there it stood at zero.
fn start_inside<T>(window: &Window<'_>, samples: &[(i64, T)], starts: &[i64]) -> Option<i64> {
    let ((first, _), start) = (samples.first()?, *starts.first()?);
    (start != 0 && start > window.start && start < *first).then_some(start)
}

/// True when the start times say that the counter began anew between the samples at `i` and after it.
pub(super) fn starts_anew<T>(samples: &[(i64, T)], starts: &[i64], i: usize) -> bool {
    if starts.is_empty() {
        return false;
    }
    let start = |i: usize| starts.get(i).copied().unwrap_or(0);
    let (Some((before, _)), Some((now, _))) = (samples.get(i), samples.get(i + 1)) else { return false };
    began_anew((*before, start(i)), (*now, start(i + 1)))
}

/// True when a counter began anew between two samples, each given as its time and its start.
pub(super) fn began_anew((before, before_start): (i64, i64), (now, start): (i64, i64)) -> bool {
    // A start at the sample itself is how OTLP says unknown; one after it is nonsense.
    if start == 0 || start >= now || start < before {
        return false;
    }
    // A counter whose start is not known starts at its first sample by OTLP's rules, which is no reset; a delta starts
    // at the end of the one before. The start of the sample before tells one from the other.
    start > before || (before_start != 0 && before_start < before)
}

/// A counter that starts before the sample before it, and not where that one says, counts something twice.
fn remark_overlap<T>(window: &Window<'_>, samples: &[(i64, T)], starts: &[i64], notes: &mut Annotations) {
    let overlaps = |((before, _), starts): (&(i64, T), &[i64])| match starts {
        [before_start, start] => *start != 0 && start < before && start != before_start,
        _ => false,
    };
    if samples.iter().zip(starts.windows(2)).any(overlaps) {
        notes.start_overlap(window.metric, window.span);
    }
}

/// By how much growth between samples is multiplied. `origin`: when a counter is known to have stood at zero. `slope`:
/// first value and growth of a counter, by which it would have been zero at some time, before which there was no growth.
fn extrapolation<T>(
    window: &Window<'_>,
    samples: &[(i64, T)],
    origin: Option<i64>,
    slope: Option<(f64, f64)>,
    per_second: bool,
) -> Option<f64> {
    let ((first, _), (last, _)) = (samples.first()?, samples.last()?);
    let mut to_start = first.saturating_sub(window.start) as f64 / 1000.0;
    let mut to_end = window.end.saturating_sub(*last) as f64 / 1000.0;
    let mut sampled = last.saturating_sub(*first) as f64 / 1000.0;
    let distance = if samples.len() > 1 { sampled / (samples.len() - 1) as f64 } else { 0.0 };
    let threshold = distance * EXTRAPOLATION_DISTANCES;
    if let Some(origin) = origin {
        to_start = 0.0;
        sampled = last.saturating_sub(origin) as f64 / 1000.0;
    } else {
        if to_start >= threshold {
            to_start = distance / 2.0;
        }
        if let Some((first, growth)) = slope.filter(|(first, growth)| *growth > 0.0 && *first >= 0.0) {
            let to_zero = sampled * (first / growth);
            if to_zero < to_start {
                to_start = to_zero;
            }
        }
    }
    if to_end >= threshold {
        to_end = distance / 2.0;
    }
    let factor = if sampled == 0.0 { 1.0 } else { (sampled + to_start + to_end) / sampled };
    Some(if per_second { factor / window.seconds() } else { factor })
}

fn is_custom(histogram: &Histogram) -> bool {
    histogram.schema == Histogram::CUSTOM_BUCKETS
}

/// Last histogram minus first, resets made up for.
fn histogram_growth(window: &Window<'_>, counter: bool, notes: &mut Annotations) -> Option<Histogram> {
    let [(_, first), .., (_, last)] = window.histograms else { return None };
    let (metric, span) = (window.metric, window.span);
    let gauge = |histogram: &Histogram| histogram.reset == CounterReset::Gauge;
    let second = window.histograms.get(1).map_or(last, |(_, histogram)| histogram);
    // After a reset between the first two samples, the first one's layout does not matter: it is not looked at.
    let starts = if counter { window.histogram_starts } else { &[] };
    let anew = |i: usize| starts_anew(window.histograms, starts, i);
    let base = if counter && (anew(0) || is_reset(second, first)) {
        Wide::empty_like(second)
    } else {
        (**first).clone()
    };
    let inner = window.histograms.get(1..window.histograms.len() - 1).unwrap_or(&[]);
    let considered = inner.iter().map(|(_, histogram)| histogram).filter(|_| counter);
    if is_custom(last) != is_custom(&base) || considered.clone().any(|h| is_custom(h) != is_custom(&base)) {
        notes.mixed_schemas(metric, span);
        return None;
    }
    if counter && (gauge(first) || gauge(last) || considered.clone().any(|h| gauge(h))) {
        notes.not_counter(metric, span);
    }
    let schema = considered.map(|h| h.schema).chain([last.schema, base.schema]).min()?;
    remark_overlap(window, window.histograms, starts, notes);
    let mut growth = Wide::new(last);
    growth.reduce(schema);
    let mut step = |change: Result<crate::histogram::Reconciled, WideError>, operation| match change {
        Ok(reconciled) => {
            if reconciled.bounds {
                notes.bounds_reconciled(operation, span);
            }
            Some(())
        }
        Err(WideError::MixedSchemas) => {
            notes.mixed_schemas(metric, span);
            None
        }
    };
    step(growth.sub(&base), Operation::Subtraction)?;
    if counter {
        let mut previous = &base;
        for (i, (_, current)) in window.histograms.iter().skip(1).enumerate() {
            if anew(i) || is_reset(current, previous) {
                step(growth.add(previous), Operation::Addition)?;
            }
            previous = current;
        }
    } else if !gauge(first) || !gauge(last) {
        notes.not_gauge(metric, span);
    }
    Some(growth.finish_gauge())
}

/// The difference of the last two samples; per second for `irate`.
pub(super) fn instant_rate(window: &Window<'_>, counter: bool, notes: &mut Annotations) -> Option<Point> {
    let start = |starts: &[i64], i: usize| starts.get(i).copied().unwrap_or(0);
    let floats = window.floats.iter().enumerate().rev().take(2);
    let floats = floats.map(|(i, (time, v))| ((*time, start(window.starts, i)), Point::Float(*v)));
    let histograms = window.histograms.iter().enumerate().rev().take(2);
    let histograms = histograms
        .map(|(i, (time, h))| ((*time, start(window.histogram_starts, i)), Point::Histogram(h.clone())));
    let mut latest: Vec<_> = floats.chain(histograms).collect();
    latest.sort_by_key(|((time, _), _)| std::cmp::Reverse(*time));
    let [(last_time, last), (before_time, before), ..] = latest.as_slice() else { return None };
    let seconds = last_time.0.saturating_sub(before_time.0) as f64 / 1000.0;
    if seconds == 0.0 {
        return None;
    }
    let anew = counter && began_anew(*before_time, *last_time);
    match (last, before) {
        (Point::Float(last), Point::Float(before)) => {
            let difference = if counter && (last < before || anew) { *last } else { last - before };
            Some(Point::Float(if counter { difference / seconds } else { difference }))
        }
        (Point::Histogram(last), Point::Histogram(before)) => {
            let mut difference = histogram_difference(window, last, before, (counter, anew), notes)?;
            if counter {
                difference.divide(seconds);
            }
            Some(Point::Histogram(Arc::new(difference.finish_gauge())))
        }
        _ => {
            notes.mixed_floats_histograms(window.metric, window.span);
            None
        }
    }
}

fn histogram_difference(
    window: &Window<'_>,
    last: &Histogram,
    before: &Histogram,
    (counter, anew): (bool, bool),
    notes: &mut Annotations,
) -> Option<Wide> {
    let gauges = [last, before].map(|histogram| histogram.reset == CounterReset::Gauge);
    if counter && gauges.contains(&true) {
        notes.not_counter(window.metric, window.span);
    }
    if !counter && gauges.contains(&false) {
        notes.not_gauge(window.metric, window.span);
    }
    let mut difference = Wide::new(last);
    if counter && (anew || is_reset(last, before)) {
        return Some(difference);
    }
    match difference.sub(before) {
        Ok(reconciled) => {
            if reconciled.bounds {
                notes.bounds_reconciled(Operation::Subtraction, window.span);
            }
            Some(difference)
        }
        Err(WideError::MixedSchemas) => {
            notes.mixed_schemas(window.metric, window.span);
            None
        }
    }
}

/// The value between two samples on the line that joins them. After a counter's reset the line begins at zero.
pub(super) fn interpolate(before: (i64, f64), after: (i64, f64), time: i64, counter: bool) -> f64 {
    let from = if counter && after.1 < before.1 { 0.0 } else { before.1 };
    from + (after.1 - from) * time.saturating_sub(before.0) as f64 / after.0.saturating_sub(before.0) as f64
}

/// As [`interpolate`].
pub(super) fn interpolate_histograms(
    before: &HistogramSample,
    after: &HistogramSample,
    time: i64,
    counter: bool,
    notes: &mut Annotations,
    span: SourceSpan,
) -> Result<Histogram, WideError> {
    if time == before.0 {
        return Ok((*before.1).clone());
    }
    if time == after.0 {
        return Ok((*after.1).clone());
    }
    let fraction = time.saturating_sub(before.0) as f64 / after.0.saturating_sub(before.0) as f64;
    if counter && is_reset(&after.1, &before.1) {
        return Ok(scaled(&after.1, fraction));
    }
    let mut between = Wide::new(&after.1);
    if between.sub(&before.1)?.bounds {
        notes.bounds_reconciled(Operation::Subtraction, span);
    }
    between.scale(fraction);
    if between.add(&before.1)?.bounds {
        notes.bounds_reconciled(Operation::Addition, span);
    }
    Ok(between.finish())
}

/// Which samples stand for the borders of an extended range: the last one at or before its start (or the first), and
/// the first one at or after its end for `smoothed`, the last one for `anchored`.
fn border_samples<T>(samples: &[(i64, T)], start: i64, end: i64, smoothed: bool) -> Option<(usize, usize)> {
    let mut last = samples.len().checked_sub(1)?;
    let first =
        samples.iter().take(last).position(|(time, _)| *time > start).unwrap_or(last).saturating_sub(1);
    if smoothed {
        last = samples.iter().take(last).position(|(time, _)| *time >= end).unwrap_or(last);
    }
    let (first_time, last_time) = (samples.get(first)?.0, samples.get(last)?.0);
    if last_time <= start || (smoothed && first_time > end) { None } else { Some((first, last)) }
}

/// The values at the borders of an extended range.
fn borders(
    floats: &[(i64, f64)],
    (first, last): (usize, usize),
    (start, end): (i64, i64),
    smoothed: bool,
    counter: bool,
) -> Option<(f64, f64)> {
    let (first_sample, last_sample) = (*floats.get(first)?, *floats.get(last)?);
    let left = match floats.get(first + 1) {
        Some(next) if smoothed && first_sample.0 < start => interpolate(first_sample, *next, start, counter),
        _ => first_sample.1,
    };
    let right = match last.checked_sub(1).and_then(|i| floats.get(i)) {
        Some(before) if smoothed && last_sample.0 > end => interpolate(*before, last_sample, end, counter),
        _ => last_sample.1,
    };
    Some((left, right))
}

fn extended(window: &Window<'_>, smoothed: bool, counter: bool, per_second: bool) -> Option<f64> {
    let (floats, start, end) = (window.floats, window.start, window.end);
    let (mut first, mut last) = border_samples(floats, start, end, smoothed)?;
    let (left, right) = borders(floats, (first, last), (start, end), smoothed, counter)?;
    let mut growth = right - left;
    if counter {
        if floats.get(first).is_some_and(|(time, _)| *time <= start) {
            first += 1;
        }
        // One past the last sample that lies strictly inside.
        if floats.get(last).is_some_and(|(time, _)| *time < end) {
            last += 1;
        }
        let mut previous = left;
        let inside = floats.get(first..last).unwrap_or(&[]).iter().map(|(_, value)| *value);
        for value in inside.chain([right]) {
            if value < previous {
                growth += previous;
            }
            previous = value;
        }
    }
    Some(if per_second { growth / window.seconds() } else { growth })
}

fn extended_histogram(
    window: &Window<'_>,
    smoothed: bool,
    counter: bool,
    per_second: bool,
    notes: &mut Annotations,
) -> Option<Point> {
    let (samples, start, end) = (window.histograms, window.start, window.end);
    let (first, last) = border_samples(samples, start, end, smoothed)?;
    let (metric, span) = (window.metric, window.span);
    let looked_at = samples.get(first..=last)?;
    let custom = is_custom(&looked_at.first()?.1);
    if looked_at.iter().any(|(_, histogram)| is_custom(histogram) != custom) {
        notes.mixed_schemas(metric, span);
        return None;
    }
    if counter && looked_at.iter().any(|(_, histogram)| histogram.reset == CounterReset::Gauge) {
        notes.not_counter(metric, span);
    }
    let grown = histogram_between(window, (first, last), smoothed, counter, notes);
    let mut growth = match grown {
        Ok(growth) => growth,
        Err(WideError::MixedSchemas) => {
            notes.mixed_schemas(metric, span);
            return None;
        }
    };
    if per_second {
        growth.divide(window.seconds());
    }
    Some(Point::Histogram(Arc::new(growth.finish_gauge())))
}

fn histogram_between(
    window: &Window<'_>,
    (first, last): (usize, usize),
    smoothed: bool,
    counter: bool,
    notes: &mut Annotations,
) -> Result<Wide, WideError> {
    let (samples, span) = (window.histograms, window.span);
    let border = |sample: &HistogramSample,
                  pair: Option<(&HistogramSample, &HistogramSample)>,
                  time,
                  notes: &mut _| {
        match pair {
            Some((before, after)) => interpolate_histograms(before, after, time, counter, notes, span),
            None => Ok((*sample.1).clone()),
        }
    };
    let empty = (0, Arc::default());
    let (first_sample, last_sample) =
        (samples.get(first).unwrap_or(&empty), samples.get(last).unwrap_or(&empty));
    let second = samples.get(first + 1);
    let left_pair =
        second.map(|next| (first_sample, next)).filter(|_| smoothed && first_sample.0 < window.start);
    let left = border(first_sample, left_pair, window.start, notes)?;
    let before_last = last.checked_sub(1).and_then(|i| samples.get(i));
    let right_pair = before_last.map(|b| (b, last_sample)).filter(|_| smoothed && last_sample.0 > window.end);
    let right = border(last_sample, right_pair, window.end, notes)?;
    if !counter && [&left, &right].into_iter().any(|h| h.reset != CounterReset::Gauge) {
        notes.not_gauge(window.metric, span);
    }
    let mut growth = Wide::new(&right);
    if growth.sub(&left)?.bounds {
        notes.bounds_reconciled(Operation::Subtraction, span);
    }
    if !counter {
        return Ok(growth);
    }
    let (mut previous, mut next) = (&left, first + 1);
    if let Some((first_sample, second)) = left_pair
        && is_reset(&second.1, &first_sample.1)
    {
        // The interpolation at the left border already spans this reset.
        (previous, next) = (&*second.1, next + 1);
    }
    if next > last {
        return Ok(growth);
    }
    let inside = samples.get(next..last).unwrap_or(&[]).iter().map(|(_, histogram)| &**histogram);
    for current in inside.chain([&right]) {
        if is_reset(current, previous) && growth.add(previous)?.bounds {
            notes.bounds_reconciled(Operation::Addition, span);
        }
        previous = current;
    }
    Ok(growth)
}

/// The samples of an extended range vector: those inside, and the values at its borders.
pub(super) fn extend(floats: &[(i64, f64)], start: i64, end: i64, extension: Extension) -> Vec<(i64, f64)> {
    let smoothed = extension == Extension::Smoothed;
    let Some((first, last)) = border_samples(floats, start, i64::MAX, false).and_then(|(first, last)| {
        let end_sample = floats.iter().take(last).position(|(time, _)| *time >= end).unwrap_or(last);
        Some((first, if smoothed { end_sample } else { last }))
            .filter(|(_, last)| floats.get(*last).is_some_and(|(time, _)| *time > start))
    }) else {
        return Vec::new();
    };
    let Some((left, right)) = borders(floats, (first, last), (start, end), smoothed, false) else {
        return Vec::new();
    };
    let inside = floats.iter().filter(|(time, _)| *time > start && *time < end);
    std::iter::once((start, left)).chain(inside.copied()).chain([(end, right)]).collect()
}
