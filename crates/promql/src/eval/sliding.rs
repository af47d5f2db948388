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

/// What a row says beside its values.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    /// Values that are there.
    pub values: usize,
    /// Samples in all windows together.
    pub samples: u64,
}

/// Computes rows of a function, series by series. Holds what can be used again for the next series.
pub(super) struct Rows {
    kernel: Kernel,
    frame: Frame,
    steps: Steps,
}

enum Kernel {
    Rate(Rate),
    Extreme(Extreme),
    Count,
    Last,
}

/// The samples of a window as positions.
#[derive(Clone, Copy, Debug, Default)]
struct Bounds {
    from: usize,
    to: usize,
}

impl Rows {
    /// `None` where there is no shortcut: extended ranges, and functions that need their whole window.
    pub(super) fn new(function: RangeFunction, frame: Frame, steps: Steps) -> Option<Self> {
        let rate = |counter, per_second| Kernel::Rate(Rate::new(counter, per_second));
        let kernel = match function {
            _ if !frame.is_plain() => return None,
            RangeFunction::Rate => rate(true, true),
            RangeFunction::Increase => rate(true, false),
            RangeFunction::Delta => rate(false, false),
            RangeFunction::Min => Kernel::Extreme(Extreme::new(false)),
            RangeFunction::Max => Kernel::Extreme(Extreme::new(true)),
            RangeFunction::Count => Kernel::Count,
            RangeFunction::Last => Kernel::Last,
            _ => return None,
        };
        Some(Self { kernel, frame, steps })
    }

    /// Writes the row of a series without stale markers into `row`.
    pub(super) fn fill(&mut self, times: &[i64], values: &[f64], row: &mut Vec<f64>) -> Found {
        row.clear();
        let (frame, steps) = (self.frame, self.steps);
        match &mut self.kernel {
            Kernel::Rate(rate) => {
                rate.begin(values);
                slide(frame, steps, times, row, |inside, range| rate.value(times, values, inside, range))
            }
            Kernel::Extreme(extreme) => {
                extreme.begin();
                slide(frame, steps, times, row, |inside, _| extreme.value(values, inside))
            }
            Kernel::Count => slide(frame, steps, times, row, |inside, _| (inside.to - inside.from) as f64),
            Kernel::Last => slide(frame, steps, times, row, |inside, _| {
                values.get(inside.to - 1).copied().unwrap_or(STALE)
            }),
        }
    }
}

/// The values of a row as points.
pub(super) fn points(row: &[f64]) -> Vec<Option<Point>> {
    row.iter().map(|value| (!is_stale(*value)).then_some(Point::Float(*value))).collect()
}

/// Moves a window over the samples; windows without samples have no value.
#[inline]
fn slide(
    frame: Frame,
    steps: Steps,
    times: &[i64],
    row: &mut Vec<f64>,
    mut value: impl FnMut(Bounds, (i64, i64)) -> f64,
) -> Found {
    let (mut inside, mut found) = (Bounds::default(), Found::default());
    row.extend(steps.iter().map(|(_, time)| {
        let (start, end) = frame.range(time);
        let passed = |at: usize, border: i64| times.get(at).is_some_and(|time| *time <= border);
        while passed(inside.from, start) {
            inside.from += 1;
        }
        inside.to = inside.to.max(inside.from);
        while passed(inside.to, end) {
            inside.to += 1;
        }
        if inside.from == inside.to {
            return STALE;
        }
        found.samples += (inside.to - inside.from) as u64;
        let value = value(inside, (start, end));
        found.values += usize::from(!is_stale(value));
        value
    }));
    found
}

/// `rate`, `increase` and `delta`.
struct Rate {
    counter: bool,
    per_second: bool,
    /// Positions of samples that are less than the one before.
    resets: Vec<usize>,
    /// The first reset that no window has left behind.
    next: usize,
    layout: Layout,
}

