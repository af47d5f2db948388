//! The background thread that carries encoded spans and log records to the collector (OTLP over HTTP, protobuf).
//!
//! Each signal is a lane with at most one batch in hand; a failing lane backs off by itself while its outbox fills
//! and then drops with a count. Retried: connection errors, timeouts and 429, 502, 503, 504, with jittered
//! exponential back-off or the collector's `Retry-After`. Not retried: every other status, and what a
//! collector says it rejected of a batch it took. Replies are read up to [`REPLY_BYTES_MAX`].
//!
//! The thread records nothing about itself: it is muted. (A scoped dispatcher would do the same, but any one of them
//! in the process takes `tracing` off its fast path on every thread.)

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::config::{Exporter, OtlpConfig};
use crate::console;
use crate::core::Core;
use crate::decode;
use crate::drops::{Reason, Signal};
use crate::ids::IdSource;
use crate::otlp;
use crate::outbox::{Chunk, Outbox};
use crate::subscriber;
use crate::sync::lock;

/// Items wait at most this long for company.
pub(crate) const BATCH_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes of a reply looked at.
pub(crate) const REPLY_BYTES_MAX: u64 = 64 * 1024;

/// When and how often to try again.
#[derive(Debug, Clone)]
pub(crate) struct RetryPolicy {
    /// First wait; doubles each time.
    pub(crate) first: Duration,
    /// Longest wait, also for what a collector asks.
    pub(crate) longest: Duration,
    /// A batch is given up when it was first tried this long ago.
    pub(crate) give_up_after: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            longest: Duration::from_secs(30),
            give_up_after: Duration::from_secs(120),
        }
    }
}

impl RetryPolicy {
    /// The wait before attempt number `attempts + 1`: the collector's wish, or half to all of the doubled wait,
    /// so that many clients of a restarted collector do not come back at once. `chance` is uniform.
    fn wait(&self, attempts: u32, asked: Option<Duration>, chance: u64) -> Duration {
        if let Some(asked) = asked {
            return asked.min(self.longest);
        }
        let doubled =
            self.first.saturating_mul(1_u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX));
        let full = doubled.min(self.longest);
        full.mul_f64(0.5 + (chance >> 11) as f64 / (1_u64 << 54) as f64)
    }
}

/// What became of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Attempt {
    Taken { rejected: u64, message: String },
    Again { after: Option<Duration>, why: String },
    Refused { why: String },
}

/// Sends requests.
struct Client {
    agent: ureq::Agent,
    config: OtlpConfig,
}

impl Client {
    fn new(config: OtlpConfig) -> Self {
        let settings = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .user_agent(concat!("kenning-rust/", env!("CARGO_PKG_VERSION")))
            .timeout_global(Some(config.timeout))
            .max_idle_connections(2);
        Self { agent: ureq::Agent::new_with_config(settings.build()), config }
    }

    fn send(&self, url: &str, body: &[u8], limit: Duration) -> Attempt {
        let (body, encoding) = self.encode(body);
        let mut request = self
            .agent
            .post(url)
            .config()
            .timeout_global(Some(limit.min(self.config.timeout)))
            .build()
            .content_type("application/x-protobuf");
        if let Some(encoding) = encoding {
            request = request.header("content-encoding", encoding);
        }
        for (name, value) in &self.config.headers {
            request = request.header(name, value);
        }
        match request.send(&body[..]) {
            Ok(response) => classify(response),
            Err(error @ (ureq::Error::BadUri(_) | ureq::Error::Http(_))) => {
                Attempt::Refused { why: error.to_string() }
            }
            Err(error) => Attempt::Again { after: None, why: error.to_string() },
        }
    }

    #[cfg(feature = "gzip")]
    fn encode<'a>(&self, body: &'a [u8]) -> (std::borrow::Cow<'a, [u8]>, Option<&'static str>) {
        use std::io::Write;
        if self.config.gzip {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            if encoder.write_all(body).is_ok()
                && let Ok(compressed) = encoder.finish()
            {
                return (compressed.into(), Some("gzip"));
            }
        }
        (body.into(), None)
    }

    #[cfg(not(feature = "gzip"))]
    fn encode<'a>(&self, body: &'a [u8]) -> (std::borrow::Cow<'a, [u8]>, Option<&'static str>) {
        debug_assert!(!self.config.gzip);
        (body.into(), None)
    }
}

