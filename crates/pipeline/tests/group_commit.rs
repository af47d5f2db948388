//! The pipeline before a store whose writes a test holds up and fails at will.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use kenning_model::{
    Batch, BatchId, Block, Expired, Flow, LabelSet, LogBatch, LogRow, METRIC_NAME, MetricBatch, Millis,
    Nanos, Reason, Rejected, Retention, Sample, Scan, ScanError, ScanSummary, Severity, SpanId, Store,
    TenantId, TraceId, Write, WriteError,
};
use kenning_pipeline::process::{Chain, Origin, Processed, Processor};
use kenning_pipeline::telemetry::{PointValue, Registry};
use kenning_pipeline::{Drained, Intake, Limits, Pipeline, PipelineOptions, Refusal};
use kenning_stdx::clock::{Clock, SimClock};

const NOW: i64 = 1_800_000_000_000_000_000;

#[derive(Default)]
struct GatedStore {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    closed: bool,
    entered: usize,
    groups: Vec<Vec<BatchId>>,
    next_error: Option<WriteError>,
    panics: bool,
}

impl GatedStore {
    fn set_closed(&self, closed: bool) {
        self.state.lock().unwrap().closed = closed;
        self.changed.notify_all();
    }

    fn wait_until_entered(&self, times: usize) {
        let mut state = self.state.lock().unwrap();
        while state.entered < times {
            state = self.changed.wait(state).unwrap();
        }
    }

    fn groups(&self) -> Vec<Vec<u64>> {
        self.state.lock().unwrap().groups.iter().map(|group| group.iter().map(|id| id.0).collect()).collect()
    }
}

impl Store for GatedStore {
    fn write(&self, group: &[Write]) -> Result<(), WriteError> {
        let mut state = self.state.lock().unwrap();
        state.entered += 1;
        self.changed.notify_all();
        while state.closed {
            state = self.changed.wait(state).unwrap();
        }
        if state.panics {
            drop(state);
            panic!("a store that breaks an invariant");
        }
        if let Some(error) = state.next_error.take() {
            return Err(error);
        }
        state.groups.push(group.iter().map(|write| write.id).collect());
        Ok(())
    }

    fn last_batch_id(&self) -> BatchId {
        BatchId(41)
    }

    fn scan(&self, _: &Scan, _: &mut dyn FnMut(Block) -> Flow) -> Result<ScanSummary, ScanError> {
        Ok(ScanSummary::default())
    }

    fn expire(&self, _: &Retention) -> Result<Expired, WriteError> {
        Ok(Expired::default())
    }
}

struct Bench {
    store: Arc<GatedStore>,
    clock: Arc<SimClock>,
    registry: Registry,
    pipeline: Pipeline,
}

fn bench(options: PipelineOptions) -> Bench {
    let (store, clock) = (Arc::new(GatedStore::default()), Arc::new(SimClock::new(NOW)));
    let registry = Registry::new();
    let pipeline = Pipeline::start(store.clone(), clock.clone(), options, &registry).unwrap();
    Bench { store, clock, registry, pipeline }
}

fn limited(limits: Limits) -> PipelineOptions {
    PipelineOptions { limits: limits.into(), ..PipelineOptions::default() }
}

fn batch(samples: usize) -> Batch {
    let mut batch = MetricBatch::default();
    let series = batch.add_series(LabelSet::from_pairs([(METRIC_NAME, "up")]));
    let time = Millis(NOW / 1_000_000);
    batch.samples.extend((0..samples).map(|n| Sample { series, time, value: n as f64 }));
    Batch::Metrics(batch)
}

fn tenant() -> TenantId {
    TenantId::default_tenant()
}

async fn submit(intake: &Intake, samples: usize) -> Result<u64, Refusal> {
    intake.submit(&tenant(), batch(samples), Rejected::default()).await.map(|receipt| receipt.stored)
}

fn counted(registry: &Registry, family: &str, label: &str) -> f64 {
    let snapshot = registry.snapshot();
    let points = snapshot.iter().filter(|f| f.name == family).flat_map(|f| &f.points);
    let matching = points.filter(|point| label.is_empty() || point.labels.iter().any(|(_, v)| v == label));
    matching.map(|point| if let PointValue::Number(value) = point.value { value } else { 0.0 }).sum()
}

