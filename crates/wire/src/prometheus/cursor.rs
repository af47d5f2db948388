//! What both text formats are made of: names, quoted texts, numbers.

use std::borrow::Cow;

use kenning_model::Reason;

use super::NORMAL_NAN;
use crate::error::Fault;

/// A position in a document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// A pair of a label set; names may be escaped in quotes, values always may.
pub(super) type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// A series as it stands in a document.
#[derive(Debug)]
pub(super) struct Series<'a> {
    pub name: Option<Cow<'a, str>>,
    pub labels: Vec<Pair<'a>>,
}

/// Labels that most series fit, so that their list is allocated once.
const LABELS_TYPICAL: usize = 8;

impl Series<'_> {
    pub fn new() -> Self {
        Self { name: None, labels: Vec::with_capacity(LABELS_TYPICAL) }
    }
}

impl<'a> Cursor<'a> {
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub const fn offset(&self) -> usize {
        self.at
    }

    pub fn fault(&self, problem: &'static str) -> Fault {
        Fault::new(Reason::Malformed, self.at, "exposition", problem)
    }

    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    #[inline]
    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Passes over bytes that are known already.
    #[inline]
    pub const fn pass(&mut self, len: usize) {
        self.at += len;
    }

    /// The bytes from here to where `other` is.
    #[inline]
    pub fn until(&self, other: &Self) -> &'a [u8] {
        self.bytes.get(self.at..other.at.min(self.bytes.len())).unwrap_or_default()
    }

    pub fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// Passes over `word` when it comes next.
    #[inline]
    pub fn eat(&mut self, word: &[u8]) -> bool {
        let here = self.rest().starts_with(word);
        if here {
            self.at += word.len();
        }
        here
    }

    /// The run of bytes that `accept`.
    #[inline]
    fn run(&mut self, accept: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.rest();
        let len = rest.iter().position(|b| !accept(*b)).unwrap_or(rest.len());
        self.at += len;
        rest.get(..len).unwrap_or_default()
    }

    /// Blanks and tabs; true when there were any.
    #[inline]
    pub fn blanks(&mut self) -> bool {
        !self.run(|b| b == b' ' || b == b'\t').is_empty()
    }

    /// The bytes up to the end of the line, which is passed over.
    pub fn line(&mut self) -> &'a [u8] {
        let rest = self.rest();
        let len = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        self.at += len + usize::from(len < rest.len());
        rest.get(..len).unwrap_or_default()
    }

    pub fn skip_line(&mut self) {
        self.line();
    }

    /// True when another line follows this one's end, so that the line was ended by a line feed.
    pub fn ended_by_line_feed(&self) -> bool {
        self.at.checked_sub(1).and_then(|last| self.bytes.get(last)) == Some(&b'\n')
    }

    fn utf8(&self, bytes: &'a [u8], problem: &'static str) -> Result<&'a str, Fault> {
        std::str::from_utf8(bytes).map_err(|_| Fault::new(Reason::NotUtf8, self.at, "exposition", problem))
    }

    /// Checked text of a part of the document.
    pub fn text(&self, bytes: &'a [u8]) -> Result<&'a str, Fault> {
        self.utf8(bytes, "holds a text that is not UTF-8")
    }

    /// A bare metric name, when one comes next.
    #[inline]
    pub fn metric_name(&mut self) -> Option<&'a str> {
        self.bare(|b| b.is_ascii_alphabetic() || b == b'_' || b == b':')
    }

    /// A bare label name, when one comes next.
    #[inline]
    fn label_name(&mut self) -> Option<&'a str> {
        self.bare(|b| b.is_ascii_alphabetic() || b == b'_')
    }

    #[inline]
    fn bare(&mut self, start: impl Fn(u8) -> bool) -> Option<&'a str> {
        if !self.peek().is_some_and(&start) {
            return None;
        }
        let name = self.run(|b| start(b) || b.is_ascii_digit());
        std::str::from_utf8(name).ok()
    }

    /// A text in quotes, unescaped. Its escapes are `\"`, `\\` and `\n`; a backslash before anything else stands for
    /// itself.
    #[inline]
    pub fn quoted(&mut self, line_feeds: bool) -> Result<Cow<'a, str>, Fault> {
        if !self.eat(b"\"") {
            return Err(self.fault("lacks a quote"));
        }
        let rest = self.rest();
        let mut len = 0;
        let mut escaped = false;
        loop {
            let ahead = rest.get(len..).unwrap_or_default();
            match memchr::memchr2(b'"', b'\\', ahead) {
                None => return Err(self.fault("ends inside a quoted text")),
                Some(run) if ahead.get(run) == Some(&b'"') => {
                    len += run;
                    break;
                }
                Some(run) => {
                    escaped = true;
                    len += run + 2;
                }
            }
        }
        let raw = rest.get(..len).ok_or_else(|| self.fault("ends inside a quoted text"))?;
        if !line_feeds && memchr::memchr(b'\n', raw).is_some() {
            return Err(self.fault("has a line break in a quoted text"));
        }
        let text = self.utf8(raw, "holds a quoted text that is not UTF-8")?;
        self.at += len + 1;
        Ok(if escaped { Cow::Owned(unescape(text, true)) } else { Cow::Borrowed(text) })
    }

    /// The name of a metric in a comment, bare or quoted.
    pub fn name_in_comment(&mut self, line_feeds: bool) -> Result<Cow<'a, str>, Fault> {
        if self.peek() == Some(b'"') {
            return self.quoted(line_feeds);
        }
        self.metric_name().map(Cow::Borrowed).ok_or_else(|| self.fault("lacks a metric name in a comment"))
    }

    /// Labels behind an opened brace, up to and with the closing one. A quoted text without a value is the metric's
    /// name. `strict` is OpenMetrics: no blanks, and commas between labels.
    pub fn labels(&mut self, series: &mut Series<'a>, strict: bool) -> Result<(), Fault> {
        let blanks = |cursor: &mut Self| {
            if !strict {
                cursor.blanks();
            }
        };
        loop {
            blanks(self);
            if self.eat(b"}") {
                return Ok(());
            }
            let quoted = self.peek() == Some(b'"');
            let name = if quoted {
                self.quoted(!strict)?
            } else {
                self.label_name().map(Cow::Borrowed).ok_or_else(|| self.fault("lacks a label name"))?
            };
            blanks(self);
            if quoted && matches!(self.peek(), Some(b',' | b'}')) {
                if series.name.replace(name).is_some() {
                    return Err(self.fault("names the metric twice"));
                }
            } else {
                if !self.eat(b"=") {
                    return Err(self.fault("lacks an equals sign after a label name"));
                }
                blanks(self);
                let value = self.quoted(!strict)?;
                series.labels.push((name, value));
                blanks(self);
            }
            // Prometheus takes text labels that no comma separates; OpenMetrics does not.
            if !self.eat(b",") && strict && self.peek() != Some(b'}') {
                return Err(self.fault("lacks a comma or a closing brace after a label"));
            }
        }
    }

    /// Bytes up to a blank, a tab, a line feed, or a byte in `also`.
    #[inline]
    pub fn token(&mut self, also: Option<u8>) -> &'a [u8] {
        self.run(|b| !matches!(b, b' ' | b'\t' | b'\n') && Some(b) != also)
    }

    /// Bytes up to a blank or a line feed.
    #[inline]
    pub fn strict_token(&mut self) -> &'a [u8] {
        self.run(|b| !matches!(b, b' ' | b'\n'))
    }

    /// A run of digits, with a sign or not.
    pub fn integer(&mut self) -> Result<i64, Fault> {
        let start = self.at;
        self.eat(b"-");
        self.run(|b| b.is_ascii_digit());
        let digits = self.bytes.get(start..self.at).and_then(|digits| std::str::from_utf8(digits).ok());
        digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| self.fault("has a bad timestamp"))
    }

    /// A number as Go reads it, but for hexadecimal forms and underscores; every NaN becomes the normal one.
    #[inline]
    pub fn float(&self, token: &[u8]) -> Result<f64, Fault> {
        parse_float(token).ok_or_else(|| self.fault("has a value that is not a number"))
    }
}

