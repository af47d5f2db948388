//! Sizes in bytes with decimal (`KB`) and binary (`KiB`) units, as go-humanize reads and writes them.

use super::float;

/// Reads a size. Units are case-insensitive; a bare number is bytes; commas group digits. The error is go-humanize's
/// text.
pub fn parse(text: &str) -> Result<u64, String> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ',')).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number = float::parse(&number.replace(',', ""))?;
    let unit = unit.trim().to_lowercase();
    let scale = scale_of(&unit).ok_or_else(|| format!("unhandled size name: {unit}"))?;
    let bytes = number * scale;
    if bytes >= u64::MAX as f64 {
        return Err(format!("too large: {text}"));
    }
    Ok(bytes as u64)
}

fn scale_of(unit: &str) -> Option<f64> {
    let power = |base: f64, n: usize| base.powi(n as i32);
    let prefix = unit.strip_suffix('b').unwrap_or(unit);
    if prefix.is_empty() {
        return Some(1.0);
    }
    let place =
        |letter: &str| ["k", "m", "g", "t", "p", "e"].iter().position(|p| *p == letter).map(|i| i + 1);
    match prefix.strip_suffix('i') {
        Some(letter) => place(letter).map(|n| power(1024.0, n)),
        None => place(prefix).map(|n| power(1000.0, n)),
    }
}

/// Writes a size with a decimal unit and two significant digits at most below ten, without a space.
#[must_use]
pub fn format(bytes: u64) -> String {
    if bytes < 10 {
        return format!("{bytes}B");
    }
    let units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let exponent = ((bytes as f64).ln() / 1000f64.ln()).floor().min(6.0);
    let value = (bytes as f64 / 1000f64.powf(exponent) * 10.0 + 0.5).floor() / 10.0;
    let unit = units.get(exponent as usize).copied().unwrap_or("B");
    if value < 10.0 { format!("{value:.1}{unit}") } else { format!("{value:.0}{unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading() {
        for (text, bytes) in [
            ("1KB", 1_000),
            ("1kib", 1_024),
            ("2.5KiB", 2_560),
            ("1.5B", 1),
            ("2,048", 2_048),
            ("42 MB", 42_000_000),
            ("3m", 3_000_000),
            ("0B", 0),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        assert_eq!(parse("1XB"), Err("unhandled size name: xb".to_owned()));
        assert_eq!(parse("oops"), Err("strconv.ParseFloat: parsing \"\": invalid syntax".to_owned()));
        assert!(parse("99999EB").is_err());
    }

    #[test]
    fn writing() {
        let texts = [0, 9, 10, 2_560, 250_000, 42_000_000, 1_048_576].map(format);
        assert_eq!(texts, ["0B", "9B", "10B", "2.6kB", "250kB", "42MB", "1.0MB"]);
    }
}
