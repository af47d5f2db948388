//! The values of one field in one row group, as they are in the file: codes of a dictionary, numbers, or bytes.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use memchr::memmem::Finder;
use parquet::basic::Encoding;
use parquet::data_type::ByteArray;

use super::index::PAGE_ROWS;
use super::kind::{Kind, push_hex};
use super::levels::{self, Defined};
use super::phrase::{NUMBERS_MAX, Phrase, number_columns};
use super::{metadata, packed};
use crate::parts::columns::{GroupReader, Values};
use crate::parts::pages::RawPage;
use crate::parts::{PartError, damaged};
use kenning_model::LabelSet;

/// The code of a row without a value.
pub(crate) const ABSENT: u32 = u32::MAX;

/// A column of values. Pages are read when they are asked for; see [`Cells::load`].
pub(crate) enum Cells {
    /// Few different texts, and per row which; [`ABSENT`] in rows without one.
    Dictionary { texts: Arc<[Box<str>]>, codes: Paged<u32> },
    /// A number per row; what stands in rows without one means nothing.
    Numbers { values: Paged<i64>, present: Vec<Option<Defined>> },
    /// Texts, or bytes of hex digits, in pages.
    Bytes { pages: Vec<Option<BytesPage>>, rows: usize },
    /// Texts by their wordings.
    Phrases(Box<PhraseCells>),
}

/// Texts by their wordings. Each of its columns can be read alone.
pub(crate) struct PhraseCells {
    pub(crate) phrases: Arc<[Phrase]>,
    /// Per row its phrase; [`ABSENT`] in rows without one.
    pub(crate) codes: Paged<u32>,
    numbers: Vec<Cells>,
    /// The texts without a phrase.
    others: Cells,
}

impl PhraseCells {
    fn new(phrases: &Arc<[Phrase]>, rows: usize) -> Self {
        let numbers = || Cells::numbers(rows);
        Self {
            phrases: Arc::clone(phrases),
            codes: Paged::new(rows),
            numbers: std::iter::repeat_with(numbers).take(number_columns(phrases)).collect(),
            others: Cells::lines(rows),
        }
    }

    /// Has the phrases of some rows at hand.
    pub(crate) fn load_codes(
        &mut self,
        group: &GroupReader<'_>,
        leaf: usize,
        wanted: impl Iterator<Item = usize>,
    ) -> Result<(), PartError> {
        let known = self.phrases.len();
        self.codes.load(wanted, |page, rows| {
            let code = |code: Option<i32>| match code.map(u32::try_from) {
                None => Ok(ABSENT),
                Some(Ok(code)) if (code as usize) < known => Ok(code),
                Some(_) => Err(damaged("a phrase is not in the index")),
            };
            small_numbers(group, leaf + 1, page, rows, true)?.into_iter().map(code).collect()
        })
    }

    /// Has the numbers of some rows at hand, those of the phrases that `test` passes.
    pub(crate) fn load_numbers(
        &mut self,
        group: &GroupReader<'_>,
        leaf: usize,
        wanted: impl Iterator<Item = usize> + Clone,
        test: impl Fn(usize) -> bool,
    ) -> Result<(), PartError> {
        let mut is_used = [false; NUMBERS_MAX];
        let passing = self.phrases.iter().enumerate().filter(|(number, _)| test(*number));
        for gap in passing.flat_map(|(_, phrase)| &phrase.gaps) {
            is_used.get_mut(usize::from(gap.column)).into_iter().for_each(|used| *used = true);
        }
        let kind = Kind::Int { prefix: "".into(), width: 0 };
        for (place, (cells, _)) in
            self.numbers.iter_mut().zip(is_used).enumerate().filter(|(_, (_, is_used))| *is_used)
        {
            cells.load(group, leaf + 2 + place, &kind, wanted.clone())?;
        }
        Ok(())
    }

    /// Has the texts of some rows without a phrase at hand.
    pub(crate) fn load_others(
        &mut self,
        group: &GroupReader<'_>,
        leaf: usize,
        wanted: impl Iterator<Item = usize>,
    ) -> Result<&Cells, PartError> {
        self.others.load(group, leaf, &Kind::Text, wanted)?;
        Ok(&self.others)
    }

