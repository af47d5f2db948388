//! Logs and spans through the public API: what a line looks like, what a trace looks like.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use kenning::testing::{self, AttributeValue, Capture, SpanKind, SpanStatus};
use kenning::{LogFormat, propagation};
use serde_json::{Value, json};
use tracing::{debug, error, info, info_span, warn};

fn lines(body: impl FnOnce()) -> Vec<Value> {
    let captured = testing::capture(body);
    captured.log_lines().iter().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// The one line `body` logs, without what is on every line.
fn fields_of(body: impl FnOnce()) -> Value {
    let mut lines = lines(body);
    assert_eq!(lines.len(), 1, "{lines:?}");
    let mut line = lines.remove(0);
    let object = line.as_object_mut().unwrap();
    for common in ["timestamp", "level", "service", "name"] {
        assert!(object.remove(common).is_some(), "{common}");
    }
    line
}

#[test]
fn a_line_has_the_documented_shape() {
    let captured = testing::capture(|| {
        info!(method = "POST", path = "/ingest", status_code = 200_u16, latency = 0.045, "Request processed");
    });
    assert_eq!(
        captured.log_lines(),
        [
            r#"{"timestamp":1767225600.000,"level":"INFO","service":"test","name":"telemetry","message":"Request processed","method":"POST","path":"/ingest","status_code":200,"latency":0.045}"#
        ]
    );
}

#[test]
fn values_keep_their_types() {
    let big = u64::MAX;
    let line = fields_of(|| {
        info!(
            negative = -7_i64,
            big,
            wide = u128::MAX,
            nan = f64::NAN,
            flag = true,
            debug = ?Some(1),
            display = %Duration::from_millis(5).as_millis(),
            "x"
        );
    });
    let expect = json!({
        "message": "x", "negative": -7, "big": u64::MAX, "wide": u128::MAX.to_string(), "nan": "NaN", "flag": true,
        "debug": "Some(1)", "display": "5",
    });
    assert_eq!(line, expect);
}

#[test]
fn hostile_text_stays_in_its_string() {
    let line = fields_of(|| info!(user = "a\"},{\n\u{1b}[2J", "two\nlines"));
    assert_eq!(line, json!({"message": "two\nlines", "user": "a\"},{\n\u{1b}[2J"}));
}

proptest::proptest! {
    #[test]
    fn any_text_survives_both_ways_out(message: String, value: String, number: f64) {
        let captured = testing::capture(|| {
            let _span = info_span!("s", request_id = value, value, number).entered();
            info!(value, "{message}");
        });
        let line: Value = serde_json::from_str(&captured.log_lines()[0]).unwrap();
        assert_eq!((&line["message"], &line["value"], &line["request_id"]), (&json!(if message.is_empty() {
            line["message"].as_str().unwrap()
        } else {
            &message
        }), &json!(value), &json!(value)));
        let span = captured.span("s");
        assert_eq!(span.attribute("value").unwrap(), &value.as_str());
        let AttributeValue::Double(kept) = span.attribute("number").unwrap() else { panic!("no double") };
        assert_eq!(kept.to_bits(), number.to_bits());
    }
}

#[test]
fn own_names_and_secrets() {
    let line = fields_of(|| {
        info!(level = 3, service = "x", password = "hunter2", http.authorization = "Bearer", "m")
    });
    let expect = json!({
        "message": "m", "field.level": 3, "field.service": "x", "password": "[redacted]",
        "http.authorization": "[redacted]",
    });
    assert_eq!(line, expect);
}

#[test]
fn long_values_are_cut_and_the_line_is_bounded() {
    let long = "ä".repeat(40_000);
    let line = fields_of(|| info!(a = long, b = ?long, "m"));
    assert_eq!(line["a"].as_str().unwrap().len(), 16 * 1024);
    assert!(line["b"].as_str().unwrap().len() <= 16 * 1024);
}

#[test]
fn request_fields_and_ids_come_from_the_spans() {
    let captured = testing::capture(|| {
        let _outer = info_span!("request", request_id = "r-1", route = "/x", user_id = 7).entered();
        let inner = info_span!("query", job_id = tracing::field::Empty, user_id = 8);
        inner.record("job_id", "j");
        let _inner = inner.entered();
        info!(rows = 3, "done");
        warn!(request_id = "own", "mine wins");
    });
    let span = captured.span("query");
    let expect = |line: &str, fields: Value| {
        let line: Value = serde_json::from_str(line).unwrap();
        let object = fields.as_object().unwrap();
        assert!(object.iter().all(|(key, value)| line[key] == *value), "{line}");
        assert_eq!(line["trace_id"], span.trace_id.to_string());
        assert_eq!(line["span_id"], span.span_id.to_string());
        assert!(line.get("route").is_none());
        line
    };
    let lines = captured.log_lines();
    expect(&lines[0], json!({"request_id": "r-1", "user_id": 8, "job_id": "j", "rows": 3}));
    expect(&lines[1], json!({"request_id": "own", "level": "WARN"}));
    assert_eq!(lines[1].matches("request_id").count(), 1);
}

#[derive(Debug)]
struct InsertFailed(std::num::ParseIntError);

impl fmt::Display for InsertFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("insert failed")
    }
}

