//! Collects the log records of one request, whatever protocol they came by: limits, streams kept once, service names,
//! levels, trace ids. Loki's push, Elasticsearch's bulk, Fluent forward and syslog all end here.

use kenning_model::{LabelSet, LogBatch, LogRow, Nanos, Reason, Rejected, SpanId, TraceId};

use crate::error::{DecodeError, Decoded, Fault};
use crate::intern::{LabelTable, Shared, check_labels};
use crate::limits::DecodeLimits;
use crate::logs::{self, DETECTED_LEVEL};

/// The label that names the service of a stream.
pub(crate) const SERVICE_NAME: &str = "service_name";

/// What a stream is called that nothing names a service of.
pub(crate) const UNKNOWN_SERVICE: &str = "unknown_service";

/// Labels that tell a service's name when [`SERVICE_NAME`] does not; Loki's `discover_service_name`, in its order.
const SERVICE_NAME_SOURCES: [&str; 13] = [
    "service",
    "app",
    "application",
    "app_name",
    "name",
    "app_kubernetes_io_name",
    "container",
    "container_name",
    "k8s_container_name",
    "component",
    "workload",
    "job",
    "k8s_job_name",
];

/// Labels of streams that Loki makes itself, and does not look for a service in.
const AGGREGATED: [&str; 2] = ["__aggregated_metric__", "__pattern__"];

/// Collects the records of a request.
pub(crate) struct Records<'l> {
    pub limits: &'l DecodeLimits,
    table: LabelTable,
    metadata: Shared,
    batch: LogBatch,
    pub rejected: Rejected,
    seen: usize,
}

/// One record as it stands in a request.
pub(crate) struct Entry<'a> {
    pub time: Nanos,
    pub line: &'a str,
    pub metadata: Vec<(&'a str, &'a str)>,
    /// Offset in the request, to blame.
    pub at: usize,
}

impl<'l> Records<'l> {
    pub fn new(limits: &'l DecodeLimits) -> Self {
        Self {
            limits,
            table: LabelTable::default(),
            metadata: Shared::default(),
            batch: LogBatch::default(),
            rejected: Rejected::default(),
            seen: 0,
        }
    }

    /// Makes room for the lines of a request of so many bytes.
    pub fn expect(mut self, bytes: usize) -> Self {
        self.batch.line.reserve(bytes);
        self
    }

    pub fn finish(mut self) -> Decoded<LogBatch> {
        self.batch.streams = self.table.into_sets();
        Decoded { batch: self.batch, rejected: self.rejected }
    }

    pub fn count_entry(&mut self) -> Result<(), DecodeError> {
        self.seen += 1;
        if self.seen > self.limits.items {
            let what = "the request holds too many log records; send smaller batches";
            return Err(DecodeError::TooLarge { what, limit: self.limits.items });
        }
        Ok(())
    }

    /// The index of a stream, its service found when it is not told.
    pub fn stream<'p>(&mut self, labels: &mut Vec<(&'p str, &'p str)>, at: usize) -> Result<u32, Fault> {
        labels.retain(|(_, value)| !value.is_empty());
        if labels.is_empty() {
            return Err(Fault::new(
                Reason::Missing,
                at,
                "stream labels",
                "are empty; send at least one label",
            ));
        }
        check_labels(labels, self.limits, at)?;
        if !labels.iter().all(|(name, _)| is_label_name(name)) {
            let problem =
                "hold a name that is not [a-zA-Z_][a-zA-Z0-9_]*; write underscores for other characters";
            return Err(Fault::new(Reason::BadLabelName, at, "stream labels", problem));
        }
        if let Some(service) = service_of(labels) {
            labels.push((SERVICE_NAME, service));
        }
        Ok(self.table.intern(labels))
    }

    /// The index of a stream whose labels this gave once, under limits that these keep.
    pub fn known_stream(&mut self, labels: &LabelSet) -> u32 {
        self.table.intern_set(labels)
    }

    pub fn labels(&self, stream: u32) -> LabelSet {
        self.table.get(stream).cloned().unwrap_or_default()
    }

    pub fn entry<'a>(&mut self, stream: u32, labels: &'a LabelSet, entry: Entry<'a>) -> Result<(), Fault> {
        let Entry { time, line, mut metadata, at } = entry;
        if line.len() > self.limits.line_bytes {
            return Err(Fault::over(Reason::TooLong, at, "log line", self.limits.line_bytes, "bytes"));
        }
        check_metadata(&metadata, self.limits, at)?;
        let (trace_id, span_id) = take_ids(&mut metadata);
        let level = logs::detect(labels, metadata.iter().copied(), line);
        metadata.push((DETECTED_LEVEL, level.word));
        let row = LogRow {
            stream: labels,
            time,
            severity: level.severity,
            trace_id,
            span_id,
            line,
            metadata: &self.metadata.build(&mut metadata),
        };
        self.batch.push(stream, row);
        Ok(())
    }
}

