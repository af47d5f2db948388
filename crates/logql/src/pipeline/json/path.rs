//! `json name="path"`: expressions such as `request.headers["User-Agent"]` or `servers[0].host`.

use std::borrow::Cow;

use super::scan::{Kind, each_element, each_field, skip_space};
use super::{DEPTH_MAX, value_text};
use crate::pipeline::{Category, Hints, LineLabels, LineParser, fault};
use crate::syntax::ast::Extraction;
use kenning_gotext::quote::unescape_json;

/// A step into a value.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Key(String),
    Index(usize),
}

/// Extracts the fields that expressions point at.
#[derive(Debug)]
pub(in super::super) struct JsonPaths {
    fields: Vec<(String, Vec<Part>)>,
}

impl JsonPaths {
    pub(in super::super) fn new(fields: &[Extraction]) -> Result<Self, String> {
        let read = |field: &Extraction| {
            let path = parse(&field.expression)
                .map_err(|error| format!("cannot parse expression [{}]: {error}", field.expression))?;
            Ok((field.label.clone(), path))
        };
        Ok(Self { fields: fields.iter().map(read).collect::<Result<_, String>>()? })
    }
}

impl LineParser for JsonPaths {
    fn parse<'l, 'a>(
        &self,
        line: &'l str,
        labels: &mut LineLabels<'a>,
        hints: &Hints,
        keep: impl Fn(&'l str) -> Cow<'a, str> + Copy,
    ) {
        if line.is_empty() {
            return;
        }
        if !line.starts_with(['"', '{', '[']) {
            return labels.set_parse_error(fault::JSON, None, hints);
        }
        let mut found: Vec<Option<(Kind, &str)>> = vec![None; self.fields.len()];
        let wanted: Vec<usize> = (0..self.fields.len()).collect();
        let start = line.get(skip_space(line, 0)..).unwrap_or("");
        // The outermost object need not be closed: what stands before the break counts.
        let kind = if start.starts_with('{') { Kind::Object } else { Kind::Array };
        if !start.starts_with('"') {
            self.walk(kind, start, &wanted, 0, &mut found);
        }
        for ((label, _), hit) in self.fields.iter().zip(&found) {
            if let Some((kind, raw)) = hit {
                self.store(label, *kind, raw, labels, keep);
            }
        }
        for (label, _) in
            self.fields.iter().zip(&found).filter(|(_, hit)| hit.is_none()).map(|(field, _)| field)
        {
            if labels.get(label).is_none() {
                labels.set(Category::Parsed, Cow::Owned(label.clone()), Cow::Borrowed(""));
            }
        }
    }
}

impl JsonPaths {
    /// Goes down one step with the fields whose paths lead here; broken text ends the search below it.
    fn walk<'l>(
        &self,
        kind: Kind,
        raw: &'l str,
        wanted: &[usize],
        depth: usize,
        found: &mut Vec<Option<(Kind, &'l str)>>,
    ) {
        let mut deeper = Vec::new();
        for index in wanted {
            let Some((_, path)) = self.fields.get(*index) else { continue };
            match (path.len() == depth, found.get_mut(*index)) {
                (true, Some(slot @ None)) => *slot = Some((kind, raw)),
                (false, _) => deeper.push(*index),
                _ => {}
            }
        }
        if deeper.is_empty() || depth >= DEPTH_MAX {
            return;
        }
        let at = |index: &usize| self.fields.get(*index).and_then(|(_, path)| path.get(depth));
        match kind {
            Kind::Object => {
                let _ = each_field(raw, &mut |key, kind, raw| {
                    let next: Vec<usize> = deeper
                        .iter()
                        .copied()
                        .filter(|i| matches!(at(i), Some(Part::Key(k)) if *k == key))
                        .collect();
                    if !next.is_empty() {
                        self.walk(kind, raw, &next, depth + 1, found);
                    }
                    Ok(true)
                });
            }
            Kind::Array => {
                let _ = each_element(raw, &mut |element, kind, raw| {
                    let next: Vec<usize> =
                        deeper.iter().copied().filter(|i| at(i) == Some(&Part::Index(element))).collect();
                    if !next.is_empty() {
                        self.walk(kind, raw, &next, depth + 1, found);
                    }
                    true
                });
            }
            _ => {}
        }
    }

