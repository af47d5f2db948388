//! `kenning query logql`

use clap::Args;
use serde_json::Value;

use super::table;
use crate::Failure;
use crate::http::Remote;

/// Logs.
#[derive(Args)]
pub(super) struct Logql {
    /// The query
    query: String,
    /// Most lines
    #[arg(long, default_value_t = 100)]
    limit: u32,
    /// How far back to look, such as 1h
    #[arg(long, default_value = "1h")]
    since: String,
    /// Start: nanoseconds since 1970 or RFC 3339; takes the place of --since
    #[arg(long)]
    start: Option<String>,
    /// End [default: now]
    #[arg(long)]
    end: Option<String>,
    /// Distance between points of a metric query, such as 15s
    #[arg(long)]
    step: Option<String>,
    /// Oldest first
    #[arg(long)]
    forward: bool,
}

impl Logql {
    pub(super) fn run(&self, remote: &Remote, json: bool) -> Result<(), Failure> {
        let limit = self.limit.to_string();
        let direction = if self.forward { "forward" } else { "backward" };
        let mut parameters = vec![
            ("query", &*self.query),
            ("limit", &*limit),
            ("since", &*self.since),
            ("direction", direction),
        ];
        for (name, value) in [("start", &self.start), ("end", &self.end), ("step", &self.step)] {
            parameters.extend(value.as_deref().map(|value| (name, value)));
        }
        let answer = remote.get("/loki/api/v1/query_range", &parameters)?;
        if json {
            println!("{answer}");
        } else {
            print(&answer, self.forward);
        }
        Ok(())
    }
}

fn print(answer: &Value, forward: bool) {
    let result = answer.pointer("/data/result").and_then(Value::as_array).cloned().unwrap_or_default();
    if answer.pointer("/data/resultType").and_then(Value::as_str) != Some("streams") {
        let rows = result.iter().flat_map(|series| {
            let name = table::labels(series.get("metric").unwrap_or(&Value::Null));
            let points = series.get("values").and_then(Value::as_array).cloned().unwrap_or_default();
            points.into_iter().map(move |point| vec![name.clone(), text(&point, 0), text(&point, 1)])
        });
        return table::print(&["series", "time", "value"], &rows.collect::<Vec<_>>());
    }
    let mut lines: Vec<(String, String, String)> = Vec::new();
    for stream in &result {
        let name = table::labels(stream.get("stream").unwrap_or(&Value::Null));
        for entry in stream.get("values").and_then(Value::as_array).into_iter().flatten() {
            lines.push((text(entry, 0), name.clone(), text(entry, 1)));
        }
    }
    // Nanosecond stamps of our time have equal length, so their texts sort as they do.
    lines.sort();
    if !forward {
        lines.reverse();
    }
    for (time, stream, line) in lines {
        println!("{time} {} {}", table::plain(&stream), table::plain(&line));
    }
}

fn text(pair: &Value, place: usize) -> String {
    match pair.get(place) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}
