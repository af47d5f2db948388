//! What finds targets: each mechanism is a task that tells the pool what it found whenever that changes.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use kenning_pipeline::telemetry::Counter;
use kenning_promconfig::targets::{ADDRESS, TargetGroup};
use kenning_promconfig::{
    Discovery, DnsDiscovery, DockerDiscovery, FileDiscovery, HttpClient, HttpDiscovery, target_groups,
};
use kenning_stdx::files::Files;
use tokio::sync::mpsc::Sender;
use tokio::task::JoinSet;

use super::client::{Client, Place};
use super::dial::Dialer;
use super::dns::{Record, Resolver};
use super::{ScrapeContext, docker};
use crate::stats::{ByMechanism, Stats};

/// Most bytes of a file or an answer with targets.
const TARGETS_BYTES_MAX: usize = 64 << 20;
/// Time between looks at files: Prometheus is told by the system and re-reads every `refresh_interval`; looking is cheap.
const FILES_LOOKED_AT: Duration = Duration::from_secs(5);

/// What one mechanism of a job found.
pub(super) struct Found {
    /// Its place in the configuration.
    pub place: usize,
    /// Everything it knows of.
    pub groups: Vec<TargetGroup>,
}

/// Counts the failures of a mechanism, and tells each kind of them once.
struct Failures {
    job: Arc<str>,
    mechanism: &'static str,
    counter: Arc<Counter>,
    told: String,
}

impl Failures {
    fn new(job: &str, mechanism: &'static str, stats: &Stats) -> Self {
        let job: Arc<str> = job.into();
        let counter = stats.discovery_failures.with(&ByMechanism { job: job.clone(), mechanism });
        Self { job, mechanism, counter, told: String::new() }
    }

    fn failed(&mut self, error: &str) {
        self.counter.increment();
        if self.told != error {
            tracing::warn!(job = &*self.job, mechanism = self.mechanism, error, "discovery failed");
            self.told = error.to_owned();
        }
    }

    fn worked(&mut self) {
        self.told.clear();
    }

    /// The answer to a question that may take `refresh`; a failure is counted.
    async fn ask<T>(
        &mut self,
        refresh: Duration,
        answer: impl Future<Output = Result<T, String>>,
    ) -> Option<T> {
        let answered = tokio::time::timeout(refresh, answer).await;
        match answered.unwrap_or_else(|_| Err(format!("no answer within {refresh:?}"))) {
            Ok(found) => {
                self.worked();
                Some(found)
            }
            Err(error) => {
                self.failed(&error);
                None
            }
        }
    }
}

/// Starts a mechanism of a job.
pub(super) fn start(
    job: &str,
    place: usize,
    mechanism: &Discovery,
    context: &ScrapeContext,
    sender: Sender<Found>,
    tasks: &mut JoinSet<()>,
) {
    let failures = Failures::new(job, mechanism.key(), &context.stats);
    match mechanism {
        Discovery::Static(groups) => {
            let groups = groups.iter().map(TargetGroup::from).collect();
            tasks.spawn(async move {
                // A pool that is gone wants no targets.
                let _ = sender.send(Found { place, groups }).await;
                // The others go on; the channel stays open with this sender.
                sender.closed().await;
            });
        }
        Discovery::File(file) => {
            tasks.spawn(watch_files(place, file.clone(), context.files.clone(), failures, sender));
        }
        Discovery::Http(http) => {
            tasks.spawn(ask_often(place, Asked::Server(http.clone()), context.clone(), failures, sender));
        }
        Discovery::Dns(dns) => {
            tasks.spawn(ask_dns(place, dns.clone(), context.clone(), failures, sender));
        }
        Discovery::Docker(docker) => {
            tasks.spawn(ask_often(place, Asked::Daemon(docker.clone()), context.clone(), failures, sender));
        }
        // Refused before a pool starts.
        Discovery::Foreign(_) => {}
    }
}

/// Sends `groups` when they differ from the last; false when nobody listens any more.
async fn tell(
    place: usize,
    last: &mut Option<Vec<TargetGroup>>,
    groups: Vec<TargetGroup>,
    sender: &Sender<Found>,
) -> bool {
    if last.as_ref() == Some(&groups) {
        return !sender.is_closed();
    }
    *last = Some(groups.clone());
    sender.send(Found { place, groups }).await.is_ok()
}

async fn watch_files(
    place: usize,
    config: FileDiscovery,
    files: Arc<dyn Files>,
    mut failures: Failures,
    sender: Sender<Found>,
) {
    let mut last = None;
    let mut known = Vec::new();
    loop {
        let (looked_at, wanted, before) = (files.clone(), config.files.clone(), known.clone());
        let read = tokio::task::spawn_blocking(move || read_files(&*looked_at, &wanted, &before)).await;
        if let Ok((read, failed)) = read {
            known = read;
            match failed {
                Some(error) => failures.failed(&error),
                None => failures.worked(),
            }
        }
        let groups = known.iter().flat_map(|(_, groups)| groups.clone()).collect();
        if !tell(place, &mut last, groups, &sender).await {
            return;
        }
        tokio::time::sleep(config.refresh.min(FILES_LOOKED_AT)).await;
    }
}

type ByFile = Vec<(String, Vec<TargetGroup>)>;

/// The groups of every file; a file that does not read keeps what it said before, and the first such is told.
fn read_files(files: &dyn Files, patterns: &[String], before: &ByFile) -> (ByFile, Option<String>) {
    let (mut read, mut failed) = (ByFile::new(), None);
    for path in patterns.iter().flat_map(|pattern| files.glob(pattern)) {
        let text = files.read(&path, TARGETS_BYTES_MAX).map_err(|error| error.to_string());
        let groups = match text.and_then(|text| target_groups(&text)) {
            Ok(groups) => groups.iter().map(|group| from_file(group, &path)).collect(),
            Err(error) => {
                failed.get_or_insert_with(|| format!("{path}: {error}"));
                let known = before.iter().find(|(known, _)| *known == path);
                known.map(|(_, groups)| groups.clone()).unwrap_or_default()
            }
        };
        read.push((path, groups));
    }
    (read, failed)
}

