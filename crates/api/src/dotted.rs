//! Instruments by their own names: `langfuse.ingestion.events_processed` is found though it was stored as
//! `langfuse_ingestion_events_processed_total`.
//!
//! OTLP metrics are stored under translated names unless the settings say otherwise, so a selector with a name that no
//! translated series can have (it has dots) is asked again under the names that the translation makes of it. Only when
//! nothing is stored under the very name: whoever stores untranslated names gets Prometheus's answers to the letter.
//! Selectors of ordinary names, and all tables but those of metrics, go through untouched. What comes back bears the
//! stored names. Absent: label names; metadata.

use std::collections::HashMap;
use std::sync::Arc;

use kenning_model::{
    BatchId, Block, Compare, Delete, DeleteError, DistinctOf, Expired, Field, Filter, Flow, Literal,
    METRIC_NAME, Retention, Scan, ScanError, ScanSummary, Shape, SnapshotError, Store, Table, Write,
    WriteError,
};
use kenning_query::operators;
use kenning_wire::otlp::translations;

/// A store whose metrics answer to the names of their instruments too.
pub(crate) struct Dotted(pub Arc<dyn Store>);

impl Store for Dotted {
    fn write(&self, group: &[Write]) -> Result<(), WriteError> {
        self.0.write(group)
    }

    fn last_batch_id(&self) -> BatchId {
        self.0.last_batch_id()
    }

    fn scan(&self, scan: &Scan, sink: &mut dyn FnMut(Block) -> Flow) -> Result<ScanSummary, ScanError> {
        let mut names = Vec::new();
        if matches!(scan.table, Table::Samples | Table::Exemplars) {
            dotted_names(&scan.filter, &mut names);
        }
        if names.is_empty() {
            return self.0.scan(scan, sink);
        }
        let mut stored = HashMap::new();
        for name in names {
            if let Some(found) = self.stored_names(scan, &name)? {
                stored.insert(name, found);
            }
        }
        let filter = renamed(&scan.filter, &stored);
        self.0.scan(&Scan { filter, ..scan.clone() }, sink)
    }

    fn expire(&self, policy: &Retention) -> Result<Expired, WriteError> {
        self.0.expire(policy)
    }

    fn delete(&self, delete: &Delete) -> Result<(), DeleteError> {
        self.0.delete(delete)
    }

    fn clean(&self) -> Result<u64, WriteError> {
        self.0.clean()
    }

    fn snapshot(&self, name: &str, recent: bool) -> Result<(), SnapshotError> {
        self.0.snapshot(name, recent)
    }
}

impl Dotted {
    /// The names that an instrument's series have in the range; `None` when its own is among them, or none is.
    fn stored_names(&self, scan: &Scan, name: &str) -> Result<Option<Vec<Box<str>>>, ScanError> {
        let candidates = translations(name);
        let field = || Field::Label(METRIC_NAME.into());
        let asked = std::iter::once(name).chain(candidates.iter().map(String::as_str));
        let filter = Filter::OneOf(field(), asked.map(Into::into).collect());
        let shape = Shape::Distinct(DistinctOf::Values(field()));
        let table = Table::Samples;
        let (found, _) =
            operators::distinct_texts(&*self.0, &Scan { table, filter, shape, limit: None, ..scan.clone() })?;
        if found.is_empty() || found.iter().any(|known| **known == *name) {
            return Ok(None);
        }
        // The plain translation is the instrument's; with a suffix, the others may be other instruments'.
        let plain = candidates.first().and_then(|plain| found.iter().find(|known| ***known == **plain));
        Ok(Some(plain.map_or_else(|| found.clone(), |plain| vec![plain.clone()])))
    }
}

/// Metric names that a filter asks for and that no translated series has. What is under a `Not` stays as it is.
fn dotted_names(filter: &Filter, names: &mut Vec<Box<str>>) {
    match filter {
        Filter::And(parts) | Filter::Or(parts) => parts.iter().for_each(|part| dotted_names(part, names)),
        other => names.extend(dotted_name(other).map(Into::into)),
    }
}

/// The name, when this is `__name__ = name` with one that holds a dot.
fn dotted_name(filter: &Filter) -> Option<&str> {
    match filter {
        Filter::Compare(Field::Label(label), Compare::Eq, Literal::Str(name))
            if **label == *METRIC_NAME && name.contains('.') =>
        {
            Some(name)
        }
        _ => None,
    }
}

/// The filter with the stored names in the place of dotted ones.
fn renamed(filter: &Filter, stored: &HashMap<Box<str>, Vec<Box<str>>>) -> Filter {
    let parts = |parts: &[Filter]| parts.iter().map(|part| renamed(part, stored)).collect();
    match filter {
        Filter::And(list) => Filter::And(parts(list)),
        Filter::Or(list) => Filter::Or(parts(list)),
        other => match dotted_name(other).and_then(|name| stored.get(name)) {
            Some(names) => Filter::OneOf(Field::Label(METRIC_NAME.into()), names.clone()),
            None => other.clone(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kenning_model::{Batch, LabelSet, MetricBatch, Millis, Sample, TenantId, TimeRange};
    use kenning_query::MemoryStore;

    /// The metric names that a selector finds among stored ones.
    fn check(stored: &[&str], asked: &str, expect: &[&str]) {
        let mut batch = MetricBatch::default();
        for name in stored {
            let series = batch.add_series(LabelSet::from_pairs([("__name__", *name)]));
            batch.samples.push(Sample { series, time: Millis(1000), value: 1.0 });
        }
        let (store, tenant) = (MemoryStore::default(), TenantId::default_tenant());
        let write = Write { id: BatchId(1), tenant: tenant.clone(), batch: Batch::Metrics(batch) };
        store.write(&[write]).unwrap();
        let filter = kenning_promql::matchers(asked).unwrap();
        let mut scan = Scan::rows(tenant, Table::Samples, TimeRange::ALL, filter);
        scan.shape = Shape::Distinct(DistinctOf::LabelSets);
        let (sets, _) = operators::label_sets(&Dotted(Arc::new(store)), &scan).unwrap();
        let found: Vec<_> = sets.iter().map(LabelSet::metric_name).collect();
        assert_eq!(found, expect, "{asked} among {stored:?}");
    }

    #[test]
    fn instruments_answer_to_their_own_names() {
        let total = "langfuse_ingestion_events_processed_total";
        check(&[total, "other"], "{\"langfuse.ingestion.events_processed\"}", &[total]);
        let bucket = "langfuse_blob_export_table_duration_ms_milliseconds_bucket";
        check(&[bucket], "{\"langfuse.blob_export.table_duration_ms_bucket\"}", &[bucket]);
        check(&["a_b_seconds"], "{\"a.b\"}", &["a_b_seconds"]);
        check(&["a_b_bytes_per_second"], "{\"a.b\"}", &["a_b_bytes_per_second"]);
    }

    #[test]
    fn names_that_are_stored_and_ordinary_ones_are_left_alone() {
        check(&["a.b", "a_b"], "{\"a.b\"}", &["a.b"]);
        check(&["a_b", "a_b_total"], "{\"a.b\"}", &["a_b"]);
        check(&["a_b_total"], "a_b", &[]);
        check(&["a_b_wrong"], "{\"a.b\"}", &[]);
        check(&["a_b"], "{__name__!=\"a.b\",__name__=~\"a.*\"}", &["a_b"]);
        check(&["a_b", "c"], "{__name__=~\"a[.]b\"}", &[]);
    }
}
