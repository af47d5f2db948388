//! Byte sizes, durations and limits as people write them in a configuration: `64MiB`, `31d`, `1h30m`, `unlimited`.
//!
//! Parsing is exact integer arithmetic, printing gives the shortest text that parses back to the same value. Units are
//! case sensitive where case carries meaning (`m` is a minute). Absent: calendars; a day has 24 hours, a week 7 days, a
//! year 365 days, as in Prometheus.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// A span of time, to the nanosecond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeSpan(pub Duration);

/// A bound that can be lifted by the word `unlimited`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit<T> {
    /// At most this.
    AtMost(T),
    /// No bound.
    Unlimited,
}

impl<T: PartialOrd> Limit<T> {
    /// True when `value` is within the bound (the bound itself is).
    pub fn allows(&self, value: &T) -> bool {
        match self {
            Self::AtMost(bound) => value <= bound,
            Self::Unlimited => true,
        }
    }
}

/// A text that is no quantity, with what would have been one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuantityError {
    text: String,
    problem: Problem,
    expected: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Problem {
    NoNumber,
    UnknownUnit,
    TooLarge,
    NotWhole,
    UnitOrder,
}

impl fmt::Display for QuantityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problem = match self.problem {
            Problem::NoNumber => "has no number where one is needed",
            Problem::UnknownUnit => "has no known unit",
            Problem::TooLarge => "is too large",
            Problem::NotWhole => "is not a whole number of the smallest unit",
            Problem::UnitOrder => "names a unit twice or out of order",
        };
        write!(f, "\"{}\" {problem}; expected {}", self.text, self.expected)
    }
}

impl std::error::Error for QuantityError {}

const BYTE_UNITS: [(&str, u128); 18] = [
    ("EiB", 1 << 60),
    ("PiB", 1 << 50),
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("EB", 1_000_000_000_000_000_000),
    ("PB", 1_000_000_000_000_000),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("kB", 1_000),
    ("G", 1 << 30),
    ("M", 1 << 20),
    ("K", 1 << 10),
    ("B", 1),
    ("", 1),
];
const PRINTED_BYTE_UNITS: usize = 6;
const EXPECTED_BYTES: &str = "a byte size such as 512, 64KiB, 1.5GiB or 10MB";

const TIME_UNITS: [(&str, u128); 10] = [
    ("y", 365 * 86_400 * NANOS_PER_SECOND),
    ("w", 7 * 86_400 * NANOS_PER_SECOND),
    ("d", 86_400 * NANOS_PER_SECOND),
    ("h", 3_600 * NANOS_PER_SECOND),
    ("m", 60 * NANOS_PER_SECOND),
    ("s", NANOS_PER_SECOND),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("µs", 1_000),
    ("ns", 1),
];
const NANOS_PER_SECOND: u128 = 1_000_000_000;
const EXPECTED_TIME: &str = "a duration such as 250ms, 30s, 1h30m or 31d";

impl FromStr for ByteSize {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let fail = |problem| QuantityError { text: text.to_owned(), problem, expected: EXPECTED_BYTES };
        let (number, rest) = Decimal::take(text.trim()).map_err(fail)?;
        let unit = rest.trim_start();
        let scale =
            BYTE_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(|| fail(Problem::UnknownUnit))?.1;
        let bytes = number.times(scale).map_err(fail)?;
        u64::try_from(bytes).map(Self).map_err(|_| fail(Problem::TooLarge))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = u128::from(self.0);
        let printed = BYTE_UNITS.iter().take(PRINTED_BYTE_UNITS);
        match printed.into_iter().find(|(_, scale)| value != 0 && value.is_multiple_of(*scale)) {
            Some((unit, scale)) => write!(f, "{}{unit}", value / scale),
            None => write!(f, "{value}B"),
        }
    }
}

impl FromStr for TimeSpan {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let fail = |problem| QuantityError { text: text.to_owned(), problem, expected: EXPECTED_TIME };
        let mut rest = text.trim();
        if rest == "0" {
            return Ok(Self::default());
        }
        let (mut total, mut last_scale) = (0u128, u128::MAX);
        while !rest.is_empty() || last_scale == u128::MAX {
            let (number, tail) = Decimal::take(rest).map_err(fail)?;
            let unit_len = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(unit_len);
            let known = TIME_UNITS.iter().find(|(name, _)| *name == unit.trim());
            let scale = known.ok_or_else(|| fail(Problem::UnknownUnit))?.1;
            if scale >= last_scale {
                return Err(fail(Problem::UnitOrder));
            }
            let nanos = number.times(scale).map_err(fail)?;
            total = total.checked_add(nanos).ok_or_else(|| fail(Problem::TooLarge))?;
            (rest, last_scale) = (tail, scale);
        }
        let seconds = u64::try_from(total / NANOS_PER_SECOND).map_err(|_| fail(Problem::TooLarge))?;
        Ok(Self(Duration::new(seconds, (total % NANOS_PER_SECOND) as u32)))
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_nanos();
        if rest == 0 {
            return f.write_str("0s");
        }
        // Years and weeks are left out so that 31 days do not print as 4w3d.
        for (unit, scale) in TIME_UNITS.iter().filter(|(unit, _)| !["y", "w", "µs"].contains(unit)) {
            if rest >= *scale {
                write!(f, "{}{unit}", rest / scale)?;
                rest %= scale;
            }
        }
        Ok(())
    }
}

