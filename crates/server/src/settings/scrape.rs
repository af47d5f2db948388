//! The sections `scrape_configs` and `global` of `kenning.yaml`, which are Prometheus's own.
//!
//! Static targets are understood. Everything else that Prometheus knows is refused by name: a setting that is read and
//! not followed would be worse than none.

use std::time::Duration;

use kenning_model::LabelSet;
use kenning_receivers::scrape::{ExpositionFormat, ScrapeJob, TargetGroup};
use kenning_stdx::bytesize::{ByteSize, TimeSpan};
use serde_json::{Map, Value};

/// Where and what is wrong.
type Problems = Vec<(String, String)>;

/// The settings of a job that are followed.
const KNOWN: &str = "job_name, static_configs, scrape_interval, scrape_timeout, metrics_path, scheme (http), \
                     honor_labels, honor_timestamps, body_size_limit, sample_limit, fallback_scrape_protocol";

/// The jobs of the section.
pub(super) fn jobs(section: &Value, global: Option<&Value>) -> Result<Vec<ScrapeJob>, Problems> {
    let mut problems = Problems::new();
    let defaults = defaults(global, &mut problems);
    let Some(list) = section.as_array() else {
        return Err(vec![("scrape_configs".to_owned(), "must be a list".to_owned())]);
    };
    let mut jobs = Vec::new();
    for (place, entry) in list.iter().enumerate() {
        let mut at = Place { path: format!("scrape_configs[{place}]"), problems: &mut problems };
        match entry.as_object() {
            Some(fields) => jobs.push(job(fields, &defaults, &mut at)),
            None => at.wrong("", "must be a mapping"),
        }
    }
    if problems.is_empty() { Ok(jobs) } else { Err(problems) }
}

/// Collects what is wrong under a path.
struct Place<'a> {
    path: String,
    problems: &'a mut Problems,
}

impl Place<'_> {
    fn wrong(&mut self, key: &str, problem: impl Into<String>) {
        let dot = if key.is_empty() { "" } else { "." };
        self.problems.push((format!("{}{dot}{key}", self.path), problem.into()));
    }

    fn text(&mut self, key: &str, value: &Value) -> String {
        match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => {
                self.wrong(key, "must be a text");
                String::new()
            }
        }
    }

    fn flag(&mut self, key: &str, value: &Value) -> bool {
        value.as_bool().unwrap_or_else(|| {
            self.wrong(key, "must be true or false");
            false
        })
    }

    fn span(&mut self, key: &str, value: &Value) -> Duration {
        let text = self.text(key, value);
        text.parse().map(|TimeSpan(span)| span).unwrap_or_else(|error| {
            self.wrong(key, format!("{error}"));
            Duration::from_secs(1)
        })
    }
}

fn defaults(global: Option<&Value>, problems: &mut Problems) -> ScrapeJob {
    let mut job = ScrapeJob::new("", Vec::new());
    let mut at = Place { path: "global".to_owned(), problems };
    let Some(fields) = global.and_then(Value::as_object) else {
        if global.is_some_and(|value| !value.is_null()) {
            at.wrong("", "must be a mapping");
        }
        return job;
    };
    for (key, value) in fields {
        match key.as_str() {
            "scrape_interval" => job.interval = at.span(key, value),
            "scrape_timeout" => job.timeout = at.span(key, value),
            _ => at.wrong(key, "is not followed yet; known are scrape_interval, scrape_timeout"),
        }
    }
    job
}

fn job(fields: &Map<String, Value>, defaults: &ScrapeJob, at: &mut Place<'_>) -> ScrapeJob {
    let mut job = ScrapeJob { groups: Vec::new(), ..defaults.clone() };
    let mut timeout_given = false;
    for (key, value) in fields {
        match key.as_str() {
            "job_name" => job.job_name = at.text(key, value),
            "static_configs" => job.groups = static_groups(value, at),
            "scrape_interval" => job.interval = at.span(key, value),
            "scrape_timeout" => {
                job.timeout = at.span(key, value);
                timeout_given = true;
            }
            "metrics_path" => job.path = at.text(key, value),
            "scheme" if value == "http" => {}
            "scheme" => at.wrong(key, "only http is followed yet"),
            "honor_labels" => job.honor_labels = at.flag(key, value),
            "honor_timestamps" => job.honor_timestamps = at.flag(key, value),
            "body_size_limit" => job.body_size_limit = size_limit(key, value, at),
            "sample_limit" => {
                job.sample_limit = value.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0)
            }
            "fallback_scrape_protocol" => job.fallback = protocol(key, value, at),
            _ => at.wrong(key, format!("is not followed yet; known are {KNOWN}")),
        }
    }
    if job.job_name.is_empty() {
        at.wrong("job_name", "is missing");
    }
    // As Prometheus: a default timeout gives way to a shorter interval, a written one must fit.
    if !timeout_given {
        job.timeout = job.timeout.min(job.interval);
    }
    job
}

