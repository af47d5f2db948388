//! One job: its discovery, its targets, their loops.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kenning_model::{Batch, LabelSet, Nanos, Rejected};
use kenning_pipeline::Standing;
use kenning_promconfig::ScrapeConfig;
use kenning_promconfig::targets::{TargetGroup, discovered, relabelled};
use kenning_wire::prometheus::SeriesCache;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::ScrapeContext;
use super::client::{Client, Fetched};
use super::dial::Dialer;
use super::discover::{self, Found};
use super::failures;
use super::samples::{self, Report, ReportSeries};
use super::schedule::Schedule;
use super::target::{DroppedTarget, Target, Targets};
use crate::serve::{Stop, Stopper, stop_pair};
use crate::stats::ByJob;

/// Documents up to this size are parsed where they are read, when their series are known: that takes less time than the
/// way to another thread.
const INLINE_BYTES_MAX: usize = 512 << 10;
/// Updates of discovery that may wait.
const UPDATES_MAX: usize = 16;

/// A job that runs.
pub(super) struct Pool {
    config: Arc<ScrapeConfig>,
    context: ScrapeContext,
    dialer: Dialer,
    targets: Targets,
    /// What each mechanism found last.
    found: HashMap<usize, Vec<TargetGroup>>,
    active: HashMap<LabelSet, Active>,
    loops: JoinSet<()>,
}

struct Active {
    target: Arc<Target>,
    stopper: Stopper,
}

impl Pool {
    pub fn new(config: Arc<ScrapeConfig>, context: ScrapeContext, targets: Targets) -> Self {
        let (found, active) = (HashMap::new(), HashMap::new());
        let dialer = Dialer::new(&context, &config.client);
        Self { config, context, dialer, targets, found, active, loops: JoinSet::new() }
    }

    /// Runs until `stop`; then every target is marked stale.
    pub async fn run(mut self, mut stop: Stop) {
        let (sender, mut updates) = mpsc::channel(UPDATES_MAX);
        let mut discovery = JoinSet::new();
        for (place, mechanism) in self.config.discovery.iter().enumerate() {
            let job = &self.config.job_name;
            discover::start(job, place, mechanism, &self.context, sender.clone(), &mut discovery);
        }
        drop(sender);
        self.publish(Vec::new());
        loop {
            tokio::select! {
                () = stop.wait() => break,
                update = updates.recv() => match update {
                    Some(Found { place, groups }) => {
                        self.found.insert(place, groups);
                        self.sync();
                    }
                    None => { stop.wait().await; break }
                },
                Some(_) = self.loops.join_next() => {}
            }
        }
        self.active.drain().for_each(|(_, active)| active.stopper.stop());
        self.targets.remove(&self.config.job_name, &self.config);
        while self.loops.join_next().await.is_some() {}
    }

    /// Starts what was found and is not there yet, stops what is not found any more.
    fn sync(&mut self) {
        let mut wanted: HashMap<LabelSet, Target> = HashMap::new();
        let mut dropped = Vec::new();
        let groups: Vec<TargetGroup> = {
            let mut places: Vec<_> = self.found.iter().collect();
            places.sort_by_key(|(place, _)| **place);
            places.into_iter().flat_map(|(_, groups)| groups.clone()).collect()
        };
        for group in &groups {
            for target in &group.targets {
                let found = discovered(&self.config, target, &group.labels);
                match relabelled(&self.config, &found) {
                    Ok(Some(labels)) => match Target::new(self.config.clone(), &found, &labels) {
                        Ok(target) => drop(wanted.entry(labels.build()).or_insert(target)),
                        Err(_) => self.refuse(),
                    },
                    Ok(None) => dropped.push(DroppedTarget {
                        job_name: self.config.job_name.clone(),
                        discovered: found.build(),
                    }),
                    Err(_) => self.refuse(),
                }
            }
        }
        self.active.retain(|key, active| {
            let stays = wanted.contains_key(key);
            if !stays {
                active.stopper.stop();
            }
            stays
        });
        let limit = usize::try_from(self.config.target_limit).unwrap_or(usize::MAX);
        let count = wanted.len();
        for (key, target) in wanted {
            if self.active.contains_key(&key) {
                continue;
            }
            let (target, (stopper, stop)) = (Arc::new(target), stop_pair());
            let target_loop = TargetLoop::new(target.clone(), self.context.clone(), self.dialer.clone());
            self.loops.spawn(target_loop.run(stop));
            self.active.insert(key, Active { target, stopper });
        }
        let over = (limit > 0 && count > limit)
            .then(|| format!("target_limit exceeded (number of targets: {count}, limit: {limit})"));
        self.active.values().for_each(|active| active.target.force(over.clone()));
        self.publish(dropped);
    }

    fn refuse(&self) {
        let job = ByJob(self.config.job_name.as_str().into());
        self.context.stats.targets_refused.with(&job).increment();
    }

