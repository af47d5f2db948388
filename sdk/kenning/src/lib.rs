//! One line makes a Rust service observable: metrics, structured logs, traces, health.
//!
//! ```no_run
//! # fn serve() {}
//! kenning::metrics! {
//!     /// Events accepted, by kind.
//!     pub static ACCEPTED: Counter { kind: &'static str } = "wotr_events_accepted_total";
//! }
//!
//! #[tracing::instrument(fields(event_id = %id))]
//! fn accept(id: u64) {
//!     ACCEPTED.with("click").inc();
//!     tracing::info!(size = 17, "event accepted");
//! }
//!
//! fn main() -> Result<(), kenning::Error> {
//!     let _kenning = kenning::init()?;
//!     serve();
//!     Ok(())
//! }
//! ```
//!
//! Logs and spans come from [`tracing`]; metrics are declared with [`metrics!`]; health checks are registered with
//! [`health::register`]. With the feature `axum` a service gets its request telemetry and routes from two calls; there
//! is a complete example in the module `axum`. `docs/sdk.md` is the guide, with the table of environment variables.
//!
//! # Promises
//! - Nothing here blocks the caller on the network, panics, or grows without bound. What cannot be kept is
//!   counted, by signal and reason, in `kenning_sdk_dropped_total`.
//! - A log line is one `write` to standard output, as usual for services; a reader that stalls stalls the writer.
//! - Sampling is decided before a span does any work: an unsampled one keeps only its ids and its request fields.
//! - Without `init` everything is silent and nearly free, so libraries may use it.
//!
//! # Absent
//! Metrics push over OTLP, OTLP over gRPC, baggage, profiles, a signal handler, and records of the `log` crate.

pub mod health;
pub mod metrics;
pub mod propagation;
pub mod testing;

#[cfg(feature = "axum")]
pub mod axum;

mod clock;
mod config;
mod console;
mod contract;
mod core;
mod decode;
mod drops;
mod error;
mod exception;
mod export;
#[cfg(test)]
mod export_tests;
mod fields;
mod filter;
mod ids;
mod init;
mod json;
mod logline;
mod otlp;
mod outbox;
mod own;
mod proto;
mod serve;
mod spans;
mod subscriber;
mod sync;

pub use config::LogFormat;
pub use contract::contract;
pub use error::Error;
pub use ids::{SpanId, TraceId};
pub use init::{Builder, Guard, builder, init, set_log_level};

/// What the macros expand to; not for use by hand.
#[doc(hidden)]
pub mod private {
    pub use inventory;
}
