//! Builds the parts, starts them from the store outward to the sockets, waits, and stops them the other way round.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kenning_api::{
    Api, ApiParts, App, AskPatterns, BlockSummary, IngestOverview, QueryGate, Readiness, Refused, Scraping,
    SeriesLimits, Tails, WebOptions,
};
use kenning_model::{Pattern, Signal, Store, TenantId};
use kenning_patterns::Options as MinerOptions;
use kenning_pipeline::telemetry::{Family, PointValue, Registry, text};
use kenning_pipeline::{Drained, Intake, Mining, Pipeline, PipelineOptions, Tap};
use kenning_receivers::body::Budget;
use kenning_receivers::otlp_grpc::GrpcService;
use kenning_receivers::push::{LogSources, OtlpOptions, PushOptions, PushService};
use kenning_receivers::scrape::{ProxyVariables, ScrapeContext, Scraper};
use kenning_receivers::serve::{
    ConnectionLimits, Connections, Serving, Stop, Stopper, Versions, serve, stop_pair,
};
use kenning_receivers::stats::Stats as ReceiverStats;
use kenning_stages::LogMetrics;
use kenning_stdx::clock::{Clock, SystemClock};
use kenning_stdx::files::RealFiles;
use kenning_stdx::net::{Listener, Net, TcpNet};
use kenning_stdx::random::Random;
use kenning_stdx::vfs::RealVfs;
use kenning_store::wal::WalOptions;
use kenning_store::{Engine, EngineStats};
use tokio::task::JoinSet;

use crate::log_ports::{LogAddresses, LogPorts, LogServices};
use crate::memory::Shares;
use crate::own::{self, StoreMetrics, UpkeepMetrics};
use crate::push::MainPortPush;
use crate::scrapes::{self, ScrapeControl};
use crate::settings::Settings;
use crate::{log_files, processors, promtail_targets, tails, upkeep};

/// How often metrics of log lines are stored when the server does not store its own.
const LOG_METRICS_EVERY: Duration = Duration::from_secs(10);

/// Where the server listens once it does.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// The main port.
    pub listen: String,
    /// OTLP over gRPC; `None` when switched off.
    pub otlp_grpc: Option<String>,
    /// OTLP over HTTP; `None` when switched off.
    pub otlp_http: Option<String>,
    /// The ports of log shippers.
    pub logs: LogAddresses,
}

/// Why the server did not start or did not end well.
#[derive(Debug)]
pub struct StartError {
    what: String,
    cause: String,
}

impl StartError {
    pub(crate) fn new(what: impl Into<String>, cause: impl fmt::Display) -> Self {
        Self { what: what.into(), cause: cause.to_string() }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.cause)
    }
}

impl std::error::Error for StartError {}

/// The whole server.
pub struct Server;

impl Server {
    /// Runs until SIGTERM or Ctrl-C. `on_ready` is called once requests are answered.
    pub fn run(settings: Settings, on_ready: impl FnOnce(&Addresses)) -> Result<(), StartError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(|error| StartError::new("cannot start threads", error))?;
        let outcome = runtime.block_on(async {
            let running = Running::start(settings).await?;
            on_ready(&running.addresses);
            tracing::info!(listen = running.addresses.listen, "ready");
            wait_for_signal().await?;
            running.stop().await
        });
        runtime.shutdown_background();
        outcome
    }
}

async fn wait_for_signal() -> Result<(), StartError> {
    let kind = tokio::signal::unix::SignalKind::terminate();
    let terminate = tokio::signal::unix::signal(kind);
    let mut terminate = terminate.map_err(|error| StartError::new("cannot wait for SIGTERM", error))?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(())
}

/// The listeners, bound before anything else so that a taken port is the first thing one hears of.
struct Bound {
    main: Box<dyn Listener>,
    otlp_grpc: Option<Box<dyn Listener>>,
    otlp_http: Option<Box<dyn Listener>>,
    own: Box<dyn Listener>,
    logs: LogPorts,
}

