//! Time zones of the machine's database, for stamps that do not tell how far their clock stands off.
//!
//! Reads the files of `/usr/share/zoneinfo` (RFC 8536, the 64-bit block and the rule for later times behind it).
//!
//! Promises: never panics on any file; where a local time exists twice or not at all (the clock is set back or forward),
//! the offset before the change counts, as in Go.

use kenning_model::Nanos;
use kenning_stdx::files::Files;

/// Where systems keep their zones.
const DIRECTORIES: [&str; 3] = ["/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/usr/share/lib/zoneinfo"];
/// Largest file of a zone.
const FILE_BYTES_MAX: usize = 1 << 20;
/// Most changes that one zone may have.
const CHANGES_MAX: usize = 1 << 14;
/// How far beyond the file's changes its rule is laid out.
const RULE_YEARS: std::ops::Range<i64> = 1970..2100;

const DAY: i64 = 86_400;

/// How far the clocks of a place stand east of UTC, over time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Zone {
    /// Seconds before the first change.
    first: i64,
    /// When (Unix seconds) which offset (seconds) begins, in order.
    changes: Vec<(i64, i64)>,
}

impl Zone {
    /// Reads a zone by its name, such as `Europe/Berlin`; the message tells what to do when it cannot be had.
    pub fn load(name: &str, files: &dyn Files) -> Result<Self, String> {
        if matches!(name, "UTC" | "Etc/UTC" | "GMT") {
            return Ok(Self::default());
        }
        if name == "Local" {
            return Err("Local depends on the machine; name a zone such as Europe/Berlin".to_owned());
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '/');
        if !name.chars().all(is_plain) || name.starts_with('/') || name.len() > 64 {
            return Err(format!("{name:?} is not the name of a time zone, such as Europe/Berlin"));
        }
        let read = |directory: &&str| files.read(&format!("{directory}/{name}"), FILE_BYTES_MAX).ok();
        let Some(bytes) = DIRECTORIES.iter().find_map(read) else {
            return Err(format!(
                "{name:?} is not in {}; install the time zones (package tzdata) or correct the name",
                DIRECTORIES[0]
            ));
        };
        Self::read(&bytes)
            .ok_or_else(|| format!("the file of the time zone {name:?} is damaged; reinstall tzdata"))
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let header = Header::read(bytes)?;
        // A file of version 2 or later has the same again in 64 bits.
        let second = bytes.get(header.len(4)?..)?;
        let header = Header::read(second)?;
        let times = second.get(HEADER..)?;
        let kinds = times.get(header.times.checked_mul(8)?..)?;
        let types = kinds.get(header.times..)?;
        let offset = |kind: usize| {
            let at = kind.checked_mul(6)?;
            Some(i64::from(i32::from_be_bytes(types.get(at..at + 4)?.try_into().ok()?)))
        };
        let mut changes = Vec::with_capacity(header.times);
        for place in 0..header.times {
            let time = i64::from_be_bytes(times.get(place * 8..place * 8 + 8)?.try_into().ok()?);
            changes.push((time, offset(usize::from(*kinds.get(place)?))?));
        }
        let first = offset(0)?;
        let footer = second.get(header.len(8)?..)?;
        let rule = std::str::from_utf8(footer).ok()?.trim_matches('\n');
        let after = changes.last().map_or(i64::MIN, |(time, _)| *time);
        match rule::read(rule)? {
            rule::Rule::Always(offset) if changes.is_empty() => return Some(Self { first: offset, changes }),
            rule::Rule::Always(_) | rule::Rule::Unsaid => {}
            rule::Rule::Yearly(yearly) => {
                changes.extend(
                    RULE_YEARS.flat_map(|year| yearly.changes(year)).filter(|(time, _)| *time > after),
                );
            }
        }
        changes.sort_unstable();
        Some(Self { first, changes })
    }

    fn offset_at(&self, seconds: i64) -> i64 {
        let place = self.changes.partition_point(|(time, _)| *time <= seconds);
        place
            .checked_sub(1)
            .and_then(|place| self.changes.get(place))
            .map_or(self.first, |(_, offset)| *offset)
    }

    /// The instant at which clocks show `local`, which is written as if it were UTC.
    pub fn to_utc(&self, local: Nanos) -> Nanos {
        let seconds = local.0.div_euclid(1_000_000_000);
        // As Go: the offset that holds when the text is taken for UTC, corrected once when it does not hold then.
        let guess = self.offset_at(seconds);
        let corrected = self.offset_at(seconds - guess);
        let offset = if corrected == guess { guess } else { self.settled(seconds, guess, corrected) };
        Nanos(local.0.saturating_sub(offset.saturating_mul(1_000_000_000)))
    }

