//! What the tests of the API share.

use std::future::Future;
use std::pin::Pin;

use kenning_api::{Body, Push};

/// Nothing is pushed here.
pub struct NoPush;

impl Push for NoPush {
    fn handle(
        &self,
        _: http::Request<Body>,
    ) -> Pin<Box<dyn Future<Output = Option<http::Response<Body>>> + Send + '_>> {
        Box::pin(async { None })
    }
}
