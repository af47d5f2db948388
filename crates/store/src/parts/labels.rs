//! Label sets in parts: a `series` number per row, and the labels as a map on the first row of each series in a row
//! group. Rows of a series lie together, so the map costs a few bits on every other row, and a row group can be read on
//! its own.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::OnceLock;

use kenning_model::LabelSet;
use kenning_model::keyed::Prehashed;
use parquet::data_type::ByteArray;

use super::columns::{Column, Values, bytes_of, text_of};
use super::{PartError, damaged};

/// Most sets whose texts a [`MapColumn`] knows.
const KNOWN_TEXTS_MAX: usize = 4096;

/// The two leaf columns of a map.
#[derive(Clone, Copy, Debug)]
pub(crate) enum MapLeaf {
    Keys,
    Values,
}

/// Makes one leaf column of a map from text to text, all rows at once or piece by piece.
pub(crate) struct MapColumn<'a> {
    leaf: MapLeaf,
    /// Rows have few different sets, and share their texts.
    known: HashMap<&'a LabelSet, Box<[ByteArray]>, Prehashed>,
}

impl<'a> MapColumn<'a> {
    pub(crate) fn new(leaf: MapLeaf) -> Self {
        Self { leaf, known: HashMap::default() }
    }

    /// The column of some rows: one set or nothing for each.
    pub(crate) fn of(&mut self, rows: impl Iterator<Item = Option<&'a LabelSet>> + Clone) -> Column {
        let count = |(pairs, levels): (usize, usize), row: Option<&LabelSet>| {
            let len = row.map_or(0, LabelSet::len);
            (pairs + len, levels + len.max(1))
        };
        let (pairs, levels) = rows.clone().fold((0, 0), count);
        let mut texts = Vec::with_capacity(pairs);
        let (mut definition, mut repetition) = (Vec::with_capacity(levels), Vec::with_capacity(levels));
        let mut before: Option<&LabelSet> = None;
        for row in rows {
            repetition.push(0);
            let Some(set) = row.filter(|set| !set.is_empty()) else {
                definition.push(0);
                continue;
            };
            match before {
                // Those of the set before stand at the end.
                Some(known) if known.is_same(set) || known == set => {
                    texts.extend_from_within(texts.len() - set.len()..);
                }
                _ => self.push(set, before, &mut texts),
            }
            before = Some(set);
            repetition.extend(std::iter::repeat_n(1, set.len() - 1));
            definition.extend(std::iter::repeat_n(1, set.len()));
        }
        Column { values: Values::Bytes(texts), definition, repetition }
    }

    /// Appends the texts of a set; those of the set before stand at the end.
    fn push(&mut self, set: &'a LabelSet, before: Option<&LabelSet>, texts: &mut Vec<ByteArray>) {
        if let Some(known) = self.known.get(set) {
            return texts.extend_from_slice(known);
        }
        let start = texts.len();
        // Sets that differ in one value are alike otherwise.
        let before = before.filter(|before| before.len() == set.len());
        let mut others = before.into_iter().flat_map(|before| self.leaf.texts(before));
        for (place, text) in self.leaf.texts(set).enumerate() {
            let same = others.next().filter(|other| *other == text);
            let same = same.and_then(|_| texts.get(start - set.len() + place)).cloned();
            texts.push(same.unwrap_or_else(|| bytes_of(text.as_bytes())));
        }
        if self.known.len() < KNOWN_TEXTS_MAX {
            self.known.insert(set, texts.get(start..).unwrap_or_default().into());
        }
    }
}

impl MapLeaf {
    /// What a set has in this column.
    fn texts(self, set: &LabelSet) -> impl Iterator<Item = &str> {
        set.iter().map(move |(name, value)| match self {
            Self::Keys => name,
            Self::Values => value,
        })
    }
}

/// The columns of a map from text to text: one set or nothing per row.
pub(crate) fn map_columns<'a>(rows: impl Iterator<Item = Option<&'a LabelSet>> + Clone) -> [Column; 2] {
    [MapLeaf::Keys, MapLeaf::Values].map(|leaf| MapColumn::new(leaf).of(rows.clone()))
}

