//! The recent data of all tenants, in memory.

use std::collections::HashMap;

use kenning_model::{Batch, TenantId};

use crate::logs::head::LogHead;
use crate::metrics::head::MetricHead;
use crate::traces::head::SpanHead;

/// The recent data of one tenant.
#[derive(Debug, Default)]
pub(crate) struct TenantHead {
    pub(crate) metrics: MetricHead,
    pub(crate) logs: LogHead,
    pub(crate) spans: SpanHead,
}

impl TenantHead {
    fn add(&mut self, batch: &Batch) {
        match batch {
            Batch::Metrics(batch) => self.metrics.add(batch),
            Batch::Logs(batch) => self.logs.add(batch),
            Batch::Spans(batch) => self.spans.add(batch),
        }
    }

    fn bytes(&self) -> usize {
        self.metrics.bytes() + self.logs.bytes() + self.spans.bytes()
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
}

impl Heads {
    /// Takes a batch.
    pub(crate) fn add(&mut self, tenant: &TenantId, batch: &Batch) {
        if !self.tenants.contains_key(tenant) {
            self.tenants.insert(tenant.clone(), TenantHead::default());
        }
        if let Some(head) = self.tenants.get_mut(tenant) {
            let before = head.bytes();
            head.add(batch);
            self.bytes += head.bytes().saturating_sub(before);
        }
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
        self.bytes
    }

    /// Series with recent samples.
    pub(crate) fn series(&self) -> usize {
        self.tenants.values().map(|head| head.metrics.series()).sum()
    }

    /// Samples dropped on arrival because their time was taken by another value.
    pub(crate) fn conflicts(&self) -> u64 {
        self.tenants.values().map(|head| head.metrics.conflicts()).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tenants.values().all(TenantHead::is_empty)
    }
}
