//! Prometheus's chunks: the compressed samples that remote read streams. Definition: Prometheus `tsdb/docs/format/chunks.md`
//! (XOR chunks, float histogram chunks).
//!
//! Writing only, since nobody sends us any. Promised: a chunk holds at most [`CHUNK_SAMPLES_MAX`] samples of one kind;
//! no chunk of histograms reaches over a counter reset or a change of buckets, so readers may rely on the header.

use kenning_model::{BucketSpan, CounterReset, Histogram, Millis};

/// Samples of a chunk, as Prometheus cuts them.
pub const CHUNK_SAMPLES_MAX: usize = 120;

/// How a chunk's bytes are to be read: the numbers of `prompb.Chunk.Encoding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkEncoding {
    /// Floats.
    Xor = 1,
    /// Histograms with float counts.
    FloatHistogram = 3,
}

/// A finished chunk.
#[derive(Clone, Debug, PartialEq)]
pub struct ChunkBytes {
    /// Time of its first sample.
    pub min: Millis,
    /// Time of its last sample.
    pub max: Millis,
    /// How to read it.
    pub encoding: ChunkEncoding,
    /// The bytes.
    pub data: Vec<u8>,
}

/// Chunks of float samples, which stand in order of time.
pub fn float_chunks(samples: &[(Millis, f64)]) -> Vec<ChunkBytes> {
    samples.chunks(CHUNK_SAMPLES_MAX).filter_map(float_chunk).collect()
}

fn float_chunk(samples: &[(Millis, f64)]) -> Option<ChunkBytes> {
    let (first, last) = (samples.first()?, samples.last()?);
    let mut bits = Bits::with_count(samples.len());
    let (mut time, mut delta) = (first.0.0, 0i64);
    let mut value = Xor::new(first.1);
    for (at, (now, number)) in samples.iter().enumerate() {
        let step = now.0.wrapping_sub(time);
        match at {
            0 => {
                bits.varint(zigzag(now.0));
                bits.push(number.to_bits(), 64);
            }
            1 => {
                bits.varint(step as u64);
                value.push(*number, &mut bits);
            }
            _ => {
                push_time(step.wrapping_sub(delta), &mut bits);
                value.push(*number, &mut bits);
            }
        }
        (time, delta) = (now.0, step);
    }
    Some(ChunkBytes { min: first.0, max: last.0, encoding: ChunkEncoding::Xor, data: bits.out })
}

/// A change of the distance between samples.
fn push_time(change: i64, bits: &mut Bits) {
    match change {
        0 => bits.push(0, 1),
        c if fits(c, 14) => bits.prefixed(0b10, 2, c, 14),
        c if fits(c, 17) => bits.prefixed(0b110, 3, c, 17),
        c if fits(c, 20) => bits.prefixed(0b1110, 4, c, 20),
        c => bits.prefixed(0b1111, 4, c, 64),
    }
}

/// Chunks of histograms, which stand in order of time. Histograms whose buckets do not agree with their spans are left
/// out.
pub fn histogram_chunks(histograms: &[(Millis, Histogram)]) -> Vec<ChunkBytes> {
    let mut chunks = Vec::new();
    let mut open: Option<HistogramChunk> = None;
    for (time, histogram) in histograms {
        let stale = is_stale(histogram.sum).then(|| Histogram { sum: histogram.sum, ..Histogram::default() });
        let histogram = stale.as_ref().unwrap_or(histogram);
        if !is_whole(histogram) {
            continue;
        }
        match &mut open {
            Some(chunk) if chunk.takes(histogram) => chunk.push(*time, histogram),
            _ => {
                chunks.extend(open.take().map(HistogramChunk::finish));
                open = Some(HistogramChunk::start(*time, histogram));
            }
        }
    }
    chunks.extend(open.map(HistogramChunk::finish));
    chunks
}

fn is_stale(sum: f64) -> bool {
    sum.to_bits() == super::STALE_NAN.to_bits()
}

fn is_whole(histogram: &Histogram) -> bool {
    let buckets = |spans: &[BucketSpan]| spans.iter().map(|span| u64::from(span.length)).sum::<u64>();
    buckets(&histogram.positive_spans) == histogram.positive.len() as u64
        && buckets(&histogram.negative_spans) == histogram.negative.len() as u64
}

