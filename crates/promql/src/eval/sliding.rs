//! Shortcuts for windows that slide over the floats of one series, which lie in columns: each sample is looked at a
//! bounded number of times, however wide the window and however small the step, and what only depends on where the
//! samples of a window lie is computed once for windows that look alike. Answers are those of the plain definitions,
//! bit for bit, which a property test compares (`tests/shortcuts.rs`).
//!
//! A row of values holds [`STALE`] where there is none. That loses nothing: markers are taken out before, arithmetic
//! makes no signalling NaN, and what is not arithmetic gives a sample's own bits.

use super::over_range::{Frame, RangeFunction};
use super::rate::EXTRAPOLATION_DISTANCES;
use super::{Point, STALE, Steps, is_stale};
use crate::kahan::{Mean, Sum};

/// What a row says beside its values.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    /// Values that are there.
    pub values: usize,
    /// Samples in all windows together.
    pub samples: u64,
}

/// The windows of a grid and where their samples lie in a series. Series that are sampled together have the same times,
/// and then the same windows: those of the series before are used again.
pub(super) struct Windows {
    /// Each window is `(start, end]`.
    ranges: Vec<(i64, i64)>,
    /// The times that the rest belongs to.
    times: Vec<i64>,
    bounds: Vec<Bounds>,
    is_known: bool,
    /// Samples of all windows together, and of the one with most.
    samples: u64,
    longest: usize,
}

/// The samples of a window as positions.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bounds {
    pub from: usize,
    pub to: usize,
}

impl Windows {
    /// Bytes for each instant of a grid, with what kernels keep beside.
    pub(super) const BYTES: usize = size_of::<(i64, i64)>() + size_of::<Bounds>() + size_of::<Layout>();

    /// Windows whose borders do not go back.
    pub(super) fn new(ranges: impl Iterator<Item = (i64, i64)>) -> Self {
        Self {
            ranges: ranges.collect(),
            times: Vec::new(),
            bounds: Vec::new(),
            is_known: false,
            samples: 0,
            longest: 0,
        }
    }

    /// Finds the samples of each window. False when they lie where those of the series before did.
    fn look_at(&mut self, times: &[i64]) -> bool {
        if self.is_known && self.times == times {
            return false;
        }
        self.is_known = true;
        self.times.clear();
        self.times.extend_from_slice(times);
        (self.samples, self.longest) = (0, 0);
        let mut inside = Bounds::default();
        self.bounds.clear();
        self.bounds.extend(self.ranges.iter().map(|(start, end)| {
            let passed = |from: usize, border: i64| {
                let rest = times.get(from..).unwrap_or_default();
                from + rest.iter().take_while(|time| **time <= border).count()
            };
            inside.from = passed(inside.from, *start);
            inside.to = passed(inside.to.max(inside.from), *end);
            let samples = inside.to - inside.from;
            self.samples += samples as u64;
            self.longest = self.longest.max(samples);
            inside
        }));
        true
    }

    /// The latest sample of each window, [`STALE`] where there is none or the series had ended.
    pub(super) fn latest(&mut self, times: &[i64], values: &[f64], row: &mut Vec<f64>) -> Found {
        self.look_at(times);
        let mut found = Found::default();
        row.clear();
        row.extend(self.bounds.iter().map(|inside| {
            let value = if inside.from < inside.to { values.get(inside.to - 1) } else { None };
            let value = value.copied().unwrap_or(STALE);
            found.values += usize::from(!is_stale(value));
            value
        }));
        found.samples = found.values as u64;
        found
    }
}

/// Computes rows of a function, series by series. Holds what can be used again for the next series.
pub(super) struct Rows {
    kernel: Kernel,
    windows: Windows,
}

enum Kernel {
    Rate(Rate),
    Extreme(Extreme),
    /// What only looks at the values of a window, one window after the other.
    Fold(fn(&[f64]) -> f64),
    /// The last two samples: `irate`, or `idelta`.
    Last2 {
        counter: bool,
    },
}

