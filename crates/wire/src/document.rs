//! Log documents: JSON objects of any shape, as Elasticsearch's clients and Fluent forward send them.
//!
//! One closed table ([`role`]) says which fields become the time, the line, the level, trace ids and stream labels, for
//! the Elastic Common Schema, for what Fluent Bit's Kubernetes and systemd inputs write, and for the usual plain names. All
//! other fields are structured metadata under their path, with underscores for what a label's name cannot hold.
//!
//! Bounded: fields below [`LEVELS_MAX`] levels, and lists, are kept as JSON text; fields beyond the limits on metadata are
//! left out of it and told about ([`Document::is_partial`]), so that the line can hold them.

use std::borrow::Cow;

use kenning_model::Nanos;

use crate::error::Fault;
use crate::instant;
use crate::json::{Json, Kind};
use crate::limits::DecodeLimits;
use crate::records::UNKNOWN_SERVICE;

/// Levels of objects that are taken apart.
const LEVELS_MAX: usize = 8;

/// Longest value that is copied into structured metadata; longer ones are text to be searched, not facts to filter by.
const METADATA_VALUE_BYTES_MAX: usize = 1024;

/// Metadata entries kept free for what the server adds.
const METADATA_RESERVED: usize = 4;

/// Stream labels in order of their slots.
const LABELS: [&str; 9] = [
    "service_name",
    "service_namespace",
    "deployment_environment",
    "host_name",
    "container_name",
    "k8s_namespace_name",
    "k8s_pod_name",
    "k8s_container_name",
    "cloud_region",
];

/// What a field is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Time,
    Line,
    Level,
    /// A syslog priority of 0 to 7, as journald writes it.
    Priority,
    Trace,
    Span,
    /// Index into [`LABELS`].
    Label(usize),
}

const SERVICE: usize = 0;
const HOST: usize = 3;
const CONTAINER: usize = 4;
const K8S_CONTAINER: usize = 7;

/// The role of the field at a dotted path, and its rank among the fields of that role (the lowest wins).
fn role(path: &str) -> Option<(Role, u8)> {
    Some(match path {
        "@timestamp" => (Role::Time, 0),
        "timestamp" => (Role::Time, 1),
        "time" => (Role::Time, 2),
        "log" => (Role::Line, 0),
        "message" => (Role::Line, 1),
        "MESSAGE" => (Role::Line, 2),
        "msg" => (Role::Line, 3),
        "log.level" => (Role::Level, 0),
        "level" => (Role::Level, 1),
        "severity" => (Role::Level, 2),
        "severity_text" => (Role::Level, 3),
        "loglevel" => (Role::Level, 4),
        "lvl" => (Role::Level, 5),
        "PRIORITY" => (Role::Priority, 6),
        "trace.id" | "trace_id" | "traceId" | "TraceId" => (Role::Trace, 0),
        "span.id" | "span_id" | "spanId" | "SpanId" => (Role::Span, 0),
        "service.name" | "service_name" => (Role::Label(SERVICE), 0),
        "service" => (Role::Label(SERVICE), 1),
        "app" => (Role::Label(SERVICE), 2),
        "application" => (Role::Label(SERVICE), 3),
        "app_name" => (Role::Label(SERVICE), 4),
        "kubernetes.labels.app.kubernetes.io/name" | "kubernetes.labels.app_kubernetes_io/name" => {
            (Role::Label(SERVICE), 5)
        }
        "kubernetes.labels.app" => (Role::Label(SERVICE), 6),
        "SYSLOG_IDENTIFIER" | "ident" => (Role::Label(SERVICE), 9),
        "service.namespace" => (Role::Label(1), 0),
        "service.environment" | "deployment.environment" | "deployment.environment.name" => {
            (Role::Label(2), 0)
        }
        "host.name" => (Role::Label(HOST), 0),
        "host.hostname" => (Role::Label(HOST), 1),
        "hostname" => (Role::Label(HOST), 2),
        "host" => (Role::Label(HOST), 3),
        "_HOSTNAME" => (Role::Label(HOST), 4),
        "kubernetes.host" => (Role::Label(HOST), 5),
        "container.name" | "container_name" => (Role::Label(CONTAINER), 0),
        "kubernetes.namespace" | "kubernetes.namespace_name" => (Role::Label(5), 0),
        "kubernetes.pod.name" | "kubernetes.pod_name" => (Role::Label(6), 0),
        "kubernetes.container.name" | "kubernetes.container_name" => (Role::Label(K8S_CONTAINER), 0),
        "cloud.region" => (Role::Label(8), 0),
        _ => return None,
    })
}

/// A role's field with its rank.
type Slot<'a> = Option<(u8, Cow<'a, str>)>;

/// A document taken apart.
#[derive(Debug, Default)]
pub(crate) struct Document<'a> {
    time: Slot<'a>,
    line: Slot<'a>,
    level: Slot<'a>,
    labels: [Slot<'a>; LABELS.len()],
    metadata: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    partial: bool,
}

