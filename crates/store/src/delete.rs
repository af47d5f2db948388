//! Deletes by selector: invisible at once, gone from the disk later.
//!
//! ```text
//! delete: flush heads -> find the parts that may hold such rows -> one transaction: a tombstone with their ids
//!         -> those parts hide the rows from every later scan
//! later:  merges, and rounds of maintenance with nothing to merge, write such parts anew without the rows;
//!         a tombstone whose parts are all gone is forgotten
//! ```
//!
//! Since heads are flushed first, a tombstone concerns parts only, and only those that were there: rows that arrive
//! later, even equal ones, are in other parts and stay visible. What is hidden is decided where parts are decoded
//! ([`Hidden`]), so that scans, listings and merges agree without knowing of it. Whoever answers from what a part's
//! metadata says, without decoding rows, must ask [`Hidden::is_empty`] first.
//!
//! Promised: [`Engine::delete_rows`] returns after the transaction is durable; a crash leaves all of a delete or
//! nothing; deleted rows never come back. Lacking: taking a delete back, and deletes while the disk is full (heads must
//! be flushed).

use std::fmt;
use std::sync::Arc;

use kenning_codec::bytes::{Decoder, Encoder};
use kenning_model::{
    Compare, Delete, DeleteError, Field, Filter, LabelSet, LineSyntax, Literal, Millis, Nanos, Pattern,
    Record, Table, TenantId, TimeRange, WriteError,
};

use crate::engine::{Engine, lock};
use crate::maintain::{FlushError, Gate};
use crate::manifest::{Edit, ManifestState, PartId, TombstoneEntry};
use crate::merge;
use crate::parts::part::Part;
use crate::parts::{PartError, PartTable};
use crate::scan::prune::{looks_at, may_match};

/// Most deletes that wait for their rows to go from the disk. Each costs every scan of its parts a look.
pub(crate) const TOMBSTONES_MAX: usize = 1_000;
/// Longest delete as the manifest keeps it: selectors with lists of values are the long ones.
const BODY_LEN_MAX: usize = 64 << 10;
/// Deepest nesting of a filter that is read back.
const FILTER_DEPTH_MAX: usize = 32;
/// First byte of a body.
const BODY_VERSION: u8 = 1;

/// A delete in force.
#[derive(Debug)]
pub(crate) struct Tombstone {
    delete: Delete,
}

impl Tombstone {
    pub(crate) const fn new(delete: Delete) -> Self {
        Self { delete }
    }

    fn hides(&self, time: Nanos, row: &impl Record) -> bool {
        self.delete.time.contains(time) && self.delete.filter.matches(row)
    }
}

/// What of a part is deleted. Usually nothing.
#[derive(Clone, Default)]
pub(crate) struct Hidden(Arc<[Arc<Tombstone>]>);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} deletes", self.0.len())
    }
}

impl Hidden {
    /// True when every row may be seen.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn with(&self, tombstone: &Arc<Tombstone>) -> Self {
        Self(self.0.iter().chain([tombstone]).cloned().collect())
    }

    /// True when a row was deleted.
    pub(crate) fn hides(&self, time: Nanos, row: &impl Record) -> bool {
        self.0.iter().any(|tombstone| tombstone.hides(time, row))
    }

    /// Takes out the deleted samples of a series.
    pub(crate) fn retain<T>(&self, labels: &LabelSet, samples: &mut Vec<(Millis, T)>) {
        for tombstone in self.0.iter().filter(|tombstone| tombstone.delete.filter.matches(labels)) {
            samples.retain(|(time, _)| !tombstone.delete.time.contains(time.to_nanos()));
        }
    }

    /// The deletes: which rows of which time.
    pub(crate) fn deletes(&self) -> impl Iterator<Item = (TimeRange, &Filter)> {
        self.0.iter().map(|tombstone| (tombstone.delete.time, &tombstone.delete.filter))
    }

    /// True when rows cannot be told apart without a field that passes `test`.
    pub(crate) fn looks_at(&self, test: &impl Fn(&Field) -> bool) -> bool {
        self.0.iter().any(|tombstone| looks_at(&tombstone.delete.filter, test))
    }
}

/// The tables whose rows go with a delete from one.
fn tables_of(table: Table) -> &'static [PartTable] {
    match table {
        Table::Samples => &[PartTable::Samples, PartTable::Histograms, PartTable::Exemplars],
        Table::Exemplars => &[PartTable::Exemplars],
        Table::Metadata => &[],
        Table::Logs => &[PartTable::Logs],
        Table::Spans => &[PartTable::Spans],
    }
}

