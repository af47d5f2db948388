//! `ExportTraceServiceRequest` to spans. Definition: opentelemetry-proto `trace.proto`.
//!
//! Not kept, since the model has no place for them: dropped counts, span flags, schema URLs.

use std::collections::HashMap;
use std::sync::Arc;

use kenning_model::{
    Attributes, Reason, Rejected, Span, SpanBatch, SpanEvent, SpanId, SpanKind, SpanLink, SpanSource,
    StatusCode, TraceId,
};

use super::common::{
    Pairs, Scope, count_item, for_each_resource, for_each_scope, nanos, pack, push_attribute,
};
use crate::error::{DecodeError, Decoded, Fault};
use crate::limits::DecodeLimits;
use crate::protobuf::{Field, Reader};

pub(super) fn decode(body: &[u8], limits: &DecodeLimits) -> Result<Decoded<SpanBatch>, DecodeError> {
    let mut decoder = Decoder {
        limits,
        batch: SpanBatch::default(),
        sources: HashMap::new(),
        rejected: Rejected::default(),
        seen: 0,
    };
    for_each_resource(body, limits, |resource, group| {
        for_each_scope(group, limits, |scope, items| decoder.scope(&resource, &scope, items))
    })?;
    Ok(Decoded { batch: decoder.batch, rejected: decoder.rejected })
}

struct Decoder<'l> {
    limits: &'l DecodeLimits,
    batch: SpanBatch,
    /// Where each source stands: groups of merged requests repeat theirs.
    sources: HashMap<Arc<SpanSource>, u32>,
    rejected: Rejected,
    seen: usize,
}

impl Decoder<'_> {
    fn scope(
        &mut self,
        resource: &Result<Pairs<'_>, Fault>,
        scope: &Result<Scope<'_>, Fault>,
        mut items: Reader<'_>,
    ) -> Result<(), DecodeError> {
        let mut source = None;
        while let Some(field) = items.next()? {
            if field.number != 2 {
                continue;
            }
            count_item(&mut self.seen, self.limits)?;
            let span = match (resource, scope) {
                (Ok(resource), Ok(scope)) => span(&field, self.limits).map(|span| (resource, scope, span)),
                (Err(fault), _) | (_, Err(fault)) => Err(*fault),
            };
            match span {
                Ok((resource, scope, mut span)) => {
                    span.source = *source.get_or_insert_with(|| self.add_source(resource, scope));
                    self.batch.spans.push(span);
                }
                Err(fault) => fault.count(&mut self.rejected, 1),
            }
        }
        Ok(())
    }

    fn add_source(&mut self, resource: &Pairs<'_>, scope: &Scope<'_>) -> u32 {
        let source = Arc::new(SpanSource {
            resource: pack(resource),
            scope_name: scope.name.to_owned(),
            scope_version: scope.version.to_owned(),
            scope: pack(&scope.attributes),
        });
        let batch = &mut self.batch;
        *self.sources.entry(Arc::clone(&source)).or_insert_with(|| batch.add_source(source))
    }
}

fn span(field: &Field<'_>, limits: &DecodeLimits) -> Result<Span, Fault> {
    let mut message = field.message("span")?;
    let mut span = Span::default();
    let mut attributes = Pairs::new();
    while let Some(field) = message.next()? {
        match field.number {
            1 => span.trace_id = trace_id(&field, "span.trace_id")?,
            2 => span.span_id = span_id(&field, "span.span_id")?,
            3 => field.text("span.trace_state")?.clone_into(&mut span.trace_state),
            4 => span.parent_span_id = parent(&field)?,
            5 => span.name = bounded(&field, "span.name", limits)?,
            6 => span.kind = SpanKind::from_number(field.varint("span.kind")?),
            7 => span.start = nanos(field.fixed64("span.start_time_unix_nano")?),
            8 => span.end = nanos(field.fixed64("span.end_time_unix_nano")?),
            9 => push_attribute(&mut attributes, &field, limits)?,
            11 => push_bounded(&mut span.events, event(&field, limits)?, &field, "span.events", limits)?,
            13 => push_bounded(&mut span.links, link(&field, limits)?, &field, "span.links", limits)?,
            15 => status(&field, &mut span, limits)?,
            _ => {}
        }
    }
    if span.trace_id.is_none() {
        return Err(Fault::new(Reason::Missing, field.at, "span.trace_id", "is missing or zero"));
    }
    if span.span_id.is_none() {
        return Err(Fault::new(Reason::Missing, field.at, "span.span_id", "is missing or zero"));
    }
    span.end = span.end.max(span.start);
    span.attributes = pack(&attributes);
    Ok(span)
}

