//! Points in time. Metrics are stamped in milliseconds, logs and spans in nanoseconds, as their protocols do.

use std::fmt;

macro_rules! instant {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

instant!(
    /// Milliseconds since the Unix epoch.
    Millis
);
instant!(
    /// Nanoseconds since the Unix epoch.
    Nanos
);

const NANOS_PER_MILLI: i64 = 1_000_000;

impl Millis {
    /// The same instant in nanoseconds, saturating outside the years 1677 to 2262.
    #[must_use]
    pub const fn to_nanos(self) -> Nanos {
        Nanos(self.0.saturating_mul(NANOS_PER_MILLI))
    }
}

impl Nanos {
    /// The millisecond this instant lies in (rounded down).
    #[must_use]
    pub const fn to_millis(self) -> Millis {
        Millis(self.0.div_euclid(NANOS_PER_MILLI))
    }
}

/// A span of time with both ends included, in nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeRange {
    /// First instant inside.
    pub start: Nanos,
    /// Last instant inside. A range whose end lies before its start holds nothing.
    pub end: Nanos,
}

impl TimeRange {
    /// Every instant that can be written down.
    pub const ALL: Self = Self { start: Nanos(i64::MIN), end: Nanos(i64::MAX) };

    /// The range from `start` to `end`, both in milliseconds and included.
    #[must_use]
    pub const fn from_millis(start: Millis, end: Millis) -> Self {
        Self { start: start.to_nanos(), end: end.to_nanos() }
    }

    /// True when `at` lies inside.
    #[must_use]
    pub const fn contains(self, at: Nanos) -> bool {
        self.start.0 <= at.0 && at.0 <= self.end.0
    }

    /// True when some instant lies in both ranges.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.start <= other.end
            && other.start <= self.end
            && self.start <= self.end
            && other.start <= other.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversions_round_down_and_saturate() {
        assert_eq!(Nanos(-1).to_millis(), Millis(-1));
        assert_eq!(Nanos(1_999_999).to_millis(), Millis(1));
        assert_eq!(Millis(i64::MAX).to_nanos(), Nanos(i64::MAX));
    }

    #[test]
    fn an_empty_range_overlaps_nothing() {
        let empty = TimeRange { start: Nanos(5), end: Nanos(4) };
        assert!(!empty.overlaps(TimeRange::ALL) && !TimeRange::ALL.overlaps(empty));
        assert!(!empty.contains(Nanos(5)));
    }
}
