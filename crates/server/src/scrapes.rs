//! The scraper as the API sees it, and its configuration when it changes.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kenning_api::{ScrapeTarget, Scraping, TargetMetadata};
use kenning_model::LabelSet;
use kenning_promconfig::{ScrapeConfig, units};
use kenning_receivers::scrape::{Control, Health};
use kenning_receivers::serve::Stop;
use kenning_stdx::files::{Files, RealFiles};

use crate::settings::{Settings, prometheus_jobs};

/// Time between looks at `prometheus.config`.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(15);
/// Largest file that is looked at.
const FILE_BYTES_MAX: usize = 16 << 20;

/// Every job of the settings; the error names each mistake.
pub(crate) fn jobs(settings: &Settings) -> Result<Vec<ScrapeConfig>, String> {
    all_jobs(&settings.scrape, &settings.prometheus_config)
}

fn all_jobs(own: &[ScrapeConfig], path: &str) -> Result<Vec<ScrapeConfig>, String> {
    let mut jobs = own.to_vec();
    if !path.is_empty() {
        let read = prometheus_jobs(path, &RealFiles);
        let (more, unused) = read.map_err(|problems| format!("{path}: {}", problems.join("; ")))?;
        if !unused.is_empty() {
            tracing::info!(file = path, sections = unused.join(", "), "sections are read and not used");
        }
        jobs.extend(more);
    }
    for (place, job) in jobs.iter().enumerate() {
        if jobs.iter().take(place).any(|known| known.job_name == job.job_name) {
            return Err(format!("found multiple scrape configs with job name {:?}", job.job_name));
        }
    }
    Ok(jobs)
}

/// What is scraped, and how to change it.
pub(crate) struct ScrapeControl {
    own: Vec<ScrapeConfig>,
    path: String,
    control: Control,
    /// The file as it was read last.
    text: Mutex<Vec<u8>>,
}

impl ScrapeControl {
    pub fn new(settings: &Settings, control: Control) -> Self {
        let (own, path) = (settings.scrape.clone(), settings.prometheus_config.clone());
        let text = Mutex::new(RealFiles.read(&path, FILE_BYTES_MAX).unwrap_or_default());
        Self { own, path, control, text }
    }

    /// True when the file is another than the one read last; remembers it.
    fn changed(&self) -> bool {
        let Ok(text) = RealFiles.read(&self.path, FILE_BYTES_MAX) else { return false };
        let mut last = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = *last != text;
        *last = text;
        changed
    }
}

/// Reads the file again when it changes, until `stop`.
pub(crate) async fn watch(scraping: std::sync::Arc<ScrapeControl>, mut stop: Stop) {
    if scraping.path.is_empty() {
        return;
    }
    loop {
        tokio::select! {
            () = stop.wait() => return,
            () = tokio::time::sleep(LOOKED_AT_EVERY) => {}
        }
        let looked_at = scraping.clone();
        let look = tokio::task::spawn_blocking(move || looked_at.changed().then(|| looked_at.reload()));
        match look.await {
            Ok(Some(Ok(()))) => {
                tracing::info!(file = scraping.path, "the scrape configuration was read again")
            }
            Ok(Some(Err(problem))) => {
                tracing::error!(file = scraping.path, problem, "the new scrape configuration is not used");
            }
            Ok(None) | Err(_) => {}
        }
    }
}

fn pairs(labels: &LabelSet) -> Vec<(String, String)> {
    labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

impl Scraping for ScrapeControl {
    fn targets(&self) -> Vec<ScrapeTarget> {
        let statuses = self.control.targets().statuses();
        let shown = statuses.into_iter().map(|target| ScrapeTarget {
            job: target.job_name,
            instance: target.labels.get("instance").to_owned(),
            url: target.scrape_url,
            discovered: pairs(&target.discovered),
            labels: pairs(&target.labels),
            up: match target.health {
                Health::Unknown => None,
                Health::Up => Some(true),
                Health::Down => Some(false),
            },
            last_error: target.last_error,
            last_scrape_ms: target.last_scrape.map_or(0, |at| at.to_millis().0),
            last_duration_seconds: target.last_duration.as_secs_f64(),
            interval: units::show_duration(target.interval),
            timeout: units::show_duration(target.timeout),
        });
        shown.collect()
    }

    fn dropped(&self) -> Vec<(String, Vec<(String, String)>)> {
        let dropped = self.control.targets().dropped();
        dropped.iter().map(|target| (target.job_name.clone(), pairs(&target.discovered))).collect()
    }

    fn pools(&self) -> Vec<(String, usize)> {
        self.control.targets().pool_counts()
    }

    fn metadata(&self) -> Vec<TargetMetadata> {
        let metadata = self.control.targets().metadata();
        metadata.into_iter().map(|(labels, known)| (pairs(&labels), known)).collect()
    }

    fn reload(&self) -> Result<(), String> {
        let jobs = all_jobs(&self.own, &self.path)?;
        self.control.reload(jobs).map_err(|problems| problems.join("; "))
    }
}
