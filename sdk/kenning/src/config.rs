//! Settings: what the environment and the builder say, checked into what is meant.
//!
//! The environment is a function from name to value, read once; every mistake found is reported together.
//! The environment wins over the builder: what is deployed decides over what was compiled.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::error::{Problem, ProblemKind};
use crate::filter::Filter;
use crate::ids::{RootSampler, Sampler};

/// Where OTLP goes when nothing is said.
pub(crate) const DEFAULT_ENDPOINT: &str = "http://127.0.0.1:4318";
/// Longest name or value of a resource attribute or header.
const SETTING_BYTES_MAX: usize = 4096;
/// Resource attributes and headers, each.
const PAIRS_MAX: usize = 64;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For human eyes, in development.
    Text,
}

/// Where a signal goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exporter {
    Otlp,
    Console,
    None,
}

/// Checked settings.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) service: String,
    pub(crate) environment: Option<String>,
    pub(crate) version: Option<String>,
    /// Further resource attributes, names unique, without the three above.
    pub(crate) resource: Vec<(String, String)>,
    pub(crate) filter: Filter,
    pub(crate) log_format: LogFormat,
    pub(crate) tracing_enabled: bool,
    pub(crate) sampler: Sampler,
    pub(crate) traces: Exporter,
    pub(crate) logs: Exporter,
    pub(crate) otlp: OtlpConfig,
    pub(crate) metrics_addr: Option<SocketAddr>,
    /// Span fields that are copied to the log lines inside the span.
    pub(crate) request_fields: Vec<String>,
}

/// The way to the collector.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OtlpConfig {
    pub(crate) traces_url: String,
    pub(crate) logs_url: String,
    pub(crate) headers: Vec<(String, String)>,
    /// Limit of one attempt.
    pub(crate) timeout: Duration,
    pub(crate) gzip: bool,
}

/// What code may say before the environment has its word; empty means unsaid.
#[derive(Debug, Clone, Default)]
pub(crate) struct Defaults {
    pub(crate) service: Option<String>,
    pub(crate) environment: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) resource: Vec<(String, String)>,
    pub(crate) log_level: Option<String>,
    pub(crate) log_format: Option<LogFormat>,
    pub(crate) endpoint: Option<String>,
    pub(crate) sample_ratio: Option<f64>,
    pub(crate) metrics_addr: Option<SocketAddr>,
    pub(crate) request_fields: Vec<String>,
}

/// Span fields that belong to the whole request and therefore on its log lines.
pub(crate) const REQUEST_FIELDS: [&str; 8] = [
    "request_id",
    "correlation_id",
    "user_id",
    "workspace_id",
    "tenant_id",
    "session_id",
    "job_id",
    "event_id",
];

type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Checks the environment against the builder's defaults.
pub(crate) fn resolve(env: Env<'_>, defaults: &Defaults) -> Result<Config, Vec<Problem>> {
    let mut reader = Reader { env, problems: Vec::new() };
    let config = reader.config(defaults);
    if reader.problems.is_empty() { Ok(config) } else { Err(reader.problems) }
}

/// The builder's defaults alone; what is wrong with them is replaced by what is unsaid.
pub(crate) fn without_environment(defaults: &Defaults) -> Config {
    Reader { env: &|_| None, problems: Vec::new() }.config(defaults)
}

