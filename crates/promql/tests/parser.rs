//! Checks the parser, the canonical printer and the formatter against tables recorded from Prometheus.

#![expect(clippy::print_stderr, reason = "numbers and skipped corpora are for people to see")]

mod corpus;

use kenning_promql::{
    Expr, SequenceValue, format, format_duration, format_within, parse, parse_duration,
    parse_series_description,
};
use serde_json::Value;

/// Queries of `format_query_golden.json` that may come out differently. Lower it when fewer do. The one there is is a
/// chain of hundreds of operators, which is refused here for its length.
const GOLDEN_DIFFERENCES_MAX: usize = 1;
/// Cases of `parse_expr.json` whose verdict or first message may differ. Lower it when fewer do.
const PARSE_DIFFERENCES_MAX: usize = 0;

fn text<'a>(case: &'a Value, key: &str) -> Option<&'a str> {
    case.get(key).and_then(Value::as_str)
}

fn report(what: &str, total: usize, differences: &[String], allowed: usize) {
    differences.iter().take(40).for_each(|difference| eprintln!("{difference}"));
    eprintln!("{what}: {} of {total} as Prometheus", total - differences.len());
    assert!(differences.len() <= allowed, "{what}: {} differ, {allowed} may", differences.len());
}

#[test]
fn queries_of_the_world_format_as_in_prometheus() {
    let Some(folder) = corpus::folder("promql/parser") else { return };
    let cases = corpus::json(&folder, "format_query_golden.json");
    let mut differences = Vec::new();
    for case in &cases {
        let (Some(query), Some(out)) = (text(case, "query"), text(case, "out")) else { continue };
        let found = match parse(query) {
            Ok(expr) => format(&expr),
            Err(problems) => {
                let problem = &problems[0];
                let (line, column) = problem.span.line_column(query);
                format!("invalid parameter \"query\": {line}:{column}: parse error: {}", problem.message)
            }
        };
        if found != out {
            differences.push(format!("{query}\n   expected {out}\n   got      {found}"));
        }
    }
    report("format_query", cases.len(), &differences, GOLDEN_DIFFERENCES_MAX);
}

#[test]
fn every_expression_is_judged_as_by_prometheus() {
    let Some(folder) = corpus::folder("promql/parser") else { return };
    let cases = corpus::json(&folder, "parse_expr.json");
    let mut differences = Vec::new();
    for case in &cases {
        let Some(input) = text(case, "input") else { continue };
        let fails = case.get("fail").and_then(Value::as_bool).unwrap_or(false);
        let problem = match (parse(input), fails) {
            (Ok(_), false) => None,
            (Ok(expr), true) => Some(format!("accepted as {expr}")),
            (Err(problems), false) => Some(format!("refused: {problems:?}")),
            (Err(problems), true) => compare_errors(case, &problems),
        };
        differences.extend(problem.map(|problem| format!("{input}\n   {problem}")));
    }
    report("parse_expr", cases.len(), &differences, PARSE_DIFFERENCES_MAX);
}

fn compare_errors(case: &Value, problems: &[kenning_query::Diagnostic]) -> Option<String> {
    let wanted = case.get("errors").and_then(Value::as_array).and_then(|errors| errors.first())?;
    let message = text(wanted, "msg").unwrap_or_default();
    let problem = &problems[0];
    // Two messages of Go's library print a number that differs from the recorded source text.
    let same_message = problem.message == message || message.contains("@ modifier");
    let place = |key: &str| wanted.get(key).and_then(Value::as_u64);
    let same_place = place("start") == Some(u64::from(problem.span.start))
        && place("end") == Some(u64::from(problem.span.end));
    let found = (&problem.message, problem.span);
    (!same_message || !same_place).then(|| format!("expected {wanted}\n   got      {found:?}"))
}

#[test]
fn expressions_print_canonically() {
    let Some(folder) = corpus::folder("promql/parser") else { return };
    let cases = corpus::json(&folder, "printer.json");
    let mut differences = Vec::new();
    for case in &cases {
        let Some(input) = text(case, "in") else { continue };
        let out = text(case, "out").filter(|out| !out.is_empty()).unwrap_or(input);
        let found = parse(input).map(|expr| expr.to_string());
        if found.as_deref() != Ok(out) {
            differences.push(format!("{input}\n   expected {out}\n   got      {found:?}"));
        }
    }
    report("printer", cases.len(), &differences, 0);
}

#[test]
fn printed_queries_read_back_the_same() {
    let Some(folder) = corpus::folder("promql/parser") else { return };
    for case in corpus::json(&folder, "format_query_golden.json") {
        let Some(Ok(expr)) = text(&case, "query").map(parse) else { continue };
        let (line, pretty) = (expr.to_string(), format(&expr));
        let again = |text: &str| parse(text).map(|expr: Expr| expr.to_string());
        assert_eq!(again(&line).as_ref(), Ok(&line));
        assert_eq!(again(&pretty).as_ref(), Ok(&line));
    }
}

