//! Sockets and scrapes: bytes in, replies out, batches to the pipeline.
//!
//! - [`serve`]: the accept loop and the guards around every connection (caps, header time, body rate, idleness),
//!   for this crate's listeners and for the main port alike.
//! - [`push`]: what clients push over HTTP (OTLP, Loki), as one framework-free service.
//! - [`otlp_grpc`]: OTLP over gRPC.
//! - [`elastic`]: Elasticsearch's `_bulk` and what its clients ask before they send.
//! - [`fluent`]: Fluent forward over TCP.
//! - [`syslog`]: syslog over TCP and UDP.
//! - [`tls`]: TLS of the streams of log shippers.
//! - [`tail`]: files that programs and container runtimes write.
//! - [`scrape`]: Prometheus scraping as `prometheus.yml` says.
//!
//! Promises: a reply of success is sent after the pipeline's receipt, so after the data is durable and visible; reply
//! codes keep the one contract that [`outcome`] holds; every byte that is buffered is charged to a [`body::Budget`]
//! before it is kept. Absent on purpose: decoding (the wire crate's), storage, routing of the read APIs, axum. Lacking
//! still: TLS of HTTP listeners, authentication of those who push, tenants by request (everything goes to the tenant of the configuration), CORS.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod body;
pub mod elastic;
pub mod fluent;
mod ingest;
mod intake_buffer;
pub mod otlp_grpc;
pub mod outcome;
pub mod push;
pub mod scrape;
pub mod serve;
pub mod stats;
pub mod syslog;
pub mod tail;
pub mod tls;
