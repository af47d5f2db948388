//! A record while stages work on it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use kenning_model::{LabelSet, LogRow, Nanos, Severity, SpanId, TraceId};

/// Fields that one record may have extracted; later ones are left out.
const EXTRACTED_MAX: usize = 1024;

/// A value that a stage extracted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// There, without a value: a JSON null, or an expression that found nothing.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number, exact.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A text.
    Text(String),
}

impl Value {
    /// Lists and objects become their JSON.
    pub fn of_json(json: &serde_json::Value) -> Self {
        use serde_json::Value as Json;
        match json {
            Json::Null => Self::Null,
            Json::Bool(flag) => Self::Bool(*flag),
            Json::Number(number) => match number.as_i64() {
                Some(number) => Self::Int(number),
                None => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Self::Text(text.clone()),
            Json::Array(_) | Json::Object(_) => Self::Text(json.to_string()),
        }
    }

    /// As a text; nothing is none.
    pub fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Null => None,
            Self::Bool(flag) => Some(Cow::Borrowed(if *flag { "true" } else { "false" })),
            Self::Int(number) => Some(Cow::Owned(number.to_string())),
            Self::Float(number) => Some(Cow::Owned(number.to_string())),
            Self::Text(text) => Some(Cow::Borrowed(text)),
        }
    }

    /// As a number: texts may be numbers or durations (in seconds), truth is one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Null => None,
            Self::Bool(flag) => Some(f64::from(u8::from(*flag))),
            Self::Int(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            Self::Text(text) => text.parse().ok().or_else(|| {
                let nanos = kenning_gotext::duration::parse_go(text).ok()?;
                Some(nanos as f64 / 1e9)
            }),
        }
    }
}

/// What stages extracted, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extracted(BTreeMap<String, Value>);

impl Extracted {
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The text of a field that has one.
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.get(name)?.text()
    }

    pub fn set(&mut self, name: &str, value: Value) {
        if let Some(known) = self.0.get_mut(name) {
            *known = value;
        } else if self.0.len() < EXTRACTED_MAX {
            self.0.insert(name.to_owned(), value);
        }
    }

    pub fn set_text(&mut self, name: &str, text: impl Into<String>) {
        self.set(name, Value::Text(text.into()));
    }

    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Every field that has a text.
    pub fn texts(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        self.0.iter().filter_map(|(name, value)| Some((name.as_str(), value.text()?)))
    }
}

/// A set of names and values that is shared until it is changed.
#[derive(Clone, Debug)]
pub(crate) struct Pairs {
    set: LabelSet,
    changed: Option<BTreeMap<String, String>>,
}

impl Pairs {
    pub fn new(set: &LabelSet) -> Self {
        Self { set: set.clone(), changed: None }
    }

    /// The value of a name; empty when absent.
    pub fn get(&self, name: &str) -> &str {
        match &self.changed {
            Some(changed) => changed.get(name).map_or("", String::as_str),
            None => self.set.get(name),
        }
    }

    /// Sets a value; an empty one removes the name.
    pub fn set(&mut self, name: &str, value: &str) {
        if self.get(name) == value {
            return;
        }
        let changed = self.changing();
        match value {
            "" => drop(changed.remove(name)),
            value => drop(changed.insert(name.to_owned(), value.to_owned())),
        }
    }

    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        if self.iter().any(|(name, _)| !keep(name)) {
            self.changing().retain(|name, _| keep(name));
        }
    }

    fn changing(&mut self) -> &mut BTreeMap<String, String> {
        let set = &self.set;
        let copied = || set.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        self.changed.get_or_insert_with(copied)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let changed = self.changed.iter().flatten().map(|(name, value)| (name.as_str(), value.as_str()));
        let own = self.changed.is_none().then(|| self.set.iter());
        changed.chain(own.into_iter().flatten())
    }

    /// As a set.
    pub fn to_set(&self) -> LabelSet {
        match &self.changed {
            Some(changed) => LabelSet::from_pairs(changed),
            None => self.set.clone(),
        }
    }
}

/// A record.
#[derive(Clone, Debug)]
pub(crate) struct Entry<'a> {
    pub time: Nanos,
    pub line: Cow<'a, str>,
    pub labels: Pairs,
    pub metadata: Pairs,
    pub extracted: Extracted,
    pub severity: Severity,
    pub trace_id: TraceId,
    pub span_id: SpanId,
}

impl<'a> Entry<'a> {
    pub fn new(row: &LogRow<'a>) -> Self {
        Self {
            time: row.time,
            line: Cow::Borrowed(row.line),
            labels: Pairs::new(row.stream),
            metadata: Pairs::new(row.metadata),
            extracted: Extracted::default(),
            severity: row.severity,
            trace_id: row.trace_id,
            span_id: row.span_id,
        }
    }

    /// The text that a stage works on: that of a field, or the line.
    pub fn input(&self, source: Option<&str>) -> Option<Cow<'_, str>> {
        match source {
            Some(source) => self.extracted.text(source),
            None => Some(Cow::Borrowed(&self.line)),
        }
    }

    /// Makes the labels extracted fields, as a pipeline begins.
    pub fn extract_labels(&mut self) {
        for (name, value) in self.labels.iter() {
            self.extracted.set_text(name, value);
        }
    }
}
