//! From a scan to the rows of heads and parts that answer it.

use std::collections::BTreeSet;
use std::sync::Arc;

use kenning_model::{Block, Flow, Scan, ScanError, ScanSummary, Table};

use crate::catalog::Catalog;
use crate::engine::{Engine, Frozen, OpenError};
use crate::heads::TenantHead;
use crate::logs::scan::{LogView, scan_logs};
use crate::metrics::scan::{ExemplarView, SampleView, scan_exemplars, scan_metadata, scan_samples};
use crate::metrics::view::HeadView;
use crate::parts::PartTable;
use crate::scan::work::Work;
use crate::traces::scan::{SpanView, scan_spans};

/// Why a scan does not get to its work.
enum Halt {
    Scan(ScanError),
    Backlog(OpenError),
}

impl From<OpenError> for Halt {
    fn from(error: OpenError) -> Self {
        Self::Backlog(error)
    }
}

/// What a scan works on, taken at one instant.
struct Snapshot<T> {
    catalog: Arc<Catalog>,
    /// What was copied out of the heads, those being flushed first.
    heads: Vec<T>,
}

/// Answers a scan.
pub(crate) fn answer(
    engine: &Engine,
    scan: &Scan,
    sink: &mut dyn FnMut(Block) -> Flow,
) -> Result<ScanSummary, ScanError> {
    let mut work = Work::new(scan);
    work.check()?;
    engine.catch_up_while(|| work.check().map_err(Halt::Scan)).map_err(|halt| match halt {
        Halt::Scan(error) => error,
        Halt::Backlog(error) => {
            ScanError::Failed { detail: format!("older records cannot be read back: {error}") }
        }
    })?;
    match scan.table {
        Table::Samples => {
            let mut snapshot = snapshot(engine, scan, |head| HeadView::new(&head.metrics, &mut work))?;
            snapshot.heads.iter_mut().for_each(HeadView::order_newcomers);
            let view = SampleView {
                samples: select(&snapshot, scan, PartTable::Samples),
                histograms: select(&snapshot, scan, PartTable::Histograms),
                heads: snapshot.heads,
                open: &engine.open_parts,
            };
            scan_samples(view, &mut work, sink)?;
        }
        Table::Exemplars => {
            let snapshot = snapshot(engine, scan, |head| Ok(copy_exemplars(head, scan)))?;
            let parts = select(&snapshot, scan, PartTable::Exemplars);
            scan_exemplars(ExemplarView { parts, heads: snapshot.heads }, &mut work, sink)?;
        }
        Table::Metadata => {
            let snapshot = snapshot(engine, scan, |head| {
                Ok(head.metrics.metadata().keys().cloned().collect::<Vec<_>>())
            })?;
            let parts = snapshot.catalog.parts(&scan.tenant, PartTable::Metadata);
            let known: BTreeSet<_> = snapshot.heads.into_iter().flatten().collect();
            scan_metadata(parts, known, &mut work, sink)?;
        }
        Table::Logs => {
            let snapshot = snapshot(engine, scan, |head| Ok(head.logs.select(scan.time)))?;
            let parts = select(&snapshot, scan, PartTable::Logs);
            scan_logs(LogView { open: &engine.open_parts, parts, heads: snapshot.heads }, &mut work, sink)?;
        }
        Table::Spans => {
            let snapshot = snapshot(engine, scan, |head| Ok(head.spans.select(scan.time)))?;
            let parts = select(&snapshot, scan, PartTable::Spans);
            scan_spans(SpanView { parts, heads: snapshot.heads }, &mut work, sink)?;
        }
    }
    Ok(work.summary)
}

/// Takes parts and active heads under one lock, so that no row is seen twice or not at all while a flush ends.
fn snapshot<T>(
    engine: &Engine,
    scan: &Scan,
    mut copy: impl FnMut(&TenantHead) -> Result<T, ScanError>,
) -> Result<Snapshot<T>, ScanError> {
    let state = engine.read_state();
    let active = state.active.tenant(&scan.tenant).map(&mut copy).transpose()?;
    let frozen: Vec<Arc<Frozen>> = state.frozen.iter().cloned().collect();
    let catalog = Arc::clone(&state.catalog);
    drop(state);
    let frozen = frozen.iter().filter_map(|frozen| frozen.heads.tenant(&scan.tenant));
    let mut heads = frozen.map(copy).collect::<Result<Vec<_>, _>>()?;
    heads.extend(active);
    Ok(Snapshot { catalog, heads })
}

fn select<T>(snapshot: &Snapshot<T>, scan: &Scan, table: PartTable) -> Vec<Arc<crate::parts::part::Part>> {
    snapshot.catalog.select(&scan.tenant, table, scan.time)
}

fn copy_exemplars(head: &TenantHead, scan: &Scan) -> Vec<(kenning_model::LabelSet, kenning_model::Exemplar)> {
    let all = head.metrics.exemplars().iter();
    all.filter(|(labels, exemplar)| {
        scan.time.contains(exemplar.time.to_nanos()) && scan.filter.matches(labels)
    })
    .cloned()
    .collect()
}
