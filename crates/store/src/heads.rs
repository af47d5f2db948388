//! The recent data of all tenants, in memory.

use std::collections::HashMap;

use kenning_model::{Batch, LabelSet, Nanos, TenantId};

use crate::logs::cut::CutBudget;
use crate::logs::head::LogHead;
use crate::metrics::head::{Dropped, MetricHead};
use crate::traces::head::SpanHead;

/// The recent data of one tenant.
#[derive(Debug, Default)]
pub(crate) struct TenantHead {
    pub(crate) metrics: MetricHead,
    pub(crate) logs: LogHead,
    pub(crate) spans: SpanHead,
}

/// The series of a batch as the log and the head know them.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    /// By position in the batch.
    pub(crate) series: Vec<u32>,
    /// Positions of those that the log's epoch has no definition of.
    pub(crate) fresh: Vec<u32>,
}

impl TenantHead {
    fn add(&mut self, batch: &Batch, numbers: &[u32]) {
        match batch {
            Batch::Metrics(batch) => self.metrics.add(batch, numbers),
            Batch::Logs(batch) => self.logs.add(batch),
            Batch::Spans(batch) => self.spans.add(batch),
        }
    }

    fn bytes(&self) -> usize {
        self.metrics.bytes() + self.logs.bytes() + self.spans.bytes()
    }

    /// The earliest time of samples, records and spans.
    fn start(&self) -> Option<Nanos> {
        let logs = self.logs.runs().iter().map(|run| run.range.start);
        let spans = self.spans.runs().iter().map(|run| run.range.start);
        self.metrics.extent().map(|extent| extent.start).into_iter().chain(logs).chain(spans).min()
    }

    fn is_empty(&self) -> bool {
        self.metrics.is_empty() && self.logs.is_empty() && self.spans.is_empty()
    }
}

/// The recent data of all tenants.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    tenants: HashMap<TenantId, TenantHead>,
    bytes: usize,
    log_bytes: usize,
    cuts: CutBudget,
}

impl Heads {
    /// Gives the series of a batch their numbers, and defines in an epoch of the log those that it does not know.
    pub(crate) fn resolve(&mut self, tenant: &TenantId, batch: &Batch, epoch: u32) -> Numbers {
        let Batch::Metrics(batch) = batch else { return Numbers::default() };
        self.change(tenant, |head| {
            let series = head.metrics.resolve(&batch.series);
            let fresh = head.metrics.define(&series, epoch);
            Numbers { series, fresh }
        })
    }

    /// The numbers of series, outside the log's epochs.
    pub(crate) fn number(&mut self, tenant: &TenantId, sets: &[LabelSet]) -> Vec<u32> {
        self.change(tenant, |head| head.metrics.resolve(sets))
    }

    /// Takes a batch; `numbers` are those of its series. Gives the number of samples whose time was taken by another
    /// value.
    pub(crate) fn add(&mut self, tenant: &TenantId, batch: &Batch, numbers: &[u32]) -> u64 {
        self.change(tenant, |head| {
            let before = head.metrics.conflicts();
            head.add(batch, numbers);
            head.metrics.conflicts() - before
        })
    }

    fn change<T: Default>(&mut self, tenant: &TenantId, change: impl FnOnce(&mut TenantHead) -> T) -> T {
        if !self.tenants.contains_key(tenant) {
            let logs = LogHead::new(&self.cuts);
            self.tenants.insert(tenant.clone(), TenantHead { logs, ..TenantHead::default() });
        }
        let Some(head) = self.tenants.get_mut(tenant) else { return T::default() };
        let (before, logs_before) = (head.bytes(), head.logs.bytes());
        let changed = change(head);
        // Less than before where old exemplars went for smaller ones.
        self.bytes = (self.bytes + head.bytes()).saturating_sub(before);
        self.log_bytes += head.logs.bytes().saturating_sub(logs_before);
        changed
    }

    pub(crate) fn tenant(&self, tenant: &TenantId) -> Option<&TenantHead> {
        self.tenants.get(tenant)
    }

    /// Every tenant's head, in the order of names, so that equal heads give equal files.
    pub(crate) fn sorted(&self) -> Vec<(&TenantId, &TenantHead)> {
        let mut tenants: Vec<_> = self.tenants.iter().collect();
        tenants.sort_unstable_by_key(|(tenant, _)| *tenant);
        tenants
    }

    /// Bytes held, as far as they are counted.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.cuts.held()
    }

    /// Bytes held by log records.
    pub(crate) fn log_bytes(&self) -> usize {
        self.log_bytes
    }

    /// The earliest time of anything but exemplars.
    pub(crate) fn start(&self) -> Option<Nanos> {
        self.tenants.values().filter_map(TenantHead::start).min()
    }

    /// Bytes of rows: what flushing sooner would only have to be held again, the series themselves, left out.
    pub(crate) fn row_bytes(&self) -> usize {
        let series: usize = self.tenants.values().map(|head| head.metrics.series_bytes()).sum();
        self.bytes().saturating_sub(series)
    }

    /// Series with recent samples.
    pub(crate) fn series(&self) -> usize {
        self.tenants.values().map(|head| head.metrics.series()).sum()
    }

    /// Samples dropped on arrival because their time was taken by another value.
    pub(crate) fn conflicts(&self) -> u64 {
        self.tenants.values().map(|head| head.metrics.conflicts()).sum()
    }

    /// What was dropped because there was too much of it.
    pub(crate) fn dropped(&self) -> Dropped {
        let mut sum = Dropped::default();
        self.tenants.values().for_each(|head| sum.add(head.metrics.dropped()));
        sum
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tenants.values().all(TenantHead::is_empty)
    }
}
