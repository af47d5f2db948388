//! Parts: immutable files of one tenant and one table, plain Apache Parquet. The picture is in `docs/formats/parts.md`.
//!
//! A part is written once, aside, synced and renamed, and never changed. Every byte of it is covered by a checksum that
//! is verified each time the byte comes from disk ([`blocks`]). A part that cannot be read is moved to quarantine with
//! its reason and named in every answer that should have held its rows.

pub(crate) mod blocks;
pub(crate) mod cache;
pub(crate) mod columns;
pub(crate) mod deltas;
pub(crate) mod labels;
pub(crate) mod name;
pub(crate) mod numbers;
pub(crate) mod pages;
pub(crate) mod part;
pub(crate) mod partition;
pub(crate) mod pieces;

use std::fmt;
use std::io;

use parquet::errors::ParquetError;

/// The kinds of parts. Metrics are spread over several, since floats, histograms and exemplars have different columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PartTable {
    /// Float samples with the label sets of their series.
    Samples,
    /// Native histograms with the label sets of their series.
    Histograms,
    /// Exemplars with the label sets of their series.
    Exemplars,
    /// Metadata of metrics.
    Metadata,
    /// Log records.
    Logs,
    /// Spans.
    Spans,
}

impl PartTable {
    /// Every table.
    pub const ALL: [Self; 6] =
        [Self::Samples, Self::Histograms, Self::Exemplars, Self::Metadata, Self::Logs, Self::Spans];

    /// The word in file names, the manifest and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Samples => "samples",
            Self::Histograms => "histograms",
            Self::Exemplars => "exemplars",
            Self::Metadata => "metadata",
            Self::Logs => "logs",
            Self::Spans => "spans",
        }
    }

    /// The table of that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.as_str() == word)
    }
}

/// Why a part could not be written or read.
#[derive(Debug)]
pub(crate) enum PartError {
    /// The file is not what was written: a checksum, a length or a structure is wrong.
    Damaged(String),
    /// The file system failed; the bytes may be fine.
    Io(io::Error),
    /// The scan that reads must end.
    Scan(kenning_model::ScanError),
}

impl fmt::Display for PartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(reason) => write!(f, "part is damaged: {reason}"),
            Self::Io(error) => write!(f, "part could not be accessed: {error}"),
            Self::Scan(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PartError {}

impl From<io::Error> for PartError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound => Self::Damaged(error.to_string()),
            _ => Self::Io(error),
        }
    }
}

impl From<ParquetError> for PartError {
    /// Input and output errors travel through the Parquet reader inside its own error.
    fn from(error: ParquetError) -> Self {
        match error {
            ParquetError::External(inner) => match inner.downcast::<io::Error>() {
                Ok(io) if io.kind() == io::ErrorKind::InvalidData => Self::Damaged(io.to_string()),
                Ok(io) => Self::from(*io),
                Err(other) => Self::Damaged(other.to_string()),
            },
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<kenning_model::ScanError> for PartError {
    fn from(error: kenning_model::ScanError) -> Self {
        Self::Scan(error)
    }
}

/// A column or value that the format promises is not there.
pub(crate) fn damaged(what: &str) -> PartError {
    PartError::Damaged(what.to_owned())
}
