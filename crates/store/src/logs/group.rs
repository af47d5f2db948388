//! One row group of logs at work: which rows pass a filter, read column by column and only as far as needed.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use kenning_model::{
    Compare, Field, Filter, LabelSet, LineSyntax, Literal, LogRow, Nanos, Severity, SpanId, TimeRange,
    TraceId,
};
use memchr::memmem::Finder;

use super::cells::{self, ABSENT, Cells, Paged, Picker};
use super::index::{GramColumn, GroupIndex, LogIndex, PAGE_ROWS, Run, Template};
use super::kind::Kind;
use super::metadata::{self, MetadataCells};
use super::part::{ARRIVAL, LINE, SEVERITY, SPAN_ID, TEMPLATE, TIME, TRACE_ID};
use super::phrase::Contains;
use super::search::{Search, SearchedColumn, Straddle};
use super::streams::{Passing, StreamFacts, StreamKeys};
use super::times::Times;
use crate::parts::columns::GroupReader;
use crate::parts::{PartError, damaged};
use crate::scan::prune::field_of;

/// Rows of a page that are looked up one by one, at most; a page with more is unpacked.
const PICKED_MAX: usize = 2;

/// A set of rows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rows {
    bits: Vec<u64>,
}

impl Rows {
    pub(crate) fn none(rows: usize) -> Self {
        Self { bits: vec![0; rows.div_ceil(64)] }
    }

    pub(crate) fn all(rows: usize) -> Self {
        let mut all = Self::none(rows);
        all.insert_range(0, rows);
        all
    }

    pub(crate) fn insert(&mut self, row: usize) {
        if let Some(word) = self.bits.get_mut(row >> 6) {
            *word |= 1 << (row & 63);
        }
    }

    pub(crate) fn insert_range(&mut self, start: usize, end: usize) {
        let mut row = start;
        while row < end {
            let until = ((row | 63) + 1).min(end);
            let (from, len) = (row & 63, until - row);
            let mask = if len == 64 { u64::MAX } else { ((1 << len) - 1) << from };
            if let Some(word) = self.bits.get_mut(row >> 6) {
                *word |= mask;
            }
            row = until;
        }
    }

    pub(crate) fn contains(&self, row: usize) -> bool {
        self.bits.get(row >> 6).is_some_and(|word| word >> (row & 63) & 1 == 1)
    }

    /// Bytes held.
    pub(crate) fn heap_bytes(&self) -> usize {
        size_of_val::<[u64]>(&self.bits)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bits.iter().all(|word| *word == 0)
    }

    pub(crate) fn len(&self) -> usize {
        self.bits.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> {
        self.bits.iter().enumerate().flat_map(|(at, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = left.trailing_zeros();
                (left != 0).then(|| {
                    left &= left - 1;
                    (at << 6) + bit as usize
                })
            })
        })
    }

    /// How many rows of a range are in the set.
    pub(crate) fn count_in(&self, start: usize, end: usize) -> usize {
        let (mut row, mut count) = (start, 0);
        while row < end {
            let until = ((row | 63) + 1).min(end);
            let (from, len) = (row & 63, until - row);
            let mask = if len == 64 { u64::MAX } else { ((1 << len) - 1) << from };
            count += self.bits.get(row >> 6).map_or(0, |word| (word & mask).count_ones() as usize);
            row = until;
        }
        count
    }

    pub(crate) fn join(&mut self, other: &Self) {
        self.bits.iter_mut().zip(&other.bits).for_each(|(a, b)| *a |= b);
    }

    pub(crate) fn minus(&self, other: &Self) -> Self {
        Self { bits: self.bits.iter().zip(&other.bits).map(|(a, b)| a & !b).collect() }
    }

    pub(crate) fn within(&self, other: &Self) -> Self {
        Self { bits: self.bits.iter().zip(&other.bits).map(|(a, b)| a & b).collect() }
    }

    /// The pages that hold rows of the set.
    pub(crate) fn pages(&self) -> impl Iterator<Item = usize> + Clone {
        let words = PAGE_ROWS / 64;
        self.bits.chunks(words).enumerate().filter(|(_, page)| page.iter().any(|w| *w != 0)).map(|(at, _)| at)
    }

    /// True when they are so few that each is better looked up by itself than in pages unpacked for all.
    pub(crate) fn are_few(&self) -> bool {
        self.len() <= self.pages().count() * PICKED_MAX
    }

    /// From the first to the last row; as good as none without any.
    pub(crate) fn span(&self) -> Range<usize> {
        let mut pages = self.pages();
        let first = pages.next().map_or(0, |page| self.span_in(page).start);
        let last = (0..self.bits.len()).rev().find(|at| self.bits.get(*at).is_some_and(|word| *word != 0));
        first..last.map_or(0, |at| (at + 1) << 6)
    }

    /// From the first to the last row of a page; as good as none where it has none.
    pub(crate) fn span_in(&self, page: usize) -> Range<usize> {
        let words = PAGE_ROWS / 64;
        let there = || {
            let of_page = self.bits.iter().enumerate().skip(page * words).take(words);
            of_page.filter(|(_, word)| **word != 0)
        };
        let first = there().next().map_or(0, |(at, word)| (at << 6) + word.trailing_zeros() as usize);
        let last = there().next_back().map_or(0, |(at, word)| (at << 6) + 64 - word.leading_zeros() as usize);
        first..last
    }

    /// The rows that pass `test`.
    pub(crate) fn keeping(&self, mut test: impl FnMut(&usize) -> bool) -> Self {
        let mut kept = Self { bits: vec![0; self.bits.len()] };
        self.iter().filter(|row| test(row)).for_each(|row| kept.insert(row));
        kept
    }

    /// Adds the rows of a page, among some, whose value passes; `values` are those of the page.
    fn insert_passing<T>(&mut self, page: usize, values: &[T], of: &Self, test: impl Fn(&T) -> bool) {
        let words = page * PAGE_ROWS / 64..;
        for (values, at) in values.chunks(64).zip(words) {
            let wanted = of.bits.get(at).copied().unwrap_or(0);
            if wanted == 0 {
                continue;
            }
            let passing = |word: u64, (bit, value): (usize, &T)| word | u64::from(test(value)) << bit;
            let word = values.iter().enumerate().fold(0, passing);
            if let Some(own) = self.bits.get_mut(at) {
                *own |= word & wanted;
            }
        }
    }

    /// The rows of those pages that pass `test`.
    fn of_pages(&self, mut test: impl FnMut(usize) -> bool) -> Self {
        let mut kept = self.clone();
        for (page, bits) in kept.bits.chunks_mut(PAGE_ROWS / 64).enumerate() {
            if bits.iter().any(|word| *word != 0) && !test(page) {
                bits.fill(0);
            }
        }
        kept
    }
}

