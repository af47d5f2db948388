//! Counts and numbers by group out of the columns of a row group, without putting lines together.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use kenning_model::{Agg, Field, Group, Nanos, NumberRow, ScanError, least_of_top, number_of};

use super::cells::ABSENT;
use super::group::{Keys, LogGroup, Parts, Rows};
use super::kind::Kind;
use crate::parts::PartError;
use crate::scan::ENTRY_BYTES;
use crate::scan::group::Groups;
use crate::scan::work::Work;

/// Most fields that are grouped by in this way; more are grouped row by row.
const FIELDS_MAX: usize = 4;

/// A time bucket and a code for each field grouped by.
type LocalKey = (Nanos, [u64; FIELDS_MAX]);

/// A hasher for keys that are few numbers: a multiplication each.
#[derive(Default)]
pub(crate) struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 29
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0.rotate_left(5) ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_i64(&mut self, n: i64) {
        self.write_u64(n.cast_unsigned());
    }

    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }
}

/// A map whose keys are few numbers.
pub(crate) type NumberMap<K, V> = HashMap<K, V, BuildHasherDefault<NumberHasher>>;

/// Rows and bytes of their lines.
type Counted = (u64, u64);
type CountsByNumber = NumberMap<(Nanos, i64), Counted>;

/// Counts by the numbers in one field, per kind of number: a text is made of each number only once, at the end.
#[derive(Default)]
pub(crate) struct NumberCounts {
    kinds: Vec<(Kind, CountsByNumber)>,
}

impl NumberCounts {
    fn of(&mut self, kind: &Kind) -> Option<&mut CountsByNumber> {
        let place = match self.kinds.iter().position(|(known, _)| known == kind) {
            Some(place) => place,
            None => {
                self.kinds.push((kind.clone(), NumberMap::default()));
                self.kinds.len() - 1
            }
        };
        self.kinds.get_mut(place).map(|(_, map)| map)
    }

    pub(crate) fn join(&mut self, other: Self) {
        for (kind, counts) in other.kinds {
            let Some(own) = self.of(&kind) else { continue };
            if own.is_empty() {
                *own = counts;
                continue;
            }
            for (key, (rows, bytes)) in counts {
                let slot = own.entry(key).or_default();
                *slot = (slot.0 + rows, slot.1 + bytes);
            }
        }
    }

    /// Hands everything to the groups.
    pub(crate) fn finish(
        self,
        groups: &mut Groups<'_>,
        spec: &Group,
        work: &mut Work<'_>,
    ) -> Result<(), ScanError> {
        let aggs = &spec.aggs;
        let is_alone = groups.is_empty() && self.kinds.len() == 1;
        for (kind, mut counts) in self.kinds {
            work.refund(counts.len() * NUMBER_COUNT_BYTES);
            if let (Some(top), true) = (spec.top, is_alone) {
                keep_top(&mut counts, aggs, top);
            }
            for ((bucket, number), (rows, bytes)) in counts {
                let mut text = String::new();
                kind.format(number, &mut text);
                let counted = values_of(aggs, rows, bytes);
                groups.add_counted(bucket, vec![text.into()], &counted, work)?;
            }
        }
        Ok(())
    }
}

/// Takes out the numbers that are not among the most frequent of their bucket, so that no text is made of them.
fn keep_top(counts: &mut CountsByNumber, aggs: &[Agg], top: usize) {
    let last = |counted: &Counted| match aggs.last() {
        Some(Agg::LineBytes) => counted.1 as f64,
        _ => counted.0 as f64,
    };
    let mut buckets: HashMap<Nanos, Vec<f64>> = HashMap::new();
    for ((bucket, _), counted) in counts.iter() {
        buckets.entry(*bucket).or_default().push(last(counted));
    }
    let bounds: HashMap<Nanos, Option<f64>> =
        buckets.into_iter().map(|(bucket, mut values)| (bucket, least_of_top(&mut values, top))).collect();
    counts.retain(|(bucket, _), counted| {
        bounds.get(bucket).copied().flatten().is_some_and(|bound| last(counted) >= bound)
    });
}

/// Bytes of one entry of [`NumberCounts`].
const NUMBER_COUNT_BYTES: usize = 48;

fn values_of(aggs: &[Agg], rows: u64, bytes: u64) -> Vec<f64> {
    let value = |agg: &Agg| match agg {
        Agg::LineBytes => bytes as f64,
        _ => rows as f64,
    };
    aggs.iter().map(value).collect()
}

/// True when groups can be counted by [`count`].
pub(crate) fn is_countable(group: &Group) -> bool {
    group.by.len() <= FIELDS_MAX && group.aggs.iter().all(|agg| matches!(agg, Agg::Count | Agg::LineBytes))
}

