//! Metrics whose series are numbers: the payload of write-ahead log records of metrics. A series' labels are written
//! when it first comes in an epoch, later records name it by its number. The picture is in `docs/formats/wal-batch.md`.
//!
//! An epoch begins anew whenever numbers could come to mean something else, so a number that is not defined in its
//! epoch has lost its definition to damage, and is never another series.
//!
//! Promises as those of [`super`]. Absent: keeping the definitions, which is the reader's.

use kenning_model::{HistogramSample, LabelSet, MetricBatch, Millis, Sample};

use super::DecodeError;
use super::metrics::{
    put_all_metadata, put_exemplars, put_histogram, take_all_metadata, take_exemplars, take_histogram,
};
use super::sets::{SetDecoder, SetEncoder, put_deltas, put_runs, take_deltas, take_indices, take_runs};
use crate::bytes::{Decoder, Encoder};

/// The version of the layout, the first byte.
pub const VERSION: u8 = 1;

/// Most series of one record, and one above the highest number.
pub const NUMBERS_MAX: usize = 1 << 24;

/// What a record says of series, before its rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Definitions {
    /// Which epoch the numbers belong to.
    pub epoch: u64,
    /// Series that are new in the epoch.
    pub sets: Vec<(u32, LabelSet)>,
}

/// A record read back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Numbered {
    /// New series.
    pub definitions: Definitions,
    /// The number of each series of the batch.
    pub series: Vec<u32>,
    /// The batch without its label sets.
    pub rows: MetricBatch,
}

/// Appends a batch to `out`: `numbers` are those of its series, by position; `fresh` are the positions of the series
/// that the epoch does not know. Gives the bytes that the definitions took.
pub fn encode(epoch: u64, batch: &MetricBatch, numbers: &[u32], fresh: &[u32], out: &mut Vec<u8>) -> usize {
    let mut encoder = Encoder::after(std::mem::take(out));
    encoder.byte(VERSION);
    encoder.varint(epoch);
    let before = encoder.len();
    put_definitions(batch, numbers, fresh, &mut encoder);
    let definitions = encoder.len() - before;
    encoder.size(numbers.len());
    put_runs(numbers.iter().map(|number| i64::from(*number)), &mut encoder);
    put_rows(batch, &mut encoder);
    *out = encoder.into_bytes();
    definitions
}

/// Reads a record that takes up all of `bytes`.
pub fn decode(bytes: &[u8]) -> Result<Numbered, DecodeError> {
    let mut decoder = Decoder::new(bytes);
    let definitions = take_definitions(&mut decoder)?;
    let read = take_series(&mut decoder).and_then(|series| Some((series, take_rows(&mut decoder)?)));
    let malformed = DecodeError::Malformed { offset: bytes.len() - decoder.remaining() };
    let (series, rows) = read.filter(|_| decoder.remaining() == 0).ok_or(malformed)?;
    Ok(Numbered { definitions, series, rows })
}

/// Reads only what a record defines.
pub fn decode_definitions(bytes: &[u8]) -> Result<Definitions, DecodeError> {
    take_definitions(&mut Decoder::new(bytes))
}

fn put_definitions(batch: &MetricBatch, numbers: &[u32], fresh: &[u32], encoder: &mut Encoder) {
    let new =
        || fresh.iter().filter_map(|at| Some((numbers.get(*at as usize)?, batch.series.get(*at as usize)?)));
    encoder.size(new().count());
    put_runs(new().map(|(number, _)| i64::from(*number)), encoder);
    let mut sets = SetEncoder::default();
    new().for_each(|(_, set)| sets.put(set, encoder));
}

fn take_definitions(decoder: &mut Decoder<'_>) -> Result<Definitions, DecodeError> {
    match decoder.byte() {
        Some(VERSION) => {}
        Some(version) => return Err(DecodeError::Version(version)),
        None => return Err(DecodeError::Malformed { offset: 0 }),
    }
    let total = decoder.remaining() + 1;
    let mut read = || {
        let epoch = decoder.varint()?;
        let numbers = take_series(decoder)?;
        // Each set takes a byte at least.
        if numbers.len() > decoder.remaining() {
            return None;
        }
        let mut sets = SetDecoder::default();
        let sets = numbers.into_iter().map(|number| Some((number, sets.take(decoder)?)));
        Some(Definitions { epoch, sets: sets.collect::<Option<Vec<_>>>()? })
    };
    let definitions = read();
    definitions.ok_or(DecodeError::Malformed { offset: total - decoder.remaining() })
}

fn take_series(decoder: &mut Decoder<'_>) -> Option<Vec<u32>> {
    let count = decoder.size().filter(|count| *count <= NUMBERS_MAX)?;
    let numbers = take_runs(count, decoder)?;
    let number = |n: i64| u32::try_from(n).ok().filter(|n| (*n as usize) < NUMBERS_MAX);
    numbers.into_iter().map(number).collect()
}

fn put_rows(batch: &MetricBatch, encoder: &mut Encoder) {
    encoder.size(batch.samples.len());
    put_runs(batch.samples.iter().map(|sample| i64::from(sample.series)), encoder);
    put_runs(batch.samples.iter().map(|sample| sample.time.0), encoder);
    encoder.reserve(batch.samples.len() * size_of::<f64>());
    batch.samples.iter().for_each(|sample| encoder.double(sample.value));
    put_starts(&batch.starts, encoder);
    encoder.size(batch.histograms.len());
    put_deltas(batch.histograms.iter().map(|sample| i64::from(sample.series)), encoder);
    put_deltas(batch.histograms.iter().map(|sample| sample.time.0), encoder);
    batch.histograms.iter().for_each(|sample| put_histogram(&sample.histogram, encoder));
    put_starts(&batch.histogram_starts, encoder);
    put_exemplars(&batch.exemplars, encoder);
    put_all_metadata(&batch.metadata, encoder);
}

