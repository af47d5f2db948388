//! A pull reader for JSON (RFC 8259) that the decoders drive by schema.
//!
//! Promises: no tree is built; nesting that is read is bounded, nesting that is skipped costs one bit a level; numbers
//! stay text until someone knows their type. Lone surrogates become U+FFFD, as in Go. Absent: comments, NaN literals.

use std::borrow::Cow;

use kenning_model::Reason;

use crate::error::Fault;

/// A cursor over one document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Json<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    depth_max: usize,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Bool,
    Number,
    Text,
    Array,
    Object,
}

impl<'a> Json<'a> {
    pub const fn new(text: &'a str, depth_max: usize) -> Self {
        Self { text, at: 0, depth: 0, depth_max }
    }

    /// Offset of the cursor.
    pub const fn offset(&self) -> usize {
        self.at
    }

    fn fault(&self, problem: &'static str) -> Fault {
        Fault::new(Reason::Malformed, self.at, "JSON document", problem)
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn byte(&mut self) -> Option<u8> {
        let blank = self.rest().iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r')).count();
        self.at += blank;
        self.rest().first().copied()
    }

    /// The kind of the next value.
    pub fn peek(&mut self) -> Result<Kind, Fault> {
        match self.byte() {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'"') => Ok(Kind::Text),
            Some(b't' | b'f') => Ok(Kind::Bool),
            Some(b'n') => Ok(Kind::Null),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(_) => Err(self.fault("has a character where a value should be")),
            None => Err(self.fault("ends where a value should be")),
        }
    }

    /// Enters `{` or `[`.
    pub fn open(&mut self, bracket: u8) -> Result<(), Fault> {
        if self.byte() != Some(bracket) {
            let want = if bracket == b'{' { "should have an object here" } else { "should have a list here" };
            return Err(Fault::new(Reason::WrongType, self.at, "JSON document", want));
        }
        if self.depth >= self.depth_max {
            return Err(Fault::over(Reason::TooDeep, self.at, "JSON document", self.depth_max, "levels"));
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    /// The next member's key of an entered object; leaves the object at its end. `first` starts as true.
    pub fn key(&mut self, first: &mut bool) -> Result<Option<Cow<'a, str>>, Fault> {
        if !self.separator(first, b'}')? {
            return Ok(None);
        }
        let key = self.text()?;
        if self.byte() != Some(b':') {
            return Err(self.fault("lacks a colon after a key"));
        }
        self.at += 1;
        Ok(Some(key))
    }

    /// True when an entered list has another element; leaves the list at its end. `first` starts as true.
    pub fn element(&mut self, first: &mut bool) -> Result<bool, Fault> {
        self.separator(first, b']')
    }

    fn separator(&mut self, first: &mut bool, end: u8) -> Result<bool, Fault> {
        let was_first = std::mem::replace(first, false);
        match self.byte() {
            Some(b) if b == end => {
                self.at += 1;
                self.depth = self.depth.saturating_sub(1);
                Ok(false)
            }
            Some(b',') if !was_first => {
                self.at += 1;
                match self.byte() {
                    Some(b) if b == end => Err(self.fault("has a comma before a closing bracket")),
                    _ => Ok(true),
                }
            }
            Some(_) if was_first => Ok(true),
            Some(_) => Err(self.fault("lacks a comma")),
            None => Err(self.fault("ends inside an object or a list")),
        }
    }

    /// A text.
    pub fn text(&mut self) -> Result<Cow<'a, str>, Fault> {
        if self.byte() != Some(b'"') {
            return Err(Fault::new(Reason::WrongType, self.at, "JSON document", "should have a text here"));
        }
        self.at += 1;
        let start = self.at;
        let plain = self.plain_run()?;
        if self.rest().first() == Some(&b'"') {
            self.at += 1;
            return Ok(Cow::Borrowed(plain));
        }
        let mut out = String::with_capacity(2 * (self.at - start));
        out.push_str(plain);
        loop {
            match self.rest() {
                [b'"', ..] => {
                    self.at += 1;
                    return Ok(Cow::Owned(out));
                }
                _ => out.push(self.escape()?),
            }
            out.push_str(self.plain_run()?);
        }
    }

