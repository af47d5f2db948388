//! Metric queries at the shapes that peers were measured on: 10 000 series over six hours at 15 s, and 200 000 series of
//! 40 steps, filled through remote write. Each query runs right after the load, then after a restart, when all data are
//! in parts.
//!
//! `KENNING_BENCH_DATA=<folder>` keeps the filled data directories there and uses them again. `BENCH_PROMETHEUS=1` writes
//! the same samples to Debian's Prometheus, asks it the same in the same run, and compares the answers.

use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use kenning_model::{LabelSet, MetricBatch, Millis, Sample};
use kenning_stdx::random::Random;
use kenning_wire::prometheus::encode_write_request;

use crate::compare;
use crate::process::{Kenning, Prometheus, Watched, median, post_all};
use crate::{Failure, Row};

/// Distance between samples, in milliseconds.
const STEP_MS: i64 = 15_000;
/// Samples of one request.
const SAMPLES_PER_REQUEST: usize = 5_000;
/// Bodies that are encoded before they are sent together.
const REQUESTS_AT_ONCE: usize = 256;
/// Runs of each query in a round, and rounds, of which the one with the least CPU counts: work in the background that
/// has nothing to do with a query comes in between.
const RUNS: usize = 15;
const ROUNDS: usize = 3;
/// Seconds after the last sample at which is asked: windows then begin and end between samples, so that it is the same to
/// them whether a range holds its first instant (as before Prometheus 3.0) or not.
const ASKED_AFTER: i64 = 5;
/// Where data directories are kept between runs.
const KEEP: &str = "KENNING_BENCH_DATA";

/// A data set.
struct Load {
    name: &'static str,
    series: Vec<(LabelSet, Kind)>,
    steps: usize,
    queries: Vec<Query>,
}

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Constant,
}

/// A query and the instants it asks for, relative to the end of the data.
struct Query {
    name: &'static str,
    text: &'static str,
    what: What,
}

enum What {
    Instant,
    /// Width and step, in seconds.
    Range(i64, i64),
    Series,
}

/// Measures all queries of both data sets.
pub fn measure(binary: &Path) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for load in [ten_thousand(), two_hundred_thousand()] {
        rows.extend(run(binary, &load)?);
    }
    Ok(rows)
}

fn run(binary: &Path, load: &Load) -> Result<Vec<Row>, Failure> {
    let scratch = tempfile::tempdir()?;
    let kept = std::env::var_os(KEEP).map(PathBuf::from);
    let data = kept.unwrap_or_else(|| scratch.path().to_owned()).join(load.name);
    let note = data.with_extension("end");
    let is_filled = note.exists();
    let end = match is_filled {
        true => std::fs::read_to_string(&note)?.parse()?,
        false => SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64 / STEP_MS * STEP_MS,
    };
    let peer = ask_prometheus(load, end)?;
    let mut rows = Vec::new();
    if !is_filled {
        let server = Kenning::start_in(binary, &data, None, &[])?;
        fill(&server.process, &server.listen, load, end)?;
        rows.extend(ask_all(&server, load, end, "just written", &peer));
        std::fs::write(&note, end.to_string())?;
    }
    let server = Kenning::start_in(binary, &data, None, &[])?;
    server.process.settle()?;
    rows.extend(ask_all(&server, load, end, "from parts", &peer));
    rows.push(Row {
        work: format!("{}: memory of the server after the queries", load.name),
        result: format!("{:.0} MiB", server.process.memory_mib("VmRSS")?),
    });
    Ok(rows)
}

/// Sends everything, the last samples at `end`, in milliseconds.
fn fill(process: &Watched, listen: &str, load: &Load, end: i64) -> Result<(), Failure> {
    let start = end - (load.steps as i64 - 1) * STEP_MS;
    let mut random = Random::seeded(11);
    let mut values: Vec<f64> = load.series.iter().map(|_| random.below(1000) as f64).collect();
    let url = format!("http://{listen}/api/v1/write");
    let steps_at_once = 20;
    let per_request = SAMPLES_PER_REQUEST / steps_at_once;
    let mut bodies = Vec::new();
    for first in (0..load.steps).step_by(steps_at_once) {
        for (series, values) in load.series.chunks(per_request).zip(values.chunks_mut(per_request)) {
            let steps = first..(first + steps_at_once).min(load.steps);
            let raw = encode_write_request(&batch(series, values, start, steps, &mut random));
            bodies.push(snap::raw::Encoder::new().compress_vec(&raw)?);
            if bodies.len() == REQUESTS_AT_ONCE {
                post_all(&url, "application/x-protobuf", &std::mem::take(&mut bodies))?;
            }
        }
    }
    post_all(&url, "application/x-protobuf", &bodies)?;
    process.settle()
}

