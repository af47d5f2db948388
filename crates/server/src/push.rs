//! Joins the API's seam for pushed telemetry to the receivers.

use std::future::Future;
use std::pin::Pin;

use http::{Request, Response};
use kenning_api::{Body, Push};
use kenning_receivers::elastic::ElasticService;
use kenning_receivers::push::PushService;

/// The receivers' push paths on the main port.
pub struct MainPortPush {
    /// OTLP, Loki, remote write.
    pub push: PushService,
    /// Elasticsearch.
    pub elastic: ElasticService,
}

impl Push for MainPortPush {
    fn handle(
        &self,
        request: Request<Body>,
    ) -> Pin<Box<dyn Future<Output = Option<Response<Body>>> + Send + '_>> {
        Box::pin(async move {
            let reply = match self.elastic.handle(request).await {
                Ok(reply) => Some(reply),
                Err(other) => self.push.handle(other).await,
            };
            reply.map(|reply| reply.map(Body::new))
        })
    }
}
