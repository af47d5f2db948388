//! `kenning admin`: what an operator asks of a running server. All but `reload` need `web.enable_admin_api`.

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::Failure;
use crate::http::Server;

/// Snapshots, deletes, a new look at the configuration.
#[derive(Args)]
pub(crate) struct Admin {
    #[command(flatten)]
    server: Server,
    #[command(subcommand)]
    work: Work,
}

#[derive(Subcommand)]
enum Work {
    /// Copy the whole store while it works; prints the snapshot's name, a folder in `snapshots` of the data directory
    Snapshot {
        /// Leave out what is in no part yet
        #[arg(long)]
        skip_head: bool,
    },
    /// Hide samples of metrics at once; their bytes go later, or with clean-tombstones
    DeleteSeries {
        /// Series selector; may come several times
        #[arg(long = "match", value_name = "SELECTOR", required = true)]
        selectors: Vec<String>,
        /// Start: seconds since 1970 or RFC 3339
        #[arg(long)]
        start: Option<String>,
        /// End
        #[arg(long)]
        end: Option<String>,
    },
    /// Take the bytes of deleted samples from the disk now
    CleanTombstones,
    /// Read the scrape configuration again
    Reload,
}

impl Admin {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let remote = self.server.remote();
        match self.work {
            Work::Snapshot { skip_head } => {
                let flag = if skip_head { "true" } else { "false" };
                let answer = remote.post("/api/v1/admin/tsdb/snapshot", &[("skip_head", flag)])?;
                let name = answer.pointer("/data/name").and_then(Value::as_str);
                println!("{}", name.ok_or("the server did not name the snapshot")?);
            }
            Work::DeleteSeries { selectors, start, end } => {
                let mut parameters: Vec<(&str, &str)> =
                    selectors.iter().map(|selector| ("match[]", selector.as_str())).collect();
                parameters.extend(start.as_deref().map(|start| ("start", start)));
                parameters.extend(end.as_deref().map(|end| ("end", end)));
                remote.post("/api/v1/admin/tsdb/delete_series", &parameters)?;
            }
            Work::CleanTombstones => drop(remote.post("/api/v1/admin/tsdb/clean_tombstones", &[])?),
            Work::Reload => drop(remote.post("/-/reload", &[])?),
        }
        Ok(())
    }
}
