//! Instruments by their own names: `langfuse.ingestion.events_processed` is found though it was stored as
//! `langfuse_ingestion_events_processed_total`.
//!
//! OTLP metrics are stored under translated names unless the settings say otherwise, so a selector with a name that no
//! translated series can have (it has dots) is asked again under the names that the translation makes of it. Only when
//! nothing is stored under the very name: whoever stores untranslated names gets Prometheus's answers to the letter.
//! Labels answer to the names of their attributes alike: `{"http.route"="/"}` is `{http_route="/"}` where no series has a
//! label `http.route` in the range, and so are the label's values. Selectors of ordinary names, and all tables but those of
//! metrics, go through untouched. What comes back bears the stored names. Absent: labels that are grouped or matched by.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kenning_model::{
    BatchId, Block, Compare, Delete, DeleteError, DistinctOf, Expired, Field, Filter, Flow, Literal,
    METRIC_NAME, Retention, Scan, ScanError, ScanSummary, Shape, SnapshotError, Store, Table, Write,
    WriteError,
};
use kenning_query::operators;
use kenning_wire::otlp::{label_translation, translations};

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
        let (mut names, mut labels) = (Vec::new(), Vec::new());
        if matches!(scan.table, Table::Samples | Table::Exemplars) {
            dotted_names(&scan.filter, &mut names);
            dotted_labels(&scan.filter, &mut labels);
            if let Shape::Distinct(DistinctOf::Values(field)) = &scan.shape {
                labels.extend(dotted_label(field).map(Into::into));
            }
        }
        if names.is_empty() && labels.is_empty() {
            return self.0.scan(scan, sink);
        }
        let mut stored = Stored::default();
        for label in labels {
            if let Some(found) = self.stored_label(scan, &label)? {
                stored.labels.insert(label, found);
            }
        }
        for name in names {
            if let Some(found) = self.stored_names(scan, &name)? {
                stored.names.insert(name, found);
            }
        }
        let filter = renamed(&scan.filter, &stored);
        let shape = match &scan.shape {
            Shape::Distinct(DistinctOf::Values(field)) => {
                Shape::Distinct(DistinctOf::Values(stored.field(field)))
            }
            other => other.clone(),
        };
        self.0.scan(&Scan { filter, shape, ..scan.clone() }, sink)
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
        let found = self.values(scan, field(), filter)?;
        if found.is_empty() || found.iter().any(|known| **known == *name) {
            return Ok(None);
        }
        // The plain translation is the instrument's; with a suffix, the others may be other instruments'.
        let plain = candidates.first().and_then(|plain| found.iter().find(|known| ***known == **plain));
        Ok(Some(plain.map_or_else(|| found.clone(), |plain| vec![plain.clone()])))
    }

    /// The name that an attribute has as a label in the range; `None` when its own is there.
    fn stored_label(&self, scan: &Scan, label: &str) -> Result<Option<Box<str>>, ScanError> {
        let field = Field::Label(label.into());
        let own = self.values(scan, field.clone(), Filter::Exists(field))?;
        Ok(own.is_empty().then(|| label_translation(label)).flatten().map(Into::into))
    }

    fn values(&self, scan: &Scan, field: Field, filter: Filter) -> Result<Vec<Box<str>>, ScanError> {
        let (table, shape) = (Table::Samples, Shape::Distinct(DistinctOf::Values(field)));
        let scan = Scan { table, filter, shape, limit: None, ..scan.clone() };
        operators::distinct_texts(&*self.0, &scan).map(|(found, _)| found)
    }
}

/// The names under which the metadata of a metric may be: its own and, of an instrument, the translated ones.
pub(crate) fn names_of(metric: &str) -> Vec<String> {
    let others = if metric.contains('.') { translations(metric) } else { Vec::new() };
    std::iter::once(metric.to_owned()).chain(others).collect()
}

/// Of what was found under [`names_of`] a metric, leaves what the metric is: itself, else its plain translation, else all.
pub(crate) fn only_stored<T>(metric: &str, found: &mut BTreeMap<String, T>) {
    let names = names_of(metric);
    if let Some(best) = names.iter().take(2).find(|name| found.contains_key(*name)) {
        found.retain(|name, _| name == best);
    }
}

/// What stands in the place of dotted names.
#[derive(Default)]
struct Stored {
    names: HashMap<Box<str>, Vec<Box<str>>>,
    labels: HashMap<Box<str>, Box<str>>,
}

impl Stored {
    fn field(&self, field: &Field) -> Field {
        match dotted_label(field).and_then(|label| self.labels.get(label)) {
            Some(label) => Field::Label(label.clone()),
            None => field.clone(),
        }
    }
}

