//! The protobuf form: `PushRequest { streams: [{ labels, entries: [{ timestamp, line, structuredMetadata }], hash }] }`.

use kenning_model::{LabelSet, LogBatch, Nanos, Reason};

use super::labels;
use crate::error::{DecodeError, Decoded, Fault};
use crate::limits::DecodeLimits;
use crate::protobuf::{Field, Reader};
use crate::records::{Entry, Records};
use crate::series_cache::{Expected, Found, Fresh, Known, SeriesCache};

/// Reads a decompressed `PushRequest`. A stream whose labels are bad is left out with all its lines.
pub fn decode_push_protobuf(body: &[u8], limits: &DecodeLimits) -> Result<Decoded<LogBatch>, DecodeError> {
    decode_push_protobuf_cached(body, limits, &SeriesCache::new(0))
}

/// As [`decode_push_protobuf`], remembering the label sets of streams by the text they were sent as: a stream that came
/// before is not parsed again, and its set is shared by all requests. The cache may be shared by tenants and by threads,
/// but not with other protocols.
pub fn decode_push_protobuf_cached(
    body: &[u8],
    limits: &DecodeLimits,
    cache: &SeriesCache,
) -> Result<Decoded<LogBatch>, DecodeError> {
    let mut decoder = Decoder {
        records: Records::new(limits).expect(body.len()),
        known: cache.read(),
        expected: Expected::default(),
        fresh: Vec::new(),
    };
    let mut request = Reader::new(body);
    while let Some(field) = request.next()? {
        if field.number == 1 {
            decoder.stream(field.message("streams")?)?;
        }
    }
    let Decoder { records, known, fresh, .. } = decoder;
    drop(known);
    cache.remember(fresh);
    Ok(records.finish())
}

struct Decoder<'l, 'c> {
    records: Records<'l>,
    known: Known<'c>,
    expected: Expected,
    fresh: Vec<Fresh>,
}

impl Decoder<'_, '_> {
    fn stream(&mut self, mut message: Reader<'_>) -> Result<(), DecodeError> {
        let index = self.stream_labels(message)?;
        let records = &mut self.records;
        let labels = index.map_or_else(|_| LabelSet::empty(), |index| records.labels(index));
        while let Some(field) = message.next()? {
            if field.number != 2 {
                continue;
            }
            records.count_entry()?;
            let outcome = index.and_then(|index| entry(records, index, &labels, &field));
            if let Err(fault) = outcome {
                fault.count(&mut records.rejected, 1);
            }
        }
        Ok(())
    }

    /// The outer error is for bytes that cannot be walked at all.
    fn stream_labels(&mut self, mut message: Reader<'_>) -> Result<Result<u32, Fault>, Fault> {
        let (mut text, mut at) = (Ok(""), message.offset());
        while let Some(field) = message.next()? {
            if field.number == 1 {
                (text, at) = (field.text("stream.labels"), field.at);
            }
        }
        Ok(text.and_then(|text| self.stream_of(text, at)))
    }

    /// The index of the stream with these labels.
    fn stream_of(&mut self, text: &str, at: usize) -> Result<u32, Fault> {
        let sent = text.as_bytes();
        let hash = match self.known.find(sent, &mut self.expected, self.records.limits) {
            Found::Distinct(labels) | Found::Current(labels) => return Ok(self.records.known_stream(labels)),
            Found::Old(hash, labels) => {
                self.fresh.push(Fresh::new(hash, sent, labels.clone()));
                return Ok(self.records.known_stream(labels));
            }
            Found::Nothing(hash) => hash,
        };
        let pairs = labels::pairs(text, self.records.limits.labels)
            .map_err(|(_, what)| Fault::new(Reason::Malformed, at, "stream labels", what))?;
        let mut pairs: Vec<_> = pairs.iter().map(|(name, value)| (*name, value.as_ref())).collect();
        let stream = self.records.stream(&mut pairs, at)?;
        self.fresh.push(Fresh::new(hash, sent, self.records.labels(stream)));
        Ok(stream)
    }
}

fn entry(builder: &mut Records<'_>, stream: u32, labels: &LabelSet, field: &Field<'_>) -> Result<(), Fault> {
    let mut message = field.message("entry")?;
    let (mut time, mut line) = (Nanos(0), "");
    let mut metadata = Vec::new();
    while let Some(field) = message.next()? {
        match field.number {
            1 => time = timestamp(&field)?,
            2 => line = field.text("entry.line")?,
            3 => metadata.push(pair(&field)?),
            _ => {}
        }
        if metadata.len() > builder.limits.attributes {
            let limit = builder.limits.attributes;
            return Err(Fault::over(
                Reason::TooManyLabels,
                field.at,
                "structured metadata",
                limit,
                "entries",
            ));
        }
    }
    builder.entry(stream, labels, Entry { time, line, metadata, at: field.at })
}

/// `google.protobuf.Timestamp`; instants beyond 64 bits of nanoseconds become the nearest that fits.
fn timestamp(field: &Field<'_>) -> Result<Nanos, Fault> {
    let mut message = field.message("entry.timestamp")?;
    let (mut seconds, mut nanos) = (0, 0);
    while let Some(field) = message.next()? {
        match field.number {
            1 => seconds = field.varint("timestamp.seconds")? as i64,
            2 => nanos = i64::from(field.varint("timestamp.nanos")? as i32),
            _ => {}
        }
    }
    Ok(Nanos(seconds.saturating_mul(1_000_000_000).saturating_add(nanos)))
}

fn pair<'a>(field: &Field<'a>) -> Result<(&'a str, &'a str), Fault> {
    let mut message = field.message("structured_metadata")?;
    let (mut name, mut value) = ("", "");
    while let Some(field) = message.next()? {
        match field.number {
            1 => name = field.text("structured_metadata.name")?,
            2 => value = field.text("structured_metadata.value")?,
            _ => {}
        }
    }
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// A request of streams with one line each.
    fn request(streams: &[String]) -> Vec<u8> {
        let field = |tag: u8, bytes: &[u8]| [&[tag, bytes.len() as u8], bytes].concat();
        let entry = field(0x12, &[field(0x0a, &[0x08, 7]), field(0x12, b"line")].concat());
        let stream = |labels: &String| field(0x0a, &[field(0x0a, labels.as_bytes()), entry.clone()].concat());
        streams.iter().flat_map(stream).collect()
    }

    proptest! {
        #[test]
        fn what_is_remembered_is_what_parsing_gives(
            requests in vec(vec("\\{[ab]=\"[xy]{0,2}\"(, ?(a|app|9)=\"[x-z]\"){0,2}\\}|[{}ab]{0,2}", 0..5), 1..5),
            bytes_max in prop_oneof![Just(0usize), Just(300), Just(1 << 20)],
            labels_max in 1usize..4,
        ) {
            let cache = SeriesCache::new(bytes_max);
            let limits = DecodeLimits { labels: labels_max, ..DecodeLimits::default() };
            for (at, streams) in requests.iter().enumerate() {
                let limits = if at % 2 == 0 { DecodeLimits::default() } else { limits.clone() };
                let body = request(streams);
                let plain = decode_push_protobuf(&body, &limits).unwrap();
                let cached = decode_push_protobuf_cached(&body, &limits, &cache).unwrap();
                prop_assert_eq!(plain.batch, cached.batch);
                prop_assert_eq!(format!("{:?}", plain.rejected), format!("{:?}", cached.rejected));
            }
        }
    }
}
