//! Samples of one series in few bytes, appended one by one: the form of recent samples in memory.
//!
//! Per sample: the zigzag varint of the change of the time step (one zero byte for a regular series), then the value
//! against the one before: the byte 0 for the same bits, else one byte `leading << 4 | length` and the `length` bytes
//! of the exclusive or that follow `leading` zero bytes. A regular series with a constant value costs two bytes a
//! sample, integer counters four to five. Samples may come in any order of time and are read back in the order given.

use crate::bytes::{Decoder, Encoder};

/// Most bytes that one sample takes.
const SAMPLE_BYTES_MAX: usize = 10 + 1 + 8;

/// Fewest and most bytes that a chunk grows by: doubling would leave a third of all recent samples' memory empty, and
/// there are a million chunks; growing by little at a time would have each sample's cost be that of moving.
const GROWTH: (usize, usize) = (32, 96);

/// A growing run of samples.
#[derive(Clone, Debug, Default)]
pub struct Chunk {
    bytes: Vec<u8>,
    len: u32,
    last: Last,
    min_time: i64,
    max_time: i64,
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
        let (min, max) = if self.len == 0 { (time, time) } else { (self.min_time, self.max_time) };
        (self.min_time, self.max_time) = (min.min(time), max.max(time));
        let step = time.wrapping_sub(self.last.time);
        if self.bytes.capacity() - self.bytes.len() < SAMPLE_BYTES_MAX {
            let (least, most) = GROWTH;
            self.bytes.reserve_exact((self.bytes.len() / 2).clamp(least, most));
        }
        // A regular series' step costs one zero byte; most samples take no other way.
        match step.wrapping_sub(self.last.step) {
            0 => self.bytes.push(0),
            change => {
                let mut encoder = Encoder::after(std::mem::take(&mut self.bytes));
                encoder.signed(change);
                self.bytes = encoder.into_bytes();
            }
        }
        put_value(&mut self.bytes, value.to_bits() ^ self.last.bits);
        self.last = Last { time, step, bits: value.to_bits() };
        self.len += 1;
    }

    /// The samples in the order given.
    pub fn iter(&self) -> impl Iterator<Item = (i64, f64)> + Clone {
        let mut decoder = Decoder::new(&self.bytes);
        let mut last = Last::default();
        std::iter::from_fn(move || {
            let step = last.step.wrapping_add(decoder.signed()?);
            let bits = last.bits ^ take_value(&mut decoder)?;
            last = Last { time: last.time.wrapping_add(step), step, bits };
            Some((last.time, f64::from_bits(bits)))
        })
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

    /// The earliest and the latest time; zeros without samples.
    #[must_use]
    pub fn time_range(&self) -> (i64, i64) {
        (self.min_time, self.max_time)
    }

    /// Bytes held beside the value itself.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }
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

fn take_value(decoder: &mut Decoder<'_>) -> Option<u64> {
    let head = decoder.byte()?;
    if head == 0 {
        return Some(0);
    }
    let (leading, length) = (usize::from(head >> 4), usize::from(head & 15));
    let mut bytes = [0; 8];
    bytes.get_mut(leading..leading + length)?.copy_from_slice(decoder.raw(length)?);
    Some(u64::from_be_bytes(bytes))
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
        fn samples_come_back_in_order(samples: Vec<(i64, u64)>) {
            let samples: Vec<_> = samples.into_iter().map(|(t, bits)| (t, f64::from_bits(bits))).collect();
            let chunk = chunk(&samples);
            let bits = |(t, v): (i64, f64)| (t, v.to_bits());
            let read: Vec<_> = chunk.iter().map(bits).collect();
            prop_assert_eq!(chunk.len(), samples.len());
            prop_assert_eq!(chunk.last().map(bits), samples.last().copied().map(bits));
            if let (Some(min), Some(max)) = (samples.iter().map(|s| s.0).min(), samples.iter().map(|s| s.0).max()) {
                prop_assert_eq!(chunk.time_range(), (min, max));
            }
            prop_assert_eq!(read, samples.into_iter().map(bits).collect::<Vec<_>>());
        }
    }
}
