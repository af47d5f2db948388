//! Every HTTP shape that a client or the UI reads: Prometheus, Loki, Jaeger, Kenning's own, and the UI's files.
//!
//! The only crate that knows axum and JSON answers. Promises: every route declares its permission where it is
//! defined ([`routes`]); unknown paths answer 404 and never the UI; GET and POST are accepted on every query endpoint
//! with parameters of URL and body merged. Absent on purpose: how data arrives (push paths are handed to a [`Push`]
//! that the server plugs in), storage, evaluation.

mod app;
mod asked;
mod cardinality;
mod cors;
mod dotted;
mod editor;
mod encoding;
mod error;
mod health;
mod home;
mod jaeger;
mod json;
mod loki;
mod params;
mod prometheus;
mod push;
mod reply;
pub mod routes;
mod run;
mod state;
mod tenant;
mod ui;

pub use app::App;
pub use axum::body::Body;
pub use loki::{AskPatterns, TailEvent, Tails};
pub use push::Push;
pub use routes::Permission;
pub use run::QueryGate;
pub use state::{
    Api, ApiParts, BlockSummary, IngestOverview, LoadedConfig, NoScraping, Readiness, Refused, ScrapeTarget,
    Scraping, SeriesLimits, TargetMetadata, WebOptions,
};

use crate::routes::Routes;

/// Every route there is.
#[must_use]
pub fn table() -> Routes {
    let prometheus = prometheus::routes();
    let loki = loki::routes();
    Routes::new()
        .merge(&prometheus)
        .merge(&loki)
        .nest("/ds/prometheus", &prometheus)
        .nest("/ds/loki", &loki)
        .nest("/ds/jaeger", &jaeger::routes())
        .merge(&health::routes())
        .merge(&home::routes())
        .merge(&editor::routes())
        .merge(&cardinality::routes())
        .merge(&ui::routes())
}
