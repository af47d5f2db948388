//! The embedded engine behind the store trait: write-ahead log, heads in memory, immutable parts, and what moves data
//! from one to the next. Synchronous.
//!
//! ```text
//! write -> wal (one sync) -> head -> [flush] -> part -> [merge] -> part -> [retention] -> gone
//!                             |                  |
//!                             +----- scan -------+
//! ```
//!
//! Promises: see [`Engine`]. Absent on purpose: HTTP, query languages, async, threads, and any file access but through
//! `kenning_stdx::vfs`. A module per signal (`metrics`, `logs`, `traces`), the same words in each: `head`, `part`,
//! `scan`; what they share is in `parts` (files) and `scan` (answers).

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod answer;
mod catalog;
mod delete;
pub mod dir;
mod engine;
mod flush;
mod frame_reader;
mod heads;
mod logs;
mod maintain;
pub mod manifest;
mod merge;
mod metrics;
mod options;
mod parts;
mod quarantine;
mod recover;
mod retention;
mod scan;
pub mod snapshot;
mod stats;
mod stream_retention;
mod traces;
pub mod wal;

pub use engine::{Engine, OpenError};
pub use maintain::{FlushError, Maintained};
pub use options::Options;
pub use parts::PartTable;
pub use stats::{
    COMMIT_BUCKETS_MICROS, Commits, Counts, EngineStats, PartSummary, ReplayProgress, Startup, TableStats,
};
