//! Numbers for people.

use kenning_model::Nanos;
use kenning_template::{Value, layout, printf};

const LARGE: [&str; 8] = ["k", "M", "G", "T", "P", "E", "Z", "Y"];
const LARGE_BINARY: [&str; 8] = ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"];
const SMALL: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];

/// Four significant digits.
fn short(value: f64) -> String {
    printf("%.4g", &[Value::Float(value)]).unwrap_or_default()
}

/// Divides by `base` until the number is below it.
fn reduce(value: f64, base: f64, prefixes: [&'static str; 8]) -> (f64, &'static str) {
    let (mut value, mut prefix) = (value, "");
    for next in prefixes {
        if value.abs() < base {
            break;
        }
        (value, prefix) = (value / base, next);
    }
    (value, prefix)
}

/// Multiplies by a thousand until the number is one at least.
fn enlarge(value: f64) -> (f64, &'static str) {
    let (mut value, mut prefix) = (value, "");
    for next in SMALL {
        if value.abs() >= 1.0 {
            break;
        }
        (value, prefix) = (value * 1000.0, next);
    }
    (value, prefix)
}

/// `1.235M`, `120m`
pub(super) fn decimal(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return short(value);
    }
    let (value, prefix) = if value.abs() >= 1.0 { reduce(value, 1000.0, LARGE) } else { enlarge(value) };
    format!("{}{prefix}", short(value))
}

/// `1.177Mi`
pub(super) fn binary(value: f64) -> String {
    if value.abs() <= 1.0 || !value.is_finite() {
        return short(value);
    }
    let (value, prefix) = reduce(value, 1024.0, LARGE_BINARY);
    format!("{}{prefix}", short(value))
}

/// Seconds as `1d 2h 3m 4s`, `12.35ms`.
pub(super) fn duration(value: f64) -> String {
    if !value.is_finite() {
        return short(value);
    }
    if value == 0.0 {
        return short(value) + "s";
    }
    if value.abs() < 1.0 {
        let (value, prefix) = enlarge(value);
        return format!("{}{prefix}s", short(value));
    }
    let sign = if value < 0.0 { "-" } else { "" };
    let whole = value.abs() as i64;
    let (seconds, minutes, hours, days) = (whole % 60, whole / 60 % 60, whole / 3600 % 24, whole / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{sign}{}s", short(value.abs())),
        (0, 0, _) => format!("{sign}{minutes}m {seconds}s"),
        (0, _, _) => format!("{sign}{hours}h {minutes}m {seconds}s"),
        _ => format!("{sign}{days}d {hours}h {minutes}m {seconds}s"),
    }
}

/// `12.35%`
pub(super) fn percentage(value: f64) -> String {
    short(value * 100.0) + "%"
}

/// A moment given in seconds; none for what is not a number. Whole milliseconds count.
pub(super) fn time(value: f64) -> Result<Option<Nanos>, String> {
    if !value.is_finite() {
        return Ok(None);
    }
    let nanos = value * 1e9;
    // The bounds are 2^63 as doubles, so that the greatest integer's double passes as it does in Go.
    if nanos > i64::MAX as f64 || nanos < i64::MIN as f64 {
        let shown = Value::Float(value).display();
        return Err(format!(
            "{shown} cannot be represented as a nanoseconds timestamp since it overflows int64"
        ));
    }
    Ok(Some(Nanos((nanos as i64).div_euclid(1_000_000) * 1_000_000)))
}

/// The moment as text.
pub(super) fn timestamp(value: f64) -> Result<String, String> {
    Ok(time(value)?.map_or_else(|| short(value), layout::default_text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        for (value, expect) in
            [(0.0, "0"), (-1.5, "-1.5"), (1234.5678, "1.235k"), (1e-10, "100p"), (0.12, "120m")]
        {
            assert_eq!(decimal(value), expect);
        }
        for (value, expect) in [(1.0, "1"), (1024.0, "1ki"), (1_048_576.0 * 1.5, "1.5Mi")] {
            assert_eq!(binary(value), expect);
        }
        for (value, expect) in [
            (0.0, "0s"),
            (0.1234567, "123.5ms"),
            (59.98, "59.98s"),
            (-61.0, "-1m 1s"),
            (90_061.0, "1d 1h 1m 1s"),
        ] {
            assert_eq!(duration(value), expect);
        }
        assert_eq!(timestamp(1_435_065_584.128).as_deref(), Ok("2015-06-23 13:19:44.128 +0000 UTC"));
        assert_eq!(timestamp(f64::INFINITY).as_deref(), Ok("+Inf"));
    }
}
