//! What stands behind the row groups of a part of logs: its streams and where their rows are, how lines are put
//! together from the columns of their fields, and which groups of three bytes occur in a page of text.
//!
//! The bytes are drawn in `docs/formats/parts.md`. Everything here could be computed again from the columns; it is there
//! so that most questions need not read them.

use std::ops::Range;

use bytes::Bytes;
use kenning_codec::bytes::{Decoder, Encoder};
use kenning_model::{LineSyntax, Nanos, TimeRange};

use super::kind::Kind;
use super::stream_list::StreamList;
use crate::parts::{PartError, damaged};

/// Where the index stands in the footer.
pub(crate) const INDEX_KEY: &str = "kenning.logs.3";

/// Where that of parts of version 2 stands.
pub(crate) const INDEX_KEY_2: &str = "kenning.logs";

/// Steps that times of runs are rounded to, in the span of a row group, as a power of two.
const TIME_STEPS_LOG2: u32 = 14;

/// Rows of a page of every column.
pub(crate) const PAGE_ROWS: usize = 8192;

/// The first leaf column that holds a field.
pub(crate) const FIRST_FIELD: usize = 12;

/// The index of one part.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct LogIndex {
    /// Nanoseconds of a tick of the time column.
    pub(crate) tick: i64,
    /// The streams in their order.
    pub(crate) streams: StreamList,
    /// The columns of fields.
    pub(crate) columns: Vec<Kind>,
    pub(crate) templates: Vec<Template>,
    /// Names that occur in structured metadata; none when there are too many to list.
    pub(crate) metadata_names: Option<Vec<Box<str>>>,
    pub(crate) groups: Vec<GroupIndex>,
}

/// Lines that differ in the values of their fields only.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Template {
    pub(crate) syntax: LineSyntax,
    /// True when its lines are plain in the sense of [`kenning_model::Tokens::is_plain`].
    pub(crate) is_plain: bool,
    /// What stands before each value.
    pub(crate) slots: Vec<Slot>,
    /// What stands behind the last value.
    pub(crate) end: Box<str>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Slot {
    pub(crate) before: Box<str>,
    /// The place in [`LogIndex::columns`].
    pub(crate) column: u16,
    /// The name that queries know the field by; none for values that parsers pass over.
    pub(crate) name: Option<Box<str>>,
}

/// The index of a row group.
#[derive(Debug, PartialEq)]
pub(crate) struct GroupIndex {
    pub(crate) runs: Vec<Run>,
    /// From the earliest to the latest of the runs' times.
    pub(crate) time: TimeRange,
    /// False when no two rows have the same time, so that nobody need ask which came first.
    pub(crate) has_ties: bool,
    /// Per column of texts that is not a dictionary, and for the column of whole lines: the grams of each page.
    pub(crate) grams: Vec<(GramColumn, Vec<Grams>)>,
    /// Of columns with few different values, as places in [`LogIndex::columns`]: each value and how many rows have it.
    pub(crate) values: Vec<(u16, Values)>,
}

/// The different values of a column in a row group and how many rows have each.
pub(crate) type Values = Vec<(Box<str>, u32)>;

/// Most different values of a column that an index lists ...
pub(crate) const VALUES_MAX: usize = 64;
/// ... and most bytes of one of them.
pub(crate) const VALUE_BYTES_MAX: usize = 64;

/// A column with grams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GramColumn {
    /// Lines without a template.
    Line,
    /// A place in [`LogIndex::columns`].
    Field(u16),
}

/// Rows of one stream that lie together.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Run {
    /// The place in [`LogIndex::streams`].
    pub(crate) stream: u32,
    /// First row in the group.
    pub(crate) start: usize,
    pub(crate) rows: usize,
    /// Holds the times of its rows; may be a little wider.
    pub(crate) time: TimeRange,
    pub(crate) line_bytes: u64,
}

impl GroupIndex {
    pub(crate) fn new(
        runs: Vec<Run>,
        grams: Vec<(GramColumn, Vec<Grams>)>,
        values: Vec<(u16, Values)>,
        has_ties: bool,
    ) -> Self {
        let start = runs.iter().map(|run| run.time.start).min().unwrap_or(Nanos(0));
        let end = runs.iter().map(|run| run.time.end).max().unwrap_or(start);
        Self { runs, grams, values, has_ties, time: TimeRange { start, end } }
    }

    /// The values of a column, when they are listed.
    pub(crate) fn values_of(&self, column: u16) -> Option<&[(Box<str>, u32)]> {
        self.values.iter().find(|(of, _)| *of == column).map(|(_, values)| values.as_slice())
    }