    /// Appends the text of a row; false when it has none.
    pub(crate) fn push_text(&self, row: usize, out: &mut String) -> Result<bool, PartError> {
        let code = self.codes.get(row).filter(|code| **code != ABSENT);
        let Some(phrase) = code.and_then(|code| self.phrases.get(*code as usize)) else {
            return self.others.push_text(&Kind::Text, row, out);
        };
        let number = |column: u8| self.numbers.get(usize::from(column))?.number(row);
        let is_whole = phrase.push(number, out);
        is_whole.then_some(true).ok_or_else(|| damaged("a phrase misses a number"))
    }
}

/// The values of one page in one buffer.
#[derive(Default)]
pub(crate) struct BytesPage {
    buffer: Bytes,
    /// Where each value ends; per row, where not [`Present::These`] rows have one: that of a row without one is empty.
    ends: Vec<u32>,
    present: Present,
}

/// The rows with a value.
#[derive(Default)]
enum Present {
    #[default]
    All,
    /// Per row.
    Each(Vec<bool>),
    /// Few, in order.
    These(Vec<u32>),
}

/// One row in so many is few.
const FEW_VALUES: usize = 8;

impl BytesPage {
    fn get(&self, row: usize) -> Option<&[u8]> {
        let place = match &self.present {
            Present::All => row,
            Present::Each(present) => (present.get(row) == Some(&true)).then_some(row)?,
            Present::These(rows) => rows.binary_search(&u32::try_from(row).ok()?).ok()?,
        };
        let end = *self.ends.get(place)?;
        let start = place.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.buffer.get(start as usize..end as usize)
    }

    /// The row of a place in `ends`.
    fn row_of(&self, place: usize) -> usize {
        match &self.present {
            Present::These(rows) => rows.get(place).map_or(place, |row| *row as usize),
            Present::All | Present::Each(_) => place,
        }
    }

    fn heap_bytes(&self) -> usize {
        let present = match &self.present {
            Present::All => 0,
            Present::Each(each) => each.len(),
            Present::These(rows) => size_of_val::<[u32]>(rows),
        };
        self.buffer.len() + size_of_val::<[u32]>(&self.ends) + present
    }

    /// Hands every row to `see` whose value contains what `finder` looks for: one search over all values.
    pub(crate) fn find(&self, finder: &Finder<'_>, mut see: impl FnMut(usize)) {
        let len = finder.needle().len();
        let mut at = 0;
        while let Some(found) = self.buffer.get(at..).and_then(|rest| finder.find(rest)) {
            let start = at + found;
            let row = self.ends.partition_point(|end| *end as usize <= start);
            let end = self.ends.get(row).map_or(self.buffer.len(), |end| *end as usize);
            // Else it reaches over the end of the value, or is empty and belongs to any.
            if start + len <= end {
                see(self.row_of(row));
                at = end;
            } else {
                at = start + 1;
            }
        }
    }

    fn from_values(definition: &[i16], values: impl Iterator<Item = ByteArray>) -> Option<Self> {
        let mut values = values;
        let (mut buffer, mut page) = (Vec::new(), Self::default());
        let mut present = Vec::with_capacity(definition.len());
        for level in definition {
            if *level > 0 {
                buffer.extend_from_slice(values.next()?.data());
            }
            page.ends.push(u32::try_from(buffer.len()).ok()?);
            present.push(*level > 0);
        }
        (page.buffer, page.present) = (buffer.into(), Present::Each(present));
        Some(page)
    }
}

impl Cells {
    /// A column of which nothing is read yet but its dictionary, if it has one.
    pub(crate) fn open(
        group: &GroupReader<'_>,
        leaf: usize,
        kind: &Kind,
        rows: usize,
    ) -> Result<Self, PartError> {
        if !matches!(kind, Kind::Phrases(_))
            && let Some(texts) = coded(group, leaf, kind)?
        {
            return Ok(Self::Dictionary { texts: texts.into(), codes: Paged::new(rows) });
        }
        Ok(match kind {
            Kind::Text | Kind::Hex { .. } => Self::lines(rows),
            Kind::Int { .. } | Kind::Decimal { .. } => Self::numbers(rows),
            Kind::Phrases(phrases) => Self::Phrases(Box::new(PhraseCells::new(phrases, rows))),
        })
    }

