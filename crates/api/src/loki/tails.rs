//! Who follows logs as they are committed, and what waits for them.
//!
//! The server calls [`Tails::publish`] for every committed group, on the committer's thread, so nothing here waits. Each
//! follower has a queue of its own, bounded in bytes; a group that does not fit is left out, its lines are counted and
//! the first [`DROPPED_MAX`] of them are told to the client as `dropped_entries`. Groups are shared, not copied.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kenning_model::{Batch, LabelSet, LogBatch, Nanos, TenantId, Write};
use tokio::sync::Notify;

/// Most followers at a time.
pub(super) const TAILS_MAX: usize = 64;
/// Bytes of groups that may wait for one follower, but for a single larger group.
const QUEUE_BYTES_MAX: usize = 8 << 20;
/// Dropped lines that one message names.
const DROPPED_MAX: usize = 100;

/// Something happened to a follower; for the server's metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TailEvent {
    /// One came.
    Opened,
    /// One went.
    Closed,
    /// So many lines were sent.
    Sent(u64),
    /// So many lines of wanted streams were left out because the follower was slow.
    Dropped(u64),
    /// A follower that took nothing for too long was sent away.
    Shed,
}

/// The followers of a server.
pub struct Tails {
    followers: Mutex<Followers>,
    /// Length of the list, to be looked at without the lock.
    count: AtomicUsize,
    observe: Box<dyn Fn(TailEvent) + Send + Sync>,
}

#[derive(Default)]
struct Followers {
    list: Vec<Arc<Follower>>,
    closed: bool,
}

impl Default for Tails {
    fn default() -> Self {
        Self::new(|_| ())
    }
}

impl fmt::Debug for Tails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tails({})", self.count.load(Ordering::Relaxed))
    }
}

impl Tails {
    /// No followers yet. `observe` hears of what happens; it must not wait.
    pub fn new(observe: impl Fn(TailEvent) + Send + Sync + 'static) -> Self {
        Self { followers: Mutex::default(), count: AtomicUsize::new(0), observe: Box::new(observe) }
    }

    /// Hands a committed group to those who follow its tenants.
    pub fn publish(&self, group: &Arc<Vec<Write>>) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let bytes = group.iter().map(|write| write.batch.heap_bytes()).sum();
        for follower in &self.lock().list {
            if logs_of(group, &follower.tenant).next().is_some() {
                let dropped = follower.offer(group, bytes);
                if dropped > 0 {
                    (self.observe)(TailEvent::Dropped(dropped));
                }
            }
        }
    }

    /// Ends every follower's stream and takes no more: the server stops.
    pub fn close(&self) {
        let mut followers = self.lock();
        followers.closed = true;
        for follower in followers.list.drain(..) {
            follower.lock().closed = true;
            follower.changed.notify_one();
        }
        self.count.store(0, Ordering::Release);
    }

    pub(super) fn tell(&self, event: TailEvent) {
        (self.observe)(event);
    }

    /// A new follower of a tenant's streams that `wants` takes; `None` when there are too many or the server stops.
    pub(super) fn follow(
        self: &Arc<Self>,
        tenant: TenantId,
        wants: impl Fn(&LabelSet) -> bool + Send + Sync + 'static,
    ) -> Option<Following> {
        let follower = Arc::new(Follower {
            tenant,
            wants: Box::new(wants),
            waiting: Mutex::default(),
            changed: Notify::new(),
        });
        let mut followers = self.lock();
        if followers.closed || followers.list.len() >= TAILS_MAX {
            return None;
        }
        followers.list.push(Arc::clone(&follower));
        self.count.store(followers.list.len(), Ordering::Release);
        drop(followers);
        self.tell(TailEvent::Opened);
        Some(Following { tails: Arc::clone(self), follower })
    }

    fn lock(&self) -> MutexGuard<'_, Followers> {
        self.followers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The batches of logs of a tenant in a group.
pub(super) fn logs_of<'g>(
    group: &'g [Write],
    tenant: &'g TenantId,
) -> impl Iterator<Item = (&'g Write, &'g LogBatch)> {
    group.iter().filter(move |write| write.tenant == *tenant).filter_map(|write| match &write.batch {
        Batch::Logs(batch) => Some((write, batch)),
        _ => None,
    })
}

struct Follower {
    tenant: TenantId,
    wants: Box<dyn Fn(&LabelSet) -> bool + Send + Sync>,
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Default)]
struct Waiting {
    groups: VecDeque<(Arc<Vec<Write>>, usize)>,
    bytes: usize,
    dropped: Vec<(LabelSet, Nanos)>,
    closed: bool,
}

impl Follower {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a group; the number of lines left out because it does not fit.
    fn offer(&self, group: &Arc<Vec<Write>>, bytes: usize) -> u64 {
        let mut waiting = self.lock();
        let fits = waiting.groups.is_empty() || waiting.bytes.saturating_add(bytes) <= QUEUE_BYTES_MAX;
        let dropped = if fits {
            waiting.groups.push_back((Arc::clone(group), bytes));
            waiting.bytes = waiting.bytes.saturating_add(bytes);
            0
        } else {
            logs_of(group, &self.tenant).map(|(_, batch)| self.leave_out(batch, &mut waiting.dropped)).sum()
        };
        drop(waiting);
        self.changed.notify_one();
        dropped
    }

