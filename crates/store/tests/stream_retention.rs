//! Retention of log streams by rules, also on a disk where the process may die, or the power go, in any operation: what a
//! rule keeps stays, what is too old goes and never comes back.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use common::for_seeds;
use kenning_model::{
    Batch, BatchId, Block, Field, Filter, Flow, LabelSet, LogBatch, LogRow, Nanos, Scan, Severity, SpanId,
    Store, StreamRetention, StreamRule, Table, TenantId, TimeRange, TraceId, Write,
};
use kenning_stdx::clock::SimClock;
use kenning_stdx::random::Random;
use kenning_stdx::vfs::sim::{OpClass, SimVfs};
use kenning_store::wal::WalOptions;
use kenning_store::{Engine, Options};

const HOUR: u64 = 3600;
/// Whole partitions lie between the batches.
const HOURS_APART: u64 = 5;
const EPOCH: i64 = 1_700_000_000_000_000_000;

/// Values of the label `keep`, and the hours that rules give them; the last is for everything else.
const KEEP: [(&str, Option<u64>); 4] =
    [("short", Some(10)), ("long", Some(1000)), ("ever", None), ("", Some(30))];

fn open(vfs: &SimVfs, seed: u64) -> Engine {
    let wal = WalOptions { segment_bytes: 16 << 10, max_bytes: 256 << 10, ..WalOptions::default() };
    let options = Options { wal, merge_parts_min: 2, retention_percent_max: 60, ..Options::default() };
    let engine =
        Engine::open(Arc::new(vfs.clone()), Arc::new(SimClock::new(0)), Random::seeded(seed), options);
    engine.unwrap_or_else(|error| panic!("seed {seed}: {error}"))
}

fn policy(hour: u64) -> StreamRetention {
    let rule = |(value, hours): &(&str, Option<u64>)| StreamRule {
        tenant: None,
        filter: match *value {
            "" => Filter::All,
            value => Filter::eq(Field::Label("keep".into()), value),
        },
        age: hours.map(|hours| Duration::from_secs(hours * HOUR)),
    };
    StreamRetention { now: time_of(hour), rules: KEEP.iter().map(rule).collect() }
}

fn time_of(hour: u64) -> Nanos {
    Nanos(EPOCH + (hour * HOUR * 1_000_000_000) as i64)
}

/// Record `n` stands in the hour `n / KEEP.len() * HOURS_APART`, in the stream `n % KEEP.len()`.
fn record(n: u64) -> (u64, &'static str, Option<u64>) {
    let (value, hours) = KEEP[n as usize % KEEP.len()];
    (n / KEEP.len() as u64 * HOURS_APART, value, hours)
}

fn write(engine: &Engine, id: u64) -> bool {
    let mut batch = LogBatch::default();
    let first = (id - 1) * KEEP.len() as u64;
    for n in first..first + KEEP.len() as u64 {
        let (hour, value, _) = record(n);
        let labels = LabelSet::from_pairs([("keep", value), ("app", "a")]);
        let stream = batch.add_stream(labels.clone());
        let row = LogRow {
            stream: &labels,
            time: time_of(hour),
            severity: Severity::INFO,
            trace_id: TraceId::NONE,
            span_id: SpanId::NONE,
            line: &n.to_string(),
            metadata: &LabelSet::empty(),
        };
        batch.push(stream, row);
    }
    let write = Write { id: BatchId(id), tenant: TenantId::default_tenant(), batch: Batch::Logs(batch) };
    engine.write(&[write]).is_ok()
}

fn visible(engine: &Engine) -> BTreeSet<u64> {
    let mut found = BTreeSet::new();
    let scan = Scan::rows(TenantId::default_tenant(), Table::Logs, TimeRange::ALL, Filter::All);
    let mut sink = |block| {
        if let Block::Logs(batch) = block {
            batch.line.iter().for_each(|line| assert!(found.insert(line.parse().unwrap()), "there twice"));
        }
        Flow::More
    };
    assert_eq!(engine.scan(&scan, &mut sink).unwrap().missing, [""; 0]);
    found
}

/// True when a record may be gone at an hour; it surely is once passes have been over its part.
fn may_go(n: u64, now: u64) -> bool {
    let (hour, _, hours) = record(n);
    hours.is_some_and(|hours| hour + hours < now)
}

fn expire_all(engine: &Engine, hour: u64) {
    for _ in 0..200 {
        engine.expire_streams(&policy(hour)).unwrap();
    }
}

