//! A store in memory, written to be obviously right: the oracle that every other store is compared with, and what the
//! language crates test on.
//!
//! Promises: the semantics of [`Store`] as written, for all tables and for the shapes Rows, Distinct and Group; a grid
//! is answered with rows. It looks at every row of a table on every scan, keeps everything on the heap, and nothing
//! survives the process.
//!
//! Where the contract leaves room, this file decides:
//! - A series holds one sample per time. The first value stays; of a float and a histogram at one time the float stays.
//! - Exemplars are sorted by time, value and labels; equal ones are one.
//! - Metadata are filtered as the label set `{__name__="<metric>"}`; equal ones are one.
//! - `Distinct(Values)` lists every value of a field, not only the first one of a row (events, links).
//! - `limit` bounds series, records, spans, metadata and distinct values; it does not bound groups.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use kenning_model::{
    Agg, Batch, BatchId, Block, Delete, DeleteError, DistinctOf, Exemplar, Expired, Field, Flow, Group,
    GroupRow, Histogram, HistogramSample, LabelSet, LogBatch, METRIC_NAME, MetricBatch, MetricMetadata,
    Millis, Nanos, Order, Record, Retention, Sample, Scan, ScanError, ScanSummary, SeriesColumns, SeriesRows,
    Shape, Span, SpanBatch, SpanRow, SpanSource, Store, Table, TenantId, Write, WriteError, push_start,
    start_at,
};

/// Most series or rows of one block handed to a sink.
const BLOCK_LEN_MAX: usize = 1024;

/// Bytes charged for a row or a distinct value beside its text.
const ROW_BYTES: usize = 64;

/// The naive store.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    last: BatchId,
    tenants: HashMap<TenantId, Tenant>,
}

#[derive(Debug, Default)]
struct Tenant {
    series: BTreeMap<LabelSet, Series>,
    exemplars: BTreeMap<LabelSet, Vec<Exemplar>>,
    metadata: BTreeSet<MetadataKey>,
    logs: Logs,
    spans: Vec<(Span, Arc<SpanSource>)>,
}

#[derive(Debug, Default)]
struct Series {
    /// Value and start time of the counter.
    floats: BTreeMap<Millis, (f64, Millis)>,
    histograms: BTreeMap<Millis, (Histogram, Millis)>,
}

/// Metric, kind, help and unit: the order in which metadata come.
type MetadataKey = (String, kenning_model::MetricKind, String, String);

#[derive(Debug, Default)]
struct Logs {
    streams: HashMap<LabelSet, u32>,
    rows: LogBatch,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn write(&self, group: &[Write]) -> Result<(), WriteError> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let mut unit = None;
        for write in group.iter() {
            if write.id > state.last || unit == Some(write.id) {
                state.last = write.id;
                unit = Some(write.id);
                state.tenants.entry(write.tenant.clone()).or_default().add(&write.batch);
            }
        }
        Ok(())
    }

    fn last_batch_id(&self) -> BatchId {
        self.read().last
    }

    fn scan(&self, scan: &Scan, sink: &mut dyn FnMut(Block) -> Flow) -> Result<ScanSummary, ScanError> {
        if scan.cancel.is_raised() {
            return Err(ScanError::Cancelled);
        }
        let state = self.read();
        let Some(tenant) = state.tenants.get(&scan.tenant) else { return Ok(ScanSummary::default()) };
        let (rows, blocks) = match scan.table {
            Table::Samples => tenant.scan_samples(scan),
            Table::Exemplars => tenant.scan_exemplars(scan),
            Table::Metadata => tenant.scan_metadata(scan),
            Table::Logs => tenant.scan_logs(scan),
            Table::Spans => tenant.scan_spans(scan),
        };
        drop(state);
        if blocks.iter().map(block_bytes).sum::<usize>() > scan.bytes_max {
            return Err(ScanError::TooMuchMemory { limit: scan.bytes_max });
        }
        for block in blocks {
            if scan.cancel.is_raised() {
                return Err(ScanError::Cancelled);
            }
            if sink(block) == Flow::Stop {
                break;
            }
        }
        Ok(ScanSummary { rows, ..ScanSummary::default() })
    }

    fn expire(&self, policy: &Retention) -> Result<Expired, WriteError> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let rows = state.tenants.values_mut().map(|tenant| tenant.expire(policy)).sum();
        Ok(Expired { rows, ..Expired::default() })
    }

    fn delete(&self, delete: &Delete) -> Result<(), DeleteError> {
        if delete.table == Table::Metadata {
            return Err(DeleteError::Refused { detail: "metadata of metrics cannot be deleted".to_owned() });
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(tenant) = state.tenants.get_mut(&delete.tenant) {
            tenant.delete(delete);
        }
        Ok(())
    }
}

