//! The evaluator's shortcuts give what the plain definitions give, bit for bit.

use std::sync::Arc;

use kenning_model::{
    Batch, BatchId, Histogram, HistogramSample, LabelSet, MetricBatch, Millis, Sample, Store, TenantId, Write,
};
use kenning_promql::{Answer, Grid, Options, Point, STALE, Value, instant_with, range_with};
use kenning_query::{MemoryStore, QueryContext, QueryError};
use proptest::prelude::*;

/// A sample of random data: offset from the one before, value, start of its counter before it.
type Raw = (i64, f64, Option<i64>);

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        10 => (0u32..40).prop_map(f64::from),
        3 => -1e3..1e3f64,
        1 => Just(f64::NAN),
        1 => Just(STALE),
        1 => prop_oneof![Just(0.0), Just(-0.0), Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(1e308)],
    ]
}

fn series() -> impl Strategy<Value = Vec<Raw>> {
    let start = prop_oneof![20 => Just(None), 1 => (0i64..40_000).prop_map(Some)];
    let step = prop_oneof![8 => Just(15_000i64), 1 => 1i64..200_000];
    proptest::collection::vec((step, value(), start), 0..40)
}

fn any_store() -> impl Strategy<Value = MemoryStore> {
    let key = (0usize..3, 0usize..3, 0usize..3);
    let all = proptest::collection::btree_map(key, (series(), prop::bool::weighted(0.1)), 1..10);
    // Series of one target are sampled together.
    (all, any::<bool>()).prop_map(|(all, together)| {
        let steps: Vec<i64> = all
            .values()
            .max_by_key(|(s, _)| s.len())
            .map_or(Vec::new(), |(samples, _)| samples.iter().map(|(step, ..)| *step).collect());
        let mut batch = MetricBatch::default();
        for ((name, a, le), (samples, native)) in all {
            let labels = LabelSet::from_pairs([
                ("__name__", ["x_total", "x_bucket", "y"][name]),
                ("a", ["1", "2", "3"][a]),
                ("le", ["1", "5", "+Inf"][le]),
            ]);
            let series = batch.add_series(labels);
            let mut time = 0;
            for (i, (step, value, start)) in samples.into_iter().enumerate() {
                time += if together { steps[i] } else { step };
                let start = start.map_or(Millis(0), |offset| Millis(time - offset));
                if native && i > 20 {
                    let histogram = Histogram { count: value.abs(), sum: value, ..Histogram::default() };
                    batch.push_histogram(HistogramSample { series, time: Millis(time), histogram }, start);
                } else {
                    batch.push_sample(Sample { series, time: Millis(time), value }, start);
                }
            }
        }
        let store = MemoryStore::new();
        let tenant = TenantId::default_tenant();
        let write = Write { id: BatchId(1), tenant, batch: Batch::Metrics(batch) };
        store.write(&[write]).expect("memory store takes writes");
        store
    })
}

fn expression() -> impl Strategy<Value = String> {
    let selector = prop::sample::select(vec!["x_total", "x_bucket", "y", "{a=\"1\"}", "{__name__=~\"x.*\"}"]);
    let window = prop::sample::select(vec!["30s", "1m", "90s", "5m", "10m"]);
    let when = prop::sample::select(vec!["", "", "", " offset 1m", " @ 200", " offset -30s"]);
    let function = prop::sample::select(vec![
        "rate",
        "increase",
        "delta",
        "min_over_time",
        "max_over_time",
        "count_over_time",
        "last_over_time",
        "irate",
        "idelta",
        "first_over_time",
        "resets",
        "sum_over_time",
        "avg_over_time",
        "absent_over_time",
        "present_over_time",
    ]);
    let over_range = (function, selector.clone(), window, when.clone())
        .prop_map(|(function, selector, window, when)| format!("{function}({selector}[{window}]{when})"));
    let at_instant = (selector, when).prop_map(|(selector, when)| format!("{selector}{when}"));
    let leaf = prop_oneof![4 => over_range, 1 => at_instant];
    leaf.prop_recursive(2, 6, 1, |inner| {
        let op = prop::sample::select(vec![
            "sum",
            "avg",
            "count",
            "min",
            "max",
            "group",
            "stddev",
            "quantile 0.5",
            "topk 2",
        ]);
        let by = prop::sample::select(vec!["", "by (a)", "by (le, a)", "without (le)", "by (__name__)"]);
        let aggregate = (op, by, inner.clone()).prop_map(|(op, by, inner)| match op.split_once(' ') {
            Some((op, param)) => format!("{op} {by} ({param}, {inner})"),
            None => format!("{op} {by} ({inner})"),
        });
        let quantile = inner.clone().prop_map(|inner| format!("histogram_quantile(0.9, {inner})"));
        let subquery = inner.clone().prop_map(|inner| format!("max_over_time(({inner})[3m:20s])"));
        let wrapped = inner.prop_map(|inner| format!("-({inner}) * 2"));
        prop_oneof![5 => aggregate, 1 => quantile, 1 => subquery, 1 => wrapped]
    })
}

fn point(point: &Point) -> String {
    match point {
        Point::Float(value) => format!("{:x}", value.to_bits()),
        Point::Histogram(histogram) => {
            let Histogram { count, sum, reset, .. } = &**histogram;
            format!("{:x} {:x} {reset:?}", count.to_bits(), sum.to_bits())
        }
    }
}

/// Everything an answer says, with all bits of its numbers.
fn shown(answer: Result<Answer, QueryError>) -> Vec<String> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return vec![error.to_string()],
    };
    let mut lines = match &answer.value {
        Value::Vector(samples) => {
            samples.iter().map(|s| format!("{:?} {} {}", s.labels, s.time, point(&s.value))).collect()
        }
        Value::Matrix(series) => {
            let line = |s: &kenning_promql::Series| {
                let points: Vec<_> =
                    s.points.iter().map(|(time, p)| format!("{time}:{}", point(p))).collect();
                format!("{:?} {points:?}", s.labels)
            };
            series.iter().map(line).collect()
        }
        other => vec![format!("{other:?}")],
    };
    lines.push(format!("{:?} {:?} {:?}", answer.warnings, answer.infos, answer.stats));
    lines
}

fn check(store: &dyn Store, query: &str, step_ms: i64) {
    let context = QueryContext::new(TenantId::default_tenant());
    let plain = Options { plain: true, ..Options::default() };
    let grid = Grid { start: Millis(10_000), end: Millis(700_000), step_ms };
    let ask = |options: &Options| shown(range_with(store, &context, query, grid, options));
    assert_eq!(ask(&Options::default()), ask(&plain), "{query} every {step_ms} ms");
    let ask = |options: &Options| shown(instant_with(store, &context, query, Millis(300_000), options));
    assert_eq!(ask(&Options::default()), ask(&plain), "{query} at an instant");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn shortcuts_give_what_definitions_give(store in any_store(), query in expression(), step in 1i64..60) {
        let store: Arc<dyn Store> = Arc::new(store);
        check(&*store, &query, step * 1000);
    }
}
