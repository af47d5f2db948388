//! Where targets come from. What Kenning does itself is read into types; every other mechanism of Prometheus is read
//! and checked as far as its settings go, so that a file's verdict is the same, and refused by name when it is to run.

mod foreign;

use std::time::Duration;

use kenning_gotext::quote::quote;

use crate::fields::{Fields, Log, text};
use crate::http::{HttpClient, read_client};
use crate::units;
use crate::yaml::{Content, Node};

/// A group of targets that are written out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StaticGroup {
    /// `host:port` each.
    pub targets: Vec<String>,
    /// Labels they have in common.
    pub labels: Vec<(String, String)>,
}

/// `dns_sd_configs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsDiscovery {
    /// Names to look up.
    pub names: Vec<String>,
    /// `SRV`, `A`, `AAAA`, `MX` or `NS`.
    pub record: String,
    /// Port of the targets; SRV records bring theirs.
    pub port: i64,
    /// Time between look-ups.
    pub refresh: Duration,
}

/// `file_sd_configs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileDiscovery {
    /// Paths, with patterns in the last part.
    pub files: Vec<String>,
    /// Longest time until a change is seen.
    pub refresh: Duration,
}

/// `http_sd_configs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpDiscovery {
    /// What answers with a list of groups.
    pub url: String,
    /// Time between calls.
    pub refresh: Duration,
    /// How it is called.
    pub client: HttpClient,
}

/// `docker_sd_configs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerDiscovery {
    /// The daemon: `unix://` or `http://`.
    pub host: String,
    /// Port of containers that publish none.
    pub port: i64,
    /// The daemon's filters: name and values.
    pub filters: Vec<(String, Vec<String>)>,
    /// Address of containers in the host's network.
    pub host_networking_host: String,
    /// Only the first network of a container counts.
    pub match_first_network: bool,
    /// Time between calls.
    pub refresh: Duration,
    /// How the daemon is called.
    pub client: HttpClient,
}

/// One way to targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// `static_configs`, all of a job together.
    Static(Vec<StaticGroup>),
    /// `file_sd_configs`.
    File(FileDiscovery),
    /// `http_sd_configs`.
    Http(HttpDiscovery),
    /// `dns_sd_configs`.
    Dns(DnsDiscovery),
    /// `docker_sd_configs`.
    Docker(DockerDiscovery),
    /// A mechanism that Kenning reads and does not run, by its name in the file.
    Foreign(&'static str),
}

/// The mechanisms that work, for messages.
pub const WORKING: &str =
    "static_configs, file_sd_configs, http_sd_configs, dns_sd_configs, docker_sd_configs";

/// Reads every mechanism out of a scrape or Alertmanager section.
pub(crate) fn read(fields: &Fields<'_>) -> Vec<Discovery> {
    let mut found = Vec::new();
    let groups = each(fields, "static_configs", read_group);
    if !groups.is_empty() {
        found.push(Discovery::Static(groups));
    }
    found.extend(each(fields, "file_sd_configs", read_file).into_iter().map(Discovery::File));
    found.extend(each(fields, "http_sd_configs", read_http).into_iter().map(Discovery::Http));
    found.extend(each(fields, "dns_sd_configs", read_dns).into_iter().map(Discovery::Dns));
    found.extend(each(fields, "docker_sd_configs", read_docker).into_iter().map(Discovery::Docker));
    for mechanism in foreign::MECHANISMS {
        let items = each(fields, mechanism.key, |node, log| foreign::read(node, mechanism, log));
        found.extend(items.iter().map(|()| Discovery::Foreign(mechanism.key)));
    }
    found
}

fn each<'n, T: 'n>(
    fields: &Fields<'n>,
    key: &'static str,
    mut read: impl FnMut(&'n Node, &'n Log) -> Option<T>,
) -> Vec<T> {
    let log = fields.log();
    let items = fields.items(key, "discovery.Configs");
    items
        .filter_map(|node| {
            let empty =
                node.is_null() || matches!(&node.content, Content::Mapping(pairs) if pairs.is_empty());
            // An empty mapping of a mechanism with defaults is told by its own checks.
            if node.is_null() || (empty && key == "static_configs") {
                log.note(Some(node.mark.line), format!("empty or null section in {key}"));
                return None;
            }
            read(node, log)
        })
        .collect()
}

/// Reads one `{targets, labels}`, as in `static_configs` and files.
pub fn read_group_checked(node: &Node) -> Result<StaticGroup, String> {
    let log = Log::default();
    let group = read_group(node, &log);
    match (group, log.into_problems().first()) {
        (_, Some(problem)) => Err(problem.to_string()),
        (Some(group), None) => Ok(group),
        (None, None) => Err("is not a group of targets".to_owned()),
    }
}

fn read_group(node: &Node, log: &Log) -> Option<StaticGroup> {
    let fields = Fields::open(node, "struct { Targets []string; Labels model.LabelSet }", log)?;
    let group = StaticGroup { targets: fields.texts("targets"), labels: read_labels(&fields, "labels") };
    fields.finish();
    Some(group)
}