fn static_groups(value: &Value, at: &mut Place<'_>) -> Vec<TargetGroup> {
    let Some(list) = value.as_array() else {
        at.wrong("static_configs", "must be a list");
        return Vec::new();
    };
    let mut groups = Vec::new();
    for group in list {
        let targets = group.get("targets").and_then(Value::as_array).cloned().unwrap_or_default();
        let targets = targets.iter().map(|target| at.text("static_configs.targets", target)).collect();
        let labels = group.get("labels").and_then(Value::as_object).cloned().unwrap_or_default();
        let pairs =
            labels.iter().map(|(name, value)| (name.clone(), at.text("static_configs.labels", value)));
        let labels = LabelSet::from_pairs(pairs.collect::<Vec<_>>());
        groups.push(TargetGroup { targets, labels });
    }
    groups
}

fn size_limit(key: &str, value: &Value, at: &mut Place<'_>) -> Option<usize> {
    let text = at.text(key, value);
    match text.parse() {
        Ok(ByteSize(0)) => None,
        Ok(ByteSize(bytes)) => usize::try_from(bytes).ok(),
        Err(error) => {
            at.wrong(key, format!("{error}"));
            None
        }
    }
}

fn protocol(key: &str, value: &Value, at: &mut Place<'_>) -> Option<ExpositionFormat> {
    match value.as_str() {
        Some("PrometheusText0.0.4" | "PrometheusText1.0.0") => Some(ExpositionFormat::PrometheusText),
        Some("OpenMetricsText0.0.1" | "OpenMetricsText1.0.0") => Some(ExpositionFormat::OpenMetrics),
        _ => {
            at.wrong(key, "known are PrometheusText0.0.4, PrometheusText1.0.0, OpenMetricsText0.0.1, OpenMetricsText1.0.0");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::layer::parse_yaml;

    fn check(yaml: &str, expect: Result<usize, &str>) {
        let value = parse_yaml(yaml).ok().flatten().unwrap_or_default();
        match (jobs(&value, None), expect) {
            (Ok(jobs), Ok(count)) => assert_eq!(jobs.len(), count, "{yaml}"),
            (Err(problems), Err(expect)) => assert!(format!("{problems:?}").contains(expect), "{problems:?}"),
            (outcome, _) => panic!("{yaml} gave {outcome:?}"),
        }
    }

    #[test]
    fn static_jobs_are_read_and_the_rest_is_refused_by_name() {
        check("- job_name: a\n  static_configs: [{targets: ['h:1', 'h:2'], labels: {x: y}}]", Ok(1));
        check(
            "- job_name: a\n  scrape_interval: 5s\n  static_configs: [{targets: ['h:1']}, {targets: ['h:2']}]",
            Ok(1),
        );
        check("- static_configs: []", Err("job_name"));
        check("- job_name: a\n  kubernetes_sd_configs: []", Err("kubernetes_sd_configs"));
        check("- job_name: a\n  scheme: https", Err("scheme"));
        check("- job_name: a\n  scrape_interval: soon", Err("scrape_interval"));
        check("x: 1", Err("must be a list"));
    }

    #[test]
    fn a_default_timeout_gives_way_to_a_short_interval() {
        let yaml = "- job_name: a\n  scrape_interval: 1s\n  static_configs: [{targets: ['h:1']}]";
        let value = parse_yaml(yaml).ok().flatten().unwrap_or_default();
        let jobs = jobs(&value, None).unwrap_or_default();
        assert_eq!(jobs.first().map(|job| job.timeout), Some(Duration::from_secs(1)));
    }
}
