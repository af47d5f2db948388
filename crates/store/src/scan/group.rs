//! Aggregates of rows by time bucket and key.

use std::collections::HashMap;

use kenning_model::{Agg, Field, Group, GroupRow, Nanos, Record, ScanError, ValueRef};

use super::ENTRY_BYTES;
use super::work::Work;

/// Groups as they fill.
pub(crate) struct Groups<'a> {
    group: &'a Group,
    /// By the bytes of the bucket and of the texts of the key: rows find their group without texts of their own.
    places: HashMap<Vec<u8>, usize>,
    rows: Vec<GroupRow>,
    /// Work space.
    key: Vec<u8>,
}

/// Appends the text of a field, as part of a key: its length behind it tells it from others.
pub(crate) fn push_key(row: &impl Record, field: &Field, key: &mut Vec<u8>) {
    let start = key.len();
    row.any(field, &mut |value| {
        match value {
            ValueRef::Str(text) => key.extend_from_slice(text.as_bytes()),
            value => key.extend_from_slice(value.to_string().as_bytes()),
        }
        true
    });
    let len = (key.len() - start) as u64;
    key.extend_from_slice(&len.to_le_bytes());
}

/// The same of a text.
pub(crate) fn push_key_text(text: &str, key: &mut Vec<u8>) {
    key.extend_from_slice(text.as_bytes());
    key.extend_from_slice(&(text.len() as u64).to_le_bytes());
}

impl<'a> Groups<'a> {
    pub(crate) fn new(group: &'a Group) -> Self {
        Self { group, places: HashMap::new(), rows: Vec::new(), key: Vec::new() }
    }

    /// Adds a row that passed the filter.
    pub(crate) fn add(
        &mut self,
        time: Nanos,
        line_bytes: usize,
        row: &impl Record,
        work: &mut Work<'_>,
    ) -> Result<(), ScanError> {
        let (group, bucket) = (self.group, bucket_end(self.group, time));
        self.begin_key(bucket);
        group.by.iter().for_each(|field| push_key(row, field, &mut self.key));
        let texts = || group.by.iter().map(|field| row.text_of(field).into_boxed_str()).collect();
        let place = match self.places.get(&self.key) {
            Some(place) => *place,
            None => self.insert(bucket, texts(), work)?,
        };
        let values = self.rows.get_mut(place).into_iter().flat_map(|row| &mut row.values);
        for (agg, value) in self.group.aggs.iter().zip(values) {
            *value = aggregate(agg, *value, line_bytes, row);
        }
        Ok(())
    }

    fn begin_key(&mut self, bucket: Nanos) {
        self.key.clear();
        self.key.extend_from_slice(&bucket.0.to_le_bytes());
    }

    /// A new group under the key at hand; gives its place.
    fn insert(
        &mut self,
        bucket: Nanos,
        texts: Vec<Box<str>>,
        work: &mut Work<'_>,
    ) -> Result<usize, ScanError> {
        let text = texts.iter().map(|text| text.len() + ENTRY_BYTES).sum::<usize>();
        work.charge(ENTRY_BYTES + self.key.len() + text + size_of::<f64>() * self.group.aggs.len())?;
        self.places.insert(self.key.clone(), self.rows.len());
        let values = self.group.aggs.iter().map(start_value).collect();
        self.rows.push(GroupRow { time: bucket, key: texts, values });
        Ok(self.rows.len() - 1)
    }

    /// True without groups.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The bucket of a time.
    pub(crate) fn bucket(&self, time: Nanos) -> Nanos {
        bucket_end(self.group, time)
    }

    /// Adds what was counted elsewhere for one group; a value per aggregate.
    pub(crate) fn add_counted(
        &mut self,
        bucket: Nanos,
        key: Vec<Box<str>>,
        counted: &[f64],
        work: &mut Work<'_>,
    ) -> Result<(), ScanError> {
        self.begin_key(bucket);
        key.iter().for_each(|text| push_key_text(text, &mut self.key));
        let place = match self.places.get(&self.key) {
            Some(place) => *place,
            None => self.insert(bucket, key, work)?,
        };
        self.join_at(place, counted);
        Ok(())
    }

    fn join_at(&mut self, place: usize, counted: &[f64]) {
        let values = self.rows.get_mut(place).into_iter().flat_map(|row| &mut row.values);
        for ((agg, value), more) in self.group.aggs.iter().zip(values).zip(counted) {
            *value = joined(agg, *value, *more);
        }
    }

    /// Adds the groups of another worker, which were charged by it.
    pub(crate) fn join(&mut self, other: Self) {
        for row in other.rows {
            self.begin_key(row.time);
            row.key.iter().for_each(|text| push_key_text(text, &mut self.key));
            match self.places.get(&self.key) {
                Some(place) => self.join_at(*place, &row.values),
                None => {
                    self.places.insert(self.key.clone(), self.rows.len());
                    self.rows.push(row);
                }
            }
        }
    }

    /// The groups by time and key.
    pub(crate) fn finish(self) -> Vec<GroupRow> {
        let mut rows = self.rows;
        rows.sort_unstable_by_key(|row| row.time);
        self.group.keep_top(&mut rows);
        rows.sort_unstable_by(|a, b| a.time.cmp(&b.time).then_with(|| a.key.cmp(&b.key)));
        rows
    }
}

/// Two values of one aggregate as one.
fn joined(agg: &Agg, a: f64, b: f64) -> f64 {
    match agg {
        Agg::Count | Agg::LineBytes | Agg::Sum(_) => a + b,
        Agg::Min(_) => a.min(b),
        Agg::Max(_) => a.max(b),
    }
}

fn start_value(agg: &Agg) -> f64 {
    match agg {
        Agg::Count | Agg::LineBytes | Agg::Sum(_) => 0.0,
        Agg::Min(_) | Agg::Max(_) => f64::NAN,
    }
}

/// `f64::min` and `max` prefer a number over NaN, so the empty start value gives way to the first number.
fn aggregate(agg: &Agg, value: f64, line_bytes: usize, row: &impl Record) -> f64 {
    match agg {
        Agg::Count => value + 1.0,
        Agg::LineBytes => value + line_bytes as f64,
        Agg::Sum(field) => value + row.number_of(field).unwrap_or(0.0),
        Agg::Min(field) => row.number_of(field).map_or(value, |number| value.min(number)),
        Agg::Max(field) => row.number_of(field).map_or(value, |number| value.max(number)),
    }
}

/// Buckets are open on the left and named by their end; ends saturate at the last nanosecond that can be written down.
fn bucket_end(group: &Group, time: Nanos) -> Nanos {
    let Some((origin, width)) = group.step else { return Nanos(0) };
    // Times of our days need no wider numbers, which are slow to divide.
    let left = origin.0.checked_sub(time.0).map(|distance| distance.rem_euclid(width.max(1)));
    if let Some(end) = left.and_then(|left| time.0.checked_add(left)) {
        return Nanos(end);
    }
    let (origin, width, time) = (i128::from(origin.0), i128::from(width.max(1)), i128::from(time.0));
    let end = time + (origin - time).rem_euclid(width);
    Nanos(i64::try_from(end).unwrap_or(i64::MAX))
}
