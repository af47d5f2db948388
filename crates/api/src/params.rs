//! Request parameters: URL and form body merged, and the many ways in which clients write times.

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, header};
use chrono::DateTime;
use kenning_gotext::duration;
use kenning_model::{Millis, Nanos};

use crate::error::ApiError;

/// Largest form body of a query, in bytes.
const FORM_BYTES_MAX: usize = 1 << 20;
/// Most parameters of a request.
const PARAMS_MAX: usize = 1_000;

/// The parameters of a request in order: those of the URL, then those of a form body.
#[derive(Clone, Debug, Default)]
pub struct Params {
    pairs: Vec<(String, String)>,
}

impl Params {
    /// Reads URL and, for a POST, body. Grafana sends POST with an empty body and all parameters in the URL.
    pub async fn of(request: Request<Body>) -> Result<Self, ApiError> {
        let mut params = Self::default();
        params.extend(request.uri().query().unwrap_or("").as_bytes())?;
        let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let is_form = content_type.is_none_or(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        if request.method() == Method::POST && is_form {
            let body = to_bytes(request.into_body(), FORM_BYTES_MAX).await;
            let body =
                body.map_err(|_| ApiError::too_large(format!("form body exceeds {FORM_BYTES_MAX} bytes")))?;
            params.extend(&body)?;
        }
        Ok(params)
    }

    fn extend(&mut self, encoded: &[u8]) -> Result<(), ApiError> {
        for (key, value) in form_urlencoded::parse(encoded) {
            if self.pairs.len() == PARAMS_MAX {
                return Err(ApiError::bad_request(format!("more than {PARAMS_MAX} parameters")));
            }
            self.pairs.push((key.into_owned(), value.into_owned()));
        }
        Ok(())
    }

    /// The first value of `name` that is not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).find(|value| !value.is_empty())
    }

    /// Every value of `name`.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The value of `name`, or the error that says what is missing.
    pub fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.get(name).ok_or_else(|| ApiError::bad_request(format!("parameter \"{name}\" is missing")))
    }

    /// A whole number of at least zero.
    pub fn count(&self, name: &str) -> Result<Option<usize>, ApiError> {
        let parse = |text: &str| text.parse().map_err(|_| bad(name, text, "a whole number"));
        self.get(name).map(parse).transpose()
    }

    /// A time as Prometheus reads it: seconds since the epoch, or RFC 3339.
    pub fn prometheus_time(&self, name: &str) -> Result<Option<Millis>, ApiError> {
        let parse =
            |text| prometheus_time(text).ok_or_else(|| bad(name, text, "seconds since 1970 or RFC 3339"));
        self.get(name).map(parse).transpose()
    }

    /// A length of time as Prometheus reads it: seconds, or a duration such as `1h30m`; in milliseconds.
    pub fn prometheus_duration(&self, name: &str) -> Result<Option<i64>, ApiError> {
        let parse =
            |text| duration_ms(text).ok_or_else(|| bad(name, text, "seconds or a duration such as 1m30s"));
        self.get(name).map(parse).transpose()
    }

    /// A whole number of microseconds since the epoch, as Jaeger sends them.
    pub fn micros(&self, name: &str) -> Result<Option<Nanos>, ApiError> {
        let parse = |text: &str| {
            let micros = text.parse::<i64>().map_err(|_| bad(name, text, "microseconds since 1970"))?;
            Ok(Nanos(micros.saturating_mul(1_000)))
        };
        self.get(name).map(parse).transpose()
    }
}

fn bad(name: &str, text: &str, expected: &str) -> ApiError {
    ApiError::bad_request(format!("invalid parameter \"{name}\": cannot read \"{text}\" as {expected}"))
}

/// Seconds (with fraction) since the epoch, or RFC 3339. Absurdly large times saturate: they are valid and empty.
fn prometheus_time(text: &str) -> Option<Millis> {
    match text.parse::<f64>() {
        Ok(seconds) if !seconds.is_nan() => Some(Millis((seconds * 1000.0).round() as i64)),
        Ok(_) => None,
        Err(_) => DateTime::parse_from_rfc3339(text).ok().map(|at| Millis(at.timestamp_millis())),
    }
}

/// Loki tells units apart as its own server does: a fraction means seconds, ten digits or fewer mean seconds, longer
/// whole numbers nanoseconds.
pub fn loki_time(text: &str) -> Option<Nanos> {
    const SECONDS_DIGITS_MAX: usize = 10;
    if text.contains('.')
        && let Ok(seconds) = text.parse::<f64>()
    {
        return (!seconds.is_nan()).then_some(Nanos((seconds * 1e9).round() as i64));
    }
    match text.parse::<i64>() {
        Ok(seconds) if text.len() <= SECONDS_DIGITS_MAX => Some(Nanos(seconds.saturating_mul(1_000_000_000))),
        Ok(nanos) => Some(Nanos(nanos)),
        Err(_) => {
            let at = DateTime::parse_from_rfc3339(text).ok()?;
            Some(Nanos(at.timestamp_nanos_opt().unwrap_or(i64::MAX)))
        }
    }
}

/// Milliseconds of a number of seconds or of a Prometheus duration (`y w d h m s ms`, largest unit first).
pub fn duration_ms(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<f64>() {
        let ms = seconds * 1000.0;
        return (ms.is_finite() && ms.abs() < 9e15).then_some(ms.round() as i64);
    }
    duration::parse_prometheus(text).ok().map(|nanos| nanos / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_times() {
        let check =
            |text, expect: Option<i64>| assert_eq!(prometheus_time(text), expect.map(Millis), "{text}");
        check("1435781430.781", Some(1_435_781_430_781));
        check("2015-07-01T20:10:51.781Z", Some(1_435_781_451_781));
        check("1e300", Some(i64::MAX));
        check("NaN", None);
        check("yesterday", None);
    }

    #[test]
    fn loki_times() {
        let check = |text, expect: Option<i64>| assert_eq!(loki_time(text), expect.map(Nanos), "{text}");
        check("1700000000", Some(1_700_000_000_000_000_000));
        check("1700000000.5", Some(1_700_000_000_500_000_000));
        check("1700000000000000001", Some(1_700_000_000_000_000_001));
        check("4000000000", Some(4_000_000_000_000_000_000));
        check("2023-11-14T22:13:20Z", Some(1_700_000_000_000_000_000));
        check("x", None);
    }

    #[test]
    fn durations() {
        let check = |text, expect| assert_eq!(duration_ms(text), expect, "{text}");
        check("15", Some(15_000));
        check("0.25", Some(250));
        check("1h30m", Some(5_400_000));
        check("250ms", Some(250));
        check("1m1h", None);
        check("5x", None);
        check("", None);
    }
}
