//! Project chores: `cargo xtask <tidy|ui|e2e|ci>`.
//!
//! `ci` is what the README tells a newcomer to run and what the project's CI runs: one command, the same everywhere.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks to its terminal")]

mod ci;
mod e2e;
mod shell;
mod ui;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["tidy"] => xtask::tidy::check(&shell::root()).map_err(|problems| problems.join("\n")),
        ["ui"] => ui::check(),
        ["e2e"] => e2e::run(),
        ["ci"] => ci::run(),
        _ => Err("usage: cargo xtask <tidy|ui|e2e|ci>".to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
