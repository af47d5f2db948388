//! `kenning serve`: settings from defaults, file, environment and flags; then the server until it is told to stop.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use kenning_server::{Addresses, Layer, Server, Settings};

use crate::Failure;

/// What `serve` and `demo` have in common.
#[derive(Args, Clone, Default)]
pub(crate) struct ServerArgs {
    /// Directory that holds all data [default: kenning-data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// Address of the main port; port 0 picks a free one [default: 127.0.0.1:7070]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Address of OTLP over gRPC [default: 127.0.0.1:4317]
    #[arg(long, value_name = "ADDR")]
    pub otlp_grpc_listen: Option<String>,
    /// Address of OTLP over HTTP [default: 127.0.0.1:4318]
    #[arg(long, value_name = "ADDR")]
    pub otlp_http_listen: Option<String>,
    /// Settings in YAML
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Also listen on the ports of the programs replaced: Fluentd's 24224, Elasticsearch's 9200
    #[arg(long)]
    pub drop_in: bool,
    /// One setting, such as limits.ingest.past=unlimited; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// Ports of the programs replaced.
const DROP_IN: [(&str, &str); 2] =
    [("fluent.listen", "127.0.0.1:24224"), ("elastic.listen", "127.0.0.1:9200")];

/// Receive, keep and answer.
#[derive(Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    server: ServerArgs,
}

impl ServerArgs {
    /// The settings of all layers: `--drop-in`, file, environment, flags, `--set`; later ones win.
    pub(crate) fn settings(&self) -> Result<Settings, Failure> {
        let mut layers = Vec::new();
        if self.drop_in {
            let mut layer = Layer::named("--drop-in");
            DROP_IN.iter().for_each(|(key, address)| layer.push(key, address));
            layers.push(layer);
        }
        if let Some(path) = &self.config {
            let origin = path.display().to_string();
            let text = std::fs::read_to_string(path)
                .map_err(|error| format!("cannot read --config {origin}: {error}"))?;
            layers.push(Layer::from_yaml(&origin, &text)?);
        }
        layers.push(Layer::from_environment(std::env::vars()));
        layers.push(self.flags());
        layers.push(Layer::from_assignments("--set", self.set.iter().cloned())?);
        Ok(Settings::from_layers(&layers)?)
    }

    fn flags(&self) -> Layer {
        let mut layer = Layer::named("command line");
        let flags = [
            ("data_dir", &self.data_dir),
            ("listen", &self.listen),
            ("otlp.grpc_listen", &self.otlp_grpc_listen),
            ("otlp.http_listen", &self.otlp_http_listen),
        ];
        for (key, value) in flags {
            if let Some(value) = value {
                layer.push(key, value);
            }
        }
        layer
    }
}

impl Serve {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let settings = self.server.settings()?;
        Ok(Server::run(settings, announce)?)
    }
}

/// The one line that scripts wait for.
pub(crate) fn announce(addresses: &Addresses) {
    let json = serde_json::json!({
        "listen": addresses.listen,
        "otlp_grpc_listen": addresses.otlp_grpc,
        "otlp_http_listen": addresses.otlp_http,
        "elastic_listen": addresses.logs.elastic,
        "fluent_listen": addresses.logs.fluent,
        "syslog_tcp_listen": addresses.logs.syslog_tcp,
        "syslog_tls_listen": addresses.logs.syslog_tls,
        "syslog_udp_listen": addresses.logs.syslog_udp,
    });
    println!("ready {json}");
    // Whoever waits for the line reads from a pipe, which is not flushed line by line.
    let _ = std::io::stdout().flush();
}
