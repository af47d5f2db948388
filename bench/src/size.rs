//! What samples take on disk: the engine in this process, flushed every ten minutes of the data's time and merged as a
//! server would, and the same samples as blocks of Debian's Prometheus (`promtool tsdb create-blocks-from openmetrics`).
//!
//! `BENCH_KEEP=<folder>` keeps the parts for a closer look.

use std::fmt::Write as _;
use std::io::{BufWriter, Write as IoWrite};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use kenning_model::{Batch, BatchId, LabelSet, MetricBatch, Millis, Sample, Store, TenantId, Write};
use kenning_stdx::clock::SystemClock;
use kenning_stdx::random::Random;
use kenning_stdx::vfs::RealVfs;
use kenning_store::{Engine, Options, PartTable};

use crate::node_mix::{NodeMix, STEP_MS};
use crate::process::folder_bytes;
use crate::{Failure, Row};

/// Steps between two flushes: ten minutes.
const FLUSH_STEPS: usize = 40;
/// The first sample: the beginning of a day.
const START_MS: i64 = 1_699_920_000_000;
/// Series of the comparison, which stays small since its text is large; the blend repeats every hundred.
const COMPARED_SERIES: usize = 2000;

/// Series, steps.
const SHAPES: [(usize, usize); 3] = [(10_000, 1440), (10_000, 5760), (200_000, 40)];

/// Bytes per sample in parts, after all merges.
pub fn measure(_: &Path) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for (series, steps) in SHAPES {
        rows.push(Row {
            work: format!("{series} series x {steps}: in parts, all in all"),
            result: ours(series, steps)?,
        });
    }
    for steps in [480, 1440] {
        let work = format!("{COMPARED_SERIES} series x {steps}");
        rows.push(Row {
            work: format!("{work}: in parts, all in all"),
            result: ours(COMPARED_SERIES, steps)?,
        });
        let result = blocks(COMPARED_SERIES, steps)?;
        rows.push(Row { work: format!("{work}: as blocks of Debian's Prometheus, index included"), result });
    }
    Ok(rows)
}

fn ours(series: usize, steps: usize) -> Result<String, Failure> {
    let own = tempfile::tempdir()?;
    let folder = std::env::var("BENCH_KEEP")
        .map_or(own.path().to_owned(), |kept| Path::new(&kept).join(format!("{series}x{steps}")));
    std::fs::create_dir_all(&folder)?;
    let vfs = Arc::new(RealVfs::open(&folder)?);
    let engine = Engine::open(vfs, Arc::new(SystemClock::new()), Random::seeded(1), Options::default())?;
    let mut mix = NodeMix::new(series, "");
    let sets: Vec<LabelSet> =
        mix.labels().map(|pairs| LabelSet::from_pairs(pairs.iter().map(|(n, v)| (n, v.as_str())))).collect();
    for step in 0..steps {
        let time = Millis(START_MS + step as i64 * STEP_MS);
        let samples = (0..).zip(mix.values()).map(|(series, value)| Sample { series, time, value }).collect();
        let batch = Batch::Metrics(MetricBatch { series: sets.clone(), samples, ..MetricBatch::default() });
        engine.write(&[Write { id: BatchId(step as u64 + 1), tenant: TenantId::default_tenant(), batch }])?;
        if (step + 1) % FLUSH_STEPS == 0 {
            engine.flush()?;
            while engine.maintain()?.merged > 0 {}
        }
    }
    engine.flush()?;
    while engine.maintain()?.merged > 0 {}
    let parts = engine.parts_of(PartTable::Samples);
    let samples = (series * steps) as f64;
    let counts = engine.stats().counts;
    drop(engine);
    let bytes = folder_bytes(&folder.join("parts"));
    Ok(format!(
        "{:.3} bytes/sample, {} parts, {} merges of {} flushes",
        bytes as f64 / samples,
        parts.len(),
        counts.merges,
        counts.flushes
    ))
}

fn blocks(series: usize, steps: usize) -> Result<String, Failure> {
    let folder = tempfile::tempdir()?;
    let text = folder.path().join("samples.txt");
    write_text(&text, series, steps)?;
    let data = folder.path().join("data");
    let mut command = Command::new("promtool");
    command.args(["tsdb", "create-blocks-from", "openmetrics", "--quiet"]).arg(&text).arg(&data);
    match command.output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => return Err(String::from_utf8_lossy(&output.stderr).into_owned().into()),
        Err(error) => return Ok(format!("SKIPPED: promtool cannot be run: {error}")),
    }
    let count = std::fs::read_dir(&data)?.count();
    Ok(format!("{:.3} bytes/sample, {count} blocks", folder_bytes(&data) as f64 / (series * steps) as f64))
}

/// The samples as OpenMetrics text, series by series within each metric, as the format wants them.
fn write_text(path: &Path, series: usize, steps: usize) -> Result<(), Failure> {
    let mut mix = NodeMix::new(series, "");
    let mut names: Vec<(String, usize)> = Vec::new();
    for (at, pairs) in mix.labels().enumerate() {
        let mut name = String::new();
        for (label, value) in pairs {
            match *label {
                "__name__" => name.insert_str(0, &format!("{value}{{")),
                label => write!(name, "{label}=\"{value}\",")?,
            }
        }
        names.push((format!("{}}}", name.trim_end_matches(',')), at));
    }
    let columns: Vec<Vec<f64>> = (0..steps).map(|_| mix.values().collect()).collect();
    names.sort();
    let mut file = BufWriter::new(std::fs::File::create(path)?);
    for (name, at) in &names {
        for (step, column) in columns.iter().enumerate() {
            let seconds = START_MS / 1000 + step as i64 * STEP_MS / 1000;
            writeln!(file, "{name} {} {seconds}", column.get(*at).copied().unwrap_or(0.0))?;
        }
    }
    writeln!(file, "# EOF")?;
    Ok(file.flush()?)
}
