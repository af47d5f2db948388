//! Log records: the line on standard output and the OTLP record, both assembled from visited fields.

use std::io::Write;
use std::sync::{Arc, Mutex};

use tracing_core::{Level, Metadata};

use crate::clock;
use crate::config::{Config, LogFormat};
use crate::exception::{Exception, STACK_BYTES_MAX};
use crate::fields::{EventFields, LOG_ATTRIBUTES, Value};
use crate::ids::{SpanId, TraceId};
use crate::json;
use crate::proto::{self, Scalar};
use crate::sync::lock;

/// Where lines go.
#[derive(Debug, Clone)]
pub(crate) enum Sink {
    Stdout,
    /// For programs whose standard output is their product.
    Stderr,
    /// Kept for a test to look at; bounded by [`CAPTURE_BYTES_MAX`].
    Capture(Arc<Mutex<Vec<u8>>>),
}

/// Bytes of log lines a capture keeps.
const CAPTURE_BYTES_MAX: usize = 64 * 1024 * 1024;

impl Sink {
    /// Writes one line with one call; whether it was taken.
    pub(crate) fn write(&self, line: &[u8]) -> bool {
        match self {
            Sink::Stdout => std::io::stdout().lock().write_all(line).is_ok(),
            Sink::Stderr => std::io::stderr().lock().write_all(line).is_ok(),
            Sink::Capture(kept) => {
                let mut kept = lock(kept);
                let room = kept.len() + line.len() <= CAPTURE_BYTES_MAX;
                if room {
                    kept.extend_from_slice(line);
                }
                room
            }
        }
    }
}

/// The parts of a line that are the same on every line of the process.
#[derive(Debug)]
pub(crate) struct LineStyle {
    pub(crate) format: LogFormat,
    /// `,"service":"...","environment":"...","version":"..."`
    identity: Vec<u8>,
}

impl LineStyle {
    pub(crate) fn new(config: &Config) -> Self {
        let mut identity = Vec::new();
        let parts = [
            ("service", Some(&config.service)),
            ("environment", config.environment.as_ref()),
            ("version", config.version.as_ref()),
        ];
        for (name, value) in parts {
            if let Some(value) = value {
                json::push_fmt(&mut identity, format_args!(",\"{name}\":"));
                json::string(&mut identity, value);
            }
        }
        Self { format: config.log_format, identity }
    }

    /// Assembles the line, newline included, at the end of `out`.
    pub(crate) fn write(&self, out: &mut Vec<u8>, record: &Record<'_>) {
        match self.format {
            LogFormat::Json => self.write_json(out, record),
            LogFormat::Text => write_text(out, record),
        }
    }

    fn write_json(&self, out: &mut Vec<u8>, record: &Record<'_>) {
        out.extend_from_slice(b"{\"timestamp\":");
        write_timestamp(out, record.unix_nanos);
        out.extend_from_slice(b",\"level\":\"");
        out.extend_from_slice(level_name(record.level).as_bytes());
        out.push(b'"');
        out.extend_from_slice(&self.identity);
        out.extend_from_slice(b",\"name\":");
        json::string(out, record.target);
        out.extend_from_slice(b",\"message\":");
        json::string(out, record.message());
        out.extend_from_slice(&record.fields.line);
        out.extend_from_slice(record.scoped_line);
        if let Some(exception) = &record.fields.exception {
            for (name, value) in exception_fields(exception) {
                json::push_fmt(out, format_args!(",\"{name}\":"));
                json::string(out, value);
            }
        }
        if let Some((trace_id, span_id)) = record.ids {
            out.extend_from_slice(b",\"trace_id\":\"");
            out.extend_from_slice(&trace_id.hex());
            out.extend_from_slice(b"\",\"span_id\":\"");
            out.extend_from_slice(&span_id.hex());
            out.push(b'"');
        }
        out.extend_from_slice(b"}\n");
    }
}

/// Everything a finished record is made of.
pub(crate) struct Record<'a> {
    pub(crate) unix_nanos: u64,
    pub(crate) level: &'a Level,
    pub(crate) target: &'a str,
    /// The event's own name, for events that carry no message.
    pub(crate) event_name: &'a str,
    pub(crate) fields: &'a EventFields,
    /// Fields of the enclosing spans in the line's format.
    pub(crate) scoped_line: &'a [u8],
    /// The same as encoded attributes.
    pub(crate) scoped_attributes: &'a [u8],
    pub(crate) ids: Option<(TraceId, SpanId)>,
    pub(crate) sampled: bool,
}

