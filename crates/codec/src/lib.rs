//! Batches to bytes and back, recent samples and those of parts in few bytes, doubles as scaled integers, checksums and
//! frames.
//!
//! Promises: pure functions; decoders never panic and allocate by what has arrived, never by what is claimed. Absent on
//! purpose: files, wire formats of others, compression of whole files (the store's Parquet parts do that).

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod batch;
pub mod bytes;
pub mod chunk;
pub mod decimal;
pub mod frame;
pub mod radix;
pub mod run;
