//! The scan of log records over heads and parts.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use super::aggregate::{self, NumberCounts, Numbers};
use super::group::{LogGroup, Parts, PickSpace, Rows};
use super::head::LogRun;
use super::part::{Wanted, read};
use super::recent;
use super::streams::Passing;
use crate::parts::PartError;
use crate::parts::cache::{Opened, PartCache};
use crate::parts::part::Part;
use crate::scan::distinct::{Sets, Texts};
use crate::scan::group::Groups;
use crate::scan::prune::{looks_at, may_match, required_traces};
use crate::scan::top::{Place, Top};
use crate::scan::work::Work;
use crate::scan::{BLOCK_LEN_MAX, ENTRY_BYTES};
use kenning_model::{
    Agg, Block, DistinctOf, Field, Flow, Group, LabelSet, LogBatch, LogRow, Nanos, Order, Record, Scan,
    ScanError, ScanSummary, Severity, Shape, SpanId, TimeRange, TraceId,
};

/// What a scan of logs looks at: parts in any order, then the runs of the heads, oldest head first.
pub(crate) struct LogView<'a> {
    pub(crate) open: &'a PartCache,
    pub(crate) parts: Vec<Arc<Part>>,
    pub(crate) heads: Vec<Vec<LogRun>>,
}

/// A record on its way into an answer.
pub(super) struct Kept {
    stream: LabelSet,
    time: Nanos,
    severity: Severity,
    trace_id: TraceId,
    span_id: SpanId,
    line: Box<str>,
    metadata: LabelSet,
}

/// A record that may be in an answer.
pub(super) enum Pick {
    Here(Box<Kept>),
    /// In a part; read only once it is known to be in the answer.
    There(Spot),
}

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    /// The id of the part.
    part: u64,
    group: usize,
    row: usize,
    time: Nanos,
}

/// A row group on its way through a scan.
#[derive(Clone, Copy)]
struct At {
    part: u64,
    /// The part's order.
    order: u64,
    group: usize,
}

