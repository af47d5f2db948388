//! The protobuf form: `PushRequest { streams: [{ labels, entries: [{ timestamp, line, structuredMetadata }], hash }] }`.

use kenning_model::{LabelSet, LogBatch, Nanos, Reason};

use super::labels;
use crate::error::{DecodeError, Decoded, Fault};
use crate::limits::DecodeLimits;
use crate::protobuf::{Field, Reader};
use crate::records::{Entry, Records};

/// Reads a decompressed `PushRequest`. A stream whose labels are bad is left out with all its lines.
pub fn decode_push_protobuf(body: &[u8], limits: &DecodeLimits) -> Result<Decoded<LogBatch>, DecodeError> {
    let mut builder = Records::new(limits).expect(body.len());
    let mut request = Reader::new(body);
    while let Some(field) = request.next()? {
        if field.number == 1 {
            stream(&mut builder, field.message("streams")?)?;
        }
    }
    Ok(builder.finish())
}

fn stream(builder: &mut Records<'_>, mut message: Reader<'_>) -> Result<(), DecodeError> {
    let index = stream_labels(builder, message)?;
    let labels = index.map_or_else(|_| LabelSet::empty(), |index| builder.labels(index));
    while let Some(field) = message.next()? {
        if field.number != 2 {
            continue;
        }
        builder.count_entry()?;
        let outcome = index.and_then(|index| entry(builder, index, &labels, &field));
        if let Err(fault) = outcome {
            fault.count(&mut builder.rejected, 1);
        }
    }
    Ok(())
}

/// The outer error is for bytes that cannot be walked at all.
fn stream_labels(builder: &mut Records<'_>, mut message: Reader<'_>) -> Result<Result<u32, Fault>, Fault> {
    let (mut text, mut at) = (Ok(""), message.offset());
    while let Some(field) = message.next()? {
        if field.number == 1 {
            (text, at) = (field.text("stream.labels"), field.at);
        }
    }
    let pairs = text.and_then(|text| {
        labels::pairs(text, builder.limits.labels)
            .map_err(|(_, what)| Fault::new(Reason::Malformed, at, "stream labels", what))
    });
    Ok(pairs.and_then(|pairs| {
        let mut pairs: Vec<_> = pairs.iter().map(|(name, value)| (*name, value.as_ref())).collect();
        builder.stream(&mut pairs, at)
    }))
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
