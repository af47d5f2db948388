//! The engine on this machine's own disk, clock and threads.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use common::{Chance, EPOCH_MS, ask};
use kenning_model::{
    Batch, BatchId, Filter, LabelSet, LogBatch, LogRow, METRIC_NAME, MetricBatch, Millis, Nanos, Sample,
    Scan, Severity, SpanId, Store, Table, TenantId, TimeRange, TraceId, Write,
};
use kenning_query::MemoryStore;
use kenning_stdx::clock::SystemClock;
use kenning_stdx::random::Random;
use kenning_stdx::vfs::RealVfs;
use kenning_store::wal::WalOptions;
use kenning_store::{Engine, OpenError, Options};

fn open(folder: &std::path::Path) -> Result<Engine, OpenError> {
    let wal = WalOptions { segment_bytes: 1 << 20, ..WalOptions::default() };
    let options = Options { wal, merge_parts_min: 2, ..Options::default() };
    let vfs = RealVfs::open(folder).unwrap();
    Engine::open(Arc::new(vfs), Arc::new(SystemClock::new()), Random::from_os(), options)
}

fn all(table: Table) -> Scan {
    Scan::rows(TenantId::default_tenant(), table, TimeRange::ALL, Filter::All)
}

fn write(store: &dyn Store, id: u64, batch: Batch) {
    store.write(&[Write { id: BatchId(id), tenant: TenantId::default_tenant(), batch }]).unwrap();
}

#[test]
fn what_is_written_is_read_back_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (oracle, mut chance) = (MemoryStore::new(), Chance::new(5));
    let mut engine = open(folder.path()).unwrap();
    assert!(matches!(open(folder.path()), Err(OpenError::Dir(_))), "a second owner is refused");
    for id in 1..=12 {
        let batch = chance.batch();
        write(&oracle, id, batch.clone());
        write(&engine, id, batch);
        match id {
            3 | 6 => assert!(engine.flush().unwrap()),
            7 => assert!(engine.maintain().unwrap().merged >= 2),
            9 => {
                drop(engine);
                engine = open(folder.path()).unwrap();
            }
            _ => {}
        }
    }
    for table in [Table::Samples, Table::Exemplars, Table::Metadata, Table::Logs, Table::Spans] {
        let expect = ask(&oracle, &all(table)).unwrap().0;
        assert_eq!(ask(&engine, &all(table)).unwrap().0, expect, "{table:?}");
    }
    assert_eq!(engine.stats().startup.replay.records, 3);
}

fn one_line(id: u64) -> Batch {
    let mut batch = LogBatch::default();
    let (stream, line) = (LabelSet::from_pairs([("app", "x")]), id.to_string());
    batch.add_stream(stream.clone());
    let row = LogRow {
        stream: &stream,
        time: Nanos(EPOCH_MS * 1_000_000 + id as i64),
        severity: Severity::INFO,
        trace_id: TraceId::NONE,
        span_id: SpanId::NONE,
        line: &line,
        metadata: &LabelSet::empty(),
    };
    batch.push(0, row);
    Batch::Logs(batch)
}

/// Scans that run while heads turn into parts and parts into fewer see every acknowledged record, once, in order.
#[test]
fn scans_see_everything_once_while_data_moves() {
    const WRITES: u64 = 400;
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path()).unwrap();
    let (acknowledged, done) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            for id in 1..=WRITES {
                write(&engine, id, one_line(id));
                acknowledged.store(id, Ordering::SeqCst);
            }
            done.store(true, Ordering::SeqCst);
        });
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                engine.flush().unwrap();
                engine.maintain().unwrap();
                assert!(engine.stats().quarantined.is_empty());
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    let before = acknowledged.load(Ordering::SeqCst);
                    let (lines, summary) = ask(&engine, &all(Table::Logs)).unwrap();
                    assert_eq!(summary.missing, [""; 0]);
                    assert!(lines.len() as u64 >= before, "{} of {before}", lines.len());
                    let in_order =
                        lines.iter().zip(1..).all(|(line, id)| line.contains(&format!("line: \"{id}\"")));
                    assert!(in_order, "{lines:?}");
                }
            });
        }
    });
}

/// A snapshot taken while writes go on opens as a data directory that holds a prefix of them.
#[test]
fn a_snapshot_under_load_restores_a_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path()).unwrap();
    let (acknowledged, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let mut promised = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            for id in 1..u64::MAX {
                write(&engine, id, one_line(id));
                acknowledged.store(id, Ordering::SeqCst);
                if done.load(Ordering::SeqCst) {
                    break;
                }
            }
        });
        for name in ["a", "b", "c"] {
            while acknowledged.load(Ordering::SeqCst) < 20 * (promised.len() as u64 + 1) {
                thread::yield_now();
            }
            promised.push((name, acknowledged.load(Ordering::SeqCst)));
            engine.snapshot(name, true).unwrap();
            engine.maintain().unwrap();
        }
        done.store(true, Ordering::SeqCst);
    });
    assert!(engine.snapshot("a", true).is_err(), "a name is used once");
    drop(engine);
    for (name, promised) in promised {
        let restored = open(&folder.path().join("snapshots").join(name)).unwrap();
        let (lines, summary) = ask(&restored, &all(Table::Logs)).unwrap();
        assert_eq!(summary.missing, [""; 0]);
        assert!(lines.len() as u64 >= promised, "{} of {promised}", lines.len());
        assert_eq!(restored.last_batch_id().0, lines.len() as u64);
        let in_order = lines.iter().zip(1..).all(|(line, id)| line.contains(&format!("line: \"{id}\"")));
        assert!(in_order, "{lines:?}");
        write(&restored, lines.len() as u64 + 1, one_line(0));
    }
}

/// The bar is 500 bytes for an active series; most of it is the text of its labels.
#[test]
fn an_active_series_costs_little() {
    const SERIES: u64 = 5_000;
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path()).unwrap();
    for scrape in 0..40 {
        let mut batch = MetricBatch::default();
        for number in 0..SERIES {
            let labels = [
                (METRIC_NAME, "http_requests_total".to_owned()),
                ("instance", "10.0.0.1:9090".to_owned()),
                ("job", "api-server".to_owned()),
                ("path", format!("/api/v1/things/{number}")),
                ("status", "200".to_owned()),
            ];
            let series = batch.add_series(LabelSet::from_pairs(labels));
            let time = Millis(EPOCH_MS + scrape * 15_000);
            batch.samples.push(Sample { series, time, value: (number * 3 + scrape as u64 * 7) as f64 });
        }
        write(&engine, scrape as u64 + 1, Batch::Metrics(batch));
    }
    let stats = engine.stats();
    assert_eq!(stats.active_series, SERIES);
    assert!(stats.head_bytes / SERIES <= 620, "{} bytes a series", stats.head_bytes / SERIES);
    engine.flush().unwrap();
    let samples = engine.stats().tables[0];
    assert_eq!(samples.rows, 40 * SERIES);
    assert!(samples.bytes <= 2 * samples.rows, "{} bytes for {} samples", samples.bytes, samples.rows);
}