impl Rate {
    fn new(counter: bool, per_second: bool) -> Self {
        Self { counter, per_second, resets: Vec::new(), next: 0, layout: Layout::default() }
    }

    fn begin(&mut self, values: &[f64]) {
        self.resets.clear();
        self.next = 0;
        if self.counter {
            let is_reset = |pair: &[f64]| matches!(pair, [before, after] if after < before);
            let pairs = values.windows(2).enumerate().filter(|(_, pair)| is_reset(pair));
            self.resets.extend(pairs.map(|(at, _)| at + 1));
        }
    }

    #[inline]
    fn value(&mut self, times: &[i64], values: &[f64], inside: Bounds, (start, end): (i64, i64)) -> f64 {
        let (first, last) = (inside.from, inside.to - 1);
        let (Some(first_time), Some(last_time)) = (times.get(first), times.get(last)) else { return STALE };
        let (Some(first_value), Some(last_value)) = (values.get(first), values.get(last)) else {
            return STALE;
        };
        if first == last {
            return STALE;
        }
        let mut growth = last_value - first_value;
        if !self.resets.is_empty() {
            growth = self.without_resets(values, inside, growth);
        }
        let key = LayoutKey {
            to_start: first_time.saturating_sub(start),
            to_end: end.saturating_sub(*last_time),
            sampled: last_time.saturating_sub(*first_time),
            width: end.saturating_sub(start),
            samples: last - first + 1,
        };
        if self.layout.key != Some(key) {
            self.layout = Layout::new(key, self.per_second);
        }
        let factor = match self.counter {
            true => self.layout.counter_factor(*first_value, growth, self.per_second),
            false => self.layout.factor,
        };
        growth * factor
    }

    /// Adds the values before the resets between samples of the window.
    fn without_resets(&mut self, values: &[f64], inside: Bounds, growth: f64) -> f64 {
        while self.resets.get(self.next).is_some_and(|at| *at <= inside.from) {
            self.next += 1;
        }
        let ahead = self.resets.get(self.next..).unwrap_or_default().iter();
        let lost = ahead.take_while(|at| **at < inside.to).filter_map(|at| values.get(at.checked_sub(1)?));
        lost.fold(growth, |growth, lost| growth + lost)
    }
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
    key: Option<LayoutKey>,
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
        let mut layout = Self { key: Some(key), to_start, to_end, sampled, width, factor: 0.0 };
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

/// The best value of a window: of those that could still become the best, each is better than all after it.
struct Extreme {
    /// Greater is better, else less.
    max: bool,
    /// Position and value; those before `first` are done with.
    candidates: Vec<(usize, f64)>,
    first: usize,
    /// Samples before this were looked at.
    seen: usize,
}

impl Extreme {
    fn new(max: bool) -> Self {
        Self { max, candidates: Vec::new(), first: 0, seen: 0 }
    }

    fn begin(&mut self) {
        self.candidates.clear();
        (self.first, self.seen) = (0, 0);
    }

    /// NaN is worse than everything; of equal values the first stands, of NaNs alone the last.
    fn value(&mut self, values: &[f64], inside: Bounds) -> f64 {
        let max = self.max;
        let is_better = |new: f64, best: f64| if max { new > best } else { new < best };
        let from = self.seen.max(inside.from);
        let fresh = values.get(from..inside.to).unwrap_or_default();
        for (at, new) in (from..).zip(fresh).filter(|(_, new)| !new.is_nan()) {
            while self.candidates.len() > self.first
                && self.candidates.last().is_some_and(|(_, best)| is_better(*new, *best))
            {
                self.candidates.pop();
            }
            self.candidates.push((at, *new));
        }
        self.seen = self.seen.max(inside.to);
        while self.candidates.get(self.first).is_some_and(|(at, _)| *at < inside.from) {
            self.first += 1;
        }
        let best = self.candidates.get(self.first).map(|(_, value)| *value);
        best.or_else(|| values.get(inside.to.checked_sub(1)?).copied()).unwrap_or(STALE)
    }
}
