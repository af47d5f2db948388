//! Go's built-in template functions.

use kenning_gotext::url::query_escape;

use crate::value::Value;
use crate::{Scope, TEXT_BYTES_MAX, printf};

/// Calls one of Go's functions; the number of arguments is right.
pub(crate) fn call(name: &str, args: &[Value], scope: &dyn Scope) -> Result<Value, String> {
    let first = args.first().unwrap_or(&Value::Nil);
    match name {
        "print" => text(print(args)),
        "println" => text(println(args)),
        "printf" => match first {
            Value::Str(format) => text(printf::printf(format, args.get(1..).unwrap_or(&[]))?),
            other => Err(format!("wrong type for value; expected string; got {}", other.type_name())),
        },
        "html" => text(html(&print(args))),
        "js" => text(js(&print(args))),
        "urlquery" => text(query_escape(&print(args))),
        "not" => Ok(Value::Bool(!first.is_true())),
        "len" => len(first, scope),
        "index" => index(args, scope),
        "slice" => slice(args),
        _ => compare(name, args),
    }
}

fn text(text: String) -> Result<Value, String> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!("result longer than {TEXT_BYTES_MAX} bytes"));
    }
    Ok(Value::Str(text))
}

/// Values next to each other, with a space between two that are not texts.
#[must_use]
pub fn print(values: &[Value]) -> String {
    let mut out = String::new();
    let mut before_is_text = true;
    for (index, value) in values.iter().enumerate() {
        let is_text = matches!(value, Value::Str(_));
        if index > 0 && !is_text && !before_is_text {
            out.push(' ');
        }
        out.push_str(&value.display());
        before_is_text = is_text;
    }
    out
}

/// Values with spaces between them and a line end.
pub(crate) fn println(values: &[Value]) -> String {
    values.iter().map(Value::display).collect::<Vec<_>>().join(" ") + "\n"
}

pub(crate) fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '\0' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

pub(crate) fn js(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '<' | '>' | '&' | '=' => out.push_str(&format!("\\u{:04X}", c as u32)),
            c if c < ' ' => out.push_str(&format!("\\u{:04X}", c as u32)),
            c => out.push(c),
        }
    }
    out
}

pub(crate) fn len(value: &Value, scope: &dyn Scope) -> Result<Value, String> {
    let len = match value {
        Value::Str(text) => text.len(),
        Value::List(items) => items.len(),
        Value::Map(pairs) => pairs.len(),
        Value::Texts(pairs) => pairs.len(),
        Value::Labels => scope.labels().len(),
        other => return Err(format!("len of type {}", other.type_name())),
    };
    Ok(Value::Int(len as i64))
}

/// `index collection key key ...`
pub(crate) fn index(args: &[Value], scope: &dyn Scope) -> Result<Value, String> {
    let Some((first, keys)) = args.split_first() else { return Err("missing argument".to_owned()) };
    let mut value = first.clone();
    for key in keys {
        value = match (value, key) {
            (Value::Labels, Value::Str(name)) => Value::Str(scope.label(name).into_owned()),
            (Value::Texts(pairs), Value::Str(name)) => {
                let found = pairs.iter().find(|(known, _)| known == name);
                Value::Str(found.map_or_else(String::new, |(_, text)| text.clone()))
            }
            (Value::Map(pairs), Value::Str(name)) => {
                pairs.into_iter().find(|(known, _)| known == name).map_or(Value::Nil, |(_, value)| value)
            }
            (Value::List(items), Value::Int(at)) => usize::try_from(*at)
                .ok()
                .and_then(|at| items.into_iter().nth(at))
                .ok_or_else(|| format!("index out of range: {at}"))?,
            (Value::Str(text), Value::Int(at)) => {
                let byte = usize::try_from(*at).ok().and_then(|at| text.as_bytes().get(at).copied());
                Value::Int(i64::from(byte.ok_or_else(|| format!("index out of range: {at}"))?))
            }
            (value, _) => return Err(format!("can't index item of type {}", value.type_name())),
        };
    }
    Ok(value)
}

/// `slice collection from to`
pub(crate) fn slice(args: &[Value]) -> Result<Value, String> {
    let bound = |place: usize, default: usize| match args.get(place) {
        None => Ok(default),
        Some(Value::Int(n)) => usize::try_from(*n).map_err(|_| format!("index out of range: {n}")),
        Some(other) => Err(format!("cannot index slice/array with type {}", other.type_name())),
    };
    let bounds = |len: usize| {
        let (from, to) = (bound(1, 0)?, bound(2, len)?);
        match [from, to].into_iter().find(|at| *at > len) {
            Some(beyond) => Err(format!("index out of range: {beyond}")),
            None if from > to => Err(format!("invalid slice index: {from} > {to}")),
            None => Ok(from..to),
        }
    };
    match args.first() {
        Some(Value::Str(text)) => {
            let part = text.as_bytes().get(bounds(text.len())?).unwrap_or(&[]);
            Ok(Value::Str(String::from_utf8_lossy(part).into_owned()))
        }
        Some(Value::List(items)) => Ok(Value::List(items.get(bounds(items.len())?).unwrap_or(&[]).to_vec())),
        other => Err(format!("can't slice item of type {}", other.map_or("<nil>", Value::type_name))),
    }
}

/// `eq`, `ne`, `lt`, `le`, `gt` and `ge`. `eq` compares its first argument with every other one.
pub(crate) fn compare(name: &str, args: &[Value]) -> Result<Value, String> {
    let Some((left, rest)) = args.split_first() else { return Err("missing argument".to_owned()) };
    for right in rest {
        let ordering = match (left, right) {
            (Value::Str(a), Value::Str(b)) => Some(a.cmp(b)),
            (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
            (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
            (Value::Uint(a), Value::Uint(b)) => Some(a.cmp(b)),
            (Value::Duration(a), Value::Duration(b)) => Some(a.cmp(b)),
            (Value::Time(a), Value::Time(b)) => Some(a.cmp(b)),
            (Value::Bool(a), Value::Bool(b)) if matches!(name, "eq" | "ne") => Some(a.cmp(b)),
            (Value::Nil, Value::Nil) if matches!(name, "eq" | "ne") => Some(std::cmp::Ordering::Equal),
            (Value::Nil, _) | (_, Value::Nil) if matches!(name, "eq" | "ne") => None,
            (Value::Bool(_), Value::Bool(_)) => return Err("invalid type for comparison".to_owned()),
            _ => {
                let (left, right) = (left.type_name(), right.type_name());
                return Err(format!("incompatible types for comparison: {left} and {right}"));
            }
        };
        let holds = match name {
            "eq" => ordering.is_some_and(|o| o.is_eq()),
            "ne" => ordering.is_none_or(|o| o.is_ne()),
            "lt" => ordering.is_some_and(|o| o.is_lt()),
            "le" => ordering.is_some_and(|o| o.is_le()),
            "gt" => ordering.is_some_and(|o| o.is_gt()),
            _ => ordering.is_some_and(|o| o.is_ge()),
        };
        if holds || name != "eq" {
            return Ok(Value::Bool(holds));
        }
    }
    Ok(Value::Bool(false))
}
