//! Label sets of each metric, and the table of all metrics.
//!
//! A label set is found in a cache of the calling thread; only the first use per thread goes to the shared map.
//! Cells live as long as the process: label sets are bounded, so what is leaked is bounded, and handles stay free of
//! reference counts that threads would fight over.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use crate::sync::lock;

use super::cells::{Cells, Reading};
use super::labels::{END, WriteLabels};
use super::{Declaration, Item, Kind, Registered};

/// Label sets of one metric.
pub const LABEL_SETS_MAX: usize = 2000;
/// Label sets one thread remembers over all metrics; forgotten all at once when more come.
const THREAD_CACHE_MAX: usize = 4096;

type Callback = Box<dyn Fn() -> f64 + Send + Sync>;

/// One metric's label sets.
#[doc(hidden)]
pub struct Family {
    id: u64,
    declaration: &'static Declaration,
    sets: Mutex<BTreeMap<Box<str>, &'static Cells>>,
    /// The only set of a metric without labels.
    single: OnceLock<&'static Cells>,
    callback: OnceLock<Callback>,
}

impl std::fmt::Debug for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Family").field("name", &self.declaration.name).finish_non_exhaustive()
    }
}

impl Family {
    fn new(declaration: &'static Declaration) -> Self {
        static IDS: AtomicU64 = AtomicU64::new(0);
        Self {
            id: IDS.fetch_add(1, Ordering::Relaxed),
            declaration,
            sets: Mutex::new(BTreeMap::new()),
            single: OnceLock::new(),
            callback: OnceLock::new(),
        }
    }

    pub(crate) fn set_callback(&self, callback: Callback) {
        let _ = self.callback.set(callback);
    }

    fn new_cells(&self) -> &'static Cells {
        Box::leak(Box::new(match self.declaration.kind {
            Kind::Counter => Cells::counter(),
            Kind::Gauge => Cells::gauge(),
            Kind::Histogram => Cells::histogram(self.declaration.buckets),
        }))
    }

    fn single(&self) -> &'static Cells {
        self.single.get_or_init(|| self.new_cells())
    }

    /// The set of this key, made if there is room.
    fn set(&self, key: &str) -> Option<&'static Cells> {
        let mut sets = lock(&self.sets);
        if let Some(cells) = sets.get(key) {
            return Some(cells);
        }
        if sets.len() >= LABEL_SETS_MAX {
            return None;
        }
        let cells = self.new_cells();
        sets.insert(Box::from(key), cells);
        Some(cells)
    }

    fn snapshot(&self) -> FamilySnapshot {
        let mut snapshot = FamilySnapshot::of(self.declaration);
        if let Some(callback) = self.callback.get() {
            // A panicking callback costs its own sample, not the scrape.
            if let Ok(value) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(callback)) {
                snapshot.sample(Vec::new(), Reading::Gauge(value));
            }
        } else if self.declaration.labels.is_empty() {
            // A metric without labels exists from the start: rate() over its first increment is then right.
            snapshot.sample(Vec::new(), self.single().read());
        } else {
            let sets: Vec<(Box<str>, &Cells)> =
                lock(&self.sets).iter().map(|(key, cells)| (key.clone(), *cells)).collect();
            for (key, cells) in sets {
                snapshot.sample(key.split_terminator(END).map(str::to_owned).collect(), cells.read());
            }
        }
        snapshot
    }
}

/// A metric and its values at one moment.
#[derive(Debug, Clone)]
pub(crate) struct FamilySnapshot {
    pub(crate) name: String,
    pub(crate) help: String,
    pub(crate) kind: Kind,
    pub(crate) label_names: Vec<String>,
    pub(crate) samples: Vec<Sample>,
}

/// A label set's values at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) label_values: Vec<String>,
    pub(crate) reading: Reading,
}

impl FamilySnapshot {
    fn of(declaration: &Declaration) -> Self {
        Self::new(declaration.name, declaration.help, declaration.kind, declaration.labels)
    }

    pub(crate) fn new(name: &str, help: &str, kind: Kind, labels: &[&str]) -> Self {
        let help = help.split('\n').map(str::trim).collect::<Vec<_>>().join(" ");
        Self {
            name: name.to_owned(),
            help: help.trim().to_owned(),
            kind,
            label_names: labels.iter().map(|label| (*label).to_owned()).collect(),
            samples: Vec::new(),
        }
    }

    pub(crate) fn sample(&mut self, label_values: Vec<String>, reading: Reading) {
        self.samples.push(Sample { label_values, reading });
    }
}

/// Metrics of one test instead of the process: see `testing`.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    families: Mutex<BTreeMap<&'static str, &'static Family>>,
    cardinality_drops: AtomicU64,
}

