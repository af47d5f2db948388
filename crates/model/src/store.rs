//! The narrow store trait: three verbs that every engine implements and everything above is written against.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use crate::{
    Batch, Exemplar, Filter, HistogramSample, LabelSet, LogBatch, MetricMetadata, Millis, Nanos, Sample,
    Scan, SpanBatch, Table, TenantId, TimeRange,
};

/// A store of telemetry. Calls block; callers that must not block put them on threads of their own.
pub trait Store: Send + Sync + 'static {
    /// Makes a group of batches durable and then visible, all or nothing, before it returns. One sync serves the
    /// whole group, so callers gather what waits. Repeating a [`BatchId`] has no effect; ids of later groups must be
    /// greater than all before.
    ///
    /// Writes of a group that follow one another with the same id are one *unit*: whatever happens to a group that was not
    /// acknowledged (a crash in the middle of writing it), either all of a unit is there afterwards or nothing of it.
    ///
    /// After an error nothing of the group is visible; the same group may be offered again.
    fn write(&self, group: &[Write]) -> Result<(), WriteError>;

    /// As [`Store::write`], and tells for each write, by position, how many of its samples were left out because their
    /// series has another value at their time, as far as the store sees that at once. A list that ends early tells of none.
    fn write_told(&self, group: &[Write]) -> Result<Vec<u64>, WriteError> {
        self.write(group).map(|()| Vec::new())
    }

    /// The greatest id ever written; new ids go on from here after a restart.
    fn last_batch_id(&self) -> BatchId;

    /// Answers a question by handing blocks to `sink` until all are handed over or the sink has enough.
    ///
    /// A shape that the store cannot push down is answered with rows. Blocks of series: each series once, in label
    /// order, its samples sorted by time, one sample per time. Blocks of records and spans: in the order asked for.
    fn scan(&self, scan: &Scan, sink: &mut dyn FnMut(Block) -> Flow) -> Result<ScanSummary, ScanError>;

    /// Drops what is older than the policy allows, in whole files where it can.
    fn expire(&self, policy: &Retention) -> Result<Expired, WriteError>;

    /// Makes rows that are stored now invisible to every later scan, durably, before it returns. What is written after
    /// the call began may stay, so deleted rows can be written again. The bytes go from the disk with later
    /// maintenance, or by [`Store::clean`].
    fn delete(&self, delete: &Delete) -> Result<(), DeleteError> {
        let _ = delete;
        Err(DeleteError::Refused { detail: "this store cannot delete by selector".to_owned() })
    }

    /// Removes the bytes of deleted rows from the disk now; gives the number of files written anew.
    fn clean(&self) -> Result<u64, WriteError> {
        Ok(0)
    }

    /// Makes a consistent copy named `name` beside the data: everything acknowledged before the call, and of what is
    /// written meanwhile a prefix in the order of writing. Without `recent`, what is still in memory is left out.
    fn snapshot(&self, name: &str, recent: bool) -> Result<(), SnapshotError> {
        let _ = (name, recent);
        Err(SnapshotError::Refused { detail: "this store makes no snapshots".to_owned() })
    }
}

/// Rows to be deleted: those of a table in a range that pass a filter.
#[derive(Clone, Debug, PartialEq)]
pub struct Delete {
    /// Whose rows.
    pub tenant: TenantId,
    /// Which table. [`Table::Samples`] takes the exemplars of its series along; metadata cannot be deleted.
    pub table: Table,
    /// Rows stamped inside; both ends included.
    pub time: TimeRange,
    /// Which rows.
    pub filter: Filter,
}

/// Why nothing was deleted.
#[derive(Debug)]
pub enum DeleteError {
    /// It cannot be deleted this way, however often it is tried.
    Refused {
        /// Why, and what can be done.
        detail: String,
    },
    /// The disk refused; trying again later can succeed. After a power cut the deletion may turn out to be done.
    Unavailable {
        /// What was tried and what came back.
        detail: String,
    },
}

impl fmt::Display for DeleteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { detail } => write!(f, "the rows cannot be deleted: {detail}"),
            Self::Unavailable { detail } => write!(f, "the store cannot delete right now: {detail}"),
        }
    }
}

impl std::error::Error for DeleteError {}

