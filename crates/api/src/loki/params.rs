//! Parameters as Loki reads them, with its words for what it cannot read.

use kenning_gotext::quote::quote;
use kenning_model::Nanos;

use crate::asked::Asked;
use crate::error::ApiError;
use crate::params::{duration_ms, loki_time};

/// Log lines answered when the request does not say how many.
const LIMIT_DEFAULT: usize = 100;
/// Most log lines in an answer.
pub(super) const LIMIT_MAX: usize = 5_000;
/// Points a range is cut into when the request gives no step.
const POINTS_DEFAULT: i64 = 250;
/// How far back a request without `start` and `since` looks.
const SINCE_DEFAULT_MS: i64 = 3_600_000;
const SECOND_NS: i64 = 1_000_000_000;

/// The query; the parser says what is wrong with one that is missing.
pub(super) fn query(asked: &Asked) -> &str {
    asked.params.get("query").unwrap_or("")
}

/// A time: nanoseconds, seconds, or RFC 3339.
pub(super) fn time(asked: &Asked, name: &str) -> Result<Option<Nanos>, ApiError> {
    asked.params.get(name).map(|text| read_time(text).map_err(ApiError::bad_request)).transpose()
}

fn read_time(text: &str) -> Result<Nanos, String> {
    loki_time(text).ok_or_else(|| go_syntax("ParseInt", text))
}

/// Go's words for a text that is no number.
fn go_syntax(function: &str, text: &str) -> String {
    format!("strconv.{function}: parsing {}: invalid syntax", quote(text))
}

/// The range asked for: `end` or now, `start` or `since` (default one hour) before the earlier of end and now.
pub(super) fn range(asked: &Asked) -> Result<(Nanos, Nanos), ApiError> {
    let told = |name: &str| asked.params.get(name);
    let now = Nanos(asked.api.clock.unix_nanos());
    bounds(now, told("start"), told("end"), told("since")).map_err(|message| {
        ApiError::bad_parameter(
            message,
            "times are nanoseconds or seconds since 1970 or 2026-01-31T12:00:00Z, durations such as 1h30m",
        )
    })
}

fn bounds(
    now: Nanos,
    start: Option<&str>,
    end: Option<&str>,
    since: Option<&str>,
) -> Result<(Nanos, Nanos), String> {
    let wrapped = |name: &str, text: &str| {
        read_time(text).map_err(|error| format!("could not parse '{name}' parameter: {error}"))
    };
    let since_ms = match since {
        None => SINCE_DEFAULT_MS,
        Some(text) => duration_of_units(text).ok_or_else(|| {
            format!("could not parse 'since' parameter: not a valid duration string: {}", quote(text))
        })?,
    };
    let end = end.map_or(Ok(now), |text| wrapped("end", text))?;
    // An end in the future must not move the start towards it.
    let default = Nanos(end.min(now).0.saturating_sub(since_ms.saturating_mul(1_000_000)));
    Ok((start.map_or(Ok(default), |text| wrapped("start", text))?, end))
}

/// A duration with units; a bare number is none but for zero.
fn duration_of_units(text: &str) -> Option<i64> {
    let is_bare = text.parse::<f64>().is_ok();
    if is_bare && text != "0" { None } else { duration_ms(text) }
}

/// A range and the distance between its instants, in nanoseconds.
pub(super) struct Grid {
    pub(super) start: Nanos,
    pub(super) end: Nanos,
    pub(super) step_ns: i64,
}

/// Range and step of a range query.
pub(super) fn grid(asked: &Asked) -> Result<Grid, ApiError> {
    let (start, end) = range(asked)?;
    if end < start {
        return Err(ApiError::bad_request("end timestamp must not be before or equal to start time"));
    }
    let step_ns = step(asked, start, end)?;
    if step_ns <= 0 {
        return Err(ApiError::bad_request(
            "zero or negative query resolution step widths are not accepted. Try a positive integer",
        ));
    }
    let points = (i128::from(end.0) - i128::from(start.0)) / i128::from(step_ns);
    let points_max = asked.api.limits.points_max;
    if points > i128::from(points_max) {
        return Err(ApiError::bad_request(format!(
            "exceeded maximum resolution of {} points per time series. Try increasing the value of the step parameter",
            with_commas(points_max)
        )));
    }
    Ok(Grid { start, end, step_ns })
}

fn step(asked: &Asked, start: Nanos, end: Nanos) -> Result<i64, ApiError> {
    match asked.params.get("step") {
        None => Ok(default_step_ns(start, end)),
        Some(text) => duration_ns("step", text),
    }
}