/// Builds the columns of a map as rows come: a set on the first row of a run, nothing on the others.
#[derive(Default)]
pub(crate) struct MapBuilder {
    keys: Vec<ByteArray>,
    values: Vec<ByteArray>,
    definition: Vec<i16>,
    repetition: Vec<i16>,
}

impl MapBuilder {
    /// Adds a run of at least one row.
    pub(crate) fn push(&mut self, set: &LabelSet, rows: usize) {
        for (place, (name, value)) in set.iter().enumerate() {
            self.keys.push(bytes_of(name.as_bytes()));
            self.values.push(bytes_of(value.as_bytes()));
            self.definition.push(1);
            self.repetition.push(i16::from(place > 0));
        }
        let without = rows - usize::from(!set.is_empty());
        self.definition.resize(self.definition.len() + without, 0);
        self.repetition.resize(self.repetition.len() + without, 0);
    }

    /// The columns of keys and of values.
    pub(crate) fn finish(self) -> [Column; 2] {
        let Self { keys, values, definition, repetition } = self;
        let column = |values, definition, repetition| Column { values, definition, repetition };
        [
            column(Values::Bytes(keys), definition.clone(), repetition.clone()),
            column(Values::Bytes(values), definition, repetition),
        ]
    }
}

/// The sets that [`map_columns`] wrote, one per row; a row without a set reads as the empty set.
pub(crate) fn read_map(keys: Column, values: Column) -> Result<Vec<LabelSet>, PartError> {
    let (definition, repetition) = (keys.definition.clone(), keys.repetition.clone());
    if (&definition, &repetition) != (&values.definition, &values.repetition) {
        return Err(damaged("a map's keys and values differ in rows"));
    }
    let (keys, values) = (keys.into_bytes()?, values.into_bytes()?);
    let mut known = KnownSets::default();
    let (mut sets, mut start, mut end, mut level) = (Vec::new(), 0, 0, 0);
    while level < definition.len() {
        let levels = definition.get(level..).unwrap_or_default().iter();
        let mut row = levels.zip(repetition.get(level..).unwrap_or_default()).enumerate();
        let row = row.by_ref().take_while(|(at, (_, repeated))| *at == 0 || **repeated > 0);
        for (_, (defined, _)) in row {
            end += usize::from(*defined > 0);
            level += 1;
        }
        sets.push(match end - start {
            0 => LabelSet::empty(),
            _ => known
                .set(keys.get(start..end).unwrap_or_default(), values.get(start..end).unwrap_or_default())?,
        });
        start = end;
    }
    Ok(sets)
}

/// Most different sets that [`KnownSets`] remembers.
const KNOWN_SETS_MAX: usize = 4096;

/// Sets that came before: records of a source share few.
#[derive(Default)]
struct KnownSets {
    sets: HashMap<Vec<u8>, LabelSet>,
    key: Vec<u8>,
}

impl KnownSets {
    fn set(&mut self, keys: &[ByteArray], values: &[ByteArray]) -> Result<LabelSet, PartError> {
        self.key.clear();
        for text in keys.iter().chain(values) {
            self.key.extend_from_slice(&(text.len() as u64).to_le_bytes());
            self.key.extend_from_slice(text.data());
        }
        if let Some(set) = self.sets.get(&self.key) {
            return Ok(set.clone());
        }
        let set = label_set(keys, values)?;
        if self.sets.len() < KNOWN_SETS_MAX {
            self.sets.insert(self.key.clone(), set.clone());
        }
        Ok(set)
    }
}

fn label_set(keys: &[ByteArray], values: &[ByteArray]) -> Result<LabelSet, PartError> {
    if keys.is_empty() {
        return Ok(LabelSet::empty());
    }
    let pairs = keys.iter().zip(values).map(|(key, value)| Ok((text_of(key)?, text_of(value)?)));
    Ok(LabelSet::from_pairs(pairs.collect::<Result<Vec<_>, PartError>>()?))
}

