//! Why bytes were not decoded: the whole request ([`DecodeError`]) or one item of it (`Fault`, counted under a
//! [`Reason`]).

use std::fmt;

use kenning_model::{Reason, Rejected};

/// A batch and what was left out of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decoded<B> {
    /// The good items.
    pub batch: B,
    /// The bad ones, by reason.
    pub rejected: Rejected,
}

/// Why nothing of a request could be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The bytes do not follow the format.
    Malformed {
        /// Offset of the first byte that does not fit, in the decoded body.
        at: usize,
        /// What was read and what is wrong with it.
        what: String,
    },
    /// Something is larger than a limit.
    TooLarge {
        /// What is too large, with the setting to raise or the way to send less.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// Nested deeper than the limit.
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// A content encoding or a form that is not known.
    Unsupported {
        /// What was asked for and what is possible.
        what: String,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { at, what } => write!(f, "{what} (byte {at})"),
            Self::TooLarge { what, limit } => write!(f, "{what}: the limit is {limit}"),
            Self::TooDeep { limit } => write!(f, "nested deeper than {limit} levels; flatten the values"),
            Self::Unsupported { what } => f.write_str(what),
        }
    }
}

impl std::error::Error for DecodeError {}

/// What is wrong with one item. Cheap, since hostile input makes many of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The counter it goes to.
    pub reason: Reason,
    /// Offset in the body.
    pub at: usize,
    /// The field, as the format's definition names it.
    pub field: &'static str,
    /// What is wrong, with limit and fix where there is one.
    pub problem: Problem,
}

/// The wording of a [`Fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// A sentence part after the field's name.
    Text(&'static str),
    /// Too many or too much; the limit and its unit.
    Over(usize, &'static str),
}

impl Fault {
    pub const fn new(reason: Reason, at: usize, field: &'static str, problem: &'static str) -> Self {
        Self { reason, at, field, problem: Problem::Text(problem) }
    }

    pub const fn over(
        reason: Reason,
        at: usize,
        field: &'static str,
        limit: usize,
        unit: &'static str,
    ) -> Self {
        Self { reason, at, field, problem: Problem::Over(limit, unit) }
    }

    /// The same fault of a message that begins at `offset` of the body.
    pub const fn moved(self, offset: usize) -> Self {
        Self { at: self.at + offset, ..self }
    }

    /// Counts `count` items under this fault.
    pub fn count(self, rejected: &mut Rejected, count: u64) {
        rejected.add(self.reason, count, || self.to_string());
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problem {
            Problem::Text(text) => write!(f, "{} {text} (byte {})", self.field, self.at),
            Problem::Over(limit, unit) => {
                write!(f, "{} exceeds the limit of {limit} {unit} (byte {})", self.field, self.at)
            }
        }
    }
}

impl From<Fault> for DecodeError {
    fn from(fault: Fault) -> Self {
        match (fault.reason, fault.problem) {
            (Reason::TooDeep, Problem::Over(limit, _)) => Self::TooDeep { limit },
            _ => Self::Malformed { at: fault.at, what: fault_text(fault) },
        }
    }
}

fn fault_text(fault: Fault) -> String {
    match fault.problem {
        Problem::Text(text) => format!("{} {text}", fault.field),
        Problem::Over(limit, unit) => format!("{} exceeds the limit of {limit} {unit}", fault.field),
    }
}
