//! One `tracing` subscriber for logs and spans at once.
//!
//! A registry to which layers attach boxed values costs several times what the encoding itself costs. Here a span is its encoded bytes, an event is a line written into a
//! per-thread buffer, and both know of each other: an error event marks its span, a line carries its span's ids.
//!
//! Never held across foreign code: any lock. A field's `Debug` may log, and may find itself in here again.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::sync::Arc;

use tracing_core::span::{Attributes, Current, Id, Record as SpanRecord};
use tracing_core::subscriber::Interest;
use tracing_core::{Event, Level, LevelFilter, Metadata, Subscriber};

use crate::config::LogFormat;
use crate::core::Core;
use crate::drops::{Reason, Signal};
use crate::fields::{EventFields, EventVisitor, Scoped, SpanFields, SpanVisitor, Status, Value};
use crate::ids::{SpanId, TraceId};
use crate::logline::{self, Record};
use crate::propagation::{self, Context};
use crate::spans::{OpenSpan, untracked};

/// The fused subscriber.
#[derive(Debug)]
pub(crate) struct KenningSubscriber {
    core: Arc<Core>,
}

/// A span entered on this thread.
#[derive(Debug, Clone)]
struct Entered {
    instance: u32,
    id: u64,
    metadata: &'static Metadata<'static>,
    trace_id: TraceId,
    span_id: SpanId,
    sampled: bool,
}

/// Buffers of one thread; taken while in use, so that a nested event finds an empty set and not a conflict.
#[derive(Debug, Default)]
struct Scratch {
    fields: EventFields,
    line: Vec<u8>,
    scoped_line: Vec<u8>,
    scoped_attributes: Vec<u8>,
    encoded: Vec<u8>,
}

