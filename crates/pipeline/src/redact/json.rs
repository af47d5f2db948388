//! What is found in a line of JSON stays within its strings and numbers, so that the line stays JSON.
//!
//! How values are found knows many ways of writing, and a mark or bracket of one can be misread as that of another. Here
//! a line that is JSON is read once more, strictly, and every finding is cut to the tokens that it touches.

use super::Finding;
use super::value::Quote;

/// A string without its quotation marks, or a number or word.
#[derive(Clone, Copy, Debug)]
struct Token {
    start: usize,
    end: usize,
    is_string: bool,
    /// The name of a member.
    is_name: bool,
}

/// Cuts what was found to the tokens of a text that is one JSON object or array; leaves other texts alone.
pub(super) fn keep_within_tokens(text: &str, found: &mut Vec<Finding>) {
    if found.is_empty() || !text.trim_start().starts_with(['{', '[']) {
        return;
    }
    let Some(tokens) = tokens(text.as_bytes()) else { return };
    let whole = std::mem::take(found);
    for one in whole {
        let first = tokens.partition_point(|token| token.end <= one.start);
        let touched = tokens.iter().skip(first).take_while(|token| token.start < one.end);
        for token in touched {
            let is_inside = token.start <= one.start && one.end <= token.end;
            // Who reads over a name has misread the text; the values behind it are what was meant.
            if is_inside || !token.is_name {
                found.push(cut(text.as_bytes(), one, *token, is_inside));
            }
        }
    }
}

fn cut(text: &[u8], one: Finding, token: Token, is_inside: bool) -> Finding {
    if !token.is_string {
        let wrap = Some(Quote { slashes: 0, mark: b'"' });
        return Finding { start: token.start, end: token.end, wrap, ..one };
    }
    let (start, end) = whole_escapes(text, token, one.start.max(token.start), one.end.min(token.end));
    // Quotation marks within a string have backslashes.
    let wrap = one.wrap.filter(|quote| is_inside && quote.slashes % 2 == 1);
    Finding { start, end, wrap, ..one }
}

/// The range made larger so that it cuts no escape in two.
fn whole_escapes(text: &[u8], token: Token, start: usize, end: usize) -> (usize, usize) {
    let (mut place, mut begin) = (token.start, start);
    while place < end {
        let len = match (text.get(place), text.get(place + 1)) {
            (Some(b'\\'), Some(b'u')) => 6,
            (Some(b'\\'), _) => 2,
            _ => 1,
        };
        if place <= start && start < place + len {
            begin = place;
        }
        place += len;
    }
    (begin, place.max(end).min(token.end))
}

/// Deepest nesting that is read; deeper texts are left alone.
const DEPTH_MAX: usize = 128;

/// What may come next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// A value; the flag allows the end of an array that has none.
    Value(bool),
    /// The name of a member; the flag allows the end of an object that has none.
    Name(bool),
    Colon,
    /// A comma or the end of what is open.
    Comma,
}

/// The tokens of a text that is one value of JSON; none for other texts.
fn tokens(text: &[u8]) -> Option<Vec<Token>> {
    let (mut tokens, mut open, mut next) = (Vec::new(), Vec::new(), Next::Value(false));
    let mut place = 0;
    while let Some(byte) = text.get(place) {
        if next == Next::Comma && open.is_empty() && !byte.is_ascii_whitespace() {
            return None;
        }
        place += 1;
        next = match (byte, next) {
            (b' ' | b'\t' | b'\n' | b'\r', next) => next,
            (b'{' | b'[', Next::Value(_)) => {
                open.push(*byte);
                (open.len() <= DEPTH_MAX).then_some(())?;
                if *byte == b'{' { Next::Name(true) } else { Next::Value(true) }
            }
            (b'}', Next::Name(true) | Next::Comma) => closed(&mut open, b'{')?,
            (b']', Next::Value(true) | Next::Comma) => closed(&mut open, b'[')?,
            (b',', Next::Comma) => {
                if open.last() == Some(&b'{') {
                    Next::Name(false)
                } else {
                    Next::Value(false)
                }
            }
            (b':', Next::Colon) => Next::Value(false),
            (b'"', Next::Value(_) | Next::Name(_)) => {
                let (end, is_name) = (string_end(text, place)?, matches!(next, Next::Name(_)));
                tokens.push(Token { start: place, end, is_string: true, is_name });
                place = end + 1;
                if is_name { Next::Colon } else { Next::Comma }
            }
            (b'-' | b'0'..=b'9' | b'a'..=b'z', Next::Value(_)) => {
                let start = place - 1;
                let len = text.iter().skip(start).take_while(|byte| is_bare(**byte)).count();
                tokens.push(Token { start, end: start + len, is_string: false, is_name: false });
                place = start + len;
                Next::Comma
            }
            _ => return None,
        };
    }
    (next == Next::Comma && open.is_empty()).then_some(tokens)
}

fn closed(open: &mut Vec<u8>, kind: u8) -> Option<Next> {
    (open.pop()? == kind).then_some(Next::Comma)
}

fn is_bare(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.')
}

/// The place of the quotation mark that ends a string.
fn string_end(text: &[u8], start: usize) -> Option<usize> {
    let mut place = start;
    loop {
        match text.get(place)? {
            b'"' => return Some(place),
            b'\\' => place += 2,
            0..b' ' => return None,
            _ => place += 1,
        }
    }
}
