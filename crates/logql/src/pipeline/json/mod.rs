//! `json`: every scalar field becomes a label, nested names joined by underscores; with expressions only the fields
//! they point at.
//!
//! Reading is lenient in the way of Loki's parser (buger/jsonparser): fields in front of a broken place count, values
//! are not validated, arrays are skipped.

mod path;
mod scan;

use std::borrow::Cow;

use super::labels::{sanitized_part, without_replacement_char};
use super::{Hints, LineLabels, LineParser, fault};
use kenning_gotext::quote::unescape_json;

pub(super) use path::JsonPaths;
pub(super) use scan::{Kind, each_field};

/// Deepest nesting that is looked into.
const DEPTH_MAX: usize = 128;

/// Extracts every field.
pub(super) struct Json;

impl LineParser for Json {
    fn parse<'l, 'a>(
        &self,
        line: &'l str,
        labels: &mut LineLabels<'a>,
        hints: &Hints,
        keep: impl Fn(&'l str) -> Cow<'a, str> + Copy,
    ) {
        let mut walk = Walk { labels, hints, keep, prefix: String::new() };
        if let Err(error) = walk.object(line, 0) {
            labels.set_parse_error(fault::JSON, Some(error), hints);
        }
    }
}

struct Walk<'w, 'a, F> {
    labels: &'w mut LineLabels<'a>,
    hints: &'w Hints,
    keep: F,
    /// Names of the objects around, joined.
    prefix: String,
}

impl<'a, F> Walk<'_, 'a, F> {
    /// Whether to go on, or what is wrong with the text.
    fn object<'l>(&mut self, text: &'l str, depth: usize) -> Result<bool, String>
    where
        F: Fn(&'l str) -> Cow<'a, str> + Copy,
    {
        if depth > DEPTH_MAX {
            return Err(format!("nested more than {DEPTH_MAX} levels deep"));
        }
        each_field(text, &mut |key, kind, raw| match kind {
            Kind::Object => self.nested(&key, raw, depth),
            Kind::String | Kind::Number | Kind::Bool => {
                self.scalar(key, kind, raw);
                Ok(!self.hints.has_all(self.labels))
            }
            Kind::Null | Kind::Array => Ok(!self.hints.has_all(self.labels)),
        })
    }

    fn nested<'l>(&mut self, key: &str, raw: &'l str, depth: usize) -> Result<bool, String>
    where
        F: Fn(&'l str) -> Cow<'a, str> + Copy,
    {
        let outer = self.prefix.len();
        push_name(&mut self.prefix, key);
        let result =
            if self.hints.wants_prefix(&self.prefix) { self.object(raw, depth + 1) } else { Ok(true) };
        self.prefix.truncate(outer);
        result
    }

    fn scalar<'l>(&mut self, key: Cow<'l, str>, kind: Kind, raw: &'l str)
    where
        F: Fn(&'l str) -> Cow<'a, str> + Copy,
    {
        let name = if self.prefix.is_empty() {
            match key {
                Cow::Borrowed(key) => sanitized_part(key, self.keep),
                Cow::Owned(key) => Cow::Owned(super::labels::sanitized(&key).into_owned()),
            }
        } else {
            let mut name = self.prefix.clone();
            push_name(&mut name, &key);
            Cow::Owned(name)
        };
        let keep = self.keep;
        self.labels.extract(name, self.hints, || Some(value_text(kind, raw, keep)));
    }
}

/// The names on the way to the field that becomes the label `label`; empty when there is none.
pub(crate) fn path_of(label: &str, line: &str) -> Vec<String> {
    let plain = label.strip_suffix(super::EXTRACTED).unwrap_or(label);
    let mut search = Search { label, plain, path: Vec::new(), found: Vec::new() };
    // A line that breaks off has the fields in front of the break.
    let _ = search.object(line, "", 0);
    search.found
}

struct Search<'s> {
    label: &'s str,
    /// The label without the suffix that a stream label of its name gives it.
    plain: &'s str,
    path: Vec<String>,
    found: Vec<String>,
}

impl Search<'_> {
    fn object(&mut self, text: &str, prefix: &str, depth: usize) -> Result<bool, String> {
        if depth > DEPTH_MAX {
            return Ok(false);
        }
        each_field(text, &mut |key, kind, raw| {
            let mut name = prefix.to_owned();
            push_name(&mut name, &key);
            if kind == Kind::Object {
                self.path.push(key.into_owned());
                let inner = self.object(raw, &name, depth + 1);
                self.path.pop();
                inner?;
            } else if kind != Kind::Array && (name == self.label || name == self.plain) {
                self.found = self.path.iter().cloned().chain([key.into_owned()]).collect();
            }
            Ok(self.found.is_empty())
        })
    }
}

/// Appends a field's name to those of the objects around it.
fn push_name(name: &mut String, key: &str) {
    let key = key.trim();
    if key.is_empty() {
        return;
    }
    if !name.is_empty() || key.starts_with(|c: char| c.is_ascii_digit()) {
        name.push('_');
    }
    name.extend(key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }));
}

/// A field's value as a label's: texts unescaped, broken ones empty.
fn value_text<'l, 'a>(kind: Kind, raw: &'l str, keep: impl Fn(&'l str) -> Cow<'a, str>) -> Cow<'a, str> {
    if kind != Kind::String {
        return keep(raw);
    }
    let text = unescape_json(raw).unwrap_or(Cow::Borrowed(""));
    match (without_replacement_char(&text), text) {
        (Some(cleaned), _) => Cow::Owned(cleaned),
        (None, Cow::Borrowed(text)) => keep(text),
        (None, Cow::Owned(text)) => Cow::Owned(text),
    }
}
