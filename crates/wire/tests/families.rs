//! The protobuf exposition, held against what Prometheus' parser makes of the same messages.

mod corpus;

use kenning_model::{Histogram, LabelSet, MetricBatch, Millis, buckets};
use kenning_wire::prometheus::{Exposition, HistogramRules, ScrapeRules, Scraped, SeriesCache};
use serde_json::Value;

const NOW: i64 = 77_777_777;

/// Numbers and kinds of the fields of `metrics.proto`: message, field, number, kind.
const SCHEMA: &[(&str, &str, u32, Kind)] = &[
    ("family", "name", 1, Kind::Text),
    ("family", "help", 2, Kind::Text),
    ("family", "type", 3, Kind::Type),
    ("family", "metric", 4, Kind::Message("metric")),
    ("family", "unit", 5, Kind::Text),
    ("metric", "label", 1, Kind::Message("label")),
    ("metric", "gauge", 2, Kind::Message("gauge")),
    ("metric", "counter", 3, Kind::Message("counter")),
    ("metric", "summary", 4, Kind::Message("summary")),
    ("metric", "untyped", 5, Kind::Message("gauge")),
    ("metric", "timestamp_ms", 6, Kind::Varint),
    ("metric", "histogram", 7, Kind::Message("histogram")),
    ("label", "name", 1, Kind::Text),
    ("label", "value", 2, Kind::Text),
    ("gauge", "value", 1, Kind::Double),
    ("counter", "value", 1, Kind::Double),
    ("counter", "exemplar", 2, Kind::Message("exemplar")),
    ("counter", "start_timestamp", 3, Kind::Message("timestamp")),
    ("summary", "sample_count", 1, Kind::Varint),
    ("summary", "sample_sum", 2, Kind::Double),
    ("summary", "quantile", 3, Kind::Message("quantile")),
    ("summary", "start_timestamp", 4, Kind::Message("timestamp")),
    ("quantile", "quantile", 1, Kind::Double),
    ("quantile", "value", 2, Kind::Double),
    ("exemplar", "label", 1, Kind::Message("label")),
    ("exemplar", "value", 2, Kind::Double),
    ("exemplar", "timestamp", 3, Kind::Message("timestamp")),
    ("timestamp", "seconds", 1, Kind::Varint),
    ("timestamp", "nanos", 2, Kind::Varint),
    ("bucket", "cumulative_count", 1, Kind::Varint),
    ("bucket", "upper_bound", 2, Kind::Double),
    ("bucket", "exemplar", 3, Kind::Message("exemplar")),
    ("bucket", "cumulative_count_float", 4, Kind::Double),
    ("histogram", "sample_count", 1, Kind::Varint),
    ("histogram", "sample_sum", 2, Kind::Double),
    ("histogram", "bucket", 3, Kind::Message("bucket")),
    ("histogram", "sample_count_float", 4, Kind::Double),
    ("histogram", "schema", 5, Kind::Zigzag),
    ("histogram", "zero_threshold", 6, Kind::Double),
    ("histogram", "zero_count", 7, Kind::Varint),
    ("histogram", "zero_count_float", 8, Kind::Double),
    ("histogram", "negative_span", 9, Kind::Message("span")),
    ("histogram", "negative_delta", 10, Kind::Zigzag),
    ("histogram", "negative_count", 11, Kind::Double),
    ("histogram", "positive_span", 12, Kind::Message("span")),
    ("histogram", "positive_delta", 13, Kind::Zigzag),
    ("histogram", "positive_count", 14, Kind::Double),
    ("histogram", "start_timestamp", 15, Kind::Message("timestamp")),
    ("histogram", "exemplars", 16, Kind::Message("exemplar")),
    ("span", "offset", 1, Kind::Zigzag),
    ("span", "length", 2, Kind::Varint),
];

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Type,
    Double,
    Varint,
    Zigzag,
    Message(&'static str),
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn chunk(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    varint(u64::from(number << 3 | 2), out);
    varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Encodes prototext of one message, one field on a line, up to its closing `>`.
fn encode<'t>(message: &str, lines: &mut impl Iterator<Item = &'t str>) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(line) = lines.next() {
        let line = line.trim();
        if line == ">" {
            break;
        }
        let Some((field, value)) = line.split_once(": ") else { continue };
        let (_, _, number, kind) = SCHEMA
            .iter()
            .find(|row| row.0 == message && row.1 == field)
            .unwrap_or_else(|| panic!("{message}.{field} is not in the schema"));
        match kind {
            Kind::Message(inner) => chunk(*number, &encode(inner, lines), &mut out),
            Kind::Text => chunk(*number, value.trim_matches('"').as_bytes(), &mut out),
            Kind::Double => {
                varint(u64::from(number << 3 | 1), &mut out);
                out.extend_from_slice(&value.parse::<f64>().unwrap().to_le_bytes());
            }
            Kind::Varint | Kind::Zigzag | Kind::Type => {
                let types = ["COUNTER", "GAUGE", "SUMMARY", "UNTYPED", "HISTOGRAM", "GAUGE_HISTOGRAM"];
                let place = types.iter().position(|name| *name == value);
                let value = place.map_or_else(|| value.parse::<i64>().unwrap(), |place| place as i64);
                let zigzag = matches!(kind, Kind::Zigzag);
                varint(u64::from(number << 3), &mut out);
                varint(if zigzag { (value << 1 ^ value >> 63) as u64 } else { value as u64 }, &mut out);
            }
        }
    }
    out
}

