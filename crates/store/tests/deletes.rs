//! Deletes and snapshots on a disk where the process may die, or the power go, in any operation: what was deleted stays
//! away, what was not stays, a delete is whole or nothing, and a snapshot that was made opens as it was.

mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use common::{EPOCH_MS, for_seeds};
use kenning_model::{
    Batch, BatchId, Block, Delete, DeleteError, Field, Filter, Flow, LabelSet, LogBatch, LogRow, METRIC_NAME,
    MetricBatch, Millis, Sample, Scan, Severity, SpanId, Store, Table, TenantId, TimeRange, TraceId, Write,
};
use kenning_stdx::clock::SimClock;
use kenning_stdx::random::Random;
use kenning_stdx::vfs::sim::{OpClass, SimVfs};
use kenning_store::wal::WalOptions;
use kenning_store::{Engine, OpenError, Options};

/// Batches differ by this label, which deletes select by.
const KINDS: u64 = 3;

fn try_open(vfs: &SimVfs, seed: u64) -> Result<Engine, OpenError> {
    let wal = WalOptions { segment_bytes: 16 << 10, max_bytes: 256 << 10, ..WalOptions::default() };
    let options = Options { wal, merge_parts_min: 2, ..Options::default() };
    Engine::open(Arc::new(vfs.clone()), Arc::new(SimClock::new(0)), Random::seeded(seed), options)
}

fn labels_of(id: u64) -> LabelSet {
    LabelSet::from_pairs([(METRIC_NAME, "m"), ("kind", &(id % KINDS).to_string())])
}

fn batch_of(id: u64) -> Batch {
    let time = Millis(EPOCH_MS + id as i64);
    if id.is_multiple_of(2) {
        let mut batch = MetricBatch::default();
        let series = batch.add_series(labels_of(id));
        batch.samples.push(Sample { series, time, value: id as f64 });
        return Batch::Metrics(batch);
    }
    let (mut batch, stream) = (LogBatch::default(), labels_of(id));
    batch.add_stream(stream.clone());
    let row = LogRow {
        stream: &stream,
        time: time.to_nanos(),
        severity: Severity::INFO,
        trace_id: TraceId::NONE,
        span_id: SpanId::NONE,
        line: "x",
        metadata: &LabelSet::empty(),
    };
    batch.push(0, row);
    Batch::Logs(batch)
}

/// The ids of the batches that scans find.
fn visible(engine: &Engine) -> BTreeSet<u64> {
    let mut ids = BTreeSet::new();
    for table in [Table::Samples, Table::Logs] {
        let scan = Scan::rows(TenantId::default_tenant(), table, TimeRange::ALL, Filter::All);
        let mut add = |ms: i64| assert!(ids.insert((ms - EPOCH_MS) as u64), "there twice");
        let mut sink = |block| {
            match block {
                Block::Series(rows) => rows.iter().flat_map(|row| &row.samples).for_each(|s| add(s.time.0)),
                Block::Logs(batch) => batch.time.iter().for_each(|time| add(time.to_millis().0)),
                other => panic!("unexpected {other:?}"),
            }
            Flow::More
        };
        assert_eq!(engine.scan(&scan, &mut sink).unwrap().missing, [""; 0]);
    }
    ids
}

/// What was promised, and what may be either way because nobody was told.
#[derive(Clone, Default)]
struct Book {
    last: u64,
    present: BTreeSet<u64>,
    /// Sent and not acknowledged.
    uncertain: BTreeSet<u64>,
    /// A delete that was not acknowledged takes all of these or none.
    undecided: Vec<BTreeSet<u64>>,
    snapshots: Vec<(String, Book)>,
}

impl Book {
    fn check(&self, found: &BTreeSet<u64>, seed: u64) {
        let undecided: BTreeSet<u64> = self.undecided.iter().flatten().copied().collect();
        for id in self.present.difference(found) {
            assert!(undecided.contains(id), "seed {seed}: {id} is lost");
        }
        for id in found.difference(&self.present) {
            assert!(self.uncertain.contains(id), "seed {seed}: {id} came back");
        }
        for group in &self.undecided {
            let left = group.iter().filter(|id| self.present.contains(id) && found.contains(id)).count();
            let all = group.iter().filter(|id| self.present.contains(id)).count();
            assert!(left == 0 || left == all, "seed {seed}: half a delete: {left} of {all}");
        }
    }

    fn write(&mut self, engine: &Engine) {
        self.last += 1;
        let id = self.last;
        self.uncertain.insert(id);
        let write = Write { id: BatchId(id), tenant: TenantId::default_tenant(), batch: batch_of(id) };
        if engine.write(&[write]).is_ok() {
            self.uncertain.remove(&id);
            self.present.insert(id);
        }
    }

