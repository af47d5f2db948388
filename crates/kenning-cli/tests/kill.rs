//! `kill -9` at random moments under mixed load of all three signals: nothing acknowledged is missing, nothing torn or
//! invented is shown. (Test D1 of the reliability bar.)

#![expect(clippy::print_stderr, reason = "a failed test says where its data is")]

mod support;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use support::{PROGRAM, Server, post};

/// Kills; the bar's first gate asks for 30.
const KILLS: u64 = 30;

/// What was sent and what was acknowledged, by number.
#[derive(Default)]
struct Journal {
    sent: BTreeSet<u64>,
    acknowledged: BTreeSet<u64>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Metrics,
    Logs,
    Traces,
}

const KINDS: [Kind; 3] = [Kind::Metrics, Kind::Logs, Kind::Traces];

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64
}

fn trace_id(number: u64) -> String {
    format!("{:032x}", u128::from(number) + (1 << 100))
}

/// The request that carries item `number`; `base` is the stamp that number 0 would have, in milliseconds.
fn request(kind: Kind, base: u64, number: u64) -> (&'static str, Value) {
    let nanos = ((base + number) * 1_000_000).to_string();
    let resource = json!({"attributes": [{"key": "service.name", "value": {"stringValue": "killed"}}]});
    match kind {
        Kind::Metrics => {
            let point = json!({"timeUnixNano": nanos, "asDouble": number as f64});
            let metric = json!({"name": "kill_sequence", "gauge": {"dataPoints": [point]}});
            (
                "/v1/metrics",
                json!({"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": [metric]}]}]}),
            )
        }
        Kind::Logs => {
            let record =
                json!({"timeUnixNano": nanos, "body": {"stringValue": format!("item {number} whole")}});
            (
                "/v1/logs",
                json!({"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [record]}]}]}),
            )
        }
        Kind::Traces => {
            let span = json!({"traceId": trace_id(number), "spanId": format!("{:016x}", number + 1), "kind": 2,
                "name": format!("item {number} whole"), "startTimeUnixNano": nanos, "endTimeUnixNano": nanos});
            (
                "/v1/traces",
                json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]}),
            )
        }
    }
}

/// Sends numbered items one after another until told to stop or the server is gone.
fn send(kind: Kind, base: u64, address: &str, stop: &AtomicBool, journal: &Mutex<Journal>) {
    let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(10)));
    let agent: ureq::Agent = config.http_status_as_error(false).build().into();
    while !stop.load(Ordering::Relaxed) {
        let number = {
            let mut journal = journal.lock().expect("journal");
            let number = journal.sent.last().map_or(0, |last| last + 1);
            journal.sent.insert(number);
            number
        };
        let (path, body) = request(kind, base, number);
        match post(&agent, &format!("http://{address}{path}"), &body) {
            Some(200) => drop(journal.lock().expect("journal").acknowledged.insert(number)),
            Some(status) => panic!("{path} answered {status}"),
            None => return,
        }
    }
}

/// Loki's API gives the newest lines up to a limit of 5000, and a quick machine sends more: each request asks for the
/// stamps of so many numbers.
const LOGS_ASKED: u64 = 1_000;

/// The log lines that the server shows, as numbers.
fn shown_logs(server: &Server, base: u64, journal: &Journal) -> Vec<u64> {
    let end = journal.sent.last().map_or(0, |last| last + 1);
    let mut numbers = Vec::new();
    for from in (0..end).step_by(LOGS_ASKED as usize) {
        let nanos = |number: u64| ((base + number) * 1_000_000).to_string();
        let (start, end) = (nanos(from), nanos(from + LOGS_ASKED));
        let parameters =
            [("query", "{service_name=\"killed\"}"), ("limit", "5000"), ("start", &start), ("end", &end)];
        let answer = server.json("/loki/api/v1/query_range", &parameters);
        assert!(answer["warnings"].is_null(), "the answer is not whole: {}", answer["warnings"]);
        let streams = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        let lines = streams.iter().flat_map(|one| one["values"].as_array().cloned().unwrap_or_default());
        numbers.extend(lines.map(|entry| number_in(entry[1].as_str().expect("text"))));
    }
    numbers
}

