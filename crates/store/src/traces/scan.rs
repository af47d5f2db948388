//! The scan of spans over heads and parts.

use std::collections::HashMap;
use std::sync::Arc;

use kenning_model::{
    Attributes, Block, DistinctOf, Field, Flow, Order, Scan, ScanError, Shape, Span, SpanBatch, SpanRow,
    SpanSource, TraceId,
};

use super::head::SpanRun;
use super::part::read;
use crate::parts::part::Part;
use crate::scan::distinct::Texts;
use crate::scan::group::Groups;
use crate::scan::prune::required_traces;
use crate::scan::top::{Place, Top};
use crate::scan::work::Work;
use crate::scan::{BLOCK_LEN_MAX, ENTRY_BYTES};

/// What a scan of spans looks at: parts in any order, then the runs of the heads, oldest head first.
pub(crate) struct SpanView {
    pub(crate) parts: Vec<Arc<Part>>,
    pub(crate) heads: Vec<Vec<SpanRun>>,
}

/// What becomes of the spans that pass.
enum Collector<'a> {
    Rows(Top<(Span, Arc<SpanSource>)>),
    Groups(Groups<'a>),
    Names(Texts),
    Values(Texts, &'a Field),
    /// Spans have no label sets.
    Nothing,
}

impl<'a> Collector<'a> {
    fn new(scan: &'a Scan) -> Self {
        match &scan.shape {
            Shape::Group(group) => Self::Groups(Groups::new(group)),
            Shape::Distinct(DistinctOf::Values(field)) => Self::Values(Texts::default(), field),
            Shape::Distinct(DistinctOf::Names) => Self::Names(Texts::default()),
            Shape::Distinct(DistinctOf::LabelSets) => Self::Nothing,
            Shape::Rows | Shape::Columns | Shape::Grid { .. } | Shape::Numbers { .. } => {
                Self::Rows(Top::new(scan.order, scan.limit))
            }
        }
    }

    fn add(
        &mut self,
        span: &Span,
        source: &Arc<SpanSource>,
        place: Place,
        work: &mut Work<'_>,
    ) -> Result<(), ScanError> {
        let row = SpanRow { span, source };
        match self {
            Self::Rows(top) if top.excludes(&place) => Ok(()),
            Self::Rows(top) => {
                let kept = (span.clone(), Arc::clone(source));
                top.add(place, ENTRY_BYTES + span.heap_bytes(), kept, work)
            }
            Self::Groups(groups) => groups.add(span.start, 0, &row, work),
            Self::Names(texts) => add_names(texts, &row, work),
            Self::Values(texts, field) => texts.add_values(&row, field, work),
            Self::Nothing => Ok(()),
        }
    }

    fn excludes(&self, part: &Part) -> bool {
        match self {
            Self::Rows(top) => top.excludes_range(part.info.time),
            Self::Nothing => true,
            _ => false,
        }
    }
}

fn add_names(texts: &mut Texts, row: &SpanRow<'_>, work: &mut Work<'_>) -> Result<(), ScanError> {
    texts.add("service.name", work)?;
    let of_span: [&Attributes; 3] = [&row.source.resource, &row.source.scope, &row.span.attributes];
    let of_events = row.span.events.iter().map(|event| &event.attributes);
    for attributes in of_span.into_iter().chain(of_events) {
        attributes.iter().try_for_each(|(name, _)| texts.add(name, work))?;
    }
    Ok(())
}

/// Answers a scan of spans.
pub(crate) fn scan_spans(
    mut view: SpanView,
    work: &mut Work<'_>,
    sink: &mut dyn FnMut(Block) -> Flow,
) -> Result<(), ScanError> {
    let scan = work.scan;
    let mut collector = Collector::new(scan);
    let traces = required_traces(&scan.filter);
    let newest = view.parts.iter().map(|part| part.info.name.order).max().unwrap_or(0);
    for (runs, head) in view.heads.iter().zip(1u64..) {
        for run in runs {
            work.check()?;
            let arrival = |row: usize| run.first + row as u64;
            add_rows(&run.batch, traces.as_deref(), arrival, newest + head, &mut collector, work)?;
        }
    }
    match scan.order {
        Order::OldestFirst => view.parts.sort_by_key(|part| part.info.time.start),
        Order::NewestFirst => view.parts.sort_by_key(|part| std::cmp::Reverse(part.info.time.end)),
    }
    for part in &view.parts {
        if collector.excludes(part) {
            continue;
        }
        work.read_part(part, |work, reader| {
            for index in 0..reader.groups() {
                work.check()?;
                let group = reader.group(index)?;
                let space = group.decompressed_bytes().saturating_mul(2);
                work.charge(space)?;
                let (batch, arrivals) = read(&group, scan.time, traces.as_deref())?;
                let arrival = |row: usize| arrivals.get(row).copied().unwrap_or(0);
                add_rows(&batch, None, arrival, part.info.name.order, &mut collector, work)?;
                work.refund(space);
            }
            Ok(())
        })?;
    }
    finish(collector, work, sink)
}

/// Hands over the rows that pass. A look-up by id compares ids as bytes first: the filter would print each one.
fn add_rows(
    batch: &SpanBatch,
    traces: Option<&[TraceId]>,
    arrival: impl Fn(usize) -> u64,
    order: u64,
    collector: &mut Collector<'_>,
    work: &mut Work<'_>,
) -> Result<(), ScanError> {
    let scan = work.scan;
    work.summary.rows += batch.len() as u64;
    for (at, span) in batch.spans.iter().enumerate() {
        if let Some(source) = batch.source_of(span)
            && scan.time.contains(span.start)
            && traces.is_none_or(|wanted| wanted.contains(&span.trace_id))
            && scan.filter.matches(&SpanRow { span, source })
        {
            collector.add(span, source, (span.start, order, arrival(at)), work)?;
        }
    }
    Ok(())
}

fn finish(
    collector: Collector<'_>,
    work: &Work<'_>,
    sink: &mut dyn FnMut(Block) -> Flow,
) -> Result<(), ScanError> {
    match collector {
        Collector::Rows(top) => emit_rows(top.finish(), work, sink),
        Collector::Groups(groups) => work.emit(groups.finish(), None, Block::Groups, sink),
        Collector::Names(texts) | Collector::Values(texts, _) => {
            work.emit(texts.finish(), work.scan.limit, Block::Texts, sink)
        }
        Collector::Nothing => Ok(()),
    }
}

fn emit_rows(
    rows: Vec<(Span, Arc<SpanSource>)>,
    work: &Work<'_>,
    sink: &mut dyn FnMut(Block) -> Flow,
) -> Result<(), ScanError> {
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        work.check()?;
        let mut batch = SpanBatch::default();
        let mut sources: HashMap<Arc<SpanSource>, u32> = HashMap::new();
        for (span, source) in rows.by_ref().take(BLOCK_LEN_MAX) {
            let next = batch.sources.len() as u32;
            let number = *sources.entry(Arc::clone(&source)).or_insert(next);
            if number == next {
                batch.add_source(source);
            }
            batch.spans.push(Span { source: number, ..span });
        }
        if sink(Block::Spans(batch)) == Flow::Stop {
            break;
        }
    }
    Ok(())
}
