//! Reading mappings of YAML: fields by name, every mistake at once, each with its place and what to do about it.

use std::time::Duration;

use kenning_gotext::duration;
use kenning_regex::Limits;
use kenning_yaml::{Content, Mark, Node, Tag};
use regex::Regex;

/// Mistakes that are told.
const PROBLEMS_MAX: usize = 100;

/// What was found while reading.
#[derive(Debug, Default)]
pub struct Report {
    /// Mistakes: nothing works before they are mended.
    pub problems: Vec<String>,
    /// What is left aside and why; everything else works.
    pub notes: Vec<String>,
    /// Fields that nobody knows are told and left aside, as Promtail does, instead of being mistakes.
    pub lenient: bool,
}

impl Report {
    /// Notes a mistake at a place.
    pub fn wrong(&mut self, at: &str, node: &Node, problem: impl std::fmt::Display) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(place(at, node.mark, problem));
        }
    }

    /// Notes something that is left aside.
    pub fn note(&mut self, at: &str, node: &Node, note: impl std::fmt::Display) {
        if self.notes.len() < PROBLEMS_MAX {
            self.notes.push(place(at, node.mark, note));
        }
    }
}

fn place(at: &str, mark: Mark, text: impl std::fmt::Display) -> String {
    match mark.line {
        0 => format!("{at}: {text}"),
        line => format!("{at} (line {line}): {text}"),
    }
}

/// The tree of a JSON value, without places.
#[must_use]
pub fn node_of(value: &serde_json::Value) -> Node {
    use serde_json::Value;
    let scalar = |tag, text: String| (tag, Content::Scalar(text));
    let (tag, content) = match value {
        Value::Null => scalar(Tag::Null, String::new()),
        Value::Bool(flag) => scalar(Tag::Bool, flag.to_string()),
        Value::Number(number) if number.is_f64() => scalar(Tag::Float, number.to_string()),
        Value::Number(number) => scalar(Tag::Int, number.to_string()),
        Value::String(text) => scalar(Tag::Str, text.clone()),
        Value::Array(items) => (Tag::Seq, Content::Sequence(items.iter().map(node_of).collect())),
        Value::Object(map) => {
            let key = |name: &String| node_of(&Value::String(name.clone()));
            let pairs = map.iter().map(|(name, value)| (key(name), node_of(value)));
            (Tag::Map, Content::Mapping(pairs.collect()))
        }
    };
    Node { mark: Mark::default(), tag, plain: false, content }
}

/// The pairs of a mapping, merged ones behind its own; none for anything else.
pub(crate) fn pairs(node: &Node) -> Vec<(&str, &Node)> {
    let Content::Mapping(all) = &node.content else { return Vec::new() };
    let mut found: Vec<(&str, &Node)> = Vec::with_capacity(all.len());
    let is_merge = |key: &Node| key.tag == Tag::Merge;
    found.extend(all.iter().filter(|(key, _)| !is_merge(key)).map(|(key, value)| (key.text(), value)));
    for (_, merged) in all.iter().filter(|(key, _)| is_merge(key)) {
        let sources: Vec<&Node> = match &merged.content {
            Content::Sequence(items) => items.iter().collect(),
            _ => vec![merged],
        };
        for (key, value) in sources.into_iter().flat_map(pairs_of_one) {
            if !found.iter().any(|(known, _)| *known == key) {
                found.push((key, value));
            }
        }
    }
    found
}

fn pairs_of_one(node: &Node) -> Vec<(&str, &Node)> {
    match &node.content {
        Content::Mapping(all) => all.iter().map(|(key, value)| (key.text(), value)).collect(),
        _ => Vec::new(),
    }
}

/// A mapping that is being read.
pub(crate) struct Fields<'n, 'r> {
    pub at: String,
    pub node: &'n Node,
    entries: Vec<(&'n str, &'n Node)>,
    known: Vec<&'static str>,
    pub report: &'r mut Report,
}

impl<'n, 'r> Fields<'n, 'r> {
    /// Opens a mapping; nothing is an empty one, anything else is a mistake.
    pub fn open(at: impl Into<String>, node: &'n Node, report: &'r mut Report) -> Self {
        let at = at.into();
        if !matches!(node.content, Content::Mapping(_)) && !node.is_null() {
            report.wrong(&at, node, "must be a mapping of fields to values");
        }
        Self { at, node, entries: pairs(node), known: Vec::new(), report }
    }

    /// A field's value, unless it is absent or null.
    pub fn get(&mut self, name: &'static str) -> Option<&'n Node> {
        self.known.push(name);
        let found = self.entries.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?.1;
        (!found.is_null()).then_some(found)
    }

    pub fn path(&self, name: &str) -> String {
        format!("{}.{name}", self.at)
    }

    pub fn wrong(&mut self, name: &str, problem: impl std::fmt::Display) {
        let at = if name.is_empty() { self.at.clone() } else { self.path(name) };
        let found = self.entries.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        self.report.wrong(&at, found.map_or(self.node, |(_, node)| node), problem);
    }

    /// A text; any scalar is one.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        let node = self.get(name)?;
        match &node.content {
            Content::Scalar(text) => Some(text.clone()),
            _ => {
                self.wrong(name, "must be a text");
                None
            }
        }
    }

    /// A text that must be there and hold something.
    pub fn required(&mut self, name: &'static str, what: &str) -> String {
        let text = self.text(name).unwrap_or_default();
        if text.is_empty() {
            self.wrong(name, format!("is missing; {what}"));
        }
        text
    }

