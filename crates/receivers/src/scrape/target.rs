//! One target, and what is known of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kenning_gotext::url::query_escape;
use kenning_model::{LabelSet, MetricMetadata, Nanos};
use kenning_pipeline::relabel::Labels;
use kenning_promconfig::ScrapeConfig;
use kenning_promconfig::targets::{
    ADDRESS, ALWAYS_CLASSIC, CONVERT_CLASSIC, METRICS_PATH, NATIVE, PARAM_PREFIX, SCHEME, SCRAPE_INTERVAL,
    SCRAPE_TIMEOUT,
};
use kenning_promconfig::units;
use kenning_wire::prometheus::HistogramRules;

use super::client::Place;

/// Largest document of a job without `body_size_limit`.
const BODY_BYTES_MAX: usize = 64 << 20;

/// Whether the last scrape worked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// Not scraped yet.
    #[default]
    Unknown,
    /// It did.
    Up,
    /// It did not.
    Down,
}

impl Health {
    /// The word that Prometheus' targets API uses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// A target as `/api/v1/targets` shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetStatus {
    /// The job (Prometheus' scrape pool).
    pub job_name: String,
    /// Its labels before relabelling.
    pub discovered: LabelSet,
    /// Where it is scraped.
    pub scrape_url: String,
    /// Labels of its series: `job`, `instance` and the others.
    pub labels: LabelSet,
    /// Time between scrapes.
    pub interval: Duration,
    /// Time one may take.
    pub timeout: Duration,
    /// Whether the last one worked.
    pub health: Health,
    /// Why it did not; empty otherwise.
    pub last_error: String,
    /// When it began, by the wall clock.
    pub last_scrape: Option<Nanos>,
    /// How long it took.
    pub last_duration: Duration,
}

/// A target that a rule drops.
#[derive(Clone, Debug, PartialEq)]
pub struct DroppedTarget {
    /// The job.
    pub job_name: String,
    /// Its labels before relabelling.
    pub discovered: LabelSet,
}

#[derive(Debug, Default)]
struct Last {
    health: Health,
    error: String,
    scrape: Option<Nanos>,
    duration: Duration,
    forced: Option<String>,
    metadata: Vec<MetricMetadata>,
}

/// A target of a job.
#[derive(Debug)]
pub(super) struct Target {
    pub config: Arc<ScrapeConfig>,
    pub job_label: Arc<str>,
    pub place: Place,
    pub labels: LabelSet,
    pub interval: Duration,
    pub timeout: Duration,
    /// What becomes of histograms, which rules may say target by target.
    pub histograms: HistogramRules,
    discovered: LabelSet,
    last: Mutex<Last>,
}

impl Target {
    /// A target of what discovery found and what relabelling made of it.
    pub fn new(config: Arc<ScrapeConfig>, discovered: &Labels, relabelled: &Labels) -> Result<Self, String> {
        let path = path_and_query(&config, relabelled);
        let place = Place::new(relabelled.get(SCHEME), relabelled.get(ADDRESS), &path)?;
        let mut labels = relabelled.clone();
        labels.retain(|name| !name.starts_with("__"));
        Ok(Self {
            job_label: config.job_name.as_str().into(),
            place,
            labels: labels.build(),
            interval: units::duration(relabelled.get(SCRAPE_INTERVAL))?,
            timeout: units::duration(relabelled.get(SCRAPE_TIMEOUT))?,
            histograms: histogram_rules(&config, relabelled),
            discovered: discovered.build(),
            last: Mutex::default(),
            config,
        })
    }

    /// Decides at which point of the interval this target is scraped; the same after every restart.
    pub fn spread_seed(&self) -> u64 {
        // FNV-1a: stable across versions of the compiler, which the standard hasher is not.
        let text = self.labels.iter().flat_map(|(name, value)| [name, value]);
        let text = text.chain([self.place.path.as_str()]);
        text.flat_map(str::bytes).fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }

    /// Largest document.
    pub fn body_bytes_max(&self) -> usize {
        match self.config.body_size_limit {
            0 => BODY_BYTES_MAX,
            limit => usize::try_from(limit).unwrap_or(usize::MAX),
        }
    }

    /// Fails every scrape with this error from now on, or lets them be.
    pub fn force(&self, error: Option<String>) {
        self.last().forced = error;
    }

    pub fn forced(&self) -> Option<String> {
        self.last().forced.clone()
    }

    pub fn set_metadata(&self, metadata: Vec<MetricMetadata>) {
        self.last().metadata = metadata;
    }

    pub fn note(&self, scrape: Nanos, duration: Duration, error: Option<String>) {
        let mut last = self.last();
        last.health = if error.is_none() { Health::Up } else { Health::Down };
        last.error = error.unwrap_or_default();
        last.scrape = Some(scrape);
        last.duration = duration;
    }

