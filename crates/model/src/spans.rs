//! Spans: timed operations that make up traces. Definition: OpenTelemetry trace data model.

use std::sync::Arc;

use crate::{Attributes, Nanos, SpanId, TimeRange, TraceId};

/// A span's role. Numbers are OpenTelemetry's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum SpanKind {
    /// Not told.
    #[default]
    Unspecified = 0,
    /// Work inside a process.
    Internal = 1,
    /// Handles a request.
    Server = 2,
    /// Makes a request.
    Client = 3,
    /// Hands over a message.
    Producer = 4,
    /// Takes a message.
    Consumer = 5,
}

impl SpanKind {
    /// The kind of an OpenTelemetry number; unknown numbers are [`Self::Unspecified`].
    #[must_use]
    pub const fn from_number(number: u64) -> Self {
        match number {
            1 => Self::Internal,
            2 => Self::Server,
            3 => Self::Client,
            4 => Self::Producer,
            5 => Self::Consumer,
            _ => Self::Unspecified,
        }
    }

    /// The lower-case word that Jaeger (`span.kind`) and TraceQL use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Internal => "internal",
            Self::Server => "server",
            Self::Client => "client",
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        }
    }
}

/// How a span ended. Numbers are OpenTelemetry's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum StatusCode {
    /// Not told.
    #[default]
    Unset = 0,
    /// Said to be fine.
    Ok = 1,
    /// Failed.
    Error = 2,
}

impl StatusCode {
    /// The status of an OpenTelemetry number; unknown numbers are [`Self::Unset`].
    #[must_use]
    pub const fn from_number(number: u64) -> Self {
        match number {
            1 => Self::Ok,
            2 => Self::Error,
            _ => Self::Unset,
        }
    }

    /// The lower-case word that TraceQL uses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unset => "unset",
            Self::Ok => "ok",
            Self::Error => "error",
        }
    }
}

/// What spans of one exporter have in common: the resource and the instrumentation scope.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SpanSource {
    /// Attributes of the resource (`service.name` ...).
    pub resource: Attributes,
    /// Name of the instrumentation scope.
    pub scope_name: String,
    /// Version of the instrumentation scope.
    pub scope_version: String,
    /// Attributes of the instrumentation scope.
    pub scope: Attributes,
}

impl SpanSource {
    /// `service.name`, or the name OpenTelemetry prescribes where it is missing.
    #[must_use]
    pub fn service_name(&self) -> &str {
        match self.resource.get_str("service.name") {
            "" => "unknown_service",
            name => name,
        }
    }
}

/// Something that happened at one instant within a span.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpanEvent {
    /// When.
    pub time: Nanos,
    /// What, such as `exception`.
    pub name: String,
    /// Details.
    pub attributes: Attributes,
}

/// A reference to a span of this or another trace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpanLink {
    /// The other trace.
    pub trace_id: TraceId,
    /// The other span.
    pub span_id: SpanId,
    /// W3C `tracestate` of the other span.
    pub trace_state: String,
    /// Details.
    pub attributes: Attributes,
}

/// One timed operation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Span {
    /// The trace it belongs to.
    pub trace_id: TraceId,
    /// Its own id.
    pub span_id: SpanId,
    /// The span that caused it, or [`SpanId::NONE`] for a root.
    pub parent_span_id: SpanId,
    /// W3C `tracestate`.
    pub trace_state: String,
    /// What was done.
    pub name: String,
    /// Its role.
    pub kind: SpanKind,
    /// When it started.
    pub start: Nanos,
    /// When it ended; never before `start` (decoders lift it).
    pub end: Nanos,
    /// How it ended.
    pub status: StatusCode,
    /// Why, for an error.
    pub status_message: String,
    /// Details.
    pub attributes: Attributes,
    /// What happened inside.
    pub events: Vec<SpanEvent>,
    /// References to other spans.
    pub links: Vec<SpanLink>,
    /// Index into [`SpanBatch::sources`].
    pub source: u32,
}

impl Span {
    /// Nanoseconds from start to end.
    #[must_use]
    pub const fn duration_nanos(&self) -> i64 {
        self.end.0.saturating_sub(self.start.0)
    }

    /// Bytes held, for memory accounting.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let events = self.events.iter().map(|e| 56 + e.name.len() + e.attributes.as_bytes().len());
        let links = self.links.iter().map(|l| 72 + l.trace_state.len() + l.attributes.as_bytes().len());
        size_of::<Self>()
            + self.trace_state.len()
            + self.name.len()
            + self.status_message.len()
            + self.attributes.as_bytes().len()
            + events.sum::<usize>()
            + links.sum::<usize>()
    }
}

/// Spans of one tenant that are made durable together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpanBatch {
    /// Resources and scopes, each once; shared, since many batches repeat them.
    pub sources: Vec<Arc<SpanSource>>,
    /// The spans.
    pub spans: Vec<Span>,
}

impl SpanBatch {
    /// Adds a source and gives its index. The caller adds each source once.
    pub fn add_source(&mut self, source: Arc<SpanSource>) -> u32 {
        let index = self.sources.len() as u32;
        self.sources.push(source);
        index
    }

    /// The source of one of this batch's spans.
    #[must_use]
    pub fn source_of(&self, span: &Span) -> Option<&Arc<SpanSource>> {
        self.sources.get(span.source as usize)
    }

    /// Number of spans.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// True without spans.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// From the earliest start to the latest start. Spans are filed under their start.
    #[must_use]
    pub fn time_range(&self) -> Option<TimeRange> {
        let starts = || self.spans.iter().map(|s| s.start);
        Some(TimeRange { start: starts().min()?, end: starts().max()? })
    }

    /// Bytes held, for memory accounting.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let source = |s: &Arc<SpanSource>| 120 + s.resource.as_bytes().len() + s.scope.as_bytes().len();
        self.spans.iter().map(Span::heap_bytes).sum::<usize>()
            + self.sources.iter().map(source).sum::<usize>()
    }
}
