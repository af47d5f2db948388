//! Promtail's configuration file, read as it is: which files it would tail, with which labels and stages.
//!
//! Read: `scrape_configs` with `static_configs` (`__path__`, `__path_exclude__`), `file_sd_configs`, `docker_sd_configs` (the
//! containers' `json-file` logs are read where Docker writes them, not over its API), `relabel_configs`,
//! `pipeline_stages` and `encoding`; variables of the environment where the settings want them ([`expand`]). Left aside with a note: where Promtail would send and what it would remember. Refused by name, with what
//! works: every other source.

mod expand;
mod targets;

use std::sync::Arc;

use kenning_model::LabelSet;
use kenning_pipeline::relabel::{Action, NameScheme, Pattern, Rule, Written};
use kenning_yaml::{Content, Node};

use crate::config::{Fields, pairs};
use crate::{Context, Front, Pipeline, Report, Wrapping};

pub use expand::{ExpandError, expand};
pub use targets::{FileTargets, NamedByFiles};

use targets::{Job, targets, unique};

/// Where Docker keeps the logs of its containers.
const DOCKER_LOGS: &str = "/var/lib/docker/containers/*/*-json.log";
/// Most sources of one file.
const SOURCES_MAX: usize = 64;

/// Sections that say where Promtail sends, listens or keeps its own state.
const ASIDE: [(&str, &str); 9] = [
    ("client", "records go to this server's own store"),
    ("clients", "records go to this server's own store"),
    ("global", "nothing of it is needed here"),
    ("limits_config", "limits.ingest has the limits of this server"),
    ("options", "nothing of it is needed here"),
    ("positions", "positions are kept in the store, with the records"),
    ("server", "this server listens where `listen` says"),
    ("target_config", "files are looked at several times a second"),
    ("tracing", "this server traces itself"),
];

/// Sources that are not read, and what to use instead.
const REFUSED: [(&str, &str); 15] = [
    ("azure_event_hubs", ""),
    ("cloudflare", ""),
    ("consul_sd_configs", ""),
    ("consulagent_sd_configs", ""),
    ("decompression", "unpack the files first; "),
    ("gcplog", ""),
    ("gelf", ""),
    ("heroku_drain", ""),
    ("journal", "let the journal forward to syslog and set syslog.udp_listen; "),
    ("kafka", ""),
    ("kubernetes_sd_configs", "tail /var/log/pods/*/*/*.log with static_configs; "),
    ("loki_push_api", "this server takes pushes at /loki/api/v1/push; "),
    ("push", "this server takes pushes at /loki/api/v1/push; "),
    ("syslog", "set syslog.tcp_listen or syslog.udp_listen of this server; "),
    ("windows_events", ""),
];
const WORKING: &str = "what works is static_configs with __path__, file_sd_configs and docker_sd_configs";

/// Files to tail.
#[derive(Clone, Debug)]
pub struct PromtailSource {
    /// The job, unique within the file.
    pub name: String,
    /// Patterns of paths.
    pub include: Vec<String>,
    /// Patterns of paths that are left out.
    pub exclude: Vec<String>,
    /// Labels of every stream.
    pub labels: LabelSet,
    /// The labels of containers are made by these rules; `None` where files are named.
    pub containers: Option<Vec<Rule>>,
    /// How text is written, as an IANA name; empty when nothing is said.
    pub encoding: String,
    /// Stages that are done while lines are read.
    pub front: Front,
    /// All others. Targets of one job share them, as what they remember is the job's.
    pub pipeline: Arc<Pipeline>,
}

/// A configuration.
#[derive(Debug, Default)]
pub struct Promtail {
    /// Files to tail that it names itself.
    pub sources: Vec<PromtailSource>,
    /// Those that other files name.
    pub discovered: Vec<FileTargets>,
}

/// Reads a configuration file. Mistakes and what is left aside are told in `report`.
pub fn read(text: &[u8], context: Context<'_>, report: &mut Report) -> Promtail {
    report.lenient = true;
    let document = match kenning_yaml::read(text) {
        Ok(document) => document,
        Err(error) => {
            report.problems.push(format!("is not YAML: {error}"));
            return Promtail::default();
        }
    };
    let mut found = Promtail::default();
    let Some(root) = document.root else {
        report.problems.push("is empty; scrape_configs is needed".to_owned());
        return found;
    };
    for (section, node) in pairs(&root) {
        match ASIDE.iter().find(|(known, _)| *known == section) {
            _ if section == "scrape_configs" => jobs(node, context, report, &mut found),
            Some((_, why)) => report.note(section, node, format!("is left aside: {why}")),
            None => report.wrong(section, node, "is not a section of Promtail's configuration"),
        }
    }
    if root.get("scrape_configs").is_none() {
        report.wrong("scrape_configs", &root, format!("is missing; {WORKING}"));
    }
    if found.sources.len() > SOURCES_MAX {
        report.problems.push(format!("has {} targets; at most {SOURCES_MAX} work", found.sources.len()));
    }
    found
}

