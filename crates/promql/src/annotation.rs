//! Remarks about an answer: warnings (the answer may not be what was meant) and infos, each with the place in the query.
//! Texts are Prometheus's. Equal remarks are one; the place of the latest stays.

use std::collections::BTreeMap;

use kenning_query::{Level, SourceSpan};

use crate::histogram::Note;
use crate::text::{general, general_two_digits, quote};

/// Most different remarks that one evaluation keeps.
const REMARKS_MAX: usize = 1000;

#[derive(Clone, Debug)]
struct Remark {
    level: Level,
    span: SourceSpan,
    details: Option<Details>,
}

/// What repeated remarks add up to.
#[derive(Clone, Copy, Debug)]
enum Details {
    Forced(ForcedGrowth),
    Occurrences(u64),
}

impl Details {
    fn joined(self, other: Self) -> Self {
        match (self, other) {
            (Self::Forced(before), Self::Forced(after)) => Self::Forced(before.joined(after)),
            (Self::Occurrences(before), Self::Occurrences(after)) => Self::Occurrences(before + after),
            (before, _) => before,
        }
    }

    fn describe(self) -> String {
        match self {
            Self::Forced(forced) => forced.describe(),
            Self::Occurrences(1) => String::new(),
            Self::Occurrences(times) => format!(" ({times} occurrences)"),
        }
    }
}

/// Where and when classic histograms had to be repaired.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ForcedGrowth {
    pub time_min: i64,
    pub time_max: i64,
    pub bound_min: f64,
    pub bound_max: f64,
    pub difference_max: f64,
    pub samples: u64,
}

/// The remarks of one evaluation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Annotations {
    remarks: BTreeMap<String, Remark>,
}

/// What happened to histograms.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    Addition,
    Subtraction,
    Aggregation,
}

impl Operation {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Addition => "addition",
            Self::Subtraction => "subtraction",
            Self::Aggregation => "aggregation",
        }
    }
}

impl Annotations {
    fn put(&mut self, text: String, level: Level, span: SourceSpan) {
        if self.remarks.len() < REMARKS_MAX || self.remarks.contains_key(&text) {
            self.remarks.insert(text, Remark { level, span, details: None });
        }
    }

    fn put_details(&mut self, text: String, level: Level, span: SourceSpan, details: Details) {
        if self.remarks.len() < REMARKS_MAX || self.remarks.contains_key(&text) {
            let remark = self.remarks.entry(text).or_insert(Remark { level, span, details: None });
            remark.details = Some(remark.details.map_or(details, |before| before.joined(details)));
        }
    }

    fn warn(&mut self, text: impl std::fmt::Display, span: SourceSpan) {
        self.put(format!("PromQL warning: {text}"), Level::Warning, span);
    }

    fn info(&mut self, text: impl std::fmt::Display, span: SourceSpan) {
        self.put(format!("PromQL info: {text}"), Level::Info, span);
    }

