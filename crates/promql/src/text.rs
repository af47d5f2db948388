//! How numbers, durations and text are written and read, bit for bit as Go does it, since Prometheus's answers,
//! messages and canonical queries are made of them.

use kenning_gotext::float::scientific;
pub(crate) use kenning_gotext::float::{general, plain as decimal};
use kenning_gotext::{duration, quote};

/// A sample's value as Prometheus's HTTP API writes it: shortest digits that read back the same, an exponent below
/// 1e-6 and from 1e21 on, `NaN`, `+Inf`, `-Inf`.
#[must_use]
pub fn format_float(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude != 0.0 && magnitude.is_finite() && !(1e-6..1e21).contains(&magnitude) {
        return scientific(value);
    }
    decimal(value)
}

/// Whole numbers below this are their own shortest digits.
const WHOLE_EXACT: f64 = 1e15;

/// Appends an integer in decimal digits.
pub fn write_integer(out: &mut Vec<u8>, mut number: u64) {
    const LEN_MAX: usize = u64::MAX.ilog10() as usize + 1;
    let (mut digits, mut start) = ([b'0'; LEN_MAX], LEN_MAX);
    for place in digits.iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
        start -= 1;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(start..).unwrap_or_default());
}

/// Appends what [`format_float`] gives.
pub fn write_float(out: &mut Vec<u8>, value: f64) {
    if value.abs() < WHOLE_EXACT {
        let whole = value as i64;
        // Minus zero has a sign that its whole number has not.
        if (whole as f64).to_bits() == value.to_bits() {
            if whole < 0 {
                out.push(b'-');
            }
            return write_integer(out, whole.unsigned_abs());
        }
        if write_thousandths(out, value) {
            return;
        }
        let mut buffer = zmij::Buffer::new();
        let digits = buffer.format_finite(value);
        if !digits.contains('e') {
            return out.extend_from_slice(digits.strip_suffix(".0").unwrap_or(digits).as_bytes());
        }
    }
    out.extend_from_slice(format_float(value).as_bytes());
}

