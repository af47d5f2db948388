//! The only place of the SDK that asks what time it is.
//!
//! Everything else takes a [`Clock`], so that a test can hold the hands.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A source of wall-clock and monotonic time.
#[derive(Clone, Debug)]
pub(crate) enum Clock {
    /// The machine's clocks.
    System {
        /// Origin of the monotonic reading.
        origin: Instant,
    },
    /// A clock that moves only when told to; both readings are the same number.
    Manual(Arc<AtomicU64>),
}

impl Clock {
    pub(crate) fn system() -> Self {
        Clock::System { origin: Instant::now() }
    }

    pub(crate) fn manual(unix_nanos: u64) -> Self {
        Clock::Manual(Arc::new(AtomicU64::new(unix_nanos)))
    }

    /// Nanoseconds since 1970 by the wall clock; may step.
    pub(crate) fn unix_nanos(&self) -> u64 {
        match self {
            Clock::System { .. } => {
                duration_nanos(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
            }
            Clock::Manual(nanos) => nanos.load(Ordering::Relaxed),
        }
    }

    /// Nanoseconds since an arbitrary origin; never goes back.
    pub(crate) fn mono_nanos(&self) -> u64 {
        match self {
            Clock::System { origin } => duration_nanos(origin.elapsed()),
            Clock::Manual(nanos) => nanos.load(Ordering::Relaxed),
        }
    }

    /// Moves a manual clock forward; a system clock is not impressed.
    pub(crate) fn advance(&self, by: Duration) {
        if let Clock::Manual(nanos) = self {
            nanos.fetch_add(duration_nanos(by), Ordering::Relaxed);
        }
    }
}

/// A duration in nanoseconds, saturating after 584 years.
pub(crate) fn duration_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// `unix_nanos` as RFC 3339 in UTC with seconds, for instance `2026-01-29T19:00:00Z`.
pub(crate) fn rfc3339(unix_nanos: u64) -> String {
    let seconds = unix_nanos / 1_000_000_000;
    let (year, month, day) = civil_from_days(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Days since 1970-01-01 to the proleptic Gregorian date (years counted from March, so that leap days come last).
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        let check = |seconds: u64, expect: &str| assert_eq!(rfc3339(seconds * 1_000_000_000), expect);
        check(0, "1970-01-01T00:00:00Z");
        check(951_782_400, "2000-02-29T00:00:00Z");
        check(1_769_713_200, "2026-01-29T19:00:00Z");
        check(4_102_444_799, "2099-12-31T23:59:59Z");
    }
}
