//! Remote write 1.0 at full speed: 10 000 series for six hours (`m10k`) and 200 000 series for ten minutes (`m200k`),
//! then what is left on disk, what a kill costs, and how long a start takes.
//!
//! `BENCH_STEPS` shortens the run; `BENCH_PROMETHEUS=1` sends the same load to Debian's Prometheus.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::node_mix::{BATCH_SAMPLES, NodeMix, STEP_MS};
use crate::process::{Kenning, Prometheus, Watched, folder_bytes, median};
use crate::{Failure, Row};

const CONNECTIONS: usize = 2;
/// Wait for a server to take its first write.
const READY_MAX: Duration = Duration::from_secs(60);
const VISIBLE_ROUNDS: usize = 101;

struct Shape {
    name: &'static str,
    series: usize,
    steps: usize,
}

impl Shape {
    fn new(name: &'static str, series: usize, steps: usize) -> Self {
        let steps = std::env::var("BENCH_STEPS").ok().and_then(|text| text.parse().ok()).unwrap_or(steps);
        Self { name, series, steps }
    }

    fn samples(&self) -> f64 {
        (self.series * self.steps) as f64
    }
}

/// A load that ends now.
struct Load {
    bodies: Vec<Vec<u8>>,
    start_ms: i64,
    end_ms: i64,
}

/// The present in milliseconds.
pub fn now_ms() -> Result<i64, Failure> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64)
}

fn load(shape: &Shape) -> Result<Load, Failure> {
    let mut mix = NodeMix::new(shape.series, "");
    let end_ms = now_ms()? / STEP_MS * STEP_MS;
    let start_ms = end_ms - (shape.steps as i64 - 1) * STEP_MS;
    let bodies = (0..shape.steps).flat_map(|step| mix.step(start_ms + step as i64 * STEP_MS)).collect();
    Ok(Load { bodies, start_ms, end_ms })
}

/// 10 000 series, 1440 steps of 15 s.
pub fn m10k(binary: &Path) -> Result<Vec<Row>, Failure> {
    let shape = Shape::new("m10k", 10_000, 1440);
    let load = load(&shape)?;
    let mut rows = Vec::new();
    let dir = tempfile::tempdir()?;
    let server = Kenning::start_in(binary, dir.path(), None, &[])?;
    let sent =
        send_measured(&shape, &load, &server.process, &format!("http://{}/api/v1/write", server.listen))?;
    rows.extend(sent.rows(&shape, "Kenning"));
    rows.push(row(&shape, "acknowledged to visible, p50", format!("{:.2} ms", visible(&server)?)));
    let (cpu, bytes) = settle_on_disk(binary, dir.path(), server)?;
    rows.push(row(
        &shape,
        "on disk after flush and merge, index included",
        format!("{:.3} bytes/sample", bytes as f64 / shape.samples()),
    ));
    rows.push(row(
        &shape,
        "CPU with the flush and merge of a stop and a start",
        format!("{:.3} s per million samples", (sent.cpu + cpu) / shape.samples() * 1e6),
    ));
    rows.extend(prometheus(&shape, &load, &sent)?);
    Ok(rows)
}

/// 200 000 series, 40 steps of 15 s, then SIGKILL and a start.
pub fn m200k(binary: &Path) -> Result<Vec<Row>, Failure> {
    let shape = Shape::new("m200k", 200_000, 40);
    let load = load(&shape)?;
    let dir = tempfile::tempdir()?;
    let server = Kenning::start_in(binary, dir.path(), None, &[])?;
    let idle = server.process.memory_mib("VmRSS")?;
    let sent =
        send_measured(&shape, &load, &server.process, &format!("http://{}/api/v1/write", server.listen))?;
    let mut rows = sent.rows(&shape, "Kenning");
    let per_series = (sent.rss - idle) * 1024.0 / shape.series as f64;
    rows.push(row(&shape, "memory per active series", format!("{per_series:.2} KiB")));
    server.process.kill_hard()?;
    drop(server);
    let started = Instant::now();
    let server = Kenning::start_in(binary, dir.path(), None, &[])?;
    let extra = NodeMix::new(1, "-after").step(now_ms()?);
    let url = format!("http://{}/api/v1/write", server.listen);
    while let Err(error) = post_lanes(&url, &extra) {
        if started.elapsed() > READY_MAX {
            return Err(error);
        }
    }
    let accepts = started.elapsed().as_secs_f64();
    let ready = format!("http://{}/-/ready", server.listen);
    while ureq::get(&ready).call()?.body_mut().read_to_string()?.contains("replaying") {
        std::thread::sleep(Duration::from_millis(2));
    }
    let replayed = started.elapsed().as_secs_f64();
    let replay_cpu = server.process.cpu_seconds()?;
    let expect = shape.series * shape.steps;
    let mut stored = count(&server, &load)?;
    while stored < expect as f64 && started.elapsed() < READY_MAX {
        stored = count(&server, &load)?;
    }
    let complete = started.elapsed().as_secs_f64();
    rows.push(row(&shape, "start after SIGKILL: first write accepted", format!("{accepts:.2} s")));
    rows.push(row(
        &shape,
        "start after SIGKILL: log read back",
        format!("{replayed:.2} s, {replay_cpu:.2} CPU s of the server"),
    ));
    rows.push(row(&shape, "start after SIGKILL: everything found by a query", format!("{complete:.2} s")));
    // The one series of after the start is counted too.
    let lost = (expect as f64 - stored).max(0.0);
    rows.push(row(&shape, "acknowledged and lost by SIGKILL", format!("{lost:.0} of {expect} samples")));
    let (_, bytes) = settle_on_disk(binary, dir.path(), server)?;
    rows.push(row(
        &shape,
        "on disk after flush and merge, index included",
        format!("{:.3} bytes/sample", bytes as f64 / shape.samples()),
    ));
    rows.extend(prometheus(&shape, &load, &sent)?);
    Ok(rows)
}

