//! Stages that change the line or an extracted field: `replace`, `template`, `output`, `pack`, `decolorize`.

use std::borrow::Cow;
use std::collections::HashMap;

use kenning_template::{TEXT_BYTES_MAX, Template, Value};
use regex::Regex;

use super::Side;
use crate::config::Fields;
use crate::entry::Entry;
use crate::functions;

/// Replacements in one text; the rest of it stays as it is.
const REPLACEMENTS_MAX: usize = 10_000;

/// `replace`
#[derive(Debug)]
pub(crate) struct Replace {
    regex: Regex,
    groups: Vec<(usize, String)>,
    source: Option<String>,
    replacement: Replacement,
}

#[derive(Debug)]
enum Replacement {
    /// A text without actions.
    Fixed(String),
    Template(Template),
}

impl Replace {
    pub fn read(fields: &mut Fields<'_, '_>) -> Option<Self> {
        let (source, text) = (fields.source(), fields.text("replace").unwrap_or_default());
        if fields
            .required("expression", "write a regular expression with a group for what is replaced")
            .is_empty()
        {
            return None;
        }
        let regex = fields.regex("expression");
        let replacement = match text.contains("{{") {
            false => Some(Replacement::Fixed(text)),
            true => functions::parse(&text)
                .map_err(|problem| fields.wrong("replace", problem))
                .ok()
                .map(Replacement::Template),
        };
        let regex = regex?;
        let names = regex.capture_names().enumerate();
        let groups = names.filter_map(|(number, name)| Some((number, name?.to_owned()))).collect();
        Some(Self { regex, groups, source, replacement: replacement? })
    }

    pub fn run(&self, entry: &mut Entry<'_>, side: &Side<'_>) {
        let Some(input) = entry.input(self.source.as_deref()).map(Cow::into_owned) else { return };
        let Some(replaced) = self.replaced(&input, entry, side) else { return };
        for (name, value) in replaced.groups {
            entry.extracted.set_text(&name, value);
        }
        match &self.source {
            Some(source) => entry.extracted.set_text(source, replaced.text),
            None => entry.line = Cow::Owned(replaced.text),
        }
    }

    /// What groups matched makes way for the replacement; groups within a group that was replaced do not count.
    fn replaced(&self, input: &str, entry: &Entry<'_>, side: &Side<'_>) -> Option<Replaced> {
        let (mut text, mut done) = (String::with_capacity(input.len()), 0);
        let mut by_captured: HashMap<&str, String> = HashMap::new();
        let mut first = None;
        for captures in self.regex.captures_iter(input).take(REPLACEMENTS_MAX) {
            for group in captures.iter().skip(1).flatten() {
                let new = match by_captured.get(group.as_str()) {
                    Some(known) => known.clone(),
                    None => self.replacement_of(group.as_str(), entry, side)?,
                };
                if done <= group.start() {
                    text.push_str(input.get(done..group.start())?);
                    text.push_str(&new);
                    done = group.end();
                }
                by_captured.insert(group.as_str(), new);
            }
            if text.len() > TEXT_BYTES_MAX {
                return None;
            }
            first.get_or_insert(captures);
        }
        text.push_str(input.get(done..)?);
        let first = first?;
        let of_group = |(number, name): &(usize, String)| {
            let captured = first.get(*number).map_or("", |group| group.as_str());
            Some((name.clone(), by_captured.get(captured)?.clone()))
        };
        Some(Replaced { text, groups: self.groups.iter().filter_map(of_group).collect() })
    }

    fn replacement_of(&self, captured: &str, entry: &Entry<'_>, side: &Side<'_>) -> Option<String> {
        match &self.replacement {
            Replacement::Fixed(text) => Some(text.clone()),
            Replacement::Template(template) => {
                let mut fields = fields_of(entry);
                set(&mut fields, "Value", captured);
                functions::execute(template, fields, side.now)
            }
        }
    }
}

struct Replaced {
    text: String,
    groups: Vec<(String, String)>,
}

