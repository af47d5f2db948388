//! A whole engine on a disk that crashes, tears, lies, fills up and rots, from one seed per run.
//!
//! Every batch holds items that can be told apart, so after each accident it can be seen that what was acknowledged is
//! there, that nothing came from nowhere, that no batch is there in part, and that nothing is there twice.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use common::{Chance, EPOCH_MS, for_seeds};
use kenning_model::{
    Batch, BatchId, Block, Exemplar, Filter, Flow, LabelSet, LogBatch, LogRow, METRIC_NAME, MetricBatch,
    MetricMetadata, Millis, Nanos, Retention, Sample, Scan, ScanSummary, Severity, Span, SpanBatch, SpanId,
    Store, Table, TenantId, TimeRange, TraceId, Write, WriteError,
};
use kenning_stdx::clock::SimClock;
use kenning_stdx::random::Random;
use kenning_stdx::vfs::sim::{OpClass, SimVfs};
use kenning_store::wal::WalOptions;
use kenning_store::{Engine, OpenError, Options};

/// Items of a batch: enough that a torn one would show.
const ITEMS: u64 = 3;

/// Hours that batches are spread over, so that flushes write several partitions.
const HOURS: u64 = 3;

fn options() -> Options {
    Options {
        wal: WalOptions { segment_bytes: 16 << 10, max_bytes: 64 << 10, ..WalOptions::default() },
        merge_parts_min: 2,
        flush_bytes: 20_000,
        head_bytes_max: 40_000,
        ..Options::default()
    }
}

fn time_of(id: u64, item: u64) -> i64 {
    EPOCH_MS + (id % HOURS) as i64 * 3_600_000 + item as i64
}

/// The batch of an id: always the same.
fn batch_of(id: u64) -> Batch {
    match id % 3 {
        0 => Batch::Metrics(metrics_of(id)),
        1 => Batch::Logs(logs_of(id)),
        _ => Batch::Spans(spans_of(id)),
    }
}

fn metrics_of(id: u64) -> MetricBatch {
    let mut batch = MetricBatch::default();
    let labels = LabelSet::from_pairs([(METRIC_NAME, "m"), ("batch", &id.to_string())]);
    let series = batch.add_series(labels);
    for item in 0..ITEMS {
        batch.samples.push(Sample { series, time: Millis(time_of(id, item)), value: item as f64 / 4.0 });
    }
    let labels = LabelSet::from_pairs([("trace_id", "1")]);
    batch.exemplars.push(Exemplar { series, time: Millis(time_of(id, 0)), value: 1.0, labels });
    batch.metadata.push(MetricMetadata { metric: id.to_string(), ..MetricMetadata::default() });
    batch
}

fn logs_of(id: u64) -> LogBatch {
    let mut batch = LogBatch::default();
    let (stream, metadata) = (LabelSet::from_pairs([("app", "x")]), LabelSet::empty());
    batch.add_stream(stream.clone());
    for item in 0..ITEMS {
        let line = format!("{id}.{item}");
        let row = LogRow {
            stream: &stream,
            time: Millis(time_of(id, item)).to_nanos(),
            severity: Severity::INFO,
            trace_id: TraceId::NONE,
            span_id: SpanId::NONE,
            line: &line,
            metadata: &metadata,
        };
        batch.push(0, row);
    }
    batch
}

fn spans_of(id: u64) -> SpanBatch {
    let mut batch = SpanBatch::default();
    let source = batch.add_source(Arc::default());
    for item in 0..ITEMS {
        let start = Millis(time_of(id, item)).to_nanos();
        let trace_id = TraceId(u128::from(id + 1).to_be_bytes());
        batch.spans.push(Span {
            trace_id,
            name: format!("{id}.{item}"),
            start,
            end: start,
            source,
            ..Span::default()
        });
    }
    batch
}

/// Names of the items of a batch, as [`visible`] finds them.
fn items_of(id: u64) -> BTreeSet<String> {
    let prefix = ["m", "l", "s"][(id % 3) as usize];
    let mut items: BTreeSet<String> = (0..ITEMS).map(|item| format!("{prefix}{id}.{item}")).collect();
    if id.is_multiple_of(3) {
        items.extend([format!("exemplar {id}"), format!("metadata {id}")]);
    }
    items
}

fn tenant_of(id: u64) -> TenantId {
    if id.is_multiple_of(7) { TenantId::self_tenant() } else { TenantId::default_tenant() }
}

