//! Fields of lines in memory. Recent records lie as they came; a query for a field of theirs has to cut each line. What it
//! finds is kept as places in the lines, so that the next query need not: four bytes for each end, a field and line.
//!
//! Which lines pass a filter is kept likewise: what watches a server asks the same again and again.
//!
//! Bounded by [`CUT_BYTES_MAX`] over all heads of an engine; what does not fit is found again by each query. It goes with
//! the batch. Cutting compares a line with templates of lines before it ([`super::plan::Stencil`]) and reads it only where
//! none fits.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use kenning_model::{Field, Filter, LineSyntax, LogBatch, PlainFields, Shape};

use super::group::Rows;
use super::plan::{Cutter, Stencil};
use crate::scan::prune::looks_at;

/// Bytes of places and of rows that are kept.
pub(crate) const CUT_BYTES_MAX: usize = 16 << 20;
/// Most templates that a batch's lines are compared with.
const TEMPLATES_MAX: usize = 8;

/// What all heads of an engine keep.
#[derive(Clone, Debug, Default)]
pub(crate) struct CutBudget(Arc<AtomicUsize>);

impl CutBudget {
    fn take(&self, bytes: usize) -> bool {
        let fits = |held: usize| held.checked_add(bytes).filter(|held| *held <= CUT_BYTES_MAX);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    fn give(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes held.
    pub(crate) fn held(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// A field of a syntax, as queries name it.
pub(crate) type FieldName = (LineSyntax, Box<str>);

/// What a row has under a field.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    /// Where the value stands in the line.
    At(u32, u32),
    /// The line is plain and has no such field.
    Absent,
    /// The line is not plain.
    Opaque,
}

/// Where the values of a field stand in the lines of a batch.
#[derive(Debug)]
pub(crate) struct CutField {
    name: FieldName,
    /// Per row where its value begins and ends; `u32::MAX` and 0 for [`Place::Absent`], and 1 for [`Place::Opaque`].
    places: Box<[(u32, u32)]>,
}

impl CutField {
    fn place(&self, row: usize) -> Place {
        match self.places.get(row) {
            Some((u32::MAX, 0)) => Place::Absent,
            Some((u32::MAX, _)) | None => Place::Opaque,
            Some((start, end)) => Place::At(*start, *end),
        }
    }

    /// Whether it is this field.
    pub(crate) fn is(&self, syntax: LineSyntax, name: &str) -> bool {
        self.name.0 == syntax && *self.name.1 == *name
    }

    /// Whether it tells which lines of a syntax are plain: every field does.
    pub(crate) fn is_of(&self, syntax: LineSyntax) -> bool {
        self.name.0 == syntax
    }

    /// Whether a line is plain.
    pub(crate) fn is_plain(&self, row: usize) -> bool {
        self.place(row) != Place::Opaque
    }

    /// The value in a line.
    pub(crate) fn value<'l>(&self, row: usize, line: &'l str) -> Option<&'l str> {
        match self.place(row) {
            Place::At(start, end) => line.get(start as usize..end as usize),
            Place::Absent | Place::Opaque => None,
        }
    }
}

/// What queries have asked of a batch.
#[derive(Debug, Default)]
pub(crate) struct Cuts {
    budget: CutBudget,
    known: Mutex<Vec<Arc<CutField>>>,
    /// Filters and the rows that pass them, last used first. Scans share their filters with all batches.
    passing: Mutex<VecDeque<(Arc<Filter>, Arc<Rows>)>>,
}

/// Filters that are remembered per batch, a bit a row each.
const PASSING_MAX: usize = 8;

/// Bytes of rows that pass a filter, with what holds them.
fn bytes_of(rows: &Rows) -> usize {
    rows.heap_bytes() + size_of::<(Arc<Filter>, Arc<Rows>)>() + size_of::<Rows>()
}

impl Drop for Cuts {
    fn drop(&mut self) {
        let known = self.known.get_mut().unwrap_or_else(PoisonError::into_inner);
        let bytes: usize = known.iter().map(|field| size_of_val::<[_]>(&field.places)).sum();
        let passing = self.passing.get_mut().unwrap_or_else(PoisonError::into_inner);
        let of_rows: usize = passing.iter().map(|(_, rows)| bytes_of(rows)).sum();
        self.budget.give(bytes + of_rows);
    }
}

impl Cuts {
    pub(crate) fn new(budget: &CutBudget) -> Self {
        Self { budget: budget.clone(), known: Mutex::default(), passing: Mutex::default() }
    }