/// Appends a value that is a number of thousandths, as most gauges are; false when it is none. At most 15 digits that
/// read back the same are the shortest that do.
fn write_thousandths(out: &mut Vec<u8>, value: f64) -> bool {
    let scaled = value.abs() * 1000.0 + 0.5;
    let count = if scaled < WHOLE_EXACT { scaled as u64 } else { return false };
    if count as f64 / 1000.0 != value.abs() {
        return false;
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    write_integer(out, count / 1000);
    let part = count % 1000;
    let digits = [part / 100, part / 10 % 10, part % 10].map(|digit| b'0' + digit as u8);
    let zeros = digits.iter().rev().take_while(|digit| **digit == b'0').count();
    if zeros < digits.len() {
        out.push(b'.');
        out.extend_from_slice(digits.get(..digits.len() - zeros).unwrap_or_default());
    }
    true
}

/// Go's `%.2g`.
pub(crate) fn general_two_digits(value: f64) -> String {
    if !value.is_finite() {
        return decimal(value);
    }
    let scientific = format!("{value:.1e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let mantissa =
        if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
    if value != 0.0 && !(-4..2).contains(&exponent) {
        return exponent_form(&format!("{mantissa}e{exponent}"));
    }
    let decimals = usize::try_from(1 - exponent).unwrap_or(0);
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
}

/// Rust's `1e-7` to Go's `1e-07`.
fn exponent_form(scientific: &str) -> String {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// A bucket boundary or quantile as a label value: whole numbers get `.0`, as OpenMetrics wants.
pub(crate) fn open_metrics(value: f64) -> String {
    let text = general(value);
    if value.is_finite() && !text.contains(['e', '.']) { text + ".0" } else { text }
}

/// A number literal: decimal, hexadecimal, octal (leading `0` or `0o`), binary, `Inf`, `NaN`, with `_` between digits.
/// The error is Go's.
pub(crate) fn parse_number(text: &str) -> Result<f64, String> {
    let syntax = || format!("strconv.ParseFloat: parsing {}: invalid syntax", quote(text));
    let plain = remove_underscores(text).ok_or_else(syntax)?;
    if let Some(integer) = parse_integer(&plain) {
        return Ok(integer);
    }
    match plain.to_ascii_lowercase().as_str() {
        "inf" | "+inf" | "infinity" => return Ok(f64::INFINITY),
        "-inf" => return Ok(f64::NEG_INFINITY),
        "nan" => return Ok(f64::NAN),
        lower if lower.starts_with("0x") => return Err(syntax()),
        _ => {}
    }
    let value: f64 = plain.parse().map_err(|_| syntax())?;
    if value.is_infinite() {
        return Err(format!("strconv.ParseFloat: parsing {}: value out of range", quote(text)));
    }
    Ok(value)
}

/// Integers with a base prefix; `None` for anything else, or beyond 64 bits.
fn parse_integer(text: &str) -> Option<f64> {
    let lower = text.to_ascii_lowercase();
    let (digits, radix) = if let Some(hex) = lower.strip_prefix("0x") {
        (hex, 16)
    } else if let Some(binary) = lower.strip_prefix("0b") {
        (binary, 2)
    } else if let Some(octal) = lower.strip_prefix("0o") {
        (octal, 8)
    } else if let Some(octal) = lower.strip_prefix('0').filter(|rest| !rest.is_empty()) {
        (octal, 8)
    } else {
        (lower.as_str(), 10)
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    i64::from_str_radix(digits, radix).ok().map(|n| n as f64)
}

/// Drops `_` that stand between digits (or after a base prefix); `None` when one stands elsewhere.
fn remove_underscores(text: &str) -> Option<String> {
    if !text.contains('_') {
        return Some(text.into());
    }
    let prefix =
        ["0x", "0X", "0b", "0B", "0o", "0O"].into_iter().find_map(|prefix| text.strip_prefix(prefix));
    let (prefixed, body) = (prefix.is_some(), prefix.unwrap_or(text));
    let mut before_is_digit = prefixed || text.starts_with('0');
    let mut characters = body.chars().peekable();
    while let Some(c) = characters.next() {
        if c == '_' && !(before_is_digit && characters.peek().is_some_and(char::is_ascii_hexdigit)) {
            return None;
        }
        before_is_digit = c.is_ascii_hexdigit();
    }
    Some(text.replace('_', ""))
}

/// Milliseconds of a duration such as `1h30m`; units go from large to small, each at most once.
///
/// # Errors
/// The sentence Prometheus answers with.
pub fn parse_duration(text: &str) -> Result<i64, String> {
    duration::parse_prometheus(text).map(|nanos| nanos / 1_000_000)
}

/// Milliseconds in the largest units, as Prometheus prints them. Years and weeks only when nothing remains.
#[must_use]
pub fn format_duration(ms: i64) -> String {
    duration::format_prometheus_ms(ms)
}

/// Text in double quotes with Go's escapes.
pub(crate) fn quote(text: &str) -> String {
    if !text.chars().any(is_stray_byte) {
        return quote::quote(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match is_stray_byte(c) {
            true => bytes.push((c as u32 - INVALID_BYTES) as u8),
            false => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    quote::quote_bytes(&bytes)
}

/// Go's `%.10q...` for text over ten bytes: the first ten characters, quoted, with dots.
pub(crate) fn quote_start(text: &str) -> String {
    if text.len() <= 10 {
        return quote(text);
    }
    quote(&text.chars().take(10).collect::<String>()) + "..."
}

/// A character in single quotes with Go's escapes.
pub(crate) fn quote_char(c: Option<char>) -> String {
    // Go reads the end of input as the invalid rune -1 and prints the replacement character.
    quote::quote_char(c.unwrap_or(char::REPLACEMENT_CHARACTER))
}

/// The text of a string literal with its quotes (`"`, `'` or backquote).
pub(crate) fn unquote(literal: &str) -> Result<String, String> {
    const INVALID: &str = "invalid syntax";
    let mark = literal.chars().next().ok_or(INVALID)?;
    let inner = literal.get(1..literal.len().wrapping_sub(1)).ok_or(INVALID)?;
    if !literal.ends_with(mark) || !matches!(mark, '"' | '\'' | '`') {
        return Err(INVALID.into());
    }
    if mark == '`' {
        return Ok(inner.into());
    }
    if has_unescaped(inner, mark) {
        return Err(INVALID.into());
    }
    let bytes = quote::unescape_bytes(inner, mark).ok_or(INVALID)?;
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(
            chunk.invalid().iter().filter_map(|byte| char::from_u32(INVALID_BYTES + u32::from(*byte))),
        );
    }
    Ok(text)
}

/// Byte escapes can spell invalid UTF-8, which our texts cannot hold. Such bytes become code points for private use
/// from here on: they equal no text that exists, and are printed as the escapes they came from.
const INVALID_BYTES: u32 = 0x10_ff00;

const fn is_stray_byte(c: char) -> bool {
    c as u32 >= INVALID_BYTES
}

/// True for text that can be a label's name: not empty, and valid UTF-8 as written.
pub(crate) fn is_label(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(is_stray_byte)
}

/// True when a quote or the end of a line stands in a literal without a backslash before it.
fn has_unescaped(inner: &str, mark: char) -> bool {
    let mut escaped = false;
    inner.chars().any(|c| {
        let stray = !escaped && (c == mark || c == '\n');
        escaped = c == '\\' && !escaped;
        stray
    })
}

/// True for names that need no quotes: letters, digits and `_`, not starting with a digit.
pub(crate) fn is_plain_label(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check_written(value: f64) {
        let mut out = Vec::new();
        write_float(&mut out, value);
        assert_eq!(String::from_utf8_lossy(&out), format_float(value));
    }

    proptest! {
        #[test]
        fn numbers_are_written_as_formatted(bits: u64, whole in -2_000_000_000_000_000_000i64.., places in 0..20) {
            check_written(f64::from_bits(bits));
            check_written(whole as f64 / 10f64.powi(places));
            check_written((whole >> 40) as f64 / 10f64.powi(places % 5));
        }
    }

    #[test]
    fn borders_of_the_quick_way_are_written_as_formatted() {
        for value in [0.0, -0.0, 0.5, 999_999_999_999_999.0, 1e15, 1e15 + 1.0, 99_999_999_999.999, 1e21, -1.1]
        {
            check_written(value);
        }
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE, f64::MAX, 5e-324, 0.001]
        {
            check_written(value);
        }
    }

    #[test]
    fn sample_values() {
        let check = |value, expect| assert_eq!(format_float(value), expect);
        check(0.0, "0");
        check(-0.0, "-0");
        check(1e21, "1e+21");
        check(123_456_789_012_345_680_000.0, "123456789012345680000");
        check(1e-7, "1e-07");
        check(0.000_001, "0.000001");
        check(f64::NAN, "NaN");
        check(f64::NEG_INFINITY, "-Inf");
    }

    #[test]
    fn general_numbers() {
        let check = |value, expect| assert_eq!(general(value), expect);
        check(100_000.0, "100000");
        check(1e21, "1e+21");
        check(1_234_567.0, "1.234567e+06");
        check(0.0001, "0.0001");
        check(0.000_01, "1e-05");
        assert_eq!(general_two_digits(1.0), "1");
        assert_eq!(general_two_digits(0.123), "0.12");
        assert_eq!(general_two_digits(123.0), "1.2e+02");
    }

    #[test]
    fn number_literals() {
        let check = |text, expect| assert_eq!(parse_number(text), Ok(expect), "{text}");
        check("0755", 493.0);
        check("0x1F", 31.0);
        check("1_000.5", 1000.5);
        check("5.", 5.0);
        check("Inf", f64::INFINITY);
        for wrong in ["1__0", "0x", "1_", "1e999"] {
            assert!(parse_number(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations() {
        let check = |text: &str, ms, printed: &str| {
            assert_eq!(parse_duration(text), Ok(ms), "{text}");
            assert_eq!(format_duration(ms), printed);
        };
        check("1h30m", 5_400_000, "1h30m");
        check("90m", 5_400_000, "1h30m");
        check("1y", 31_536_000_000, "1y");
        check("8d", 691_200_000, "8d");
        check("14d", 1_209_600_000, "2w");
        check("0", 0, "0s");
        check("1s1ms", 1001, "1s1ms");
        for wrong in ["1m1h", "5", "1x", "", "999999y"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn quoting_round_trips() {
        for text in ["", "a\"b", "ü\n\t\\", "\u{a0}\u{200b}", "\x01"] {
            assert_eq!(unquote(&quote(text)).as_deref(), Ok(text));
        }
        assert_eq!(unquote(r"'\x41\101\u00e9'").as_deref(), Ok("AAé"));
        assert_eq!(
            unquote(r#""\xff""#).map(|text| (quote(&text), is_label(&text))),
            Ok((r#""\xff""#.into(), false))
        );
        assert!(unquote(r#""\q""#).is_err() && unquote("\"").is_err());
    }
}