    fn delete(&mut self, engine: &Engine, table: Table, kind: u64) {
        let filter = Filter::eq(Field::Label("kind".into()), &kind.to_string());
        let delete = Delete { tenant: TenantId::default_tenant(), table, time: TimeRange::ALL, filter };
        let is_metric = table == Table::Samples;
        let selected = |id: &u64| id % KINDS == kind && id.is_multiple_of(2) == is_metric;
        let group: BTreeSet<u64> = self.present.iter().copied().filter(selected).collect();
        match engine.delete(&delete) {
            Ok(()) => self.present.retain(|id| !selected(id)),
            Err(DeleteError::Unavailable { .. }) => self.undecided.push(group),
            Err(error) => panic!("{error}"),
        }
    }

    fn snapshot(&mut self, engine: &Engine, name: &str) {
        if engine.snapshot(name, true).is_ok() {
            let now = Self { snapshots: Vec::new(), ..self.clone() };
            self.snapshots.push((name.to_owned(), now));
        }
    }

    /// A life with everything in it.
    fn live(&mut self, engine: &Engine) {
        (0..6).for_each(|_| self.write(engine));
        self.delete(engine, Table::Samples, 1);
        (0..3).for_each(|_| self.write(engine));
        self.snapshot(engine, "first");
        self.delete(engine, Table::Logs, 2);
        (0..4).for_each(|_| self.write(engine));
        drop(engine.flush());
        drop(engine.maintain());
        self.delete(engine, Table::Logs, 0);
        drop(engine.clean());
        self.snapshot(engine, "second");
        self.write(engine);
    }
}

/// The directory of a snapshot as a disk of its own.
fn restored(vfs: &SimVfs, name: &str) -> SimVfs {
    let (root, disk) = (Path::new("snapshots").join(name), SimVfs::new(1));
    for (path, bytes) in vfs.tree() {
        if let (Ok(inner), Some(bytes)) = (path.strip_prefix(&root), bytes) {
            disk.install(inner, &bytes);
        }
    }
    disk
}

fn check_all(book: &Book, vfs: &SimVfs, engine: &Engine, seed: u64) {
    book.check(&visible(engine), seed);
    for (name, then) in &book.snapshots {
        let copy =
            try_open(&restored(vfs, name), seed).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        then.check(&visible(&copy), seed);
    }
    let half_made = ["first", "second"].into_iter().find(|name| {
        let root = Path::new("snapshots").join(name);
        let files = vfs.tree().into_iter().any(|(path, bytes)| path.starts_with(&root) && bytes.is_some());
        files && vfs.contents(&root.join("FORMAT")).is_err()
    });
    if let Some(name) = half_made {
        let refused = matches!(try_open(&restored(vfs, name), seed), Err(OpenError::Dir(_)));
        assert!(refused, "seed {seed}: half a snapshot opened");
    }
}

#[test]
fn without_accidents_deletes_and_snapshots_are_exact() {
    let vfs = SimVfs::new(1);
    let engine = try_open(&vfs, 1).unwrap();
    let mut book = Book::default();
    book.live(&engine);
    assert!(book.undecided.is_empty() && book.uncertain.is_empty() && book.snapshots.len() == 2);
    check_all(&book, &vfs, &engine, 1);
    assert_eq!(engine.clean().unwrap(), 0, "the bytes of all deletes are gone");
    // What was deleted can be written again.
    book.delete(&engine, Table::Samples, 0);
    let before = visible(&engine).len();
    let again = Write { id: BatchId(book.last + 1), tenant: TenantId::default_tenant(), batch: batch_of(6) };
    engine.write(&[again]).unwrap();
    assert_eq!(visible(&engine).len(), before + 1);
    engine.flush().unwrap();
    engine.clean().unwrap();
    assert_eq!(visible(&engine).len(), before + 1);
    drop(engine);
    assert_eq!(visible(&try_open(&vfs, 2).unwrap()).len(), before + 1);
}

#[test]
fn deletes_and_snapshots_survive_death_in_any_operation() {
    let operations = {
        let vfs = SimVfs::new(1);
        let engine = try_open(&vfs, 1).unwrap();
        Book::default().live(&engine);
        vfs.operations(OpClass::Any)
    };
    const LIVES: u64 = 40;
    for_seeds(LIVES, |k| {
        let (mut vfs, mut book) = (SimVfs::new(k), Book::default());
        let engine = try_open(&vfs, k).unwrap();
        vfs.die_at(1 + k * operations / LIVES + k % 7);
        book.live(&engine);
        drop(engine);
        vfs = if k.is_multiple_of(2) { vfs.kill() } else { vfs.crash() };
        let engine = try_open(&vfs, k ^ 99).unwrap();
        check_all(&book, &vfs, &engine, k);
        let now = visible(&engine);
        while engine.clean().unwrap() > 0 {}
        engine.maintain().unwrap();
        assert_eq!(visible(&engine), now, "seed {k}: cleaning changes nothing that is seen");
        drop(engine);
        assert_eq!(visible(&try_open(&vfs.crash(), k).unwrap()), now, "seed {k}");
    });
}
