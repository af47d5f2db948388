//! OTLP against its own examples, captured requests of an SDK, and the translation tables of Prometheus.

mod corpus;

use std::io::Read;

use kenning_model::{CounterReset, DeltaData, LogBatch, MetricBatch, MetricKind, Millis, SpanBatch};
use kenning_model::{Nanos, Reason, Severity, SpanKind, StatusCode, Value, ValueRef};
use kenning_wire::compression::{Encoding, decompress};
use kenning_wire::otlp::{
    DeltaTemporality, Format, LabelNaming, OtlpOptions, TranslationStrategy, decode_logs, decode_metrics,
    decode_traces, encode_logs, encode_traces,
};
use kenning_wire::{DecodeError, DecodeLimits, Decoded};

fn options() -> OtlpOptions {
    OtlpOptions::new(Nanos(42))
}

fn traces(text: &str) -> Result<Decoded<SpanBatch>, DecodeError> {
    decode_traces(text.as_bytes(), Format::Json, &DecodeLimits::default(), &options())
}

fn logs(text: &str) -> Result<Decoded<LogBatch>, DecodeError> {
    decode_logs(text.as_bytes(), Format::Json, &DecodeLimits::default(), &options())
}

fn metrics(text: &str) -> Result<Decoded<MetricBatch>, DecodeError> {
    decode_metrics(text.as_bytes(), Format::Json, &DecodeLimits::default(), &options())
}

/// One series a line, in the order of the batch: labels and value.
fn shown(batch: &MetricBatch) -> Vec<String> {
    let series = |index: u32| format!("{:?}", batch.series[index as usize]).replace('"', "");
    let floats = batch.samples.iter().map(|s| format!("{} {} @{}", series(s.series), s.value, s.time));
    let natives = batch.histograms.iter().map(|h| {
        let h2 = &h.histogram;
        format!(
            "{} count={} sum={} zero={} {:?} {:?} @{}",
            series(h.series),
            h2.count,
            h2.sum,
            h2.zero_count,
            h2.positive_spans,
            h2.positive,
            h.time
        )
    });
    floats.chain(natives).collect()
}

/// The metrics of a resource with `service.name` x; `points` is the JSON of metrics.
fn of_metrics(metrics: &str) -> String {
    format!(
        r#"{{"resourceMetrics":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"x"}}}}]}},
        "scopeMetrics":[{{"metrics":[{metrics}]}}]}}]}}"#
    )
}

fn check_metrics(json: &str, expect: &[&str], rejected: &[(Reason, u64)]) {
    let decoded = metrics(&of_metrics(json)).unwrap();
    assert_eq!(shown(&decoded.batch), expect, "{json}");
    let counts: Vec<_> = decoded.rejected.iter().map(|(reason, count, _)| (reason, count)).collect();
    assert_eq!(counts, rejected, "{json} {}", decoded.rejected);
}

#[test]
fn numbers() {
    check_metrics(
        r#"{"name":"a.b","unit":"By","gauge":{"dataPoints":[
            {"timeUnixNano":"1999999","asDouble":1.5,"attributes":[{"key":"x.y","value":{"stringValue":"1"}}]},
            {"timeUnixNano":2000000,"asInt":"-7"},{"timeUnixNano":"3000000","flags":1}]}}"#,
        &[
            "{__name__: a_b_bytes, job: x, x_y: 1} 1.5 @1",
            "{__name__: a_b_bytes, job: x} -7 @2",
            "{__name__: a_b_bytes, job: x} NaN @3",
        ],
        &[],
    );
    check_metrics(
        r#"{"name":"n","sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{"asInt":"1"},{"attributes":[]}]}},
           {"name":"d","sum":{"aggregationTemporality":1,"isMonotonic":true,"dataPoints":[{"asInt":"1"},{"asInt":"2"}]}},
           {"name":"u","sum":{"aggregationTemporality":"AGGREGATION_TEMPORALITY_CUMULATIVE","dataPoints":[{"asInt":"3"}]}},
           {"name":"","gauge":{"dataPoints":[{"asInt":1}]}}"#,
        &[
            "{__name__: n_total, job: x} 1 @0",
            "{__name__: d_total, job: x} 1 @0",
            "{__name__: d_total, job: x} 2 @0",
            "{__name__: u, job: x} 3 @0",
        ],
        &[(Reason::Missing, 2)],
    );
}

/// Decodes with options that `set` changes.
fn with(json: &str, set: impl FnOnce(&mut OtlpOptions)) -> Decoded<MetricBatch> {
    let mut options = options();
    set(&mut options);
    decode_metrics(json.as_bytes(), Format::Json, &DecodeLimits::default(), &options).unwrap()
}

const DELTAS: &str = r#"{"name":"s","sum":{"aggregationTemporality":1,"isMonotonic":true,"dataPoints":[
        {"startTimeUnixNano":"1000000","timeUnixNano":"2000000","asInt":"1"},{"timeUnixNano":"3000000"}]}},
    {"name":"h","histogram":{"aggregationTemporality":1,"dataPoints":[{"timeUnixNano":"2000000","count":"3","sum":1,
        "bucketCounts":["1","2"],"explicitBounds":[1]}]}},
    {"name":"e","exponentialHistogram":{"aggregationTemporality":1,"dataPoints":[{"timeUnixNano":"2000000","count":"1",
        "positive":{"bucketCounts":["1"]}}]}}"#;

