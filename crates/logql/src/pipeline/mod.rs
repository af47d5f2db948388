//! What happens to a line: stages compiled from the syntax tree, one file each, run in order on one line and its
//! labels.
//!
//! A stage never fails: what it cannot do becomes the labels `__error__` and `__error_details__`, as in Loki. Lines
//! and values are borrowed from the store's rows as long as no stage makes new ones.

mod decolorize;
mod hints;
mod ip;
mod json;
mod label_filter;
mod label_format;
mod labels;
mod line_filter;
mod line_format;
mod logfmt;
mod regexp;
mod select;
mod unpack;

use std::borrow::Cow;

use kenning_model::Nanos;
use kenning_query::Diagnostic;

use crate::pattern::Pattern;
use crate::syntax::ast::{Stage, StageKind};

pub(crate) use hints::{EXTRACTED, Hints};
pub(crate) use json::path_of as json_path;
pub(crate) use label_filter::CompiledFilter;
pub(crate) use labels::{Category, LineLabels};

/// `__error__` values.
pub(crate) mod fault {
    /// A line is not JSON.
    pub(crate) const JSON: &str = "JSONParserErr";
    /// A line is not logfmt.
    pub(crate) const LOGFMT: &str = "LogfmtParserErr";
    /// A label's value is not of the kind it is compared with.
    pub(crate) const LABEL_FILTER: &str = "LabelFilterErr";
    /// A template could not be executed.
    pub(crate) const TEMPLATE: &str = "TemplateFormatErr";
    /// A label's value is not a number.
    pub(crate) const SAMPLE: &str = "SampleExtractionErr";
}

/// The label that names what went wrong.
pub(crate) const ERROR: &str = "__error__";
/// The label that says it in words.
pub(crate) const ERROR_DETAILS: &str = "__error_details__";
/// The label that keeps an error from failing a metric query that asked for it.
pub(crate) const PRESERVE_ERROR: &str = "__preserve_error__";

/// The times a template may ask for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// When the line was written.
    pub(crate) line: Nanos,
    /// The present: the end of the query's range.
    pub(crate) now: Nanos,
}

/// Stages ready to run.
#[derive(Debug, Default)]
pub(crate) struct Pipeline {
    steps: Vec<Step>,
    hints: Hints,
}

#[derive(Debug)]
enum Step {
    LineFilters(line_filter::LineFilters),
    Json,
    JsonPaths(json::JsonPaths),
    Logfmt(logfmt::Logfmt),
    LogfmtFields(logfmt::LogfmtFields),
    Regexp(regexp::RegexpParser),
    Pattern(Pattern),
    Unpack,
    LabelFilter(CompiledFilter),
    LineFormat(line_format::LineFormat),
    LabelFormat(label_format::LabelFormatter),
    Decolorize,
    Drop(select::Drop),
    Keep(select::Keep),
}

impl Pipeline {
    /// Compiles stages. The error points at the stage and says, as Loki does, which one it is.
    pub(crate) fn new(stages: &[Stage]) -> Result<Self, Diagnostic> {
        let compiled = stages.iter().map(|stage| {
            Step::new(&stage.kind)
                .map_err(|error| Diagnostic::error(stage.span, format!("stage '{stage}' : {error}")))
        });
        Ok(Self { steps: line_filters_first(compiled.collect::<Result<_, _>>()?), hints: Hints::default() })
    }

    /// The same for a query that needs to know only some labels.
    pub(crate) fn with_hints(mut self, hints: impl FnOnce(Vec<String>) -> Hints) -> Self {
        self.hints = hints(self.steps.iter().flat_map(Step::required_labels).collect());
        self
    }

    /// Runs the line through the stages; `None` when a filter drops it.
    pub(crate) fn run<'a>(
        &self,
        clock: Clock,
        line: Cow<'a, str>,
        labels: &mut LineLabels<'a>,
    ) -> Option<Cow<'a, str>> {
        self.steps.iter().try_fold(line, |line, step| step.run(clock, line, labels, &self.hints))
    }

    /// What parsers were told to look for.
    pub(crate) fn hints(&self) -> &Hints {
        &self.hints
    }
}

impl Step {
    fn new(kind: &StageKind) -> Result<Self, String> {
        Ok(match kind {
            StageKind::LineFilters(filters) => Self::LineFilters(line_filter::LineFilters::new(filters)?),
            StageKind::Json(fields) if fields.is_empty() => Self::Json,
            StageKind::Json(fields) => Self::JsonPaths(json::JsonPaths::new(fields)?),
            StageKind::Logfmt { strict, keep_empty, fields } if fields.is_empty() => {
                Self::Logfmt(logfmt::Logfmt { strict: *strict, keep_empty: *keep_empty })
            }
            StageKind::Logfmt { strict, fields, .. } => {
                Self::LogfmtFields(logfmt::LogfmtFields::new(fields, *strict)?)
            }
            StageKind::Regexp(text) => Self::Regexp(regexp::RegexpParser::new(text)?),
            StageKind::Pattern(text) => Self::Pattern(Pattern::for_parser(text)?),
            StageKind::Unpack => Self::Unpack,
            StageKind::LabelFilter(filter) => Self::LabelFilter(CompiledFilter::new(filter)?),
            StageKind::LineFormat(text) => Self::LineFormat(line_format::LineFormat::new(text)?),
            StageKind::LabelFormat(formats) => Self::LabelFormat(label_format::LabelFormatter::new(formats)?),
            StageKind::Decolorize => Self::Decolorize,
            StageKind::Drop(list) => Self::Drop(select::Drop(list.clone())),
            StageKind::Keep(list) => Self::Keep(select::Keep(list.clone())),
        })
    }