fn classify(response: ureq::http::Response<ureq::Body>) -> Attempt {
    let status = response.status().as_u16();
    let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
    let after = retry_after.and_then(|text| text.trim().parse::<u64>().ok()).map(Duration::from_secs);
    let (_, body) = response.into_parts();
    match status {
        200..=299 => taken(body),
        429 | 502 | 503 | 504 => Attempt::Again { after, why: format!("the collector answered {status}") },
        _ => Attempt::Refused { why: format!("the collector answered {status}") },
    }
}

/// The collector has the batch, whatever its reply looks like; only a readable one can take items back.
fn taken(body: ureq::Body) -> Attempt {
    let mut reply = Vec::new();
    let read = body.into_reader().take(REPLY_BYTES_MAX + 1).read_to_end(&mut reply);
    let complete = read.is_ok_and(|length| length as u64 <= REPLY_BYTES_MAX);
    let partial = if complete { otlp::decode_reply(&reply) } else { None }.unwrap_or_default();
    Attempt::Taken { rejected: partial.rejected, message: partial.message }
}

/// A batch in hand.
struct Batch {
    /// The whole request.
    body: Vec<u8>,
    items: u64,
    attempts: u32,
    first_tried: Instant,
    due: Instant,
}

/// One signal's way out.
struct Lane {
    signal: Signal,
    url: String,
    batch: Option<Batch>,
}

impl Lane {
    fn outbox<'a>(&self, core: &'a Core) -> Option<&'a Outbox> {
        match self.signal {
            Signal::Spans => core.spans_out.as_ref(),
            Signal::Logs => core.logs_out.as_ref(),
            Signal::Metrics => None,
        }
    }
}

/// The thread's side.
struct Worker {
    core: Arc<Core>,
    client: Client,
    policy: RetryPolicy,
    resource: Vec<u8>,
    lanes: Vec<Lane>,
    control: Arc<Control>,
    chance: IdSource,
}

/// What the guard and the thread say to each other.
#[derive(Debug, Default)]
struct Control {
    orders: Mutex<Orders>,
    answered: Condvar,
}

#[derive(Debug, Default)]
struct Orders {
    /// Flushes asked for and done.
    flush_asked: u64,
    flush_done: u64,
    /// Set once: when to be gone.
    stop_by: Option<Instant>,
    /// Items taken out of the outboxes whose fate is open, by signal.
    in_hand: [u64; Signal::ALL.len()],
    /// The end: everything is counted, and nothing may be counted again.
    stopped: bool,
}

impl Control {
    /// Takes a batch out of the outbox; from here on its items are in hand.
    fn take(&self, signal: Signal, outbox: &Outbox) -> Option<Chunk> {
        let mut orders = lock(&self.orders);
        let chunk = if orders.stopped { None } else { outbox.take() }?;
        if let Some(in_hand) = orders.in_hand.get_mut(signal as usize) {
            *in_hand += chunk.items;
        }
        Some(chunk)
    }

    /// Decides the fate of items in hand, unless they were given up for lost meanwhile.
    fn settle(&self, signal: Signal, items: u64, count: impl FnOnce()) {
        let mut orders = lock(&self.orders);
        if orders.stopped {
            return;
        }
        if let Some(in_hand) = orders.in_hand.get_mut(signal as usize) {
            *in_hand = in_hand.saturating_sub(items);
        }
        count();
    }

    /// Ends it all, once: what waits and what is in hand is lost. The thread does this at its deadline, or the guard
    /// when the thread is still held up by a collector.
    fn abandon(&self, core: &Core) {
        let mut orders = lock(&self.orders);
        if std::mem::replace(&mut orders.stopped, true) {
            return;
        }
        let mut lost = 0;
        for (signal, outbox) in [(Signal::Spans, &core.spans_out), (Signal::Logs, &core.logs_out)] {
            if let Some(outbox) = outbox {
                outbox.close();
            }
            let in_hand = orders.in_hand.get(signal as usize).copied().unwrap_or_default();
            core.ledger.drop_items(signal, Reason::Shutdown, in_hand);
            lost += core.ledger.dropped_count(signal, Reason::Shutdown);
        }
        drop(orders);
        self.answered.notify_all();
        if lost > 0 {
            core.final_notice(&format!(
                "{lost} spans and log records were lost: the collector did not take them in time"
            ));
        }
    }
}

