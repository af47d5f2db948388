//! Log queries over lines as they are committed: what `tail` runs.

use std::borrow::Cow;

use kenning_model::{Filter, LabelSet, LogBatch, LogRow, Nanos};
use kenning_query::{Diagnostic, QueryContext, QueryError, SourceSpan};

use super::checked;
use super::scan::{matcher_filter, push_down};
use super::streams::line_labels;
use crate::answer::{Entry, Stream};
use crate::pipeline::{Category, Clock, Pipeline};
use crate::syntax::ast::{Expr, StageKind};
use crate::syntax::{parse, parse_broad};

/// Lines that a store can find without running a pipeline.
#[derive(Clone, Debug)]
pub struct LineSelector {
    /// True for those lines and no others.
    pub filter: Filter,
    /// True when lines are told apart by more than their streams.
    pub has_line_filters: bool,
}

/// A selector with line filters, such as `{app="a"} |= "secret"`, as a filter that is exact. Other stages are an error:
/// what they keep only a pipeline can tell.
pub fn line_selector(query: &str) -> Result<LineSelector, Vec<Diagnostic>> {
    let error = |span, message: &str| Err(vec![Diagnostic::error(span, message)]);
    let Expr::Log(log) = parse(query)? else {
        return error(SourceSpan::new(0, query.len()), "unsupported query expression");
    };
    if let Some(stage) = log.stages.iter().find(|stage| !matches!(stage.kind, StageKind::LineFilters(_))) {
        return error(
            stage.span,
            "unsupported query expression: only matchers and line filters can be used here",
        );
    }
    let pushed = push_down(&log);
    match pushed.is_exact {
        true => Ok(LineSelector { filter: pushed.filter, has_line_filters: !log.stages.is_empty() }),
        false => error(log.span, "unsupported query expression: ip() and line patterns cannot be used here"),
    }
}

/// A log query that looks at one batch after the other. The answer for a line is the one a range query gives for it.
#[derive(Debug)]
pub struct Live {
    selector: Filter,
    pipeline: Pipeline,
}

impl Live {
    /// Compiles a log query. A metric query is an error.
    pub fn new(context: &QueryContext, query: &str) -> Result<Self, QueryError> {
        match checked(context, query)? {
            Expr::Log(log) => {
                let pipeline =
                    Pipeline::new(&log.stages).map_err(|diagnostic| QueryError::Invalid(vec![diagnostic]))?;
                Ok(Self { selector: matcher_filter(&log.matchers), pipeline })
            }
            Expr::Metric(_) => {
                let span = SourceSpan::new(0, query.len());
                Err(QueryError::Invalid(vec![Diagnostic::error(span, "only log selector is supported")]))
            }
        }
    }

    /// True when the selector takes streams with these labels.
    #[must_use]
    pub fn wants(&self, labels: &LabelSet) -> bool {
        self.selector.matches(labels)
    }

    /// Hands out the lines of a batch that pass, each as a stream of one, in the batch's order. `now` is the present
    /// that templates may ask for.
    pub fn lines(&self, batch: &LogBatch, now: Nanos, mut found: impl FnMut(Stream)) {
        let wanted: Vec<bool> = batch.streams.iter().map(|labels| self.wants(labels)).collect();
        for (row, stream) in batch.rows().zip(&batch.stream) {
            if wanted.get(*stream as usize).copied().unwrap_or(false)
                && let Some(stream) = self.line(&row, now)
            {
                found(stream);
            }
        }
    }

    fn line(&self, row: &LogRow<'_>, now: Nanos) -> Option<Stream> {
        let mut labels = line_labels(row, |_| true);
        let clock = Clock { line: row.time, now };
        let line = self.pipeline.run(clock, Cow::Borrowed(row.line), &mut labels)?.into_owned();
        let entry = Entry {
            time: row.time,
            line,
            structured_metadata: labels.layer_set(Category::Metadata),
            parsed: labels.layer_set(Category::Parsed),
        };
        Some(Stream { labels: labels.layer_set(Category::Stream), entries: vec![entry] })
    }
}

/// A log query as a test of single records: the stages of pipelines that look at some records only.
#[derive(Debug)]
pub struct LineMatcher {
    selector: Filter,
    pipeline: Pipeline,
}

impl LineMatcher {
    /// Compiles a log query; unlike a query of the API it may select every stream. The error is the text of what is
    /// wrong.
    pub fn new(query: &str) -> Result<Self, String> {
        let told = |problems: Vec<Diagnostic>| {
            let problems: Vec<String> = problems.into_iter().map(|problem| problem.message).collect();
            problems.join("; ")
        };
        let Expr::Log(log) = parse_broad(query).map_err(told)? else {
            return Err("only log selectors are supported".to_owned());
        };
        let pipeline = Pipeline::new(&log.stages).map_err(|problem| problem.message)?;
        Ok(Self { selector: matcher_filter(&log.matchers), pipeline })
    }

    /// True when the record passes. `now` is the present that templates may ask for.
    #[must_use]
    pub fn matches(&self, row: &LogRow<'_>, now: Nanos) -> bool {
        if !self.selector.matches(row.stream) {
            return false;
        }
        let mut labels = line_labels(row, |_| true);
        self.pipeline.run(Clock { line: row.time, now }, Cow::Borrowed(row.line), &mut labels).is_some()
    }
}
