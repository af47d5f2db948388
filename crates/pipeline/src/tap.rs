//! Taps: who else hears of what was committed.

use std::fmt;
use std::sync::Arc;

use kenning_model::Write;

/// Hears of every group after it is durable and visible, in the order of commits, on the committer's thread.
///
/// A tap must not wait: it takes a handle on the group into a bounded queue of its own, or leaves it and counts that.
pub trait Tap: Send + Sync + 'static {
    /// A group was committed.
    fn committed(&self, group: &Arc<Vec<Write>>);
}

impl fmt::Debug for dyn Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tap")
    }
}
