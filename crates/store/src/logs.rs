//! Logs: recent batches in memory, parts, and the scan over both.

pub(crate) mod head;
pub(crate) mod part;
pub(crate) mod scan;
