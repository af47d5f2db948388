//! What the values of a field have in common, so that a column can hold numbers instead of texts.
//!
//! The rule for every kind: a text belongs to it only if formatting what it is parsed to gives back the same text.

use std::sync::Arc;

use kenning_codec::bytes::{Decoder, Encoder};

use super::phrase::{PHRASES_MAX, Phrase, number_columns};

/// Most digits of a number: what 64 bits hold for certain.
const DIGITS_MAX: usize = 18;
/// Fixed byte strings of hex digits: from so many bytes ...
const HEX_LEN_MIN: usize = 8;
/// ... to so many.
const HEX_LEN_MAX: usize = 32;

/// The common form of a column's values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any text.
    Text,
    /// A prefix and a whole number; `width` digits with leading zeros, or 0 for as many as it takes.
    Int { prefix: Box<str>, width: u8 },
    /// A number with at most `scale` digits behind the point; exactly so many unless trailing zeros are `trimmed`.
    Decimal { scale: u8, trimmed: bool },
    /// So many bytes as lower-case hex digits.
    Hex { len: u8 },
    /// Texts of a few wordings, and any others. Takes a leaf column for the others, one for the number of the phrase, and
    /// one for each of [`number_columns`].
    Phrases(Arc<[Phrase]>),
}

impl Kind {
    /// The number that stands for a text of a numeric kind; none when the text is not of this kind.
    pub(crate) fn parse(&self, text: &str) -> Option<i64> {
        match self {
            Self::Int { prefix, width } => {
                let rest = text.strip_prefix(&**prefix)?;
                let (is_negative, digits) = match prefix.is_empty() && *width == 0 {
                    true => split_sign(rest),
                    false => (false, rest),
                };
                let fits = match *width {
                    0 => is_canonical(digits),
                    width => digits.len() == usize::from(width),
                };
                (fits && !digits.is_empty()).then_some(())?;
                signed(is_negative, number(0, digits)?)
            }
            Self::Decimal { scale, trimmed } => {
                let (is_negative, rest) = split_sign(text);
                let point = rest.bytes().position(|byte| byte == b'.');
                let parts = point.and_then(|at| Some((rest.get(..at)?, rest.get(at + 1..)?)));
                let (whole, fraction) = parts.unwrap_or((rest, ""));
                let has_point = whole.len() < rest.len();
                let scale = usize::from(*scale);
                let fits = match trimmed {
                    true => {
                        fraction.len() <= scale
                            && !fraction.ends_with('0')
                            && has_point != fraction.is_empty()
                    }
                    false => fraction.len() == scale && has_point,
                };
                (fits && is_canonical(whole) && !whole.is_empty() && whole.len() + scale <= DIGITS_MAX)
                    .then_some(())?;
                let digits = number(number(0, whole)?, fraction)?;
                let zeros = POWERS_OF_TEN.get(scale - fraction.len())?;
                signed(is_negative, digits.checked_mul(*zeros)?)
            }
            Self::Text | Self::Hex { .. } | Self::Phrases(_) => None,
        }
    }

    /// Leaf columns that it takes in the file.
    pub(crate) fn leaves(&self) -> usize {
        match self {
            Self::Phrases(phrases) => 2 + number_columns(phrases),
            _ => 1,
        }
    }

    /// True for kinds whose texts are numbers here ([`Self::parse`]).
    pub(crate) fn is_number(&self) -> bool {
        matches!(self, Self::Int { .. } | Self::Decimal { .. })
    }

    /// True for kinds that hold texts as they are, the empty one too.
    pub(crate) fn is_text(&self) -> bool {
        matches!(self, Self::Text | Self::Phrases(_))
    }

    /// Appends the text of a number.
    pub(crate) fn format(&self, number: i64, out: &mut String) {
        match self {
            Self::Int { prefix, width } => {
                out.push_str(prefix);
                push_number(number, usize::from(*width).max(1), out);
            }
            Self::Decimal { scale, trimmed } => {
                let scale = usize::from(*scale);
                push_number(number, scale + 1, out);
                let point = out.len().saturating_sub(scale);
                out.insert(point, '.');
                if *trimmed {
                    let kept = out.trim_end_matches('0').trim_end_matches('.').len().max(point);
                    out.truncate(kept);
                }
            }
            Self::Text | Self::Hex { .. } | Self::Phrases(_) => {}
        }
    }

    /// What the number is as a double, when the text is a plain number.
    pub(crate) fn value(&self, number: i64) -> Option<f64> {
        self.scale()?.value(number)
    }

    /// How numbers become doubles, when texts of this kind are plain numbers.
    pub(crate) fn scale(&self) -> Option<Scale> {
        match self {
            Self::Int { prefix, width: 0 } if prefix.is_empty() => {
                Some(Scale { divisor: 1.0, exact: i64::MAX })
            }
            Self::Decimal { scale, .. } => {
                Some(Scale { divisor: 10f64.powi(i32::from(*scale)), exact: 1 << 53 })
            }
            _ => None,
        }
    }

