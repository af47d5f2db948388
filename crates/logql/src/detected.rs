//! Fields that a line has although its query does not parse it: JSON if it is JSON, else logfmt.
//!
//! Definition: Loki's `detected_fields`. Bounded by the line.

use std::borrow::Cow;

use kenning_gotext::duration;
use kenning_model::LabelSet;

use crate::pipeline::{Category, LineLabels, json_path, parse_json, parse_logfmt};

/// The fields of a line.
#[derive(Clone, Debug, PartialEq)]
pub struct DetectedFields {
    /// The stage that finds them: `json` or `logfmt`.
    pub parser: &'static str,
    /// Their names, as that stage makes labels of them, and their values.
    pub fields: LabelSet,
}

/// The fields of a line of a stream; `None` for a line that neither parser reads.
#[must_use]
pub fn detected_fields(stream: &LabelSet, line: &str) -> Option<DetectedFields> {
    read(stream, line, "json", parse_json).or_else(|| read(stream, line, "logfmt", parse_logfmt))
}

fn read<'l>(
    stream: &'l LabelSet,
    line: &'l str,
    parser: &'static str,
    parse: fn(Cow<'l, str>, &mut LineLabels<'l>),
) -> Option<DetectedFields> {
    let mut labels = LineLabels::new(stream);
    parse(Cow::Borrowed(line), &mut labels);
    let is_read = labels.error().is_empty();
    is_read.then(|| DetectedFields { parser, fields: labels.layer_set(Category::Parsed) })
}

/// The names on the way to the JSON field that the `json` stage calls `label`; empty when there is none.
#[must_use]
pub fn detected_json_path(label: &str, line: &str) -> Vec<String> {
    json_path(label, line)
}

/// What a field's value looks like: `int`, `float`, `boolean`, `duration`, `bytes` or `string`.
#[must_use]
pub fn detected_type(value: &str) -> &'static str {
    if value.parse::<i64>().is_ok() {
        "int"
    } else if value.parse::<f64>().is_ok() {
        "float"
    } else if matches!(value, "t" | "T" | "true" | "True" | "TRUE" | "f" | "F" | "false" | "False" | "FALSE")
    {
        "boolean"
    } else if duration::parse_go(value).is_ok() {
        "duration"
    } else if kenning_gotext::size::parse(value).is_ok() {
        "bytes"
    } else {
        "string"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_told_from_values() {
        let check = |value, expect| assert_eq!(detected_type(value), expect, "{value}");
        check("12", "int");
        check("-3", "int");
        check("1.5", "float");
        check("1e3", "float");
        check("true", "boolean");
        check("F", "boolean");
        check("1", "int");
        check("1h30m", "duration");
        check("10ms", "duration");
        check("12 MB", "bytes");
        check("5KiB", "bytes");
        check("GET", "string");
        check("", "string");
        check("1 apple", "string");
    }

    #[test]
    fn lines_are_read_as_json_then_as_logfmt() {
        let stream = LabelSet::from_pairs([("app", "a")]);
        let check = |line: &str, expect: Option<(&str, &[(&str, &str)])>| {
            let found = detected_fields(&stream, line);
            let expect =
                expect.map(|(parser, fields)| (parser, LabelSet::from_pairs(fields.iter().copied())));
            assert_eq!(found.map(|found| (found.parser, found.fields)), expect, "{line}");
        };
        check(r#"{"a":{"b":1},"app":"x"}"#, Some(("json", &[("a_b", "1"), ("app_extracted", "x")])));
        check("status=200 path=/", Some(("logfmt", &[("status", "200"), ("path", "/")])));
        check("plain words", Some(("logfmt", &[])));
    }

    #[test]
    fn a_json_field_is_found_by_its_label() {
        let line = r#"{"a":{"b-c":1,"d":[2]},"app":"x","u":{"v":{"w":3}}}"#;
        let check = |label, expect: &[&str]| assert_eq!(detected_json_path(label, line), expect, "{label}");
        check("a_b_c", &["a", "b-c"]);
        check("app_extracted", &["app"]);
        check("u_v_w", &["u", "v", "w"]);
        check("nothing", &[]);
    }
}
