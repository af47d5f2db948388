//! What one tenant may send. Every limit has a default that is on, and every one can be lifted.

use std::collections::HashMap;
use std::time::Duration;

use kenning_model::TenantId;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const KIB: usize = 1024;
/// Exporters send every minute or more often, batch jobs once an hour.
const DELTA_IDLE: Duration = Duration::from_secs(2 * 60 * 60);

/// Ingest limits of one tenant. `None` lifts a limit.
///
/// The field `x` is the setting `limits.ingest.x`, which is how messages name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How far back a stamp may lie from the server's wall clock.
    pub past: Option<Duration>,
    /// How far ahead a stamp may lie.
    pub future: Option<Duration>,
    /// Labels of one series or stream, the metric's name included.
    pub labels: Option<usize>,
    /// Bytes of a label's name.
    pub label_name_bytes: Option<usize>,
    /// Bytes of a label's value.
    pub label_value_bytes: Option<usize>,
    /// Bytes of a log line.
    pub line_bytes: Option<usize>,
    /// Bytes of one attribute's value: of spans, their events, links and resources, and of structured metadata.
    pub attribute_bytes: Option<usize>,
    /// Samples a second; twice as many at once.
    pub samples_per_second: Option<u64>,
    /// Bytes a second of log lines and their metadata; twice as many at once.
    pub log_bytes_per_second: Option<u64>,
    /// Spans a second; twice as many at once.
    pub spans_per_second: Option<u64>,
    /// Series that got a sample within the last hour or so.
    pub series: Option<usize>,
    /// The same, of one metric name.
    pub series_per_metric: Option<usize>,
    /// Series never seen within the last hour or so, per hour.
    pub new_series_per_hour: Option<u64>,
    /// Log streams that got a record within the last hour or so.
    pub streams: Option<usize>,
    /// Streams of delta temporality whose totals are kept; lifted, two million are.
    pub delta_series: Option<usize>,
    /// How long such a total is kept after its last point.
    pub delta_idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            past: Some(30 * DAY),
            future: Some(Duration::from_secs(10 * 60)),
            labels: Some(64),
            label_name_bytes: Some(256),
            label_value_bytes: Some(4 * KIB),
            line_bytes: Some(256 * KIB),
            attribute_bytes: Some(64 * KIB),
            samples_per_second: Some(100_000),
            log_bytes_per_second: Some(16_000_000),
            spans_per_second: Some(20_000),
            series: Some(500_000),
            series_per_metric: Some(100_000),
            new_series_per_hour: Some(500_000),
            streams: Some(20_000),
            delta_series: Some(100_000),
            delta_idle: DELTA_IDLE,
        }
    }
}

impl Limits {
    /// Everything lifted.
    #[must_use]
    pub const fn unlimited() -> Self {
        Self {
            past: None,
            future: None,
            labels: None,
            label_name_bytes: None,
            label_value_bytes: None,
            line_bytes: None,
            attribute_bytes: None,
            samples_per_second: None,
            log_bytes_per_second: None,
            spans_per_second: None,
            series: None,
            series_per_metric: None,
            new_series_per_hour: None,
            streams: None,
            delta_series: None,
            delta_idle: DELTA_IDLE,
        }
    }
}

/// The limits of every tenant: one set for all, and others by name.
#[derive(Clone, Debug, Default)]
pub struct LimitsTable {
    /// For tenants without limits of their own.
    pub default: Limits,
    /// Limits of named tenants, complete in themselves.
    pub tenants: HashMap<TenantId, Limits>,
}

impl LimitsTable {
    /// The limits that hold for `tenant`.
    #[must_use]
    pub fn of(&self, tenant: &TenantId) -> &Limits {
        self.tenants.get(tenant).unwrap_or(&self.default)
    }
}

impl From<Limits> for LimitsTable {
    fn from(default: Limits) -> Self {
        Self { default, tenants: HashMap::new() }
    }
}
