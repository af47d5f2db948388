//! How the lines of a part are cut into columns: one look at a sample of the lines decides which templates and columns
//! the part has and of what kind they are; a second one at every line, group by group, fills them. A line that the
//! sample did not foresee stays whole.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::HashSet;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use kenning_model::keyed::{Prehashed, keyed_hash};
use kenning_model::{LineSyntax, Tokens, is_bare_value};
use parquet::basic::Encoding;
use parquet::data_type::{ByteArray, FixedLenByteArray};

use super::index::{
    self, GramBuilder, GramColumn, Grams, PAGE_ROWS, Slot, Template, VALUE_BYTES_MAX, VALUES_MAX,
};
use super::kind::{Guess, Kind};
use super::phrase::{Phrase, PhraseGuess, number_columns};
use crate::parts::columns::{Column, Values};

/// Most columns of fields in a part.
const COLUMNS_MAX: usize = 200;
/// Most templates looked at; lines that need more stay whole.
const TEMPLATES_MAX: usize = 1024;
/// A template is kept when it holds at least one row in so many.
const TEMPLATE_SHARE: usize = 128;
/// Columns with more different values are no dictionaries.
const DICTIONARY_MAX: usize = 1024;
/// Columns of texts with no more different values are not looked at for phrases: dictionaries serve them.
const PHRASED_VALUES_MIN: usize = 64;
/// Lines in a row that are looked at ...
const SAMPLE_RUN: usize = 32;
/// ... of so many, where a part has more than [`SAMPLED_WHOLE`] rows. Runs, because neighbours share their template.
const SAMPLE_OF: usize = 512;
/// Rows of parts all of whose lines are looked at.
const SAMPLED_WHOLE: usize = 32 << 10;

/// Templates, those of most lines first, whose lines are cut by comparing them with the template.
const STENCILS_MAX: usize = 64;
/// So many of them are tried on a line that is not like the one before.
const STENCILS_TRIED: u32 = 4;

/// Texts of a row group have room for so many-th more than those of the one before.
const TEXT_SPARE: usize = 16;

/// Places of values in the key of a template.
const VISIBLE: u8 = 1;
const HIDDEN: u8 = 2;

/// Finds the template of a line: its syntax and whether it is clean, then the line with marks for its values.
#[derive(Default)]
pub(super) struct Cutter {
    tokens: Tokens,
    key: Vec<u8>,
}

impl Cutter {
    /// True when the line can be cut; the key and the tokens are then those of the line.
    fn cut(&mut self, line: &str) -> bool {
        let syntax = if line.starts_with('{') { LineSyntax::Json } else { LineSyntax::Logfmt };
        let is_marked = memchr::memchr2(VISIBLE, HIDDEN, line.as_bytes()).is_some();
        if is_marked || !self.tokens.read(syntax, line) {
            return false;
        }
        self.key.clear();
        self.key.push(u8::from(syntax == LineSyntax::Logfmt) << 1 | u8::from(self.tokens.is_clean));
        let mut at = 0;
        for field in &self.tokens.fields {
            self.key.extend_from_slice(line.as_bytes().get(at..field.value.start).unwrap_or_default());
            self.key.push(if field.is_visible { VISIBLE } else { HIDDEN });
            at = field.value.end;
        }
        self.key.extend_from_slice(line.as_bytes().get(at..).unwrap_or_default());
        true
    }

    fn values<'l>(&self, line: &'l str) -> impl Iterator<Item = &'l str> {
        self.tokens.fields.iter().map(|field| line.get(field.value.clone()).unwrap_or(""))
    }

    fn template(&self, line: &str, columns: &[u16]) -> Template {
        let names = self.tokens.names(line);
        let mut at = 0;
        let slots = self.tokens.fields.iter().enumerate().zip(columns).map(|((place, field), column)| {
            let before = line.get(at..field.value.start).unwrap_or("").into();
            at = field.value.end;
            let name = names.as_ref().filter(|_| field.is_visible).and_then(|names| names.get(place));
            Slot { before, column: *column, name: name.map(|name| name.as_str().into()) }
        });
        let slots = slots.collect();
        let syntax = if line.starts_with('{') { LineSyntax::Json } else { LineSyntax::Logfmt };
        Template { syntax, is_plain: names.is_some(), slots, end: line.get(at..).unwrap_or("").into() }
    }

    /// The template of a line, which has places for values and no columns for them yet; `None` for lines that cannot be cut.
    pub(super) fn template_of(&mut self, line: &str) -> Option<Template> {
        self.cut(line).then(|| self.template(line, &vec![0; self.tokens.fields.len()]))
    }

    /// The key of a field in its line with those of the objects around it.
    fn path(&self, line: &str, place: usize) -> String {
        let Some(field) = self.tokens.fields.get(place) else { return String::new() };
        let mut path = line.get(field.key.clone()).unwrap_or("").to_owned();
        let mut parent = field.parent;
        while let Some((key, outer)) = parent.and_then(|at| self.tokens.parents.get(at as usize)) {
            path.insert(0, '\u{1f}');
            path.insert_str(0, line.get(key.clone()).unwrap_or(""));
            parent = *outer;
        }
        path
    }
}

