//! Batches back to OTLP protobuf: what exporters and tests need. Logs come back as Loki's mapping left them: resource
//! attributes carry label names (`service_name`), metadata are record attributes.

use kenning_model::{Attributes, LabelSet, LogBatch, Span, SpanBatch, SpanSource, Value, ValueRef};

use crate::protobuf::Writer;

/// An `ExportTraceServiceRequest` with one group per source, in the order of the batch.
#[must_use]
pub fn encode_traces(batch: &SpanBatch) -> Vec<u8> {
    let mut writer = Writer::default();
    for (index, source) in batch.sources.iter().enumerate() {
        writer.message(1, |group| {
            group.message(1, |resource| attributes(resource, 1, &source.resource));
            group.message(2, |scope_spans| {
                scope_spans.message(1, |scope| scope_fields(scope, source));
                for span in batch.spans.iter().filter(|span| span.source as usize == index) {
                    scope_spans.message(2, |out| span_fields(out, span));
                }
            });
        });
    }
    writer.finish()
}

fn scope_fields(out: &mut Writer, source: &SpanSource) {
    out.text(1, &source.scope_name);
    out.text(2, &source.scope_version);
    attributes(out, 3, &source.scope);
}

fn span_fields(out: &mut Writer, span: &Span) {
    out.bytes(1, &span.trace_id.0);
    out.bytes(2, &span.span_id.0);
    out.text(3, &span.trace_state);
    if !span.parent_span_id.is_none() {
        out.bytes(4, &span.parent_span_id.0);
    }
    out.text(5, &span.name);
    out.varint(6, span.kind as u64);
    out.fixed64(7, span.start.0 as u64);
    out.fixed64(8, span.end.0 as u64);
    attributes(out, 9, &span.attributes);
    for event in &span.events {
        out.message(11, |out| {
            out.fixed64(1, event.time.0 as u64);
            out.text(2, &event.name);
            attributes(out, 3, &event.attributes);
        });
    }
    for link in &span.links {
        out.message(13, |out| {
            out.bytes(1, &link.trace_id.0);
            out.bytes(2, &link.span_id.0);
            out.text(3, &link.trace_state);
            attributes(out, 4, &link.attributes);
        });
    }
    out.message(15, |out| {
        out.text(2, &span.status_message);
        out.varint(3, span.status as u64);
    });
}

fn attributes(out: &mut Writer, number: u32, attributes: &Attributes) {
    for (key, value) in attributes.iter() {
        out.message(number, |pair| {
            pair.text(1, key);
            pair.message(2, |out| borrowed_value(out, &value));
        });
    }
}

fn borrowed_value(out: &mut Writer, value: &ValueRef<'_>) {
    match value {
        // An empty text is a value of its own, unlike an absent one.
        ValueRef::Str(text) => out.bytes(1, text.as_bytes()),
        other => any_value(out, &other.to_owned()),
    }
}

/// Nesting is bounded by the packed attributes it comes from.
fn any_value(out: &mut Writer, value: &Value) {
    match value {
        Value::Empty => {}
        Value::Str(text) => out.bytes(1, text.as_bytes()),
        Value::Bool(flag) => out.varint(2, u64::from(*flag)),
        Value::Int(n) => out.varint(3, *n as u64),
        Value::Double(n) => out.fixed64(4, n.to_bits()),
        Value::Bytes(bytes) => out.bytes(7, bytes),
        Value::Array(items) => out.message(5, |out| {
            items.iter().for_each(|item| out.message(1, |out| any_value(out, item)));
        }),
        Value::Map(pairs) => out.message(6, |out| {
            for (key, item) in pairs {
                out.message(1, |out| {
                    out.text(1, key);
                    out.message(2, |out| any_value(out, item));
                });
            }
        }),
    }
}

/// An `ExportLogsServiceRequest` with one resource per stream, in the order of the batch.
#[must_use]
pub fn encode_logs(batch: &LogBatch) -> Vec<u8> {
    let mut writer = Writer::default();
    for (index, stream) in batch.streams.iter().enumerate() {
        writer.message(1, |group| {
            group.message(1, |resource| labels(resource, 1, stream));
            group.message(2, |scope_logs| {
                let rows = batch.stream.iter().enumerate().filter(|(_, stream)| **stream as usize == index);
                for row in rows.filter_map(|(row, _)| batch.row(row)) {
                    scope_logs.message(2, |out| {
                        out.fixed64(1, row.time.0 as u64);
                        out.varint(2, u64::from(row.severity.0));
                        out.message(5, |body| body.bytes(1, row.line.as_bytes()));
                        labels(out, 6, row.metadata);
                        if !row.trace_id.is_none() {
                            out.bytes(9, &row.trace_id.0);
                        }
                        if !row.span_id.is_none() {
                            out.bytes(10, &row.span_id.0);
                        }
                    });
                }
            });
        });
    }
    writer.finish()
}

fn labels(out: &mut Writer, number: u32, labels: &LabelSet) {
    for (name, value) in labels.iter() {
        out.message(number, |pair| {
            pair.text(1, name);
            pair.message(2, |out| out.bytes(1, value.as_bytes()));
        });
    }
}
