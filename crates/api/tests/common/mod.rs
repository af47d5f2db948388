//! What the tests of the API share.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use kenning_api::{ApiParts, Body, IngestOverview, NoScraping, Push, QueryGate, Readiness, WebOptions};
use kenning_model::Store;
use kenning_query::Limits;
use kenning_stdx::clock::SimClock;

/// The simulated present, in seconds.
pub const NOW: i64 = 1_700_000_000;

/// The parts of an API over a store, a minute after its start; a test puts others in the place of some.
pub fn parts(store: Arc<dyn Store>) -> ApiParts {
    ApiParts {
        store,
        clock: Arc::new(SimClock::new(NOW * 1_000_000_000)),
        limits: Limits::default(),
        gate: QueryGate::new(2, 2),
        push: Arc::new(NoPush),
        readiness: Arc::new(Readiness::default()),
        version: "0",
        started_at: NOW - 60,
        own_metrics: Arc::new(String::new),
        scraping: Arc::new(NoScraping),
        ingest: Arc::new(IngestOverview::default),
        patterns: None,
        tails: Arc::default(),
        config: String::new(),
        blocks: Arc::new(Vec::new),
        web: WebOptions::default(),
    }
}

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
