//! Starting and stopping.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tracing_core::Dispatch;

use crate::clock::Clock;
use crate::config::{self, Defaults, LogFormat};
use crate::core::{Core, Rims};
use crate::error::{Error, Problem, ProblemKind};
use crate::export::{self, ExportHandle, RetryPolicy};
use crate::filter::Filter;
use crate::ids::IdSource;
use crate::logline::Sink;
use crate::outbox::OUTBOX_BYTES_MAX;
use crate::serve::{self, Server};
use crate::subscriber::KenningSubscriber;
use crate::{exception, health, metrics, own};

/// How long the guard waits for the collector when it is dropped.
const FLUSH_DEADLINE: Duration = Duration::from_secs(5);

type Env = Box<dyn Fn(&str) -> Option<String>>;

/// Makes this process observable with what the environment says.
///
/// Keep the guard for as long as the service runs; dropping it delivers what is still waiting.
///
/// # Errors
/// Every wrong setting and every colliding metric, all at once; a metrics port that cannot be bound; a second start.
pub fn init() -> Result<Guard, Error> {
    builder().init()
}

/// Starts with defaults for what the environment leaves unsaid.
pub fn builder() -> Builder {
    Builder::default()
}

/// Settings made in code. The environment wins over each of them.
#[must_use = "a builder does nothing until `init`"]
pub struct Builder {
    defaults: Defaults,
    env: Env,
    log_panics: bool,
    flush_deadline: Duration,
    pub(crate) retry: RetryPolicy,
    pub(crate) sink: Sink,
    pub(crate) outbox_bytes_max: usize,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            defaults: Defaults::default(),
            env: Box::new(|name| std::env::var(name).ok()),
            log_panics: true,
            flush_deadline: FLUSH_DEADLINE,
            retry: RetryPolicy::default(),
            sink: Sink::Stdout,
            outbox_bytes_max: OUTBOX_BYTES_MAX,
        }
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("defaults", &self.defaults).finish_non_exhaustive()
    }
}

impl Builder {
    /// The service's name (`SERVICE_NAME`, `OTEL_SERVICE_NAME`).
    pub fn service_name(mut self, name: impl Into<String>) -> Self {
        self.defaults.service = Some(name.into());
        self
    }

    /// The service's version (`SERVICE_VERSION`); `env!("CARGO_PKG_VERSION")` is the usual argument.
    pub fn service_version(mut self, version: impl Into<String>) -> Self {
        self.defaults.version = Some(version.into());
        self
    }

    /// Where it is deployed (`ENVIRONMENT`).
    pub fn environment(mut self, environment: impl Into<String>) -> Self {
        self.defaults.environment = Some(environment.into());
        self
    }

    /// A further resource attribute (`OTEL_RESOURCE_ATTRIBUTES`).
    pub fn resource_attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.defaults.resource.push((name.into(), value.into()));
        self
    }

    /// Log levels such as `info,hyper=warn` (`LOG_LEVEL`, `RUST_LOG`).
    pub fn log_level(mut self, directives: impl Into<String>) -> Self {
        self.defaults.log_level = Some(directives.into());
        self
    }

    /// How log lines look (`LOG_FORMAT`).
    pub fn log_format(mut self, format: LogFormat) -> Self {
        self.defaults.log_format = Some(format);
        self
    }

    /// The collector's base URL (`OTEL_EXPORTER_OTLP_ENDPOINT`).
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.defaults.endpoint = Some(url.into());
        self
    }

    /// The share of traces that start here to record, 0.0 to 1.0 (`OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG`).
    pub fn sample_ratio(mut self, ratio: f64) -> Self {
        self.defaults.sample_ratio = Some(ratio);
        self
    }

    /// Serves `/metrics` and `/health*` here (`METRICS_PORT`, `METRICS_ADDR`).
    pub fn metrics_addr(mut self, addr: SocketAddr) -> Self {
        self.defaults.metrics_addr = Some(addr);
        self
    }

    /// A span field to repeat on every log line inside the span, besides `request_id` and its like.
    pub fn request_field(mut self, name: impl Into<String>) -> Self {
        self.defaults.request_fields.push(name.into());
        self
    }

    /// Whether panics are logged as errors with their stack (default: yes). The previous hook still runs.
    pub fn log_panics(mut self, wanted: bool) -> Self {
        self.log_panics = wanted;
        self
    }

    /// Writes log lines to standard error, for programs whose standard output is their product.
    pub fn log_to_stderr(mut self) -> Self {
        self.sink = Sink::Stderr;
        self
    }

    /// How long dropping the guard may take (default: 5 s).
    pub fn flush_deadline(mut self, deadline: Duration) -> Self {
        self.flush_deadline = deadline;
        self
    }

    /// Reads variables from `env` instead of the process environment, for tests and for configuration files.
    pub fn env(mut self, env: impl Fn(&str) -> Option<String> + 'static) -> Self {
        self.env = Box::new(env);
        self
    }

    /// Checks all settings and starts.
    ///
    /// # Errors
    /// As [`init`].
    pub fn init(self) -> Result<Guard, Error> {
        let log_panics = self.log_panics;
        let (guard, dispatch) = self.build()?;
        let taken =
            |_| Error::one(ProblemKind::AlreadyInitialized, "this process has a tracing subscriber already");
        tracing_core::dispatcher::set_global_default(dispatch).map_err(taken)?;
        own::install(&guard.core);
        if log_panics {
            install_panic_hook();
        }
        Ok(guard)
    }

    /// Everything but the global parts.
    pub(crate) fn build(self) -> Result<(Guard, Dispatch), Error> {
        let mut problems: Vec<Problem> = metrics::conflicts()
            .into_iter()
            .map(|message| Problem { kind: ProblemKind::Metrics, message })
            .collect();
        let config = match config::resolve(&*self.env, &self.defaults) {
            Ok(config) if problems.is_empty() => config,
            Ok(_) => return Err(Error::new(problems)),
            Err(mistakes) => {
                problems.extend(mistakes);
                return Err(Error::new(problems));
            }
        };
        health::mark_start();
        let backtraces_disabled = ["RUST_LIB_BACKTRACE", "RUST_BACKTRACE"]
            .iter()
            .find_map(|name| (self.env)(name))
            .is_some_and(|value| value == "0");
        let metrics_addr = config.metrics_addr;
        let core = Core::new(
            config,
            Rims {
                clock: Clock::system(),
                ids: IdSource::Random,
                sink: self.sink,
                outbox_bytes_max: self.outbox_bytes_max,
                backtraces_disabled,
            },
        );
        let server = metrics_addr.map(start_server).transpose()?;
        let exports = core.spans_out.is_some() || core.logs_out.is_some();
        let exporter = if exports { Some(start_exporter(&core, self.retry)?) } else { None };
        let dispatch = Dispatch::new(KenningSubscriber::new(core.clone()));
        Ok((Guard { core, exporter, server, flush_deadline: self.flush_deadline }, dispatch))
    }
}

