//! Which parts are too old, and how many of them may go at once.
//!
//! The policy's `now` is the server's wall clock; a part's age is that of its latest row, so a sender's future stamp can
//! only keep a part longer, never remove another. Two rules stand between a wrong clock and the data:
//!
//! - One pass removes at most a tenth of all bytes (at least one part), oldest first. The next pass goes on.
//! - When the wall clock moved against the steady clock by more than a minute since the last pass, nothing is removed
//!   until passes at least ten minutes apart agree on the time again.

use std::sync::Arc;
use std::time::Duration;

use kenning_model::{Nanos, Retention};

use crate::parts::PartTable;
use crate::parts::part::Part;

/// How far wall and steady clock may drift apart between two passes.
const JUMP_MAX: Duration = Duration::from_secs(60);
/// How long the clocks must agree after a jump before anything is removed again.
const CALM_MIN: Duration = Duration::from_secs(600);

/// Watches the clock between passes.
#[derive(Debug, Default)]
pub(crate) struct ClockWatch {
    last: Option<(Nanos, Duration)>,
    jumped: Option<Duration>,
}

impl ClockWatch {
    /// True when the wall clock can be believed. `steady` is the time of this pass by the steady clock.
    pub(crate) fn is_calm(&mut self, now: Nanos, steady: Duration) -> bool {
        if let Some((last_now, last_steady)) = self.last {
            let wall = i128::from(now.0) - i128::from(last_now.0);
            let real = i128::try_from(steady.saturating_sub(last_steady).as_nanos()).unwrap_or(i128::MAX);
            if (wall - real).unsigned_abs() > JUMP_MAX.as_nanos() {
                self.jumped = Some(steady);
            }
        }
        self.last = Some((now, steady));
        if self.jumped.is_some_and(|since| steady.saturating_sub(since) >= CALM_MIN) {
            self.jumped = None;
        }
        self.jumped.is_none()
    }
}

/// The parts that go in this pass.
pub(crate) fn choose<'a>(
    parts: impl Iterator<Item = &'a Arc<Part>>,
    policy: &Retention,
    percent_max: u64,
) -> Vec<Arc<Part>> {
    let parts: Vec<&Arc<Part>> = parts.collect();
    let total: u64 = parts.iter().map(|part| part.info.bytes).sum();
    let budget = (u128::from(total) * u128::from(percent_max) / 100) as u64;
    let mut old: Vec<_> = parts.into_iter().filter(|part| is_too_old(part, policy)).collect();
    old.sort_by_key(|part| (part.info.time.end, part.info.name.id));
    let mut bytes = 0;
    let within = old.into_iter().enumerate().take_while(|(at, part)| {
        bytes += part.info.bytes;
        *at == 0 || bytes <= budget
    });
    within.map(|(_, part)| Arc::clone(part)).collect()
}

fn is_too_old(part: &Part, policy: &Retention) -> bool {
    let age = match part.info.name.table {
        PartTable::Samples | PartTable::Histograms | PartTable::Exemplars => policy.metrics,
        PartTable::Logs => policy.logs,
        PartTable::Spans => policy.traces,
        // Metadata have no time and stay as long as the tenant.
        PartTable::Metadata => None,
    };
    let age = age.and_then(|age| i64::try_from(age.as_nanos()).ok());
    age.is_some_and(|age| part.info.time.end.0 < policy.now.0.saturating_sub(age))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(passes: &[(i64, u64)], expect: &[bool]) {
        let mut watch = ClockWatch::default();
        let second = 1_000_000_000;
        let calm: Vec<_> = passes
            .iter()
            .map(|(now, steady)| watch.is_calm(Nanos(now * second), Duration::from_secs(*steady)))
            .collect();
        assert_eq!(calm, expect, "{passes:?}");
    }

    #[test]
    fn a_jumping_clock_removes_nothing() {
        check(&[(0, 0), (300, 300), (630, 600)], &[true, true, true]);
        check(&[(0, 0), (400 + 86_400, 400)], &[true, false]);
        check(&[(0, 0), (-7200, 300), (-6900, 600), (-6600, 900)], &[true, false, false, true]);
        check(&[(0, 0), (i64::MAX / 1_000_000_000, 1), (0, 2)], &[true, false, false]);
    }
}