#[test]
fn points_of_delta_temporality_are_marked() {
    let batch = with(&of_metrics(DELTAS), |_| ()).batch;
    let samples = |first, count| DeltaData::Samples { first, count };
    let marked: Vec<_> = batch.deltas.iter().map(|point| (point.start.0, point.data.clone())).collect();
    assert_eq!(marked, [(1, samples(0, 1)), (0, samples(1, 4)), (0, DeltaData::Histogram(0))]);
    assert_eq!(batch.metadata[0].kind, MetricKind::Counter);
    assert_eq!(batch.starts, [Millis(1)]);
}

#[test]
fn delta_temporality_may_be_refused_or_stored_as_it_is() {
    let refused = with(&of_metrics(DELTAS), |options| options.delta = DeltaTemporality::Reject);
    let reasons: Vec<_> = refused.rejected.iter().map(|(reason, count, _)| (reason, count)).collect();
    assert_eq!((refused.batch.len(), reasons), (0, vec![(Reason::Unsupported, 4)]));
    let batch = with(&of_metrics(DELTAS), |options| options.delta = DeltaTemporality::AsIs).batch;
    assert_eq!((batch.samples.len(), batch.deltas.len(), batch.histograms.len()), (5, 0, 1));
    assert_eq!(batch.histograms[0].histogram.reset, CounterReset::Gauge);
    assert!(batch.metadata.iter().all(|metadata| metadata.kind == MetricKind::Unknown));
}

#[test]
fn start_times_are_kept_for_what_is_counted() {
    let stamps = r#""startTimeUnixNano":"5000000","timeUnixNano":"9000000""#;
    let json = format!(
        r#"{{"name":"g","gauge":{{"dataPoints":[{{{stamps},"asInt":1}}]}}}},
           {{"name":"c","sum":{{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{{{stamps},"asInt":1}}]}}}},
           {{"name":"q","summary":{{"dataPoints":[{{{stamps}}}]}}}},
           {{"name":"e","exponentialHistogram":{{"aggregationTemporality":2,"dataPoints":[{{{stamps}}}]}}}}"#
    );
    let batch = metrics(&of_metrics(&json)).unwrap().batch;
    assert_eq!(batch.starts, [0, 5, 5, 5].map(Millis));
    assert_eq!(batch.histogram_starts, [Millis(5)]);
}

#[test]
fn explicit_histograms_with_custom_buckets() {
    let check = |point: &str, expect: &[&str], rejected: u64| {
        let json = format!(
            r#"{{"name":"h","histogram":{{"aggregationTemporality":2,"dataPoints":[{{{point}}}]}}}}"#
        );
        let decoded = with(&of_metrics(&json), |options| options.convert_histograms_to_nhcb = true);
        assert_eq!(shown(&decoded.batch), expect, "{point}");
        assert_eq!(decoded.rejected.total(), rejected, "{point}: {}", decoded.rejected);
        decoded.batch.histograms.into_iter().next().map(|sample| sample.histogram)
    };
    let histogram = check(
        r#""count":"5","sum":2,"bucketCounts":["0","2","3"],"explicitBounds":[0.5,10]"#,
        &["{__name__: h, job: x} count=5 sum=2 zero=0 [BucketSpan { offset: 1, length: 2 }] [2.0, 3.0] @0"],
        0,
    );
    let histogram = histogram.unwrap();
    assert_eq!((histogram.schema, histogram.custom_bounds), (-53, vec![0.5, 10.0]));
    check(
        r#""count":"5","sum":2"#,
        &["{__name__: h, job: x} count=5 sum=2 zero=0 [BucketSpan { offset: 0, length: 1 }] [5.0] @0"],
        0,
    );
    for bad in [
        r#""count":"1","bucketCounts":["1"],"explicitBounds":[1]"#,
        r#""count":"1","bucketCounts":["1","0","0"],"explicitBounds":[2,1]"#,
        r#""count":"1","bucketCounts":["1","0"],"explicitBounds":["Infinity"]"#,
        r#""count":"2","bucketCounts":["1","0"],"explicitBounds":[1]"#,
    ] {
        check(bad, &[], 1);
    }
}

/// A gauge of a resource and a scope with attributes of every sort.
const DESCRIBED: &str = r#"{"resourceMetrics":[{"resource":{"attributes":[
    {"key":"service.name","value":{"stringValue":"x"}},{"key":"service.namespace","value":{"stringValue":"n"}},
    {"key":"service.instance.id","value":{"stringValue":"i"}},{"key":"host.name","value":{"stringValue":"h"}},
    {"key":"os","value":{"stringValue":"linux"}}]},
    "scopeMetrics":[{"schemaUrl":"u","scope":{"name":"s","version":"1","attributes":[{"key":"a.b","value":{"intValue":"2"}},
    {"key":"name","value":{"stringValue":"posing"}}]},
    "metrics":[{"name":"g","gauge":{"dataPoints":[{"asInt":1,"attributes":[{"key":"os","value":{"stringValue":"own"}}]}]}}]}]}]}"#;

