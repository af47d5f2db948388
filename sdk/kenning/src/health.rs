//! Health checks: registered once, asked over HTTP, shown as metrics.
//!
//! ```
//! use std::time::Duration;
//!
//! kenning::health::register("postgres", Duration::from_secs(2), || {
//!     // Anything with `?`; an error is the reason the service is not ready.
//!     "1".parse::<u8>()?;
//!     Ok(())
//! });
//! ```
//!
//! - `/health`: `status`, `timestamp`, `uptime_seconds` and one string per check; always 200, it is for reading.
//! - `/health/ready`: `status` and `checks`; 503 when a required check fails.
//! - `/health/live`: `status` and `uptime_seconds`; 200 as long as the process answers.
//!
//! Promises: a check runs on a thread of its own, at most once at a time, so a check that hangs costs one thread and
//! reports `timeout` while every other one answers; results are reused for a second, so that probes cannot
//! overload what they probe. The metric `kenning_health_status{check}` is 1 or 0.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

use crate::clock::{self, Clock};
use crate::json;
use crate::metrics::Kind;
use crate::metrics::snapshot_parts::{FamilySnapshot, Reading};
use crate::sync::lock;

/// What a check finds: fine, or why not.
pub type CheckResult = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Checks of one process; each may hold a thread.
pub const CHECKS_MAX: usize = 64;
/// How long a result is good.
const FRESH_FOR: Duration = Duration::from_secs(1);
/// Longest reason shown.
const REASON_BYTES_MAX: usize = 512;

/// A check's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Ok,
    Failed(String),
    TimedOut,
}

impl Outcome {
    fn text(&self) -> String {
        match self {
            Outcome::Ok => "ok".to_owned(),
            Outcome::Failed(reason) => format!("error: {reason}"),
            Outcome::TimedOut => "timeout".to_owned(),
        }
    }
}

type Run = Arc<dyn Fn() -> CheckResult + Send + Sync>;

struct Check {
    name: String,
    required: bool,
    timeout: Duration,
    run: Run,
    state: Mutex<State>,
    finished: Condvar,
}

#[derive(Default)]
struct State {
    running_since: Option<Instant>,
    last: Option<(Instant, Outcome)>,
}

/// A set of checks.
#[derive(Default)]
pub(crate) struct Registry {
    checks: Mutex<Vec<Arc<Check>>>,
    refused: AtomicU64,
}

fn global() -> &'static Registry {
    static GLOBAL: OnceLock<Registry> = OnceLock::new();
    GLOBAL.get_or_init(Registry::default)
}

fn started() -> Instant {
    static STARTED: OnceLock<Instant> = OnceLock::new();
    *STARTED.get_or_init(Instant::now)
}

/// Starts counting the uptime; called when the SDK starts.
pub(crate) fn mark_start() {
    started();
}

/// Registers a check without which the service is not ready. A check of the same name is replaced.
///
/// `check` runs on its own thread and may block; after `timeout` it counts as failed.
pub fn register(
    name: impl Into<String>,
    timeout: Duration,
    check: impl Fn() -> CheckResult + Send + Sync + 'static,
) {
    global().add(name.into(), true, timeout, Arc::new(check));
}

/// Registers a check that is shown but does not decide readiness, for instance of a cache one can do without.
pub fn register_optional(
    name: impl Into<String>,
    timeout: Duration,
    check: impl Fn() -> CheckResult + Send + Sync + 'static,
) {
    global().add(name.into(), false, timeout, Arc::new(check));
}

/// Registers an asynchronous check, run on the calling thread's tokio runtime.
///
/// # Panics
/// Outside of a tokio runtime, as [`tokio::runtime::Handle::current`] does.
#[cfg(feature = "axum")]
pub fn register_async<F>(
    name: impl Into<String>,
    timeout: Duration,
    check: impl Fn() -> F + Send + Sync + 'static,
) where
    F: Future<Output = CheckResult> + Send + 'static,
{
    let runtime = tokio::runtime::Handle::current();
    register(name, timeout, move || runtime.block_on(check()));
}

/// An HTTP answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// 200 or 503.
    pub status: u16,
    /// A JSON object.
    pub body: String,
}

/// The answer of `/health`. May block up to the slowest check's timeout.
pub fn summary() -> Response {
    global().summary(&Clock::system(), started().elapsed())
}

/// The answer of `/health/ready`. May block up to the slowest check's timeout.
pub fn ready() -> Response {
    global().ready(&Clock::system())
}

/// The answer of `/health/live`; never blocks.
pub fn live() -> Response {
    Response {
        status: 200,
        body: object(&[
            ("status", Json::Str("alive")),
            ("uptime_seconds", Json::Uint(started().elapsed().as_secs())),
        ]),
    }
}

/// The checks as metrics, from their last results: a scrape must not wait for a database.
pub(crate) fn snapshot() -> Vec<FamilySnapshot> {
    global().snapshot()
}

