//! The `kenning` command: serve, demo, query, tail, check, promql, tsdb, admin.
//!
//! Exit codes: 0 done, 1 it did not work, 2 it was asked wrongly, 3 lint found something (`check`). Errors tell the fix.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program talks to its terminal"
)]

mod admin;
mod check;
mod demo;
mod http;
mod promql;
mod query;
mod serve;
mod tail;
mod tsdb;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Millions of small texts cost less in it than in the system's, and what a peak took goes back to the system. It asks for
/// no huge pages: measured, they double the memory of ten thousand series and save no time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Metrics, logs and traces in one program.
#[derive(Parser)]
#[command(name = "kenning", version, about, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Receive, keep and answer: the server
    Serve(serve::Serve),
    /// The server with a live reference service under load, to look at
    Demo(demo::Demo),
    /// Ask a running server
    Query(query::Query),
    /// Follow log lines as they are stored
    Tail(tail::Tail),
    /// Check rule files, configurations, expositions, servers
    Check(check::Check),
    /// Format and change PromQL texts
    Promql(promql::Promql),
    /// Look into the stored metrics: cardinality, samples, parts; bring files in
    Tsdb(tsdb::Tsdb),
    /// Snapshots, deletes, a new look at the configuration
    Admin(admin::Admin),
    /// One process of the demo's reference service
    #[command(hide = true)]
    DemoService(demo::Service),
}

/// Why a command did not work, in words for the person at the terminal.
pub(crate) struct Failure(String);

impl<E: std::fmt::Display> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(serve) => serve.run().map(|()| ExitCode::SUCCESS),
        Command::Demo(demo) => demo.run().map(|()| ExitCode::SUCCESS),
        Command::Query(query) => query.run().map(|()| ExitCode::SUCCESS),
        Command::Tail(tail) => tail.run().map(|()| ExitCode::SUCCESS),
        Command::Check(check) => check.run(),
        Command::Promql(promql) => promql.run().map(|()| ExitCode::SUCCESS),
        Command::Tsdb(tsdb) => tsdb.run().map(|()| ExitCode::SUCCESS),
        Command::Admin(admin) => admin.run().map(|()| ExitCode::SUCCESS),
        Command::DemoService(service) => service.run().map(|()| ExitCode::SUCCESS),
    };
    match outcome {
        Ok(code) => code,
        Err(Failure(message)) => {
            eprintln!("kenning: {message}");
            ExitCode::FAILURE
        }
    }
}
