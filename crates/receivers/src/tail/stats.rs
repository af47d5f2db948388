//! What tailing counts about itself.

use std::sync::Arc;

use kenning_pipeline::telemetry::{Counter, Declaration, Gauge, Labels, Metric, Registry};

/// Label `source`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BySource(pub Arc<str>);

impl Labels for BySource {
    const NAMES: &'static [&'static str] = &["source"];
    fn values(&self) -> Vec<String> {
        vec![self.0.to_string()]
    }
}

/// Labels `source` and `kind`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ByKind {
    /// The source's name.
    pub source: Arc<str>,
    /// What happened.
    pub kind: &'static str,
}

impl Labels for ByKind {
    const NAMES: &'static [&'static str] = &["source", "kind"];
    fn values(&self) -> Vec<String> {
        vec![self.source.to_string(), self.kind.to_owned()]
    }
}

/// Tailing's metrics. Cloning shares them.
#[derive(Clone, Debug)]
pub struct TailStats {
    /// Files that are watched.
    pub files: Arc<Metric<BySource, Gauge>>,
    /// Bytes read.
    pub bytes: Arc<Metric<BySource, Counter>>,
    /// Records made.
    pub records: Arc<Metric<BySource, Counter>>,
    /// Bytes that are written and not read yet.
    pub behind: Arc<Metric<BySource, Gauge>>,
    /// What happened to files and lines besides being read.
    pub events: Arc<Metric<ByKind, Counter>>,
}

impl TailStats {
    /// Declares the metrics.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        let declare = |name, help, unit| Declaration { name, help, unit };
        Self {
            files: registry.gauge(declare("kenning_tail_files", "Files that are tailed", "")),
            bytes: registry.counter(declare("kenning_tail_bytes_total", "Bytes read from tailed files", "bytes")),
            records: registry.counter(declare(
                "kenning_tail_records_total",
                "Records made of lines of tailed files, before stages and limits",
                "",
            )),
            behind: registry.gauge(declare(
                "kenning_tail_behind_bytes",
                "Bytes of tailed files that are written and not read yet",
                "bytes",
            )),
            events: registry.counter(declare(
                "kenning_tail_events_total",
                "What happened to tailed files and lines: cut, malformed, invalid_text, truncated, truncated_unread_bytes, copied, compressed, too_many_files, refused, unreadable, relabelled_away",
                "",
            )),
        }
    }
}

/// The counters of one source.
#[derive(Clone, Debug)]
pub(super) struct SourceStats {
    name: Arc<str>,
    stats: TailStats,
    pub files: Arc<Gauge>,
    pub bytes: Arc<Counter>,
    pub records: Arc<Counter>,
    pub behind: Arc<Gauge>,
}

impl SourceStats {
    pub fn new(stats: &TailStats, name: &str) -> Self {
        let by = BySource(name.into());
        Self {
            name: name.into(),
            stats: stats.clone(),
            files: stats.files.with(&by),
            bytes: stats.bytes.with(&by),
            records: stats.records.with(&by),
            behind: stats.behind.with(&by),
        }
    }

    pub fn event(&self, kind: &'static str, count: u64) {
        if count > 0 {
            self.stats.events.with(&ByKind { source: Arc::clone(&self.name), kind }).add(count);
        }
    }
}
