//! The exporter against collectors that behave and collectors that do not, over real sockets.
//!
//! What arrives is decoded by a reader of its own, which knows nothing of the encoder.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tracing_core::Dispatch;

use crate::drops::{Reason, Signal};
use crate::export::RetryPolicy;
use crate::init::{Builder, Guard};
use crate::logline::Sink;
use crate::sync::lock;

/// A protobuf message as field number to contents.
#[derive(Debug, Clone, PartialEq)]
enum Node {
    Number(u64),
    Bytes(Vec<u8>),
}

fn parse(bytes: &[u8]) -> BTreeMap<u64, Vec<Node>> {
    let mut at = 0;
    let mut fields: BTreeMap<u64, Vec<Node>> = BTreeMap::new();
    let number = |at: &mut usize| {
        let (mut value, mut shift) = (0_u64, 0);
        loop {
            let byte = bytes[*at];
            *at += 1;
            value |= u64::from(byte & 127) << shift;
            shift += 7;
            if byte < 128 {
                return value;
            }
        }
    };
    while at < bytes.len() {
        let tag = number(&mut at);
        let width = match tag % 8 {
            0 => {
                let value = number(&mut at);
                fields.entry(tag / 8).or_default().push(Node::Number(value));
                continue;
            }
            1 => 8,
            5 => 4,
            2 => number(&mut at) as usize,
            other => panic!("wire type {other}"),
        };
        let content = bytes[at..at + width].to_vec();
        at += width;
        fields.entry(tag / 8).or_default().push(Node::Bytes(content));
    }
    fields
}

/// Follows field numbers down to all messages at their end.
fn at_path(bytes: &[u8], path: &[u64]) -> Vec<Vec<u8>> {
    let Some((first, rest)) = path.split_first() else { return vec![bytes.to_vec()] };
    let nodes = parse(bytes).remove(first).unwrap_or_default();
    nodes
        .iter()
        .flat_map(
            |node| if let Node::Bytes(inner) = node { at_path(inner, rest) } else { panic!("no message") },
        )
        .collect()
}

fn string_at(bytes: &[u8], path: &[u64]) -> String {
    at_path(bytes, path)
        .into_iter()
        .map(|text| String::from_utf8(text).unwrap())
        .collect::<Vec<_>>()
        .join("|")
}

/// A request as a collector sees it.
#[derive(Debug, Clone)]
struct Seen {
    path: String,
    head: String,
    body: Vec<u8>,
}

impl Seen {
    fn items(&self) -> Vec<Vec<u8>> {
        at_path(&self.body, &[1, 2, 2])
    }
}

/// What a collector does with its n-th connection.
type Behaviour = Box<dyn Fn(usize, &Seen, &mut TcpStream) + Send>;

struct Collector {
    endpoint: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Collector {
    fn start(behave: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let collected = seen.clone();
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                if let Some(request) = read_request(&mut stream) {
                    lock(&collected).push(request.clone());
                    behave(number, &request, &mut stream);
                }
            }
        });
        Self { endpoint, seen }
    }

    fn answering(answer: &'static str) -> Self {
        Self::start(Box::new(move |_, _, stream| reply(stream, answer)))
    }

    fn seen(&self) -> Vec<Seen> {
        lock(&self.seen).clone()
    }
}

fn reply(stream: &mut TcpStream, answer: &str) {
    let _ = stream.write_all(answer.as_bytes());
}

fn read_request(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 65536];
    loop {
        let length = stream.read(&mut buffer).ok().filter(|length| *length > 0)?;
        bytes.extend_from_slice(&buffer[..length]);
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let wanted: usize = header(&head, "content-length").parse().unwrap();
        if bytes.len() >= end + 4 + wanted {
            let path = head.split(' ').nth(1).unwrap().to_owned();
            return Some(Seen { path, body: bytes[end + 4..].to_vec(), head });
        }
    }
}

