//! `kenning query logql`: lines or points of a range. More lines than one answer of the API may hold are asked for in
//! pages and printed as they come, so that an export takes no more memory than a page.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::Value;

use super::lines::{self, Line, Printer};
use super::{Output, table};
use crate::Failure;
use crate::http::Remote;

/// Most lines of one answer. Definition: the server's `max_entries_limit_per_query`.
const PAGE_LINES: usize = 5000;

/// Logs.
#[derive(Args)]
pub(super) struct Logql {
    /// The query, such as '{service="api"} |= "error"'; a metric query gives points instead of lines
    query: String,
    /// Most lines
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..), allow_negative_numbers = true)]
    limit: u32,
    /// How far back to look, such as 1h
    #[arg(long, default_value = "1h")]
    since: String,
    /// Start: nanoseconds or seconds since 1970, or RFC 3339; takes the place of --since
    #[arg(long, alias = "from")]
    start: Option<String>,
    /// End, as --start [default: now]
    #[arg(long, alias = "to")]
    end: Option<String>,
    /// Distance between points of a metric query, such as 15s
    #[arg(long)]
    step: Option<String>,
    /// Oldest first
    #[arg(long)]
    forward: bool,
    /// Print lines without their labels
    #[arg(long)]
    no_labels: bool,
}

/// Where the next page begins.
struct Cursor {
    start: Option<String>,
    end: Option<String>,
    /// The lines of the moment at which the page before ended: they come again.
    seen: BTreeMap<Line, usize>,
}

impl Logql {
    pub(super) fn run(&self, remote: &Remote, output: Output) -> Result<(), Failure> {
        let wanted = self.limit as usize;
        let cursor = Cursor { start: self.start.clone(), end: self.end.clone(), seen: BTreeMap::new() };
        if output == Output::Json {
            if wanted > PAGE_LINES {
                return Err(Failure(format!(
                    "--json prints one answer, which has at most {PAGE_LINES} lines; lower --limit"
                )));
            }
            println!("{}", self.ask(remote, &cursor, wanted)?);
            return Ok(());
        }
        let answer = self.ask(remote, &cursor, wanted.min(PAGE_LINES))?;
        match answer.pointer("/data/resultType").and_then(Value::as_str) {
            Some("streams") => self.print_lines(remote, answer, cursor, output),
            _ => {
                print_points(&answer, output);
                Ok(())
            }
        }
    }

    fn ask(&self, remote: &Remote, at: &Cursor, limit: usize) -> Result<Value, Failure> {
        let limit = limit.to_string();
        let direction = if self.forward { "forward" } else { "backward" };
        let mut parameters = vec![
            ("query", &*self.query),
            ("limit", &*limit),
            ("since", &*self.since),
            ("direction", direction),
        ];
        for (name, value) in [("start", &at.start), ("end", &at.end), ("step", &self.step)] {
            parameters.extend(value.as_deref().map(|value| (name, value)));
        }
        remote.get("/loki/api/v1/query_range", &parameters)
    }

    fn print_lines(
        &self,
        remote: &Remote,
        mut answer: Value,
        mut at: Cursor,
        output: Output,
    ) -> Result<(), Failure> {
        let mut left = self.limit as usize;
        let mut printer = Printer { common: lines::Labels::new(), no_labels: self.no_labels };
        let mut is_first = true;
        loop {
            let page = self.in_order(&answer);
            let fresh: Vec<Line> =
                page.iter().filter(|line| !was_seen(&mut at.seen, line)).take(left).cloned().collect();
            if is_first {
                self.begin(&fresh, &mut printer, output);
            }
            is_first = false;
            if Self::print_page(&printer, &fresh, output).is_err() {
                // Whoever reads the output has had enough, as `head` does.
                return Ok(());
            }
            left -= fresh.len();
            let Some(last) = fresh.last().filter(|_| left > 0 && page.len() >= PAGE_LINES) else {
                return Ok(());
            };
            self.move_on(&mut at, last.time, &page)?;
            answer = self.ask(remote, &at, PAGE_LINES)?;
        }
    }

