//! Quoted text as Go writes and reads it (`strconv.Quote`, `strconv.Unquote`).

use std::borrow::Cow;
use std::fmt::Write as _;

use unicode_properties::{GeneralCategoryGroup as Group, UnicodeGeneralCategory as _};

/// `text` in double quotes with Go's escapes.
#[must_use]
pub fn quote(text: &str) -> String {
    quoted(text.as_bytes(), '"')
}

/// The same for bytes; those that are not UTF-8 as `\xff`.
#[must_use]
pub fn quote_bytes(bytes: &[u8]) -> String {
    quoted(bytes, '"')
}

/// A character in single quotes.
#[must_use]
pub fn quote_char(c: char) -> String {
    quoted(c.encode_utf8(&mut [0; 4]).as_bytes(), '\'')
}

fn quoted(bytes: &[u8], mark: char) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push(mark);
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|c| push_escaped(&mut out, c, mark));
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out.push(mark);
    out
}

fn push_escaped(out: &mut String, c: char, mark: char) {
    let written = match c {
        '\\' => out.write_str("\\\\"),
        c if c == mark => write!(out, "\\{c}"),
        c if is_printable(c) => out.write_char(c),
        '\x07' => out.write_str("\\a"),
        '\x08' => out.write_str("\\b"),
        '\x0c' => out.write_str("\\f"),
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        '\t' => out.write_str("\\t"),
        '\x0b' => out.write_str("\\v"),
        c if c.is_ascii() => write!(out, "\\x{:02x}", u32::from(c)),
        c if u32::from(c) < 0x1_0000 => write!(out, "\\u{:04x}", u32::from(c)),
        c => write!(out, "\\U{:08x}", u32::from(c)),
    };
    debug_assert!(written.is_ok(), "writing to a String cannot fail");
}

/// Go's `strconv.IsPrint`: letters, marks, numbers, punctuation, symbols, and of all spaces the ASCII one.
fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return (' '..='~').contains(&c);
    }
    matches!(
        c.general_category_group(),
        Group::Letter | Group::Mark | Group::Number | Group::Punctuation | Group::Symbol
    )
}

/// Replaces the escapes between the quotes `mark` of a Go string literal. `None` for an escape that Go does not know, or
/// bytes that are not UTF-8.
#[must_use]
pub fn unescape(body: &str, mark: char) -> Option<String> {
    if !body.contains('\\') {
        return Some(body.to_owned());
    }
    String::from_utf8(unescape_bytes(body, mark)?).ok()
}

/// The same where escapes may spell bytes that are not UTF-8.
#[must_use]
pub fn unescape_bytes(body: &str, mark: char) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.extend_from_slice(before.as_bytes());
        rest = push_unescaped(&mut out, escape.get(1..)?, mark)?;
    }
    out.extend_from_slice(rest.as_bytes());
    Some(out)
}

/// Appends what one escape stands for, given what follows the backslash, and gives what follows the escape. `None` for one
/// that Go does not know; `\xff` and `\377` are bytes that need not be UTF-8.
#[must_use]
pub fn push_unescaped<'a>(out: &mut Vec<u8>, escape: &'a str, mark: char) -> Option<&'a str> {
    let kind = escape.chars().next()?;
    let rest = escape.get(kind.len_utf8()..)?;
    let simple = match kind {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        '\\' => b'\\',
        'x' => return push_code(out, rest, 2, 16, true),
        'u' => return push_code(out, rest, 4, 16, false),
        'U' => return push_code(out, rest, 8, 16, false),
        '0'..='7' => return push_code(out, escape, 3, 8, true),
        // Only its own quote may be escaped: `\'` is a mistake inside double quotes.
        kind if kind == mark => u8::try_from(kind).ok()?,
        _ => return None,
    };
    out.push(simple);
    Some(rest)
}