fn jobs(node: &Node, context: Context<'_>, report: &mut Report, found: &mut Promtail) {
    let Content::Sequence(jobs) = &node.content else {
        return report.wrong("scrape_configs", node, "must be a list of jobs");
    };
    let mut names: Vec<String> = Vec::new();
    for (index, job) in jobs.iter().enumerate() {
        let at = format!("scrape_configs[{index}]");
        let read = self::job(&at, job, &names, context, report);
        for mut source in read.sources {
            source.name = unique(&source.name, |name| found.sources.iter().any(|other| other.name == name));
            found.sources.push(source);
        }
        names.extend(read.discovered.iter().map(|targets| targets.job().to_owned()));
        found.discovered.extend(read.discovered);
    }
}

/// Reads one job; `names` are those of jobs before it whose targets other files name.
fn job(at: &str, node: &Node, names: &[String], context: Context<'_>, report: &mut Report) -> Promtail {
    for (name, node) in pairs(node) {
        if let Some((_, fix)) = REFUSED.iter().find(|(known, _)| *known == name) {
            report.wrong(&format!("{at}.{name}"), node, format!("does not work: {fix}{WORKING}"));
        }
    }
    let mut fields = Fields::open(at, node, report);
    for (name, _) in REFUSED {
        fields.get(name);
    }
    let name = fields.text("job_name").unwrap_or_default();
    let encoding = fields.text("encoding").unwrap_or_default();
    let (relabel, stages) = (fields.get("relabel_configs"), fields.get("pipeline_stages"));
    let (files, named) = (fields.get("static_configs"), fields.get("file_sd_configs"));
    let docker = fields.get("docker_sd_configs");
    fields.get("entry_parser");
    fields.finish();
    let rules = relabel.map(|node| rules(&format!("{at}.relabel_configs"), node, report)).unwrap_or_default();
    let null = Node {
        mark: node.mark,
        tag: kenning_yaml::Tag::Null,
        plain: false,
        content: Content::Scalar(String::new()),
    };
    let stages_at = format!("{at}.pipeline_stages");
    let (front, pipeline) = Pipeline::read_for_files(&stages_at, stages.unwrap_or(&null), context, report);
    let job = Job { name, encoding, rules: rules.into(), front, pipeline: Arc::new(pipeline) };
    let mut found = Promtail::default();
    if let Some(node) = files {
        let targets = targets(&format!("{at}.static_configs"), node, &[], &job.rules, report);
        found.sources.extend(targets.into_iter().map(|target| job.source("", target)));
    }
    if let Some(node) = named {
        let mut job = job.clone();
        job.name = unique(&job.name, |name| names.iter().any(|known| known == name));
        found.discovered.extend(FileTargets::read(&format!("{at}.file_sd_configs"), node, job, report));
    }
    if let Some(node) = docker {
        containers(&format!("{at}.docker_sd_configs"), node, report);
        found.sources.push(docker_source(job));
    }
    if files.is_none()
        && named.is_none()
        && docker.is_none()
        && !pairs(node).iter().any(|(name, _)| REFUSED.iter().any(|(r, _)| r == name))
    {
        report.wrong(at, node, format!("has no source; {WORKING}"));
    }
    found
}

/// The logs of all containers, as the job wants them.
fn docker_source(job: Job) -> PromtailSource {
    let mut front = job.front;
    // Docker's API hands out lines without their wrapping.
    front.wrapping = Some(Wrapping::Docker);
    PromtailSource {
        name: format!("promtail/{}/docker", job.name),
        include: vec![DOCKER_LOGS.to_owned()],
        exclude: Vec::new(),
        labels: LabelSet::empty(),
        containers: Some(job.rules.to_vec()),
        encoding: job.encoding,
        front,
        pipeline: job.pipeline,
    }
}

/// What of Docker's discovery cannot be kept.
fn containers(at: &str, node: &Node, report: &mut Report) {
    let items: &[Node] = match &node.content {
        Content::Sequence(items) => items,
        _ => &[],
    };
    for (index, item) in items.iter().enumerate() {
        let at = format!("{at}[{index}]");
        report.note(&at, item, format!("the logs of containers are read from {DOCKER_LOGS}"));
        for (name, value) in pairs(item) {
            match name {
                "host" if value.text().starts_with("unix://") => {}
                "host" => report.wrong(
                    &format!("{at}.host"),
                    value,
                    "only containers of this machine work (unix:///var/run/docker.sock)",
                ),
                "filters" => report.wrong(
                    &format!("{at}.filters"),
                    value,
                    "does not work; write relabel_configs with action: keep",
                ),
                _ => {}
            }
        }
    }
}

fn rules(at: &str, node: &Node, report: &mut Report) -> Vec<Rule> {
    let Content::Sequence(items) = &node.content else {
        report.wrong(at, node, "must be a list of rules");
        return Vec::new();
    };
    let items = items.iter().enumerate();
    items.filter_map(|(index, item)| rule(&format!("{at}[{index}]"), item, report)).collect()
}