impl Registry {
    fn add(&self, name: String, required: bool, timeout: Duration, run: Run) {
        let mut checks = lock(&self.checks);
        checks.retain(|check| check.name != name);
        if checks.len() >= CHECKS_MAX {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return;
        }
        checks.push(Arc::new(Check {
            name,
            required,
            timeout,
            run,
            state: Mutex::default(),
            finished: Condvar::new(),
        }));
        checks.sort_by(|a, b| a.name.cmp(&b.name));
    }

    /// All outcomes; the checks run at the same time.
    fn run_all(&self) -> Vec<(Arc<Check>, Outcome)> {
        let checks = lock(&self.checks).clone();
        for check in &checks {
            check.start_if_stale();
        }
        checks.into_iter().map(|check| (check.clone(), check.outcome())).collect()
    }

    fn summary(&self, clock: &Clock, uptime: Duration) -> Response {
        let outcomes = self.run_all();
        let texts: Vec<String> = outcomes.iter().map(|(_, outcome)| outcome.text()).collect();
        let status = match (all_ok(&outcomes, true), all_ok(&outcomes, false)) {
            (true, true) => "ok",
            (true, false) => "degraded",
            (false, _) => "unavailable",
        };
        let timestamp = clock::rfc3339(clock.unix_nanos());
        let mut members = vec![
            ("status", Json::Str(status)),
            ("timestamp", Json::Str(&timestamp)),
            ("uptime_seconds", Json::Uint(uptime.as_secs())),
        ];
        members.extend(
            outcomes.iter().zip(&texts).map(|((check, _), text)| (check.name.as_str(), Json::Str(text))),
        );
        Response { status: 200, body: object(&members) }
    }

    fn ready(&self, clock: &Clock) -> Response {
        let outcomes = self.run_all();
        let ready = all_ok(&outcomes, true);
        let texts: Vec<String> = outcomes.iter().map(|(_, outcome)| outcome.text()).collect();
        let checks: Vec<(&str, Json<'_>)> = outcomes
            .iter()
            .zip(&texts)
            .map(|((check, _), text)| (check.name.as_str(), Json::Str(text)))
            .collect();
        let checks = object(&checks);
        let timestamp = clock::rfc3339(clock.unix_nanos());
        let members = [
            ("status", Json::Str(if ready { "ready" } else { "not_ready" })),
            ("checks", Json::Raw(&checks)),
            ("timestamp", Json::Str(&timestamp)),
        ];
        Response { status: if ready { 200 } else { 503 }, body: object(&members) }
    }

    fn snapshot(&self) -> Vec<FamilySnapshot> {
        let checks = lock(&self.checks).clone();
        if checks.is_empty() {
            return Vec::new();
        }
        let help = "Whether a health check passed when it last ran.";
        let mut family = FamilySnapshot::new("kenning_health_status", help, Kind::Gauge, &["check"]);
        for check in checks {
            // Refreshes for the next scrape; a check that never finished is not shown as anything.
            check.start_if_stale();
            if let Some(outcome) = check.known_outcome() {
                let value = if outcome == Outcome::Ok { 1.0 } else { 0.0 };
                family.sample(vec![check.name.clone()], Reading::Gauge(value));
            }
        }
        vec![family]
    }
}

fn all_ok(outcomes: &[(Arc<Check>, Outcome)], required_only: bool) -> bool {
    outcomes.iter().all(|(check, outcome)| *outcome == Outcome::Ok || (required_only && !check.required))
}

impl Check {
    /// Runs the check on a thread of its own unless it runs already or its last result is fresh.
    fn start_if_stale(self: &Arc<Self>) {
        let mut state = lock(&self.state);
        let fresh = state.last.as_ref().is_some_and(|(at, _)| at.elapsed() < FRESH_FOR);
        if fresh || state.running_since.is_some() {
            return;
        }
        state.running_since = Some(Instant::now());
        drop(state);
        let check = self.clone();
        let spawned =
            std::thread::Builder::new().name("kenning-health".to_owned()).spawn(move || check.run_once());
        if let Err(error) = spawned {
            self.finish(Outcome::Failed(format!("no thread for the check: {error}")));
        }
    }

    fn run_once(&self) {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (self.run)()));
        self.finish(match result {
            Ok(Ok(())) => Outcome::Ok,
            Ok(Err(error)) => {
                let mut reason = error.to_string();
                crate::exception::truncate(&mut reason, REASON_BYTES_MAX);
                Outcome::Failed(reason)
            }
            Err(_) => Outcome::Failed("the check panicked".to_owned()),
        });
    }

    fn finish(&self, outcome: Outcome) {
        let mut state = lock(&self.state);
        state.running_since = None;
        state.last = Some((Instant::now(), outcome));
        self.finished.notify_all();
    }

    /// Waits for a running check as long as its timeout allows.
    fn outcome(&self) -> Outcome {
        let mut state = lock(&self.state);
        while let Some(since) = state.running_since {
            let Some(left) = self.timeout.checked_sub(since.elapsed()).filter(|left| !left.is_zero()) else {
                return Outcome::TimedOut;
            };
            let waited = self.finished.wait_timeout(state, left);
            state = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
        state.last.as_ref().map_or(Outcome::TimedOut, |(_, outcome)| outcome.clone())
    }

    /// What is known without waiting.
    fn known_outcome(&self) -> Option<Outcome> {
        let state = lock(&self.state);
        if state.running_since.is_some_and(|since| since.elapsed() >= self.timeout) {
            return Some(Outcome::TimedOut);
        }
        state.last.as_ref().map(|(_, outcome)| outcome.clone())
    }
}

