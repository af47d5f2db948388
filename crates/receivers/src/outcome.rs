//! The reply-code contract: what became of a request, in the codes of every protocol. One table, one place.
//!
//! Retryable and final refusals are never mixed: a client that obeys the code neither loses good data nor sends bad
//! data for ever. Definitions: OTLP specification (HTTP and gRPC failure tables), Loki's push API, RFC 9110.

use std::fmt;
use std::time::Duration;

use http::StatusCode;
use kenning_model::{Reason, Rejected};
use kenning_pipeline::Refusal;
use kenning_wire::DecodeError;

use crate::body::BodyError;

/// When to come again after the memory for bodies was taken.
const BUSY_RETRY: Duration = Duration::from_secs(1);

/// When to come again after nothing but new series was sent and there was no memory for any: others must fall silent
/// first, which takes minutes.
const MEMORY_RETRY: Duration = Duration::from_secs(60);

/// Why a push was not taken; nothing of it is stored, but for [`Failure::SomeRejected`].
#[derive(Debug)]
pub enum Failure {
    /// The body could not be received.
    Body(BodyError),
    /// The body could not be decoded.
    Decode(DecodeError),
    /// No item was good.
    AllRejected(Rejected),
    /// Good items are stored, bad ones are not, and the protocol has no other way to say so.
    SomeRejected {
        /// Items stored.
        stored: u64,
        /// What was left out.
        rejected: Rejected,
    },
    /// The pipeline refused the batch.
    Refused(Refusal),
    /// The content type is none of those that the path takes.
    ContentType {
        /// What was sent.
        got: String,
        /// What works.
        expected: &'static str,
    },
    /// The request does not follow gRPC.
    GrpcFraming(String),
    /// No such gRPC method.
    UnknownMethod(String),
    /// The decoder panicked. Counted, answered, and a bug.
    Internal,
}

/// gRPC status codes that replies use. Definition: google.rpc.Code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum GrpcCode {
    /// Taken.
    Ok = 0,
    /// The request is wrong and stays wrong.
    InvalidArgument = 3,
    /// The request took too long.
    DeadlineExceeded = 4,
    /// Too large (final), or over the rate (with a time to retry).
    ResourceExhausted = 8,
    /// Method or encoding not known.
    Unimplemented = 12,
    /// A bug.
    Internal = 13,
    /// Come again later.
    Unavailable = 14,
}

impl Failure {
    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Body(BodyError::TooLarge { .. }) | Self::Decode(DecodeError::TooLarge { .. }) => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::Body(BodyError::TooSlow) => StatusCode::REQUEST_TIMEOUT,
            Self::Body(BodyError::Busy) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Decode(DecodeError::Unsupported { .. }) | Self::ContentType { .. } => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            Self::AllRejected(rejected) if only_for_memory(rejected) => StatusCode::TOO_MANY_REQUESTS,
            Self::Body(BodyError::Broken { .. })
            | Self::Decode(_)
            | Self::AllRejected(_)
            | Self::SomeRejected { .. }
            | Self::GrpcFraming(_) => StatusCode::BAD_REQUEST,
            Self::Refused(refusal) => match refusal {
                Refusal::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
                Refusal::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
                Refusal::Overloaded { .. } | Refusal::Unavailable { .. } | Refusal::ReadOnly { .. } => {
                    StatusCode::SERVICE_UNAVAILABLE
                }
            },
            Self::UnknownMethod(_) => StatusCode::NOT_FOUND,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The gRPC code.
    #[must_use]
    pub fn grpc_code(&self) -> GrpcCode {
        match self {
            Self::GrpcFraming(_) | Self::Internal => GrpcCode::Internal,
            Self::UnknownMethod(_) => GrpcCode::Unimplemented,
            other => match other.status() {
                StatusCode::PAYLOAD_TOO_LARGE | StatusCode::TOO_MANY_REQUESTS => GrpcCode::ResourceExhausted,
                StatusCode::REQUEST_TIMEOUT => GrpcCode::DeadlineExceeded,
                StatusCode::SERVICE_UNAVAILABLE => GrpcCode::Unavailable,
                StatusCode::UNSUPPORTED_MEDIA_TYPE => GrpcCode::Unimplemented,
                _ => GrpcCode::InvalidArgument,
            },
        }
    }

