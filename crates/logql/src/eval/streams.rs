//! Log queries: lines through the pipeline, grouped by what labels they end up with.

use std::borrow::Cow;
use std::collections::HashMap;

use kenning_model::{Block, Filter, Flow, LabelSet, LogRow, Nanos, Order, Scan, Store, Table, TimeRange};
use kenning_query::{QueryContext, QueryError};

use super::parsed::Split;
use super::scan::{LEVEL, SPAN_ID, TRACE_ID, push_down};
use super::{RangeParams, Usage};
use crate::answer::{Answer, Entry, Stream, Value};
use crate::pipeline::{Category, Clock, LineLabels, Pipeline};
use crate::syntax::ast::LogExpr;

/// Answers a log query.
pub(super) fn evaluate(
    store: &dyn Store,
    ctx: &QueryContext,
    log: &LogExpr,
    params: &RangeParams,
) -> Result<Answer, QueryError> {
    let pipeline = Pipeline::new(&log.stages).map_err(|diagnostic| QueryError::Invalid(vec![diagnostic]))?;
    let pushed = push_down(log);
    let is_exact = pushed.is_exact && params.interval_ns == 0;
    let filter = match Split::new(log, None).filter(|_| !pushed.is_exact) {
        // The store drops plain lines that a stage behind a parser drops.
        Some(split) => Filter::Or(vec![split.plain, split.rest]),
        None => pushed.filter,
    };
    let time = TimeRange { start: params.start, end: Nanos(params.end.0.saturating_sub(1)) };
    let mut scan = Scan::rows(ctx.tenant.clone(), Table::Logs, time, filter);
    scan.order = if params.forward { Order::OldestFirst } else { Order::NewestFirst };
    scan.bytes_max = ctx.limits.memory_bytes_max;
    scan.cancel = ctx.cancel.clone();
    let mut collector = Collector {
        pipeline,
        now: params.end,
        limit: params.limit,
        apart_ns: params.interval_ns,
        ..Collector::new(ctx)
    };
    let missing = if is_exact {
        scan.limit = Some(params.limit);
        collector.scan(store, &scan)?
    } else {
        collector.scan_by_pages(store, scan)?
    };
    Ok(collector.answer(missing))
}

/// Rows of the first page of a scan whose filter lets lines through that the pipeline drops.
const PAGE_FIRST: usize = 1024;
/// Pages grow so much, as most lines seem to be dropped ...
const PAGE_GROWTH: usize = 4;
/// ... up to this, unless more lines than that have one time.
const PAGE_MAX: usize = 64 << 10;

struct Collector<'q> {
    ctx: &'q QueryContext,
    pipeline: Pipeline,
    now: Nanos,
    limit: usize,
    /// Least distance between lines.
    apart_ns: i64,
    last: Option<Nanos>,
    taken: usize,
    usage: Usage,
    /// Streams by stream labels, structured metadata and parsed labels.
    places: HashMap<[LabelSet; 3], usize>,
    streams: Vec<Stream>,
}

impl<'q> Collector<'q> {
    fn new(ctx: &'q QueryContext) -> Self {
        Self {
            ctx,
            pipeline: Pipeline::default(),
            now: Nanos(0),
            limit: 0,
            apart_ns: 0,
            last: None,
            taken: 0,
            usage: Usage::default(),
            places: HashMap::new(),
            streams: Vec::new(),
        }
    }

    /// Runs a scan; gives what it misses.
    fn scan(&mut self, store: &dyn Store, scan: &Scan) -> Result<Vec<String>, QueryError> {
        let mut failure = None;
        let summary = store.scan(scan, &mut |block| match self.take(&block) {
            Ok(flow) => flow,
            Err(error) => {
                failure = Some(error);
                Flow::Stop
            }
        })?;
        if let Some(error) = failure {
            return Err(error);
        }
        self.usage.stats.lines += summary.rows;
        Ok(summary.missing)
    }

