//! Finishes what a store could not push down: distinct values, label sets and groups from plain rows.
//!
//! Callers ask a store for a [`Shape`] and get that shape, whether the store computed it or answered with rows.

use std::collections::{BTreeMap, BTreeSet};

use kenning_model::{
    Agg, Block, DistinctOf, Flow, Group, GroupRow, LabelSet, Nanos, NumberRow, Record, Scan, ScanError,
    ScanSummary, Shape, SpanRow, Store, number_of,
};

/// Bytes that a group of numbers costs beside them.
const NUMBER_ROW_BYTES: usize = 128;

/// Rows of one kind, seen one at a time.
enum Row<'a> {
    Series(&'a LabelSet),
    Log(kenning_model::LogRow<'a>),
    Span(SpanRow<'a>),
}

fn for_each_row(block: &Block, mut see: impl FnMut(Row<'_>)) {
    match block {
        Block::Series(series) => series.iter().for_each(|one| see(Row::Series(&one.labels))),
        Block::Columns(columns) => columns.labels.iter().for_each(|labels| see(Row::Series(labels))),
        Block::Exemplars(series) => series.iter().for_each(|(labels, _)| see(Row::Series(labels))),
        Block::Logs(batch) => batch.rows().for_each(|row| see(Row::Log(row))),
        Block::Spans(batch) => {
            for span in &batch.spans {
                if let Some(source) = batch.source_of(span) {
                    see(Row::Span(SpanRow { span, source }));
                }
            }
        }
        _ => {}
    }
}

/// Sorted distinct names or values for a scan whose shape is [`Shape::Distinct`] of names or values.
pub fn distinct_texts(store: &dyn Store, scan: &Scan) -> Result<(Vec<Box<str>>, ScanSummary), ScanError> {
    let mut texts = BTreeSet::new();
    let mut held = 0;
    let summary = store.scan(scan, &mut |block| {
        match block {
            Block::Texts(list) => {
                held += list.iter().map(|text| text.len() + 16).sum::<usize>();
                texts.extend(list);
            }
            rows => for_each_row(&rows, |row| collect_texts(&row, &scan.shape, &mut texts, &mut held)),
        }
        if held > scan.bytes_max { Flow::Stop } else { Flow::More }
    })?;
    within(held, scan)?;
    let mut texts: Vec<_> = texts.into_iter().collect();
    texts.truncate(scan.limit.unwrap_or(usize::MAX));
    Ok((texts, summary))
}

fn collect_texts(row: &Row<'_>, shape: &Shape, texts: &mut BTreeSet<Box<str>>, held: &mut usize) {
    let mut keep = |text: &str| {
        if !text.is_empty() && !texts.contains(text) {
            *held += text.len() + 16;
            texts.insert(text.into());
        }
    };
    match (shape, row) {
        (Shape::Distinct(DistinctOf::Values(field)), Row::Series(labels)) => keep(&labels.text_of(field)),
        (Shape::Distinct(DistinctOf::Values(field)), Row::Log(log)) => keep(&log.text_of(field)),
        (Shape::Distinct(DistinctOf::Values(field)), Row::Span(span)) => {
            span.any(field, &mut |value| {
                keep(&value.to_string());
                false
            });
        }
        (Shape::Distinct(DistinctOf::Names), Row::Series(labels)) => {
            labels.iter().for_each(|(name, _)| keep(name))
        }
        (Shape::Distinct(DistinctOf::Names), Row::Log(log)) => {
            log.stream.iter().for_each(|(name, _)| keep(name))
        }
        (Shape::Distinct(DistinctOf::Names), Row::Span(row)) => {
            let events = row.span.events.iter().flat_map(|event| event.attributes.iter());
            let own =
                row.span.attributes.iter().chain(row.source.resource.iter()).chain(row.source.scope.iter());
            own.chain(events).for_each(|(name, _)| keep(name));
        }
        _ => {}
    }
}

/// Distinct label sets in label order for a scan whose shape is [`Shape::Distinct`] of label sets.
pub fn label_sets(store: &dyn Store, scan: &Scan) -> Result<(Vec<LabelSet>, ScanSummary), ScanError> {
    let mut sets = BTreeSet::new();
    let mut held = 0;
    let summary = store.scan(scan, &mut |block| {
        let mut keep = |labels: &LabelSet| {
            if sets.insert(labels.clone()) {
                held += labels.heap_bytes();
            }
        };
        match block {
            Block::LabelSets(list) => list.iter().for_each(keep),
            rows => for_each_row(&rows, |row| match row {
                Row::Series(labels) => keep(labels),
                Row::Log(log) => keep(log.stream),
                Row::Span(_) => {}
            }),
        }
        if held > scan.bytes_max { Flow::Stop } else { Flow::More }
    })?;
    within(held, scan)?;
    let mut sets: Vec<_> = sets.into_iter().collect();
    sets.truncate(scan.limit.unwrap_or(usize::MAX));
    Ok((sets, summary))
}

/// Groups by time and key for a scan whose shape is [`Shape::Group`].
pub fn groups(store: &dyn Store, scan: &Scan) -> Result<(Vec<GroupRow>, ScanSummary), ScanError> {
    let Shape::Group(group) = &scan.shape else { return Ok(Default::default()) };
    let mut done = Vec::new();
    let mut grouped = Grouping::new(group);
    let summary = store.scan(scan, &mut |block| {
        match block {
            Block::Groups(rows) => done.extend(rows),
            rows => for_each_row(&rows, |row| match row {
                Row::Log(log) => grouped.add(log.time, log.line.len(), &log),
                Row::Span(span) => grouped.add(span.span.start, 0, &span),
                Row::Series(_) => {}
            }),
        }
        if grouped.held > scan.bytes_max { Flow::Stop } else { Flow::More }
    })?;
    within(grouped.held, scan)?;
    done.extend(grouped.finish());
    Ok((done, summary))
}

/// The numbers of a field by group for a scan whose shape is [`Shape::Numbers`].
pub fn numbers(store: &dyn Store, scan: &Scan) -> Result<(Vec<NumberRow>, ScanSummary), ScanError> {
    let Shape::Numbers { by, of, is_timed } = &scan.shape else { return Ok(Default::default()) };
    let row_bytes = size_of::<f64>() + if *is_timed { size_of::<Nanos>() } else { 0 };
    let mut all: BTreeMap<Vec<Box<str>>, NumberRow> = BTreeMap::new();
    let mut held = 0;
    let summary = store.scan(scan, &mut |block| {
        match block {
            Block::Numbers(rows) => {
                for row in rows {
                    held += NUMBER_ROW_BYTES + row.numbers.len() * row_bytes;
                    match all.get_mut(&row.key) {
                        Some(known) => {
                            known.numbers.extend(row.numbers);
                            known.times.extend(row.times);
                        }
                        None => drop(all.insert(row.key.clone(), row)),
                    }
                }
            }
            rows => for_each_row(&rows, |row| {
                let Row::Log(log) = row else { return };
                let Some(number) = number_of(&log.text_of(of)) else { return };
                held += row_bytes;
                let key: Vec<Box<str>> = by.iter().map(|field| log.text_of(field).into()).collect();
                let row = all.entry(key.clone()).or_insert_with(|| NumberRow { key, ..NumberRow::default() });
                row.numbers.push(number);
                row.times.extend(is_timed.then_some(log.time));
            }),
        }
        if held > scan.bytes_max { Flow::Stop } else { Flow::More }
    })?;
    within(held, scan)?;
    Ok((all.into_values().collect(), summary))
}

fn within(held: usize, scan: &Scan) -> Result<(), ScanError> {
    if held > scan.bytes_max { Err(ScanError::TooMuchMemory { limit: scan.bytes_max }) } else { Ok(()) }
}

/// Aggregates rows group by group. Definition of [`Shape::Group`]; stores may use it on their own rows.
pub struct Grouping<'a> {
    group: &'a Group,
    rows: BTreeMap<(Nanos, Vec<Box<str>>), Vec<f64>>,
    /// Bytes held, roughly.
    pub held: usize,
}

impl<'a> Grouping<'a> {
    /// No rows yet.
    #[must_use]
    pub fn new(group: &'a Group) -> Self {
        Self { group, rows: BTreeMap::new(), held: 0 }
    }

    /// Counts a row stamped `time` with a line of `line_bytes`.
    pub fn add(&mut self, time: Nanos, line_bytes: usize, row: &impl Record) {
        let key: Vec<Box<str>> = self.group.by.iter().map(|field| row.text_of(field).into()).collect();
        let bucket = bucket_end(self.group.step, time);
        let aggs = &self.group.aggs;
        let held = &mut self.held;
        let values = self.rows.entry((bucket, key)).or_insert_with(|| {
            *held += 64 + 8 * aggs.len();
            aggs.iter().map(neutral).collect()
        });
        for (agg, value) in aggs.iter().zip(values) {
            match agg {
                Agg::Count => *value += 1.0,
                Agg::LineBytes => *value += line_bytes as f64,
                Agg::Sum(field) => *value += row.number_of(field).unwrap_or(0.0),
                // NaN loses against any number in both.
                Agg::Min(field) => *value = row.number_of(field).map_or(*value, |n| value.min(n)),
                Agg::Max(field) => *value = row.number_of(field).map_or(*value, |n| value.max(n)),
            }
        }
    }

    /// The groups, by time and key.
    pub fn finish(self) -> impl Iterator<Item = GroupRow> {
        self.rows.into_iter().map(|((time, key), values)| GroupRow { time, key, values })
    }
}

fn neutral(agg: &Agg) -> f64 {
    match agg {
        Agg::Count | Agg::LineBytes | Agg::Sum(_) => 0.0,
        Agg::Min(_) | Agg::Max(_) => f64::NAN,
    }
}

/// The end of the bucket that holds `time`; see [`Group::step`].
#[must_use]
pub fn bucket_end(step: Option<(Nanos, i64)>, time: Nanos) -> Nanos {
    let Some((origin, width)) = step.filter(|(_, width)| *width > 0) else { return Nanos(0) };
    let (time, origin, width) = (i128::from(time.0), i128::from(origin.0), i128::from(width));
    let steps = -(-(time - origin)).div_euclid(width);
    Nanos(i64::try_from(origin + steps * width).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_left_open_and_named_by_their_end() {
        let check = |time, expect| {
            assert_eq!(bucket_end(Some((Nanos(100), 10)), Nanos(time)), Nanos(expect), "{time}")
        };
        check(100, 100);
        check(101, 110);
        check(110, 110);
        check(91, 100);
        check(90, 90);
        assert_eq!(bucket_end(None, Nanos(7)), Nanos(0));
    }
}
