//! Delta temporality to cumulative: points that say what was counted since the point before become running totals.
//!
//! One running total is kept per stream (a number's series; all series of a classic histogram; a native histogram's
//! series), per tenant, in memory. The rules, in the order they are looked at:
//!
//! | point | becomes |
//! |---|---|
//! | stamped outside the tenant's window | left to the limits; the total is not touched |
//! | first of its stream, or first after [`Totals`] forgot it | a total that starts with it, and at its start time |
//! | stamped at or before the last one, or counting from before the total's start | refused as `out_of_order`: its amount is in the total already, or cannot be placed |
//! | with other bucket boundaries than the last | a new total: a counter reset |
//! | "no recorded value" | a stale marker; the total stays |
//! | else | added; gaps between points count as nothing having happened |
//!
//! Promises: at most `limits.ingest.delta_series` totals, each forgotten `limits.ingest.delta_idle` after its last point;
//! a stream beyond the bound is refused with the limit named. When a batch is not stored its amounts are taken out
//! again, unless a later point has built on them: then they are in that point's total, and the sender's retry is
//! refused as out of order without loss. Lacking: totals do not survive a restart. A stream then starts afresh, which
//! queries see as a counter reset, and exactly so by its start time.

mod merge;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::time::Duration;

use kenning_model::{
    DeltaData, DeltaPoint, Histogram, LabelSet, MetricBatch, Millis, Reason, Rejected, UNKNOWN_START,
    retain_with_starts,
};

/// Totals kept when `limits.ingest.delta_series` is lifted.
const TRACKED_MAX: usize = 2_000_000;
/// How often idle totals are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// The running totals of one tenant.
#[derive(Debug)]
pub struct Totals {
    streams_max: usize,
    idle: Duration,
    /// Two independent keyed hashes name a stream, since a mix-up of two would be a wrong number.
    secrets: [u64; 2],
    streams: HashMap<Key, Total>,
    generation: u64,
    swept: Duration,
}

type Key = (u64, u64);

#[derive(Clone, Debug)]
struct Total {
    start: Millis,
    last: Millis,
    /// Steady time of the last point.
    seen: Duration,
    /// Which point made it what it is.
    generation: u64,
    amount: Amount,
}

#[derive(Clone, Debug)]
enum Amount {
    /// One per sample of the point, and a hash of all their series.
    Floats {
        shape: u64,
        values: Vec<f64>,
    },
    Histogram(Box<Histogram>),
}

/// What a batch did to the totals, so that it can be taken back.
#[derive(Debug, Default)]
pub struct Undo(Vec<(Key, Option<Total>, u64)>);

impl Undo {
    /// True when there is nothing to take back.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Why a point is left out, and the story for its sender.
type Refused = (Reason, String);

impl Totals {
    /// No totals yet. `streams_max` of `None` means [`TRACKED_MAX`]; `secrets` key the hashes, and no total depends on
    /// them.
    pub fn new(streams_max: Option<usize>, idle: Duration, secrets: [u64; 2], now: Duration) -> Self {
        Self {
            streams_max: streams_max.unwrap_or(TRACKED_MAX),
            idle,
            secrets,
            streams: HashMap::new(),
            generation: 0,
            swept: now,
        }
    }

    /// Totals that are kept.
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// Turns the delta points of a batch into totals. `in_window` tells whether a stamp will be accepted.
    pub fn apply(
        &mut self,
        batch: &mut MetricBatch,
        now: Duration,
        in_window: impl Fn(Millis) -> bool,
        rejected: &mut Rejected,
    ) -> Undo {
        let mut undo = Undo::default();
        let mut dropped = Dropped::default();
        for point in std::mem::take(&mut batch.deltas) {
            let Some(time) = time_of(batch, &point) else { continue };
            if !in_window(time) {
                continue;
            }
            if let Err((reason, told)) = self.point(batch, &point, time, now, &mut undo) {
                rejected.add(reason, 1, || told);
                dropped.add(&point);
            }
        }
        dropped.remove_from(batch);
        undo
    }

    /// Takes back what a batch that was not stored did.
    pub fn undo(&mut self, undo: Undo) {
        for (key, before, generation) in undo.0.into_iter().rev() {
            if self.streams.get(&key).is_some_and(|total| total.generation == generation) {
                match before {
                    Some(total) => drop(self.streams.insert(key, total)),
                    None => drop(self.streams.remove(&key)),
                }
            }
        }
    }