    /// The rows of the batch that pass a filter, as `find` gives them the first time.
    pub(crate) fn passing(&self, filter: &Arc<Filter>, find: impl FnOnce() -> Rows) -> Arc<Rows> {
        let lock = || self.passing.lock().unwrap_or_else(PoisonError::into_inner);
        let place = |known: &VecDeque<(Arc<Filter>, _)>| known.iter().position(|(of, _)| of == filter);
        let mut known = lock();
        if let Some((of, rows)) = place(&known).and_then(|at| known.remove(at)) {
            known.push_front((of, Arc::clone(&rows)));
            return rows;
        }
        drop(known);
        let rows = Arc::new(find());
        let mut known = lock();
        // Another query may have been quicker.
        if place(&known).is_none() {
            while known.len() >= PASSING_MAX {
                known.pop_back().into_iter().for_each(|(_, rows)| self.budget.give(bytes_of(&rows)));
            }
            if self.budget.take(bytes_of(&rows)) {
                known.push_front((Arc::clone(filter), Arc::clone(&rows)));
            }
        }
        rows
    }

    /// Fields of the batch, which is the same each time.
    pub(crate) fn fields(&self, batch: &LogBatch, wanted: &[FieldName]) -> Vec<Arc<CutField>> {
        let find = |known: &[Arc<CutField>], (syntax, name): &FieldName| {
            known.iter().find(|field| field.is(*syntax, name)).map(Arc::clone)
        };
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut found: Vec<Arc<CutField>> = wanted.iter().filter_map(|name| find(&known, name)).collect();
        for syntax in [LineSyntax::Json, LineSyntax::Logfmt] {
            let missing = |name: &&FieldName| name.0 == syntax && find(&found, name).is_none();
            let names: Vec<&FieldName> = wanted.iter().filter(missing).collect();
            let fields: Vec<_> = cut(batch, syntax, &names).into_iter().map(Arc::new).collect();
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            for field in &fields {
                // Another query may have been quicker.
                let is_known = find(&known, &field.name).is_some();
                if !is_known && self.budget.take(size_of_val::<[_]>(&field.places)) {
                    known.push(Arc::clone(field));
                }
            }
            drop(known);
            found.extend(fields);
        }
        found
    }
}

/// The fields that a filter and a shape look at behind a parser. Whether lines are plain is asked of the field without a name.
pub(crate) fn wanted(filter: &Filter, shape: &Shape) -> Vec<FieldName> {
    let names = std::cell::RefCell::new(Vec::new());
    let see = |field: &Field| {
        let name = match field {
            Field::Parsed(syntax, name) => (*syntax, name.clone()),
            Field::Plain(syntax) => (*syntax, Box::from("")),
            _ => return false,
        };
        let mut names = names.borrow_mut();
        if !names.contains(&name) {
            names.push(name);
        }
        false
    };
    looks_at(filter, &see);
    match shape {
        Shape::Group(group) => drop(group.by.iter().any(see)),
        Shape::Numbers { by, of, .. } => drop(by.iter().chain([of]).any(see)),
        _ => {}
    }
    let mut names = names.into_inner();
    let has_named =
        |names: &[FieldName], of| names.iter().any(|(syntax, name)| *syntax == of && !name.is_empty());
    for syntax in [LineSyntax::Json, LineSyntax::Logfmt] {
        if has_named(&names, syntax) {
            names.retain(|(of, name)| *of != syntax || !name.is_empty());
        }
    }
    names
}

/// True when a filter looks at lines as they are: few may be left then for who looks at their fields.
pub(crate) fn looks_at_lines(filter: &Filter) -> bool {
    looks_at(filter, &|field| *field == Field::Line)
}

/// Finds fields of one syntax in all lines of a batch.
fn cut(batch: &LogBatch, syntax: LineSyntax, names: &[&FieldName]) -> Vec<CutField> {
    if names.is_empty() {
        return Vec::new();
    }
    let mut cutter = LineCutter::new(syntax);
    let mut places: Vec<Vec<(u32, u32)>> = names.iter().map(|_| Vec::with_capacity(batch.len())).collect();
    for line in batch.line.iter() {
        cutter.read(line, names, &mut |field, place| {
            if let Some(places) = places.get_mut(field) {
                places.push(match place {
                    Place::At(start, end) => (start, end),
                    Place::Absent => (u32::MAX, 0),
                    Place::Opaque => (u32::MAX, 1),
                });
            }
        });
    }
    let field =
        |(name, places): (&&FieldName, Vec<_>)| CutField { name: (**name).clone(), places: places.into() };
    names.iter().zip(places).map(field).collect()
}

/// Finds fields line by line.
struct LineCutter {
    syntax: LineSyntax,
    cutter: Cutter,
    /// Templates of lines before, and of each wanted field the slot that has it.
    templates: Vec<(Stencil<'static>, Vec<Option<usize>>)>,
    /// That of the line before.
    last: usize,
    values: Vec<Range<usize>>,
    fields: PlainFields,
}

impl LineCutter {
    fn new(syntax: LineSyntax) -> Self {
        Self {
            syntax,
            cutter: Cutter::default(),
            templates: Vec::new(),
            last: 0,
            values: Vec::new(),
            fields: PlainFields::default(),
        }
    }