/// Everything that a scan of everything finds, and what the answers say is missing.
fn visible(engine: &Engine) -> (Vec<String>, Vec<String>) {
    let (mut items, mut missing) = (Vec::new(), Vec::new());
    for tenant in [TenantId::default_tenant(), TenantId::self_tenant()] {
        for table in [Table::Samples, Table::Exemplars, Table::Metadata, Table::Logs, Table::Spans] {
            let scan = Scan::rows(tenant.clone(), table, TimeRange::ALL, Filter::All);
            let mut sink = |block| {
                items.extend(items_in(block));
                Flow::More
            };
            let summary: ScanSummary = engine.scan(&scan, &mut sink).unwrap();
            missing.extend(summary.missing);
        }
    }
    (items, missing)
}

fn items_in(block: Block) -> Vec<String> {
    match block {
        Block::Series(rows) => rows
            .iter()
            .flat_map(|row| {
                let id: u64 = row.labels.get("batch").parse().unwrap();
                row.samples.iter().map(move |sample| {
                    let item = sample.time.0 - time_of(id, 0);
                    assert_eq!(sample.value, item as f64 / 4.0, "a value was changed");
                    format!("m{id}.{item}")
                })
            })
            .collect(),
        Block::Exemplars(rows) => {
            rows.iter().map(|(labels, _)| format!("exemplar {}", labels.get("batch"))).collect()
        }
        Block::Metadata(rows) => rows.iter().map(|row| format!("metadata {}", row.metric)).collect(),
        Block::Logs(batch) => batch.line.iter().map(|line| format!("l{line}")).collect(),
        Block::Spans(batch) => batch.spans.iter().map(|span| format!("s{}", span.name)).collect(),
        other => panic!("unexpected {other:?}"),
    }
}

/// One run: a disk, an engine that comes and goes, and the book of what was promised.
struct Run {
    seed: u64,
    chance: Chance,
    vfs: SimVfs,
    clock: Arc<SimClock>,
    engine: Option<Engine>,
    last: u64,
    sent: BTreeSet<u64>,
    acknowledged: BTreeSet<u64>,
    opened: u64,
    options: Options,
}

impl Run {
    fn new(seed: u64) -> Self {
        Self::with(seed, options())
    }

    fn with(seed: u64, options: Options) -> Self {
        let (vfs, clock) = (SimVfs::new(seed), Arc::new(SimClock::new(EPOCH_MS * 1_000_000)));
        let mut run = Self {
            seed,
            chance: Chance::new(seed),
            vfs,
            clock,
            engine: None,
            last: 0,
            sent: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
            opened: 0,
            options,
        };
        run.open();
        run
    }

    /// Opens, at the second attempt without faults.
    fn open(&mut self) {
        drop(self.engine.take());
        let opened = self.try_open().or_else(|_| {
            self.vfs.clear_faults();
            self.try_open()
        });
        let engine =
            opened.unwrap_or_else(|error| panic!("seed {}: {error}: {:?}", self.seed, self.recent()));
        self.last = self.last.max(engine.last_batch_id().0);
        self.engine = Some(engine);
    }

    fn try_open(&mut self) -> Result<Engine, OpenError> {
        self.opened += 1;
        let random = Random::seeded(self.seed ^ (self.opened << 32));
        let clock = Arc::clone(&self.clock) as Arc<_>;
        let vfs = Arc::new(self.vfs.clone());
        // Half of all starts are followed by whatever comes first: writes, a crash, a flush, a scan.
        match self.opened % 2 {
            0 => Engine::open_ahead(vfs, clock, random, self.options),
            _ => Engine::open(vfs, clock, random, self.options),
        }
    }

    fn recent(&self) -> Vec<String> {
        self.vfs.recent_operations()
    }

    fn engine(&self) -> &Engine {
        self.engine.as_ref().unwrap()
    }

    fn write(&mut self) {
        let (group, done) = self.send();
        let done = done.or_else(|error| match self.chance.one_in(2) {
            true => self.engine().write(&group),
            false => Err(error),
        });
        match done {
            Ok(()) => self.acknowledged.extend(group.iter().map(|write| write.id.0)),
            Err(WriteError::ReadOnly { .. }) => {
                self.vfs.clear_faults();
                self.open();
            }
            Err(WriteError::Unavailable { .. }) => {}
        }
    }

    fn send(&mut self) -> (Vec<Write>, Result<(), WriteError>) {
        let ids: Vec<u64> = (1..=1 + self.chance.below(3)).map(|n| self.last + n).collect();
        self.last += ids.len() as u64;
        let group: Vec<Write> = ids
            .iter()
            .map(|id| Write { id: BatchId(*id), tenant: tenant_of(*id), batch: batch_of(*id) })
            .collect();
        self.sent.extend(&ids);
        let done = self.engine().write(&group);
        (group, done)
    }

