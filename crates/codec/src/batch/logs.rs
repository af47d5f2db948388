//! Logs: a column after another; a column of ids that nobody set is one byte.

use kenning_model::{LogBatch, Nanos, Severity, SpanId, TextColumn, TraceId};

use super::sets::{SetDecoder, SetEncoder, put_deltas, put_sets, take_deltas, take_indices, take_sets};
use crate::bytes::{Decoder, Encoder};

const IDS_ABSENT: u8 = 0;
const IDS_PRESENT: u8 = 1;
const SAME_METADATA: u8 = 0;
const NEW_METADATA: u8 = 1;

pub(super) fn encode(batch: &LogBatch, encoder: &mut Encoder) {
    put_sets(&batch.streams, encoder);
    encoder.size(batch.len());
    put_deltas(batch.stream.iter().map(|stream| i64::from(*stream)), encoder);
    put_deltas(batch.time.iter().map(|time| time.0), encoder);
    batch.severity.iter().for_each(|severity| encoder.byte(severity.0));
    put_ids(batch.trace_id.iter().map(|id| &id.0), encoder);
    put_ids(batch.span_id.iter().map(|id| &id.0), encoder);
    batch.line.iter().for_each(|line| encoder.size(line.len()));
    encoder.raw(batch.line.text().as_bytes());
    put_metadata(batch, encoder);
}

pub(super) fn decode(decoder: &mut Decoder<'_>) -> Option<LogBatch> {
    let streams = take_sets(decoder)?;
    let count = decoder.size()?;
    let stream = take_indices(count, decoder)?;
    let time = take_deltas(count, decoder)?.into_iter().map(Nanos).collect();
    let severity = decoder.raw(count)?.iter().map(|byte| Severity(*byte)).collect();
    let trace_id = take_ids(count, decoder)?.into_iter().map(TraceId).collect();
    let span_id = take_ids(count, decoder)?.into_iter().map(SpanId).collect();
    let line = take_lines(count, decoder)?;
    let metadata = take_metadata(count, decoder)?;
    Some(LogBatch { streams, stream, time, severity, trace_id, span_id, line, metadata })
}

fn put_ids<'a, const N: usize>(ids: impl Iterator<Item = &'a [u8; N]> + Clone, encoder: &mut Encoder) {
    if ids.clone().all(|id| *id == [0; N]) {
        return encoder.byte(IDS_ABSENT);
    }
    encoder.byte(IDS_PRESENT);
    ids.for_each(|id| encoder.raw(id));
}

/// `count` is the length of columns read before, so it is no mere claim.
fn take_ids<const N: usize>(count: usize, decoder: &mut Decoder<'_>) -> Option<Vec<[u8; N]>> {
    match decoder.byte()? {
        IDS_ABSENT => Some(vec![[0; N]; count]),
        IDS_PRESENT => (0..count).map(|_| decoder.array()).collect(),
        _ => None,
    }
}

fn take_lines(count: usize, decoder: &mut Decoder<'_>) -> Option<TextColumn> {
    let lengths = (0..count).map(|_| decoder.size()).collect::<Option<Vec<_>>>()?;
    let all = lengths.iter().try_fold(0usize, |sum, length| sum.checked_add(*length))?;
    let text = std::str::from_utf8(decoder.raw(all)?).ok()?;
    TextColumn::from_lengths(text.to_owned(), &lengths)
}

fn put_metadata(batch: &LogBatch, encoder: &mut Encoder) {
    let mut sets = SetEncoder::default();
    let mut before = None;
    for metadata in &batch.metadata {
        if before == Some(metadata) {
            encoder.byte(SAME_METADATA);
        } else {
            encoder.byte(NEW_METADATA);
            sets.put(metadata, encoder);
            before = Some(metadata);
        }
    }
}

fn take_metadata(count: usize, decoder: &mut Decoder<'_>) -> Option<Vec<kenning_model::LabelSet>> {
    let mut sets = SetDecoder::default();
    let mut metadata = Vec::with_capacity(decoder.capacity(count));
    for _ in 0..count {
        let set = match decoder.byte()? {
            SAME_METADATA => metadata.last().cloned()?,
            NEW_METADATA => sets.take(decoder)?,
            _ => return None,
        };
        metadata.push(set);
    }
    Some(metadata)
}
