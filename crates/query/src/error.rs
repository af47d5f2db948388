//! Why a query has no answer.

use std::fmt;

use kenning_model::ScanError;

use crate::Diagnostic;

/// A limit of [`crate::Limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKind {
    /// [`crate::Limits::text_bytes_max`]
    TextBytes,
    /// [`crate::Limits::depth_max`]
    Depth,
    /// [`crate::Limits::memory_bytes_max`]
    MemoryBytes,
    /// [`crate::Limits::samples_max`]
    Samples,
    /// [`crate::Limits::points_max`]
    Points,
    /// [`crate::Limits::series_max`]
    Series,
}

impl LimitKind {
    /// The setting that lifts it.
    #[must_use]
    pub const fn setting(self) -> &'static str {
        match self {
            Self::TextBytes => "limits.query.text_bytes",
            Self::Depth => "limits.query.depth",
            Self::MemoryBytes => "limits.query.memory",
            Self::Samples => "limits.query.samples",
            Self::Points => "limits.query.points",
            Self::Series => "limits.query.series",
        }
    }

    /// What stands behind its value.
    const fn unit(self) -> &'static str {
        match self {
            Self::TextBytes | Self::MemoryBytes => " bytes",
            Self::Depth | Self::Samples | Self::Points | Self::Series => "",
        }
    }
}

/// Why a query has no answer.
#[derive(Debug)]
pub enum QueryError {
    /// The text is not a query, or its types do not fit. At least one entry is an error.
    Invalid(Vec<Diagnostic>),
    /// The query may not cost that much.
    Limit {
        /// Which limit.
        kind: LimitKind,
        /// Its value.
        limit: u64,
    },
    /// Evaluation met data it cannot combine (many-to-many matching, duplicate series ...).
    Execution(Diagnostic),
    /// Time was up or nobody waited any more.
    Cancelled,
    /// The store failed.
    Store(ScanError),
}

impl From<ScanError> for QueryError {
    fn from(error: ScanError) -> Self {
        match error {
            ScanError::TooMuchMemory { limit } => {
                Self::Limit { kind: LimitKind::MemoryBytes, limit: limit as u64 }
            }
            ScanError::Cancelled => Self::Cancelled,
            failed @ ScanError::Failed { .. } => Self::Store(failed),
        }
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(diagnostics) => {
                f.write_str(diagnostics.first().map_or("invalid query", |first| first.message.as_str()))
            }
            Self::Limit { kind, limit } => {
                let unit = kind.unit();
                write!(
                    f,
                    "the query exceeds the limit {} = {limit}{unit}; narrow it or raise the setting",
                    kind.setting()
                )
            }
            Self::Execution(diagnostic) => diagnostic.fmt(f),
            Self::Cancelled => f.write_str("the query was cancelled or timed out"),
            Self::Store(_) => f.write_str("the store could not answer"),
        }
    }
}

impl std::error::Error for QueryError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(error) => Some(error),
            _ => None,
        }
    }
}