/// Has the parts of a catalogue hide what the manifest says is deleted. Gives the number of tombstones that this version
/// cannot read.
pub(crate) fn apply_tombstones<'a>(
    manifest: &ManifestState,
    parts: impl Iterator<Item = &'a Arc<Part>> + Clone,
) -> u64 {
    let mut unknown = 0;
    for entry in manifest.tombstones.values() {
        match decode(&entry.body) {
            Some(delete) => {
                let concerned = parts.clone().filter(|part| entry.parts.contains(&PartId(part.info.name.id)));
                hide(&Arc::new(Tombstone { delete }), concerned);
            }
            None => unknown += 1,
        }
    }
    unknown
}

pub(crate) fn hide<'a>(tombstone: &Arc<Tombstone>, parts: impl Iterator<Item = &'a Arc<Part>>) {
    parts.for_each(|part| part.change_hidden(|hidden| hidden.with(tombstone)));
}

impl Engine {
    /// See [`kenning_model::Store::delete`].
    pub(crate) fn delete_rows(&self, delete: &Delete) -> Result<(), DeleteError> {
        let refused = |detail: String| DeleteError::Refused { detail };
        if tables_of(delete.table).is_empty() {
            return Err(refused("metadata of metrics cannot be deleted".to_owned()));
        }
        let body = encode(delete).ok_or_else(|| {
            refused(format!("the selector takes more than {BODY_LEN_MAX} bytes; delete in smaller steps"))
        })?;
        self.catch_up().map_err(|error| unavailable("reading recent data back", &error))?;
        let mut gate = lock(&self.gate);
        self.flush_gated(&mut gate).map_err(|error| unavailable("flushing recent data", &error))?;
        let parts = self.parts_with(delete).map_err(|error| unavailable("looking for the rows", &error))?;
        if parts.is_empty() {
            return Ok(());
        }
        if gate.manifest.state().tombstones.len() >= TOMBSTONES_MAX {
            let detail =
                format!("{TOMBSTONES_MAX} deletes wait for their rows to go from the disk; clean them first");
            return Err(DeleteError::Unavailable { detail });
        }
        let id = gate.manifest.state().tombstones.last_key_value().map_or(1, |(id, _)| id + 1);
        let ids = parts.iter().map(|part| PartId(part.info.name.id)).collect();
        let edit = Edit::AddTombstone(TombstoneEntry { id, body, parts: ids });
        gate.manifest.commit(&[edit]).map_err(|error| unavailable("writing the manifest", &error))?;
        let tombstone = Arc::new(Tombstone { delete: delete.clone() });
        // Scans copy the catalogue under this lock, so each sees all of a delete or, begun before, what it reaches.
        let state = self.write_state();
        hide(&tombstone, parts.iter());
        drop(state);
        Ok(())
    }

    /// The parts that may hold rows of a delete.
    fn parts_with(&self, delete: &Delete) -> Result<Vec<Arc<Part>>, PartError> {
        let catalog = Arc::clone(&self.read_state().catalog);
        let mut found = Vec::new();
        for table in tables_of(delete.table) {
            for part in catalog.select(&delete.tenant, *table, delete.time) {
                if may_hold(&part, &delete.filter)? {
                    found.push(part);
                }
            }
        }
        Ok(found)
    }

    /// See [`kenning_model::Store::clean`].
    pub(crate) fn clean_deleted(&self) -> Result<u64, WriteError> {
        let mut gate = lock(&self.gate);
        let mut cleaned = 0;
        let unavailable = |error: FlushError| WriteError::Unavailable {
            detail: format!("a part could not be written anew: {error}"),
        };
        while self.clean_one(&mut gate).map_err(unavailable)? {
            cleaned += 1;
        }
        Ok(cleaned)
    }

    /// Writes one part with deleted rows anew. True when there was one.
    pub(crate) fn clean_one(&self, gate: &mut Gate) -> Result<bool, FlushError> {
        // Part ids of a flush that failed are spoken for.
        if gate.manifest.state().tombstones.is_empty() || !self.read_state().frozen.is_empty() {
            return Ok(false);
        }
        let catalog = Arc::clone(&self.read_state().catalog);
        let is_due = |part: &&Arc<Part>| !part.hidden().is_empty() && part.damage().is_none();
        let Some(part) = catalog.all().filter(is_due).min_by_key(|part| part.info.name.id) else {
            return self.forget_spent(gate).map(|()| false);
        };
        match self.replace_parts(gate, std::slice::from_ref(part), part.info.level) {
            Err(FlushError::Part { .. }) if part.damage().is_some() => Ok(true),
            done => done.map(|()| true),
        }
    }