impl Scope {
    fn family(&self, declaration: &'static Declaration) -> &'static Family {
        lock(&self.families)
            .entry(declaration.name)
            .or_insert_with(|| Box::leak(Box::new(Family::new(declaration))))
    }

    pub(crate) fn snapshot(&self) -> Vec<FamilySnapshot> {
        let families: Vec<&Family> = lock(&self.families).values().copied().collect();
        families.into_iter().map(Family::snapshot).collect()
    }

    pub(crate) fn cardinality_drops(&self) -> u64 {
        self.cardinality_drops.load(Ordering::Relaxed)
    }
}

thread_local! {
    static SCOPE: RefCell<Option<Arc<Scope>>> = const { RefCell::new(None) };
    static CACHE: RefCell<Cache> = RefCell::default();
}

/// Redirects this thread's metrics into `scope` until the guard is dropped.
pub(crate) fn enter_scope(scope: Arc<Scope>) -> ScopeGuard {
    ScopeGuard(SCOPE.with(|slot| slot.borrow_mut().replace(scope)))
}

/// Puts the outer scope back.
#[derive(Debug)]
pub(crate) struct ScopeGuard(Option<Arc<Scope>>);

impl Drop for ScopeGuard {
    fn drop(&mut self) {
        let previous = self.0.take();
        let _ = SCOPE.try_with(|slot| *slot.borrow_mut() = previous);
    }
}

static CARDINALITY_DROPS: AtomicU64 = AtomicU64::new(0);

/// Counts one observation of a label set that there was no room for.
pub(crate) fn count_cardinality_drop() {
    let scoped = SCOPE.try_with(|slot| {
        slot.borrow().as_ref().map(|scope| scope.cardinality_drops.fetch_add(1, Ordering::Relaxed)).is_some()
    });
    if scoped != Ok(true) {
        CARDINALITY_DROPS.fetch_add(1, Ordering::Relaxed);
    }
}

/// Observations of the process that found no room.
pub(crate) fn cardinality_drops() -> u64 {
    CARDINALITY_DROPS.load(Ordering::Relaxed)
}

/// Runs `body` with the family this thread's updates go to.
pub(crate) fn family_of<R>(item: &Item, body: impl FnOnce(&Family) -> R) -> R {
    let scoped = SCOPE
        .try_with(|slot| slot.borrow().as_ref().map(|scope| scope.family(item.declaration)))
        .ok()
        .flatten();
    match scoped {
        Some(family) => body(family),
        None => body(item.family.get_or_init(|| Family::new(item.declaration))),
    }
}

/// The cells of a label set; `None` when the metric is full.
pub(crate) fn resolve(item: &Item, labels: &impl WriteLabels) -> Option<&'static Cells> {
    family_of(item, |family| {
        if item.declaration.labels.is_empty() {
            return Some(family.single());
        }
        let cached = CACHE.try_with(|cache| cache.borrow_mut().resolve(family, labels));
        cached.unwrap_or_else(|_| {
            let mut key = String::new();
            labels.write_all(&mut key);
            family.set(&key)
        })
    })
}

/// One thread's label sets by family and key.
#[derive(Default)]
struct Cache {
    sets: HashMap<CacheKey, &'static Cells, BuildHasherDefault<KeyHasher>>,
    /// The key looked up, kept for its buffer.
    probe: CacheKey,
}

#[derive(Default, PartialEq, Eq, Hash)]
struct CacheKey {
    family: u64,
    key: String,
}

impl Cache {
    fn resolve(&mut self, family: &Family, labels: &impl WriteLabels) -> Option<&'static Cells> {
        self.probe.family = family.id;
        self.probe.key.clear();
        labels.write_all(&mut self.probe.key);
        if let Some(cells) = self.sets.get(&self.probe) {
            return Some(cells);
        }
        let cells = family.set(&self.probe.key)?;
        if self.sets.len() >= THREAD_CACHE_MAX {
            self.sets.clear();
        }
        self.sets.insert(CacheKey { family: family.id, key: self.probe.key.clone() }, cells);
        Some(cells)
    }
}

/// A multiply-rotate hash in eight-byte steps: several times faster than the default on short keys. Keys come from
/// the program's own labels, are bounded per metric, and a collision costs time, not truth.
#[derive(Default)]
struct KeyHasher(u64);

impl KeyHasher {
    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self.mix(word.try_into().map_or(0, u64::from_le_bytes));
        }
        let tail = words.remainder().iter().fold(0, |tail, byte| tail << 8 | u64::from(*byte));
        self.mix(tail | (bytes.len() as u64) << 56);
    }

    fn write_u8(&mut self, value: u8) {
        self.mix(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.mix(value);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }
}

/// Every declared metric of this program, sorted by name; the first of equal names.
pub(crate) fn declarations() -> Vec<&'static Declaration> {
    registered().into_values().map(|entry| entry.declaration).collect()
}

fn registered() -> BTreeMap<&'static str, &'static Registered> {
    let mut table: BTreeMap<&'static str, &'static Registered> = BTreeMap::new();
    for entry in inventory::iter::<Registered> {
        table
            .entry(entry.declaration.name)
            // Link order is arbitrary; the module decides, so that every run shows the same one.
            .and_modify(|known| {
                if entry.declaration.module < known.declaration.module {
                    *known = entry;
                }
            })
            .or_insert(entry);
    }
    table
}

/// Names declared more than once, with the modules that do.
pub(crate) fn conflicts() -> Vec<String> {
    let mut modules: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for entry in inventory::iter::<Registered> {
        modules.entry(entry.declaration.name).or_default().push(entry.declaration.module);
    }
    let twice = modules.into_iter().filter(|(_, modules)| modules.len() > 1);
    twice
        .map(|(name, modules)| format!("metric `{name}` is declared twice: in {}", modules.join(" and ")))
        .collect()
}

/// Everything this process has to show, sorted by name.
pub(crate) fn snapshot_all() -> Vec<FamilySnapshot> {
    let mut families: Vec<FamilySnapshot> = registered()
        .into_values()
        .map(|entry| entry.family.get_or_init(|| Family::new(entry.declaration)).snapshot())
        .collect();
    families.extend(super::process::snapshot());
    families.extend(crate::health::snapshot());
    families.extend(crate::own::snapshot(cardinality_drops()));
    families.sort_by(|a, b| a.name.cmp(&b.name));
    families.dedup_by(|later, first| later.name == first.name);
    families
}