#[test]
fn long_expressions_break_into_lines() {
    let Some(folder) = corpus::folder("promql/parser") else { return };
    let cases = corpus::json(&folder, "prettier.json");
    let mut differences = Vec::new();
    for case in &cases {
        let (Some(input), Some(out)) = (text(case, "in"), text(case, "out")) else { continue };
        // The table was made with lines of ten characters.
        let found = parse(input).map(|expr| format_within(&expr, 10));
        if found.as_deref() != Ok(out) {
            differences.push(format!("{input}\n   expected {out}\n   got      {found:?}"));
        }
    }
    report("prettier", cases.len(), &differences, 0);
}

#[test]
fn durations_read_and_print() {
    let Some(folder) = corpus::folder("promql/parser") else { return };
    let table = std::fs::read_to_string(folder.join("durations.json")).expect("corpus file is readable");
    let table: Value = serde_json::from_str(&table).expect("corpus file is JSON");
    for case in table["ok"].as_array().into_iter().flatten() {
        let input = text(case, "in").unwrap_or_default();
        let printed = text(case, "expectedString").filter(|printed| !printed.is_empty()).unwrap_or(input);
        let ms = parse_duration(input);
        assert_eq!(ms.as_ref().ok().map(|ms| ms * 1_000_000), case["out"].as_i64(), "{input}");
        assert_eq!(ms.map(format_duration).as_deref(), Ok(printed));
    }
    for bad in table["bad"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        assert!(parse_duration(bad).is_err(), "{bad}");
    }
}

#[test]
fn string_literals_unquote() {
    let Some(folder) = corpus::folder("promql/parser") else { return };
    let table = std::fs::read_to_string(folder.join("quoting.json")).expect("corpus file is readable");
    let table: Value = serde_json::from_str(&table).expect("corpus file is JSON");
    for case in table["unquote"].as_array().into_iter().flatten() {
        // Bytes that are not UTF-8 have no text to compare with.
        let (Some(literal), Some(wanted)) = (case[0].as_str(), case[1].as_str()) else { continue };
        let found = match parse(literal) {
            Ok(Expr::String(literal)) => literal.value,
            other => panic!("{literal}: {other:?}"),
        };
        assert_eq!(found, wanted, "{literal}");
    }
    for wrong in table["misquoted"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        assert!(!matches!(parse(wrong), Ok(Expr::String(_))), "{wrong}");
    }
}

#[test]
fn histogram_series_expand() {
    let Some(folder) = corpus::folder("promql/parser") else { return };
    let suites = corpus::json(&folder, "series_descriptions.json");
    for case in suites.iter().flat_map(|suite| suite["cases"].as_array().into_iter().flatten()) {
        let (Some(input), Some(wanted)) = (text(case, "input"), case["expected"].as_array()) else {
            continue;
        };
        let found = parse_series_description(input).unwrap_or_else(|error| panic!("{input}: {error}")).values;
        assert_eq!(found.len(), wanted.len(), "{input}");
        for (found, wanted) in found.iter().zip(wanted) {
            let SequenceValue::Histogram { histogram, .. } = found else { panic!("{input}: {found:?}") };
            let number = |key: &str| wanted.get(key).and_then(Value::as_f64).unwrap_or(0.0);
            let numbers = |key: &str| -> Vec<f64> {
                wanted
                    .get(key)
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_f64)
                    .collect()
            };
            // Sums print with all digits in the table.
            assert!((histogram.sum - number("Sum")).abs() < 1e-9, "{input}: {histogram:?}");
            assert!((histogram.count - number("Count")).abs() < 1e-9, "{input}: {histogram:?}");
            let nonzero = |all: Vec<f64>| all.into_iter().filter(|n| *n != 0.0).collect::<Vec<_>>();
            assert_eq!(nonzero(histogram.positive.clone()), nonzero(numbers("PositiveBuckets")), "{input}");
            assert_eq!(nonzero(histogram.negative.clone()), nonzero(numbers("NegativeBuckets")), "{input}");
        }
    }
}

/// What Prometheus's lexer refuses does not parse here either. Token lists themselves are not compared: tokens are not
/// part of the crate's interface.
#[test]
fn what_the_lexer_refuses_does_not_parse() {
    let Some(folder) = corpus::folder("promql/parser") else { return };
    let (mut total, mut differences) = (0, Vec::new());
    for suite in corpus::json(&folder, "lexer.json") {
        for case in suite.get("tests").and_then(Value::as_array).into_iter().flatten() {
            let fails = case.get("fail").and_then(Value::as_bool).unwrap_or(false);
            let Some(input) = text(case, "input").filter(|_| fails) else { continue };
            total += 1;
            let is_series = case.get("seriesDesc").and_then(Value::as_bool).unwrap_or(false);
            let accepted = if is_series {
                parse_series_description(&format!("x {input}")).is_ok()
            } else {
                parse(input).is_ok()
            };
            if accepted {
                differences.push(input.to_owned());
            }
        }
    }
    report("lexer", total, &differences, 0);
}