impl Error for InsertFailed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

fn insert_failed() -> InsertFailed {
    InsertFailed("x".parse::<u8>().unwrap_err())
}

#[test]
fn an_error_value_shows_its_chain_and_stack_and_marks_its_span() {
    let captured = testing::capture(|| {
        let _span = info_span!("insert").entered();
        let err = insert_failed();
        error!(error = &err as &dyn Error, table = "events", "could not store the event");
    });
    let line: Value = serde_json::from_str(&captured.log_lines()[0]).unwrap();
    assert_eq!(line["exception.type"], "InsertFailed");
    assert_eq!(line["exception.message"], "insert failed");
    assert_eq!(line["error"], "insert failed");
    let stack = line["exception.stacktrace"].as_str().unwrap();
    assert!(
        stack.starts_with("InsertFailed: insert failed\nCaused by: ParseIntError: invalid digit"),
        "{stack}"
    );
    assert!(stack.contains("an_error_value_shows_its_chain"), "{stack}");
    assert!(!stack.contains("kenning::subscriber") && !stack.contains("tracing_core::"), "{stack}");
    let span = captured.span("insert");
    assert_eq!(span.status, SpanStatus::Error("insert failed".to_owned()));
    let event = &span.events[0];
    assert_eq!(event.name, "exception");
    assert_eq!(event.attribute("exception.type").unwrap(), &"InsertFailed");
    assert_eq!(event.attribute("message").unwrap(), &"could not store the event");
    assert!(event.attribute("exception.stacktrace").is_some());
}

#[test]
fn levels_below_error_do_not_fail_the_span() {
    let captured = testing::capture(|| {
        let _span = info_span!("retrying").entered();
        warn!(error = &insert_failed() as &dyn Error, "will retry");
        info!("plain");
    });
    let span = captured.span("retrying");
    assert_eq!(span.status, SpanStatus::Unset);
    assert_eq!(
        span.events.len(),
        1,
        "the exception stays with the span, the plain event is only a log record"
    );
}

#[test]
fn an_explicit_status_wins() {
    let captured = testing::capture(|| {
        info_span!("fine", otel.status_code = "OK").in_scope(|| error!("ignored"));
        info_span!("bad", otel.status_code = "error", otel.status_message = "declined").in_scope(|| ());
    });
    assert_eq!(captured.span("fine").status, SpanStatus::Ok);
    assert_eq!(captured.span("bad").status, SpanStatus::Error("declined".to_owned()));
}

#[tracing::instrument(err, skip_all, fields(event_id = id))]
fn instrumented(id: u64) -> Result<(), InsertFailed> {
    Err(insert_failed())
}

#[test]
fn instrumented_functions() {
    let captured = testing::capture(|| drop(instrumented(5)));
    assert_eq!(captured.span("instrumented").attribute("event_id").unwrap(), &5);
    let line: Value = serde_json::from_str(&captured.log_lines()[0]).unwrap();
    assert_eq!((&line["level"], &line["exception.message"]), (&json!("ERROR"), &json!("insert failed")));
    assert_eq!((&line["event_id"], &line["message"]), (&json!(5), &json!("insert failed")));
}

/// The tree of an ingest request: names, parents, kinds, times.
#[test]
fn a_trace_is_a_tree() {
    let captured = Capture::new();
    captured.run(|| {
        let root = info_span!("ingest_event", otel.kind = "server", payload_size = 512).entered();
        for step in ["minio_upload", "kafka_publish", "postgres_insert"] {
            let span = info_span!("step", otel.name = step, otel.kind = "client", step);
            span.in_scope(|| captured.advance(Duration::from_millis(5)));
        }
        drop(root);
    });
    let spans = captured.spans();
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["minio_upload", "kafka_publish", "postgres_insert", "ingest_event"]);
    let root = captured.span("ingest_event");
    assert_eq!((root.parent_span_id, root.kind), (None, SpanKind::Server));
    assert_eq!(root.end_unix_nanos - root.start_unix_nanos, 15_000_000);
    assert_eq!(root.attribute("payload_size").unwrap(), &512);
    assert!(root.attribute("otel.kind").is_none() && root.attribute("code.file.path").is_some());
    for span in &spans[..3] {
        assert_eq!((span.parent_span_id, span.trace_id), (Some(root.span_id), root.trace_id));
        assert_eq!((span.kind, span.end_unix_nanos - span.start_unix_nanos), (SpanKind::Client, 5_000_000));
    }
}

