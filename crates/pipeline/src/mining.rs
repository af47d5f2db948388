//! Mining of log patterns beside the commit: a tap, a bounded queue, one thread, and a miner that queries may ask.
//!
//! Mining never slows a commit. What it cannot keep up with it samples: above [`LINES_PER_SECOND`] a batch is looked at
//! in strides, and each line looked at stands for its stride. Groups beyond the queue's bound are left out and counted.
//! Tenants whose names start with `_` are ours for housekeeping; nobody asks for their patterns, and none are mined.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kenning_model::{
    Batch, Block, Cancel, Filter, Flow, LabelSet, LogBatch, Nanos, Order, Scan, Shape, Store, Table,
    TenantId, TimeRange, Write,
};
use kenning_patterns::{Asked, Fed, Miner, Options, PatternRow};
use kenning_stdx::clock::Clock;

use crate::bucket::Bucket;
use crate::queue::{GroupMax, Queue};
use crate::tap::Tap;
use crate::telemetry::{Counter, Declaration, Gauge, Labels, Metric, Registry};

/// Lines mined in a second before sampling sets in; twice as many in a burst. A line costs two microseconds.
pub const LINES_PER_SECOND: u64 = 10_000;

/// Bytes of groups that may wait to be mined.
const QUEUE_BYTES: usize = 8 << 20;

/// How far back the store is read after a start, and how many lines at most.
const REBUILD_SPAN: Duration = Duration::from_secs(3 * 3600);
const REBUILD_LINES: usize = 50_000;

/// Asks the miner; clones share it.
#[derive(Clone, Debug)]
pub struct Patterns(Arc<Mutex<Miner>>);

impl Patterns {
    /// The patterns of a tenant's streams that `wanted` names, the most frequent first.
    #[must_use]
    pub fn ask(
        &self,
        tenant: &TenantId,
        wanted: impl Fn(&LabelSet) -> bool,
        asked: Asked,
    ) -> Vec<PatternRow> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).patterns(tenant, wanted, asked)
    }

    fn feed(&self, tenant: &TenantId, batch: &LogBatch, stride: usize) -> (Fed, usize) {
        let mut miner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (miner.feed(tenant, batch, stride), miner.bytes())
    }
}

/// The tap of a running miner; dropping it ends the thread once the queue is empty.
#[derive(Debug)]
pub struct Mining {
    queue: Arc<Queue<Arc<Vec<Write>>>>,
    stats: Arc<MiningStats>,
}

impl Mining {
    /// Starts the thread. First it reads what the store holds of the last hours, so that patterns outlive a restart;
    /// lines that arrive late during that reading may count twice.
    pub fn start(
        options: Options,
        store: Arc<dyn Store>,
        tenants: Vec<TenantId>,
        clock: Arc<dyn Clock>,
        registry: &Registry,
    ) -> io::Result<(Arc<Self>, Patterns)> {
        let patterns = Patterns(Arc::new(Mutex::new(Miner::new(options))));
        let stats = Arc::new(MiningStats::new(registry));
        let queue = Arc::new(Queue::new(QUEUE_BYTES));
        let worker = Worker {
            patterns: patterns.clone(),
            queue: Arc::clone(&queue),
            stats: Arc::clone(&stats),
            budget: Bucket::with_double_burst(LINES_PER_SECOND, clock.steady()),
            clock,
        };
        std::thread::Builder::new().name("patterns".into()).spawn(move || worker.run(&*store, &tenants))?;
        Ok((Arc::new(Self { queue, stats }), patterns))
    }
}

impl Drop for Mining {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl Tap for Mining {
    fn committed(&self, group: &Arc<Vec<Write>>) {
        let logs =
            group.iter().filter(|write| matches!(write.batch, Batch::Logs(_)) && is_mined(&write.tenant));
        let (lines, bytes) = logs.fold((0, 0), |(lines, bytes), write| {
            (lines + write.batch.len() as u64, bytes + write.batch.heap_bytes())
        });
        if lines > 0 && self.queue.push(bytes, Arc::clone(group), false).is_err() {
            self.stats.left_out(Why::Busy, lines);
        }
    }
}

fn is_mined(tenant: &TenantId) -> bool {
    !tenant.as_str().starts_with('_')
}

struct Worker {
    patterns: Patterns,
    queue: Arc<Queue<Arc<Vec<Write>>>>,
    stats: Arc<MiningStats>,
    budget: Bucket,
    clock: Arc<dyn Clock>,
}

impl Worker {
    fn run(mut self, store: &dyn Store, tenants: &[TenantId]) {
        tenants.iter().for_each(|tenant| self.rebuild(store, tenant));
        while let Some((groups, bytes)) = self.queue.take_group(GroupMax { items: 1, bytes: QUEUE_BYTES }) {
            for write in groups.iter().flat_map(|group| group.iter()).filter(|write| is_mined(&write.tenant))
            {
                if let Batch::Logs(batch) = &write.batch {
                    self.mine(&write.tenant, batch);
                }
            }
            drop(groups);
            self.queue.release(bytes);
        }
    }