    /// Text up to the next quote or backslash.
    fn plain_run(&mut self) -> Result<&'a str, Fault> {
        let start = self.at;
        let rest = self.rest();
        let Some(len) = memchr::memchr2(b'"', b'\\', rest) else {
            return Err(self.fault("ends inside a text"));
        };
        let run = self.text.get(start..start + len).unwrap_or_default();
        if run.bytes().any(|b| b < 0x20) {
            return Err(self.fault("has a control character in a text; escape it"));
        }
        self.at += len;
        Ok(run)
    }

    fn escape(&mut self) -> Result<char, Fault> {
        let code = match self.rest() {
            [b'\\', code, ..] => *code,
            _ => return Err(self.fault("ends inside a text")),
        };
        self.at += 2;
        Ok(match code {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => self.unicode()?,
            _ => return Err(self.fault("has an unknown escape in a text")),
        })
    }

    fn unicode(&mut self) -> Result<char, Fault> {
        let high = self.hex4()?;
        if !(0xd800..0xdc00).contains(&high) {
            return Ok(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let mark = self.at;
        if self.rest().starts_with(b"\\u") {
            self.at += 2;
            let low = self.hex4()?;
            if (0xdc00..0xe000).contains(&low) {
                let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = mark;
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn hex4(&mut self) -> Result<u32, Fault> {
        let digits = self.rest().get(..4).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = digits
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
            .ok_or_else(|| self.fault("has a bad \\u escape"))?;
        self.at += 4;
        Ok(code)
    }

    /// A number as it is written.
    pub fn number(&mut self) -> Result<&'a str, Fault> {
        if !matches!(self.byte(), Some(b'-' | b'0'..=b'9')) {
            return Err(Fault::new(Reason::WrongType, self.at, "JSON document", "should have a number here"));
        }
        let rest = self.rest();
        let len = number_len(rest).ok_or_else(|| self.fault("has a malformed number"))?;
        let number = self.text.get(self.at..self.at + len).unwrap_or_default();
        self.at += len;
        Ok(number)
    }

    /// `true` or `false`.
    pub fn boolean(&mut self) -> Result<bool, Fault> {
        self.byte();
        for (word, value) in [("true", true), ("false", false)] {
            if self.rest().starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(Fault::new(Reason::WrongType, self.at, "JSON document", "should have true or false here"))
    }

    fn null(&mut self) -> Result<(), Fault> {
        self.byte();
        if !self.rest().starts_with(b"null") {
            return Err(self.fault("has an unknown word"));
        }
        self.at += 4;
        Ok(())
    }

    /// Passes over a value of any kind and any depth.
    pub fn skip(&mut self) -> Result<(), Fault> {
        let (depth, depth_max) = (self.depth, self.depth_max);
        self.depth_max = usize::MAX;
        let outcome = self.skip_nested();
        (self.depth, self.depth_max) = (depth, depth_max);
        outcome
    }

    fn skip_nested(&mut self) -> Result<(), Fault> {
        let mut open = Brackets::default();
        let mut first = true;
        loop {
            match self.peek()? {
                Kind::Null => self.null()?,
                Kind::Bool => drop(self.boolean()?),
                Kind::Number => drop(self.number()?),
                Kind::Text => drop(self.text()?),
                kind => {
                    self.open(if kind == Kind::Object { b'{' } else { b'[' })?;
                    open.push(kind == Kind::Object);
                    first = true;
                }
            }
            // Close what ends here, then stand before the next value.
            loop {
                let Some(object) = open.top() else { return Ok(()) };
                let more = if object { self.key(&mut first)?.is_some() } else { self.element(&mut first)? };
                if more {
                    break;
                }
                open.pop();
            }
        }
    }

    /// Passes over a value and gives its text.
    pub fn raw(&mut self) -> Result<&'a str, Fault> {
        self.byte();
        let start = self.at;
        self.skip()?;
        Ok(self.text.get(start..self.at).unwrap_or_default())
    }

    /// Nothing but blanks may follow the document.
    pub fn end(&mut self) -> Result<(), Fault> {
        match self.byte() {
            None => Ok(()),
            Some(_) => Err(self.fault("goes on after its end")),
        }
    }

    /// Null, or true when the cursor passed it.
    pub fn take_null(&mut self) -> Result<bool, Fault> {
        if self.peek()? != Kind::Null {
            return Ok(false);
        }
        self.null().map(|()| true)
    }
}

/// Open brackets, one bit each: true for objects.
#[derive(Default)]
struct Brackets {
    bits: Vec<u64>,
    len: usize,
}

impl Brackets {
    fn push(&mut self, object: bool) {
        let (word, bit) = (self.len / 64, self.len % 64);
        if word == self.bits.len() {
            self.bits.push(0);
        }
        if let Some(bits) = self.bits.get_mut(word) {
            *bits = (*bits & !(1 << bit)) | (u64::from(object) << bit);
        }
        self.len += 1;
    }

    fn top(&self) -> Option<bool> {
        let last = self.len.checked_sub(1)?;
        Some(self.bits.get(last / 64)? >> (last % 64) & 1 == 1)
    }

    fn pop(&mut self) {
        self.len = self.len.saturating_sub(1);
    }
}

/// Length of the number at the start, by RFC 8259's grammar.
fn number_len(bytes: &[u8]) -> Option<usize> {
    let digits = |from: usize| bytes.iter().skip(from).take_while(|b| b.is_ascii_digit()).count();
    let mut at = usize::from(bytes.first() == Some(&b'-'));
    let whole = digits(at);
    if whole == 0 || (whole > 1 && bytes.get(at) == Some(&b'0')) {
        return None;
    }
    at += whole;
    if bytes.get(at) == Some(&b'.') {
        let fraction = digits(at + 1);
        at += 1 + fraction;
        if fraction == 0 {
            return None;
        }
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let exponent = digits(at + 1 + sign);
        at += 1 + sign + exponent;
        if exponent == 0 {
            return None;
        }
    }
    Some(at)
}

/// A text in JSON's quotes.
pub(crate) fn quote(text: &str) -> String {
    // A list of one text prints as JSON; the model owns the escaping.
    let list = kenning_model::Value::Array(vec![kenning_model::Value::Str(text.to_owned())]).to_string();
    list.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skips(text: &str) -> bool {
        let mut json = Json::new(text, 8);
        json.skip().and_then(|()| json.end()).is_ok()
    }

    #[test]
    fn agrees_with_serde_on_what_is_json() {
        let cases = [
            "null",
            "true",
            "tru",
            "nul",
            "0",
            "-0",
            "01",
            "1.",
            "1.5e+7",
            "1e",
            "-",
            "\"a\"",
            "\"\\u00e9\"",
            "\"\\x\"",
            "\"\n\"",
            "[]",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{}",
            "{\"a\":1}",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\"}",
            "{\"a\":}",
            "[{}]",
            "[}",
            "{]",
            "[[[[[[[[[[[[]]]]]]]]]]]]",
            "1 1",
            "",
            " ",
            "[\"",
            "{\"a\":[{\"b\":[]}],\"c\":{}}",
            "+1",
            ".5",
            "1E5",
            "\"\\ud834\\udd1e\"",
            "[null,false]",
            "NaN",
            "\u{feff}1",
            "{\"a\" :\t1 }\n",
        ];
        for case in cases {
            let expect = serde_json::from_str::<serde_json::Value>(case).is_ok();
            assert_eq!(skips(case), expect, "{case}");
        }
    }

    #[test]
    fn texts_are_unescaped() {
        let text = |source: &str| Json::new(source, 1).text().unwrap().into_owned();
        assert_eq!(text(r#""a\"\\\/\b\f\n\r\t\u00e9\ud834\udd1ez""#), "a\"\\/\u{8}\u{c}\n\r\té𝄞z");
        assert_eq!(text(r#""\ud834x\ud834\ud834\udd1e\udd1e""#), "\u{fffd}x\u{fffd}𝄞\u{fffd}");
        assert_eq!(quote("a\"\u{1}é"), "\"a\\\"\\u0001é\"");
    }

    #[test]
    fn depth_is_bounded_where_read_and_free_where_skipped() {
        for depth in [8, 9, 1000, 200_000] {
            let text = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            assert!(skips(&text), "{depth}");
            let mut json = Json::new(&text, 8);
            let opened = (0..depth).take_while(|_| json.open(b'[').is_ok()).count();
            assert_eq!(opened, 8);
        }
        assert!(!skips(&"[".repeat(200_000)) && !skips(&"{\"a\":".repeat(200_000)));
    }
}
