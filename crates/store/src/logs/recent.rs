//! Rows of batches in a scan: those of the heads, and of parts of version 1, which are read into batches.
//!
//! A batch of a head is scanned again and again before it is written: which of its rows pass a filter is remembered with it, as
//! are the fields of its lines ([`super::cut`]).

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use kenning_model::{
    Agg, Field, Filter, Group, LabelSet, LineSyntax, LogBatch, LogRow, Nanos, PlainFields, Record, Scan,
    ScanError, ValueRef, number_of,
};
use memchr::memmem::Finder;

use super::aggregate::{self, Buckets, NumberCounts, NumberMap, Numbers};
use super::cells::ABSENT;
use super::cut::{self, CutField};
use super::group::{Rows, Text, cost};
use super::head::LogRun;
use super::kind::Guess;
use super::scan::Collector;
use crate::scan::group::Groups;
use crate::scan::prune::{field_of, looks_at, may_match, only_labels};
use crate::scan::work::Work;

/// The rows of a batch: of a run of a head, with the scan's filter, or none; and the order of its part or head.
pub(super) type From<'b> = (&'b LogBatch, Option<(&'b LogRun, &'b Arc<Filter>)>, u64);

/// Adds the rows of a batch that pass. `arrival` gives a row's place in the order of arrival.
pub(super) fn add_rows(
    (batch, run, order): From<'_>,
    arrival: impl Fn(usize) -> u64,
    collector: &mut Collector<'_>,
    work: &mut Work<'_>,
) -> Result<(), ScanError> {
    let scan = work.scan;
    work.summary.rows += batch.len() as u64;
    let is_inside = |run: &LogRun| scan.time.contains(run.range.start) && scan.time.contains(run.range.end);
    let passing = match run {
        // Whatever a later scan asks of the time, the same rows pass the filter.
        Some((run, filter)) if is_inside(run) => {
            run.cuts.passing(filter, || rows_of_scan(batch, Some(run), scan))
        }
        _ => Arc::new(rows_of_scan(batch, run.map(|(run, _)| run), scan)),
    };
    if passing.is_empty() {
        return Ok(());
    }
    let cut = Cut {
        known: fields_of_run(scan, &Filter::All, run.map(|(run, _)| run), &passing),
        line: RefCell::default(),
    };
    let rows = BatchRows { batch, rows: &passing, cut: &cut };
    match collector {
        Collector::Groups(groups, numbers, spec) if matches!(spec.aggs.as_slice(), [Agg::Count]) => {
            if let [field @ Field::Parsed(..)] = spec.by.as_slice()
                && rows.count_by_numbers(field, groups, numbers, work)?
            {
                return Ok(());
            }
            if spec.by.iter().all(is_label) {
                return rows.count_by_labels(spec, groups, work);
            }
        }
        Collector::Numbers(numbers, by, of) if by.iter().all(is_label) => {
            return rows.gather_by_labels(by, of, numbers, work);
        }
        _ => {}
    }
    for at in passing.iter() {
        if let Some(row) = batch.row(at) {
            let place = (row.time, order, arrival(at));
            collector.add(&row, &CutRow { row, at, cut: &cut }, place, work)?;
        }
    }
    Ok(())
}

fn is_label(field: &Field) -> bool {
    matches!(field, Field::Label(_))
}

/// The rows of a batch that are in a scan's time and pass its filter.
fn rows_of_scan(batch: &LogBatch, run: Option<&LogRun>, scan: &Scan) -> Rows {
    let wanted: Vec<bool> = batch.streams.iter().map(|labels| may_match(&scan.filter, labels)).collect();
    let mut rows = Rows::none(batch.len());
    if wanted.contains(&true) {
        for (at, (stream, time)) in batch.stream.iter().zip(&batch.time).enumerate() {
            if scan.time.contains(*time) && wanted.get(*stream as usize) == Some(&true) {
                rows.insert(at);
            }
        }
    }
    let cut = Cut { known: fields_of_run(scan, &scan.filter, run, &rows), line: RefCell::default() };
    match &scan.filter {
        // What looks at labels alone was asked of the streams.
        filter if only_labels(filter) => rows,
        Filter::And(parts) => {
            rows_passing_all(batch, parts.iter().filter(|part| !only_labels(part)), rows, &cut)
        }
        filter => rows_passing(batch, filter, rows, &cut),
    }
}

