//! One source of settings, still text: a file, the environment, the command line.

use std::fmt;

use kenning_promconfig::{Config, Problem};
use serde_json::Value;

use super::{TABLE, scrape};

/// Values from one source, by dotted key.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    origin: String,
    values: Vec<(String, String)>,
    /// Prometheus's own sections, when there are any.
    prometheus: Option<Config>,
    /// The list `logs.files`.
    log_files: Option<Value>,
    /// The stages at `logs.pipeline`.
    log_pipeline: Option<Value>,
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The file, variable or flag it comes from.
    pub origin: String,
    /// The setting.
    pub key: String,
    /// What is wrong with it.
    pub problem: String,
}

/// Every mistake that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, Mistake { origin, key, problem }) in self.0.iter().enumerate() {
            let line_end = if place == 0 { "" } else { "\n" };
            write!(f, "{line_end}{origin}: {key}: {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

/// The settings that are lists of mappings.
const LOG_FILES: &str = "logs.files";
const LOG_PIPELINE: &str = "logs.pipeline";

/// Prefix of environment variables; `KENNING_LIMITS_INGEST_PAST` is `limits.ingest.past`.
const VARIABLE_PREFIX: &str = "KENNING_";

impl Layer {
    /// `key=value` texts, as `--set` takes them.
    pub fn from_assignments(origin: &str, texts: impl IntoIterator<Item = String>) -> Result<Self, Mistakes> {
        let mut layer = Self::named(origin);
        let mut mistakes = Vec::new();
        for text in texts {
            match text.split_once('=') {
                Some((key, value)) => layer.push(key.trim(), value),
                None => mistakes.push(Mistake {
                    origin: origin.to_owned(),
                    key: text,
                    problem: "is not of the form key=value".to_owned(),
                }),
            }
        }
        if mistakes.is_empty() { Ok(layer) } else { Err(Mistakes(mistakes)) }
    }

    /// An empty layer.
    #[must_use]
    pub fn named(origin: &str) -> Self {
        Self { origin: origin.to_owned(), ..Self::default() }
    }

    /// Environment variables that are named after settings.
    #[must_use]
    pub fn from_environment(variables: impl Iterator<Item = (String, String)>) -> Self {
        let mut layer = Self::named("environment");
        for (name, value) in variables {
            let wanted = |key: &str| VARIABLE_PREFIX.to_owned() + &key.replace('.', "_").to_ascii_uppercase();
            if let Some(setting) = TABLE.iter().find(|setting| wanted(setting.key) == name) {
                layer.push(setting.key, &value);
            }
        }
        layer
    }

    /// A `kenning.yaml`: nested keys are settings, `scrape_configs` and `global` are Prometheus's own sections.
    pub fn from_yaml(origin: &str, text: &str) -> Result<Self, Mistakes> {
        let whole = |problem: String| {
            Mistakes(vec![Mistake { origin: origin.to_owned(), key: "the file".to_owned(), problem }])
        };
        let parsed = parse_yaml(text).map_err(|error| whole(format!("is not YAML: {error}")))?;
        let mut layer = Self::named(origin);
        match parsed {
            None | Some(Value::Null) => Ok(layer),
            Some(Value::Object(sections)) => {
                let mut own = false;
                for (key, value) in sections {
                    match scrape::SECTIONS.contains(&key.as_str()) {
                        true => own = true,
                        false => layer.flatten(&key, &value),
                    }
                }
                if own {
                    let mistake = |problem: &Problem| Mistake {
                        origin: origin.to_owned(),
                        key: "scrape_configs".to_owned(),
                        problem: problem.to_string(),
                    };
                    let read = scrape::sections(text);
                    let read = read.map_err(|problems| Mistakes(problems.iter().map(mistake).collect()))?;
                    layer.prometheus = Some(read);
                }
                Ok(layer)
            }
            Some(_) => Err(whole("must be a mapping of settings".to_owned())),
        }
    }

    /// Whether a YAML text is a `kenning.yaml` rather than a `prometheus.yml`: it has a section that only the former has.
    #[must_use]
    pub fn is_kenning_yaml(text: &str) -> bool {
        /// Sections of both.
        const SHARED: [&str; 2] = ["otlp", "storage"];
        let is_ours = |section: &str| {
            let first = |key: &'static str| key.split('.').next().unwrap_or_default();
            let mut known = TABLE.iter().map(|setting| first(setting.key)).chain(["logs", "tenants"]);
            !SHARED.contains(&section) && known.any(|known| known == section)
        };
        match parse_yaml(text) {
            Ok(Some(Value::Object(sections))) => sections.iter().any(|(section, _)| is_ours(section)),
            _ => false,
        }
    }

    fn flatten(&mut self, key: &str, value: &Value) {
        match value {
            value if key == LOG_FILES => self.log_files = Some(value.clone()),
            value if key == LOG_PIPELINE => self.log_pipeline = Some(value.clone()),
            Value::Object(inner) => {
                inner.iter().for_each(|(name, value)| self.flatten(&format!("{key}.{name}"), value))
            }
            Value::String(text) => self.push(key, text),
            Value::Null => self.push(key, ""),
            other => self.push(key, &other.to_string()),
        }
    }

    /// Adds a value.
    pub fn push(&mut self, key: &str, value: &str) {
        self.values.push((key.to_owned(), value.to_owned()));
    }

    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    pub(super) fn values(&self) -> &[(String, String)] {
        &self.values
    }

    pub(super) const fn log_files(&self) -> Option<&Value> {
        self.log_files.as_ref()
    }

    pub(super) const fn log_pipeline(&self) -> Option<&Value> {
        self.log_pipeline.as_ref()
    }

    pub(super) const fn prometheus(&self) -> Option<&Config> {
        self.prometheus.as_ref()
    }
}

/// YAML 1.2: `y` and `on` are texts, as Prometheus's own reader has them in labels.
pub(super) fn parse_yaml(text: &str) -> Result<Option<Value>, serde_saphyr::Error> {
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_yaml_becomes_dotted_keys() {
        let text = "listen: 127.0.0.1:1\nlimits:\n  ingest:\n    past: 7d\n    labels: 10\n";
        let layer = Layer::from_yaml("kenning.yaml", text).map(|layer| layer.values);
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let expect = [
            pair("listen", "127.0.0.1:1"),
            pair("limits.ingest.labels", "10"),
            pair("limits.ingest.past", "7d"),
        ];
        let sorted = layer.map(|mut values| {
            values.sort();
            values
        });
        let mut expect = expect.to_vec();
        expect.sort();
        assert_eq!(sorted, Ok(expect));
    }

    #[test]
    fn variables_are_named_after_settings() {
        let variables = [("KENNING_LIMITS_INGEST_PAST", "1d"), ("KENNING_HOME", "x"), ("PATH", "y")];
        let layer =
            Layer::from_environment(variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        assert_eq!(layer.values, [("limits.ingest.past".to_owned(), "1d".to_owned())]);
    }

    #[test]
    fn what_is_not_a_mapping_is_refused() {
        for text in ["- a", "just text", "a: [", "a: {b"] {
            assert!(Layer::from_yaml("kenning.yaml", text).is_err(), "{text}");
        }
        assert!(Layer::from_yaml("kenning.yaml", "").is_ok_and(|layer| layer.values.is_empty()));
    }
}
