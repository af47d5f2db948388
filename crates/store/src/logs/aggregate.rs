//! Counts and numbers by group out of the columns of a row group, without putting lines together.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;
use std::sync::Arc;

use kenning_model::{
    Agg, Field, Group, Nanos, NumberRow, Record, ScanError, ValueRef, least_of_top, number_of,
};

use super::cells::{ABSENT, Paged, rows_of};
use super::group::{Keys, LogGroup, Parts, Rows};
use super::index::PAGE_ROWS;
use super::kind::{Kind, Scale};
use super::verdict::Verdict;
use crate::parts::PartError;
use crate::scan::ENTRY_BYTES;
use crate::scan::group::{Groups, push_key, push_key_text};
use crate::scan::work::Work;

/// Most fields that are grouped by in this way; more are grouped row by row.
const FIELDS_MAX: usize = 4;

/// A code for each field grouped by.
type Codes = [u64; FIELDS_MAX];

/// A time bucket and codes.
type LocalKey = (Nanos, Codes);

/// A hasher for keys that are few numbers: a multiplication each.
#[derive(Default)]
pub(crate) struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 29
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.write_u64(u64::from_le_bytes(*word)));
        rest.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    #[inline]
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
    kinds: Vec<OfKind>,
}

/// Counts by numbers of one kind.
struct OfKind {
    kind: Kind,
    sparse: CountsByNumber,
    /// By bucket. What stands here is not in `sparse`, but may be in another bucket or worker's part of it.
    dense: Vec<(Nanos, Dense)>,
}

/// Rows by number, for numbers that lie close together.
#[derive(Default)]
struct Dense {
    base: i64,
    rows: Vec<u64>,
}

/// Most buckets that have a [`Dense`].
const DENSE_BUCKETS_MAX: usize = 4;
/// Most numbers that a [`Dense`] reaches over: 16 MiB.
const DENSE_MAX: usize = 2 << 20;

impl Dense {
    /// Has all numbers from one to another find a place; false when that would be too much.
    fn cover(&mut self, least: i64, most: i64, work: &mut Work<'_>) -> Result<bool, ScanError> {
        let (mut start, mut end) = (i128::from(least), i128::from(most) + 1);
        if !self.rows.is_empty() {
            let base = i128::from(self.base);
            (start, end) = (start.min(base), end.max(base + self.rows.len() as i128));
        }
        let Some(len) = usize::try_from(end - start).ok().filter(|len| *len <= DENSE_MAX) else {
            return Ok(false);
        };
        if len > self.rows.len() {
            work.charge((len - self.rows.len()) * size_of::<u64>())?;
            let before = usize::try_from(i128::from(self.base) - start).unwrap_or(0);
            let mut rows = vec![0; if self.rows.is_empty() { 0 } else { before }];
            rows.append(&mut self.rows);
            rows.resize(len, 0);
            self.rows = rows;
            // At least the smaller of two numbers of 64 bits.
            self.base = i64::try_from(start).unwrap_or(least);
        }
        Ok(true)
    }

    #[inline]
    fn add(&mut self, number: i64, rows: u64) {
        let place = number.wrapping_sub(self.base).cast_unsigned();
        if let Some(slot) = usize::try_from(place).ok().and_then(|place| self.rows.get_mut(place)) {
            *slot += rows;
        }
    }

    /// The numbers that occur.
    fn iter(&self) -> impl Iterator<Item = (i64, u64)> {
        let there = self.rows.iter().enumerate().filter(|(_, rows)| **rows > 0);
        there.map(|(place, rows)| (self.base.wrapping_add(place as i64), *rows))
    }
}

impl OfKind {
    fn dense(&mut self, bucket: Nanos) -> Option<&mut Dense> {
        let place = match self.dense.iter().position(|(of, _)| *of == bucket) {
            Some(place) => place,
            None if self.dense.len() >= DENSE_BUCKETS_MAX => return None,
            None => {
                self.dense.push((bucket, Dense::default()));
                self.dense.len() - 1
            }
        };
        self.dense.get_mut(place).map(|(_, dense)| dense)
    }

