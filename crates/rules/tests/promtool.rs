//! Verdicts on the corpus's rule files equal promtool's.

#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

mod corpus;

use std::path::Path;

use kenning_rules::{Features, MORE_DOCUMENTS, ReadOptions, duplicates_message, read};
use serde_json::Value;

/// What `promtool check rules NAME` prints, in the corpus's notation, with the warning about documents apart.
fn verdict(name: &str, bytes: &[u8], options: ReadOptions) -> (bool, String) {
    let reading = read(bytes, options);
    let lint = reading.file.as_ref().filter(|_| reading.problems.is_empty()).and_then(duplicates_message);
    let mut lines: Vec<String> =
        reading.problems.iter().map(|problem| format!("{name}: {problem}")).collect();
    lines.extend(lint);
    let text = match (&reading.file, lines.is_empty()) {
        (Some(file), true) => format!("SUCCESS: {} rules found", file.rule_count()),
        (None, true) => "SUCCESS: 0 rules found".to_owned(),
        _ => {
            let lines = lines.iter().flat_map(|line| line.lines()).map(str::trim).collect::<Vec<_>>();
            format!("FAILED: | {}", lines.join(" | "))
        }
    };
    (reading.problems.is_empty(), text)
}

/// The oracle's text without its warnings, which carry the time of day.
fn said(oracle: &Value) -> (String, bool) {
    let out = oracle["out"].as_str().expect("text");
    let parts: Vec<&str> = out.split(" | ").filter(|part| !part.contains(MORE_DOCUMENTS)).collect();
    (parts.join(" | "), parts.len() < out.split(" | ").count())
}

/// Compares; texts of the corpus are cut at 400 characters.
fn check(name: &str, bytes: &[u8], oracle: &Value, misses: &mut Vec<String>) {
    let file = Path::new(name).file_name().expect("file name").to_string_lossy().into_owned();
    let (passes, text) = verdict(&file, bytes, ReadOptions::default());
    let (expect, warned) = said(oracle);
    let lint_only = text.starts_with("FAILED: | lint error");
    let succeeds = oracle["rc"] == 0;
    if passes != succeeds && !lint_only {
        misses.push(format!("{name}: verdict\n   ours: {text}\n theirs: {expect}"));
    } else if !text.starts_with(&expect) && !lint_only && !expect.starts_with("FAILED: | lint error") {
        misses.push(format!("{name}: text\n   ours: {text}\n theirs: {expect}"));
    }
    if warned != read(bytes, ReadOptions::default()).more_documents {
        misses.push(format!("{name}: warning about documents, expected {warned}"));
    }
}

#[test]
fn rule_files_get_promtools_verdicts() {
    let Some(folder) = corpus::folder("rules") else { return };
    let outcomes = corpus::json(&folder.join("outcomes.json"));
    let mut misses = Vec::new();
    let (mut seen, mut absent) = (0, 0);
    for (name, oracle) in outcomes["check_rules"].as_object().expect("verdicts by name") {
        // Files of the other half of the corpus are not there.
        match std::fs::read(folder.join(name)) {
            Ok(bytes) => check(name, &bytes, &oracle["promtool_main"], &mut misses),
            Err(_) => absent += 1,
        }
        seen += 1;
    }
    assert!(misses.is_empty(), "{} of {seen} ({absent} absent)\n{}", misses.len(), misses.join("\n"));
    assert!(seen - absent > 50, "{absent} of {seen} files are missing");
}

#[test]
fn snippets_get_promtools_verdicts() {
    let Some(folder) = corpus::folder("rules/pint") else { return };
    let mut misses = Vec::new();
    for case in corpus::json(&folder.join("rule_snippets.json")).as_array().expect("a list") {
        let content = case["content"].as_str().expect("text");
        let name = format!("{}/{}/r.yml", case["test"], case["file"]);
        check(&name, content.as_bytes(), &case["promtool_main"], &mut misses);
    }
    assert!(misses.is_empty(), "{}\n{}", misses.len(), misses.join("\n"));
}

#[test]
fn whole_collections_load() {
    let Some(folder) = corpus::folder("rules") else { return };
    let mut count = 0;
    for part in ["awesome-prometheus-alerts", "mixins", "kube-prometheus/plain", "loki-mixin", "tempo-mixin"]
    {
        for path in yaml_files(&folder.join(part)) {
            let bytes = std::fs::read(&path).expect("corpus file is readable");
            let options = ReadOptions { features: Features::ALL, ..ReadOptions::default() };
            let problems = read(&bytes, options).problems;
            // The files of Loki rules are LogQL.
            if !path.to_string_lossy().contains("loki-mixin/") {
                assert_eq!(problems, [], "{}", path.display());
            }
            count += 1;
        }
    }
    assert!(count > 50);
}

