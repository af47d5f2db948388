//! Time as an argument: a wall clock that labels data and a steady clock that measures durations.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Reads time. Wall time labels data and may jump; steady time never goes back and decides intervals.
pub trait Clock: Send + Sync + 'static {
    /// Nanoseconds since the Unix epoch by the wall clock; saturates at the ends of `i64` (years 1677 and 2262).
    fn unix_nanos(&self) -> i64;
    /// Time since an arbitrary fixed origin; never decreases.
    fn steady(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// A clock whose steady time counts from this call.
    #[must_use]
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn unix_nanos(&self) -> i64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos),
        }
    }

    fn steady(&self) -> Duration {
        self.origin.elapsed()
    }
}

/// A clock that moves only when told to. Wall and steady time can be moved apart, as a jumping wall clock does.
#[derive(Debug)]
pub struct SimClock {
    unix_nanos: AtomicI64,
    steady_nanos: AtomicU64,
}

impl SimClock {
    /// A clock whose wall time starts at `unix_nanos` and whose steady time starts at zero.
    #[must_use]
    pub fn new(unix_nanos: i64) -> Self {
        Self { unix_nanos: AtomicI64::new(unix_nanos), steady_nanos: AtomicU64::new(0) }
    }

    /// Lets `by` pass on both clocks.
    pub fn advance(&self, by: Duration) {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.steady_nanos.fetch_add(nanos, Ordering::SeqCst);
        self.unix_nanos.fetch_add(i64::try_from(nanos).unwrap_or(i64::MAX), Ordering::SeqCst);
    }

    /// Sets the wall clock alone, as an operator or a bad time server does.
    pub fn set_unix_nanos(&self, unix_nanos: i64) {
        self.unix_nanos.store(unix_nanos, Ordering::SeqCst);
    }
}

impl Clock for SimClock {
    fn unix_nanos(&self) -> i64 {
        self.unix_nanos.load(Ordering::SeqCst)
    }

    fn steady(&self) -> Duration {
        Duration::from_nanos(self.steady_nanos.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simulated_wall_time_can_jump_while_steady_time_goes_on() {
        let clock = SimClock::new(1_000);
        clock.advance(Duration::from_nanos(5));
        clock.set_unix_nanos(-7);
        clock.advance(Duration::from_nanos(5));
        assert_eq!((clock.unix_nanos(), clock.steady()), (-2, Duration::from_nanos(10)));
    }
}