#[test]
fn resources_and_scopes_become_labels_when_asked() {
    let check = |set: fn(&mut OtlpOptions), gauge: &str, info: &str| {
        let shown = shown(&with(DESCRIBED, set).batch);
        assert_eq!(
            shown,
            [format!("{{__name__: g, {gauge}}} 1 @0"), format!("{{__name__: target_info, {info}}} 1 @0")]
        );
    };
    let info = "host_name: h, instance: i, job: n/x, os: linux";
    check(|_| (), "instance: i, job: n/x, os: own", info);
    check(
        |options| options.promote_resource_attributes = ["host.name".to_owned(), "os".to_owned()].into(),
        "host_name: h, instance: i, job: n/x, os: own",
        info,
    );
    check(
        |options| options.promote_all_resource_attributes = true,
        "host_name: h, instance: i, job: n/x, os: own, service_instance_id: i, service_name: x, service_namespace: n",
        info,
    );
    check(
        |options| {
            options.promote_all_resource_attributes = true;
            options.ignore_resource_attributes =
                ["service.name", "service.namespace", "service.instance.id"].map(str::to_owned).into();
        },
        "host_name: h, instance: i, job: n/x, os: own",
        info,
    );
    check(
        |options| options.keep_identifying_resource_attributes = true,
        "instance: i, job: n/x, os: own",
        "host_name: h, instance: i, job: n/x, os: linux, service_instance_id: i, service_name: x, service_namespace: n",
    );
    check(
        |options| options.promote_scope_metadata = true,
        "instance: i, job: n/x, os: own, otel_scope_a_b: 2, otel_scope_name: s, otel_scope_schema_url: u, otel_scope_version: 1",
        info,
    );
    check(
        |options| {
            options.promote_all_resource_attributes = true;
            options.naming = TranslationStrategy::NoTranslation;
        },
        "host.name: h, instance: i, job: n/x, os: own, service.instance.id: i, service.name: x, service.namespace: n",
        "host.name: h, instance: i, job: n/x, os: linux",
    );
}

#[test]
fn target_info_spans_the_request() {
    let times = |stamps: &[i64]| {
        let points: Vec<_> =
            stamps.iter().map(|ms| format!(r#"{{"timeUnixNano":"{}","asInt":1}}"#, ms * 1_000_000)).collect();
        let json = DESCRIBED.replace(
            r#"[{"asInt":1,"attributes":[{"key":"os","value":{"stringValue":"own"}}]}]"#,
            &format!("[{}]", points.join(",")),
        );
        let decoded = with(&json, |_| ());
        let rest = decoded.batch.samples.iter().skip(stamps.len());
        rest.map(|sample| sample.time.0).collect::<Vec<_>>()
    };
    assert_eq!(times(&[7]), [7]);
    assert_eq!(times(&[400_000, 100_000]), [100_000, 250_000, 400_000]);
    assert_eq!(times(&[100_000, 410_000]), [100_000, 250_000, 400_000, 410_000]);
    assert!(times(&[1, 4_000_000_000_000]).len() < 600, "a stray stamp costs little");
}

#[test]
fn a_nameless_attribute_costs_its_point_only() {
    check_metrics(
        r#"{"name":"a","gauge":{"dataPoints":[{"asInt":1,"attributes":[{"key":"__","value":{"stringValue":"v"}}]},{"asInt":2}]}}"#,
        &["{__name__: a, job: x} 2 @0"],
        &[(Reason::BadLabelName, 1)],
    );
}

#[test]
fn exemplars_without_a_time_take_that_of_their_point() {
    let json = r#"{"name":"a","gauge":{"dataPoints":[{"timeUnixNano":"7000000","asInt":1,"exemplars":[{"asInt":"1"}]}]}}"#;
    assert_eq!(metrics(&of_metrics(json)).unwrap().batch.exemplars[0].time, Millis(7));
}

#[test]
fn the_stale_marker_keeps_its_bits() {
    let decoded = metrics(&of_metrics(r#"{"name":"a","gauge":{"dataPoints":[{"flags":1}]}}"#)).unwrap();
    assert_eq!(decoded.batch.samples[0].value.to_bits(), 0x7ff0_0000_0000_0002);
}

#[test]
fn attributes_that_become_one_label_are_joined() {
    check_metrics(
        r#"{"name":"a","gauge":{"dataPoints":[{"asInt":1,"attributes":[
            {"key":"k_x","value":{"intValue":"2"}},{"key":"k.x","value":{"boolValue":true}},
            {"key":"job","value":{"stringValue":"hidden"}},{"key":"le","value":{"stringValue":""}}]}]}}"#,
        &["{__name__: a, job: x, k_x: true;2} 1 @0"],
        &[],
    );
}