impl Bound {
    async fn bind(settings: &Settings) -> Result<Self, StartError> {
        let optional = async |key, address: &str| match address {
            "" => Ok(None),
            address => bind(key, address).await.map(Some),
        };
        Ok(Self {
            main: bind("listen", &settings.listen).await?,
            otlp_grpc: optional("otlp.grpc_listen", &settings.otlp_grpc_listen).await?,
            otlp_http: optional("otlp.http_listen", &settings.otlp_http_listen).await?,
            own: bind("the server's own telemetry", "127.0.0.1:0").await?,
            logs: LogPorts::bind(settings).await?,
        })
    }

    fn addresses(&self) -> Result<Addresses, StartError> {
        let text = |listener: &dyn Listener| address_of(listener).map(|address| address.to_string());
        let optional = |listener: &Option<Box<dyn Listener>>| listener.as_deref().map(text).transpose();
        Ok(Addresses {
            listen: text(&*self.main)?,
            otlp_grpc: optional(&self.otlp_grpc)?,
            otlp_http: optional(&self.otlp_http)?,
            logs: self.logs.addresses(),
        })
    }
}

pub(crate) async fn bind(key: &str, address: &str) -> Result<Box<dyn Listener>, StartError> {
    let parsed = checked_address(key, address)?;
    let what = || format!("cannot listen on {key} = {address}");
    TcpNet.bind(parsed).await.map_err(|error| StartError::new(what(), error))
}

/// An address that may be listened on.
pub(crate) fn checked_address(key: &str, address: &str) -> Result<SocketAddr, StartError> {
    parsed_address(address)
        .map_err(|problem| StartError::new(format!("cannot listen on {key} = {address}"), problem))
}

/// The same, or what is wrong with it.
pub(crate) fn parsed_address(address: &str) -> Result<SocketAddr, &'static str> {
    let parsed: SocketAddr = address.parse().map_err(|_| "not of the form 127.0.0.1:7070")?;
    if !parsed.ip().is_loopback() {
        return Err(
            "an address off the loopback needs TLS and authentication, which this version does not have yet; \
                    use 127.0.0.1 or [::1] and put a proxy in front",
        );
    }
    Ok(parsed)
}

fn address_of(listener: &dyn Listener) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|error| StartError::new("cannot tell the address of a listener", error))
}

/// A server that runs.
struct Running {
    addresses: Addresses,
    readiness: Arc<Readiness>,
    /// Stops what brings data in and what asks for it.
    rim: Stopper,
    rim_tasks: JoinSet<()>,
    /// Stops background work.
    work: Stopper,
    work_tasks: JoinSet<()>,
    /// Stops the listener for our own telemetry, last of all sockets.
    own: Stopper,
    own_tasks: JoinSet<()>,
    sdk: kenning::Guard,
    /// Who follows logs; their connections outlive the listener's.
    tails: Arc<Tails>,
    pipeline: Pipeline,
    engine: Arc<Engine>,
    settings: Settings,
}

