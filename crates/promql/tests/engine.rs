//! What holds for every query: a range query is its instants, and places and remarks are as recorded from Prometheus.

#![expect(clippy::print_stderr, reason = "skipped corpora are for people to see")]

mod corpus;

use kenning_model::{Batch, BatchId, LabelSet, MetricBatch, Millis, Sample, Store, TenantId, Write};
use kenning_promql::{
    Answer, Grid, Point, STALE, SequenceValue, Value, VectorSample, instant, parse_series_description, range,
};
use kenning_query::{LimitKind, MemoryStore, QueryContext, QueryError};
use proptest::prelude::*;

fn context() -> QueryContext {
    QueryContext::new(TenantId::default_tenant())
}

/// A store with these lines of `series values`, one value every `gap` milliseconds.
fn store(lines: &[&str], gap: i64) -> MemoryStore {
    let mut batch = MetricBatch::default();
    for line in lines {
        let series = parse_series_description(line).expect("test data parses");
        let index = batch.add_series(series.labels);
        for (i, value) in series.values.iter().enumerate() {
            if let SequenceValue::Float(value) = value {
                batch.samples.push(Sample { series: index, time: Millis(i as i64 * gap), value: *value });
            }
        }
    }
    filled(batch)
}

fn filled(batch: MetricBatch) -> MemoryStore {
    let store = MemoryStore::new();
    let write = Write { id: BatchId(1), tenant: TenantId::default_tenant(), batch: Batch::Metrics(batch) };
    store.write(&[write]).expect("memory store takes writes");
    store
}

/// Random counters and gauges with gaps, resets and stale markers.
fn any_store() -> impl Strategy<Value = MemoryStore> {
    let value = prop_oneof![8 => (0u32..50).prop_map(f64::from), 1 => Just(STALE), 1 => Just(f64::NAN)];
    let samples = proptest::collection::btree_map(0i64..600_000, value, 0..40);
    let labels = (0usize..3, 0usize..3, 0usize..2);
    proptest::collection::btree_map(labels, samples, 1..10).prop_map(|all| {
        let mut batch = MetricBatch::default();
        for ((name, a, b), samples) in all {
            let labels = LabelSet::from_pairs([
                ("__name__", ["x_total", "y", "z"][name]),
                ("a", ["1", "2", "3"][a]),
                ("le", ["1", "+Inf"][b]),
            ]);
            let series = batch.add_series(labels);
            let sample = |(time, value): (&i64, &f64)| Sample { series, time: Millis(*time), value: *value };
            batch.samples.extend(samples.iter().map(sample));
        }
        filled(batch)
    })
}

/// Prometheus evaluates an aggregation of what `@` fixes in time once, with its parameter as it is then.
#[test]
fn parameters_of_fixed_aggregations_are_fixed() {
    let store = store(&["k 1 2 3 2", "x{a='1'} 5 5 5 5", "x{a='2'} 6 6 6 6", "x{a='3'} 7 7 7 7"], 60_000);
    let check = |query: &str, expect: [usize; 4]| {
        let grid = Grid { start: Millis(0), end: Millis(180_000), step_ms: 60_000 };
        let answer = range(&store, &context(), query, grid).unwrap();
        let counts = [0, 1, 2, 3].map(|step| in_range(&answer, Millis(step * 60_000)).len());
        assert_eq!(counts, expect, "{query}");
    };
    check("topk(scalar(k), x)", [1, 2, 3, 2]);
    check("topk(scalar(k), x @ 60)", [1, 1, 1, 1]);
    check("topk(scalar(k), -(x @ 60) * pi())", [1, 1, 1, 1]);
    check("topk(scalar(k), x @ 60 + time())", [1, 2, 3, 2]);
    check("topk(scalar(k), x @ 60 * hour(x @ 60))", [1, 2, 3, 2]);
    check("topk(scalar(k), max by (a) (max_over_time(x[1m:20s] @ end())))", [1, 1, 1, 1]);
}

