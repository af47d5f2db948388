//! What the server is told: one table of settings that file, environment and command line all go through.
//!
//! Two phases: text with its origin ([`Layer`]), then [`Settings`], typed and complete. The conversion reports every
//! mistake at once. The table is also the reference page and the `--help` of `--set`.

mod kind;
mod layer;
mod log_files;
mod log_pipelines;
pub(crate) mod promtail;
mod redact;
mod scrape;
mod streams;
mod table;
pub(crate) mod whole;

use std::collections::BTreeMap;
use std::time::Duration;

use kenning_model::{Nanos, Retention, TenantId, TenantRetention};
use kenning_pipeline::geoip::GeoDatabases;
use kenning_pipeline::redact::Scope as RedactScope;
use kenning_pipeline::{Limits as IngestLimits, LimitsTable};
use kenning_promconfig::ScrapeConfig;
use kenning_query::Limits as QueryLimits;
use kenning_receivers::push::OtlpOptions;
use kenning_receivers::tail::source::FileSource;
use kenning_receivers::tls::TlsFiles;
use kenning_stages::promtail::FileTargets;
use kenning_stages::{Context, LogMetrics};
use kenning_stdx::bytesize::{ByteSize, TimeSpan};
use kenning_stdx::files::{Files, RealFiles};

pub use layer::{Layer, Mistake, Mistakes};
pub use log_pipelines::LogPipelines;
pub use redact::RedactSettings;
pub(crate) use scrape::prometheus_yml;
pub use streams::StreamsKept;
pub use table::{Setting, TABLE};