fn start_server(addr: SocketAddr) -> Result<Server, Error> {
    serve::start(addr).map_err(|error| {
        Error::one(ProblemKind::Bind, format!("METRICS_PORT: cannot listen on {addr}: {error}"))
    })
}

fn start_exporter(core: &Arc<Core>, retry: RetryPolicy) -> Result<ExportHandle, Error> {
    export::start(core, retry).map_err(|error| {
        Error::one(ProblemKind::Resource, format!("cannot start the export thread: {error}"))
    })
}

/// Telemetry runs while this lives; dropping it delivers what waits, for at most the flush deadline.
#[derive(Debug)]
#[must_use = "telemetry stops when the guard is dropped; bind it to a variable such as `_kenning`"]
pub struct Guard {
    pub(crate) core: Arc<Core>,
    exporter: Option<ExportHandle>,
    server: Option<Server>,
    flush_deadline: Duration,
}

impl Guard {
    /// Where `/metrics` is served, when a port was asked for; tells the port chosen for 0.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.server.as_ref().map(Server::addr)
    }

    /// Delivers what waits now. Whether the collector was heard of all of it within `timeout`.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.exporter.as_ref().is_none_or(|exporter| exporter.flush(timeout))
    }

    /// Spans and log records lost so far, whatever the reason.
    pub fn dropped(&self) -> u64 {
        use crate::drops::Signal;
        self.core.ledger.dropped_total(Signal::Spans) + self.core.ledger.dropped_total(Signal::Logs)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(exporter) = &self.exporter {
            exporter.shutdown(self.flush_deadline);
        }
    }
}

/// Changes the log levels of the running process, for instance to `info,my_app::db=debug`.
///
/// # Errors
/// Every mistake in the directives; `is_configuration`. Also when telemetry was not started.
pub fn set_log_level(directives: &str) -> Result<(), Error> {
    let filter = Filter::parse(directives).map_err(|problems| {
        let problem = |message| Problem { kind: ProblemKind::Configuration, message };
        Error::new(problems.into_iter().map(problem).collect())
    })?;
    let found = tracing_core::dispatcher::get_default(|dispatch| {
        let subscriber = dispatch.downcast_ref::<KenningSubscriber>();
        subscriber.map(|subscriber| subscriber.core().set_filter(filter.clone())).is_some()
    });
    if !found {
        return Err(Error::one(ProblemKind::Configuration, "telemetry was not started"));
    }
    tracing_core::callsite::rebuild_interest_cache();
    Ok(())
}

/// Logs panics as errors of the panicking thread's span, then lets the previous hook have its say.
fn install_panic_hook() {
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        log_panic(panic);
        previous(panic);
    }));
}

fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let payload = panic.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let text = text
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a value of unknown type");
    let place =
        panic.location().map(|place| format!("{}:{}", place.file(), place.line())).unwrap_or_default();
    let mut stack = format!("panic: {text}\n{}", exception::capture_frames());
    exception::truncate(&mut stack, exception::STACK_BYTES_MAX);
    tracing::error!(
        target: "panic",
        {
            "exception.type" = "panic",
            "exception.message" = text,
            "exception.stacktrace" = stack,
            "code.location" = place
        },
        "panicked: {text}"
    );
}
