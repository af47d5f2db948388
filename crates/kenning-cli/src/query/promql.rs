//! `kenning query promql`

use clap::Args;
use serde_json::Value;

use super::{Output, table};
use crate::Failure;
use crate::http::Remote;

/// Metrics.
#[derive(Args)]
pub(super) struct Promql {
    /// The query
    query: String,
    /// Instant to ask for: seconds since 1970 or RFC 3339 [default: now]
    #[arg(long, conflicts_with_all = ["start", "end", "step", "range"])]
    time: Option<String>,
    /// Start of a range
    #[arg(long, requires = "end")]
    start: Option<String>,
    /// End of a range
    #[arg(long)]
    end: Option<String>,
    /// A range that ends now, or at --end: 1h
    #[arg(long, value_name = "DURATION", conflicts_with = "start")]
    range: Option<String>,
    /// Distance between points of a range, such as 15s
    #[arg(long, default_value = "15s")]
    step: String,
}

impl Promql {
    pub(super) fn run(&self, remote: &Remote, output: Output) -> Result<(), Failure> {
        let (start, end) = self.bounds()?;
        let answer = match (&start, &end) {
            (Some(start), Some(end)) => {
                let parameters =
                    [("query", &*self.query), ("start", start), ("end", end), ("step", &*self.step)];
                remote.get("/api/v1/query_range", &parameters)?
            }
            _ => {
                let mut parameters = vec![("query", &*self.query)];
                parameters.extend(self.time.as_deref().map(|time| ("time", time)));
                remote.get("/api/v1/query", &parameters)?
            }
        };
        match output {
            Output::Json => println!("{answer}"),
            Output::Table | Output::Csv => print(&answer, output),
        }
        Ok(())
    }
}

impl Promql {
    /// Start and end of a range query; nothing for an instant.
    fn bounds(&self) -> Result<(Option<String>, Option<String>), Failure> {
        let Some(range) = &self.range else {
            if self.end.is_some() && self.start.is_none() {
                return Err(Failure("--end needs --start or --range".to_owned()));
            }
            return Ok((self.start.clone(), self.end.clone()));
        };
        let width = kenning_promql::parse_duration(range).map_err(|error| format!("--range: {error}"))?;
        let end = match &self.end {
            None => now_seconds(),
            Some(end) => end.parse().map_err(
                |_| "--range needs an --end in seconds since 1970; give --start and --end for dates",
            )?,
        };
        Ok((Some((end - width as f64 / 1000.0).to_string()), Some(end.to_string())))
    }
}

/// Seconds since 1970.
fn now_seconds() -> f64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_millis() as f64 / 1000.0)
}

fn print(answer: &Value, output: Output) {
    let table = |head: &[&str], rows: &[Vec<String>]| match output {
        Output::Csv => table::print_csv(head, rows),
        _ => table::print(head, rows),
    };
    for kind in ["warnings", "infos"] {
        for sentence in answer.get(kind).and_then(Value::as_array).into_iter().flatten() {
            eprintln!(
                "{}: {}",
                kind.trim_end_matches('s'),
                table::plain(sentence.as_str().unwrap_or_default())
            );
        }
    }
    let result = answer.pointer("/data/result").cloned().unwrap_or_default();
    match answer.pointer("/data/resultType").and_then(Value::as_str) {
        Some("vector") => {
            let row = |sample: &Value| {
                vec![labels(sample), value_of(sample.get("value").or_else(|| sample.get("histogram")))]
            };
            table(&["series", "value"], &rows(&result, row));
        }
        Some("matrix") => {
            let mut lines = Vec::new();
            for series in result.as_array().into_iter().flatten() {
                let points =
                    ["values", "histograms"].into_iter().filter_map(|key| series.get(key)?.as_array());
                for point in points.flatten() {
                    lines.push(vec![
                        labels(series),
                        point.get(0).map(ToString::to_string).unwrap_or_default(),
                        value_of(Some(point)),
                    ]);
                }
            }
            table(&["series", "time", "value"], &lines);
        }
        _ => println!("{}", table::plain(&value_of(Some(&result)))),
    }
}

fn rows(result: &Value, row: impl Fn(&Value) -> Vec<String>) -> Vec<Vec<String>> {
    result.as_array().into_iter().flatten().map(row).collect()
}

fn labels(series: &Value) -> String {
    table::labels(series.get("metric").unwrap_or(&Value::Null))
}

/// The second half of a `[time, value]` pair.
fn value_of(pair: Option<&Value>) -> String {
    match pair.and_then(|pair| pair.get(1)) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}
