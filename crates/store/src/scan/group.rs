//! Aggregates of rows by time bucket and key.

use std::collections::HashMap;

use kenning_model::{Agg, Group, GroupRow, Nanos, Record, ScanError};

use super::ENTRY_BYTES;
use super::work::Work;

/// Groups as they fill.
pub(crate) struct Groups<'a> {
    group: &'a Group,
    groups: HashMap<(Nanos, Vec<Box<str>>), Vec<f64>>,
}

impl<'a> Groups<'a> {
    pub(crate) fn new(group: &'a Group) -> Self {
        Self { group, groups: HashMap::new() }
    }

    /// Adds a row that passed the filter.
    pub(crate) fn add(
        &mut self,
        time: Nanos,
        line_bytes: usize,
        row: &impl Record,
        work: &mut Work<'_>,
    ) -> Result<(), ScanError> {
        let key: Vec<Box<str>> =
            self.group.by.iter().map(|field| row.text_of(field).into_boxed_str()).collect();
        let key = (bucket_end(self.group, time), key);
        if !self.groups.contains_key(&key) {
            let text = key.1.iter().map(|text| text.len() + ENTRY_BYTES).sum::<usize>();
            work.charge(ENTRY_BYTES + text + size_of::<f64>() * self.group.aggs.len())?;
        }
        let values =
            self.groups.entry(key).or_insert_with(|| self.group.aggs.iter().map(start_value).collect());
        for (agg, value) in self.group.aggs.iter().zip(values) {
            *value = aggregate(agg, *value, line_bytes, row);
        }
        Ok(())
    }

    /// True without groups.
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
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
        let key = (bucket, key);
        match self.groups.get_mut(&key) {
            Some(values) => {
                let aggs = self.group.aggs.iter().zip(values).zip(counted);
                aggs.for_each(|((agg, value), more)| *value = joined(agg, *value, *more));
            }
            None => {
                let text = key.1.iter().map(|text| text.len() + ENTRY_BYTES).sum::<usize>();
                work.charge(ENTRY_BYTES + text + size_of_val(counted))?;
                self.groups.insert(key, counted.to_vec());
            }
        }
        Ok(())
    }

    /// Adds the groups of another worker.
    pub(crate) fn join(&mut self, other: Self) {
        for (key, values) in other.groups {
            match self.groups.get_mut(&key) {
                Some(own) => {
                    let aggs = self.group.aggs.iter().zip(own).zip(values);
                    aggs.for_each(|((agg, value), more)| *value = joined(agg, *value, more));
                }
                None => drop(self.groups.insert(key, values)),
            }
        }
    }

    /// The groups by time and key.
    pub(crate) fn finish(self) -> Vec<GroupRow> {
        let groups = self.groups.into_iter();
        let mut rows: Vec<_> = groups.map(|((time, key), values)| GroupRow { time, key, values }).collect();
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
    let (origin, width, time) = (i128::from(origin.0), i128::from(width.max(1)), i128::from(time.0));
    let end = time + (origin - time).rem_euclid(width);
    Nanos(i64::try_from(end).unwrap_or(i64::MAX))
}
