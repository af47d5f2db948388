//! Where receivers offer batches.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use kenning_model::{
    Batch, LogBatch, MetricBatch, Millis, Nanos, Reason, Rejected, Signal, TenantId, WriteError,
};
use kenning_stdx::clock::Clock;
use kenning_stdx::random::Random;
use tokio::sync::oneshot;

use crate::bucket::Bucket;
use crate::cardinality::{Active, Caps};
use crate::culprit::Blame;
use crate::delta::{Totals, Undo};
use crate::limits::{Limits, LimitsTable};
use crate::process::{Aftermath, Chain, Origin, Processed, Processor};
use crate::queue::{PushError, Queue};
use crate::room::Room;
use crate::screen::Screen;
use crate::start_zero::{Put, StartZeros};
use crate::stats::{ByCause, ByCulprit, ByDrop, ByReason, ByTenant, Cause, OfTenant, Stats};
use crate::telemetry::{Counter, Gauge, OTHER};

/// Tenants whose rates and series are kept apart; later ones share one account named `other`.
pub const TENANTS_MAX: usize = 1024;

/// When to come again after the queue was full: a group takes milliseconds, so a second clears it unless the overload
/// lasts, and then more haste would not help.
const OVERLOADED_RETRY: Duration = Duration::from_secs(1);

/// When to come again after the store refused.
const UNAVAILABLE_RETRY: Duration = Duration::from_secs(5);

/// Bytes charged per batch for what is not its content (queue slot, waiter).
const BATCH_OVERHEAD: usize = 256;

/// What was done with a batch: answered only once it is durable and visible.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Items stored.
    pub stored: u64,
    /// What the stored items of a metric batch were; nothing for other signals.
    pub metrics: MetricCounts,
    /// Items left out, by the decoder or by a limit.
    pub rejected: Rejected,
}

impl Receipt {
    /// Samples that came to the time of another value of their series; the first one stays. Definition: Prometheus
    /// `ErrDuplicateSampleForTimestamp`.
    fn leave_out(&mut self, conflicts: u64) {
        if conflicts == 0 {
            return;
        }
        self.stored = self.stored.saturating_sub(conflicts);
        self.metrics.samples = self.metrics.samples.saturating_sub(conflicts);
        self.rejected.add(Reason::DuplicateSample, conflicts, || {
            "duplicate sample for timestamp: its series has another value at that time; overrides are not allowed"
                .to_owned()
        });
    }
}

/// Items of a metric batch by kind, which remote write 2.0 must tell its sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetricCounts {
    /// Float samples.
    pub samples: u64,
    /// Native histograms.
    pub histograms: u64,
    /// Exemplars.
    pub exemplars: u64,
}

impl MetricCounts {
    fn of(batch: &Batch) -> Self {
        match batch {
            Batch::Metrics(batch) => Self {
                samples: batch.samples.len() as u64,
                histograms: batch.histograms.len() as u64,
                exemplars: batch.exemplars.len() as u64,
            },
            Batch::Logs(_) | Batch::Spans(_) => Self::default(),
        }
    }
}

/// A record that a limit left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedRow {
    /// Its row in the offered batch.
    pub row: usize,
    /// Why, with the limit and the fix.
    pub why: String,
}

/// Why a whole batch was not taken; nothing of it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The tenant sends faster than its limit. Retryable.
    RateLimited {
        /// When the rate allows this batch.
        retry_after: Duration,
        /// Units a second that are allowed.
        limit: u64,
        /// The setting that holds the limit.
        setting: &'static str,
    },
    /// More arrives than can be written. Retryable.
    Overloaded {
        /// When to try again.
        retry_after: Duration,
        /// What is full.
        what: &'static str,
    },
    /// The batch is larger than the whole queue: to be split, not to be retried.
    TooLarge {
        /// Its size in memory.
        bytes: usize,
        /// The queue's capacity.
        limit: usize,
        /// The setting that holds the limit.
        setting: &'static str,
    },
    /// The store cannot write now, or the node is stopping. Retryable.
    Unavailable {
        /// When to try again.
        retry_after: Duration,
        /// Why.
        detail: String,
    },
    /// The store takes no writes until an operator acts. Retryable elsewhere or later.
    ReadOnly {
        /// Why.
        detail: String,
    },
}

