//! Batches to bytes and back, checksums and frames. Pure functions, no files.

pub mod frame;