/// Everything the server needs to know before it starts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where data is kept.
    pub data_dir: String,
    /// Main port: APIs and UI.
    pub listen: String,
    /// OTLP over gRPC; empty for none.
    pub otlp_grpc_listen: String,
    /// OTLP over HTTP; empty for none.
    pub otlp_http_listen: String,
    /// How OpenTelemetry's model becomes Prometheus' and Loki's.
    pub otlp: OtlpOptions,
    /// Elasticsearch's bulk API; empty for none.
    pub elastic_listen: String,
    /// Fluent forward; empty for none.
    pub fluent_listen: String,
    /// The key of Fluent forward's handshake; empty for no handshake.
    pub fluent_shared_key: String,
    /// Users of Fluent forward, `name:password,…`.
    pub fluent_users: String,
    /// The name that Fluent forward's handshake gives the server.
    pub fluent_hostname: String,
    /// Certificates of Fluent forward; without them it is spoken without TLS.
    pub fluent_tls: TlsFiles,
    /// Syslog over TCP; empty for none.
    pub syslog_tcp_listen: String,
    /// Syslog over TLS; empty for none.
    pub syslog_tls_listen: String,
    /// Certificates of syslog over TLS.
    pub syslog_tls: TlsFiles,
    /// Syslog over UDP; empty for none.
    pub syslog_udp_listen: String,
    /// Kernel buffer of syslog over UDP.
    pub syslog_udp_buffer: usize,
    /// How far senders' clocks stand east of UTC.
    pub syslog_utc_offset: String,
    /// The tenant that everything received belongs to.
    pub tenant: String,
    /// Settings below `limits.ingest` and `retention` that hold for one tenant in place of those for all: key and value.
    pub tenants: BTreeMap<String, Vec<(String, String)>>,
    /// Whether deletes and snapshots may be asked for over HTTP.
    pub web_admin_api: bool,
    /// Pattern of the origins whose scripts may read answers.
    pub web_cors_origin: String,
    /// How long metrics are kept.
    pub retention_metrics: Option<Duration>,
    /// How long logs are kept.
    pub retention_logs: Option<Duration>,
    /// Log streams that are kept otherwise.
    pub retention_streams: Vec<StreamsKept>,
    /// How long traces are kept.
    pub retention_traces: Option<Duration>,
    /// Bytes on disk beyond which the oldest data go.
    pub retention_bytes: Option<u64>,
    /// Memory of the whole process in bytes; none for a share of what there is.
    pub memory: Option<u64>,
    /// What a tenant may send.
    pub ingest: IngestLimits,
    /// Bytes that may wait for the disk.
    pub ingest_queue_bytes: usize,
    /// What a query may cost.
    pub query: QueryLimits,
    /// Queries that run at once.
    pub query_concurrent: usize,
    /// Queries that wait.
    pub query_waiting: usize,
    /// What is taken out of telemetry before it is stored.
    pub redact: RedactSettings,
    /// Error lines of one message and stream that are stored per window; none for all.
    pub throttle_lines: Option<u64>,
    /// How long such a window is.
    pub throttle_window: Duration,
    /// A file that says where addresses are; empty for none.
    pub geoip_database: String,
    /// The field of log records that holds an address.
    pub geoip_source: String,
    /// Size of a write-ahead log segment.
    pub wal_segment_bytes: u64,
    /// Size of the whole write-ahead log at which writes are refused.
    pub wal_bytes: u64,
    /// Memory of recent data at which it is written into parts.
    pub flush_bytes: usize,
    /// Age of recent data at which it is written into parts.
    pub flush_age: Duration,
    /// `patterns.memory`
    pub patterns_bytes: usize,
    /// Distance between looks at the server's own metrics for the tenant `self`; none switches it off.
    pub self_interval: Option<Duration>,
    /// Longest time for draining at shutdown.
    pub shutdown_deadline: Duration,
    /// Jobs to scrape besides those of [`Self::prometheus_config`].
    pub scrape: Vec<ScrapeConfig>,
    /// Files that are tailed.
    pub log_files: Vec<FileSource>,
    /// A Promtail configuration whose files are tailed; empty for none.
    pub promtail_config_file: String,
    /// `promtail.expand_env`
    pub promtail_expand_env: bool,
    /// Sources that files named by it name.
    pub promtail_discovered: Vec<FileTargets>,
    /// What of that file is left aside, for the log.
    pub promtail_notes: Vec<String>,
    /// Stages for the records of receivers.
    pub log_pipelines: LogPipelines,
    /// What stages count.
    pub log_metrics: LogMetrics,
    /// Files that tell where addresses are, of `geoip.database` and of stages.
    pub geo_databases: GeoDatabases,
    /// A `prometheus.yml` whose jobs are scraped; empty for none.
    pub prometheus_config: String,
    /// Start times of counters and histograms become samples of zero.
    pub start_zeros: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            data_dir: "kenning-data".to_owned(),
            listen: "127.0.0.1:7070".to_owned(),
            otlp_grpc_listen: "127.0.0.1:4317".to_owned(),
            otlp_http_listen: "127.0.0.1:4318".to_owned(),
            otlp: OtlpOptions::new(Nanos(0)),
            elastic_listen: String::new(),
            fluent_listen: String::new(),
            fluent_shared_key: String::new(),
            fluent_users: String::new(),
            fluent_hostname: "kenning".to_owned(),
            fluent_tls: TlsFiles::default(),
            syslog_tcp_listen: String::new(),
            syslog_tls_listen: String::new(),
            syslog_tls: TlsFiles::default(),
            syslog_udp_listen: String::new(),
            syslog_udp_buffer: 4 << 20,
            syslog_utc_offset: "+00:00".to_owned(),
            tenant: "default".to_owned(),
            tenants: BTreeMap::new(),
            web_admin_api: false,
            web_cors_origin: ".*".to_owned(),
            retention_metrics: Some(days(31)),
            retention_logs: Some(days(31)),
            retention_streams: Vec::new(),
            retention_traces: Some(days(31)),
            retention_bytes: None,
            memory: None,
            ingest: IngestLimits::default(),
            ingest_queue_bytes: 64 << 20,
            query: QueryLimits::default(),
            query_concurrent: 2 * cores,
            query_waiting: 32,
            redact: RedactSettings::default(),
            throttle_lines: None,
            throttle_window: Duration::from_secs(60),
            geoip_database: String::new(),
            geoip_source: "client_ip".to_owned(),
            wal_segment_bytes: 64 << 20,
            wal_bytes: 4 << 30,
            flush_bytes: 128 << 20,
            flush_age: Duration::from_secs(10 * 60),
            patterns_bytes: 64 << 20,
            self_interval: Some(Duration::from_secs(10)),
            shutdown_deadline: Duration::from_secs(10),
            scrape: Vec::new(),
            log_files: Vec::new(),
            promtail_config_file: String::new(),
            promtail_expand_env: false,
            promtail_discovered: Vec::new(),
            promtail_notes: Vec::new(),
            log_pipelines: LogPipelines::default(),
            log_metrics: LogMetrics::default(),
            geo_databases: GeoDatabases::default(),
            prometheus_config: String::new(),
            start_zeros: false,
        }
    }
}

