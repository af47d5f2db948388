//! Spans: sources, then row by row; starts as differences.

use std::sync::Arc;

use kenning_model::{
    Attributes, Nanos, Span, SpanBatch, SpanEvent, SpanId, SpanKind, SpanLink, SpanSource, StatusCode,
    TraceId,
};

use crate::bytes::{Decoder, Encoder};

pub(super) fn encode(batch: &SpanBatch, encoder: &mut Encoder) {
    encoder.size(batch.sources.len());
    for source in &batch.sources {
        encoder.chunk(source.resource.as_bytes());
        encoder.text(&source.scope_name);
        encoder.text(&source.scope_version);
        encoder.chunk(source.scope.as_bytes());
    }
    encoder.size(batch.spans.len());
    let mut before = 0;
    for span in &batch.spans {
        put_span(span, before, encoder);
        before = span.start.0;
    }
}

pub(super) fn decode(decoder: &mut Decoder<'_>) -> Option<SpanBatch> {
    let count = decoder.size()?;
    let mut sources = Vec::with_capacity(decoder.capacity(count));
    for _ in 0..count {
        sources.push(Arc::new(SpanSource {
            resource: Attributes::from_bytes(decoder.chunk()?)?,
            scope_name: decoder.text()?.to_owned(),
            scope_version: decoder.text()?.to_owned(),
            scope: Attributes::from_bytes(decoder.chunk()?)?,
        }));
    }
    let count = decoder.size()?;
    let mut spans: Vec<Span> = Vec::with_capacity(decoder.capacity(count) / size_of::<TraceId>());
    let mut before = 0;
    for _ in 0..count {
        let span = take_span(before, decoder)?;
        before = span.start.0;
        spans.push(span);
    }
    Some(SpanBatch { sources, spans })
}

fn put_span(span: &Span, before: i64, encoder: &mut Encoder) {
    encoder.varint(u64::from(span.source));
    encoder.raw(&span.trace_id.0);
    encoder.raw(&span.span_id.0);
    encoder.raw(&span.parent_span_id.0);
    encoder.text(&span.trace_state);
    encoder.text(&span.name);
    encoder.byte(span.kind as u8);
    encoder.signed(span.start.0.wrapping_sub(before));
    encoder.signed(span.end.0.wrapping_sub(span.start.0));
    encoder.byte(span.status as u8);
    encoder.text(&span.status_message);
    encoder.chunk(span.attributes.as_bytes());
    put_events(&span.events, encoder);
    put_links(&span.links, encoder);
}

fn take_span(before: i64, decoder: &mut Decoder<'_>) -> Option<Span> {
    let source = decoder.index()?;
    let trace_id = TraceId(decoder.array()?);
    let span_id = SpanId(decoder.array()?);
    let parent_span_id = SpanId(decoder.array()?);
    let trace_state = decoder.text()?.to_owned();
    let name = decoder.text()?.to_owned();
    let kind = known_kind(decoder.byte()?)?;
    let start = before.wrapping_add(decoder.signed()?);
    let end = start.wrapping_add(decoder.signed()?);
    Some(Span {
        source,
        trace_id,
        span_id,
        parent_span_id,
        trace_state,
        name,
        kind,
        start: Nanos(start),
        end: Nanos(end),
        status: known_status(decoder.byte()?)?,
        status_message: decoder.text()?.to_owned(),
        attributes: Attributes::from_bytes(decoder.chunk()?)?,
        events: take_events(decoder)?,
        links: take_links(decoder)?,
    })
}

fn known_kind(byte: u8) -> Option<SpanKind> {
    let kind = SpanKind::from_number(u64::from(byte));
    (kind as u8 == byte).then_some(kind)
}

fn known_status(byte: u8) -> Option<StatusCode> {
    let status = StatusCode::from_number(u64::from(byte));
    (status as u8 == byte).then_some(status)
}

fn put_events(events: &[SpanEvent], encoder: &mut Encoder) {
    encoder.size(events.len());
    for event in events {
        encoder.signed(event.time.0);
        encoder.text(&event.name);
        encoder.chunk(event.attributes.as_bytes());
    }
}

fn take_events(decoder: &mut Decoder<'_>) -> Option<Vec<SpanEvent>> {
    let count = decoder.size()?;
    let mut events = Vec::with_capacity(decoder.capacity(count) / size_of::<SpanEvent>());
    for _ in 0..count {
        events.push(SpanEvent {
            time: Nanos(decoder.signed()?),
            name: decoder.text()?.to_owned(),
            attributes: Attributes::from_bytes(decoder.chunk()?)?,
        });
    }
    Some(events)
}

fn put_links(links: &[SpanLink], encoder: &mut Encoder) {
    encoder.size(links.len());
    for link in links {
        encoder.raw(&link.trace_id.0);
        encoder.raw(&link.span_id.0);
        encoder.text(&link.trace_state);
        encoder.chunk(link.attributes.as_bytes());
    }
}

fn take_links(decoder: &mut Decoder<'_>) -> Option<Vec<SpanLink>> {
    let count = decoder.size()?;
    let mut links = Vec::with_capacity(decoder.capacity(count) / size_of::<SpanLink>());
    for _ in 0..count {
        links.push(SpanLink {
            trace_id: TraceId(decoder.array()?),
            span_id: SpanId(decoder.array()?),
            trace_state: decoder.text()?.to_owned(),
            attributes: Attributes::from_bytes(decoder.chunk()?)?,
        });
    }
    Some(links)
}

/// The events of one span as bytes; no bytes for none.
#[must_use]
pub fn encode_events(events: &[SpanEvent]) -> Vec<u8> {
    let mut encoder = Encoder::default();
    if !events.is_empty() {
        put_events(events, &mut encoder);
    }
    encoder.into_bytes()
}

/// The events that take up all of `bytes`; `None` when they do not parse.
#[must_use]
pub fn decode_events(bytes: &[u8]) -> Option<Vec<SpanEvent>> {
    decode_list(bytes, take_events)
}

/// The links of one span as bytes; no bytes for none.
#[must_use]
pub fn encode_links(links: &[SpanLink]) -> Vec<u8> {
    let mut encoder = Encoder::default();
    if !links.is_empty() {
        put_links(links, &mut encoder);
    }
    encoder.into_bytes()
}

/// The links that take up all of `bytes`; `None` when they do not parse.
#[must_use]
pub fn decode_links(bytes: &[u8]) -> Option<Vec<SpanLink>> {
    decode_list(bytes, take_links)
}

fn decode_list<T>(bytes: &[u8], take: impl Fn(&mut Decoder<'_>) -> Option<Vec<T>>) -> Option<Vec<T>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let mut decoder = Decoder::new(bytes);
    take(&mut decoder).filter(|_| decoder.remaining() == 0)
}