/// Bytes that lines with a template do not hold: marks in keys of templates, and the first byte of what stands for lost
/// text.
fn is_unusual(line: &[u8]) -> bool {
    memchr::memchr3(VISIBLE, HIDDEN, 0xef, line).is_some()
}

/// How the value of a slot is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    /// Between quotes.
    Quoted,
    /// Without, in JSON.
    Bare,
    /// Without, in logfmt.
    Word,
}

/// Cuts lines of a known template without reading them as JSON or logfmt: where a line has the template's text between
/// its values, and values that are written as its own are, reading it would end the same. A property test holds it to
/// [`Cutter`].
#[derive(Debug)]
pub(super) struct Stencil<'t> {
    template: Cow<'t, Template>,
    written: Vec<Written>,
}

impl<'t> Stencil<'t> {
    /// `None` where a value must be read to be understood: arrays, nulls, escapes, empty texts.
    pub(super) fn new(template: Cow<'t, Template>) -> Option<Self> {
        let nexts = template.slots.iter().skip(1).map(|slot| &*slot.before).chain([&*template.end]);
        let written = |(slot, next): (&Slot, &str)| {
            slot.name.as_ref()?;
            Some(match template.syntax {
                _ if slot.before.ends_with('"') && next.starts_with('"') => Written::Quoted,
                LineSyntax::Json => Written::Bare,
                LineSyntax::Logfmt => Written::Word,
            })
        };
        let written = template.slots.iter().zip(nexts).map(written).collect::<Option<Vec<_>>>()?;
        (template.is_plain && !written.is_empty()).then_some(Self { template, written })
    }

    /// Finds the values of a line of the template; false for other lines, and for some that would need a closer look.
    pub(super) fn cut(&self, line: &str, values: &mut Vec<Range<usize>>) -> bool {
        let text = line.as_bytes();
        values.clear();
        let mut at = 0;
        for (slot, written) in self.template.slots.iter().zip(&self.written) {
            let Some(rest) = text.get(at..).and_then(|rest| rest.strip_prefix(slot.before.as_bytes())) else {
                return false;
            };
            at += slot.before.len();
            let Some(len) = written.len(rest) else { return false };
            values.push(at..at + len);
            at += len;
        }
        text.get(at..) == Some(self.template.end.as_bytes()) && !is_unusual(text)
    }
}

impl Written {
    /// Bytes of the value at the start of `rest`.
    fn len(self, rest: &[u8]) -> Option<usize> {
        let len = match self {
            Self::Quoted => {
                let end = memchr::memchr2(b'"', b'\\', rest)?;
                (rest.get(end) == Some(&b'"')).then_some(end)?
            }
            Self::Bare => {
                let is_end = |b: &u8| matches!(b, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
                let end = rest.iter().position(is_end)?;
                rest.get(..end).is_some_and(is_bare_value).then_some(end)?
            }
            Self::Word => {
                let is_end = |b: &u8| *b <= b' ' || matches!(b, b'=' | b'"');
                rest.iter().position(is_end).unwrap_or(rest.len())
            }
        };
        (len > 0).then_some(len)
    }
}

/// What is known of a column while templates are gathered.
#[derive(Default)]
struct Gathered {
    path: String,
    guess: Guess,
    values: HashSet<u64, Prehashed>,
    phrases: PhraseGuess,
}

struct Seen {
    template: Template,
    rows: usize,
}

/// The templates and columns of a part.
#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) templates: Vec<Template>,
    pub(crate) columns: Vec<PlannedColumn>,
    by_key: HashMap<Vec<u8>, u32>,
}

