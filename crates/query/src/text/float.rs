//! Floating-point numbers as Go reads and writes them.

use super::quote::quote;

/// Reads a number as `strconv.ParseFloat(text, 64)` does: decimal, hexadecimal with a binary exponent, infinities and
/// NaN. The error is Go's text.
pub fn parse(text: &str) -> Result<f64, String> {
    parse_value(text).ok_or_else(|| format!("strconv.ParseFloat: parsing {}: invalid syntax", quote(text)))
}

fn parse_value(text: &str) -> Option<f64> {
    if text.contains('_') {
        let separated = separators_separate(text.trim_start_matches(['+', '-']));
        return if separated { parse_value(&text.replace('_', "")) } else { None };
    }
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let value = match lower.as_str() {
        "inf" | "infinity" => f64::INFINITY,
        "nan" if digits.len() == text.len() => return Some(f64::NAN),
        hex if hex.starts_with("0x") => parse_hex(hex.get(2..)?)?,
        plain => {
            let numeric = plain.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'+' | b'-'));
            if !numeric || plain.starts_with(['+', '-']) {
                return None;
            }
            plain.parse().ok()?
        }
    };
    Some(if negative { -value } else { value })
}

/// True when every underscore stands between two digits, or between a hexadecimal prefix and a digit.
fn separators_separate(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let (body, hex) = lower.strip_prefix("0x").map_or((lower.as_str(), false), |body| (body, true));
    let is_digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit() || hex && c.is_ascii_hexdigit());
    let mut before = hex.then_some('0');
    let mut chars = body.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '_' && !(is_digit(before) && is_digit(chars.peek().copied())) {
            return false;
        }
        before = Some(c);
    }
    true
}

/// `h.hhhp±d`, the exponent required. Digits beyond the 15th hexadecimal one only move the exponent.
fn parse_hex(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once('p')?;
    let mut exponent: i32 = exponent.parse().ok()?;
    let (mut value, mut seen, mut after_point) = (0u64, false, false);
    for c in mantissa.chars() {
        if c == '.' && !after_point {
            after_point = true;
            continue;
        }
        let digit = u64::from(c.to_digit(16)?);
        seen = true;
        let fits = value < 1 << 56;
        if fits {
            value = value * 16 + digit;
        }
        let shift = match (fits, after_point) {
            (true, true) => -4,
            (false, false) => 4,
            _ => 0,
        };
        exponent = exponent.saturating_add(shift);
    }
    seen.then(|| value as f64 * 2f64.powi(exponent))
}

/// Writes the shortest text that reads back, as `fmt.Sprint` does: with an exponent below 1e-4 and from 1e6 on.
#[must_use]
pub fn general(value: f64) -> String {
    if let Some(text) = special(value) {
        return text.to_owned();
    }
    let scientific = format!("{value:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value != 0.0 && !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    format!("{value}")
}

/// Writes the shortest decimal text without an exponent (`strconv.FormatFloat(value, 'f', -1, 64)`).
#[must_use]
pub fn plain(value: f64) -> String {
    special(value).map_or_else(|| format!("{value}"), str::to_owned)
}

/// Writes six decimals (`%f`).
#[must_use]
pub fn fixed(value: f64) -> String {
    special(value).map_or_else(|| format!("{value:.6}"), str::to_owned)
}

fn special(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        Some("NaN")
    } else if value.is_infinite() {
        Some(if value > 0.0 { "+Inf" } else { "-Inf" })
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading() {
        for (text, value) in [
            ("5.2", 5.2),
            ("-1e3", -1000.0),
            ("+.5", 0.5),
            ("0x1p3", 8.0),
            ("0X1.8P+3", 12.0),
            ("inf", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("0x.8p0", 0.5),
            ("1_000.5_0", 1000.5),
            ("0x_1p-1", 0.5),
        ] {
            assert_eq!(parse(text), Ok(value), "{text}");
        }
        assert!(parse("NaN").is_ok_and(f64::is_nan));
        for bad in ["", "x", "0x1A", "0b1", "1__0", "_1", "1_", "1_.5", "--1", "1e", "+nan", "infx", "0xp1"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn writing() {
        let texts = [1.6, 0.0, 1e6, 1e21, 1e-5, 0.0001, 123456789.0, f64::NEG_INFINITY].map(general);
        assert_eq!(texts, ["1.6", "0", "1e+06", "1e+21", "1e-05", "0.0001", "1.23456789e+08", "-Inf"]);
        assert_eq!(
            (plain(1e21), fixed(123.0)),
            ("1000000000000000000000".to_owned(), "123.000000".to_owned())
        );
    }
}
