//! promtool's work, by the real binary: verdicts, texts, exit codes.

#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

mod support;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use support::{PROGRAM, Server};

/// Exit code, standard output and standard error.
fn kenning(arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut child = Command::new(PROGRAM)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut stdin = child.stdin.take().expect("its input is piped");
    // A program that refuses its arguments does not read.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("the binary ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().expect("an exit code"), text(&output.stdout), text(&output.stderr))
}

fn corpus() -> Option<PathBuf> {
    let root = std::env::var_os("KENNING_CORPUS").map(PathBuf::from);
    let root = root.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus"));
    if !root.exists() {
        eprintln!("SKIPPED: no corpus at {}; set KENNING_CORPUS to run these tests", root.display());
        return None;
    }
    Some(root.join("rules"))
}

const GOOD: &str = "groups:\n- name: g\n  rules:\n  - {record: r, expr: up}\n";
const TWICE: &str = "groups:\n- name: g\n  rules:\n  - {record: r, expr: up}\n  - {record: r, expr: down}\n";

#[test]
fn rules_from_standard_input() {
    let check = |arguments: &[&str], input: &str, code: i32, out: &str, err: &str| {
        let (got, stdout, stderr) = kenning(&[&["check", "rules"], arguments].concat(), input);
        assert_eq!((got, stdout.trim_end(), stderr.trim_end()), (code, out, err), "{arguments:?} {input}");
    };
    let checking = "Checking standard input";
    check(&[], GOOD, 0, &format!("{checking}\n  SUCCESS: 1 rules found"), "");
    let lint = "  FAILED:\nlint error 1 duplicate rule(s) found.\nMetric: r\nLabel(s):\nMight cause inconsistency \
                while recording expressions";
    check(&[], TWICE, 0, checking, lint);
    check(&["--lint-fatal"], TWICE, 3, checking, lint);
    check(&["--lint=none", "--lint-fatal"], TWICE, 0, &format!("{checking}\n  SUCCESS: 2 rules found"), "");
    let unknown = GOOD.replace("name: g", "name: g\n  owner: me");
    let message =
        "  FAILED:\nyaml: unmarshal errors:\n  line 3: field owner not found in type rulefmt.RuleGroup";
    check(&[], &unknown, 1, checking, message);
    check(&["--ignore-unknown-fields"], &unknown, 0, &format!("{checking}\n  SUCCESS: 1 rules found"), "");
    let experimental = GOOD.replace("expr: up", "expr: sort_by_label(up)");
    let message = "  FAILED:\n4:23: group \"g\", rule 1, \"r\": could not parse expression: 1:1: parse error: \
                   function \"sort_by_label\" is not enabled";
    check(&[], &experimental, 1, checking, message);
    let enable = "--enable-feature=promql-experimental-functions";
    check(&[enable], &experimental, 0, &format!("{checking}\n  SUCCESS: 1 rules found"), "");
    check(
        &[],
        "groups: [{name: a}, {name: a}]\n",
        1,
        checking,
        "  FAILED:\n0:0: groupname: \"a\" is repeated in the same file (at 1:21)",
    );
}

#[test]
fn rule_files_of_the_corpus_end_with_promtools_code() {
    let Some(folder) = corpus() else { return };
    let outcomes = std::fs::read(folder.join("outcomes.json")).expect("corpus file is readable");
    let outcomes: Value = serde_json::from_slice(&outcomes).expect("corpus file is JSON");
    for name in [
        "promtool/bad-rules-syntax.yml",
        "promtool/rules.yml",
        "promtool/rules-bad.yml",
        "promtool/rules_extrafields.yml",
        "rulefmt/duplicate_grp.bad.yaml",
        "rulefmt/noexpr.bad.yaml",
        "vmalert/config/rules/rules-multi-doc-good.rules",
    ] {
        let oracle = &outcomes["check_rules"][name]["promtool_main"];
        let path = folder.join(name);
        let (code, out, err) = kenning(&["check", "rules", path.to_str().expect("text")], "");
        assert_eq!(i64::from(code), oracle["rc"], "{name}: {out}{err}");
    }
}