fn is_label_name(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !name.starts_with(|c: char| c.is_ascii_digit())
}

fn check_metadata(pairs: &[(&str, &str)], limits: &DecodeLimits, at: usize) -> Result<(), Fault> {
    if pairs.len() > limits.attributes {
        let limit = limits.attributes;
        return Err(Fault::over(Reason::TooManyLabels, at, "structured metadata", limit, "entries"));
    }
    for (name, value) in pairs {
        if name.is_empty() || name.len() > limits.label_name_bytes {
            let limit = limits.label_name_bytes;
            return Err(Fault::over(Reason::BadLabelName, at, "structured metadata name", limit, "bytes"));
        }
        if value.len() > limits.attribute_bytes {
            let limit = limits.attribute_bytes;
            return Err(Fault::over(Reason::LabelValueTooLong, at, "structured metadata", limit, "bytes"));
        }
    }
    Ok(())
}

/// Moves well-formed ids out of the metadata into their columns; the query side shows them under the same names.
fn take_ids(metadata: &mut Vec<(&str, &str)>) -> (TraceId, SpanId) {
    let (mut trace_id, mut span_id) = (TraceId::NONE, SpanId::NONE);
    metadata.retain(|(name, value)| match *name {
        "trace_id" if value.len() == 32 => take(TraceId::from_hex(value), value, &mut trace_id),
        "span_id" if value.len() == 16 => take(SpanId::from_hex(value), value, &mut span_id),
        _ => true,
    });
    (trace_id, span_id)
}

/// False, for removal, when the id is one that prints as it was written.
fn take<T: ToString + Default + PartialEq>(parsed: Option<T>, written: &str, slot: &mut T) -> bool {
    match parsed {
        Some(id) if id != T::default() && id.to_string() == written => {
            *slot = id;
            false
        }
        _ => true,
    }
}

fn service_of<'a>(labels: &[(&'a str, &'a str)]) -> Option<&'a str> {
    if labels.iter().any(|(name, _)| *name == SERVICE_NAME || AGGREGATED.contains(name)) {
        return None;
    }
    let value = |source: &str| labels.iter().find(|(name, _)| *name == source).map(|(_, value)| *value);
    Some(discover_service(value).unwrap_or(UNKNOWN_SERVICE))
}

/// What a stream is to be called (the label `service_name`): `None` when it says so itself. Definition: Loki's
/// `discover_service_name`.
#[must_use]
pub fn service_name(labels: &LabelSet) -> Option<&str> {
    let pairs: Vec<_> = labels.iter().collect();
    service_of(&pairs)
}

/// The first service that labels tell of, in Loki's order.
pub(crate) fn discover_service<'a>(value: impl Fn(&str) -> Option<&'a str>) -> Option<&'a str> {
    SERVICE_NAME_SOURCES.iter().find_map(|source| value(source))
}
