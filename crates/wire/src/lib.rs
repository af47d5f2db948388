//! Bytes of outside protocols to model values, and back where replies and exporters need it.
//!
//! | module | formats |
//! |---|---|
//! | [`otlp`] | OTLP logs, metrics and traces, protobuf and JSON |
//! | [`prometheus`] | exposition as text 0.0.4, OpenMetrics 1.0, protobuf; remote write 1.0 and 2.0 |
//! | [`loki`] | push, JSON, legacy JSON and protobuf |
//! | [`elastic`] | Elasticsearch's `_bulk`, its documents and its answers |
//! | [`fluent`] | Fluent forward, all modes, with its handshake |
//! | [`syslog`] | RFC 5424, RFC 3164, framing of RFC 6587 |
//! | [`container`] | lines of container runtimes: Docker's json-file, CRI |
//! | [`msgpack`] | MessagePack, which Fluent forward is written in |
//! | [`compression`] | gzip, deflate, zstd, snappy |
//!
//! Promises: pure functions of bytes and arguments; no panic, no unbounded recursion, no memory by declared sizes;
//! every decoder keeps [`DecodeLimits`]; what is left out of a batch is counted under a reason. What is accepted and how
//! it maps stands in `docs/protocols.md`.
//!
//! Absent: sockets, clocks, tenants, the policy on old and future stamps (the pipeline's), generated code.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod compression;
pub mod container;
mod document;
pub mod elastic;
mod error;
pub mod fluent;
mod generations;
mod instant;
mod intern;
mod json;
mod limits;
pub mod logs;
pub mod loki;
pub mod msgpack;
pub mod otlp;
pub mod prometheus;
mod protobuf;
mod records;
mod series_cache;
pub mod syslog;
mod text;

pub use error::{DecodeError, Decoded};
pub use limits::DecodeLimits;
pub use records::service_name;
pub use series_cache::SeriesCache;
