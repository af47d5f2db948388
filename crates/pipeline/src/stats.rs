//! What the pipeline counts about itself.

use std::borrow::Cow;
use std::sync::Arc;

use kenning_model::{Reason, Signal};

use crate::telemetry::{
    BYTES, COUNTS, Counter, Declaration, Gauge, Histogram, Labels, Metric, Registry, SECONDS,
};

/// Why a whole request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Over the tenant's rate.
    RateLimited,
    /// The queue was full.
    Overloaded,
    /// Larger than the queue.
    TooLarge,
    /// The store could not write, or the pipeline was stopping.
    Unavailable,
    /// The store is read-only.
    ReadOnly,
}

impl Cause {
    /// The word used as a label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::TooLarge => "too_large",
            Self::Unavailable => "unavailable",
            Self::ReadOnly => "read_only",
        }
    }
}

/// Labels `tenant` and `signal`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ByTenant {
    /// The tenant, or `other` beyond the number of tenants kept apart.
    pub tenant: Arc<str>,
    /// The signal.
    pub signal: Signal,
}

impl Labels for ByTenant {
    const NAMES: &'static [&'static str] = &["tenant", "signal"];
    fn values(&self) -> Vec<String> {
        vec![self.tenant.to_string(), self.signal.to_string()]
    }
}

/// The label `tenant`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OfTenant(pub Arc<str>);

impl Labels for OfTenant {
    const NAMES: &'static [&'static str] = &["tenant"];
    fn values(&self) -> Vec<String> {
        vec![self.0.to_string()]
    }
}

/// Labels `tenant`, `signal` and `reason`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ByReason {
    /// The tenant, or `other`.
    pub tenant: Arc<str>,
    /// The signal.
    pub signal: Signal,
    /// Why the item was left out.
    pub reason: Reason,
}

impl Labels for ByReason {
    const NAMES: &'static [&'static str] = &["tenant", "signal", "reason"];
    fn values(&self) -> Vec<String> {
        vec![self.tenant.to_string(), self.signal.to_string(), self.reason.to_string()]
    }
}

/// Labels `tenant`, `signal` and `reason`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ByDrop {
    /// The tenant, or `other`.
    pub tenant: Arc<str>,
    /// The signal.
    pub signal: Signal,
    /// The processor's reason.
    pub reason: Cow<'static, str>,
}

impl Labels for ByDrop {
    const NAMES: &'static [&'static str] = &["tenant", "signal", "reason"];
    fn values(&self) -> Vec<String> {
        vec![self.tenant.to_string(), self.signal.to_string(), self.reason.to_string()]
    }
}

/// Labels `tenant`, `limit` and `metric`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ByCulprit {
    /// The tenant, or `other`.
    pub tenant: Arc<str>,
    /// The setting that was reached, below `limits.ingest`.
    pub limit: &'static str,
    /// The metric of the refused series; empty for log streams, `other` beyond [`crate::telemetry::POINTS_MAX`].
    pub metric: Box<str>,
}

impl Labels for ByCulprit {
    const NAMES: &'static [&'static str] = &["tenant", "limit", "metric"];
    fn values(&self) -> Vec<String> {
        vec![self.tenant.to_string(), self.limit.to_owned(), self.metric.to_string()]
    }
}

/// Labels `tenant`, `signal` and `cause`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ByCause {
    /// The tenant, or `other`.
    pub tenant: Arc<str>,
    /// The signal.
    pub signal: Signal,
    /// Why the request was refused.
    pub cause: Cause,
}

impl Labels for ByCause {
    const NAMES: &'static [&'static str] = &["tenant", "signal", "cause"];
    fn values(&self) -> Vec<String> {
        vec![self.tenant.to_string(), self.signal.to_string(), self.cause.as_str().to_owned()]
    }
}

/// The pipeline's metrics.
#[derive(Clone, Debug)]
pub struct Stats {
    /// Items stored.
    pub stored: Arc<Metric<ByTenant, Counter>>,
    /// Items left out.
    pub rejected: Arc<Metric<ByReason, Counter>>,
    /// Items left out by processors, as they were told to.
    pub dropped: Arc<Metric<ByDrop, Counter>>,
    /// Series and streams refused because of their number.
    pub refused_series: Arc<Metric<ByCulprit, Counter>>,
    /// Requests refused as a whole.
    pub refused: Arc<Metric<ByCause, Counter>>,
    /// Active series and streams.
    pub active: Arc<Metric<ByTenant, Gauge>>,
    /// Streams of delta temporality that are being added up.
    pub delta_streams: Arc<Metric<OfTenant, Gauge>>,
    /// Samples of zero put where counters began.
    pub start_zeros: Arc<Counter>,
    /// Zeros left out because too many series tell starts.
    pub start_zeros_without_room: Arc<Counter>,
    /// Memory of active series and streams, as estimated when they came.
    pub series_bytes: Arc<Gauge>,
    /// Bound of the above.
    pub series_limit_bytes: Arc<Gauge>,
    /// Bytes waiting or being written.
    pub queue_bytes: Arc<Gauge>,
    /// Bound of the above.
    pub queue_limit_bytes: Arc<Gauge>,
    /// Batches per group.
    pub group_batches: Arc<Histogram>,
    /// Bytes per group.
    pub group_bytes: Arc<Histogram>,
    /// Duration of the store's write.
    pub commit_seconds: Arc<Histogram>,
    /// Groups the store did not write.
    pub commit_failures: Arc<Counter>,
}

