//! Filters behind a parser, `| json | status >= 500`, as questions to the store about the fields of plain lines
//! ([`kenning_model::Tokens::is_plain`]).
//!
//! Lines fall in two: on plain ones the store's fields are what the parser finds and no stage can fail, so the store may
//! filter and count; the others go through the pipeline. Both answers together are the answer. A property test holds
//! this to the plain way.

use kenning_model::{Compare, Field, Filter, LineSyntax};

use super::scan::{LEVEL, SPAN_ID, TRACE_ID, all, line_filter, matcher_filter, not};
use crate::pipeline::{ERROR, ERROR_DETAILS, EXTRACTED};
use crate::syntax::ast::{
    CompareOp, LabelFilter, LogExpr, MatchOp, Matcher, NamedMatcher, StageKind, Unwrap,
};

/// The lines of a query in two parts.
pub(super) struct Split {
    pub(super) syntax: LineSyntax,
    /// Plain lines that pass all stages.
    pub(super) plain: Filter,
    /// Other lines, of which some pass.
    pub(super) rest: Filter,
}

impl Split {
    /// `None` when a stage is more than the store can tell.
    pub(super) fn new(log: &LogExpr, unwrap: Option<&Unwrap>) -> Option<Self> {
        let mut builder = Builder {
            syntax: None,
            lines: matcher_filter(&log.matchers),
            tests: Filter::All,
            numbers: Vec::new(),
        };
        for stage in &log.stages {
            builder.stage(&stage.kind)?;
        }
        if let Some(unwrap) = unwrap {
            builder.number(&unwrap.label)?;
            for filter in &unwrap.filters {
                builder
                    .label_filter(filter)
                    .map(|filter| builder.tests = take(&mut builder.tests).and(filter))?;
            }
        }
        builder.finish()
    }
}

/// The field that a name means behind a parser; `None` for names that stand for more than one thing.
pub(super) fn field(syntax: LineSyntax, name: &str) -> Option<Field> {
    let is_special =
        matches!(name, LEVEL | TRACE_ID | SPAN_ID) || name.starts_with("__") || name.ends_with(EXTRACTED);
    (!is_special && !name.is_empty()).then(|| Field::Parsed(syntax, name.into()))
}

fn take(filter: &mut Filter) -> Filter {
    std::mem::replace(filter, Filter::All)
}

struct Builder {
    syntax: Option<LineSyntax>,
    /// What is tested of lines whatever their fields are.
    lines: Filter,
    /// What is tested of fields.
    tests: Filter,
    /// Fields that must be numbers where they are.
    numbers: Vec<Field>,
}

impl Builder {
    fn stage(&mut self, stage: &StageKind) -> Option<()> {
        match stage {
            StageKind::LineFilters(filters) => {
                let (filter, is_exact) = all(filters.iter().map(line_filter))?;
                is_exact.then(|| self.lines = take(&mut self.lines).and(filter))
            }
            StageKind::Json(fields) if fields.is_empty() => self.parser(LineSyntax::Json),
            StageKind::Logfmt { fields, .. } if fields.is_empty() => self.parser(LineSyntax::Logfmt),
            StageKind::LabelFilter(filter) => {
                let filter = self.label_filter(filter)?;
                self.tests = take(&mut self.tests).and(filter);
                Some(())
            }
            // Plain lines have no errors to drop.
            StageKind::Drop(list) => {
                let is_error = |named: &NamedMatcher| matches!(named, NamedMatcher::Name(n) if n == ERROR || n == ERROR_DETAILS);
                list.iter().all(is_error).then_some(())
            }
            _ => None,
        }
    }

    fn parser(&mut self, syntax: LineSyntax) -> Option<()> {
        self.syntax.is_none().then(|| self.syntax = Some(syntax))
    }

    fn label_filter(&mut self, filter: &LabelFilter) -> Option<Filter> {
        let syntax = self.syntax?;
        match filter {
            LabelFilter::Text(matcher) if matcher.name == ERROR => {
                Some(if matcher.matches("") { Filter::All } else { Filter::Or(Vec::new()) })
            }
            LabelFilter::Text(matcher) => Some(text_test(matcher, &field(syntax, &matcher.name)?)),
            LabelFilter::Number { name, op, value } => {
                let field = self.number(name)?;
                let compare = match op {
                    CompareOp::Eq => Compare::Eq,
                    CompareOp::Ne => Compare::Ne,
                    CompareOp::Gt => Compare::Gt,
                    CompareOp::Ge => Compare::Ge,
                    CompareOp::Lt => Compare::Lt,
                    CompareOp::Le => Compare::Le,
                };
                value.is_finite().then(|| Filter::Number(field, compare, *value))
            }
            LabelFilter::And(left, right) => Some(self.label_filter(left)?.and(self.label_filter(right)?)),
            LabelFilter::Or(left, right) => {
                Some(Filter::Or(vec![self.label_filter(left)?, self.label_filter(right)?]))
            }
            LabelFilter::Duration { .. } | LabelFilter::Bytes { .. } | LabelFilter::Ip { .. } => None,
        }
    }

    /// A field that is read as a number: where it is none, the pipeline says what happens.
    fn number(&mut self, name: &str) -> Option<Field> {
        let field = field(self.syntax?, name)?;
        if !self.numbers.contains(&field) {
            self.numbers.push(field.clone());
        }
        Some(field)
    }

    fn finish(self) -> Option<Split> {
        let syntax = self.syntax?;
        let no_metadata = |name: &str| not(Filter::Exists(Field::Metadata(name.into())));
        let mut sure =
            vec![Filter::Exists(Field::Plain(syntax)), no_metadata(ERROR), no_metadata(ERROR_DETAILS)];
        sure.extend(self.numbers.into_iter().map(|field| {
            // Any number at all, or no such field.
            Filter::Or(vec![
                Filter::Number(field.clone(), Compare::Ge, f64::NEG_INFINITY),
                not(Filter::Exists(field)),
            ])
        }));
        let sure = Filter::And(sure);
        let plain = self.lines.clone().and(sure.clone()).and(self.tests);
        Some(Split { syntax, plain, rest: self.lines.and(not(sure)) })
    }
}

/// A test of a label's text; an absent label reads as empty text.
fn text_test(matcher: &Matcher, field: &Field) -> Filter {
    let found = match (matcher.op, &matcher.pattern) {
        (MatchOp::Re | MatchOp::Nre, Some(pattern)) => Filter::Matches(field.clone(), pattern.clone()),
        _ => Filter::eq(field.clone(), &matcher.value),
    };
    let is_negated = matches!(matcher.op, MatchOp::Ne | MatchOp::Nre);
    let takes_absent = matcher.matches("") != is_negated;
    let found =
        if takes_absent { Filter::Or(vec![found, not(Filter::Exists(field.clone()))]) } else { found };
    if is_negated { not(found) } else { found }
}
