//! The queries with which Loki's engines are compared must all parse.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a missing corpus and the counts must be seen")]

use std::path::{Path, PathBuf};

#[test]
fn loki_bench_queries_parse() {
    let root = std::env::var("KENNING_CORPUS")
        .map_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus"), PathBuf::from);
    let folder = root.join("logql/bench-queries");
    let Ok(suites) = std::fs::read_dir(&folder) else {
        eprintln!("SKIPPED: {} is missing", folder.display());
        return;
    };
    let suites = suites.map(|suite| suite.unwrap().path()).filter(|path| path.is_dir());
    let files = suites.flat_map(|suite| std::fs::read_dir(suite).unwrap().map(|file| file.unwrap().path()));
    let mut count = 0;
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for line in text.lines() {
            let Some(query) = line.trim_start().strip_prefix("query: ") else { continue };
            let query =
                query.trim_matches('\'').replace("${SELECTOR}", "{app=\"a\"}").replace("${RANGE}", "5m");
            let query = query.replace("${LABEL_NAME}", "level").replace("${LABEL_VALUE}", "error");
            assert!(kenning_logql::parse(&query).is_ok(), "{}: {query}", file.display());
            count += 1;
        }
    }
    println!("{count} bench queries parse");
    assert!(count > 50);
}
