//! The whole file.

use std::time::Duration;

use kenning_pipeline::relabel::NameScheme;

use crate::fields::{Fields, Log, Problem};
use crate::remote;
use crate::scrape::{self, ScrapeConfig, ScrapeProtocol};
use crate::yaml;
use kenning_gotext::quote::quote;

/// `global`, complete. Limits of 0 are no limits.
#[derive(Clone, Debug, PartialEq)]
pub struct Global {
    /// Time between scrapes.
    pub scrape_interval: Duration,
    /// Time one may take.
    pub scrape_timeout: Duration,
    /// Formats to ask for, when said.
    pub scrape_protocols: Option<Vec<ScrapeProtocol>>,
    /// Time between evaluations of rules.
    pub evaluation_interval: Duration,
    /// How far in the past rules look.
    pub rule_query_offset: Duration,
    /// Labels for what leaves this server, environment variables not yet put in.
    pub external_labels: Vec<(String, String)>,
    /// Where queries are logged; empty for nowhere.
    pub query_log_file: String,
    /// Where failures of scrapes are logged; empty for nowhere.
    pub scrape_failure_log_file: String,
    /// Bytes of a document.
    pub body_size_limit: u64,
    /// Samples of a scrape.
    pub sample_limit: u64,
    /// Targets of a job.
    pub target_limit: u64,
    /// Labels of a series.
    pub label_limit: u64,
    /// Bytes of a label's name.
    pub label_name_length_limit: u64,
    /// Bytes of a label's value.
    pub label_value_length_limit: u64,
    /// Dropped targets that are remembered, per job.
    pub keep_dropped_targets: u64,
    /// Which names are valid.
    pub names: NameScheme,
    /// How others are asked to be written, as written.
    pub escaping: String,
    /// Takes native histograms.
    pub scrape_native_histograms: bool,
    /// Turns classic histograms into native ones.
    pub convert_classic_histograms_to_nhcb: bool,
    /// Takes classic buckets beside native histograms.
    pub always_scrape_classic_histograms: bool,
    /// Stores three more series about each scrape.
    pub extra_scrape_metrics: bool,
}

impl Default for Global {
    fn default() -> Self {
        Self {
            scrape_interval: Duration::from_secs(60),
            scrape_timeout: Duration::from_secs(10),
            scrape_protocols: None,
            evaluation_interval: Duration::from_secs(60),
            rule_query_offset: Duration::ZERO,
            external_labels: Vec::new(),
            query_log_file: String::new(),
            scrape_failure_log_file: String::new(),
            body_size_limit: 0,
            sample_limit: 0,
            target_limit: 0,
            label_limit: 0,
            label_name_length_limit: 0,
            label_value_length_limit: 0,
            keep_dropped_targets: 0,
            names: NameScheme::Utf8,
            escaping: String::new(),
            scrape_native_histograms: false,
            convert_classic_histograms_to_nhcb: false,
            always_scrape_classic_histograms: false,
            extra_scrape_metrics: false,
        }
    }
}

/// What `storage` says that a store may take over. `None` where nothing is said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Storage {
    /// How late samples may come.
    pub out_of_order_time_window: Option<Duration>,
    /// How long samples are kept.
    pub retention_time: Option<Duration>,
    /// Bytes that are kept.
    pub retention_size: Option<u64>,
    /// Exemplars that are kept.
    pub max_exemplars: Option<i64>,
}

/// A `prometheus.yml`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// `global`.
    pub global: Global,
    /// Paths of rule files, with patterns.
    pub rule_files: Vec<String>,
    /// Paths of files with more `scrape_configs`, with patterns.
    pub scrape_config_files: Vec<String>,
    /// `scrape_configs`.
    pub scrape_configs: Vec<ScrapeConfig>,
    /// `storage`.
    pub storage: Storage,
    /// Sections that are there, read and checked, and not acted on by what reads this crate's values.
    pub unused: Vec<String>,
    /// Files that certificates, passwords and tokens are in, Alertmanagers' included.
    pub credential_files: Vec<String>,
    /// Files of targets, patterns included, Alertmanagers' included.
    pub target_files: Vec<String>,
}

