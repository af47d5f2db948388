//! `ExportLogsServiceRequest` to log records, mapped as Loki maps them: some resource attributes label the stream, all
//! other facts are structured metadata, the body is the line. Definition: opentelemetry-proto `logs.proto`; Loki's
//! documentation "Ingesting logs to Loki using OpenTelemetry Collector".
//!
//! Differs from Loki: trace and span ids are columns and not repeated as metadata; bytes are hex, not base64.

use std::borrow::Cow;

use kenning_model::{
    LabelSet, LogBatch, LogRow, Nanos, Reason, Rejected, Severity, SpanId, TraceId, Value, ValueRef,
};

use super::OtlpOptions;
use super::common::{
    Pairs, Scope, any_value, count_item, for_each_resource, for_each_scope, nanos, push_attribute,
};
use super::naming::{TranslationStrategy, label_name};
use crate::error::{DecodeError, Decoded, Fault};
use crate::intern::{LabelTable, Shared, check_labels};
use crate::limits::DecodeLimits;
use crate::logs::{self, DETECTED_LEVEL};
use crate::protobuf::{Field, Reader};

/// Stream labels carry underscores whatever strategy metrics have, as in Loki.
const NAMING: TranslationStrategy = TranslationStrategy::UnderscoreEscapingWithSuffixes;

/// OpenTelemetry's severity numbers as text, at their own index.
const SEVERITY_NUMBERS: [&str; 25] = [
    "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16", "17", "18",
    "19", "20", "21", "22", "23", "24",
];

type Metadata<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

pub(super) fn decode(
    body: &[u8],
    limits: &DecodeLimits,
    options: &OtlpOptions,
) -> Result<Decoded<LogBatch>, DecodeError> {
    let mut decoder = Decoder {
        limits,
        options,
        table: LabelTable::default(),
        metadata: Shared::default(),
        batch: LogBatch::default(),
        rejected: Rejected::default(),
        seen: 0,
    };
    for_each_resource(body, limits, |resource, group| {
        let at = group.offset();
        let stream = resource.and_then(|pairs| Stream::new(&pairs, limits, options, at));
        for_each_scope(group, limits, |scope, items| decoder.scope(&stream, &scope, items))
    })?;
    decoder.batch.streams = decoder.table.into_sets();
    Ok(Decoded { batch: decoder.batch, rejected: decoder.rejected })
}

struct Decoder<'l> {
    limits: &'l DecodeLimits,
    options: &'l OtlpOptions,
    table: LabelTable,
    metadata: Shared,
    batch: LogBatch,
    rejected: Rejected,
    seen: usize,
}

/// What a resource gives to all its records.
struct Stream<'a> {
    labels: Metadata<'a>,
    metadata: Metadata<'a>,
}

/// One record before its stream is known.
struct Record<'a> {
    time: Nanos,
    severity_number: u8,
    severity_text: &'a str,
    body: ValueRef<'a>,
    trace_id: TraceId,
    span_id: SpanId,
    metadata: Metadata<'a>,
}

impl<'a> Stream<'a> {
    fn new(
        resource: &Pairs<'a>,
        limits: &DecodeLimits,
        options: &OtlpOptions,
        at: usize,
    ) -> Result<Self, Fault> {
        let (mut labels, mut metadata) = (Metadata::new(), Metadata::new());
        for (key, value) in resource {
            let target = if options.stream_attributes.iter().any(|name| name == key) {
                &mut labels
            } else {
                &mut metadata
            };
            flatten(target, key, value, limits)?;
        }
        if !labels.iter().any(|(name, value)| name == "service_name" && !value.is_empty()) {
            labels.push((Cow::Borrowed("service_name"), Cow::Borrowed("unknown_service")));
        }
        check_labels(&borrow(&labels), limits, at)?;
        Ok(Self { labels, metadata })
    }
}

