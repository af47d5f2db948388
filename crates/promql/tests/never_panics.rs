//! Whatever the text, the answer is a value or an error.

use kenning_model::{Batch, BatchId, MetricBatch, Millis, Sample, Store, TenantId, Write};
use kenning_promql::{Grid, instant, matchers, parse, parse_series_description, range};
use kenning_query::{MemoryStore, QueryContext};
use proptest::prelude::*;

const SEEDS: &[&str] = &[
    r#"sum by (a) (rate(x_total{a=~"b|c"}[5m] offset 1m)) / on (a) group_left (d) y @ end()"#,
    r#"histogram_quantile(0.9, sum(rate(x_bucket[5m])) by (le)) > bool -1 or vector(time())"#,
    r"max_over_time(sum(x)[1h:1m] @ 5) - x[5m:] smoothed ^ 2 + fill",
    r#"label_replace(x, "a", "$1", "b", "(.*)") and ignoring (a) {"é.b", c!~"x\u00e9"} # end"#,
    r"topk(3, x[2*5m+step()]) unless x offset -(1h) fill_left (3) x @ start()",
    r"info(rate(x[5m])) </ 3 or limit_ratio(0.5, x) atan2 0x1F * 1e3 % 5d",
];

fn store() -> MemoryStore {
    let store = MemoryStore::new();
    let mut batch = MetricBatch::default();
    for name in ["x", "x_total", "y"] {
        let labels = kenning_model::LabelSet::from_pairs([("__name__", name), ("a", "b"), ("le", "1")]);
        let series = batch.add_series(labels);
        let sample = |i: i64| Sample { series, time: Millis(i * 10_000), value: i as f64 };
        batch.samples.extend((0..20).map(sample));
    }
    let write = Write { id: BatchId(1), tenant: TenantId::default_tenant(), batch: Batch::Metrics(batch) };
    store.write(&[write]).expect("memory store takes writes");
    store
}

fn try_everything(text: &str) {
    let context = QueryContext::new(TenantId::default_tenant());
    let store = store();
    let _ = parse(text).map(|expr| kenning_promql::format(&expr));
    let _ = matchers(text);
    let _ = instant(&store, &context, text, Millis(100_000));
    let grid = Grid { start: Millis(50_000), end: Millis(150_000), step_ms: 30_000 };
    let _ = range(&store, &context, text, grid);
}

/// A seed with pieces of others put in and characters taken away.
fn mutated() -> impl Strategy<Value = String> {
    let piece = (0..SEEDS.len(), 0usize..80, 0usize..12);
    (0..SEEDS.len(), proptest::collection::vec((0usize..120, 0usize..4, piece), 0..4)).prop_map(
        |(seed, edits)| {
            let mut text: Vec<char> = SEEDS[seed].chars().collect();
            for (at, remove, (from, start, len)) in edits {
                let at = at.min(text.len());
                let end = (at + remove).min(text.len());
                let insert: Vec<char> = SEEDS[from].chars().skip(start).take(len).collect();
                text.splice(at..end, insert);
            }
            text.into_iter().collect()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn on_mutated_queries(text in mutated()) {
        try_everything(&text);
    }

    #[test]
    fn on_any_text(text in "\\PC{0,60}") {
        try_everything(&text);
        let _ = parse_series_description(&text);
    }

    #[test]
    fn on_any_tokens(text in r#"([ \[\](){}+*/^%=!~<>@:,"'`#-]|[a-z0-9_]{1,6}|rate|sum by|offset|\{\{){0,20}"#) {
        try_everything(&text);
        let _ = parse_series_description(&text);
    }
}

#[test]
fn on_deep_nesting() {
    for (open, close) in [("(", ")"), ("-", ""), ("abs(", ")"), ("x + ", ""), ("sum(", ")"), ("x^", "")] {
        for depth in [60, 200, 1000, 20_000] {
            try_everything(&format!("{}x{}", open.repeat(depth), close.repeat(depth)));
        }
    }
    try_everything(&format!("x[{}5m{}]", "(".repeat(5000), ")".repeat(5000)));
    try_everything(&format!("x[{}5m]", "-".repeat(5000)));
}

#[test]
fn the_deepest_accepted_query_fits_a_small_stack() {
    let run = || {
        let mut context = QueryContext::new(TenantId::default_tenant());
        context.limits.depth_max = usize::MAX;
        let store = store();
        for (open, close) in [("(", ")"), ("abs(", ")"), ("-", ""), ("x + ", ""), ("sum(", ")")] {
            let deepest = (1..400).rev().find_map(|depth| {
                let text = format!("{}x{}", open.repeat(depth), close.repeat(depth));
                parse(&text).ok().map(|_| text)
            });
            let text = deepest.expect("some depth is accepted");
            assert!(instant(&store, &context, &text, Millis(100_000)).is_ok(), "{text}");
        }
    };
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(run).expect("thread starts");
    thread.join().expect("no overflow");
}