/// A chunk of histograms in the making. All have the buckets of the first.
struct HistogramChunk {
    bits: Bits,
    count: usize,
    min: Millis,
    time: i64,
    delta: i64,
    last: Histogram,
    numbers: Vec<Xor>,
}

/// Every number of a histogram that changes from sample to sample, in the order of the format.
fn numbers_of(histogram: &Histogram) -> impl Iterator<Item = f64> {
    let totals = [histogram.count, histogram.zero_count, histogram.sum];
    totals.into_iter().chain(histogram.positive.iter().copied()).chain(histogram.negative.iter().copied())
}

impl HistogramChunk {
    fn start(time: Millis, first: &Histogram) -> Self {
        let mut bits = Bits::with_count(0);
        bits.push(
            match first.reset {
                CounterReset::Unknown => 0,
                CounterReset::No => 0b0100_0000,
                CounterReset::Yes => 0b1000_0000,
                CounterReset::Gauge => 0b1100_0000,
            },
            8,
        );
        write_layout(first, &mut bits);
        bits.varbit_signed(time.0);
        numbers_of(first).for_each(|number| bits.push(number.to_bits(), 64));
        let numbers = numbers_of(first).map(Xor::new).collect();
        Self { bits, count: 1, min: time, time: time.0, delta: 0, last: first.clone(), numbers }
    }

    /// False when a histogram must start a chunk of its own.
    fn takes(&self, next: &Histogram) -> bool {
        let last = &self.last;
        let same_layout = last.schema == next.schema
            && last.zero_threshold.to_bits() == next.zero_threshold.to_bits()
            && last.positive_spans == next.positive_spans
            && last.negative_spans == next.negative_spans
            && last.custom_bounds == next.custom_bounds;
        let is_gauge = |one: &Histogram| one.reset == CounterReset::Gauge;
        self.count < CHUNK_SAMPLES_MAX
            && same_layout
            && is_gauge(last) == is_gauge(next)
            && is_stale(last.sum) == is_stale(next.sum)
            && (is_gauge(next) || (next.reset != CounterReset::Yes && !falls(last, next)))
    }

    fn push(&mut self, time: Millis, histogram: &Histogram) {
        let delta = time.0.wrapping_sub(self.time);
        self.bits.varbit_signed(delta.wrapping_sub(self.delta));
        for (number, xor) in numbers_of(histogram).zip(&mut self.numbers) {
            xor.push(number, &mut self.bits);
        }
        (self.time, self.delta) = (time.0, delta);
        self.last = histogram.clone();
        self.count += 1;
    }

    fn finish(self) -> ChunkBytes {
        let mut data = self.bits.out;
        set_count(&mut data, self.count);
        ChunkBytes { min: self.min, max: Millis(self.time), encoding: ChunkEncoding::FloatHistogram, data }
    }
}

/// True when a count went down, so that the counter was reset between them.
fn falls(last: &Histogram, next: &Histogram) -> bool {
    let buckets = last.positive.iter().zip(&next.positive).chain(last.negative.iter().zip(&next.negative));
    next.count < last.count || next.zero_count < last.zero_count || buckets.into_iter().any(|(a, b)| b < a)
}

fn write_layout(histogram: &Histogram, bits: &mut Bits) {
    write_zero_threshold(histogram.zero_threshold, bits);
    bits.varbit_signed(i64::from(histogram.schema));
    for spans in [&histogram.positive_spans, &histogram.negative_spans] {
        bits.varbit(spans.len() as u64);
        for span in spans {
            bits.varbit(u64::from(span.length));
            bits.varbit_signed(i64::from(span.offset));
        }
    }
    if histogram.schema == Histogram::CUSTOM_BUCKETS {
        bits.varbit(histogram.custom_bounds.len() as u64);
        histogram.custom_bounds.iter().for_each(|bound| write_bound(*bound, bits));
    }
}

/// One byte for zero and for powers of two from 2^-243 to 2^10, else a byte and the number.
fn write_zero_threshold(threshold: f64, bits: &mut Bits) {
    const MANTISSA: u64 = (1 << 52) - 1;
    let raw = threshold.to_bits();
    // The exponent as `frexp` counts it: of a fraction from a half to one.
    let exponent = (raw >> 52) as i64 - 1022;
    if raw == 0 {
        bits.push(0, 8);
    } else if raw & MANTISSA == 0 && (-242..=11).contains(&exponent) {
        bits.push((exponent + 243) as u64, 8);
    } else {
        bits.push(255, 8);
        bits.push(raw, 64);
    }
}