    /// A column of numbers.
    fn numbers(rows: usize) -> Self {
        Self::Numbers {
            values: Paged::new(rows),
            present: std::iter::repeat_with(|| None).take(rows.div_ceil(PAGE_ROWS)).collect(),
        }
    }

    /// A column of texts.
    pub(crate) fn lines(rows: usize) -> Self {
        Self::Bytes { pages: std::iter::repeat_with(|| None).take(rows.div_ceil(PAGE_ROWS)).collect(), rows }
    }

    /// Has the values of some pages at hand.
    pub(crate) fn load(
        &mut self,
        group: &GroupReader<'_>,
        leaf: usize,
        kind: &Kind,
        wanted: impl Iterator<Item = usize>,
    ) -> Result<(), PartError> {
        match self {
            Self::Phrases(phrases) => {
                let pages: Vec<usize> = wanted.collect();
                phrases.load_codes(group, leaf, pages.iter().copied())?;
                phrases.load_numbers(group, leaf, pages.iter().copied(), |_| true)?;
                phrases.load_others(group, leaf, pages.into_iter()).map(drop)
            }
            Self::Dictionary { texts, codes } => {
                codes.load(wanted, |page, rows| read_codes(group, leaf, page, rows, texts.len()))
            }
            Self::Numbers { values, present } => values.load(wanted, |page, rows| {
                let (defined, values) = read_numbers(group, leaf, page, rows)?;
                if let Some(slot) = present.get_mut(page) {
                    *slot = Some(defined);
                }
                Ok(values)
            }),
            Self::Bytes { pages, rows } => {
                for page in wanted {
                    if let Some(slot @ None) = pages.get_mut(page) {
                        *slot = Some(read_bytes(group, leaf, kind, page, rows_of(page, *rows))?);
                    }
                }
                Ok(())
            }
        }
    }

    /// The number of a row, of columns of numbers.
    fn number(&self, row: usize) -> Option<i64> {
        let Self::Numbers { values, present } = self else { return None };
        match present.get(row / PAGE_ROWS)?.as_ref()? {
            Defined::All => values.get(row).copied(),
            defined => values.get(row).copied().filter(|_| defined.has(row % PAGE_ROWS)),
        }
    }

    /// The bytes of a row's value; none for other columns than those of bytes.
    pub(crate) fn bytes(&self, row: usize) -> Option<&[u8]> {
        match self {
            Self::Bytes { pages, .. } => pages.get(row / PAGE_ROWS)?.as_ref()?.get(row % PAGE_ROWS),
            _ => None,
        }
    }

    /// The values of a page, of columns of bytes, when they are at hand.
    pub(crate) fn page(&self, page: usize) -> Option<&BytesPage> {
        match self {
            Self::Bytes { pages, .. } => pages.get(page)?.as_ref(),
            _ => None,
        }
    }

    /// Appends the text of a row; false when it has none.
    pub(crate) fn push_text(&self, kind: &Kind, row: usize, out: &mut String) -> Result<bool, PartError> {
        match self {
            Self::Phrases(phrases) => return phrases.push_text(row, out),
            Self::Dictionary { texts, codes } => {
                let Some(code) = codes.get(row).filter(|code| **code != ABSENT) else { return Ok(false) };
                let text = texts.get(*code as usize).ok_or_else(|| damaged("a code is in no dictionary"))?;
                out.push_str(text);
            }
            Self::Numbers { .. } => match self.number(row) {
                Some(value) => kind.format(value, out),
                None => return Ok(false),
            },
            Self::Bytes { .. } => return push_bytes(self.bytes(row), kind, out),
        }
        Ok(true)
    }

    /// Bytes held, roughly.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::Phrases(phrases) => {
                let numbers = phrases.numbers.iter().map(Self::heap_bytes).sum::<usize>();
                phrases.codes.heap_bytes() + numbers + phrases.others.heap_bytes()
            }
            Self::Dictionary { texts, codes } => codes.heap_bytes() + texts.len() * 32,
            Self::Numbers { values, .. } => values.heap_bytes(),
            Self::Bytes { pages, .. } => pages.iter().flatten().map(BytesPage::heap_bytes).sum(),
        }
    }
}

/// Reads single values out of pages, for those who want few rows of many columns: a page is unpacked as far as it must be,
/// and nothing is kept.
pub(crate) struct Picker<'g, 'f> {
    group: &'g GroupReader<'f>,
    rows: usize,
    row: usize,
}

