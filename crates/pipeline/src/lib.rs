//! Between receipt and store: limits, then group commit.
//!
//! A receiver decodes a request into a [`kenning_model::Batch`] and offers it to an [`Intake`]. The intake charges the
//! tenant's rate, makes totals of changes (delta temporality), drops the items that break a limit (each counted under its reason, the good ones kept), puts the rest
//! into a queue bounded in bytes, and answers after one committer thread has handed it to the store together with
//! everything else that waited: an acknowledgement means durable and visible.
//!
//! Promises: a full queue refuses at once instead of growing or waiting; whatever is refused, rejected or written is
//! counted; active series of all tenants fit into one room ([`PipelineOptions::series_bytes`]); after [`Pipeline::drain`] nothing acknowledged is left in memory. Absent on purpose: sockets, reply codes
//! of any protocol, decoding, and knowledge of how the store keeps data. [`relabel`] rewrites and drops label sets,
//! [`process`] is where batches are rewritten on their way, [`redact`] takes secrets out of them. Lacking still: processors that are configured per tenant.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod bucket;
mod cardinality;
mod commit;
mod culprit;
mod delta;
pub mod geoip;
mod intake;
mod limits;
mod mining;
pub mod process;
mod queue;
pub mod redact;
pub mod relabel;
mod room;
mod screen;
pub mod start_zero;
pub mod stats;
mod tap;
pub mod telemetry;
pub mod throttle;

pub use bucket::Bucket;
pub use commit::{Drained, Pipeline, PipelineOptions, StartError};
pub use intake::{Intake, MetricCounts, Receipt, Refusal, RefusedRow, Standing, Ticket};
pub use limits::{Limits, LimitsTable};
pub use mining::{LINES_PER_SECOND, Mining, Patterns};
pub use stats::{Cause, Stats};
pub use tap::Tap;