/// Which of equal values stay is as Prometheus's heap has it.
#[test]
fn of_equal_values_those_stay_that_stay_in_prometheus() {
    let check = |query: &str, values: [&str; 4], expect: &[&str]| {
        let lines: Vec<_> =
            ["a", "b", "c", "d"].iter().zip(values).map(|(n, v)| format!("x{{n='{n}'}} {v}")).collect();
        let store = store(&lines.iter().map(String::as_str).collect::<Vec<_>>(), 60_000);
        let answer = at_instant(instant(&store, &context(), query, Millis(0)).unwrap());
        let names: Vec<_> = answer.iter().map(|sample| sample.labels.get("n")).collect();
        assert_eq!(names, expect, "{query} of {values:?}");
    };
    check("topk(2, x)", ["1", "1", "5", "0"], &["c", "b"]);
    check("topk(1, x)", ["-0", "0", "-1", "-1"], &["a"]);
    check("topk(3, x)", ["1", "1", "1", "1"], &["a", "b", "c"]);
    check("topk(2, x)", ["NaN", "1", "NaN", "2"], &["d", "b"]);
    check("topk(4, x)", ["NaN", "1", "3", "2"], &["c", "d", "b", "a"]);
    check("bottomk(2, x)", ["5", "5", "1", "9"], &["c", "b"]);
    check("bottomk(1, x)", ["0", "-0", "3", "NaN"], &["a"]);
    check("bottomk(4, x)", ["NaN", "1", "3", "2"], &["b", "d", "c", "a"]);
}

/// Queries over what [`any_store`] makes; none sorts, none knows where the query starts.
const QUERIES: &[&str] = &[
    "x_total",
    "x_total offset 30s",
    "y @ 300",
    "z @ 300 offset -1m",
    "rate(x_total[2m])",
    "increase(x_total[3m] offset 1m) > 1",
    "rate(x_total[1m] anchored)",
    "delta(y[2m] smoothed)",
    "irate(y[5m]) or idelta(z[5m])",
    "sum by (a) (x_total) / on (a) group_left () sum by (a) (y)",
    "x_total * on (a, le) group_left () y",
    "x_total + ignoring (le) group_right () max without (le) (y)",
    "x_total and on (a) y unless on (le) z",
    "{__name__=~'x_total|y'} > bool 10",
    "y - on (a, le) fill (3) z",
    "topk by (le) (2, y)",
    "bottomk(1, {a=~'.+'})",
    "quantile by (a) (0.3, {a!=''})",
    "stddev({a!=''}) + avg({a!=''})",
    "count_values without (a) ('v', y)",
    "limitk(2, y) or limit_ratio(0.5, x_total)",
    "histogram_quantile(0.5, x_total)",
    "histogram_fraction(0, 1, sum by (le) (y))",
    "max_over_time(y[3m]) - min_over_time(y[3m])",
    "avg_over_time(rate(x_total[1m])[3m:20s])",
    "sum_over_time(y[2m:30s] offset 20s)",
    "last_over_time(y[3m] @ 200)",
    "count_over_time((x_total > 10)[3m:])",
    "predict_linear(y[4m], 60) + deriv(y[4m])",
    "quantile_over_time(scalar(count(y)) / 4, y[3m])",
    "changes(y[4m]) + resets(y[4m])",
    "absent(y{a='1'}) or absent_over_time(z{a='2'}[2m])",
    "label_replace(y, 'c', '$1x', 'a', '(.*)')",
    "label_join(y, 'a', '-', 'a', 'le')",
    "timestamp(y) - time()",
    "clamp(y, scalar(avg(z)), 30) + round(y, 7)",
    "vector(time()) + hour(vector(time())) + minute()",
    "double_exponential_smoothing(y[5m], 0.5, 0.3)",
    "stdvar_over_time(y[3m]) + mad_over_time(y[3m])",
    "-y ^ 2 % 7 atan2 y",
    "scalar(sum(y)) > bool 3",
    "y smoothed",
    "ts_of_max_over_time(y[3m]) - ts_of_first_over_time(y[3m])",
    "info(y, {__name__='z'})",
];

/// A vector as sorted text, so that NaN equals NaN. Sums come in the same order in both, so values are bit-equal.
fn shown(samples: &[VectorSample]) -> Vec<String> {
    let mut shown: Vec<_> = samples.iter().map(|s| format!("{:?} {:?}", s.labels, s.value)).collect();
    shown.sort();
    shown
}

