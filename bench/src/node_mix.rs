//! The metrics load: series like those of a node exporter and a few services, with values that change as such do, as
//! remote write 1.0 requests that are ready to be sent.
//!
//! A fixed seed gives the same bytes each time. The blend follows the load of the peers' measurements: a fifth
//! constants, integer counters, histogram buckets, seconds, bytes, pages, percents, doubles. What a counter counts varies
//! by a quarter from step to step, and the shares lean towards the 3.25 bytes a sample, index included, that
//! Prometheus's blocks took with the peers' load (the benchmark `size` makes such blocks).

use kenning_stdx::random::Random;

/// Samples of one request.
pub const BATCH_SAMPLES: usize = 5000;
/// Milliseconds between two samples of a series.
pub const STEP_MS: i64 = 15_000;

/// How the values of a series change.
#[derive(Clone, Copy)]
enum Change {
    Constant,
    Rare,
    Counter,
    Seconds,
    Bytes,
    Pages,
    Percent,
    Double,
}

/// Parts of a hundred series, with the metrics they belong to.
const BLEND: &[(usize, Change, &[&str])] = &[
    (
        20,
        Change::Constant,
        &["node_filesystem_size_bytes", "node_uname_info", "node_cpu_frequency_max_hertz"],
    ),
    (4, Change::Rare, &["node_network_receive_errs_total", "process_start_time_seconds"]),
    (
        16,
        Change::Counter,
        &["http_requests_total", "node_context_switches_total", "node_disk_reads_completed_total"],
    ),
    (20, Change::Counter, &["http_request_duration_seconds_bucket"]),
    (23, Change::Seconds, &["node_cpu_seconds_total"]),
    (8, Change::Bytes, &["node_network_receive_bytes_total", "node_disk_read_bytes_total"]),
    (3, Change::Pages, &["node_memory_Active_bytes", "node_memory_Cached_bytes"]),
    (4, Change::Percent, &["node_load1", "node_pressure_cpu_waiting_percent"]),
    (2, Change::Double, &["http_request_duration_seconds_sum"]),
];

struct Series {
    pairs: Vec<(&'static str, String)>,
    /// The label fields as they stand in the message.
    labels: Vec<u8>,
    change: Change,
    value: f64,
    rate: u64,
}

/// Writes requests step by step.
pub struct NodeMix {
    series: Vec<Series>,
    random: Random,
}

impl NodeMix {
    /// So many series. `salt` makes their labels differ from those of other mixes.
    pub fn new(count: usize, salt: &str) -> Self {
        let mut random = Random::seeded(23);
        let mut series: Vec<Series> =
            (0..count).map(|number| make_series(number, salt, &mut random)).collect();
        // Values start from anywhere, so that the first step does not look like zeros.
        series.iter_mut().for_each(|one| one.value = start_of(one.change, &mut random));
        Self { series, random }
    }

    /// The names of all metrics.
    pub fn metrics() -> impl Iterator<Item = &'static str> {
        BLEND.iter().flat_map(|(_, _, metrics)| metrics.iter().copied())
    }