impl Refusal {
    /// The kind, for counting.
    #[must_use]
    pub const fn cause(&self) -> Cause {
        match self {
            Self::RateLimited { .. } => Cause::RateLimited,
            Self::Overloaded { .. } => Cause::Overloaded,
            Self::TooLarge { .. } => Cause::TooLarge,
            Self::Unavailable { .. } => Cause::Unavailable,
            Self::ReadOnly { .. } => Cause::ReadOnly,
        }
    }

    /// When to try again; `None` when the same batch will never be taken.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. }
            | Self::Overloaded { retry_after, .. }
            | Self::Unavailable { retry_after, .. } => Some(*retry_after),
            Self::ReadOnly { .. } => Some(UNAVAILABLE_RETRY),
            Self::TooLarge { .. } => None,
        }
    }

    pub(crate) fn of_write(error: &WriteError) -> Self {
        match error {
            WriteError::Unavailable { detail } => Self::unavailable(detail.clone()),
            WriteError::ReadOnly { detail } => Self::ReadOnly { detail: detail.clone() },
        }
    }

    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self::Unavailable { retry_after: UNAVAILABLE_RETRY, detail: detail.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RateLimited { retry_after, limit, setting } => write!(
                f,
                "over the tenant's rate of {limit} a second (setting {setting}); retry in {:.3} s",
                retry_after.as_secs_f64()
            ),
            Self::Overloaded { what, .. } => write!(f, "overloaded: {what}; retry later"),
            Self::TooLarge { bytes, limit, setting } => {
                write!(
                    f,
                    "the batch needs {bytes} bytes of memory; the limit is {limit} (setting {setting}); split it"
                )
            }
            Self::Unavailable { detail, .. } => write!(f, "unavailable: {detail}"),
            Self::ReadOnly { detail } => write!(f, "read-only: {detail}"),
        }
    }
}

impl std::error::Error for Refusal {}

/// A batch on its way to the store.
pub(crate) struct Job {
    pub tenant: TenantId,
    pub batch: Batch,
    /// Committed as one unit with the batch.
    pub beside: Option<(TenantId, Batch)>,
    /// Hears how many samples met another value at their time.
    pub done: oneshot::Sender<Result<u64, Refusal>>,
}

/// A sender that repeats itself: what is remembered of its last batch, so that the same series are not held against the
/// limits one by one again. Such a sender answers to nobody, so its batches wait for others to be committed with.
#[derive(Debug, Default)]
pub struct Standing {
    /// The window of active series in which all of the batch's series were active, and their number.
    pub(crate) window: Option<(u64, usize)>,
}

impl Standing {
    /// The next batch has other series than the last one.
    pub fn changed(&mut self) {
        self.window = None;
    }
}

/// Where receivers offer batches. Cloning shares it.
#[derive(Clone)]
pub struct Intake {
    shared: Arc<Shared>,
    /// The word of the receiver that holds this clone.
    receiver: &'static str,
    /// The receiver's own processors.
    own: Chain,
}

struct Shared {
    queue: Arc<Queue<Job>>,
    clock: Arc<dyn Clock>,
    limits: LimitsTable,
    processors: Chain,
    stats: Stats,
    room: Arc<Room>,
    /// Puts zeros where counters began, when that is wanted.
    zeros: Option<StartZeros>,
    accounts: RwLock<HashMap<TenantId, Arc<Account>>>,
    other: Arc<Account>,
}

