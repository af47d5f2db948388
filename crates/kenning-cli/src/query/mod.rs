//! `kenning query`: PromQL, LogQL and traces from the terminal, through the same HTTP APIs as everyone else.

pub(crate) mod lines;
mod logql;
mod promql;
mod series;
pub(crate) mod table;
mod traces;

use clap::{Args, Subcommand};

use crate::Failure;
use crate::http::Server;

/// Ask a running server.
#[derive(Args)]
pub(crate) struct Query {
    #[command(flatten)]
    server: Server,
    /// Print the API's JSON as it is; short for --output json
    #[arg(long, global = true)]
    json: bool,
    /// How the answer is printed
    #[arg(long, short = 'o', global = true, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(subcommand)]
    language: Language,
}

/// Nanoseconds since 1970.
fn now_nanos() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// Columns for people
    Table,
    /// The API's answer
    Json,
    /// Comma-separated values (PromQL and LogQL; elsewhere as table)
    Csv,
}

#[derive(Subcommand)]
enum Language {
    /// Metrics
    Promql(promql::Promql),
    /// Series that selectors find
    Series(series::Series),
    /// Label names, or a label's values
    Labels(series::Labels),
    /// Logs
    #[command(visible_alias = "logs")]
    Logql(logql::Logql),
    /// Traces
    Traces(traces::Traces),
}

impl Query {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let remote = self.server.remote();
        let output = if self.json { Output::Json } else { self.output };
        let json = output == Output::Json;
        match self.language {
            Language::Promql(query) => query.run(&remote, output),
            Language::Series(query) => query.run(&remote, json),
            Language::Labels(query) => query.run(&remote, json),
            Language::Logql(query) => query.run(&remote, output),
            Language::Traces(query) => query.run(&remote, json),
        }
    }
}
