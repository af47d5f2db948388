//! Prometheus scraping: targets found, relabelled, fetched and stored as `prometheus.yml` says.
//!
//! As Prometheus does it: targets spread over the interval by a hash, stamps aligned to the schedule, `up` and the other
//! report series, stale markers for series that disappear, for scrapes that fail and for targets that go, target and metric
//! relabelling, limits per scrape and per job, native histograms and classic ones made native. Formats: text 0.0.4
//! and 1.0.0, OpenMetrics, protobuf.
//!
//! Every job is a pool: what discovery finds becomes targets, every target is a loop of its own. A new configuration
//! ([`Control::reload`]) stops the jobs that changed and leaves the others alone.
//!
//! Promises: a body is bounded while it is read and while it is unpacked; a target that hangs costs its timeout and
//! nothing else; what is known of each target can be read at any time ([`Targets`]). Discovery: static, files, HTTP, DNS,
//! Docker; other mechanisms, SOCKS proxies and signed OAuth 2 grants are refused by name ([`unsupported`]).

mod client;
mod dial;
mod discover;
mod dns;
mod docker;
mod failures;
mod oauth2;
mod pool;
mod proxy;
mod samples;
mod schedule;
mod target;
mod tls;

use std::sync::Arc;

use kenning_model::TenantId;
use kenning_pipeline::Intake;
use kenning_promconfig::{Discovery, ScrapeConfig, WORKING};
use kenning_stdx::files::Files;
use kenning_stdx::net::Net;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::body::Budget;
use crate::serve::{Stop, Stopper, stop_pair};
use crate::stats::Stats;
use proxy::Proxies;
pub use proxy::ProxyVariables;
pub use target::{DroppedTarget, Health, TargetStatus, Targets};

/// What a [`Scraper`] works with.
#[derive(Clone)]
pub struct ScrapeContext {
    /// Connects to targets.
    pub net: Arc<dyn Net>,
    /// Reads passwords, certificates and files of targets.
    pub files: Arc<dyn Files>,
    /// Takes the samples.
    pub intake: Intake,
    /// Whose they are.
    pub tenant: TenantId,
    /// Proxies that the environment tells of, for jobs that want them.
    pub proxies: ProxyVariables,
    /// Start times become samples of zero, so that `_created` series are not stored beside them
    /// ([`kenning_pipeline::start_zero`]).
    pub start_zeros: bool,
    /// Memory for documents. Best one of its own: a flood of pushes must not take targets down.
    pub budget: Budget,
    /// Counters.
    pub stats: Stats,
}

/// What a job asks for that Kenning does not do, each with what works instead.
#[must_use]
pub fn unsupported(config: &ScrapeConfig) -> Vec<String> {
    let mut problems = Vec::new();
    let mut refuse = |what: &str, instead: &str| {
        problems.push(format!("scrape job {:?}: {what} is not supported; {instead}", config.job_name));
    };
    let mut clients = vec![&config.client];
    for found in &config.discovery {
        match found {
            Discovery::Foreign(_) => refuse(found.key(), &format!("these work: {WORKING}")),
            Discovery::Http(http) => clients.push(&http.client),
            Discovery::Docker(docker) => clients.push(&docker.client),
            _ => {}
        }
    }
    for client in clients {
        if client.oauth2.as_ref().is_some_and(|oauth2| oauth2.signs) {
            refuse(
                "oauth2 with grant_type jwt-bearer",
                "use client_credentials, basic_auth or authorization",
            );
        }
        if let Some(Err(problem)) =
            client.oauth2.as_ref().map(|oauth2| Proxies::new(&oauth2.proxy, &ProxyVariables::default()))
        {
            refuse("the proxy_url of oauth2", &problem);
        }
        if let Err(problem) = Proxies::new(&client.proxy, &ProxyVariables::default()) {
            refuse("the proxy_url", &problem);
        }
    }
    problems
}

/// Scrapes the targets of all jobs.
pub struct Scraper {
    jobs: watch::Receiver<Arc<Vec<ScrapeConfig>>>,
    control: Control,
    context: ScrapeContext,
}

/// Changes what a scraper does and tells what it knows. Cloning shares it.
#[derive(Clone)]
pub struct Control {
    jobs: Arc<watch::Sender<Arc<Vec<ScrapeConfig>>>>,
    targets: Targets,
}

impl Control {
    /// Takes new jobs in the place of all others; what does not work is told and changes nothing.
    pub fn reload(&self, configs: Vec<ScrapeConfig>) -> Result<(), Vec<String>> {
        let problems: Vec<_> = configs.iter().flat_map(unsupported).collect();
        if !problems.is_empty() {
            return Err(problems);
        }
        self.jobs.send_replace(Arc::new(configs));
        Ok(())
    }

    /// What is known of each target.
    #[must_use]
    pub const fn targets(&self) -> &Targets {
        &self.targets
    }
}

impl Scraper {
    /// A scraper of these jobs; everything in them that does not work is told at once.
    pub fn new(configs: Vec<ScrapeConfig>, context: ScrapeContext) -> Result<Self, Vec<String>> {
        let (sender, jobs) = watch::channel(Arc::default());
        let control = Control { jobs: Arc::new(sender), targets: Targets::default() };
        control.reload(configs)?;
        Ok(Self { jobs, control, context })
    }

    /// The handle on it.
    #[must_use]
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// What is known of each target; stays readable while the scraper runs.
    #[must_use]
    pub fn targets(&self) -> Targets {
        self.control.targets.clone()
    }

    /// Scrapes until `stop`. A scrape under way is given up; what it handed over is written.
    pub async fn run(mut self, mut stop: Stop) {
        let mut running: Vec<Running> = Vec::new();
        let mut tasks = JoinSet::new();
        loop {
            let wanted = self.jobs.borrow_and_update().clone();
            running.retain(|job| {
                let stays = wanted.iter().any(|config| *config == *job.config);
                if !stays {
                    job.stopper.stop();
                }
                stays
            });
            for config in wanted.iter() {
                if !running.iter().any(|job| *job.config == *config) {
                    let (stopper, stop) = stop_pair();
                    let config = Arc::new(config.clone());
                    let pool =
                        pool::Pool::new(config.clone(), self.context.clone(), self.control.targets.clone());
                    tasks.spawn(pool.run(stop));
                    running.push(Running { config, stopper });
                }
            }
            tokio::select! {
                () = stop.wait() => break,
                changed = self.jobs.changed() => if changed.is_err() { stop.wait().await; break },
            }
        }
        // The server stops: targets are still there, so nothing is marked stale.
        tasks.shutdown().await;
    }
}

struct Running {
    config: Arc<ScrapeConfig>,
    stopper: Stopper,
}