    /// The runs that hold rows of a range, with their places in the list.
    pub(crate) fn runs_in(&self, rows: Range<usize>) -> impl Iterator<Item = (usize, &Run)> {
        let first = self.runs.partition_point(|run| run.start + run.rows <= rows.start);
        let behind = self.runs.get(first..).unwrap_or_default();
        (first..).zip(behind.iter().take_while(move |run| run.start < rows.end))
    }

    /// Rows of the group.
    pub(crate) fn rows(&self) -> usize {
        self.runs.last().map_or(0, |run| run.start + run.rows)
    }
}

/// Which groups of three bytes may occur in a page: one bit for each value of a hash.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Grams {
    /// Two to this many bits; 0: not known.
    log2: u8,
    bits: Bytes,
}

/// Most bits of a page's grams, as a power of two: 8 KiB for pages of about 700 KiB.
const GRAM_LOG2_MAX: u8 = 16;
const GRAM_LOG2_MIN: u8 = 6;
/// Bits for each gram that is there: one bit in eight set.
const GRAM_SPARSITY: usize = 8;
/// Share of bits set, in percent, above which they tell nothing.
const GRAM_FULL_PERCENT: usize = 70;

fn gram_hash(a: u8, b: u8, c: u8) -> u32 {
    (u32::from(a) | u32::from(b) << 8 | u32::from(c) << 16).wrapping_mul(0x9e37_79b1)
}

/// Four hashes of a whole value.
fn whole_hashes(value: &[u8]) -> [u32; 4] {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for chunk in value.chunks(8) {
        let word = chunk.iter().rev().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
        hash = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^= hash >> 32;
    }
    let (a, b) = (hash as u32, (hash >> 32) as u32 | 1);
    [0, 1, 2, 3].map(|n| a.wrapping_add(b.wrapping_mul(n)).wrapping_mul(0x9e37_79b1))
}

/// Collects the grams of a page.
pub(crate) struct GramBuilder {
    bits: Vec<u64>,
}

impl GramBuilder {
    pub(crate) fn new() -> Self {
        Self { bits: vec![0; 1 << (GRAM_LOG2_MAX - 6)] }
    }

    pub(crate) fn add(&mut self, text: &[u8]) {
        for gram in text.windows(3) {
            if let [a, b, c] = *gram {
                let bit = gram_hash(a, b, c) >> (32 - u32::from(GRAM_LOG2_MAX));
                if let Some(word) = self.bits.get_mut((bit >> 6) as usize) {
                    *word |= 1 << (bit & 63);
                }
            }
        }
    }

    /// Adds a value that is only ever looked for as a whole.
    pub(crate) fn add_whole(&mut self, value: &[u8]) {
        for hash in whole_hashes(value) {
            let bit = hash >> (32 - u32::from(GRAM_LOG2_MAX));
            if let Some(word) = self.bits.get_mut((bit >> 6) as usize) {
                *word |= 1 << (bit & 63);
            }
        }
    }

    /// The grams in as few bits as serve; begins anew.
    pub(crate) fn finish(&mut self) -> Grams {
        let mut bits = std::mem::replace(&mut self.bits, vec![0; 1 << (GRAM_LOG2_MAX - 6)]);
        let mut log2 = GRAM_LOG2_MAX;
        let count = |bits: &[u64]| bits.iter().map(|word| word.count_ones() as usize).sum::<usize>();
        let set = count(&bits);
        if set * 100 > GRAM_FULL_PERCENT << GRAM_LOG2_MAX {
            return Grams { log2: 0, bits: Bytes::new() };
        }
        while log2 > GRAM_LOG2_MIN && set * GRAM_SPARSITY < 1 << (log2 - 1) {
            bits = bits.chunks(2).map(|pair| halve(pair.first()) | halve(pair.get(1)) << 32).collect();
            log2 -= 1;
        }
        Grams { log2, bits: bits.iter().flat_map(|word| word.to_le_bytes()).collect() }
    }
}

/// Joins neighbouring bits: 64 become 32.
fn halve(word: Option<&u64>) -> u64 {
    let word = word.copied().unwrap_or(0);
    let mut bits = (word | word >> 1) & 0x5555_5555_5555_5555;
    for shift in [1, 2, 4, 8, 16] {
        let mask = match shift {
            1 => 0x3333_3333_3333_3333,
            2 => 0x0f0f_0f0f_0f0f_0f0f,
            4 => 0x00ff_00ff_00ff_00ff,
            8 => 0x0000_ffff_0000_ffff,
            _ => 0x0000_0000_ffff_ffff,
        };
        bits = (bits | bits >> shift) & mask;
    }
    bits
}

