//! Request telemetry and routes for axum services (feature `axum`).
//!
//! ```no_run
//! use axum::{Router, extract::Path, routing::get};
//! use std::time::Duration;
//!
//! kenning::metrics! {
//!     /// Greetings given.
//!     pub static GREETINGS: Counter = "greetings_total";
//! }
//!
//! async fn hello(Path(name): Path<String>) -> String {
//!     GREETINGS.inc();
//!     tracing::info!(name_length = name.len(), "greeting");
//!     format!("hello {name}")
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let _kenning = kenning::builder().service_name("greeter").init()?;
//!     kenning::health::register("disk", Duration::from_secs(1), || {
//!         std::fs::metadata("/var/lib/greeter")?;
//!         Ok(())
//!     });
//!     let app = Router::new()
//!         .route("/hello/{name}", get(hello))
//!         .layer(kenning::axum::layer())
//!         .merge(kenning::axum::routes());
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
//!     axum::serve(listener, app).await?;
//!     Ok(())
//! }
//! ```
//!
//! Apply the layer with [`Router::layer`](axum::Router::layer), after the routes it is to see: then the matched route
//! is known, which is what names the span and the `route` label. Requests that match nothing share one label.
//!
//! A request gets: a server span that continues the caller's trace; a request id, taken from `x-request-id` or made,
//! which is on every log line inside and in the response; two log lines (`request started` at DEBUG, `request
//! processed` with `status_code` and `latency`); `http_requests_total`, `http_request_duration_seconds` and
//! `http_requests_in_flight`. Latency ends with the response's head: the streaming of bodies is not included.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::MatchedPath;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;
use tracing::Span;

use crate::ids::IdSource;
use crate::metrics::LabelValue;
use crate::propagation::{self, Context};
use crate::{health, metrics};

crate::metrics! {
    /// HTTP requests answered, by method, route and status code.
    pub static REQUESTS: Counter { method: MethodLabel, route: String, status: u16 } = "http_requests_total";
    /// Time until the response's head is ready, in seconds.
    pub static DURATION: Histogram { method: MethodLabel, route: String } = "http_request_duration_seconds";
    /// HTTP requests being worked on.
    pub static IN_FLIGHT: Gauge = "http_requests_in_flight";
}

/// The route of requests that match none.
const UNMATCHED: &str = "unmatched";
/// The header that carries the request id.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest request id taken from a caller.
const REQUEST_ID_BYTES_MAX: usize = 128;
/// Status recorded when the caller went away before the answer (as nginx does).
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// A request's method as a label: methods are an open set on the wire, so unknown ones share `_OTHER`.
#[derive(Debug, Clone, Copy)]
pub struct MethodLabel(&'static str);

impl MethodLabel {
    fn of(method: &Method) -> Self {
        const KNOWN: [&str; 9] =
            ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT"];
        Self(KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("_OTHER"))
    }
}

impl LabelValue for MethodLabel {
    fn write(&self, out: &mut String) {
        out.push_str(self.0);
    }
}

/// The id of the request being handled; a request extension set by the layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(pub String);

/// The tower layer that observes requests.
pub fn layer() -> ObserveLayer {
    ObserveLayer(())
}

/// `/metrics`, `/health`, `/health/ready` and `/health/live`. Merge it outside of [`layer`] to keep probes and
/// scrapes out of the telemetry they read.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/metrics", get(serve_metrics))
        .route("/health", get(|| serve_health(health::summary)))
        .route("/health/ready", get(|| serve_health(health::ready)))
        .route("/health/live", get(|| async { health_response(health::live()) }))
}

