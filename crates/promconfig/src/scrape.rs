//! `scrape_configs`.

use std::fmt;
use std::time::Duration;

use kenning_pipeline::relabel::{Action, NameScheme, Pattern, Rule, Written};

use crate::check::joined;
use crate::config::Global;
use crate::discovery::{self, Discovery, StaticGroup};
use crate::fields::{Fields, Log, text, text_bytes};
use crate::http::{HttpClient, read_client};
use crate::yaml::{self, Content, Node};
use kenning_gotext::quote::{quote, quote_bytes};

/// A format that a target may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScrapeProtocol {
    /// Delimited protobuf messages.
    PrometheusProto,
    /// Text 0.0.4.
    PrometheusText004,
    /// Text 1.0.0: names in UTF-8.
    PrometheusText100,
    /// OpenMetrics 0.0.1.
    OpenMetricsText001,
    /// OpenMetrics 1.0.0.
    OpenMetricsText100,
}

impl ScrapeProtocol {
    const NAMES: [(&'static str, Self); 5] = [
        ("OpenMetricsText0.0.1", Self::OpenMetricsText001),
        ("OpenMetricsText1.0.0", Self::OpenMetricsText100),
        ("PrometheusProto", Self::PrometheusProto),
        ("PrometheusText0.0.4", Self::PrometheusText004),
        ("PrometheusText1.0.0", Self::PrometheusText100),
    ];

    /// What is asked for by default, best first.
    pub const DEFAULT: [Self; 4] = [
        Self::OpenMetricsText100,
        Self::OpenMetricsText001,
        Self::PrometheusText100,
        Self::PrometheusText004,
    ];

    /// The same when native histograms are wanted.
    pub const PROTO_FIRST: [Self; 5] = [
        Self::PrometheusProto,
        Self::OpenMetricsText100,
        Self::OpenMetricsText001,
        Self::PrometheusText100,
        Self::PrometheusText004,
    ];

    /// The protocol's name in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(_, protocol)| *protocol == self).map_or("", |(name, _)| name)
    }

    fn parse(name: &str) -> Result<Self, String> {
        let found = Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, protocol)| *protocol);
        found.ok_or_else(|| {
            let known: Vec<_> = Self::NAMES.iter().map(|(name, _)| *name).collect();
            format!("unknown scrape protocol {name}, supported: [{}]", known.join(" "))
        })
    }
}

/// How a target is asked to write names that are not legacy ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EscapingScheme {
    /// As they are.
    #[default]
    AllowUtf8,
    /// With underscores in the place of other characters.
    Underscores,
    /// With dots as `_dot_`.
    Dots,
    /// With characters as `_x_`.
    Values,
}

impl EscapingScheme {
    const NAMES: [(&'static str, Self); 4] = [
        ("allow-utf-8", Self::AllowUtf8),
        ("underscores", Self::Underscores),
        ("dots", Self::Dots),
        ("values", Self::Values),
    ];

    fn parse(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, scheme)| *scheme)
    }
}

impl fmt::Display for EscapingScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::NAMES.iter().find(|(_, scheme)| scheme == self).map_or("", |(name, _)| name))
    }
}