/// The raw page of a row in a column, its encoded values, and which of them is the row's.
struct Picked {
    raw: RawPage,
    /// Where values begin.
    start: usize,
    /// How many values are there.
    count: usize,
    /// The row's; none when it has no value.
    place: Option<usize>,
}

impl<'g, 'f> Picker<'g, 'f> {
    pub(crate) fn new(group: &'g GroupReader<'f>, rows: usize, row: usize) -> Self {
        Self { group, rows, row }
    }

    fn page(&self, leaf: usize, is_optional: bool) -> Result<Option<Picked>, PartError> {
        let page = self.row / PAGE_ROWS;
        let rows = rows_of(page, self.rows);
        let raw = self.group.raw_page(leaf, page, rows.start)?;
        let Some(raw) = raw.filter(|raw| raw.values == rows.len()) else { return Ok(None) };
        let within = self.row % PAGE_ROWS;
        if !is_optional {
            return Ok(Some(Picked { start: 0, count: rows.len(), place: Some(within), raw }));
        }
        let malformed = || damaged("a page of levels is malformed");
        let (levels, rest) = levels::split(&raw.bytes).ok_or_else(malformed)?;
        let rank = levels::rank(levels, rows.len(), within).ok_or_else(malformed)?;
        let start = raw.bytes.len() - rest.len();
        Ok(Some(Picked { start, count: rank.total, place: rank.is_one.then_some(rank.before), raw }))
    }

    fn rows(&self) -> Range<usize> {
        rows_of(self.row / PAGE_ROWS, self.rows)
    }

    /// The number of the row in a column of 64-bit integers.
    pub(crate) fn number(&self, leaf: usize, is_optional: bool) -> Result<Option<i64>, PartError> {
        let picked = self.page(leaf, is_optional)?;
        let picked = picked.filter(|picked| picked.raw.encoding == Encoding::DELTA_BINARY_PACKED);
        let Some(Picked { raw, start, count, place }) = picked else {
            let (defined, values) = match is_optional {
                true => read_numbers(self.group, leaf, self.row / PAGE_ROWS, self.rows())?,
                false => {
                    (Defined::All, required_numbers(self.group, leaf, self.row / PAGE_ROWS, self.rows())?)
                }
            };
            let within = self.row % PAGE_ROWS;
            return Ok(values.get(within).copied().filter(|_| defined.has(within)));
        };
        let Some(place) = place else { return Ok(None) };
        let number = packed::delta_at(raw.bytes.slice(start..), count, place);
        number.map(Some).ok_or_else(|| damaged("a page of numbers is malformed"))
    }

    /// The number of the row in a column of 32-bit integers.
    pub(crate) fn small_number(&self, leaf: usize, is_optional: bool) -> Result<Option<i32>, PartError> {
        if self.group.is_all_dictionary(leaf)
            && let Some(dictionary) = self.group.raw_dictionary(leaf)?
            && let Some(Picked { raw, start, count, place }) = self.page(leaf, is_optional)?
        {
            let Some(place) = place else { return Ok(None) };
            let bytes = raw.bytes.get(start..).unwrap_or_default();
            let number = packed::code_at(bytes, count, place)
                .and_then(|code| dictionary.bytes.as_chunks::<4>().0.get(code as usize));
            let number = number.map(|bytes| i32::from_le_bytes(*bytes));
            return number.map(Some).ok_or_else(|| damaged("a column of numbers does not fit its rows"));
        }
        let all = small_numbers(self.group, leaf, self.row / PAGE_ROWS, self.rows(), is_optional)?;
        Ok(all.get(self.row % PAGE_ROWS).copied().flatten())
    }

