//! What of a query a store can test itself.
//!
//! A pushed-down filter never drops a line that the pipeline would keep; the pipeline runs over what is left.

use kenning_model::{Compare, Field, Filter, Literal, Pattern as Regex, Severity};

use crate::pattern::Pattern;
use crate::pipeline::EXTRACTED;
use crate::syntax::ast::{
    LabelFilter, LineFilter, LineOp, LineOperand, LogExpr, MatchOp, Matcher, StageKind,
};

/// Structured metadata made from the severity column.
pub(super) const LEVEL: &str = "detected_level";
/// Structured metadata made from the trace column.
pub(super) const TRACE_ID: &str = "trace_id";
/// Structured metadata made from the span column.
pub(super) const SPAN_ID: &str = "span_id";

/// A filter, and whether it drops every line that the stages drop.
pub(super) struct Pushed {
    pub(super) filter: Filter,
    pub(super) is_exact: bool,
}

/// Label matchers as a filter.
pub(super) fn matcher_filter(matchers: &[Matcher]) -> Filter {
    matchers
        .iter()
        .map(|matcher| text_test(matcher, Field::Label(matcher.name.as_str().into())))
        .fold(Filter::All, Filter::and)
}

pub(super) fn not(filter: Filter) -> Filter {
    Filter::Not(Box::new(filter))
}

/// A text comparison of one field. Absent fields read as empty text.
fn text_test(matcher: &Matcher, field: Field) -> Filter {
    let regex = |pattern: &Regex| Filter::Matches(field.clone(), pattern.clone());
    match (matcher.op, &matcher.pattern) {
        (MatchOp::Eq, _) => Filter::eq(field.clone(), &matcher.value),
        (MatchOp::Ne, _) => not(Filter::eq(field.clone(), &matcher.value)),
        (MatchOp::Re, Some(pattern)) => regex(pattern),
        (MatchOp::Nre, Some(pattern)) => not(regex(pattern)),
        (_, None) => Filter::All,
    }
}

/// Selector and pipeline as a filter.
pub(super) fn push_down(log: &LogExpr) -> Pushed {
    let mut pushed = Pushed { filter: matcher_filter(&log.matchers), is_exact: true };
    let (mut lines_as_stored, mut labels_as_stored) = (true, true);
    for stage in &log.stages {
        let part = match &stage.kind {
            StageKind::LineFilters(filters) if lines_as_stored => all(filters.iter().map(line_filter)),
            StageKind::LabelFilter(filter) if labels_as_stored => label_filter(filter).map(|f| (f, false)),
            StageKind::LineFilters(_) | StageKind::LabelFilter(_) => None,
            // Everything else keeps every line.
            _ => Some((Filter::All, true)),
        };
        match part {
            Some((filter, is_exact)) => {
                pushed.filter = std::mem::replace(&mut pushed.filter, Filter::All).and(filter);
                pushed.is_exact &= is_exact;
            }
            None => pushed.is_exact = false,
        }
        match stage.kind {
            StageKind::LineFormat(_) | StageKind::Decolorize => lines_as_stored = false,
            StageKind::Unpack => (lines_as_stored, labels_as_stored) = (false, false),
            StageKind::LineFilters(_) | StageKind::LabelFilter(_) => {}
            _ => labels_as_stored = false,
        }
    }
    pushed
}

/// Parts that must all hold; those that cannot be pushed down are left out.
pub(super) fn all(parts: impl Iterator<Item = Option<(Filter, bool)>>) -> Option<(Filter, bool)> {
    let (mut filter, mut is_exact) = (Filter::All, true);
    for part in parts {
        match part {
            Some((part, part_is_exact)) => {
                filter = filter.and(part);
                is_exact &= part_is_exact;
            }
            None => is_exact = false,
        }
    }
    Some((filter, is_exact))
}

/// A line filter, and whether the store's test says all of it.
pub(super) fn line_filter(filter: &LineFilter) -> Option<(Filter, bool)> {
    let tests: Option<Vec<Filter>> =
        filter.operands.iter().map(|operand| line_test(filter.op, operand)).collect();
    let mut tests = tests?;
    let found = if tests.len() == 1 { tests.pop()? } else { Filter::Or(tests) };
    match filter.op {
        LineOp::Contains | LineOp::Matches => Some((found, true)),
        LineOp::NotContains | LineOp::NotMatches => Some((not(found), true)),
        LineOp::Pattern => Some((found, false)),
        // The test of a pattern is only what every match contains, so its negation would drop too much.
        LineOp::NotPattern => None,
    }
}

fn line_test(op: LineOp, operand: &LineOperand) -> Option<Filter> {
    let LineOperand::Text(text) = operand else { return None };
    match op {
        LineOp::Contains | LineOp::NotContains => Some(Filter::Contains(Field::Line, text.as_str().into())),
        LineOp::Matches | LineOp::NotMatches => {
            Regex::anywhere(text).ok().map(|regex| with_required(text, Filter::Matches(Field::Line, regex)))
        }
        LineOp::Pattern | LineOp::NotPattern => {
            let pattern = Pattern::for_filter(text).ok()?;
            let needle = pattern.needle();
            (!needle.is_empty()).then(|| Filter::Contains(Field::Line, needle.into()))
        }
    }
}

/// A test of a line by a regular expression, behind searches for the texts that every match holds: stores have indexes
/// for these.
fn with_required(source: &str, test: Filter) -> Filter {
    let required = kenning_regex::required(source);
    let contains = |text: String| Filter::Contains(Field::Line, text.into());
    let any_of = |mut texts: Vec<String>| match (texts.len(), texts.pop()) {
        (1, Some(text)) => contains(text),
        (_, last) => Filter::Or(texts.into_iter().chain(last).map(contains).collect()),
    };
    let found = required.all.into_iter().map(any_of).fold(Filter::All, Filter::and);
    if required.is_exact { found } else { found.and(test) }
}

