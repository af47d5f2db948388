//! How OTLP log records become Loki's streams and entries: the tables of Loki's own tests, whose records are made by Go
//! statements that are read here.
#![allow(clippy::print_stdout)]

mod corpus;

use std::collections::BTreeMap;

use kenning_model::{LogBatch, Nanos};
use kenning_wire::DecodeLimits;
use kenning_wire::otlp::{Format, OtlpOptions, decode_logs};
use serde_json::{Value, json};

const NOW: i64 = 1_700_000_000_000_000_000;

/// What a statement calls, in order: `a.B(1).C("x")` is `B(1)` and `C("x")`.
fn calls(statement: &str) -> Option<Vec<(&str, Vec<&str>)>> {
    let mut rest = statement.split_once('.')?.1;
    let mut out = Vec::new();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('(')?;
        let (mut depth, mut quoted) = (1, false);
        let end = after.find(|c| {
            quoted ^= c == '"';
            depth += if quoted { 0 } else { i32::from(c == '(') - i32::from(c == ')') };
            depth == 0
        })?;
        let arguments = after[..end].split(", ").filter(|text| !text.is_empty()).collect();
        out.push((name, arguments));
        rest = after[end + 1..].trim_start_matches('.');
    }
    Some(out)
}

fn literal(text: &str) -> Option<Value> {
    match text {
        "OTLPEventName" => Some(json!("event_name")),
        "OTLPSeverityText" => Some(json!("severity_text")),
        "OTLPSeverityNumber" => Some(json!("severity_number")),
        _ => serde_json::from_str(text).ok(),
    }
}

/// Follows one statement through the request that it changes. `None`: it says something that is not read here.
fn apply(request: &mut Value, statement: &str) -> Option<()> {
    let mut at = request;
    for (name, arguments) in calls(statement)? {
        let argument = |index: usize| arguments.get(index).and_then(|text| literal(text));
        let list = match name {
            "ResourceLogs" => "resourceLogs",
            "ScopeLogs" => "scopeLogs",
            "LogRecords" => "logRecords",
            "Attributes" => "attributes",
            _ => "",
        };
        at = match name {
            _ if !list.is_empty() => {
                if at[list].is_null() {
                    at[list] = json!([]);
                }
                &mut at[list]
            }
            "Resource" => &mut at["resource"],
            "Scope" => &mut at["scope"],
            "Body" => &mut at["body"],
            "AppendEmpty" => {
                at.as_array_mut()?.push(json!({}));
                at.as_array_mut()?.last_mut()?
            }
            "At" => at.get_mut(usize::try_from(argument(0)?.as_u64()?).ok()?)?,
            "PutStr" | "PutInt" | "PutBool" | "PutDouble" => {
                let kind = match name {
                    "PutStr" => "stringValue",
                    "PutInt" => "intValue",
                    "PutBool" => "boolValue",
                    _ => "doubleValue",
                };
                at.as_array_mut()?.push(json!({"key": argument(0)?, "value": {kind: argument(1)?}}));
                return Some(());
            }
            _ => {
                let (field, value) = match name {
                    "SetStr" => ("stringValue", argument(0)?),
                    "SetName" => ("name", argument(0)?),
                    "SetVersion" => ("version", argument(0)?),
                    "SetEventName" => ("eventName", argument(0)?),
                    "SetSeverityText" => ("severityText", argument(0)?),
                    "SetTimestamp" => ("timeUnixNano", json!(NOW.to_string())),
                    "SetObservedTimestamp" => ("observedTimeUnixNano", json!(NOW.to_string())),
                    _ => return None,
                };
                at[field] = value;
                return Some(());
            }
        };
    }
    Some(())
}