impl Grams {
    /// False when no text of the page contains `part`.
    pub(crate) fn may_contain(&self, part: &[u8]) -> bool {
        self.log2 == 0
            || part.windows(3).all(|gram| match *gram {
                [a, b, c] => {
                    let bit = gram_hash(a, b, c) >> (32 - u32::from(self.log2));
                    self.bits.get((bit >> 3) as usize).is_none_or(|byte| byte >> (bit & 7) & 1 == 1)
                }
                _ => true,
            })
    }
}

impl Grams {
    /// False when no value of the page is this one; for values added with [`GramBuilder::add_whole`].
    pub(crate) fn may_hold(&self, value: &[u8]) -> bool {
        self.log2 == 0
            || whole_hashes(value).into_iter().all(|hash| {
                let bit = hash >> (32 - u32::from(self.log2));
                self.bits.get((bit >> 3) as usize).is_none_or(|byte| byte >> (bit & 7) & 1 == 1)
            })
    }
}

impl LogIndex {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::default();
        out.signed(self.tick);
        self.streams.encode(&mut out);
        out.size(self.columns.len());
        self.columns.iter().for_each(|kind| kind.encode(&mut out));
        out.size(self.templates.len());
        self.templates.iter().for_each(|template| template.encode(&mut out));
        match &self.metadata_names {
            Some(names) => {
                out.byte(1);
                out.size(names.len());
                names.iter().for_each(|name| out.text(name));
            }
            None => out.byte(0),
        }
        out.size(self.groups.len());
        self.groups.iter().for_each(|group| group.encode(&mut out));
        out.into_bytes()
    }

    pub(crate) fn decode(bytes: &Bytes, form: Form) -> Result<Self, PartError> {
        let mut decoder = Decoder::new(bytes);
        Self::take(bytes, &mut decoder, form)
            .ok_or_else(|| damaged("the index of a part of logs is malformed"))
    }

    fn take(bytes: &Bytes, from: &mut Decoder<'_>, form: Form) -> Option<Self> {
        let tick = from.signed().filter(|tick| *tick > 0)?;
        let streams = match form {
            Form::Second => StreamList::decode_whole(from)?,
            Form::Third => StreamList::decode(bytes, from)?,
        };
        let columns = list(from, Kind::decode)?;
        let templates = list(from, |from| Template::decode(from, columns.len()))?;
        let metadata_names = match from.byte()? {
            0 => None,
            _ => Some(list(from, |from| Some(Box::from(from.text()?)))?),
        };
        let groups = list(from, |from| GroupIndex::decode(bytes, from, streams.len(), form))?;
        Some(Self { tick, streams, columns, templates, metadata_names, groups })
    }

    /// The first leaf column of a field.
    pub(crate) fn leaf(&self, column: u16) -> usize {
        FIRST_FIELD + self.columns.iter().take(usize::from(column)).map(Kind::leaves).sum::<usize>()
    }

    /// False when no record has structured metadata of that name.
    pub(crate) fn may_have_metadata(&self, name: &str) -> bool {
        self.metadata_names.as_ref().is_none_or(|names| names.iter().any(|known| **known == *name))
    }
}

impl LogIndex {
    /// Bytes held, for caches.
    pub(crate) fn heap_bytes(&self) -> usize {
        let grams = |group: &GroupIndex| {
            let pages = group.grams.iter().flat_map(|(_, pages)| pages);
            pages.map(|grams| grams.bits.len() + size_of::<Grams>()).sum::<usize>()
        };
        let of_groups = |group: &GroupIndex| grams(group) + group.runs.len() * size_of::<Run>();
        self.streams.heap_bytes() + self.groups.iter().map(of_groups).sum::<usize>()
    }
}

/// Forms of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// That of parts of version 2, which is read only.
    Second,
    Third,
}

/// Items that room is made for before they are read.
const LIST_RESERVED_MAX: usize = 4096;

/// A list with its length in front.
fn list<T>(from: &mut Decoder<'_>, mut item: impl FnMut(&mut Decoder<'_>) -> Option<T>) -> Option<Vec<T>> {
    let count = from.size()?;
    let mut items = Vec::with_capacity(from.capacity(count).min(LIST_RESERVED_MAX));
    for _ in 0..count {
        items.push(item(from)?);
    }
    Some(items)
}