    fn expire_nothing(&self) {
        let age = Some(Duration::from_secs(1 << 31));
        let policy = Retention {
            now: Nanos(EPOCH_MS * 1_000_000),
            metrics: age,
            logs: age,
            traces: age,
            ..Retention::default()
        };
        let _ = self.engine().expire(&policy);
    }

    fn step(&mut self) {
        self.clock.advance(Duration::from_secs(self.chance.below(400)));
        match self.chance.below(20) {
            0..=9 => self.write(),
            10 | 11 => drop(self.engine().flush()),
            12..=14 => drop(self.engine().maintain()),
            15 => self.expire_nothing(),
            16 => self.plan_fault(),
            17 => self.vfs.clear_faults(),
            18 => {
                self.vfs = if self.chance.one_in(3) { self.vfs.kill() } else { self.vfs.crash() };
                self.open();
            }
            _ => self.check(),
        }
    }

    fn plan_fault(&mut self) {
        let kind = self.chance.pick(&[ErrorKind::Other, ErrorKind::StorageFull]);
        let class = self.chance.pick(&[
            OpClass::Any,
            OpClass::Write,
            OpClass::Sync,
            OpClass::SyncDir,
            OpClass::Rename,
            OpClass::Remove,
            OpClass::Resize,
            OpClass::Open,
        ]);
        match self.chance.below(4) {
            0 => self.vfs.set_fault_rate(class, 1, 20, kind),
            1 => {
                let used: usize =
                    self.vfs.tree().iter().map(|(_, bytes)| bytes.as_ref().map_or(0, Vec::len)).sum();
                self.vfs.set_capacity(Some(used as u64 + self.chance.below(60_000)));
            }
            2 => self.vfs.set_capacity(None),
            _ => self.vfs.fail_at(class, 1 + self.chance.below(30), kind),
        }
    }

    fn check(&mut self) {
        if self.engine().catch_up().is_err() {
            self.vfs.clear_faults();
            self.open();
            self.engine().catch_up().unwrap();
        }
        let (items, missing) = visible(self.engine());
        let mut by_batch: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
        for item in items {
            let number: String =
                item.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
            let id = number.parse().unwrap();
            assert!(self.sent.contains(&id), "seed {}: {item} was never sent", self.seed);
            let is_new = by_batch.entry(id).or_default().insert(item.clone());
            assert!(is_new, "seed {}: {item} is there twice: {:?}", self.seed, self.recent());
        }
        if !missing.is_empty() {
            return;
        }
        for (id, items) in &by_batch {
            assert_eq!(*items, items_of(*id), "seed {}: batch {id} is torn", self.seed);
        }
        for id in &self.acknowledged {
            let seed = self.seed;
            assert!(by_batch.contains_key(id), "seed {seed}: batch {id} is lost: {:?}", self.recent());
        }
    }

    /// After the last step: one more accident, then a healthy disk.
    fn finish(mut self) -> u64 {
        self.vfs = self.vfs.crash();
        self.vfs.clear_faults();
        self.vfs.set_capacity(None);
        self.open();
        self.check();
        assert_eq!(self.engine().stats().quarantined, [""; 0], "seed {}", self.seed);
        self.write();
        self.engine().flush().unwrap();
        while self.engine().maintain().unwrap().merged > 0 {}
        self.check();
        assert!(self.acknowledged.contains(&self.last), "seed {}: a healthy disk takes writes", self.seed);
        self.open();
        self.check();
        let named: u64 = self.engine().stats().tables.iter().map(|table| table.parts).sum();
        assert_eq!(part_files(&self.vfs).len() as u64, named, "seed {}: files nobody knows", self.seed);
        self.vfs.trace_hash()
    }
}

fn run(seed: u64) -> u64 {
    let mut run = Run::new(seed);
    for _ in 0..60 {
        run.step();
    }
    run.finish()
}

#[test]
fn acknowledged_is_visible_is_sent_whatever_the_disk_does() {
    for_seeds(200, |seed| {
        run(seed);
    });
}

#[test]
fn writes_go_ahead_of_the_log_of_earlier_lives() {
    for_seeds(10, |seed| {
        let mut run = Run::new(seed);
        for life in 0..4 {
            (0..6).for_each(|_| run.write());
            run.vfs = run.vfs.crash();
            // Every start of an even number goes ahead.
            run.opened |= 1;
            run.open();
            assert!(!run.engine().is_caught_up());
            run.write();
            match life {
                // Half of the lives end before anything was read back.
                1 => run.check(),
                3 => assert!(run.engine().flush().unwrap()),
                _ => {}
            }
        }
        assert!(run.engine().is_caught_up());
        run.check();
        run.finish();
    });
}

