//! Log lines over OTLP/HTTP protobuf: JSON lines of about 300 bytes a thousand a request, each request of one stream
//! drawn from 2000.

use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use kenning_model::{LabelSet, LogBatch, LogRow, Nanos, Severity, SpanId, TraceId};
use kenning_stdx::random::Random;
use kenning_wire::otlp::encode_logs;

use crate::process::{Kenning, post_all};
use crate::{Failure, Row};

const REQUESTS: usize = 600;
const LINES_PER_REQUEST: usize = 1_000;
const STREAMS: u64 = 2_000;

pub fn measure(binary: &Path) -> Result<Vec<Row>, Failure> {
    let mut random = Random::seeded(7);
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as i64;
    let (mut bodies, mut raw) = (Vec::new(), 0);
    for request in 0..REQUESTS {
        let batch = batch(&mut random, now - (REQUESTS - request) as i64 * 1_000_000_000);
        raw += batch.line.text_bytes();
        bodies.push(encode_logs(&batch));
    }
    let server = Kenning::start(binary, None)?;
    server.process.settle()?;
    let (cpu, start) = (server.process.cpu_seconds()?, Instant::now());
    post_all(&format!("http://{}/v1/logs", server.otlp_http), "application/x-protobuf", &bodies)?;
    let wall = start.elapsed().as_secs_f64();
    server.process.settle()?;
    let cpu = server.process.cpu_seconds()? - cpu;
    let gigabytes = raw as f64 / 1e9;
    let lines = REQUESTS * LINES_PER_REQUEST;
    Ok(vec![Row {
        work: format!(
            "{lines} log lines, {:.0} MB raw, OTLP/HTTP, acknowledged after sync",
            raw as f64 / 1e6
        ),
        result: format!(
            "{:.1} CPU s per GB, {:.0} MB/s, peak {:.0} MiB resident",
            cpu / gigabytes,
            gigabytes * 1000.0 / wall,
            server.process.memory_mib("VmHWM")?
        ),
    }])
}

fn batch(random: &mut Random, start: i64) -> LogBatch {
    let mut batch = LogBatch::default();
    let empty = LabelSet::empty();
    let service = format!("service-{}", random.below(STREAMS / 100));
    let host = format!("host-{}", random.below(100));
    let labels = LabelSet::from_pairs([("service_name", service.as_str()), ("host_name", &host)]);
    let stream = batch.add_stream(labels.clone());
    for line in 0..LINES_PER_REQUEST {
        let level = ["INFO", "INFO", "INFO", "WARN", "ERROR"][random.below(5) as usize];
        let text = format!(
            "{{\"level\":\"{level}\",\"service\":\"{service}\",\"message\":\"request processed\",\"method\":\"POST\",\
             \"path\":\"/api/v1/items/{}\",\"status\":{},\"duration_ms\":{}.{},\"user_id\":\"user-{}\",\
             \"trace_id\":\"{:016x}{:016x}\",\"request_id\":\"{:016x}\",\"region\":\"eu-west-1\"}}",
            random.below(10_000),
            [200, 201, 400, 500][random.below(4) as usize],
            random.below(900),
            random.below(1000),
            random.below(100_000),
            random.next_u64(),
            random.next_u64(),
            random.next_u64(),
        );
        batch.push(
            stream,
            LogRow {
                stream: &labels,
                time: Nanos(start + line as i64 * 1_000_000),
                severity: Severity::from_word(level),
                trace_id: TraceId::NONE,
                span_id: SpanId::NONE,
                line: &text,
                metadata: &empty,
            },
        );
    }
    batch
}
