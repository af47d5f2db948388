//! `line_format`: a template makes the line.

use std::borrow::Cow;

use super::{Clock, LineLabels, fault};
use crate::template::{Scope, Template};

/// A template for lines.
#[derive(Debug)]
pub(super) struct LineFormat {
    template: Template,
    /// The label when the template is just `{{.label}}`.
    simple: Option<String>,
}

impl LineFormat {
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let template =
            Template::parse("line", text).map_err(|error| format!("invalid line template: {error}"))?;
        Ok(Self { simple: template.single_field().map(str::to_owned), template })
    }

    pub(super) fn run<'a>(
        &self,
        clock: Clock,
        line: Cow<'a, str>,
        labels: &mut LineLabels<'a>,
    ) -> Cow<'a, str> {
        if let Some(name) = &self.simple {
            return Cow::Owned(labels.get(name).unwrap_or("").to_owned());
        }
        match self.template.execute(&Scope { time: clock.line, now: clock.now, line: &line, fields: labels })
        {
            Ok(text) => Cow::Owned(text),
            Err(error) => {
                labels.set_error(fault::TEMPLATE, Some(error));
                line
            }
        }
    }

    /// The labels it reads.
    pub(super) fn fields(&self) -> Vec<String> {
        self.template.fields()
    }
}
