//! Followers of logs (`tail`): how they hear of commits, and what is counted of them.

use std::sync::Arc;

use kenning_api::{TailEvent, Tails};
use kenning_model::Write;
use kenning_pipeline::Tap;
use kenning_pipeline::telemetry::{Counter, Declaration, Gauge, Metric, Registry};

/// Tells the followers of every committed group.
pub struct TailTap(pub Arc<Tails>);

impl Tap for TailTap {
    fn committed(&self, group: &Arc<Vec<Write>>) {
        self.0.publish(group);
    }
}

/// No followers yet; what happens to them goes into the registry.
pub fn new(registry: &Registry) -> Arc<Tails> {
    let counter = |name, help| -> Arc<Counter> {
        let metric: Arc<Metric<(), Counter>> = registry.counter(Declaration { name, help, unit: "" });
        metric.with(&())
    };
    let open: Arc<Metric<(), Gauge>> =
        registry.gauge(Declaration { name: "kenning_tail_open", help: "Clients that follow logs", unit: "" });
    let open = open.with(&());
    let sent = counter("kenning_tail_lines_sent_total", "Log lines sent to clients that follow logs");
    let dropped = counter(
        "kenning_tail_lines_dropped_total",
        "Log lines of wanted streams left out because the client that follows was slow",
    );
    let shed = counter("kenning_tail_shed_total", "Clients that were sent away because they took nothing");
    Arc::new(Tails::new(move |event| match event {
        TailEvent::Opened => open.add(1),
        TailEvent::Closed => open.sub(1),
        TailEvent::Sent(lines) => sent.add(lines),
        TailEvent::Dropped(lines) => dropped.add(lines),
        TailEvent::Shed => shed.add(1),
    }))
}
