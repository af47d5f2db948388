//! Prometheus's template functions.

use kenning_gotext::{duration, float, url};
use kenning_template::{ANY, Args, Functions, TEXT_BYTES_MAX, Value, wrong_type};
use regex::Regex;

use super::{Expander, hosts, humanize};

/// Largest compiled regular expression, in bytes.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// Functions of pages: those of alerts and one more.
pub(super) const HTML: Functions = Functions::new(&[("tmpl", (2, 2))]).with(&TEXT, &[]);
/// Functions of alerts.
pub(super) const TEXT: Functions = Functions::new(&[
    ("args", (0, ANY)),
    ("externalURL", (0, 0)),
    ("first", (1, 1)),
    ("graphLink", (1, 1)),
    ("humanize", (1, 1)),
    ("humanize1024", (1, 1)),
    ("humanizeDuration", (1, 1)),
    ("humanizePercentage", (1, 1)),
    ("humanizeTimestamp", (1, 1)),
    ("label", (2, 2)),
    ("match", (2, 2)),
    ("now", (0, 0)),
    ("parseDuration", (1, 1)),
    ("pathPrefix", (0, 0)),
    ("query", (1, 1)),
    ("reReplaceAll", (3, 3)),
    ("safeHtml", (1, 1)),
    ("sortByLabel", (2, 2)),
    ("stripDomain", (1, 1)),
    ("stripPort", (1, 1)),
    ("strvalue", (1, 1)),
    ("tableLink", (1, 1)),
    ("title", (1, 1)),
    ("toDuration", (1, 1)),
    ("toLower", (1, 1)),
    ("toTime", (1, 1)),
    ("toUpper", (1, 1)),
    ("urlQueryEscape", (1, 1)),
    ("value", (1, 1)),
]);

type Called = Result<Value, String>;

/// What arguments of alerts' functions may be beyond texts.
trait Samples {
    fn number(&self, index: usize) -> Result<f64, String>;
    fn samples(&self, index: usize) -> Result<&[Value], String>;
    fn sample(&self, index: usize) -> Result<&kenning_template::Struct, String>;
}

impl Samples for Args {
    /// A number, or a text that is one.
    fn number(&self, index: usize) -> Result<f64, String> {
        match self.get(index) {
            Value::Float(value) => Ok(*value),
            Value::Int(value) => Ok(*value as f64),
            Value::Uint(value) => Ok(*value as f64),
            Value::Duration(nanos) => Ok(*nanos as f64 / 1e9),
            Value::Str(text) => float::parse(text),
            other => Err(format!("can't convert {} to float", other.type_name())),
        }
    }

    fn samples(&self, index: usize) -> Result<&[Value], String> {
        match self.get(index) {
            Value::List(samples) => Ok(samples),
            Value::Nil => Ok(&[]),
            other => Err(wrong_type("template.queryResult", other)),
        }
    }

    fn sample(&self, index: usize) -> Result<&kenning_template::Struct, String> {
        match self.get(index) {
            Value::Struct(sample) => Ok(sample),
            other => Err(wrong_type("*template.sample", other)),
        }
    }
}

fn text(value: impl Into<String>) -> Called {
    Ok(Value::Str(value.into()))
}

/// Calls a function whose number of arguments was checked.
pub(super) fn call(name: &str, args: Vec<Value>, world: &Expander<'_>) -> Called {
    let args = Args(args);
    match name {
        "query" | "first" | "label" | "value" | "strvalue" | "sortByLabel" | "args" => {
            data_function(name, args, world)
        }
        "now" => Ok(Value::Float(world.now.0.div_euclid(1_000_000) as f64 / 1000.0)),
        "externalURL" => text(world.external_url),
        "pathPrefix" => text(hosts::path(world.external_url)),
        "toTime" => {
            humanize::time(args.number(0)?)?.map(Value::Time).ok_or_else(|| "value is NaN or Inf".into())
        }
        "toDuration" => Ok(Value::Duration((args.number(0)? * 1e9) as i64)),
        "parseDuration" => parse_duration(args.text(0)?),
        "humanize" => text(humanize::decimal(args.number(0)?)),
        "humanize1024" => text(humanize::binary(args.number(0)?)),
        "humanizeDuration" => text(humanize::duration(args.number(0)?)),
        "humanizePercentage" => text(humanize::percentage(args.number(0)?)),
        "humanizeTimestamp" => humanize::timestamp(args.number(0)?).and_then(text),
        _ => text_function(name, &args),
    }
}

