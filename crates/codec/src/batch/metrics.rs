//! Metrics: sets, then samples in columns, then the rarer kinds row by row.

use kenning_model::{
    BucketSpan, CounterReset, Exemplar, Histogram, HistogramSample, MetricBatch, MetricKind, MetricMetadata,
    Millis, Sample,
};

use super::sets::{SetDecoder, SetEncoder, put_deltas, put_sets, take_deltas, take_indices, take_sets};
use crate::bytes::{Decoder, Encoder};

pub(super) fn encode(batch: &MetricBatch, encoder: &mut Encoder) {
    put_sets(&batch.series, encoder);
    encoder.size(batch.samples.len());
    put_deltas(batch.samples.iter().map(|s| i64::from(s.series)), encoder);
    put_deltas(batch.samples.iter().map(|s| s.time.0), encoder);
    batch.samples.iter().for_each(|s| encoder.double(s.value));
    encoder.size(batch.histograms.len());
    put_deltas(batch.histograms.iter().map(|h| i64::from(h.series)), encoder);
    put_deltas(batch.histograms.iter().map(|h| h.time.0), encoder);
    batch.histograms.iter().for_each(|h| put_histogram(&h.histogram, encoder));
    put_exemplars(&batch.exemplars, encoder);
    put_all_metadata(&batch.metadata, encoder);
}

pub(super) fn decode(decoder: &mut Decoder<'_>) -> Option<MetricBatch> {
    let series = take_sets(decoder)?;
    let samples = take_samples(decoder)?;
    let histograms = take_histograms(decoder)?;
    let exemplars = take_exemplars(decoder)?;
    let metadata = take_all_metadata(decoder)?;
    Some(MetricBatch { series, samples, histograms, exemplars, metadata, ..MetricBatch::default() })
}

fn take_samples(decoder: &mut Decoder<'_>) -> Option<Vec<Sample>> {
    let count = decoder.size()?;
    let series = take_indices(count, decoder)?;
    let times = take_deltas(count, decoder)?;
    let stamps = series.into_iter().zip(times);
    stamps
        .map(|(series, time)| Some(Sample { series, time: Millis(time), value: decoder.double()? }))
        .collect()
}

fn take_histograms(decoder: &mut Decoder<'_>) -> Option<Vec<HistogramSample>> {
    let count = decoder.size()?;
    let series = take_indices(count, decoder)?;
    let times = take_deltas(count, decoder)?;
    let stamps = series.into_iter().zip(times);
    let sample = |(series, time)| {
        Some(HistogramSample { series, time: Millis(time), histogram: take_histogram(decoder)? })
    };
    stamps.map(sample).collect()
}

pub(super) fn put_histogram(histogram: &Histogram, encoder: &mut Encoder) {
    encoder.byte(match histogram.reset {
        CounterReset::Unknown => 0,
        CounterReset::Yes => 1,
        CounterReset::No => 2,
        CounterReset::Gauge => 3,
    });
    encoder.signed(i64::from(histogram.schema));
    for value in [histogram.zero_threshold, histogram.zero_count, histogram.count, histogram.sum] {
        encoder.double(value);
    }
    for (spans, buckets) in
        [(&histogram.positive_spans, &histogram.positive), (&histogram.negative_spans, &histogram.negative)]
    {
        encoder.size(spans.len());
        for span in spans {
            encoder.signed(i64::from(span.offset));
            encoder.varint(u64::from(span.length));
        }
        put_doubles(buckets, encoder);
    }
    put_doubles(&histogram.custom_bounds, encoder);
}

pub(super) fn take_histogram(decoder: &mut Decoder<'_>) -> Option<Histogram> {
    let reset = match decoder.byte()? {
        0 => CounterReset::Unknown,
        1 => CounterReset::Yes,
        2 => CounterReset::No,
        3 => CounterReset::Gauge,
        _ => return None,
    };
    Some(Histogram {
        reset,
        schema: i32::try_from(decoder.signed()?).ok()?,
        zero_threshold: decoder.double()?,
        zero_count: decoder.double()?,
        count: decoder.double()?,
        sum: decoder.double()?,
        positive_spans: take_spans(decoder)?,
        positive: take_doubles(decoder)?,
        negative_spans: take_spans(decoder)?,
        negative: take_doubles(decoder)?,
        custom_bounds: take_doubles(decoder)?,
    })
}

fn take_spans(decoder: &mut Decoder<'_>) -> Option<Vec<BucketSpan>> {
    let count = decoder.size()?;
    let mut spans = Vec::with_capacity(decoder.capacity(count));
    for _ in 0..count {
        let offset = i32::try_from(decoder.signed()?).ok()?;
        spans.push(BucketSpan { offset, length: decoder.index()? });
    }
    Some(spans)
}

fn put_doubles(values: &[f64], encoder: &mut Encoder) {
    encoder.size(values.len());
    values.iter().for_each(|value| encoder.double(*value));
}

fn take_doubles(decoder: &mut Decoder<'_>) -> Option<Vec<f64>> {
    let count = decoder.size()?;
    let mut values = Vec::with_capacity(decoder.capacity(count) / size_of::<f64>());
    for _ in 0..count {
        values.push(decoder.double()?);
    }
    Some(values)
}

pub(super) fn put_exemplars(exemplars: &[Exemplar], encoder: &mut Encoder) {
    encoder.size(exemplars.len());
    let mut sets = SetEncoder::default();
    for exemplar in exemplars {
        encoder.varint(u64::from(exemplar.series));
        encoder.signed(exemplar.time.0);
        encoder.double(exemplar.value);
        sets.put(&exemplar.labels, encoder);
    }
}

pub(super) fn take_exemplars(decoder: &mut Decoder<'_>) -> Option<Vec<Exemplar>> {
    let count = decoder.size()?;
    let mut exemplars = Vec::with_capacity(decoder.capacity(count) / size_of::<Exemplar>());
    let mut sets = SetDecoder::default();
    for _ in 0..count {
        exemplars.push(Exemplar {
            series: decoder.index()?,
            time: Millis(decoder.signed()?),
            value: decoder.double()?,
            labels: sets.take(decoder)?,
        });
    }
    Some(exemplars)
}

pub(super) fn put_all_metadata(all: &[MetricMetadata], encoder: &mut Encoder) {
    encoder.size(all.len());
    for metadata in all {
        encoder.text(&metadata.metric);
        encoder.byte(metadata.kind as u8);
        encoder.text(&metadata.help);
        encoder.text(&metadata.unit);
    }
}

pub(super) fn take_all_metadata(decoder: &mut Decoder<'_>) -> Option<Vec<MetricMetadata>> {
    let count = decoder.size()?;
    let mut all = Vec::with_capacity(decoder.capacity(count));
    for _ in 0..count {
        all.push(take_metadata(decoder)?);
    }
    Some(all)
}

fn take_metadata(decoder: &mut Decoder<'_>) -> Option<MetricMetadata> {
    Some(MetricMetadata {
        metric: decoder.text()?.to_owned(),
        kind: *MetricKind::ALL.get(usize::from(decoder.byte()?))?,
        help: decoder.text()?.to_owned(),
        unit: decoder.text()?.to_owned(),
    })
}
