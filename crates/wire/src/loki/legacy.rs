//! The JSON form of `/api/prom/push`: `{"streams": [{"labels": "{app=\"a\"}", "entries": [{"ts": "<RFC 3339>", "line":
//! "<line>"}]}]}`. Definition: Loki HTTP API before 1.0, kept by Loki's distributors and by old shippers.

use std::borrow::Cow;

use kenning_model::{LabelSet, LogBatch, Reason};

use super::labels;
use crate::error::{DecodeError, Decoded, Fault};
use crate::instant;
use crate::json::{Json, Kind};
use crate::limits::DecodeLimits;
use crate::records::{Entry, Records};

/// Levels of JSON in a push: request, streams, stream, entries, entry, metadata; and room for what is ignored.
const LEVELS_MAX: usize = 16;

/// Reads a legacy JSON push. A bad line is left out; a stream whose labels are bad is left out with all its lines.
pub fn decode_push_legacy_json(body: &[u8], limits: &DecodeLimits) -> Result<Decoded<LogBatch>, DecodeError> {
    let text = std::str::from_utf8(body).map_err(|error| DecodeError::Malformed {
        at: error.valid_up_to(),
        what: "the JSON document is not UTF-8".to_owned(),
    })?;
    let mut json = Json::new(text, LEVELS_MAX);
    let mut records = Records::new(limits);
    json.open(b'{')?;
    let mut first = true;
    while let Some(key) = json.key(&mut first)? {
        if key == "streams" && !json.take_null()? {
            json.open(b'[')?;
            let mut first = true;
            while json.element(&mut first)? {
                stream(&mut json, &mut records)?;
            }
        } else if key != "streams" {
            json.skip()?;
        }
    }
    json.end()?;
    Ok(records.finish())
}

/// Reads a stream twice over: labels may follow the lines they belong to.
fn stream(json: &mut Json<'_>, records: &mut Records<'_>) -> Result<(), DecodeError> {
    let at = json.offset();
    let (mut text, mut entries) = (Ok(Cow::Borrowed("")), None);
    json.open(b'{')?;
    let mut first = true;
    while let Some(key) = json.key(&mut first)? {
        let mut start = *json;
        json.skip()?;
        match key.as_ref() {
            "labels" => text = start.text(),
            "entries" => entries = Some(start),
            _ => {}
        }
    }
    let stream = text.and_then(|text| {
        let pairs = labels::pairs(&text, records.limits.labels)
            .map_err(|(_, what)| Fault::new(Reason::Malformed, at, "stream labels", what))?;
        let mut pairs: Vec<_> = pairs.iter().map(|(name, value)| (*name, value.as_ref())).collect();
        records.stream(&mut pairs, at)
    });
    let Some(mut entries) = entries else { return Ok(()) };
    if entries.take_null()? { Ok(()) } else { lines(&mut entries, records, stream) }
}

fn lines(
    json: &mut Json<'_>,
    records: &mut Records<'_>,
    stream: Result<u32, Fault>,
) -> Result<(), DecodeError> {
    let labels = stream.map_or_else(|_| LabelSet::empty(), |index| records.labels(index));
    json.open(b'[')?;
    let mut first = true;
    while json.element(&mut first)? {
        records.count_entry()?;
        let start = *json;
        let outcome = stream.and_then(|stream| line(json, records, stream, &labels));
        if let Err(fault) = outcome {
            *json = start;
            json.skip()?;
            fault.count(&mut records.rejected, 1);
        }
    }
    Ok(())
}

fn line(json: &mut Json<'_>, records: &mut Records<'_>, stream: u32, labels: &LabelSet) -> Result<(), Fault> {
    let at = json.offset();
    let (mut time, mut line) = (None, None);
    json.open(b'{')?;
    let mut first = true;
    while let Some(key) = json.key(&mut first)? {
        match (key.as_ref(), json.peek()?) {
            ("ts" | "timestamp", Kind::Text) => {
                let text = json.text()?;
                let problem = "is not an RFC 3339 time";
                let fault = || Fault::new(Reason::Malformed, at, "entry ts", problem);
                time = Some(instant::rfc3339(&text).ok_or_else(fault)?);
            }
            ("line", _) => line = Some(json.text().map_err(|fault| Fault { field: "log line", ..fault })?),
            _ => json.skip()?,
        }
    }
    let (Some(time), Some(line)) = (time, line) else {
        return Err(Fault::new(Reason::Missing, at, "entry", "lacks its ts or its line"));
    };
    records.entry(stream, labels, Entry { time, line: &line, metadata: Vec::new(), at })
}