/// The numbers that the server shows.
fn shown(server: &Server, kind: Kind, base: u64, journal: &Journal) -> BTreeSet<u64> {
    match kind {
        Kind::Metrics => {
            let answer = server.json("/api/v1/query", &[("query", "kill_sequence[1h]")]);
            assert!(answer["warnings"].is_null(), "the answer is not whole: {}", answer["warnings"]);
            let series = answer["data"]["result"].as_array().cloned().unwrap_or_default();
            assert!(series.len() <= 1, "one series was sent: {series:?}");
            let values: Vec<Value> =
                series.iter().flat_map(|one| one["values"].as_array().cloned().unwrap_or_default()).collect();
            values
                .iter()
                .map(|pair| pair[1].as_str().expect("text").parse::<f64>().expect("number") as u64)
                .collect()
        }
        Kind::Logs => {
            let numbers = shown_logs(server, base, journal);
            let distinct: BTreeSet<u64> = numbers.iter().copied().collect();
            assert_eq!(numbers.len(), distinct.len(), "a log line is shown twice");
            distinct
        }
        Kind::Traces => {
            let is_there = |number: &&u64| {
                let (status, body) =
                    server.get(&format!("/ds/jaeger/api/traces/{}", trace_id(**number)), &[]);
                assert!(status == 200 || status == 404, "{status}: {body}");
                let json: Value = serde_json::from_str(&body).expect("JSON");
                let spans = json["data"][0]["spans"].as_array().cloned().unwrap_or_default();
                assert!(spans.len() <= 1, "a span is shown twice: {body}");
                spans.iter().for_each(|span| {
                    assert_eq!(number_in(span["operationName"].as_str().expect("text")), **number)
                });
                status == 200
            };
            journal.sent.iter().filter(is_there).copied().collect()
        }
    }
}

/// The number of an item; a torn text fails here.
fn number_in(text: &str) -> u64 {
    let number = text.strip_prefix("item ").and_then(|rest| rest.strip_suffix(" whole"));
    number.and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("torn: {text:?}"))
}

/// A directory that stays for a look when the test fails. Beside the data it holds the servers' log and a copy of the
/// program, so that a build that goes on meanwhile cannot put another program in its place.
struct Place(Option<tempfile::TempDir>);

impl Place {
    fn new() -> Self {
        let place = Self(Some(tempfile::tempdir().expect("a directory")));
        std::fs::copy(PROGRAM, place.path("kenning")).expect("a copy of the program");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.as_ref().expect("a directory").path().join(name)
    }

    fn start(&self, extra: &[&str]) -> Server {
        let log = File::options().create(true).append(true).open(self.path("log")).expect("a log");
        Server::start(&self.path("kenning"), &self.path("data"), extra, log.into())
    }

    /// Fails when somebody else has removed the data: that is no loss of the server's.
    fn check_untouched(&self) {
        assert!(self.path("data/FORMAT").exists(), "the data directory was removed from outside");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(dir) = self.0.take().filter(|_| std::thread::panicking()) {
            eprintln!("data, log and program are kept: {}", dir.keep().display());
        }
    }
}

/// Acknowledged is a subset of shown, and shown of sent; says where it is not.
fn difference(kind: Kind, journal: &Journal, shown: &BTreeSet<u64>) -> Option<String> {
    let lost: Vec<_> = journal.acknowledged.difference(shown).collect();
    let invented: Vec<_> = shown.difference(&journal.sent).collect();
    let acknowledged = journal.acknowledged.len();
    let right = lost.is_empty() && invented.is_empty();
    (!right).then(|| {
        let (some_lost, some_invented) = (lost.iter().take(20), invented.iter().take(20));
        format!(
            "{kind:?}: {} of {acknowledged} are lost: {:?}; {} were never sent: {:?}",
            lost.len(),
            some_lost.collect::<Vec<_>>(),
            invented.len(),
            some_invented.collect::<Vec<_>>()
        )
    })
}

#[test]
fn nothing_acknowledged_is_lost_by_kill_9() {
    let place = Place::new();
    let base = now_ms() - 600_000;
    let journals: [Arc<Mutex<Journal>>; 3] = Default::default();
    let mut moments = kenning_stdx::random::Random::from_os();
    let mut acknowledged_in_all = 0;
    for round in 0..KILLS {
        // Small segments and heads make rotation, flush and replay happen within the test.
        let mut server =
            place.start(&["--set", "store.wal.segment=256KiB", "--set", "store.flush.bytes=256KiB"]);
        let stop = Arc::new(AtomicBool::new(false));
        let senders: Vec<_> = KINDS
            .iter()
            .zip(&journals)
            .map(|(kind, journal)| {
                let (kind, journal, stop, address) =
                    (*kind, Arc::clone(journal), Arc::clone(&stop), server.otlp_http.clone());
                std::thread::spawn(move || send(kind, base, &address, &stop, &journal))
            })
            .collect();
        std::thread::sleep(Duration::from_millis(50 + moments.below(300)));
        server.kill();
        stop.store(true, Ordering::Relaxed);
        senders.into_iter().for_each(|sender| sender.join().expect("a sender"));
        place.check_untouched();
        let last = round + 1 == KILLS;
        if last || round % 10 == 9 {
            let server = place.start(&[]);
            acknowledged_in_all = 0;
            let mut wrong = Vec::new();
            for (kind, journal) in KINDS.into_iter().zip(&journals) {
                let journal = journal.lock().expect("journal");
                wrong.extend(difference(kind, &journal, &shown(&server, kind, base, &journal)));
                acknowledged_in_all += journal.acknowledged.len();
            }
            place.check_untouched();
            assert!(wrong.is_empty(), "after {} kills: {}", round + 1, wrong.join("; "));
            assert!(server.terminate().success());
        }
    }
    assert!(
        acknowledged_in_all > 100,
        "only {acknowledged_in_all} items were acknowledged: the test shows nothing"
    );
}