/// An offered batch that waits for its commit.
#[must_use = "a batch is acknowledged only after its ticket was waited for"]
pub struct Ticket {
    state: TicketState,
    account: Arc<Account>,
    shared: Arc<Shared>,
    signal: Signal,
    receipt: Receipt,
    /// Totals that go back when the batch is not written.
    undo: Undo,
    /// Series that need their zeros again then.
    zeros: Put,
    /// What processors want done when it is.
    aftermath: Aftermath,
}

/// A batch that processors have been over.
struct Taken {
    batch: Batch,
    /// Per row: its row in the batch that was offered; `None` when rows are where they were.
    rows: Option<Vec<u32>>,
}

fn apply_to_all(screen: &Screen<'_>, taken: Taken, rejected: &mut Rejected) -> Batch {
    screen.apply(taken.batch, rejected)
}

fn offered_row(rows: Option<&[u32]>, row: usize) -> usize {
    rows.and_then(|rows| rows.get(row)).map_or(row, |row| *row as usize)
}

enum TicketState {
    NothingToStore,
    Waiting(oneshot::Receiver<Result<u64, Refusal>>),
}

impl Intake {
    pub(crate) fn new(
        queue: Arc<Queue<Job>>,
        clock: Arc<dyn Clock>,
        limits: LimitsTable,
        processors: Chain,
        stats: Stats,
        room: Arc<Room>,
        start_zeros: Option<usize>,
    ) -> Self {
        let other = Arc::new(Account::new(OTHER, limits.default.clone(), &stats, &room, clock.steady()));
        let accounts = RwLock::default();
        let zeros = start_zeros.map(StartZeros::new);
        let shared = Shared { queue, clock, limits, processors, stats, room, zeros, accounts, other };
        Self { shared: Arc::new(shared), receiver: "", own: Chain::default() }
    }

    /// The same intake for one kind of receiver, which processors then know.
    #[must_use]
    pub fn for_receiver(&self, receiver: &'static str) -> Self {
        Self { receiver, ..self.clone() }
    }

    /// The same intake with one more processor of the receiver's own, which runs before those of everyone.
    #[must_use]
    pub fn with_processor(&self, processor: Arc<dyn Processor>) -> Self {
        let mut this = self.clone();
        this.own.push(processor);
        this
    }

    /// Offers a batch and waits until it is durable and visible.
    ///
    /// `already_rejected` is what the decoder left out; it is counted and comes back in the receipt.
    pub async fn submit(
        &self,
        tenant: &TenantId,
        batch: Batch,
        already_rejected: Rejected,
    ) -> Result<Receipt, Refusal> {
        self.offer(tenant, batch, already_rejected)?.wait().await
    }

    /// The part of [`Self::submit`] that works and never waits: rate, limits, queue. For callers who do the work of a
    /// large batch on a thread of their own.
    pub fn offer(
        &self,
        tenant: &TenantId,
        batch: Batch,
        already_rejected: Rejected,
    ) -> Result<Ticket, Refusal> {
        self.offer_screened(tenant, batch, already_rejected, None, apply_to_all)
    }

    /// As [`Self::offer`], with something that is committed if and only if the batch is, though limits may leave nothing
    /// of the batch: how far a source was read. `beside` is the receiver's own, so no limit applies to it.
    pub fn offer_beside(
        &self,
        tenant: &TenantId,
        batch: Batch,
        already_rejected: Rejected,
        beside: (TenantId, Batch),
    ) -> Result<Ticket, Refusal> {
        self.offer_screened(tenant, batch, already_rejected, Some(beside), apply_to_all)
    }

    /// As [`Self::offer`], for protocols that answer for each record: also tells which rows of the batch were left out
    /// by a limit, in order, and why.
    pub fn offer_logs(
        &self,
        tenant: &TenantId,
        batch: LogBatch,
        already_rejected: Rejected,
    ) -> Result<(Ticket, Vec<RefusedRow>), Refusal> {
        let mut rows = Vec::new();
        let screened = |screen: &Screen<'_>, processed: Taken, rejected: &mut Rejected| match processed.batch
        {
            Batch::Logs(batch) => Batch::Logs(screen.logs_told(batch, rejected, &mut |row, why| {
                let row = offered_row(processed.rows.as_deref(), row);
                rows.push(RefusedRow { row, why: why.to_owned() });
            })),
            other => screen.apply(other, rejected),
        };
        let ticket = self.offer_screened(tenant, Batch::Logs(batch), already_rejected, None, screened)?;
        Ok((ticket, rows))
    }