    /// Runs a scan page by page until the pipeline has let enough lines through, so that no more is read and held than
    /// that takes. Each page ends between two times.
    fn scan_by_pages(&mut self, store: &dyn Store, mut scan: Scan) -> Result<Vec<String>, QueryError> {
        let mut page = PAGE_FIRST.max(self.limit.saturating_mul(2));
        let mut missing = Vec::new();
        loop {
            scan.limit = Some(page);
            let mut blocks = Vec::new();
            let summary = store.scan(&scan, &mut |block| {
                blocks.push(block);
                Flow::More
            })?;
            self.usage.stats.lines += summary.rows;
            let told = |text: &String| !missing.contains(text);
            let new: Vec<String> = summary.missing.into_iter().filter(told).collect();
            missing.extend(new);
            let times = || blocks.iter().filter_map(times_of).flatten().copied();
            let last = times().last().filter(|_| times().count() >= page);
            if last.is_some() && times().next() == last {
                page = page.saturating_mul(PAGE_GROWTH);
                continue;
            }
            for block in &blocks {
                if self.take_but(block, last)? == Flow::Stop {
                    return Ok(missing);
                }
            }
            let Some(last) = last else { return Ok(missing) };
            match scan.order {
                Order::OldestFirst => scan.time.start = last,
                Order::NewestFirst => scan.time.end = last,
            }
            page = page.saturating_mul(PAGE_GROWTH).min(PAGE_MAX.max(page));
        }
    }

    fn take(&mut self, block: &Block) -> Result<Flow, QueryError> {
        self.take_but(block, None)
    }

    /// Takes the lines of a block but those of one time.
    fn take_but(&mut self, block: &Block, left_out: Option<Nanos>) -> Result<Flow, QueryError> {
        let Block::Logs(batch) = block else { return Ok(Flow::More) };
        for row in batch.rows().filter(|row| Some(row.time) != left_out) {
            if self.taken >= self.limit {
                return Ok(Flow::Stop);
            }
            self.usage.see(row.line.len(), self.ctx)?;
            if self.ctx.cancel.is_raised() {
                return Err(QueryError::Cancelled);
            }
            self.take_row(&row)?;
        }
        Ok(if self.taken >= self.limit { Flow::Stop } else { Flow::More })
    }

    fn take_row(&mut self, row: &LogRow<'_>) -> Result<(), QueryError> {
        let mut labels = line_labels(row, |_| true);
        let clock = Clock { line: row.time, now: self.now };
        let Some(line) = self.pipeline.run(clock, Cow::Borrowed(row.line), &mut labels) else {
            return Ok(());
        };
        let is_apart = |last: Nanos| row.time.0.abs_diff(last.0) >= self.apart_ns.unsigned_abs();
        if !self.last.is_none_or(is_apart) {
            return Ok(());
        }
        self.last = Some(row.time);
        let sets =
            [Category::Stream, Category::Metadata, Category::Parsed].map(|layer| labels.layer_set(layer));
        let [stream, structured_metadata, parsed] = sets.clone();
        self.usage.charge(line.len() + parsed.heap_bytes() + size_of::<Entry>(), self.ctx)?;
        self.taken += 1;
        let place = *self.places.entry(sets).or_insert_with(|| {
            self.streams.push(Stream { labels: stream, entries: Vec::new() });
            self.streams.len() - 1
        });
        let entry = Entry { time: row.time, line: line.into_owned(), structured_metadata, parsed };
        if let Some(stream) = self.streams.get_mut(place) {
            stream.entries.push(entry);
        }
        Ok(())
    }

    fn answer(mut self, missing: Vec<String>) -> Answer {
        self.streams.sort_by_cached_key(Stream::merged);
        Answer { value: Value::Streams(self.streams), warnings: Vec::new(), stats: self.usage.stats, missing }
    }
}

fn times_of(block: &Block) -> Option<&Vec<Nanos>> {
    match block {
        Block::Logs(batch) => Some(&batch.time),
        _ => None,
    }
}

/// A row's labels before the pipeline: those of its stream, and as structured metadata its own, its level and the ids
/// of its trace and span. `wants` may decline the last three, which cost something.
pub(super) fn line_labels<'a>(row: &LogRow<'a>, wants: impl Fn(&str) -> bool) -> LineLabels<'a> {
    let mut labels = LineLabels::new(row.stream);
    let own = |name: &str| !row.metadata.get(name).is_empty();
    for (name, value) in row.metadata.iter() {
        labels.add_metadata(name, Cow::Borrowed(value));
    }
    let told = row.severity != kenning_model::Severity::UNKNOWN;
    if told && wants(LEVEL) && !own(LEVEL) && row.stream.get(LEVEL).is_empty() {
        labels.add_metadata(LEVEL, Cow::Borrowed(row.severity.as_str()));
    }
    if !row.trace_id.is_none() && wants(TRACE_ID) && !own(TRACE_ID) {
        labels.add_metadata(TRACE_ID, Cow::Owned(row.trace_id.to_string()));
    }
    if !row.span_id.is_none() && wants(SPAN_ID) && !own(SPAN_ID) {
        labels.add_metadata(SPAN_ID, Cow::Owned(row.span_id.to_string()));
    }
    labels
}