const fn days(count: u64) -> Duration {
    Duration::from_secs(count * 24 * 60 * 60)
}

impl Settings {
    /// The defaults overlaid with the layers, later ones winning; or every mistake in any of them.
    pub fn from_layers(layers: &[Layer]) -> Result<Self, Mistakes> {
        Self::from_layers_and_files(layers, &RealFiles)
    }

    /// As [`Self::from_layers`], with the files that the settings name.
    pub(crate) fn from_layers_and_files(layers: &[Layer], files: &dyn Files) -> Result<Self, Mistakes> {
        let mut settings = Self::default();
        let (metrics, databases) = (settings.log_metrics.clone(), settings.geo_databases.clone());
        let context = Context { metrics: &metrics, databases: &databases, files };
        let mut mistakes = Vec::new();
        for layer in layers {
            for (key, value) in layer.values() {
                if let Err(problem) = set(&mut settings, key, value) {
                    mistakes.push(Mistake { origin: layer.origin().to_owned(), key: key.clone(), problem });
                }
            }
            let told = |key: &str, problems: Vec<String>| {
                let mistake =
                    |problem| Mistake { origin: layer.origin().to_owned(), key: key.to_owned(), problem };
                problems.into_iter().map(mistake).collect::<Vec<_>>()
            };
            match layer.log_files().map(|list| log_files::sources(list, context)) {
                None => {}
                Some(Ok(sources)) => settings.log_files = sources,
                Some(Err(problems)) => mistakes.extend(told("logs.files", problems)),
            }
            match layer.log_pipeline().map(|stages| LogPipelines::read(stages, context)) {
                None => {}
                Some(Ok(pipelines)) => settings.log_pipelines = pipelines,
                Some(Err(problems)) => mistakes.extend(told("logs.pipeline", problems)),
            }
            if let Some(config) = layer.prometheus() {
                match scrape::jobs(config, layer.origin(), files) {
                    Ok(jobs) => settings.scrape.extend(jobs),
                    Err(problems) => mistakes.extend(problems.into_iter().map(|problem| Mistake {
                        origin: layer.origin().to_owned(),
                        key: "scrape_configs".to_owned(),
                        problem,
                    })),
                }
            }
        }
        if !settings.promtail_config_file.is_empty() {
            let lookup = |name: &str| std::env::var(name).ok();
            let variables = settings.promtail_expand_env.then_some(&lookup as _);
            match promtail::sources(&settings.promtail_config_file, context, variables) {
                Ok(read) => {
                    settings.promtail_discovered = read.discovered;
                    settings.log_files.extend(read.sources);
                    settings.promtail_notes = read.notes;
                }
                Err(problems) => mistakes.extend(problems.into_iter().map(|problem| Mistake {
                    origin: settings.promtail_config_file.clone(),
                    key: "promtail.config_file".to_owned(),
                    problem,
                })),
            }
        }
        mistakes.extend(whole::mistakes(&settings, layers, files));
        if mistakes.is_empty() { Ok(settings) } else { Err(Mistakes(mistakes)) }
    }