impl Tenant {
    fn delete(&mut self, delete: &Delete) {
        let inside = |time: Nanos| delete.time.contains(time);
        match delete.table {
            Table::Samples => {
                for (labels, series) in &mut self.series {
                    if delete.filter.matches(labels) {
                        series.floats.retain(|time, _| !inside(time.to_nanos()));
                        series.histograms.retain(|time, _| !inside(time.to_nanos()));
                    }
                }
                self.series.retain(|_, series| !series.floats.is_empty() || !series.histograms.is_empty());
                self.delete_exemplars(delete);
            }
            Table::Exemplars => self.delete_exemplars(delete),
            Table::Metadata => {}
            Table::Logs => {
                let all = std::mem::take(&mut self.logs);
                for row in all.rows.rows().filter(|row| !inside(row.time) || !delete.filter.matches(row)) {
                    let mut one = LogBatch::default();
                    one.add_stream(row.stream.clone());
                    one.push(0, row);
                    self.logs.add(&one);
                }
            }
            Table::Spans => self.spans.retain(|(span, source)| {
                !inside(span.start) || !delete.filter.matches(&SpanRow { span, source })
            }),
        }
    }

    fn delete_exemplars(&mut self, delete: &Delete) {
        for (labels, list) in &mut self.exemplars {
            if delete.filter.matches(labels) {
                list.retain(|exemplar| !delete.time.contains(exemplar.time.to_nanos()));
            }
        }
        self.exemplars.retain(|_, list| !list.is_empty());
    }

    fn add(&mut self, batch: &Batch) {
        match batch {
            Batch::Metrics(metrics) => self.add_metrics(metrics),
            Batch::Logs(logs) => self.logs.add(logs),
            Batch::Spans(spans) => {
                let rows = spans.spans.iter();
                self.spans.extend(rows.filter_map(|s| Some((s.clone(), spans.source_of(s)?.clone()))));
            }
        }
    }

    fn add_metrics(&mut self, batch: &MetricBatch) {
        let labels = |index: u32| batch.series.get(index as usize).cloned();
        for (i, sample) in batch.samples.iter().enumerate() {
            let Some(labels) = labels(sample.series) else { continue };
            let value = (sample.value, start_at(&batch.starts, i));
            self.series.entry(labels).or_default().floats.entry(sample.time).or_insert(value);
        }
        for (i, sample) in batch.histograms.iter().enumerate() {
            let Some(labels) = labels(sample.series) else { continue };
            let histograms = &mut self.series.entry(labels).or_default().histograms;
            let start = start_at(&batch.histogram_starts, i);
            histograms.entry(sample.time).or_insert_with(|| (sample.histogram.clone(), start));
        }
        for exemplar in &batch.exemplars {
            let Some(labels) = labels(exemplar.series) else { continue };
            self.exemplars.entry(labels).or_default().push(Exemplar { series: 0, ..exemplar.clone() });
        }
        for m in &batch.metadata {
            self.metadata.insert((m.metric.clone(), m.kind, m.help.clone(), m.unit.clone()));
        }
    }

