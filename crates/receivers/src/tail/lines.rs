//! Bytes of a file to lines.

use std::borrow::Cow;

use super::source::Encoding;

/// The longest line in a file; what is beyond, up to the newline, is passed over. Wrapped lines are longer than the
/// records they make.
pub(super) const LINE_BYTES_MAX: usize = 1 << 20;

/// A line in a buffer: its place without the newline, the place behind the newline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub start: usize,
    pub end: usize,
    pub next: usize,
    /// The line is longer than [`LINE_BYTES_MAX`], and its end is not in the buffer.
    pub is_endless: bool,
}

/// The first line of `rest`; `None` when its end has not been written yet. A buffer of [`LINE_BYTES_MAX`] bytes always
/// has a line. `is_last`: nothing will be appended any more, what is there is a line.
pub(super) fn first_line(encoding: Encoding, bytes: &[u8], from: usize, is_last: bool) -> Option<Found> {
    let rest = bytes.get(from..).filter(|rest| !rest.is_empty())?;
    let unit = unit(encoding);
    let found = |len: usize, skipped: usize, is_endless| {
        Some(Found { start: from, end: from + len, next: from + len + skipped, is_endless })
    };
    match newline(encoding, rest) {
        Some(len) if len <= LINE_BYTES_MAX => found(len, unit, false),
        Some(_) => found(LINE_BYTES_MAX, 0, true),
        None if rest.len() >= LINE_BYTES_MAX => found(LINE_BYTES_MAX, 0, true),
        None if is_last => found(rest.len(), 0, false),
        None => None,
    }
}

/// How many bytes of `rest` belong to the end of an endless line, and whether its newline is among them.
pub(super) fn end_of_endless(encoding: Encoding, rest: &[u8]) -> (usize, bool) {
    match newline(encoding, rest) {
        Some(len) => (len + unit(encoding), true),
        None => (rest.len() - rest.len() % unit(encoding), false),
    }
}

const fn unit(encoding: Encoding) -> usize {
    match encoding {
        Encoding::Utf8 | Encoding::Latin1 => 1,
        Encoding::Utf16Le | Encoding::Utf16Be => 2,
    }
}

fn newline(encoding: Encoding, bytes: &[u8]) -> Option<usize> {
    let wide =
        |newline: [u8; 2]| bytes.chunks_exact(2).position(|unit| unit == newline).map(|place| place * 2);
    match encoding {
        Encoding::Utf8 | Encoding::Latin1 => memchr::memchr(b'\n', bytes),
        Encoding::Utf16Le => wide([b'\n', 0]),
        Encoding::Utf16Be => wide([0, b'\n']),
    }
}

/// The text of a line, without the `\r` before the newline and without a byte order mark; false when it was not valid.
pub(super) fn decode(encoding: Encoding, bytes: &[u8]) -> (Cow<'_, str>, bool) {
    let wide = |unit: fn([u8; 2]) -> u16| {
        let units = bytes.chunks_exact(2).filter_map(|pair| Some(unit(pair.try_into().ok()?)));
        let mut is_valid = bytes.len().is_multiple_of(2);
        let text: String = char::decode_utf16(units)
            .map(|c| {
                is_valid &= c.is_ok();
                c.unwrap_or(char::REPLACEMENT_CHARACTER)
            })
            .collect();
        (Cow::Owned(text), is_valid)
    };
    let (text, is_valid) = match encoding {
        Encoding::Utf8 => match str::from_utf8(bytes) {
            Ok(text) => (Cow::Borrowed(text), true),
            Err(_) => (String::from_utf8_lossy(bytes), false),
        },
        Encoding::Latin1 => (Cow::Owned(bytes.iter().map(|byte| char::from(*byte)).collect()), true),
        Encoding::Utf16Le => wide(u16::from_le_bytes),
        Encoding::Utf16Be => wide(u16::from_be_bytes),
    };
    (trimmed(text), is_valid)
}

fn trimmed(text: Cow<'_, str>) -> Cow<'_, str> {
    fn kept(text: &str) -> &str {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        text.strip_suffix('\r').unwrap_or(text)
    }
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(kept(text)),
        Cow::Owned(text) if kept(&text).len() == text.len() => Cow::Owned(text),
        Cow::Owned(text) => Cow::Owned(kept(&text).to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(encoding: Encoding, bytes: &[u8], is_last: bool, expect: &[&str]) {
        let (mut from, mut lines) = (0, Vec::new());
        while let Some(found) = first_line(encoding, bytes, from, is_last) {
            lines.push(decode(encoding, &bytes[found.start..found.end]).0.into_owned());
            from = found.next;
        }
        assert_eq!(lines, expect, "{bytes:?}");
    }

    #[test]
    fn lines_of_encodings() {
        check(Encoding::Utf8, b"a\nb\r\n\nrest", false, &["a", "b", ""]);
        check(Encoding::Utf8, b"a\nrest", true, &["a", "rest"]);
        check(Encoding::Utf8, b"\xff\xc3\xa9\n", false, &["\u{fffd}\u{e9}"]);
        check(Encoding::Utf8, b"\xef\xbb\xbfa\n", false, &["a"]);
        check(Encoding::Latin1, b"\xe9\n", false, &["\u{e9}"]);
        let wide: Vec<u8> = "\u{feff}é\u{a0a}x\r\nb".encode_utf16().flat_map(u16::to_le_bytes).collect();
        check(Encoding::Utf16Le, &wide, false, &["é\u{a0a}x"]);
        let wide: Vec<u8> = "é\n😀\n".encode_utf16().flat_map(u16::to_be_bytes).collect();
        check(Encoding::Utf16Be, &wide, false, &["é", "😀"]);
        check(Encoding::Utf16Be, &[0xd8, 0, 0, b'\n'], false, &["\u{fffd}"]);
    }

    #[test]
    fn endless_lines_are_found_and_passed_over() {
        let bytes = vec![b'x'; LINE_BYTES_MAX];
        let found = first_line(Encoding::Utf8, &bytes, 0, false).unwrap();
        assert!(found.is_endless && found.next == LINE_BYTES_MAX);
        assert_eq!(first_line(Encoding::Utf8, &bytes, 1, false), None);
        assert_eq!(end_of_endless(Encoding::Utf8, b"xx\ny"), (3, true));
        assert_eq!(end_of_endless(Encoding::Utf16Le, b"xxx"), (2, false));
    }
}
