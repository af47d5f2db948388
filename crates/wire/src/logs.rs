//! What logs of every protocol share: finding a record's level. Order and field names are Loki's (`discover_log_levels`):
//! stream labels, structured metadata, a JSON or logfmt key in the line, then level words that stand alone in its text.
//!
//! Differs from Loki: words are looked for in the first [`WORDS_BYTES`] of a line, and at every place instead of the
//! first only ("errors: one error" is an error).

use std::borrow::Cow;

use kenning_model::{LabelSet, Severity};

use crate::json::{Json, Kind};

/// The name under which the level is kept in structured metadata.
pub const DETECTED_LEVEL: &str = "detected_level";

/// Names that carry a level, compared without case.
const LEVEL_FIELDS: [&str; 6] = ["level", "log.level", "severity", "severitytext", "lvl", "severity_text"];

/// Levels of JSON objects that are searched for a level field, as Loki's default.
const JSON_LEVELS: usize = 2;

/// A record's level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level<'a> {
    /// As a number.
    pub severity: Severity,
    /// As the word of `detected_level`: `trace`, `debug`, `info`, `warn`, `error`, `critical`, `fatal`, `unknown`, or
    /// what a label said when it is none of these.
    pub word: &'a str,
}

/// Finds the level of a record.
#[must_use]
pub fn detect_level<'a>(labels: &'a LabelSet, metadata: &'a LabelSet, line: &'a str) -> Level<'a> {
    detect(labels, metadata.iter(), line)
}

/// As [`detect_level`], with metadata not yet packed.
pub(crate) fn detect<'a>(
    labels: &'a LabelSet,
    metadata: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    line: &'a str,
) -> Level<'a> {
    let told = metadata.clone().find(|(name, value)| *name == DETECTED_LEVEL && !value.is_empty());
    let word = told.map(|(_, value)| value).or_else(|| among(labels.iter())).or_else(|| among(metadata));
    match word {
        Some(word) => Level { severity: Severity::from_word(word), word: canonical_word(word) },
        None => of_line(line),
    }
}

/// The value of the most telling field.
fn among<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Option<&'a str> {
    pairs
        .filter(|(_, value)| !value.is_empty())
        .filter_map(|(name, value)| Some((rank(name)?, value)))
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, value)| value)
}

fn rank(name: &str) -> Option<usize> {
    // Two dozen comparisons per record are cheap once the length has spoken.
    LEVEL_FIELDS.iter().position(|field| field.len() == name.len() && field.eq_ignore_ascii_case(name))
}

/// The spelling that `detected_level` uses for a level word; other words stay.
pub(crate) fn canonical_word(word: &str) -> &str {
    let trimmed = word.trim();
    if trimmed.eq_ignore_ascii_case("critical") || trimmed.eq_ignore_ascii_case("crit") {
        return "critical";
    }
    match Severity::from_word(word) {
        Severity::UNKNOWN => word,
        known => known.as_str(),
    }
}

fn of_line(line: &str) -> Level<'static> {
    let trimmed = line.trim();
    let word = if trimmed.starts_with('{') && trimmed.ends_with('}') {
        of_json(&mut Json::new(trimmed, JSON_LEVELS), JSON_LEVELS)
    } else if memchr::memchr(b'=', line.as_bytes()).is_some() {
        of_logfmt(line).map(Cow::Borrowed)
    } else {
        None
    };
    let severity = word.as_deref().map_or(Severity::UNKNOWN, Severity::from_word);
    if severity == Severity::UNKNOWN {
        return of_words(line);
    }
    let critical = word.is_some_and(|word| canonical_word(&word) == "critical");
    Level { severity, word: if critical { "critical" } else { severity.as_str() } }
}

/// How much of a line is searched for level words: they stand at its start, and a stack trace behind it has many words.
const WORDS_BYTES: usize = 1024;

/// Words that tell a level wherever they stand, in Loki's order: the first of them that is there decides.
const WORDS: [(&str, &str); 9] = [
    ("trace", "trace"),
    ("debug", "debug"),
    ("fatal", "fatal"),
    ("critical", "critical"),
    ("error", "error"),
    ("err", "error"),
    ("warning", "warn"),
    ("warn", "warn"),
    ("info", "info"),
];