impl Kernel {
    fn new(function: RangeFunction) -> Option<Self> {
        let rate = |counter, per_second| Self::Rate(Rate::new(counter, per_second));
        Some(match function {
            RangeFunction::Rate => rate(true, true),
            RangeFunction::Increase => rate(true, false),
            RangeFunction::Delta => rate(false, false),
            RangeFunction::Irate => Self::Last2 { counter: true },
            RangeFunction::Idelta => Self::Last2 { counter: false },
            RangeFunction::Min => Self::Extreme(Extreme::new(false)),
            RangeFunction::Max => Self::Extreme(Extreme::new(true)),
            RangeFunction::Count => Self::Fold(|values| values.len() as f64),
            RangeFunction::Present => Self::Fold(|_| 1.0),
            RangeFunction::First => Self::Fold(|values| values.first().copied().unwrap_or(STALE)),
            RangeFunction::Last => Self::Fold(|values| values.last().copied().unwrap_or(STALE)),
            RangeFunction::Sum => Self::Fold(sum),
            RangeFunction::Avg => Self::Fold(mean),
            _ => return None,
        })
    }
}

impl Rows {
    /// True when [`Self::new`] has rows to give.
    pub(super) fn exist(function: RangeFunction, frame: Frame) -> bool {
        frame.is_plain() && Kernel::new(function).is_some()
    }

    /// `None` where there is no shortcut: extended ranges, and functions that need their whole window.
    pub(super) fn new(function: RangeFunction, frame: Frame, steps: Steps) -> Option<Self> {
        let kernel = Kernel::new(function).filter(|_| frame.is_plain())?;
        Some(Self { kernel, windows: Windows::new(steps.iter().map(|(_, time)| frame.range(time))) })
    }

    /// Writes the row of a series without stale markers into `row`.
    pub(super) fn fill(&mut self, times: &[i64], values: &[f64], row: &mut Vec<f64>) -> Found {
        row.clear();
        let is_new = self.windows.look_at(times);
        let windows = &self.windows;
        let values_there = match &mut self.kernel {
            Kernel::Rate(rate) => rate.fill(is_new, windows, values, row),
            Kernel::Extreme(extreme) => extreme.fill(windows, values, row),
            Kernel::Fold(fold) => {
                fill_each(windows, row, |inside| match values.get(inside.from..inside.to) {
                    Some(values) if !values.is_empty() => fold(values),
                    _ => STALE,
                })
            }
            Kernel::Last2 { counter } => {
                fill_each(windows, row, |inside| last_two(times, values, *inside, *counter))
            }
        };
        Found { values: values_there, samples: windows.samples }
    }
}

/// Adds what `value` gives for each window; tells how many values are there.
#[inline]
fn fill_each(windows: &Windows, row: &mut Vec<f64>, mut value: impl FnMut(&Bounds) -> f64) -> usize {
    let mut there = 0;
    row.extend(windows.bounds.iter().map(|inside| {
        let value = value(inside);
        there += usize::from(!is_stale(value));
        value
    }));
    there
}

fn sum(values: &[f64]) -> f64 {
    let mut sum = Sum::default();
    values.iter().for_each(|value| sum.add(*value));
    sum.value()
}

fn mean(values: &[f64]) -> f64 {
    let Some((first, rest)) = values.split_first() else { return STALE };
    let mut mean = Mean::new(*first);
    rest.iter().for_each(|value| mean.add(*value));
    mean.value()
}

/// The difference of the last two samples; per second for a counter, which is zero after a reset.
fn last_two(times: &[i64], values: &[f64], inside: Bounds, counter: bool) -> f64 {
    let (Some([.., before_time, last_time]), Some([.., before, last])) =
        (times.get(inside.from..inside.to), values.get(inside.from..inside.to))
    else {
        return STALE;
    };
    let seconds = last_time.saturating_sub(*before_time) as f64 / 1000.0;
    if seconds == 0.0 {
        return STALE;
    }
    let difference = if counter && last < before { *last } else { last - before };
    if counter { difference / seconds } else { difference }
}

/// The values of a row as points.
pub(super) fn points(row: &[f64]) -> Vec<Option<Point>> {
    row.iter().map(|value| (!is_stale(*value)).then_some(Point::Float(*value))).collect()
}

/// `rate`, `increase` and `delta`.
struct Rate {
    counter: bool,
    per_second: bool,
    /// Positions of samples that are less than the one before.
    resets: Vec<usize>,
    /// By window.
    layouts: Vec<Layout>,
    /// Windows with at least two samples.
    growing: usize,
}