    fn add(&mut self, key: (Nanos, i64), (rows, bytes): Counted) {
        let slot = self.sparse.entry(key).or_default();
        *slot = (slot.0 + rows, slot.1 + bytes);
    }

    /// Moves all counts to one place.
    fn pour(&mut self) {
        for (bucket, dense) in std::mem::take(&mut self.dense) {
            dense.iter().for_each(|(number, rows)| self.add((bucket, number), (rows, 0)));
        }
    }
}

impl NumberCounts {
    fn of(&mut self, kind: &Kind) -> Option<&mut OfKind> {
        let place = match self.kinds.iter().position(|known| known.kind == *kind) {
            Some(place) => place,
            None => {
                let (sparse, dense) = (NumberMap::default(), Vec::new());
                self.kinds.push(OfKind { kind: kind.clone(), sparse, dense });
                self.kinds.len() - 1
            }
        };
        self.kinds.get_mut(place)
    }

    /// Counts rows by their numbers, page by page.
    fn add_rows(
        &mut self,
        kind: &Kind,
        bucket: Nanos,
        values: &Paged<i64>,
        rows: &Rows,
        work: &mut Work<'_>,
    ) -> Result<(), ScanError> {
        let Some(own) = self.of(kind) else { return Ok(()) };
        for page in rows.pages() {
            let Some(numbers) = values.page(page) else { continue };
            let range = rows_of(page, usize::MAX);
            let is_whole = rows.count_in(range.start, range.start + numbers.len()) == numbers.len();
            let wanted = |at: &usize| is_whole || rows.contains(page * PAGE_ROWS + at);
            let there = || numbers.iter().enumerate().filter(|(at, _)| wanted(at)).map(|(_, number)| *number);
            let (Some(least), Some(most)) = (there().min(), there().max()) else { continue };
            let is_covered = own.dense(bucket).map(|dense| dense.cover(least, most, work)).transpose()?;
            match own.dense(bucket).filter(|_| is_covered == Some(true)) {
                Some(dense) if is_whole => numbers.iter().for_each(|number| dense.add(*number, 1)),
                Some(dense) => there().for_each(|number| dense.add(number, 1)),
                None => {
                    let before = own.sparse.len();
                    there().for_each(|number| own.add((bucket, number), (1, 0)));
                    work.charge((own.sparse.len() - before) * NUMBER_COUNT_BYTES)?;
                }
            }
        }
        Ok(())
    }

    /// Counts rows of a bucket by their numbers, one each.
    pub(super) fn add_list(
        &mut self,
        kind: &Kind,
        bucket: Nanos,
        numbers: &[i64],
        work: &mut Work<'_>,
    ) -> Result<(), ScanError> {
        let Some(own) = self.of(kind) else { return Ok(()) };
        let (Some(least), Some(most)) = (numbers.iter().min(), numbers.iter().max()) else { return Ok(()) };
        let is_covered = own.dense(bucket).map(|dense| dense.cover(*least, *most, work)).transpose()?;
        match own.dense(bucket).filter(|_| is_covered == Some(true)) {
            Some(dense) => numbers.iter().for_each(|number| dense.add(*number, 1)),
            None => {
                let before = own.sparse.len();
                numbers.iter().for_each(|number| own.add((bucket, *number), (1, 0)));
                work.charge((own.sparse.len() - before) * NUMBER_COUNT_BYTES)?;
            }
        }
        Ok(())
    }

