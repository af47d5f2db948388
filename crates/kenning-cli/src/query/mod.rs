//! `kenning query`: PromQL, LogQL and traces from the terminal, through the same HTTP APIs as everyone else.

mod logql;
mod promql;
mod table;
mod traces;

use clap::{Args, Subcommand};

use crate::Failure;
use crate::http::Remote;

/// Ask a running server.
#[derive(Args)]
pub(crate) struct Query {
    /// Where the server is
    #[arg(long, global = true, value_name = "URL", default_value = "http://127.0.0.1:7070")]
    url: String,
    /// Whose data; `self` is Kenning's own
    #[arg(long, global = true, value_name = "TENANT")]
    tenant: Option<String>,
    /// Print the API's JSON as it is
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    language: Language,
}

#[derive(Subcommand)]
enum Language {
    /// Metrics
    Promql(promql::Promql),
    /// Logs
    Logql(logql::Logql),
    /// Traces
    Traces(traces::Traces),
}

impl Query {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let remote = Remote::new(&self.url, self.tenant);
        match self.language {
            Language::Promql(query) => query.run(&remote, self.json),
            Language::Logql(query) => query.run(&remote, self.json),
            Language::Traces(query) => query.run(&remote, self.json),
        }
    }
}
