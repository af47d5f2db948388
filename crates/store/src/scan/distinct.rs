//! Sets of texts and label sets, charged as they grow.

use std::collections::BTreeSet;

use kenning_model::{Field, LabelSet, Record, ScanError};

use super::ENTRY_BYTES;
use super::work::Work;

/// Distinct texts.
#[derive(Default)]
pub(crate) struct Texts {
    texts: BTreeSet<Box<str>>,
}

impl Texts {
    pub(crate) fn add(&mut self, text: &str, work: &mut Work<'_>) -> Result<(), ScanError> {
        if !text.is_empty() && !self.texts.contains(text) {
            work.charge(ENTRY_BYTES + text.len())?;
            self.texts.insert(text.into());
        }
        Ok(())
    }

    /// Adds every value that a row has for a field.
    pub(crate) fn add_values(
        &mut self,
        row: &impl Record,
        field: &Field,
        work: &mut Work<'_>,
    ) -> Result<(), ScanError> {
        let mut done = Ok(());
        row.any(field, &mut |value| {
            done = match value {
                kenning_model::ValueRef::Str(text) => self.add(text, work),
                other => self.add(&other.to_string(), work),
            };
            done.is_err()
        });
        done
    }

    /// Adds the texts of another worker.
    pub(crate) fn join(&mut self, other: Self) {
        self.texts.extend(other.texts);
    }

    pub(crate) fn finish(self) -> Vec<Box<str>> {
        self.texts.into_iter().collect()
    }
}

/// Distinct label sets. Sources give theirs in order, so most go to the end of a list.
#[derive(Default)]
pub(crate) struct Sets {
    sorted: Vec<LabelSet>,
    /// Those that came out of order, none of which is in the list.
    others: BTreeSet<LabelSet>,
}

impl Sets {
    pub(crate) fn add(&mut self, set: &LabelSet, work: &mut Work<'_>) -> Result<(), ScanError> {
        let is_next = self.sorted.last().is_none_or(|last| last < set);
        if (is_next && !self.others.is_empty() && self.others.contains(set))
            || (!is_next && self.contains(set))
        {
            return Ok(());
        }
        work.charge(ENTRY_BYTES + set.heap_bytes())?;
        if is_next {
            self.sorted.push(set.clone());
        } else {
            self.others.insert(set.clone());
        }
        Ok(())
    }

    pub(crate) fn contains(&self, set: &LabelSet) -> bool {
        let in_list =
            self.sorted.last().is_some_and(|last| set <= last) && self.sorted.binary_search(set).is_ok();
        in_list || (!self.others.is_empty() && self.others.contains(set))
    }

    /// Adds the sets of another worker.
    pub(crate) fn join(&mut self, other: Self) {
        let known = |set: &LabelSet| self.sorted.binary_search(set).is_ok();
        let fresh = other.sorted.into_iter().chain(other.others).filter(|set| !known(set));
        self.others.extend(fresh);
    }

    pub(crate) fn finish(self) -> Vec<LabelSet> {
        if self.others.is_empty() {
            return self.sorted;
        }
        let mut all: Vec<_> = self.sorted.into_iter().chain(self.others).collect();
        all.sort_unstable();
        all
    }
}
