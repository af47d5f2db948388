//! Documents that exporters must not write: OpenMetrics's own suite, the reference parser's tests, promtool's parser's tests.

mod corpus;

use kenning_wire::prometheus::{Exposition, Flaw, check_strictly};
use serde_json::Value;

fn report(what: &str, cases: &[(String, Vec<u8>, Exposition, bool)]) {
    assert!(!cases.is_empty(), "{what}: no cases");
    let mut misses = Vec::new();
    for (id, body, format, good) in cases {
        let verdict: Result<(), Flaw> = check_strictly(body, *format);
        if verdict.is_ok() != *good {
            misses.push(format!("{id}: {verdict:?}\n{}", String::from_utf8_lossy(body)));
        }
    }
    assert!(misses.is_empty(), "{what}: {} of {}:\n{}", misses.len(), cases.len(), misses.join("\n"));
}

#[test]
fn the_openmetrics_suite() {
    let Some(root) = corpus::path("exposition/openmetrics-suite") else { return };
    let mut cases = Vec::new();
    for case in corpus::files(&root).iter().filter(|file| file.ends_with("test.json")) {
        let about: Value = serde_json::from_slice(&std::fs::read(case).unwrap()).unwrap();
        let body = std::fs::read(case.with_file_name(about["file"].as_str().unwrap())).unwrap();
        cases.push((case.display().to_string(), body, Exposition::OpenMetrics, about["shouldParse"] == true));
    }
    report("openmetrics", &cases);
}

#[test]
fn the_reference_parsers_cases() {
    let Some(lists) = corpus::json("exposition/client_python/cases.json") else { return };
    let text = |case: &Value| case["input"].as_str().or(case.as_str()).expect("a text").as_bytes().to_vec();
    let mut cases = Vec::new();
    for (list, good) in [("openmetrics_invalid", false), ("openmetrics_valid", true)] {
        for case in lists[list].as_array().expect("cases") {
            // Forms that came after OpenMetrics 1.0, and that Prometheus does not take: native histograms in text, blanks
            // within braces.
            let body = text(case);
            let later =
                [&b"count:"[..], b"\", "].iter().any(|word| memchr::memmem::find(&body, word).is_some());
            if !(good && later) {
                cases.push((list.to_owned(), body, Exposition::OpenMetrics, good));
            }
        }
    }
    report("client_python", &cases);
}

#[test]
fn what_promtools_parser_refuses() {
    let Some(errors) = corpus::json("exposition/text-parse/common_error.json") else { return };
    let mut cases = Vec::new();
    for case in errors.as_array().expect("cases") {
        let (input, error) = (case["in"].as_str().expect("a text"), case["errUTF8"].as_str().unwrap_or(""));
        cases.push((error.to_owned(), input.as_bytes().to_vec(), Exposition::Text, error.is_empty()));
    }
    let Some(root) = corpus::path("exposition/expfmt-fuzz-corpus") else { return };
    for file in corpus::files(&root) {
        let good = !file.to_string_lossy().contains("error");
        let body = std::fs::read(&file).unwrap();
        cases.push((file.display().to_string(), body, Exposition::Text, good));
    }
    let Some(good) = corpus::json("exposition/text-parse/common_ok.json") else { return };
    for case in good.as_array().expect("cases") {
        let input = case["in"].as_str().expect("a text");
        // A type that Prometheus's scraper does not know in this format.
        if !input.contains("gaugehistogram") && !input.contains("gauge_histogram") {
            cases.push(("common_ok".to_owned(), input.as_bytes().to_vec(), Exposition::Text, true));
        }
    }
    report("expfmt", &cases);
}

#[test]
fn real_expositions_are_good() {
    let mut cases = Vec::new();
    for folder in ["exposition/otel-prometheus-exporter", "exposition/promtool"] {
        let Some(root) = corpus::path(folder) else { return };
        for file in corpus::files(&root) {
            let body = std::fs::read(&file).unwrap();
            let open = body.ends_with(b"# EOF\n");
            let format = if open { Exposition::OpenMetrics } else { Exposition::Text };
            cases.push((file.display().to_string(), body, format, true));
        }
    }
    report("real", &cases);
}
