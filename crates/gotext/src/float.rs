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
    let shortest = Shortest::of(value);
    let is_short = value == 0.0 || (-4..6).contains(&shortest.exponent);
    if is_short { shortest.plain() } else { shortest.scientific() }
}

/// Writes the shortest decimal text without an exponent (`strconv.FormatFloat(value, 'f', -1, 64)`).
#[must_use]
pub fn plain(value: f64) -> String {
    special(value).map_or_else(|| Shortest::of(value).plain(), str::to_owned)
}

/// Writes the shortest decimal text with an exponent of at least two digits
/// (`strconv.FormatFloat(value, 'e', -1, 64)`).
#[must_use]
pub fn scientific(value: f64) -> String {
    special(value).map_or_else(|| Shortest::of(value).scientific(), str::to_owned)
}

/// The fewest digits that read back as a finite value. Of two texts that are equally near, the one with the even last
/// digit: so Go decides, while Rust's own formatting takes the greater one.
struct Shortest {
    is_negative: bool,
    /// Without zeros at either end; `0` for zero.
    digits: String,
    /// The power of ten that the first digit counts.
    exponent: i32,
}

impl Shortest {
    fn of(value: f64) -> Self {
        let mut buffer = zmij::Buffer::new();
        let text = buffer.format_finite(value);
        let (mantissa, power) = text.split_once('e').unwrap_or((text, "0"));
        let mantissa = mantissa.trim_start_matches('-');
        let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = [whole, part].concat();
        let digits = all.trim_start_matches('0');
        let zeros = all.len() - digits.len();
        let power: i32 = power.parse().unwrap_or(0);
        let exponent = power + whole.len() as i32 - 1 - zeros as i32;
        let digits = digits.trim_end_matches('0');
        let (digits, exponent) = if digits.is_empty() { ("0", 0) } else { (digits, exponent) };
        Self { is_negative: value.is_sign_negative(), digits: digits.to_owned(), exponent }
    }

    fn sign(&self) -> &'static str {
        if self.is_negative { "-" } else { "" }
    }

    fn plain(&self) -> String {
        let (sign, digits, exponent) = (self.sign(), &self.digits, self.exponent);
        let Ok(exponent) = usize::try_from(exponent) else {
            let zeros = usize::try_from(-exponent).unwrap_or(1) - 1;
            return format!("{sign}0.{:0>zeros$}{digits}", "");
        };
        match digits.split_at_checked(exponent + 1) {
            Some((whole, "")) => format!("{sign}{whole}"),
            Some((whole, part)) => format!("{sign}{whole}.{part}"),
            None => format!("{sign}{digits:0<width$}", width = exponent + 1),
        }
    }

    fn scientific(&self) -> String {
        let (first, rest) = self.digits.split_at_checked(1).unwrap_or(("0", ""));
        let (point, power) = (if rest.is_empty() { "" } else { "." }, self.exponent.unsigned_abs());
        let sign = if self.exponent < 0 { '-' } else { '+' };
        format!("{}{first}{point}{rest}e{sign}{power:02}", self.sign())
    }
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
    fn shortest_texts_are_as_short_and_as_near_as_they_can_be() {
        let check = |value, plain_text: &str, scientific_text: &str| {
            assert_eq!((plain(value).as_str(), scientific(value).as_str()), (plain_text, scientific_text));
        };
        check(2_568_725_807_440_917.0 / 4.0, "642181451860229.2", "6.421814518602292e+14");
        check(-0.0, "-0", "-0e+00");
        check(100.0, "100", "1e+02");
        check(0.00012, "0.00012", "1.2e-04");
        check(0.1, "0.1", "1e-01");
        check(-12.5, "-12.5", "-1.25e+01");
        check(1e21, "1000000000000000000000", "1e+21");
        check(5e-324, &format!("0.{}5", "0".repeat(323)), "5e-324");
        check(f64::NAN, "NaN", "NaN");
        let mut bits = 1u64;
        for _ in 0..20_000 {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let value = f64::from_bits(bits);
            if value.is_finite() {
                assert_eq!(plain(value).parse(), Ok(value));
                assert_eq!(scientific(value).parse(), Ok(value));
                assert_eq!(plain(value).len(), format!("{value}").len(), "{value}");
            }
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