/// A section of `scrape_configs`, complete: what it leaves open is filled from `global` and the defaults. Limits of 0 are
/// no limits.
#[derive(Clone, Debug, PartialEq)]
pub struct ScrapeConfig {
    /// Label `job`, and the pool's name.
    pub job_name: String,
    /// Scraped labels win over the target's.
    pub honor_labels: bool,
    /// Stamps in documents are kept.
    pub honor_timestamps: bool,
    /// Series with stamps of their own go stale too.
    pub track_timestamps_staleness: bool,
    /// Query parameters.
    pub params: Vec<(String, Vec<String>)>,
    /// Time between scrapes.
    pub scrape_interval: Duration,
    /// Time one may take.
    pub scrape_timeout: Duration,
    /// Formats to ask for, best first.
    pub scrape_protocols: Vec<ScrapeProtocol>,
    /// Format of answers that name none.
    pub fallback_scrape_protocol: Option<ScrapeProtocol>,
    /// Takes native histograms.
    pub scrape_native_histograms: bool,
    /// Takes classic buckets even beside a native histogram.
    pub always_scrape_classic_histograms: bool,
    /// Turns classic histograms into native ones with custom buckets.
    pub convert_classic_histograms_to_nhcb: bool,
    /// Stores three more series about each scrape.
    pub extra_scrape_metrics: bool,
    /// Where failures are written; empty for nowhere.
    pub scrape_failure_log_file: String,
    /// Path of the document.
    pub metrics_path: String,
    /// `http` or `https`.
    pub scheme: String,
    /// Asks for gzip.
    pub enable_compression: bool,
    /// Bytes of a document, unpacked.
    pub body_size_limit: u64,
    /// Samples of a scrape after relabelling.
    pub sample_limit: u64,
    /// Targets of the job after relabelling.
    pub target_limit: u64,
    /// Labels of a series.
    pub label_limit: u64,
    /// Bytes of a label's name.
    pub label_name_length_limit: u64,
    /// Bytes of a label's value.
    pub label_value_length_limit: u64,
    /// Buckets of a native histogram.
    pub native_histogram_bucket_limit: u64,
    /// Smallest growth from bucket to bucket.
    pub native_histogram_min_bucket_factor: f64,
    /// Dropped targets that are remembered.
    pub keep_dropped_targets: u64,
    /// Which names are valid.
    pub names: NameScheme,
    /// How others are asked to be written.
    pub escaping: EscapingScheme,
    /// How HTTP is spoken.
    pub client: HttpClient,
    /// Where targets come from.
    pub discovery: Vec<Discovery>,
    /// Rules for targets.
    pub relabel: Vec<Rule>,
    /// Rules for series.
    pub metric_relabel: Vec<Rule>,
}

impl ScrapeConfig {
    /// A job of these addresses, with Prometheus's defaults.
    #[must_use]
    pub fn of_targets(job_name: &str, targets: Vec<String>) -> Self {
        let global = Global::default();
        Self {
            job_name: job_name.to_owned(),
            honor_labels: false,
            honor_timestamps: true,
            track_timestamps_staleness: false,
            params: Vec::new(),
            scrape_interval: global.scrape_interval,
            scrape_timeout: global.scrape_timeout,
            scrape_protocols: ScrapeProtocol::DEFAULT.to_vec(),
            fallback_scrape_protocol: None,
            scrape_native_histograms: false,
            always_scrape_classic_histograms: false,
            convert_classic_histograms_to_nhcb: false,
            extra_scrape_metrics: false,
            scrape_failure_log_file: String::new(),
            metrics_path: "/metrics".to_owned(),
            scheme: "http".to_owned(),
            enable_compression: true,
            body_size_limit: 0,
            sample_limit: 0,
            target_limit: 0,
            label_limit: 0,
            label_name_length_limit: 0,
            label_value_length_limit: 0,
            native_histogram_bucket_limit: 0,
            native_histogram_min_bucket_factor: 0.0,
            keep_dropped_targets: 0,
            names: NameScheme::Utf8,
            escaping: EscapingScheme::AllowUtf8,
            client: HttpClient::default(),
            discovery: vec![Discovery::Static(vec![StaticGroup { targets, labels: Vec::new() }])],
            relabel: Vec::new(),
            metric_relabel: Vec::new(),
        }
    }

    /// Makes paths of files relative to the directory of the configuration.
    pub fn set_directory(&mut self, directory: &str) {
        let join = |path: &mut String| *path = joined(directory, path);
        self.client.files_mut().into_iter().for_each(join);
        join(&mut self.scrape_failure_log_file);
        for one in &mut self.discovery {
            match one {
                Discovery::File(file) => file.files.iter_mut().for_each(join),
                Discovery::Http(http) => http.client.files_mut().into_iter().for_each(join),
                Discovery::Docker(docker) => docker.client.files_mut().into_iter().for_each(join),
                _ => {}
            }
        }
    }
}

/// Rules as they are written, with the lines they are on: they are checked once the names' scheme is known.
pub(crate) type WrittenRules = Vec<(usize, Written)>;

/// Reads a list of relabelling rules; `null` is told with `empty`.
pub(crate) fn read_rules(fields: &Fields<'_>, name: &str, empty: &str) -> WrittenRules {
    let log = fields.log();
    let mut rules = Vec::new();
    for node in fields.items(name, "[]*relabel.Config") {
        if node.is_null() {
            log.note(Some(node.mark.line), empty);
        } else if let Some(rule) = read_rule(node, log) {
            rules.push((node.mark.line, rule));
        }
    }
    rules
}