    /// The settings in force as YAML. Secrets are shown as `<secret>`.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let own = self.tenants.iter().flat_map(|(tenant, pairs)| {
            pairs.iter().map(move |(key, value)| format!("tenants.{tenant}.{key}: {value}\n"))
        });
        TABLE.iter().map(|setting| format!("{}: {}\n", setting.key, (setting.get)(self))).chain(own).collect()
    }

    /// Whose telemetry is redacted.
    #[must_use]
    pub fn redact_scope(&self) -> RedactScope {
        let own = self.tenants.iter().filter_map(|(name, pairs)| {
            let (_, value) = pairs.iter().rfind(|(key, _)| key == TENANT_REDACT)?;
            // Both were checked when they were read.
            Some((TenantId::parse(name).ok()?, value.parse().ok()?))
        });
        RedactScope { default: self.redact.enabled, tenants: own.collect() }
    }

    /// What each tenant may send.
    #[must_use]
    pub fn ingest_limits(&self) -> LimitsTable {
        let mut table = LimitsTable::from(self.ingest.clone());
        // Nobody else can write there, and what we say about ourselves under overload must not be the first to go.
        let own = IngestLimits { past: None, future: None, ..IngestLimits::default() };
        table.tenants.insert(TenantId::self_tenant(), own);
        for (name, pairs) in &self.tenants {
            let Ok(tenant) = TenantId::parse(name) else { continue };
            let mut settings = Self { ingest: table.of(&tenant).clone(), ..Self::default() };
            // Checked when they were read.
            pairs.iter().for_each(|(key, value)| drop(set(&mut settings, key, value)));
            table.tenants.insert(tenant, settings.ingest);
        }
        table
    }
}

impl Settings {
    /// What retention removes at a time.
    #[must_use]
    pub fn retention(&self, now: Nanos) -> Retention {
        let tenants = self.tenants.iter().filter_map(|(name, pairs)| {
            let tenant = TenantId::parse(name).ok()?;
            let mut own = Self { retention_bytes: None, ..self.clone() };
            // Checked when they were read.
            pairs.iter().for_each(|(key, value)| drop(set(&mut own, key, value)));
            let kept = TenantRetention {
                metrics: own.retention_metrics,
                logs: own.retention_logs,
                traces: own.retention_traces,
                bytes: own.retention_bytes,
            };
            Some((tenant, kept))
        });
        Retention {
            now,
            metrics: self.retention_metrics,
            logs: self.retention_logs,
            traces: self.retention_traces,
            bytes: self.retention_bytes,
            tenants: tenants.collect(),
        }
    }

    /// How long metrics are kept and how much in all, in Prometheus's manner: `31d or 10GiB`.
    #[must_use]
    pub fn retention_text(&self) -> String {
        let age = self.retention_metrics.map(|age| TimeSpan(age).to_string());
        let size = self.retention_bytes.map(|bytes| ByteSize(bytes).to_string());
        [age, size].into_iter().flatten().collect::<Vec<_>>().join(" or ")
    }
}

/// The one other setting that a tenant may have of its own.
const TENANT_REDACT: &str = "redact.enabled";

/// Prefix of settings that hold for one tenant, as `tenants.<name>.limits.ingest.<limit>`.
const TENANTS: &str = "tenants.";
/// The settings that a tenant may have of its own.
const OF_TENANTS: [&str; 2] = ["limits.ingest.", "retention."];
/// One queue serves all tenants.
const NOT_OF_A_TENANT: &str = "limits.ingest.queue";

fn set(settings: &mut Settings, key: &str, value: &str) -> Result<(), String> {
    if let Some(rest) = key.strip_prefix(TENANTS) {
        return set_for_tenant(settings, rest, value);
    }
    match TABLE.iter().find(|setting| setting.key == key) {
        Some(setting) => (setting.set)(settings, value),
        None => Err(match closest(key) {
            Some(near) => format!("is not a setting; did you mean \"{near}\"?"),
            None => "is not a setting".to_owned(),
        }),
    }
}

fn set_for_tenant(settings: &mut Settings, rest: &str, value: &str) -> Result<(), String> {
    let place = OF_TENANTS.iter().filter_map(|group| rest.find(&format!(".{group}"))).min();
    let place = place.or_else(|| rest.strip_suffix(TENANT_REDACT)?.strip_suffix('.').map(str::len));
    let split = place.and_then(|at| rest.split_at_checked(at));
    let Some((tenant, key)) = split.map(|(tenant, key)| (tenant, key.trim_start_matches('.'))) else {
        let [limits, retention] = OF_TENANTS;
        return Err(format!(
            "only {limits}*, {retention}* and {TENANT_REDACT} can be set for one tenant: {TENANTS}<name>.{limits}..."
        ));
    };
    TenantId::parse(tenant).map_err(|error| format!("\"{tenant}\" cannot be a tenant: {error}"))?;
    if key == NOT_OF_A_TENANT {
        return Err("holds for all tenants together".to_owned());
    }
    set(&mut Settings::default(), key, value)?;
    settings.tenants.entry(tenant.to_owned()).or_default().push((key.to_owned(), value.to_owned()));
    Ok(())
}