/// A mapping of label names to values.
pub(crate) fn read_labels(fields: &Fields<'_>, name: &str) -> Vec<(String, String)> {
    let Some(inner) = fields.map(name, "model.LabelSet") else { return Vec::new() };
    let mut labels = Vec::new();
    for (key, line, value) in inner.rest() {
        if key.is_empty() {
            fields.log().note(Some(line), "\"\" is not a valid label name");
        }
        labels.extend(text(value, fields.log()).map(|value| (key.to_owned(), value)));
    }
    labels
}

fn refresh(fields: &Fields<'_>, default_seconds: u64) -> Duration {
    let written = fields.duration("refresh_interval").filter(|interval| !interval.is_zero());
    written.unwrap_or(Duration::from_secs(default_seconds))
}

fn read_file(node: &Node, log: &Log) -> Option<FileDiscovery> {
    let fields = Fields::open(node, "file.plain", log)?;
    let read = FileDiscovery { files: fields.texts("files"), refresh: refresh(&fields, 300) };
    if read.files.is_empty() {
        fields.wrong("file service discovery config must contain at least one path name");
    }
    for path in read.files.iter().filter(|path| !is_discovery_file(path)) {
        fields.wrong(format!("path name {} is not valid for file discovery", quote(path)));
    }
    fields.finish();
    Some(read)
}

/// At most one pattern, in the last part, and a known ending.
fn is_discovery_file(path: &str) -> bool {
    let known = [".json", ".yml", ".yaml", ".JSON", ".YML", ".YAML"];
    let Some(stem) = known.iter().find_map(|ending| path.strip_suffix(ending)) else { return false };
    match stem.split_once('*') {
        Some((_, after)) => !after.contains('/'),
        None => true,
    }
}

fn read_http(node: &Node, log: &Log) -> Option<HttpDiscovery> {
    let fields = Fields::open(node, "http.plain", log)?;
    let url = fields.text_or_empty("url");
    check_http_url(&fields, &url);
    let read = HttpDiscovery { url, refresh: refresh(&fields, 60), client: read_client(&fields) };
    fields.finish();
    Some(read)
}

/// Notes what `http_sd_configs` and `puppetdb_sd_configs` say of their URLs.
fn check_http_url(fields: &Fields<'_>, url: &str) {
    if url.is_empty() {
        return fields.wrong("URL is missing");
    }
    match units::url(url) {
        Err(message) => fields.wrong(message),
        Ok(parsed) if parsed.scheme != "http" && parsed.scheme != "https" => {
            fields.wrong("URL scheme must be 'http' or 'https'");
        }
        Ok(parsed) if parsed.host.is_empty() => fields.wrong("host is missing in URL"),
        Ok(_) => {}
    }
}

fn read_dns(node: &Node, log: &Log) -> Option<DnsDiscovery> {
    let fields = Fields::open(node, "dns.plain", log)?;
    let record = fields.text("type").unwrap_or_else(|| "SRV".to_owned());
    let port = fields.integer("port").unwrap_or(0);
    let names = fields.texts("names");
    if names.is_empty() {
        fields.wrong("DNS-SD config must contain at least one SRV record name");
    }
    match record.to_uppercase().as_str() {
        "SRV" => {}
        "A" | "AAAA" | "MX" | "NS" if port == 0 => {
            fields.wrong("a port is required in DNS-SD configs for all record types except SRV");
        }
        "A" | "AAAA" | "MX" | "NS" => {}
        _ => fields.wrong(format!("invalid DNS-SD records type {record}")),
    }
    let read = DnsDiscovery { names, record: record.to_uppercase(), port, refresh: refresh(&fields, 30) };
    fields.finish();
    Some(read)
}

fn read_docker(node: &Node, log: &Log) -> Option<DockerDiscovery> {
    let fields = Fields::open(node, "moby.plain", log)?;
    let host = fields.text_or_empty("host");
    if host.is_empty() {
        fields.wrong("host missing");
    } else if let Err(message) = units::url(&host) {
        fields.wrong(message);
    }
    let filters = fields.items("filters", "[]moby.Filter").filter_map(|node| {
        let filter = Fields::open(node, "moby.Filter", log)?;
        let read = (filter.text_or_empty("name"), filter.texts("values"));
        filter.finish();
        Some(read)
    });
    let read = DockerDiscovery {
        host,
        port: fields.integer("port").unwrap_or(80),
        filters: filters.collect(),
        host_networking_host: fields.text("host_networking_host").unwrap_or_else(|| "localhost".to_owned()),
        match_first_network: fields.boolean("match_first_network").unwrap_or(true),
        refresh: refresh(&fields, 60),
        client: read_client(&fields),
    };
    fields.finish();
    Some(read)
}

impl Discovery {
    /// The name in the file.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::Static(_) => "static_configs",
            Self::File(_) => "file_sd_configs",
            Self::Http(_) => "http_sd_configs",
            Self::Dns(_) => "dns_sd_configs",
            Self::Docker(_) => "docker_sd_configs",
            Self::Foreign(key) => key,
        }
    }
}
