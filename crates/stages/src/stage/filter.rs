//! Stages that decide whether a record goes on: `drop`, `limit`, `sampling`, `match`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kenning_logql::LineMatcher;
use kenning_model::LogRow;
use kenning_pipeline::{Bucket, Refusal};
use kenning_stdx::random::Random;
use kenning_yaml::Node;
use regex::Regex;

use super::{Builder, Side, Stage, Verdict, read_list, run};
use crate::config::Fields;
use crate::entry::Entry;
use crate::recent::Recent;

/// Values of a label that a limit keeps apart when nobody says otherwise; Promtail's least.
const LIMITED_VALUES: u64 = 10_000;
/// The same at most.
const LIMITED_VALUES_MAX: u64 = 1_000_000;

fn reason(fields: &mut Fields<'_, '_>, usual: &str) -> String {
    fields.text("drop_counter_reason").filter(|reason| !reason.is_empty()).unwrap_or_else(|| usual.to_owned())
}

/// `drop`: all conditions must hold.
#[derive(Debug)]
pub(crate) struct Drop {
    sources: Vec<String>,
    separator: String,
    wanted: Option<Wanted>,
    older_than: Option<Duration>,
    longer_than: Option<u64>,
    reason: String,
}

#[derive(Debug)]
enum Wanted {
    Value(String),
    Regex(Regex),
}

impl Wanted {
    fn holds(&self, text: &str) -> bool {
        match self {
            Self::Value(value) => value == text,
            Self::Regex(regex) => regex.is_match(text),
        }
    }
}

impl Drop {
    pub fn read(fields: &mut Fields<'_, '_>) -> Self {
        let sources = fields.texts("source").unwrap_or_default();
        let (value, regex) = (fields.text("value"), fields.regex("expression"));
        if value.is_some() && regex.is_some() {
            fields.wrong("value", "cannot stand beside expression; keep one of them");
        }
        if value.is_some() && sources.is_empty() {
            fields.wrong("value", "needs source: the extracted field that is compared");
        }
        let wanted = regex.map(Wanted::Regex).or(value.map(Wanted::Value));
        let (older_than, longer_than) = (fields.duration("older_than"), fields.size("longer_than"));
        let has_condition = !sources.is_empty() || wanted.is_some();
        if !has_condition && older_than.is_none() && longer_than.is_none() {
            fields.wrong("", "needs at least one of source, expression, older_than, longer_than");
        }
        let separator = fields.text("separator").unwrap_or_else(|| ";".to_owned());
        Self { sources, separator, wanted, older_than, longer_than, reason: reason(fields, "drop_stage") }
    }

    pub fn run(&self, entry: &Entry<'_>, side: &Side<'_>) -> Verdict<'_> {
        let is_short = self.longer_than.is_some_and(|max| entry.line.len() as u64 <= max);
        let age = i128::from(side.now.0) - i128::from(entry.time.0);
        let is_young = self.older_than.is_some_and(|max| age <= max.as_nanos().cast_signed());
        if is_short || is_young || !self.text_holds(entry) {
            return Verdict::Keep;
        }
        Verdict::Drop(&self.reason)
    }

    fn text_holds(&self, entry: &Entry<'_>) -> bool {
        let Some(wanted) = &self.wanted else {
            // Fields without a value count as there.
            return self.sources.iter().all(|source| entry.extracted.get(source).is_some());
        };
        if self.sources.is_empty() {
            return wanted.holds(&entry.line);
        }
        let found: Vec<_> = self.sources.iter().filter_map(|source| entry.extracted.text(source)).collect();
        !found.is_empty() && wanted.holds(&found.join(&self.separator))
    }
}

/// `limit`
#[derive(Debug)]
pub(crate) struct Limit {
    rate: f64,
    burst: f64,
    how: How,
}

#[derive(Debug)]
enum How {
    /// The batch comes again when the rate allows.
    Wait(Mutex<Option<Bucket>>),
    /// Records beyond the rate are dropped.
    Drop(Mutex<Option<Bucket>>),
    /// Those beyond a rate for each value of a label are.
    DropBy(String, Mutex<Recent<String, Bucket>>),
}

/// The reason of what a limit drops.
const LIMITED: &str = "ratelimit_drop_stage";

impl Limit {
    pub fn read(fields: &mut Fields<'_, '_>) -> Option<Self> {
        let positive = |fields: &mut Fields<'_, '_>, name| {
            let number = fields.number(name).unwrap_or(0.0);
            if number <= 0.0 {
                fields.wrong(
                    name,
                    "must be a number above 0: lines a second for rate, lines at once for burst",
                );
            }
            (number > 0.0).then_some(number)
        };
        let (rate, burst) = (positive(fields, "rate"), positive(fields, "burst"));
        let drops = fields.flag("drop").unwrap_or(false);
        let label = fields.text("by_label_name").filter(|name| !name.is_empty());
        let values =
            fields.count("max_distinct_labels").unwrap_or(0).clamp(LIMITED_VALUES, LIMITED_VALUES_MAX);
        let how = match label {
            Some(_) if !drops => {
                fields.wrong(
                    "drop",
                    "must be true with by_label_name: one value must not hold back the others",
                );
                return None;
            }
            Some(name) => {
                How::DropBy(name, Mutex::new(Recent::new(usize::try_from(values).unwrap_or(usize::MAX))))
            }
            None if drops => How::Drop(Mutex::default()),
            None => How::Wait(Mutex::default()),
        };
        Some(Self { rate: rate?, burst: burst?, how })
    }