/// A row group and what of it was read.
pub(crate) struct LogGroup<'a> {
    reader: GroupReader<'a>,
    pub(crate) index: &'a LogIndex,
    pub(crate) group: &'a GroupIndex,
    pub(crate) rows: usize,
    times: Option<Times>,
    arrivals: Option<Paged<u64>>,
    severities: Option<Paged<Severity>>,
    trace_ids: Option<Paged<TraceId>>,
    span_ids: Option<Paged<SpanId>>,
    metadata: Option<MetadataCells>,
    /// Per row its template, [`ABSENT`] for whole lines.
    templates: Option<Paged<u32>>,
    lines: Option<Cells>,
    cells: Vec<Option<Cells>>,
    streams: StreamFacts,
}

/// Which columns a row is put together from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Parts {
    pub(crate) line: bool,
    pub(crate) metadata: bool,
    pub(crate) ids: bool,
    pub(crate) severity: bool,
}

impl Parts {
    pub(crate) const ALL: Self = Self { line: true, metadata: true, ids: true, severity: true };

    /// What a field needs to be read from a row.
    pub(crate) fn of(field: &Field) -> Self {
        Self {
            line: matches!(field, Field::Line | Field::Parsed(..) | Field::Plain(_)),
            metadata: matches!(field, Field::Metadata(_) | Field::Parsed(..)),
            ids: matches!(field, Field::TraceId | Field::SpanId),
            severity: matches!(field, Field::Severity),
        }
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            line: self.line || other.line,
            metadata: self.metadata || other.metadata,
            ids: self.ids || other.ids,
            severity: self.severity || other.severity,
        }
    }
}

/// Room for a row that is picked.
#[derive(Default)]
pub(crate) struct PickSpace {
    line: String,
    metadata: LabelSet,
}

static NO_LABELS: std::sync::LazyLock<LabelSet> = std::sync::LazyLock::new(LabelSet::empty);

impl<'a> LogGroup<'a> {
    pub(crate) fn new(
        reader: GroupReader<'a>,
        index: &'a LogIndex,
        group: &'a GroupIndex,
        streams: StreamFacts,
    ) -> Result<Self, PartError> {
        let rows = reader.rows();
        if group.rows() != rows {
            return Err(damaged("the index of a part of logs has another number of rows"));
        }
        let cells = index.columns.iter().map(|_| None).collect();
        Ok(Self {
            reader,
            index,
            group,
            rows,
            times: None,
            arrivals: None,
            severities: None,
            trace_ids: None,
            span_ids: None,
            metadata: None,
            templates: None,
            lines: None,
            cells,
            streams,
        })
    }

    /// Bytes held by what was read, roughly.
    pub(crate) fn heap_bytes(&self) -> usize {
        fn of<T>(column: &Option<Paged<T>>) -> usize {
            column.as_ref().map_or(0, Paged::heap_bytes)
        }
        let own = self.times.as_ref().map_or(0, Times::heap_bytes)
            + of(&self.arrivals)
            + of(&self.severities)
            + of(&self.trace_ids)
            + of(&self.span_ids)
            + of(&self.templates)
            + self.metadata.as_ref().map_or(0, MetadataCells::heap_bytes);
        own + self.cells.iter().flatten().chain(&self.lines).map(Cells::heap_bytes).sum::<usize>()
    }

