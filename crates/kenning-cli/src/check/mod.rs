//! `kenning check`: promtool's checks, with its exit codes. 0: all is well; 1: something is wrong; 3: lint found
//! something (for rules and configurations only with `--lint-fatal`).

mod config;
mod lint;
mod metrics;
mod promlint;
mod rules;
mod server;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::Failure;

/// Check files and servers before they are relied on.
#[derive(Args)]
pub(crate) struct Check {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Files of recording and alerting rules; standard input without any
    Rules(rules::Rules),
    /// Prometheus's configuration with the rule files that it names, or a kenning.yaml with the files that it names
    Config(config::Config),
    /// An exposition on standard input: names, units, help
    Metrics(metrics::Metrics),
    /// Is a server alive
    Healthy(server::Server),
    /// Does a server take requests
    Ready(server::Server),
}

impl Check {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        match self.what {
            What::Rules(check) => check.run().map(Verdict::code),
            What::Config(check) => Ok(check.run().code()),
            What::Metrics(check) => check.run(),
            What::Healthy(server) => server.run("/-/healthy"),
            What::Ready(server) => server.run("/-/ready"),
        }
    }
}

/// What several checks came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Verdict {
    /// Something is wrong.
    errors: bool,
    /// Lint found something that counts.
    lint: bool,
}

/// promtool's exit code for lint.
const LINT: u8 = 3;

impl Verdict {
    fn and(self, other: Self) -> Self {
        Self { errors: self.errors || other.errors, lint: self.lint || other.lint }
    }

    fn code(self) -> ExitCode {
        match self {
            Self { errors: true, .. } => ExitCode::FAILURE,
            Self { lint: true, .. } => ExitCode::from(LINT),
            _ => ExitCode::SUCCESS,
        }
    }
}