/// The fields of a run that a filter and the shape of a scan look at, when they look at those of many of its lines.
fn fields_of_run(scan: &Scan, filter: &Filter, run: Option<&LogRun>, rows: &Rows) -> Vec<Arc<CutField>> {
    let is_worth_it =
        |run: &&LogRun| rows.len() * CUT_SHARE >= run.batch.len() && !cut::looks_at_lines(&scan.filter);
    let Some(run) = run.filter(is_worth_it) else { return Vec::new() };
    let wanted = cut::wanted(filter, &scan.shape);
    if wanted.is_empty() { Vec::new() } else { run.cuts.fields(&run.batch, &wanted) }
}

/// All lines of a run are cut when one in so many is wanted at least.
const CUT_SHARE: usize = 4;

/// Rows of a batch.
struct BatchRows<'b> {
    batch: &'b LogBatch,
    rows: &'b Rows,
    cut: &'b Cut,
}

impl<'b> BatchRows<'b> {
    fn iter(&self) -> impl Iterator<Item = CutRow<'b>> {
        let (batch, cut) = (self.batch, self.cut);
        self.rows.iter().filter_map(move |at| Some(CutRow { row: batch.row(at)?, at, cut }))
    }

    /// Counts rows by labels and time.
    fn count_by_labels(
        &self,
        spec: &Group,
        groups: &mut Groups<'_>,
        work: &mut Work<'_>,
    ) -> Result<(), ScanError> {
        if let ([], Some(range)) = (spec.by.as_slice(), self.batch.time_range())
            && groups.bucket(range.start) == groups.bucket(range.end)
        {
            let count = self.rows.len() as f64;
            return groups.add_counted(groups.bucket(range.start), Vec::new(), &[count], work);
        }
        let (mut keys, mut buckets) = (LabelKeys::new(self.batch, &spec.by), Buckets::new(spec));
        let mut counts: NumberMap<(Nanos, u32), u64> = NumberMap::default();
        // The key of the row before and how many rows have it.
        let mut last: Option<((Nanos, u32), u64)> = None;
        for (stream, time) in
            self.rows.iter().filter_map(|at| Some((self.batch.stream.get(at)?, self.batch.time.get(at)?)))
        {
            let key = (buckets.of(groups, *time), keys.of(*stream));
            match &mut last {
                Some((of, count)) if *of == key => *count += 1,
                _ => {
                    let before = last.replace((key, 1));
                    before.into_iter().for_each(|(key, count)| *counts.entry(key).or_default() += count);
                }
            }
        }
        last.into_iter().for_each(|(key, count)| *counts.entry(key).or_default() += count);
        for ((bucket, key), count) in counts {
            groups.add_counted(bucket, keys.texts(key), &[count as f64], work)?;
        }
        Ok(())
    }

    /// Counts rows by the numbers that a field holds, so that no texts are made of them; rows with other texts go to their
    /// groups. False when the field holds texts.
    fn count_by_numbers(
        &self,
        field: &Field,
        groups: &mut Groups<'_>,
        numbers: &mut NumberCounts,
        work: &mut Work<'_>,
    ) -> Result<bool, ScanError> {
        let mut guess = Guess::default();
        let first = self.iter().next();
        if let Some(row) = first {
            row.with_text(field, |text| guess.add(text));
        }
        let kind = guess.kind();
        if !kind.is_number() {
            return Ok(false);
        }
        let mut by_bucket: Vec<(Nanos, Vec<i64>)> = Vec::new();
        let of_lines = self.cut.of_lines(self.batch, field);
        for row in self.iter() {
            let number = match of_lines {
                Some(field) => field.value(row.at, row.row.line).and_then(|text| kind.parse(text)),
                None => row.with_text(field, |text| kind.parse(text)).flatten(),
            };
            let Some(number) = number else {
                groups.add(row.row.time, row.row.line.len(), &row, work)?;
                continue;
            };
            let bucket = groups.bucket(row.row.time);
            match by_bucket.last_mut() {
                Some((of, list)) if *of == bucket => list.push(number),
                _ => by_bucket.push((bucket, vec![number])),
            }
        }
        by_bucket.iter().try_for_each(|(bucket, list)| numbers.add_list(&kind, *bucket, list, work))?;
        Ok(true)
    }

    /// Gathers the numbers of a field by labels.
    fn gather_by_labels(
        &self,
        by: &[Field],
        of: &Field,
        numbers: &mut Numbers,
        work: &mut Work<'_>,
    ) -> Result<(), ScanError> {
        let mut keys = LabelKeys::new(self.batch, by);
        let mut lists: Vec<aggregate::List> = Vec::new();
        let of_lines = self.cut.of_lines(self.batch, of);
        for row in self.iter() {
            let number = match of_lines {
                Some(field) => field.value(row.at, row.row.line).and_then(number_of),
                None => aggregate::number_of_row(of, &row),
            };
            let Some(number) = number else { continue };
            let stream = self.batch.stream.get(row.at).copied().unwrap_or_default();
            let key = keys.of(stream) as usize;
            if key >= lists.len() {
                lists.resize_with(key + 1, aggregate::List::default);
            }
            if let Some(list) = lists.get_mut(key) {
                numbers.push(list, number, row.row.time, work)?;
            }
        }
        for (key, list) in (0u32..).zip(lists) {
            numbers.append(keys.texts(key), list, work)?;
        }
        Ok(())
    }
}