    /// The id of the row, of `len` bytes; `none` when it has none.
    pub(crate) fn id<T: Copy>(
        &self,
        leaf: usize,
        len: usize,
        none: T,
        of: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<T, PartError> {
        let found = match self.page(leaf, true)? {
            Some(Picked { place: None, .. }) => Some(none),
            Some(Picked { raw, start, place: Some(place), .. }) if raw.encoding == Encoding::PLAIN => {
                let value = raw.bytes.get(start..).and_then(|values| values.get(place * len..)?.get(..len));
                Some(value.and_then(of).ok_or_else(|| damaged("a page of ids is malformed"))?)
            }
            _ => {
                let all = ids(self.group, leaf, self.row / PAGE_ROWS, self.rows(), none, of)?;
                all.get(self.row % PAGE_ROWS).copied()
            }
        };
        Ok(found.unwrap_or(none))
    }

    /// The structured metadata of the row, where [`metadata::is_pickable`].
    pub(crate) fn metadata(&self) -> Result<LabelSet, PartError> {
        metadata::pick(self.group, self.row / PAGE_ROWS, self.rows(), self.row)
    }

    /// Appends the row's text in a column; false when it has none.
    pub(crate) fn push_text(&self, leaf: usize, kind: &Kind, out: &mut String) -> Result<bool, PartError> {
        if let Kind::Phrases(phrases) = kind {
            return self.push_phrase(leaf, phrases, out);
        }
        if self.group.is_all_dictionary(leaf)
            && let Some(dictionary) = self.group.raw_dictionary(leaf)?
            && let Some(Picked { raw, start, count, place }) = self.page(leaf, true)?
        {
            let Some(place) = place else { return Ok(false) };
            let bytes = raw.bytes.get(start..).unwrap_or_default();
            let done = packed::code_at(bytes, count, place)
                .filter(|code| (*code as usize) < dictionary.values)
                .and_then(|code| packed::push_dictionary_text(&dictionary.bytes, code, kind, out));
            return done.map(|()| true).ok_or_else(|| damaged("a code is in no dictionary"));
        }
        match kind {
            Kind::Int { .. } | Kind::Decimal { .. } => {
                let number = self.number(leaf, true)?;
                number.into_iter().for_each(|number| kind.format(number, out));
                Ok(number.is_some())
            }
            Kind::Hex { len }
                if let Some(value) = self.group.plain_value(
                    leaf,
                    self.row / PAGE_ROWS,
                    self.rows(),
                    self.row,
                    usize::from(*len),
                )? =>
            {
                push_hex(&value, out);
                Ok(true)
            }
            Kind::Text if let Some(found) = self.push_plain_text(leaf, out)? => Ok(found),
            _ => {
                let page = read_bytes(self.group, leaf, kind, self.row / PAGE_ROWS, self.rows())?;
                push_bytes(page.get(self.row % PAGE_ROWS), kind, out)
            }
        }
    }

    /// As [`Self::push_text`], for texts behind their lengths; `None` for columns in other forms.
    fn push_plain_text(&self, leaf: usize, out: &mut String) -> Result<Option<bool>, PartError> {
        if self.group.has_dictionary(leaf) {
            return Ok(None);
        }
        let picked = self.page(leaf, true)?;
        let picked = picked.filter(|picked| picked.raw.encoding == Encoding::DELTA_LENGTH_BYTE_ARRAY);
        let Some(Picked { raw, start, count, place }) = picked else { return Ok(None) };
        let Some(place) = place else { return Ok(Some(false)) };
        let text = raw.bytes.get(start..).and_then(|bytes| packed::byte_string_at(bytes, count, place));
        let text = text.ok_or_else(|| damaged("a page of texts is malformed"))?;
        push_bytes(Some(text), &Kind::Text, out).map(Some)
    }

    fn push_phrase(&self, leaf: usize, phrases: &[Phrase], out: &mut String) -> Result<bool, PartError> {
        let Some(code) = self.small_number(leaf + 1, true)? else {
            return self.push_text(leaf, &Kind::Text, out);
        };
        let phrase = usize::try_from(code).ok().and_then(|code| phrases.get(code));
        let phrase = phrase.ok_or_else(|| damaged("a phrase is not in the index"))?;
        let mut numbers = [None; NUMBERS_MAX];
        for gap in &phrase.gaps {
            let number = self.number(leaf + 2 + usize::from(gap.column), true)?;
            numbers.get_mut(usize::from(gap.column)).into_iter().for_each(|slot| *slot = number);
        }
        let is_whole = phrase.push(|column| numbers.get(usize::from(column)).copied().flatten(), out);
        is_whole.then_some(true).ok_or_else(|| damaged("a phrase misses a number"))
    }
}

/// Appends a text, or bytes as hex digits; false when there is none.
fn push_bytes(bytes: Option<&[u8]>, kind: &Kind, out: &mut String) -> Result<bool, PartError> {
    match bytes {
        Some(bytes) if matches!(kind, Kind::Hex { .. }) => push_hex(bytes, out),
        Some(bytes) => {
            out.push_str(std::str::from_utf8(bytes).map_err(|_| damaged("a text is not UTF-8"))?);
        }
        None => return Ok(false),
    }
    Ok(true)
}

/// A column of which pages are read when they are asked for. Clones share what was read.
#[derive(Clone, Debug)]
pub(crate) struct Paged<T> {
    pages: Vec<Option<Arc<Vec<T>>>>,
    rows: usize,
}

impl<T> Paged<T> {
    pub(crate) fn new(rows: usize) -> Self {
        Self { pages: std::iter::repeat_with(|| None).take(rows.div_ceil(PAGE_ROWS)).collect(), rows }
    }