#[test]
fn configurations_with_their_rule_files() {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.to_str().expect("text").to_owned()
    };
    write("good.yml", GOOD);
    write("bad.yml", &GOOD.replace("expr: up", "expr: up +"));
    let good = write("prometheus.yml", "rule_files: [good.yml]\n");
    let (code, out, err) = kenning(&["check", "config", &good], "");
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("  SUCCESS: 1 rule files found\n SUCCESS: "), "{out}");
    assert!(
        out.contains("is valid prometheus config file syntax") && out.contains("SUCCESS: 1 rules found"),
        "{out}"
    );

    let bad = write("bad-rules.yml", "rule_files: [bad.yml]\n");
    let (code, _, err) = kenning(&["check", "config", &bad], "");
    assert_eq!(code, 1);
    assert!(err.contains("could not parse expression: 1:5: parse error"), "{err}");
    assert_eq!(kenning(&["check", "config", "--syntax-only", &bad], "").0, 0);

    let missing = write("missing.yml", "rule_files: [none.yml]\n");
    let (code, _, err) = kenning(&["check", "config", &missing], "");
    assert_eq!(code, 1);
    assert!(err.contains("does not point to an existing file"), "{err}");

    let wrong = write("wrong.yml", "scrape_configs: []\nnope: 1\n");
    let (code, _, err) = kenning(&["check", "config", &wrong], "");
    assert_eq!(code, 1);
    assert!(err.contains("line 2: field nope not found in type config.plain"), "{err}");

    let rare = write("rare.yml", "scrape_configs: [{job_name: a, scrape_interval: 10m}]\n");
    let lint = "--lint=too-long-scrape-interval";
    let (code, _, err) = kenning(&["check", "config", lint, "--lint-fatal", &rare], "");
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("too long scrape interval found"), "{err}");
    assert_eq!(kenning(&["check", "config", "--lint-fatal", &rare], "").0, 0);
}

#[test]
fn a_kenning_yaml_is_checked_with_what_it_names() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("kenning.yaml");
    let path = path.to_str().expect("a path");
    let check = |yaml: &str, code: i32, out: &str, err: &[&str]| {
        std::fs::write(path, yaml).expect("written");
        let (got, stdout, stderr) = kenning(&["check", "config", path], "");
        assert_eq!((got, stdout.trim_end()), (code, format!("Checking {path}{out}").as_str()), "{stderr}");
        assert_eq!(stderr.lines().count(), err.len(), "{stderr}");
        assert!(err.iter().zip(stderr.lines()).all(|(part, line)| line.contains(part)), "{stderr}");
    };
    let good = format!("\n SUCCESS: {path} is a valid configuration of Kenning");
    check("retention: {logs: 7d}\nscrape_configs: []\n", 0, &good, &[]);
    check(
        "geoip: {database: /none/city.mmdb}\nretention: {logs: soon}\n\
         logs: {pipeline: [{geoip: {source: ip, db: /none/asn.mmdb, db_type: asn}}]}\n",
        1,
        "",
        &[
            "FAILED: retention.logs: ",
            "FAILED: logs.pipeline: [0].geoip.db",
            "FAILED: geoip.database: /none/city.mmdb: cannot be read: No such file",
        ],
    );
    // Prometheus's own file is checked as promtool does.
    check(
        "global: {scrape_interval: 1s}\n",
        0,
        &format!("\n SUCCESS: {path} is valid prometheus config file syntax"),
        &[],
    );
}