#[test]
fn a_seed_replays_every_operation() {
    for_seeds(5, |seed| assert_eq!(run(seed), run(seed)));
}

/// A short life with everything in it.
fn scenario(run: &mut Run) {
    for step in 0..9 {
        run.write();
        match step {
            2 | 4 | 6 => drop(run.engine().flush()),
            7 => drop(run.engine().maintain()),
            _ => {}
        }
    }
    run.expire_nothing();
}

#[test]
fn any_single_failure_is_survived() {
    let operations = {
        let mut whole = Run::new(1);
        scenario(&mut whole);
        whole.check();
        whole.vfs.operations(OpClass::Any)
    };
    for_seeds(operations, |k| {
        let mut run = Run::new(1);
        let before = run.vfs.operations(OpClass::Any);
        let Some(at) = k.checked_sub(before) else { return };
        run.vfs.fail_at(
            OpClass::Any,
            at + 1,
            if k % 2 == 0 { ErrorKind::StorageFull } else { ErrorKind::Other },
        );
        scenario(&mut run);
        run.check();
        run.finish();
    });
}

#[test]
fn any_crash_is_survived() {
    for_seeds(80, |k| {
        let mut run = Run::new(k);
        // The power goes in the k-th operation; the disk may have been failing before.
        run.vfs.set_fault_rate(OpClass::Sync, k % 2, 2, ErrorKind::Other);
        live_and_die(&mut run, 1 + k * 3);
        run.finish();
    });
}

/// Lives until the process dies in its `k`-th operation, wherever that is.
fn live_and_die(run: &mut Run, k: u64) {
    run.vfs.die_at(k);
    for step in 0..12 {
        let (group, done) = run.send();
        if done.is_ok() {
            run.acknowledged.extend(group.iter().map(|write| write.id.0));
        }
        match step % 4 {
            1 | 3 => drop(run.engine().flush()),
            2 => drop(run.engine().maintain()),
            _ => run.expire_nothing(),
        }
    }
}

/// The next process dies while it starts, and the one after that, and then one gets through.
fn die_while_starting(run: &mut Run) {
    for _ in 0..2 {
        let k = 1 + run.chance.below(90);
        run.vfs = run.vfs.kill();
        run.vfs.die_at(k);
        run.engine = run.try_open().ok();
    }
    run.vfs = run.vfs.kill();
    run.open();
    run.check();
    assert_eq!(run.engine().stats().quarantined, [""; 0], "seed {}: {:?}", run.seed, run.recent());
}

/// `kill -9`: nothing is tidied up, what was written stays in the cache, and the start may be killed as well. Replay
/// flushes, so that starts write parts too.
#[test]
fn a_process_that_dies_in_any_operation_loses_nothing() {
    let options = || Options { flush_bytes: 1_500, ..options() };
    let operations = {
        let mut whole = Run::with(1, options());
        let before = whole.vfs.operations(OpClass::Any);
        live_and_die(&mut whole, 1 << 40);
        whole.vfs.operations(OpClass::Any) - before
    };
    for_seeds(60, |seed| {
        let mut run = Run::with(seed, options());
        for _life in 0..3 {
            let at = 1 + run.chance.below(operations);
            live_and_die(&mut run, at);
            die_while_starting(&mut run);
        }
        run.finish();
    });
}

/// A transaction that failed may be in the manifest all the same when the power goes, so its parts must be there.
#[test]
fn any_two_failures_close_together_are_survived() {
    let operations = 60;
    for_seeds(operations * 9, |k| {
        let mut run = Run::new(k);
        run.write();
        run.vfs.fail_at(OpClass::Any, 1 + k / 9, ErrorKind::Other);
        run.vfs.fail_at(OpClass::Any, 2 + k / 9 + k % 9, ErrorKind::Other);
        drop(run.engine().flush());
        run.check();
        run.finish();
    });
}

fn part_files(vfs: &SimVfs) -> Vec<(PathBuf, usize)> {
    let files = vfs.tree().into_iter().filter_map(|(path, bytes)| Some((path, bytes?.len())));
    files.filter(|(path, _)| path.starts_with("parts")).collect()
}

fn flushed(seed: u64) -> Run {
    let mut run = Run::new(seed);
    for _ in 0..6 {
        run.write();
    }
    run.engine().flush().unwrap();
    for _ in 0..3 {
        run.write();
    }
    run
}

