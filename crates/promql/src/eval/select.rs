//! Selectors: samples from the store, and the value of a series at an instant.

use std::sync::Arc;

use kenning_model::{
    Block, CounterReset, Filter, Flow, Histogram, LabelSet, Millis, Scan, Shape, Table, TimeRange, start_at,
};
use kenning_query::{LimitKind, QueryError, SourceSpan};

use super::leaf::{Leaf, Row};
use super::rate::{interpolate, interpolate_histograms};
use super::sliding::Windows;
use super::{Column, Evaluated, Evaluator, Point, Steps, is_stale};
use crate::histogram::{WideError, annotate_resets, mark_resets};
use crate::plan::{Resets, Selector};

/// A series with the samples of a range, each list in order of time.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    pub labels: LabelSet,
    pub drop_name: bool,
    pub floats: Vec<(i64, f64)>,
    pub histograms: Vec<(i64, Arc<Histogram>)>,
    /// When the counters behind `floats` and `histograms` began, by position; zero and beyond the end: unknown.
    pub starts: Vec<i64>,
    pub histogram_starts: Vec<i64>,
}

/// A series of floats without start times, as the store hands it over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flat<'a> {
    pub labels: &'a LabelSet,
    pub times: &'a [i64],
    pub values: &'a [f64],
}

/// A series of a selector.
pub(super) enum Given<'a> {
    Flat(Flat<'a>),
    Loaded(Loaded),
}

impl Flat<'_> {
    fn to_loaded(self) -> Loaded {
        Loaded {
            labels: self.labels.clone(),
            drop_name: false,
            floats: self.times.iter().copied().zip(self.values.iter().copied()).collect(),
            histograms: Vec::new(),
            starts: Vec::new(),
            histogram_starts: Vec::new(),
        }
    }
}

impl Loaded {
    pub(super) fn bytes(&self) -> usize {
        let histograms = self.histograms.iter().map(|(_, histogram)| histogram.heap_bytes() + 32);
        let starts = size_of::<i64>() * (self.starts.len() + self.histogram_starts.len());
        size_of::<Self>() + 16 * self.floats.len() + histograms.sum::<usize>() + starts
    }

    fn samples(&self) -> usize {
        self.floats.len() + self.histograms.len()
    }

    /// Makes the starts of all counters unknown.
    pub(super) fn forget_starts(&mut self) {
        self.starts = Vec::new();
        self.histogram_starts = Vec::new();
    }

    /// Removes the markers of a series' end, which ranges do not see.
    pub(super) fn drop_stale(&mut self) {
        retain_aligned(&mut self.floats, &mut self.starts, |(_, value)| !is_stale(*value));
        let histograms = (&mut self.histograms, &mut self.histogram_starts);
        retain_aligned(histograms.0, histograms.1, |(_, histogram)| !is_stale(histogram.sum));
    }
}

/// Keeps the items that pass, and what stands beside them.
fn retain_aligned<T>(items: &mut Vec<T>, beside: &mut Vec<i64>, keep: impl Fn(&T) -> bool) {
    if !beside.is_empty() {
        let mut kept = items.iter().map(&keep);
        beside.retain(|_| kept.next().unwrap_or(false));
    }
    items.retain(keep);
}

/// A sample that stands for a series at an instant.
pub(super) struct Latest {
    pub time: i64,
    /// When its counter began; zero when unknown.
    pub start: i64,
    pub point: Point,
}

/// Finds the latest sample at or before an instant; instants must not go back.
struct Cursor<'a> {
    loaded: &'a Loaded,
    floats: usize,
    histograms: usize,
}

impl<'a> Cursor<'a> {
    fn new(loaded: &'a Loaded) -> Self {
        Self { loaded, floats: 0, histograms: 0 }
    }

    /// The sample in `(time - lookback, time]`; none if it is a stale marker.
    fn at(&mut self, time: i64, lookback: i64) -> Option<Latest> {
        let (floats, histograms) = (&self.loaded.floats, &self.loaded.histograms);
        while floats.get(self.floats).is_some_and(|(t, _)| *t <= time) {
            self.floats += 1;
        }
        while histograms.get(self.histograms).is_some_and(|(t, _)| *t <= time) {
            self.histograms += 1;
        }
        let float = self.floats.checked_sub(1).and_then(|i| floats.get(i));
        let histogram = self.histograms.checked_sub(1).and_then(|i| histograms.get(i));
        let start = |starts: &[i64], next: usize| starts.get(next - 1).copied().unwrap_or(0);
        let (found, start, point) = match (float, histogram) {
            (Some((t, value)), other) if other.is_none_or(|(h, _)| h < t) => {
                let point = Some(Point::Float(*value)).filter(|_| !is_stale(*value));
                (*t, start(&self.loaded.starts, self.floats), point)
            }
            (_, Some((t, histogram))) => {
                let point = Some(Point::Histogram(histogram.clone())).filter(|_| !is_stale(histogram.sum));
                (*t, start(&self.loaded.histogram_starts, self.histograms), point)
            }
            _ => return None,
        };
        let point = point.filter(|_| found > time.saturating_sub(lookback))?;
        Some(Latest { time: found, start, point })
    }
}