    fn status(&self) -> TargetStatus {
        let last = self.last();
        TargetStatus {
            job_name: self.config.job_name.clone(),
            discovered: self.discovered.clone(),
            scrape_url: self.place.url(),
            labels: self.labels.clone(),
            interval: self.interval,
            timeout: self.timeout,
            health: last.health,
            last_error: last.error.clone(),
            last_scrape: last.scrape,
            last_duration: last.duration,
        }
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The job's rules, but for what the target's labels say. Definition of truth: Go `strconv.ParseBool`.
fn histogram_rules(config: &ScrapeConfig, labels: &Labels) -> HistogramRules {
    let flag = |name: &str, of_job: bool| match labels.get(name) {
        "" => of_job,
        word => ["1", "t", "T", "true", "TRUE", "True"].contains(&word),
    };
    HistogramRules {
        native: flag(NATIVE, config.scrape_native_histograms),
        classic_too: flag(ALWAYS_CLASSIC, config.always_scrape_classic_histograms),
        to_custom_buckets: flag(CONVERT_CLASSIC, config.convert_classic_histograms_to_nhcb),
        bucket_limit: usize::try_from(config.native_histogram_bucket_limit).unwrap_or(usize::MAX),
        bucket_factor_min: config.native_histogram_min_bucket_factor,
    }
}

/// Path and parameters. Labels hold the first value of each parameter, the job the others.
fn path_and_query(config: &ScrapeConfig, labels: &Labels) -> String {
    let mut params: Vec<(&str, &str)> = Vec::new();
    for (name, values) in &config.params {
        params.extend(values.iter().skip(1).map(|value| (name.as_str(), value.as_str())));
    }
    let firsts = labels.iter().filter_map(|(name, value)| Some((name.strip_prefix(PARAM_PREFIX)?, value)));
    let mut all: Vec<_> = firsts.chain(params).collect();
    all.sort_by_key(|(name, _)| *name);
    let path = labels.get(METRICS_PATH);
    let slash = if path.starts_with('/') { "" } else { "/" };
    let query: Vec<_> =
        all.iter().map(|(name, value)| format!("{}={}", query_escape(name), query_escape(value))).collect();
    let question = if query.is_empty() { "" } else { "?" };
    format!("{slash}{path}{question}{}", query.join("&"))
}

/// What one job has.
#[derive(Debug)]
struct PoolTargets {
    config: Arc<ScrapeConfig>,
    active: Vec<Arc<Target>>,
    dropped: Vec<DroppedTarget>,
    dropped_count: usize,
}

/// All targets of a scraper. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Targets(Arc<Mutex<Vec<PoolTargets>>>);

impl Targets {
    pub(super) fn put(
        &self,
        config: &Arc<ScrapeConfig>,
        active: Vec<Arc<Target>>,
        dropped: Vec<DroppedTarget>,
        dropped_count: usize,
    ) {
        let mut pools = self.pools();
        let pool = PoolTargets { config: config.clone(), active, dropped, dropped_count };
        match pools.iter_mut().find(|known| known.config.job_name == config.job_name) {
            Some(known) => *known = pool,
            None => pools.push(pool),
        }
    }

    /// Forgets a job, unless another of its name has taken its place.
    pub(super) fn remove(&self, job_name: &str, config: &Arc<ScrapeConfig>) {
        self.pools().retain(|pool| pool.config.job_name != job_name || !Arc::ptr_eq(&pool.config, config));
    }

    fn pools(&self) -> MutexGuard<'_, Vec<PoolTargets>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How each target stands.
    #[must_use]
    pub fn statuses(&self) -> Vec<TargetStatus> {
        self.pools().iter().flat_map(|pool| &pool.active).map(|target| target.status()).collect()
    }

    /// Targets that rules drop, as many as jobs keep.
    #[must_use]
    pub fn dropped(&self) -> Vec<DroppedTarget> {
        self.pools().iter().flat_map(|pool| pool.dropped.clone()).collect()
    }

    /// The jobs with the number of targets that their rules drop.
    #[must_use]
    pub fn pool_counts(&self) -> Vec<(String, usize)> {
        self.pools().iter().map(|pool| (pool.config.job_name.clone(), pool.dropped_count)).collect()
    }

    /// What every target says of its metrics, with the target's labels.
    #[must_use]
    pub fn metadata(&self) -> Vec<(LabelSet, Vec<MetricMetadata>)> {
        let pools = self.pools();
        let targets = pools.iter().flat_map(|pool| &pool.active);
        targets.map(|target| (target.labels.clone(), target.last().metadata.clone())).collect()
    }
}
