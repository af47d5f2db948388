//! The seam through which what clients push reaches the receivers.

use std::future::Future;
use std::pin::Pin;

use axum::body::Body;
use axum::http::Request;
use axum::response::Response;

/// Takes pushed telemetry. The server plugs in the receivers; this crate does not know them.
pub trait Push: Send + Sync + 'static {
    /// Answers a request for a push path; `None` when the path is not one.
    fn handle(&self, request: Request<Body>) -> Pin<Box<dyn Future<Output = Option<Response>> + Send + '_>>;
}
