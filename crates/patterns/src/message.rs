//! Where the message of a structured line is, so that patterns speak of it and not of the fields around.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// A line's message with what must stand before and after it in a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    /// Pattern text before the message.
    pub(crate) before: &'static str,
    /// The message, as it is written in the line (escapes stay).
    pub(crate) text: &'a str,
    /// Pattern text after it.
    pub(crate) after: &'static str,
}

/// Keys of JSON objects that hold the message, the likeliest first, with the pattern before it.
const KEYS: [(&str, &str); 6] = [
    ("\"message\":\"", "<_>\"message\":\""),
    ("\"msg\":\"", "<_>\"msg\":\""),
    ("\"message\": \"", "<_>\"message\": \""),
    ("\"msg\": \"", "<_>\"msg\": \""),
    ("\"body\":\"", "<_>\"body\":\""),
    ("\"event\":\"", "<_>\"event\":\""),
];

/// What looks for the keys: making one costs more than most searches.
static FINDERS: LazyLock<[Finder<'static>; 6]> = LazyLock::new(|| KEYS.map(|(key, _)| Finder::new(key)));

/// The message of a JSON object, or the whole line. A line that only looks like JSON is no worse off: its "message" is
/// still text between the same two literals.
pub(crate) fn message_of(line: &str) -> Message<'_> {
    let whole = Message { before: "", text: line, after: "" };
    if !line.starts_with('{') {
        return whole;
    }
    KEYS.iter()
        .zip(&*FINDERS)
        .find_map(|((key, before), finder)| {
            let start = finder.find(line.as_bytes())? + key.len();
            let rest = line.get(start..)?;
            let text = rest.get(..closing_quote(rest)?)?;
            Some(Message { before, text, after: "\"<_>" })
        })
        .unwrap_or(whole)
}

/// Where the first quote is that is not escaped.
fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        let check = |line: &str, expect: (&str, &str)| {
            let found = message_of(line);
            assert_eq!((found.before, found.text), expect, "{line}");
        };
        check("plain message", ("", "plain message"));
        check(r#"{"level":"info","msg":"order placed","id":1}"#, ("<_>\"msg\":\"", "order placed"));
        check(r#"{"message":"say \"hi\" \\","x":1}"#, ("<_>\"message\":\"", r#"say \"hi\" \\"#));
        check(r#"{"message": "spaced"}"#, ("<_>\"message\": \"", "spaced"));
        check(r#"{"message":"cut off"#, ("", r#"{"message":"cut off"#));
        check(r#"{"level":"info"}"#, ("", r#"{"level":"info"}"#));
        check("{", ("", "{"));
    }
}
