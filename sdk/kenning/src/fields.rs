//! Visiting the fields of spans and events, written straight into their output formats.
//!
//! Values are visited without any lock held: a field's `Debug` is foreign code that may log itself.

use std::error::Error;
use std::fmt::{self, Write};
use std::sync::Arc;

use tracing_core::field::{Field, Visit};

use crate::config::LogFormat;
use crate::exception::Exception;
use crate::json;
use crate::proto::{self, Scalar};

/// Longest text value kept; the rest is cut.
pub(crate) const VALUE_BYTES_MAX: usize = 16 * 1024;
/// Attributes of one span or record.
pub(crate) const ATTRIBUTES_MAX: u32 = 128;
/// Encoded attributes of one span or record; further ones are dropped and counted in it.
pub(crate) const ATTRIBUTE_BYTES_MAX: usize = 64 * 1024;
/// What stands in the place of a secret.
const REDACTED: &str = "[redacted]";

/// Field of `Span` that holds attributes, and of `LogRecord`.
const SPAN_ATTRIBUTES: u32 = 9;
pub(crate) const LOG_ATTRIBUTES: u32 = 6;

/// A field's value as far as the formats tell apart.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'a> {
    Str(&'a str),
    Bool(bool),
    Int(i64),
    /// Above `i64::MAX`.
    BigUint(u64),
    Double(f64),
}

impl Value<'_> {
    pub(crate) fn write_json(self, out: &mut Vec<u8>) {
        match self {
            Value::Str(text) => json::string(out, text),
            Value::Bool(flag) => out.extend_from_slice(if flag { b"true" } else { b"false" }),
            Value::Int(number) => json::int(out, number),
            Value::BigUint(number) => json::uint(out, number),
            Value::Double(number) => json::double(out, number),
        }
    }

    /// As a person reads it: quoted only where it would be ambiguous.
    fn write_text(self, out: &mut Vec<u8>) {
        match self {
            Value::Str(text) if is_plain(text) => out.extend_from_slice(text.as_bytes()),
            other => other.write_json(out),
        }
    }

    pub(crate) fn write_attribute(self, out: &mut Vec<u8>, field: u32, key: &str) {
        let scalar = match self {
            Value::Str(text) => Scalar::Str(text),
            Value::Bool(flag) => Scalar::Bool(flag),
            Value::Int(number) => Scalar::Int(number),
            // OTLP has no unsigned integers; text loses nothing.
            Value::BigUint(number) => {
                let mut digits = Vec::with_capacity(20);
                json::uint(&mut digits, number);
                let text = std::str::from_utf8(&digits).unwrap_or_default();
                return proto::key_value(out, field, key, Scalar::Str(text));
            }
            Value::Double(number) => Scalar::Double(number),
        };
        proto::key_value(out, field, key, scalar);
    }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte > 0x20 && byte != 0x7f && byte != b'"' && byte != b'=')
}

/// Cuts a text value at its limit.
pub(crate) fn clipped(text: &str) -> &str {
    if text.len() <= VALUE_BYTES_MAX {
        text
    } else {
        text.split_at(text.floor_char_boundary(VALUE_BYTES_MAX)).0
    }
}

/// Whether a field's name, after its last dot, says that its value is a secret.
///
/// Asked for every field, hence grouped by length: most names meet no candidate at all.
pub(crate) fn is_secret(name: &str) -> bool {
    let start = name.bytes().rposition(|byte| byte == b'.').map_or(0, |at| at + 1);
    let last = name.get(start..).unwrap_or(name);
    let candidates: &[&str] = match last.len() {
        3 => &["pwd"],
        5 => &["token"],
        6 => &["secret", "passwd", "cookie", "apikey"],
        7 => &["api_key"],
        8 => &["password", "id_token"],
        10 => &["set-cookie"],
        11 => &["private_key", "credentials"],
        12 => &["access_token"],
        13 => &["client_secret", "refresh_token", "authorization"],
        _ => return false,
    };
    candidates.iter().any(|secret| last.eq_ignore_ascii_case(secret))
}

/// Formats a `Debug` value up to the limit; the formatting ends early there.
struct Bounded<'a>(&'a mut String);

impl Write for Bounded<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.push_str(text);
        if self.0.len() > VALUE_BYTES_MAX { Err(fmt::Error) } else { Ok(()) }
    }
}

fn format_bounded(out: &mut String, value: &dyn fmt::Debug) {
    out.clear();
    let _ = write!(Bounded(out), "{value:?}");
    crate::exception::truncate(out, VALUE_BYTES_MAX);
}

