//! Texts that differ in their numbers only, such as `order 4711 accepted with 3 items`: their wording is kept once, and per
//! row which wording and its numbers.
//!
//! Promise: a text read by a phrase and put together again is the same text. A word of the wording is found, or ruled out,
//! for all rows of a phrase at once.

use std::collections::HashMap;

use kenning_codec::bytes::{Decoder, Encoder};

/// Most phrases of a column.
pub(crate) const PHRASES_MAX: usize = 64;
/// Most numbers of a phrase.
pub(crate) const NUMBERS_MAX: usize = 8;
/// Most bytes of a phrase's wording.
const WORDING_MAX: usize = 512;
/// Most different phrases that are counted; a column with more has none.
const SEEN_MAX: usize = 1024;
/// A phrase is kept when it holds at least one text in so many.
const SHARE: usize = 128;
/// Most digits of a number: what 64 bits hold for certain.
const DIGITS_MAX: usize = 18;
/// Stands for a number in the key of a phrase; no line that is cut holds it.
const NUMBER: u8 = 1;

/// The wording of texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Phrase {
    /// The numbers in the order of the text.
    pub(crate) gaps: Box<[Gap]>,
    /// What stands behind the last number.
    end: Box<str>,
}

/// The place of a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    /// What stands before it, behind the number before.
    before: Box<str>,
    /// Which of the column's columns of numbers holds it.
    pub(crate) column: u8,
}

/// Whether texts of a phrase contain a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contains {
    /// All of them do.
    Always,
    /// None does.
    Never,
    /// It depends on their numbers.
    ByNumbers,
}

impl Phrase {
    /// Takes the numbers out of a text, in order; false when the text has another wording.
    pub(crate) fn read(&self, text: &str, numbers: &mut Vec<i64>) -> bool {
        numbers.clear();
        let mut rest = text.as_bytes();
        for gap in &self.gaps {
            let Some(behind) = rest.strip_prefix(gap.before.as_bytes()) else { return false };
            let (digits, behind) = behind.split_at(digits_at(behind));
            let Some(number) = number_of_digits(digits) else { return false };
            numbers.push(number);
            rest = behind;
        }
        rest == self.end.as_bytes()
    }

    /// Appends the text that has these numbers; false when one is missing.
    pub(crate) fn push(&self, number: impl Fn(u8) -> Option<i64>, out: &mut String) -> bool {
        for gap in &self.gaps {
            out.push_str(&gap.before);
            let Some(number) = number(gap.column) else { return false };
            super::kind::push_number(number, 1, out);
        }
        out.push_str(&self.end);
        true
    }

    fn pieces(&self) -> impl Iterator<Item = &str> {
        self.gaps.iter().map(|gap| &*gap.before).chain([&*self.end])
    }

    /// Whether texts of the phrase contain `part`.
    pub(crate) fn contains(&self, part: &str) -> Contains {
        if self.pieces().any(|piece| piece.contains(part)) {
            return Contains::Always;
        }
        if self.may_reach(part.as_bytes()) { Contains::ByNumbers } else { Contains::Never }
    }

    /// False when no numbers make the wording contain `part`: the wording is taken as a sequence of bytes and of numbers
    /// of any length, and followed from every place at once.
    fn may_reach(&self, part: &[u8]) -> bool {
        let mut tokens: Vec<Option<u8>> = Vec::new();
        for gap in &self.gaps {
            tokens.extend(gap.before.bytes().map(Some));
            tokens.push(None);
        }
        tokens.extend(self.end.bytes().map(Some));
        // Per token whether what comes next may be it, or more of it; one more for the end.
        let mut here = vec![true; tokens.len()];
        here.push(part.is_empty());
        for byte in part {
            let mut next = vec![false; here.len()];
            for (at, token) in tokens.iter().enumerate().filter(|(at, _)| here.get(*at) == Some(&true)) {
                let fits = match token {
                    Some(own) => own == byte,
                    None => byte.is_ascii_digit(),
                };
                if fits {
                    next.get_mut(at + 1).into_iter().for_each(|slot| *slot = true);
                }
                if fits && token.is_none() {
                    next.get_mut(at).into_iter().for_each(|slot| *slot = true);
                }
            }
            here = next;
        }
        here.contains(&true)
    }

