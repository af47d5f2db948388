//! The committer: one thread that writes all that waits with one call of the store, and the life of the pipeline.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use kenning_model::{BatchId, Store, Write};
use kenning_stdx::clock::Clock;
use tokio::sync::oneshot;

use crate::intake::{Intake, Job, Refusal};
use crate::limits::LimitsTable;
use crate::process::Chain;
use crate::queue::{GroupMax, Queue};
use crate::room::Room;
use crate::stats::Stats;
use crate::tap::Tap;
use crate::telemetry::Registry;

const MIB: usize = 1024 * 1024;

/// What a pipeline is started with.
#[derive(Clone, Debug)]
pub struct PipelineOptions {
    /// Limits of tenants.
    pub limits: LimitsTable,
    /// Bytes of batches that may wait or be written at once; beyond it requests are refused as overloaded. The setting
    /// `limits.ingest.queue`.
    pub queue_bytes: usize,
    /// Bytes that active series and streams of all tenants may take; beyond it new ones are refused. A share of the
    /// setting `limits.memory`.
    pub series_bytes: usize,
    /// Most batches in one group.
    pub group_batches: usize,
    /// Most bytes in one group, but for a single larger batch.
    pub group_bytes: usize,
    /// Who hears of what was committed.
    pub taps: Vec<Arc<dyn Tap>>,
    /// What every batch goes through before limits are looked at.
    pub processors: Chain,
    /// Puts zeros where counters began, with so many bytes to follow their series ([`crate::start_zero`]).
    pub start_zeros: Option<usize>,
}

impl Default for PipelineOptions {
    fn default() -> Self {
        Self {
            limits: LimitsTable::default(),
            queue_bytes: 128 * MIB,
            series_bytes: usize::MAX,
            group_batches: 1024,
            group_bytes: 32 * MIB,
            taps: Vec::new(),
            processors: Chain::default(),
            start_zeros: None,
        }
    }
}

/// The committer's thread could not be started.
#[derive(Debug)]
pub struct StartError(io::Error);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the committer's thread could not be started")
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Everything that was offered was written or refused.
    Clean,
    /// Time was up; what still waited was refused, so nobody holds a false acknowledgement.
    TimedOut {
        /// Bytes that were refused or still being written.
        bytes: usize,
    },
}

/// A running committer and the way into it.
pub struct Pipeline {
    intake: Intake,
    queue: Arc<Queue<Job>>,
    finished: oneshot::Receiver<()>,
}

impl Pipeline {
    /// Starts the committer before `store`; its metrics are declared in `registry`.
    pub fn start(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        options: PipelineOptions,
        registry: &Registry,
    ) -> Result<Self, StartError> {
        let stats = Stats::new(registry);
        stats.queue_limit_bytes.set(options.queue_bytes as u64);
        let queue = Arc::new(Queue::new(options.queue_bytes));
        let (limits, processors) = (options.limits, options.processors);
        let room = Arc::new(Room::new(options.series_bytes));
        stats.series_limit_bytes.set(room.max() as u64);
        let start_zeros = options.start_zeros;
        let intake =
            Intake::new(queue.clone(), clock.clone(), limits, processors, stats.clone(), room, start_zeros);
        let max = GroupMax { items: options.group_batches.max(1), bytes: options.group_bytes };
        let (done, finished) = oneshot::channel();
        let next_id = store.last_batch_id().0.saturating_add(1);
        let taps = options.taps;
        let mut committer = Committer { store, clock, stats, queue: queue.clone(), max, next_id, taps };
        let run = move || {
            let _close_when_it_ends_or_panics = CloseOnDrop(committer.queue.clone());
            committer.run();
            let _ = done.send(());
        };
        std::thread::Builder::new().name("committer".into()).spawn(run).map_err(StartError)?;
        Ok(Self { intake, queue, finished })
    }

    /// Where receivers offer batches.
    #[must_use]
    pub fn intake(&self) -> Intake {
        self.intake.clone()
    }

    /// Refuses what comes from now on and waits until all that was taken is written, or until `deadline` has passed.
    pub async fn drain(self, deadline: Duration) -> Drained {
        self.queue.close();
        match tokio::time::timeout(deadline, self.finished).await {
            Ok(_finished_or_died) => Drained::Clean,
            Err(_) => {
                let bytes = self.queue.bytes();
                self.queue.abandon();
                Drained::TimedOut { bytes }
            }
        }
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").field("intake", &self.intake).finish_non_exhaustive()
    }
}

/// Whoever waits must hear of a committer that died: dropping the jobs drops their senders.
struct CloseOnDrop(Arc<Queue<Job>>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

struct Committer {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    stats: Stats,
    queue: Arc<Queue<Job>>,
    max: GroupMax,
    next_id: u64,
    taps: Vec<Arc<dyn Tap>>,
}

impl Committer {
    fn run(&mut self) {
        while let Some((jobs, bytes)) = self.queue.take_group(self.max) {
            self.commit(jobs, bytes);
        }
    }

    fn commit(&mut self, jobs: Vec<Job>, bytes: usize) {
        let (mut writes, mut waiters) = (Vec::with_capacity(jobs.len()), Vec::with_capacity(jobs.len()));
        for Job { tenant, batch, beside, done } in jobs {
            let (id, place) = (self.new_id(), writes.len());
            writes.push(Write { id, tenant, batch });
            writes.extend(beside.map(|(tenant, batch)| Write { id, tenant, batch }));
            waiters.push((place, done));
        }
        let started = self.clock.steady();
        let written = self.store.write_told(&writes);
        self.count(writes.len(), bytes, self.clock.steady().saturating_sub(started), written.is_ok());
        self.queue.release(bytes);
        self.stats.queue_bytes.set(self.queue.bytes() as u64);
        for (place, waiter) in waiters {
            let told = written.as_ref().map(|told| told.get(place).copied().unwrap_or(0));
            let outcome = told.map_err(Refusal::of_write);
            // A receiver that went away has lost interest, not the data.
            let _ = waiter.send(outcome);
        }
        if written.is_ok() && !self.taps.is_empty() {
            let group = Arc::new(writes);
            self.taps.iter().for_each(|tap| tap.committed(&group));
        }
    }

    fn new_id(&mut self) -> BatchId {
        let id = BatchId(self.next_id);
        self.next_id = self.next_id.saturating_add(1);
        id
    }

    fn count(&self, batches: usize, bytes: usize, took: Duration, written: bool) {
        self.stats.group_batches.observe(batches as f64);
        self.stats.group_bytes.observe(bytes as f64);
        self.stats.commit_seconds.observe_duration(took);
        if !written {
            self.stats.commit_failures.increment();
        }
    }
}