/// For each row, its set where the series changes.
pub(crate) fn on_first_rows<'a>(
    series: &'a [i32],
    sets: impl Fn(i32) -> Option<&'a LabelSet> + Clone + 'a,
) -> impl Iterator<Item = Option<&'a LabelSet>> + Clone {
    series.iter().enumerate().map(move |(row, number)| {
        let before = row.checked_sub(1).and_then(|row| series.get(row));
        if before == Some(number) { None } else { sets(*number) }
    })
}

/// A run of rows of one series in a row group.
#[derive(Debug)]
pub(crate) struct SeriesRun {
    pub(crate) labels: LabelSet,
    pub(crate) rows: std::ops::Range<usize>,
    /// How many runs of the row group stand before it.
    pub(crate) place: usize,
    /// Set when the times were decoded once: whether they are regular.
    times: OnceLock<Option<Regular>>,
}

/// Times at one distance from each other, which need not be decoded again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Regular {
    start: i64,
    /// Above zero.
    step: i64,
}

impl Regular {
    /// `None` for irregular times, and where a sum could overflow.
    pub(crate) fn of(times: &[i64]) -> Option<Self> {
        let (start, last) = (*times.first()?, *times.last()?);
        let step = times.get(1).map_or(Some(1), |second| second.checked_sub(start))?;
        last.checked_sub(start).filter(|_| step > 0)?;
        let regular = times.windows(2).all(|pair| matches!(pair, [a, b] if b.checked_sub(*a) == Some(step)));
        regular.then_some(Self { start, step })
    }

    /// So many times from one to another; `None` when they do not meet.
    pub(crate) fn between(start: i64, end: i64, step: i64, count: usize) -> Option<Self> {
        let last = i64::try_from(count.checked_sub(1)?).ok()?.checked_mul(step)?;
        (step > 0 && end.checked_sub(start)? == last).then_some(Self { start, step })
    }

    /// The distance between two times.
    pub(crate) fn step(self) -> i64 {
        self.step
    }

    /// The time of a row.
    #[inline]
    pub(crate) fn at(self, row: usize) -> i64 {
        self.start.wrapping_add(self.step.wrapping_mul(row as i64))
    }

    /// Of so many rows those from one time to another, both included.
    pub(crate) fn inside(self, rows: usize, start: i64, end: i64) -> Range<usize> {
        let steps = |distance: i64| usize::try_from(distance / self.step).unwrap_or(usize::MAX);
        let from = match start.saturating_sub(self.start) {
            ..=0 => 0,
            after => steps(after - 1).saturating_add(1).min(rows),
        };
        let to = match end.saturating_sub(self.start) {
            ..0 => 0,
            after => steps(after).saturating_add(1).min(rows),
        };
        from..to.max(from)
    }
}

impl SeriesRun {
    pub(crate) fn new(labels: LabelSet, rows: Range<usize>, place: usize) -> Self {
        Self { labels, rows, place, times: OnceLock::new() }
    }

    /// The times, if they are known to be regular.
    pub(crate) fn regular(&self) -> Option<Regular> {
        self.times.get().copied().flatten()
    }

    /// Remembers whether these, all times of the run, are regular.
    pub(crate) fn learn_times(&self, times: &[i64]) {
        self.times.get_or_init(|| Regular::of(times));
    }

    /// Remembers what is known of the times of the run.
    pub(crate) fn learn(&self, times: Option<Regular>) {
        self.times.get_or_init(|| times);
    }
}

/// The series of a row group, in the order of its rows.
pub(crate) fn read_runs(series: Column, keys: Column, values: Column) -> Result<Vec<SeriesRun>, PartError> {
    let series = series.into_i32()?;
    let starts: Vec<usize> =
        (0..series.len()).filter(|row| *row == 0 || series.get(*row) != series.get(*row - 1)).collect();
    let ends = starts.iter().skip(1).copied().chain([series.len()]);
    let mut sets = SparseMaps::new(keys, values)?;
    let mut runs = Vec::with_capacity(starts.len());
    for (place, (start, end)) in starts.iter().copied().zip(ends).enumerate() {
        runs.push(SeriesRun::new(sets.at(start)?, start..end, place));
    }
    Ok(runs)
}