/// A label filter in front of every parser looks at stream labels and structured metadata only.
fn label_filter(filter: &LabelFilter) -> Option<Filter> {
    match filter {
        LabelFilter::Text(matcher) => metadata_test(matcher),
        LabelFilter::And(left, right) => match (label_filter(left), label_filter(right)) {
            (Some(left), Some(right)) => Some(left.and(right)),
            (one, other) => one.or(other),
        },
        LabelFilter::Or(left, right) => Some(Filter::Or(vec![label_filter(left)?, label_filter(right)?])),
        _ => None,
    }
}

/// A positive test of a name that may be in any layer. A label that fails the test for empty text is not absent, so
/// some layer must have it.
fn metadata_test(matcher: &Matcher) -> Option<Filter> {
    let name = matcher.name.as_str();
    let positive = matches!(matcher.op, MatchOp::Eq | MatchOp::Re) && !matcher.matches("");
    if !positive || name.starts_with("__") || name.ends_with(EXTRACTED) {
        return None;
    }
    let mut places =
        vec![text_test(matcher, Field::Label(name.into())), text_test(matcher, Field::Metadata(name.into()))];
    match name {
        LEVEL => places.push(severity_test(matcher)),
        TRACE_ID => places.push(text_test(matcher, Field::TraceId)),
        SPAN_ID => places.push(text_test(matcher, Field::SpanId)),
        _ => {}
    }
    Some(Filter::Or(places))
}

/// The severities whose word matches.
fn severity_test(matcher: &Matcher) -> Filter {
    const BASES: [Severity; 6] =
        [Severity::TRACE, Severity::DEBUG, Severity::INFO, Severity::WARN, Severity::ERROR, Severity::FATAL];
    let matching = BASES.iter().filter(|severity| matcher.matches(severity.as_str()));
    let between = |severity: &Severity| {
        let bound = |op, n: u8| Filter::Compare(Field::Severity, op, Literal::Int(i64::from(n)));
        match *severity {
            Severity::FATAL => bound(Compare::Ge, severity.0),
            _ => Filter::And(vec![bound(Compare::Ge, severity.0), bound(Compare::Lt, severity.0 + 4)]),
        }
    };
    Filter::Or(matching.map(between).collect())
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use kenning_model::{LabelSet, LogRow, Nanos, SpanId, TraceId};
    use proptest::prelude::*;

    use super::*;
    use crate::eval::streams::line_labels;
    use crate::pipeline::{Clock, Pipeline};
    use crate::syntax::ast::Expr;

    /// Stages with everything that is pushed down and everything that must stop it.
    const STAGES: &[&str] = &[
        r#"|= "a""#,
        r#"!= "b""#,
        r#"|= "a" or "b""#,
        r#"|~ "a.c""#,
        r#"!~ "b+""#,
        r#"|~ "ab?c|ba""#,
        r#"|~ "^(?i)A.*C""#,
        r#"!~ "(ab|c b)""#,
        r#"|> "<_>a<_>""#,
        r#"!> "a<_>""#,
        r#"|= ip("10.0.0.0/8")"#,
        "| json",
        "| logfmt",
        r#"| detected_level="error""#,
        r#"| detected_level=~"err.*|info""#,
        r#"| trace_id="01010101010101010101010101010101""#,
        r#"| x="1""#,
        r#"| x="1" or app="a""#,
        r#"| x!="1""#,
        r#"| x="" and detected_level!="debug""#,
        r#"| line_format "{{.app}} b""#,
        r#"| label_format x="1""#,
        "| drop x",
        "| keep app",
        "| decolorize",
    ];

    const LINES: &[&str] = &["", "a", "abc", "b", "10.1.2.3", r#"{"x":"1"}"#, "x=1", "bab", "a1c b"];

    fn rows() -> impl Strategy<Value = (usize, bool, bool, u8, bool)> {
        (0..LINES.len(), any::<bool>(), any::<bool>(), 0u8..24, any::<bool>())
    }

    proptest! {
        #[test]
        fn what_the_filter_drops_the_pipeline_drops_too(
            stages in proptest::collection::vec(0..STAGES.len(), 0..5),
            (line, app, meta, severity, traced) in rows(),
        ) {
            let text: Vec<&str> = stages.iter().map(|stage| STAGES[*stage]).collect();
            let query = format!("{{app=~\".+\"}} {}", text.join(" "));
            let Ok(Expr::Log(log)) = crate::parse(&query) else { panic!("{query}") };
            let stream = LabelSet::from_pairs([("app", if app { "a" } else { "z" })]);
            let metadata = if meta { LabelSet::from_pairs([("x", "1")]) } else { LabelSet::empty() };
            let row = LogRow {
                stream: &stream,
                time: Nanos(0),
                severity: Severity(severity),
                trace_id: if traced { TraceId([1; 16]) } else { TraceId::NONE },
                span_id: SpanId::NONE,
                line: LINES[line],
                metadata: &metadata,
            };
            let pushed = push_down(&log);
            let passes = pushed.filter.matches(&row);
            let mut labels = line_labels(&row, |_| true);
            let clock = Clock { line: Nanos(0), now: Nanos(0) };
            let kept = Pipeline::new(&log.stages).unwrap().run(clock, Cow::Borrowed(row.line), &mut labels).is_some();
            prop_assert!(passes || !kept, "{} dropped {:?}", query, row);
            prop_assert!(!pushed.is_exact || passes == kept, "{} is not exact on {:?}", query, row);
        }
    }
}
