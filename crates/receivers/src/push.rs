//! What clients push over HTTP, as one service without a framework.
//!
//! | Path | Protocol |
//! |---|---|
//! | `/v1/metrics`, `/v1/logs`, `/v1/traces` | OTLP/HTTP, protobuf or JSON |
//! | `/api/v1/otlp/v1/metrics` | the same, where Prometheus has it |
//! | `/otlp/v1/logs` | the same, where Loki has it |
//! | `/loki/api/v1/push`, `/api/prom/push` | Loki push, snappy protobuf or JSON (the second in its older form) |
//! | `/api/v1/write`, `/api/v1/push` | Prometheus remote write 1.0 and 2.0 (the second path as Mimir has it) |
//!
//! Each also below `/ds/prometheus` and `/ds/loki`, where the main port groups its APIs. Bodies may come as gzip,
//! deflate, zstd or snappy; those of remote write, as its definition has it, as snappy only. `X-Scope-OrgID` is not
//! looked at: everything goes to the tenant of the configuration.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body;
use http_body_util::Full;
use kenning_model::{Batch, MetricBatch, Nanos, Rejected, Signal, TenantId};
use kenning_pipeline::{Intake, MetricCounts, Receipt};
use kenning_wire::compression::Encoding;
use kenning_wire::otlp::{self, Format};
use kenning_wire::{DecodeError, DecodeLimits, Decoded, SeriesCache, loki, prometheus};

use crate::body::{self, BodyLimits, Budget};
use crate::ingest::{DecodeResult, Ingest};
use crate::outcome::{Failure, only_over_series_limit, retry_seconds};
use crate::stats::{ByProtocol, Stats};

pub use kenning_wire::otlp::{DeltaTemporality, LabelNaming, LogSources, OtlpOptions, TranslationStrategy};

/// An answer.
pub type Reply = Response<Full<Bytes>>;

/// What a [`PushService`] is built with.
#[derive(Clone, Debug)]
pub struct PushOptions {
    /// Whose data it is.
    pub tenant: TenantId,
    /// Guards of bodies. Remote write may send bodies of twice these sizes.
    pub body: BodyLimits,
    /// Memory for bodies. All push receivers of a node should share one.
    pub budget: Budget,
    /// Memory of remembered remote write series and, for an eighth, of remembered streams of Loki's push, beside their
    /// label sets: half of it is in use, about 260 bytes a series. Beyond it those that are silent longest are forgotten, which costs time and nothing else.
    pub known_series_bytes: usize,
    /// How OTLP becomes series and streams; the time in it is replaced by the time of receipt.
    pub otlp: OtlpOptions,
}

impl Default for PushOptions {
    fn default() -> Self {
        Self {
            tenant: TenantId::default_tenant(),
            body: BodyLimits::default(),
            budget: Budget::default(),
            known_series_bytes: 128 << 20,
            otlp: OtlpOptions::new(Nanos(0)),
        }
    }
}

/// Streams take so many-th of the memory of what is remembered: they are a hundredth of the series where both are.
const KNOWN_STREAMS_SHARE: usize = 8;

/// Takes pushes. Cloning shares it.
#[derive(Clone)]
pub struct PushService(Arc<Inner>);

struct Inner {
    ingest: Ingest,
    body: BodyLimits,
    otlp: OtlpOptions,
    stats: Stats,
    /// Series of remote write by the bytes they come as.
    series: Arc<SeriesCache>,
    /// Streams of Loki's push likewise.
    streams: Arc<SeriesCache>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Otlp(Signal),
    Loki,
    RemoteWrite,
}

impl Route {
    fn of(path: &str) -> Option<Self> {
        let grouped = path.strip_prefix("/ds/loki").or_else(|| path.strip_prefix("/ds/prometheus"));
        match grouped.unwrap_or(path) {
            "/v1/metrics" | "/api/v1/otlp/v1/metrics" => Some(Self::Otlp(Signal::Metrics)),
            "/v1/logs" | "/otlp/v1/logs" => Some(Self::Otlp(Signal::Logs)),
            "/v1/traces" => Some(Self::Otlp(Signal::Traces)),
            "/loki/api/v1/push" | "/api/prom/push" => Some(Self::Loki),
            "/api/v1/write" | "/api/v1/push" => Some(Self::RemoteWrite),
            _ => None,
        }
    }

    const fn protocol(self) -> &'static str {
        match self {
            Self::Otlp(_) => "otlp_http",
            Self::Loki => "loki",
            Self::RemoteWrite => "remote_write",
        }
    }
}

