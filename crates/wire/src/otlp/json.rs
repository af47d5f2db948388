//! OTLP/JSON rewritten as OTLP protobuf, by schema. Definition: OTLP specification "JSON Protobuf Encoding": ids are
//! hex (base64 is taken too), 64-bit integers may be texts, enums are numbers (names are taken too), unknown fields are ignored, field names
//! are lowerCamelCase (snake_case is taken too, as protobuf's JSON mapping demands).
//!
//! One bad span, record or point is left out and counted; broken JSON fails the request.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::borrow::Cow;

use kenning_model::{Reason, Rejected, Signal};

use crate::error::{DecodeError, Fault};
use crate::json::{Json, Kind};
use crate::limits::DecodeLimits;
use crate::protobuf::Writer;

/// Levels of JSON from the request down to an attribute's value: request, groups, group, scopes, scope, metrics,
/// metric, data, points, point, exemplars, exemplar, attributes, attribute, and room.
const LEVELS_AROUND_VALUES: usize = 20;
/// Levels of JSON that one level of a nested value takes: `{"arrayValue":{"values":[` and, for maps, the entry.
const LEVELS_PER_VALUE: usize = 4;

/// How a field of the schema is written.
#[derive(Clone, Copy)]
enum Shape {
    Text,
    /// Ids: hex in JSON.
    Hex,
    /// Bytes: base64 in JSON.
    Base64,
    Bool,
    /// `uint64`, `uint32`, `int64` as varint.
    Varint,
    Zigzag,
    Fixed64,
    Fixed32,
    Double,
    /// A number, or one of the names; the name's index plus `base` is its number.
    Enum {
        prefix: &'static str,
        names: &'static [&'static str],
    },
    Message(&'static [Entry]),
    /// A message that holds items: when it is bad as a whole, its items are counted and left out.
    Group(&'static [Entry]),
    /// A message that may be left out on its own.
    Item(&'static [Entry]),
    /// `AnyValue`, which contains itself.
    Value,
}

/// A field: name in lowerCamelCase, number, shape, repeated or not.
struct Entry {
    name: &'static str,
    number: u32,
    shape: Shape,
    many: bool,
}

const fn one(name: &'static str, number: u32, shape: Shape) -> Entry {
    Entry { name, number, shape, many: false }
}

const fn many(name: &'static str, number: u32, shape: Shape) -> Entry {
    Entry { name, number, shape, many: true }
}

const VALUE: &[Entry] = &[
    one("stringValue", 1, Shape::Text),
    one("boolValue", 2, Shape::Bool),
    one("intValue", 3, Shape::Varint),
    one("doubleValue", 4, Shape::Double),
    one("arrayValue", 5, Shape::Message(&[many("values", 1, Shape::Value)])),
    one("kvlistValue", 6, Shape::Message(&[many("values", 1, Shape::Message(KEY_VALUE))])),
    one("bytesValue", 7, Shape::Base64),
];

const KEY_VALUE: &[Entry] = &[one("key", 1, Shape::Text), one("value", 2, Shape::Value)];

const RESOURCE: &[Entry] = &[many("attributes", 1, Shape::Message(KEY_VALUE))];

const SCOPE: &[Entry] = &[
    one("name", 1, Shape::Text),
    one("version", 2, Shape::Text),
    many("attributes", 3, Shape::Message(KEY_VALUE)),
];

const EVENT: &[Entry] = &[
    one("timeUnixNano", 1, Shape::Fixed64),
    one("name", 2, Shape::Text),
    many("attributes", 3, Shape::Message(KEY_VALUE)),
];

const LINK: &[Entry] = &[
    one("traceId", 1, Shape::Hex),
    one("spanId", 2, Shape::Hex),
    one("traceState", 3, Shape::Text),
    many("attributes", 4, Shape::Message(KEY_VALUE)),
];

const SPAN_KIND: Shape = Shape::Enum {
    prefix: "SPAN_KIND_",
    names: &["UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"],
};

const STATUS: &[Entry] = &[
    one("message", 2, Shape::Text),
    one("code", 3, Shape::Enum { prefix: "STATUS_CODE_", names: &["UNSET", "OK", "ERROR"] }),
];

const SPAN: &[Entry] = &[
    one("traceId", 1, Shape::Hex),
    one("spanId", 2, Shape::Hex),
    one("traceState", 3, Shape::Text),
    one("parentSpanId", 4, Shape::Hex),
    one("name", 5, Shape::Text),
    one("kind", 6, SPAN_KIND),
    one("startTimeUnixNano", 7, Shape::Fixed64),
    one("endTimeUnixNano", 8, Shape::Fixed64),
    many("attributes", 9, Shape::Message(KEY_VALUE)),
    many("events", 11, Shape::Message(EVENT)),
    many("links", 13, Shape::Message(LINK)),
    one("status", 15, Shape::Message(STATUS)),
];

const SEVERITY: Shape = Shape::Enum {
    prefix: "SEVERITY_NUMBER_",
    names: &[
        "UNSPECIFIED",
        "TRACE",
        "TRACE2",
        "TRACE3",
        "TRACE4",
        "DEBUG",
        "DEBUG2",
        "DEBUG3",
        "DEBUG4",
        "INFO",
        "INFO2",
        "INFO3",
        "INFO4",
        "WARN",
        "WARN2",
        "WARN3",
        "WARN4",
        "ERROR",
        "ERROR2",
        "ERROR3",
        "ERROR4",
        "FATAL",
        "FATAL2",
        "FATAL3",
        "FATAL4",
    ],
};

const LOG_RECORD: &[Entry] = &[
    one("timeUnixNano", 1, Shape::Fixed64),
    one("severityNumber", 2, SEVERITY),
    one("severityText", 3, Shape::Text),
    one("body", 5, Shape::Value),
    many("attributes", 6, Shape::Message(KEY_VALUE)),
    one("flags", 8, Shape::Fixed32),
    one("traceId", 9, Shape::Hex),
    one("spanId", 10, Shape::Hex),
    one("observedTimeUnixNano", 11, Shape::Fixed64),
    one("eventName", 12, Shape::Text),
];

const EXEMPLAR: &[Entry] = &[
    one("timeUnixNano", 2, Shape::Fixed64),
    one("asDouble", 3, Shape::Double),
    one("spanId", 4, Shape::Hex),
    one("traceId", 5, Shape::Hex),
    one("asInt", 6, Shape::Fixed64),
    many("filteredAttributes", 7, Shape::Message(KEY_VALUE)),
];

const NUMBER_POINT: &[Entry] = &[
    one("startTimeUnixNano", 2, Shape::Fixed64),
    one("timeUnixNano", 3, Shape::Fixed64),
    one("asDouble", 4, Shape::Double),
    many("exemplars", 5, Shape::Message(EXEMPLAR)),
    one("asInt", 6, Shape::Fixed64),
    many("attributes", 7, Shape::Message(KEY_VALUE)),
    one("flags", 8, Shape::Varint),
];

const HISTOGRAM_POINT: &[Entry] = &[
    one("startTimeUnixNano", 2, Shape::Fixed64),
    one("timeUnixNano", 3, Shape::Fixed64),
    one("count", 4, Shape::Fixed64),
    one("sum", 5, Shape::Double),
    many("bucketCounts", 6, Shape::Fixed64),
    many("explicitBounds", 7, Shape::Double),
    many("exemplars", 8, Shape::Message(EXEMPLAR)),
    many("attributes", 9, Shape::Message(KEY_VALUE)),
    one("flags", 10, Shape::Varint),
];

const BUCKETS: &[Entry] = &[one("offset", 1, Shape::Zigzag), many("bucketCounts", 2, Shape::Varint)];

const EXPONENTIAL_POINT: &[Entry] = &[
    many("attributes", 1, Shape::Message(KEY_VALUE)),
    one("startTimeUnixNano", 2, Shape::Fixed64),
    one("timeUnixNano", 3, Shape::Fixed64),
    one("count", 4, Shape::Fixed64),
    one("sum", 5, Shape::Double),
    one("scale", 6, Shape::Zigzag),
    one("zeroCount", 7, Shape::Fixed64),
    one("positive", 8, Shape::Message(BUCKETS)),
    one("negative", 9, Shape::Message(BUCKETS)),
    one("flags", 10, Shape::Varint),
    many("exemplars", 11, Shape::Message(EXEMPLAR)),
    one("zeroThreshold", 14, Shape::Double),
];

const SUMMARY_POINT: &[Entry] = &[
    one("startTimeUnixNano", 2, Shape::Fixed64),
    one("timeUnixNano", 3, Shape::Fixed64),
    one("count", 4, Shape::Fixed64),
    one("sum", 5, Shape::Double),
    many(
        "quantileValues",
        6,
        Shape::Message(&[one("quantile", 1, Shape::Double), one("value", 2, Shape::Double)]),
    ),
    many("attributes", 7, Shape::Message(KEY_VALUE)),
    one("flags", 8, Shape::Varint),
];

const TEMPORALITY: Entry = one(
    "aggregationTemporality",
    2,
    Shape::Enum { prefix: "AGGREGATION_TEMPORALITY_", names: &["UNSPECIFIED", "DELTA", "CUMULATIVE"] },
);

const METRIC: &[Entry] = &[
    one("name", 1, Shape::Text),
    one("description", 2, Shape::Text),
    one("unit", 3, Shape::Text),
    one("gauge", 5, Shape::Message(&[many("dataPoints", 1, Shape::Item(NUMBER_POINT))])),
    one(
        "sum",
        7,
        Shape::Message(&[
            many("dataPoints", 1, Shape::Item(NUMBER_POINT)),
            TEMPORALITY,
            one("isMonotonic", 3, Shape::Bool),
        ]),
    ),
    one("histogram", 9, Shape::Message(&[many("dataPoints", 1, Shape::Item(HISTOGRAM_POINT)), TEMPORALITY])),
    one(
        "exponentialHistogram",
        10,
        Shape::Message(&[many("dataPoints", 1, Shape::Item(EXPONENTIAL_POINT)), TEMPORALITY]),
    ),
    one("summary", 11, Shape::Message(&[many("dataPoints", 1, Shape::Item(SUMMARY_POINT))])),
];

const TRACES: &[Entry] = &[many(
    "resourceSpans",
    1,
    Shape::Group(&[
        one("resource", 1, Shape::Message(RESOURCE)),
        many(
            "scopeSpans",
            2,
            Shape::Group(&[one("scope", 1, Shape::Message(SCOPE)), many("spans", 2, Shape::Item(SPAN))]),
        ),
    ]),
)];

const LOGS: &[Entry] = &[many(
    "resourceLogs",
    1,
    Shape::Group(&[
        one("resource", 1, Shape::Message(RESOURCE)),
        many(
            "scopeLogs",
            2,
            Shape::Group(&[
                one("scope", 1, Shape::Message(SCOPE)),
                many("logRecords", 2, Shape::Item(LOG_RECORD)),
            ]),
        ),
    ]),
)];

const METRICS: &[Entry] = &[many(
    "resourceMetrics",
    1,
    Shape::Group(&[
        one("resource", 1, Shape::Message(RESOURCE)),
        many(
            "scopeMetrics",
            2,
            Shape::Group(&[
                one("scope", 1, Shape::Message(SCOPE)),
                many("metrics", 2, Shape::Group(METRIC)),
                one("schemaUrl", 3, Shape::Text),
            ]),
        ),
    ]),
)];

/// The request as protobuf, and the items left out of it.
pub(super) fn to_protobuf(
    body: &[u8],
    signal: Signal,
    limits: &DecodeLimits,
) -> Result<(Vec<u8>, Rejected), DecodeError> {
    let text = std::str::from_utf8(body).map_err(|error| DecodeError::Malformed {
        at: error.valid_up_to(),
        what: "the JSON document is not UTF-8".to_owned(),
    })?;
    let schema = match signal {
        Signal::Metrics => METRICS,
        Signal::Logs => LOGS,
        Signal::Traces => TRACES,
    };
    // The depth of values is checked precisely afterwards; this bound only stops what cannot pass that check.
    let levels = limits.depth.saturating_mul(LEVELS_PER_VALUE).saturating_add(LEVELS_AROUND_VALUES);
    let mut writer =
        Rewriter { json: Json::new(text, levels), out: Writer::default(), rejected: Rejected::default() };
    writer.message(schema)?;
    writer.json.end()?;
    Ok((writer.out.finish(), writer.rejected))
}

struct Rewriter<'a> {
    json: Json<'a>,
    out: Writer,
    rejected: Rejected,
}

impl<'a> Rewriter<'a> {
    /// The fields of a message. Recursion ends at the reader's limit on nesting.
    fn message(&mut self, schema: &'static [Entry]) -> Result<(), Fault> {
        self.json.open(b'{')?;
        let mut first = true;
        while let Some(key) = self.json.key(&mut first)? {
            match schema.iter().find(|entry| same_name(entry.name, &key)) {
                None => self.json.skip()?,
                Some(_) if self.json.take_null()? => {}
                Some(entry) if entry.many => self.list(entry)?,
                Some(entry) => self.field(entry)?,
            }
        }
        Ok(())
    }

    fn list(&mut self, entry: &'static Entry) -> Result<(), Fault> {
        self.json.open(b'[')?;
        let mut first = true;
        while self.json.element(&mut first)? {
            match entry.shape {
                Shape::Item(_) | Shape::Group(_) => self.item(entry)?,
                _ => self.field(entry)?,
            }
        }
        Ok(())
    }

    /// An item or a group of items that turns out bad is passed over and counted; if it cannot even be passed over, the
    /// document is broken.
    fn item(&mut self, entry: &'static Entry) -> Result<(), Fault> {
        let (start, written) = (self.json, self.out.len());
        let earlier = match entry.shape {
            Shape::Group(_) => self.rejected.clone(),
            _ => Rejected::default(),
        };
        if let Err(fault) = self.field(entry) {
            self.json = start;
            self.out.truncate(written);
            let mut items = 1;
            if let Shape::Group(schema) = entry.shape {
                items = self.count(schema)?;
                // The group's own count replaces what was counted inside it.
                self.rejected = earlier;
            } else {
                self.json.skip()?;
            }
            fault.count(&mut self.rejected, items);
        }
        Ok(())
    }

    /// Passes over a group and counts the items in it. The schema of groups is finite, and so is the recursion.
    fn count(&mut self, schema: &'static [Entry]) -> Result<u64, Fault> {
        if self.json.peek()? != Kind::Object {
            return self.json.skip().map(|()| 1);
        }
        let mut items = 0;
        self.json.open(b'{')?;
        let mut first = true;
        while let Some(key) = self.json.key(&mut first)? {
            let shape = schema.iter().find(|entry| same_name(entry.name, &key)).map(|entry| &entry.shape);
            items += match (shape, self.json.peek()?) {
                (Some(Shape::Item(_)), Kind::Array) => self.count_list(None)?,
                (Some(Shape::Group(schema)), Kind::Array) => self.count_list(Some(schema))?,
                (Some(Shape::Message(schema)), Kind::Object) => self.count(schema)?,
                _ => self.json.skip().map(|()| 0)?,
            };
        }
        Ok(items)
    }

    fn count_list(&mut self, group: Option<&'static [Entry]>) -> Result<u64, Fault> {
        let mut items = 0;
        self.json.open(b'[')?;
        let mut first = true;
        while self.json.element(&mut first)? {
            items += match group {
                Some(schema) => self.count(schema)?,
                None => self.json.skip().map(|()| 1)?,
            };
        }
        Ok(items)
    }

    fn field(&mut self, entry: &'static Entry) -> Result<(), Fault> {
        let number = entry.number;
        match entry.shape {
            Shape::Text => {
                let text = self.text(entry)?;
                self.out.bytes(number, text.as_bytes());
            }
            Shape::Hex => {
                let text = self.text(entry)?;
                let bytes = id(&text).ok_or_else(|| self.bad(entry, "is not hex"))?;
                self.out.bytes(number, &bytes);
            }
            Shape::Base64 => {
                let text = self.text(entry)?;
                let bytes = base64(&text).ok_or_else(|| self.bad(entry, "is not base64"))?;
                self.out.bytes(number, &bytes);
            }
            Shape::Bool => {
                let flag = self.json.boolean().map_err(|fault| named(fault, entry))?;
                self.out.varint(number, u64::from(flag));
            }
            Shape::Varint | Shape::Zigzag | Shape::Fixed64 | Shape::Fixed32 => {
                let value = self.integer(entry)?;
                self.put_integer(entry, value);
            }
            Shape::Double => {
                let value = self.double(entry)?;
                self.out.fixed64(number, value.to_bits());
            }
            Shape::Enum { prefix, names } => {
                let value = self.enumeration(entry, prefix, names)?;
                self.out.varint(number, value);
            }
            Shape::Message(schema) | Shape::Item(schema) | Shape::Group(schema) => {
                self.nested(number, schema)?
            }
            Shape::Value => self.nested(number, VALUE)?,
        }
        Ok(())
    }

    fn put_integer(&mut self, entry: &Entry, value: u64) {
        match entry.shape {
            Shape::Zigzag => self.out.zigzag(entry.number, value as i64),
            Shape::Fixed64 => self.out.fixed64(entry.number, value),
            Shape::Fixed32 => self.out.fixed32(entry.number, value as u32),
            _ => self.out.varint(entry.number, value),
        }
    }

    fn text(&mut self, entry: &Entry) -> Result<Cow<'a, str>, Fault> {
        self.json.text().map_err(|fault| named(fault, entry))
    }

    fn nested(&mut self, number: u32, schema: &'static [Entry]) -> Result<(), Fault> {
        let start = self.out.begin(number);
        self.message(schema)?;
        self.out.end(start);
        Ok(())
    }

    fn bad(&self, entry: &Entry, problem: &'static str) -> Fault {
        Fault::new(Reason::Malformed, self.json.offset(), entry.name, problem)
    }

    /// An integer as number or text; negative ones in two's complement.
    fn integer(&mut self, entry: &Entry) -> Result<u64, Fault> {
        let quoted;
        let digits = if self.json.peek()? == Kind::Text {
            quoted = self.json.text()?;
            quoted.trim()
        } else {
            self.json.number().map_err(|fault| named(fault, entry))?
        };
        let whole = digits.parse::<u64>().ok().or_else(|| digits.parse::<i64>().ok().map(|n| n as u64));
        // 1e3 and 5.0 are integers in JSON; beyond 2^53 a double would not be exact.
        let exact = || digits.parse::<f64>().ok().filter(|n| n.fract() == 0.0 && n.abs() < 9e15);
        whole
            .or_else(|| exact().map(|n| n as i64 as u64))
            .ok_or_else(|| self.bad(entry, "is not an integer of 64 bits"))
    }

    fn double(&mut self, entry: &Entry) -> Result<f64, Fault> {
        if self.json.peek()? != Kind::Text {
            let number = self.json.number().map_err(|fault| named(fault, entry))?;
            return number.parse().map_err(|_| self.bad(entry, "is not a number"));
        }
        match self.json.text()?.as_ref() {
            "NaN" => Ok(f64::NAN),
            "Infinity" => Ok(f64::INFINITY),
            "-Infinity" => Ok(f64::NEG_INFINITY),
            text => text.parse().map_err(|_| self.bad(entry, "is not a number")),
        }
    }

    fn enumeration(&mut self, entry: &Entry, prefix: &str, names: &[&str]) -> Result<u64, Fault> {
        if self.json.peek()? != Kind::Text {
            return self.integer(entry);
        }
        let word = self.json.text()?;
        let short = word.strip_prefix(prefix).unwrap_or(&word);
        let index = names.iter().position(|name| *name == short).map(|index| index as u64);
        // Unknown names may come from newer senders; digits in quotes from careless ones.
        Ok(index.or_else(|| word.parse().ok()).unwrap_or(0))
    }
}

