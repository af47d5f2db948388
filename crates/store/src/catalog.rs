//! The parts that scans see. A catalogue is never changed: the engine puts a new one in its place.

use std::collections::HashMap;
use std::sync::Arc;

use kenning_model::{TenantId, TimeRange};

use crate::parts::PartTable;
use crate::parts::part::Part;

/// The parts by tenant and table, each list in the order of arrival of its rows.
#[derive(Clone, Default)]
pub(crate) struct Catalog {
    lists: HashMap<(TenantId, PartTable), Vec<Arc<Part>>>,
}

impl Catalog {
    /// This catalogue without some parts and with others.
    pub(crate) fn changed(&self, removed: &[u64], added: &[Arc<Part>]) -> Self {
        let mut changed = self.clone();
        for list in changed.lists.values_mut() {
            list.retain(|part| !removed.contains(&part.info.name.id));
        }
        for part in added {
            let key = (part.info.name.tenant.clone(), part.info.name.table);
            let list = changed.lists.entry(key).or_default();
            list.push(Arc::clone(part));
            list.sort_by_key(|part| (part.info.name.order, part.info.name.id));
        }
        changed.lists.retain(|_, list| !list.is_empty());
        changed
    }

    /// The parts of a table, in the order of arrival.
    pub(crate) fn parts(&self, tenant: &TenantId, table: PartTable) -> &[Arc<Part>] {
        self.lists.get(&(tenant.clone(), table)).map_or(&[], Vec::as_slice)
    }

    /// The parts of a table that may have rows in a range.
    pub(crate) fn select(&self, tenant: &TenantId, table: PartTable, range: TimeRange) -> Vec<Arc<Part>> {
        let parts = self.parts(tenant, table).iter();
        parts.filter(|part| part.info.time.overlaps(range)).cloned().collect()
    }

    /// Every part.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Part>> + Clone {
        self.lists.values().flatten()
    }

    /// The lists, by tenant and table.
    pub(crate) fn lists(&self) -> Vec<&[Arc<Part>]> {
        let mut lists: Vec<_> = self.lists.iter().collect();
        lists.sort_unstable_by_key(|(key, _)| *key);
        lists.into_iter().map(|(_, list)| list.as_slice()).collect()
    }
}