/// Reads a file's text, or tells every mistake in it.
pub fn load(text: &[u8]) -> Result<Config, Vec<Problem>> {
    let root = yaml::parse(text).map_err(|error| vec![Problem { line: None, message: error.to_string() }])?;
    let Some(root) = root else { return Ok(Config::default()) };
    let log = Log::default();
    let config = read(&root, &log);
    match config {
        Some(config) if log.problems() == 0 => Ok(config),
        _ => Err(log.into_problems()),
    }
}

/// Reads the sections that `keys` names out of a file that has others of its own beside them.
pub fn load_sections(text: &[u8], keys: &[&str]) -> Result<Config, Vec<Problem>> {
    let root = yaml::parse(text).map_err(|error| vec![Problem { line: None, message: error.to_string() }])?;
    let Some(mut root) = root else { return Ok(Config::default()) };
    let yaml::Content::Mapping(pairs) = &mut root.content else { return Ok(Config::default()) };
    pairs.retain(|(key, _)| keys.contains(&key.text()));
    let log = Log::default();
    let config = read(&root, &log);
    match config {
        Some(config) if log.problems() == 0 => Ok(config),
        _ => Err(log.into_problems()),
    }
}

/// Reads a file of `scrape_config_files`.
pub(crate) fn load_scrape_configs(text: &[u8], global: &Global) -> Result<Vec<ScrapeConfig>, Vec<Problem>> {
    let root = yaml::parse(text).map_err(|error| vec![Problem { line: None, message: error.to_string() }])?;
    let Some(root) = root else { return Ok(Vec::new()) };
    let log = Log::default();
    let configs = Fields::open(&root, "config.ScrapeConfigs", &log).map(|fields| {
        let configs = scrape::read_all(&fields, global);
        fields.finish();
        configs
    });
    match configs {
        Some(configs) if log.problems() == 0 => Ok(configs),
        _ => Err(log.into_problems()),
    }
}

fn read(root: &yaml::Node, log: &Log) -> Option<Config> {
    let fields = Fields::open(root, "config.plain", log)?;
    let global = fields.map("global", "config.plain").map(read_global).unwrap_or_default();
    let rule_files = read_paths(&fields, "rule_files", "rule");
    let scrape_config_files = read_paths(&fields, "scrape_config_files", "scrape config");
    let scrape_configs = scrape::read_all(&fields, &global);
    let alerting = remote::read_alerting(&fields, global.names);
    let storage = remote::read_storage(&fields);
    remote::read_tracing(&fields);
    remote::read_remote_write(&fields, global.names);
    remote::read_remote_read(&fields);
    remote::read_otlp(&fields, global.names);
    if let Some(runtime) = fields.map("runtime", "config.RuntimeConfig") {
        let _ = runtime.integer("gogc");
        runtime.finish();
        log.unused.borrow_mut().push("runtime".to_owned());
    }
    fields.finish();
    let mut config = Config {
        global,
        rule_files,
        scrape_config_files,
        scrape_configs,
        storage,
        unused: log.unused.borrow().clone(),
        credential_files: alerting.credential_files,
        target_files: alerting.target_files,
    };
    let (credentials, targets) = files_of(&config.scrape_configs);
    config.credential_files.extend(credentials);
    config.target_files.extend(targets);
    Some(config)
}

/// The files that scrape sections name: those of credentials, and those of targets.
pub(crate) fn files_of(configs: &[ScrapeConfig]) -> (Vec<String>, Vec<String>) {
    let (mut credentials, mut targets) = (Vec::new(), Vec::new());
    for config in configs {
        credentials.extend(config.client.files().into_iter().map(str::to_owned));
        remote::discovery_files(&config.discovery, &mut credentials, &mut targets);
    }
    (credentials, targets)
}

