//! Holds repeated errors back: of one message of a stream, the first few of each window are stored, and after the window
//! one line says how often it came besides.
//!
//! Two lines are the same message when they differ only in words with digits in them. A line held back counts as taken
//! (its sender hears of no error) and as dropped with the reason `throttled`; it is counted here only once the rest of its
//! batch is durable, so a batch that is refused and offered again counts once.
//!
//! Promises: at most [`MESSAGES_MAX`] messages are told apart, and lines of further ones pass; a summary is handed out
//! until somebody says it is durable ([`Throttle::give_back`] otherwise). Lacking: summaries across `kill -9`; the counts
//! of the window that runs then are lost, which is why this is off unless a setting says how many lines may pass.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kenning_model::keyed::{keyed_hash, keyed_pair};
use kenning_model::{Batch, LabelSet, LogBatch, LogRow, Nanos, Severity, SpanId, TenantId, TraceId};

use crate::intake::Refusal;
use crate::process::{Origin, Processed, Processor};

/// Most messages told apart.
pub const MESSAGES_MAX: usize = 8_192;
/// Most bytes of a message that are kept for its summary.
const SAMPLE_LEN_MAX: usize = 2 << 10;
/// Most bytes of a line that are looked at to tell messages apart.
const SHAPE_LEN_MAX: usize = 2 << 10;
/// Why lines go.
const THROTTLED: &str = "throttled";

/// What may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThrottleOptions {
    /// Lines of one message, per stream and window.
    pub lines: u64,
    /// How long a window is.
    pub window: Duration,
}

/// The processor, and what it has counted. Cloning shares it.
#[derive(Clone)]
pub struct Throttle {
    options: ThrottleOptions,
    messages: Arc<Mutex<HashMap<u64, Message>>>,
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle").field("options", &self.options).finish_non_exhaustive()
    }
}

/// One message of one stream in its window.
#[derive(Clone, Debug)]
struct Message {
    /// Steady clock.
    since: Duration,
    passed: u64,
    held: u64,
    tenant: TenantId,
    stream: LabelSet,
    severity: Severity,
    /// The line held back last, and its time.
    line: String,
    time: Nanos,
}

/// A line that tells how often a message was held back, ready to be stored.
#[derive(Debug)]
pub struct Summary {
    /// Whose it is.
    pub tenant: TenantId,
    /// One record.
    pub batch: LogBatch,
    key: u64,
    message: Message,
}

/// What a batch adds to a message once it is durable.
#[derive(Clone, Debug, Default)]
struct Change {
    passed: u64,
    held: u64,
    last_held: Option<usize>,
}

impl Throttle {
    /// Lets `options.lines` of each message pass.
    #[must_use]
    pub fn new(options: ThrottleOptions) -> Self {
        Self { options, messages: Arc::default() }
    }

    /// The summaries of windows that are over at `steady`; those of all windows when the server stops
    /// ([`Duration::MAX`]). Messages that went quiet are forgotten.
    #[must_use]
    pub fn due(&self, steady: Duration) -> Vec<Summary> {
        let window = self.options.window;
        let over = |message: &Message| steady.saturating_sub(message.since) >= window;
        let mut messages = self.lock();
        let due: Vec<(u64, Message)> = messages.extract_if(|_, message| over(message)).collect();
        drop(messages);
        let due = due.into_iter().filter(|(_, message)| message.held > 0);
        due.map(|(key, message)| message.into_summary(key, window)).collect()
    }

