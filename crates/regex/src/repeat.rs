//! `*`, `+`, `?`, `{n}`, `{n,}`, `{n,m}`, and how far counts may multiply.

use std::fmt::Write as _;

/// Largest count, also of counts within counts. Definition: Go `regexp/syntax`, 1 000.
const COUNT_MAX: u32 = 1_000;

/// A repetition: at least and at most; no most is without end.
#[derive(Clone, Copy)]
pub(crate) struct Repeat {
    least: u32,
    most: Option<u32>,
    sign: Option<char>,
}

impl Repeat {
    /// Of `*`, `+` or `?`.
    pub(crate) fn of(sign: char) -> Self {
        let (least, most) = match sign {
            '*' => (0, None),
            '+' => (1, None),
            _ => (0, Some(1)),
        };
        Self { least, most, sign: Some(sign) }
    }

    /// Whether the counts are out of order or too large.
    pub(crate) fn refused(&self) -> bool {
        self.least > COUNT_MAX || self.most.is_some_and(|most| most > COUNT_MAX || most < self.least)
    }

    pub(crate) fn write(&self, out: &mut String) {
        let _ = match (self.sign, self.most) {
            (Some(sign), _) => {
                out.push(sign);
                Ok(())
            }
            (None, None) => write!(out, "{{{},}}", self.least),
            (None, Some(most)) if most == self.least => write!(out, "{{{most}}}"),
            (None, Some(most)) => write!(out, "{{{},{most}}}", self.least),
        };
    }
}

/// How often the counts within an item repeat its innermost part at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Counts(u32);

impl Counts {
    pub(crate) const ONE: Self = Self(1);

    /// The counts of the item repeated; none when they are too many.
    pub(crate) fn times(self, repeat: &Repeat) -> Option<Self> {
        let counted =
            repeat.sign.is_none() && (repeat.least >= 2 || repeat.most.is_some_and(|most| most >= 2));
        let factor = match repeat.most {
            _ if !counted => return Some(self),
            Some(most) => most,
            None => repeat.least,
        };
        let product = self.0.max(1).saturating_mul(factor);
        (product <= COUNT_MAX).then_some(Self(product))
    }
}

/// Reads `{n}`, `{n,}` or `{n,m}`; anything else is text, as in Go.
pub(crate) fn braces(text: &str) -> Option<(Repeat, &str)> {
    let (least, rest) = number(text.strip_prefix('{')?)?;
    let (most, rest) = match rest.strip_prefix(',') {
        None => (Some(least), rest),
        Some(rest) if rest.starts_with('}') => (None, rest),
        Some(rest) => number(rest).map(|(most, rest)| (Some(most), rest))?,
    };
    Some((Repeat { least, most, sign: None }, rest.strip_prefix('}')?))
}

/// Digits without a zero before others. A number too large to matter is the largest.
fn number(text: &str) -> Option<(u32, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end)?;
    if digits.is_empty() || (digits.len() > 1 && digits.starts_with('0')) {
        return None;
    }
    Some((digits.parse().unwrap_or(u32::MAX), rest))
}
