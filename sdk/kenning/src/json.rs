//! Writing JSON straight into a byte buffer.

use std::io::Write;

/// Writes `text` as a JSON string with its quotes; quotes, backslashes and control characters are escaped.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escaped(out, text);
    out.push(b'"');
}

/// Writes the inside of a JSON string.
pub(crate) fn escaped(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|&byte| needs_escape(byte)) {
        let (plain, tail) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((&byte, after)) = tail.split_first() else { return };
        escape(out, byte);
        rest = after;
    }
    out.extend_from_slice(rest);
}

/// DEL is legal in JSON but moves the cursor of some terminals, so it is escaped as well.
fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\' || byte == 0x7f
}

fn escape(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        other => push_fmt(out, format_args!("\\u{other:04x}")),
    }
}

/// Writes a double; JSON has no NaN or infinities, so they become strings.
pub(crate) fn double(out: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        push_fmt(out, format_args!("{value:?}"));
    } else {
        push_fmt(out, format_args!("\"{value}\""));
    }
}

/// Writes a signed integer.
pub(crate) fn int(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    uint(out, value.unsigned_abs());
}

/// Writes an unsigned integer without going through the formatting machinery.
pub(crate) fn uint(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0_u8; 20];
    let mut used = 0;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (value % 10) as u8;
        value /= 10;
        used += 1;
        if value == 0 {
            break;
        }
    }
    out.extend(digits.iter().skip(20 - used));
}

/// Writes formatted text; writing into memory cannot fail.
pub(crate) fn push_fmt(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn strings_round_trip(text in any::<String>()) {
            let mut out = Vec::new();
            string(&mut out, &text);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
            prop_assert!(out.iter().all(|&byte| byte >= 0x20 && byte != 0x7f));
        }

        #[test]
        fn numbers_round_trip(number in any::<i64>(), double_value in any::<f64>()) {
            let mut out = Vec::new();
            int(&mut out, number);
            prop_assert_eq!(serde_json::from_slice::<i64>(&out).unwrap(), number);
            out.clear();
            double(&mut out, double_value);
            if double_value.is_finite() {
                prop_assert_eq!(std::str::from_utf8(&out).unwrap().parse::<f64>().unwrap(), double_value);
            } else {
                prop_assert!(out.starts_with(b"\""));
            }
        }
    }

    #[test]
    fn control_characters() {
        let check = |text: &str, expect: &str| {
            let mut out = Vec::new();
            string(&mut out, text);
            assert_eq!(String::from_utf8(out).unwrap(), expect);
        };
        check("a\"b\\c", r#""a\"b\\c""#);
        check("\u{1b}[31mred\u{7f}", r#""\u001b[31mred\u007f""#);
        check("line\nline\r\t", r#""line\nline\r\t""#);
    }
}
