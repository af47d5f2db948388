//! Query results in Loki's JSON.

use axum::http::HeaderMap;
use kenning_logql::{Answer, Entry, Value, categorized, merged};
use kenning_model::{LabelSet, Millis};

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

/// The whole answer.
pub(super) fn body_of(answer: Answer, encoding: Encoding, forward: bool) -> Vec<u8> {
    let Answer { value, warnings, stats, missing } = answer;
    Json::build(|json| {
        json.key("status").text("success");
        json.key("data").object(|json| {
            json.key("resultType").text(match &value {
                Value::Streams(_) => "streams",
                Value::Matrix(_) => "matrix",
                Value::Vector(_) => "vector",
                Value::Scalar(..) => "scalar",
            });
            // Grafana reads the flags before it meets the first stream.
            if encoding == Encoding::Categorized && matches!(value, Value::Streams(_)) {
                json.key("encodingFlags").texts(["categorize-labels"]);
            }
            json.key("result");
            write_result(json, value, encoding, forward);
            json.key("stats").object(|json| {
                json.key("summary").object(|json| {
                    json.key("totalBytesProcessed").int(stats.bytes as i64);
                    json.key("totalLinesProcessed").int(stats.lines as i64);
                });
            });
        });
        let warnings: Vec<&String> = warnings.iter().chain(&missing).collect();
        if !warnings.is_empty() {
            json.key("warnings").texts(warnings);
        }
    })
}

fn write_result(json: &mut Json, value: Value, encoding: Encoding, forward: bool) {
    match value {
        Value::Streams(streams) => {
            let grouped = match encoding {
                Encoding::Categorized => categorized(streams, forward),
                Encoding::Merged => merged(streams, forward),
            };
            json.array(|json| {
                grouped.iter().for_each(|(labels, entries)| write_stream(json, labels, entries, encoding))
            });
        }
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