    fn settled(&self, seconds: i64, guess: i64, corrected: i64) -> i64 {
        if self.offset_at(seconds - corrected) == corrected { corrected } else { guess }
    }
}

/// Bytes of a header.
const HEADER: usize = 44;

struct Header {
    utc_marks: usize,
    standard_marks: usize,
    leaps: usize,
    times: usize,
    types: usize,
    letters: usize,
}

impl Header {
    fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.get(..4)? != b"TZif" {
            return None;
        }
        let count = |place: usize| {
            let at = 20 + 4 * place;
            let count = u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize;
            (count <= CHANGES_MAX).then_some(count)
        };
        Some(Self {
            utc_marks: count(0)?,
            standard_marks: count(1)?,
            leaps: count(2)?,
            times: count(3)?,
            types: count(4)?,
            letters: count(5)?,
        })
    }

    /// Bytes of a block whose times have so many.
    fn len(&self, time_bytes: usize) -> Option<usize> {
        let times = self.times.checked_mul(time_bytes + 1)?;
        let leaps = self.leaps.checked_mul(time_bytes + 4)?;
        let marks = self.utc_marks + self.standard_marks;
        Some(HEADER + times + self.types * 6 + self.letters + leaps + marks)
    }
}

/// The rule behind a file's changes (POSIX `TZ`): `CET-1CEST,M3.5.0,M10.5.0/3`.
mod rule {
    use super::DAY;

    pub enum Rule {
        Unsaid,
        Always(i64),
        Yearly(Yearly),
    }

    pub struct Yearly {
        standard: i64,
        summer: i64,
        begins: Change,
        ends: Change,
    }

    /// Day and local second of it.
    struct Change {
        day: Day,
        second: i64,
    }

    enum Day {
        /// Month, week (5 is the last), weekday.
        Week(i64, i64, i64),
        /// From 1, February 29 never counted.
        Julian(i64),
        /// From 0, February 29 counted.
        Zero(i64),
    }

    impl Yearly {
        /// When clocks change in a year, and to what.
        pub fn changes(&self, year: i64) -> [(i64, i64); 2] {
            [
                (self.begins.at(year) - self.standard, self.summer),
                (self.ends.at(year) - self.summer, self.standard),
            ]
        }
    }

    impl Change {
        fn at(&self, year: i64) -> i64 {
            let january = days_before(year, 1);
            let leap = i64::from(days_before(year, 3) - days_before(year, 2) == 29);
            let day = match self.day {
                Day::Julian(day) => january + day - 1 + if day >= 60 { leap } else { 0 },
                Day::Zero(day) => january + day,
                Day::Week(month, week, weekday) => {
                    let first = days_before(year, month);
                    // 1970-01-01 was a Thursday.
                    let until = (weekday - (first + 4)).rem_euclid(7);
                    let next =
                        if month == 12 { days_before(year + 1, 1) } else { days_before(year, month + 1) };
                    let day = first + until + 7 * (week - 1);
                    if day >= next { day - 7 } else { day }
                }
            };
            day * DAY + self.second
        }
    }

    /// Days from 1970-01-01 to the first of a month.
    fn days_before(year: i64, month: i64) -> i64 {
        let shifted = year - i64::from(month <= 2);
        let era = shifted.div_euclid(400);
        let of_era = shifted - era * 400;
        let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5;
        era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
    }

    /// Reads a rule; an empty one says nothing.
    pub fn read(text: &str) -> Option<Rule> {
        if text.is_empty() {
            return Some(Rule::Unsaid);
        }
        let mut parts = text.split(',');
        let names = parts.next()?;
        let (rest, standard) = offset(name(names)?)?;
        if rest.is_empty() {
            return Some(Rule::Always(-standard));
        }
        let (rest, summer) = match name(rest)? {
            "" => ("", standard - 3600),
            rest => offset(rest)?,
        };
        if !rest.is_empty() {
            return None;
        }
        let (begins, ends) = (change(parts.next()?)?, change(parts.next()?)?);
        Some(Rule::Yearly(Yearly { standard: -standard, summer: -summer, begins, ends }))
    }

    /// What stands behind a zone's letters.
    fn name(text: &str) -> Option<&str> {
        match text.strip_prefix('<') {
            Some(rest) => rest.split_once('>').map(|(_, rest)| rest),
            None => Some(text.trim_start_matches(|c: char| c.is_ascii_alphabetic())),
        }
    }

