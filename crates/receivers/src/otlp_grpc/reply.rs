//! Answers of gRPC: a framed message and trailers, or trailers alone.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body::{Body, Frame};

use super::{ACCEPTED_ENCODINGS, FRAME_HEAD_BYTES, GRPC_HTTP_STATUS};
use crate::outcome::{Failure, GrpcCode};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

const RETRY_INFO_TYPE: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// Longest message in a header, in bytes before escaping: clients limit the size of all headers.
const MESSAGE_BYTES_MAX: usize = 1024;

/// A body of at most one chunk and trailers.
#[derive(Debug, Default)]
pub struct GrpcBody {
    data: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl From<Bytes> for GrpcBody {
    fn from(data: Bytes) -> Self {
        Self { data: Some(data), trailers: None }
    }
}

impl Body for GrpcBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = self.data.take().map(Frame::data);
        Poll::Ready(data.or_else(|| self.trailers.take().map(Frame::trailers)).map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.trailers.is_none()
    }
}

/// Success with a message.
pub fn message(message: &[u8]) -> Response<GrpcBody> {
    let mut framed = BytesMut::with_capacity(FRAME_HEAD_BYTES + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(message);
    let mut trailers = HeaderMap::new();
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
    response(GrpcBody { data: Some(framed.freeze()), trailers: Some(trailers) })
}

/// Failure: everything in the response's headers.
pub fn failure(failure: &Failure) -> Response<GrpcBody> {
    let code = failure.grpc_code();
    let mut text = failure.to_string();
    text.truncate(text.floor_char_boundary(MESSAGE_BYTES_MAX));
    let mut response = response(GrpcBody::default());
    let headers = response.headers_mut();
    headers.insert(GRPC_STATUS, HeaderValue::from(code as u16));
    insert_text(headers, GRPC_MESSAGE, &percent_encode(&text));
    if let Some(after) = failure.retry_after() {
        insert_text(headers, GRPC_DETAILS, &STANDARD_NO_PAD.encode(retryable_status(code, &text, after)));
    }
    response
}

/// To who does not speak gRPC.
pub fn not_grpc() -> Response<GrpcBody> {
    let told = "this port speaks gRPC (application/grpc); OTLP over HTTP has a port of its own\n";
    let mut response = Response::new(GrpcBody::from(Bytes::from_static(told.as_bytes())));
    *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn response(body: GrpcBody) -> Response<GrpcBody> {
    let mut response = Response::new(body);
    *response.status_mut() = GRPC_HTTP_STATUS;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_ACCEPT_ENCODING, HeaderValue::from_static(ACCEPTED_ENCODINGS));
    response
}

fn insert_text(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

/// `grpc-message`: printable ASCII but `%` stands for itself, all else is percent-encoded UTF-8.
fn percent_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'%' | 0..=0x1f | 0x7f.. => out.push_str(&format!("%{byte:02X}")),
            plain => out.push(char::from(plain)),
        }
    }
    out
}

/// google.rpc.Status with a google.rpc.RetryInfo.
fn retryable_status(code: GrpcCode, message: &str, after: Duration) -> Vec<u8> {
    let mut delay = Vec::new();
    put_varint_field(&mut delay, 1, after.as_secs());
    put_varint_field(&mut delay, 2, u64::from(after.subsec_nanos()));
    let mut retry_info = Vec::new();
    put_bytes_field(&mut retry_info, 1, &delay);
    let mut any = Vec::new();
    put_bytes_field(&mut any, 1, RETRY_INFO_TYPE.as_bytes());
    put_bytes_field(&mut any, 2, &retry_info);
    let mut status = Vec::new();
    put_varint_field(&mut status, 1, code as u64);
    put_bytes_field(&mut status, 2, message.as_bytes());
    put_bytes_field(&mut status, 3, &any);
    status
}

fn put_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n as u8) | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn put_varint_field(out: &mut Vec<u8>, number: u64, value: u64) {
    if value != 0 {
        put_varint(out, number << 3);
        put_varint(out, value);
    }
}

fn put_bytes_field(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    put_varint(out, number << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_percent_encoded() {
        assert_eq!(percent_encode("100% \u{e9}\n"), "100%25 %C3%A9%0A");
    }

    #[test]
    fn retry_info_is_the_protobuf_it_should_be() {
        let status = retryable_status(GrpcCode::Unavailable, "m", Duration::from_millis(1500));
        let delay = [0x08, 1, 0x10, 0x80, 0xca, 0xb5, 0xee, 0x01];
        let mut any = vec![0x0a, RETRY_INFO_TYPE.len() as u8];
        any.extend_from_slice(RETRY_INFO_TYPE.as_bytes());
        any.extend_from_slice(&[0x12, delay.len() as u8 + 2, 0x0a, delay.len() as u8]);
        any.extend_from_slice(&delay);
        let mut expect = vec![0x08, 14, 0x12, 1, b'm', 0x1a, any.len() as u8];
        expect.extend_from_slice(&any);
        assert_eq!(status, expect);
    }
}