fn header(head: &str, name: &str) -> String {
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")));
    line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// A running SDK that exports spans to `endpoint`; log records only when asked for.
struct Sdk {
    guard: Guard,
    dispatch: Dispatch,
    lines: Arc<Mutex<Vec<u8>>>,
}

impl Sdk {
    fn start(endpoint: &str, vars: &[(&'static str, &'static str)]) -> Self {
        Self::with(endpoint, vars, |builder| builder)
    }

    fn with(
        endpoint: &str,
        vars: &[(&'static str, &'static str)],
        adjust: impl FnOnce(Builder) -> Builder,
    ) -> Self {
        let lines = Arc::<Mutex<Vec<u8>>>::default();
        let vars: Vec<(&str, &str)> = vars.to_vec();
        let mut builder = crate::builder().service_name("svc").endpoint(endpoint).env(move |name| {
            let given = vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            given.or_else(|| (name == "OTEL_LOGS_EXPORTER").then(|| "none".to_owned()))
        });
        builder.sink = Sink::Capture(lines.clone());
        builder.retry = RetryPolicy {
            first: Duration::from_millis(10),
            longest: Duration::from_millis(50),
            give_up_after: Duration::from_secs(60),
        };
        let (guard, dispatch) = adjust(builder).build().unwrap();
        Self { guard, dispatch, lines }
    }

    fn spans(&self, count: usize) {
        self.run(|| (0..count).for_each(|number| drop(tracing::info_span!("work", number))));
    }

    fn run(&self, body: impl FnOnce()) {
        tracing::dispatcher::with_default(&self.dispatch, body);
    }

    fn dropped(&self, reason: Reason) -> u64 {
        self.guard.core.ledger.dropped_count(Signal::Spans, reason)
    }

    fn exported(&self) -> u64 {
        self.guard.core.ledger.exported_count(Signal::Spans)
    }

    fn flush(&self) -> bool {
        self.guard.flush(Duration::from_secs(20))
    }

    fn lines(&self) -> String {
        String::from_utf8(lock(&self.lines).clone()).unwrap()
    }
}

#[test]
fn spans_and_logs_arrive_as_otlp() {
    let collector = Collector::answering(OK);
    let vars = [
        ("OTEL_LOGS_EXPORTER", "otlp"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=t1"),
        ("ENVIRONMENT", "test"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team=core"),
    ];
    let sdk = Sdk::start(&collector.endpoint, &vars);
    sdk.run(|| {
        let span = tracing::info_span!(
            "ingest",
            otel.kind = "server",
            bytes = 5,
            ratio = 0.5,
            ok = true,
            who = "me"
        );
        let _span = span.entered();
        tracing::error!(request_id = "r", "broken");
    });
    assert!(sdk.flush());
    let mut seen = collector.seen();
    seen.sort_by(|a, b| a.path.cmp(&b.path));
    let paths: Vec<&str> = seen.iter().map(|request| request.path.as_str()).collect();
    assert_eq!(paths, ["/v1/logs", "/v1/traces"]);
    for request in &seen {
        assert_eq!(header(&request.head, "content-type"), "application/x-protobuf");
        assert_eq!(header(&request.head, "x-tenant"), "t1");
        assert_eq!(
            string_at(&request.body, &[1, 1, 1, 1]),
            "service.name|deployment.environment.name|team|telemetry.sdk.name|telemetry.sdk.language|telemetry.sdk.version"
        );
        assert!(string_at(&request.body, &[1, 1, 1, 2, 1]).starts_with("svc|test|core|kenning|rust|"));
        assert_eq!(string_at(&request.body, &[1, 2, 1, 1]), "kenning");
        assert_eq!(request.items().len(), 1);
    }
    check_span(&seen[1].items()[0], &check_log(&seen[0].items()[0]));
    assert_eq!((sdk.exported(), sdk.guard.dropped()), (1, 0));
}

/// Checks the log record; its trace and span id.
fn check_log(log: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let fields = parse(log);
    assert_eq!(fields[&2], [Node::Number(17)]);
    assert_eq!(string_at(log, &[3]), "ERROR");
    assert_eq!(string_at(log, &[5, 1]), "broken");
    assert_eq!(string_at(log, &[6, 1]), "name|request_id");
    assert_eq!(fields[&8], [Node::Bytes(vec![1, 0, 0, 0])]);
    (at_path(log, &[9]).remove(0), at_path(log, &[10]).remove(0))
}

fn check_span(span: &[u8], (trace_id, span_id): &(Vec<u8>, Vec<u8>)) {
    let fields = parse(span);
    assert_eq!((trace_id.len(), span_id.len()), (16, 8));
    assert_eq!(&at_path(span, &[1])[0], trace_id);
    assert_eq!(&at_path(span, &[2])[0], span_id);
    assert!(!fields.contains_key(&4), "a root has no parent");
    assert_eq!(string_at(span, &[5]), "ingest");
    assert_eq!(fields[&6], [Node::Number(2)]);
    let nanos = |number: u64| match &fields[&number][0] {
        Node::Bytes(bytes) => u64::from_le_bytes(bytes.as_slice().try_into().unwrap()),
        Node::Number(_) => panic!("fixed64 expected"),
    };
    assert!(nanos(7) > 1_700_000_000_000_000_000 && nanos(8) >= nanos(7));
    assert_eq!(string_at(span, &[9, 1]), "bytes|ratio|ok|who|code.file.path|code.line.number");
    let values: Vec<_> = at_path(span, &[9, 2]).iter().map(|value| parse(value)).collect();
    assert_eq!(values[0][&3], [Node::Number(5)]);
    assert_eq!(values[1][&4], [Node::Bytes(0.5_f64.to_bits().to_le_bytes().to_vec())]);
    assert_eq!(values[2][&2], [Node::Number(1)]);
    assert_eq!(values[3][&1], [Node::Bytes(b"me".to_vec())]);
    let status = parse(&at_path(span, &[15])[0]);
    assert_eq!((&status[&2], &status[&3]), (&vec![Node::Bytes(b"broken".to_vec())], &vec![Node::Number(2)]));
    assert_eq!(fields[&16], [Node::Bytes(vec![1, 1, 0, 0])]);
}

/// One case: a collector's answers, how many spans are sent, what the ledger says in the end.
fn check_answers(answers: Vec<&'static str>, requests: usize, exported: u64, dropped: &[(Reason, u64)]) {
    let last = *answers.last().unwrap();
    let behave = move |number: usize, _: &Seen, stream: &mut TcpStream| {
        reply(stream, answers.get(number).copied().unwrap_or(last));
    };
    let collector = Collector::start(Box::new(behave));
    let sdk = Sdk::start(&collector.endpoint, &[]);
    sdk.spans(10);
    assert!(sdk.flush(), "{}", sdk.lines());
    assert_eq!(collector.seen().len(), requests);
    assert_eq!(sdk.exported(), exported);
    for (reason, count) in dropped {
        assert_eq!(sdk.dropped(*reason), *count, "{reason:?}");
    }
    assert_eq!(sdk.exported() + sdk.guard.dropped(), 10, "the ledger adds up");
}

#[test]
fn retryable_answers_are_retried_until_taken() {
    const BUSY: &str = "HTTP/1.1 503 x\r\nretry-after: 0\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    const LIMITED: &str = "HTTP/1.1 429 x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    const GATEWAY: &str = "HTTP/1.1 502 x\r\ncontent-length: 3\r\nconnection: close\r\n\r\nbad";
    check_answers(
        vec![BUSY, LIMITED, GATEWAY, "", "HTTP/1.1 504 x\r\nconnection: close\r\n\r\n", OK],
        6,
        10,
        &[],
    );
}

#[test]
fn refusals_and_partial_success_are_never_retried() {
    const BAD: &str = "HTTP/1.1 400 x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    const MOVED: &str = "HTTP/1.1 302 x\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    const PARTIAL: &str =
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\n\x0a\x07\x08\x03\x12\x03bad";
    const LIES: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\n\x0a\x02\x08\x63";
    const HTML: &str = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\n<html>";
    check_answers(vec![BAD], 1, 0, &[(Reason::Refused, 10)]);
    check_answers(vec![MOVED], 1, 0, &[(Reason::Refused, 10)]);
    check_answers(vec![PARTIAL], 1, 7, &[(Reason::Rejected, 3)]);
    check_answers(vec![LIES], 1, 0, &[(Reason::Rejected, 10)]);
    check_answers(vec![HTML], 1, 10, &[]);
}

#[test]
fn endless_replies_are_read_to_their_limit() {
    let (written, told) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (count, done) = (written.clone(), told.clone());
    let collector = Collector::start(Box::new(move |_, _, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n");
        while let Ok(length) = stream.write(&[b' '; 65536]) {
            count.fetch_add(length, Ordering::Relaxed);
        }
        done.store(1, Ordering::Release);
    }));
    let sdk = Sdk::start(&collector.endpoint, &[]);
    sdk.spans(3);
    assert!(sdk.flush());
    assert_eq!((sdk.exported(), sdk.guard.dropped()), (3, 0));
    // The connection is given up long before the reply's end; the rest is what fits into socket buffers.
    while told.load(Ordering::Acquire) == 0 {
        std::thread::yield_now();
    }
    assert!(written.load(Ordering::Relaxed) < 100_000_000);
}

#[test]
fn a_black_hole_blocks_nobody_and_the_loss_is_exact() {
    let collector = Collector::start(Box::new(|_, _, _| std::thread::sleep(Duration::from_secs(3600))));
    let sdk = Sdk::with(&collector.endpoint, &[], |mut builder| {
        builder.outbox_bytes_max = 20_000;
        builder.flush_deadline(Duration::from_millis(300))
    });
    let start = Instant::now();
    sdk.spans(5000);
    let ledger = sdk.guard.core.ledger.clone();
    let full = ledger.dropped_count(Signal::Spans, Reason::QueueFull);
    assert!(full > 4000, "{full}");
    drop(sdk);
    assert!(start.elapsed() < Duration::from_secs(10), "neither spans nor the guard wait for the collector");
    let lost = ledger.dropped_count(Signal::Spans, Reason::Shutdown);
    assert_eq!((full + lost, ledger.exported_count(Signal::Spans)), (5000, 0));
}

#[test]
fn a_collector_that_is_not_there() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let sdk = Sdk::with(&format!("http://127.0.0.1:{port}"), &[], |mut builder| {
        builder.retry.give_up_after = Duration::from_millis(100);
        builder
    });
    sdk.spans(7);
    assert!(sdk.flush());
    assert_eq!((sdk.dropped(Reason::RetryExhausted), sdk.exported()), (7, 0));
    let lines = sdk.lines();
    assert_eq!(lines.lines().count(), 1, "told once: {lines}");
    assert!(lines.contains(r#""name":"kenning","message":"export of spans has trouble"#), "{lines}");
}

#[test]
fn dropping_the_guard_delivers() {
    let collector = Collector::answering(OK);
    let sdk = Sdk::start(&collector.endpoint, &[]);
    let ledger = sdk.guard.core.ledger.clone();
    sdk.spans(5000);
    let dispatch = sdk.dispatch.clone();
    drop(sdk);
    let items: usize = collector.seen().iter().map(|request| request.items().len()).sum();
    assert_eq!(
        (items, ledger.exported_count(Signal::Spans), ledger.dropped_total(Signal::Spans)),
        (5000, 5000, 0)
    );
    // A span that ends after the end is counted, not queued for nobody.
    tracing::dispatcher::with_default(&dispatch, || drop(tracing::info_span!("late")));
    assert_eq!(ledger.dropped_count(Signal::Spans, Reason::Shutdown), 1);
}

#[test]
fn requests_stay_at_their_size() {
    let collector = Collector::answering(OK);
    let sdk = Sdk::start(&collector.endpoint, &[]);
    let padding = "x".repeat(8000);
    sdk.run(|| (0..500).for_each(|_| drop(tracing::info_span!("big", padding))));
    assert!(sdk.flush());
    let sizes: Vec<usize> = collector.seen().iter().map(|request| request.body.len()).collect();
    assert!(
        sizes.len() > 6 && sizes.iter().all(|size| *size < crate::outbox::BATCH_BYTES + 1000),
        "{sizes:?}"
    );
    assert_eq!(sdk.exported(), 500);
}

#[test]
fn unsampled_spans_go_nowhere_but_keep_their_ids() {
    let collector = Collector::answering(OK);
    let sdk = Sdk::start(&collector.endpoint, &[("OTEL_TRACES_SAMPLER", "parentbased_always_off")]);
    sdk.run(|| {
        let _span = tracing::info_span!("quiet", request_id = "r").entered();
        tracing::info!("seen");
        let context = crate::propagation::current().unwrap();
        assert!(context.traceparent().ends_with("-00"));
    });
    assert!(sdk.flush());
    assert!(collector.seen().is_empty());
    assert!(
        sdk.lines().contains("\"trace_id\":") && sdk.lines().contains("\"request_id\":\"r\""),
        "{}",
        sdk.lines()
    );
}

#[test]
fn a_muted_thread_records_nothing() {
    let sdk = Sdk::start("http://127.0.0.1:9", &[]);
    let dispatch = sdk.dispatch.clone();
    let silent = move || {
        crate::subscriber::mute_this_thread();
        tracing::dispatcher::with_default(&dispatch, || {
            let _span = tracing::info_span!("unseen").entered();
            tracing::error!("unheard");
        });
    };
    std::thread::spawn(silent).join().unwrap();
    assert!(sdk.guard.core.spans_out.as_ref().unwrap().take().is_none());
    assert_eq!(sdk.lines(), "");
}

#[test]
fn quiet_logs_tear_no_holes_into_traces() {
    let collector = Collector::answering(OK);
    let sdk = Sdk::start(&collector.endpoint, &[("LOG_LEVEL", "error,export::noisy=off")]);
    sdk.run(|| {
        let _span = tracing::info_span!("kept").entered();
        tracing::info!("not shown");
        drop(tracing::debug_span!("too fine"));
        drop(tracing::info_span!(target: "export::noisy", "unwanted"));
    });
    assert!(sdk.flush());
    assert_eq!((sdk.exported(), sdk.lines().as_str()), (1, ""));
}

#[test]
fn open_spans_are_bounded_and_the_rest_is_harmless() {
    let sdk = Sdk::with("http://127.0.0.1:9", &[], |builder| builder.flush_deadline(Duration::ZERO));
    sdk.run(|| {
        let open: Vec<_> =
            (0..crate::spans::SPANS_PER_SHARD_MAX + 5).map(|_| tracing::info_span!("open")).collect();
        assert_eq!(sdk.dropped(Reason::OpenSpans), 5);
        let beyond = open.last().unwrap();
        beyond.in_scope(|| tracing::info!("still logged"));
        beyond.record("x", 1);
        assert!(crate::propagation::context_of(beyond).is_none());
        drop(open);
        drop(tracing::info_span!("room again"));
        assert_eq!(sdk.dropped(Reason::OpenSpans), 5);
    });
    assert!(sdk.lines().contains("still logged"));
}

#[test]
fn with_tracing_off_the_callers_context_passes_through() {
    let sdk = Sdk::start("http://127.0.0.1:9", &[("TRACING_ENABLED", "false")]);
    sdk.run(|| {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let remote = crate::propagation::extract(|name| (name == "traceparent").then_some(parent));
        let _span = crate::propagation::with_remote(remote, || tracing::info_span!("off")).entered();
        assert_eq!(crate::propagation::current().unwrap().traceparent(), parent);
    });
    assert!(sdk.flush());
    assert_eq!((sdk.exported(), sdk.guard.dropped()), (0, 0));
}

#[test]
fn the_console_shows_spans() {
    let sdk = Sdk::start("http://127.0.0.1:9", &[("OTEL_TRACES_EXPORTER", "console")]);
    sdk.run(|| drop(tracing::info_span!("shown", size = 3)));
    assert!(sdk.flush());
    let line: serde_json::Value = serde_json::from_str(sdk.lines().trim()).unwrap();
    assert_eq!((&line["span"], &line["attributes"]["size"]), (&"shown".into(), &3.into()));
}

#[cfg(feature = "gzip")]
#[test]
fn gzip() {
    let collector = Collector::answering(OK);
    let sdk = Sdk::start(&collector.endpoint, &[("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")]);
    sdk.spans(100);
    assert!(sdk.flush());
    let items = |request: &Seen| {
        assert_eq!(header(&request.head, "content-encoding"), "gzip");
        let mut body = Vec::new();
        flate2::read::GzDecoder::new(&request.body[..]).read_to_end(&mut body).unwrap();
        at_path(&body, &[1, 2, 2]).len()
    };
    assert_eq!(collector.seen().iter().map(items).sum::<usize>(), 100);
}
