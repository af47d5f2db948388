//! Samples of one series in few bytes, appended one by one: the form of recent samples in memory.
//!
//! A chunk is *runs* of [`RUN_SAMPLES`] samples, of which all but the last are finished: they never change, know the
//! times that they span and are shared with readers, who copy the last run alone and leave out what lies outside of
//! their range.
//!
//! Each run is coded from its beginning. Per sample: the zigzag varint of the change of the time step (one zero byte for
//! a regular series), then the value against the one before: the byte 0 for the same bits, else one byte `leading << 4 |
//! length` and the `length` bytes of the exclusive or that follow `leading` zero bytes. A regular series with a constant
//! value costs two bytes a sample, integer counters four to five, and a run twenty. Samples may come in any order of time
//! and are read back in the order given.

use std::sync::Arc;

use crate::bytes::{Decoder, Encoder};

/// Samples of a finished run: few enough that a window of minutes decodes little else, many enough that what a run costs
/// beside its samples is a tenth of a byte for each.
pub const RUN_SAMPLES: u32 = 128;

/// Most bytes that one sample takes.
const SAMPLE_BYTES_MAX: usize = 10 + 1 + 8;

/// Fewest and most bytes that a chunk grows by: doubling would leave a third of all recent samples' memory empty, and
/// there are a million chunks; growing by little at a time would have each sample's cost be that of moving.
const GROWTH: (usize, usize) = (32, 96);

/// A growing row of samples.
#[derive(Clone, Debug, Default)]
pub struct Chunk {
    /// The run that grows.
    bytes: Vec<u8>,
    /// Samples of all runs.
    len: u32,
    last: Last,
    /// Of the run that grows.
    extent: Extent,
    /// Most series never fill a run before their head is flushed: these pay for a pointer.
    finished: Option<Box<Finished>>,
}

#[derive(Clone, Debug, Default)]
struct Finished {
    runs: Vec<Run>,
    /// Of all of them.
    extent: Extent,
    /// Held by their samples.
    bytes: usize,
}

/// A finished run.
#[derive(Clone, Debug)]
pub struct Run {
    bytes: Arc<[u8]>,
    extent: Extent,
}

impl Run {
    /// The coded samples, for [`samples_in`].
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The earliest and the latest time of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    min: i64,
    max: i64,
}

/// That of no samples.
impl Default for Extent {
    fn default() -> Self {
        Self { min: i64::MAX, max: i64::MIN }
    }
}

impl Extent {
    fn add(&mut self, other: Self) {
        *self = Self { min: self.min.min(other.min), max: self.max.max(other.max) };
    }

    fn overlaps(self, (start, end): (i64, i64)) -> bool {
        self.min <= self.max && self.min <= end && start <= self.max
    }

    /// True when the first or the last time is known to lie inside.
    fn reaches(self, (start, end): (i64, i64)) -> bool {
        self.min <= self.max && ((start..=end).contains(&self.min) || (start..=end).contains(&self.max))
    }
}

/// What the next sample is compared with. Times wrap, so that any two differ by some step.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    time: i64,
    step: i64,
    bits: u64,
}

impl Chunk {
    /// Appends a sample.
    pub fn push(&mut self, time: i64, value: f64) {
        // A run starts from nothing, so that it can be read without the one before.
        let last = if self.bytes.is_empty() { Last::default() } else { self.last };
        self.extent.add(Extent { min: time, max: time });
        let step = time.wrapping_sub(last.time);
        if self.bytes.capacity() - self.bytes.len() < SAMPLE_BYTES_MAX {
            let (least, most) = GROWTH;
            self.bytes.reserve_exact((self.bytes.len() / 2).clamp(least, most));
        }
        // A regular series' step costs one zero byte; most samples take no other way.
        match step.wrapping_sub(last.step) {
            0 => self.bytes.push(0),
            change => {
                let mut encoder = Encoder::after(std::mem::take(&mut self.bytes));
                encoder.signed(change);
                self.bytes = encoder.into_bytes();
            }
        }
        put_value(&mut self.bytes, value.to_bits() ^ last.bits);
        self.last = Last { time, step, bits: value.to_bits() };
        self.len += 1;
        if self.len.is_multiple_of(RUN_SAMPLES) {
            self.finish_run();
        }
    }

    fn finish_run(&mut self) {
        let run =
            Run { bytes: std::mem::take(&mut self.bytes).into(), extent: std::mem::take(&mut self.extent) };
        let finished = self.finished.get_or_insert_default();
        finished.extent.add(run.extent);
        finished.bytes += run.bytes.len() + 2 * size_of::<usize>();
        finished.runs.push(run);
    }

    /// The samples in the order given.
    pub fn iter(&self) -> impl Iterator<Item = (i64, f64)> + Clone {
        self.runs().chain([self.bytes.as_slice()]).flat_map(samples)
    }

