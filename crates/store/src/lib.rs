//! Write-ahead log, heads, parts, retention: the embedded engine behind the store trait. Synchronous.

pub mod dir;
mod frame_reader;
pub mod manifest;
mod quarantine;
pub mod wal;