    pub(crate) fn labels(&self, run: &Run) -> &'a LabelSet {
        self.index.streams.get(run.stream as usize).unwrap_or(&NO_LABELS)
    }

    /// The rows of a range and of some streams.
    pub(crate) fn in_range(&mut self, range: TimeRange, wanted: &Passing) -> Result<Rows, PartError> {
        let group = self.group;
        let is_wanted = |run: &Run| wanted.holds(run.stream);
        let is_inside = range.contains(group.time.start) && range.contains(group.time.end);
        if is_inside && wanted.common() == Some(true) {
            return self.without_deleted(Rows::all(self.rows));
        }
        let (mut rows, mut doubtful) = (Rows::none(self.rows), Rows::none(self.rows));
        for run in group.runs.iter().filter(|run| is_wanted(run) && run.time.overlaps(range)) {
            let is_whole = range.contains(run.time.start) && range.contains(run.time.end);
            let to = if is_whole { &mut rows } else { &mut doubtful };
            to.insert_range(run.start, run.start + run.rows);
        }
        if !doubtful.is_empty() {
            self.times(&doubtful)?;
            rows.join(&doubtful.keeping(|row| range.contains(self.time(*row))));
        }
        self.without_deleted(rows)
    }

    /// Takes out the rows that were deleted.
    fn without_deleted(&mut self, rows: Rows) -> Result<Rows, PartError> {
        let hidden = self.reader.hidden().clone();
        let mut left = rows;
        for (range, filter) in hidden.deletes() {
            let mut inside = Rows::none(self.rows);
            self.times(&left)?;
            let is_inside = |row: &usize| range.contains(self.time(*row));
            left.iter().filter(is_inside).for_each(|row| inside.insert(row));
            left = left.minus(&self.passing(filter, &inside)?);
        }
        Ok(left)
    }

    /// The times of neighbouring rows, a page at a time, once they were read.
    pub(crate) fn times_of(&self, rows: Range<usize>) -> impl Iterator<Item = &[Nanos]> {
        self.times.as_ref().into_iter().flat_map(move |times| times.of(rows.clone()))
    }

    /// Has the times of some rows at hand.
    pub(crate) fn times(&mut self, of: &Rows) -> Result<(), PartError> {
        let (rows, tick) = (self.rows, self.index.tick);
        self.times.get_or_insert_with(|| Times::new(rows, tick)).load(&self.reader, of)
    }

    /// The time of a row, once times were read.
    #[inline]
    pub(crate) fn time(&self, row: usize) -> Nanos {
        self.times.as_ref().and_then(|times| times.get(row)).unwrap_or(Nanos(0))
    }

    /// The place of a row among those of its time, once places were read where there are ties.
    pub(crate) fn arrival(&self, row: usize) -> u64 {
        self.arrivals.as_ref().and_then(|places| places.get(row)).copied().unwrap_or(0)
    }

    /// Has the places of some rows in the order of arrival at hand.
    pub(crate) fn arrivals(&mut self, of: &Rows) -> Result<(), PartError> {
        let reader = &self.reader;
        self.arrivals.get_or_insert_with(|| Paged::new(self.rows)).load(of.pages(), |page, rows| {
            let places = cells::required_numbers(reader, ARRIVAL, page, rows)?;
            Ok(places.into_iter().map(i64::cast_unsigned).collect())
        })
    }

    /// The severities of some rows.
    fn severities(&mut self, of: &Rows) -> Result<&Paged<Severity>, PartError> {
        let reader = &self.reader;
        let severities = self.severities.get_or_insert_with(|| Paged::new(self.rows));
        severities.load(of.pages(), |page, rows| {
            let numbers = cells::small_numbers(reader, SEVERITY, page, rows, false)?.into_iter();
            let severity =
                |number: Option<i32>| number.and_then(|n| u8::try_from(n).ok()).unwrap_or_default();
            Ok(numbers.map(|number| Severity(severity(number))).collect())
        })?;
        Ok(severities)
    }

    fn templates(&mut self, of: &Rows) -> Result<&Paged<u32>, PartError> {
        let (known, reader) = (self.index.templates.len(), &self.reader);
        let template = |number: Option<i32>| match number {
            None => Ok(ABSENT),
            Some(number) => {
                let number = u32::try_from(number).ok().filter(|number| (*number as usize) < known);
                number.ok_or_else(|| damaged("a template is not in the index"))
            }
        };
        let templates = self.templates.get_or_insert_with(|| Paged::new(self.rows));
        templates.load(of.pages(), |page, rows| {
            cells::small_numbers(reader, TEMPLATE, page, rows, true)?.into_iter().map(template).collect()
        })?;
        Ok(templates)
    }

    fn ids(&mut self, of: &Rows) -> Result<(), PartError> {
        let reader = &self.reader;
        let traces = self.trace_ids.get_or_insert_with(|| Paged::new(self.rows));
        traces.load(of.pages(), |page, rows| {
            cells::ids(reader, TRACE_ID, page, rows, TraceId::NONE, TraceId::from_slice)
        })?;
        let spans = self.span_ids.get_or_insert_with(|| Paged::new(self.rows));
        spans.load(of.pages(), |page, rows| {
            cells::ids(reader, SPAN_ID, page, rows, SpanId::NONE, SpanId::from_slice)
        })
    }

    fn metadata(&mut self, of: &Rows) -> Result<(), PartError> {
        self.metadata.get_or_insert_with(|| MetadataCells::new(self.rows)).load(&self.reader, of.pages())
    }

    fn open_cells(&mut self, column: u16) -> Result<(), PartError> {
        let place = usize::from(column);
        let kind = self.index.columns.get(place).ok_or_else(|| damaged("a field is missing"))?;
        if let Some(slot) = self.cells.get_mut(place)
            && slot.is_none()
        {
            *slot = Some(Cells::open(&self.reader, self.index.leaf(column), kind, self.rows)?);
        }
        Ok(())
    }

    /// A field's values, those of some pages at least.
    fn cells(&mut self, column: u16, of: &Rows) -> Result<(&Cells, &'a Kind), PartError> {
        self.open_cells(column)?;
        let place = usize::from(column);
        let (Some(Some(cells)), Some(kind)) = (self.cells.get_mut(place), self.index.columns.get(place))
        else {
            return Err(damaged("a field is missing"));
        };
        cells.load(&self.reader, self.index.leaf(column), kind, of.pages())?;
        Ok((cells, kind))
    }

    fn whole_lines(&mut self, of: &Rows) -> Result<&Cells, PartError> {
        let lines = self.lines.get_or_insert_with(|| Cells::lines(self.rows));
        lines.load(&self.reader, LINE, &Kind::Text, of.pages())?;
        Ok(lines)
    }

    /// The rows without a template among some.
    fn untemplated(&mut self, of: &Rows) -> Result<Rows, PartError> {
        let has_lines = self.group.grams.iter().any(|(column, _)| *column == GramColumn::Line);
        let mut rows = Rows::none(self.rows);
        if has_lines {
            let templates = self.templates(of)?;
            of.iter().filter(|row| templates.get(*row) == Some(&ABSENT)).for_each(|row| rows.insert(row));
        }
        Ok(rows)
    }

    /// Has everything at hand that rows are put together from.
    pub(crate) fn prepare(&mut self, of: &Rows, parts: Parts) -> Result<(), PartError> {
        if parts.severity {
            self.severities(of)?;
        }
        if parts.ids {
            self.ids(of)?;
        }
        if parts.metadata && self.has_metadata() {
            self.metadata(of)?;
        }
        if parts.line && !of.is_empty() {
            let whole_lines = self.untemplated(of)?;
            self.whole_lines(&whole_lines)?;
            let mut used = vec![false; self.index.templates.len()];
            let templates = self.templates(of)?;
            for row in of.iter() {
                let template = templates.get(row).and_then(|template| used.get_mut(*template as usize));
                template.into_iter().for_each(|used| *used = true);
            }
            let index = self.index;
            let used = index.templates.iter().zip(used).filter(|(_, used)| *used);
            for slot in used.flat_map(|(template, _)| &template.slots) {
                self.cells(slot.column, of)?;
            }
        }
        Ok(())
    }

    /// Appends the line of a row that was prepared.
    pub(crate) fn push_line(&self, row: usize, out: &mut String) -> Result<(), PartError> {
        let template = self.templates.as_ref().and_then(|templates| templates.get(row));
        match template.and_then(|template| self.index.templates.get(*template as usize)) {
            None => {
                let line =
                    self.lines.as_ref().map(|lines| lines.push_text(&Kind::Text, row, out)).transpose()?;
                (line == Some(true)).then_some(()).ok_or_else(|| damaged("a line is missing"))
            }
            Some(template) => {
                for slot in &template.slots {
                    out.push_str(&slot.before);
                    if !self.push_value(slot.column, row, out)? {
                        return Err(damaged("a line misses a value"));
                    }
                }
                out.push_str(&template.end);
                Ok(())
            }
        }
    }

    fn push_value(&self, column: u16, row: usize, out: &mut String) -> Result<bool, PartError> {
        let place = usize::from(column);
        match (self.cells.get(place), self.index.columns.get(place)) {
            (Some(Some(cells)), Some(kind)) => cells.push_text(kind, row, out),
            _ => Err(damaged("a field was not read")),
        }
    }

    /// A row of what was prepared; `line` is work space.
    pub(crate) fn row<'r>(
        &'r self,
        row: usize,
        labels: &'r LabelSet,
        parts: Parts,
        line: &'r mut String,
    ) -> Result<LogRow<'r>, PartError> {
        line.clear();
        if parts.line {
            self.push_line(row, line)?;
        }
        fn at<T: Copy>(column: &Option<Paged<T>>, row: usize, none: T) -> T {
            column.as_ref().and_then(|column| column.get(row)).copied().unwrap_or(none)
        }
        Ok(LogRow {
            stream: labels,
            time: self.time(row),
            severity: at(&self.severities, row, Severity::UNKNOWN),
            trace_id: at(&self.trace_ids, row, TraceId::NONE),
            span_id: at(&self.span_ids, row, SpanId::NONE),
            line,
            metadata: self.metadata.as_ref().and_then(|sets| sets.get(row)).unwrap_or(&NO_LABELS),
        })
    }

    /// True when records of the group have structured metadata.
    fn has_metadata(&self) -> bool {
        self.index.metadata_names.as_ref().is_none_or(|names| !names.is_empty())
    }

    /// Has at hand what [`Self::pick`] does not look up itself: structured metadata in a form that few parts have.
    pub(crate) fn prepare_pick(&mut self, of: &Rows) -> Result<(), PartError> {
        if self.has_metadata() && !metadata::is_pickable(&self.reader) { self.metadata(of) } else { Ok(()) }
    }

    /// One row that was prepared, whose time is known, read from its pages without reading these for other rows; `space`
    /// is work space.
    pub(crate) fn pick<'r>(
        &'r self,
        (row, time): (usize, Nanos),
        labels: &'r LabelSet,
        space: &'r mut PickSpace,
    ) -> Result<LogRow<'r>, PartError> {
        let picker = Picker::new(&self.reader, self.rows, row);
        let PickSpace { line, metadata } = space;
        line.clear();
        self.pick_line(&picker, line)?;
        *metadata = match &self.metadata {
            Some(sets) => sets.get(row).cloned().unwrap_or_default(),
            None if self.has_metadata() => picker.metadata()?,
            None => LabelSet::empty(),
        };
        let severity = picker.small_number(SEVERITY, false)?.and_then(|n| u8::try_from(n).ok());
        Ok(LogRow {
            stream: labels,
            time,
            severity: Severity(severity.unwrap_or_default()),
            trace_id: picker.id(TRACE_ID, 16, TraceId::NONE, TraceId::from_slice)?,
            span_id: picker.id(SPAN_ID, 8, SpanId::NONE, SpanId::from_slice)?,
            line,
            metadata,
        })
    }

    fn pick_line(&self, picker: &Picker<'_, '_>, line: &mut String) -> Result<(), PartError> {
        let Some(number) = picker.small_number(TEMPLATE, true)? else {
            let is_there = picker.push_text(LINE, &Kind::Text, line)?;
            return is_there.then_some(()).ok_or_else(|| damaged("a line is missing"));
        };
        let template = usize::try_from(number).ok().and_then(|at| self.index.templates.get(at));
        let template = template.ok_or_else(|| damaged("a template is not in the index"))?;
        for slot in &template.slots {
            line.push_str(&slot.before);
            let kind = self.index.columns.get(usize::from(slot.column));
            let kind = kind.ok_or_else(|| damaged("a field is missing"))?;
            let is_there = picker.push_text(self.index.leaf(slot.column), kind, line)?;
            is_there.then_some(()).ok_or_else(|| damaged("a line misses a value"))?;
        }
        line.push_str(&template.end);
        Ok(())
    }

    /// The times of some rows, in order; where they are few, without unpacking the pages that hold them.
    pub(crate) fn times_each(&mut self, of: &Rows) -> Result<Vec<Nanos>, PartError> {
        if self.times.is_some() || !of.are_few() {
            self.times(of)?;
            return Ok(of.iter().map(|row| self.time(row)).collect());
        }
        let (tick, reader, rows) = (self.index.tick, &self.reader, self.rows);
        let time = |row| {
            let ticks = Picker::new(reader, rows, row).number(TIME, false)?;
            Ok(Nanos(ticks.ok_or_else(|| damaged("a time is missing"))?.wrapping_mul(tick)))
        };
        of.iter().map(time).collect()
    }

    /// Hands rows with the labels of their streams to `see`, in order.
    pub(crate) fn for_each_run(
        &self,
        of: &Rows,
        mut see: impl FnMut(&Run, &'a LabelSet, usize) -> Result<(), PartError>,
    ) -> Result<(), PartError> {
        let (runs, mut at) = (&self.group.runs, 0);
        let is_before = |run: &Run, row: usize| run.start + run.rows <= row;
        for row in of.iter() {
            if runs.get(at).is_some_and(|run| is_before(run, row)) {
                // Mostly in the next one, else rows are few.
                at += 1;
                if runs.get(at).is_some_and(|run| is_before(run, row)) {
                    at += runs.get(at..).unwrap_or_default().partition_point(|run| is_before(run, row));
                }
            }
            if let Some(run) = runs.get(at) {
                see(run, self.labels(run), row)?;
            }
        }
        Ok(())
    }

    /// The rows among some that pass a filter.
    pub(crate) fn passing(&mut self, filter: &Filter, of: &Rows) -> Result<Rows, PartError> {
        if of.is_empty() {
            return Ok(of.clone());
        }
        match filter {
            Filter::All => Ok(of.clone()),
            Filter::And(parts) => {
                let mut left = of.clone();
                // What costs little goes first.
                let mut ordered: Vec<&Filter> = parts.iter().collect();
                ordered.sort_by_key(|part| cost(part));
                for part in ordered {
                    left = self.passing(part, &left)?;
                }
                Ok(left)
            }
            Filter::Or(parts) => {
                let mut found = Rows::none(self.rows);
                for part in parts {
                    let left = of.minus(&found);
                    found.join(&self.passing(part, &left)?);
                }
                Ok(found)
            }
            Filter::Not(part) => Ok(of.minus(&self.passing(part, of)?)),
            Filter::Contains(Field::Line, needle) => self.containing(needle, of),
            leaf => match field_of(leaf) {
                Some(Field::Label(_)) => Ok(self.of_labels(leaf, of)),
                Some(Field::Parsed(syntax, name)) => self.of_parsed(leaf, *syntax, name, of),
                Some(Field::Plain(syntax)) => self.plain(leaf, *syntax, of),
                Some(field @ Field::Metadata(name)) if !self.index.may_have_metadata(name) => {
                    let is_passed = leaf.matches(&Absent(field));
                    Ok(if is_passed { of.clone() } else { Rows::none(self.rows) })
                }
                Some(field) => self.by_rows(leaf, Parts::of(field), of),
                None => self.by_rows(leaf, Parts::ALL, of),
            },
        }
    }

    /// Looks at rows one by one: right for every filter, and the definition of what the other ways do.
    fn by_rows(&mut self, filter: &Filter, parts: Parts, of: &Rows) -> Result<Rows, PartError> {
        let mut found = Rows::none(self.rows);
        let mut line = String::new();
        for page in of.pages() {
            let some = of.of_pages(|other| other == page);
            self.prepare(&some, parts)?;
            self.for_each_run(&some, |_, labels, row| {
                if filter.matches(&self.row(row, labels, parts, &mut line)?) {
                    found.insert(row);
                }
                Ok(())
            })?;
        }
        Ok(found)
    }

    /// Per stream whether it passes a test of labels.
    pub(super) fn streams_passing(&self, leaf: &Filter) -> Passing {
        self.streams.passing(leaf, self.index)
    }

    /// True when some rows of the group may be deleted.
    pub(crate) fn has_deletes(&self) -> bool {
        !self.reader.hidden().is_empty()
    }

    fn of_labels(&self, leaf: &Filter, of: &Rows) -> Rows {
        let passes = self.streams_passing(leaf);
        let is_passed = |run: &&Run| passes.holds(run.stream);
        let mut found = Rows::none(self.rows);
        match passes.common() {
            Some(true) => return of.clone(),
            Some(false) => return found,
            None => {}
        }
        for run in self.group.runs.iter().filter(is_passed) {
            found.insert_range(run.start, run.start + run.rows);
        }
        found.within(of)
    }

    /// Per template the column of a name that queries know.
    pub(super) fn columns_of(&self, syntax: LineSyntax, name: &str) -> Vec<Option<u16>> {
        let column = |template: &Template| {
            let named = |slot: &&super::index::Slot| slot.name.as_deref() == Some(name);
            let is_known = template.is_plain && template.syntax == syntax;
            is_known.then(|| template.slots.iter().find(named).map(|slot| slot.column)).flatten()
        };
        self.index.templates.iter().map(column).collect()
    }

    fn of_parsed(
        &mut self,
        leaf: &Filter,
        syntax: LineSyntax,
        name: &str,
        of: &Rows,
    ) -> Result<Rows, PartError> {
        if self.index.may_have_metadata(name) {
            return self.by_rows(leaf, Parts::of(&Field::Parsed(syntax, name.into())), of);
        }
        let mut found = Rows::none(self.rows);
        let mut labelled = Rows::none(self.rows);
        let has_label = self.labelled(name);
        let is_labelled = |run: &&Run| has_label.holds(run.stream);
        let runs = if has_label.common() == Some(false) { &[][..] } else { &self.group.runs };
        for run in runs.iter().filter(is_labelled) {
            labelled.insert_range(run.start, run.start + run.rows);
            if leaf.matches(&Text(self.labels(run).get(name))) {
                found.insert_range(run.start, run.start + run.rows);
            }
        }
        let mut found = found.within(of);
        let rest = of.minus(&labelled);
        let whole = self.untemplated(&rest)?;
        found.join(&self.by_rows(leaf, Parts { line: true, ..Parts::default() }, &whole)?);
        let cut = rest.minus(&whole);
        let columns = self.columns_of(syntax, name);
        for column in distinct(&columns) {
            let rows = self.of_templates(&cut, |template| columns.get(template) == Some(&Some(column)))?;
            found.join(&self.of_cells(leaf, column, &rows)?);
        }
        Ok(found)
    }

    /// The rows among some whose template passes `test`.
    fn of_templates(&mut self, of: &Rows, test: impl Fn(usize) -> bool) -> Result<Rows, PartError> {
        let passes: Vec<bool> = (0..self.index.templates.len()).map(test).collect();
        let has_lines = self.group.grams.iter().any(|(column, _)| *column == GramColumn::Line);
        if !has_lines && passes.iter().all(|passes| *passes) {
            return Ok(of.clone());
        }
        if !passes.contains(&true) {
            return Ok(Rows::none(self.rows));
        }
        let mut found = Rows::none(self.rows);
        let templates = self.templates(of)?;
        let is_passed = |row: &usize| {
            templates.get(*row).and_then(|template| passes.get(*template as usize)) == Some(&true)
        };
        of.iter().filter(is_passed).for_each(|row| found.insert(row));
        Ok(found)
    }

    /// The rows among some, all with a value in a column, whose value passes.
    fn of_cells(&mut self, leaf: &Filter, column: u16, of: &Rows) -> Result<Rows, PartError> {
        let mut found = Rows::none(self.rows);
        if of.is_empty() {
            return Ok(found);
        }
        if self.index.columns.get(usize::from(column)).is_some_and(|kind| always_passes(leaf, kind)) {
            return Ok(of.clone());
        }
        if let Some(values) = self.group.values_of(column) {
            let mut passes = values.iter().map(|(text, _)| leaf.matches(&Text(text)));
            match passes.next() {
                Some(true) if passes.all(|passes| passes) => return Ok(of.clone()),
                Some(false) if passes.all(|passes| !passes) => return Ok(found),
                _ => {}
            }
        }
        let (cells, kind) = self.cells(column, of)?;
        match cells {
            Cells::Dictionary { texts, codes } => {
                let passes: Vec<bool> = texts.iter().map(|text| leaf.matches(&Text(text))).collect();
                for page in of.pages() {
                    let codes = codes.page(page).unwrap_or_default();
                    found.insert_passing(page, codes, of, |code| passes.get(*code as usize) == Some(&true));
                }
            }
            Cells::Numbers { values, .. } => {
                let test = NumberTest::new(leaf, kind);
                let text = RefCell::new(String::new());
                for page in of.pages() {
                    let values = values.page(page).unwrap_or_default();
                    found.insert_passing(page, values, of, |value| {
                        test.passes(*value, kind, leaf, &mut text.borrow_mut())
                    });
                }
            }
            Cells::Bytes { .. } | Cells::Phrases(_) => {
                let mut text = String::new();
                for row in of.iter() {
                    text.clear();
                    if cells.push_text(kind, row, &mut text)? && leaf.matches(&Text(&text)) {
                        found.insert(row);
                    }
                }
            }
        }
        Ok(found)
    }

    fn plain(&mut self, leaf: &Filter, syntax: LineSyntax, of: &Rows) -> Result<Rows, PartError> {
        let whole = self.untemplated(of)?;
        let mut found = self.by_rows(leaf, Parts { line: true, ..Parts::default() }, &whole)?;
        let cut = of.minus(&whole);
        let index = self.index;
        let is_plain = |template: usize| {
            index
                .templates
                .get(template)
                .is_some_and(|template| template.is_plain && template.syntax == syntax)
        };
        let plain = self.of_templates(&cut, is_plain)?;
        if leaf.matches(&Truth) {
            found.join(&plain);
        }
        Ok(found)
    }

    /// The rows among some whose line contains a text.
    fn containing(&mut self, needle: &str, of: &Rows) -> Result<Rows, PartError> {
        if needle.is_empty() {
            return Ok(of.clone());
        }
        let search = self.streams.search(needle, self.index);
        let mut found = self.whole_lines_containing(&search.finder, of)?;
        if search.everywhere.contains(&true) {
            let of_literals = self.of_templates(of, |at| search.everywhere.get(at) == Some(&true))?;
            found.join(&of_literals);
        }
        for column in &search.columns {
            self.values_containing(&search, column, of, &mut found)?;
        }
        for (number, starts) in &search.straddles {
            let left = self.of_templates(&of.minus(&found), |at| at == *number)?;
            found.join(&self.straddling(*number, search.needle(), starts, &left)?);
        }
        Ok(found)
    }

    fn whole_lines_containing(&mut self, finder: &Finder<'_>, of: &Rows) -> Result<Rows, PartError> {
        let mut found = Rows::none(self.rows);
        let Some((_, grams)) = self.group.grams.iter().find(|(column, _)| *column == GramColumn::Line) else {
            return Ok(found);
        };
        let left = of.of_pages(|page| grams.get(page).is_none_or(|grams| grams.may_contain(finder.needle())));
        let left = self.untemplated(&left)?;
        find_in_pages(self.whole_lines(&left)?, finder, &left, &mut found);
        Ok(found)
    }

    /// Adds the rows among some that have a value in a column with the text inside.
    fn values_containing(
        &mut self,
        search: &Search,
        of_column: &SearchedColumn,
        of: &Rows,
        found: &mut Rows,
    ) -> Result<(), PartError> {
        let (finder, column, group) = (&search.finder, of_column.column, self.group);
        let kind =
            self.index.columns.get(usize::from(column)).ok_or_else(|| damaged("a field is missing"))?;
        if matches!(kind, Kind::Phrases(_)) {
            let left = of.minus(found);
            return self.phrases_containing(search, of_column, &left, found);
        }
        if let Some(values) = group.values_of(column)
            && !values.iter().any(|(text, _)| finder.find(text.as_bytes()).is_some())
        {
            return Ok(());
        }
        let grams = group.grams.iter().find(|(of, _)| *of == GramColumn::Field(column));
        let may_contain = |page: usize| {
            let grams = grams.and_then(|(_, pages)| pages.get(page));
            grams.is_none_or(|grams| match (kind, &of_column.whole) {
                (Kind::Hex { .. }, Some(value)) => grams.may_hold(value),
                (Kind::Hex { .. }, None) => true,
                _ => grams.may_contain(finder.needle()),
            })
        };
        if !of.pages().any(may_contain) {
            return Ok(());
        }
        let left = of.minus(found).of_pages(may_contain);
        if left.is_empty() {
            return Ok(());
        }
        let (cells, kind) = self.cells(column, &left)?;
        match cells {
            Cells::Dictionary { texts, codes } => {
                let has: Vec<bool> =
                    texts.iter().map(|text| finder.find(text.as_bytes()).is_some()).collect();
                if has.contains(&true) {
                    let is_hit =
                        |row: &usize| codes.get(*row).and_then(|code| has.get(*code as usize)) == Some(&true);
                    left.iter().filter(is_hit).for_each(|row| found.insert(row));
                }
            }
            Cells::Bytes { .. } if *kind == Kind::Text => find_in_pages(cells, finder, &left, found),
            Cells::Bytes { .. } if let Some(whole) = &of_column.whole => {
                find_in_pages(cells, &Finder::new(whole), &left, found);
            }
            _ => {
                let mut text = String::new();
                for row in left.iter() {
                    text.clear();
                    if cells.push_text(kind, row, &mut text)? && finder.find(text.as_bytes()).is_some() {
                        found.insert(row);
                    }
                }
            }
        }
        Ok(())
    }

    /// Adds the rows among some whose text in a column of phrases contains a text. Where the wording says it, no number is
    /// read.
    fn phrases_containing(
        &mut self,
        search: &Search,
        SearchedColumn { column, phrases: of_phrases, .. }: &SearchedColumn,
        of: &Rows,
        found: &mut Rows,
    ) -> Result<(), PartError> {
        let (finder, group) = (&search.finder, self.group);
        let grams = group.grams.iter().find(|(of, _)| *of == GramColumn::Field(*column));
        let may_contain = |page: usize| {
            let grams = grams.and_then(|(_, pages)| pages.get(page));
            grams.is_none_or(|grams| grams.may_contain(finder.needle()))
        };
        let left = of.of_pages(may_contain);
        let is_worded = of_phrases.iter().any(|says| *says != Contains::Never);
        if of.is_empty() || left.is_empty() && !is_worded {
            return Ok(());
        }
        self.open_cells(*column)?;
        let (leaf, reader) = (self.index.leaf(*column), &self.reader);
        let Some(Some(Cells::Phrases(cells))) = self.cells.get_mut(usize::from(*column)) else {
            return Err(damaged("a field is missing"));
        };
        let says = |number: u32, what: Contains| of_phrases.get(number as usize) == Some(&what);
        if is_worded {
            cells.load_codes(reader, leaf, of.pages())?;
        }
        if of_phrases.contains(&Contains::Always) {
            for page in of.pages() {
                let codes = cells.codes.page(page).unwrap_or_default();
                found.insert_passing(page, codes, of, |code| says(*code, Contains::Always));
            }
        }
        if of_phrases.contains(&Contains::ByNumbers) {
            let mut doubtful = Rows::none(self.rows);
            for page in of.pages() {
                let codes = cells.codes.page(page).unwrap_or_default();
                doubtful.insert_passing(page, codes, of, |code| says(*code, Contains::ByNumbers));
            }
            cells.load_numbers(reader, leaf, doubtful.pages(), |number| {
                says(number as u32, Contains::ByNumbers)
            })?;
            let mut text = String::new();
            for row in doubtful.iter() {
                text.clear();
                if cells.push_text(row, &mut text)? && finder.find(text.as_bytes()).is_some() {
                    found.insert(row);
                }
            }
        }
        find_in_pages(cells.load_others(reader, leaf, left.pages())?, finder, &left, found);
        Ok(())
    }

    fn straddling(
        &mut self,
        number: usize,
        needle: &[u8],
        starts: &[Straddle],
        of: &Rows,
    ) -> Result<Rows, PartError> {
        let mut found = Rows::none(self.rows);
        let Some(template) = self.index.templates.get(number).filter(|_| !of.is_empty()) else {
            return Ok(found);
        };
        // A text can straddle so many values as it has bytes, and more when values are empty.
        let first = starts.iter().map(|start| start.slot).min().unwrap_or(0);
        for slot in template.slots.iter().skip(first) {
            self.cells(slot.column, of)?;
        }
        let mut value = String::new();
        for row in of.iter() {
            for start in starts {
                if start.holds(
                    template,
                    needle,
                    &mut |column, text| {
                        text.clear();
                        self.push_value(column, row, text)
                    },
                    &mut value,
                )? {
                    found.insert(row);
                    break;
                }
            }
        }
        Ok(found)
    }

    /// The texts that the rows have under a field, as codes into a list: one per row of `of`, in order.
    pub(crate) fn keys(&mut self, field: &Field, of: &Rows) -> Result<Keys, PartError> {
        match field {
            Field::Label(name) => Ok(self.label_keys(name)),
            Field::Metadata(name) if !self.index.may_have_metadata(name) => Ok(Keys::Constant(Box::from(""))),
            Field::Severity => {
                let codes = self.severities(of)?.map(|severity| u32::from(severity.0));
                Ok(Keys::Codes { texts: (0..=255u8).map(|n| n.to_string().into()).collect(), codes })
            }
            Field::Parsed(_, name) if self.is_labelled_throughout(name, of) => Ok(self.label_keys(name)),
            Field::Parsed(syntax, name) if !self.index.may_have_metadata(name) => {
                self.parsed_keys(*syntax, name, of)
            }
            _ => self.keys_by_rows(field, of),
        }
    }

    /// Per stream whether it has a label.
    pub(super) fn labelled(&self, name: &str) -> Passing {
        self.streams.passing(&Filter::Exists(Field::Label(name.into())), self.index)
    }

    /// True when the streams of all these rows have a label of that name: parsers leave it alone then.
    fn is_labelled_throughout(&self, name: &str, of: &Rows) -> bool {
        let has_label = self.labelled(name);
        has_label.common() == Some(true)
            || self
                .group
                .runs
                .iter()
                .all(|run| has_label.holds(run.stream) || of.count_in(run.start, run.start + run.rows) == 0)
    }

    fn label_keys(&self, name: &str) -> Keys {
        let StreamKeys { texts, codes } = self.streams.keys(name, self.index);
        let code = |run: &Run| codes.get(run.stream as usize).copied().unwrap_or(ABSENT);
        Keys::Runs { texts, codes: self.group.runs.iter().map(code).collect() }
    }

    fn keys_by_rows(&mut self, field: &Field, of: &Rows) -> Result<Keys, PartError> {
        use kenning_model::Record;
        let parts = Parts::of(field);
        self.prepare(of, parts)?;
        let (mut interned, mut line) = (Interner::default(), String::new());
        let mut codes = vec![ABSENT; self.rows];
        self.for_each_run(of, |_, labels, row| {
            let text = self.row(row, labels, parts, &mut line)?.text_of(field);
            if let Some(slot) = codes.get_mut(row) {
                *slot = interned.code(&text);
            }
            Ok(())
        })?;
        Ok(Keys::Codes { texts: interned.texts.into(), codes: Paged::of(codes) })
    }

    fn parsed_keys(&mut self, syntax: LineSyntax, name: &str, of: &Rows) -> Result<Keys, PartError> {
        let columns = self.columns_of(syntax, name);
        let used = distinct(&columns);
        let has_label = self.labelled(name);
        let is_labelled = match has_label.common() {
            Some(common) => common,
            None => self.group.runs.iter().any(|run| has_label.holds(run.stream)),
        };
        if let ([column], false) = (used.as_slice(), is_labelled)
            && self.of_templates(of, |at| columns.get(at) == Some(&Some(*column)))? == *of
        {
            // Every row has its value in one column: it is handed over as it is.
            let column = *column;
            self.cells(column, of)?;
            let cells = self.cells.get(usize::from(column)).and_then(Option::as_ref);
            return match cells {
                Some(Cells::Dictionary { texts, codes }) => {
                    Ok(Keys::Codes { texts: Arc::clone(texts), codes: codes.clone() })
                }
                Some(Cells::Numbers { values, .. }) => Ok(Keys::Numbers { column, values: values.clone() }),
                _ => self.column_keys(column, of),
            };
        }
        self.keys_by_rows(&Field::Parsed(syntax, name.into()), of)
    }

    fn column_keys(&mut self, column: u16, of: &Rows) -> Result<Keys, PartError> {
        let (mut interned, mut text) = (Interner::default(), String::new());
        let mut codes = vec![ABSENT; self.rows];
        for row in of.iter() {
            text.clear();
            self.push_value(column, row, &mut text)?;
            if let Some(slot) = codes.get_mut(row) {
                *slot = interned.code(&text);
            }
        }
        Ok(Keys::Codes { texts: interned.texts.into(), codes: Paged::of(codes) })
    }
}

