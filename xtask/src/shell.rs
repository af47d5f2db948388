//! Running other programs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// The workspace's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// Runs a program in `dir` with its output on our terminal; says what runs and how long it took.
pub fn run_in(dir: &Path, program: &str, arguments: &[&str]) -> Result<(), String> {
    let line = format!("{program} {}", arguments.join(" "));
    println!("\n== {line}");
    let start = Instant::now();
    let status = Command::new(program).args(arguments).current_dir(dir).status();
    let status = status.map_err(|error| format!("cannot run {line}: {error}"))?;
    println!("== {line}: {status}, {:.0} s", start.elapsed().as_secs_f64());
    if status.success() { Ok(()) } else { Err(format!("{line} failed: {status}")) }
}

/// Runs a program in the workspace's root.
pub fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    run_in(&root(), program, arguments)
}

/// True when the program is there and `--version` works.
pub fn has(program: &str) -> bool {
    let probe = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    probe.is_ok_and(|status| status.success())
}
