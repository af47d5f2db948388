//! Log lines at the shape of the peers' measurement: JSON lines of about 300 bytes over one hour in 2000 streams by env,
//! host, level and service, pushed as Loki protobuf with snappy and over OTLP; then the queries L1 to L9.
//!
//! `KENNING_BENCH_LOG_LINES` says how many (300 000 when unset; the peers were measured with 3 000 000). For profilers:
//! `KENNING_BENCH_KEEP` names a folder that gets a copy of the data and the queries, and with
//! `KENNING_BENCH_LOG_INGEST` the queries are left out.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use kenning_model::{LabelSet, LogBatch, LogRow, Nanos, Severity, SpanId, TraceId};
use kenning_stdx::random::Random;
use kenning_wire::otlp::encode_logs;
use serde_json::Value;

use crate::process::{Kenning, folder_bytes, median, post_all};
use crate::{Failure, Row};

const LINES_DEFAULT: usize = 300_000;
const LINES_PER_REQUEST: usize = 2_000;
const HOUR: i64 = 3_600_000_000_000;
/// CPU time comes in ticks of 10 ms: fewer would tell little of a query of 2 ms.
const REPEATS: usize = 21;
/// One line in so many has the rare word.
const RARE_EVERY: usize = 100_000;
const SERVICES: [&str; 8] =
    ["checkout", "cart", "payment", "search", "auth", "catalog", "shipping", "gateway"];
const LEVELS: [&str; 5] = ["debug", "info", "warn", "error", "trace"];
const HOSTS: u64 = 25;

/// One line and where it belongs.
struct Line {
    stream: u64,
    time: i64,
    text: String,
}

/// Requests ready to be sent, and what is in them.
struct Load {
    bodies: Vec<Vec<u8>>,
    raw: usize,
    lines: usize,
    /// A trace id from the middle.
    trace: String,
    end: i64,
}