    /// The labels of all series, sorted by name, in the order of [`Self::values`].
    pub fn labels(&self) -> impl Iterator<Item = &[(&'static str, String)]> {
        self.series.iter().map(|series| series.pairs.as_slice())
    }

    /// The values of one step.
    pub fn values(&mut self) -> impl Iterator<Item = f64> {
        let random = &mut self.random;
        self.series.iter_mut().map(|series| {
            advance(series, random);
            series.value
        })
    }

    /// The requests of one step, all samples at one time.
    pub fn step(&mut self, time_ms: i64) -> Vec<Vec<u8>> {
        let mut requests = Vec::new();
        let mut raw = Vec::new();
        for chunk in self.series.chunks_mut(BATCH_SAMPLES) {
            raw.clear();
            for series in chunk {
                advance(series, &mut self.random);
                put_series(series, time_ms, &mut raw);
            }
            requests.push(snap::raw::Encoder::new().compress_vec(&raw).unwrap_or_default());
        }
        requests
    }
}

fn make_series(number: usize, salt: &str, random: &mut Random) -> Series {
    let mut part = number % 100;
    let (_, change, metrics) = BLEND
        .iter()
        .find(|(parts, _, _)| {
            let found = part < *parts;
            part = part.wrapping_sub(if found { 0 } else { *parts });
            found
        })
        .unwrap_or(&BLEND[0]);
    let metric = metrics[part % metrics.len()];
    let host = number / 500;
    let pairs = vec![
        ("__name__", metric.to_owned()),
        ("cluster", format!("prod-{}", host % 4)),
        ("device", format!("dev{}", number % 500 / 100)),
        ("instance", format!("node-{host:05}{salt}.example.internal:9100")),
        ("job", "node".to_owned()),
        ("le", format!("{}", (part + 1) as f64 * 0.25)),
        ("path", format!("/api/v1/item{}", number % 7)),
    ];
    let mut labels = Vec::new();
    for (name, value) in &pairs {
        labels.push(0x0a);
        labels.push((name.len() + value.len() + 4) as u8);
        for (tag, text) in [(0x0a, *name), (0x12, value.as_str())] {
            labels.extend([tag, text.len() as u8]);
            labels.extend_from_slice(text.as_bytes());
        }
    }
    Series { pairs, labels, change: *change, value: 0.0, rate: 1 + random.below(400) }
}

fn start_of(change: Change, random: &mut Random) -> f64 {
    match change {
        Change::Constant => (random.below(1 << 20) * 4096) as f64,
        Change::Rare | Change::Counter => random.below(5_000_000) as f64,
        Change::Seconds => random.below(500_000_000) as f64 / 100.0,
        Change::Bytes => random.below(1 << 40) as f64,
        Change::Pages => (random.below(1 << 22) * 4096) as f64,
        Change::Percent => random.below(10_000) as f64 / 100.0,
        Change::Double => random.below(1 << 30) as f64 / 7919.0,
    }
}

fn advance(series: &mut Series, random: &mut Random) {
    let cents = |value: f64| (value * 100.0).round();
    series.value = match series.change {
        Change::Constant => series.value,
        Change::Rare => series.value + f64::from(u8::from(random.below(200) == 0)),
        Change::Counter => series.value + (series.rate + random.below(1 + series.rate / 4)) as f64,
        Change::Seconds => {
            let cents_more = series.rate * 3 + random.below(1 + series.rate * 3 / 4);
            (cents(series.value) + cents_more as f64) / 100.0
        }
        Change::Bytes => series.value + (series.rate * 1_000 + random.below(100_000)) as f64,
        Change::Pages => series.value + (random.below(65) as f64 - 32.0) * 4096.0,
        Change::Percent => random.below(10_000) as f64 / 100.0,
        Change::Double => series.value + random.below(1 << 20) as f64 / 7919.0,
    };
}

fn put_series(series: &Series, time_ms: i64, out: &mut Vec<u8>) {
    let mut sample = [0u8; 24];
    sample[0] = 0x09;
    sample[1..9].copy_from_slice(&series.value.to_le_bytes());
    sample[9] = 0x10;
    let end = 10 + put_varint(time_ms as u64, &mut sample[10..]);
    out.push(0x0a);
    let mut length = [0u8; 10];
    let length_bytes = put_varint((series.labels.len() + 2 + end) as u64, &mut length);
    out.extend_from_slice(&length[..length_bytes]);
    out.extend_from_slice(&series.labels);
    out.extend([0x12, end as u8]);
    out.extend_from_slice(&sample[..end]);
}

fn put_varint(mut number: u64, out: &mut [u8]) -> usize {
    let mut at = 0;
    while number >= 0x80 {
        out[at] = number as u8 | 0x80;
        number >>= 7;
        at += 1;
    }
    out[at] = number as u8;
    at + 1
}