    pub fn run<'s>(this: &'s Arc<Self>, entry: &Entry<'_>, side: &mut Side<'_>) -> Verdict<'s> {
        let passes = match &this.how {
            How::Wait(_) => {
                side.waits.add(this);
                true
            }
            How::Drop(bucket) => this.take(bucket, 1, side.steady).is_ok(),
            How::DropBy(name, buckets) => match entry.labels.get(name) {
                "" => true,
                value => {
                    let mut buckets = lock(buckets);
                    let new = || Bucket::new(this.rate, this.burst, side.steady);
                    buckets.get_or(&value.to_owned(), new).charge(1, side.steady).is_ok()
                }
            },
        };
        if passes { Verdict::Keep } else { Verdict::Drop(LIMITED) }
    }

    fn take(&self, bucket: &Mutex<Option<Bucket>>, count: u64, now: Duration) -> Result<(), Duration> {
        lock(bucket).get_or_insert_with(|| Bucket::new(self.rate, self.burst, now)).charge(count, now)
    }
}

/// Records of a batch that have to wait, by the limit that says so.
#[derive(Debug, Default)]
pub(crate) struct Waits(Vec<(Arc<Limit>, u64)>);

impl Waits {
    fn add(&mut self, limit: &Arc<Limit>) {
        match self.0.iter_mut().find(|(known, _)| Arc::ptr_eq(known, limit)) {
            Some((_, count)) => *count += 1,
            None => self.0.push((Arc::clone(limit), 1)),
        }
    }

    /// Takes the records' share of every rate, or of none: then the batch has to come again.
    pub fn settle(&self, now: Duration) -> Result<(), Refusal> {
        for (place, (limit, count)) in self.0.iter().enumerate() {
            let How::Wait(bucket) = &limit.how else { continue };
            if let Err(retry_after) = limit.take(bucket, *count, now) {
                self.0.iter().take(place).for_each(|(limit, count)| limit.give_back(*count));
                let limit = limit.rate.ceil() as u64;
                return Err(Refusal::RateLimited { retry_after, limit, setting: "the pipeline stage limit" });
            }
        }
        Ok(())
    }
}

impl Limit {
    fn give_back(&self, count: u64) {
        if let How::Wait(bucket) = &self.how
            && let Some(bucket) = lock(bucket).as_mut()
        {
            bucket.refund(count);
        }
    }
}

/// `sampling`
#[derive(Debug)]
pub(crate) struct Sampling {
    rate: f64,
    random: Mutex<Random>,
    reason: String,
}

impl Sampling {
    pub fn read(fields: &mut Fields<'_, '_>) -> Self {
        let rate = fields.number("rate");
        if rate.is_none_or(|rate| !(0.0..=1.0).contains(&rate)) {
            fields.wrong("rate", "must be a number from 0 (drop all) to 1 (keep all)");
        }
        let reason = reason(fields, "sampling_stage");
        Self { rate: rate.unwrap_or(1.0), random: Mutex::new(Random::from_os()), reason }
    }

    pub fn run(&self) -> Verdict<'_> {
        if lock(&self.random).unit() < self.rate { Verdict::Keep } else { Verdict::Drop(&self.reason) }
    }
}

/// `match`
#[derive(Debug)]
pub(crate) struct Match {
    selector: LineMatcher,
    action: Action,
}

#[derive(Debug)]
enum Action {
    Run(Vec<Stage>),
    Drop(String),
}

impl Match {
    pub fn read(at: &str, node: &Node, builder: &mut Builder<'_>, depth: usize) -> Option<Self> {
        let mut fields = Fields::open(at, node, builder.report);
        let text = fields.required("selector", "write a LogQL selector such as {app=\"api\"} |= \"error\"");
        let selector = LineMatcher::new(&text);
        let selector = match selector {
            Err(problem) if !text.is_empty() => {
                fields.wrong("selector", format!("{text:?} is not a LogQL selector: {problem}"));
                None
            }
            selector => selector.ok(),
        };
        let action = fields.text("action").unwrap_or_else(|| "keep".to_owned());
        let reason = reason(&mut fields, "match_stage");
        let (stages, stages_at) = (fields.get("stages"), fields.path("stages"));
        fields.get("pipeline_name");
        let is_drop = match action.as_str() {
            "" | "keep" => false,
            "drop" => true,
            _ => {
                fields.wrong("action", format!("{action:?} must be keep or drop"));
                false
            }
        };
        let stages = match stages {
            Some(_) if is_drop => {
                fields.wrong("stages", "cannot stand beside action: drop; remove one of them");
                None
            }
            None if !is_drop => {
                fields.wrong("stages", "is missing; write the stages for lines that match, or action: drop");
                None
            }
            stages => stages,
        };
        fields.finish();
        let action = match stages {
            Some(stages) => Action::Run(read_list(&stages_at, stages, 0, builder, depth + 1)),
            None => Action::Drop(reason),
        };
        Some(Self { selector: selector?, action })
    }

    pub fn run(&self, entry: &mut Entry<'_>, side: &mut Side<'_>) -> Verdict<'_> {
        let (labels, metadata) = (entry.labels.to_set(), entry.metadata.to_set());
        let row = LogRow {
            stream: &labels,
            time: entry.time,
            severity: entry.severity,
            trace_id: entry.trace_id,
            span_id: entry.span_id,
            line: &entry.line,
            metadata: &metadata,
        };
        if !self.selector.matches(&row, side.now) {
            return Verdict::Keep;
        }
        match &self.action {
            Action::Run(stages) => run(stages, entry, side),
            Action::Drop(reason) => Verdict::Drop(reason),
        }
    }
}

// Every critical section leaves the state whole, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