/// The setting whose last word is the same, or that begins the same.
fn closest(key: &str) -> Option<&'static str> {
    let last = |text: &str| text.rsplit('.').next().unwrap_or("").to_owned();
    let known = || TABLE.iter().map(|setting| setting.key);
    known().find(|known| last(known) == last(key)).or_else(|| known().find(|known| known.starts_with(key)))
}

#[cfg(test)]
mod tests {
    use kenning_stdx::files::MemFiles;

    use super::*;

    fn check(pairs: &[(&str, &str)], expect: Result<fn(&Settings) -> bool, &str>) {
        let layer =
            Layer::from_assignments("--set", pairs.iter().map(|(key, value)| format!("{key}={value}")));
        match (layer.and_then(|layer| Settings::from_layers(&[layer])), expect) {
            (Ok(settings), Ok(holds)) => assert!(holds(&settings), "{pairs:?}"),
            (Err(mistakes), Err(expect)) => assert!(mistakes.to_string().contains(expect), "{mistakes}"),
            (outcome, _) => panic!("{pairs:?} gave {:?}", outcome.map(|_| ())),
        }
    }

    #[test]
    fn values_are_read_with_their_units() {
        check(&[("limits.ingest.past", "unlimited")], Ok(|s| s.ingest.past.is_none()));
        check(&[("limits.ingest.past", "7d")], Ok(|s| s.ingest.past == Some(days(7))));
        check(&[("store.wal.segment", "1MiB")], Ok(|s| s.wal_segment_bytes == 1 << 20));
        check(&[("listen", "127.0.0.1:0")], Ok(|s| s.listen == "127.0.0.1:0"));
        check(&[("limits.query.points", "5")], Ok(|s| s.query.points_max == 5));
        check(&[("limits.memory", "1GiB")], Ok(|s| s.memory == Some(1 << 30)));
        check(&[("limits.memory", "auto")], Ok(|s| s.memory.is_none()));
        check(&[("limits.memory", "100MiB")], Err("256MiB"));
    }

    #[test]
    fn otlp_is_read_in_the_words_of_prometheus() {
        check(
            &[("otlp.translation_strategy", "NoTranslation")],
            Ok(|s| s.otlp.naming.as_str() == "NoTranslation"),
        );
        check(&[("otlp.translation_strategy", "Dots")], Err("NoUTF8EscapingWithSuffixes"));
        check(&[("otlp.delta", "as_is")], Ok(|s| s.otlp.delta.as_str() == "as_is"));
        let promoted: fn(&Settings) -> bool = |s| *s.otlp.promote_resource_attributes == ["a.b", "c"];
        check(&[("otlp.promote_resource_attributes", "a.b, c")], Ok(promoted));
        let yaml = "otlp:\n  promote_resource_attributes: [a.b, c]\n  convert_histograms_to_nhcb: true\n";
        let layer = Layer::from_yaml("kenning.yaml", yaml);
        let settings = layer.and_then(|layer| Settings::from_layers(&[layer]));
        assert!(settings.is_ok_and(|s| promoted(&s) && s.otlp.convert_histograms_to_nhcb));
    }

    #[test]
    fn tenants_have_limits_of_their_own() {
        let yaml = "limits: {ingest: {labels: 9}}\ntenants: {acme: {limits: {ingest: {series: 7}}}}\n";
        let layer = Layer::from_yaml("kenning.yaml", yaml);
        let table = layer.and_then(|layer| Settings::from_layers(&[layer])).map(|s| s.ingest_limits());
        let of = |name: &str| {
            let tenant = TenantId::parse(name).ok();
            let limits = tenant.zip(table.as_ref().ok()).map(|(tenant, table)| table.of(&tenant).clone());
            limits.map(|limits| (limits.series, limits.labels))
        };
        assert_eq!(of("acme"), Some((Some(7), Some(9))));
        assert_eq!(of("other"), Some((Some(500_000), Some(9))));
        check(&[("tenants.a.limits.ingest.series", "many")], Err("tenants.a.limits.ingest.series"));
        check(&[("tenants.a.limits.ingest.queue", "1MiB")], Err("all tenants"));
        check(&[("tenants.a/b.limits.ingest.series", "1")], Err("cannot be a tenant"));
        check(&[("tenants.a.listen", "x")], Err("limits.ingest"));
        check(&[("tenants.a.retention.size", "much")], Err("tenants.a.retention.size"));
    }