    /// Has some pages at hand; `read` gives the values of a page, which holds a range of rows.
    pub(crate) fn load(
        &mut self,
        wanted: impl Iterator<Item = usize>,
        mut read: impl FnMut(usize, Range<usize>) -> Result<Vec<T>, PartError>,
    ) -> Result<(), PartError> {
        for page in wanted {
            let Some(slot @ None) = self.pages.get_mut(page) else { continue };
            let rows = rows_of(page, self.rows);
            let found = read(page, rows.clone())?;
            if found.len() != rows.len() {
                return Err(damaged("a log column has another number of rows"));
            }
            *slot = Some(Arc::new(found));
        }
        Ok(())
    }

    /// All values at once.
    pub(crate) fn of(values: Vec<T>) -> Self
    where
        T: Clone,
    {
        let rows = values.len();
        Self { pages: values.chunks(PAGE_ROWS).map(|page| Some(Arc::new(page.to_vec()))).collect(), rows }
    }

    /// The values that are at hand, changed.
    pub(crate) fn map<U>(&self, change: impl Fn(&T) -> U) -> Paged<U> {
        let changed = |page: &Arc<Vec<T>>| Arc::new(page.iter().map(&change).collect());
        let page = |page: &Option<Arc<Vec<T>>>| page.as_ref().map(changed);
        Paged { pages: self.pages.iter().map(page).collect(), rows: self.rows }
    }

    /// The value of a row, if its page was read.
    #[inline]
    pub(crate) fn get(&self, row: usize) -> Option<&T> {
        self.pages.get(row / PAGE_ROWS)?.as_ref()?.get(row % PAGE_ROWS)
    }

    /// The values of a page that was read.
    pub(crate) fn page(&self, page: usize) -> Option<&[T]> {
        self.pages.get(page)?.as_deref().map(Vec::as_slice)
    }

    /// Bytes held, roughly.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.pages.iter().flatten().map(|page| size_of_val::<[T]>(page)).sum()
    }
}

/// The rows of a page.
pub(crate) fn rows_of(page: usize, rows: usize) -> Range<usize> {
    page * PAGE_ROWS..((page + 1) * PAGE_ROWS).min(rows)
}

/// The texts of a column that is a dictionary all through; none for others.
fn coded(group: &GroupReader<'_>, leaf: usize, kind: &Kind) -> Result<Option<Vec<Box<str>>>, PartError> {
    if !group.is_all_dictionary(leaf) {
        return Ok(None);
    }
    let Some(page) = group.raw_dictionary(leaf)? else { return Ok(None) };
    let texts = packed::dictionary_texts(&page.bytes, page.values, kind);
    texts.map(Some).ok_or_else(|| damaged("a dictionary does not hold the values it claims"))
}

fn read_codes(
    group: &GroupReader<'_>,
    leaf: usize,
    page: usize,
    rows: Range<usize>,
    texts: usize,
) -> Result<Vec<u32>, PartError> {
    let malformed = || damaged("a page of codes is malformed");
    let raw = group.raw_page(leaf, page, rows.start)?.ok_or_else(malformed)?;
    let (defined, rest) = levels::defined(&raw.bytes, rows.len()).ok_or_else(malformed)?;
    let codes = packed::codes(rest, defined.count(rows.len())).ok_or_else(malformed)?;
    if raw.values != rows.len() || codes.iter().any(|code| *code as usize >= texts) {
        return Err(damaged("a column of codes does not fit its rows or its dictionary"));
    }
    Ok(spread(&defined, codes, ABSENT))
}