    /// Takes over what another worker counted.
    pub(crate) fn join(&mut self, other: Self, work: &mut Work<'_>) {
        for mut more in other.kinds {
            let Some(own) = self.of(&more.kind) else { continue };
            if own.sparse.is_empty() && own.dense.is_empty() {
                *own = more;
                continue;
            }
            for (bucket, mut dense) in std::mem::take(&mut more.dense) {
                let last = dense.base.saturating_add(dense.rows.len() as i64 - 1);
                match own.dense(bucket) {
                    Some(known) if !dense.rows.is_empty() => {
                        // Both are within the bounds of their workers; what they reach over together may not be.
                        if matches!(known.cover(dense.base, last, work), Ok(true)) {
                            dense.iter().for_each(|(number, rows)| known.add(number, rows));
                            dense.rows = Vec::new();
                        }
                    }
                    _ => {}
                }
                dense.iter().for_each(|(number, rows)| own.add((bucket, number), (rows, 0)));
            }
            more.sparse.into_iter().for_each(|(key, counted)| own.add(key, counted));
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
        for mut own in self.kinds {
            if !own.sparse.is_empty() || own.dense.len() > 1 {
                own.pour();
            }
            let top = spec.top.filter(|_| is_alone);
            for (bucket, dense) in &own.dense {
                let bound = top.and_then(|top| {
                    let mut all: Vec<f64> = dense.iter().map(|(_, rows)| rows as f64).collect();
                    least_of_top(&mut all, top)
                });
                for (number, rows) in dense.iter().filter(|(_, rows)| bound.is_none_or(|b| *rows as f64 >= b))
                {
                    own.kind.hand_over(*bucket, number, &values_of(aggs, rows, 0), groups, work)?;
                }
            }
            work.refund(own.sparse.len() * NUMBER_COUNT_BYTES);
            if let Some(top) = top {
                keep_top(&mut own.sparse, aggs, top);
            }
            for ((bucket, number), (rows, bytes)) in own.sparse {
                own.kind.hand_over(bucket, number, &values_of(aggs, rows, bytes), groups, work)?;
            }
        }
        Ok(())
    }
}

impl Kind {
    /// Adds what was counted for a number to the group of its text.
    fn hand_over(
        &self,
        bucket: Nanos,
        number: i64,
        counted: &[f64],
        groups: &mut Groups<'_>,
        work: &mut Work<'_>,
    ) -> Result<(), ScanError> {
        let mut text = String::new();
        self.format(number, &mut text);
        groups.add_counted(bucket, vec![text.into()], counted, work)
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

/// Counts the rows of a row group by what its index tells alone; false when the columns must be asked.
pub(crate) fn count_by_index(
    groups: &mut Groups<'_>,
    spec: &Group,
    group: &LogGroup<'_>,
    work: &mut Work<'_>,
) -> Result<bool, ScanError> {
    let time = group.group.time;
    let bucket = groups.bucket(time.start);
    let is_inside = work.scan.time.contains(time.start) && work.scan.time.contains(time.end);
    let is_counted = spec.aggs.iter().all(|agg| matches!(agg, Agg::Count));
    if !is_inside || !is_counted || group.has_deletes() || bucket != groups.bucket(time.end) {
        return Ok(false);
    }
    let by = match spec.by.as_slice() {
        [] => None,
        [field] => match group.listed(field) {
            Some(listed) => Some(listed),
            None => return Ok(false),
        },
        _ => return Ok(false),
    };
    let counts: Vec<(Option<&str>, u64)> = match (group.verdict(&work.scan.filter), by) {
        (Verdict::None, _) => Vec::new(),
        (Verdict::All, None) => vec![(None, group.rows as u64)],
        (Verdict::All, Some((_, values))) => {
            values.iter().map(|(text, rows)| (Some(&**text), u64::from(*rows))).collect()
        }
        (Verdict::Values(_, values, passes), None) => {
            let passing = values.iter().zip(&passes).filter(|(_, passes)| **passes);
            vec![(None, passing.map(|((_, rows), _)| u64::from(*rows)).sum())]
        }
        (Verdict::Values(of, values, passes), Some((column, _))) if of == column => {
            let passing = values.iter().zip(&passes).filter(|(_, passes)| **passes);
            passing.map(|((text, rows), _)| (Some(&**text), u64::from(*rows))).collect()
        }
        _ => return Ok(false),
    };
    work.summary.rows += group.rows as u64;
    for (key, rows) in counts.into_iter().filter(|(_, rows)| *rows > 0) {
        let key = key.into_iter().map(Box::from).collect();
        groups.add_counted(bucket, key, &values_of(&spec.aggs, rows, 0), work)?;
    }
    Ok(true)
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
    let mut buckets = Buckets::new(spec);
    let time = group.group.time;
    let whole = groups.bucket(time.start);
    if whole == groups.bucket(time.end) && !needs_bytes {
        if let [Coded::Numbers { column, values }] = keys.as_slice()
            && let Some(kind) = group.index.columns.get(usize::from(*column))
        {
            return Ok(numbers.add_rows(kind, whole, values, rows, work)?);
        }
        if keys.iter().all(|key| matches!(key, Coded::Constant(_))) {
            add(&mut local, (whole, [0; FIELDS_MAX]), rows.len() as u64, 0);
            return hand_over(groups, numbers, spec, group, &keys, local, work);
        }
    }
    let mut last: Option<(LocalKey, u64)> = None;
    for (at, run) in group.group.runs_in(rows.span()) {
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
        if is_constant && is_whole && !needs_bytes {
            count_run(group.times_of(start..end), groups, |bucket, rows| {
                add(&mut local, (bucket, codes(&keys, at, start)), rows, 0);
            });
            continue;
        }
        for row in (start..end).filter(|row| rows.contains(*row)) {
            let bucket = if one_bucket { bucket } else { buckets.of(groups, group.time(row)) };
            let key = (bucket, codes(&keys, at, row));
            if needs_bytes {
                line.clear();
                group.push_line(row, &mut line)?;
                add(&mut local, key, 1, line.len() as u64);
                continue;
            }
            // Neighbours are mostly alike.
            match &mut last {
                Some((of, held)) if *of == key => *held += 1,
                _ => {
                    let before = last.replace((key, 1));
                    before.into_iter().for_each(|(key, held)| add(&mut local, key, held, 0));
                }
            }
        }
    }
    last.into_iter().for_each(|(key, held)| add(&mut local, key, held, 0));
    hand_over(groups, numbers, spec, group, &keys, local, work)
}

/// Counts the rows of a run by the buckets of their times, which ascend.
fn count_run<'t>(
    times: impl Iterator<Item = &'t [Nanos]>,
    groups: &Groups<'_>,
    mut see: impl FnMut(Nanos, u64),
) {
    for mut left in times {
        while let Some(first) = left.first() {
            // A bucket is named by its last instant.
            let bucket = groups.bucket(*first);
            let rows = left.partition_point(|time| *time <= bucket).max(1);
            see(bucket, rows as u64);
            left = left.get(rows..).unwrap_or_default();
        }
    }
}

/// The bucket of a time, quickly when it is that of the time before.
pub(super) struct Buckets {
    width: i64,
    /// The end of the last bucket.
    end: Option<Nanos>,
}

impl Buckets {
    pub(super) fn new(spec: &Group) -> Self {
        Self { width: spec.step.map_or(i64::MAX, |(_, width)| width.max(1)), end: None }
    }

