//! Redaction of log lines, in this process: clean lines as busy services write them, lines of the peers' measurement, and
//! lines with a planted secret each. Nothing is stored.
//!
//! `KENNING_BENCH_CORPUS` names a folder whose files are read as further clean lines, those below it included.

use std::path::Path;

use kenning_pipeline::redact::{RedactOptions, Redactor, Scratch, Tally};

use crate::process::cpu_seconds_of;
use crate::{Failure, Row};

#[expect(dead_code, reason = "what was planted is for tests to look at")]
#[path = "../../crates/pipeline/tests/planted/mod.rs"]
mod planted;

const LINES: usize = 50_000;
const REPEATS: usize = 40;

/// Nanoseconds of CPU for a line and for a byte.
pub fn measure(_: &Path) -> Result<Vec<Row>, Failure> {
    let redactor = Redactor::new(&RedactOptions::default()).map_err(|mistakes| format!("{mistakes:?}"))?;
    let dirty = planted::planted(1, LINES).into_iter().map(|one| one.line).collect();
    let mut sets = vec![
        ("redaction, clean lines", planted::clean(2, LINES)),
        ("redaction, clean JSON of 300 bytes", crate::logs::sample_lines(LINES)?),
        ("redaction, a secret in each line", dirty),
    ];
    if let Some(folder) = std::env::var_os("KENNING_BENCH_CORPUS") {
        sets.push(("redaction, lines of the corpus", lines_below(Path::new(&folder))?));
    }
    sets.iter().map(|(work, lines)| row(&redactor, work, lines)).collect()
}

fn row(redactor: &Redactor, work: &str, lines: &[String]) -> Result<Row, Failure> {
    let (mut scratch, mut tally) = (Scratch::default(), Tally::default());
    let mut changed = 0;
    // CPU time, so that what else the machine does tells little.
    let start = cpu_seconds_of("self")?;
    for _ in 0..REPEATS {
        changed =
            lines.iter().filter(|line| redactor.redact(line, &mut scratch, &mut tally).is_some()).count();
    }
    let seconds = (cpu_seconds_of("self")? - start) / REPEATS as f64;
    let bytes: usize = lines.iter().map(String::len).sum();
    let result = format!(
        "{:.0} ns/line, {:.2} ns/byte, {changed} of {} lines changed",
        seconds * 1e9 / lines.len().max(1) as f64,
        seconds * 1e9 / bytes.max(1) as f64,
        lines.len()
    );
    Ok(Row { work: work.to_owned(), result })
}

fn lines_below(folder: &Path) -> Result<Vec<String>, Failure> {
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            lines.extend(lines_below(&path)?);
        } else {
            lines.extend(String::from_utf8_lossy(&std::fs::read(&path)?).lines().map(str::to_owned));
        }
    }
    Ok(lines)
}
