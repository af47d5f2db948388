//! One target, and what is known of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::uri::Authority;
use kenning_model::{LabelSet, Nanos};

use super::job::ScrapeJob;

const DEFAULT_PORT: u16 = 80;

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
    /// The address as configured (`__address__`).
    pub address: String,
    /// Where it is scraped.
    pub scrape_url: String,
    /// Labels of its series: `job`, `instance` and the configured ones.
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

#[derive(Debug, Default)]
struct Last {
    health: Health,
    error: String,
    scrape: Option<Nanos>,
    duration: Duration,
}

/// A target of a job.
#[derive(Debug)]
pub(super) struct Target {
    pub job: Arc<ScrapeJob>,
    pub job_label: Arc<str>,
    pub address: String,
    pub connect_to: String,
    pub labels: LabelSet,
    last: Mutex<Last>,
}

impl Target {
    pub fn new(job: Arc<ScrapeJob>, labels: &LabelSet, address: &str) -> Result<Self, String> {
        let bad = || format!("the target {address:?} must be host:port, without scheme and path");
        let authority: Authority = address.parse().map_err(|_| bad())?;
        let unusable = authority.host().is_empty() || address.contains('@');
        let explicit_port = address.len() > authority.host().len();
        if unusable || (explicit_port && authority.port_u16().is_none()) {
            return Err(bad());
        }
        let port = authority.port_u16().unwrap_or(DEFAULT_PORT);
        let connect_to = format!("{}:{port}", authority.host());
        let mut labels = labels.to_builder();
        for (name, value) in [("job", job.job_name.as_str()), ("instance", connect_to.as_str())] {
            if labels.get(name).is_empty() {
                labels.set(name, value);
            }
        }
        let (labels, job_label) = (labels.build(), job.job_name.as_str().into());
        Ok(Self { job, job_label, address: address.to_owned(), connect_to, labels, last: Mutex::default() })
    }

    /// Decides at which point of the interval this target is scraped; the same after every restart.
    pub fn spread_seed(&self) -> u64 {
        // FNV-1a: stable across versions of the compiler, which the standard hasher is not.
        let text = self.labels.iter().flat_map(|(name, value)| [name, value]).chain([self.job.path.as_str()]);
        text.flat_map(str::bytes).fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }

    pub fn note(&self, scrape: Nanos, duration: Duration, error: Option<String>) {
        let health = if error.is_none() { Health::Up } else { Health::Down };
        *self.last() = Last { health, error: error.unwrap_or_default(), scrape: Some(scrape), duration };
    }

    fn status(&self) -> TargetStatus {
        let last = self.last();
        TargetStatus {
            job_name: self.job.job_name.clone(),
            address: self.address.clone(),
            scrape_url: format!("http://{}{}", self.connect_to, self.job.path),
            labels: self.labels.clone(),
            interval: self.job.interval,
            timeout: self.job.timeout,
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

/// All targets of a scraper. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Targets(Arc<[Arc<Target>]>);

impl Targets {
    pub(super) fn new(targets: Vec<Arc<Target>>) -> Self {
        Self(targets.into())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Target>> {
        self.0.iter()
    }

    /// How each target stands, in the order of the configuration.
    #[must_use]
    pub fn statuses(&self) -> Vec<TargetStatus> {
        self.0.iter().map(|target| target.status()).collect()
    }
}