    /// As [`Self::submit`], for metrics of a sender that repeats itself and that nobody waits behind. The caller says
    /// [`Standing::changed`] before a batch whose series are not those of the last one, in the same order.
    pub async fn submit_standing(
        &self,
        tenant: &TenantId,
        batch: MetricBatch,
        already_rejected: Rejected,
        standing: &mut Standing,
    ) -> Result<Receipt, Refusal> {
        // A batch that a processor changed need not have the series of the one before.
        let apply = |screen: &Screen<'_>, taken: Taken, rejected: &mut Rejected| match taken {
            Taken { batch: Batch::Metrics(batch), rows: None } => {
                Batch::Metrics(screen.standing_metrics(batch, rejected, standing))
            }
            taken => {
                standing.changed();
                screen.apply(taken.batch, rejected)
            }
        };
        let batch = Batch::Metrics(batch);
        self.offer_as(true, tenant, batch, already_rejected, None, apply)?.wait().await
    }

    fn offer_screened(
        &self,
        tenant: &TenantId,
        batch: Batch,
        already_rejected: Rejected,
        beside: Option<(TenantId, Batch)>,
        apply: impl FnOnce(&Screen<'_>, Taken, &mut Rejected) -> Batch,
    ) -> Result<Ticket, Refusal> {
        self.offer_as(false, tenant, batch, already_rejected, beside, apply)
    }

    fn offer_as(
        &self,
        patient: bool,
        tenant: &TenantId,
        batch: Batch,
        already_rejected: Rejected,
        beside: Option<(TenantId, Batch)>,
        apply: impl FnOnce(&Screen<'_>, Taken, &mut Rejected) -> Batch,
    ) -> Result<Ticket, Refusal> {
        let (shared, account, signal) = (&self.shared, self.shared.account(tenant), batch.signal());
        let units = rate_units(&batch);
        let result = account.charge(signal, units, shared.clock.steady()).and_then(|()| {
            let refund = |refusal| {
                account.refund(signal, units);
                refusal
            };
            let mut rejected = already_rejected;
            let (batch, rows, aftermath) = self.process(tenant, batch).map_err(refund)?.into_parts();
            let taken = Taken { batch, rows };
            let (mut batch, undo) = shared.screen(&account, taken, &mut rejected, apply);
            let metrics = MetricCounts::of(&batch);
            let receipt = Receipt { stored: batch.len() as u64, metrics, rejected };
            let zeros = shared.put_zeros(tenant, &account, &mut batch);
            match shared.enqueue(tenant, batch, beside, patient) {
                Ok(state) => Ok((state, receipt, undo, zeros, aftermath)),
                Err(refusal) => {
                    account.take_back(undo);
                    shared.take_back_zeros(&zeros);
                    Err(refund(refusal))
                }
            }
        });
        match result {
            Ok((state, receipt, undo, zeros, aftermath)) => {
                let shared = self.shared.clone();
                Ok(Ticket { state, account, shared, signal, receipt, undo, zeros, aftermath })
            }
            Err(refusal) => {
                shared.count_refusal(&account, signal, &refusal);
                Err(refusal)
            }
        }
    }

    fn process(&self, tenant: &TenantId, batch: Batch) -> Result<Processed, Refusal> {
        let clock = &self.shared.clock;
        let (now, steady) = (Nanos(clock.unix_nanos()), clock.steady());
        let origin = Origin { tenant, receiver: self.receiver, now, steady };
        let own = self.own.process(&origin, Processed::untouched(batch))?;
        self.shared.processors.process(&origin, own)
    }

    /// The pipeline's own counters.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.shared.stats
    }

    /// Reads the wall clock that stamps what carries no stamp.
    #[must_use]
    pub fn now(&self) -> Nanos {
        Nanos(self.shared.clock.unix_nanos())
    }

    /// The limits that hold for `tenant`.
    #[must_use]
    pub fn limits(&self, tenant: &TenantId) -> &Limits {
        self.shared.limits.of(tenant)
    }

    /// The clocks.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.shared.clock
    }
}