    /// A text that may be absent but not empty.
    pub fn source(&mut self) -> Option<String> {
        let text = self.text("source")?;
        if text.is_empty() {
            self.wrong("source", "is empty; name an extracted field, or leave it out to use the line");
        }
        Some(text)
    }

    pub fn flag(&mut self, name: &'static str) -> Option<bool> {
        let text = self.text(name)?;
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Some(true),
            "false" | "no" | "off" | "0" => Some(false),
            _ => {
                self.wrong(name, format!("{text:?} must be true or false"));
                None
            }
        }
    }

    pub fn number(&mut self, name: &'static str) -> Option<f64> {
        let text = self.text(name)?;
        match text.parse::<f64>().ok().filter(|number| number.is_finite()) {
            Some(number) => Some(number),
            None => {
                self.wrong(name, format!("{text:?} must be a number"));
                None
            }
        }
    }

    pub fn count(&mut self, name: &'static str) -> Option<u64> {
        let text = self.text(name)?;
        match text.parse::<u64>() {
            Ok(number) => Some(number),
            Err(_) => {
                self.wrong(name, format!("{text:?} must be a whole number"));
                None
            }
        }
    }

    /// A duration as Go writes it, or with days: `1h30m`, `7d`.
    pub fn duration(&mut self, name: &'static str) -> Option<Duration> {
        let text = self.text(name)?;
        let nanos = duration::parse_go(&text).or_else(|_| duration::parse_prometheus(&text));
        match nanos.ok().and_then(|nanos| u64::try_from(nanos).ok()) {
            Some(nanos) => Some(Duration::from_nanos(nanos)),
            None => {
                self.wrong(name, format!("{text:?} must be a duration such as 24h or 500ms"));
                None
            }
        }
    }

    /// Bytes: a number, or one with a unit of 1024 to the power of something (`8kb`, `1MB`).
    pub fn size(&mut self, name: &'static str) -> Option<u64> {
        let text = self.text(name)?;
        let size = parse_size(&text);
        if size.is_none() {
            self.wrong(name, format!("{text:?} must be a size such as 8kb or 1MB"));
        }
        size
    }

    pub fn regex(&mut self, name: &'static str) -> Option<Regex> {
        let text = self.text(name)?;
        compile(&text).map_err(|problem| self.wrong(name, problem)).ok()
    }

    /// A list of texts, or one text.
    pub fn texts(&mut self, name: &'static str) -> Option<Vec<String>> {
        let node = self.get(name)?;
        let list = texts(node);
        if list.is_none() {
            self.wrong(name, "must be a text or a list of texts");
        }
        list
    }

    /// Names of the user's with texts; a name without one stands for itself.
    pub fn names(&mut self, name: &'static str) -> Vec<(String, String)> {
        let Some(node) = self.get(name) else { return Vec::new() };
        names(&self.path(name), node, self.report)
    }

    /// Tells of fields that were not asked for.
    pub fn finish(self) {
        let unknown = |key: &str| !self.known.iter().any(|known| known.eq_ignore_ascii_case(key));
        let known = self.known.join(", ");
        for (key, node) in self.entries.iter().filter(|(key, _)| unknown(key)) {
            let at = format!("{}.{key}", self.at);
            match self.report.lenient {
                true => self.report.note(&at, node, "is not known and left aside"),
                false => self.report.wrong(&at, node, format!("is not known; known are {known}")),
            }
        }
    }
}

/// Compiles a regular expression of Go's dialect; the message is Go's.
pub(crate) fn compile(text: &str) -> Result<Regex, String> {
    kenning_regex::compile(text, Limits::default()).map_err(|error| error.to_string())
}

/// A list of texts; a single text is a list of one.
pub(crate) fn texts(node: &Node) -> Option<Vec<String>> {
    match &node.content {
        Content::Scalar(text) => Some(vec![text.clone()]),
        Content::Sequence(items) => {
            let texts = items.iter().map(|item| match &item.content {
                Content::Scalar(text) => Some(text.clone()),
                _ => None,
            });
            texts.collect()
        }
        Content::Mapping(_) => None,
    }
}

/// Names of the user's with texts; a name without one stands for itself.
pub(crate) fn names(at: &str, node: &Node, report: &mut Report) -> Vec<(String, String)> {
    if !matches!(node.content, Content::Mapping(_)) {
        report.wrong(at, node, "must be a mapping of names to texts");
    }
    let mut names = Vec::new();
    for (name, value) in pairs(node) {
        match &value.content {
            Content::Scalar(text) if text.is_empty() || value.is_null() => {
                names.push((name.to_owned(), name.to_owned()));
            }
            Content::Scalar(text) => names.push((name.to_owned(), text.clone())),
            _ => report.wrong(&format!("{at}.{name}"), value, "must be a text"),
        }
    }
    names
}

fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let power = match unit.trim().trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1024u64.checked_pow(power)?)
}

/// What names of labels look like. Definition: Prometheus, before UTF-8 names.
pub(crate) fn is_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, expect) in
            [("8kb", Some(8192)), ("10", Some(10)), ("1 MiB", Some(1 << 20)), ("x", None), ("1q", None)]
        {
            assert_eq!(parse_size(text), expect, "{text}");
        }
    }

    #[test]
    fn label_names() {
        for (name, expect) in [("a_1", true), ("_", true), ("1a", false), ("", false), ("a.b", false)] {
            assert_eq!(is_label_name(name), expect, "{name}");
        }
    }
}