    /// Merges parts into one of a level, without what is deleted; nothing takes their place when nothing is left.
    pub(crate) fn replace_parts(
        &self,
        gate: &mut Gate,
        parts: &[Arc<Part>],
        level: u8,
    ) -> Result<(), FlushError> {
        let id = gate.next_id;
        gate.next_id += 1;
        let merged = merge::execute(self.vfs(), parts, id, level)?.map(Arc::new);
        let added = merged.iter().map(|part| Edit::AddPart(crate::maintain::entry_of(part)));
        let removed = parts.iter().map(|part| Edit::RemovePart { id: PartId(part.info.name.id) });
        let edits: Vec<_> = added.chain(removed).collect();
        // After a failed commit the file must stay: the transaction may be there after a crash.
        gate.manifest.commit(&edits).map_err(FlushError::Commit)?;
        self.publish(parts, merged.as_slice(), false);
        self.forget_spent(gate)
    }

    /// Forgets deletes whose rows are gone.
    pub(crate) fn forget_spent(&self, gate: &mut Gate) -> Result<(), FlushError> {
        let spent = gate.manifest.state().spent_tombstones();
        if spent.is_empty() {
            return Ok(());
        }
        let edits: Vec<_> = spent.into_iter().map(|id| Edit::RemoveTombstone { id }).collect();
        gate.manifest.commit(&edits).map_err(FlushError::Commit)
    }
}

fn unavailable(doing: &str, error: &dyn fmt::Display) -> DeleteError {
    DeleteError::Unavailable { detail: format!("{doing}: {error}") }
}

/// Looks at label sets, which are few; rows of logs and spans are told apart when they are read. A part that is damaged
/// counts: it may be mended.
fn may_hold(part: &Arc<Part>, filter: &Filter) -> Result<bool, PartError> {
    if !matches!(part.info.name.table, PartTable::Samples | PartTable::Histograms) {
        return Ok(true);
    }
    let found = part.open().and_then(|reader| {
        for index in 0..reader.groups() {
            let runs = crate::metrics::samples::all_runs(&reader.group(index)?)?;
            if runs.iter().any(|run| may_match(filter, &run.labels)) {
                return Ok(true);
            }
        }
        Ok(false)
    });
    match found {
        Err(PartError::Damaged(reason)) => {
            part.quarantine(&reason);
            Ok(true)
        }
        found => found,
    }
}

/// The bytes of a delete; `None` when they are too many.
pub(crate) fn encode(delete: &Delete) -> Option<Vec<u8>> {
    let mut out = Encoder::after(Vec::new());
    out.byte(BODY_VERSION);
    out.text(delete.tenant.as_str());
    out.byte(table_number(delete.table));
    out.signed(delete.time.start.0);
    out.signed(delete.time.end.0);
    encode_filter(&delete.filter, 0, &mut out)?;
    Some(out.into_bytes()).filter(|bytes| bytes.len() <= BODY_LEN_MAX)
}

/// Reads what [`encode`] wrote.
fn decode(body: &[u8]) -> Option<Delete> {
    let mut body = Decoder::new(body);
    if body.byte()? != BODY_VERSION {
        return None;
    }
    let tenant = TenantId::parse(body.text()?).ok()?;
    let table = table_of(body.byte()?)?;
    let time = TimeRange { start: Nanos(body.signed()?), end: Nanos(body.signed()?) };
    let filter = decode_filter(&mut body, 0)?;
    Some(Delete { tenant, table, time, filter }).filter(|_| body.remaining() == 0)
}

const TABLES: [Table; 5] = [Table::Samples, Table::Exemplars, Table::Metadata, Table::Logs, Table::Spans];

fn table_number(table: Table) -> u8 {
    (0..).zip(TABLES).find(|(_, one)| *one == table).map_or(u8::MAX, |(number, _)| number)
}

fn table_of(number: u8) -> Option<Table> {
    TABLES.get(usize::from(number)).copied()
}

const COMPARES: [Compare; 6] = [Compare::Eq, Compare::Ne, Compare::Lt, Compare::Le, Compare::Gt, Compare::Ge];

