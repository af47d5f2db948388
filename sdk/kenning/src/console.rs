//! Spans on standard output, for development without a collector (`OTEL_TRACES_EXPORTER=console`).

use crate::config::LogFormat;
use crate::decode::{AttributeValue, FinishedSpan, SpanStatus};
use crate::json;

/// One finished span as a line, newline included, in the format of the log lines around it.
pub(crate) fn line(span: &FinishedSpan, format: LogFormat) -> Vec<u8> {
    let mut out = Vec::new();
    match format {
        LogFormat::Json => write_json(&mut out, span),
        LogFormat::Text => write_text(&mut out, span),
    }
    out.push(b'\n');
    out
}

fn duration_seconds(span: &FinishedSpan) -> f64 {
    span.end_unix_nanos.saturating_sub(span.start_unix_nanos) as f64 / 1e9
}

fn write_json(out: &mut Vec<u8>, span: &FinishedSpan) {
    out.extend_from_slice(b"{\"span\":");
    json::string(out, &span.name);
    json::push_fmt(out, format_args!(",\"trace_id\":\"{}\",\"span_id\":\"{}\"", span.trace_id, span.span_id));
    if let Some(parent) = span.parent_span_id {
        json::push_fmt(out, format_args!(",\"parent_span_id\":\"{parent}\""));
    }
    json::push_fmt(out, format_args!(",\"kind\":\"{:?}\",\"duration\":", span.kind));
    json::double(out, duration_seconds(span));
    if let SpanStatus::Error(reason) = &span.status {
        out.extend_from_slice(b",\"error\":");
        json::string(out, reason);
    }
    out.extend_from_slice(b",\"attributes\":{");
    for (index, (name, value)) in span.attributes.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        json::string(out, name);
        out.push(b':');
        write_value(out, value);
    }
    out.extend_from_slice(b"}}");
}

fn write_text(out: &mut Vec<u8>, span: &FinishedSpan) {
    out.extend_from_slice(b"span ");
    json::escaped(out, &span.name);
    json::push_fmt(
        out,
        format_args!(" {:.6}s trace_id={} span_id={}", duration_seconds(span), span.trace_id, span.span_id),
    );
    if let SpanStatus::Error(reason) = &span.status {
        out.extend_from_slice(b" error=");
        json::string(out, reason);
    }
    for (name, value) in &span.attributes {
        out.push(b' ');
        json::escaped(out, name);
        out.push(b'=');
        write_value(out, value);
    }
}

fn write_value(out: &mut Vec<u8>, value: &AttributeValue) {
    match value {
        AttributeValue::Str(text) => json::string(out, text),
        AttributeValue::Bool(flag) => json::push_fmt(out, format_args!("{flag}")),
        AttributeValue::Int(number) => json::int(out, *number),
        AttributeValue::Double(number) => json::double(out, *number),
    }
}