fn trace_id(field: &Field<'_>, name: &'static str) -> Result<TraceId, Fault> {
    match field.bytes(name)? {
        [] => Ok(TraceId::NONE),
        bytes => TraceId::from_slice(bytes)
            .ok_or_else(|| Fault::new(Reason::Malformed, field.at, name, "is not 16 bytes long")),
    }
}

fn span_id(field: &Field<'_>, name: &'static str) -> Result<SpanId, Fault> {
    match field.bytes(name)? {
        [] => Ok(SpanId::NONE),
        bytes => SpanId::from_slice(bytes)
            .ok_or_else(|| Fault::new(Reason::Malformed, field.at, name, "is not 8 bytes long")),
    }
}

fn parent(field: &Field<'_>) -> Result<SpanId, Fault> {
    span_id(field, "span.parent_span_id")
}

fn bounded(field: &Field<'_>, name: &'static str, limits: &DecodeLimits) -> Result<String, Fault> {
    let text = field.text(name)?;
    if text.len() > limits.attribute_bytes {
        return Err(Fault::over(Reason::TooLong, field.at, name, limits.attribute_bytes, "bytes"));
    }
    Ok(text.to_owned())
}

fn push_bounded<T>(
    list: &mut Vec<T>,
    item: T,
    field: &Field<'_>,
    name: &'static str,
    limits: &DecodeLimits,
) -> Result<(), Fault> {
    if list.len() >= limits.events {
        return Err(Fault::over(Reason::TooLong, field.at, name, limits.events, "entries"));
    }
    list.push(item);
    Ok(())
}

fn event(field: &Field<'_>, limits: &DecodeLimits) -> Result<SpanEvent, Fault> {
    let mut message = field.message("span.events")?;
    let mut event = SpanEvent::default();
    let mut attributes = Pairs::new();
    while let Some(field) = message.next()? {
        match field.number {
            1 => event.time = nanos(field.fixed64("event.time_unix_nano")?),
            2 => event.name = bounded(&field, "event.name", limits)?,
            3 => push_attribute(&mut attributes, &field, limits)?,
            _ => {}
        }
    }
    event.attributes = pack(&attributes);
    Ok(event)
}

fn link(field: &Field<'_>, limits: &DecodeLimits) -> Result<SpanLink, Fault> {
    let mut message = field.message("span.links")?;
    let mut link = SpanLink { attributes: Attributes::default(), ..SpanLink::default() };
    let mut attributes = Pairs::new();
    while let Some(field) = message.next()? {
        match field.number {
            1 => link.trace_id = trace_id(&field, "link.trace_id")?,
            2 => link.span_id = span_id(&field, "link.span_id")?,
            3 => field.text("link.trace_state")?.clone_into(&mut link.trace_state),
            4 => push_attribute(&mut attributes, &field, limits)?,
            _ => {}
        }
    }
    link.attributes = pack(&attributes);
    Ok(link)
}

fn status(field: &Field<'_>, span: &mut Span, limits: &DecodeLimits) -> Result<(), Fault> {
    let mut message = field.message("span.status")?;
    while let Some(field) = message.next()? {
        match field.number {
            2 => span.status_message = bounded(&field, "status.message", limits)?,
            3 => span.status = StatusCode::from_number(field.varint("status.code")?),
            _ => {}
        }
    }
    Ok(())
}