pub(crate) struct PlannedColumn {
    /// The name in the file.
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) is_dictionary: bool,
    /// Names in the file of the further leaf columns of phrases: that of their numbers in the list, and those of the numbers
    /// in them.
    pub(crate) further: Vec<String>,
}

impl Plan {
    /// Looks at the lines of a part, or at a sample of them when they are many; `line` gives that of a row.
    pub(crate) fn new<'a, R>(rows: impl ExactSizeIterator<Item = R>, line: impl Fn(R) -> &'a str) -> Self {
        let mut gathering = Gathering::default();
        let all = rows.len() <= SAMPLED_WHOLE;
        let mut looked_at = 0;
        for (place, row) in rows.enumerate() {
            if all || place % SAMPLE_OF < SAMPLE_RUN {
                gathering.add(line(row));
                looked_at += 1;
            }
        }
        gathering.finish(looked_at)
    }
}

#[derive(Default)]
struct Gathering {
    cutter: Cutter,
    seen: Vec<Seen>,
    by_key: HashMap<Vec<u8>, usize>,
    columns: Vec<Gathered>,
    by_path: HashMap<String, u16>,
    last: Option<(Vec<u8>, usize)>,
}

impl Gathering {
    fn add(&mut self, line: &str) {
        if !self.cutter.cut(line) {
            return;
        }
        let place = match &self.last {
            Some((key, place)) if *key == self.cutter.key => *place,
            _ => {
                let Some(place) = self.place(line) else { return };
                self.last = Some((self.cutter.key.clone(), place));
                place
            }
        };
        let Some(seen) = self.seen.get_mut(place) else { return };
        seen.rows += 1;
        for (slot, value) in seen.template.slots.iter().zip(self.cutter.values(line)) {
            let Some(column) = self.columns.get_mut(usize::from(slot.column)) else { continue };
            column.guess.add(value);
            if column.values.len() <= DICTIONARY_MAX {
                column.values.insert(keyed_hash(value.as_bytes()));
            }
            if column.guess.is_text() && column.values.len() > PHRASED_VALUES_MIN {
                column.phrases.add(value);
            }
        }
    }

    /// The place of the template of the line just cut.
    fn place(&mut self, line: &str) -> Option<usize> {
        if let Some(place) = self.by_key.get(&self.cutter.key) {
            return Some(*place);
        }
        (self.seen.len() < TEMPLATES_MAX).then_some(())?;
        let mut columns = Vec::with_capacity(self.cutter.tokens.fields.len());
        for place in 0..self.cutter.tokens.fields.len() {
            let path = self.cutter.path(line, place);
            let next = u16::try_from(self.columns.len()).ok()?;
            // A key that comes twice in a line needs two columns.
            let mut unique = path.clone();
            while self.by_path.get(&unique).is_some_and(|column| columns.contains(column)) {
                unique.push('\u{1e}');
            }
            let column = match self.by_path.entry(unique) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(slot) => {
                    self.columns.push(Gathered { path, ..Gathered::default() });
                    *slot.insert(next)
                }
            };
            columns.push(column);
        }
        let template = self.cutter.template(line, &columns);
        self.seen.push(Seen { template, rows: 0 });
        self.by_key.insert(self.cutter.key.clone(), self.seen.len() - 1);
        Some(self.seen.len() - 1)
    }

    /// Keeps the templates of many lines and the columns that they need.
    fn finish(mut self, rows: usize) -> Plan {
        let mut keys: Vec<(Vec<u8>, Seen)> = Vec::new();
        let mut seen: Vec<Option<Seen>> = self.seen.into_iter().map(Some).collect();
        for (key, place) in self.by_key {
            if let Some(seen) = seen.get_mut(place).and_then(Option::take) {
                keys.push((key, seen));
            }
        }
        // By weight, then by text: equal heads give equal files.
        keys.sort_unstable_by(|(a_key, a), (b_key, b)| b.rows.cmp(&a.rows).then_with(|| a_key.cmp(b_key)));
        let mut plan = Plan::default();
        let mut places: HashMap<u16, u16> = HashMap::new();
        let mut names = HashSet::new();
        for (key, Seen { mut template, rows: held }) in keys {
            let new = template.slots.iter().filter(|slot| !places.contains_key(&slot.column)).count();
            if held * TEMPLATE_SHARE < rows || plan.columns.len() + new > COLUMNS_MAX {
                continue;
            }
            for slot in &mut template.slots {
                slot.column = *places.entry(slot.column).or_insert_with(|| {
                    let column = self.columns.get_mut(usize::from(slot.column)).map(std::mem::take);
                    plan.columns.push(PlannedColumn::new(column.unwrap_or_default(), &mut names));
                    (plan.columns.len() - 1) as u16
                });
            }
            plan.by_key.insert(key, plan.templates.len() as u32);
            plan.templates.push(template);
        }
        plan
    }
}

