//! Kenning's vocabulary: tenant, label set, sample, histogram, log record, span, resource, batch, time, and the narrow
//! store trait that everything above the disk is written against.
//!
//! Promises: values of these types are valid (a [`LabelSet`] is sorted and without duplicates, a [`TenantId`] is safe
//! in a path); columns of a batch have equal lengths when built through its methods. Absent on purpose: I/O, wire
//! formats, JSON, async, and any query language.

mod attributes;
mod batch;
mod buckets;
mod fields;
mod histogram;
mod ids;
pub mod keyed;
mod labels;
mod logs;
mod metrics;
mod reject;
mod scan;
mod spans;
mod store;
mod time;

pub use attributes::{Attributes, AttributesBuilder, Value, ValueRef};
pub use batch::{Batch, Signal};
pub use buckets::{BucketWriter, buckets, merged_index};
pub use fields::{LineSyntax, PlainFields, Token, Tokens, field_of_line, is_bare_value, number_of};
pub use histogram::{BucketSpan, CounterReset, Histogram};
pub use ids::{InvalidTenant, SpanId, TenantId, TraceId};
pub use labels::{LabelSet, LabelSetBuilder, METRIC_NAME, fresh_mark};
pub use logs::{LogBatch, LogRow, Severity, TextColumn};
pub use metrics::{
    DeltaData, DeltaPoint, Exemplar, HistogramSample, MetricBatch, MetricKind, MetricMetadata, Sample,
    UNKNOWN_START, push_start, retain_with_starts, start_at,
};
pub use reject::{Reason, Rejected};
pub use scan::{
    Agg, Cancel, Compare, DistinctOf, Field, Filter, Group, Literal, Order, Pattern, RangeFn, Record, Scan,
    Shape, SpanRow, Table, least_of_top,
};
pub use spans::{Span, SpanBatch, SpanEvent, SpanKind, SpanLink, SpanSource, StatusCode};
pub use store::{
    BatchId, Block, Delete, DeleteError, Expired, Flow, GridRow, GroupRow, NumberRow, Retention, ScanError,
    ScanSummary, SeriesColumns, SeriesRows, SnapshotError, Store, StreamRetention, StreamRule,
    TenantRetention, Write, WriteError,
};
pub use time::{Millis, Nanos, TimeRange};