fn at_instant(answer: Answer) -> Vec<VectorSample> {
    match answer.value {
        Value::Vector(samples) => samples,
        Value::Scalar(time, value) => {
            vec![VectorSample { labels: LabelSet::empty(), time, value: Point::Float(value) }]
        }
        other => panic!("{other:?}"),
    }
}

fn in_range(answer: &Answer, time: Millis) -> Vec<VectorSample> {
    let Value::Matrix(series) = &answer.value else { panic!("{answer:?}") };
    let sample = |series: &kenning_promql::Series| {
        let (_, value) = series.points.iter().find(|(at, _)| *at == time)?;
        Some(VectorSample { labels: series.labels.clone(), time, value: value.clone() })
    };
    series.iter().filter_map(sample).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_range_query_is_its_instants(
        store in any_store(),
        query in 0..QUERIES.len(),
        start in 0i64..600_000,
        step_ms in prop_oneof![Just(1000i64), 5_000i64..90_000],
    ) {
        let query = QUERIES[query];
        let grid = Grid { start: Millis(start), end: Millis(start + 6 * step_ms + 1), step_ms };
        let ranged = range(&store, &context(), query, grid);
        let times = (0..7).map(|i| Millis(start + i * step_ms));
        let instants: Result<Vec<_>, _> =
            times.map(|time| instant(&store, &context(), query, time).map(|answer| (time, answer))).collect();
        match (ranged, instants) {
            (Ok(ranged), Ok(instants)) => for (time, answer) in instants {
                prop_assert_eq!(shown(&in_range(&ranged, time)), shown(&at_instant(answer)), "{} at {}", query, time);
            },
            // An instant that fails makes the range fail too.
            (Err(_), _) => {}
            (Ok(_), Err(error)) => prop_assert!(false, "{}: only the instant fails: {}", query, error),
        }
    }
}

#[test]
fn at_modifiers_as_in_prometheus() {
    let Some(folder) = corpus::folder("promql/engine") else { return };
    // The data of Prometheus's own test: a counter in steps of ten seconds, one before 1970, one of its own time.
    let mut batch = MetricBatch::default();
    for (job, factor) in [("1", 1.0), ("2", 2.0)] {
        let labels = LabelSet::from_pairs([("__name__", "metric"), ("job", job)]);
        let series = batch.add_series(labels);
        let sample = |i: i64| Sample { series, time: Millis(i * 10_000), value: i as f64 * factor };
        batch.samples.extend((0..=1000).map(sample));
    }
    let topk = batch.add_series(LabelSet::from_pairs([("__name__", "metric_topk"), ("instance", "1")]));
    let sample = |i: i64| Sample { series: topk, time: Millis(i * 10_000), value: i as f64 };
    batch.samples.extend((0..=999).map(sample));
    let negative = batch.add_series(LabelSet::from_pairs([("__name__", "metric_neg")]));
    let sample = |i: i64| Sample { series: negative, time: Millis(-i * 1000), value: i as f64 + 1.0 };
    batch.samples.extend((0..=10_000).map(sample));
    let own = batch.add_series(LabelSet::from_pairs([("__name__", "metric_ms")]));
    let sample = |i: i64| Sample { series: own, time: Millis(i), value: i as f64 };
    batch.samples.extend((0..=10_000).map(sample));
    let store = filled(batch);
    for case in corpus::json(&folder, "at_modifier.json") {
        let query = case["query"].as_str().expect("case has a query");
        let start = case["start"].as_i64().unwrap_or(0) * 1000;
        let answer = instant(&store, &context(), query, Millis(start)).expect("query is valid");
        let Value::Matrix(found) = answer.value else { continue };
        let wanted = case["result"].as_array().expect("case has a result");
        let points = |points: &serde_json::Value| {
            let point =
                |p: &serde_json::Value| (p["T"].as_i64().unwrap_or(0), p["F"].as_f64().unwrap_or(0.0));
            points.as_array().map(|all| all.iter().map(point).collect::<Vec<_>>()).unwrap_or_default()
        };
        let wanted: Vec<_> = wanted.iter().map(|series| points(&series["Floats"])).collect();
        let number = |point: &Point| if let Point::Float(value) = point { *value } else { f64::NAN };
        let found: Vec<Vec<_>> =
            found.iter().map(|s| s.points.iter().map(|(t, p)| (t.0, number(p))).collect()).collect();
        assert_eq!(found, wanted, "{query} at {start}");
    }
}