impl PushService {
    /// A service that offers to `intake`.
    #[must_use]
    pub fn new(intake: Intake, options: PushOptions, stats: Stats) -> Self {
        let ingest = Ingest::new(intake, options.tenant, options.budget);
        let for_streams = options.known_series_bytes / KNOWN_STREAMS_SHARE;
        let series = Arc::new(SeriesCache::new(options.known_series_bytes - for_streams));
        let streams = Arc::new(SeriesCache::new(for_streams));
        Self(Arc::new(Inner { ingest, body: options.body, otlp: options.otlp, stats, series, streams }))
    }

    /// Answers a request for a push path; `None`, with the body unread, when the path is not one.
    pub async fn handle<B>(&self, request: Request<B>) -> Option<Reply>
    where
        B: Body<Data = Bytes>,
        B::Error: fmt::Display,
    {
        let route = Route::of(request.uri().path())?;
        let clock = self.0.ingest.intake().clock().clone();
        let (started, version) = (clock.steady(), request.version());
        let reply = match route {
            _ if request.method() != Method::POST => method_not_allowed(),
            Route::Otlp(signal) => self.0.otlp(signal, request).await,
            Route::Loki => self.0.loki(request).await,
            Route::RemoteWrite => self.0.remote_write(request).await,
        };
        let took = clock.steady().saturating_sub(started);
        self.0.stats.count_reply(route.protocol(), reply.status().as_u16(), took);
        Some(for_version(reply, version))
    }

    /// As [`Self::handle`], with 404 for other paths: what the OTLP port serves alone.
    pub async fn serve<B>(&self, request: Request<B>) -> Reply
    where
        B: Body<Data = Bytes>,
        B::Error: fmt::Display,
    {
        let not_found =
            || text(StatusCode::NOT_FOUND, "not found; OTLP is at /v1/metrics, /v1/logs and /v1/traces");
        self.handle(request).await.unwrap_or_else(not_found)
    }
}

impl Inner {
    async fn otlp<B>(&self, signal: Signal, request: Request<B>) -> Reply
    where
        B: Body<Data = Bytes>,
        B::Error: fmt::Display,
    {
        let sent = header_text(request.headers(), &header::CONTENT_TYPE).to_owned();
        let Some(format) = Format::from_content_type(&sent) else {
            let expected = "application/x-protobuf or application/json";
            return otlp_failure(&Failure::ContentType { got: sent, expected }, Format::Json);
        };
        let options = self.otlp.clone();
        let decode = move |body: &[u8], limits: &DecodeLimits, now| {
            decode_otlp(signal, body, format, limits, OtlpOptions { now, ..options })
        };
        match self.take(Route::Otlp(signal), request, None, decode).await {
            Ok(receipt) if is_taken(&receipt) => otlp_success(signal, &receipt.rejected, format),
            Ok(receipt) => otlp_failure(&Failure::AllRejected(receipt.rejected), format),
            Err(failure) => otlp_failure(&failure, format),
        }
    }

    async fn loki<B>(&self, request: Request<B>) -> Reply
    where
        B: Body<Data = Bytes>,
        B::Error: fmt::Display,
    {
        let sent = header_text(request.headers(), &header::CONTENT_TYPE).to_owned();
        // The path of Loki before 1.0 has its own JSON; protobuf is the same on both.
        let is_legacy = request.uri().path().ends_with("/api/prom/push");
        let format = Format::from_content_type(&sent).filter(|_| has_whole_parameters(&sent));
        let taken = match format {
            Some(Format::Json) => {
                let decode = if is_legacy { loki::decode_push_legacy_json } else { loki::decode_push_json };
                self.take(Route::Loki, request, None, move |body, limits, _| logs(decode(body, limits))).await
            }
            Some(Format::Protobuf) => {
                // Loki's clients compress with snappy and mostly do not say so.
                let unsaid = Some(Encoding::Snappy);
                let streams = Arc::clone(&self.streams);
                let decode = move |body: &[u8], limits: &DecodeLimits, _| {
                    logs(loki::decode_push_protobuf_cached(body, limits, &streams))
                };
                self.take(Route::Loki, request, unsaid, decode).await
            }
            None => {
                let expected = "application/json or application/x-protobuf (snappy)";
                Err(Failure::ContentType { got: sent, expected })
            }
        };
        whole_or_400(taken)
    }

