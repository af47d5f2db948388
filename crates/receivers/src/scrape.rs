//! Prometheus scrape of static targets over HTTP/1.1.
//!
//! As Prometheus does it: targets spread over the interval by a hash, stamps aligned to the schedule, `up` and the
//! other four report series, stale markers for series that disappear and for scrapes that fail, target labels against
//! the scraped ones with or without `honor_labels`. Formats: text 0.0.4 and OpenMetrics.
//!
//! Promises: a body is bounded while it is read and while it is unpacked; a target that hangs costs its timeout and
//! nothing else; what is known of each target can be read at any time ([`Targets`]). Absent: service discovery,
//! relabelling, HTTPS, authentication, redirects, the protobuf format.

mod client;
mod job;
mod samples;
mod schedule;
mod target;

use std::sync::Arc;
use std::time::Duration;

use kenning_model::{Batch, Millis, Nanos, Rejected, TenantId};
use kenning_pipeline::Intake;
use kenning_stdx::net::Net;
use tokio::task::JoinSet;

use crate::body::Budget;
use crate::serve::Stop;
use crate::stats::{ByJob, Stats};
use client::{Client, Fetched};
pub use job::{ExpositionFormat, JobError, ScrapeJob, TargetGroup};
use samples::{Report, SeriesCache};
use schedule::Schedule;
use target::Target;
pub use target::{Health, TargetStatus, Targets};

/// What a [`Scraper`] works with.
#[derive(Clone)]
pub struct ScrapeContext {
    /// Connects to targets.
    pub net: Arc<dyn Net>,
    /// Takes the samples.
    pub intake: Intake,
    /// Whose they are.
    pub tenant: TenantId,
    /// Memory for documents. Best one of its own: a flood of pushes must not take targets down.
    pub budget: Budget,
    /// Counters.
    pub stats: Stats,
}

/// Scrapes the targets of all jobs.
pub struct Scraper {
    targets: Targets,
    context: ScrapeContext,
}

impl Scraper {
    /// A scraper of `jobs`; every mistake in them is reported at once.
    pub fn new(jobs: &[ScrapeJob], context: ScrapeContext) -> Result<Self, Vec<JobError>> {
        let (targets, errors) = job::targets(jobs);
        if errors.is_empty() { Ok(Self { targets: Targets::new(targets), context }) } else { Err(errors) }
    }

    /// What is known of each target; stays readable while the scraper runs.
    #[must_use]
    pub fn targets(&self) -> Targets {
        self.targets.clone()
    }

    /// Scrapes until `stop`. A scrape under way is given up; what it handed over is written.
    pub async fn run(self, mut stop: Stop) {
        let mut loops = JoinSet::new();
        for target in self.targets.iter() {
            loops.spawn(TargetLoop::new(target.clone(), self.context.clone()).run());
        }
        stop.wait().await;
        loops.abort_all();
        while loops.join_next().await.is_some() {}
    }
}

struct TargetLoop {
    target: Arc<Target>,
    context: ScrapeContext,
    client: Client,
    cache: Option<SeriesCache>,
}

impl TargetLoop {
    fn new(target: Arc<Target>, context: ScrapeContext) -> Self {
        let client = Client::new(context.net.clone(), context.budget.clone());
        let cache = Some(SeriesCache::new(&target));
        Self { target, context, client, cache }
    }

    async fn run(mut self) {
        let clock = self.context.intake.clock().clone();
        let seed = self.target.spread_seed();
        let mut schedule = Schedule::new(&*clock, self.target.job.interval, seed);
        loop {
            tokio::time::sleep(schedule.until_next(&*clock)).await;
            let stamp = schedule.tick(&*clock);
            self.scrape(stamp).await;
        }
    }

    async fn scrape(&mut self, stamp: Nanos) {
        let clock = self.context.intake.clock().clone();
        let started = clock.steady();
        let timeout = self.target.job.timeout;
        let fetched = tokio::time::timeout(timeout, self.client.fetch(&self.target)).await;
        let fetched = fetched.unwrap_or_else(|_| {
            self.client.disconnect();
            Err(format!("no whole answer within the timeout of {timeout:?}"))
        });
        let took = clock.steady().saturating_sub(started);
        let error = self.store(fetched, stamp.to_millis(), took).await.err();
        let job = ByJob(self.target.job_label.clone());
        self.context.stats.scrape_seconds.with(&job).observe_duration(took);
        if error.is_some() {
            self.context.stats.scrapes_failed.with(&job).increment();
        }
        self.target.note(stamp, took, error);
    }

    /// Parses and hands over; the error is that of the scrape, or that of the hand-over.
    async fn store(
        &mut self,
        fetched: Result<Fetched, String>,
        stamp: Millis,
        took: Duration,
    ) -> Result<(), String> {
        // The cache is away only while a parse is under way; should one panic, the series start anew.
        let cache = self.cache.take().unwrap_or_else(|| SeriesCache::new(&self.target));
        let target = self.target.clone();
        let place = match &fetched {
            Ok(fetched) => self.context.budget.decode_place(fetched.received.bytes.len()).await.map(Some),
            Err(_) => Ok(None),
        };
        let parse = move || {
            let fetched = match &place {
                Ok(_until_parsed) => fetched,
                Err(busy) => Err(busy.to_string()),
            };
            samples::batch_of(cache, &target, fetched, Report { stamp, took })
        };
        let parsed =
            tokio::task::spawn_blocking(parse).await.map_err(|_| "the parser panicked".to_owned())?;
        self.cache = Some(parsed.cache);
        let (tenant, none_rejected) = (&self.context.tenant, Rejected::default());
        let submitted = self.context.intake.submit(tenant, Batch::Metrics(parsed.batch), none_rejected).await;
        parsed.outcome?;
        submitted.map(|_| ()).map_err(|refusal| format!("the samples were not stored: {refusal}"))
    }
}