#[test]
fn histograms_and_summaries() {
    check_metrics(
        r#"{"name":"h","unit":"s","histogram":{"aggregationTemporality":2,"dataPoints":[{"timeUnixNano":"1000000","count":"6",
            "sum":2.5,"bucketCounts":["1","2","3"],"explicitBounds":[0.5,10]}]}},
           {"name":"q","summary":{"dataPoints":[{"count":2,"sum":3,"quantileValues":[{"quantile":0.5,"value":1}]}]}}"#,
        &[
            "{__name__: h_seconds_sum, job: x} 2.5 @1",
            "{__name__: h_seconds_count, job: x} 6 @1",
            "{__name__: h_seconds_bucket, job: x, le: 0.5} 1 @1",
            "{__name__: h_seconds_bucket, job: x, le: 10} 3 @1",
            "{__name__: h_seconds_bucket, job: x, le: +Inf} 6 @1",
            "{__name__: q_sum, job: x} 3 @0",
            "{__name__: q_count, job: x} 2 @0",
            "{__name__: q, job: x, quantile: 0.5} 1 @0",
        ],
        &[],
    );
}

#[test]
fn exponential_histograms() {
    let point = |fields: &str| {
        format!(
            r#"{{"name":"e","exponentialHistogram":{{"aggregationTemporality":2,"dataPoints":[{{{fields}}}]}}}}"#
        )
    };
    check_metrics(
        &point(
            r#""count":"6","sum":9,"scale":0,"zeroCount":"1","positive":{"offset":1,"bucketCounts":["0","2","0","0","0","3"]}"#,
        ),
        &[
            "{__name__: e, job: x} count=6 sum=9 zero=1 [BucketSpan { offset: 3, length: 1 }, BucketSpan { offset: 3, \
           length: 1 }] [2.0, 3.0] @0",
        ],
        &[],
    );
    // Two levels finer than 8: four buckets become one.
    check_metrics(
        &point(r#""count":"10","scale":10,"positive":{"offset":-2,"bucketCounts":["1","2","3","4"]}"#),
        &["{__name__: e, job: x} count=10 sum=0 zero=0 [BucketSpan { offset: 0, length: 2 }] [3.0, 7.0] @0"],
        &[],
    );
    check_metrics(&point(r#""count":"1","scale":-5"#), &[], &[(Reason::Unsupported, 1)]);
    check_metrics(&point(r#""count":"1","positive":{"bucketCounts":["2"]}"#), &[], &[(Reason::Malformed, 1)]);
    check_metrics(
        &point(r#""count":"1","positive":{"offset":2147483647,"bucketCounts":["1"]}"#),
        &[],
        &[(Reason::Malformed, 1)],
    );
}

#[test]
fn resources_become_job_instance_and_target_info() {
    let text = r#"{"resource_metrics":[{"resource":{"attributes":[
        {"key":"service.name","value":{"stringValue":"shop"}},{"key":"service.namespace","value":{"stringValue":"eu"}},
        {"key":"service.instance.id","value":{"intValue":"7"}},{"key":"host.name","value":{"stringValue":"h1"}}]},
        "scope_metrics":[{"metrics":[{"name":"a","gauge":{"data_points":[{"time_unix_nano":"5000000","as_int":"1"}]}}]}]}]}"#;
    let decoded = metrics(text).unwrap();
    assert_eq!(
        shown(&decoded.batch),
        [
            "{__name__: a, instance: 7, job: eu/shop} 1 @5",
            "{__name__: target_info, host_name: h1, instance: 7, job: eu/shop} 1 @5",
        ]
    );
    let mut options = options();
    options.promote_resource_attributes = ["host.name".to_owned()].into();
    options.naming = TranslationStrategy::NoTranslation;
    let limits = DecodeLimits::default();
    let decoded = decode_metrics(text.as_bytes(), Format::Json, &limits, &options).unwrap();
    assert_eq!(shown(&decoded.batch)[0], "{__name__: a, host.name: h1, instance: 7, job: eu/shop} 1 @5");
}

#[test]
fn exemplars_lead_to_traces() {
    let json = r#"{"name":"h","histogram":{"aggregationTemporality":2,"dataPoints":[{"count":"2","bucketCounts":[1,1],
        "explicitBounds":[1],"exemplars":[{"timeUnixNano":"9000000","asDouble":0.5,
        "traceId":"0102030405060708090a0b0c0d0e0f10","spanId":"0102030405060708",
        "filteredAttributes":[{"key":"u.v","value":{"stringValue":"w"}}]}]}]}}"#;
    let decoded = metrics(&of_metrics(json)).unwrap();
    let exemplar = &decoded.batch.exemplars[0];
    assert_eq!(decoded.batch.series[exemplar.series as usize].get("le"), "1");
    assert_eq!(exemplar.labels.get("trace_id"), "0102030405060708090a0b0c0d0e0f10");
    assert_eq!((exemplar.labels.get("u.v"), exemplar.time.0, exemplar.value), ("w", 9, 0.5));
}

