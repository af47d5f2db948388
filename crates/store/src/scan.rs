//! What the scans of all tables share: memory accounting, pruning by filter, and the push-down shapes.

pub(crate) mod distinct;
pub(crate) mod group;
pub(crate) mod prune;
pub(crate) mod top;
pub(crate) mod work;

/// Most series or rows of one block handed to a sink.
pub(crate) const BLOCK_LEN_MAX: usize = 1024;

/// Bytes charged for an entry of a set, map or list beside its text.
pub(crate) const ENTRY_BYTES: usize = 64;
