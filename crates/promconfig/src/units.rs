//! Durations, sizes and URLs as `prometheus.yml` has them.

use std::time::Duration;

use kenning_gotext::duration;
use kenning_gotext::quote::quote;

/// A duration such as `1h30m`.
///
/// # Errors
/// Prometheus's sentence.
pub fn duration(text: &str) -> Result<Duration, String> {
    duration::parse_prometheus(text).map(|nanos| Duration::from_nanos(nanos.unsigned_abs()))
}

/// The duration as Prometheus prints it: `1m`, `1h30m`, `1s500ms`.
#[must_use]
pub fn show_duration(span: Duration) -> String {
    duration::format_prometheus_ms(i64::try_from(span.as_millis()).unwrap_or(i64::MAX))
}

/// A size such as `10MB` or `1.5GiB`, powers of 1024 either way. Definition: alecthomas/units `ParseBase2Bytes`.
pub fn bytes(text: &str) -> Result<i64, String> {
    let invalid = || format!("units: invalid {text}");
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    let mut total = 0.0;
    if rest.is_empty() {
        return Err(invalid());
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        let number: f64 = number.parse().map_err(|_| invalid())?;
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let scale = scale_of(unit).ok_or_else(|| format!("units: unknown unit {unit} in {text}"))?;
        total += number * scale;
        rest = after;
    }
    if total > i64::MAX as f64 {
        return Err("units: overflow parsing unit".to_owned());
    }
    Ok(if negative { -(total as i64) } else { total as i64 })
}

fn scale_of(unit: &str) -> Option<f64> {
    let power = match unit {
        "B" => 0,
        "KiB" | "KB" => 1,
        "MiB" | "MB" => 2,
        "GiB" | "GB" => 3,
        "TiB" | "TB" => 4,
        "PiB" | "PB" => 5,
        "EiB" | "EB" => 6,
        _ => return None,
    };
    Some(1024f64.powi(power))
}

/// What checks need of a URL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Url {
    /// Before the first colon, in lower case; empty when there is none.
    pub scheme: String,
    /// Host with its port; empty when there is none.
    pub host: String,
}

/// Takes a URL apart as far as Go's `url.Parse` can fail.
pub fn url(text: &str) -> Result<Url, String> {
    let failed = |problem: &str| Err(format!("parse {}: {problem}", quote(text)));
    if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
        return failed("net/url: invalid control character in URL");
    }
    let without_fragment = text.split_once('#').map_or(text, |(before, _)| before);
    if without_fragment.starts_with(':') {
        return failed("missing protocol scheme");
    }
    let is_scheme = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_alphabetic())
            && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    };
    let (scheme, rest) = match without_fragment.split_once(':') {
        Some((scheme, rest)) if is_scheme(scheme) => (scheme.to_ascii_lowercase(), rest),
        _ => (String::new(), without_fragment),
    };
    let rest = rest.split_once('?').map_or(rest, |(before, _)| before);
    let Some(after) = rest.strip_prefix("//") else {
        let first = rest.split('/').next().unwrap_or_default();
        if scheme.is_empty() && first.contains(':') {
            return failed("first path segment in URL cannot contain colon");
        }
        return if bad_escape(rest) {
            failed("invalid URL escape")
        } else {
            Ok(Url { scheme, host: String::new() })
        };
    };
    let authority = after.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let port = match host.rsplit_once(']') {
        Some((_, port)) => port.strip_prefix(':'),
        None if host.starts_with('[') => return failed("missing ']' in host"),
        None => host.rsplit_once(':').map(|(_, port)| port),
    };
    if let Some(port) = port.filter(|port| !port.bytes().all(|byte| byte.is_ascii_digit())) {
        return failed(&format!("invalid port {} after host", quote(&format!(":{port}"))));
    }
    if host.contains(' ') || bad_escape(after) {
        return failed("invalid character in host name or escape");
    }
    Ok(Url { scheme, host: host.to_owned() })
}

fn bad_escape(text: &str) -> bool {
    text.match_indices('%').any(|(at, _)| {
        let digits = text.as_bytes().get(at + 1..at + 3);
        !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("1h30m").map(show_duration).as_deref(), Ok("1h30m"));
        assert_eq!(show_duration(Duration::from_secs(36 * 3600)), "1d12h");
        assert_eq!(duration("-1h").unwrap_err(), "not a valid duration string: \"-1h\"");
    }

    #[test]
    fn sizes() {
        assert_eq!(bytes("15MB"), Ok(15 << 20));
        assert_eq!(bytes("1.5KiB"), Ok(1536));
        assert_eq!(bytes("100").unwrap_err(), "units: unknown unit  in 100");
        assert_eq!(bytes("-1B"), Ok(-1));
        assert!(bytes("MB").is_err() && bytes("").is_err());
    }

    #[test]
    fn urls() {
        let host = |text: &str| url(text).map(|url| (url.scheme, url.host));
        assert_eq!(host("http://a:9/x?y"), Ok(("http".into(), "a:9".into())));
        assert_eq!(host("unix:///var/run/docker.sock"), Ok(("unix".into(), String::new())));
        assert_eq!(host("localhost:9090"), Ok(("localhost".into(), String::new())));
        for bad in ["http://[::1", "://x", "http://a:b/", "1:2", "http://x/%zz"] {
            assert!(url(bad).is_err(), "{bad}");
        }
    }
}