#[test]
fn explicit_parents_roots_and_links() {
    let captured = testing::capture(|| {
        let a = info_span!("a");
        let _b = info_span!("b").entered();
        drop(info_span!(parent: &a, "child_of_a"));
        let root = info_span!(parent: None, "root");
        root.follows_from(&a);
        drop(a);
    });
    let (a, child, root) = (captured.span("a"), captured.span("child_of_a"), captured.span("root"));
    assert_eq!(child.parent_span_id, Some(a.span_id));
    assert_eq!(root.parent_span_id, None);
    assert_ne!(root.trace_id, a.trace_id);
    assert_eq!(root.links, [(a.trace_id, a.span_id)]);
}

#[test]
fn spans_may_close_on_another_thread() {
    let captured = testing::capture(|| {
        let span = info_span!("moved");
        tracing::dispatcher::get_default(|dispatch| {
            let (dispatch, span) = (dispatch.clone(), span.clone());
            let work = move || {
                let _dispatch = tracing::dispatcher::set_default(&dispatch);
                span.in_scope(|| info!("from afar"));
            };
            std::thread::spawn(work).join().unwrap();
        });
    });
    let line: Value = serde_json::from_str(&captured.log_lines()[0]).unwrap();
    assert_eq!(line["span_id"], captured.span("moved").span_id.to_string());
}

#[test]
fn context_travels_in_message_headers() {
    let mut headers: Vec<(&str, String)> = Vec::new();
    let producer = testing::capture(|| {
        let _span = info_span!("kafka_publish", otel.kind = "producer").entered();
        propagation::inject(|name, value| headers.push((name, value)));
    });
    headers.push(("tracestate", "vendor=1".to_owned()));
    let get = |name: &str| headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str());
    let mut passed_on = Vec::new();
    let consumer = testing::capture(|| {
        let _unrelated = info_span!("poll_loop").entered();
        let remote = propagation::extract(get);
        let span = propagation::with_remote(remote, || info_span!("consume", otel.kind = "consumer"));
        let _entered = span.entered();
        drop(info_span!("store"));
        propagation::inject(|name, value| passed_on.push((name, value)));
    });
    let (sent, received, inner) =
        (producer.span("kafka_publish"), consumer.span("consume"), consumer.span("store"));
    assert_eq!((received.trace_id, received.parent_span_id), (sent.trace_id, Some(sent.span_id)));
    assert!(received.parent_is_remote && !inner.parent_is_remote);
    assert_eq!((inner.trace_id, inner.parent_span_id), (sent.trace_id, Some(received.span_id)));
    assert_eq!(passed_on[1], ("tracestate", "vendor=1".to_owned()));
    assert_eq!(passed_on[0].1, format!("00-{}-{}-01", sent.trace_id, received.span_id));
}

#[test]
fn a_debug_that_logs_does_not_deadlock() {
    struct Chatty;
    impl fmt::Debug for Chatty {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            debug!("formatting");
            f.write_str("chatty")
        }
    }
    let captured = testing::capture(|| {
        let span = info_span!("outer", a = ?Chatty, b = tracing::field::Empty).entered();
        span.record("b", tracing::field::debug(Chatty));
        info!(c = ?Chatty, "done");
    });
    // Whether the inner events are seen is up to `tracing`, which may suppress them.
    let lines = captured.log_lines();
    assert!(lines.iter().any(|line| line.contains(r#""message":"done","c":"chatty""#)), "{lines:?}");
    assert_eq!(captured.span("outer").attribute("b").unwrap(), &"chatty");
}

#[test]
fn too_much_on_one_span_is_cut() {
    let captured = testing::capture(|| {
        let span = info_span!("busy", n = tracing::field::Empty, other = 1).entered();
        for n in 0..1000 {
            span.record("n", n);
        }
        (0..1000).for_each(|_| error!("failure {}", "x".repeat(1000)));
    });
    let span = captured.span("busy");
    assert_eq!(span.attributes.iter().filter(|(key, _)| key == "n").count(), 1);
    assert_eq!(
        (span.attribute("n").unwrap(), span.attribute("other").unwrap()),
        (&AttributeValue::Int(999), &AttributeValue::Int(1))
    );
    assert!(span.events.len() < 100, "{}", span.events.len());
}

#[test]
fn text_for_people() {
    let captured = Capture::with_format(LogFormat::Text);
    captured.run(|| {
        let _span = info_span!("s", request_id = "r 1").entered();
        info!(path = "/x", note = "two words", "served\u{1b}[31m");
    });
    let line = captured.log_lines().remove(0);
    let (line, trace_id) = line.split_once(" trace_id=").unwrap();
    assert_eq!(trace_id.len(), 32);
    assert_eq!(
        line,
        "2026-01-01T00:00:00.000Z  INFO telemetry: served [31m path=/x note=\"two words\" request_id=\"r 1\""
    );
}

#[test]
fn captures_do_not_see_each_other() {
    let outer = Capture::new();
    outer.run(|| {
        let _span = info_span!("outer").entered();
        let inner = testing::capture(|| info!("inside"));
        assert_eq!(inner.log_lines().len(), 1);
        assert!(!inner.log_lines()[0].contains("trace_id"), "another subscriber's span is not ours");
    });
    assert!(outer.log_lines().is_empty());
}
