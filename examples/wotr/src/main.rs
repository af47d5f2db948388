//! `wotr api|consumer|load`: one process of the reference service, set up by environment variables.

#![expect(clippy::print_stderr, reason = "a command-line program talks to its terminal")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use kenning_example_wotr::{Error, Place, api, consumer, load};

const USAGE: &str = "usage: wotr api|consumer|load
  WOTR_DIR        directory of files and databases [wotr-data]
  WOTR_LISTEN     address of the API [127.0.0.1:8000]
  WOTR_MIGRATION  1: a migration locks the database now and then
  and the variables of the SDK: SERVICE_NAME, METRICS_PORT, OTEL_EXPORTER_OTLP_ENDPOINT, LOG_LEVEL, LOG_FORMAT ...";

fn run(role: &str) -> Result<(), Error> {
    let variable = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let place = Place::open(&PathBuf::from(variable("WOTR_DIR", "wotr-data")))?;
    let listen = variable("WOTR_LISTEN", "127.0.0.1:8000");
    match role {
        "api" => api::run(&place, address(&listen)?, variable("WOTR_MIGRATION", "0") == "1"),
        "consumer" => consumer::run(&place),
        _ => load::run(address(&listen)?),
    }
}

fn address(text: &str) -> Result<SocketAddr, Error> {
    text.parse().map_err(|error| std::io::Error::other(format!("WOTR_LISTEN={text}: {error}")).into())
}

fn main() -> ExitCode {
    let role = std::env::args().nth(1).unwrap_or_default();
    if !["api", "consumer", "load"].contains(&role.as_str()) {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    }
    match run(&role) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wotr {role}: {error}");
            ExitCode::FAILURE
        }
    }
}