#[test]
fn metrics_are_linted() {
    let check = |text: &str, code: i32, err: &str| {
        let (got, _, stderr) = kenning(&["check", "metrics"], text);
        assert_eq!((got, stderr.trim_end()), (code, err), "{text}");
    };
    let fine = "# HELP a_total A.\n# TYPE a_total counter\na_total 1\n\
                # HELP h_seconds H.\n# TYPE h_seconds histogram\nh_seconds_bucket{le=\"+Inf\"} 1\nh_seconds_sum 1\nh_seconds_count 1\n";
    check(fine, 0, "");
    check("a 1\n", 3, "a no help text");
    check("# HELP a A.\n# TYPE a counter\na 1\n", 3, "a counter metrics should have \"_total\" suffix");
    check(
        "# HELP a_total A.\n# TYPE a_total gauge\na_total 1\n",
        3,
        "a_total non-counter metrics should not have \"_total\" suffix",
    );
    check(
        "# HELP a_milliseconds A.\n# TYPE a_milliseconds gauge\na_milliseconds{quantile=\"1\"} 1\n",
        3,
        "a_milliseconds non-summary metrics should not have \"quantile\" label\n\
         a_milliseconds use base unit \"seconds\" instead of \"milliseconds\"",
    );
    check(
        "# HELP aB_ms:gauge A.\n# TYPE aB_ms:gauge gauge\naB_ms:gauge{cD=\"x\"} 1\n",
        3,
        "aB_ms:gauge label names should be written in 'snake_case' not 'camelCase'\n\
         aB_ms:gauge metric names should be written in 'snake_case' not 'camelCase'\n\
         aB_ms:gauge metric names should not contain ':'",
    );
    let (code, _, err) = kenning(&["check", "metrics"], "a{ 1\n");
    assert_eq!(code, 1);
    assert!(err.contains("error while linting"), "{err}");
    let (code, out, _) = kenning(&["check", "metrics", "--extended"], fine);
    assert_eq!(code, 0);
    assert!(
        out.contains("h_seconds    3              75.00%")
            && out.contains("Total        4              100%"),
        "{out}"
    );
}

#[test]
fn promql_texts() {
    let check = |arguments: &[&str], code: i32, expect: &str| {
        let (got, out, err) = kenning(&[&["promql"], arguments].concat(), "");
        assert_eq!((got, (out + &err).trim_end()), (code, expect), "{arguments:?}");
    };
    check(&["format", "sum(rate( x [5m]))by(a)"], 0, "sum by (a) (rate(x[5m]))");
    check(&["format", "sum("], 1, "kenning: 1:5: unclosed left parenthesis");
    check(
        &["label-matchers", "set", "a + b[5m]", "job", "x"],
        1,
        "kenning: 1:5: binary expression must contain only scalar and instant vector types",
    );
    check(
        &["label-matchers", "set", "a + rate(b{job=\"y\"}[5m])", "job", "x"],
        0,
        "a{job=\"x\"} + rate(b{job=\"x\"}[5m])",
    );
    check(&["label-matchers", "set", "-t", "!~", "a", "job", "x|y"], 0, "a{job!~\"x|y\"}");
    check(&["label-matchers", "delete", "a{job=\"x\",b=\"c\"}", "job"], 0, "a{b=\"c\"}");
}

/// More lines than one answer holds, some of them of one moment and alike; mistakes with their hints.
fn logs_are_asked_for(agent: &ureq::Agent, server: &Server, now: u128) {
    const LINES: usize = 12_000;
    let url = format!("http://{}", server.listen);
    let second = now - 60_000_000_000;
    let value = |i: usize| {
        serde_json::json!([(second + i as u128 / 7 * 1000).to_string(), format!("line {}", i / 2)])
    };
    let stream = |pod: usize| {
        serde_json::json!({
            "stream": {"app": "shop", "pod": format!("p{pod}")},
            "values": (0..LINES / 2).map(|i| value(2 * i + pod)).collect::<Vec<_>>(),
        })
    };
    let body = serde_json::json!({"streams": [stream(0), stream(1)]});
    assert_eq!(support::post(agent, &format!("{url}/loki/api/v1/push"), &body), Some(204));
    let ask = |more: &[&str]| {
        kenning(&[&["query", "logql", "{app=\"shop\"}", "--url", &server.listen][..], more].concat(), "")
    };

    let (code, backward, err) = ask(&["--limit", "20000"]);
    assert_eq!((code, backward.lines().count()), (0, LINES), "{err}");
    assert!(err.contains("labels in common: {") && err.contains("app=\"shop\""), "{err}");
    let (_, forward, _) = ask(&["--limit", "20000", "--forward"]);
    let mut sorted: Vec<&str> = forward.lines().collect();
    sorted.sort_unstable();
    let mut others: Vec<&str> = backward.lines().collect();
    others.sort_unstable();
    assert!(sorted == others, "both directions give the same lines");
    let (_, out, _) = ask(&["--limit", "5001", "--no-labels"]);
    assert_eq!(out.lines().count(), 5001);
    let first = out.lines().next().unwrap_or_default();
    assert!(first.split_once("Z line ").is_some_and(|(stamp, _)| stamp.len() == 29), "{first}");
    let (_, out, _) = ask(&["--limit", "1", "-o", "csv"]);
    assert!(out.starts_with("time,labels,line\n") && out.lines().count() == 2, "{out}");

    let (code, _, err) = ask(&["--limit", "-1"]);
    assert!(code == 2 && err.contains("-1 is not in 1.."), "{err}");
    let (code, out, err) = kenning(&["query", "logql", "{app=\"none\"}", "--url", &url], "");
    assert_eq!((code, out.as_str(), err.as_str()), (0, "", "kenning: no lines of the last 1h\n"));
    let (code, _, err) = kenning(&["query", "logql", "{app=\"shop\"} | jsn", "--url", &url], "");
    assert!(code == 1 && err.contains("hint: did you mean | json?"), "{err}");
    let (code, _, err) = kenning(&["tail", "{app=\"shop\"", "--url", &server.listen], "");
    assert!(code == 1 && err.contains("hint: close the selector with }"), "{err}");
}

