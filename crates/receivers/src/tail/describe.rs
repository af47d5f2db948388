//! What a file's path and beginning tell: its format and the labels of its streams.

use std::collections::BTreeMap;

use kenning_model::LabelSet;
use kenning_pipeline::relabel::{self, Labels, Rule};
use kenning_stdx::watched::Watched;
use kenning_wire::container;
use serde_json::Value;

use super::join::Key;
use super::source::{FileSource, Format};

/// Label with the path, as Promtail names it.
const FILENAME: &str = "filename";
/// Largest description of a container that is read.
const CONFIG_BYTES_MAX: usize = 1 << 20;
/// Labels of a container that rules see.
const LABELS_MAX: usize = 256;
/// Characters of a container's id, where its name cannot be had.
const SHORT_ID: usize = 12;

/// The format of a file, by what the settings say, by its path, by its first bytes.
pub(super) fn format(set: Format, path: &str, head: &[u8]) -> Format {
    match set {
        Format::Auto => by_path(path).unwrap_or_else(|| by_head(head)),
        set => set,
    }
}

fn by_path(path: &str) -> Option<Format> {
    let (dir, name) = path.rsplit_once('/')?;
    if dir.contains("/containers/") && name.contains("-json.log") {
        return Some(Format::Docker);
    }
    let is_pod = dir.contains("/log/pods/") || dir.ends_with("/log/containers");
    is_pod.then_some(Format::Cri)
}

fn by_head(head: &[u8]) -> Format {
    let text = String::from_utf8_lossy(head);
    let line = text.lines().next().unwrap_or_default();
    // The head may not hold the whole line, so an object is known by how Docker begins it.
    let is_docker = container::docker(line).is_ok() || !text.contains('\n');
    if line.starts_with("{\"log\":\"") && is_docker {
        return Format::Docker;
    }
    if container::cri(line).is_ok() { Format::Cri } else { Format::Plain }
}

/// The labels of a file's streams, by the place of their key; none for a stream that rules drop.
pub(super) type StreamLabels = [Option<LabelSet>; 3];

/// Tells the labels of a file's streams.
pub(super) fn labels(source: &FileSource, format: Format, path: &str, files: &dyn Watched) -> StreamLabels {
    if let Some(rules) = &source.containers {
        return of_container(rules, source, path, files);
    }
    let mut pairs = match format {
        Format::Docker | Format::Cri if !source.described => BTreeMap::new(),
        Format::Docker => of_docker(path, files),
        Format::Cri => of_cri(path),
        Format::Plain | Format::Auto => BTreeMap::new(),
    };
    pairs.insert(FILENAME.to_owned(), path.to_owned());
    pairs.extend(source.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())));
    Key::ALL.map(|key| {
        let mut pairs = pairs.clone();
        if let Key::Of(stream) = key {
            pairs.entry("stream".to_owned()).or_insert_with(|| stream.as_str().to_owned());
        }
        Some(LabelSet::from_pairs(pairs))
    })
}

/// What rules make of what Docker says of a container. Definition: Promtail's `docker_sd_configs`, as far as files tell.
fn of_container(rules: &[Rule], source: &FileSource, path: &str, files: &dyn Watched) -> StreamLabels {
    const META: &str = "__meta_docker_container_";
    let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
    let config = config_of(&format!("{dir}/config.v2.json"), files).unwrap_or_default();
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut found = Labels::of(&source.labels);
    found.set("__path__", path);
    found.set(&format!("{META}id"), name.split('-').next().unwrap_or_default());
    found.set(&format!("{META}name"), &text(config.get("Name")));
    let host = config.get("HostConfig");
    found.set(&format!("{META}network_mode"), &text(host.and_then(|host| host.get("NetworkMode"))));
    let own = config.get("Config").and_then(|config| config.get("Labels")).and_then(Value::as_object);
    for (name, value) in own.into_iter().flatten().take(LABELS_MAX) {
        let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        found.set(&format!("{META}label_{name}"), &text(Some(value)));
    }
    Key::ALL.map(|key| {
        let mut labels = found.clone();
        if let Key::Of(stream) = key {
            labels.set(&format!("{META}log_stream"), stream.as_str());
        }
        relabel::apply(rules, &mut labels).then(|| {
            labels.retain(|name| !name.starts_with("__"));
            labels.build()
        })
    })
}

