//! The structured metadata of a row group: few different sets, and per row which.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use kenning_model::LabelSet;
use kenning_model::keyed::Prehashed;

use super::cells::Paged;
use super::kind::Kind;
use super::part::METADATA;
use super::{levels, packed};
use crate::parts::columns::GroupReader;
use crate::parts::labels::read_map;
use crate::parts::pages::RawPage;
use crate::parts::{PartError, damaged};

/// The column of metadata. Pages are read when they are asked for.
pub(crate) struct MetadataCells {
    sets: Vec<LabelSet>,
    by_set: HashMap<LabelSet, u32, Prehashed>,
    /// Per row the place in `sets`.
    places: Paged<u32>,
    /// The texts of keys and values, once they are read.
    texts: Option<[Arc<[Box<str>]>; 2]>,
}

/// The pairs of a page: where each row's end, and codes of their keys and values.
struct Pairs {
    ends: Vec<u32>,
    keys: Vec<u32>,
    values: Vec<u32>,
}

impl MetadataCells {
    pub(crate) fn new(rows: usize) -> Self {
        Self { sets: Vec::new(), by_set: HashMap::default(), places: Paged::new(rows), texts: None }
    }

    /// Has the sets of some pages at hand.
    pub(crate) fn load(
        &mut self,
        group: &GroupReader<'_>,
        wanted: impl Iterator<Item = usize>,
    ) -> Result<(), PartError> {
        let Self { sets, by_set, places, texts } = self;
        let mut known = Known { sets, by_set };
        places.load(wanted, |page, rows| match read_page(group, page, rows.clone(), texts)? {
            Some(places) => known.of_pairs(&places, texts),
            None => {
                // Other encodings, or damage: the plain reader knows.
                let rows = std::slice::from_ref(&rows);
                let read =
                    read_map(group.column_rows(METADATA, rows)?, group.column_rows(METADATA + 1, rows)?)?;
                Ok(read.into_iter().map(|set| known.place(set)).collect())
            }
        })
    }

    /// The set of a row, if its page was read.
    pub(crate) fn get(&self, row: usize) -> Option<&LabelSet> {
        self.sets.get(*self.places.get(row)? as usize)
    }

    /// Bytes held, roughly.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.places.heap_bytes() + self.sets.iter().map(LabelSet::heap_bytes).sum::<usize>()
    }
}

/// The sets that were met.
struct Known<'c> {
    sets: &'c mut Vec<LabelSet>,
    by_set: &'c mut HashMap<LabelSet, u32, Prehashed>,
}

impl Known<'_> {
    fn place(&mut self, set: LabelSet) -> u32 {
        let next = self.sets.len() as u32;
        let place = *self.by_set.entry(set.clone()).or_insert(next);
        if place == next {
            self.sets.push(set);
        }
        place
    }

    /// A place per row. Neighbours are mostly alike.
    fn of_pairs(
        &mut self,
        pairs: &Pairs,
        texts: &Option<[Arc<[Box<str>]>; 2]>,
    ) -> Result<Vec<u32>, PartError> {
        let missing = || damaged("a text of metadata is in no dictionary");
        let [names, values] = texts.as_ref().ok_or_else(missing)?;
        let mut places = Vec::with_capacity(pairs.ends.len());
        let mut before: Option<(Range<usize>, u32)> = None;
        let mut start = 0;
        for end in &pairs.ends {
            let own = start..*end as usize;
            start = own.end;
            let codes =
                |of: &Range<usize>| Some((pairs.keys.get(of.clone())?, pairs.values.get(of.clone())?));
            let place = match &before {
                Some((of, place)) if codes(of) == codes(&own) => *place,
                _ => {
                    let (keys, texts) = codes(&own).ok_or_else(missing)?;
                    let pair = |(key, text): (&u32, &u32)| {
                        Some((&**names.get(*key as usize)?, &**values.get(*text as usize)?))
                    };
                    let found: Option<Vec<(&str, &str)>> = keys.iter().zip(texts).map(pair).collect();
                    self.place(LabelSet::from_pairs(found.ok_or_else(missing)?))
                }
            };
            before = Some((own, place));
            places.push(place);
        }
        Ok(places)
    }
}

/// The pairs of a page, where both columns are dictionaries all through.
fn read_page(
    group: &GroupReader<'_>,
    page: usize,
    rows: Range<usize>,
    texts: &mut Option<[Arc<[Box<str>]>; 2]>,
) -> Result<Option<Pairs>, PartError> {
    if !is_pickable(group) {
        return Ok(None);
    }
    if texts.is_none() {
        let (Some(keys), Some(values)) = (dictionary(group, METADATA)?, dictionary(group, METADATA + 1)?)
        else {
            return Ok(None);
        };
        *texts = Some([keys, values]);
    }
    let keys = group.raw_page(METADATA, page, rows.start)?;
    let (Some(keys), Some(values)) = (keys, group.raw_page(METADATA + 1, page, rows.start)?) else {
        return Ok(None);
    };
    let (levels, keys) = (keys.values, keys.bytes);
    if values.values != levels {
        return Err(damaged("a map's keys and values differ in rows"));
    }
    Ok(pairs_of(&keys, &values.bytes, levels, rows.len()))
}

/// True when [`pick`] understands the columns of a row group.
pub(crate) fn is_pickable(group: &GroupReader<'_>) -> bool {
    group.is_all_dictionary(METADATA) && group.is_all_dictionary(METADATA + 1)
}

