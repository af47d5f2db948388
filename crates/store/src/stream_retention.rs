//! Log streams that are kept for a time of their own.
//!
//! Ages are those of parts, as for all retention: once the latest row of a part is older than a rule allows, the rows of
//! the streams that the rule holds for go. A part of which nothing is left is removed as a whole. Of others the rows are
//! hidden by a tombstone, exactly as a delete does it ([`crate::delete`]): one transaction, and maintenance writes the part
//! anew later. So each part is written again at most once for every age there is, and what a crash leaves is all or
//! nothing of a pass.
//!
//! A pass looks into a part only when a further rule has come of age for it. It takes at most the share of all bytes that
//! [`crate::Options::retention_percent_max`] says, oldest first, and nothing while the clock is in doubt.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kenning_model::{
    Delete, Expired, Filter, Record, StreamRetention, StreamRule, Table, TenantId, TimeRange, WriteError,
};

use crate::delete::{TOMBSTONES_MAX, Tombstone, encode, hide};
use crate::engine::{Engine, lock};
use crate::logs::part::index_of;
use crate::logs::stream_list::StreamList;
use crate::maintain::Gate;
use crate::manifest::{Edit, PartId, TombstoneEntry};
use crate::parts::part::Part;
use crate::parts::{PartError, PartTable};

/// Per part, by its id, the rules that had come of age when it was last looked into.
pub(crate) type Settled = HashMap<u64, Due>;

/// The places of rules that have come of age.
type Due = Box<[usize]>;

/// Parts of a tenant for which the same rules have come of age.
type ByRules = BTreeMap<(TenantId, Due), Vec<Arc<Part>>>;

/// What a pass does.
#[derive(Default)]
struct Pass {
    /// Parts of which nothing is left.
    gone: Vec<Arc<Part>>,
    /// Parts of which rows go, by tenant and by the rules that have come of age.
    hidden: ByRules,
    looked: Vec<(u64, Due)>,
    bytes: u64,
}

impl Engine {
    /// Removes rows of log streams that are older than the rule that holds for them. What is hidden and goes from the
    /// disk later counts as removed parts only once it is.
    pub fn expire_streams(&self, policy: &StreamRetention) -> Result<Expired, WriteError> {
        let mut gate = lock(&self.gate);
        if policy.rules.is_empty() || !gate.clock_watch.is_calm(policy.now, self.clock.steady()) {
            return Ok(Expired::default());
        }
        let catalog = Arc::clone(&self.read_state().catalog);
        gate.settled.retain(|id, _| catalog.all().any(|part| part.info.name.id == *id));
        let total: u64 = catalog.all().map(|part| part.info.bytes).sum();
        let budget = (u128::from(total) * u128::from(self.options.retention_percent_max) / 100) as u64;
        let mut logs: Vec<_> = catalog.all().filter(|part| part.info.name.table == PartTable::Logs).collect();
        logs.sort_by_key(|part| (part.info.time.end, part.info.name.id));
        let mut pass = Pass::default();
        for part in logs {
            let due = due_rules(policy, part);
            if due.is_empty() || gate.settled.get(&part.info.name.id) == Some(&due) || part.damage().is_some()
            {
                continue;
            }
            if pass.bytes > 0 && pass.bytes + part.info.bytes > budget {
                break;
            }
            pass.look(policy, part, due);
        }
        self.carry_out(&mut gate, policy, pass)
    }

