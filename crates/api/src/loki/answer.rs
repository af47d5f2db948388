//! Query results in Loki's JSON.

use std::time::Duration;

use axum::http::HeaderMap;
use kenning_logql::{Answer, Entry, Stream, Value, categorized, merged};
use kenning_model::{LabelSet, Millis};

use super::{legacy, stats};
use crate::json::Json;

/// How a client wants labels: all merged, or stream, structured metadata and parsed ones apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Everything in `stream`.
    Merged,
    /// `categorize-labels`.
    Categorized,
}

impl Encoding {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let flags =
            headers.get("x-loki-response-encoding-flags").and_then(|value| value.to_str().ok()).unwrap_or("");
        let categorized = flags.split(',').any(|flag| flag.trim() == "categorize-labels");
        if categorized { Self::Categorized } else { Self::Merged }
    }
}

/// Which of Loki's JSON shapes a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// `/loki/api/v1`: `{"stream":{...},"values":[["<ns>","<line>"]]}`.
    V1,
    /// `/api/prom`: `{"labels":"{...}","entries":[{"ts":"<RFC 3339>","line":"..."}]}`.
    Legacy,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    pub(super) encoding: Encoding,
    pub(super) shape: Shape,
    /// Oldest lines first.
    pub(super) forward: bool,
    /// How long the query ran.
    pub(super) took: Duration,
}

/// The whole answer.
pub(super) fn body_of(answer: Answer, wish: Wish) -> Vec<u8> {
    let Answer { value, warnings, stats, missing } = answer;
    let lines = lines_in(&value);
    let cost = |json: &mut Json| stats::write(json.key("stats"), &stats, wish.took, lines);
    Json::build(|json| match (wish.shape, value) {
        (Shape::Legacy, Value::Streams(streams)) => {
            json.key("streams");
            write_streams(json, streams, wish.encoding, wish.shape, wish.forward);
            cost(json);
        }
        (_, value) => {
            json.key("status").text("success");
            json.key("data").object(|json| {
                json.key("resultType").text(match &value {
                    Value::Streams(_) => "streams",
                    Value::Matrix(_) => "matrix",
                    Value::Vector(_) => "vector",
                    Value::Scalar(..) => "scalar",
                });
                // Grafana reads the flags before it meets the first stream.
                write_flags(json, wish.encoding);
                json.key("result");
                write_result(json, value, wish);
                cost(json);
            });
            let warnings: Vec<&String> = warnings.iter().chain(&missing).collect();
            if !warnings.is_empty() {
                json.key("warnings").texts(warnings);
            }
        }
    })
}

/// Says which encoding was asked for and given.
pub(super) fn write_flags(json: &mut Json, encoding: Encoding) {
    if encoding == Encoding::Categorized {
        json.key("encodingFlags").texts(["categorize-labels"]);
    }
}

fn lines_in(value: &Value) -> usize {
    match value {
        Value::Streams(streams) => streams.iter().map(|stream| stream.entries.len()).sum(),
        _ => 0,
    }
}

fn write_result(json: &mut Json, value: Value, wish: Wish) {
    match value {
        Value::Streams(streams) => write_streams(json, streams, wish.encoding, wish.shape, wish.forward),
        Value::Matrix(series) => json.array(|json| {
            for (labels, points) in series {
                json.object(|json| {
                    json.key("metric").pairs(labels.iter());
                    json.key("values")
                        .array(|json| points.into_iter().for_each(|(at, n)| write_point(json, at, n)));
                });
            }
        }),
        Value::Vector(samples) => json.array(|json| {
            for (labels, at, number) in samples {
                json.object(|json| {
                    json.key("metric").pairs(labels.iter());
                    json.key("value");
                    write_point(json, at, number);
                });
            }
        }),
        Value::Scalar(at, number) => write_point(json, at, number),
    }
}

/// Streams with their lines, grouped by the labels that the encoding shows.
pub(super) fn write_streams(
    json: &mut Json,
    streams: Vec<Stream>,
    encoding: Encoding,
    shape: Shape,
    forward: bool,
) {
    let grouped = match encoding {
        Encoding::Categorized => categorized(streams, forward),
        Encoding::Merged => merged(streams, forward),
    };
    json.array(|json| {
        for (labels, entries) in &grouped {
            match shape {
                Shape::V1 => write_stream(json, labels, entries, encoding),
                Shape::Legacy => legacy::write_stream(json, labels, entries),
            }
        }
    });
}

fn write_point(json: &mut Json, at: Millis, number: f64) {
    json.array(|json| {
        json.number(at.0 as f64 / 1000.0);
        json.text(&kenning_promql::format_float(number));
    });
}

fn write_stream(json: &mut Json, labels: &LabelSet, entries: &[Entry], encoding: Encoding) {
    json.object(|json| {
        json.key("stream").pairs(labels.iter());
        json.key("values").array(|json| {
            for entry in entries {
                json.array(|json| {
                    json.text(&entry.time.0.to_string());
                    json.text(&entry.line);
                    if encoding == Encoding::Categorized {
                        json.object(|json| {
                            write_category(json, "structuredMetadata", &entry.structured_metadata);
                            write_category(json, "parsed", &entry.parsed);
                        });
                    }
                });
            }
        });
    });
}

fn write_category(json: &mut Json, key: &str, labels: &LabelSet) {
    if !labels.is_empty() {
        json.key(key).pairs(labels.iter());
    }
}
