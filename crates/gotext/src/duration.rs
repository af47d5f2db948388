//! Durations: Go's (`1h15m30.9s`) and Prometheus' (`1w2d`), both in nanoseconds.

use super::quote::quote;

const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Reads a duration as Go's `time.ParseDuration` does, with its error texts.
pub fn parse_go(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {}", quote(text));
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, text.get(1..).unwrap_or("")),
        Some(b'+') => (false, text.get(1..).unwrap_or("")),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0i64;
    while !rest.is_empty() {
        let (number, after) = split_number(rest).ok_or_else(invalid)?;
        let end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {}", quote(text)));
        }
        let scale = go_unit(unit)
            .ok_or_else(|| format!("time: unknown unit {} in duration {}", quote(unit), quote(text)))?;
        total = scaled(number, scale).and_then(|ns| total.checked_add(ns)).ok_or_else(invalid)?;
        rest = after;
    }
    Ok(if negative { -total } else { total })
}

/// Splits a decimal number off the front; `None` without a digit.
fn split_number(text: &str) -> Option<(&str, &str)> {
    let mut points = 0;
    let end = text
        .find(|c: char| {
            points += usize::from(c == '.');
            !(c.is_ascii_digit() || c == '.' && points == 1)
        })
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    number.contains(|c: char| c.is_ascii_digit()).then_some((number, rest))
}

fn scaled(number: &str, scale: i64) -> Option<i64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction = if fraction.is_empty() { 0.0 } else { format!("0.{fraction}").parse::<f64>().ok()? };
    whole.checked_mul(scale)?.checked_add((fraction * scale as f64 + 1e-9) as i64)
}

fn go_unit(unit: &str) -> Option<i64> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => SECOND,
        "m" => MINUTE,
        "h" => HOUR,
        _ => return None,
    })
}

/// Units of Prometheus' durations, in the only order in which they may follow each other.
const PROMETHEUS_UNITS: [(&str, i64); 7] = [
    ("y", 365 * DAY),
    ("w", 7 * DAY),
    ("d", DAY),
    ("h", HOUR),
    ("m", MINUTE),
    ("s", SECOND),
    ("ms", 1_000_000),
];

/// Reads a duration as Prometheus' `model.ParseDuration` does.
pub fn parse_prometheus(text: &str) -> Result<i64, String> {
    match text {
        "0" => return Ok(0),
        "" => return Err("empty duration string".to_owned()),
        _ => {}
    }
    let invalid = || format!("not a valid duration string: {}", quote(text));
    let (mut rest, mut total, mut units) = (text, 0i64, PROMETHEUS_UNITS.iter());
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(invalid)?;
        let (number, after) = rest.split_at(digits);
        let number: i64 = number.parse().map_err(|_| invalid())?;
        let unit_end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        if !PROMETHEUS_UNITS.iter().any(|(name, _)| *name == unit) {
            return Err(format!("unknown unit {} in duration {}", quote(unit), quote(text)));
        }
        let (_, scale) = units.find(|(name, _)| *name == unit).ok_or_else(invalid)?;
        let sum = number.checked_mul(*scale).and_then(|ns| total.checked_add(ns));
        total = sum.ok_or_else(|| "duration out of range".to_owned())?;
        rest = after;
    }
    Ok(total)
}

/// Writes a duration as Go's `Duration.String` does.
#[must_use]
pub fn format_go(nanos: i64) -> String {
    let (sign, n) = (if nanos < 0 { "-" } else { "" }, nanos.unsigned_abs());
    if n == 0 {
        return "0s".to_owned();
    }
    if n < SECOND as u64 {
        let (scale, unit) = match n {
            0..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "µs"),
            _ => (1_000_000, "ms"),
        };
        return format!("{sign}{}{unit}", decimal(n / scale, n % scale, scale));
    }
    let (seconds, fraction) = (n / SECOND as u64, n % SECOND as u64);
    let tail = decimal(seconds % 60, fraction, SECOND as u64);
    match (seconds / 3600, seconds / 60 % 60) {
        (0, 0) => format!("{sign}{tail}s"),
        (0, minutes) => format!("{sign}{minutes}m{tail}s"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{tail}s"),
    }
}

fn decimal(whole: u64, fraction: u64, scale: u64) -> String {
    if fraction == 0 {
        return whole.to_string();
    }
    let width = scale.ilog10() as usize;
    format!("{whole}.{}", format!("{fraction:0width$}").trim_end_matches('0'))
}

/// Writes a duration as Prometheus's `model.Duration.String` does, cut to whole milliseconds.
#[must_use]
pub fn format_prometheus(nanos: i64) -> String {
    format_prometheus_ms(nanos / 1_000_000)
}

/// The same for milliseconds: the largest units first, years and weeks only when nothing is left over.
#[must_use]
pub fn format_prometheus_ms(ms: i64) -> String {
    let (sign, mut ms) = (if ms < 0 { "-" } else { "" }, ms.unsigned_abs());
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut out = sign.to_owned();
    for (index, (unit, scale)) in PROMETHEUS_UNITS.iter().enumerate() {
        let scale = (*scale / 1_000_000) as u64;
        let exact_only = index < 2;
        if ms < scale || exact_only && ms % scale != 0 {
            continue;
        }
        out.push_str(&format!("{}{unit}", ms / scale));
        ms %= scale;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations() {
        for (text, nanos, canonical) in [
            ("1ns", 1, "1ns"),
            ("1µs", 1_000, "1µs"),
            ("1h15m30.918273645s", 4_530_918_273_645, "1h15m30.918273645s"),
            ("-1.5h", -90 * MINUTE, "-1h30m0s"),
            (".5ms", 500_000, "500µs"),
            ("0", 0, "0s"),
            ("90s", 90 * SECOND, "1m30s"),
        ] {
            assert_eq!(parse_go(text), Ok(nanos), "{text}");
            assert_eq!(format_go(nanos), canonical);
        }
        for (text, error) in [
            ("90", "time: missing unit in duration \"90\""),
            ("1d", "time: unknown unit \"d\" in duration \"1d\""),
            ("x", "time: invalid duration \"x\""),
            ("", "time: invalid duration \"\""),
            ("9999999999h", "time: invalid duration \"9999999999h\""),
        ] {
            assert_eq!(parse_go(text), Err(error.to_owned()));
        }
    }

    #[test]
    fn prometheus_durations() {
        for (text, nanos, canonical) in [
            ("5m", 5 * MINUTE, "5m"),
            ("1w2d", 9 * DAY, "9d"),
            ("90s", 90 * SECOND, "1m30s"),
            ("12h", 12 * HOUR, "12h"),
            ("10y", 3650 * DAY, "10y"),
            ("25h", 25 * HOUR, "1d1h"),
            ("8d", 8 * DAY, "8d"),
            ("14d", 14 * DAY, "2w"),
            ("1s1ms", SECOND + 1_000_000, "1s1ms"),
            ("0", 0, "0s"),
        ] {
            assert_eq!(parse_prometheus(text), Ok(nanos), "{text}");
            assert_eq!(format_prometheus(nanos), canonical);
        }
        for bad in ["", "5", "1.5h", "5m1h", "m", "-5m", "5x", "99999999999999y", "300y", "1m1m"] {
            assert!(parse_prometheus(bad).is_err(), "{bad}");
        }
    }
}
