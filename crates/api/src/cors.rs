//! Scripts of other origins: the headers by which browsers let them read answers. As Prometheus sends them, on its API.

use axum::http::{HeaderMap, HeaderValue, header};
use kenning_model::Pattern;

/// Adds what a browser asks for, for a request with these headers.
pub(crate) fn allow(origins: Option<&Pattern>, request: &HeaderMap, answer: &mut HeaderMap) {
    answer.append(header::VARY, HeaderValue::from_static("Origin"));
    let (Some(origins), Some(origin)) = (origins, request.get(header::ORIGIN)) else { return };
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "Accept, Authorization, Content-Type, Origin"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, OPTIONS"),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, "Date"),
    ] {
        answer.insert(name, HeaderValue::from_static(value));
    }
    if origins.source() == ".*" {
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    } else if origin.to_str().is_ok_and(|origin| origins.is_match(origin)) {
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: Option<&str>, origin: Option<&'static str>, expect: Option<&str>) {
        let pattern = pattern.map(|source| Pattern::whole(source).expect("a pattern"));
        let (mut request, mut answer) = (HeaderMap::new(), HeaderMap::new());
        if let Some(origin) = origin {
            request.insert(header::ORIGIN, HeaderValue::from_static(origin));
        }
        allow(pattern.as_ref(), &request, &mut answer);
        let allowed = answer.get(header::ACCESS_CONTROL_ALLOW_ORIGIN).and_then(|value| value.to_str().ok());
        assert_eq!(allowed, expect, "{pattern:?} {origin:?}");
    }

    #[test]
    fn only_origins_that_match_may_read() {
        check(Some(".*"), Some("https://a.example"), Some("*"));
        check(Some(".*"), None, None);
        check(Some("https?://(a|b)\\.example"), Some("https://a.example"), Some("https://a.example"));
        check(Some("https?://(a|b)\\.example"), Some("https://a.example.evil"), None);
        check(None, Some("https://a.example"), None);
    }
}
