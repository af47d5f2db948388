//! Which parts are too old, or too many, and how many of them may go at once.
//!
//! The policy's `now` is the server's wall clock; a part's age is that of its latest row, so a sender's future stamp can
//! only keep a part longer, never remove another. Two rules stand between a wrong clock and the data:
//!
//! - One pass removes at most a tenth of all bytes (at least one part), oldest first. The next pass goes on.
//! - When the wall clock moved against the steady clock by more than a minute since the last pass, nothing is too old
//!   until passes at least ten minutes apart agree on the time again.
//!
//! A limit in bytes counts the files of parts and of the write-ahead log. Over it the parts with the oldest rows go,
//! whatever signal they are of, until the rest fits. What reaches into the time of the heads stays, for it is being
//! written to; of heads with very old rows, only [`RECENT`] counts. So the limit is kept but for what one flush writes,
//! what one merge doubles while it runs, and what came within that time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kenning_model::{Nanos, Retention, TenantId};

use crate::parts::PartTable;
use crate::parts::part::Part;

/// How far wall and steady clock may drift apart between two passes.
const JUMP_MAX: Duration = Duration::from_secs(60);
/// How long the clocks must agree after a jump before anything is removed again.
const CALM_MIN: Duration = Duration::from_secs(600);

/// Watches the clock between passes.
#[derive(Debug, Default)]
pub(crate) struct ClockWatch {
    last: Option<(Nanos, Duration)>,
    jumped: Option<Duration>,
}

impl ClockWatch {
    /// True when the wall clock can be believed. `steady` is the time of this pass by the steady clock.
    pub(crate) fn is_calm(&mut self, now: Nanos, steady: Duration) -> bool {
        if let Some((last_now, last_steady)) = self.last {
            let wall = i128::from(now.0) - i128::from(last_now.0);
            let real = i128::try_from(steady.saturating_sub(last_steady).as_nanos()).unwrap_or(i128::MAX);
            if (wall - real).unsigned_abs() > JUMP_MAX.as_nanos() {
                self.jumped = Some(steady);
            }
        }
        self.last = Some((now, steady));
        if self.jumped.is_some_and(|since| steady.saturating_sub(since) >= CALM_MIN) {
            self.jumped = None;
        }
        self.jumped.is_none()
    }
}

/// How far before the present heads keep parts from being removed for their size.
const RECENT: Duration = Duration::from_secs(4 * 3600);

/// What is stored beside parts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Beside {
    /// Bytes of the write-ahead log.
    pub(crate) wal_bytes: u64,
    /// The earliest row in heads.
    pub(crate) head_start: Option<Nanos>,
    /// The policy's clock can be believed.
    pub(crate) is_calm: bool,
}

/// The parts that go in this pass.
#[derive(Default)]
pub(crate) struct Chosen {
    pub(crate) parts: Vec<Arc<Part>>,
    /// How many of them, the last ones, go for their size.
    pub(crate) for_size: usize,
}

/// Chooses what goes in this pass: what is too old, then what is too much.
pub(crate) fn choose<'a>(
    parts: impl Iterator<Item = &'a Arc<Part>>,
    policy: &Retention,
    beside: Beside,
    percent_max: u64,
) -> Chosen {
    let mut parts: Vec<&Arc<Part>> = parts.collect();
    parts.sort_by_key(|part| (part.info.time.end, part.info.name.id));
    let total: u64 = parts.iter().map(|part| part.info.bytes).sum();
    let mut pass =
        Pass { left: (u128::from(total) * u128::from(percent_max) / 100) as u64, chosen: Vec::new() };
    let (old, kept): (Vec<_>, Vec<_>) =
        parts.into_iter().partition(|part| beside.is_calm && is_too_old(part, policy));
    old.iter().all(|part| pass.take(part));
    let of_age = pass.chosen.len();
    if of_age == old.len() {
        take_excess(&kept, policy, beside, &mut pass);
    }
    Chosen { for_size: pass.chosen.len() - of_age, parts: pass.chosen }
}