/// What rows are grouped by when it is labels alone, as codes of the streams of a batch.
struct LabelKeys<'b> {
    batch: &'b LogBatch,
    names: Vec<&'b str>,
    /// Per stream, [`ABSENT`] before it was asked for.
    codes: Vec<u32>,
    by_texts: HashMap<Vec<&'b str>, u32>,
    texts: Vec<Vec<&'b str>>,
}

impl<'b> LabelKeys<'b> {
    fn new(batch: &'b LogBatch, by: &'b [Field]) -> Self {
        let name = |field: &'b Field| match field {
            Field::Label(name) => Some(&**name),
            _ => None,
        };
        Self {
            batch,
            names: by.iter().filter_map(name).collect(),
            codes: if by.is_empty() { Vec::new() } else { vec![ABSENT; batch.streams.len()] },
            by_texts: HashMap::new(),
            texts: Vec::new(),
        }
    }

    fn of(&mut self, stream: u32) -> u32 {
        let slot = self.codes.get_mut(stream as usize);
        if let Some(code) = slot.as_ref().map(|code| **code).filter(|code| *code != ABSENT) {
            return code;
        }
        if self.names.is_empty() {
            return 0;
        }
        let labels = self.batch.streams.get(stream as usize);
        let text = |name: &&str| labels.map_or("", |labels| labels.get(name));
        let texts: Vec<&str> = self.names.iter().map(text).collect();
        let code = match self.by_texts.get(&texts) {
            Some(code) => *code,
            None => {
                let code = self.texts.len() as u32;
                self.by_texts.insert(texts.clone(), code);
                self.texts.push(texts);
                code
            }
        };
        slot.into_iter().for_each(|slot| *slot = code);
        code
    }

    fn texts(&self, code: u32) -> Vec<Box<str>> {
        let texts = self.texts.get(code as usize).map_or(&[][..], Vec::as_slice);
        texts.iter().map(|text| Box::from(*text)).collect()
    }
}

