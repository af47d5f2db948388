//! What is tailed: the list `logs.files` of `kenning.yaml`.

use std::collections::HashSet;
use std::fmt::Display;
use std::sync::Arc;

use kenning_model::LabelSet;
use kenning_receivers::tail::source::{Encoding, FileSource, Format, Multiline, Start};
use kenning_stages::{Context, LineLabels, Pipeline, Report, node_of};
use kenning_stdx::bytesize::{ByteSize, TimeSpan};
use serde_json::{Map, Value};

/// Most sources.
const SOURCES_MAX: usize = 64;
/// Most lines of a record that may be asked for.
const LINES_MAX: u64 = 10_000;

/// The sources; every mistake otherwise, each with the place of its field.
pub(super) fn sources(list: &Value, context: Context<'_>) -> Result<Vec<FileSource>, Vec<String>> {
    let Some(list) = list.as_array() else { return Err(vec!["must be a list".to_owned()]) };
    let mut problems = Vec::new();
    if list.len() > SOURCES_MAX {
        problems.push(format!("has {} entries; at most {SOURCES_MAX} work", list.len()));
    }
    let (mut read, mut names) = (Vec::new(), HashSet::new());
    for (place, entry) in list.iter().enumerate().take(SOURCES_MAX) {
        let mut fields = Fields { at: format!("[{place}]"), problems: &mut problems };
        let Some(entry) = entry.as_object() else {
            fields.wrong("", "must be a mapping");
            continue;
        };
        let source = source(entry, context, &mut fields);
        if !names.insert(source.name.clone()) {
            fields.wrong(
                "name",
                format!("{:?} is taken by an earlier entry; positions are kept by name", source.name),
            );
        }
        read.push(source);
    }
    if problems.is_empty() { Ok(read) } else { Err(problems) }
}

struct Fields<'a> {
    at: String,
    problems: &'a mut Vec<String>,
}

impl Fields<'_> {
    fn wrong(&mut self, field: &str, problem: impl Display) {
        let dot = if field.is_empty() { "" } else { "." };
        self.problems.push(format!("{}{dot}{field}: {problem}", self.at));
    }

    fn read<T>(
        &mut self,
        field: &str,
        value: &Value,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => {
                self.wrong(field, "must be a text");
                return None;
            }
        };
        read(&text).map_err(|problem| self.wrong(field, problem)).ok()
    }

    fn word<T>(
        &mut self,
        field: &str,
        value: &Value,
        of: fn(&str) -> Option<T>,
        words: &[&str],
    ) -> Option<T> {
        let problem = |word: &str| format!("{word:?} is none of {}", words.join(", "));
        self.read(field, value, |word| of(word).ok_or_else(|| problem(word)))
    }

    fn patterns(&mut self, field: &str, value: &Value) -> Vec<String> {
        let one = |value: &Value| value.as_str().map(str::to_owned);
        let patterns: Option<Vec<_>> = match value {
            Value::Array(list) => list.iter().map(one).collect(),
            value => one(value).map(|pattern| vec![pattern]),
        };
        let patterns = patterns.unwrap_or_else(|| {
            self.wrong(field, "must be a pattern or a list of patterns");
            Vec::new()
        });
        if let Some(relative) = patterns.iter().find(|pattern| !pattern.starts_with('/')) {
            self.wrong(field, format!("{relative:?} must be an absolute path"));
        }
        patterns
    }

    fn labels(&mut self, field: &str, value: &Value) -> LabelSet {
        let Some(pairs) = value.as_object() else {
            self.wrong(field, "must be a mapping of names to texts");
            return LabelSet::empty();
        };
        let mut labels = Vec::new();
        for (name, value) in pairs {
            if let Some(value) = self.read(&format!("{field}.{name}"), value, |text| Ok(text.to_owned())) {
                labels.push((name.as_str(), value));
            }
        }
        LabelSet::from_pairs(labels)
    }

    fn multiline(&mut self, field: &str, value: &Value) -> Option<Multiline> {
        let Some(parts) = value.as_object() else {
            self.wrong(field, "must be a mapping with first_line");
            return None;
        };
        let first = parts
            .get("first_line")
            .map(|first| self.read(&format!("{field}.first_line"), first, Multiline::starting_with));
        let Some(first) = first else {
            self.wrong(field, "needs first_line, a regular expression");
            return None;
        };
        let mut multiline = first?;
        for (name, value) in parts {
            let field = format!("{field}.{name}");
            match name.as_str() {
                "first_line" => {}
                "max_lines" => match value.as_u64().filter(|lines| (1..=LINES_MAX).contains(lines)) {
                    Some(lines) => multiline.lines_max = lines as usize,
                    None => self.wrong(&field, format!("must be a number from 1 to {LINES_MAX}")),
                },
                "max_wait" => {
                    let span = |text: &str| text.parse().map_err(|error| format!("{error}"));
                    if let Some(TimeSpan(wait)) = self.read(&field, value, span) {
                        multiline.wait_max = wait;
                    }
                }
                _ => self.wrong(&field, "is not known; known are first_line, max_lines, max_wait"),
            }
        }
        Some(multiline)
    }
}