/// Reads variables and remembers what was wrong with them.
struct Reader<'a> {
    env: Env<'a>,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn config(&mut self, defaults: &Defaults) -> Config {
        let mut resource = self.resource(&defaults.resource);
        let disabled = self.flag("OTEL_SDK_DISABLED", false);
        let tracing_enabled = self.flag("TRACING_ENABLED", true) && !disabled;
        let traces = self.exporter("OTEL_TRACES_EXPORTER", disabled || !tracing_enabled);
        Config {
            service: self.service(defaults, &mut resource),
            environment: self.identity(
                &["ENVIRONMENT"],
                &["deployment.environment.name", "deployment.environment"],
                &defaults.environment,
                &mut resource,
            ),
            version: self.identity(
                &["SERVICE_VERSION"],
                &["service.version"],
                &defaults.version,
                &mut resource,
            ),
            resource,
            filter: self.filter(defaults),
            log_format: self.log_format(defaults),
            tracing_enabled,
            sampler: self.sampler(defaults),
            traces,
            logs: self.exporter("OTEL_LOGS_EXPORTER", disabled),
            otlp: self.otlp(defaults),
            metrics_addr: self.metrics_addr(defaults),
            request_fields: request_fields(defaults),
        }
    }

    /// The first of `names` that is set and not empty, with its name.
    fn get(&self, names: &[&'static str]) -> Option<(&'static str, String)> {
        names.iter().find_map(|name| {
            let value = (self.env)(name)?;
            let value = value.trim();
            (!value.is_empty()).then(|| (*name, value.to_owned()))
        })
    }

    fn wrong(&mut self, name: &str, message: impl std::fmt::Display) {
        self.problems
            .push(Problem { kind: ProblemKind::Configuration, message: format!("{name}: {message}") });
    }

    fn flag(&mut self, name: &'static str, default: bool) -> bool {
        let Some((_, value)) = self.get(&[name]) else { return default };
        match value.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => true,
            "false" | "0" | "no" | "off" => false,
            _ => {
                self.wrong(name, format_args!("`{value}` is not true or false"));
                default
            }
        }
    }

    fn service(&mut self, defaults: &Defaults, resource: &mut Vec<(String, String)>) -> String {
        self.identity(&["OTEL_SERVICE_NAME", "SERVICE_NAME"], &["service.name"], &defaults.service, resource)
            .unwrap_or_else(|| format!("unknown_service:{}", program_name()))
    }

    /// Variable, then resource attribute, then builder; the attribute is taken out of the list either way.
    fn identity(
        &mut self,
        variables: &[&'static str],
        attributes: &[&str],
        default: &Option<String>,
        resource: &mut Vec<(String, String)>,
    ) -> Option<String> {
        let mut from_resource = None;
        resource.retain(|(key, value)| {
            let mine = attributes.contains(&key.as_str());
            if mine {
                from_resource.get_or_insert_with(|| value.clone());
            }
            !mine
        });
        self.get(variables).map(|(_, value)| value).or(from_resource).or_else(|| default.clone())
    }

    fn resource(&mut self, defaults: &[(String, String)]) -> Vec<(String, String)> {
        let mut resource = self.pairs("OTEL_RESOURCE_ATTRIBUTES");
        for (key, value) in defaults {
            if !resource.iter().any(|(known, _)| known == key) {
                resource.push((key.clone(), value.clone()));
            }
        }
        resource
    }

    /// `key=value,key=value`, percent-encoded as W3C Baggage prescribes; the last of equal keys wins.
    fn pairs(&mut self, name: &'static str) -> Vec<(String, String)> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        let Some((_, text)) = self.get(&[name]) else { return pairs };
        for piece in text.split(',').map(str::trim).filter(|piece| !piece.is_empty()) {
            match parse_pair(piece) {
                Ok((key, value)) => {
                    pairs.retain(|(known, _)| *known != key);
                    pairs.push((key, value));
                }
                Err(reason) => self.wrong(name, format_args!("`{}` {reason}", clipped(piece))),
            }
        }
        if pairs.len() > PAIRS_MAX {
            self.wrong(name, format_args!("{} entries, at most {PAIRS_MAX} are allowed", pairs.len()));
        }
        pairs
    }

    fn filter(&mut self, defaults: &Defaults) -> Filter {
        let from_env = self.get(&["LOG_LEVEL", "RUST_LOG"]);
        let (name, text) = match (from_env, &defaults.log_level) {
            (Some(found), _) => found,
            (None, Some(level)) => ("log level", level.clone()),
            (None, None) => return Filter::at(tracing_core::LevelFilter::INFO),
        };
        Filter::parse(&text).unwrap_or_else(|problems| {
            for problem in problems {
                self.wrong(name, problem);
            }
            Filter::at(tracing_core::LevelFilter::INFO)
        })
    }

    fn log_format(&mut self, defaults: &Defaults) -> LogFormat {
        let default = defaults.log_format.unwrap_or(LogFormat::Json);
        let Some((name, value)) = self.get(&["LOG_FORMAT"]) else { return default };
        match value.to_ascii_lowercase().as_str() {
            "json" => LogFormat::Json,
            "text" | "pretty" | "console" => LogFormat::Text,
            _ => {
                self.wrong(name, format_args!("unknown format `{value}`; use json or text"));
                default
            }
        }
    }

    fn exporter(&mut self, name: &'static str, off: bool) -> Exporter {
        let chosen = match self.get(&[name]) {
            None if self.flag("OTEL_CONSOLE_EXPORT", false) => Exporter::Console,
            None => Exporter::Otlp,
            Some((_, value)) => match value.as_str() {
                "otlp" => Exporter::Otlp,
                "none" => Exporter::None,
                "console" | "stdout" => Exporter::Console,
                _ => {
                    self.wrong(name, format_args!("unknown exporter `{value}`; use otlp, none or console"));
                    Exporter::None
                }
            },
        };
        if off { Exporter::None } else { chosen }
    }

    fn sampler(&mut self, defaults: &Defaults) -> Sampler {
        let unsaid = defaults.sample_ratio.map_or(RootSampler::On, RootSampler::Ratio);
        let default = Sampler { parent_based: true, root: unsaid };
        let Some((name, value)) = self.get(&["OTEL_TRACES_SAMPLER"]) else { return default };
        let (parent_based, kind) = match value.strip_prefix("parentbased_") {
            Some(rest) => (true, rest),
            None => (false, value.as_str()),
        };
        let root = match kind {
            "always_on" => RootSampler::On,
            "always_off" => RootSampler::Off,
            "traceidratio" => RootSampler::Ratio(self.ratio()),
            _ => {
                self.wrong(
                    name,
                    format_args!(
                        "unknown sampler `{value}`; use always_on, always_off or traceidratio, \
                         alone or after `parentbased_`"
                    ),
                );
                return default;
            }
        };
        Sampler { parent_based, root }
    }

    fn ratio(&mut self) -> f64 {
        let Some((name, value)) = self.get(&["OTEL_TRACES_SAMPLER_ARG"]) else { return 1.0 };
        match value.parse::<f64>() {
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => ratio,
            _ => {
                self.wrong(name, format_args!("`{value}` is not a ratio between 0.0 and 1.0"));
                1.0
            }
        }
    }

    fn otlp(&mut self, defaults: &Defaults) -> OtlpConfig {
        let (base_name, base) = self.base_endpoint(defaults);
        let base = base.trim_end_matches('/').to_owned();
        self.check_url(base_name, &base);
        if let Some((name, value)) = self.get(&["OTEL_EXPORTER_OTLP_PROTOCOL"])
            && value != "http/protobuf"
        {
            self.wrong(
                name,
                format_args!("`{value}` is not supported; use http/protobuf (port 4318 of the collector)"),
            );
        }
        OtlpConfig {
            traces_url: self.signal_url("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &base, "/v1/traces"),
            logs_url: self.signal_url("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", &base, "/v1/logs"),
            headers: self.headers(),
            timeout: self.timeout(),
            gzip: self.compression(),
        }
    }

    /// A service configured for a Jaeger agent finds the same machine's OTLP port.
    fn base_endpoint(&mut self, defaults: &Defaults) -> (&'static str, String) {
        if let Some(found) = self.get(&["OTEL_EXPORTER_OTLP_ENDPOINT"]) {
            return found;
        }
        if let Some((name, host)) = self.get(&["JAEGER_HOST"]) {
            return (name, format!("http://{host}:4318"));
        }
        let default = defaults.endpoint.clone().unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned());
        ("endpoint", default)
    }

    fn signal_url(&mut self, name: &'static str, base: &str, path: &str) -> String {
        let Some((name, url)) = self.get(&[name]) else { return format!("{base}{path}") };
        self.check_url(name, &url);
        url
    }

    fn check_url(&mut self, name: &str, url: &str) {
        if url.starts_with("https://") && !cfg!(feature = "tls") {
            self.wrong(name, format_args!("`{url}` needs the feature `tls` of the crate `kenning`"));
            return;
        }
        let after_scheme = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        let host = after_scheme.map(|rest| rest.split(['/', '?']).next().unwrap_or_default());
        if host.is_none_or(str::is_empty) || url.parse::<ureq::http::Uri>().is_err() {
            self.wrong(name, format_args!("`{url}` is not a URL such as {DEFAULT_ENDPOINT}"));
        }
    }

    fn headers(&mut self) -> Vec<(String, String)> {
        let name = "OTEL_EXPORTER_OTLP_HEADERS";
        let pairs = self.pairs(name);
        for (key, value) in &pairs {
            let valid = ureq::http::HeaderName::try_from(key.as_str()).is_ok()
                && ureq::http::HeaderValue::try_from(value.as_str()).is_ok();
            if !valid {
                // The value may be a secret, so only the name is shown.
                self.wrong(name, format_args!("`{key}` is not a valid header"));
            }
        }
        pairs
    }

    fn timeout(&mut self) -> Duration {
        let default = Duration::from_secs(10);
        let Some((name, value)) = self.get(&["OTEL_EXPORTER_OTLP_TIMEOUT"]) else { return default };
        match value.parse::<u64>() {
            Ok(millis) if (1..=600_000).contains(&millis) => Duration::from_millis(millis),
            _ => {
                self.wrong(name, format_args!("`{value}` is not a number of milliseconds from 1 to 600000"));
                default
            }
        }
    }

    fn compression(&mut self) -> bool {
        let Some((name, value)) = self.get(&["OTEL_EXPORTER_OTLP_COMPRESSION"]) else { return false };
        match value.as_str() {
            "none" => false,
            "gzip" if cfg!(feature = "gzip") => true,
            "gzip" => {
                self.wrong(name, "`gzip` needs the feature `gzip` of the crate `kenning`");
                false
            }
            _ => {
                self.wrong(name, format_args!("unknown compression `{value}`; use gzip or none"));
                false
            }
        }
    }

    fn metrics_addr(&mut self, defaults: &Defaults) -> Option<SocketAddr> {
        let default = defaults.metrics_addr;
        let ip = match self.get(&["METRICS_ADDR"]) {
            None => default.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |addr| addr.ip()),
            Some((name, value)) => value.parse().unwrap_or_else(|_| {
                self.wrong(name, format_args!("`{value}` is not an IP address such as 127.0.0.1 or 0.0.0.0"));
                IpAddr::V4(Ipv4Addr::LOCALHOST)
            }),
        };
        let Some((name, value)) = self.get(&["METRICS_PORT"]) else {
            return default.map(|addr| SocketAddr::new(ip, addr.port()));
        };
        match value.parse() {
            Ok(port) => Some(SocketAddr::new(ip, port)),
            Err(_) => {
                self.wrong(name, format_args!("`{value}` is not a port from 0 to 65535"));
                None
            }
        }
    }
}

