//! The contract that scripts rely on: the ready line, health, exit codes, errors that tell the fix.

mod support;

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::{PROGRAM, Server, post};

fn kenning(arguments: &[&str]) -> (Option<i32>, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_kenning")).args(arguments).output().expect("the binary runs");
    let text =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    (output.status.code(), text)
}

fn start(data_dir: &Path, extra: &[&str]) -> Server {
    Server::start(Path::new(PROGRAM), data_dir, extra, Stdio::null())
}

#[test]
fn answers_when_ready_and_ends_cleanly_when_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = start(dir.path(), &[]);
    assert_eq!(server.get("/-/ready", &[]).0, 200);
    assert_eq!(server.get("/-/healthy", &[]).0, 200);
    assert_eq!(server.get("/nonsense", &[]), (404, "404 page not found\n".to_owned()));
    assert!(server.get("/ui/", &[]).1.contains("<html"));
    assert!(server.get("/metrics", &[]).1.contains("# TYPE "));
    assert_eq!(server.terminate().code(), Some(0));
}

#[test]
fn what_was_stored_is_there_after_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let agent = ureq::Agent::new_with_defaults();
    let server = start(dir.path(), &["--set", "limits.ingest.past=unlimited"]);
    let point = serde_json::json!({"timeUnixNano": "60000000000", "asInt": "7"});
    let metric = serde_json::json!({"name": "old", "gauge": {"dataPoints": [point]}});
    let body = serde_json::json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]});
    let url = format!("http://{}/v1/metrics", server.otlp_http);
    assert_eq!(post(&agent, &url, &body), Some(200));
    let ask =
        |server: &Server| -> Value { server.json("/api/v1/query", &[("query", "old"), ("time", "60")]) };
    let before = ask(&server)["data"]["result"].clone();
    assert_eq!(
        before[0]["value"],
        serde_json::json!([60, "7"]),
        "samples of 1970 are welcome when the limit is lifted"
    );
    assert!(server.terminate().success());
    let server = start(dir.path(), &["--set", "retention.metrics=unlimited"]);
    assert_eq!(ask(&server)["data"]["result"], before);
}

#[test]
fn a_second_process_on_the_same_directory_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let _first = start(dir.path(), &[]);
    let path = dir.path().display().to_string();
    let (code, text) = kenning(&["serve", "--data-dir", &path, "--listen", "127.0.0.1:0"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("another process"), "{text}");
}

#[test]
fn mistakes_are_told_together_and_with_their_fix() {
    let (code, text) = kenning(&["serve", "--set", "past=1d", "--set", "limits.query.points=many"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("limits.ingest.past") && text.contains("limits.query.points"), "{text}");
    let (code, text) = kenning(&["serve", "--config", "/nowhere/kenning.yaml"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("/nowhere/kenning.yaml"), "{text}");
    assert_eq!(kenning(&["nonsense"]).0, Some(2));
    assert!(kenning(&["--version"]).1.starts_with("kenning "));
}
