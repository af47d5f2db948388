//! Reading back the spans this SDK encodes: for the console exporter and the test kit.

use crate::ids::{SpanId, TraceId};
use crate::otlp::{Fields, Wire};

/// A finished span as it goes to the collector.
#[derive(Debug, Clone, PartialEq)]
pub struct FinishedSpan {
    /// The trace it belongs to.
    pub trace_id: TraceId,
    /// Its own id.
    pub span_id: SpanId,
    /// The parent's id; `None` for a root.
    pub parent_span_id: Option<SpanId>,
    /// Its name (`otel.name` if that was recorded).
    pub name: String,
    /// Its kind.
    pub kind: SpanKind,
    /// Start, nanoseconds since 1970.
    pub start_unix_nanos: u64,
    /// End, nanoseconds since 1970.
    pub end_unix_nanos: u64,
    /// Attributes in the order of recording.
    pub attributes: Vec<(String, AttributeValue)>,
    /// Events, for instance exceptions.
    pub events: Vec<SpanEvent>,
    /// Ids of linked spans.
    pub links: Vec<(TraceId, SpanId)>,
    /// How it ended.
    pub status: SpanStatus,
    /// Whether its parent is in another process.
    pub parent_is_remote: bool,
}

/// The role of a span, from `otel.kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SpanKind {
    /// Inside of a service.
    #[default]
    Internal,
    /// Handles a request from outside.
    Server,
    /// Makes a request.
    Client,
    /// Sends a message.
    Producer,
    /// Handles a message.
    Consumer,
}

/// A span's status.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SpanStatus {
    /// Nothing was said.
    #[default]
    Unset,
    /// Declared fine.
    Ok,
    /// Failed, with a reason that may be empty.
    Error(String),
}

/// An event inside of a span.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SpanEvent {
    /// Its name, `exception` for errors.
    pub name: String,
    /// When, nanoseconds since 1970.
    pub unix_nanos: u64,
    /// Attributes in order.
    pub attributes: Vec<(String, AttributeValue)>,
}

/// An attribute's value.
#[derive(Debug, Clone, PartialEq)]
pub enum AttributeValue {
    /// Text.
    Str(String),
    /// A truth value.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// A floating-point number.
    Double(f64),
}

impl PartialEq<&str> for AttributeValue {
    fn eq(&self, other: &&str) -> bool {
        matches!(self, AttributeValue::Str(text) if text == other)
    }
}

impl PartialEq<i64> for AttributeValue {
    fn eq(&self, other: &i64) -> bool {
        matches!(self, AttributeValue::Int(number) if number == other)
    }
}

impl PartialEq<bool> for AttributeValue {
    fn eq(&self, other: &bool) -> bool {
        matches!(self, AttributeValue::Bool(flag) if flag == other)
    }
}

impl FinishedSpan {
    /// The value of an attribute, the last when it was recorded more than once.
    pub fn attribute(&self, name: &str) -> Option<&AttributeValue> {
        find(&self.attributes, name)
    }
}

impl SpanEvent {
    /// The value of an attribute.
    pub fn attribute(&self, name: &str) -> Option<&AttributeValue> {
        find(&self.attributes, name)
    }
}

fn find<'a>(attributes: &'a [(String, AttributeValue)], name: &str) -> Option<&'a AttributeValue> {
    attributes.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value)
}

/// Reads the fields 2 of a `ScopeSpans`; `None` when the bytes are no such thing.
pub(crate) fn spans(bytes: &[u8]) -> Option<Vec<FinishedSpan>> {
    let mut spans = Vec::new();
    for field in Fields::new(bytes) {
        if let (2, Wire::Bytes(encoded)) = field? {
            spans.push(span(encoded)?);
        }
    }
    Some(spans)
}

