//! Writes with one id are there together or not at all, also when the log is torn in the middle of them.

use std::path::Path;
use std::sync::Arc;

use kenning_model::{
    Batch, BatchId, Filter, Flow, LabelSet, LogBatch, LogRow, MetricBatch, Millis, Nanos, Sample, Scan,
    Severity, SpanId, Store, Table, TenantId, TimeRange, TraceId, Write,
};
use kenning_stdx::clock::SimClock;
use kenning_stdx::random::Random;
use kenning_stdx::vfs::{RealVfs, Vfs};
use kenning_store::{Engine, Options};

fn engine(dir: &Path) -> Engine {
    let vfs = Arc::new(RealVfs::open(dir).unwrap());
    let options = Options { flush_bytes: 1 << 20, ..Options::default() };
    Engine::open(vfs, Arc::new(SimClock::new(1_000)), Random::seeded(1), options).unwrap()
}

fn write(id: u64, tenant: &str, line: &str) -> Write {
    let (mut batch, labels) = (LogBatch::default(), LabelSet::from_pairs([("a", "b")]));
    let stream = batch.add_stream(labels.clone());
    let row = LogRow {
        stream: &labels,
        time: Nanos(id as i64),
        severity: Severity::UNKNOWN,
        trace_id: TraceId::NONE,
        span_id: SpanId::NONE,
        line,
        metadata: &LabelSet::empty(),
    };
    batch.push(stream, row);
    Write { id: BatchId(id), tenant: TenantId::parse(tenant).unwrap(), batch: Batch::Logs(batch) }
}

fn rows(engine: &Engine, tenant: &str) -> usize {
    let tenant = TenantId::parse(tenant).unwrap();
    let mut rows = 0;
    let mut sink = |block| {
        if let kenning_model::Block::Logs(batch) = block {
            rows += batch.len();
        }
        Flow::More
    };
    engine.scan(&Scan::rows(tenant, Table::Logs, TimeRange::ALL, Filter::All), &mut sink).unwrap();
    rows
}

#[test]
fn a_unit_is_replayed_whole() {
    let dir = tempfile::tempdir().unwrap();
    let first = engine(dir.path());
    let unit = [write(1, "a", "one"), write(2, "a", "two"), write(2, "b", "two"), write(3, "a", "three")];
    first.write(&unit).unwrap();
    first.write(&unit).unwrap();
    assert_eq!((rows(&first, "a"), rows(&first, "b"), first.last_batch_id()), (3, 1, BatchId(3)));
    drop(first);
    let second = engine(dir.path());
    assert_eq!((rows(&second, "a"), rows(&second, "b"), second.last_batch_id()), (3, 1, BatchId(3)));
}

#[test]
fn a_torn_unit_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let first = engine(dir.path());
    first.write(&[write(1, "a", "one")]).unwrap();
    let mark = "the last line of the unit";
    first.write(&[write(2, "a", "two"), write(2, "b", mark)]).unwrap();
    drop(first);
    let vfs = RealVfs::open(dir.path()).unwrap();
    let mut torn = 0;
    for name in vfs.list(Path::new("wal")).unwrap() {
        let path = Path::new("wal").join(name);
        let file = vfs.open(&path).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        let place = bytes.windows(mark.len()).position(|window| window == mark.as_bytes());
        if let Some(place) = place {
            file.write_all_at(&[0; 5], place as u64 + 5).unwrap();
            torn += 1;
        }
    }
    assert_eq!(torn, 1);
    let second = engine(dir.path());
    assert_eq!((rows(&second, "a"), rows(&second, "b")), (1, 0));
}

#[test]
fn samples_that_meet_another_value_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(dir.path());
    let write = |id: u64, samples: &[(i64, f64)]| {
        let mut batch = MetricBatch::default();
        let series = batch.add_series(LabelSet::from_pairs([("__name__", "a")]));
        let sample = |(time, value): &(i64, f64)| Sample { series, time: Millis(*time), value: *value };
        batch.samples.extend(samples.iter().map(sample));
        Write { id: BatchId(id), tenant: TenantId::default_tenant(), batch: Batch::Metrics(batch) }
    };
    let first = write(1, &[(1, 1.0), (2, 1.0)]);
    assert_eq!(engine.write_told(&[first.clone(), write(2, &[(2, 1.0)])]).unwrap(), [0, 0]);
    let (same, other) = (write(3, &[(2, 1.0), (3, 1.0)]), write(4, &[(3, 2.0), (3, 3.0), (4, 1.0)]));
    assert_eq!(engine.write_told(&[first, same, other]).unwrap(), [0, 0, 2]);
}
