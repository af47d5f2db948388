//! The exposition corpora: what Prometheus stored after scraping each document, and the tables of its parsers' tests.

mod corpus;

use std::collections::BTreeMap;

use kenning_model::{LabelSet, MetricBatch, Millis};
use kenning_wire::prometheus::{Exposition, OnBadLine, ScrapeOptions, decode};
use kenning_wire::{DecodeError, DecodeLimits, Decoded};
use serde_json::Value;

/// A stamp no document carries, so that it marks samples without one.
const UNSTAMPED: Millis = Millis(77_777_777_777);

fn scrape(body: &[u8], format: Exposition) -> Result<Decoded<MetricBatch>, DecodeError> {
    let limits = DecodeLimits { labels: 1000, label_value_bytes: 1 << 20, ..DecodeLimits::default() };
    decode(body, format, &limits, &ScrapeOptions::new(UNSTAMPED, target()))
}

/// The recordings were made with a target of these labels, and leave the labels out.
fn target() -> LabelSet {
    LabelSet::from_pairs([("instance", "i"), ("job", "j")])
}

fn without_target(labels: &LabelSet) -> LabelSet {
    let mut builder = labels.to_builder();
    builder.remove("instance").remove("job");
    builder.build()
}

/// Series and values of the samples without stamps.
fn unstamped(batch: &MetricBatch) -> BTreeMap<LabelSet, f64> {
    let samples = batch.samples.iter().filter(|sample| sample.time == UNSTAMPED);
    samples.map(|sample| (without_target(&batch.series[sample.series as usize]), sample.value)).collect()
}

fn go_float(text: &str) -> f64 {
    text.parse().unwrap()
}

fn same(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan())
}

/// What differs from Prometheus' recorded answer to one document.
fn difference(doc: &Value, golden: &Value) -> Option<String> {
    let body = match (&doc["body"], &doc["hex"]) {
        (Value::String(body), _) => body.clone().into_bytes(),
        (_, Value::String(digits)) => hex(digits),
        _ => return Some("neither body nor hex".into()),
    };
    let format = Exposition::from_content_type(doc["content_type"].as_str().unwrap());
    let decoded = scrape(&body, format);
    let up = golden["up"] == "1";
    let decoded = match (decoded, up) {
        (Ok(decoded), true) => decoded,
        (Err(_), false) => return None,
        (Ok(_), false) => return Some("taken, but Prometheus refuses it".into()),
        (Err(error), true) => return Some(format!("refused, but Prometheus takes it: {error}")),
    };
    let ours = unstamped(&decoded.batch);
    let theirs = golden["series"].as_array().unwrap();
    for entry in theirs {
        let pairs = entry[0].as_array().unwrap();
        let labels =
            LabelSet::from_pairs(pairs.iter().map(|p| (p[0].as_str().unwrap(), p[1].as_str().unwrap())));
        let value = go_float(entry[1].as_str().unwrap());
        match ours.get(&labels) {
            Some(found) if same(*found, value) => {}
            // A stamped sample that Prometheus still holds.
            None if decoded.batch.series.iter().any(|series| without_target(series) == labels) => {}
            found => return Some(format!("{labels:?}: {found:?} instead of {value}")),
        }
    }
    let count = golden["series_count"].as_u64().unwrap() as usize;
    let stamped = decoded.batch.samples.len() - ours.len();
    (ours.len() > count || ours.len() + stamped < count)
        .then(|| format!("{} series instead of {count}", ours.len()))
}

#[test]
fn scrapes_as_prometheus_does() {
    let (Some(docs), Some(golden)) = (
        corpus::json("exposition/scrape-suite/docs.json"),
        corpus::json("exposition/scrape-suite/golden_main.json"),
    ) else {
        return;
    };
    let docs = docs.as_array().unwrap();
    let mut failures = Vec::new();
    for doc in docs {
        let id = doc["id"].as_str().unwrap();
        if let Some(problem) = difference(doc, &golden[id]) {
            failures.push(format!("{id}: {problem}"));
        }
    }
    assert!(failures.is_empty(), "{} of {} differ:\n{}", failures.len(), docs.len(), failures.join("\n"));
}

