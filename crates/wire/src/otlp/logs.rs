//! `ExportLogsServiceRequest` to log records, mapped as Loki maps them: some resource attributes label the stream, all
//! other facts are structured metadata, the body is the line. Definition: opentelemetry-proto `logs.proto`; Loki's
//! documentation "Ingesting logs to Loki using OpenTelemetry Collector".
//!
//! Differs from Loki: trace and span ids are columns and not repeated as metadata; bytes are hex, not base64.

use std::borrow::Cow;
use std::sync::Arc;

use kenning_model::{
    LabelSet, LogBatch, LogRow, Nanos, Reason, Rejected, Severity, SpanId, TraceId, Value, ValueRef,
};

use super::OtlpOptions;
use super::common::{Pairs, Scope, any_value, count_item, nanos, push_attribute, resource_of, scope_of};
use super::naming::{TranslationStrategy, label_name};
use super::sources::{Reading, Source};
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
        sources: options.known_sources.read(limits, options),
        table: LabelTable::default(),
        metadata: Shared::default(),
        batch: LogBatch::default(),
        rejected: Rejected::default(),
        seen: 0,
    };
    decoder.batch.line.reserve(body.len());
    let mut request = Reader::new(body);
    while let Some(field) = request.next()? {
        if field.number == 1 {
            decoder.group(field.message("resource group")?)?;
        }
    }
    let Decoder { sources, table, mut batch, rejected, .. } = decoder;
    sources.finish();
    batch.streams = table.into_sets();
    Ok(Decoded { batch, rejected })
}

struct Decoder<'l> {
    limits: &'l DecodeLimits,
    options: &'l OtlpOptions,
    sources: Reading<'l>,
    table: LabelTable,
    metadata: Shared,
    batch: LogBatch,
    rejected: Rejected,
    seen: usize,
}

/// One record before its stream is known.
struct Record<'a> {
    time: Nanos,
    severity_number: u8,
    severity_text: &'a str,
    body: ValueRef<'a>,
    trace_id: TraceId,
    span_id: SpanId,
    /// Its own alone.
    metadata: Metadata<'a>,
}

/// What a resource and a scope come to. The labels are checked before the scope is looked at.
fn source_of(
    resource: &Pairs<'_>,
    scope: &Scope<'_>,
    limits: &DecodeLimits,
    options: &OtlpOptions,
    at: usize,
) -> Result<Source, Fault> {
    let (mut labels, mut metadata) = (Metadata::new(), Metadata::new());
    for (key, value) in resource {
        let is_label = options.stream_attributes.iter().any(|name| name == key);
        flatten(if is_label { &mut labels } else { &mut metadata }, key, value, limits)?;
    }
    if !labels.iter().any(|(name, value)| name == "service_name" && !value.is_empty()) {
        labels.push((Cow::Borrowed("service_name"), Cow::Borrowed("unknown_service")));
    }
    check_labels(&borrow(&labels), limits, at)?;
    metadata.push((Cow::Borrowed("scope_name"), Cow::Borrowed(scope.name)));
    metadata.push((Cow::Borrowed("scope_version"), Cow::Borrowed(scope.version)));
    for (key, value) in &scope.attributes {
        flatten(&mut metadata, key, value, limits)?;
    }
    let set = |pairs: &Metadata<'_>| LabelSet::from_borrowed(&mut borrow(pairs));
    Ok(Source::new(set(&labels), set(&metadata), metadata.len()))
}

impl<'a> Decoder<'_> {
    fn group(&mut self, group: Reader<'a>) -> Result<(), DecodeError> {
        let resource = sole_message(group, |_| true)?;
        // Read when it is first needed.
        let mut read = None;
        let mut fields = group;
        while let Some(field) = fields.next()? {
            if field.number == 2 {
                let items = field.message("scope group")?;
                let source = self.source(resource, group, items, &mut read)?;
                self.scope(&source, items)?;
            }
        }
        Ok(())
    }

    /// What the resource and the scope of a group come to, by their bytes if they came before.
    fn source(
        &mut self,
        resource: Option<&[u8]>,
        group: Reader<'a>,
        items: Reader<'a>,
        read: &mut Option<Result<Pairs<'a>, Fault>>,
    ) -> Result<Result<Arc<Source>, Fault>, DecodeError> {
        let has_url = |field: &Field<'_>| field.number != 3 || field.text("").is_ok();
        let sent = resource.zip(sole_message(items, has_url)?);
        let vacant = match sent.map(|(resource, scope)| self.sources.find(resource, scope)) {
            Some(Ok(source)) => return Ok(Ok(source)),
            Some(Err(vacant)) => Some(vacant),
            None => None,
        };
        let resource = match read {
            Some(resource) => resource,
            none => none.insert(resource_of(group, self.limits)?),
        };
        let source = match (resource, scope_of(items, self.limits)?) {
            (Ok(resource), Ok(scope)) => {
                source_of(resource, &scope, self.limits, self.options, group.offset())
            }
            (Err(fault), _) => Err(*fault),
            (_, Err(fault)) => Err(fault),
        };
        let source = source.map(Arc::new);
        if let (Ok(source), Some(vacant)) = (&source, vacant) {
            self.sources.add(vacant, source);
        }
        Ok(source)
    }

