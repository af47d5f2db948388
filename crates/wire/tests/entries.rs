//! The tables of Prometheus' parsers and of its relatives, entry by entry: labels, values, stamps, exemplars, starts, help,
//! types, units.

mod corpus;

use std::collections::BTreeMap;

use kenning_model::{LabelSet, MetricBatch, MetricKind, MetricMetadata, Millis};
use kenning_wire::prometheus::{Exposition, HistogramRules, ScrapeRules, Scraped, SeriesCache};
use serde_json::Value;

/// A stamp that no document carries.
const NOW: Millis = Millis(77_777_777_777);

/// Reads a document with what was learnt of earlier ones. Labels stay as they are in the document.
fn scrape(cache: &mut SeriesCache, body: &[u8], format: Exposition) -> Scraped {
    let rules = ScrapeRules {
        time: NOW,
        honor_timestamps: true,
        track_timestamps: false,
        sample_limit: 0,
        skip_created: false,
        histograms: HistogramRules { native: true, ..HistogramRules::default() },
    };
    let mut finish = |pairs: &[(&str, &str)]| Ok(Some(LabelSet::from_pairs(pairs.iter().copied())));
    cache.scrape(body, format, &rules, &mut finish)
}

fn number(value: f64) -> String {
    if value.is_nan() { "NaN".to_owned() } else { value.to_string() }
}

fn stamp(time: Millis) -> String {
    if time == NOW { String::new() } else { format!(" @{}", time.0) }
}

/// Samples as sorted lines.
fn lines_of(batch: &MetricBatch) -> Vec<String> {
    let mut lines = Vec::new();
    for (i, sample) in batch.samples.iter().enumerate() {
        let start = batch.starts.get(i).filter(|start| start.0 != 0);
        let start = start.map_or_else(String::new, |start| format!(" since {}", start.0));
        let exemplars = batch.exemplars.iter().filter(|e| e.series == sample.series);
        let exemplars: String = exemplars
            .map(|e| {
                let time = if e.time == sample.time { String::new() } else { stamp(e.time) };
                format!(" # {:?} {}{time}", e.labels, number(e.value))
            })
            .collect();
        let labels = &batch.series[sample.series as usize];
        lines.push(format!("{labels:?} {}{}{start}{exemplars}", number(sample.value), stamp(sample.time)));
    }
    lines.sort();
    lines
}

/// The labels of an entry, with an experimental feature that adds type and unit off.
fn labels_of(value: &Value) -> LabelSet {
    let plain = match (value["_call"].as_str(), &value["args"]) {
        (Some("typeAndUnitLabels"), args) => &args[2],
        (Some("todoDetectFamilySwitch"), args) => &args[1],
        _ => value,
    };
    let pairs = plain.as_object().expect("labels");
    let text = |value: &Value| match value["_id"].as_str() {
        Some(kind) => kind.trim_start_matches("model.MetricType").to_lowercase(),
        None => value.as_str().expect("a label's value").to_owned(),
    };
    LabelSet::from_pairs(pairs.iter().map(|(name, value)| (name, text(value))))
}

fn float(value: &Value) -> f64 {
    match value {
        // A number that is left out is zero; the calls make one of the bits of a NaN.
        Value::Null => 0.0,
        Value::Object(_) => f64::NAN,
        Value::String(text) => text.parse().expect("a number"),
        other => other.as_f64().expect("a number"),
    }
}

fn expected_line(entry: &Value) -> String {
    let time = entry["t"]["args"][0].as_i64().map_or_else(String::new, |time| format!(" @{time}"));
    let start = entry["st"].as_i64().map_or_else(String::new, |start| format!(" since {start}"));
    let exemplars = entry["es"].as_array().into_iter().flatten();
    let exemplars: String = exemplars
        .map(|e| {
            let time = if e["HasTs"] == true { format!(" @{}", e["Ts"]) } else { String::new() };
            let pairs = e["Labels"].as_object().expect("labels");
            let labels = LabelSet::from_pairs(pairs.iter().map(|(n, v)| (n, v.as_str().expect("a value"))));
            format!(" # {labels:?} {}{time}", number(float(&e["Value"])))
        })
        .collect();
    format!("{:?} {}{time}{start}{exemplars}", labels_of(&entry["lset"]), number(float(&entry["v"])))
}

