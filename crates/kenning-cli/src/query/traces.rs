//! `kenning query traces`

use std::collections::HashMap;

use clap::Args;
use serde_json::Value;

use super::table;
use crate::Failure;
use crate::http::Remote;

/// Traces: a list by service, or the tree of one.
#[derive(Args)]
pub(super) struct Traces {
    /// A trace id: prints its tree
    #[arg(conflicts_with = "service", required_unless_present = "service")]
    trace_id: Option<String>,
    /// The service to look for
    #[arg(long)]
    service: Option<String>,
    /// An operation of it
    #[arg(long)]
    operation: Option<String>,
    /// A tag, as key=value; may be repeated
    #[arg(long = "tag", value_name = "KEY=VALUE")]
    tags: Vec<String>,
    /// Shortest duration, such as 100ms
    #[arg(long)]
    min_duration: Option<String>,
    /// Most traces
    #[arg(long, default_value_t = 20)]
    limit: u32,
}

impl Traces {
    pub(super) fn run(&self, remote: &Remote, json: bool) -> Result<(), Failure> {
        let answer = match &self.trace_id {
            Some(id) => remote.get(&format!("/ds/jaeger/api/traces/{id}"), &[])?,
            None => self.search(remote)?,
        };
        if json {
            println!("{answer}");
            return Ok(());
        }
        let traces = answer.get("data").and_then(Value::as_array).cloned().unwrap_or_default();
        match self.trace_id {
            Some(_) => traces.iter().for_each(print_tree),
            None => print_list(&traces),
        }
        Ok(())
    }

    fn search(&self, remote: &Remote) -> Result<Value, Failure> {
        let limit = self.limit.to_string();
        let tags = self.tags.iter().map(|tag| {
            let (key, value) =
                tag.split_once('=').ok_or_else(|| format!("--tag {tag} is not of the form key=value"))?;
            Ok::<_, String>((key.to_owned(), Value::from(value)))
        });
        let tags = Value::Object(tags.collect::<Result<_, _>>()?).to_string();
        let mut parameters = vec![("limit", &*limit), ("tags", &*tags)];
        let optional =
            [("service", &self.service), ("operation", &self.operation), ("minDuration", &self.min_duration)];
        for (name, value) in optional {
            parameters.extend(value.as_deref().map(|value| (name, value)));
        }
        remote.get("/ds/jaeger/api/traces", &parameters)
    }
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn number(value: &Value, key: &str) -> i64 {
    value.get(key).and_then(Value::as_i64).unwrap_or_default()
}

fn spans(trace: &Value) -> &[Value] {
    trace.get("spans").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn parent_of(span: &Value) -> String {
    let references = span.get("references").and_then(Value::as_array).into_iter().flatten();
    references
        .filter(|r| text(r, "refType") == "CHILD_OF")
        .map(|r| text(r, "spanID"))
        .next()
        .unwrap_or_default()
}

fn failed(span: &Value) -> bool {
    let tags = span.get("tags").and_then(Value::as_array).into_iter().flatten();
    tags.into_iter().any(|tag| text(tag, "key") == "error" && tag.get("value") == Some(&Value::Bool(true)))
}

fn service_of(trace: &Value, span: &Value) -> String {
    let process = trace.get("processes").and_then(|all| all.get(text(span, "processID")));
    process.map(|process| text(process, "serviceName")).unwrap_or_default()
}

fn print_list(traces: &[Value]) {
    let row = |trace: &Value| {
        let first =
            spans(trace).iter().min_by_key(|span| (!parent_of(span).is_empty(), number(span, "startTime")));
        let end = spans(trace).iter().map(|span| number(span, "startTime") + number(span, "duration")).max();
        let start = spans(trace).iter().map(|span| number(span, "startTime")).min();
        let root = first.map(|span| format!("{}: {}", service_of(trace, span), text(span, "operationName")));
        let errors = spans(trace).iter().filter(|span| failed(span)).count();
        vec![
            text(trace, "traceID"),
            root.unwrap_or_default(),
            milliseconds(end.unwrap_or_default() - start.unwrap_or_default()),
            spans(trace).len().to_string(),
            errors.to_string(),
        ]
    };
    table::print(
        &["trace", "root", "duration", "spans", "errors"],
        &traces.iter().map(row).collect::<Vec<_>>(),
    );
}

fn milliseconds(micros: i64) -> String {
    format!("{:.3}ms", micros as f64 / 1000.0)
}

/// Spans under their parents; those whose parent is missing stand as roots.
fn print_tree(trace: &Value) {
    let known: HashMap<String, &Value> =
        spans(trace).iter().map(|span| (text(span, "spanID"), span)).collect();
    let mut children: HashMap<String, Vec<&Value>> = HashMap::new();
    for span in spans(trace) {
        let parent = parent_of(span);
        let parent = if known.contains_key(&parent) { parent } else { String::new() };
        children.entry(parent).or_default().push(span);
    }
    children
        .values_mut()
        .for_each(|list| list.sort_by_key(|span| std::cmp::Reverse(number(span, "startTime"))));
    println!("trace {}", table::plain(&text(trace, "traceID")));
    // Each span is taken out of `children` once, so a cycle of parents cannot hold this up.
    let mut open: Vec<(&Value, usize)> =
        children.remove("").unwrap_or_default().into_iter().map(|span| (span, 0)).collect();
    while let Some((span, depth)) = open.pop() {
        let mark = if failed(span) { "  ✗ error" } else { "" };
        let name = table::plain(&format!("{}: {}", service_of(trace, span), text(span, "operationName")));
        println!("{}{name}  {}{mark}", "  ".repeat(depth), milliseconds(number(span, "duration")));
        let below = children.remove(&text(span, "spanID")).unwrap_or_default();
        open.extend(below.into_iter().map(|child| (child, depth + 1)));
    }
}
