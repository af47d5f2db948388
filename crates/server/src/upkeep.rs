//! Background work on the store: flush what is old or large, drop what is past its time.

use std::sync::Arc;
use std::time::Duration;

use kenning_model::{Expired, Nanos, Retention, Store, StreamRetention, WriteError};
use kenning_receivers::serve::Stop;
use kenning_stdx::clock::Clock;
use kenning_store::{Engine, Maintained};
use tokio::sync::oneshot;

use crate::own::UpkeepMetrics;
use crate::settings::Settings;

/// How often the store is looked after ...
const TICK: Duration = Duration::from_secs(1);
/// ... and how often it is asked whether it can wait so long.
const LOOK: Duration = Duration::from_millis(100);
/// How often retention runs.
const RETENTION_EVERY: Duration = Duration::from_secs(60);

/// Runs until `stop`.
pub async fn run(
    engine: Arc<Engine>,
    clock: Arc<dyn Clock>,
    settings: Settings,
    metrics: UpkeepMetrics,
    mut stop: Stop,
) {
    let metrics = Arc::new(metrics);
    let mut retention_due = clock.steady();
    let mut tick_due = retention_due + TICK;
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.wait() => return,
        }
        let now = clock.steady();
        if now < tick_due && !engine.is_flush_due() {
            continue;
        }
        tick_due = now + TICK;
        let retention = (now >= retention_due).then(|| policies(&settings, &*clock));
        if retention.is_some() {
            retention_due = now + RETENTION_EVERY;
        }
        let (engine, metrics) = (Arc::clone(&engine), Arc::clone(&metrics));
        on_its_own_thread(move || turn(&engine, retention.as_ref(), &metrics)).await;
    }
}

/// Runs a turn on a thread that ends with it: flushing and deleting block on the disk, and the end of a thread is when the
/// allocator gives back to the system what is free and has long been, so that a server that falls silent after much work
/// does not hold that memory. A panic ends the turn, not the server.
async fn on_its_own_thread(turn: impl FnOnce() + Send + 'static) {
    let (done, ended) = oneshot::channel();
    let run = move || {
        turn();
        // The server may have stopped waiting.
        let _ = done.send(());
    };
    match std::thread::Builder::new().name("upkeep".into()).spawn(run) {
        Ok(_) if ended.await.is_err() => {
            tracing::error!("upkeep of the store panicked; this is a bug of Kenning");
        }
        Ok(_) => {}
        Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "upkeep got no thread"),
    }
}

/// What goes file by file, and what stream by stream.
fn policies(settings: &Settings, clock: &dyn Clock) -> (Retention, StreamRetention) {
    let mut retention = settings.retention(Nanos(clock.unix_nanos()));
    let streams = settings.stream_retention(retention.now);
    settings.lengthen(&mut retention);
    (retention, streams)
}

fn turn(engine: &Engine, retention: Option<&(Retention, StreamRetention)>, metrics: &UpkeepMetrics) {
    match engine.maintain() {
        Ok(Maintained { flushed: false, merged: 0 }) => {}
        Ok(Maintained { flushed, merged }) => {
            tracing::info!(flushed, merged, "recent data and parts reorganised")
        }
        Err(error) => {
            metrics.flush_failures.increment();
            tracing::error!(error = &error as &dyn std::error::Error, "upkeep of the store failed");
        }
    }
    let Some((policy, streams)) = retention else { return };
    note(engine.expire(policy), metrics);
    note(engine.expire_streams(streams), metrics);
}

fn note(expired: Result<Expired, WriteError>, metrics: &UpkeepMetrics) {
    match expired {
        Ok(expired) => {
            metrics.expired_parts.add(expired.parts);
            metrics.expired_for_size.add(expired.for_size);
            if expired.parts > 0 {
                tracing::info!(
                    parts = expired.parts,
                    rows = expired.rows,
                    bytes = expired.bytes,
                    for_size = expired.for_size,
                    "retention dropped parts"
                );
            }
        }
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "retention could not drop parts")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_turn_is_waited_for_and_one_that_panics_ends_alone() {
        on_its_own_thread(|| panic!("as this test wants it")).await;
        let (ran, after) = mpsc::channel();
        on_its_own_thread(move || ran.send(std::thread::current().name().map(str::to_owned)).unwrap()).await;
        assert_eq!(after.try_recv(), Ok(Some("upkeep".to_owned())));
    }
}
