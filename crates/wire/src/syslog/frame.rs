//! Where one message ends and the next begins on a stream. Definition: RFC 6587, both methods, told apart message by
//! message: octet counting when digits, a blank and `<` stand first, else up to a line end or a zero byte.

use std::fmt;
use std::ops::Range;

/// Most digits of a length.
const DIGITS_MAX: usize = 9;

/// Why a stream cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameError {
    /// The length that was announced.
    pub announced: usize,
    /// The longest that is taken.
    pub limit: usize,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { announced, limit } = self;
        write!(f, "a message of {announced} bytes is announced; the limit is {limit}")
    }
}

impl std::error::Error for FrameError {}

/// The place of a message in its buffer, and the bytes that it takes with its framing.
pub type Framed = (Range<usize>, usize);

/// How the buffer starts.
enum Start {
    /// So many bytes of length, then so many of message.
    Counted(usize, usize),
    Line,
    Unclear,
}

/// Where the message at the front of `buffer` lies, and the bytes it takes with its framing; `None` when more bytes are needed. A
/// line longer than `max` is cut there and goes on as the next message. With `is_last` no more bytes will come, so what is
/// there is a message.
pub fn next_message(buffer: &[u8], max: usize, is_last: bool) -> Result<Option<Framed>, FrameError> {
    match start(buffer) {
        Start::Unclear if !is_last => Ok(None),
        Start::Counted(_, len) if len > max => Err(FrameError { announced: len, limit: max }),
        Start::Counted(head, len) if head + len <= buffer.len() => Ok(Some((head..head + len, head + len))),
        Start::Counted(head, _) if is_last => Ok(Some((head..buffer.len(), buffer.len()))),
        Start::Counted(..) => Ok(None),
        Start::Line | Start::Unclear => Ok(line(buffer, max, is_last)),
    }
}

fn start(buffer: &[u8]) -> Start {
    let digits = buffer.iter().take(DIGITS_MAX + 1).take_while(|b| b.is_ascii_digit()).count();
    if buffer.is_empty() || (digits == buffer.len() && digits <= DIGITS_MAX) {
        return Start::Unclear;
    }
    if digits == 0 || digits > DIGITS_MAX || buffer.first() == Some(&b'0') {
        return Start::Line;
    }
    match (buffer.get(digits), buffer.get(digits + 1)) {
        (Some(b' '), None) => Start::Unclear,
        (Some(b' '), Some(b'<')) => {
            let number = buffer.get(..digits).and_then(|digits| std::str::from_utf8(digits).ok());
            number
                .and_then(|text| text.parse().ok())
                .map_or(Start::Line, |len| Start::Counted(digits + 1, len))
        }
        _ => Start::Line,
    }
}

fn line(buffer: &[u8], max: usize, is_last: bool) -> Option<Framed> {
    match memchr::memchr2(b'\n', 0, buffer) {
        Some(end) if end <= max => Some((0..end, end + 1)),
        _ if buffer.len() > max => Some((0..max, max)),
        _ if is_last && !buffer.is_empty() => Some((0..buffer.len(), buffer.len())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut buffer: &[u8]) -> Result<Vec<String>, FrameError> {
        let mut messages = Vec::new();
        while let Some((message, used)) = next_message(buffer, 40, true)? {
            messages.push(String::from_utf8_lossy(&buffer[message]).into_owned());
            buffer = &buffer[used..];
        }
        Ok(messages)
    }

    #[test]
    fn both_methods_in_one_stream() {
        let check = |bytes: &str, expect: &[&str]| {
            assert_eq!(all(bytes.as_bytes()).unwrap(), expect, "{bytes:?}");
        };
        check("<1>a\n<2>b\n", &["<1>a", "<2>b"]);
        check("4 <1>a5 <2>bc", &["<1>a", "<2>bc"]);
        check("6 <1>a\nb\n<2>c\0<3>d", &["<1>a\nb", "", "<2>c", "<3>d"]);
        check("12 apples\n0 <1>x\n", &["12 apples", "0 <1>x"]);
        check("9 <1>a", &["<1>a"]);
        check(&"x".repeat(90), &[&"x".repeat(40), &"x".repeat(40), &"x".repeat(10)]);
        check("1234567890 <1>a", &["1234567890 <1>a"]);
        assert_eq!(all(b"41 <1>a"), Err(FrameError { announced: 41, limit: 40 }));
    }

    #[test]
    fn nothing_is_decided_too_early() {
        for partial in ["", "1", "12", "12 ", "12 <1>abc", "<1>abc", "abc"] {
            assert_eq!(next_message(partial.as_bytes(), 100, false), Ok(None), "{partial:?}");
        }
    }
}