fn yaml_files(folder: &Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("corpus entry is readable").path());
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(yaml_files(&path));
        } else if path.extension().is_some_and(|ext| ext == "yml" || ext == "yaml") {
            files.push(path);
        }
    }
    files
}

fn messages(text: &str) -> String {
    let reading = read(text.as_bytes(), ReadOptions::default());
    let lint = reading.file.as_ref().and_then(duplicates_message);
    let problems = reading.problems.iter().map(ToString::to_string).chain(lint);
    problems.collect::<Vec<_>>().join(" | ")
}

#[test]
fn messages_are_promtools() {
    let check = |rules: &str, expect: &str| {
        let text = format!("groups:\n- name: g\n  rules:\n{rules}");
        assert_eq!(messages(&text), expect, "{text}");
    };
    check("  - {record: r, expr: up}\n", "");
    check(
        "  - {record: r, expr: 1, for: 5m}\n",
        "4:14: group \"g\", rule 1, \"r\": invalid field 'for' in recording rule",
    );
    check(
        "  - {record: 'r{}', expr: up}\n",
        "4:14: group \"g\", rule 1, \"r{}\": braces present in the recording rule name; should it be in expr?: r{}",
    );
    check(
        "  - {alert: a, expr: up, for: 5x}\n",
        "unknown unit \"x\" in duration \"5x\" | unknown unit \"x\" in duration \"5x\"",
    );
    check("  - {alert: a, expr: up, for: }\n", "");
    check(
        "  - {alert: a, expr: up, labels: {__name__: x}, annotations: {s: '{{ $x }}'}}\n",
        "group \"g\", rule 1, \"a\": invalid label name: __name__ | \
         group \"g\", rule 1, \"a\": annotation \"s\": template: __alert_a:1: undefined variable \"$x\"",
    );
    check(
        "  - {alert: a, expr: [up]}\n",
        "yaml: unmarshal errors:\n  line 4: cannot unmarshal !!seq into string",
    );
    check(
        "  - ~\n  - {alert: a, expr: 'up +'}\n",
        "5:22: group \"g\", rule 1, \"a\": could not parse expression: 1:5: parse error: unexpected end of input",
    );
    check(
        "  - {record: r, expr: up, labels: {a: b}}\n  - {record: r, expr: up, labels: {a: b}}\n",
        "lint error 1 duplicate rule(s) found.\nMetric: r\nLabel(s):\n\ta: b\nMight cause inconsistency while recording expressions",
    );
    assert_eq!(
        messages("groups: []\nx: 1\n"),
        "yaml: unmarshal errors:\n  line 2: field x not found in type rulefmt.RuleGroups"
    );
    assert_eq!(
        messages("groups:\n- name: ''\n- {name: ''}\n"),
        "0:0: Groupname must not be empty | 0:0: Groupname must not be empty | \
         0:0: groupname: \"\" is repeated in the same file"
    );
}

#[test]
fn features_open_gates() {
    let check = |expr: &str, expect: Option<&str>| {
        let shut = kenning_rules::parse_expression(expr, Features::default()).err();
        assert_eq!(shut.as_deref(), expect, "{expr}");
        assert_eq!(kenning_rules::parse_expression(expr, Features::ALL).err(), None, "{expr}");
    };
    check("rate(up[1m * 2])", None);
    check("sort_by_label(up)", Some("1:1: parse error: function \"sort_by_label\" is not enabled"));
    check(
        "\n limitk(1, up)",
        Some(
            "2:2: parse error: limitk() is experimental and must be enabled with \
             --enable-feature=promql-experimental-functions",
        ),
    );
    check(
        "rate(up[1m] smoothed)",
        Some("1:6: parse error: smoothed modifier is experimental and not enabled"),
    );
    check(
        "1 * (a + fill(0) b)",
        Some("1:6: parse error: binop fill modifiers are experimental and not enabled"),
    );
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "(groups:\n- name: a\n  rules:\n)?[- a-z:{}\\[\\]\n\"'|>$.()0-9]{0,60}") {
        let _ = read(text.as_bytes(), ReadOptions::default());
    }
}