/// What the comments among the entries say, the last word winning.
fn expected_metadata(entries: &[Value]) -> BTreeMap<String, MetricMetadata> {
    let mut told: BTreeMap<String, MetricMetadata> = BTreeMap::new();
    for entry in entries {
        let Some(metric) = entry["m"].as_str().filter(|_| entry["lset"].is_null()) else { continue };
        let about = told.entry(metric.to_owned()).or_default();
        about.metric = metric.to_owned();
        if let Some(help) = entry["help"].as_str() {
            about.help = help.to_owned();
        }
        if let Some(unit) = entry["unit"].as_str() {
            about.unit = unit.to_owned();
        }
        if let Some(kind) = entry["typ"]["_id"].as_str() {
            about.kind = kind_of(kind);
        }
    }
    told
}

fn kind_of(name: &str) -> MetricKind {
    match name.trim_start_matches("model.MetricType").trim_start_matches("dto.MetricType_") {
        "Counter" | "COUNTER" => MetricKind::Counter,
        "Gauge" | "GAUGE" => MetricKind::Gauge,
        "Histogram" | "HISTOGRAM" => MetricKind::Histogram,
        "GaugeHistogram" | "GAUGE_HISTOGRAM" => MetricKind::GaugeHistogram,
        "Summary" | "SUMMARY" => MetricKind::Summary,
        "Info" => MetricKind::Info,
        "Stateset" => MetricKind::StateSet,
        "Unknown" | "UNTYPED" => MetricKind::Unknown,
        other => panic!("the type {other}"),
    }
}

fn differences(about: &str, found: &[String], expect: &[String]) -> Vec<String> {
    let missing =
        expect.iter().filter(|line| !found.contains(line)).map(|line| format!("{about}: lacks {line}"));
    let extra = found.iter().filter(|line| !expect.contains(line)).map(|line| format!("{about}: has {line}"));
    missing.chain(extra).collect()
}

#[test]
fn entries_of_prometheus_text_parsers() {
    let (mut checked, mut failures) = (0, Vec::new());
    for (file, format) in [("promparse", Exposition::Text), ("openmetricsparse", Exposition::OpenMetrics)] {
        let Some(tables) = corpus::json(&format!("exposition/textparse/{file}.json")) else { return };
        for table in tables.as_array().expect("tables") {
            let (Some(input), Some(entries)) =
                (table["input"].as_str(), table["expected_entries"].as_array())
            else {
                continue;
            };
            let about = format!("{file} {}", table["test"]);
            let open = format == Exposition::OpenMetrics && !input.ends_with("# EOF\n");
            let input = if open { format!("{input}\n# EOF\n") } else { input.to_owned() };
            let mut cache = SeriesCache::default();
            // Cold, by the lines of the last document, and by its template.
            for round in ["first", "second", "third"] {
                let scraped = scrape(&mut cache, input.as_bytes(), format);
                assert_eq!(scraped.error, None, "{about}");
                let samples = entries.iter().filter(|entry| !entry["lset"].is_null());
                let mut expect: Vec<_> = samples.map(expected_line).collect();
                expect.sort();
                // Of a series that repeats without stamps the first sample is stored; the parser shows all.
                let (mut seen, mut once) = (Vec::new(), Vec::new());
                for entry in entries.iter().filter(|entry| !entry["lset"].is_null()) {
                    let labels = labels_of(&entry["lset"]);
                    if entry["t"].is_null() && seen.contains(&labels) {
                        continue;
                    }
                    seen.push(labels);
                    once.push(expected_line(entry));
                }
                once.sort();
                // `_created` series of counters are told as starts and stored as series too, as scrapes of Prometheus do.
                let found: Vec<_> = lines_of(&scraped.batch);
                let found: Vec<_> = found
                    .into_iter()
                    .filter(|line| !line.contains("_created\"") || once.contains(line))
                    .collect();
                failures.extend(differences(&format!("{about} {round}"), &found, &once));
                checked += once.len();
            }
            let known: BTreeMap<_, _> = cache.metadata().map(|m| (m.metric.clone(), m.clone())).collect();
            for (metric, told) in expected_metadata(entries) {
                if known.get(&metric) != Some(&told) {
                    failures.push(format!("{about}: {:?} instead of {told:?}", known.get(&metric)));
                }
            }
        }
    }
    assert!(checked > 100, "only {checked} entries");
    assert!(failures.is_empty(), "{} differ:\n{}", failures.len(), failures.join("\n"));
}