/// A document of these families in prototext.
fn document<'t>(families: impl IntoIterator<Item = &'t str>) -> Vec<u8> {
    let mut out = Vec::new();
    for family in families {
        let bytes = encode("family", &mut family.lines());
        varint(bytes.len() as u64, &mut out);
        out.extend(bytes);
    }
    out
}

fn scrape(cache: &mut SeriesCache, body: &[u8], histograms: HistogramRules) -> Scraped {
    let rules = ScrapeRules {
        time: Millis(NOW),
        honor_timestamps: true,
        track_timestamps: false,
        sample_limit: 0,
        skip_created: false,
        histograms,
    };
    let mut finish = |pairs: &[(&str, &str)]| Ok(Some(LabelSet::from_pairs(pairs.iter().copied())));
    cache.scrape(body, Exposition::Protobuf, &rules, &mut finish)
}

fn shown(labels: &LabelSet) -> String {
    format!("{labels:?}")
}

/// Buckets that count something.
fn filled(spans: &[kenning_model::BucketSpan], counts: &[f64]) -> Vec<(i64, f64)> {
    buckets(spans, counts).filter(|(_, count)| *count != 0.0).collect()
}

fn histogram_line(h: &Histogram) -> String {
    format!(
        "schema {} count {} sum {} zero {} {} + {:?} - {:?} bounds {:?} reset {:?}",
        h.schema,
        h.count,
        h.sum,
        h.zero_threshold,
        h.zero_count,
        filled(&h.positive_spans, &h.positive),
        filled(&h.negative_spans, &h.negative),
        h.custom_bounds,
        h.reset
    )
}

/// Samples and histograms as sorted lines, with exemplars.
fn lines_of(batch: &MetricBatch) -> Vec<String> {
    let stamp = |time: Millis| if time.0 == NOW { String::new() } else { format!(" @{}", time.0) };
    let exemplars = |series: u32| {
        let all = batch.exemplars.iter().filter(|exemplar| exemplar.series == series);
        all.map(|e| format!(" # {} {}{}", shown(&e.labels), e.value, stamp(e.time))).collect::<String>()
    };
    let head = |series: u32, time| format!("{}{}", shown(&batch.series[series as usize]), stamp(time));
    let floats = batch
        .samples
        .iter()
        .map(|s| format!("{} {}{}", head(s.series, s.time), s.value, exemplars(s.series)));
    let histograms = batch.histograms.iter().map(|h| {
        format!("{} {}{}", head(h.series, h.time), histogram_line(&h.histogram), exemplars(h.series))
    });
    let mut lines: Vec<_> = floats.chain(histograms).collect();
    lines.sort();
    lines
}

fn float(value: &Value) -> f64 {
    value.as_f64().unwrap_or(0.0)
}

fn expected_histogram(value: &Value) -> Histogram {
    let spans = |key: &str| {
        let spans = value[key].as_array().cloned().unwrap_or_default();
        let number = |span: &Value, key: &str| span[key].as_i64().unwrap_or(0);
        let span = |span: &Value| kenning_model::BucketSpan {
            offset: number(span, "Offset") as i32,
            length: number(span, "Length") as u32,
        };
        spans.iter().map(span).collect::<Vec<_>>()
    };
    let counts = |key: &str| {
        let mut count = 0.0;
        let deltas = value[key].as_array().cloned().unwrap_or_default();
        deltas
            .iter()
            .map(|delta| {
                count += float(delta);
                count
            })
            .collect()
    };
    let bounds = value["CustomValues"].as_array().cloned().unwrap_or_default();
    Histogram {
        schema: value["Schema"].as_i64().unwrap_or(0) as i32,
        count: float(&value["Count"]),
        sum: float(&value["Sum"]),
        zero_threshold: float(&value["ZeroThreshold"]),
        zero_count: float(&value["ZeroCount"]),
        positive_spans: spans("PositiveSpans"),
        positive: counts("PositiveBuckets"),
        negative_spans: spans("NegativeSpans"),
        negative: counts("NegativeBuckets"),
        custom_bounds: bounds.iter().map(float).collect(),
        ..Histogram::default()
    }
}