fn labels_of(stream: u64) -> [(&'static str, String); 4] {
    let (service, rest) = (stream % 8, stream / 8);
    let (level, rest) = (rest % 5, rest / 5);
    [
        ("env", ["prod", "staging"][(rest / HOSTS % 2) as usize].to_owned()),
        ("host", format!("host-{:02}", rest % HOSTS)),
        ("level", LEVELS[level as usize].to_owned()),
        ("service", SERVICES[service as usize].to_owned()),
    ]
}

fn message(random: &mut Random, number: usize) -> String {
    if number % RARE_EVERY == RARE_EVERY / 2 {
        return "found haystack-7f3a next to xylophonequartz in the attic".to_owned();
    }
    let id = random.below(1_000_000);
    match random.below(18) {
        0 => format!("upstream timeout after {} attempts for order {id}", random.below(5)),
        1..=4 => format!("order {id} accepted with {} items", random.below(40)),
        5..=8 => format!("cache miss for key item:{id}, loading from the primary"),
        9..=12 => format!("request finished, {} rows read and {id} bytes sent", random.below(500)),
        _ => format!("session {id} renewed by its owner"),
    }
}

fn load(lines: usize, encode: impl Fn(&[Line]) -> Vec<u8>) -> Result<Load, Failure> {
    let mut random = Random::seeded(7);
    let end = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as i64;
    let mut load = Load { bodies: Vec::new(), raw: 0, lines, trace: String::new(), end };
    let mut request = Vec::with_capacity(LINES_PER_REQUEST);
    for number in 0..lines {
        let stream = random.below(2000);
        let [_, (_, host), (_, level), (_, service)] = labels_of(stream);
        let trace = format!("{:016x}{:016x}", random.next_u64(), random.next_u64());
        let status = [200, 200, 200, 200, 200, 201, 204, 301, 404, 500][random.below(10) as usize];
        let text = format!(
            "{{\"level\":\"{level}\",\"service\":\"{service}\",\"host\":\"{host}\",\"msg\":\"{}\",\"method\":\"{}\",\
             \"path\":\"/api/v1/items/{}\",\"status\":{status},\"duration_ms\":{}.{:03},\"user_id\":\"user-{}\",\
             \"trace_id\":\"{trace}\",\"region\":\"eu-west-1\"}}",
            message(&mut random, number),
            ["GET", "GET", "POST", "PUT"][random.below(4) as usize],
            random.below(10_000),
            random.below(900),
            random.below(1000),
            random.below(100_000),
        );
        if number == lines / 2 {
            load.trace = trace;
        }
        load.raw += text.len();
        let time = end - HOUR + (number as i128 * i128::from(HOUR) / lines as i128) as i64;
        request.push(Line { stream, time, text });
        if request.len() == LINES_PER_REQUEST || number + 1 == lines {
            load.bodies.push(encode(&request));
            request.clear();
        }
    }
    Ok(load)
}

/// The lines alone.
pub fn sample_lines(count: usize) -> Result<Vec<String>, Failure> {
    let lines = std::cell::RefCell::new(Vec::with_capacity(count));
    load(count, |request| {
        lines.borrow_mut().extend(request.iter().map(|line| line.text.clone()));
        Vec::new()
    })?;
    Ok(lines.into_inner())
}

fn by_stream(lines: &[Line]) -> BTreeMap<u64, Vec<&Line>> {
    let mut streams: BTreeMap<u64, Vec<&Line>> = BTreeMap::new();
    lines.iter().for_each(|line| streams.entry(line.stream).or_default().push(line));
    streams
}

fn varint(mut n: u64, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// A field of bytes with its tag and length.
fn field(number: u64, bytes: &[u8], out: &mut Vec<u8>) {
    varint(number << 3 | 2, out);
    varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// A push request of Loki's `logproto`, in a snappy block.
fn loki_body(lines: &[Line]) -> Vec<u8> {
    let mut request = Vec::new();
    for (stream, lines) in by_stream(lines) {
        let pairs: Vec<String> =
            labels_of(stream).iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let mut body = Vec::new();
        field(1, format!("{{{}}}", pairs.join(",")).as_bytes(), &mut body);
        for line in lines {
            let (mut time, mut entry) = (Vec::new(), Vec::new());
            varint(1 << 3, &mut time);
            varint((line.time / 1_000_000_000) as u64, &mut time);
            varint(2 << 3, &mut time);
            varint((line.time % 1_000_000_000) as u64, &mut time);
            field(1, &time, &mut entry);
            field(2, line.text.as_bytes(), &mut entry);
            field(2, &entry, &mut body);
        }
        field(1, &body, &mut request);
    }
    snap::raw::Encoder::new().compress_vec(&request).unwrap_or_default()
}

/// Records that say nothing but time, severity and line.
fn otlp_body(lines: &[Line]) -> Vec<u8> {
    otlp_with(lines, |_| LabelSet::empty())
}

/// Records as loggers of OpenTelemetry's SDKs send them: where in the code, by which thread, and observed when.
fn otlp_sdk_body(lines: &[Line]) -> Vec<u8> {
    otlp_with(lines, |line| {
        LabelSet::from_pairs([
            ("code.function.name", ["handle", "load", "store"][(line.time % 3) as usize]),
            ("code.line.number", &(line.time % 40).to_string()),
            ("observed_timestamp", &(line.time + 1_234_567).to_string()),
            ("thread.id", &(line.time / 1000 % 16).to_string()),
        ])
    })
}

fn otlp_with(lines: &[Line], metadata: impl Fn(&Line) -> LabelSet) -> Vec<u8> {
    let mut batch = LogBatch::default();
    for (stream, lines) in by_stream(lines) {
        let [env, host, level, service] = labels_of(stream).map(|(_, value)| value);
        let labels = LabelSet::from_pairs([
            ("deployment.environment", &env),
            ("host.name", &host),
            ("service.name", &service),
        ]);
        let index = batch.add_stream(labels.clone());
        for line in lines {
            let row = LogRow {
                stream: &labels,
                time: Nanos(line.time),
                severity: Severity::from_word(&level),
                trace_id: TraceId::NONE,
                span_id: SpanId::NONE,
                line: &line.text,
                metadata: &metadata(line),
            };
            batch.push(index, row);
        }
    }
    encode_logs(&batch)
}

fn lines_wanted() -> usize {
    std::env::var("KENNING_BENCH_LOG_LINES").ok().and_then(|text| text.parse().ok()).unwrap_or(LINES_DEFAULT)
}

pub fn measure(binary: &Path) -> Result<Vec<Row>, Failure> {
    let dir = tempfile::tempdir()?;
    let loki = load(lines_wanted(), loki_body)?;
    let server = Kenning::start_in(binary, dir.path(), None, &[])?;
    let url = format!("http://{}/loki/api/v1/push", server.listen);
    let start = server.process.cpu_seconds()?;
    let mut rows = vec![ingest(&server, &loki, &url, "Loki push, snappy")?];
    let life = server.process.stop()?;
    keep(dir.path(), &loki)?;
    let server = Kenning::start_in(binary, dir.path(), None, &[])?;
    server.process.settle()?;
    let cpu = life - start + server.process.cpu_seconds()?;
    let disk = folder_bytes(&dir.path().join("data/parts")) as f64 / loki.raw as f64;
    rows.push(Row {
        work: "logs: CPU until all lines are in parts, a restart included; parts on disk / raw".into(),
        result: format!("{:.1} CPU s per GB; {disk:.3}", cpu * 1e9 / loki.raw as f64),
    });
    let is_ingest_alone = std::env::var_os("KENNING_BENCH_LOG_INGEST").is_some();
    if !is_ingest_alone {
        rows.extend(queries(&server, &loki, "in parts")?);
    }
    drop(server);
    drop(dir);
    if !is_ingest_alone {
        rows.extend(just_written(binary, &loki)?);
    }
    drop(loki);
    rows.extend(over_otlp(binary)?);
    rows.push(over_otlp_as_sdks_do(binary)?);
    Ok(rows)
}

/// The queries right after their lines came.
fn just_written(binary: &Path, loki: &Load) -> Result<Vec<Row>, Failure> {
    let dir = tempfile::tempdir()?;
    let server = Kenning::start_in(binary, dir.path(), None, &[])?;
    post_all(&format!("http://{}/loki/api/v1/push", server.listen), "application/x-protobuf", &loki.bodies)?;
    queries(&server, loki, "just written")
}

/// The same lines over OTLP, and what is left of them after a crash.
fn over_otlp(binary: &Path) -> Result<Vec<Row>, Failure> {
    let otlp = load(lines_wanted(), otlp_body)?;
    let dir = tempfile::tempdir()?;
    let server = Kenning::start_in(binary, dir.path(), None, &[])?;
    let url = format!("http://{}/v1/logs", server.otlp_http);
    let mut rows = vec![ingest(&server, &otlp, &url, "OTLP/HTTP")?];
    server.process.kill_hard()?;
    drop(server);
    let again = Kenning::start_in(binary, dir.path(), None, &[])?;
    let text = "sum(count_over_time({service_name=~\".+\"}[2h]))";
    let kept = number_in(&ask(&again, text, otlp.end, None)?);
    rows.push(Row {
        work: "acknowledged log lines lost by SIGKILL".into(),
        result: format!("{} of {}", otlp.lines as f64 - kept, otlp.lines),
    });
    Ok(rows)
}

/// Raw are the lines alone here too.
fn over_otlp_as_sdks_do(binary: &Path) -> Result<Row, Failure> {
    let otlp = load(lines_wanted(), otlp_sdk_body)?;
    let dir = tempfile::tempdir()?;
    let server = Kenning::start_in(binary, dir.path(), None, &[])?;
    let url = format!("http://{}/v1/logs", server.otlp_http);
    ingest(&server, &otlp, &url, "OTLP/HTTP with an observed time and three attributes a record")
}

fn ingest(server: &Kenning, load: &Load, url: &str, way: &str) -> Result<Row, Failure> {
    server.process.settle()?;
    let (cpu, start) = (server.process.cpu_seconds()?, Instant::now());
    post_all(url, "application/x-protobuf", &load.bodies)?;
    let wall = start.elapsed().as_secs_f64();
    server.process.settle()?;
    let cpu = server.process.cpu_seconds()? - cpu;
    let gigabytes = load.raw as f64 / 1e9;
    Ok(Row {
        work: format!(
            "{} log lines, {:.0} MB raw, {way}, acknowledged after sync",
            load.lines,
            gigabytes * 1e3
        ),
        result: format!(
            "{:.1} CPU s per GB, {:.0} MB/s, peak {:.0} MiB resident",
            cpu / gigabytes,
            gigabytes * 1000.0 / wall,
            server.process.memory_mib("VmHWM")?
        ),
    })
}

/// The queries of the peers' measurement, over all lines. A step makes it a query over a range.
fn texts(trace: &str) -> Vec<(&'static str, String, Option<&'static str>)> {
    let all = "{env=~\".+\"}";
    vec![
        ("L1 rare word", format!("{all} |= \"xylophonequartz\""), Some("1")),
        ("L1t rare substring", format!("{all} |= \"aystack-7f\""), Some("1")),
        ("L2 count of a common word", format!("sum(count_over_time({all} |= \"timeout\" [2h]))"), None),
        ("L3 last 100 of service and level", "{service=\"checkout\",level=\"error\"}".into(), Some("1")),
        (
            "L4 count per minute by level, one service",
            "sum by (level) (count_over_time({service=\"checkout\"}[1m]))".into(),
            Some("60"),
        ),
        ("L5 count status=500", format!("sum(count_over_time({all} | json | status=500 [2h]))"), None),
        ("L6 trace id", format!("{all} |= \"{trace}\""), Some("1")),
        (
            "L7 top 10 of 100 k users",
            format!("topk(10, sum by (user_id) (count_over_time({all} | json [2h])))"),
            None,
        ),
        (
            "L8 p99 of duration by service",
            format!("quantile_over_time(0.99, {all} | json | unwrap duration_ms [2h]) by (service)"),
            None,
        ),
        ("L9 count of everything", format!("sum(count_over_time({all}[2h]))"), None),
    ]
}

/// Copies what was written to the folder that `KENNING_BENCH_KEEP` names, for a profiler: the data, and the queries.
fn keep(dir: &Path, load: &Load) -> Result<(), Failure> {
    let Ok(to) = std::env::var("KENNING_BENCH_KEEP") else { return Ok(()) };
    std::fs::create_dir_all(&to)?;
    std::process::Command::new("cp").arg("-r").arg(dir.join("data")).arg(&to).status()?;
    let of = |(name, text, step): (&str, String, Option<&str>)| {
        format!("{name}\t{text}\t{}\t{}\n", step.unwrap_or(""), load.end)
    };
    Ok(std::fs::write(
        Path::new(&to).join("queries"),
        texts(&load.trace).into_iter().map(of).collect::<String>(),
    )?)
}

fn queries(server: &Kenning, load: &Load, place: &str) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for (name, text, step) in texts(&load.trace) {
        let mut times = Vec::new();
        let cpu = server.process.cpu_seconds()?;
        let mut answer = Value::Null;
        for _ in 0..REPEATS {
            let start = Instant::now();
            answer = ask(server, &text, load.end, step)?;
            times.push(start.elapsed().as_secs_f64() * 1000.0);
        }
        let cpu = (server.process.cpu_seconds()? - cpu) * 1000.0 / REPEATS as f64;
        let first = times.first().copied().unwrap_or_default();
        let found = answer.pointer("/data/result").and_then(Value::as_array).map_or(0, Vec::len);
        rows.push(Row {
            work: format!("logs {place}: {name}"),
            result: format!(
                "{:.1} ms p50, {cpu:.1} ms CPU, first {first:.1} ms ({found} results)",
                median(times)
            ),
        });
    }
    rows.push(Row {
        work: format!("logs {place}: peak memory over all queries"),
        result: format!("{:.0} MiB", server.process.memory_mib("VmHWM")?),
    });
    Ok(rows)
}

fn ask(server: &Kenning, text: &str, end: i64, step: Option<&str>) -> Result<Value, Failure> {
    let agent = ureq::Agent::new_with_defaults();
    let request = match step {
        Some(step) => agent
            .get(format!("http://{}/loki/api/v1/query_range", server.listen))
            .query("start", (end - HOUR).to_string())
            .query("end", (end + 1).to_string())
            .query("limit", "100")
            .query("step", step),
        None => agent
            .get(format!("http://{}/loki/api/v1/query", server.listen))
            .query("time", (end + 1).to_string()),
    };
    Ok(serde_json::from_str(&request.query("query", text).call()?.body_mut().read_to_string()?)?)
}

fn number_in(answer: &Value) -> f64 {
    let value = answer.pointer("/data/result/0/value/1").and_then(Value::as_str);
    value.and_then(|text| text.parse().ok()).unwrap_or(0.0)
}