impl Decoder<'_> {
    fn scope(
        &mut self,
        stream: &Result<Stream<'_>, Fault>,
        scope: &Result<Scope<'_>, Fault>,
        mut items: Reader<'_>,
    ) -> Result<(), DecodeError> {
        let shared = match (stream, scope) {
            (Ok(stream), Ok(scope)) => {
                shared_metadata(stream, scope, self.limits).map(|metadata| (stream, metadata))
            }
            (Err(fault), _) | (_, Err(fault)) => Err(*fault),
        };
        let mut index = None;
        while let Some(field) = items.next()? {
            if field.number != 2 {
                continue;
            }
            count_item(&mut self.seen, self.limits)?;
            let outcome = match &shared {
                Ok((stream, metadata)) => self.record(&field, stream, metadata, &mut index),
                Err(fault) => Err(*fault),
            };
            if let Err(fault) = outcome {
                fault.count(&mut self.rejected, 1);
            }
        }
        Ok(())
    }

    fn record<'a>(
        &mut self,
        field: &Field<'a>,
        stream: &Stream<'_>,
        shared: &Metadata<'_>,
        index: &mut Option<u32>,
    ) -> Result<(), Fault> {
        let record = read_record(field, self.limits, self.options.now)?;
        let line = line_of(&record.body);
        if line.len() > self.limits.line_bytes {
            let limit = self.limits.line_bytes;
            return Err(Fault::over(Reason::TooLong, field.at, "log line", limit, "bytes"));
        }
        let mut pairs = metadata_of(&record, shared, self.limits, field.at)?;
        let stream_index = *index.get_or_insert_with(|| self.table.intern(&mut borrow(&stream.labels)));
        let labels = self.table.get(stream_index).cloned().unwrap_or_default();
        let level = level_of(&record, &labels, &pairs, &line);
        pairs.push((DETECTED_LEVEL, level.word));
        let row = LogRow {
            stream: &labels,
            time: record.time,
            severity: level.severity,
            trace_id: record.trace_id,
            span_id: record.span_id,
            line: &line,
            metadata: &self.metadata.build(&mut pairs),
        };
        self.batch.push(stream_index, row);
        Ok(())
    }
}

/// A record's structured metadata with what its resource and scope share; of equal names the last wins.
fn metadata_of<'s>(
    record: &'s Record<'_>,
    shared: &'s Metadata<'_>,
    limits: &DecodeLimits,
    at: usize,
) -> Result<Vec<(&'s str, &'s str)>, Fault> {
    let mut pairs = Vec::with_capacity(shared.len() + record.metadata.len() + 3);
    pairs.extend(refs(shared).chain(refs(&record.metadata)));
    if record.severity_number != 0 {
        let number = SEVERITY_NUMBERS.get(usize::from(record.severity_number)).copied().unwrap_or("");
        pairs.push(("severity_number", number));
    }
    pairs.push(("severity_text", record.severity_text));
    let limit = limits.attributes.saturating_mul(2);
    if pairs.len() > limit {
        return Err(Fault::over(Reason::TooManyLabels, at, "structured metadata", limit, "entries"));
    }
    Ok(pairs)
}

/// The sender's number rules; then its word; then what the record says elsewhere.
fn level_of<'a>(
    record: &Record<'a>,
    labels: &'a LabelSet,
    pairs: &[(&'a str, &'a str)],
    line: &'a str,
) -> logs::Level<'a> {
    let told = match record.severity_number {
        0 => Severity::from_word(record.severity_text),
        number => Severity(number),
    };
    let given = pairs.iter().rev().find(|(name, value)| *name == DETECTED_LEVEL && !value.is_empty());
    match (told, given) {
        (Severity::UNKNOWN, _) => logs::detect(labels, pairs.iter().copied(), line),
        (severity, Some((_, word))) => logs::Level { severity, word: logs::canonical_word(word) },
        (severity, None) => logs::Level { severity, word: severity.as_str() },
    }
}

fn shared_metadata<'a>(
    stream: &Stream<'a>,
    scope: &Scope<'a>,
    limits: &DecodeLimits,
) -> Result<Metadata<'a>, Fault> {
    let mut metadata = stream.metadata.clone();
    metadata.push((Cow::Borrowed("scope_name"), Cow::Borrowed(scope.name)));
    metadata.push((Cow::Borrowed("scope_version"), Cow::Borrowed(scope.version)));
    for (key, value) in &scope.attributes {
        flatten(&mut metadata, key, value, limits)?;
    }
    Ok(metadata)
}