fn row(shape: &Shape, work: &str, result: String) -> Row {
    Row { work: format!("{} ({} series x {}): {work}", shape.name, shape.series, shape.steps), result }
}

struct Sent {
    cpu: f64,
    wall: f64,
    ack_ms: f64,
    rss: f64,
    peak: f64,
    wire: usize,
}

impl Sent {
    fn rows(&self, shape: &Shape, who: &str) -> Vec<Row> {
        let Self { cpu, wall, ack_ms, rss, peak, wire } = self;
        let samples = shape.samples();
        vec![row(
            shape,
            who,
            format!(
                "{:.3} CPU s per million samples, {:.0} k samples/s, ack p50 {ack_ms:.1} ms, {rss:.0} MiB at the \
                 end, peak {peak:.0} MiB, {:.1} B/sample on the wire",
                cpu / samples * 1e6,
                samples / wall / 1e3,
                *wire as f64 / samples
            ),
        )]
    }
}

fn send_measured(shape: &Shape, load: &Load, process: &Watched, url: &str) -> Result<Sent, Failure> {
    process.settle()?;
    let (cpu, start) = (process.cpu_seconds()?, Instant::now());
    let times = post_lanes(url, &load.bodies)?;
    let wall = start.elapsed().as_secs_f64();
    process.settle()?;
    let cpu = process.cpu_seconds()? - cpu;
    debug_assert_eq!(load.bodies.len(), shape.steps * shape.series.div_ceil(BATCH_SAMPLES));
    Ok(Sent {
        cpu,
        wall,
        ack_ms: median(times),
        rss: process.memory_mib("VmRSS")?,
        peak: process.memory_mib("VmHWM")?,
        wire: load.bodies.iter().map(Vec::len).sum(),
    })
}

/// Posts one request; gives the status.
pub fn push(url: &str, body: &[u8]) -> Result<u16, Failure> {
    let request = ureq::post(url).config().http_status_as_error(false).build();
    let request =
        request.header("content-type", "application/x-protobuf").header("content-encoding", "snappy");
    Ok(request.header("x-prometheus-remote-write-version", "0.1.0").send(body)?.status().as_u16())
}

/// Samples from one time to another that queries find of the mix with this salt.
pub fn count_of(server: &Kenning, salt: &str, start_ms: i64, end_ms: i64) -> Result<f64, Failure> {
    let seconds = (end_ms - start_ms) / 1000 + 1;
    let mut sum = 0.0;
    for metric in NodeMix::metrics() {
        let selector = format!("{metric}{{instance=~\"node-.....{salt}[.].*\"}}");
        sum += query(server, &format!("sum(count_over_time({selector}[{seconds}s]))"), end_ms)?;
    }
    Ok(sum)
}

/// Posts over kept connections, each with its own share in order; gives the times to the answers in milliseconds.
fn post_lanes(url: &str, bodies: &[Vec<u8>]) -> Result<Vec<f64>, Failure> {
    std::thread::scope(|scope| {
        let lane = |lane: usize| {
            scope.spawn(move || {
                let agent = ureq::Agent::new_with_defaults();
                let mut times = Vec::new();
                for body in bodies.iter().skip(lane).step_by(CONNECTIONS) {
                    let started = Instant::now();
                    let request = agent.post(url).header("content-type", "application/x-protobuf");
                    let request = request.header("content-encoding", "snappy");
                    let request = request.header("x-prometheus-remote-write-version", "0.1.0");
                    request.send(&body[..]).map_err(|error| error.to_string())?;
                    times.push(started.elapsed().as_secs_f64() * 1000.0);
                }
                Ok::<_, String>(times)
            })
        };
        let lanes: Vec<_> = (0..CONNECTIONS).map(lane).collect();
        let mut times = Vec::new();
        for lane in lanes {
            times.extend(lane.join().map_err(|_| "a sender panicked")??);
        }
        Ok(times)
    })
}