fn read_rule(node: &Node, log: &Log) -> Option<Written> {
    let fields = Fields::open(node, "relabel.plain", log)?;
    let before = log.problems();
    let source_labels = fields.get("source_labels").map(|_| fields.texts("source_labels"));
    for _ in source_labels.iter().flatten().filter(|name| name.is_empty()) {
        fields.wrong("\"\" is not a valid label name");
    }
    let rule = Written {
        source_labels,
        separator: fields.text("separator"),
        regex: fields.text("regex").and_then(|regex| compiled(&fields, &regex)),
        modulus: fields.unsigned("modulus", "uint64").unwrap_or(0),
        target_label: fields.text_or_empty("target_label"),
        replacement: fields.text("replacement"),
        action: fields.text("action").and_then(|word| {
            let action = Action::from_word(&word);
            if action.is_none() {
                fields.wrong(format!("unknown relabel action {}", quote(&word)));
            }
            action
        }),
    };
    fields.finish();
    (log.problems() == before).then_some(rule)
}

fn compiled(fields: &Fields<'_>, regex: &str) -> Option<Pattern> {
    Pattern::new(regex).map_err(|message| fields.wrong(message)).ok()
}

/// Checks rules against the scheme of names that holds for them.
pub(crate) fn checked(rules: WrittenRules, names: NameScheme, log: &Log) -> Vec<Rule> {
    let rules = rules.into_iter().filter_map(|(line, rule)| {
        Rule::new(rule, names).map_err(|error| log.note(Some(line), error.to_string())).ok()
    });
    rules.collect()
}

/// Which names are valid, when it is said.
pub(crate) fn read_names(fields: &Fields<'_>) -> Option<NameScheme> {
    match fields.text_or_empty("metric_name_validation_scheme").as_str() {
        "" => None,
        "utf8" => Some(NameScheme::Utf8),
        "legacy" => Some(NameScheme::Legacy),
        other => {
            fields.wrong(format!("unrecognized ValidationScheme: {}", quote(other)));
            None
        }
    }
}

/// The protocols of a list, checked; `None` when there is no list.
pub(crate) fn read_protocols(fields: &Fields<'_>, whose: &str) -> Option<Vec<ScrapeProtocol>> {
    fields.some("scrape_protocols")?;
    let names = fields.texts("scrape_protocols");
    let wrong = |problem: String| fields.wrong(format!("{problem} for {whose}"));
    if names.is_empty() {
        wrong("scrape_protocols cannot be empty".to_owned());
    }
    let mut protocols: Vec<ScrapeProtocol> = Vec::new();
    for name in &names {
        if protocols.iter().any(|known| known.as_str().eq_ignore_ascii_case(name)) {
            wrong(format!("duplicated protocol in scrape_protocols, got [{}]", names.join(" ")));
            break;
        }
        match ScrapeProtocol::parse(name) {
            Ok(protocol) => protocols.push(protocol),
            Err(problem) => {
                wrong(format!("scrape_protocols: {problem}"));
                break;
            }
        }
    }
    Some(protocols)
}

/// Reads the sections of `scrape_configs` under `fields`.
pub(crate) fn read_all(fields: &Fields<'_>, global: &Global) -> Vec<ScrapeConfig> {
    let log = fields.log();
    let mut configs: Vec<ScrapeConfig> = Vec::new();
    for node in fields.items("scrape_configs", "[]*config.ScrapeConfig") {
        if node.is_null() {
            log.note(Some(node.mark.line), "empty or null scrape config section");
            continue;
        }
        let Some(config) = read(node, global, log) else { continue };
        if configs.iter().any(|known| known.job_name == config.job_name && !config.job_name.is_empty()) {
            let name = quote(&config.job_name);
            log.note(Some(node.mark.line), format!("found multiple scrape configs with job name {name}"));
        }
        configs.push(config);
    }
    configs
}