/// The series of a family as the text form spells it.
fn family_lines(family: &Value) -> Vec<String> {
    let name = family["Name"].as_str().expect("a name");
    let kind = kind_of(family["Type"].as_str().unwrap_or("dto.MetricType_COUNTER"));
    let mut lines = Vec::new();
    for metric in family["Metric"].as_array().into_iter().flatten() {
        let labels = metric["Label"].as_array().into_iter().flatten();
        let labels: Vec<(String, String)> = labels
            .map(|pair| (pair["Name"].as_str().unwrap_or(""), pair["Value"].as_str().unwrap_or("")))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let time = metric["TimestampMs"].as_i64().map_or_else(String::new, |time| format!(" @{time}"));
        let mut line = |suffix: &str, extra: Option<(&str, String)>, value: &Value| {
            if value.is_null() {
                return;
            }
            let mut pairs = labels.clone();
            pairs.push(("__name__".to_owned(), format!("{name}{suffix}")));
            pairs.extend(extra.map(|(name, value)| (name.to_owned(), value)));
            lines.push(format!("{:?} {}{time}", LabelSet::from_pairs(pairs), number(float(value))));
        };
        for body in ["Counter", "Gauge", "Untyped"] {
            line("", None, &metric[body]["Value"]);
        }
        let either = |of: &Value, whole: &str, float: &str| {
            if of[whole].is_null() { of[float].clone() } else { of[whole].clone() }
        };
        let (summary, histogram) = (&metric["Summary"], &metric["Histogram"]);
        line("_sum", None, &summary["SampleSum"]);
        line("_count", None, &summary["SampleCount"]);
        for quantile in summary["Quantile"].as_array().into_iter().flatten() {
            line("", Some(("quantile", bound(float(&quantile["Quantile"]), true))), &quantile["Value"]);
        }
        line("_sum", None, &histogram["SampleSum"]);
        line("_count", None, &either(histogram, "SampleCount", "SampleCountFloat"));
        for bucket in histogram["Bucket"].as_array().into_iter().flatten() {
            let le = bound(float(&bucket["UpperBound"]), kind == MetricKind::Histogram);
            line("_bucket", Some(("le", le)), &either(bucket, "CumulativeCount", "CumulativeCountFloat"));
        }
    }
    lines
}

fn bound(value: f64, canonical: bool) -> String {
    match value {
        _ if value == f64::INFINITY => "+Inf".to_owned(),
        _ if value.fract() == 0.0 && canonical => format!("{value:.1}"),
        _ => value.to_string(),
    }
}