/// The number that an instant query gives, zero for none.
fn query(server: &Kenning, query: &str, at_ms: i64) -> Result<f64, Failure> {
    let request = ureq::get(format!("http://{}/ds/prometheus/api/v1/query", server.listen));
    let request = request.query("query", query).query("time", format!("{}", at_ms as f64 / 1000.0));
    let answer: Value = serde_json::from_str(&request.call()?.body_mut().read_to_string()?)?;
    let value = answer.pointer("/data/result/0/value/1").and_then(Value::as_str).unwrap_or("0");
    Ok(value.parse()?)
}

/// Samples of the load that queries find.
fn count(server: &Kenning, load: &Load) -> Result<f64, Failure> {
    let seconds = (load.end_ms - load.start_ms) / 1000 + 1;
    let mut sum = 0.0;
    for metric in NodeMix::metrics() {
        sum += query(server, &format!("sum(count_over_time({metric}[{seconds}s]))"), load.end_ms)?;
    }
    Ok(sum)
}

/// Milliseconds from an acknowledgement to the sample in an answer, the middle of many.
fn visible(server: &Kenning) -> Result<f64, Failure> {
    let url = format!("http://{}/api/v1/write", server.listen);
    let mut mix = NodeMix::new(1, "-visible");
    let metric = "{instance=~\"node-00000-visible.*\"}";
    let mut times = Vec::new();
    for round in 0..VISIBLE_ROUNDS {
        let time = now_ms()?;
        post_lanes(&url, &mix.step(time))?;
        let acknowledged = Instant::now();
        while query(server, &format!("count(count_over_time({metric}[1ms]))"), time)? < 1.0 {
            if acknowledged.elapsed() > READY_MAX {
                return Err(format!("sample {round} was acknowledged and never shown").into());
            }
        }
        times.push(acknowledged.elapsed().as_secs_f64() * 1000.0);
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(median(times))
}

/// Stops the server, which flushes, starts it again, which merges, and stops it. Gives the CPU seconds of both and the
/// bytes of all parts.
fn settle_on_disk(binary: &Path, dir: &Path, server: Kenning) -> Result<(f64, u64), Failure> {
    let before = server.process.cpu_seconds()?;
    let stopped = server.process.stop()? - before;
    let server = Kenning::start_in(binary, dir, None, &[])?;
    std::thread::sleep(Duration::from_secs(12));
    server.process.settle()?;
    let merged = server.process.stop()?;
    Ok((stopped + merged, folder_bytes(&dir.join("data/parts"))))
}

/// The same load to Debian's Prometheus, when that is wanted.
fn prometheus(shape: &Shape, load: &Load, ours: &Sent) -> Result<Vec<Row>, Failure> {
    if !Prometheus::is_wanted() {
        return Ok(Vec::new());
    }
    let server = Prometheus::start()?;
    let theirs =
        send_measured(shape, load, &server.process, &format!("http://{}/api/v1/write", server.listen))?;
    let mut rows = theirs.rows(shape, "Debian's Prometheus 2.42");
    rows.push(row(shape, "ratio of CPU, Kenning to Prometheus", format!("{:.2}", ours.cpu / theirs.cpu)));
    let (bytes, samples) = blocks(&server.data)?;
    if samples > 0.0 {
        let result = format!("{:.2} bytes/sample in {samples} samples", bytes as f64 / samples);
        rows.push(row(shape, "Prometheus's blocks so far, index included", result));
    }
    Ok(rows)
}

/// Bytes and samples of the blocks that Prometheus has written; what is in its head is not among them.
fn blocks(data: &Path) -> Result<(u64, f64), Failure> {
    let (mut bytes, mut samples) = (0, 0.0);
    for entry in std::fs::read_dir(data)? {
        let block = entry?.path();
        let Ok(text) = std::fs::read_to_string(block.join("meta.json")) else { continue };
        let meta: Value = serde_json::from_str(&text)?;
        bytes += folder_bytes(&block);
        samples += meta.pointer("/stats/numSamples").and_then(Value::as_f64).unwrap_or(0.0);
    }
    Ok((bytes, samples))
}
