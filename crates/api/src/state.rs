//! What handlers share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use kenning_model::{MetricMetadata, Store};
use kenning_query::Limits;
use kenning_stdx::clock::Clock;

use crate::loki::{AskPatterns, Deletes, Tails};
use crate::push::Push;
use crate::run::QueryGate;

/// Everything the API is given by the server.
pub struct ApiParts {
    /// The data.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Bounds of each query.
    pub limits: Limits,
    /// Bounds of all queries together.
    pub gate: QueryGate,
    /// Who takes what clients push.
    pub push: Arc<dyn Push>,
    /// Whether requests can be answered.
    pub readiness: Arc<Readiness>,
    /// Kenning's version.
    pub version: &'static str,
    /// When the server started, in seconds since the epoch.
    pub started_at: i64,
    /// Renders the server's own metrics in the Prometheus text format 0.0.4.
    pub own_metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// What is scraped and how it goes.
    pub scraping: Arc<dyn Scraping>,
    /// How much comes in and is kept.
    pub ingest: Arc<dyn Fn() -> IngestOverview + Send + Sync>,
    /// Patterns of log lines; none when mining is off.
    pub patterns: Option<Arc<AskPatterns>>,
    /// Who follows logs as they are committed.
    pub tails: Arc<Tails>,
    /// The settings in force as YAML, secrets left out.
    pub config: String,
    /// The parts of metrics on disk, oldest first.
    pub blocks: Arc<dyn Fn() -> Vec<BlockSummary> + Send + Sync>,
    /// What the operator chose for the web.
    pub web: WebOptions,
}

/// What the operator chose for the web.
#[derive(Clone, Debug, Default)]
pub struct WebOptions {
    /// Whether deletes and snapshots may be asked for over HTTP (`web.enable_admin_api`).
    pub admin_api: bool,
    /// Origins whose scripts may read answers (`web.cors.origin`), a pattern for the whole origin; `None`: nobody's.
    pub cors_origin: Option<kenning_model::Pattern>,
    /// Start times become samples of zero (`prometheus.created_timestamp_zero_ingestion`).
    pub start_zeros: bool,
    /// Labels that tell this server's series from other servers' (federation, remote read).
    pub external_labels: Vec<(String, String)>,
}

/// A part of metrics as `/api/v1/status/tsdb/blocks` shows it.
#[derive(Clone, Copy, Debug, Default)]
pub struct BlockSummary {
    /// Its id.
    pub id: u64,
    /// Time of the earliest sample, in milliseconds since the epoch.
    pub min_ms: i64,
    /// Time of the latest sample, in milliseconds since the epoch.
    pub max_ms: i64,
    /// Samples in it.
    pub samples: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// How often its samples were merged.
    pub level: u8,
}

/// A cheap handle on [`ApiParts`].
#[derive(Clone)]
pub struct Api {
    parts: Arc<ApiParts>,
    /// What was deleted over Loki's API.
    pub(crate) deletes: Arc<Deletes>,
}

impl Api {
    /// Shares the parts.
    #[must_use]
    pub fn new(parts: ApiParts) -> Self {
        Self { parts: Arc::new(parts), deletes: Arc::default() }
    }

    /// Labels that tell this server's series from other servers': those of the settings, and of the `prometheus.yml` in
    /// force where these say nothing.
    pub(crate) fn external_labels(&self) -> Vec<(String, String)> {
        let mut labels = self.parts.web.external_labels.clone();
        for (name, value) in self.parts.scraping.loaded().external_labels {
            if !labels.iter().any(|(known, _)| *known == name) {
                labels.push((name, value));
            }
        }
        labels
    }

    /// The present by the wall clock, in milliseconds since the epoch.
    pub(crate) fn now_ms(&self) -> i64 {
        self.parts.clock.unix_nanos().div_euclid(1_000_000)
    }
}

impl std::ops::Deref for Api {
    type Target = ApiParts;

    fn deref(&self) -> &ApiParts {
        &self.parts
    }
}

/// Where the server is in its life. Starts as *starting*.
///
/// ## Starting => (Replaying | Ready | Stopping), Replaying => (Ready | Stopping), Ready => Stopping
#[derive(Debug, Default)]
pub struct Readiness(AtomicU8);

impl Readiness {
    const STARTING: u8 = 0;
    const READY: u8 = 1;
    const STOPPING: u8 = 2;
    const REPLAYING: u8 = 3;

    /// Writes are taken from now on; queries wait until recent data are read back.
    pub fn set_replaying(&self) {
        self.change(Self::STARTING, Self::REPLAYING);
    }

    /// Requests are answered from now on.
    pub fn set_ready(&self) {
        // A server that is already stopping stays so.
        self.change(Self::STARTING, Self::READY);
        self.change(Self::REPLAYING, Self::READY);
    }

