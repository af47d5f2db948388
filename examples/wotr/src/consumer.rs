//! The consumer process: takes events from the queue and writes their facts.

use std::time::{Duration, Instant};

use tracing::{Span, info_span};

use crate::database::Database;
use crate::event::Event;
use crate::queue::{Message, Queue};
use crate::{Error, Place, lifetime};

kenning::metrics! {
    /// Messages taken from the queue.
    static CONSUMED: Counter = "consumer_messages_consumed_total";
    /// Messages processed, by outcome.
    static PROCESSED: Counter { status: &'static str } = "consumer_messages_processed_total";
    /// Time to process one message, in seconds.
    static PROCESSING: Histogram = "consumer_processing_duration_seconds";
    /// Time of one insert into ClickHouse, in seconds.
    static INSERT: Histogram = "consumer_clickhouse_insert_duration_seconds";
    /// Failures by kind.
    static ERRORS: Counter { error_type: &'static str } = "consumer_errors_total";
    /// Messages that wait in the queue.
    static LAG: Gauge = "consumer_lag";
}

/// The consumer group.
const GROUP: &str = "wotr-consumer";
/// Messages taken at once.
const POLL_MAX: usize = 32;
/// Pause when nothing waits.
const IDLE: Duration = Duration::from_millis(50);
/// Longest check of a dependency.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// Works until told to stop.
pub fn run(place: &Place) -> Result<(), Error> {
    let _kenning = kenning::init()?;
    let mut worker = Worker { queue: Queue::open(&place.queue())?, facts: Database::open(&place.facts())? };
    let path = place.facts();
    kenning::health::register("clickhouse", CHECK_TIMEOUT, move || {
        Database::open(&path)?.is_healthy().map_err(Into::into)
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let end = runtime.spawn(lifetime::end());
    tracing::info!(group = GROUP, "consuming");
    while !end.is_finished() {
        if worker.turn()? == 0 {
            std::thread::sleep(IDLE);
        }
    }
    // The watcher of our parent may still block on its pipe; it holds nothing.
    runtime.shutdown_background();
    Ok(())
}

struct Worker {
    queue: Queue,
    facts: Database,
}

impl Worker {
    /// Works off what waits, up to a batch; gives the number of messages.
    fn turn(&mut self) -> Result<usize, Error> {
        LAG.set(self.queue.lag(GROUP)? as f64);
        let messages = self.queue.poll(GROUP, POLL_MAX)?;
        for message in &messages {
            CONSUMED.inc();
            self.process(message);
            // After the work: a crash in between repeats a message, it never loses one.
            self.queue.commit(GROUP, message.offset)?;
        }
        Ok(messages.len())
    }

    fn process(&mut self, message: &Message) {
        let start = Instant::now();
        let _entered = span_of(message).entered();
        let outcome = self.handle(message);
        PROCESSING.observe(start.elapsed().as_secs_f64());
        match outcome {
            Ok(()) => {
                PROCESSED.with("success").inc();
                tracing::info!(
                    offset = message.offset,
                    latency = start.elapsed().as_secs_f64(),
                    "message processed"
                );
            }
            Err(kind) => {
                PROCESSED.with("error").inc();
                ERRORS.with(kind).inc();
            }
        }
    }

    /// The error is the kind that metrics count; its story has been logged.
    fn handle(&mut self, message: &Message) -> Result<(), &'static str> {
        let event = Event::parse(message.payload.as_bytes()).map_err(|problem| {
            tracing::error!(problem, "message cannot be read");
            "malformed"
        })?;
        event.validate().map_err(|problem| {
            let error = std::io::Error::new(std::io::ErrorKind::InvalidData, problem);
            tracing::error!(
                error = &error as &dyn std::error::Error,
                event_id = event.id,
                "event is not valid"
            );
            "validation"
        })?;
        let span = info_span!("clickhouse_insert", "otel.kind" = "client", "db.system" = "clickhouse");
        let _entered = span.enter();
        let start = Instant::now();
        let inserted = self.facts.insert_facts(std::slice::from_ref(&event));
        INSERT.observe(start.elapsed().as_secs_f64());
        inserted.map(|_| ()).map_err(|error| {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                event_id = event.id,
                "facts could not be written"
            );
            "clickhouse"
        })
    }
}

/// A span that continues the trace of whoever published the message.
fn span_of(message: &Message) -> Span {
    let header =
        |name: &str| message.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let remote = kenning::propagation::extract(header);
    kenning::propagation::with_remote(remote, || {
        info_span!(
            "process_message",
            "otel.kind" = "consumer",
            "messaging.system" = "kafka",
            "messaging.destination.name" = "events",
            "messaging.kafka.offset" = message.offset,
        )
    })
}