    fn run<'a>(
        &self,
        clock: Clock,
        line: Cow<'a, str>,
        labels: &mut LineLabels<'a>,
        hints: &Hints,
    ) -> Option<Cow<'a, str>> {
        match self {
            Self::LineFilters(filters) => return filters.passes(&line).then_some(line),
            Self::LabelFilter(filter) => return filter.passes(labels).then_some(line),
            Self::LineFormat(format) => return Some(format.run(clock, line, labels)),
            Self::Unpack => return Some(unpack::run(line, labels, hints)),
            Self::Decolorize => return Some(decolorize::run(line)),
            Self::LabelFormat(format) => format.run(clock, &line, labels),
            Self::Drop(drop) => drop.run(labels),
            Self::Keep(keep) => keep.run(labels),
            Self::Json => with_line(&line, labels, hints, &json::Json),
            Self::JsonPaths(paths) => with_line(&line, labels, hints, paths),
            Self::Logfmt(logfmt) => with_line(&line, labels, hints, logfmt),
            Self::LogfmtFields(fields) => with_line(&line, labels, hints, fields),
            Self::Regexp(regexp) => with_line(&line, labels, hints, regexp),
            Self::Pattern(pattern) => with_line(&line, labels, hints, pattern),
        }
        Some(line)
    }

    /// Labels that the stage reads by name.
    fn required_labels(&self) -> Vec<String> {
        match self {
            Self::LabelFilter(filter) => filter.names(),
            Self::LineFormat(format) => format.fields(),
            Self::LabelFormat(format) => format.fields(),
            _ => Vec::new(),
        }
    }

    fn changes_line(&self) -> bool {
        matches!(self, Self::LineFormat(_) | Self::Unpack | Self::Decolorize)
    }
}

/// Takes labels out of a line. `keep` turns parts of the line into values: borrowed from the row, or copied when the
/// line is one that a stage made.
trait LineParser {
    fn parse<'l, 'a>(
        &self,
        line: &'l str,
        labels: &mut LineLabels<'a>,
        hints: &Hints,
        keep: impl Fn(&'l str) -> Cow<'a, str> + Copy,
    );
}

#[expect(clippy::ptr_arg, reason = "a borrowed line hands out parts that outlive this call")]
fn with_line<'a>(line: &Cow<'a, str>, labels: &mut LineLabels<'a>, hints: &Hints, parser: &impl LineParser) {
    if hints.wants_nothing(labels) {
        return;
    }
    match line {
        Cow::Borrowed(line) => parser.parse(line, labels, hints, Cow::Borrowed),
        Cow::Owned(line) => parser.parse(line, labels, hints, |part| Cow::Owned(part.to_owned())),
    }
}

/// A line without colours and cursor movements, as the stage `decolorize` makes it.
#[must_use]
pub fn decolorized(line: &str) -> Cow<'_, str> {
    decolorize::run(Cow::Borrowed(line))
}

/// Reads a line as the stage `json` does.
pub(crate) fn parse_json<'a>(line: Cow<'a, str>, labels: &mut LineLabels<'a>) {
    with_line(&line, labels, &Hints::default(), &json::Json);
}

/// Reads a line as the stage `logfmt` does.
pub(crate) fn parse_logfmt<'a>(line: Cow<'a, str>, labels: &mut LineLabels<'a>) {
    let parser = logfmt::Logfmt { strict: false, keep_empty: false };
    with_line(&line, labels, &Hints::default(), &parser);
}

/// The cheap test of the line before the costly parsing of it: moves line filters in front of steps that neither drop
/// nor change lines.
fn line_filters_first(steps: Vec<Step>) -> Vec<Step> {
    let mut ordered: Vec<Step> = Vec::with_capacity(steps.len());
    let mut earliest = 0;
    for step in steps {
        let barrier = step.changes_line() || matches!(step, Step::LabelFilter(_));
        if matches!(step, Step::LineFilters(_)) {
            ordered.insert(earliest, step);
            earliest += 1;
        } else {
            ordered.push(step);
        }
        if barrier {
            earliest = ordered.len();
        }
    }
    ordered
}

impl LineParser for Pattern {
    fn parse<'l, 'a>(
        &self,
        line: &'l str,
        labels: &mut LineLabels<'a>,
        hints: &Hints,
        keep: impl Fn(&'l str) -> Cow<'a, str> + Copy,
    ) {
        self.captures(line, |name, value| {
            labels.extract(Cow::Owned(name.to_owned()), hints, || Some(keep(value)));
        });
    }
}