    fn point(
        &mut self,
        batch: &mut MetricBatch,
        point: &DeltaPoint,
        time: Millis,
        now: Duration,
        undo: &mut Undo,
    ) -> Result<(), Refused> {
        let Some((key, shape)) = self.identify(batch, point) else { return Ok(()) };
        let before = self.streams.get(&key).cloned();
        if let Some(total) = &before {
            check_order(total, point, time)?;
        } else {
            self.make_room(now)?;
        }
        let mut total = before.clone().unwrap_or_else(|| Total::empty(point, time));
        total.add(batch, point, shape);
        self.generation += 1;
        (total.last, total.seen, total.generation) = (time, now, self.generation);
        set_starts(batch, point, total.start);
        self.streams.insert(key, total);
        undo.0.push((key, before, self.generation));
        Ok(())
    }

    /// The stream's name and the hash of all its series. `None` for a point that points outside the batch.
    fn identify(&self, batch: &MetricBatch, point: &DeltaPoint) -> Option<(Key, u64)> {
        let [first, second] = self.secrets.map(keyed);
        let labels = |series: u32| batch.series.get(series as usize);
        let (name, shape) = match &point.data {
            DeltaData::Histogram(at) => (labels(batch.histograms.get(*at as usize)?.series)?, 0),
            DeltaData::Samples { .. } => {
                let samples = batch.samples.get(range(point)?)?;
                let mut shape = first.clone();
                for sample in samples {
                    labels(sample.series)?.hash(&mut shape);
                }
                // The last series of a classic histogram, its `+Inf` bucket, is there whatever the others are.
                (labels(samples.last()?.series)?, shape.finish())
            }
        };
        Some(((named(first, name), named(second, name)), shape))
    }

    fn make_room(&mut self, now: Duration) -> Result<(), Refused> {
        let full = self.streams.len() >= self.streams_max;
        if full || now >= self.swept + SWEEP_EVERY {
            let idle = self.idle;
            self.streams.retain(|_, total| now < total.seen + idle);
            self.swept = now;
        }
        if self.streams.len() < self.streams_max {
            return Ok(());
        }
        let told = format!(
            "a stream of delta temporality is new and {} are being added up; drop labels, set the exporter to \
             cumulative temporality or raise limits.ingest.delta_series",
            self.streams_max
        );
        Err((Reason::TooManySeries, told))
    }
}

impl Total {
    fn empty(point: &DeltaPoint, time: Millis) -> Self {
        let amount = Amount::Floats { shape: 0, values: Vec::new() };
        Self { start: point.start, last: time, seen: Duration::ZERO, generation: 0, amount }
    }

    /// Adds the point and writes the total in its place, or starts anew with it when it is of another shape.
    fn add(&mut self, batch: &mut MetricBatch, point: &DeltaPoint, shape: u64) {
        let added = match &point.data {
            DeltaData::Samples { .. } => self.add_floats(batch, point, shape),
            DeltaData::Histogram(at) => match batch.histograms.get_mut(*at as usize) {
                Some(sample) => self.add_histogram(&mut sample.histogram),
                None => true,
            },
        };
        if !added {
            // Nothing of the point was counted before the one that came last.
            self.start = if point.start == UNKNOWN_START { self.last } else { point.start };
        }
    }

    /// False when a new total was started in place of another.
    fn add_floats(&mut self, batch: &mut MetricBatch, point: &DeltaPoint, shape: u64) -> bool {
        let Some(samples) = range(point).and_then(|range| batch.samples.get_mut(range)) else { return true };
        match &mut self.amount {
            Amount::Floats { shape: known, values } if *known == shape && values.len() == samples.len() => {
                for (total, sample) in values.iter_mut().zip(samples) {
                    if !is_stale(sample.value) {
                        *total += sample.value;
                        sample.value = *total;
                    }
                }
                true
            }
            other => {
                let fresh = matches!(other, Amount::Floats { values, .. } if values.is_empty());
                let amounts = samples.iter().map(|s| if is_stale(s.value) { 0.0 } else { s.value }).collect();
                *other = Amount::Floats { shape, values: amounts };
                fresh
            }
        }
    }