/// The row whose line was read last, by which syntax, whether it is plain, and its fields.
#[derive(Default)]
struct CutLine {
    of: Option<(usize, LineSyntax, bool)>,
    fields: PlainFields,
}

/// What is known of the fields of a batch's lines.
struct Cut {
    /// Of all lines.
    known: Vec<Arc<CutField>>,
    line: RefCell<CutLine>,
}

impl Cut {
    /// A field that all rows have from their lines, if from anywhere: no label and no metadata of its name comes before it.
    fn of_lines(&self, batch: &LogBatch, field: &Field) -> Option<&CutField> {
        let Field::Parsed(syntax, name) = field else { return None };
        let known = self.known.iter().find(|known| known.is(*syntax, name))?;
        let has_label = |labels: &LabelSet| !labels.get(name).is_empty();
        let mut before: Option<&LabelSet> = None;
        // Neighbours mostly share one set.
        let has_metadata =
            |set| before.replace(set).is_none_or(|before| !before.is_same(set)) && has_label(set);
        let is_hidden = batch.streams.iter().any(has_label) || batch.metadata.iter().any(has_metadata);
        (!is_hidden).then_some(&**known)
    }
}

/// A row of a batch whose line is cut at most once for all tests of its fields.
struct CutRow<'a> {
    row: LogRow<'a>,
    at: usize,
    cut: &'a Cut,
}

impl CutRow<'_> {
    /// Hands the text of a field to `see`, if there is one.
    fn with_text<T>(&self, field: &Field, see: impl FnOnce(&str) -> T) -> Option<T> {
        let (mut see, mut seen) = (Some(see), None);
        self.any(field, &mut |value| {
            if let (ValueRef::Str(text), Some(see)) = (value, see.take()) {
                seen = Some(see(text));
            }
            true
        });
        seen
    }

    /// What is known of a field of all rows.
    fn known(&self, is_it: impl Fn(&CutField) -> bool) -> Option<&CutField> {
        self.cut.known.iter().map(|field| &**field).find(|field| is_it(field))
    }

    /// Looks at the fields when the line is plain.
    fn plain<T>(&self, syntax: LineSyntax, look: impl FnOnce(&PlainFields) -> Option<T>) -> Option<T> {
        let mut cut = self.cut.line.try_borrow_mut().ok()?;
        let is_plain = match cut.of {
            Some((at, of, is_plain)) if (at, of) == (self.at, syntax) => is_plain,
            _ => {
                let is_plain = cut.fields.read(syntax, self.row.line);
                cut.of = Some((self.at, syntax, is_plain));
                is_plain
            }
        };
        is_plain.then(|| look(&cut.fields)).flatten()
    }
}

impl Record for CutRow<'_> {
    fn any(&self, field: &Field, test: &mut dyn FnMut(ValueRef<'_>) -> bool) -> bool {
        match field {
            Field::Parsed(syntax, name)
                if self.row.stream.get(name).is_empty() && self.row.metadata.get(name).is_empty() =>
            {
                if let Some(field) = self.known(|field| field.is(*syntax, name)) {
                    return field
                        .value(self.at, self.row.line)
                        .is_some_and(|value| test(ValueRef::Str(value)));
                }
                let value = self.plain(*syntax, |fields| fields.value(self.row.line, name));
                value.is_some_and(|value| test(ValueRef::Str(value)))
            }
            Field::Plain(syntax) if let Some(field) = self.known(|field| field.is_of(*syntax)) => {
                field.is_plain(self.at) && test(ValueRef::Bool(true))
            }
            Field::Plain(syntax) => self.plain(*syntax, |_| Some(())).is_some() && test(ValueRef::Bool(true)),
            _ => self.row.any(field, test),
        }
    }
}

/// True when a filter cuts lines.
fn cuts(filter: &Filter) -> bool {
    looks_at(filter, &|field| matches!(field, Field::Parsed(..) | Field::Plain(_)))
}