fn read(node: &Node, global: &Global, log: &Log) -> Option<ScrapeConfig> {
    let fields = Fields::open(node, "config.ScrapeConfig", log)?;
    let job_name = fields.text_or_empty("job_name");
    if job_name.is_empty() {
        fields.wrong("job_name is empty");
    }
    let whose = format!("scrape config with job name {}", quote(&job_name));
    let (scrape_interval, scrape_timeout) = read_times(&fields, global, &whose);
    let native = fields.boolean("scrape_native_histograms").unwrap_or(global.scrape_native_histograms);
    let protocols = read_protocols(&fields, &whose).or_else(|| global.scrape_protocols.clone());
    let default: &[ScrapeProtocol] =
        if native { &ScrapeProtocol::PROTO_FIRST } else { &ScrapeProtocol::DEFAULT };
    let (names, escaping) = read_schemes(&fields, global);
    let client = read_client(&fields);
    let limit = |name: &str, default: u64| {
        fields.unsigned(name, "uint").filter(|limit| *limit > 0).unwrap_or(default)
    };
    let relabel =
        read_rules(&fields, "relabel_configs", "empty or null target relabeling rule in scrape config");
    let metric_relabel = read_rules(
        &fields,
        "metric_relabel_configs",
        "empty or null metric relabeling rule in scrape config",
    );
    let has_rules = fields.items("relabel_configs", "[]*relabel.Config").next().is_some();
    let discovery = discovery::read(&fields);
    if !has_rules {
        check_static_targets(&fields, &discovery);
    }
    let config = ScrapeConfig {
        honor_labels: fields.boolean("honor_labels").unwrap_or(false),
        honor_timestamps: fields.boolean("honor_timestamps").unwrap_or(true),
        track_timestamps_staleness: fields.boolean("track_timestamps_staleness").unwrap_or(false),
        params: read_params(&fields),
        scrape_interval,
        scrape_timeout,
        scrape_protocols: protocols.unwrap_or_else(|| default.to_vec()),
        fallback_scrape_protocol: read_fallback(&fields, &whose),
        scrape_native_histograms: native,
        always_scrape_classic_histograms: fields
            .boolean("always_scrape_classic_histograms")
            .unwrap_or(global.always_scrape_classic_histograms),
        convert_classic_histograms_to_nhcb: fields
            .boolean("convert_classic_histograms_to_nhcb")
            .unwrap_or(global.convert_classic_histograms_to_nhcb),
        extra_scrape_metrics: fields.boolean("extra_scrape_metrics").unwrap_or(global.extra_scrape_metrics),
        scrape_failure_log_file: fields
            .text("scrape_failure_log_file")
            .filter(|file| !file.is_empty())
            .unwrap_or_else(|| global.scrape_failure_log_file.clone()),
        metrics_path: fields.text("metrics_path").unwrap_or_else(|| "/metrics".to_owned()),
        scheme: fields.text("scheme").unwrap_or_else(|| "http".to_owned()),
        enable_compression: fields.boolean("enable_compression").unwrap_or(true),
        body_size_limit: read_size(&fields, global.body_size_limit),
        sample_limit: limit("sample_limit", global.sample_limit),
        target_limit: limit("target_limit", global.target_limit),
        label_limit: limit("label_limit", global.label_limit),
        label_name_length_limit: limit("label_name_length_limit", global.label_name_length_limit),
        label_value_length_limit: limit("label_value_length_limit", global.label_value_length_limit),
        native_histogram_bucket_limit: limit("native_histogram_bucket_limit", 0),
        native_histogram_min_bucket_factor: fields.float("native_histogram_min_bucket_factor").unwrap_or(0.0),
        keep_dropped_targets: limit("keep_dropped_targets", global.keep_dropped_targets),
        names,
        escaping,
        client,
        discovery,
        relabel: checked(relabel, names, log),
        metric_relabel: checked(metric_relabel, names, log),
        job_name,
    };
    fields.finish();
    Some(config)
}

/// A size limit; 0 and what is below are no limit.
pub(crate) fn read_size(fields: &Fields<'_>, default: u64) -> u64 {
    let size = fields.size("body_size_limit").unwrap_or(0);
    u64::try_from(size).ok().filter(|size| *size > 0).unwrap_or(default)
}

