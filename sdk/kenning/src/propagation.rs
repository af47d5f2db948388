//! Trace context across process borders: W3C `traceparent` and `tracestate`.
//!
//! Carriers are given as closures, so that HTTP headers, Kafka headers or a JSON map all work:
//!
//! ```
//! use std::collections::HashMap;
//! use kenning::propagation;
//!
//! // The sending side: from the current span into a message's headers.
//! let mut headers: HashMap<String, String> = HashMap::new();
//! propagation::inject(|name, value| { headers.insert(name.to_owned(), value); });
//!
//! // The receiving side: a span that continues the sender's trace.
//! let remote = propagation::extract(|name| headers.get(name).map(String::as_str));
//! let span = propagation::with_remote(remote, || tracing::info_span!("consume", otel.kind = "consumer"));
//! # drop(span);
//! ```
//!
//! Reference: <https://www.w3.org/TR/trace-context/>. Baggage is not carried.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use crate::ids::{SpanId, TraceId};
use crate::subscriber::{self, KenningSubscriber};

/// Longest `tracestate` passed on; W3C asks for at least 512.
const TRACESTATE_BYTES_MAX: usize = 512;

/// Who we are in a trace: what travels between processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    pub(crate) sampled: bool,
    pub(crate) trace_state: Option<Arc<str>>,
}

impl Context {
    /// A context with these ids and no `tracestate`.
    pub fn new(trace_id: TraceId, span_id: SpanId, sampled: bool) -> Self {
        Self { trace_id, span_id, sampled, trace_state: None }
    }

    /// The trace's id.
    pub fn trace_id(&self) -> TraceId {
        self.trace_id
    }

    /// The span's id.
    pub fn span_id(&self) -> SpanId {
        self.span_id
    }

    /// Whether the span is recorded.
    pub fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// Parses a `traceparent` header; `None` for anything W3C calls invalid.
    pub fn from_traceparent(text: &str) -> Option<Self> {
        let text = text.trim_matches([' ', '\t']);
        let mut parts = text.split('-');
        let version = hex_field(parts.next()?, 2)?;
        let trace_id = TraceId::new(hex_field(parts.next()?, 32)?)?;
        let span_id = SpanId::new(u64::try_from(hex_field(parts.next()?, 16)?).ok()?)?;
        let flags = hex_field(parts.next()?, 2)?;
        // Later versions may append fields; version 0 has none, and 255 does not exist.
        let valid = version != 0xff && (version != 0 || parts.next().is_none());
        valid.then(|| Self::new(trace_id, span_id, flags & 1 == 1))
    }

    /// The `traceparent` header of this context.
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-{:02x}", self.trace_id, self.span_id, u8::from(self.sampled))
    }
}

/// Shows the `traceparent` form.
impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.traceparent())
    }
}

/// Exactly `digits` lower-case hexadecimal digits.
fn hex_field(text: &str, digits: usize) -> Option<u128> {
    let valid = text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if valid { u128::from_str_radix(text, 16).ok() } else { None }
}

/// A `tracestate` that may be passed on: printable, within bounds. Its members are opaque to us.
fn valid_trace_state(text: &str) -> Option<Arc<str>> {
    let text = text.trim_matches([' ', '\t']);
    let printable = text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    (printable && !text.is_empty() && text.len() <= TRACESTATE_BYTES_MAX).then(|| Arc::from(text))
}

/// Reads a remote context with `get`, which looks a header up by its lower-case name.
pub fn extract<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Option<Context> {
    let mut context = Context::from_traceparent(get("traceparent")?)?;
    context.trace_state = get("tracestate").and_then(valid_trace_state);
    Some(context)
}