/// What becomes of the records that pass.
pub(super) enum Collector<'a> {
    Rows(Top<Pick>),
    Groups(Groups<'a>, NumberCounts, &'a Group),
    Numbers(Numbers, &'a [Field], &'a Field),
    Streams(Sets, &'a DistinctOf),
    Values(Texts, &'a Field),
}

impl<'a> Collector<'a> {
    fn new(scan: &'a Scan) -> Self {
        match &scan.shape {
            Shape::Group(group) => Self::Groups(Groups::new(group), NumberCounts::default(), group),
            Shape::Numbers { by, of, is_timed } => Self::Numbers(Numbers::new(*is_timed), by, of),
            Shape::Distinct(DistinctOf::Values(field)) => Self::Values(Texts::default(), field),
            Shape::Distinct(of) => Self::Streams(Sets::default(), of),
            Shape::Rows | Shape::Columns | Shape::Grid { .. } => Self::Rows(Top::new(scan.order, scan.limit)),
        }
    }

    /// Adds a row; `record` is the same row for those who look at its fields.
    pub(super) fn add(
        &mut self,
        row: &LogRow<'_>,
        record: &impl Record,
        place: Place,
        work: &mut Work<'_>,
    ) -> Result<(), ScanError> {
        match self {
            Self::Rows(top) if top.excludes(&place) => Ok(()),
            Self::Rows(top) => {
                let bytes = ENTRY_BYTES + size_of::<Kept>() + row.line.len() + row.metadata.heap_bytes();
                top.add(place, bytes, Pick::Here(Box::new(Kept::of(row))), work)
            }
            Self::Groups(groups, ..) => groups.add(row.time, row.line.len(), record, work),
            Self::Numbers(numbers, by, of) => numbers.add(by, of, row.time, record, work),
            Self::Streams(sets, _) => sets.add(row.stream, work),
            Self::Values(texts, field) => texts.add_values(record, field, work),
        }
    }

    /// True when no row stamped in this range would be in the answer.
    fn excludes(&self, range: TimeRange) -> bool {
        matches!(self, Self::Rows(top) if top.excludes_range(range))
    }

    /// The part of a range that rows of the answer can still be in.
    fn narrowed(&self, range: TimeRange) -> TimeRange {
        match self {
            Self::Rows(top) => top.narrowed(range),
            _ => range,
        }
    }

    /// Takes over what another worker collected.
    fn join(&mut self, other: Self, work: &mut Work<'_>) -> Result<(), ScanError> {
        match (self, other) {
            (Self::Rows(own), Self::Rows(other)) => own.join(other, work),
            (Self::Groups(own, counts, _), Self::Groups(other, more, _)) => {
                own.join(other);
                counts.join(more, work);
            }
            (Self::Numbers(own, ..), Self::Numbers(other, ..)) => own.join(other, work)?,
            (Self::Streams(own, _), Self::Streams(other, _)) => own.join(other),
            (Self::Values(own, _), Self::Values(other, _)) => own.join(other),
            // Collectors of one scan are of one kind.
            _ => {}
        }
        Ok(())
    }

    /// What of a row it looks at, when it looks at rows.
    fn parts(&self) -> Parts {
        let of = |fields: &[Field]| fields.iter().map(Parts::of).fold(Parts::default(), Parts::and);
        match self {
            Self::Rows(_) => Parts::ALL,
            Self::Streams(..) => Parts::default(),
            Self::Values(_, field) => Parts::of(field),
            Self::Numbers(_, by, field) => of(by).and(Parts::of(field)),
            Self::Groups(_, _, group) => {
                let of_agg = |agg: &Agg| match agg {
                    Agg::Count => Parts::default(),
                    Agg::LineBytes => Parts { line: true, ..Parts::default() },
                    Agg::Sum(field) | Agg::Min(field) | Agg::Max(field) => Parts::of(field),
                };
                group.aggs.iter().map(of_agg).fold(of(&group.by), Parts::and)
            }
        }
    }

    /// Adds the rows of a row group that passed.
    fn add_group(
        &mut self,
        group: &mut LogGroup<'_>,
        rows: &Rows,
        at: At,
        work: &mut Work<'_>,
    ) -> Result<(), PartError> {
        match self {
            Self::Groups(groups, numbers, spec) if aggregate::is_countable(spec) => {
                aggregate::count(groups, numbers, spec, group, rows, work)
            }
            Self::Numbers(numbers, by, of) if aggregate::is_gatherable(by) => {
                numbers.add_group(by, of, group, rows, work)
            }
            Self::Rows(top) if work.scan.limit.is_some() => {
                let times = group.times_each(rows)?;
                if group.group.has_ties {
                    group.arrivals(rows)?;
                }
                let place = |(row, time): (usize, Nanos)| ((time, at.order, group.arrival(row)), row);
                for (place, row) in top.best(rows.iter().zip(times).map(place).collect()) {
                    let spot = Spot { part: at.part, group: at.group, row, time: place.0 };
                    top.add(place, ENTRY_BYTES + size_of::<Pick>(), Pick::There(spot), work)?;
                }
                Ok(())
            }
            _ => self.add_each(group, rows, at.order, work),
        }
    }

    fn add_each(
        &mut self,
        group: &mut LogGroup<'_>,
        rows: &Rows,
        order: u64,
        work: &mut Work<'_>,
    ) -> Result<(), PartError> {
        let parts = self.parts();
        group.times(rows)?;
        group.prepare(rows, parts)?;
        if group.group.has_ties {
            group.arrivals(rows)?;
        }
        let mut line = String::new();
        group.for_each_run(rows, |_, labels, at| {
            let row = group.row(at, labels, parts, &mut line)?;
            let place = (row.time, order, group.arrival(at));
            Ok(self.add(&row, &row, place, work)?)
        })
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
    mut view: LogView<'_>,
    work: &mut Work<'_>,
    sink: &mut dyn FnMut(Block) -> Flow,
) -> Result<(), ScanError> {
    let scan = work.scan;
    let mut collector = Collector::new(scan);
    // Heads first: they need no reading, and when the newest rows are wanted they often make parts superfluous.
    let newest = view.parts.iter().map(|part| part.info.name.order).max().unwrap_or(0);
    let heads = view.heads.iter().zip(1u64..);
    let filter = Arc::new(scan.filter.clone());
    for (runs, head) in heads {
        let mut runs: Vec<&LogRun> = runs.iter().collect();
        if scan.order == Order::NewestFirst {
            runs.reverse();
        }
        for run in runs.into_iter().filter(|run| run.range.overlaps(scan.time)) {
            work.check()?;
            if !collector.excludes(run.range) {
                let arrival = |row: usize| run.first + row as u64;
                let from = (&*run.batch, Some((run, &filter)), newest + head);
                recent::add_rows(from, arrival, &mut collector, work)?;
            }
        }
    }
    match scan.order {
        Order::OldestFirst => view.parts.sort_by_key(|part| part.info.time.start),
        Order::NewestFirst => view.parts.sort_by_key(|part| std::cmp::Reverse(part.info.time.end)),
    }
    scan_parts(&view.parts, view.open, &mut collector, work)?;
    finish(collector, &view, work, sink)
}

/// Most threads of one scan.
const WORKERS_MAX: usize = 4;
/// Rows for each of which a further thread is worth starting.
const WORKER_ROWS: u64 = 256 << 10;

/// Cores that this process may use; asking anew takes longer than many a scan.
static CORES: LazyLock<usize> =
    LazyLock::new(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));

/// Scans parts, many of them on several threads.
fn scan_parts<'a>(
    parts: &[Arc<Part>],
    open: &PartCache,
    collector: &mut Collector<'a>,
    work: &mut Work<'a>,
) -> Result<(), ScanError> {
    let rows: u64 = parts.iter().map(|part| part.info.rows).sum();
    let workers = CORES.min(WORKERS_MAX).min(parts.len()).min((rows / WORKER_ROWS) as usize);
    if workers < 2 {
        return parts.iter().try_for_each(|part| {
            if collector.excludes(part.info.time) { Ok(()) } else { scan_part(part, open, collector, work) }
        });
    }
    let next = AtomicUsize::new(0);
    let shared: &Work<'a> = work;
    let done = std::thread::scope(|scope| {
        let handles: Vec<_> =
            (1..workers).map(|_| scope.spawn(|| scan_next(parts, open, &next, shared.worker()))).collect();
        let first = scan_next(parts, open, &next, shared.worker());
        let others = handles.into_iter().map(|handle| {
            let lost = || ScanError::Failed { detail: "a thread of the scan ended in a panic".to_owned() };
            handle.join().unwrap_or_else(|_| Err(lost()))
        });
        std::iter::once(first).chain(others).collect::<Vec<_>>()
    });
    for result in done {
        let (other, summary) = result?;
        work.join(summary);
        collector.join(other, work)?;
    }
    Ok(())
}

