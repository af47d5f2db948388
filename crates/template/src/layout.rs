//! Dates written and read with Go's layouts, which are examples: `2006-01-02 15:04:05`. Times are UTC; a numeric
//! offset in a text that is read counts.

use kenning_model::Nanos;

const DAY: i64 = 86_400;
const SECOND_NANOS: i64 = 1_000_000_000;
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A piece of a layout.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    LongMonth,
    Month,
    NumMonth,
    ZeroMonth,
    LongWeekDay,
    WeekDay,
    Day,
    SpaceDay,
    ZeroDay,
    YearDay,
    Hour,
    Hour12,
    ZeroHour12,
    Minute,
    ZeroMinute,
    Second,
    ZeroSecond,
    LongYear,
    Year,
    Pm,
    LowerPm,
    Zone,
    /// `-07`, `-0700`, `-07:00`; with `z` a `Z` stands for UTC.
    Offset {
        z: bool,
        colon: bool,
        minutes: bool,
    },
    /// Digits of the second; `trim` leaves zeros at the end out.
    Fraction {
        digits: usize,
        trim: bool,
    },
}

/// Longest texts first where one begins with the other.
const PARTS: [(&str, Part); 28] = [
    ("January", Part::LongMonth),
    ("Jan", Part::Month),
    ("Monday", Part::LongWeekDay),
    ("Mon", Part::WeekDay),
    ("MST", Part::Zone),
    ("002", Part::YearDay),
    ("01", Part::ZeroMonth),
    ("02", Part::ZeroDay),
    ("03", Part::ZeroHour12),
    ("04", Part::ZeroMinute),
    ("05", Part::ZeroSecond),
    ("06", Part::Year),
    ("15", Part::Hour),
    ("2006", Part::LongYear),
    ("1", Part::NumMonth),
    ("_2", Part::SpaceDay),
    ("2", Part::Day),
    ("3", Part::Hour12),
    ("4", Part::Minute),
    ("5", Part::Second),
    ("PM", Part::Pm),
    ("pm", Part::LowerPm),
    ("-07:00", Part::Offset { z: false, colon: true, minutes: true }),
    ("-0700", Part::Offset { z: false, colon: false, minutes: true }),
    ("-07", Part::Offset { z: false, colon: false, minutes: false }),
    ("Z07:00", Part::Offset { z: true, colon: true, minutes: true }),
    ("Z0700", Part::Offset { z: true, colon: false, minutes: true }),
    ("Z07", Part::Offset { z: true, colon: false, minutes: false }),
];

/// The piece a layout starts with, if any, and its length.
fn part(layout: &str) -> Option<(Part, usize)> {
    if let Some(rest) = layout.strip_prefix(['.', ',']) {
        for (digit, trim) in [('0', false), ('9', true)] {
            let digits = rest.len() - rest.trim_start_matches(digit).len();
            let ends = !rest.get(digits..).unwrap_or("").starts_with(|c: char| c.is_ascii_digit());
            if digits > 0 && ends {
                return Some((Part::Fraction { digits, trim }, digits + 1));
            }
        }
        return None;
    }
    PARTS.iter().find(|(text, _)| layout.starts_with(text)).map(|(text, part)| (*part, text.len()))
}

/// Splits a layout into literal characters and pieces.
fn pieces(layout: &str) -> impl Iterator<Item = Result<Part, char>> + '_ {
    let mut rest = layout;
    std::iter::from_fn(move || {
        let c = rest.chars().next()?;
        if let Some((part, len)) = part(rest) {
            rest = rest.get(len..).unwrap_or("");
            return Some(Ok(part));
        }
        rest = rest.get(c.len_utf8()..).unwrap_or("");
        Some(Err(c))
    })
}

#[derive(Clone, Copy, Debug)]
struct Civil {
    year: i64,
    month: i64,
    day: i64,
    seconds: i64,
    nanos: i64,
    week_day: i64,
    year_day: i64,
}

/// Days since 1970-01-01 of a date in the Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The first instant of the year 1, Go's time without a value. No count of nanoseconds reaches it, so the earliest
/// stands for it.
pub const YEAR_ONE: Nanos = Nanos(i64::MIN);

/// Whole seconds since 1970.
#[must_use]
pub fn unix_seconds(time: Nanos) -> i64 {
    match time {
        YEAR_ONE => days_from_civil(1, 1, 1) * DAY,
        Nanos(nanos) => nanos.div_euclid(SECOND_NANOS),
    }
}

fn civil(time: Nanos) -> Civil {
    let seconds = unix_seconds(time);
    let days = seconds.div_euclid(DAY);
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted - era * 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    Civil {
        year,
        month,
        day: day_of_year - (153 * shifted_month + 2) / 5 + 1,
        seconds: seconds.rem_euclid(DAY),
        nanos: if time == YEAR_ONE { 0 } else { time.0.rem_euclid(SECOND_NANOS) },
        week_day: (days + 4).rem_euclid(7),
        year_day: days - days_from_civil(year, 1, 1) + 1,
    }
}