fn batch(
    series: &[(LabelSet, Kind)],
    values: &mut [f64],
    start: i64,
    steps: std::ops::Range<usize>,
    random: &mut Random,
) -> MetricBatch {
    let mut batch = MetricBatch::default();
    for ((labels, kind), value) in series.iter().zip(values) {
        let index = batch.add_series(labels.clone());
        for step in steps.clone() {
            match kind {
                Kind::Counter => *value += random.below(50) as f64,
                Kind::Gauge => *value = random.below(100_000) as f64 / 100.0,
                Kind::Constant => {}
            }
            let time = Millis(start + step as i64 * STEP_MS);
            batch.samples.push(Sample { series: index, time, value: *value });
        }
    }
    batch
}

/// What a query cost and what it gave.
struct Asked {
    p50_ms: f64,
    cpu_ms: f64,
    body: Vec<u8>,
}

/// What Debian's Prometheus makes of the same, query by query; nothing where it is not wanted.
fn ask_prometheus(load: &Load, end: i64) -> Result<Vec<Asked>, Failure> {
    if !Prometheus::is_wanted() {
        return Ok(Vec::new());
    }
    let server = Prometheus::start()?;
    fill(&server.process, &server.listen, load, end)?;
    load.queries.iter().map(|query| ask(&server.process, &server.listen, query, end / 1000)).collect()
}

fn ask_all(server: &Kenning, load: &Load, end: i64, state: &str, peer: &[Asked]) -> Vec<Row> {
    let row = |(at, query): (usize, &Query)| {
        let asked = ask(&server.process, &server.listen, query, end / 1000);
        let result = asked.and_then(|asked| describe(&asked, peer.get(at)));
        Row {
            work: format!("{} `{}`, {}, {state}", query.name, query.text, load.name),
            result: result.unwrap_or_else(|error| format!("failed: {error}")),
        }
    };
    load.queries.iter().enumerate().map(row).collect()
}

fn describe(asked: &Asked, peer: Option<&Asked>) -> Result<String, Failure> {
    let Asked { p50_ms, cpu_ms, body } = asked;
    let ours = format!("{p50_ms:.1} ms p50, {cpu_ms:.1} ms CPU, {} bytes", body.len());
    let Some(peer) = peer else { return Ok(ours) };
    let answers = compare::describe(body, &peer.body)?;
    Ok(format!("{ours}; Debian's Prometheus {:.1} ms p50, {:.1} ms CPU; {answers}", peer.p50_ms, peer.cpu_ms))
}

fn ask(process: &Watched, listen: &str, query: &Query, end: i64) -> Result<Asked, Failure> {
    let agent = ureq::Agent::new_with_defaults();
    let base = format!("http://{listen}/api/v1");
    let (text, end) = (query.text, end + ASKED_AFTER);
    let get = || -> Result<Vec<u8>, Failure> {
        let request = match query.what {
            What::Instant => {
                agent.get(format!("{base}/query")).query("query", text).query("time", end.to_string())
            }
            What::Range(width, step) => agent
                .get(format!("{base}/query_range"))
                .query("query", text)
                .query("start", (end - width).to_string())
                .query("end", end.to_string())
                .query("step", step.to_string()),
            What::Series => agent
                .get(format!("{base}/series"))
                .query("match[]", text)
                .query("start", (end - 600).to_string())
                .query("end", end.to_string()),
        };
        let mut answer = request.config().http_status_as_error(false).build().call()?;
        let body = answer.body_mut().with_config().limit(1 << 30).read_to_vec()?;
        if !answer.status().is_success() {
            return Err(format!("{text}: {}", String::from_utf8_lossy(&body)).into());
        }
        Ok(body)
    };
    let body = get()?;
    let (mut walls, mut least) = (Vec::new(), f64::INFINITY);
    for _ in 0..ROUNDS {
        let cpu = process.cpu_seconds()?;
        for _ in 0..RUNS {
            let started = Instant::now();
            get()?;
            walls.push(started.elapsed().as_secs_f64() * 1000.0);
        }
        least = least.min(process.cpu_seconds()? - cpu);
    }
    Ok(Asked { p50_ms: median(walls), cpu_ms: least * 1000.0 / RUNS as f64, body })
}

const HOUR: i64 = 3600;