#[test]
fn a_running_server_is_asked_and_analysed() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Server::start(Path::new(PROGRAM), dir.path(), &[], Stdio::null());
    let url = format!("http://{}", server.listen);
    let agent = ureq::Agent::new_with_defaults();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let points: Vec<Value> = (0..3)
        .map(|i| {
            let attributes = serde_json::json!([{"key": "pod", "value": {"stringValue": format!("p{i}")}}]);
            serde_json::json!({"timeUnixNano": now.as_nanos().to_string(), "asInt": i.to_string(), "attributes": attributes})
        })
        .collect();
    let metric = serde_json::json!({"name": "load", "gauge": {"dataPoints": points}});
    let body = serde_json::json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]});
    assert_eq!(support::post(&agent, &format!("http://{}/v1/metrics", server.otlp_http), &body), Some(200));

    assert_eq!(server.get("/-/ready", &[]).0, 200);
    assert_eq!(kenning(&["check", "healthy", &url], "").0, 0);
    assert_eq!(kenning(&["check", "ready", "--url", &url], "").0, 0);
    let (code, out, err) = kenning(&["query", "--url", &url, "series", "--match", "load{pod=\"p1\"}"], "");
    assert_eq!((code, out.lines().count()), (0, 1), "{out}{err}");
    assert!(out.contains("pod=\"p1\""), "{out}");
    let (_, out, _) = kenning(&["query", "--url", &url, "labels", "pod"], "");
    assert_eq!(out, "p0\np1\np2\n");
    let (_, out, _) = kenning(&["query", "--url", &url, "--json", "labels", "pod"], "");
    assert_eq!(serde_json::from_str::<Value>(&out).ok(), Some(server.json("/api/v1/label/pod/values", &[])));
    let (_, out, err) = kenning(&["query", "--url", &url, "-o", "csv", "promql", "sum by (pod) (load)"], "");
    assert_eq!(
        out, "series,value\n\"{pod=\"\"p0\"\"}\",0\n\"{pod=\"\"p1\"\"}\",1\n\"{pod=\"\"p2\"\"}\",2\n",
        "{err}"
    );
    let range =
        ["query", "--url", &url, "-o", "csv", "promql", "count(load)", "--range", "1m", "--step", "30s"];
    let (code, out, err) = kenning(&range, "");
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("series,time,value\n{},"), "{out}");

    logs_are_asked_for(&agent, &server, now.as_nanos());
    let (code, out, err) =
        kenning(&["tsdb", "--url", &url, "analyze", "--match", "load", "--limit", "1"], "");
    assert_eq!(code, 0, "{err}");
    assert!(
        out.contains("Total Series: 3\n") && out.contains("Highest cardinality labels:\n3 pod\n"),
        "{out}"
    );
    assert!(out.contains("Highest cardinality metric names:\n3 load"), "{out}");
    let (_, out, _) =
        kenning(&["tsdb", "--url", &url, "dump-openmetrics", "--match", "load{pod=\"p2\"}"], "");
    assert!(out.starts_with("load{") && out.ends_with("\n# EOF\n"), "{out}");
    assert!(server.terminate().success());
    assert_eq!(kenning(&["check", "healthy", &url], "").0, 1);
}