/// Thousandths up to 33554.430 in few bits, others whole behind a zero bit.
fn write_bound(bound: f64, bits: &mut Bits) {
    let thousandths = bound * 1000.0;
    let rounded = thousandths.round();
    if (0.0..=33_554_430.0).contains(&thousandths) && rounded / 1000.0 == bound {
        bits.varbit(rounded as u64 + 1);
    } else {
        bits.push(0, 1);
        bits.push(bound.to_bits(), 64);
    }
}

const fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)) as u64
}

/// True when a number can be told by its last `width` bits, as the format counts: one more above than below.
const fn fits(n: i64, width: u32) -> bool {
    n >= 1 - (1 << (width - 1)) && n <= 1 << (width - 1)
}

fn set_count(data: &mut [u8], count: usize) {
    if let Some(head) = data.first_chunk_mut::<2>() {
        *head = (count as u16).to_be_bytes();
    }
}

/// A number that is written as its difference to the one before.
struct Xor {
    value: u64,
    /// Zero bits before and after the last window; `None` before the first.
    window: Option<(u32, u32)>,
}

impl Xor {
    fn new(value: f64) -> Self {
        Self { value: value.to_bits(), window: None }
    }

    fn push(&mut self, value: f64, bits: &mut Bits) {
        /// Leading zeros are told in five bits.
        const LEADING_MAX: u32 = 31;
        let difference = value.to_bits() ^ self.value;
        self.value = value.to_bits();
        if difference == 0 {
            bits.push(0, 1);
            return;
        }
        bits.push(1, 1);
        let leading = difference.leading_zeros().min(LEADING_MAX);
        let trailing = difference.trailing_zeros();
        match self.window {
            Some((before, after)) if leading >= before && trailing >= after => {
                bits.push(0, 1);
                bits.push(difference >> after, 64 - before - after);
            }
            _ => {
                self.window = Some((leading, trailing));
                let width = 64 - leading - trailing;
                bits.push(1, 1);
                bits.push(u64::from(leading), 5);
                // 64 does not fit and reads as zero, which no window has.
                bits.push(u64::from(width), 6);
                bits.push(difference >> trailing, width);
            }
        }
    }
}

/// Bits, the highest first.
struct Bits {
    out: Vec<u8>,
    /// Bits of the last byte that are free.
    free: u32,
}

impl Bits {
    /// A chunk's start: the number of its samples.
    fn with_count(count: usize) -> Self {
        Self { out: (count as u16).to_be_bytes().to_vec(), free: 0 }
    }

    /// The lowest `width` bits of `value`.
    fn push(&mut self, value: u64, width: u32) {
        let mut left = width;
        while left > 0 {
            if self.free == 0 {
                self.out.push(0);
                self.free = 8;
            }
            let take = left.min(self.free);
            let piece = (value >> (left - take)) & ((1 << take) - 1);
            self.free -= take;
            if let Some(last) = self.out.last_mut() {
                *last |= (piece << self.free) as u8;
            }
            left -= take;
        }
    }

    fn prefixed(&mut self, prefix: u64, prefix_width: u32, value: i64, width: u32) {
        self.push(prefix, prefix_width);
        self.push(value as u64, width);
    }