fn take_rows(decoder: &mut Decoder<'_>) -> Option<MetricBatch> {
    let samples = take_samples(decoder)?;
    let starts = take_starts(samples.len(), decoder)?;
    let histograms = take_histograms(decoder)?;
    let histogram_starts = take_starts(histograms.len(), decoder)?;
    let (exemplars, metadata) = (take_exemplars(decoder)?, take_all_metadata(decoder)?);
    Some(MetricBatch {
        samples,
        histograms,
        exemplars,
        metadata,
        starts,
        histogram_starts,
        ..Default::default()
    })
}

fn take_samples(decoder: &mut Decoder<'_>) -> Option<Vec<Sample>> {
    // The values alone take eight bytes each: no claim is believed beyond them.
    let count = decoder.size().filter(|count| *count <= decoder.remaining() / size_of::<f64>())?;
    let (series, times) = (take_runs(count, decoder)?, take_runs(count, decoder)?);
    let (values, rest) = decoder.raw(count * size_of::<f64>())?.as_chunks::<8>();
    debug_assert!(rest.is_empty());
    let rows = series.into_iter().zip(times).zip(values);
    rows.map(|((series, time), value)| {
        let series = u32::try_from(series).ok()?;
        Some(Sample { series, time: Millis(time), value: f64::from_le_bytes(*value) })
    })
    .collect()
}

fn take_histograms(decoder: &mut Decoder<'_>) -> Option<Vec<HistogramSample>> {
    let count = decoder.size()?;
    let series = take_indices(count, decoder)?;
    let times = take_deltas(count, decoder)?;
    let sample = |(series, time)| {
        Some(HistogramSample { series, time: Millis(time), histogram: take_histogram(decoder)? })
    };
    series.into_iter().zip(times).map(sample).collect()
}

fn put_starts(starts: &[Millis], encoder: &mut Encoder) {
    encoder.size(starts.len());
    put_runs(starts.iter().map(|start| start.0), encoder);
}

fn take_starts(items: usize, decoder: &mut Decoder<'_>) -> Option<Vec<Millis>> {
    let count = decoder.size().filter(|count| *count <= items)?;
    Some(take_runs(count, decoder)?.into_iter().map(Millis).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn batch() -> impl Strategy<Value = (MetricBatch, Vec<u32>, Vec<u32>)> {
        let sample = (0u32..6, any::<i64>(), any::<u64>()).prop_map(|(series, time, bits)| Sample {
            series,
            time: Millis(time),
            value: f64::from_bits(bits),
        });
        let regular = (0u32..6, any::<i32>()).prop_map(|(series, value)| Sample {
            series,
            time: Millis(1_700_000_000_000),
            value: f64::from(value),
        });
        let samples = prop_oneof![vec(sample, 0..9), vec(regular, 0..40)];
        (vec("[a-z]{1,5}", 0..6), samples, vec(any::<i64>(), 0..9), vec(0u32..1000, 6), vec(any::<bool>(), 6))
            .prop_map(|(names, samples, starts, numbers, new)| {
                let series: Vec<_> = names.iter().map(|name| LabelSet::from_pairs([("n", name)])).collect();
                let starts = starts.into_iter().take(samples.len()).map(Millis).collect();
                let count = series.len();
                let fresh = (0..count as u32).filter(|at| new[*at as usize]).collect();
                let batch = MetricBatch { series, samples, starts, ..MetricBatch::default() };
                (batch, numbers[..count].to_vec(), fresh)
            })
    }

    proptest! {
        #[test]
        fn records_come_back_and_cuts_are_refused((batch, numbers, fresh) in batch(), epoch: u64) {
            let mut bytes = Vec::new();
            encode(epoch, &batch, &numbers, &fresh, &mut bytes);
            let read = decode(&bytes).unwrap();
            let sets: Vec<_> =
                fresh.iter().map(|at| (numbers[*at as usize], batch.series[*at as usize].clone())).collect();
            prop_assert_eq!(&read.definitions, &Definitions { epoch, sets });
            prop_assert_eq!(&decode_definitions(&bytes).unwrap(), &read.definitions);
            prop_assert_eq!(&read.series, &numbers);
            prop_assert_eq!(&read.rows.starts, &batch.starts);
            let bits = |batch: &MetricBatch| -> Vec<_> {
                batch.samples.iter().map(|s| (s.series, s.time, s.value.to_bits())).collect()
            };
            prop_assert_eq!(bits(&read.rows), bits(&batch));
            for cut in 0..bytes.len() {
                prop_assert!(decode(&bytes[..cut]).is_err(), "cut at {}", cut);
            }
        }

        #[test]
        fn decoding_any_bytes_never_panics(bytes in vec(any::<u8>(), 0..200)) {
            let _ = decode(&[&[VERSION], &bytes[..]].concat());
            let _ = decode(&bytes);
        }
    }

    #[test]
    fn a_request_of_known_series_costs_little_more_than_its_values() {
        let samples = (0..5000).map(|series| Sample { series, time: Millis(1_700_000_000_000), value: 0.5 });
        let series = (0..5000).map(|n| LabelSet::from_pairs([("n", n.to_string())])).collect();
        let batch = MetricBatch { series, samples: samples.collect(), ..MetricBatch::default() };
        let numbers: Vec<u32> = (5000..10_000).collect();
        let mut bytes = Vec::new();
        assert_eq!(encode(7, &batch, &numbers, &[], &mut bytes), 1);
        assert!(bytes.len() < 5000 * 8 + 64, "{}", bytes.len());
    }
}