/// Maps `tracing`'s many kinds of values to [`Value`]; the two visitors below differ only in what they do with one.
macro_rules! visit_values {
    () => {
        fn record_f64(&mut self, field: &Field, value: f64) {
            self.value(field.name(), Value::Double(value));
        }
        fn record_i64(&mut self, field: &Field, value: i64) {
            self.value(field.name(), Value::Int(value));
        }
        fn record_u64(&mut self, field: &Field, value: u64) {
            self.value(field.name(), i64::try_from(value).map_or(Value::BigUint(value), Value::Int));
        }
        fn record_i128(&mut self, field: &Field, value: i128) {
            match i64::try_from(value) {
                Ok(small) => self.value(field.name(), Value::Int(small)),
                Err(_) => self.value(field.name(), Value::Str(&value.to_string())),
            }
        }
        fn record_u128(&mut self, field: &Field, value: u128) {
            match i64::try_from(value) {
                Ok(small) => self.value(field.name(), Value::Int(small)),
                Err(_) => self.value(field.name(), Value::Str(&value.to_string())),
            }
        }
        fn record_bool(&mut self, field: &Field, value: bool) {
            self.value(field.name(), Value::Bool(value));
        }
        fn record_str(&mut self, field: &Field, value: &str) {
            self.value(field.name(), Value::Str(clipped(value)));
        }
    };
}

/// A span field that is also shown on the log lines inside the span.
#[derive(Debug)]
pub(crate) struct Scoped {
    pub(crate) name: &'static str,
    /// `,"name":value`
    pub(crate) json: Vec<u8>,
    /// ` name=value`
    pub(crate) text: Vec<u8>,
    /// The encoded attribute of a log record.
    pub(crate) attribute: Vec<u8>,
}

/// The status a span was given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Status {
    #[default]
    Unset,
    Ok,
    Error(String),
}

/// What visiting a span's fields yields.
#[derive(Debug, Default)]
pub(crate) struct SpanFields {
    pub(crate) attributes: Vec<u8>,
    pub(crate) count: u32,
    pub(crate) dropped: u32,
    pub(crate) name: Option<String>,
    /// OTLP `SpanKind`.
    pub(crate) kind: Option<u8>,
    pub(crate) status: Option<Status>,
    pub(crate) status_message: Option<String>,
    pub(crate) scoped: Vec<Arc<Scoped>>,
}

/// Visits a span's fields; an unsampled span is visited only for what its log lines show.
pub(crate) struct SpanVisitor<'a> {
    pub(crate) fields: &'a mut SpanFields,
    pub(crate) request_fields: &'a [String],
    pub(crate) recording: bool,
}

impl SpanVisitor<'_> {
    fn value(&mut self, name: &'static str, value: Value<'_>) {
        let value = if is_secret(name) { Value::Str(REDACTED) } else { value };
        if self.request_fields.iter().any(|known| known == name) {
            self.fields.scoped.push(Arc::new(scoped(name, value)));
        }
        if self.recording && !self.special(name, value) {
            self.fields.attribute(name, value);
        }
    }

    /// The fields by which a span is described instead of decorated, named as `tracing-opentelemetry` names them.
    fn special(&mut self, name: &str, value: Value<'_>) -> bool {
        let Value::Str(text) = value else { return false };
        match name {
            "otel.name" => self.fields.name = Some(text.to_owned()),
            "otel.kind" => self.fields.kind = span_kind(text).or(self.fields.kind),
            "otel.status_code" => self.fields.status = status(text).or(self.fields.status.take()),
            "otel.status_message" | "otel.status_description" => {
                self.fields.status_message = Some(text.to_owned())
            }
            _ => return false,
        }
        true
    }
}

impl SpanFields {
    pub(crate) fn attribute(&mut self, name: &str, value: Value<'_>) {
        if self.count >= ATTRIBUTES_MAX || self.attributes.len() > ATTRIBUTE_BYTES_MAX {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        value.write_attribute(&mut self.attributes, SPAN_ATTRIBUTES, name);
        self.count += 1;
    }
}

fn scoped(name: &'static str, value: Value<'_>) -> Scoped {
    let mut scoped = Scoped { name, json: vec![b','], text: vec![b' '], attribute: Vec::new() };
    json::string(&mut scoped.json, name);
    scoped.json.push(b':');
    value.write_json(&mut scoped.json);
    scoped.text.extend_from_slice(name.as_bytes());
    scoped.text.push(b'=');
    value.write_text(&mut scoped.text);
    value.write_attribute(&mut scoped.attribute, LOG_ATTRIBUTES, name);
    scoped
}

/// OTLP's number of a span kind, by its name in any case.
fn span_kind(text: &str) -> Option<u8> {
    const KINDS: [&str; 5] = ["internal", "server", "client", "producer", "consumer"];
    KINDS.iter().zip(1..).find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, number)| number)
}

fn status(text: &str) -> Option<Status> {
    if text.eq_ignore_ascii_case("ok") {
        return Some(Status::Ok);
    }
    text.eq_ignore_ascii_case("error").then(|| Status::Error(String::new()))
}

