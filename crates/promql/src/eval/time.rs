//! Parts of a date (UTC, proleptic Gregorian calendar).

use super::{Column, Evaluated, Evaluator, Point, Steps, map_floats};
use crate::plan::Vector;
use kenning_model::LabelSet;

const SECONDS_PER_DAY: i64 = 86_400;

/// A part of a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DatePart {
    Minute,
    Hour,
    DayOfWeek,
    DayOfMonth,
    DayOfYear,
    DaysInMonth,
    Month,
    Year,
}

impl DatePart {
    pub(crate) fn find(name: &str) -> Option<Self> {
        Some(match name {
            "minute" => Self::Minute,
            "hour" => Self::Hour,
            "day_of_week" => Self::DayOfWeek,
            "day_of_month" => Self::DayOfMonth,
            "day_of_year" => Self::DayOfYear,
            "days_in_month" => Self::DaysInMonth,
            "month" => Self::Month,
            "year" => Self::Year,
            _ => return None,
        })
    }

    /// The part of the date that many seconds after 1970.
    fn of(self, seconds: i64) -> f64 {
        // Go counts from its beginning without a sign: what lies before comes out at the end of time.
        let since_beginning = i128::from(seconds.wrapping_add(GO_EPOCH) as u64);
        let seconds = since_beginning - i128::from(GO_EPOCH);
        let per_day = i128::from(SECONDS_PER_DAY);
        let (days, within) = (seconds.div_euclid(per_day) as i64, seconds.rem_euclid(per_day) as i64);
        let date = Date::of(days);
        let number = match self {
            Self::Minute => within / 60 % 60,
            Self::Hour => within / 3600,
            // The first of January 1970 was a Thursday.
            Self::DayOfWeek => (days.rem_euclid(7) + 4) % 7,
            Self::DayOfMonth => date.day,
            Self::DayOfYear => days.saturating_sub(days_before(date.year, 1)) + 1,
            Self::DaysInMonth => days_in_month(date),
            Self::Month => date.month,
            Self::Year => date.year,
        };
        number as f64
    }
}

/// A double as the whole number that Go makes of it on the machines that Prometheus runs on: what does not fit becomes
/// the least one.
fn go_seconds(value: f64) -> i64 {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    if (-BEYOND..BEYOND).contains(&value) { value as i64 } else { i64::MIN }
}

/// Seconds from where Go's time begins, in the year -292277022399, to 1970.
const GO_EPOCH: i64 = 9_223_372_028_715_321_600;

#[derive(Clone, Copy)]
struct Date {
    year: i64,
    month: i64,
    day: i64,
}

impl Date {
    /// The date of a day counted from the first of January 1970.
    fn of(days: i64) -> Self {
        // Years begin in March here, so that the leap day is the last one; eras of 400 years repeat exactly.
        let shifted = days.saturating_add(719_468);
        let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Self { year, month, day }
    }
}

/// The first day of a month, counted from the first of January 1970.
fn days_before(year: i64, month: i64) -> i64 {
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let shifted_month = (month + 9) % 12;
    let (era, year_of_era) = (shifted_year.div_euclid(400), shifted_year.rem_euclid(400));
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + (153 * shifted_month + 2) / 5;
    era * 146_097 + day_of_era - 719_468
}

fn days_in_month(date: Date) -> i64 {
    let (year, month) = if date.month == 12 { (date.year + 1, 1) } else { (date.year, date.month + 1) };
    days_before(year, month) - days_before(date.year, date.month)
}

/// `2006-01-02T15:04:05Z`
pub(crate) fn rfc3339(ms: i64) -> String {
    // Prometheus divides towards zero here.
    let seconds = ms / 1000;
    let (days, within) = (seconds.div_euclid(SECONDS_PER_DAY), seconds.rem_euclid(SECONDS_PER_DAY));
    let Date { year, month, day } = Date::of(days);
    let (hour, minute, second) = (within / 3600, within / 60 % 60, within % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

impl Evaluator<'_> {
    pub(super) fn date(
        &mut self,
        part: DatePart,
        operand: Option<&Vector>,
        steps: Steps,
    ) -> Evaluated<Vec<Column>> {
        let Some(operand) = operand else {
            self.charge_columns(1, steps)?;
            let points = steps.iter().map(|(_, time)| Some(Point::Float(part.of(time / 1000)))).collect();
            return Ok(vec![Column { labels: LabelSet::empty(), drop_name: false, points }]);
        };
        let columns = self.vector(operand, steps)?;
        Ok(map_floats(columns, |_, value| Some(part.of(go_seconds(value)))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(seconds: i64, expect: [i64; 8]) {
        use DatePart::{DayOfMonth, DayOfWeek, DayOfYear, DaysInMonth, Hour, Minute, Month, Year};
        let parts = [Year, Month, DayOfMonth, Hour, Minute, DayOfWeek, DayOfYear, DaysInMonth];
        assert_eq!(parts.map(|part| part.of(seconds) as i64), expect, "{seconds}");
    }

    #[test]
    fn dates() {
        check(0, [1970, 1, 1, 0, 0, 4, 1, 31]);
        check(-1, [1969, 12, 31, 23, 59, 3, 365, 31]);
        check(951_782_400, [2000, 2, 29, 0, 0, 2, 60, 29]);
        check(4_107_542_399, [2100, 2, 28, 23, 59, 0, 59, 28]);
        assert_eq!(rfc3339(1_000_000_000_000), "2001-09-09T01:46:40Z");
        // Nonsense comes out as Go has it.
        let last_day = [292_277_026_596, 12, 4, 15, 30, 0, 339, 31];
        for nonsense in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e19] {
            check(go_seconds(nonsense), last_day);
        }
        check(i64::MAX, last_day);
        assert_eq!((go_seconds(-1.5), go_seconds(9e18)), (-1, 9_000_000_000_000_000_000));
    }
}