    fn in_order(&self, answer: &Value) -> Vec<Line> {
        let mut page = lines::of_streams(answer.pointer("/data/result"));
        if !self.forward {
            page.reverse();
        }
        page
    }

    /// Says what stands before the lines: beside them, so that output that is piped has nothing but lines.
    fn begin(&self, first: &[Line], printer: &mut Printer, output: Output) {
        if first.is_empty() {
            let range =
                if self.start.is_some() { String::new() } else { format!(" of the last {}", self.since) };
            eprintln!("kenning: no lines{range}");
        }
        if output == Output::Csv {
            return table::print_csv(&["time", "labels", "line"], &[]);
        }
        printer.common = lines::common(first);
        if !printer.common.is_empty() && !self.no_labels {
            eprintln!("kenning: labels in common: {}", lines::selector(&printer.common));
        }
    }

    fn print_page(printer: &Printer, page: &[Line], output: Output) -> std::io::Result<()> {
        if output != Output::Csv {
            return printer.print(page);
        }
        let row =
            |line: &Line| vec![lines::stamp(line.time), lines::selector(&line.labels), line.text.clone()];
        table::print_csv_rows(&page.iter().map(row).collect::<Vec<_>>())
    }

    /// The next page begins at the moment at which this one ended; its lines of that moment are known.
    fn move_on(&self, at: &mut Cursor, last: i64, page: &[Line]) -> Result<(), Failure> {
        let mut seen = BTreeMap::new();
        for line in page.iter().filter(|line| line.time == last) {
            *seen.entry(line.clone()).or_insert(0) += 1;
        }
        if seen.values().sum::<usize>() >= PAGE_LINES {
            let told = format!(
                "more than {PAGE_LINES} lines of {} cannot be paged; narrow the query",
                lines::stamp(last)
            );
            return Err(Failure(told));
        }
        at.seen = seen;
        if self.forward {
            at.start = Some(last.to_string());
            return Ok(());
        }
        // `--since` counts back from the end, which moves: the start has to stand.
        if at.start.is_none() {
            at.start = Some(self.begins()?.to_string());
        }
        at.end = Some(last.saturating_add(1).to_string());
        Ok(())
    }

    /// The start that `--since` means, in nanoseconds.
    fn begins(&self) -> Result<i64, Failure> {
        let since = kenning_promql::parse_duration(&self.since)?;
        let end = match &self.end {
            None => super::now_nanos(),
            Some(text) => text
                .parse::<i64>()
                .ok()
                .filter(|_| text.len() > 10)
                .or_else(|| chrono::DateTime::parse_from_rfc3339(text).ok()?.timestamp_nanos_opt())
                .ok_or_else(|| {
                    Failure(format!("--end {text}: with more than {PAGE_LINES} lines give --start too"))
                })?,
        };
        Ok(end.saturating_sub(since.saturating_mul(1_000_000)))
    }
}

/// Whether a line was on the page before, of which each stands there once.
fn was_seen(seen: &mut BTreeMap<Line, usize>, line: &Line) -> bool {
    match seen.get_mut(line) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    }
}

fn print_points(answer: &Value, output: Output) {
    let result = answer.pointer("/data/result").and_then(Value::as_array).cloned().unwrap_or_default();
    if result.is_empty() {
        eprintln!("kenning: no series");
    }
    let rows = result.iter().flat_map(|series| {
        let name = table::labels(series.get("metric").unwrap_or(&Value::Null));
        let points = series.get("values").and_then(Value::as_array).cloned().unwrap_or_default();
        points.into_iter().map(move |point| vec![name.clone(), text(&point, 0), text(&point, 1)])
    });
    let (head, rows) = (["series", "time", "value"], rows.collect::<Vec<_>>());
    if output == Output::Csv { table::print_csv(&head, &rows) } else { table::print(&head, &rows) }
}

fn text(pair: &Value, place: usize) -> String {
    match pair.get(place) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}
