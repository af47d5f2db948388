//! Values inside a template.

use kenning_model::Nanos;

use super::layout;
use kenning_query::text::float;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// No value.
    Nil,
    Str(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    Time(Nanos),
    List(Vec<Value>),
    /// By name.
    Map(Vec<(String, Value)>),
    /// All labels of the line; fields are looked up one by one.
    Labels,
}

impl Value {
    /// What `if` and `and` make of it.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Str(text) => !text.is_empty(),
            Self::Int(n) => *n != 0,
            Self::Float(n) => *n != 0.0,
            Self::Bool(flag) => *flag,
            Self::List(items) => !items.is_empty(),
            Self::Map(pairs) => !pairs.is_empty(),
            Self::Time(_) | Self::Labels => true,
        }
    }

    /// Go's name of its type.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Nil => "<nil>",
            Self::Str(_) => "string",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::Bool(_) => "bool",
            Self::Time(_) => "time.Time",
            Self::List(_) => "[]interface {}",
            Self::Map(_) => "map[string]interface {}",
            Self::Labels => "map[string]string",
        }
    }

    /// The text of `{{ value }}`.
    pub(super) fn print(&self) -> String {
        match self {
            Self::Nil => "<no value>".to_owned(),
            other => other.display(),
        }
    }

    /// The text of `%v`.
    pub(super) fn display(&self) -> String {
        match self {
            Self::Nil => "<nil>".to_owned(),
            Self::Str(text) => text.clone(),
            Self::Int(n) => n.to_string(),
            Self::Float(n) => float::general(*n),
            Self::Bool(flag) => flag.to_string(),
            Self::Time(time) => layout::default_text(*time),
            Self::List(items) => {
                format!("[{}]", items.iter().map(Self::display).collect::<Vec<_>>().join(" "))
            }
            Self::Map(pairs) => {
                let pairs = pairs.iter().map(|(name, value)| format!("{name}:{}", value.display()));
                format!("map[{}]", pairs.collect::<Vec<_>>().join(" "))
            }
            Self::Labels => "map[]".to_owned(),
        }
    }

    /// As an integer in the lenient way of sprig's functions: texts are read, what cannot be read is zero.
    pub(super) fn to_int(&self) -> i64 {
        match self {
            Self::Str(text) => text.trim_start_matches('+').parse().unwrap_or(0),
            Self::Int(n) => *n,
            Self::Float(n) => *n as i64,
            Self::Bool(flag) => i64::from(*flag),
            _ => 0,
        }
    }

    /// As a double in the same way.
    pub(super) fn to_float(&self) -> f64 {
        match self {
            Self::Str(text) => float::parse(text).unwrap_or(0.0),
            Self::Int(n) => *n as f64,
            Self::Float(n) => *n,
            Self::Bool(flag) => f64::from(u8::from(*flag)),
            _ => 0.0,
        }
    }
}

impl From<serde_json::Value> for Value {
    fn from(json: serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Nil,
            serde_json::Value::Bool(flag) => Self::Bool(flag),
            // Go reads every JSON number as a double.
            serde_json::Value::Number(n) => Self::Float(n.as_f64().unwrap_or(f64::NAN)),
            serde_json::Value::String(text) => Self::Str(text),
            serde_json::Value::Array(items) => Self::List(items.into_iter().map(Self::from).collect()),
            serde_json::Value::Object(map) => {
                let mut pairs: Vec<_> = map.into_iter().map(|(name, v)| (name, Self::from(v))).collect();
                pairs.sort_by(|a, b| a.0.cmp(&b.0));
                Self::Map(pairs)
            }
        }
    }
}