    fn leave_out(&self, batch: &LogBatch, dropped: &mut Vec<(LabelSet, Nanos)>) -> u64 {
        let wanted: Vec<bool> = batch.streams.iter().map(|labels| (self.wants)(labels)).collect();
        let is_wanted = |stream: u32| wanted.get(stream as usize).copied().unwrap_or(false);
        let mut count = 0;
        for (stream, time) in batch.stream.iter().zip(&batch.time).filter(|(stream, _)| is_wanted(**stream)) {
            count += 1;
            if dropped.len() < DROPPED_MAX
                && let Some(labels) = batch.streams.get(*stream as usize)
            {
                dropped.push((labels.clone(), *time));
            }
        }
        count
    }
}

/// What came for a follower since it asked last.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) groups: Vec<Arc<Vec<Write>>>,
    /// Stream and time of lines that were left out.
    pub(super) dropped: Vec<(LabelSet, Nanos)>,
}

/// A place among the followers; dropping it gives the place back.
pub(super) struct Following {
    tails: Arc<Tails>,
    follower: Arc<Follower>,
}

impl Following {
    /// Waits for something to come; `None` once the server stops and all is taken.
    pub(super) async fn next(&self) -> Option<Arrived> {
        loop {
            {
                let mut waiting = self.follower.lock();
                if !waiting.groups.is_empty() || !waiting.dropped.is_empty() {
                    waiting.bytes = 0;
                    let groups = waiting.groups.drain(..).map(|(group, _)| group).collect();
                    return Some(Arrived { groups, dropped: std::mem::take(&mut waiting.dropped) });
                }
                if waiting.closed {
                    return None;
                }
            }
            self.follower.changed.notified().await;
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let mut followers = self.tails.lock();
        followers.list.retain(|one| !Arc::ptr_eq(one, &self.follower));
        self.tails.count.store(followers.list.len(), Ordering::Release);
        drop(followers);
        self.tails.tell(TailEvent::Closed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use kenning_model::{BatchId, LogRow, Severity, SpanId, TraceId};

    use super::*;

    fn group(tenant: &TenantId, app: &str, line: &str) -> Arc<Vec<Write>> {
        let (labels, metadata) = (LabelSet::from_pairs([("app", app)]), LabelSet::empty());
        let mut batch = LogBatch::default();
        let stream = batch.add_stream(labels.clone());
        let row = LogRow {
            stream: &labels,
            time: Nanos(7),
            severity: Severity::UNKNOWN,
            trace_id: TraceId::NONE,
            span_id: SpanId::NONE,
            line,
            metadata: &metadata,
        };
        batch.push(stream, row);
        Arc::new(vec![Write { id: BatchId(1), tenant: tenant.clone(), batch: Batch::Logs(batch) }])
    }

    #[tokio::test]
    async fn followers_get_what_their_tenant_commits() {
        let tails = Arc::new(Tails::default());
        let (ours, other) = (TenantId::default_tenant(), TenantId::self_tenant());
        let following = tails.follow(ours.clone(), |_| true).expect("a place");
        tails.publish(&group(&other, "a", "not ours"));
        tails.publish(&group(&ours, "a", "ours"));
        let arrived = following.next().await.expect("open");
        assert_eq!((arrived.groups.len(), arrived.dropped.len()), (1, 0));
        tails.close();
        assert!(following.next().await.is_none());
        assert!(tails.follow(ours, |_| true).is_none(), "a stopping server takes nobody");
    }

    #[tokio::test]
    async fn a_slow_follower_loses_lines_by_name() {
        let lost = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&lost);
        let tails = Arc::new(Tails::new(move |event| {
            if let TailEvent::Dropped(lines) = event {
                counted.fetch_add(lines, Ordering::Relaxed);
            }
        }));
        let tenant = TenantId::default_tenant();
        let following = tails.follow(tenant.clone(), |labels| labels.get("app") == "a").expect("a place");
        let long = "x".repeat(QUEUE_BYTES_MAX);
        for app in ["a", "a", "b", "a"] {
            tails.publish(&group(&tenant, app, &long));
        }
        let arrived = following.next().await.expect("open");
        assert_eq!((arrived.groups.len(), arrived.dropped.len()), (1, 2));
        assert_eq!(lost.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn places_are_bounded_and_given_back() {
        let tails = Arc::new(Tails::default());
        let follow = || tails.follow(TenantId::default_tenant(), |_| true);
        let mut all: Vec<_> = (0..TAILS_MAX).filter_map(|_| follow()).collect();
        assert!(all.len() == TAILS_MAX && follow().is_none());
        all.pop();
        assert!(follow().is_some());
    }
}