/// The step Loki chooses itself: 250 points, no finer than a second.
fn default_step_ns(start: Nanos, end: Nanos) -> i64 {
    let seconds = end.0.saturating_sub(start.0) / SECOND_NS / POINTS_DEFAULT;
    seconds.max(1).saturating_mul(SECOND_NS)
}

/// Seconds with a fraction, or a duration with units.
fn duration_ns(name: &str, text: &str) -> Result<i64, ApiError> {
    let wrong = |why| {
        let message = format!("cannot parse {} to a valid duration{why}", quote(text));
        ApiError::bad_parameter(message, &format!("{name} is a number of seconds or a duration such as 15s"))
    };
    let bad = || wrong("");
    if let Ok(seconds) = text.parse::<f64>() {
        let nanos = seconds * 1e9;
        if nanos.is_nan() || nanos.abs() > i64::MAX as f64 {
            return Err(wrong(". It overflows int64"));
        }
        return Ok(nanos as i64);
    }
    duration_ms(text).and_then(|ms| ms.checked_mul(1_000_000)).ok_or_else(bad)
}

/// `interval`: only one line per stream and interval; zero: all.
pub(super) fn interval(asked: &Asked) -> Result<i64, ApiError> {
    let interval = asked.params.get("interval").map_or(Ok(0), |text| duration_ns("interval", text))?;
    if interval < 0 { Err(ApiError::bad_request("interval must be >= 0")) } else { Ok(interval) }
}

/// A whole number as Go reads it.
pub(super) fn atoi(name: &str, text: &str) -> Result<i64, ApiError> {
    let hint = || format!("{name} is a whole number");
    text.parse().map_err(|_| ApiError::bad_parameter(go_syntax("Atoi", text), &hint()))
}

/// A limit above zero.
pub(super) fn limit_of(asked: &Asked, name: &str, default: usize) -> Result<usize, ApiError> {
    let Some(text) = asked.params.get(name) else { return Ok(default) };
    match usize::try_from(atoi(name, text)?) {
        Ok(limit) if limit > 0 => Ok(limit),
        _ => Err(ApiError::bad_request("limit must be a positive value")),
    }
}

/// Most lines of an answer.
pub(super) fn limit(asked: &Asked) -> Result<usize, ApiError> {
    let limit = limit_of(asked, "limit", LIMIT_DEFAULT)?;
    if limit > LIMIT_MAX {
        return Err(ApiError::bad_request(format!(
            "max entries limit per query exceeded, limit > max_entries_limit ({limit} > {LIMIT_MAX})"
        )));
    }
    Ok(limit)
}

/// True for the oldest lines first.
pub(super) fn forward(asked: &Asked) -> Result<bool, ApiError> {
    match asked.params.get("direction") {
        None => Ok(false),
        Some(text) if text.eq_ignore_ascii_case("backward") => Ok(false),
        Some(text) if text.eq_ignore_ascii_case("forward") => Ok(true),
        Some(other) => Err(ApiError::bad_parameter(
            format!("invalid direction '{other}'"),
            "direction is forward or backward",
        )),
    }
}

fn with_commas(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600 * SECOND_NS;

    #[test]
    fn bounds_follow_end_start_and_since() {
        let check = |[start, end, since]: [Option<&str>; 3], expect: (i64, i64)| {
            let found = bounds(Nanos(10 * HOUR), start, end, since).map(|(start, end)| (start.0, end.0));
            assert_eq!(found, Ok((expect.0 * HOUR, expect.1 * HOUR)), "{start:?} {end:?} {since:?}");
        };
        check([None, None, None], (9, 10));
        check([None, None, Some("2h")], (8, 10));
        check([None, Some("18000"), None], (4, 5));
        check([None, Some("72000"), None], (9, 20));
        check([Some("3600"), Some("7200"), Some("5h")], (1, 2));
    }

    #[test]
    fn bad_bounds_are_named() {
        let check = |[start, end, since]: [Option<&str>; 3], expect: &str| {
            let found = bounds(Nanos(10 * HOUR), start, end, since);
            assert_eq!(found, Err(expect.to_owned()));
        };
        let parsing = "strconv.ParseInt: parsing \"x\": invalid syntax";
        check([Some("x"), None, None], &format!("could not parse 'start' parameter: {parsing}"));
        check([None, Some("x"), None], &format!("could not parse 'end' parameter: {parsing}"));
        check(
            [None, None, Some("x")],
            "could not parse 'since' parameter: not a valid duration string: \"x\"",
        );
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let check = |number, expect| assert_eq!(with_commas(number), expect);
        check(7, "7");
        check(11_000, "11,000");
        check(1_234_567, "1,234,567");
    }
}