fn span(bytes: &[u8]) -> Option<FinishedSpan> {
    let mut span = FinishedSpan {
        trace_id: TraceId::new(1)?,
        span_id: SpanId::new(1)?,
        parent_span_id: None,
        name: String::new(),
        kind: SpanKind::Internal,
        start_unix_nanos: 0,
        end_unix_nanos: 0,
        attributes: Vec::new(),
        events: Vec::new(),
        links: Vec::new(),
        status: SpanStatus::Unset,
        parent_is_remote: false,
    };
    for field in Fields::new(bytes) {
        match field? {
            (1, Wire::Bytes(id)) => span.trace_id = trace_id(id)?,
            (2, Wire::Bytes(id)) => span.span_id = span_id(id)?,
            (4, Wire::Bytes(id)) => span.parent_span_id = Some(span_id(id)?),
            (5, Wire::Bytes(name)) => span.name = text(name),
            (6, Wire::Varint(number)) => span.kind = kind(number),
            (7, Wire::Fixed64(nanos)) => span.start_unix_nanos = nanos,
            (8, Wire::Fixed64(nanos)) => span.end_unix_nanos = nanos,
            (9, Wire::Bytes(pair)) => span.attributes.push(key_value(pair)?),
            (11, Wire::Bytes(encoded)) => span.events.push(event(encoded)?),
            (13, Wire::Bytes(encoded)) => span.links.push(link(encoded)?),
            (15, Wire::Bytes(encoded)) => span.status = status(encoded)?,
            (16, Wire::Fixed32(flags)) => span.parent_is_remote = flags & 1 << 9 != 0,
            _ => {}
        }
    }
    Some(span)
}

fn trace_id(bytes: &[u8]) -> Option<TraceId> {
    TraceId::new(u128::from_be_bytes(bytes.try_into().ok()?))
}

fn span_id(bytes: &[u8]) -> Option<SpanId> {
    SpanId::new(u64::from_be_bytes(bytes.try_into().ok()?))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn kind(number: u64) -> SpanKind {
    match number {
        2 => SpanKind::Server,
        3 => SpanKind::Client,
        4 => SpanKind::Producer,
        5 => SpanKind::Consumer,
        _ => SpanKind::Internal,
    }
}

fn key_value(bytes: &[u8]) -> Option<(String, AttributeValue)> {
    let (mut key, mut value) = (String::new(), AttributeValue::Str(String::new()));
    for field in Fields::new(bytes) {
        match field? {
            (1, Wire::Bytes(name)) => key = text(name),
            (2, Wire::Bytes(any)) => value = any_value(any)?,
            _ => {}
        }
    }
    Some((key, value))
}

fn any_value(bytes: &[u8]) -> Option<AttributeValue> {
    match Fields::new(bytes).next()?? {
        (1, Wire::Bytes(value)) => Some(AttributeValue::Str(text(value))),
        (2, Wire::Varint(flag)) => Some(AttributeValue::Bool(flag != 0)),
        (3, Wire::Varint(number)) => Some(AttributeValue::Int(number as i64)),
        (4, Wire::Fixed64(bits)) => Some(AttributeValue::Double(f64::from_bits(bits))),
        _ => None,
    }
}

fn event(bytes: &[u8]) -> Option<SpanEvent> {
    let mut event = SpanEvent::default();
    for field in Fields::new(bytes) {
        match field? {
            (1, Wire::Fixed64(nanos)) => event.unix_nanos = nanos,
            (2, Wire::Bytes(name)) => event.name = text(name),
            (3, Wire::Bytes(pair)) => event.attributes.push(key_value(pair)?),
            _ => {}
        }
    }
    Some(event)
}

fn link(bytes: &[u8]) -> Option<(TraceId, SpanId)> {
    let (mut trace, mut span) = (None, None);
    for field in Fields::new(bytes) {
        match field? {
            (1, Wire::Bytes(id)) => trace = trace_id(id),
            (2, Wire::Bytes(id)) => span = span_id(id),
            _ => {}
        }
    }
    trace.zip(span)
}

fn status(bytes: &[u8]) -> Option<SpanStatus> {
    let (mut code, mut message) = (0, String::new());
    for field in Fields::new(bytes) {
        match field? {
            (2, Wire::Bytes(reason)) => message = text(reason),
            (3, Wire::Varint(number)) => code = number,
            _ => {}
        }
    }
    Some(match code {
        1 => SpanStatus::Ok,
        2 => SpanStatus::Error(message),
        _ => SpanStatus::Unset,
    })
}
