//! OTLP 1.x requests to batches, and the replies. Definition: opentelemetry-proto and the OTLP specification.
//!
//! Promises: a request that can be walked at all gives its good items; every bad one is counted with a reason. What
//! cannot be walked (a cut body, a bomb) gives nothing. JSON is first rewritten as protobuf by schema ([`json`]), so
//! that both forms mean the same by construction.
//!
//! Absent: profiles, `InstrumentationLibrary` groups (gone since OTLP 0.15), schema URLs of resources, dropped counts.
//! Points of delta temporality are marked as such ([`kenning_model::DeltaPoint`]); adding them up is the pipeline's.

mod common;
mod encode;
mod json;
mod logs;
mod metrics;
mod naming;
mod reply;
mod sources;
mod traces;

use std::borrow::Cow;
use std::sync::Arc;

use kenning_model::{LogBatch, MetricBatch, Nanos, Rejected, Signal, SpanBatch};

use crate::error::{DecodeError, Decoded};
use crate::limits::DecodeLimits;

pub use encode::{encode_logs, encode_traces};
pub use metrics::DeltaTemporality;
pub use naming::{LabelNaming, TranslationStrategy, label_translation, translations};
pub use reply::{encode_response, encode_status};
pub use sources::LogSources;

/// The two forms of OTLP over HTTP; gRPC carries the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `application/x-protobuf`
    Protobuf,
    /// `application/json`
    Json,
}

impl Format {
    /// The form of a `Content-Type` header, parameters ignored; `None` for anything else.
    #[must_use]
    pub fn from_content_type(header: &str) -> Option<Self> {
        let essence = header.split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case("application/x-protobuf") {
            Some(Self::Protobuf)
        } else if essence.eq_ignore_ascii_case("application/json") {
            Some(Self::Json)
        } else {
            None
        }
    }

    /// The `Content-Type` of replies in this form.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }
}

/// How OpenTelemetry's data model becomes Prometheus' and Loki's. Cloning is four reference counts.
#[derive(Clone, Debug)]
pub struct OtlpOptions {
    /// The time of receipt, for log records that carry no time at all.
    pub now: Nanos,
    /// How metric and label names are translated.
    pub naming: TranslationStrategy,
    /// What becomes of underscores in label names.
    pub label_naming: LabelNaming,
    /// Resource attributes that become labels of every series (Prometheus' `promote_resource_attributes`).
    pub promote_resource_attributes: Arc<[String]>,
    /// All resource attributes become labels of every series, but for [`Self::ignore_resource_attributes`].
    pub promote_all_resource_attributes: bool,
    /// Those that do not, when all others do.
    pub ignore_resource_attributes: Arc<[String]>,
    /// `target_info` also has `service.name`, `service.namespace` and `service.instance.id` as they came.
    pub keep_identifying_resource_attributes: bool,
    /// Adds `otel_scope_name`, `otel_scope_version`, `otel_scope_schema_url` and the scope's attributes (as
    /// `otel_scope_<name>`) to every series of a scope that has a name.
    pub promote_scope_metadata: bool,
    /// Explicit histograms become native histograms with custom buckets instead of classic ones.
    pub convert_histograms_to_nhcb: bool,
    /// What becomes of points of delta temporality.
    pub delta: DeltaTemporality,
    /// Resource attributes that become labels of log streams; all others become structured metadata.
    pub stream_attributes: Arc<[String]>,
    /// What resources and scopes of log records came to before; shared by clones. At first nothing is remembered.
    pub known_sources: Arc<LogSources>,
}

/// Resource attributes that become stream labels: those that Loki indexes by default, and the host.
pub const STREAM_ATTRIBUTES: [&str; 19] = [
    "service.name",
    "service.namespace",
    "service.instance.id",
    "deployment.environment",
    "deployment.environment.name",
    "cloud.region",
    "cloud.availability_zone",
    "k8s.cluster.name",
    "k8s.namespace.name",
    "k8s.pod.name",
    "k8s.container.name",
    "container.name",
    "k8s.replicaset.name",
    "k8s.deployment.name",
    "k8s.statefulset.name",
    "k8s.daemonset.name",
    "k8s.cronjob.name",
    "k8s.job.name",
    "host.name",
];

impl OtlpOptions {
    /// The defaults of Prometheus and Loki, but for delta temporality, which Prometheus refuses unless told otherwise.
    #[must_use]
    pub fn new(now: Nanos) -> Self {
        Self {
            now,
            naming: TranslationStrategy::default(),
            label_naming: LabelNaming::default(),
            promote_resource_attributes: Arc::new([]),
            promote_all_resource_attributes: false,
            ignore_resource_attributes: Arc::new([]),
            keep_identifying_resource_attributes: false,
            promote_scope_metadata: false,
            convert_histograms_to_nhcb: false,
            delta: DeltaTemporality::default(),
            stream_attributes: STREAM_ATTRIBUTES.iter().map(|name| (*name).to_owned()).collect(),
            known_sources: Arc::default(),
        }
    }
}

/// Reads an `ExportTraceServiceRequest`.
pub fn decode_traces(
    body: &[u8],
    format: Format,
    limits: &DecodeLimits,
    _options: &OtlpOptions,
) -> Result<Decoded<SpanBatch>, DecodeError> {
    let (body, rejected) = protobuf(body, format, Signal::Traces, limits)?;
    with_rejected(traces::decode(&body, limits)?, rejected)
}

/// Reads an `ExportLogsServiceRequest`.
pub fn decode_logs(
    body: &[u8],
    format: Format,
    limits: &DecodeLimits,
    options: &OtlpOptions,
) -> Result<Decoded<LogBatch>, DecodeError> {
    let (body, rejected) = protobuf(body, format, Signal::Logs, limits)?;
    with_rejected(logs::decode(&body, limits, options)?, rejected)
}

/// Reads an `ExportMetricsServiceRequest`.
pub fn decode_metrics(
    body: &[u8],
    format: Format,
    limits: &DecodeLimits,
    options: &OtlpOptions,
) -> Result<Decoded<MetricBatch>, DecodeError> {
    let (body, rejected) = protobuf(body, format, Signal::Metrics, limits)?;
    with_rejected(metrics::decode(&body, limits, options)?, rejected)
}

fn protobuf<'a>(
    body: &'a [u8],
    format: Format,
    signal: Signal,
    limits: &DecodeLimits,
) -> Result<(Cow<'a, [u8]>, Rejected), DecodeError> {
    match format {
        Format::Protobuf => Ok((Cow::Borrowed(body), Rejected::default())),
        Format::Json => json::to_protobuf(body, signal, limits).map(|(out, bad)| (Cow::Owned(out), bad)),
    }
}

fn with_rejected<B>(mut decoded: Decoded<B>, mut earlier: Rejected) -> Result<Decoded<B>, DecodeError> {
    if !earlier.is_empty() {
        earlier.merge(decoded.rejected);
        decoded.rejected = earlier;
    }
    Ok(decoded)
}