/// Writes a time.
#[must_use]
pub fn format(layout: &str, time: Nanos) -> String {
    let at = civil(time);
    pieces(layout).map(|piece| piece.map_or_else(String::from, |part| part_text(part, &at))).collect()
}

fn part_text(part: Part, at: &Civil) -> String {
    let (hour, minute, second) = (at.seconds / 3600, at.seconds / 60 % 60, at.seconds % 60);
    let hour12 = if hour % 12 == 0 { 12 } else { hour % 12 };
    let name = |names: &[&'static str], index: i64| names.get(index as usize).copied().unwrap_or("");
    let short = |text: &str| text.get(..3).unwrap_or("").to_owned();
    match part {
        Part::LongMonth => name(&MONTHS, at.month - 1).to_owned(),
        Part::Month => short(name(&MONTHS, at.month - 1)),
        Part::NumMonth => at.month.to_string(),
        Part::ZeroMonth => format!("{:02}", at.month),
        Part::LongWeekDay => name(&DAYS, at.week_day).to_owned(),
        Part::WeekDay => short(name(&DAYS, at.week_day)),
        Part::Day => at.day.to_string(),
        Part::SpaceDay => format!("{:2}", at.day),
        Part::ZeroDay => format!("{:02}", at.day),
        Part::YearDay => format!("{:03}", at.year_day),
        Part::Hour => format!("{hour:02}"),
        Part::Hour12 => hour12.to_string(),
        Part::ZeroHour12 => format!("{hour12:02}"),
        Part::Minute => minute.to_string(),
        Part::ZeroMinute => format!("{minute:02}"),
        Part::Second => second.to_string(),
        Part::ZeroSecond => format!("{second:02}"),
        Part::LongYear => format!("{:04}", at.year),
        Part::Year => format!("{:02}", at.year.rem_euclid(100)),
        Part::Pm => (if hour < 12 { "AM" } else { "PM" }).to_owned(),
        Part::LowerPm => (if hour < 12 { "am" } else { "pm" }).to_owned(),
        Part::Zone => "UTC".to_owned(),
        Part::Offset { z: true, .. } => "Z".to_owned(),
        Part::Offset { colon: true, .. } => "+00:00".to_owned(),
        Part::Offset { minutes: true, .. } => "+0000".to_owned(),
        Part::Offset { .. } => "+00".to_owned(),
        Part::Fraction { digits, trim } => {
            let all = format!("{:09}", at.nanos);
            let text = all.get(..digits.min(9)).unwrap_or(&all);
            let text = if trim { text.trim_end_matches('0') } else { text };
            if text.is_empty() { String::new() } else { format!(".{text}") }
        }
    }
}

/// The text of a time without a layout (`time.Time.String`).
#[must_use]
pub fn default_text(time: Nanos) -> String {
    format("2006-01-02 15:04:05.999999999 -0700 MST", time)
}

/// Reads a time; `None` when the text does not follow the layout.
#[must_use]
pub fn parse(layout: &str, text: &str) -> Option<Nanos> {
    let mut reader = Reader { rest: text, ..Reader::default() };
    for piece in pieces(layout) {
        match piece {
            Ok(part) => reader.part(part)?,
            Err(literal) => reader.rest = reader.rest.strip_prefix(literal)?,
        }
    }
    reader.rest.is_empty().then(|| reader.finish()).flatten()
}

struct Reader<'t> {
    rest: &'t str,
    year: i64,
    month: i64,
    day: i64,
    year_day: Option<i64>,
    hour: i64,
    minute: i64,
    second: i64,
    nanos: i64,
    pm: Option<bool>,
    offset: i64,
}

impl Default for Reader<'_> {
    fn default() -> Self {
        Self {
            rest: "",
            year: 0,
            month: 1,
            day: 1,
            year_day: None,
            hour: 0,
            minute: 0,
            second: 0,
            nanos: 0,
            pm: None,
            offset: 0,
        }
    }
}

