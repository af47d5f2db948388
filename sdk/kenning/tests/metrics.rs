//! Metrics through the public API: golden texts of both formats, concurrency, bounds.

use kenning::metrics::{Exposition, LABEL_SETS_MAX, negotiate};
use kenning::testing::{self, Capture};

kenning::metrics! {
    /// Requests handled,
    /// with a \ and a "quote".
    static REQUESTS: Counter { method: &'static str, path: String, status: u16 } = "t_requests_total";
    /// Depth of the queue.
    static DEPTH: Gauge = "t_queue_depth";
    /// Latency.
    static LATENCY: Histogram { op: &'static str } = "t_latency_seconds", buckets: [0.1, 1.0, 2.5];
    /// Plain.
    static PLAIN: Counter = "t_plain_total";
    /// Labelled by what a client sends.
    static WILD: Counter { id: u64 } = "t_wild_total";
    /// A gauge that is named like a counter, as some services have it.
    static TOPICS: Gauge { cluster: String } = "t_topics_total";
}

fn record() {
    REQUESTS.with(("GET", "/a\"b\\c\nd", 200_u16)).add(3);
    REQUESTS.with(("POST", String::from("/x"), 503_u16)).inc();
    DEPTH.set(-2.5);
    for seconds in [0.05, 0.1, 0.5, 99.0] {
        LATENCY.with("read").observe(seconds);
    }
    PLAIN.add(7);
    TOPICS.with("eu").set(1e21);
}

#[test]
fn text_format() {
    let expect = r#"# HELP t_latency_seconds Latency.
# TYPE t_latency_seconds histogram
t_latency_seconds_bucket{op="read",le="0.1"} 2
t_latency_seconds_bucket{op="read",le="1"} 3
t_latency_seconds_bucket{op="read",le="2.5"} 3
t_latency_seconds_bucket{op="read",le="+Inf"} 4
t_latency_seconds_sum{op="read"} 99.65
t_latency_seconds_count{op="read"} 4
# HELP t_plain_total Plain.
# TYPE t_plain_total counter
t_plain_total 7
# HELP t_queue_depth Depth of the queue.
# TYPE t_queue_depth gauge
t_queue_depth -2.5
# HELP t_requests_total Requests handled, with a \\ and a "quote".
# TYPE t_requests_total counter
t_requests_total{method="GET",path="/a\"b\\c\nd",status="200"} 3
t_requests_total{method="POST",path="/x",status="503"} 1
# HELP t_topics_total A gauge that is named like a counter, as some services have it.
# TYPE t_topics_total gauge
t_topics_total{cluster="eu"} 1e21
"#;
    assert_eq!(testing::capture(record).exposition(Exposition::Text), expect);
}

#[test]
fn open_metrics() {
    let expect = r#"# UNIT t_latency_seconds seconds
# HELP t_latency_seconds Latency.
# TYPE t_latency_seconds histogram
t_latency_seconds_bucket{op="read",le="0.1"} 2
t_latency_seconds_bucket{op="read",le="1.0"} 3
t_latency_seconds_bucket{op="read",le="2.5"} 3
t_latency_seconds_bucket{op="read",le="+Inf"} 4
t_latency_seconds_sum{op="read"} 99.65
t_latency_seconds_count{op="read"} 4
# HELP t_plain Plain.
# TYPE t_plain counter
t_plain_total 7
# HELP t_queue_depth Depth of the queue.
# TYPE t_queue_depth gauge
t_queue_depth -2.5
# HELP t_requests Requests handled, with a \\ and a \"quote\".
# TYPE t_requests counter
t_requests_total{method="GET",path="/a\"b\\c\nd",status="200"} 3
t_requests_total{method="POST",path="/x",status="503"} 1
# HELP t_topics_total A gauge that is named like a counter, as some services have it.
# TYPE t_topics_total gauge
t_topics_total{cluster="eu"} 1e21
# EOF
"#;
    assert_eq!(testing::capture(record).exposition(Exposition::OpenMetrics), expect);
}

#[test]
fn observations_in_spans_leave_exemplars() {
    let captured = testing::capture(|| {
        let _span = tracing::info_span!("op").entered();
        LATENCY.with("write").observe(0.5);
    });
    let span = captured.span("op");
    let text = captured.exposition(Exposition::OpenMetrics);
    let head = format!(
        "t_latency_seconds_bucket{{op=\"write\",le=\"1.0\"}} 1 # {{trace_id=\"{}\",span_id=\"{}\"}} 0.5 ",
        span.trace_id, span.span_id
    );
    let stamp = text.lines().find_map(|line| line.strip_prefix(&head)).expect(&text);
    assert!(stamp.parse::<f64>().unwrap() > 1e9);
    assert!(!captured.exposition(Exposition::Text).contains("trace_id"));
}

#[test]
fn formats_are_negotiated() {
    let check =
        |accept: Option<&str>, expect: Exposition| assert_eq!(negotiate(accept), expect, "{accept:?}");
    let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                      application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;\
                      q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    check(Some(prometheus), Exposition::OpenMetrics);
    check(None, Exposition::Text);
    check(Some("*/*"), Exposition::Text);
    check(Some("text/html,application/xhtml+xml,*/*;q=0.8"), Exposition::Text);
    check(Some("application/openmetrics-text; version=\"1.0.0\""), Exposition::OpenMetrics);
    check(Some("application/openmetrics-text;version=2.0.0"), Exposition::Text);
    check(Some("application/openmetrics-text;q=0.1,text/plain;version=0.0.4"), Exposition::Text);
    check(Some("application/openmetrics-text;q=0"), Exposition::Text);
    check(Some(";;,,=q="), Exposition::Text);
}

#[test]
fn label_sets_are_bounded_and_the_overflow_is_counted() {
    let captured = testing::capture(|| {
        for id in 0..LABEL_SETS_MAX as u64 + 100 {
            WILD.with(id).inc();
        }
        WILD.with(0_u64).inc();
        WILD.with(LABEL_SETS_MAX as u64).add(5);
    });
    assert_eq!(captured.cardinality_drops(), 101);
    assert_eq!(captured.metric("t_wild_total", &[("id", "0")]), Some(2.0));
    assert_eq!(captured.metric("t_wild_total", &[("id", "1999")]), Some(1.0));
    assert_eq!(captured.metric("t_wild_total", &[("id", "2000")]), None);
}

#[test]
fn threads_lose_nothing() {
    kenning::metrics! {
        /// Counted by many threads.
        static SHARED: Counter { kind: &'static str } = "t_shared_total";
        /// Observed by many threads.
        static SHARED_SECONDS: Histogram = "t_shared_seconds", buckets: [0.5];
    }
    std::thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| {
                for _ in 0..1000 {
                    SHARED.with("x").inc();
                    SHARED_SECONDS.observe(0.25);
                }
            });
        }
    });
    let (text, content_type) = kenning::metrics::scrape(None);
    assert_eq!(content_type, "text/plain; version=0.0.4; charset=utf-8");
    for expect in [
        "t_shared_total{kind=\"x\"} 32000\n",
        "t_shared_seconds_bucket{le=\"0.5\"} 32000\n",
        "t_shared_seconds_sum 8000\n",
        "process_cpu_seconds_total ",
        "kenning_sdk_dropped_total{signal=\"metrics\",reason=\"cardinality\"} 0\n",
        "t_plain_total 0\n",
    ] {
        assert!(text.contains(expect), "{expect} in\n{text}");
    }
}

