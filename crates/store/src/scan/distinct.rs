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

/// Distinct label sets.
#[derive(Default)]
pub(crate) struct Sets {
    sets: BTreeSet<LabelSet>,
}

impl Sets {
    pub(crate) fn add(&mut self, set: &LabelSet, work: &mut Work<'_>) -> Result<(), ScanError> {
        if !self.sets.contains(set) {
            work.charge(ENTRY_BYTES + set.heap_bytes())?;
            self.sets.insert(set.clone());
        }
        Ok(())
    }

    pub(crate) fn contains(&self, set: &LabelSet) -> bool {
        self.sets.contains(set)
    }

    /// Adds the sets of another worker.
    pub(crate) fn join(&mut self, other: Self) {
        self.sets.extend(other.sets);
    }

    pub(crate) fn finish(self) -> Vec<LabelSet> {
        self.sets.into_iter().collect()
    }
}
