//! What the receivers count about themselves.

use std::sync::Arc;
use std::time::Duration;

use kenning_pipeline::telemetry::{
    Counter, Declaration, Gauge, Histogram, Labels, Metric, Registry, SECONDS,
};

/// Label `listener`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ByListener(pub &'static str);

impl Labels for ByListener {
    const NAMES: &'static [&'static str] = &["listener"];
    fn values(&self) -> Vec<String> {
        vec![self.0.to_owned()]
    }
}

/// Labels `listener` and `cause`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ByEnd {
    /// The listener's name.
    pub listener: &'static str,
    /// Why a connection was not taken or was ended.
    pub cause: &'static str,
}

impl Labels for ByEnd {
    const NAMES: &'static [&'static str] = &["listener", "cause"];
    fn values(&self) -> Vec<String> {
        vec![self.listener.to_owned(), self.cause.to_owned()]
    }
}

/// Label `protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ByProtocol(pub &'static str);

impl Labels for ByProtocol {
    const NAMES: &'static [&'static str] = &["protocol"];
    fn values(&self) -> Vec<String> {
        vec![self.0.to_owned()]
    }
}

/// Labels `protocol` and `code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ByCode {
    /// The protocol's name.
    pub protocol: &'static str,
    /// The HTTP status or the gRPC code of the reply.
    pub code: u16,
}

impl Labels for ByCode {
    const NAMES: &'static [&'static str] = &["protocol", "code"];
    fn values(&self) -> Vec<String> {
        vec![self.protocol.to_owned(), self.code.to_string()]
    }
}

/// Label `job`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ByJob(pub Arc<str>);

impl Labels for ByJob {
    const NAMES: &'static [&'static str] = &["job"];
    fn values(&self) -> Vec<String> {
        vec![self.0.to_string()]
    }
}

/// Labels `job` and `mechanism`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ByMechanism {
    /// The job.
    pub job: Arc<str>,
    /// The key of its discovery, such as `dns_sd_configs`.
    pub mechanism: &'static str,
}

impl Labels for ByMechanism {
    const NAMES: &'static [&'static str] = &["job", "mechanism"];
    fn values(&self) -> Vec<String> {
        vec![self.job.to_string(), self.mechanism.to_owned()]
    }
}

/// The receivers' metrics. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Stats {
    /// Open connections.
    pub connections: Arc<Metric<ByListener, Gauge>>,
    /// Connections not taken, or ended by a guard.
    pub connections_ended: Arc<Metric<ByEnd, Counter>>,
    /// Handlers that panicked; each was answered with 500.
    pub panics: Arc<Metric<ByListener, Counter>>,
    /// Replies to pushes.
    pub requests: Arc<Metric<ByCode, Counter>>,
    /// Bytes of bodies as they came over the wire.
    pub bytes: Arc<Metric<ByProtocol, Counter>>,
    /// Time from the head of a push to its reply.
    pub seconds: Arc<Metric<ByProtocol, Histogram>>,
    /// Targets that discovery found and that cannot be scraped as they are.
    pub targets_refused: Arc<Metric<ByJob, Counter>>,
    /// Looks of a discovery that failed; what was found before holds.
    pub discovery_failures: Arc<Metric<ByMechanism, Counter>>,
    /// Messages and datagrams that were not stored, by cause.
    pub discarded: Arc<Metric<ByEnd, Counter>>,
    /// Messages that were kept although something about them was odd, by what it was.
    pub oddities: Arc<Metric<ByEnd, Counter>>,
    /// Scrapes that failed.
    pub scrapes_failed: Arc<Metric<ByJob, Counter>>,
    /// Lines that a failure log did not take.
    pub failure_lines_lost: Arc<Counter>,
    /// Time a scrape took.
    pub scrape_seconds: Arc<Metric<ByJob, Histogram>>,
}

impl Stats {
    /// Declares the metrics.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        let declare = |name, help, unit| Declaration { name, help, unit };
        Self {
            connections: registry.gauge(declare("kenning_http_connections", "Open connections", "")),
            connections_ended: registry.counter(declare(
                "kenning_http_connections_ended_total",
                "Connections that were not taken or were ended by a guard, by cause",
                "",
            )),
            panics: registry.counter(declare(
                "kenning_http_panics_total",
                "Requests whose handler panicked and that were answered with 500",
                "",
            )),
            requests: registry.counter(declare(
                "kenning_receive_requests_total",
                "Replies to pushes by protocol and code",
                "",
            )),
            bytes: registry.counter(declare(
                "kenning_receive_bytes_total",
                "Bytes of pushed bodies as they came over the wire",
                "bytes",
            )),
            seconds: registry.histogram(
                declare("kenning_receive_seconds", "Time from the head of a push to its reply", "seconds"),
                SECONDS,
            ),
            discovery_failures: registry.counter(declare(
                "kenning_scrape_discovery_failures_total",
                "Looks of a discovery that failed, so that the targets found before go on",
                "",
            )),
            targets_refused: registry.counter(declare(
                "kenning_scrape_targets_refused_total",
                "Targets found whose labels after relabelling do not make a target, each time they were found",
                "",
            )),
            discarded: registry.counter(declare(
                "kenning_receive_discarded_total",
                "Messages and datagrams that were not stored, by listener and cause",
                "",
            )),
            oddities: registry.counter(declare(
                "kenning_receive_oddities_total",
                "Messages that were kept although they do not follow their format, by listener and cause",
                "",
            )),
            scrapes_failed: registry.counter(declare(
                "kenning_scrape_failures_total",
                "Scrapes after which the target counted as down",
                "",
            )),
            failure_lines_lost: registry
                .counter(declare(
                    "kenning_scrape_failure_log_lost_lines_total",
                    "Lines that could not be written to a scrape_failure_log_file, which may hold 1 GiB",
                    "",
                ))
                .with(&()),
            scrape_seconds: registry
                .histogram(declare("kenning_scrape_seconds", "Time a scrape took", "seconds"), SECONDS),
        }
    }

    pub(crate) fn count_reply(&self, protocol: &'static str, code: u16, took: Duration) {
        self.requests.with(&ByCode { protocol, code }).increment();
        self.seconds.with(&ByProtocol(protocol)).observe_duration(took);
    }
}