    fn publish(&self, mut dropped: Vec<DroppedTarget>) {
        let count = dropped.len();
        if self.config.keep_dropped_targets > 0 {
            dropped.truncate(usize::try_from(self.config.keep_dropped_targets).unwrap_or(usize::MAX));
        }
        let mut active: Vec<_> = self.active.values().map(|active| active.target.clone()).collect();
        active.sort_by(|a, b| a.labels.cmp(&b.labels));
        self.targets.put(&self.config, active, dropped, count);
    }
}

struct TargetLoop {
    target: Arc<Target>,
    context: ScrapeContext,
    client: Client,
    state: Option<Box<State>>,
    standing: Standing,
    /// The failure log could not be written the last time.
    log_failed: bool,
}

/// What a target's scrapes hand on; away only while a parse is under way.
pub(super) struct State {
    pub cache: SeriesCache,
    pub report: ReportSeries,
    /// `_created` series are not stored.
    pub skip_created: bool,
}

impl TargetLoop {
    fn new(target: Arc<Target>, context: ScrapeContext, dialer: Dialer) -> Self {
        let client = Client::new(dialer, context.budget.clone());
        let state = Some(Box::new(State::new(&target, context.start_zeros)));
        Self { target, context, client, state, standing: Standing::default(), log_failed: false }
    }

    async fn run(mut self, mut stop: Stop) {
        let clock = self.context.intake.clock().clone();
        let mut schedule = Schedule::new(&*clock, self.target.interval, self.target.spread_seed());
        loop {
            tokio::select! {
                () = stop.wait() => break,
                () = tokio::time::sleep(schedule.until_next(&*clock)) => {}
            }
            let stamp = schedule.tick(&*clock);
            self.scrape(stamp).await;
        }
        self.end().await;
    }

    /// The target is gone: its series go stale.
    async fn end(mut self) {
        let Some(mut state) = self.state.take() else { return };
        let now = self.context.intake.now().to_millis();
        let batch = samples::ending(&mut state, now);
        let (tenant, none_rejected) = (&self.context.tenant, Rejected::default());
        // Nobody is left to be told of a refusal; the pipeline counts it.
        let _ = self.context.intake.submit(tenant, Batch::Metrics(batch), none_rejected).await;
    }

    async fn scrape(&mut self, stamp: Nanos) {
        let clock = self.context.intake.clock().clone();
        let started = clock.steady();
        let timeout = self.target.timeout;
        let fetched = match self.target.forced() {
            Some(error) => Err(error),
            None => {
                let fetched = tokio::time::timeout(timeout, self.client.fetch(&self.target)).await;
                fetched.unwrap_or_else(|_| {
                    self.client.disconnect();
                    Err(format!("no whole answer within the timeout of {timeout:?}"))
                })
            }
        };
        let took = clock.steady().saturating_sub(started);
        let error = self.store(fetched, stamp, took).await.err();
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
        stamp: Nanos,
        took: Duration,
    ) -> Result<(), String> {
        // Should a parse panic, the series start anew.
        let state =
            self.state.take().unwrap_or_else(|| Box::new(State::new(&self.target, self.context.start_zeros)));
        let report = Report { stamp: stamp.to_millis(), took };
        let small = fetched.as_ref().is_ok_and(|fetched| fetched.received.bytes.len() <= INLINE_BYTES_MAX);
        let parsed = if small && !state.cache.is_empty() {
            samples::batch_of(state, &self.target, fetched, report)
        } else {
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
                samples::batch_of(state, &target, fetched, report)
            };
            tokio::task::spawn_blocking(parse).await.map_err(|_| "the parser panicked".to_owned())?
        };
        self.state = Some(parsed.state);
        if !parsed.same_series {
            self.standing.changed();
        }
        let (tenant, none_rejected) = (&self.context.tenant, Rejected::default());
        let submitted =
            self.context.intake.submit_standing(tenant, parsed.batch, none_rejected, &mut self.standing);
        let submitted = submitted.await;
        if let Err(error) = &parsed.outcome {
            self.log_failure(error).await;
        }
        parsed.outcome?;
        submitted.map(|_| ()).map_err(|refusal| format!("the samples were not stored: {refusal}"))
    }

    async fn log_failure(&mut self, error: &str) {
        let path = &self.target.config.scrape_failure_log_file;
        if path.is_empty() {
            return;
        }
        let url = self.target.place.url();
        let line = failures::line(self.context.intake.now(), error, &self.target.config.job_name, &url);
        let (files, file) = (self.context.files.clone(), path.clone());
        let append = move || files.append(&file, line.as_bytes(), failures::FILE_BYTES_MAX);
        let appended = tokio::task::spawn_blocking(append).await;
        let told = match appended {
            Ok(Ok(())) => {
                self.log_failed = false;
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        self.context.stats.failure_lines_lost.increment();
        if !std::mem::replace(&mut self.log_failed, true) {
            tracing::warn!(
                file = path,
                error = told,
                "a scrape's failure cannot be logged (scrape_failure_log_file)"
            );
        }
    }
}

impl State {
    pub fn new(target: &Target, skip_created: bool) -> Self {
        Self { cache: SeriesCache::default(), report: ReportSeries::new(target), skip_created }
    }
}