/// Writes the current span's context with `set`; does nothing outside of a span.
pub fn inject(set: impl FnMut(&'static str, String)) {
    if let Some(context) = current() {
        inject_context(&context, set);
    }
}

/// Writes a given context with `set`.
pub fn inject_context(context: &Context, mut set: impl FnMut(&'static str, String)) {
    set("traceparent", context.traceparent());
    if let Some(state) = &context.trace_state {
        set("tracestate", state.to_string());
    }
}

/// The current span's context; `None` outside of a span and when Kenning is not the subscriber.
pub fn current() -> Option<Context> {
    tracing_core::dispatcher::get_default(|dispatch| {
        dispatch.downcast_ref::<KenningSubscriber>().and_then(KenningSubscriber::current_context)
    })
}

/// The context of `span`; `None` for a disabled span and when Kenning is not its subscriber.
pub fn context_of(span: &tracing::Span) -> Option<Context> {
    span.with_subscriber(|(id, dispatch)| {
        dispatch.downcast_ref::<KenningSubscriber>().and_then(|subscriber| subscriber.context_of(id))
    })
    .flatten()
}

/// Records that `span` was caused by `other` without being its child, for instance a batch by each of its messages.
pub fn link(span: &tracing::Span, other: &Context) {
    span.with_subscriber(|(id, dispatch)| {
        if let Some(subscriber) = dispatch.downcast_ref::<KenningSubscriber>() {
            subscriber.add_link(id, other);
        }
    });
}

/// Runs `make`; a span created in it without an explicit parent continues `remote`. With `None`, nothing changes.
pub fn with_remote<R>(remote: Option<Context>, make: impl FnOnce() -> R) -> R {
    let Some(remote) = remote else { return make() };
    let previous = REMOTE.with(|slot| slot.borrow_mut().replace(remote));
    let _restore = Restore(previous);
    make()
}

thread_local! {
    static REMOTE: RefCell<Option<Context>> = const { RefCell::new(None) };
}

/// Puts the outer remote context back, also when the closure panics.
struct Restore(Option<Context>);

impl Drop for Restore {
    fn drop(&mut self) {
        let previous = self.0.take();
        let _ = REMOTE.try_with(|slot| *slot.borrow_mut() = previous);
    }
}

/// Takes the remote context waiting on this thread: only the outermost span of the closure continues it.
pub(crate) fn take_remote() -> Option<Context> {
    REMOTE.try_with(|slot| slot.borrow_mut().take()).ok().flatten()
}

/// The ids of the current span without taking a lock, for exemplars.
pub(crate) fn current_ids() -> Option<(TraceId, SpanId, bool)> {
    subscriber::current_ids()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn traceparent() {
        let accept = |text: &str, sampled: bool| {
            let context = Context::from_traceparent(text).expect(text);
            assert_eq!(context.sampled, sampled, "{text}");
            assert_eq!(context.trace_id.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        };
        accept(VALID, true);
        accept("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", false);
        accept("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff", true);
        accept("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-ever", true);
        accept(&format!(" {VALID}\t"), true);
        let refuse = |text: &str| assert_eq!(Context::from_traceparent(text), None, "{text}");
        refuse("");
        refuse(&format!("{VALID}-x"));
        refuse(&VALID.to_uppercase());
        refuse("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        refuse("00-00000000000000000000000000000000-00f067aa0ba902b7-01");
        refuse("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01");
        refuse("00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01");
        refuse("00-4bf92f3577b34da6a3ce929d0e0e47+6-00f067aa0ba902b7-01");
        assert_eq!(Context::from_traceparent(VALID).unwrap().traceparent(), VALID);
    }

    #[test]
    fn tracestate_is_passed_on_when_printable() {
        let with = |state: &'static str| {
            extract(|name| match name {
                "traceparent" => Some(VALID),
                "tracestate" => Some(state),
                _ => None,
            })
            .unwrap()
            .trace_state
        };
        assert_eq!(with("a=1,b=2").as_deref(), Some("a=1,b=2"));
        assert_eq!(with("a=\u{1}"), None);
        assert_eq!(with(""), None);
    }
}
