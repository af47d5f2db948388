//! The API process: takes events in.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tracing::{Instrument, info_span};

use crate::database::Database;
use crate::event::Event;
use crate::object_store::ObjectStore;
use crate::queue::Queue;
use crate::{Error, Place, lifetime, migration};

kenning::metrics! {
    /// Requests by endpoint and status.
    static REQUESTS: Counter { method: &'static str, endpoint: &'static str, status: u16 } = "fastapi_requests_total";
    /// Requests that failed, by endpoint.
    static ERRORS: Counter { endpoint: &'static str } = "fastapi_error_total";
    /// Time to answer a request, in seconds.
    static DURATION: Histogram { endpoint: &'static str } = "fastapi_request_duration_seconds";
    /// 1 when PostgreSQL answers.
    static POSTGRES_STATUS: Gauge = "postgres_status";
    /// 1 when MinIO answers.
    static MINIO_STATUS: Gauge = "minio_status";
    /// 1 when Kafka answers.
    static KAFKA_STATUS: Gauge = "kafka_status";
    /// 1 when ClickHouse answers.
    static CLICKHOUSE_STATUS: Gauge = "clickhouse_status";
}

/// Connections to each database; as many requests work at once.
const CONNECTIONS: usize = 4;
/// Largest body of an event, in bytes.
const BODY_BYTES_MAX: usize = 64 << 10;
/// Distance between looks at the dependencies.
const HEALTH_EVERY: Duration = Duration::from_secs(5);
/// Longest check of a dependency.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// What requests share.
struct App {
    objects: ObjectStore,
    queues: Vec<Mutex<Queue>>,
    databases: Vec<Mutex<Database>>,
    facts: Mutex<Database>,
    next: AtomicUsize,
}

/// Why an event was not taken in.
enum Failure {
    Invalid(String),
    Dependency(String),
}

/// Serves until told to stop.
pub fn run(place: &Place, listen: SocketAddr, with_migrations: bool) -> Result<(), Error> {
    let _kenning = kenning::init()?;
    let app = Arc::new(App::open(place)?);
    register_health(&app);
    if with_migrations {
        migration::start(place.events())?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(serve(app, listen))
}

async fn serve(app: Arc<App>, listen: SocketAddr) -> Result<(), Error> {
    let listener = tokio::net::TcpListener::bind(listen).await?;
    tracing::info!(address = %listener.local_addr()?, "listening");
    tokio::spawn(watch_dependencies(Arc::clone(&app)));
    let router = Router::new()
        .route("/ingest", post(ingest))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(app)
        .layer(kenning::axum::layer())
        .merge(kenning::axum::routes());
    axum::serve(listener, router).with_graceful_shutdown(lifetime::end()).await?;
    Ok(())
}

async fn ingest(State(app): State<Arc<App>>, body: Bytes) -> Response {
    let start = Instant::now();
    let outcome = take_in(app, body).await;
    let status = match &outcome {
        Ok(()) => StatusCode::ACCEPTED,
        Err(Failure::Invalid(_)) => StatusCode::BAD_REQUEST,
        Err(Failure::Dependency(_)) => StatusCode::SERVICE_UNAVAILABLE,
    };
    REQUESTS.with(("POST", "/ingest", status.as_u16())).inc();
    DURATION.with("/ingest").observe(start.elapsed().as_secs_f64());
    if !status.is_success() {
        ERRORS.with("/ingest").inc();
    }
    let message = match outcome {
        Ok(()) => String::new(),
        Err(Failure::Invalid(message) | Failure::Dependency(message)) => message,
    };
    (status, message).into_response()
}

async fn take_in(app: Arc<App>, body: Bytes) -> Result<(), Failure> {
    let span = info_span!("ingest_event", "event.id" = tracing::field::Empty, "payload.size" = body.len());
    async move {
        let event = Event::parse(&body).map_err(|problem| {
            tracing::warn!(problem, "event refused");
            Failure::Invalid(problem)
        })?;
        tracing::Span::current().record("event.id", &event.id);
        // SQLite and the file system block; the span goes along to the thread that waits.
        let span = tracing::Span::current();
        let work = tokio::task::spawn_blocking(move || span.in_scope(|| app.store(&event, &body)));
        work.await.unwrap_or_else(|error| Err(Failure::Dependency(error.to_string())))
    }
    .instrument(span)
    .await
}

impl App {
    fn open(place: &Place) -> Result<Self, Error> {
        let several = || 0..CONNECTIONS;
        Ok(Self {
            objects: ObjectStore::open(place.objects())?,
            queues: several()
                .map(|_| Queue::open(&place.queue()).map(Mutex::new))
                .collect::<Result<_, _>>()?,
            databases: several()
                .map(|_| Database::open(&place.events()).map(Mutex::new))
                .collect::<Result<_, _>>()?,
            facts: Mutex::new(Database::open(&place.facts())?),
            next: AtomicUsize::new(0),
        })
    }

    fn store(&self, event: &Event, body: &[u8]) -> Result<(), Failure> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % CONNECTIONS;
        self.objects.put(&event.id, body).map_err(|error| Failure::Dependency(error.to_string()))?;
        self.publish(event, turn).map_err(|error| Failure::Dependency(error.to_string()))?;
        self.note(event, body.len(), turn).map_err(|error| Failure::Dependency(error.to_string()))?;
        tracing::info!(event_id = event.id, kind = event.kind, size = body.len(), "event taken in");
        Ok(())
    }

    fn publish(&self, event: &Event, turn: usize) -> rusqlite::Result<()> {
        let span = info_span!(
            "kafka_publish",
            "otel.kind" = "producer",
            "messaging.system" = "kafka",
            "messaging.destination.name" = "events",
            "messaging.kafka.offset" = tracing::field::Empty,
        );
        let _entered = span.enter();
        let mut headers = Vec::new();
        kenning::propagation::inject(|name, value| headers.push((name.to_owned(), value)));
        let payload = serde_json::to_string(event).unwrap_or_default();
        let published = with(self.queues.get(turn), |queue| queue.publish(&headers, &payload));
        match &published {
            Ok(offset) => drop(span.record("messaging.kafka.offset", offset)),
            Err(error) => {
                tracing::error!(error = error as &dyn std::error::Error, "event could not be published")
            }
        }
        published.map(|_| ())
    }

    fn note(&self, event: &Event, bytes: usize, turn: usize) -> rusqlite::Result<()> {
        let span = info_span!(
            "postgres_insert",
            "otel.kind" = "client",
            "db.system" = "postgresql",
            "db.statement" = "INSERT INTO events (id, kind, bytes, received) VALUES ($1, $2, $3, $4)",
        );
        let _entered = span.enter();
        let inserted =
            with(self.databases.get(turn), |database| database.insert_event(event, bytes, unix_ms()));
        if let Err(error) = &inserted {
            tracing::error!(
                error = error as &dyn std::error::Error,
                event_id = event.id,
                "event could not be saved"
            );
        }
        inserted
    }
}

/// Works with one connection of a pool.
fn with<C, T>(slot: Option<&Mutex<C>>, work: impl FnOnce(&C) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    match slot {
        Some(slot) => work(&slot.lock().unwrap_or_else(PoisonError::into_inner)),
        None => Err(rusqlite::Error::InvalidQuery),
    }
}

fn unix_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// The dependencies, and how to ask each.
type Check = (&'static str, fn(&App) -> Result<(), String>);

const CHECKS: [Check; 4] = [
    ("postgres", |app| with_any(&app.databases, Database::is_healthy)),
    ("minio", |app| app.objects.is_healthy()),
    ("kafka", |app| with_any(&app.queues, Queue::is_healthy)),
    ("clickhouse", |app| app.facts.lock().unwrap_or_else(PoisonError::into_inner).is_healthy()),
];

fn with_any<C>(pool: &[Mutex<C>], ask: fn(&C) -> Result<(), String>) -> Result<(), String> {
    let first = pool.first().ok_or("no connection")?;
    ask(&first.lock().unwrap_or_else(PoisonError::into_inner))
}

fn register_health(app: &Arc<App>) {
    for (name, check) in CHECKS {
        let app = Arc::clone(app);
        kenning::health::register(name, CHECK_TIMEOUT, move || check(&app).map_err(Into::into));
    }
}

/// The document's second trace: all dependencies asked one after another, now and then.
async fn watch_dependencies(app: Arc<App>) {
    loop {
        tokio::time::sleep(HEALTH_EVERY).await;
        let app = Arc::clone(&app);
        let _ = tokio::task::spawn_blocking(move || check_dependencies(&app)).await;
    }
}

fn check_dependencies(app: &App) {
    let _check = info_span!("health_check").entered();
    for (name, check) in CHECKS {
        let span = match name {
            "postgres" => info_span!("postgres_check"),
            "minio" => info_span!("minio_check"),
            "kafka" => info_span!("kafka_check"),
            _ => info_span!("clickhouse_check"),
        };
        let outcome = span.in_scope(|| check(app));
        let value = if outcome.is_ok() { 1.0 } else { 0.0 };
        match name {
            "postgres" => POSTGRES_STATUS.set(value),
            "minio" => MINIO_STATUS.set(value),
            "kafka" => KAFKA_STATUS.set(value),
            _ => CLICKHOUSE_STATUS.set(value),
        }
        if let Err(problem) = outcome {
            tracing::error!(dependency = name, problem, "dependency does not answer");
        }
    }
}