#[test]
fn each_stream_goes_when_its_rule_says() {
    let vfs = SimVfs::new(1);
    let engine = open(&vfs, 1);
    let all = 12 * KEEP.len() as u64;
    (1..=12).for_each(|id| assert!(write(&engine, id)));
    engine.expire_streams(&policy(10_000)).unwrap();
    assert_eq!(visible(&engine).len() as u64, all, "heads are never looked at");
    engine.flush().unwrap();
    drop(engine);
    for hour in [0, 11, 40, 70, 500, 2000] {
        // Opened anew, so that no jump of the clock is seen.
        let engine = open(&vfs, hour);
        expire_all(&engine, hour);
        let left: BTreeSet<u64> = (0..all).filter(|n| !may_go(*n, hour)).collect();
        assert_eq!(visible(&engine), left, "hour {hour}");
        while engine.clean().unwrap() > 0 {}
        assert_eq!(visible(&engine), left, "hour {hour}, cleaned");
        expire_all(&engine, hour);
        assert_eq!(engine.clean().unwrap(), 0, "hour {hour}: nothing is written twice");
    }
}

#[test]
fn a_pass_takes_a_share_and_goes_on_later() {
    let vfs = SimVfs::new(1);
    let engine = open(&vfs, 1);
    (1..=12).for_each(|id| assert!(write(&engine, id)));
    engine.flush().unwrap();
    let all = visible(&engine).len();
    engine.expire_streams(&policy(2000)).unwrap();
    let first = visible(&engine).len();
    assert!(first < all && first > 12, "{first} of {all}");
    expire_all(&engine, 2000);
    assert_eq!(visible(&engine).len(), 12, "what is kept for ever");
}

#[test]
fn rules_may_be_for_one_tenant() {
    let vfs = SimVfs::new(1);
    let engine = open(&vfs, 1);
    assert!(write(&engine, 1));
    engine.flush().unwrap();
    let of = |tenant: &str| {
        let tenant = TenantId::parse(tenant).ok();
        let rules = vec![StreamRule { tenant, filter: Filter::All, age: Some(Duration::ZERO) }];
        StreamRetention { now: time_of(9), rules }
    };
    engine.expire_streams(&of("other")).unwrap();
    assert_eq!(visible(&engine).len(), KEEP.len());
    assert_eq!(
        engine.expire_streams(&of(TenantId::default_tenant().as_str())).unwrap().rows,
        KEEP.len() as u64
    );
    assert_eq!(visible(&engine).len(), 0);
}

/// A life with everything in it. Gives the batches that were acknowledged.
fn live(engine: &Engine, acknowledged: &mut BTreeSet<u64>) {
    for id in 1..=8 {
        if write(engine, id) {
            acknowledged.insert(id);
        }
        if id % 3 == 0 {
            drop(engine.flush());
        }
    }
    drop(engine.flush());
    for _ in 0..4 {
        drop(engine.expire_streams(&policy(60)));
        drop(engine.maintain());
        drop(engine.clean());
    }
}

#[test]
fn death_in_any_operation_loses_nothing_that_is_kept() {
    let operations = {
        let vfs = SimVfs::new(1);
        live(&open(&vfs, 1), &mut BTreeSet::new());
        vfs.operations(OpClass::Any)
    };
    const LIVES: u64 = 40;
    for_seeds(LIVES, |k| {
        let (mut vfs, mut acknowledged) = (SimVfs::new(k), BTreeSet::new());
        let engine = open(&vfs, k);
        vfs.die_at(1 + k * operations / LIVES + k % 7);
        live(&engine, &mut acknowledged);
        drop(engine);
        vfs = if k.is_multiple_of(2) { vfs.kill() } else { vfs.crash() };
        let engine = open(&vfs, k ^ 99);
        let streams = KEEP.len() as u64;
        let sent = acknowledged.iter().flat_map(|id| (id - 1) * streams..id * streams);
        let sent: Vec<u64> = sent.collect();
        let found = visible(&engine);
        let lost = sent.iter().find(|n| !found.contains(n) && !may_go(**n, 60));
        assert_eq!(lost, None, "seed {k}: lost");
        engine.flush().unwrap();
        expire_all(&engine, 60);
        while engine.clean().unwrap() > 0 {}
        let left = visible(&engine);
        assert!(left.iter().all(|n| !may_go(*n, 60)), "seed {k}: {left:?}");
        assert!(sent.iter().all(|n| may_go(*n, 60) || left.contains(n)), "seed {k}: {left:?}");
        drop(engine);
        assert_eq!(visible(&open(&vfs.crash(), k)), left, "seed {k}: came back");
    });
}