/// Runs the statements of a function; loops are `for i := 0; i < N; i++`.
fn made(function: &str, mut request: Value) -> Option<Value> {
    let lines: Vec<&str> = function.lines().map(str::trim).collect();
    let is_statement = |line: &&&str| line.starts_with("ld.") || line.starts_with("log.");
    let mut at = 0;
    while at < lines.len() {
        if let Some(rest) = lines[at].strip_prefix("for i := 0; i < ") {
            let count: usize = rest.split(';').next()?.parse().ok()?;
            let body: Vec<&&str> = lines[at + 1..].iter().take_while(|line| **line != "}").collect();
            for i in 0..count {
                for line in body.iter().copied().filter(is_statement) {
                    let line = line.replace("At(i)", &format!("At({i})"));
                    let line = line.replace("fmt.Sprintf(", "").replace("%d\", i)", &format!("{i}\""));
                    apply(&mut request, &line)?;
                }
            }
            at += body.len();
        } else if is_statement(&&lines[at]) {
            apply(&mut request, lines[at])?;
        }
        at += 1;
    }
    Some(request)
}

fn decoded(request: &Value) -> LogBatch {
    let options = OtlpOptions::new(Nanos(NOW));
    let text = request.to_string();
    decode_logs(text.as_bytes(), Format::Json, &DecodeLimits::default(), &options).unwrap().batch
}

type Metadata = BTreeMap<String, String>;
type Entries = Vec<(String, i64, String, Metadata)>;

/// Stream, time, line and metadata of every record. `detected_level` is Loki's distributor's to add.
fn entries(batch: &LogBatch) -> Entries {
    let shown = |row: kenning_model::LogRow<'_>| {
        let labels: Vec<String> =
            row.stream.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let metadata = row.metadata.iter().filter(|(name, _)| *name != "detected_level");
        let metadata = metadata.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        (format!("{{{}}}", labels.join(", ")), row.time.0, row.line.to_owned(), metadata)
    };
    batch.rows().map(shown).collect()
}

fn expected(entry: &Value) -> (String, Metadata) {
    let pairs = entry["StructuredMetadata"].as_array().into_iter().flatten();
    let text = |json: &Value| json.as_str().unwrap_or("").to_owned();
    (text(&entry["Line"]), pairs.map(|pair| (text(&pair["Name"]), text(&pair["Value"]))).collect())
}

#[test]
fn requests_become_loki_s_streams() {
    let Some(tables) = corpus::json("logql/api/requests.json") else { return };
    let (mut checked, mut unread) = (0, 0);
    for case in tables["push/otlp_test.go:TestOTLPToLokiPushRequest"].as_array().unwrap() {
        let function = case["generateLogs"]["_func"].as_str().unwrap_or("");
        let is_default = case["otlpConfig"]["_call"] == "DefaultOTLPConfig";
        let Some(request) = made(function, json!({})).filter(|_| is_default) else {
            unread += 1;
            continue;
        };
        let mut want: Entries = Vec::new();
        for stream in case["expectedPushRequest"]["Streams"].as_array().into_iter().flatten() {
            for entry in stream["Entries"].as_array().into_iter().flatten() {
                let (line, metadata) = expected(entry);
                want.push((stream["Labels"].as_str().unwrap_or("").to_owned(), NOW, line, metadata));
            }
        }
        assert_eq!(entries(&decoded(&request)), want, "{}", case["name"]);
        checked += 1;
    }
    println!("{checked} requests checked, {unread} not read");
    assert!(checked >= 4, "{checked}");
}

#[test]
fn records_become_loki_s_entries() {
    let Some(tables) = corpus::json("logql/api/requests.json") else { return };
    let (mut checked, mut unread) = (0, 0);
    for case in tables["push/otlp_test.go:TestOTLPLogToPushEntry"].as_array().unwrap() {
        let Some(record) = made(case["buildLogRecord"]["_func"].as_str().unwrap_or(""), json!({})) else {
            unread += 1;
            continue;
        };
        let request = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]});
        let got: Vec<_> =
            entries(&decoded(&request)).into_iter().map(|(_, _, line, metadata)| (line, metadata)).collect();
        assert_eq!(got, [expected(&case["expectedResp"])], "{}", case["name"]);
        checked += 1;
    }
    println!("{checked} records checked, {unread} not read");
    assert!(checked >= 2, "{checked}");
}