    /// As [`Self::iter`], those with times from `start` to `end`, both included.
    pub fn iter_in(&self, (start, end): (i64, i64)) -> impl Iterator<Item = (i64, f64)> + Clone {
        let finished = self.finished_in((start, end)).map(Run::bytes);
        let runs = finished.chain(self.growing_in((start, end)));
        runs.flat_map(samples).filter(move |(time, _)| (start..=end).contains(time))
    }

    fn runs(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.finished.iter().flat_map(|finished| &finished.runs).map(Run::bytes)
    }

    /// The finished runs that can have samples from `start` to `end`, both included.
    pub fn finished_in(&self, range: (i64, i64)) -> impl Iterator<Item = &Run> + Clone {
        let finished = self.finished.iter().filter(move |finished| finished.extent.overlaps(range));
        finished.flat_map(|finished| &finished.runs).filter(move |run| run.extent.overlaps(range))
    }

    /// The coded samples of the run that still grows, where it can have some from `start` to `end`, both included.
    #[must_use]
    pub fn growing_in(&self, range: (i64, i64)) -> Option<&[u8]> {
        self.extent.overlaps(range).then_some(&self.bytes)
    }

    /// True when a sample lies between these times, both included. Only a run that reaches beyond both is looked through.
    #[must_use]
    pub fn has_any_in(&self, range: (i64, i64)) -> bool {
        let finished = || self.finished.iter().flat_map(|finished| &finished.runs);
        self.extent.reaches(range)
            || finished().any(|run| run.extent.reaches(range))
            || self.iter_in(range).next().is_some()
    }

    /// False when no sample can lie between these times, both included.
    #[must_use]
    pub fn may_have_any_in(&self, range: (i64, i64)) -> bool {
        self.extent.overlaps(range) || self.finished.as_ref().is_some_and(|runs| runs.extent.overlaps(range))
    }

    /// Number of samples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// True without samples.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The sample given last.
    #[must_use]
    pub fn last(&self) -> Option<(i64, f64)> {
        (self.len > 0).then(|| (self.last.time, f64::from_bits(self.last.bits)))
    }

    /// The earliest and the latest time; `None` without samples.
    #[must_use]
    pub fn time_range(&self) -> Option<(i64, i64)> {
        let mut extent = self.extent;
        extent.add(self.finished.as_ref().map(|finished| finished.extent).unwrap_or_default());
        (self.len > 0).then_some((extent.min, extent.max))
    }

    /// Bytes held beside the value itself.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let finished = self.finished.as_deref().map_or(0, |finished| {
            size_of::<Finished>() + finished.runs.capacity() * size_of::<Run>() + finished.bytes
        });
        self.bytes.capacity() + finished
    }
}

/// The samples of a run.
fn samples(bytes: &[u8]) -> impl Iterator<Item = (i64, f64)> + Clone {
    let (mut rest, mut last) = (bytes, Last::default());
    std::iter::from_fn(move || {
        (last, rest) = next(last, rest)?;
        Some((last.time, f64::from_bits(last.bits)))
    })
}

/// Appends the samples of a run that lie between these times, both included, in the order given; gives how many samples
/// were looked at.
pub fn samples_in(bytes: &[u8], range: (i64, i64), times: &mut Vec<i64>, values: &mut Vec<f64>) -> usize {
    let (mut rest, mut last, mut seen) = (bytes, Last::default(), 0);
    while let Some((sample, after)) = next(last, rest) {
        (last, rest) = (sample, after);
        seen += 1;
        if (range.0..=range.1).contains(&last.time) {
            times.push(last.time);
            values.push(f64::from_bits(last.bits));
        }
    }
    seen
}

/// The next sample of a run, and what follows it.
#[inline]
fn next(last: Last, bytes: &[u8]) -> Option<(Last, &[u8])> {
    let (step, rest) = match bytes {
        [0, rest @ ..] => (last.step, rest),
        bytes => {
            let mut decoder = Decoder::new(bytes);
            let change = decoder.signed()?;
            (last.step.wrapping_add(change), decoder.rest())
        }
    };
    let (xor, rest) = take_value(rest)?;
    Some((Last { time: last.time.wrapping_add(step), step, bits: last.bits ^ xor }, rest))
}

fn put_value(bytes: &mut Vec<u8>, xor: u64) {
    if xor == 0 {
        return bytes.push(0);
    }
    // One of 8 bytes is not zero: leading is at most 7, length at least 1, and leading + length at most 8.
    let leading = xor.leading_zeros() / 8;
    let length = 8 - leading - xor.trailing_zeros() / 8;
    let [first, second, third, fourth, fifth, sixth, seventh, last] = (xor << (leading * 8)).to_be_bytes();
    let head = (leading << 4 | length) as u8;
    let all = [head, first, second, third, fourth, fifth, sixth, seventh, last];
    bytes.extend_from_slice(all.get(..1 + length as usize).unwrap_or_default());
}

