//! What heads say they hold, against what the system says the process holds.

#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

use std::sync::Arc;

use kenning_model::{
    Batch, BatchId, LabelSet, METRIC_NAME, MetricBatch, Millis, Sample, Store, TenantId, Write,
};
use kenning_stdx::clock::SystemClock;
use kenning_stdx::process::resident_bytes;
use kenning_stdx::random::Random;
use kenning_stdx::vfs::RealVfs;
use kenning_store::{Engine, Options};

const SERIES: usize = 40_000;
const BATCH: usize = 5_000;
const STEPS: usize = 6;

fn labels(number: usize) -> LabelSet {
    LabelSet::from_pairs([
        (METRIC_NAME, "http_request_duration_seconds_bucket".to_owned()),
        ("cluster", format!("prod-{}", number % 4)),
        ("instance", format!("node-{:05}.example.internal:9100", number / 500)),
        ("job", "node".to_owned()),
        ("le", format!("{}", number % 25)),
        ("path", format!("/api/v1/item{number}")),
    ])
}

/// A test of its own file, so that nothing else of the process grows meanwhile.
#[test]
fn heads_are_as_large_as_they_say() {
    let folder = tempfile::tempdir().unwrap();
    let vfs = Arc::new(RealVfs::open(folder.path()).unwrap());
    let engine =
        Engine::open(vfs, Arc::new(SystemClock::new()), Random::seeded(1), Options::default()).unwrap();
    let mut id = 0;
    let mut write = |first: usize, step: usize| {
        id += 1;
        let mut batch = MetricBatch::default();
        for number in first..first + BATCH {
            let series = batch.add_series(labels(number));
            let value = (number * 7919 + step * (1 + number % 400)) as f64;
            let time = Millis(1_700_000_000_000 + step as i64 * 15_000);
            batch.samples.push(Sample { series, time, value });
        }
        let (tenant, batch) = (TenantId::default_tenant(), Batch::Metrics(batch));
        engine.write(&[Write { id: BatchId(id), tenant, batch }]).unwrap();
    };
    // The first makes the buffers of the log, which are no part of heads.
    write(SERIES, 0);
    let Some(before) = resident_bytes() else {
        eprintln!("SKIPPED: this system does not tell resident memory");
        return;
    };
    let told_before = engine.stats().head_bytes;
    for step in 0..STEPS {
        (0..SERIES).step_by(BATCH).for_each(|first| write(first, step));
    }
    let told = engine.stats().head_bytes - told_before;
    let grown = resident_bytes().unwrap_or(0).saturating_sub(before);
    let ratio = grown as f64 / told as f64;
    assert!((0.7..1.35).contains(&ratio), "heads say {told} bytes, the process grew by {grown}");
}
