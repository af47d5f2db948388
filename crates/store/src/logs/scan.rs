//! The scan of log records over heads and parts.

use std::sync::Arc;

use kenning_model::{
    Agg, Block, DistinctOf, Field, Flow, Group, LabelSet, LogBatch, LogRow, Nanos, Order, Scan, ScanError,
    Severity, Shape, SpanId, TraceId,
};

use super::head::LogRun;
use super::part::{Wanted, read};
use crate::parts::part::Part;
use crate::scan::distinct::{Sets, Texts};
use crate::scan::group::Groups;
use crate::scan::prune::{looks_at, may_match, required_traces};
use crate::scan::top::{Place, Top};
use crate::scan::work::Work;
use crate::scan::{BLOCK_LEN_MAX, ENTRY_BYTES};

/// What a scan of logs looks at: parts in any order, then the runs of the heads, oldest head first.
pub(crate) struct LogView {
    pub(crate) parts: Vec<Arc<Part>>,
    pub(crate) heads: Vec<Vec<LogRun>>,
}

/// A record on its way into an answer.
struct Kept {
    stream: LabelSet,
    time: Nanos,
    severity: Severity,
    trace_id: TraceId,
    span_id: SpanId,
    line: Box<str>,
    metadata: LabelSet,
}

/// What becomes of the records that pass.
enum Collector<'a> {
    Rows(Top<Kept>),
    Groups(Groups<'a>),
    Streams(Sets, &'a DistinctOf),
    Values(Texts, &'a Field),
}

impl<'a> Collector<'a> {
    fn new(scan: &'a Scan) -> Self {
        match &scan.shape {
            Shape::Group(group) => Self::Groups(Groups::new(group)),
            Shape::Distinct(DistinctOf::Values(field)) => Self::Values(Texts::default(), field),
            Shape::Distinct(of) => Self::Streams(Sets::default(), of),
            Shape::Rows | Shape::Grid { .. } => Self::Rows(Top::new(scan.order, scan.limit)),
        }
    }

    fn add(&mut self, row: &LogRow<'_>, place: Place, work: &mut Work<'_>) -> Result<(), ScanError> {
        match self {
            Self::Rows(top) if top.excludes(&place) => Ok(()),
            Self::Rows(top) => {
                let bytes = ENTRY_BYTES + size_of::<Kept>() + row.line.len() + row.metadata.heap_bytes();
                top.add(place, bytes, Kept::of(row), work)
            }
            Self::Groups(groups) => groups.add(row.time, row.line.len(), row, work),
            Self::Streams(sets, _) => sets.add(row.stream, work),
            Self::Values(texts, field) => texts.add_values(row, field, work),
        }
    }

    fn excludes(&self, part: &Part) -> bool {
        matches!(self, Self::Rows(top) if top.excludes_range(part.info.time))
    }
}

impl Kept {
    fn of(row: &LogRow<'_>) -> Self {
        Self {
            stream: row.stream.clone(),
            time: row.time,
            severity: row.severity,
            trace_id: row.trace_id,
            span_id: row.span_id,
            line: row.line.into(),
            metadata: row.metadata.clone(),
        }
    }

    fn row(&self) -> LogRow<'_> {
        LogRow {
            stream: &self.stream,
            time: self.time,
            severity: self.severity,
            trace_id: self.trace_id,
            span_id: self.span_id,
            line: &self.line,
            metadata: &self.metadata,
        }
    }
}

/// Answers a scan of logs.
pub(crate) fn scan_logs(
    mut view: LogView,
    work: &mut Work<'_>,
    sink: &mut dyn FnMut(Block) -> Flow,
) -> Result<(), ScanError> {
    let scan = work.scan;
    let mut collector = Collector::new(scan);
    // Heads first: they need no reading, and when the newest rows are wanted they often make parts superfluous.
    let newest = view.parts.iter().map(|part| part.info.name.order).max().unwrap_or(0);
    let heads = view.heads.iter().zip(1u64..);
    for (runs, head) in heads {
        for run in runs {
            work.check()?;
            add_rows(&run.batch, |row| run.first + row as u64, newest + head, &mut collector, work)?;
        }
    }
    match scan.order {
        Order::OldestFirst => view.parts.sort_by_key(|part| part.info.time.start),
        Order::NewestFirst => view.parts.sort_by_key(|part| std::cmp::Reverse(part.info.time.end)),
    }
    for part in &view.parts {
        if !collector.excludes(part) {
            scan_part(part, &mut collector, work)?;
        }
    }
    finish(collector, work, sink)
}

fn scan_part(part: &Arc<Part>, collector: &mut Collector<'_>, work: &mut Work<'_>) -> Result<(), ScanError> {
    let scan = work.scan;
    let traces = required_traces(&scan.filter);
    let wanted = Wanted {
        range: scan.time,
        stream: &|labels| may_match(&scan.filter, labels),
        traces: traces.as_deref(),
        lines: needs_lines(scan),
    };
    work.read_part(part, |work, reader| {
        for index in 0..reader.groups() {
            work.check()?;
            let group = reader.group(index)?;
            let space = group.decompressed_bytes().saturating_mul(2);
            work.charge(space)?;
            let (batch, arrivals) = read(&group, &wanted)?;
            let arrival = |row: usize| arrivals.get(row).copied().unwrap_or(0);
            add_rows(&batch, arrival, part.info.name.order, collector, work)?;
            work.refund(space);
        }
        Ok(())
    })
}

fn needs_lines(scan: &Scan) -> bool {
    let is_line = |field: &Field| *field == Field::Line;
    let by_shape = match &scan.shape {
        Shape::Rows | Shape::Grid { .. } => true,
        Shape::Distinct(DistinctOf::Values(field)) => is_line(field),
        Shape::Distinct(_) => false,
        Shape::Group(Group { by, aggs, .. }) => {
            by.iter().any(is_line)
                || aggs.iter().any(|agg| match agg {
                    Agg::Count => false,
                    Agg::LineBytes => true,
                    Agg::Sum(field) | Agg::Min(field) | Agg::Max(field) => is_line(field),
                })
        }
    };
    by_shape || looks_at(&scan.filter, &is_line)
}

fn add_rows(
    batch: &LogBatch,
    arrival: impl Fn(usize) -> u64,
    order: u64,
    collector: &mut Collector<'_>,
    work: &mut Work<'_>,
) -> Result<(), ScanError> {
    let scan = work.scan;
    let wanted: Vec<bool> = batch.streams.iter().map(|labels| may_match(&scan.filter, labels)).collect();
    work.summary.rows += batch.len() as u64;
    for (at, (stream, time)) in batch.stream.iter().zip(&batch.time).enumerate() {
        if !scan.time.contains(*time) || wanted.get(*stream as usize) != Some(&true) {
            continue;
        }
        if let Some(row) = batch.row(at)
            && scan.filter.matches(&row)
        {
            collector.add(&row, (row.time, order, arrival(at)), work)?;
        }
    }
    Ok(())
}

fn finish(
    collector: Collector<'_>,
    work: &mut Work<'_>,
    sink: &mut dyn FnMut(Block) -> Flow,
) -> Result<(), ScanError> {
    let limit = work.scan.limit;
    match collector {
        Collector::Rows(top) => emit_rows(&top.finish(), work, sink),
        Collector::Groups(groups) => work.emit(groups.finish(), None, Block::Groups, sink),
        Collector::Values(texts, _) => work.emit(texts.finish(), limit, Block::Texts, sink),
        Collector::Streams(sets, DistinctOf::LabelSets) => {
            work.emit(sets.finish(), limit, Block::LabelSets, sink)
        }
        Collector::Streams(sets, _) => {
            let mut names = Texts::default();
            for set in sets.finish() {
                set.iter().try_for_each(|(name, _)| names.add(name, work))?;
            }
            work.emit(names.finish(), limit, Block::Texts, sink)
        }
    }
}

fn emit_rows(rows: &[Kept], work: &Work<'_>, sink: &mut dyn FnMut(Block) -> Flow) -> Result<(), ScanError> {
    for rows in rows.chunks(BLOCK_LEN_MAX) {
        work.check()?;
        let mut batch = LogBatch::default();
        let mut streams = std::collections::HashMap::new();
        for row in rows {
            let next = batch.streams.len() as u32;
            let stream = *streams.entry(&row.stream).or_insert(next);
            if stream == next {
                batch.add_stream(row.stream.clone());
            }
            batch.push(stream, row.row());
        }
        if sink(Block::Logs(batch)) == Flow::Stop {
            break;
        }
    }
    Ok(())
}
