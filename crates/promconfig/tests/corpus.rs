//! The verdicts of Prometheus on the shared configuration files.

#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

use std::path::PathBuf;

use kenning_promconfig::{check, load};
use kenning_stdx::files::RealFiles;
use serde_json::Value;

fn corpus() -> Option<PathBuf> {
    let folder = std::env::var("KENNING_CORPUS")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/corpus").to_owned());
    let folder = PathBuf::from(folder).join("rules");
    if !folder.is_dir() {
        eprintln!("SKIPPED: {} is missing; configurations are not checked", folder.display());
        return None;
    }
    Some(folder)
}

fn told(file: &std::path::Path) -> Vec<String> {
    let checked = check(file.to_str().unwrap(), &RealFiles, true);
    checked.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn bad_files_are_refused_with_the_words_of_prometheus() {
    let Some(folder) = corpus() else { return };
    let folder = folder.join("prometheus-config");
    let cases: Vec<Value> =
        serde_json::from_slice(&std::fs::read(folder.join("errors.json")).unwrap()).unwrap();
    let mut different = Vec::new();
    for case in &cases {
        let (name, expect) = (case["filename"].as_str().unwrap(), case["errMsg"].as_str().unwrap());
        // The test that these come from puts the file's name in front.
        let expect = expect.rsplit_once(".yml: ").map_or(expect, |(_, after)| after);
        let told = told(&folder.join(name));
        if !told.iter().any(|line| line.contains(expect)) {
            different.push(format!("{name}: {told:?} instead of {expect:?}"));
        }
    }
    assert!(different.is_empty(), "{} of {}:\n{}", different.len(), cases.len(), different.join("\n"));
}

#[test]
fn good_files_and_examples_load() {
    let Some(folder) = corpus() else { return };
    let mut different = Vec::new();
    let mut count = 0;
    for dir in ["prometheus-config", "prometheus-config/examples", "promtool"] {
        for entry in std::fs::read_dir(folder.join(dir)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let example =
                dir.ends_with("examples") && name.starts_with("prometheus") && !name.contains("promtool");
            if !(name.ends_with(".good.yml") && !name.contains("rules") || example) {
                continue;
            }
            count += 1;
            let told = told(&path);
            if !told.is_empty() {
                different.push(format!("{name}: {told:?}"));
            }
        }
    }
    assert!(count > 20 && different.is_empty(), "{} of {count}:\n{}", different.len(), different.join("\n"));
}

/// The recorded promtool was built without most mechanisms of discovery; where it only missed one, it is no oracle.
#[test]
fn verdicts_are_those_of_promtool() {
    let Some(folder) = corpus() else { return };
    let outcomes: Value =
        serde_json::from_slice(&std::fs::read(folder.join("outcomes.json")).unwrap()).unwrap();
    let mut different = Vec::new();
    let mut count = 0;
    for (name, outcome) in outcomes["check_config"].as_object().unwrap() {
        let theirs = &outcome["promtool_main"];
        let out = theirs["out"].as_str().unwrap_or("");
        let file = folder.join(name);
        if out.contains("_sd_configs not found in type") || !file.exists() {
            continue;
        }
        count += 1;
        let told = told(&file);
        if told.is_empty() != (theirs["rc"] == 0) {
            different.push(format!("{name}: {told:?} instead of {out}"));
        }
    }
    assert!(different.is_empty(), "{} of {count}:\n{}", different.len(), different.join("\n"));
}

#[test]
fn no_text_makes_the_reader_panic() {
    let seeds =
        ["scrape_configs: [{job_name: a, static_configs: [{targets: [x]}]}]", "global: {a: &x [*x]}", "- <<"];
    for seed in seeds {
        for at in 0..seed.len() {
            let mut bytes = seed.as_bytes().to_vec();
            bytes[at] ^= 0x1f;
            let _ = load(&bytes);
            let _ = load(&seed.as_bytes()[..at]);
        }
    }
}
