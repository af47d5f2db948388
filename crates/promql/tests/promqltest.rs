//! Runs Prometheus's own evaluation suites (`promqltest` files) against this engine, as they are.
//!
//! The files lie outside of the repository; without them the test says so and passes.

#![expect(clippy::print_stderr, reason = "numbers and skipped corpora are for people to see")]

mod corpus;
mod script;

use script::Outcome;

/// Evaluations that are known to fail, as `file:line`. Whoever makes one pass removes it here.
const KNOWN_FAILURES: &[&str] = &[];

#[test]
fn every_evaluation_gives_what_prometheus_gives() {
    let Some(folder) = corpus::folder("promql/promqltest-main") else { return };
    let mut failed = Vec::new();
    let (mut passed, mut total) = (0, 0);
    for (name, text) in corpus::files(&folder, "test") {
        let outcomes = script::run(&name, &text);
        let failures: Vec<_> = outcomes.iter().filter_map(Outcome::failure).collect();
        eprintln!("{name}: {} of {} pass", outcomes.len() - failures.len(), outcomes.len());
        passed += outcomes.len() - failures.len();
        total += outcomes.len();
        for (place, query, problem) in failures {
            if !KNOWN_FAILURES.contains(&place.as_str()) {
                eprintln!("  {place}: {query}\n      {problem}");
            }
            failed.push(place);
        }
    }
    eprintln!("{passed} of {total} evaluations pass");
    let unexpected: Vec<_> =
        failed.iter().filter(|place| !KNOWN_FAILURES.contains(&place.as_str())).collect();
    assert!(unexpected.is_empty(), "{} evaluations fail that should pass: {unexpected:?}", unexpected.len());
    let fixed: Vec<_> = KNOWN_FAILURES.iter().filter(|place| !failed.iter().any(|f| f == *place)).collect();
    assert!(fixed.is_empty(), "pass now, remove from the list: {fixed:?}");
}

/// The scripts that Prometheus keeps inside of its engine's tests.
#[test]
fn every_inline_script_gives_what_prometheus_gives() {
    let Some(folder) = corpus::folder("promql/promqltest-inline") else { return };
    let (mut passed, mut failures) = (0, Vec::new());
    for case in corpus::json(&folder, "engine_inline.json") {
        let field = |key| case.get(key).and_then(serde_json::Value::as_str).unwrap_or("");
        for outcome in script::run(field("test"), field("script")) {
            match outcome.failure() {
                Some(failure) => failures.push(failure),
                None => passed += 1,
            }
        }
    }
    eprintln!("inline: {passed} of {} evaluations pass", passed + failures.len());
    assert!(failures.is_empty(), "{failures:#?}");
}
