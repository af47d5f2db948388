//! Joins the API's seam for pushed telemetry to the receivers.

use std::future::Future;
use std::pin::Pin;

use http::{Request, Response};
use kenning_api::{Body, Push};
use kenning_receivers::push::PushService;

/// The receivers' push paths on the main port.
pub struct MainPortPush(pub PushService);

impl Push for MainPortPush {
    fn handle(
        &self,
        request: Request<Body>,
    ) -> Pin<Box<dyn Future<Output = Option<Response<Body>>> + Send + '_>> {
        Box::pin(async move { self.0.handle(request).await.map(|reply| reply.map(Body::new)) })
    }
}
