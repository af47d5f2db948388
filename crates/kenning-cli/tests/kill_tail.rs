//! `kill -9` while files are tailed that a program writes and log rotation moves: each line is stored once.

#[allow(dead_code, reason = "each test uses its part")]
mod support;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use support::{PROGRAM, Server};

/// Kills under load.
const KILLS: u64 = 20;
/// Lines between two rotations.
const LINES_PER_FILE: u64 = 400;

/// Writes numbered lines and moves the file away now and then, as a program with log rotation does.
fn write(path: &Path, stop: &AtomicBool, written: &AtomicU64) {
    let open = || OpenOptions::new().create(true).append(true).open(path).expect("the log opens");
    let mut file = open();
    for number in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        if number > 0 && number.is_multiple_of(LINES_PER_FILE) {
            let generation = number / LINES_PER_FILE;
            fs::rename(path, format!("{}.{generation}", path.display())).expect("the log is renamed");
            if generation.is_multiple_of(2) {
                // Programs go on writing to the old file until they are told.
                writeln!(file, "late {generation} end").expect("a line is written");
            }
            file = open();
        }
        // In two pieces, so that lines are seen half written.
        write!(file, "line {number} ").and_then(|()| writeln!(file, "end")).expect("a line is written");
        written.store(number + 1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// How often each line is stored.
fn stored(server: &Server, job: &str) -> BTreeMap<String, u64> {
    let mut lines = BTreeMap::new();
    let query = format!("sum by (text) (count_over_time({{job=\"{job}\"}} | regexp `(?P<text>.*)` [1h]))");
    let answer = server.json("/loki/api/v1/query", &[("query", &query)]);
    for series in answer["data"]["result"].as_array().cloned().unwrap_or_default() {
        let count = series["value"][1].as_str().and_then(|count| count.parse().ok()).expect("a count");
        lines.insert(series["metric"]["text"].as_str().unwrap_or_default().to_owned(), count);
    }
    lines
}

fn total(server: &Server) -> u64 {
    let query = "sum(count_over_time({job=\"tailed\"}[1h]))";
    let answer = server.json("/loki/api/v1/query", &[("query", query)]);
    answer["data"]["result"][0]["value"][1].as_str().and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// Waits until so many lines are stored, but not for ever.
fn await_total(server: &Server, expect: u64) {
    for _ in 0..300 {
        if total(server) >= expect {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn killed_while_tailing() {
    let dir = tempfile::tempdir().expect("a directory");
    let (data, logs) = (dir.path().join("data"), dir.path().join("logs"));
    fs::create_dir(&logs).expect("a directory");
    let config: PathBuf = dir.path().join("kenning.yaml");
    // Only the file itself: what rotation moves away is found beside it.
    let yaml = format!(
        "limits: {{query: {{series: 1000000}}}}\nlogs:\n  files:\n  - {{include: \"{}/app.log\", labels: {{job: tailed}}}}\n",
        logs.display()
    );
    fs::write(&config, yaml).expect("the configuration is written");
    let start = || {
        let log = File::options().create(true).append(true).open(dir.path().join("log")).expect("a log");
        let config = config.to_str().expect("a path");
        Server::start(Path::new(PROGRAM), &data, &["--config", config], Stdio::from(log))
    };
    // Known before anything is rotated.
    fs::write(logs.join("app.log"), "first end\n").expect("a line is written");
    let server = start();
    await_total(&server, 1);
    drop(server);
    let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writer = {
        let (path, stop, written) = (logs.join("app.log"), Arc::clone(&stop), Arc::clone(&written));
        std::thread::spawn(move || write(&path, &stop, &written))
    };
    for round in 0..KILLS {
        let mut server = start();
        std::thread::sleep(Duration::from_millis(50 + 37 * round % 400));
        server.kill();
    }
    stop.store(true, Ordering::Relaxed);
    writer.join().expect("the writer ends");
    let server = start();
    let lines = written.load(Ordering::Relaxed);
    let expect = 1 + lines + (lines - 1) / LINES_PER_FILE / 2;
    await_total(&server, expect);
    let stored = stored(&server, "tailed");
    let wrong: Vec<_> = (0..lines)
        .map(|number| format!("line {number} end"))
        .filter(|line| stored.get(line) != Some(&1))
        .map(|line| (stored.get(&line).copied().unwrap_or(0), line))
        .take(20)
        .collect();
    assert!(wrong.is_empty(), "of {lines} lines, not once: {wrong:?}");
    let doubled: Vec<_> = stored.iter().filter(|(_, count)| **count != 1).take(20).collect();
    assert!(doubled.is_empty(), "{doubled:?}");
    assert_eq!(stored.len() as u64, expect);
}