thread_local! {
    static MUTED: Cell<bool> = const { Cell::new(false) };
    static ENTERED: RefCell<Vec<Entered>> = const { RefCell::new(Vec::new()) };
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// Capacity of the line and record buffers a thread keeps between events.
const KEPT_CAPACITY_BYTES: usize = 128 * 1024;

/// Room for the attributes of an ordinary span, so that recording them allocates once.
const USUAL_ATTRIBUTE_BYTES: usize = 384;

/// What a new span takes from its parent.
#[derive(Default)]
struct Inherited {
    context: Option<Context>,
    remote: bool,
    scoped: Vec<Arc<Scoped>>,
}

impl KenningSubscriber {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    pub(crate) fn current_context(&self) -> Option<Context> {
        self.context_of(&self.current_id()?)
    }

    pub(crate) fn context_of(&self, id: &Id) -> Option<Context> {
        self.core.spans.with(id, |span| span.context.clone())
    }

    pub(crate) fn add_link(&self, id: &Id, other: &Context) {
        self.core.spans.with(id, |span| {
            if span.recording() {
                span.add_link(other);
            }
        });
    }

    /// The innermost span of this core entered on this thread.
    fn with_current<R>(&self, body: impl FnOnce(&Entered) -> R) -> Option<R> {
        let find = |entered: &RefCell<Vec<Entered>>| {
            let entered = entered.borrow();
            entered.iter().rev().find(|span| span.instance == self.core.instance).map(body)
        };
        ENTERED.try_with(find).ok().flatten()
    }

    fn current_id(&self) -> Option<Id> {
        self.with_current(|span| Id::from_u64(span.id))
    }

    fn inherited(&self, attributes: &Attributes<'_>) -> Inherited {
        if attributes.is_contextual()
            && let Some(remote) = propagation::take_remote()
        {
            let scoped = self.current_id().and_then(|id| self.scoped_of(&id)).unwrap_or_default();
            return Inherited { context: Some(remote), remote: true, scoped };
        }
        let parent = match attributes.parent() {
            Some(id) => Some(id.clone()),
            None if attributes.is_contextual() => self.current_id(),
            None => None,
        };
        let from_span = |span: &mut OpenSpan| Inherited {
            context: Some(span.context.clone()),
            remote: false,
            scoped: span.scoped.clone(),
        };
        parent.and_then(|id| self.core.spans.with(&id, from_span)).unwrap_or_default()
    }

    fn scoped_of(&self, id: &Id) -> Option<Vec<Arc<Scoped>>> {
        self.core.spans.with(id, |span| span.scoped.clone())
    }

    /// The new span's identity. Sampling is decided here, before any work on the span.
    fn new_context(&self, parent: &Option<Context>) -> Context {
        if !self.core.config.tracing_enabled {
            return self.pass_through_context(parent);
        }
        let trace_id = parent.as_ref().map_or_else(|| self.core.ids.trace_id(), |parent| parent.trace_id);
        let parent_sampled = parent.as_ref().map(|parent| parent.sampled);
        let wanted = self.core.config.sampler.decide(trace_id, parent_sampled);
        Context {
            trace_id,
            span_id: self.core.ids.span_id(),
            sampled: wanted,
            trace_state: parent.as_ref().and_then(|parent| parent.trace_state.clone()),
        }
    }

    /// With tracing off we are invisible in the caller's trace: its context is handed on as it came.
    fn pass_through_context(&self, parent: &Option<Context>) -> Context {
        let invent = || Context::new(self.core.ids.trace_id(), self.core.ids.span_id(), false);
        parent.clone().unwrap_or_else(invent)
    }

    fn visit_span(&self, recording: bool, visit: impl FnOnce(&mut SpanVisitor<'_>)) -> SpanFields {
        let mut fields = SpanFields::default();
        if recording {
            fields.attributes.reserve(USUAL_ATTRIBUTE_BYTES);
        }
        let request_fields = &self.core.config.request_fields;
        visit(&mut SpanVisitor { fields: &mut fields, request_fields, recording });
        fields
    }

    /// Whether spans of this core are recorded at all (an outbox exists and tracing is on).
    fn records(&self, context: &Context) -> bool {
        context.sampled && self.core.config.tracing_enabled && self.core.spans_out.is_some()
    }

    fn write_event(&self, event: &Event<'_>, scratch: &mut Scratch) {
        let metadata = event.metadata();
        let now = self.core.clock.unix_nanos();
        let is_error = *metadata.level() == Level::ERROR;
        scratch.fields.clear();
        event.record(&mut EventVisitor {
            fields: &mut scratch.fields,
            format: self.core.style.format,
            attributes: self.core.logs_out.is_some(),
            frames: &|| self.core.backtraces.capture(self.core.clock.mono_nanos()),
            text_errors: is_error,
        });
        if metadata.fields().field("exception.message").is_some() {
            // Whoever names the exception's fields has described it; a key must not appear twice.
            scratch.fields.exception = None;
        }
        let span = self.span_of(event);
        let ids = span.as_ref().and_then(|id| self.read_span(id, metadata, scratch));
        let record = Record {
            unix_nanos: now,
            level: metadata.level(),
            target: metadata.target(),
            event_name: logline::event_name(metadata),
            fields: &scratch.fields,
            scoped_line: &scratch.scoped_line,
            scoped_attributes: &scratch.scoped_attributes,
            ids: ids.map(|(trace_id, span_id, _)| (trace_id, span_id)),
            sampled: ids.is_some_and(|(.., sampled)| sampled),
        };
        self.core.style.write(&mut scratch.line, &record);
        self.core.write_line(&scratch.line);
        if let Some(out) = &self.core.logs_out {
            record.encode(&mut scratch.encoded);
            out.push(&scratch.encoded);
        }
        if let (Some(id), true) = (span, record.sampled) {
            self.mark_span(&id, &record, is_error);
        }
    }

    fn span_of(&self, event: &Event<'_>) -> Option<Id> {
        match event.parent() {
            Some(id) => Some(id.clone()),
            None if event.is_root() => None,
            None => self.current_id(),
        }
    }

    /// Copies what the line needs from the span; fields the event has itself win over the span's.
    fn read_span(
        &self,
        id: &Id,
        metadata: &Metadata<'_>,
        scratch: &mut Scratch,
    ) -> Option<(TraceId, SpanId, bool)> {
        let text = self.core.style.format == LogFormat::Text;
        self.core.spans.with(id, |span| {
            for field in &span.scoped {
                if metadata.fields().field(field.name).is_none() {
                    scratch.scoped_line.extend_from_slice(if text { &field.text } else { &field.json });
                    scratch.scoped_attributes.extend_from_slice(&field.attribute);
                }
            }
            (span.context.trace_id, span.context.span_id, span.recording())
        })
    }

    /// Errors mark their span and stay in it as span events, so that a trace alone tells what went wrong. Other
    /// events join the span only when log records are not exported: otherwise everything would be stored twice.
    fn mark_span(&self, id: &Id, record: &Record<'_>, is_error: bool) {
        let has_exception = record.fields.exception.is_some();
        if !is_error && !has_exception && self.core.logs_out.is_some() {
            return;
        }
        let mut encoded = Vec::new();
        record.encode_span_event(&mut encoded);
        let message = record.fields.exception.as_ref().map_or(&record.fields.message, |error| &error.message);
        self.core.spans.with(id, |span| {
            span.add_event(&encoded);
            if is_error {
                span.mark_error(crate::fields::clipped(message));
            }
        });
    }

    fn finish(&self, span: &OpenSpan) {
        if !self.records(&span.context) {
            return;
        }
        let Some(out) = &self.core.spans_out else { return };
        let end = self.core.clock.mono_nanos();
        with_scratch(|scratch| {
            span.encode(&mut scratch.encoded, end);
            out.push(&scratch.encoded);
        });
    }
}

/// From now on nothing this thread logs or traces is recorded: telemetry about sending telemetry would never end,
/// for instance when the HTTP client's log records are bridged into `tracing`.
pub(crate) fn mute_this_thread() {
    let _ = MUTED.try_with(|muted| muted.set(true));
}

fn is_muted() -> bool {
    MUTED.try_with(Cell::get).unwrap_or(false)
}

/// Lends the thread's buffers, empty.
fn with_scratch(body: impl FnOnce(&mut Scratch)) {
    let taken = SCRATCH.try_with(Cell::take).ok().flatten();
    let mut scratch = taken.unwrap_or_default();
    for buffer in
        [&mut scratch.line, &mut scratch.scoped_line, &mut scratch.scoped_attributes, &mut scratch.encoded]
    {
        buffer.clear();
        if buffer.capacity() > KEPT_CAPACITY_BYTES {
            *buffer = Vec::new();
        }
    }
    body(&mut scratch);
    let _ = SCRATCH.try_with(|slot| slot.set(Some(scratch)));
}

/// Ids of the innermost entered span of this thread, whichever core it belongs to.
pub(crate) fn current_ids() -> Option<(TraceId, SpanId, bool)> {
    let last = |entered: &RefCell<Vec<Entered>>| {
        entered.borrow().last().map(|span| (span.trace_id, span.span_id, span.sampled))
    };
    ENTERED.try_with(last).ok().flatten()
}

impl Subscriber for KenningSubscriber {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.core.filter().enabled(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.core.filter().max_level())
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        if is_muted() {
            return untracked();
        }
        let inherited = self.inherited(attributes);
        let context = self.new_context(&inherited.context);
        let recording = self.records(&context);
        let metadata = attributes.metadata();
        let fields = self.visit_span(recording, |visitor| {
            attributes.record(visitor);
            if recording {
                describe_code(visitor.fields, metadata);
            }
        });
        // An unsampled span is never encoded, so its times are never asked for.
        let times = recording.then(|| (self.core.clock.unix_nanos(), self.core.clock.mono_nanos()));
        let (start_unix_nanos, start_mono_nanos) = times.unwrap_or_default();
        let mut span = OpenSpan {
            metadata,
            parent: inherited.context.map(|parent| parent.span_id),
            parent_remote: inherited.remote,
            name: Cow::Borrowed(metadata.name()),
            start_unix_nanos,
            start_mono_nanos,
            kind: INTERNAL,
            attributes: Vec::new(),
            attribute_count: 0,
            attributes_dropped: 0,
            events: Vec::new(),
            events_dropped: 0,
            links: Vec::new(),
            links_dropped: 0,
            status: Status::Unset,
            scoped: inherited.scoped,
            context,
        };
        span.apply(fields);
        self.core.spans.insert(span).unwrap_or_else(|untracked| {
            self.core.ledger.drop_items(Signal::Spans, Reason::OpenSpans, 1);
            untracked
        })
    }

    fn record(&self, id: &Id, values: &SpanRecord<'_>) {
        let Some(recording) = self.core.spans.with(id, |span| self.records(&span.context)) else { return };
        let fields = self.visit_span(recording, |visitor| values.record(visitor));
        self.core.spans.with(id, |span| span.apply(fields));
    }

    fn record_follows_from(&self, id: &Id, follows: &Id) {
        if let Some(context) = self.context_of(follows) {
            self.add_link(id, &context);
        }
    }

    fn event(&self, event: &Event<'_>) {
        if !is_muted() {
            with_scratch(|scratch| self.write_event(event, scratch));
        }
    }

    fn enter(&self, id: &Id) {
        let entered = self.core.spans.with(id, |span| Entered {
            instance: self.core.instance,
            id: id.into_u64(),
            metadata: span.metadata,
            trace_id: span.context.trace_id,
            span_id: span.context.span_id,
            sampled: self.records(&span.context),
        });
        if let Some(entered) = entered {
            let _ = ENTERED.try_with(|stack| stack.borrow_mut().push(entered));
        }
    }

    fn exit(&self, id: &Id) {
        let remove = |stack: &RefCell<Vec<Entered>>| {
            let mut stack = stack.borrow_mut();
            let same = |span: &Entered| span.id == id.into_u64() && span.instance == self.core.instance;
            if let Some(at) = stack.iter().rposition(same) {
                stack.remove(at);
            }
        };
        let _ = ENTERED.try_with(remove);
    }

    fn clone_span(&self, id: &Id) -> Id {
        self.core.spans.add_reference(id);
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        let Some(span) = self.core.spans.release(&id) else { return false };
        self.finish(&span);
        true
    }

    fn current_span(&self) -> Current {
        self.with_current(|span| Current::new(Id::from_u64(span.id), span.metadata))
            .unwrap_or_else(Current::none)
    }
}

/// OTLP's `SPAN_KIND_INTERNAL`.
const INTERNAL: u8 = 1;

/// Where the span is made in the source, by its OpenTelemetry names.
fn describe_code(fields: &mut SpanFields, metadata: &Metadata<'_>) {
    if let Some(file) = metadata.file() {
        fields.attribute("code.file.path", Value::Str(file));
    }
    if let Some(line) = metadata.line() {
        fields.attribute("code.line.number", Value::Int(i64::from(line)));
    }
}