/// The set of one row of a page, which holds `rows`, without a look at the sets of others.
pub(crate) fn pick(
    group: &GroupReader<'_>,
    page: usize,
    rows: Range<usize>,
    row: usize,
) -> Result<LabelSet, PartError> {
    let malformed = || damaged("a page of metadata is malformed");
    let column = |leaf| -> Result<[RawPage; 2], PartError> {
        let dictionary = group.raw_dictionary(leaf)?.ok_or_else(malformed)?;
        Ok([dictionary, group.raw_page(leaf, page, rows.start)?.ok_or_else(malformed)?])
    };
    let ([names, keys], [texts, values]) = (column(METADATA)?, column(METADATA + 1)?);
    let within = row.checked_sub(rows.start).ok_or_else(malformed)?;
    let read = || {
        let (pairs, total, codes) = pairs_of_row(&keys, rows.len(), within)?;
        let (own_pairs, own_total, value_codes) = pairs_of_row(&values, rows.len(), within)?;
        ((pairs.clone(), total) == (own_pairs, own_total)).then_some(())?;
        let text_of = |dictionary: &RawPage, codes: &[u8], at: usize| {
            let code = packed::code_at(codes, total, at)?;
            let mut text = String::new();
            ((code as usize) < dictionary.values).then_some(())?;
            packed::push_dictionary_text(&dictionary.bytes, code, &Kind::Text, &mut text)?;
            Some(text)
        };
        let pair = |at| Some((text_of(&names, codes, at)?, text_of(&texts, value_codes, at)?));
        Some(LabelSet::from_pairs(pairs.map(pair).collect::<Option<Vec<_>>>()?))
    };
    read().ok_or_else(malformed)
}

/// Which of a page's pairs are of a row, how many pairs the page has, and their codes.
fn pairs_of_row(page: &RawPage, rows: usize, row: usize) -> Option<(Range<usize>, usize, &[u8])> {
    let (repeated, rest) = levels::split(&page.bytes)?;
    let (defined, codes) = levels::split(rest)?;
    let own = levels::levels_of_row(repeated, page.values, rows, row)?;
    let before = levels::rank(defined, page.values, own.start)?;
    let end = match own.len() {
        1 => before.before + usize::from(before.is_one),
        _ => levels::rank(defined, page.values, own.end)?.before,
    };
    Some((before.before..end, before.total, codes))
}

fn dictionary(group: &GroupReader<'_>, leaf: usize) -> Result<Option<Arc<[Box<str>]>>, PartError> {
    let Some(page) = group.raw_dictionary(leaf)? else { return Ok(None) };
    let texts = packed::dictionary_texts(&page.bytes, page.values, &Kind::Text);
    texts.map(|texts| Some(texts.into())).ok_or_else(|| damaged("a dictionary of metadata is malformed"))
}

/// `None` when the levels do not say so many rows, or keys and values differ.
fn pairs_of(keys: &[u8], values: &[u8], levels: usize, rows: usize) -> Option<Pairs> {
    let (repeated, rest) = levels::split(keys)?;
    let (defined, keys) = levels::split(rest)?;
    let (own_repeated, rest) = levels::split(values)?;
    let (own_defined, values) = levels::split(rest)?;
    ((repeated, defined) == (own_repeated, own_defined)).then_some(())?;
    let (repeated, defined) = (packed::hybrid(repeated, 1, levels)?, packed::hybrid(defined, 1, levels)?);
    let mut ends: Vec<u32> = Vec::with_capacity(rows);
    let mut there = 0u32;
    for (repeated, defined) in repeated.into_iter().zip(defined) {
        there += u32::from(defined == 1);
        match ends.last_mut().filter(|_| repeated == 1) {
            Some(last) => *last = there,
            None => ends.push(there),
        }
    }
    let there = there as usize;
    let pairs = Pairs { ends, keys: packed::codes(keys, there)?, values: packed::codes(values, there)? };
    (pairs.ends.len() == rows).then_some(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use parquet::basic::Encoding;

    #[test]
    fn pairs_are_found_by_their_levels() {
        let levels = |bytes: &[u8]| [(bytes.len() as u32).to_le_bytes().as_slice(), bytes].concat();
        let page = |repeated: &[u8], defined: &[u8], codes: &[u8]| {
            [levels(repeated).as_slice(), levels(defined).as_slice(), codes].concat()
        };
        // Rows: one pair, none, two pairs.
        let keys = page(&[3, 0b1000], &[3, 0b1101], &[1, 6, 0]);
        let values = page(&[3, 0b1000], &[3, 0b1101], &[1, 3, 0b110]);
        let pairs = pairs_of(&keys, &values, 4, 3).unwrap();
        assert_eq!((pairs.ends, pairs.keys, pairs.values), (vec![1, 1, 3], vec![0, 0, 0], vec![0, 1, 1]));
        assert!(pairs_of(&keys, &values, 4, 4).is_none());
        let raw = RawPage { bytes: keys.clone().into(), values: 4, encoding: Encoding::RLE_DICTIONARY };
        let of_row = |row| pairs_of_row(&raw, 3, row).map(|(pairs, total, _)| (pairs, total));
        assert_eq!([of_row(0), of_row(1), of_row(2)], [Some((0..1, 3)), Some((1..1, 3)), Some((1..3, 3))]);
        assert_eq!((of_row(3), pairs_of_row(&raw, 2, 0)), (None, None));
        assert!(pairs_of(&keys, &page(&[3, 0], &[3, 0b1101], &[1, 6, 0]), 4, 3).is_none());
    }
}
