//! `kenning tsdb`: what is stored, seen through a running server's API, so that heads and parts count alike, or in a data
//! directory that no server uses.

mod offline;

use std::collections::HashMap;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use kenning_model::{LabelSet, TenantId};
use serde_json::Value;

use crate::Failure;
use crate::http::{Remote, Server};
use crate::query::table;

/// Most series that are looked at; the server is asked for no more.
const SERIES_MAX: &str = "2000000";

/// Look into the stored metrics.
#[derive(Args)]
pub(crate) struct Tsdb {
    #[command(flatten)]
    server: Server,
    #[command(subcommand)]
    work: Work,
}

#[derive(Subcommand)]
enum Work {
    /// Which metrics and labels make the series: cardinality, churn, memory of labels
    Analyze(Analyze),
    /// The samples as text, one per line
    Dump(Dump),
    /// The samples as OpenMetrics, without native histograms and stale markers
    DumpOpenmetrics(Dump),
    /// The parts that metrics lie in
    List(List),
    /// Bring files into a data directory that no server uses
    CreateBlocksFrom(offline::CreateBlocksFrom),
}

#[derive(Args)]
struct List {
    /// Times and sizes for people
    #[arg(short = 'r', long)]
    human_readable: bool,
    /// A data directory that no server uses, in the place of a server; its recent data are written as parts first
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

#[derive(Args)]
struct Analyze {
    /// Series selector
    #[arg(long = "match", value_name = "SELECTOR", default_value = "{__name__=~\".+\"}")]
    selector: String,
    /// Items in each list
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// Start: seconds since 1970 or RFC 3339
    #[arg(long)]
    start: Option<String>,
    /// End
    #[arg(long)]
    end: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// A data directory that no server uses, in the place of a server; its recent data are written as parts first
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

#[derive(Args)]
struct Dump {
    /// Series selector
    #[arg(long = "match", value_name = "SELECTOR", default_value = "{__name__=~\".+\"}")]
    selector: String,
    /// How far back from the end
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    range: String,
    /// End: seconds since 1970 or RFC 3339 [default: now]
    #[arg(long)]
    end: Option<String>,
}

impl Tsdb {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let tenant = offline::tenant(self.server.tenant.as_deref())?;
        let remote = self.server.remote();
        match self.work {
            Work::Analyze(analyze) => analyze.run(&remote, &tenant),
            Work::List(list) => list.run(&remote),
            Work::CreateBlocksFrom(import) => import.run(&tenant),
            Work::Dump(dump) => dump.run(&remote, false),
            Work::DumpOpenmetrics(dump) => dump.run(&remote, true),
        }
    }
}

impl List {
    fn run(&self, remote: &Remote) -> Result<(), Failure> {
        let parts = match &self.data_dir {
            Some(dir) => offline::parts(dir)?,
            None => parts_of(&remote.get("/api/v1/status/tsdb/blocks", &[])?),
        };
        let mut rows = Vec::new();
        for part in parts {
            let (min, max) = (part.min_ms, part.max_ms);
            let span = max.saturating_sub(min);
            let samples = part.samples.to_string();
            let (id, level) = (part.id, part.level.to_string());
            rows.push(if self.human_readable {
                let [min, max] = [min, max].map(utc);
                let span = kenning_promql::format_duration(span);
                vec![id, min, max, span, samples, level, size(part.bytes)]
            } else {
                let bytes = part.bytes.to_string();
                vec![id, min.to_string(), max.to_string(), span.to_string(), samples, level, bytes]
            });
        }
        let head = ["BLOCK", "MIN TIME", "MAX TIME", "DURATION", "NUM SAMPLES", "LEVEL", "SIZE"];
        table::print(&head, &rows);
        Ok(())
    }
}

/// The parts in a server's answer.
fn parts_of(answer: &Value) -> Vec<offline::Part> {
    let list = answer.pointer("/data/blocks").and_then(Value::as_array).into_iter().flatten();
    let part = |block: &Value| {
        let count = |pointer: &str| block.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
        let time = |name: &str| block.get(name).and_then(Value::as_i64).unwrap_or(0);
        offline::Part {
            id: block.get("ulid").and_then(Value::as_str).unwrap_or_default().to_owned(),
            min_ms: time("minTime"),
            max_ms: time("maxTime"),
            samples: count("/stats/numSamples"),
            level: count("/compaction/level"),
            bytes: count("/stats/numBytes"),
        }
    };
    list.map(part).collect()
}

/// Milliseconds since 1970 as a date and a time of day; the number itself where no calendar has it.
fn utc(ms: i64) -> String {
    let at = chrono::DateTime::from_timestamp_millis(ms);
    at.map_or_else(|| ms.to_string(), |at| at.format("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// Bytes with a binary unit, as promtool writes them.
fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let place = bytes.max(1).ilog2() as usize / 10;
    let value = bytes as f64 / 1024f64.powi(place as i32);
    let text = format!("{value:.3}");
    format!("{}{}", text.trim_end_matches('0').trim_end_matches('.'), units.get(place).unwrap_or(&"EiB"))
}

/// Nanoseconds of a time given in seconds.
fn nanos(seconds: Option<&str>) -> Result<Option<i64>, Failure> {
    let read = |text: &str| {
        let value: f64 = text.parse().map_err(|_| format!("{text:?} is no number of seconds since 1970"))?;
        Ok::<_, Failure>((value * 1e9) as i64)
    };
    seconds.map(read).transpose()
}

impl Analyze {
    fn run(&self, remote: &Remote, tenant: &TenantId) -> Result<(), Failure> {
        let (series, alive) = match &self.data_dir {
            Some(dir) => {
                let time = (nanos(self.start.as_deref())?, nanos(self.end.as_deref())?);
                let limit = SERIES_MAX.parse()?;
                let (all, alive) = offline::series(dir, tenant, &self.selector, time, limit)?;
                (all.iter().map(pairs_of).collect(), alive.iter().map(pairs_of).collect())
            }
            None => self.ask(remote)?,
        };
        let counts = Counts::of(&series, &alive);
        if self.json {
            counts.print_json(self.limit)
        } else {
            counts.print(self.limit)
        }
        Ok(())
    }

    /// All series of a server and those that have a value at the end.
    fn ask(&self, remote: &Remote) -> Result<(Vec<Labels>, Vec<Labels>), Failure> {
        let mut parameters = vec![("match[]", self.selector.as_str()), ("limit", SERIES_MAX)];
        parameters.extend(self.start.as_deref().map(|start| ("start", start)));
        parameters.extend(self.end.as_deref().map(|end| ("end", end)));
        let answer = remote.get("/api/v1/series", &parameters)?;
        let series = labels_of(&answer);
        // Series that have a value at the end are alive; the others are what churn left behind.
        let mut instant = vec![("query", self.selector.as_str())];
        instant.extend(self.end.as_deref().map(|end| ("time", end)));
        let alive = remote.get("/api/v1/query", &instant).map(|answer| alive_series(&answer));
        Ok((series, alive.unwrap_or_default()))
    }
}

fn pairs_of(labels: &LabelSet) -> Labels {
    labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// A series' labels, sorted by name.
type Labels = Vec<(String, String)>;

fn labels_of(answer: &Value) -> Vec<Labels> {
    let list = answer.get("data").and_then(Value::as_array).into_iter().flatten();
    list.map(labels).collect()
}

fn labels(series: &Value) -> Labels {
    let pairs = series.as_object().into_iter().flatten();
    let mut labels: Labels =
        pairs.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect();
    labels.sort();
    labels
}

fn alive_series(answer: &Value) -> Vec<Labels> {
    let list = answer.pointer("/data/result").and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|sample| sample.get("metric").map(labels)).collect()
}

/// How often things are there.
#[derive(Default)]
struct Counts {
    series: usize,
    /// Series without a value at the end.
    ended: usize,
    pairs: HashMap<(String, String), usize>,
    ended_pairs: HashMap<(String, String), usize>,
    ended_names: HashMap<String, usize>,
    values: HashMap<String, usize>,
    value_bytes: HashMap<String, usize>,
    metrics: HashMap<String, usize>,
}

impl Counts {
    fn of(all: &[Labels], alive: &[Labels]) -> Self {
        let alive: std::collections::HashSet<&Labels> = alive.iter().collect();
        let mut counts = Self { series: all.len(), ..Self::default() };
        for labels in all {
            let ended = !alive.contains(labels);
            counts.ended += usize::from(ended);
            for pair in labels {
                *counts.pairs.entry(pair.clone()).or_default() += 1;
                if ended {
                    *counts.ended_pairs.entry(pair.clone()).or_default() += 1;
                    *counts.ended_names.entry(pair.0.clone()).or_default() += 1;
                }
                if pair.0 == "__name__" {
                    *counts.metrics.entry(pair.1.clone()).or_default() += 1;
                }
            }
        }
        for (name, value) in counts.pairs.keys() {
            *counts.values.entry(name.clone()).or_default() += 1;
            *counts.value_bytes.entry(name.clone()).or_default() += value.len();
        }
        counts
    }

    /// The lists with their titles, in promtool's order.
    fn lists(&self, limit: usize) -> Vec<(&'static str, Vec<(String, usize)>)> {
        let pairs = |map: &HashMap<(String, String), usize>| {
            map.iter().map(|((name, value), count)| (format!("{name}={value}"), *count)).collect()
        };
        let names =
            |map: &HashMap<String, usize>| map.iter().map(|(name, count)| (name.clone(), *count)).collect();
        [
            ("Label pairs most involved in churning", pairs(&self.ended_pairs)),
            ("Label names most involved in churning", names(&self.ended_names)),
            ("Most common label pairs", pairs(&self.pairs)),
            ("Label names with highest cumulative label value length", names(&self.value_bytes)),
            ("Highest cardinality labels", names(&self.values)),
            ("Highest cardinality metric names", names(&self.metrics)),
        ]
        .into_iter()
        .map(|(title, list)| (title, top(list, limit)))
        .collect()
    }

    fn print(&self, limit: usize) {
        println!("Total Series: {}", self.series);
        println!("Series without a value at the end: {}", self.ended);
        println!("Label names: {}", self.values.len());
        println!("Postings (unique label pairs): {}", self.pairs.len());
        println!("Postings entries (total label pairs): {}", self.pairs.values().sum::<usize>());
        for (title, list) in self.lists(limit) {
            println!("\n{title}:");
            for (name, count) in list {
                println!("{count} {}", table::plain(&name));
            }
        }
    }

    fn print_json(&self, limit: usize) {
        let lists = self.lists(limit).into_iter().map(|(title, list)| {
            let list: Vec<Value> = list
                .into_iter()
                .map(|(name, count)| serde_json::json!({"name": name, "value": count}))
                .collect();
            (title.to_owned(), Value::from(list))
        });
        let document = serde_json::json!({
            "totalSeries": self.series,
            "endedSeries": self.ended,
            "labelNames": self.values.len(),
            "labelPairs": self.pairs.len(),
            "labelPairEntries": self.pairs.values().sum::<usize>(),
            "lists": serde_json::Map::from_iter(lists),
        });
        println!("{document}");
    }
}

/// The greatest, and among equals the first by name.
fn top(mut list: Vec<(String, usize)>, limit: usize) -> Vec<(String, usize)> {
    list.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    list.truncate(limit);
    list
}

impl Dump {
    fn run(&self, remote: &Remote, openmetrics: bool) -> Result<(), Failure> {
        let query = format!("{}[{}]", self.selector, self.range);
        let mut parameters = vec![("query", query.as_str())];
        parameters.extend(self.end.as_deref().map(|end| ("time", end)));
        let answer = remote.get("/api/v1/query", &parameters)?;
        for series in answer.pointer("/data/result").and_then(Value::as_array).into_iter().flatten() {
            let metric = series.get("metric").unwrap_or(&Value::Null);
            let lists: &[&str] = if openmetrics { &["values"] } else { &["values", "histograms"] };
            for point in lists.iter().filter_map(|list| series.get(*list)?.as_array()).flatten() {
                println!("{}", line(metric, point, openmetrics));
            }
        }
        if openmetrics {
            println!("# EOF");
        }
        Ok(())
    }
}

/// promtool's line of a sample: times in milliseconds, in seconds for OpenMetrics.
fn line(metric: &Value, point: &Value, openmetrics: bool) -> String {
    let value = match point.get(1) {
        Some(Value::String(text)) => text.clone(),
        other => other.map(ToString::to_string).unwrap_or_default(),
    };
    let seconds = point.get(0).and_then(Value::as_f64).unwrap_or_default();
    if openmetrics {
        return format!("{} {value} {seconds}", openmetrics_name(metric));
    }
    let pairs: Vec<String> = labels(metric).iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}} {value} {}", pairs.join(", "), (seconds * 1000.0).round() as i64)
}

fn openmetrics_name(metric: &Value) -> String {
    let labels = labels(metric);
    let name = labels.iter().find(|(name, _)| name == "__name__").map_or("", |(_, value)| value);
    let escape = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let pairs = labels.iter().filter(|(name, _)| name != "__name__");
    let pairs: Vec<String> = pairs.map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect();
    if pairs.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", pairs.join(",")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_makes_series() {
        let answer = serde_json::json!({"data": [
            {"__name__": "up", "job": "a"}, {"__name__": "up", "job": "b"}, {"__name__": "x", "job": "a"}]});
        let all = labels_of(&answer);
        let counts = Counts::of(&all, all.get(..2).unwrap());
        assert_eq!((counts.series, counts.ended, counts.pairs.len()), (3, 1, 4));
        let lists = counts.lists(1);
        let first: Vec<_> = lists.iter().map(|(_, list)| format!("{} {}", list[0].1, list[0].0)).collect();
        assert_eq!(
            first,
            ["1 __name__=x", "1 __name__", "2 __name__=up", "3 __name__", "2 __name__", "2 up"]
        );
    }

    #[test]
    fn sizes_and_times_for_people() {
        for (bytes, text) in
            [(0, "0B"), (1023, "1023B"), (1024, "1KiB"), (1_572_864, "1.5MiB"), (5 << 40, "5TiB")]
        {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(utc(1_700_000_000_123), "2023-11-14 22:13:20 UTC");
        assert_eq!(utc(i64::MAX), i64::MAX.to_string());
    }

    #[test]
    fn samples_as_lines() {
        let metric = serde_json::json!({"__name__": "up", "job": "a\"b"});
        let point = serde_json::json!([1.5, "NaN"]);
        assert_eq!(line(&metric, &point, false), "{__name__=\"up\", job=\"a\\\"b\"} NaN 1500");
        assert_eq!(line(&metric, &point, true), "up{job=\"a\\\"b\"} NaN 1.5");
    }
}
