//! The miner: trees by tenant, stream and level, within limits.

use std::collections::{BTreeMap, HashMap};

use kenning_model::keyed::Prehashed;
use kenning_model::{LabelSet, LogBatch, Nanos, Severity, TenantId, TimeRange};

use crate::counts::{BUCKET_NANOS, bucket_of, start_of};
use crate::message::message_of;
use crate::shape::Shape;
use crate::tree::{HOLE, Template, Tree};

/// Limits of a miner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes of everything together; beyond it the templates that were not seen for longest go.
    pub bytes: usize,
    /// Templates of one stream and level; beyond it the one that was not seen for longest goes.
    pub templates: usize,
    /// Streams (times levels) of a tenant; lines of further ones are not mined.
    pub streams: usize,
    /// Bytes of a message that are looked at; the rest is a hole.
    pub message_bytes: usize,
    /// Words of a message; the rest is a hole.
    pub words: usize,
    /// How far back counts are kept, in nanoseconds, from the latest line seen.
    pub keep_nanos: i64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bytes: 64 << 20,
            templates: 300,
            streams: 4096,
            message_bytes: 2048,
            words: 100,
            keep_nanos: 24 * 3600 * 1_000_000_000,
        }
    }
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fed {
    /// Lines counted under a template.
    pub mined: u64,
    /// Lines left out because their tenant has too many streams.
    pub too_many_streams: u64,
    /// Templates forgotten to stay within limits.
    pub forgotten: u64,
}

/// A question.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Lines stamped inside.
    pub time: TimeRange,
    /// Distance between samples, in nanoseconds; at least that of the miner's own buckets, ten seconds.
    pub step_nanos: i64,
}

/// One pattern of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternRow {
    /// The template as a LogQL pattern.
    pub pattern: String,
    /// The level its lines have.
    pub level: Severity,
    /// When it was first seen, to ten seconds, as far as is remembered.
    pub first_seen: Nanos,
    /// When it was last seen, to ten seconds.
    pub last_seen: Nanos,
    /// Lines in the range asked for.
    pub lines: u64,
    /// Lines by start of step; empty steps are left out.
    pub samples: Vec<(Nanos, u64)>,
}

type Key = (LabelSet, Severity);

#[derive(Debug, Default)]
struct Tenant {
    trees: HashMap<Key, Tree, Prehashed>,
}

/// Templates of all tenants.
#[derive(Debug)]
pub struct Miner {
    options: Options,
    tenants: HashMap<TenantId, Tenant>,
    bytes: usize,
    latest: i32,
}

impl Miner {
    /// A miner that has seen nothing.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options, tenants: HashMap::new(), bytes: 0, latest: i32::MIN }
    }

    /// Counts a batch's lines. Under load the caller may leave lines out: of each run of `stride` lines the first is
    /// looked at and stands for all.
    pub fn feed(&mut self, tenant: &TenantId, batch: &LogBatch, stride: usize) -> Fed {
        let stride = stride.max(1);
        let mut fed = Fed::default();
        let owner = self.tenants.entry(tenant.clone()).or_default();
        let mut grown = 0;
        for row in (0..batch.time.len()).step_by(stride) {
            let weight = stride.min(batch.time.len() - row) as u32;
            let (Some(stream), Some(time)) = (batch.stream.get(row), batch.time.get(row)) else { continue };
            let Some(labels) = batch.streams.get(*stream as usize) else { continue };
            let level = batch.severity.get(row).copied().unwrap_or(Severity::UNKNOWN);
            let bucket = bucket_of(*time);
            self.latest = self.latest.max(bucket);
            match owner.tree(labels, level, &self.options) {
                Some(tree) => {
                    grown += add_line(tree, batch.line.get(row), bucket, weight, &self.options, &mut fed);
                    fed.mined += u64::from(weight);
                }
                None => fed.too_many_streams += u64::from(weight),
            }
        }
        self.bytes += grown;
        if self.bytes > self.options.bytes {
            fed.forgotten += self.shrink();
        }
        fed
    }

    /// Forgets old counts, then, while more than three quarters of the budget are held, the older half of what is
    /// remembered.
    fn shrink(&mut self) -> u64 {
        let keep = i32::try_from(self.options.keep_nanos / BUCKET_NANOS).unwrap_or(i32::MAX);
        let mut oldest = self.latest.saturating_sub(keep);
        let mut forgotten = 0;
        // Each round halves the span of time that is kept, so the loop ends.
        for _ in 0..32 {
            forgotten += self.forget_before(oldest);
            if self.bytes <= self.options.bytes / 4 * 3 {
                break;
            }
            oldest += (self.latest - oldest) / 2 + 1;
        }
        forgotten
    }

    fn forget_before(&mut self, bucket: i32) -> u64 {
        let mut forgotten = 0;
        for tenant in self.tenants.values_mut() {
            tenant.trees.retain(|_, tree| {
                for template in &mut tree.templates {
                    template.counts.forget_before(bucket);
                }
                forgotten += tree.retain(|template| template.last >= bucket) as u64;
                !tree.templates.is_empty()
            });
        }
        let trees = self.tenants.values().flat_map(|tenant| &tenant.trees);
        self.bytes = trees.map(|((labels, _), tree)| labels.heap_bytes() + tree.bytes()).sum();
        forgotten
    }

    /// The patterns of a tenant's streams that `wanted` names, the most frequent first.
    #[must_use]
    pub fn patterns(
        &self,
        tenant: &TenantId,
        wanted: impl Fn(&LabelSet) -> bool,
        asked: Asked,
    ) -> Vec<PatternRow> {
        let mut rows: BTreeMap<(String, Severity), PatternRow> = BTreeMap::new();
        let trees = self.tenants.get(tenant).into_iter().flat_map(|tenant| &tenant.trees);
        for ((_, level), tree) in trees.filter(|((labels, _), _)| wanted(labels)) {
            for template in &tree.templates {
                merge_row(&mut rows, template, *level, asked);
            }
        }
        let mut rows: Vec<_> = rows.into_values().filter(|row| row.lines > 0).collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.lines));
        rows
    }

    /// Bytes held, roughly.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Tenant {
    fn tree(&mut self, labels: &LabelSet, level: Severity, options: &Options) -> Option<&mut Tree> {
        let is_full = self.trees.len() >= options.streams;
        let key = (labels.clone(), level);
        if is_full && !self.trees.contains_key(&key) {
            return None;
        }
        Some(self.trees.entry(key).or_default())
    }
}

