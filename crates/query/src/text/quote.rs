//! Quoted strings as Go writes them.

/// `text` in double quotes with Go's escapes (`strconv.Quote`).
#[must_use]
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    text.chars().for_each(|c| push_escaped(&mut out, c));
    out.push('"');
    out
}

fn push_escaped(out: &mut String, c: char) {
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\x07' => out.push_str("\\a"),
        '\x08' => out.push_str("\\b"),
        '\x0c' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\x0b' => out.push_str("\\v"),
        c if is_printable(c) => out.push(c),
        c if (c as u32) < 0x80 => out.push_str(&format!("\\x{:02x}", c as u32)),
        c if (c as u32) < 0x1_0000 => out.push_str(&format!("\\u{:04x}", c as u32)),
        c => out.push_str(&format!("\\U{:08x}", c as u32)),
    }
}

/// Go's `unicode.IsPrint`, as near as the standard library's tables allow.
fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return (' '..='~').contains(&c);
    }
    !c.is_control() && !c.is_whitespace() && !c.escape_debug().to_string().starts_with("\\u")
        || is_combining_mark(c)
}

/// Marks that `escape_debug` escapes for readability although they are printable.
fn is_combining_mark(c: char) -> bool {
    matches!(c as u32, 0x300..=0x36f | 0x483..=0x489 | 0x591..=0x5bd | 0x64b..=0x65f | 0x1ab0..=0x1aff | 0x1dc0..=0x1dff | 0x20d0..=0x20ff | 0xfe00..=0xfe0f | 0xfe20..=0xfe2f)
}

/// Replaces the escapes between the quotes of a Go string literal. `None` for an escape that Go does not know or bytes
/// that are not UTF-8.
#[must_use]
pub fn unescape(body: &str) -> Option<String> {
    if !body.contains('\\') {
        return Some(body.to_owned());
    }
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.extend_from_slice(before.as_bytes());
        rest = push_unescaped(&mut out, escape.get(1..)?)?;
    }
    out.extend_from_slice(rest.as_bytes());
    String::from_utf8(out).ok()
}

/// Handles one escape, given what follows the backslash, and gives what follows the escape.
fn push_unescaped<'a>(out: &mut Vec<u8>, escape: &'a str) -> Option<&'a str> {
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
        '\\' | '\'' | '"' => kind as u8,
        'x' => return push_code(out, rest, 2, 16, true),
        'u' => return push_code(out, rest, 4, 16, false),
        'U' => return push_code(out, rest, 8, 16, false),
        '0'..='7' => return push_code(out, escape, 3, 8, true),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_and_back() {
        for (text, quoted) in [
            ("", r#""""#),
            ("a\"b\\", r#""a\"b\\""#),
            ("\n\t\x1b\x07", r#""\n\t\x1b\a""#),
            ("é日\u{a0}\u{200b}", "\"é日\\u00a0\\u200b\""),
            ("👌", "\"👌\""),
        ] {
            assert_eq!(quote(text), quoted);
            assert_eq!(unescape(&quoted[1..quoted.len() - 1]).as_deref(), Some(text));
        }
    }

    #[test]
    fn escapes_that_go_refuses() {
        for bad in ["\\", "\\q", "\\x1", "\\xff", "\\u12", "\\ud800", "\\400", "\\u+123"] {
            assert_eq!(unescape(bad), None, "{bad}");
        }
        assert_eq!(unescape("\\101\\x41\\u0041\\U00000041").as_deref(), Some("AAAA"));
        assert_eq!(unescape("\\xc3\\xa9").as_deref(), Some("é"));
    }
}