    /// Hands the place of each field in a line to `see`.
    fn read(&mut self, line: &str, names: &[&FieldName], see: &mut dyn FnMut(usize, Place)) {
        let order = std::iter::once(self.last).chain(0..self.templates.len());
        let (templates, values) = (&self.templates, &mut self.values);
        let fits =
            |number: &usize| templates.get(*number).is_some_and(|(stencil, _)| stencil.cut(line, values));
        if let Some(number) = { order }.find(fits) {
            self.last = number;
            let slots = self.templates.get(number).map_or(&[][..], |(_, slots)| slots);
            for (field, slot) in slots.iter().enumerate() {
                let value = slot.and_then(|slot| self.values.get(slot));
                see(field, value.map_or(Place::Absent, place_of));
            }
            return;
        }
        let is_plain = self.fields.read(self.syntax, line);
        for (field, (_, name)) in names.iter().enumerate() {
            let value = self.fields.range(name).filter(|_| is_plain);
            let none = if is_plain { Place::Absent } else { Place::Opaque };
            see(field, value.map_or(none, |range| place_of(&range)));
        }
        if is_plain && self.templates.len() < TEMPLATES_MAX {
            self.learn(line, names);
        }
    }

    /// Takes the template of a plain line for lines behind it.
    fn learn(&mut self, line: &str, names: &[&FieldName]) {
        let Some(template) = self.cutter.template_of(line).filter(|template| template.syntax == self.syntax)
        else {
            return;
        };
        let slot = |name: &&FieldName| {
            template
                .slots
                .iter()
                .position(|slot| slot.name.as_deref() == Some(&*name.1) && !name.1.is_empty())
        };
        let slots = names.iter().map(slot).collect();
        if let Some(stencil) = Stencil::new(Cow::Owned(template)) {
            self.templates.push((stencil, slots));
        }
    }
}

fn place_of(range: &Range<usize>) -> Place {
    match (u32::try_from(range.start), u32::try_from(range.end)) {
        (Ok(start), Ok(end)) if start < u32::MAX => Place::At(start, end),
        _ => Place::Opaque,
    }
}

#[cfg(test)]
mod tests {
    use kenning_model::{LabelSet, LogRow, Nanos, Severity, SpanId, TraceId, field_of_line};
    use proptest::prelude::*;

    use super::*;
    use crate::logs::plan::tests::line;

    fn batch(lines: &[String]) -> LogBatch {
        let (mut batch, labels) = (LogBatch::default(), LabelSet::empty());
        let stream = batch.add_stream(labels.clone());
        for line in lines {
            let row = LogRow {
                stream: &labels,
                time: Nanos(0),
                severity: Severity::UNKNOWN,
                trace_id: TraceId::NONE,
                span_id: SpanId::NONE,
                line,
                metadata: &labels,
            };
            batch.push(stream, row);
        }
        batch
    }

    proptest! {
        #[test]
        fn fields_are_those_of_their_lines(lines in proptest::collection::vec(line(), 1..40)) {
            let (batch, budget) = (batch(&lines), CutBudget::default());
            let cuts = Cuts::new(&budget);
            let of = |syntax, name: &str| (syntax, Box::from(name));
            let wanted = [
                of(LineSyntax::Json, "a"),
                of(LineSyntax::Json, "b"),
                of(LineSyntax::Logfmt, "b"),
                of(LineSyntax::Logfmt, ""),
            ];
            for wanted in [&wanted[..1], &wanted[..], &wanted[2..]] {
                for field in cuts.fields(&batch, wanted) {
                    for (row, line) in lines.iter().enumerate() {
                        let expect = field_of_line(field.name.0, line, &field.name.1);
                        prop_assert_eq!(field.is_plain(row), expect.is_some(), "{}", line);
                        prop_assert_eq!(field.value(row, line), expect.flatten(), "{}", line);
                    }
                }
            }
            prop_assert_eq!(budget.held(), lines.len() * 4 * size_of::<(u32, u32)>());
            drop(cuts);
            prop_assert_eq!(budget.held(), 0);
        }
    }

    #[test]
    fn what_does_not_fit_is_found_all_the_same() {
        let lines: Vec<String> = (0..10).map(|n| format!("{{\"a\":{n}}}")).collect();
        let (batch, budget) = (batch(&lines), CutBudget::default());
        assert!(budget.take(CUT_BYTES_MAX - 8));
        let cuts = Cuts::new(&budget);
        for _ in 0..2 {
            let fields = cuts.fields(&batch, &[(LineSyntax::Json, "a".into())]);
            assert_eq!(fields[0].value(7, &lines[7]), Some("7"));
        }
        assert_eq!(budget.held(), CUT_BYTES_MAX - 8);
    }
}