/// Docker keeps a description beside the log, which it names after the container's id and puts into a directory of that
/// name. A file elsewhere is of no container that its name would tell.
fn of_docker(path: &str, files: &dyn Watched) -> BTreeMap<String, String> {
    let Some((dir, name)) = path.rsplit_once('/') else { return BTreeMap::new() };
    let id = name.split('-').next().unwrap_or_default();
    let mut pairs = described(&format!("{dir}/config.v2.json"), files).unwrap_or_default();
    if dir.rsplit('/').next() == Some(id) {
        pairs.entry("container".to_owned()).or_insert_with(|| id.chars().take(SHORT_ID).collect());
    }
    pairs
}

fn config_of(path: &str, files: &dyn Watched) -> Option<Value> {
    let file = files.open(path).ok()?;
    let mut bytes = vec![0; CONFIG_BYTES_MAX];
    let got = file.read_at(&mut bytes, 0).ok()?;
    serde_json::from_slice(bytes.get(..got)?).ok()
}

fn described(path: &str, files: &dyn Watched) -> Option<BTreeMap<String, String>> {
    let config = config_of(path, files)?;
    let label = |name: &str| config.get("Config")?.get("Labels")?.get(name)?.as_str();
    let container = config.get("Name").and_then(Value::as_str).map(|name| name.trim_start_matches('/'));
    let service = label("com.docker.compose.service").or_else(|| label("com.docker.swarm.service.name"));
    let found = [
        ("container", container),
        ("service", service),
        ("compose_project", label("com.docker.compose.project")),
    ];
    let found = found.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
    Some(found.filter(|(_, value)| !value.is_empty()).collect())
}

