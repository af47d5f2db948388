//! From files and pushes through stages to the store: labels of lines, Promtail's configuration, metrics of lines.

#[allow(dead_code, reason = "each test uses its part")]
mod support;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use support::{PROGRAM, Server};

const JSON: &str = r#"{"log":"{\"level\":\"ERROR\",\"service\":\"wotr-api\",\"message\":\"it broke\",\"latency\":0.25}\n","stream":"stdout","time":"TIME"}"#;

/// The values of an instant query over logs or metrics, waited for but not for ever.
fn await_value(server: &Server, path: &str, query: &str, expect: &str) {
    let mut last = serde_json::Value::Null;
    for _ in 0..300 {
        last = server.json(path, &[("query", query)]);
        if last["data"]["result"][0]["value"][1].as_str() == Some(expect) {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("{query} gives {last}, not {expect}");
}

#[test]
fn containers_lines_become_labels_and_metrics() {
    let dir = tempfile::tempdir().expect("a directory");
    let (data, root) = (dir.path().join("data"), dir.path());
    let containers = root.join("containers/0123456789ab");
    fs::create_dir_all(&containers).expect("a directory");
    let described = r#"{"Name":"/fastapi","Config":{"Labels":{"com.docker.compose.service":"api"}}}"#;
    fs::write(containers.join("config.v2.json"), described).expect("a file");
    let now = server_time();
    fs::write(containers.join("0123456789ab-json.log"), format!("{}\n", JSON.replace("TIME", &now)))
        .expect("a file");
    fs::write(root.join("app.log"), "2 debug noise\n3 info took=0.5 done\n3 info took=1.5 done\n")
        .expect("a file");
    let promtail = format!(
        "clients: [{{url: http://loki:3100}}]\nscrape_configs:\n- job_name: app\n  pipeline_stages:\n  \
         - regex: {{expression: '^\\d (?P<level>\\w+)( took=(?P<took>\\S+))?'}}\n  - labels: {{level: }}\n  \
         - match: {{selector: '{{level=\"debug\"}}', action: drop, drop_counter_reason: noise}}\n  \
         - metrics: {{took_seconds: {{type: Counter, source: took, prefix: app_, config: {{action: add}}}}}}\n  \
         static_configs:\n  - labels: {{job: app, __path__: {}/app.log}}\n",
        root.display()
    );
    fs::write(root.join("promtail.yaml"), promtail).expect("a file");
    let yaml = format!(
        "self: {{interval: 1s}}\npromtail: {{config_file: {root}/promtail.yaml}}\nlogs:\n  files:\n  - {{include: \"{root}/containers/*/*-json.log\", name: docker}}\n  \
         pipeline:\n  - static_labels: {{env: test}}\n",
        root = root.display()
    );
    fs::write(root.join("kenning.yaml"), yaml).expect("a file");
    let log = fs::File::create(root.join("log")).expect("a file");
    let config = root.join("kenning.yaml");
    let server = Server::start(
        Path::new(PROGRAM),
        &data,
        &["--config", config.to_str().expect("a path")],
        Stdio::from(log),
    );
    let logs = "/loki/api/v1/query";
    // The queries of the document.
    await_value(&server, logs, "sum(count_over_time({service=\"wotr-api\"} |= \"broke\" [1h]))", "1");
    await_value(
        &server,
        logs,
        "sum(count_over_time({container=\"fastapi\"} | json | level=\"ERROR\" [1h]))",
        "1",
    );
    await_value(
        &server,
        logs,
        "sum(count_over_time({service_name=\"wotr-api\", env=\"test\", stream=\"stdout\"} | detected_level=\"error\" [1h]))",
        "1",
    );
    await_value(&server, logs, "sum(count_over_time({job=\"app\", level=\"info\"}[1h]))", "2");
    assert_eq!(
        server.json(logs, &[("query", "count_over_time({job=\"app\"} |= \"noise\" [1h])")])["data"]["result"],
        serde_json::json!([])
    );
    await_value(&server, "/api/v1/query", "app_took_seconds{job=\"app\", level=\"info\"}", "2");
    let own = server.get("/metrics", &[]).1;
    assert!(own.contains("app_took_seconds{"), "{own}");
    assert!(own.contains("reason=\"noise\"} 1"), "{own}");
}

/// Now, as container runtimes write it.
fn server_time() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let seconds = now.as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days to a date, by counting: tests do not need more.
    let (mut year, mut left) = (1970, days);
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    loop {
        let len = if is_leap(year) { 366 } else { 365 };
        if left < len {
            break;
        }
        (left, year) = (left - len, year + 1);
    }
    let lens = [31, if is_leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while left >= lens[month] {
        left -= lens[month];
        month += 1;
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", month + 1, left + 1)
}