impl Stats {
    /// Declares the metrics.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        let gauge = |declaration| registry.gauge(declaration).with(&());
        let histogram = |declaration, bounds| registry.histogram(declaration, bounds).with(&());
        Self {
            stored: registry.counter(STORED),
            rejected: registry.counter(REJECTED),
            dropped: registry.counter(DROPPED),
            refused_series: registry.counter(REFUSED_SERIES),
            refused: registry.counter(REFUSED),
            active: registry.gauge(ACTIVE),
            delta_streams: registry.gauge(DELTA_STREAMS),
            start_zeros: registry.counter(START_ZEROS).with(&()),
            start_zeros_without_room: registry.counter(START_ZEROS_WITHOUT_ROOM).with(&()),
            series_bytes: gauge(SERIES_BYTES),
            series_limit_bytes: gauge(SERIES_LIMIT_BYTES),
            queue_bytes: gauge(QUEUE_BYTES),
            queue_limit_bytes: gauge(QUEUE_LIMIT_BYTES),
            group_batches: histogram(GROUP_BATCHES, COUNTS),
            group_bytes: histogram(GROUP_BYTES, BYTES),
            commit_seconds: histogram(COMMIT_SECONDS, SECONDS),
            commit_failures: registry.counter(COMMIT_FAILURES).with(&()),
        }
    }
}

const STORED: Declaration = Declaration {
    name: "kenning_ingest_items_total",
    help: "Samples, log records and spans that are durable and visible",
    unit: "",
};
const REJECTED: Declaration = Declaration {
    name: "kenning_ingest_rejected_items_total",
    help: "Samples, log records and spans left out of a request, by reason",
    unit: "",
};
const DROPPED: Declaration = Declaration {
    name: "kenning_ingest_dropped_items_total",
    help: "Samples, log records and spans left out by processors as configured, by reason",
    unit: "",
};
const START_ZEROS: Declaration = Declaration {
    name: "kenning_ingest_start_zeros_total",
    help: "Samples of zero put where counters began (prometheus.created_timestamp_zero_ingestion)",
    unit: "",
};
const START_ZEROS_WITHOUT_ROOM: Declaration = Declaration {
    name: "kenning_ingest_start_zeros_left_out_total",
    help: "Samples of zero left out because more series tell starts than are followed",
    unit: "",
};
const REFUSED: Declaration = Declaration {
    name: "kenning_ingest_refused_requests_total",
    help: "Requests refused as a whole, by cause",
    unit: "",
};
const REFUSED_SERIES: Declaration = Declaration {
    name: "kenning_ingest_refused_series_total",
    help: "New series and streams refused because of their number, by limit and metric; one that is offered again counts again",
    unit: "",
};
const ACTIVE: Declaration = Declaration {
    name: "kenning_ingest_active_streams",
    help: "Metric series and log streams seen within the last hour or so",
    unit: "",
};
const DELTA_STREAMS: Declaration = Declaration {
    name: "kenning_ingest_delta_streams",
    help: "Streams of delta temporality whose totals are kept in memory",
    unit: "",
};
const SERIES_BYTES: Declaration = Declaration {
    name: "kenning_ingest_series_bytes",
    help: "Memory of active series and streams, as estimated when they came",
    unit: "bytes",
};
const SERIES_LIMIT_BYTES: Declaration = Declaration {
    name: "kenning_ingest_series_limit_bytes",
    help: "Memory that active series and streams may take before new ones are refused",
    unit: "bytes",
};
const QUEUE_BYTES: Declaration = Declaration {
    name: "kenning_ingest_queue_bytes",
    help: "Bytes of batches that wait for the store or are being written",
    unit: "bytes",
};
const QUEUE_LIMIT_BYTES: Declaration = Declaration {
    name: "kenning_ingest_queue_limit_bytes",
    help: "Most bytes of batches that may wait for the store",
    unit: "bytes",
};
const GROUP_BATCHES: Declaration =
    Declaration { name: "kenning_commit_group_batches", help: "Batches written with one sync", unit: "" };
const GROUP_BYTES: Declaration =
    Declaration { name: "kenning_commit_group_bytes", help: "Bytes written with one sync", unit: "bytes" };
const COMMIT_SECONDS: Declaration = Declaration {
    name: "kenning_commit_seconds",
    help: "Time the store took to write a group",
    unit: "seconds",
};
const COMMIT_FAILURES: Declaration = Declaration {
    name: "kenning_commit_failures_total",
    help: "Groups of batches that the store did not write",
    unit: "",
};