fn source(entry: &Map<String, Value>, context: Context<'_>, fields: &mut Fields<'_>) -> FileSource {
    let include = entry.get("include").map(|value| fields.patterns("include", value)).unwrap_or_default();
    if include.is_empty() {
        fields.wrong("include", "needs at least one pattern");
    }
    let first = include.first().cloned().unwrap_or_default();
    let mut source = FileSource::new(&first, include);
    for (name, value) in entry {
        match name.as_str() {
            "include" => {}
            "name" => {
                let name = fields.read("name", value, |name| Ok(name.to_owned()));
                source.name = name.unwrap_or_default().into();
            }
            "exclude" => source.exclude = fields.patterns("exclude", value),
            "format" => {
                let word = fields.word("format", value, Format::from_word, Format::WORDS);
                source.format = word.unwrap_or(source.format);
            }
            "encoding" => {
                let word = fields.word("encoding", value, Encoding::from_word, Encoding::WORDS);
                source.encoding = word.unwrap_or(source.encoding);
            }
            "start" => {
                let word = fields.word("start", value, Start::from_word, Start::WORDS);
                source.start = word.unwrap_or(source.start);
            }
            "labels" => source.labels = fields.labels("labels", value),
            "multiline" => source.multiline = fields.multiline("multiline", value),
            "line_bytes" => {
                let size = |text: &str| text.parse().map_err(|error| format!("{error}"));
                if let Some(ByteSize(bytes)) = fields.read("line_bytes", value, size) {
                    source.line_bytes_max = usize::try_from(bytes).unwrap_or(usize::MAX).max(1);
                }
            }
            "pipeline" | "line_labels" => {}
            _ => fields.wrong(
                name,
                "is not known; known are name, include, exclude, format, encoding, start, labels, multiline, line_bytes, pipeline, line_labels",
            ),
        }
    }
    let line_labels = line_labels(entry, fields);
    match entry.get("pipeline").filter(|stages| !stages.is_null()) {
        Some(stages) => pipeline(&mut source, stages, entry.contains_key("multiline"), context, fields),
        None if line_labels.is_empty() => {}
        None => source.stages = Some(Arc::new(LineLabels::new(&line_labels, &source.labels))),
    }
    source
}

/// The labels that are taken out of lines where no stages are written: all there are, unless the settings name some.
fn line_labels(entry: &Map<String, Value>, fields: &mut Fields<'_>) -> Vec<String> {
    let Some(value) = entry.get("line_labels") else { return LineLabels::NAMES.map(str::to_owned).to_vec() };
    let names =
        value.as_array().map(|names| names.iter().filter_map(Value::as_str).map(str::to_owned).collect());
    let names: Vec<String> = names.unwrap_or_else(|| vec![value.to_string()]);
    let known = LineLabels::NAMES.join(", ");
    if let Some(name) = names.iter().find(|name| !LineLabels::NAMES.contains(&name.as_str())) {
        fields.wrong("line_labels", format!("{name:?} is none of {known}"));
    }
    if entry.contains_key("pipeline") && !names.is_empty() {
        fields.wrong("line_labels", "cannot stand beside pipeline; write a stage labels instead");
    }
    names
}