    /// Adds what another evaluation remarked.
    pub(crate) fn add(&mut self, other: Self) {
        for (text, remark) in other.remarks {
            match remark.details {
                Some(details) => self.put_details(text, remark.level, remark.span, details),
                None => self.put(text, remark.level, remark.span),
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.remarks.is_empty()
    }

    /// Warnings and infos with their places, each cut off after `most`.
    pub(crate) fn render(&self, query: &str, most: usize) -> (Vec<String>, Vec<String>) {
        let (mut warnings, mut infos) = (Vec::new(), Vec::new());
        for (text, remark) in &self.remarks {
            let (line, column) = remark.span.line_column(query);
            let details = remark.details.map_or(String::new(), Details::describe);
            let text = format!("{text}{details} ({line}:{column})");
            if remark.level == Level::Info { infos.push(text) } else { warnings.push(text) }
        }
        for (kind, list) in [("warning", &mut warnings), ("info", &mut infos)] {
            let beyond = list.len().saturating_sub(most);
            if beyond > 0 {
                list.truncate(most);
                list.push(format!("{beyond} more {kind} annotations omitted"));
            }
        }
        (warnings, infos)
    }

    pub(crate) fn invalid_quantile(&mut self, q: f64, span: SourceSpan) {
        self.warn(format_args!("quantile value should be between 0 and 1, got {}", general(q)), span);
    }

    pub(crate) fn invalid_ratio(&mut self, ratio: f64, capped: f64, span: SourceSpan) {
        let (ratio, capped) = (general(ratio), general(capped));
        self.warn(
            format_args!("ratio value should be between -1 and 1, got {ratio}, capping to {capped}"),
            span,
        );
    }

    pub(crate) fn bad_bucket_label(&mut self, metric: &str, label: &str, span: SourceSpan) {
        let (label, metric) = (quote(label), for_metric(metric));
        self.warn(
            format_args!("bucket label \"le\" is missing or has a malformed value of {label}{metric}"),
            span,
        );
    }

    pub(crate) fn mixed_floats_histograms(&mut self, metric: &str, span: SourceSpan) {
        let metric = quote(metric);
        self.warn(format_args!("encountered a mix of histograms and floats for metric name {metric}"), span);
    }

    pub(crate) fn mixed_in_aggregation(&mut self, span: SourceSpan) {
        self.warn("encountered a mix of histograms and floats for aggregation", span);
    }

    pub(crate) fn mixed_classic_native(&mut self, metric: &str, span: SourceSpan) {
        let metric = for_metric(metric);
        self.warn(format_args!("vector contains a mix of classic and native histograms{metric}"), span);
    }

    pub(crate) fn not_counter(&mut self, metric: &str, span: SourceSpan) {
        self.warn(format_args!("this native histogram metric is not a counter: {}", quote(metric)), span);
    }

    pub(crate) fn not_gauge(&mut self, metric: &str, span: SourceSpan) {
        self.warn(format_args!("this native histogram metric is not a gauge: {}", quote(metric)), span);
    }

    pub(crate) fn mixed_schemas(&mut self, metric: &str, span: SourceSpan) {
        let metric = quote(metric);
        self.warn(
            format_args!(
                "vector contains a mix of histograms with exponential and custom buckets schemas for metric name \
                 {metric}"
            ),
            span,
        );
    }

    pub(crate) fn incompatible_layout(&mut self, op: &str, span: SourceSpan) {
        self.warn(format_args!("incompatible bucket layout encountered for binary operator {op}"), span);
    }

    pub(crate) fn sort_in_range(&mut self, span: SourceSpan) {
        self.warn("sort is ineffective for range queries since results are always ordered by labels", span);
    }

    pub(crate) fn reset_conflict(&mut self, operation: Operation, span: SourceSpan) {
        let operation = operation.as_str();
        self.warn(format_args!("conflicting counter resets during histogram {operation}"), span);
    }

    pub(crate) fn bounds_reconciled(&mut self, operation: Operation, span: SourceSpan) {
        let operation = operation.as_str();
        self.info(format_args!("mismatched custom buckets were reconciled during {operation}"), span);
    }

    pub(crate) fn start_overlap(&mut self, metric: &str, span: SourceSpan) {
        let text = format!(
            "PromQL warning: sample has start time that overlaps with previous sample timestamp for metric {}",
            quote(metric)
        );
        self.put_details(text, Level::Warning, span, Details::Occurrences(1));
    }

    pub(crate) fn maybe_not_counter(&mut self, metric: &str, span: SourceSpan) {
        let metric = quote(metric);
        self.info(
            format_args!(
                "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {metric}"
            ),
            span,
        );
    }

    pub(crate) fn not_typed_counter(&mut self, metric: &str, found: &str, span: SourceSpan) {
        let (metric, found) = (quote(metric), quote(found));
        self.info(
            format_args!(
                "metric might not be a counter, __type__ label is not set to \"counter\" or \"histogram\", got \
                 {found}: {metric}"
            ),
            span,
        );
    }

    pub(crate) fn incompatible_types(&mut self, left: &str, op: &str, right: &str, span: SourceSpan) {
        self.info(
            format_args!(
                "incompatible sample types encountered for binary operator \"{op}\": {left} {op} {right}"
            ),
            span,
        );
    }

    pub(crate) fn histogram_ignored(&mut self, aggregation: &str, span: SourceSpan) {
        self.info(format_args!("ignored histogram in {aggregation} aggregation"), span);
    }

    pub(crate) fn histograms_ignored_in_range(&mut self, metric: &str, span: SourceSpan) {
        let metric = quote(metric);
        self.info(
            format_args!(
                "ignored histograms in a range containing both floats and histograms for metric name {metric}"
            ),
            span,
        );
    }

    pub(crate) fn quantile_note(&mut self, note: Note, metric: &str, span: SourceSpan) {
        let metric = for_metric(metric);
        let text = match note {
            Note::QuantileIsNan => "input to histogram_quantile has NaN observations, result is NaN",
            Note::QuantileIsSkewed => {
                "input to histogram_quantile has NaN observations, result is skewed higher"
            }
            Note::FractionLeavesOutNan => {
                "input to histogram_fraction has NaN observations, which are excluded from all fractions"
            }
        };
        self.info(format_args!("{text}{metric}"), span);
    }

    pub(crate) fn forced_growth(&mut self, metric: &str, forced: ForcedGrowth, span: SourceSpan) {
        let text = format!(
            "PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see \
             https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile){}",
            for_metric(metric)
        );
        self.put_details(text, Level::Info, span, Details::Forced(forced));
    }
}

impl ForcedGrowth {
    fn joined(self, other: Self) -> Self {
        Self {
            time_min: self.time_min.min(other.time_min),
            time_max: self.time_max.max(other.time_max),
            bound_min: self.bound_min.min(other.bound_min),
            bound_max: self.bound_max.max(other.bound_max),
            difference_max: self.difference_max.max(other.difference_max),
            samples: self.samples + other.samples,
        }
    }

    fn describe(self) -> String {
        let (from, to) = (crate::eval::rfc3339(self.time_min), crate::eval::rfc3339(self.time_max));
        format!(
            ", from buckets {} to {}, with a max diff of {}, over {} samples from {from} to {to}",
            general(self.bound_min),
            general(self.bound_max),
            general_two_digits(self.difference_max),
            self.samples,
        )
    }
}

fn for_metric(metric: &str) -> String {
    if metric.is_empty() { String::new() } else { format!(" for metric name {}", quote(metric)) }
}