impl PlannedColumn {
    fn new(gathered: Gathered, names: &mut HashSet<String>) -> Self {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let stem: String = "field_".chars().chain(gathered.path.chars().map(plain)).collect();
        let name = unique(&stem, names);
        let is_dictionary = gathered.values.len() <= DICTIONARY_MAX;
        let kind = match gathered.guess.kind() {
            Kind::Text if !is_dictionary => {
                gathered.phrases.finish().map_or(Kind::Text, |phrases| Kind::Phrases(phrases.into()))
            }
            kind => kind,
        };
        let further = match &kind {
            Kind::Phrases(phrases) => {
                let numbers = (0..number_columns(phrases)).map(|number| format!("{stem}_number_{number}"));
                let all = std::iter::once(format!("{stem}_phrase")).chain(numbers);
                all.map(|stem| unique(&stem, names)).collect()
            }
            _ => Vec::new(),
        };
        Self { name, kind, is_dictionary, further }
    }

    /// Its lines in the schema.
    pub(crate) fn schema(&self) -> String {
        let name = &self.name;
        match &self.kind {
            Kind::Text => format!("optional binary {name} (STRING);\n"),
            Kind::Int { .. } => format!("optional int64 {name};\n"),
            Kind::Decimal { scale, .. } => format!("optional int64 {name} (DECIMAL(18,{scale}));\n"),
            Kind::Hex { len } => format!("optional fixed_len_byte_array({len}) {name};\n"),
            Kind::Phrases(_) => {
                let mut lines = format!("optional binary {name} (STRING);\n");
                for (place, name) in self.further.iter().enumerate() {
                    lines.push_str(if place == 0 { "optional int32 " } else { "optional int64 " });
                    lines.push_str(name);
                    lines.push_str(";\n");
                }
                lines
            }
        }
    }

    /// Its leaf columns that are no dictionaries, and how they are encoded.
    pub(crate) fn encodings(&self) -> impl Iterator<Item = (&str, Encoding)> {
        let own = match self.kind {
            _ if self.is_dictionary => None,
            Kind::Text | Kind::Phrases(_) => Some(Encoding::DELTA_LENGTH_BYTE_ARRAY),
            Kind::Hex { .. } => Some(Encoding::PLAIN),
            Kind::Int { .. } | Kind::Decimal { .. } => Some(Encoding::DELTA_BINARY_PACKED),
        };
        let numbers = self.further.iter().skip(1).map(|name| (name.as_str(), Encoding::DELTA_BINARY_PACKED));
        own.map(|encoding| (self.name.as_str(), encoding)).into_iter().chain(numbers)
    }
}

/// A name that no other column has.
fn unique(stem: &str, names: &mut HashSet<String>) -> String {
    let (mut name, mut number) = (stem.to_owned(), 1);
    while !names.insert(name.clone()) {
        number += 1;
        name = format!("{stem}_{number}");
    }
    name
}

/// The columns of a row group as they fill.
pub(crate) struct Filler<'p> {
    plan: &'p Plan,
    cutter: Cutter,
    /// Of the templates of most lines, by number.
    stencils: Vec<Option<Stencil<'p>>>,
    /// The template of the line before.
    before: u32,
    /// Where the values of the line at hand are.
    values: Vec<Range<usize>>,
    last: Option<(Vec<u8>, Option<u32>)>,
    rows: usize,
    templates: Vec<Option<i32>>,
    lines: Texts,
    columns: Vec<Filling>,
    /// Work space: the numbers and the bytes of the line at hand.
    numbers: Vec<i64>,
    bytes: Vec<u8>,
}

