//! Looks at bytes of a text that never leave it.

/// The byte at a place; zero outside.
pub(super) fn at(text: &[u8], place: usize) -> u8 {
    text.get(place).copied().unwrap_or(0)
}

/// The byte before a place; zero at the start.
pub(super) fn before(text: &[u8], place: usize) -> u8 {
    place.checked_sub(1).map_or(0, |place| at(text, place))
}

/// What begins at a place.
pub(super) fn from(text: &[u8], place: usize) -> &[u8] {
    text.get(place..).unwrap_or_default()
}

/// What lies between two places.
pub(super) fn between(text: &[u8], start: usize, end: usize) -> &[u8] {
    text.get(start..end).unwrap_or_default()
}

/// True when `literal` begins at a place, of any ASCII case.
pub(super) fn starts_at(text: &[u8], place: usize, literal: &[u8]) -> bool {
    text.get(place..place + literal.len()).is_some_and(|found| found.eq_ignore_ascii_case(literal))
}

/// The first place from `place` on whose byte fails the test.
pub(super) fn skip(text: &[u8], place: usize, test: impl Fn(u8) -> bool) -> usize {
    place + from(text, place).iter().take_while(|byte| test(**byte)).count()
}

/// As [`skip`], over at most `most` bytes.
pub(super) fn skip_some(text: &[u8], place: usize, most: usize, test: impl Fn(u8) -> bool) -> usize {
    place + from(text, place).iter().take(most).take_while(|byte| test(**byte)).count()
}

/// The place after the last byte before `place` that fails the test, `most` bytes back at the furthest.
pub(super) fn back(text: &[u8], place: usize, most: usize, test: impl Fn(u8) -> bool) -> usize {
    let head = text.get(..place).unwrap_or_default();
    place - head.iter().rev().take(most).take_while(|byte| test(**byte)).count()
}

/// Where a word that reaches back to `start` really begins: escapes leave letters behind that are no part of it, as in
/// `\npassword`, `\u0026password` and `%3Dpassword`.
pub(super) fn after_escape(text: &[u8], start: usize, end: usize) -> usize {
    let hex = |count: usize, from: usize| (from..from + count).all(|i| at(text, i).is_ascii_hexdigit());
    let behind = match before(text, start) {
        b'\\' if at(text, start) == b'u' && hex(4, start + 1) => 5,
        b'\\' if at(text, start) == b'x' && hex(2, start + 1) => 3,
        b'\\' if matches!(at(text, start), b'n' | b'r' | b't' | b'b' | b'f') => 1,
        b'%' if hex(2, start) => 2,
        _ => 0,
    };
    (start + behind).min(end)
}

/// True for a byte that is no part of a word, or when what stands before the place is an escape.
pub(super) fn is_word_start(text: &[u8], place: usize, is_word: impl Fn(u8) -> bool) -> bool {
    if !is_word(before(text, place)) {
        return true;
    }
    (1..=5)
        .filter_map(|len| place.checked_sub(len))
        .any(|start| after_escape(text, start, place) == place && start < place)
}
