//! Reading mappings field by field: what is read is known, what is left over is a mistake, and every mistake is noted.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::time::Duration;

use crate::units;
use kenning_yaml::Tag;

use crate::yaml::{self, Content, Node, Value};

/// A mistake in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line it is on, from 1, when it is on one.
    pub line: Option<usize>,
    /// What is wrong, in the words that Prometheus uses.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// Most problems that are kept: a wrong file altogether says nothing new after these.
const PROBLEMS_MAX: usize = 100;

/// Where mistakes go.
#[derive(Debug, Default)]
pub(crate) struct Log {
    problems: RefCell<Vec<Problem>>,
    /// Sections that were read and are not acted on.
    pub unused: RefCell<Vec<String>>,
}

impl Log {
    pub fn note(&self, line: Option<usize>, message: impl Into<String>) {
        let mut problems = self.problems.borrow_mut();
        if problems.len() < PROBLEMS_MAX {
            problems.push(Problem { line, message: message.into() });
        }
    }

    pub fn problems(&self) -> usize {
        self.problems.borrow().len()
    }

    pub fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }

    /// A value of the wrong type, as Go words it.
    fn mismatch(&self, node: &Node, wanted: &str) {
        let shown = match &node.content {
            Content::Scalar(text) if text.chars().count() > 10 => {
                format!(" `{}...`", text.chars().take(7).collect::<String>())
            }
            Content::Scalar(text) => format!(" `{text}`"),
            _ => String::new(),
        };
        self.note(Some(node.mark.line), format!("cannot unmarshal {}{shown} into {wanted}", yaml::tag(node)));
    }
}

/// A mapping that is being read. Fields that are not asked for are mistakes when [`Fields::finish`] is called.
pub(crate) struct Fields<'n> {
    entries: Vec<Entry<'n>>,
    type_name: &'static str,
    log: &'n Log,
    pub line: usize,
}

struct Entry<'n> {
    key: String,
    line: usize,
    value: &'n Node,
    known: Cell<bool>,
}

impl<'n> Fields<'n> {
    /// Opens a mapping; `None`, noted, when it is something else. Null is an empty mapping.
    pub fn open(node: &'n Node, type_name: &'static str, log: &'n Log) -> Option<Self> {
        let mut fields = Self { entries: Vec::new(), type_name, log, line: node.mark.line };
        match &node.content {
            Content::Mapping(pairs) => {
                fields.add(pairs, 0);
                Some(fields)
            }
            _ if node.is_null() => Some(fields),
            _ => {
                log.mismatch(node, type_name);
                None
            }
        }
    }

    fn add(&mut self, pairs: &'n [(Node, Node)], depth: usize) {
        for (key, value) in pairs {
            let Content::Scalar(name) = &key.content else {
                self.log.mismatch(key, "string");
                continue;
            };
            if key.tag == Tag::Merge && depth < 8 {
                self.merge(value, depth + 1);
                continue;
            }
            if self.entries.iter().any(|entry| entry.key == *name) {
                if depth == 0 {
                    let message = format!("field {} already set in type {}", name, self.type_name);
                    self.log.note(Some(key.mark.line), message);
                }
                continue;
            }
            let entry = Entry { key: name.clone(), line: key.mark.line, value, known: Cell::new(false) };
            self.entries.push(entry);
        }
    }

    /// Keys of another mapping that this one lacks.
    fn merge(&mut self, value: &'n Node, depth: usize) {
        match &value.content {
            Content::Mapping(pairs) => self.add(pairs, depth),
            Content::Sequence(items) if depth < 8 => {
                items.iter().for_each(|item| self.merge(item, depth + 1))
            }
            _ => self
                .log
                .note(Some(value.mark.line), "map merge requires map or sequence of maps as the value"),
        }
    }

