//! Shortcuts for windows that slide over the floats of one series: each sample is looked at a bounded number of times,
//! however wide the window and however small the step. Answers are those of the plain definitions, bit for bit, which a
//! property test compares (`tests/shortcuts.rs`).

use std::collections::VecDeque;

use super::over_range::{Bounds, Frame, RangeFunction, Window};
use super::rate::rate_with_resets;
use super::select::Loaded;
use super::{Point, Steps};
use crate::plan::OverRange;

/// The function's value at each instant, and the samples in all windows together; `None` where there is no shortcut:
/// histograms, start times, extended ranges, and functions that need their whole window.
pub(super) fn windows(
    call: &OverRange,
    frame: &Frame,
    loaded: &Loaded,
    steps: Steps,
) -> Option<(Vec<Option<Point>>, u64)> {
    if !frame.is_plain() || !loaded.histograms.is_empty() || !loaded.starts.is_empty() {
        return None;
    }
    let floats = loaded.floats.as_slice();
    let mut state = State::new(call.function, floats)?;
    let (mut bounds, mut samples) = (Bounds::default(), 0);
    let metric = loaded.labels.metric_name();
    let point = |(_, time): (usize, i64)| {
        let (start, end) = frame.range(time);
        let inside = bounds.advance(floats, start, end);
        samples += inside.len() as u64;
        if inside.is_empty() {
            return None;
        }
        let window = Window {
            floats: inside,
            histograms: &[],
            starts: &[],
            histogram_starts: &[],
            start,
            end,
            time,
            extension: None,
            metric,
            params: &[],
            span: call.span,
        };
        state.value(&window, floats, bounds).map(Point::Float)
    };
    let points = steps.iter().map(point).collect();
    Some((points, samples))
}

/// What is carried from one window to the next.
enum State {
    Rate { counter: bool, per_second: bool, resets: Resets },
    Extreme(Extreme),
    Count,
    Last,
}

impl State {
    fn new(function: RangeFunction, floats: &[(i64, f64)]) -> Option<Self> {
        let rate = |counter, per_second| Self::Rate {
            counter,
            per_second,
            resets: if counter { Resets::of(floats) } else { Resets::default() },
        };
        Some(match function {
            RangeFunction::Rate => rate(true, true),
            RangeFunction::Increase => rate(true, false),
            RangeFunction::Delta => rate(false, false),
            RangeFunction::Min => Self::Extreme(Extreme::new(|new, best| new < best)),
            RangeFunction::Max => Self::Extreme(Extreme::new(|new, best| new > best)),
            RangeFunction::Count => Self::Count,
            RangeFunction::Last => Self::Last,
            _ => return None,
        })
    }

    fn value(&mut self, window: &Window<'_>, floats: &[(i64, f64)], bounds: Bounds) -> Option<f64> {
        match self {
            Self::Rate { counter, per_second, resets } => {
                rate_with_resets(window, resets.inside(floats, bounds), *counter, *per_second)
            }
            Self::Extreme(extreme) => extreme.of(floats, bounds),
            Self::Count => Some(window.floats.len() as f64),
            Self::Last => window.floats.last().map(|(_, value)| *value),
        }
    }
}

/// The samples of a counter that are less than the one before.
#[derive(Default)]
struct Resets {
    at: Vec<usize>,
    /// The first one that no window has left behind.
    next: usize,
}

impl Resets {
    fn of(floats: &[(i64, f64)]) -> Self {
        let is_reset = |pair: &[(i64, f64)]| matches!(pair, [(_, before), (_, after)] if after < before);
        let pairs = floats.windows(2).enumerate().filter(|(_, pair)| is_reset(pair));
        Self { at: pairs.map(|(i, _)| i + 1).collect(), next: 0 }
    }

    /// The values before the resets between samples of a window.
    fn inside<'a>(&'a mut self, floats: &'a [(i64, f64)], bounds: Bounds) -> impl Iterator<Item = f64> + 'a {
        while self.at.get(self.next).is_some_and(|at| *at <= bounds.from) {
            self.next += 1;
        }
        let ahead = self.at.get(self.next..).unwrap_or(&[]).iter();
        ahead.take_while(move |at| **at < bounds.to).filter_map(|at| Some(floats.get(at.checked_sub(1)?)?.1))
    }
}

/// The best value of a window: of those that could still become the best, each is better than all after it.
struct Extreme {
    is_better: fn(f64, f64) -> bool,
    candidates: VecDeque<usize>,
    /// Samples before this were looked at.
    seen: usize,
}

impl Extreme {
    fn new(is_better: fn(f64, f64) -> bool) -> Self {
        Self { is_better, candidates: VecDeque::new(), seen: 0 }
    }

    /// NaN is worse than everything; of equal values the first stands, of NaNs alone the last.
    fn of(&mut self, floats: &[(i64, f64)], bounds: Bounds) -> Option<f64> {
        let value = |at: usize| floats.get(at).map_or(f64::NAN, |(_, value)| *value);
        for at in self.seen.max(bounds.from)..bounds.to {
            let new = value(at);
            if new.is_nan() {
                continue;
            }
            while self.candidates.back().is_some_and(|best| (self.is_better)(new, value(*best))) {
                self.candidates.pop_back();
            }
            self.candidates.push_back(at);
        }
        self.seen = self.seen.max(bounds.to);
        while self.candidates.front().is_some_and(|at| *at < bounds.from) {
            self.candidates.pop_front();
        }
        let best = self.candidates.front().copied().or(bounds.to.checked_sub(1))?;
        Some(value(best))
    }
}