/// Counts rows by what their group's fields say.
pub(crate) fn count(
    groups: &mut Groups<'_>,
    numbers: &mut NumberCounts,
    spec: &Group,
    group: &mut LogGroup<'_>,
    rows: &Rows,
    work: &mut Work<'_>,
) -> Result<(), PartError> {
    let keys = spec.by.iter().map(|field| group.keys(field, rows)).collect::<Result<Vec<_>, _>>()?;
    let keys: Vec<Coded> = keys.into_iter().map(Coded::new).collect();
    let needs_bytes = spec.aggs.contains(&Agg::LineBytes);
    let is_constant = keys.iter().all(Coded::is_constant);
    let mut local: NumberMap<LocalKey, Counted> = NumberMap::default();
    let mut line = String::new();
    let (mut is_prepared, mut is_timed) = (false, false);
    let runs = &group.group.runs;
    for (at, run) in runs.iter().enumerate() {
        let (start, end) = (run.start, run.start + run.rows);
        let held = rows.count_in(start, end);
        if held == 0 {
            continue;
        }
        let bucket = groups.bucket(run.time.start);
        let one_bucket = bucket == groups.bucket(run.time.end);
        let is_whole = held == run.rows;
        if one_bucket && is_constant && (!needs_bytes || is_whole) {
            add(&mut local, (bucket, codes(&keys, at, start)), held as u64, run.line_bytes);
            continue;
        }
        if needs_bytes && !is_prepared {
            group.prepare(rows, Parts { line: true, ..Parts::default() })?;
            is_prepared = true;
        }
        if !one_bucket && !is_timed {
            group.times(rows)?;
            is_timed = true;
        }
        for row in (start..end).filter(|row| rows.contains(*row)) {
            let bucket = if one_bucket { bucket } else { groups.bucket(group.time(row)) };
            let mut bytes = 0;
            if needs_bytes {
                line.clear();
                group.push_line(row, &mut line)?;
                bytes = line.len() as u64;
            }
            add(&mut local, (bucket, codes(&keys, at, row)), 1, bytes);
        }
    }
    hand_over(groups, numbers, spec, group, &keys, local, work)
}

fn add(local: &mut NumberMap<LocalKey, Counted>, key: LocalKey, rows: u64, bytes: u64) {
    let slot = local.entry(key).or_default();
    *slot = (slot.0 + rows, slot.1 + bytes);
}

fn codes(keys: &[Coded], run: usize, row: usize) -> [u64; FIELDS_MAX] {
    let mut codes = [0; FIELDS_MAX];
    codes.iter_mut().zip(keys).for_each(|(code, key)| *code = key.code(run, row));
    codes
}

fn hand_over(
    groups: &mut Groups<'_>,
    numbers: &mut NumberCounts,
    spec: &Group,
    group: &LogGroup<'_>,
    keys: &[Coded],
    local: NumberMap<LocalKey, Counted>,
    work: &mut Work<'_>,
) -> Result<(), PartError> {
    if let [Coded::Numbers { column, .. }] = keys
        && let Some(kind) = group.index.columns.get(usize::from(*column))
        && let Some(counts) = numbers.of(kind)
    {
        let before = counts.len();
        for ((bucket, [code, ..]), (rows, bytes)) in local {
            let slot = counts.entry((bucket, code.cast_signed())).or_default();
            *slot = (slot.0 + rows, slot.1 + bytes);
        }
        let more = counts.len() - before;
        return Ok(work.charge(more * NUMBER_COUNT_BYTES)?);
    }
    for ((bucket, codes), (rows, bytes)) in local {
        let texts = keys.iter().zip(codes).map(|(key, code)| key.text(code, group)).collect();
        groups.add_counted(bucket, texts, &values_of(&spec.aggs, rows, bytes), work)?;
    }
    Ok(())
}

/// Keys with one code per different text.
enum Coded {
    Constant(Box<str>),
    Runs { texts: Vec<Box<str>>, codes: Vec<u32> },
    Codes { texts: Vec<Box<str>>, codes: Vec<u32> },
    Numbers { column: u16, values: Vec<i64> },
}

impl Coded {
    fn new(keys: Keys) -> Self {
        match keys {
            Keys::Constant(text) => Self::Constant(text),
            Keys::Codes { texts, codes } => Self::Codes { texts, codes },
            Keys::Numbers { column, values } => Self::Numbers { column, values },
            Keys::Runs(runs) => {
                let mut known: HashMap<Box<str>, u32> = HashMap::new();
                let mut texts: Vec<Box<str>> = Vec::new();
                let code = |text: Box<str>| {
                    *known.entry(text.clone()).or_insert_with(|| {
                        texts.push(text);
                        texts.len() as u32 - 1
                    })
                };
                let codes = runs.into_iter().map(code).collect();
                Self::Runs { texts, codes }
            }
        }
    }

    fn is_constant(&self) -> bool {
        matches!(self, Self::Constant(_) | Self::Runs { .. })
    }

    fn code(&self, run: usize, row: usize) -> u64 {
        match self {
            Self::Constant(_) => 0,
            Self::Runs { codes, .. } => u64::from(codes.get(run).copied().unwrap_or(ABSENT)),
            Self::Codes { codes, .. } => u64::from(codes.get(row).copied().unwrap_or(ABSENT)),
            Self::Numbers { values, .. } => values.get(row).copied().unwrap_or_default().cast_unsigned(),
        }
    }