/// Values spread over the rows that have one.
fn spread<T: Copy>(defined: &Defined, values: Vec<T>, none: T) -> Vec<T> {
    match defined {
        Defined::All => values,
        Defined::Each(each, _) => {
            let mut values = values.into_iter();
            each.iter().map(|defined| if *defined { values.next().unwrap_or(none) } else { none }).collect()
        }
    }
}

/// The numbers of an optional column.
fn read_numbers(
    group: &GroupReader<'_>,
    leaf: usize,
    page: usize,
    rows: Range<usize>,
) -> Result<(Defined, Vec<i64>), PartError> {
    let raw = group.raw_page(leaf, page, rows.start)?;
    if let Some(raw) =
        raw.filter(|raw| raw.encoding == Encoding::DELTA_BINARY_PACKED && raw.values == rows.len())
        && let Some((defined, rest)) = levels::defined(&raw.bytes, rows.len())
        && let Some(values) = packed::deltas(raw.bytes.slice_ref(rest), defined.count(rows.len()))
    {
        let values = spread(&defined, values, 0);
        return Ok((defined, values));
    }
    // Other encodings, or damage: the plain reader knows.
    let column = group.column_rows(leaf, std::slice::from_ref(&rows))?;
    let each: Vec<bool> = column.definition.iter().map(|level| *level > 0).collect();
    let found = column.into_i64()?;
    if each.len() != rows.len() || found.len() != each.iter().filter(|there| **there).count() {
        return Err(damaged("a field has too few rows"));
    }
    let defined = Defined::each(each);
    let values = spread(&defined, found, 0);
    Ok((defined, values))
}

/// The numbers of a required column of 64-bit integers.
pub(crate) fn required_numbers(
    group: &GroupReader<'_>,
    leaf: usize,
    page: usize,
    rows: Range<usize>,
) -> Result<Vec<i64>, PartError> {
    let raw = group.raw_page(leaf, page, rows.start)?;
    let raw = raw.filter(|raw| raw.encoding == Encoding::DELTA_BINARY_PACKED && raw.values == rows.len());
    match raw.and_then(|raw| packed::deltas(raw.bytes, rows.len())) {
        Some(values) => Ok(values),
        None => group.column_rows(leaf, std::slice::from_ref(&rows))?.into_i64(),
    }
}

/// The numbers of a column of 32-bit integers that is a dictionary, none in rows without one.
pub(crate) fn small_numbers(
    group: &GroupReader<'_>,
    leaf: usize,
    page: usize,
    rows: Range<usize>,
    is_optional: bool,
) -> Result<Vec<Option<i32>>, PartError> {
    if let Some(found) = small_numbers_of_dictionary(group, leaf, page, rows.clone(), is_optional)? {
        return Ok(found);
    }
    let column = group.column_rows(leaf, std::slice::from_ref(&rows))?;
    let definition = column.definition.clone();
    let numbers = column.into_i32()?;
    Ok(if is_optional {
        crate::parts::columns::spread(&definition, numbers)
    } else {
        numbers.into_iter().map(Some).collect()
    })
}

fn small_numbers_of_dictionary(
    group: &GroupReader<'_>,
    leaf: usize,
    page: usize,
    rows: Range<usize>,
    is_optional: bool,
) -> Result<Option<Vec<Option<i32>>>, PartError> {
    if !group.is_all_dictionary(leaf) {
        return Ok(None);
    }
    let (Some(dictionary), Some(raw)) =
        (group.raw_dictionary(leaf)?, group.raw_page(leaf, page, rows.start)?)
    else {
        return Ok(None);
    };
    let known: Vec<i32> =
        dictionary.bytes.as_chunks::<4>().0.iter().map(|bytes| i32::from_le_bytes(*bytes)).collect();
    let read = || {
        let (defined, rest) = match is_optional {
            true => levels::defined(&raw.bytes, rows.len())?,
            false => (Defined::All, &*raw.bytes),
        };
        let codes = packed::codes(rest, defined.count(rows.len()))?;
        let numbers: Option<Vec<Option<i32>>> =
            codes.into_iter().map(|code| known.get(code as usize).copied().map(Some)).collect();
        Some(spread(&defined, numbers?, None))
    };
    let is_whole = raw.values == rows.len();
    read().filter(|_| is_whole).map(Some).ok_or_else(|| damaged("a column of numbers does not fit its rows"))
}

