//! OTLP over gRPC: the unary `Export` of the three services, on HTTP/2 by hand.
//!
//! Spoken: five-byte framing, `grpc-encoding` identity, gzip, deflate, zstd and snappy, trailers, errors as trailers
//! only, `google.rpc.RetryInfo` in `grpc-status-details-bin` for what may be retried. Definitions: gRPC over HTTP/2,
//! OTLP/gRPC. Absent: streaming, reflection, health, TLS; `grpc-timeout` is not looked at, since a batch that was
//! taken is written whether or not its sender still waits.

mod reply;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use kenning_model::Signal;
use kenning_pipeline::{Intake, Receipt};
use kenning_wire::compression::Encoding;
use kenning_wire::otlp::{Format, OtlpOptions, encode_response};

use crate::body::{self, BodyError, BodyLimits, Budget, Received};
use crate::ingest::Ingest;
use crate::outcome::{Failure, GrpcCode};
use crate::push::{PushOptions, decode_otlp, is_taken, partial_message};
use crate::stats::{ByProtocol, Stats};

pub use reply::GrpcBody;

const PROTOCOL: &str = "otlp_grpc";

/// Flag and length before a message.
const FRAME_HEAD_BYTES: usize = 5;

/// Largest message as it comes over the wire: gRPC's own default.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What replies name as accepted.
const ACCEPTED_ENCODINGS: &str = "identity,gzip,deflate,zstd,snappy";

/// Takes OTLP exports. Cloning shares it.
#[derive(Clone)]
pub struct GrpcService(Arc<Inner>);

struct Inner {
    ingest: Ingest,
    body: BodyLimits,
    otlp: OtlpOptions,
    stats: Stats,
}

impl GrpcService {
    /// A service that offers to `intake`. The wire limit of `options` is lowered to [`MESSAGE_BYTES_MAX`].
    #[must_use]
    pub fn new(intake: Intake, options: PushOptions, stats: Stats) -> Self {
        let PushOptions { tenant, mut body, budget, otlp, .. } = options;
        body.wire_bytes = body.wire_bytes.min(MESSAGE_BYTES_MAX) + FRAME_HEAD_BYTES;
        Self(Arc::new(Inner {
            ingest: Ingest::new(intake.for_receiver("otlp_grpc"), tenant, budget),
            body,
            otlp,
            stats,
        }))
    }

    /// Answers one call.
    pub async fn serve<B>(&self, request: Request<B>) -> Response<GrpcBody>
    where
        B: Body<Data = Bytes>,
        B::Error: fmt::Display,
    {
        let Inner { ingest, stats, .. } = &*self.0;
        let clock = ingest.intake().clock().clone();
        let started = clock.steady();
        if !is_grpc(&request) {
            return reply::not_grpc();
        }
        let outcome = self.0.call(request).await;
        let code = outcome.as_ref().map_or_else(Failure::grpc_code, |_| GrpcCode::Ok);
        stats.count_reply(PROTOCOL, code as u16, clock.steady().saturating_sub(started));
        match outcome {
            Ok(message) => reply::message(&message),
            Err(failure) => reply::failure(&failure),
        }
    }

    /// The memory for bodies that this service shares.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        self.0.ingest.budget()
    }
}

impl Inner {
    async fn call<B>(&self, request: Request<B>) -> Result<Vec<u8>, Failure>
    where
        B: Body<Data = Bytes>,
        B::Error: fmt::Display,
    {
        let path = request.uri().path();
        let signal = method(path).ok_or_else(|| Failure::UnknownMethod(path.to_owned()))?;
        let announced = announced_encoding(request.headers())?;
        let clock = self.ingest.intake().clock().clone();
        let body = request.into_body();
        let read = body::read(body, &self.body, self.ingest.budget(), &*clock, false).await;
        let received = read.map_err(without_frame_head)?;
        self.stats.bytes.with(&ByProtocol(PROTOCOL)).add(received.bytes.len() as u64);
        let Message { compressed, bytes } = unframe(&received.bytes)?;
        let encoding = match (compressed, announced) {
            (false, _) => Encoding::Identity,
            (true, Some(encoding)) => encoding,
            (true, None) => {
                let told = "a message is marked as compressed and grpc-encoding does not say how";
                return Err(Failure::GrpcFraming(told.to_owned()));
            }
        };
        let message = Received { bytes, lease: received.lease };
        let options = self.otlp.clone();
        let decode = move |body: &[u8], limits: &_, now| {
            decode_otlp(signal, body, Format::Protobuf, limits, OtlpOptions { now, ..options })
        };
        let receipt = self.ingest.run(message, encoding, self.body.decoded_bytes, decode).await?;
        answer(signal, receipt)
    }
}