#[test]
fn a_flipped_bit_in_a_part_is_noticed_and_named() {
    for_seeds(200, |seed| {
        let mut run = flushed(seed);
        let (path, len) = run.chance.pick(&part_files(&run.vfs));
        let bit = run.chance.below(len as u64 * 8);
        run.vfs.flip_bit(&path, bit).unwrap();
        run.check();
        let (items, missing) = visible(run.engine());
        // Bloom filters and column indexes are read by some scans only.
        let whole: usize = run.acknowledged.iter().map(|id| items_of(*id).len()).sum();
        assert!(items.len() == whole || !missing.is_empty(), "seed {seed}: {} bit {bit}", path.display());
        if !missing.is_empty() {
            assert!(!run.vfs.contents(&path).is_ok_and(|_| true), "seed {seed}: the part was moved aside");
            assert_eq!(run.engine().stats().quarantined.len(), 1);
            // The next start, and the one after, still say so.
            for _ in 0..2 {
                run.open();
                assert_eq!(visible(run.engine()).1.len(), missing.len(), "seed {seed}");
            }
        }
    });
}

#[test]
fn missing_cut_swapped_and_foreign_files_stop_nothing() {
    for_seeds(60, |seed| {
        let mut run = flushed(seed);
        let files = part_files(&run.vfs);
        let (path, len) = run.chance.pick(&files);
        let bytes = run.vfs.contents(&path).unwrap();
        match run.chance.below(4) {
            0 => run.vfs.install(&path, &[]),
            1 => run.vfs.install(&path, &bytes[..run.chance.below(len as u64) as usize]),
            2 => {
                let (other, _) = run.chance.pick(&files);
                let other_bytes = run.vfs.contents(&other).unwrap();
                run.vfs.install(&path, &other_bytes);
            }
            _ => run.vfs.install(&PathBuf::from("parts/default/what.parquet"), b"?"),
        }
        run.open();
        run.check();
    });
}

#[test]
fn a_future_stamp_and_a_jumping_clock_remove_nothing() {
    let mut run = flushed(1);
    let day = 86_400_000_000_000;
    let policy = |now: i64| Retention {
        now: Nanos(now),
        metrics: Some(Duration::from_secs(86_400)),
        logs: Some(Duration::from_secs(86_400)),
        traces: Some(Duration::from_secs(86_400)),
        ..Retention::default()
    };
    let now = EPOCH_MS * 1_000_000;
    assert_eq!(run.engine().expire(&policy(now)).unwrap().parts, 0);
    // The clock jumps ahead by ten days: nothing may go.
    assert_eq!(run.engine().expire(&policy(now + 10 * day)).unwrap().parts, 0);
    run.check();
    let whole: u64 = run.engine().stats().tables.iter().map(|table| table.bytes).sum();
    // Ten minutes later it still says so: old parts go, a tenth of the bytes at a time, oldest first.
    run.clock.advance(Duration::from_secs(601));
    let expired = run.engine().expire(&policy(now + 10 * day + 601_000_000_000)).unwrap();
    assert!(expired.parts >= 1 && (expired.parts == 1 || expired.bytes * 10 <= whole));
    let before = run.engine().stats().tables.iter().map(|table| table.parts).sum::<u64>();
    assert_eq!(part_files(&run.vfs).len() as u64, before, "files of expired parts are gone");
}

/// Whatever operation it dies in, files of parts are there whole or not at all, and recent rows stay.
#[test]
fn retention_by_size_that_dies_leaves_nothing_half() {
    for_seeds(24, |k| {
        let mut run = Run::new(k);
        for _ in 0..4 {
            run.write();
            run.engine().flush().unwrap();
        }
        let flushed = run.acknowledged.clone();
        run.write();
        let policy = Retention { now: Nanos(EPOCH_MS * 1_000_000), bytes: Some(0), ..Retention::default() };
        run.vfs.die_at(1 + k);
        for _ in 0..3 {
            let _ = run.engine().expire(&policy);
        }
        run.vfs = run.vfs.kill();
        run.open();
        let (items, missing) = visible(run.engine());
        assert_eq!(missing, [""; 0], "seed {k}");
        let sent: BTreeSet<String> = run.sent.iter().flat_map(|id| items_of(*id)).collect();
        assert!(items.iter().all(|item| sent.contains(item)), "seed {k}");
        let recent = run.acknowledged.difference(&flushed).flat_map(|id| items_of(*id));
        assert!(recent.into_iter().all(|item| items.contains(&item)), "seed {k}: recent rows went");
        let parts: u64 = run.engine().stats().tables.iter().map(|table| table.parts).sum();
        assert_eq!(part_files(&run.vfs).len() as u64, parts, "seed {k}");
    });
}