/// The rows of a batch among some that pass a filter: labels are looked at once per stream, and texts are looked for in
/// all lines at once.
fn rows_passing(batch: &LogBatch, filter: &Filter, of: Rows, cut: &Cut) -> Rows {
    if of.is_empty() {
        return of;
    }
    let by_row = |filter: &Filter, of: &Rows| rows_passing_one_by_one(batch, filter, of, cut);
    match filter {
        Filter::All => of,
        Filter::And(parts) => rows_passing_all(batch, parts.iter(), of, cut),
        _ if cut.known.is_empty() && cuts(filter) => by_row(filter, &of),
        Filter::Or(parts) => {
            let mut found = Rows::none(batch.len());
            for part in parts {
                found.join(&rows_passing(batch, part, of.minus(&found), cut));
            }
            found
        }
        Filter::Not(part) => of.minus(&rows_passing(batch, part, of.clone(), cut)),
        Filter::Contains(Field::Line, needle) if !needle.is_empty() => {
            let mut found = Rows::none(batch.len());
            let finder = Finder::new(needle.as_bytes());
            // Where few rows are left, a search over all lines would look at too much.
            if of.len() * SPARSE_ROWS < batch.len() {
                let has = |row: &usize| finder.find(batch.line.get(*row).as_bytes()).is_some();
                of.iter().filter(has).for_each(|row| found.insert(row));
                return found;
            }
            batch.line.find(&finder, |row| found.insert(row));
            found.within(&of)
        }
        leaf if matches!(field_of(leaf), Some(Field::Label(_))) => {
            let labels = |labels: &LabelSet| leaf.matches(&Labels(labels));
            let passes: Vec<bool> = batch.streams.iter().map(labels).collect();
            let stream = |row: &usize| batch.stream.get(*row).map(|stream| *stream as usize);
            let is_passed = |row: &usize| stream(row).and_then(|stream| passes.get(stream)) == Some(&true);
            of.keeping(is_passed)
        }
        leaf => match field_of(leaf).and_then(|field| cut.of_lines(batch, field)) {
            Some(field) => of.keeping(|at| {
                field.value(*at, batch.line.get(*at)).is_some_and(|text| leaf.matches(&Text(text)))
            }),
            None => by_row(leaf, &of),
        },
    }
}

/// The rows of a batch among some that pass all of some filters; what costs little goes first.
fn rows_passing_all<'f>(
    batch: &LogBatch,
    parts: impl Iterator<Item = &'f Filter>,
    of: Rows,
    cut: &Cut,
) -> Rows {
    let (fields, mut others): (Vec<&Filter>, Vec<&Filter>) =
        parts.partition(|part| cut.known.is_empty() && cuts(part));
    others.sort_by_key(|part| cost(part));
    let left = others.into_iter().fold(of, |left, part| rows_passing(batch, part, left, cut));
    match fields.as_slice() {
        [] => left,
        // Row by row, so that each line is cut once.
        _ => {
            let all = Filter::And(fields.into_iter().cloned().collect());
            rows_passing_one_by_one(batch, &all, &left, cut)
        }
    }
}

fn rows_passing_one_by_one(batch: &LogBatch, filter: &Filter, of: &Rows, cut: &Cut) -> Rows {
    of.keeping(|at| batch.row(*at).is_some_and(|row| filter.matches(&CutRow { row, at: *at, cut })))
}

/// One row in so many is few.
const SPARSE_ROWS: usize = 8;

/// A row of which only its stream's labels are known.
struct Labels<'a>(&'a LabelSet);

impl Record for Labels<'_> {
    fn any(&self, field: &Field, test: &mut dyn FnMut(ValueRef<'_>) -> bool) -> bool {
        matches!(field, Field::Label(name) if test(ValueRef::Str(self.0.get(name))))
    }
}