fn expected_lines(entries: &[Value]) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in entries.iter().filter(|entry| !entry["lset"].is_null()) {
        let pairs = entry["lset"].as_object().unwrap();
        let labels = LabelSet::from_pairs(pairs.iter().map(|(name, value)| (name, value.as_str().unwrap())));
        let stamp = entry["t"].as_i64().map_or(String::new(), |time| format!(" @{time}"));
        let value = if entry["shs"].is_null() {
            float(&entry["v"]).to_string()
        } else {
            histogram_line(&expected_histogram(&entry["shs"]))
        };
        let exemplars = entry["es"].as_array().cloned().unwrap_or_default();
        let exemplar = |e: &Value| {
            let pairs = e["Labels"].as_object().unwrap();
            let labels = LabelSet::from_pairs(pairs.iter().map(|(n, v)| (n, v.as_str().unwrap())));
            let stamp = if e["HasTs"] == true { format!(" @{}", e["Ts"]) } else { String::new() };
            format!(" # {} {}{stamp}", shown(&labels), float(&e["Value"]))
        };
        let exemplars: String = exemplars.iter().map(exemplar).collect();
        lines.push(format!("{}{stamp} {value}{exemplars}", shown(&labels)));
    }
    lines.sort();
    lines
}

#[test]
fn families_come_out_as_prometheus_parser_has_them() {
    let Some(tables) = corpus::json("exposition/textparse/protobufparse.json") else { return };
    let tables = tables.as_array().unwrap();
    let mut checked = 0;
    for table in tables.iter().filter(|table| table["variants"].is_array()) {
        let families = tables
            .iter()
            .filter(|other| other["test"] == table["test"])
            .find_map(|table| table["metric_families_prototext"].as_array())
            .expect("the messages of a table");
        let body = document(families.iter().filter_map(Value::as_str));
        // Type and unit as labels are a feature of Prometheus that we do not have.
        for variant in table["variants"].as_array().unwrap().iter().filter(|v| v["typeAndUnit"] != true) {
            let rules = HistogramRules {
                native: variant["ignoreNative"] != true,
                classic_too: variant["keepClassic"] == true,
                to_custom_buckets: true,
                ..HistogramRules::default()
            };
            let mut cache = SeriesCache::default();
            for _ in 0..2 {
                let scraped = scrape(&mut cache, &body, rules);
                assert_eq!(scraped.error, None);
                let expect = expected_lines(variant["expected"].as_array().unwrap());
                pretty(&lines_of(&scraped.batch), &expect, variant);
            }
            checked += 1;
        }
    }
    assert!(checked > 0, "no variant was checked");
}

fn pretty(got: &[String], expect: &[String], about: &Value) {
    let missing: Vec<_> = expect.iter().filter(|line| !got.contains(line)).collect();
    let extra: Vec<_> = got.iter().filter(|line| !expect.contains(line)).collect();
    let about = (&about["ignoreNative"], &about["keepClassic"]);
    assert!(missing.is_empty() && extra.is_empty(), "{about:?}\nmissing {missing:#?}\nextra {extra:#?}");
}

#[test]
fn spans_without_buckets_for_them_fail_the_scrape() {
    let Some(tables) = corpus::json("exposition/textparse/protobufparse.json") else { return };
    let mut checked = 0;
    for case in tables.as_array().unwrap().iter().filter_map(|table| table["cases"].as_array()).flatten() {
        let body = document(case["input"].as_str());
        let rules = HistogramRules { native: true, ..HistogramRules::default() };
        assert!(scrape(&mut SeriesCache::default(), &body, rules).error.is_some(), "{}", case["name"]);
        checked += 1;
    }
    assert!(checked > 0);
}