    /// Groups of seven bits, the lowest first.
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push(value & 0x7f | 0x80, 8);
            value >>= 7;
        }
        self.push(value, 8);
    }

    fn varbit_signed(&mut self, value: i64) {
        self.varbit_with(value as u64, |width| fits(value, width));
    }

    fn varbit(&mut self, value: u64) {
        self.varbit_with(value, |width| value < 1 << width);
    }

    /// Few bits for small numbers: ones that tell the width, a zero, the number.
    fn varbit_with(&mut self, value: u64, fits: impl Fn(u32) -> bool) {
        const WIDTHS: [u32; 7] = [3, 6, 9, 12, 18, 25, 56];
        if value == 0 {
            return self.push(0, 1);
        }
        match (1..).zip(WIDTHS).find(|(_, width)| fits(*width)) {
            Some((ones, width)) => {
                self.push((1 << (ones + 1)) - 2, ones + 1);
                self.push(value, width);
            }
            None => {
                self.push(0xff, 8);
                self.push(value, 64);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads what [`Bits`] wrote; written for these tests from the format's description.
    struct Read<'a>(&'a [u8], usize);

    impl Read<'_> {
        fn bits(&mut self, width: u32) -> u64 {
            (0..width).fold(0, |value, _| {
                let bit = self.0[self.1 / 8] >> (7 - self.1 % 8) & 1;
                self.1 += 1;
                value << 1 | u64::from(bit)
            })
        }

        fn varint(&mut self) -> u64 {
            let (mut value, mut shift) = (0, 0);
            loop {
                let byte = self.bits(8);
                value |= (byte & 0x7f) << shift;
                shift += 7;
                if byte < 0x80 {
                    return value;
                }
            }
        }

        fn ones(&mut self, max: u32) -> u32 {
            (0..max).find(|_| self.bits(1) == 0).unwrap_or(max)
        }

        /// A number of `width` bits whose upper half stands for negative ones but for the very middle.
        fn signed(&mut self, width: u32) -> i64 {
            let raw = self.bits(width);
            if width < 64 && raw > 1 << (width - 1) { raw as i64 - (1i64 << width) } else { raw as i64 }
        }

        fn varbit_signed(&mut self) -> i64 {
            match self.ones(8) {
                0 => 0,
                ones => self.signed([3, 6, 9, 12, 18, 25, 56, 64][ones as usize - 1]),
            }
        }

        fn xor(&mut self, value: &mut u64, window: &mut (u32, u32)) -> f64 {
            if self.bits(1) == 1 {
                if self.bits(1) == 1 {
                    let leading = self.bits(5) as u32;
                    let width = match self.bits(6) as u32 {
                        0 => 64,
                        width => width,
                    };
                    *window = (leading, 64 - leading - width);
                }
                let width = 64 - window.0 - window.1;
                *value ^= self.bits(width) << window.1;
            }
            f64::from_bits(*value)
        }
    }

    fn floats_in(chunk: &ChunkBytes) -> Vec<(Millis, f64)> {
        let mut read = Read(&chunk.data, 0);
        let count = read.bits(16);
        let (mut time, mut delta, mut value, mut window) = (0i64, 0i64, 0, (0, 0));
        (0..count)
            .map(|at| {
                match at {
                    0 => {
                        let raw = read.varint();
                        time = (raw >> 1) as i64 ^ -((raw & 1) as i64);
                        value = read.bits(64);
                        return (Millis(time), f64::from_bits(value));
                    }
                    1 => delta = read.varint() as i64,
                    _ => {
                        delta += match read.ones(4) {
                            0 => 0,
                            ones => read.signed([14, 17, 20, 64][ones as usize - 1]),
                        }
                    }
                }
                time += delta;
                (Millis(time), read.xor(&mut value, &mut window))
            })
            .collect()
    }

    fn check_floats(samples: &[(Millis, f64)]) {
        let read: Vec<_> = float_chunks(samples).iter().flat_map(floats_in).collect();
        let bits = |list: &[(Millis, f64)]| list.iter().map(|(t, v)| (*t, v.to_bits())).collect::<Vec<_>>();
        assert_eq!(bits(&read), bits(samples));
    }

    #[test]
    fn a_chunk_is_byte_for_byte_as_described() {
        let chunk = &float_chunks(&[(Millis(1), 1.0), (Millis(16), 1.0), (Millis(31), 2.0)])[0];
        // Count 3; time 1 zigzagged; 1.0; delta 15; same value; same delta; 2.0 differs in ten bits after one zero.
        let expect = [0, 3, 2, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0, 15];
        assert_eq!(chunk.data[..12], expect);
        assert_eq!((chunk.min, chunk.max, chunk.encoding), (Millis(1), Millis(31), ChunkEncoding::Xor));
        check_floats(&[(Millis(1), 1.0), (Millis(16), 1.0), (Millis(31), 2.0)]);
        assert!(float_chunks(&[]).is_empty());
    }

    proptest! {
        #[test]
        fn floats_come_back(
            start in -1_000_000_000_000i64..2_000_000_000_000,
            steps in prop::collection::vec((0i64..2_000_000, any::<f64>()), 0..300),
            repeat in any::<bool>(),
        ) {
            let mut time = start;
            let samples: Vec<_> = steps.iter().map(|(step, value)| {
                time += if repeat { 15_000 } else { *step };
                (Millis(time), if repeat { (time % 7) as f64 } else { *value })
            }).collect();
            check_floats(&samples);
        }

        #[test]
        fn histograms_come_back(start in 0i64..2_000_000_000_000, steps in prop::collection::vec((1i64..60_000, 0u32..50), 1..200)) {
            let mut time = start;
            let mut histogram = Histogram {
                schema: 3,
                zero_threshold: 2f64.powi(-128),
                positive_spans: vec![BucketSpan { offset: -3, length: 2 }, BucketSpan { offset: 70, length: 1 }],
                positive: vec![1.0, 2.0, 3.0],
                ..Histogram::default()
            };
            let list: Vec<_> = steps.iter().map(|(step, add)| {
                time += step;
                histogram.positive[1] += f64::from(*add);
                histogram.count += f64::from(*add);
                histogram.sum += f64::from(*add) * 0.1;
                if *add == 7 {
                    histogram.positive[1] = 0.0;
                    histogram.count = 0.0;
                }
                (Millis(time), histogram.clone())
            }).collect();
            let chunks = histogram_chunks(&list);
            let read: Vec<_> = chunks.iter().flat_map(histograms_in).collect();
            let expect: Vec<_> = list.iter().map(|(t, h)| (*t, numbers_of(h).collect::<Vec<_>>())).collect();
            prop_assert_eq!(read, expect);
        }
    }

    /// Times and numbers of a chunk with the layout of the test above.
    fn histograms_in(chunk: &ChunkBytes) -> Vec<(Millis, Vec<f64>)> {
        let mut read = Read(&chunk.data, 0);
        let count = read.bits(16);
        assert_eq!(read.bits(8), 0, "unknown reset");
        assert_eq!(read.bits(8), 116, "2^-128 has a byte of its own");
        assert_eq!(read.varbit_signed(), 3);
        assert_eq!(read.varbit_signed(), 2, "positive spans");
        assert_eq!([read.varbit_signed(), read.varbit_signed()], [2, -3]);
        assert_eq!([read.varbit_signed(), read.varbit_signed()], [1, 70]);
        assert_eq!(read.varbit_signed(), 0, "negative spans");
        let mut time = read.varbit_signed();
        let mut numbers: Vec<(u64, (u32, u32))> = (0..6).map(|_| (read.bits(64), (0, 0))).collect();
        let first = numbers.iter().map(|(bits, _)| f64::from_bits(*bits)).collect();
        let mut delta = 0;
        let rest = (1..count).map(|_| {
            delta += read.varbit_signed();
            time += delta;
            let list = numbers.iter_mut().map(|(value, window)| read.xor(value, window)).collect();
            (Millis(time), list)
        });
        let rest: Vec<_> = rest.collect();
        std::iter::once((chunk.min, first)).chain(rest).collect()
    }

    #[test]
    fn small_numbers_take_few_bits() {
        let check = |bound: f64, width: usize| {
            let mut bits = Bits::with_count(0);
            write_bound(bound, &mut bits);
            assert_eq!((bits.out.len() - 2) * 8 - bits.free as usize, width, "{bound}");
        };
        check(0.0, 5);
        check(0.005, 5);
        check(0.25, 13);
        check(10.0, 24);
        check(-1.0, 65);
        check(0.0001, 65);
        let threshold = |value: f64| {
            let mut bits = Bits::with_count(0);
            write_zero_threshold(value, &mut bits);
            bits.out[2..].to_vec()
        };
        assert_eq!(threshold(0.0), [0]);
        assert_eq!(threshold(2f64.powi(-128)), [116]);
        assert_eq!(threshold(1024.0), [254]);
        assert_eq!(threshold(0.001).len(), 9);
    }

    #[test]
    fn resets_and_gauges_start_chunks_that_say_so() {
        let with = |reset, count| Histogram { reset, count, ..Histogram::default() };
        let list = [
            (Millis(1), with(CounterReset::Unknown, 5.0)),
            (Millis(2), with(CounterReset::Unknown, 6.0)),
            (Millis(3), with(CounterReset::Unknown, 1.0)),
            (Millis(4), with(CounterReset::Yes, 2.0)),
            (Millis(5), with(CounterReset::Gauge, 1.0)),
            (Millis(6), with(CounterReset::Gauge, 0.0)),
        ];
        let chunks = histogram_chunks(&list);
        let heads: Vec<_> = chunks.iter().map(|chunk| (chunk.data[1], chunk.data[2])).collect();
        assert_eq!(heads, [(2, 0), (1, 0), (1, 0x80), (2, 0xc0)]);
    }
}
