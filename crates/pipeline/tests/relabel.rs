//! Relabelling as Prometheus's own tests have it.

#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

use kenning_model::LabelSet;
use kenning_pipeline::relabel::{Action, Labels, NameScheme, Pattern, Rule, Written, apply};
use serde_json::Value;

fn cases(name: &str) -> Vec<Value> {
    let folder = std::env::var("KENNING_CORPUS")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/corpus").to_owned());
    let path = format!("{folder}/promql/relabel/{name}");
    let Ok(text) = std::fs::read(&path) else {
        eprintln!("SKIPPED: {path} is missing; relabelling is not compared");
        return Vec::new();
    };
    serde_json::from_slice(&text).unwrap()
}

fn labels(value: &Value) -> LabelSet {
    let pairs = value.as_object().into_iter().flatten();
    LabelSet::from_pairs(pairs.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())))
}

/// A literal, or one of the defaults that the Go test names.
fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn rule(config: &Value) -> Result<Rule, String> {
    let action = config["Action"]["_id"].as_str().or_else(|| config["Action"].as_str());
    let action = action.map(|word| word.rsplit('.').next().unwrap());
    let scheme = match config["NameValidationScheme"]["_id"].as_str() {
        Some("model.LegacyValidation") => NameScheme::Legacy,
        _ => NameScheme::Utf8,
    };
    let sources = config["SourceLabels"].as_array();
    let regex = config["Regex"]["args"][0].as_str().map(Pattern::new).transpose()?;
    let replacement = config["Replacement"].as_str().map(str::to_owned);
    let written = Written {
        source_labels: sources.map(|names| names.iter().map(|name| name.as_str().unwrap().into()).collect()),
        separator: text(&config["Separator"]),
        regex,
        modulus: config["Modulus"].as_u64().unwrap_or(0),
        target_label: text(&config["TargetLabel"]).unwrap_or_default(),
        replacement,
        action: action.map(|word| Action::from_word(word).unwrap()),
    };
    Rule::new(written, scheme).map_err(|error| error.to_string())
}

#[test]
fn labels_come_out_as_in_prometheus() {
    let mut different = Vec::new();
    let cases = cases("relabel.json");
    for (number, case) in cases.iter().enumerate() {
        let rules: Result<Vec<_>, _> = case["relabel"].as_array().unwrap().iter().map(rule).collect();
        let Ok(rules) = rules.map_err(|error| different.push(format!("{number}: {error}"))) else { continue };
        let mut ours = Labels::of(&labels(&case["input"]));
        let kept = apply(&rules, &mut ours);
        let dropped = case["drop"].as_bool().unwrap_or(false);
        if kept == dropped || (kept && ours.build() != labels(&case["output"])) {
            different.push(format!("{number}: {case}: {kept} {:?}", ours.build()));
        }
    }
    assert!(different.is_empty(), "{} of {}:\n{}", different.len(), cases.len(), different.join("\n"));
}

#[test]
fn rules_are_refused_as_in_prometheus() {
    for (number, case) in cases("relabel_validate.json").iter().enumerate() {
        let refused = rule(&case["config"]).err();
        match case["expected"].as_str() {
            Some(expect) => {
                assert!(refused.as_deref().is_some_and(|told| told.contains(expect)), "{number}: {refused:?}")
            }
            None => assert_eq!(refused, None, "{number}: {case}"),
        }
    }
}
