//! Parameters as Prometheus reads them, with its words for what it cannot read.

use std::time::Duration;

use chrono::DateTime;
use kenning_model::{Filter, Millis, TimeRange};
use kenning_promql as promql;
use kenning_query::{Diagnostic, QueryError};

use crate::error::ApiError;
use crate::params::Params;

/// `invalid parameter "name": why`
pub(super) fn invalid(name: &str, why: impl std::fmt::Display) -> ApiError {
    ApiError::bad_request(format!("invalid parameter \"{name}\": {why}"))
}

/// A time that must be there.
pub(super) fn time(params: &Params, name: &str) -> Result<Millis, ApiError> {
    read_time(params.get(name).unwrap_or("")).map_err(|why| invalid(name, why))
}

/// A time that may be left out.
pub(crate) fn time_or(params: &Params, name: &str, default: Millis) -> Result<Millis, ApiError> {
    let Some(text) = params.get(name) else { return Ok(default) };
    read_time(text).map_err(|why| invalid(name, format!("invalid time value for '{name}': {why}")))
}

/// `start` and `end`; all time without.
pub(super) fn range(params: &Params) -> Result<TimeRange, ApiError> {
    let start = time_or(params, "start", Millis(i64::MIN))?;
    let end = time_or(params, "end", Millis(i64::MAX))?;
    Ok(TimeRange::from_millis(start, end))
}

/// Seconds with fraction, or RFC 3339. Absurdly large times saturate: they are valid and empty.
fn read_time(text: &str) -> Result<Millis, String> {
    let of_float = |seconds: f64| (!seconds.is_nan()).then(|| Millis((seconds * 1000.0).round() as i64));
    let of_text = || DateTime::parse_from_rfc3339(text).ok().map(|at| Millis(at.timestamp_millis()));
    text.parse::<f64>()
        .ok()
        .and_then(of_float)
        .or_else(of_text)
        .or(match text {
            // The ends of time as Prometheus and its clients write them, beyond the years that RFC 3339 has.
            "-292273086-05-16T16:47:06Z" => Some(Millis(i64::MIN)),
            "292277025-08-18T07:12:54.999999999Z" => Some(Millis(i64::MAX)),
            _ => None,
        })
        .ok_or_else(|| format!("cannot parse {text:?} to a valid timestamp"))
}

/// A length of time in milliseconds: seconds, or a duration such as `1h30m`.
pub(super) fn duration_ms(text: &str) -> Result<i64, String> {
    const NANOS_PER_SECOND: f64 = 1e9;
    if let Ok(seconds) = text.parse::<f64>() {
        return match (seconds * NANOS_PER_SECOND).abs() <= i64::MAX as f64 {
            // Prometheus cuts to whole nanoseconds first, and engines look at milliseconds.
            true => Ok((seconds * NANOS_PER_SECOND) as i64 / 1_000_000),
            false => Err(format!("cannot parse {text:?} to a valid duration. It overflows int64")),
        };
    }
    promql::parse_duration(text).ok().ok_or_else(|| format!("cannot parse {text:?} to a valid duration"))
}

/// The `timeout` of a query, if it has one.
pub(super) fn timeout(params: &Params) -> Result<Option<Duration>, ApiError> {
    let Some(text) = params.get("timeout") else { return Ok(None) };
    let ms = duration_ms(text).map_err(|why| invalid("timeout", why))?;
    Ok(Some(Duration::from_millis(u64::try_from(ms).unwrap_or(0))))
}

/// The language's options that a request may change.
pub(super) fn options(params: &Params) -> Result<promql::Options, ApiError> {
    let mut options = promql::Options::default();
    if let Some(text) = params.get("lookback_delta") {
        let wrong = |why| ApiError::bad_request(format!("error parsing lookback delta duration: {why}"));
        // Zero and less mean the default, as upstream.
        options.lookback_ms =
            Some(duration_ms(text).map_err(wrong)?).filter(|ms| *ms > 0).unwrap_or(options.lookback_ms);
    }
    Ok(options)
}

