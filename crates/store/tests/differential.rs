//! The engine against the in-memory oracle: the same writes, the same questions, the same answers, whatever was
//! flushed, merged or restarted in between.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Chance, ask, for_seeds};
use kenning_model::{Batch, BatchId, Delete, Scan, ScanError, Shape, Store, TenantId, Write};
use kenning_query::{MemoryStore, operators};
use kenning_stdx::clock::SimClock;
use kenning_stdx::random::Random;
use kenning_stdx::vfs::sim::SimVfs;
use kenning_store::wal::WalOptions;
use kenning_store::{Engine, Options};

fn options() -> Options {
    Options {
        wal: WalOptions { segment_bytes: 1 << 20, ..WalOptions::default() },
        merge_parts_min: 2,
        ..Options::default()
    }
}

fn open(vfs: &SimVfs, seed: u64) -> Engine {
    let clock = Arc::new(SimClock::new(0));
    Engine::open(Arc::new(vfs.clone()), clock, Random::seeded(seed), options()).unwrap()
}

fn compare(seed: u64, oracle: &MemoryStore, engine: &Engine, scan: &Scan) {
    if let Shape::Numbers { .. } = scan.shape {
        // The oracle answers with rows; the shared operator makes the shape of them.
        let sorted = |store: &dyn Store| {
            let mut rows = operators::numbers(store, scan).unwrap().0;
            rows.iter_mut().for_each(common::sort_numbers);
            rows
        };
        assert_eq!(sorted(engine), sorted(oracle), "seed {seed}: {scan:#?}");
        return;
    }
    let expect = ask(oracle, scan).unwrap().0;
    let (found, summary) = ask(engine, scan).unwrap();
    assert_eq!(summary.missing, [""; 0], "seed {seed}");
    assert_eq!(found, expect, "seed {seed}: {scan:#?}");
}

fn run(seed: u64) {
    let mut chance = Chance::new(seed);
    let mut vfs = SimVfs::new(seed);
    let (oracle, mut engine) = (MemoryStore::new(), open(&vfs, seed));
    let mut id = 0;
    for step in 0..25 {
        match chance.below(12) {
            0..=4 => {
                let group: Vec<Write> = (0..=chance.below(2))
                    .map(|_| {
                        id += 1 + chance.below(2);
                        Write { id: BatchId(id), tenant: chance.tenant(), batch: chance.batch() }
                    })
                    .collect();
                oracle.write(&group).unwrap();
                engine.write(&group).unwrap();
                if chance.one_in(5) {
                    engine.write(&group).unwrap();
                }
                assert_eq!(engine.last_batch_id(), oracle.last_batch_id());
            }
            5 => drop(engine.flush().unwrap()),
            6 => drop(engine.maintain().unwrap()),
            7 => {
                drop(engine);
                vfs = if chance.one_in(2) { vfs.crash() } else { vfs.kill() };
                engine = open(&vfs, seed ^ step);
                assert_eq!(engine.last_batch_id(), oracle.last_batch_id());
            }
            8 | 9 => {
                let Scan { tenant, table, time, filter, .. } = chance.scan();
                let delete = Delete { tenant, table, time, filter };
                assert_eq!(engine.delete(&delete).is_ok(), oracle.delete(&delete).is_ok(), "{delete:#?}");
            }
            10 => drop(engine.clean().unwrap()),
            _ => {}
        }
        for _ in 0..3 {
            compare(seed, &oracle, &engine, &chance.scan());
        }
    }
}

/// Many lines of few shapes in one part, as real services write them, so that pages and row groups fill.
fn run_wide(seed: u64) {
    let mut chance = Chance::new(seed);
    let (oracle, engine) = (MemoryStore::new(), open(&SimVfs::new(seed), seed));
    for id in 1..=2 {
        let batch = Batch::Logs(chance.many_lines(5000));
        let group = [Write { id: BatchId(id), tenant: TenantId::default_tenant(), batch }];
        oracle.write(&group).unwrap();
        engine.write(&group).unwrap();
    }
    for _ in 0..6 {
        // In memory, what passes a filter is remembered, whatever the time.
        let scan = chance.log_scan();
        compare(seed, &oracle, &engine, &Scan { time: kenning_model::TimeRange::ALL, ..scan.clone() });
        compare(seed, &oracle, &engine, &scan);
    }
    engine.flush().unwrap();
    for _ in 0..15 {
        let scan = chance.log_scan();
        compare(seed, &oracle, &engine, &scan);
    }
}

#[test]
fn engine_and_oracle_agree_on_many_lines() {
    for_seeds(3, run_wide);
}

#[test]
fn engine_and_oracle_agree() {
    for_seeds(120, run);
}

fn engine_with_logs() -> Engine {
    let engine = open(&SimVfs::new(1), 1);
    let mut chance = Chance::new(7);
    for id in 1..20 {
        let batch = Batch::Logs(chance.logs());
        engine.write(&[Write { id: BatchId(id), tenant: TenantId::default_tenant(), batch }]).unwrap();
        if id == 10 {
            engine.flush().unwrap();
        }
    }
    engine
}

#[test]
fn limits_and_cancel_are_honoured() {
    let engine = engine_with_logs();
    let mut scan = Chance::new(1).scan();
    scan = Scan {
        bytes_max: 1000,
        ..Scan::rows(
            TenantId::default_tenant(),
            kenning_model::Table::Logs,
            scan.time,
            kenning_model::Filter::All,
        )
    };
    scan.time = kenning_model::TimeRange::ALL;
    assert!(matches!(ask(&engine, &scan), Err(ScanError::TooMuchMemory { limit: 1000 })));
    scan.bytes_max = Scan::BYTES_MAX_DEFAULT;
    assert!(ask(&engine, &scan).is_ok());
    scan.cancel.raise();
    assert!(matches!(ask(&engine, &scan), Err(ScanError::Cancelled)));
}

#[test]
fn old_heads_are_flushed_by_maintenance() {
    let vfs = SimVfs::new(3);
    let clock = Arc::new(SimClock::new(0));
    let engine =
        Engine::open(Arc::new(vfs.clone()), Arc::clone(&clock) as Arc<_>, Random::seeded(3), options())
            .unwrap();
    let batch = Batch::Logs(Chance::new(9).logs());
    engine.write(&[Write { id: BatchId(1), tenant: TenantId::default_tenant(), batch }]).unwrap();
    assert!(!engine.maintain().unwrap().flushed);
    clock.advance(Duration::from_secs(600));
    assert!(engine.maintain().unwrap().flushed);
    assert_eq!(engine.stats().head_bytes, 0);
    assert!(!engine.maintain().unwrap().flushed);
}
