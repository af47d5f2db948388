//! Values inside a template.

use std::sync::Arc;

use kenning_gotext::{duration, float};
use kenning_model::Nanos;

use crate::layout;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// No value.
    Nil,
    /// A text.
    Str(String),
    /// A text that is HTML already.
    Html(String),
    /// An `int`.
    Int(i64),
    /// A `uint64`; only for numbers that no `int` holds.
    Uint(u64),
    /// A `float64`.
    Float(f64),
    /// A `bool`.
    Bool(bool),
    /// A `time.Time` in UTC.
    Time(Nanos),
    /// A `time.Duration`, in nanoseconds.
    Duration(i64),
    /// A list.
    List(Vec<Value>),
    /// A `map[string]interface {}`, by name.
    Map(Vec<(String, Value)>),
    /// A `map[string]string`, by name.
    Texts(Arc<Vec<(String, String)>>),
    /// A structure: a field that it does not have is an error.
    Struct(Arc<Struct>),
    /// The labels of the scope, a `map[string]string`; they are looked up one by one.
    Labels,
}

/// A structure's type and fields.
#[derive(Clone, Debug, PartialEq)]
pub struct Struct {
    /// Go's name of the type.
    pub type_name: &'static str,
    /// Fields in order.
    pub fields: Vec<(&'static str, Value)>,
}

impl Struct {
    /// A field's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

impl Value {
    /// A `map[string]string`.
    #[must_use]
    pub fn texts(mut pairs: Vec<(String, String)>) -> Self {
        pairs.sort();
        Self::Texts(Arc::new(pairs))
    }

    /// A structure.
    #[must_use]
    pub fn structure(type_name: &'static str, fields: Vec<(&'static str, Value)>) -> Self {
        Self::Struct(Arc::new(Struct { type_name, fields }))
    }

    /// What `if` and `and` make of it.
    #[must_use]
    pub fn is_true(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Str(text) | Self::Html(text) => !text.is_empty(),
            Self::Int(n) | Self::Duration(n) => *n != 0,
            Self::Uint(n) => *n != 0,
            Self::Float(n) => *n != 0.0,
            Self::Bool(flag) => *flag,
            Self::List(items) => !items.is_empty(),
            Self::Map(pairs) => !pairs.is_empty(),
            Self::Texts(pairs) => !pairs.is_empty(),
            Self::Time(_) | Self::Labels | Self::Struct(_) => true,
        }
    }

    /// Go's name of its type.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Nil => "<nil>",
            Self::Str(_) => "string",
            Self::Html(_) => "template.HTML",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint64",
            Self::Float(_) => "float64",
            Self::Bool(_) => "bool",
            Self::Time(_) => "time.Time",
            Self::Duration(_) => "time.Duration",
            Self::List(_) => "[]interface {}",
            Self::Map(_) => "map[string]interface {}",
            Self::Texts(_) | Self::Labels => "map[string]string",
            Self::Struct(object) => object.type_name,
        }
    }

    /// The text of `{{ value }}`.
    #[must_use]
    pub fn print(&self) -> String {
        match self {
            Self::Nil => "<no value>".to_owned(),
            other => other.display(),
        }
    }

    /// The text of `%v`.
    #[must_use]
    pub fn display(&self) -> String {
        match self {
            Self::Nil => "<nil>".to_owned(),
            Self::Str(text) | Self::Html(text) => text.clone(),
            Self::Int(n) => n.to_string(),
            Self::Uint(n) => n.to_string(),
            Self::Float(n) => float::general(*n),
            Self::Bool(flag) => flag.to_string(),
            Self::Time(time) => layout::default_text(*time),
            Self::Duration(nanos) => duration::format_go(*nanos),
            Self::List(items) => {
                format!("[{}]", items.iter().map(Self::display).collect::<Vec<_>>().join(" "))
            }
            Self::Map(pairs) => {
                let pairs = pairs.iter().map(|(name, value)| format!("{name}:{}", value.display()));
                format!("map[{}]", pairs.collect::<Vec<_>>().join(" "))
            }
            Self::Texts(pairs) => {
                let pairs = pairs.iter().map(|(name, value)| format!("{name}:{value}"));
                format!("map[{}]", pairs.collect::<Vec<_>>().join(" "))
            }
            Self::Struct(object) => {
                let fields = object.fields.iter().map(|(_, value)| value.display());
                format!("{{{}}}", fields.collect::<Vec<_>>().join(" "))
            }
            Self::Labels => "map[]".to_owned(),
        }
    }

    /// As an integer in the lenient way of sprig's functions: texts are read, what cannot be read is zero.
    #[must_use]
    pub fn to_int(&self) -> i64 {
        match self {
            Self::Str(text) => integer_in(text).unwrap_or(0),
            Self::Int(n) | Self::Duration(n) => *n,
            Self::Uint(n) => i64::try_from(*n).unwrap_or(i64::MAX),
            Self::Float(n) => *n as i64,
            Self::Bool(flag) => i64::from(*flag),
            _ => 0,
        }
    }

    /// As a double in the same way.
    #[must_use]
    pub fn to_float(&self) -> f64 {
        match self {
            Self::Str(text) => float::parse(text).unwrap_or(0.0),
            Self::Int(n) => *n as f64,
            Self::Uint(n) => *n as f64,
            Self::Float(n) => *n,
            Self::Bool(flag) => f64::from(u8::from(*flag)),
            _ => 0.0,
        }
    }
}

/// An integer as the library behind sprig reads it: decimals are cut off, `0x`, `0o`, `0b` and a leading zero tell the base.
fn integer_in(text: &str) -> Option<i64> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, text.get(1..)?),
        b'+' => (1, text.get(1..)?),
        _ => (1, text),
    };
    let digits = match digits.split_once('.') {
        Some((whole, places)) if places.bytes().all(|b| b.is_ascii_digit()) => {
            if whole.is_empty() {
                "0"
            } else {
                whole
            }
        }
        _ => digits,
    };
    let lower = digits.to_ascii_lowercase();
    let (body, base) = match lower.as_bytes() {
        [b'0', b'x', ..] => (lower.get(2..)?, 16),
        [b'0', b'o', ..] => (lower.get(2..)?, 8),
        [b'0', b'b', ..] => (lower.get(2..)?, 2),
        [b'0', _, ..] => (lower.get(1..)?, 8),
        _ => (lower.as_str(), 10),
    };
    if body.starts_with(['+', '-']) {
        return None;
    }
    i64::from_str_radix(&body.replace('_', ""), base).ok().map(|n| sign * n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_as_integers() {
        for (text, number) in [
            ("5", 5),
            ("-7", -7),
            ("2.75", 2),
            ("-.5", 0),
            ("0x1F", 31),
            ("010", 8),
            ("1_000", 1000),
            ("1e3", 0),
            ("", 0),
            ("-", 0),
            ("x", 0),
            ("--1", 0),
        ] {
            assert_eq!(Value::Str(text.to_owned()).to_int(), number, "{text}");
        }
    }
}