fn from_file(group: &kenning_promconfig::StaticGroup, path: &str) -> TargetGroup {
    let mut group = TargetGroup::from(group);
    group.labels.push(("__meta_filepath".to_owned(), path.to_owned()));
    group
}

/// What answers over HTTP: a server with a list of targets, or Docker's daemon.
enum Asked {
    Server(HttpDiscovery),
    Daemon(DockerDiscovery),
}

impl Asked {
    fn refresh_and_client(&self) -> (Duration, &HttpClient) {
        match self {
            Self::Server(config) => (config.refresh, &config.client),
            Self::Daemon(config) => (config.refresh, &config.client),
        }
    }

    async fn ask(&self, client: &mut Client) -> Result<Vec<TargetGroup>, String> {
        match self {
            Self::Server(config) => ask_server(client, config).await,
            Self::Daemon(config) => ask_daemon(client, config).await.map(|group| vec![group]),
        }
    }
}

async fn ask_often(
    place: usize,
    asked: Asked,
    context: ScrapeContext,
    mut failures: Failures,
    sender: Sender<Found>,
) {
    let (refresh, config) = asked.refresh_and_client();
    let mut client = Client::new(Dialer::new(&context, config), context.budget.clone());
    let mut last = None;
    loop {
        // Without an answer the last one holds.
        if let Some(groups) = failures.ask(refresh, asked.ask(&mut client)).await
            && !tell(place, &mut last, groups, &sender).await
        {
            return;
        }
        tokio::time::sleep(refresh).await;
    }
}

async fn ask_dns(
    place: usize,
    config: DnsDiscovery,
    context: ScrapeContext,
    mut failures: Failures,
    sender: Sender<Found>,
) {
    let mut resolver = Resolver::new(context.net.clone(), context.files.clone());
    let (mut last, mut known) = (None, vec![TargetGroup::default(); config.names.len()]);
    loop {
        for (name, group) in config.names.iter().zip(&mut known) {
            // A name that could not be looked up keeps its targets.
            match resolver.look_up(name, &config.record).await {
                Ok(records) => {
                    group.targets =
                        records.iter().map(|record| from_record(name, record, config.port)).collect();
                }
                Err(error) => failures.failed(&error),
            }
        }
        if !tell(place, &mut last, known.clone(), &sender).await {
            return;
        }
        tokio::time::sleep(config.refresh).await;
    }
}

/// A target's labels. Definition: Prometheus `dns_sd_configs`.
fn from_record(name: &str, record: &Record, port: i64) -> Vec<(String, String)> {
    let own = |host: &str| docker::joined(host.trim_end_matches('.'), &port.to_string());
    let (address, about) = match record {
        Record::Address(ip) => (docker::joined(&ip.to_string(), &port.to_string()), vec![]),
        Record::Mx(host) => (own(host), vec![("mx_record_target", host.clone())]),
        Record::Ns(host) => (own(host), vec![("ns_record_target", host.clone())]),
        Record::Srv(host, port) => (
            docker::joined(host.trim_end_matches('.'), &port.to_string()),
            vec![("srv_record_target", host.clone()), ("srv_record_port", port.to_string())],
        ),
    };
    let mut labels = vec![(ADDRESS.to_owned(), address), ("__meta_dns_name".to_owned(), name.to_owned())];
    labels.extend(about.into_iter().map(|(label, value)| (format!("__meta_dns_{label}"), value)));
    labels
}

async fn ask_daemon(client: &mut Client, config: &DockerDiscovery) -> Result<TargetGroup, String> {
    let containers = ask_json(client, config, &docker::containers_path(config)).await?;
    let networks = ask_json(client, config, "/networks").await?;
    Ok(docker::targets(config, &containers, &networks))
}

async fn ask_json(
    client: &mut Client,
    config: &DockerDiscovery,
    path: &str,
) -> Result<serde_json::Value, String> {
    let place = docker::place(&config.host, path)?;
    let headers = [("accept", "application/json")];
    let body = fetch(client, &place, &config.client, &headers, config.refresh).await?;
    serde_json::from_slice(&body).map_err(|error| error.to_string())
}

/// The body of an answer, decompressed and bounded.
async fn fetch(
    client: &mut Client,
    place: &Place,
    config: &HttpClient,
    headers: &[(&str, &str)],
    time: Duration,
) -> Result<Vec<u8>, String> {
    let answer = client.get(place, config, headers, TARGETS_BYTES_MAX, time).await?;
    kenning_wire::compression::decompress(answer.encoding, &answer.received.bytes, TARGETS_BYTES_MAX)
        .map(Cow::into_owned)
        .map_err(|error| error.to_string())
}

async fn ask_server(client: &mut Client, config: &HttpDiscovery) -> Result<Vec<TargetGroup>, String> {
    let place = Place::of_url(&config.url)?;
    let seconds = config.refresh.as_secs_f64().to_string();
    let headers =
        [("accept", "application/json"), ("x-prometheus-refresh-interval-seconds", seconds.as_str())];
    let body = fetch(client, &place, &config.client, &headers, config.refresh).await?;
    let groups = target_groups(&body)?;
    let with_url = |group| {
        let mut group = TargetGroup::from(group);
        group.labels.push(("__meta_url".to_owned(), config.url.clone()));
        group
    };
    Ok(groups.iter().map(with_url).collect())
}