/// What rows are grouped by in one row group.
pub(crate) enum Keys {
    /// The same text everywhere.
    Constant(Box<str>),
    /// A code for each run into a list of texts.
    Runs { texts: Arc<[Box<str>]>, codes: Vec<u32> },
    /// A code for each row of the group into a list of texts.
    Codes { texts: Arc<[Box<str>]>, codes: Paged<u32> },
    /// A number for each row of the group, of the kind of a column.
    Numbers { column: u16, values: Paged<i64> },
}

/// Texts and their numbers.
#[derive(Default)]
struct Interner {
    texts: Vec<Box<str>>,
    by_text: std::collections::HashMap<Box<str>, u32>,
}

impl Interner {
    fn code(&mut self, text: &str) -> u32 {
        match self.by_text.get(text) {
            Some(code) => *code,
            None => {
                let code = self.texts.len() as u32;
                self.texts.push(text.into());
                self.by_text.insert(text.into(), code);
                code
            }
        }
    }
}

/// True when every text of a kind passes a test: any number is one.
pub(super) fn always_passes(leaf: &Filter, kind: &Kind) -> bool {
    match leaf {
        Filter::Exists(_) => !kind.is_text(),
        Filter::Number(_, Compare::Ge, bound) => *bound == f64::NEG_INFINITY && kind.is_plain_number(),
        _ => false,
    }
}

