//! Scalars as go-yaml v2 takes them, the reader that `prometheus.yml` has always been written for: `yes` is a boolean,
//! `1_000` a number, any plain scalar can be a text. The tree is `kenning_yaml`'s.

pub(crate) use kenning_yaml::{Content, Node};
use kenning_yaml::{SyntaxError, Tag, binary, integer};

/// What a scalar stands for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text,
    /// `!!binary`, which need not be UTF-8.
    Binary(Vec<u8>),
}

/// The first document of a text; `None` when there is none.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Node>, SyntaxError> {
    kenning_yaml::read(bytes).map(|document| document.root)
}

/// The short tag that Go's messages give a node.
pub(crate) fn tag(node: &Node) -> &'static str {
    match &node.content {
        Content::Sequence(_) => "!!seq",
        Content::Mapping(_) => "!!map",
        Content::Scalar(text) => match resolve(node, text) {
            Ok(Value::Null) => "!!null",
            Ok(Value::Bool(_)) => "!!bool",
            Ok(Value::Int(_)) => "!!int",
            Ok(Value::Float(_)) => "!!float",
            Ok(Value::Binary(_)) => "!!binary",
            Ok(Value::Text) | Err(_) => "!!str",
        },
    }
}

/// What the scalar `text` of a node stands for; an error when its tag does not fit.
pub(crate) fn resolve(node: &Node, text: &str) -> Result<Value, String> {
    match node.tag {
        _ if node.plain => Ok(resolve_plain(text)),
        Tag::Binary => binary(text)
            .map(Value::Binary)
            .ok_or_else(|| "!!binary value contains invalid base64 data".to_owned()),
        Tag::Null => Ok(Value::Null),
        Tag::Int | Tag::Float | Tag::Bool => Ok(resolve_plain(text)),
        _ => Ok(Value::Text),
    }
}

fn resolve_plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Value::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Value::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Value::Float(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        _ => {}
    }
    integer(text)
        .map(Value::Int)
        .or_else(|| float(&text.replace('_', "")).map(Value::Float))
        .unwrap_or(Value::Text)
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let numeric = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '-' | '+');
    let starts = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if !starts || !unsigned.chars().all(numeric) || !unsigned.contains(|c: char| c.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: Value) {
        let node = parse(text.as_bytes()).expect("YAML").expect("a document");
        assert_eq!(resolve(&node, node.text()), Ok(expect), "{text}");
    }

    #[test]
    fn scalars_are_what_go_takes_them_for() {
        check("yes", Value::Bool(true));
        check("'yes'", Value::Text);
        check("Off", Value::Bool(false));
        check("~", Value::Null);
        check("10", Value::Int(10));
        check("1_000", Value::Int(1000));
        check("0x1F", Value::Int(31));
        check("010", Value::Int(8));
        check("-5", Value::Int(-5));
        check("1.5", Value::Float(1.5));
        check(".5e3", Value::Float(500.0));
        check("1m", Value::Text);
        check("1.2.3", Value::Text);
        check("localhost", Value::Text);
        check("!!str 5", Value::Text);
        check("!!int '5'", Value::Int(5));
        check("!!binary /w==", Value::Binary(vec![0xff]));
        check("!!binary |\n  aGVs\n  bG8=\n", Value::Binary(b"hello".to_vec()));
        let node = parse(b"!!binary /w==$1").expect("YAML").expect("a document");
        assert!(resolve(&node, node.text()).is_err());
    }
}
