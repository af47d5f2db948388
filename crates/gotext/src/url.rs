//! Escapes of URLs' queries (`net/url`).

/// Query escaping: letters, digits and `-_.~` stand for themselves, a space is a plus sign.
#[must_use]
pub fn query_escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// The text back; bytes that are not UTF-8 become the replacement character.
///
/// # Errors
/// Go's sentence about an escape that is none.
pub fn query_unescape(text: &str) -> Result<String, String> {
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let Some(code) = hex_pair(after) else {
                    let bad =
                        String::from_utf8_lossy(after.get(..after.len().min(2)).unwrap_or(&[])).into_owned();
                    return Err(format!("invalid URL escape \"%{bad}\""));
                };
                out.push(code);
                rest = after.get(2..).unwrap_or(&[]);
            }
            byte => out.push(*byte),
        }
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

fn hex_pair(bytes: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
    u8::try_from(digit(0)? << 4 | digit(1)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for (text, escaped) in
            [("a b{c=\"d\"}", "a+b%7Bc%3D%22d%22%7D"), ("\u{e9}-_.~", "%C3%A9-_.~"), ("", "")]
        {
            assert_eq!(query_escape(text), escaped);
            assert_eq!(query_unescape(escaped).as_deref(), Ok(text));
        }
        for (bad, shown) in [("a%", "%"), ("%4", "%4"), ("%zz1", "%zz"), ("%+1", "%+1")] {
            assert_eq!(query_unescape(bad), Err(format!("invalid URL escape \"{shown}\"")));
        }
    }
}