/// A filter on the text of numbers, taken to the numbers themselves where that is the same.
enum NumberTest {
    /// Only this number passes, if any.
    Equals(Option<i64>),
    /// The number compares so.
    Compares(Compare, f64),
    /// Every number.
    All,
    /// The text must be looked at.
    Text,
}

impl NumberTest {
    fn new(leaf: &Filter, kind: &Kind) -> Self {
        match leaf {
            Filter::Compare(_, Compare::Eq, Literal::Str(text)) => Self::Equals(kind.parse(text)),
            Filter::Exists(_) => Self::All,
            Filter::Number(_, op, number) if kind.is_plain_number() => Self::Compares(*op, *number),
            _ => Self::Text,
        }
    }

    fn passes(&self, value: i64, kind: &Kind, leaf: &Filter, text: &mut String) -> bool {
        match (self, kind.value(value)) {
            (Self::All, _) => true,
            (Self::Equals(wanted), _) => *wanted == Some(value),
            (Self::Compares(op, number), Some(value)) => op.holds_for(value.partial_cmp(number)),
            _ => {
                text.clear();
                kind.format(value, text);
                leaf.matches(&Text(text))
            }
        }
    }
}

/// A row whose only field is a text.
pub(super) struct Text<'a>(pub(super) &'a str);