/// The label sets of a row group that has one on each row.
pub(crate) fn read_sets(keys: Column, values: Column) -> Result<Vec<LabelSet>, PartError> {
    let mut sets = SparseMaps::new(keys, values)?;
    let rows = sets.repetition.iter().filter(|repeated| **repeated == 0).count();
    (0..rows).map(|_| sets.next_row()).collect()
}

/// Reads a map column at chosen rows without building the rows between.
struct SparseMaps {
    definition: Vec<i16>,
    repetition: Vec<i16>,
    keys: std::vec::IntoIter<ByteArray>,
    values: std::vec::IntoIter<ByteArray>,
    level: usize,
    row: usize,
}

impl SparseMaps {
    fn new(keys: Column, values: Column) -> Result<Self, PartError> {
        let (definition, repetition) = (keys.definition.clone(), keys.repetition.clone());
        let (keys, values) = (keys.into_bytes()?.into_iter(), values.into_bytes()?.into_iter());
        if keys.len() != values.len() {
            return Err(damaged("a map's keys and values differ in number"));
        }
        Ok(Self { definition, repetition, keys, values, level: 0, row: 0 })
    }

    /// The set at a row at or after the one asked for last.
    fn at(&mut self, row: usize) -> Result<LabelSet, PartError> {
        loop {
            let set = self.next_row()?;
            self.row += 1;
            if self.row > row {
                return Ok(set);
            }
        }
    }

    fn next_row(&mut self) -> Result<LabelSet, PartError> {
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        let mut first = true;
        while let (Some(defined), Some(repeated)) =
            (self.definition.get(self.level), self.repetition.get(self.level))
        {
            if *repeated == 0 && !first {
                break;
            }
            first = false;
            if *defined > 0 {
                keys.extend(self.keys.next());
                values.extend(self.values.next());
            }
            self.level += 1;
        }
        if first {
            return Err(damaged("a map has fewer rows than its row group"));
        }
        label_set(&keys, &values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn map_columns_hold_the_sets_they_were_made_of(
            rows in vec(option::of(vec(("[ab]", "[xyz]{0,2}"), 0..4)), 0..40),
            piece in 1usize..20,
        ) {
            let set = |pairs: &Option<Vec<(String, String)>>| {
                LabelSet::from_pairs(pairs.iter().flatten().map(|(name, value)| (name, value)))
            };
            let sets: Vec<LabelSet> = rows.iter().map(set).collect();
            let all = || sets.iter().map(Some);
            let [keys, values] = map_columns(all());
            let mut pieces = [MapColumn::new(MapLeaf::Keys), MapColumn::new(MapLeaf::Values)];
            let mut read = Vec::new();
            for sets in sets.chunks(piece) {
                let [keys, values] = pieces.each_mut().map(|column| column.of(sets.iter().map(Some)));
                read.extend(read_map(keys, values).unwrap());
            }
            prop_assert_eq!(&read, &sets);
            prop_assert_eq!(read_map(keys, values).unwrap(), sets);
        }
    }

    #[test]
    fn regular_times_are_cut_as_lists_are() {
        let check = |times: &[i64]| {
            let Some(regular) = Regular::of(times) else { panic!("{times:?} is regular") };
            assert!(times.iter().enumerate().all(|(row, time)| regular.at(row) == *time));
            let borders = [i64::MIN, -31, -30, -29, 0, 1, 9, 10, 11, 19, 20, 21, 1000, i64::MAX];
            for (start, end) in borders.iter().flat_map(|start| borders.map(|end| (*start, end))) {
                let from = times.partition_point(|time| *time < start);
                let to = times.partition_point(|time| *time <= end).max(from);
                assert_eq!(regular.inside(times.len(), start, end), from..to, "{times:?} {start} {end}");
            }
        };
        check(&[0]);
        check(&[10, 20]);
        check(&[-30, -20, -10, 0, 10]);
        check(&[i64::MAX - 20, i64::MAX - 10, i64::MAX]);
        check(&[i64::MIN, i64::MIN + 7]);
        for irregular in [&[][..], &[1, 1], &[2, 1], &[0, 10, 21], &[i64::MIN, 0, i64::MAX]] {
            assert_eq!(Regular::of(irregular), None, "{irregular:?}");
        }
    }
}