    /// Takes back a summary that could not be stored; it is handed out again.
    pub fn give_back(&self, summary: Summary) {
        let mut messages = self.lock();
        match messages.get_mut(&summary.key) {
            // A new window began meanwhile.
            Some(message) => message.held += summary.message.held,
            None => drop(messages.insert(summary.key, summary.message)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Message>> {
        // Every critical section leaves the table whole.
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which rows stay, and what each message gets.
    fn judge(
        &self,
        tenant: &TenantId,
        batch: &LogBatch,
        steady: Duration,
    ) -> (Vec<bool>, HashMap<u64, Change>) {
        let mut changes: HashMap<u64, Change> = HashMap::new();
        let mut messages = self.lock();
        // A window that is over is closed by `due`, which hands its summary out; until then it goes on.
        let is_full = messages.len() >= MESSAGES_MAX;
        let mut kept = vec![true; batch.len()];
        for (row, at) in batch.rows().zip(0..).filter(|(row, _)| row.severity >= Severity::ERROR) {
            let key = key_of(tenant, &row);
            let passed = match messages.get_mut(&key) {
                Some(message) => {
                    let is_over = steady.saturating_sub(message.since) >= self.options.window;
                    if is_over && message.held == 0 {
                        (message.since, message.passed) = (steady, 0);
                    }
                    message.passed
                }
                None if is_full => continue,
                None => 0,
            };
            let change = changes.entry(key).or_default();
            if passed + change.passed < self.options.lines {
                change.passed += 1;
            } else {
                change.held += 1;
                change.last_held = Some(at);
                if let Some(kept) = kept.get_mut(at) {
                    *kept = false;
                }
            }
        }
        (kept, changes)
    }

    fn note(&self, tenant: &TenantId, steady: Duration, changes: Vec<(u64, Change, Option<Sample>)>) {
        let mut messages = self.lock();
        for (key, change, sample) in changes {
            if messages.len() >= MESSAGES_MAX && !messages.contains_key(&key) {
                continue;
            }
            let message = messages.entry(key).or_insert_with(|| Message {
                since: steady,
                passed: 0,
                held: 0,
                tenant: tenant.clone(),
                stream: LabelSet::empty(),
                severity: Severity::ERROR,
                line: String::new(),
                time: Nanos(0),
            });
            message.passed += change.passed;
            message.held += change.held;
            if let Some(sample) = sample {
                (message.stream, message.line) = (sample.stream, sample.line);
                (message.severity, message.time) = (sample.severity, sample.time);
            }
        }
    }
}

/// A line that was held back.
#[derive(Clone, Debug)]
struct Sample {
    stream: LabelSet,
    line: String,
    severity: Severity,
    time: Nanos,
}

impl Processor for Throttle {
    fn process(&self, origin: &Origin<'_>, mut processed: Processed) -> Result<Processed, Refusal> {
        let Batch::Logs(batch) = &processed.batch else { return Ok(processed) };
        let (kept, changes) = self.judge(origin.tenant, batch, origin.steady);
        if changes.is_empty() {
            return Ok(processed);
        }
        let sample = |at: usize| {
            let row = batch.row(at)?;
            let end = row.line.floor_char_boundary(SAMPLE_LEN_MAX);
            let line = row.line.get(..end).unwrap_or_default().to_owned();
            Some(Sample { stream: row.stream.clone(), line, severity: row.severity, time: row.time })
        };
        let changes: Vec<_> = changes
            .into_iter()
            .map(|(key, change)| {
                let sample = change.last_held.and_then(sample);
                (key, change, sample)
            })
            .collect();
        let held = kept.iter().filter(|kept| !**kept).count() as u64;
        if held > 0 {
            let rows = (0u32..).zip(&kept).filter(|(_, kept)| **kept).map(|(row, _)| row).collect();
            processed.batch = Batch::Logs(rows_of(batch, &kept));
            processed.set_rows(rows);
            processed.drop_items(THROTTLED, held);
        }
        let (throttle, tenant, steady) = (self.clone(), origin.tenant.clone(), origin.steady);
        processed.when_durable(move || throttle.note(&tenant, steady, changes));
        Ok(processed)
    }
}

impl Message {
    fn into_summary(self, key: u64, window: Duration) -> Summary {
        let metadata = LabelSet::from_pairs([("repeated", self.held.to_string())]);
        let line = with_count(&self.line, self.held, window);
        let mut batch = LogBatch::default();
        let stream = batch.add_stream(self.stream.clone());
        let row = LogRow {
            stream: &self.stream,
            time: self.time,
            severity: self.severity,
            trace_id: TraceId::NONE,
            span_id: SpanId::NONE,
            line: &line,
            metadata: &metadata,
        };
        batch.push(stream, row);
        Summary { tenant: self.tenant.clone(), batch, key, message: self }
    }
}

/// The line with its count, in its own syntax.
fn with_count(line: &str, count: u64, window: Duration) -> String {
    let trimmed = line.trim_end();
    if let Some(object) = trimmed.strip_suffix('}').filter(|object| object.starts_with('{')) {
        let comma = if object.trim_end().ends_with('{') { "" } else { "," };
        return format!("{object}{comma}\"repeated\":{count}}}");
    }
    let first = trimmed.split(' ').next().unwrap_or_default();
    if first.contains('=') && !first.starts_with('=') {
        return format!("{trimmed} repeated={count}");
    }
    format!("{trimmed} (repeated {count} times in {} s)", window.as_secs())
}

fn key_of(tenant: &TenantId, row: &LogRow<'_>) -> u64 {
    let stream = keyed_pair(keyed_hash(tenant.as_str().as_bytes()), row.stream.keyed_hash());
    keyed_pair(stream, shape_of(row.line))
}

/// A hash of a line that does not see words with digits in them.
fn shape_of(line: &str) -> u64 {
    let bytes = line.as_bytes().get(..SHAPE_LEN_MAX).unwrap_or(line.as_bytes());
    let words = bytes.split(|byte| !byte.is_ascii_alphanumeric() && *byte < 0x80);
    // Neighbours count as one: an address has four words or one.
    let mut was_variable = false;
    words.fold(0, |hash, word| {
        let is_variable = word.iter().any(u8::is_ascii_digit);
        let is_more = std::mem::replace(&mut was_variable, is_variable) && is_variable;
        match (is_more, is_variable) {
            (true, _) => hash,
            (false, true) => keyed_pair(hash, 1),
            (false, false) => keyed_pair(hash, keyed_hash(word)),
        }
    })
}

fn rows_of(batch: &LogBatch, kept: &[bool]) -> LogBatch {
    let mut left = LogBatch::default();
    let mut moved: Vec<Option<u32>> = vec![None; batch.streams.len()];
    for ((row, stream), _) in batch.rows().zip(&batch.stream).zip(kept).filter(|(_, kept)| **kept) {
        if let Some(place) = moved.get_mut(*stream as usize) {
            let stream = *place.get_or_insert_with(|| left.add_stream(row.stream.clone()));
            left.push(stream, row);
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    fn batch(lines: &[(&str, Severity)]) -> Processed {
        let mut batch = LogBatch::default();
        let (labels, metadata) = (LabelSet::from_pairs([("app", "a")]), LabelSet::empty());
        let stream = batch.add_stream(labels.clone());
        for ((line, severity), at) in lines.iter().zip(1..) {
            let row = LogRow {
                stream: &labels,
                time: Nanos(at),
                severity: *severity,
                trace_id: TraceId::NONE,
                span_id: SpanId::NONE,
                line,
                metadata: &metadata,
            };
            batch.push(stream, row);
        }
        Processed::untouched(Batch::Logs(batch))
    }

    /// The lines that pass at a second; the batch is durable unless `lost`.
    fn pass(throttle: &Throttle, second: u64, lines: &[&str], lost: bool) -> Vec<String> {
        let tenant = TenantId::parse("t").expect("a tenant");
        let steady = Duration::from_secs(second);
        let origin = Origin { tenant: &tenant, receiver: "", now: Nanos(0), steady };
        let lines: Vec<_> = lines.iter().map(|line| (*line, Severity::ERROR)).collect();
        let processed = throttle.process(&origin, batch(&lines)).expect("never refuses");
        let Batch::Logs(left) = &processed.batch else { panic!() };
        let passed = left.line.iter().map(str::to_owned).collect();
        let (_, _, aftermath) = processed.into_parts();
        if !lost {
            aftermath.run();
        }
        passed
    }

    fn due(throttle: &Throttle, second: u64) -> Vec<String> {
        let due = throttle.due(Duration::from_secs(second));
        due.iter()
            .map(|one| format!("{} {}", one.batch.line.get(0), one.batch.metadata[0].get("repeated")))
            .collect()
    }

    fn throttle() -> Throttle {
        Throttle::new(ThrottleOptions { lines: 2, window: WINDOW })
    }

    #[test]
    fn repeats_are_held_back_and_summed_up() {
        let throttle = throttle();
        let line = |n: u32| format!("cannot reach 10.0.0.{n} after {n} ms");
        let lines: Vec<_> = (0..5).map(line).collect();
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        assert_eq!(pass(&throttle, 0, &lines, false), lines[..2]);
        assert_eq!(pass(&throttle, 10, &["cannot reach 1 after 2 ms", "other"], false), ["other"]);
        assert_eq!(due(&throttle, 59), Vec::<String>::new());
        assert_eq!(due(&throttle, 60), ["cannot reach 1 after 2 ms (repeated 4 times in 60 s) 4"]);
        assert_eq!(due(&throttle, 200), Vec::<String>::new());
        assert_eq!(pass(&throttle, 201, &lines, false), lines[..2]);
    }

    #[test]
    fn what_is_refused_counts_once() {
        let throttle = throttle();
        let lines = ["a", "a", "a"];
        assert_eq!(pass(&throttle, 0, &lines, true).len(), 2);
        assert_eq!(pass(&throttle, 1, &lines, false).len(), 2);
        assert_eq!(pass(&throttle, 2, &lines, true).len(), 0);
        let summaries = throttle.due(Duration::MAX);
        assert_eq!(summaries.len(), 1);
        summaries.into_iter().for_each(|summary| throttle.give_back(summary));
        assert_eq!(due(&throttle, 100), ["a (repeated 1 times in 60 s) 1"]);
    }

    #[test]
    fn quiet_lines_and_other_levels_pass() {
        let throttle = throttle();
        let tenant = TenantId::parse("t").expect("a tenant");
        let origin = Origin { tenant: &tenant, receiver: "", now: Nanos(0), steady: Duration::ZERO };
        let processed = throttle.process(&origin, batch(&[("a", Severity::WARN); 9])).expect("never refuses");
        assert_eq!(processed.batch.len(), 9);
        assert!(pass(&throttle, 0, &["a", "b"], false).len() == 2 && due(&throttle, 60).is_empty());
        assert!(throttle.lock().is_empty());
    }

    #[test]
    fn memory_is_bounded() {
        let throttle = throttle();
        let word = |n: usize| -> String {
            (0..4).map(|place| char::from(b'a' + (n / 26usize.pow(place) % 26) as u8)).collect()
        };
        for n in 0..MESSAGES_MAX + 100 {
            pass(&throttle, 0, &[word(n).as_str()], false);
        }
        assert_eq!(throttle.lock().len(), MESSAGES_MAX);
        assert_eq!(pass(&throttle, 0, &["a new one"; 5], false).len(), 5);
    }

    #[test]
    fn summaries_keep_the_syntax_of_their_line() {
        let check = |line: &str, expect: &str| assert_eq!(with_count(line, 3, WINDOW), expect);
        check(r#"{"level":"error","n":1}"#, r#"{"level":"error","n":1,"repeated":3}"#);
        check("{}", r#"{"repeated":3}"#);
        check("level=error msg=x", "level=error msg=x repeated=3");
        check("it broke", "it broke (repeated 3 times in 60 s)");
    }
}