fn data_function(name: &str, args: Args, world: &Expander<'_>) -> Called {
    match name {
        "query" => {
            let samples = (world.query)(args.text(0)?, world.now)?;
            Ok(Value::List(samples.into_iter().map(Value::from).collect()))
        }
        "first" => match args.samples(0)? {
            [first, ..] => Ok(first.clone()),
            [] => Err("first() called on vector with no elements".to_owned()),
        },
        "label" => text(label(args.sample(1)?, args.text(0)?)),
        "strvalue" => text(label(args.sample(0)?, "__value__")),
        "value" => Ok(args.sample(0)?.get("Value").cloned().unwrap_or(Value::Nil)),
        "sortByLabel" => {
            let by = args.text(0)?.to_owned();
            let mut samples = args.samples(1)?.to_vec();
            samples.sort_by_cached_key(|sample| match sample {
                Value::Struct(sample) => label(sample, &by),
                _ => String::new(),
            });
            Ok(Value::List(samples))
        }
        _ => {
            let named = args.0.into_iter().enumerate().map(|(index, value)| (format!("arg{index}"), value));
            Ok(Value::Map(named.collect()))
        }
    }
}

fn label(sample: &kenning_template::Struct, name: &str) -> String {
    match sample.get("Labels") {
        Some(Value::Texts(labels)) => {
            labels.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()).unwrap_or_default()
        }
        _ => String::new(),
    }
}

fn text_function(name: &str, args: &Args) -> Called {
    match name {
        "title" => text(title(args.text(0)?)),
        "toUpper" => text(args.text(0)?.to_uppercase()),
        "toLower" => text(args.text(0)?.to_lowercase()),
        "safeHtml" => Ok(Value::Html(args.text(0)?.to_owned())),
        "match" => Ok(Value::Bool(compile(args.text(0)?)?.is_match(args.text(1)?))),
        "reReplaceAll" => replace(args.text(0)?, args.text(1)?, args.text(2)?),
        "graphLink" => text(format!("/graph?g0.expr={}&g0.tab=0", url::query_escape(args.text(0)?))),
        "tableLink" => text(format!("/graph?g0.expr={}&g0.tab=1", url::query_escape(args.text(0)?))),
        "urlQueryEscape" => text(url::query_escape(args.text(0)?)),
        "stripPort" => text(hosts::strip_port(args.text(0)?)),
        "stripDomain" => text(hosts::strip_domain(args.text(0)?)),
        _ => Err(format!("{name} cannot be called here")),
    }
}

fn parse_duration(text: &str) -> Called {
    let (sign, body) = text.strip_prefix('-').map_or((1.0, text), |body| (-1.0, body));
    Ok(Value::Float(sign * duration::parse_prometheus(body)? as f64 / 1e9))
}

fn compile(pattern: &str) -> Result<Regex, String> {
    let limits = kenning_regex::Limits { program: REGEX_BYTES_MAX, ..kenning_regex::Limits::default() };
    kenning_regex::compile(pattern, limits).map_err(|error| error.to_string())
}

fn replace(pattern: &str, replacement: &str, source: &str) -> Called {
    let regex = compile(pattern)?;
    // A replacement may name every group, each as long as the whole text.
    let hits = regex.find_iter(source).count();
    let growth = hits.saturating_mul(replacement.len() * (1 + source.len().min(64)));
    if source.len().saturating_add(growth) > TEXT_BYTES_MAX * 16 {
        return Err(format!("result longer than {TEXT_BYTES_MAX} bytes"));
    }
    text(regex.replace_all(source, replacement))
}

/// Every word with a capital.
fn title(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut inside = false;
    for c in source.chars() {
        if inside {
            out.push(c)
        } else {
            out.extend(c.to_uppercase())
        }
        inside = if c.is_ascii() { c.is_ascii_alphanumeric() || c == '_' } else { !c.is_whitespace() };
    }
    out
}
