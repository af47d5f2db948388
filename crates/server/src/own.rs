//! Kenning watches itself: its metrics at `/metrics` and in the tenant `self`; its logs and spans through its own SDK and
//! OTLP receiver into the same tenant.
//!
//! The SDK sends to a listener on a free loopback port that stores for `self`, so our own telemetry takes the way that
//! everyone's takes. Receiving is not traced, or each export would cause the next.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kenning_model::{Batch, LabelSet, Nanos, Rejected, TenantId};
use kenning_pipeline::telemetry::{Counter, Declaration, Gauge, Labels, Metric, Registry, metric_batch};
use kenning_pipeline::{Intake, Refusal};
use kenning_receivers::serve::Stop;
use kenning_stages::LogMetrics;
use kenning_stdx::clock::Clock;
use kenning_store::Engine;

/// The name under which the server appears in its own telemetry.
pub const SERVICE: &str = "kenning";

/// Starts the SDK: JSON lines on standard error, everything over OTLP to `receiver`.
pub fn start_sdk(receiver: SocketAddr) -> Result<kenning::Guard, kenning::Error> {
    kenning::builder()
        .service_name(SERVICE)
        .service_version(env!("CARGO_PKG_VERSION"))
        .log_to_stderr()
        .endpoint(format!("http://{receiver}"))
        .env(own_variable)
        .init()
}

/// The server's own logging follows `KENNING_LOG_LEVEL` and `KENNING_LOG_FORMAT`, and none of the variables that set up
/// services: an operator who exports those means the services.
fn own_variable(name: &str) -> Option<String> {
    let own = match name {
        "LOG_LEVEL" => "KENNING_LOG_LEVEL",
        "LOG_FORMAT" => "KENNING_LOG_FORMAT",
        _ => return None,
    };
    std::env::var(own).ok()
}

/// Why the store let an item go that it had taken; the label `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum StoreDrop {
    /// Its series has another value at its time, as far as found when it came or was flushed.
    DuplicateTime,
    /// The tenant had too many exemplars that are not in parts yet: the oldest went.
    TooManyExemplars,
    /// The tenant had too many metadata: those told longest ago went.
    TooManyMetadata,
}

impl Labels for StoreDrop {
    const NAMES: &'static [&'static str] = &["reason"];
    fn values(&self) -> Vec<String> {
        let reason = match self {
            Self::DuplicateTime => "duplicate_time",
            Self::TooManyExemplars => "too_many_exemplars",
            Self::TooManyMetadata => "too_many_metadata",
        };
        vec![reason.to_owned()]
    }
}

/// Metrics of the store, read from it before each look at the registry.
pub struct StoreMetrics {
    series: Arc<Gauge>,
    head_bytes: Arc<Gauge>,
    wal_bytes: Arc<Gauge>,
    parts: Arc<Gauge>,
    part_bytes: Arc<Gauge>,
    quarantined: Arc<Gauge>,
    memory: Arc<Gauge>,
    dropped: Arc<Metric<StoreDrop, Counter>>,
}

impl StoreMetrics {
    /// Declares them.
    pub fn new(registry: &Registry) -> Self {
        let gauge = |name, help, unit| {
            let metric: Arc<Metric<(), Gauge>> = registry.gauge(Declaration { name, help, unit });
            metric.with(&())
        };
        Self {
            series: gauge("kenning_store_active_series", "Series with samples in the head", ""),
            head_bytes: gauge(
                "kenning_store_head_bytes",
                "Memory of recent data that is not in parts yet",
                "bytes",
            ),
            wal_bytes: gauge("kenning_store_wal_bytes", "Size of the write-ahead log on disk", "bytes"),
            parts: gauge("kenning_store_parts", "Immutable parts on disk", ""),
            part_bytes: gauge("kenning_store_part_bytes", "Size of all parts on disk", "bytes"),
            quarantined: gauge(
                "kenning_store_quarantined_files",
                "Files set aside because they could not be read",
                "",
            ),
            memory: gauge("process_resident_memory_bytes", "Resident memory size", "bytes"),
            dropped: registry.counter(Declaration {
                name: "kenning_store_dropped_items_total",
                help: "Items that the store had taken and let go: samples at a time that their series has another value \
                       for (those that senders were told of included), exemplars and metadata beyond what a tenant may have",
                unit: "",
            }),
        }
    }