fn pipeline(
    source: &mut FileSource,
    stages: &Value,
    has_multiline: bool,
    context: Context<'_>,
    fields: &mut Fields<'_>,
) {
    let mut report = Report::default();
    let at = format!("{}.pipeline", fields.at);
    let (front, pipeline) = Pipeline::read_for_files(&at, &node_of(stages), context, &mut report);
    if has_multiline && front.multiline.is_some() {
        fields.wrong("multiline", "stands beside the stage multiline; keep one of them");
    }
    super::promtail::front(source, &front);
    source.stages = (!pipeline.is_empty()).then(|| Arc::new(pipeline) as _);
    fields.problems.extend(report.problems);
}

#[cfg(test)]
mod tests {
    use kenning_pipeline::geoip::GeoDatabases;
    use kenning_stages::LogMetrics;
    use kenning_stdx::files::RealFiles;

    use super::*;

    /// Whether sources are as expected.
    type Holds = fn(&[FileSource]) -> bool;

    fn check(yaml: &str, expect: Result<Holds, &[&str]>) {
        let value = super::super::layer::parse_yaml(yaml).ok().flatten().unwrap_or_default();
        let (metrics, databases) = (LogMetrics::default(), GeoDatabases::default());
        let context = Context { metrics: &metrics, databases: &databases, files: &RealFiles };
        match (sources(&value, context), expect) {
            (Ok(sources), Ok(holds)) => assert!(holds(&sources), "{sources:?}"),
            (Err(problems), Err(parts)) => {
                let told = problems.join("\n");
                parts.iter().for_each(|part| assert!(told.contains(part), "{told}"));
            }
            (outcome, _) => panic!("{yaml} gave {outcome:?}"),
        }
    }

    #[test]
    fn sources_are_read() {
        check("[]", Ok(|sources| sources.is_empty()));
        check(
            "- include: /var/log/*.log",
            Ok(|s| &*s[0].name == "/var/log/*.log" && s[0].format == Format::Auto),
        );
        check(
            "- {name: d, include: [/a, /b], exclude: /b, format: docker, encoding: utf-16le, start: end, line_bytes: 1KiB, labels: {job: x, n: 1}}",
            Ok(|s| {
                &*s[0].name == "d"
                    && s[0].include.len() == 2
                    && s[0].start == Start::End
                    && s[0].line_bytes_max == 1024
                    && s[0].labels.get("n") == "1"
            }),
        );
        check(
            "- {include: /a, pipeline: [{docker: {}}, {multiline: {firstline: '^x', max_lines: 7}}, {labeldrop: [a]}]}",
            Ok(|s| {
                let lines = s[0].multiline.as_ref().map(|multiline| multiline.lines_max);
                s[0].format == Format::Docker && lines == Some(7) && s[0].stages.is_some()
            }),
        );
        check("- {include: /a, line_labels: []}", Ok(|s| s[0].stages.is_none()));
        check("- {include: /a, line_labels: [level]}", Ok(|s| s[0].stages.is_some()));
        check(
            "- {include: /a, multiline: {first_line: '^\\d', max_lines: 5, max_wait: 1s}}",
            Ok(|s| s[0].multiline.as_ref().is_some_and(|m| m.lines_max == 5 && m.wait_max.as_secs() == 1)),
        );
    }

    #[test]
    fn every_mistake_is_told_with_its_place() {
        check("{}", Err(&["must be a list"]));
        check("- {format: docker}", Err(&["[0].include: needs"]));
        check(
            "- {include: a, format: xml, start: 3, pipe: []}\n- 5",
            Err(&[
                "[0].include: \"a\" must be",
                "[0].format: \"xml\" is none of auto",
                "[0].start",
                "[0].pipe: is not known",
                "[1]: must",
            ]),
        );
        check("- include: /a\n- include: /a", Err(&["[1].name: \"/a\" is taken"]));
        check(
            "- {include: /a, multiline: {first_line: '(', max_lines: 0}}",
            Err(&["[0].multiline.first_line"]),
        );
        check("- {include: /a, multiline: {max_lines: 1}}", Err(&["needs first_line"]));
        check(
            "- {include: /a, line_labels: [level, job], pipeline: [{multiline: {firstline: x}}, {json: {}}], multiline: {first_line: y}}",
            Err(&[
                "[0].pipeline[1].json.expressions: is missing",
                "[0].multiline: stands beside the stage",
                "[0].line_labels: \"job\" is none of",
                "[0].line_labels: cannot stand beside pipeline",
            ]),
        );
    }
}