#[tokio::test]
async fn what_waits_while_one_group_is_written_becomes_the_next_group() {
    let bench = bench(PipelineOptions::default());
    let intake = bench.pipeline.intake();
    bench.store.set_closed(true);
    let first = intake.offer(&tenant(), batch(1), Rejected::default()).unwrap();
    bench.store.wait_until_entered(1);
    let rest: Vec<_> =
        (0..5).map(|_| intake.offer(&tenant(), batch(2), Rejected::default()).unwrap()).collect();
    assert_eq!(counted(&bench.registry, "kenning_ingest_items_total", ""), 0.0);
    bench.store.set_closed(false);
    assert_eq!(first.wait().await.unwrap().stored, 1);
    for ticket in rest {
        assert_eq!(ticket.wait().await.unwrap().stored, 2);
    }
    assert_eq!(bench.store.groups(), [vec![42], vec![43, 44, 45, 46, 47]]);
    assert_eq!(counted(&bench.registry, "kenning_ingest_items_total", "metrics"), 11.0);
    assert_eq!(counted(&bench.registry, "kenning_ingest_queue_bytes", ""), 0.0);
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_takes_again_when_it_drained() {
    let one = batch(100).heap_bytes() + 256;
    let bench = bench(PipelineOptions { queue_bytes: 3 * one, ..PipelineOptions::default() });
    let intake = bench.pipeline.intake();
    bench.store.set_closed(true);
    let tickets: Vec<_> =
        (0..3).map(|_| intake.offer(&tenant(), batch(100), Rejected::default()).unwrap()).collect();
    let refusal = submit(&intake, 100).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Overloaded { .. }) && refusal.retry_after().is_some());
    assert!(matches!(submit(&intake, 1000).await, Err(Refusal::TooLarge { .. })));
    assert_eq!(counted(&bench.registry, "kenning_ingest_refused_requests_total", "overloaded"), 1.0);
    bench.store.set_closed(false);
    for ticket in tickets {
        assert_eq!(ticket.wait().await.unwrap().stored, 100);
    }
    assert_eq!(submit(&intake, 100).await, Ok(100));
}

#[tokio::test]
async fn the_rate_is_held_and_an_overload_does_not_eat_into_it() {
    let bench = bench(limited(Limits { samples_per_second: Some(10), ..Limits::default() }));
    let intake = bench.pipeline.intake();
    assert_eq!(submit(&intake, 20).await, Ok(20));
    let refusal = submit(&intake, 10).await.unwrap_err();
    let setting = "limits.ingest.samples_per_second";
    assert_eq!(refusal, Refusal::RateLimited { retry_after: Duration::from_secs(1), limit: 10, setting });
    assert!(refusal.to_string().contains(setting));
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(submit(&intake, 10).await, Ok(10));
}

#[tokio::test]
async fn rejected_items_are_counted_and_told_and_the_rest_is_stored() {
    let bench = bench(PipelineOptions::default());
    let Batch::Metrics(mut metrics) = batch(3) else { unreachable!() };
    metrics.samples[1].time = Millis(0);
    let mut decoder = Rejected::default();
    decoder.add(Reason::Unsupported, 2, || "a delta".to_owned());
    let receipt = bench.pipeline.intake().submit(&tenant(), Batch::Metrics(metrics), decoder).await.unwrap();
    assert_eq!((receipt.stored, receipt.rejected.total()), (2, 3));
    assert_eq!(counted(&bench.registry, "kenning_ingest_rejected_items_total", "too_old"), 1.0);
    assert_eq!(counted(&bench.registry, "kenning_ingest_rejected_items_total", "unsupported"), 2.0);
}

#[tokio::test]
async fn nothing_to_store_is_answered_without_the_store() {
    let bench = bench(PipelineOptions::default());
    bench.store.set_closed(true);
    assert_eq!(submit(&bench.pipeline.intake(), 0).await, Ok(0));
}

#[tokio::test]
async fn errors_of_the_store_reach_all_who_waited_and_the_next_group_has_new_ids() {
    let bench = bench(PipelineOptions::default());
    let intake = bench.pipeline.intake();
    bench.store.state.lock().unwrap().next_error =
        Some(WriteError::Unavailable { detail: "disk full".into() });
    let refusal = submit(&intake, 1).await.unwrap_err();
    assert!(matches!(&refusal, Refusal::Unavailable { detail, .. } if detail == "disk full"), "{refusal}");
    bench.store.state.lock().unwrap().next_error = Some(WriteError::ReadOnly { detail: "disk died".into() });
    assert!(matches!(submit(&intake, 1).await, Err(Refusal::ReadOnly { .. })));
    assert_eq!(submit(&intake, 1).await, Ok(1));
    assert_eq!(bench.store.groups(), [[44]]);
    assert_eq!(counted(&bench.registry, "kenning_commit_failures_total", ""), 2.0);
}

#[tokio::test]
async fn a_store_that_panics_leaves_nobody_waiting() {
    let bench = bench(PipelineOptions::default());
    let intake = bench.pipeline.intake();
    bench.store.state.lock().unwrap().panics = true;
    assert!(matches!(submit(&intake, 1).await, Err(Refusal::Unavailable { .. })));
    assert!(matches!(submit(&intake, 1).await, Err(Refusal::Unavailable { .. })));
}

