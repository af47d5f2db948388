//! Spans over OTLP/HTTP protobuf: traces of 8 spans with 10 attributes each, 400 spans a request.

use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use kenning_model::{Attributes, Nanos, Span, SpanBatch, SpanId, SpanKind, SpanSource, TraceId, Value};
use kenning_stdx::random::Random;
use kenning_wire::otlp::encode_traces;

use crate::process::{Kenning, median, post_all};
use crate::{Failure, Row};

const REQUESTS: usize = 500;
const TRACES_PER_REQUEST: usize = 50;
const SPANS_PER_TRACE: usize = 8;
const LOOK_UPS: usize = 100;

pub fn measure(binary: &Path) -> Result<Vec<Row>, Failure> {
    let mut random = Random::seeded(11);
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as i64;
    let mut ids = Vec::new();
    let bodies: Vec<_> = (0..REQUESTS).map(|_| encode_traces(&batch(&mut random, now, &mut ids))).collect();
    let server = Kenning::start(binary, None)?;
    server.process.settle()?;
    let (cpu, start) = (server.process.cpu_seconds()?, Instant::now());
    post_all(&format!("http://{}/v1/traces", server.otlp_http), "application/x-protobuf", &bodies)?;
    let wall = start.elapsed().as_secs_f64();
    server.process.settle()?;
    let cpu = server.process.cpu_seconds()? - cpu;
    let spans = (REQUESTS * TRACES_PER_REQUEST * SPANS_PER_TRACE) as f64;
    let peak = server.process.memory_mib("VmHWM")?;
    Ok(vec![
        Row {
            work: format!("{spans} spans, 10 + 5 attributes, OTLP/HTTP, acknowledged after sync"),
            result: format!(
                "{:.1} CPU s per million spans, {:.0} k spans/s, peak {peak:.0} MiB resident",
                cpu / spans * 1e6,
                spans / wall / 1e3
            ),
        },
        Row { work: "trace by id, p50".into(), result: format!("{:.1} ms", look_up(&server, &ids)?) },
    ])
}

fn look_up(server: &Kenning, ids: &[TraceId]) -> Result<f64, Failure> {
    let agent = ureq::Agent::new_with_defaults();
    let mut times = Vec::new();
    for id in ids.iter().step_by((ids.len() / LOOK_UPS).max(1)) {
        let start = Instant::now();
        agent
            .get(format!("http://{}/ds/jaeger/api/traces/{id}", server.listen))
            .call()?
            .body_mut()
            .read_to_vec()?;
        times.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(median(times))
}

fn batch(random: &mut Random, now: i64, ids: &mut Vec<TraceId>) -> SpanBatch {
    let mut batch = SpanBatch::default();
    let resource: Attributes = (0..5)
        .map(|place| {
            (["service.name", "host.name", "cloud.region", "k8s.pod.name", "service.version"][place], place)
        })
        .map(|(key, place)| (key, Value::Str(format!("value-{}", random.below(20) + place as u64))))
        .collect();
    let source = batch.add_source(Arc::new(SpanSource { resource, ..SpanSource::default() }));
    for _ in 0..TRACES_PER_REQUEST {
        let mut id = [0u8; 16];
        id[..8].copy_from_slice(&random.next_u64().to_be_bytes());
        id[8..].copy_from_slice(&random.next_u64().to_be_bytes());
        ids.push(TraceId(id));
        let mut parent = SpanId::NONE;
        for depth in 0..SPANS_PER_TRACE {
            let span_id = SpanId(random.next_u64().to_be_bytes());
            let start = now - 60_000_000_000 + (random.below(50_000) * 1_000_000) as i64;
            batch.spans.push(Span {
                trace_id: TraceId(id),
                span_id,
                parent_span_id: parent,
                name: format!("operation-{}", random.below(50)),
                kind: SpanKind::from_number(1 + (depth as u64 % 5)),
                start: Nanos(start),
                end: Nanos(start + (random.below(200) * 1_000_000) as i64),
                attributes: attributes(random),
                source,
                ..Span::default()
            });
            parent = span_id;
        }
    }
    batch
}

fn attributes(random: &mut Random) -> Attributes {
    const KEYS: [&str; 10] = [
        "http.request.method",
        "http.route",
        "http.response.status_code",
        "url.path",
        "user.id",
        "db.system",
        "db.statement",
        "net.peer.name",
        "thread.id",
        "messaging.destination",
    ];
    let value = |place: usize, random: &mut Random| match place {
        2 | 8 => Value::Int(random.below(600) as i64),
        _ => Value::Str(format!("value-of-{}", random.below(1_000))),
    };
    KEYS.iter().enumerate().map(|(place, key)| (*key, value(place, random))).collect()
}
