//! The text form of a stream's labels, `{app="a", env=`b`}`: Prometheus' series syntax, as the protobuf push carries it.

use std::borrow::Cow;

use kenning_gotext::quote::push_unescaped;

use crate::error::DecodeError;

/// Most labels of a text that [`parse_labels`] reads; each is compared with all before it.
const LABELS_MAX: usize = 1024;

/// A label with its value unquoted.
pub(super) type Pair<'a> = (&'a str, Cow<'a, str>);

/// Reads the labels of a stream. Names follow `[a-zA-Z_][a-zA-Z0-9_]*`; values are quoted as in Go, with `"` or `` ` ``.
pub fn parse_labels(text: &str) -> Result<Vec<(&str, Cow<'_, str>)>, DecodeError> {
    pairs(text, LABELS_MAX)
        .map_err(|(at, what)| DecodeError::Malformed { at, what: format!("stream labels {what}") })
}

/// As [`parse_labels`], with the offset and wording of what is wrong.
pub(super) fn pairs(text: &str, max: usize) -> Result<Vec<Pair<'_>>, (usize, &'static str)> {
    let mut cursor = Cursor { text, rest: text };
    cursor.expect('{', "do not start with a brace")?;
    let mut pairs: Vec<Pair<'_>> = Vec::new();
    loop {
        cursor.blanks();
        if cursor.eat('}') {
            break;
        }
        let name = cursor.name()?;
        cursor.blanks();
        cursor.expect('=', "lack an equals sign after a name")?;
        cursor.blanks();
        let value = cursor.value()?;
        if pairs.len() >= max {
            return Err((cursor.at(), "are more than the limit"));
        }
        if pairs.iter().any(|(known, _)| *known == name) {
            return Err((cursor.at(), "hold a name twice"));
        }
        pairs.push((name, value));
        cursor.blanks();
        if !cursor.eat(',') && !cursor.rest.starts_with('}') {
            return Err((cursor.at(), "lack a comma or a closing brace"));
        }
    }
    cursor.blanks();
    if cursor.rest.is_empty() { Ok(pairs) } else { Err((cursor.at(), "go on after the closing brace")) }
}

struct Cursor<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    fn at(&self) -> usize {
        self.text.len() - self.rest.len()
    }

    fn blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, c: char) -> bool {
        let left = self.rest.strip_prefix(c);
        self.rest = left.unwrap_or(self.rest);
        left.is_some()
    }

    fn expect(&mut self, c: char, problem: &'static str) -> Result<(), (usize, &'static str)> {
        if self.eat(c) { Ok(()) } else { Err((self.at(), problem)) }
    }

    fn name(&mut self) -> Result<&'a str, (usize, &'static str)> {
        let end =
            self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err((self.at(), "lack a label name"));
        }
        self.rest = rest;
        Ok(name)
    }

    fn value(&mut self) -> Result<Cow<'a, str>, (usize, &'static str)> {
        if self.eat('`') {
            let (value, rest) = self.rest.split_once('`').ok_or((self.at(), "end inside a value"))?;
            self.rest = rest;
            return Ok(Cow::Borrowed(value));
        }
        self.expect('"', "lack a quoted value")?;
        let end = self.rest.find(['"', '\\', '\n']).ok_or((self.at(), "end inside a value"))?;
        let (plain, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        if self.eat('"') {
            return Ok(Cow::Borrowed(plain));
        }
        self.escaped(plain.to_owned()).map(Cow::Owned)
    }

    /// The rest of a value in which an escape was met. Bytes written as `\xff` or `\377` must come out as UTF-8.
    fn escaped(&mut self, start: String) -> Result<String, (usize, &'static str)> {
        let mut out = start.into_bytes();
        loop {
            let mut chars = self.rest.chars();
            let c = chars.next().ok_or((self.at(), "end inside a value"))?;
            self.rest = chars.as_str();
            match c {
                '"' => {
                    return String::from_utf8(out).map_err(|_| (self.at(), "hold a value that is not UTF-8"));
                }
                '\n' => return Err((self.at(), "hold a line break in a value")),
                '\\' => self.escape(&mut out)?,
                c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }

    /// Go's escapes of string literals.
    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), (usize, &'static str)> {
        let rest = push_unescaped(out, self.rest, '"');
        self.rest = rest.ok_or((self.at(), "hold an escape that Go does not know"))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: Option<&[(&str, &str)]>) {
        let parsed = parse_labels(text).ok();
        let parsed =
            parsed.as_ref().map(|pairs| pairs.iter().map(|(n, v)| (*n, v.as_ref())).collect::<Vec<_>>());
        assert_eq!(parsed.as_deref(), expect, "{text}");
    }

    #[test]
    fn label_texts() {
        check("{}", Some(&[]));
        check(r#"{a="b"}"#, Some(&[("a", "b")]));
        check(
            r#" { a = "b" , _c9="d,}\"\\\n\u00e9\x41\101", e=`\n"`, } "#.trim_start(),
            Some(&[("a", "b"), ("_c9", "d,}\"\\\né\u{41}A"), ("e", "\\n\"")]),
        );
        for bad in [
            "",
            "{",
            "}",
            "a=\"b\"",
            "{a}",
            "{a=b}",
            "{a=\"b\"",
            "{a=\"b\"}x",
            "{a=\"b}",
            "{9a=\"b\"}",
            "{a=\"b\" c=\"d\"}",
            "{a=\"b\",,}",
            "{a=\"\\q\"}",
            "{a=\"\\xff\"}",
            "{a=\"\\ud800\"}",
            "{a=\"b\",a=\"c\"}",
            "{a=\"x\ny\"}",
            "{a=`b}",
            "{a=\"\\",
            "{a=\"\\x4",
            "{a.b=\"c\"}",
            "{,}",
        ] {
            check(bad, None);
        }
    }
}
