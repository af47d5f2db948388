//! The scraper as the API sees it, and its configuration when it changes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kenning_api::{LoadedConfig, ScrapeTarget, Scraping, TargetMetadata};
use kenning_model::LabelSet;
use kenning_promconfig::{ScrapeConfig, ScrapeProtocol, units};
use kenning_receivers::scrape::{Control, Health};
use kenning_receivers::serve::Stop;
use kenning_stdx::clock::Clock;
use kenning_stdx::files::{Files, RealFiles};

use crate::settings::{Settings, prometheus_yml};

/// Time between looks at `prometheus.config`.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(15);
/// Largest file that is looked at.
const FILE_BYTES_MAX: usize = 16 << 20;

/// Every job of the settings; the error names each mistake.
pub(crate) fn jobs(settings: &Settings) -> Result<Vec<ScrapeConfig>, String> {
    read(&settings.scrape, &settings.prometheus_config, settings.start_zeros).map(|read| read.jobs)
}

/// What the settings and their `prometheus.yml` say together.
#[derive(Default)]
struct Read {
    jobs: Vec<ScrapeConfig>,
    external_labels: Vec<(String, String)>,
    /// The `prometheus.yml` as it may be shown, when there is one.
    shown: Option<String>,
}

fn read(own: &[ScrapeConfig], path: &str, start_zeros: bool) -> Result<Read, String> {
    let mut read = Read { jobs: own.to_vec(), ..Read::default() };
    if !path.is_empty() {
        let file = prometheus_yml(path, &RealFiles);
        let file = file.map_err(|problems| format!("{path}: {}", problems.join("; ")))?;
        if !file.unused.is_empty() {
            tracing::info!(file = path, sections = file.unused.join(", "), "sections are read and not used");
        }
        read.jobs.extend(file.jobs);
        read.external_labels = file.external_labels;
        read.shown = Some(file.shown);
    }
    // The format that tells starts best comes first where the job has no wishes of its own.
    for job in read.jobs.iter_mut().filter(|_| start_zeros) {
        if job.scrape_protocols == ScrapeProtocol::DEFAULT {
            job.scrape_protocols = ScrapeProtocol::PROTO_FIRST.to_vec();
        }
    }
    for (place, job) in read.jobs.iter().enumerate() {
        if read.jobs.iter().take(place).any(|known| known.job_name == job.job_name) {
            return Err(format!("found multiple scrape configs with job name {:?}", job.job_name));
        }
    }
    Ok(read)
}

/// What is scraped, and how to change it.
pub(crate) struct ScrapeControl {
    own: Vec<ScrapeConfig>,
    path: String,
    start_zeros: bool,
    control: Control,
    clock: Arc<dyn Clock>,
    /// The file as it was read last.
    text: Mutex<Vec<u8>>,
    loaded: Mutex<LoadedConfig>,
}

impl ScrapeControl {
    pub fn new(settings: &Settings, control: Control, clock: Arc<dyn Clock>) -> Self {
        let (own, path) = (settings.scrape.clone(), settings.prometheus_config.clone());
        let text = Mutex::new(RealFiles.read(&path, FILE_BYTES_MAX).unwrap_or_default());
        let start_zeros = settings.start_zeros;
        let control = Self { own, path, start_zeros, control, clock, text, loaded: Mutex::default() };
        // What is scraped from the start was read a moment ago by the same rules.
        let found = read(&control.own, &control.path, start_zeros);
        control.note(found.unwrap_or_default());
        control
    }

    fn note(&self, read: Read) {
        *self.loaded() = LoadedConfig {
            yaml: read.shown,
            external_labels: read.external_labels,
            at_ms: self.clock.unix_nanos() / 1_000_000,
            failed: false,
        };
    }

    fn loaded(&self) -> MutexGuard<'_, LoadedConfig> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the configuration again and says in the log how that went.
    pub fn reload_told(&self) {
        match self.reload() {
            Ok(()) => tracing::info!(file = self.path, "the scrape configuration was read again"),
            Err(problem) => {
                tracing::error!(file = self.path, problem, "the new scrape configuration is not used");
            }
        }
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

/// Reads the file again when it changes and when the process gets SIGHUP, until `stop`.
pub(crate) async fn watch(scraping: Arc<ScrapeControl>, mut stop: Stop) {
    let kind = tokio::signal::unix::SignalKind::hangup();
    let mut hangups = match tokio::signal::unix::signal(kind) {
        Ok(hangups) => Some(hangups),
        Err(error) => {
            tracing::warn!(%error, "SIGHUP cannot be waited for; POST /-/reload works");
            None
        }
    };
    let has_file = !scraping.path.is_empty();
    loop {
        let hangup = async {
            let told = match &mut hangups {
                Some(hangups) => hangups.recv().await,
                None => None,
            };
            if told.is_none() {
                std::future::pending::<()>().await;
            }
        };
        let told = tokio::select! {
            () = stop.wait() => return,
            () = hangup => true,
            () = tokio::time::sleep(LOOKED_AT_EVERY), if has_file => false,
        };
        let looked_at = scraping.clone();
        let look = move || {
            // Even when told: what was read now is no change any more.
            let changed = looked_at.changed();
            if told || changed {
                looked_at.reload_told();
            }
        };
        // A panic there was told by the panic hook, and the next look is another try.
        let _ = tokio::task::spawn_blocking(look).await;
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
        let used = read(&self.own, &self.path, self.start_zeros).and_then(|mut read| {
            let jobs = std::mem::take(&mut read.jobs);
            self.control.reload(jobs).map_err(|problems| problems.join("; "))?;
            Ok(read)
        });
        match used {
            Ok(read) => {
                self.note(read);
                Ok(())
            }
            Err(problem) => {
                self.loaded().failed = true;
                Err(problem)
            }
        }
    }

    fn loaded(&self) -> LoadedConfig {
        ScrapeControl::loaded(self).clone()
    }
}