fn read_record<'a>(field: &Field<'a>, limits: &DecodeLimits, now: Nanos) -> Result<Record<'a>, Fault> {
    let mut message = field.message("log record")?;
    let mut record = Record {
        time: now,
        severity_number: 0,
        severity_text: "",
        body: ValueRef::Empty,
        trace_id: TraceId::NONE,
        span_id: SpanId::NONE,
        metadata: Metadata::new(),
    };
    let (mut time, mut observed, mut event_name) = (0, 0, "");
    let mut attributes = Pairs::new();
    while let Some(field) = message.next()? {
        match field.number {
            1 => time = field.fixed64("log_record.time_unix_nano")?,
            2 => record.severity_number = severity(field.varint("log_record.severity_number")?),
            3 => record.severity_text = field.text("log_record.severity_text")?,
            5 => record.body = any_value(&field, limits.line_bytes, limits)?,
            6 => push_attribute(&mut attributes, &field, limits)?,
            // The specification tells receivers to take an invalid id as none.
            9 => {
                record.trace_id = TraceId::from_slice(field.bytes("log_record.trace_id")?).unwrap_or_default()
            }
            10 => record.span_id = SpanId::from_slice(field.bytes("log_record.span_id")?).unwrap_or_default(),
            11 => observed = field.fixed64("log_record.observed_time_unix_nano")?,
            12 => event_name = field.text("log_record.event_name")?,
            _ => {}
        }
    }
    for (key, value) in &attributes {
        flatten(&mut record.metadata, key, value, limits)?;
    }
    if observed != 0 {
        record.metadata.push((Cow::Borrowed("observed_timestamp"), Cow::Owned(observed.to_string())));
    }
    record.metadata.push((Cow::Borrowed("event_name"), Cow::Borrowed(event_name)));
    if event_name.is_empty() {
        // An empty entry would hide an attribute of the same name.
        record.metadata.pop();
    }
    if let Some(stamp) = [time, observed].into_iter().find(|stamp| *stamp != 0) {
        record.time = nanos(stamp);
    }
    Ok(record)
}

/// OpenTelemetry defines 1 to 24; anything else is not told.
fn severity(number: u64) -> u8 {
    u8::try_from(number).ok().filter(|n| *n <= 24).unwrap_or(0)
}

fn line_of<'v>(body: &'v ValueRef<'_>) -> Cow<'v, str> {
    match body {
        ValueRef::Str(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}

/// Adds an attribute under its label name. Maps become one entry per leaf, names joined by underscores, as in Loki;
/// the depth is bounded by the decoder of values.
fn flatten<'a>(
    out: &mut Metadata<'a>,
    key: &'a str,
    value: &ValueRef<'a>,
    limits: &DecodeLimits,
) -> Result<(), Fault> {
    let text = match value {
        ValueRef::Str(text) => Cow::Borrowed(*text),
        ValueRef::Nested(nested) => match &**nested {
            Value::Map(pairs) => return flatten_map(out, key, pairs, limits),
            other => Cow::Owned(other.to_string()),
        },
        other => Cow::Owned(other.to_string()),
    };
    if let Some(name) = label_name(key, NAMING) {
        out.push((name, text));
    }
    Ok(())
}

/// Every leaf repeats the names above it, so both the names and the leaves are held against the limits on the way.
fn flatten_map(
    out: &mut Metadata<'_>,
    prefix: &str,
    pairs: &[(String, Value)],
    limits: &DecodeLimits,
) -> Result<(), Fault> {
    for (key, value) in pairs {
        if prefix.len() + 1 + key.len() > limits.label_name_bytes {
            let limit = limits.label_name_bytes;
            return Err(Fault::over(
                Reason::BadLabelName,
                0,
                "name of a flattened map entry",
                limit,
                "bytes",
            ));
        }
        let name = format!("{prefix}_{key}");
        match value {
            Value::Map(inner) => flatten_map(out, &name, inner, limits)?,
            Value::Empty => {}
            leaf => {
                if out.len() >= limits.attributes.saturating_mul(2) {
                    let limit = limits.attributes.saturating_mul(2);
                    return Err(Fault::over(
                        Reason::TooManyLabels,
                        0,
                        "flattened map entries",
                        limit,
                        "entries",
                    ));
                }
                if let Some(name) = label_name(&name, NAMING) {
                    out.push((Cow::Owned(name.into_owned()), Cow::Owned(leaf.to_string())));
                }
            }
        }
    }
    Ok(())
}

fn refs<'s>(metadata: &'s Metadata<'_>) -> impl Iterator<Item = (&'s str, &'s str)> {
    metadata.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
}

fn borrow<'s>(metadata: &'s Metadata<'_>) -> Vec<(&'s str, &'s str)> {
    refs(metadata).collect()
}