fn encode_filter(filter: &Filter, depth: usize, out: &mut Encoder) -> Option<()> {
    if depth > FILTER_DEPTH_MAX {
        return None;
    }
    match filter {
        Filter::All => out.byte(0),
        Filter::And(parts) | Filter::Or(parts) => {
            out.byte(if matches!(filter, Filter::And(_)) { 1 } else { 2 });
            out.size(parts.len());
            parts.iter().try_for_each(|part| encode_filter(part, depth + 1, out))?;
        }
        Filter::Not(part) => {
            out.byte(3);
            encode_filter(part, depth + 1, out)?;
        }
        Filter::Compare(field, compare, literal) => {
            out.byte(4);
            encode_field(field, out);
            out.byte((0..).zip(COMPARES).find(|(_, one)| one == compare).map(|(number, _)| number)?);
            encode_literal(literal, out);
        }
        Filter::OneOf(field, texts) => {
            out.byte(5);
            encode_field(field, out);
            out.size(texts.len());
            texts.iter().for_each(|text| out.text(text));
        }
        Filter::Matches(field, pattern) => {
            out.byte(6);
            encode_field(field, out);
            out.byte(u8::from(pattern.is_whole()));
            out.text(pattern.source());
        }
        Filter::Contains(field, text) => {
            out.byte(7);
            encode_field(field, out);
            out.text(text);
        }
        Filter::Exists(field) => {
            out.byte(8);
            encode_field(field, out);
        }
        Filter::Number(field, compare, number) => {
            out.byte(9);
            encode_field(field, out);
            out.byte((0..).zip(COMPARES).find(|(_, one)| one == compare).map(|(number, _)| number)?);
            out.double(*number);
        }
    }
    Some(())
}

fn decode_filter(body: &mut Decoder<'_>, depth: usize) -> Option<Filter> {
    if depth > FILTER_DEPTH_MAX {
        return None;
    }
    Some(match body.byte()? {
        0 => Filter::All,
        tag @ (1 | 2) => {
            let count = body.size()?;
            let mut parts = Vec::with_capacity(body.capacity(count));
            for _ in 0..count {
                parts.push(decode_filter(body, depth + 1)?);
            }
            if tag == 1 { Filter::And(parts) } else { Filter::Or(parts) }
        }
        3 => Filter::Not(Box::new(decode_filter(body, depth + 1)?)),
        4 => {
            let field = decode_field(body)?;
            let compare = *COMPARES.get(usize::from(body.byte()?))?;
            Filter::Compare(field, compare, decode_literal(body)?)
        }
        5 => {
            let field = decode_field(body)?;
            let count = body.size()?;
            let mut texts = Vec::with_capacity(body.capacity(count));
            for _ in 0..count {
                texts.push(body.text()?.into());
            }
            Filter::OneOf(field, texts)
        }
        6 => {
            let field = decode_field(body)?;
            let whole = body.byte()? == 1;
            let source = body.text()?;
            let pattern = if whole { Pattern::whole(source) } else { Pattern::anywhere(source) };
            Filter::Matches(field, pattern.ok()?)
        }
        7 => Filter::Contains(decode_field(body)?, body.text()?.into()),
        8 => Filter::Exists(decode_field(body)?),
        9 => {
            let field = decode_field(body)?;
            let compare = *COMPARES.get(usize::from(body.byte()?))?;
            Filter::Number(field, compare, body.double()?)
        }
        _ => return None,
    })
}

fn encode_literal(literal: &Literal, out: &mut Encoder) {
    match literal {
        Literal::Str(text) => {
            out.byte(0);
            out.text(text);
        }
        Literal::Int(number) => {
            out.byte(1);
            out.signed(*number);
        }
        Literal::Double(number) => {
            out.byte(2);
            out.double(*number);
        }
        Literal::Bool(flag) => {
            out.byte(3);
            out.byte(u8::from(*flag));
        }
    }
}

fn decode_literal(body: &mut Decoder<'_>) -> Option<Literal> {
    Some(match body.byte()? {
        0 => Literal::Str(body.text()?.into()),
        1 => Literal::Int(body.signed()?),
        2 => Literal::Double(body.double()?),
        3 => Literal::Bool(body.byte()? == 1),
        _ => return None,
    })
}

/// A field's number, and its name where it has one.
fn encode_field(field: &Field, out: &mut Encoder) {
    let (number, name): (u8, &str) = match field {
        Field::Label(name) => (0, name),
        Field::Metadata(name) => (1, name),
        Field::Line => (2, ""),
        Field::Severity => (3, ""),
        Field::TraceId => (4, ""),
        Field::SpanId => (5, ""),
        Field::ParentSpanId => (6, ""),
        Field::Name => (7, ""),
        Field::Kind => (8, ""),
        Field::Status => (9, ""),
        Field::StatusMessage => (10, ""),
        Field::Duration => (11, ""),
        Field::Resource(name) => (12, name),
        Field::Attribute(name) => (13, name),
        Field::ScopeName => (14, ""),
        Field::ScopeVersion => (15, ""),
        Field::Scope(name) => (16, name),
        Field::EventName => (17, ""),
        Field::Event(name) => (18, name),
        Field::Link(name) => (19, name),
        Field::Parsed(LineSyntax::Json, name) => (20, name),
        Field::Parsed(LineSyntax::Logfmt, name) => (21, name),
        Field::Plain(LineSyntax::Json) => (22, ""),
        Field::Plain(LineSyntax::Logfmt) => (23, ""),
    };
    out.byte(number);
    out.text(name);
}