/// What one pass has removed, and how much more it may.
struct Pass {
    left: u64,
    chosen: Vec<Arc<Part>>,
}

impl Pass {
    /// False when the pass has had its share.
    fn take(&mut self, part: &Arc<Part>) -> bool {
        let bytes = part.info.bytes;
        if bytes > self.left && !self.chosen.is_empty() {
            return false;
        }
        self.left = self.left.saturating_sub(bytes);
        self.chosen.push(Arc::clone(part));
        true
    }
}

/// Takes the oldest of these parts, which are sorted by age, until the rest is within the limits.
fn take_excess(parts: &[&Arc<Part>], policy: &Retention, beside: Beside, pass: &mut Pass) {
    let floor = floor(policy, beside);
    let mut all: u64 = beside.wal_bytes + parts.iter().map(|part| part.info.bytes).sum::<u64>();
    let mut of_tenants: HashMap<&TenantId, u64> = HashMap::new();
    for part in parts {
        *of_tenants.entry(&part.info.name.tenant).or_default() += part.info.bytes;
    }
    let is_over = |bytes: u64, limit: Option<u64>| limit.is_some_and(|limit| bytes > limit);
    for part in parts.iter().filter(|part| part.info.time.end < floor && has_time(part)) {
        let name = &part.info.name;
        let Some(of_tenant) = of_tenants.get_mut(&name.tenant) else { continue };
        if !is_over(all, policy.bytes) && !is_over(*of_tenant, policy.of(&name.tenant).bytes) {
            continue;
        }
        if !pass.take(part) {
            return;
        }
        all = all.saturating_sub(part.info.bytes);
        *of_tenant = of_tenant.saturating_sub(part.info.bytes);
    }
}

/// What ends before may go for its size.
fn floor(policy: &Retention, beside: Beside) -> Nanos {
    let Some(head) = beside.head_start else { return Nanos(i64::MAX) };
    let recent = i64::try_from(RECENT.as_nanos()).unwrap_or(i64::MAX);
    match beside.is_calm {
        true => Nanos(head.0.max(policy.now.0.saturating_sub(recent))),
        false => head,
    }
}

/// Metadata have no time and stay as long as the tenant.
fn has_time(part: &Part) -> bool {
    part.info.name.table != PartTable::Metadata
}