    pub(super) fn of(&mut self, groups: &Groups<'_>, time: Nanos) -> Nanos {
        match self.end {
            Some(end) if time <= end && end.0.checked_sub(time.0).is_some_and(|left| left < self.width) => {
                end
            }
            _ => {
                let end = groups.bucket(time);
                self.end = (end.0 < i64::MAX && self.width < i64::MAX).then_some(end);
                end
            }
        }
    }
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
        let before = counts.sparse.len();
        for ((bucket, [code, ..]), counted) in local {
            counts.add((bucket, code.cast_signed()), counted);
        }
        let more = counts.sparse.len() - before;
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
    Runs { texts: Arc<[Box<str>]>, codes: Vec<u32> },
    Codes { texts: Arc<[Box<str>]>, codes: Paged<u32> },
    Numbers { column: u16, values: Paged<i64> },
}

impl Coded {
    fn new(keys: Keys) -> Self {
        match keys {
            Keys::Constant(text) => Self::Constant(text),
            Keys::Codes { texts, codes } => Self::Codes { texts, codes },
            Keys::Numbers { column, values } => Self::Numbers { column, values },
            Keys::Runs { texts, codes } => Self::Runs { texts, codes },
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
pub(crate) struct Numbers {
    is_timed: bool,
    /// By the bytes of the texts of the key.
    places: HashMap<Vec<u8>, usize>,
    groups: Vec<(Vec<Box<str>>, List)>,
    /// Work space.
    key: Vec<u8>,
}

/// Numbers, and their times where these are wanted.
#[derive(Default)]
pub(super) struct List {
    numbers: Vec<f64>,
    times: Vec<Nanos>,
}

impl List {
    fn append(&mut self, other: Self) {
        if self.numbers.is_empty() {
            *self = other;
        } else {
            self.numbers.extend(other.numbers);
            self.times.extend(other.times);
        }
    }
}

impl Numbers {
    pub(crate) fn new(is_timed: bool) -> Self {
        Self { is_timed, places: HashMap::new(), groups: Vec::new(), key: Vec::new() }
    }

    /// Bytes of a number, and of its time where that is wanted.
    fn bytes_each(&self) -> usize {
        size_of::<f64>() + if self.is_timed { size_of::<Nanos>() } else { 0 }
    }

    /// Adds the number of a row, if it has one.
    pub(crate) fn add(
        &mut self,
        by: &[Field],
        of: &Field,
        time: Nanos,
        row: &impl Record,
        work: &mut Work<'_>,
    ) -> Result<(), ScanError> {
        let Some(number) = number_of_row(of, row) else { return Ok(()) };
        work.charge(self.bytes_each())?;
        self.key.clear();
        by.iter().for_each(|field| push_key(row, field, &mut self.key));
        let texts = || by.iter().map(|field| row.text_of(field).into()).collect();
        let place = match self.places.get(&self.key) {
            Some(place) => *place,
            None => self.insert(texts(), work)?,
        };
        let is_timed = self.is_timed;
        if let Some((_, list)) = self.groups.get_mut(place) {
            list.numbers.push(number);
            list.times.extend(is_timed.then_some(time));
        }
        Ok(())
    }

    /// A new list under the key at hand; gives its place.
    fn insert(&mut self, texts: Vec<Box<str>>, work: &mut Work<'_>) -> Result<usize, ScanError> {
        let text = texts.iter().map(|text| text.len() + ENTRY_BYTES).sum::<usize>();
        work.charge(ENTRY_BYTES + self.key.len() + text)?;
        self.places.insert(self.key.clone(), self.groups.len());
        self.groups.push((texts, List::default()));
        Ok(self.groups.len() - 1)
    }

    /// Puts a number on a list that goes to [`Self::append`].
    pub(super) fn push(
        &self,
        list: &mut List,
        number: f64,
        time: Nanos,
        work: &mut Work<'_>,
    ) -> Result<(), ScanError> {
        work.charge(self.bytes_each())?;
        list.numbers.push(number);
        list.times.extend(self.is_timed.then_some(time));
        Ok(())
    }

    /// Adds the numbers of a list to those under a key.
    pub(super) fn append(
        &mut self,
        texts: Vec<Box<str>>,
        mut list: List,
        work: &mut Work<'_>,
    ) -> Result<(), ScanError> {
        self.key.clear();
        texts.iter().for_each(|text| push_key_text(text, &mut self.key));
        let place = match self.places.get(&self.key) {
            Some(place) => *place,
            None => self.insert(texts, work)?,
        };
        self.groups.get_mut(place).into_iter().for_each(|(_, own)| own.append(std::mem::take(&mut list)));
        Ok(())
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
        work.charge(rows.len() * self.bytes_each())?;
        let keys = by.iter().map(|field| group.keys(field, rows)).collect::<Result<Vec<_>, _>>()?;
        let keys: Vec<Coded> = keys.into_iter().map(Coded::new).collect();
        let source = Source::new(group.keys(of, rows)?, group);
        if self.is_timed {
            group.times(rows)?;
        }
        let mut lists = Lists::default();
        let is_constant = keys.iter().all(Coded::is_constant);
        for (at, run) in group.group.runs_in(rows.span()) {
            let (start, end) = (run.start, run.start + run.rows);
            let held = rows.count_in(start, end);
            if held == run.rows && is_constant && !self.is_timed {
                let list = lists.of(codes(&keys, at, start));
                list.into_iter().for_each(|list| source.append(at, start..end, &mut list.numbers));
                continue;
            }
            if held == 0 {
                continue;
            }
            for row in (start..end).filter(|row| rows.contains(*row)) {
                let Some(number) = source.number(at, row) else { continue };
                let Some(list) = lists.of(codes(&keys, at, row)) else { continue };
                list.numbers.push(number);
                if self.is_timed {
                    list.times.push(group.time(row));
                }
            }
        }
        for (codes, list) in lists.lists {
            let key = keys.iter().zip(codes).map(|(key, code)| key.text(code, group)).collect();
            self.append(key, list, work)?;
        }
        Ok(())
    }

    /// Takes over what another worker gathered.
    pub(crate) fn join(&mut self, other: Self, work: &mut Work<'_>) -> Result<(), ScanError> {
        other.groups.into_iter().try_for_each(|(key, list)| self.append(key, list, work))
    }

    pub(crate) fn finish(self) -> Vec<NumberRow> {
        // A group of which every number was left out is none.
        let there = self.groups.into_iter().filter(|(_, list)| !list.numbers.is_empty());
        let mut rows: Vec<NumberRow> =
            there.map(|(key, List { numbers, times })| NumberRow { key, numbers, times }).collect();
        rows.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        rows
    }
}

/// The number that a row has in a field.
pub(super) fn number_of_row(of: &Field, row: &impl Record) -> Option<f64> {
    let mut number = None;
    row.any(of, &mut |value| {
        number = match value {
            ValueRef::Str(text) => number_of(text),
            value => number_of(&value.to_string()),
        };
        true
    });
    number
}

/// The numbers of a row group by the codes of their keys.
#[derive(Default)]
struct Lists {
    places: NumberMap<Codes, usize>,
    lists: Vec<(Codes, List)>,
    /// The codes asked for before and their place: neighbours are mostly alike.
    last: Option<(Codes, usize)>,
}

impl Lists {
    fn of(&mut self, codes: Codes) -> Option<&mut List> {
        let place = match self.last {
            Some((of, place)) if of == codes => place,
            _ => *self.places.entry(codes).or_insert(self.lists.len()),
        };
        self.last = Some((codes, place));
        if place == self.lists.len() {
            self.lists.push((codes, List::default()));
        }
        self.lists.get_mut(place).map(|(_, list)| list)
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
        scale: Option<Scale>,
        values: Paged<i64>,
    },
}

impl Source {
    fn new(keys: Keys, group: &LogGroup<'_>) -> Self {
        match keys {
            Keys::Numbers { column, values } => {
                let kind = group.index.columns.get(usize::from(column)).cloned().unwrap_or(Kind::Text);
                Self::Numbers { scale: kind.scale(), kind, values }
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
            Self::Numbers { kind, scale, values } => number_in(kind, *scale, *values.get(row)?),
        }
    }

    /// Appends the numbers of all rows of a run.
    fn append(&self, run: usize, rows: Range<usize>, out: &mut Vec<f64>) {
        let Self::Numbers { kind, scale, values } = self else {
            out.extend(rows.filter_map(|row| self.number(run, row)));
            return;
        };
        let mut start = rows.start;
        while start < rows.end {
            let (page, at) = (start / PAGE_ROWS, start % PAGE_ROWS);
            let end = rows.end.min((page + 1) * PAGE_ROWS);
            let there = values.page(page).and_then(|page| page.get(at..at + (end - start)));
            out.extend(there.unwrap_or_default().iter().filter_map(|value| number_in(kind, *scale, *value)));
            start = end;
        }
    }
}

#[inline]
fn number_in(kind: &Kind, scale: Option<Scale>, value: i64) -> Option<f64> {
    scale.and_then(|scale| scale.value(value)).or_else(|| {
        let mut text = String::new();
        kind.format(value, &mut text);
        number_of(&text)
    })
}