    async fn remote_write<B>(&self, request: Request<B>) -> Reply
    where
        B: Body<Data = Bytes>,
        B::Error: fmt::Display,
    {
        let version = match WriteVersion::of(header_text(request.headers(), &header::CONTENT_TYPE)) {
            Ok(version) => version,
            Err(failure) => return text_failure(&failure),
        };
        let taken = match only_snappy(&encoding_header(request.headers())) {
            Err(failure) => Err(failure),
            Ok(snappy) => {
                let series = Arc::clone(&self.series);
                let decode = move |body: &[u8], limits: &DecodeLimits, _| {
                    let Decoded { batch, rejected } = version.decode(body, limits, &series)?;
                    Ok(Decoded { batch: Batch::Metrics(batch), rejected })
                };
                self.take(Route::RemoteWrite, request, Some(snappy), decode).await
            }
        };
        let written = taken.as_ref().map_or(MetricCounts::default(), |receipt| receipt.metrics);
        let reply = whole_or_400(taken);
        if version == WriteVersion::Two { with_written(reply, written) } else { reply }
    }

    fn body_limits(&self, route: Route) -> BodyLimits {
        let factor = if route == Route::RemoteWrite { 2 } else { 1 };
        BodyLimits {
            wire_bytes: self.body.wire_bytes.saturating_mul(factor),
            decoded_bytes: self.body.decoded_bytes.saturating_mul(factor),
            ..self.body.clone()
        }
    }

    async fn take<B>(
        &self,
        route: Route,
        request: Request<B>,
        unsaid_encoding: Option<Encoding>,
        decode: impl FnOnce(&[u8], &DecodeLimits, Nanos) -> DecodeResult + Send + 'static,
    ) -> Result<Receipt, Failure>
    where
        B: Body<Data = Bytes>,
        B::Error: fmt::Display,
    {
        let encoding = match (encoding_header(request.headers()).as_str(), unsaid_encoding) {
            ("", Some(encoding)) => encoding,
            (said, _) => Encoding::from_header(said)?,
        };
        let clock = self.ingest.intake().clock().clone();
        let awaits_word = request.headers().contains_key(header::EXPECT);
        let body = request.into_body();
        let limits = self.body_limits(route);
        let received = body::read(body, &limits, self.ingest.budget(), &*clock, awaits_word).await?;
        self.stats.bytes.with(&ByProtocol(route.protocol())).add(received.bytes.len() as u64);
        let ingest = self.ingest.for_receiver(route.protocol());
        ingest.run(received, encoding, limits.decoded_bytes, decode).await
    }
}

/// The answer of protocols that know no partial success: 400 after storing the good items, so that the client does not
/// send the bad ones for ever.
fn whole_or_400(taken: Result<Receipt, Failure>) -> Reply {
    match taken {
        Ok(Receipt { rejected, .. }) if rejected.is_empty() => empty(StatusCode::NO_CONTENT),
        Ok(Receipt { stored: 0, rejected, .. }) => text_failure(&Failure::AllRejected(rejected)),
        Ok(Receipt { stored, rejected, .. }) => text_failure(&Failure::SomeRejected { stored, rejected }),
        Err(failure) => text_failure(&failure),
    }
}

/// RFC 9110: every parameter of a content type is `name=value`. Loki refuses others.
fn has_whole_parameters(content_type: &str) -> bool {
    let parameters = content_type.split(';').skip(1).map(str::trim).filter(|parameter| !parameter.is_empty());
    parameters
        .into_iter()
        .all(|parameter| parameter.split_once('=').is_some_and(|(name, _)| !name.is_empty()))
}

/// The message of a remote write request, as its content type names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WriteVersion {
    /// `prometheus.WriteRequest`
    One,
    /// `io.prometheus.write.v2.Request`
    Two,
}

impl WriteVersion {
    /// Without a content type, and without the parameter `proto`, a request is one of version 1: the oldest clients
    /// send neither. A message that is not known is answered with 415, upon which clients fall back to the other.
    fn of(content_type: &str) -> Result<Self, Failure> {
        let refused = || {
            let expected = "application/x-protobuf (prometheus.WriteRequest, snappy) or \
                            application/x-protobuf;proto=io.prometheus.write.v2.Request";
            Failure::ContentType { got: content_type.to_owned(), expected }
        };
        let mut parts = content_type.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default();
        if !essence.is_empty() && !essence.eq_ignore_ascii_case("application/x-protobuf") {
            return Err(refused());
        }
        for parameter in parts {
            let (name, value) = parameter.split_once('=').ok_or_else(refused)?;
            if name.trim().eq_ignore_ascii_case("proto") {
                return match value.trim().trim_matches('"') {
                    "prometheus.WriteRequest" => Ok(Self::One),
                    "io.prometheus.write.v2.Request" => Ok(Self::Two),
                    _ => Err(refused()),
                };
            }
        }
        Ok(Self::One)
    }

    fn decode(
        self,
        body: &[u8],
        limits: &DecodeLimits,
        series: &SeriesCache,
    ) -> Result<Decoded<MetricBatch>, DecodeError> {
        match self {
            Self::One => prometheus::decode_write_request_cached(body, limits, series),
            Self::Two => prometheus::decode_write_request_v2(body, limits),
        }
    }
}