impl Reader<'_> {
    fn number(&mut self, min: usize, max: usize) -> Option<i64> {
        let digits = self.rest.bytes().take(max).take_while(u8::is_ascii_digit).count();
        if digits < min {
            return None;
        }
        let (number, rest) = self.rest.split_at_checked(digits)?;
        self.rest = rest;
        number.parse().ok()
    }

    fn name(&mut self, names: &[&str], len: Option<usize>) -> Option<i64> {
        let found = names.iter().position(|name| {
            let name = len.map_or(*name, |len| name.get(..len).unwrap_or(name));
            self.rest.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
        })?;
        let taken = len.or_else(|| names.get(found).map(|name| name.len()))?;
        self.rest = self.rest.get(taken..)?;
        i64::try_from(found).ok()
    }

    fn part(&mut self, part: Part) -> Option<()> {
        match part {
            Part::LongMonth => self.month = self.name(&MONTHS, None)? + 1,
            Part::Month => self.month = self.name(&MONTHS, Some(3))? + 1,
            Part::NumMonth => self.month = self.number(1, 2)?,
            Part::ZeroMonth => self.month = self.number(2, 2)?,
            Part::LongWeekDay => drop(self.name(&DAYS, None)?),
            Part::WeekDay => drop(self.name(&DAYS, Some(3))?),
            Part::Day => self.day = self.number(1, 2)?,
            Part::SpaceDay => {
                self.rest = self.rest.strip_prefix(' ').unwrap_or(self.rest);
                self.day = self.number(1, 2)?;
            }
            Part::ZeroDay => self.day = self.number(2, 2)?,
            Part::YearDay => self.year_day = Some(self.number(3, 3)?),
            Part::Hour | Part::ZeroHour12 => self.hour = self.number(2, 2)?,
            Part::Hour12 => self.hour = self.number(1, 2)?,
            Part::Minute => self.minute = self.number(1, 2)?,
            Part::ZeroMinute => self.minute = self.number(2, 2)?,
            Part::Second | Part::ZeroSecond => {
                self.second = self.number(if part == Part::Second { 1 } else { 2 }, 2)?;
                self.unasked_fraction()?;
            }
            Part::LongYear => self.year = self.number(4, 4)?,
            Part::Year => {
                let year = self.number(2, 2)?;
                self.year = year + if year >= 69 { 1900 } else { 2000 };
            }
            Part::Pm | Part::LowerPm => self.pm = Some(self.name(&["AM", "PM"], None)? == 1),
            Part::Zone => {
                let len = self.rest.bytes().take_while(u8::is_ascii_uppercase).count();
                self.rest = self.rest.get(len..).filter(|_| (3..=5).contains(&len))?;
            }
            Part::Offset { z: true, .. } if self.rest.starts_with('Z') => self.rest = self.rest.get(1..)?,
            Part::Offset { colon, minutes, .. } => self.read_offset(colon, minutes)?,
            // Seconds have taken their fraction already.
            Part::Fraction { .. } => self.unasked_fraction()?,
        }
        Some(())
    }

    /// A fraction behind seconds is read even when the layout has none.
    fn unasked_fraction(&mut self) -> Option<()> {
        let digits = self.rest.strip_prefix(['.', ',']).unwrap_or("");
        let len = digits.bytes().take_while(u8::is_ascii_digit).count();
        if len > 0 {
            let used = digits.get(..len.min(9))?;
            self.nanos = format!("{used:0<9}").parse().ok()?;
            self.rest = self.rest.get(len + 1..)?;
        }
        Some(())
    }

    fn read_offset(&mut self, colon: bool, minutes: bool) -> Option<()> {
        let sign = if self.rest.starts_with('-') { -1 } else { 1 };
        self.rest = self.rest.strip_prefix(['+', '-'])?;
        let hours = self.number(2, 2)?;
        if colon {
            self.rest = self.rest.strip_prefix(':')?;
        }
        let minutes = if minutes { self.number(2, 2)? } else { 0 };
        self.offset = sign * (hours * 3600 + minutes * 60);
        Some(())
    }

    fn finish(self) -> Option<Nanos> {
        let leap = self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0);
        let days_in_month = match self.month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        let hour = match self.pm {
            Some(true) if self.hour < 12 => self.hour + 12,
            Some(false) if self.hour == 12 => 0,
            _ => self.hour,
        };
        let valid =
            (1..=days_in_month).contains(&self.day) && hour < 24 && self.minute < 60 && self.second < 60;
        if !valid {
            return None;
        }
        let days = match self.year_day {
            Some(day) => days_from_civil(self.year, 1, 1) + day - 1,
            None => days_from_civil(self.year, self.month, self.day),
        };
        let seconds = days * DAY + hour * 3600 + self.minute * 60 + self.second - self.offset;
        Some(Nanos(seconds.saturating_mul(SECOND_NANOS).saturating_add(self.nanos)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_and_reading() {
        let time = Nanos(1_709_210_096_000_000_789);
        let check = |layout: &str, text: &str| {
            assert_eq!(format(layout, time), text);
            assert_eq!(
                parse(layout, text).map(|t| t.0 / 60_000_000_000),
                Some(time.0 / 60_000_000_000),
                "{text}"
            );
        };
        check("2006-01-02T15:04:05.999999999Z07:00", "2024-02-29T12:34:56.000000789Z");
        check("Mon, 02 Jan 2006 15:04:05 MST", "Thu, 29 Feb 2024 12:34:56 UTC");
        check("January _2, 06 3:04PM -0700", "February 29, 24 12:34PM +0000");
        assert_eq!(format("002 .000", time), "060 .000");
        assert_eq!(parse("2006-01-02", "2023-02-29"), None);
        assert_eq!(parse("2006-01-02 -07:00", "1970-01-02 +01:00"), Some(Nanos(23 * 3600 * SECOND_NANOS)));
    }
}