fn read_times(fields: &Fields<'_>, global: &Global, whose: &str) -> (Duration, Duration) {
    let given = |name: &str| fields.duration(name).filter(|span| !span.is_zero());
    let interval = given("scrape_interval").unwrap_or(global.scrape_interval);
    let timeout = given("scrape_timeout");
    if timeout.is_some_and(|timeout| timeout > interval) {
        fields.wrong(format!("scrape timeout greater than scrape interval for {whose}"));
    }
    (interval, timeout.unwrap_or_else(|| global.scrape_timeout.min(interval)))
}

fn read_fallback(fields: &Fields<'_>, whose: &str) -> Option<ScrapeProtocol> {
    let name = fields.text("fallback_scrape_protocol").filter(|name| !name.is_empty())?;
    let parsed = ScrapeProtocol::parse(&name);
    parsed
        .map_err(|problem| fields.wrong(format!("invalid fallback_scrape_protocol for {whose}: {problem}")))
        .ok()
}

fn read_schemes(fields: &Fields<'_>, global: &Global) -> (NameScheme, EscapingScheme) {
    let local = read_names(fields);
    let names = local.unwrap_or(global.names);
    let natural = |names| match names {
        NameScheme::Legacy => EscapingScheme::Underscores,
        NameScheme::Utf8 => EscapingScheme::AllowUtf8,
    };
    let unknown = |whose: &str, name: &str| {
        fields.wrong(format!(
            "unknown {whose} name escaping method specified, must be one of 'allow-utf-8', 'underscores', 'dots', or \
             'values', got {}",
            quote(name)
        ));
        EscapingScheme::Underscores
    };
    let of_global = match global.escaping.as_str() {
        "" => natural(global.names),
        name => EscapingScheme::parse(name).unwrap_or_else(|| unknown("global", name)),
    };
    let escaping = match fields.text_or_empty("metric_name_escaping_scheme").as_str() {
        "" => local.map_or(of_global, natural),
        name => EscapingScheme::parse(name).unwrap_or_else(|| unknown("scrape config", name)),
    };
    if escaping == EscapingScheme::AllowUtf8 && names != NameScheme::Utf8 {
        fields.wrong("utf8 metric names requested but validation scheme is not set to UTF8");
    }
    (names, escaping)
}

fn read_params(fields: &Fields<'_>) -> Vec<(String, Vec<String>)> {
    let Some(params) = fields.map("params", "url.Values") else { return Vec::new() };
    let log = fields.log();
    let read = params.rest().map(|(name, _, value)| {
        let values = match &value.content {
            Content::Sequence(items) => items.iter().filter_map(|item| text(item, log)).collect(),
            _ if value.is_null() => Vec::new(),
            _ => {
                log.note(
                    Some(value.mark.line),
                    format!("cannot unmarshal {} into []string", yaml::tag(value)),
                );
                Vec::new()
            }
        };
        (name.to_owned(), values)
    });
    read.collect()
}

/// Without rules, an address with a slash can only be a mistaken URL.
pub(crate) fn check_static_targets(fields: &Fields<'_>, discovery: &[Discovery]) {
    for group in discovery.iter().filter_map(|one| match one {
        Discovery::Static(groups) => Some(groups),
        _ => None,
    }) {
        for target in group.iter().flat_map(|group| &group.targets).filter(|target| target.contains('/')) {
            fields.wrong(format!("{} is not a valid hostname", quote(target)));
        }
    }
}

/// External labels: names and values checked byte by byte, since `!!binary` need not be text.
pub(crate) fn read_external_labels(fields: &Fields<'_>, names: NameScheme) -> Vec<(String, String)> {
    let log = fields.log();
    let Some(Node { content: Content::Mapping(pairs), .. }) = fields.some("external_labels") else {
        let _ = fields.text_map("external_labels");
        return Vec::new();
    };
    let mut labels = Vec::new();
    for (key, value) in pairs {
        let (Some(name), Some(value)) = (text_bytes(key, log), text_bytes(value, log)) else { continue };
        match (String::from_utf8(name.clone()), String::from_utf8(value.clone())) {
            (Ok(name), Ok(value)) if names.allows_label(&name) => labels.push((name, value)),
            (Ok(valid), Err(_)) if names.allows_label(&valid) => {
                log.note(Some(key.mark.line), format!("{} is not a valid label value", quote_bytes(&value)));
            }
            _ => log.note(Some(key.mark.line), format!("{} is not a valid label name", quote_bytes(&name))),
        }
    }
    labels
}