    fn scan_samples(&self, scan: &Scan) -> (u64, Vec<Block>) {
        let found = self.series.iter().filter(|(labels, _)| scan.filter.matches(*labels));
        let rows = found.map(|(labels, series)| series.in_range(labels, scan));
        let rows = rows.filter(|rows| !rows.samples.is_empty() || !rows.histograms.is_empty());
        let looked_at = self.series.values().map(|s| s.floats.len() + s.histograms.len()).sum::<usize>();
        let blocks = match &scan.shape {
            Shape::Distinct(of) => distinct_labels(of, scan, rows.map(|rows| rows.labels)),
            Shape::Columns => chunks(rows, scan.limit).into_iter().flat_map(in_columns).collect(),
            _ => chunks(rows, scan.limit).into_iter().map(Block::Series).collect(),
        };
        (looked_at as u64, blocks)
    }

    fn scan_exemplars(&self, scan: &Scan) -> (u64, Vec<Block>) {
        let found = self.exemplars.iter().filter(|(labels, _)| scan.filter.matches(*labels));
        let rows = found.map(|(labels, all)| (labels.clone(), exemplars_in_range(all, scan)));
        let rows = rows.filter(|(_, exemplars)| !exemplars.is_empty());
        let blocks = match &scan.shape {
            Shape::Distinct(of) => distinct_labels(of, scan, rows.map(|(labels, _)| labels)),
            _ => chunks(rows, scan.limit).into_iter().map(Block::Exemplars).collect(),
        };
        (self.exemplars.values().map(Vec::len).sum::<usize>() as u64, blocks)
    }

    fn scan_metadata(&self, scan: &Scan) -> (u64, Vec<Block>) {
        let named = |key: &MetadataKey| LabelSet::from_pairs([(METRIC_NAME, &key.0)]);
        let found = self.metadata.iter().filter(|key| scan.filter.matches(&named(key)));
        let blocks = match &scan.shape {
            Shape::Distinct(of) => distinct_labels(of, scan, found.map(named)),
            _ => {
                let rows = found.map(|(metric, kind, help, unit)| MetricMetadata {
                    metric: metric.clone(),
                    kind: *kind,
                    help: help.clone(),
                    unit: unit.clone(),
                });
                chunks(rows, scan.limit).into_iter().map(Block::Metadata).collect()
            }
        };
        (self.metadata.len() as u64, blocks)
    }

    fn scan_logs(&self, scan: &Scan) -> (u64, Vec<Block>) {
        let all = &self.logs.rows;
        let found: Vec<_> =
            all.rows().filter(|row| scan.time.contains(row.time) && scan.filter.matches(row)).collect();
        let blocks = match &scan.shape {
            Shape::Distinct(DistinctOf::Values(field)) => distinct_values(field, scan, &found),
            Shape::Distinct(of) => distinct_labels(of, scan, found.iter().map(|row| row.stream.clone())),
            Shape::Group(group) => {
                groups(group, found.iter().map(|row| (row.time, row.line.len() as f64, row)))
            }
            Shape::Rows | Shape::Columns | Shape::Grid { .. } | Shape::Numbers { .. } => {
                let found = ordered(found, scan, |row| row.time);
                chunks(found.into_iter(), scan.limit)
                    .iter()
                    .map(|rows| Block::Logs(log_block(rows)))
                    .collect()
            }
        };
        (all.len() as u64, blocks)
    }

    fn scan_spans(&self, scan: &Scan) -> (u64, Vec<Block>) {
        let all = self.spans.iter().map(|(span, source)| SpanRow { span, source });
        let passes = |row: &SpanRow<'_>| scan.time.contains(row.span.start) && scan.filter.matches(row);
        let found: Vec<_> = all.filter(passes).collect();
        let blocks = match &scan.shape {
            Shape::Distinct(DistinctOf::LabelSets) => Vec::new(),
            Shape::Distinct(DistinctOf::Names) => attribute_names(scan, &found),
            Shape::Distinct(DistinctOf::Values(field)) => distinct_values(field, scan, &found),
            Shape::Group(group) => groups(group, found.iter().map(|row| (row.span.start, 0.0, row))),
            Shape::Rows | Shape::Columns | Shape::Grid { .. } | Shape::Numbers { .. } => {
                let found = ordered(found, scan, |row| row.span.start);
                let chunks = chunks(found.into_iter(), scan.limit);
                chunks.iter().map(|rows| Block::Spans(span_block(rows))).collect()
            }
        };
        (self.spans.len() as u64, blocks)
    }

