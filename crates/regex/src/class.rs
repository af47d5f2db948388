//! Classes of characters: `[...]`, `\d`, `\pL`, `[:alpha:]`.

use std::fmt::Write as _;

use regex::Regex;

use crate::escape::{CodePoint, escaped};
use crate::translate::upto;
use crate::{Error, Fault};

/// Names between `[:` and `:]`. Definition: Go `regexp/syntax`.
const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];

/// Reads a class in brackets, which `text` begins with, and writes it. The answer is what follows.
pub(crate) fn class<'s>(text: &'s str, out: &mut String) -> Result<&'s str, Error> {
    let mut rest = text.get(1..).unwrap_or("");
    out.push('[');
    if let Some(after) = rest.strip_prefix('^') {
        rest = after;
        out.push('^');
    }
    let begin = out.len();
    let mut first = true;
    while first || !rest.starts_with(']') {
        first = false;
        if let Some(after) = posix_class(rest, out)? {
            rest = after;
        } else if let Some(after) = unicode_class(rest, out)? {
            rest = after;
        } else if let Some(after) = perl_class(rest, out) {
            rest = after;
        } else {
            rest = range(rest, text, out)?;
        }
    }
    if out.len() == begin {
        // Nothing but characters that no text holds.
        out.push_str(r"&&\x{0}&&\x{1}");
    }
    out.push(']');
    Ok(rest.get(1..).unwrap_or(""))
}

/// One character or a range of them.
fn range<'s>(text: &'s str, whole: &str, out: &mut String) -> Result<&'s str, Error> {
    let (low, mut rest) = character(text, whole)?;
    let mut high = low;
    // A dash before the closing bracket is a dash.
    if let Some(after) = rest.strip_prefix('-').filter(|after| !after.is_empty() && !after.starts_with(']')) {
        (high, rest) = character(after, whole)?;
        if high < low {
            return Err(Error::new(Fault::CharRange, upto(text, rest)));
        }
    }
    write_range(low, high, out);
    Ok(rest)
}

fn character<'s>(text: &'s str, whole: &str) -> Result<(CodePoint, &'s str), Error> {
    let Some(c) = text.chars().next() else { return Err(Error::new(Fault::MissingBracket, whole)) };
    if c == '\\' {
        return escaped(text);
    }
    Ok((CodePoint(u32::from(c)), text.get(c.len_utf8()..).unwrap_or("")))
}

/// Writes a range without the surrogates, which Rust's engine does not name.
fn write_range(low: CodePoint, high: CodePoint, out: &mut String) {
    const SURROGATES: (u32, u32) = (0xD800, 0xDFFF);
    let (low, high) = (low.0, high.0);
    let mut piece = |low: u32, high: u32| {
        if low == high {
            CodePoint(low).write(out);
        } else if low < high {
            let _ = write!(out, "\\x{{{low:X}}}-\\x{{{high:X}}}");
        }
    };
    if high < SURROGATES.0 || low > SURROGATES.1 {
        return piece(low, high);
    }
    if low < SURROGATES.0 {
        piece(low, SURROGATES.0 - 1);
    }
    if high > SURROGATES.1 {
        piece(SURROGATES.1 + 1, high);
    }
}

/// `[:alpha:]` within brackets.
fn posix_class<'s>(text: &'s str, out: &mut String) -> Result<Option<&'s str>, Error> {
    let Some((name, rest)) = text.strip_prefix("[:").and_then(|inside| inside.split_once(":]")) else {
        return Ok(None);
    };
    let plain = name.strip_prefix('^').unwrap_or(name);
    if !POSIX.contains(&plain) {
        return Err(Error::new(Fault::CharRange, upto(text, rest)));
    }
    out.push_str(upto(text, rest));
    Ok(Some(rest))
}

/// `\d`, `\s`, `\w` and their opposites, which know only ASCII. The same text serves outside and inside of brackets.
pub(crate) fn perl_class<'s>(text: &'s str, out: &mut String) -> Option<&'s str> {
    out.push_str(match text.as_bytes().get(..2)? {
        br"\d" => "[0-9]",
        br"\D" => "[^0-9]",
        br"\s" => r"[\t\n\x0C\r\x20]",
        br"\S" => r"[^\t\n\x0C\r\x20]",
        br"\w" => "[0-9A-Za-z_]",
        br"\W" => "[^0-9A-Za-z_]",
        _ => return None,
    });
    text.get(2..)
}

/// `\pL`, `\p{Greek}`, `\P{^Lu}`.
pub(crate) fn unicode_class<'s>(text: &'s str, out: &mut String) -> Result<Option<&'s str>, Error> {
    let (mut negated, inside) = match text.as_bytes().get(..2) {
        Some(br"\p") => (false, text.get(2..).unwrap_or("")),
        Some(br"\P") => (true, text.get(2..).unwrap_or("")),
        _ => return Ok(None),
    };
    let (name, rest) = match inside.strip_prefix('{') {
        Some(braced) => braced.split_once('}').ok_or_else(|| Error::new(Fault::CharRange, text))?,
        None => {
            let first = inside.chars().next().map_or(0, char::len_utf8);
            inside.split_at_checked(first).unwrap_or((inside, ""))
        }
    };
    let refused = || Error::new(Fault::CharRange, upto(text, rest));
    let mut plain = name;
    if let Some(after) = name.strip_prefix('^') {
        (negated, plain) = (!negated, after);
    }
    let sign = if negated { 'P' } else { 'p' };
    let known = known_class(plain).ok_or_else(refused)?;
    let _ = write!(out, "\\{sign}{{{known}}}");
    Ok(Some(rest))
}

/// Rust's name of a category or script; none where there is no such.
fn known_class(name: &str) -> Option<String> {
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return None;
    }
    if name == "Any" {
        return Some(name.to_owned());
    }
    let spelt = [format!("gc={name}"), format!("sc={name}")];
    spelt.into_iter().find(|text| Regex::new(&format!("\\p{{{text}}}")).is_ok())
}