/// The running exporter.
#[derive(Debug)]
pub(crate) struct ExportHandle {
    core: Arc<Core>,
    control: Arc<Control>,
    closed: AtomicBool,
}

/// Starts the thread.
pub(crate) fn start(core: &Arc<Core>, policy: RetryPolicy) -> std::io::Result<ExportHandle> {
    let control = Arc::<Control>::default();
    let otlp = core.config.otlp.clone();
    let lane = |signal, url: &str| Lane { signal, url: url.to_owned(), batch: None };
    let mut worker = Worker {
        lanes: vec![lane(Signal::Spans, &otlp.traces_url), lane(Signal::Logs, &otlp.logs_url)],
        client: Client::new(otlp),
        policy,
        resource: otlp::encode_resource(&core.config),
        core: core.clone(),
        control: control.clone(),
        chance: IdSource::Random,
    };
    let quiet = move || {
        subscriber::mute_this_thread();
        worker.run();
    };
    std::thread::Builder::new().name("kenning-export".to_owned()).spawn(quiet)?;
    Ok(ExportHandle { core: core.clone(), control, closed: AtomicBool::new(false) })
}

impl ExportHandle {
    /// Sends what waits now; whether everything was dealt with in time.
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut orders = lock(&self.control.orders);
        orders.flush_asked += 1;
        let mine = orders.flush_asked;
        drop(orders);
        self.core.bell.ring();
        self.wait(deadline, |orders| orders.flush_done >= mine || orders.stopped)
    }

    /// Sends what waits, then ends the thread; at the deadline, counts the rest as lost. Only the first call works.
    pub(crate) fn shutdown(&self, timeout: Duration) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        let deadline = Instant::now() + timeout;
        lock(&self.control.orders).stop_by = Some(deadline);
        self.core.bell.ring();
        if !self.wait(deadline, |orders| orders.stopped) {
            self.control.abandon(&self.core);
        }
    }

    fn wait(&self, deadline: Instant, done: impl Fn(&Orders) -> bool) -> bool {
        let mut orders = lock(&self.control.orders);
        while !done(&orders) {
            let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
            else {
                return false;
            };
            let waited = self.control.answered.wait_timeout(orders, left);
            orders = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
        true
    }
}

impl Worker {
    fn run(&mut self) {
        loop {
            self.core.bell.wait(self.until_due().unwrap_or(BATCH_INTERVAL));
            let (flush, stop_by) = {
                let orders = lock(&self.control.orders);
                (orders.flush_asked, orders.stop_by)
            };
            match stop_by {
                Some(deadline) => return self.stop(deadline),
                None => self.round(None),
            }
            if self.lanes.iter().all(|lane| lane.batch.is_none()) {
                lock(&self.control.orders).flush_done = flush;
                self.control.answered.notify_all();
            }
        }
    }

    /// Time to the next due retry, at least a moment, at most the batching interval.
    fn until_due(&self) -> Option<Duration> {
        let due = self.lanes.iter().filter_map(|lane| lane.batch.as_ref()).map(|batch| batch.due).min()?;
        let wait = due.saturating_duration_since(Instant::now());
        Some(wait.clamp(Duration::from_millis(1), BATCH_INTERVAL))
    }

    /// Sends everything that waits and is due.
    fn round(&mut self, deadline: Option<Instant>) {
        if self.core.config.traces == Exporter::Console {
            self.show_spans();
        }
        for index in 0..self.lanes.len() {
            while self.advance(index, deadline) {}
        }
    }