/// Counts a line; gives the bytes that the tree has grown by.
fn add_line(
    tree: &mut Tree,
    line: &str,
    bucket: i32,
    weight: u32,
    options: &Options,
    fed: &mut Fed,
) -> usize {
    let mut message = message_of(line);
    if let Some(cut) = cut(message.text, options.message_bytes) {
        message.text = cut;
        message.after = HOLE;
    }
    let mut shape = Shape::default().of(message.text, options.words);
    if message.after == HOLE && shape.separators.last().is_some_and(|text| text.is_empty()) {
        // The cut went through a word, so the word and what was cut off are one hole.
        shape.words.pop();
        shape.separators.pop();
    }
    let (index, is_new) = tree.add(message, &shape, bucket, weight);
    if !is_new {
        return size_of::<(i32, u32)>();
    }
    let grown = tree.templates.get(index).map_or(0, Template::bytes);
    if tree.templates.len() > options.templates {
        let oldest = tree.templates.iter().map(|template| template.last).min().unwrap_or(bucket);
        let mut spare = 1;
        fed.forgotten += tree.retain(|template| {
            let goes = spare > 0 && template.last == oldest;
            spare -= usize::from(goes);
            !goes
        }) as u64;
    }
    grown
}

/// The first `most` bytes of a text that is longer, at a boundary of characters.
fn cut(text: &str, most: usize) -> Option<&str> {
    if text.len() <= most {
        return None;
    }
    (0..=most).rev().find_map(|end| text.get(..end))
}

fn merge_row(
    rows: &mut BTreeMap<(String, Severity), PatternRow>,
    template: &Template,
    level: Severity,
    asked: Asked,
) {
    let step = asked.step_nanos.max(BUCKET_NANOS);
    let (first_seen, last_seen) = (start_of(template.first), start_of(template.last));
    let mut samples: BTreeMap<Nanos, u64> = BTreeMap::new();
    for (bucket, count) in template.counts.iter() {
        let start = start_of(bucket);
        if asked.time.contains(start) {
            *samples.entry(Nanos(start.0.div_euclid(step).saturating_mul(step))).or_default() +=
                u64::from(count);
        }
    }
    let pattern = template.text();
    let row = rows.entry((pattern.clone(), level)).or_insert_with(|| PatternRow {
        pattern,
        level,
        first_seen,
        last_seen,
        lines: 0,
        samples: Vec::new(),
    });
    row.first_seen = row.first_seen.min(first_seen);
    row.last_seen = row.last_seen.max(last_seen);
    row.lines += samples.values().sum::<u64>();
    for (at, count) in std::mem::take(&mut row.samples) {
        *samples.entry(at).or_default() += count;
    }
    row.samples = samples.into_iter().collect();
}