#[test]
fn rates_are_remarked_as_in_prometheus() {
    let Some(folder) = corpus::folder("promql/engine") else { return };
    let text =
        std::fs::read_to_string(folder.join("rate_annotations.json")).expect("corpus file is readable");
    let cases: serde_json::Map<_, _> = serde_json::from_str(&text).expect("corpus file is a JSON object");
    for (name, case) in cases {
        let lines: Vec<_> = case["data"].as_str().unwrap_or("").lines().map(str::trim).collect();
        let lines: Vec<_> = lines.into_iter().filter(|line| !line.is_empty()).collect();
        let (query, is_typed) = (case["expr"].as_str().expect("case has a query"), name.contains("type"));
        if is_typed {
            // Those cases are for type labels, which the suites cover.
            continue;
        }
        let texts =
            |key: &str| case[key].as_array().map(|all| all.iter().filter_map(|t| t.as_str()).collect());
        let answer =
            instant(&store(&lines, 60_000), &context(), query, Millis(60_000)).expect("query is valid");
        let wanted: Vec<&str> = texts("expectedInfoAnnotations").unwrap_or_default();
        assert_eq!(answer.infos, wanted, "{name}: {query}");
    }
}

#[test]
fn limits_name_themselves() {
    let store = store(&["x{a=\"1\"} 0+1x100", "x{a=\"2\"} 0+1x100"], 10_000);
    let check = |change: fn(&mut QueryContext), query: &str, wanted: Option<LimitKind>| {
        let mut context = context();
        change(&mut context);
        let grid = Grid { start: Millis(0), end: Millis(1_000_000), step_ms: 10_000 };
        let found = match range(&store, &context, query, grid) {
            Err(QueryError::Limit { kind, .. }) => Some(kind),
            Err(error) => panic!("{query}: {error}"),
            Ok(_) => None,
        };
        assert_eq!(found, wanted, "{query}");
    };
    check(|_| {}, "sum(rate(x[1m]))", None);
    check(|c| c.limits.text_bytes_max = 5, "sum(x)", Some(LimitKind::TextBytes));
    check(|c| c.limits.depth_max = 3, "abs(abs(abs(x)))", Some(LimitKind::Depth));
    check(|c| c.limits.depth_max = 3, "x + x + x + x + x + x", None);
    check(|c| c.limits.points_max = 50, "x", Some(LimitKind::Points));
    check(|c| c.limits.samples_max = 100, "x", Some(LimitKind::Samples));
    check(|c| c.limits.series_max = 1, "x", Some(LimitKind::Series));
    check(|c| c.limits.memory_bytes_max = 5_000, "x", Some(LimitKind::MemoryBytes));
}

#[test]
fn cancelled_queries_stop() {
    let store = store(&["x 1"], 1000);
    let context = context();
    context.cancel.raise();
    assert!(matches!(instant(&store, &context, "sum(x)", Millis(0)), Err(QueryError::Cancelled)));
}

#[test]
fn extreme_times_are_only_numbers() {
    let mut batch = MetricBatch::default();
    let series = batch.add_series(LabelSet::from_pairs([("__name__", "x")]));
    for time in [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX] {
        batch.samples.push(Sample { series, time: Millis(time), value: time as f64 });
    }
    let store = filled(batch);
    for at in [i64::MIN, -1, 0, i64::MAX] {
        for query in ["x", "rate(x[292y])", "delta(x[1m] smoothed)", "x[1y:1y]", "x offset -292y", "year(x)"]
        {
            let _ = instant(&store, &context(), query, Millis(at));
            let grid = Grid { start: Millis(at), end: Millis(i64::MAX), step_ms: i64::MAX / 3 };
            let _ = range(&store, &context(), query, grid);
        }
    }
}