/// 10 000 series over six hours: requests and their durations by path, processors by mode, gauges, constants.
fn ten_thousand() -> Load {
    let mut series = Vec::new();
    let zone = |n: usize| format!("zone-{}", n % 4);
    for n in 0..1600 {
        let (path, code, instance) = (n % 20, [200, 201, 400, 500][n / 20 % 4], n / 80);
        series.push((
            labels(
                "http_requests_total",
                "api",
                instance,
                &[
                    ("path", format!("/api/v1/path{path}")),
                    ("code", code.to_string()),
                    ("zone", zone(instance)),
                ],
            ),
            Kind::Counter,
        ));
    }
    let bounds =
        ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "30", "60", "+Inf"];
    for n in 0..2800 {
        let (bound, path, instance) = (bounds[n % 14], n / 14 % 10, n / 140);
        series.push((
            labels(
                "http_request_duration_seconds_bucket",
                "api",
                instance,
                &[
                    ("le", bound.to_owned()),
                    ("path", format!("/api/v1/path{path}")),
                    ("zone", zone(instance)),
                ],
            ),
            Kind::Counter,
        ));
    }
    let modes = ["idle", "user", "system", "iowait", "irq", "softirq", "steal"];
    for n in 0..1400 {
        let (mode, cpu, instance) = (modes[n % 7], n / 7 % 10, n / 70);
        let rest = [("cpu", cpu.to_string()), ("mode", mode.to_owned()), ("zone", zone(instance))];
        series.push((labels("node_cpu_seconds_total", "node", instance, &rest), Kind::Counter));
    }
    for n in 0..200 {
        let rest = [("device", format!("sd{}", n / 20)), ("zone", zone(n))];
        series.push((labels("node_network_receive_bytes_total", "node", n % 20, &rest), Kind::Counter));
        series.push((labels("node_memory_available_bytes", "node", n, &[("zone", zone(n))]), Kind::Gauge));
    }
    for n in 0..3600 {
        let kind = if n % 3 == 0 { Kind::Gauge } else { Kind::Constant };
        let name = format!("node_misc_{}", n / 100);
        series.push((labels(&name, "node", n % 100, &[("zone", zone(n))]), kind));
    }
    let query = |name, text, what| Query { name, text, what };
    Load {
        name: "10 000 series x 1440 steps",
        series,
        steps: 1440,
        queries: vec![
            query("I1", "sum by(job)(rate(http_requests_total[5m]))", What::Instant),
            query("R1", "sum by(path)(rate(http_requests_total[5m]))", What::Range(HOUR, 15)),
            query(
                "R2",
                "histogram_quantile(0.99, sum by(le,path)(rate(http_request_duration_seconds_bucket[5m])))",
                What::Range(HOUR, 15),
            ),
            query("R3", "sum by(instance)(rate(node_cpu_seconds_total[5m]))", What::Range(6 * HOUR, 60)),
            query(
                "R4",
                "sum by(zone)(rate({__name__=~\"http_request.*|node_.*_total\"}[5m]))",
                What::Range(HOUR, 15),
            ),
            query("R5", "node_memory_available_bytes{instance=\"host-7:9100\"}", What::Range(6 * HOUR, 15)),
            query("R6", "max_over_time(node_memory_available_bytes[30m])", What::Range(6 * HOUR, 60)),
        ],
    }
}

/// 200 000 series of ten minutes.
fn two_hundred_thousand() -> Load {
    let mut series = Vec::new();
    for n in 0..200_000 {
        let (name, kind) = match n % 25 {
            0..4 => ("http_requests_total".to_owned(), Kind::Counter),
            m => (format!("app_metric_{m}"), if m % 2 == 0 { Kind::Gauge } else { Kind::Counter }),
        };
        let rest = [
            ("path", format!("/api/v1/path{}", n / 25 % 40)),
            ("pod", format!("pod-{:05}", n / 50)),
            ("shard", (n % 50).to_string()),
        ];
        series.push((labels(&name, "app", n / 500, &rest), kind));
    }
    let query = |name, text, what| Query { name, text, what };
    Load {
        name: "200 000 series x 40 steps",
        series,
        steps: 40,
        queries: vec![
            query("I3", "count({__name__=~\".+\"})", What::Instant),
            query("R7", "sum by(path)(rate(http_requests_total[5m]))", What::Range(540, 15)),
            query("M2", "{__name__=\"app_metric_7\",instance=~\"host-[12].*\"}", What::Series),
        ],
    }
}

fn labels(name: &str, job: &str, instance: usize, rest: &[(&str, String)]) -> LabelSet {
    let mut pairs = vec![("__name__", name.to_owned()), ("job", job.to_owned())];
    pairs.push(("instance", format!("host-{instance}:9100")));
    pairs.extend(rest.iter().cloned());
    LabelSet::from_pairs(pairs)
}
