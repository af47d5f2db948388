//! How much of what is planted redaction finds, and what it takes that is none.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "figures are shown, and a skipped suite must not look like one that passed"
)]

#[path = "planted/mod.rs"]
mod planted;

use std::collections::BTreeMap;
use std::path::PathBuf;

use kenning_pipeline::redact::{RedactOptions, Redactor, Scratch, Tally};

fn redactor() -> Redactor {
    Redactor::new(&RedactOptions::default()).expect("defaults are options")
}

fn redacted(redactor: &Redactor, line: &str) -> Option<String> {
    redactor.redact(line, &mut Scratch::default(), &mut Tally::default())
}

#[test]
fn planted_secrets_are_removed() {
    const COUNT: usize = 20_000;
    let redactor = redactor();
    let (mut left, mut broken) = (BTreeMap::<_, Vec<String>>::new(), Vec::new());
    for one in planted::planted(1, COUNT) {
        let line = redacted(&redactor, &one.line).unwrap_or_else(|| one.line.clone());
        if line.contains(&one.secret) {
            left.entry((one.kind, one.context)).or_default().push(format!("{}  [{}]", line, one.secret));
        }
        if one.is_json && serde_json::from_str::<serde_json::Value>(&one.line).is_ok() {
            let is_json = serde_json::from_str::<serde_json::Value>(&line).is_ok();
            if !is_json {
                broken.push(format!("{} -> {line}", one.line));
            }
        }
    }
    let missed: usize = left.values().map(Vec::len).sum();
    println!("{missed} of {COUNT} planted secrets are left");
    for ((kind, context), lines) in &left {
        println!("{kind}, {context}: {}\n    {}", lines.len(), lines[..lines.len().min(2)].join("\n    "));
    }
    assert!(missed * 100 <= COUNT, "more than one in a hundred is left: {missed} of {COUNT}");
    assert!(broken.is_empty(), "{}", broken[..broken.len().min(5)].join("\n"));
}

#[test]
fn clean_lines_stay() {
    const COUNT: usize = 20_000;
    let redactor = redactor();
    let changed: Vec<_> = planted::clean(2, COUNT)
        .iter()
        .filter_map(|line| Some((line.clone(), redacted(&redactor, line)?)))
        .collect();
    println!("{} of {COUNT} clean lines changed", changed.len());
    for (line, after) in changed.iter().take(10) {
        println!("    {line}\n -> {after}");
    }
    assert!(changed.len() * 1000 <= COUNT, "more than one in a thousand");
}

/// Log files of public systems, when they are there.
#[test]
fn logs_of_public_systems_mostly_stay() {
    let dir = std::env::var_os("KENNING_CORPUS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus"),
        PathBuf::from,
    );
    let Ok(entries) = std::fs::read_dir(dir.join("logql/logs/loghub")) else {
        eprintln!("SKIPPED: no corpus at {}; set KENNING_CORPUS to run this test", dir.display());
        return;
    };
    let files =
        entries.flatten().flat_map(|entry| std::fs::read_dir(entry.path()).into_iter().flatten().flatten());
    let redactor = redactor();
    let (mut lines, mut kinds) = (0usize, BTreeMap::<String, usize>::new());
    for path in files.map(|entry| entry.path()) {
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap_or_default()).into_owned();
        for line in text.lines() {
            lines += 1;
            let mut tally = Tally::default();
            let Some(after) = redactor.redact(line, &mut Scratch::default(), &mut tally) else { continue };
            for (kind, count) in redactor.counts(&tally) {
                let seen = kinds.entry(kind.to_owned()).or_default();
                *seen += count as usize;
                if *seen <= 5 {
                    println!("{kind}: {line}\n     -> {after}");
                }
            }
        }
    }
    println!("{lines} lines; found: {kinds:?}");
    let all: usize = kinds.values().sum();
    assert!(all * 100 <= lines, "{all} findings in {lines} lines");
}