#[test]
fn patterns_match_as_in_prometheus() {
    let Some(folder) = corpus::folder("promql/labels") else { return };
    for case in corpus::json(&folder, "regex_match.json") {
        let pattern = case["pattern"].as_str().expect("case has a pattern");
        let matcher = kenning_promql::Matcher::new("a", kenning_promql::MatchOp::Re, pattern);
        let matcher = matcher.unwrap_or_else(|error| panic!("{pattern}: {error}"));
        for (key, wanted) in [("matches", true), ("not_matches", false)] {
            for text in case[key].as_array().into_iter().flatten().filter_map(|text| text.as_str()) {
                assert_eq!(matcher.matches(text), wanted, "{pattern:?} on {text:?}");
            }
        }
    }
    let text =
        std::fs::read_to_string(folder.join("regexes_and_values.json")).expect("corpus file is readable");
    let tables: serde_json::Value = serde_json::from_str(&text).expect("corpus file is JSON");
    for pattern in tables["regexes"].as_array().into_iter().flatten().filter_map(|text| text.as_str()) {
        let compiled = kenning_promql::Matcher::new("a", kenning_promql::MatchOp::Re, pattern);
        assert!(compiled.is_ok(), "{pattern:?}: {compiled:?}");
    }
}

/// As in Prometheus, what stands twice on one side is no error where the other side is empty, unless it is filled up.
#[test]
fn nothing_is_matched_with_nothing() {
    let store = store(&["one{a=\"1\"} 1", "one{a=\"2\"} 1"], 1_000);
    let count = |query: &str| {
        instant(&store, &context(), query, Millis(0))
            .map(|answer| at_instant(answer).len())
            .map_err(|e| format!("{e:?}"))
    };
    for query in [
        "none + on () one",
        "one > bool on () none",
        "none / on () group_left () one",
        "none > on () fill_left (1) none",
    ] {
        assert_eq!(count(query), Ok(0), "{query}");
    }
    for query in ["none + on () fill_left (1) one", "one + on () one"] {
        assert!(count(query).is_err_and(|e| e.contains("found duplicate series")), "{query}");
    }
}

#[test]
fn remarks_are_cut_off() {
    let lines: Vec<_> = (0..15).map(|i| format!("metric_{i:02} 1 2")).collect();
    let store = store(&lines.iter().map(String::as_str).collect::<Vec<_>>(), 10_000);
    let answer = instant(&store, &context(), "rate({__name__=~'metric_.+'}[1m])", Millis(10_000));
    // Without their names all are the same series, so a name must stay.
    assert!(matches!(answer, Err(QueryError::Execution(_))), "{answer:?}");
    let query = "label_replace(rate({__name__=~'metric_.+'}[1m]), 'n', '$1', '__name__', '(.*)')";
    let infos = instant(&store, &context(), query, Millis(10_000)).expect("query is valid").infos;
    assert_eq!(
        (infos.len(), infos.last().map(String::as_str)),
        (11, Some("5 more info annotations omitted"))
    );
}

#[test]
fn selectors_for_the_api() {
    let matches = |selector: &str, labels: &[(&str, &str)]| {
        let filter = kenning_promql::matchers(selector).map_err(|problems| problems[0].message.clone());
        filter.map(|filter| filter.matches(&LabelSet::from_pairs(labels.iter().copied())))
    };
    assert_eq!(matches("up{a!='b'}", &[("__name__", "up")]), Ok(true));
    assert_eq!(matches("up{a!='b'}", &[("__name__", "up"), ("a", "b")]), Ok(false));
    assert_eq!(matches("{a=~'x|y'}", &[("a", "y")]), Ok(true));
    assert_eq!(matches("{\"é.b\"}", &[("__name__", "é.b")]), Ok(true));
    let refused = matches("{a=~'.*'}", &[]);
    assert_eq!(refused, Err("match[] must contain at least one non-empty matcher".into()));
    assert!(matches("up[5m]", &[]).is_err() && matches("up + up", &[]).is_err());
}
