//! The two text formats of metrics: Prometheus text 0.0.4 and OpenMetrics 1.0.
//!
//! References: <https://prometheus.io/docs/instrumenting/exposition_formats/> and
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/>.

use std::fmt::Write;

use super::Kind;
use super::cells::{Exemplar, Reading};
use super::registry::{FamilySnapshot, Sample};

/// A format of `/metrics`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposition {
    /// Prometheus text format 0.0.4.
    Text,
    /// OpenMetrics 1.0, with exemplars.
    OpenMetrics,
}

impl Exposition {
    /// The `Content-Type` header that goes with it.
    pub fn content_type(self) -> &'static str {
        match self {
            Exposition::Text => "text/plain; version=0.0.4; charset=utf-8",
            Exposition::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Chooses the format for an `Accept` header; without one, or when neither is named, text.
pub fn negotiate(accept: Option<&str>) -> Exposition {
    let (mut text, mut open_metrics) = (-1.0_f64, -1.0_f64);
    for range in accept.unwrap_or("*/*").split(',').take(ACCEPT_RANGES_MAX) {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default().to_ascii_lowercase();
        let parameters: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
        let parameter = |name: &str| {
            let found = parameters.iter().find(|(key, _)| key.trim().eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.trim().trim_matches('"'))
        };
        let quality = parameter("q").and_then(|q| q.parse::<f64>().ok()).unwrap_or(1.0);
        let version = parameter("version");
        match media.as_str() {
            "application/openmetrics-text" if matches!(version, None | Some("1.0.0" | "0.0.1")) => {
                open_metrics = open_metrics.max(quality);
            }
            "text/plain" if matches!(version, None | Some("0.0.4")) => text = text.max(quality),
            "*/*" | "text/*" => text = text.max(quality),
            _ => {}
        }
    }
    if open_metrics > 0.0 && open_metrics >= text { Exposition::OpenMetrics } else { Exposition::Text }
}

/// Media ranges looked at in one header.
const ACCEPT_RANGES_MAX: usize = 32;

/// Renders a snapshot; families must have distinct names.
pub(crate) fn render(families: &[FamilySnapshot], format: Exposition) -> String {
    let mut out = String::with_capacity(4096);
    for family in families {
        render_family(&mut out, family, format);
    }
    if format == Exposition::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out
}

fn render_family(out: &mut String, family: &FamilySnapshot, format: Exposition) {
    let open_metrics = format == Exposition::OpenMetrics;
    // OpenMetrics names the family without the suffix its samples carry.
    let name = match (open_metrics, family.kind) {
        (true, Kind::Counter) => family.name.strip_suffix("_total").unwrap_or(&family.name),
        _ => &family.name,
    };
    let is_info = open_metrics && family.name == "target_info";
    let (name, kind) = if is_info { ("target", "info") } else { (name, family.kind.name()) };
    if let (true, Some(unit)) = (open_metrics, unit_of(name)) {
        let _ = writeln!(out, "# UNIT {name} {unit}");
    }
    let _ = write!(out, "# HELP {name} ");
    escape(out, &family.help, open_metrics);
    let _ = writeln!(out, "\n# TYPE {name} {kind}");
    for sample in &family.samples {
        render_sample(out, family, sample, open_metrics);
    }
}

/// The base unit a name ends in.
fn unit_of(name: &str) -> Option<&'static str> {
    let units = ["seconds", "bytes", "ratio", "celsius", "meters", "volts", "amperes", "joules", "grams"];
    let ends =
        |unit: &&str| name.strip_suffix(unit).is_some_and(|stem| stem.len() > 1 && stem.ends_with('_'));
    units.into_iter().find(ends)
}

fn render_sample(out: &mut String, family: &FamilySnapshot, sample: &Sample, open_metrics: bool) {
    match &sample.reading {
        Reading::Counter(value) => {
            series(out, &family.name, family, sample, None);
            let _ = writeln!(out, " {value}");
        }
        Reading::Gauge(value) => {
            series(out, &family.name, family, sample, None);
            out.push(' ');
            number(out, *value);
            out.push('\n');
        }
        Reading::Histogram { bounds, counts, sum, exemplars } => {
            let bucket_name = format!("{}_bucket", family.name);
            let mut cumulative = 0_u64;
            for (index, count) in counts.iter().enumerate() {
                cumulative += count;
                let bound = bounds.get(index).copied().unwrap_or(f64::INFINITY);
                series(out, &bucket_name, family, sample, Some(&bound_text(bound, open_metrics)));
                let _ = write!(out, " {cumulative}");
                if let (true, Some(Some(exemplar))) = (open_metrics, exemplars.get(index)) {
                    render_exemplar(out, exemplar);
                }
                out.push('\n');
            }
            series(out, &format!("{}_sum", family.name), family, sample, None);
            out.push(' ');
            number(out, *sum);
            out.push('\n');
            series(out, &format!("{}_count", family.name), family, sample, None);
            let _ = writeln!(out, " {cumulative}");
        }
    }
}

/// The sample's name and labels.
fn series(out: &mut String, name: &str, family: &FamilySnapshot, sample: &Sample, le: Option<&str>) {
    out.push_str(name);
    let labels =
        family.label_names.iter().map(String::as_str).zip(sample.label_values.iter().map(String::as_str));
    let mut opened = false;
    for (label, value) in labels.chain(le.map(|le| ("le", le))) {
        out.push(if opened { ',' } else { '{' });
        opened = true;
        out.push_str(label);
        out.push_str("=\"");
        escape(out, value, true);
        out.push('"');
    }
    if opened {
        out.push('}');
    }
}

fn render_exemplar(out: &mut String, exemplar: &Exemplar) {
    let _ = write!(out, " # {{trace_id=\"{}\",span_id=\"{}\"}} ", exemplar.trace_id, exemplar.span_id);
    number(out, exemplar.value);
    let (seconds, millis) = (exemplar.unix_nanos / 1_000_000_000, exemplar.unix_nanos / 1_000_000 % 1000);
    let _ = write!(out, " {seconds}.{millis:03}");
}

/// Escapes backslash and line feed, and quotes where the format asks for it.
fn escape(out: &mut String, text: &str, quotes: bool) {
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            other => out.push(other),
        }
    }
}

/// A float as both formats read it back exactly.
fn number(out: &mut String, value: f64) {
    if value.is_nan() {
        out.push_str("NaN");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    } else if value != 0.0 && !(1e-5..1e17).contains(&value.abs()) {
        let _ = write!(out, "{value:e}");
    } else {
        let _ = write!(out, "{value}");
    }
}

/// The `le` label. OpenMetrics writes whole numbers with a fraction (`1.0`), Prometheus' own libraries without.
fn bound_text(bound: f64, open_metrics: bool) -> String {
    let mut text = String::new();
    number(&mut text, bound);
    if open_metrics && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
        text.push_str(".0");
    }
    text
}
