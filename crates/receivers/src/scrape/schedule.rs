//! When a target is scraped and which stamp its samples get.
//!
//! Every target has its own point within the interval, so that targets do not all answer at once. Stamps are multiples
//! of the interval beyond that point as long as the timer is nearly exact: equal distances pack and aggregate best.

use std::time::Duration;

use kenning_model::Nanos;
use kenning_stdx::clock::Clock;

/// A scrape this late or less gets the stamp it should have had. Prometheus: `ScrapeTimestampTolerance`, and at most a
/// hundredth of the interval.
const TOLERANCE: Duration = Duration::from_millis(2);

/// The instants of one target's scrapes.
#[derive(Debug)]
pub(super) struct Schedule {
    interval: Duration,
    /// Steady time of the next scrape.
    next: Duration,
    /// Wall time the next scrape is due at.
    aligned: i64,
}

impl Schedule {
    /// The first scrape comes within one interval, at this seed's point of it by the wall clock.
    pub fn new(clock: &dyn Clock, interval: Duration, seed: u64) -> Self {
        let nanos = nanos_of(interval);
        let point = (seed % nanos.unsigned_abs().max(1)) as i64;
        let wall = clock.unix_nanos();
        let wait = (point - wall.rem_euclid(nanos)).rem_euclid(nanos);
        let next = clock.steady() + Duration::from_nanos(wait.unsigned_abs());
        Self { interval, next, aligned: wall.saturating_add(wait) }
    }

    /// How long to sleep until the next scrape.
    pub fn until_next(&self, clock: &dyn Clock) -> Duration {
        self.next.saturating_sub(clock.steady())
    }

    /// The next scrape begins: gives its stamp and moves on. Scrapes whose time has passed meanwhile are skipped.
    pub fn tick(&mut self, clock: &dyn Clock) -> Nanos {
        let (wall, steady) = (clock.unix_nanos(), clock.steady());
        let late = wall.saturating_sub(self.aligned);
        let tolerance = nanos_of(TOLERANCE.min(self.interval / 100));
        let stamp = if late.unsigned_abs() <= tolerance.unsigned_abs() { self.aligned } else { wall };
        let (step, behind) = (nanos_of(self.interval), steady.saturating_sub(self.next));
        let steps = 1 + i64::try_from(behind.as_nanos() / self.interval.as_nanos().max(1)).unwrap_or(0);
        self.next += self.interval.saturating_mul(u32::try_from(steps).unwrap_or(u32::MAX));
        self.aligned = self.aligned.saturating_add(step.saturating_mul(steps));
        // After a jump of the wall clock the old grid says nothing any more; the point within the interval stays.
        if late.unsigned_abs() >= step.saturating_mul(steps).unsigned_abs() {
            self.aligned = wall.saturating_add(nanos_of(self.next.saturating_sub(steady)));
        }
        Nanos(stamp)
    }
}

fn nanos_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kenning_stdx::clock::SimClock;

    const S: i64 = 1_000_000_000;
    const INTERVAL: Duration = Duration::from_secs(10);

    fn start(wall: i64, seed: u64) -> (SimClock, Schedule) {
        let clock = SimClock::new(wall);
        let schedule = Schedule::new(&clock, INTERVAL, seed);
        (clock, schedule)
    }

    #[test]
    fn the_first_scrape_is_at_the_targets_own_point() {
        for (wall, seed, wait) in [(100 * S, 0, 0), (100 * S, 3 * S, 3), (104 * S, 3 * S, 9), (-S, 0, 1)] {
            let (clock, schedule) = start(wall, seed as u64);
            assert_eq!(schedule.until_next(&clock), Duration::from_secs(wait), "{wall} {seed}");
        }
    }

    #[test]
    fn small_delays_are_aligned_away_and_large_ones_are_told() {
        let (clock, mut schedule) = start(100 * S, 0);
        clock.advance(Duration::from_millis(1));
        assert_eq!(schedule.tick(&clock), Nanos(100 * S));
        clock.advance(Duration::from_millis(10_004));
        assert_eq!(schedule.tick(&clock), Nanos(110 * S + 5_000_000));
        clock.advance(schedule.until_next(&clock));
        assert_eq!(schedule.tick(&clock), Nanos(120 * S));
    }

    #[test]
    fn missed_scrapes_are_skipped() {
        let (clock, mut schedule) = start(100 * S, 0);
        schedule.tick(&clock);
        clock.advance(Duration::from_secs(34));
        assert_eq!(schedule.tick(&clock), Nanos(134 * S));
        assert_eq!(schedule.until_next(&clock), Duration::from_secs(6));
        clock.advance(Duration::from_secs(6));
        assert_eq!(schedule.tick(&clock), Nanos(140 * S));
    }

    #[test]
    fn a_jump_of_the_wall_clock_moves_the_stamps_and_not_the_rhythm() {
        let (clock, mut schedule) = start(100 * S, 0);
        schedule.tick(&clock);
        clock.set_unix_nanos(5000 * S);
        clock.advance(INTERVAL);
        assert_eq!(schedule.tick(&clock), Nanos(5010 * S));
        clock.advance(INTERVAL);
        assert_eq!(schedule.until_next(&clock), Duration::ZERO);
        assert_eq!(schedule.tick(&clock), Nanos(5020 * S));
    }
}