/// Names of labels in a filter that no translated series has.
fn dotted_labels(filter: &Filter, labels: &mut Vec<Box<str>>) {
    match filter {
        Filter::All => {}
        Filter::And(parts) | Filter::Or(parts) => parts.iter().for_each(|part| dotted_labels(part, labels)),
        Filter::Not(part) => dotted_labels(part, labels),
        Filter::Compare(field, ..)
        | Filter::OneOf(field, _)
        | Filter::Matches(field, _)
        | Filter::Contains(field, _)
        | Filter::Number(field, ..)
        | Filter::Exists(field) => {
            let label = dotted_label(field).filter(|label| labels.iter().all(|known| **known != **label));
            labels.extend(label.map(Into::into));
        }
    }
}

/// The label's name, when it holds a dot.
fn dotted_label(field: &Field) -> Option<&str> {
    match field {
        Field::Label(label) if label.contains('.') => Some(label),
        _ => None,
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
fn renamed(filter: &Filter, stored: &Stored) -> Filter {
    let parts = |parts: &[Filter]| parts.iter().map(|part| renamed(part, stored)).collect();
    let field = |field: &Field| stored.field(field);
    match filter {
        Filter::All => Filter::All,
        Filter::And(list) => Filter::And(parts(list)),
        Filter::Or(list) => Filter::Or(parts(list)),
        Filter::Not(part) => Filter::Not(Box::new(under_not(part, stored))),
        Filter::Compare(of, compare, literal) => {
            match dotted_name(filter).and_then(|name| stored.names.get(name)) {
                Some(names) => Filter::OneOf(Field::Label(METRIC_NAME.into()), names.clone()),
                None => Filter::Compare(field(of), *compare, literal.clone()),
            }
        }
        Filter::OneOf(of, texts) => Filter::OneOf(field(of), texts.clone()),
        Filter::Matches(of, pattern) => Filter::Matches(field(of), pattern.clone()),
        Filter::Contains(of, text) => Filter::Contains(field(of), text.clone()),
        Filter::Number(of, compare, number) => Filter::Number(field(of), *compare, *number),
        Filter::Exists(of) => Filter::Exists(field(of)),
    }
}

/// Labels are renamed here too; metrics are not, as what is not an instrument is not its translations either.
fn under_not(filter: &Filter, stored: &Stored) -> Filter {
    renamed(filter, &Stored { names: HashMap::new(), labels: stored.labels.clone() })
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

    /// Values of the series' label `v` that a selector finds among series with one more label each, and the values of that
    /// label under the name asked for.
    fn check_labels(stored: &[(&str, &str)], asked: &str, expect: &[&str], label: &str, values: &[&str]) {
        let mut batch = MetricBatch::default();
        for (n, (label, value)) in stored.iter().enumerate() {
            let pairs = [("__name__", "m"), ("v", &n.to_string()), (*label, *value)];
            let series = batch.add_series(LabelSet::from_pairs(pairs));
            batch.samples.push(Sample { series, time: Millis(1000), value: 1.0 });
        }
        let (store, tenant) = (MemoryStore::default(), TenantId::default_tenant());
        store
            .write(&[Write { id: BatchId(1), tenant: tenant.clone(), batch: Batch::Metrics(batch) }])
            .unwrap();
        let store = Dotted(Arc::new(store));
        let filter = kenning_promql::matchers(asked).unwrap();
        let mut scan = Scan::rows(tenant, Table::Samples, TimeRange::ALL, filter);
        scan.shape = Shape::Distinct(DistinctOf::LabelSets);
        let (sets, _) = operators::label_sets(&store, &scan).unwrap();
        let mut found: Vec<_> = sets.iter().map(|set| set.get("v")).collect();
        found.sort_unstable();
        assert_eq!(found, expect, "{asked} among {stored:?}");
        let shape = Shape::Distinct(DistinctOf::Values(Field::Label(label.into())));
        let scan = Scan { filter: Filter::All, shape, ..scan };
        let (found, _) = operators::distinct_texts(&store, &scan).unwrap();
        assert_eq!(
            found.iter().map(|value| &**value).collect::<Vec<_>>(),
            values,
            "{label} among {stored:?}"
        );
    }

    #[test]
    fn labels_answer_to_the_names_of_their_attributes() {
        let stored = &[("http_route", "/a"), ("http_route", "/b"), ("other", "x")];
        let values = &["/a", "/b"];
        check_labels(stored, r#"m{"http.route"="/a"}"#, &["0"], "http.route", values);
        check_labels(stored, r#"m{"http.route"=~"/.*"}"#, &["0", "1"], "http.route", values);
        check_labels(stored, r#"m{"http.route"!="/a"}"#, &["1", "2"], "http.route", values);
        check_labels(stored, r#"m{"http.route"!~"/.*"}"#, &["2"], "http_route", values);
        check_labels(stored, r#"m{"http.none"="/a"}"#, &[], "http.none", &[]);
        let both = &[("http_route", "/a"), ("http.route", "/b")];
        check_labels(both, r#"m{"http.route"=~"/.*"}"#, &["1"], "http.route", &["/b"]);
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
