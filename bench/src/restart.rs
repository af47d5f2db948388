//! A start with recent data in the write-ahead log: the engine in this process, so that a profiler sees nothing else.
//! (`m200k` measures the same from outside, by SIGKILL.)

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use kenning_model::{Batch, BatchId, LabelSet, MetricBatch, Millis, Sample, Store, TenantId, Write};
use kenning_stdx::clock::SystemClock;
use kenning_stdx::random::Random;
use kenning_stdx::vfs::RealVfs;
use kenning_store::{Engine, Options};

use crate::node_mix::{BATCH_SAMPLES, NodeMix, STEP_MS};
use crate::{Failure, Row};

const SERIES: usize = 200_000;
const STEPS: usize = 40;
const START_MS: i64 = 1_700_000_000_000;
/// Starts that are measured, the first of them with everything in the system's cache as well.
const ROUNDS: usize = 3;

/// Times and CPU of starts.
pub fn measure(_: &Path) -> Result<Vec<Row>, Failure> {
    let folder = tempfile::tempdir()?;
    let mut mix = NodeMix::new(SERIES, "");
    let sets: Vec<LabelSet> =
        mix.labels().map(|pairs| LabelSet::from_pairs(pairs.iter().map(|(n, v)| (n, v.as_str())))).collect();
    let mut id = 0;
    let engine = open(folder.path())?;
    for step in 0..STEPS {
        let values: Vec<f64> = mix.values().collect();
        for (sets, values) in sets.chunks(BATCH_SAMPLES).zip(values.chunks(BATCH_SAMPLES)) {
            id += 1;
            engine.write(&[write(id, sets, values, START_MS + step as i64 * STEP_MS)])?;
        }
    }
    // Nothing is flushed: what is dropped here is left as a crash leaves it.
    drop(engine);
    let mut rows = Vec::new();
    for round in 0..ROUNDS {
        let (started, cpu) = (Instant::now(), own_cpu()?);
        let engine = open(folder.path())?;
        let opened = started.elapsed().as_secs_f64();
        id += 1;
        engine.write(&[write(id, sets.get(..1).unwrap_or_default(), &[0.5], START_MS)])?;
        let written = started.elapsed().as_secs_f64();
        engine.catch_up()?;
        let complete = started.elapsed().as_secs_f64();
        let cpu = own_cpu()? - cpu;
        let series = engine.stats().active_series;
        rows.push(Row {
            work: format!("start {round} with {SERIES} series x {STEPS} in the log"),
            result: format!(
                "open {opened:.3} s, first write {written:.3} s, complete {complete:.3} s, {cpu:.2} CPU s, {series} series"
            ),
        });
    }
    Ok(rows)
}

fn open(folder: &Path) -> Result<Engine, Failure> {
    let vfs = Arc::new(RealVfs::open(folder)?);
    Ok(Engine::open_ahead(vfs, Arc::new(SystemClock::new()), Random::from_os(), Options::default())?)
}

fn write(id: u64, sets: &[LabelSet], values: &[f64], time: i64) -> Write {
    let samples =
        (0..).zip(values).map(|(series, value)| Sample { series, time: Millis(time), value: *value });
    let batch = MetricBatch { series: sets.to_vec(), samples: samples.collect(), ..MetricBatch::default() };
    Write { id: BatchId(id), tenant: TenantId::default_tenant(), batch: Batch::Metrics(batch) }
}

/// CPU seconds of this process.
fn own_cpu() -> Result<f64, Failure> {
    crate::process::cpu_seconds_of("self")
}
