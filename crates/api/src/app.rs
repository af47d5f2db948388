//! The whole API as one function from request to response, so that whoever owns the socket needs no web framework.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use bytes::Bytes;
use tower::ServiceExt;

use crate::state::Api;

/// The service of the main port. Cloning shares it.
#[derive(Clone)]
pub struct App(Router);

impl App {
    /// The API over these parts.
    #[must_use]
    pub fn new(api: Api) -> Self {
        Self(crate::table().into_router(api))
    }

    /// Answers a request.
    pub async fn call<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        match self.0.clone().oneshot(request.map(Body::new)).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}
