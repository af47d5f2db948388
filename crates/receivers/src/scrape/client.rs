//! Fetches documents from one target over a connection that is kept between scrapes.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use kenning_stdx::net::Net;
use kenning_wire::compression::Encoding;

use super::job::ExpositionFormat;
use super::target::Target;
use crate::body::{self, BodyError, BodyLimits, Budget, Received};

/// What Prometheus 3 sends with its default protocols.
const ACCEPT: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                      application/openmetrics-text;version=0.0.1;q=0.5,\
                      text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                      text/plain;version=0.0.4;q=0.3,*/*;q=0.2";

const USER_AGENT: &str = concat!("kenning/", env!("CARGO_PKG_VERSION"));

/// A target's answer, still packed.
pub(super) struct Fetched {
    pub received: Received,
    pub encoding: Encoding,
    pub format: ExpositionFormat,
}

/// A connection to one target, when there is one.
pub(super) struct Client {
    net: Arc<dyn Net>,
    budget: Budget,
    kept: Option<SendRequest<Empty<Bytes>>>,
}

impl Client {
    pub fn new(net: Arc<dyn Net>, budget: Budget) -> Self {
        Self { net, budget, kept: None }
    }

    /// Gives up the connection.
    pub fn disconnect(&mut self) {
        self.kept = None;
    }

    /// Fetches one document. The caller limits the time.
    pub async fn fetch(&mut self, target: &Target) -> Result<Fetched, String> {
        let response = self.request(target).await?;
        if response.status() != StatusCode::OK {
            self.disconnect();
            return Err(format!("server returned HTTP status {}", response.status()));
        }
        let encoding = header_of(&response, header::CONTENT_ENCODING);
        let encoding = Encoding::from_header(&encoding).map_err(|error| error.to_string())?;
        let format = format_of(&header_of(&response, header::CONTENT_TYPE), target.job.fallback)?;
        let limits = body_limits(target);
        let read = body::read(response.into_body(), &limits, &self.budget, &Patient, true).await;
        let received = read.map_err(|error| {
            self.disconnect();
            told(&error)
        })?;
        Ok(Fetched { received, encoding, format })
    }

    async fn request(&mut self, target: &Target) -> Result<Response<Incoming>, String> {
        if let Some(mut kept) = self.kept.take()
            && kept.ready().await.is_ok()
            && let Ok(response) = kept.send_request(request_of(target)?).await
        {
            self.kept = Some(kept);
            return Ok(response);
        }
        // A kept connection may have been closed by the target at any moment; a fresh one gets the only other try.
        let mut fresh = self.connect(target).await?;
        let response = fresh.send_request(request_of(target)?).await.map_err(|error| chain(&error))?;
        self.kept = Some(fresh);
        Ok(response)
    }

    async fn connect(&self, target: &Target) -> Result<SendRequest<Empty<Bytes>>, String> {
        let stream = self.net.connect(&target.connect_to).await;
        let stream = stream.map_err(|error| format!("cannot connect to {}: {error}", target.connect_to))?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| chain(&error))?;
        // Ends with the sender, or when the target closes; its errors reach the sender's requests.
        tokio::spawn(connection);
        Ok(sender)
    }
}

fn request_of(target: &Target) -> Result<Request<Empty<Bytes>>, String> {
    let timeout = target.job.timeout.as_secs_f64().to_string();
    Request::builder()
        .method(Method::GET)
        .uri(&target.job.path)
        .header(header::HOST, &target.connect_to)
        .header(header::ACCEPT, HeaderValue::from_static(ACCEPT))
        .header(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"))
        .header(header::USER_AGENT, HeaderValue::from_static(USER_AGENT))
        .header("x-prometheus-scrape-timeout-seconds", timeout)
        .body(Empty::new())
        .map_err(|error| chain(&error))
}

fn body_limits(target: &Target) -> BodyLimits {
    let bytes = target.job.body_size_limit.unwrap_or(usize::MAX);
    let time = target.job.timeout;
    // The scrape's timeout is the only limit on slowness.
    BodyLimits { wire_bytes: bytes, decoded_bytes: bytes, grace: time, rate_min: 1, time }
}

/// The timeout around the whole scrape measures time, so the reading of the body need not.
struct Patient;

impl kenning_stdx::clock::Clock for Patient {
    fn unix_nanos(&self) -> i64 {
        0
    }
    fn steady(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }
}

fn told(error: &BodyError) -> String {
    match error {
        BodyError::TooLarge { limit } => {
            format!("body size limit exceeded: the document is larger than {limit} bytes (body_size_limit)")
        }
        other => other.to_string(),
    }
}

fn header_of(response: &Response<Incoming>, name: header::HeaderName) -> String {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned()
}

fn format_of(content_type: &str, fallback: Option<ExpositionFormat>) -> Result<ExpositionFormat, String> {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match (essence.as_str(), fallback) {
        ("text/plain", _) => Ok(ExpositionFormat::PrometheusText),
        ("application/openmetrics-text", _) => Ok(ExpositionFormat::OpenMetrics),
        (_, Some(fallback)) => Ok(fallback),
        ("", None) => {
            Err("the answer has no Content-Type and the job has no fallback_scrape_protocol".to_owned())
        }
        (_, None) => Err(format!(
            "the answer's Content-Type {content_type:?} is not known and the job has no fallback_scrape_protocol"
        )),
    }
}

/// An error with its causes: hyper's own words are "client error" and the like.
fn chain(error: &dyn std::error::Error) -> String {
    struct Chain<'a>(&'a dyn std::error::Error);
    impl fmt::Display for Chain<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            fmt::Display::fmt(self.0, f)?;
            let mut cause = self.0.source();
            while let Some(inner) = cause {
                write!(f, ": {inner}")?;
                cause = inner.source();
            }
            Ok(())
        }
    }
    Chain(error).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        let text = Some(ExpositionFormat::PrometheusText);
        let open = Some(ExpositionFormat::OpenMetrics);
        for (content_type, fallback, expect) in [
            ("text/plain; version=0.0.4; charset=utf-8", None, text),
            ("text/plain", None, text),
            ("application/openmetrics-text; version=1.0.0; charset=utf-8", None, open),
            ("", None, None),
            ("text/html", None, None),
            ("", text, text),
            ("application/json", open, open),
        ] {
            assert_eq!(format_of(content_type, fallback).ok(), expect, "{content_type}");
        }
    }
}