/// `/var/log/pods/<namespace>_<pod>_<uid>/<container>/<n>.log` or
/// `/var/log/containers/<pod>_<namespace>_<container>-<id>.log`.
fn of_cri(path: &str) -> BTreeMap<String, String> {
    let mut parts = path.rsplit('/');
    let (file, parent, above) = (parts.next(), parts.next(), parts.next());
    let pairs = |namespace: &str, pod: &str, container: &str| {
        [("namespace", namespace), ("pod", pod), ("container", container)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    };
    if let (true, Some(container), Some(above)) = (path.contains("/log/pods/"), parent, above) {
        let mut words = above.split('_');
        if let (Some(namespace), Some(pod), Some(_uid)) = (words.next(), words.next(), words.next()) {
            return pairs(namespace, pod, container);
        }
    }
    if let (Some("containers"), Some(file)) = (parent, file) {
        let mut words = file.splitn(3, '_');
        if let (Some(pod), Some(namespace), Some(rest)) = (words.next(), words.next(), words.next()) {
            let container = rest.rsplit_once('-').map_or(rest, |(container, _)| container);
            return pairs(namespace, pod, container);
        }
    }
    BTreeMap::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kenning_pipeline::relabel::{Action, NameScheme, Pattern, Written};
    use kenning_stdx::watched::sim::SimWatched;

    #[test]
    fn formats() {
        let docker = br#"{"log":"a\n","stream":"stdout","time":"2026-01-01T00:00:00Z"}"#;
        for (path, head, expect) in [
            ("/var/lib/docker/containers/ab/ab-json.log", &b""[..], Format::Docker),
            ("/var/lib/docker/containers/ab/ab-json.log.1", b"", Format::Docker),
            ("/var/log/pods/ns_pod_uid/app/0.log", b"", Format::Cri),
            ("/var/log/containers/pod_ns_app-0123.log", b"", Format::Cri),
            ("/a.log", docker, Format::Docker),
            ("/a.log", br#"{"log":"a long line that is not whole in the he"#, Format::Docker),
            ("/a.log", b"{\"log\":\"mine\"}\n", Format::Plain),
            ("/a.log", b"2026-01-01T00:00:00Z stdout F a\n", Format::Cri),
            ("/a.log", b"2026-01-01T00:00:00Z INFO a\n", Format::Plain),
            ("/a.log", b"", Format::Plain),
        ] {
            assert_eq!(format(Format::Auto, path, head), expect, "{path}");
            assert_eq!(format(Format::Plain, path, head), Format::Plain);
        }
    }

    fn check(format: Format, path: &str, files: &SimWatched, expect: &str) {
        let mut source = FileSource::new("s", vec![]);
        source.labels = LabelSet::from_pairs([("job", "j")]);
        let [_, stdout, _] = labels(&source, format, path, files);
        let stdout = stdout.unwrap_or_default();
        let shown: Vec<_> = stdout.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(shown.join(" "), format!("{expect} stream=stdout").trim());
    }

    #[test]
    fn paths_tell_labels() {
        let files = SimWatched::default();
        let path = "/d/containers/0123456789abcdef/0123456789abcdef-json.log";
        check(Format::Docker, path, &files, &format!("container=0123456789ab filename={path} job=j"));
        let config = r#"{"Name":"/web-1","Config":{"Labels":{"com.docker.compose.service":"web"}}}"#;
        files.append("/d/containers/0123456789abcdef/config.v2.json", config);
        check(Format::Docker, path, &files, &format!("container=web-1 filename={path} job=j service=web"));
        let path = "/var/log/pods/ns_pod-1_uid/app/0.log";
        check(
            Format::Cri,
            path,
            &files,
            &format!("container=app filename={path} job=j namespace=ns pod=pod-1"),
        );
        let path = "/var/log/containers/pod-1_ns_app-x-0123.log";
        check(
            Format::Cri,
            path,
            &files,
            &format!("container=app-x filename={path} job=j namespace=ns pod=pod-1"),
        );
        check(Format::Cri, "/x.log", &files, "filename=/x.log job=j");
        check(Format::Docker, "/var/log/app/api-1.log", &files, "filename=/var/log/app/api-1.log job=j");
    }

    #[test]
    fn sources_that_are_not_described_have_the_path_only() {
        let files = SimWatched::default();
        files.append("/d/containers/0123/config.v2.json", r#"{"Name":"/web-1"}"#);
        let mut source = FileSource::new("s", vec![]);
        source.described = false;
        for (format, path) in [
            (Format::Docker, "/d/containers/0123/0123-json.log"),
            (Format::Cri, "/var/log/pods/ns_pod-1_uid/app/0.log"),
            (Format::Plain, "/x.log"),
        ] {
            let [_, stdout, _] = labels(&source, format, path, &files);
            assert_eq!(stdout, Some(LabelSet::from_pairs([("filename", path), ("stream", "stdout")])));
        }
    }

    #[test]
    fn rules_make_the_labels_of_containers() {
        let files = SimWatched::default();
        let config = r#"{"Name":"/web-1","Config":{"Labels":{"com.docker.compose.service":"web"}}}"#;
        files.append("/d/containers/0123/config.v2.json", config);
        let rule = |from: &str, to: &str, regex: &str, action: Action| {
            let regex = Pattern::new(regex).ok();
            let written = Written {
                source_labels: Some(vec![from.to_owned()]),
                target_label: to.to_owned(),
                regex,
                action: Some(action),
                ..Written::default()
            };
            Rule::new(written, NameScheme::Legacy).unwrap()
        };
        let mut source = FileSource::new("s", vec![]);
        source.containers = Some(vec![
            rule("__meta_docker_container_name", "container", "/(.*)", Action::Replace),
            rule(
                "__meta_docker_container_label_com_docker_compose_service",
                "service",
                "(.*)",
                Action::Replace,
            ),
            rule("__meta_docker_container_log_stream", "", "stderr", Action::Drop),
        ]);
        let [_, stdout, stderr] = labels(&source, Format::Docker, "/d/containers/0123/0123-json.log", &files);
        assert_eq!(stdout, Some(LabelSet::from_pairs([("container", "web-1"), ("service", "web")])));
        assert_eq!(stderr, None);
    }
}