impl<'a> Document<'a> {
    /// Reads an object. The fault is of a text that is no JSON object, or goes on after it.
    pub fn parse(text: &'a str, limits: &DecodeLimits) -> Result<Self, Fault> {
        let mut document = Self::default();
        let mut json = Json::new(text, LEVELS_MAX + 1);
        let mut path = String::new();
        document.object(&mut json, &mut path, LEVELS_MAX, limits)?;
        json.end()?;
        Ok(document)
    }

    /// Reads the members of an object; `levels` bounds the recursion.
    fn object(
        &mut self,
        json: &mut Json<'a>,
        path: &mut String,
        levels: usize,
        limits: &DecodeLimits,
    ) -> Result<(), Fault> {
        json.open(b'{')?;
        let mut first = true;
        while let Some(key) = json.key(&mut first)? {
            let parent = path.len();
            if parent > 0 {
                path.push('.');
            }
            path.push_str(&key);
            match json.peek()? {
                Kind::Object if levels > 1 => self.object(json, path, levels - 1, limits)?,
                Kind::Null => json.skip()?,
                Kind::Text => {
                    let value = json.text()?;
                    self.field(path, value, true, limits);
                }
                _ => {
                    let value = Cow::Borrowed(json.raw()?);
                    self.field(path, value, false, limits);
                }
            }
            path.truncate(parent);
        }
        Ok(())
    }

    fn field(&mut self, path: &str, value: Cow<'a, str>, is_text: bool, limits: &DecodeLimits) {
        let taken = match role(path) {
            Some(_) if value.is_empty() => return,
            // Only the field that Elasticsearch defines may be a number; any other number may count anything.
            Some((Role::Time, rank)) if rank == 0 || is_text => {
                offer(&mut self.time, rank, value.clone());
                rank == 0
            }
            Some((Role::Line, rank)) if is_text => return self.offer_line(rank, value, limits),
            Some((Role::Level, rank)) if is_text => {
                offer(&mut self.level, rank, value.clone());
                false
            }
            Some((Role::Priority, rank)) => {
                if let Some(word) = priority_word(&value) {
                    offer(&mut self.level, rank, Cow::Borrowed(word));
                }
                false
            }
            Some((Role::Label(label), rank)) if is_text && value.len() <= limits.label_value_bytes => {
                self.label(label, rank, value.clone())
            }
            _ => false,
        };
        if !taken {
            self.metadata(path, value, limits);
        }
    }

    /// The line that loses is metadata.
    fn offer_line(&mut self, rank: u8, value: Cow<'a, str>, limits: &DecodeLimits) {
        let name =
            |rank| ["log", "message", "MESSAGE", "msg"].get(usize::from(rank)).copied().unwrap_or("msg");
        match self.line.take() {
            Some((known, line)) if known <= rank => {
                self.line = Some((known, line));
                self.metadata(name(rank), value, limits);
            }
            earlier => {
                self.line = Some((rank, value));
                if let Some((known, line)) = earlier {
                    self.metadata(name(known), line, limits);
                }
            }
        }
    }

    /// True when the label says all that the field says.
    fn label(&mut self, label: usize, rank: u8, value: Cow<'a, str>) -> bool {
        // Docker writes the names of containers with a slash in front.
        let trimmed = match value.strip_prefix('/') {
            Some(rest) => Cow::Owned(rest.to_owned()),
            None => value,
        };
        if let Some(slot) = self.labels.get_mut(label) {
            offer(slot, rank, trimmed);
        }
        rank == 0
    }

    fn metadata(&mut self, path: &str, value: Cow<'a, str>, limits: &DecodeLimits) {
        let full = self.metadata.len() >= limits.attributes.saturating_sub(METADATA_RESERVED);
        let too_long = value.len() > METADATA_VALUE_BYTES_MAX.min(limits.attribute_bytes)
            || path.len() > limits.label_name_bytes;
        if full || too_long || path.is_empty() {
            self.partial = true;
        } else if !value.is_empty() {
            self.metadata.push((Cow::Owned(metadata_name(path)), value));
        }
    }

    /// The document's own time: any text that Elasticsearch reads as one.
    pub fn time(&self) -> Option<Nanos> {
        let (rank, text) = self.time.as_ref()?;
        if *rank == 0 { instant::iso8601_or_millis(text) } else { instant::rfc3339(text) }
    }

    /// True when `@timestamp` is there and cannot be read.
    pub fn has_bad_time(&self) -> bool {
        matches!(self.time, Some((0, _))) && self.time().is_none()
    }

    /// The field that holds the line.
    pub fn line(&self) -> Option<&str> {
        self.line.as_ref().map(|(_, line)| line.as_ref())
    }

    /// True when metadata lacks a field of the document.
    pub const fn is_partial(&self) -> bool {
        self.partial
    }

