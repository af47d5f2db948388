//! Redaction as a processor.

use std::collections::HashMap;
use std::sync::Arc;

use kenning_model::{Signal, TenantId};

use super::Redactor;
use crate::intake::Refusal;
use crate::process::{Origin, Processed, Processor};
use crate::telemetry::{Counter, Declaration, Labels, Metric, Registry};

/// Whose telemetry is redacted.
#[derive(Clone, Debug)]
pub struct Scope {
    /// For tenants that are not named.
    pub default: bool,
    /// For those that are.
    pub tenants: HashMap<TenantId, bool>,
}

impl Scope {
    fn has(&self, tenant: &TenantId) -> bool {
        self.tenants.get(tenant).copied().unwrap_or(self.default)
    }

    /// True when nobody's is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.default && !self.tenants.values().any(|is_on| *is_on)
    }
}

/// Labels `kind` and `signal`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ByKind {
    kind: Box<str>,
    signal: Signal,
}

impl Labels for ByKind {
    const NAMES: &'static [&'static str] = &["kind", "signal"];
    fn values(&self) -> Vec<String> {
        vec![self.kind.to_string(), self.signal.to_string()]
    }
}

const REDACTED: Declaration = Declaration {
    name: "kenning_redacted_total",
    help: "Secrets and personal data taken out of what was stored, by kind",
    unit: "",
};

/// Redacts batches and counts what it took out once they are durable.
#[derive(Debug)]
pub struct Redaction {
    redactor: Redactor,
    scope: Scope,
    redacted: Arc<Metric<ByKind, Counter>>,
}

impl Redaction {
    /// A processor with its metric.
    #[must_use]
    pub fn new(redactor: Redactor, scope: Scope, registry: &Registry) -> Self {
        Self { redactor, scope, redacted: registry.counter(REDACTED) }
    }
}

impl Processor for Redaction {
    fn process(&self, origin: &Origin<'_>, mut batch: Processed) -> Result<Processed, Refusal> {
        if !self.scope.has(origin.tenant) {
            return Ok(batch);
        }
        let tally = self.redactor.redact_batch(&mut batch.batch);
        if tally.total() > 0 {
            let signal = batch.batch.signal();
            let counters = self
                .redactor
                .counts(&tally)
                .map(|(kind, count)| (self.redacted.with(&ByKind { kind: kind.into(), signal }), count));
            let counters: Vec<_> = counters.collect();
            batch.when_durable(move || counters.iter().for_each(|(counter, count)| counter.add(*count)));
        }
        Ok(batch)
    }
}