#[test]
fn names_follow_prometheus_tables() {
    let Some(cases) = corpus::json("promql/otlp_naming/metric_namer.json") else { return };
    let mut failures = Vec::new();
    for case in cases.as_array().unwrap() {
        let (namer, metric) = (&case["namer"], &case["metric"]);
        let flag = |name: &str| namer[name].as_bool().unwrap_or(false);
        let strategy = match namer["args"][1]["_id"].as_str() {
            Some("UnderscoreEscapingWithSuffixes") => TranslationStrategy::UnderscoreEscapingWithSuffixes,
            Some("NoTranslation") => TranslationStrategy::NoTranslation,
            Some(other) => panic!("{other}"),
            None => match (flag("UTF8Allowed"), flag("WithMetricSuffixes")) {
                (false, true) => TranslationStrategy::UnderscoreEscapingWithSuffixes,
                (false, false) => TranslationStrategy::UnderscoreEscapingWithoutSuffixes,
                (true, true) => TranslationStrategy::NoUtf8EscapingWithSuffixes,
                (true, false) => TranslationStrategy::NoTranslation,
            },
        };
        let namespaced =
            namer["Namespace"].is_string() || namer["args"][0].as_str().is_some_and(|s| !s.is_empty());
        // Namespaces are a setting of exporters; receivers have none.
        if namespaced {
            continue;
        }
        let data = match metric["Type"]["_id"].as_str().unwrap() {
            "MetricTypeGauge" => r#""gauge":{"dataPoints":[{"asInt":1}]}"#,
            "MetricTypeMonotonicCounter" => {
                r#""sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{"asInt":1}]}"#
            }
            "MetricTypeExponentialHistogram" => {
                r#""exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[{}]}"#
            }
            "MetricTypeHistogram" => r#""histogram":{"aggregationTemporality":2,"dataPoints":[{}]}"#,
            "MetricTypeSummary" => r#""summary":{"dataPoints":[{}]}"#,
            _ => r#""sum":{"aggregationTemporality":2,"dataPoints":[{"asInt":1}]}"#,
        };
        let json = format!(r#"{{"name":{},"unit":{},{data}}}"#, metric["Name"], metric["Unit"]);
        let mut options = options();
        options.naming = strategy;
        let body = of_metrics(&json);
        let decoded =
            decode_metrics(body.as_bytes(), Format::Json, &DecodeLimits::default(), &options).unwrap();
        let got = decoded.batch.metadata.first();
        let (name, unit) =
            got.map_or(("", ""), |metadata| (metadata.metric.as_str(), metadata.unit.as_str()));
        let want =
            (case["wantMetricName"].as_str().unwrap_or(""), case["wantUnitName"].as_str().unwrap_or(""));
        if (name, unit) != want {
            failures.push(format!("{} {strategy:?}: {:?} instead of {want:?}", metric, (name, unit)));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn label_names_follow_prometheus_tables() {
    let Some(cases) = corpus::json("promql/otlp_naming/label_namer.json") else { return };
    for case in cases.as_array().unwrap() {
        let name = |strategy: TranslationStrategy, prefix_underscore: bool, preserve_multiple: bool| {
            let json = format!(
                r#"{{"name":"a","gauge":{{"dataPoints":[{{"asInt":1,"attributes":[{{"key":{},"value":{{"stringValue":"v"}}}}]}}]}}}}"#,
                case["label"]
            );
            let decoded = with(&of_metrics(&json), |options| {
                options.naming = strategy;
                options.label_naming = LabelNaming { prefix_underscore, preserve_multiple };
            });
            let labels = decoded.batch.series.first()?.clone();
            labels.iter().find(|(_, value)| *value == "v").map(|(name, _)| name.to_owned())
        };
        // A column that a case does not have holds what the next simpler one does.
        for (keys, prefix, preserve) in [
            (&["sanitized"][..], false, false),
            (&["sanitizedMultipleUnderscores", "sanitized"], false, true),
            (&["sanitizedUnderscoreLabelSanitization", "sanitized"], true, false),
            (
                &[
                    "sanitizedMultipleUnderscoresAndUnderscoreLabelSanitization",
                    "sanitizedMultipleUnderscores",
                    "sanitizedUnderscoreLabelSanitization",
                    "sanitized",
                ],
                true,
                true,
            ),
        ] {
            let want = keys.iter().find_map(|key| case[*key].as_str());
            let got = name(TranslationStrategy::UnderscoreEscapingWithSuffixes, prefix, preserve);
            assert_eq!(got.as_deref(), want, "{} {keys:?}", case["label"]);
        }
        let want = case["wantUTF8Error"].is_null().then(|| case["label"].as_str().unwrap());
        assert_eq!(
            name(TranslationStrategy::NoTranslation, true, true).as_deref(),
            want,
            "{}",
            case["label"]
        );
    }
}

#[test]
fn the_specifications_examples() {
    let read = |name: &str| {
        let path = corpus::path(&format!("traces/otlp/examples/{name}.json"))?;
        Some(std::fs::read_to_string(path).unwrap())
    };
    let (Some(trace), Some(log), Some(events), Some(metric)) =
        (read("trace"), read("logs"), read("events"), read("metrics"))
    else {
        return;
    };
    let decoded = traces(&trace).unwrap();
    assert!(decoded.rejected.is_empty());
    let span = &decoded.batch.spans[0];
    assert_eq!((span.name.as_str(), span.kind), ("I'm a server span", SpanKind::Server));
    assert_eq!(span.trace_id.to_string(), "5b8efff798038103d269b633813fc60c");
    assert_eq!(span.attributes.get_str("my.span.attr"), "some value");
    assert_eq!(decoded.batch.sources[0].service_name(), "my.service");

    let decoded = logs(&log).unwrap();
    let row = decoded.batch.row(0).unwrap();
    assert_eq!((row.line, row.severity), ("Example log record", Severity(10)));
    assert_eq!(row.stream.get("service_name"), "my.service");
    assert_eq!(row.metadata.get("detected_level"), "info");
    assert_eq!(row.metadata.get("severity_text"), "Information");
    assert_eq!(row.metadata.get("string_attribute"), "some string");
    assert_eq!(row.metadata.get("scope_name"), "my.library");
    assert_eq!(row.metadata.get("map_attribute_some_map_key"), "some value");
    assert!(row.metadata.get("trace_id").is_empty() && !row.trace_id.is_none());

    assert!(!logs(&events).unwrap().batch.is_empty());
    let decoded = metrics(&metric).unwrap();
    assert!(decoded.rejected.is_empty(), "{}", decoded.rejected);
    let gauge = "{__name__: my_gauge_ratio, job: my.service, my_gauge_attr: some value} 10 @1544712660300";
    assert!(shown(&decoded.batch).contains(&gauge.to_owned()));
    // The examples' counter and histograms are of delta temporality.
    assert_eq!(decoded.batch.deltas.len(), 3);
}

#[test]
fn requests_captured_from_the_python_sdk() {
    let Some(requests) = corpus::json("traces/otlp/captured/python-sdk-http.json") else { return };
    for request in requests.as_array().unwrap() {
        let mut body = Vec::new();
        base64_reader(request["body_b64"].as_str().unwrap()).read_to_end(&mut body).unwrap();
        let encoding = request["headers"]["Content-Encoding"].as_str().unwrap_or("");
        let body = decompress(Encoding::from_header(encoding).unwrap(), &body, 1 << 20).unwrap();
        let limits = DecodeLimits::default();
        let (items, rejected) = match request["path"].as_str().unwrap() {
            "/v1/traces" => {
                let decoded = decode_traces(&body, Format::Protobuf, &limits, &options()).unwrap();
                assert!(
                    decoded
                        .batch
                        .spans
                        .iter()
                        .any(|span| span.status == StatusCode::Error || !span.events.is_empty())
                );
                (decoded.batch.len(), decoded.rejected)
            }
            "/v1/logs" => {
                let decoded = decode_logs(&body, Format::Protobuf, &limits, &options()).unwrap();
                assert!(decoded.batch.streams.iter().all(|stream| !stream.get("service_name").is_empty()));
                (decoded.batch.len(), decoded.rejected)
            }
            _ => {
                let decoded = decode_metrics(&body, Format::Protobuf, &limits, &options()).unwrap();
                (decoded.batch.len(), decoded.rejected)
            }
        };
        assert!(items > 0 && rejected.is_empty(), "{}: {items} items, {rejected}", request["path"]);
    }
}

/// Bytes of a standard base64 text.
fn base64_reader(text: &str) -> std::io::Cursor<Vec<u8>> {
    let value = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let (mut out, mut bits, mut held) = (Vec::new(), 0u32, 0);
    for c in text.bytes().filter(|c| *c != b'=') {
        bits = bits << 6 | u32::from(value(c));
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    std::io::Cursor::new(out)
}

#[test]
fn traces_of_other_projects_round_trip() {
    let mut spans = 0;
    for folder in ["traces/service-graphs", "traces/jaeger/integration/traces", "traces/jaeger/query"] {
        let Some(root) = corpus::path(folder) else { return };
        for file in corpus::files(&root) {
            let text = std::fs::read_to_string(&file).unwrap();
            if !text.contains("\"resourceSpans\"") {
                continue;
            }
            let decoded = traces(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            assert!(decoded.rejected.is_empty(), "{}: {}", file.display(), decoded.rejected);
            let bytes = encode_traces(&decoded.batch);
            let again =
                decode_traces(&bytes, Format::Protobuf, &DecodeLimits::default(), &options()).unwrap();
            let sort = |batch: &SpanBatch| {
                let with_source =
                    |span: &kenning_model::Span| (span.clone(), batch.source_of(span).unwrap().clone());
                let mut all: Vec<_> = batch.spans.iter().map(with_source).collect();
                all.iter_mut().for_each(|(span, _)| span.source = 0);
                all.sort_by_key(|(span, _)| (span.trace_id, span.span_id, span.start));
                all
            };
            assert_eq!(sort(&decoded.batch), sort(&again.batch), "{}", file.display());
            spans += decoded.batch.len();
        }
    }
    assert!(spans > 100, "{spans}");
}

fn of_span(fields: &str) -> String {
    let ids = r#""traceId":"0102030405060708090a0b0c0d0e0f10","spanId":"0102030405060708""#;
    let good = format!(r#"{{{ids},"name":"good"}}"#);
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{good},{{{fields}}},{good}]}}]}}]}}"#)
}