/// The limit as a client knows it: that of the message.
fn without_frame_head(error: BodyError) -> BodyError {
    match error {
        BodyError::TooLarge { limit } => {
            BodyError::TooLarge { limit: limit.saturating_sub(FRAME_HEAD_BYTES) }
        }
        other => other,
    }
}

fn answer(signal: Signal, receipt: Receipt) -> Result<Vec<u8>, Failure> {
    if !is_taken(&receipt) {
        return Err(Failure::AllRejected(receipt.rejected));
    }
    let message = partial_message(&receipt.rejected);
    Ok(encode_response(signal, receipt.rejected.total(), &message, Format::Protobuf))
}

fn is_grpc<B>(request: &Request<B>) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let subtype = content_type.and_then(|text| text.strip_prefix("application/grpc"));
    let protobuf = subtype.is_some_and(|rest| matches!(rest.split(';').next(), Some("" | "+proto")));
    request.method() == Method::POST && protobuf
}

fn method(path: &str) -> Option<Signal> {
    match path {
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export" => Some(Signal::Metrics),
        "/opentelemetry.proto.collector.logs.v1.LogsService/Export" => Some(Signal::Logs),
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => Some(Signal::Traces),
        _ => None,
    }
}

fn announced_encoding(headers: &HeaderMap) -> Result<Option<Encoding>, Failure> {
    match headers.get("grpc-encoding").map(|value| value.to_str().unwrap_or("?")) {
        None | Some("identity") => Ok(None),
        Some(name) => Ok(Some(Encoding::from_header(name)?)),
    }
}

struct Message {
    compressed: bool,
    bytes: Bytes,
}

/// The one message of a unary call.
fn unframe(body: &Bytes) -> Result<Message, Failure> {
    let framing = |told: &str| Failure::GrpcFraming(told.to_owned());
    let Some((head, rest)) = body.split_first_chunk::<FRAME_HEAD_BYTES>() else {
        return Err(framing("the call holds no message"));
    };
    let [flag, length @ ..] = *head;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > MESSAGE_BYTES_MAX {
        return Err(Failure::Body(BodyError::TooLarge { limit: MESSAGE_BYTES_MAX }));
    }
    if rest.len() != length {
        return Err(framing("a unary call must hold exactly one whole message"));
    }
    match flag {
        0 | 1 => Ok(Message { compressed: flag == 1, bytes: body.slice(FRAME_HEAD_BYTES..) }),
        _ => Err(framing("the flag before a message must be 0 or 1")),
    }
}

/// The HTTP status of every answer that is gRPC at all.
const GRPC_HTTP_STATUS: StatusCode = StatusCode::OK;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &[u8], expect: Result<(bool, &[u8]), GrpcCode>) {
        let got = unframe(&Bytes::copy_from_slice(body));
        let got = got.as_ref().map(|m| (m.compressed, &m.bytes[..])).map_err(Failure::grpc_code);
        assert_eq!(got, expect);
    }

    #[test]
    fn frames() {
        check(&[0, 0, 0, 0, 0], Ok((false, b"")));
        check(&[1, 0, 0, 0, 2, 7, 8], Ok((true, &[7, 8])));
        for bad in [&[][..], &[0, 0, 0, 0], &[0, 0, 0, 0, 2, 7], &[0, 0, 0, 0, 1, 7, 8], &[2, 0, 0, 0, 0]] {
            check(bad, Err(GrpcCode::Internal));
        }
        check(&[0, 255, 255, 255, 255], Err(GrpcCode::ResourceExhausted));
    }
}
