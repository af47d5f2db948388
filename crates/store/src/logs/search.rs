//! What the index of a part says about a search for a text in its lines, whatever the rows: the wording of templates and
//! phrases, which columns could hold the text, and how it could reach over the edge of a value. It is worked out once per
//! part, for a search goes through many row groups.

use memchr::memmem::Finder;

use super::index::{LogIndex, Template};
use super::kind::Kind;
use super::phrase::Contains;
use crate::parts::PartError;

/// A text that lines are searched for, in one part.
pub(crate) struct Search {
    pub(crate) finder: Finder<'static>,
    /// Per template whether its wording holds the text, so that all of its lines do.
    pub(crate) everywhere: Box<[bool]>,
    /// The columns whose values may hold it, as places in [`LogIndex::columns`].
    pub(crate) columns: Box<[SearchedColumn]>,
    /// How it may begin in lines of templates whose wording does not hold it, by number of the template.
    pub(crate) straddles: Box<[(usize, Vec<Straddle>)]>,
}

/// A column whose values may hold a text.
pub(crate) struct SearchedColumn {
    pub(crate) column: u16,
    /// Of a column of phrases: per phrase whether its texts do.
    pub(crate) phrases: Box<[Contains]>,
    /// The bytes that the text stands for in a column of hex digits.
    pub(crate) whole: Option<Vec<u8>>,
}

impl Search {
    /// A search for `needle`, which is not empty.
    pub(crate) fn new(needle: &str, index: &LogIndex) -> Self {
        let finder = Finder::new(needle).into_owned();
        let is_in = |text: &str| finder.find(text.as_bytes()).is_some();
        let holds = |template: &Template| {
            template.slots.iter().any(|slot| is_in(&slot.before)) || is_in(&template.end)
        };
        let everywhere: Box<[bool]> = index.templates.iter().map(holds).collect();
        let mut columns: Vec<u16> =
            index.templates.iter().flat_map(|template| &template.slots).map(|slot| slot.column).collect();
        columns.sort_unstable();
        columns.dedup();
        let columns = columns.into_iter().filter_map(|column| SearchedColumn::new(needle, column, index));
        let others = index.templates.iter().enumerate().zip(&everywhere).filter(|(_, holds)| !**holds);
        let straddles =
            others.map(|((number, template), _)| (number, Straddle::starts(template, needle.as_bytes())));
        Self {
            columns: columns.collect(),
            straddles: straddles.filter(|(_, starts)| !starts.is_empty()).collect(),
            everywhere,
            finder,
        }
    }

    /// The text.
    pub(crate) fn needle(&self) -> &[u8] {
        self.finder.needle()
    }
}

impl SearchedColumn {
    fn new(needle: &str, column: u16, index: &LogIndex) -> Option<Self> {
        let kind = index.columns.get(usize::from(column))?;
        kind.may_contain(needle.as_bytes()).then_some(())?;
        let phrases = match kind {
            Kind::Phrases(phrases) => phrases.iter().map(|phrase| phrase.contains(needle)).collect(),
            _ => Box::default(),
        };
        Some(Self { column, phrases, whole: kind.unhex(needle.as_bytes()) })
    }
}

/// How a text may begin in a line so that it reaches over the edge of a value.
#[derive(Debug)]
pub(crate) struct Straddle {
    /// The value at whose edge it begins to be checked.
    pub(crate) slot: usize,
    /// So many of its bytes are at the end of that value, or, when `in_literal`, right before it.
    bytes: usize,
    in_literal: bool,
}

impl Straddle {
    /// All ways in lines of a template.
    fn starts(template: &Template, needle: &[u8]) -> Vec<Self> {
        let mut starts = Vec::new();
        for (slot, piece) in template.slots.iter().enumerate() {
            for bytes in 1..needle.len() {
                let (head, tail) = needle.split_at(bytes);
                if piece.before.as_bytes().ends_with(head) {
                    starts.push(Self { slot, bytes, in_literal: true });
                }
                let next = template.piece_after(slot).as_bytes();
                if !next.is_empty() && (next.starts_with(tail) || tail.starts_with(next)) {
                    starts.push(Self { slot, bytes, in_literal: false });
                }
            }
        }
        starts
    }

    /// True when the text is there from here on; `text_of` appends the value of a column, if there is one.
    pub(crate) fn holds(
        &self,
        template: &Template,
        needle: &[u8],
        text_of: &mut dyn FnMut(u16, &mut String) -> Result<bool, PartError>,
        value: &mut String,
    ) -> Result<bool, PartError> {
        let (head, mut rest) = needle.split_at_checked(self.bytes).unwrap_or_default();
        let mut slot = self.slot;
        if !self.in_literal {
            let Some(piece) = template.slots.get(slot) else { return Ok(false) };
            if !text_of(piece.column, value)? || !value.as_bytes().ends_with(head) {
                return Ok(false);
            }
            match after_literal(template.piece_after(slot).as_bytes(), rest) {
                After::Done => return Ok(true),
                After::Apart => return Ok(false),
                After::Left(left) => (rest, slot) = (left, slot + 1),
            }
        }
        while let Some(piece) = template.slots.get(slot) {
            if !text_of(piece.column, value)? {
                return Ok(false);
            }
            match after_literal(value.as_bytes(), rest) {
                After::Done => return Ok(true),
                After::Apart => return Ok(false),
                After::Left(left) => rest = left,
            }
            match after_literal(template.piece_after(slot).as_bytes(), rest) {
                After::Done => return Ok(true),
                After::Apart => return Ok(false),
                After::Left(left) => (rest, slot) = (left, slot + 1),
            }
        }
        Ok(false)
    }
}

enum After<'n> {
    Done,
    Apart,
    Left(&'n [u8]),
}

/// What is left of a text to find once a piece of the line is passed.
fn after_literal<'n>(piece: &[u8], rest: &'n [u8]) -> After<'n> {
    if piece.starts_with(rest) {
        return After::Done;
    }
    rest.strip_prefix(piece).map_or(After::Apart, After::Left)
}

impl Template {
    fn piece_after(&self, slot: usize) -> &str {
        self.slots.get(slot + 1).map_or(&self.end, |next| &next.before)
    }
}
