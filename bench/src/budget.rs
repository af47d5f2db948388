//! More series than memory has room for: known ones go on and lose nothing, newcomers are refused, the process stays
//! within its budget, and gives memory back afterwards.
//!
//! A tenth of the newcomers of the full run come by default; `BENCH_SERIES=10000000` offers ten million.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::node_mix::{BATCH_SAMPLES, NodeMix, STEP_MS};
use crate::process::Kenning;
use crate::remote_write::{count_of, now_ms, push};
use crate::{Failure, Row};

const BUDGET_MIB: f64 = 1024.0;
const SERIES: usize = 1_000_000;
/// Series that are there before and go on meanwhile.
const KNOWN: usize = 20_000;
/// Newcomers between two steps of the known series.
const WAVE: usize = 50_000;
/// Longest wait for memory to be given back.
const QUIET_MAX: Duration = Duration::from_secs(60);

/// The whole measurement.
pub fn measure(binary: &Path) -> Result<Vec<Row>, Failure> {
    let offered = std::env::var("BENCH_SERIES").ok().and_then(|text| text.parse().ok()).unwrap_or(SERIES);
    let dir = tempfile::tempdir()?;
    let budget = format!("limits.memory={BUDGET_MIB}MiB");
    let lifted = ["series", "series_per_metric", "new_series_per_hour"];
    let lifted = lifted.map(|limit| format!("limits.ingest.{limit}=unlimited"));
    let sets: Vec<&str> = lifted.iter().chain([&budget]).map(String::as_str).collect();
    let server = Kenning::start_in(binary, dir.path(), None, &sets)?;
    let url = format!("http://{}/api/v1/write", server.listen);
    let waves = offered / WAVE;
    let start_ms = now_ms()? / STEP_MS * STEP_MS - waves as i64 * STEP_MS;
    let mut known = NodeMix::new(KNOWN, "-known");
    let (mut taken, mut refused, mut peak, mut hurt) = (0usize, 0usize, 0.0f64, 0usize);
    let started = Instant::now();
    for wave in 0..waves {
        let time = start_ms + wave as i64 * STEP_MS;
        for body in known.step(time) {
            hurt += usize::from(push(&url, &body)? != 204);
        }
        for body in NodeMix::new(WAVE, &format!("-{wave}")).step(time) {
            // A request of which a part is stored, or nothing, is answered 400 or 429.
            match push(&url, &body)? {
                204 => taken += BATCH_SAMPLES,
                400 | 429 => refused += BATCH_SAMPLES,
                other => return Err(format!("newcomers were answered {other}").into()),
            }
        }
        peak = peak.max(server.process.memory_mib("VmRSS")?);
    }
    let wall = started.elapsed().as_secs_f64();
    let high = server.process.memory_mib("VmHWM")?;
    let end_ms = start_ms + (waves as i64 - 1) * STEP_MS;
    let known_found = count_of(&server, "-known", start_ms, end_ms)?;
    let lost = (KNOWN * waves) as f64 - known_found;
    let quiet = settled_memory(&server)?;
    let work = |what: &str| format!("{} k series offered under {BUDGET_MIB} MiB: {what}", offered / 1000);
    Ok(vec![
        Row {
            work: work("whole requests taken, refused in part or whole"),
            result: format!("{taken}, {refused} series, {wall:.0} s"),
        },
        Row {
            work: work("samples of known series lost"),
            result: format!("{lost:.0} of {}; {hurt} requests not taken", KNOWN * waves),
        },
        Row {
            work: work("resident memory"),
            result: format!(
                "peak {high:.0} MiB ({:.0} % of the budget), at the ends of waves {peak:.0} MiB, {quiet:.0} MiB after a flush",
                high / BUDGET_MIB * 100.0
            ),
        },
    ])
}

/// Memory some time after the last write.
fn settled_memory(server: &Kenning) -> Result<f64, Failure> {
    let deadline = Instant::now() + QUIET_MAX;
    let mut least = server.process.memory_mib("VmRSS")?;
    while Instant::now() < deadline {
        std::thread::sleep(Duration::from_secs(2));
        least = least.min(server.process.memory_mib("VmRSS")?);
    }
    Ok(least)
}