/// A value of a small JSON object.
enum Json<'a> {
    Str(&'a str),
    Uint(u64),
    /// JSON already.
    Raw(&'a str),
}

fn object(members: &[(&str, Json<'_>)]) -> String {
    let mut out = vec![b'{'];
    for (index, (name, value)) in members.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        json::string(&mut out, name);
        out.push(b':');
        match value {
            Json::Str(text) => json::string(&mut out, text),
            Json::Uint(number) => json::uint(&mut out, *number),
            Json::Raw(text) => out.extend_from_slice(text.as_bytes()),
        }
    }
    out.push(b'}');
    String::from_utf8(out).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(checks: Vec<(&str, bool, u64, Run)>) -> Registry {
        let registry = Registry::default();
        for (name, required, millis, run) in checks {
            registry.add(name.to_owned(), required, Duration::from_millis(millis), run);
        }
        registry
    }

    fn fine() -> Run {
        Arc::new(|| Ok(()))
    }

    fn failing() -> Run {
        Arc::new(|| Err("connection \"refused\"".into()))
    }

    const CLOCK_NANOS: u64 = 1_769_713_200_000_000_000;

    #[track_caller]
    fn check(registry: &Registry, summary: &str, ready: (u16, &str)) {
        let clock = Clock::manual(CLOCK_NANOS);
        assert_eq!(
            registry.summary(&clock, Duration::from_secs(7)),
            Response { status: 200, body: summary.into() }
        );
        assert_eq!(registry.ready(&clock), Response { status: ready.0, body: ready.1.into() });
    }

    #[test]
    fn no_checks() {
        check(
            &registry(vec![]),
            r#"{"status":"ok","timestamp":"2026-01-29T19:00:00Z","uptime_seconds":7}"#,
            (200, r#"{"status":"ready","checks":{},"timestamp":"2026-01-29T19:00:00Z"}"#),
        );
    }

    #[test]
    fn a_required_check_decides() {
        check(
            &registry(vec![("postgres", true, 5000, failing()), ("cache", false, 5000, fine())]),
            r#"{"status":"unavailable","timestamp":"2026-01-29T19:00:00Z","uptime_seconds":7,"cache":"ok","postgres":"error: connection \"refused\""}"#,
            (
                503,
                r#"{"status":"not_ready","checks":{"cache":"ok","postgres":"error: connection \"refused\""},"timestamp":"2026-01-29T19:00:00Z"}"#,
            ),
        );
    }

    #[test]
    fn an_optional_check_only_degrades() {
        check(
            &registry(vec![("cache", false, 5000, Arc::new(|| panic!("on purpose")))]),
            r#"{"status":"degraded","timestamp":"2026-01-29T19:00:00Z","uptime_seconds":7,"cache":"error: the check panicked"}"#,
            (
                200,
                r#"{"status":"ready","checks":{"cache":"error: the check panicked"},"timestamp":"2026-01-29T19:00:00Z"}"#,
            ),
        );
    }

    #[test]
    fn a_hanging_check_holds_one_thread_and_nobody_else() {
        let (release, gate) = std::sync::mpsc::channel::<()>();
        let (gate, runs) = (Mutex::new(gate), Arc::new(AtomicU64::new(0)));
        let counted = runs.clone();
        let hang: Run = Arc::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            let _ = lock(&gate).recv();
            Ok(())
        });
        let registry = registry(vec![("stuck", true, 20, hang), ("fine", true, 5000, fine())]);
        for _ in 0..5 {
            let body = registry.ready(&Clock::manual(CLOCK_NANOS)).body;
            assert!(body.contains(r#""fine":"ok","stuck":"timeout""#), "{body}");
        }
        assert_eq!(runs.load(Ordering::Relaxed), 1);
        let family = registry.snapshot().remove(0);
        let readings: Vec<_> = family.samples.iter().map(|sample| sample.reading.clone()).collect();
        assert_eq!(readings, [Reading::Gauge(1.0), Reading::Gauge(0.0)]);
        drop(release);
    }

    #[test]
    fn results_are_reused_for_a_moment() {
        let runs = Arc::new(AtomicU64::new(0));
        let counted = runs.clone();
        let run: Run = Arc::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(())
        });
        let registry = registry(vec![("db", true, 5000, run)]);
        (0..20).for_each(|_| drop(registry.ready(&Clock::manual(CLOCK_NANOS))));
        assert!(runs.load(Ordering::Relaxed) < 20);
    }

    #[test]
    fn registration_is_bounded_and_replaces() {
        let registry = Registry::default();
        for index in 0..CHECKS_MAX + 3 {
            registry.add(format!("check{index}"), true, Duration::ZERO, fine());
        }
        registry.add("check0".to_owned(), true, Duration::ZERO, fine());
        assert_eq!((lock(&registry.checks).len(), registry.refused.load(Ordering::Relaxed)), (CHECKS_MAX, 3));
    }
}