/// Texts of a column in one buffer, and the rows that have one.
#[derive(Default)]
struct Texts {
    buffer: Vec<u8>,
    ends: Vec<usize>,
    definition: Vec<i16>,
}

/// Notes that a row has a value.
fn define(definition: &mut Vec<i16>, row: usize) {
    if definition.len() < row {
        definition.resize(row, 0);
    }
    definition.push(1);
}

impl Texts {
    fn with_capacity(rows: usize, bytes: usize) -> Self {
        // A column whose texts are not known to be many may have none.
        let rows = if bytes > 0 { rows } else { 0 };
        Self {
            buffer: Vec::with_capacity(bytes),
            ends: Vec::with_capacity(rows),
            definition: Vec::with_capacity(rows),
        }
    }

    fn push(&mut self, row: usize, text: &[u8]) {
        self.buffer.extend_from_slice(text);
        self.ends.push(self.buffer.len());
        define(&mut self.definition, row);
    }

    /// The different texts and how many rows have each, when they are few.
    fn list(&self, kind: &Kind) -> Option<index::Values> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let values =
            starts.zip(&self.ends).map(|(start, end)| self.buffer.get(start..*end).unwrap_or_default());
        Tally::of(values).list(|value| match kind {
            Kind::Hex { .. } => {
                let mut text = String::new();
                super::kind::push_hex(value, &mut text);
                Some(text.into())
            }
            _ => std::str::from_utf8(value).ok().map(Box::from),
        })
    }

    /// The grams of texts; of hex digits those of whole values.
    fn grams(&self, kind: &Kind) -> Vec<Grams> {
        let mut builder = GramBuilder::new();
        let (mut pages, mut start) = (Vec::new(), 0);
        let mut ends = self.ends.iter();
        for (row, defined) in self.definition.iter().enumerate() {
            if row > 0 && row.is_multiple_of(PAGE_ROWS) {
                pages.push(builder.finish());
            }
            if *defined == 1
                && let Some(end) = ends.next()
            {
                let value = self.buffer.get(start..*end).unwrap_or_default();
                match kind {
                    Kind::Hex { .. } => builder.add_whole(value),
                    _ => builder.add(value),
                }
                start = *end;
            }
        }
        pages.push(builder.finish());
        pages
    }

    fn finish(mut self, rows: usize, kind: &Kind) -> Column {
        self.definition.resize(rows, 0);
        let buffer = Bytes::from(self.buffer);
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let parts = starts.zip(&self.ends).map(|(start, end)| buffer.slice(start..*end));
        let values = match kind {
            Kind::Hex { .. } => {
                Values::Fixed(parts.map(|part| FixedLenByteArray::from(ByteArray::from(part))).collect())
            }
            _ => Values::Bytes(parts.map(ByteArray::from).collect()),
        };
        Column { values, definition: self.definition, repetition: Vec::new() }
    }
}

enum Filling {
    Texts(Texts),
    Numbers(Numbers),
    Phrases(Phrased),
}

/// Numbers of a column, and the rows that have one.
#[derive(Default)]
struct Numbers {
    values: Vec<i64>,
    definition: Vec<i16>,
}

impl Numbers {
    fn push(&mut self, row: usize, number: i64) {
        self.values.push(number);
        define(&mut self.definition, row);
    }

    fn finish(mut self, rows: usize) -> Column {
        self.definition.resize(rows, 0);
        Column { values: Values::I64(self.values), definition: self.definition, repetition: Vec::new() }
    }
}

/// Texts by their phrases.
struct Phrased {
    phrases: Arc<[Phrase]>,
    /// The phrase of the text before: neighbours are often alike.
    last: usize,
    codes: Vec<Option<i32>>,
    numbers: Vec<Numbers>,
    /// Of no phrase.
    others: Texts,
    /// Work space.
    found: Vec<i64>,
}

impl Phrased {
    fn new(phrases: &Arc<[Phrase]>) -> Self {
        Self {
            phrases: Arc::clone(phrases),
            last: 0,
            codes: Vec::new(),
            numbers: std::iter::repeat_with(Numbers::default).take(number_columns(phrases)).collect(),
            others: Texts::default(),
            found: Vec::new(),
        }
    }

