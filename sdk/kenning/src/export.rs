//! The background thread that carries encoded spans and log records to the collector (OTLP over HTTP, protobuf).
//!
//! Each signal is a lane with at most one batch in hand; a failing lane backs off by itself while its outbox fills
//! and then drops with a count. Retried: connection errors, timeouts and 429, 502, 503, 504, with jittered
//! exponential back-off or the collector's `Retry-After`. Not retried: every other status, and what a
//! collector says it rejected of a batch it took. Replies are read up to [`REPLY_BYTES_MAX`].
//!
//! The thread records nothing about itself: it runs without a subscriber.

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
    stopped: bool,
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
        let nobody = tracing_core::Dispatch::new(tracing_core::subscriber::NoSubscriber::default());
        tracing_core::dispatcher::with_default(&nobody, || worker.run());
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
        // The thread's own deadline ends its attempt in flight; the grace lets it do its last counting.
        self.wait(deadline + Duration::from_millis(200), |orders| orders.stopped);
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
            self.core.bell.wait(self.until_due().unwrap_or(BATCH_INTERVAL));
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
            None => match lane.outbox(&self.core).and_then(Outbox::take) {
                Some(chunk) => self.batch(chunk, now),
                None => return false,
            },
        };
        let limit = deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(now));
        self.attempt(index, batch, limit)
    }

    fn batch(&self, chunk: Chunk, now: Instant) -> Batch {
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
                self.core.ledger.exported(signal, batch.items - rejected);
                self.core.ledger.drop_items(signal, Reason::Rejected, rejected);
                if rejected > 0 {
                    self.tell(signal, &format!("the collector rejected {rejected} items: {message}"));
                }
                true
            }
            Attempt::Refused { why } => {
                self.core.ledger.drop_items(signal, Reason::Refused, batch.items);
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
            self.core.ledger.drop_items(lane.signal, Reason::RetryExhausted, batch.items);
        } else {
            lane.batch = Some(batch);
        }
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

    /// The end: whatever waits is tried until the deadline, ignoring long back-offs, then counted as lost.
    fn stop(&mut self, deadline: Instant) {
        while Instant::now() < deadline {
            self.round(Some(deadline));
            if self.lanes.iter().all(|lane| lane.batch.is_none()) {
                break;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let wait = self.until_due().unwrap_or_default().min(left);
            self.core.bell.wait(wait);
        }
        self.abandon();
        lock(&self.control.orders).stopped = true;
        self.control.answered.notify_all();
    }

    fn abandon(&mut self) {
        for lane in &mut self.lanes {
            if let Some(outbox) = lane.outbox(&self.core) {
                outbox.close();
            }
            if let Some(batch) = lane.batch.take() {
                self.core.ledger.drop_items(lane.signal, Reason::Shutdown, batch.items);
            }
        }
        let lost: u64 = [Signal::Spans, Signal::Logs]
            .iter()
            .map(|s| self.core.ledger.dropped_count(*s, Reason::Shutdown))
            .sum();
        if lost > 0 {
            self.core.final_notice(&format!(
                "{lost} spans and log records were lost: the collector did not take them in time"
            ));
        }
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
        check(1, None, u64::MAX, 499);
        check(3, None, u64::MAX / 2, 1499);
        check(60, None, 0, 15_000);
        check(1, Some(Duration::from_secs(7)), 5, 7000);
        check(1, Some(Duration::from_secs(86_400)), 5, 30_000);
    }
}