fn of_words(line: &str) -> Level<'static> {
    let searched = crate::text::cut(line, WORDS_BYTES).as_bytes();
    let is_inner = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_' || !b.is_ascii();
    let place = |word: &[u8]| match word.len() {
        3..=8 => WORDS.iter().position(|(known, _)| known.as_bytes().eq_ignore_ascii_case(word)),
        _ => None,
    };
    let found = searched.split(|b| !is_inner(b)).filter_map(place).min();
    let word = found.and_then(|place| WORDS.get(place)).map_or("unknown", |(_, level)| *level);
    Level { severity: Severity::from_word(word), word }
}

/// Reads until the field or until the document stops being JSON.
fn of_json<'a>(json: &mut Json<'a>, levels: usize) -> Option<Cow<'a, str>> {
    json.open(b'{').ok()?;
    let mut first = true;
    while let Some(key) = json.key(&mut first).ok()? {
        match json.peek().ok()? {
            Kind::Text if rank(&key).is_some() => return json.text().ok(),
            Kind::Object if levels > 1 => {
                if let Some(found) = of_json(json, levels - 1) {
                    return Some(found);
                }
            }
            _ => json.skip().ok()?,
        }
    }
    None
}

/// Finds the most telling `key=value` of a logfmt line; values may be quoted.
fn of_logfmt(line: &str) -> Option<&str> {
    let mut rest = line;
    let mut best: Option<(usize, &str)> = None;
    while let Some(equals) = memchr::memchr(b'=', rest.as_bytes()) {
        let (before, after) = (rest.get(..equals)?, rest.get(equals + 1..)?);
        let key = before.rsplit(|c: char| c.is_whitespace()).next().unwrap_or_default();
        let (value, left) = logfmt_value(after);
        if let Some(rank) = rank(key).filter(|rank| best.is_none_or(|(known, _)| *rank < known)) {
            best = Some((rank, value));
        }
        rest = left;
    }
    best.map(|(_, value)| value)
}

/// The value at the start of `text`, and what follows it.
fn logfmt_value(text: &str) -> (&str, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        return text.split_at_checked(end).unwrap_or((text, ""));
    };
    let mut escaped = false;
    for (i, c) in quoted.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return (quoted.get(..i).unwrap_or(""), quoted.get(i + 1..).unwrap_or("")),
            _ => {}
        }
    }
    (quoted, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(labels: &[(&str, &str)], metadata: &[(&str, &str)], line: &str, expect: &str) {
        let labels = LabelSet::from_pairs(labels.iter().copied());
        let metadata = LabelSet::from_pairs(metadata.iter().copied());
        assert_eq!(detect_level(&labels, &metadata, line).word, expect, "{line}");
    }

    #[test]
    fn labels_before_metadata_before_line() {
        check(&[("level", "WARN")], &[("severity", "error")], "level=debug", "warn");
        check(&[], &[("severity", "error")], "level=debug", "error");
        check(&[], &[("detected_level", "Critical")], "level=debug", "critical");
        check(&[("level", "verbose")], &[], "", "verbose");
        check(&[("app", "x")], &[], "plain text without a level", "unknown");
    }

    #[test]
    fn words_in_the_line() {
        check(&[], &[], "2026-11-21 [ERROR] it broke, for your information", "error");
        check(&[], &[], "info: nothing to warn about", "warn");
        check(&[], &[], "WARNING disk", "warn");
        check(&[], &[], "errors, warned, terror, my_error", "unknown");
        check(&[], &[], "CRITICAL!", "critical");
        check(&[], &[], r#"{"msg":"no level, but an error"}"#, "error");
        check(&[], &[], &format!("{} error", "x ".repeat(600)), "unknown");
    }

    #[test]
    fn keys_in_the_line() {
        check(&[], &[], r#"{"msg":"x","level":"error"}"#, "error");
        check(&[], &[], r#" {"LEVEL":"Information"} "#, "info");
        check(&[], &[], r#"{"log":{"level":"fatal"}}"#, "fatal");
        check(&[], &[], r#"{"a":{"b":{"level":"dbg"}}}"#, "unknown");
        check(&[], &[], r#"{"level":30,"severity":"warn"}"#, "warn");
        check(&[], &[], r#"{"level": broken}"#, "unknown");
        check(&[], &[], "ts=1 level=dbg msg=\"level=error\"", "debug");
        check(&[], &[], "msg=\"a \\\" level=error\" lvl=\"wrn\"", "warn");
        check(&[], &[], "severity=info level=error", "error");
        check(&[], &[], "a=b", "unknown");
        check(&[], &[], "=", "unknown");
    }
}