    fn expire(&mut self, policy: &Retention) -> u64 {
        let before = self.len();
        if let Some(oldest) = oldest(policy.now, policy.metrics) {
            for series in self.series.values_mut() {
                series.floats.retain(|time, _| time.to_nanos() >= oldest);
                series.histograms.retain(|time, _| time.to_nanos() >= oldest);
            }
            self.series.retain(|_, series| !series.floats.is_empty() || !series.histograms.is_empty());
            self.exemplars.values_mut().for_each(|all| all.retain(|e| e.time.to_nanos() >= oldest));
        }
        if let Some(oldest) = oldest(policy.now, policy.logs) {
            let mut kept = Logs::default();
            self.logs.rows.rows().filter(|row| row.time >= oldest).for_each(|row| kept.push(&row));
            self.logs = kept;
        }
        if let Some(oldest) = oldest(policy.now, policy.traces) {
            self.spans.retain(|(span, _)| span.start >= oldest);
        }
        (before - self.len()) as u64
    }

    fn len(&self) -> usize {
        self.series.values().map(|s| s.floats.len() + s.histograms.len()).sum::<usize>()
            + self.exemplars.values().map(Vec::len).sum::<usize>()
            + self.logs.rows.len()
            + self.spans.len()
    }
}

impl Series {
    fn in_range(&self, labels: &LabelSet, scan: &Scan) -> SeriesRows {
        let inside = |time: &Millis| scan.time.contains(time.to_nanos());
        let floats = self.floats.iter().filter(|(time, _)| inside(time));
        let histograms = self.histograms.iter().filter(|(time, _)| inside(time));
        let histograms = histograms.filter(|(time, _)| !self.floats.contains_key(time));
        let mut rows = SeriesRows { labels: labels.clone(), ..SeriesRows::default() };
        for (time, (value, start)) in floats {
            push_start(&mut rows.starts, rows.samples.len(), *start);
            rows.samples.push(Sample { series: 0, time: *time, value: *value });
        }
        for (time, (histogram, start)) in histograms {
            push_start(&mut rows.histogram_starts, rows.histograms.len(), *start);
            rows.histograms.push(HistogramSample { series: 0, time: *time, histogram: histogram.clone() });
        }
        rows
    }
}

impl Logs {
    fn add(&mut self, batch: &LogBatch) {
        batch.rows().for_each(|row| self.push(&row));
    }

    fn push(&mut self, row: &kenning_model::LogRow<'_>) {
        let stream = match self.streams.get(row.stream) {
            Some(stream) => *stream,
            None => {
                let stream = self.rows.add_stream(row.stream.clone());
                self.streams.insert(row.stream.clone(), stream);
                stream
            }
        };
        self.rows.push(stream, *row);
    }
}

fn oldest(now: Nanos, age: Option<Duration>) -> Option<Nanos> {
    let age = i64::try_from(age?.as_nanos()).ok()?;
    Some(Nanos(now.0.saturating_sub(age)))
}

fn exemplars_in_range(all: &[Exemplar], scan: &Scan) -> Vec<Exemplar> {
    let mut found: Vec<_> = all.iter().filter(|e| scan.time.contains(e.time.to_nanos())).cloned().collect();
    found.sort_by(|a, b| {
        a.time.cmp(&b.time).then(a.value.total_cmp(&b.value)).then_with(|| a.labels.cmp(&b.labels))
    });
    found.dedup_by(|a, b| a.time == b.time && a.value.to_bits() == b.value.to_bits() && a.labels == b.labels);
    found
}