    /// When to send the same again; `None` when it will never be taken.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refusal) => refusal.retry_after(),
            Self::Body(BodyError::Busy) => Some(BUSY_RETRY),
            Self::AllRejected(rejected) if only_for_memory(rejected) => Some(MEMORY_RETRY),
            _ => None,
        }
    }

    /// True when the rest of the body was not read, so that the connection cannot go on.
    #[must_use]
    pub const fn ends_connection(&self) -> bool {
        matches!(self, Self::Body(_) | Self::ContentType { .. } | Self::Decode(DecodeError::TooLarge { .. }))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body(error) => error.fmt(f),
            Self::Decode(error) => error.fmt(f),
            Self::AllRejected(rejected) => write!(f, "nothing was stored: {rejected}"),
            Self::SomeRejected { stored, rejected } => write!(f, "{stored} stored; {rejected}"),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::ContentType { got, expected } => {
                write!(f, "content type {got:?} is not taken here; send {expected}")
            }
            Self::GrpcFraming(detail) => f.write_str(detail),
            Self::UnknownMethod(path) => write!(f, "unknown method {path}"),
            Self::Internal => f.write_str("internal error"),
        }
    }
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

impl From<DecodeError> for Failure {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// True when new series or streams over their limit are the only reason: not a fault of the items, so OTLP answers
/// success with a count even when nothing else was sent.
#[must_use]
pub fn only_over_series_limit(rejected: &Rejected) -> bool {
    rejected.iter().all(|(reason, ..)| matches!(reason, Reason::TooManySeries | Reason::Memory))
}

/// True when every item was of a new series that there was no memory for: the same may be taken later.
fn only_for_memory(rejected: &Rejected) -> bool {
    !rejected.is_empty() && rejected.iter().all(|(reason, ..)| reason == Reason::Memory)
}

/// Whole seconds for `Retry-After`, at least one.
#[must_use]
pub fn retry_seconds(after: Duration) -> u64 {
    let partial = u64::from(after.subsec_nanos() > 0);
    (after.as_secs() + partial).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(failure: Failure, status: u16, grpc: GrpcCode, retryable: bool) {
        assert_eq!(failure.status().as_u16(), status, "{failure}");
        assert_eq!(failure.grpc_code(), grpc, "{failure}");
        assert_eq!(failure.retry_after().is_some(), retryable, "{failure}");
    }

    #[test]
    fn the_contract() {
        let second = Duration::from_secs(1);
        let refused = Failure::Refused;
        check(Failure::Body(BodyError::TooLarge { limit: 1 }), 413, GrpcCode::ResourceExhausted, false);
        check(Failure::Body(BodyError::TooSlow), 408, GrpcCode::DeadlineExceeded, false);
        check(Failure::Body(BodyError::Busy), 503, GrpcCode::Unavailable, true);
        let too_large = DecodeError::TooLarge { what: "x", limit: 1 };
        check(Failure::Decode(too_large), 413, GrpcCode::ResourceExhausted, false);
        check(Failure::Decode(DecodeError::TooDeep { limit: 32 }), 400, GrpcCode::InvalidArgument, false);
        let malformed = DecodeError::Malformed { at: 0, what: "x".into() };
        check(Failure::Decode(malformed), 400, GrpcCode::InvalidArgument, false);
        let unsupported = DecodeError::Unsupported { what: "br".into() };
        check(Failure::Decode(unsupported), 415, GrpcCode::Unimplemented, false);
        check(Failure::AllRejected(Rejected::default()), 400, GrpcCode::InvalidArgument, false);
        let of = |reasons: &[Reason]| {
            let mut rejected = Rejected::default();
            reasons.iter().for_each(|reason| rejected.add(*reason, 1, String::new));
            rejected
        };
        let full = of(&[Reason::Memory]);
        check(Failure::AllRejected(full.clone()), 429, GrpcCode::ResourceExhausted, true);
        let mixed = of(&[Reason::Memory, Reason::Malformed]);
        check(Failure::AllRejected(mixed), 400, GrpcCode::InvalidArgument, false);
        // What is stored must not come again, so that the series that are known go on unharmed.
        let some = Failure::SomeRejected { stored: 1, rejected: full };
        check(some, 400, GrpcCode::InvalidArgument, false);
        let rate = Refusal::RateLimited { retry_after: second, limit: 1, setting: "x" };
        check(refused(rate), 429, GrpcCode::ResourceExhausted, true);
        let overloaded = Refusal::Overloaded { retry_after: second, what: "x" };
        check(refused(overloaded), 503, GrpcCode::Unavailable, true);
        let unavailable = Refusal::Unavailable { retry_after: second, detail: "x".into() };
        check(refused(unavailable), 503, GrpcCode::Unavailable, true);
        check(refused(Refusal::ReadOnly { detail: "x".into() }), 503, GrpcCode::Unavailable, true);
        let too_large = Refusal::TooLarge { bytes: 2, limit: 1, setting: "x" };
        check(refused(too_large), 413, GrpcCode::ResourceExhausted, false);
        check(Failure::Internal, 500, GrpcCode::Internal, false);
    }

    #[test]
    fn retry_after_is_rounded_up() {
        for (millis, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (59_000, 59)] {
            assert_eq!(retry_seconds(Duration::from_millis(millis)), seconds);
        }
    }
}