#[test]
fn callbacks_and_their_panics() {
    kenning::metrics! {
        /// Asked at scrape.
        static ASKED: Gauge = "t_asked";
        /// Fails at scrape.
        static FAILS: Gauge = "t_fails";
    }
    let captured = testing::capture(|| {
        ASKED.observe_with(|| 4.0);
        FAILS.observe_with(|| panic!("on purpose"));
    });
    assert_eq!((captured.metric("t_asked", &[]), captured.metric("t_fails", &[])), (Some(4.0), None));
}

#[test]
fn a_capture_keeps_metrics_to_itself() {
    let (a, b) = (Capture::new(), Capture::new());
    a.run(|| DEPTH.set(1.0));
    b.run(|| DEPTH.set(2.0));
    a.run(|| DEPTH.add(0.5));
    assert_eq!((a.metric("t_queue_depth", &[]), b.metric("t_queue_depth", &[])), (Some(1.5), Some(2.0)));
    let timer = b.run(|| LATENCY.with("timed").start_timer());
    drop(timer);
    assert_eq!(b.metric("t_latency_seconds", &[("op", "timed")]), Some(1.0));
}

#[test]
fn separators_in_values_do_not_confuse_label_sets() {
    kenning::metrics! {
        /// Two labels.
        static PAIR: Counter { a: String, b: String } = "t_pair_total";
    }
    let captured = testing::capture(|| {
        PAIR.with(("x\u{1f}y", "z")).inc();
        PAIR.with(("x", "y\u{1f}z")).inc();
        PAIR.with(("", "")).inc();
    });
    assert_eq!(captured.metric("t_pair_total", &[("a", "x\u{fffd}y"), ("b", "z")]), Some(1.0));
    assert_eq!(captured.metric("t_pair_total", &[("a", "x"), ("b", "y\u{fffd}z")]), Some(1.0));
    assert_eq!(captured.metric("t_pair_total", &[("a", ""), ("b", "")]), Some(1.0));
}