    /// `[+-]hh[:mm[:ss]]`, west of UTC counted up, and what stands behind it.
    fn offset(text: &str) -> Option<(&str, i64)> {
        let is_of = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | ':');
        let len = text.find(|c| !is_of(c)).unwrap_or(text.len());
        let (time, rest) = text.split_at_checked(len)?;
        Some((rest, seconds(time)?))
    }

    fn seconds(text: &str) -> Option<i64> {
        let (sign, text) = match text.strip_prefix('-') {
            Some(text) => (-1, text),
            None => (1, text.trim_start_matches('+')),
        };
        let mut total = 0;
        let mut unit = 3600;
        for part in text.split(':').take(3) {
            total += part.parse::<i64>().ok().filter(|number| *number <= 200)? * unit;
            unit /= 60;
        }
        Some(sign * total)
    }

    fn change(text: &str) -> Option<Change> {
        let (day, time) = text.split_once('/').unwrap_or((text, "2"));
        let second = seconds(time)?;
        let number = |text: &str, least: i64, most: i64| {
            text.parse::<i64>().ok().filter(|number| (least..=most).contains(number))
        };
        let day = match (day.strip_prefix('M'), day.strip_prefix('J')) {
            (Some(day), _) => {
                let mut parts = day.split('.');
                let (month, week) = (number(parts.next()?, 1, 12)?, number(parts.next()?, 1, 5)?);
                Day::Week(month, week, number(parts.next()?, 0, 6)?)
            }
            (_, Some(day)) => Day::Julian(number(day, 1, 365)?),
            _ => Day::Zero(number(day, 0, 365)?),
        };
        Some(Change { day, second })
    }
}

#[cfg(test)]
mod tests {
    use kenning_stdx::files::{MemFiles, RealFiles};
    use kenning_template::layout;
    use proptest::prelude::*;

    use super::*;

    /// A file without changes of its own, only a rule.
    fn file(rule: &str) -> Vec<u8> {
        let mut block = b"TZif2".to_vec();
        block.extend([0; 15]);
        for count in [0u32, 0, 0, 0, 1, 4] {
            block.extend(count.to_be_bytes());
        }
        block.extend([0, 0, 0, 0, 0, 0]);
        block.extend(b"UTC\0");
        let mut whole = block.clone();
        whole.extend(block);
        whole.extend(format!("\n{rule}\n").bytes());
        whole
    }

    fn check(rule: &str, local: &str, expect: &str) {
        let files = MemFiles::default();
        files.put("/usr/share/zoneinfo/Some/Where", file(rule));
        let zone = Zone::load("Some/Where", &files).unwrap();
        let time = layout::parse("2006-01-02 15:04", local).unwrap();
        assert_eq!(layout::format("2006-01-02 15:04", zone.to_utc(time)), expect, "{rule} {local}");
    }

    #[test]
    fn rules() {
        let berlin = "CET-1CEST,M3.5.0,M10.5.0/3";
        check(berlin, "2026-01-15 12:00", "2026-01-15 11:00");
        check(berlin, "2026-07-15 12:00", "2026-07-15 10:00");
        check(berlin, "2026-03-29 01:59", "2026-03-29 00:59");
        check(berlin, "2026-03-29 03:00", "2026-03-29 01:00");
        check(berlin, "2026-10-25 01:30", "2026-10-24 23:30");
        check(berlin, "2026-10-25 03:00", "2026-10-25 02:00");
        check("EST5EDT,M3.2.0,M11.1.0", "2026-07-04 08:00", "2026-07-04 12:00");
        check("EST5EDT,M3.2.0,M11.1.0", "2026-12-24 08:00", "2026-12-24 13:00");
        check("<+0530>-5:30", "2026-12-24 08:00", "2026-12-24 02:30");
        check("AEST-10AEDT,M10.1.0,M4.1.0/3", "2026-01-01 12:00", "2026-01-01 01:00");
    }

    #[test]
    #[expect(clippy::print_stderr, reason = "a skipped test must be heard of")]
    fn the_machines_zones() {
        let Ok(zone) = Zone::load("America/New_York", &RealFiles) else {
            eprintln!("SKIPPED: this machine has no time zones");
            return;
        };
        for (local, expect) in
            [("2026-07-04 08:00", "2026-07-04 12:00"), ("1999-12-24 08:00", "1999-12-24 13:00")]
        {
            let time = layout::parse("2006-01-02 15:04", local).unwrap();
            assert_eq!(layout::format("2006-01-02 15:04", zone.to_utc(time)), expect);
        }
    }

    #[test]
    fn names_are_checked() {
        for name in ["../etc/passwd", "/etc/passwd", "Local", "No/Where"] {
            assert!(Zone::load(name, &MemFiles::default()).is_err(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_file_panics(place in 0usize..120, byte: u8, cut in 0usize..160, rule in "[A-Z<>0-9+,./:MJ-]{0,30}") {
            let mut bytes = file(&rule);
            if let Some(there) = bytes.get_mut(place) {
                *there = byte;
            }
            bytes.truncate(cut.max(1));
            let _ = Zone::read(&bytes).map(|zone| zone.to_utc(Nanos(0)));
        }
    }
}