impl Rate {
    fn new(counter: bool, per_second: bool) -> Self {
        Self { counter, per_second, resets: Vec::new(), layouts: Vec::new(), growing: 0 }
    }

    fn fill(&mut self, is_new: bool, windows: &Windows, values: &[f64], row: &mut Vec<f64>) -> usize {
        if is_new {
            self.lay_out(windows);
        }
        self.find_resets(values);
        let (resets, per_second, mut next) = (self.resets.as_slice(), self.per_second, 0);
        let windows = windows.bounds.iter().zip(&self.layouts);
        let pair = |inside: &Bounds| {
            let last = inside.to.checked_sub(1).filter(|last| *last > inside.from)?;
            Some((*values.get(inside.from)?, *values.get(last)?))
        };
        match (self.counter, resets.is_empty()) {
            (false, _) => row.extend(windows.map(|(inside, layout)| {
                pair(inside).map_or(STALE, |(first, last)| (last - first) * layout.factor)
            })),
            (true, true) => row.extend(windows.map(|(inside, layout)| match pair(inside) {
                Some((first, last)) => {
                    let growth = last - first;
                    growth * layout.counter_factor(first, growth, per_second)
                }
                None => STALE,
            })),
            (true, false) => row.extend(windows.map(|(inside, layout)| match pair(inside) {
                Some((first, last)) => {
                    let growth = without_resets(resets, &mut next, values, *inside, last - first);
                    growth * layout.counter_factor(first, growth, per_second)
                }
                None => STALE,
            })),
        }
        self.growing
    }

    fn find_resets(&mut self, values: &[f64]) {
        self.resets.clear();
        if !self.counter {
            return;
        }
        let pairs = || values.iter().zip(values.get(1..).unwrap_or_default());
        // Most series have none, and a count of all is quicker than a search for the first.
        if pairs().map(|(before, after)| usize::from(after < before)).sum::<usize>() > 0 {
            let resets = pairs().enumerate().filter(|(_, (before, after))| after < before);
            self.resets.extend(resets.map(|(at, _)| at + 1));
        }
    }

    fn lay_out(&mut self, windows: &Windows) {
        self.layouts.clear();
        self.growing = 0;
        let (mut layout, mut known) = (Layout::default(), None);
        self.layouts.extend(windows.bounds.iter().zip(&windows.ranges).map(|(inside, (start, end))| {
            let of_window = windows.times.get(inside.from..inside.to).unwrap_or_default();
            let [first, .., last] = of_window else { return Layout::default() };
            self.growing += 1;
            let key = LayoutKey {
                to_start: first.saturating_sub(*start),
                to_end: end.saturating_sub(*last),
                sampled: last.saturating_sub(*first),
                width: end.saturating_sub(*start),
                samples: of_window.len(),
            };
            if known != Some(key) {
                (layout, known) = (Layout::new(key, self.per_second), Some(key));
            }
            layout
        }));
    }
}

/// Adds the values before the resets between samples of the window. `next` is the first reset that no window has left
/// behind.
fn without_resets(resets: &[usize], next: &mut usize, values: &[f64], inside: Bounds, growth: f64) -> f64 {
    while resets.get(*next).is_some_and(|at| *at <= inside.from) {
        *next += 1;
    }
    let ahead = resets.get(*next..).unwrap_or_default().iter();
    let lost = ahead.take_while(|at| **at < inside.to).filter_map(|at| values.get(at.checked_sub(1)?));
    lost.fold(growth, |growth, lost| growth + lost)
}

/// Where the samples of a window lie in it, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LayoutKey {
    to_start: i64,
    to_end: i64,
    sampled: i64,
    width: i64,
    samples: usize,
}

/// What the extrapolation of a window makes of where its samples lie; the definition is that of
/// [`super::rate::rate`]. Windows that look alike follow each other in all series that are sampled regularly.
#[derive(Clone, Copy, Debug, Default)]
struct Layout {
    /// Seconds: before the first sample, after the last, between both, and of the whole range.
    to_start: f64,
    to_end: f64,
    sampled: f64,
    width: f64,
    /// By what growth is multiplied unless a counter was zero inside of the range.
    factor: f64,
}