async fn serve_metrics(headers: HeaderMap) -> impl IntoResponse {
    let accepts: Vec<&str> =
        headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let accept = (!accepts.is_empty()).then(|| accepts.join(","));
    // Callback gauges are foreign code and /proc is a file system: neither belongs on the reactor.
    match tokio::task::spawn_blocking(move || metrics::scrape(accept.as_deref())).await {
        Ok((body, content_type)) => ([(header::CONTENT_TYPE, content_type)], body).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn serve_health(answer: fn() -> health::Response) -> Response<Body> {
    match tokio::task::spawn_blocking(answer).await {
        Ok(response) => health_response(response),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn health_response(response: health::Response) -> Response<Body> {
    let status = StatusCode::from_u16(response.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    (status, [(header::CONTENT_TYPE, "application/json")], response.body).into_response()
}

/// The trace context in HTTP headers.
pub fn extract(headers: &HeaderMap) -> Option<Context> {
    propagation::extract(|name| headers.get(name).and_then(|value| value.to_str().ok()))
}

/// Writes the current span's context into the headers of an outgoing request.
pub fn inject(headers: &mut HeaderMap) {
    propagation::inject(|name, value| {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    });
}

/// See [`layer`].
#[derive(Debug, Clone, Copy)]
pub struct ObserveLayer(());

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;

    fn layer(&self, inner: S) -> Observe<S> {
        Observe { inner }
    }
}

/// A service whose requests are observed.
#[derive(Debug, Clone)]
pub struct Observe<S> {
    inner: S,
}

impl<S, B, R> Service<Request<B>> for Observe<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let observation = Observation::begin(&mut request);
        // Entered here as well: services do work before they return their future.
        let future = observation.span.in_scope(|| self.inner.call(request));
        ResponseFuture { future, observation }
    }
}

/// One request under observation; what is missing at its end is the caller having gone away.
#[derive(Debug)]
struct Observation {
    span: Span,
    method: MethodLabel,
    method_name: Method,
    route: String,
    path: String,
    request_id: String,
    start: Instant,
    finished: bool,
}

impl Observation {
    fn begin<B>(request: &mut Request<B>) -> Self {
        let matched = request.extensions().get::<MatchedPath>();
        let route = matched.map_or(UNMATCHED, MatchedPath::as_str).to_owned();
        let request_id = request_id(request.headers());
        let method = MethodLabel::of(request.method());
        let path = request.uri().path().to_owned();
        let span = propagation::with_remote(extract(request.headers()), || {
            tracing::info_span!(
                "http_request",
                otel.name = format!("{} {route}", method.0),
                otel.kind = "server",
                http.request.method = method.0,
                http.route = route,
                url.path = path,
                user_agent.original = user_agent(request.headers()),
                request_id,
                http.response.status_code = tracing::field::Empty,
                otel.status_code = tracing::field::Empty,
            )
        });
        span.in_scope(|| tracing::debug!(method = method.0, path, "request started"));
        request.extensions_mut().insert(RequestId(request_id.clone()));
        IN_FLIGHT.add(1.0);
        Self {
            span,
            method,
            method_name: request.method().clone(),
            route,
            path,
            request_id,
            start: Instant::now(),
            finished: false,
        }
    }

    fn finish(&mut self, status: u16) {
        self.finished = true;
        let latency = self.start.elapsed().as_secs_f64();
        IN_FLIGHT.add(-1.0);
        REQUESTS.with((self.method, self.route.as_str(), status)).inc();
        let _entered = self.span.enter();
        DURATION.with((self.method, self.route.as_str())).observe(latency);
        self.span.record("http.response.status_code", status);
        let (method, path, route) = (self.method_name.as_str(), self.path.as_str(), self.route.as_str());
        if status >= 500 {
            self.span.record("otel.status_code", "ERROR");
            tracing::error!(method, path, route, status_code = status, latency, "request failed");
        } else if status == CLIENT_CLOSED_REQUEST {
            tracing::warn!(
                method,
                path,
                route,
                status_code = status,
                latency,
                "request abandoned by its caller"
            );
        } else {
            tracing::info!(method, path, route, status_code = status, latency, "request processed");
        }
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        if !self.finished {
            // A handler that panics unwinds through here too; its panic is logged, and the caller gets no answer.
            self.finish(if std::thread::panicking() { 500 } else { CLIENT_CLOSED_REQUEST });
        }
    }
}

/// The caller's request id if it is one, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let harmless = |id: &&str| {
        let safe = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
        !id.is_empty() && id.len() <= REQUEST_ID_BYTES_MAX && id.bytes().all(safe)
    };
    given.filter(harmless).map_or_else(|| format!("{:016x}", IdSource::Random.next_u64()), str::to_owned)
}

fn user_agent(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok())
}

pin_project! {
    /// The response to come.
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        future: F,
        observation: Observation,
    }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<R>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let polled = this.observation.span.in_scope(|| this.future.poll(cx));
        let Poll::Ready(mut result) = polled else { return Poll::Pending };
        match &mut result {
            Ok(response) => {
                if let Ok(value) = HeaderValue::try_from(this.observation.request_id.as_str()) {
                    response.headers_mut().insert(REQUEST_ID, value);
                }
                this.observation.finish(response.status().as_u16());
            }
            // An error of the service itself ends the connection without an answer.
            Err(_) => this.observation.finish(500),
        }
        Poll::Ready(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_taken_only_when_harmless() {
        let check = |given: &str, taken: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::try_from(given).unwrap());
            assert_eq!(request_id(&headers) == given, taken, "{given}");
        };
        check("abc-123_4.5:6", true);
        check("", false);
        check("a b", false);
        check("a\"b", false);
        check(&"x".repeat(129), false);
        assert_eq!(request_id(&HeaderMap::new()).len(), 16);
    }

    #[test]
    fn unknown_methods_share_a_label() {
        assert_eq!(MethodLabel::of(&Method::PATCH).0, "PATCH");
        assert_eq!(MethodLabel::of(&Method::from_bytes(b"BREW").unwrap()).0, "_OTHER");
    }
}