    /// Reads the store and the process.
    pub fn refresh(&self, engine: &Engine) {
        let stats = engine.stats();
        self.series.set(stats.active_series);
        self.head_bytes.set(stats.head_bytes);
        self.wal_bytes.set(stats.wal_bytes);
        self.parts.set(stats.tables.iter().map(|table| table.parts).sum());
        self.part_bytes.set(stats.tables.iter().map(|table| table.bytes).sum());
        self.quarantined.set(stats.quarantined.len() as u64);
        for (reason, count) in [
            (StoreDrop::DuplicateTime, stats.counts.conflicting_samples),
            (StoreDrop::TooManyExemplars, stats.counts.dropped_exemplars),
            (StoreDrop::TooManyMetadata, stats.counts.dropped_metadata),
        ] {
            let counter = self.dropped.with(&reason);
            counter.add(count.saturating_sub(counter.get()));
        }
        if let Some(bytes) = kenning_stdx::process::resident_bytes() {
            self.memory.set(bytes);
        }
    }
}

/// Counts of background work.
pub struct UpkeepMetrics {
    /// Flushes that failed.
    pub flush_failures: Arc<Counter>,
    /// Parts dropped by retention.
    pub expired_parts: Arc<Counter>,
    /// Those of them that went for the bytes on disk.
    pub expired_for_size: Arc<Counter>,
}

impl UpkeepMetrics {
    /// Declares them.
    pub fn new(registry: &Registry) -> Self {
        let counter = |name, help| {
            let metric: Arc<Metric<(), Counter>> = registry.counter(Declaration { name, help, unit: "" });
            metric.with(&())
        };
        Self {
            flush_failures: counter(
                "kenning_store_flush_failures_total",
                "Flushes of recent data into parts that failed",
            ),
            expired_parts: counter("kenning_store_expired_parts_total", "Parts dropped by retention"),
            expired_for_size: counter(
                "kenning_store_expired_parts_for_size_total",
                "Parts dropped by retention because of retention.size",
            ),
        }
    }
}

/// Stores a snapshot of the registry for the tenant `self` at each interval until `stop`.
pub async fn store_own_metrics(
    registry: Registry,
    refresh: impl Fn() + Send,
    clock: Arc<dyn Clock>,
    intake: Intake,
    interval: Duration,
    mut stop: Stop,
) {
    let base = LabelSet::from_pairs([("job", SERVICE), ("instance", SERVICE)]);
    let tenant = TenantId::self_tenant();
    loop {
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = stop.wait() => return,
        }
        refresh();
        let batch = metric_batch(&registry.snapshot(), Nanos(clock.unix_nanos()).to_millis(), &base);
        if let Err(refusal) = intake.submit(&tenant, Batch::Metrics(batch), Rejected::default()).await {
            report(&refusal);
        }
    }
}

/// Stores what stages made of log lines, for the tenant whose lines they were, at each interval until `stop`.
pub async fn store_log_metrics(
    metrics: LogMetrics,
    tenant: TenantId,
    clock: Arc<dyn Clock>,
    intake: Intake,
    interval: Duration,
    mut stop: Stop,
) {
    let base = LabelSet::from_pairs([("job", SERVICE), ("instance", SERVICE)]);
    loop {
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = stop.wait() => return,
        }
        let families = metrics.families(clock.steady());
        if families.is_empty() {
            continue;
        }
        let batch = metric_batch(&families, Nanos(clock.unix_nanos()).to_millis(), &base);
        if let Err(refusal) = intake.submit(&tenant, Batch::Metrics(batch), Rejected::default()).await {
            tracing::warn!(%refusal, "metrics of log lines were not stored");
        }
    }
}

fn report(refusal: &Refusal) {
    tracing::warn!(%refusal, "own metrics were not stored");
}