fn decode_field(body: &mut Decoder<'_>) -> Option<Field> {
    let number = body.byte()?;
    let name: Box<str> = body.text()?.into();
    Some(match number {
        0 => Field::Label(name),
        1 => Field::Metadata(name),
        2 => Field::Line,
        3 => Field::Severity,
        4 => Field::TraceId,
        5 => Field::SpanId,
        6 => Field::ParentSpanId,
        7 => Field::Name,
        8 => Field::Kind,
        9 => Field::Status,
        10 => Field::StatusMessage,
        11 => Field::Duration,
        12 => Field::Resource(name),
        13 => Field::Attribute(name),
        14 => Field::ScopeName,
        15 => Field::ScopeVersion,
        16 => Field::Scope(name),
        17 => Field::EventName,
        18 => Field::Event(name),
        19 => Field::Link(name),
        20 => Field::Parsed(LineSyntax::Json, name),
        21 => Field::Parsed(LineSyntax::Logfmt, name),
        22 => Field::Plain(LineSyntax::Json),
        23 => Field::Plain(LineSyntax::Logfmt),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn field() -> impl Strategy<Value = Field> {
        prop_oneof![
            "[a-z]{1,4}".prop_map(|name| Field::Label(name.into())),
            "[a-z]{1,4}".prop_map(|name| Field::Attribute(name.into())),
            Just(Field::Line),
            Just(Field::TraceId),
            Just(Field::EventName),
            "[a-z]{1,4}".prop_map(|name| Field::Parsed(LineSyntax::Json, name.into())),
            Just(Field::Plain(LineSyntax::Logfmt)),
        ]
    }

    fn filter() -> impl Strategy<Value = Filter> {
        let literal = prop_oneof![
            ".{0,4}".prop_map(|text| Literal::Str(text.into())),
            any::<i64>().prop_map(Literal::Int),
            (-1e9f64..1e9).prop_map(Literal::Double),
            any::<bool>().prop_map(Literal::Bool),
        ];
        let leaf = prop_oneof![
            Just(Filter::All),
            (field(), 0..6usize, literal).prop_map(|(f, at, l)| Filter::Compare(f, COMPARES[at], l)),
            (field(), prop::collection::vec(".{0,4}".prop_map(|t| t.into()), 0..4))
                .prop_map(|(f, texts)| Filter::OneOf(f, texts)),
            (field(), "[a-z]{0,3}.?", any::<bool>()).prop_map(|(f, source, whole)| {
                let pattern = if whole { Pattern::whole(&source) } else { Pattern::anywhere(&source) };
                pattern.map_or(Filter::All, |pattern| Filter::Matches(f, pattern))
            }),
            (field(), ".{0,4}").prop_map(|(f, text)| Filter::Contains(f, text.into())),
            field().prop_map(Filter::Exists),
            (field(), -9.0..9.0f64).prop_map(|(f, number)| Filter::Number(f, Compare::Ge, number)),
        ];
        leaf.prop_recursive(4, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Filter::And),
                prop::collection::vec(inner.clone(), 0..4).prop_map(Filter::Or),
                inner.prop_map(|part| Filter::Not(Box::new(part))),
            ]
        })
    }

    proptest! {
        #[test]
        fn deletes_come_back(filter in filter(), start in any::<i64>(), end in any::<i64>(), table in 0..5usize) {
            let time = TimeRange { start: Nanos(start), end: Nanos(end) };
            let delete = Delete { tenant: TenantId::default_tenant(), table: TABLES[table], time, filter };
            let bytes = encode(&delete).unwrap();
            prop_assert_eq!(decode(&bytes), Some(delete));
            prop_assert_eq!(decode(&bytes[..bytes.len() - 1]), None);
        }

        #[test]
        fn any_bytes_decode_or_not(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode(&bytes);
        }
    }

    #[test]
    fn what_is_too_long_or_too_deep_is_refused() {
        let check = |filter: Filter| {
            let tenant = TenantId::default_tenant();
            assert_eq!(encode(&Delete { tenant, table: Table::Logs, time: TimeRange::ALL, filter }), None);
        };
        check(Filter::Contains(Field::Line, "x".repeat(BODY_LEN_MAX).into()));
        check((0..40).fold(Filter::All, |inner, _| Filter::Not(Box::new(inner))));
    }
}