fn parse_float(token: &[u8]) -> Option<f64> {
    // Most values are short whole numbers: reading these directly is several times faster.
    if let Some(value) = small_decimal(token) {
        return Some(value);
    }
    let text = std::str::from_utf8(token).ok()?;
    let value: f64 = text.parse().ok()?;
    if value.is_nan() {
        // Go takes no sign in front of NaN.
        return text.eq_ignore_ascii_case("nan").then_some(NORMAL_NAN);
    }
    // A number of digits beyond the range of doubles is an error in Go, not infinity.
    (value.is_finite() || !text.bytes().any(|b| b.is_ascii_digit())).then_some(value)
}

/// Numbers of at most 15 digits with a point or without: both the digits and the power of ten are exact as doubles, so one
/// division rounds once, correctly.
fn small_decimal(token: &[u8]) -> Option<f64> {
    let (negative, digits) = match token.split_first() {
        Some((b'-', rest)) => (true, rest),
        _ => (false, token),
    };
    if !(1..=16).contains(&digits.len()) {
        return None;
    }
    let mut value = 0u64;
    let mut fraction: Option<usize> = None;
    for byte in digits {
        match (byte, &mut fraction) {
            (b'0'..=b'9', places) => {
                value = value * 10 + u64::from(byte - b'0');
                if let Some(places) = places {
                    *places += 1;
                }
            }
            (b'.', None) => fraction = Some(0),
            _ => return None,
        }
    }
    let places = fraction.unwrap_or(0);
    // Sixteen digits without a point may be more than a double holds, and a lone point is no number.
    if (fraction.is_none() && digits.len() > 15) || digits.len() == usize::from(fraction.is_some()) {
        return None;
    }
    let value = value as f64 / POWERS_OF_TEN.get(places)?;
    Some(if negative { -value } else { value })
}