impl<'a> Record<'a> {
    /// An error logged without a sentence still says what happened.
    fn message(&self) -> &'a str {
        match (&self.fields.exception, self.fields.message.is_empty()) {
            (_, false) => &self.fields.message,
            (Some(exception), true) => &exception.message,
            (None, true) => self.event_name,
        }
    }

    /// Writes the record as field 2 of OTLP's `ScopeLogs`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        proto::message(out, 2, |log| {
            proto::fixed64(log, 1, self.unix_nanos);
            proto::uint(log, 2, severity(self.level));
            proto::bytes(log, 3, level_name(self.level).as_bytes());
            proto::any(log, 5, Scalar::Str(self.message()));
            Value::Str(self.target).write_attribute(log, LOG_ATTRIBUTES, "name");
            log.extend_from_slice(&self.fields.attributes);
            log.extend_from_slice(self.scoped_attributes);
            if let Some(exception) = &self.fields.exception {
                for (name, value) in exception_fields(exception) {
                    Value::Str(value).write_attribute(log, LOG_ATTRIBUTES, name);
                }
            }
            if self.fields.dropped > 0 {
                proto::uint(log, 7, u64::from(self.fields.dropped));
            }
            if let Some((trace_id, span_id)) = self.ids {
                proto::fixed32(log, 8, u32::from(self.sampled));
                proto::bytes(log, 9, &trace_id.to_bytes());
                proto::bytes(log, 10, &span_id.to_bytes());
            }
            proto::fixed64(log, 11, self.unix_nanos);
        });
    }

    /// Writes the record as an event (field 11) of its span.
    pub(crate) fn encode_span_event(&self, out: &mut Vec<u8>) {
        let name = if self.fields.exception.is_some() { "exception" } else { self.message() };
        proto::message(out, 11, |event| {
            proto::fixed64(event, 1, self.unix_nanos);
            proto::bytes(event, 2, name.as_bytes());
            Value::Str(level_name(self.level)).write_attribute(event, 3, "level");
            if let Some(exception) = &self.fields.exception {
                if !self.fields.message.is_empty() {
                    Value::Str(&self.fields.message).write_attribute(event, 3, "message");
                }
                for (name, value) in exception_fields(exception) {
                    Value::Str(value).write_attribute(event, 3, name);
                }
            }
        });
    }
}

/// The exception's fields by their OpenTelemetry names.
fn exception_fields(exception: &Exception) -> impl Iterator<Item = (&'static str, &str)> {
    debug_assert!(exception.stack.len() <= STACK_BYTES_MAX);
    let kind = exception.kind.as_deref().map(|kind| ("exception.type", kind));
    kind.into_iter().chain([
        ("exception.message", crate::fields::clipped(&exception.message)),
        ("exception.stacktrace", exception.stack.as_str()),
    ])
}

/// Seconds since 1970 with milliseconds, as a number.
fn write_timestamp(out: &mut Vec<u8>, unix_nanos: u64) {
    json::uint(out, unix_nanos / 1_000_000_000);
    json::push_fmt(out, format_args!(".{:03}", unix_nanos / 1_000_000 % 1000));
}

fn write_text(out: &mut Vec<u8>, record: &Record<'_>) {
    let stamp = clock::rfc3339(record.unix_nanos);
    let stamp = stamp.trim_end_matches('Z');
    let millis = record.unix_nanos / 1_000_000 % 1000;
    json::push_fmt(
        out,
        format_args!("{stamp}.{millis:03}Z {:>5} {}: ", level_name(record.level), record.target),
    );
    write_readable(out, record.message(), "");
    out.extend_from_slice(&record.fields.line);
    out.extend_from_slice(record.scoped_line);
    if let Some((trace_id, _)) = record.ids {
        json::push_fmt(out, format_args!(" trace_id={trace_id}"));
    }
    out.push(b'\n');
    if let Some(exception) = &record.fields.exception {
        for line in exception.stack.lines() {
            write_readable(out, line, "    ");
            out.push(b'\n');
        }
    }
}

/// Text without control characters: a terminal must not obey a log message.
fn write_readable(out: &mut Vec<u8>, text: &str, indent: &str) {
    out.extend_from_slice(indent.as_bytes());
    for (index, piece) in text.split(|c: char| c.is_control()).enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(piece.as_bytes());
    }
}

pub(crate) fn level_name(level: &Level) -> &'static str {
    match *level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARN",
        Level::INFO => "INFO",
        Level::DEBUG => "DEBUG",
        Level::TRACE => "TRACE",
    }
}

/// OTLP's severity number of a level.
fn severity(level: &Level) -> u64 {
    match *level {
        Level::ERROR => 17,
        Level::WARN => 13,
        Level::INFO => 9,
        Level::DEBUG => 5,
        Level::TRACE => 1,
    }
}

/// The name of an event when it has no message: `tracing` makes up `event src/file.rs:7`.
pub(crate) fn event_name<'a>(metadata: &Metadata<'a>) -> &'a str {
    metadata.name()
}
