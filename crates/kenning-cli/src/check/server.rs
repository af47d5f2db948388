//! `kenning check healthy` and `kenning check ready`

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::Failure;

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A server.
#[derive(Args)]
pub(super) struct Server {
    /// Where the server is
    #[arg(default_value = "http://127.0.0.1:7070")]
    address: String,
    /// The same as a flag, as promtool has it
    #[arg(long, value_name = "URL", conflicts_with = "address")]
    url: Option<String>,
}

impl Server {
    pub(super) fn run(&self, path: &str) -> Result<ExitCode, Failure> {
        let base = self.url.as_ref().unwrap_or(&self.address).trim_end_matches('/');
        let config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false);
        let agent: ureq::Agent = config.build().into();
        let mut response = agent
            .get(format!("{base}{path}"))
            .call()
            .map_err(|error| format!("cannot reach {base}: {error}. Is a server running there?"))?;
        if response.status() != 200 {
            return Err(format!("check failed: URL={base}, status={}", response.status().as_u16()).into());
        }
        let words = response.body_mut().read_to_string().unwrap_or_default();
        eprintln!("  SUCCESS:  {}", words.trim_end());
        Ok(ExitCode::SUCCESS)
    }
}