impl Template {
    fn encode(&self, out: &mut Encoder) {
        out.byte(u8::from(self.syntax == LineSyntax::Logfmt) | u8::from(self.is_plain) << 1);
        out.text(&self.end);
        out.size(self.slots.len());
        for slot in &self.slots {
            out.text(&slot.before);
            out.size(usize::from(slot.column));
            out.text(slot.name.as_deref().unwrap_or(""));
        }
    }

    fn decode(from: &mut Decoder<'_>, columns: usize) -> Option<Self> {
        let flags = from.byte()?;
        let syntax = if flags & 1 == 1 { LineSyntax::Logfmt } else { LineSyntax::Json };
        let end = from.text()?.into();
        let slots = list(from, |from| {
            let before = from.text()?.into();
            let column = u16::try_from(from.size()?).ok().filter(|column| usize::from(*column) < columns)?;
            let name = Some(from.text()?).filter(|name| !name.is_empty()).map(Box::from);
            Some(Slot { before, column, name })
        })?;
        Some(Self { syntax, is_plain: flags & 2 == 2, slots, end })
    }
}

impl GroupIndex {
    fn encode(&self, out: &mut Encoder) {
        out.byte(u8::from(self.has_ties));
        let base = self.time.start;
        out.signed(base.0);
        let span = self.time.end.0.wrapping_sub(base.0).cast_unsigned();
        out.varint(span);
        out.size(self.runs.len());
        let steps = |time: Nanos| time.0.wrapping_sub(base.0).cast_unsigned();
        let mut stream = 0;
        for run in &self.runs {
            out.size((run.stream - stream) as usize);
            stream = run.stream;
            out.size(run.rows);
            let start = steps(run.time.start) / step_of(span);
            out.varint(start);
            out.varint(steps(run.time.end).div_ceil(step_of(span)).saturating_sub(start));
            out.varint(run.line_bytes);
        }
        out.size(self.grams.len());
        for (column, pages) in &self.grams {
            out.size(match column {
                GramColumn::Line => 0,
                GramColumn::Field(column) => usize::from(*column) + 1,
            });
            out.size(pages.len());
            for grams in pages {
                out.byte(grams.log2);
                out.chunk(&grams.bits);
            }
        }
        out.size(self.values.len());
        for (column, values) in &self.values {
            out.size(usize::from(*column));
            out.size(values.len());
            for (value, rows) in values {
                out.text(value);
                out.varint(u64::from(*rows));
            }
        }
    }

    fn decode(bytes: &Bytes, from: &mut Decoder<'_>, streams: usize, form: Form) -> Option<Self> {
        let has_ties = form == Form::Second || from.byte()? != 0;
        let times = match form {
            Form::Second => None,
            Form::Third => Some((from.signed()?, from.varint()?)),
        };
        let (mut stream, mut start) = (0u32, 0usize);
        let runs = list(from, |from| {
            stream = stream.checked_add(from.index()?).filter(|stream| (*stream as usize) < streams)?;
            let rows = from.size()?;
            let time = match times {
                None => {
                    let first = from.signed()?;
                    let last = first.wrapping_add(from.varint()?.cast_signed());
                    TimeRange { start: Nanos(first), end: Nanos(last) }
                }
                Some((base, span)) => {
                    let first = from.varint()?;
                    let at = |steps: u64| {
                        let offset = steps.saturating_mul(step_of(span)).min(span);
                        Nanos(base.wrapping_add(offset.cast_signed()))
                    };
                    TimeRange { start: at(first), end: at(first.checked_add(from.varint()?)?) }
                }
            };
            let run = Run { stream, start, rows, time, line_bytes: from.varint()? };
            start = start.checked_add(rows)?;
            Some(run)
        })?;
        let grams = list(from, |from| {
            let column = match from.size()? {
                0 => GramColumn::Line,
                column => GramColumn::Field(u16::try_from(column - 1).ok()?),
            };
            let pages = list(from, |from| {
                let log2 = from.byte().filter(|log2| *log2 <= GRAM_LOG2_MAX)?;
                let chunk = from.chunk()?;
                (log2 == 0 || chunk.len() << 3 == 1 << log2).then_some(())?;
                Some(Grams { log2, bits: bytes.slice_ref(chunk) })
            })?;
            Some((column, pages))
        })?;
        let values = match form {
            Form::Second => Vec::new(),
            Form::Third => list(from, |from| {
                let column = u16::try_from(from.size()?).ok()?;
                Some((column, list(from, |from| Some((Box::from(from.text()?), from.index()?)))?))
            })?,
        };
        Some(Self::new(runs, grams, values, has_ties))
    }
}