impl kenning_model::Record for Text<'_> {
    fn any(&self, _: &Field, test: &mut dyn FnMut(kenning_model::ValueRef<'_>) -> bool) -> bool {
        test(kenning_model::ValueRef::Str(self.0))
    }
}

/// A row whose labels and metadata are empty and that has nothing else.
pub(super) struct Absent<'a>(pub(super) &'a Field);

impl kenning_model::Record for Absent<'_> {
    fn any(&self, _: &Field, test: &mut dyn FnMut(kenning_model::ValueRef<'_>) -> bool) -> bool {
        matches!(self.0, Field::Label(_) | Field::Metadata(_)) && test(kenning_model::ValueRef::Str(""))
    }
}

/// A row whose only field is true.
pub(super) struct Truth;

impl kenning_model::Record for Truth {
    fn any(&self, _: &Field, test: &mut dyn FnMut(kenning_model::ValueRef<'_>) -> bool) -> bool {
        test(kenning_model::ValueRef::Bool(true))
    }
}

/// What a filter costs to look at, in the order of magnitude.
pub(crate) fn cost(filter: &Filter) -> u8 {
    match filter {
        Filter::All => 0,
        Filter::And(parts) | Filter::Or(parts) => parts.iter().map(cost).max().unwrap_or(0),
        Filter::Not(part) => cost(part),
        Filter::Contains(Field::Line, _) => 3,
        leaf => match field_of(leaf) {
            Some(Field::Label(_)) => 0,
            Some(Field::Severity | Field::Plain(_)) => 1,
            Some(Field::Parsed(..)) => 2,
            Some(Field::Line) => 5,
            _ => 4,
        },
    }
}

pub(super) fn distinct(columns: &[Option<u16>]) -> Vec<u16> {
    let mut used: Vec<u16> = columns.iter().flatten().copied().collect();
    used.sort_unstable();
    used.dedup();
    used
}

/// The rows among some whose value contains what `finder` looks for, in pages at hand.
fn find_in_pages(cells: &Cells, finder: &Finder<'_>, of: &Rows, found: &mut Rows) {
    for page in of.pages() {
        if let Some(values) = cells.page(page) {
            let mut hits = Rows::none(of.bits.len() << 6);
            values.find(finder, |row| hits.insert(page * PAGE_ROWS + row));
            found.join(&hits.within(of));
        }
    }
}