/// Remote write knows one encoding; what else is named is refused, so that a client does not believe it works.
fn only_snappy(encoding: &str) -> Result<Encoding, Failure> {
    if encoding.is_empty() || encoding.trim().eq_ignore_ascii_case("snappy") {
        return Ok(Encoding::Snappy);
    }
    let what =
        format!("content encoding {encoding:?} is not taken here; remote write is compressed with snappy");
    Err(Failure::Decode(DecodeError::Unsupported { what }))
}

/// What became durable, by kind. Version 2 of remote write demands these headers of every answer, failures included.
fn with_written(mut reply: Reply, written: MetricCounts) -> Reply {
    for (name, count) in [
        (HeaderName::from_static("x-prometheus-remote-write-samples-written"), written.samples),
        (HeaderName::from_static("x-prometheus-remote-write-histograms-written"), written.histograms),
        (HeaderName::from_static("x-prometheus-remote-write-exemplars-written"), written.exemplars),
    ] {
        reply.headers_mut().insert(name, HeaderValue::from(count));
    }
    reply
}

/// Decodes an OTLP request of one signal.
pub(crate) fn decode_otlp(
    signal: Signal,
    body: &[u8],
    format: Format,
    limits: &DecodeLimits,
    options: OtlpOptions,
) -> DecodeResult {
    match signal {
        Signal::Metrics => {
            let Decoded { batch, rejected } = otlp::decode_metrics(body, format, limits, &options)?;
            Ok(Decoded { batch: Batch::Metrics(batch), rejected })
        }
        Signal::Logs => logs(otlp::decode_logs(body, format, limits, &options)),
        Signal::Traces => {
            let Decoded { batch, rejected } = otlp::decode_traces(body, format, limits, &options)?;
            Ok(Decoded { batch: Batch::Spans(batch), rejected })
        }
    }
}

fn logs(decoded: Result<Decoded<kenning_model::LogBatch>, DecodeError>) -> DecodeResult {
    decoded.map(|Decoded { batch, rejected }| Decoded { batch: Batch::Logs(batch), rejected })
}

/// Whether OTLP answers success: something was stored, nothing was wrong, or nothing but the series limit was.
pub(crate) fn is_taken(receipt: &Receipt) -> bool {
    receipt.stored > 0 || only_over_series_limit(&receipt.rejected)
}

/// The sentence of a `partial_success`.
pub(crate) fn partial_message(rejected: &Rejected) -> String {
    if rejected.is_empty() { String::new() } else { rejected.to_string() }
}

fn otlp_success(signal: Signal, rejected: &Rejected, format: Format) -> Reply {
    let body = otlp::encode_response(signal, rejected.total(), &partial_message(rejected), format);
    with_body(StatusCode::OK, format.content_type(), body)
}

fn otlp_failure(failure: &Failure, format: Format) -> Reply {
    let body = otlp::encode_status(failure.grpc_code() as u32, &failure.to_string(), format);
    with_failure_headers(with_body(failure.status(), format.content_type(), body), failure)
}

fn text_failure(failure: &Failure) -> Reply {
    with_failure_headers(text(failure.status(), &failure.to_string()), failure)
}

fn with_failure_headers(mut reply: Reply, failure: &Failure) -> Reply {
    if let Some(after) = failure.retry_after() {
        reply.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry_seconds(after)));
    }
    if failure.ends_connection() {
        reply.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    reply
}

/// HTTP/2 has no such header; its streams end one by one.
pub(crate) fn for_version(mut reply: Reply, version: Version) -> Reply {
    if version > Version::HTTP_11 {
        reply.headers_mut().remove(header::CONNECTION);
    }
    reply
}

fn method_not_allowed() -> Reply {
    let mut reply = text(StatusCode::METHOD_NOT_ALLOWED, "only POST is taken here");
    reply.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    reply
}

fn text(status: StatusCode, sentence: &str) -> Reply {
    with_body(status, "text/plain; charset=utf-8", format!("{sentence}\n").into_bytes())
}

fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Full::default());
    *reply.status_mut() = status;
    reply
}

fn with_body(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(body)));
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

pub(crate) fn header_text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
}

/// All `Content-Encoding` lines as one, so that two layers on two lines are two layers.
pub(crate) fn encoding_header(headers: &HeaderMap) -> String {
    let values = headers.get_all(header::CONTENT_ENCODING).iter();
    values.map(|value| value.to_str().unwrap_or("?")).collect::<Vec<_>>().join(", ")
}
