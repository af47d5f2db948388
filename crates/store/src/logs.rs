//! Logs: recent batches in memory, parts, and the scan over both.

mod aggregate;
mod cells;
pub(crate) mod cut;
mod group;
pub(crate) mod head;
pub(crate) mod index;
mod kind;
mod levels;
mod metadata;
pub(crate) mod packed;
pub(crate) mod part;
mod phrase;
mod plan;
mod recent;
pub(crate) mod scan;
mod search;
pub(crate) mod stream_list;
pub(crate) mod streams;
mod times;
mod verdict;
