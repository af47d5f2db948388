//! Times as texts: RFC 3339 and ISO 8601 as loggers write them.
//!
//! Absent: week dates, ordinal dates, names of zones. Instants outside the years 1678 to 2261 are not read.

use kenning_model::Nanos;

pub(crate) const NANOS_PER_SECOND: i64 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// A date and a time of day, without a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Civil {
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
    pub hour: i64,
    pub minute: i64,
    /// 0 to 60; a leap second is the first of the next minute.
    pub second: i64,
    pub nanos: i64,
}

impl Civil {
    /// The instant, when the clock that wrote it stands `offset` seconds east of UTC; `None` for dates that are none.
    pub fn at(self, offset: i64) -> Option<Nanos> {
        let in_range = (1..=12).contains(&self.month)
            && (1..=days_in_month(self.year, self.month)).contains(&self.day)
            && (0..=24).contains(&self.hour)
            && (0..60).contains(&self.minute)
            && (0..=60).contains(&self.second)
            && (self.hour < 24 || (self.minute == 0 && self.second == 0 && self.nanos == 0));
        if !in_range {
            return None;
        }
        let days = days_from_epoch(self.year, self.month, self.day);
        let seconds = days * SECONDS_PER_DAY + self.hour * 3600 + self.minute * 60 + self.second - offset;
        seconds.checked_mul(NANOS_PER_SECOND)?.checked_add(self.nanos).map(Nanos)
    }
}

/// The year (UTC) that an instant lies in.
pub(crate) fn year_of(instant: Nanos) -> i64 {
    let days = instant.0.div_euclid(NANOS_PER_SECOND * SECONDS_PER_DAY);
    // Averages land in the right year or one beside it; the days decide.
    let guess = 1970 + days * 400 / 146_097;
    let starts = |year| days_from_epoch(year, 1, 1);
    if days < starts(guess) {
        guess - 1
    } else if days >= starts(guess + 1) {
        guess + 1
    } else {
        guess
    }
}

const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

const fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar: years counted from March, so that the leap day is last.
const fn days_from_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// An RFC 3339 time; the zone is needed.
pub(crate) fn rfc3339(text: &str) -> Option<Nanos> {
    let mut cursor = Cursor(text.as_bytes());
    let civil = cursor.date_time()?;
    let offset = cursor.zone()?;
    cursor.0.is_empty().then_some(())?;
    civil.at(offset)
}

/// What Elasticsearch's `strict_date_optional_time||epoch_millis` takes: a date, with or without time and zone (UTC
/// then), or milliseconds as digits.
pub(crate) fn iso8601_or_millis(text: &str) -> Option<Nanos> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && text.len() != 4 {
        return text.parse::<i64>().ok()?.checked_mul(1_000_000).map(Nanos);
    }
    let mut cursor = Cursor(text.as_bytes());
    let civil = match text.len() {
        10 => cursor.date()?,
        _ => cursor.date_time()?,
    };
    let offset = if cursor.0.is_empty() { 0 } else { cursor.zone()? };
    cursor.0.is_empty().then_some(())?;
    civil.at(offset)
}

/// Reads from the front; every method answers `None` at the first byte that does not fit.
pub(crate) struct Cursor<'a>(pub &'a [u8]);