/// Families of `common/expfmt`. Prometheus' scraper reads no gauge histograms in the text form, so they are left out here.
#[test]
fn families_of_the_common_text_parser() {
    let Some(cases) = corpus::json("exposition/text-parse/common_ok.json") else { return };
    let (mut checked, mut failures) = (0, Vec::new());
    for case in cases.as_array().expect("cases") {
        let input = case["in"].as_str().expect("a text");
        if input.contains("gaugehistogram") || input.contains("gauge_histogram") {
            continue;
        }
        let scraped = scrape(&mut SeriesCache::default(), input.as_bytes(), Exposition::Text);
        if let Some(error) = scraped.error {
            failures.push(format!("{input:?}: {error}"));
            continue;
        }
        let expect: Vec<_> =
            case["out"].as_array().expect("families").iter().flat_map(family_lines).collect();
        failures.extend(differences(&format!("{input:?}"), &lines_of(&scraped.batch), &expect));
        checked += expect.len();
    }
    assert!(checked > 10, "only {checked} samples");
    assert!(failures.is_empty(), "{} differ:\n{}", failures.len(), failures.join("\n"));
}

/// The fields of Telegraf's line protocol, as far as they are numbers.
fn telegraf_values(text: &str) -> Vec<(String, f64)> {
    let mut values = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        // Blanks within tags are escaped, so the fields stand behind the first that is not.
        let mut fields = String::new();
        let mut escaped = false;
        let mut place = 0;
        for c in line.chars() {
            match c {
                ' ' if !escaped => place += 1,
                _ if place == 1 => fields.push(c),
                _ => {}
            }
            escaped = c == '\\' && !escaped;
        }
        for field in fields.split(',') {
            let Some((name, value)) = field.rsplit_once('=') else { continue };
            let value = value.trim_end_matches(['i', 'u']);
            if let Ok(value) = value.parse() {
                values.push((name.to_owned(), value));
            }
        }
    }
    values
}

/// Telegraf's documents: every number that Telegraf reads is the value of a series of that name here.
#[test]
fn documents_of_telegraf() {
    let (mut checked, mut failures) = (0, Vec::new());
    for (folder, format) in [("openmetrics", Exposition::OpenMetrics), ("prometheus", Exposition::Text)] {
        let Some(root) = corpus::path(&format!("exposition/telegraf/{folder}")) else { return };
        for file in corpus::files(&root).iter().filter(|file| file.ends_with("input.txt")) {
            let body = std::fs::read(file).expect("a readable file");
            let scraped = scrape(&mut SeriesCache::default(), &body, format);
            if let Some(error) = scraped.error {
                failures.push(format!("{}: {error}", file.display()));
                continue;
            }
            let Ok(expect) = std::fs::read_to_string(file.with_file_name("expected_v2.out")) else {
                continue;
            };
            let batch = &scraped.batch;
            for (name, value) in telegraf_values(&expect) {
                // Its reader cuts seconds of `_created`, and treats sets of states in its own way.
                if name.ends_with("_created") {
                    continue;
                }
                checked += 1;
                let found = batch.samples.iter().any(|s| {
                    batch.series[s.series as usize].metric_name() == name
                        && (s.value == value || (s.value.is_nan() && value.is_nan()))
                });
                if !found {
                    failures.push(format!("{}: no {name} of {value}", file.display()));
                }
            }
        }
    }
    assert!(checked > 20, "only {checked} values");
    assert!(failures.is_empty(), "{} differ:\n{}", failures.len(), failures.join("\n"));
}

/// Each line of Fluent Bit's documents that holds a sample is stored.
#[test]
fn documents_of_fluent_bit() {
    let Some(root) = corpus::path("exposition/fluent-bit-cmetrics") else { return };
    let files = corpus::files(&root);
    for file in &files {
        let body = std::fs::read_to_string(file).expect("a readable file");
        let scraped = scrape(&mut SeriesCache::default(), body.as_bytes(), Exposition::Text);
        assert_eq!(scraped.error, None, "{}", file.display());
        let lines =
            body.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
        assert_eq!(scraped.total, lines.count() as u64, "{}", file.display());
    }
    assert!(files.len() > 3, "only {} documents", files.len());
}
