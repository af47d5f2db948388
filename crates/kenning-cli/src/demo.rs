//! `kenning demo`: the server, and beside it a live service under load that tells it everything.
//!
//! The reference service runs in processes of its own, as a real one would, and reaches the server only through the
//! network: logs and spans over OTLP, metrics by being scraped.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use clap::{Args, ValueEnum};
use kenning_example_wotr::{Place, api, consumer, load};
use kenning_server::{Addresses, Layer, Server, Settings};

use crate::Failure;
use crate::serve::{ServerArgs, announce};

/// The server with a live reference service under load.
#[derive(Args)]
pub(crate) struct Demo {
    #[command(flatten)]
    server: ServerArgs,
}

/// One process of the reference service.
#[derive(Args)]
pub(crate) struct Service {
    role: Role,
    #[arg(long)]
    dir: PathBuf,
    #[arg(long)]
    api: SocketAddr,
}

#[derive(Clone, Copy, ValueEnum)]
enum Role {
    Api,
    Consumer,
    Load,
}

impl Role {
    const ALL: [Self; 3] = [Self::Api, Self::Consumer, Self::Load];

    fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Consumer => "consumer",
            Self::Load => "load",
        }
    }
}

impl Service {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let place = Place::open(&self.dir)?;
        Ok(match self.role {
            Role::Api => api::run(&place, self.api, true),
            Role::Consumer => consumer::run(&place),
            Role::Load => load::run(self.api),
        }?)
    }
}

/// Where the demo keeps its data unless told otherwise.
const DATA_DIR: &str = "kenning-demo";

impl Demo {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let mut arguments = self.server;
        let data_dir = arguments.data_dir.get_or_insert_with(|| DATA_DIR.to_owned()).clone();
        let service = ServicePlan::new(&data_dir)?;
        let settings = with_scraping(arguments.settings()?, &service)?;
        let mut children = Vec::new();
        let mut started = Ok(());
        let outcome = Server::run(settings, |addresses| {
            announce(addresses);
            started = service.start(addresses, &mut children);
            greet(addresses);
        });
        // The server has drained; the service goes with us.
        children.iter_mut().for_each(end);
        started?;
        Ok(outcome?)
    }
}

/// Addresses and files of the reference service.
struct ServicePlan {
    dir: PathBuf,
    api: SocketAddr,
    consumer_metrics: SocketAddr,
}

impl ServicePlan {
    /// The service's files lie beside the server's directory, which is the server's alone.
    fn new(data_dir: &str) -> Result<Self, Failure> {
        let dir = PathBuf::from(format!("{}-service", data_dir.trim_end_matches('/')));
        std::fs::create_dir_all(&dir).map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
        Ok(Self { dir, api: free_address(8000)?, consumer_metrics: free_address(8001)? })
    }

    fn start(&self, addresses: &Addresses, children: &mut Vec<Child>) -> Result<(), Failure> {
        for role in Role::ALL {
            children.push(self.spawn(role, addresses)?);
        }
        Ok(())
    }

    fn spawn(&self, role: Role, addresses: &Addresses) -> Result<Child, Failure> {
        let program =
            std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
        let log = self.dir.join(format!("{}.log", role.name()));
        let log = File::create(&log).map_err(|error| format!("cannot write {}: {error}", log.display()))?;
        let errors = log.try_clone().map_err(|error| format!("cannot write the service's log: {error}"))?;
        let endpoint = addresses.otlp_http.as_deref().unwrap_or(&addresses.listen);
        let mut command = Command::new(program);
        command
            .args(["demo-service", role.name(), "--api", &self.api.to_string(), "--dir"])
            .arg(&self.dir)
            .env("SERVICE_NAME", format!("wotr-{}", role.name()))
            .env("ENVIRONMENT", "demo")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{endpoint}"))
            .env("WOTR_PARENT", "1")
            // The child ends when this pipe does: with us, however we end.
            .stdin(Stdio::piped())
            .stdout(log)
            .stderr(errors);
        if matches!(role, Role::Consumer) {
            command.env("METRICS_PORT", self.consumer_metrics.port().to_string());
        }
        command.spawn().map_err(|error| Failure(format!("cannot start the reference service: {error}")))
    }
}

/// The port the document gives the service, or a free one when it is taken.
fn free_address(port: u16) -> Result<SocketAddr, Failure> {
    let bound = TcpListener::bind(("127.0.0.1", port)).or_else(|_| TcpListener::bind(("127.0.0.1", 0)));
    let bound = bound.map_err(|error| format!("no free port for the reference service: {error}"))?;
    Ok(bound.local_addr()?)
}

/// The settings with the service's two targets added.
fn with_scraping(mut settings: Settings, service: &ServicePlan) -> Result<Settings, Failure> {
    let targets = format!(
        "scrape_configs:
  - {{job_name: wotr-api, scrape_interval: 2s, static_configs: [{{targets: [\"{}\"]}}]}}
  - {{job_name: wotr-consumer, scrape_interval: 2s, static_configs: [{{targets: [\"{}\"]}}]}}
",
        service.api, service.consumer_metrics
    );
    let added = Settings::from_layers(&[Layer::from_yaml("the demo's targets", &targets)?])?;
    settings.scrape.extend(added.scrape);
    Ok(settings)
}

fn greet(addresses: &Addresses) {
    let ui = format!("http://{}/ui/", addresses.listen);
    eprintln!(
        "
  Kenning is up, and a small service is working beside it.

    look       {ui}
    metrics    {ui}metrics?from=now-5m&q=sum+by+(status)(rate(http_requests_total%5B30s%5D))
    logs       {ui}logs?from=now-5m&q=%7Bservice_name%3D%22wotr-api%22%7D
    traces     {ui}traces?from=now-5m&service=wotr-api

  About ten seconds from now a migration locks the service's database for six: watch the errors.
  Ctrl-C ends everything.
"
    );
}

fn end(child: &mut Child) {
    drop(child.stdin.take());
    let _ = child.wait();
}