#[tokio::test]
async fn a_drain_writes_what_was_taken_and_refuses_what_comes() {
    let bench = bench(PipelineOptions::default());
    let intake = bench.pipeline.intake();
    let ticket = intake.offer(&tenant(), batch(7), Rejected::default()).unwrap();
    assert_eq!(bench.pipeline.drain(Duration::from_secs(60)).await, Drained::Clean);
    assert_eq!(ticket.wait().await.unwrap().stored, 7);
    assert!(matches!(submit(&intake, 1).await, Err(Refusal::Unavailable { .. })));
}

#[tokio::test]
async fn a_drain_that_takes_too_long_refuses_what_waits() {
    let bench = bench(PipelineOptions { group_batches: 1, ..PipelineOptions::default() });
    let intake = bench.pipeline.intake();
    bench.store.set_closed(true);
    let written = intake.offer(&tenant(), batch(1), Rejected::default()).unwrap();
    bench.store.wait_until_entered(1);
    let waiting = intake.offer(&tenant(), batch(1), Rejected::default()).unwrap();
    assert!(matches!(bench.pipeline.drain(Duration::from_millis(1)).await, Drained::TimedOut { .. }));
    assert!(matches!(waiting.wait().await, Err(Refusal::Unavailable { .. })));
    bench.store.set_closed(false);
    assert_eq!(written.wait().await.unwrap().stored, 1);
    assert!(bench.clock.steady() == Duration::ZERO);
}

/// Leaves out the lines that begin with `-`; counts what it saw when that is durable.
struct NoDashes(Arc<std::sync::atomic::AtomicU64>);

impl Processor for NoDashes {
    fn process(&self, origin: &Origin<'_>, mut processed: Processed) -> Result<Processed, Refusal> {
        assert_eq!(origin.receiver, "test");
        let Batch::Logs(batch) = &processed.batch else { return Ok(processed) };
        let (mut kept, mut rows) = (LogBatch::default(), Vec::new());
        for (place, row) in batch.rows().enumerate() {
            if !row.line.starts_with('-') {
                let stream = kept.add_stream(row.stream.clone());
                kept.push(stream, row);
                rows.push(place as u32);
            }
        }
        let (seen, counter) = (batch.len() as u64, Arc::clone(&self.0));
        processed.drop_items("dash", seen - kept.len() as u64);
        processed.batch = Batch::Logs(kept);
        processed.set_rows(rows);
        processed.when_durable(move || _ = counter.fetch_add(seen, std::sync::atomic::Ordering::Relaxed));
        Ok(processed)
    }
}

fn lines(lines: &[&str]) -> LogBatch {
    let (mut batch, labels) = (LogBatch::default(), LabelSet::from_pairs([("app", "a")]));
    let stream = batch.add_stream(labels.clone());
    for line in lines {
        let (trace_id, span_id, metadata) = (TraceId::NONE, SpanId::NONE, &LabelSet::empty());
        let (severity, time) = (Severity::UNKNOWN, Nanos(NOW));
        batch.push(stream, LogRow { stream: &labels, time, severity, trace_id, span_id, line, metadata });
    }
    batch
}

#[tokio::test]
async fn processors_drop_rows_and_count_what_is_durable_once() {
    let counter = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let mut processors = Chain::default();
    processors.push(Arc::new(NoDashes(Arc::clone(&counter))));
    let limits = Limits { line_bytes: Some(4), ..Limits::default() };
    let bench = bench(PipelineOptions { processors: processors.clone(), ..limited(limits) });
    // The second finds nothing more to drop, and rows are still those that were offered.
    let intake =
        bench.pipeline.intake().for_receiver("test").with_processor(Arc::new(NoDashes(Arc::default())));
    bench.store.state.lock().unwrap().next_error = Some(WriteError::Unavailable { detail: "x".into() });
    let offer =
        || intake.offer_logs(&tenant(), lines(&["-a", "long line", "b", "-c", "d"]), Rejected::default());
    let (ticket, refused) = offer().unwrap();
    assert_eq!(refused.iter().map(|row| row.row).collect::<Vec<_>>(), [1]);
    assert!(ticket.wait().await.is_err());
    assert_eq!(counted(&bench.registry, "kenning_ingest_dropped_items_total", ""), 0.0);
    let (ticket, _) = offer().unwrap();
    let receipt = ticket.wait().await.unwrap();
    assert_eq!((receipt.stored, receipt.rejected.total()), (2, 1));
    assert_eq!(counted(&bench.registry, "kenning_ingest_dropped_items_total", "dash"), 2.0);
    assert_eq!(counter.load(std::sync::atomic::Ordering::Relaxed), 3);
}