    pub(crate) fn encode(&self, out: &mut Encoder) {
        out.size(self.gaps.len());
        for gap in &self.gaps {
            out.text(&gap.before);
            out.byte(gap.column);
        }
        out.text(&self.end);
    }

    pub(crate) fn decode(from: &mut Decoder<'_>) -> Option<Self> {
        let count = from.size().filter(|count| *count <= NUMBERS_MAX)?;
        let gap = |from: &mut Decoder<'_>| {
            let before = from.text()?.into();
            Some(Gap { before, column: from.byte().filter(|column| usize::from(*column) < NUMBERS_MAX)? })
        };
        let gaps = (0..count).map(|_| gap(from)).collect::<Option<_>>()?;
        Some(Self { gaps, end: from.text()?.into() })
    }
}

/// Columns of numbers that some phrases need.
pub(crate) fn number_columns(phrases: &[Phrase]) -> usize {
    phrases.iter().flat_map(|phrase| &phrase.gaps).map(|gap| usize::from(gap.column) + 1).max().unwrap_or(0)
}

/// Digits at the start of a text.
fn digits_at(text: &[u8]) -> usize {
    text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len())
}

/// The number that digits stand for, if it is written in no other way.
fn number_of_digits(digits: &[u8]) -> Option<i64> {
    let is_canonical = match digits {
        [] => false,
        [b'0', rest @ ..] => rest.is_empty(),
        _ => digits.len() <= DIGITS_MAX,
    };
    is_canonical.then(|| digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
}

/// Finds the phrases of a column, text by text.
#[derive(Default)]
pub(crate) struct PhraseGuess {
    seen: HashMap<Vec<u8>, Seen>,
    texts: usize,
    /// Too many phrases to be any.
    is_given_up: bool,
    key: Vec<u8>,
    numbers: Vec<i64>,
}

/// What is known of a phrase.
struct Seen {
    texts: usize,
    /// Of each number the greatest that was seen.
    greatest: Vec<i64>,
}

impl PhraseGuess {
    pub(crate) fn add(&mut self, text: &str) {
        if self.is_given_up {
            return;
        }
        self.texts += 1;
        if !self.read_key(text.as_bytes()) {
            return;
        }
        if let Some(seen) = self.seen.get_mut(&self.key) {
            seen.texts += 1;
            let known = seen.greatest.iter_mut().zip(&self.numbers);
            known.for_each(|(known, number)| *known = (*known).max(*number));
            return;
        }
        if self.seen.len() == SEEN_MAX {
            (self.seen, self.is_given_up) = (HashMap::new(), true);
            return;
        }
        self.seen.insert(self.key.clone(), Seen { texts: 1, greatest: self.numbers.clone() });
    }

    /// The text with marks for its numbers, and these; false when it is too long or has too many.
    fn read_key(&mut self, text: &[u8]) -> bool {
        self.key.clear();
        self.numbers.clear();
        let mut rest = text;
        while !rest.is_empty() {
            let digits = digits_at(rest);
            let (number, behind) = rest.split_at(digits);
            match number_of_digits(number) {
                Some(number) => {
                    self.key.push(NUMBER);
                    self.numbers.push(number);
                }
                None => self.key.extend_from_slice(number),
            }
            let len = behind.iter().position(u8::is_ascii_digit).unwrap_or(behind.len());
            let (words, behind) = behind.split_at(len);
            self.key.extend_from_slice(words);
            rest = behind;
        }
        self.key.len() <= WORDING_MAX && self.numbers.len() <= NUMBERS_MAX
    }

    /// The phrases, when they hold most of the texts.
    pub(crate) fn finish(self) -> Option<Vec<Phrase>> {
        let mut kept: Vec<(Vec<u8>, Seen)> =
            self.seen.into_iter().filter(|(_, seen)| seen.texts * SHARE >= self.texts).collect();
        // By weight, then by text: equal texts give equal columns.
        kept.sort_unstable_by(|(a_key, a), (b_key, b)| b.texts.cmp(&a.texts).then_with(|| a_key.cmp(b_key)));
        kept.truncate(PHRASES_MAX);
        let held: usize = kept.iter().map(|(_, seen)| seen.texts).sum();
        (held * 2 > self.texts).then_some(())?;
        kept.iter().map(|(key, seen)| phrase_of(key, &seen.greatest)).collect()
    }
}

/// The phrase of a key. Great numbers share a column and small ones do, whatever their order in the text: a column packs
/// its numbers at the width of the widest around.
fn phrase_of(key: &[u8], greatest: &[i64]) -> Option<Phrase> {
    let mut order: Vec<usize> = (0..greatest.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(greatest.get(*at).copied()));
    let column = |at: usize| order.iter().position(|of| *of == at).map(|place| place as u8);
    let mut pieces: Vec<&str> =
        key.split(|byte| *byte == NUMBER).map(std::str::from_utf8).collect::<Result<_, _>>().ok()?;
    let end = pieces.pop()?.into();
    let gaps = pieces.into_iter().enumerate();
    let gaps = gaps.map(|(at, before)| Some(Gap { before: before.into(), column: column(at)? }));
    Some(Phrase { gaps: gaps.collect::<Option<_>>()?, end })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn phrases(texts: &[&str]) -> Option<Vec<Phrase>> {
        let mut guess = PhraseGuess::default();
        texts.iter().for_each(|text| guess.add(text));
        guess.finish()
    }

    #[test]
    fn words_are_found_where_they_are() {
        let all = phrases(&["order 5 took 20 ms", "order 17 took 3 ms"]).unwrap();
        let [phrase] = all.as_slice() else { panic!("{all:?}") };
        let check = |part: &str, expect| assert_eq!(phrase.contains(part), expect, "{part}");
        check("took", Contains::Always);
        check("", Contains::Always);
        check(" ms", Contains::Always);
        check("ms ", Contains::Never);
        check("timeout", Contains::Never);
        check("7", Contains::ByNumbers);
        check("r 17 took 3 m", Contains::ByNumbers);
        check("r 17 took m", Contains::Never);
        check("1 2", Contains::Never);
        check("4bf92f", Contains::Never);
    }

    #[test]
    fn numbers_of_one_size_share_a_column() {
        let all =
            phrases(&["order 500000 has 3", "order 600000 has 2", "3 of 900000", "4 of 900001"]).unwrap();
        let columns: Vec<Vec<u8>> =
            all.iter().map(|phrase| phrase.gaps.iter().map(|gap| gap.column).collect()).collect();
        assert_eq!(columns, [[1, 0], [0, 1]]);
        assert_eq!(number_columns(&all), 2);
    }

    #[test]
    fn texts_without_a_common_wording_have_no_phrases() {
        let texts: Vec<String> = (0u32..2000).map(|n| format!("{:x}", n.wrapping_mul(0x9e37_79b1))).collect();
        assert_eq!(phrases(&texts.iter().map(String::as_str).collect::<Vec<_>>()), None);
        assert_eq!(phrases(&[]), None);
    }

    proptest! {
        #[test]
        fn texts_come_back(texts in vec("([a-c]{1,2}|0|00|7|12|1234567890123456789|é){0,6}", 1..12), part in "[a-c0127]{0,3}") {
            let borrowed: Vec<&str> = texts.iter().map(String::as_str).collect();
            for phrase in phrases(&borrowed).unwrap_or_default() {
                let mut out = Encoder::default();
                phrase.encode(&mut out);
                let bytes = out.into_bytes();
                prop_assert_eq!(Phrase::decode(&mut Decoder::new(&bytes)), Some(phrase.clone()));
                let mut numbers = Vec::new();
                for text in &texts {
                    if !phrase.read(text, &mut numbers) {
                        continue;
                    }
                    let of = |column: u8| {
                        let at = phrase.gaps.iter().position(|gap| gap.column == column)?;
                        numbers.get(at).copied()
                    };
                    let mut again = String::new();
                    prop_assert!(phrase.push(of, &mut again));
                    prop_assert_eq!(&again, text);
                    match phrase.contains(&part) {
                        Contains::Always => prop_assert!(text.contains(&part), "{} in {}", part, text),
                        Contains::Never => prop_assert!(!text.contains(&part), "{} in {}", part, text),
                        Contains::ByNumbers => {}
                    }
                }
            }
        }
    }
}
