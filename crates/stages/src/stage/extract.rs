//! Stages that take fields out of text: `json`, `logfmt`, `regex`.

use regex::Regex;
use serde_json::Value as Json_;

use super::Verdict;
use crate::config::Fields;
use crate::entry::{Entry, Value};
use crate::jmespath::Expression;
use crate::logfmt;

/// The reason of what `drop_malformed` drops.
const MALFORMED: &str = "malformed_json";

/// `json`
#[derive(Debug)]
pub(crate) struct Json {
    expressions: Vec<(String, Expression)>,
    source: Option<String>,
    drop_malformed: bool,
}

impl Json {
    pub fn read(fields: &mut Fields<'_, '_>) -> Self {
        let mut expressions = Vec::new();
        let written = fields.names("expressions");
        if written.is_empty() {
            fields.wrong("expressions", "is missing; name at least one field to extract");
        }
        for (name, text) in written {
            match Expression::parse(&text) {
                Ok(expression) => expressions.push((name, expression)),
                Err(problem) => fields.wrong(&format!("expressions.{name}"), problem),
            }
        }
        let source = fields.source();
        Self { expressions, source, drop_malformed: fields.flag("drop_malformed").unwrap_or(false) }
    }

    /// Fields under other names.
    pub fn fields(pairs: &[(&str, &str)]) -> Self {
        let parsed = |(name, text): &(&str, &str)| Some(((*name).to_owned(), Expression::parse(text).ok()?));
        let expressions = pairs.iter().filter_map(parsed).collect();
        Self { expressions, source: None, drop_malformed: false }
    }

    pub fn run(&self, entry: &mut Entry<'_>) -> Verdict<'_> {
        let Some(input) = entry.input(self.source.as_deref()) else { return Verdict::Keep };
        let document: Result<Json_, _> = serde_json::from_str(&input);
        match document {
            Ok(document @ (Json_::Object(_) | Json_::Null)) => {
                for (name, expression) in &self.expressions {
                    entry.extracted.set(name, Value::of_json(&expression.search(&document)));
                }
                Verdict::Keep
            }
            _ if self.drop_malformed => Verdict::Drop(MALFORMED),
            _ => Verdict::Keep,
        }
    }
}

/// `logfmt`
#[derive(Debug)]
pub(crate) struct Logfmt {
    /// Extracted name and key of the text.
    mapping: Vec<(String, String)>,
    source: Option<String>,
}

impl Logfmt {
    pub fn read(fields: &mut Fields<'_, '_>) -> Self {
        let mapping = fields.names("mapping");
        if mapping.is_empty() {
            fields.wrong("mapping", "is missing; name at least one key to extract");
        }
        Self { mapping, source: fields.source() }
    }

    pub fn run(&self, entry: &mut Entry<'_>) {
        let Some(input) = entry.input(self.source.as_deref()) else { return };
        let mut found = Vec::new();
        logfmt::each_pair(&input, |key, value| {
            // Where two names ask for one key, the last of them gets it.
            if let Some((name, _)) = self.mapping.iter().rfind(|(_, wanted)| wanted == key) {
                found.push((name, value.into_owned()));
            }
        });
        for (name, value) in found {
            entry.extracted.set_text(name, value);
        }
    }
}

/// `regex`
#[derive(Debug)]
pub(crate) struct RegexStage {
    regex: Regex,
    /// Number and name of the groups that have one.
    groups: Vec<(usize, String)>,
    source: Option<String>,
    sets_labels: bool,
}

impl RegexStage {
    pub fn read(fields: &mut Fields<'_, '_>) -> Option<Self> {
        let (source, sets_labels) = (fields.source(), fields.flag("labels_from_groups").unwrap_or(false));
        if fields.required("expression", "write a regular expression with named groups").is_empty() {
            return None;
        }
        Some(Self::new(fields.regex("expression")?, source, sets_labels))
    }

    fn new(regex: Regex, source: Option<String>, sets_labels: bool) -> Self {
        let names = regex.capture_names().enumerate();
        let groups = names.filter_map(|(number, name)| Some((number, name?.to_owned()))).collect();
        Self { regex, groups, source, sets_labels }
    }

    pub fn run(&self, entry: &mut Entry<'_>) {
        let Some(input) = entry.input(self.source.as_deref()) else { return };
        let Some(captures) = self.regex.captures(&input) else { return };
        let value = |number: usize| captures.get(number).map_or("", |group| group.as_str()).to_owned();
        let found: Vec<String> = self.groups.iter().map(|(number, _)| value(*number)).collect();
        for ((_, name), value) in self.groups.iter().zip(found) {
            if self.sets_labels {
                entry.labels.set(name, &value);
            }
            entry.extracted.set_text(name, value);
        }
    }
}

/// The fields of a line as container runtimes write it: `<time> <stream> <tags> <content>`.
pub(crate) fn cri(entry: &mut Entry<'_>) {
    let line = entry.line.clone();
    let mut parts = line.splitn(4, ' ');
    let (Some(time), Some(stream), Some(flags), Some(content)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return;
    };
    if time.is_empty() || flags.is_empty() || !matches!(stream, "stdout" | "stderr") {
        return;
    }
    for (name, value) in [("time", time), ("stream", stream), ("flags", flags), ("content", content)] {
        entry.extracted.set_text(name, value);
    }
}