/// One worker: takes parts until none is left.
fn scan_next<'a>(
    parts: &[Arc<Part>],
    open: &PartCache,
    next: &AtomicUsize,
    mut work: Work<'a>,
) -> Result<(Collector<'a>, ScanSummary), ScanError> {
    let mut own = Collector::new(work.scan);
    while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
        if !own.excludes(part.info.time) {
            scan_part(part, open, &mut own, &mut work)?;
        }
    }
    Ok((own, work.summary))
}

fn scan_part(
    part: &Arc<Part>,
    cache: &PartCache,
    collector: &mut Collector<'_>,
    work: &mut Work<'_>,
) -> Result<(), ScanError> {
    let name = &part.info.name;
    work.read_open(part, cache, |work, open| match open.log_index()? {
        Some(index) => {
            let streams = open.streams();
            let wanted = streams.may_match(&work.scan.filter, &index);
            if wanted.common() == Some(false) {
                return Ok(());
            }
            let mut order: Vec<usize> = (0..index.groups.len()).collect();
            if work.scan.order == Order::NewestFirst {
                order.reverse();
            }
            for at in order {
                work.check()?;
                let Some(group) = index.groups.get(at) else { continue };
                if !group.time.overlaps(work.scan.time) || collector.excludes(group.time) {
                    continue;
                }
                let mut group = LogGroup::new(open.group(at)?, &index, group, streams.clone())?;
                let at = At { part: name.id, order: name.order, group: at };
                scan_group(&mut group, &wanted, at, collector, work)?;
            }
            Ok(())
        }
        None => scan_whole_lines(open, name.order, collector, work),
    })
}

fn scan_group(
    group: &mut LogGroup<'_>,
    wanted: &Passing,
    at: At,
    collector: &mut Collector<'_>,
    work: &mut Work<'_>,
) -> Result<(), PartError> {
    let scan = work.scan;
    if let Collector::Groups(groups, _, spec) = collector
        && aggregate::count_by_index(groups, spec, group, work)?
    {
        return Ok(());
    }
    let candidates = group.in_range(collector.narrowed(scan.time), wanted)?;
    if candidates.is_empty() {
        return Ok(());
    }
    work.summary.rows += candidates.len() as u64;
    let rows = group.passing(&scan.filter, &candidates)?;
    let held = group.heap_bytes();
    work.charge(held)?;
    if !rows.is_empty() {
        collector.add_group(group, &rows, at, work)?;
    }
    work.refund(held);
    Ok(())
}