/// The stable sort keeps ties in order of arrival; reversing it afterwards reverses them too.
fn ordered<T>(mut rows: Vec<T>, scan: &Scan, time: impl Fn(&T) -> Nanos) -> Vec<T> {
    rows.sort_by_key(|row| time(row));
    if scan.order == Order::NewestFirst {
        rows.reverse();
    }
    rows
}

fn chunks<T>(rows: impl Iterator<Item = T>, limit: Option<usize>) -> Vec<Vec<T>> {
    let mut chunks = Vec::new();
    let mut rows = rows.take(limit.unwrap_or(usize::MAX)).peekable();
    while rows.peek().is_some() {
        chunks.push(rows.by_ref().take(BLOCK_LEN_MAX).collect());
    }
    chunks
}

fn distinct_labels(of: &DistinctOf, scan: &Scan, sets: impl Iterator<Item = LabelSet>) -> Vec<Block> {
    let sets: BTreeSet<LabelSet> = sets.collect();
    match of {
        DistinctOf::LabelSets => {
            chunks(sets.into_iter(), scan.limit).into_iter().map(Block::LabelSets).collect()
        }
        DistinctOf::Names => {
            texts(scan, sets.iter().flat_map(|set| set.iter().map(|(name, _)| name.into())).collect())
        }
        DistinctOf::Values(field) => distinct_values(field, scan, &sets.into_iter().collect::<Vec<_>>()),
    }
}

fn distinct_values(field: &Field, scan: &Scan, rows: &[impl Record]) -> Vec<Block> {
    let mut values = BTreeSet::new();
    for row in rows {
        row.any(field, &mut |value| {
            values.insert(value.to_string().into_boxed_str());
            false
        });
    }
    values.remove("");
    texts(scan, values)
}