fn request_fields(defaults: &Defaults) -> Vec<String> {
    REQUEST_FIELDS
        .iter()
        .map(|name| (*name).to_owned())
        .chain(defaults.request_fields.iter().cloned())
        .collect()
}

fn program_name() -> String {
    let first = std::env::args_os().next().unwrap_or_default();
    let stem = std::path::Path::new(&first).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    stem.unwrap_or_else(|| "rust".to_owned())
}

fn parse_pair(piece: &str) -> Result<(String, String), &'static str> {
    let (key, value) = piece.split_once('=').ok_or("is not of the form key=value")?;
    let key = key.trim();
    if key.is_empty() {
        return Err("has no key");
    }
    if piece.len() > SETTING_BYTES_MAX {
        return Err("is too long");
    }
    let value = percent_decode(value.trim()).ok_or("is not percent-encoded UTF-8")?;
    Ok((key.to_owned(), value))
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let high = char::from(rest.next()?).to_digit(16)?;
        let low = char::from(rest.next()?).to_digit(16)?;
        bytes.push((high * 16 + low) as u8);
    }
    String::from_utf8(bytes).ok()
}

/// The head of a value for an error message; the rest may be a secret or a flood.
fn clipped(text: &str) -> String {
    text.chars().take(32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve_with(vars: &[(&str, &str)], defaults: &Defaults) -> Result<Config, Vec<String>> {
        let env =
            |name: &str| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        resolve(&env, defaults).map_err(|all| all.into_iter().map(|problem| problem.message).collect())
    }

    fn config(vars: &[(&str, &str)]) -> Config {
        resolve_with(vars, &Defaults::default()).unwrap()
    }

    #[test]
    fn defaults_of_an_empty_environment() {
        let config = config(&[]);
        assert!(config.service.starts_with("unknown_service:"));
        assert_eq!(config.otlp.traces_url, "http://127.0.0.1:4318/v1/traces");
        assert_eq!(config.otlp.logs_url, "http://127.0.0.1:4318/v1/logs");
        assert_eq!(config.sampler, Sampler { parent_based: true, root: RootSampler::On });
        assert_eq!((config.traces, config.logs), (Exporter::Otlp, Exporter::Otlp));
        assert_eq!((config.log_format, config.metrics_addr), (LogFormat::Json, None));
    }

    #[test]
    fn identity_comes_from_variable_then_attribute_then_builder() {
        let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=attr,team=a%20b,service.version=2");
        assert_eq!(config(&[("SERVICE_NAME", "x"), ("OTEL_SERVICE_NAME", "y")]).service, "y");
        let both = config(&[("SERVICE_NAME", "wotr-api"), attributes]);
        assert_eq!((both.service.as_str(), both.version.as_deref()), ("wotr-api", Some("2")));
        assert_eq!(both.resource, [("team".to_owned(), "a b".to_owned())]);
        assert_eq!(config(&[attributes]).service, "attr");
        let defaults = Defaults { service: Some("built".to_owned()), ..Defaults::default() };
        assert_eq!(resolve_with(&[], &defaults).unwrap().service, "built");
        assert_eq!(resolve_with(&[("SERVICE_NAME", "env")], &defaults).unwrap().service, "env");
    }

    #[test]
    fn endpoints_ports_and_samplers() {
        let config = config(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/"),
            ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://logs/x"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20t,x-a=b"),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
            ("METRICS_PORT", "8001"),
            ("METRICS_ADDR", "0.0.0.0"),
            ("TRACING_ENABLED", "false"),
        ]);
        assert_eq!(config.otlp.traces_url, "http://collector:4318/v1/traces");
        assert_eq!(config.otlp.logs_url, "http://logs/x");
        assert_eq!(config.otlp.headers[0], ("authorization".to_owned(), "Bearer t".to_owned()));
        assert_eq!(config.sampler.root, RootSampler::Ratio(0.25));
        assert_eq!(config.metrics_addr.unwrap().to_string(), "0.0.0.0:8001");
        assert_eq!((config.traces, config.logs), (Exporter::None, Exporter::Otlp));
    }

    #[test]
    fn a_jaeger_host_is_understood() {
        let config = config(&[("JAEGER_HOST", "jaeger"), ("JAEGER_PORT", "6831")]);
        assert_eq!(config.otlp.traces_url, "http://jaeger:4318/v1/traces");
    }

    #[test]
    fn all_mistakes_are_reported_at_once() {
        let mistakes = resolve_with(
            &[
                ("LOG_LEVEL", "app=loud"),
                ("LOG_FORMAT", "xml"),
                ("METRICS_PORT", "eighty"),
                ("METRICS_ADDR", "localhost"),
                ("TRACING_ENABLED", "maybe"),
                ("OTEL_TRACES_SAMPLER", "sometimes"),
                ("OTEL_TRACES_EXPORTER", "zipkin"),
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector"),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
                ("OTEL_EXPORTER_OTLP_HEADERS", "no header=1"),
                ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
                ("OTEL_EXPORTER_OTLP_COMPRESSION", "brotli"),
                ("OTEL_RESOURCE_ATTRIBUTES", "alone,=x,a=%zz"),
            ],
            &Defaults::default(),
        )
        .unwrap_err();
        assert_eq!(mistakes.len(), 15, "{mistakes:#?}");
        assert!(mistakes.iter().all(|message| message.contains(": ")));
    }

    #[test]
    fn header_values_are_not_shown() {
        let env = [("OTEL_EXPORTER_OTLP_HEADERS", "authorization=secret%0Atoken")];
        let mistakes = resolve_with(&env, &Defaults::default()).unwrap_err();
        assert!(mistakes[0].contains("authorization") && !mistakes[0].contains("secret"), "{mistakes:?}");
    }
}