/// What a value differs by from the one before, and what follows it.
#[inline]
fn take_value(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (head, rest) = bytes.split_first()?;
    if *head == 0 {
        return Some((0, rest));
    }
    let (leading, length) = (u32::from(head >> 4), u32::from(head & 15));
    if length == 0 || leading + length > 8 {
        return None;
    }
    // Eight bytes at once, where there are as many, of which those that follow are then shifted out.
    let word = match rest.first_chunk::<8>() {
        Some(word) => u64::from_be_bytes(*word),
        None => {
            let mut word = [0; 8];
            word.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            u64::from_be_bytes(word)
        }
    };
    let xor = word >> (64 - 8 * length) << (64 - 8 * (leading + length));
    Some((xor, rest.get(length as usize..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chunk(samples: &[(i64, f64)]) -> Chunk {
        let mut chunk = Chunk::default();
        samples.iter().for_each(|(time, value)| chunk.push(*time, *value));
        chunk
    }

    #[test]
    fn regular_constant_series_cost_two_bytes_a_sample() {
        let samples: Vec<_> = (0..100).map(|i| (1_700_000_000_000 + i * 15_000, 1.0)).collect();
        assert!(chunk(&samples).bytes.len() < 220);
    }

    #[test]
    fn counters_cost_few_bytes_a_sample() {
        let samples: Vec<_> = (0..100).map(|i| (i * 15_000, (i * 37) as f64)).collect();
        assert!(chunk(&samples).bytes.len() < 450);
    }

    proptest! {
        #[test]
        fn samples_come_back_in_order(
            samples in proptest::collection::vec((any::<i64>(), any::<u64>()), 0..400),
            range: (i64, i64),
        ) {
            let samples: Vec<_> = samples.into_iter().map(|(t, bits)| (t, f64::from_bits(bits))).collect();
            let chunk = chunk(&samples);
            let bits = |(t, v): (i64, f64)| (t, v.to_bits());
            let read: Vec<_> = chunk.iter().map(bits).collect();
            prop_assert_eq!(chunk.len(), samples.len());
            prop_assert_eq!(chunk.last().map(bits), samples.last().copied().map(bits));
            let times = || samples.iter().map(|s| s.0);
            prop_assert_eq!(chunk.time_range(), times().min().zip(times().max()));
            prop_assert_eq!(read, samples.iter().copied().map(bits).collect::<Vec<_>>());
            let inside = samples.iter().copied().filter(|(t, _)| (range.0..=range.1).contains(t)).map(bits);
            let inside: Vec<_> = inside.collect();
            prop_assert_eq!(chunk.has_any_in(range), !inside.is_empty());
            prop_assert!(inside.is_empty() || chunk.may_have_any_in(range));
            prop_assert_eq!(chunk.iter_in(range).map(bits).collect::<Vec<_>>(), inside.clone());
            let (mut times, mut values) = (Vec::new(), Vec::new());
            for run in chunk.finished_in(range).map(Run::bytes).chain(chunk.growing_in(range)) {
                samples_in(run, range, &mut times, &mut values);
            }
            let found: Vec<_> = times.into_iter().zip(values).map(bits).collect();
            prop_assert_eq!(found, inside);
        }

        #[test]
        fn runs_outside_of_the_range_are_left_out(runs in 0..5u32, rest in 0..RUN_SAMPLES) {
            let len = i64::from(runs * RUN_SAMPLES + rest);
            let chunk = chunk(&(0..len).map(|i| (i * 15_000, i as f64)).collect::<Vec<_>>());
            prop_assert_eq!(chunk.finished_in((i64::MIN, i64::MAX)).count(), runs as usize);
            let last = (len - 1) * 15_000;
            let (mut times, mut values, mut seen) = (Vec::new(), Vec::new(), 0);
            for run in chunk.finished_in((last, last)).map(Run::bytes).chain(chunk.growing_in((last, last))) {
                seen += samples_in(run, (last, last), &mut times, &mut values);
            }
            prop_assert_eq!(times.len(), usize::from(len > 0));
            prop_assert!(seen <= RUN_SAMPLES as usize);
        }

        #[test]
        fn bytes_of_anyone_are_read_without_harm(bytes: Vec<u8>) {
            let (mut times, mut values) = (Vec::new(), Vec::new());
            let seen = samples_in(&bytes, (i64::MIN, i64::MAX), &mut times, &mut values);
            prop_assert!(seen == times.len() && seen == values.len() && 2 * seen <= bytes.len());
        }
    }
}
