//! Compresses answers for clients that ask for it.
//!
//! Bodies are whole in memory when they come here (streams pass as they are), and only the ones of the JSON APIs and
//! text come here. Small ones are not worth it. Compressing is fast and at the lowest level: links are quicker than
//! gzip's better levels, and browsers and Grafana are near.

use std::io::Write;

use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, HeaderValue, Response, header};
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::BodyExt;

/// Bodies shorter than this go as they are.
const LEN_MIN: u64 = 1_400;
/// Longer bodies leave the reactor while they are compressed.
const INLINE_LEN_MAX: u64 = 64 << 10;

/// True when the client takes gzip.
pub(crate) fn takes_gzip(request: &HeaderMap) -> bool {
    let values = request.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|one| {
        let mut parts = one.split(';').map(str::trim);
        let name = parts.next().unwrap_or("");
        let refused = parts
            .any(|part| part.strip_prefix("q=").is_some_and(|q| q.parse::<f64>().is_ok_and(|q| q <= 0.0)));
        name.eq_ignore_ascii_case("gzip") && !refused
    })
}

/// The answer, compressed when that is of use.
pub(crate) async fn gzip(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    let len = response.body().size_hint().exact();
    let Some(len) = len.filter(|len| *len >= LEN_MIN) else { return response };
    if response.headers().contains_key(header::CONTENT_ENCODING) || !is_text(response.headers()) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // A body of known length is in memory, so collecting it neither waits nor fails.
    let Ok(collected) = body.collect().await else { return Response::from_parts(parts, Body::empty()) };
    let plain = collected.to_bytes();
    let zipped = match len <= INLINE_LEN_MAX {
        true => compress(&plain),
        false => {
            let plain = plain.clone();
            tokio::task::spawn_blocking(move || compress(&plain)).await.unwrap_or(None)
        }
    };
    match zipped {
        Some(bytes) => {
            parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            parts.headers.remove(header::CONTENT_LENGTH);
            Response::from_parts(parts, Body::from(bytes))
        }
        None => Response::from_parts(parts, Body::from(plain)),
    }
}

fn is_text(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    kind.starts_with("application/json")
        || kind.starts_with("text/")
        || kind.starts_with("application/openmetrics")
}

fn compress(plain: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
    encoder.write_all(plain).ok()?;
    encoder.finish().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_taken_when_named_and_not_refused() {
        let check = |value: &'static str, expect| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
            assert_eq!(takes_gzip(&headers), expect, "{value}");
        };
        check("gzip", true);
        check("deflate, GZIP;q=0.5", true);
        check("gzip;q=0, br", false);
        check("identity", false);
    }
}