/// Why there is no snapshot of that name.
#[derive(Debug)]
pub enum SnapshotError {
    /// The name or the store does not allow it.
    Refused {
        /// Why.
        detail: String,
    },
    /// The disk refused; what was copied is removed at the next attempt of the same name or left without the name.
    Unavailable {
        /// What was tried and what came back.
        detail: String,
    },
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { detail } => write!(f, "the snapshot is refused: {detail}"),
            Self::Unavailable { detail } => write!(f, "the snapshot could not be made: {detail}"),
        }
    }
}

impl std::error::Error for SnapshotError {}

/// Names a write for ever. Greater means later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub u64);

/// One tenant's batch in a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// Its name.
    pub id: BatchId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The data.
    pub batch: Batch,
}

/// Why a group was not written.
#[derive(Debug)]
pub enum WriteError {
    /// The disk refused; offering the group again later can succeed (full disk, busy engine, full WAL).
    Unavailable {
        /// What was tried and what came back.
        detail: String,
    },
    /// The store is read-only until an operator acts (failed disk).
    ReadOnly {
        /// Why.
        detail: String,
    },
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable { detail } => write!(f, "the store cannot take writes right now: {detail}"),
            Self::ReadOnly { detail } => write!(f, "the store is read-only: {detail}"),
        }
    }
}

impl std::error::Error for WriteError {}

/// Whether the sink wants more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    More,
    /// Enough.
    Stop,
}

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    /// Series with samples ([`crate::Table::Samples`]).
    Series(Vec<SeriesRows>),
    /// Series of floats for [`crate::Shape::Columns`].
    Columns(SeriesColumns),
    /// Exemplars with the label sets they belong to.
    Exemplars(Vec<(LabelSet, Vec<Exemplar>)>),
    /// Metadata.
    Metadata(Vec<MetricMetadata>),
    /// Log records.
    Logs(LogBatch),
    /// Spans.
    Spans(SpanBatch),
    /// Distinct label sets, in label order.
    LabelSets(Vec<LabelSet>),
    /// Distinct names or values, sorted.
    Texts(Vec<Box<str>>),
    /// Groups, by time and key.
    Groups(Vec<GroupRow>),
    /// Numbers by group, sorted by key.
    Numbers(Vec<NumberRow>),
    /// Series on a grid, in label order.
    Grid(Vec<GridRow>),
}

/// One series and its samples in the range asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SeriesRows {
    /// The series.
    pub labels: LabelSet,
    /// Float samples by time; `series` of each is meaningless here and zero.
    pub samples: Vec<Sample>,
    /// Native histograms by time; `series` of each is meaningless here and zero.
    pub histograms: Vec<HistogramSample>,
    /// When the counter behind each sample began, by position; [`crate::UNKNOWN_START`] and beyond the end: not told.
    pub starts: Vec<Millis>,
    /// As `starts`, for `histograms`.
    pub histogram_starts: Vec<Millis>,
}

/// Float samples of several series, one series after the other, in label order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SeriesColumns {
    /// The series.
    pub labels: Vec<LabelSet>,
    /// Where each series' samples end in `times` and `values`; they begin where those of the one before end.
    pub ends: Vec<usize>,
    /// Times, ascending within a series.
    pub times: Vec<i64>,
    /// Values, by the position of their times.
    pub values: Vec<f64>,
}

impl SeriesColumns {
    /// Each series with its times, in milliseconds, and its values.
    pub fn series(&self) -> impl Iterator<Item = (&LabelSet, &[i64], &[f64])> {
        let mut start = 0;
        self.labels.iter().zip(&self.ends).map(move |(labels, end)| {
            let rows = start..*end;
            start = *end;
            let times = self.times.get(rows.clone()).unwrap_or_default();
            (labels, times, self.values.get(rows).unwrap_or_default())
        })
    }

    /// The same as rows.
    #[must_use]
    pub fn into_rows(self) -> Vec<SeriesRows> {
        let row = |(labels, times, values): (&LabelSet, &[i64], &[f64])| {
            let samples = times.iter().zip(values);
            let sample =
                |(time, value): (&i64, &f64)| Sample { series: 0, time: Millis(*time), value: *value };
            SeriesRows {
                labels: labels.clone(),
                samples: samples.map(sample).collect(),
                ..SeriesRows::default()
            }
        };
        self.series().map(row).collect()
    }
}

