//! From nothing to ready, and what the server holds while nobody asks anything.

use std::path::Path;
use std::time::Duration;

use crate::process::{Kenning, median};
use crate::{Failure, Row};

const RUNS: usize = 10;
/// Time for first background work before memory is read.
const REST: Duration = Duration::from_secs(3);

pub fn measure(binary: &Path) -> Result<Vec<Row>, Failure> {
    let mut times = Vec::new();
    for _ in 0..RUNS {
        times.push(Kenning::start(binary, None)?.time_to_ready.as_secs_f64() * 1000.0);
    }
    let server = Kenning::start(binary, None)?;
    std::thread::sleep(REST);
    let memory = server.process.memory_mib("VmRSS")?;
    let size = std::fs::metadata(binary)?.len() as f64 / 1e6;
    Ok(vec![
        Row { work: "binary".into(), result: format!("{size:.1} MB") },
        Row {
            work: format!("time to ready, empty directory, median of {RUNS}"),
            result: format!("{:.0} ms", median(times)),
        },
        Row { work: "resident memory when idle".into(), result: format!("{memory:.1} MiB") },
    ])
}
