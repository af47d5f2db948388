//! Characters written with a backslash, and characters as Rust's engine must read them.

use std::fmt::Write as _;

use crate::translate::upto;
use crate::{Error, Fault};

/// A code point; Go's may be a surrogate, which no text holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CodePoint(pub(crate) u32);

impl CodePoint {
    /// Writes it where it stands for itself.
    pub(crate) fn write(self, out: &mut String) {
        match char::from_u32(self.0) {
            Some(c) => literal(c, out),
            None => out.push_str(r"[^\x{0}-\x{10FFFF}]"),
        }
    }
}

/// Writes a character so that it stands for itself, outside and inside of brackets.
pub(crate) fn literal(c: char, out: &mut String) {
    if c.is_ascii() && !c.is_ascii_alphanumeric() {
        let _ = write!(out, "\\x{{{:X}}}", u32::from(c));
    } else {
        out.push(c);
    }
}

/// Reads one character written with a backslash, which `text` begins with.
pub(crate) fn escaped(text: &str) -> Result<(CodePoint, &str), Error> {
    let rest = text.get(1..).unwrap_or("");
    let Some(c) = rest.chars().next() else { return Err(Error::new(Fault::TrailingBackslash, "")) };
    let after = rest.get(c.len_utf8()..).unwrap_or("");
    let simple = |code: u32| Ok((CodePoint(code), after));
    match c {
        // A digit alone would be a reference to a group; with a second one it is octal.
        '1'..='7' if after.starts_with(|d: char| d.is_digit(8)) => Ok(octal(rest)),
        '0' => Ok(octal(rest)),
        'x' => hexadecimal(text, after),
        'a' => simple(7),
        'f' => simple(12),
        'n' => simple(10),
        'r' => simple(13),
        't' => simple(9),
        'v' => simple(11),
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => simple(u32::from(c)),
        _ => Err(Error::new(Fault::Escape, upto(text, after))),
    }
}

/// Three octal digits at most.
fn octal(text: &str) -> (CodePoint, &str) {
    let digits = text.chars().take(3).take_while(|c| c.is_digit(8)).count();
    let (number, rest) = text.split_at_checked(digits).unwrap_or((text, ""));
    (CodePoint(u32::from_str_radix(number, 8).unwrap_or_default()), rest)
}

/// `\xFF` or `\x{10FFFF}`; `after` is what follows the `x`.
fn hexadecimal<'s>(text: &'s str, after: &'s str) -> Result<(CodePoint, &'s str), Error> {
    let mut chars = after.chars();
    let refused = |read: usize| {
        // Go shows what it read before it gave up.
        let rest = after.char_indices().nth(read).map_or("", |(at, _)| after.get(at..).unwrap_or(""));
        Err(Error::new(Fault::Escape, upto(text, rest)))
    };
    if chars.next() != Some('{') {
        return match after.get(..2).and_then(|digits| {
            let hexadecimal = digits.bytes().all(|b| b.is_ascii_hexdigit());
            hexadecimal.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
        }) {
            Some(code) => Ok((CodePoint(code), after.get(2..).unwrap_or(""))),
            None => refused(2),
        };
    }
    let (mut code, mut read) = (0_u32, 1);
    for c in chars {
        read += 1;
        match c.to_digit(16) {
            Some(digit) => code = code.saturating_mul(16).saturating_add(digit),
            None if c == '}' && read > 2 => {
                return Ok((CodePoint(code), after.get(read..).unwrap_or("")));
            }
            None => break,
        }
        if code > u32::from(char::MAX) {
            break;
        }
    }
    refused(read)
}
