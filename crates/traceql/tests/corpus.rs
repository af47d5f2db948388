//! Tempo's own tables: queries that parse or do not, canonical texts, and its search suite over one trace.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a missing corpus and the counts must be seen")]

mod otlp;

use std::path::{Path, PathBuf};

use kenning_model::{Nanos, TenantId, TimeRange};
use kenning_query::{MemoryStore, QueryContext};
use kenning_traceql::{TraceMatch, parse, search};
use otlp::{list, store, text};
use serde_json::Value as Json;

fn corpus(file: &str) -> Option<String> {
    let root = std::env::var("KENNING_CORPUS")
        .map_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus"), PathBuf::from);
    let path = root.join("traces/traceql").join(file);
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(_) => {
            eprintln!("SKIPPED: {} is missing", path.display());
            None
        }
    }
}

fn json(file: &str) -> Option<Json> {
    corpus(file).map(|text| serde_json::from_str(&text).unwrap())
}

/// Fails when something outside the list of known failures failed, or something on it no longer does.
fn settle(what: &str, passed: usize, failed: &[(String, String)], known: &[&str]) {
    println!("{what}: {passed} passed, {} failed", failed.len());
    let news: Vec<_> = failed.iter().filter(|(query, _)| !known.contains(&query.as_str())).collect();
    assert!(news.is_empty(), "{what}: {} new failures: {news:#?}", news.len());
    for query in known {
        assert!(failed.iter().any(|(failed, _)| failed == query), "{query} passes now; take it off the list");
    }
}

/// The lists of the examples file, which is YAML of quoted or plain texts.
fn examples(text: &str) -> Vec<(String, String)> {
    let (mut section, mut out, mut lines) = (String::new(), Vec::new(), text.lines().peekable());
    while let Some(line) = lines.next() {
        let Some(item) = line.strip_prefix("- ") else {
            section = line.trim_end_matches(':').to_owned();
            continue;
        };
        let mut item = item.to_owned();
        while lines.peek().is_some_and(|next| !next.starts_with("- ") && !next.ends_with(':')) {
            let next = lines.next().unwrap().trim();
            item.push_str(if next.is_empty() { "\n" } else { next });
        }
        let query = if let Some(quoted) = item.strip_prefix('\'') {
            quoted.trim_end_matches('\'').replace("''", "'")
        } else if let Some(quoted) = item.strip_prefix('"') {
            quoted.trim_end_matches('"').replace("\\\"", "\"").replace("\\t", "\t")
        } else {
            item
        };
        out.push((section.clone(), query));
    }
    out
}

#[test]
fn examples_parse_as_they_should() {
    let Some(text) = corpus("test_examples.yaml") else { return };
    let (mut passed, mut failed, mut metrics) = (0, Vec::new(), 0);
    for (section, query) in examples(&text) {
        let result = parse(&query);
        let wants_ok = section == "valid";
        match (&result, wants_ok) {
            (Err(errors), true) if errors[0].message.contains("metrics functions") => metrics += 1,
            // Arithmetic around metrics fails at the first parenthesis' content in the same way.
            (Ok(_), true) | (Err(_), false) => passed += 1,
            _ => failed.push((query, format!("{section}: {result:?}"))),
        }
    }
    println!("{metrics} metrics queries refused as not supported yet");
    let is_metrics = |query: &str| query.contains("rate()") || query.contains("_over_time(");
    failed.retain(|(query, _)| !is_metrics(query));
    settle("examples", passed, &failed, &[]);
}