const POWERS_OF_TEN: [f64; 16] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// Go's hexadecimal form, `0x1.8p-3`, of up to 53 bits; bounds in labels may have it, values may not.
fn parse_hex_float(text: &str) -> Option<f64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"))?;
    let (mantissa, exponent) = digits.split_once(['p', 'P'])?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let hex = format!("{whole}{fraction}");
    if hex.is_empty() || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let bits = u64::from_str_radix(&hex, 16).ok().filter(|bits| *bits < 1 << 53)?;
    let shift = exponent.parse::<i32>().ok()?.checked_sub(4 * i32::try_from(fraction.len()).ok()?)?;
    let value = sign * bits as f64 * f64::from(shift).exp2();
    value.is_finite().then_some(value)
}

/// Undoes `\\`, `\n` and, in label values, `\"`.
pub(super) fn unescape(text: &str, quotes: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        out.push_str(rest.get(..at).unwrap_or_default());
        let known = match rest.as_bytes().get(at + 1) {
            Some(b'\\') => Some('\\'),
            Some(b'n') => Some('\n'),
            Some(b'"') if quotes => Some('"'),
            _ => None,
        };
        out.push(known.unwrap_or('\\'));
        rest = rest.get(at + 1 + usize::from(known.is_some())..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// A bound or quantile in the one spelling that OpenMetrics gives it: `1` becomes `1.0`, `1e3` `1000.0`, and what Go
/// prints with an exponent keeps it.
pub(super) fn canonical_float(text: &str) -> Option<String> {
    parse_bound(text).map(go_float)
}

/// A bound or quantile as a label spells it.
pub(super) fn parse_bound(text: &str) -> Option<f64> {
    parse_float(text.as_bytes()).or_else(|| parse_hex_float(text))
}

/// A number as [`canonical_float`] spells it.
pub(super) fn go_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..6).contains(&exponent) && value != 0.0 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs());
    }
    let plain = value.to_string();
    if plain.contains('.') { plain } else { format!("{plain}.0") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_as_go_reads_them() {
        for (text, value) in [
            ("1", 1.0),
            ("-0", -0.0),
            ("+1.5e3", 1500.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("Inf", f64::INFINITY),
            ("+inf", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("999999999999999", 999999999999999.0),
            ("123456789012345678901", 123456789012345680000.0),
            ("1e-400", 0.0),
        ] {
            assert_eq!(parse_float(text.as_bytes()).map(f64::to_bits), Some(f64::to_bits(value)), "{text}");
        }
        assert_eq!(parse_float(b"nAn").map(f64::to_bits), Some(NORMAL_NAN.to_bits()));
        for bad in ["", "1_0", "0x1", "0x1p3", "1e400", "-nan", "1 ", "one", "1e", "é"] {
            assert_eq!(parse_float(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn bounds_have_one_spelling() {
        for (text, canonical) in [
            ("1", "1.0"),
            ("0", "0.0"),
            ("-1", "-1.0"),
            ("0.25", "0.25"),
            ("1e3", "1000.0"),
            ("100000", "100000.0"),
            ("1000000", "1e+06"),
            ("1234567", "1.234567e+06"),
            ("0.00001", "1e-05"),
            ("0.0001", "0.0001"),
            ("Inf", "+Inf"),
            ("+Inf", "+Inf"),
            ("nan", "NaN"),
            ("-0", "-0.0"),
            ("0x1p-3", "0.125"),
            ("-0X1.8p1", "-3.0"),
        ] {
            assert_eq!(canonical_float(text).as_deref(), Some(canonical), "{text}");
        }
        assert_eq!(canonical_float("x"), None);
    }

    #[test]
    fn escapes() {
        assert_eq!(unescape(r#"a\\b\nc\"d\x\"#, true), "a\\b\nc\"d\\x\\");
        assert_eq!(unescape(r#"a\"b"#, false), "a\\\"b");
    }
}