fn attribute_names(scan: &Scan, rows: &[SpanRow<'_>]) -> Vec<Block> {
    let mut names = BTreeSet::new();
    for row in rows {
        let of_span = [&row.source.resource, &row.source.scope, &row.span.attributes];
        let of_events = row.span.events.iter().map(|event| &event.attributes);
        let all = of_span.into_iter().chain(of_events);
        names.extend(all.flat_map(|attributes| attributes.iter().map(|(name, _)| name.into())));
        names.insert("service.name".into());
    }
    texts(scan, names)
}

fn texts(scan: &Scan, texts: BTreeSet<Box<str>>) -> Vec<Block> {
    chunks(texts.into_iter(), scan.limit).into_iter().map(Block::Texts).collect()
}

/// Groups rows given as time, bytes of line, and fields.
fn groups<'a, R: Record + 'a>(group: &Group, rows: impl Iterator<Item = (Nanos, f64, &'a R)>) -> Vec<Block> {
    let mut groups: BTreeMap<(Nanos, Vec<Box<str>>), Vec<f64>> = BTreeMap::new();
    for (time, line_bytes, row) in rows {
        let key = (bucket(group, time), group.by.iter().map(|field| row.text_of(field).into()).collect());
        let values = groups.entry(key).or_insert_with(|| group.aggs.iter().map(empty_aggregate).collect());
        for (agg, value) in group.aggs.iter().zip(values) {
            aggregate(agg, value, line_bytes, row);
        }
    }
    let rows = groups.into_iter().map(|((time, key), values)| GroupRow { time, key, values });
    let mut rows: Vec<GroupRow> = rows.collect();
    group.keep_top(&mut rows);
    chunks(rows.into_iter(), None).into_iter().map(Block::Groups).collect()
}

fn empty_aggregate(agg: &Agg) -> f64 {
    match agg {
        Agg::Count | Agg::LineBytes | Agg::Sum(_) => 0.0,
        Agg::Min(_) | Agg::Max(_) => f64::NAN,
    }
}

fn aggregate(agg: &Agg, value: &mut f64, line_bytes: f64, row: &impl Record) {
    match agg {
        Agg::Count => *value += 1.0,
        Agg::LineBytes => *value += line_bytes,
        Agg::Sum(field) => *value += row.number_of(field).unwrap_or(0.0),
        Agg::Min(field) => *value = row.number_of(field).map_or(*value, |number| value.min(number)),
        Agg::Max(field) => *value = row.number_of(field).map_or(*value, |number| value.max(number)),
    }
}

/// The end of the left-open bucket that `time` lies in, saturating at the ends of what can be written down.
fn bucket(group: &Group, time: Nanos) -> Nanos {
    let Some((origin, width)) = group.step else { return Nanos(0) };
    let (origin, width) = (i128::from(origin.0), i128::from(width.max(1)));
    let steps = -(origin - i128::from(time.0)).div_euclid(width);
    let end = (origin + steps * width).clamp(i128::from(i64::MIN), i128::from(i64::MAX));
    Nanos(end as i64)
}

fn log_block(rows: &[kenning_model::LogRow<'_>]) -> LogBatch {
    let mut logs = Logs::default();
    rows.iter().for_each(|row| logs.push(row));
    logs.rows
}

fn span_block(rows: &[SpanRow<'_>]) -> SpanBatch {
    let mut batch = SpanBatch::default();
    let mut indices: HashMap<&SpanSource, u32> = HashMap::new();
    for row in rows {
        let next = batch.sources.len() as u32;
        let source = *indices.entry(row.source).or_insert(next);
        if source == next {
            batch.add_source(Arc::new(row.source.clone()));
        }
        batch.spans.push(Span { source, ..row.span.clone() });
    }
    batch
}

/// The blocks of [`Shape::Columns`]: neighbours of one kind stay together.
fn in_columns(rows: Vec<SeriesRows>) -> Vec<Block> {
    let mut blocks = Vec::new();
    for row in rows {
        if !row.histograms.is_empty() || !row.starts.is_empty() {
            match blocks.last_mut() {
                Some(Block::Series(rows)) => rows.push(row),
                _ => blocks.push(Block::Series(vec![row])),
            }
            continue;
        }
        if !matches!(blocks.last(), Some(Block::Columns(_))) {
            blocks.push(Block::Columns(SeriesColumns::default()));
        }
        if let Some(Block::Columns(columns)) = blocks.last_mut() {
            columns.times.extend(row.samples.iter().map(|sample| sample.time.0));
            columns.values.extend(row.samples.iter().map(|sample| sample.value));
            columns.ends.push(columns.times.len());
            columns.labels.push(row.labels);
        }
    }
    blocks
}

fn block_bytes(block: &Block) -> usize {
    match block {
        Block::Columns(columns) => ROW_BYTES * columns.labels.len() + 16 * columns.times.len(),
        Block::Series(rows) => rows.iter().map(series_bytes).sum(),
        Block::Exemplars(rows) => {
            rows.iter().flat_map(|(_, all)| all).map(|e| e.labels.heap_bytes() + ROW_BYTES).sum()
        }
        Block::Metadata(rows) => rows.iter().map(|m| m.help.len() + m.metric.len() + ROW_BYTES).sum(),
        Block::Logs(batch) => batch.heap_bytes(),
        Block::Spans(batch) => batch.heap_bytes(),
        Block::LabelSets(sets) => sets.iter().map(|set| set.heap_bytes() + ROW_BYTES).sum(),
        Block::Texts(texts) => texts.iter().map(|text| text.len() + ROW_BYTES).sum(),
        Block::Groups(rows) => {
            rows.iter().map(|row| ROW_BYTES * (1 + row.key.len() + row.values.len())).sum()
        }
        Block::Numbers(rows) => rows.iter().map(|row| ROW_BYTES + 16 * row.numbers.len()).sum(),
        Block::Grid(rows) => rows.iter().map(|row| ROW_BYTES + 16 * row.values.len()).sum(),
    }
}

fn series_bytes(rows: &SeriesRows) -> usize {
    ROW_BYTES
        + size_of::<Sample>() * rows.samples.len()
        + size_of::<Millis>() * (rows.starts.len() + rows.histogram_starts.len())
        + rows.histograms.iter().map(|h| h.histogram.heap_bytes()).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kenning_model::{Attributes, Filter, LogRow, Severity, SpanId, TimeRange, TraceId, Value};

    fn store(batches: Vec<Batch>) -> MemoryStore {
        let store = MemoryStore::new();
        let tenant = TenantId::default_tenant();
        let group: Vec<_> = batches
            .into_iter()
            .zip(1..)
            .map(|(batch, id)| Write { id: BatchId(id), tenant: tenant.clone(), batch })
            .collect();
        store.write(&group).unwrap();
        store.write(&group).unwrap();
        store
    }

    fn blocks(store: &MemoryStore, scan: &Scan) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut sink = |block| {
            blocks.push(block);
            Flow::More
        };
        store.scan(scan, &mut sink).unwrap();
        blocks
    }

    fn scan(table: Table, shape: Shape) -> Scan {
        Scan { shape, ..Scan::rows(TenantId::default_tenant(), table, TimeRange::ALL, Filter::All) }
    }

    fn metrics() -> Batch {
        let mut batch = MetricBatch::default();
        let up = batch.add_series(LabelSet::from_pairs([(METRIC_NAME, "up"), ("job", "b")]));
        let down = batch.add_series(LabelSet::from_pairs([(METRIC_NAME, "down"), ("job", "a")]));
        for (series, time, value) in [(up, 20, 2.0), (up, 10, 1.0), (up, 10, 9.0), (down, 5, 0.0)] {
            batch.samples.push(Sample { series, time: Millis(time), value });
        }
        for time in [10, 30] {
            let histogram = Histogram::default();
            batch.histograms.push(HistogramSample { series: up, time: Millis(time), histogram });
        }
        batch.metadata.push(MetricMetadata { metric: "up".into(), ..MetricMetadata::default() });
        Batch::Metrics(batch)
    }

    fn logs() -> Batch {
        let mut batch = LogBatch::default();
        let stream = batch.add_stream(LabelSet::from_pairs([("app", "x")]));
        let (labels, metadata) = (LabelSet::empty(), LabelSet::from_pairs([("n", "4")]));
        for (time, line) in [(20, "c"), (10, "a"), (10, "bb")] {
            let row = LogRow {
                stream: &labels,
                time: Nanos(time),
                severity: Severity::INFO,
                trace_id: TraceId::NONE,
                span_id: SpanId::NONE,
                line,
                metadata: &metadata,
            };
            batch.push(stream, row);
        }
        Batch::Logs(batch)
    }

    fn spans() -> Batch {
        let mut batch = SpanBatch::default();
        let source = batch.add_source(Arc::default());
        let attributes: Attributes = [("k", Value::Int(1))].into_iter().collect();
        let span =
            Span { trace_id: TraceId([1; 16]), name: "op".into(), attributes, source, ..Span::default() };
        batch.spans.push(span);
        Batch::Spans(batch)
    }

    #[test]
    fn samples_come_sorted_once_and_first_wins() {
        let found = blocks(&store(vec![metrics(), metrics()]), &scan(Table::Samples, Shape::Rows));
        let [Block::Series(series)] = found.as_slice() else { panic!("{found:?}") };
        let read: Vec<_> = series
            .iter()
            .map(|s| {
                let floats: Vec<_> = s.samples.iter().map(|s| (s.time.0, s.value)).collect();
                (s.labels.metric_name(), floats, s.histograms.iter().map(|h| h.time.0).collect::<Vec<_>>())
            })
            .collect();
        assert_eq!(read, [("down", vec![(5, 0.0)], vec![]), ("up", vec![(10, 1.0), (20, 2.0)], vec![30])]);
    }

    #[test]
    fn the_range_has_both_ends_and_hides_series_without_rows() {
        let mut question =
            scan(Table::Samples, Shape::Distinct(DistinctOf::Values(Field::Label("job".into()))));
        question.time = TimeRange::from_millis(Millis(10), Millis(10));
        assert_eq!(blocks(&store(vec![metrics()]), &question), [Block::Texts(vec!["b".into()])]);
        question.shape = Shape::Distinct(DistinctOf::Names);
        let names = vec![METRIC_NAME.into(), "job".into()];
        assert_eq!(blocks(&store(vec![metrics()]), &question), [Block::Texts(names)]);
    }

    #[test]
    fn metadata_are_found_by_metric() {
        let mut question = scan(Table::Metadata, Shape::Rows);
        assert_eq!(blocks(&store(vec![metrics(), metrics()]), &question).len(), 1);
        question.filter = Filter::eq(Field::Label(METRIC_NAME.into()), "other");
        assert!(blocks(&store(vec![metrics()]), &question).is_empty());
    }

    fn lines(order: Order, limit: Option<usize>) -> Vec<String> {
        let question = Scan { order, limit, ..scan(Table::Logs, Shape::Rows) };
        let found = blocks(&store(vec![logs()]), &question);
        let [Block::Logs(batch)] = found.as_slice() else { panic!("{found:?}") };
        batch.line.iter().map(str::to_owned).collect()
    }

    #[test]
    fn logs_come_by_time_and_arrival() {
        assert_eq!(lines(Order::OldestFirst, None), ["a", "bb", "c"]);
        assert_eq!(lines(Order::NewestFirst, Some(2)), ["c", "bb"]);
    }

    #[test]
    fn groups_fall_into_left_open_buckets() {
        let group = Group {
            step: Some((Nanos(0), 10)),
            by: vec![Field::Label("app".into())],
            aggs: vec![
                Agg::Count,
                Agg::LineBytes,
                Agg::Sum(Field::Metadata("n".into())),
                Agg::Max(Field::Line),
            ],
            top: None,
        };
        let found = blocks(&store(vec![logs()]), &scan(Table::Logs, Shape::Group(group)));
        let [Block::Groups(rows)] = found.as_slice() else { panic!("{found:?}") };
        let read: Vec<_> = rows.iter().map(|r| (r.time.0, &*r.key[0], r.values[..3].to_vec())).collect();
        assert_eq!(read, [(10, "x", vec![2.0, 3.0, 8.0]), (20, "x", vec![1.0, 1.0, 4.0])]);
        assert!(rows.iter().all(|row| row.values[3].is_nan()));
    }

    #[test]
    fn spans_are_listed_with_the_implied_service() {
        let question = scan(Table::Spans, Shape::Distinct(DistinctOf::Names));
        assert_eq!(
            blocks(&store(vec![spans()]), &question),
            [Block::Texts(vec!["k".into(), "service.name".into()])]
        );
        let Batch::Spans(expect) = spans() else { panic!() };
        assert_eq!(blocks(&store(vec![spans()]), &scan(Table::Spans, Shape::Rows)), [Block::Spans(expect)]);
    }

    #[test]
    fn limits_and_cancel_are_honoured() {
        let store = store(vec![logs()]);
        let mut question = scan(Table::Logs, Shape::Rows);
        question.bytes_max = 10;
        let refused = store.scan(&question, &mut |_| Flow::More);
        assert!(matches!(refused, Err(ScanError::TooMuchMemory { limit: 10 })));
        question.cancel.raise();
        assert!(matches!(store.scan(&question, &mut |_| Flow::More), Err(ScanError::Cancelled)));
    }

    #[test]
    fn retention_drops_what_is_older() {
        let store = store(vec![logs(), metrics()]);
        let age = Some(Duration::from_nanos(5));
        let policy = Retention { now: Nanos(20), logs: age, traces: age, ..Retention::default() };
        assert_eq!(store.expire(&policy).map(|expired| expired.rows).ok(), Some(2));
    }

    #[test]
    fn bucket_ends_are_exact() {
        for (time, end) in [(0, 0), (1, 10), (10, 10), (11, 20), (-1, 0), (-10, -10), (i64::MAX, i64::MAX)] {
            let group = Group { step: Some((Nanos(0), 10)), by: vec![], aggs: vec![], top: None };
            assert_eq!(bucket(&group, Nanos(time)), Nanos(end), "{time}");
        }
    }
}