    /// True when the kind's values are numbers for queries.
    pub(crate) fn is_plain_number(&self) -> bool {
        self.value(0).is_some()
    }

    /// The bytes of a text of hex digits.
    pub(crate) fn unhex(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        self.unhex_into(text, &mut bytes).then_some(bytes)
    }

    /// Appends the bytes of a text of hex digits; false when it is none of this kind.
    pub(crate) fn unhex_into(&self, text: &[u8], out: &mut Vec<u8>) -> bool {
        let Self::Hex { len } = self else { return false };
        let mut bytes = [0u8; HEX_LEN_MAX];
        let Some(bytes) = bytes.get_mut(..usize::from(*len)) else { return false };
        if text.len() != bytes.len() * 2 {
            return false;
        }
        let mut all = 0;
        for (byte, [high, low]) in bytes.iter_mut().zip(text.as_chunks().0) {
            let (high, low) = (digit_or_more(*high), digit_or_more(*low));
            all |= high | low;
            *byte = high << 4 | low & 15;
        }
        out.extend_from_slice(bytes);
        all < 16
    }

    /// False when no text of this kind contains all bytes of `part` in a row.
    pub(crate) fn may_contain(&self, part: &[u8]) -> bool {
        match self {
            Self::Text | Self::Phrases(_) => true,
            Self::Int { prefix, .. } => {
                part.iter().all(|b| b.is_ascii_digit() || *b == b'-' || prefix.as_bytes().contains(b))
            }
            Self::Decimal { .. } => part.iter().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'.')),
            Self::Hex { len } => {
                part.len() <= usize::from(*len) * 2 && part.iter().all(|b| digit(*b).is_some())
            }
        }
    }

    pub(crate) fn encode(&self, encoder: &mut Encoder) {
        match self {
            Self::Text => encoder.byte(0),
            Self::Int { prefix, width } => {
                encoder.byte(1);
                encoder.text(prefix);
                encoder.byte(*width);
            }
            Self::Decimal { scale, trimmed } => {
                encoder.byte(2);
                encoder.byte(*scale);
                encoder.byte(u8::from(*trimmed));
            }
            Self::Hex { len } => {
                encoder.byte(3);
                encoder.byte(*len);
            }
            Self::Phrases(phrases) => {
                encoder.byte(4);
                encoder.size(phrases.len());
                phrases.iter().for_each(|phrase| phrase.encode(encoder));
            }
        }
    }

    pub(crate) fn decode(decoder: &mut Decoder<'_>) -> Option<Self> {
        let up_to = |max: usize, n: u8| (usize::from(n) <= max).then_some(n);
        Some(match decoder.byte()? {
            0 => Self::Text,
            1 => Self::Int { prefix: decoder.text()?.into(), width: up_to(DIGITS_MAX, decoder.byte()?)? },
            2 => Self::Decimal { scale: up_to(DIGITS_MAX, decoder.byte()?)?, trimmed: decoder.byte()? != 0 },
            3 => Self::Hex { len: up_to(HEX_LEN_MAX, decoder.byte()?)? },
            4 => {
                let count = decoder.size().filter(|count| (1..=PHRASES_MAX).contains(count))?;
                Self::Phrases((0..count).map(|_| Phrase::decode(decoder)).collect::<Option<_>>()?)
            }
            _ => return None,
        })
    }
}

/// How the numbers of a column become doubles. Exact: the integers are below 2^53 or rounded once, and powers of ten up to
/// 18 are doubles.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    divisor: f64,
    /// Up to here, on both sides of zero.
    exact: i64,
}

impl Scale {
    /// The double; none where only the text says it exactly.
    #[inline]
    pub(crate) fn value(self, number: i64) -> Option<f64> {
        let is_exact = (-self.exact..=self.exact).contains(&number);
        is_exact.then_some(number as f64 / self.divisor)
    }
}

/// Appends bytes as lower-case hex digits.
pub(crate) fn push_hex(bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        for half in [byte >> 4, byte & 15] {
            out.push(DIGITS.get(usize::from(half)).copied().map_or('0', char::from));
        }
    }
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

/// As [`digit`], with 255 for other bytes.
fn digit_or_more(byte: u8) -> u8 {
    DIGITS.get(usize::from(byte)).copied().unwrap_or(u8::MAX)
}

#[expect(clippy::indexing_slicing, reason = "computed when the program is built")]
static DIGITS: [u8; 256] = {
    let mut digits = [u8::MAX; 256];
    let mut value = 0;
    while value < 16 {
        let byte = if value < 10 { b'0' + value } else { b'a' - 10 + value };
        digits[byte as usize] = value;
        value += 1;
    }
    digits
};

