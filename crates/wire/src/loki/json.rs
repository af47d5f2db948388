//! The JSON form: `{"streams": [{"stream": {"app": "a"}, "values": [["<ns>", "<line>", {"k": "v"}]]}]}`.

use std::borrow::Cow;

use kenning_model::{LabelSet, LogBatch, Nanos, Reason};

use crate::error::{DecodeError, Decoded, Fault};
use crate::json::{Json, Kind};
use crate::limits::DecodeLimits;
use crate::records::{Entry, Records};

/// Levels of JSON in a push: request, streams, stream, values, entry, metadata; and room for what is ignored.
const LEVELS_MAX: usize = 16;

/// A member whose value is a text.
type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// Reads a JSON push. A bad line is left out; a stream whose labels are bad is left out with all its lines.
pub fn decode_push_json(body: &[u8], limits: &DecodeLimits) -> Result<Decoded<LogBatch>, DecodeError> {
    let text = std::str::from_utf8(body).map_err(|error| DecodeError::Malformed {
        at: error.valid_up_to(),
        what: "the JSON document is not UTF-8".to_owned(),
    })?;
    let mut json = Json::new(text, LEVELS_MAX);
    let mut builder = Records::new(limits);
    json.open(b'{')?;
    let mut first = true;
    while let Some(key) = json.key(&mut first)? {
        if key == "streams" && !json.take_null()? {
            streams(&mut json, &mut builder)?;
        } else if key != "streams" {
            json.skip()?;
        }
    }
    json.end()?;
    Ok(builder.finish())
}

fn streams(json: &mut Json<'_>, builder: &mut Records<'_>) -> Result<(), DecodeError> {
    json.open(b'[')?;
    let mut first = true;
    while json.element(&mut first)? {
        stream(json, builder)?;
    }
    Ok(())
}

/// Reads a stream twice over: labels may follow the lines they belong to.
fn stream(json: &mut Json<'_>, builder: &mut Records<'_>) -> Result<(), DecodeError> {
    let at = json.offset();
    let mut labels = Ok(Vec::new());
    let mut values = None;
    json.open(b'{')?;
    let mut first = true;
    while let Some(key) = json.key(&mut first)? {
        let start = *json;
        json.skip()?;
        match key.as_ref() {
            "stream" => labels = texts(&mut start.clone(), builder.limits.labels),
            "values" => values = Some(start),
            _ => {}
        }
    }
    let index = labels.and_then(|labels| {
        let mut pairs: Vec<_> = labels.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect();
        builder.stream(&mut pairs, at)
    });
    let Some(mut values) = values else { return Ok(()) };
    if values.take_null()? { Ok(()) } else { lines(&mut values, builder, index) }
}

fn lines(
    json: &mut Json<'_>,
    builder: &mut Records<'_>,
    stream: Result<u32, Fault>,
) -> Result<(), DecodeError> {
    let labels = stream.map_or_else(|_| LabelSet::empty(), |index| builder.labels(index));
    json.open(b'[')?;
    let mut first = true;
    while json.element(&mut first)? {
        builder.count_entry()?;
        let start = *json;
        let outcome = stream.and_then(|stream| line(json, builder, stream, &labels));
        if let Err(fault) = outcome {
            *json = start;
            json.skip()?;
            fault.count(&mut builder.rejected, 1);
        }
    }
    Ok(())
}

fn line(json: &mut Json<'_>, builder: &mut Records<'_>, stream: u32, labels: &LabelSet) -> Result<(), Fault> {
    let at = json.offset();
    json.open(b'[')?;
    let mut first = true;
    let mut needed = |json: &mut Json<'_>| match json.element(&mut first)? {
        true => Ok(()),
        false => Err(Fault::new(Reason::Missing, at, "values entry", "lacks its time or its line")),
    };
    needed(json)?;
    let time = time(json)?;
    needed(json)?;
    let line = json.text().map_err(|fault| Fault { field: "log line", ..fault })?;
    let mut metadata = Vec::new();
    while json.element(&mut first)? {
        if !json.take_null()? {
            metadata = texts(json, builder.limits.attributes)?;
        }
    }
    let metadata: Vec<_> = metadata.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect();
    builder.entry(stream, labels, Entry { time, line: &line, metadata, at })
}

/// Nanoseconds as text; a number is taken too.
fn time(json: &mut Json<'_>) -> Result<Nanos, Fault> {
    let at = json.offset();
    let text = match json.peek()? {
        Kind::Number => Cow::Borrowed(json.number()?),
        _ => json.text().map_err(|fault| Fault { field: "timestamp", ..fault })?,
    };
    let nanos = text.parse().map(Nanos);
    nanos.map_err(|_| {
        Fault::new(Reason::Malformed, at, "timestamp", "is not nanoseconds since 1970 as a text")
    })
}

/// An object whose values are texts; Loki takes no others.
fn texts<'a>(json: &mut Json<'a>, max: usize) -> Result<Vec<Pair<'a>>, Fault> {
    let mut pairs = Vec::new();
    json.open(b'{')?;
    let mut first = true;
    while let Some(key) = json.key(&mut first)? {
        if pairs.len() >= max {
            return Err(Fault::over(
                Reason::TooManyLabels,
                json.offset(),
                "labels or metadata",
                max,
                "entries",
            ));
        }
        let value = json.text().map_err(|fault| Fault { field: "label or metadata value", ..fault })?;
        pairs.push((key, value));
    }
    Ok(pairs)
}