/// Reads the records of an answer that were left in their parts. Those of a part that cannot be read are missing.
fn fetch(
    picks: Vec<Pick>,
    parts: &[Arc<Part>],
    cache: &PartCache,
    work: &mut Work<'_>,
) -> Result<Vec<Kept>, ScanError> {
    let mut kept: Vec<Option<Kept>> = Vec::with_capacity(picks.len());
    let mut spots: Vec<(Spot, usize)> = Vec::new();
    for (pick, place) in picks.into_iter().zip(0..) {
        kept.push(match pick {
            Pick::Here(own) => Some(*own),
            Pick::There(spot) => {
                spots.push((spot, place));
                None
            }
        });
    }
    spots.sort_unstable();
    for of_part in spots.chunk_by(|(a, _), (b, _)| a.part == b.part) {
        let id = of_part.first().map(|(spot, _)| spot.part);
        let Some(part) = parts.iter().find(|part| Some(part.info.name.id) == id) else { continue };
        work.read_open(part, cache, |work, open| {
            let Some(index) = open.log_index()? else { return Ok(()) };
            for of_group in of_part.chunk_by(|(a, _), (b, _)| a.group == b.group) {
                work.check()?;
                let at = of_group.first().map_or(0, |(spot, _)| spot.group);
                let Some(group) = index.groups.get(at) else { continue };
                let group = LogGroup::new(open.group(at)?, &index, group, open.streams().clone())?;
                fetch_group(group, of_group, &mut kept, work)?;
            }
            Ok(())
        })?;
    }
    Ok(kept.into_iter().flatten().collect())
}

/// Reads the records of one row group; `spots` are in the order of rows.
fn fetch_group(
    mut group: LogGroup<'_>,
    spots: &[(Spot, usize)],
    kept: &mut [Option<Kept>],
    work: &mut Work<'_>,
) -> Result<(), PartError> {
    let mut rows = Rows::none(group.rows);
    spots.iter().for_each(|(spot, _)| rows.insert(spot.row));
    let is_picked = rows.are_few();
    if is_picked {
        group.prepare_pick(&rows)?;
    } else {
        group.times(&rows)?;
        group.prepare(&rows, Parts::ALL)?;
    }
    let held = group.heap_bytes();
    work.charge(held)?;
    let (mut line, mut space, mut places) = (String::new(), PickSpace::default(), spots.iter());
    group.for_each_run(&rows, |_, labels, at| {
        let Some((spot, place)) = places.next() else { return Ok(()) };
        let row = Kept::of(&match is_picked {
            true => group.pick((at, spot.time), labels, &mut space)?,
            false => group.row(at, labels, Parts::ALL, &mut line)?,
        });
        work.charge(ENTRY_BYTES + size_of::<Kept>() + row.line.len() + row.metadata.heap_bytes())?;
        if let Some(slot) = kept.get_mut(*place) {
            *slot = Some(row);
        }
        Ok(())
    })?;
    work.refund(held);
    Ok(())
}

/// Scans a part of version 1.
fn scan_whole_lines(
    open: &Opened,
    order: u64,
    collector: &mut Collector<'_>,
    work: &mut Work<'_>,
) -> Result<(), PartError> {
    let scan = work.scan;
    let traces = required_traces(&scan.filter);
    let wanted = Wanted {
        range: scan.time,
        stream: &|labels| may_match(&scan.filter, labels),
        traces: traces.as_deref(),
        lines: needs_lines(scan),
    };
    for index in 0..open.groups() {
        work.check()?;
        let group = open.group(index)?;
        let space = group.decompressed_bytes().saturating_mul(2);
        work.charge(space)?;
        let (batch, arrivals) = read(&group, &wanted)?;
        let arrival = |row: usize| arrivals.get(row).copied().unwrap_or(0);
        recent::add_rows((&batch, None, order), arrival, collector, work)?;
        work.refund(space);
    }
    Ok(())
}

fn needs_lines(scan: &Scan) -> bool {
    let is_line = |field: &Field| matches!(field, Field::Line | Field::Parsed(..) | Field::Plain(_));
    let by_shape = match &scan.shape {
        Shape::Rows | Shape::Columns | Shape::Grid { .. } => true,
        Shape::Numbers { by, of, .. } => is_line(of) || by.iter().any(is_line),
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

fn finish(
    collector: Collector<'_>,
    view: &LogView<'_>,
    work: &mut Work<'_>,
    sink: &mut dyn FnMut(Block) -> Flow,
) -> Result<(), ScanError> {
    let limit = work.scan.limit;
    match collector {
        Collector::Rows(top) => emit_rows(&fetch(top.finish(), &view.parts, view.open, work)?, work, sink),
        Collector::Groups(mut groups, numbers, spec) => {
            numbers.finish(&mut groups, spec, work)?;
            work.emit(groups.finish(), None, Block::Groups, sink)
        }
        Collector::Numbers(numbers, ..) => work.emit(numbers.finish(), None, Block::Numbers, sink),
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
