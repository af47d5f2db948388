//! Who asks, and how much the answer may cost.

use std::time::Duration;

use kenning_model::{Cancel, Scan, TenantId};

/// Bounds of one query. All are on by default and name themselves when hit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest query text, in bytes.
    pub text_bytes_max: usize,
    /// Deepest nesting of a query.
    pub depth_max: usize,
    /// Longest run time. Kept by the caller, who raises the context's [`Cancel`].
    pub timeout: Duration,
    /// Most memory for results and work space, in bytes.
    pub memory_bytes_max: usize,
    /// Most samples that may be looked at.
    pub samples_max: u64,
    /// Most instants of a range query's grid.
    pub points_max: u64,
    /// Most series in an answer.
    pub series_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            text_bytes_max: 16 << 10,
            depth_max: 64,
            timeout: Duration::from_secs(30),
            memory_bytes_max: Scan::BYTES_MAX_DEFAULT,
            samples_max: 50_000_000,
            points_max: 11_000,
            series_max: 100_000,
        }
    }
}

/// What every evaluation is given beside its query.
#[derive(Clone, Debug)]
pub struct QueryContext {
    /// Whose data is asked for.
    pub tenant: TenantId,
    /// How much it may cost.
    pub limits: Limits,
    /// Raised when nobody waits any more or time is up.
    pub cancel: Cancel,
}

impl QueryContext {
    /// A context with default limits.
    #[must_use]
    pub fn new(tenant: TenantId) -> Self {
        Self { tenant, limits: Limits::default(), cancel: Cancel::default() }
    }
}