    fn scope(
        &mut self,
        source: &Result<Arc<Source>, Fault>,
        mut items: Reader<'_>,
    ) -> Result<(), DecodeError> {
        let mut index = None;
        while let Some(field) = items.next()? {
            if field.number != 2 {
                continue;
            }
            count_item(&mut self.seen, self.limits)?;
            let outcome = match source {
                Ok(source) => self.record(&field, source, &mut index),
                Err(fault) => Err(*fault),
            };
            if let Err(fault) = outcome {
                fault.count(&mut self.rejected, 1);
            }
        }
        Ok(())
    }

    fn record(&mut self, field: &Field<'_>, source: &Source, index: &mut Option<u32>) -> Result<(), Fault> {
        let record = read_record(field, self.limits, self.options.now)?;
        let line = line_of(&record.body);
        if line.len() > self.limits.line_bytes {
            let limit = self.limits.line_bytes;
            return Err(Fault::over(Reason::TooLong, field.at, "log line", limit, "bytes"));
        }
        let (metadata, level) = self.metadata_of(&record, source, &line, field.at)?;
        let stream = *index.get_or_insert_with(|| self.table.intern_set(&source.labels));
        let row = LogRow {
            stream: &source.labels,
            time: record.time,
            severity: level,
            trace_id: record.trace_id,
            span_id: record.span_id,
            line: &line,
            metadata: &metadata,
        };
        self.batch.push(stream, row);
        Ok(())
    }

    /// A record's structured metadata with what its resource and scope share, of equal names the last, and its level.
    fn metadata_of(
        &mut self,
        record: &Record<'_>,
        source: &Source,
        line: &str,
        at: usize,
    ) -> Result<(LabelSet, Severity), Fault> {
        let limit = self.limits.attributes.saturating_mul(2);
        if source.entries + record.metadata.len() + record.severity().count() > limit {
            return Err(Fault::over(Reason::TooManyLabels, at, "structured metadata", limit, "entries"));
        }
        // Told, and nothing else told: the line has no say, so many records are alike.
        if record.metadata.is_empty() && record.told() != Severity::UNKNOWN {
            let severity = (record.severity_number, record.severity_text);
            if let Some(known) = source.finished(severity, || self.built(record, source, line)) {
                return Ok((known.metadata.clone(), known.severity));
            }
        }
        Ok(self.built(record, source, line))
    }

    fn built(&mut self, record: &Record<'_>, source: &Source, line: &str) -> (LabelSet, Severity) {
        let pairs = source.metadata.iter().chain(refs(&record.metadata)).chain(record.severity());
        let level = level_of(record, &source.labels, pairs.clone(), line);
        let mut pairs = pairs.chain([(DETECTED_LEVEL, level.word)]).collect();
        (self.metadata.build(&mut pairs), level.severity)
    }
}

impl Record<'_> {
    /// The severity that the sender told, by number or by word.
    fn told(&self) -> Severity {
        match self.severity_number {
            0 => Severity::from_word(self.severity_text),
            number => Severity(number),
        }
    }

    /// What its severity adds to its metadata.
    fn severity(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        let number = SEVERITY_NUMBERS.get(usize::from(self.severity_number)).copied().unwrap_or("");
        let number = (self.severity_number != 0).then_some(("severity_number", number));
        number.into_iter().chain([("severity_text", self.severity_text)])
    }
}

/// The payload of a group's message of number 1 when there is one at most and nothing else is at fault: several are
/// merged, and faults are found, the plain way.
fn sole_message<'a>(
    mut group: Reader<'a>,
    is_good: impl Fn(&Field<'_>) -> bool,
) -> Result<Option<&'a [u8]>, Fault> {
    let (mut found, mut is_sole) = (None, true);
    while let Some(field) = group.next()? {
        if field.number == 1 {
            let bytes = field.bytes("").ok();
            is_sole &= found.is_none() && bytes.is_some();
            found = bytes;
        }
        is_sole &= is_good(&field);
    }
    Ok(is_sole.then(|| found.unwrap_or_default()))
}

/// The sender's number rules; then its word; then what the record says elsewhere.
fn level_of<'a>(
    record: &Record<'a>,
    labels: &'a LabelSet,
    pairs: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    line: &'a str,
) -> logs::Level<'a> {
    let given = pairs.clone().filter(|(name, value)| *name == DETECTED_LEVEL && !value.is_empty()).last();
    match (record.told(), given) {
        (Severity::UNKNOWN, _) => logs::detect(labels, pairs, line),
        (severity, Some((_, word))) => logs::Level { severity, word: logs::canonical_word(word) },
        (severity, None) => logs::Level { severity, word: severity.as_str() },
    }
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

fn refs<'s>(metadata: &'s Metadata<'_>) -> impl Iterator<Item = (&'s str, &'s str)> + Clone {
    metadata.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
}

fn borrow<'s>(metadata: &'s Metadata<'_>) -> Vec<(&'s str, &'s str)> {
    refs(metadata).collect()
}