/// Nanoseconds that times of runs are rounded to, outwards.
fn step_of(span: u64) -> u64 {
    (span >> TIME_STEPS_LOG2) + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use kenning_model::LabelSet;
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn grams_never_hide_what_is_there(texts in vec("[a-e]{0,40}", 0..20), at: usize, len in 0usize..12) {
            let mut builder = GramBuilder::new();
            texts.iter().for_each(|text| builder.add(text.as_bytes()));
            let grams = builder.finish();
            for text in &texts {
                let start = at % (text.len() + 1);
                let part = &text.as_bytes()[start..(start + len).min(text.len())];
                prop_assert!(grams.may_contain(part));
            }
        }
    }

    #[test]
    fn whole_values_are_found() {
        let mut builder = GramBuilder::new();
        (0..8192u64).for_each(|n| builder.add_whole(&n.to_le_bytes()));
        let grams = builder.finish();
        assert!((0..8192u64).all(|n| grams.may_hold(&n.to_le_bytes())));
        assert!((8192..18192u64).filter(|n| grams.may_hold(&n.to_le_bytes())).count() < 600);
    }

    #[test]
    fn grams_tell_what_is_not_there() {
        let mut builder = GramBuilder::new();
        builder.add(b"the quick brown fox jumps over the lazy dog");
        let grams = builder.finish();
        assert!(grams.bits.len() < 100 && !grams.may_contain(b"haystack"));
        (0..60_000u32).for_each(|n| builder.add(&n.wrapping_mul(0x9e37_79b1).to_le_bytes()));
        assert_eq!(builder.finish().log2, 0, "too full to tell");
    }

    fn phrases_kind() -> Kind {
        let mut guess = crate::logs::phrase::PhraseGuess::default();
        ["order 1 of 20", "order 2 of 10"].iter().for_each(|text| guess.add(text));
        Kind::Phrases(guess.finish().unwrap().into())
    }

    #[test]
    fn an_index_comes_back_and_damage_is_noticed() {
        let mut builder = GramBuilder::new();
        builder.add(b"some text");
        let time = TimeRange { start: Nanos(-5), end: Nanos(i64::MAX) };
        let run = Run { stream: 1, start: 0, rows: 7, time, line_bytes: 99 };
        let slot = Slot { before: "{\"a\":".into(), column: 1, name: Some("a".into()) };
        let index = LogIndex {
            tick: 1000,
            streams: StreamList::of(&[LabelSet::empty(), LabelSet::from_pairs([("app", "x")])]),
            columns: vec![Kind::Text, Kind::Decimal { scale: 3, trimmed: true }, phrases_kind()],
            templates: vec![Template {
                syntax: LineSyntax::Json,
                is_plain: true,
                slots: vec![slot],
                end: "}".into(),
            }],
            metadata_names: Some(vec!["n".into()]),
            groups: vec![GroupIndex::new(
                vec![run],
                vec![(GramColumn::Field(0), vec![builder.finish()])],
                vec![(1, vec![("one".into(), 3), ("".into(), 1)])],
                true,
            )],
        };
        let bytes = Bytes::from(index.encode());
        assert_eq!(LogIndex::decode(&bytes, Form::Third).unwrap(), index);
        for len in 0..bytes.len() {
            assert!(LogIndex::decode(&bytes.slice(..len), Form::Third).is_err(), "{len}");
        }
    }

    proptest! {
        #[test]
        fn runs_come_back_with_times_that_hold_theirs(
            times in vec((any::<i64>(), 0i64..1 << 40), 1..20),
            near in any::<bool>(),
        ) {
            let at = |start: i64| if near { start >> 24 } else { start };
            let run = |(place, (start, len)): (usize, &(i64, i64))| Run {
                stream: 0,
                start: place,
                rows: 1,
                time: TimeRange { start: Nanos(at(*start)), end: Nanos(at(*start).saturating_add(*len)) },
                line_bytes: 3,
            };
            let group = GroupIndex::new(times.iter().enumerate().map(run).collect(), Vec::new(), Vec::new(), false);
            let index = LogIndex {
                tick: 1,
                streams: StreamList::of(&[LabelSet::empty()]),
                groups: vec![group],
                ..LogIndex::default()
            };
            let read = LogIndex::decode(&Bytes::from(index.encode()), Form::Third).unwrap();
            for (own, read) in index.groups[0].runs.iter().zip(&read.groups[0].runs) {
                prop_assert!(read.time.start <= own.time.start && read.time.end >= own.time.end);
                prop_assert_eq!((own.stream, own.start, own.rows), (read.stream, read.start, read.rows));
            }
            prop_assert_eq!(index.groups[0].time, read.groups[0].time);
        }
    }
}