impl Visit for SpanVisitor<'_> {
    visit_values!();

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let text = value.to_string();
        self.value(field.name(), Value::Str(clipped(&text)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        format_bounded(&mut text, value);
        self.value(field.name(), Value::Str(&text));
    }
}

/// Buffers an event is written into; kept per thread so that an event costs no allocation.
#[derive(Debug, Default)]
pub(crate) struct EventFields {
    /// The event's fields in the format of the log line, each with its separator.
    pub(crate) line: Vec<u8>,
    /// The event's attributes as fields of an OTLP log record.
    pub(crate) attributes: Vec<u8>,
    pub(crate) count: u32,
    pub(crate) dropped: u32,
    pub(crate) message: String,
    pub(crate) exception: Option<Exception>,
    /// Room to format `Debug` values in.
    pub(crate) text: String,
}

/// Capacity a thread keeps between events.
const KEPT_CAPACITY_BYTES: usize = 64 * 1024;

impl EventFields {
    pub(crate) fn clear(&mut self) {
        let large =
            self.line.capacity() > KEPT_CAPACITY_BYTES || self.attributes.capacity() > KEPT_CAPACITY_BYTES;
        if large {
            *self = Self::default();
        }
        self.line.clear();
        self.attributes.clear();
        self.message.clear();
        self.exception = None;
        (self.count, self.dropped) = (0, 0);
    }
}

/// Visits an event's fields.
pub(crate) struct EventVisitor<'a> {
    pub(crate) fields: &'a mut EventFields,
    pub(crate) format: LogFormat,
    /// Whether attributes are wanted besides the line.
    pub(crate) attributes: bool,
    /// Frames for the exception, taken at most once and only for errors.
    pub(crate) frames: &'a dyn Fn() -> Option<String>,
    /// Whether an `error` field of any kind makes an exception: true for events of level ERROR.
    pub(crate) text_errors: bool,
}

/// Names the log line gives itself; an event's own field of this name is written with the prefix `field.`.
const RESERVED: [&str; 8] =
    ["timestamp", "level", "service", "environment", "version", "name", "trace_id", "span_id"];

impl EventVisitor<'_> {
    fn value(&mut self, name: &'static str, value: Value<'_>) {
        if name == "message" {
            return self.message(value);
        }
        let value = if is_secret(name) { Value::Str(REDACTED) } else { value };
        let is_error_field = name == "error" || name == "err";
        if let (true, Value::Str(text)) = (self.text_errors && is_error_field, value)
            && self.fields.exception.is_none()
        {
            self.fields.exception = Some(Exception::from_text(text, (self.frames)()));
        }
        self.field(name, value);
    }

    fn message(&mut self, value: Value<'_>) {
        match value {
            Value::Str(text) => self.fields.message.push_str(text),
            other => {
                let mut text = Vec::new();
                other.write_json(&mut text);
                self.fields.message.push_str(&String::from_utf8_lossy(&text));
            }
        }
    }

    pub(crate) fn field(&mut self, name: &str, value: Value<'_>) {
        if self.fields.count >= ATTRIBUTES_MAX || self.fields.line.len() > ATTRIBUTE_BYTES_MAX {
            self.fields.dropped += 1;
            return;
        }
        self.fields.count += 1;
        let prefix = if RESERVED.contains(&name) { "field." } else { "" };
        let line = &mut self.fields.line;
        match self.format {
            LogFormat::Json => {
                line.extend_from_slice(b",\"");
                line.extend_from_slice(prefix.as_bytes());
                json::escaped(line, name);
                line.extend_from_slice(b"\":");
                value.write_json(line);
            }
            LogFormat::Text => {
                line.push(b' ');
                line.extend_from_slice(prefix.as_bytes());
                json::escaped(line, name);
                line.push(b'=');
                value.write_text(line);
            }
        }
        if self.attributes {
            value.write_attribute(&mut self.fields.attributes, LOG_ATTRIBUTES, name);
        }
    }
}

impl Visit for EventVisitor<'_> {
    visit_values!();

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let frames = if self.text_errors { (self.frames)() } else { None };
        let exception = Exception::from_error(value, frames);
        let text = exception.message.clone();
        self.fields.exception = Some(exception);
        self.value(field.name(), Value::Str(clipped(&text)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = std::mem::take(&mut self.fields.text);
        format_bounded(&mut text, value);
        self.value(field.name(), Value::Str(&text));
        self.fields.text = text;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_name() {
        let secret = [
            "pwd",
            "token",
            "secret",
            "passwd",
            "cookie",
            "apikey",
            "api_key",
            "PASSWORD",
            "db.password",
            "id_token",
            "Set-Cookie",
            "private_key",
            "credentials",
            "access_token",
            "http.request.header.authorization",
            "client_secret",
            "refresh_token",
        ];
        assert!(secret.into_iter().all(is_secret));
        assert!(
            !["", ".", "tokens", "path", "token.count", "passwords", "mytoken"].into_iter().any(is_secret)
        );
    }
}