/// Cases in which a document is only said to be good or bad.
fn verdicts(name: &str, cases: &[(String, Vec<u8>, Exposition, bool)], excused: &[&str]) {
    let mut failures = Vec::new();
    for (id, body, format, good) in cases {
        match (scrape(body, *format), good) {
            (Err(error), true) => failures.push(format!("{id}: refused: {error}")),
            (Ok(_), false) if !excused.iter().any(|excused| id.starts_with(excused)) => {
                failures.push(format!("{id}: taken: {:?}", String::from_utf8_lossy(body)));
            }
            _ => {}
        }
    }
    assert!(failures.is_empty(), "{name}: {} of {}:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

#[test]
fn good_documents_of_other_projects_are_taken() {
    let mut cases = Vec::new();
    for folder in [
        "exposition/real",
        "exposition/otel-prometheus-exporter",
        "exposition/promtool",
        "exposition/textparse/files",
    ] {
        let Some(root) = corpus::path(folder) else { return };
        for file in corpus::files(&root) {
            let body = std::fs::read(&file).unwrap();
            let open = body.ends_with(b"# EOF\n") && !file.to_string_lossy().contains("node_exporter");
            let format = if open { Exposition::OpenMetrics } else { Exposition::Text };
            cases.push((file.display().to_string(), body, format, true));
        }
    }
    assert!(cases.len() > 40, "only {} documents", cases.len());
    // Files that are inputs of other tools, not exposition.
    cases.retain(|(id, ..)| !corpus::foreign(id));
    verdicts("real", &cases, &[]);
}

#[test]
fn openmetrics_suite_good_cases() {
    let Some(root) = corpus::path("exposition/openmetrics-suite") else { return };
    let mut cases = Vec::new();
    for case in corpus::files(&root).iter().filter(|file| file.ends_with("test.json")) {
        let about: Value = serde_json::from_slice(&std::fs::read(case).unwrap()).unwrap();
        let body = std::fs::read(case.with_file_name(about["file"].as_str().unwrap())).unwrap();
        // Prometheus is laxer than the suite: the scrape suite above is the oracle for bad ones.
        if about["shouldParse"] == true {
            cases.push((case.display().to_string(), body, Exposition::OpenMetrics, true));
        }
    }
    assert!(cases.len() > 10);
    verdicts("openmetrics", &cases, &[]);
}

#[test]
fn tables_of_prometheus_parsers() {
    let mut failures = Vec::new();
    let mut count = 0;
    for (file, format) in [("promparse", Exposition::Text), ("openmetricsparse", Exposition::OpenMetrics)] {
        let Some(tables) = corpus::json(&format!("exposition/textparse/{file}.json")) else { return };
        for table in tables.as_array().unwrap() {
            let Some(input) = table["input"].as_str() else { continue };
            let Some(entries) = table["expected_entries"].as_array() else { continue };
            count += 1;
            let open = format == Exposition::OpenMetrics && !input.ends_with("# EOF\n");
            let input = if open { format!("{input}\n# EOF\n") } else { input.to_owned() };
            let decoded = match scrape(input.as_bytes(), format) {
                Ok(decoded) => decoded,
                Err(error) => {
                    failures.push(format!("{file} {}: {error}", table["test"]));
                    continue;
                }
            };
            let other =
                |entry: &&Value| ["help", "typ", "unit", "comment"].iter().any(|key| !entry[key].is_null());
            let samples = entries.iter().filter(|entry| !other(entry)).count();
            let ours = decoded.batch.samples.len() + decoded.rejected.total() as usize;
            // The recorded parser skips `_created` series; here they are series like others.
            let created =
                decoded.batch.series.iter().filter(|s| s.metric_name().ends_with("_created")).count();
            if !(ours - created..=ours).contains(&samples) {
                failures.push(format!("{file} {}: {ours} samples instead of {samples}", table["test"]));
            }
            let helps =
                entries.iter().filter_map(|entry| Some((entry["m"].as_str()?, entry["help"].as_str()?)));
            for (metric, help) in helps {
                let known = decoded.batch.metadata.iter().find(|m| m.metric == metric);
                if known.is_none_or(|known| known.help.is_empty() != help.is_empty()) {
                    failures.push(format!("{file} {metric}: help {known:?} instead of {help:?}"));
                }
            }
        }
    }
    assert!(failures.is_empty(), "of {count}:\n{}", failures.join("\n"));
}

#[test]
fn errors_of_prometheus_parsers() {
    for (file, format) in [("promparse", Exposition::Text), ("openmetricsparse", Exposition::OpenMetrics)] {
        let Some(tables) = corpus::json(&format!("exposition/textparse/{file}.json")) else { return };
        let cases = tables.as_array().unwrap().iter().filter_map(|table| table["cases"].as_array()).flatten();
        let cases = cases.map(|case| {
            let input = match &case["input"] {
                Value::String(text) => text.clone().into_bytes(),
                other => hex(other["_bytes_hex"].as_str().unwrap()),
            };
            let err = case["err"].as_str().unwrap_or_default();
            let good = err.is_empty() || err == "EOF";
            (format!("{file}: {err}"), input, format, good)
        });
        verdicts(file, &cases.collect::<Vec<_>>(), &[]);
    }
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect()
}

fn lines(body: &str, options: &ScrapeOptions) -> Result<Vec<String>, DecodeError> {
    let decoded = decode(body.as_bytes(), Exposition::Text, &DecodeLimits::default(), options)?;
    let series = |index: u32| format!("{:?}", decoded.batch.series[index as usize]).replace('"', "");
    let mut lines: Vec<_> = decoded
        .batch
        .samples
        .iter()
        .map(|s| format!("{} {} @{}", series(s.series), s.value, s.time))
        .collect();
    lines.extend(decoded.rejected.iter().map(|(reason, count, _)| format!("{reason} {count}")));
    Ok(lines)
}

#[test]
fn labels_of_the_target_win_unless_told() {
    let target = LabelSet::from_pairs([("job", "j"), ("instance", "i")]);
    let mut options = ScrapeOptions::new(Millis(9), target);
    let body = "a{job=\"own\",exported_job=\"x\"} 1 5\n";
    let expect = "{__name__: a, exported_exported_job: own, exported_job: x, instance: i, job: j} 1 @5";
    assert_eq!(lines(body, &options).unwrap(), [expect]);
    options.honor_labels = true;
    options.honor_timestamps = false;
    assert_eq!(
        lines(body, &options).unwrap(),
        ["{__name__: a, exported_job: x, instance: i, job: own} 1 @9"]
    );
}

#[test]
fn bad_lines_fail_the_document_or_are_counted() {
    let mut options = ScrapeOptions::new(Millis(9), LabelSet::empty());
    let body = "a 1\nb{ 2\nc{x=\"1\",x=\"2\"} 3\n\u{7f}\nd 4\nd 5\n";
    assert!(matches!(lines(body, &options), Err(DecodeError::Malformed { .. })));
    options.on_bad_line = OnBadLine::SkipLine;
    let expect = [
        "{__name__: a} 1 @9",
        "{__name__: d} 4 @9",
        "malformed 2",
        "duplicate_label 1",
        "duplicate_sample 1",
    ];
    assert_eq!(lines(body, &options).unwrap(), expect);
}

#[test]
fn series_beyond_the_limits_are_left_out_alone() {
    let options = ScrapeOptions::new(Millis(9), LabelSet::empty());
    let (long, name) = ("v".repeat(4097), "n".repeat(257));
    let many: Vec<_> = (0..65).map(|i| format!("l{i}=\"v\"")).collect();
    let body = format!("a 1\nb{{x=\"{long}\"}} 1\nb{{{name}=\"v\"}} 1\nb{{{}}} 1\nc 2\n", many.join(","));
    let expect = [
        "{__name__: a} 1 @9",
        "{__name__: c} 2 @9",
        "label_value_too_long 1",
        "bad_label_name 1",
        "too_many_labels 1",
    ];
    assert_eq!(lines(&body, &options).unwrap(), expect);
    let limits = DecodeLimits { items: 2, ..DecodeLimits::default() };
    let refused = decode(b"a 1\nb 1\nc 1\n", Exposition::Text, &limits, &options);
    assert!(matches!(refused, Err(DecodeError::TooLarge { limit: 2, .. })));
}

#[test]
fn metadata_and_exemplars_are_kept() {
    let body = "# HELP r_seconds time \\\"x\\\" a\\nb\n# TYPE r_seconds histogram\n# UNIT r_seconds seconds\n\
        r_seconds_bucket{le=\"1\"} 4 2.5 # {trace_id=\"t\"} 0.7 2.25\nr_seconds_created 3\n# EOF\n";
    let decoded = scrape(body.as_bytes(), Exposition::OpenMetrics).unwrap();
    let metadata = &decoded.batch.metadata[0];
    assert_eq!((metadata.help.as_str(), metadata.unit.as_str()), ("time \"x\" a\nb", "seconds"));
    assert_eq!(metadata.kind, kenning_model::MetricKind::Histogram);
    let exemplar = &decoded.batch.exemplars[0];
    assert_eq!((exemplar.time, exemplar.value, exemplar.labels.get("trace_id")), (Millis(2250), 0.7, "t"));
    assert_eq!(decoded.batch.series[0].get("le"), "1.0");
    assert_eq!((decoded.batch.samples[0].time, decoded.batch.samples.len()), (Millis(2500), 2));
}

#[test]
fn content_types() {
    let of = Exposition::from_content_type;
    assert_eq!(of("application/openmetrics-text; version=1.0.0"), Exposition::OpenMetrics);
    assert_eq!(of("text/plain; version=0.0.4"), Exposition::Text);
    assert_eq!(of(""), Exposition::Text);
    assert_eq!(of("application/vnd.google.protobuf; proto=x"), Exposition::Protobuf);
}