/// Extracted fields for a template, by name.
fn fields_of(entry: &Entry<'_>) -> Vec<(String, Value)> {
    entry.extracted.texts().map(|(name, text)| (name.to_owned(), Value::Str(text.into_owned()))).collect()
}

fn set(fields: &mut Vec<(String, Value)>, name: &str, text: &str) {
    let value = Value::Str(text.to_owned());
    match fields.binary_search_by(|(known, _)| known.as_str().cmp(name)) {
        Ok(at) => fields.iter_mut().skip(at).take(1).for_each(|field| field.1 = value.clone()),
        Err(at) => fields.insert(at, (name.to_owned(), value)),
    }
}

/// `template`
#[derive(Debug)]
pub(crate) struct TemplateStage {
    source: String,
    template: Template,
}

impl TemplateStage {
    pub fn read(fields: &mut Fields<'_, '_>) -> Option<Self> {
        let source = fields.required("source", "name the extracted field that is written");
        let text = fields.text("template").unwrap_or_default();
        let template = functions::parse(&text).map_err(|problem| fields.wrong("template", problem)).ok()?;
        Some(Self { source, template })
    }

    pub fn run(&self, entry: &mut Entry<'_>, side: &Side<'_>) {
        let mut fields = fields_of(entry);
        if let Some(value) = entry.extracted.text(&self.source) {
            set(&mut fields, "Value", &value);
        }
        set(&mut fields, "Entry", &entry.line);
        match functions::execute(&self.template, fields, side.now) {
            Some(text) if text.is_empty() => entry.extracted.remove(&self.source),
            Some(text) => entry.extracted.set_text(&self.source, text),
            None => {}
        }
    }
}

/// `output`
#[derive(Debug)]
pub(crate) struct Output(String);

impl Output {
    pub fn read(fields: &mut Fields<'_, '_>) -> Self {
        Self(fields.required("source", "name the extracted field that becomes the line"))
    }

    pub fn of(source: &str) -> Self {
        Self(source.to_owned())
    }

    pub fn run(&self, entry: &mut Entry<'_>) {
        if let Some(text) = entry.extracted.text(&self.0).map(Cow::into_owned) {
            entry.line = Cow::Owned(text);
        }
    }
}

/// `pack`
#[derive(Debug)]
pub(crate) struct Pack {
    labels: Vec<String>,
    stamps_anew: bool,
}

/// Where a packed line keeps the line. Definition: Loki's stage `unpack`.
const PACKED_LINE: &str = "_entry";

impl Pack {
    pub fn read(fields: &mut Fields<'_, '_>) -> Self {
        let mut labels = fields.texts("labels").unwrap_or_default();
        labels.sort();
        labels.dedup();
        Self { labels, stamps_anew: fields.flag("ingest_timestamp").unwrap_or(true) }
    }

    pub fn run(&self, entry: &mut Entry<'_>, side: &Side<'_>) {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let found = self.labels.iter().filter_map(|name| Some((name.as_str(), entry.extracted.text(name)?)));
        let found: Vec<(&str, Cow<'_, str>)> = found.collect();
        let mut packed = String::from("{");
        for (name, value) in &found {
            packed.push_str(&format!("{}:{},", quoted(name), quoted(value)));
        }
        packed.push_str(&format!("\"{PACKED_LINE}\":{}}}", quoted(&entry.line)));
        let names: Vec<&str> = found.iter().map(|(name, _)| *name).collect();
        entry.labels.retain(|name| !names.contains(&name));
        entry.line = Cow::Owned(packed);
        if self.stamps_anew {
            entry.time = side.now;
        }
    }
}

/// `decolorize`
pub(crate) fn decolorize(entry: &mut Entry<'_>) {
    let plain = match kenning_logql::decolorized(&entry.line) {
        Cow::Borrowed(_) => return,
        Cow::Owned(plain) => plain,
    };
    entry.line = Cow::Owned(plain);
}

/// Takes a newline at the end off.
pub(crate) fn trim_end(entry: &mut Entry<'_>) {
    if let Some(text) = entry.line.strip_suffix('\n').map(str::to_owned) {
        entry.line = Cow::Owned(text);
    }
}