    #[test]
    fn tenants_keep_data_for_times_and_sizes_of_their_own() {
        let pairs = ["retention.size=1GiB", "retention.logs=2d", "tenants.a.b.retention.metrics=1d"];
        let pairs =
            pairs.iter().chain(&["tenants.a.b.retention.size=9MiB", "tenants.c.limits.ingest.series=1"]);
        let layer = Layer::from_assignments("--set", pairs.map(|pair| (*pair).to_owned()));
        let settings = layer.and_then(|layer| Settings::from_layers(&[layer])).unwrap_or_default();
        let kept = settings.retention(Nanos(7));
        assert_eq!((kept.now, kept.bytes), (Nanos(7), Some(1 << 30)));
        let of = |name: &str| TenantId::parse(name).map(|tenant| kept.of(&tenant)).unwrap_or_default();
        let for_all = TenantRetention {
            metrics: Some(days(31)),
            logs: Some(days(2)),
            traces: Some(days(31)),
            bytes: None,
        };
        assert_eq!(of("other"), for_all);
        assert_eq!(of("c"), for_all);
        assert_eq!(of("a.b"), TenantRetention { metrics: Some(days(1)), bytes: Some(9 << 20), ..for_all });
        assert_eq!(settings.retention_text(), "31d or 1GiB");
    }

    #[test]
    fn redaction_is_on_and_can_be_told_more() {
        check(&[], Ok(|s| s.redact.enabled && !s.redact_scope().is_empty()));
        check(
            &[("redact.enabled", "false"), ("tenants.acme.redact.enabled", "true")],
            Ok(|s| s.redact_scope().tenants.values().eq([&true]) && !s.redact_scope().default),
        );
        let kinds = "default, phone, -email";
        check(
            &[("redact.kinds", kinds)],
            Ok(|s| s.to_yaml().contains("redact.kinds: default, phone, -email\n")),
        );
        check(
            &[("redact.kinds", "fingerprint")],
            Err("redact.kinds: \"fingerprint\" is no kind; known are password"),
        );
        check(&[("redact.keys", "a-b")], Err("redact.keys: [0]: \"a-b\" needs three letters"));
        check(
            &[("redact.allow", "(")],
            Err("redact.allow: [0]: error parsing regexp: missing closing ): `(`; write it as Go's regexp"),
        );
        check(&[("redact.patterns", "[{\"name\":\"x\"}]")], Err("redact.patterns: [0].regex: is missing"));
        let yaml = "redact:\n  keys: [customer_no]\n  patterns:\n  - {name: employee, regex: 'E-(\\d{6})'}\n";
        let settings =
            Layer::from_yaml("kenning.yaml", yaml).and_then(|layer| Settings::from_layers(&[layer]));
        assert!(settings.is_ok_and(|s| s.redact.patterns[0].replacement == "<redacted:employee>"));
    }

