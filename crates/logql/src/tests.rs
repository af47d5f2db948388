//! Loki's own tables: parser, printer, line filters, stage parsers, formatters. Each list of known failures may only
//! shrink.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a missing corpus and the counts must be seen")]

mod stages;
mod words;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kenning_model::{LabelSet, Nanos};
use serde_json::Value as Json;

use crate::pattern::Pattern;
use crate::pipeline::{Category, Clock, LineLabels, Pipeline};
use crate::syntax::ast::{Expr, Extraction, LabelFormat, LabelSource, Stage, StageKind};
use crate::{error_text, format, parse, syntax};

fn json(file: &str) -> Option<Json> {
    let root = std::env::var("KENNING_CORPUS")
        .map_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus"), PathBuf::from);
    let path = root.join("logql").join(file);
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("SKIPPED: {} is missing", path.display());
        return None;
    };
    Some(serde_json::from_str(&text).unwrap())
}

struct Tally {
    what: &'static str,
    known: &'static [&'static str],
    passed: usize,
    failed: Vec<(String, String)>,
}

impl Tally {
    fn new(what: &'static str, known: &'static [&'static str]) -> Self {
        Self { what, known, passed: 0, failed: Vec::new() }
    }

    fn add(&mut self, name: &str, result: Result<(), String>) {
        match result {
            Ok(()) => self.passed += 1,
            Err(why) => self.failed.push((name.to_owned(), why)),
        }
    }

    fn equal<T: PartialEq + std::fmt::Debug>(&mut self, name: &str, got: T, want: T) {
        let result = if got == want { Ok(()) } else { Err(format!("\n  got  {got:?}\n  want {want:?}")) };
        self.add(name, result);
    }

    fn settle(self) {
        println!("{}: {} passed, {} failed", self.what, self.passed, self.failed.len());
        let news: Vec<_> =
            self.failed.iter().filter(|(name, _)| !self.known.contains(&name.as_str())).collect();
        let report: String = news.iter().map(|(name, why)| format!("{name}: {why}\n")).collect();
        assert!(news.is_empty(), "{}: {} new failures\n{report}", self.what, news.len());
        for known in self.known {
            assert!(
                self.failed.iter().any(|(name, _)| name == known),
                "{known:?} passes now; take it off the list"
            );
        }
    }
}

fn text(json: &Json) -> &str {
    json.as_str().unwrap_or("")
}

fn items(json: &Json) -> &[Json] {
    json.as_array().map_or(&[], Vec::as_slice)
}

fn first_error(query: &str) -> Option<String> {
    parse(query).err().and_then(|errors| errors.into_iter().next()).map(|error| error.message)
}

#[test]
fn queries_parse_or_fail_as_in_loki() {
    let Some(cases) = json("syntax/parse.json") else { return };
    let mut tally = Tally::new("parse", &[]);
    for case in items(&cases) {
        let Some(query) = case["query"].as_str() else { continue };
        match (case["ok"].as_bool().unwrap(), first_error(query)) {
            (true, None) => tally.add(query, Ok(())),
            (true, Some(error)) => tally.add(query, Err(error)),
            (false, got) => {
                let want = text(&case["err"]);
                // The reason a regular expression is refused is the engine's to word.
                let shown = |text: &str| text.split(": error parsing regexp").next().unwrap_or("").to_owned();
                tally.equal(query, got.map(|got| shown(&got)), Some(shown(want)));
            }
        }
    }
    tally.settle();
}

#[test]
fn errors_read_as_lokis() {
    let Some(golden) = json("syntax/format_query_golden.json") else { return };
    let mut tally = Tally::new("error texts", &[]);
    for case in items(&golden) {
        let (Some(query), Some(want)) = (case["query"].as_str(), case["loki_3.7.6"]["error"].as_str()) else {
            continue;
        };
        let got = parse(query).map_err(|errors| error_text(query, &errors));
        // The reason a regular expression is refused is the engine's to word.
        let shown = |text: &str| text.split(": error parsing regexp").next().unwrap_or("").to_owned();
        tally.equal(query, got.err().map(|got| shown(&got)), Some(shown(want)));
    }
    tally.settle();
}

#[test]
fn matchers_and_refusals() {
    let (Some(more), Some(must_fail)) = (json("syntax/parse_more.json"), json("syntax/must_fail.json"))
    else {
        return;
    };
    let mut tally = Tally::new("parse more", &[]);
    for case in items(&more).iter().filter(|case| case["labels"].is_null()) {
        let query = text(&case["query"]);
        let good =
            if case["matchers_only"] == true { crate::selector(query).is_ok() } else { parse(query).is_ok() };
        tally.equal(query, good, case["ok"].as_bool().unwrap());
    }
    for query in items(&must_fail) {
        tally.equal(text(query), parse(text(query)).is_ok(), false);
    }
    tally.settle();
}

#[test]
fn text_and_tree_agree() {
    let (Some(round), Some(stringer)) = (json("syntax/roundtrip.json"), json("syntax/stringer.json")) else {
        return;
    };
    let mut tally = Tally::new("canonical text", &[]);
    for case in items(&round) {
        let query = text(&case["query"]);
        let once = parse(query).map(|expr| expr.to_string()).unwrap_or_else(|e| format!("{e:?}"));
        let twice = parse(&once).map(|expr| expr.to_string()).unwrap_or_else(|e| format!("{e:?}"));
        tally.equal(query, twice, once);
    }
    for case in items(&stringer) {
        let query = text(&case["in"]);
        let got = parse(query).map(|expr| expr.to_string()).map_err(|e| format!("{e:?}"));
        tally.equal(query, got, Ok(text(&case["out"]).to_owned()));
    }
    tally.settle();
}

/// Where Loki's formatter loses something of the query and this one does not.
const FORMATS_KNOWN: &[&str] = &[
    // `on ()` and the grouping of vectors are kept.
    "\n\t\t\tsum by (app,machine) (count_over_time({app=\"foo\"}[1m])) > bool on () group_right (app) sum by (app) (count_over_time({app=\"foo\"}[1m]))\n\t\t\t\t\t",
    "\n\t\t\tsum by (app,machine) (count_over_time({app=\"foo\"}[1m])) > bool on () group_right sum by (app) (count_over_time({app=\"foo\"}[1m]))\n\t\t\t\t\t",
    // A bug of Loki 3.7 that its main branch has fixed.
    r#"{app="foo"} |= "baz" or ip("10.0.0.0/8") or ip("192.168.0.0/16")"#,
    r#"{app="foo"} |= ip("10.0.0.0/8") or ip("192.168.0.0/16") or ip("172.16.0.0/12") or "baz""#,
    // `by ()` is kept.
    r#"avg_over_time({service_name="claude-code"} | event_name="api_request" | user_email=~"xyz" | model=~"xyz" | unwrap cache_read_tokens | __error__="" [5m]) by ()  or vector(0)"#,
    r#"avg_over_time({service_name="claude-code"} | event_name="api_request" | user_email=~"xyz" | model=~"xyz" | unwrap input_tokens | __error__="" [5m]) by ()  or vector(0)"#,
    r#"quantile_over_time(0.5, {service_name="claude-code"} | event_name="api_request" | user_email=~"xyz" | model=~"xyz" | unwrap duration_ms | __error__="" [5m]) by ()  or vector(0)"#,
];

#[test]
fn queries_are_formatted_as_by_loki() {
    let (Some(golden), Some(narrow)) =
        (json("syntax/format_query_golden.json"), json("syntax/format_query.json"))
    else {
        return;
    };
    let mut tally = Tally::new("format_query", FORMATS_KNOWN);
    for case in items(&golden) {
        let (Some(query), Some(want)) = (case["query"].as_str(), case["loki_3.7.6"]["formatted"].as_str())
        else {
            continue;
        };
        let got = parse(query).map(|expr| format(&expr)).map_err(|e| format!("{e:?}"));
        tally.equal(query, got, Ok(want.to_owned()));
    }
    for case in items(&narrow) {
        let query = text(&case["in"]);
        let got = parse(query).map(|expr| syntax::format_narrow(&expr, 20)).map_err(|e| format!("{e:?}"));
        tally.equal(query, got, Ok(text(&case["exp"]).to_owned()));
    }
    tally.settle();
}

/// Runs stages over a line; the line and all labels, or nothing when it is dropped.
fn run(
    stages: &[Stage],
    line: &str,
    stream: &Json,
    metadata: &Json,
    time: i64,
) -> Option<(String, BTreeMap<String, String>)> {
    let pairs = |json: &Json| -> Vec<(String, String)> {
        let map = json.as_object().cloned().unwrap_or_default();
        map.into_iter().map(|(name, value)| (name, text(&value).to_owned())).collect()
    };
    let (base, metadata) = (LabelSet::from_pairs(pairs(stream)), LabelSet::from_pairs(pairs(metadata)));
    let mut labels = LineLabels::new(&base);
    metadata.iter().for_each(|(name, value)| labels.add_metadata(name, Cow::Borrowed(value)));
    let pipeline = Pipeline::new(stages).unwrap();
    let clock = Clock { line: Nanos(time), now: Nanos(time) };
    let line = pipeline.run(clock, Cow::Borrowed(line), &mut labels)?.into_owned();
    let mut all = BTreeMap::new();
    labels.for_each(|name, value, _: Category| drop(all.insert(name.to_owned(), value.to_owned())));
    Some((line, all))
}

fn stage(kind: StageKind) -> Stage {
    Stage { kind, span: kenning_query::SourceSpan::default() }
}

fn labels_of(json: &Json) -> BTreeMap<String, String> {
    let constant = |name: &str| match name {
        "{'_id': 'logqlmodel.ErrorLabel'}" => "__error__".to_owned(),
        "{'_id': 'logqlmodel.ErrorDetailsLabel'}" => "__error_details__".to_owned(),
        name => name.to_owned(),
    };
    json.as_object().into_iter().flatten().map(|(name, json)| (constant(name), constant_text(json))).collect()
}

/// A text, or the value of the Go constant that stands in its place.
fn constant_text(json: &Json) -> String {
    let known = match json["_id"].as_str() {
        Some("errJSON") => "JSONParserErr",
        Some("errLogfmt") => "LogfmtParserErr",
        Some("errSampleExtraction") => "SampleExtractionErr",
        Some("errLabelFilter") => "LabelFilterErr",
        Some("logqlmodel.ErrorLabel") => "__error__",
        Some("logqlmodel.ErrorDetailsLabel") => "__error_details__",
        Some(other) => panic!("constant {other}"),
        None => text(json),
    };
    known.to_owned()
}

fn extractions(json: &Json) -> Vec<Extraction> {
    let one =
        |e: &Json| Extraction { label: text(&e["args"][0]).into(), expression: text(&e["args"][1]).into() };
    items(json).iter().map(one).collect()
}

fn is_hintless(case: &Json) -> bool {
    case["hints"].is_null() || case["hints"]["_call"] == "NoParserHints"
}

#[test]
fn lines_are_filtered_as_by_loki() {
    let Some(cases) = json("syntax/filter_lines.json") else { return };
    let mut tally = Tally::new("line filters", &[]);
    for case in items(&cases) {
        let query = text(&case["q"]);
        let Ok(Expr::Log(log)) = parse(query) else { panic!("{query}") };
        for line in items(&case["lines"]) {
            let kept = run(&log.stages, text(&line[0]), &Json::Null, &Json::Null, 0).is_some();
            tally.equal(&format!("{query} on {}", line[0]), kept, line[1].as_bool().unwrap());
        }
    }
    tally.settle();
}

/// Labels without a name, which Loki makes of objects under blank keys, are left out here.
const PARSERS_KNOWN: &[&str] = &[
    "Test_jsonParser_Parse: whitespace key and whitespace subkey values ",
    "Test_jsonParser_Parse: whitespace key and empty subkey values ",
];

#[test]
fn parsers_extract_what_lokis_do() {
    let Some(tables) = json("stages/parsers.json") else { return };
    let mut tally = Tally::new("stage parsers", PARSERS_KNOWN);
    let mut check = |table: &str, kind: &dyn Fn(&Json) -> StageKind, want: &str| {
        for case in items(&tables[table]).iter().filter(|case| is_hintless(case)) {
            let name = format!("{table}: {} {}", text(&case["name"]), text(&case["pattern"]));
            let got =
                run(&[stage(kind(case))], text(&case["line"]), &case["lbs"], &case["structuredMetadata"], 0);
            tally.equal(&name, got.map(|(_, labels)| labels), Some(labels_of(&case[want])));
        }
    };
    let logfmt = |strict, keep_empty, fields| StageKind::Logfmt { strict, keep_empty, fields };
    check("Test_jsonParser_Parse", &|_| StageKind::Json(Vec::new()), "want");
    check("TestJSONExpressionParser", &|case| StageKind::Json(extractions(&case["expressions"])), "want");
    check("TestLogfmtParser_parse", &|_| logfmt(false, false, Vec::new()), "want");
    check("TestLogfmtParser_keepEmpty", &|case| logfmt(false, case["keepEmpty"] == true, Vec::new()), "want");
    check(
        "TestLogfmtExpressionParser",
        &|case| logfmt(false, false, extractions(&case["expressions"])),
        "want",
    );
    check("Test_unpackParser_Parse", &|_| StageKind::Unpack, "wantLbs");
    check("Test_PatternParser", &|case| StageKind::Pattern(text(&case["pattern"]).into()), "want");
    let regexp = |case: &Json| StageKind::Regexp(text(&case["parser"]["args"][0]["args"][0]).into());
    check("Test_regexpParser_Parse", &regexp, "want");
    tally.settle();
}

#[test]
fn logfmt_is_strict_when_asked() {
    let Some(tables) = json("stages/parsers.json") else { return };
    let mut tally = Tally::new("strict logfmt", &[]);
    for case in items(&tables["TestLogfmtParser_parse"]).iter().filter(|case| is_hintless(case)) {
        let strict = [stage(StageKind::Logfmt { strict: true, keep_empty: false, fields: Vec::new() })];
        let got = run(&strict, text(&case["line"]), &case["lbs"], &case["structuredMetadata"], 0);
        let want =
            if labels_of(&case["wantStrict"]).is_empty() { &case["want"] } else { &case["wantStrict"] };
        tally.equal(text(&case["name"]), got.map(|(_, labels)| labels), Some(labels_of(want)));
    }
    tally.settle();
}

#[test]
fn templates_format_what_lokis_do() {
    let Some(tables) = json("stages/formatters.json") else { return };
    let mut tally = Tally::new("formatters", &[]);
    for case in items(&tables["Test_lineFormatter_Format"]) {
        let template = text(&case["fmter"]["args"][0]);
        let time = case["ts"].as_i64().unwrap_or(0);
        let line = text(&case["in"]);
        let got =
            run(&[stage(StageKind::LineFormat(template.into()))], line, &case["lbs"], &Json::Null, time);
        let want = case["want"].as_str().unwrap_or(line).to_owned();
        let mut labels = labels_of(&case["wantLbs"]);
        // Stream labels with an empty value are absent ones here.
        labels.retain(|_, value| !value.is_empty());
        tally.equal(&format!("line {}", text(&case["name"])), got, Some((want, labels)));
    }
    for case in items(&tables["Test_labelsFormatter_Format"]) {
        let format = |f: &Json| {
            let (name, value) = (text(&f["args"][0]).to_owned(), text(&f["args"][1]).to_owned());
            let rename = f["_call"] == "NewRenameLabelFmt";
            LabelFormat {
                name,
                value: if rename { LabelSource::Rename(value) } else { LabelSource::Template(value) },
            }
        };
        let formats = items(&case["fmter"]["args"][0]).iter().map(format).collect();
        // What the table computes in Go is not known here.
        if case["want"].as_object().unwrap().values().any(Json::is_object) {
            continue;
        }
        let time = 1_661_518_453_000_000_000;
        let got = run(&[stage(StageKind::LabelFormat(formats))], "", &case["in"], &Json::Null, time);
        let want = labels_of(&case["want"]);
        tally.equal(&format!("label {}", text(&case["name"])), got.map(|(_, labels)| labels), Some(want));
    }
    tally.settle();
}

#[test]
fn patterns_match_as_lokis() {
    let Some(tables) = json("stages/filters.json") else { return };
    let mut tally = Tally::new("patterns", &[]);
    for case in items(&tables["pattern/fixtures"]) {
        let (pattern, line) = (text(&case["expr"]), text(&case["in"]));
        let Ok(parsed) = Pattern::for_parser(pattern) else {
            tally.add(pattern, Err("refused".into()));
            continue;
        };
        let mut found = Vec::new();
        parsed.captures(line, |_, value| found.push(value.to_owned()));
        let wanted: Vec<String> = items(&case["expected"]).iter().map(|v| text(v).to_owned()).collect();
        tally.equal(&format!("{pattern} on {line}"), found, wanted);
    }
    for case in items(&tables["pattern/pattern_test.go:Test_Error"]) {
        let pattern = text(&case["name"]);
        tally.equal(pattern, Pattern::for_parser(pattern).is_err(), !case["err"].is_null());
    }
    for case in items(&tables["pattern/pattern_test.go:Test_ParseLiterals"]) {
        let pattern = text(&case["pattern"]);
        let wanted: Vec<&str> = items(&case["lit"]).iter().map(text).collect();
        tally.equal(pattern, Pattern::read(pattern).literals(), wanted);
    }
    for case in items(&tables["pattern/pattern_test.go:Test_ParseLineFilter"]) {
        let pattern = text(&case["name"]);
        tally.equal(pattern, Pattern::for_filter(pattern).is_err(), !case["err"].is_null());
    }
    for case in items(&tables["ip_test.go:Test_IPFilter"]) {
        let query = format!("{{a=\"b\"}} |= ip(\"{}\")", text(&case["pat"]));
        let Ok(Expr::Log(log)) = parse(&query) else { panic!("{query}") };
        let kept = items(&case["input"])
            .iter()
            .enumerate()
            .filter(|(_, line)| run(&log.stages, text(line), &Json::Null, &Json::Null, 0).is_some());
        let kept: Vec<i64> = kept.map(|(index, _)| index as i64).collect();
        let wanted: Vec<i64> = items(&case["expected"]).iter().filter_map(Json::as_i64).collect();
        tally.equal(&query, kept, wanted);
    }
    tally.settle();
}