    /// Stream labels. `origin` is the label of where the document came from; `fallback` names its service when nothing
    /// in the document does.
    pub fn labels<'d>(
        &'d self,
        origin: (&'d str, &'d str),
        fallback: Option<&'d str>,
    ) -> Vec<(&'d str, &'d str)> {
        let slot = |label: usize| self.labels.get(label)?.as_ref().map(|(_, value)| value.as_ref());
        let container = || slot(K8S_CONTAINER).or_else(|| slot(CONTAINER));
        let service = match self.labels.first().and_then(Option::as_ref) {
            // The name of the program that wrote to syslog says less than the container it runs in.
            Some((rank, service)) if *rank < 7 => Some(service.as_ref()),
            known => container().or(known.map(|(_, service)| service.as_ref())),
        };
        let mut labels = vec![origin, ("service_name", service.or(fallback).unwrap_or(UNKNOWN_SERVICE))];
        let others = LABELS.iter().enumerate().skip(1);
        labels.extend(others.filter_map(|(label, name)| Some((*name, slot(label)?))));
        labels
    }

    /// Structured metadata: all other fields, and the level under the name that level detection trusts.
    pub fn pairs(&self) -> Vec<(&str, &str)> {
        let mut pairs: Vec<_> =
            self.metadata.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect();
        if let Some((_, level)) = &self.level {
            pairs.push((crate::logs::DETECTED_LEVEL, level));
        }
        pairs
    }
}

fn offer<'a>(slot: &mut Slot<'a>, rank: u8, value: Cow<'a, str>) {
    if slot.as_ref().is_none_or(|(known, _)| rank < *known) {
        *slot = Some((rank, value));
    }
}

/// The path as a label's name; ids get the names of their columns.
fn metadata_name(path: &str) -> String {
    match role(path) {
        Some((Role::Trace, _)) => return "trace_id".to_owned(),
        Some((Role::Span, _)) => return "span_id".to_owned(),
        _ => {}
    }
    let mut name: String = path.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert(0, '_');
    }
    name
}

fn priority_word(value: &str) -> Option<&'static str> {
    let number: usize = value.parse().ok()?;
    crate::syslog::SEVERITY_LEVELS.get(number).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, line: Option<&str>, labels: &[(&str, &str)], metadata: &[(&str, &str)]) {
        let document = Document::parse(text, &DecodeLimits::default()).unwrap();
        assert_eq!(document.line(), line, "{text}");
        assert_eq!(document.labels(("o", "x"), None).get(1..), Some(labels), "{text}");
        assert_eq!(document.pairs(), metadata, "{text}");
    }

    #[test]
    fn fields_go_where_they_belong() {
        let unknown = ("service_name", "unknown_service");
        check("{}", None, &[unknown], &[]);
        check(
            r#"{"message":"hi","log":{"level":"WARN","offset":7},"service":{"name":"shop"},"host":{"name":"h"},"n":null,"tags":["a","b"]}"#,
            Some("hi"),
            &[("service_name", "shop"), ("host_name", "h")],
            &[
                ("log_level", "WARN"),
                ("log_offset", "7"),
                ("tags", r#"["a","b"]"#),
                ("detected_level", "WARN"),
            ],
        );
        check(
            r#"{"log":"line\n","container_name":"/web","stream":"stdout","message":"other"}"#,
            Some("line\n"),
            &[("service_name", "web"), ("container_name", "web")],
            &[("stream", "stdout"), ("message", "other")],
        );
        check(
            r#"{"MESSAGE":"m","PRIORITY":"3","SYSLOG_IDENTIFIER":"sshd","_HOSTNAME":"h","trace":{"id":"x"}}"#,
            Some("m"),
            &[("service_name", "sshd"), ("host_name", "h")],
            &[
                ("PRIORITY", "3"),
                ("SYSLOG_IDENTIFIER", "sshd"),
                ("_HOSTNAME", "h"),
                ("trace_id", "x"),
                ("detected_level", "error"),
            ],
        );
    }

    #[test]
    fn times() {
        let time =
            |text: &str| Document::parse(text, &DecodeLimits::default()).unwrap().time().map(|at| at.0);
        assert_eq!(time(r#"{"@timestamp":"1970-01-01T00:00:01Z"}"#), Some(1_000_000_000));
        assert_eq!(
            time(r#"{"@timestamp":100000,"timestamp":"1999-01-01T00:00:00Z"}"#),
            Some(100_000_000_000)
        );
        assert_eq!(time(r#"{"time":"1970-01-01T00:00:02Z"}"#), Some(2_000_000_000));
        assert_eq!(time(r#"{"timestamp":12345678}"#), None);
        assert_eq!(time(r#"{"timestamp":"1999"}"#), None);
    }

    #[test]
    fn what_is_too_much_is_told() {
        let limits = DecodeLimits::default();
        let wide: Vec<_> = (0..200).map(|i| format!(r#""k{i}":{i}"#)).collect();
        let wide = format!("{{{}}}", wide.join(","));
        let document = Document::parse(&wide, &limits).unwrap();
        assert!(document.is_partial() && document.pairs().len() < limits.attributes);
        let long = format!(r#"{{"k":"{}"}}"#, "x".repeat(METADATA_VALUE_BYTES_MAX + 1));
        assert!(Document::parse(&long, &limits).unwrap().is_partial());
        let deep = format!("{}1{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
        let document = Document::parse(&deep, &limits).unwrap();
        assert!(document.is_partial());
        for bad in ["", "[]", "1", "{", r#"{"a":}"#, "{} x"] {
            assert!(Document::parse(bad, &limits).is_err(), "{bad}");
        }
    }
}