    fn store<'l, 'a>(
        &self,
        label: &str,
        kind: Kind,
        raw: &'l str,
        labels: &mut LineLabels<'a>,
        keep: impl Fn(&'l str) -> Cow<'a, str>,
    ) {
        let mut name = label.to_owned();
        if labels.is_taken(&name) {
            name.push_str(crate::pipeline::hints::EXTRACTED);
        }
        let text = match kind {
            Kind::Null => Cow::Borrowed(""),
            // Loki unescapes everything but objects, so quotes inside arrays lose their backslashes.
            Kind::Array => Cow::Owned(unescape_json(raw).unwrap_or_default().into_owned()),
            _ => value_text(kind, raw, keep),
        };
        labels.set(Category::Parsed, Cow::Owned(name), text);
    }
}

/// The tokens of a path, by the names Loki's error texts give them.
#[derive(Clone, Debug, PartialEq)]
enum Token {
    Dot,
    Open,
    Close,
    Text(String),
    Field(String),
    Index(usize),
    End,
}

impl Token {
    fn name(&self) -> &'static str {
        match self {
            Self::Dot => "DOT",
            Self::Open => "LSB",
            Self::Close => "RSB",
            Self::Text(_) => "STRING",
            Self::Field(_) => "FIELD",
            Self::Index(_) => "INDEX",
            Self::End => "$end",
        }
    }
}

fn unexpected<T>(token: &Token, expected: &str) -> Result<T, String> {
    Err(format!("syntax error: unexpected {}{expected}", token.name()))
}

/// Reads a path. What cannot be a token ends the text, so its own error shows only where the path may end.
fn parse(text: &str) -> Result<Vec<Part>, String> {
    let mut tokens = Vec::new();
    let mistake = tokenize(text, &mut tokens).err();
    let path = path_of_tokens(&tokens)?;
    mistake.map_or(Ok(path), Err)
}

fn path_of_tokens(tokens: &[Token]) -> Result<Vec<Part>, String> {
    let mut tokens = tokens.iter();
    let mut next = || tokens.next().unwrap_or(&Token::End);
    let mut path = Vec::new();
    loop {
        match (next(), path.is_empty()) {
            (Token::Field(name), true) => path.push(Part::Key(name.clone())),
            (Token::Dot, false) => match next() {
                Token::Field(name) => path.push(Part::Key(name.clone())),
                other => return unexpected(other, ", expecting FIELD"),
            },
            (Token::Open, _) => {
                path.push(match next() {
                    Token::Text(name) => Part::Key(name.clone()),
                    Token::Index(index) => Part::Index(*index),
                    other => return unexpected(other, ", expecting STRING or INDEX"),
                });
                match next() {
                    Token::Close => {}
                    other => return unexpected(other, ", expecting RSB"),
                }
            }
            (Token::End, false) => return Ok(path),
            (other, true) => return unexpected(other, ", expecting LSB or FIELD"),
            (other, false) => return unexpected(other, ""),
        }
    }
}

fn tokenize(text: &str, out: &mut Vec<Token>) -> Result<(), String> {
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let tail = rest.get(c.len_utf8()..).unwrap_or("");
        let word = |test: fn(char) -> bool| rest.split_at(rest.find(|c| !test(c)).unwrap_or(rest.len()));
        let (token, after) = match c {
            ' ' | '\t' | '\n' => {
                rest = tail;
                continue;
            }
            '.' => (Token::Dot, tail),
            '[' => (Token::Open, tail),
            ']' => (Token::Close, tail),
            '"' => {
                // A bracket ends a text too, as in Loki.
                let end = tail.find(['"', ']']).unwrap_or(tail.len());
                (Token::Text(tail.get(..end).unwrap_or("").to_owned()), tail.get(end + 1..).unwrap_or(""))
            }
            '0'..='9' => {
                let (digits, after) = word(|c| c.is_ascii_digit());
                if after.starts_with('.') {
                    return Err("cannot use float as array index".to_owned());
                }
                if let Some(bad) = after.chars().next().filter(|c| !matches!(c, ']' | ' ' | '\t' | '\n')) {
                    return Err(format!("non-integer value: {bad}"));
                }
                (Token::Index(digits.parse().map_err(|_| format!("value out of range: {digits}"))?), after)
            }
            c if c.is_ascii_alphabetic() || c == '_' => {
                let (name, after) = word(|c| c.is_ascii_alphanumeric() || c == '_');
                (Token::Field(name.to_owned()), after)
            }
            c => return Err(format!("unexpected char {c}")),
        };
        out.push(token);
        rest = after;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &[&str]) {
        let parts = parse(text).map(|path| {
            path.iter()
                .map(|part| match part {
                    Part::Key(key) => key.clone(),
                    Part::Index(index) => format!("[{index}]"),
                })
                .collect::<Vec<_>>()
        });
        match parts {
            Ok(parts) => assert_eq!(parts, expect, "{text}"),
            Err(error) => assert_eq!([error.as_str()], expect, "{text}"),
        }
    }

    #[test]
    fn paths() {
        check("app", &["app"]);
        check("a.b[0][\"c d\"].e", &["a", "b", "[0]", "c d", "e"]);
        check("[\"x\"]", &["x"]);
        check("user[", &["syntax error: unexpected $end, expecting STRING or INDEX"]);
        check("field with space", &["syntax error: unexpected FIELD"]);
        check("[\"pod\"\"uuid\"]", &["syntax error: unexpected STRING, expecting RSB"]);
        check("a[1.5]", &["syntax error: unexpected $end, expecting STRING or INDEX"]);
        check("", &["syntax error: unexpected $end, expecting LSB or FIELD"]);
        check("a-", &["unexpected char -"]);
        check("-", &["syntax error: unexpected $end, expecting LSB or FIELD"]);
        check("a[\"x", &["syntax error: unexpected $end, expecting RSB"]);
        check("a..b", &["syntax error: unexpected DOT, expecting FIELD"]);
    }
}