    fn carry_out(
        &self,
        gate: &mut Gate,
        policy: &StreamRetention,
        pass: Pass,
    ) -> Result<Expired, WriteError> {
        let state = gate.manifest.state();
        let mut id = state.tombstones.last_key_value().map_or(0, |(id, _)| *id);
        let room = TOMBSTONES_MAX.saturating_sub(state.tombstones.len());
        let mut edits: Vec<Edit> =
            pass.gone.iter().map(|part| Edit::RemovePart { id: PartId(part.info.name.id) }).collect();
        let (mut hiding, mut left) = (Vec::new(), Vec::new());
        for ((tenant, due), parts) in pass.hidden {
            let filter = expired_filter(policy, &tenant, &due);
            let delete = Delete { tenant, table: Table::Logs, time: TimeRange::ALL, filter };
            let Some(body) = encode(&delete).filter(|_| hiding.len() < room) else {
                // Too many deletes wait already, or the rules are too long for one: the next pass tries again.
                left.extend(parts.iter().map(|part| part.info.name.id));
                continue;
            };
            id += 1;
            let ids = parts.iter().map(|part| PartId(part.info.name.id)).collect();
            edits.push(Edit::AddTombstone(TombstoneEntry { id, body, parts: ids }));
            hiding.push((Arc::new(Tombstone::new(delete)), parts));
        }
        if !edits.is_empty() {
            gate.manifest.commit(&edits).map_err(|error| WriteError::Unavailable {
                detail: format!("the removal of old streams could not be committed: {error}"),
            })?;
        }
        let state = self.write_state();
        hiding.iter().for_each(|(tombstone, parts)| hide(tombstone, parts.iter()));
        drop(state);
        self.publish(&pass.gone, &[], false);
        gate.settled.extend(pass.looked.into_iter().filter(|(id, _)| !left.contains(id)));
        let mut expired = Expired::default();
        for part in &pass.gone {
            expired.parts += 1;
            expired.rows += part.info.rows;
            expired.bytes += part.info.bytes;
        }
        lock(&self.observed).counts.expired_parts += expired.parts;
        Ok(expired)
    }
}

impl Pass {
    fn look(&mut self, policy: &StreamRetention, part: &Arc<Part>, due: Due) {
        let tenant = &part.info.name.tenant;
        let (mut any, mut all) = (true, false);
        match streams_of(part) {
            Ok(Some(streams)) => {
                let mut expired = 0;
                streams.for_each(|labels| {
                    let rule = rule_of(policy, tenant, labels);
                    expired += usize::from(rule.is_some_and(|rule| due.contains(&rule)));
                });
                any = expired > 0;
                all = any && expired == streams.len();
            }
            // An old part does not list its streams; written anew it does.
            Ok(None) => {}
            Err(PartError::Damaged(reason)) => return part.quarantine(&reason),
            // The disk may be well again at the next pass.
            Err(_) => return,
        }
        if all {
            self.bytes += part.info.bytes;
            self.gone.push(Arc::clone(part));
            return;
        }
        self.looked.push((part.info.name.id, due.clone()));
        let filter = expired_filter(policy, tenant, &due);
        let is_hidden = part.hidden().deletes().any(|(_, hidden)| *hidden == filter);
        if any && !is_hidden {
            self.bytes += part.info.bytes;
            self.hidden.entry((tenant.clone(), due)).or_default().push(Arc::clone(part));
        }
    }
}

fn streams_of(part: &Part) -> Result<Option<StreamList>, PartError> {
    let reader = part.open()?;
    Ok(index_of(&reader)?.map(|index| index.streams))
}

fn applies(rule: &StreamRule, tenant: &TenantId) -> bool {
    rule.tenant.as_ref().is_none_or(|own| own == tenant)
}

/// The rules for which all of a part is too old.
fn due_rules(policy: &StreamRetention, part: &Part) -> Due {
    let is_due = |rule: &StreamRule| {
        let age = rule.age.and_then(|age| i64::try_from(age.as_nanos()).ok());
        age.is_some_and(|age| part.info.time.end.0 < policy.now.0.saturating_sub(age))
    };
    let tenant = &part.info.name.tenant;
    let due = policy.rules.iter().enumerate().filter(|(_, rule)| applies(rule, tenant) && is_due(rule));
    due.map(|(place, _)| place).collect()
}

/// The rule that holds for a stream.
fn rule_of(policy: &StreamRetention, tenant: &TenantId, labels: &impl Record) -> Option<usize> {
    policy.rules.iter().position(|rule| applies(rule, tenant) && rule.filter.matches(labels))
}

/// The rows for which one of the rules that are due holds, and none that is not and stands before it.
fn expired_filter(policy: &StreamRetention, tenant: &TenantId, due: &[usize]) -> Filter {
    let mut before: Vec<Filter> = Vec::new();
    let mut expired = Vec::new();
    for (place, rule) in policy.rules.iter().enumerate().filter(|(_, rule)| applies(rule, tenant)) {
        if due.contains(&place) {
            let kept = before.iter().cloned();
            expired.push(kept.fold(rule.filter.clone(), Filter::and));
        } else {
            before.push(Filter::Not(Box::new(rule.filter.clone())));
        }
    }
    match expired.len() {
        1 => expired.pop().unwrap_or(Filter::Or(Vec::new())),
        _ => Filter::Or(expired),
    }
}
