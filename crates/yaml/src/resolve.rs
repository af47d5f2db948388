//! What a plain scalar is, as go-yaml v3 sees it.

use crate::node::Tag;

/// The tag of a plain scalar.
pub(crate) fn plain(text: &str) -> Tag {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Tag::Null,
        "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => Tag::Bool,
        "<<" => Tag::Merge,
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf"
        | "-.Inf" | "-.INF" => Tag::Float,
        _ if is_timestamp(text) => Tag::Timestamp,
        _ if integer(text).is_some() => Tag::Int,
        _ if is_float(&text.replace('_', "")) => Tag::Float,
        _ => Tag::Str,
    }
}

/// The value of an integer, in any notation that go-yaml understands.
#[must_use]
pub fn integer(text: &str) -> Option<i128> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-')) {
        return None;
    }
    let plain = text.replace('_', "");
    let (sign, digits) = match plain.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let radix = |prefixes: [&str; 2]| prefixes.iter().find_map(|prefix| digits.strip_prefix(prefix));
    let (digits, base) = if let Some(hex) = radix(["0x", "0X"]) {
        (hex, 16)
    } else if let Some(octal) = radix(["0o", "0O"]) {
        (octal, 8)
    } else if let Some(binary) = radix(["0b", "0B"]) {
        (binary, 2)
    } else if digits.len() > 1 && digits.starts_with('0') {
        (digits, 8)
    } else {
        (digits, 10)
    };
    if !digits.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let value = i128::from_str_radix(digits, base).ok().map(|value| sign * value)?;
    (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&value).then_some(value)
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &str) -> bool {
    let body = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match body.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (body, None),
    };
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa_is_right = match mantissa.split_once('.') {
        Some(("", fraction)) => !fraction.is_empty() && digits(fraction),
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => !mantissa.is_empty() && digits(mantissa),
    };
    mantissa_is_right && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent))
}

/// `2006-1-2`, alone or with a time behind it.
fn is_timestamp(text: &str) -> bool {
    let date = text.split(['T', 't', ' ']).next().unwrap_or(text);
    let mut parts = date.split('-');
    let mut part = |lens: std::ops::RangeInclusive<usize>| {
        parts
            .next()
            .is_some_and(|part| lens.contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit()))
    };
    if !(part(4..=4) && part(1..=2) && part(1..=2) && parts.next().is_none()) {
        return false;
    }
    let time = text.get(date.len()..).unwrap_or("");
    time.is_empty() || is_time(time.trim_start_matches(['T', 't', ' ']))
}

/// `15:4:5`, with fraction and zone or not.
fn is_time(text: &str) -> bool {
    let mut parts = text.splitn(3, ':');
    let digits = |part: &str| (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    let start = parts.next().is_some_and(digits) && parts.next().is_some_and(digits);
    start && parts.next().is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_are_what_they_look_like() {
        for (text, expect) in [
            ("", "!!null"),
            ("~", "!!null"),
            ("true", "!!bool"),
            ("yes", "!!str"),
            ("12", "!!int"),
            ("-0x1F", "!!int"),
            ("1_000", "!!int"),
            ("012", "!!int"),
            ("089", "!!float"),
            ("1.5", "!!float"),
            (".5e3", "!!float"),
            ("1e3", "!!float"),
            ("5m", "!!str"),
            ("1.2.3", "!!str"),
            (".", "!!str"),
            ("-", "!!str"),
            ("2024-01-02", "!!timestamp"),
            ("2024-01-02T10:00:00Z", "!!timestamp"),
            ("2024-01-02x", "!!str"),
            ("99999999999999999999", "!!float"),
            ("<<", "!!merge"),
        ] {
            assert_eq!(plain(text).name(), expect, "{text:?}");
        }
    }
}