/// One group of [`crate::Shape::Group`].
#[derive(Clone, Debug, PartialEq)]
pub struct GroupRow {
    /// End of the bucket; zero without buckets.
    pub time: Nanos,
    /// The values of the fields grouped by.
    pub key: Vec<Box<str>>,
    /// The aggregates in the order asked for.
    pub values: Vec<f64>,
}

/// One group of [`crate::Shape::Numbers`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NumberRow {
    /// The values of the fields grouped by.
    pub key: Vec<Box<str>>,
    /// The numbers, in no particular order.
    pub numbers: Vec<f64>,
    /// When each of them was; empty unless the shape asks for it.
    pub times: Vec<Nanos>,
}

/// One series of [`crate::Shape::Grid`]: a value per instant of the grid, `None` where the function has none.
#[derive(Clone, Debug, PartialEq)]
pub struct GridRow {
    /// The series.
    pub labels: LabelSet,
    /// First instant.
    pub start: Millis,
    /// Values.
    pub values: Vec<Option<f64>>,
}

/// What a scan did, and how complete its answer is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanSummary {
    /// Rows looked at.
    pub rows: u64,
    /// Bytes read from disk.
    pub bytes: u64,
    /// Sentences about data that should be in the answer and is not (quarantined parts ...). Empty: complete.
    pub missing: Vec<String>,
}

/// Why a scan gave no answer.
#[derive(Debug)]
pub enum ScanError {
    /// The question needs more memory than `bytes_max`.
    TooMuchMemory {
        /// The limit that was hit, in bytes.
        limit: usize,
    },
    /// Whoever asked raised [`crate::Cancel`].
    Cancelled,
    /// The disk or the engine failed.
    Failed {
        /// What was tried and what came back.
        detail: String,
    },
}

impl fmt::Display for ScanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMuchMemory { limit } => {
                write!(
                    f,
                    "the query needs more than {limit} bytes of memory; narrow its range or its selector"
                )
            }
            Self::Cancelled => f.write_str("the query was cancelled"),
            Self::Failed { detail } => write!(f, "the store could not be read: {detail}"),
        }
    }
}

impl std::error::Error for ScanError {}

/// How long data is kept, and how much of it.
#[derive(Clone, Debug, Default)]
pub struct Retention {
    /// The present, by the server's clock, never by a sender's stamp.
    pub now: Nanos,
    /// Age at which metrics go; `None` keeps them for ever.
    pub metrics: Option<Duration>,
    /// Age at which logs go.
    pub logs: Option<Duration>,
    /// Age at which spans go.
    pub traces: Option<Duration>,
    /// Bytes that all data may take on disk, the write-ahead log included, before the oldest go; `None`: no limit.
    pub bytes: Option<u64>,
    /// What holds for single tenants in place of the ages above, complete in itself.
    pub tenants: HashMap<TenantId, TenantRetention>,
}

/// How long the data of one tenant are kept, and how much of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TenantRetention {
    /// Age at which metrics go; `None` keeps them for ever.
    pub metrics: Option<Duration>,
    /// Age at which logs go.
    pub logs: Option<Duration>,
    /// Age at which spans go.
    pub traces: Option<Duration>,
    /// Bytes that the tenant's files may take. The write-ahead log is everyone's and not counted; [`Retention::bytes`]
    /// holds beside this.
    pub bytes: Option<u64>,
}

impl Retention {
    /// What holds for a tenant.
    #[must_use]
    pub fn of(&self, tenant: &TenantId) -> TenantRetention {
        let Self { metrics, logs, traces, .. } = *self;
        let for_all = TenantRetention { metrics, logs, traces, bytes: None };
        self.tenants.get(tenant).copied().unwrap_or(for_all)
    }
}

/// How long log streams are kept that are not kept as long as others.
#[derive(Clone, Debug, Default)]
pub struct StreamRetention {
    /// The present, by the server's clock.
    pub now: Nanos,
    /// Of the rules that take a stream, the first holds; a stream that none takes is kept.
    pub rules: Vec<StreamRule>,
}

/// How long some log streams are kept.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamRule {
    /// Whose streams; `None` for everyone's.
    pub tenant: Option<TenantId>,
    /// Which streams; looks at labels only.
    pub filter: Filter,
    /// Age at which they go; `None` keeps them for ever.
    pub age: Option<Duration>,
}

/// What retention removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Files.
    pub parts: u64,
    /// Rows in them.
    pub rows: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Files among them that were not too old: their bytes were over a limit.
    pub for_size: u64,
}