impl Running {
    async fn start(settings: Settings) -> Result<Self, StartError> {
        let bound = Bound::bind(&settings).await?;
        let addresses = bound.addresses()?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let sdk = own::start_sdk(address_of(&*bound.own)?);
        let sdk = sdk.map_err(|error| StartError::new("cannot start the server's own logging", error))?;

        let shares = Shares::of(&settings);
        let engine = open_engine(&settings, &shares, &clock).await?;
        let registry = Registry::new();
        let store: Arc<dyn Store> = engine.clone();
        let (mut taps, patterns) = start_mining(&settings, &shares, &store, &clock, &registry)?;
        let tails = tails::new(&registry);
        taps.push(Arc::new(tails::TailTap(Arc::clone(&tails))));
        let (processors, throttle) = processors::chain(&settings, &registry)?;
        let options = PipelineOptions { taps, processors, ..pipeline_options(&settings, &shares) };
        let pipeline = Pipeline::start(Arc::clone(&store), Arc::clone(&clock), options, &registry);
        let pipeline = pipeline.map_err(|error| StartError::new("cannot start the pipeline", error))?;

        let rim = Rim::new(&settings, &shares, &pipeline.intake(), &registry, &clock)?;
        let tailing = log_files::context(&settings, &store, pipeline.intake(), &registry)?;
        let scraping = Arc::new(ScrapeControl::new(&settings, rim.scraper.control(), Arc::clone(&clock)));
        let store_metrics = Arc::new(StoreMetrics::new(&registry));
        let readiness = Arc::new(Readiness::default());
        let app = App::new(Api::new(ApiParts {
            store,
            clock: Arc::clone(&clock),
            limits: settings.query.clone(),
            gate: QueryGate::new(settings.query_concurrent, settings.query_waiting)
                .with_memory(shares.queries),
            push: Arc::new(MainPortPush { push: rim.push.clone(), elastic: rim.logs.elastic() }),
            readiness: Arc::clone(&readiness),
            version: env!("CARGO_PKG_VERSION"),
            started_at: clock.unix_nanos() / 1_000_000_000,
            own_metrics: own_metrics(&registry, &settings.log_metrics, &clock, &engine, &store_metrics),
            scraping: Arc::clone(&scraping) as Arc<dyn Scraping>,
            ingest: ingest_of(registry.clone(), Arc::clone(&engine), &settings),
            patterns,
            tails: Arc::clone(&tails),
            config: settings.to_yaml(),
            blocks: blocks_of(Arc::clone(&engine)),
            web: web_of(&settings),
        }));

        let (work, work_stop) = stop_pair();
        let mut work_tasks = JoinSet::new();
        let upkeep_metrics = UpkeepMetrics::new(&registry);
        work_tasks.spawn(upkeep::run(
            Arc::clone(&engine),
            Arc::clone(&clock),
            settings.clone(),
            upkeep_metrics,
            work_stop.clone(),
        ));
        work_tasks.spawn(scrapes::watch(scraping, work_stop.clone()));
        work_tasks.spawn(own::store_log_metrics(
            settings.log_metrics.clone(),
            tailing.tenant.clone(),
            Arc::clone(&clock),
            pipeline.intake(),
            settings.self_interval.unwrap_or(LOG_METRICS_EVERY),
            work_stop.clone(),
        ));
        if let Some(throttle) = throttle {
            let (intake, clock) = (pipeline.intake(), Arc::clone(&clock));
            work_tasks.spawn(processors::sum_up(throttle, intake, clock, work_stop.clone()));
        }
        if !settings.geo_databases.is_empty() {
            let (databases, registry) = (settings.geo_databases.clone(), registry.clone());
            let work = processors::follow_geo_files(databases, shares.geo, registry, work_stop.clone());
            work_tasks.spawn(work);
        }
        if let Some(interval) = settings.self_interval {
            let (engine, metrics) = (Arc::clone(&engine), Arc::clone(&store_metrics));
            let refresh = move || metrics.refresh(&engine);
            let intake = pipeline.intake();
            work_tasks.spawn(own::store_own_metrics(registry, refresh, clock, intake, interval, work_stop));
        }
        let (own, own_stop) = stop_pair();
        let mut own_tasks = JoinSet::new();
        rim.serve_own(bound.own, &mut own_tasks, own_stop);
        let (rim_stopper, rim_stop) = stop_pair();
        let mut rim_tasks = JoinSet::new();
        bound.logs.serve(&rim.logs, |name, versions| rim.serving(name, versions), &mut rim_tasks, &rim_stop);
        rim.serve(app, bound.main, bound.otlp_grpc, bound.otlp_http, &mut rim_tasks, &rim_stop);
        for note in &settings.promtail_notes {
            tracing::info!(
                file = settings.promtail_config_file,
                note,
                "part of the Promtail configuration is left aside"
            );
        }
        log_files::serve(&settings.log_files, &tailing, &mut rim_tasks, &rim_stop);
        for targets in settings.promtail_discovered.iter().cloned() {
            rim_tasks.spawn(promtail_targets::follow(targets, tailing.clone(), rim_stop.clone()));
        }
        start_replay(&engine, &readiness);
        Ok(Self {
            addresses,
            readiness,
            rim: rim_stopper,
            rim_tasks,
            work,
            work_tasks,
            own,
            own_tasks,
            sdk,
            tails,
            pipeline,
            engine,
            settings,
        })
    }