    /// One attempt of one lane; whether another one makes sense at once.
    fn advance(&mut self, index: usize, deadline: Option<Instant>) -> bool {
        let Some(lane) = self.lanes.get_mut(index) else { return false };
        let now = Instant::now();
        let batch = match lane.batch.take() {
            Some(batch) if batch.due <= now => batch,
            waiting @ Some(_) => {
                lane.batch = waiting;
                return false;
            }
            None => {
                let taken = lane.outbox(&self.core).and_then(|outbox| self.control.take(lane.signal, outbox));
                match taken {
                    Some(chunk) => self.batch(&chunk, now),
                    None => return false,
                }
            }
        };
        let limit = deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(now));
        self.attempt(index, batch, limit)
    }

    fn batch(&self, chunk: &Chunk, now: Instant) -> Batch {
        let body = otlp::encode_request(&self.resource, &chunk.bytes);
        Batch { body, items: chunk.items, attempts: 0, first_tried: now, due: now }
    }

    fn attempt(&mut self, index: usize, mut batch: Batch, limit: Duration) -> bool {
        let Some(lane) = self.lanes.get_mut(index) else { return false };
        if limit.is_zero() {
            lane.batch = Some(batch);
            return false;
        }
        batch.attempts += 1;
        let signal = lane.signal;
        match self.client.send(&lane.url, &batch.body, limit) {
            Attempt::Taken { rejected, message } => {
                let rejected = rejected.min(batch.items);
                self.control.settle(signal, batch.items, || {
                    self.core.ledger.exported(signal, batch.items - rejected);
                    self.core.ledger.drop_items(signal, Reason::Rejected, rejected);
                });
                if rejected > 0 {
                    self.tell(signal, &format!("the collector rejected {rejected} items: {message}"));
                }
                true
            }
            Attempt::Refused { why } => {
                self.lose(signal, batch.items, Reason::Refused);
                self.tell(signal, &why);
                true
            }
            Attempt::Again { after, why } => {
                self.again(index, batch, after);
                self.tell(signal, &why);
                false
            }
        }
    }

    fn again(&mut self, index: usize, mut batch: Batch, after: Option<Duration>) {
        let Some(lane) = self.lanes.get_mut(index) else { return };
        let wait = self.policy.wait(batch.attempts, after, self.chance.next_u64());
        batch.due = Instant::now() + wait;
        if batch.due.duration_since(batch.first_tried) > self.policy.give_up_after {
            let signal = lane.signal;
            self.lose(signal, batch.items, Reason::RetryExhausted);
        } else {
            lane.batch = Some(batch);
        }
    }

    fn lose(&self, signal: Signal, items: u64, reason: Reason) {
        self.control.settle(signal, items, || self.core.ledger.drop_items(signal, reason, items));
    }

    /// The console exporter: one line per finished span among the log lines.
    fn show_spans(&self) {
        while let Some(chunk) = self.core.spans_out.as_ref().and_then(Outbox::take) {
            for span in decode::spans(&chunk.bytes).unwrap_or_default() {
                self.core.write_line(&console::line(&span, self.core.style.format));
            }
            self.core.ledger.exported(Signal::Spans, chunk.items);
        }
    }

    fn tell(&self, signal: Signal, why: &str) {
        let mut message = format!("export of {} has trouble: {why}", signal.name());
        crate::exception::truncate(&mut message, 512);
        self.core.notice(&message);
    }

    /// The end: whatever waits is tried until the deadline, then counted as lost. A batch that is backing off gets
    /// its last chance now: after the deadline there is none.
    fn stop(&mut self, deadline: Instant) {
        for batch in self.lanes.iter_mut().filter_map(|lane| lane.batch.as_mut()) {
            batch.due = Instant::now();
        }
        while Instant::now() < deadline {
            self.round(Some(deadline));
            if self.lanes.iter().all(|lane| lane.batch.is_none()) {
                break;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let wait = self.until_due().unwrap_or_default().min(left);
            self.core.bell.wait(wait);
        }
        self.control.abandon(&self.core);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_are_jittered_and_bounded() {
        let policy = RetryPolicy::default();
        let check = |attempts, asked, chance, expect: u64| {
            assert_eq!(
                policy.wait(attempts, asked, chance).as_millis(),
                u128::from(expect),
                "{attempts} {chance}"
            );
        };
        check(1, None, 0, 250);
        check(1, None, u64::MAX - 1, 500);
        check(3, None, 1 << 63, 1500);
        check(60, None, 0, 15_000);
        check(1, Some(Duration::from_secs(7)), 5, 7000);
        check(1, Some(Duration::from_secs(86_400)), 5, 30_000);
    }
}