fn push_code<'a>(out: &mut Vec<u8>, text: &'a str, digits: usize, radix: u32, byte: bool) -> Option<&'a str> {
    let (code, rest) = (text.get(..digits)?, text.get(digits..)?);
    if !code.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let code = u32::from_str_radix(code, radix).ok()?;
    if byte {
        out.push(u8::try_from(code).ok()?);
    } else {
        out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Some(rest)
}

/// Replaces the escapes between the quotes of a JSON string as `encoding/json` does; `None` for one that JSON does not know.
#[must_use]
pub fn unescape_json(raw: &str) -> Option<Cow<'_, str>> {
    if !raw.contains('\\') {
        return Some(Cow::Borrowed(raw));
    }
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        out.push_str(rest.get(..at)?);
        let escape = rest.get(at + 1..)?;
        let kind = escape.chars().next()?;
        rest = escape.get(kind.len_utf8()..)?;
        match kind {
            '"' | '\\' | '/' | '\'' => out.push(kind),
            'b' => out.push('\x08'),
            'f' => out.push('\x0c'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'u' => rest = unicode(&mut out, rest)?,
            _ => return None,
        }
    }
    out.push_str(rest);
    Some(Cow::Owned(out))
}

/// Four hexadecimal digits, or two times four for a surrogate pair; a lone surrogate becomes the replacement
/// character.
fn unicode<'l>(out: &mut String, text: &'l str) -> Option<&'l str> {
    let unit = |text: &str| {
        let digits = text.get(..4).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
        u32::from_str_radix(digits, 16).ok()
    };
    let (high, rest) = (unit(text)?, text.get(4..)?);
    if (0xd800..0xdc00).contains(&high)
        && let Some(low) =
            rest.strip_prefix("\\u").and_then(unit).filter(|low| (0xdc00..0xe000).contains(low))
    {
        out.push(char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00))?);
        return rest.get(6..);
    }
    out.push(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER));
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_and_back() {
        for (text, quoted) in [
            ("", r#""""#),
            ("a\"b\\'", r#""a\"b\\'""#),
            ("\n\t\x1b\x07\x7f", r#""\n\t\x1b\a\x7f""#),
            ("é日\u{301}\u{a0}\u{200b}\u{ad}", "\"é日\u{301}\\u00a0\\u200b\\u00ad\""),
            ("👌\u{e000}\u{10ffff}", "\"👌\\ue000\\U0010ffff\""),
        ] {
            assert_eq!(quote(text), quoted);
            assert_eq!(unescape(&quoted[1..quoted.len() - 1], '"').as_deref(), Some(text));
        }
        assert_eq!(quote_bytes(b"a\xff\"\xc3\n"), r#""a\xff\"\xc3\n""#);
        assert_eq!(
            [quote_char('\''), quote_char('"'), quote_char('\u{fffd}')],
            [r"'\''", "'\"'", "'\u{fffd}'"]
        );
    }

    #[test]
    fn escapes_that_go_refuses() {
        let bad = [
            "\\",
            "\\q",
            "\\x1",
            "\\xff",
            "\\u12",
            "\\ud800",
            "\\400",
            "\\u+123",
            "\\'",
            "\\U00110000",
            "\\xzz",
        ];
        for bad in bad {
            assert_eq!(unescape(bad, '"'), None, "{bad}");
        }
        assert_eq!(unescape("\\101\\x41\\u0041\\U00000041\\\"", '"').as_deref(), Some("AAAA\""));
        assert_eq!(unescape("\\xc3\\xa9\\'", '\'').as_deref(), Some("é'"));
        assert_eq!(unescape_bytes("a\\xff", '"').as_deref(), Some(&b"a\xff"[..]));
    }

    #[test]
    fn json_escapes() {
        assert_eq!(unescape_json(r"a\u00e9\ud83d\udc4c\n").as_deref(), Some("aé👌\n"));
        assert_eq!(unescape_json(r"\ud83d!").as_deref(), Some("\u{fffd}!"));
        assert_eq!(unescape_json(r"\q"), None);
        assert_eq!(unescape_json(r"\u12"), None);
    }
}