/// An optional column of ids.
pub(crate) fn ids<T: Copy>(
    group: &GroupReader<'_>,
    leaf: usize,
    page: usize,
    rows: Range<usize>,
    none: T,
    of: impl Fn(&[u8]) -> Option<T>,
) -> Result<Vec<T>, PartError> {
    let raw = group.raw_page(leaf, page, rows.start)?.filter(|raw| raw.values == rows.len());
    if let Some(raw) = raw
        && let Some((Defined::Each(each, _), _)) = levels::defined(&raw.bytes, rows.len())
        && !each.contains(&true)
    {
        return Ok(vec![none; rows.len()]);
    }
    super::part::ids(group.column_rows(leaf, std::slice::from_ref(&rows))?, none, of)
}

fn read_bytes(
    group: &GroupReader<'_>,
    leaf: usize,
    kind: &Kind,
    page: usize,
    rows: Range<usize>,
) -> Result<BytesPage, PartError> {
    if !group.has_dictionary(leaf)
        && let Some(raw) = group.raw_page(leaf, page, rows.start)?.filter(|raw| raw.values == rows.len())
        && let Some(read) = bytes_page(&raw.bytes, rows.len(), kind, raw.encoding)
    {
        return Ok(read);
    }
    // Other encodings, or damage: the plain reader knows.
    let column = group.column_rows(leaf, std::slice::from_ref(&rows))?;
    let definition = column.definition;
    let read = match column.values {
        Values::Bytes(values) => BytesPage::from_values(&definition, values.into_iter()),
        Values::Fixed(values) => {
            BytesPage::from_values(&definition, values.into_iter().map(|value| (*value).clone()))
        }
        _ => None,
    };
    let read = read.filter(|read| read.ends.len() == rows.len());
    read.ok_or_else(|| damaged("a field is not of byte strings, or has too few rows"))
}

/// A page of byte strings in the encodings that this program writes.
fn bytes_page(bytes: &Bytes, rows: usize, kind: &Kind, encoding: Encoding) -> Option<BytesPage> {
    let is_plain = match encoding {
        Encoding::PLAIN => true,
        Encoding::DELTA_LENGTH_BYTE_ARRAY => false,
        _ => return None,
    };
    let (levels, rest) = levels::split(bytes)?;
    if let Some(there) = levels::few(levels, rows, rows / FEW_VALUES) {
        let (buffer, ends) = packed::byte_strings(bytes, rest, there.len(), kind, is_plain)?;
        return Some(BytesPage { buffer, ends, present: Present::These(there) });
    }
    let (defined, rest) = levels::defined(bytes, rows)?;
    let (buffer, ends) = packed::byte_strings(bytes, rest, defined.count(rows), kind, is_plain)?;
    Some(match defined {
        Defined::All => BytesPage { buffer, ends, present: Present::All },
        Defined::Each(each, _) => {
            let (mut end, mut found) = (0, ends.into_iter());
            let mut at = |defined: &bool| {
                end = if *defined { found.next().unwrap_or(end) } else { end };
                end
            };
            let ends = each.iter().map(&mut at).collect();
            BytesPage { buffer, ends, present: Present::Each(each) }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(values: &[Option<&str>]) -> BytesPage {
        let definition: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
        let there = values.iter().flatten().map(|value| ByteArray::from(*value));
        BytesPage::from_values(&definition, there).unwrap()
    }

    #[test]
    fn a_search_over_a_page_finds_values_and_nothing_across_them() {
        let check = |values: &[Option<&str>], needle: &str, expect: &[usize]| {
            let mut found = Vec::new();
            page(values).find(&Finder::new(needle), |row| found.push(row));
            assert_eq!(found, expect, "{values:?} {needle}");
        };
        check(&[Some("abc"), None, Some(""), Some("cab"), Some("xab")], "ab", &[0, 3, 4]);
        check(&[Some("a"), Some("b")], "ab", &[]);
        check(&[Some("a"), Some(""), None, Some("bab")], "ab", &[3]);
        check(&[Some("aaa"), Some("aa")], "aa", &[0, 1]);
        check(&[Some("xa"), Some("aa")], "aa", &[1]);
        check(&[], "a", &[]);
    }
}