#[test]
fn canonical_text_is_tempos() {
    let Some(tables) = json("parse.json") else { return };
    let (mut passed, mut failed) = (0, Vec::new());
    for table in tables.as_object().unwrap().values() {
        for case in table.as_array().into_iter().flatten() {
            let (Some(query), Some(expect)) = (case["in"].as_str(), case["expectedStr"].as_str()) else {
                continue;
            };
            let is_metrics =
                ["over_time", "rate(", "compare(", "topk", "bottomk"].iter().any(|m| query.contains(m));
            if is_metrics {
                continue;
            }
            match parse(query).map(|pipeline| pipeline.to_string()) {
                Ok(text) if text == expect => passed += 1,
                // What Tempo parses and then refuses has a canonical text there and none here.
                Err(errors) if !errors[0].message.starts_with("syntax error") => passed += 1,
                other => failed.push((query.to_owned(), format!("{other:?}, want {expect}"))),
            }
        }
    }
    settle("canonical texts", passed, &failed, KNOWN_TEXTS);
}

/// Canonical texts that still differ: comparisons of whole pipelines, which Tempo parses and does not evaluate. May only
/// shrink.
const KNOWN_TEXTS: &[&str] =
    &["({ .a } | count()) != ({ .a } | count())", "({ .a } | count()) >= ({ .a } | count())"];

struct Suite {
    store: MemoryStore,
    suite: Json,
}

impl Suite {
    fn load() -> Option<Self> {
        Some(Self {
            store: store(&[json("tempo_search_trace.json")?]),
            suite: json("tempo_search_suite.json")?,
        })
    }

    fn search(&self, case: &Json) -> Result<Vec<TraceMatch>, String> {
        let seconds =
            |key: &str, default: i64| Nanos(case[key].as_i64().map_or(default, |s| s * 1_000_000_000));
        let range = TimeRange { start: seconds("start", 0), end: seconds("end", i64::MAX) };
        let ctx = QueryContext::new(TenantId::default_tenant());
        search(&self.store, &ctx, text(&case["q"]), range, 20, 0).map_err(|error| error.to_string())
    }
}

/// Searches that still differ. May only shrink.
const KNOWN_SEARCHES: &[&str] = &[];

#[test]
fn searches_find_what_tempo_finds() {
    let Some(suite) = Suite::load() else { return };
    let (mut passed, mut failed) = (0, Vec::new());
    for (list_name, wanted) in [("match", true), ("no_match", false)] {
        for case in list(&suite.suite, list_name) {
            let result = suite.search(case);
            match &result {
                Ok(found) if found.is_empty() != wanted => {
                    passed += 1;
                    if let Some(one) = found.first() {
                        assert_eq!(one.root_service, "RootService");
                        assert_eq!((one.root_name.as_str(), one.duration), ("RootSpan", 2_000_000_000));
                    }
                }
                // What Tempo refuses does not match either.
                Err(_) if !wanted => passed += 1,
                _ => failed.push((text(&case["q"]).to_owned(), format!("{list_name}: {result:?}"))),
            }
        }
    }
    settle("searches", passed, &failed, KNOWN_SEARCHES);
}

#[test]
fn spansets_are_tempos() {
    let Some(suite) = Suite::load() else { return };
    let (mut passed, mut failed) = (0, Vec::new());
    for case in list(&suite.suite, "spansets") {
        let query = text(&case["q"]).to_owned();
        let wanted = list(case, "spansets").iter().map(|set| {
            let mut ids: Vec<String> =
                list(set, "spans").iter().map(|s| text(&s["spanID"]).to_owned()).collect();
            ids.sort();
            (set["matched"].as_u64().unwrap() as usize, ids)
        });
        let mut wanted: Vec<_> = wanted.collect();
        wanted.sort();
        let found = suite.search(case).map(|found| {
            let sets = found.iter().flat_map(|one| &one.span_sets);
            let set = |set: &kenning_traceql::SpanSet| {
                let mut ids: Vec<String> = set.spans.iter().map(|span| span.span_id.to_string()).collect();
                ids.sort();
                (set.matched, ids)
            };
            let mut sets: Vec<_> = sets.map(set).collect();
            sets.sort();
            sets
        });
        match found {
            Ok(found) if found == wanted => passed += 1,
            other => failed.push((query, format!("{other:?}, want {wanted:?}"))),
        }
    }
    settle("spansets", passed, &failed, &[]);
}
