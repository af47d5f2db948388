//! Filters on labels: text, numbers, durations, sizes and addresses.

use super::{LineLabels, fault, ip::IpMatcher};
use crate::syntax::ast::{CompareOp, LabelFilter, Matcher};
use kenning_gotext::{duration, float, size};

/// A filter ready to run.
#[derive(Debug)]
pub(crate) enum CompiledFilter {
    Text(Matcher),
    Number { name: String, op: CompareOp, value: f64 },
    Duration { name: String, op: CompareOp, nanos: i64 },
    Bytes { name: String, op: CompareOp, bytes: u64 },
    Ip { name: String, negated: bool, range: IpMatcher },
    And(Box<CompiledFilter>, Box<CompiledFilter>),
    Or(Box<CompiledFilter>, Box<CompiledFilter>),
}

impl CompiledFilter {
    /// Compiles a filter; only addresses can be wrong.
    pub(crate) fn new(filter: &LabelFilter) -> Result<Self, String> {
        let both = |left: &LabelFilter, right: &LabelFilter| {
            Ok::<_, String>((Box::new(Self::new(left)?), Box::new(Self::new(right)?)))
        };
        Ok(match filter {
            LabelFilter::Text(matcher) => Self::Text(matcher.clone()),
            LabelFilter::Number { name, op, value } => {
                Self::Number { name: name.clone(), op: *op, value: *value }
            }
            LabelFilter::Duration { name, op, nanos } => {
                Self::Duration { name: name.clone(), op: *op, nanos: *nanos }
            }
            LabelFilter::Bytes { name, op, bytes } => {
                Self::Bytes { name: name.clone(), op: *op, bytes: *bytes }
            }
            LabelFilter::Ip { name, negated, range } => {
                Self::Ip { name: name.clone(), negated: *negated, range: IpMatcher::new(range)? }
            }
            LabelFilter::And(left, right) => both(left, right).map(|(left, right)| Self::And(left, right))?,
            LabelFilter::Or(left, right) => both(left, right).map(|(left, right)| Self::Or(left, right))?,
        })
    }

    /// True when the line stays. A value that cannot be read as what it is compared with keeps the line and sets the
    /// error, unless there is one already.
    pub(crate) fn passes(&self, labels: &mut LineLabels<'_>) -> bool {
        match self {
            Self::Text(matcher) => matcher.matches(labels.text(&matcher.name)),
            Self::Number { name, op, value } => compare(labels, name, *op, value, float::parse),
            Self::Duration { name, op, nanos } => compare(labels, name, *op, nanos, duration::parse_go),
            Self::Bytes { name, op, bytes } => compare(labels, name, *op, bytes, size::parse),
            Self::Ip { .. } if !labels.error().is_empty() => true,
            Self::Ip { name, negated, range } => {
                labels.get(name).is_some_and(|value| range.is_in(value) != *negated)
            }
            // The right side runs even when the left one failed: it may be the one that sets the error.
            Self::And(left, right) => {
                let left = left.passes(labels);
                right.passes(labels) && left
            }
            Self::Or(left, right) => left.passes(labels) || right.passes(labels),
        }
    }

    /// The labels it looks at.
    pub(crate) fn names(&self) -> Vec<String> {
        match self {
            Self::Text(matcher) => vec![matcher.name.clone()],
            Self::Number { name, .. }
            | Self::Duration { name, .. }
            | Self::Bytes { name, .. }
            | Self::Ip { name, .. } => vec![name.clone()],
            Self::And(left, right) | Self::Or(left, right) => {
                let mut names = left.names();
                names.extend(right.names());
                names
            }
        }
    }
}

fn compare<T: PartialOrd>(
    labels: &mut LineLabels<'_>,
    name: &str,
    op: CompareOp,
    right: &T,
    read: impl Fn(&str) -> Result<T, String>,
) -> bool {
    let Some(value) = labels.get(name) else { return false };
    match read(value) {
        Ok(left) => op.holds(&left, right),
        Err(details) => {
            if labels.error().is_empty() {
                labels.set_error(fault::LABEL_FILTER, Some(details));
            }
            true
        }
    }
}
