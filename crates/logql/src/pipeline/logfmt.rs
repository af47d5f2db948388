//! `logfmt`: `key=value key="quoted value"` pairs. The rules for what is an error and where reading goes on after one
//! are those of go-logfmt as Loki uses it.

use std::borrow::Cow;

use super::labels::{sanitized, sanitized_part, without_replacement_char};
use super::{Category, Hints, LineLabels, LineParser, fault};
use crate::syntax::ast::Extraction;
use kenning_gotext::quote::unescape_json;

/// Extracts every pair.
#[derive(Debug)]
pub(super) struct Logfmt {
    /// The first error ends the line and is reported.
    pub(super) strict: bool,
    /// Keys without a value become labels too.
    pub(super) keep_empty: bool,
}

impl LineParser for Logfmt {
    fn parse<'l, 'a>(
        &self,
        line: &'l str,
        labels: &mut LineLabels<'a>,
        hints: &Hints,
        keep: impl Fn(&'l str) -> Cow<'a, str> + Copy,
    ) {
        let mut decoder = Decoder { line, at: 0 };
        loop {
            match decoder.next() {
                Item::End => return,
                Item::Bad(error) if self.strict => {
                    return labels.set_parse_error(fault::LOGFMT, Some(error), hints);
                }
                Item::Bad(_) => {}
                Item::Pair(key, value) => {
                    let name = sanitized_part(key, keep);
                    labels.extract(name, hints, || {
                        let value = clean(value, keep);
                        (self.keep_empty || !value.is_empty()).then_some(value)
                    });
                    if hints.has_all(labels) {
                        return;
                    }
                }
            }
        }
    }
}

fn clean<'l, 'a>(value: Cow<'l, str>, keep: impl Fn(&'l str) -> Cow<'a, str>) -> Cow<'a, str> {
    match (without_replacement_char(&value), value) {
        (Some(cleaned), _) => Cow::Owned(cleaned),
        (None, Cow::Borrowed(value)) => keep(value),
        (None, Cow::Owned(value)) => Cow::Owned(value),
    }
}

/// Extracts the keys named.
#[derive(Debug)]
pub(super) struct LogfmtFields {
    /// Labels and the keys they come from.
    fields: Vec<(String, String)>,
    strict: bool,
}

impl LogfmtFields {
    pub(super) fn new(fields: &[Extraction], strict: bool) -> Result<Self, String> {
        let mut known: Vec<(String, String)> = Vec::new();
        for field in fields {
            let key = key_of(&field.expression)
                .map_err(|error| format!("cannot parse expression [{}]: {error}", field.expression))?;
            match known.iter_mut().find(|(label, _)| *label == field.label) {
                Some(pair) => pair.1 = key,
                None => known.push((field.label.clone(), key)),
            }
        }
        Ok(Self { fields: known, strict })
    }
}

/// The key in an expression: a plain name or a quoted text.
fn key_of(expression: &str) -> Result<String, String> {
    let trimmed = expression.trim();
    if let Some(quoted) = trimmed.strip_prefix('"') {
        return Ok(quoted.split(['"', ']']).next().unwrap_or("").to_owned());
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !trimmed.starts_with(|c: char| plain(c) && !c.is_ascii_digit()) {
        return Err("syntax error: unexpected $end, expecting STRING or KEY".to_owned());
    }
    match trimmed.chars().find(|c| !plain(*c)) {
        Some(' ' | '\t' | '\n') => Err("syntax error: unexpected KEY".to_owned()),
        Some(c) => Err(format!("unexpected char {c}")),
        None => Ok(trimmed.to_owned()),
    }
}

impl LineParser for LogfmtFields {
    fn parse<'l, 'a>(
        &self,
        line: &'l str,
        labels: &mut LineLabels<'a>,
        hints: &Hints,
        keep: impl Fn(&'l str) -> Cow<'a, str> + Copy,
    ) {
        for (label, _) in self.fields.iter().filter(|(label, _)| !labels.is_taken(label)).collect::<Vec<_>>()
        {
            labels.set(Category::Parsed, Cow::Owned(label.clone()), Cow::Borrowed(""));
        }
        let mut decoder = Decoder { line, at: 0 };
        loop {
            match decoder.next() {
                Item::End => return,
                Item::Bad(error) if self.strict => {
                    return labels.set_parse_error(fault::LOGFMT, Some(error), hints);
                }
                Item::Bad(_) => {}
                Item::Pair(key, value) => {
                    if !self.store(&sanitized(key), value, labels, hints, keep) {
                        return;
                    }
                }
            }
        }
    }
}

impl LogfmtFields {
    /// Sets the label that wants this key; false when nothing more is wanted from the line.
    fn store<'l, 'a>(
        &self,
        key: &str,
        value: Cow<'l, str>,
        labels: &mut LineLabels<'a>,
        hints: &Hints,
        keep: impl Fn(&'l str) -> Cow<'a, str> + Copy,
    ) -> bool {
        let renamed = self.fields.iter().find(|(_, from)| from == key);
        let same = || self.fields.iter().find(|(label, _)| label == key);
        let Some((label, _)) = renamed.or_else(same) else { return true };
        let mut name = label.clone();
        if labels.is_taken(&name) {
            name.push_str(super::hints::EXTRACTED);
            if labels.was_extracted(&name) || !hints.wants(&name) {
                return false;
            }
        }
        let broken = value.contains(char::REPLACEMENT_CHARACTER);
        let value = match value {
            _ if broken => Cow::Borrowed(""),
            Cow::Borrowed(value) => keep(value),
            Cow::Owned(value) => Cow::Owned(value),
        };
        labels.set(Category::Parsed, Cow::Owned(name), value);
        // The labels were all set to empty text in the beginning, so "has all" cannot tell here.
        true
    }
}

/// What comes next in a line.
#[derive(Debug, PartialEq)]
enum Item<'l> {
    /// A key and its value; empty when it has none.
    Pair(&'l str, Cow<'l, str>),
    /// Why what stands there is no pair.
    Bad(String),
    /// Nothing.
    End,
}

struct Decoder<'l> {
    line: &'l str,
    at: usize,
}

fn is_space(byte: u8) -> bool {
    byte <= b' '
}

impl<'l> Decoder<'l> {
    fn byte(&self) -> Option<u8> {
        self.line.as_bytes().get(self.at).copied()
    }

    fn skip_while(&mut self, test: impl Fn(u8) -> bool) {
        let rest = self.line.as_bytes().get(self.at..).unwrap_or(&[]);
        self.at += rest.iter().take_while(|b| test(**b)).count();
    }

    fn part(&self, start: usize, end: usize) -> &'l str {
        self.line.get(start..end).unwrap_or("")
    }

    fn error(&self, message: &str) -> Item<'l> {
        Item::Bad(format!("logfmt syntax error at pos {} : {message}", self.at + 1))
    }