/// Powers of ten that 18 digits hold.
#[expect(clippy::indexing_slicing, reason = "computed when the program is built")]
static POWERS_OF_TEN: [i64; DIGITS_MAX] = {
    let mut powers = [1; DIGITS_MAX];
    let mut at = 1;
    while at < DIGITS_MAX {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

fn split_sign(text: &str) -> (bool, &str) {
    text.strip_prefix('-').map_or((false, text), |rest| (true, rest))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_canonical(digits: &str) -> bool {
    digits.len() == 1 || !digits.starts_with('0')
}

/// The number whose digits follow those of `before`; no more than [`DIGITS_MAX`] in all, of which the caller saw to those
/// before.
fn number(before: i64, digits: &str) -> Option<i64> {
    (digits.len() <= DIGITS_MAX).then_some(())?;
    let (mut number, mut all) = (before, 0);
    for byte in digits.bytes() {
        let digit = byte.wrapping_sub(b'0');
        all |= u8::from(digit > 9);
        number = number.wrapping_mul(10).wrapping_add(i64::from(digit));
    }
    (all == 0).then_some(number)
}

/// A negative zero is not a number that comes back.
fn signed(is_negative: bool, number: i64) -> Option<i64> {
    match (is_negative, number) {
        (true, 0) => None,
        (true, number) => Some(-number),
        (false, number) => Some(number),
    }
}

pub(super) fn push_number(number: i64, width: usize, out: &mut String) {
    if number < 0 {
        out.push('-');
    }
    let mut digits = [b'0'; 20];
    let (mut left, mut count) = (number.unsigned_abs(), 0);
    for slot in digits.iter_mut().rev() {
        if left == 0 && count >= width {
            break;
        }
        *slot = b'0' + (left % 10) as u8;
        (left, count) = (left / 10, count + 1);
    }
    let text = digits.get(digits.len() - count..).and_then(|digits| std::str::from_utf8(digits).ok());
    out.push_str(text.unwrap_or_default());
}

/// Finds the kind of a column, value by value.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guess {
    seen: bool,
    int: Option<IntGuess>,
    decimal: Option<DecimalGuess>,
    hex_len: Option<usize>,
}

#[derive(Clone, Debug)]
struct IntGuess {
    prefix: Box<str>,
    lens: (usize, usize),
    has_leading_zero: bool,
}

#[derive(Clone, Debug)]
struct DecimalGuess {
    scales: (usize, usize),
    whole_max: usize,
    has_trailing_zero: bool,
}

impl Guess {
    pub(crate) fn add(&mut self, text: &str) {
        if !self.seen {
            self.seen = true;
            let digits = text.bytes().rev().take_while(u8::is_ascii_digit).count();
            let prefix = text.get(..text.len() - digits).unwrap_or("");
            let prefix = if prefix == "-" { "" } else { prefix };
            self.int =
                Some(IntGuess { prefix: prefix.into(), lens: (usize::MAX, 0), has_leading_zero: false });
            self.decimal =
                Some(DecimalGuess { scales: (usize::MAX, 0), whole_max: 0, has_trailing_zero: false });
            self.hex_len = Some(text.len());
        }
        self.int = self.int.take().and_then(|guess| guess.add(text));
        self.decimal = self.decimal.take().and_then(|guess| guess.add(text));
        self.hex_len = self.hex_len.filter(|len| {
            text.len() == *len
                && (2 * HEX_LEN_MIN..=2 * HEX_LEN_MAX).contains(len)
                && len.is_multiple_of(2)
                && text.bytes().all(|b| digit(b).is_some())
        });
    }

    /// True once values were added that are of no narrower kind.
    pub(crate) fn is_text(&self) -> bool {
        self.seen && self.int.is_none() && self.decimal.is_none() && self.hex_len.is_none()
    }

    /// The narrowest kind that holds all values added.
    pub(crate) fn kind(&self) -> Kind {
        let int = self.int.as_ref().and_then(IntGuess::kind);
        let decimal = || self.decimal.as_ref().and_then(DecimalGuess::kind);
        let hex = || self.hex_len.map(|len| Kind::Hex { len: (len / 2) as u8 });
        int.or_else(decimal).or_else(hex).unwrap_or(Kind::Text)
    }
}

impl IntGuess {
    fn add(mut self, text: &str) -> Option<Self> {
        let rest = text.strip_prefix(&*self.prefix)?;
        let (is_negative, digits) = if self.prefix.is_empty() { split_sign(rest) } else { (false, rest) };
        (is_digits(digits) && digits.len() <= DIGITS_MAX && !(is_negative && digits == "0")).then_some(())?;
        let is_padded = !is_canonical(digits);
        (!(is_negative && is_padded)).then_some(())?;
        // A sign makes texts of one width differ in length.
        let len = digits.len() + usize::from(is_negative) * DIGITS_MAX;
        self.lens = (self.lens.0.min(len), self.lens.1.max(len));
        self.has_leading_zero |= is_padded;
        Some(self)
    }

    fn kind(&self) -> Option<Kind> {
        let width = match self.has_leading_zero {
            false => 0,
            true if self.lens.0 == self.lens.1 => u8::try_from(self.lens.0).ok()?,
            true => return None,
        };
        Some(Kind::Int { prefix: self.prefix.clone(), width })
    }
}

impl DecimalGuess {
    fn add(mut self, text: &str) -> Option<Self> {
        let (is_negative, rest) = split_sign(text);
        let (whole, fraction) = rest.split_once('.').unwrap_or((rest, ""));
        let has_point = whole.len() < rest.len();
        let is_well_formed = is_digits(whole) && is_canonical(whole) && has_point == is_digits(fraction);
        let is_negative_zero = is_negative && rest.bytes().all(|b| matches!(b, b'0' | b'.'));
        (is_well_formed && !is_negative_zero).then_some(())?;
        let scale = fraction.len();
        self.scales = (self.scales.0.min(scale), self.scales.1.max(scale));
        self.whole_max = self.whole_max.max(whole.len());
        self.has_trailing_zero |= fraction.ends_with('0');
        (self.whole_max + self.scales.1 <= DIGITS_MAX).then_some(self)
    }

    fn kind(&self) -> Option<Kind> {
        let scale = u8::try_from(self.scales.1).ok()?;
        match self.has_trailing_zero {
            false => Some(Kind::Decimal { scale, trimmed: true }),
            true if self.scales.0 == self.scales.1 => Some(Kind::Decimal { scale, trimmed: false }),
            true => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn check(values: &[&str], expect: Kind) {
        let mut guess = Guess::default();
        values.iter().for_each(|value| guess.add(value));
        let kind = guess.kind();
        assert_eq!(kind, expect, "{values:?}");
        for value in values {
            comes_back(&kind, value);
        }
    }

    fn comes_back(kind: &Kind, value: &str) {
        let mut text = String::new();
        match kind {
            Kind::Text | Kind::Phrases(_) => return,
            Kind::Hex { .. } => push_hex(&kind.unhex(value.as_bytes()).unwrap(), &mut text),
            _ => kind
                .format(kind.parse(value).unwrap_or_else(|| panic!("{value:?} is no {kind:?}")), &mut text),
        }
        assert_eq!(text, value, "{kind:?}");
        assert!(
            (0..value.len()).all(|at| value.get(at..).is_none_or(|part| kind.may_contain(part.as_bytes())))
        );
        if let Some(number) = kind.parse(value).and_then(|n| kind.value(n)) {
            assert_eq!(Some(number), kenning_model::number_of(value), "{value}");
        }
    }

    #[test]
    fn kinds_are_found() {
        let int = |prefix: &str, width| Kind::Int { prefix: prefix.into(), width };
        check(&["1", "-20", "0"], int("", 0));
        check(&["user-1", "user-99"], int("user-", 0));
        check(&["k007", "k123"], int("k", 3));
        check(&["007", "12"], Kind::Text);
        check(&["-1", "007"], Kind::Text);
        check(&["-0"], Kind::Text);
        check(&["1.5", "2", "-0.25"], Kind::Decimal { scale: 2, trimmed: true });
        check(&["1.50", "2.25"], Kind::Decimal { scale: 2, trimmed: false });
        check(&["1.50", "2"], Kind::Text);
        check(&["1.", "2"], Kind::Text);
        check(&["0123456789abcdef"], Kind::Hex { len: 8 });
        check(&["0123456789abcdeF"], Kind::Text);
        check(&["1234567890123456789"], Kind::Text);
        check(&["", "1"], Kind::Text);
    }

    proptest! {
        #[test]
        fn values_come_back(
            values in prop_oneof![
                vec("-?[0-9]{1,4}", 1..5), vec("[a-c]{0,2}0?[0-9]{1,3}", 1..4),
                vec("-?[0-9]{1,2}(\\.[0-9]{1,3})?", 1..5), vec("[0-9a-f]{16}", 1..3), vec(".{0,3}", 1..3),
            ],
            strangers in vec("-?[0-9]{0,3}\\.?[0-9]{0,3}", 1..4),
        ) {
            let mut guess = Guess::default();
            values.iter().for_each(|value| guess.add(value));
            let kind = guess.kind();
            values.iter().for_each(|value| comes_back(&kind, value));
            for stranger in strangers {
                if let Some(number) = kind.parse(&stranger) {
                    let mut text = String::new();
                    kind.format(number, &mut text);
                    prop_assert_eq!(&text, &stranger);
                }
            }
        }
    }
}
