//! Why an item was not stored. Every discarded item is counted under one of these reasons.

use std::fmt;

/// A closed set, so that it can label a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The bytes of the item do not follow its format.
    Malformed,
    /// A text is not UTF-8.
    NotUtf8,
    /// A value has a type the format does not allow there.
    WrongType,
    /// A required part (metric name, trace id ...) is missing.
    Missing,
    /// Nested deeper than the limit.
    TooDeep,
    /// More labels than the limit.
    TooManyLabels,
    /// A label's name is longer than the limit or not allowed.
    BadLabelName,
    /// A label's value is longer than the limit.
    LabelValueTooLong,
    /// The same label twice.
    DuplicateLabel,
    /// A log line or an attribute is longer than the limit.
    TooLong,
    /// Stamped before the accepted window.
    TooOld,
    /// Stamped after the accepted window.
    TooNew,
    /// A new series or stream beyond the tenant's limit.
    TooManySeries,
    /// A new series or stream while the memory for active ones is full. Later there may be room.
    Memory,
    /// Same series and time as a stored sample, other value.
    DuplicateSample,
    /// A change (delta) stamped at or before one of its stream that was counted already.
    OutOfOrder,
    /// A kind of data that is not supported.
    Unsupported,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 17] = [
        Self::Malformed,
        Self::NotUtf8,
        Self::WrongType,
        Self::Missing,
        Self::TooDeep,
        Self::TooManyLabels,
        Self::BadLabelName,
        Self::LabelValueTooLong,
        Self::DuplicateLabel,
        Self::TooLong,
        Self::TooOld,
        Self::TooNew,
        Self::TooManySeries,
        Self::Memory,
        Self::DuplicateSample,
        Self::OutOfOrder,
        Self::Unsupported,
    ];

    /// The word used as a metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::NotUtf8 => "not_utf8",
            Self::WrongType => "wrong_type",
            Self::Missing => "missing",
            Self::TooDeep => "too_deep",
            Self::TooManyLabels => "too_many_labels",
            Self::BadLabelName => "bad_label_name",
            Self::LabelValueTooLong => "label_value_too_long",
            Self::DuplicateLabel => "duplicate_label",
            Self::TooLong => "too_long",
            Self::TooOld => "too_old",
            Self::TooNew => "too_new",
            Self::TooManySeries => "too_many_series",
            Self::Memory => "memory",
            Self::DuplicateSample => "duplicate_sample",
            Self::OutOfOrder => "out_of_order",
            Self::Unsupported => "unsupported",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What was left out of a batch: a count per reason, and the first item's story per reason for the sender.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rejected {
    entries: Vec<(Reason, u64, String)>,
}

impl Rejected {
    /// Counts `count` items. `detail` names the field, the limit and the fix; it is only built for the first of a reason.
    pub fn add(&mut self, reason: Reason, count: u64, detail: impl FnOnce() -> String) {
        match self.entries.iter_mut().find(|(r, ..)| *r == reason) {
            Some((_, n, _)) => *n += count,
            None => self.entries.push((reason, count, detail())),
        }
    }

    /// Takes over another tally.
    pub fn merge(&mut self, other: Self) {
        for (reason, count, detail) in other.entries {
            self.add(reason, count, || detail);
        }
    }

    /// Items left out in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.entries.iter().map(|(_, count, _)| count).sum()
    }

    /// True when nothing was left out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Reason, count and the first item's story.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, u64, &str)> {
        self.entries.iter().map(|(reason, count, detail)| (*reason, *count, detail.as_str()))
    }
}

/// One sentence per reason, for reply bodies.
impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (reason, count, detail)) in self.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{count} rejected ({reason}): {detail}")?;
        }
        Ok(())
    }
}