    fn add_histogram(&mut self, sample: &mut Histogram) -> bool {
        if is_stale(sample.sum) {
            return true;
        }
        if let Amount::Histogram(total) = &mut self.amount
            && merge::add(total, sample)
        {
            sample.clone_from(total);
            return true;
        }
        let fresh = matches!(&self.amount, Amount::Floats { values, .. } if values.is_empty());
        self.amount = Amount::Histogram(Box::new(sample.clone()));
        fresh
    }
}

fn keyed(secret: u64) -> DefaultHasher {
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(secret);
    hasher
}

fn named(mut hasher: DefaultHasher, series: &LabelSet) -> u64 {
    series.hash(&mut hasher);
    hasher.finish()
}

fn check_order(total: &Total, point: &DeltaPoint, time: Millis) -> Result<(), Refused> {
    if time <= total.last {
        let told = format!(
            "a delta point is stamped {time} ms, not after its stream's last one at {} ms; what is sent twice is \
             counted once, and streams of several senders need a label that tells them apart",
            total.last
        );
        return Err((Reason::OutOfOrder, told));
    }
    let overlaps = point.start != UNKNOWN_START && total.start != UNKNOWN_START && point.start < total.start;
    if overlaps {
        let told = format!(
            "a delta point counts from {} ms, before its stream began at {} ms",
            point.start, total.start
        );
        return Err((Reason::OutOfOrder, told));
    }
    Ok(())
}

fn range(point: &DeltaPoint) -> Option<Range<usize>> {
    match point.data {
        DeltaData::Samples { first, count } => {
            Some(first as usize..(first as usize).checked_add(count as usize)?)
        }
        DeltaData::Histogram(_) => None,
    }
}

fn time_of(batch: &MetricBatch, point: &DeltaPoint) -> Option<Millis> {
    match &point.data {
        DeltaData::Samples { .. } => Some(batch.samples.get(range(point)?)?.last()?.time),
        DeltaData::Histogram(at) => Some(batch.histograms.get(*at as usize)?.time),
    }
}

fn set_starts(batch: &mut MetricBatch, point: &DeltaPoint, start: Millis) {
    let (starts, places) = match &point.data {
        DeltaData::Histogram(at) => (&mut batch.histogram_starts, *at as usize..*at as usize + 1),
        DeltaData::Samples { .. } => (&mut batch.starts, range(point).unwrap_or_default()),
    };
    if start == UNKNOWN_START && starts.len() <= places.start {
        return;
    }
    if starts.len() < places.end {
        starts.resize(places.end, UNKNOWN_START);
    }
    starts.get_mut(places).into_iter().flatten().for_each(|known| *known = start);
}

/// The NaN that marks the end of a series; it is no amount.
fn is_stale(value: f64) -> bool {
    const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;
    value.to_bits() == STALE_NAN_BITS
}

/// Points to be left out, in the order of the batch.
#[derive(Default)]
struct Dropped {
    samples: Vec<Range<usize>>,
    histograms: Vec<Range<usize>>,
}

impl Dropped {
    fn add(&mut self, point: &DeltaPoint) {
        match point.data {
            DeltaData::Samples { .. } => self.samples.extend(range(point)),
            DeltaData::Histogram(at) => self.histograms.push(at as usize..at as usize + 1),
        }
    }

    fn remove_from(self, batch: &mut MetricBatch) {
        let MetricBatch { samples, starts, histograms, histogram_starts, .. } = batch;
        remove(samples, starts, self.samples);
        remove(histograms, histogram_starts, self.histograms);
    }
}

fn remove<T>(items: &mut Vec<T>, starts: &mut Vec<Millis>, mut ranges: Vec<Range<usize>>) {
    if ranges.is_empty() {
        return;
    }
    ranges.sort_by_key(|range| range.start);
    let (mut at, mut ranges) = (0, ranges.into_iter().peekable());
    retain_with_starts(items, starts, |_| {
        while ranges.next_if(|range| range.end <= at).is_some() {}
        let drops = ranges.peek().is_some_and(|range| range.contains(&at));
        at += 1;
        !drops
    });
}

#[cfg(test)]
mod tests;