impl Evaluator<'_> {
    /// Every series that passes, with its samples from `start` to `end` (both included).
    pub(super) fn load(
        &mut self,
        filter: &Filter,
        resets: Resets,
        start: i64,
        end: i64,
    ) -> Evaluated<Vec<Loaded>> {
        let mut loaded = Vec::new();
        self.load_each(filter, resets, (start, end), &mut |_, one| {
            loaded.push(one);
            Ok(())
        })?;
        Ok(loaded)
    }

    /// As [`Self::load`], one by one in label order as the store hands them over. What `each` does not keep it releases.
    pub(super) fn load_each(
        &mut self,
        filter: &Filter,
        resets: Resets,
        (start, end): (i64, i64),
        each: &mut dyn FnMut(&mut Self, Loaded) -> Evaluated<()>,
    ) -> Evaluated<()> {
        self.load_given(filter, resets, (start, end), &mut |this, given| {
            let one = match given {
                Given::Loaded(one) => one,
                Given::Flat(flat) => {
                    let one = flat.to_loaded();
                    this.charge(one.bytes())?;
                    one
                }
            };
            each(this, one)
        })
    }

    /// As [`Self::load_each`], with series of floats as the store has them. Loaded ones are released by `each`.
    pub(super) fn load_given(
        &mut self,
        filter: &Filter,
        resets: Resets,
        (start, end): (i64, i64),
        each: &mut dyn FnMut(&mut Self, Given<'_>) -> Evaluated<()>,
    ) -> Evaluated<()> {
        let time = TimeRange::from_millis(Millis(start), Millis(end));
        let mut scan = Scan::rows(self.context.tenant.clone(), Table::Samples, time, filter.clone());
        scan.bytes_max = self.context.limits.memory_bytes_max.saturating_sub(self.memory);
        scan.cancel = self.context.cancel.clone();
        // The plain evaluator is what columns are tested against.
        scan.shape = if self.options.plain { Shape::Rows } else { Shape::Columns };
        let mut failed = None;
        let store = self.store;
        let summary = store.scan(&scan, &mut |block| {
            let done = match block {
                Block::Series(rows) => rows.into_iter().try_for_each(|row| {
                    let one = convert(row, resets);
                    self.count_loaded(one.samples())?;
                    self.charge(one.bytes())?;
                    each(self, Given::Loaded(one))
                }),
                Block::Columns(columns) => {
                    // The block is charged as a whole while its series are looked at.
                    let bytes = 2 * size_of::<u64>() * columns.times.len();
                    let done = self.charge(bytes).and_then(|()| {
                        columns.series().try_for_each(|(labels, times, values)| {
                            self.count_loaded(times.len())?;
                            each(self, Given::Flat(Flat { labels, times, values }))
                        })
                    });
                    self.release(bytes);
                    done
                }
                _ => Ok(()),
            };
            failed = done.err();
            if failed.is_some() { Flow::Stop } else { Flow::More }
        })?;
        self.missing.extend(summary.missing);
        match failed {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn count_loaded(&mut self, samples: usize) -> Evaluated<()> {
        self.stats.samples_loaded += samples as u64;
        let limit = self.context.limits.samples_max;
        if self.stats.samples_loaded > limit {
            return Err(QueryError::Limit { kind: LimitKind::Samples, limit });
        }
        Ok(())
    }

    pub(super) fn release_loaded(&mut self, loaded: &[Loaded]) {
        self.release(loaded.iter().map(Loaded::bytes).sum());
    }

    pub(super) fn selector(&mut self, selector: &Selector, steps: Steps) -> Evaluated<Vec<Column>> {
        if selector.smoothed {
            return self.smoothed(selector, steps);
        }
        if self.options.plain {
            return self.select(selector, steps, |latest| latest.point);
        }
        self.columns_of(&Leaf::Instant(selector), steps)
    }

    /// The rows of a selector, series by series: floats as they are, others as columns that are charged.
    pub(super) fn instant_rows(
        &mut self,
        selector: &Selector,
        steps: Steps,
        each: &mut dyn FnMut(&mut Self, Row<'_>) -> Evaluated<()>,
    ) -> Evaluated<()> {
        let (lookback, span) = (self.options.lookback_ms, self.selected(selector, steps));
        let bytes = steps.len.saturating_mul(Windows::BYTES);
        self.charge(bytes)?;
        let ranges = steps.iter().map(|(_, time)| {
            let end = selector.when.of(time);
            (end.saturating_sub(lookback), end)
        });
        let (mut windows, mut row) = (Windows::new(ranges), Vec::new());
        let done = self.load_given(&selector.filter, selector.resets, span, &mut |this, given| match given {
            Given::Flat(flat) => {
                let found = windows.latest(flat.times, flat.values, &mut row);
                this.stats.samples += found.samples;
                if found.values == 0 {
                    return Ok(());
                }
                each(this, Row::Floats { labels: flat.labels, drop_name: false, values: &row })
            }
            Given::Loaded(one) => {
                let column = this.instant_column(one, selector, steps, &|latest| latest.point)?;
                column.map_or(Ok(()), |column| each(this, Row::Column(column)))
            }
        });
        self.release(bytes);
        done
    }

    /// From when to when samples of a selector can matter.
    fn selected(&self, selector: &Selector, steps: Steps) -> (i64, i64) {
        let (first, last) = (selector.when.of(steps.start), selector.when.of(steps.last()));
        (first.saturating_sub(self.options.lookback_ms).saturating_add(1), last)
    }

    /// What `value` makes of a series at each instant, charged; `None` without any value. Releases the series.
    fn instant_column(
        &mut self,
        one: Loaded,
        selector: &Selector,
        steps: Steps,
        value: &impl Fn(Latest) -> Point,
    ) -> Evaluated<Option<Column>> {
        self.charge_columns(1, steps)?;
        let lookback = self.options.lookback_ms;
        let mut cursor = Cursor::new(&one);
        let points: Vec<_> =
            steps.iter().map(|(_, time)| cursor.at(selector.when.of(time), lookback).map(value)).collect();
        self.stats.samples += points.iter().flatten().count() as u64;
        self.release(one.bytes());
        let column = Column { labels: one.labels, drop_name: false, points };
        if column.is_blank() {
            self.release_columns(&[column], steps);
            return Ok(None);
        }
        Ok(Some(column))
    }

    /// `timestamp(selector)`: when the samples were taken.
    pub(super) fn sample_times(&mut self, selector: &Selector, steps: Steps) -> Evaluated<Vec<Column>> {
        let mut columns = self.select(selector, steps, |latest| Point::Float(latest.time as f64 / 1000.0))?;
        columns.iter_mut().for_each(|column| column.drop_name = true);
        Ok(columns)
    }

    /// `start_timestamp(selector)`: when the counters behind the samples began.
    pub(super) fn start_times(&mut self, selector: &Selector, steps: Steps) -> Evaluated<Vec<Column>> {
        if !self.options.start_timestamps {
            return Ok(Vec::new());
        }
        let mut columns =
            self.select(selector, steps, |latest| Point::Float(latest.start as f64 / 1000.0))?;
        columns.iter_mut().for_each(|column| column.drop_name = true);
        Ok(columns)
    }

    /// What `value` makes of the sample that stands for each series at each instant.
    pub(super) fn select(
        &mut self,
        selector: &Selector,
        steps: Steps,
        value: impl Fn(Latest) -> Point,
    ) -> Evaluated<Vec<Column>> {
        let span = self.selected(selector, steps);
        let mut columns = Vec::new();
        self.load_each(&selector.filter, selector.resets, span, &mut |this, one| {
            columns.extend(this.instant_column(one, selector, steps, &value)?);
            Ok(())
        })?;
        Ok(columns)
    }

    /// Values between samples lie on the line from one to the next; after the last sample it stays.
    fn smoothed(&mut self, selector: &Selector, steps: Steps) -> Evaluated<Vec<Column>> {
        let lookback = self.options.lookback_ms;
        let (first, last) = (selector.when.of(steps.start), selector.when.of(steps.last()));
        let start = first.saturating_sub(lookback).saturating_add(1);
        let mut loaded =
            self.load(&selector.filter, selector.resets, start, last.saturating_add(lookback))?;
        let mut columns = Vec::new();
        for one in &mut loaded {
            one.drop_stale();
            self.charge_columns(1, steps)?;
            let points = steps
                .iter()
                .map(|(_, time)| self.smooth_point(one, selector, selector.when.of(time)))
                .collect();
            let column = Column { labels: one.labels.clone(), drop_name: false, points };
            if column.is_blank() {
                self.release_columns(&[column], steps);
            } else {
                columns.push(column);
            }
        }
        self.release_loaded(&loaded);
        Ok(columns)
    }

    fn smooth_point(&mut self, loaded: &Loaded, selector: &Selector, time: i64) -> Option<Point> {
        let lookback = self.options.lookback_ms;
        let (from, to) = (time.saturating_sub(lookback), time.saturating_add(lookback));
        let floats = within(&loaded.floats, from, to);
        let histograms = within(&loaded.histograms, from, to);
        self.stats.samples += (floats.len() + histograms.len()) as u64;
        match (floats.is_empty(), histograms.is_empty()) {
            (true, true) => None,
            (false, true) => smooth_float(floats, time).map(Point::Float),
            (true, false) => {
                let metric = loaded.labels.metric_name();
                self.smooth_histogram(histograms, time, metric, selector.span).map(Point::Histogram)
            }
            (false, false) => {
                self.notes.mixed_floats_histograms(loaded.labels.metric_name(), selector.span);
                None
            }
        }
    }

    fn smooth_histogram(
        &mut self,
        samples: &[(i64, Arc<Histogram>)],
        time: i64,
        metric: &str,
        span: SourceSpan,
    ) -> Option<Arc<Histogram>> {
        match neighbours(samples, time) {
            (_, Some((t, histogram))) if *t == time => Some(histogram.clone()),
            (None, _) => None,
            (Some((_, histogram)), None) => {
                let reset = CounterReset::Unknown;
                Some(Arc::new(Histogram { reset, ..(**histogram).clone() }))
            }
            (Some(before), Some(after)) => {
                let gauge = |sample: &(i64, Arc<Histogram>)| sample.1.reset == CounterReset::Gauge;
                let counter = !gauge(before) || !gauge(after);
                match interpolate_histograms(before, after, time, counter, &mut self.notes, span) {
                    Ok(histogram) => Some(Arc::new(histogram)),
                    Err(WideError::MixedSchemas) => {
                        self.notes.mixed_schemas(metric, span);
                        None
                    }
                }
            }
        }
    }
}

fn smooth_float(samples: &[(i64, f64)], time: i64) -> Option<f64> {
    match neighbours(samples, time) {
        (_, Some((t, value))) if *t == time => Some(*value),
        (None, _) => None,
        (Some((_, value)), None) => Some(*value),
        (Some(before), Some(after)) => Some(interpolate(*before, *after, time, false)),
    }
}

type Sample<T> = (i64, T);

/// The last sample before an instant and the first one at or after it.
fn neighbours<T>(samples: &[Sample<T>], time: i64) -> (Option<&Sample<T>>, Option<&Sample<T>>) {
    let next = samples.partition_point(|(t, _)| *t < time);
    (next.checked_sub(1).and_then(|i| samples.get(i)), samples.get(next))
}

/// The samples in `(start, end]`.
pub(super) fn within<T>(samples: &[(i64, T)], start: i64, end: i64) -> &[(i64, T)] {
    let from = samples.partition_point(|(time, _)| *time <= start);
    let to = samples.partition_point(|(time, _)| *time <= end);
    samples.get(from..to).unwrap_or(&[])
}

fn convert(row: kenning_model::SeriesRows, resets: Resets) -> Loaded {
    let floats: Vec<_> = row.samples.iter().map(|sample| (sample.time.0, sample.value)).collect();
    let histograms_len = row.histograms.len();
    let times: Vec<_> = row.histograms.iter().map(|sample| sample.time.0).collect();
    let mut histograms: Vec<_> =
        row.histograms.into_iter().map(|sample| Arc::new(sample.histogram)).collect();
    let follows = |i: usize| {
        let (Some(before), Some(after)) = (i.checked_sub(1).and_then(|i| times.get(i)), times.get(i)) else {
            return false;
        };
        let first_after = floats.partition_point(|(time, _)| time < before);
        floats.get(first_after).is_none_or(|(time, _)| time > after)
    };
    match resets {
        Resets::AsStored => annotate_resets(&mut histograms, follows),
        Resets::Marked => mark_resets(&mut histograms, follows),
    }
    let histograms = times.into_iter().zip(histograms).collect();
    let aligned = |starts: &[Millis], len: usize| -> Vec<i64> {
        let len = if starts.is_empty() { 0 } else { len };
        (0..len).map(|i| start_at(starts, i).0).collect()
    };
    let starts = aligned(&row.starts, floats.len());
    let histogram_starts = aligned(&row.histogram_starts, histograms_len);
    Loaded { labels: row.labels, drop_name: false, floats, histograms, starts, histogram_starts }
}