impl<T: FromStr> FromStr for Limit<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        match text.trim() {
            "unlimited" => Ok(Self::Unlimited),
            bound => bound.parse().map(Self::AtMost),
        }
    }
}

impl<T: fmt::Display> fmt::Display for Limit<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(bound) => bound.fmt(f),
            Self::Unlimited => f.write_str("unlimited"),
        }
    }
}

/// Digits with an optional fraction: `mantissa / 10^places`.
#[derive(Clone, Copy)]
struct Decimal {
    mantissa: u128,
    places: u32,
}

impl Decimal {
    /// Takes a number off the front; returns it and what follows.
    fn take(text: &str) -> Result<(Self, &str), Problem> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, rest) = text.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
            return Err(Problem::NoNumber);
        }
        // Twenty digits hold every u64, and nine more every fraction that can matter; more cannot overflow u128 below.
        if whole.len() > 20 || fraction.len() > 9 {
            return Err(if whole.len() > 20 { Problem::TooLarge } else { Problem::NotWhole });
        }
        let mantissa = format!("{whole}{fraction}").parse().map_err(|_| Problem::NoNumber)?;
        Ok((Self { mantissa, places: fraction.len() as u32 }, rest))
    }

    fn times(self, scale: u128) -> Result<u128, Problem> {
        let divisor = 10u128.pow(self.places);
        let scaled = self.mantissa.checked_mul(scale).ok_or(Problem::TooLarge)?;
        if scaled.is_multiple_of(divisor) { Ok(scaled / divisor) } else { Err(Problem::NotWhole) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(text: &str, expect: Option<u64>) {
        assert_eq!(text.parse().ok(), expect.map(ByteSize), "{text}");
    }

    fn span(text: &str, expect: Option<Duration>) {
        assert_eq!(text.parse().ok(), expect.map(TimeSpan), "{text}");
    }

    #[test]
    fn byte_sizes() {
        bytes("0", Some(0));
        bytes("512", Some(512));
        bytes("64MiB", Some(64 << 20));
        bytes(" 1.5 GiB ", Some(3 << 29));
        bytes("10MB", Some(10_000_000));
        bytes("4G", Some(4 << 30));
        bytes("18446744073709551615", Some(u64::MAX));
        bytes("16EiB", None);
        bytes("1.3B", None);
        for bad in ["", "MiB", "1mib", "-1", "1..5K", "1.K", ".5K", "1 2", "99999999999999999999999"] {
            bytes(bad, None);
        }
        assert_eq!(ByteSize(64 << 20).to_string(), "64MiB");
        assert_eq!(ByteSize(1000).to_string(), "1000B");
        assert_eq!(ByteSize(0).to_string(), "0B");
    }

    #[test]
    fn durations() {
        span("31d", Some(Duration::from_secs(31 * 86_400)));
        span("1h30m", Some(Duration::from_secs(5_400)));
        span("1.5h", Some(Duration::from_secs(5_400)));
        span("250ms", Some(Duration::from_millis(250)));
        span("5µs", Some(Duration::from_micros(5)));
        span("1y", Some(Duration::from_secs(365 * 86_400)));
        span("0", Some(Duration::ZERO));
        for bad in ["", "5", "m", "30m1h", "1h1h", "1H", "-5m", "0.1ns", "99999999999999999999y", "1h 30"] {
            span(bad, None);
        }
        assert_eq!(TimeSpan(Duration::from_secs(31 * 86_400)).to_string(), "31d");
        assert_eq!(TimeSpan(Duration::from_millis(90_250)).to_string(), "1m30s250ms");
        assert_eq!(TimeSpan(Duration::ZERO).to_string(), "0s");
    }

    #[test]
    fn limits_and_messages() {
        assert_eq!("unlimited".parse(), Ok(Limit::<ByteSize>::Unlimited));
        assert_eq!("1KiB".parse(), Ok(Limit::AtMost(ByteSize(1024))));
        assert_eq!(Limit::AtMost(ByteSize(1024)).to_string(), "1KiB");
        assert_eq!(Limit::<ByteSize>::Unlimited.to_string(), "unlimited");
        assert!(Limit::AtMost(3).allows(&3) && !Limit::AtMost(3).allows(&4) && Limit::Unlimited.allows(&4));
        let error = "7 parsecs".parse::<Limit<TimeSpan>>().unwrap_err().to_string();
        assert_eq!(
            error,
            "\"7 parsecs\" has no known unit; expected a duration such as 250ms, 30s, 1h30m or 31d"
        );
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_back(value: u64, nanos: u64, text in "[0-9a-zA-Zµ. ]{0,12}") {
            prop_assert_eq!(ByteSize(value).to_string().parse(), Ok(ByteSize(value)));
            let span = TimeSpan(Duration::from_nanos(nanos));
            prop_assert_eq!(span.to_string().parse(), Ok(span));
            let _ = (text.parse::<ByteSize>(), text.parse::<TimeSpan>());
        }
    }
}
