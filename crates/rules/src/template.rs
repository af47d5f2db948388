//! Templates of labels, annotations and console pages: Go's `text/template` with Prometheus's functions.

mod functions;
mod hosts;
mod humanize;

use std::borrow::Cow;

use kenning_model::Nanos;
use kenning_template::{Functions, Missing, Options, Scope, Template, Value};

/// What precedes the text of every label and annotation.
const ALERT_VARIABLES: &str = "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}\
                               {{$externalURL := .ExternalURL}}{{$value := .Value}}";

/// A series and its value, as `query` gives them to templates.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Labels, the metric's name among them.
    pub labels: Vec<(String, String)>,
    /// A double, or the text of a native histogram.
    pub value: SampleValue,
}

/// A sample's value.
#[derive(Clone, Debug, PartialEq)]
pub enum SampleValue {
    /// A double.
    Float(f64),
    /// A native histogram, as PromQL prints it.
    Histogram(String),
}

impl From<SampleValue> for Value {
    fn from(value: SampleValue) -> Self {
        match value {
            SampleValue::Float(value) => Self::Float(value),
            SampleValue::Histogram(text) => Self::Str(text),
        }
    }
}

impl From<Sample> for Value {
    fn from(sample: Sample) -> Self {
        let fields = vec![("Labels", Self::texts(sample.labels)), ("Value", sample.value.into())];
        Self::structure("*template.sample", fields)
    }
}

/// Runs a query for a template; errors are told in the template's error.
pub type QueryFunction<'q> = dyn Fn(&str, Nanos) -> Result<Vec<Sample>, String> + 'q;

/// The world that a template sees.
pub struct Expander<'e> {
    /// Name that appears in errors: `__alert_InstanceDown`.
    pub name: &'e str,
    /// The moment of evaluation.
    pub now: Nanos,
    /// The server's own address, without a slash at the end.
    pub external_url: &'e str,
    /// What missing keys are worth; Prometheus: [`Missing::Zero`].
    pub missing: Missing,
    /// Answers `query`.
    pub query: &'e QueryFunction<'e>,
}

impl Expander<'_> {
    /// The text of a template. Errors are Prometheus's.
    pub fn expand(&self, text: &str, data: Value) -> Result<String, String> {
        let template = self.parse(text, functions::TEXT)?;
        self.run(&template, data, false)
    }

    /// The same for pages: values are escaped for HTML, and `library` templates can be called with `tmpl`.
    pub fn expand_html(&self, text: &str, data: Value, library: &[&str]) -> Result<String, String> {
        let mut template = self.parse(text, functions::HTML)?;
        for source in library {
            let library = Template::parse(self.name.to_owned(), source, functions::HTML)
                .map_err(|error| format!("error parsing template files for {}: {error}", self.name))?;
            template.define_from(&library);
        }
        self.run(&template, data, true)
    }

    fn parse(&self, text: &str, functions: Functions) -> Result<Template, String> {
        Template::parse(self.name.to_owned(), text, functions)
            .map_err(|error| format!("error parsing template {}: {error}", self.name))
    }

    fn run(&self, template: &Template, data: Value, html: bool) -> Result<String, String> {
        template
            .execute(data, self, Options { missing: self.missing, html })
            .map_err(|error| format!("error executing template {}: {error}", self.name))
    }
}

impl Scope for Expander<'_> {
    fn call(&self, name: &str, args: Vec<Value>) -> Result<Value, String> {
        functions::call(name, args, self)
    }

    fn label(&self, _name: &str) -> Cow<'_, str> {
        Cow::Borrowed("")
    }
}

/// What the templates of an alert see as `.`, and as `$labels`, `$externalLabels`, `$externalURL` and `$value`.
#[must_use]
pub fn alert_data(
    labels: Vec<(String, String)>,
    external_labels: Vec<(String, String)>,
    external_url: &str,
    value: SampleValue,
) -> Value {
    let type_name = "struct { Labels map[string]string; ExternalLabels map[string]string; ExternalURL string; \
                     Value interface {} }";
    let fields = vec![
        ("Labels", Value::texts(labels)),
        ("ExternalLabels", Value::texts(external_labels)),
        ("ExternalURL", Value::Str(external_url.to_owned())),
        ("Value", value.into()),
    ];
    Value::structure(type_name, fields)
}

/// The text of a label or annotation with the variables that it may use in front.
#[must_use]
pub fn alert_text(text: &str) -> String {
    format!("{ALERT_VARIABLES}{text}")
}

/// Reads the text of a label or annotation; the error is Prometheus's.
pub fn check_alert_text(alert: &str, text: &str) -> Result<(), String> {
    Template::parse(format!("__alert_{alert}"), &alert_text(text), functions::TEXT)
        .map(|_| ())
        .map_err(|error| error.to_string())
}