    fn push(&mut self, row: usize, text: &str) {
        self.codes.resize(row, None);
        let order = std::iter::once(self.last).chain(0..self.phrases.len());
        for number in order {
            let Some(phrase) = self.phrases.get(number).filter(|phrase| phrase.read(text, &mut self.found))
            else {
                continue;
            };
            for (gap, found) in phrase.gaps.iter().zip(&self.found) {
                let column = self.numbers.get_mut(usize::from(gap.column));
                column.into_iter().for_each(|column| column.push(row, *found));
            }
            self.last = number;
            self.codes.push(Some(number as i32));
            return;
        }
        self.codes.push(None);
        self.others.push(row, text.as_bytes());
    }

    /// The leaf columns in their order.
    fn finish(mut self, rows: usize) -> Vec<Column> {
        self.codes.resize(rows, None);
        let codes = Column::optional(self.codes.into_iter(), Values::I32);
        let numbers = self.numbers.into_iter().map(|numbers| numbers.finish(rows));
        [self.others.finish(rows, &Kind::Text), codes].into_iter().chain(numbers).collect()
    }
}

/// Columns that are still to be made: their values lie close together.
pub(crate) struct Unwritten<'p> {
    filling: Filling,
    kind: &'p Kind,
    rows: usize,
}

impl Unwritten<'_> {
    /// The leaf columns as they are written.
    pub(crate) fn columns(self) -> Vec<Column> {
        match self.filling {
            Filling::Texts(texts) => vec![texts.finish(self.rows, self.kind)],
            Filling::Numbers(numbers) => vec![numbers.finish(self.rows)],
            Filling::Phrases(phrased) => phrased.finish(self.rows),
        }
    }
}

/// The columns of a row group that hold its lines.
pub(crate) struct Filled<'p> {
    pub(crate) lines: Unwritten<'p>,
    pub(crate) templates: Column,
    pub(crate) fields: Vec<Unwritten<'p>>,
    pub(crate) grams: Vec<(GramColumn, Vec<Grams>)>,
    pub(crate) values: Vec<(u16, index::Values)>,
}

/// Counts the different values of a column; `None` once they are too many to list.
struct Tally<T>(Option<HashMap<T, u32, Prehashed>>);

impl<T: Hash + Eq> Tally<T> {
    fn of(values: impl Iterator<Item = T>) -> Self {
        let mut counts: HashMap<T, u32, Prehashed> = HashMap::default();
        let mut values = values.peekable();
        while let Some(value) = values.next() {
            // Neighbours are mostly of one stream and alike.
            let mut rows = 1;
            while values.next_if_eq(&value).is_some() {
                rows += 1;
            }
            *counts.entry(value).or_insert(0) += rows;
            if counts.len() > VALUES_MAX {
                return Self(None);
            }
        }
        Self(Some(counts))
    }

    /// The list, in order of texts.
    fn list(self, text: impl Fn(&T) -> Option<Box<str>>) -> Option<index::Values> {
        let texts = self.0?.into_iter().map(|(value, rows)| Some((text(&value)?, rows)));
        let mut list = texts.collect::<Option<index::Values>>()?;
        list.sort_unstable();
        list.iter().all(|(text, _)| text.len() <= VALUE_BYTES_MAX).then_some(list)
    }
}

impl<'p> Filler<'p> {
    /// For so many rows; `text_bytes` is what [`Self::finish`] said of others, or nothing.
    pub(crate) fn new(plan: &'p Plan, rows: usize, text_bytes: &[usize]) -> Self {
        let filling = |(place, column): (usize, &PlannedColumn)| match column.kind {
            Kind::Text | Kind::Hex { .. } => {
                let before = text_bytes.get(place).copied().unwrap_or(0);
                Filling::Texts(Texts::with_capacity(rows, before + before / TEXT_SPARE))
            }
            Kind::Int { .. } | Kind::Decimal { .. } => Filling::Numbers(Numbers::default()),
            Kind::Phrases(ref phrases) => Filling::Phrases(Phrased::new(phrases)),
        };
        Self {
            plan,
            cutter: Cutter::default(),
            stencils: plan
                .templates
                .iter()
                .take(STENCILS_MAX)
                .map(|t| Stencil::new(Cow::Borrowed(t)))
                .collect(),
            before: 0,
            values: Vec::new(),
            last: None,
            rows: 0,
            templates: Vec::with_capacity(rows),
            lines: Texts::default(),
            columns: plan.columns.iter().enumerate().map(filling).collect(),
            numbers: Vec::new(),
            bytes: Vec::new(),
        }
    }

