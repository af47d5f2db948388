//! Runs queries on threads of their own, a bounded number at a time, and stops those nobody waits for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kenning_model::{Cancel, Store, TenantId};
use kenning_query::{LimitKind, Limits, QueryContext, QueryError};
use tokio::sync::Semaphore;

use crate::dotted::Dotted;
use crate::error::ApiError;
use crate::state::Api;

/// Longest wait for a free place.
const QUEUE_WAIT_MAX: Duration = Duration::from_secs(10);

/// When to come again after other queries had the memory.
const MEMORY_RETRY: Duration = Duration::from_secs(5);

/// Bounds the queries that run and wait, and their memory.
#[derive(Clone, Debug)]
pub struct QueryGate {
    memory: Arc<Memory>,
    places: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    waiting_max: usize,
}

impl QueryGate {
    /// A gate that lets `concurrent` queries run and `waiting_max` wait.
    #[must_use]
    pub fn new(concurrent: usize, waiting_max: usize) -> Self {
        let places = Arc::new(Semaphore::new(concurrent.max(1)));
        Self { memory: Arc::default(), places, waiting: Arc::default(), waiting_max }
    }

    /// The same with a bound of bytes for all queries together.
    #[must_use]
    pub fn with_memory(self, bytes: usize) -> Self {
        Self { memory: Arc::new(Memory { granted: AtomicUsize::new(0), max: bytes }), ..self }
    }

    async fn enter(&self) -> Result<tokio::sync::OwnedSemaphorePermit, ApiError> {
        let full =
            || ApiError::overloaded("too many queries are running and waiting", Duration::from_secs(1));
        let queue = Waiting::join(&self.waiting, self.waiting_max).ok_or_else(full)?;
        let place = tokio::time::timeout(QUEUE_WAIT_MAX, Arc::clone(&self.places).acquire_owned()).await;
        drop(queue);
        match place {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(full()),
        }
    }
}

/// The memory that all queries share.
#[derive(Debug)]
struct Memory {
    granted: AtomicUsize,
    max: usize,
}

impl Default for Memory {
    fn default() -> Self {
        Self { granted: AtomicUsize::new(0), max: usize::MAX }
    }
}

/// What one query may take of it; given back when dropped.
struct Grant {
    of: Arc<Memory>,
    bytes: usize,
}

impl Grant {
    /// As much as is wanted, but no more than half of what is left, so that there is something for those to come.
    fn new(of: &Arc<Memory>, wanted: usize) -> Self {
        let mut bytes = 0;
        let take = |granted: usize| {
            bytes = wanted.min(of.max.saturating_sub(granted).div_ceil(2));
            granted.checked_add(bytes)
        };
        // An overflow cannot be: what is left is never more than what fits.
        let _ = of.granted.try_update(Ordering::SeqCst, Ordering::SeqCst, take);
        Self { of: Arc::clone(of), bytes }
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.of.granted.fetch_sub(self.bytes, Ordering::SeqCst);
    }
}

/// A query met the bound of its grant, which is below that of its own: others hold the memory.
fn is_short_of_memory(error: &QueryError, grant: usize, wanted: usize) -> bool {
    grant < wanted && matches!(error, QueryError::Limit { kind: LimitKind::MemoryBytes, .. })
}

/// A place in the queue; leaving it is dropping it, also when the client goes away while waiting.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn join(count: &'a AtomicUsize, max: usize) -> Option<Self> {
        let waiting = Self(count);
        (count.fetch_add(1, Ordering::SeqCst) < max).then_some(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Raises the flag when the request's future is dropped: the client has gone.
struct CancelOnDrop(Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.raise();
    }
}

/// Enough of a query to know it again in a span.
fn beginning_of(query: &str) -> &str {
    const BYTES_MAX: usize = 1 << 10;
    query.get(..query.floor_char_boundary(BYTES_MAX)).unwrap_or(query)
}

impl Api {
    /// Runs `job` off the reactor within the limits. `query` is the text that errors point into.
    pub(crate) async fn run<T, J>(&self, tenant: TenantId, query: &str, job: J) -> Result<T, ApiError>
    where
        T: Send + 'static,
        J: FnOnce(&dyn Store, &QueryContext) -> Result<T, QueryError> + Send + 'static,
    {
        self.run_within(self.limits.timeout, tenant, query, ApiError::of_query, job).await
    }

    /// [`Self::run`] with a time limit of the caller's, never above the setting, and errors in a protocol's own words.
    pub(crate) async fn run_within<T, J>(
        &self,
        timeout: Duration,
        tenant: TenantId,
        query: &str,
        explain: fn(&QueryError, &str) -> ApiError,
        job: J,
    ) -> Result<T, ApiError>
    where
        T: Send + 'static,
        J: FnOnce(&dyn Store, &QueryContext) -> Result<T, QueryError> + Send + 'static,
    {
        let place = self.gate.enter().await?;
        let wanted = self.limits.memory_bytes_max;
        let grant = Grant::new(&self.gate.memory, wanted);
        let granted = grant.bytes;
        let limits = Limits { memory_bytes_max: granted, ..self.limits.clone() };
        let context = QueryContext { limits, ..QueryContext::new(tenant) };
        let timeout = timeout.min(self.limits.timeout);
        if timeout.is_zero() {
            return Err(ApiError::timed_out());
        }
        let guard = CancelOnDrop(context.cancel.clone());
        let store = Dotted(Arc::clone(&self.store));
        let span = tracing::info_span!("query", tenant = %context.tenant, query.text = beginning_of(query));
        let mut work = tokio::task::spawn_blocking(move || {
            // The place is held until the work has really ended, not until somebody stops waiting for it.
            let _held = (place, grant);
            span.in_scope(|| {
                let outcome = job(&store, &context);
                if let Err(error @ QueryError::Store(_)) = &outcome {
                    tracing::error!(error = error as &dyn std::error::Error, "a query could not be answered");
                }
                outcome
            })
        });
        let outcome = match tokio::time::timeout(timeout, &mut work).await {
            Ok(outcome) => outcome,
            Err(_) => {
                guard.0.raise();
                return Err(ApiError::timed_out());
            }
        };
        match outcome {
            Ok(Err(error)) if is_short_of_memory(&error, granted, wanted) => {
                let told = format!(
                    "the query needs more than the {granted} bytes that were left of the memory that queries share; \
                     try again, ask for less, or raise limits.memory"
                );
                Err(ApiError::overloaded(told, MEMORY_RETRY))
            }
            Ok(result) => result.map_err(|error| explain(&error, query)),
            Err(_) => Err(ApiError::internal("the query panicked; this is a bug of Kenning")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_share_memory_and_give_it_back() {
        let memory = Arc::new(Memory { granted: AtomicUsize::new(0), max: 1000 });
        let first = Grant::new(&memory, 400);
        let second = Grant::new(&memory, 400);
        let third = Grant::new(&memory, 400);
        assert_eq!([first.bytes, second.bytes, third.bytes], [400, 300, 150]);
        drop(first);
        assert_eq!(Grant::new(&memory, 400).bytes, 275);
        drop((second, third));
        assert_eq!(memory.granted.load(Ordering::SeqCst), 0);
        assert_eq!(Grant::new(&Arc::default(), 400).bytes, 400);
    }
}