fn rule(at: &str, node: &Node, report: &mut Report) -> Option<Rule> {
    let mut fields = Fields::open(at, node, report);
    let action = fields.text("action").and_then(|word| {
        let action = Action::from_word(&word);
        if action.is_none() {
            fields.wrong("action", format!("{word:?} is not an action of relabelling"));
        }
        action
    });
    let regex = fields.text("regex").and_then(|text| {
        let pattern = Pattern::new(&text);
        pattern.map_err(|problem| fields.wrong("regex", problem)).ok()
    });
    let written = Written {
        source_labels: fields.texts("source_labels"),
        separator: fields.text("separator"),
        regex,
        modulus: fields.count("modulus").unwrap_or(0),
        target_label: fields.text("target_label").unwrap_or_default(),
        replacement: fields.text("replacement"),
        action,
    };
    let rule = Rule::new(written, NameScheme::Legacy).map_err(|error| fields.wrong("", error)).ok();
    fields.finish();
    rule
}

#[cfg(test)]
mod tests {
    use kenning_pipeline::geoip::GeoDatabases;
    use kenning_stdx::files::MemFiles;

    use super::*;
    use crate::LogMetrics;

    fn read_text(text: &str) -> (Vec<PromtailSource>, Report) {
        let (metrics, files, mut report) = (LogMetrics::default(), MemFiles::default(), Report::default());
        let databases = GeoDatabases::default();
        let context = Context { metrics: &metrics, databases: &databases, files: &files };
        let sources = read(text.as_bytes(), context, &mut report).sources;
        (sources, report)
    }

    /// Sources as `name include exclude labels [docker|cri] [containers]`.
    fn check(text: &str, expect: &[&str]) {
        let (sources, report) = read_text(text);
        assert_eq!(report.problems, Vec::<String>::new());
        let shown = sources.iter().map(|source| {
            let labels: Vec<String> =
                source.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let wrapping = source.front.wrapping.map(|wrapping| format!(" {wrapping:?}")).unwrap_or_default();
            let containers =
                source.containers.as_ref().map_or(String::new(), |rules| format!(" {} rules", rules.len()));
            let (include, exclude) = (source.include.join(","), source.exclude.join(","));
            format!("{} {include} -{exclude} {}{wrapping}{containers}", source.name, labels.join(","))
        });
        assert_eq!(shown.collect::<Vec<_>>(), expect);
    }

    #[test]
    fn files_with_labels() {
        check(
            "server: {http_listen_port: 9080}\npositions: {filename: /tmp/p}\nclients: [{url: http://loki:3100}]\n\
             scrape_configs:\n- job_name: system\n  static_configs:\n  - targets: [localhost]\n    labels:\n      \
             job: varlogs\n      version: 1.10\n      __path__: /var/log/*log\n      __path_exclude__: /var/log/x.log\n",
            &["promtail/system//var/log/*log /var/log/*log -/var/log/x.log job=varlogs,version=1.10"],
        );
    }

    #[test]
    fn rules_and_stages() {
        check(
            "scrape_configs:\n- job_name: a\n  pipeline_stages: [{docker: {}}, {multiline: {firstline: '^x'}}]\n  \
             relabel_configs:\n  - {source_labels: [job], target_label: app, regex: '(.*)-x', replacement: '$1'}\n  \
             static_configs:\n  - labels: {job: j-x, __path__: /a}\n  - labels: {job: j, __path__: /b}\n",
            &["promtail/a//a /a - app=j,job=j-x Docker", "promtail/a//b /b - job=j Docker"],
        );
    }

    #[test]
    fn containers_are_found_in_their_directory() {
        check(
            "scrape_configs:\n- job_name: d\n  docker_sd_configs: [{host: 'unix:///var/run/docker.sock', refresh_interval: 5s}]\n  \
             relabel_configs:\n  - {source_labels: [__meta_docker_container_name], regex: '/(.*)', target_label: container}\n",
            &["promtail/d/docker /var/lib/docker/containers/*/*-json.log -  Docker 1 rules"],
        );
    }

    #[test]
    fn what_does_not_work_is_named() {
        let text = "scrape_configs:\n- job_name: j\n  journal: {max_age: 12h}\n- job_name: k\n  kubernetes_sd_configs: []\n  \
                    pipeline_stages: [{regex: {expression: '('}}, {tenant: {value: x}}]\n  static_configs: [{labels: {__path__: /x}}]\nnope: 1\n";
        let told = read_text(text).1.problems.join("\n");
        for part in [
            "scrape_configs[0].journal (line 3): does not work: let the journal forward",
            "what works is static_configs",
            "scrape_configs[1].kubernetes_sd_configs",
            "scrape_configs[1].pipeline_stages[0].regex.expression (line 6)",
            "stages that work are cri",
            "nope (line 8): is not a section",
        ] {
            assert!(told.contains(part), "{part} is not in\n{told}");
        }
    }
}
