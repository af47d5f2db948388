//! Measures a release build of Kenning on the paths of the demo and prints one Markdown table.
//!
//! `cargo build --release -p kenning-cli && cargo run --release -p kenning-bench -- target/release/kenning`
//!
//! The server runs as a process of its own; its CPU time and memory come from `/proc`. What is sent is encoded before
//! the clock starts. Where Debian's Prometheus is installed it scrapes the same pages in the same run.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks to its terminal")]

mod budget;
mod compare;
mod exposition;
mod logs;
mod node_mix;
mod process;
mod queries;
mod redact;
mod remote_write;
mod restart;
mod size;
mod spans;
mod start;
mod visible;

use std::path::PathBuf;
use std::process::ExitCode;

/// The server's, since some measurements run the engine in this process.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One line of the report.
pub struct Row {
    /// What was done.
    pub work: String,
    /// What it took.
    pub result: String,
}

/// Whatever stopped a measurement.
pub type Failure = Box<dyn std::error::Error>;

/// A named measurement.
type Measurement = (&'static str, fn(&std::path::Path) -> Result<Vec<Row>, Failure>);

const ALL: &[Measurement] = &[
    ("start", start::measure),
    ("visible", visible::measure),
    ("scrape", exposition::measure),
    ("logs", logs::measure),
    ("spans", spans::measure),
    ("queries", queries::measure),
    ("redact", redact::measure),
    ("size", size::measure),
    ("budget", budget::measure),
    ("restart", restart::measure),
    ("m10k", remote_write::m10k),
    ("m200k", remote_write::m200k),
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(binary) = arguments.next().map(PathBuf::from) else {
        eprintln!(
            "usage: kenning-bench KENNING_BINARY [start|visible|scrape|logs|spans|queries|redact|size|budget|restart|m10k|m200k ...]"
        );
        return ExitCode::from(2);
    };
    let wanted: Vec<String> = arguments.collect();
    println!("| work | result |\n|---|---|");
    let mut outcome = ExitCode::SUCCESS;
    for (name, measure) in ALL {
        if !wanted.is_empty() && !wanted.iter().any(|one| one == name) {
            continue;
        }
        match measure(&binary) {
            Ok(rows) => rows.iter().for_each(|row| println!("| {} | {} |", row.work, row.result)),
            Err(error) => {
                eprintln!("{name}: {error}");
                outcome = ExitCode::FAILURE;
            }
        }
    }
    outcome
}