    /// Adds the line of the next row: cut, or whole when no template holds it.
    pub(crate) fn add(&mut self, line: &str) {
        let row = self.rows;
        self.rows += 1;
        let template = self.find(line).filter(|number| self.parse(*number, line));
        self.templates.push(template.map(|number| number as i32));
        match template {
            Some(number) => self.place(row, number, line),
            None => self.lines.push(row, line.as_bytes()),
        }
    }

    /// The template of a line and the places of its values.
    fn find(&mut self, line: &str) -> Option<u32> {
        let (stencils, values) = (&self.stencils, &mut self.values);
        let mut fits = |number: u32| {
            let stencil = stencils.get(number as usize).and_then(Option::as_ref);
            stencil.is_some_and(|stencil| stencil.cut(line, values))
        };
        let before = self.before;
        let tried = (0..STENCILS_TRIED).filter(|number| *number != before);
        if let Some(number) = std::iter::once(before).chain(tried).find(|number| fits(*number)) {
            self.before = number;
            return Some(number);
        }
        let number = self.cutter.cut(line).then(|| self.template()).flatten()?;
        self.values.clear();
        self.values.extend(self.cutter.tokens.fields.iter().map(|field| field.value.clone()));
        self.before = number;
        Some(number)
    }

    fn value<'l>(line: &'l str, range: &Range<usize>) -> &'l str {
        line.get(range.clone()).unwrap_or("")
    }

    /// Puts the values of the line just parsed into their columns.
    fn place(&mut self, row: usize, template: u32, line: &str) {
        let slots = self.plan.templates.get(template as usize).map_or(&[][..], |template| &template.slots);
        let (mut numbers, mut bytes) = (self.numbers.iter(), self.bytes.as_slice());
        for (slot, value) in slots.iter().zip(&self.values) {
            let value = Self::value(line, value);
            let place = usize::from(slot.column);
            let kind = self.plan.columns.get(place).map(|column| &column.kind);
            match (self.columns.get_mut(place), kind) {
                (Some(Filling::Numbers(column)), _) => {
                    numbers.next().into_iter().for_each(|number| column.push(row, *number));
                }
                (Some(Filling::Phrases(phrased)), _) => phrased.push(row, value),
                (Some(Filling::Texts(texts)), Some(Kind::Hex { len })) => {
                    let (own, rest) = bytes.split_at_checked(usize::from(*len)).unwrap_or_default();
                    bytes = rest;
                    texts.push(row, own);
                }
                (Some(Filling::Texts(texts)), _) => texts.push(row, value.as_bytes()),
                (None, _) => {}
            }
        }
    }

    fn template(&mut self) -> Option<u32> {
        match &self.last {
            Some((key, template)) if *key == self.cutter.key => *template,
            _ => {
                let template = self.plan.by_key.get(&self.cutter.key).copied();
                let (mut key, _) = self.last.take().unwrap_or_default();
                key.clone_from(&self.cutter.key);
                self.last = Some((key, template));
                template
            }
        }
    }

    /// Makes numbers and bytes of the values of the line just cut; false when one of them would not come back.
    fn parse(&mut self, template: u32, line: &str) -> bool {
        let plan = self.plan;
        self.numbers.clear();
        self.bytes.clear();
        let slots = plan.templates.get(template as usize).map_or(&[][..], |template| &template.slots);
        slots.iter().zip(&self.values).all(|(slot, value)| {
            let value = Self::value(line, value);
            match plan.columns.get(usize::from(slot.column)).map(|column| &column.kind) {
                Some(Kind::Text | Kind::Phrases(_)) => true,
                Some(kind @ Kind::Hex { .. }) => kind.unhex_into(value.as_bytes(), &mut self.bytes),
                Some(kind) => kind.parse(value).map(|number| self.numbers.push(number)).is_some(),
                None => false,
            }
        })
    }

    /// The column of whole lines, that of template numbers, those of fields, and the grams of those that are searched.
    /// `text_bytes` becomes the bytes that the texts of each column take.
    pub(crate) fn finish(self, text_bytes: &mut Vec<usize>) -> Filled<'p> {
        let rows = self.rows;
        text_bytes.clear();
        text_bytes.extend(self.columns.iter().map(|column| match column {
            Filling::Texts(texts) => texts.buffer.len(),
            Filling::Numbers(_) | Filling::Phrases(_) => 0,
        }));
        let mut grams = Vec::new();
        if !self.lines.ends.is_empty() {
            grams.push((GramColumn::Line, self.lines.grams(&Kind::Text)));
        }
        let lines = Unwritten { filling: Filling::Texts(self.lines), kind: &Kind::Text, rows };
        let templates = Column::optional(self.templates.into_iter(), Values::I32);
        let mut fields = Vec::with_capacity(self.columns.len());
        let mut listed = Vec::new();
        for ((place, mut column), planned) in (0u16..).zip(self.columns).zip(&self.plan.columns) {
            let kind = &planned.kind;
            let list = match &column {
                _ if !planned.is_dictionary => None,
                Filling::Texts(texts) => texts.list(kind),
                Filling::Phrases(_) => None,
                Filling::Numbers(column) => Tally::of(column.values.iter().copied()).list(|number| {
                    let mut text = String::new();
                    kind.format(*number, &mut text);
                    Some(text.into())
                }),
            };
            listed.extend(list.map(|list| (place, list)));
            match &mut column {
                Filling::Texts(texts) if !planned.is_dictionary => {
                    grams.push((GramColumn::Field(place), texts.grams(kind)));
                }
                // Wordings are in the index, so only texts without one need grams.
                Filling::Phrases(phrased) => {
                    phrased.others.definition.resize(rows, 0);
                    grams.push((GramColumn::Field(place), phrased.others.grams(&Kind::Text)));
                }
                Filling::Texts(_) | Filling::Numbers(_) => {}
            }
            fields.push(Unwritten { filling: column, kind, rows });
        }
        Filled { lines, templates, fields, grams, values: listed }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// Lines that are alike, and some that only look so.
    pub(in crate::logs) fn line() -> impl Strategy<Value = String> {
        let value = prop_oneof![
            Just("\"x\"".to_owned()),
            "\"[a-c \\\\=\u{fffd}\u{1}]{0,3}\"",
            "-?[0-9]{1,3}(\\.[0-9]{1,2})?",
            Just("true".to_owned()),
            Just("null".to_owned()),
            Just("[1]".to_owned()),
            Just("{\"n\":1}".to_owned()),
            "[a-c1]{0,3}",
        ];
        let spaces = prop_oneof![Just(""), Just(""), Just(" ")];
        (vec((value, spaces), 1..4), any::<bool>()).prop_map(|(values, is_json)| {
            let pairs = values.iter().zip(["a", "b", "c"]);
            match is_json {
                true => {
                    let pairs: Vec<String> =
                        pairs.map(|((value, space), key)| format!("\"{key}\":{space}{value}")).collect();
                    format!("{{{}}}", pairs.join(","))
                }
                false => {
                    let pairs: Vec<String> =
                        pairs.map(|((value, space), key)| format!("{key}={value}{space}")).collect();
                    pairs.join(" ")
                }
            }
        })
    }

    proptest! {
        #[test]
        fn a_stencil_cuts_as_the_reader_does(lines in vec(line(), 1..12)) {
            let mut cutter = Cutter::default();
            for model in &lines {
                if !cutter.cut(model) {
                    continue;
                }
                let columns: Vec<u16> = (0..cutter.tokens.fields.len() as u16).collect();
                let (template, key) = (cutter.template(model, &columns), cutter.key.clone());
                let Some(stencil) = Stencil::new(Cow::Borrowed(&template)) else { continue };
                let mut values = Vec::new();
                for line in &lines {
                    if stencil.cut(line, &mut values) {
                        prop_assert!(cutter.cut(line), "{} as {}", line, model);
                        prop_assert_eq!(&cutter.key, &key, "{} as {}", line, model);
                        let read: Vec<_> = cutter.tokens.fields.iter().map(|field| field.value.clone()).collect();
                        prop_assert_eq!(&values, &read);
                    }
                }
                prop_assert!(stencil.cut(model, &mut values), "{}", model);
            }
        }
    }
}
