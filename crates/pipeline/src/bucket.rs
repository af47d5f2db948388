//! A token bucket that may go into debt.

use std::time::Duration;

/// Grants `rate` units per period and up to `capacity` at once. Times come from the steady clock.
///
/// A single charge above the capacity is let through when the bucket is full and leaves a debt, since a request larger
/// than the burst would otherwise be refused for ever. Held under its owner's lock.
#[derive(Debug)]
pub struct Bucket {
    rate_per_second: f64,
    capacity: f64,
    tokens: f64,
    updated: Duration,
}

impl Bucket {
    /// A full bucket.
    pub fn new(rate_per_second: f64, capacity: f64, now: Duration) -> Self {
        Self { rate_per_second, capacity, tokens: capacity, updated: now }
    }

    /// A full bucket that refills `rate` units a second and holds two seconds' worth.
    pub fn with_double_burst(rate: u64, now: Duration) -> Self {
        Self::new(rate as f64, 2.0 * rate as f64, now)
    }

    /// Takes `units`, or tells after which time to come again.
    pub fn charge(&mut self, units: u64, now: Duration) -> Result<(), Duration> {
        let passed = now.saturating_sub(self.updated).as_secs_f64();
        self.tokens = (self.tokens + passed * self.rate_per_second).min(self.capacity);
        self.updated = now;
        let needed = (units as f64).min(self.capacity);
        if units > 0 && (self.tokens < needed || self.capacity <= 0.0) {
            return Err(self.wait_for(needed - self.tokens));
        }
        self.tokens -= units as f64;
        Ok(())
    }

    /// Gives back what a later step refused.
    pub fn refund(&mut self, units: u64) {
        self.tokens = (self.tokens + units as f64).min(self.capacity);
    }

    fn wait_for(&self, missing: f64) -> Duration {
        const WAIT_MAX: f64 = 3600.0;
        let seconds = if self.rate_per_second > 0.0 { missing / self.rate_per_second } else { WAIT_MAX };
        Duration::from_secs_f64(seconds.clamp(0.001, WAIT_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn burst_then_rate() {
        let mut bucket = Bucket::with_double_burst(100, s(0));
        assert_eq!(bucket.charge(200, s(0)), Ok(()));
        assert_eq!(bucket.charge(50, s(0)), Err(Duration::from_millis(500)));
        assert_eq!(bucket.charge(100, s(1)), Ok(()));
        assert!(bucket.charge(1, s(1)).is_err());
        bucket.refund(100);
        assert_eq!(bucket.charge(100, s(1)), Ok(()));
    }

    #[test]
    fn more_than_the_burst_passes_when_full_and_is_paid_back() {
        let mut bucket = Bucket::with_double_burst(100, s(0));
        assert_eq!(bucket.charge(1000, s(0)), Ok(()));
        assert_eq!(bucket.charge(1, s(0)), Err(Duration::from_secs_f64(8.01)));
        assert_eq!(bucket.charge(1, s(9)), Ok(()));
    }

    #[test]
    fn zero_rate_grants_nothing_and_zero_units_are_free() {
        let mut bucket = Bucket::with_double_burst(0, s(0));
        assert_eq!(bucket.charge(1, s(5)), Err(s(3600)));
        assert_eq!(bucket.charge(0, s(5)), Ok(()));
    }

    proptest::proptest! {
        #[test]
        fn never_more_than_the_burst_and_the_rate_of_the_time_passed(
            rate in 1u64..1000,
            charges in proptest::collection::vec((1u64..500, 0u64..2000), 1..50),
        ) {
            let mut bucket = Bucket::with_double_burst(rate, Duration::ZERO);
            let (mut now, mut granted) = (Duration::ZERO, 0);
            for (units, wait) in charges {
                now += Duration::from_millis(wait);
                let units = units.min(2 * rate);
                if bucket.charge(units, now).is_ok() {
                    granted += units;
                }
            }
            let allowed = 2.0 * rate as f64 + rate as f64 * now.as_secs_f64();
            proptest::prop_assert!(granted as f64 <= allowed + 1e-6);
        }

        #[test]
        fn who_comes_again_when_told_is_let_in(rate in 1u64..1000, units in 1u64..5000) {
            let mut bucket = Bucket::with_double_burst(rate, Duration::ZERO);
            proptest::prop_assert!(bucket.charge(units, Duration::ZERO).is_ok());
            if let Err(wait) = bucket.charge(units, Duration::ZERO) {
                // Steady time has nanoseconds; the wait is rounded to them.
                let again = wait + Duration::from_nanos(2);
                proptest::prop_assert!(wait >= Duration::from_secs(3600) || bucket.charge(units, again).is_ok());
            }
        }
    }
}