fn is_too_old(part: &Part, policy: &Retention) -> bool {
    let kept = policy.of(&part.info.name.tenant);
    let age = match part.info.name.table {
        PartTable::Samples | PartTable::Histograms | PartTable::Exemplars => kept.metrics,
        PartTable::Logs => kept.logs,
        PartTable::Spans => kept.traces,
        PartTable::Metadata => None,
    };
    let age = age.and_then(|age| i64::try_from(age.as_nanos()).ok());
    age.is_some_and(|age| part.info.time.end.0 < policy.now.0.saturating_sub(age))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kenning_model::{TenantRetention, TimeRange};

    use crate::parts::name::PartName;
    use crate::parts::part::PartInfo;

    fn check(passes: &[(i64, u64)], expect: &[bool]) {
        let mut watch = ClockWatch::default();
        let second = 1_000_000_000;
        let calm: Vec<_> = passes
            .iter()
            .map(|(now, steady)| watch.is_calm(Nanos(now * second), Duration::from_secs(*steady)))
            .collect();
        assert_eq!(calm, expect, "{passes:?}");
    }

    const MINUTE: i64 = 60_000_000_000;

    /// A part of logs of tenant `a` or `b` whose rows end at a minute.
    fn part(id: u64, tenant: &str, end: i64, bytes: u64) -> Arc<Part> {
        let tenant = TenantId::parse(tenant).unwrap();
        let name = PartName { tenant, table: PartTable::Logs, order: id, id, tail_len: 0, tail_crc: 0 };
        let time = TimeRange { start: Nanos(0), end: Nanos(end * MINUTE) };
        let vfs = Arc::new(kenning_stdx::vfs::sim::SimVfs::new(1));
        Arc::new(Part::new(vfs, PartInfo { name, rows: 1, bytes, time, level: 0 }))
    }

    /// Sizes: which of the parts (id, tenant, end, bytes) go, with how many of them for their size.
    fn chosen(
        parts: &[(u64, &str, i64, u64)],
        policy: Retention,
        beside: Beside,
        percent: u64,
    ) -> (Vec<u64>, usize) {
        let parts: Vec<_> =
            parts.iter().map(|(id, tenant, end, bytes)| part(*id, tenant, *end, *bytes)).collect();
        let chosen = choose(parts.iter(), &policy, beside, percent);
        (chosen.parts.iter().map(|part| part.info.name.id).collect(), chosen.for_size)
    }

    #[test]
    fn the_oldest_go_until_the_rest_fits() {
        let parts = [(1, "a", 30, 100), (2, "a", 10, 100), (3, "b", 20, 100), (4, "b", 40, 100)];
        let limit = |bytes| Retention { now: Nanos(41 * MINUTE), bytes: Some(bytes), ..Retention::default() };
        let calm = Beside { is_calm: true, ..Beside::default() };
        assert_eq!(chosen(&parts, limit(400), calm, 100), (vec![], 0));
        assert_eq!(chosen(&parts, limit(399), calm, 100), (vec![2], 1));
        assert_eq!(chosen(&parts, limit(200), calm, 100), (vec![2, 3], 2));
        assert_eq!(chosen(&parts, limit(0), calm, 100), (vec![2, 3, 1, 4], 4));
        // The log counts; a pass has its share; what reaches into the time of heads stays.
        assert_eq!(chosen(&parts, limit(400), Beside { wal_bytes: 101, ..calm }, 100), (vec![2, 3], 2));
        assert_eq!(chosen(&parts, limit(0), calm, 10), (vec![2], 1));
        let head = Beside { head_start: Some(Nanos(30 * MINUTE)), ..calm };
        assert_eq!(chosen(&parts, limit(0), head, 100), (vec![2, 3], 2));
        // Very old rows in a head hold up nothing, unless the clock cannot be believed.
        let late = Retention { now: Nanos(300 * MINUTE), ..limit(0) };
        let old_head = Beside { head_start: Some(Nanos(0)), ..calm };
        assert_eq!(chosen(&parts, late.clone(), old_head, 100), (vec![2, 3, 1, 4], 4));
        assert_eq!(chosen(&parts, late, Beside { is_calm: false, ..old_head }, 100), (vec![], 0));
    }

    #[test]
    fn tenants_have_limits_of_their_own_and_age_comes_first() {
        let parts = [(1, "a", 30, 100), (2, "a", 10, 100), (3, "b", 20, 100), (4, "b", 40, 100)];
        let calm = Beside { is_calm: true, ..Beside::default() };
        let own = TenantRetention { bytes: Some(150), ..TenantRetention::default() };
        let tenants = HashMap::from([(TenantId::parse("b").unwrap(), own)]);
        let policy = Retention { now: Nanos(41 * MINUTE), tenants, ..Retention::default() };
        assert_eq!(chosen(&parts, policy.clone(), calm, 100), (vec![3], 1));
        // Tenant b has no age of its own: its old parts stay.
        let logs = Some(Duration::from_secs(60));
        let policy = Retention { logs, bytes: Some(250), ..policy };
        assert_eq!(chosen(&parts, policy.clone(), calm, 100), (vec![2, 1, 3], 1));
        assert_eq!(chosen(&parts, policy, Beside::default(), 100), (vec![2, 3], 2));
    }

    #[test]
    fn a_jumping_clock_removes_nothing() {
        check(&[(0, 0), (300, 300), (630, 600)], &[true, true, true]);
        check(&[(0, 0), (400 + 86_400, 400)], &[true, false]);
        check(&[(0, 0), (-7200, 300), (-6900, 600), (-6600, 900)], &[true, false, false, true]);
        check(&[(0, 0), (i64::MAX / 1_000_000_000, 1), (0, 2)], &[true, false, false]);
    }
}