/// The same scrape in text and in protobuf.
#[test]
fn a_real_scrape_is_the_same_in_both_forms() {
    let (Some(text), Some(messages)) =
        (corpus::path("exposition/expfmt/text"), corpus::path("exposition/expfmt/protobuf"))
    else {
        return;
    };
    let read = |path| std::fs::read(path).unwrap();
    let mut cache = SeriesCache::default();
    let from_messages = scrape(&mut cache, &read(messages), HistogramRules::default());
    assert_eq!(from_messages.error, None);
    assert!(from_messages.total > 100, "{} samples", from_messages.total);
    let mut finish = |pairs: &[(&str, &str)]| Ok(Some(LabelSet::from_pairs(pairs.iter().copied())));
    let rules = ScrapeRules {
        time: Millis(NOW),
        honor_timestamps: true,
        track_timestamps: false,
        sample_limit: 0,
        skip_created: false,
        histograms: HistogramRules::default(),
    };
    let from_text = cache.scrape(&read(text), Exposition::Text, &rules, &mut finish);
    assert_eq!(from_text.error, None);
    let series = |scraped: &Scraped| {
        let mut names: Vec<_> = scraped
            .batch
            .samples
            .iter()
            .filter(|s| !s.value.is_nan())
            .map(|s| shown(&scraped.batch.series[s.series as usize]))
            .collect();
        names.sort();
        names
    };
    let (ours, theirs) = (series(&from_messages), series(&from_text));
    let shared = ours.iter().filter(|line| theirs.contains(line)).count();
    assert!(shared * 10 > ours.len() * 9, "{shared} of {} series are in both", ours.len());
}

const NATIVE: &str = "name: \"h\"\ntype: HISTOGRAM\nmetric: <\n  histogram: <\n    sample_count: 7\n    sample_sum: 2\n\
    bucket: <\n      cumulative_count: 7\n      upper_bound: 4\n    >\n    schema: 3\n    zero_threshold: 0.001\n\
    zero_count: 2\n    positive_span: <\n      offset: 1\n      length: 4\n    >\n    positive_delta: 1\n    positive_delta: 0\n\
    positive_delta: 0\n    positive_delta: 1\n    start_timestamp: <\n      seconds: 5\n    >\n  >\n>\n";

fn native(change: impl FnOnce(&mut HistogramRules)) -> Scraped {
    let mut rules = HistogramRules { native: true, ..HistogramRules::default() };
    change(&mut rules);
    scrape(&mut SeriesCache::default(), &document([NATIVE]), rules)
}

#[test]
fn native_histograms_follow_the_rules_of_their_job() {
    let plain = native(|_| ());
    assert_eq!(
        (plain.error.as_deref(), plain.batch.samples.len(), plain.batch.histograms.len()),
        (None, 0, 1)
    );
    assert_eq!(plain.batch.histogram_starts, [Millis(5000)]);
    let both = native(|rules| rules.classic_too = true);
    assert_eq!((both.batch.samples.len(), both.batch.histograms.len()), (4, 1));
    assert_eq!(both.batch.starts, [Millis(5000); 4]);
    let classic = native(|rules| rules.native = false);
    assert_eq!((classic.batch.samples.len(), classic.batch.histograms.len()), (4, 0));
    let schema = |scraped: Scraped| scraped.batch.histograms.first().map(|h| h.histogram.schema);
    assert_eq!(schema(native(|rules| rules.bucket_limit = 2)), Some(2));
    assert_eq!(schema(native(|rules| rules.bucket_factor_min = 2.0)), Some(0));
    let over = NATIVE.replace("schema: 3", "schema: -4");
    let rules = HistogramRules { native: true, bucket_limit: 1, ..HistogramRules::default() };
    let refused = scrape(&mut SeriesCache::default(), &document([over.as_str()]), rules);
    assert!(refused.error.unwrap().contains("bucket limit"));
}

#[test]
fn what_is_cut_or_wrong_fails() {
    let whole = document([NATIVE]);
    let rules = HistogramRules { native: true, ..HistogramRules::default() };
    for len in 1..whole.len() {
        let scraped = scrape(&mut SeriesCache::default(), &whole[..len], rules);
        assert!(scraped.error.is_some() && scraped.batch.samples.is_empty(), "{len} bytes");
    }
    for (from, to) in [
        ("name: \"h\"\n", ""),
        ("type: HISTOGRAM", "type: 9"),
        ("type: HISTOGRAM", "type: HISTOGRAM\nunit: \"seconds\""),
        ("sample_count: 7", "sample_count: 3"),
    ] {
        let body = document([NATIVE.replace(from, to).as_str()]);
        assert!(scrape(&mut SeriesCache::default(), &body, rules).error.is_some(), "{to}");
    }
}
