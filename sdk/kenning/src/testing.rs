//! Capture what code logs, traces and counts, and assert on it. Nothing global is touched, so tests run in parallel.
//!
//! ```
//! use kenning::testing;
//!
//! kenning::metrics! {
//!     /// Orders placed.
//!     static ORDERS: Counter = "orders_total";
//! }
//!
//! let captured = testing::capture(|| {
//!     let _span = tracing::info_span!("place_order", request_id = "r-1").entered();
//!     ORDERS.inc();
//!     tracing::info!(amount = 3, "order placed");
//! });
//! assert_eq!(captured.spans()[0].name, "place_order");
//! assert!(captured.log_lines()[0].contains(r#""request_id":"r-1""#));
//! assert_eq!(captured.metric("orders_total", &[]), Some(1.0));
//! ```
//!
//! Captured are the calling thread's telemetry, everything from TRACE up, with every span sampled. Threads and tasks
//! started inside are captured only if they are given the dispatcher (`tracing::dispatcher`), as always with
//! `tracing`; async tests on a current-thread runtime hold the guard of [`Capture::start`]. Spans still open are not
//! shown. Metric handles kept from before the capture count where they were made.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing_core::{Dispatch, LevelFilter};

use crate::clock::Clock;
use crate::config::{self, Config, Defaults, Exporter, LogFormat};
use crate::core::{Core, Rims};
use crate::decode;
use crate::filter::Filter;
use crate::ids::{IdSource, Sampler};
use crate::logline::Sink;
use crate::metrics::snapshot_parts::{Reading, ScopeGuard};
use crate::metrics::{self, Exposition, Scope};
use crate::subscriber::KenningSubscriber;
use crate::sync::lock;

pub use crate::decode::{AttributeValue, FinishedSpan, SpanEvent, SpanKind, SpanStatus};

/// The wall-clock time at which every capture begins: 2026-01-01T00:00:00Z in nanoseconds since 1970.
pub const START_UNIX_NANOS: u64 = 1_767_225_600_000_000_000;

/// Runs `body` and captures its telemetry.
pub fn capture(body: impl FnOnce()) -> Capture {
    let capture = Capture::new();
    capture.run(body);
    capture
}

/// Captured telemetry.
#[derive(Debug, Clone)]
pub struct Capture {
    core: Arc<Core>,
    dispatch: Dispatch,
    lines: Arc<Mutex<Vec<u8>>>,
    /// What was taken out of the outbox already.
    finished: Arc<Mutex<Vec<FinishedSpan>>>,
    scope: Arc<Scope>,
}

impl Default for Capture {
    fn default() -> Self {
        Self::new()
    }
}

impl Capture {
    /// An empty capture; log lines are JSON.
    pub fn new() -> Self {
        Self::with_format(LogFormat::Json)
    }

    /// An empty capture with this format of log lines.
    pub fn with_format(format: LogFormat) -> Self {
        let defaults = Defaults { service: Some("test".to_owned()), ..Defaults::default() };
        let config = Config {
            filter: Filter::at(LevelFilter::TRACE),
            log_format: format,
            sampler: Sampler::ALWAYS_ON,
            traces: Exporter::Otlp,
            logs: Exporter::Otlp,
            ..config::without_environment(&defaults)
        };
        Self::with_config(config)
    }

    pub(crate) fn with_config(config: Config) -> Self {
        let lines = Arc::<Mutex<Vec<u8>>>::default();
        let rims = Rims {
            clock: Clock::manual(START_UNIX_NANOS),
            ids: IdSource::seeded(1),
            sink: Sink::Capture(lines.clone()),
            outbox_bytes_max: CAPTURE_BYTES_MAX,
            backtraces_disabled: false,
        };
        let core = Core::new(config, rims);
        let dispatch = Dispatch::new(KenningSubscriber::new(core.clone()));
        Self { core, dispatch, lines, finished: Arc::default(), scope: Arc::default() }
    }

    /// Runs `body`, adding its telemetry to what was captured before.
    pub fn run<R>(&self, body: impl FnOnce() -> R) -> R {
        let _running = self.start();
        body()
    }

    /// Captures this thread's telemetry until the guard is dropped.
    #[must_use = "capturing ends when the guard is dropped"]
    pub fn start(&self) -> CaptureGuard {
        CaptureGuard {
            _scope: metrics::enter_scope(self.scope.clone()),
            _default: tracing::dispatcher::set_default(&self.dispatch),
        }
    }

    /// Moves the capture's clock, which stands still otherwise.
    pub fn advance(&self, by: Duration) {
        self.core.clock.advance(by);
    }

    /// The log lines, without their line feeds.
    pub fn log_lines(&self) -> Vec<String> {
        String::from_utf8_lossy(&lock(&self.lines)).lines().map(str::to_owned).collect()
    }

    /// The finished spans in the order of their ends.
    pub fn spans(&self) -> Vec<FinishedSpan> {
        let mut finished = lock(&self.finished);
        while let Some(chunk) = self.core.spans_out.as_ref().and_then(crate::outbox::Outbox::take) {
            finished.extend(decode::spans(&chunk.bytes).unwrap_or_default());
        }
        finished.clone()
    }

    /// The finished span of this name.
    ///
    /// # Panics
    /// When there is none or more than one, naming those there are.
    #[track_caller]
    pub fn span(&self, name: &str) -> FinishedSpan {
        let spans = self.spans();
        let mut named: Vec<FinishedSpan> = spans.iter().filter(|span| span.name == name).cloned().collect();
        let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
        assert!(named.len() == 1, "expected one span `{name}` among {names:?}");
        named.remove(0)
    }

    /// A metric's value for exactly these labels: a counter's or gauge's value, a histogram's count. `None` when the
    /// metric has no such label set.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let family = self.scope.snapshot().into_iter().find(|family| family.name == name)?;
        let matches = |values: &[String]| {
            let mine: Vec<(&str, &str)> = family
                .label_names
                .iter()
                .map(String::as_str)
                .zip(values.iter().map(String::as_str))
                .collect();
            mine.len() == labels.len() && labels.iter().all(|label| mine.contains(label))
        };
        let sample = family.samples.iter().find(|sample| matches(&sample.label_values))?;
        Some(match &sample.reading {
            Reading::Counter(value) => *value as f64,
            Reading::Gauge(value) => *value,
            Reading::Histogram { counts, .. } => counts.iter().sum::<u64>() as f64,
        })
    }

    /// The captured metrics as `/metrics` would show them.
    pub fn exposition(&self, format: Exposition) -> String {
        metrics::render(&self.scope.snapshot(), format)
    }

    /// Observations that found no room for their label set.
    pub fn cardinality_drops(&self) -> u64 {
        self.scope.cardinality_drops()
    }
}

/// Encoded spans a capture holds before they are looked at.
const CAPTURE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Captures until dropped.
#[derive(Debug)]
pub struct CaptureGuard {
    _scope: ScopeGuard,
    _default: tracing::dispatcher::DefaultGuard,
}
