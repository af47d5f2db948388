//! Targets out of what the Docker daemon says. Definition: Docker Engine API `/containers/json` and `/networks`,
//! Prometheus `docker_sd_configs`.

use std::collections::{BTreeMap, HashMap};

use kenning_gotext::url::query_escape;
use kenning_promconfig::DockerDiscovery;
use kenning_promconfig::targets::{ADDRESS, TargetGroup};
use serde_json::Value;

use super::client::Place;

/// Networks that one container lends another are followed this often.
const SHARED_MAX: usize = 32;

type Labels = Vec<(String, String)>;

/// Where the daemon answers `path`.
pub(super) fn place(host: &str, path: &str) -> Result<Place, String> {
    if let Some(socket) = host.strip_prefix("unix://") {
        return Ok(Place::of_socket(socket, path));
    }
    let host = host.strip_prefix("tcp://").map_or_else(|| host.to_owned(), |rest| format!("http://{rest}"));
    Place::of_url(&format!("{}{path}", host.trim_end_matches('/')))
}

/// The query for the containers that the filters leave.
pub(super) fn containers_path(config: &DockerDiscovery) -> String {
    if config.filters.is_empty() {
        return "/containers/json".to_owned();
    }
    let mut filters: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, values) in &config.filters {
        filters.entry(name).or_default().extend(values.iter().map(String::as_str));
    }
    let json = serde_json::json!(filters).to_string();
    format!("/containers/json?filters={}", query_escape(&json))
}

/// The targets of the daemon's two answers.
pub(super) fn targets(config: &DockerDiscovery, containers: &Value, networks: &Value) -> TargetGroup {
    let networks: HashMap<&str, Labels> =
        list(networks).map(|network| (text(network, "Id"), network_labels(network))).collect();
    let by_id: HashMap<&str, &Value> = list(containers).map(|one| (text(one, "Id"), one)).collect();
    let mut group = TargetGroup::default();
    for container in list(containers) {
        let Some(name) = container["Names"].get(0).and_then(Value::as_str) else { continue };
        let common = container_labels(container, name);
        let mut joined = networks_of(container, &by_id);
        if config.match_first_network {
            joined.truncate(1);
        }
        for network in joined {
            let of_network = networks.get(text(network, "NetworkID")).cloned().unwrap_or_default();
            for mut labels in addresses(config, container, text(network, "IPAddress")) {
                labels.extend(common.iter().chain(&of_network).cloned());
                group.targets.push(labels);
            }
        }
    }
    group
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

fn meta(name: &str, value: impl ToString) -> (String, String) {
    (format!("__meta_docker_{name}"), value.to_string())
}

fn more<'v>(value: &'v Value, prefix: &'static str) -> impl Iterator<Item = (String, String)> + 'v {
    let pairs = value["Labels"].as_object().into_iter().flatten();
    pairs.map(move |(name, value)| {
        meta(&format!("{prefix}{}", sanitised(name)), value.as_str().unwrap_or_default())
    })
}

/// A label's name with underscores in the place of what may not stand in one.
fn sanitised(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect()
}

fn mode(container: &Value) -> &str {
    text(&container["HostConfig"], "NetworkMode")
}

fn container_labels(container: &Value, name: &str) -> Labels {
    let mut labels = vec![
        meta("container_id", text(container, "Id")),
        meta("container_name", name),
        meta("container_network_mode", mode(container)),
    ];
    labels.extend(more(container, "container_label_"));
    labels
}

fn network_labels(network: &Value) -> Labels {
    let flag = |key: &str| network[key].as_bool().unwrap_or(false);
    let mut labels = vec![
        meta("network_id", text(network, "Id")),
        meta("network_name", text(network, "Name")),
        meta("network_scope", text(network, "Scope")),
        meta("network_internal", flag("Internal")),
        meta("network_ingress", flag("Ingress")),
    ];
    labels.extend(more(network, "network_label_"));
    labels
}

/// The networks of a container, by name, or those of the one whose network it shares.
fn networks_of<'v>(mut container: &'v Value, by_id: &HashMap<&str, &'v Value>) -> Vec<&'v Value> {
    for _ in 0..SHARED_MAX {
        let joined = container.pointer("/NetworkSettings/Networks").and_then(Value::as_object);
        let mut joined: Vec<_> =
            joined.into_iter().flatten().filter(|(_, network)| !network.is_null()).collect();
        if !joined.is_empty() {
            joined.sort_by_key(|(name, _)| *name);
            return joined.into_iter().map(|(_, network)| network).collect();
        }
        match mode(container).strip_prefix("container:").and_then(|id| by_id.get(id)) {
            Some(other) => container = other,
            None => break,
        }
    }
    Vec::new()
}

/// One target for each TCP port; without any, one of the port that the job names.
fn addresses(config: &DockerDiscovery, container: &Value, ip: &str) -> Vec<Labels> {
    let of = |address: String| vec![(ADDRESS.to_owned(), address), meta("network_ip", ip)];
    let tcp = list(&container["Ports"]).filter(|port| text(port, "Type") == "tcp");
    let mut found: Vec<Labels> = tcp
        .map(|port| {
            let private = port["PrivatePort"].as_u64().unwrap_or(0);
            let mut labels = of(joined(ip, &private.to_string()));
            labels.push(meta("port_private", private));
            if let Some(public) = port["PublicPort"].as_u64().filter(|public| *public > 0) {
                labels.push(meta("port_public", public));
                labels.push(meta("port_public_ip", text(port, "IP")));
            }
            labels
        })
        .collect();
    if found.is_empty() {
        // Containers in the host's network have no ports of their own.
        found.push(of(match mode(container) {
            "host" => config.host_networking_host.clone(),
            _ => joined(ip, &config.port.to_string()),
        }));
    }
    found
}

/// `host:port`, with brackets around IPv6.
pub(super) fn joined(host: &str, port: &str) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
