//! `label_format`: renames labels and makes new ones from templates.

use std::borrow::Cow;

use super::{Category, Clock, ERROR, LineLabels, fault};
use crate::syntax::ast::{LabelFormat, LabelSource};
use crate::template::{Fields, Scope, Template};

/// The assignments, in order.
#[derive(Debug)]
pub(super) struct LabelFormatter(Vec<(String, Source)>);

#[derive(Debug)]
enum Source {
    Rename(String),
    Template(Template),
}

impl LabelFormatter {
    pub(super) fn new(formats: &[LabelFormat]) -> Result<Self, String> {
        let mut list: Vec<(String, Source)> = Vec::new();
        for format in formats {
            let name = &format.name;
            if name == ERROR {
                return Err(format!("{name} cannot be formatted"));
            }
            if list.iter().any(|(known, _)| known == name) {
                return Err(format!("multiple label name '{name}' not allowed in a single format operation"));
            }
            let source = match &format.value {
                LabelSource::Rename(from) => Source::Rename(from.clone()),
                LabelSource::Template(text) => Source::Template(
                    Template::parse("label", text)
                        .map_err(|error| format!("invalid template for label '{name}': {error}"))?,
                ),
            };
            list.push((name.clone(), source));
        }
        Ok(Self(list))
    }

    pub(super) fn run(&self, clock: Clock, line: &str, labels: &mut LineLabels<'_>) {
        // Templates of one stage all see the labels as the first of them does.
        let mut fields = None;
        for (name, source) in &self.0 {
            match source {
                Source::Rename(from) => rename(labels, name, from),
                Source::Template(template) => {
                    let fields = fields.get_or_insert_with(|| labels.all());
                    let scope = Scope { time: clock.line, now: clock.now, line, fields };
                    match template.execute(&scope) {
                        Ok(text) => labels.set(Category::Parsed, Cow::Owned(name.clone()), Cow::Owned(text)),
                        Err(error) => labels.set_error(fault::TEMPLATE, Some(error)),
                    }
                }
            }
        }
    }

    /// The labels it reads.
    pub(super) fn fields(&self) -> Vec<String> {
        let fields = |(_, source): &(String, Source)| match source {
            Source::Rename(from) => vec![from.clone()],
            Source::Template(template) => template.fields(),
        };
        self.0.iter().flat_map(fields).collect()
    }
}

fn rename(labels: &mut LineLabels<'_>, name: &str, from: &str) {
    if let Some(value) = labels.get(from) {
        let value = value.to_owned();
        labels.set(Category::Parsed, Cow::Owned(name.to_owned()), Cow::Owned(value));
        labels.delete(from);
    }
}
