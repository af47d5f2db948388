//! From heads to parts: one part per tenant, table and time partition.

use std::collections::BTreeSet;
use std::sync::Arc;

use kenning_model::{Exemplar, LabelSet, TenantId, TimeRange};
use kenning_stdx::vfs::Vfs;

use crate::heads::{Heads, TenantHead};
use crate::logs;
use crate::logs::part::{Arrivals, Source};
use crate::metrics::exemplars;
use crate::metrics::head::MetricHead;
use crate::metrics::histograms::HistogramWriter;
use crate::metrics::metadata::{self, MetadataKey};
use crate::metrics::recent::RecentExemplars;
use crate::metrics::runs::SampleWriter;
use crate::metrics::scan::{sort_exemplars, sort_floats, sort_histograms};
use crate::parts::PartError;
use crate::parts::part::{Draft, Part, Place, write_part};
use crate::parts::partition::{partitions, spanned};
use crate::traces;
use crate::traces::head::SpanRun;

/// What writing parts needs.
pub(crate) struct Output<'a> {
    pub(crate) vfs: &'a Arc<dyn Vfs>,
    /// The next free part id; goes up with every part written.
    pub(crate) next_id: &'a mut u64,
    pub(crate) written: Vec<Arc<Part>>,
    /// Samples found at a time that was taken by another value.
    pub(crate) conflicts: u64,
    /// Metadata that had to go for newer ones.
    pub(crate) dropped_metadata: u64,
}

impl Output<'_> {
    fn put(&mut self, tenant: &TenantId, draft: Option<Draft>) -> Result<(), PartError> {
        let Some(draft) = draft else { return Ok(()) };
        let id = *self.next_id;
        *self.next_id += 1;
        let place = Place { tenant, id, order: id, level: 0 };
        self.written.push(Arc::new(write_part(self.vfs, &place, draft)?));
        Ok(())
    }
}

/// Writes everything but metadata, which are merged with what is known.
pub(crate) fn write_heads(heads: &Heads, output: &mut Output<'_>) -> Result<(), PartError> {
    for (tenant, head) in heads.sorted() {
        write_metrics(tenant, &head.metrics, output)?;
        write_logs(tenant, head, output)?;
        write_spans(tenant, head, output)?;
    }
    Ok(())
}

/// Writes all metadata of a tenant as one part.
pub(crate) fn write_metadata(
    tenant: &TenantId,
    all: &BTreeSet<MetadataKey>,
    output: &mut Output<'_>,
) -> Result<(), PartError> {
    output.put(tenant, Some(metadata::write(all)?))
}

fn write_metrics(tenant: &TenantId, head: &MetricHead, output: &mut Output<'_>) -> Result<(), PartError> {
    let series = head.sorted();
    for range in head_partitions(head) {
        let mut samples = SampleWriter::new()?;
        let mut histograms = HistogramWriter::new()?;
        for series in series.iter().filter(|series| series.may_overlap(range)) {
            let mut floats: Vec<_> = series.floats_in(range).collect();
            output.conflicts += sort_floats(&mut floats);
            samples.push(&series.labels, &floats)?;
            let mut list: Vec<_> = series.histograms_in(range).cloned().collect();
            output.conflicts += sort_histograms(&mut list);
            histograms.push(&series.labels, list)?;
        }
        output.put(tenant, samples.finish()?)?;
        output.put(tenant, histograms.finish()?)?;
    }
    write_exemplars(tenant, head.exemplars(), output)
}

/// The partitions of a head's samples; some may be empty. Times are only looked at one by one when they are spread
/// over so much time that partitions must be wider.
fn head_partitions(head: &MetricHead) -> Vec<TimeRange> {
    let Some(extent) = head.extent() else { return Vec::new() };
    spanned(extent).unwrap_or_else(|| partitions(head.times()))
}

fn write_exemplars(
    tenant: &TenantId,
    all: &RecentExemplars,
    output: &mut Output<'_>,
) -> Result<(), PartError> {
    for range in partitions(all.iter().map(|(_, exemplar)| exemplar.time.to_nanos())) {
        let inside = all.iter().filter(|(_, exemplar)| range.contains(exemplar.time.to_nanos()));
        let mut by_series = std::collections::BTreeMap::<&LabelSet, Vec<Exemplar>>::new();
        for (labels, exemplar) in inside {
            by_series.entry(labels).or_default().push(exemplar.clone());
        }
        by_series.values_mut().for_each(sort_exemplars);
        let rows: Vec<_> =
            by_series.iter().flat_map(|(labels, list)| list.iter().map(move |e| (*labels, e))).collect();
        output.put(tenant, exemplars::write(&rows)?)?;
    }
    Ok(())
}

fn write_logs(tenant: &TenantId, head: &TenantHead, output: &mut Output<'_>) -> Result<(), PartError> {
    for range in partitions(head.logs.times()) {
        let runs = head.logs.runs().iter().filter(|run| run.range.overlaps(range));
        let sources = runs.map(|run| Source { batch: &run.batch, arrivals: Arrivals::From(run.first) });
        output.put(tenant, logs::part::write(&sources.collect::<Vec<_>>(), range)?)?;
    }
    Ok(())
}

fn write_spans(tenant: &TenantId, head: &TenantHead, output: &mut Output<'_>) -> Result<(), PartError> {
    for range in partitions(head.spans.times()) {
        let runs = head.spans.runs().iter().filter(|run| run.range.overlaps(range));
        let rows = runs.flat_map(SpanRun::rows);
        let rows = rows.filter(|(row, _)| range.contains(row.span.start)).collect();
        output.put(tenant, traces::part::write(rows)?)?;
    }
    Ok(())
}