impl fmt::Debug for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake").field("queue_bytes", &self.shared.queue.bytes()).finish_non_exhaustive()
    }
}

impl Ticket {
    /// Waits for the commit. Dropping the future does not take the batch back.
    pub async fn wait(mut self) -> Result<Receipt, Refusal> {
        let outcome = match self.state {
            TicketState::NothingToStore => Ok(0),
            TicketState::Waiting(done) => {
                // A sender dropped without a word means the committer died: nothing was proven durable.
                done.await.unwrap_or_else(|_| Err(Refusal::unavailable("the committer stopped")))
            }
        };
        match outcome {
            Ok(conflicts) => {
                self.receipt.leave_out(conflicts);
                self.shared.count_receipt(&self.account, self.signal, &self.receipt);
                self.shared.count_dropped(&self.account, self.signal, &self.aftermath);
                self.aftermath.run();
                Ok(self.receipt)
            }
            Err(refusal) => {
                self.account.take_back(self.undo);
                self.shared.take_back_zeros(&self.zeros);
                self.shared.count_refusal(&self.account, self.signal, &refusal);
                Err(refusal)
            }
        }
    }
}

impl Shared {
    fn account(&self, tenant: &TenantId) -> Arc<Account> {
        if let Some(found) = self.accounts.read().unwrap_or_else(PoisonError::into_inner).get(tenant) {
            return found.clone();
        }
        let mut accounts = self.accounts.write().unwrap_or_else(PoisonError::into_inner);
        if accounts.len() >= TENANTS_MAX && !accounts.contains_key(tenant) {
            return self.other.clone();
        }
        let limits = || self.limits.of(tenant).clone();
        let now = self.clock.steady();
        let open = || Arc::new(Account::new(tenant.as_str(), limits(), &self.stats, &self.room, now));
        accounts.entry(tenant.clone()).or_insert_with(open).clone()
    }