fn read_paths(fields: &Fields<'_>, name: &str, what: &str) -> Vec<String> {
    let paths = fields.texts(name);
    for path in &paths {
        // A pattern may only stand in the last part.
        if path.split_once('*').is_some_and(|(_, after)| after.contains('/')) {
            fields.wrong(format!("invalid {what} file path {}", quote(path)));
        }
    }
    paths
}

fn read_global(fields: Fields<'_>) -> Global {
    let names = scrape::read_names(&fields).unwrap_or_default();
    let default = Global::default();
    let span = |name: &str| fields.duration(name).filter(|span| !span.is_zero());
    let scrape_interval = span("scrape_interval").unwrap_or(default.scrape_interval);
    let timeout = span("scrape_timeout");
    if timeout.is_some_and(|timeout| timeout > scrape_interval) {
        fields.wrong("global scrape timeout greater than scrape interval");
    }
    let limit = |name: &str| fields.unsigned(name, "uint").unwrap_or(0);
    let flag = |name: &str| fields.boolean(name).unwrap_or(false);
    let global = Global {
        scrape_interval,
        scrape_timeout: timeout.unwrap_or_else(|| default.scrape_timeout.min(scrape_interval)),
        scrape_protocols: scrape::read_protocols(&fields, "global config"),
        evaluation_interval: span("evaluation_interval").unwrap_or(default.evaluation_interval),
        rule_query_offset: span("rule_query_offset").unwrap_or_default(),
        external_labels: scrape::read_external_labels(&fields, names),
        query_log_file: fields.text_or_empty("query_log_file"),
        scrape_failure_log_file: fields.text_or_empty("scrape_failure_log_file"),
        body_size_limit: scrape::read_size(&fields, 0),
        sample_limit: limit("sample_limit"),
        target_limit: limit("target_limit"),
        label_limit: limit("label_limit"),
        label_name_length_limit: limit("label_name_length_limit"),
        label_value_length_limit: limit("label_value_length_limit"),
        keep_dropped_targets: limit("keep_dropped_targets"),
        names,
        escaping: fields.text_or_empty("metric_name_escaping_scheme"),
        scrape_native_histograms: flag("scrape_native_histograms"),
        convert_classic_histograms_to_nhcb: flag("convert_classic_histograms_to_nhcb"),
        always_scrape_classic_histograms: flag("always_scrape_classic_histograms"),
        extra_scrape_metrics: flag("extra_scrape_metrics"),
    };
    let unused = [
        ("global.query_log_file", &global.query_log_file),
        ("global.scrape_failure_log_file", &global.scrape_failure_log_file),
    ];
    for (name, _) in unused.into_iter().filter(|(_, value)| !value.is_empty()) {
        fields.log().unused.borrow_mut().push(name.to_owned());
    }
    fields.finish();
    global
}

/// External labels with environment variables put in: `$NAME`, `${NAME}`, and `$$` for a dollar sign. Definition: Go
/// `os.Expand`.
pub(crate) fn expand_variables(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let (name, after) = match after.strip_prefix('{') {
            Some(inner) => inner.split_once('}').unwrap_or(("", inner)),
            None if after.starts_with('$') => after.split_at(1),
            None => {
                let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
                after.split_at(after.find(|c| !is_word(c)).unwrap_or(after.len()))
            }
        };
        match name {
            "$" | "" => out.push('$'),
            name => out.push_str(&variable(name).unwrap_or_default()),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

impl Config {
    /// The external labels as they are sent, with `variable` looking up the environment.
    #[must_use]
    pub fn external_labels(&self, variable: &dyn Fn(&str) -> Option<String>) -> Vec<(String, String)> {
        let labels = self.global.external_labels.iter();
        labels.map(|(name, value)| (name.clone(), expand_variables(value, variable))).collect()
    }
}