    pub fn log(&self) -> &'n Log {
        self.log
    }

    /// Notes a mistake of the whole mapping.
    pub fn wrong(&self, message: impl Into<String>) {
        self.log.note(Some(self.line), message);
    }

    /// The value of a field, null included.
    pub fn get(&self, name: &str) -> Option<&'n Node> {
        let entry = self.entries.iter().find(|entry| entry.key == name)?;
        entry.known.set(true);
        Some(entry.value)
    }

    /// The value of a field that is not null.
    pub fn some(&self, name: &str) -> Option<&'n Node> {
        self.get(name).filter(|node| !node.is_null())
    }

    /// True when the field is written.
    pub fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == name)
    }

    /// Everything not read so far, as names with values: maps with names of the user's.
    pub fn rest(&self) -> impl Iterator<Item = (&str, usize, &'n Node)> {
        self.entries.iter().filter(|entry| !entry.known.get()).map(|entry| {
            entry.known.set(true);
            (entry.key.as_str(), entry.line, entry.value)
        })
    }

    /// Notes the fields nobody asked for.
    pub fn finish(self) {
        for entry in self.entries.iter().filter(|entry| !entry.known.get()) {
            let message = format!("field {} not found in type {}", entry.key, self.type_name);
            self.log.note(Some(entry.line), message);
        }
    }

    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).and_then(|node| text(node, self.log))
    }

    /// The text of a field, empty when absent.
    pub fn text_or_empty(&self, name: &str) -> String {
        self.text(name).unwrap_or_default()
    }

    pub fn boolean(&self, name: &str) -> Option<bool> {
        let node = self.get(name)?;
        match scalar_value(node, self.log)? {
            Value::Null => Some(false),
            Value::Bool(value) => Some(value),
            _ => {
                self.log.mismatch(node, "bool");
                None
            }
        }
    }

    pub fn integer(&self, name: &str) -> Option<i64> {
        self.whole(name, "int").map(|value| i64::try_from(value).unwrap_or(i64::MAX))
    }

    pub fn unsigned(&self, name: &str, type_name: &'static str) -> Option<u64> {
        let value = self.whole(name, type_name)?;
        if value < 0 {
            self.log.mismatch(self.get(name)?, type_name);
        }
        u64::try_from(value).ok()
    }

    fn whole(&self, name: &str, type_name: &'static str) -> Option<i128> {
        let node = self.get(name)?;
        match scalar_value(node, self.log)? {
            Value::Null => Some(0),
            Value::Int(value) => Some(value),
            Value::Float(value) if value.fract() == 0.0 && value.abs() < 9e15 => Some(value as i128),
            _ => {
                self.log.mismatch(node, type_name);
                None
            }
        }
    }

    pub fn float(&self, name: &str) -> Option<f64> {
        let node = self.get(name)?;
        match scalar_value(node, self.log)? {
            Value::Null => Some(0.0),
            Value::Int(value) => Some(value as f64),
            Value::Float(value) => Some(value),
            _ => {
                self.log.mismatch(node, "float64");
                None
            }
        }
    }

    pub fn duration(&self, name: &str) -> Option<Duration> {
        let node = self.get(name)?;
        if node.is_null() {
            return Some(Duration::ZERO);
        }
        let parsed = units::duration(&text(node, self.log)?);
        parsed.map_err(|message| self.log.note(Some(node.mark.line), message)).ok()
    }

    /// A size in bytes.
    pub fn size(&self, name: &str) -> Option<i64> {
        let node = self.get(name)?;
        if node.is_null() {
            return Some(0);
        }
        let parsed = units::bytes(&text(node, self.log)?);
        parsed.map_err(|message| self.log.note(Some(node.mark.line), message)).ok()
    }

    pub fn texts(&self, name: &str) -> Vec<String> {
        self.items(name, "[]string").filter_map(|node| text(node, self.log)).collect()
    }

    /// The items of a list; null is an empty one, and something else is noted.
    pub fn items(&self, name: &str, type_name: &'static str) -> impl Iterator<Item = &'n Node> + use<'n> {
        let items = self.some(name).map(|node| match &node.content {
            Content::Sequence(items) => items.as_slice(),
            _ => {
                self.log.mismatch(node, type_name);
                &[]
            }
        });
        items.unwrap_or_default().iter()
    }

    /// Names and texts of a mapping with names of the user's.
    pub fn text_map(&self, name: &str) -> Vec<(String, String)> {
        let Some(fields) = self.map(name, "map[string]string") else { return Vec::new() };
        let pairs =
            fields.rest().filter_map(|(key, _, value)| Some((key.to_owned(), text(value, self.log)?)));
        pairs.collect()
    }

    /// A mapping inside this one, when it is written and not null.
    pub fn map(&self, name: &str, type_name: &'static str) -> Option<Fields<'n>> {
        Fields::open(self.some(name)?, type_name, self.log)
    }
}

/// The text of a scalar of any type, as Go assigns it to a string.
pub(crate) fn text(node: &Node, log: &Log) -> Option<String> {
    let bytes = text_bytes(node, log)?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The same as bytes: `!!binary` need not be UTF-8.
pub(crate) fn text_bytes(node: &Node, log: &Log) -> Option<Vec<u8>> {
    let Content::Scalar(text) = &node.content else {
        log.mismatch(node, "string");
        return None;
    };
    match yaml::resolve(node, text) {
        Ok(Value::Binary(bytes)) => Some(bytes),
        // The parser writes an absent value as a tilde.
        Ok(Value::Null) if text == "~" => Some(Vec::new()),
        Ok(_) => Some(text.clone().into_bytes()),
        Err(message) => {
            log.note(Some(node.mark.line), format!("yaml: {message}"));
            None
        }
    }
}

fn scalar_value(node: &Node, log: &Log) -> Option<Value> {
    match &node.content {
        Content::Scalar(text) => {
            let resolved = yaml::resolve(node, text);
            resolved.map_err(|message| log.note(Some(node.mark.line), format!("yaml: {message}"))).ok()
        }
        // What is wanted is named by the caller; a list or map is nothing that any scalar is.
        _ => Some(Value::Text),
    }
}