    #[test]
    fn log_streams_are_kept_by_rules() {
        let yaml = "retention:\n  logs: 31d\n  streams:\n  - {selector: '{app=\"a\"}', period: 1d}\n  \
                    - {selector: '{app=~\"a|b\"}', period: 90d, priority: 2}\n\
                    tenants:\n  acme:\n    retention: {logs: 7d}\n";
        let layer = Layer::from_yaml("kenning.yaml", yaml);
        let settings = layer.and_then(|layer| Settings::from_layers(&[layer])).unwrap_or_default();
        let rules = settings.stream_retention(Nanos(1)).rules;
        let ages: Vec<_> = rules.iter().map(|rule| (rule.tenant.is_some(), rule.age)).collect();
        let all = [(false, Some(days(90))), (false, Some(days(1))), (false, Some(days(31)))];
        let own = [(true, Some(days(90))), (true, Some(days(1))), (true, Some(days(7)))];
        assert_eq!(ages, [own, all].concat());
        let mut retention = settings.retention(Nanos(1));
        settings.lengthen(&mut retention);
        assert_eq!(retention.logs, Some(days(90)));
        assert!(Settings::default().stream_retention(Nanos(1)).rules.is_empty());
        let rule = |rule: &str| format!("[{rule}]");
        check(
            &[("retention.streams", rule(r#"{"selector":"{a","period":"1d"}"#).as_str())],
            Err("retention.streams: [0].selector: "),
        );
        check(
            &[("retention.streams", rule(r#"{"selector":"{a=\"b\"}","period":"soon"}"#).as_str())],
            Err("[0].period: "),
        );
        check(
            &[("retention.streams", rule(r#"{"selector":"{a=\"b\"}"}"#).as_str())],
            Err("[0].period: is missing"),
        );
        let kept: fn(&Settings) -> bool = |s| s.retention_streams[0].period.is_none();
        check(&[("retention.streams", rule(r#"{"selector":"{a=\"b\"}","period":"0s"}"#).as_str())], Ok(kept));
    }

    #[test]
    fn secrets_are_not_shown() {
        let layer = Layer::from_assignments("--set", ["fluent.shared_key=hush".to_owned()]);
        let yaml = Settings::from_layers(&[layer.unwrap_or_default()]).map(|settings| settings.to_yaml());
        let yaml = yaml.unwrap_or_default();
        assert!(yaml.contains("fluent.shared_key: <secret>\n") && !yaml.contains("hush"), "{yaml}");
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        check(&[("past", "1d")], Err("did you mean \"limits.ingest.past\""));
        check(&[("limits.ingest.past", "soon"), ("nonsense", "1")], Err("limits.ingest.past"));
        check(&[("limits.ingest.past", "soon"), ("nonsense", "1")], Err("nonsense"));
    }

    #[test]
    fn each_setting_reads_back_what_it_shows() {
        let defaults = Settings::default();
        for setting in TABLE {
            let mut settings = Settings::default();
            let shown = (setting.get)(&defaults);
            assert_eq!((setting.set)(&mut settings, &shown), Ok(()), "{}", setting.key);
            assert_eq!((setting.get)(&settings), shown, "{}", setting.key);
        }
    }

    #[test]
    fn the_examples_of_the_pages_are_good_settings() {
        for page in ["configuration", "redaction"] {
            let path = format!("{}/../../docs/{page}.md", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let examples: Vec<&str> =
                text.split("\n```yaml\n").skip(1).filter_map(|rest| rest.split("\n```").next()).collect();
            assert!(!examples.is_empty(), "{page} has no example");
            for yaml in examples {
                let layer = Layer::from_yaml(page, yaml);
                let read =
                    layer.and_then(|layer| Settings::from_layers_and_files(&[layer], &MemFiles::default()));
                assert!(read.is_ok(), "{:?} in {yaml}", read.err());
            }
        }
    }

    /// The page between its head and its tail is made from the table; `KENNING_UPDATE=1` writes it anew.
    #[test]
    fn the_reference_page_lists_every_setting() {
        const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
        const MARK: &str = "| setting | default | meaning |\n|---|---|---|\n";
        let defaults = Settings { query_concurrent: 4, ..Settings::default() };
        let rows: String = TABLE
            .iter()
            .map(|setting| {
                format!("| `{}` | `{}` | {} |\n", setting.key, (setting.get)(&defaults), setting.help)
            })
            .collect();
        let page = std::fs::read_to_string(PAGE).unwrap_or_default();
        let (head, rest) = page.split_once(MARK).unwrap_or((&page, ""));
        let tail = rest.split_once("\n\n").map_or("", |(_, tail)| tail);
        let expect = format!("{head}{MARK}{rows}\n{tail}");
        if std::env::var_os("KENNING_UPDATE").is_some() {
            assert!(std::fs::write(PAGE, &expect).is_ok());
        } else {
            assert_eq!(page, expect, "run with KENNING_UPDATE=1 and commit docs/configuration.md");
        }
    }
}