    /// Refuse, drain, sync, mark clean. Being killed at any point of this costs nothing but time.
    async fn stop(mut self) -> Result<(), StartError> {
        tracing::info!("stopping");
        let deadline = self.settings.shutdown_deadline;
        self.readiness.set_stopping();
        self.tails.close();
        self.rim.stop();
        while self.rim_tasks.join_next().await.is_some() {}
        self.work.stop();
        while self.work_tasks.join_next().await.is_some() {}
        // Our own last words still go the usual way, then that way is closed too.
        let sdk = self.sdk;
        let _ = tokio::task::spawn_blocking(move || drop(sdk)).await;
        self.own.stop();
        while self.own_tasks.join_next().await.is_some() {}
        let drained = self.pipeline.drain(deadline).await;
        let engine = self.engine;
        let closed = tokio::task::spawn_blocking(move || engine.flush()).await;
        match (drained, closed) {
            (Drained::TimedOut { bytes }, _) => Err(StartError::new(
                "shutdown.deadline passed",
                format!("{bytes} bytes that waited were refused"),
            )),
            (Drained::Clean, Ok(Ok(_))) => Ok(()),
            (Drained::Clean, Ok(Err(error))) => {
                Err(StartError::new("the store did not close cleanly", chain(&error)))
            }
            (Drained::Clean, Err(error)) => Err(StartError::new("the store did not close cleanly", error)),
        }
    }
}

/// The parts of metrics for the API.
fn blocks_of(engine: Arc<Engine>) -> Arc<dyn Fn() -> Vec<BlockSummary> + Send + Sync> {
    let summary = |part: kenning_store::PartSummary| BlockSummary {
        id: part.id,
        min_ms: part.time.start.to_millis().0,
        max_ms: part.time.end.to_millis().0,
        samples: part.rows,
        bytes: part.bytes,
        level: part.level,
    };
    Arc::new(move || engine.parts_of(kenning_store::PartTable::Samples).into_iter().map(summary).collect())
}

fn web_of(settings: &Settings) -> WebOptions {
    WebOptions {
        admin_api: settings.web_admin_api,
        // Read when it was set, so it is a pattern.
        cors_origin: Pattern::whole(&settings.web_cors_origin)
            .ok()
            .filter(|_| !settings.web_cors_origin.is_empty()),
        start_zeros: settings.start_zeros,
        external_labels: Vec::new(),
    }
}