    /// An unexpected byte; reading goes on behind the next space.
    fn unexpected(&mut self, byte: u8) -> Item<'l> {
        let error = self.error(&format!("unexpected '{}'", byte as char));
        self.skip_while(|b| !is_space(b));
        error
    }

    fn next(&mut self) -> Item<'l> {
        self.skip_while(is_space);
        let start = self.at;
        self.skip_while(|b| !is_space(b) && b != b'=' && b != b'"');
        let key = self.part(start, self.at);
        match self.byte() {
            None if key.is_empty() => return Item::End,
            Some(byte @ b'"') => return self.unexpected(byte),
            Some(byte @ b'=') if key.is_empty() => return self.unexpected(byte),
            _ => {}
        }
        if key.contains(char::REPLACEMENT_CHARACTER) {
            let error = self.error("invalid key");
            if self.byte() == Some(b'=') {
                self.skip_while(|b| !is_space(b));
            }
            return error;
        }
        if self.byte() != Some(b'=') {
            return Item::Pair(key, Cow::Borrowed(""));
        }
        self.at += 1;
        match self.byte() {
            Some(b'"') => self.quoted(key),
            _ => self.bare(key),
        }
    }

    fn bare(&mut self, key: &'l str) -> Item<'l> {
        let start = self.at;
        self.skip_while(|b| !is_space(b) && b != b'=' && b != b'"');
        match self.byte() {
            Some(byte @ (b'=' | b'"')) => self.unexpected(byte),
            _ => Item::Pair(key, Cow::Borrowed(self.part(start, self.at))),
        }
    }

    fn quoted(&mut self, key: &'l str) -> Item<'l> {
        let start = self.at + 1;
        let (mut escaped, mut has_escape) = (false, false);
        let body = self.line.as_bytes().get(start..).unwrap_or(&[]);
        let end = body.iter().position(|byte| {
            let closes = *byte == b'"' && !escaped;
            escaped = *byte == b'\\' && !escaped;
            has_escape |= escaped;
            closes
        });
        let Some(end) = end.map(|end| start + end) else {
            self.at = self.line.len();
            return self.error("unterminated quoted value");
        };
        self.at = end + 1;
        let raw = self.part(start, end);
        if !has_escape {
            return Item::Pair(key, Cow::Borrowed(raw));
        }
        match unescape_json(raw) {
            Some(value) => Item::Pair(key, value),
            None => self.error("invalid quoted value"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expect: &[&str]) {
        let (mut decoder, mut found) = (Decoder { line, at: 0 }, Vec::new());
        loop {
            match decoder.next() {
                Item::End => break,
                Item::Pair(key, value) => found.push(format!("{key}={value}")),
                Item::Bad(error) => found.push(error),
            }
        }
        assert_eq!(found, expect, "{line}");
    }

    #[test]
    fn pairs_and_errors() {
        check("a=1 b=\"x y\" c", &["a=1", "b=x y", "c="]);
        check("  a=  b=\"\\\"q\\\"\\n\"", &["a=", "b=\"q\"\n"]);
        check("foobar====wqe=sdad1r", &["logfmt syntax error at pos 8 : unexpected '='"]);
        check("a=\"open", &["logfmt syntax error at pos 8 : unterminated quoted value"]);
        check("=x y=2", &["logfmt syntax error at pos 1 : unexpected '='", "y=2"]);
        check("", &[]);
    }

    #[test]
    fn keys_of_expressions() {
        assert_eq!(key_of(" app "), Ok("app".to_owned()));
        assert_eq!(key_of("\"a b\""), Ok("a b".to_owned()));
        assert!(key_of("").is_err() && key_of("a b").is_err() && key_of("a.b").is_err());
    }
}