#[test]
fn good_spans_survive_bad_ones() {
    let ids = r#""traceId":"0102030405060708090a0b0c0d0e0f10","spanId":"0102030405060708""#;
    let check = |fields: &str, reason: Reason| {
        let decoded = traces(&of_span(fields)).unwrap_or_else(|error| panic!("{fields}: {error}"));
        let reasons: Vec<_> = decoded.rejected.iter().map(|(reason, count, _)| (reason, count)).collect();
        assert_eq!(reasons, [(reason, 1)], "{fields}");
        assert_eq!(
            decoded.batch.spans.iter().map(|span| span.name.as_str()).collect::<Vec<_>>(),
            ["good", "good"]
        );
    };
    check(r#""name":"no ids""#, Reason::Missing);
    check(r#""traceId":"00000000000000000000000000000000","spanId":"0102030405060708""#, Reason::Missing);
    check(r#""traceId":"0102","spanId":"0102030405060708""#, Reason::Malformed);
    check(r#""traceId":"zz02030405060708090a0b0c0d0e0f10","spanId":"0102030405060708""#, Reason::Malformed);
    check(&format!(r#"{ids},"name":7"#), Reason::WrongType);
    check(&format!(r#"{ids},"startTimeUnixNano":"soon""#), Reason::Malformed);
    check(&format!(r#"{ids},"startTimeUnixNano":"18446744073709551616""#), Reason::Malformed);
    check(&format!(r#"{ids},"attributes":{{}}"#), Reason::WrongType);
    let long = "x".repeat(70_000);
    check(
        &format!(r#"{ids},"attributes":[{{"key":"k","value":{{"stringValue":"{long}"}}}}]"#),
        Reason::TooLong,
    );
    let many = [r#"{"key":"k","value":{}}"#; 129].join(",");
    check(&format!(r#"{ids},"attributes":[{many}]"#), Reason::TooManyLabels);
    let events = ["{}"; 1025].join(",");
    check(&format!(r#"{ids},"events":[{events}]"#), Reason::TooLong);
    for depth in [33, 1000, 20_000] {
        let nested = format!("{}{{}}{}", r#"{"arrayValue":{"values":["#.repeat(depth), "]}}".repeat(depth));
        check(&format!(r#"{ids},"attributes":[{{"key":"k","value":{nested}}}]"#), Reason::TooDeep);
    }
}

#[test]
fn nesting_at_the_limit_is_kept() {
    let ids = r#""traceId":"0102030405060708090a0b0c0d0e0f10","spanId":"0102030405060708""#;
    let nested = format!("{}{{}}{}", r#"{"arrayValue":{"values":["#.repeat(32), "]}}".repeat(32));
    let decoded =
        traces(&of_span(&format!(r#"{ids},"attributes":[{{"key":"k","value":{nested}}}]"#))).unwrap();
    assert!(decoded.rejected.is_empty(), "{}", decoded.rejected);
    let Some(ValueRef::Nested(value)) = decoded.batch.spans[1].attributes.get("k") else { panic!() };
    let mut depth = 0;
    let mut inner = *value;
    while let Value::Array(mut items) = inner {
        depth += 1;
        inner = items.pop().unwrap_or(Value::Empty);
    }
    assert_eq!(depth, 32);
}

#[test]
fn nesting_in_protobuf_is_counted() {
    for depth in [33usize, 1000, 4000] {
        // AnyValue { array_value { values: AnyValue ... } }, from the inside out.
        let mut value: Vec<u8> = Vec::new();
        for _ in 0..depth {
            for tag in [0x0a, 0x2a] {
                let mut outer = vec![tag];
                varint(&mut outer, value.len());
                outer.extend_from_slice(&value);
                value = outer;
            }
        }
        let body = wrap(0x0a, wrap(0x12, wrap(0x12, wrap(0x2a, value))));
        let decoded = decode_logs(&body, Format::Protobuf, &DecodeLimits::default(), &options()).unwrap();
        let reasons: Vec<_> = decoded.rejected.iter().map(|(reason, count, _)| (reason, count)).collect();
        assert_eq!(reasons, [(Reason::TooDeep, 1)], "{depth}");
    }
}

fn varint(out: &mut Vec<u8>, mut n: usize) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn wrap(tag: u8, inner: Vec<u8>) -> Vec<u8> {
    let mut out = vec![tag];
    varint(&mut out, inner.len());
    out.extend(inner);
    out
}

#[test]
fn log_records_in_every_state() {
    let record = |fields: &str| {
        let text = format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{{fields}}}]}}]}}]}}"#);
        let decoded = logs(&text).unwrap();
        let row = decoded.batch.row(0).unwrap();
        (row.time.0, row.severity, row.line.to_owned(), row.metadata.clone(), row.stream.clone())
    };
    let (time, severity, line, metadata, stream) = record("");
    assert_eq!((time, severity, line.as_str()), (42, Severity::UNKNOWN, ""));
    assert_eq!(metadata.iter().collect::<Vec<_>>(), [("detected_level", "unknown")]);
    assert_eq!(stream.iter().collect::<Vec<_>>(), [("service_name", "unknown_service")]);
    let (time, _, _, metadata, _) = record(r#""observedTimeUnixNano":"5""#);
    assert_eq!((time, metadata.get("observed_timestamp")), (5, "5"));
    assert_eq!(record(r#""timeUnixNano":"18446744073709551615""#).0, i64::MAX);
    assert_eq!(record(r#""severityText":"Warning""#).1, Severity::WARN);
    assert_eq!(record(r#""severityNumber":"SEVERITY_NUMBER_ERROR2""#).1, Severity(18));
    assert_eq!(record(r#""severityNumber":99,"body":{"stringValue":"level=error"}"#).1, Severity::ERROR);
    let (_, _, line, ..) =
        record(r#""body":{"kvlistValue":{"values":[{"key":"a","value":{"intValue":"1"}}]}}"#);
    assert_eq!(line, r#"{"a":1}"#);
    let (.., metadata, _) = record(
        r#""eventName":"e","attributes":[{"key":"event.name","value":{"stringValue":"a"}},{"key":"x","value":{"bytesValue":"/w=="}}]"#,
    );
    assert_eq!((metadata.get("event_name"), metadata.get("x")), ("e", "ff"));
    assert_eq!(record(r#""traceId":"01","body":{"stringValue":"kept"}"#).2, "kept");
}

#[test]
fn logs_round_trip() {
    let text = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"s"}},
        {"key":"os","value":{"stringValue":"linux"}}]},"scopeLogs":[{"logRecords":[
        {"timeUnixNano":"7","severityNumber":17,"body":{"stringValue":"one"},"traceId":"0102030405060708090a0b0c0d0e0f10"},
        {"timeUnixNano":"8","body":{"stringValue":"two"}}]}]}]}"#;
    let mut options = options();
    options.stream_attributes = ["service.name".to_owned(), "service_name".to_owned()].into();
    let limits = DecodeLimits::default();
    let once = decode_logs(text.as_bytes(), Format::Json, &limits, &options).unwrap().batch;
    let again = decode_logs(&encode_logs(&once), Format::Protobuf, &limits, &options).unwrap().batch;
    assert_eq!(once, again);
}

#[test]
fn broken_json_fails_the_request() {
    for bad in ["", "[]", "{", r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":}]}]}]}"#, "{}x", "{}{}"]
    {
        assert!(matches!(traces(bad), Err(DecodeError::Malformed { .. })), "{bad}");
    }
    assert!(traces("{}").unwrap().batch.is_empty());
    assert!(traces(r#"{"resourceSpans":null,"unknown":[{"deep":[[]]}]}"#).unwrap().batch.is_empty());
}

#[test]
fn too_many_items_refuse_the_request() {
    let limits = DecodeLimits { items: 2, ..DecodeLimits::default() };
    let body = of_span("");
    let refused = decode_traces(body.as_bytes(), Format::Json, &limits, &options());
    assert!(matches!(refused, Err(DecodeError::TooLarge { limit: 2, .. })));
    let point = r#"{"name":"h","histogram":{"aggregationTemporality":2,"dataPoints":[{"count":"1"}]}}"#;
    let refused = decode_metrics(of_metrics(point).as_bytes(), Format::Json, &limits, &options());
    assert!(refused.is_ok());
    let point =
        r#"{"name":"h","histogram":{"aggregationTemporality":2,"dataPoints":[{"count":"1","sum":1}]}}"#;
    let refused = decode_metrics(of_metrics(point).as_bytes(), Format::Json, &limits, &options());
    assert!(matches!(refused, Err(DecodeError::TooLarge { .. })));
}

#[test]
fn bad_groups_lose_their_items_only() {
    let ids = r#""traceId":"0102030405060708090a0b0c0d0e0f10","spanId":"0102030405060708""#;
    let good = format!(r#"{{"scopeSpans":[{{"spans":[{{{ids}}}]}}]}}"#);
    let check = |group: &str, kept: usize, count: u64| {
        let decoded = traces(&format!(r#"{{"resourceSpans":[{good},{group},{good}]}}"#)).unwrap();
        assert_eq!(
            (decoded.batch.len(), decoded.rejected.total()),
            (2 + kept, count),
            "{group}: {}",
            decoded.rejected
        );
    };
    let spans = format!(r#"[{{{ids}}},{{"name":1}},{{{ids}}}]"#);
    check(&format!(r#"{{"resource":5,"scopeSpans":[{{"spans":{spans}}},{{"spans":{spans}}}]}}"#), 0, 6);
    check(
        &format!(r#"{{"scopeSpans":[{{"spans":{spans}}},{{"spans":[{{{ids}}}],"scope":{{"name":1}}}}]}}"#),
        2,
        2,
    );
    check("7", 0, 1);
    // The same in protobuf: a scope whose name is no text, with one span in it.
    let span = wrap(0x12, [wrap(0x0a, vec![7; 16]), wrap(0x12, vec![8; 8])].concat());
    let bad_scope = wrap(0x0a, wrap(0x0a, vec![0xff]));
    let group = |parts: Vec<Vec<u8>>| wrap(0x0a, wrap(0x12, parts.concat()));
    let body = [group(vec![bad_scope, span.clone(), span.clone()]), group(vec![span])].concat();
    let decoded = decode_traces(&body, Format::Protobuf, &DecodeLimits::default(), &options()).unwrap();
    let reasons: Vec<_> = decoded.rejected.iter().map(|(reason, count, _)| (reason, count)).collect();
    assert_eq!((decoded.batch.len(), reasons), (1, vec![(Reason::NotUtf8, 2)]));
    check_metrics(
        r#"{"name":5,"gauge":{"dataPoints":[{"asInt":1},{"asInt":2}]}},{"name":"a","gauge":{"dataPoints":[{"asInt":1}]}}"#,
        &["{__name__: a, job: x} 1 @0"],
        &[(Reason::WrongType, 2)],
    );
}