    fn change(&self, from: u8, to: u8) {
        let _ = self.0.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// The server drains and ends.
    pub fn set_stopping(&self) {
        self.0.store(Self::STOPPING, Ordering::SeqCst);
    }

    /// True while requests are taken: from [`Self::set_replaying`] or [`Self::set_ready`] to [`Self::set_stopping`].
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self.0.load(Ordering::SeqCst), Self::READY | Self::REPLAYING)
    }

    /// The state's name.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self.0.load(Ordering::SeqCst) {
            Self::STARTING => "starting",
            Self::READY => "ready",
            Self::REPLAYING => "ready and replaying its write-ahead log; queries wait for that",
            _ => "stopping",
        }
    }
}

/// A target's labels, and what it says of its metrics.
pub type TargetMetadata = (Vec<(String, String)>, Vec<MetricMetadata>);

/// What the API asks of whoever scrapes.
pub trait Scraping: Send + Sync + 'static {
    /// The targets and how they stand.
    fn targets(&self) -> Vec<ScrapeTarget>;
    /// The labels, before relabelling, of targets that rules drop, with their jobs.
    fn dropped(&self) -> Vec<(String, Vec<(String, String)>)>;
    /// The jobs, each with the number of targets that its rules drop.
    fn pools(&self) -> Vec<(String, usize)>;
    /// What targets say of their metrics: labels of the target, then the metrics.
    fn metadata(&self) -> Vec<TargetMetadata>;
    /// Reads the configuration again; the error says why the old one stays.
    fn reload(&self) -> Result<(), String>;
    /// The configuration in force.
    fn loaded(&self) -> LoadedConfig {
        LoadedConfig::default()
    }
}

/// The `prometheus.yml` in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadedConfig {
    /// Its text without secrets; `None` when there is no such file.
    pub yaml: Option<String>,
    /// Labels that tell this server's series from other servers' (federation, remote read).
    pub external_labels: Vec<(String, String)>,
    /// When it was read, in milliseconds since the epoch; 0 when nothing was.
    pub at_ms: i64,
    /// A newer one was read since and refused.
    pub failed: bool,
}

/// Nothing is scraped.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoScraping;

impl Scraping for NoScraping {
    fn targets(&self) -> Vec<ScrapeTarget> {
        Vec::new()
    }
    fn dropped(&self) -> Vec<(String, Vec<(String, String)>)> {
        Vec::new()
    }
    fn pools(&self) -> Vec<(String, usize)> {
        Vec::new()
    }
    fn metadata(&self) -> Vec<TargetMetadata> {
        Vec::new()
    }
    fn reload(&self) -> Result<(), String> {
        Ok(())
    }
}

/// A scrape target as `/api/v1/targets` shows it.
#[derive(Clone, Debug, Default)]
pub struct ScrapeTarget {
    /// The job it belongs to.
    pub job: String,
    /// Its `instance` label.
    pub instance: String,
    /// Where it is scraped.
    pub url: String,
    /// Its labels before relabelling.
    pub discovered: Vec<(String, String)>,
    /// All its labels.
    pub labels: Vec<(String, String)>,
    /// Whether the last scrape worked; `None` before the first.
    pub up: Option<bool>,
    /// Why it did not.
    pub last_error: String,
    /// When the last scrape started, in milliseconds since the epoch.
    pub last_scrape_ms: i64,
    /// How long it took, in seconds.
    pub last_duration_seconds: f64,
    /// Distance between scrapes, as Prometheus prints it.
    pub interval: String,
    /// Longest scrape, likewise.
    pub timeout: String,
}

/// How much comes in and is kept. Totals since the start of the process.
#[derive(Clone, Debug, Default)]
pub struct IngestOverview {
    /// Samples stored.
    pub samples: u64,
    /// Log records stored.
    pub log_records: u64,
    /// Spans stored.
    pub spans: u64,
    /// What was not stored, and why.
    pub refused: Vec<Refused>,
    /// Bytes of parts and write-ahead log.
    pub bytes_on_disk: u64,
    /// How long and how much is kept for all tenants, as a text such as `31d or 10GiB`; empty for everything.
    pub retention: String,
    /// The first, the last and the current segment of the write-ahead log that the start reads back.
    pub replay: [u64; 3],
    /// Series with recent samples.
    pub active_series: u64,
    /// How many series tenants may have that have no limits of their own.
    pub series_limits: SeriesLimits,
    /// The same of tenants with limits of their own.
    pub series_limits_by_tenant: BTreeMap<String, SeriesLimits>,
}

impl IngestOverview {
    /// How many series a tenant may have.
    #[must_use]
    pub fn series_limits_of(&self, tenant: &str) -> SeriesLimits {
        self.series_limits_by_tenant.get(tenant).copied().unwrap_or(self.series_limits)
    }
}

/// How many active series a tenant may have; `None`: as many as come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SeriesLimits {
    /// In all.
    pub series: Option<u64>,
    /// Of one metric name.
    pub per_metric: Option<u64>,
}

/// Items that were not stored for one reason.
#[derive(Clone, Debug, Default)]
pub struct Refused {
    /// The signal.
    pub signal: String,
    /// The reason's word.
    pub reason: String,
    /// How many.
    pub count: u64,
}