    fn screen(
        &self,
        account: &Account,
        mut taken: Taken,
        rejected: &mut Rejected,
        apply: impl FnOnce(&Screen<'_>, Taken, &mut Rejected) -> Batch,
    ) -> (Batch, Undo) {
        let signal = taken.batch.signal();
        let active = account.active_of(signal);
        let on_refused = |limit, blame: &Blame| self.refused_series(account, limit, blame);
        let screen = Screen {
            limits: &account.limits,
            now: Nanos(self.clock.unix_nanos()),
            steady: self.clock.steady(),
            active,
            on_refused: &on_refused,
        };
        let undo = match &mut taken.batch {
            Batch::Metrics(metrics) if !metrics.deltas.is_empty() => {
                account.add_up(metrics, &screen, rejected)
            }
            _ => Undo::default(),
        };
        let batch = apply(&screen, taken, rejected);
        account.count_active(signal, lock(active).len());
        self.stats.series_bytes.set(self.room.taken() as u64);
        (batch, undo)
    }

    fn put_zeros(&self, tenant: &TenantId, account: &Account, batch: &mut Batch) -> Put {
        let (Some(zeros), Batch::Metrics(batch)) = (&self.zeros, batch) else { return Put::new() };
        let oldest = account.limits.past.map(|past| {
            let past = i64::try_from(past.as_nanos()).unwrap_or(i64::MAX);
            Nanos(self.clock.unix_nanos().saturating_sub(past))
        });
        let in_window = |time: Millis| oldest.is_none_or(|oldest| time.to_nanos() >= oldest);
        zeros.put(tenant, batch, self.clock.steady(), in_window, &self.stats)
    }

    fn take_back_zeros(&self, put: &Put) {
        if let Some(zeros) = &self.zeros {
            zeros.take_back(put);
        }
    }

    fn enqueue(
        &self,
        tenant: &TenantId,
        batch: Batch,
        beside: Option<(TenantId, Batch)>,
        patient: bool,
    ) -> Result<TicketState, Refusal> {
        let (tenant, batch, beside) = match beside {
            Some((tenant, beside)) if batch.is_empty() => (tenant, beside, None),
            beside => (tenant.clone(), batch, beside),
        };
        if batch.is_empty() {
            return Ok(TicketState::NothingToStore);
        }
        let bytes_beside = beside.as_ref().map_or(0, |(_, beside)| beside.heap_bytes());
        let bytes = batch.heap_bytes() + bytes_beside + BATCH_OVERHEAD;
        let (done, waiting) = oneshot::channel();
        let job = Job { tenant, batch, beside, done };
        let pushed = self.queue.push(bytes, job, patient);
        self.stats.queue_bytes.set(self.queue.bytes() as u64);
        pushed.map(|()| TicketState::Waiting(waiting)).map_err(|error| match error {
            PushError::Full => Refusal::Overloaded {
                retry_after: OVERLOADED_RETRY,
                what: "the queue before the store is full",
            },
            PushError::TooLarge => {
                Refusal::TooLarge { bytes, limit: self.queue.capacity(), setting: "limits.ingest.queue" }
            }
            PushError::Closed => Refusal::unavailable("the node is stopping"),
        })
    }

    fn refused_series(&self, account: &Account, limit: &'static str, blame: &Blame) {
        let labels = ByCulprit { tenant: account.label.clone(), limit, metric: blame.metric.clone() };
        self.stats.refused_series.with(&labels).increment();
        if blame.log {
            tracing::warn!(
                tenant = &*account.label,
                limit,
                metric = &*blame.metric,
                label = &*blame.label,
                label_values = blame.values,
                refused = blame.refused,
                "new series are refused; existing ones go on"
            );
        }
    }

    fn count_receipt(&self, account: &Account, signal: Signal, receipt: &Receipt) {
        account.stored(signal).add(receipt.stored);
        for (reason, count, _) in receipt.rejected.iter() {
            let labels = ByReason { tenant: account.label.clone(), signal, reason };
            self.stats.rejected.with(&labels).add(count);
        }
    }

    fn count_dropped(&self, account: &Account, signal: Signal, aftermath: &Aftermath) {
        for (reason, count) in &aftermath.dropped {
            let labels = ByDrop { tenant: account.label.clone(), signal, reason: reason.clone() };
            self.stats.dropped.with(&labels).add(*count);
        }
    }

    fn count_refusal(&self, account: &Account, signal: Signal, refusal: &Refusal) {
        let labels = ByCause { tenant: account.label.clone(), signal, cause: refusal.cause() };
        self.stats.refused.with(&labels).increment();
    }
}

/// What one tenant has used up.
struct Account {
    label: Arc<str>,
    limits: Limits,
    rates: [Option<Mutex<Bucket>>; 3],
    active: [Mutex<Active>; 3],
    totals: Mutex<Totals>,
    delta_streams: Arc<Gauge>,
    stored: [Arc<Counter>; 3],
    active_gauges: [Arc<Gauge>; 3],
}

impl Account {
    fn new(label: &str, limits: Limits, stats: &Stats, room: &Arc<Room>, now: Duration) -> Self {
        let label: Arc<str> = label.into();
        let labels = |signal| ByTenant { tenant: label.clone(), signal };
        Self {
            rates: Signal::ALL
                .map(|signal| rate(&limits, signal).map(|r| Mutex::new(Bucket::with_double_burst(r, now)))),
            active: Signal::ALL.map(|signal| {
                let secret = Random::from_os().next_u64();
                Mutex::new(Active::new(caps(&limits, signal), secret, now).sharing(Arc::clone(room)))
            }),
            totals: Mutex::new(Totals::new(
                limits.delta_series,
                limits.delta_idle,
                [Random::from_os().next_u64(), Random::from_os().next_u64()],
                now,
            )),
            delta_streams: stats.delta_streams.with(&OfTenant(label.clone())),
            stored: Signal::ALL.map(|signal| stats.stored.with(&labels(signal))),
            active_gauges: Signal::ALL.map(|signal| stats.active.with(&labels(signal))),
            label,
            limits,
        }
    }