impl Layout {
    fn new(key: LayoutKey, per_second: bool) -> Self {
        let sampled = key.sampled as f64 / 1000.0;
        let distance = sampled / (key.samples - 1) as f64;
        let threshold = distance * EXTRAPOLATION_DISTANCES;
        let limited = |border: i64| {
            let border = border as f64 / 1000.0;
            if border >= threshold { distance / 2.0 } else { border }
        };
        let (to_start, to_end) = (limited(key.to_start), limited(key.to_end));
        let width = key.width as f64 / 1000.0;
        let mut layout = Self { to_start, to_end, sampled, width, factor: 0.0 };
        layout.factor = layout.factor_from(to_start, per_second);
        layout
    }

    fn factor_from(&self, to_start: f64, per_second: bool) -> f64 {
        let sampled = self.sampled;
        let factor = if sampled == 0.0 { 1.0 } else { (sampled + to_start + self.to_end) / sampled };
        if per_second { factor / self.width } else { factor }
    }

    /// The factor of a counter: there was no growth before the time at which it would have been zero.
    #[inline]
    fn counter_factor(&self, first: f64, growth: f64, per_second: bool) -> f64 {
        // From a value of at least the growth, zero lies at least as far back as all samples reach: no need to divide.
        let is_far = first >= growth && self.to_start <= self.sampled;
        if is_far || !(growth > 0.0 && first >= 0.0) {
            return self.factor;
        }
        let to_zero = self.sampled * (first / growth);
        if to_zero < self.to_start { self.factor_from(to_zero, per_second) } else { self.factor }
    }
}

/// The best value of each window. Values are cut into stretches as long as the longest window; a window then is the end
/// of one stretch and the beginning of the next, and the best value from any position to both borders of its stretch is
/// found by going over the values once in each direction.
struct Extreme {
    /// Greater is better, else less.
    max: bool,
    /// The best value from the beginning of the stretch to here.
    before: Vec<f64>,
    /// The best value from here to the end of the stretch.
    after: Vec<f64>,
}

impl Extreme {
    fn new(max: bool) -> Self {
        Self { max, before: Vec::new(), after: Vec::new() }
    }

    fn fill(&mut self, windows: &Windows, values: &[f64], row: &mut Vec<f64>) -> usize {
        match self.max {
            true => self.fill_with(windows, values, row, |new, best| new > best),
            false => self.fill_with(windows, values, row, |new, best| new < best),
        }
    }

    /// NaN is worse than everything; of equal values the first stands, of NaNs alone the last.
    fn fill_with(
        &mut self,
        windows: &Windows,
        values: &[f64],
        row: &mut Vec<f64>,
        is_better: impl Fn(f64, f64) -> bool + Copy,
    ) -> usize {
        let best_of = |best: f64, new: f64| if is_better(new, best) || best.is_nan() { new } else { best };
        let earlier_of = |new: f64, best: f64| if is_better(best, new) || new.is_nan() { best } else { new };
        let stretch = windows.longest.max(1);
        self.before.clear();
        self.after.clear();
        self.after.extend_from_slice(values);
        for (these, after) in values.chunks(stretch).zip(self.after.chunks_mut(stretch)) {
            let mut best = f64::NAN;
            self.before.extend(these.iter().map(|value| {
                best = best_of(best, *value);
                best
            }));
            let mut best = f64::NAN;
            for slot in after.iter_mut().rev() {
                best = earlier_of(*slot, best);
                *slot = best;
            }
        }
        let mut border = stretch;
        fill_each(windows, row, |inside| {
            let Some(last) = inside.to.checked_sub(1).filter(|last| *last >= inside.from) else {
                return STALE;
            };
            while border <= inside.from {
                border += stretch;
            }
            let (after, before) = (self.after.get(inside.from), self.before.get(last));
            let best = match (after.zip(before), border.checked_sub(stretch)) {
                (Some((after, before)), _) if inside.to > border => best_of(*after, *before),
                (Some((after, _)), _) if inside.to == border || inside.to == values.len() => *after,
                (Some((_, before)), Some(start)) if inside.from == start => *before,
                _ => {
                    let inside = values.get(inside.from..inside.to).unwrap_or_default();
                    inside.iter().fold(f64::NAN, |best, value| best_of(best, *value))
                }
            };
            if best.is_nan() { values.get(last).copied().unwrap_or(STALE) } else { best }
        })
    }
}