    fn mine(&mut self, tenant: &TenantId, batch: &LogBatch) {
        let stride = self.stride(batch.time.len());
        let (fed, bytes) = self.patterns.feed(tenant, batch, stride);
        self.stats.count(fed, bytes);
    }

    /// The smallest power of two that makes a batch fit into what is left of the budget; 64 beyond.
    fn stride(&mut self, lines: usize) -> usize {
        let now = self.clock.steady();
        let fits = |stride: &usize| self.budget.charge(lines.div_ceil(*stride) as u64, now).is_ok();
        [1, 2, 4, 8, 16, 32].into_iter().find(fits).unwrap_or(64)
    }

    fn rebuild(&mut self, store: &dyn Store, tenant: &TenantId) {
        let now = self.clock.unix_nanos();
        let span = i64::try_from(REBUILD_SPAN.as_nanos()).unwrap_or(i64::MAX);
        let scan = Scan {
            tenant: tenant.clone(),
            table: Table::Logs,
            time: TimeRange { start: Nanos(now.saturating_sub(span)), end: Nanos(now) },
            filter: Filter::All,
            shape: Shape::Rows,
            order: Order::NewestFirst,
            limit: Some(REBUILD_LINES),
            bytes_max: Scan::BYTES_MAX_DEFAULT,
            cancel: Cancel::default(),
        };
        // An answer that fails leaves patterns to begin with what comes; the scan's own failure is the store's to tell.
        let _ = store.scan(&scan, &mut |block| {
            if let Block::Logs(batch) = block {
                let (fed, bytes) = self.patterns.feed(tenant, &batch, 1);
                self.stats.count(fed, bytes);
            }
            Flow::More
        });
    }
}

/// Why lines were not mined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Why {
    Busy,
    TooManyStreams,
}

impl Labels for Why {
    const NAMES: &'static [&'static str] = &["reason"];
    fn values(&self) -> Vec<String> {
        vec![match self {
            Self::Busy => "busy".to_owned(),
            Self::TooManyStreams => "too_many_streams".to_owned(),
        }]
    }
}

#[derive(Debug)]
struct MiningStats {
    mined: Arc<Counter>,
    left_out: Arc<Metric<Why, Counter>>,
    forgotten: Arc<Counter>,
    bytes: Arc<Gauge>,
}

impl MiningStats {
    fn new(registry: &Registry) -> Self {
        Self {
            mined: registry.counter(MINED).with(&()),
            left_out: registry.counter(LEFT_OUT),
            forgotten: registry.counter(FORGOTTEN).with(&()),
            bytes: registry.gauge(BYTES_HELD).with(&()),
        }
    }

    fn count(&self, fed: Fed, bytes: usize) {
        self.mined.add(fed.mined);
        self.forgotten.add(fed.forgotten);
        self.bytes.set(bytes as u64);
        if fed.too_many_streams > 0 {
            self.left_out(Why::TooManyStreams, fed.too_many_streams);
        }
    }

    fn left_out(&self, why: Why, lines: u64) {
        self.left_out.with(&why).add(lines);
    }
}

const MINED: Declaration =
    Declaration { name: "kenning_patterns_lines_total", help: "Log lines counted under a pattern", unit: "" };
const LEFT_OUT: Declaration = Declaration {
    name: "kenning_patterns_skipped_lines_total",
    help: "Log lines stored but not counted under any pattern, by reason",
    unit: "",
};
const FORGOTTEN: Declaration = Declaration {
    name: "kenning_patterns_forgotten_total",
    help: "Patterns forgotten to stay within the limits on memory and number",
    unit: "",
};
const BYTES_HELD: Declaration = Declaration {
    name: "kenning_patterns_memory_bytes",
    help: "Memory held by patterns and their counts, roughly",
    unit: "bytes",
};