    fn text(&self, code: u64, group: &LogGroup<'_>) -> Box<str> {
        match self {
            Self::Constant(text) => text.clone(),
            Self::Runs { texts, .. } | Self::Codes { texts, .. } => {
                texts.get(code as usize).cloned().unwrap_or_default()
            }
            Self::Numbers { column, .. } => {
                let mut text = String::new();
                let kind = group.index.columns.get(usize::from(*column));
                kind.into_iter().for_each(|kind| kind.format(code.cast_signed(), &mut text));
                text.into()
            }
        }
    }
}

/// The numbers of a field by group, for [`kenning_model::Shape::Numbers`].
#[derive(Default)]
pub(crate) struct Numbers {
    groups: BTreeMap<Vec<Box<str>>, Vec<(Nanos, f64)>>,
}

/// Bytes of a number and its time.
const NUMBER_BYTES: usize = size_of::<(Nanos, f64)>();

impl Numbers {
    pub(crate) fn add(
        &mut self,
        key: Vec<Box<str>>,
        time: Nanos,
        number: f64,
        work: &mut Work<'_>,
    ) -> Result<(), ScanError> {
        work.charge(NUMBER_BYTES)?;
        self.list(key, work)?.push((time, number));
        Ok(())
    }

    fn list(&mut self, key: Vec<Box<str>>, work: &mut Work<'_>) -> Result<&mut Vec<(Nanos, f64)>, ScanError> {
        if !self.groups.contains_key(&key) {
            work.charge(ENTRY_BYTES + key.iter().map(|text| text.len() + ENTRY_BYTES).sum::<usize>())?;
        }
        Ok(self.groups.entry(key).or_default())
    }

    /// Adds the numbers of the rows of a row group.
    pub(crate) fn add_group(
        &mut self,
        by: &[Field],
        of: &Field,
        group: &mut LogGroup<'_>,
        rows: &Rows,
        work: &mut Work<'_>,
    ) -> Result<(), PartError> {
        work.charge(rows.len() * NUMBER_BYTES)?;
        let keys = by.iter().map(|field| group.keys(field, rows)).collect::<Result<Vec<_>, _>>()?;
        let keys: Vec<Coded> = keys.into_iter().map(Coded::new).collect();
        let source = Source::new(group.keys(of, rows)?, group);
        group.times(rows)?;
        let mut local: NumberMap<[u64; FIELDS_MAX], Vec<(Nanos, f64)>> = NumberMap::default();
        for (at, run) in group.group.runs.iter().enumerate() {
            for row in (run.start..run.start + run.rows).filter(|row| rows.contains(*row)) {
                if let Some(number) = source.number(at, row) {
                    let list = local.entry(codes(&keys, at, row)).or_default();
                    list.push((group.time(row), number));
                }
            }
        }
        for (codes, numbers) in local {
            let key = keys.iter().zip(codes).map(|(key, code)| key.text(code, group)).collect();
            self.list(key, work)?.extend(numbers);
        }
        Ok(())
    }

    pub(crate) fn join(&mut self, other: Self) {
        for (key, numbers) in other.groups {
            let own = self.groups.entry(key).or_default();
            if own.is_empty() {
                *own = numbers;
            } else {
                own.extend(numbers);
            }
        }
    }

    pub(crate) fn finish(self) -> Vec<NumberRow> {
        self.groups.into_iter().map(|(key, numbers)| NumberRow { key, numbers }).collect()
    }
}

/// True when numbers can be gathered by [`Numbers::add_group`].
pub(crate) fn is_gatherable(by: &[Field]) -> bool {
    by.len() <= FIELDS_MAX
}

/// Where the numbers of a field come from.
enum Source {
    /// Per text of a list, and the code of each row or run.
    Texts {
        numbers: Vec<Option<f64>>,
        codes: Coded,
    },
    Numbers {
        kind: Kind,
        values: Vec<i64>,
    },
}

impl Source {
    fn new(keys: Keys, group: &LogGroup<'_>) -> Self {
        match keys {
            Keys::Numbers { column, values } => {
                let kind = group.index.columns.get(usize::from(column)).cloned().unwrap_or(Kind::Text);
                Self::Numbers { kind, values }
            }
            other => {
                let codes = Coded::new(other);
                let texts = match &codes {
                    Coded::Constant(text) => std::slice::from_ref(text),
                    Coded::Runs { texts, .. } | Coded::Codes { texts, .. } => texts,
                    Coded::Numbers { .. } => &[],
                };
                let numbers = texts.iter().map(|text| number_of(text)).collect();
                Self::Texts { numbers, codes }
            }
        }
    }

    fn number(&self, run: usize, row: usize) -> Option<f64> {
        match self {
            Self::Texts { numbers, codes } => {
                numbers.get(usize::try_from(codes.code(run, row)).ok()?).copied().flatten()
            }
            Self::Numbers { kind, values } => {
                let value = *values.get(row)?;
                kind.value(value).or_else(|| {
                    let mut text = String::new();
                    kind.format(value, &mut text);
                    number_of(&text)
                })
            }
        }
    }
}
