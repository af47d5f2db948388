//! The SDK's own metrics and the description of the service, as shown on `/metrics`.

use std::sync::{Arc, OnceLock};

use crate::core::Core;
use crate::drops::{Reason, Signal};
use crate::metrics::Kind;
use crate::metrics::snapshot_parts::{FamilySnapshot, Reading};

/// The core that was installed for the whole process.
static INSTALLED: OnceLock<Arc<Core>> = OnceLock::new();

pub(crate) fn install(core: &Arc<Core>) {
    let _ = INSTALLED.set(core.clone());
}

/// The SDK's families; `cardinality_drops` are the metrics' own losses.
pub(crate) fn snapshot(cardinality_drops: u64) -> Vec<FamilySnapshot> {
    let core = INSTALLED.get();
    let mut families = vec![dropped(core, cardinality_drops), exported(core)];
    families.extend(core.map(|core| target_info(core)));
    families
}

/// Every signal and reason is shown from the start, so that an alert on a rise sees the first loss.
fn dropped(core: Option<&Arc<Core>>, cardinality_drops: u64) -> FamilySnapshot {
    let help = "Telemetry the SDK could not keep, by signal and reason.";
    let mut family =
        FamilySnapshot::new("kenning_sdk_dropped_total", help, Kind::Counter, &["signal", "reason"]);
    for signal in [Signal::Spans, Signal::Logs] {
        for reason in Reason::ALL.into_iter().filter(|reason| *reason != Reason::Cardinality) {
            let count = core.map_or(0, |core| core.ledger.dropped_count(signal, reason));
            family.sample(vec![signal.name().to_owned(), reason.name().to_owned()], Reading::Counter(count));
        }
    }
    let labels = vec![Signal::Metrics.name().to_owned(), Reason::Cardinality.name().to_owned()];
    family.sample(labels, Reading::Counter(cardinality_drops));
    family
}

fn exported(core: Option<&Arc<Core>>) -> FamilySnapshot {
    let help = "Telemetry the collector has taken, by signal.";
    let mut family = FamilySnapshot::new("kenning_sdk_exported_total", help, Kind::Counter, &["signal"]);
    for signal in [Signal::Spans, Signal::Logs] {
        let count = core.map_or(0, |core| core.ledger.exported_count(signal));
        family.sample(vec![signal.name().to_owned()], Reading::Counter(count));
    }
    family
}

/// The resource attributes as labels, so that metrics can be joined with logs and traces of the same service.
fn target_info(core: &Core) -> FamilySnapshot {
    let attributes = crate::otlp::resource_attributes(&core.config);
    let mut names: Vec<String> = Vec::new();
    let mut values = Vec::new();
    for (key, value) in attributes {
        let name: String = key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let valid = !name.starts_with(|c: char| c.is_ascii_digit()) && !name.starts_with("__");
        if valid && !names.contains(&name) {
            names.push(name);
            values.push(value);
        }
    }
    let labels: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut family = FamilySnapshot::new("target_info", "Resource of this service.", Kind::Gauge, &labels);
    family.sample(values, Reading::Gauge(1.0));
    family
}
