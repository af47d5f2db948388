//! Records of logs on their way from heads into parts: how much of them heads hold, and that parts give back all of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kenning_model::{
    Batch, BatchId, Block, Filter, Flow, LabelSet, LogBatch, LogRow, Nanos, Scan, Severity, SpanId, Store,
    Table, TenantId, TimeRange, TraceId, Write,
};
use kenning_stdx::clock::SimClock;
use kenning_stdx::random::Random;
use kenning_stdx::vfs::sim::SimVfs;
use kenning_store::{Engine, Options};

fn engine(flush_bytes: usize) -> Engine {
    let options = Options { flush_bytes, ..Options::default() };
    let clock = Arc::new(SimClock::new(1_000));
    Engine::open(Arc::new(SimVfs::new(1)), clock, Random::seeded(1), options).unwrap()
}

/// A batch of rows that tell their number.
fn batch(rows: std::ops::Range<usize>, line: impl Fn(usize) -> String) -> LogBatch {
    let (mut batch, labels) = (LogBatch::default(), LabelSet::from_pairs([("app", "a")]));
    let stream = batch.add_stream(labels.clone());
    for row in rows {
        // Sets of different sizes, alike in a row and not; none at all is a set, too.
        let pairs = (0..row / 3 % 5).map(|pair| (format!("key{pair}"), format!("value {}", row / 7 % 50)));
        let metadata = LabelSet::from_pairs(pairs);
        let row = LogRow {
            stream: &labels,
            time: Nanos(row as i64),
            severity: Severity::UNKNOWN,
            trace_id: TraceId::NONE,
            span_id: SpanId::NONE,
            line: &line(row),
            metadata: &metadata,
        };
        batch.push(stream, row);
    }
    batch
}

fn write(engine: &Engine, id: u64, batch: LogBatch) {
    let batch = Batch::Logs(batch);
    engine.write(&[Write { id: BatchId(id), tenant: TenantId::default_tenant(), batch }]).unwrap();
}

/// Lines and metadata of all records, in the order of times.
fn rows(engine: &Engine) -> Vec<(i64, String, LabelSet)> {
    let mut rows = Vec::new();
    let mut sink = |block| {
        if let Block::Logs(batch) = block {
            rows.extend(batch.rows().map(|row| (row.time.0, row.line.to_owned(), row.metadata.clone())));
        }
        Flow::More
    };
    let scan = Scan::rows(TenantId::default_tenant(), Table::Logs, TimeRange::ALL, Filter::All);
    engine.scan(&scan, &mut sink).unwrap();
    rows.sort_by_key(|(time, ..)| *time);
    rows
}

#[test]
fn metadata_of_many_rows_come_back_from_parts() {
    let engine = engine(128 << 20);
    // More than are made columns at once, and than a page has.
    write(&engine, 1, batch(0..20_000, |row| format!("line {row}")));
    let before = rows(&engine);
    assert_eq!(before.len(), 20_000);
    assert!(engine.flush().unwrap());
    assert_eq!(rows(&engine), before);
}

#[test]
fn heads_of_logs_hold_half_as_much_again_as_is_flushed() {
    let engine = engine(800 << 10);
    let due = 300 << 10;
    for id in 0..200 {
        let from = id as usize * 20;
        write(&engine, id + 1, batch(from..from + 20, |row| format!("{row} {}", "x".repeat(500))));
        let held = engine.stats().head_bytes;
        assert!(held <= due / 2 * 3, "{held} bytes after {} batches", id + 1);
    }
    // Nothing but writers flushed, and each time only when there was no more room.
    let stats = engine.stats();
    assert!((2..=7).contains(&stats.counts.flushes), "{} flushes", stats.counts.flushes);
    assert_eq!(rows(&engine).len(), 4000);
}

#[test]
fn writers_that_wait_for_a_flush_do_not_flush_once_more() {
    let engine = engine(800 << 10);
    let ended = AtomicBool::new(false);
    let line = |row| format!("{row} {}", "x".repeat(500));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Acquire) {
                engine.maintain().unwrap();
            }
        });
        for id in 0..300 {
            let from = id as usize * 20;
            write(&engine, id + 1, batch(from..from + 20, line));
        }
        ended.store(true, Ordering::Release);
    });
    engine.flush().unwrap();
    assert_eq!(rows(&engine).len(), 6000);
    // What is due is at least so large, but for the last.
    let parts = engine.parts_of(kenning_store::PartTable::Logs);
    let small = parts.iter().filter(|part| part.level == 0 && part.rows < 300).count();
    assert!(small <= 1, "{parts:?}");
}