impl Cursor<'_> {
    pub fn eat(&mut self, byte: u8) -> Option<()> {
        let (first, rest) = self.0.split_first()?;
        (*first == byte).then(|| self.0 = rest)
    }

    fn eat_any(&mut self, bytes: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        bytes.contains(first).then(|| {
            self.0 = rest;
            *first
        })
    }

    /// Exactly `count` digits.
    pub fn digits(&mut self, count: usize) -> Option<i64> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        number(digits)
    }

    fn date(&mut self) -> Option<Civil> {
        let year = self.digits(4)?;
        self.eat(b'-')?;
        let month = self.digits(2)?;
        self.eat(b'-')?;
        let day = self.digits(2)?;
        Some(Civil { year, month, day, hour: 0, minute: 0, second: 0, nanos: 0 })
    }

    /// `2026-11-21T13:14:15.123456789`; a blank may stand for the `T`, seconds and fraction may be absent.
    pub fn date_time(&mut self) -> Option<Civil> {
        let date = self.date()?;
        self.eat_any(b"Tt ")?;
        let (hour, minute, second, nanos) = self.time_of_day()?;
        Some(Civil { hour, minute, second, nanos, ..date })
    }

    /// `13:14`, `13:14:15`, `13:14:15.123`; a comma may stand for the point.
    pub fn time_of_day(&mut self) -> Option<(i64, i64, i64, i64)> {
        let hour = self.digits(2)?;
        self.eat(b':')?;
        let minute = self.digits(2)?;
        if self.eat(b':').is_none() {
            return Some((hour, minute, 0, 0));
        }
        let second = self.digits(2)?;
        let nanos = if self.eat_any(b".,").is_some() { self.fraction()? } else { 0 };
        Some((hour, minute, second, nanos))
    }

    /// Digits after the point as nanoseconds; those beyond the ninth are passed over.
    fn fraction(&mut self) -> Option<i64> {
        let len = self.0.iter().take_while(|b| b.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        let kept = digits.get(..len.min(9))?;
        let missing = u32::try_from(9 - kept.len()).ok()?;
        Some(number(kept)? * 10_i64.pow(missing))
    }

    /// `Z`, `+01:00`, `+0100` or `+01` as seconds east.
    pub fn zone(&mut self) -> Option<i64> {
        if self.eat_any(b"Zz").is_some() {
            return Some(0);
        }
        let sign = if self.eat_any(b"+-")? == b'-' { -1 } else { 1 };
        let hours = self.digits(2)?;
        let minutes = if self.0.is_empty() {
            0
        } else {
            let _ = self.eat(b':');
            self.digits(2)?
        };
        (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    let all = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    all.then(|| digits.iter().fold(0, |n: i64, digit| n * 10 + i64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: Option<i64>) {
        assert_eq!(rfc3339(text).map(|at| at.0), expect, "{text}");
    }

    #[test]
    fn rfc3339_times() {
        check("1970-01-01T00:00:00Z", Some(0));
        check("2009-11-10T23:00:00.000000001Z", Some(1_257_894_000_000_000_001));
        check("2026-11-21T13:14:15.123+01:00", Some(1_795_263_255_123_000_000));
        check("2026-11-21 12:14:15,123z", Some(1_795_263_255_123_000_000));
        check("1969-12-31T23:59:59.5Z", Some(-500_000_000));
        check("2024-02-29T00:00:00Z", Some(1_709_164_800_000_000_000));
        check("2016-12-31T23:59:60Z", Some(1_483_228_800_000_000_000));
        check("2026-01-01T00:00:00.1234567891Z", Some(1_767_225_600_123_456_789));
        for bad in [
            "",
            "2026",
            "2023-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-21T25:00:00Z",
            "2026-11-21T13:14:15",
            "2026-11-21T13:14:15.Z",
            "2026-11-21T13:14:15+1:00",
            "2026-11-21T13:14:15Zx",
            "9999-01-01T00:00:00Z",
            "٢٠٢٦-11-21T13:14:15Z",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn elasticsearch_times() {
        let check = |text, expect: Option<i64>| {
            assert_eq!(iso8601_or_millis(text).map(|at| at.0), expect, "{text}");
        };
        check("2099-11-15T13:12:00", Some(4_098_431_520_000_000_000));
        check("2026-11-21", Some(1_795_219_200_000_000_000));
        check("1795219200000", Some(1_795_219_200_000_000_000));
        check("2026-11-21T00:00:00.000+0000", Some(1_795_219_200_000_000_000));
        check("0", Some(0));
        check("99999999999999999999", None);
        check("soon", None);
    }

    #[test]
    fn years() {
        for (text, year) in [
            ("1970-01-01T00:00:00Z", 1970),
            ("1969-12-31T23:59:59Z", 1969),
            ("2024-12-31T23:59:59Z", 2024),
            ("2025-01-01T00:00:00Z", 2025),
            ("2000-02-29T00:00:00Z", 2000),
        ] {
            assert_eq!(rfc3339(text).map(year_of), Some(year), "{text}");
        }
    }
}