    fn charge(&self, signal: Signal, units: u64, now: Duration) -> Result<(), Refusal> {
        let [metrics, logs, traces] = &self.rates;
        let bucket = pick(signal, metrics, logs, traces);
        let (Some(bucket), Some(limit)) = (bucket, rate(&self.limits, signal)) else { return Ok(()) };
        let charged = lock(bucket).charge(units, now);
        charged.map_err(|retry_after| Refusal::RateLimited {
            retry_after,
            limit,
            setting: rate_setting(signal),
        })
    }

    fn refund(&self, signal: Signal, units: u64) {
        let [metrics, logs, traces] = &self.rates;
        if let Some(bucket) = pick(signal, metrics, logs, traces) {
            lock(bucket).refund(units);
        }
    }

    /// Makes totals of the batch's changes.
    fn add_up(&self, batch: &mut MetricBatch, screen: &Screen<'_>, rejected: &mut Rejected) -> Undo {
        let in_window = |time: Millis| screen.time(time.to_nanos()).is_ok();
        let mut totals = lock(&self.totals);
        let undo = totals.apply(batch, screen.steady, in_window, rejected);
        self.delta_streams.set(totals.len() as u64);
        undo
    }

    fn take_back(&self, undo: Undo) {
        if !undo.is_empty() {
            lock(&self.totals).undo(undo);
        }
    }

    fn active_of(&self, signal: Signal) -> &Mutex<Active> {
        let [metrics, logs, traces] = &self.active;
        pick(signal, metrics, logs, traces)
    }

    fn count_active(&self, signal: Signal, active: usize) {
        let [metrics, logs, traces] = &self.active_gauges;
        pick(signal, metrics, logs, traces).set(active as u64);
    }

    fn stored(&self, signal: Signal) -> &Counter {
        let [metrics, logs, traces] = &self.stored;
        pick(signal, metrics, logs, traces)
    }
}

fn pick<T>(signal: Signal, metrics: T, logs: T, traces: T) -> T {
    match signal {
        Signal::Metrics => metrics,
        Signal::Logs => logs,
        Signal::Traces => traces,
    }
}

fn caps(limits: &Limits, signal: Signal) -> Caps {
    let metrics = Caps {
        total: limits.series,
        per_group: limits.series_per_metric,
        new_per_hour: limits.new_series_per_hour,
    };
    let logs = Caps { total: limits.streams, ..Caps::default() };
    pick(signal, metrics, logs, Caps::default())
}

fn rate(limits: &Limits, signal: Signal) -> Option<u64> {
    pick(signal, limits.samples_per_second, limits.log_bytes_per_second, limits.spans_per_second)
}

fn rate_setting(signal: Signal) -> &'static str {
    pick(
        signal,
        "limits.ingest.samples_per_second",
        "limits.ingest.log_bytes_per_second",
        "limits.ingest.spans_per_second",
    )
}

/// What a batch costs against the tenant's rate: samples, bytes of lines and metadata, or spans.
fn rate_units(batch: &Batch) -> u64 {
    match batch {
        Batch::Metrics(batch) => batch.len() as u64,
        Batch::Spans(batch) => batch.len() as u64,
        Batch::Logs(batch) => {
            let metadata: usize = batch.metadata.iter().map(kenning_model::LabelSet::text_bytes).sum();
            (batch.line.text_bytes() + metadata) as u64
        }
    }
}

// Every critical section leaves the state whole, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