/// The same fault, naming the field instead of the document.
fn named(fault: Fault, entry: &Entry) -> Fault {
    Fault { field: entry.name, ..fault }
}

/// Compares lowerCamelCase with either spelling.
fn same_name(camel: &str, key: &str) -> bool {
    if camel == key {
        return true;
    }
    let mut rest = key.bytes();
    for c in camel.bytes() {
        let matched = if c.is_ascii_uppercase() {
            rest.next() == Some(b'_') && rest.next() == Some(c.to_ascii_lowercase())
        } else {
            rest.next() == Some(c)
        };
        if !matched {
            return false;
        }
    }
    rest.next().is_none()
}

/// An id in hex, as OTLP demands, or in base64, as plain protobuf JSON libraries write it: the lengths tell.
fn id(text: &str) -> Option<Vec<u8>> {
    match text.len() {
        // 8 and 16 bytes in padded base64; no id has that many hex digits.
        12 | 24 => base64(text),
        _ => hex(text),
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |c: u8| (c as char).to_digit(16).map(|d| d as u8);
    let (pairs, odd) = text.as_bytes().as_chunks::<2>();
    if !odd.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

/// RFC 4648, standard or URL alphabet, padded or not.
fn base64(text: &str) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let is_url = text.contains(['-', '_']);
    let alphabet = if is_url { &alphabet::URL_SAFE } else { &alphabet::STANDARD };
    GeneralPurpose::new(alphabet, LENIENT).decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_both_spellings() {
        assert!(same_name("timeUnixNano", "timeUnixNano") && same_name("timeUnixNano", "time_unix_nano"));
        for other in ["timeunixnano", "time_unix_nan", "time_unix_nano_", "time_unixNanoX", ""] {
            assert!(!same_name("timeUnixNano", other), "{other}");
        }
    }

    #[test]
    fn bytes_in_text() {
        assert_eq!(base64("aGVsbG8="), Some(b"hello".to_vec()));
        assert_eq!(base64("_-8"), Some(vec![0xff, 0xef]));
        assert_eq!((base64("a"), base64("a b"), base64("")), (None, None, Some(vec![])));
        assert_eq!(id("AQIDBAUGBwg="), Some(vec![1, 2, 3, 4, 5, 6, 7, 8]));
        assert_eq!((hex("0aFF"), hex("0a0"), hex("zz")), (Some(vec![10, 255]), None, None));
    }
}