/// `limit`; none for zero and for nothing.
pub(super) fn limit(params: &Params) -> Result<Option<usize>, ApiError> {
    let Some(text) = params.get("limit") else { return Ok(None) };
    match whole_number(text).map_err(|why| invalid("limit", why))? {
        negative if negative < 0 => Err(invalid("limit", "limit must be non-negative")),
        number => Ok(usize::try_from(number).ok().filter(|limit| *limit > 0)),
    }
}

/// An integer, with the words that Go has for what is none.
pub(super) fn whole_number(text: &str) -> Result<i64, String> {
    text.parse::<i64>().map_err(|error| {
        let why = match error.kind() {
            std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!("strconv.Atoi: parsing {text:?}: {why}")
    })
}

/// A truth value as Go reads it.
pub(super) fn bool_of(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// The filters of all `match[]`, none without.
pub(super) fn selectors(params: &Params) -> Result<Vec<Filter>, String> {
    let texts = params.all("match[]").filter(|text| !text.is_empty());
    texts.map(|text| promql::matchers(text).map_err(|wrong| first_of(&wrong, text))).collect()
}

/// Any of the `match[]`; every series without.
pub(crate) fn any_selector(params: &Params) -> Result<Filter, ApiError> {
    let mut selectors = selectors(params).map_err(ApiError::bad_request)?;
    Ok(match (selectors.pop(), selectors.is_empty()) {
        (None, _) => Filter::All,
        (Some(one), true) => one,
        (Some(last), false) => {
            selectors.push(last);
            Filter::Or(selectors)
        }
    })
}

/// The first thing wrong with a query, as Prometheus says it. What concerns the whole query has no place.
fn first_of(wrong: &[Diagnostic], query: &str) -> String {
    let Some(first) = wrong.first() else { return "parse error".to_owned() };
    if first.message.starts_with("match[] must") || first.message.starts_with("invalid expression type") {
        return first.message.clone();
    }
    // What a duration comes to is told with its own place, counted in characters from the start.
    if first.message.starts_with(&format!("{}:{}: ", first.span.start, first.span.end)) {
        return first.message.clone();
    }
    if query.is_empty() {
        return format!("unknown position: parse error: {}", first.message);
    }
    let (line, column) = first.span.line_column(query);
    format!("{line}:{column}: parse error: {}", first.message)
}

/// The tree of the parameter `query`.
pub(super) fn expression(params: &Params) -> Result<promql::Expr, ApiError> {
    let query = params.get("query").unwrap_or("");
    promql::parse(query).map_err(|wrong| explain(&QueryError::Invalid(wrong), query))
}

/// What went wrong with a query, in Prometheus's words.
pub(super) fn explain(error: &QueryError, query: &str) -> ApiError {
    match error {
        QueryError::Invalid(wrong) => invalid("query", first_of(wrong, query)),
        QueryError::Execution(diagnostic) => ApiError::unprocessable(&*diagnostic.message),
        other => ApiError::of_query(other, query),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let check =
            |text, expect: Option<i64>| assert_eq!(read_time(text).ok(), expect.map(Millis), "{text}");
        check("1435781430.781", Some(1_435_781_430_781));
        check("2015-06-03T13:21:58.555Z", Some(1_433_337_718_555));
        check("2015-06-03T14:21:58.555+01:00", Some(1_433_337_718_555));
        check("1543578564.705", Some(1_543_578_564_705));
        check("-292273086-05-16T16:47:06Z", Some(i64::MIN));
        check("1e300", Some(i64::MAX));
        check("2015-06-03T13:21:58", None);
        check("NaN", None);
        check("", None);
    }

    #[test]
    fn durations_and_numbers() {
        let check = |text, expect| assert_eq!(duration_ms(text).ok(), expect, "{text}");
        check("123.333", Some(123_333));
        check("1h30m", Some(5_400_000));
        check("0.0001", Some(0));
        check("1e300", None);
        check("5x", None);
        assert_eq!(whole_number("x").unwrap_err(), "strconv.Atoi: parsing \"x\": invalid syntax");
        assert_eq!(bool_of("True"), Some(true));
        assert_eq!(bool_of("yes"), None);
    }
}