async fn open_engine(
    settings: &Settings,
    shares: &Shares,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<Engine>, StartError> {
    let (dir, clock) = (settings.data_dir.clone(), Arc::clone(clock));
    let options = kenning_store::Options {
        wal: WalOptions {
            segment_bytes: settings.wal_segment_bytes,
            max_bytes: settings.wal_bytes,
            ..WalOptions::default()
        },
        flush_bytes: settings.flush_bytes,
        flush_age: settings.flush_age,
        head_bytes_max: shares.heads,
        open_parts_bytes_max: shares.open_parts,
        merge_bytes_max: shares.merge_rows as u64,
        merge_sample_bytes_max: shares.merge_samples as u64,
        merge_span_max: Shares::merge_span(settings),
        ..kenning_store::Options::default()
    };
    let what = format!("cannot open data_dir = {}", settings.data_dir);
    let opened = tokio::task::spawn_blocking(move || {
        let vfs = RealVfs::open(Path::new(&dir)).map_err(|error| error.to_string())?;
        Engine::open_ahead(Arc::new(vfs), clock, Random::from_os(), options).map_err(|error| chain(&error))
    });
    match opened.await {
        Ok(Ok(engine)) => Ok(Arc::new(engine)),
        Ok(Err(cause)) => Err(StartError::new(what, cause)),
        Err(panic) => Err(StartError::new(what, panic)),
    }
}

/// Reads recent data back while the server takes writes already.
fn start_replay(engine: &Arc<Engine>, readiness: &Arc<Readiness>) {
    readiness.set_replaying();
    let (engine, readiness) = (Arc::clone(engine), Arc::clone(readiness));
    tokio::task::spawn_blocking(move || match engine.catch_up() {
        Ok(()) => {
            log_start(&engine.stats());
            readiness.set_ready();
        }
        Err(error) => tracing::error!(
            error = chain(&error),
            "recent data cannot be read back; queries fail until the server is started again on a healthy disk"
        ),
    });
}

/// Says what the store met on its disk, since after an accident that is what one wants to know first.
fn log_start(stats: &EngineStats) {
    let start = &stats.startup;
    tracing::info!(
        parts = stats.tables.iter().map(|table| table.parts).sum::<u64>(),
        rows = stats.tables.iter().map(|table| table.rows).sum::<u64>(),
        records_replayed = start.replay.records,
        torn_tails = start.replay.torn_tails,
        orphans_removed = start.orphans_removed,
        took_ms = start.took.as_millis() as u64,
        replayed_after_ms = start.replayed_after.unwrap_or_default().as_millis() as u64,
        "the store is open"
    );
    let replay = &start.replay;
    let bad_log = replay.damaged_ranges + replay.quarantined_segments + replay.missing_segments;
    if bad_log > 0 || !start.manifest.is_complete() || start.unknown_parts > 0 {
        tracing::error!(
            damaged_ranges = replay.damaged_ranges,
            quarantined_segments = replay.quarantined_segments,
            missing_segments = replay.missing_segments,
            damaged_transactions = start.manifest.damaged_transactions,
            manifest_unreadable = start.manifest.unreadable,
            unknown_parts = start.unknown_parts,
            "the store found damage; what it could not read is in quarantine"
        );
    }
}

/// An error and what caused it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

type Taps = Vec<Arc<dyn Tap>>;

/// The miner of log patterns, as the pipeline and as the API see it.
fn start_mining(
    settings: &Settings,
    shares: &Shares,
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    registry: &Registry,
) -> Result<(Taps, Option<Arc<AskPatterns>>), StartError> {
    if settings.patterns_bytes == 0 {
        return Ok((Vec::new(), None));
    }
    let options = MinerOptions { bytes: shares.patterns, ..MinerOptions::default() };
    let tenants = TenantId::parse(&settings.tenant).into_iter().collect();
    let (mining, patterns) = Mining::start(options, Arc::clone(store), tenants, Arc::clone(clock), registry)
        .map_err(|error| StartError::new("cannot start the mining of patterns", error))?;
    let ask: Arc<AskPatterns> =
        Arc::new(move |tenant, wanted, question| patterns.ask(tenant, wanted, question));
    Ok((vec![mining], Some(ask)))
}

fn pipeline_options(settings: &Settings, shares: &Shares) -> PipelineOptions {
    let defaults = PipelineOptions::default();
    // A group is one append to one segment; half leaves room for how batches grow when they are written.
    let segment = usize::try_from(settings.wal_segment_bytes / 2).unwrap_or(usize::MAX);
    PipelineOptions {
        limits: settings.ingest_limits(),
        queue_bytes: shares.queue,
        series_bytes: shares.series,
        start_zeros: settings.start_zeros.then_some(shares.start_zeros),
        group_bytes: defaults.group_bytes.min(segment),
        ..defaults
    }
}

/// Large bodies that are decoded at once: each takes several times its size.
const DECODED_AT_ONCE: usize = 4;
/// Resources of OTLP's log records take so many-th of the memory of known series.
const KNOWN_SOURCES_SHARE: usize = 16;

/// What brings data in.
struct Rim {
    push: PushService,
    own_push: PushService,
    grpc: GrpcService,
    logs: LogServices,
    scraper: Scraper,
    stats: ReceiverStats,
    clock: Arc<dyn Clock>,
}

impl Rim {
    fn new(
        settings: &Settings,
        shares: &Shares,
        intake: &Intake,
        registry: &Registry,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let tenant = TenantId::parse(&settings.tenant);
        let tenant =
            tenant.map_err(|error| StartError::new(format!("tenant = {}", settings.tenant), error))?;
        let stats = ReceiverStats::new(registry);
        let known_sources = shares.known_series / KNOWN_SOURCES_SHARE;
        let otlp =
            OtlpOptions { known_sources: Arc::new(LogSources::new(known_sources)), ..settings.otlp.clone() };
        let options = PushOptions {
            tenant: tenant.clone(),
            otlp,
            budget: Budget::new(shares.bodies, DECODED_AT_ONCE),
            known_series_bytes: shares.known_series - known_sources,
            ..PushOptions::default()
        };
        let own_options = PushOptions { tenant: TenantId::self_tenant(), ..PushOptions::default() };
        let logs = LogServices::new(settings, intake, &tenant, &options, &stats, clock)?;
        let context = ScrapeContext {
            net: Arc::new(TcpNet),
            files: Arc::new(RealFiles),
            intake: intake.clone(),
            tenant,
            start_zeros: settings.start_zeros,
            proxies: ProxyVariables::of(&|name| std::env::var(name).ok()),
            // Of its own, so that a flood of pushes cannot take targets down.
            budget: Budget::new(shares.bodies, DECODED_AT_ONCE),
            stats: stats.clone(),
        };
        let jobs =
            scrapes::jobs(settings).map_err(|problem| StartError::new("prometheus.config", problem))?;
        let scraper = Scraper::new(jobs, context)
            .map_err(|problems| StartError::new("scrape_configs", problems.join("; ")))?;
        Ok(Self {
            push: PushService::new(intake.clone(), options.clone(), stats.clone()),
            own_push: PushService::new(intake.clone(), own_options, stats.clone()),
            grpc: GrpcService::new(intake.clone(), options, stats.clone()),
            logs,
            scraper,
            stats,
            clock: Arc::clone(clock),
        })
    }

    fn serving(&self, name: &'static str, versions: Versions) -> Serving {
        Serving {
            name,
            versions,
            limits: ConnectionLimits::default(),
            // Each listener has caps of its own, so that a flood on one leaves health and queries reachable.
            connections: Connections::default(),
            clock: Arc::clone(&self.clock),
            stats: self.stats.clone(),
        }
    }

    /// The listener that takes our own telemetry.
    fn serve_own(&self, listener: Box<dyn Listener>, tasks: &mut JoinSet<()>, stop: Stop) {
        let push = self.own_push.clone();
        tasks.spawn(serve(listener, self.serving("own", Versions::Both), stop, move |request, _| {
            let push = push.clone();
            async move { push.serve(request).await }
        }));
    }

    fn serve(
        self,
        app: App,
        main: Box<dyn Listener>,
        otlp_grpc: Option<Box<dyn Listener>>,
        otlp_http: Option<Box<dyn Listener>>,
        tasks: &mut JoinSet<()>,
        stop: &Stop,
    ) {
        if let Some(listener) = otlp_grpc {
            let grpc = self.grpc.clone();
            tasks.spawn(serve(
                listener,
                self.serving("otlp_grpc", Versions::Http2),
                stop.clone(),
                move |request, _| {
                    let grpc = grpc.clone();
                    async move { grpc.serve(request).await }
                },
            ));
        }
        if let Some(listener) = otlp_http {
            let push = self.push.clone();
            tasks.spawn(serve(
                listener,
                self.serving("otlp_http", Versions::Both),
                stop.clone(),
                move |request, _| {
                    let push = push.clone();
                    async move { push.serve(request).await }
                },
            ));
        }
        tasks.spawn(serve(main, self.serving("main", Versions::Both), stop.clone(), move |request, _| {
            let app = app.clone();
            async move { app.call(request).await }
        }));
        tasks.spawn(self.scraper.run(stop.clone()));
    }
}

fn own_metrics(
    registry: &Registry,
    log_metrics: &LogMetrics,
    clock: &Arc<dyn Clock>,
    engine: &Arc<Engine>,
    store_metrics: &Arc<StoreMetrics>,
) -> Arc<dyn Fn() -> String + Send + Sync> {
    let (registry, engine, store_metrics) = (registry.clone(), Arc::clone(engine), Arc::clone(store_metrics));
    let (log_metrics, clock) = (log_metrics.clone(), Arc::clone(clock));
    Arc::new(move || {
        store_metrics.refresh(&engine);
        text(&registry.snapshot()) + &text(&log_metrics.families(clock.steady()))
    })
}

fn ingest_of(
    registry: Registry,
    engine: Arc<Engine>,
    settings: &Settings,
) -> Arc<dyn Fn() -> IngestOverview + Send + Sync> {
    let tenant = settings.tenant.clone();
    let limits = settings.ingest_limits();
    let series_limits = series_limits_of(&limits.default);
    let by_tenant = limits.tenants.iter().map(|(name, of)| (name.as_str().to_owned(), series_limits_of(of)));
    let series_limits_by_tenant: BTreeMap<_, _> = by_tenant.collect();
    let retention = settings.retention_text();
    Arc::new(move || {
        let families = registry.snapshot();
        let stored = |signal: Signal| {
            let points = points_of(&families, "kenning_ingest_items_total", &tenant);
            points
                .filter(|(labels, _)| labels.get(1).is_some_and(|(_, word)| word == signal.as_str()))
                .map(|(_, n)| n)
                .sum()
        };
        let refused =
            points_of(&families, "kenning_ingest_rejected_items_total", &tenant).map(|(labels, count)| {
                let word = |place: usize| labels.get(place).map(|(_, word)| word.clone()).unwrap_or_default();
                Refused { signal: word(1), reason: word(2), count }
            });
        let store = engine.stats();
        IngestOverview {
            samples: stored(Signal::Metrics),
            log_records: stored(Signal::Logs),
            spans: stored(Signal::Traces),
            refused: refused.collect(),
            bytes_on_disk: store.wal_bytes + store.tables.iter().map(|table| table.bytes).sum::<u64>(),
            retention: retention.clone(),
            replay: [store.replay.min, store.replay.max, store.replay.current],
            active_series: store.active_series,
            series_limits,
            series_limits_by_tenant: series_limits_by_tenant.clone(),
        }
    })
}

fn series_limits_of(limits: &kenning_pipeline::Limits) -> SeriesLimits {
    let count = |limit: Option<usize>| limit.and_then(|limit| u64::try_from(limit).ok());
    SeriesLimits { series: count(limits.series), per_metric: count(limits.series_per_metric) }
}

type LabelsOf<'a> = &'a [(Cow<'static, str>, String)];

/// The points of a counter whose first label is this tenant.
fn points_of<'a>(
    families: &'a [Family],
    name: &str,
    tenant: &str,
) -> impl Iterator<Item = (LabelsOf<'a>, u64)> {
    let points = families.iter().filter(move |family| family.name == name).flat_map(|family| &family.points);
    points.filter_map(move |point| {
        let is_tenant = point.labels.first().is_some_and(|(_, value)| value == tenant);
        let PointValue::Number(count) = point.value else { return None };
        is_tenant.then_some((point.labels.as_slice(), count as u64))
    })
}
